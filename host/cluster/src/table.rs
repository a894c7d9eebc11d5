//! Tables: the columns that `kubectl get` prints.

use serde_json::{Value, json};

use crate::clock::{human_age, parse_timestamp};
use crate::json::{at, list, scalar, text};
use crate::render::{Renderer, metadata};
use crate::resources::Resource;
use crate::state::Object;
use crate::status::ApiError;
use crate::{cells, jsonpath};

/// How much of the object comes with each row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum IncludeObject {
    None,
    #[default]
    Metadata,
    Object,
}

/// One column: name, type and priority; priority 1 is shown with `-o wide` only.
type Column = (&'static str, &'static str, u8);

const NAME_AGE: &[Column] = &[("Name", "string", 0), ("Age", "string", 0)];

fn builtin_columns(resource: &Resource) -> &'static [Column] {
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Pod") => &[
            ("Name", "string", 0),
            ("Ready", "string", 0),
            ("Status", "string", 0),
            ("Restarts", "string", 0),
            ("Age", "string", 0),
            ("IP", "string", 1),
            ("Node", "string", 1),
        ],
        ("", "Service") => &[
            ("Name", "string", 0),
            ("Type", "string", 0),
            ("Cluster-IP", "string", 0),
            ("External-IP", "string", 0),
            ("Port(s)", "string", 0),
            ("Age", "string", 0),
            ("Selector", "string", 1),
        ],
        ("networking.k8s.io", "Ingress") => &[
            ("Name", "string", 0),
            ("Class", "string", 0),
            ("Hosts", "string", 0),
            ("Address", "string", 0),
            ("Ports", "string", 0),
            ("Age", "string", 0),
        ],
        ("apps", "Deployment") => &[
            ("Name", "string", 0),
            ("Ready", "string", 0),
            ("Up-to-date", "integer", 0),
            ("Available", "integer", 0),
            ("Age", "string", 0),
            ("Containers", "string", 1),
            ("Images", "string", 1),
            ("Selector", "string", 1),
        ],
        ("apps", "ReplicaSet") => &[
            ("Name", "string", 0),
            ("Desired", "integer", 0),
            ("Current", "integer", 0),
            ("Ready", "integer", 0),
            ("Age", "string", 0),
        ],
        ("apps", "StatefulSet") => &[
            ("Name", "string", 0),
            ("Ready", "string", 0),
            ("Age", "string", 0),
        ],
        ("discovery.k8s.io", "EndpointSlice") => &[
            ("Name", "string", 0),
            ("AddressType", "string", 0),
            ("Ports", "string", 0),
            ("Endpoints", "string", 0),
            ("Age", "string", 0),
        ],
        ("", "Endpoints") => &[
            ("Name", "string", 0),
            ("Endpoints", "string", 0),
            ("Age", "string", 0),
        ],
        ("", "ConfigMap") => &[
            ("Name", "string", 0),
            ("Data", "string", 0),
            ("Age", "string", 0),
        ],
        ("", "Secret") => &[
            ("Name", "string", 0),
            ("Type", "string", 0),
            ("Data", "integer", 0),
            ("Age", "string", 0),
        ],
        ("", "Namespace") => &[
            ("Name", "string", 0),
            ("Status", "string", 0),
            ("Age", "string", 0),
        ],
        ("", "Node") => &[
            ("Name", "string", 0),
            ("Status", "string", 0),
            ("Roles", "string", 0),
            ("Age", "string", 0),
            ("Version", "string", 0),
        ],
        ("", "Event") => &[
            ("Last Seen", "string", 0),
            ("Type", "string", 0),
            ("Reason", "string", 0),
            ("Object", "string", 0),
            ("Message", "string", 0),
            ("Name", "string", 1),
        ],
        ("networking.k8s.io", "IngressClass") => &[
            ("Name", "string", 0),
            ("Controller", "string", 0),
            ("Age", "string", 0),
        ],
        ("coordination.k8s.io", "Lease") => &[
            ("Name", "string", 0),
            ("Holder", "string", 0),
            ("Age", "string", 0),
        ],
        ("apiextensions.k8s.io", _) | ("rbac.authorization.k8s.io", "ClusterRole" | "Role") => {
            &[("Name", "string", 0), ("Created At", "date", 0)]
        }
        _ => NAME_AGE,
    }
}

/// The `columnDefinitions` of a type.
pub(crate) fn columns(resource: &Resource) -> Value {
    let definition = |name: &str, kind: &str, format: &str, description: &str, priority: i64| json!({"name": name, "type": kind, "format": format, "description": description, "priority": priority});
    let name = |column: &str| if column == "Name" { "name" } else { "" };
    let Some(custom) = &resource.custom else {
        return builtin_columns(resource)
            .iter()
            .map(|(column, kind, priority)| {
                definition(column, kind, name(column), "", i64::from(*priority))
            })
            .collect();
    };
    let mut columns = vec![definition("Name", "string", "name", "", 0)];
    columns.extend(custom.columns.iter().map(|column| {
        definition(
            &column.name,
            &column.kind,
            &column.format,
            &column.description,
            column.priority,
        )
    }));
    if custom.columns.is_empty() {
        columns.push(definition("Age", "date", "", "", 0));
    }
    columns.into()
}

