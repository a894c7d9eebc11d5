//! The dispatch loop: one task that owns the engine, takes in what watches and
//! plugins report, and hands out callbacks. Owns the order of things; decides
//! nothing that [`haptic_core::engine`] can decide.

use std::{borrow::Cow, collections::HashMap, sync::Arc, time::Duration};

use haptic_core::{
    Time,
    engine::{Callback, Engine, Outcome, PluginId, StoreId},
    spec::{SpecErrors, WatchPlan, plan_all},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
};
use tracing::{error, info, warn};

use crate::{
    access::Access,
    cached::Bodies,
    chain::chain,
    config::{self, OverrideError, PluginConfig},
    diff,
    driver::Clock,
    grants::{self, Refusal},
    leader::{self, Changes, LeaderElector, Leadership, LeaseConfig, LeaseConfigErrors, Tenure},
    observe::{Ask, Books, HookStatus, HostState, LeaderStatus, Server},
    output::{
        Occupancy, OutputTarget, Sink, SinkError, SinkOptions,
        hook::{HookConfig, HookError, HookOptions, Hooks},
    },
    plugin::{CallError, Instance, Limits, LogLevel, LogLine, LogSink, Plugin},
    watches::{self, News, Watches},
    worker::{Done, Job, QUEUE, WorkError, Worker, WorkerOptions},
};

/// Time that a running callback gets to end after a signal: with what follows it
/// stays within the 5 s of contract K5.
const SHUTDOWN: Duration = Duration::from_secs(4);
/// The same where a Lease is to be released afterwards, which takes 1.5 s at most.
const SHUTDOWN_ELECTED: Duration = Duration::from_secs(3);

/// How the host runs, beyond its plugins.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Sync, deliver, commit, return (contract O3).
    pub once: bool,
    /// With `once`: give up when the cluster has not synced by then.
    pub once_timeout: Duration,
    /// Print what changed in each output as a unified diff.
    pub diff: bool,
    /// Bytes of bodies that are kept for all cached stores together.
    pub cache_bytes: usize,
    /// Contend for this Lease, and run callbacks only while it is held (contract L3).
    /// Not with `once`.
    pub election: Option<LeaseConfig>,
}

/// One plugin to run.
pub struct PluginRun {
    /// The compiled plugin.
    pub plugin: Plugin,
    /// What is configured for it.
    pub config: PluginConfig,
    /// What it may use.
    pub limits: Limits,
    /// Where its outputs go.
    pub output: OutputTarget,
    /// Whether other hosts may write there too. [`Occupancy::InTurns`] is for leader
    /// election.
    pub occupancy: Occupancy,
    /// Take keys of an object over from other field managers.
    pub force_conflicts: bool,
    /// What runs after a commit that changed something.
    pub hook: Option<HookConfig>,
}

/// Why a run ended other than as asked. The exit code follows from the variant
/// (contract O3).
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A plugin failed (1).
    #[error("plugin {plugin} failed")]
    Plugin {
        /// Its name.
        plugin: String,
        /// How.
        source: CallError,
    },
    /// A plugin refused its settings (2).
    #[error("plugin {plugin} does not accept its settings: {message}")]
    Settings {
        /// Its name.
        plugin: String,
        /// Its own words.
        message: String,
    },
    /// What a plugin declares, or is configured to watch, is wrong (2).
    #[error("plugin {plugin} cannot be run:{}", lines(.mistakes))]
    Watches {
        /// Its name.
        plugin: String,
        /// All that is wrong.
        mistakes: Vec<String>,
    },
    /// Outputs cannot be written (2, or 3 when it is the cluster that fails).
    #[error("plugin {plugin}")]
    Output {
        /// Its name.
        plugin: String,
        /// Why.
        source: SinkError,
    },
    /// The outputs are in their place, and the hook failed (1).
    #[error("the hook of plugin {plugin} failed")]
    Hook {
        /// Its name.
        plugin: String,
        /// How.
        source: HookError,
    },
    /// The cluster did not get as far as `--once` needs (3).
    #[error("the cluster did not sync within {after:?}:{}", lines(.watches))]
    NotSynced {
        /// How long it was waited.
        after: Duration,
        /// Each watch that is not synced, with its state.
        watches: Vec<String>,
    },
    /// `--once` was stopped by a signal before it was done (130).
    #[error("stopped before everything was rendered")]
    Interrupted,
    /// The host itself failed (1).
    #[error(
        "the host failed while it ran plugin {plugin}: please report this with the panic message above"
    )]
    Host {
        /// Its name.
        plugin: String,
    },
    /// The Lease, or the durations of the election, are wrong (2).
    #[error("leaders cannot be elected: {0}")]
    Election(LeaseConfigErrors),
    /// Several plugins cannot be run (the code of the first).
    #[error("{} plugins cannot be run:{}", .0.len(), lines(&.0.iter().map(|e| chain(e)).collect::<Vec<_>>()))]
    Several(Vec<RunError>),
    /// The system gave no thread (1).
    #[error("cannot start a thread for plugin {plugin}")]
    Thread {
        /// Its name.
        plugin: String,
        /// Why.
        source: std::io::Error,
    },
}

