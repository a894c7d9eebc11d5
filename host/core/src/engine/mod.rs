//! Decides which callback is due: owns the stores, what each plugin has not been
//! told yet, and when it may be told. One loop feeds it what watches report and
//! how callbacks ended; it answers with callbacks to run. Does not run them, and
//! knows no clock: time is an argument.

mod call;
mod reload;
mod store;
mod subscription;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc, time::Duration};

use crate::{
    Time,
    changes::ChangeSet,
    quarantine::Quarantine,
    spec::WatchPlan,
    store::Delta,
    view::{StoreView, View},
    watch::{WatchOutput, WatchState},
};

use self::{
    reload::Candidacy,
    store::StoreEntry,
    subscription::{Delivery, Rank, Running, Subscription, Sync},
};

pub use self::{
    call::{Call, Callback, Disposal, Outcome, ResourceEvent},
    reload::CandidateState,
    store::{Source, StoreStatus},
};

/// First pause after a failed callback; it doubles with each further failure.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);
/// Longest pause: a plugin that was mended by its surroundings is back within a minute.
pub const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// Names a store of the engine. Not used again when the store is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoreId(usize);

/// Names a plugin of the engine. Not used again when the plugin is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PluginId(usize);

struct PluginEntry {
    name: String,
    subscriptions: Vec<Subscription>,
    running: Option<Running>,
    /// Of instances, in a row.
    failures: u32,
    /// The last of them was in `on-change`. That it survives being told everything shows
    /// nothing then.
    died_of_change: bool,
    not_before: Time,
    max_failures: Option<NonZeroU32>,
    /// It is to take another one's place, and its outputs are not committed.
    candidacy: Option<Candidacy>,
}

