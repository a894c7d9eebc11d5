//! What a plugin may watch (contract P8): checked when it has described itself,
//! before anything is watched.

use std::{fmt, str::FromStr};

use haptic_core::spec::{ScopeSpec, WatchPlan};

/// One `--allow`: a resource, perhaps of a named group, perhaps in one namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// `declared`: everything the plugin declares, except Secrets.
    Declared,
    /// `ingresses`, `ingresses.networking.k8s.io`, `secrets/shop`.
    Resource {
        /// Plural.
        resource: String,
        /// Group; `None`: any.
        group: Option<String>,
        /// Namespace; `None`: all.
        namespace: Option<String>,
    },
}

/// A grant that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no grant: write a resource such as `secrets`, `secrets/NAMESPACE` or `ingresses.networking.k8s.io`, or `declared` for all that the plugin declares but Secrets"
)]
pub struct GrantError(String);

impl FromStr for Grant {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        if text == "declared" {
            return Ok(Self::Declared);
        }
        let word = |part: &str| {
            !part.is_empty()
                && part
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.'))
        };
        let (kind, namespace) = match text.split_once('/') {
            Some((kind, namespace)) => (kind, Some(namespace)),
            None => (text, None),
        };
        if !word(kind) || namespace.is_some_and(|n| !word(n)) {
            return Err(GrantError(text.to_owned()));
        }
        let (resource, group) = match kind.split_once('.') {
            Some((resource, group)) => (resource, Some(group.to_owned())),
            None => (kind, None),
        };
        Ok(Self::Resource {
            resource: resource.to_owned(),
            group,
            namespace: namespace.map(str::to_owned),
        })
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Declared => f.write_str("declared"),
            Self::Resource {
                resource,
                group,
                namespace,
            } => {
                f.write_str(resource)?;
                if let Some(group) = group {
                    write!(f, ".{group}")?;
                }
                match namespace {
                    Some(namespace) => write!(f, "/{namespace}"),
                    None => Ok(()),
                }
            }
        }
    }
}

/// A watch that no grant covers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("watch {watch:?} reads {what}, which is not allowed")]
pub struct Refusal {
    /// The watch.
    pub watch: String,
    /// What it reads, and where.
    pub what: String,
    /// The grant that it lacks.
    pub flag: String,
}

/// What to write so that everything refused is allowed as well.
#[must_use]
pub fn advice(grants: &[Grant], refused: &[Refusal]) -> String {
    let mut all: Vec<String> = match grants {
        // Naming anything takes away what holds without a grant.
        [] => vec![Grant::Declared.to_string()],
        given => given.iter().map(ToString::to_string).collect(),
    };
    for refusal in refused {
        if !all.contains(&refusal.flag) {
            all.push(refusal.flag.clone());
        }
    }
    format!(
        "allow it with --allow {}, or with allow: [{}] in the configuration",
        all.join(","),
        all.join(", ")
    )
}

/// Checks the watches of one plugin; answers every one that is refused.
#[must_use]
pub fn refusals(grants: &[Grant], plans: &[WatchPlan], own_namespace: &str) -> Vec<Refusal> {
    plans
        .iter()
        .filter(|plan| !granted(grants, plan, own_namespace))
        .map(|plan| {
            let resource = &plan.resource.resource;
            let namespaces = namespaces(plan, own_namespace);
            let place = match &namespaces {
                None => " in all namespaces".to_owned(),
                Some(list) => format!(" in {}", list.join(", ")),
            };
            let flag = match &namespaces {
                None => resource.clone(),
                Some(list) => list
                    .iter()
                    .map(|namespace| format!("{resource}/{namespace}"))
                    .collect::<Vec<_>>()
                    .join(","),
            };
            Refusal {
                watch: plan.name.clone(),
                what: format!("{resource}{place}"),
                flag,
            }
        })
        .collect()
}

fn namespaces<'a>(plan: &'a WatchPlan, own_namespace: &'a str) -> Option<Vec<&'a str>> {
    match &plan.scope {
        ScopeSpec::AllNamespaces => None,
        ScopeSpec::OwnNamespace => Some(vec![own_namespace]),
        ScopeSpec::Namespaces(list) => Some(list.iter().map(String::as_str).collect()),
    }
}

