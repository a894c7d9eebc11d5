//! JSON merge patch, RFC 7396.

use serde_json::{Map, Value};

/// `current` with `patch` merged in.
pub(super) fn patched(current: &Value, patch: &Value) -> Value {
    let mut merged = current.clone();
    merge(&mut merged, patch);
    merged
}

fn merge(current: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *current = patch.clone();
        return;
    };
    if !current.is_object() {
        *current = Value::Object(Map::new());
    }
    let Value::Object(map) = current else {
        return;
    };
    for (name, value) in patch {
        if value.is_null() {
            map.remove(name);
        } else {
            merge(map.entry(name).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn merge_patches_follow_the_rfc() {
        for (current, patch, expected) in [
            (
                json!({"a": 1, "b": 2}),
                json!({"a": null, "c": 3}),
                json!({"b": 2, "c": 3}),
            ),
            (
                json!({"a": {"b": 1}}),
                json!({"a": {"c": null, "d": 2}}),
                json!({"a": {"b": 1, "d": 2}}),
            ),
            (json!({"a": [1, 2]}), json!({"a": [3]}), json!({"a": [3]})),
            (
                json!({"a": 1}),
                json!({"a": {"b": {"c": null}}}),
                json!({"a": {"b": {}}}),
            ),
        ] {
            assert_eq!(patched(&current, &patch), expected);
        }
    }
}
