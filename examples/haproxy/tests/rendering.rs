//! From manifests to files, without a host: what the example cluster renders to, what hostile
//! objects cannot do, and that haproxy accepts all of it.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use haproxy_plugin::model::{Model, Service, Slice, TlsSecret};
use haproxy_plugin::plan::{Plan, plan};
use haproxy_plugin::render::render;
use haproxy_plugin::settings::{Settings, Tuning};
use haptic_guest::{Cache, cache::Key, resource::ObjectView};
use serde_json::{Value, json};

fn insert<T: ObjectView>(cache: &mut Cache<T>, object: &Value) {
    let text = |name: &str| object["metadata"][name].as_str().unwrap();
    let key = Key::new(text("namespace"), text("name"));
    cache.insert(key, T::from_json(&object.to_string()).unwrap());
}

fn model<'a>(objects: impl IntoIterator<Item = &'a Value>) -> Model {
    let mut model = Model {
        tuning: Some(BTreeMap::new()),
        ..Model::default()
    };
    for object in objects {
        match object["kind"].as_str() {
            Some("Ingress") if object["spec"]["ingressClassName"] == "haproxy" => {
                insert(&mut model.ingresses, object);
            }
            Some("Service") => insert::<Service>(&mut model.services, object),
            Some("EndpointSlice") => insert::<Slice>(&mut model.slices, object),
            Some("Secret") => insert::<TlsSecret>(&mut model.secrets, object),
            Some("ConfigMap") => {
                model.tuning = Some(serde_json::from_value(object["data"].clone()).unwrap());
            }
            _ => {}
        }
    }
    model
}

fn manifests(folder: &str) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
        .iter()
        .flat_map(|file| {
            serde_saphyr::from_multiple::<Value>(&std::fs::read_to_string(file).unwrap()).unwrap()
        })
        .collect()
}

fn files(model: &Model) -> BTreeMap<String, String> {
    let settings = Settings::default();
    let (tuning, complaints) = Tuning::new(&settings, model.tuning.as_ref().unwrap());
    assert_eq!(complaints, Vec::<String>::new());
    render(&plan(model), &settings, &tuning)
}

/// One text of all files, keys of certificates left out.
fn transcript(files: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    for (name, content) in files {
        text += &format!("==> {name}\n");
        if name.ends_with(".pem") {
            for line in content.lines().filter(|line| line.starts_with("-----")) {
                text += &format!("{line}\n");
            }
        } else {
            text += content;
        }
        text.push('\n');
    }
    text
}

/// haproxy's own opinion of the files, from another folder than theirs.
fn haproxy_accepts(files: &BTreeMap<String, String>) {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let output = Command::new("haproxy")
        .arg("-c")
        .arg("-f")
        .arg(folder.path().join("haproxy.cfg"))
        .output()
        .expect("this test runs haproxy: install Debian's package `haproxy`, and have /usr/sbin on the PATH");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stderr),
        transcript(files)
    );
}

fn ingress(name: &str, spec: Value) -> Value {
    json!({
        "kind": "Ingress",
        "metadata": {"namespace": "shop", "name": name},
        "spec": with_class(spec),
    })
}

fn with_class(mut spec: Value) -> Value {
    spec["ingressClassName"] = json!("haproxy");
    spec
}

fn rule(host: &str, path_type: &str, path: &str, service: &str) -> Value {
    json!({"host": host, "http": {"paths": [{
        "path": path, "pathType": path_type,
        "backend": {"service": {"name": service, "port": {"number": 80}}},
    }]}})
}

fn service(namespace: &str, name: &str) -> Value {
    json!({
        "kind": "Service",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"ports": [{"name": "http", "port": 80}]},
    })
}

fn slice(namespace: &str, service: &str, name: &str, endpoints: Value) -> Value {
    json!({
        "kind": "EndpointSlice",
        "metadata": {"namespace": namespace, "name": name, "labels": {"kubernetes.io/service-name": service}},
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": endpoints,
    })
}

fn warnings(plan: &Plan) -> Vec<String> {
    plan.warnings
        .iter()
        .map(|warning| format!("{}: {}", warning.subject, warning.text))
        .collect()
}

#[test]
fn the_example_cluster_renders_to_the_golden_files() {
    let model = model(&manifests("../cluster"));
    assert_eq!(warnings(&plan(&model)), Vec::<String>::new());
    let files = files(&model);
    insta::assert_snapshot!("example_cluster", transcript(&files));
    haproxy_accepts(&files);
}

