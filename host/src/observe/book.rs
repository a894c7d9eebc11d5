//! What the dispatch loop remembers of each plugin for those who ask. Is told of
//! every callback; forgets nothing but callbacks and outputs beyond a bound.

use std::collections::{BTreeMap, HashMap, VecDeque};

use haptic_core::{
    Time,
    engine::{Callback, Engine, Outcome, PluginId},
};

use super::{
    CallbackCount, CallbackStatus, ChangeCount, CommitStatus, Durations, ErrorStatus,
    MAX_CALLBACKS, MAX_OUTPUTS, OutputStatus, OutputsStatus, PluginState, PluginStatus,
    ReloadStatus, RunningStatus,
};
use crate::{
    chain::chain,
    output::SinkError,
    plugin::{CallError, OutputName},
    worker::{Committed, WorkError},
};

/// The books of all plugins.
#[derive(Default)]
pub(crate) struct Books {
    plugins: HashMap<PluginId, Book>,
}

#[derive(Default)]
struct Book {
    name: String,
    sink: String,
    outcomes: BTreeMap<(&'static str, &'static str), u64>,
    durations: BTreeMap<&'static str, Durations>,
    /// Created, modified and deleted objects that each watch was told of.
    changes: BTreeMap<String, [u64; 3]>,
    restarts: u64,
    memory: u64,
    running: Option<(Time, &'static str, String)>,
    /// The last first.
    recent: VecDeque<(Time, CallbackStatus)>,
    last_error: Option<(Time, String)>,
    commits: u64,
    commits_failed: u64,
    outputs_changed: u64,
    written_bytes: u64,
    last_commit: Option<(Time, usize)>,
    last_change: Option<(Time, usize)>,
    /// Name and size, the last changed first.
    outputs: Vec<(Time, OutputName, usize)>,
}

/// How a callback ended, in one word of a closed list.
fn word(result: &Result<Committed, WorkError>) -> &'static str {
    match result {
        Ok(_) => "ok",
        Err(WorkError::Call(CallError::Refused { .. })) => "error",
        Err(WorkError::Call(CallError::Timeout { .. })) => "timeout",
        Err(WorkError::Call(CallError::Limit { .. })) => "limit",
        Err(WorkError::Call(CallError::Trap { .. })) => "trap",
        Err(WorkError::Call(CallError::Grant { .. })) => "grant",
        Err(WorkError::Commit(SinkError::NotLeading)) => "not-leading",
        Err(WorkError::Commit(_)) => "commit-failed",
        Err(WorkError::Host) => "host",
    }
}

impl Books {
    pub(crate) fn open(&mut self, plugin: PluginId, name: &str, sink: String) {
        let book = Book {
            name: name.to_owned(),
            sink,
            ..Book::default()
        };
        self.plugins.insert(plugin, book);
    }

    /// A callback begins.
    pub(crate) fn begin(&mut self, now: Time, plugin: PluginId, callback: &Callback, watch: &str) {
        if let Some(book) = self.plugins.get_mut(&plugin) {
            book.running = Some((now, callback.export(), watch.to_owned()));
        }
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
        if let Some(book) = self.plugins.get_mut(&plugin) {
            book.enter(now, callback, watch, result);
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
            book.running = None;
            book.commit(now, committed);
            self.plugins.insert(new, book);
        }
    }

    /// The plugins, by name. `follows`: another process runs the callbacks.
    pub(crate) fn plugins(&self, now: Time, engine: &Engine, follows: bool) -> Vec<PluginStatus> {
        let mut plugins: Vec<PluginStatus> = self
            .plugins
            .iter()
            .map(|(&id, book)| book.status(now, engine, id, follows))
            .collect();
        plugins.sort_by(|a, b| a.name.cmp(&b.name));
        plugins
    }
}

impl Book {
    fn enter(
        &mut self,
        now: Time,
        callback: &Callback,
        watch: &str,
        result: &Result<Committed, WorkError>,
    ) {
        let export = callback.export();
        let began = self.running.take().map_or(now, |(began, _, _)| began);
        let (objects, created, modified, deleted) = match callback {
            Callback::Change { stats, .. } => (0, stats.created, stats.modified, stats.deleted),
            Callback::SyncComplete { initial_count, .. } => (*initial_count, 0, 0, 0),
            Callback::Resource { .. } => (0, 0, 0, 0),
        };
        let mut status = CallbackStatus {
            callback: export,
            watch: watch.to_owned(),
            result: word(result),
            objects,
            created,
            modified,
            deleted,
            ..CallbackStatus::default()
        };
        *self.outcomes.entry((export, status.result)).or_default() += 1;
        let duration = match result {
            Ok(committed) => {
                self.commit(now, committed);
                if let Callback::Change { .. } = callback {
                    let told = self.changes.entry(watch.to_owned()).or_default();
                    for (total, more) in told.iter_mut().zip([created, modified, deleted]) {
                        *total += u64::try_from(more).unwrap_or(u64::MAX);
                    }
                }
                status.written_bytes = committed.bytes;
                status.outputs_changed = committed.changed.len();
                committed.duration
            }
            Err(error) => {
                self.fail(now, export, watch, error, &mut status);
                now - began
            }
        };
        self.durations.entry(export).or_default().observe(duration);
        status.duration_seconds = duration.as_secs_f64();
        self.recent.truncate(MAX_CALLBACKS - 1);
        self.recent.push_front((now, status));
    }

