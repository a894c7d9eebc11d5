//! What kube-rs' reflector keeps: the map behind its `Store`, with the keys that it has.
//! The crate itself is measured where the client is, in the benchmarks of the host.

use kube_core::{ApiResource, DynamicObject, ResourceExt};
use std::{
    collections::HashMap,
    hash::{Hash, Hasher},
    sync::{Arc, RwLock},
};

/// kube's `ObjectRef`: everything but `extra` is hashed and compared.
pub(crate) struct ObjectRef {
    kind: ApiResource,
    name: String,
    namespace: Option<String>,
    _resource_version: Option<String>,
    _uid: Option<String>,
}

impl ObjectRef {
    fn of(object: &DynamicObject, kind: ApiResource) -> Self {
        Self {
            kind,
            name: object.name_any(),
            namespace: object.namespace(),
            _resource_version: object.resource_version(),
            _uid: object.uid(),
        }
    }
}

impl PartialEq for ObjectRef {
    fn eq(&self, other: &Self) -> bool {
        (&self.kind, &self.name, &self.namespace) == (&other.kind, &other.name, &other.namespace)
    }
}

impl Eq for ObjectRef {}

impl Hash for ObjectRef {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.kind, &self.name, &self.namespace).hash(state);
    }
}

type Map = HashMap<ObjectRef, Arc<DynamicObject>>;

/// kube's `Store`.
pub(crate) struct Store {
    kind: ApiResource,
    objects: RwLock<Map>,
}

impl Store {
    pub(crate) fn new(kind: ApiResource) -> Self {
        Self {
            kind,
            objects: RwLock::default(),
        }
    }

    /// A list: it is buffered, and then takes the place of what was there.
    pub(crate) fn list(&self, objects: impl Iterator<Item = DynamicObject>) {
        let mut buffer = Map::new();
        for object in objects {
            let key = ObjectRef::of(&object, self.kind.clone());
            buffer.insert(key, Arc::new(object));
        }
        let mut known = self.objects.write().expect("nobody panics");
        std::mem::swap(&mut *known, &mut buffer);
    }

    pub(crate) fn apply(&self, object: DynamicObject) {
        let key = ObjectRef::of(&object, self.kind.clone());
        let mut known = self.objects.write().expect("nobody panics");
        known.insert(key, Arc::new(object));
    }

    pub(crate) fn keys(&self, names: &[(String, String)]) -> Vec<ObjectRef> {
        let key = |(namespace, name): &(String, String)| ObjectRef {
            kind: self.kind.clone(),
            name: name.clone(),
            namespace: Some(namespace.clone()),
            _resource_version: None,
            _uid: None,
        };
        names.iter().map(key).collect()
    }

    pub(crate) fn get(&self, key: &ObjectRef) -> Option<Arc<DynamicObject>> {
        self.objects
            .read()
            .expect("nobody panics")
            .get(key)
            .cloned()
    }

    /// All of it, as kube hands it out.
    pub(crate) fn state(&self) -> Vec<Arc<DynamicObject>> {
        let objects = self.objects.read().expect("nobody panics");
        objects.values().cloned().collect()
    }

    pub(crate) fn in_namespace(&self, namespace: &str) -> usize {
        let all = self.state();
        all.iter()
            .filter(|object| object.namespace().as_deref() == Some(namespace))
            .count()
    }
}
