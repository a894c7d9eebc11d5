//! What looks at plugins and deploys them: inspect, rbac, manifests, completions, the Dockerfile.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod completions;
mod dockerfile;
mod inspect;
mod manifests;
mod rights;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn guest(name: &str) -> PathBuf {
    let path = root()
        .join("target/guests/wasm32-wasip2/release")
        .join(format!("{name}.wasm"));
    assert!(
        path.is_file(),
        "{} is missing: run `make guests`",
        path.display()
    );
    path
}

fn host() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_haptic-host"));
    command
        .env_remove("KUBECONFIG")
        .env_remove("HAPTIC_LOG")
        .env_remove("POD_NAME")
        .env("HAPTIC_CACHE_DIR", root().join("target/plugin-cache"))
        .stdin(Stdio::null());
    command
}

fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    (
        status.code(),
        String::from_utf8(stdout).unwrap(),
        String::from_utf8(stderr).unwrap(),
    )
}

/// Runs the host with these words; its standard output.
fn ok(words: &[&str]) -> String {
    let (code, stdout, stderr) = run(host().args(words));
    assert_eq!(code, Some(0), "{words:?}: {stderr}");
    stdout
}

/// The last line on standard error: what the user is told.
fn told(stderr: &str) -> &str {
    stderr
        .rsplit_once("error: ")
        .map_or(stderr, |(_, told)| told.trim_end())
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