fn lines(texts: &[String]) -> String {
    texts.iter().map(|text| format!("\n  {text}")).collect()
}

impl RunError {
    /// The process's exit code.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Plugin { .. } | Self::Thread { .. } | Self::Host { .. } | Self::Hook { .. } => 1,
            Self::Output { source, .. } if source.is_of_the_cluster() => 3,
            Self::Interrupted => 130,
            Self::Several(errors) => errors.first().map_or(1, Self::exit_code),
            Self::Settings { .. }
            | Self::Watches { .. }
            | Self::Output { .. }
            | Self::Election(_) => 2,
            Self::NotSynced { .. } => 3,
        }
    }
}

/// A plugin that has described itself, with its watches understood and allowed.
pub struct Prepared {
    run: PluginRun,
    plans: Vec<Arc<WatchPlan>>,
    instance: Instance,
    settings: String,
    logs: LogSink,
    sink: Sink,
}

/// Makes a first instance of a plugin, asks for its watches, puts the
/// configuration over them, checks grants and opens the sink. Nothing is watched
/// and nothing is written yet.
///
/// # Errors
/// [`RunError`].
pub async fn prepare(run: PluginRun, access: &Access) -> Result<Prepared, RunError> {
    let own_namespace = access.own_namespace.as_deref();
    let name = run.plugin.name().to_owned();
    let failed = |source: CallError| match source {
        CallError::Refused { message, .. } => RunError::Settings {
            plugin: name.clone(),
            message,
        },
        source => RunError::Plugin {
            plugin: name.clone(),
            source,
        },
    };
    let settings = serde_json::Value::Object(run.config.settings.clone()).to_string();
    let logs = log_sink(&name);
    let mut instance = run
        .plugin
        .instantiate(&run.limits, &settings, Arc::clone(&logs))
        .await
        .map_err(&failed)?;
    let declared = instance.describe().await.map_err(&failed)?;
    let wrong = |mistakes| RunError::Watches {
        plugin: name.clone(),
        mistakes,
    };
    let texts = |errors: Vec<OverrideError>| errors.iter().map(ToString::to_string).collect();
    let specs = config::override_watches(declared, &run.config.watches)
        .map_err(|errors| wrong(texts(errors)))?;
    let plans = plan_all(&specs)
        .map_err(|SpecErrors(errors)| wrong(errors.iter().map(ToString::to_string).collect()))?;
    if plans.is_empty() {
        return Err(wrong(vec![
            "it declares no watches, and none are configured: nothing would ever happen".to_owned(),
        ]));
    }
    let own = plans
        .iter()
        .any(|p| p.scope == haptic_core::spec::ScopeSpec::OwnNamespace);
    if own && own_namespace.is_none() {
        return Err(wrong(vec![
            "it watches the host's own namespace, and neither a service account nor the kubeconfig's context names one: set a namespace in the context".to_owned(),
        ]));
    }
    let refused: Vec<Refusal> =
        grants::refusals(&run.config.allow, &plans, own_namespace.unwrap_or_default());
    if !refused.is_empty() {
        let mut mistakes: Vec<String> = refused.iter().map(ToString::to_string).collect();
        mistakes.push(grants::advice(&run.config.allow, &refused));
        return Err(wrong(mistakes));
    }
    let options = SinkOptions {
        occupancy: run.occupancy,
        client: &access.client,
        force_conflicts: run.force_conflicts,
        hooked: run.hook.is_some(),
    };
    let sink = Sink::open(&run.output, options).map_err(|source| RunError::Output {
        plugin: name.clone(),
        source,
    })?;
    Ok(Prepared {
        plans: plans.into_iter().map(Arc::new).collect(),
        run,
        instance,
        settings,
        logs,
        sink,
    })
}