    fn fail(
        &mut self,
        now: Time,
        export: &str,
        watch: &str,
        error: &WorkError,
        status: &mut CallbackStatus,
    ) {
        if error.leadership_was_lost() {
            return;
        }
        if let WorkError::Commit(_) = error {
            self.commits_failed += 1;
        }
        if error.outcome() == Outcome::Died {
            self.restarts += 1;
        }
        let text = chain(error);
        text.lines()
            .next()
            .unwrap_or_default()
            .clone_into(&mut status.error);
        self.last_error = Some((now, format!("{export} {watch}: {text}")));
    }

    fn commit(&mut self, now: Time, committed: &Committed) {
        self.memory = committed.memory;
        self.commits += 1;
        let changed = &committed.changed;
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        self.outputs_changed += count(changed.len());
        self.written_bytes += count(committed.bytes);
        self.last_commit = Some((now, changed.len()));
        if changed.is_empty() {
            return;
        }
        self.last_change = self.last_commit;
        // By name, and no more of them than are shown: a commit may be of 100,000.
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

    fn status(&self, now: Time, engine: &Engine, id: PluginId, follows: bool) -> PluginStatus {
        let ago = |at: Time| (now - at).as_secs_f64();
        let (state, detail) = how(engine, id, follows);
        PluginStatus {
            name: self.name.clone(),
            state,
            detail,
            synced: engine.is_synced(id),
            broken: engine.is_broken(id),
            failures: engine.failures(id),
            succeeded: self.ended(|result| result == "ok"),
            failed: self.ended(|result| !matches!(result, "ok" | "not-leading")),
            callbacks: self
                .outcomes
                .iter()
                .map(|(&(callback, result), &count)| CallbackCount {
                    callback,
                    result,
                    count,
                })
                .collect(),
            changes: self
                .changes
                .iter()
                .map(|(watch, &[created, modified, deleted])| ChangeCount {
                    watch: watch.clone(),
                    created,
                    modified,
                    deleted,
                })
                .collect(),
            restarts: self.restarts,
            memory_bytes: self.memory,
            running: self
                .running
                .as_ref()
                .map(|(at, callback, watch)| RunningStatus {
                    callback,
                    watch: watch.clone(),
                    seconds: ago(*at),
                }),
            recent: self
                .recent
                .iter()
                .map(|(at, status)| CallbackStatus {
                    ago_seconds: ago(*at),
                    ..status.clone()
                })
                .collect(),
            last_error: self.last_error.as_ref().map(|(at, text)| ErrorStatus {
                text: text.clone(),
                ago_seconds: ago(*at),
            }),
            outputs: self.outputs(now),
            hook: None,
            reload: ReloadStatus::default(),
            durations: self
                .durations
                .iter()
                .map(|(&callback, &durations)| (callback, durations))
                .collect(),
        }
    }

    fn ended(&self, how: impl Fn(&str) -> bool) -> u64 {
        let outcomes = self.outcomes.iter();
        outcomes
            .filter_map(|((_, result), count)| how(result).then_some(count))
            .sum()
    }

    fn outputs(&self, now: Time) -> OutputsStatus {
        let ago = |at: Time| (now - at).as_secs_f64();
        let commit = |commit: Option<(Time, usize)>| {
            commit.map(|(at, changed)| CommitStatus {
                changed,
                ago_seconds: ago(at),
            })
        };
        OutputsStatus {
            sink: self.sink.clone(),
            commits: self.commits,
            failed: self.commits_failed,
            changed: self.outputs_changed,
            written_bytes: self.written_bytes,
            last_commit: commit(self.last_commit),
            last_change: commit(self.last_change),
            files: self
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

/// How a plugin is, as a word and as a sentence.
fn how(engine: &Engine, id: PluginId, follows: bool) -> (PluginState, String) {
    let failures = engine.failures(id);
    let waits_for: Vec<&str> = engine.waits_for(id).collect();
    if failures > 0 {
        let times = match failures {
            1 => "once".to_owned(),
            2 => "twice in a row".to_owned(),
            n => format!("{n} times in a row"),
        };
        if engine.is_broken(id) {
            let detail = format!(
                "failed {times} and was given up: it is tried once a minute, and its outputs stay"
            );
            return (PluginState::GivenUp, detail);
        }
        let detail = format!("failed {times}, and is tried again");
        return (PluginState::Failing, detail);
    }
    if !waits_for.is_empty() {
        let detail = format!("waits for {}", waits_for.join(", "));
        return (PluginState::Waiting, detail);
    }
    if follows {
        let detail = "ready to take over: another process leads".to_owned();
        return (PluginState::Standby, detail);
    }
    (PluginState::Running, "ok".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::time::Duration;

    use haptic_core::changes::Stats;

    use super::*;
    use crate::output::Changed;

    fn at(millis: u64) -> Time {
        Time::from_origin(Duration::from_millis(millis))
    }

    fn change() -> Callback {
        Callback::Change {
            watch: 0,
            stats: Stats {
                created: 2,
                modified: 1,
                ..Stats::default()
            },
            is_initial_sync: false,
        }
    }

    fn wrote(names: &[&str]) -> Result<Committed, WorkError> {
        Ok(Committed {
            duration: Duration::from_millis(3),
            bytes: 10,
            memory: 1 << 20,
            debt: None,
            changed: names
                .iter()
                .map(|name| Changed {
                    name: OutputName::parse(name).unwrap(),
                    before: None,
                    after: b"text".to_vec(),
                })
                .collect(),
        })
    }

    fn failed(error: CallError) -> Result<Committed, WorkError> {
        Err(WorkError::Call(error))
    }

    #[test]
    fn v1_a_book_keeps_the_last_callbacks_the_last_error_and_all_totals() {
        let mut book = Book::default();
        let trap = || {
            failed(CallError::Trap {
                callback: "on-change",
                reason: "panicked at lib.rs:3\nbacktrace".to_owned(),
            })
        };
        for n in 0..30 {
            book.running = Some((at(1_000 * n), "on-change", "pods".to_owned()));
            let result = if n == 28 { trap() } else { wrote(&["a", "b"]) };
            book.enter(at(1_000 * n + 500), &change(), "pods", &result);
        }
        book.enter(
            at(30_000),
            &change(),
            "pods",
            &Err(WorkError::Commit(SinkError::NotLeading)),
        );
        assert_eq!(
            book.outcomes.into_iter().collect::<Vec<_>>(),
            [
                (("on-change", "not-leading"), 1),
                (("on-change", "ok"), 29),
                (("on-change", "trap"), 1)
            ]
        );
        // What was told and came again is told once.
        assert_eq!(book.changes["pods"], [58, 29, 0]);
        assert_eq!(book.recent.len(), MAX_CALLBACKS);
        let results: Vec<_> = book.recent.iter().map(|(_, s)| s.result).collect();
        assert_eq!(results[..4], ["not-leading", "ok", "trap", "ok"]);
        let trapped = &book.recent[2].1;
        assert_eq!(
            trapped.duration_seconds, 0.5,
            "a failure took its time as well"
        );
        assert_eq!(trapped.error, "on-change trapped: panicked at lib.rs:3");
        let (when, text) = book.last_error.unwrap();
        assert_eq!(when, at(28_500));
        assert!(text.ends_with("lib.rs:3\nbacktrace"), "{text}");
        assert_eq!(
            (book.commits, book.commits_failed, book.outputs_changed),
            (29, 0, 58)
        );
        assert_eq!((book.written_bytes, book.restarts), (290, 1));
    }

    #[test]
    fn v1_outputs_are_shown_by_when_they_changed_and_no_more_than_can_be_read() {
        let mut book = Book::default();
        let many: Vec<String> = (0..MAX_OUTPUTS + 5).map(|n| format!("f{n:04}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        book.enter(at(1), &change(), "pods", &wrote(&many));
        book.enter(at(2), &change(), "pods", &wrote(&["f0003", "z"]));
        book.enter(at(3), &change(), "pods", &wrote(&[]));
        let outputs = book.outputs(at(1_003));
        assert_eq!(outputs.files.len(), MAX_OUTPUTS);
        let first: Vec<_> = outputs.files[..3].iter().map(|f| f.name.as_str()).collect();
        assert_eq!(first, ["f0003", "z", "f0000"]);
        assert_eq!(outputs.last_commit.unwrap().ago_seconds, 1.0);
        assert_eq!(outputs.last_change.unwrap().changed, 2);
    }
}
