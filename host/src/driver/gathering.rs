//! When news of objects is handed over: at once after a silence, and then together. Knows no
//! request and no task.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use haptic_core::{Time, watch::Action};

use crate::paced::Phase;

/// News is reported together, up to so many bytes of answer: an API server sends each event of a
/// watch in a chunk of its own, and to hand one over, from task to task, costs many times what it
/// costs to decode it. More would only lie in the queue.
const TOGETHER: usize = 32 << 10;

/// News that follows other news waits for more during this part of the debounce interval.
const OF_DEBOUNCE: u32 = 10;

/// But not longer; nor shorter, unless there is no interval: who asks for that hears of each
/// event by itself.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(50);

/// The shortest debounce interval of those who hear of a stream, as it is now.
#[derive(Debug, Default)]
pub struct Patience(AtomicU64);

impl Patience {
    /// That of the most impatient.
    #[must_use]
    pub fn new(debounce: Duration) -> Self {
        let patience = Self::default();
        patience.set(debounce);
        patience
    }

    /// Somebody else is the most impatient now.
    pub fn set(&self, debounce: Duration) {
        let millis = u64::try_from(debounce.as_millis()).unwrap_or(u64::MAX);
        self.0.store(millis, Relaxed);
    }
}

/// What was read and is not reported yet: how much, and how long it may wait.
pub(super) struct Gathering {
    patience: Arc<Patience>,
    /// When the window ends that the last report opened.
    until: Time,
    bytes: usize,
}

impl Gathering {
    pub(super) fn new(patience: Arc<Patience>) -> Self {
        Self {
            patience,
            until: Time::ZERO,
            bytes: 0,
        }
    }

    /// So many bytes of an answer were read.
    pub(super) fn read(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// How long news may wait for more.
    pub(super) fn window(&self) -> Duration {
        let debounce = Duration::from_millis(self.patience.0.load(Relaxed));
        match debounce {
            Duration::ZERO => Duration::ZERO,
            debounce => (debounce / OF_DEBOUNCE).clamp(SHORTEST, LONGEST),
        }
    }

    /// Whether `actions` wait for more. Those do not of which one is no news of objects.
    /// `phase` is what the connection is at.
    pub(super) fn holds(&self, now: Time, phase: Phase, actions: &[Action]) -> bool {
        let more_comes = match phase {
            Phase::Listening => now < self.until,
            Phase::Reading => true,
            Phase::Resting => false,
        };
        let is_news = |action: &Action| matches!(action, Action::Emit { .. });
        more_comes && self.bytes < TOGETHER && !actions.is_empty() && actions.iter().all(is_news)
    }

    /// Until when, if only time tells.
    pub(super) fn until(&self, phase: Phase) -> Option<Time> {
        (phase == Phase::Listening).then_some(self.until)
    }

    /// Everything was reported. What is listed is told as one, so that its parts may wait in
    /// any case.
    pub(super) fn reported(&mut self, now: Time, is_listing: bool) {
        self.until = now + if is_listing { LONGEST } else { self.window() };
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use haptic_core::watch::{WatchOutput, WatchState};

    use super::*;
    use Phase::{Listening, Reading, Resting};

    fn at(millis: u64) -> Time {
        Time::from_origin(Duration::from_millis(millis))
    }

    fn news() -> Vec<Action> {
        vec![Action::Emit {
            reader: 0,
            output: WatchOutput::ListBegin,
        }]
    }

    fn gathering(debounce: u64) -> Gathering {
        let patience = Patience::new(Duration::from_millis(debounce));
        Gathering::new(Arc::new(patience))
    }

    #[test]
    fn the_window_follows_who_listens() {
        let patience = Arc::new(Patience::new(Duration::from_millis(500)));
        let gathering = Gathering::new(Arc::clone(&patience));
        assert_eq!(gathering.window(), LONGEST);
        patience.set(Duration::ZERO);
        assert_eq!(gathering.window(), Duration::ZERO);
    }

    #[test]
    fn c2_without_an_interval_nothing_waits_but_what_is_listed() {
        let mut gathering = gathering(0);
        gathering.reported(at(0), false);
        assert!(!gathering.holds(at(0), Listening, &news()));
        gathering.reported(at(0), true);
        assert!(gathering.holds(at(49), Listening, &news()));
        assert!(!gathering.holds(at(50), Listening, &news()));
    }

    #[test]
    fn what_follows_a_silence_waits_for_nothing() {
        let mut gathering = gathering(500);
        assert!(!gathering.holds(at(0), Listening, &news()));
        gathering.reported(at(0), false);
        assert!(!gathering.holds(at(50), Listening, &news()));
    }

    #[test]
    fn news_after_news_waits_for_a_tenth_of_the_debounce_interval() {
        for (debounce, window) in [(5, 1), (100, 10), (500, 50), (60_000, 50)] {
            let mut gathering = gathering(debounce);
            gathering.reported(at(100), false);
            assert_eq!(gathering.until(Listening), Some(at(100 + window)));
            assert!(gathering.holds(at(100), Listening, &news()), "{debounce}");
            // Not counted anew from each that comes.
            gathering.read(100);
            assert!(gathering.holds(at(99 + window), Listening, &news()));
            assert!(!gathering.holds(at(100 + window), Listening, &news()));
        }
    }

    #[test]
    fn what_came_during_a_rest_is_reported_together_and_before_the_next_rest() {
        let mut gathering = gathering(500);
        assert!(gathering.holds(at(100), Reading, &news()));
        assert_eq!(gathering.until(Reading), None);
        gathering.reported(at(100), false);
        assert!(!gathering.holds(at(101), Resting, &news()));
        assert_eq!(gathering.until(Resting), None);
    }

    #[test]
    fn what_is_no_news_of_objects_waits_for_nothing_nor_what_came_before_it() {
        let mut gathering = gathering(500);
        gathering.reported(at(0), false);
        let mut actions = news();
        actions.push(Action::State(WatchState::Synced));
        for phase in [Listening, Reading, Resting] {
            assert!(!gathering.holds(at(1), phase, &actions));
            assert!(!gathering.holds(at(1), phase, &[]));
        }
    }

    #[test]
    fn much_news_waits_for_nothing() {
        let mut gathering = gathering(500);
        gathering.reported(at(0), false);
        for phase in [Listening, Reading] {
            gathering.read(TOGETHER - 1);
            assert!(gathering.holds(at(1), phase, &news()));
            gathering.read(1);
            assert!(!gathering.holds(at(1), phase, &news()));
            gathering.reported(at(1), false);
        }
    }
}
