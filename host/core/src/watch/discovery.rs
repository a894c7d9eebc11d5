//! Owns the reading of an `APIResourceList`: what the server says about one
//! resource of a group and version.

use serde::Deserialize;

/// A resource as the server serves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resolved {
    pub(super) kind: String,
    pub(super) api_version: String,
    pub(super) namespaced: bool,
}

/// What discovery says about a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// It is served.
    Served(Resolved),
    /// The group and version are there, the resource is not.
    Absent,
    /// It is served, but this verb is not: `list` or `watch`.
    Without(&'static str),
}

#[derive(Deserialize)]
struct ApiResourceList {
    resources: Vec<ApiResource>,
}

#[derive(Deserialize)]
struct ApiResource {
    name: String,
    #[serde(default)]
    namespaced: bool,
    kind: String,
    #[serde(default)]
    verbs: Vec<String>,
}

/// Looks for the plural name `resource`. Subresources (`pods/status`) have a slash in
/// their names and so are never found.
pub(super) fn find(
    body: &[u8],
    api_version: String,
    resource: &str,
) -> Result<Finding, serde_json::Error> {
    let list: ApiResourceList = serde_json::from_slice(body)?;
    let Some(found) = list
        .resources
        .into_iter()
        .find(|candidate| candidate.name == resource)
    else {
        return Ok(Finding::Absent);
    };
    // Servers that say nothing about verbs are believed to have them.
    for verb in ["list", "watch"] {
        if !found.verbs.is_empty() && !found.verbs.iter().any(|has| has == verb) {
            return Ok(Finding::Without(verb));
        }
    }
    Ok(Finding::Served(Resolved {
        kind: found.kind,
        api_version,
        namespaced: found.namespaced,
    }))
}