fn granted(grants: &[Grant], plan: &WatchPlan, own_namespace: &str) -> bool {
    let secret = plan.resource.resource == "secrets" && plan.resource.group.is_empty();
    if !secret && (grants.is_empty() || grants.contains(&Grant::Declared)) {
        return true;
    }
    let covers = |namespace: Option<&str>| {
        grants.iter().any(|grant| match grant {
            Grant::Declared => false,
            Grant::Resource {
                resource,
                group,
                namespace: granted,
            } => {
                *resource == plan.resource.resource
                    && group
                        .as_ref()
                        .is_none_or(|group| *group == plan.resource.group)
                    && (granted.is_none() || granted.as_deref() == namespace)
            }
        })
    };
    match namespaces(plan, own_namespace) {
        None => covers(None),
        Some(list) => list.iter().all(|namespace| covers(Some(namespace))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use haptic_core::spec::WatchSpec;

    use super::*;

    fn plan(resources: &str, scope: ScopeSpec) -> WatchPlan {
        let api_version = if resources == "ingresses" {
            "networking.k8s.io/v1"
        } else {
            "v1"
        };
        WatchSpec {
            name: resources.to_owned(),
            api_version: api_version.to_owned(),
            resources: resources.to_owned(),
            scope,
            ..WatchSpec::default()
        }
        .plan()
        .unwrap()
    }

    fn refused(grants: &[&str], resources: &str, scope: ScopeSpec) -> Vec<String> {
        let grants: Vec<Grant> = grants.iter().map(|g| g.parse().unwrap()).collect();
        refusals(&grants, &[plan(resources, scope)], "own")
            .into_iter()
            .map(|r| r.flag)
            .collect()
    }

    #[test]
    fn p8_secrets_always_need_a_grant_and_a_list_of_grants_is_exhaustive() {
        let all = || ScopeSpec::AllNamespaces;
        let shop = || ScopeSpec::Namespaces(vec!["shop".to_owned()]);
        for (grants, resources, scope, needed) in [
            (&[][..], "ingresses", all(), &[][..]),
            (&[], "secrets", all(), &["secrets"]),
            (&[], "secrets", shop(), &["secrets/shop"]),
            (&["secrets"], "secrets", all(), &[]),
            (&["secrets"], "secrets", shop(), &[]),
            (&["secrets/shop"], "secrets", shop(), &[]),
            (&["secrets/shop"], "secrets", all(), &["secrets"]),
            (&["secrets/other"], "secrets", shop(), &["secrets/shop"]),
            (&["secrets/own"], "secrets", ScopeSpec::OwnNamespace, &[]),
            (&["secrets"], "ingresses", all(), &["ingresses"]),
            (&["declared"], "ingresses", all(), &[]),
            (&["declared"], "secrets", all(), &["secrets"]),
            (&["ingresses.networking.k8s.io"], "ingresses", all(), &[]),
            (
                &["ingresses.extensions"],
                "ingresses",
                all(),
                &["ingresses"],
            ),
        ] {
            assert_eq!(
                refused(grants, resources, scope.clone()),
                needed,
                "{grants:?} {resources} {scope:?}"
            );
        }
    }

    #[test]
    fn p8_the_advice_is_one_flag_that_is_enough() {
        let plans = [
            plan("ingresses", ScopeSpec::AllNamespaces),
            plan("secrets", ScopeSpec::AllNamespaces),
        ];
        for (given, advised) in [
            (&[][..], "declared,secrets"),
            (&["secrets"], "secrets,ingresses"),
            (&["pods"], "pods,ingresses,secrets"),
        ] {
            let grants: Vec<Grant> = given.iter().map(|g| g.parse().unwrap()).collect();
            let refused = refusals(&grants, &plans, "own");
            assert!(
                advice(&grants, &refused).starts_with(&format!("allow it with --allow {advised},"))
            );
            let advised: Vec<Grant> = advised.split(',').map(|g| g.parse().unwrap()).collect();
            assert_eq!(refusals(&advised, &plans, "own"), []);
        }
    }

    #[test]
    fn grants_that_mean_nothing_are_refused() {
        for text in ["", "/", "secrets/", "Secrets", "secrets/a/b", "*"] {
            assert!(text.parse::<Grant>().is_err(), "{text:?}");
        }
        for text in [
            "secrets",
            "secrets/shop",
            "ingresses.networking.k8s.io/shop",
            "declared",
        ] {
            assert_eq!(text.parse::<Grant>().unwrap().to_string(), text);
        }
    }
}
