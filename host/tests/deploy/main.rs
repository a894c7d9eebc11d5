//! What looks at plugins and deploys them: inspect, rbac, manifests, completions, the Dockerfile.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod completions;
mod dockerfile;
mod inspect;
mod manifests;
mod rights;
mod shards;

#[path = "../support/mod.rs"]
mod support;

use serde_json::Value;

use support::{host, run};

/// Runs the host with these words; its standard output.
fn ok(words: &[&str]) -> String {
    let (code, stdout, stderr) = run(host().args(words));
    assert_eq!(code, Some(0), "{words:?}: {stderr}");
    stdout
}

/// The documents of a YAML text.
fn documents(text: &str) -> Vec<Value> {
    text.split("---\n")
        .map(|part| serde_saphyr::from_str(part).unwrap())
        .collect()
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}
