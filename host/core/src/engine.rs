//! Decides which callback is due: owns the stores, what each plugin has not been
//! told yet, and when it may be told. One loop feeds it what watches report and
//! how callbacks ended; it answers with callbacks to run. Does not run them, and
//! knows no clock: time is an argument.

use std::{sync::Arc, time::Duration};

use crate::{
    Object, Time,
    changes::{ChangeSet, Stats},
    debounce::Debounce,
    quarantine::Quarantine,
    spec::{ScopeSpec, Storage, WatchPlan},
    store::{Delta, Store},
    view::{Freshness, StoreView, View},
    watch::{WatchOutput, WatchState},
};

/// First pause after a failed callback; it doubles with each further failure.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);
/// Longest pause: a plugin that was mended by its surroundings is back within a minute.
const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// Names a store of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoreId(usize);

/// Names a plugin of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PluginId(usize);

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
/// before [`Engine::finished`] was called (contract C4).
#[derive(Clone, Debug)]
pub struct Call {
    /// Whose.
    pub plugin: PluginId,
    /// What.
    pub callback: Callback,
    /// What it sees.
    pub view: Arc<View>,
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

/// Where the objects of a store come from: one watch per namespace, or one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The namespace watched; `None`: all.
    pub namespace: Option<String>,
    /// How its watch is, and since when (contract W9).
    pub freshness: Freshness,
    synced: bool,
    /// The kind turned out to have no namespaces: the watch is of all of it.
    cluster_scoped: bool,
}

impl Source {
    /// What its lists are complete about.
    fn scope(&self) -> Option<&str> {
        match self.cluster_scoped {
            true => None,
            false => self.namespace.as_deref(),
        }
    }
}

struct StoreEntry {
    store: Store,
    plan: Arc<WatchPlan>,
    sources: Vec<Source>,
    subscribers: Vec<(usize, usize)>,
    quarantine: Quarantine,
}

impl StoreEntry {
    fn synced(&self) -> bool {
        self.sources.iter().all(|source| source.synced)
    }

    fn view(&self, reader: &Subscription, changes: Option<Arc<ChangeSet>>) -> StoreView {
        let view = StoreView::new(Arc::clone(&reader.name), self.store.snapshot(), changes)
            .with_freshness(self.freshness());
        match reader.plan.storage {
            Storage::Memory => view,
            Storage::Cached => view.with_cached_plan(Arc::clone(&reader.plan)),
        }
    }

    /// That of the source which is worst off.
    fn freshness(&self) -> Freshness {
        let sources = self.sources.iter().map(|source| &source.freshness);
        sources
            .max_by_key(|f| f.staleness())
            .cloned()
            .unwrap_or_default()
    }
}

/// Where a subscriber stands with `on-sync-complete`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sync {
    /// The store does not hold everything yet.
    Waiting,
    /// To be told.
    Due,
    /// Told.
    Done,
}

enum Delivery {
    Collection {
        changes: Arc<ChangeSet>,
        debounce: Debounce,
        sync: Sync,
    },
    Single {
        event: Option<ResourceEvent>,
        synced: bool,
    },
}

struct Subscription {
    store: usize,
    plan: Arc<WatchPlan>,
    name: Arc<str>,
    required: bool,
    during_sync: bool,
    delivery: Delivery,
    failures: u32,
    not_before: Time,
}

struct Running {
    watch: usize,
    taken: Arc<ChangeSet>,
    event: Option<ResourceEvent>,
    was_sync: bool,
}

struct PluginEntry {
    name: String,
    subscriptions: Vec<Subscription>,
    running: Option<Running>,
    failures: u32,
    not_before: Time,
}

/// What a watch looks like from outside: for diagnostics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreStatus {
    /// The watch's name, as its first plugin calls it.
    pub name: String,
    /// Objects in the store.
    pub objects: usize,
    /// Whether every source has been listed once.
    pub synced: bool,
    /// How the watch is: the source that is worst off.
    pub freshness: Freshness,
    /// Objects that could not be decoded so far (contract W8).
    pub quarantined: u64,
    /// Objects without a key for the primary index (contract I4).
    pub unkeyed: usize,
}

