//! What a plugin or a configuration file asks to watch, in two stages: a
//! [`WatchSpec`] holds what was typed, a [`WatchPlan`] what it means. After
//! [`WatchSpec::plan`] nobody sees a raw string again (contract I2).

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use crate::{
    bodies::Filter,
    decode::{FieldRequirement, IndexPaths, MissingKey, Projection, ProjectionSpec},
    index::IndexSpec,
    object::Keep,
    path::Path,
    selector::{FieldSelector, LabelSelector},
    shard::{Shard, ShardBy},
    watch::ResourceRef,
};

/// Debounce interval of a watch that names none (contract C2).
pub const DEFAULT_DEBOUNCE: Duration = Duration::from_millis(500);

/// How long a cached store serves a fetched body if its watch does not say (contract S6).
pub const DEFAULT_CACHE_TTL: Duration = Duration::from_secs(130);

/// Watches that one plugin may declare: each costs the API server a stream.
pub const MAX_WATCHES: usize = 256;

/// Paths that one list of a watch (an index, `ignore-fields`, `keep-fields`) may hold.
const MAX_PATHS: usize = 256;

/// Indexes of a watch beside the primary one: each may hold as much of every object as the
/// object has.
const MAX_INDEXES: usize = 16;

/// Paths of a watch that need a tree of the object: see [`crate::path`]. They are evaluated
/// where the objects of all plugins arrive.
const MAX_COSTLY_PATHS: usize = 16;

/// Bytes of a label selector: it stands in the URL of each request.
const MAX_LABEL_SELECTOR: usize = 64 << 10;

/// Bytes of a field selector: likewise, and the host evaluates on each object what the
/// server does not.
const MAX_FIELD_SELECTOR: usize = 4 << 10;

/// Where the objects' bodies are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Storage {
    /// In memory.
    #[default]
    Memory,
    /// On the API server, fetched on demand.
    Cached,
}

/// Which namespaces are watched, as typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ScopeSpec {
    /// The whole cluster, or a cluster-scoped kind.
    #[default]
    AllNamespaces,
    /// The namespace that the host runs in (contract W2).
    OwnNamespace,
    /// These.
    Namespaces(Vec<String>),
}

/// One watch as it was asked for: see `record watch` in the WIT for each field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "the WIT documents each field under the same name"
)]
pub struct WatchSpec {
    pub name: String,
    pub api_version: String,
    pub resources: String,
    pub scope: ScopeSpec,
    pub object_name: Option<String>,
    pub label_selector: Option<String>,
    pub field_selector: Option<String>,
    pub index_by: Vec<String>,
    pub indexes: Vec<(String, Vec<String>)>,
    pub ignore_fields: Vec<String>,
    pub keep_fields: Vec<String>,
    pub storage: Storage,
    pub cache_ttl: Option<Duration>,
    pub debounce: Option<Duration>,
    pub on_change_during_sync: bool,
    pub required: bool,
    pub extra: Vec<(String, String)>,
}

/// One watch, understood: everything in it is valid.
#[derive(Clone, Debug)]
pub struct WatchPlan {
    /// The name that the plugin knows the store by.
    pub name: String,
    /// Group, version and plural.
    pub resource: ResourceRef,
    /// Which namespaces.
    pub scope: ScopeSpec,
    /// Set: one object, delivered without index or debounce (contract R1).
    pub object_name: Option<String>,
    /// In the server's canonical form.
    pub label_selector: Option<String>,
    /// The part of the field selector that the server evaluates.
    pub server_fields: Option<String>,
    /// The part that the host evaluates (contract W3).
    pub host_fields: Vec<FieldRequirement>,
    /// Paths of each index, the primary one first.
    pub index_paths: Vec<IndexPaths>,
    /// The same indexes as the store sees them.
    pub index_specs: Vec<IndexSpec>,
    /// Fields that are dropped before storage.
    pub ignore: Vec<Path>,
    /// Fields that alone are stored; empty: all.
    pub keep: Vec<Path>,
    /// Where bodies are kept.
    pub storage: Storage,
    /// Of a cached store: how long a fetched body is served.
    pub cache_ttl: Duration,
    /// At most one callback in this time (contract C2).
    pub debounce: Duration,
    /// Whether `on-change` is called before the first sync (contract C1).
    pub during_sync: bool,
    /// Whether `all-synced` and readiness wait for it (contract C6).
    pub required: bool,
    /// Whether processes may share the objects. If not, each of them needs all.
    pub may_shard: bool,
    /// Whose objects are held; `None`: all are.
    pub shard: Option<Shard>,
    /// What tells bodies of this watch from those of others that are filtered
    /// differently, or are of another resource.
    pub filter: Filter,
    /// See [`WatchPlan::body_projection`].
    bodies: OnceLock<Arc<Projection>>,
}

