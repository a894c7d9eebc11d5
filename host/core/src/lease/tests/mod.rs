//! What the tests of the contender share: a server that keeps one Lease, and actions as short
//! lines.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod scenarios;
mod simulation;
mod transitions;

use std::time::Duration;

use serde_json::{Value, json};

use super::{Action, Input, LeaseConfig, Machine, Request, Verb, WallTime};
use crate::Time;

/// A server with room for one Lease.
#[derive(Clone, Debug, Default)]
pub(super) struct Server {
    pub(super) lease: Option<Value>,
    version: u64,
    uids: u64,
}

pub(super) fn refusal(code: u16, message: &str) -> (u16, String) {
    let status = json!({"kind": "Status", "code": code, "message": message});
    (code, status.to_string())
}

impl Server {
    /// Answers as an API server does.
    pub(super) fn answer(&mut self, verb: Verb, body: &[u8]) -> (u16, String) {
        match (verb, &self.lease) {
            (Verb::Get, Some(lease)) => (200, lease.to_string()),
            (Verb::Get, None) | (Verb::Update, None) => refusal(404, "leases \"x\" not found"),
            (Verb::Create, Some(_)) => refusal(409, "leases \"x\" already exists"),
            (Verb::Create, None) => {
                self.uids += 1;
                let mut new: Value = serde_json::from_slice(body).unwrap();
                new["metadata"]["uid"] = json!(format!("u{}", self.uids));
                (201, self.store(new))
            }
            (Verb::Update, Some(lease)) => {
                let new: Value = serde_json::from_slice(body).unwrap();
                let same = |field: &str| new["metadata"][field] == lease["metadata"][field];
                match same("resourceVersion") && same("uid") {
                    true => (200, self.store(new)),
                    false => refusal(409, "the object has been modified"),
                }
            }
        }
    }

    fn store(&mut self, mut lease: Value) -> String {
        self.version += 1;
        lease["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let text = lease.to_string();
        self.lease = Some(lease);
        text
    }

    /// Changes the Lease as somebody with kubectl would.
    pub(super) fn edit(&mut self, change: impl FnOnce(&mut Value)) {
        let mut lease = self.lease.clone().unwrap();
        change(&mut lease);
        self.store(lease);
    }

    /// A Lease of that holder.
    pub(super) fn held_by(holder: &str, seconds: i64) -> Self {
        let mut server = Self::default();
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": "x", "namespace": "shop", "uid": "u0", "labels": {"a": "b"}},
            "spec": {
                "holderIdentity": holder,
                "leaseDurationSeconds": seconds,
                "leaseTransitions": 7,
                "acquireTime": "2026-01-01T00:00:00.000000Z",
                "renewTime": "2026-01-01T00:00:00.000000Z",
            },
        });
        server.store(lease);
        server
    }

    pub(super) fn holder(&self) -> &str {
        let lease = self.lease.as_ref().unwrap();
        lease["spec"]["holderIdentity"].as_str().unwrap_or_default()
    }
}

pub(super) fn render(action: &Action) -> String {
    let at = |time: &Time| format!("{:?}", time.since_origin());
    match action {
        Action::Send(request) => format!("send {}", request.verb.as_str()),
        Action::Close => "close".to_owned(),
        Action::Started { until } => format!("started until {}", at(until)),
        Action::Extended { until } => format!("extended until {}", at(until)),
        Action::Stopped => "stopped".to_owned(),
        Action::NewLeader(identity) => format!("leader {identity}"),
        Action::State(state) => format!("state {state}"),
        Action::Note { level, message } => format!("note {level:?}: {message}"),
        Action::Ended => "ended".to_owned(),
    }
}

/// A contender with a clock, driven by hand.
pub(super) struct Bench {
    pub(super) machine: Machine,
    pub(super) now: Time,
    pub(super) request: Option<Request>,
}

pub(super) const WALL: WallTime = WallTime::from_unix(Duration::from_secs(1_800_000_000));

impl Bench {
    pub(super) fn new(identity: &str) -> Self {
        Self {
            machine: Machine::new(LeaseConfig::new("shop", "x", identity)).unwrap(),
            now: Time::from_origin(Duration::from_secs(100)),
            request: None,
        }
    }

    pub(super) fn started(identity: &str) -> Self {
        let mut bench = Self::new(identity);
        bench.feed(Input::Start);
        bench
    }

    /// One that leads on that server since 100 s.
    pub(super) fn leading(server: &mut Server) -> Self {
        let mut bench = Self::started("me");
        bench.settle(server);
        assert!(bench.machine.leading_until().is_some());
        bench
    }

    pub(super) fn feed(&mut self, input: Input<'_>) -> Vec<String> {
        let mut out = Vec::new();
        self.machine.step(self.now, input, &mut out);
        let mut lines = Vec::new();
        for action in out {
            lines.push(render(&action));
            match action {
                Action::Send(request) => self.request = Some(request),
                Action::Close => self.request = None,
                _ => {}
            }
        }
        lines
    }

    pub(super) fn answer(&mut self, (status, body): (u16, String)) -> Vec<String> {
        self.request = None;
        self.feed(Input::Answer {
            status,
            retry_after: None,
            body: body.as_bytes(),
        })
    }

    /// Lets the server answer until the contender waits.
    pub(super) fn settle(&mut self, server: &mut Server) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(request) = self.request.take() {
            let answer = server.answer(request.verb, &request.body(WALL));
            lines.extend(self.answer(answer));
        }
        lines
    }

    /// Lets the time pass until something is due, and says so.
    pub(super) fn wait(&mut self) -> Vec<String> {
        if let Some(deadline) = self.machine.deadline() {
            self.now = self.now.max(deadline);
        }
        self.feed(Input::Tick)
    }

    /// Lets time pass, and the server answer at once, until the moment has come.
    pub(super) fn run(&mut self, server: &mut Server, seconds: u64) -> Vec<String> {
        let end = self.now + Duration::from_secs(seconds);
        let mut lines = self.settle(server);
        while self.machine.deadline().is_some_and(|next| next < end) {
            lines.extend(self.wait());
            lines.extend(self.settle(server));
        }
        self.now = end;
        lines
    }
}