/// The dispatch state machine.
#[derive(Default)]
pub struct Engine {
    stores: BTreeMap<StoreId, StoreEntry>,
    plugins: BTreeMap<PluginId, PluginEntry>,
    /// How many stores and plugins there have been.
    stores_made: usize,
    plugins_made: usize,
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
        let plugin = PluginId(self.plugins_made);
        self.plugins_made += 1;
        let mut subscriptions = Vec::with_capacity(plans.len());
        for (watch, plan) in plans.iter().enumerate() {
            let id = self.store_for(plan);
            let entry = self
                .stores
                .entry(id)
                .or_insert_with(|| StoreEntry::new(plan, own_namespace));
            entry.subscribers.push((plugin, watch));
            subscriptions.push(Subscription::new(id, entry, plan));
        }
        let entry = PluginEntry {
            name: name.to_owned(),
            subscriptions,
            running: None,
            failures: 0,
            died_of_change: false,
            not_before: Time::ZERO,
            max_failures: None,
            candidacy: None,
        };
        self.plugins.insert(plugin, entry);
        plugin
    }

    /// That of the same watch, or a new one.
    fn store_for(&mut self, plan: &WatchPlan) -> StoreId {
        let same = |entry: &StoreEntry| entry.plan.same_watch(plan);
        if let Some((shared, _)) = self.stores.iter().find(|(_, entry)| same(entry)) {
            return *shared;
        }
        self.stores_made += 1;
        StoreId(self.stores_made - 1)
    }

    /// After so many failures in a row the plugin counts as [broken](Engine::is_broken);
    /// never, unless this is called.
    pub fn set_max_failures(&mut self, plugin: PluginId, max: NonZeroU32) {
        if let Some(entry) = self.plugins.get_mut(&plugin) {
            entry.max_failures = Some(max);
        }
    }

    /// Forgets a plugin, and the stores that nobody else reads. A callback of it that
    /// is running goes on, and how it ends is of no interest.
    pub fn remove(&mut self, plugin: PluginId) {
        if self.plugins.remove(&plugin).is_none() {
            return;
        }
        let plugins = &self.plugins;
        self.stores.retain(|_, store| {
            store.subscribers.retain(|(reader, _)| *reader != plugin);
            let Some(&(reader, watch)) = store.subscribers.first() else {
                return false;
            };
            // It has the name that its first reader gives it.
            let first = plugins.get(&reader);
            if let Some(first) = first.and_then(|entry| entry.subscriptions.get(watch)) {
                store.plan = Arc::clone(&first.plan);
            }
            true
        });
    }

    /// Every store with its plan and its sources: what must be watched.
    pub fn stores(&self) -> impl Iterator<Item = (StoreId, &Arc<WatchPlan>, &[Source])> {
        self.stores
            .iter()
            .map(|(id, entry)| (*id, &entry.plan, entry.sources.as_slice()))
    }

    /// One of [`Engine::stores`]; `None` when it is gone.
    #[must_use]
    pub fn store(&self, store: StoreId) -> Option<(&Arc<WatchPlan>, &[Source])> {
        let entry = self.stores.get(&store)?;
        Some((&entry.plan, entry.sources.as_slice()))
    }

    /// The plugin's name.
    #[must_use]
    pub fn plugin_name(&self, plugin: PluginId) -> &str {
        self.plugins.get(&plugin).map_or("", |entry| &entry.name)
    }

    fn subscription(&self, plugin: PluginId, watch: usize) -> Option<&Subscription> {
        self.plugins.get(&plugin)?.subscriptions.get(watch)
    }

    /// The name of a plugin's watch.
    #[must_use]
    pub fn watch_name(&self, plugin: PluginId, watch: usize) -> &str {
        self.subscription(plugin, watch)
            .map_or("", |subscription| &subscription.name)
    }

    /// The plugins that read a store, candidates included; one that reads it twice comes
    /// twice.
    pub fn readers(&self, store: StoreId) -> impl Iterator<Item = &str> {
        let readers = self.stores.get(&store).map_or(&[][..], |s| &s.subscribers);
        readers.iter().map(|(plugin, _)| self.plugin_name(*plugin))
    }

    /// The shortest debounce interval of those who read a store; zero when one of them watches
    /// a single object, or when nobody reads it.
    #[must_use]
    pub fn patience(&self, store: StoreId) -> Duration {
        let readers = self.stores.get(&store).map_or(&[][..], |s| &s.subscribers);
        let subscriptions = readers
            .iter()
            .filter_map(|(plugin, watch)| self.subscription(*plugin, *watch));
        subscriptions
            .map(Subscription::patience)
            .min()
            .unwrap_or_default()
    }

    /// Whether a plugin waits for the store. Candidates do not count: they may wait.
    #[must_use]
    pub fn is_required(&self, store: StoreId) -> bool {
        let readers = self.stores.get(&store).map_or(&[][..], |s| &s.subscribers);
        readers.iter().any(|(plugin, watch)| {
            let entry = self.plugins.get(plugin);
            let entry = entry.filter(|entry| entry.candidacy.is_none());
            entry
                .and_then(|entry| entry.subscriptions.get(*watch))
                .is_some_and(|subscription| subscription.required)
        })
    }

    /// The snapshot of a store.
    #[must_use]
    pub fn snapshot(&self, store: StoreId) -> Option<crate::snapshot::Snapshot> {
        self.stores.get(&store).map(|entry| entry.store.snapshot())
    }

    /// How a store is.
    #[must_use]
    pub fn status(&self, store: StoreId) -> Option<StoreStatus> {
        self.stores.get(&store).map(StoreEntry::status)
    }

    /// The objects of a store that could not be decoded.
    #[must_use]
    pub fn quarantine(&self, store: StoreId) -> Option<&Quarantine> {
        self.stores.get(&store).map(|entry| &entry.quarantine)
    }

    /// Whether every required watch of the plugin holds everything (contract C6).
    #[must_use]
    pub fn is_synced(&self, plugin: PluginId) -> bool {
        self.plugins
            .get(&plugin)
            .is_some_and(|entry| self.all_synced(entry))
    }

    /// Whether the plugin has been told everything and nothing runs: when `--once`
    /// is done. An optional watch is waited for as well, unless `hopeless` says
    /// that its store will not sync soon.
    #[must_use]
    pub fn is_settled(&self, plugin: PluginId, hopeless: impl Fn(StoreId) -> bool) -> bool {
        self.plugins.get(&plugin).is_some_and(|entry| {
            entry.running.is_none()
                && self.all_synced(entry)
                && entry.subscriptions.iter().all(|subscription| {
                    if self.holds_everything(subscription) {
                        !subscription.has_news()
                    } else {
                        !subscription.required && hopeless(subscription.store)
                    }
                })
        })
    }

    /// The names of the plugin's required watches that do not hold everything yet.
    pub fn waits_for(&self, plugin: PluginId) -> impl Iterator<Item = &str> {
        let entry = self.plugins.get(&plugin);
        let watches = entry.map_or(&[][..], |entry| &entry.subscriptions);
        watches
            .iter()
            .filter(|watch| watch.required && !self.holds_everything(watch))
            .map(|watch| &*watch.name)
    }

    fn all_synced(&self, entry: &PluginEntry) -> bool {
        entry
            .subscriptions
            .iter()
            .filter(|subscription| subscription.required)
            .all(|subscription| self.holds_everything(subscription))
    }

    fn holds_everything(&self, subscription: &Subscription) -> bool {
        self.stores
            .get(&subscription.store)
            .is_some_and(StoreEntry::synced)
    }

    /// A store as it is now, under the name that the plugin knows it by; without
    /// changes. Also that of a watch of one object.
    #[must_use]
    pub fn store_view(&self, plugin: PluginId, watch: usize) -> Option<StoreView> {
        let subscription = self.subscription(plugin, watch)?;
        let store = self.stores.get(&subscription.store)?;
        Some(store.view(subscription, None))
    }

    /// The store that a plugin's watch fills.
    #[must_use]
    pub fn store_of(&self, plugin: PluginId, watch: usize) -> Option<StoreId> {
        Some(self.subscription(plugin, watch)?.store)
    }

    /// Takes in how the watch of a store's `source`-th source is (contract W9).
    pub fn state(&mut self, now: Time, store: StoreId, source: usize, state: WatchState) {
        let entry = self.stores.get_mut(&store);
        if let Some(source) = entry.and_then(|entry| entry.sources.get_mut(source)) {
            source.freshness.change(now, state);
        }
    }

    /// Takes in what the watch of a store's `source`-th source reports.
    pub fn watch(&mut self, now: Time, store: StoreId, source: usize, output: WatchOutput) {
        let Some(entry) = self.stores.get_mut(&store) else {
            return;
        };
        let Some(from) = entry.sources.get_mut(source) else {
            return;
        };
        // Asked for in several namespaces, a kind without any comes once for each of them.
        let is_copy = from.cluster_scoped && source > 0;
        let plugins = &mut self.plugins;
        let mut deltas = std::mem::take(&mut self.deltas);
        match output {
            WatchOutput::Resolved { namespaced, .. } => {
                if from.cluster_scoped == namespaced {
                    // No list of the other scope will say that these are gone.
                    entry.store.clear(from.scope(), &mut deltas);
                    from.cluster_scoped = !namespaced;
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
                entry.store.begin_list(from.scope());
            }
            WatchOutput::Listed(object) | WatchOutput::Applied(object) => {
                entry.quarantine.release(object.identity());
                entry.store.apply(object, &mut deltas);
            }
            WatchOutput::PageEnd => {
                let mut wanted = false;
                each_reader(plugins, entry, |reader, _| wanted |= reader.during_sync);
                if wanted
                    && !entry.synced()
                    && let Some(from) = entry.sources.get(source)
                {
                    entry.store.publish_partial(from.scope(), &mut deltas);
                }
            }
            WatchOutput::ListEnd { .. } => {
                if !is_copy {
                    entry.quarantine.list_ends(source);
                    entry.store.finish_list(from.scope(), &mut deltas);
                }
                let before = entry.sources.iter().all(|source| source.synced);
                if let Some(from) = entry.sources.get_mut(source) {
                    from.synced = true;
                }
                if !before && entry.synced() {
                    each_reader(plugins, entry, |reader, store| {
                        reader.synced(store);
                        // The single ones have been told of these just now.
                        if let Delivery::Collection { changes, .. } = &mut reader.delivery {
                            Arc::make_mut(changes).record(&deltas);
                        }
                    });
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
                entry.store.clear(from.scope(), &mut deltas);
            }
        }
        if !deltas.is_empty() {
            each_reader(plugins, entry, |reader, _| reader.changed(now, &deltas));
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
        for entry in self.plugins.values_mut() {
            entry.forget_failures();
            entry.tell_everything(&self.stores);
            if let Some(candidacy) = &mut entry.candidacy {
                candidacy.interrupt();
            }
        }
    }

    /// Callbacks are given again, `on-sync-complete` first for every store that holds
    /// everything. A candidate that is ready goes first: whoever led before may have
    /// taken it over long ago.
    pub fn lead(&mut self) {
        self.following = false;
        self.candidates_first();
    }

    /// The callbacks that are due now, at most one per plugin that runs none.
    pub fn poll(&mut self, now: Time) -> Vec<Call> {
        let mut calls = Vec::new();
        if self.following {
            return calls;
        }
        self.advance_candidates(now);
        let plugins: Vec<PluginId> = self.plugins.keys().copied().collect();
        for plugin in plugins {
            while let Some(watch) = self.next_watch(plugin, now) {
                // A subscription whose changes cancel each other out gives no call, unless a
                // callback of another watch has read them.
                if let Some(call) = self.start(plugin, watch, now) {
                    calls.push(call);
                    break;
                }
            }
        }
        // A candidate that had nothing to be told is told everything.
        self.advance_candidates(now);
        calls
    }

    /// First what synced, then single objects, then changes by how long they have
    /// been due.
    fn next_watch(&self, plugin: PluginId, now: Time) -> Option<usize> {
        let entry = self.plugins.get(&plugin)?;
        if entry.not_before > now {
            return None;
        }
        self.pending(plugin, entry)
            .filter(|(_, due, _)| *due <= now)
            .min()
            .map(|(_, _, watch)| watch)
    }

    /// What the plugin may be told, and when: by the index of its watch.
    fn pending<'e>(
        &'e self,
        plugin: PluginId,
        entry: &'e PluginEntry,
    ) -> impl Iterator<Item = (Rank, Time, usize)> {
        let candidacy = entry.candidacy.as_ref();
        let silent = entry.running.is_some() || (candidacy.is_none() && self.is_held(plugin));
        let watches = entry.subscriptions.iter().enumerate();
        watches.filter(move |_| !silent).filter_map(move |(i, s)| {
            let (rank, due) = match candidacy {
                None => s.due()?,
                Some(candidacy) if candidacy.is_to_be_told(i) => (s.pending()?, s.not_before),
                Some(_) => return None,
            };
            Some((rank, due, i))
        })
    }

    fn start(&mut self, plugin: PluginId, watch: usize, now: Time) -> Option<Call> {
        let entry = self.plugins.get_mut(&plugin)?;
        let subscription = entry.subscriptions.get_mut(watch)?;
        let store = self.stores.get(&subscription.store)?;
        let snapshot = store.store.snapshot();
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
                    if stats.is_empty() && !taken.was_read() {
                        debounce.cancel();
                        return None;
                    }
                    debounce.started(now);
                    Callback::Change {
                        watch,
                        stats,
                        is_initial_sync: !store.synced(),
                    }
                }
            }
        };
        for (i, other) in entry.subscriptions.iter_mut().enumerate() {
            if i != watch {
                other.can_be_read();
            }
        }
        let was_sync = matches!(callback, Callback::SyncComplete { .. });
        let told = (!was_sync).then(|| Arc::clone(&taken));
        entry.running = Some(Running {
            watch,
            taken,
            event: taken_event,
            was_sync,
        });
        let outputs = match &mut entry.candidacy {
            None => Disposal::Commit,
            Some(candidacy) => candidacy.started(),
        };
        let view = self.view(plugin, watch, told)?;
        Some(Call {
            plugin,
            callback,
            view: Arc::new(view),
            outputs,
        })
    }

    fn view(&self, plugin: PluginId, watch: usize, told: Option<Arc<ChangeSet>>) -> Option<View> {
        let entry = self.plugins.get(&plugin)?;
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
                    let store = self.stores.get(&subscription.store)?;
                    Some(store.view(subscription, changes))
                }
            })
            .collect();
        Some(View::new(stores, self.all_synced(entry)))
    }

    /// Takes in how the plugin's running callback ended.
    pub fn finished(&mut self, now: Time, plugin: PluginId, outcome: Outcome) {
        let Some(entry) = self.plugins.get_mut(&plugin) else {
            return;
        };
        let Some(running) = entry.running.take() else {
            return;
        };
        let watch = running.watch;
        let was_change = !running.was_sync && running.event.is_none();
        let Some(subscription) = entry.subscriptions.get_mut(watch) else {
            return;
        };
        match outcome {
            Outcome::Ok => {
                subscription.failures = 0;
                // An instance has recovered when it was told everything, and not
                // with the first of several callbacks that it survived.
                let told = !entry.subscriptions.iter().any(Subscription::has_news);
                if told && (was_change || !entry.died_of_change) {
                    entry.failures = 0;
                }
            }
            Outcome::NotLeading => subscription.give_back(now, running),
            Outcome::Failed => {
                subscription.fail(now);
                subscription.give_back(now, running);
            }
            Outcome::Died => {
                entry.died_of_change = was_change;
                entry.fail(now);
                entry.tell_everything(&self.stores);
            }
        }
        let broken = entry.is_broken();
        match &mut entry.candidacy {
            Some(candidacy) => candidacy.finished(watch, outcome, broken),
            // Half-open: what comes next is tried once, and decides.
            None if broken && outcome != Outcome::Ok => entry.not_before = now + BACKOFF_MAX,
            None => {}
        }
    }

    /// Failures in a row of the plugin: of its instances, or of the watch that
    /// failed most.
    #[must_use]
    pub fn failures(&self, plugin: PluginId) -> u32 {
        self.plugins.get(&plugin).map_or(0, PluginEntry::failures)
    }

    /// Whether the plugin's breaker is open (contract P2): it failed as often in a row as
    /// [`Engine::set_max_failures`] says. It is called after the longest pause then, until what
    /// failed succeeds.
    #[must_use]
    pub fn is_broken(&self, plugin: PluginId) -> bool {
        self.plugins
            .get(&plugin)
            .is_some_and(PluginEntry::is_broken)
    }

    /// Makes what is pending for a plugin due at once (contract C5), also what
    /// waits because its callback has failed. A dead instance is waited for.
    pub fn force_sync(&mut self, now: Time, plugin: PluginId) {
        let Some(entry) = self.plugins.get_mut(&plugin) else {
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
        let calls = self.plugins.iter().flat_map(|(id, entry)| {
            self.pending(*id, entry)
                .map(|(_, due, _)| due.max(entry.not_before))
        });
        calls.chain(self.next_stages()).min()
    }
}

