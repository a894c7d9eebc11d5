#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use haptic_core::spec::{ScopeSpec, WatchSpec};

use super::*;

fn mistakes(yaml: &str) -> Vec<String> {
    let mut found = Mistakes::default();
    parse(
        &serde_saphyr::from_str(yaml).unwrap(),
        Path::new("/etc/haptic"),
        &mut found,
    );
    found.0.iter().map(ToString::to_string).collect()
}

fn read(yaml: &str) -> Config {
    let mut found = Mistakes::default();
    let config = parse(
        &serde_saphyr::from_str(yaml).unwrap(),
        Path::new("/etc/haptic"),
        &mut found,
    );
    assert_eq!(found.0, []);
    config
}

#[test]
fn k1_every_mistake_is_reported_at_once_with_its_place() {
    let found = mistakes(
        "plugins:\n  a:\n    fil: x.wasm\n    output: 7\n    allow: [Secrets]\n    watchedResources:\n      ingresses:\n        indexby: [x]\n        debounceInterval: soon\n        store: disk\nplugin: {}\n",
    );
    let places: Vec<_> = found.iter().map(|m| m.split(':').next().unwrap()).collect();
    assert_eq!(
        places,
        [
            "plugin",
            "plugins.a.fil",
            "plugins.a.allow[0]",
            "plugins.a.output",
            "plugins.a.watchedResources.ingresses.indexby",
            "plugins.a.watchedResources.ingresses.debounceInterval",
            "plugins.a.watchedResources.ingresses.store",
        ],
        "{found:#?}"
    );
}

#[test]
fn k1_watches_are_written_as_haptic_users_write_them() {
    let config = read(
        "plugins:\n  haproxy:\n    file: haproxy.wasm\n    watchedResources:\n      ingresses:\n        apiVersion: networking.k8s.io/v1\n        resources: ingresses\n        indexBy: [\"metadata.namespace\", \"metadata.name\"]\n        fieldSelector: \"spec.ingressClassName=haproxy\"\n        ignoreFields: [\"metadata.managedFields\"]\n        store: full\n        debounceInterval: 250ms\n",
    );
    let plugin = &config.plugins["haproxy"];
    let file = Path::new("/etc/haptic/haproxy.wasm").to_owned();
    assert_eq!(plugin.file, Some(PluginSource::File(file)));
    let watches = override_watches(Vec::new(), &plugin.watches).unwrap();
    assert_eq!(
        watches,
        [WatchSpec {
            name: "ingresses".to_owned(),
            api_version: "networking.k8s.io/v1".to_owned(),
            resources: "ingresses".to_owned(),
            field_selector: Some("spec.ingressClassName=haproxy".to_owned()),
            index_by: vec!["metadata.namespace".to_owned(), "metadata.name".to_owned()],
            ignore_fields: vec!["metadata.managedFields".to_owned()],
            debounce: Some(Duration::from_millis(250)),
            required: true,
            ..WatchSpec::default()
        }]
    );
    assert!(watches[0].plan().is_ok());
}

#[test]
fn k1_a_configured_watch_narrows_the_plugins_own() {
    let config = read(
        "plugins:\n  p:\n    watchedResources:\n      pods:\n        namespaces: [shop]\n        labelSelector: {matchLabels: {app: web}}\n      nodes: {}\n      other:\n        apiVersion: apps/v1\n",
    );
    let declared = WatchSpec {
        name: "pods".to_owned(),
        api_version: "v1".to_owned(),
        resources: "pods".to_owned(),
        keep_fields: vec!["spec.nodeName".to_owned()],
        ..WatchSpec::default()
    };
    let overrides = &config.plugins["p"].watches;
    let errors = override_watches(vec![declared.clone()], overrides).unwrap_err();
    assert_eq!(errors.len(), 2, "{errors:?}");
    let only_pods: BTreeMap<_, _> = overrides
        .iter()
        .filter(|(name, _)| *name == "pods")
        .map(|(n, w)| (n.clone(), w.clone()))
        .collect();
    let watches = override_watches(vec![declared.clone()], &only_pods).unwrap();
    assert_eq!(
        watches,
        [WatchSpec {
            scope: ScopeSpec::Namespaces(vec!["shop".to_owned()]),
            label_selector: Some("app=web".to_owned()),
            ..declared
        }]
    );
}

#[test]
fn o2_an_output_is_a_directory_beside_the_file_or_an_object() {
    let config = read("plugins:\n  a: {output: out}\n  b: {output: 'configmap:shop/x'}\n");
    let output = |name: &str| config.plugins[name].output.as_ref().unwrap().to_string();
    assert_eq!(output("a"), "/etc/haptic/out");
    assert_eq!(output("b"), "configmap:shop/x");
    let found = mistakes(
        "plugins:\n  a: {output: 'configmap:Shop', forceConflicts: 1, onOutputTimeout: '0'}\n",
    );
    for sentence in [
        "plugins.a.output: \"Shop\" is no name of a ConfigMap",
        "plugins.a.forceConflicts: must be true or false",
        "plugins.a.onOutputTimeout: must be longer than nothing",
    ] {
        assert!(
            found.iter().any(|mistake| mistake.starts_with(sentence)),
            "{found:?}"
        );
    }
    let hooked = "plugins:\n  a: {onOutput: make reload, onOutputTimeout: 1m}\n";
    let plugin = &read(hooked).plugins["a"];
    assert_eq!(plugin.on_output.as_deref(), Some("make reload"));
    assert_eq!(plugin.on_output_timeout, Some(Duration::from_secs(60)));
}

#[test]
fn durations_are_written_with_units() {
    for (text, ms) in [
        ("500ms", 500),
        ("2s", 2_000),
        ("1m30s", 90_000),
        ("2h", 7_200_000),
        ("0", 0),
    ] {
        assert_eq!(parse_duration(text).unwrap(), Duration::from_millis(ms));
    }
    for text in [
        "",
        "5",
        "s",
        "1d",
        "-1s",
        "1.5s",
        "99999999999999999999s",
        "9999999999999999h",
    ] {
        assert!(parse_duration(text).is_err(), "{text:?}");
    }
}

#[test]
fn p2_when_a_plugin_is_given_up_is_configured_for_each() {
    let config = read("plugins:\n  a: {maxFailures: 3, onFailure: exit}\n  b: {}\n");
    let a = &config.plugins["a"];
    assert_eq!(a.max_failures, NonZeroU32::new(3));
    assert_eq!(a.on_failure, Some(OnFailure::Exit));
    let b = &config.plugins["b"];
    assert_eq!((b.max_failures, b.on_failure), (None, None));
    for (text, place) in [
        ("{maxFailures: 0}", "plugins.a.maxFailures: must be a whole"),
        (
            "{maxFailures: -1}",
            "plugins.a.maxFailures: must be a whole",
        ),
        (
            "{maxFailures: many}",
            "plugins.a.maxFailures: must be a whole",
        ),
        ("{onFailure: panic}", "plugins.a.onFailure: must be `keep-"),
        ("{onFailure: 3}", "plugins.a.onFailure: must be `keep-"),
    ] {
        let found = mistakes(&format!("plugins:\n  a: {text}\n"));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with(place), "{found:?}");
    }
}
