//! Errors as one line of text.

use std::error::Error;

/// The error and its sources, joined by colons. A source that says what was said
/// already is left out: HTTP libraries wrap an error several times.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = match error.downcast_ref::<kube::Error>() {
            // "ServiceError: ", and then the source's own text.
            Some(kube::Error::Service(inner)) => inner.to_string(),
            _ => error.to_string(),
        };
        if !parts.iter().any(|part| part.contains(&text)) {
            parts.push(text);
        }
        next = error.source();
    }
    printable(&parts.join(": "))
}

/// Escapes control characters but newlines and tabs: names from a cluster or a
/// file must not forge lines or colours.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let escape = c.is_control() && !matches!(c, '\n' | '\t');
            let (plain, escaped) = if escape {
                (None, Some(c.escape_default()))
            } else {
                (Some(c), None)
            };
            plain.into_iter().chain(escaped.into_iter().flatten())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_and_not_obeyed() {
        assert_eq!(printable("a\u{1b}[31mb\nc"), "a\\u{1b}[31mb\nc");
    }

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        source: Option<Box<Layer>>,
    }

    #[test]
    fn sources_are_named_once() {
        let layers = ["cannot connect", "client error", "client error", "refused"];
        let error = layers
            .iter()
            .rev()
            .fold(None, |source, text| Some(Box::new(Layer { text, source })));
        let text = error.map(|error| chain(&*error));
        assert_eq!(
            text.as_deref(),
            Some("cannot connect: client error: refused")
        );
    }
}