/// The dispatch state machine.
#[derive(Default)]
pub struct Engine {
    stores: Vec<StoreEntry>,
    plugins: Vec<PluginEntry>,
    deltas: Vec<Delta>,
    /// Somebody else runs the callbacks.
    following: bool,
}

impl Engine {
    /// An engine without plugins.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a plugin with its watches, in the order of its `describe`. A watch
    /// that is the same as one of an earlier plugin shares its store (contract
    /// W10). `own_namespace` is what `own-namespace` scopes mean.
    pub fn add_plugin(
        &mut self,
        name: &str,
        plans: &[Arc<WatchPlan>],
        own_namespace: &str,
    ) -> PluginId {
        let plugin = self.plugins.len();
        let mut subscriptions = Vec::with_capacity(plans.len());
        for (watch, plan) in plans.iter().enumerate() {
            let store = self.store_for(plan, own_namespace);
            let entry = &mut self.stores[store];
            entry.subscribers.push((plugin, watch));
            let delivery = if plan.object_name.is_some() {
                Delivery::Single {
                    event: None,
                    synced: false,
                }
            } else {
                Delivery::Collection {
                    changes: Arc::new(ChangeSet::nothing_delivered()),
                    debounce: Debounce::new(plan.debounce),
                    sync: Sync::Waiting,
                }
            };
            let mut subscription = Subscription {
                store,
                plan: Arc::clone(plan),
                name: Arc::from(plan.name.as_str()),
                required: plan.required,
                during_sync: plan.during_sync,
                delivery,
                failures: 0,
                not_before: Time::ZERO,
            };
            subscription.tell_everything(entry);
            subscriptions.push(subscription);
        }
        self.plugins.push(PluginEntry {
            name: name.to_owned(),
            subscriptions,
            running: None,
            failures: 0,
            not_before: Time::ZERO,
        });
        PluginId(plugin)
    }

    fn store_for(&mut self, plan: &Arc<WatchPlan>, own_namespace: &str) -> usize {
        if let Some(shared) = self
            .stores
            .iter()
            .position(|entry| entry.plan.same_watch(plan))
        {
            return shared;
        }
        let source = |namespace: Option<&str>| Source {
            namespace: namespace.map(str::to_owned),
            freshness: Freshness::default(),
            synced: false,
            cluster_scoped: false,
        };
        let sources = match &plan.scope {
            ScopeSpec::AllNamespaces => vec![source(None)],
            ScopeSpec::OwnNamespace => vec![source(Some(own_namespace))],
            ScopeSpec::Namespaces(list) => list.iter().map(|name| source(Some(name))).collect(),
        };
        self.stores.push(StoreEntry {
            store: Store::new(&plan.name, plan.index_specs.clone()),
            plan: Arc::clone(plan),
            sources,
            subscribers: Vec::new(),
            quarantine: Quarantine::default(),
        });
        self.stores.len() - 1
    }

    /// Every store with its plan and its sources: what must be watched.
    pub fn stores(&self) -> impl Iterator<Item = (StoreId, &Arc<WatchPlan>, &[Source])> {
        self.stores
            .iter()
            .enumerate()
            .map(|(id, entry)| (StoreId(id), &entry.plan, entry.sources.as_slice()))
    }

    /// The plugin's name.
    #[must_use]
    pub fn plugin_name(&self, plugin: PluginId) -> &str {
        self.plugins.get(plugin.0).map_or("", |entry| &entry.name)
    }

    /// The name of a plugin's watch.
    #[must_use]
    pub fn watch_name(&self, plugin: PluginId, watch: usize) -> &str {
        self.plugins
            .get(plugin.0)
            .and_then(|entry| entry.subscriptions.get(watch))
            .map_or("", |subscription| &subscription.name)
    }

    /// The snapshot of a store.
    #[must_use]
    pub fn snapshot(&self, store: StoreId) -> Option<crate::snapshot::Snapshot> {
        self.stores.get(store.0).map(|entry| entry.store.snapshot())
    }

