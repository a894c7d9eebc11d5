//! Log lines with the time of a replay.

use std::{
    fmt,
    sync::OnceLock,
    time::{Duration, SystemTime},
};

use haptic_core::lease::WallTime;
use tracing_subscriber::fmt::{
    format::Writer,
    time::{self, FormatTime},
};

use crate::plugin::VirtualClock;

/// What log lines begin with: the date of a clock that was [shown](LogTime::show), if there is
/// one, and else the system's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogTime;

static SHOWN: OnceLock<VirtualClock> = OnceLock::new();

impl LogTime {
    /// Log lines have this clock's date from here on; of several the first.
    pub(crate) fn show(clock: &VirtualClock) {
        SHOWN.get_or_init(|| clock.clone());
    }
}

impl FormatTime for LogTime {
    fn format_time(&self, w: &mut Writer<'_>) -> fmt::Result {
        let Some(clock) = SHOWN.get() else {
            return time::SystemTime.format_time(w);
        };
        let since_epoch = clock.date().duration_since(SystemTime::UNIX_EPOCH);
        let date = WallTime::from_unix(since_epoch.unwrap_or(Duration::ZERO));
        write!(w, "{date}")
    }
}
