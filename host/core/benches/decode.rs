//! Time to decode and project one object, beside serde_json's tree and kube's
//! `DynamicObject`, and the bytes that one decoded object holds on the heap.
//!
//! `cargo bench -p haptic-core --bench decode [-- COUNT… --json FILE]`

mod support;

use haptic_core::decode::Decoder;
use kube_core::DynamicObject;
use std::{hint::black_box, sync::Arc};
use support::{
    Filter, INGRESS, Kind, POD, Times, counts,
    memory::{self, Counting},
    report::{Must, Report, Row, float},
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// So few objects are decoded in less than one time slice of the operating system.
const BATCH: usize = 10;

/// More than glibc's largest small piece.
const LARGE: usize = 64 << 10;

fn main() {
    let mut report = Report::new();
    for count in counts() {
        for kind in [INGRESS, POD] {
            decode(&kind, count, &mut report);
        }
    }
    report.write();
}

fn decode(kind: &Kind, count: usize, report: &mut Report) {
    let [mut light, mut heavy] = [Filter::Light, Filter::Heavy].map(|filter| kind.decoder(filter));
    let tree = |json: &str| serde_json::from_str::<serde_json::Value>(json).expect("JSON");
    let dynamic = |json: &str| serde_json::from_str::<DynamicObject>(json).expect("an object");
    let mut ours = |json: &str| object(&mut light, json);
    let mut few = |json: &str| object(&mut heavy, json);
    let mut times: [Times; 4] = Default::default();
    let mut objects = kind.objects(count);
    loop {
        let batch: Vec<String> = objects.by_ref().take(BATCH).collect();
        if batch.len() < BATCH {
            break;
        }
        let [t, d, l, h] = &mut times;
        each(t, &batch, tree);
        each(d, &batch, dynamic);
        each(l, &batch, &mut ours);
        each(h, &batch, &mut few);
    }
    let [tree_time, dynamic_time, light_time, heavy_time] =
        times.each_mut().map(|times| times.per(BATCH) * 1e6);
    let sample: Vec<String> = kind.objects(1_000).collect();
    let peers = [
        (
            "kube-rs DynamicObject",
            dynamic_time,
            held(&sample, dynamic),
        ),
        ("serde_json::Value", tree_time, held(&sample, tree)),
    ];
    let variants = [
        (Filter::Light, light_time, 3.0, held(&sample, ours)),
        (Filter::Heavy, heavy_time, 6.0, held(&sample, few)),
    ];
    for (filter, time, times, bytes) in variants {
        for (peer, peer_time, peer_bytes) in peers {
            let row = |row, value, unit, peer_value, must| Row {
                row,
                variant: format!("{}, {}", kind.name(), filter.name()),
                n: count,
                value,
                unit,
                peer: Some((peer, peer_value)),
                must,
            };
            report.add(row(
                "decode + project an object",
                time,
                "µs",
                peer_time,
                Must::Times(times),
            ));
            if count == 10_000 {
                report.add(row(
                    "decoded object on the heap",
                    bytes,
                    "B",
                    peer_bytes,
                    Must::Show,
                ));
            }
        }
    }
}

fn object(decoder: &mut Decoder, json: &str) -> Arc<haptic_core::Object> {
    Arc::new(decoder.decode(json.as_bytes()).expect("an object").object)
}

/// Freeing what was made is not part of the time.
fn each<T>(times: &mut Times, batch: &[String], mut decode: impl FnMut(&str) -> T) {
    let mut made = Vec::with_capacity(batch.len());
    times.time(|| made.extend(batch.iter().map(|json| decode(black_box(json)))));
    drop(black_box(made));
    // glibc puts small freed pieces together when somebody next asks for a large one, which would
    // else be whoever is measured next: a tree leaves hundreds of pieces, and we ask for one body.
    drop(black_box(Vec::<u8>::with_capacity(LARGE)));
}

fn held<T>(objects: &[String], mut decode: impl FnMut(&str) -> T) -> f64 {
    let made = memory::count(|| objects.iter().map(|json| decode(json)).collect::<Vec<T>>());
    float(made.bytes) / float(objects.len())
}
