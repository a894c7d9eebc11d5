//! What the dispatch loop remembers of each plugin for those who ask. Is told of
//! every callback; forgets nothing but outputs beyond a bound.

use std::{collections::HashMap, sync::Arc};

use haptic_core::{
    Time,
    engine::{Callback, Engine, Outcome, PluginId},
};

use super::{
    CallbackStatus, ErrorStatus, MAX_OUTPUTS, Metrics, OutputStatus, PluginStatus, ReloadStatus,
};
use crate::{
    chain::chain,
    plugin::OutputName,
    worker::{Committed, WorkError},
};

/// The books of all plugins, and the counters that they feed.
#[derive(Default)]
pub(crate) struct Books {
    metrics: Arc<Metrics>,
    plugins: HashMap<PluginId, Book>,
}

#[derive(Default)]
struct Book {
    name: String,
    sink: String,
    succeeded: u64,
    failed: u64,
    restarts: u64,
    memory: u64,
    last: Option<(Time, CallbackStatus)>,
    last_error: Option<(Time, String)>,
    /// Name and size, the last changed first.
    outputs: Vec<(Time, OutputName, usize)>,
}

impl Books {
    pub(crate) fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    pub(crate) fn open(&mut self, plugin: PluginId, name: &str, sink: String) {
        let book = Book {
            name: name.to_owned(),
            sink,
            ..Book::default()
        };
        self.plugins.insert(plugin, book);
    }

    /// A callback ended.
    pub(crate) fn enter(
        &mut self,
        now: Time,
        plugin: PluginId,
        callback: &Callback,
        watch: &str,
        result: &Result<Committed, WorkError>,
    ) {
        let Some(book) = self.plugins.get_mut(&plugin) else {
            return;
        };
        match result {
            Ok(committed) => {
                self.metrics.succeeded(
                    &book.name,
                    callback.export(),
                    committed.duration,
                    committed.bytes,
                    committed.changed.len(),
                );
                book.succeed(now, callback, watch, committed);
            }
            Err(error) => {
                self.metrics.failed(&book.name, callback.export());
                book.failed += 1;
                if error.outcome() == Outcome::Died {
                    book.restarts += 1;
                }
                let text = format!("{} {watch}: {}", callback.export(), chain(error));
                book.last_error = Some((now, text));
            }
        }
    }

    /// A new version has taken the place of an old one, and what it wrote is in its place.
    pub(crate) fn replaced(
        &mut self,
        now: Time,
        old: PluginId,
        new: PluginId,
        committed: &Committed,
    ) {
        if let Some(mut book) = self.plugins.remove(&old) {
            book.restarts += 1;
            book.committed(now, committed);
            self.plugins.insert(new, book);
        }
    }

    /// The plugins, by name.
    pub(crate) fn plugins(&self, now: Time, engine: &Engine) -> Vec<PluginStatus> {
        let mut plugins: Vec<PluginStatus> = self
            .plugins
            .iter()
            .map(|(&id, book)| book.status(now, engine, id))
            .collect();
        plugins.sort_by(|a, b| a.name.cmp(&b.name));
        plugins
    }
}

impl Book {
    fn succeed(&mut self, now: Time, callback: &Callback, watch: &str, committed: &Committed) {
        self.succeeded += 1;
        let (created, modified, deleted) = match callback {
            Callback::Change { stats, .. } => (stats.created, stats.modified, stats.deleted),
            Callback::SyncComplete { initial_count, .. } => (*initial_count, 0, 0),
            Callback::Resource { .. } => (0, 0, 0),
        };
        let status = CallbackStatus {
            callback: callback.export().to_owned(),
            watch: watch.to_owned(),
            created,
            modified,
            deleted,
            duration_seconds: committed.duration.as_secs_f64(),
            ago_seconds: 0.0,
        };
        self.last = Some((now, status));
        self.committed(now, committed);
    }

    fn committed(&mut self, now: Time, committed: &Committed) {
        self.memory = committed.memory;
        // By name, and no more of them than are shown: a commit may be of 100,000.
        let changed = &committed.changed;
        let unchanged = |name: &OutputName| changed.binary_search_by(|c| c.name.cmp(name)).is_err();
        let mut outputs: Vec<_> = changed
            .iter()
            .take(MAX_OUTPUTS)
            .map(|changed| (now, changed.name.clone(), changed.after.len()))
            .collect();
        outputs.extend(
            self.outputs
                .drain(..)
                .filter(|(_, name, _)| unchanged(name)),
        );
        outputs.truncate(MAX_OUTPUTS);
        self.outputs = outputs;
    }

    fn status(&self, now: Time, engine: &Engine, id: PluginId) -> PluginStatus {
        let ago = |at: Time| (now - at).as_secs_f64();
        PluginStatus {
            name: self.name.clone(),
            synced: engine.is_synced(id),
            broken: engine.is_broken(id),
            failures: engine.failures(id),
            succeeded: self.succeeded,
            failed: self.failed,
            restarts: self.restarts,
            memory_bytes: self.memory,
            last: self.last.clone().map(|(at, status)| CallbackStatus {
                ago_seconds: ago(at),
                ..status
            }),
            last_error: self.last_error.clone().map(|(at, text)| ErrorStatus {
                text,
                ago_seconds: ago(at),
            }),
            sink: self.sink.clone(),
            hook: None,
            reload: ReloadStatus::default(),
            outputs: self
                .outputs
                .iter()
                .map(|(at, name, bytes)| OutputStatus {
                    name: name.to_string(),
                    bytes: *bytes,
                    ago_seconds: ago(*at),
                })
                .collect(),
        }
    }
}
