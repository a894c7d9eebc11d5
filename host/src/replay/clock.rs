//! The clock of a replay: it stands still but for when it is set.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use haptic_core::{Time, lease::WallTime};
use tracing_subscriber::fmt::{
    format::Writer,
    time::{FormatTime, SystemTime},
};

/// Shared by all clones.
#[derive(Clone, Debug)]
pub(crate) struct VirtualClock {
    /// Since 1970, when the recording began.
    started: Duration,
    /// Nanoseconds since then.
    now: Arc<AtomicU64>,
}

impl VirtualClock {
    /// At the beginning of a recording that was begun then.
    pub(crate) fn new(started: Duration) -> Self {
        Self {
            started,
            now: Arc::default(),
        }
    }

    pub(crate) fn set(&self, now: Time) {
        let nanos = now.since_origin().as_nanos();
        self.now
            .store(u64::try_from(nanos).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn now(&self) -> Time {
        Time::from_origin(Duration::from_nanos(self.now.load(Ordering::Relaxed)))
    }

    /// The moment that a wall clock showed when it was recorded, since 1970.
    pub(crate) fn wall(&self) -> Duration {
        self.started.saturating_add(self.now().since_origin())
    }
}

/// What log lines begin with: the time of a clock that was [shown](VirtualTime::show), if there
/// is one, and else the system's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VirtualTime;

static SHOWN: OnceLock<VirtualClock> = OnceLock::new();

impl VirtualTime {
    /// Log lines have this clock's time from here on; of several the first.
    pub(crate) fn show(clock: &VirtualClock) {
        SHOWN.get_or_init(|| clock.clone());
    }
}

impl FormatTime for VirtualTime {
    fn format_time(&self, w: &mut Writer<'_>) -> fmt::Result {
        match SHOWN.get() {
            Some(clock) => write!(w, "{}", WallTime::from_unix(clock.wall())),
            None => SystemTime.format_time(w),
        }
    }
}
