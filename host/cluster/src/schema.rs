//! The structural schemas of custom types, as far as the server looks into
//! them: which fields they know.

use serde_json::{Map, Value};

use crate::resources::Resource;

/// Removes the fields that a custom type's schema does not know, and names
/// them. Built-in kinds have no schema here: nothing is removed from them.
pub(crate) fn prune(resource: &Resource, value: &mut Value) -> Vec<String> {
    let mut unknown = Vec::new();
    let schema = resource
        .custom
        .as_ref()
        .and_then(|custom| custom.schema.as_ref());
    let (Some(schema), Some(map)) = (schema, value.as_object_mut()) else {
        return unknown;
    };
    prune_map(schema, map, "", true, &mut unknown);
    unknown
}

fn flag(schema: &Value, name: &str) -> bool {
    schema.get(name) == Some(&Value::Bool(true))
}

fn prune_value(schema: &Value, value: &mut Value, path: &str, unknown: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            let embedded = flag(schema, "x-kubernetes-embedded-resource");
            prune_map(schema, map, path, embedded, unknown);
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                for (index, item) in items.iter_mut().enumerate() {
                    prune_value(schema, item, &format!("{path}[{index}]"), unknown);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn prune_map(
    schema: &Value,
    map: &mut Map<String, Value>,
    path: &str,
    root: bool,
    unknown: &mut Vec<String>,
) {
    let properties = schema.get("properties").and_then(Value::as_object);
    let additional = schema.get("additionalProperties");
    let preserves = flag(schema, "x-kubernetes-preserve-unknown-fields");
    let mut surplus = Vec::new();
    for (name, value) in map.iter_mut() {
        if root && matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
            continue;
        }
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        match (
            properties.and_then(|properties| properties.get(name)),
            additional,
        ) {
            (Some(schema), _) => prune_value(schema, value, &path, unknown),
            (None, Some(Value::Bool(true))) => {}
            (None, Some(schema @ Value::Object(_))) => prune_value(schema, value, &path, unknown),
            (None, _) if preserves => {}
            (None, _) => {
                surplus.push(name.clone());
                unknown.push(path);
            }
        }
    }
    for name in surplus {
        map.remove(&name);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use crate::resources::{CustomType, Registry};
    use serde_json::json;

    #[test]
    fn fields_outside_the_schema_are_removed_and_named() {
        let mut resource = Registry::builtin()
            .find("", "v1", "pods")
            .unwrap()
            .as_ref()
            .clone();
        resource.custom = Some(CustomType {
            columns: Vec::new(),
            schema: Some(json!({"type": "object", "properties": {
                "spec": {"type": "object", "properties": {
                    "a": {"type": "string"},
                    "list": {"type": "array", "items": {"type": "object", "properties": {"b": {}}}},
                    "map": {"type": "object", "additionalProperties": {"type": "string"}},
                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                }},
            }})),
        });
        let mut value = json!({
            "apiVersion": "x/v1", "kind": "X", "metadata": {"name": "a"}, "extra": 1,
            "spec": {"a": "", "c": 1, "list": [{"b": 1, "d": 2}], "map": {"any": "x"}, "free": {"any": {"thing": 1}}},
        });
        let unknown = prune(&resource, &mut value);
        assert_eq!(unknown, ["extra", "spec.c", "spec.list[0].d"]);
        assert_eq!(
            value,
            json!({
                "apiVersion": "x/v1", "kind": "X", "metadata": {"name": "a"},
                "spec": {"a": "", "list": [{"b": 1}], "map": {"any": "x"}, "free": {"any": {"thing": 1}}},
            })
        );
    }
}
