//! What a stream has cost since it began: requests and how they were answered, bytes,
//! objects, lists. Its driver counts as it goes; nothing is added up before somebody asks.

use std::sync::atomic::{AtomicU64, Ordering};

use haptic_core::watch::{RequestKind, WatchOutput};

use crate::observe::{RequestStatus, TrafficStatus};

/// How an answer is counted: by the codes that API servers and the proxies before them
/// give; a server that makes up codes makes no new series.
const ANSWERS: [(&str, Option<u16>); 14] = [
    ("200", Some(200)),
    ("400", Some(400)),
    ("401", Some(401)),
    ("403", Some(403)),
    ("404", Some(404)),
    ("406", Some(406)),
    ("410", Some(410)),
    ("429", Some(429)),
    ("500", Some(500)),
    ("502", Some(502)),
    ("503", Some(503)),
    ("504", Some(504)),
    (OTHER, None),
    (NONE, None),
];

/// A code that is not listed.
const OTHER: &str = "other";

/// No answer: not connected, broken off, or not within the deadline.
const NONE: &str = "none";

const KINDS: [RequestKind; 4] = [
    RequestKind::Discover,
    RequestKind::List,
    RequestKind::StreamingList,
    RequestKind::Watch,
];

/// Counters of one stream.
#[derive(Debug, Default)]
pub struct Traffic {
    requests: [[AtomicU64; ANSWERS.len()]; KINDS.len()],
    received_bytes: AtomicU64,
    listed: AtomicU64,
    applied: AtomicU64,
    deleted: AtomicU64,
    unreadable: AtomicU64,
    foreign: AtomicU64,
    lists_begun: AtomicU64,
    lists_completed: AtomicU64,
}

impl Traffic {
    /// A request was answered with a code, or got no answer.
    pub fn answered(&self, kind: RequestKind, code: Option<u16>) {
        let fallback = if code.is_some() { OTHER } else { NONE };
        let answer = ANSWERS
            .iter()
            .position(|(_, known)| code.is_some() && *known == code)
            .or_else(|| ANSWERS.iter().position(|(name, _)| *name == fallback));
        let kind = KINDS.iter().position(|known| *known == kind);
        if let (Some(kind), Some(answer)) = (kind, answer) {
            add(&self.requests[kind][answer], 1);
        }
    }

    /// Bytes of a body came, as they were sent: compressed or not.
    pub fn received(&self, bytes: usize) {
        add(
            &self.received_bytes,
            u64::try_from(bytes).unwrap_or(u64::MAX),
        );
    }

    /// The machine made this of them.
    pub fn saw(&self, output: &WatchOutput) {
        let counter = match output {
            WatchOutput::ListBegin => &self.lists_begun,
            WatchOutput::ListEnd { .. } => &self.lists_completed,
            WatchOutput::Listed(_) => &self.listed,
            WatchOutput::Applied(_) => &self.applied,
            WatchOutput::Deleted { .. } => &self.deleted,
            WatchOutput::Quarantined { .. } => &self.unreadable,
            WatchOutput::Resolved { .. } | WatchOutput::PageEnd | WatchOutput::Gone => return,
        };
        add(counter, 1);
    }

    /// So many came for nothing so far: see [`Machine::foreign`](haptic_core::watch::Machine::foreign).
    pub fn passed(&self, foreign: u64) {
        self.foreign.store(foreign, Ordering::Relaxed);
    }

    /// The totals.
    #[must_use]
    pub fn status(&self) -> TrafficStatus {
        let mut requests = Vec::new();
        for (kind, counters) in KINDS.iter().zip(&self.requests) {
            for ((answer, _), counter) in ANSWERS.iter().zip(counters) {
                let count = counter.load(Ordering::Relaxed);
                if count > 0 {
                    requests.push(RequestStatus {
                        kind: kind.as_str(),
                        code: answer,
                        count,
                    });
                }
            }
        }
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        TrafficStatus {
            requests,
            received_bytes: read(&self.received_bytes),
            listed: read(&self.listed),
            applied: read(&self.applied),
            deleted: read(&self.deleted),
            unreadable: read(&self.unreadable),
            foreign: read(&self.foreign),
            lists_begun: read(&self.lists_begun),
            lists_completed: read(&self.lists_completed),
        }
    }
}

fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v1_answers_are_counted_by_a_closed_list_of_codes() {
        let traffic = Traffic::default();
        for code in [Some(200), Some(200), Some(410), Some(418), Some(999), None] {
            traffic.answered(RequestKind::Watch, code);
        }
        traffic.answered(RequestKind::List, Some(403));
        let told: Vec<_> = traffic
            .status()
            .requests
            .iter()
            .map(|r| (r.kind, r.code, r.count))
            .collect();
        assert_eq!(
            told,
            [
                ("list", "403", 1),
                ("watch", "200", 2),
                ("watch", "410", 1),
                ("watch", "other", 2),
                ("watch", "none", 1),
            ]
        );
    }
}
