//! One plugin of the configuration, whichever version of it runs: its threads, and the
//! versions that are to replace it (contract P3).

use std::sync::Arc;

use haptic_core::{
    Time,
    engine::{CandidateState, Outcome, PluginId},
};
use tracing::{error, info, warn};

use super::{
    Breaker, Event, RunError,
    dispatch::Dispatch,
    prepare::{Described, Prepared},
    reload::{FileNews, Source},
};
use crate::{
    chain::chain,
    observe::{ErrorStatus, ReloadStatus},
    output::hook::HookOptions,
    plugin::{Digest, Limits},
    worker::{self, Committed, SharedSink, WorkError, Worker, WorkerOptions},
};

/// What a worker reports.
pub(super) struct Ended {
    pub(super) plugin: PluginId,
    pub(super) what: worker::Ended,
}

pub(super) struct Slot {
    /// The version that runs.
    pub(super) plugin: PluginId,
    pub(super) breaker: Breaker,
    digest: Digest,
    candidate: Option<Candidate>,
    /// Came while a candidate took over.
    next: Option<FileNews>,
    limits: Limits,
    sink: SharedSink,
    taken: u64,
    refused: u64,
    /// Why what the file holds is not taken.
    refusal: Option<(Time, String)>,
}

/// A version that is to take over.
struct Candidate {
    plugin: PluginId,
    digest: Digest,
}

impl Dispatch {
    /// Adds a plugin; answers from what new versions of it are made. Its watches start with
    /// [`Dispatch::run`], so that plugins share streams.
    ///
    /// # Errors
    /// [`RunError::Thread`].
    pub(super) fn open(&mut self, prepared: Prepared) -> Result<Source, RunError> {
        let Prepared {
            run,
            described,
            sink,
        } = prepared;
        let name = run.plugin.name().to_owned();
        let plugin = self.engine.add_plugin(&name, &described.plans, &self.own);
        self.engine
            .set_max_failures(plugin, run.breaker.max_failures);
        self.books.open(plugin, &name, run.output.to_string());
        if let Some(config) = run.hook {
            let options = HookOptions {
                config,
                plugin: name.clone(),
                output: run.output.place(),
                mark: sink.mark(),
                logs: Arc::clone(&described.logs),
            };
            self.hooks.add(plugin, options);
        }
        let source = Source {
            slot: self.slots.len(),
            name,
            digest: described.plugin.digest(),
            config: run.config,
            limits: run.limits.clone(),
            sandbox: run.plugin.sandbox().clone(),
            own_namespace: self.own_namespace.clone(),
            shard: run.shard,
        };
        let slot = Slot {
            plugin,
            breaker: run.breaker,
            digest: described.plugin.digest(),
            candidate: None,
            next: None,
            limits: run.limits,
            sink: Arc::new(tokio::sync::Mutex::new(sink)),
            taken: 0,
            refused: 0,
            refusal: None,
        };
        let worker = self.start_worker(plugin, &slot, described)?;
        self.workers.insert(plugin, worker);
        self.slots.push(slot);
        Ok(source)
    }

    fn start_worker(
        &self,
        plugin: PluginId,
        slot: &Slot,
        described: Described,
    ) -> Result<Worker, RunError> {
        let name = described.plugin.name().to_owned();
        let options = WorkerOptions {
            plugin: described.plugin,
            limits: slot.limits.clone(),
            settings: described.settings,
            logs: described.logs,
            sink: Arc::clone(&slot.sink),
            bodies: self.bodies.clone(),
        };
        let events = self.events.clone();
        Worker::start(options, described.instance, move |what| {
            // The loop is gone only when the process ends.
            events
                .blocking_send(Event::Worker(Ended { plugin, what }))
                .is_ok()
        })
        .map_err(|source| RunError::Thread {
            plugin: name,
            source,
        })
    }

