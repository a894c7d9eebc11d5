//! What stands behind every watcher: an engine with one subscriber, the streams that
//! feed it, and the task that owns both and calls back. Owns the order of things;
//! what is due is [`haptic_core::engine`]'s to decide.

use std::sync::{Arc, Mutex};

use haptic_core::{
    engine::{Call, Callback, Engine, Outcome, PluginId},
    spec::{ScopeSpec, SpecError, SpecErrors, WatchPlan, WatchSpec, plan_all},
    view::{Freshness as CoreFreshness, StoreView, View as CoreView},
    watch::WatchState,
};
use tokio::{
    sync::{Notify, mpsc, watch},
    task::JoinHandle,
};
use tracing::{debug, error};

use super::callback::{self, CallbackError, Callbacks};
use crate::{
    access::Access,
    cached::Bodies,
    chain::{chain, printable},
    driver::Clock,
    store::{Freshness, Origin, Published, World},
    watches::{News, Watches},
    worker::QUEUE,
};

/// Why a watcher was not started. Nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// What it is to watch is wrong: everything that is, a line each.
    #[error(transparent)]
    Watches(#[from] SpecErrors),
    /// The caller is not on a tokio runtime.
    #[error("a watcher must be started on a tokio runtime")]
    NoRuntime,
}

/// The watcher was stopped before it had everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the watcher was stopped before it had synced")]
pub struct Stopped;

/// How one watch is, in numbers (contract W9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its state, and since when; of a list of namespaces, that of the worst.
    pub freshness: Freshness,
    /// Whether its store has held everything once.
    pub synced: bool,
    /// Objects in the store.
    pub objects: usize,
    /// Objects that could not be decoded so far (contract W8); the log has each.
    pub quarantined: u64,
    /// Objects without a key for the primary index, which `get` does not find
    /// (contract I4).
    pub unkeyed: usize,
}

/// Stops a watcher, from any thread and from inside its callbacks. Keeps nothing
/// alive: a callback may own the one of its own watcher.
#[derive(Clone, Debug)]
pub struct Stopper(watch::Sender<bool>);

impl Stopper {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Stops it. No callback starts after this has returned; one that is running goes
    /// on to its end. Does nothing the second time, nor once the watcher was dropped.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }

    fn is_stopped(&self) -> bool {
        *self.0.borrow()
    }

    async fn stopped(&self) {
        // It fails when no sender is left, and this is one.
        drop(self.0.subscribe().wait_for(|stopped| *stopped).await);
    }
}

/// A running watcher: the part that its handle owns. Dropping it stops it.
#[derive(Debug)]
pub(super) struct Session {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    published: Arc<Published>,
    watches: Vec<Signals>,
    /// What the barrier over all required watches was passed with, in objects.
    barrier: watch::Sender<Option<usize>>,
    stopper: Stopper,
    ended: watch::Sender<bool>,
    force: Notify,
    clock: Clock,
}

/// What can be waited for of one watch.
#[derive(Debug)]
struct Signals {
    /// Objects at its first sync.
    synced: watch::Sender<Option<usize>>,
    state: watch::Sender<WatchState>,
    status: watch::Sender<Status>,
}

/// Understands what is to be watched.
///
/// # Errors
/// Everything that is wrong, at once.
pub(super) fn plan(
    access: &Access,
    specs: &[WatchSpec],
    mut errors: Vec<SpecError>,
) -> Result<Vec<Arc<WatchPlan>>, SpecErrors> {
    for spec in specs {
        if spec.scope == ScopeSpec::OwnNamespace && access.own_namespace.is_none() {
            errors.push(mistake(
                spec,
                "scope",
                "neither a service account nor the kubeconfig's context names the own namespace: set a namespace in the context",
            ));
        }
    }
    match plan_all(specs) {
        Ok(plans) if errors.is_empty() => Ok(plans.into_iter().map(Arc::new).collect()),
        Ok(_) => Err(SpecErrors(errors)),
        Err(SpecErrors(mut found)) => {
            found.append(&mut errors);
            Err(SpecErrors(found))
        }
    }
}

