//! The cells of tables, kind by kind, in kubectl's wording.

use serde_json::{Map, Value};

use crate::json::{at, list, scalar, text};

fn number(value: &Value, path: &[&str]) -> i64 {
    at(value, path).and_then(Value::as_i64).unwrap_or(0)
}

fn or_none(text: &str) -> Value {
    Value::from(if text.is_empty() { "<none>" } else { text })
}

/// `a=b,c=d` for a map of labels.
fn pairs(value: Option<&Value>) -> String {
    let empty = Map::new();
    let map = value.and_then(Value::as_object).unwrap_or(&empty);
    let pairs: Vec<String> = map
        .iter()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    pairs.join(",")
}

pub(crate) fn pod(column: &str, value: &Value) -> Value {
    let statuses = list(value, &["status", "containerStatuses"]);
    match column {
        "Ready" => {
            let ready = statuses
                .iter()
                .filter(|one| one.get("ready") == Some(&Value::Bool(true)))
                .count();
            format!("{ready}/{}", list(value, &["spec", "containers"]).len()).into()
        }
        "Status" => {
            if at(value, &["metadata", "deletionTimestamp"]).is_some() {
                return "Terminating".into();
            }
            let waiting = statuses
                .iter()
                .flat_map(|one| {
                    [
                        text(one, &["state", "waiting", "reason"]),
                        text(one, &["state", "terminated", "reason"]),
                    ]
                })
                .find(|reason| !reason.is_empty());
            let shown = [
                text(value, &["status", "reason"]),
                text(value, &["status", "phase"]),
            ];
            let fallback = shown
                .into_iter()
                .find(|text| !text.is_empty())
                .unwrap_or_default();
            waiting.unwrap_or(fallback).into()
        }
        "Restarts" => {
            let restarts: i64 = statuses.iter().fold(0, |sum, one| {
                sum.saturating_add(number(one, &["restartCount"]))
            });
            restarts.to_string().into()
        }
        "IP" => or_none(text(value, &["status", "podIP"])),
        _ => or_none(text(value, &["spec", "nodeName"])),
    }
}

pub(crate) fn service(column: &str, value: &Value) -> Value {
    match column {
        "Type" => text(value, &["spec", "type"]).into(),
        "Cluster-IP" => or_none(text(value, &["spec", "clusterIP"])),
        "External-IP" => {
            let balancer = addresses(list(value, &["status", "loadBalancer", "ingress"]));
            match text(value, &["spec", "type"]) {
                "ExternalName" => text(value, &["spec", "externalName"]).into(),
                "LoadBalancer" if balancer.is_empty() => "<pending>".into(),
                "LoadBalancer" => balancer.into(),
                _ => {
                    let external: Vec<&str> = list(value, &["spec", "externalIPs"])
                        .iter()
                        .filter_map(Value::as_str)
                        .collect();
                    or_none(&external.join(","))
                }
            }
        }
        "Port(s)" => {
            let ports: Vec<String> = list(value, &["spec", "ports"])
                .iter()
                .map(|port| {
                    let (outer, inner) = (number(port, &["nodePort"]), number(port, &["port"]));
                    let protocol = text(port, &["protocol"]);
                    match outer {
                        0 => format!("{inner}/{protocol}"),
                        outer => format!("{inner}:{outer}/{protocol}"),
                    }
                })
                .collect();
            or_none(&ports.join(","))
        }
        _ => or_none(&pairs(at(value, &["spec", "selector"]))),
    }
}

fn addresses(ingress: &[Value]) -> String {
    let found: Vec<&str> = ingress
        .iter()
        .map(|one| match text(one, &["ip"]) {
            "" => text(one, &["hostname"]),
            ip => ip,
        })
        .collect();
    found.join(",")
}