/// One thing that is wrong with a watch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct SpecError {
    /// Which watch and field, e.g. `watch "ingresses", index-by[1]`.
    pub place: String,
    /// What is wrong, and what to write instead.
    pub message: String,
}

impl WatchSpec {
    /// Understands the watch.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once, each with its place.
    pub fn plan(&self) -> Result<WatchPlan, Vec<SpecError>> {
        let mut errors = Errors {
            watch: &self.name,
            found: Vec::new(),
        };
        errors.check_name("name", &self.name, "a watch's name", |c| {
            c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
        });
        let resource = self.resource(&mut errors);
        self.check_scope(&mut errors);
        if let Some(name) = &self.object_name {
            errors.check_name("object-name", name, "an object's name", |c| {
                c.is_ascii_graphic() && !matches!(c, '/' | '%' | ',' | '=' | '!' | '\\')
            });
            if !matches!(&self.scope, ScopeSpec::Namespaces(list) if list.len() == 1)
                && matches!(self.scope, ScopeSpec::Namespaces(_))
            {
                errors.add("scope", "a watch of one object names exactly one namespace");
            }
        }
        for (field, selector, most) in [
            ("label-selector", &self.label_selector, MAX_LABEL_SELECTOR),
            ("field-selector", &self.field_selector, MAX_FIELD_SELECTOR),
        ] {
            let given = selector.as_ref().map_or(0, String::len);
            if given > most {
                errors.add(field, format!("is longer than {most} bytes"));
                return Err(errors.found);
            }
        }
        let label_selector = self
            .label_selector
            .as_deref()
            .filter(|s| !s.trim().is_empty())
            .and_then(|text| match LabelSelector::parse(text) {
                Ok(selector) => Some(selector.to_string()),
                Err(error) => errors.none("label-selector", &error),
            });
        let (server_fields, host_fields) = self.fields(&mut errors);
        let Extra { missing_key, shard } = self.extra_options(&mut errors);
        let default_index = ["metadata.namespace".to_owned(), "metadata.name".to_owned()];
        let primary = if self.index_by.is_empty() {
            &default_index[..]
        } else {
            self.index_by.as_slice()
        };
        let mut index_paths = vec![errors.index("index-by", primary, missing_key)];
        let mut index_specs = vec![index_spec("", &index_paths[0])];
        if self.indexes.len() > MAX_INDEXES {
            let given = self.indexes.len();
            errors.add(
                "indexes",
                format!("{given} indexes: a watch has at most {MAX_INDEXES}"),
            );
        }
        for (i, (name, paths)) in self.indexes.iter().enumerate().take(MAX_INDEXES) {
            let place = format!("indexes[{i}]");
            if name.is_empty() {
                errors.add(&place, "an index needs a name");
            } else if self.indexes[..i].iter().any(|(other, _)| other == name) {
                errors.add(&place, format!("a second index named `{name}`"));
            }
            if paths.is_empty() {
                errors.add(&place, format!("index `{name}` has no paths"));
            }
            let index = errors.index(&format!("{place} `{name}`"), paths, missing_key);
            index_specs.push(index_spec(name, &index));
            index_paths.push(index);
        }
        let ignore = errors.paths("ignore-fields", &self.ignore_fields);
        let keep = errors.paths("keep-fields", &self.keep_fields);
        if self.storage == Storage::Cached && self.object_name.is_some() {
            errors.add(
                "storage",
                "a watch of one object keeps it in memory: its last state is delivered when it is deleted, and could not be fetched then",
            );
        }
        if self.cache_ttl.is_some_and(|ttl| ttl > MAX_CACHE_TTL) {
            errors.add(
                "cache-ttl-ms",
                "a fetched body is served for at most one day",
            );
        }
        if let Some(debounce) = self.debounce
            && debounce > MAX_DEBOUNCE
        {
            errors.add("debounce-ms", "a debounce interval is at most one hour");
        }
        let indexed = index_paths.iter().flat_map(|index| &index.paths);
        let selected = host_fields.iter().map(|field| &field.path);
        let costly = indexed.chain(&ignore).chain(&keep).chain(selected);
        let costly = costly.filter(|path| path.segments().is_none()).count();
        if costly > MAX_COSTLY_PATHS {
            errors.add(
                "paths",
                format!(
                    "{costly} of them have filters, slices, unions or descendants: a watch has at most {MAX_COSTLY_PATHS}, because each object that comes waits for them"
                ),
            );
        }
        if !errors.found.is_empty() {
            return Err(errors.found);
        }
        let filter = Filter::of(&resource, &ignore, &keep);
        Ok(WatchPlan {
            name: self.name.clone(),
            resource,
            scope: self.scope.clone(),
            object_name: self.object_name.clone(),
            label_selector,
            server_fields,
            host_fields,
            index_paths,
            index_specs,
            ignore,
            keep,
            storage: self.storage,
            cache_ttl: self.cache_ttl.unwrap_or(DEFAULT_CACHE_TTL),
            debounce: self.debounce.unwrap_or(DEFAULT_DEBOUNCE),
            during_sync: self.on_change_during_sync,
            required: self.required,
            may_shard: shard.unwrap_or_else(|| self.is_shared_by_default()),
            shard: None,
            filter,
            bodies: OnceLock::new(),
        })
    }

