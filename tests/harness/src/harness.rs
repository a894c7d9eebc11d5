//! The test itself: a clock that stands still, the host's engine, and a runner.

use std::{
    collections::{BTreeMap, VecDeque},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use haptic_core::{
    Time,
    engine::{Call, Engine, Outcome, PluginId},
    spec::WatchPlan,
    watch::WatchOutput,
};
use haptic_host::{
    cached::Bodies,
    plugin::{CallError, LogLine, VirtualClock},
};
use serde_json::Value;

use crate::{
    budget::{self, Budget, Costs},
    faults::Fault,
    objects::Objects,
    report::{Callback, CallbackKind, Failures, StepError},
    runner::{Called, Runner},
    server::{News, Server},
};

/// A plugin under test, and the cluster that it sees.
///
/// Time is virtual and stands still but for [`advance`](Harness::advance) and
/// [`settle`](Harness::settle); callbacks take none of it, unless they sleep. A component has no
/// other time: its wall clock is at [`date`](Harness::date), its monotonic clock at
/// [`now`](Harness::now), a sleep returns at once and moves time by its length, and one beyond the
/// callback's time limit is cut off there. Every step runs the callbacks
/// that are due at its moment, in the host's order, and panics with a report when one
/// fails; its `try_` twin returns the report instead.
pub struct Harness {
    parts: Parts,
    engine: Engine,
    plugin: PluginId,
    pub(crate) server: Server,
    bodies: Bodies,
    pub(crate) watches: Vec<Arc<WatchPlan>>,
    now: Time,
    callbacks: Vec<Callback>,
    costs: Costs,
    pub(crate) faults: VecDeque<Fault>,
    outputs: BTreeMap<String, Vec<u8>>,
}

/// What the plugin runs on.
pub(crate) struct Parts {
    pub(crate) runner: Box<dyn Runner>,
    pub(crate) logs: Arc<Mutex<Vec<LogLine>>>,
    /// What the plugin sees of time.
    pub(crate) clock: VirtualClock,
    /// Whether that was asked for, natively too.
    pub(crate) count_fuel: bool,
    /// Of each callback.
    pub(crate) budget: Budget,
}

impl Harness {
    pub(crate) fn start(
        parts: Parts,
        engine: Engine,
        plugin: PluginId,
        server: Server,
        watches: Vec<Arc<WatchPlan>>,
    ) -> Self {
        Self {
            parts,
            engine,
            plugin,
            bodies: server.cluster.bodies(),
            server,
            watches,
            now: Time::ZERO,
            callbacks: Vec::new(),
            costs: Costs::default(),
            faults: VecDeque::new(),
            outputs: BTreeMap::new(),
        }
    }

    /// Objects that exist before the plugin is told anything: see [`Objects`] for what
    /// they can be written as. Watches select from them as an API server would, by
    /// namespace, labels and fields.
    ///
    /// # Panics
    /// When the objects cannot be understood, when no watch is of their resource (but see
    /// [`Builder::ignore_unwatched`](crate::Builder::ignore_unwatched)), and after
    /// [`sync`](Harness::sync), when objects are [applied](Harness::apply).
    #[track_caller]
    pub fn given(&mut self, objects: impl Into<Objects>) -> &mut Self {
        assert!(
            !self.server.has_synced(),
            "the watches are synced already: `apply` objects that come later"
        );
        self.apply(objects)
    }

    /// Lists every watch, so that all stores hold what exists, and delivers.
    ///
    /// # Panics
    /// When a callback fails.
    #[track_caller]
    pub fn sync(&mut self) -> &mut Self {
        let result = self.try_sync();
        self.expect("sync", result)
    }

    /// Like [`sync`](Harness::sync).
    ///
    /// # Errors
    /// The callbacks that failed. They are tried again with backoff, when time
    /// [advances](Harness::advance).
    pub fn try_sync(&mut self) -> Result<(), StepError> {
        let news = self.server.sync(None)?;
        self.hear(news)
    }

    /// Lists one watch only, and delivers: the others are not synced, and a plugin that
    /// waits for all of them goes on waiting.
    ///
    /// # Panics
    /// When a callback fails, or the plugin has no such watch.
    #[track_caller]
    pub fn sync_watch(&mut self, watch: &str) -> &mut Self {
        let names: Vec<_> = self.watches.iter().map(|plan| plan.name.as_str()).collect();
        assert!(
            names.contains(&watch),
            "there is no watch `{watch}`, there are {names:?}"
        );
        let news = self.server.sync(Some(watch)).map_err(StepError::from);
        let result = news.and_then(|news| self.hear(news));
        self.expect("sync_watch", result)
    }

    /// Creates or replaces objects, and delivers what is due now: the first change after
    /// a quiet time at once, others when their debounce interval is over (contract C2),
    /// which takes an [`advance`](Harness::advance) or a [`settle`](Harness::settle).
    ///
    /// Before [`sync`](Harness::sync) nothing is delivered, but it exists.
    ///
    /// # Panics
    /// As [`given`](Harness::given), and when a callback fails.
    #[track_caller]
    pub fn apply(&mut self, objects: impl Into<Objects>) -> &mut Self {
        let result = self.try_apply(objects);
        self.expect("apply", result)
    }

    /// Like [`apply`](Harness::apply).
    ///
    /// # Errors
    /// The objects that were not taken, or the callbacks that failed.
    pub fn try_apply(&mut self, objects: impl Into<Objects>) -> Result<(), StepError> {
        let news = self.server.apply(objects.into())?;
        self.hear(news)
    }

    /// Deletes an object, and delivers what is due now. `namespace` is empty for kinds
    /// that have none.
    ///
    /// # Panics
    /// When there is no such object, and when a callback fails.
    #[track_caller]
    pub fn delete(
        &mut self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> &mut Self {
        let result = self.try_delete(api_version, kind, namespace, name);
        self.expect("delete", result)
    }

    /// Like [`delete`](Harness::delete).
    ///
    /// # Errors
    /// That there is no such object, or the callbacks that failed.
    pub fn try_delete(
        &mut self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Result<(), StepError> {
        let key = self.server.kinds.key_of(api_version, kind, namespace, name);
        let news = self.server.delete(&key)?;
        self.hear(news)
    }

    /// Lets virtual time pass: debounce intervals and backoffs that end in it are over,
    /// and their callbacks run in order, each at its moment.
    ///
    /// # Panics
    /// When a callback fails.
    #[track_caller]
    pub fn advance(&mut self, time: Duration) -> &mut Self {
        let result = self.try_advance(time);
        self.expect("advance", result)
    }

    /// Like [`advance`](Harness::advance).
    ///
    /// # Errors
    /// The callbacks that failed; time has passed to the end all the same.
    pub fn try_advance(&mut self, time: Duration) -> Result<(), StepError> {
        self.costs.step = None;
        self.pass(time)
    }

    fn pass(&mut self, time: Duration) -> Result<(), StepError> {
        let until = self.now + time;
        let from = self.mark();
        self.run_due();
        while let Some(due) = self.engine.next_due().filter(|due| *due <= until) {
            if due <= self.now {
                break;
            }
            self.move_to(due);
            self.run_due();
        }
        // A callback may have slept for longer.
        self.move_to(self.now.max(until));
        self.failures(from)
    }

    /// Lets time pass until nothing is pending any more.
    ///
    /// # Panics
    /// At the first callback that fails.
    #[track_caller]
    pub fn settle(&mut self) -> &mut Self {
        let result = self.try_settle();
        self.expect("settle", result)
    }

    /// Like [`settle`](Harness::settle).
    ///
    /// # Errors
    /// The callbacks that failed; what is still pending stays so.
    pub fn try_settle(&mut self) -> Result<(), StepError> {
        self.costs.step = None;
        self.pass(Duration::ZERO)?;
        while let Some(due) = self.engine.next_due().filter(|due| *due > self.now) {
            self.pass(due - self.now)?;
        }
        Ok(())
    }

    /// Virtual time since the test began.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.now.since_origin()
    }

    /// The date that the plugin sees: that of the test's beginning, and the time since.
    #[must_use]
    pub fn date(&self) -> SystemTime {
        self.parts.clock.date()
    }

    /// The names of the watches that are not synced yet.
    #[must_use]
    pub fn unsynced(&self) -> Vec<String> {
        self.server.unsynced()
    }

    /// An output as text.
    ///
    /// # Panics
    /// When no callback that returned ok wrote it, or it is no UTF-8.
    #[track_caller]
    #[must_use]
    pub fn output(&self, name: &str) -> &str {
        let Some(content) = self.outputs.get(name) else {
            let names: Vec<_> = self.outputs.keys().collect();
            let unsynced = match self.unsynced().as_slice() {
                [] => String::new(),
                unsynced => format!(" (not synced: {unsynced:?})"),
            };
            panic!("there is no output `{name}`, there are {names:?}{unsynced}");
        };
        match std::str::from_utf8(content) {
            Ok(text) => text,
            Err(error) => panic!("the output `{name}` is no text: {error}"),
        }
    }

    /// All outputs as they are committed now, by name.
    #[must_use]
    pub fn outputs(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.outputs
    }

    /// Writes all outputs below a folder, for a program that is to judge them.
    ///
    /// # Errors
    /// When a file or a folder cannot be written.
    pub fn save_outputs(&self, folder: &Path) -> std::io::Result<()> {
        for (name, content) in &self.outputs {
            let path = folder.join(name);
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent)?;
            }
            std::fs::write(path, content)?;
        }
        Ok(())
    }

    /// Takes the log lines and forgets them: what the next steps log stands alone.
    pub fn take_logs(&mut self) -> Vec<LogLine> {
        std::mem::take(
            &mut *self
                .parts
                .logs
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// Everything that the plugin logged so far, failed callbacks included.
    #[must_use]
    pub fn logs(&self) -> Vec<LogLine> {
        self.parts
            .logs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Every callback that ran so far, in order.
    #[must_use]
    pub fn callbacks(&self) -> &[Callback] {
        &self.callbacks
    }

    /// Takes the list of callbacks and forgets it: what the next steps cause stands alone.
    pub fn take_callbacks(&mut self) -> Vec<Callback> {
        std::mem::take(&mut self.callbacks)
    }

    /// Everything that exists, as the API server would show it: what was given and applied, and
    /// not deleted. In the order of API version, plural, namespace and name.
    #[must_use]
    pub fn objects(&self) -> Vec<Value> {
        self.server
            .cluster
            .lock()
            .objects
            .values()
            .cloned()
            .collect()
    }

    /// The plugin's watches, as the host understood them.
    #[must_use]
    pub fn watches(&self) -> &[Arc<WatchPlan>] {
        &self.watches
    }

    #[track_caller]
    fn expect(&mut self, step: &str, result: Result<(), StepError>) -> &mut Self {
        if let Err(error) = result {
            panic!("{step}: {error}");
        }
        self
    }

    fn move_to(&mut self, now: Time) {
        self.now = now;
        self.parts.clock.advance_to(now.since_origin());
    }

    fn hear(&mut self, news: Vec<News>) -> Result<(), StepError> {
        self.costs.step = None;
        let from = self.mark();
        for News {
            store,
            source,
            output,
        } in news
        {
            let page = matches!(output, WatchOutput::PageEnd);
            let watched = self.engine.stores().find(|(id, _, _)| *id == store);
            if let Some((_, plan, _)) = watched {
                self.bodies.seen(plan, &output);
            }
            self.engine.watch(self.now, store, source, output);
            if page {
                self.run_due();
            }
        }
        self.run_due();
        self.failures(from)
    }

    fn run_due(&mut self) {
        loop {
            let calls = self.engine.poll(self.now);
            if calls.is_empty() {
                return;
            }
            for call in calls {
                self.run(call);
            }
        }
    }

    fn run(&mut self, Call { callback, view, .. }: Call) {
        let watch = self
            .engine
            .watch_name(self.plugin, callback.watch())
            .to_owned();
        let kind = CallbackKind::of(&callback);
        self.server.cluster.lock().now = self.now;
        let fault = self.faults.pop_front();
        let Parts { runner, budget, .. } = &mut self.parts;
        let Called {
            result: mut called,
            cost,
        } = runner.call(&callback, &watch, view, &self.bodies, budget.fuel_limit());
        let over_budget = cost.and_then(|cost| budget.exceeded(&cost));
        let at = self.now.since_origin();
        if let Some(cost) = cost {
            budget::add(&mut self.costs.step, cost);
            self.costs.last = Some(cost);
            self.move_to(self.now + cost.slept);
        }
        if matches!(fault, Some(Fault::Trap)) && called.is_ok() {
            self.parts.runner.kill();
            called = Err(CallError::Trap {
                callback: callback.export(),
                reason: "the test asked for it".to_owned(),
            });
        }
        let mut uncommitted = None;
        let (outcome, wrote, error) = match (called, fault) {
            (Ok(_), Some(Fault::Commit(why))) => {
                uncommitted = Some(why);
                (Outcome::Failed, Vec::new(), None)
            }
            (Ok(outputs), _) => {
                let named = outputs
                    .into_iter()
                    .map(|(name, content)| (name.to_string(), content));
                let named: Vec<_> = named.collect();
                let wrote = named.iter().map(|(name, _)| name.clone()).collect();
                self.outputs.extend(named);
                (Outcome::Ok, wrote, None)
            }
            (Err(error), _) if error.instance_lives() => (Outcome::Failed, Vec::new(), Some(error)),
            (Err(error), _) => (Outcome::Died, Vec::new(), Some(error)),
        };
        let ran = Callback {
            at,
            watch,
            kind,
            wrote,
            error,
            uncommitted,
            cost,
            over_budget,
        };
        self.callbacks.push(ran);
        self.engine.finished(self.now, self.plugin, outcome);
    }

    pub(crate) fn counts_fuel(&self) -> bool {
        self.parts.count_fuel
    }

    pub(crate) fn set_budget(&mut self, budget: Budget) {
        self.parts.budget = budget;
    }

    pub(crate) fn costs(&self) -> Costs {
        self.costs
    }

    /// Where callbacks and logs stand: what comes after belongs to the step.
    fn mark(&self) -> (usize, usize) {
        let logs = self
            .parts
            .logs
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        (self.callbacks.len(), logs.len())
    }

    fn failures(&self, (callbacks, logs): (usize, usize)) -> Result<(), StepError> {
        let ran = self.callbacks.iter().skip(callbacks);
        let failed: Vec<_> = ran
            .filter(|callback| !callback.succeeded() || callback.over_budget.is_some())
            .cloned()
            .collect();
        if failed.is_empty() {
            return Ok(());
        }
        let logs = self.logs().split_off(logs);
        Err(Failures {
            callbacks: failed,
            logs,
        }
        .into())
    }
}
