//! One scenario run as a component and natively: every read, output, log line and callback
//! must be the same, failures included.

use std::{collections::BTreeMap, time::Duration};

use haptic_harness::{Builder, CallError, Callback, Harness, LogLine};
use haptic_tests::guest;
use serde_json::json;
use test_guests::Guest;

use crate::configmap;

#[derive(Debug, PartialEq)]
struct Everything {
    outputs: BTreeMap<String, String>,
    logs: Vec<LogLine>,
    callbacks: Vec<Callback>,
    errors: Vec<String>,
}

fn scenario(builder: Builder) -> Everything {
    let mut test = builder.own_namespace("host").load().unwrap();
    let mut errors = Vec::new();
    let mut step = |result: Result<(), haptic_harness::StepError>| {
        errors.extend(result.err().map(|error| {
            match error {
                haptic_harness::StepError::Objects(error) => error.to_string(),
                // A component's trap has a backtrace behind its text.
                haptic_harness::StepError::Callbacks(failures) => failures
                    .callbacks
                    .iter()
                    .map(|c| first_words(c).to_string())
                    .collect(),
            }
        }));
    };
    let service = |name: &str, port: u16| {
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"namespace": "shop", "name": name, "labels": {"app": name}},
            "spec": {"type": "ClusterIP", "ports": [{"port": port}, {"port": port + 1}]},
        })
    };
    test.given(json!([
        configmap("web", "red"),
        configmap("döner", "red"),
        configmap("quote\"d", "blue"),
        service("web", 80),
        service("db", 5432),
    ]));
    step(test.try_sync());
    step(test.try_apply(configmap("web", "green")));
    step(test.try_apply(service("web", 8080)));
    step(test.try_advance(Duration::from_millis(500)));
    step(test.try_delete("v1", "ConfigMap", "shop", "web"));
    step(test.try_apply(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"namespace": "host", "name": "settings"}, "data": {"a": "\u{1F600}\n"},
    })));
    step(test.try_advance(Duration::from_secs(1)));
    step(test.try_delete("v1", "ConfigMap", "host", "settings"));
    step(test.try_apply("apiVersion: v1\nkind: Pod\nmetadata: {name: nobody-asked}"));
    step(test.try_advance(Duration::from_secs(20)));
    everything(&test, errors)
}

fn everything(test: &Harness, errors: Vec<String>) -> Everything {
    let text = |content: &Vec<u8>| String::from_utf8(content.clone()).unwrap();
    Everything {
        outputs: test
            .outputs()
            .iter()
            .map(|(name, c)| (name.clone(), text(c)))
            .collect(),
        logs: test.logs(),
        callbacks: test.callbacks().iter().map(first_words).collect(),
        errors,
    }
}

fn first_words(callback: &Callback) -> Callback {
    let mut callback = callback.clone();
    if let Some(CallError::Trap { reason, .. }) = &mut callback.error {
        let end = reason.find("; ").unwrap_or(reason.len());
        reason.truncate(end);
    }
    callback
}

#[test]
fn native_runs_and_components_give_the_same_answers() {
    for mode in [
        "report",
        "read-all",
        "err",
        "err-twice",
        "panic",
        "bad-names",
        "wrong-reads",
        "new-err",
    ] {
        let settings = json!({"mode": mode});
        let mut component = scenario(guest(mode));
        let native = scenario(Harness::native::<Guest>().settings(settings));
        assert!(component.callbacks.len() >= 4 && !component.logs.is_empty() || mode == "new-err");
        // Natively nothing is counted.
        for callback in &mut component.callbacks {
            callback.cost = None;
        }
        assert_eq!(component, native, "{mode}");
    }
}

#[test]
fn refusals_of_native_plugins_are_those_of_components() {
    for mode in [
        "describe-err",
        "describe-wrong",
        "describe-nothing",
        "describe-reads",
        "unheard-of",
    ] {
        let of = |builder: Builder| match builder.load() {
            Err(error) => error.to_string(),
            Ok(_) => panic!("{mode} was loaded"),
        };
        let native = Harness::native::<Guest>().settings(json!({"mode": mode}));
        assert_eq!(of(guest(mode)), of(native), "{mode}");
    }
}

#[test]
fn the_same_steps_give_the_same_everything() {
    assert_eq!(scenario(guest("read-all")), scenario(guest("read-all")));
}

#[tokio::test]
async fn a_component_can_be_tested_inside_an_async_test() {
    let mut test = crate::synced(guest("report"));
    crate::change(&mut test, "blue").unwrap();
    drop(test);
    tokio::task::yield_now().await;
}
