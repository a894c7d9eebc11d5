use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use haptic_cluster::{Cluster, load_manifests};
use serde_json::{Value, json};

use crate::client::start;

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let file = folder.join(name);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, text).unwrap();
    file
}

fn config_map(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  k: {value}\n")
}

/// Waits until the object has this data; `None` until it is gone.
async fn until(cluster: &Cluster, name: &str, expected: Option<&str>) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let found = cluster.get("v1", "ConfigMap", None, name).ok();
        let data = found.map(|object| object["data"]["k"].clone());
        if data == expected.map(Value::from) {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{name} is {data:?}, not {expected:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What the whole test process has logged as errors.
static LOGGED: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Capture;

impl Write for Capture {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOGGED.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn capture_errors() {
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::ERROR)
        .with_ansi(false)
        .with_writer(|| Capture)
        .init();
}

/// Waits until an error about the first line of this file is logged, and says what is logged then.
async fn until_logged(file: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(20);
    let wanted = format!("file={file} line=1");
    loop {
        let logged = String::from_utf8(LOGGED.lock().unwrap().clone()).unwrap();
        if logged.contains(&wanted) {
            return logged;
        }
        assert!(Instant::now() < deadline, "{wanted:?} is not in {logged}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn check_errors(files: &[(&str, &str)], expected: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        write(folder.path(), name, text);
    }
    let errors = load_manifests(&[folder.path().to_owned()]).unwrap_err();
    let prefix = format!("{}/", folder.path().display());
    let errors: Vec<String> = errors
        .iter()
        .map(|error| error.to_string().replace(&prefix, ""))
        .collect();
    assert_eq!(errors.len(), expected.len(), "{errors:#?}");
    for (error, expected) in errors.iter().zip(expected) {
        assert!(
            error.starts_with(expected),
            "{error:?} does not start with {expected:?}"
        );
    }
}

#[test]
fn folders_are_read_in_order_with_namespaces_first() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "b.yml", &config_map("b", "v"));
    write(
        folder.path(),
        "a/x.json",
        "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"s\"}}",
    );
    write(folder.path(), "notes.txt", "not a manifest");
    write(folder.path(), ".hidden.yaml", "broken: [");
    write(
        folder.path(),
        "c.yaml",
        "# first\n---\n\napiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Namespace\n  metadata:\n    \
         name: shop\n- apiVersion: v1\n  kind: ConfigMap\n  metadata: {name: c, namespace: shop}\n---\n# nothing\n",
    );
    let manifests = load_manifests(&[folder.path().to_owned()]).unwrap();
    let found: Vec<(String, u64)> = manifests
        .iter()
        .map(|manifest| {
            (
                manifest.value["metadata"]["name"]
                    .as_str()
                    .unwrap()
                    .to_owned(),
                manifest.line,
            )
        })
        .collect();
    let expected =
        [("shop", 7), ("s", 1), ("b", 1), ("c", 11)].map(|(name, line)| (name.to_owned(), line));
    assert_eq!(found, expected);
}

#[test]
fn every_error_is_told_with_file_and_line() {
    check_errors(
        &[
            (
                "a.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ok}\n---\nkind: ConfigMap\nmetadata: {}\n",
            ),
            (
                "b.yaml",
                "---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: [a\n",
            ),
            (
                "b2.yaml",
                "# one\n---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  name: b\n",
            ),
            (
                "c.yaml",
                "apiVersion: example.io/v1\nkind: Widget\nmetadata: {name: w}\n",
            ),
            ("d.yaml", "\n\njust text\n"),
            (
                "e.json",
                "{\n\"apiVersion\": \"v1\",\n\"kind\": \"ConfigMap\"\n\"metadata\": {}}",
            ),
            (
                "f.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ok, namespace: default}\n",
            ),
        ],
        &[
            "a.yaml:5: ConfigMap has no apiVersion and no metadata.name",
            "b.yaml:5: the YAML is broken: unclosed bracket '['",
            "b2.yaml:7: the YAML is broken: the key \"name\" is given twice",
            "d.yaml:3: this is not an object",
            "e.json:4: the YAML is broken: while parsing a flow mapping, did not find expected ',' or '}'",
            "c.yaml:1: example.io/v1 Widget is not a built-in kind",
            "f.yaml:1: ConfigMap default/ok was already given at",
        ],
    );
}

#[test]
fn an_error_stays_on_its_line_whatever_the_manifest_holds() {
    let evil = "x\\n2024 ERROR all is lost\\e[31m";
    let text = format!(
        "apiVersion: v1\nkind: \"{evil}\"\nmetadata: {{name: \"{evil}\"}}\n---\n\
         \"{evil}\": 1\n\"{evil}\": 2\n---\n\
         apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: \"{evil}\"}}\n---\n\
         apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: \"{evil}\"}}\n"
    );
    let shown = "x\\n2024 ERROR all is lost\\u{1b}[31m";
    check_errors(
        &[("a\u{1b}.yaml", &text)],
        &[
            &format!("a\\u{{1b}}.yaml:6: the YAML is broken: the key \"{shown}\" is given twice"),
            &format!("a\\u{{1b}}.yaml:1: v1 {shown} is not a built-in kind"),
            &format!("a\\u{{1b}}.yaml:12: ConfigMap default/{shown} was already given at "),
        ],
    );
}

#[tokio::test]
async fn a_refusal_stays_on_its_line_whatever_the_name_is() {
    let cluster = start().await;
    let evil = "x\n2024 ERROR all is lost\u{1b}[31m";
    let refused = cluster.delete("v1", "ConfigMap", None, evil).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "configmaps \"x\\n2024 ERROR all is lost\\u{1b}[31m\" not found"
    );
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": evil}});
    let refused = cluster.apply(&object).unwrap_err().to_string();
    assert!(
        refused.starts_with("ConfigMap \"x\\n2024 ERROR"),
        "{refused}"
    );
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": evil}});
    let refused = cluster.apply(&object).unwrap_err().to_string();
    assert!(!refused.contains(char::is_control), "{refused:?}");
}

