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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_origin(Duration::from_millis(millis))
    }

    fn debounce() -> Debounce {
        Debounce::new(Duration::from_millis(500))
    }

    #[test]
    fn the_first_change_is_due_at_once() {
        let mut debounce = debounce();
        assert_eq!(debounce.due(), None);
        debounce.changed(at(7));
        assert_eq!(debounce.due(), Some(at(7)));
        assert!(debounce.is_due(at(7)));
    }

    #[test]
    fn later_changes_wait_for_the_interval_and_never_reset_it() {
        let mut debounce = debounce();
        debounce.changed(at(0));
        debounce.started(at(0));
        for millis in [10, 200, 499] {
            debounce.changed(at(millis));
            assert_eq!(debounce.due(), Some(at(500)));
        }
        assert!(!debounce.is_due(at(499)) && debounce.is_due(at(500)));
    }

    #[test]
    fn a_change_after_a_quiet_interval_is_due_at_once() {
        let mut debounce = debounce();
        debounce.started(at(0));
        debounce.changed(at(2_000));
        assert_eq!(debounce.due(), Some(at(2_000)));
    }

    #[test]
    fn changes_during_a_callback_belong_to_the_next() {
        let mut debounce = debounce();
        debounce.changed(at(0));
        debounce.started(at(0));
        assert_eq!(debounce.due(), None);
        debounce.changed(at(700));
        assert_eq!(debounce.due(), Some(at(700)));
    }

    #[test]
    fn zero_debounces_nothing() {
        let mut debounce = Debounce::new(Duration::ZERO);
        debounce.started(at(5));
        debounce.changed(at(5));
        assert!(debounce.is_due(at(5)));
    }

    #[test]
    fn force_makes_due_only_what_is_pending() {
        let mut debounce = debounce();
        debounce.started(at(0));
        debounce.force(at(1));
        assert_eq!(debounce.due(), None);
        debounce.changed(at(2));
        debounce.force(at(3));
        assert_eq!(debounce.due(), Some(at(3)));
    }

    #[test]
    fn cancel_leaves_the_interval_as_it_is() {
        let mut debounce = debounce();
        debounce.started(at(0));
        debounce.changed(at(1));
        debounce.cancel();
        assert_eq!(debounce.due(), None);
        debounce.changed(at(600));
        assert_eq!(debounce.due(), Some(at(600)));
    }

    proptest! {
        #[test]
        fn starts_keep_their_distance_and_no_change_waits_longer_than_the_interval(
            interval in 0..1_000_u64,
            gaps in prop::collection::vec(0..2_000_u64, 1..50),
        ) {
            let interval = Duration::from_millis(interval);
            let mut debounce = Debounce::new(interval);
            let (mut now, mut last_start, mut waiting_since) = (Time::ZERO, None, None);
            for gap in gaps {
                let next = now + Duration::from_millis(gap);
                if let Some(due) = debounce.due().filter(|due| *due <= next) {
                    prop_assert!(waiting_since.is_some_and(|since| due - since <= interval));
                    prop_assert!(last_start.is_none_or(|start| due - start >= interval));
                    debounce.started(due);
                    (last_start, waiting_since) = (Some(due), None);
                }
                now = next;
                debounce.changed(now);
                waiting_since = waiting_since.or(Some(now));
            }
        }
    }
}
