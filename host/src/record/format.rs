//! The file: a header, and then a line for each thing that a watch told the host. Owns how both
//! are written; `read` reads them again. docs/record.md shows them to people.

use std::{fmt::Write as _, time::Duration};

use haptic_core::{
    Identity, Time,
    spec::{ScopeSpec, Storage, WatchPlan, WatchSpec},
    watch::{ResourceRef, WatchState},
};
use serde::{Deserialize, Serialize};

use crate::plugin::Limits;

/// The version of the format that this host writes, and the newest that it reads.
pub(crate) const VERSION: u32 = 1;

/// The first line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Header {
    /// [`VERSION`].
    pub(crate) haptic_recording: u32,
    /// The version of the host that wrote it.
    #[serde(default)]
    pub(crate) host: String,
    /// When it began, as RFC 3339: what `at` counts from.
    pub(crate) started: String,
    /// What `own-namespace` scopes meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) own_namespace: Option<String>,
    /// What stands for the values of Secrets.
    #[serde(default)]
    pub(crate) secrets: Secrets,
    #[serde(default)]
    pub(crate) plugins: Vec<RecordedPlugin>,
    /// What was watched.
    pub(crate) watches: Vec<RecordedWatch>,
}

/// What stands for the values of Secrets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Secrets {
    /// Something else, of the same length.
    #[default]
    Redacted,
    /// They themselves.
    Kept,
}

/// A plugin that the recording was made for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RecordedPlugin {
    pub(crate) name: String,
    /// Of the component.
    #[serde(default)]
    pub(crate) sha256: String,
    #[serde(default)]
    pub(crate) limits: RecordedLimits,
    /// What it declares, as its configuration has narrowed it.
    #[serde(default)]
    pub(crate) watches: Vec<Declared>,
}

/// What decides most often whether a callback fails.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct RecordedLimits {
    memory_bytes: u64,
    callback_seconds: f64,
    output_bytes: u64,
}

impl RecordedLimits {
    pub(crate) fn of(limits: &Limits) -> Self {
        Self {
            memory_bytes: limits.memory,
            callback_seconds: limits.callback_time.as_secs_f64(),
            output_bytes: limits.output_bytes,
        }
    }
}

/// A watch as a plugin asks for it: see `record watch` in the WIT.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Declared {
    pub(crate) name: String,
    pub(crate) api_version: String,
    pub(crate) resources: String,
    /// None: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) namespaces: Option<Namespaces>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) object_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) label_selector: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) field_selector: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) index_by: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) indexes: Vec<(String, Vec<String>)>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) ignore_fields: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) keep_fields: Vec<String>,
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) cached: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) debounce_ms: Option<u128>,
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) on_change_during_sync: bool,
    pub(crate) required: bool,
}

/// Some namespaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Namespaces {
    /// That of the host.
    Own,
    #[serde(untagged)]
    These(Vec<String>),
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
fn is_false(flag: &bool) -> bool {
    !flag
}

impl Declared {
    pub(crate) fn of(spec: &WatchSpec) -> Self {
        Self {
            name: spec.name.clone(),
            api_version: spec.api_version.clone(),
            resources: spec.resources.clone(),
            namespaces: match &spec.scope {
                ScopeSpec::AllNamespaces => None,
                ScopeSpec::OwnNamespace => Some(Namespaces::Own),
                ScopeSpec::Namespaces(list) => Some(Namespaces::These(list.clone())),
            },
            object_name: spec.object_name.clone(),
            label_selector: spec.label_selector.clone(),
            field_selector: spec.field_selector.clone(),
            index_by: spec.index_by.clone(),
            indexes: spec.indexes.clone(),
            ignore_fields: spec.ignore_fields.clone(),
            keep_fields: spec.keep_fields.clone(),
            cached: spec.storage == Storage::Cached,
            debounce_ms: spec.debounce.map(|debounce| debounce.as_millis()),
            on_change_during_sync: spec.on_change_during_sync,
            required: spec.required,
        }
    }

    /// Whether it is that watch, however narrow.
    pub(crate) fn is_the_same(&self, spec: &WatchSpec) -> bool {
        self.name == spec.name
            && self.api_version == spec.api_version
            && self.resources == spec.resources
    }