    /// How a store is.
    #[must_use]
    pub fn status(&self, store: StoreId) -> Option<StoreStatus> {
        let entry = self.stores.get(store.0)?;
        let snapshot = entry.store.snapshot();
        Some(StoreStatus {
            name: entry.plan.name.clone(),
            objects: snapshot.len(),
            synced: entry.synced(),
            freshness: entry.freshness(),
            quarantined: entry.quarantine.total(),
            unkeyed: snapshot.unkeyed("").unwrap_or(0),
        })
    }

    /// The objects of a store that could not be decoded.
    #[must_use]
    pub fn quarantine(&self, store: StoreId) -> Option<&Quarantine> {
        self.stores.get(store.0).map(|entry| &entry.quarantine)
    }

    /// Whether every required watch of the plugin holds everything (contract C6).
    #[must_use]
    pub fn is_synced(&self, plugin: PluginId) -> bool {
        self.plugins
            .get(plugin.0)
            .is_some_and(|entry| self.all_synced(entry))
    }

    /// Whether the plugin has been told everything and nothing runs: when `--once`
    /// is done. An optional watch is waited for as well, unless `hopeless` says
    /// that its store will not sync soon.
    #[must_use]
    pub fn is_settled(&self, plugin: PluginId, hopeless: impl Fn(StoreId) -> bool) -> bool {
        self.plugins.get(plugin.0).is_some_and(|entry| {
            entry.running.is_none()
                && self.all_synced(entry)
                && entry.subscriptions.iter().all(|subscription| {
                    let synced = self.stores[subscription.store].synced();
                    if synced {
                        !subscription.has_news()
                    } else {
                        !subscription.required && hopeless(StoreId(subscription.store))
                    }
                })
        })
    }

    fn all_synced(&self, entry: &PluginEntry) -> bool {
        entry
            .subscriptions
            .iter()
            .filter(|subscription| subscription.required)
            .all(|subscription| self.stores[subscription.store].synced())
    }

    /// A store as it is now, under the name that the plugin knows it by; without
    /// changes. Also that of a watch of one object.
    #[must_use]
    pub fn store_view(&self, plugin: PluginId, watch: usize) -> Option<StoreView> {
        let subscription = self.plugins.get(plugin.0)?.subscriptions.get(watch)?;
        Some(self.stores[subscription.store].view(subscription, None))
    }

    /// The store that a plugin's watch fills.
    #[must_use]
    pub fn store_of(&self, plugin: PluginId, watch: usize) -> Option<StoreId> {
        let subscription = self.plugins.get(plugin.0)?.subscriptions.get(watch)?;
        Some(StoreId(subscription.store))
    }

    /// Takes in how the watch of a store's `source`-th source is (contract W9).
    pub fn state(&mut self, now: Time, store: StoreId, source: usize, state: WatchState) {
        let entry = self.stores.get_mut(store.0);
        if let Some(source) = entry.and_then(|entry| entry.sources.get_mut(source)) {
            source.freshness.change(now, state);
        }
    }