/// A mistake that only a watcher of some kind makes one of.
pub(super) fn mistake(spec: &WatchSpec, field: &str, message: &str) -> SpecError {
    SpecError {
        place: format!("watch {:?}, {field}", spec.name),
        message: message.to_owned(),
    }
}

impl Session {
    /// Starts what was planned.
    ///
    /// # Errors
    /// [`StartError::NoRuntime`].
    pub(super) fn start(
        access: &Access,
        plans: &[Arc<WatchPlan>],
        callbacks: Callbacks,
        stopper: Stopper,
        cache_bytes: usize,
    ) -> Result<Self, StartError> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| StartError::NoRuntime)?;
        let clock = Clock::start();
        let mut engine = Engine::new();
        let own = access.own_namespace.as_deref().unwrap_or_default();
        let plugin = engine.add_plugin("native", plans, own);
        let (events, queue) = mpsc::channel(QUEUE);
        let bodies = Bodies::of(access, clock, cache_bytes);
        let mut streams = Watches::new(access, clock, &bodies);
        streams.follow(&engine, &events);
        let mut signals = Vec::with_capacity(plans.len());
        for watch in 0..plans.len() {
            let status = status(&engine, plugin, watch, clock);
            signals.push(Signals {
                synced: watch::Sender::new(None),
                state: watch::Sender::new(status.freshness.state.clone()),
                status: watch::Sender::new(status),
            });
        }
        let world = world(&engine, plugin, plans);
        let origin = Origin {
            clock,
            bodies: Some(bodies),
        };
        let shared = Arc::new(Shared {
            published: Arc::new(Published::new(world, origin)),
            watches: signals,
            barrier: watch::Sender::new(None),
            stopper,
            ended: watch::Sender::new(false),
            force: Notify::new(),
            clock,
        });
        let task = Task {
            engine,
            plugin,
            plans: plans.to_vec(),
            callbacks: Arc::new(Mutex::new(callbacks)),
            shared: Arc::clone(&shared),
        };
        runtime.spawn(task.run(queue, streams));
        Ok(Self { shared })
    }

    pub(super) fn published(&self) -> &Arc<Published> {
        &self.shared.published
    }

    pub(super) fn stopper(&self) -> &Stopper {
        &self.shared.stopper
    }

    pub(super) fn force_sync(&self) {
        self.shared.force.notify_one();
    }

    pub(super) async fn wait_for_sync(&self, watch: usize) -> Result<usize, Stopped> {
        self.wait(&self.shared.watches[watch].synced).await
    }

    pub(super) async fn wait_for_barrier(&self) -> Result<usize, Stopped> {
        self.wait(&self.shared.barrier).await
    }

    async fn wait(&self, signal: &watch::Sender<Option<usize>>) -> Result<usize, Stopped> {
        let mut signal = signal.subscribe();
        tokio::select! {
            biased;
            count = signal.wait_for(Option::is_some) => match count.as_deref() {
                Ok(Some(count)) => Ok(*count),
                Ok(None) | Err(_) => Err(Stopped),
            },
            () = self.shared.stopper.stopped() => Err(Stopped),
        }
    }

    pub(super) fn is_synced(&self, watch: usize) -> bool {
        self.shared.watches[watch].synced.borrow().is_some()
    }

    pub(super) fn all_synced(&self) -> bool {
        self.shared.barrier.borrow().is_some()
    }

    pub(super) fn status(&self, watch: usize) -> Status {
        self.shared.watches[watch].status.borrow().clone()
    }

    pub(super) fn states(&self, watch: usize) -> watch::Receiver<WatchState> {
        self.shared.watches[watch].state.subscribe()
    }

    /// Resolves when nothing of it runs any more.
    pub(super) async fn stopped(&self) {
        // It fails when no sender is left, and this holds one.
        drop(self.shared.ended.subscribe().wait_for(|ended| *ended).await);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.shared.stopper.stop();
    }
}

