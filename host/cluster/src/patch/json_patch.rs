//! JSON patch, RFC 6902, with the limits of the real server.

use json_patch::PatchOperation;
use serde_json::Value;

use crate::http::BODY_LIMIT;
use crate::resources::Resource;
use crate::status::ApiError;

/// As in the real server.
const OPERATIONS: usize = 10_000;

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
        // Copies can double a value again and again.
        if let PatchOperation::Copy(copy) = operation
            && let Some(source) = value.pointer(copy.from.as_str())
        {
            copied += source.to_string().len();
            if copied > BODY_LIMIT {
                return Err(ApiError::too_large(BODY_LIMIT));
            }
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
            .map(|_| json!({"op": "copy", "from": "", "path": "/c"}))
            .collect();
        assert_eq!(check(doubling.into()), Err(413));
    }
}
