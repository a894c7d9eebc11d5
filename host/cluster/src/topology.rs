//! How lists and maps merge: as a whole, as a set, or by the keys of their
//! items. From the schema for custom types, from a table for built-in ones.

use serde_json::Value;

use crate::json;
use crate::resources::Resource;

/// How a list merges in a server-side apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ListKind {
    /// Replaced as a whole, owned as a whole.
    Atomic,
    /// Scalars, each of which is owned alone.
    Set,
    /// Objects that are told apart by the values of these fields.
    Keyed(Vec<String>),
}

/// A place in an object of some type.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'s> {
    source: Source<'s>,
    /// The field that the place is in, list items not counted.
    field: &'s str,
    /// The field around that one.
    parent: &'s str,
}

#[derive(Debug, Clone, Copy)]
enum Source<'s> {
    /// The table below.
    Table,
    Schema(&'s Value),
    /// Nothing is known: maps merge field by field, lists as a whole.
    Unknown,
}

/// Rows of built-in lists: the field around it (empty for any), the field,
/// the keys of server-side apply and the one of strategic merge patches.
#[rustfmt::skip]
const LISTS: &[(&str, &str, &[&str], &str)] = &[
    ("", "containers", &["name"], "name"),
    ("", "initContainers", &["name"], "name"),
    ("", "ephemeralContainers", &["name"], "name"),
    ("", "env", &["name"], "name"),
    ("containers", "ports", &["containerPort", "protocol"], "containerPort"),
    ("initContainers", "ports", &["containerPort", "protocol"], "containerPort"),
    ("ephemeralContainers", "ports", &["containerPort", "protocol"], "containerPort"),
    ("spec", "ports", &["port", "protocol"], "port"),
    ("", "volumes", &["name"], "name"),
    ("", "volumeMounts", &["mountPath"], "mountPath"),
    ("", "volumeDevices", &["devicePath"], "devicePath"),
    ("spec", "imagePullSecrets", &["name"], "name"),
    ("", "hostAliases", &["ip"], "ip"),
    ("", "topologySpreadConstraints", &["topologyKey", "whenUnsatisfiable"], "topologyKey"),
    ("spec", "resourceClaims", &["name"], "name"),
    ("resources", "claims", &["name"], ""),
    ("", "schedulingGates", &["name"], "name"),
    ("metadata", "ownerReferences", &["uid"], "uid"),
    ("status", "conditions", &["type"], "type"),
    ("status", "addresses", &["type"], "type"),
    ("status", "podIPs", &["ip"], "ip"),
    ("status", "hostIPs", &[], "ip"),
    ("", "secrets", &["name"], "name"),
    ("", "drivers", &["name"], "name"),
    ("", "webhooks", &["name"], "name"),
    ("", "matchConditions", &["name"], "name"),
];

/// Maps of built-in kinds that are replaced and owned as a whole.
const ATOMIC_MAPS: &[&str] = &[
    "selector",
    "labelSelector",
    "matchLabelSelector",
    "namespaceSelector",
    "podSelector",
    "objectSelector",
    "nodeSelector",
    "metricSelector",
    "configMapKeyRef",
    "secretKeyRef",
    "secretRef",
    "fieldRef",
    "resourceFieldRef",
    "targetRef",
    "involvedObject",
    "regarding",
    "claimRef",
    "roleRef",
    "dataSource",
];

impl<'s> Place<'s> {
    /// The top of an object.
    pub(crate) fn root(resource: &'s Resource) -> Self {
        let source = match &resource.custom {
            None => Source::Table,
            Some(custom) => custom
                .schema
                .as_ref()
                .map_or(Source::Unknown, Source::Schema),
        };
        Self {
            source,
            field: "",
            parent: "",
        }
    }

    /// The top of an object of a built-in kind.
    pub(crate) fn builtin() -> Self {
        Self {
            source: Source::Table,
            field: "",
            parent: "",
        }
    }

    /// A field of the map at this place.
    pub(crate) fn field(self, name: &'s str) -> Self {
        let at_root = self.field.is_empty() && self.parent.is_empty();
        let source = match self.source {
            // Metadata is the same for all kinds.
            _ if at_root && name == "metadata" => Source::Table,
            Source::Schema(schema) => json::at(schema, &["properties", name])
                .or_else(|| {
                    schema
                        .get("additionalProperties")
                        .filter(|schema| schema.is_object())
                })
                .map_or(Source::Unknown, Source::Schema),
            other => other,
        };
        Self {
            source,
            field: name,
            parent: self.field,
        }
    }

    /// An item of the list at this place.
    pub(crate) fn item(self) -> Self {
        let source = match self.source {
            Source::Schema(schema) => schema.get("items").map_or(Source::Unknown, Source::Schema),
            other => other,
        };
        Self { source, ..self }
    }

    /// How the list at this place merges.
    pub(crate) fn list(self) -> ListKind {
        let keyed = |keys: Vec<String>| {
            if keys.is_empty() {
                ListKind::Atomic
            } else {
                ListKind::Keyed(keys)
            }
        };
        match self.source {
            Source::Unknown => ListKind::Atomic,
            Source::Schema(schema) => match json::text(schema, &["x-kubernetes-list-type"]) {
                "set" => ListKind::Set,
                "map" => keyed(
                    json::list(schema, &["x-kubernetes-list-map-keys"])
                        .iter()
                        .filter_map(Value::as_str)
                        .map(str::to_owned)
                        .collect(),
                ),
                _ => ListKind::Atomic,
            },
            Source::Table if self.is_finalizers() => ListKind::Set,
            Source::Table => {
                let row = self.row();
                keyed(row.map_or_else(Vec::new, |(_, _, keys, _)| {
                    keys.iter().map(|key| (*key).to_owned()).collect()
                }))
            }
        }
    }

    /// True when the map at this place is replaced as a whole.
    pub(crate) fn is_atomic_map(self) -> bool {
        match self.source {
            Source::Unknown => false,
            Source::Schema(schema) => json::text(schema, &["x-kubernetes-map-type"]) == "atomic",
            Source::Table => ATOMIC_MAPS.contains(&self.field),
        }
    }

    /// What a strategic merge patch tells the items of this list apart by.
    pub(crate) fn merge_key(self) -> Option<&'static str> {
        self.row()
            .map(|(_, _, _, key)| *key)
            .filter(|key| !key.is_empty())
    }

    /// True when a strategic merge patch adds to this list of scalars.
    pub(crate) fn is_finalizers(self) -> bool {
        self.parent == "metadata" && self.field == "finalizers"
    }

    fn row(
        self,
    ) -> Option<&'static (
        &'static str,
        &'static str,
        &'static [&'static str],
        &'static str,
    )> {
        LISTS.iter().find(|(parent, field, _, _)| {
            *field == self.field && (parent.is_empty() || *parent == self.parent)
        })
    }
}
