//! Owns what a contender is told at its start, and whether that makes sense.

use std::{fmt, time::Duration};

/// The shortest difference between [`LeaseTimings::lease_duration`] and
/// [`LeaseTimings::renew_deadline`]: the renames of a commit that began in the last moment
/// take milliseconds, on a disk that is busy some hundred.
const MARGIN: Duration = Duration::from_secs(1);
/// The longest lease duration, one's own and another's: who takes longer to be missed
/// needs no second process.
pub(super) const LONGEST: Duration = Duration::from_hours(1);
/// The shortest retry period: ten requests a second from each contender.
const SHORTEST_RETRY: Duration = Duration::from_millis(100);

/// Which Lease, in whose name, and how patiently.
#[derive(Clone, Debug)]
pub struct LeaseConfig {
    /// The name of the Lease.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// The contender's name, `holderIdentity`: another one for each process.
    pub identity: String,
    /// Durations.
    pub timings: LeaseTimings,
    /// Where the jitter starts: another one for each process.
    pub seed: u64,
}

/// The durations of an election, as client-go names them. The defaults are its too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTimings {
    /// How long others wait, after they last saw the Lease change, before they take it. Whole
    /// seconds, as the Lease holds them; at most an hour. 15 s.
    pub lease_duration: Duration,
    /// How long after it was last renewed the holder may lead, counted from when the
    /// renewal was sent. Shorter than `lease_duration` by a second and by a tenth of it at
    /// least, which is for clocks that drift and for what is under way. 10 s.
    pub renew_deadline: Duration,
    /// How often the holder renews and the others look, with up to a fifth more by chance. Less
    /// than five sixths of `renew_deadline`. 2 s.
    pub retry_period: Duration,
}

impl Default for LeaseTimings {
    fn default() -> Self {
        Self {
            lease_duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
        }
    }
}

/// One thing that is wrong with a [`LeaseConfig`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseConfigError {
    /// The lease duration is none that a Lease can hold.
    #[error("the lease duration must be whole seconds from 1s to 1h, not {0:?}")]
    LeaseDuration(Duration),
    /// The renew deadline is too close to the lease duration, or beyond it.
    #[error(
        "the renew deadline ({renew_deadline:?}) must be at least {margin:?} shorter than the lease duration ({lease_duration:?}): a leader has to stop before others may start"
    )]
    RenewDeadline {
        /// As given.
        renew_deadline: Duration,
        /// As given.
        lease_duration: Duration,
        /// The least difference.
        margin: Duration,
    },
    /// There is no time to try twice within the renew deadline.
    #[error(
        "the retry period ({retry_period:?}), with a fifth more, must be shorter than the renew deadline ({renew_deadline:?}): a leader has to renew in time"
    )]
    RetryPeriod {
        /// As given.
        retry_period: Duration,
        /// As given.
        renew_deadline: Duration,
    },
    /// The retry period would make a hot loop.
    #[error("the retry period must be at least {least:?}, not {0:?}", least = SHORTEST_RETRY)]
    HotLoop(Duration),
    /// The Lease's name is none.
    #[error(
        "{0:?} is no name of a Lease: lower-case letters, digits, `-` and `.`, at most 253, with a letter or digit at both ends"
    )]
    Name(String),
    /// The namespace is none.
    #[error(
        "{0:?} is no namespace: lower-case letters, digits and `-`, at most 63, with a letter or digit at both ends"
    )]
    Namespace(String),
    /// The identity is empty, which means that nobody holds the Lease, or too long.
    #[error(
        "the identity must be a text of 1 to {longest} bytes without control characters, not {0:?}",
        longest = LONGEST_IDENTITY
    )]
    Identity(String),
}

/// A name of a pod or a host has at most 253 bytes; the rest is for who wants to add to it.
const LONGEST_IDENTITY: usize = 512;

/// All that is wrong with a [`LeaseConfig`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseConfigErrors(pub Vec<LeaseConfigError>);

impl std::error::Error for LeaseConfigErrors {}

impl fmt::Display for LeaseConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            let between = if i == 0 { "" } else { "; " };
            write!(f, "{between}{error}")?;
        }
        Ok(())
    }
}

impl LeaseTimings {
    /// Holds the durations against each other (contract L1).
    ///
    /// # Errors
    /// Each thing that is wrong.
    pub fn validate(&self) -> Result<(), LeaseConfigErrors> {
        let &Self {
            lease_duration,
            renew_deadline,
            retry_period,
        } = self;
        let mut errors = Vec::new();
        let whole = lease_duration.subsec_nanos() == 0;
        if !whole || lease_duration.is_zero() || lease_duration > LONGEST {
            errors.push(LeaseConfigError::LeaseDuration(lease_duration));
        }
        let margin = MARGIN.max(lease_duration / 10);
        if renew_deadline.saturating_add(margin) > lease_duration {
            errors.push(LeaseConfigError::RenewDeadline {
                renew_deadline,
                lease_duration,
                margin,
            });
        }
        if retry_period.saturating_add(retry_period / 5) >= renew_deadline {
            errors.push(LeaseConfigError::RetryPeriod {
                retry_period,
                renew_deadline,
            });
        }
        if retry_period < SHORTEST_RETRY {
            errors.push(LeaseConfigError::HotLoop(retry_period));
        }
        outcome(errors)
    }
}

