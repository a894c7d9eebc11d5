//! The example's own configuration on the example cluster, and that what is rendered step by step is
//! what a fresh start renders.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{path::Path, process::Command, time::Duration};

use haptic_harness::{Harness, Incremental, LogLevel, test_both};
use serde_json::Value;
use support::{CLUSTER, COMPONENT, load, settings};
use template_plugin::Template;

/// The settings in `haptic.yaml`.
fn example() -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("haptic.yaml");
    let config: Value = serde_saphyr::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    config["plugins"]["template"]["settings"].clone()
}

fn examples(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// haproxy's own opinion.
#[track_caller]
fn haproxy_accepts(test: &Harness) {
    let folder = tempfile::tempdir().unwrap();
    test.save_outputs(folder.path()).unwrap();
    let haproxy = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .chain([Path::new("/usr/sbin").to_owned()])
        .map(|folder| folder.join("haproxy"))
        .find(|file| file.is_file())
        .expect("this test runs haproxy, which is not installed: `make deps` installs it");
    let output = Command::new(haproxy)
        .arg("-c")
        .arg("-f")
        .arg(folder.path().join("haproxy.cfg"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{said}\n{}",
        test.output("haproxy.cfg")
    );
}

/// How many files were rendered in the last callback, as the plugin's log says.
fn rendered(test: &Harness) -> String {
    let line = test
        .logs()
        .into_iter()
        .rfind(|line| line.message == "rendered")
        .unwrap();
    let (_, count) = line
        .fields
        .into_iter()
        .find(|(name, _)| name == "rendered")
        .unwrap();
    count
}

test_both! {
    Template, COMPONENT;

    fn the_example_is_the_golden_folder_and_haproxy_accepts_it(plugin: Builder) {
        let mut test = plugin.settings(example()).ignore_unwatched().load().unwrap();
        test.given(examples("cluster")).sync();
        test.assert_golden("tests/golden");
        test.assert_quiet(LogLevel::Warn);
        haproxy_accepts(&test);
    }

    fn a_change_renders_what_has_read_it_and_nothing_else(plugin: Builder) {
        let mut test = plugin.settings(example()).ignore_unwatched().load().unwrap();
        test.given(examples("cluster")).sync();
        let before = test.output("haproxy.cfg").to_owned();
        let server = "    server 10.1.0.11:8080 10.1.0.11:8080\n";
        assert!(before.contains(server));
        test.apply(examples("changes/1-endpoint-goes.yaml"));
        test.advance(Duration::from_millis(500));
        assert_eq!(test.output("haproxy.cfg"), before.replace(server, ""));
        assert!(!test.output("targets/shop_web.json").contains("10.1.0.11"));
        // haproxy.cfg and the targets of nine Services: those read the endpoints.
        assert_eq!(rendered(&test), "10");

        test.apply(examples("changes/2-ingress-comes.yaml"));
        test.advance(Duration::from_millis(500));
        assert!(test.output("maps/prefix.map").contains("help.shop.example/ blog_help_80\n"));
        // haproxy.cfg, two maps, the list of certificates.
        assert_eq!(rendered(&test), "4");
        haproxy_accepts(&test);
    }

    fn an_object_that_changes_renders_its_own_file_only(plugin: Builder) {
        let mut test = load(plugin, r#"
files:
  "{{ object.metadata.namespace }}": {forEach: services, template: "{{ object.spec.clusterIP }}"}
  constant: x
"#);
        test.given(CLUSTER).sync();
        test.apply(CLUSTER.replace("10.0.0.2", "10.0.0.9")).settle();
        assert_eq!(test.output("blog"), "10.0.0.9");
        assert_eq!(rendered(&test), "1");
        test.delete("v1", "Service", "blog", "web").settle();
        assert_eq!(rendered(&test), "0");
        // The contract takes no outputs back: the file stays as it was.
        assert_eq!(test.output("blog"), "10.0.0.9");
    }

    fn an_object_whose_path_is_empty_has_no_file(plugin: Builder) {
        let mut test = load(plugin, r#"
files:
  "{% if object.spec.ports %}{{ object.metadata.namespace }}{% endif %}": {forEach: services, template: "x"}
"#);
        test.given(CLUSTER).sync();
        assert_eq!(test.outputs().keys().collect::<Vec<_>>(), ["shop"]);
    }

    fn what_a_failed_commit_lost_is_written_by_the_next_one(plugin: Builder) {
        let mut test = load(plugin, r#"
files:
  services: "{{ resources.services | length }}"
  slices: "{{ resources.slices | length }}"
"#);
        test.given(CLUSTER);
        test.sync_watch("services");
        test.fail_commit("disk full");
        assert!(test.try_sync().is_err());
        test.settle();
        // The first was rendered in the callback whose commit failed, and has not changed since.
        assert_eq!((test.output("services"), test.output("slices")), ("2", "2"));
    }
}

#[test]
fn step_by_step_is_what_a_fresh_start_renders() {
    let settings = settings(
        r#"
watchedResources:
  secrets: {apiVersion: v1, resources: secrets, store: cached, cacheTTL: 1s}
  tuning: {apiVersion: v1, resources: configmaps, name: tuning, namespaces: [shop]}
files:
  all: |
    {% for s in resources.services %}{{ s | dig("metadata.namespace") }}/{{ s.metadata.name }} {{ s | dig("spec.clusterIP", "-") }}
    {% endfor %}
  lookups: |
    {{ resources.services.get("shop", "web") | dig("spec.clusterIP", "none") }}
    {{ resources.slices.fetch("shop", "web") | extract("endpoints[*].addresses") | join(" ") }}
    {{ resources.services.by("by-app", "front") | length }}
    {{ resources.secrets.fetch("shop") | extract("data.key") | join(" ") }}
    {{ resources.tuning.get_single() | dig("data.maxconn", "none") }}
  "each/{{ object.metadata.namespace }}_{{ object.metadata.name }}":
    forEach: services
    template: |
      {{ object | dig("spec.ports", []) | length }} {{ resources.slices.fetch(object.metadata.namespace, object.metadata.name) | length }}
"#,
    );
    let pool = format!(
        "{CLUSTER}---
apiVersion: v1
kind: Secret
metadata: {{name: a, namespace: shop}}
data: {{key: eA==}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: tuning, namespace: shop}}
data: {{maxconn: '9'}}
"
    );
    Incremental::of(
        || Harness::native::<Template>().settings(settings.clone()),
        pool.as_str(),
    )
    .allow_leftovers()
    .runs(12)
    .check();
}

#[test]
fn the_component_renders_step_by_step_what_a_fresh_start_renders() {
    let settings = example();
    Incremental::of(
        || Harness::wasm(COMPONENT).settings(settings.clone()),
        examples("cluster"),
    )
    .allow_leftovers()
    .runs(2)
    .steps(30)
    .check();
}