    /// The same watch, as narrow as the recorded one.
    pub(crate) fn narrow(&self, spec: &WatchSpec) -> WatchSpec {
        WatchSpec {
            scope: match &self.namespaces {
                None => ScopeSpec::AllNamespaces,
                Some(Namespaces::Own) => ScopeSpec::OwnNamespace,
                Some(Namespaces::These(list)) => ScopeSpec::Namespaces(list.clone()),
            },
            object_name: self.object_name.clone(),
            label_selector: self.label_selector.clone(),
            field_selector: self.field_selector.clone(),
            ..spec.clone()
        }
    }
}

/// One stream of objects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RecordedWatch {
    /// What its lines call it.
    pub(crate) name: String,
    pub(crate) api_version: String,
    pub(crate) resources: String,
    /// None: all, or a kind that has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) namespace: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) object_name: Option<String>,
    /// As the server is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) label_selector: Option<String>,
    /// The part that the server is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) field_selector: Option<String>,
}

impl RecordedWatch {
    /// What fills a store of this plan from this namespace.
    pub(crate) fn of(name: &str, plan: &WatchPlan, namespace: Option<&str>) -> Self {
        Self {
            name: name.to_owned(),
            api_version: plan.resource.api_version(),
            resources: plan.resource.resource.clone(),
            namespace: namespace.map(str::to_owned),
            object_name: plan.object_name.clone(),
            label_selector: plan.label_selector.clone(),
            field_selector: plan.server_fields.clone(),
        }
    }

    /// Whether both are of the same objects, whatever they are called.
    pub(crate) fn is_of_the_same(&self, other: &Self) -> bool {
        let named = |watch: &Self| Self {
            name: String::new(),
            ..watch.clone()
        };
        named(self) == named(other)
    }

    pub(crate) fn resource(&self) -> ResourceRef {
        let (group, version) = match self.api_version.split_once('/') {
            Some((group, version)) => (group, version),
            None => ("", self.api_version.as_str()),
        };
        ResourceRef {
            group: group.to_owned(),
            version: version.to_owned(),
            resource: self.resources.clone(),
        }
    }

    /// As in `configmaps.v1 in shop, labels app=web`.
    pub(crate) fn describe(&self) -> String {
        let mut text = self.resource().to_string();
        if let Some(name) = &self.object_name {
            text += &format!(" called {name}");
        }
        match &self.namespace {
            Some(namespace) => text += &format!(" in {namespace}"),
            None => text += " in all namespaces",
        }
        if let Some(labels) = &self.label_selector {
            text += &format!(", labels {labels}");
        }
        if let Some(fields) = &self.field_selector {
            text += &format!(", fields {fields}");
        }
        text
    }
}

/// A line that is being written.
pub(super) struct Line(String);

impl Line {
    pub(super) fn at(now: Time) -> Self {
        Self(format!("{{\"at\":{}", Seconds(now.since_origin())))
    }

    /// A member with a text.
    pub(super) fn text(self, name: &str, text: &str) -> Self {
        let text = serde_json::Value::from(text).to_string();
        self.json(name, &text)
    }

    /// A member with JSON.
    pub(super) fn json(mut self, name: &str, json: &str) -> Self {
        // Writing to a string does not fail.
        let _infallible = write!(self.0, ",\"{name}\":{json}");
        self
    }

    pub(super) fn identity(self, name: &str, identity: &Identity) -> Self {
        let (namespace, object) = (identity.namespace(), identity.name());
        let json = serde_json::json!({"namespace": namespace, "name": object});
        self.json(name, &json.to_string())
    }

    pub(super) fn state(self, state: &WatchState) -> Self {
        let line = self.text("state", state.as_str());
        match state {
            WatchState::Discovering | WatchState::WaitingForCrd | WatchState::Synced => line,
            WatchState::Forbidden { verb, scope } => line.text("verb", verb).text("scope", scope),
            WatchState::Listing { received } => line.json("received", &received.to_string()),
            WatchState::Stale { since } => {
                line.json("since", &Seconds(since.since_origin()).to_string())
            }
            WatchState::Failing { error } => line.text("error", error),
        }
    }

    pub(super) fn end(mut self) -> String {
        self.0.push_str("}\n");
        self.0
    }
}

/// Seconds with microseconds, as JSON has numbers.
struct Seconds(Duration);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:06}", self.0.as_secs(), self.0.subsec_micros())
    }
}
