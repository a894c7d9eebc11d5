//! Outputs on standard output.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use super::{Changed, Committed, Debt, SinkError, begin, mark};
use crate::{
    leader::Tenure,
    plugin::{OutputName, Outputs},
};

/// Prints each output whose content changed. One output is printed as it is, so
/// that it can be piped; as soon as a plugin has written several, each comes
/// under a line `==> NAME <==`.
#[derive(Debug, Default)]
pub struct StdoutSink {
    printed: BTreeMap<OutputName, Vec<u8>>,
    hooked: bool,
}

impl StdoutSink {
    /// With `hooked`, its commits say that the hook has to run.
    #[must_use]
    pub fn new(hooked: bool) -> Self {
        Self {
            printed: BTreeMap::new(),
            hooked,
        }
    }

    /// Prints what changed since the last commit; with a `tenure`, only if it lasts.
    ///
    /// # Errors
    /// [`SinkError::Stdout`], [`SinkError::NotLeading`].
    pub fn commit(
        &mut self,
        outputs: Outputs,
        tenure: Option<&Tenure>,
    ) -> Result<Committed, SinkError> {
        let mut text = Vec::new();
        let changed = self.render(outputs, &mut text);
        let _commit = begin(tenure)?;
        let mut stdout = io::stdout().lock();
        stdout
            .write_all(&text)
            .and_then(|()| stdout.flush())
            .map_err(SinkError::Stdout)?;
        for change in &changed {
            self.printed
                .insert(change.name.clone(), change.after.clone());
        }
        let owes = self.hooked && !changed.is_empty();
        let debt = owes.then(|| {
            let names = changed.iter().map(|changed| changed.name.clone());
            Debt::new(&mark::token(), names.collect())
        });
        Ok(Committed { changed, debt })
    }

    fn render(&self, outputs: Outputs, text: &mut Vec<u8>) -> Vec<Changed> {
        let several = self
            .printed
            .keys()
            .chain(outputs.keys())
            .any(|name| Some(name) != outputs.keys().next());
        let mut changed = Vec::new();
        for (name, after) in outputs {
            let before = self.printed.get(&name);
            if before == Some(&after) {
                continue;
            }
            let before = before.cloned();
            if several {
                text.extend_from_slice(format!("==> {name} <==\n").as_bytes());
            }
            text.extend_from_slice(&after);
            if several && !after.ends_with(b"\n") {
                text.push(b'\n');
            }
            changed.push(Changed {
                name,
                before,
                after,
            });
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn outputs(files: &[(&str, &str)]) -> Outputs {
        files
            .iter()
            .map(|(name, text)| (OutputName::parse(name).unwrap(), text.as_bytes().to_vec()))
            .collect()
    }

    fn printed(sink: &StdoutSink, files: &[(&str, &str)]) -> String {
        let mut text = Vec::new();
        sink.render(outputs(files), &mut text);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn one_output_is_printed_bare_and_several_under_their_names() {
        let mut sink = StdoutSink::default();
        assert_eq!(printed(&sink, &[("a", "x\n")]), "x\n");
        assert_eq!(
            printed(&sink, &[("a", "x"), ("b", "y\n")]),
            "==> a <==\nx\n==> b <==\ny\n"
        );
        sink.printed = outputs(&[("a", "x\n")]);
        assert_eq!(printed(&sink, &[("a", "x\n")]), "", "unchanged");
        assert_eq!(
            printed(&sink, &[("b", "y\n")]),
            "==> b <==\ny\n",
            "a second name"
        );
    }
}
