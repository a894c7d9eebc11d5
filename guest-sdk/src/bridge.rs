//! What libraries log with the `log` and `tracing` crates, as the plugin's lines. Each is behind
//! the feature of its name.

#[cfg(feature = "log")]
mod log_crate;
#[cfg(feature = "tracing")]
mod tracing_crate;

use std::sync::Once;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::log::Level;

/// The least important level that passes, as `Level as u8` would have it.
static MAX: AtomicU8 = AtomicU8::new(rank(Level::Info));

const fn rank(level: Level) -> u8 {
    match level {
        Level::Error => 0,
        Level::Warn => 1,
        Level::Info => 2,
        Level::Debug => 3,
        Level::Trace => 4,
    }
}

/// Whether a line of this level passes.
#[cfg(any(feature = "log", feature = "tracing"))]
fn passes(level: Level) -> bool {
    rank(level) <= MAX.load(Ordering::Relaxed)
}

/// See [`crate::log::set_library_level`].
pub(crate) fn set_level(level: Level) {
    MAX.store(rank(level), Ordering::Relaxed);
    #[cfg(feature = "log")]
    log_crate::set_level(level);
    #[cfg(feature = "tracing")]
    tracing_crate::level_changed();
}

/// Puts the bridges in place, once in a process. Natively somebody else's logger may be in place
/// already, a test's say: then that one stays.
pub(crate) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        #[cfg(feature = "log")]
        log_crate::install();
        #[cfg(feature = "tracing")]
        tracing_crate::install();
    });
}
