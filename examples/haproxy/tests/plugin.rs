//! The whole plugin through the harness, as a component (`make guests` builds it) and natively:
//! from a cluster's objects and changes to the files that haproxy reads.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, path::Path, process::Command, time::Duration};

use haproxy_plugin::Haproxy;
use haptic_harness::{Builder, Harness, LogLevel};
use serde_json::{Value, json};

type Files = BTreeMap<String, Vec<u8>>;

/// Both ways to run it.
fn plugins() -> [Builder; 2] {
    let component = "target/guests/wasm32-wasip2/release/haproxy_plugin.wasm";
    [
        Harness::wasm(component).ignore_unwatched(),
        Harness::native::<Haproxy>().ignore_unwatched(),
    ]
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
        .output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{said}\n{}",
        test.output("haproxy.cfg")
    );
}

fn ingress(namespace: &str, name: &str, host: &str, path: &str, service: &str) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"ingressClassName": "haproxy", "rules": [{"host": host, "http": {"paths": [{
            "path": path, "pathType": "Prefix",
            "backend": {"service": {"name": service, "port": {"number": 80}}},
        }]}}]},
    })
}

fn service(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"ports": [{"name": "http", "port": 80}]},
    })
}

fn slice(namespace: &str, service: &str, addresses: &[String]) -> Value {
    let endpoints: Vec<_> = addresses
        .iter()
        .map(|address| json!({"addresses": [address]}))
        .collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "namespace": namespace, "name": format!("{service}-1"),
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": endpoints,
    })
}

#[test]
fn the_example_cluster_renders_to_the_golden_file_and_haproxy_accepts_it() {
    for plugin in plugins() {
        let mut test = plugin.load().unwrap();
        test.given(examples("cluster")).sync();
        // INSTA_UPDATE=always writes the golden file anew.
        insta::assert_snapshot!("example_cluster_of_the_plugin", test.output("haproxy.cfg"));
        haproxy_accepts(&test);
    }
}

#[test]
fn an_endpoint_that_goes_and_an_ingress_that_comes_show_within_one_debounce_interval() {
    for plugin in plugins() {
        let mut test = plugin.load().unwrap();
        test.given(examples("cluster")).sync();
        let before = test.output("haproxy.cfg").to_owned();
        let server = "    server 10.1.0.11:8080 10.1.0.11:8080\n";
        assert!(before.contains(server));
        test.take_callbacks();

        test.apply(examples("changes/1-endpoint-goes.yaml"));
        test.advance(Duration::from_millis(500));
        assert_eq!(test.output("haproxy.cfg"), before.replace(server, ""));

        test.apply(examples("changes/2-ingress-comes.yaml"));
        test.advance(Duration::from_millis(500));
        assert!(
            test.output("maps/prefix.map")
                .contains("help.shop.example/ blog_help_80\n")
        );
        haproxy_accepts(&test);
        let ran: Vec<_> = test.callbacks().iter().map(ToString::to_string).collect();
        assert_eq!(
            ran,
            [
                "+500ms endpointslices on-change +0 ~1 -0",
                "+500ms ingresses on-change +1 ~0 -0",
            ]
        );
    }
}

#[test]
fn services_of_one_name_in_two_namespaces_share_no_backend() {
    for plugin in plugins() {
        let mut test = plugin.load().unwrap();
        for (namespace, address) in [("shop", "10.0.0.1"), ("blog", "10.0.0.2")] {
            test.given(ingress(
                namespace,
                "site",
                &format!("{namespace}.example"),
                "/",
                "web",
            ));
            test.given(service(namespace, "web"));
            test.given(slice(namespace, "web", &[address.to_owned()]));
        }
        test.sync();
        let text = test.output("haproxy.cfg");
        for (backend, address) in [("shop_web_80", "10.0.0.1"), ("blog_web_80", "10.0.0.2")] {
            let server = format!("server {address}:8080 {address}:8080");
            let section = format!("\nbackend {backend}\n    balance leastconn\n    {server}\n\n");
            assert!(text.contains(&section), "{text}");
        }
        haproxy_accepts(&test);
    }
}