fn status(engine: &Engine, plugin: PluginId, watch: usize, clock: Clock) -> Status {
    let store = engine.store_of(plugin, watch);
    let status = store.and_then(|store| engine.status(store));
    status.map_or_else(
        || Status {
            freshness: Freshness::new(&CoreFreshness::default(), clock),
            synced: false,
            objects: 0,
            quarantined: 0,
            unkeyed: 0,
        },
        |status| Status {
            freshness: Freshness::new(&status.freshness, clock),
            synced: status.synced,
            objects: status.objects,
            quarantined: status.quarantined,
            unkeyed: status.unkeyed,
        },
    )
}

fn world(engine: &Engine, plugin: PluginId, plans: &[Arc<WatchPlan>]) -> World {
    let stores: Vec<_> = (0..plans.len())
        .filter_map(|watch| engine.store_view(plugin, watch))
        .collect();
    let collections = stores
        .iter()
        .zip(plans)
        .map(|(store, plan)| plan.object_name.is_none().then(|| store.clone()))
        .collect();
    let view = Arc::new(CoreView::new(collections, engine.is_synced(plugin)));
    World { stores, view }
}

/// The task: owns the engine while the watcher runs.
struct Task {
    engine: Engine,
    plugin: PluginId,
    plans: Vec<Arc<WatchPlan>>,
    callbacks: callback::Shared,
    shared: Arc<Shared>,
}

/// A callback that was started.
struct Running {
    watch: Arc<str>,
    name: &'static str,
    task: JoinHandle<Result<(), CallbackError>>,
}

impl Task {
    async fn run(mut self, mut queue: mpsc::Receiver<News>, mut streams: Watches) {
        // Also when this panics or its runtime ends: nobody waits in vain.
        let ended = Ended(Arc::clone(&self.shared));
        let mut running = None;
        let shared = Arc::clone(&self.shared);
        loop {
            if running.is_none() && !shared.stopper.is_stopped() {
                running = self.start_call();
            }
            let due = self.engine.next_due();
            tokio::select! {
                biased;
                () = shared.stopper.stopped() => break,
                outcome = end_of(&mut running) => self.finished(&mut running, outcome),
                () = shared.force.notified() => {
                    self.engine.force_sync(shared.clock.now(), self.plugin);
                }
                news = queue.recv() => match news {
                    Some(news) => {
                        streams.take_in(&mut self.engine, shared.clock.now(), news);
                        self.publish();
                    }
                    // Every stream has failed in a way of ours: there is no news.
                    None => break,
                },
                () = shared.clock.sleep_until(due) => {}
            }
        }
        // Frees what the streams hold before the last callback, which may take its time.
        streams.shutdown().await;
        drop((queue, self));
        if let Some(mut running) = running {
            // It cannot be called again: whoever stopped the watcher wants no more.
            let (watch, name) = (Arc::clone(&running.watch), running.name);
            if let End::Failed(error) = running.ended().await {
                error!(%watch, "{name} failed: {}", chain(error.as_ref()));
            }
        }
        drop(ended);
    }

    fn start_call(&mut self) -> Option<Running> {
        let call: Call = self.engine.poll(self.shared.clock.now()).pop()?;
        let name = match call.callback {
            Callback::SyncComplete { .. } => "on_sync_complete",
            Callback::Change { .. } => "on_change",
            Callback::Resource { .. } => "on_event",
        };
        let watch: Arc<str> = self
            .engine
            .watch_name(self.plugin, call.callback.watch())
            .into();
        let callbacks = Arc::clone(&self.callbacks);
        let stopper = self.shared.stopper.clone();
        let origin = self.shared.published.origin().clone();
        let watch_name = Arc::clone(&watch);
        let task = tokio::spawn(async move {
            if stopper.is_stopped() {
                return Ok(());
            }
            callback::run(callbacks, call, watch_name, origin).await
        });
        Some(Running { watch, name, task })
    }

