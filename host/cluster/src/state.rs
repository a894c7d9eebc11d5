//! The store: objects by type, one resourceVersion for all, and the recent
//! history that watches and paged lists read.
//!
//! Knows no HTTP and no rules of the API: `write` decides what may be
//! committed, `list` and `watch` read.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;
use serde_json::{Map, Value};
use tokio::sync::watch;

use crate::clock::{Chance, Clock};
use crate::http::BODY_LIMIT;
use crate::json;
use crate::replica::Reading;
use crate::resources::{Registry, Resource, StorageKey};
use crate::status::ApiError;

/// `namespace/name`, or the name alone: the order in which lists are served.
pub(crate) type Key = Arc<str>;

/// One version of one object. The body is JSON without apiVersion and kind,
/// so that every served version of a custom type shares it.
#[derive(Debug)]
pub(crate) struct Object {
    pub key: Key,
    pub uid: Box<str>,
    pub version: u64,
    pub labels: Box<[(Box<str>, Box<str>)]>,
    /// The values of the type's selectable fields, in their order.
    pub fields: Box<[Box<str>]>,
    pub body: Bytes,
}

impl Object {
    /// Freezes `value`; a `version` of zero leaves `metadata.resourceVersion` out.
    pub(crate) fn new(
        resource: &Resource,
        mut value: Value,
        version: u64,
    ) -> Result<Self, ApiError> {
        let Some(map) = value.as_object_mut() else {
            return Err(ApiError::internal("an object is not a JSON object"));
        };
        map.remove("apiVersion");
        map.remove("kind");
        let metadata = json::object_mut(map, "metadata");
        if version == 0 {
            metadata.remove("resourceVersion");
        } else {
            metadata.insert("resourceVersion".into(), version.to_string().into());
        }
        let body =
            serde_json::to_vec(&value).map_err(|error| ApiError::internal(error.to_string()))?;
        if body.len() > BODY_LIMIT {
            return Err(ApiError::too_large(BODY_LIMIT));
        }
        let labels = json::at(&value, &["metadata", "labels"])
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .map(|(name, value)| {
                (
                    Box::from(name.as_str()),
                    Box::from(value.as_str().unwrap_or_default()),
                )
            })
            .collect();
        let fields = resource
            .selectable
            .iter()
            .map(|field| {
                let path: Vec<&str> = field.path.iter().map(String::as_str).collect();
                let found = json::at(&value, &path).and_then(json::scalar);
                found
                    .unwrap_or_else(|| default_field(&field.label))
                    .into_boxed_str()
            })
            .collect();
        Ok(Self {
            key: key_of(
                json::text(&value, &["metadata", "namespace"]),
                json::text(&value, &["metadata", "name"]),
            ),
            uid: json::text(&value, &["metadata", "uid"]).into(),
            version,
            labels,
            fields,
            body: Bytes::from(body),
        })
    }

    /// The namespace, empty for cluster-scoped objects, and the name.
    pub(crate) fn place(&self) -> (&str, &str) {
        self.key.split_once('/').unwrap_or(("", &self.key))
    }

    /// The object as a tree, with apiVersion and kind.
    pub(crate) fn value(&self, resource: &Resource) -> Result<Value, ApiError> {
        let mut map: Map<String, Value> = serde_json::from_slice(&self.body)
            .map_err(|error| ApiError::internal(error.to_string()))?;
        map.insert("apiVersion".into(), resource.api_version().into());
        map.insert("kind".into(), resource.kind.clone().into());
        Ok(Value::Object(map))
    }

    /// The bytes that a client gets for this object.
    pub(crate) fn write_to(&self, head: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(head);
        out.extend_from_slice(self.body.get(1..).unwrap_or_default());
    }
}

/// Booleans are false when absent, as the server's own types have it.
fn default_field(label: &str) -> String {
    match label {
        "spec.unschedulable" | "spec.hostNetwork" => "false".to_owned(),
        "status.replicas" | "status.successful" => "0".to_owned(),
        _ => String::new(),
    }
}

