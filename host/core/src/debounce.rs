//! Owns when a callback with pending changes is due (C2). Does not know what
//! changed ([`crate::changes`]) and does not retry failures.

use std::time::Duration;

use crate::Time;

/// A leading-edge debounce whose timer is never reset: a change after a quiet
/// interval is due at once, later ones when the interval since the last start is
/// over. So starts are at least an interval apart, and no change waits longer
/// than one interval.
#[derive(Clone, Debug)]
pub struct Debounce {
    interval: Duration,
    last_start: Option<Time>,
    due: Option<Time>,
}

impl Debounce {
    /// A debounce of that interval; zero makes every change due at once.
    #[must_use]
    pub fn new(interval: Duration) -> Self {
        Self {
            interval,
            last_start: None,
            due: None,
        }
    }

    /// Something changed.
    pub fn changed(&mut self, now: Time) {
        if self.due.is_none() {
            let earliest = self.last_start.map(|start| start + self.interval);
            self.due = Some(earliest.map_or(now, |earliest| earliest.max(now)));
        }
    }

    /// Makes what is pending due at once (C5, `force_sync`); nothing pending stays
    /// nothing.
    pub fn force(&mut self, now: Time) {
        self.due = self.due.map(|due| due.min(now));
    }

    /// What was pending turned out to amount to nothing: no callback is due, and
    /// the interval goes on from the last one.
    pub fn cancel(&mut self) {
        self.due = None;
    }

    /// When the next callback is due; none while nothing is pending.
    #[must_use]
    pub fn due(&self) -> Option<Time> {
        self.due
    }

    /// Whether a callback is due now.
    #[must_use]
    pub fn is_due(&self, now: Time) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    /// A callback with everything pending starts. Changes from here on belong to
    /// the next one, even while this one runs.
    pub fn started(&mut self, now: Time) {
        self.last_start = Some(now);
        self.due = None;
    }
}
