//! An API server of one kind that sends bytes rendered beforehand, so that what its clients use is
//! theirs alone: discovery, lists whole and in pages, streaming lists, watches with bookmarks, GETs
//! of one object. A thread for each connection. Whoever holds it changes objects, expires versions and
//! counts what was asked.

mod http;

use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::data::{Kind, Made};
use http::{Request, Response};

/// Objects in a part of an answer: as in a page of a client that asks for as many as clients do.
const PART: usize = 500;

/// Events that are sent in one go when a client is behind.
const BATCH: usize = 64;

/// How the server behaves.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whether it streams lists; without, it refuses as servers do that cannot.
    pub streaming: bool,
    /// How long a GET of one object takes.
    pub get_delay: Duration,
    /// How often a watch gets a bookmark. A minute is what API servers have.
    pub bookmarks: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            streaming: true,
            get_delay: Duration::ZERO,
            bookmarks: Duration::from_secs(60),
        }
    }
}

/// A running server. Dropping it ends its streams.
pub struct Api {
    shared: Arc<Shared>,
    address: SocketAddr,
}

struct Shared {
    kind: Kind,
    options: Options,
    state: Mutex<State>,
    moved: Condvar,
    closed: AtomicBool,
    lists: AtomicUsize,
    bookmarks: AtomicUsize,
}

struct State {
    /// Of lists, by number.
    items: Vec<Arc<str>>,
    revisions: Vec<u32>,
    /// What happened after the version `floor`, one version each.
    log: Vec<Arc<str>>,
    floor: u64,
}

impl State {
    fn version(&self) -> u64 {
        self.floor + wide(self.log.len())
    }
}

/// A change that is rendered and not published yet.
pub struct Update {
    made: Made,
    item: Arc<str>,
    event: Arc<str>,
}

