//! What a store held at one moment, and what all stores of one group held.

use std::sync::Arc;

use haptic_core::{
    changes::ChangeKind,
    index::KeyError,
    view::{ReadError, StoreView, View as CoreView, Which},
    watch::WatchState,
};
use tokio::time::Instant;

use super::{Item, Origin};
use crate::{
    cached::Reader,
    driver::{Clock, FAR},
};

/// What one store held at one moment: what a callback sees, however long it runs.
/// Reading takes no lock; cloning copies pointers.
///
/// Objects come in the order of (namespace, name), always.
#[derive(Clone, Debug)]
pub struct Snapshot {
    view: StoreView,
    origin: Origin,
}

/// One net change since the last successful callback (contract C3).
#[derive(Clone, Debug)]
pub struct Change {
    /// What happened.
    pub kind: ChangeKind,
    /// The object as it is in the snapshot; a deleted one as the callback last knew it.
    /// Of a cached store without its body.
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
    pub(crate) fn new(view: StoreView, origin: Origin) -> Self {
        Self { view, origin }
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
        Freshness::new(self.view.freshness(), self.origin.clock)
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

    /// As [`Snapshot::get`], with bodies also from a cached store (contract S6): those
    /// that are not kept are fetched, one GET for all who wait for the same object. At
    /// once for a store in memory.
    ///
    /// An object may be newer than the snapshot, never older; one that is gone is left
    /// out. Each body is given up after some 20 s of failed attempts; wrap this in
    /// [`tokio::time::timeout`] to wait for less. Must be awaited on a tokio runtime.
    ///
    /// ```
    /// use haptic_host::{Watch, Watcher};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = haptic_cluster::Cluster::start(Default::default()).await?;
    /// # cluster.apply(&serde_json::json!({
    /// #     "apiVersion": "v1", "kind": "Secret",
    /// #     "metadata": {"namespace": "shop", "name": "tls"}, "data": {"key": "a2V5"},
    /// # }))?;
    /// # let access = haptic_host::access::connect_url(&cluster.url(), "default")?;
    /// let secrets = Watcher::builder(&access, Watch::new("v1", "secrets").cached()).start()?;
    /// secrets.wait_for_sync().await?;
    /// let names = secrets.store().list();
    /// assert_eq!((names[0].name(), names[0].has_body()), ("tls", false));
    /// let tls = secrets.store().fetch(&["shop", "tls"]).await?;
    /// assert!(tls[0].json().contains("a2V5"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Snapshot::get`]; [`ReadError::Unavailable`] when a body cannot be had: no
    /// answer is silently shorter.
    pub async fn fetch(&self, keys: &[&str]) -> Result<Vec<Item>, ReadError> {
        self.fetch_which(Which::Keys(keys)).await
    }

    /// As [`Snapshot::get_by`], with bodies also from a cached store.
    ///
    /// # Errors
    /// See [`Snapshot::fetch`]; [`ReadError::NoSuchIndex`] as well.
    pub async fn fetch_by(&self, index: &str, keys: &[&str]) -> Result<Vec<Item>, ReadError> {
        self.fetch_which(Which::IndexKeys(index, keys)).await
    }

    /// As [`Snapshot::get_object`], with its body also from a cached store.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`].
    pub async fn fetch_object(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Item>, ReadError> {
        match self.reader() {
            Some(reader) => {
                let found = reader.find_object(namespace, name).await?;
                Ok(found.as_ref().map(Item::new))
            }
            None => Ok(self.get_object(namespace, name)),
        }
    }

    /// As [`Snapshot::list`], with bodies also from a cached store.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`].
    pub async fn fetch_all(&self) -> Result<Vec<Item>, ReadError> {
        self.fetch_which(Which::All).await
    }

    /// As [`Snapshot::select`], also of a cached store.
    ///
    /// # Errors
    /// As [`Snapshot::select`], and [`ReadError::Unavailable`].
    pub async fn fetch_columns(&self, fields: &[&str], keys: &[&str]) -> Result<String, ReadError> {
        match self.reader() {
            Some(reader) => reader.select(fields, keys).await,
            None => self.select(fields, keys),
        }
    }

    async fn fetch_which(&self, which: Which<'_>) -> Result<Vec<Item>, ReadError> {
        match self.reader() {
            Some(reader) => Ok(reader.find(which).await?.iter().map(Item::new).collect()),
            None => Ok(self.view.find(which)?.map(Item::new).collect()),
        }
    }

    /// Without a limit of its own: whoever reads owns the memory and the time.
    fn reader(&self) -> Option<Reader> {
        let bodies = self.origin.bodies.as_ref()?;
        self.view.cached_plan()?;
        Some(bodies.reader(self.view.clone(), u64::MAX, Instant::now() + FAR))
    }

    /// Some fields of the objects with these leading keys (of all objects, for no
    /// keys), as the JSON text of columns: an array for each field, which holds one
    /// value for each object, and `null` where it lacks the field; for a field with
    /// wildcards an array of its values. Far cheaper than parsing the objects.
    ///
    /// # Errors
    /// [`ReadError::InvalidPath`] or [`ReadError::InvalidKeys`];
    /// [`ReadError::Other`] when a path cannot be evaluated on an object;
    /// [`ReadError::Unavailable`] of a cached store: see [`Snapshot::fetch_columns`].
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
    origin: Origin,
}

impl View {
    pub(crate) fn new(view: Arc<CoreView>, origin: Origin) -> Self {
        Self { view, origin }
    }

    /// The snapshot of the store of that name.
    ///
    /// # Errors
    /// [`ReadError::NoSuchStore`]; also for a watch of one object, which has none.
    pub fn open(&self, name: &str) -> Result<Snapshot, ReadError> {
        let watch = self.view.open(name)?;
        let store = self.view.store(watch);
        let store = store.ok_or_else(|| ReadError::NoSuchStore(name.to_owned()))?;
        Ok(Snapshot::new(store.clone(), self.origin.clone()))
    }

    /// Whether every required watch is synced (contract C6).
    #[must_use]
    pub fn all_synced(&self) -> bool {
        self.view.all_synced()
    }
}