/// The subscriptions of a store, each with it.
fn each_reader(
    plugins: &mut BTreeMap<PluginId, PluginEntry>,
    store: &StoreEntry,
    mut each: impl FnMut(&mut Subscription, &StoreEntry),
) {
    for (plugin, watch) in &store.subscribers {
        let entry = plugins.get_mut(plugin);
        if let Some(reader) = entry.and_then(|entry| entry.subscriptions.get_mut(*watch)) {
            each(reader, store);
        }
    }
}

impl PluginEntry {
    fn failures(&self) -> u32 {
        self.subscriptions
            .iter()
            .map(|subscription| subscription.failures)
            .fold(self.failures, u32::max)
    }

    fn is_broken(&self) -> bool {
        self.max_failures
            .is_some_and(|max| self.failures() >= max.get())
    }

    fn forget_failures(&mut self) {
        self.failures = 0;
        self.not_before = Time::ZERO;
        self.subscriptions
            .iter_mut()
            .for_each(Subscription::forget_failures);
    }

    /// Its instance failed: the next one comes later.
    fn fail(&mut self, now: Time) {
        self.failures += 1;
        self.not_before = now + backoff(self.failures);
    }

    /// It knows nothing any more.
    fn tell_everything(&mut self, stores: &BTreeMap<StoreId, StoreEntry>) {
        for subscription in &mut self.subscriptions {
            if let Some(store) = stores.get(&subscription.store) {
                subscription.tell_everything(store);
            }
        }
    }
}

fn backoff(failures: u32) -> Duration {
    BACKOFF_FIRST
        .saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1).min(16)))
        .min(BACKOFF_MAX)
}
