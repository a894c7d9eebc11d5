//! A word now and then from work that takes long.

use std::time::{Duration, Instant};

/// Time between two words, and before the first.
const EVERY: Duration = Duration::from_secs(1);

/// Says when the next word is due.
#[derive(Debug)]
pub(crate) struct Progress {
    next: Instant,
}

impl Progress {
    /// For work that begins now.
    pub(crate) fn start(now: Instant) -> Self {
        Self { next: now + EVERY }
    }

    /// True at most once a second.
    pub(crate) fn is_due(&mut self, now: Instant) -> bool {
        let due = now >= self.next;
        if due {
            self.next = now + EVERY;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_due_at_most_once_a_second() {
        let start = Instant::now();
        let mut progress = Progress::start(start);
        let due: Vec<u64> = (0..40)
            .map(|tenths| tenths * 100)
            .filter(|millis| progress.is_due(start + Duration::from_millis(*millis)))
            .collect();
        assert_eq!(due, [1_000, 2_000, 3_000]);
        assert!(progress.is_due(start + Duration::from_millis(9_500)));
        assert!(!progress.is_due(start + Duration::from_millis(10_400)));
    }
}
