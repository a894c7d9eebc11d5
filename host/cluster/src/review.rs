//! Access reviews: whoever asks is allowed, for there is no authentication.

use http::Response;
use serde_json::json;

use crate::api::{Call, json_response};
use crate::body::Body;
use crate::input;
use crate::status::ApiError;
use crate::write::check_type;

pub(crate) fn answer(call: &Call) -> Result<Response<Body>, ApiError> {
    let mut review = input::object(call)?.value;
    check_type(&call.resource, &review)?;
    let map = review
        .as_object_mut()
        .ok_or_else(|| ApiError::bad_request("the body of the request is not a JSON object"))?;
    map.insert("kind".into(), call.resource.kind.clone().into());
    map.insert("apiVersion".into(), call.resource.api_version().into());
    let status = match call.resource.kind.as_str() {
        "SelfSubjectRulesReview" => json!({
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            "incomplete": false,
        }),
        "SelfSubjectReview" => json!({
            "userInfo": {"username": "haptic", "groups": ["system:masters", "system:authenticated"]},
        }),
        _ => json!({"allowed": true, "reason": "this server allows everything"}),
    };
    map.insert("status".into(), status);
    Ok(json_response(201, &review))
}
