//! Reading what is stored, from Rust: a [`Store`] that follows its writer, an
//! immutable [`Snapshot`] of it, the [`Item`]s that both answer with, and a
//! [`MemoryStore`] that has no watch behind it. Owns no objects: those are
//! [`haptic_core::store`]'s.

mod item;
mod memory;
mod snapshot;

use std::sync::{Arc, PoisonError, RwLock};

use haptic_core::view::{ReadError, StoreView, View as CoreView};

pub use self::{
    item::{Item, ParseError},
    memory::{MemoryStore, MemoryStoreBuilder, StoreError},
    snapshot::{Change, Freshness, Snapshot, View},
};
use crate::{
    cached::{Bodies, Metrics},
    driver::Clock,
};

/// A store that can be read from any thread while its one writer goes on: a watch,
/// or a [`MemoryStore`]. Cheap to clone. Every read answers from what is newest;
/// [`Store::snapshot`] is for several reads that must agree.
///
/// Objects come in the order of (namespace, name). There is no way to write: a
/// watch's store says what the API server has, and nobody else knows that.
///
/// Of a [cached](crate::Watch::cached) store, `get` to `list` answer at once with items
/// that have no body: with who there is. [`Store::fetch`] to [`Store::fetch_all`] answer
/// with bodies; see [`Snapshot::fetch`].
#[derive(Clone, Debug)]
pub struct Store {
    published: Arc<Published>,
    watch: usize,
}

impl Store {
    pub(crate) fn new(published: Arc<Published>, watch: usize) -> Self {
        Self { published, watch }
    }

    /// What the store holds now. Takes no copy, and nothing that happens later
    /// changes it (contract S4).
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.published.snapshot(self.watch)
    }

    /// The objects with these leading keys of the primary index.
    ///
    /// # Errors
    /// [`ReadError::InvalidKeys`] for no keys, or more than the index has.
    pub fn get(&self, keys: &[&str]) -> Result<Vec<Item>, ReadError> {
        self.snapshot().get(keys)
    }

    /// The objects with these leading keys of a named index.
    ///
    /// # Errors
    /// [`ReadError::NoSuchIndex`] as well.
    pub fn get_by(&self, index: &str, keys: &[&str]) -> Result<Vec<Item>, ReadError> {
        self.snapshot().get_by(index, keys)
    }

    /// One object; `namespace` is empty for cluster-scoped kinds.
    #[must_use]
    pub fn get_object(&self, namespace: &str, name: &str) -> Option<Item> {
        self.snapshot().get_object(namespace, name)
    }

    /// All objects.
    #[must_use]
    pub fn list(&self) -> Vec<Item> {
        self.snapshot().list()
    }

    /// As [`Store::get`], with bodies also from a cached store.
    ///
    /// # Errors
    /// See [`Snapshot::fetch`].
    pub async fn fetch(&self, keys: &[&str]) -> Result<Vec<Item>, ReadError> {
        self.snapshot().fetch(keys).await
    }

    /// As [`Store::get_by`], with bodies also from a cached store.
    ///
    /// # Errors
    /// See [`Snapshot::fetch`]; [`ReadError::NoSuchIndex`] as well.
    pub async fn fetch_by(&self, index: &str, keys: &[&str]) -> Result<Vec<Item>, ReadError> {
        self.snapshot().fetch_by(index, keys).await
    }

    /// As [`Store::get_object`], with its body also from a cached store.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`].
    pub async fn fetch_object(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Item>, ReadError> {
        self.snapshot().fetch_object(namespace, name).await
    }

    /// As [`Store::list`], with bodies also from a cached store.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`].
    pub async fn fetch_all(&self) -> Result<Vec<Item>, ReadError> {
        self.snapshot().fetch_all().await
    }

    /// The figures of the bodies that its watcher has fetched and keeps, for all of the
    /// watcher's cached stores together; none of a [`MemoryStore`].
    #[must_use]
    pub fn cache(&self) -> Option<Metrics> {
        let bodies = self.published.origin.bodies.as_ref()?;
        Some(bodies.metrics())
    }

    /// How many objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.snapshot().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.snapshot().is_empty()
    }

    /// Grows with every change of an object.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.snapshot().revision()
    }

    /// How up to date the store is.
    #[must_use]
    pub fn freshness(&self) -> Freshness {
        self.snapshot().freshness()
    }
}

/// What readers need beside what a store holds.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) clock: Clock,
    /// Those of cached stores; none without a watch.
    pub(crate) bodies: Option<Bodies>,
}

/// All that a writer shows its readers, at one moment.
#[derive(Debug, Default)]
pub(crate) struct World {
    /// One for each watch, those of single objects included.
    pub(crate) stores: Vec<StoreView>,
    /// The collections among them, as callbacks see them.
    pub(crate) view: Arc<CoreView>,
}

/// What a writer shows its readers, replaced as a whole.
#[derive(Debug)]
pub(crate) struct Published {
    /// Locked for as long as it takes to copy or to replace a pointer.
    world: RwLock<Arc<World>>,
    origin: Origin,
}

impl Published {
    pub(crate) fn new(world: World, origin: Origin) -> Self {
        Self {
            world: RwLock::new(Arc::new(world)),
            origin,
        }
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    pub(crate) fn publish(&self, world: World) {
        let mut newest = Arc::new(world);
        // The lock guards one pointer, which is whole whoever panicked.
        let mut world = self.world.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut *world, &mut newest);
        drop(world);
        // What only the old one held is freed here, and no reader waits for that.
        drop(newest);
    }

    pub(crate) fn world(&self) -> Arc<World> {
        Arc::clone(&self.world.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// `watch` counts the watches of the writer.
    pub(crate) fn snapshot(&self, watch: usize) -> Snapshot {
        Snapshot::new(self.world().stores[watch].clone(), self.origin.clone())
    }

    pub(crate) fn view(&self) -> View {
        View::new(Arc::clone(&self.world().view), self.origin.clone())
    }
}
