//! What a store costs: bytes an object with everything included, a list of what it holds
//! already, reads and writes, beside what kube-rs' reflector keeps and a `HashMap`.
//!
//! `cargo bench -p haptic-core --bench store [-- COUNT… --json FILE]`

mod support;

use haptic_core::{Identity, Object, decode::Decoder, store::Store};
use kube_core::{ApiResource, DynamicObject};
use std::{collections::HashMap, hint::black_box, sync::Arc};
use support::{
    Filter, INGRESS, Kind, POD, Times, counts,
    memory::{self, Counting, Held},
    peer,
    report::{Must, Report, Row, float},
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Trees of as many Pods as this take a gigabyte, those of ten times as many more than most
/// machines have to spare. What one takes does not depend on how many there are.
const MOST_TREES: usize = 10_000;

fn main() {
    let mut report = Report::new();
    for count in counts() {
        for kind in [INGRESS, POD] {
            memory(&kind, count, &mut report);
        }
        relist(&INGRESS, count, &mut report);
        reads_and_writes(&INGRESS, count, &mut report);
    }
    report.write();
}

fn resource(kind: &Kind) -> ApiResource {
    ApiResource {
        group: "networking.k8s.io".into(),
        version: "v1".into(),
        api_version: "networking.k8s.io/v1".into(),
        kind: kind.name().into(),
        plural: kind.plural().into(),
    }
}

fn parse(json: &str) -> DynamicObject {
    serde_json::from_str(json).expect("an object")
}

fn decode(decoder: &mut Decoder, json: &str) -> Object {
    decoder.decode(json.as_bytes()).expect("an object").object
}

/// Lists `count` objects into a store, each decoded when it comes; how many changes that
/// made.
fn list(store: &mut Store, kind: &Kind, filter: Filter, count: usize) -> usize {
    let mut decoder = kind.decoder(filter);
    let mut deltas = Vec::new();
    store.begin_list(None);
    for json in kind.objects(count) {
        store.apply(decode(&mut decoder, &json), &mut deltas);
    }
    store.finish_list(None, &mut deltas);
    deltas.len()
}

fn listed(kind: &Kind, filter: Filter, count: usize) -> Store {
    let mut store = Store::new("bench", kind.indexes());
    list(&mut store, kind, filter, count);
    store
}

fn peer(kind: &Kind, count: usize, managed_fields: bool) -> peer::Store {
    let store = peer::Store::new(resource(kind));
    store.list(kind.objects(count).map(|json| {
        let mut object = parse(&json);
        if !managed_fields {
            object.metadata.managed_fields = None;
        }
        object
    }));
    store
}

fn memory(kind: &Kind, count: usize, report: &mut Report) {
    let peers = count.min(MOST_TREES);
    let peer_bytes = |managed_fields| {
        let store = memory::count(|| peer(kind, peers, managed_fields));
        float(store.bytes) / float(peers)
    };
    let (whole, stripped) = (peer_bytes(true), peer_bytes(false));
    for filter in [Filter::Light, Filter::Heavy] {
        let Held { made, bytes, peak } = memory::count(|| listed(kind, filter, count));
        let json = float(made.snapshot().body_bytes()) / float(count);
        let mut row = |row, value: f64, unit, peer, must| {
            report.add(Row {
                row,
                variant: format!("{}, {}", kind.name(), filter.name()),
                n: count,
                value,
                unit,
                peer,
                must,
            });
        };
        let bytes = float(bytes) / float(count);
        row(
            "stored / filtered JSON",
            bytes / json,
            "",
            None,
            Must::AtMost(1.2),
        );
        let must = match kind.name() {
            "Pod" => Must::Times(10.0),
            _ => Must::Show,
        };
        row(
            "bytes an object in the store",
            bytes,
            "B",
            Some(("kube-rs store", whole)),
            must,
        );
        let stripped = Some(("… without managedFields", stripped));
        row(
            "bytes an object in the store",
            bytes,
            "B",
            stripped,
            Must::Show,
        );
        let peak = float(peak) / float(count) / bytes;
        row(
            "peak of the first list / steady",
            peak,
            "",
            None,
            Must::AtMost(1.15),
        );
    }
}

fn relist(kind: &Kind, count: usize, report: &mut Report) {
    let page = float(500 * kind.objects(1).map(|json| json.len()).sum::<usize>());
    let mut store = listed(kind, Filter::Light, count);
    let again = memory::count(|| list(&mut store, kind, Filter::Light, count));
    drop(store);
    let peer = (count <= MOST_TREES).then(|| {
        let peer = peer(kind, count, true);
        let again = memory::count(|| peer.list(kind.objects(count).map(|json| parse(&json))));
        ("kube-rs store", float(again.peak) / page)
    });
    let mut row = |row, value, unit, peer, must| {
        report.add(Row {
            row,
            variant: format!("{}, light", kind.name()),
            n: count,
            value,
            unit,
            peer,
            must,
        });
    };
    row(
        "relist unchanged: on top",
        float(again.peak) / page,
        "pages",
        peer,
        Must::AtMost(1.0),
    );
    let left = float(again.bytes) / 1_024.0;
    row(
        "relist unchanged: left behind",
        left,
        "KiB",
        None,
        Must::AtMost(16.0),
    );
    row(
        "relist unchanged: changes",
        float(again.made),
        "",
        None,
        Must::AtMost(0.0),
    );
}

/// Every number below `count` once, in no order that a tree would like.
fn scattered(count: usize) -> impl Iterator<Item = usize> {
    // A prime that divides none of the counts.
    (0..count).map(move |i| i * 7_919 % count)
}

/// How many reads are timed at once, so few that most such pieces are not interrupted, and
/// how often.
const READS: usize = 200;
const ROUNDS: usize = 1_000;

/// What is timed beside each other.
struct Reads<'a> {
    names: &'a [(String, String)],
    round: usize,
}

