//! Prints what the same plugin costs in each language, as a table: `make bench-languages`.

#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use haptic_core::{
    Object, Time,
    decode::{Decoder, Projection},
    engine::{Call, Engine, Outcome, StoreId},
    spec::{WatchPlan, plan_all},
    watch::WatchOutput,
};
use haptic_host::{
    cached::{Answer, Bodies},
    plugin::{Instance, Limits, Plugin, Runtime, RuntimeOptions},
};
use serde_json::json;
use tokio::runtime::Runtime as Executor;

const LANGUAGES: [(&str, &str); 4] = [
    (
        "Rust",
        "target/guests/wasm32-wasip2/release/targets_plugin.wasm",
    ),
    ("C", "target/languages/c.wasm"),
    ("Python", "target/languages/python.wasm"),
    ("JavaScript", "target/languages/javascript.wasm"),
];

/// Slices in the store.
const MANY: usize = 10_000;
const FEW: usize = 10;

/// Measurements of which the median is shown.
const RUNS: usize = 9;

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    println!(
        "| | component | compile | from the cache | instance | on-sync-complete of {MANY} | on-change of one of {MANY} | of one of {FEW} |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for (language, path) in LANGUAGES {
        let bytes = std::fs::read(root.join(path))
            .unwrap_or_else(|error| panic!("{path}: {error}: `make bench-languages` builds it"));
        println!("{}", row(language, &bytes));
    }
}

fn row(language: &str, bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let cache = RuntimeOptions {
        cache_dir: Some(folder.path().to_owned()),
        ..RuntimeOptions::default()
    };
    let compile = || {
        Runtime::new(&cache)
            .unwrap()
            .compile(language, bytes)
            .unwrap()
    };
    let compiled = compile().compilation();
    let plugin = compile();
    let loaded = plugin.compilation();
    assert!(!compiled.cached && loaded.cached);

    let executor = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let instance = median(|| {
        let began = Instant::now();
        instantiate(&executor, &plugin);
        began.elapsed()
    });
    let (sync, change) = Cluster::new(&executor, &plugin, MANY).measure();
    let (_, small) = Cluster::new(&executor, &plugin, FEW).measure();
    format!(
        "| {language} | {} | {} | {} | {} | {} | {} | {} |",
        size(bytes.len()),
        time(compiled.duration),
        time(loaded.duration),
        time(instance),
        time(sync),
        time(change),
        time(small)
    )
}

fn median(mut measure: impl FnMut() -> Duration) -> Duration {
    let mut all: Vec<Duration> = (0..RUNS).map(|_| measure()).collect();
    all.sort();
    all[RUNS / 2]
}

fn size(bytes: usize) -> String {
    match bytes {
        0..1_000_000 => format!("{} KB", bytes / 1_000),
        _ => format!("{} MB", bytes / 1_000_000),
    }
}

/// Two digits that count, and whole numbers above.
fn time(duration: Duration) -> String {
    let micros = duration.as_secs_f64() * 1e6;
    match micros {
        ..10.0 => format!("{micros:.1} µs"),
        ..1_000.0 => format!("{micros:.0} µs"),
        ..10_000.0 => format!("{:.1} ms", micros / 1e3),
        ..1_000_000.0 => format!("{:.0} ms", micros / 1e3),
        _ => format!("{:.1} s", micros / 1e6),
    }
}

fn instantiate(executor: &Executor, plugin: &Plugin) -> Instance {
    let logs = Arc::new(|_| {});
    let limits = Limits::default();
    let instance = plugin.instantiate(&limits, "{}", logs);
    executor.block_on(instance).unwrap()
}

/// A store with slices, and an instance that is told of them.
struct Cluster<'a> {
    executor: &'a Executor,
    plugin: &'a Plugin,
    engine: Engine,
    store: StoreId,
    decoder: Decoder,
    slices: usize,
    now: Time,
}

impl<'a> Cluster<'a> {
    fn new(executor: &'a Executor, plugin: &'a Plugin, slices: usize) -> Self {
        let mut instance = instantiate(executor, plugin);
        let watches = executor.block_on(instance.describe()).unwrap();
        let plans: Vec<Arc<WatchPlan>> = plan_all(&watches)
            .unwrap()
            .into_iter()
            .map(Arc::new)
            .collect();
        let mut engine = Engine::new();
        engine.add_plugin(plugin.name(), &plans, "default");
        let (store, ..) = engine.stores().next().unwrap();
        Self {
            executor,
            plugin,
            engine,
            store,
            decoder: Decoder::new(Arc::new(Projection::new(plans[0].projection()))),
            slices,
            now: Time::ZERO,
        }
    }