impl LeaseConfig {
    /// A contender with the default durations.
    #[must_use]
    pub fn new(
        namespace: impl Into<String>,
        name: impl Into<String>,
        identity: impl Into<String>,
    ) -> Self {
        Self {
            name: name.into(),
            namespace: namespace.into(),
            identity: identity.into(),
            timings: LeaseTimings::default(),
            seed: 0,
        }
    }

    /// Checks everything, also that the names can stand in a URL as they are.
    ///
    /// # Errors
    /// Each thing that is wrong.
    pub fn validate(&self) -> Result<(), LeaseConfigErrors> {
        let mut errors = match self.timings.validate() {
            Ok(()) => Vec::new(),
            Err(LeaseConfigErrors(errors)) => errors,
        };
        if !is_name(&self.name, 253, true) {
            errors.push(LeaseConfigError::Name(self.name.clone()));
        }
        if !is_name(&self.namespace, 63, false) {
            errors.push(LeaseConfigError::Namespace(self.namespace.clone()));
        }
        let identity = &self.identity;
        if identity.is_empty()
            || identity.len() > LONGEST_IDENTITY
            || identity.chars().any(char::is_control)
        {
            errors.push(LeaseConfigError::Identity(identity.clone()));
        }
        outcome(errors)
    }
}

fn outcome(errors: Vec<LeaseConfigError>) -> Result<(), LeaseConfigErrors> {
    match errors.is_empty() {
        true => Ok(()),
        false => Err(LeaseConfigErrors(errors)),
    }
}

/// An RFC 1123 label, or with `dots` a subdomain, of labels between the dots.
fn is_name(text: &str, longest: usize, dots: bool) -> bool {
    let label = |label: &str| {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = label.as_bytes();
        bytes.first().is_some_and(|&first| plain(first))
            && bytes.last().is_some_and(|&last| plain(last))
            && bytes.iter().all(|&byte| plain(byte) || byte == b'-')
    };
    text.len() <= longest
        && match dots {
            true => text.split('.').all(label),
            false => label(text),
        }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn check(lease: u64, renew: u64, retry: u64, errors: &[&str]) {
        let timings = LeaseTimings {
            lease_duration: Duration::from_millis(lease),
            renew_deadline: Duration::from_millis(renew),
            retry_period: Duration::from_millis(retry),
        };
        let found = match timings.validate() {
            Ok(()) => Vec::new(),
            Err(LeaseConfigErrors(errors)) => errors.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(found.len(), errors.len(), "{timings:?}: {found:?}");
        for (found, expected) in found.iter().zip(errors) {
            assert!(found.contains(expected), "{found}");
        }
    }

    #[test]
    fn l1_durations_are_held_against_each_other_with_a_sentence_each() {
        assert_eq!(LeaseTimings::default().validate(), Ok(()));
        check(15_000, 10_000, 2_000, &[]);
        check(3_000, 2_000, 500, &[]);
        check(2_000, 1_000, 100, &[]);
        check(15_000, 13_500, 2_000, &[]);
        check(
            10_000,
            15_000,
            2_000,
            &["the renew deadline (15s) must be at least 1s shorter than the lease duration (10s)"],
        );
        check(15_000, 14_000, 2_000, &["at least 1.5s shorter"]);
        check(15_000, 15_000, 2_000, &["at least 1.5s shorter"]);
        check(
            15_000,
            10_000,
            9_000,
            &[
                "the retry period (9s), with a fifth more, must be shorter than the renew deadline (10s)",
            ],
        );
        check(15_000, 10_000, 50, &["must be at least 100ms, not 50ms"]);
        check(
            2_500,
            1_000,
            200,
            &["whole seconds from 1s to 1h, not 2.5s"],
        );
        check(3_601_000, 10_000, 2_000, &["not 3601s"]);
        check(
            0,
            0,
            0,
            &[
                "not 0ns",
                "renew deadline (0ns)",
                "retry period (0ns)",
                "not 0ns",
            ],
        );
        check(
            u64::MAX,
            u64::MAX,
            u64::MAX,
            &["whole seconds", "shorter", "a fifth more"],
        );
    }

    #[test]
    fn l1_names_that_cannot_stand_in_a_url_are_refused() {
        let config = |namespace: &str, name: &str, identity: &str| {
            LeaseConfig::new(namespace, name, identity).validate()
        };
        assert_eq!(config("shop", "haptic-host", "host-0"), Ok(()));
        assert_eq!(config("shop-2", "a.b-c.d", "Any Text"), Ok(()));
        for name in [
            "",
            "A",
            "a/b",
            "../x",
            "-a",
            "a-",
            "a..b",
            "a.",
            "ä",
            "a?b",
            &"a".repeat(254),
        ] {
            let LeaseConfigErrors(errors) = config("shop", name, "me").unwrap_err();
            assert_eq!(errors, [LeaseConfigError::Name(name.to_owned())]);
        }
        for namespace in ["", "a.b", "a/b", "Shop", &"a".repeat(64)] {
            let LeaseConfigErrors(errors) = config(namespace, "x", "me").unwrap_err();
            assert_eq!(errors, [LeaseConfigError::Namespace(namespace.to_owned())]);
        }
        for identity in ["", "a\nb", &"a".repeat(513)] {
            let LeaseConfigErrors(errors) = config("shop", "x", identity).unwrap_err();
            assert_eq!(errors, [LeaseConfigError::Identity(identity.to_owned())]);
        }
    }
}
