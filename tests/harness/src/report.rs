//! What ran, and what went wrong.

use std::{fmt, time::Duration};

use haptic_core::engine;
use haptic_host::plugin::{CallError, LogLine};

use crate::{Cost, logs::show, objects::ObjectError};

/// A callback that ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callback {
    /// When, in virtual time since the test began.
    pub at: Duration,
    /// The name of its watch.
    pub watch: String,
    /// Which one, with its arguments.
    pub kind: CallbackKind,
    /// The names of the outputs that it wrote, in order; empty when it failed.
    pub wrote: Vec<String>,
    /// Why it failed; `None`: it returned ok.
    pub error: Option<CallError>,
    /// It returned ok and counts as failed all the same, because its outputs were not committed:
    /// what [`fail_commit`](crate::Harness::fail_commit) said.
    pub uncommitted: Option<String>,
    /// What it cost. `None`: natively, and when it could not be called, for the plugin had died
    /// before and did not come up.
    pub cost: Option<Cost>,
    /// What it used beyond its [`Budget`](crate::Budget), which fails the step and nothing else.
    pub over_budget: Option<String>,
}

impl Callback {
    /// Whether it returned ok and its outputs were committed.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.error.is_none() && self.uncommitted.is_none()
    }
}

/// A callback's name and arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallbackKind {
    /// `on-sync-complete`.
    SyncComplete {
        /// Objects in the store.
        initial_count: usize,
    },
    /// `on-change`.
    Change {
        /// New objects.
        created: usize,
        /// Changed objects.
        modified: usize,
        /// Objects that are gone.
        deleted: usize,
        /// Before the store was synced.
        is_initial_sync: bool,
    },
    /// `on-resource-change` with an object that exists, as `namespace/name`.
    Applied(String),
    /// `on-resource-change` with an object that is gone, as `namespace/name`.
    Deleted(String),
    /// `on-resource-change` without an object.
    Absent,
}

impl CallbackKind {
    pub(crate) fn of(callback: &engine::Callback) -> Self {
        match callback {
            engine::Callback::SyncComplete { initial_count, .. } => Self::SyncComplete {
                initial_count: *initial_count,
            },
            engine::Callback::Change {
                stats,
                is_initial_sync,
                ..
            } => Self::Change {
                created: stats.created,
                modified: stats.modified,
                deleted: stats.deleted,
                is_initial_sync: *is_initial_sync,
            },
            engine::Callback::Resource { event, .. } => match event {
                engine::ResourceEvent::Applied(object) => {
                    Self::Applied(object.identity().to_string())
                }
                engine::ResourceEvent::Deleted(object) => {
                    Self::Deleted(object.identity().to_string())
                }
                engine::ResourceEvent::Absent => Self::Absent,
            },
        }
    }
}

impl fmt::Display for Callback {
    /// One line: `+500ms services on-change +1 ~0 -0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{:?} {} ", self.at, self.watch)?;
        match &self.kind {
            CallbackKind::SyncComplete { initial_count } => {
                write!(f, "on-sync-complete {initial_count}")?;
            }
            CallbackKind::Change {
                created,
                modified,
                deleted,
                is_initial_sync,
            } => {
                write!(f, "on-change +{created} ~{modified} -{deleted}")?;
                if *is_initial_sync {
                    f.write_str(" (initial sync)")?;
                }
            }
            CallbackKind::Applied(object) => write!(f, "on-resource-change applied {object}")?,
            CallbackKind::Deleted(object) => write!(f, "on-resource-change deleted {object}")?,
            CallbackKind::Absent => f.write_str("on-resource-change absent")?,
        }
        match (&self.error, &self.uncommitted) {
            (Some(error), _) => write!(f, ": {error}")?,
            (None, Some(why)) => write!(f, ": its outputs were not committed: {why}")?,
            (None, None) => {}
        }
        match &self.over_budget {
            Some(exceeded) => write!(
                f,
                "{} it was over its budget: {exceeded}",
                if self.succeeded() { ":" } else { ";" }
            ),
            None => Ok(()),
        }
    }
}

/// Why a step of a test did not succeed.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// The objects were not taken; nothing happened.
    #[error(transparent)]
    Objects(#[from] ObjectError),
    /// Callbacks failed; everything else that was due has run.
    #[error(transparent)]
    Callbacks(#[from] Failures),
}

impl fmt::Debug for StepError {
    /// The sentence: `unwrap()` prints this.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Callbacks that failed during one step, and what the plugin logged during it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failures {
    /// The callbacks, each with its error.
    pub callbacks: Vec<Callback>,
    /// All log lines of the step.
    pub logs: Vec<LogLine>,
}

impl std::error::Error for Failures {}

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let callbacks: Vec<_> = self.callbacks.iter().map(ToString::to_string).collect();
        f.write_str(&callbacks.join("\n"))?;
        /// Lines of log in a report: the last ones tell most.
        const LINES: usize = 20;
        let skipped = self.logs.len().saturating_sub(LINES);
        if !self.logs.is_empty() {
            f.write_str("\nthe plugin logged:")?;
        }
        if skipped > 0 {
            write!(f, "\n  ({skipped} lines)")?;
        }
        for line in self.logs.iter().skip(skipped) {
            write!(f, "\n  {}", show(line))?;
        }
        Ok(())
    }
}
