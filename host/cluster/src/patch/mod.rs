//! PATCH: the four kinds of patches, told apart by their media type.

mod json_patch;
mod merge;
mod strategic;

use serde_json::Value;

use crate::api::{Api, Call};
use crate::apply;
use crate::input::{self, Input, Warnings};
use crate::json;
use crate::status::ApiError;
use crate::write::{Tracking, Written};

const JSON: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";

const ACCEPTED: &str = "application/json-patch+json, application/merge-patch+json, \
     application/strategic-merge-patch+json, application/apply-patch+yaml";
const ACCEPTED_CUSTOM: &str =
    "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";

/// Patches the object that the call names.
pub(crate) fn answer(api: &Api, call: &Call) -> Result<(Written, Warnings), ApiError> {
    let how = call.how()?;
    if input::content_type(call).essence == APPLY {
        let Input { value, warnings } = input::check_fields(call, input::parse_yaml(&call.body)?)?;
        let force = call.query.flag("force").unwrap_or(false);
        if call.query.get("fieldManager").is_empty() {
            return Err(ApiError::bad_request(
                "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
            ));
        }
        let written = apply::apply(&mut api.store(), call, value, &how, force)?;
        return Ok((written, warnings));
    }
    let mut store = api.store();
    let old = store
        .get(&call.resource, &call.namespace, &call.name)
        .ok_or_else(|| ApiError::not_found(&call.resource, &call.name))?;
    let old_value = old.value(&call.resource)?;
    let patched = plain(call, &old_value)?;
    let Input {
        value: patched,
        warnings,
    } = input::check_fields(call, patched)?;
    let name = json::text(&patched, &["metadata", "name"]);
    if name != call.name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            call.name
        )));
    }
    let written = store.replace(&call.resource, &old, patched, &how, Tracking::Write)?;
    Ok((written, warnings))
}

/// The result of a JSON, merge or strategic patch on `current`.
pub(crate) fn plain(call: &Call, current: &Value) -> Result<Value, ApiError> {
    let custom = call.resource.custom.is_some();
    let body = |call: &Call| input::parse_json(&call.body);
    match input::content_type(call).essence.as_str() {
        JSON => json_patch::patched(&call.resource, current, &body(call)?),
        MERGE => Ok(merge::patched(current, &object(body(call)?)?)),
        STRATEGIC if !custom => strategic::patched(current, &object(body(call)?)?),
        _ if custom => Err(ApiError::unsupported_media_type(ACCEPTED_CUSTOM)),
        _ => Err(ApiError::unsupported_media_type(ACCEPTED)),
    }
}

fn object(value: Value) -> Result<Value, ApiError> {
    if value.is_object() {
        Ok(value)
    } else {
        Err(ApiError::bad_request(
            "a patch of this kind is a JSON object",
        ))
    }
}
