//! A store that its owner fills: the store of a watch, without the watch.

use std::{
    ops::Deref,
    sync::{Arc, Mutex, PoisonError},
};

use haptic_core::{
    Identity, Time,
    decode::{DecodeError, Decoder, Projection},
    object::IdentityError,
    spec::{SpecErrors, WatchSpec},
    store::{self, Delta},
    view::{Freshness, StoreView},
    watch::WatchState,
};
use serde::Serialize;

use super::{Item, Origin, Published, Store, World};
use crate::driver::Clock;

/// A store that its owner writes, from any thread (contract S1): for objects that do
/// not come from a watch, and for tests of code that reads a [`Store`]. Objects are
/// filtered and indexed as those of a watch are.
///
/// It dereferences to its [`Store`], which has the reads; cloned, that goes on showing
/// what is written here.
///
/// ```
/// use haptic_host::MemoryStore;
/// use serde_json::json;
///
/// let services = MemoryStore::builder("services")
///     .index_by(["metadata.labels.app"])
///     .ignore_fields(["metadata.managedFields"])
///     .build()?;
/// services.add(&json!({
///     "apiVersion": "v1", "kind": "Service",
///     "metadata": {"namespace": "shop", "name": "web", "labels": {"app": "web"}},
/// }))?;
/// assert_eq!(services.get(&["web"])?[0].name(), "web");
/// services.delete("shop", "web")?;
/// assert!(services.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct MemoryStore {
    writer: Mutex<Writer>,
    store: Store,
}

/// What to find objects by, and which of their fields to keep.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct MemoryStoreBuilder(WatchSpec);

/// Why an object was not stored, or not deleted.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The object cannot be written as JSON.
    #[error("the object cannot be written as JSON")]
    Serialize(#[source] serde_json::Error),
    /// The JSON is no object that can be stored.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// No object can have this name.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

#[derive(Debug)]
struct Writer {
    store: store::Store,
    decoder: Decoder,
}

impl MemoryStore {
    /// A store of that name, indexed by namespace and name unless told otherwise.
    pub fn builder(name: impl Into<String>) -> MemoryStoreBuilder {
        MemoryStoreBuilder(WatchSpec {
            name: name.into(),
            // Nothing is watched, but a plan names what would be.
            api_version: "v1".to_owned(),
            resources: "objects".to_owned(),
            ..WatchSpec::default()
        })
    }

    /// Stores an object: anything that serializes as one, such as a type of
    /// `k8s-openapi` or a `serde_json::Value`. One of the same namespace and name is
    /// replaced. Answers whether readers can tell the difference: an object that
    /// differs only in its resourceVersion is no change (contract I8).
    ///
    /// # Errors
    /// [`StoreError`]; the store is as it was.
    pub fn add(&self, object: &impl Serialize) -> Result<bool, StoreError> {
        self.add_json(&serde_json::to_string(object).map_err(StoreError::Serialize)?)
    }

    /// The same with the JSON text of an object.
    ///
    /// # Errors
    /// [`StoreError`]; the store is as it was.
    pub fn add_json(&self, json: &str) -> Result<bool, StoreError> {
        self.write(|writer| {
            let decoded = writer.decoder.decode(json.as_bytes())?;
            let mut deltas = Vec::new();
            writer.store.apply(decoded.object, &mut deltas);
            Ok(!deltas.is_empty())
        })
    }

    /// As [`MemoryStore::add`], which serves objects that are new and objects that are
    /// not: an update whose keys changed moves the object (contract S2).
    ///
    /// # Errors
    /// [`StoreError`]; the store is as it was.
    pub fn update(&self, object: &impl Serialize) -> Result<bool, StoreError> {
        self.add(object)
    }

    /// Forgets one object, and answers with it; others under the same keys stay.
    ///
    /// # Errors
    /// [`StoreError::Identity`] for a name that no object can have.
    pub fn delete(&self, namespace: &str, name: &str) -> Result<Option<Item>, StoreError> {
        let identity = Identity::new(namespace, name)?;
        let mut deltas = Vec::new();
        self.write(|writer| writer.store.delete(&identity, &mut deltas));
        Ok(deltas.first().and_then(Delta::previous).map(Item::new))
    }

    /// Forgets all objects.
    pub fn clear(&self) {
        self.write(|writer| writer.store.clear(None, &mut Vec::new()));
    }

    /// The handle to read it with.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    fn write<T>(&self, write: impl FnOnce(&mut Writer) -> T) -> T {
        // What a panic leaves behind is whole: a store changes as the last thing of a
        // write, and a decoder forgets the object before.
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = write(&mut writer);
        self.store.published.publish(current(&writer.store));
        answer
    }
}

/// Its writer is where its objects come from: nothing is newer.
fn current(store: &store::Store) -> World {
    let snapshot = store.snapshot();
    let view = StoreView::new(snapshot.name().into(), snapshot, None);
    let freshness = Freshness {
        state: WatchState::Synced,
        since: Time::ZERO,
    };
    World {
        stores: vec![view.with_freshness(freshness)],
        ..World::default()
    }
}

impl Deref for MemoryStore {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

impl MemoryStoreBuilder {
    /// The primary index's keys, in order, instead of namespace and name.
    pub fn index_by<S: Into<String>>(mut self, paths: impl IntoIterator<Item = S>) -> Self {
        self.0.index_by = paths.into_iter().map(Into::into).collect();
        self
    }

    /// A further index, for [`Store::get_by`].
    pub fn index<S: Into<String>>(
        mut self,
        name: impl Into<String>,
        paths: impl IntoIterator<Item = S>,
    ) -> Self {
        let paths = paths.into_iter().map(Into::into).collect();
        self.0.indexes.push((name.into(), paths));
        self
    }

    /// Paths that are not stored.
    pub fn ignore_fields<S: Into<String>>(mut self, paths: impl IntoIterator<Item = S>) -> Self {
        self.0.ignore_fields = paths.into_iter().map(Into::into).collect();
        self
    }

    /// The only paths that are stored, beside the object's identity.
    pub fn keep_fields<S: Into<String>>(mut self, paths: impl IntoIterator<Item = S>) -> Self {
        self.0.keep_fields = paths.into_iter().map(Into::into).collect();
        self
    }

    /// The empty store.
    ///
    /// # Errors
    /// Everything that is wrong with its paths, at once (contract I2).
    pub fn build(self) -> Result<MemoryStore, SpecErrors> {
        let plan = self.0.plan().map_err(SpecErrors)?;
        let mut projection = plan.projection();
        // An object without apiVersion stays one.
        projection.api_version.clear();
        let decoder = Decoder::new(Arc::new(Projection::new(projection)));
        let store = store::Store::new(&plan.name, plan.index_specs);
        let published = Published::new(
            current(&store),
            Origin {
                clock: Clock::start(),
                bodies: None,
            },
        );
        Ok(MemoryStore {
            writer: Mutex::new(Writer { store, decoder }),
            store: Store::new(Arc::new(published), 0),
        })
    }
}
