//! What the log says of callbacks and hooks: a line for each (contract V2).

use std::time::Duration;

use haptic_core::engine::{BACKOFF_MAX, Callback, Engine, PluginId};
use tracing::{error, info};

use super::{RunError, dispatch::Dispatch};
use crate::{
    chain::chain,
    diff,
    output::hook::HookError,
    worker::{Committed, Done, WorkError},
};

impl Dispatch {
    /// A run of a hook ended.
    ///
    /// # Errors
    /// [`RunError`] with `--once`, which a failure ends.
    pub(super) fn hook_ended(
        &mut self,
        id: tokio::task::Id,
        result: Result<(), HookError>,
    ) -> Result<(), RunError> {
        let Some(ended) = self.hooks.take_in(self.clock.now(), id, result) else {
            return Ok(());
        };
        let (plugin, duration_ms) = (ended.plugin, millis(ended.duration));
        match ended.result {
            Ok(()) => info!(plugin, duration_ms, "hook"),
            Err(source) if self.options.once => return Err(RunError::Hook { plugin, source }),
            Err(error) => {
                let failures = ended.failures;
                error!(
                    plugin,
                    duration_ms,
                    failures,
                    "the hook failed, it is tried again: {}",
                    chain(&error)
                );
            }
        }
        Ok(())
    }

    /// Answers the error of a callback that failed.
    ///
    /// # Errors
    /// [`RunError`] with `--once`, which a failure ends.
    pub(super) fn report(
        &self,
        plugin: PluginId,
        done: Done,
    ) -> Result<Option<WorkError>, RunError> {
        let name = self.engine.plugin_name(plugin);
        let watch = done.watch_name.as_str();
        let committed = match done.result {
            Ok(committed) => committed,
            Err(error) if self.options.once => {
                let plugin = name.to_owned();
                return Err(match error {
                    WorkError::Call(source) => RunError::Plugin { plugin, source },
                    WorkError::Commit(source) => RunError::Output { plugin, source },
                    WorkError::Host => RunError::Host { plugin },
                });
            }
            Err(error) if error.leadership_was_lost() => {
                info!(
                    plugin = name,
                    watch, "leadership was lost while a callback ran; nothing was written"
                );
                return Ok(None);
            }
            Err(error) => {
                report_failure(&self.engine, plugin, watch, &error);
                return Ok(Some(error));
            }
        };
        let duration_ms = Some(millis(committed.duration));
        report_success(name, watch, &done.callback, &committed, duration_ms);
        self.show_diff(&committed);
        Ok(None)
    }

    pub(super) fn show_diff(&self, committed: &Committed) {
        if self.options.diff {
            show_diff(committed);
        }
    }
}

/// One line for a callback that succeeded.
pub(crate) fn report_success(
    plugin: &str,
    watch: &str,
    callback: &Callback,
    committed: &Committed,
    duration_ms: Option<f64>,
) {
    let name = callback.export();
    let (bytes, changed) = (committed.bytes, committed.changed.len());
    match callback {
        Callback::SyncComplete { initial_count, .. } => {
            info!(
                plugin,
                watch,
                objects = initial_count,
                duration_ms,
                bytes,
                changed,
                "{name}"
            );
        }
        Callback::Change { stats, .. } => info!(
            plugin,
            watch,
            created = stats.created,
            modified = stats.modified,
            deleted = stats.deleted,
            duration_ms,
            bytes,
            changed,
            "{name}"
        ),
        Callback::Resource { .. } => {
            info!(plugin, watch, duration_ms, bytes, changed, "{name}");
        }
    }
}

/// One line for a callback that failed, which the engine knows of.
pub(crate) fn report_failure(engine: &Engine, plugin: PluginId, watch: &str, error: &WorkError) {
    let (failures, error) = (engine.failures(plugin), chain(error));
    let name = engine.plugin_name(plugin);
    if engine.is_broken(plugin) {
        error!(
            plugin = name,
            watch,
            failures,
            "{error}; nothing was written; given up: its outputs stay as they are, and it is tried again after {BACKOFF_MAX:?}"
        );
    } else {
        error!(
            plugin = name,
            watch, failures, "{error}; nothing was written, it is tried again"
        );
    }
}

/// What a commit has changed, on standard output.
pub(crate) fn show_diff(committed: &Committed) {
    for change in &committed.changed {
        diff::print(change);
    }
}

/// A number, so that machines can compare it; microseconds are all that a clock is worth.
fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