#[test]
fn a_path_that_does_not_exist_is_an_error() {
    let errors = load_manifests(&[PathBuf::from("does/not/exist")]).unwrap_err();
    assert_eq!(
        errors[0].to_string(),
        "does/not/exist: there is no such file or folder"
    );
    assert_eq!(errors[0].line, None);
}

#[test]
fn a_definition_among_the_manifests_makes_its_kind_known() {
    let folder = tempfile::tempdir().unwrap();
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.io"},
        "spec": {
            "group": "example.io", "scope": "Cluster", "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{"name": "v1", "served": true, "storage": true}],
        },
    });
    write(folder.path(), "z.json", &definition.to_string());
    write(
        folder.path(),
        "a.yaml",
        "apiVersion: example.io/v1\nkind: Widget\nmetadata: {name: w}\n",
    );
    let manifests = load_manifests(&[folder.path().to_owned()]).unwrap();
    assert_eq!(manifests[0].value["kind"], "CustomResourceDefinition");
}

#[test]
fn numbers_and_octals_are_read_as_kubernetes_reads_them() {
    let folder = tempfile::tempdir().unwrap();
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\nx: 0644\ny: 1.5\nz: \"0644\"\nw: true\nv: 1_0\n";
    write(folder.path(), "a.yaml", text);
    let value = load_manifests(&[folder.path().to_owned()])
        .unwrap()
        .remove(0)
        .value;
    assert_eq!(
        [&value["x"], &value["y"], &value["z"], &value["w"]],
        [&json!(420), &json!(1.5), &json!("0644"), &json!(true)]
    );
}

