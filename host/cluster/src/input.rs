//! Request bodies: their media types, and what is in them.

use http::{HeaderValue, Response, header};
use serde_json::Value;

use crate::api::Call;
use crate::body::Body;
use crate::delete::Preconditions;
use crate::json;
use crate::protobuf;
use crate::request::MediaType;
use crate::schema;
use crate::status::ApiError;

const ACCEPTED: &str = "application/json, application/yaml";

/// An object from a client, and what the client should be told about it.
#[derive(Debug)]
pub(crate) struct Input {
    pub value: Value,
    pub warnings: Warnings,
}

/// Sentences for the client that change nothing about the outcome.
#[derive(Debug, Default)]
pub(crate) struct Warnings(Vec<String>);

/// The options of a delete, from its body and its query.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct DeleteOptions {
    pub preconditions: Preconditions,
    pub dry_run: bool,
}

/// The media type of the body; JSON when none is given.
pub(crate) fn content_type(call: &Call) -> MediaType {
    let text = call
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    MediaType::parse(text.unwrap_or("application/json"))
}

/// The body as an object of the call's type.
pub(crate) fn object(call: &Call) -> Result<Input, ApiError> {
    let value = match content_type(call).essence.as_str() {
        "application/json" => parse_json(&call.body)?,
        "application/yaml" => parse_yaml(&call.body)?,
        protobuf::MEDIA_TYPE => protobuf::parse(&call.resource, &call.body)?,
        _ => return Err(ApiError::unsupported_media_type(ACCEPTED)),
    };
    check_fields(call, value)
}

/// Handles fields that the type's schema does not know, as `fieldValidation` says.
pub(crate) fn check_fields(call: &Call, mut value: Value) -> Result<Input, ApiError> {
    let unknown = schema::prune(&call.resource, &mut value);
    let warnings = match call.query.get("fieldValidation") {
        "Ignore" => Vec::new(),
        "Strict" if !unknown.is_empty() => {
            let list: Vec<String> = unknown
                .iter()
                .map(|path| format!("unknown field {path:?}"))
                .collect();
            return Err(ApiError::bad_request(format!(
                "{} in version {:?} cannot be handled as a {}: strict decoding error: {}",
                call.resource.kind,
                call.resource.version,
                call.resource.kind,
                list.join(", ")
            )));
        }
        "" | "Warn" | "Strict" => unknown
            .iter()
            .map(|path| format!("unknown field {path:?}"))
            .collect(),
        other => {
            return Err(ApiError::bad_request(format!(
                "fieldValidation: Unsupported value: {other:?}: supported values: \"Ignore\", \"Warn\", \"Strict\""
            )));
        }
    };
    Ok(Input {
        value,
        warnings: Warnings(warnings),
    })
}

impl Warnings {
    /// Adds them to a response, as kubectl prints them.
    pub(crate) fn add_to(&self, response: &mut Response<Body>) {
        for warning in self.0.iter().take(10) {
            let quoted = Value::from(warning.as_str());
            if let Ok(value) = HeaderValue::from_str(&format!("299 - {quoted}")) {
                response.headers_mut().append(header::WARNING, value);
            }
        }
    }
}

pub(crate) fn parse_json(bytes: &[u8]) -> Result<Value, ApiError> {
    serde_json::from_slice(bytes).map_err(|error| {
        ApiError::bad_request(format!(
            "couldn't get version/kind; json parse error: {error}"
        ))
    })
}

pub(crate) fn parse_yaml(bytes: &[u8]) -> Result<Value, ApiError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| ApiError::bad_request(format!("error parsing YAML: {error}")))?;
    crate::yaml::parse(text).map_err(|broken| {
        let line = broken
            .line
            .map_or_else(String::new, |line| format!("line {line}: "));
        ApiError::bad_request(format!("error parsing YAML: {line}{broken}"))
    })
}

/// Reads `DeleteOptions`. Everything is deleted at once and with what it
/// owns left alone, so that grace periods and propagation policies are accepted without effect.
pub(crate) fn delete_options(call: &Call) -> Result<DeleteOptions, ApiError> {
    let mut options = DeleteOptions {
        dry_run: call.query.dry_run()?,
        ..DeleteOptions::default()
    };
    if call.body.iter().all(u8::is_ascii_whitespace) {
        return Ok(options);
    }
    let body = match content_type(call).essence.as_str() {
        "application/json" => parse_json(&call.body)?,
        "application/yaml" => parse_yaml(&call.body)?,
        _ => return Err(ApiError::unsupported_media_type(ACCEPTED)),
    };
    for value in json::list(&body, &["dryRun"]) {
        if value != "All" {
            return Err(ApiError::bad_request(
                "dryRun: Unsupported value: supported values: \"All\"",
            ));
        }
        options.dry_run = true;
    }
    let condition = |field: &str| {
        let text = json::text(&body, &["preconditions", field]);
        (!text.is_empty()).then(|| text.to_owned())
    };
    options.preconditions = Preconditions {
        uid: condition("uid"),
        version: condition("resourceVersion"),
    };
    Ok(options)
}
