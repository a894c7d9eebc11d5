//! JSON patch, RFC 6902, with the limits of the real server.

use json_patch::PatchOperation;
use serde_json::Value;

use crate::http::BODY_LIMIT;
use crate::resources::Resource;
use crate::status::ApiError;

/// As in the real server.
const OPERATIONS: usize = 10_000;

/// Less than what a JSON parser takes, so that the result can be read again.
const DEPTH: usize = 100;

/// `current` after every operation of `patch`, or none of them.
pub(super) fn patched(
    resource: &Resource,
    current: &Value,
    patch: &Value,
) -> Result<Value, ApiError> {
    let patch: json_patch::Patch = serde_json::from_value(patch.clone())
        .map_err(|error| ApiError::bad_request(format!("error decoding patch: {error}")))?;
    if patch.0.len() > OPERATIONS {
        return Err(ApiError::new(
            413,
            "RequestEntityTooLarge",
            format!(
                "The allowed maximum operations in a JSON patch is {OPERATIONS}, got {}",
                patch.0.len()
            ),
        ));
    }
    let mut value = current.clone();
    let mut copied = 0;
    for operation in &patch.0 {
        copied += check(&value, operation)?;
        if copied > BODY_LIMIT {
            return Err(ApiError::too_large(BODY_LIMIT));
        }
        json_patch::patch(&mut value, std::slice::from_ref(operation)).map_err(|error| {
            ApiError::new(
                422,
                "Invalid",
                format!("the server rejected our request due to an error in our request: {error}"),
            )
        })?;
    }
    if !value.is_object() {
        return Err(ApiError::bad_request(format!(
            "the patch leaves no {} behind",
            resource.kind
        )));
    }
    Ok(value)
}

/// Refuses what would nest too deep; the bytes that the operation copies, as copies can double a value again and again.
fn check(value: &Value, operation: &PatchOperation) -> Result<usize, ApiError> {
    let nothing = Value::Null;
    let at = |pointer: &str| value.pointer(pointer).unwrap_or(&nothing);
    let (moved, to, is_copy) = match operation {
        PatchOperation::Add(add) => (&add.value, add.path.as_str(), false),
        PatchOperation::Replace(replace) => (&replace.value, replace.path.as_str(), false),
        PatchOperation::Move(from_to) => (at(from_to.from.as_str()), from_to.path.as_str(), false),
        PatchOperation::Copy(from_to) => (at(from_to.from.as_str()), from_to.path.as_str(), true),
        PatchOperation::Remove(_) | PatchOperation::Test(_) => return Ok(0),
    };
    if to.matches('/').count() + depth(moved) > DEPTH {
        return Err(ApiError::bad_request("the patch nests too deep"));
    }
    Ok(if is_copy { moved.to_string().len() } else { 0 })
}

fn depth(value: &Value) -> usize {
    let below = match value {
        Value::Array(items) => items.iter().map(depth).max(),
        Value::Object(map) => map.values().map(depth).max(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return 0,
    };
    below.unwrap_or(0) + 1
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use crate::resources::Registry;
    use serde_json::json;

    fn check(patch: Value) -> Result<Value, u16> {
        let pods = Registry::builtin().find("", "v1", "pods").unwrap();
        patched(&pods, &json!({"a": [1, 2], "b": "x"}), &patch).map_err(|error| error.code)
    }

    #[test]
    fn operations_are_applied_in_order_or_not_at_all() {
        let changed = check(json!([
            {"op": "test", "path": "/b", "value": "x"},
            {"op": "add", "path": "/a/-", "value": 3},
            {"op": "remove", "path": "/a/0"},
        ]));
        assert_eq!(changed, Ok(json!({"a": [2, 3], "b": "x"})));
        assert_eq!(
            check(json!([{"op": "test", "path": "/b", "value": "y"}])),
            Err(422)
        );
        assert_eq!(check(json!([{"op": "remove", "path": "/c"}])), Err(422));
        assert_eq!(check(json!({"op": "remove"})), Err(400));
        assert_eq!(
            check(json!([{"op": "replace", "path": "", "value": 1}])),
            Err(400)
        );
    }

    #[test]
    fn copies_cannot_fill_the_memory() {
        let doubling: Vec<Value> = (0..40)
            .flat_map(|_| {
                [
                    json!({"op": "copy", "from": "/a", "path": "/c"}),
                    json!({"op": "copy", "from": "/c", "path": "/a/0"}),
                    json!({"op": "copy", "from": "/c", "path": "/a/1"}),
                ]
            })
            .collect();
        assert_eq!(check(doubling.into()), Err(413));
    }

    #[test]
    fn copies_cannot_nest_without_end() {
        let nesting: Vec<Value> = (0..200)
            .map(|_| json!({"op": "copy", "from": "", "path": "/c"}))
            .collect();
        assert_eq!(check(nesting.into()), Err(400));
    }
}
