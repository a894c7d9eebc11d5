//! What a host asks an API server for, as RBAC sees it, and the least rules that allow it
//! (contract K4). Owns which requests a watch, a Lease and an output lead to; knows nothing of
//! YAML, and asks no server.
//!
//! Discovery (`/api/v1`, `/apis/GROUP/VERSION`) and `/version` are not in here: clusters grant them
//! to everybody who is authenticated (`system:discovery`, `system:public-info-viewer`).

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use haptic_core::spec::{ScopeSpec, Storage, WatchPlan};

use crate::output::ObjectTarget;

/// Where a right holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Everywhere: a ClusterRole.
    Cluster,
    /// In this namespace: a Role.
    Namespace(String),
}

/// A verb of RBAC that the host uses, in the order in which rules have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// Reads one object.
    Get,
    /// Reads a collection, or one object of it by a field selector.
    List,
    /// The same, and what happens next.
    Watch,
    /// Makes an object.
    Create,
    /// Replaces an object.
    Update,
    /// Changes an object; server-side apply.
    Patch,
}

impl Verb {
    const ALL: [Self; 6] = [
        Self::Get,
        Self::List,
        Self::Watch,
        Self::Create,
        Self::Update,
        Self::Patch,
    ];

    /// The verb that a rule has so; `None` for one that the host does not use.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.as_str() == text)
    }

    /// As a rule has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
        }
    }
}

/// The right to do one thing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// Where.
    pub place: Place,
    /// API group; empty: the core group.
    pub group: String,
    /// Plural.
    pub resource: String,
    /// Only the object of this name; `None`: any.
    pub name: Option<String>,
    /// What.
    pub verb: Verb,
}

impl Right {
    /// Whether who has this right needs no `other`.
    #[must_use]
    pub fn includes(&self, other: &Self) -> bool {
        (self.place == Place::Cluster || self.place == other.place)
            && self.group == other.group
            && self.resource == other.resource
            && (self.name.is_none() || self.name == other.name)
            && self.verb == other.verb
    }
}

/// As in `list secrets/tls in shop`.
impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb.as_str(), self.resource)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        if let Some(name) = &self.name {
            write!(f, "/{name}")?;
        }
        match &self.place {
            Place::Cluster => f.write_str(" everywhere"),
            Place::Namespace(namespace) => write!(f, " in {namespace}"),
        }
    }
}

/// One rule of a role, as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// API group.
    pub group: String,
    /// Plurals, in order.
    pub resources: Vec<String>,
    /// The only objects; empty: any.
    pub names: Vec<String>,
    /// In order.
    pub verbs: Vec<Verb>,
}

/// Rights, none of which follows from another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights(BTreeSet<Right>);

impl Rights {
    /// What a watch needs: list and watch, and get where bodies are fetched on demand. Where the
    /// watch asks for one name (its own, or by a field selector), an API server applies
    /// `resourceNames` to lists and watches too.
    pub fn add_watch(&mut self, plan: &WatchPlan, own_namespace: &str) {
        let places = match &plan.scope {
            ScopeSpec::AllNamespaces => vec![Place::Cluster],
            ScopeSpec::OwnNamespace => vec![Place::Namespace(own_namespace.to_owned())],
            ScopeSpec::Namespaces(list) => list.iter().cloned().map(Place::Namespace).collect(),
        };
        let name = plan.object_name.clone().or_else(|| selected_name(plan));
        let verbs: &[Verb] = match plan.storage {
            Storage::Memory => &[Verb::List, Verb::Watch],
            Storage::Cached => &[Verb::Get, Verb::List, Verb::Watch],
        };
        for place in places {
            for &verb in verbs {
                self.add(Right {
                    place: place.clone(),
                    group: plan.resource.group.clone(),
                    resource: plan.resource.resource.clone(),
                    name: name.clone(),
                    verb,
                });
            }
        }
    }