#[test]
fn the_example_changes_show_in_the_files() {
    let mut objects = manifests("../cluster");
    let before = files(&model(&objects));
    let server = "server 10.1.0.11:8080";
    assert!(before["haproxy.cfg"].contains(server));

    // The changes come later in the folder's order, and replace objects of the same identity.
    objects.extend(manifests("../changes"));
    let after = files(&model(&objects));
    assert!(!after["haproxy.cfg"].contains(server));
    assert!(!before["maps/prefix.map"].contains("help.shop.example"));
    assert!(after["maps/prefix.map"].contains("help.shop.example/ blog_help_80\n"));
    assert!(!before["haproxy.cfg"].contains("backend blog_help_80"));
    assert!(after["haproxy.cfg"].contains("backend blog_help_80"));
    haproxy_accepts(&after);
}

#[test]
fn an_empty_cluster_is_a_valid_configuration() {
    let files = files(&model([]));
    assert!(!files["haproxy.cfg"].contains("bind :8443"));
    assert!(files["haproxy.cfg"].contains("default_backend not-found\n"));
    haproxy_accepts(&files);
}

#[test]
fn services_of_the_same_name_in_two_namespaces_share_nothing() {
    let mut blog = ingress(
        "site",
        json!({"rules": [rule("blog.example", "Prefix", "/", "web")]}),
    );
    blog["metadata"]["namespace"] = json!("blog");
    let objects = [
        ingress(
            "site",
            json!({"rules": [rule("shop.example", "Prefix", "/", "web")]}),
        ),
        blog,
        service("shop", "web"),
        service("blog", "web"),
        slice("shop", "web", "web-1", json!([{"addresses": ["10.0.0.1"]}])),
        slice("blog", "web", "web-1", json!([{"addresses": ["10.0.0.2"]}])),
    ];
    let files = files(&model(&objects));
    assert_eq!(
        files["maps/prefix.map"],
        "blog.example/ blog_web_80\nshop.example/ shop_web_80\n"
    );
    for (backend, server) in [("shop_web_80", "10.0.0.1"), ("blog_web_80", "10.0.0.2")] {
        let section = format!(
            "backend {backend}\n    balance leastconn\n    server {server}:8080 {server}:8080\n\n"
        );
        assert!(files["haproxy.cfg"].contains(&section), "{section}");
    }
    haproxy_accepts(&files);
}

#[test]
fn only_ready_endpoints_are_servers_each_once_in_order() {
    let objects = [
        ingress(
            "site",
            json!({"rules": [rule("a.example", "Prefix", "/", "web")]}),
        ),
        service("shop", "web"),
        slice(
            "shop",
            "web",
            "web-2",
            json!([
                {"addresses": ["10.0.0.10"], "conditions": {"ready": true}},
                {"addresses": ["10.0.0.9"], "conditions": {"ready": false, "serving": true}},
                {"addresses": ["fd00::1"], "conditions": {}},
                {"addresses": ["pod.example"]},
                {"addresses": []},
            ]),
        ),
        slice(
            "shop",
            "web",
            "web-1",
            json!([
                {"addresses": ["10.0.0.10"], "conditions": {"ready": true}},
                {"addresses": ["10.0.0.2"], "conditions": {"ready": true}},
            ]),
        ),
        slice(
            "shop",
            "other",
            "other-1",
            json!([{"addresses": ["10.0.0.3"]}]),
        ),
    ];
    let files = files(&model(&objects));
    let servers: Vec<_> = files["haproxy.cfg"]
        .lines()
        .filter_map(|line| line.trim().strip_prefix("server "))
        .collect();
    assert_eq!(
        servers,
        [
            "10.0.0.2:8080 10.0.0.2:8080",
            "10.0.0.10:8080 10.0.0.10:8080",
            "fd00::1:8080 [fd00::1]:8080"
        ]
    );
    haproxy_accepts(&files);
}

