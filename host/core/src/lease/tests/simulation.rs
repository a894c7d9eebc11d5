//! Several contenders and one server on a virtual clock, in a storm of faults: at no moment do two
//! contenders believe that they may commit, and when the storm is over one of them leads.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    time::Duration,
};

use serde_json::json;

use super::Server;
use crate::{
    Time,
    lease::{Action, Input, LeaseConfig, LeaseState, Machine, Request, Verb, WallTime},
    watch::Random,
};

/// When something happens, in milliseconds of the world's clock, and its number.
type When = (u64, u64);

enum Event {
    /// A contender's deadline; stale ones do no harm.
    Tick(usize),
    /// A request reaches the server, also one that its sender has dropped.
    Arrive {
        contender: usize,
        flight: u64,
        verb: Verb,
        body: Vec<u8>,
    },
    /// An answer, or `None` for a broken connection, reaches its contender.
    Deliver {
        contender: usize,
        flight: u64,
        answer: Option<(u16, String)>,
    },
    /// The next fault of the storm.
    Fault,
}

struct Contender {
    identity: String,
    machine: Machine,
    /// The request that it waits for.
    flight: u64,
    /// Its monotonic clock: where it starts, and thousandths by which it is fast.
    origin: u64,
    fast: i64,
    /// Its wall clock, in seconds since the epoch at the world's start.
    wall: u64,
    /// While it is paused nothing reaches it, and its deadlines pass.
    paused_until: u64,
    /// What it waits to be told when it wakes.
    held_back: Vec<(u64, Option<(u16, String)>)>,
    /// Whether it was ever told of a Lease.
    informed: bool,
    stops: u32,
}

impl Contender {
    fn clock(&self, world: u64) -> Time {
        let rate = u64::try_from(1000 + self.fast).unwrap();
        Time::from_origin(Duration::from_micros(self.origin * 1000 + world * rate))
    }

    /// The first moment of the world at which its clock has come to `time`.
    fn world(&self, time: Time) -> u64 {
        let rate = u128::try_from(1000 + self.fast).unwrap();
        let passed = time
            .since_origin()
            .as_micros()
            .saturating_sub(u128::from(self.origin) * 1000);
        u64::try_from(passed.div_ceil(rate)).unwrap()
    }

    /// What a commit would ask, also one of a paused process that has just woken.
    fn may_commit(&self, world: u64) -> bool {
        let now = self.clock(world);
        self.machine
            .leading_until()
            .is_some_and(|until| now < until)
    }
}

struct World {
    seed: u64,
    random: Random,
    now: u64,
    events: BTreeMap<When, Event>,
    due: BinaryHeap<Reverse<When>>,
    numbers: u64,
    server: Server,
    down_until: u64,
    contenders: Vec<Contender>,
    storm: bool,
    /// Deletions make contenders forget; one that knew nothing could not tell.
    deletes: bool,
}

impl World {
    fn new(seed: u64, contenders: usize) -> Self {
        let mut world = Self {
            seed,
            random: Random::new(seed),
            now: 0,
            events: BTreeMap::new(),
            due: BinaryHeap::new(),
            numbers: 0,
            server: Server::default(),
            down_until: 0,
            contenders: Vec::new(),
            storm: true,
            deletes: seed.is_multiple_of(3),
        };
        for i in 0..contenders {
            // Names are to be different. Where they are not, nobody is hurt.
            let name = if seed % 5 == 1 { 0 } else { i };
            let contender = world.contender(&format!("c{name}"));
            world.contenders.push(contender);
            world.feed(i, Input::Start);
        }
        world.schedule(500, Event::Fault);
        world
    }

    fn contender(&mut self, identity: &str) -> Contender {
        let mut config = LeaseConfig::new("shop", "x", identity);
        config.seed = self.random.next();
        Contender {
            identity: identity.to_owned(),
            machine: Machine::new(config).unwrap(),
            flight: 0,
            origin: self.up_to(1_000_000),
            fast: i64::try_from(self.up_to(40)).unwrap() - 20,
            // Apart by days.
            wall: 1_700_000_000 + self.up_to(500_000),
            paused_until: 0,
            held_back: Vec::new(),
            informed: false,
            stops: 0,
        }
    }

    fn up_to(&mut self, most: u64) -> u64 {
        self.random.next() % (most + 1)
    }