    /// What contending for a Lease needs. RBAC cannot tie `create` to a name: a POST has it in its
    /// body.
    pub fn add_lease(&mut self, namespace: &str, name: &str) {
        for (verb, name) in [
            (Verb::Get, Some(name)),
            (Verb::Update, Some(name)),
            (Verb::Create, None),
        ] {
            self.add(Right {
                place: Place::Namespace(namespace.to_owned()),
                group: "coordination.k8s.io".to_owned(),
                resource: "leases".to_owned(),
                name: name.map(str::to_owned),
                verb,
            });
        }
    }

    /// What server-side applies to an object need. Creating by them is asked for with the object's
    /// name, so a Role may name it for all three.
    pub fn add_output(&mut self, namespace: &str, object: &ObjectTarget) {
        for verb in [Verb::Get, Verb::Create, Verb::Patch] {
            self.add(Right {
                place: Place::Namespace(namespace.to_owned()),
                group: String::new(),
                resource: object.kind.resource().to_owned(),
                name: Some(object.name.clone()),
                verb,
            });
        }
    }

    /// Adds a right, unless it follows from one that is there; drops those that follow from it.
    pub fn add(&mut self, right: Right) {
        if !self.allows(&right) {
            self.0.retain(|known| !right.includes(known));
            self.0.insert(right);
        }
    }

    /// Whether this may be done.
    #[must_use]
    pub fn allows(&self, right: &Right) -> bool {
        self.0.iter().any(|known| known.includes(right))
    }

    /// Each of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Right> {
        self.0.iter()
    }

    /// The rules of each role: rights that differ in their name, their verb or their resource
    /// alone stand together.
    #[must_use]
    pub fn rules(&self) -> BTreeMap<Place, Vec<Rule>> {
        // By place, group and resource: the verbs of each name.
        let mut verbs: BTreeMap<_, BTreeMap<Option<String>, Vec<Verb>>> = BTreeMap::new();
        for right in &self.0 {
            let key = (
                right.place.clone(),
                right.group.clone(),
                right.resource.clone(),
            );
            let names = verbs.entry(key).or_default();
            names
                .entry(right.name.clone())
                .or_default()
                .push(right.verb);
        }
        let mut places: BTreeMap<Place, Vec<Rule>> = BTreeMap::new();
        for ((place, group, resource), names) in verbs {
            let rules = places.entry(place).or_default();
            for (name, verbs) in names {
                let same = rules.iter_mut().find(|rule| {
                    let one = rule.resources == [resource.clone()];
                    rule.group == group
                        && rule.verbs == verbs
                        && match &name {
                            Some(_) => one && !rule.names.is_empty(),
                            None => rule.names.is_empty(),
                        }
                });
                match (same, name) {
                    (Some(rule), Some(name)) => rule.names.push(name),
                    (Some(rule), None) => rule.resources.push(resource.clone()),
                    (None, name) => rules.push(Rule {
                        group: group.clone(),
                        resources: vec![resource.clone()],
                        names: name.into_iter().collect(),
                        verbs,
                    }),
                }
            }
        }
        places
    }
}

