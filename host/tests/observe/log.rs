//! The log (contract V2), as a machine reads it.

use std::process::Command;

use serde_json::Value;

use crate::{Host, eventually, hello};

/// The lines so far.
fn lines(host: &Host) -> Vec<Value> {
    let log = host.log.lock().unwrap();
    log.iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect()
}

/// The first line with this message.
fn line(host: &Host, message: &str) -> Value {
    eventually(message, || {
        lines(host)
            .into_iter()
            .find(|line| line["message"] == message)
    })
}

#[test]
fn v2_a_callbacks_line_has_plugin_watch_stats_duration_and_bytes() {
    let host = hello();
    let synced = line(&host, "on-sync-complete");
    assert_eq!(synced["level"], "INFO");
    assert_eq!(synced["plugin"], "hello");
    assert_eq!(synced["watch"], "configmaps");
    assert_eq!(synced["objects"], 2);
    host.put("three");
    let changed = line(&host, "on-change");
    assert_eq!(changed["plugin"], "hello");
    assert_eq!(changed["watch"], "configmaps");
    let stats = ["created", "modified", "deleted"].map(|name| changed[name].as_u64());
    assert_eq!(stats, [Some(1), Some(0), Some(0)]);
    for line in [synced, changed] {
        assert!(line["duration_ms"].as_f64().unwrap() > 0.0, "{line}");
        assert!(line["bytes"].as_u64().unwrap() > 10, "{line}");
        assert_eq!(line["changed"], 1, "{line}");
    }
}

#[test]
fn v2_w9_a_state_is_logged_once_a_change() {
    let host = Host::start(
        "plugins:\n  hello:\n    file: hello.wasm\n    watchedResources:\n      widgets: \
         {apiVersion: example.com/v1, resources: widgets, required: false}\n",
        &[("hello", "hello_plugin")],
    );
    // Why a watch was lost is a line of its own, before the one for its state.
    let reason = "cannot watch ";
    let states = |watch: &str| -> Vec<String> {
        lines(&host)
            .into_iter()
            .filter(|line| line["watch"] == watch && line.get("plugin").is_none())
            .map(|line| line["message"].as_str().unwrap().to_owned())
            .filter(|message| !message.starts_with(reason))
            .collect()
    };
    let becomes = |expected: &[&str]| {
        eventually("another state", || {
            (states("widgets").len() >= expected.len()).then_some(())
        });
        assert_eq!(states("widgets"), expected);
    };
    let waits = "waiting for the resource to be served";
    let lost = "lost; what is known stays, and it is tried again";
    line(&host, "on-sync-complete");
    assert_eq!(states("configmaps"), ["synced"]);
    becomes(&[waits]);
    // The kind comes, and goes again.
    let cluster = host.dir.path().join("cluster/widgets.yaml");
    std::fs::write(&cluster, WIDGETS).unwrap();
    becomes(&[waits, "synced"]);
    std::fs::remove_file(&cluster).unwrap();
    becomes(&[waits, "synced", lost, waits]);
}

const WIDGETS: &str = "\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {kind: Widget, plural: widgets, singular: widget}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";

#[test]
fn v2_a_filter_that_would_silence_everything_is_refused() {
    let run = |filter: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_haptic-host"))
            .args([
                "--log",
                filter,
                "--plugin",
                "none.wasm",
                "--manifests",
                "none",
            ])
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (code, stderr) = run("bogus=");
    assert_eq!(code, Some(2));
    assert!(stderr.contains("`bogus=` is no level"), "{stderr}");
    let (_, stderr) = run("haptic_core=debug");
    assert!(stderr.contains("none.wasm"), "{stderr}");
}
