//! The command that runs after a commit that changed something (`--on-output`): when
//! it is due ([`Schedule`], which is pure) and how it runs ([`run`]).
//!
//! It runs beside the plugin's callbacks and never beside itself: what is committed
//! during a run leads to one more run. A run that fails is repeated, later and later,
//! until one succeeds or something new is committed. That it is due is written down
//! with the commit ([`Mark`](super::Mark)), so that it is also run when the host was
//! killed in between: after the first commit of the next process, or of the next
//! leader, which need not change anything.

mod process;
mod running;
mod schedule;

use std::time::Duration;

pub use process::{HookError, Occasion, run};
pub(crate) use running::{HookOptions, HookReport, Hooks};
pub use schedule::{Schedule, Standing};

/// How long a run may take unless it is told: a proxy that checks thousands of
/// certificates and takes over their sockets needs seconds; what hangs shall be
/// noticed while whoever changed something still looks.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// A hook, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookConfig {
    /// What `sh -c` is given.
    pub command: String,
    /// How long a run may take.
    pub timeout: Duration,
}