/// The one name that a watch's field selector leaves.
fn selected_name(plan: &WatchPlan) -> Option<String> {
    plan.server_fields.as_deref()?.split(',').find_map(|part| {
        let (path, value) = part.split_once('=')?;
        (path == "metadata.name").then(|| value.trim_start_matches('=').to_owned())
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use haptic_core::spec::WatchSpec;

    use super::*;
    use crate::output::OutputTarget;

    fn spec(api_version: &str, resources: &str) -> WatchSpec {
        WatchSpec {
            name: resources.to_owned(),
            api_version: api_version.to_owned(),
            resources: resources.to_owned(),
            ..WatchSpec::default()
        }
    }

    fn namespaces(list: &[&str]) -> ScopeSpec {
        ScopeSpec::Namespaces(list.iter().map(|name| (*name).to_owned()).collect())
    }

    /// The rules of some watches, a line each.
    fn rules(specs: &[WatchSpec]) -> Vec<String> {
        let mut rights = Rights::default();
        for spec in specs {
            rights.add_watch(&spec.plan().unwrap(), "own");
        }
        lines(&rights)
    }

    fn lines(rights: &Rights) -> Vec<String> {
        let mut lines = Vec::new();
        for (place, rules) in rights.rules() {
            let place = match place {
                Place::Cluster => "*".to_owned(),
                Place::Namespace(namespace) => namespace,
            };
            for rule in rules {
                let verbs: Vec<_> = rule.verbs.iter().map(|verb| verb.as_str()).collect();
                lines.push(format!(
                    "{place}: {} {}[{}] {}",
                    rule.group,
                    rule.resources.join(","),
                    rule.names.join(","),
                    verbs.join(",")
                ));
            }
        }
        lines
    }

    #[test]
    fn k4_a_watch_needs_list_and_watch_where_it_looks() {
        let all = spec("v1", "services");
        let own = WatchSpec {
            scope: ScopeSpec::OwnNamespace,
            ..all.clone()
        };
        let two = WatchSpec {
            scope: namespaces(&["a", "b"]),
            ..all.clone()
        };
        assert_eq!(
            rules(std::slice::from_ref(&all)),
            ["*:  services[] list,watch"]
        );
        assert_eq!(rules(&[own]), ["own:  services[] list,watch"]);
        assert_eq!(
            rules(std::slice::from_ref(&two)),
            ["a:  services[] list,watch", "b:  services[] list,watch"]
        );
        // What holds everywhere is not repeated in a Role.
        assert_eq!(rules(&[two, all]), ["*:  services[] list,watch"]);
    }

    #[test]
    fn k4_a_cached_store_reads_single_objects_too() {
        let cached = WatchSpec {
            storage: Storage::Cached,
            ..spec("v1", "secrets")
        };
        assert_eq!(rules(&[cached]), ["*:  secrets[] get,list,watch"]);
    }

    #[test]
    fn k4_one_name_is_one_resource_name() {
        let object = |name: &str| WatchSpec {
            name: name.to_owned(),
            object_name: Some(name.to_owned()),
            scope: namespaces(&["shop"]),
            ..spec("v1", "configmaps")
        };
        let selected = |selector: &str| WatchSpec {
            field_selector: Some(selector.to_owned()),
            ..spec("v1", "nodes")
        };
        assert_eq!(
            rules(&[object("one"), object("two")]),
            ["shop:  configmaps[one,two] list,watch"]
        );
        assert_eq!(
            rules(&[selected("metadata.name=n1,spec.unschedulable=false")]),
            ["*:  nodes[n1] list,watch"]
        );
        assert_eq!(
            rules(&[selected("metadata.name!=n1")]),
            ["*:  nodes[] list,watch"]
        );
        // Who may read all of them needs no rule for one.
        let all = WatchSpec {
            name: "all".to_owned(),
            scope: namespaces(&["shop"]),
            ..spec("v1", "configmaps")
        };
        assert_eq!(
            rules(&[object("one"), all]),
            ["shop:  configmaps[] list,watch"]
        );
    }

    #[test]
    fn k4_a_lease_is_made_by_any_name_and_kept_by_its_own() {
        let mut rights = Rights::default();
        rights.add_lease("shop", "render");
        assert_eq!(
            lines(&rights),
            [
                "shop: coordination.k8s.io leases[] create",
                "shop: coordination.k8s.io leases[render] get,update",
            ]
        );
    }

    #[test]
    fn k4_o2_the_rights_of_an_output_are_tied_to_its_name() {
        let mut rights = Rights::default();
        let OutputTarget::Object(object) = "secret:rendered".parse().unwrap() else {
            panic!("an object");
        };
        rights.add_output("shop", &object);
        let verbs = "get,create,patch";
        assert_eq!(
            lines(&rights),
            [format!("shop:  secrets[rendered] {verbs}")]
        );
    }

    #[test]
    fn k4_what_is_alike_stands_in_one_rule() {
        let specs = [
            spec("v1", "services"),
            spec("v1", "endpoints"),
            spec("networking.k8s.io/v1", "ingresses"),
        ];
        assert_eq!(
            rules(&specs),
            [
                "*:  endpoints,services[] list,watch",
                "*: networking.k8s.io ingresses[] list,watch",
            ]
        );
    }
}
