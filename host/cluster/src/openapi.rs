//! OpenAPI, to the degree that kubectl asks for it: it wants to know whether
//! the server validates fields by itself (the `fieldValidation` parameter).
//! Types have no schemas here.

use http::{HeaderMap, HeaderValue, Response, header};
use serde_json::{Map, Value, json};

use crate::api::json_response;
use crate::body::{self, Body};
use crate::request::accepted;
use crate::resources::{Registry, Resource, api_version, split_api_version};
use crate::status::ApiError;

/// Answers `/openapi/…`; `rest` are the segments after it.
pub(crate) fn respond(
    registry: &Registry,
    rest: &[&str],
    headers: &HeaderMap,
) -> Result<Response<Body>, ApiError> {
    match rest {
        ["v2"] => Ok(version_2(headers)),
        ["v3"] => Ok(json_response(200, &index(registry))),
        ["v3", "api", version] => document(registry, "", version),
        ["v3", "apis", group, version] => document(registry, group, version),
        _ => Err(ApiError::no_such_resource()),
    }
}

/// A document without types. Clients ask for protobuf, where an empty message is just that.
fn version_2(headers: &HeaderMap) -> Response<Body> {
    let protobuf = accepted(headers)
        .into_iter()
        .find(|media| media.is_json() || media.essence.contains("proto-openapi.spec.v2"))
        .is_some_and(|media| !media.is_json());
    if protobuf {
        let mut response = Response::new(body::full("\u{a}\u{3}2.0"));
        let content_type = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        return response;
    }
    let info = json!({"title": "Kubernetes", "version": "v1.32.0+haptic"});
    json_response(200, &json!({"swagger": "2.0", "info": info, "paths": {}}))
}

fn index(registry: &Registry) -> Value {
    let mut paths = Map::new();
    for group in registry.groups() {
        for (version, _) in registry.versions(group) {
            let root = if group.is_empty() { "api" } else { "apis" };
            let path = format!("{root}/{}", api_version(group, &version));
            let address = format!("/openapi/v3/{path}");
            paths.insert(path, json!({"serverRelativeURL": address}));
        }
    }
    json!({"paths": paths})
}

fn document(registry: &Registry, group: &str, version: &str) -> Result<Response<Body>, ApiError> {
    let (_, resources) = registry
        .versions(group)
        .into_iter()
        .find(|(known, _)| known == version)
        .ok_or_else(ApiError::no_such_resource)?;
    let mut paths = Map::new();
    for resource in resources.iter().filter(|resource| !resource.review) {
        let root = if group.is_empty() { "api" } else { "apis" };
        let scope = if resource.namespaced {
            "namespaces/{namespace}/"
        } else {
            ""
        };
        let base = format!(
            "/{root}/{}/{scope}{}",
            api_version(group, version),
            resource.plural
        );
        paths.insert(base.clone(), json!({"post": operation(resource, "post")}));
        let one = json!({"put": operation(resource, "put"), "patch": operation(resource, "patch")});
        paths.insert(format!("{base}/{{name}}"), one);
    }
    Ok(json_response(
        200,
        &json!({
            "openapi": "3.0.0",
            "info": {"title": "Kubernetes", "version": "v1.32.0+haptic"},
            "paths": paths,
            "components": {"schemas": {}},
        }),
    ))
}

fn operation(resource: &Resource, action: &str) -> Value {
    let parameters: Vec<Value> = ["dryRun", "fieldManager", "fieldValidation", "force"]
        .into_iter()
        .filter(|name| *name != "force" || action == "patch")
        .map(|name| json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}}))
        .collect();
    let api_version = resource.api_version();
    let (group, version) = split_api_version(&api_version);
    json!({
        "parameters": parameters,
        "responses": {"200": {"description": "OK"}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": resource.kind},
    })
}
