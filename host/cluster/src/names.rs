//! The syntax of object names.

use serde_json::Value;

use crate::resources::Resource;
use crate::status::{ApiError, Cause};

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
     and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
     start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SERVICE: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
     alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for \
     validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";

/// Refuses a name that the type does not allow, with a 422.
pub(crate) fn check(resource: &Resource, name: &str) -> Result<(), ApiError> {
    let refuse = |cause| Err(ApiError::invalid_object(resource, name, cause));
    if name.is_empty() {
        return refuse(Cause::required(
            "metadata.name",
            "name or generateName is required",
        ));
    }
    let fits = match () {
        () if resource.is("", "namespaces") => (is_label(name), LABEL),
        () if resource.is("", "services") => (
            is_label(name) && name.starts_with(|first: char| first.is_ascii_lowercase()),
            SERVICE,
        ),
        () if resource.group == "rbac.authorization.k8s.io" => (
            is_path_segment(name),
            "may not be '.', '..' or contain '/' or '%'",
        ),
        () => (name.len() <= 253 && is_subdomain(name), SUBDOMAIN),
    };
    match fits {
        (true, _) => Ok(()),
        (false, why) => refuse(Cause::invalid("metadata.name", name, why)),
    }
}

/// Refuses labels and annotations that are not maps of text, or whose keys or values have a wrong form.
pub(crate) fn check_labels(resource: &Resource, value: &Value, name: &str) -> Result<(), ApiError> {
    for field in ["labels", "annotations"] {
        let Some(entries) = value
            .get("metadata")
            .and_then(|metadata| metadata.get(field))
        else {
            continue;
        };
        if entries.is_null() {
            continue;
        }
        let Some(entries) = entries.as_object() else {
            return Err(ApiError::bad_request(format!(
                "{} in version {:?} cannot be handled as a {}: json: cannot unmarshal into Go struct field \
                 ObjectMeta.metadata.{field} of type map[string]string",
                resource.kind, resource.version, resource.kind
            )));
        };
        for (key, text) in entries {
            let Some(text) = text.as_str() else {
                return Err(ApiError::bad_request(format!(
                    "{} in version {:?} cannot be handled as a {}: json: cannot unmarshal {} into Go struct field \
                     ObjectMeta.metadata.{field} of type string",
                    resource.kind,
                    resource.version,
                    resource.kind,
                    type_name(text)
                )));
            };
            let checked = crate::selector::check_key(key).and_then(|()| match field {
                "labels" => crate::selector::check_value(text),
                _ => Ok(()),
            });
            if let Err(why) = checked {
                let cause = Cause::invalid(&format!("metadata.{field}"), key, &why);
                return Err(ApiError::invalid_object(resource, name, cause));
            }
        }
    }
    Ok(())
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

pub(crate) fn is_subdomain(text: &str) -> bool {
    !text.is_empty() && text.split('.').all(is_label_of_any_length)
}

fn is_label(text: &str) -> bool {
    text.len() <= 63 && is_label_of_any_length(text)
}

fn is_label_of_any_length(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.bytes().next().is_some_and(inner)
        && text.bytes().last().is_some_and(inner)
        && text.bytes().all(|byte| inner(byte) || byte == b'-')
}

fn is_path_segment(text: &str) -> bool {
    !matches!(text, "." | "..") && !text.contains(['/', '%'])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use crate::resources::Registry;

    #[test]
    fn each_kind_has_its_own_names() {
        let registry = Registry::builtin();
        for (group, plural, name, fits) in [
            ("", "configmaps", "a.b-c", true),
            ("", "configmaps", "A", false),
            ("", "configmaps", "a..b", false),
            ("", "configmaps", "", false),
            ("", "namespaces", "a.b", false),
            ("", "services", "1a", false),
            (
                "rbac.authorization.k8s.io",
                "clusterroles",
                "system:Admin",
                true,
            ),
            ("rbac.authorization.k8s.io", "clusterroles", "a/b", false),
        ] {
            let resource = registry.find(group, "v1", plural).unwrap();
            let checked = check(&resource, name);
            assert_eq!(checked.is_ok(), fits, "{plural} {name:?}");
            if let Err(error) = checked {
                assert_eq!((error.code, error.reason), (422, "Invalid"));
            }
        }
    }
}
