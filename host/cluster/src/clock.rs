//! Time, uids and name suffixes: the only sources of chance in the server.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A clock beyond the year 2250 counts as this one: readers that keep numbers
/// as floats know those up to 2^53 exactly.
const LATEST_START: u64 = 1 << 53;

/// Where `creationTimestamp`, ages and the first resourceVersion come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Clock {
    /// The machine's clock.
    #[default]
    System,
    /// Always this moment, so that a test sees the same bytes on every run.
    Fixed(SystemTime),
}

impl Clock {
    /// Seconds since the Unix epoch; zero for moments before it.
    pub(crate) fn now(self) -> u64 {
        self.moment()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO)
            .as_secs()
    }

    fn moment(self) -> SystemTime {
        match self {
            Self::System => SystemTime::now(),
            Self::Fixed(moment) => moment,
        }
    }

    /// The resourceVersion of a server that starts now: microseconds since
    /// the epoch. A server writes less than once a microsecond, so that one
    /// which starts later in its place gives none of the same versions.
    pub(crate) fn first_version(self) -> u64 {
        let since_epoch = self.moment().duration_since(UNIX_EPOCH);
        let micros = since_epoch.unwrap_or(Duration::ZERO).as_micros();
        u64::try_from(micros)
            .unwrap_or(LATEST_START)
            .clamp(1, LATEST_START)
    }

    /// The moment as Kubernetes writes it, such as `2024-02-29T12:00:00Z`.
    pub(crate) fn timestamp(self) -> String {
        format_timestamp(self.now())
    }
}

/// `seconds` since the epoch as RFC 3339 in UTC.
pub(crate) fn format_timestamp(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Howard Hinnant's civil_from_days, for days since 1970-01-01.
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 {
        month_index + 3
    } else {
        month_index - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        rest / 3_600,
        rest / 60 % 60,
        rest % 60
    )
}

/// The seconds since the epoch of an RFC 3339 moment in UTC, fractions cut off.
pub(crate) fn parse_timestamp(text: &str) -> Option<u64> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<u64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    if !text.ends_with('Z') || year < 1970 || !(1..=12).contains(&month) {
        return None;
    }
    let shifted_year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (shifted_year / 400, shifted_year % 400);
    let month_index = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * month_index + 2) / 5 + day.checked_sub(1)?;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = (era * 146_097 + day_of_era).checked_sub(719_468)?;
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// `seconds` as the AGE column of kubectl shows it.
pub(crate) fn human_age(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    let pair = |big: u64, big_unit: &str, small: u64, small_unit: &str| {
        if small == 0 {
            format!("{big}{big_unit}")
        } else {
            format!("{big}{big_unit}{small}{small_unit}")
        }
    };
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => pair(minutes, "m", seconds % 60, "s"),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => pair(hours, "h", minutes % 60, "m"),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => pair(days, "d", hours % 24, "h"),
        691_200..63_072_000 => format!("{days}d"),
        63_072_000..252_288_000 => pair(days / 365, "y", days % 365, "d"),
        _ => format!("{}y", days / 365),
    }
}

/// A splitmix64 sequence: not a secret, only unlikely to repeat.
#[derive(Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    /// The sequence of `seed`, or one that differs on every start.
    pub(crate) fn new(seed: Option<u64>) -> Self {
        Self(seed.unwrap_or_else(|| RandomState::new().build_hasher().finish()))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A uid in the form of a version 4 UUID.
    pub(crate) fn uid(&mut self) -> String {
        let (high, low) = (self.next(), self.next());
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xfff,
            low >> 48 & 0x3fff | 0x8000,
            low & 0xffff_ffff_ffff
        )
    }

    /// An address for a Service, in the range that kubeadm uses.
    pub(crate) fn service_address(&mut self) -> String {
        let host = self.next() % 0xf_fff0 + 10;
        format!(
            "10.{}.{}.{}",
            96 + (host >> 16),
            host >> 8 & 0xff,
            host & 0xff
        )
    }

    /// Five characters, as `generateName` appends them.
    pub(crate) fn suffix(&mut self) -> String {
        const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
        let mut rest = self.next();
        (0..5)
            .map(|_| {
                let index = usize::try_from(rest % 27).unwrap_or(0);
                rest /= 27;
                char::from(ALPHABET[index])
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_survive_the_round_trip() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_208_000, "2024-02-29T12:00:00Z"),
            (4_102_444_799, "2099-12-31T23:59:59Z"),
        ] {
            assert_eq!(format_timestamp(seconds), text);
            assert_eq!(parse_timestamp(text), Some(seconds));
        }
        assert_eq!(
            parse_timestamp("2024-02-29T12:00:00.123456Z"),
            Some(1_709_208_000)
        );
        assert_eq!(parse_timestamp("yesterday"), None);
    }

    #[test]
    fn a_server_starts_at_the_version_of_its_moment() {
        let at = |since_epoch| Clock::Fixed(UNIX_EPOCH + since_epoch).first_version();
        assert_eq!(at(Duration::ZERO), 1);
        assert_eq!(
            at(Duration::from_micros(1_709_208_000_000_001)),
            1_709_208_000_000_001
        );
        assert_eq!(at(Duration::from_secs(1 << 60)), LATEST_START);
        assert!(Clock::System.first_version() > 1_709_208_000_000_000);
    }

    #[test]
    fn ages_read_as_kubectl_writes_them() {
        for (seconds, text) in [
            (5, "5s"),
            (119, "119s"),
            (130, "2m10s"),
            (660, "11m"),
            (3 * 3600 + 60, "3h1m"),
            (10 * 3600, "10h"),
            (3 * 86_400, "3d"),
            (9 * 86_400, "9d"),
        ] {
            assert_eq!(human_age(seconds), text);
        }
    }

    #[test]
    fn one_seed_gives_one_sequence() {
        let (mut left, mut right) = (Chance::new(Some(7)), Chance::new(Some(7)));
        assert_eq!(left.uid(), right.uid());
        assert_eq!(left.suffix(), right.suffix());
        assert_ne!(left.uid(), left.uid());
    }
}
