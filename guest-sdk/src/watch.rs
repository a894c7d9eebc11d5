//! What a plugin asks the host to watch.

use std::time::Duration;

/// One watch: which objects, how they are filtered and indexed, and when the plugin hears of them.
///
/// Paths (in [`index_by`](Watch::index_by), [`index`](Watch::index),
/// [`ignore_fields`](Watch::ignore_fields), [`keep_fields`](Watch::keep_fields)) are JSONPath as in
/// RFC 9535 with the `$.` optional: `metadata.name`, `spec.rules[*].host`,
/// `metadata.labels['kubernetes.io/service-name']`, or kubectl's way of writing the last one,
/// `metadata.labels.kubernetes\.io/service-name`. The host compiles them all before anything
/// starts; a wrong one refuses the plugin with a sentence that names the watch and the path.
///
/// ```
/// use std::time::Duration;
/// use haptic_guest::Watch;
///
/// let slices = Watch::new("endpointslices", "discovery.k8s.io/v1", "endpointslices")
///     .index_by(["metadata.namespace", r"metadata.labels.kubernetes\.io/service-name"])
///     .keep_fields(["metadata.labels", "ports", "endpoints"])
///     .debounce(Duration::from_millis(200));
///
/// let settings = Watch::object("settings", "v1", "configmaps", "haproxy-settings").own_namespace();
/// assert_eq!(settings.object_name.as_deref(), Some("haproxy-settings"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Watch {
    /// The store's name, unique within the plugin.
    pub name: String,
    /// `v1`, `networking.k8s.io/v1`, …
    pub api_version: String,
    /// The resource in the plural, as in the API's path: `ingresses`.
    pub resources: String,
    /// Where.
    pub scope: Scope,
    /// Set: this one object, delivered to
    /// [`on_resource_change`](crate::Plugin::on_resource_change); there is no store.
    pub object_name: Option<String>,
    /// Kubernetes label selector, sent to the server.
    pub label_selector: Option<String>,
    /// Field selector: `path=value` or `path!=value`, joined by commas.
    pub field_selector: Option<String>,
    /// Paths of the primary index's keys, in order.
    pub index_by: Vec<String>,
    /// Further indexes.
    pub indexes: Vec<NamedIndex>,
    /// Paths that are removed before an object is stored.
    pub ignore_fields: Vec<String>,
    /// If not empty: the only paths that are stored. Identity is always kept.
    pub keep_fields: Vec<String>,
    /// Where the objects' bodies are kept.
    pub storage: Storage,
    /// How long a cached store may serve a fetched body; `None`: the host's default, 130 s.
    pub cache_ttl: Option<Duration>,
    /// The least time between two `on_change` calls; `None`: the host's default, 500 ms; zero:
    /// every change at once.
    pub debounce: Option<Duration>,
    /// `on_change` is also called while the initial objects arrive.
    pub on_change_during_sync: bool,
    /// Part of the barrier that [`all_synced`](crate::all_synced) and readiness wait for.
    pub required: bool,
    /// Options of later API versions; an unknown name is refused.
    pub extra: Vec<(String, String)>,
}

/// The namespaces of a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of them; also right for kinds that have no namespace.
    AllNamespaces,
    /// The namespace that the host runs in.
    OwnNamespace,
    /// These.
    Namespaces(Vec<String>),
}

/// An index beside the primary one, read with [`Store::get_by`](crate::Store::get_by).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedIndex {
    /// Its name, unique within the watch.
    pub name: String,
    /// Paths of its keys, in order.
    pub paths: Vec<String>,
}

/// Where a store keeps the objects' bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// In the host's memory.
    Memory,
    /// In the API server; bodies are fetched when they are read, and kept for a while.
    Cached,
}

impl Watch {
    /// A watch of a collection: all namespaces, in memory, indexed by namespace and name,
    /// required.
    pub fn new(
        name: impl Into<String>,
        api_version: impl Into<String>,
        resources: impl Into<String>,
    ) -> Self {
        Watch {
            name: name.into(),
            api_version: api_version.into(),
            resources: resources.into(),
            scope: Scope::AllNamespaces,
            object_name: None,
            label_selector: None,
            field_selector: None,
            index_by: strings(["metadata.namespace", "metadata.name"]),
            indexes: Vec::new(),
            ignore_fields: Vec::new(),
            keep_fields: Vec::new(),
            storage: Storage::Memory,
            cache_ttl: None,
            debounce: None,
            on_change_during_sync: false,
            required: true,
            extra: Vec::new(),
        }
    }