/// Where the log lines of a plugin of this name go.
pub(crate) fn log_sink(plugin: &str) -> LogSink {
    let plugin = plugin.to_owned();
    Arc::new(move |line: LogLine| {
        let LogLine {
            level,
            target,
            message,
            fields,
        } = line;
        // A line stays one, and nothing in it drives a terminal: a plugin must not be able to
        // write what looks like the host's own lines.
        let (message, target) = (one_line(&message), one_line(&target));
        let fields = fields
            .iter()
            .map(|(key, value)| format!("{}={value:?}", one_line(key)))
            .collect::<Vec<_>>()
            .join(" ");
        macro_rules! emit {
            ($level:ident) => {
                if fields.is_empty() {
                    tracing::$level!(target: "plugin", plugin, at = &*target, "{message}")
                } else {
                    tracing::$level!(target: "plugin", plugin, at = &*target, fields, "{message}")
                }
            };
        }
        match level {
            LogLevel::Error => emit!(error),
            LogLevel::Warn => emit!(warn),
            LogLevel::Info => emit!(info),
            LogLevel::Debug => emit!(debug),
            LogLevel::Trace => emit!(trace),
        }
    })
}

/// The text with its control characters written out.
fn one_line(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let shown = |c: char| match c {
        '\t' => String::from(c),
        c if c.is_control() => c.escape_default().to_string(),
        c => String::from(c),
    };
    Cow::Owned(text.chars().map(shown).collect())
}

/// Everything that happens to the loop.
enum Event {
    Watch(News),
    /// Somebody wants to see the state.
    Asked(Ask),
    Done {
        plugin: PluginId,
        done: Done,
    },
    Stop,
}

impl From<News> for Event {
    fn from(news: News) -> Self {
        Self::Watch(news)
    }
}

impl From<Ask> for Event {
    fn from(ask: Ask) -> Self {
        Self::Asked(ask)
    }
}

/// Runs the plugins until `stop` resolves, or with [`RunOptions::once`] until
/// each has been told everything. `server` shows meanwhile what it does.
///
/// # Errors
/// [`RunError`]. Without `once` a failing plugin is retried and never ends the run.
pub async fn run(
    access: Access,
    prepared: Vec<Prepared>,
    options: RunOptions,
    server: Option<Server>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), RunError> {
    let election = match options.election.clone() {
        Some(config) => Some(Election::start(&access, config)?),
        None => None,
    };
    let clock = Clock::start();
    let (events, mut queue) = mpsc::channel(QUEUE);
    let bodies = Bodies::of(&access, clock, options.cache_bytes);
    let mut engine = Engine::new();
    let mut workers = HashMap::new();
    let mut books = Books::default();
    let mut hooks = Hooks::default();
    let own = access.own_namespace.clone().unwrap_or_default();
    for prepared in prepared {
        let name = prepared.run.plugin.name().to_owned();
        let plugin = engine.add_plugin(&name, &prepared.plans, &own);
        books.open(plugin, &name, prepared.run.output.to_string());
        if let Some(config) = prepared.run.hook {
            let options = HookOptions {
                config,
                plugin: name.clone(),
                output: prepared.run.output.place(),
                mark: prepared.sink.mark(),
                logs: Arc::clone(&prepared.logs),
            };
            hooks.add(plugin, options);
        }
        let worker_options = WorkerOptions {
            plugin: prepared.run.plugin,
            limits: prepared.run.limits,
            settings: prepared.settings,
            logs: prepared.logs,
            sink: prepared.sink,
            bodies: bodies.clone(),
        };
        let events = events.clone();
        let worker = Worker::start(worker_options, prepared.instance, move |done| {
            // The loop is gone only when the process ends.
            events.blocking_send(Event::Done { plugin, done }).is_ok()
        })
        .map_err(|source| RunError::Thread {
            plugin: name,
            source,
        })?;
        workers.insert(plugin, worker);
    }
    let watches = Watches::start(&engine, &access, clock, &bodies, &events);
    let stopper = tokio::spawn({
        let events = events.clone();
        async move {
            stop.await;
            // A closed queue means that the loop has ended already.
            drop(events.send(Event::Stop).await);
        }
    });
    if election.is_some() {
        engine.follow();
    }
    let endpoints = server.map(|server| tokio::spawn(server.run(events.clone(), books.metrics())));
    let mut dispatch = Dispatch {
        engine,
        workers,
        books,
        hooks,
        bodies,
        cluster: access.url,
        clock,
        options,
        running: 0,
        stopping: None,
        leadership: election
            .as_ref()
            .map(|election| election.leadership.clone()),
        standing: election
            .as_ref()
            .map(|election| (election.identity.clone(), election.status.clone())),
        tenure: None,
    };
    let result = dispatch.run(&mut queue, &watches).await;
    dispatch.hooks.end().await;
    stopper.abort();
    if let Some(election) = election {
        election.stop().await;
    }
    if let Some(endpoints) = endpoints {
        endpoints.abort();
    }
    result
}

