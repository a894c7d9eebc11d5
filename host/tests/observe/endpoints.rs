//! The endpoints of a real host (contract V1).

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::TcpStream,
};

use serde_json::Value;

use crate::{Host, eventually};

/// The body of an answer, and its code.
fn get(host: &Host, path: &str) -> (u16, String) {
    let address = host.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

/// The values of `/metrics`, by name and labels.
fn metrics(host: &Host) -> BTreeMap<String, f64> {
    let (code, text) = get(host, "/metrics");
    assert_eq!(code, 200);
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        })
        .collect()
}

#[test]
fn v1_metrics_readiness_and_state_agree_on_what_a_host_has_done() {
    // Two plugins with another watch of the same name, and one that shares it.
    let host = Host::start(
        "plugins:\n  \
         a: {file: a.wasm}\n  \
         b: {file: b.wasm}\n  \
         c: {file: c.wasm, watchedResources: {configmaps: {namespaces: [shop, blog]}}}\n",
        &["a", "b", "c"].map(|name| (name, "hello_plugin")),
    );
    let ready = eventually("readiness", || match get(&host, "/readyz?verbose") {
        (200, lines) => Some(lines),
        _ => None,
    });
    assert_eq!(
        ready,
        "[+]watch configmaps: synced, 2 objects\n\
         [+]watch c/configmaps: synced, 2 objects\n\
         [+]plugin a: ok\n[+]plugin b: ok\n[+]plugin c: ok\nreadyz check passed\n"
    );
    host.put("three");
    let told = "haptic_plugin_changes_total{plugin=\"c\",watch=\"configmaps\",change=\"created\"}";
    let metrics = eventually("a change for each plugin", || {
        let metrics = metrics(&host);
        let of = |plugin: &str| {
            let name = told.replace("\"c\"", &format!("\"{plugin}\""));
            metrics.get(&name).copied().unwrap_or(0.0)
        };
        (of("a") + of("b") + of("c") > 2.5).then_some(metrics)
    });
    for (name, value) in [
        ("haptic_ready", 1.0),
        ("haptic_leads", 1.0),
        (
            "haptic_watch_objects{watch=\"configmaps\",namespace=\"\"}",
            3.0,
        ),
        (
            "haptic_watch_objects{watch=\"c/configmaps\",namespace=\"shop\"}",
            3.0,
        ),
        (
            "haptic_watch_objects{watch=\"c/configmaps\",namespace=\"blog\"}",
            0.0,
        ),
        (
            "haptic_watch_state{watch=\"configmaps\",namespace=\"\",state=\"synced\"}",
            1.0,
        ),
        (
            "haptic_watch_events_total{watch=\"configmaps\",namespace=\"\",type=\"listed\"}",
            2.0,
        ),
        (
            "haptic_watch_events_total{watch=\"configmaps\",namespace=\"\",type=\"applied\"}",
            1.0,
        ),
        (
            "haptic_watch_lists_completed_total{watch=\"configmaps\",namespace=\"\"}",
            1.0,
        ),
        (
            "haptic_watch_requests_total{watch=\"configmaps\",namespace=\"\",kind=\"streaming-list\",code=\"200\"}",
            1.0,
        ),
        (
            "haptic_plugin_callbacks_total{plugin=\"a\",callback=\"on-sync-complete\",result=\"ok\"}",
            1.0,
        ),
        (
            "haptic_plugin_callback_duration_seconds_count{plugin=\"a\",callback=\"on-change\"}",
            1.0,
        ),
        (
            "haptic_output_commits_total{plugin=\"a\",result=\"ok\"}",
            2.0,
        ),
        ("haptic_output_changed_total{plugin=\"a\"}", 2.0),
    ] {
        assert_eq!(metrics.get(name), Some(&value), "{name}");
    }
    for name in [
        "haptic_watch_stored_bytes{watch=\"configmaps\"}",
        "haptic_watch_received_bytes_total{watch=\"configmaps\",namespace=\"\"}",
        "haptic_plugin_memory_bytes{plugin=\"a\"}",
        "haptic_output_written_bytes_total{plugin=\"a\"}",
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_open_fds",
    ] {
        assert!(
            metrics.get(name).is_some_and(|value| *value > 0.0),
            "{name}"
        );
    }
    let (code, json) = get(&host, "/debug/state");
    let state: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(code, 200);
    assert_eq!(state["ready"], true);
    assert_eq!(
        state["watches"][0]["plugins"],
        serde_json::json!(["a", "b"])
    );
    assert_eq!(state["watches"][1]["scopes"][0]["namespace"], "shop");
    assert_eq!(state["plugins"][0]["recent"][0]["callback"], "on-change");
    assert_eq!(state["plugins"][0]["recent"][0]["created"], 1);
    assert_eq!(
        state["plugins"][0]["outputs"]["files"][0]["name"],
        "configmaps.txt"
    );
}
