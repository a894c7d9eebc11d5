//! The dispatch loop: one task that owns the engine, takes in what watches, workers and
//! files report, and hands out callbacks.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use haptic_core::{
    Time,
    engine::{Engine, Outcome, PluginId, StoreId},
};
use tokio::sync::{mpsc, watch};
use tracing::{error, info, warn};

use super::{
    Election, Event, RunError, RunOptions,
    slot::{Ended, Slot},
};
use crate::{
    access::Access,
    cached::Bodies,
    chain::chain,
    config::OnFailure,
    driver::Clock,
    leader::{self, Changes, Leadership, Tenure},
    observe::{Books, HookStatus, HostState, LeaderStatus, ShardStatus},
    output::hook::Hooks,
    watches::{self, Watches},
    worker::{self, Done, Job, WorkError, Worker},
};

/// Time that a running callback gets to end after a signal: with what follows it
/// stays within the 5 s of contract K5.
const SHUTDOWN: Duration = Duration::from_secs(4);
/// The same where a Lease is to be released afterwards, which takes 1.5 s at most.
const SHUTDOWN_ELECTED: Duration = Duration::from_secs(3);

pub(super) struct Dispatch {
    pub(super) engine: Engine,
    pub(super) watches: Watches,
    pub(super) workers: HashMap<PluginId, Worker>,
    /// In the order of the configuration.
    pub(super) slots: Vec<Slot>,
    pub(super) books: Books,
    pub(super) hooks: Hooks,
    pub(super) bodies: Bodies,
    pub(super) events: mpsc::Sender<Event>,
    /// The API server's URL.
    cluster: String,
    pub(super) own_namespace: Option<String>,
    /// The same; empty when there is none.
    pub(super) own: String,
    pub(super) clock: Clock,
    pub(super) options: RunOptions,
    /// Whose workers are at work.
    pub(super) running: HashSet<PluginId>,
    /// Until when, and why.
    stopping: Option<(tokio::time::Instant, Stop)>,
    /// `None`: there is no election, and this process always leads.
    leadership: Option<Leadership>,
    /// What this process calls itself in the election, and how that stands.
    standing: Option<(String, watch::Receiver<leader::LeaderStatus>)>,
    /// The time of leading that the engine knows of.
    tenure: Option<Tenure>,
    /// How many there were.
    terms: u64,
    /// Why a plugin was given up, with which the run ends.
    given_up: Option<RunError>,
}

/// Why a run ends.
#[derive(Clone, Copy, Debug)]
enum Stop {
    /// By a signal.
    Asked,
    /// Nobody reads standard output any more.
    ReaderGone,
    /// `--once` took too long.
    GaveUp,
    /// A plugin failed too often.
    PluginGivenUp,
}

