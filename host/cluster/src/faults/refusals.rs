//! Owns what is said in the server's place: the words of real servers, proxies and
//! authorizers.

use http::{HeaderValue, Response, header};
use serde_json::{Map, Value, json};

use super::log::{Logged, Verb};
use super::rule::{Fault, Place, Refusal};
use crate::api::bytes_response;
use crate::body::Body;
use crate::list::expired_token;
use crate::status::{ApiError, Cause};

/// In whose name requests are refused.
const USER: &str = "system:serviceaccount:default:haptic-host";

/// Whether such a fault leaves nothing for the server, and for other faults, to say.
pub(crate) fn answers(fault: &Fault) -> bool {
    match fault {
        Fault::Status(_)
        | Fault::Html { .. }
        | Fault::Unauthorized { .. }
        | Fault::Forbidden { .. }
        | Fault::Expired { after: None }
        | Fault::TooLargeVersion
        | Fault::RefuseStreaming { .. }
        | Fault::ExpireContinue { .. }
        | Fault::Break {
            at: Place::Start, ..
        } => true,
        Fault::Expired { after: Some(_) }
        | Fault::ErrorEvent { .. }
        | Fault::Delay { .. }
        | Fault::Hold { .. }
        | Fault::Lag { .. }
        | Fault::Break { .. }
        | Fault::WithholdBookmark
        | Fault::Inject { .. }
        | Fault::Pad { .. }
        | Fault::Coalesce { .. }
        | Fault::Gzip { .. }
        | Fault::Split { .. } => false,
    }
}

/// The answer that such a fault gives; `newest` is the server's version.
pub(crate) fn answer(fault: &Fault, asked: &Logged, newest: u64) -> Option<Response<Body>> {
    match fault {
        Fault::Status(refusal) => Some(status(refusal)),
        Fault::Html { code } => Some(html(*code)),
        Fault::Unauthorized { .. } => {
            Some(error(&ApiError::new(401, "Unauthorized", "Unauthorized")))
        }
        Fault::Forbidden { .. } => Some(error(&forbidden(asked))),
        Fault::Expired { after: None } => Some(error(&too_old(asked, newest))),
        Fault::TooLargeVersion => {
            let wanted = version(asked).unwrap_or(newest.saturating_add(1));
            let reached = newest.min(wanted.saturating_sub(1));
            Some(error(&ApiError::version_too_large(wanted, reached)))
        }
        Fault::RefuseStreaming { code } => Some(error(&no_streaming(*code))),
        Fault::ExpireContinue { fresh } => {
            let token = asked.continue_token.as_deref().unwrap_or_default();
            Some(error(&expired_token(token, *fresh)))
        }
        Fault::Expired { after: Some(_) }
        | Fault::ErrorEvent { .. }
        | Fault::Delay { .. }
        | Fault::Hold { .. }
        | Fault::Lag { .. }
        | Fault::Break { .. }
        | Fault::WithholdBookmark
        | Fault::Inject { .. }
        | Fault::Pad { .. }
        | Fault::Coalesce { .. }
        | Fault::Gzip { .. }
        | Fault::Split { .. } => None,
    }
}

fn error(error: &ApiError) -> Response<Body> {
    crate::api::refusal(error)
}

/// The version that was asked for.
fn version(asked: &Logged) -> Option<u64> {
    asked.resource_version.as_deref()?.parse().ok()
}

/// 410 about the version that was asked for.
pub(crate) fn too_old(asked: &Logged, newest: u64) -> ApiError {
    let wanted = version(asked).unwrap_or(0);
    ApiError::expired(format!("too old resource version: {wanted} ({newest})"))
}

/// A refusal as the `Status` object that it is.
pub(crate) fn status_object(refusal: &Refusal) -> Value {
    let mut status = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": refusal.message,
        "reason": refusal.reason,
        "code": refusal.code,
    });
    if let Some(details) = refusal.details.as_object() {
        let mut details = details.clone();
        if let Some(seconds) = refusal.retry_after {
            details.insert("retryAfterSeconds".into(), seconds.into());
        }
        status["details"] = details.into();
    }
    status
}

