//! Typed JSON with errors that name the field. The fast path is plain `serde_json`; only a text
//! that failed is parsed again, to learn where.

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// What is wrong with a JSON text: the sentence names the field, when the failure has one.
pub(crate) fn parse<T: DeserializeOwned>(json: &str) -> Result<T, String> {
    serde_json::from_str(json).map_err(|error| explain::<T>(json, &error))
}

#[cold]
fn explain<T: DeserializeOwned>(json: &str, first: &serde_json::Error) -> String {
    if !first.is_data() {
        return format!("not the JSON text that was expected: {first}");
    }
    let mut deserializer = serde_json::Deserializer::from_str(json);
    match serde_path_to_error::deserialize::<_, T>(&mut deserializer) {
        Ok(_) => without_position(first),
        Err(error) => {
            let path = error.path().to_string();
            let what = without_position(error.inner());
            if path == "." || path.is_empty() {
                what
            } else {
                format!("field `{path}`: {what}")
            }
        }
    }
}

/// The text of the error without " at line 1 column 77", which helps nobody when the JSON is a
/// single line that the reader never saw.
pub(crate) fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&position).unwrap_or(&text).to_owned()
}

/// `namespace/name` of an object's JSON, `name` if it has no namespace, for error messages.
pub(crate) fn identity(json: &str) -> String {
    match names(json) {
        Some((namespace, name)) if namespace.is_empty() => name,
        Some((namespace, name)) => format!("{namespace}/{name}"),
        None => "an object without metadata.name".to_owned(),
    }
}

/// Namespace, empty for none, and name of an object's JSON.
pub(crate) fn names(json: &str) -> Option<(String, String)> {
    #[derive(Deserialize)]
    struct Object {
        metadata: Metadata,
    }
    #[derive(Deserialize)]
    struct Metadata {
        namespace: Option<String>,
        name: String,
    }
    let Object { metadata } = serde_json::from_str(json).ok()?;
    Some((metadata.namespace.unwrap_or_default(), metadata.name))
}