    /// Takes in what the watch of a store's `source`-th source reports.
    pub fn watch(&mut self, now: Time, store: StoreId, source: usize, output: WatchOutput) {
        let Some(entry) = self.stores.get_mut(store.0) else {
            return;
        };
        let Some(from) = entry.sources.get(source) else {
            return;
        };
        // Asked for in several namespaces, a kind without any comes once for each of them.
        let is_copy = from.cluster_scoped && source > 0;
        let scope = from.scope();
        let mut deltas = std::mem::take(&mut self.deltas);
        match output {
            WatchOutput::Resolved { namespaced, .. } => {
                if from.cluster_scoped == namespaced {
                    // No list of the other scope will say that these are gone.
                    entry.store.clear(scope, &mut deltas);
                    entry.sources[source].cluster_scoped = !namespaced;
                }
            }
            WatchOutput::ListBegin
            | WatchOutput::Listed(_)
            | WatchOutput::Applied(_)
            | WatchOutput::PageEnd
            | WatchOutput::Deleted { .. }
            | WatchOutput::Quarantined { .. }
            | WatchOutput::Gone
                if is_copy => {}
            WatchOutput::ListBegin => {
                entry.quarantine.list_begins(source);
                entry.store.begin_list(scope);
            }
            WatchOutput::Listed(object) | WatchOutput::Applied(object) => {
                entry.quarantine.release(object.identity());
                entry.store.apply(object, &mut deltas);
            }
            WatchOutput::PageEnd => {
                let wanted = entry
                    .subscribers
                    .iter()
                    .any(|&(plugin, watch)| self.plugins[plugin].subscriptions[watch].during_sync);
                if wanted && !entry.synced() {
                    entry.store.publish_partial(scope, &mut deltas);
                }
            }
            WatchOutput::ListEnd { .. } => {
                if !is_copy {
                    entry.quarantine.list_ends(source);
                    entry.store.finish_list(scope, &mut deltas);
                }
                let before = entry.synced();
                entry.sources[source].synced = true;
                if !before && entry.synced() {
                    for &(plugin, watch) in &entry.subscribers {
                        let subscription = &mut self.plugins[plugin].subscriptions[watch];
                        subscription.synced(entry);
                    }
                    // The single subscriptions have been told of these just now.
                    for &(plugin, watch) in &entry.subscribers {
                        let subscription = &mut self.plugins[plugin].subscriptions[watch];
                        if let Delivery::Collection { changes, .. } = &mut subscription.delivery {
                            Arc::make_mut(changes).record(&deltas);
                        }
                    }
                    deltas.clear();
                }
            }
            WatchOutput::Deleted { identity, .. } => {
                entry.quarantine.release(&identity);
                entry.store.delete(&identity, &mut deltas);
            }
            WatchOutput::Quarantined { identity, error } => {
                entry.quarantine.add(source, identity.as_ref(), &error);
                if let Some(identity) = identity {
                    entry.store.keep(&identity);
                }
            }
            WatchOutput::Gone => {
                entry.quarantine.clear(source);
                entry.store.clear(scope, &mut deltas);
            }
        }
        if !deltas.is_empty() {
            for &(plugin, watch) in &entry.subscribers {
                self.plugins[plugin].subscriptions[watch].changed(now, &deltas);
            }
            deltas.clear();
        }
        self.deltas = deltas;
    }

    /// Stores are kept up to date from here on, and no callback is given, until
    /// [`Engine::lead`] (contract L3). Whoever leads meanwhile may change what the
    /// plugins know to be there, so they will be told everything. An engine leads unless
    /// it is told otherwise.
    pub fn follow(&mut self) {
        self.following = true;
        for entry in &mut self.plugins {
            for subscription in &mut entry.subscriptions {
                subscription.tell_everything(&self.stores[subscription.store]);
                subscription.failures = 0;
                subscription.not_before = Time::ZERO;
            }
        }
    }

    /// Callbacks are given again, `on-sync-complete` first for every store that holds
    /// everything.
    pub fn lead(&mut self) {
        self.following = false;
    }

    /// The callbacks that are due now, at most one per plugin that runs none.
    pub fn poll(&mut self, now: Time) -> Vec<Call> {
        let mut calls = Vec::new();
        if self.following {
            return calls;
        }
        for plugin in 0..self.plugins.len() {
            while self.plugins[plugin].running.is_none() && self.plugins[plugin].not_before <= now {
                let Some(watch) = self.next_watch(plugin, now) else {
                    break;
                };
                // A subscription whose changes cancel each other out gives no call.
                if let Some(call) = self.start(plugin, watch, now) {
                    calls.push(call);
                }
            }
        }
        calls
    }

    /// First what synced, then single objects, then changes by how long they have
    /// been due.
    fn next_watch(&self, plugin: usize, now: Time) -> Option<usize> {
        self.plugins[plugin]
            .subscriptions
            .iter()
            .enumerate()
            .filter_map(|(watch, subscription)| {
                let (rank, due) = subscription.due()?;
                (due <= now).then_some((rank, due, watch))
            })
            .min()
            .map(|(_, _, watch)| watch)
    }