/// `{"kind":"Pod","apiVersion":"v1",`: what comes before a body.
pub(crate) fn head(resource: &Resource) -> Vec<u8> {
    let kind = Value::from(resource.kind.as_str());
    let api_version = Value::from(resource.api_version());
    format!("{{\"kind\":{kind},\"apiVersion\":{api_version},").into_bytes()
}

pub(crate) fn key_of(namespace: &str, name: &str) -> Key {
    if namespace.is_empty() {
        Arc::from(name)
    } else {
        Arc::from(format!("{namespace}/{name}"))
    }
}

/// One committed write. `new` is absent for a delete, `last` is what a watch shows then.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub version: u64,
    pub old: Option<Arc<Object>>,
    pub new: Option<Arc<Object>>,
    /// The new object, or the deleted one with the version of its deletion.
    pub last: Arc<Object>,
}

/// What happened to one type lately.
#[derive(Debug, Default)]
pub(crate) struct Past {
    events: VecDeque<Event>,
    bytes: usize,
    /// What happened up to this version is forgotten, or was never known.
    forgotten: u64,
}

impl Past {
    /// Up to `limit` events after `version`, oldest first; `None` when some are forgotten.
    pub(crate) fn after(&self, version: u64, limit: usize) -> Option<Vec<Event>> {
        if version < self.forgotten {
            return None;
        }
        let start = self
            .events
            .partition_point(|event| event.version <= version);
        Some(
            self.events
                .iter()
                .skip(start)
                .take(limit)
                .cloned()
                .collect(),
        )
    }

    fn push(&mut self, event: Event, caps: Caps) {
        self.bytes = self.bytes.saturating_add(event.last.body.len());
        self.events.push_back(event);
        while self.events.len() > caps.events.max(1)
            || (self.bytes > caps.bytes && self.events.len() > 1)
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(event) = self.events.pop_front() {
            self.bytes = self.bytes.saturating_sub(event.last.body.len());
            self.forgotten = event.version;
        }
    }
}

/// What wakes the watches of a type.
#[derive(Debug, Clone)]
pub(crate) enum Signal {
    /// Something may have been committed.
    Live,
    /// The type is no longer served; this is all that will ever have happened.
    Ended(Arc<Past>),
}

/// The objects of one type and their recent past.
#[derive(Debug)]
pub(crate) struct Collection {
    pub objects: OrdMap<Key, Arc<Object>>,
    pub past: Past,
    signal: watch::Sender<Signal>,
}

impl Collection {
    /// A type that is served from `version` on; nothing is known of it before.
    fn new(version: u64) -> Self {
        Self {
            objects: OrdMap::new(),
            past: Past {
                forgotten: version,
                ..Past::default()
            },
            signal: watch::Sender::new(Signal::Live),
        }
    }

    /// Wakes when something is committed, and when the type is no longer served.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Signal> {
        self.signal.subscribe()
    }
}

/// How much past a type keeps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caps {
    pub events: usize,
    pub bytes: usize,
}

/// Everything that the server knows.
#[derive(Debug)]
pub(crate) struct Store {
    pub registry: Registry,
    pub clock: Clock,
    pub chance: Chance,
    version: u64,
    compacted: u64,
    caps: Caps,
    collections: HashMap<StorageKey, Collection>,
    progress: watch::Sender<u64>,
}

