//! Discovery: which groups, versions and resources there are, in the legacy
//! and in the aggregated form.

use http::HeaderMap;
use serde_json::{Value, json};

use crate::request::accepted;
use crate::resources::{Registry, Resource, api_version};

/// The answer to `/version`; the number is that of the API whose behaviour is followed.
pub(crate) fn version() -> Value {
    json!({
        "major": "1",
        "minor": "32",
        "gitVersion": "v1.32.0+haptic",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    })
}

/// The version of `APIGroupDiscoveryList` that the client accepts before plain JSON.
pub(crate) fn aggregated_version(headers: &HeaderMap) -> Option<&'static str> {
    let media = accepted(headers).into_iter().find(|media| {
        let aggregated = media.parameter("as") == "APIGroupDiscoveryList";
        media.is_json() && (!aggregated || matches!(media.parameter("v"), "v2" | "v2beta1"))
    })?;
    match (media.parameter("as"), media.parameter("v")) {
        ("APIGroupDiscoveryList", "v2") => Some("v2"),
        ("APIGroupDiscoveryList", "v2beta1") => Some("v2beta1"),
        _ => None,
    }
}

/// `/api` (the core group) or `/apis` (the others), aggregated.
pub(crate) fn aggregated(registry: &Registry, core: bool, version: &str) -> Value {
    let groups: Vec<Value> = registry
        .groups()
        .iter()
        .filter(|group| group.is_empty() == core)
        .map(|group| {
            let versions: Vec<Value> = registry
                .versions(group)
                .iter()
                .map(|(version, resources)| {
                    let resources: Vec<Value> = resources
                        .iter()
                        .map(|resource| aggregated_resource(resource))
                        .collect();
                    json!({"version": version, "resources": resources, "freshness": "Current"})
                })
                .collect();
            let metadata = if group.is_empty() {
                json!({"creationTimestamp": null})
            } else {
                json!({"name": group, "creationTimestamp": null})
            };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {},
        "items": groups,
    })
}

fn aggregated_resource(resource: &Resource) -> Value {
    let mut value = json!({
        "resource": resource.plural,
        "responseKind": {"group": resource.group, "version": resource.version, "kind": resource.kind},
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular,
        "verbs": resource.verbs(),
    });
    if !resource.short_names.is_empty() {
        value["shortNames"] = resource.short_names.clone().into();
    }
    if !resource.categories.is_empty() {
        value["categories"] = resource.categories.clone().into();
    }
    let subresources: Vec<Value> = subresources(resource)
        .into_iter()
        .map(|(name, group, version, kind, verbs)| {
            json!({
                "subresource": name,
                "responseKind": {"group": group, "version": version, "kind": kind},
                "verbs": verbs,
            })
        })
        .collect();
    if !subresources.is_empty() {
        value["subresources"] = subresources.into();
    }
    value
}

type Subresource = (&'static str, String, String, String, Vec<&'static str>);

fn subresources(resource: &Resource) -> Vec<Subresource> {
    let own = |name: &'static str, verbs: &[&'static str]| {
        (
            name,
            resource.group.clone(),
            resource.version.clone(),
            resource.kind.clone(),
            verbs.to_vec(),
        )
    };
    let mut found = Vec::new();
    if resource.is("", "namespaces") {
        found.push(own("finalize", &["update"]));
    }
    if resource.scale {
        found.push((
            "scale",
            "autoscaling".to_owned(),
            "v1".to_owned(),
            "Scale".to_owned(),
            vec!["get", "patch", "update"],
        ));
    }
    if resource.status {
        found.push(own("status", &["get", "patch", "update"]));
    }
    found
}

/// `/api`, legacy.
pub(crate) fn api_versions(address: &str) -> Value {
    json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    })
}

/// `/apis`, legacy.
pub(crate) fn group_list(registry: &Registry) -> Value {
    let groups: Vec<Value> = registry
        .groups()
        .iter()
        .filter(|group| !group.is_empty())
        .map(|name| group(registry, name))
        .collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/GROUP`; `None` when there is no such group.
pub(crate) fn one_group(registry: &Registry, name: &str) -> Option<Value> {
    if name.is_empty() || !registry.groups().iter().any(|known| known == name) {
        return None;
    }
    let mut value = group(registry, name);
    value["kind"] = "APIGroup".into();
    value["apiVersion"] = "v1".into();
    Some(value)
}

fn group(registry: &Registry, name: &str) -> Value {
    let versions: Vec<Value> = registry
        .versions(name)
        .into_iter()
        .map(
            |(version, _)| json!({"groupVersion": api_version(name, &version), "version": version}),
        )
        .collect();
    let preferred = versions.first().cloned().unwrap_or_default();
    json!({"name": name, "versions": versions, "preferredVersion": preferred})
}

/// `/api/v1` or `/apis/GROUP/VERSION`; `None` when it is not served.
pub(crate) fn resource_list(registry: &Registry, group: &str, version: &str) -> Option<Value> {
    let (_, resources) = registry
        .versions(group)
        .into_iter()
        .find(|(known, _)| known == version)?;
    let mut listed = Vec::new();
    for resource in &resources {
        let mut entry = json!({
            "name": resource.plural,
            "singularName": resource.singular,
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": resource.verbs(),
        });
        if !resource.short_names.is_empty() {
            entry["shortNames"] = resource.short_names.clone().into();
        }
        if !resource.categories.is_empty() {
            entry["categories"] = resource.categories.clone().into();
        }
        listed.push(entry);
        for (name, group, version, kind, verbs) in subresources(resource) {
            let mut entry = json!({
                "name": format!("{}/{name}", resource.plural),
                "singularName": "",
                "namespaced": resource.namespaced,
                "kind": kind,
                "verbs": verbs,
            });
            if name == "scale" {
                entry["group"] = group.into();
                entry["version"] = version.into();
            }
            listed.push(entry);
        }
    }
    Some(json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": api_version(group, version),
        "resources": listed,
    }))
}