    fn start(&mut self, plugin: usize, watch: usize, now: Time) -> Option<Call> {
        let is_synced = self.stores[self.plugins[plugin].subscriptions[watch].store].synced();
        let subscription = &mut self.plugins[plugin].subscriptions[watch];
        let snapshot = self.stores[subscription.store].store.snapshot();
        let mut taken = Arc::new(ChangeSet::default());
        let mut taken_event = None;
        let callback = match &mut subscription.delivery {
            Delivery::Single { event, .. } => {
                let event = event.take()?;
                taken_event = Some(event.clone());
                Callback::Resource { watch, event }
            }
            Delivery::Collection {
                changes,
                debounce,
                sync,
            } => {
                std::mem::swap(changes, &mut taken);
                if *sync == Sync::Due {
                    *sync = Sync::Done;
                    debounce.started(now);
                    Callback::SyncComplete {
                        watch,
                        initial_count: snapshot.len(),
                    }
                } else {
                    let stats = taken.stats(&snapshot);
                    if stats.is_empty() {
                        debounce.cancel();
                        return None;
                    }
                    debounce.started(now);
                    Callback::Change {
                        watch,
                        stats,
                        is_initial_sync: !is_synced,
                    }
                }
            }
        };
        let was_sync = matches!(callback, Callback::SyncComplete { .. });
        let told = (!was_sync).then(|| Arc::clone(&taken));
        let view = self.view(plugin, watch, told);
        self.plugins[plugin].running = Some(Running {
            watch,
            taken,
            event: taken_event,
            was_sync,
        });
        Some(Call {
            plugin: PluginId(plugin),
            callback,
            view: Arc::new(view),
        })
    }

    fn view(&self, plugin: usize, watch: usize, told: Option<Arc<ChangeSet>>) -> View {
        let entry = &self.plugins[plugin];
        let stores = entry
            .subscriptions
            .iter()
            .enumerate()
            .map(|(i, subscription)| match &subscription.delivery {
                Delivery::Single { .. } => None,
                Delivery::Collection { changes, sync, .. } => {
                    let changes = if i == watch {
                        told.clone()
                    } else {
                        (*sync == Sync::Done).then(|| Arc::clone(changes))
                    };
                    let store = &self.stores[subscription.store];
                    Some(store.view(subscription, changes))
                }
            })
            .collect();
        View::new(stores, self.all_synced(entry))
    }

    /// Takes in how the plugin's running callback ended.
    pub fn finished(&mut self, now: Time, plugin: PluginId, outcome: Outcome) {
        let Some(entry) = self.plugins.get_mut(plugin.0) else {
            return;
        };
        let Some(running) = entry.running.take() else {
            return;
        };
        let subscription = &mut entry.subscriptions[running.watch];
        match outcome {
            Outcome::Ok => {
                subscription.failures = 0;
                // An instance has recovered when it was told everything, and not
                // with the first of several callbacks that it survived.
                if !entry.subscriptions.iter().any(Subscription::has_news) {
                    entry.failures = 0;
                }
            }
            Outcome::NotLeading => subscription.give_back(now, running),
            Outcome::Failed => {
                subscription.failures += 1;
                subscription.not_before = now + backoff(subscription.failures);
                subscription.give_back(now, running);
            }
            Outcome::Died => {
                entry.failures += 1;
                entry.not_before = now + backoff(entry.failures);
                for subscription in &mut entry.subscriptions {
                    subscription.tell_everything(&self.stores[subscription.store]);
                }
            }
        }
    }

    /// Failures in a row of the plugin: of its instances, or of the watch that
    /// failed most.
    #[must_use]
    pub fn failures(&self, plugin: PluginId) -> u32 {
        self.plugins.get(plugin.0).map_or(0, |entry| {
            entry
                .subscriptions
                .iter()
                .map(|subscription| subscription.failures)
                .fold(entry.failures, u32::max)
        })
    }

    /// Makes what is pending for a plugin due at once (contract C5), also what
    /// waits because its callback has failed. A dead instance is waited for.
    pub fn force_sync(&mut self, now: Time, plugin: PluginId) {
        let Some(entry) = self.plugins.get_mut(plugin.0) else {
            return;
        };
        for subscription in &mut entry.subscriptions {
            subscription.not_before = Time::ZERO;
            if let Delivery::Collection { debounce, .. } = &mut subscription.delivery {
                debounce.force(now);
            }
        }
    }

