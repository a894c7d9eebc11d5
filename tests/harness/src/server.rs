//! The objects that exist, and what each watch would hear of them from an API server:
//! scope, selectors, uid and resourceVersion as a server has them.

use std::sync::Arc;

use haptic_core::{
    Identity,
    decode::{Decoder, Projection},
    engine::{Engine, StoreId},
    selector::{FieldSelector, LabelSelector},
    spec::{ScopeSpec, WatchPlan},
    watch::WatchOutput,
};
use serde_json::Value;

use crate::{
    cluster::Cluster,
    objects::{Key, Kinds, ObjectError, Objects, text},
};

/// Objects in a page of a LIST, as the host asks for them.
const PAGE: usize = 500;

/// Everything that exists, and who watches it.
pub(crate) struct Server {
    pub(crate) kinds: Kinds,
    pub(crate) ignore_unwatched: bool,
    pub(crate) cluster: Cluster,
    version: u64,
    uids: u64,
    feeds: Vec<Feed>,
}

/// One watch of one namespace, or of all.
struct Feed {
    store: StoreId,
    source: usize,
    namespace: Option<String>,
    plan: Arc<WatchPlan>,
    labels: LabelSelector,
    fields: FieldSelector,
    decoder: Decoder,
    synced: bool,
}

/// News of one watch.
pub(crate) struct News {
    pub(crate) store: StoreId,
    pub(crate) source: usize,
    pub(crate) output: WatchOutput,
}

impl Server {
    pub(crate) fn new(engine: &Engine, kinds: Kinds, ignore_unwatched: bool) -> Self {
        let feeds = engine
            .stores()
            .flat_map(|(store, plan, sources)| {
                sources.iter().enumerate().map(move |(source, from)| {
                    // Both were parsed when the plan was made.
                    let labels = plan.label_selector.as_deref().unwrap_or_default();
                    let fields = plan.server_fields.as_deref().unwrap_or_default();
                    Feed {
                        store,
                        source,
                        namespace: from.namespace.clone(),
                        plan: Arc::clone(plan),
                        labels: LabelSelector::parse(labels).unwrap_or_default(),
                        fields: FieldSelector::parse(fields).unwrap_or_default(),
                        decoder: Decoder::new(Arc::new(Projection::new(plan.projection()))),
                        synced: false,
                    }
                })
            })
            .collect();
        Self {
            kinds,
            ignore_unwatched,
            cluster: Cluster::default(),
            version: 0,
            uids: 0,
            feeds,
        }
    }

    /// Whether a watch has listed already.
    pub(crate) fn has_synced(&self) -> bool {
        self.feeds.iter().any(|feed| feed.synced)
    }

    /// The names of the stores of which not everything is listed yet.
    pub(crate) fn unsynced(&self) -> Vec<String> {
        let mut names: Vec<_> = self
            .feeds
            .iter()
            .filter(|feed| !feed.synced)
            .map(|feed| feed.plan.name.clone())
            .collect();
        names.dedup();
        names
    }

    /// Creates or replaces objects. What synced watches hear of it, in order.
    pub(crate) fn apply(&mut self, objects: Objects) -> Result<Vec<News>, ObjectError> {
        let mut taken = Vec::new();
        for placed in objects.read()? {
            let key = self.kinds.key(&placed.value);
            if !self.is_watched(&key) && !self.ignore_unwatched {
                let resource = format!("{} of {}", key.plural, key.api_version);
                let watches = self.describe_watches();
                return Err(ObjectError::Unwatched {
                    object: key.to_string(),
                    resource,
                    watches,
                });
            }
            taken.push((key, placed.value));
        }
        for (key, value) in &taken {
            for feed in &mut self.feeds {
                feed.news(key, value)?;
            }
        }
        let mut news = Vec::new();
        for (key, value) in taken {
            let value = self.completed(&key, value);
            let is_known = {
                let state = self.cluster.lock();
                let known = state.objects.get(&key);
                known.is_some_and(|known| same_but_version(known, &value))
            };
            if is_known {
                continue;
            }
            for feed in self.feeds.iter_mut().filter(|feed| feed.synced) {
                let (store, source) = (feed.store, feed.source);
                if let Some(output) = feed.news(&key, &value)? {
                    news.push(News {
                        store,
                        source,
                        output,
                    });
                }
            }
            self.cluster.lock().objects.insert(key, value);
        }
        Ok(news)
    }

