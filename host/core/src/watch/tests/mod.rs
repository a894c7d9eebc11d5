//! What the tests of the machine share: a watch of `widgets`, bodies as a server sends
//! them, and actions as short lines.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod faults;
mod scenarios;
mod server;
mod shard;
mod simulation;
mod transitions;

use std::time::Duration;

use super::{
    Action, Input, Machine, ResourceRef, TransportError, TransportErrorKind, WatchConfig,
    WatchOutput,
};
use crate::{Time, decode::ProjectionSpec};

pub(super) const DISCOVERY: &str = r#"{"kind":"APIResourceList","resources":[
    {"name":"widgets/status","namespaced":true,"kind":"Widget","verbs":["get"]},
    {"name":"widgets","namespaced":true,"kind":"Widget","verbs":["list","watch"]}]}"#;

pub(super) fn config() -> WatchConfig {
    let resource = ResourceRef {
        group: "example.com".to_owned(),
        version: "v1".to_owned(),
        resource: "widgets".to_owned(),
    };
    WatchConfig::new(resource, ProjectionSpec::default())
}

/// An object's JSON text.
pub(super) fn object(name: &str, version: u64) -> String {
    format!(
        r#"{{"metadata":{{"name":"{name}","namespace":"shop","uid":"u-{name}","resourceVersion":"{version}"}},"spec":{{"v":{version}}}}}"#
    )
}

/// An object that is a frame, but no valid JSON: a number must not start with a zero.
pub(super) fn broken(name: &str, version: u64) -> String {
    object(name, version).replace("\"v\":", "\"v\":0")
}

pub(super) fn event(kind: &str, object: &str) -> String {
    format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n")
}

pub(super) fn bookmark(version: u64, initial_events_end: bool) -> String {
    let annotations = if initial_events_end {
        r#","annotations":{"k8s.io/initial-events-end":"true"}"#
    } else {
        ""
    };
    event(
        "BOOKMARK",
        &format!(
            r#"{{"kind":"Widget","metadata":{{"resourceVersion":"{version}"{annotations}}}}}"#
        ),
    )
}

pub(super) fn status(code: u16, reason: &str, message: &str) -> String {
    format!(
        r#"{{"kind":"Status","apiVersion":"v1","metadata":{{}},"status":"Failure","message":"{message}","reason":"{reason}","code":{code}}}"#
    )
}

pub(super) const TOO_LARGE: &str = r#"{"kind":"Status","apiVersion":"v1","status":"Failure","message":"Timeout: Too large resource version: 900, current: 7","reason":"Timeout","code":504,"details":{"causes":[{"reason":"ResourceVersionTooLarge","message":"Too large resource version"}],"retryAfterSeconds":1}}"#;

pub(super) fn list(objects: &[String], version: u64, token: &str) -> String {
    let items = objects.join(",");
    format!(
        r#"{{"kind":"WidgetList","apiVersion":"example.com/v1","metadata":{{"resourceVersion":"{version}","continue":"{token}"}},"items":[{items}]}}"#
    )
}

pub(super) fn reset() -> Input<'static> {
    Input::Failed(TransportError {
        kind: TransportErrorKind::Reset,
        text: "reset by peer".to_owned(),
    })
}

pub(super) fn ok() -> Input<'static> {
    headers(200)
}

pub(super) fn headers(status: u16) -> Input<'static> {
    Input::Headers {
        status,
        retry_after: None,
        content_type: Some("application/json"),
    }
}

/// One line for each action. Timeouts, which are jittered, are shown as `T`.
pub(super) fn render(actions: &[Action]) -> Vec<String> {
    actions.iter().map(render_one).collect()
}