#[test]
fn the_longest_path_of_a_host_comes_first_and_any_host_last() {
    let rules = json!([
        rule("", "Prefix", "/any", "web"),
        rule("b.example", "Prefix", "/", "web"),
        rule("b.example", "Prefix", "/foo/bar", "web"),
        rule("b.example", "ImplementationSpecific", "/foo/", "web"),
        rule("b.example", "Exact", "/foo", "web"),
        rule("*.a.example", "Prefix", "/", "web"),
    ]);
    let files = files(&model(&[
        ingress("site", json!({"rules": rules})),
        service("shop", "web"),
    ]));
    assert_eq!(
        files["maps/prefix.map"],
        "*.a.example/ shop_web_80\n\
         b.example/foo/bar/ shop_web_80\n\
         b.example/foo/ shop_web_80\n\
         b.example/ shop_web_80\n\
         */any/ shop_web_80\n"
    );
    assert_eq!(files["maps/exact.map"], "b.example/foo shop_web_80\n");
    haproxy_accepts(&files);
}

#[test]
fn the_older_ingress_keeps_a_route_that_two_claim() {
    let claim = |name: &str, created: &str, service: &str| {
        let mut claim = ingress(
            name,
            json!({"rules": [rule("a.example", "Prefix", "/", service)]}),
        );
        claim["metadata"]["creationTimestamp"] = json!(created);
        claim
    };
    let model = model(&[
        claim("a-young", "2025-06-01T00:00:00Z", "young"),
        claim("b-old", "2024-06-01T00:00:00Z", "old"),
        service("shop", "young"),
        service("shop", "old"),
    ]);
    assert_eq!(files(&model)["maps/prefix.map"], "a.example/ shop_old_80\n");
    assert_eq!(
        warnings(&plan(&model)),
        ["Ingress shop/a-young: the path / is ignored: shop_old_80 has it already"]
    );
}

#[test]
fn no_ingress_can_write_lines_into_the_configuration() {
    let evil = "x\nbackend evil\n    server e 6.6.6.6:80";
    let good = rule("good.example", "Prefix", "/", "web");
    let mut named = ingress("named", json!({"rules": [good]}));
    named["metadata"]["namespace"] = json!(evil);
    let objects = [
        ingress(
            "hosts",
            json!({"rules": [rule(evil, "Prefix", "/", "web"), good]}),
        ),
        ingress(
            "paths",
            json!({"rules": [rule("h.example", "Prefix", &format!("/{evil}"), "web")]}),
        ),
        ingress(
            "types",
            json!({"rules": [rule("h.example", evil, "/", "web")]}),
        ),
        ingress(
            "services",
            json!({"rules": [rule("h.example", "Prefix", "/", evil)]}),
        ),
        ingress(
            "default",
            json!({"defaultBackend": {"service": {"name": evil, "port": {"number": 80}}}}),
        ),
        ingress(
            "tls",
            json!({"tls": [
                {"hosts": ["good.example"], "secretName": evil},
                {"hosts": [evil], "secretName": "bad"},
                {"hosts": ["good.example"], "secretName": "bad"},
            ]}),
        ),
        named,
        service("shop", "web"),
        service("shop", evil),
        service(evil, "web"),
        slice("shop", "web", "web-1", json!([{"addresses": [evil]}])),
        json!({"kind": "Secret", "metadata": {"namespace": "shop", "name": "bad"}, "data": {"tls.crt": evil, "tls.key": ""}}),
    ];
    let model = model(&objects);
    let files = files(&model);
    let everything = transcript(&files);
    assert!(
        !everything.contains("evil") && !everything.contains("6.6.6.6"),
        "{everything}"
    );
    assert_eq!(files["maps/prefix.map"], "good.example/ shop_web_80\n");
    insta::assert_snapshot!("hostile_warnings", warnings(&plan(&model)).join("\n"));
    haproxy_accepts(&files);
}

#[test]
fn a_port_is_found_by_name_and_by_number_and_is_the_same_backend() {
    let by = |name: &str, port: Value| {
        ingress(
            name,
            json!({"defaultBackend": {"service": {"name": "web", "port": port}}}),
        )
    };
    for (port, found) in [
        (json!({"name": "http"}), true),
        (json!({"number": 80}), true),
        (json!({"number": 8080}), false),
        (json!({"name": ""}), false),
        (json!({}), false),
    ] {
        let plan = plan(&model(&[by("a", port.clone()), service("shop", "web")]));
        let expected = found.then(|| "shop_web_80".to_owned());
        assert_eq!(plan.default.map(|id| id.to_string()), expected, "{port}");
    }
}