/// The contender of this process. Dropping it stops leading, and leaves the Lease to
/// expire.
struct Election {
    leadership: Leadership,
    identity: String,
    status: watch::Receiver<leader::LeaderStatus>,
    stop: oneshot::Sender<()>,
    ended: JoinSet<()>,
}

impl Election {
    fn start(access: &Access, config: LeaseConfig) -> Result<Self, RunError> {
        let identity = config.identity.clone();
        let elector =
            LeaderElector::new(access.client.clone(), config).map_err(RunError::Election)?;
        let leadership = elector.leadership();
        let status = elector.status();
        let (stop, stopped) = oneshot::channel();
        let mut ended = JoinSet::new();
        // What it tells is in the log already, and in the leadership.
        ended.spawn(elector.run(async { drop(stopped.await) }, drop));
        Ok(Self {
            leadership,
            identity,
            status,
            stop,
            ended,
        })
    }

    /// Gives the Lease back.
    async fn stop(mut self) {
        drop(self.stop);
        self.ended.join_next().await;
    }
}

struct Dispatch {
    engine: Engine,
    workers: HashMap<PluginId, Worker>,
    books: Books,
    hooks: Hooks,
    bodies: Bodies,
    /// The API server's URL.
    cluster: String,
    clock: Clock,
    options: RunOptions,
    running: usize,
    /// Until when, and why.
    stopping: Option<(tokio::time::Instant, Stop)>,
    /// `None`: there is no election, and this process always leads.
    leadership: Option<Leadership>,
    /// What this process calls itself in the election, and how that stands.
    standing: Option<(String, watch::Receiver<leader::LeaderStatus>)>,
    /// The time of leading that the engine knows of.
    tenure: Option<Tenure>,
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
}

