//! The resource types that the server knows: the built-in table, and the
//! registry that adds those of CustomResourceDefinitions.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::Value;

use crate::builtins::BUILTINS;

/// A field selector: the label that a client writes and where its value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SelectableField {
    pub label: String,
    pub path: Vec<String>,
}

/// One column of `additionalPrinterColumns`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PrinterColumn {
    pub name: String,
    pub kind: String,
    pub format: String,
    pub description: String,
    pub priority: i64,
    pub path: String,
}

/// What a CustomResourceDefinition says about one of its versions.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CustomType {
    pub columns: Vec<PrinterColumn>,
    pub schema: Option<Value>,
}

/// One resource of one group and version.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Resource {
    pub group: String,
    pub version: String,
    pub plural: String,
    pub singular: String,
    pub kind: String,
    pub list_kind: String,
    pub namespaced: bool,
    pub short_names: Vec<String>,
    pub categories: Vec<String>,
    /// The status is a subresource of its own.
    pub status: bool,
    /// Has a `/scale` subresource that works on `spec.replicas`.
    pub scale: bool,
    /// The server counts changes of the spec in `metadata.generation`.
    pub generation: bool,
    /// Answers a question; nothing is stored.
    pub review: bool,
    /// PUT on a missing object creates it.
    pub create_on_update: bool,
    /// Fields beyond metadata.name and metadata.namespace that can be selected.
    pub selectable: Vec<SelectableField>,
    /// The sentence for an unsupported field is the type's own, as the server's code has two.
    pub own_field_labels: bool,
    pub custom: Option<CustomType>,
}

/// Names the objects of a type, in whichever version they are read.
pub(crate) type StorageKey = (String, String);

impl Resource {
    /// `v1` or `group/version`.
    pub(crate) fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }

    /// `pods` or `ingresses.networking.k8s.io`.
    pub(crate) fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.plural.clone()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    pub(crate) fn storage(&self) -> StorageKey {
        (self.group.clone(), self.plural.clone())
    }

    pub(crate) fn is(&self, group: &str, plural: &str) -> bool {
        self.group == group && self.plural == plural
    }

    pub(crate) fn verbs(&self) -> Vec<&'static str> {
        if self.review {
            return vec!["create"];
        }
        let mut verbs = vec![
            "create",
            "delete",
            "deletecollection",
            "get",
            "list",
            "patch",
            "update",
            "watch",
        ];
        if self.is("", "namespaces") {
            verbs.retain(|verb| *verb != "deletecollection");
        }
        verbs
    }
}

pub(crate) fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

/// `apps/v1` as group and version; the group of `v1` is empty.
pub(crate) fn split_api_version(text: &str) -> (&str, &str) {
    text.split_once('/').unwrap_or(("", text))
}

/// The types that are served at this moment.
#[derive(Debug, Clone)]
pub(crate) struct Registry {
    by_plural: HashMap<(String, String, String), Arc<Resource>>,
    /// Groups in the order in which clients should prefer them.
    groups: Vec<String>,
}

impl Registry {
    pub(crate) fn builtin() -> Self {
        let mut registry = Self {
            by_plural: HashMap::new(),
            groups: Vec::new(),
        };
        for builtin in BUILTINS {
            registry.add(builtin.to_resource());
        }
        registry
    }

    pub(crate) fn add(&mut self, resource: Resource) {
        if !self.groups.contains(&resource.group) {
            self.groups.push(resource.group.clone());
        }
        let key = (
            resource.group.clone(),
            resource.version.clone(),
            resource.plural.clone(),
        );
        self.by_plural.insert(key, Arc::new(resource));
    }

    /// Takes every version of a custom type out of service.
    pub(crate) fn remove(&mut self, group: &str, plural: &str) {
        self.by_plural
            .retain(|_, resource| !resource.is(group, plural));
        if !self
            .by_plural
            .values()
            .any(|resource| resource.group == group)
        {
            self.groups.retain(|known| known != group);
        }
    }

    pub(crate) fn find(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Resource>> {
        let key = (group.to_owned(), version.to_owned(), plural.to_owned());
        self.by_plural.get(&key).cloned()
    }

    pub(crate) fn find_kind(&self, api_version: &str, kind: &str) -> Option<Arc<Resource>> {
        let (group, version) = split_api_version(api_version);
        self.by_plural
            .values()
            .find(|resource| {
                resource.group == group && resource.version == version && resource.kind == kind
            })
            .cloned()
    }

    /// Group names, the core group included, in order of preference.
    pub(crate) fn groups(&self) -> &[String] {
        &self.groups
    }

    /// The versions of a group, the preferred one first, with their resources by name.
    pub(crate) fn versions(&self, group: &str) -> Vec<(String, Vec<Arc<Resource>>)> {
        let mut versions: BTreeMap<&str, Vec<Arc<Resource>>> = BTreeMap::new();
        for resource in self.by_plural.values() {
            if resource.group == group {
                versions
                    .entry(&resource.version)
                    .or_default()
                    .push(Arc::clone(resource));
            }
        }
        let mut versions: Vec<(String, Vec<Arc<Resource>>)> = versions
            .into_iter()
            .map(|(version, mut resources)| {
                resources.sort_by(|left, right| left.plural.cmp(&right.plural));
                (version.to_owned(), resources)
            })
            .collect();
        versions.sort_by_key(|(version, _)| std::cmp::Reverse(version_priority(version)));
        versions
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.by_plural.values()
    }
}

/// Orders versions as Kubernetes does: v2 before v1 before v1beta1 before the rest.
fn version_priority(version: &str) -> (u8, u64, u64) {
    let Some(rest) = version.strip_prefix('v') else {
        return (0, 0, 0);
    };
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (major, suffix) = rest.split_at(digits);
    let Ok(major) = major.parse() else {
        return (0, 0, 0);
    };
    if suffix.is_empty() {
        return (3, major, 0);
    }
    for (stage, rank) in [("beta", 2), ("alpha", 1)] {
        if let Some(minor) = suffix.strip_prefix(stage) {
            return (rank, major, minor.parse().unwrap_or(0));
        }
    }
    (0, 0, 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn versions_are_ordered_by_maturity_then_number() {
        let mut versions = vec!["v1alpha1", "foo", "v1", "v2beta1", "v2", "v10", "v1beta2"];
        versions.sort_by_key(|version| std::cmp::Reverse(version_priority(version)));
        assert_eq!(
            versions,
            ["v10", "v2", "v1", "v2beta1", "v1beta2", "v1alpha1", "foo"]
        );
    }

    #[test]
    fn no_two_builtins_share_a_name() {
        let registry = Registry::builtin();
        assert_eq!(registry.all().count(), BUILTINS.len());
        let ingress = registry
            .find_kind("networking.k8s.io/v1", "Ingress")
            .unwrap();
        assert_eq!(ingress.qualified(), "ingresses.networking.k8s.io");
        assert_eq!(ingress.short_names, ["ing"]);
    }

    #[test]
    fn the_core_group_is_preferred() {
        assert_eq!(Registry::builtin().groups()[0], "");
    }
}
