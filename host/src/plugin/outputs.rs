//! What one callback wrote: named byte strings that nobody sees before the
//! callback has returned ok.

use std::{
    borrow::Borrow,
    collections::BTreeMap,
    fmt,
    ops::Bound::{Excluded, Unbounded},
};

use super::limits::Limits;

/// The name of an output: a relative path with `/` between its parts that stays
/// inside the output directory on every platform (contract O1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutputName(String);

/// Longest output name in bytes: PATH_MAX with room for the directory.
const MAX_NAME: usize = 1_024;
/// Longest part of a name in bytes: NAME_MAX less what a temporary file adds.
const MAX_PART: usize = 200;

impl OutputName {
    /// Checks and normalises: `./a//b` is `a/b`.
    ///
    /// # Errors
    /// [`OutputNameError`] for a name that is empty, absolute, too long, climbs
    /// with `..`, or holds a backslash, a colon or a control character.
    pub fn parse(text: &str) -> Result<Self, OutputNameError> {
        let refuse = |reason| OutputNameError {
            name: text.chars().take(80).collect(),
            reason,
        };
        if text.len() > MAX_NAME {
            return Err(refuse("is longer than 1,024 bytes"));
        }
        if text.starts_with('/') {
            return Err(refuse("is absolute"));
        }
        if text
            .chars()
            .any(|c| c.is_control() || c == '\\' || c == ':')
        {
            return Err(refuse("holds a control character, a backslash or a colon"));
        }
        let mut parts: Vec<&str> = Vec::new();
        for part in text.split('/') {
            match part {
                "" | "." => {}
                ".." => return Err(refuse("climbs out with `..`")),
                _ if part.len() > MAX_PART => {
                    return Err(refuse("has a part longer than 200 bytes"));
                }
                _ if part.starts_with(".haptic-") => {
                    return Err(refuse("begins like the host's own temporary files"));
                }
                _ => parts.push(part),
            }
        }
        if parts.is_empty() {
            return Err(refuse("is empty"));
        }
        Ok(Self(parts.join("/")))
    }

    /// The normalised name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for OutputName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OutputName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why an output name was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("output name {name:?} {reason}: names are relative paths inside the output directory")]
pub struct OutputNameError {
    /// The name's first 80 characters.
    pub name: String,
    reason: &'static str,
}

/// Outputs of one callback, by name; a later write replaces an earlier one.
pub type Outputs = BTreeMap<OutputName, Vec<u8>>;

/// Collects writes under the limits of one callback.
#[derive(Debug, Default)]
pub struct Pending {
    outputs: Outputs,
    bytes: u64,
    /// Set once a limit was hit: the callback fails even if the guest goes on.
    exceeded: Option<OutputLimit>,
}

/// Why a write was left out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The name is impossible beside another of the same callback. As with other
    /// wrong names the guest is told, and the callback may still succeed.
    #[error(
        "output name {:?} cannot stand beside {:?}, which this callback has written: one would be a file and a directory at once", name.as_str(), other.as_str()
    )]
    Clash {
        /// The name.
        name: OutputName,
        /// The one that was written before.
        other: OutputName,
    },
    /// A limit: the callback has failed, which [`Pending::take_exceeded`] remembers.
    #[error(transparent)]
    Limit(#[from] OutputLimit),
}

/// Which limit of a callback's outputs a write would exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutputLimit {
    /// [`Limits::output_bytes`].
    #[error(
        "it wrote more than {0} bytes of output in one callback (raise it with --output-limit)"
    )]
    Bytes(u64),
    /// [`Limits::output_count`].
    #[error("it wrote more than {0} outputs in one callback (raise it with --output-count-limit)")]
    Count(usize),
}

impl Pending {
    /// Takes one write; of an output that was written before, the new content.
    ///
    /// # Errors
    /// [`WriteError`]: the write is left out.
    pub fn write(
        &mut self,
        name: OutputName,
        content: Vec<u8>,
        limits: &Limits,
    ) -> Result<(), WriteError> {
        if let Some(other) = self.clash(name.as_str()) {
            let other = other.clone();
            return Err(WriteError::Clash { name, other });
        }
        let size = |len: usize| u64::try_from(len).unwrap_or(u64::MAX);
        let replaced = self.outputs.get(&name).map_or(0, |old| size(old.len()));
        let bytes = (self.bytes - replaced).saturating_add(size(content.len()));
        let count = self.outputs.len();
        let limit = if bytes > limits.output_bytes {
            OutputLimit::Bytes(limits.output_bytes)
        } else if count >= limits.output_count && !self.outputs.contains_key(&name) {
            OutputLimit::Count(limits.output_count)
        } else {
            self.bytes = bytes;
            self.outputs.insert(name, content);
            return Ok(());
        };
        self.exceeded.get_or_insert(limit);
        Err(limit.into())
    }

