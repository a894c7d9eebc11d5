//! One store of the engine: what fills it, and who reads it.

use std::sync::Arc;

use super::{PluginId, subscription::Subscription};
use crate::{
    changes::ChangeSet,
    quarantine::Quarantine,
    spec::{ScopeSpec, Storage, WatchPlan},
    store::Store,
    view::{Freshness, StoreView},
};

/// Where the objects of a store come from: one watch per namespace, or one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The namespace watched; `None`: all.
    pub namespace: Option<String>,
    /// How its watch is, and since when (contract W9).
    pub freshness: Freshness,
    pub(super) synced: bool,
    /// The kind turned out to have no namespaces: the watch is of all of it.
    pub(super) cluster_scoped: bool,
}

impl Source {
    /// What its lists are complete about.
    pub(super) fn scope(&self) -> Option<&str> {
        match self.cluster_scoped {
            true => None,
            false => self.namespace.as_deref(),
        }
    }
}

pub(super) struct StoreEntry {
    pub(super) store: Store,
    pub(super) plan: Arc<WatchPlan>,
    pub(super) sources: Vec<Source>,
    /// Plugins, each with the index of its watch.
    pub(super) subscribers: Vec<(PluginId, usize)>,
    pub(super) quarantine: Quarantine,
}

impl StoreEntry {
    /// `own_namespace` is what `own-namespace` scopes mean.
    pub(super) fn new(plan: &Arc<WatchPlan>, own_namespace: &str) -> Self {
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
        Self {
            store: Store::new(&plan.name, plan.index_specs.clone()),
            plan: Arc::clone(plan),
            sources,
            subscribers: Vec::new(),
            quarantine: Quarantine::default(),
        }
    }

    pub(super) fn synced(&self) -> bool {
        self.sources.iter().all(|source| source.synced)
    }

    pub(super) fn view(&self, reader: &Subscription, changes: Option<Arc<ChangeSet>>) -> StoreView {
        let view = StoreView::new(Arc::clone(&reader.name), self.store.snapshot(), changes)
            .with_freshness(self.freshness());
        match reader.plan.storage {
            Storage::Memory => view,
            Storage::Cached => view.with_cached_plan(Arc::clone(&reader.plan)),
        }
    }

    pub(super) fn status(&self) -> StoreStatus {
        let snapshot = self.store.snapshot();
        StoreStatus {
            name: self.plan.name.clone(),
            objects: snapshot.len(),
            synced: self.synced(),
            freshness: self.freshness(),
            quarantined: self.quarantine.total(),
            unkeyed: snapshot.unkeyed("").unwrap_or(0),
            body_bytes: snapshot.body_bytes(),
        }
    }

    /// That of the source which is worst off.
    pub(super) fn freshness(&self) -> Freshness {
        let sources = self.sources.iter().map(|source| &source.freshness);
        sources
            .max_by_key(|f| f.staleness())
            .cloned()
            .unwrap_or_default()
    }
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
    /// Bytes of filtered JSON in the store.
    pub body_bytes: usize,
}
