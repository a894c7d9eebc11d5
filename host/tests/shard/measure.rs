//! What one process costs beside four that share its work: the table of docs/scale.md. Printed, and
//! nothing about it asserted but that all of them held everything together. `scripts/scale.sh` runs it.

use std::{
    fs,
    time::{Duration, Instant},
};

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

/// An Ingress as servers send it: some 2.6 KB, of which 1.1 KB are of two field managers.
fn ingress(i: usize, revision: usize) -> Value {
    let (namespace, name) = (
        format!("tenant-{:03}", i % NAMESPACES),
        format!("ingress-{i:06}"),
    );
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
    let fields = |prefix: &str| {
        let keys = (0..12).map(|n| (format!("f:{prefix}.example.com/annotation-{n}"), json!({})));
        Value::Object(keys.collect())
    };
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
            "managedFields": [
                {"manager": "kubectl", "operation": "Apply", "apiVersion": "networking.k8s.io/v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:metadata": {"f:annotations": fields("kubectl")}}},
                {"manager": "controller", "operation": "Update", "apiVersion": "networking.k8s.io/v1", "subresource": "status", "fieldsType": "FieldsV1", "fieldsV1": {"f:status": fields("controller")}},
            ],
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

/// Runs a host for each of `shards` on the same cluster, and prints a line for each.
fn measure(stage: &Stage, what: &str, shards: &[Option<String>], config: &str, revision: usize) {
    let binary = std::env::var_os("SCALE_HOST");
    let start = |shard: &Option<String>| {
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
        command.args(shard.iter().flat_map(|shard| ["--shard", shard]));
        command.arg("--plugin").arg(support::guest("hello_plugin"));
        Host::of(support::Process::start(&mut command))
    };
    let began = Instant::now();
    let hosts: Vec<Host> = shards.iter().map(start).collect();
    let states: Vec<Value> = hosts.iter().map(Host::synced).collect();
    let took = began.elapsed();
    // Quiet, so that what comes now is the updates.
    std::thread::park_timeout(Duration::from_secs(1));
    let before: Vec<Value> = hosts.iter().map(Host::state).collect();
    for i in 0..UPDATES {
        stage
            .cluster
            .apply(&ingress(i * objects() / UPDATES, revision))
            .unwrap();
    }
    let seen = |state: &Value| {
        let watch = watch(state, WATCH);
        traffic(watch, "listed") + traffic(watch, "applied") + traffic(watch, "foreign")
    };
    let mut held = 0;
    for ((host, synced), (before, shard)) in
        hosts.iter().zip(&states).zip(before.iter().zip(shards))
    {
        let narrowed = what.contains("listed");
        let target = seen(before) + UPDATES as u64;
        let mut last = (seen(before), Instant::now());
        let after = support::eventually("the updates", || {
            let state = host.state();
            let now = seen(&state);
            if now != last.0 {
                last = (now, Instant::now());
            }
            // With listed namespaces each is sent its own only; then it is over when nothing more comes.
            match now >= target || (narrowed && last.1.elapsed() > Duration::from_secs(3)) {
                true => Ok(state),
                false => Err(host.process.log()),
            }
        });
        let objects = watch(synced, WATCH)["objects"].as_u64().unwrap();
        held += objects;
        println!(
            "| {what} | {} | {objects} | {:.0} | {:.0} | {:.2} | {:.1} | {:.2} | {:.2} |",
            shard.as_deref().unwrap_or("-"),
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
    println!(
        "objects of {} bytes, {} of them",
        ingress(0, 0).to_string().len(),
        objects()
    );
    let config = |name: &str, more: &str| {
        let text = format!(
            "plugins:\n  hello_plugin:\n    watchedResources:\n      {WATCH}: {{apiVersion: networking.k8s.io/v1, resources: ingresses, ignoreFields: [metadata.managedFields]{more}}}\n"
        );
        fs::write(stage.at(name), text).unwrap();
    };
    config("all.yaml", "");
    let names: Vec<String> = (0..NAMESPACES).map(|i| format!("tenant-{i:03}")).collect();
    config(
        "listed.yaml",
        &format!(", namespaces: [{}]", names.join(", ")),
    );
    println!(
        "| what | shard | objects | RSS MiB | peak MiB | CPU s to sync | received MiB | CPU ms of {UPDATES} updates | received MiB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let four: Vec<Option<String>> = (0..4).map(|index| Some(format!("{index}/4"))).collect();
    measure(&stage, "one process", &[None], "all.yaml", 1);
    measure(&stage, "four, all namespaces", &four, "all.yaml", 2);
    measure(&stage, "four, listed namespaces", &four, "listed.yaml", 3);
}