    /// When [`Engine::poll`] will have something to do, if nothing happens before;
    /// `None`: not before something happens.
    #[must_use]
    pub fn next_due(&self) -> Option<Time> {
        if self.following {
            return None;
        }
        self.plugins
            .iter()
            .filter(|entry| entry.running.is_none())
            .flat_map(|entry| {
                entry
                    .subscriptions
                    .iter()
                    .filter_map(|subscription| subscription.due())
                    .map(|(_, due)| due.max(entry.not_before))
            })
            .min()
    }
}

/// What comes first when several callbacks are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Sync,
    Single,
    Change,
}

impl Subscription {
    fn due(&self) -> Option<(Rank, Time)> {
        let (rank, due) = match &self.delivery {
            Delivery::Collection {
                sync: Sync::Due, ..
            } => (Rank::Sync, Time::ZERO),
            Delivery::Collection {
                sync: Sync::Waiting,
                ..
            } if !self.during_sync => return None,
            Delivery::Collection { debounce, .. } => (Rank::Change, debounce.due()?),
            Delivery::Single { event, .. } => {
                event.as_ref()?;
                (Rank::Single, Time::ZERO)
            }
        };
        Some((rank, due.max(self.not_before)))
    }

    /// Whether `on-sync-complete`, or an event of a single object, is to be told.
    fn has_news(&self) -> bool {
        match &self.delivery {
            Delivery::Collection { sync, .. } => *sync == Sync::Due,
            Delivery::Single { event, .. } => event.is_some(),
        }
    }

    /// The store has just come to hold everything.
    fn synced(&mut self, entry: &StoreEntry) {
        match &mut self.delivery {
            Delivery::Collection { sync, .. } => *sync = Sync::Due,
            Delivery::Single { event, synced } => {
                *synced = true;
                *event = Some(match entry.store.snapshot().list().next() {
                    Some(object) => ResourceEvent::Applied(Arc::clone(object)),
                    None => ResourceEvent::Absent,
                });
            }
        }
    }

    /// The plugin knows nothing: it is new, or its instance is.
    fn tell_everything(&mut self, entry: &StoreEntry) {
        match &mut self.delivery {
            Delivery::Collection { changes, sync, .. } => {
                *changes = Arc::new(ChangeSet::nothing_delivered());
                *sync = Sync::Waiting;
            }
            Delivery::Single { event, synced } => {
                *event = None;
                *synced = false;
            }
        }
        if entry.synced() {
            self.synced(entry);
        }
    }

    fn changed(&mut self, now: Time, deltas: &[Delta]) {
        match &mut self.delivery {
            Delivery::Collection {
                changes, debounce, ..
            } => {
                Arc::make_mut(changes).record(deltas);
                debounce.changed(now);
            }
            Delivery::Single {
                event,
                synced: true,
            } => {
                if let Some(delta) = deltas.last() {
                    *event = match (delta.current(), delta.previous()) {
                        (Some(object), _) => Some(ResourceEvent::Applied(Arc::clone(object))),
                        (None, Some(object)) => Some(ResourceEvent::Deleted(Arc::clone(object))),
                        (None, None) => return,
                    };
                }
            }
            // Before sync nothing is delivered (contract R1).
            Delivery::Single { synced: false, .. } => {}
        }
    }

    /// A delivery failed: what it was about is pending again, under what is newer.
    fn give_back(&mut self, now: Time, running: Running) {
        match &mut self.delivery {
            Delivery::Collection { changes, sync, .. } if running.was_sync => {
                *changes = Arc::new(ChangeSet::nothing_delivered());
                *sync = Sync::Due;
            }
            Delivery::Collection {
                changes, debounce, ..
            } => {
                let older =
                    Arc::try_unwrap(running.taken).unwrap_or_else(|shared| (*shared).clone());
                Arc::make_mut(changes).merge_older(older);
                debounce.changed(now);
            }
            Delivery::Single { event, .. } => {
                if event.is_none() {
                    *event = running.event;
                }
            }
        }
    }
}

fn backoff(failures: u32) -> Duration {
    BACKOFF_FIRST
        .saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1).min(16)))
        .min(BACKOFF_MAX)
}

#[cfg(test)]
mod tests;
