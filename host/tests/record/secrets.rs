//! What Secrets hold is not in a recording, unless it is asked for.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::{Stage, holds, ok, support::Process};

/// A Secret of this password.
fn secret(password: &str) -> String {
    let encoded = STANDARD.encode(password);
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: login\n  namespace: shop\n  labels: {{app: web}}\n  annotations: {{kubectl.kubernetes.io/last-applied-configuration: 'password {password}'}}\ntype: Opaque\ndata: {{password: {encoded}, user: {}}}\n",
        STANDARD.encode("admin")
    )
}

/// A configuration of the guest that reads Secrets of a cached store.
fn configure(stage: &Stage) -> std::path::PathBuf {
    stage.configure("read-cached", "")
}

/// Records a Secret whose password changes.
fn record(stage: &Stage, more: &[&str]) {
    let config = configure(stage);
    let mut command = stage.record();
    command.arg("--config").arg(config).args(more);
    command.args(["--allow", "declared,secrets"]);
    let mut recording = Process::start(&mut command);
    stage.recorded(&recording, |line| line["list"] == "end");
    stage.change(&secret("hunter-two"));
    stage.recorded(&recording, |line| {
        !line["applied"].is_null() && holds(line, "login")
    });
    assert_eq!(recording.stop(), Some(0), "{}", recording.log());
}

/// The passwords that were recorded, in order.
fn passwords(stage: &Stage) -> Vec<String> {
    let objects = stage
        .lines()
        .into_iter()
        .flat_map(|line| [line["listed"].clone(), line["applied"].clone()]);
    objects
        .filter(|object| object["metadata"]["name"] == "login")
        .map(|object| {
            assert_eq!(
                object["data"]["user"].as_str().unwrap().len(),
                8,
                "{object}"
            );
            object["data"]["password"].as_str().unwrap().to_owned()
        })
        .collect()
}

#[test]
fn values_of_secrets_are_replaced_and_their_changes_stay_changes() {
    let stage = Stage::new(&secret("hunter-one"));
    record(&stage, &[]);
    let text = stage.read("bug.jsonl");
    for secret in [
        "hunter",
        &STANDARD.encode("hunter")[..8],
        &STANDARD.encode("admin"),
    ] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
    assert_eq!(stage.lines()[0]["secrets"], "redacted");
    let passwords = passwords(&stage);
    let [before, after] = &passwords[..] else {
        panic!("{text}")
    };
    assert_ne!(before, after);
    for password in &passwords {
        assert_eq!(STANDARD.decode(password).unwrap().len(), "hunter-one".len());
    }
    // A cached store reads the bodies out of the recording.
    let (rendered, log) = replay(&stage);
    assert!(rendered.contains(after.as_str()), "{rendered}\n{log}");
    assert!(log.contains("what Secrets hold is redacted"), "{log}");
    assert_eq!((rendered, log), replay(&stage));
}

#[test]
fn values_of_secrets_are_recorded_when_that_is_asked_for() {
    let stage = Stage::new(&secret("hunter-one"));
    record(&stage, &["--with-secrets"]);
    assert_eq!(stage.lines()[0]["secrets"], "kept");
    let expected = ["hunter-one", "hunter-two"].map(|password| STANDARD.encode(password));
    assert_eq!(passwords(&stage), expected);
    let (rendered, log) = replay(&stage);
    assert!(rendered.contains(&expected[1]), "{rendered}\n{log}");
    assert!(!log.contains("redacted"), "{log}");
}

fn replay(stage: &Stage) -> (String, String) {
    ok(stage.replay().arg("--config").arg(configure(stage)))
}

#[test]
fn fields_that_no_watch_keeps_are_not_recorded_but_those_that_index_it_are() {
    let stage = Stage::new(&secret("hunter-one"));
    record(&stage, &[]);
    let lines = stage.lines();
    let found = lines.iter().find(|line| holds(line, "login")).unwrap();
    let object = found["listed"].as_object().or(found["applied"].as_object());
    let object = Value::Object(object.unwrap().clone());
    assert_eq!(object["metadata"]["labels"]["app"], "web");
    assert_eq!(object["metadata"]["annotations"], Value::Null, "{object}");
    assert_eq!(object["type"], Value::Null, "{object}");
}

#[test]
fn a_secret_in_another_object_is_redacted_as_well() {
    let stage = Stage::new(&format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: one\n  namespace: shop\n  annotations:\n    kubectl.kubernetes.io/last-applied-configuration: '{{\"kind\":\"Secret\",\"data\":{{\"a\":\"{}\"}}}}'\ndata: {{plain: 'stays a Secret to nobody'}}\n",
        STANDARD.encode("hunter")
    ));
    let config = stage.configure("report", "");
    let mut recording = Process::start(stage.record().arg("--config").arg(config));
    stage.recorded(&recording, |line| holds(line, "one"));
    assert_eq!(recording.stop(), Some(0), "{}", recording.log());
    let text = stage.read("bug.jsonl");
    assert!(!text.contains(&STANDARD.encode("hunter")), "{text}");
    assert!(text.contains("stays a Secret to nobody"), "{text}");
}