#[test]
fn nothing_is_rendered_from_half_of_the_cluster() {
    for plugin in plugins() {
        let mut test = plugin.load().unwrap();
        test.given(examples("cluster"));
        for watch in ["secrets", "ingresses", "settings", "endpointslices"] {
            test.sync_watch(watch);
            assert!(test.outputs().is_empty(), "after {watch}");
        }
        test.sync_watch("services");
        haproxy_accepts(&test);
    }
}

#[test]
fn a_wrong_setting_is_refused_before_anything_starts() {
    for plugin in plugins() {
        let error = plugin
            .settings(json!({"httpPort": 0}))
            .load()
            .err()
            .unwrap()
            .to_string();
        assert!(
            error
                .starts_with("the plugin does not accept its settings: settings: field `httpPort`"),
            "{error}"
        );
    }
}

/// Texts that would end a line, a word or a comment of haproxy's configuration, or start an
/// expression in it.
const HOSTILE: &[&str] = &[
    "x\n    server evil 6.6.6.6:80",
    "x\r\nbackend evil",
    "a b.example",
    "a.example # evil",
    "%[evil]",
    "\"evil\"",
    "'evil",
    "a\\ evil",
    "${EVIL}",
    "a\0evil",
    "../../evil",
    "a.example/ evil",
    "{evil}",
    "a\u{2028}evil",
];

#[test]
fn no_text_of_an_object_can_put_words_into_the_configuration() {
    for plugin in plugins() {
        let mut test = plugin.load().unwrap();
        test.given(service("shop", "web"))
            .given(slice("shop", "web", &["10.0.0.1".to_owned()]));
        test.given(ingress("shop", "good", "good.example", "/", "web"));
        test.sync();
        let before = test.outputs().clone();
        for (i, text) in HOSTILE.iter().enumerate() {
            let name = format!("evil-{i}");
            test.apply(ingress("shop", &format!("host-{i}"), text, "/", "web"));
            test.apply(ingress(
                "shop",
                &format!("path-{i}"),
                "good.example",
                text,
                "web",
            ));
            test.apply(ingress(
                "shop",
                &format!("service-{i}"),
                "h.example",
                "/",
                text,
            ));
            let mut evil = ingress("shop", &name, "good.example", "/", "web");
            evil["metadata"]["annotations"] = json!({"haproxy.org/config-snippet": text});
            evil["metadata"]["labels"] = json!({"label": text});
            evil["spec"]["tls"] = json!([{"hosts": [text], "secretName": text}]);
            evil["spec"]["rules"][0]["http"]["paths"][0]["pathType"] = json!(text);
            test.apply(evil);
            test.apply(slice(
                "shop",
                "web",
                &["10.0.0.1".to_owned(), (*text).to_owned()],
            ));
            test.apply(json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"namespace": "haproxy", "name": "haproxy-settings"},
                "data": {"timeout-client": text, "maxconn": text, *text: "1s"},
            }));
        }
        test.settle();
        assert_eq!(test.outputs(), &before);
        // As paths some of these are allowed; they stay one word of a map, which haproxy does
        // not interpret.
        for (i, text) in HOSTILE.iter().enumerate() {
            test.apply(ingress(
                "shop",
                &format!("path-{i}"),
                "good.example",
                &format!("/{text}"),
                "web",
            ));
        }
        test.settle();
        assert_eq!(test.outputs()["haproxy.cfg"], before["haproxy.cfg"]);
        for line in test.output("maps/prefix.map").lines() {
            let words: Vec<_> = line.split(char::is_whitespace).collect();
            assert!(matches!(words.as_slice(), [_, "shop_web_80"]), "{line:?}");
        }
        let warnings = test
            .logs()
            .iter()
            .filter(|line| line.level == LogLevel::Warn)
            .count();
        assert!(warnings >= HOSTILE.len() * 4, "{warnings} warnings");
        haproxy_accepts(&test);
    }
}

