//! What the server itself adds to objects of the built-in kinds: the few
//! defaults that readers and merge keys rely on.

use serde_json::{Map, Value, json};

use crate::json::{self, object_mut};
use crate::resources::Resource;

/// Namespaces that exist from the start.
pub(crate) const NAMESPACES: [&str; 4] =
    ["default", "kube-node-lease", "kube-public", "kube-system"];

/// Namespaces that a real server never lets go.
pub(crate) const PROTECTED: [&str; 3] = ["default", "kube-public", "kube-system"];

/// Fills in what the kind's server code would; `old` is the stored object, `next_ip` gives addresses to Services.
pub(crate) fn complete(
    resource: &Resource,
    old: Option<&Value>,
    value: &mut Value,
    next_ip: &mut dyn FnMut() -> String,
) {
    let Some(map) = value.as_object_mut() else {
        return;
    };
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Namespace") => namespace(map),
        ("", "Secret") => secret(map),
        ("", "Service") => service(old, map, next_ip),
        ("", "Pod") => {
            let spec = object_mut(map, "spec");
            default(spec, "restartPolicy", "Always".into());
            default(spec, "schedulerName", "default-scheduler".into());
            pod_spec(spec);
            default(object_mut(map, "status"), "phase", "Pending".into());
        }
        ("", "ReplicationController")
        | ("apps", "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet") => {
            let spec = object_mut(map, "spec");
            if resource.kind != "DaemonSet" {
                default(spec, "replicas", 1.into());
            }
            if let Some(Value::Object(template)) = spec.get_mut("template") {
                pod_spec(object_mut(template, "spec"));
            }
        }
        ("", "PersistentVolumeClaim" | "PersistentVolume") => {
            default(object_mut(map, "status"), "phase", "Pending".into());
        }
        ("discovery.k8s.io", "EndpointSlice") => {
            if let Some(Value::Array(ports)) = map.get_mut("ports") {
                for port in ports.iter_mut().filter_map(Value::as_object_mut) {
                    default(port, "protocol", "TCP".into());
                    default(port, "name", "".into());
                }
            }
        }
        _ => {}
    }
}

fn default(map: &mut Map<String, Value>, field: &str, value: Value) {
    if map.get(field).is_none_or(Value::is_null) {
        map.insert(field.to_owned(), value);
    }
}

fn namespace(map: &mut Map<String, Value>) {
    let metadata = object_mut(map, "metadata");
    if let Some(name) = metadata.get("name").cloned() {
        object_mut(metadata, "labels").insert("kubernetes.io/metadata.name".into(), name);
    }
    let terminating = metadata.contains_key("deletionTimestamp");
    default(object_mut(map, "spec"), "finalizers", json!(["kubernetes"]));
    let phase = if terminating { "Terminating" } else { "Active" };
    object_mut(map, "status").insert("phase".into(), phase.into());
}

fn secret(map: &mut Map<String, Value>) {
    if let Some(Value::Object(plain)) = map.remove("stringData") {
        let data = object_mut(map, "data");
        for (name, value) in plain {
            if let Value::String(text) = value {
                data.insert(name, json::base64(text.as_bytes()).into());
            }
        }
    }
    default(map, "type", "Opaque".into());
}

fn service(old: Option<&Value>, map: &mut Map<String, Value>, next_ip: &mut dyn FnMut() -> String) {
    let spec = object_mut(map, "spec");
    default(spec, "type", "ClusterIP".into());
    default(spec, "sessionAffinity", "None".into());
    if let Some(Value::Array(ports)) = spec.get_mut("ports") {
        for port in ports.iter_mut().filter_map(Value::as_object_mut) {
            default(port, "protocol", "TCP".into());
            if let Some(number) = port.get("port").cloned() {
                default(port, "targetPort", number);
            }
        }
    }
    if spec.get("type").and_then(Value::as_str) != Some("ExternalName") {
        let kept = old
            .map(|old| json::text(old, &["spec", "clusterIP"]))
            .unwrap_or_default();
        let asked = spec
            .get("clusterIP")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let address = match (asked, kept) {
            ("", "") => next_ip(),
            ("", kept) => kept.to_owned(),
            (asked, _) => asked.to_owned(),
        };
        if spec.get("clusterIPs").is_none_or(Value::is_null) {
            spec.insert("clusterIPs".into(), json!([address]));
        }
        spec.insert("clusterIP".into(), address.into());
    }
    default(object_mut(map, "status"), "loadBalancer", json!({}));
}

/// Ports are merged by number and protocol, so the protocol must not be absent.
fn pod_spec(spec: &mut Map<String, Value>) {
    for field in ["containers", "initContainers", "ephemeralContainers"] {
        let Some(Value::Array(containers)) = spec.get_mut(field) else {
            continue;
        };
        for container in containers.iter_mut().filter_map(Value::as_object_mut) {
            if let Some(Value::Array(ports)) = container.get_mut("ports") {
                for port in ports.iter_mut().filter_map(Value::as_object_mut) {
                    default(port, "protocol", "TCP".into());
                }
            }
        }
    }
}
