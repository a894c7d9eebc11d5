//! CustomResourceDefinitions: what they must say, their status, and the
//! resource types that they stand for.

use serde_json::{Value, json};

use crate::json;
use crate::resources::{CustomType, PrinterColumn, Registry, Resource, SelectableField};
use crate::status::{ApiError, Cause};

/// The group of the definitions themselves.
pub(crate) const GROUP: &str = "apiextensions.k8s.io";

/// True for the type of the definitions.
pub(crate) fn is_definition(resource: &Resource) -> bool {
    resource.is(GROUP, "customresourcedefinitions")
}

/// Fills in names and conditions, and refuses a definition that cannot be served.
pub(crate) fn complete(
    definition: &Resource,
    registry: &Registry,
    value: &mut Value,
    now: &str,
) -> Result<(), ApiError> {
    let name = json::text(value, &["metadata", "name"]).to_owned();
    let group = json::text(value, &["spec", "group"]).to_owned();
    let plural = json::text(value, &["spec", "names", "plural"]).to_owned();
    let kind = json::text(value, &["spec", "names", "kind"]).to_owned();
    let refuse = |cause| Err(ApiError::invalid_object(definition, &name, cause));
    for (field, text) in [
        ("spec.group", &group),
        ("spec.names.plural", &plural),
        ("spec.names.kind", &kind),
    ] {
        if text.is_empty() {
            return refuse(Cause::required(field, ""));
        }
    }
    if name != format!("{plural}.{group}") {
        return refuse(Cause::invalid(
            "metadata.name",
            &name,
            "must be spec.names.plural+\".\"+spec.group",
        ));
    }
    let scope = json::text(value, &["spec", "scope"]);
    if !matches!(scope, "Namespaced" | "Cluster") {
        return refuse(Cause::not_supported(
            "spec.scope",
            scope,
            &["Cluster", "Namespaced"],
        ));
    }
    let versions = json::list(value, &["spec", "versions"]);
    let stored: Vec<Value> = versions
        .iter()
        .filter(|version| version.get("storage") == Some(&Value::Bool(true)))
        .filter_map(|version| version.get("name").cloned())
        .collect();
    if stored.len() != 1 {
        let cause = Cause::invalid(
            "spec.versions",
            "",
            "must have exactly one version marked as storage version",
        );
        return refuse(cause);
    }
    if let Some(spec) = value.get_mut("spec").and_then(Value::as_object_mut) {
        let names = json::object_mut(spec, "names");
        names
            .entry("singular")
            .or_insert_with(|| kind.to_lowercase().into());
        names
            .entry("listKind")
            .or_insert_with(|| format!("{kind}List").into());
        spec.entry("conversion")
            .or_insert_with(|| json!({"strategy": "None"}));
    }
    let taken = registry
        .all()
        .any(|known| known.group == group && (known.kind == kind) != (known.plural == plural));
    set_status(value, &kind, stored, taken, now);
    Ok(())
}

fn set_status(value: &mut Value, kind: &str, mut stored: Vec<Value>, taken: bool, now: &str) {
    for known in json::list(value, &["status", "storedVersions"]) {
        if !stored.contains(known) {
            stored.push(known.clone());
        }
    }
    let condition = |kind: &str, holds: bool, reason: &str, message: &str| {
        let status = if holds { "True" } else { "False" };
        let since = json::list(value, &["status", "conditions"])
            .iter()
            .find(|known| {
                json::text(known, &["type"]) == kind && json::text(known, &["status"]) == status
            })
            .map_or(now, |known| json::text(known, &["lastTransitionTime"]));
        json!({"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": since})
    };
    let conditions = if taken {
        let message = format!("{kind:?} is already in use");
        json!([
            condition("NamesAccepted", false, "KindConflict", &message),
            condition(
                "Established",
                false,
                "NotAccepted",
                "not all names are accepted"
            ),
        ])
    } else {
        json!([
            condition("NamesAccepted", true, "NoConflicts", "no conflicts found"),
            condition(
                "Established",
                true,
                "InitialNamesAccepted",
                "the initial names have been accepted"
            ),
        ])
    };
    let accepted = if taken {
        json!({"kind": "", "plural": ""})
    } else {
        json::at(value, &["spec", "names"])
            .cloned()
            .unwrap_or_default()
    };
    value["status"] =
        json!({"acceptedNames": accepted, "conditions": conditions, "storedVersions": stored});
}

/// The types that an established definition serves, one a version.
pub(crate) fn resources(value: &Value) -> Vec<Resource> {
    let established = json::list(value, &["status", "conditions"])
        .iter()
        .any(|one| {
            json::text(one, &["type"]) == "Established" && json::text(one, &["status"]) == "True"
        });
    if !established {
        return Vec::new();
    }
    json::list(value, &["spec", "versions"])
        .iter()
        .filter(|version| version.get("served") == Some(&Value::Bool(true)))
        .map(|version| resource(value, version))
        .collect()
}

fn resource(value: &Value, version: &Value) -> Resource {
    let name = |field: &str| json::text(value, &["spec", "names", field]).to_owned();
    let names = |field: &str| {
        let list = json::list(value, &["spec", "names", field]);
        list.iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    };
    Resource {
        group: json::text(value, &["spec", "group"]).to_owned(),
        version: json::text(version, &["name"]).to_owned(),
        plural: name("plural"),
        singular: name("singular"),
        kind: name("kind"),
        list_kind: name("listKind"),
        namespaced: json::text(value, &["spec", "scope"]) == "Namespaced",
        short_names: names("shortNames"),
        categories: names("categories"),
        status: json::at(version, &["subresources", "status"]).is_some(),
        scale: json::at(version, &["subresources", "scale"]).is_some(),
        generation: true,
        review: false,
        create_on_update: false,
        selectable: json::list(version, &["selectableFields"])
            .iter()
            .map(|field| {
                let label = json::text(field, &["jsonPath"])
                    .trim_start_matches('.')
                    .to_owned();
                let path = label.split('.').map(str::to_owned).collect();
                SelectableField { label, path }
            })
            .collect(),
        own_field_labels: true,
        custom: Some(CustomType {
            columns: json::list(version, &["additionalPrinterColumns"])
                .iter()
                .map(column)
                .collect(),
            schema: json::at(version, &["schema", "openAPIV3Schema"]).cloned(),
        }),
    }
}

fn column(value: &Value) -> PrinterColumn {
    let text = |field: &str| json::text(value, &[field]).to_owned();
    PrinterColumn {
        name: text("name"),
        kind: text("type"),
        format: text("format"),
        description: text("description"),
        priority: value.get("priority").and_then(Value::as_i64).unwrap_or(0),
        path: text("jsonPath"),
    }
}
