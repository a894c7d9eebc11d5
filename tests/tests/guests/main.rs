//! What each guest of `tests/guests` gets from the host's runtime, and what components get
//! that are no plugins. Needs `make guests`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod abuse;
mod budgets;
mod components;
mod delivery;
mod describe;
mod handmade;
mod limits;
mod neighbours;
mod parity;
mod sandbox;
mod time;

use std::time::Duration;

use haptic_harness::{Builder, CallError, Failures, Harness, StepError};
use haptic_tests::guest;
use serde_json::{Value, json};

/// A ConfigMap of the guest's collection.
fn configmap(name: &str, colour: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"namespace": "shop", "name": name},
        "data": {"colour": colour},
    })
}

/// The guest with one object in its store, told of it.
#[track_caller]
fn synced(builder: Builder) -> Harness {
    let mut test = builder.load().unwrap();
    test.given(configmap("web", "red")).sync();
    test.take_callbacks();
    test
}

/// Changes the object and lets the debounce interval pass.
fn change(test: &mut Harness, colour: &str) -> Result<(), StepError> {
    test.try_apply(configmap("web", colour))?;
    test.try_advance(Duration::from_millis(500))
}

/// How the only callback failed.
#[track_caller]
fn failure(result: Result<(), StepError>) -> CallError {
    match result {
        Err(StepError::Callbacks(Failures { callbacks, .. })) => {
            assert_eq!(callbacks.len(), 1, "{callbacks:?}");
            callbacks.into_iter().next().unwrap().error.unwrap()
        }
        other => panic!("no callback failed: {other:?}"),
    }
}

/// How a mode fails at its first change, after which the host can run plugins as before.
#[track_caller]
fn failure_of(builder: Builder) -> CallError {
    let mut test = synced(builder);
    let error = failure(change(&mut test, "blue"));
    assert!(!test.outputs().contains_key("half-written"), "invariant 8");
    assert!(!test.outputs().contains_key("report"), "invariant 8");
    let mut other = synced(guest("report"));
    change(&mut other, "blue").unwrap();
    assert_eq!(
        other.output("report"),
        "configmaps +0 ~1 -0 initial=false\n~shop/web\n"
    );
    error
}

#[test]
fn every_guest_has_a_test_style_19() {
    let sources = [
        include_str!("abuse.rs"),
        include_str!("budgets.rs"),
        include_str!("delivery.rs"),
        include_str!("describe.rs"),
        include_str!("limits.rs"),
        include_str!("parity.rs"),
        include_str!("sandbox.rs"),
        include_str!("time.rs"),
        include_str!("../cached/main.rs"),
        // Those that only a process can show.
        include_str!("../../../host/tests/lifecycle/limits.rs"),
        include_str!("../../../host/tests/lifecycle/signals.rs"),
    ]
    .concat();
    for mode in test_guests::MODES {
        assert!(
            sources.contains(&format!("\"{mode}\"")),
            "no test uses the mode {mode}"
        );
    }
}