fn render_one(action: &Action) -> String {
    match action {
        Action::Send(request) => {
            let url = request.path_and_query.replace("/apis/example.com/v1", "…");
            let mut shown: Vec<&str> = Vec::new();
            for part in url.split('&') {
                shown.push(if part.starts_with("timeoutSeconds=") {
                    "timeoutSeconds=T"
                } else {
                    part
                });
            }
            format!("send {} {}", request.kind.as_str(), shown.join("&"))
        }
        Action::Close => "close".to_owned(),
        Action::State(state) => format!("state {state}"),
        Action::Note { level, message } => format!("note {level:?}: {message}"),
        Action::Emit { reader: 0, output } => render_output(output),
        Action::Emit { reader, output } => format!("{reader}: {}", render_output(output)),
    }
}

fn render_output(output: &WatchOutput) -> String {
    match output {
        WatchOutput::Resolved {
            kind,
            api_version,
            namespaced,
        } => {
            format!("resolved {api_version} {kind} namespaced={namespaced}")
        }
        WatchOutput::ListBegin => "list begins".to_owned(),
        WatchOutput::Listed(object) => {
            format!("listed {}@{}", object.name(), object.resource_version())
        }
        WatchOutput::PageEnd => "page ends".to_owned(),
        WatchOutput::ListEnd { resource_version } => format!("list ends @{resource_version}"),
        WatchOutput::Applied(object) => {
            format!("applied {}@{}", object.name(), object.resource_version())
        }
        WatchOutput::Deleted { identity, object } => match object {
            Some(object) => format!("deleted {identity} at @{}", object.resource_version()),
            None => format!("deleted {identity}"),
        },
        WatchOutput::Quarantined { identity, .. } => match identity {
            Some(identity) => format!("quarantined {identity}"),
            None => "quarantined somebody".to_owned(),
        },
        WatchOutput::Gone => "gone".to_owned(),
    }
}

/// A machine with a clock, driven by hand.
pub(super) struct Bench {
    pub(super) machine: Machine,
    pub(super) now: Time,
}

impl Bench {
    pub(super) fn new(config: WatchConfig) -> Self {
        Self {
            machine: Machine::new(config),
            now: Time::ZERO,
        }
    }

    /// A bench that has received the first request.
    pub(super) fn started(config: WatchConfig) -> Self {
        let mut bench = Self::new(config);
        bench.feed(Input::Start);
        bench
    }

    /// A bench that knows the resource and has asked for the first list.
    pub(super) fn resolved(config: WatchConfig) -> Self {
        let mut bench = Self::started(config);
        bench.answer(200, DISCOVERY);
        bench
    }

    /// A bench whose streaming list of `a` and `b` is complete at version 10.
    pub(super) fn streaming(config: WatchConfig) -> Self {
        let mut bench = Self::resolved(config);
        bench.open();
        bench.chunk(&event("ADDED", &object("a", 3)));
        bench.chunk(&event("ADDED", &object("b", 5)));
        bench.chunk(&bookmark(10, true));
        bench
    }

    pub(super) fn feed(&mut self, input: Input<'_>) -> Vec<String> {
        let mut out = Vec::new();
        self.machine.step(self.now, input, &mut out);
        render(&out)
    }

    pub(super) fn open(&mut self) -> Vec<String> {
        self.feed(Input::Sent);
        self.feed(ok())
    }

    pub(super) fn chunk(&mut self, text: &str) -> Vec<String> {
        self.feed(Input::Chunk(text.as_bytes()))
    }

    /// A whole response to the request in flight; what its end leads to.
    pub(super) fn answer(&mut self, status: u16, body: &str) -> Vec<String> {
        self.feed(Input::Sent);
        let mut lines = self.feed(headers(status));
        lines.extend(self.chunk(body));
        lines.extend(self.feed(Input::End));
        lines
    }

    /// Lets the time pass until something is due, and says so to the machine.
    pub(super) fn wait(&mut self) -> Vec<String> {
        if let Some(deadline) = self.machine.deadline() {
            self.now = self.now.max(deadline);
        }
        self.feed(Input::Tick)
    }

    pub(super) fn pass(&mut self, duration: Duration) {
        self.now = self.now + duration;
    }
}
