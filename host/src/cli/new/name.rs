//! Names of plugins' packages: those that cargo takes, that make no warnings, and that do not
//! hide what the project is built with.

use std::{fmt, str::FromStr};

/// The most that crates.io takes.
const MAX_BYTES: usize = 64;

/// Words of Rust, some of which are only reserved.
const KEYWORDS: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate",
    "do", "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl",
    "in", "let", "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref",
    "return", "self", "static", "struct", "super", "trait", "true", "try", "type", "typeof",
    "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// Crates that are there without being asked for, those that the project asks for, and folders of
/// cargo's own.
const TAKEN: &[&str] = &[
    "alloc",
    "build",
    "core",
    "deps",
    "examples",
    "haptic_alike",
    "haptic_guest",
    "haptic_harness",
    "incremental",
    "proc_macro",
    "serde",
    "serde_json",
    "std",
    "test",
];

/// The name of a plugin's package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PluginName(String);

impl PluginName {
    /// The name of the crate, and of the component's file.
    pub(super) fn crate_name(&self) -> String {
        self.0.replace('-', "_")
    }
}

impl fmt::Display for PluginName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for PluginName {
    /// A sentence with the name and what is wrong with it.
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| Err(format!("{text:?} {why}"));
        if text.len() > MAX_BYTES {
            return wrong("is longer than 64 bytes");
        }
        if !text.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return wrong("does not begin with a letter");
        }
        if text.contains(|c: char| c.is_ascii_uppercase()) {
            return wrong("has capital letters: Rust's crates have small ones");
        }
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if let Some(c) = text.chars().find(|c| !is_allowed(*c)) {
            return wrong(&format!(
                "has {c:?}: a name has small letters, digits, `-` and `_`"
            ));
        }
        let name = Self(text.to_owned());
        let crate_name = name.crate_name();
        if KEYWORDS.contains(&crate_name.as_str()) {
            return wrong("is a word of Rust");
        }
        if TAKEN.contains(&crate_name.as_str()) {
            return wrong("is the name of something that a plugin is built with");
        }
        Ok(name)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn k4_a_name_is_one_that_cargo_takes_without_a_warning() {
        let long = "a".repeat(64);
        for text in [
            "my-plugin",
            "a",
            "route_53",
            "x--",
            "tests",
            "plugin",
            &long,
        ] {
            assert_eq!(text.parse::<PluginName>().unwrap().to_string(), text);
        }
        let longer = "a".repeat(65);
        for (text, why) in [
            ("", "does not begin with a letter"),
            ("9lives", "does not begin with a letter"),
            ("_x", "does not begin with a letter"),
            ("-x", "does not begin with a letter"),
            ("é", "does not begin with a letter"),
            (
                "MyPlugin",
                "has capital letters: Rust's crates have small ones",
            ),
            (
                "my plugin",
                "has ' ': a name has small letters, digits, `-` and `_`",
            ),
            (
                "a/b",
                "has '/': a name has small letters, digits, `-` and `_`",
            ),
            (
                "a\"",
                "has '\"': a name has small letters, digits, `-` and `_`",
            ),
            ("async", "is a word of Rust"),
            (
                "haptic-guest",
                "is the name of something that a plugin is built with",
            ),
            (
                "proc-macro",
                "is the name of something that a plugin is built with",
            ),
            (&longer, "is longer than 64 bytes"),
        ] {
            let error = text.parse::<PluginName>().unwrap_err();
            assert_eq!(error, format!("{text:?} {why}"));
        }
    }
}