pub(crate) fn ingress(column: &str, value: &Value) -> Value {
    match column {
        "Class" => or_none(text(value, &["spec", "ingressClassName"])),
        "Hosts" => {
            let hosts: Vec<&str> = list(value, &["spec", "rules"])
                .iter()
                .map(|rule| text(rule, &["host"]))
                .filter(|host| !host.is_empty())
                .collect();
            match hosts.as_slice() {
                [] => "*".into(),
                [a, b, c, rest @ ..] if !rest.is_empty() => {
                    format!("{a},{b},{c} + {} more...", rest.len()).into()
                }
                few => few.join(",").into(),
            }
        }
        "Address" => addresses(list(value, &["status", "loadBalancer", "ingress"])).into(),
        _ if list(value, &["spec", "tls"]).is_empty() => "80".into(),
        _ => "80, 443".into(),
    }
}

/// At most three of them, and how many more.
fn some_of(all: &[String]) -> String {
    match all {
        [] => "<none>".to_owned(),
        [a, b, c, rest @ ..] if !rest.is_empty() => format!("{a},{b},{c} + {} more...", rest.len()),
        few => few.join(","),
    }
}

pub(crate) fn endpoint_slice(column: &str, value: &Value) -> Value {
    match column {
        "AddressType" => text(value, &["addressType"]).into(),
        "Ports" => {
            let ports: Vec<String> = list(value, &["ports"])
                .iter()
                .map(|port| match number(port, &["port"]) {
                    0 => "*".to_owned(),
                    port => port.to_string(),
                })
                .collect();
            if ports.is_empty() {
                "<unset>".into()
            } else {
                some_of(&ports).into()
            }
        }
        _ => {
            let all: Vec<String> = list(value, &["endpoints"])
                .iter()
                .flat_map(|endpoint| list(endpoint, &["addresses"]))
                .filter_map(scalar)
                .collect();
            if all.is_empty() {
                "<unset>".into()
            } else {
                some_of(&all).into()
            }
        }
    }
}

pub(crate) fn endpoints(value: &Value) -> String {
    let mut all = Vec::new();
    for subset in list(value, &["subsets"]) {
        for port in list(subset, &["ports"]) {
            for address in list(subset, &["addresses"]) {
                all.push(format!(
                    "{}:{}",
                    text(address, &["ip"]),
                    number(port, &["port"])
                ));
            }
        }
    }
    some_of(&all)
}

pub(crate) fn workload(column: &str, value: &Value) -> Value {
    let containers = list(value, &["spec", "template", "spec", "containers"]);
    let all = |field: &str| -> Value {
        let names: Vec<&str> = containers.iter().map(|one| text(one, &[field])).collect();
        names.join(",").into()
    };
    match (text(value, &["kind"]), column) {
        ("ReplicaSet", "Ready") => number(value, &["status", "readyReplicas"]).into(),
        (_, "Ready") => format!(
            "{}/{}",
            number(value, &["status", "readyReplicas"]),
            number(value, &["spec", "replicas"])
        )
        .into(),
        (_, "Desired") => number(value, &["spec", "replicas"]).into(),
        (_, "Current") => number(value, &["status", "replicas"]).into(),
        (_, "Up-to-date") => number(value, &["status", "updatedReplicas"]).into(),
        (_, "Available") => number(value, &["status", "availableReplicas"]).into(),
        (_, "Containers") => all("name"),
        (_, "Images") => all("image"),
        _ => or_none(&pairs(at(value, &["spec", "selector", "matchLabels"]))),
    }
}

pub(crate) fn node(column: &str, value: &Value) -> Value {
    match column {
        "Status" => {
            let ready = list(value, &["status", "conditions"])
                .iter()
                .find(|one| text(one, &["type"]) == "Ready")
                .map_or("Unknown", |one| {
                    if text(one, &["status"]) == "True" {
                        "Ready"
                    } else {
                        "NotReady"
                    }
                });
            if at(value, &["spec", "unschedulable"]) == Some(&Value::Bool(true)) {
                format!("{ready},SchedulingDisabled").into()
            } else {
                ready.into()
            }
        }
        "Roles" => {
            let empty = Map::new();
            let labels = at(value, &["metadata", "labels"])
                .and_then(Value::as_object)
                .unwrap_or(&empty);
            let roles: Vec<&str> = labels
                .keys()
                .filter_map(|key| key.strip_prefix("node-role.kubernetes.io/"))
                .collect();
            or_none(&roles.join(","))
        }
        _ => text(value, &["status", "nodeInfo", "kubeletVersion"]).into(),
    }
}