/// The row of one object.
pub(crate) fn row(renderer: &Renderer, object: &Object) -> Result<Value, ApiError> {
    let value = object.value(&renderer.resource)?;
    let cells = match &renderer.resource.custom {
        None => builtin_columns(&renderer.resource)
            .iter()
            .map(|(column, _, _)| cell(&renderer.resource, column, &value, renderer.now))
            .collect(),
        Some(custom) => {
            let mut cells = vec![Value::from(text(&value, &["metadata", "name"]))];
            for column in &custom.columns {
                cells.push(custom_cell(
                    &column.kind,
                    jsonpath::find(&value, &column.path),
                    renderer.now,
                ));
            }
            if custom.columns.is_empty() {
                cells.push(age(&value, renderer.now));
            }
            cells
        }
    };
    let object = match renderer.include {
        IncludeObject::None => Value::Null,
        IncludeObject::Metadata => json!({
            "kind": "PartialObjectMetadata",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": metadata(object)?,
        }),
        IncludeObject::Object => value,
    };
    Ok(json!({"cells": cells, "object": object}))
}

fn age(value: &Value, now: u64) -> Value {
    since(text(value, &["metadata", "creationTimestamp"]), now).into()
}

/// The time since a moment, or `<unknown>`.
fn since(moment: &str, now: u64) -> String {
    match parse_timestamp(moment) {
        Some(then) => human_age(now.saturating_sub(then)),
        None => "<unknown>".to_owned(),
    }
}

fn custom_cell(kind: &str, found: Vec<&Value>, now: u64) -> Value {
    let Some(first) = found.first() else {
        return if kind == "date" {
            "<unknown>".into()
        } else {
            Value::Null
        };
    };
    match kind {
        "date" => since(first.as_str().unwrap_or_default(), now).into(),
        "string" => {
            let all: Vec<String> = found
                .iter()
                .map(|one| scalar(one).unwrap_or_else(|| one.to_string()))
                .collect();
            all.join(",").into()
        }
        _ => (*first).clone(),
    }
}

fn cell(resource: &Resource, column: &str, value: &Value, now: u64) -> Value {
    let count = |field: &str| {
        at(value, &[field])
            .and_then(Value::as_object)
            .map_or(0, serde_json::Map::len)
    };
    let or_none = |text: &str| Value::from(if text.is_empty() { "<none>" } else { text });
    match (resource.kind.as_str(), column) {
        (_, "Name") => text(value, &["metadata", "name"]).into(),
        (_, "Age") => age(value, now),
        (_, "Created At") => text(value, &["metadata", "creationTimestamp"]).into(),
        ("Pod", _) => cells::pod(column, value),
        ("Service", _) => cells::service(column, value),
        ("Ingress", _) => cells::ingress(column, value),
        ("EndpointSlice", _) => cells::endpoint_slice(column, value),
        ("Endpoints", _) => cells::endpoints(value).into(),
        ("Deployment" | "ReplicaSet" | "StatefulSet", _) => cells::workload(column, value),
        ("Node", _) => cells::node(column, value),
        ("ConfigMap", _) => (count("data") + count("binaryData")).to_string().into(),
        ("Secret", "Type") => text(value, &["type"]).into(),
        ("Secret", _) => count("data").into(),
        ("Namespace", _) => text(value, &["status", "phase"]).into(),
        ("IngressClass", _) => text(value, &["spec", "controller"]).into(),
        ("Lease", _) => text(value, &["spec", "holderIdentity"]).into(),
        ("Event", "Last Seen") => {
            let moment = [
                &["lastTimestamp"][..],
                &["eventTime"],
                &["metadata", "creationTimestamp"],
            ];
            let moment = moment
                .into_iter()
                .map(|path| text(value, path))
                .find(|text| !text.is_empty());
            since(moment.unwrap_or_default(), now).into()
        }
        ("Event", "Object") => {
            let about = if at(value, &["regarding"]).is_some() {
                "regarding"
            } else {
                "involvedObject"
            };
            let kind = text(value, &[about, "kind"]).to_lowercase();
            format!("{kind}/{}", text(value, &[about, "name"])).into()
        }
        ("Event", "Message") => {
            let note = text(value, &["note"]);
            Value::from(if note.is_empty() {
                text(value, &["message"])
            } else {
                note
            })
        }
        ("Event", other) => or_none(text(value, &[other.to_lowercase().as_str()])),
        _ => or_none(&list(value, &[column]).len().to_string()),
    }
}