impl Dispatch {
    #[allow(
        clippy::too_many_arguments,
        reason = "the parts of a run, each made once"
    )]
    pub(super) fn new(
        access: &Access,
        options: RunOptions,
        watches: Watches,
        books: Books,
        bodies: Bodies,
        clock: Clock,
        events: mpsc::Sender<Event>,
        election: Option<&Election>,
    ) -> Self {
        let mut engine = Engine::new();
        if election.is_some() {
            engine.follow();
        }
        Self {
            engine,
            watches,
            workers: HashMap::new(),
            slots: Vec::new(),
            books,
            hooks: Hooks::default(),
            bodies,
            events,
            cluster: access.url.clone(),
            own_namespace: access.own_namespace.clone(),
            own: access.own_namespace.clone().unwrap_or_default(),
            clock,
            options,
            running: HashSet::new(),
            stopping: None,
            leadership: election.map(|election| election.leadership.clone()),
            standing: election.map(|election| (election.identity.clone(), election.status.clone())),
            tenure: None,
            terms: 0,
            given_up: None,
        }
    }

    pub(super) async fn run(&mut self, queue: &mut mpsc::Receiver<Event>) -> Result<(), RunError> {
        let mut give_up = self
            .options
            .once
            .then(|| tokio::time::Instant::now() + self.options.once_timeout);
        let mut changes = self.leadership.as_ref().map(Leadership::changes);
        self.watches.follow(&self.engine, &self.events);
        loop {
            self.follow_election();
            match self.stopping {
                None => {
                    self.start_calls();
                    self.start_hooks();
                }
                Some((_, why)) if self.running.is_empty() && !self.hooks.are_running() => {
                    return self.stopped(why);
                }
                Some(_) => {}
            }
            if self.is_done() {
                if self.hooks.are_idle() {
                    return Ok(());
                }
                // A hook has its own limit.
                give_up = None;
            }
            let due = [self.engine.next_due(), self.hooks.next()]
                .into_iter()
                .flatten()
                .min()
                .filter(|_| self.stopping.is_none())
                .map(|due| self.clock.deadline(due));
            let limit = self.stopping.map(|(limit, _)| limit);
            let wake = [due, limit, give_up].into_iter().flatten().min();
            tokio::select! {
                biased;
                event = queue.recv() => match event {
                    Some(event) => self.event(event)?,
                    None => return Ok(()),
                },
                (id, result) = self.hooks.ended() => self.hook_ended(id, result)?,
                () = changed(&mut changes) => {}
                () = sleep_until(wake) => {}
            }
            // Looked at after every event: a queue that is never empty must not
            // put off the end.
            let now = tokio::time::Instant::now();
            if let Some((limit, why)) = self.stopping
                && now >= limit
            {
                if !self.running.is_empty() {
                    warn!("a callback did not end in time; what it would have written is dropped");
                }
                if self.hooks.are_running() {
                    warn!(
                        "a hook did not end in time, and is killed; it runs again after the next start"
                    );
                }
                return self.stopped(why);
            }
            if give_up.is_some_and(|limit| now >= limit) {
                give_up = None;
                self.stop(Stop::GaveUp);
            }
        }
    }

    /// Nothing is started from here on; what runs has a while to end.
    fn stop(&mut self, why: Stop) {
        let patience = match self.leadership {
            Some(_) => SHUTDOWN_ELECTED,
            None => SHUTDOWN,
        };
        self.stopping
            .get_or_insert((tokio::time::Instant::now() + patience, why));
        self.drop_candidates();
    }

    fn stopped(&mut self, why: Stop) -> Result<(), RunError> {
        match why {
            Stop::Asked if self.options.once => Err(RunError::Interrupted),
            Stop::Asked | Stop::ReaderGone => Ok(()),
            Stop::GaveUp => Err(RunError::NotSynced {
                after: self.options.once_timeout,
                watches: self.watches.not_synced(&self.engine),
            }),
            Stop::PluginGivenUp => self.given_up.take().map_or(Ok(()), Err),
        }
    }

    fn settled(&self) -> bool {
        let hopeless = |store: StoreId| {
            let status = self.engine.status(store);
            status.is_some_and(|status| watches::is_hopeless(&status.freshness.state))
        };
        self.slots
            .iter()
            .all(|slot| self.engine.is_settled(slot.plugin, hopeless))
    }

    /// Whether `--once` has rendered everything.
    fn is_done(&self) -> bool {
        self.options.once && self.running.is_empty() && self.settled()
    }

    /// With `--once`, one run for all that was committed.
    fn start_hooks(&mut self) {
        let leads = match (&self.leadership, &self.tenure) {
            (None, _) => true,
            (Some(_), tenure) => tenure.as_ref().is_some_and(Tenure::lasts),
        };
        if !leads {
            self.hooks.forget();
        } else if !self.options.once || self.is_done() {
            self.hooks.start(self.clock.now());
        }
    }

    /// A commit may owe a run of the hook.
    pub(super) fn owe(&mut self, plugin: PluginId, committed: &worker::Committed) {
        if let Some(debt) = committed.debt.clone() {
            self.hooks.owe(plugin, debt);
        }
    }

    /// Tells the engine when leadership has started or ended.
    fn follow_election(&mut self) {
        let Some(leadership) = &self.leadership else {
            return;
        };
        let tenure = leadership.tenure();
        if tenure != self.tenure {
            // Also from one time of leading to the next: somebody else may have led
            // between them.
            self.engine.follow();
            if tenure.is_some() {
                self.engine.lead();
                self.terms += 1;
            }
            self.tenure = tenure;
        }
    }

    fn start_calls(&mut self) {
        if self.follows() {
            return;
        }
        let now = self.clock.now();
        for call in self.engine.poll(now) {
            let watch = call.callback.watch();
            let watch_name = self.engine.watch_name(call.plugin, watch).to_owned();
            self.books
                .begin(now, call.plugin, &call.callback, &watch_name);
            let job = Job {
                watch_name,
                callback: call.callback,
                view: call.view,
                outputs: call.outputs,
                tenure: self.tenure.clone(),
            };
            if !self.hand_over(call.plugin, |worker| worker.run(job)) {
                self.engine.finished(now, call.plugin, Outcome::Died);
            }
        }
        for candidate in self.engine.takeovers() {
            let tenure = self.tenure.clone();
            if !self.hand_over(candidate, |worker| worker.take_over(tenure)) {
                self.engine.took_over(now, candidate, Outcome::Died);
            }
        }
    }

    /// Answers false when the plugin's thread has ended, which only a panic of ours does.
    fn hand_over(&mut self, plugin: PluginId, job: impl FnOnce(&Worker) -> bool) -> bool {
        let taken = self.workers.get(&plugin).is_some_and(job);
        if taken {
            self.running.insert(plugin);
        } else {
            let plugin = self.engine.plugin_name(plugin);
            error!(plugin, "its thread has ended");
        }
        taken
    }

    fn event(&mut self, event: Event) -> Result<(), RunError> {
        let now = self.clock.now();
        match event {
            Event::Watch(news) => self.watches.take_in(&mut self.engine, now, news),
            Event::Asked(ask) => ask.answer(self.state(now)),
            Event::Worker(Ended { plugin, what }) => {
                self.running.remove(&plugin);
                match what {
                    worker::Ended::Call(done) => self.called(now, plugin, done)?,
                    worker::Ended::TakeOver(result) => {
                        self.reader_may_be_gone(&result);
                        self.took_over(plugin, &result);
                    }
                }
            }
            // Nothing new is begun.
            Event::File { .. } if self.is_stopping() => {}
            Event::File { slot, news } => self.file_changed(slot, news),
            Event::Stop => {
                info!("stopping");
                self.stop(Stop::Asked);
            }
        }
        Ok(())
    }

    /// A callback ended.
    fn called(&mut self, now: Time, plugin: PluginId, done: Done) -> Result<(), RunError> {
        if self.reader_may_be_gone(&done.result) {
            return Ok(());
        }
        let was_broken = self.engine.is_broken(plugin);
        let outcome = done
            .result
            .as_ref()
            .map_or_else(WorkError::outcome, |_| Outcome::Ok);
        self.engine.finished(now, plugin, outcome);
        let error = done.result.as_ref().err().map(|error| chain(error));
        self.watches.record_callback(
            now,
            self.engine.plugin_name(plugin),
            &done.watch_name,
            done.callback.export(),
            error.as_deref(),
        );
        if self.rehearsed(plugin, &done.result) {
            return Ok(());
        }
        let Some(slot) = self.slot(plugin) else {
            // A version that was replaced or dropped.
            return Ok(());
        };
        let on_failure = slot.breaker.on_failure;
        if let Ok(committed) = &done.result {
            self.owe(plugin, committed);
        }
        self.books
            .enter(now, plugin, &done.callback, &done.watch_name, &done.result);
        let broken = self.engine.is_broken(plugin);
        if was_broken && !broken {
            info!(plugin = self.engine.plugin_name(plugin), "it works again");
        }
        if let Some(error) = self.report(plugin, done)?
            && broken
        {
            match on_failure {
                OnFailure::KeepLast => {}
                OnFailure::Exit => {
                    self.given_up.get_or_insert(RunError::GivenUp {
                        plugin: self.engine.plugin_name(plugin).to_owned(),
                        failures: self.engine.failures(plugin),
                        source: error,
                    });
                    self.stop(Stop::PluginGivenUp);
                }
            }
        }
        Ok(())
    }

    /// Whether nobody reads standard output any more: then everything is over.
    fn reader_may_be_gone(&mut self, result: &Result<worker::Committed, WorkError>) -> bool {
        let gone = result.as_ref().is_err_and(WorkError::reader_is_gone);
        if gone {
            info!("whoever read standard output has gone: stopping");
            self.stop(Stop::ReaderGone);
        }
        gone
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.is_some()
    }

    /// Whether another process runs the callbacks.
    pub(super) fn follows(&self) -> bool {
        self.leadership.is_some() && self.tenure.is_none()
    }

    fn state(&self, now: Time) -> HostState {
        let leader = self.leader();
        let follows = leader.as_ref().is_some_and(|leader| !leader.leads);
        let mut plugins = self.books.plugins(now, &self.engine, follows);
        for plugin in &mut plugins {
            plugin.reload = self.reload_status(now, &plugin.name);
            let report = self.hooks.report(&plugin.name);
            plugin.hook = report.map(|report| HookStatus::new(now, &report));
        }
        let mut state = HostState {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_seconds: now.since_origin().as_secs_f64(),
            cluster: self.cluster.clone(),
            leader,
            shard: self.options.shard.map(ShardStatus::from),
            cache: self.bodies.metrics().into(),
            watches: self.watches.status(&self.engine, now),
            plugins,
            ..HostState::default()
        };
        state.ready = state.is_ready();
        state
    }

    fn leader(&self) -> Option<LeaderStatus> {
        let leadership = self.leadership.as_ref()?;
        let (identity, status) = self.standing.as_ref()?;
        Some(LeaderStatus {
            identity: identity.clone(),
            leads: leadership.is_leading(),
            holder: status.borrow().holder.clone().unwrap_or_default(),
            terms: self.terms,
        })
    }
}

async fn changed(changes: &mut Option<Changes>) {
    match changes {
        Some(changes) => changes.next().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(wake: Option<tokio::time::Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake).await,
        None => std::future::pending().await,
    }
}