    /// An output that is a directory of this name's, or has this name as a directory.
    fn clash(&self, name: &str) -> Option<&OutputName> {
        let above = name
            .match_indices('/')
            .find_map(|(end, _)| self.outputs.get_key_value(&name[..end]));
        let directory = format!("{name}/");
        let below = || {
            self.outputs
                .range::<str, _>((Excluded(directory.as_str()), Unbounded))
                .next()
                .filter(|(other, _)| other.as_str().starts_with(&directory))
        };
        above.or_else(below).map(|(other, _)| other)
    }

    /// The first limit that was hit, once.
    pub fn take_exceeded(&mut self) -> Option<OutputLimit> {
        self.exceeded.take()
    }

    /// What was written.
    #[must_use]
    pub fn into_outputs(self) -> Outputs {
        self.outputs
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn o1_names_stay_inside_the_output_directory() {
        for (typed, normal) in [
            ("haproxy.cfg", "haproxy.cfg"),
            ("certs/shop_tls.pem", "certs/shop_tls.pem"),
            ("./a//b/./c", "a/b/c"),
            ("..a/b..", "..a/b.."),
        ] {
            assert_eq!(OutputName::parse(typed).unwrap().as_str(), normal);
        }
        let long = "x".repeat(201);
        let very_long = "x/".repeat(600);
        for refused in [
            "",
            ".",
            "/",
            "/etc/passwd",
            "..",
            "../x",
            "a/../../x",
            "a\\b",
            "C:x",
            "a\0b",
            "a\nb",
            ".haptic-tmp",
            long.as_str(),
            very_long.as_str(),
        ] {
            assert!(OutputName::parse(refused).is_err(), "{refused:?}");
        }
    }

    #[test]
    fn p1_writes_over_the_limit_are_refused_and_remembered() {
        let limits = Limits {
            output_bytes: 10,
            output_count: 2,
            ..Limits::default()
        };
        let mut pending = Pending::default();
        let name = |n: &str| OutputName::parse(n).unwrap();
        pending.write(name("a"), vec![0; 8], &limits).unwrap();
        pending.write(name("a"), vec![0; 10], &limits).unwrap();
        let bytes = OutputLimit::Bytes(10);
        assert_eq!(
            pending.write(name("b"), vec![0; 1], &limits),
            Err(bytes.into())
        );
        assert_eq!(pending.take_exceeded(), Some(bytes));
        pending.write(name("b"), Vec::new(), &limits).unwrap();
        let count = OutputLimit::Count(2);
        assert_eq!(
            pending.write(name("c"), Vec::new(), &limits),
            Err(count.into())
        );
        assert_eq!(pending.take_exceeded(), Some(count));
        assert_eq!(pending.into_outputs().len(), 2);
    }
    #[test]
    fn o1_a_name_that_would_be_a_file_and_a_directory_is_refused() {
        for (first, second, clashes) in [
            ("x", "x/y", true),
            ("x", "x/y/z", true),
            ("x/y", "x", true),
            ("x/y/z", "x", true),
            ("x/y/z", "x/y", true),
            ("x/y", "x/z", false),
            ("x", "xy/z", false),
            ("x", "x!", false),
            ("a/x", "x", false),
        ] {
            let limits = Limits::default();
            let name = |n: &str| OutputName::parse(n).unwrap();
            let mut pending = Pending::default();
            // Sorts between a directory and what is below it.
            pending.write(name("x-"), Vec::new(), &limits).unwrap();
            pending.write(name(first), Vec::new(), &limits).unwrap();
            let expected = if clashes {
                let (name, other) = (name(second), name(first));
                Err(WriteError::Clash { name, other })
            } else {
                Ok(())
            };
            let outcome = pending.write(name(second), vec![1], &limits);
            assert_eq!(outcome, expected, "{first} {second}");
            assert_eq!(pending.take_exceeded(), None, "the callback goes on");
        }
        let [name, other] = ["x/y", "x"].map(|n| OutputName::parse(n).unwrap());
        assert_eq!(
            WriteError::Clash { name, other }.to_string(),
            "output name \"x/y\" cannot stand beside \"x\", which this callback has written: \
             one would be a file and a directory at once"
        );
    }
}
