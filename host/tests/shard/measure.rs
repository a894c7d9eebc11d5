//! What one process costs beside four that share its work: the table of docs/scale.md. Printed, and
//! nothing about it asserted but that all of them held everything together. `scripts/scale.sh` runs it.

use std::{
    fs,
    time::{Duration, Instant},
};

use haptic_core::shard::{Shard, ShardBy};
use serde_json::{Value, json};

use super::{Host, Stage, support, traffic, watch};

const NAMESPACES: usize = 200;
const UPDATES: usize = 2_000;
/// Their names, as the watch in the configuration.
const WATCH: &str = "ingresses";

/// 100,000, or as many as `SCALE_OBJECTS` says.
fn objects() -> usize {
    let given = std::env::var("SCALE_OBJECTS").ok();
    given.map_or(100_000, |text| text.parse().unwrap())
}

fn namespace(i: usize) -> String {
    format!("tenant-{:03}", i % NAMESPACES)
}

/// An Ingress of 2 KB, with what the server adds.
fn ingress(i: usize, revision: usize) -> Value {
    let (namespace, name) = (namespace(i), format!("ingress-{i:06}"));
    let hosts: Vec<String> = (0..3)
        .map(|n| format!("app-{n}.{name}.example.com"))
        .collect();
    let rules: Vec<Value> = hosts
        .iter()
        .map(|host| {
            json!({"host": host, "http": {"paths": [
                {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": format!("{name}-web"), "port": {"number": 8080}}}},
                {"path": "/api", "pathType": "Prefix", "backend": {"service": {"name": format!("{name}-api"), "port": {"name": "http"}}}},
            ]}})
        })
        .collect();
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {
            "namespace": namespace,
            "name": name,
            "labels": {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": namespace},
            "annotations": {
                "haproxy.org/timeout-server": "30s",
                "haproxy.org/ssl-redirect": "true",
                "example.com/revision": revision.to_string(),
            },
        },
        "spec": {
            "ingressClassName": "haproxy",
            "rules": rules,
            "tls": [{"hosts": hosts, "secretName": format!("{name}-tls")}],
        },
    })
}

/// A number of `/proc/PID/status`, in MiB.
fn mib(host: &Host, what: &str) -> f64 {
    let pid = host.process.child.id();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(what))
        .unwrap();
    let kib: f64 = line
        .trim_start_matches(':')
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    kib / 1024.0
}

fn cpu(state: &Value) -> f64 {
    state["process"]["cpu_seconds"].as_f64().unwrap()
}

fn received(state: &Value) -> f64 {
    let bytes = traffic(watch(state, WATCH), "received_bytes");
    f64::from(u32::try_from(bytes >> 10).unwrap()) / 1024.0
}

/// Objects and events that came.
fn seen(state: &Value) -> u64 {
    let watch = watch(state, WATCH);
    ["listed", "applied", "foreign"]
        .map(|what| traffic(watch, what))
        .iter()
        .sum()
}

fn pause(millis: u64) {
    std::thread::park_timeout(Duration::from_millis(millis));
}

/// The state, once it is so. Asked for seldom: answering takes time, too.
#[track_caller]
fn until(host: &Host, met: impl Fn(&Value) -> bool) -> Value {
    support::eventually("what is measured", || {
        let state = host.state();
        if met(&state) {
            return Ok(state);
        }
        pause(200);
        Err(host.process.log())
    })
}

/// Runs a host for each of `shards` on the same cluster, and prints a line for each.
fn measure(stage: &Stage, what: &str, shards: &[Option<Shard>], listed: bool, revision: usize) {
    let config = if listed { "listed.yaml" } else { "all.yaml" };
    let binary = std::env::var_os("SCALE_HOST");
    let start = |shard: &Option<Shard>| {
        let mut command = match &binary {
            Some(path) => std::process::Command::new(path),
            None => support::host(),
        };
        support::isolate(&mut command);
        command.current_dir(stage.dir.path());
        command.args([
            "--kubeconfig",
            "kubeconfig",
            "--listen",
            "0",
            "--config",
            config,
        ]);
        command.args(shard.iter().map(|shard| format!("--shard={shard}")));
        command.arg("--plugin").arg(support::guest("hello_plugin"));
        Host::of(support::Process::start(&mut command))
    };
    let began = Instant::now();
    let hosts: Vec<Host> = shards.iter().map(start).collect();
    let states: Vec<Value> = hosts
        .iter()
        .map(|host| until(host, |state| state["ready"] == true))
        .collect();
    let took = began.elapsed();
    // Quiet, so that what comes now is the updates.
    pause(1_000);
    let before: Vec<Value> = hosts.iter().map(Host::state).collect();
    // Over all of them, and all namespaces.
    let updated: Vec<usize> = (0..UPDATES)
        .map(|i| (i * objects() / UPDATES + i) % objects())
        .collect();
    for i in &updated {
        stage.cluster.apply(&ingress(*i, revision)).unwrap();
    }
    pause(2_000);
    let mut held = 0;
    for ((host, shard), (synced, before)) in
        hosts.iter().zip(shards).zip(states.iter().zip(&before))
    {
        // A host that asks for its own namespaces is sent no other's updates.
        let own = |i: &&usize| shard.is_none_or(|shard| shard.owns_namespace(&namespace(**i)));
        let expected = match listed {
            true => updated.iter().filter(own).count(),
            false => UPDATES,
        };
        let target = seen(before) + u64::try_from(expected).unwrap();
        let after = until(host, |state| seen(state) >= target);
        let objects = watch(synced, WATCH)["objects"].as_u64().unwrap();
        held += objects;
        println!(
            "| {what} | {} | {objects} | {:.0} | {:.0} | {:.2} | {:.1} | {:.0} | {:.2} |",
            shard.map_or_else(|| "-".to_owned(), |shard| shard.to_string()),
            mib(host, "VmRSS"),
            mib(host, "VmHWM"),
            cpu(synced),
            received(synced),
            (cpu(&after) - cpu(before)) * 1e3,
            received(&after) - received(before),
        );
    }
    println!(
        "| {what} | all synced after {:.1} s | | | | | | | |",
        took.as_secs_f64()
    );
    assert_eq!(held, objects() as u64, "together they hold everything");
}

#[test]
#[ignore = "a measurement of minutes: scripts/scale.sh"]
fn one_process_beside_four_that_share_its_work() {
    let stage = Stage::new();
    for i in 0..objects() {
        stage.cluster.apply(&ingress(i, 0)).unwrap();
    }
    let config = |name: &str, more: &str| {
        let text = format!(
            "plugins:\n  hello_plugin:\n    watchedResources:\n      {WATCH}: {{apiVersion: networking.k8s.io/v1, resources: ingresses, ignoreFields: [metadata.managedFields]{more}}}\n"
        );
        fs::write(stage.at(name), text).unwrap();
    };
    config("all.yaml", "");
    let names: Vec<String> = (0..NAMESPACES).map(namespace).collect();
    config(
        "listed.yaml",
        &format!(", namespaces: [{}]", names.join(", ")),
    );
    println!(
        "| what | shard | objects | RSS MiB | peak MiB | CPU s to sync | received MiB | CPU ms of {UPDATES} updates | received MiB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let four: Vec<Option<Shard>> = (0..4)
        .map(|index| Some(Shard::new(index, 4, ShardBy::Namespace).unwrap()))
        .collect();
    measure(&stage, "one process", &[None], false, 1);
    measure(&stage, "four, all namespaces", &four, false, 2);
    measure(&stage, "four, listed namespaces", &four, true, 3);
}
