//! What is asked of plugins, and how it ended: the words between the engine and
//! whoever runs callbacks.

use std::sync::Arc;

use super::PluginId;
use crate::{Object, changes::Stats, view::View};

/// What a watch of one object reports (contract R2).
#[derive(Clone, Debug)]
pub enum ResourceEvent {
    /// It exists, and this is it.
    Applied(Arc<Object>),
    /// It was deleted; this was it.
    Deleted(Arc<Object>),
    /// There was none when the watch synced.
    Absent,
}

/// A callback that is due, by the index of a watch among its plugin's.
#[derive(Clone, Debug)]
pub enum Callback {
    /// `on-sync-complete`: the watch's store holds everything.
    SyncComplete {
        /// Which watch.
        watch: usize,
        /// Objects in the store.
        initial_count: usize,
    },
    /// `on-change`: objects of the watch changed.
    Change {
        /// Which watch.
        watch: usize,
        /// Net changes since the last successful callback; never empty.
        stats: Stats,
        /// Whether the watch has not synced yet.
        is_initial_sync: bool,
    },
    /// `on-resource-change`: the one object of the watch changed.
    Resource {
        /// Which watch.
        watch: usize,
        /// What happened.
        event: ResourceEvent,
    },
}

impl Callback {
    /// Which watch of the plugin it is about.
    #[must_use]
    pub fn watch(&self) -> usize {
        match self {
            Self::SyncComplete { watch, .. }
            | Self::Change { watch, .. }
            | Self::Resource { watch, .. } => *watch,
        }
    }

    /// The name of the export.
    #[must_use]
    pub fn export(&self) -> &'static str {
        match self {
            Self::SyncComplete { .. } => "on-sync-complete",
            Self::Change { .. } => "on-change",
            Self::Resource { .. } => "on-resource-change",
        }
    }
}

/// A callback to run now. The engine gives no other one for the same plugin
/// before [`Engine::finished`](super::Engine::finished) was called (contract C4).
#[derive(Clone, Debug)]
pub struct Call {
    /// Whose.
    pub plugin: PluginId,
    /// What.
    pub callback: Callback,
    /// What it sees.
    pub view: Arc<View>,
    /// What becomes of its outputs.
    pub outputs: Disposal,
}

/// What becomes of the outputs of a callback that returned ok.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposal {
    /// They are committed.
    Commit,
    /// They are kept until the plugin takes over (contract P3), over those that it wrote
    /// before; `first`: over nothing, since what it wrote before was for another try.
    Keep {
        /// Whether a try begins.
        first: bool,
    },
}

/// How a callback ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It returned ok and its outputs are on their way.
    Ok,
    /// It failed and its instance lives: its changes come again, with newer ones.
    Failed,
    /// It returned ok, and its outputs were dropped because this process does not lead
    /// any more: no failure, but its changes come again.
    NotLeading,
    /// Its instance is gone: the next one is told everything anew (contract P2).
    Died,
}
