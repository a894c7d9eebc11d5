//! Owns the one form of wall-clock time that a Lease holds.

use std::{fmt, time::Duration};

/// A moment on a wall clock, to be written and never to be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WallTime(Duration);

impl WallTime {
    /// The moment `since_epoch` after 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_unix(since_epoch: Duration) -> Self {
        Self(since_epoch)
    }
}

impl fmt::Display for WallTime {
    /// RFC 3339 in UTC with microseconds, as a Kubernetes `MicroTime` is written. What lies
    /// after the year 9999 is written as its end: the form has four digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LAST: Duration = Duration::new(253_402_300_799, 999_999_000);
        let time = self.0.min(LAST);
        let seconds = time.as_secs();
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil(days);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:06}Z",
            second / 3600,
            second / 60 % 60,
            second % 60,
            time.subsec_micros()
        )
    }
}

/// Year, month and day of a number of days since 1970-01-01 (Howard Hinnant's
/// `civil_from_days`: years start in March, so that the leap day is their last).
fn civil(days: u64) -> (u64, u64, u64) {
    const DAYS_OF_400_YEARS: u64 = 146_097;
    // From 0000-03-01.
    let days = days + 719_468;
    let era = days / DAYS_OF_400_YEARS;
    let of_era = days % DAYS_OF_400_YEARS;
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use k8s_openapi::{apimachinery::pkg::apis::meta::v1::MicroTime, jiff::Timestamp};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_moments_are_written_as_micro_time() {
        for (seconds, nanos, text) in [
            (0, 0, "1970-01-01T00:00:00.000000Z"),
            (951_827_696, 123_456_789, "2000-02-29T12:34:56.123456Z"),
            (1_795_392_122, 5_000, "2026-11-23T00:02:02.000005Z"),
            (u64::MAX, 0, "9999-12-31T23:59:59.999999Z"),
        ] {
            let time = WallTime::from_unix(Duration::new(seconds, nanos));
            assert_eq!(time.to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn every_moment_is_written_as_kubernetes_types_write_it(micros in 0_i64..253_402_207_200_000_000) {
            let ours = WallTime::from_unix(Duration::from_micros(micros.unsigned_abs()));
            let theirs = MicroTime(Timestamp::from_microsecond(micros).unwrap());
            prop_assert_eq!(
                serde_json::Value::from(ours.to_string()),
                serde_json::to_value(theirs).unwrap()
            );
        }
    }
}
