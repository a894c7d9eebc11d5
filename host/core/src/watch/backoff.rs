//! Owns chance: delays between attempts and the jitter of timeouts, both from a
//! seed, so that a run can be repeated.

use std::time::Duration;

use super::WatchLimits;

/// SplitMix64: enough to spread requests in time, and nothing else.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A duration from `low` to `high`, to the millisecond; `low` when the two are
    /// the wrong way round.
    pub(crate) fn between(&mut self, low: Duration, high: Duration) -> Duration {
        let span = u64::try_from(high.saturating_sub(low).as_millis()).unwrap_or(u64::MAX - 1);
        low + Duration::from_millis(self.next() % (span.saturating_add(1)))
    }
}

/// Full jitter below a bound that doubles with each failure (contract W7).
#[derive(Clone, Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The delay before the next attempt. `retry_after` is waited for at least, up to
    /// [`WatchLimits::retry_after_max`].
    pub(super) fn fail(
        &mut self,
        limits: &WatchLimits,
        random: &mut Random,
        retry_after: Option<Duration>,
    ) -> Duration {
        let doubled = 2u32
            .checked_pow(self.failures)
            .and_then(|factor| limits.backoff_first.checked_mul(factor));
        let bound = doubled.map_or(limits.backoff_max, |bound| bound.min(limits.backoff_max));
        self.failures = self.failures.saturating_add(1);
        let jittered = random.between(Duration::ZERO, bound);
        match retry_after {
            // The jitter on top keeps those apart whom the server told the same.
            Some(asked) => {
                let spread = random.between(Duration::ZERO, limits.backoff_first);
                jittered.max(asked.min(limits.retry_after_max) + spread)
            }
            None => jittered,
        }
    }

    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(retry_after: Option<Duration>) -> Vec<Duration> {
        let limits = WatchLimits::default();
        let mut greatest = vec![Duration::ZERO; 8];
        for seed in 0..500 {
            let mut random = Random::new(seed);
            let mut backoff = Backoff::default();
            for slot in &mut greatest {
                *slot = (*slot).max(backoff.fail(&limits, &mut random, retry_after));
            }
        }
        greatest
    }

    #[test]
    fn delays_are_jittered_below_a_doubling_bound_w7() {
        let millis = [800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000];
        for (greatest, bound) in bounds(None).into_iter().zip(millis) {
            let bound = Duration::from_millis(bound);
            assert!(greatest <= bound, "{greatest:?} > {bound:?}");
            assert!(
                greatest > bound.mul_f32(0.9),
                "{greatest:?} of {bound:?}: the jitter is not full"
            );
        }
    }

    #[test]
    fn retry_after_is_honoured_up_to_its_limit_w7() {
        let limits = WatchLimits::default();
        for seed in 0..100 {
            let mut random = Random::new(seed);
            let delay = |random: &mut Random, secs| {
                Backoff::default().fail(&limits, random, Some(Duration::from_secs(secs)))
            };
            assert!(delay(&mut random, 7) >= Duration::from_secs(7));
            assert!(delay(&mut random, u64::MAX) < Duration::from_secs(121));
        }
    }

    #[test]
    fn a_reset_starts_from_the_first_bound() {
        let limits = WatchLimits::default();
        for seed in 0..100 {
            let mut random = Random::new(seed);
            let mut backoff = Backoff::default();
            for _ in 0..100 {
                backoff.fail(&limits, &mut random, None);
            }
            backoff.reset();
            assert!(backoff.fail(&limits, &mut random, None) <= limits.backoff_first);
        }
    }
}
