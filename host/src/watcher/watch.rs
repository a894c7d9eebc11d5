//! What to watch, in the words of whoever writes it.

use std::time::Duration;

use haptic_core::{
    decode::MissingKey,
    spec::{ScopeSpec, Storage, WatchSpec},
};

/// One watch: which objects, how they are filtered and indexed, and how often their
/// changes are told.
///
/// Paths are JSONPath as in RFC 9535 with the `$.` optional: `metadata.name`,
/// `spec.rules[*].host`, `metadata.labels['kubernetes.io/service-name']`, or kubectl's
/// way of writing the last one, `metadata.labels.kubernetes\.io/service-name`. Nothing
/// is checked here: `start` names everything that is wrong, before anything is sent.
///
/// ```
/// use haptic_host::Watch;
///
/// let slices = Watch::new("discovery.k8s.io/v1", "endpointslices")
///     .namespaces(["shop", "web"])
///     .index_by(["metadata.namespace", r"metadata.labels.kubernetes\.io/service-name"])
///     .keep_fields(["metadata.labels", "ports", "endpoints"]);
///
/// let settings = Watch::object("v1", "configmaps", "haproxy-settings").own_namespace();
/// ```
#[derive(Clone, Debug)]
#[must_use = "a watch does nothing until a watcher is started with it"]
pub struct Watch(WatchSpec);

impl Watch {
    /// A watch of a collection: all namespaces, indexed by namespace and name. Its
    /// name, for the log and for [`View::open`](crate::View::open), is that of the
    /// resource.
    pub fn new(api_version: impl Into<String>, resources: impl Into<String>) -> Self {
        let resources = resources.into();
        Self(WatchSpec {
            name: resources.clone(),
            api_version: api_version.into(),
            resources,
            required: true,
            ..WatchSpec::default()
        })
    }

    /// A watch of one object by name. A kind that has namespaces needs
    /// [`Watch::namespace`] or [`Watch::own_namespace`]. Indexes and a debounce
    /// interval mean nothing here (contract R1).
    pub fn object(
        api_version: impl Into<String>,
        resources: impl Into<String>,
        name: impl Into<String>,
    ) -> Self {
        let mut watch = Self::new(api_version, resources);
        watch.0.object_name = Some(name.into());
        watch
    }

    /// Another name than that of the resource: two watches of a group have two.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.0.name = name.into();
        self
    }

    /// Only this namespace.
    pub fn namespace(self, namespace: impl Into<String>) -> Self {
        self.namespaces([namespace])
    }

    /// Only these namespaces, with a stream for each.
    pub fn namespaces<S: Into<String>>(mut self, namespaces: impl IntoIterator<Item = S>) -> Self {
        self.0.scope = ScopeSpec::Namespaces(strings(namespaces));
        self
    }

    /// Only the namespace that this program runs in: its service account's, else that
    /// of the kubeconfig's context (contract W2).
    pub fn own_namespace(mut self) -> Self {
        self.0.scope = ScopeSpec::OwnNamespace;
        self
    }

    /// Only objects with these labels: `app=web,tier in (front, back),!canary`.
    pub fn label_selector(mut self, selector: impl Into<String>) -> Self {
        self.0.label_selector = Some(selector.into());
        self
    }

    /// Only objects with these values: `type=kubernetes.io/tls`,
    /// `spec.ingressClassName!=nginx`. Fields that the server cannot select by are
    /// evaluated here.
    pub fn field_selector(mut self, selector: impl Into<String>) -> Self {
        self.0.field_selector = Some(selector.into());
        self
    }

    /// The primary index's keys, in order, instead of namespace and name. An object
    /// for which a path has several values is found under each of them.
    pub fn index_by<S: Into<String>>(mut self, paths: impl IntoIterator<Item = S>) -> Self {
        self.0.index_by = strings(paths);
        self
    }

    /// A further index, for [`Store::get_by`](crate::Store::get_by).
    pub fn index<S: Into<String>>(
        mut self,
        name: impl Into<String>,
        paths: impl IntoIterator<Item = S>,
    ) -> Self {
        self.0.indexes.push((name.into(), strings(paths)));
        self
    }

    /// What stands in an index for an object that has no value at one of its paths: nothing
    /// unless told, so that it is not found there (contract I4).
    pub fn missing_key(mut self, missing: MissingKey) -> Self {
        let word = match missing {
            MissingKey::Skip => "skip",
            MissingKey::Empty => "empty",
        };
        self.0.extra.retain(|(name, _)| name != "missing-key");
        self.0
            .extra
            .push(("missing-key".to_owned(), word.to_owned()));
        self
    }

    /// Paths that are not stored. A change in nothing else is no change.
    pub fn ignore_fields<S: Into<String>>(mut self, paths: impl IntoIterator<Item = S>) -> Self {
        self.0.ignore_fields = strings(paths);
        self
    }

    /// The only paths that are stored, beside the object's identity.
    pub fn keep_fields<S: Into<String>>(mut self, paths: impl IntoIterator<Item = S>) -> Self {
        self.0.keep_fields = strings(paths);
        self
    }

    /// Keep who there is and its keys, and no bodies: they are
    /// [fetched](crate::Store::fetch) when they are read, and kept for 2 min 10 s (contract
    /// S6). For large objects of which few are read, Secrets above all. Where the indexes
    /// and what the host selects by are all below `metadata`, the watch itself asks for
    /// metadata only; then every new resourceVersion counts as a change.
    pub fn cached(mut self) -> Self {
        self.0.storage = Storage::Cached;
        self
    }

    /// As [`Watch::cached`]; a fetched body is served for this long.
    pub fn cached_for(mut self, ttl: Duration) -> Self {
        self.0.cache_ttl = Some(ttl);
        self.cached()
    }

    /// The least time between two calls of `on_change`; 500 ms unless told. Zero:
    /// every change at once.
    pub fn debounce(mut self, interval: Duration) -> Self {
        self.0.debounce = Some(interval);
        self
    }

    /// Whether `on_change` is called while the initial objects arrive too, with
    /// [`ChangeStats::is_initial_sync`](crate::ChangeStats::is_initial_sync) set.
    pub fn call_on_change_during_sync(mut self, call: bool) -> Self {
        self.0.on_change_during_sync = call;
        self
    }

    /// Do not wait for this watch: a group is synced without it (contract C6).
    pub fn optional(mut self) -> Self {
        self.0.required = false;
        self
    }

    pub(super) fn into_spec(self) -> WatchSpec {
        self.0
    }
}

impl From<WatchSpec> for Watch {
    fn from(spec: WatchSpec) -> Self {
        Self(spec)
    }
}

fn strings<S: Into<String>>(items: impl IntoIterator<Item = S>) -> Vec<String> {
    items.into_iter().map(Into::into).collect()
}
