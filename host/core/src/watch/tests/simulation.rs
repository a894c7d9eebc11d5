//! Random servers, faults and timings on virtual time. Whatever happened: once the server is
//! well again, the outputs add up to its state.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use super::{
    TOO_LARGE, bookmark, config, event,
    server::{Response, Server, Streaming},
    status,
};
use crate::{
    Time,
    watch::{
        Action, Input, Machine, Request, RequestKind, TransportError, TransportErrorKind,
        WatchOutput, WatchState, backoff::Random,
    },
};

/// What a store would hold: name to version.
#[derive(Debug, Default)]
struct Model {
    visible: BTreeMap<String, String>,
    staged: Option<BTreeMap<String, String>>,
    kept: BTreeSet<String>,
    complete: bool,
}

impl Model {
    fn take(&mut self, output: WatchOutput) {
        match output {
            WatchOutput::Resolved { .. } | WatchOutput::PageEnd => {}
            WatchOutput::ListBegin => {
                self.staged = Some(BTreeMap::new());
                self.kept.clear();
            }
            WatchOutput::Listed(object) => {
                let staged = self
                    .staged
                    .as_mut()
                    .expect("an object listed outside a list");
                staged.insert(
                    object.name().to_owned(),
                    object.resource_version().to_owned(),
                );
            }
            WatchOutput::ListEnd { .. } => {
                let mut listed = self.staged.take().expect("the end of no list");
                for name in std::mem::take(&mut self.kept) {
                    if let (false, Some(version)) =
                        (listed.contains_key(&name), self.visible.get(&name))
                    {
                        listed.insert(name, version.clone());
                    }
                }
                self.visible = listed;
                self.complete = true;
            }
            WatchOutput::Applied(object) => {
                assert!(
                    self.complete && self.staged.is_none(),
                    "applied before the list ended"
                );
                let version = object.resource_version().to_owned();
                self.visible.insert(object.name().to_owned(), version);
            }
            WatchOutput::Deleted { identity, .. } => match &mut self.staged {
                Some(staged) => {
                    staged.remove(identity.name());
                    self.kept.remove(identity.name());
                }
                None => {
                    self.visible.remove(identity.name());
                }
            },
            WatchOutput::Quarantined { identity, .. } => {
                let identity = identity.expect("broken objects carry their names");
                self.kept.insert(identity.name().to_owned());
            }
            WatchOutput::Gone => *self = Self::default(),
        }
    }
}

/// What the network brings, and when.
#[derive(Debug)]
enum Feed {
    Sent,
    Headers {
        status: u16,
        retry_after: Option<Duration>,
    },
    Bytes(Vec<u8>),
    End,
    Failed,
}

#[derive(Debug)]
struct Connection {
    kind: RequestKind,
    feeds: VecDeque<(Time, Feed)>,
    follow: Option<Follow>,
    /// Once the feeds are used up: a blank now and then, but never anything else.
    trickle: Option<Time>,
}

/// The life of a stream on the server's side.
#[derive(Debug)]
struct Follow {
    from: u64,
    next: Time,
    bookmark: Time,
    until: Time,
}

