//! What the tests share.

use haptic_harness::{Builder, Harness, LoadError};
use serde_json::{Value, json};

/// The component (`make guests` builds it).
pub(crate) const COMPONENT: &str = "target/guests/wasm32-wasip2/release/template_plugin.wasm";

/// Settings with a watch of Services, `services`, one of EndpointSlices by the name of their Service,
/// `slices`, and what is given in YAML.
pub(crate) fn settings(yaml: &str) -> Value {
    let mut settings: Value = serde_saphyr::from_str(yaml).unwrap();
    let services = json!({
        "apiVersion": "v1", "resources": "services",
        "indexes": {"by-app": ["metadata.labels.app", "metadata.name"]},
    });
    let slices = json!({
        "apiVersion": "discovery.k8s.io/v1", "resources": "endpointslices",
        "indexBy": ["metadata.namespace", "metadata.labels['kubernetes.io/service-name']"],
    });
    let watches = settings
        .as_object_mut()
        .unwrap()
        .entry("watchedResources")
        .or_insert(json!({}));
    watches["services"] = services;
    watches["slices"] = slices;
    settings
}

/// A test with these settings.
pub(crate) fn load(plugin: Builder, yaml: &str) -> Harness {
    plugin.settings(settings(yaml)).load().unwrap()
}

/// The settings of a plugin that renders this template as `out`.
#[allow(dead_code, reason = "of some of the tests")]
pub(crate) fn one(template: &str) -> String {
    json!({"files": {"out": template}}).to_string()
}

/// Why settings are refused.
#[allow(dead_code, reason = "of some of the tests")]
pub(crate) fn refused(plugin: Builder, settings: Value) -> String {
    match plugin.settings(settings).load() {
        Err(LoadError::Settings(text)) => text,
        Err(error) => panic!("refused otherwise: {error}"),
        Ok(_) => panic!("the settings are not refused"),
    }
}

/// Two Services in two namespaces, the first with two slices.
#[allow(dead_code, reason = "of some of the tests")]
pub(crate) const CLUSTER: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop, labels: {app: front}}
spec: {clusterIP: 10.0.0.1, ports: [{port: 80}, {port: 443, name: tls}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: blog}
spec: {clusterIP: 10.0.0.2}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
endpoints: [{addresses: [10.1.0.1, 10.1.0.2]}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-2, namespace: shop, labels: {kubernetes.io/service-name: web}}
endpoints: [{addresses: [10.1.0.3]}]
";
