//! Rights as roles, and whom they are bound to.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        core::v1::ServiceAccount,
        rbac::v1::{
            ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
        },
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::yaml::{Document, WriteError};
use crate::rights::{Place, Rights, Rule};

const GROUP: &str = "rbac.authorization.k8s.io";

/// What the objects of one deployment are called, and where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The namespace that the host runs in.
    pub namespace: String,
    /// The name of everything in it.
    pub name: String,
}

impl Owner {
    /// What selects everything of this deployment.
    pub(super) fn labels(&self) -> BTreeMap<String, String> {
        [
            ("app.kubernetes.io/name", "haptic-host"),
            ("app.kubernetes.io/instance", self.name.as_str()),
        ]
        .map(|(label, value)| (label.to_owned(), value.to_owned()))
        .into()
    }

    pub(super) fn metadata(&self, namespace: Option<&str>) -> ObjectMeta {
        let name = match namespace {
            Some(_) => self.name.clone(),
            // All namespaces share these names: another host's role must not be overwritten.
            None => format!("{}:{}", self.namespace, self.name),
        };
        ObjectMeta {
            name: Some(name),
            namespace: namespace.map(str::to_owned),
            labels: Some(self.labels()),
            ..ObjectMeta::default()
        }
    }

    /// The account that the host runs as.
    pub(super) fn account(&self) -> ServiceAccount {
        ServiceAccount {
            metadata: self.metadata(Some(&self.namespace)),
            // The pod that needs the token mounts it, and no other.
            automount_service_account_token: Some(false),
            ..ServiceAccount::default()
        }
    }

    fn subject(&self) -> Subject {
        Subject {
            kind: "ServiceAccount".to_owned(),
            name: self.name.clone(),
            namespace: Some(self.namespace.clone()),
            ..Subject::default()
        }
    }
}

/// The roles that hold these rights, under a comment; with `bind`, the account before them and a
/// binding after each.
///
/// # Errors
/// [`WriteError`].
pub fn roles(
    rights: &Rights,
    owner: &Owner,
    bind: bool,
    comment: &[String],
) -> Result<Vec<Document>, WriteError> {
    let none = Vec::<String>::new;
    let mut documents = Vec::new();
    let mut comment = Some(comment.to_vec());
    if bind {
        documents.push(Document::new(
            comment.take().unwrap_or_default(),
            &owner.account(),
        )?);
    }
    for (place, rules) in rights.rules() {
        let rules = Some(rules.into_iter().map(policy).collect());
        let comment = comment.take().unwrap_or_default();
        match place {
            Place::Cluster => {
                let metadata = owner.metadata(None);
                let name = metadata.name.clone().unwrap_or_default();
                let role = ClusterRole {
                    metadata: metadata.clone(),
                    rules,
                    ..ClusterRole::default()
                };
                documents.push(Document::new(comment, &role)?);
                if bind {
                    let binding = ClusterRoleBinding {
                        metadata,
                        role_ref: role_ref("ClusterRole", name),
                        subjects: Some(vec![owner.subject()]),
                    };
                    documents.push(Document::new(none(), &binding)?);
                }
            }
            Place::Namespace(namespace) => {
                let mut metadata = owner.metadata(Some(&namespace));
                if namespace != owner.namespace {
                    // Another namespace's host may be called the same.
                    metadata.name = Some(format!("{}:{}", owner.namespace, owner.name));
                }
                let name = metadata.name.clone().unwrap_or_default();
                let role = Role {
                    metadata: metadata.clone(),
                    rules,
                };
                documents.push(Document::new(comment, &role)?);
                if bind {
                    let binding = RoleBinding {
                        metadata,
                        role_ref: role_ref("Role", name),
                        subjects: Some(vec![owner.subject()]),
                    };
                    documents.push(Document::new(none(), &binding)?);
                }
            }
        }
    }
    Ok(documents)
}

fn policy(rule: Rule) -> PolicyRule {
    PolicyRule {
        api_groups: Some(vec![rule.group]),
        resources: Some(rule.resources),
        resource_names: (!rule.names.is_empty()).then_some(rule.names),
        verbs: rule
            .verbs
            .iter()
            .map(|verb| verb.as_str().to_owned())
            .collect(),
        ..PolicyRule::default()
    }
}

fn role_ref(kind: &str, name: String) -> RoleRef {
    RoleRef {
        api_group: Some(GROUP.to_owned()),
        kind: kind.to_owned(),
        name,
    }
}