#[tokio::test]
async fn edits_of_files_are_changes_of_objects() {
    let cluster = start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "a.yaml", &config_map("a", "one"));
    capture_errors();
    let _feed = cluster.feed(&[folder.path().to_owned()]).unwrap();
    until(&cluster, "a", Some("one")).await;

    std::fs::write(&file, config_map("a", "two")).unwrap();
    until(&cluster, "a", Some("two")).await;
    write(folder.path(), "new/b.yaml", &config_map("b", "x"));
    until(&cluster, "b", Some("x")).await;

    // A broken edit changes nothing; what is mended is followed again.
    let broken = "apiVersion: v1\nkind: \"x\\n\\e[31m\"\nmetadata: {name: a}\n";
    std::fs::write(&file, broken).unwrap();
    write(folder.path(), "c.yaml", &config_map("c", "held back"));
    let version = cluster.resource_version();
    let logged = until_logged(&file.display().to_string()).await;
    assert!(
        logged.contains("ERROR haptic_cluster::feed: v1 x\\n\\u{1b}[31m is not a built-in kind"),
        "{logged}"
    );
    assert_eq!(cluster.resource_version(), version);
    until(&cluster, "a", Some("two")).await;
    std::fs::write(&file, config_map("a", "three")).unwrap();
    until(&cluster, "a", Some("three")).await;
    until(&cluster, "c", Some("held back")).await;

    std::fs::remove_file(&file).unwrap();
    until(&cluster, "a", None).await;
    until(&cluster, "b", Some("x")).await;
}

#[tokio::test]
async fn a_file_that_an_editor_replaces_is_followed() {
    let cluster = start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "a.yaml", &config_map("a", "one"));
    let _feed = cluster.feed(std::slice::from_ref(&file)).unwrap();
    let fresh = write(folder.path(), "a.yaml.tmp", &config_map("a", "two"));
    std::fs::rename(fresh, file).unwrap();
    until(&cluster, "a", Some("two")).await;
}

#[tokio::test]
async fn what_others_change_is_left_alone() {
    let cluster = start().await;
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.yaml", &config_map("a", "one"));
    let _feed = cluster.feed(&[folder.path().to_owned()]).unwrap();
    let mut object = cluster.get("v1", "ConfigMap", None, "a").unwrap();
    object["data"]["k"] = "mine".into();
    cluster.apply(&object).unwrap();
    write(folder.path(), "b.yaml", &config_map("b", "x"));
    until(&cluster, "b", Some("x")).await;
    until(&cluster, "a", Some("mine")).await;
}

#[tokio::test]
async fn the_errors_of_the_first_load_are_returned() {
    let cluster = start().await;
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.yaml", &config_map("Bad_Name", "one"));
    let errors = cluster.feed(&[folder.path().to_owned()]).unwrap_err();
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].line, Some(1));
    assert!(errors[0].message.contains("Bad_Name"), "{}", errors[0]);
}

#[tokio::test]
async fn a_namespace_stays_while_a_manifest_is_in_it() {
    let cluster = start().await;
    let folder = tempfile::tempdir().unwrap();
    let namespace = write(
        folder.path(),
        "n.yaml",
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n",
    );
    let object = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: shop}\n";
    write(folder.path(), "a.yaml", object);
    let _feed = cluster.feed(&[folder.path().to_owned()]).unwrap();
    std::fs::remove_file(namespace).unwrap();
    write(folder.path(), "b.yaml", &config_map("b", "x"));
    until(&cluster, "b", Some("x")).await;
    assert!(cluster.get("v1", "ConfigMap", Some("shop"), "a").is_ok());
}

#[tokio::test]
async fn a_manifest_writes_the_status_only_if_it_has_one() {
    let cluster = start().await;
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"containers": []}, "status": {"phase": "Running", "podIP": "10.0.0.1"},
    });
    cluster.apply(&pod).unwrap();
    pod.as_object_mut().unwrap().remove("status");
    pod["metadata"]["labels"] = json!({"a": "b"});
    cluster.apply(&pod).unwrap();
    let stored = cluster.get("v1", "Pod", None, "p").unwrap();
    assert_eq!(
        stored["status"],
        json!({"phase": "Running", "podIP": "10.0.0.1"})
    );
    assert_eq!(stored["metadata"]["labels"], json!({"a": "b"}));
}
