//! haptic-host as a library: for controllers in Rust, the watches, stores and callbacks
//! that the host has for plugins ([`Watcher`], [`SingleWatcher`], [`WatcherGroup`]); and
//! the plugin runtime, the watch driver and the dispatch loop that the binary is made of.
//!
//! The way of the data: [`driver`] feeds an API server's bytes to
//! [`haptic_core::watch`]; [`run`] applies what comes out to
//! [`haptic_core::engine`] and hands the callbacks that are due to
//! [`worker`]s, which call into [`plugin`]s and commit what they wrote to an
//! [`output::Sink`].

pub mod access;
pub mod cached;
mod chain;
pub mod cli;
pub mod config;
pub mod deploy;
mod diff;
pub mod driver;
pub mod grants;
pub mod leader;
pub mod observe;
pub mod oci;
pub mod output;
mod paced;
pub mod plugin;
pub mod record;
mod replay;
pub mod rights;
pub mod run;
pub mod source;
pub mod store;
pub mod watcher;
mod watches;
pub mod worker;

pub use haptic_core::{
    changes::ChangeKind,
    decode::MissingKey,
    spec::{SpecError, SpecErrors},
    view::ReadError,
    watch::WatchState,
};

pub use access::{Access, AccessOptions, connect};
pub use store::{Change, Freshness, Item, MemoryStore, Snapshot, Store, View};
pub use watcher::{
    ChangeStats, ObjectEvent, SingleWatcher, StartError, Status, Stopped, Stopper, Watch, Watcher,
    WatcherGroup,
};
