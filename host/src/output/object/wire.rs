//! The requests of an object that takes outputs, a GET, a server-side apply and the patch
//! that takes a mark away, and what their answers mean.

use std::{collections::BTreeMap, time::Duration};

use http::{Method, StatusCode, header};
use http_body_util::BodyExt;
use kube::{Client, client::Body};
use serde::Deserialize;
use serde_json::Value;

use super::key::KeyError;
use crate::{
    chain::{chain, printable},
    output::ObjectTarget,
    plugin::OutputName,
};

/// Who the API server is told writes the outputs.
pub(super) const MANAGER: &str = "haptic-host";

/// How long an answer may take, its body included. An API server in trouble answers
/// 503 or 504 after some seconds; a plugin's outputs are not to wait for one that
/// says nothing.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);

/// Bytes of an answer that are read: an object holds 1 MiB, which base64 and escapes
/// make larger, and its managedFields name each of its keys.
const MAX_ANSWER: usize = 8 << 20;

/// Characters of the server's own words that are passed on.
const EXCERPT: usize = 500;

/// Why an object could not take outputs.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// An output has a name that no key can have.
    #[error("output {name} cannot be a key of it: {reason}")]
    Key {
        /// The output.
        name: OutputName,
        /// Why.
        reason: KeyError,
    },
    /// More than an object holds. Nothing was sent.
    #[error(
        "it would hold {total} bytes, {others} of them in keys that this commit does not write, and an object holds {limit} at most: render less, or write to a directory"
    )]
    TooLarge {
        /// Bytes of all values.
        total: usize,
        /// Bytes of values that stay.
        others: usize,
        /// The API server's limit.
        limit: usize,
    },
    /// Keys that somebody else has written.
    #[error("{}", owned(.0))]
    Conflict(Vec<Owned>),
    /// A right is missing, or the server refuses for a reason of its own.
    #[error(
        "the API server does not allow to {verb} {resource} in namespace {namespace}; the host needs get, create and patch on it: {message}"
    )]
    Forbidden {
        /// What was asked for.
        verb: &'static str,
        /// The resource.
        resource: &'static str,
        /// Where.
        namespace: String,
        /// The server's own words.
        message: String,
    },
    /// The namespace does not exist.
    #[error("there is no namespace {0}: create it, or name another one in the output")]
    NoNamespace(String),
    /// Others changed the object each time between it was read and written.
    #[error("others changed it {0} times while it was to be written")]
    Raced(u32),
    /// The server refused for another reason.
    #[error("the API server answered {status}: {message}")]
    Refused {
        /// HTTP status code.
        status: u16,
        /// Its own words.
        message: String,
    },
    /// There was no answer in time. Whether the outputs are in place is not known.
    #[error("the API server did not answer a {verb} within {limit:?}")]
    Timeout {
        /// What was asked for.
        verb: &'static str,
        /// How long it was waited.
        limit: Duration,
    },
    /// There was no answer, or half of one.
    #[error("the API server cannot be reached: {0}")]
    Transport(String),
    /// The answer is no such object.
    #[error("the API server's answer cannot be read: {0}")]
    Unreadable(String),
}

/// A key that a field manager has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    /// The key, or another field.
    pub key: String,
    /// Who has it, as the API server calls it.
    pub manager: String,
}

fn owned(keys: &[Owned]) -> String {
    let named: Vec<String> = keys
        .iter()
        .map(|Owned { key, manager }| format!("key {key:?} belongs to field manager {manager}"))
        .collect();
    format!(
        "{}: remove it there, or take it over with --force-conflicts (`forceConflicts: true` in the configuration)",
        named.join(", ")
    )
}

impl ObjectError {
    /// Whether the cluster failed, and not the outputs or the configuration (contract O3).
    #[must_use]
    pub fn is_of_the_cluster(&self) -> bool {
        match self {
            Self::Key { .. } | Self::TooLarge { .. } | Self::Conflict(_) | Self::NoNamespace(_) => {
                false
            }
            Self::Refused { status, .. } => *status == 401 || *status == 429 || *status >= 500,
            Self::Forbidden { .. }
            | Self::Raced(_)
            | Self::Timeout { .. }
            | Self::Transport(_)
            | Self::Unreadable(_) => true,
        }
    }
}