    fn schedule(&mut self, after: u64, event: Event) {
        self.numbers += 1;
        let when = (self.now + after, self.numbers);
        self.events.insert(when, event);
        self.due.push(Reverse(when));
    }

    fn feed(&mut self, i: usize, input: Input<'_>) {
        let contender = &mut self.contenders[i];
        let mut actions = Vec::new();
        let now = contender.clock(self.now);
        contender.machine.step(now, input, &mut actions);
        for action in actions {
            match action {
                Action::Send(request) => self.send(i, &request),
                Action::Close => self.contenders[i].flight = 0,
                Action::Stopped => self.contenders[i].stops += 1,
                Action::NewLeader(_) => self.contenders[i].informed = true,
                Action::Started { .. }
                | Action::Extended { .. }
                | Action::State(_)
                | Action::Note { .. }
                | Action::Ended => {}
            }
        }
        let contender = &self.contenders[i];
        if let Some(deadline) = contender.machine.deadline() {
            let at = contender.world(deadline).max(contender.paused_until);
            self.schedule(at.saturating_sub(self.now), Event::Tick(i));
        }
        self.check();
    }

    fn send(&mut self, contender: usize, request: &Request) {
        self.numbers += 1;
        let flight = self.numbers;
        self.contenders[contender].flight = flight;
        let wall = self.contenders[contender].wall + self.now / 1000;
        let body = request.body(WallTime::from_unix(Duration::from_secs(wall)));
        let fate = self.up_to(19);
        let delay = match fate {
            _ if !self.storm => 1 + self.up_to(30),
            0 => self.up_to(30_000),
            1 => self.up_to(6_000),
            _ => self.up_to(200),
        };
        if self.storm && fate == 2 {
            return;
        }
        let verb = request.verb;
        self.schedule(
            delay,
            Event::Arrive {
                contender,
                flight,
                verb,
                body,
            },
        );
    }

    fn arrive(&mut self, contender: usize, flight: u64, verb: Verb, body: &[u8]) {
        let fate = self.up_to(29);
        let answer = if self.now < self.down_until {
            None
        } else if self.storm && fate == 0 {
            Some(super::refusal(503, "busy"))
        } else {
            let answer = self.server.answer(verb, body);
            match fate {
                // It is done, and the answer is another one.
                1 if self.storm => Some(super::refusal(504, "timeout")),
                2 if self.storm => Some((200, "<html>".to_owned())),
                3 if self.storm => None,
                _ => Some(answer),
            }
        };
        let delay = match self.up_to(19) {
            _ if !self.storm => 1 + self.up_to(30),
            0 => self.up_to(20_000),
            // Never.
            1 => return,
            _ => self.up_to(200),
        };
        self.schedule(
            delay,
            Event::Deliver {
                contender,
                flight,
                answer,
            },
        );
    }

    fn deliver(&mut self, i: usize, flight: u64, answer: Option<(u16, String)>) {
        if self.contenders[i].flight != flight {
            return;
        }
        if self.now < self.contenders[i].paused_until {
            self.contenders[i].held_back.push((flight, answer));
            return;
        }
        self.contenders[i].flight = 0;
        match answer {
            Some((status, body)) => self.feed(
                i,
                Input::Answer {
                    status,
                    retry_after: None,
                    body: body.as_bytes(),
                },
            ),
            None => self.feed(i, Input::Failed("reset")),
        }
    }

    fn tick(&mut self, i: usize) {
        if self.now < self.contenders[i].paused_until {
            return;
        }
        let contender = &mut self.contenders[i];
        let held_back = std::mem::take(&mut contender.held_back);
        let deadline = contender.machine.deadline();
        if held_back.is_empty() && deadline.is_none_or(|due| contender.clock(self.now) < due) {
            return;
        }
        // A process that wakes may see its timer first, or what the network has brought.
        let network_first = self.up_to(1) == 0;
        if !network_first {
            self.feed(i, Input::Tick);
        }
        for (flight, answer) in held_back {
            self.deliver(i, flight, answer);
        }
        if network_first {
            self.feed(i, Input::Tick);
        }
    }