    fn resource(&self, errors: &mut Errors<'_>) -> ResourceRef {
        let (group, version) = match self.api_version.split_once('/') {
            Some((group, version)) => (group, version),
            None => ("", self.api_version.as_str()),
        };
        let dns = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
        if self.api_version.is_empty() {
            errors.add(
                "api-version",
                "is empty: write `v1`, or `group/version` such as `networking.k8s.io/v1`",
            );
        } else if version.is_empty()
            || !version.chars().all(dns)
            || !group.chars().all(dns)
            || version.contains('.')
        {
            errors.add(
                "api-version",
                format!(
                    "`{}` is no API version: write `v1`, or `group/version` such as `networking.k8s.io/v1`",
                    self.api_version
                ),
            );
        }
        if self.resources.is_empty() {
            errors.add(
                "resources",
                "is empty: write the plural, such as `ingresses`",
            );
        } else if !self.resources.chars().all(dns) {
            errors.add(
                "resources",
                format!(
                    "`{}` is no resource name: write the lower-case plural, such as `ingresses`, without a subresource",
                    self.resources
                ),
            );
        }
        ResourceRef {
            group: group.to_owned(),
            version: version.to_owned(),
            resource: self.resources.clone(),
        }
    }

    fn check_scope(&self, errors: &mut Errors<'_>) {
        let ScopeSpec::Namespaces(namespaces) = &self.scope else {
            return;
        };
        if namespaces.is_empty() {
            errors.add(
                "scope",
                "the list of namespaces is empty: it would watch nothing",
            );
        }
        if namespaces.len() > MAX_WATCHES {
            errors.add(
                "scope",
                format!("more than {MAX_WATCHES} namespaces: watch all and filter"),
            );
            return;
        }
        for (i, namespace) in namespaces.iter().enumerate() {
            let place = format!("scope.namespaces[{i}]");
            errors.check_name(&place, namespace, "a namespace", |c| {
                c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'
            });
            if namespaces[..i].contains(namespace) {
                errors.add(&place, format!("namespace `{namespace}` stands twice"));
            }
        }
    }