/// An object as the server has it.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Live {
    pub(super) metadata: Metadata,
    /// Texts of a ConfigMap, base64 of a Secret.
    pub(super) data: BTreeMap<String, String>,
    /// Base64.
    pub(super) binary_data: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Metadata {
    pub(super) resource_version: String,
    pub(super) annotations: BTreeMap<String, String>,
    managed_fields: Vec<Managed>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Managed {
    manager: String,
    operation: String,
    subresource: String,
    fields_v1: Value,
}

impl Live {
    /// Whether this host, or another one, has applied this key of `section`.
    pub(super) fn is_ours(&self, section: &str, key: &str) -> bool {
        let (section, key) = (format!("f:{section}"), format!("f:{key}"));
        self.metadata.managed_fields.iter().any(|entry| {
            entry.manager == MANAGER
                && entry.operation == "Apply"
                && entry.subresource.is_empty()
                && entry.fields_v1[&section].get(&key).is_some()
        })
    }
}

/// What an apply came to.
#[derive(Debug)]
pub(super) enum Applied {
    /// It is done.
    Done,
    /// The object is not the one that was read any more.
    Raced,
}

/// The object; `None`: there is none.
pub(super) async fn get(
    client: &Client,
    object: &ObjectTarget,
) -> Result<Option<Live>, ObjectError> {
    let path = path(object);
    let (status, body) = send(client, "get", Method::GET, &path, None).await?;
    match status {
        StatusCode::OK => serde_json::from_slice(&body)
            .map(Some)
            .map_err(|error| ObjectError::Unreadable(error.to_string())),
        StatusCode::NOT_FOUND => Ok(None),
        _ => Err(refused("get", object, status, &body)),
    }
}

/// Applies a configuration of the object.
pub(super) async fn apply(
    client: &Client,
    object: &ObjectTarget,
    config: &Value,
    force: bool,
) -> Result<Applied, ObjectError> {
    let path = format!("{}?fieldManager={MANAGER}&force={force}", path(object));
    // JSON is YAML.
    let body = (config.to_string(), "application/apply-patch+yaml");
    patch(client, object, &path, body).await
}

/// Removes an annotation from the version of the object that was read.
pub(super) async fn remove_annotation(
    client: &Client,
    object: &ObjectTarget,
    annotation: &str,
    version: &str,
) -> Result<Applied, ObjectError> {
    let path = format!("{}?fieldManager={MANAGER}", path(object));
    let change = serde_json::json!({
        "metadata": {"resourceVersion": version, "annotations": {annotation: null}}
    });
    let body = (change.to_string(), "application/merge-patch+json");
    patch(client, object, &path, body).await
}

async fn patch(
    client: &Client,
    object: &ObjectTarget,
    path: &str,
    body: (String, &'static str),
) -> Result<Applied, ObjectError> {
    let (status, body) = send(client, "patch", Method::PATCH, path, Some(body)).await?;
    match status {
        StatusCode::OK | StatusCode::CREATED => Ok(Applied::Done),
        StatusCode::CONFLICT => match conflicts(&body) {
            owned if owned.is_empty() => Ok(Applied::Raced),
            owned => Err(ObjectError::Conflict(owned)),
        },
        // Patching makes what is missing; what can be missing is the namespace.
        StatusCode::NOT_FOUND => Err(ObjectError::NoNamespace(object.namespace().to_owned())),
        _ => Err(refused("patch", object, status, &body)),
    }
}

fn path(object: &ObjectTarget) -> String {
    format!(
        "/api/v1/namespaces/{}/{}/{}",
        object.namespace(),
        object.kind.resource(),
        object.name
    )
}

async fn send(
    client: &Client,
    verb: &'static str,
    method: Method,
    path: &str,
    body: Option<(String, &'static str)>,
) -> Result<(StatusCode, Vec<u8>), ObjectError> {
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header(header::ACCEPT, "application/json");
    let request = match body {
        Some((body, kind)) => request
            .header(header::CONTENT_TYPE, kind)
            .body(Body::from(body.into_bytes())),
        None => request.body(Body::empty()),
    };
    let request = request.map_err(|error| ObjectError::Transport(error.to_string()))?;
    let exchange = async {
        let transport = |error: &kube::Error| ObjectError::Transport(chain(error));
        let response = client.send(request).await.map_err(|e| transport(&e))?;
        let (parts, mut stream) = response.into_parts();
        let mut body = Vec::new();
        while let Some(frame) = stream.frame().await {
            let frame = frame.map_err(|e| transport(&e))?;
            // Trailers carry nothing for us.
            if let Ok(data) = frame.into_data() {
                body.extend_from_slice(&data);
            }
            if body.len() > MAX_ANSWER {
                let error = format!("it is longer than {MAX_ANSWER} bytes");
                return Err(ObjectError::Unreadable(error));
            }
        }
        Ok((parts.status, body))
    };
    match tokio::time::timeout(DEADLINE, exchange).await {
        Ok(answer) => answer,
        Err(_elapsed) => Err(ObjectError::Timeout {
            verb,
            limit: DEADLINE,
        }),
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    message: String,
    details: Details,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Details {
    causes: Vec<Cause>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Cause {
    reason: String,
    message: String,
    field: String,
}

/// Who has what, of a refusal to apply; nothing: it is another conflict.
fn conflicts(body: &[u8]) -> Vec<Owned> {
    let status: Status = serde_json::from_slice(body).unwrap_or_default();
    let causes = status.details.causes.into_iter();
    causes
        .filter(|cause| cause.reason == "FieldManagerConflict")
        .map(|cause| {
            let key = [".data.", ".binaryData."]
                .iter()
                .find_map(|section| cause.field.strip_prefix(section))
                .unwrap_or(&cause.field);
            // `conflict with "kubectl-edit" using v1`
            let manager = cause.message.strip_prefix("conflict with ");
            Owned {
                key: printable(key),
                manager: printable(manager.unwrap_or(&cause.message)),
            }
        })
        .collect()
}

fn refused(
    verb: &'static str,
    object: &ObjectTarget,
    status: StatusCode,
    body: &[u8],
) -> ObjectError {
    // A proxy's answer is no Status.
    let message = match serde_json::from_slice::<Status>(body) {
        Ok(status) if !status.message.is_empty() => status.message,
        _ => String::from_utf8_lossy(body).into_owned(),
    };
    let message = printable(message.chars().take(EXCERPT).collect::<String>().trim());
    if status != StatusCode::FORBIDDEN {
        return ObjectError::Refused {
            status: status.as_u16(),
            message,
        };
    }
    ObjectError::Forbidden {
        // Applying to what is missing is creating, and is asked for as such.
        verb: match message.contains("cannot create ") {
            true => "create",
            false => verb,
        },
        resource: object.kind.resource(),
        namespace: object.namespace().to_owned(),
        message,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::output::ObjectKind;

    #[test]
    fn o2_a_refusal_to_apply_names_who_has_which_key() {
        let status = json!({
            "kind": "Status", "code": 409, "reason": "Conflict", "message": "Apply failed",
            "details": {"causes": [
                {"reason": "FieldManagerConflict", "field": ".data.haproxy.cfg",
                 "message": "conflict with \"kubectl-edit\" using v1"},
                {"reason": "FieldManagerConflict", "field": ".binaryData.x",
                 "message": "conflict with \"other\""},
            ]},
        });
        let error = ObjectError::Conflict(conflicts(status.to_string().as_bytes()));
        assert_eq!(
            error.to_string(),
            "key \"haproxy.cfg\" belongs to field manager \"kubectl-edit\" using v1, \
             key \"x\" belongs to field manager \"other\": remove it there, or take it over \
             with --force-conflicts (`forceConflicts: true` in the configuration)"
        );
        let raced = json!({"message": "the object has been modified"}).to_string();
        assert_eq!(conflicts(raced.as_bytes()), []);
    }

    #[test]
    fn o2_a_missing_right_is_named_with_verb_resource_and_namespace() {
        let check = |verb, message: &str, named: &str| {
            let body = json!({"kind": "Status", "message": message}).to_string();
            let object = ObjectTarget {
                kind: ObjectKind::ConfigMap,
                namespace: Some("shop".to_owned()),
                name: "x".to_owned(),
            };
            let error = refused(verb, &object, StatusCode::FORBIDDEN, body.as_bytes());
            let text = error.to_string();
            assert!(text.contains(named) && text.ends_with(message), "{text}");
        };
        check(
            "patch",
            "User \"u\" cannot patch resource",
            "to patch configmaps in namespace shop",
        );
        check(
            "patch",
            "User \"u\" cannot create resource",
            "to create configmaps in namespace shop",
        );
        check("get", "no", "to get configmaps in namespace shop");
    }
}