    /// Deletes an object. What synced watches hear of it.
    pub(crate) fn delete(&mut self, key: &Key) -> Result<Vec<News>, ObjectError> {
        let mut state = self.cluster.lock();
        if state.objects.remove(key).is_none() {
            let alike =
                |other: &&Key| other.plural == key.plural && other.api_version == key.api_version;
            let existing: Vec<_> = state
                .objects
                .keys()
                .filter(alike)
                .map(|key| format!("  {key}"))
                .collect();
            let existing = match existing.as_slice() {
                [] => format!("  no {} of {}", key.plural, key.api_version),
                existing => existing.join("\n"),
            };
            return Err(ObjectError::Absent {
                object: key.to_string(),
                existing,
            });
        }
        drop(state);
        self.version += 1;
        let Ok(identity) = Identity::new(&key.namespace, &key.name) else {
            return Ok(Vec::new());
        };
        Ok(self
            .feeds
            .iter()
            .filter(|feed| feed.synced && feed.covers(key))
            .map(|feed| News {
                store: feed.store,
                source: feed.source,
                output: WatchOutput::Deleted {
                    identity: identity.clone(),
                    object: None,
                },
            })
            .collect())
    }

    /// The list of each watch of these names that has not listed yet.
    pub(crate) fn sync(&mut self, only: Option<&str>) -> Result<Vec<News>, ObjectError> {
        let mut news = Vec::new();
        for feed in &mut self.feeds {
            if feed.synced || only.is_some_and(|name| name != feed.plan.name) {
                continue;
            }
            feed.synced = true;
            let (store, source) = (feed.store, feed.source);
            let mut hear = |output| {
                news.push(News {
                    store,
                    source,
                    output,
                })
            };
            hear(WatchOutput::ListBegin);
            let mut listed = 0;
            for (key, value) in &self.cluster.lock().objects {
                if let Some(WatchOutput::Applied(object)) = feed.news(key, value)? {
                    if listed > 0 && listed % PAGE == 0 {
                        hear(WatchOutput::PageEnd);
                    }
                    hear(WatchOutput::Listed(object));
                    listed += 1;
                }
            }
            hear(WatchOutput::ListEnd {
                resource_version: self.version.to_string(),
            });
        }
        Ok(news)
    }

    fn is_watched(&self, key: &Key) -> bool {
        self.feeds.iter().any(|feed| feed.is_of(key))
    }

    fn describe_watches(&self) -> String {
        let lines: Vec<_> = self.feeds.iter().map(Feed::describe).collect();
        lines.join("\n")
    }

    /// The object with the metadata that a server gives it; what it brings along stays.
    fn completed(&mut self, key: &Key, mut value: Value) -> Value {
        let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) else {
            return value;
        };
        if key.namespace.is_empty() {
            metadata.remove("namespace");
        } else {
            metadata.insert("namespace".to_owned(), key.namespace.as_str().into());
        }
        if !metadata.contains_key("uid") {
            let known = {
                let state = self.cluster.lock();
                let known = state.objects.get(key);
                known.map(|known| text(known, &["metadata", "uid"]).to_owned())
            };
            let uid = match known {
                Some(uid) => uid,
                None => {
                    self.uids += 1;
                    format!("00000000-0000-4000-8000-{:012}", self.uids)
                }
            };
            metadata.insert("uid".to_owned(), uid.into());
        }
        self.version += 1;
        match metadata
            .get("resourceVersion")
            .and_then(Value::as_str)
            .map(str::parse::<u64>)
        {
            Some(Ok(own)) => self.version = own.max(self.version),
            Some(Err(_)) => {}
            None => {
                metadata.insert(
                    "resourceVersion".to_owned(),
                    self.version.to_string().into(),
                );
            }
        }
        value
    }
}

