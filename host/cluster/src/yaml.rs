//! YAML as Kubernetes reads it.

use serde_json::Value;

/// Octal numbers such as `0644` keep their old meaning, as in `defaultMode: 0644`.
pub(crate) fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        legacy_octal_numbers: true,
        with_snippet: false,
    }
}

/// One document.
pub(crate) fn parse(text: &str) -> Result<Value, serde_saphyr::Error> {
    serde_saphyr::from_str_with_options(text, options())
}