impl Api {
    /// Serves `count` objects on a free port of loopback.
    ///
    /// # Errors
    /// When there is no port, or no thread.
    pub fn start(kind: Kind, count: usize, options: Options) -> io::Result<Self> {
        let made = |number| Made {
            kind,
            number,
            version: wide(number) + 1,
            revision: 0,
        };
        let state = State {
            items: (0..count)
                .map(|number| made(number).item().into())
                .collect(),
            revisions: vec![0; count],
            log: Vec::new(),
            floor: wide(count),
        };
        let shared = Arc::new(Shared {
            kind,
            options,
            state: Mutex::new(state),
            moved: Condvar::new(),
            closed: AtomicBool::new(false),
            lists: AtomicUsize::new(0),
            bookmarks: AtomicUsize::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let accepting = Arc::clone(&shared);
        thread::Builder::new()
            .name("api".to_owned())
            .spawn(move || {
                for stream in listener.incoming() {
                    if accepting.closed.load(Ordering::Relaxed) {
                        return;
                    }
                    let (Ok(stream), shared) = (stream, Arc::clone(&accepting)) else {
                        continue;
                    };
                    // A client that goes away in the middle of an answer is no failure of ours.
                    thread::spawn(move || drop(shared.serve(stream)));
                }
            })?;
        Ok(Self { shared, address })
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Lists that were answered completely, streamed ones included.
    #[must_use]
    pub fn lists(&self) -> usize {
        self.shared.lists.load(Ordering::SeqCst)
    }

    /// Bookmarks that were sent because nothing else was.
    #[must_use]
    pub fn bookmarks(&self) -> usize {
        self.shared.bookmarks.load(Ordering::SeqCst)
    }

    /// The mean size of an object, as events carry it.
    #[must_use]
    pub fn object_bytes(&self) -> usize {
        let state = self.shared.lock();
        let prefix = self.shared.prefix().len() - 1;
        let total: usize = state.items.iter().map(|item| item.len() + prefix).sum();
        total / state.items.len().max(1)
    }

    /// Renders a change of each of these objects, in order, to be published before any other.
    #[must_use]
    pub fn prepare(&self, numbers: impl IntoIterator<Item = usize>) -> Vec<Update> {
        let (mut version, mut revisions) = {
            let state = self.shared.lock();
            (state.version(), state.revisions.clone())
        };
        let updates = numbers.into_iter().map(|number| {
            version += 1;
            revisions[number] += 1;
            let made = Made {
                kind: self.shared.kind,
                number,
                version,
                revision: revisions[number],
            };
            let item = made.item();
            let event = self.shared.event("MODIFIED", &item);
            Update {
                made,
                item: item.into(),
                event: event.into(),
            }
        });
        updates.collect()
    }

    /// Publishes changes; answers the version of the last.
    pub fn publish(&self, updates: Vec<Update>) -> u64 {
        let mut state = self.shared.lock();
        for Update { made, item, event } in updates {
            debug_assert_eq!(
                made.version,
                state.version() + 1,
                "published in another order"
            );
            state.items[made.number] = item;
            state.revisions[made.number] = made.revision;
            state.log.push(event);
        }
        let version = state.version();
        drop(state);
        self.shared.moved.notify_all();
        version
    }

    /// Forgets what happened so far: watches end with 410, and their clients have to list again.
    pub fn expire(&self) {
        let mut state = self.shared.lock();
        state.floor = state.version() + 1;
        state.log = Vec::new();
        drop(state);
        self.shared.moved.notify_all();
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Relaxed);
        self.shared.moved.notify_all();
        // Wakes the thread that accepts; if nobody does any more, nobody needs to.
        drop(TcpStream::connect(self.address));
    }
}

fn wide(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

impl Shared {
    /// Nothing in here panics while it is locked.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What an object begins with outside of lists.
    fn prefix(&self) -> String {
        format!(
            r#"{{"kind":"{}","apiVersion":"{}","#,
            self.kind.name(),
            self.kind.api_version()
        )
    }

    fn whole(&self, item: &str) -> String {
        self.prefix() + &item[1..]
    }

    fn event(&self, kind: &str, item: &str) -> String {
        format!(r#"{{"type":"{kind}","object":{}}}"#, self.whole(item)) + "\n"
    }

    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut buffer = Vec::new();
        while let Some(request) = Request::read(&mut stream, &mut buffer)? {
            self.answer(&request, &mut stream)?;
        }
        Ok(())
    }

    fn answer(&self, request: &Request, out: &mut TcpStream) -> io::Result<()> {
        let (root, plural) = (self.kind.root(), self.kind.plural());
        if request.path == "/version" {
            return Response::json(200, r#"{"major":"1","minor":"36","gitVersion":"v1.36.0"}"#)
                .write(out);
        }
        let Some(rest) = request.path.strip_prefix(root) else {
            return Response::status(404, "NotFound", "the server has no such path").write(out);
        };
        let parts: Vec<&str> = rest.split('/').skip(1).collect();
        match parts.as_slice() {
            [] => Response::json(200, &self.resources()).write(out),
            [kind] if *kind == plural && request.has("watch") => self.watch(request, out),
            [kind] if *kind == plural => self.list(request, out),
            ["namespaces", _, kind, name] if *kind == plural => self.get(name, out),
            _ => Response::status(404, "NotFound", "the server has no such path").write(out),
        }
    }

    fn resources(&self) -> String {
        let (group_version, plural, kind) = (
            self.kind.api_version(),
            self.kind.plural(),
            self.kind.name(),
        );
        format!(
            r#"{{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"{group_version}","resources":[{{"name":"{plural}","singularName":"","namespaced":true,"kind":"{kind}","verbs":["get","list","watch"]}}]}}"#
        )
    }

    fn get(&self, name: &str, out: &mut TcpStream) -> io::Result<()> {
        thread::sleep(self.options.get_delay);
        let number = name
            .rsplit('-')
            .next()
            .and_then(|digits| digits.parse::<usize>().ok());
        let item = number.and_then(|number| self.lock().items.get(number).cloned());
        match item {
            Some(item) => Response::json(200, &self.whole(&item)).write(out),
            None => Response::status(404, "NotFound", "there is no such object").write(out),
        }
    }

    fn list(&self, request: &Request, out: &mut TcpStream) -> io::Result<()> {
        let limit: Option<usize> = request.number("limit");
        let (version, mut from) = match request
            .value("continue")
            .and_then(|token| token.split_once('.'))
        {
            Some((version, from)) => (version.to_owned(), from.parse().unwrap_or_default()),
            None => (self.lock().version().to_string(), 0),
        };
        let count = self.lock().items.len();
        let end = limit.map_or(count, |limit| count.min(from + limit));
        let mut more = String::new();
        if end < count {
            let remaining = count - end;
            more = format!(r#","continue":"{version}.{end}","remainingItemCount":{remaining}"#);
        }
        let mut body = http::Chunks::begin(out)?;
        let mut text = format!(
            r#"{{"kind":"{}List","apiVersion":"{}","metadata":{{"resourceVersion":"{version}"{more}}},"items":["#,
            self.kind.name(),
            self.kind.api_version(),
        );
        let mut separator = "";
        while from < end {
            let part: Vec<Arc<str>> = self.lock().items[from..end.min(from + PART)].to_vec();
            for item in &part {
                text.push_str(separator);
                text.push_str(item);
                separator = ",";
            }
            from += part.len();
            body.chunk(text.as_bytes())?;
            text.clear();
        }
        body.chunk((text + "]}\n").as_bytes())?;
        body.end()?;
        if end == count {
            self.lists.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }

    fn watch(&self, request: &Request, out: &mut TcpStream) -> io::Result<()> {
        let initial = request.has("sendInitialEvents");
        if initial && !self.options.streaming {
            let text = "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled";
            return Response::status(422, "Invalid", text).write(out);
        }
        let timeout = request.number("timeoutSeconds").unwrap_or(1_800);
        let end = Instant::now() + Duration::from_secs(wide(timeout));
        let mut body = http::Chunks::begin(out)?;
        let mut version = if initial {
            self.initial_events(&mut body)?
        } else {
            request
                .number("resourceVersion")
                .map_or_else(|| self.lock().version(), wide)
        };
        let mut bookmark = Instant::now() + self.options.bookmarks;
        loop {
            match self.next(version, bookmark.min(end)) {
                Next::Closed => return Err(io::ErrorKind::ConnectionAborted.into()),
                Next::Expired => {
                    let text = format!("too old resource version: {version}");
                    let status = http::status_object(410, "Expired", &text);
                    body.chunk(format!("{{\"type\":\"ERROR\",\"object\":{status}}}\n").as_bytes())?;
                    return body.end();
                }
                Next::Events(events) => {
                    version += wide(events.len());
                    body.chunks(events.iter().map(|event| event.as_bytes()))?;
                }
                Next::Nothing if Instant::now() >= end => return body.end(),
                Next::Nothing => {
                    body.chunk(self.bookmark(version, "").as_bytes())?;
                    self.bookmarks.fetch_add(1, Ordering::SeqCst);
                    bookmark = Instant::now() + self.options.bookmarks;
                }
            }
        }
    }

    /// All objects as events, and the bookmark that ends them; answers its version.
    fn initial_events(&self, body: &mut http::Chunks<'_>) -> io::Result<u64> {
        let (version, count) = {
            let state = self.lock();
            (state.version(), state.items.len())
        };
        for from in (0..count).step_by(BATCH) {
            let part: Vec<Arc<str>> = self.lock().items[from..count.min(from + BATCH)].to_vec();
            let events: Vec<String> = part.iter().map(|item| self.event("ADDED", item)).collect();
            body.chunks(events.iter().map(String::as_bytes))?;
        }
        let mark = r#","annotations":{"k8s.io/initial-events-end":"true"}"#;
        body.chunk(self.bookmark(version, mark).as_bytes())?;
        self.lists.fetch_add(1, Ordering::SeqCst);
        Ok(version)
    }

    fn bookmark(&self, version: u64, more: &str) -> String {
        let metadata = format!(
            r#"{{"metadata":{{"resourceVersion":"{version}","creationTimestamp":null{more}}}}}"#
        );
        self.event("BOOKMARK", &metadata)
    }

    /// What comes after a version, at that moment at the latest.
    fn next(&self, version: u64, until: Instant) -> Next {
        let mut state = self.lock();
        loop {
            if self.closed.load(Ordering::Relaxed) {
                return Next::Closed;
            }
            let Some(seen) = version.checked_sub(state.floor) else {
                return Next::Expired;
            };
            let seen = usize::try_from(seen)
                .unwrap_or(usize::MAX)
                .min(state.log.len());
            if seen < state.log.len() {
                let end = state.log.len().min(seen + BATCH);
                return Next::Events(state.log[seen..end].to_vec());
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Next::Nothing;
            }
            let waited = self.moved.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

enum Next {
    Events(Vec<Arc<str>>),
    /// Until then.
    Nothing,
    /// What comes after it is forgotten.
    Expired,
    Closed,
}