fn same_but_version(one: &Value, other: &Value) -> bool {
    let strip = |value: &Value| {
        let mut value = value.clone();
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("resourceVersion");
        }
        value
    };
    strip(one) == strip(other)
}

impl Feed {
    /// Whether objects of this key are of the watched resource.
    fn is_of(&self, key: &Key) -> bool {
        self.plan.resource.api_version() == key.api_version
            && self.plan.resource.resource == key.plural
    }

    /// Whether the watch's URL covers the object.
    fn covers(&self, key: &Key) -> bool {
        self.is_of(key)
            && self
                .namespace
                .as_ref()
                .is_none_or(|namespace| *namespace == key.namespace)
            && self
                .plan
                .object_name
                .as_ref()
                .is_none_or(|name| *name == key.name)
    }

    /// What the watch hears of an object that is now this: that it was applied, or, when
    /// it is not selected (any more), that it is gone.
    fn news(&mut self, key: &Key, value: &Value) -> Result<Option<WatchOutput>, ObjectError> {
        if !self.covers(key) {
            return Ok(None);
        }
        let undecodable = |why: String| ObjectError::Undecodable {
            object: key.to_string(),
            watch: self.plan.name.clone(),
            why,
        };
        let decoded = self
            .decoder
            .decode(value.to_string().as_bytes())
            .map_err(|error| undecodable(error.kind.to_string()))?;
        if decoded.matches && self.is_selected(value) {
            return Ok(Some(WatchOutput::Applied(decoded.object)));
        }
        let identity = decoded.object.identity().clone();
        Ok(Some(WatchOutput::Deleted {
            identity,
            object: None,
        }))
    }

    /// The part of the selection that an API server makes.
    fn is_selected(&self, value: &Value) -> bool {
        let labels = value
            .get("metadata")
            .and_then(|metadata| metadata.get("labels"));
        let label = |key: &str| labels?.get(key)?.as_str();
        let resource = &self.plan.resource;
        self.labels.matches(label)
            && self.fields.terms().iter().all(|term| {
                let found = server_field(&resource.group, &resource.resource, &term.path, value);
                (found == term.value) != term.negated
            })
    }

    fn describe(&self) -> String {
        let plan = &self.plan;
        let mut line = format!(
            "  {}: {} of {}",
            plan.name,
            plan.resource.resource,
            plan.resource.api_version()
        );
        if let Some(name) = &plan.object_name {
            line += &format!(", the one named {name}");
        }
        match (&plan.scope, &self.namespace) {
            (ScopeSpec::AllNamespaces, _) | (_, None) => {}
            (ScopeSpec::OwnNamespace, Some(namespace)) => {
                line += &format!(", in the host's own namespace ({namespace})");
            }
            (ScopeSpec::Namespaces(_), Some(namespace)) => {
                line += &format!(", in namespace {namespace}");
            }
        }
        line
    }
}

/// A field by which API servers select, as they see it: some have another path than
/// their name says, and some a value when the object has none.
fn server_field(group: &str, plural: &str, name: &str, value: &Value) -> String {
    let path = match (group, plural, name) {
        ("batch", "jobs", "status.successful") => "status.succeeded",
        ("", "events", "source") => "source.component",
        _ => name,
    };
    let absent = match (plural, name) {
        ("nodes", "spec.unschedulable") | ("pods", "spec.hostNetwork") => "false",
        ("jobs", "status.successful") | (_, "status.replicas") => "0",
        _ => "",
    };
    match path
        .split('.')
        .try_fold(value, |value, name| value.get(name))
    {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Bool(flag)) => flag.to_string(),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Null | Value::Array(_) | Value::Object(_)) | None => absent.to_owned(),
    }
}
