//! What a store held at one moment, and what all stores of one group held.

use std::sync::Arc;

use haptic_core::{
    changes::ChangeKind,
    index::KeyError,
    view::{ReadError, StoreView, View as CoreView},
    watch::WatchState,
};
use tokio::time::Instant;

use super::Item;
use crate::driver::Clock;

/// What one store held at one moment: what a callback sees, however long it runs.
/// Reading takes no lock; cloning copies pointers.
///
/// Objects come in the order of (namespace, name), always.
#[derive(Clone, Debug)]
pub struct Snapshot {
    view: StoreView,
    clock: Clock,
}

/// One net change since the last successful callback (contract C3).
#[derive(Clone, Debug)]
pub struct Change {
    /// What happened.
    pub kind: ChangeKind,
    /// The object as it is in the snapshot; a deleted one as the callback last knew it.
    pub item: Item,
}

/// How up to date a snapshot is (contract S4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// How the watch is; of a list of namespaces, how the worst is. Complete and
    /// current when it is [`WatchState::Synced`]; complete but old when it is
    /// [`WatchState::Stale`], also once the watch was stopped.
    pub state: WatchState,
    /// Since when it is so.
    pub since: Instant,
}

impl Freshness {
    pub(crate) fn new(core: &haptic_core::view::Freshness, clock: Clock) -> Self {
        Self {
            state: core.state.clone(),
            since: clock.deadline(core.since),
        }
    }
}

impl Snapshot {
    pub(crate) fn new(view: StoreView, clock: Clock) -> Self {
        Self { view, clock }
    }

    /// The watch's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.view.name()
    }

    /// How many objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.view.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.view.is_empty()
    }

    /// Grows with every change of an object.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.view.revision()
    }

    /// How up to date the store was when the snapshot was taken.
    #[must_use]
    pub fn freshness(&self) -> Freshness {
        Freshness::new(self.view.freshness(), self.clock)
    }

    /// The objects with these leading keys of the primary index: all keys for one
    /// place in it, fewer for a range (contract I5).
    ///
    /// # Errors
    /// [`ReadError::InvalidKeys`] for no keys, or more than the index has.
    pub fn get(&self, keys: &[&str]) -> Result<Vec<Item>, ReadError> {
        items(self.view.snapshot().get(keys))
    }

    /// The objects with these leading keys of a named index (contract I6).
    ///
    /// # Errors
    /// [`ReadError::NoSuchIndex`] as well.
    pub fn get_by(&self, index: &str, keys: &[&str]) -> Result<Vec<Item>, ReadError> {
        if index.is_empty() {
            return Err(ReadError::NoSuchIndex(String::new()));
        }
        items(self.view.snapshot().get_by(index, keys))
    }

    /// One object; `namespace` is empty for cluster-scoped kinds.
    #[must_use]
    pub fn get_object(&self, namespace: &str, name: &str) -> Option<Item> {
        // What is no identity is the identity of nothing.
        let identity = haptic_core::Identity::new(namespace, name).ok()?;
        self.view.snapshot().get_object(&identity).map(Item::new)
    }

    /// All objects.
    #[must_use]
    pub fn list(&self) -> Vec<Item> {
        self.view.snapshot().list().map(Item::new).collect()
    }

    /// Some fields of the objects with these leading keys (of all objects, for no
    /// keys), as the JSON text of columns: an array for each field, which holds one
    /// value for each object, and `null` where it lacks the field; for a field with
    /// wildcards an array of its values. Far cheaper than parsing the objects.
    ///
    /// # Errors
    /// [`ReadError::InvalidPath`] or [`ReadError::InvalidKeys`];
    /// [`ReadError::Other`] when a path cannot be evaluated on an object.
    pub fn select(&self, fields: &[&str], keys: &[&str]) -> Result<String, ReadError> {
        self.view.select(fields, keys, u64::MAX)
    }

    /// Net changes since the last successful callback, in order of (namespace, name);
    /// they agree with the callback's stats (contract C3). Empty in a snapshot that no
    /// callback was called with, and in `on_sync_complete`: there all is new.
    #[must_use]
    pub fn changes(&self) -> Vec<Change> {
        let changes = self.view.changes().into_iter();
        changes
            .map(|change| Change {
                kind: change.kind,
                item: Item::new(&change.object),
            })
            .collect()
    }
}

fn items(
    found: Result<haptic_core::snapshot::Objects<'_>, KeyError>,
) -> Result<Vec<Item>, ReadError> {
    Ok(found?.map(Item::new).collect())
}

/// All stores of a [`WatcherGroup`](crate::WatcherGroup) at one moment (contract S4).
#[derive(Clone, Debug)]
pub struct View {
    view: Arc<CoreView>,
    clock: Clock,
}

impl View {
    pub(crate) fn new(view: Arc<CoreView>, clock: Clock) -> Self {
        Self { view, clock }
    }

    /// The snapshot of the store of that name.
    ///
    /// # Errors
    /// [`ReadError::NoSuchStore`]; also for a watch of one object, which has none.
    pub fn open(&self, name: &str) -> Result<Snapshot, ReadError> {
        let watch = self.view.open(name)?;
        let store = self.view.store(watch);
        let store = store.ok_or_else(|| ReadError::NoSuchStore(name.to_owned()))?;
        Ok(Snapshot::new(store.clone(), self.clock))
    }

    /// Whether every required watch is synced (contract C6).
    #[must_use]
    pub fn all_synced(&self) -> bool {
        self.view.all_synced()
    }
}
