//! Owns the life of one watch, as a state machine without IO: discovery, list,
//! watch, resume, relist, fall-back, backoff, deadlines (contract W1, W4–W9). Knows
//! neither where objects are kept nor how bytes travel: it is told what happened
//! ([`Input`]) and when ([`Time`](crate::Time)), and says what to do ([`Action`]).
//!
//! ```text
//! Discover ──▶ StreamingList ──▶ (the same stream goes on as a watch) ──▶ Watch ⟲
//!    ▲  │ absent      │ unsupported                                       ▲   │ 410
//!    └──┘             ▼                                                   │   ▼
//!               List, page after page ────────────────────────────────────┘  relist
//! ```
//!
//! A shell performs it so:
//!
//! 1. feed [`Input::Start`]; perform the actions of each step in order;
//! 2. on [`Action::Send`], drop the request in flight; when
//!    [`RequestKind::is_list`], wait for a permit unless one is held; send, and feed
//!    [`Input::Sent`]; then [`Input::Headers`], [`Input::Chunk`]s, and [`Input::End`] or
//!    [`Input::Failed`];
//! 3. feed [`Input::Tick`] at [`Machine::deadline`], which each step may move;
//! 4. give the permit back when [`Machine::needs_list_permit`] has become false.

mod answer;
mod backoff;
mod config;
mod discovery;
mod follow;
mod io;
mod machine;
mod problem;
mod recover;
mod request;

#[cfg(test)]
mod tests;

pub(crate) use backoff::Random;
pub use config::{ResourceRef, StreamingPreference, WatchConfig, WatchLimits};
pub use io::{
    Action, Input, NoteLevel, Request, RequestKind, TransportError, TransportErrorKind,
    WatchOutput, WatchState,
};
pub use machine::Machine;
pub(crate) use problem::excerpt;
pub use request::object_path;
