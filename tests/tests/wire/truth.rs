//! What the server held at each of its versions, and what a watch should hold of it.

use std::collections::BTreeMap;

use haptic_cluster::{Applied, Cluster};
use haptic_core::Object;
use haptic_core::snapshot::Snapshot;
use serde_json::{Value, json};

/// Namespace and name.
pub type Key = (String, String);

/// What watches select and index by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    pub version: u64,
    pub uid: String,
    pub color: String,
    pub app: String,
}

pub type State = BTreeMap<Key, Known>;

/// The objects of one kind, version after version.
pub struct Truth {
    kind: Kind,
    states: Vec<State>,
    /// Every version that there ever was.
    versions: BTreeMap<(Key, u64), Known>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    ConfigMap,
    /// Of a CustomResourceDefinition, which may come and go.
    Widget,
}

impl Kind {
    pub fn api_version(self) -> &'static str {
        match self {
            Self::ConfigMap => "v1",
            Self::Widget => "shop.example/v1",
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Widget => "Widget",
        }
    }

    pub fn plural(self) -> &'static str {
        match self {
            Self::ConfigMap => "configmaps",
            Self::Widget => "widgets",
        }
    }
}

impl Truth {
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            states: vec![State::new()],
            versions: BTreeMap::new(),
        }
    }

    /// An object as it was at one of its versions.
    pub fn version(&self, key: &Key, version: u64) -> Option<&Known> {
        self.versions.get(&(key.clone(), version))
    }

    pub fn now(&self) -> &State {
        self.states.last().unwrap()
    }

    /// All states, the oldest first.
    pub fn states(&self) -> &[State] {
        &self.states
    }

    pub fn apply(&mut self, cluster: &Cluster, key: &Key, color: &str, app: &str) {
        let (namespace, name) = key;
        let (api_version, kind) = (self.kind.api_version(), self.kind.name());
        let object = json!({
            "apiVersion": api_version,
            "kind": kind,
            "metadata": {"namespace": namespace, "name": name, "labels": {"app": app}},
            "data": {"color": color},
        });
        if cluster.apply(&object).unwrap() == Applied::Unchanged {
            return;
        }
        let stored = cluster
            .get(api_version, kind, Some(namespace), name)
            .unwrap();
        let metadata = &stored["metadata"];
        let known = Known {
            version: metadata["resourceVersion"]
                .as_str()
                .unwrap()
                .parse()
                .unwrap(),
            uid: metadata["uid"].as_str().unwrap().to_owned(),
            color: color.to_owned(),
            app: app.to_owned(),
        };
        self.versions
            .insert((key.clone(), known.version), known.clone());
        let mut state = self.now().clone();
        state.insert(key.clone(), known);
        self.states.push(state);
    }

    pub fn delete(&mut self, cluster: &Cluster, key: &Key) {
        let mut state = self.now().clone();
        if state.remove(key).is_some() {
            let (namespace, name) = key;
            let (api_version, kind) = (self.kind.api_version(), self.kind.name());
            cluster
                .delete(api_version, kind, Some(namespace), name)
                .unwrap();
            self.states.push(state);
        }
    }

    /// The objects went with their kind, one after the other.
    pub fn clear(&mut self) {
        let mut state = self.now().clone();
        while state.pop_first().is_some() {
            self.states.push(state.clone());
        }
    }
}

/// The part of a state that a watch is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Empty for all.
    pub namespaces: Vec<&'static str>,
    pub app: Option<&'static str>,
    pub color: Option<&'static str>,
}

impl Selection {
    pub fn takes(&self, key: &Key, known: &Known) -> bool {
        (self.namespaces.is_empty() || self.namespaces.contains(&key.0.as_str()))
            && self.app.is_none_or(|app| app == known.app)
            && self.color.is_none_or(|color| color == known.color)
    }

    /// What a store holds that is level with `state`: versions by key.
    pub fn versions(&self, state: &State) -> BTreeMap<Key, u64> {
        state
            .iter()
            .filter(|(key, known)| self.takes(key, known))
            .map(|(key, known)| (key.clone(), known.version))
            .collect()
    }
}

/// What a store holds: versions by key.
pub fn versions(snapshot: &Snapshot) -> BTreeMap<Key, u64> {
    snapshot.list().map(|object| version_of(object)).collect()
}

/// Whose, and which version.
pub fn version_of(object: &Object) -> (Key, u64) {
    let key = (object.namespace().to_owned(), object.name().to_owned());
    (key, object.resource_version().parse().unwrap())
}

/// The CustomResourceDefinition of [`Kind::Widget`].
pub fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.shop.example"},
        "spec": {
            "group": "shop.example",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "x-kubernetes-preserve-unknown-fields": true,
                }},
            }],
        },
    })
}
