//! The `/scale` subresource: `spec.replicas` seen through `autoscaling/v1` Scale.

use http::{Method, Response};
use serde_json::{Value, json};

use crate::api::{Api, Call, json_response};
use crate::body::Body;
use crate::json::{self, object_mut};
use crate::resources::Resource;
use crate::state::Object;
use crate::status::ApiError;
use crate::write::{How, Part, Tracking};
use crate::{input, patch};

pub(crate) fn answer(api: &Api, method: &Method, call: &Call) -> Result<Response<Body>, ApiError> {
    let mut store = api.store();
    let old = store
        .get(&call.resource, &call.namespace, &call.name)
        .ok_or_else(|| ApiError::not_found(&call.resource, &call.name))?;
    let current = shown(&call.resource, &old)?;
    let wanted = match *method {
        Method::GET => return Ok(json_response(200, &current)),
        Method::PUT => input::parse_json(&call.body)?,
        Method::PATCH => patch::plain(call, &current)?,
        _ => return Err(ApiError::method_not_allowed()),
    };
    let replicas = json::at(&wanted, &["spec", "replicas"])
        .and_then(Value::as_u64)
        .unwrap_or(0);
    let mut value = old.value(&call.resource)?;
    let map = value
        .as_object_mut()
        .ok_or_else(|| ApiError::internal("an object is not a JSON object"))?;
    object_mut(map, "spec").insert("replicas".into(), replicas.into());
    let version = json::text(&wanted, &["metadata", "resourceVersion"]);
    if !version.is_empty() {
        object_mut(map, "metadata").insert("resourceVersion".into(), version.into());
    }
    let how = How {
        part: Part::Main,
        ..call.how()?
    };
    let written = store.replace(&call.resource, &old, value, &how, Tracking::Write)?;
    Ok(json_response(
        200,
        &shown(&call.resource, written.object())?,
    ))
}

fn shown(resource: &Resource, object: &Object) -> Result<Value, ApiError> {
    let value = object.value(resource)?;
    let metadata: serde_json::Map<String, Value> = [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
    ]
    .into_iter()
    .filter_map(|field| {
        Some((
            field.to_owned(),
            json::at(&value, &["metadata", field])?.clone(),
        ))
    })
    .collect();
    let number = |path: &[&str]| json::at(&value, path).and_then(Value::as_u64).unwrap_or(0);
    Ok(json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {"replicas": number(&["spec", "replicas"])},
        "status": {"replicas": number(&["status", "replicas"])},
    }))
}
