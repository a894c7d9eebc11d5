//! How long callbacks took: a histogram of fixed bounds.

use std::time::Duration;

/// Bounds, in seconds: from a render of what changed (0.1 ms) over the default deadline
/// (10 s) to one that was raised.
pub const BOUNDS: [f64; 11] = [
    0.000_1, 0.000_5, 0.002, 0.01, 0.05, 0.25, 1.0, 2.5, 5.0, 10.0, 60.0,
];

/// How long calls took, in buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Durations {
    /// How many were at most as long as each of [`BOUNDS`] and longer than the one before;
    /// at the end, those longer than all.
    pub counts: [u64; BOUNDS.len() + 1],
    /// Of all, in seconds.
    pub sum: f64,
}

impl Durations {
    /// Takes one in.
    pub fn observe(&mut self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = BOUNDS.partition_point(|bound| *bound < seconds);
        self.counts[bucket] += 1;
        self.sum += seconds;
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v1_a_duration_counts_in_the_first_bucket_that_holds_it() {
        let mut durations = Durations::default();
        for millis in [0, 2, 3, 10_000, 70_000] {
            durations.observe(Duration::from_millis(millis));
        }
        assert_eq!(durations.counts, [1, 0, 1, 1, 0, 0, 0, 0, 0, 1, 0, 1]);
        assert_eq!(durations.count(), 5);
    }
}
