//! Seeing what the host does (contract V1): `/metrics`, `/healthz`, `/readyz`,
//! `/debug/state`, and a page for a person at `/`. Asks the dispatch loop and holds
//! no state of its own, so that an answer is of this moment, and a loop that is stuck
//! fails `/healthz`. Nothing is asked, and nothing is added up, while nobody looks.

mod book;
mod durations;
mod metrics;
mod page;
mod process;
mod serve;
mod state;

pub(crate) use book::Books;
pub use durations::{BOUNDS, Durations};
pub use process::ProcessStatus;
pub use serve::{Ask, ServeError, Server};
pub(crate) use state::sentence;
pub use state::{
    CacheStatus, CallbackCount, CallbackStatus, ChangeCount, CommitStatus, ErrorStatus, HookStatus,
    HostState, LeaderStatus, MAX_CALLBACKS, MAX_OUTPUTS, OutputStatus, OutputsStatus, PluginState,
    PluginStatus, ReloadStatus, RequestStatus, RunningStatus, ScopeStatus, ShardStatus,
    TrafficStatus, Unreadable, WatchStatus,
};