impl Reads<'_> {
    /// Each kind of read has objects of its own in a round: after another one they would
    /// be in the processor's cache.
    fn time(&self, kind: usize, times: &mut Times, mut read: impl FnMut(usize)) {
        let start = (self.round * 5 + kind) * READS;
        times.time(|| (start..start + READS).for_each(|i| read(i % self.names.len())));
    }
}

fn reads_and_writes(kind: &Kind, count: usize, report: &mut Report) {
    let mut store = Store::new("bench", kind.indexes());
    let mut decoder = kind.decoder(Filter::Light);
    let objects: Vec<Object> = kind
        .objects(count)
        .map(|json| decode(&mut decoder, &json))
        .collect();
    let names: Vec<(String, String)> = scattered(count)
        .filter_map(|i| objects.get(i))
        .map(|object| (object.namespace().to_owned(), object.name().to_owned()))
        .collect();
    let mut row = |row, value: f64, unit, peer, must| {
        report.add(Row {
            row,
            variant: format!("{}, light", kind.name()),
            n: count,
            value,
            unit,
            peer,
            must,
        });
    };

    let (mut staged, mut published) = (Times::default(), Times::default());
    store.begin_list(None);
    staged.time(|| {
        objects
            .into_iter()
            .for_each(|object| _ = store.apply(object, &mut Vec::new()))
    });
    published.time(|| store.finish_list(None, &mut Vec::new()));
    row(
        "list: stage an object",
        staged.per(count) * 1e6,
        "µs",
        None,
        Must::Show,
    );
    row(
        "list: publish all",
        published.per(1) * 1e3,
        "ms",
        None,
        Must::Show,
    );

    let kube = peer(kind, count, false);
    let keys = kube.keys(&names);
    let snapshot = store.snapshot();
    let map: HashMap<(String, String), Arc<Object>> = snapshot
        .list()
        .map(|o| {
            (
                (o.namespace().to_owned(), o.name().to_owned()),
                Arc::clone(o),
            )
        })
        .collect();
    let ids: Vec<Identity> = names
        .iter()
        .map(|(namespace, name)| Identity::new(namespace, name).expect("a name"))
        .collect();
    let hosts: Vec<String> = names
        .iter()
        .map(|(_, name)| format!("www-0.{name}.example.com"))
        .collect();
    let [mut by_key, mut by_id, mut by_map, mut by_kube, mut by_host] = <[Times; 5]>::default();
    for round in 0..ROUNDS {
        let reads = Reads {
            names: &names,
            round,
        };
        reads.time(0, &mut by_key, |i| {
            let (namespace, name) = &names[i];
            let found = snapshot.get(&[namespace, name]).expect("an index").next();
            assert!(black_box(found).is_some());
        });
        reads.time(1, &mut by_id, |i| {
            assert!(black_box(snapshot.get_object(&ids[i])).is_some())
        });
        reads.time(2, &mut by_map, |i| {
            assert!(black_box(map.get(&names[i])).is_some())
        });
        reads.time(3, &mut by_kube, |i| {
            assert!(black_box(kube.get(&keys[i])).is_some())
        });
        reads.time(4, &mut by_host, |i| {
            let found = snapshot
                .get_by("by", &[&hosts[i]])
                .expect("an index")
                .next();
            assert!(black_box(found).is_some());
        });
    }
    let nanos = |times: &mut Times| times.per(READS) * 1e9;
    let [by_key, by_id, by_map, by_kube, by_host] =
        [by_key, by_id, by_map, by_kube, by_host].map(|mut times| nanos(&mut times));
    for (name, value) in [("get by full key", by_key), ("get by identity", by_id)] {
        row(
            name,
            value,
            "ns",
            Some(("HashMap", by_map)),
            Must::Times(0.5),
        );
        row(
            name,
            value,
            "ns",
            Some(("kube-rs Store::get", by_kube)),
            Must::Show,
        );
    }
    row(
        "get by host (index)",
        by_host,
        "ns",
        Some(("HashMap", by_map)),
        Must::Show,
    );
    drop(map);

    let [mut prefix, mut scan, mut all, mut all_kube] = <[Times; 4]>::default();
    let mut found = 0;
    for (namespace, _) in names.iter().take(50) {
        prefix.time(|| {
            found = snapshot
                .get(&[namespace])
                .expect("an index")
                .map(body_len)
                .count()
        });
        assert_eq!(scan.time(|| kube.in_namespace(namespace)), found);
    }
    for _ in 0..10 {
        all.time(|| black_box(snapshot.list().map(body_len).sum::<usize>()));
        all_kube.time(|| {
            black_box(
                kube.state()
                    .iter()
                    .filter(|object| object.metadata.name.is_some())
                    .count(),
            )
        });
    }
    let peer = Some(("kube-rs state(), filtered", scan.per(1) * 1e6));
    row(
        "get by prefix (one namespace)",
        prefix.per(1) * 1e6,
        "µs",
        peer,
        Must::Show,
    );
    let peer = Some(("kube-rs state()", all_kube.per(1) * 1e3));
    row(
        "list, each body looked at",
        all.per(1) * 1e3,
        "ms",
        peer,
        Must::Show,
    );

    let newer = |snapshot: &haptic_core::snapshot::Snapshot, number: usize| {
        let (namespace, name) = &names[number];
        let object = snapshot
            .get(&[namespace, name])
            .expect("an index")
            .next()
            .expect("known");
        let body = object.body().expect("it is kept").as_str();
        body.replace(
            "\"generation\":2",
            &format!("\"generation\":{}", 3 + number),
        )
    };
    // Each of another object.
    let rounds = (names.len() / 2).min(1_000);
    let mut decoder = kind.decoder(Filter::Light);
    let texts: Vec<String> = (0..2 * rounds)
        .map(|number| newer(&snapshot, number))
        .collect();
    let mut objects = texts
        .iter()
        .map(|json| decode(&mut decoder, json))
        .collect::<Vec<_>>()
        .into_iter();
    drop(snapshot);
    let [mut plain, mut first, mut shared, mut kubes] = <[Times; 4]>::default();
    let mut deltas = Vec::new();
    for object in objects.by_ref().take(rounds) {
        plain.time(|| store.apply(object, &mut deltas));
    }
    for object in objects {
        let snapshot = first.time(|| store.snapshot());
        shared.time(|| store.apply(object, &mut deltas));
        drop(snapshot);
    }
    assert_eq!(deltas.len(), 2 * rounds, "each was a change");
    for json in texts.iter().take(rounds) {
        let object = parse(json);
        kubes.time(|| kube.apply(object));
    }
    let kube = Some(("kube-rs store", kubes.per(1) * 1e6));
    row("update", plain.per(1) * 1e6, "µs", kube, Must::Show);
    row("snapshot", first.per(1) * 1e9, "ns", None, Must::Show);
    row(
        "first update after a snapshot",
        shared.per(1) * 1e6,
        "µs",
        kube,
        Must::Show,
    );
}

fn body_len(object: &Arc<Object>) -> usize {
    object.body().map_or(0, |body| body.as_str().len())
}
