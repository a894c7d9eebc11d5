//! Outputs in ConfigMaps and Secrets, with kubectl beside the host.

use std::fs;

use crate::{
    stage::{Stage, kubectl},
    support::{Process, eventually, guest, host, serve, serve_with},
};

/// The hello example on a served cluster. Watches the namespace `shop` only, so that what
/// it writes is no change to it.
fn hello(stage: &Stage, output: &str) -> Process {
    let config = format!(
        "plugins:\n  hello:\n    file: {}\n    output: '{output}'\n    watchedResources:\n      configmaps: {{namespaces: [shop]}}\n",
        guest("hello_plugin").display()
    );
    fs::write(stage.at("config.yaml"), config).unwrap();
    Process::start(
        host()
            .arg("--config")
            .arg(stage.at("config.yaml"))
            .arg("--kubeconfig")
            .arg(stage.at("kubeconfig")),
    )
}

/// What kubectl prints of an object; an error is an empty text.
fn shown(stage: &Stage, args: &[&str]) -> String {
    let (succeeded, printed) = kubectl(&stage.at("kubeconfig"), args);
    match succeeded {
        true => printed,
        false => String::new(),
    }
}

#[track_caller]
fn shows(stage: &Stage, args: &[&str], text: &str, by: &Process) {
    eventually(text, || match shown(stage, args) {
        found if found == text => Ok(()),
        found => Err(format!("{found}\n{}", by.log())),
    });
}

const TEXT: &str = r"jsonpath={.data.configmaps\.txt}";

#[test]
fn o2_a_config_map_has_the_outputs_and_kubectl_shows_them() {
    let stage = Stage::new(2);
    let _cluster = serve(&stage.at("maps.yaml"), &stage.at("kubeconfig"));
    // Without a namespace: the one of the kubeconfig's context.
    let mut running = hello(&stage, "configmap:render");
    let get = ["get", "configmap", "render", "-o", TEXT];
    shows(&stage, &get, "2 ConfigMaps\nshop/m0\nshop/m1\n", &running);
    stage.change(1);
    shows(&stage, &get, "1 ConfigMaps\nshop/m0\n", &running);
    let managers = "jsonpath={.metadata.managedFields[*].manager} {.metadata.namespace}";
    let get = ["get", "configmap", "render", "-o", managers];
    shows(&stage, &get, "haptic-host default", &running);
    assert_eq!(running.stop(), Some(0), "{}", running.log());
}

#[test]
fn o2_a_secret_has_the_outputs_as_base64() {
    let stage = Stage::new(1);
    let _cluster = serve(&stage.at("maps.yaml"), &stage.at("kubeconfig"));
    let mut running = hello(&stage, "secret:shop/render");
    let get = ["get", "secret", "render", "-n", "shop", "-o", TEXT];
    shows(&stage, &get, "MSBDb25maWdNYXBzCnNob3AvbTAK", &running);
    assert_eq!(running.stop(), Some(0), "{}", running.log());
}

#[test]
fn o2_a_missing_namespace_is_said_and_the_outputs_follow_when_it_comes() {
    let stage = Stage::new(1);
    let _cluster = serve(&stage.at("maps.yaml"), &stage.at("kubeconfig"));
    let mut running = hello(&stage, "configmap:late/render");
    running.logs(
        "cannot write ConfigMap late/render: there is no namespace late: create it, or name another one in the output; nothing was written, it is tried again",
        1,
    );
    let (created, said) = kubectl(&stage.at("kubeconfig"), &["create", "namespace", "late"]);
    assert!(created, "{said}");
    let get = ["get", "configmap", "render", "-n", "late", "-o", TEXT];
    shows(&stage, &get, "1 ConfigMaps\nshop/m0\n", &running);
    assert_eq!(running.stop(), Some(0), "{}", running.log());
}

#[test]
fn o2_a_key_that_kubectl_has_written_is_named_and_force_conflicts_takes_it_over() {
    let stage = Stage::new(1);
    let kubeconfig = stage.at("kubeconfig");
    let _cluster = serve(&stage.at("maps.yaml"), &kubeconfig);
    let create = [
        "create",
        "configmap",
        "render",
        "--from-literal=configmaps.txt=mine",
    ];
    let (created, said) = kubectl(&kubeconfig, &create);
    assert!(created, "{said}");
    let once = |more: &[&str]| {
        let mut child = Process::start(
            host()
                .args(["--once", "--output", "configmap:default/render", "--plugin"])
                .arg(guest("hello_plugin"))
                .arg("--kubeconfig")
                .arg(&kubeconfig)
                .args(more),
        );
        (child.ends(), child.log())
    };
    let (code, log) = once(&[]);
    assert_eq!(code, Some(2), "{log}");
    assert!(
        log.contains("key \"configmaps.txt\" belongs to field manager \"kubectl-create\" using v1: remove it there, or take it over with --force-conflicts"),
        "{log}"
    );
    assert_eq!(
        shown(&stage, &["get", "configmap", "render", "-o", TEXT]),
        "mine"
    );
    let (code, log) = once(&["--force-conflicts"]);
    assert_eq!(code, Some(0), "{log}");
    let taken = shown(&stage, &["get", "configmap", "render", "-o", TEXT]);
    assert_eq!(taken, "2 ConfigMaps\ndefault/render\nshop/m0\n");
}

#[test]
fn k5_an_api_server_that_does_not_answer_does_not_hold_up_the_exit() {
    let stage = Stage::new(1);
    let faults = stage.at("faults.yaml");
    // It does what it is asked for, and never says so.
    let script = "faults:\n- when: {verbs: [patch], resource: configmaps}\n  fault: {hold: {at: answered}}\n";
    fs::write(&faults, script).unwrap();
    let _cluster = serve_with(
        &stage.at("maps.yaml"),
        &stage.at("kubeconfig"),
        &["--faults", faults.to_str().unwrap()],
    );
    let mut running = hello(&stage, "configmap:shop/render");
    let get = ["get", "configmap", "render", "-n", "shop", "-o", TEXT];
    shows(&stage, &get, "1 ConfigMaps\nshop/m0\n", &running);
    assert_eq!(running.stop(), Some(0), "{}", running.log());
    running.logs("a callback did not end in time", 1);
}

#[test]
fn o2_outputs_of_several_plugins_do_not_share_an_object() {
    let stage = Stage::new(1);
    let copy = stage.at("other.wasm");
    fs::copy(guest("hello_plugin"), &copy).unwrap();
    for (output, sentence) in [
        (
            "configmap:render",
            "several plugins cannot share the ConfigMap render: give each its own `output:`",
        ),
        ("configmap:Render", "\"Render\" is no name of a ConfigMap"),
        (
            "cm:render",
            "\"cm\" is no kind of object that takes outputs",
        ),
    ] {
        let mut child = Process::start(
            host()
                .arg("--plugin")
                .arg(guest("hello_plugin"))
                .arg("--plugin")
                .arg(&copy)
                .arg("--manifests")
                .arg(stage.at("maps.yaml"))
                .args(["--once", "--output", output]),
        );
        assert_eq!(child.ends(), Some(2), "{}", child.log());
        child.logs(sentence, 1);
    }
}
