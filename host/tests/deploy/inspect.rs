//! `inspect`: what it says of plugins, and of what a configuration makes of them.

use std::fs;

use serde_json::{Value, json};

use super::{
    ok,
    support::{guest, host, run, told},
};

#[test]
fn k4_inspect_shows_the_contract_the_imports_and_the_watches() {
    let path = guest("haproxy_plugin");
    let shown = ok(&["inspect", path.to_str().unwrap()]);
    let bytes = fs::metadata(&path).unwrap().len();
    for part in [
        "haproxy_plugin\n",
        &format!("size      {bytes} bytes\n"),
        "contract  haptic:plugin@0.1.0; this host speaks haptic:plugin@0.1.0\n",
        "haptic:plugin/callbacks@0.1.0: describe, on-change, on-resource-change, on-sync-complete\n",
        "haptic:plugin/output@0.1.0: write",
        "ingresses: ingresses of networking.k8s.io/v1 in all namespaces\n",
        "store: memory\n",
        "not allowed: needs --allow secrets\n",
        "grants    --allow declared,secrets\n",
    ] {
        assert!(shown.contains(part), "{part:?} is not in:\n{shown}");
    }
    let allowed = ok(&[
        "inspect",
        path.to_str().unwrap(),
        "--allow",
        "declared,secrets",
    ]);
    assert!(!allowed.contains("not allowed"), "{allowed}");
}

#[test]
fn k4_inspect_shows_what_a_configuration_changes() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.yaml");
    fs::write(
        &config,
        format!(
            "plugins:\n  hello:\n    file: {}\n    watchedResources:\n      configmaps:\n        namespaces: [shop]\n        labelSelector: app=web\n        store: cached\n        cacheTTL: 90s\n      extra: {{apiVersion: example.com/v1, resources: widgets, required: false}}\n",
            guest("hello_plugin").display()
        ),
    )
    .unwrap();
    let words = ["inspect", "--config", config.to_str().unwrap()];
    let shown = ok(&words);
    for part in [
        "configmaps: configmaps of v1 in shop\n",
        "only metadata is watched",
        "the configuration changes namespaces: not set → shop\n",
        "the configuration changes labelSelector: not set → app=web\n",
        "the configuration changes store: memory → cached\n",
        "cacheTTL: 1m30s\n",
        "extra: widgets of example.com/v1 in all namespaces (added by the configuration)\n",
        "required: false\n",
        "grants    none needed",
    ] {
        assert!(shown.contains(part), "{part:?} is not in:\n{shown}");
    }
    let json = ok(&[&words[..], &["--output-format", "json"]].concat());
    let found: Value = serde_json::from_str(&json).unwrap();
    let plugin = &found["plugins"][0];
    assert_eq!(plugin["contract"], "haptic:plugin@0.1.0");
    assert_eq!(plugin["needs"], json!([]));
    let watch = &plugin["watches"][0];
    assert_eq!(watch["declared"]["store"], "memory");
    assert_eq!(watch["effective"]["store"], "cached");
    assert_eq!(watch["effective"]["namespaces"], json!(["shop"]));
    assert_eq!(watch["metadataOnly"], true);
    assert_eq!(plugin["watches"][1]["declared"], Value::Null);
    // What it shows of a watch is what a configuration takes.
    let again = dir.path().join("again.yaml");
    let effective = &watch["effective"];
    let pasted = json!({"plugins": {"hello": {"file": guest("hello_plugin"), "watchedResources": {"configmaps": effective}}}});
    fs::write(&again, pasted.to_string()).unwrap();
    let words = [
        "inspect",
        "--config",
        again.to_str().unwrap(),
        "--output-format",
        "json",
    ];
    let second: Value = serde_json::from_str(&ok(&words)).unwrap();
    assert_eq!(second["plugins"][0]["watches"][0]["effective"], *effective);
}

#[test]
fn k4_settings_decide_what_a_plugin_declares_and_may_be_refused() {
    let path = guest("haproxy_plugin");
    let plugin = path.to_str().unwrap();
    let (code, _, stderr) =
        run(host().args(["inspect", plugin, "--settings", "{\"httpPort\": \"x\"}"]));
    assert_eq!(code, Some(2), "{stderr}");
    assert!(
        told(&stderr).contains("does not accept its settings"),
        "{stderr}"
    );
    for settings in ["[]", "{", "7"] {
        let (code, _, stderr) = run(host().args(["inspect", plugin, "--settings", settings]));
        assert_eq!(code, Some(2), "{settings}: {stderr}");
    }
    let two = guest("hello_plugin");
    let both = ["inspect", plugin, two.to_str().unwrap()];
    let (code, _, stderr) = run(host().args(both).args(["--settings", "{}"]));
    assert_eq!(code, Some(2));
    assert!(
        told(&stderr).contains("--settings are for one plugin"),
        "{stderr}"
    );
    assert!(ok(&both).contains("\nhello_plugin\n"));
}

#[test]
fn k4_wrong_input_is_exit_code_2_and_help_teaches() {
    let dir = tempfile::tempdir().unwrap();
    let none = dir.path().join("none.wasm");
    for command in ["inspect", "rbac", "manifests"] {
        for words in [
            vec![command],
            vec![command, none.to_str().unwrap()],
            vec![command, "--config", none.to_str().unwrap()],
            vec![command, "x.wasm", "--namespace", "No"],
        ] {
            let (code, stdout, stderr) = run(host().args(&words));
            assert_eq!(
                (code, stdout.as_str()),
                (Some(2), ""),
                "{words:?}: {stderr}"
            );
        }
        let help = ok(&[command, "--help"]);
        for part in ["Examples:", "--config", "oci://", "Exit codes:"] {
            assert!(help.contains(part), "{command}: {part} is not in:\n{help}");
        }
    }
}
