//! What a store costs: time of reads and writes, and bytes an object with everything
//! included, at 10,000 and 100,000 objects shaped like filtered Ingresses.
#![allow(
    clippy::unwrap_used,
    reason = "a benchmark that cannot go on says where by panicking"
)]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use haptic_core::{
    Body, Identity, Object, index::IndexSpec, key, object::ObjectParts, path::Path,
    select::Selection, store::Store,
};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

fn main() {
    for count in [10_000, 100_000] {
        println!("{count} objects, indexes: (namespace, name), (host), (service, path)");
        memory(count);
        speed(count);
        println!();
    }
}

fn memory(count: usize) {
    let bodies: usize = (0..count).map(|i| body(i, 1).len()).sum();
    let before = MEMORY.current_usage();
    let mut store = listed(count);
    let held = MEMORY.current_usage() - before;
    row("JSON, bytes an object", per(bodies, count));
    row("stored, bytes an object", per(held, count));
    row("stored / JSON", per(held, bodies));

    for i in scattered(count) {
        store.apply(object(i, 2), &mut Vec::new());
    }
    let held = MEMORY.current_usage() - before;
    row("after an update of each, bytes an object", per(held, count));

    let held = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    relist(&mut store, count, 2);
    row(
        "relist without changes, bytes an object on top",
        per(MEMORY.peak_usage() - held, count),
    );
    row(
        "left of it afterwards, bytes an object",
        per(MEMORY.current_usage().saturating_sub(held), count),
    );
}

fn speed(count: usize) {
    let objects: Vec<_> = (0..count).map(|i| object(i, 1)).collect();
    let mut store = Store::new("ingresses", indexes());
    store.begin_list(None);
    let start = Instant::now();
    for object in objects {
        store.apply(object, &mut Vec::new());
    }
    row("list staged, µs an object", micros(start.elapsed(), count));
    let start = Instant::now();
    store.finish_list(None, &mut Vec::new());
    row("list published, ms", micros(start.elapsed(), 1_000));

    let updates: Vec<_> = scattered(count).map(|i| object(i, 2)).collect();
    let mut deltas = Vec::new();
    let start = Instant::now();
    for object in updates {
        store.apply(object, &mut deltas);
    }
    row("update, µs", micros(start.elapsed(), count));
    drop(deltas);

    let updates: Vec<_> = scattered(count).take(1_000).map(|i| object(i, 3)).collect();
    let mut snapshots = Vec::new();
    let start = Instant::now();
    for object in updates {
        snapshots.push(store.snapshot());
        store.apply(object, &mut Vec::new());
    }
    row(
        "update with a snapshot of each, µs",
        micros(start.elapsed(), 1_000),
    );
    drop(snapshots);

    let rounds = 1_000_000;
    row(
        "snapshot, ns",
        nanos(rounds, |_| {
            black_box(store.snapshot());
        }),
    );

    let snapshot = store.snapshot();
    let names: Vec<_> = scattered(count).map(|i| (namespace(i), name(i))).collect();
    let some = |i: usize| &names[i % names.len()];
    row(
        "get by (namespace, name), ns",
        nanos(rounds, |i| {
            let (namespace, name) = some(i);
            assert_eq!(snapshot.get(&[namespace, name]).unwrap().len(), 1);
        }),
    );
    let hosts: Vec<_> = scattered(count).map(host).collect();
    row(
        "get by host, ns",
        nanos(rounds, |i| {
            let found = snapshot.get_by("host", &[&hosts[i % hosts.len()]]).unwrap();
            assert_eq!(found.len(), 1);
        }),
    );
    let services: Vec<_> = (0..SERVICES).map(service).collect();
    row("get by service (leading key), ns an object", {
        let mut found = 0;
        let rounds = 1_000;
        let nanos = nanos(rounds, |i| {
            let objects = snapshot
                .get_by("route", &[&services[i % SERVICES]])
                .unwrap();
            found += objects
                .map(|object| object.name().len().min(1))
                .sum::<usize>();
        });
        nanos * per(rounds, found.max(1))
    });
    row(
        "list of all, ms",
        nanos(10, |_| {
            let bytes: usize = snapshot
                .list()
                .map(|object| object.body().map_or(0, |body| body.as_str().len()))
                .sum();
            black_box(bytes);
        }) / 1e6,
    );
    let fields = ["metadata.namespace", "metadata.name", "spec.rules[0].host"];
    let fields: Vec<Path> = fields.iter().map(|field| field.parse().unwrap()).collect();
    row(
        "select of 3 fields of all, ms",
        nanos(5, |_| {
            let mut selection = Selection::new(&fields, usize::MAX).unwrap();
            for object in snapshot.list() {
                let body = object.body().map_or("", Body::as_str);
                selection.push(object.identity(), body).unwrap();
            }
            black_box(selection.finish());
        }) / 1e6,
    );
}