impl Store {
    /// An empty store. Its versions begin at the moment of the clock, and what
    /// is older counts as compacted: a client that knew an earlier server in
    /// this one's place gets 410 and lists anew.
    pub(crate) fn new(clock: Clock, seed: Option<u64>, caps: Caps) -> Self {
        let version = clock.first_version();
        let registry = Registry::builtin();
        let collections = registry
            .all()
            .map(|resource| (resource.storage(), Collection::new(version)))
            .collect();
        Self {
            registry,
            clock,
            chance: Chance::new(seed),
            version,
            compacted: version,
            caps,
            collections,
            progress: watch::Sender::new(version),
        }
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Follows the version of the whole store.
    pub(crate) fn progress(&self) -> watch::Receiver<u64> {
        self.progress.subscribe()
    }

    pub(crate) fn collection(&self, resource: &Resource) -> Option<&Collection> {
        self.collections.get(&resource.storage())
    }

    pub(crate) fn get(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
    ) -> Option<Arc<Object>> {
        self.collection(resource)?
            .objects
            .get(&key_of(namespace, name))
            .cloned()
    }

    /// An object as this reader sees it.
    pub(crate) fn read(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        reading: &Reading,
    ) -> Option<Arc<Object>> {
        let collection = self.collection(resource)?;
        let version = reading.version(self, collection);
        self.objects_at(collection, version)
            .get(&key_of(namespace, name))
            .cloned()
    }

    /// Serves a type, keeping the objects that an earlier version of it stored.
    pub(crate) fn serve(&mut self, resource: Resource) {
        let version = self.version;
        self.collections
            .entry(resource.storage())
            .or_insert_with(|| Collection::new(version));
        self.registry.add(resource);
    }

    /// Forgets a type and what is left of its objects; its watches end.
    pub(crate) fn withdraw(&mut self, group: &str, plural: &str) {
        self.registry.remove(group, plural);
        let key = (group.to_owned(), plural.to_owned());
        if let Some(collection) = self.collections.remove(&key) {
            collection
                .signal
                .send_replace(Signal::Ended(Arc::new(collection.past)));
        }
    }

    /// Forgets all history: older versions and continue tokens answer 410 from now on.
    pub(crate) fn compact(&mut self) {
        self.compacted = self.version;
        for collection in self.collections.values_mut() {
            while !collection.past.events.is_empty() {
                collection.past.forget_oldest();
            }
        }
    }

    /// True when a reader that starts at `version` would miss something.
    pub(crate) fn is_expired(&self, collection: &Collection, version: u64) -> bool {
        version < self.oldest(collection)
    }

    /// The oldest version that a type can be read at.
    pub(crate) fn oldest(&self, collection: &Collection) -> u64 {
        self.compacted.max(collection.past.forgotten)
    }

    /// The objects as they were at `version`, which must not be expired.
    pub(crate) fn objects_at(
        &self,
        collection: &Collection,
        version: u64,
    ) -> OrdMap<Key, Arc<Object>> {
        let mut objects = collection.objects.clone();
        for event in collection.past.events.iter().rev() {
            if event.version <= version {
                break;
            }
            match &event.old {
                Some(old) => objects.insert(Arc::clone(&old.key), Arc::clone(old)),
                None => objects.remove(&event.last.key),
            };
        }
        objects
    }

    /// Stores an object under the next version.
    pub(crate) fn commit(
        &mut self,
        resource: &Resource,
        value: Value,
    ) -> Result<Arc<Object>, ApiError> {
        let object = Arc::new(Object::new(resource, value, self.version + 1)?);
        self.record(resource, Some(Arc::clone(&object)), Arc::clone(&object));
        Ok(object)
    }

    /// Removes an object; the returned one carries the version of its deletion.
    pub(crate) fn remove(
        &mut self,
        resource: &Resource,
        value: Value,
    ) -> Result<Arc<Object>, ApiError> {
        let last = Arc::new(Object::new(resource, value, self.version + 1)?);
        self.record(resource, None, Arc::clone(&last));
        Ok(last)
    }

    fn record(&mut self, resource: &Resource, new: Option<Arc<Object>>, last: Arc<Object>) {
        let caps = self.caps;
        let Some(collection) = self.collections.get_mut(&resource.storage()) else {
            return;
        };
        self.version += 1;
        let old = match &new {
            Some(object) => collection
                .objects
                .insert(Arc::clone(&object.key), Arc::clone(object)),
            None => collection.objects.remove(&last.key),
        };
        let event = Event {
            version: self.version,
            old,
            new,
            last,
        };
        collection.past.push(event, caps);
        collection.signal.send_replace(Signal::Live);
        self.progress.send_replace(self.version);
    }
}
