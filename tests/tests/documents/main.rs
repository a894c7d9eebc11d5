//! The documents that can be held against what they are about, and grammars that are written twice.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod config;
mod grammars;
mod wit;

use std::path::{Path, PathBuf};

/// A file of the repository.
fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
