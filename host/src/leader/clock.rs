//! The clock of an election: monotonic, the same for all of the process, and on Linux one that
//! goes on while the machine is suspended, as other contenders' clocks do. Elsewhere a contender
//! that was suspended finds out by its next request, at most.

use std::time::Duration;

use haptic_core::Time;
use rustix::time::{ClockId, clock_gettime};

#[cfg(target_os = "linux")]
const CLOCK: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const CLOCK: ClockId = ClockId::Monotonic;

/// Now, since the machine's start.
pub(super) fn now() -> Time {
    let now = clock_gettime(CLOCK);
    // Neither is ever negative on these clocks.
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    let nanos = u32::try_from(now.tv_nsec).unwrap_or_default();
    Time::from_origin(Duration::new(seconds, nanos))
}

/// `None` is for ever. Timers stand still while the machine is suspended, so this may end late;
/// whoever acts as the leader compares with [`now`] and not with what a timer said.
pub(super) async fn sleep_until(deadline: Option<Time>) {
    match deadline {
        Some(deadline) => tokio::time::sleep(deadline - now()).await,
        None => std::future::pending().await,
    }
}