fn listed(count: usize) -> Store {
    let mut store = Store::new("ingresses", indexes());
    relist(&mut store, count, 1);
    store
}

fn relist(store: &mut Store, count: usize, version: u32) {
    let mut deltas = Vec::new();
    store.begin_list(None);
    for i in 0..count {
        store.apply(object(i, version), &mut deltas);
    }
    store.finish_list(None, &mut deltas);
}

fn indexes() -> Vec<IndexSpec> {
    let index = |name: &str, arity, identity| IndexSpec {
        name: name.to_owned(),
        arity,
        identity,
    };
    vec![
        index("", 2, true),
        index("host", 1, false),
        index("route", 2, false),
    ]
}

const NAMESPACES: usize = 50;
const SERVICES: usize = 200;

fn namespace(i: usize) -> String {
    format!("team-{:02}", i % NAMESPACES)
}

fn name(i: usize) -> String {
    format!("shop-frontend-{i:06}")
}

fn host(i: usize) -> String {
    format!("shop-{i}.example.org")
}

fn service(i: usize) -> String {
    format!("service-{}", i % SERVICES)
}

/// Every number below `count` once, in no order that a tree would like.
fn scattered(count: usize) -> impl Iterator<Item = usize> {
    // Coprime to the counts used here.
    (0..count).map(move |i| i * 7_919 % count)
}

fn body(i: usize, version: u32) -> String {
    let (namespace, name, host, service) = (namespace(i), name(i), host(i), service(i));
    let paths: Vec<_> = (0..8)
        .map(|path| {
            format!(
                r#"{{"path":"/v{version}/{path}","pathType":"Prefix","backend":{{"service":{{"name":"{service}","port":{{"number":8080}}}}}}}}"#
            )
        })
        .collect();
    format!(
        r#"{{"apiVersion":"networking.k8s.io/v1","kind":"Ingress","metadata":{{"name":"{name}","namespace":"{namespace}","uid":"9e6f2a5c-0b1d-4c3e-8f7a-{i:012}","resourceVersion":"{i:09}","labels":{{"app.kubernetes.io/name":"shop","app.kubernetes.io/part-of":"{namespace}"}}}},"spec":{{"ingressClassName":"haproxy","tls":[{{"hosts":["{host}"],"secretName":"{name}-tls"}}],"rules":[{{"host":"{host}","http":{{"paths":[{}]}}}}]}}}}"#,
        paths.join(",")
    )
}

fn object(i: usize, version: u32) -> Object {
    let body = body(i, version);
    let resource_version = format!("{i:09}");
    let uid = format!("9e6f2a5c-0b1d-4c3e-8f7a-{i:012}");
    let spot = |text: &str| {
        let start = body.find(&format!("\"{text}\"")).unwrap() + 1;
        Some(start..start + text.len())
    };
    Object::new(ObjectParts {
        identity: Identity::new(&namespace(i), &name(i)).unwrap(),
        uid: &uid,
        resource_version: &resource_version,
        body: &body,
        uid_span: spot(&uid),
        resource_version_span: spot(&resource_version),
        keys: vec![
            Vec::new(),
            vec![key::encode([&*host(i)])],
            vec![key::encode([&*service(i), "/"])],
        ],
    })
    .unwrap()
}

fn nanos(rounds: usize, mut run: impl FnMut(usize)) -> f64 {
    let start = Instant::now();
    for round in 0..rounds {
        run(round);
    }
    micros(start.elapsed(), rounds) * 1e3
}

fn micros(elapsed: Duration, rounds: usize) -> f64 {
    elapsed.as_secs_f64() * 1e6 / approximately(rounds)
}

fn per(amount: usize, count: usize) -> f64 {
    approximately(amount) / approximately(count)
}

fn approximately(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

fn row(what: &str, figure: f64) {
    println!("  {what:<48} {figure:>10.2}");
}
