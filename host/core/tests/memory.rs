//! What a store costs. Alone in its process, because the allocator counts for all of it.

use haptic_core::{
    decode::{Decoder, Projection},
    spec::WatchSpec,
    store::Store,
};
use peak_alloc::PeakAlloc;
use std::sync::Arc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const COUNT: usize = 10_000;

/// 2.2 KB with managedFields, 1.3 KB without: three paths on each of two hosts.
fn ingress(i: usize) -> String {
    let (namespace, service) = (i % 50, i % 200);
    let paths = ["/", "/api", "/static"].map(|path| {
        format!(
            r#"{{"path":"{path}","pathType":"Prefix","backend":{{"service":{{"name":"service-{service}","port":{{"number":8080}}}}}}}}"#
        )
    });
    let rules = ["www", "shop"].map(|host| {
        format!(
            r#"{{"host":"{host}-{i}.example.org","http":{{"paths":[{}]}}}}"#,
            paths.join(",")
        )
    });
    let managed = r#""f:rules":{},"f:tls":{},"f:ingressClassName":{},"#.repeat(15);
    format!(
        r#"{{"apiVersion":"networking.k8s.io/v1","kind":"Ingress","metadata":{{"name":"shop-frontend-{i}","namespace":"team-{namespace}","uid":"9e6f2a5c-0b1d-4c3e-8f7a-{i:012}","resourceVersion":"{i}","creationTimestamp":"2026-01-01T00:00:00Z","labels":{{"app.kubernetes.io/name":"shop","app.kubernetes.io/part-of":"team-{namespace}"}},"annotations":{{"haproxy.org/check":"true","haproxy.org/timeout-server":"30s"}},"managedFields":[{{"manager":"kubectl","fieldsV1":{{{managed}"f:x":{{}}}}}}]}},"spec":{{"ingressClassName":"haproxy","tls":[{{"hosts":["www-{i}.example.org"],"secretName":"shop-{i}-tls"}}],"rules":[{}]}},"status":{{"loadBalancer":{{"ingress":[{{"ip":"10.0.0.1"}}]}}}}}}"#,
        rules.join(",")
    )
}

#[test]
fn s5_an_object_costs_at_most_a_fifth_more_than_its_filtered_json() {
    let spec = WatchSpec {
        name: "ingresses".to_owned(),
        api_version: "networking.k8s.io/v1".to_owned(),
        resources: "ingresses".to_owned(),
        indexes: vec![("by-host".to_owned(), vec!["spec.rules[*].host".to_owned()])],
        ignore_fields: vec!["metadata.managedFields".to_owned()],
        ..WatchSpec::default()
    };
    let plan = spec.plan().expect("a valid watch");
    let mut decoder = Decoder::new(Arc::new(Projection::new(plan.projection())));
    let mut store = Store::new("ingresses", plan.index_specs.clone());
    let before = MEMORY.current_usage();
    store.begin_list(None);
    for i in 0..COUNT {
        let decoded = decoder.decode(ingress(i).as_bytes()).expect("an object");
        store.apply(decoded.object, &mut Vec::new());
    }
    store.finish_list(None, &mut Vec::new());
    let held = MEMORY.current_usage() - before;
    let snapshot = store.snapshot();
    assert_eq!(snapshot.len(), COUNT);
    let bodies = snapshot
        .list()
        .map(|object| object.body().map_or(0, |body| body.as_str().len()));
    let json: usize = bodies.sum();
    let percent = held * 100 / json;
    println!(
        "{} bytes of JSON and {} in all an object",
        json / COUNT,
        held / COUNT
    );
    assert!(percent <= 120, "{percent} % of the filtered JSON");
}