    fn fields(&self, errors: &mut Errors<'_>) -> (Option<String>, Vec<FieldRequirement>) {
        let Some(text) = self
            .field_selector
            .as_deref()
            .filter(|s| !s.trim().is_empty())
        else {
            return (None, Vec::new());
        };
        let selector = match FieldSelector::parse(text) {
            Ok(selector) => selector,
            Err(error) => {
                errors.add("field-selector", error.to_string());
                return (None, Vec::new());
            }
        };
        let (server, host) = selector.split(&server_fields(&self.api_version, &self.resources));
        let mut requirements = Vec::new();
        for field in host {
            match Path::parse(&field.path) {
                Ok(path) => requirements.push(FieldRequirement {
                    path,
                    negated: field.negated,
                    value: field.value,
                }),
                Err(error) => errors.add("field-selector", error.to_string()),
            }
        }
        (
            (!server.is_empty()).then(|| server.to_string()),
            requirements,
        )
    }

    /// What a plugin watches in the namespace of the host, or as one object, is most often about
    /// the plugin itself.
    fn is_shared_by_default(&self) -> bool {
        self.object_name.is_none() && self.scope != ScopeSpec::OwnNamespace
    }

    fn extra_options(&self, errors: &mut Errors<'_>) -> Extra {
        let mut extra = Extra::default();
        for (name, value) in &self.extra {
            match (name.as_str(), value.as_str()) {
                ("missing-key", "skip") => extra.missing_key = MissingKey::Skip,
                ("missing-key", "empty") => extra.missing_key = MissingKey::Empty,
                ("missing-key", _) => errors.add(
                    "extra",
                    format!("missing-key is `skip` or `empty`, not `{value}`"),
                ),
                ("shard", "true") => extra.shard = Some(true),
                ("shard", "false") => extra.shard = Some(false),
                ("shard", _) => errors.add(
                    "extra",
                    format!("shard is `true` or `false`, not `{value}`"),
                ),
                _ => errors.add(
                    "extra",
                    format!("this host knows no option `{name}`: it knows missing-key and shard"),
                ),
            }
        }
        extra
    }
}

/// [`WatchSpec::extra`], understood.
#[derive(Default)]
struct Extra {
    missing_key: MissingKey,
    shard: Option<bool>,
}

impl WatchPlan {
    /// Whether one watch and one store can serve both (contract W10): they differ
    /// in nothing but name, debounce, when callbacks come and how long bodies are served.
    #[must_use]
    pub fn same_watch(&self, other: &Self) -> bool {
        self.resource == other.resource
            && self.scope == other.scope
            && self.object_name == other.object_name
            && self.label_selector == other.label_selector
            && self.server_fields == other.server_fields
            && self.host_fields == other.host_fields
            && self.index_paths == other.index_paths
            && self.index_specs == other.index_specs
            && self.ignore == other.ignore
            && self.keep == other.keep
            && self.storage == other.storage
            && self.shard == other.shard
    }

    /// The same watch in a process that holds a shard of its objects, unless each process needs
    /// all of them. Of a list of namespaces only those of the shard are asked for. If none is,
    /// one still is, and comes for nothing: so that the watch syncs, and because a kind may turn
    /// out to have no namespaces.
    #[must_use]
    pub fn in_shard(mut self, shard: Shard) -> Self {
        if !self.may_shard || shard.count() == 1 {
            return self;
        }
        if let (ScopeSpec::Namespaces(list), ShardBy::Namespace) = (&mut self.scope, shard.by()) {
            if list.iter().any(|namespace| shard.owns_namespace(namespace)) {
                list.retain(|namespace| shard.owns_namespace(namespace));
            } else {
                list.truncate(1);
            }
        }
        self.shard = Some(shard);
        self
    }