/// A small generator with a seed: failures come again.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % u64::try_from(n).unwrap()).unwrap()
    }

    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }
}

/// One change to a cluster of few names, so that objects meet, replace and miss each other.
fn random_object(random: &mut Random) -> Value {
    let namespace = random.of(&["shop", "blog"]);
    let name = random.of(&["web", "api", "feed"]);
    match random.below(6) {
        0 | 1 => {
            let host = random.of(&["a.example", "b.example", "*.b.example", "", "no host"]);
            let path = random.of(&["/", "/x", "/x/y", "no path"]);
            let mut ingress = ingress(
                namespace,
                name,
                host,
                path,
                random.of(&["web", "api", "feed"]),
            );
            if random.below(4) == 0 {
                ingress["spec"]["ingressClassName"] = json!("other");
            }
            let created = format!("2025-01-0{}T00:00:00Z", 1 + random.below(3));
            ingress["metadata"]["creationTimestamp"] = json!(created);
            ingress["spec"]["tls"] =
                json!([{"hosts": [], "secretName": random.of(&["web", "api"])}]);
            ingress
        }
        2 => match random.below(5) {
            // Not the shape of its kind, as a careless server lets it pass.
            0 => json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {"namespace": namespace, "name": name}, "spec": {"ports": "none"},
            }),
            _ => service(namespace, name),
        },
        3 | 4 => {
            let addresses: Vec<_> = (0..random.below(4))
                .map(|_| format!("10.0.0.{}", random.below(9)))
                .collect();
            slice(namespace, name, &addresses)
        }
        _ => json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"namespace": "haproxy", "name": "haproxy-settings"},
            "data": {"maxconn": random.of(&["100", "200", "many"])},
        }),
    }
}

/// What a plugin that starts now renders from these objects.
fn from_scratch<'a>(objects: impl Iterator<Item = &'a Value>) -> Files {
    let mut test = Harness::native::<Haproxy>().load().unwrap();
    test.given(Value::Array(objects.cloned().collect())).sync();
    test.outputs().clone()
}

fn identity(object: &Value) -> [String; 3] {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let metadata = &object["metadata"];
    [
        text(&object["kind"]),
        text(&metadata["namespace"]),
        text(&metadata["name"]),
    ]
}

#[test]
fn after_any_change_the_files_are_those_that_a_fresh_start_renders() {
    for (seed, plugin) in plugins().into_iter().chain(plugins()).enumerate() {
        let mut random = Random(u64::try_from(seed).unwrap() / 2 + 1);
        let mut objects: BTreeMap<[String; 3], Value> = BTreeMap::new();
        let mut test = plugin.load().unwrap();
        test.sync();
        for step in 0..150 {
            // Some changes come together, in one debounce interval.
            for _ in 0..=random.below(3) {
                let gone = (random.below(4) == 0 && !objects.is_empty()).then(|| {
                    objects
                        .keys()
                        .nth(random.below(objects.len()))
                        .cloned()
                        .unwrap()
                });
                match gone {
                    Some(key) => {
                        let object = objects.remove(&key).unwrap();
                        let [kind, namespace, name] = &key;
                        let version = object["apiVersion"].as_str().unwrap();
                        test.delete(version, kind, namespace, name);
                    }
                    None => {
                        let object = random_object(&mut random);
                        test.apply(&object);
                        objects.insert(identity(&object), object);
                    }
                }
            }
            test.settle();
            let expected = from_scratch(objects.values());
            assert_eq!(
                test.outputs(),
                &expected,
                "seed {seed}, step {step}: {objects:#?}"
            );
        }
        haproxy_accepts(&test);
    }
}
