#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on says where by panicking"
)]

mod flights;
mod wire;

use std::sync::Arc;

use haptic_core::{
    spec::{Storage, WatchPlan, WatchSpec},
    view::ReadError,
};
use tokio::time::Instant;

use super::*;

/// More than any answer of these tests.
const LIMIT: u64 = 1 << 20;

/// As long as a callback may take.
const PATIENCE: Duration = Duration::from_secs(10);

fn secrets(storage: Storage) -> WatchSpec {
    WatchSpec {
        name: "secrets".to_owned(),
        api_version: "v1".to_owned(),
        resources: "secrets".to_owned(),
        ignore_fields: vec!["metadata.managedFields".to_owned()],
        required: true,
        storage,
        ..WatchSpec::default()
    }
}

fn plan(spec: &WatchSpec) -> Arc<WatchPlan> {
    Arc::new(spec.plan().unwrap())
}

fn until() -> Instant {
    Instant::now() + PATIENCE
}

/// The `data` of each body.
fn data(bodies: &[Arc<str>]) -> Vec<String> {
    let data = |body: &Arc<str>| {
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        body["data"]["key"].as_str().unwrap_or("none").to_owned()
    };
    bodies.iter().map(data).collect()
}

#[track_caller]
fn unavailable<T: fmt::Debug>(result: Result<T, ReadError>) -> String {
    match result {
        Err(ReadError::Unavailable(text)) => text,
        other => panic!("it is not unavailable: {other:?}"),
    }
}
