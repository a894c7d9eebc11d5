//! Objects as YAML that a person reads before it is applied: a comment says why, then the object.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;

/// One object, and what is to be said about it.
#[derive(Clone, Debug)]
pub struct Document {
    comment: Vec<String>,
    object: Value,
    text: String,
}

/// An object that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// As JSON.
    #[error("an object cannot be written as JSON")]
    Json(#[from] serde_json::Error),
    /// As YAML.
    #[error("an object cannot be written as YAML: {0}")]
    Yaml(String),
}

impl Document {
    /// Writes an object, its fields in the order in which it serialises them.
    ///
    /// # Errors
    /// [`WriteError`]; none of the types of the Kubernetes API leads to one.
    pub fn new(
        comment: impl IntoIterator<Item = impl Into<String>>,
        object: &impl Serialize,
    ) -> Result<Self, WriteError> {
        Ok(Self {
            comment: comment.into_iter().map(Into::into).collect(),
            text: serde_saphyr::to_string(object)
                .map_err(|error| WriteError::Yaml(error.to_string()))?,
            object: serde_json::to_value(object)?,
        })
    }

    /// The object.
    #[must_use]
    pub fn object(&self) -> &Value {
        &self.object
    }
}

/// All documents as one text.
#[must_use]
pub fn write(documents: &[Document]) -> String {
    let mut text = String::new();
    for document in documents {
        if !text.is_empty() {
            text.push_str("---\n");
        }
        for line in &document.comment {
            // A line break in a name must not end the comment.
            for line in line.split(['\n', '\r']) {
                // Writing to a string cannot fail.
                let _ = match line {
                    "" => writeln!(text, "#"),
                    line => writeln!(text, "# {line}"),
                };
            }
        }
        text.push_str(document.text.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_written_is_read_as_it_was() {
        // What YAML takes for something else unless it is quoted, and Kubernetes users have met.
        let odd = json!({
            "words": ["true", "yes", "on", "null", "~", "1", "0x1", "1e3", "012", "3.10", "1_000", "", " a ", "a: b", "a #b", "-", "*", "&a", "!x", "@x", "%x", "12:30:45", "2026-01-01"],
            "lines": "one\ntwo: 2\n\n  three\n",
            "wide": "x".repeat(300),
            "long": format!("{} # {}", "word ".repeat(40), "more ".repeat(40)),
            "numbers": [1, -1, 1.5],
            "empty": {}, "none": [], "nothing": null, "yes": true,
            "key with: colon": {"a/b.c-d": "\u{1b}[31m\t\"'"},
        });
        let documents = [
            Document::new(["first", "a\nb"], &odd).unwrap(),
            Document::new(Vec::<String>::new(), &json!({"a": 1})).unwrap(),
        ];
        let text = write(&documents);
        assert!(text.starts_with("# first\n# a\n# b\n"), "{text}");
        let parts: Vec<&str> = text.split("---\n").collect();
        assert_eq!(parts.len(), 2);
        assert_eq!(serde_saphyr::from_str::<Value>(parts[0]).unwrap(), odd);
        assert_eq!(parts[1], "a: 1\n");
    }
}