impl Dispatch {
    async fn run(
        &mut self,
        queue: &mut mpsc::Receiver<Event>,
        watches: &Watches,
    ) -> Result<(), RunError> {
        let mut give_up = self
            .options
            .once
            .then(|| tokio::time::Instant::now() + self.options.once_timeout);
        let mut changes = self.leadership.as_ref().map(Leadership::changes);
        loop {
            self.follow_election();
            match self.stopping {
                None => {
                    self.start_calls();
                    self.start_hooks();
                }
                Some((_, why)) if self.running == 0 && !self.hooks.are_running() => {
                    return self.stopped(why, watches);
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
                    Some(event) => self.event(event, watches)?,
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
                if self.running > 0 {
                    warn!("a callback did not end in time; what it would have written is dropped");
                }
                if self.hooks.are_running() {
                    warn!(
                        "a hook did not end in time, and is killed; it runs again after the next start"
                    );
                }
                return self.stopped(why, watches);
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
    }

    fn stopped(&self, why: Stop, watches: &Watches) -> Result<(), RunError> {
        match why {
            Stop::Asked if self.options.once => Err(RunError::Interrupted),
            Stop::Asked | Stop::ReaderGone => Ok(()),
            Stop::GaveUp => Err(RunError::NotSynced {
                after: self.options.once_timeout,
                watches: watches.not_synced(&self.engine),
            }),
        }
    }

    fn plugins(&self) -> impl Iterator<Item = PluginId> {
        self.workers.keys().copied()
    }

    fn settled(&self) -> bool {
        let hopeless = |store: StoreId| {
            let status = self.engine.status(store);
            status.is_some_and(|status| watches::is_hopeless(&status.freshness.state))
        };
        self.plugins()
            .all(|plugin| self.engine.is_settled(plugin, hopeless))
    }

    /// Whether `--once` has rendered everything.
    fn is_done(&self) -> bool {
        self.options.once && self.running == 0 && self.settled()
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

    fn hook_ended(
        &mut self,
        id: tokio::task::Id,
        result: Result<(), HookError>,
    ) -> Result<(), RunError> {
        let Some(ended) = self.hooks.take_in(self.clock.now(), id, result) else {
            return Ok(());
        };
        let (plugin, duration) = (ended.plugin, ended.duration);
        match ended.result {
            Ok(()) => info!(plugin, ?duration, "hook"),
            Err(source) if self.options.once => return Err(RunError::Hook { plugin, source }),
            Err(error) => {
                let failures = ended.failures;
                error!(
                    plugin,
                    ?duration,
                    failures,
                    "the hook failed, it is tried again: {}",
                    chain(&error)
                );
            }
        }
        Ok(())
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
            }
            self.tenure = tenure;
        }
    }

    fn start_calls(&mut self) {
        if self.leadership.is_some() && self.tenure.is_none() {
            return;
        }
        for call in self.engine.poll(self.clock.now()) {
            let Some(worker) = self.workers.get(&call.plugin) else {
                continue;
            };
            let watch = call.callback.watch();
            let watch_name = self.engine.watch_name(call.plugin, watch).to_owned();
            let job = Job {
                callback: call.callback,
                watch_name,
                view: call.view,
                tenure: self.tenure.clone(),
            };
            if worker.run(job) {
                self.running += 1;
            } else {
                // Only a panic of ours ends a worker's thread.
                error!(
                    plugin = self.engine.plugin_name(call.plugin),
                    "its thread has ended"
                );
                self.engine
                    .finished(self.clock.now(), call.plugin, Outcome::Died);
            }
        }
    }

    fn event(&mut self, event: Event, watches: &Watches) -> Result<(), RunError> {
        let now = self.clock.now();
        match event {
            Event::Watch(news) => watches.take_in(&mut self.engine, now, news),
            Event::Asked(ask) => ask.answer(self.state(now, watches)),
            Event::Done { plugin, done } => {
                self.running -= 1;
                if done.result.as_ref().is_err_and(WorkError::reader_is_gone) {
                    info!("whoever read standard output has gone: stopping");
                    self.stop(Stop::ReaderGone);
                    return Ok(());
                }
                let outcome = done
                    .result
                    .as_ref()
                    .map_or_else(WorkError::outcome, |_| Outcome::Ok);
                self.engine.finished(now, plugin, outcome);
                let debt = done.result.as_ref().ok();
                if let Some(debt) = debt.and_then(|committed| committed.debt.clone()) {
                    self.hooks.owe(plugin, debt);
                }
                self.books
                    .enter(now, plugin, &done.callback, &done.watch_name, &done.result);
                self.report(plugin, done)?;
            }
            Event::Stop => {
                info!("stopping");
                self.stop(Stop::Asked);
            }
        }
        Ok(())
    }

    fn state(&self, now: Time, watches: &Watches) -> HostState {
        let mut plugins = self.books.plugins(now, &self.engine);
        for plugin in &mut plugins {
            let report = self.hooks.report(&plugin.name);
            plugin.hook = report.map(|report| HookStatus::new(now, &report));
        }
        HostState {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_seconds: now.since_origin().as_secs_f64(),
            cluster: self.cluster.clone(),
            leader: self.leader(),
            cache: self.bodies.metrics().into(),
            watches: watches.status(&self.engine, now),
            plugins,
        }
    }

    fn leader(&self) -> Option<LeaderStatus> {
        let leadership = self.leadership.as_ref()?;
        let (identity, status) = self.standing.as_ref()?;
        Some(LeaderStatus {
            identity: identity.clone(),
            leads: leadership.is_leading(),
            holder: status.borrow().holder.clone().unwrap_or_default(),
        })
    }

    fn report(&self, plugin: PluginId, done: Done) -> Result<(), RunError> {
        let name = self.engine.plugin_name(plugin);
        let callback = done.callback.export();
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
                return Ok(());
            }
            Err(error) => {
                let failures = self.engine.failures(plugin);
                error!(
                    plugin = name,
                    watch,
                    failures,
                    "{}; nothing was written, it is tried again",
                    chain(&error)
                );
                return Ok(());
            }
        };
        let duration = committed.duration;
        let (bytes, changed) = (committed.bytes, committed.changed.len());
        match done.callback {
            Callback::SyncComplete { initial_count, .. } => {
                info!(
                    plugin = name,
                    watch,
                    objects = initial_count,
                    ?duration,
                    bytes,
                    changed,
                    "{callback}"
                );
            }
            Callback::Change { stats, .. } => info!(
                plugin = name,
                watch,
                created = stats.created,
                modified = stats.modified,
                deleted = stats.deleted,
                ?duration,
                bytes,
                changed,
                "{callback}"
            ),
            Callback::Resource { .. } => {
                info!(
                    plugin = name,
                    watch,
                    ?duration,
                    bytes,
                    changed,
                    "{callback}"
                );
            }
        }
        if self.options.diff {
            for change in &committed.changed {
                diff::print(change);
            }
        }
        Ok(())
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