    fn fault(&mut self) {
        if !self.storm {
            return;
        }
        let i = usize::try_from(self.up_to(99)).unwrap() % self.contenders.len();
        match self.up_to(13) {
            0..=4 => {
                let pause = [300, 5_000, 40_000][usize::try_from(self.up_to(2)).unwrap()];
                let until = self.now + self.up_to(pause);
                self.contenders[i].paused_until = until;
                self.schedule(until - self.now, Event::Tick(i));
            }
            5 => self.down_until = self.now + self.up_to(180_000),
            6 => self.down_until = self.now + self.up_to(8_000),
            7 if self.server.lease.is_some() => self
                .server
                .edit(|lease| lease["metadata"]["annotations"] = json!({"touched": "yes"})),
            8 if self.deletes && self.contenders.iter().all(|c| c.informed) => {
                self.server.lease = None;
                self.deletes = false;
            }
            9 | 10 if !self.seed.is_multiple_of(3) => {
                // Killed, and started again at once on the same machine: the clock goes on.
                self.numbers += 1;
                let identity = match self.up_to(1) {
                    0 => self.contenders[i].identity.clone(),
                    _ => format!("c{}", self.numbers),
                };
                let old = &self.contenders[i];
                let (origin, fast, wall) = (old.origin, old.fast, old.wall);
                self.contenders[i] = Contender {
                    origin,
                    fast,
                    wall,
                    ..self.contender(&identity)
                };
                self.feed(i, Input::Start);
            }
            _ => {}
        }
        let next = self.up_to(6_000);
        self.schedule(next, Event::Fault);
    }

    /// The heart of L3: never two.
    fn check(&self) {
        let leaders: Vec<&str> = self
            .contenders
            .iter()
            .filter(|contender| contender.may_commit(self.now))
            .map(|contender| contender.identity.as_str())
            .collect();
        assert!(
            leaders.len() <= 1,
            "seed {}, {} ms: {leaders:?} may commit",
            self.seed,
            self.now
        );
    }

    fn leader(&self) -> Option<usize> {
        (0..self.contenders.len()).find(|&i| self.contenders[i].may_commit(self.now))
    }

    fn run_until(&mut self, end: u64) {
        while let Some(&Reverse(when)) = self.due.peek()
            && when.0 < end
        {
            self.due.pop();
            self.now = when.0;
            match self.events.remove(&when).unwrap() {
                Event::Tick(i) => self.tick(i),
                Event::Arrive {
                    contender,
                    flight,
                    verb,
                    body,
                } => self.arrive(contender, flight, verb, &body),
                Event::Deliver {
                    contender,
                    flight,
                    answer,
                } => self.deliver(contender, flight, answer),
                Event::Fault => self.fault(),
            }
        }
        self.now = end;
        self.check();
    }

    fn run(&mut self) {
        let storm = 20_000 + self.up_to(300_000);
        self.run_until(storm);
        self.storm = false;
        self.down_until = 0;
        for i in 0..self.contenders.len() {
            self.contenders[i].paused_until = 0;
            self.tick(i);
        }
        // What was sent late arrives within 30 s and may take the Lease for somebody who has
        // given up on it; the longest backoff is 15 s, and so is the Lease.
        self.run_until(storm + 90_000);
        let leader = self.leader();
        assert!(leader.is_some(), "seed {}: nobody leads", self.seed);
        let stops = self.stops();
        self.run_until(storm + 300_000);
        assert_eq!(self.leader(), leader, "seed {}", self.seed);
        assert_eq!(self.stops(), stops, "seed {}: it flaps", self.seed);
        let Some(leader) = leader else { return };
        for (i, contender) in self.contenders.iter().enumerate() {
            let expected = match i == leader {
                true => LeaseState::Leading,
                false => LeaseState::Following {
                    holder: self.contenders[leader].identity.clone(),
                },
            };
            assert_eq!(contender.machine.state(), &expected, "seed {}", self.seed);
        }
        self.feed(leader, Input::Release);
        self.run_until(self.now + 2_600);
        let next = self.leader();
        assert!(
            next.is_some() && next != Some(leader),
            "seed {}: a release is taken up within a retry period",
            self.seed
        );
    }

    fn stops(&self) -> u32 {
        self.contenders.iter().map(|c| c.stops).sum()
    }
}

#[test]
fn l3_never_do_two_contenders_both_believe_that_they_may_commit() {
    for seed in 0..250 {
        World::new(seed, 2).run();
    }
}

#[test]
fn l3_nor_do_any_two_of_three() {
    for seed in 10_000..10_250 {
        World::new(seed, 3).run();
    }
}