struct Simulation {
    seed: u64,
    now: Time,
    random: Random,
    server: Server,
    machine: Machine,
    model: Model,
    connection: Option<Connection>,
    storm: bool,
    unserved_since_resolved: bool,
    next_change: Time,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let streaming = [
            Streaming::Full,
            Streaming::Full,
            Streaming::Rejected,
            Streaming::Ignored,
            Streaming::ClosedEarly,
        ][pick(&mut random, 5)];
        let mut server = Server::new(streaming);
        server.bookmarks = !one_in(&mut random, 4);
        server.served = !one_in(&mut random, 5);
        if server.served {
            for index in 0..pick(&mut random, 12) {
                server.put(&format!("w{index}"), one_in(&mut random, 10));
            }
        }
        let mut config = config();
        config.page_size = 3;
        config.seed = seed ^ 0xABCD;
        Self {
            seed,
            now: Time::ZERO,
            random,
            server,
            machine: Machine::new(config),
            model: Model::default(),
            connection: None,
            storm: true,
            unserved_since_resolved: true,
            next_change: Time::ZERO,
        }
    }

    fn millis(&mut self, low: u64, high: u64) -> Duration {
        self.random
            .between(Duration::from_millis(low), Duration::from_millis(high))
    }

    fn fault(&mut self, one_in_so_many: u64) -> bool {
        self.storm && one_in(&mut self.random, one_in_so_many)
    }

    fn feed(&mut self, input: Input<'_>) {
        let mut out = Vec::new();
        self.machine.step(self.now, input, &mut out);
        for action in out {
            match action {
                Action::Send(request) => self.connection = Some(self.connect(&request)),
                Action::Close => self.connection = None,
                Action::Emit { output, .. } => {
                    match &output {
                        WatchOutput::Resolved { .. } | WatchOutput::ListEnd { .. } => {
                            self.unserved_since_resolved = !self.server.served;
                        }
                        WatchOutput::Gone => {
                            assert!(self.unserved_since_resolved, "seed {}: not gone", self.seed);
                        }
                        WatchOutput::ListBegin
                        | WatchOutput::Listed(_)
                        | WatchOutput::PageEnd
                        | WatchOutput::Applied(_)
                        | WatchOutput::Deleted { .. }
                        | WatchOutput::Quarantined { .. } => {}
                    }
                    self.model.take(output);
                }
                Action::State(_) | Action::Note { .. } => {}
            }
        }
        let listing = self
            .connection
            .as_ref()
            .is_some_and(|open| open.kind.is_list());
        assert!(
            listing || !self.machine.needs_list_permit(),
            "seed {}: a permit without a list",
            self.seed
        );
        assert!(
            self.connection.is_some() || self.machine.deadline().is_some(),
            "seed {}: stuck",
            self.seed
        );
    }

    /// Decides all that a request will bring, but for the later events of a stream.
    fn connect(&mut self, request: &Request) -> Connection {
        let mut at = self.now + self.millis(0, if request.kind.is_list() { 2000 } else { 5 });
        let mut open = Connection {
            kind: request.kind,
            feeds: VecDeque::new(),
            follow: None,
            trickle: None,
        };
        if self.fault(12) {
            open.feeds.push_back((at, Feed::Failed));
            return open;
        }
        open.feeds.push_back((at, Feed::Sent));
        if self.fault(20) {
            return open;
        }
        at = at + self.millis(1, 400);
        let (code, retry_after, body) = match self.refusal(request.kind) {
            Some((code, retry_after, body)) => (code, retry_after, body),
            None => match self.server.respond(request) {
                Response::Whole(code, body) => (code, None, body),
                Response::Stream { first, from } => {
                    open.feeds.push_back((
                        at,
                        Feed::Headers {
                            status: 200,
                            retry_after: None,
                        },
                    ));
                    at = self.split(&mut open, at, first.as_bytes());
                    let until = at + self.millis(10_000, 60_000);
                    open.follow = Some(Follow {
                        from,
                        next: at,
                        bookmark: at,
                        until,
                    });
                    return open;
                }
                Response::Ended(body) => (200, None, body),
            },
        };
        open.feeds.push_back((
            at,
            Feed::Headers {
                status: code,
                retry_after,
            },
        ));
        let mut bytes = body.into_bytes();
        let cut = self
            .fault(10)
            .then(|| pick(&mut self.random, bytes.len() + 1));
        bytes.truncate(cut.unwrap_or(bytes.len()));
        at = self.split(&mut open, at, &bytes);
        match (cut, pick(&mut self.random, 4)) {
            (None, _) | (Some(_), 0) => open.feeds.push_back((at, Feed::End)),
            (Some(_), 1) => open.feeds.push_back((at, Feed::Failed)),
            (Some(_), 2) => open.trickle = Some(at),
            (Some(_), _) => {}
        }
        open
    }

    fn refusal(&mut self, kind: RequestKind) -> Option<(u16, Option<Duration>, String)> {
        if !self.fault(5) {
            return None;
        }
        let retry_after = one_in(&mut self.random, 2).then(|| self.millis(500, 3000));
        let codes = [302, 400, 401, 403, 404, 410, 429, 500, 503, 504];
        let code = codes[pick(&mut self.random, codes.len())];
        let body = match code {
            // Discovery tells the truth, or nothing.
            404 if kind == RequestKind::Discover => return None,
            504 => TOO_LARGE.to_owned(),
            500 => "<html>oops</html>".to_owned(),
            _ => status(code, "", "a fault"),
        };
        Some((code, retry_after, body))
    }

    /// Cuts bytes into chunks that come one after the other.
    fn split(&mut self, open: &mut Connection, mut at: Time, mut bytes: &[u8]) -> Time {
        while !bytes.is_empty() {
            let longest = if one_in(&mut self.random, 3) {
                40
            } else {
                4000
            };
            let size = (1 + pick(&mut self.random, longest)).min(bytes.len());
            let (chunk, rest) = bytes.split_at(size);
            at = at + self.millis(0, 20);
            open.feeds.push_back((at, Feed::Bytes(chunk.to_vec())));
            bytes = rest;
        }
        at
    }

    /// The server's next look at a stream.
    fn follow(&mut self, mut open: Connection) -> Connection {
        let Some(mut follow) = open.follow.take() else {
            return open;
        };
        let mut text = match self.server.since(follow.from) {
            Some(text) => text,
            None => event("ERROR", &status(410, "Expired", "too old")),
        };
        follow.from = self.server.version;
        if self.server.bookmarks && self.now >= follow.bookmark {
            text.push_str(&bookmark(self.server.version, false));
            follow.bookmark = self.now + Duration::from_secs(60);
        }
        let ends = self.now >= follow.until || !self.server.served;
        let fate = if self.fault(25) {
            1 + pick(&mut self.random, 5)
        } else {
            0
        };
        match fate {
            4 => text.push_str(&event("ERROR", &status(500, "InternalError", "a fault"))),
            5 => text.insert_str(0, &event("ERROR", &status(410, "Expired", "a fault"))),
            _ => {}
        }
        let mut bytes = text.into_bytes();
        if fate != 0 {
            bytes.truncate(pick(&mut self.random, bytes.len() + 1));
        }
        let at = self.split(&mut open, self.now, &bytes);
        match fate {
            0 if ends => open.feeds.push_back((at, Feed::End)),
            0 => {
                follow.next = at + self.millis(50, 1500);
                open.follow = Some(follow);
            }
            1 => open.feeds.push_back((at, Feed::Failed)),
            2 => {}
            3 => open.trickle = Some(at),
            _ => open.feeds.push_back((at, Feed::End)),
        }
        open
    }

    /// Something happens to the objects, or to the server.
    fn change(&mut self) {
        self.next_change = self.now + self.millis(10, 3000);
        let name = format!("w{}", pick(&mut self.random, 12));
        match pick(&mut self.random, 40) {
            0 => self.server.compact(),
            1 => {
                self.server.stop_serving();
                self.unserved_since_resolved = true;
            }
            2 => self.server.streaming = Streaming::Full,
            3 => self.server.expiry_in_stream = !self.server.expiry_in_stream,
            4..=14 if self.server.served => self.server.remove(&name),
            _ if self.server.served => {
                let broken = one_in(&mut self.random, 10);
                self.server.put(&name, broken);
            }
            _ => self.server.served = one_in(&mut self.random, 8),
        }
    }

    /// Lets the earliest thing happen; false when that is not before `end`.
    fn advance(&mut self, end: Time) -> bool {
        let change = self.storm.then_some(self.next_change);
        let network = self
            .connection
            .as_ref()
            .and_then(|open| match open.feeds.front() {
                Some((at, _)) => Some(*at),
                None => open
                    .follow
                    .as_ref()
                    .map(|follow| follow.next)
                    .or(open.trickle),
            });
        let deadline = self.machine.deadline();
        let Some(next) = [change, network, deadline].into_iter().flatten().min() else {
            return false;
        };
        if next >= end {
            return false;
        }
        self.now = self.now.max(next);
        if change == Some(next) {
            self.change();
        } else if network == Some(next) {
            self.network();
        } else {
            self.feed(Input::Tick);
        }
        true
    }

    fn network(&mut self) {
        let Some(mut open) = self.connection.take() else {
            return;
        };
        let feed = match open.feeds.pop_front() {
            Some((_, feed)) => feed,
            None if open.follow.is_some() => {
                self.connection = Some(self.follow(open));
                return;
            }
            None => {
                open.trickle = Some(self.now + Duration::from_secs(7));
                Feed::Bytes(b" ".to_vec())
            }
        };
        self.connection = Some(open);
        match feed {
            Feed::Sent => self.feed(Input::Sent),
            Feed::Headers {
                status,
                retry_after,
            } => {
                self.feed(Input::Headers {
                    status,
                    retry_after,
                    content_type: None,
                });
            }
            Feed::Bytes(bytes) => self.feed(Input::Chunk(&bytes)),
            Feed::End => self.feed(Input::End),
            Feed::Failed => self.feed(Input::Failed(TransportError {
                kind: TransportErrorKind::Reset,
                text: "a fault".to_owned(),
            })),
        }
    }

    fn run(&mut self) {
        let storm = Time::ZERO + self.millis(20_000, 200_000);
        self.feed(Input::Start);
        while self.advance(storm) {}
        self.storm = false;
        self.server.served = true;
        // A dead stream takes 70 s to find, a missing bookmark 30 s, the longest backoff 30 s.
        let calm = storm + Duration::from_mins(5);
        while self.advance(calm) {}
    }

    fn check(&self) {
        let seed = self.seed;
        assert_eq!(self.machine.state(), &WatchState::Synced, "seed {seed}");
        let reached = self.machine.resource_version().unwrap();
        assert!(
            self.model.staged.is_none(),
            "seed {seed}: a list without end"
        );
        for (name, stored) in &self.server.objects {
            let held = self.model.visible.get(name);
            match (stored.broken, held) {
                (false, held) => {
                    assert_eq!(
                        held,
                        Some(&stored.version.to_string()),
                        "seed {seed}: {name} at {reached}"
                    );
                }
                // It may be known from a better time, never from a later one.
                (true, Some(version)) => {
                    let version: u64 = version.parse().unwrap();
                    assert!(version < stored.version, "seed {seed}: {name}");
                }
                (true, None) => {}
            }
        }
        for name in self.model.visible.keys() {
            assert!(
                self.server.objects.contains_key(name),
                "seed {seed}: {name} was deleted"
            );
        }
    }
}

fn one_in(random: &mut Random, so_many: u64) -> bool {
    random.next().is_multiple_of(so_many)
}

fn pick(random: &mut Random, below: usize) -> usize {
    let below = u64::try_from(below).unwrap();
    usize::try_from(random.next() % below).unwrap()
}

#[test]
fn after_any_storm_the_outputs_add_up_to_the_servers_state_w5() {
    for seed in 0..500 {
        let mut simulation = Simulation::new(seed);
        simulation.run();
        simulation.check();
    }
}
