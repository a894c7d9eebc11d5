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
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

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