    /// The medians of `on-sync-complete` with all slices, and of `on-change` with one.
    fn measure(mut self) -> (Duration, Duration) {
        self.hear(WatchOutput::ListBegin);
        for number in 0..self.slices {
            let slice = self.slice(number, 0);
            self.hear(WatchOutput::Listed(slice));
        }
        self.hear(WatchOutput::ListEnd {
            resource_version: "1".to_owned(),
        });
        let call = self.due();
        let mut last = None;
        let sync = median(|| {
            let mut fresh = instantiate(self.executor, self.plugin);
            self.executor.block_on(fresh.describe()).unwrap();
            let took = self.run(&mut fresh, &call);
            last = Some(fresh);
            took
        });
        let mut instance = last.unwrap();
        self.engine.finished(self.now, call.plugin, Outcome::Ok);
        let mut changes = 0;
        let change = median(|| {
            changes += 1;
            let slice = self.slice(self.slices / 2, changes);
            self.hear(WatchOutput::Applied(slice));
            let call = self.due();
            let took = self.run(&mut instance, &call);
            self.engine.finished(self.now, call.plugin, Outcome::Ok);
            took
        });
        (sync, change)
    }

    fn hear(&mut self, output: WatchOutput) {
        self.engine.watch(self.now, self.store, 0, output);
    }

    /// The callback that is due when every interval is over.
    fn due(&mut self) -> Call {
        self.now = self.now + Duration::from_secs(60);
        let mut calls = self.engine.poll(self.now);
        assert_eq!(calls.len(), 1);
        calls.remove(0)
    }

    fn run(&self, instance: &mut Instance, call: &Call) -> Duration {
        let (view, bodies) = (Arc::clone(&call.view), no_bodies());
        let done = instance.call(&call.callback, "endpointslices", view, &bodies);
        let done = self.executor.block_on(done).unwrap();
        assert_eq!(done.outputs.len(), 1);
        done.duration
    }

    /// As the API server sends one: 1.1 KB.
    fn slice(&mut self, number: usize, version: usize) -> Object {
        let endpoint = |last: usize| {
            json!({
                "addresses": [format!("10.{}.{}.{last}", number / 200, number % 200)],
                "conditions": {"ready": true, "serving": true, "terminating": false},
                "nodeName": "node-1", "zone": "eu-1a",
                "targetRef": {
                    "kind": "Pod", "namespace": "shop", "name": format!("web-{number}-{last}"),
                    "uid": "8a1f3b0e-5d7c-4a53-9d1e-2f6f4b7c9a10",
                },
            })
        };
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "namespace": format!("team-{:02}", number % 50), "name": format!("web-{number:05}-x7k2p"),
                "uid": format!("00000000-0000-4000-8000-{number:012}"),
                "resourceVersion": (number + version * self.slices + 1).to_string(),
                "labels": {
                    "kubernetes.io/service-name": format!("web-{number:05}"),
                    "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                },
                "managedFields": [{"manager": "kube-controller-manager", "operation": "Update", "fieldsV1": {
                    "f:addressType": {}, "f:endpoints": {}, "f:ports": {}, "f:metadata": {"f:labels": {}},
                }}],
            },
            "addressType": "IPv4",
            "endpoints": [endpoint(1), endpoint(2), endpoint(3 + version)],
            "ports": [
                {"name": "http", "port": 8080, "protocol": "TCP"},
                {"name": "metrics", "port": 9090, "protocol": "TCP"},
            ],
        });
        self.decoder
            .decode(slice.to_string().as_bytes())
            .unwrap()
            .object
    }
}

/// The store is in memory: nothing is fetched.
fn no_bodies() -> Bodies {
    Bodies::new(
        Arc::new(|_| {
            Box::pin(async {
                Ok(Answer {
                    status: 404,
                    retry_after: None,
                    body: Vec::new().into(),
                })
            })
        }),
        || Time::ZERO,
        0,
    )
}
