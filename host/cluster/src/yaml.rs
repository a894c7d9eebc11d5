//! YAML as Kubernetes reads it.

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_saphyr::{DefaultMessageFormatter, Error, MessageFormatter};

/// Why a document cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Broken {
    /// The line in the document, counted from 1; `None` where none is known.
    pub line: Option<u64>,
    /// What is wrong, without the line.
    pub message: String,
}

/// One document.
pub(crate) fn parse(text: &str) -> Result<Value, Broken> {
    parse_as(text)
}

/// One document, as a type of ours.
pub(crate) fn parse_as<T: DeserializeOwned>(text: &str) -> Result<T, Broken> {
    let options = serde_saphyr::options! {
        // Octal numbers keep their old meaning, as in `defaultMode: 0644`.
        legacy_octal_numbers: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        // Of an error in an alias this is the line that uses it.
        let line = error.location().map(|location| location.line().max(1));
        Broken {
            line,
            message: explain(innermost(&error)),
        }
    })
}

/// The error itself, where others are wrapped around it.
fn innermost(error: &Error) -> &Error {
    match error.without_snippet() {
        Error::AliasError { error, .. } => innermost(error),
        error => error,
    }
}

/// The parser's words for its callers, put for whoever wrote the file.
fn explain(error: &Error) -> String {
    match error {
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            format!("the key {key:?} is given twice")
        }
        Error::DuplicateMappingKey { key: None, .. } => "a key is given twice".to_owned(),
        Error::MultipleDocuments { .. } => {
            "a second document begins here, without a line `---` before it".to_owned()
        }
        Error::UnknownAnchor { .. } => "an alias names an anchor that is not there".to_owned(),
        Error::RecursiveReferencesRequireWeakTypes { .. } => {
            "an alias stands inside of what it refers to".to_owned()
        }
        Error::Budget { .. }
        | Error::AliasReplayCounterOverflow { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => {
            "the document is too large or too deep, its aliases filled in".to_owned()
        }
        Error::NonFiniteFloat { value, .. } => {
            format!("{value:?} is not a finite number; put it in quotes if it is text")
        }
        Error::InvalidBinaryBase64 { .. } => "a !!binary value is not base64".to_owned(),
        Error::BinaryNotUtf8 { .. } => "a !!binary value is not text in UTF-8".to_owned(),
        Error::MergeValueNotMapOrSeqOfMaps { .. } => {
            "the value of `<<` is neither a map nor a list of maps".to_owned()
        }
        Error::Unexpected { .. } => "a key or a value is not of a form that JSON knows".to_owned(),
        other => {
            let text = DefaultMessageFormatter.format_message(other);
            text.lines().next().unwrap_or_default().trim().to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn what_is_broken_is_told_in_a_sentence() {
        let mut laughs = "a0: &a0 [1]\n".to_owned();
        for depth in 1..8 {
            let alias = format!("*a{}", depth - 1);
            laughs += &format!("a{depth}: &a{depth} [{}]\n", [alias.as_str(); 10].join(","));
        }
        let deep = "[".repeat(5_000);
        for (text, line, message) in [
            (
                "a:\n  name: x\n  name: y\n",
                3,
                "the key \"name\" is given twice",
            ),
            (
                "a: {\"b\\u001b\": 1, \"b\\u001b\": 2}",
                1,
                "the key \"b\\u{1b}\" is given twice",
            ),
            (
                "a: 1\n...\nb: 2\n",
                3,
                "a second document begins here, without a line `---` before it",
            ),
            ("a: *x\n", 1, "an alias names an anchor that is not there"),
            (
                "a: &x [*x]\n",
                1,
                "an alias stands inside of what it refers to",
            ),
            (
                "a: .nan\n",
                1,
                "\".nan\" is not a finite number; put it in quotes if it is text",
            ),
            ("a: !!binary xx!\n", 1, "a !!binary value is not base64"),
            (
                "<<: 3\n",
                1,
                "the value of `<<` is neither a map nor a list of maps",
            ),
            (
                "? [1,2]\n: 3\n",
                1,
                "a key or a value is not of a form that JSON knows",
            ),
            ("a: 1\nb: \"x\n", 2, "unclosed quote"),
            (
                "a: b: c\n",
                1,
                "mapping values are not allowed in this context",
            ),
            (
                &laughs,
                7,
                "the document is too large or too deep, its aliases filled in",
            ),
            (&deep, 1, "recursion limit exceeded"),
        ] {
            let broken = parse(text).unwrap_err();
            assert_eq!(
                (broken.line, broken.message.as_str()),
                (Some(line), message),
                "{}",
                text.chars().take(80).collect::<String>()
            );
        }
    }
}
