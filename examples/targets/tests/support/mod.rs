//! Reads `scenario.yaml`, plays it, and runs the host on what it does not call.

use std::{
    ops::Range,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use haptic_harness::{Builder, CallError, Harness, LogLine, StepError};
use serde::Deserialize;
use serde_json::{Value, json};

/// The output if the settings name no other.
pub(crate) const OUTPUT: &str = "targets.json";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    pub(crate) plays: Vec<Play>,
    pub(crate) refused: Vec<Refused>,
    pub(crate) unwritable: Refused,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Play {
    name: String,
    settings: Value,
    pub(crate) given: Vec<Value>,
    pub(crate) steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    name: String,
    fails: Option<Failure>,
    #[serde(default)]
    pub(crate) apply: Vec<Value>,
    #[serde(default)]
    delete: Vec<String>,
    targets: Option<String>,
    log: Option<Vec<String>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Failure {
    Commit,
    Trap,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Refused {
    pub(crate) settings: Value,
    pub(crate) error: String,
}

pub(crate) fn scenario() -> Scenario {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenario.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn plays(plugin: impl Fn() -> Builder) {
    let plays = scenario().plays;
    assert!(!plays.is_empty());
    for Play {
        name,
        settings,
        given,
        steps,
    } in plays
    {
        let output = settings["file"].as_str().unwrap_or(OUTPUT).to_owned();
        let mut test = plugin().settings(settings).load().unwrap();
        test.given(json!(given)).sync();
        for step in steps {
            let name = format!("{name}: {}", step.name);
            take(&mut test, &step, &name);
            if let Some(targets) = &step.targets {
                assert_eq!(test.output(&output), targets, "{name}");
            }
            let log: Vec<String> = test.take_logs().iter().map(line).collect();
            if let Some(expected) = &step.log {
                assert_eq!(&log, expected, "{name}");
            }
        }
    }
}

fn take(test: &mut Harness, step: &Step, name: &str) {
    match step.fails {
        Some(Failure::Commit) => _ = test.fail_commit("the scenario asked for it"),
        Some(Failure::Trap) => _ = test.trap_next(),
        None => {}
    }
    let mut failed = 0;
    let mut heard = |result: Result<(), StepError>| match result {
        Ok(()) => {}
        Err(StepError::Callbacks(_)) if step.fails.is_some() => failed += 1,
        Err(error) => panic!("{name}: {error}"),
    };
    for object in &step.delete {
        let (namespace, object) = object.split_once('/').unwrap();
        heard(test.try_delete("discovery.k8s.io/v1", "EndpointSlice", namespace, object));
    }
    heard(test.try_apply(json!(step.apply)));
    if step.fails.is_none() {
        heard(test.try_settle());
        // The next change comes after a quiet time, so it is told at once.
        heard(test.try_advance(Duration::from_secs(10)));
    } else {
        assert_eq!(
            failed, 1,
            "{name}: the callback that was to fail did not run"
        );
    }
}

/// `info rendered everything groups=2`
fn line(line: &LogLine) -> String {
    let level = format!("{:?}", line.level).to_lowercase();
    let fields: Vec<String> = line
        .fields
        .iter()
        .map(|(key, value)| format!(" {key}={value}"))
        .collect();
    format!("{level} {}{}", line.message, fields.concat())
}

/// The text of the one callback that returned an error.
#[track_caller]
pub(crate) fn error_of(error: &StepError, callback: &str) -> String {
    let StepError::Callbacks(failures) = error else {
        panic!("{error}");
    };
    match failures
        .callbacks
        .first()
        .and_then(|ran| ran.error.as_ref())
    {
        Some(CallError::Refused {
            callback: failed,
            message,
        }) if *failed == callback => message.clone(),
        _ => panic!("{callback} did not return an error: {failures}"),
    }
}

/// Slices, each with one endpoint of a Service of its own.
pub(crate) fn slices(numbers: Range<usize>, address: &str) -> Value {
    let slices = numbers.map(|number| {
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "namespace": "shop", "name": name(number),
                "labels": {"kubernetes.io/service-name": format!("s{number}")},
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": [address]}],
            "ports": [{"name": "metrics", "port": 9090}],
        })
    });
    slices.collect()
}

pub(crate) fn name(number: usize) -> String {
    format!("web-{number:02}")
}

/// What `haptic-host inspect` says of a plugin.
pub(crate) fn inspected(plugin: &str) -> Value {
    let text = host(&["inspect", "--output-format", "json"], plugin);
    serde_json::from_str(&text).unwrap()
}

pub(crate) fn watches(inspected: &Value) -> &Value {
    &inspected["plugins"][0]["watches"]
}

/// The roles that `haptic-host rbac` prints, without its comments, which name the plugin.
pub(crate) fn roles(plugin: &str) -> String {
    let text = host(&["rbac"], plugin);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| format!("{line}\n")).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn host(words: &[&str], plugin: &str) -> String {
    let host = root().join("target/debug/haptic-host");
    assert!(
        host.is_file(),
        "there is no {}: `make test-languages` builds it",
        host.display()
    );
    let output = Command::new(host)
        .args(words)
        .arg("--cache-dir")
        .arg(root().join("target/languages/cache"))
        .arg(root().join(plugin))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?} {plugin}: {said}");
    String::from_utf8(output.stdout).unwrap()
}