    fn finished(&mut self, running: &mut Option<Running>, end: End) {
        let Some(Running { watch, name, .. }) = running.take() else {
            return;
        };
        let outcome = match &end {
            End::Ok => Outcome::Ok,
            End::Failed(_) | End::Panicked(_) => Outcome::Failed,
        };
        self.engine
            .finished(self.shared.clock.now(), self.plugin, outcome);
        let failures = self.engine.failures(self.plugin);
        match end {
            End::Ok => debug!(%watch, "{name}"),
            End::Failed(error) => {
                let error = chain(error.as_ref());
                error!(%watch, failures, "{name} failed: {error}; it is called again");
            }
            End::Panicked(text) => {
                let text = printable(&text);
                error!(%watch, failures, "{name} panicked: {text}; it is called again");
            }
        }
    }

    /// Shows readers what the engine has now, and tells those who wait.
    fn publish(&self) {
        let Shared {
            published, clock, ..
        } = &*self.shared;
        published.publish(world(&self.engine, self.plugin, &self.plans));
        let mut total = 0;
        for (watch, signals) in self.shared.watches.iter().enumerate() {
            let status = status(&self.engine, self.plugin, watch, *clock);
            total += status.objects;
            signals.synced.send_if_modified(|synced| {
                let first = synced.is_none() && status.synced;
                if first {
                    *synced = Some(status.objects);
                }
                first
            });
            signals.tell(status);
        }
        self.shared.barrier.send_if_modified(|barrier| {
            let first = barrier.is_none() && self.engine.is_synced(self.plugin);
            if first {
                *barrier = Some(total);
            }
            first
        });
    }
}

impl Signals {
    fn tell(&self, status: Status) {
        self.state.send_if_modified(|state| {
            let moved = *state != status.freshness.state;
            if moved {
                state.clone_from(&status.freshness.state);
            }
            moved
        });
        self.status.send_replace(status);
    }
}

/// How a callback ended.
enum End {
    Ok,
    Failed(CallbackError),
    /// With these words.
    Panicked(String),
}

impl Running {
    async fn ended(&mut self) -> End {
        match (&mut self.task).await {
            Ok(Ok(())) => End::Ok,
            Ok(Err(error)) => End::Failed(error),
            Err(error) if error.is_panic() => {
                let payload = error.into_panic();
                let text = payload.downcast_ref::<&str>().copied();
                let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
                End::Panicked(text.unwrap_or("of unknown kind").to_owned())
            }
            // Nobody but an ending runtime cancels it, and that asks for nothing more.
            Err(_) => End::Ok,
        }
    }
}

async fn end_of(running: &mut Option<Running>) -> End {
    match running {
        Some(running) => running.ended().await,
        None => std::future::pending().await,
    }
}

/// Says that a session is over when it is dropped.
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        let shared = &self.0;
        shared.stopper.stop();
        let now = shared.clock.now();
        let age = |freshness: &CoreFreshness| {
            let mut freshness = freshness.clone();
            if freshness.state == WatchState::Synced {
                freshness.change(now, WatchState::Stale { since: now });
            }
            freshness
        };
        let world = shared.published.world();
        let old = |store: &StoreView| store.clone().with_freshness(age(store.freshness()));
        let stores: Vec<_> = world.stores.iter().map(old).collect();
        for (signals, store) in shared.watches.iter().zip(&stores) {
            let mut status = signals.status.borrow().clone();
            status.freshness = Freshness::new(store.freshness(), shared.clock);
            signals.tell(status);
        }
        let collections = stores
            .iter()
            .enumerate()
            .map(|(watch, store)| world.view.store(watch).map(|_| store.clone()))
            .collect();
        let view = Arc::new(CoreView::new(collections, world.view.all_synced()));
        shared.published.publish(World { stores, view });
        shared.ended.send_replace(true);
    }
}