    /// How objects of this watch are decoded. The kind is filled in by the watch
    /// machine, from discovery.
    #[must_use]
    pub fn projection(&self) -> ProjectionSpec {
        ProjectionSpec {
            api_version: self.resource.api_version(),
            kind: String::new(),
            ignore: self.ignore.clone(),
            keep: self.keep.clone(),
            indexes: self
                .index_paths
                .iter()
                .zip(&self.index_specs)
                .map(|(paths, spec)| match spec.identity {
                    // Answered from the object set: no keys are kept.
                    true => IndexPaths::default(),
                    false => paths.clone(),
                })
                .collect(),
            select: self.host_fields.clone(),
            content: match self.storage {
                Storage::Memory => Keep::Body,
                Storage::Cached if self.metadata_only() => Keep::Version,
                Storage::Cached => Keep::Digest,
            },
            shard: self.shard,
        }
    }

    /// Whether the watch can do with metadata (contract S6): the store is cached, and
    /// every index key and what the host selects by is found there.
    #[must_use]
    pub fn metadata_only(&self) -> bool {
        let keys = self.index_paths.iter().flat_map(|index| &index.paths);
        let selected = self.host_fields.iter().map(|field| &field.path);
        self.storage == Storage::Cached
            && keys.chain(selected).all(|path| path.is_within("metadata"))
    }

    /// How a body that was fetched is decoded, so that it is what a store in memory
    /// would hold. Compiled when somebody needs it first.
    #[must_use]
    pub fn body_projection(&self) -> &Arc<Projection> {
        self.bodies
            .get_or_init(|| Arc::new(Projection::new(self.body_spec())))
    }

    fn body_spec(&self) -> ProjectionSpec {
        ProjectionSpec {
            api_version: self.resource.api_version(),
            ignore: self.ignore.clone(),
            keep: self.keep.clone(),
            ..ProjectionSpec::default()
        }
    }
}

/// Longest time that a fetched body is served: who would wait longer wants it in memory,
/// or does not want it.
const MAX_CACHE_TTL: Duration = Duration::from_hours(24);

/// Longest debounce interval.
const MAX_DEBOUNCE: Duration = Duration::from_secs(3_600);

/// Understands all watches of a plugin.
///
/// # Errors
/// Everything that is wrong with any of them, at once.
pub fn plan_all(specs: &[WatchSpec]) -> Result<Vec<WatchPlan>, SpecErrors> {
    let mut errors = Vec::new();
    let mut plans = Vec::new();
    if specs.len() > MAX_WATCHES {
        return Err(SpecErrors(vec![SpecError {
            place: "describe".to_owned(),
            message: format!(
                "{} watches: a plugin may declare {MAX_WATCHES}",
                specs.len()
            ),
        }]));
    }
    for (i, spec) in specs.iter().enumerate() {
        if errors.len() > MAX_ERRORS {
            break;
        }
        if specs[..i].iter().any(|other| other.name == spec.name) {
            errors.push(SpecError {
                place: format!("watch {:?}", shown(&spec.name)),
                message: "a second watch of this name".to_owned(),
            });
        }
        match spec.plan() {
            Ok(plan) => plans.push(plan),
            Err(found) => errors.extend(found),
        }
    }
    if errors.is_empty() {
        Ok(plans)
    } else {
        if errors.len() > MAX_ERRORS {
            errors.truncate(MAX_ERRORS);
            errors.push(SpecError {
                place: "describe".to_owned(),
                message: "there is more: only the first mistakes are shown".to_owned(),
            });
        }
        Err(SpecErrors(errors))
    }
}

/// All errors of a set of watches, a line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecErrors(pub Vec<SpecError>);

impl std::error::Error for SpecErrors {}

impl fmt::Display for SpecErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

/// Mistakes that are shown at once: what a plugin declares may hold millions.
const MAX_ERRORS: usize = 100;

/// Bytes of one mistake: a path of 1,024 bytes and the sentence around it.
const MAX_MESSAGE: usize = 2_048;

/// A name as a mistake shows it: names may be of any length until they are checked.
fn shown(name: &str) -> &str {
    name.get(..name.floor_char_boundary(300))
        .unwrap_or_default()
}

