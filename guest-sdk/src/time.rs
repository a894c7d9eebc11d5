//! The date.

use std::time::SystemTime;

use crate::sys;

/// The date and time of day: in a component what [`SystemTime::now`] answers, and natively the
/// date of the [backend](crate::native::Backend::now), which in a test harness is the test's. With
/// the standard library's a native test would see the machine's clock.
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// let in_a_week = haptic_guest::time::now() + Duration::from_secs(7 * 24 * 3_600);
/// let expires = SystemTime::UNIX_EPOCH;
/// assert!(expires < in_a_week, "then the certificate should be renewed");
/// ```
#[must_use]
pub fn now() -> SystemTime {
    sys::now()
}