fn status(refusal: &Refusal) -> Response<Body> {
    let value = status_object(refusal);
    let text = if refusal.pretty {
        format!("{value:#}")
    } else {
        value.to_string()
    };
    let mut response = bytes_response(refusal.code, "application/json", text);
    if let Some(seconds) = refusal.retry_after {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// What nginx says.
fn html(code: u16) -> Response<Body> {
    let reason = http::StatusCode::from_u16(code)
        .ok()
        .and_then(|code| code.canonical_reason())
        .unwrap_or_default();
    let page = format!(
        "<html>\r\n<head><title>{code} {reason}</title></head>\r\n<body>\r\n\
         <center><h1>{code} {reason}</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    );
    bytes_response(code, "text/html", page)
}

/// 403 as the RBAC authorizer words it.
fn forbidden(asked: &Logged) -> ApiError {
    let mut details = Map::new();
    if asked.verb == Verb::Discovery {
        let why = format!("forbidden: User {USER:?} cannot get path {:?}", asked.path);
        return ApiError {
            details: details.into(),
            ..ApiError::new(403, "Forbidden", why)
        };
    }
    let verb = match asked.verb {
        Verb::StreamingList | Verb::Watch => "watch",
        Verb::Discovery | Verb::Get => "get",
        Verb::List => "list",
        Verb::Create => "create",
        Verb::Update => "update",
        Verb::Patch => "patch",
        Verb::Delete if asked.name.is_empty() => "deletecollection",
        Verb::Delete => "delete",
    };
    let Logged {
        group,
        resource,
        namespace,
        name,
        ..
    } = asked;
    let qualified = if group.is_empty() {
        resource.clone()
    } else {
        format!("{resource}.{group}")
    };
    let object = if name.is_empty() {
        String::new()
    } else {
        details.insert("name".into(), name.clone().into());
        format!(" {name:?}")
    };
    let scope = if namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace {namespace:?}")
    };
    if !group.is_empty() {
        details.insert("group".into(), group.clone().into());
    }
    details.insert("kind".into(), resource.clone().into());
    let why = format!(
        "{qualified}{object} is forbidden: User {USER:?} cannot {verb} resource {resource:?} \
         in API group {group:?} {scope}"
    );
    ApiError {
        details: details.into(),
        ..ApiError::new(403, "Forbidden", why)
    }
}

fn no_streaming(code: u16) -> ApiError {
    let field = "sendInitialEvents";
    let why =
        "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled";
    if code == 422 {
        return crate::list::invalid_options(vec![Cause::forbidden(field, why)]);
    }
    ApiError::new(code, "BadRequest", why)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use bytes::Bytes;
    use http::Request;
    use tokio::time::Instant;

    use super::*;

    #[test]
    fn a_refusal_names_verb_resource_and_namespace_as_rbac_does() {
        for (uri, message) in [
            (
                "/apis/networking.k8s.io/v1/namespaces/shop/ingresses",
                "ingresses.networking.k8s.io is forbidden: User \"system:serviceaccount:default:haptic-host\" cannot list \
                 resource \"ingresses\" in API group \"networking.k8s.io\" in the namespace \"shop\"",
            ),
            (
                "/api/v1/pods?watch=1",
                "pods is forbidden: User \"system:serviceaccount:default:haptic-host\" cannot watch resource \"pods\" in \
                 API group \"\" at the cluster scope",
            ),
            (
                "/api/v1/namespaces/shop/secrets/a",
                "secrets \"a\" is forbidden: User \"system:serviceaccount:default:haptic-host\" cannot get resource \
                 \"secrets\" in API group \"\" in the namespace \"shop\"",
            ),
            (
                "/apis/apps",
                "forbidden: User \"system:serviceaccount:default:haptic-host\" cannot get path \"/apis/apps\"",
            ),
        ] {
            let request = Request::get(uri).body(Bytes::new()).unwrap();
            let asked = Logged::of(&request, Instant::now());
            assert_eq!(forbidden(&asked).message, message);
        }
    }
}