    /// The plugin of which this is the running version.
    pub(super) fn slot(&self, plugin: PluginId) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.plugin == plugin)
    }

    /// The plugin that this is a candidate of.
    fn slot_of_candidate(&self, candidate: PluginId) -> Option<usize> {
        let is = |slot: &Slot| {
            slot.candidate
                .as_ref()
                .is_some_and(|c| c.plugin == candidate)
        };
        self.slots.iter().position(is)
    }

    /// The file of a plugin has another content.
    pub(super) fn file_changed(&mut self, slot: usize, news: FileNews) {
        let Some(entry) = self.slots.get_mut(slot) else {
            return;
        };
        let candidate = entry.candidate.as_ref();
        if candidate.is_some_and(|candidate| self.engine.is_committing(candidate.plugin)) {
            // What comes of that is to be known first.
            entry.next = Some(news);
            return;
        }
        let (plugin, digest) = (entry.plugin, entry.digest);
        entry.refusal = None;
        self.drop_candidate(slot);
        match news {
            FileNews::Described(described) if described.plugin.digest() == digest => {
                info!(
                    plugin = self.engine.plugin_name(plugin),
                    "its file holds again what runs"
                );
            }
            FileNews::Described(described) => self.add_candidate(slot, *described),
            FileNews::Refused(error) => self.refuse(slot, error),
        }
    }

    fn add_candidate(&mut self, slot: usize, described: Described) {
        let Some(entry) = self.slots.get_mut(slot) else {
            return;
        };
        let (old, digest) = (entry.plugin, described.plugin.digest());
        let candidate = self.engine.add_candidate(old, &described.plans, &self.own);
        let max = entry.breaker.max_failures;
        self.engine.set_max_failures(candidate, max);
        entry.candidate = Some(Candidate {
            plugin: candidate,
            digest,
        });
        let Some(entry) = self.slots.get(slot) else {
            return;
        };
        match self.start_worker(candidate, entry, described) {
            Ok(worker) => self.workers.insert(candidate, worker),
            Err(error) => {
                self.drop_candidate(slot);
                self.refuse(slot, chain(&error));
                return;
            }
        };
        info!(
            plugin = self.engine.plugin_name(old),
            "a new version is there; it takes over when it was told everything"
        );
        self.watches.follow(&self.engine, &self.events);
    }

    /// The candidate is not to take over any more. A callback of it that runs ends unheard.
    pub(super) fn drop_candidate(&mut self, slot: usize) {
        let entry = self.slots.get_mut(slot);
        let Some(candidate) = entry.and_then(|entry| entry.candidate.take()) else {
            return;
        };
        self.engine.remove(candidate.plugin);
        self.workers.remove(&candidate.plugin);
        self.running.remove(&candidate.plugin);
        self.watches.follow(&self.engine, &self.events);
    }

    /// One line, and a state, for a version that is not taken.
    fn refuse(&mut self, slot: usize, error: String) {
        let Some(entry) = self.slots.get_mut(slot) else {
            return;
        };
        error!(
            plugin = self.engine.plugin_name(entry.plugin),
            "its new version is refused, and the old one goes on: {error}"
        );
        entry.refused += 1;
        entry.refusal = Some((self.clock.now(), error));
    }

    /// A callback of a candidate ended; false: it is none.
    pub(super) fn rehearsed(
        &mut self,
        candidate: PluginId,
        result: &Result<Committed, WorkError>,
    ) -> bool {
        let Some(slot) = self.slot_of_candidate(candidate) else {
            return false;
        };
        let Err(error) = result else {
            return true;
        };
        let error = chain(error);
        match self.engine.candidate_state(candidate) {
            Some(CandidateState::Refused) => {
                self.drop_candidate(slot);
                self.refuse(slot, error);
            }
            Some(
                CandidateState::Waiting | CandidateState::Rehearsing | CandidateState::TakingOver,
            )
            | None => warn!(
                plugin = self.engine.plugin_name(candidate),
                failures = self.engine.failures(candidate),
                "its new version failed, and is tried again: {error}"
            ),
        }
        true
    }

    /// The commit of everything that a candidate wrote ended.
    pub(super) fn took_over(&mut self, candidate: PluginId, result: &Result<Committed, WorkError>) {
        let now = self.clock.now();
        let outcome = result
            .as_ref()
            .map_or_else(WorkError::outcome, |_| Outcome::Ok);
        let replaced = self.engine.took_over(now, candidate, outcome);
        let Some(slot) = self.slot_of_candidate(candidate) else {
            return;
        };
        let name = self.engine.plugin_name(candidate).to_owned();
        match (result, replaced) {
            (Ok(committed), Some(old)) => {
                self.workers.remove(&old);
                if let Some(entry) = self.slots.get_mut(slot)
                    && let Some(candidate) = entry.candidate.take()
                {
                    entry.plugin = candidate.plugin;
                    entry.digest = candidate.digest;
                    entry.taken += 1;
                }
                self.watches.follow(&self.engine, &self.events);
                self.books.replaced(now, old, candidate, committed);
                self.hooks.replaced(old, candidate);
                self.owe(candidate, committed);
                let (bytes, changed) = (committed.bytes, committed.changed.len());
                info!(plugin = name, bytes, changed, "the new version runs");
                self.show_diff(committed);
            }
            (Err(error), _) if error.leadership_was_lost() => info!(
                plugin = name,
                "leadership was lost while a new version took over; nothing was written"
            ),
            (Err(error), _) => error!(
                plugin = name,
                "what its new version wrote cannot be committed, which is tried again; the old one goes on: {}",
                chain(error)
            ),
            // It was removed meanwhile, which nobody does.
            (Ok(_), None) => {}
        }
        let next = self.slots.get_mut(slot).and_then(|slot| slot.next.take());
        if let Some(news) = next
            && !self.is_stopping()
        {
            self.file_changed(slot, news);
        }
    }

    /// What became of new versions of the plugin of that name.
    pub(super) fn reload_status(&self, now: Time, name: &str) -> ReloadStatus {
        let named = |slot: &&Slot| self.engine.plugin_name(slot.plugin) == name;
        let Some(slot) = self.slots.iter().find(named) else {
            return ReloadStatus::default();
        };
        let candidate = slot.candidate.as_ref();
        let state = candidate.and_then(|c| self.engine.candidate_state(c.plugin));
        let waits = state.map(|state| match state {
            CandidateState::Waiting if self.follows() => "waits until this process leads",
            CandidateState::Waiting => "waits for its watches",
            CandidateState::Rehearsing => "is told everything",
            CandidateState::TakingOver => "takes over",
            CandidateState::Refused => "has failed",
        });
        ReloadStatus {
            taken: slot.taken,
            refused: slot.refused,
            candidate: waits.map(str::to_owned),
            refusal: slot.refusal.as_ref().map(|(at, text)| ErrorStatus {
                text: text.clone(),
                ago_seconds: (now - *at).as_secs_f64(),
            }),
        }
    }

    /// Nothing is to take over any more but what is being committed.
    pub(super) fn drop_candidates(&mut self) {
        for slot in 0..self.slots.len() {
            let candidate = self
                .slots
                .get(slot)
                .and_then(|slot| slot.candidate.as_ref());
            if candidate.is_some_and(|c| !self.engine.is_committing(c.plugin)) {
                self.drop_candidate(slot);
            }
        }
    }
}