    /// A watch of a collection of this type, named like its plural. Feature `k8s-openapi`.
    ///
    /// ```ignore
    /// let watch = Watch::of::<k8s_openapi::api::networking::v1::Ingress>();
    /// assert_eq!(watch.api_version, "networking.k8s.io/v1");
    /// // … and in a callback:
    /// let ingresses: Vec<Ingress> = Store::open("ingresses")?.list()?;
    /// ```
    #[cfg(feature = "k8s-openapi")]
    pub fn of<K: k8s_openapi::Resource>() -> Self {
        Watch::new(K::URL_PATH_SEGMENT, K::API_VERSION, K::URL_PATH_SEGMENT)
    }

    /// A watch of one object by name. Its namespace comes from [`Watch::namespace`] or
    /// [`Watch::own_namespace`]; a kind without namespaces needs neither.
    pub fn object(
        name: impl Into<String>,
        api_version: impl Into<String>,
        resources: impl Into<String>,
        object_name: impl Into<String>,
    ) -> Self {
        Watch {
            object_name: Some(object_name.into()),
            index_by: Vec::new(),
            ..Watch::new(name, api_version, resources)
        }
    }

    /// Only this namespace.
    #[must_use]
    pub fn namespace(self, namespace: impl Into<String>) -> Self {
        self.namespaces([namespace])
    }

    /// Only these namespaces.
    #[must_use]
    pub fn namespaces<S: Into<String>>(mut self, namespaces: impl IntoIterator<Item = S>) -> Self {
        self.scope = Scope::Namespaces(strings(namespaces));
        self
    }

    /// Only the namespace that the host runs in.
    #[must_use]
    pub fn own_namespace(mut self) -> Self {
        self.scope = Scope::OwnNamespace;
        self
    }

    /// Only objects with these labels: `app=web,tier in (front, back),!canary`.
    #[must_use]
    pub fn label_selector(mut self, selector: impl Into<String>) -> Self {
        self.label_selector = Some(selector.into());
        self
    }

    /// Only objects with these values: `type=kubernetes.io/tls`, `spec.ingressClassName!=nginx`.
    /// Fields that the server cannot select by are evaluated by the host.
    #[must_use]
    pub fn field_selector(mut self, selector: impl Into<String>) -> Self {
        self.field_selector = Some(selector.into());
        self
    }

    /// The primary index's keys, in order, instead of namespace and name. An object for which a
    /// path has several values is found under each of them.
    #[must_use]
    pub fn index_by<S: Into<String>>(mut self, paths: impl IntoIterator<Item = S>) -> Self {
        self.index_by = strings(paths);
        self
    }

    /// A further index, for [`Store::get_by`](crate::Store::get_by).
    #[must_use]
    pub fn index<S: Into<String>>(
        mut self,
        name: impl Into<String>,
        paths: impl IntoIterator<Item = S>,
    ) -> Self {
        self.indexes.push(NamedIndex {
            name: name.into(),
            paths: strings(paths),
        });
        self
    }

    /// Paths that are not stored. A change in nothing else is no change.
    #[must_use]
    pub fn ignore_fields<S: Into<String>>(mut self, paths: impl IntoIterator<Item = S>) -> Self {
        self.ignore_fields = strings(paths);
        self
    }

    /// The only paths that are stored, beside the object's identity. The cheapest way to less
    /// memory, fewer callbacks and faster reads.
    #[must_use]
    pub fn keep_fields<S: Into<String>>(mut self, paths: impl IntoIterator<Item = S>) -> Self {
        self.keep_fields = strings(paths);
        self
    }

    /// Keep only identities and keys in the host; fetch bodies when they are read. For large
    /// objects of which few are read: Secrets, mostly. Reads may fail with
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable), an object may be newer than the
    /// callback's snapshot (never older), and one that is gone is left out.
    #[must_use]
    pub fn cached(mut self) -> Self {
        self.storage = Storage::Cached;
        self
    }

    /// Like [`Watch::cached`]; a fetched body is served for this long.
    #[must_use]
    pub fn cached_for(mut self, ttl: Duration) -> Self {
        self.cache_ttl = Some(ttl);
        self.cached()
    }

    /// The least time between two `on_change` calls for this watch; zero: every change at once.
    /// Whole milliseconds, rounded up, at most 49 days.
    #[must_use]
    pub fn debounce(mut self, interval: Duration) -> Self {
        self.debounce = Some(interval);
        self
    }

    /// Call `on_change` also while the initial objects arrive, with `is_initial_sync` set.
    #[must_use]
    pub fn on_change_during_sync(mut self) -> Self {
        self.on_change_during_sync = true;
        self
    }

    /// Do not wait for this watch: [`all_synced`](crate::all_synced) and readiness leave it out.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.required = false;
        self
    }

    /// An option of a later API version.
    #[must_use]
    pub fn extra(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.extra.push((name.into(), value.into()));
        self
    }
}

fn strings<S: Into<String>>(items: impl IntoIterator<Item = S>) -> Vec<String> {
    items.into_iter().map(Into::into).collect()
}
