//! End-to-end tests: plugins that misbehave, through the host's own runtime.

use std::path::PathBuf;

use haptic_harness::{Builder, Harness};
use serde_json::json;

/// Where `make guests` puts a component.
#[must_use]
pub fn component(name: &str) -> PathBuf {
    PathBuf::from(format!("target/guests/wasm32-wasip2/release/{name}.wasm"))
}

/// The component of `tests/guests` in one of its modes.
pub fn guest(mode: &str) -> Builder {
    Harness::wasm(component("test_guests")).settings(json!({"mode": mode}))
}