struct Errors<'a> {
    watch: &'a str,
    found: Vec<SpecError>,
}

impl Errors<'_> {
    fn add(&mut self, field: &str, message: impl Into<String>) {
        // One more than is shown says that there are more.
        if self.found.len() > MAX_ERRORS {
            return;
        }
        let message = message.into();
        let end = message.floor_char_boundary(MAX_MESSAGE);
        self.found.push(SpecError {
            place: format!("watch {:?}, {}", shown(self.watch), shown(field)),
            message: message.get(..end).unwrap_or_default().to_owned(),
        });
    }

    fn none<T>(&mut self, field: &str, error: &dyn fmt::Display) -> Option<T> {
        self.add(field, error.to_string());
        None
    }

    fn check_name(&mut self, field: &str, name: &str, what: &str, allowed: fn(char) -> bool) {
        if name.is_empty() {
            self.add(field, format!("is empty: {what} is needed"));
        } else if name.len() > 253 {
            self.add(field, format!("{what} has at most 253 characters"));
        } else if let Some(bad) = name.chars().find(|c| !allowed(*c)) {
            self.add(field, format!("`{name}` is not {what}: it holds {bad:?}"));
        }
    }

    fn paths(&mut self, field: &str, texts: &[String]) -> Vec<Path> {
        if texts.len() > MAX_PATHS {
            self.add(field, format!("{} paths: at most {MAX_PATHS}", texts.len()));
            return Vec::new();
        }
        let mut paths = Vec::with_capacity(texts.len());
        for (i, text) in texts.iter().enumerate() {
            match Path::parse(text) {
                Ok(path) => paths.push(path),
                Err(error) => self.add(&format!("{field}[{i}]"), error.to_string()),
            }
        }
        paths
    }

    fn index(&mut self, field: &str, texts: &[String], missing_key: MissingKey) -> IndexPaths {
        if texts.len() > MAX_INDEX_PATHS {
            self.add(
                field,
                format!(
                    "{} paths: an index has at most {MAX_INDEX_PATHS}",
                    texts.len()
                ),
            );
            return IndexPaths {
                paths: Vec::new(),
                missing_key,
            };
        }
        IndexPaths {
            paths: self.paths(field, texts),
            missing_key,
        }
    }
}

/// Paths in one composite key: each adds an ordered set to the index.
const MAX_INDEX_PATHS: usize = 8;

fn index_spec(name: &str, index: &IndexPaths) -> IndexSpec {
    let is = |i: usize, text: &str| {
        Path::parse(text).is_ok_and(|p| {
            index
                .paths
                .get(i)
                .is_some_and(|q| q.segments() == p.segments())
        })
    };
    IndexSpec {
        name: name.to_owned(),
        arity: index.paths.len(),
        identity: index.paths.len() == 2
            && index.missing_key == MissingKey::Skip
            && is(0, "metadata.namespace")
            && is(1, "metadata.name"),
    }
}

/// Fields by which API servers select, beyond the two that every kind has, from the
/// registries' field label conversions: those that Kubernetes has known since 1.20. A server
/// refuses a whole list for a field that it does not know, so newer ones are the host's.
fn server_fields(api_version: &str, resources: &str) -> Vec<&'static str> {
    let more: &[&str] = match (api_version, resources) {
        ("v1", "pods") => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        ("v1", "nodes") => &["spec.unschedulable"],
        ("v1", "secrets") => &["type"],
        ("v1", "namespaces") => &["status.phase"],
        ("v1", "replicationcontrollers") | ("apps/v1", "replicasets") => &["status.replicas"],
        ("v1", "events") => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        ("batch/v1", "jobs") => &["status.successful"],
        ("certificates.k8s.io/v1", "certificatesigningrequests") => &["spec.signerName"],
        _ => &[],
    };
    ["metadata.name", "metadata.namespace"]
        .iter()
        .chain(more)
        .copied()
        .collect()
}

#[cfg(test)]
mod tests;
