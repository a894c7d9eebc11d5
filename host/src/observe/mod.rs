//! Seeing what the host does (contract V1): `/metrics`, `/healthz`, `/readyz`,
//! `/debug/state`, and a page for a person at `/`. Asks the dispatch loop and holds
//! no state of its own, so that an answer is never old, and a loop that is stuck
//! fails `/healthz`.

mod book;
mod metrics;
mod serve;
mod state;

pub(crate) use book::Books;
pub use metrics::Metrics;
pub use serve::{Ask, ServeError, Server};
pub use state::{
    CacheStatus, CallbackStatus, ErrorStatus, HookStatus, HostState, LeaderStatus, MAX_OUTPUTS,
    OutputStatus, PluginStatus, ReloadStatus, Unreadable, WatchStatus,
};
