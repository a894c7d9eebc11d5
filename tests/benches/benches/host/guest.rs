//! What guests cost: the host's own part of a callback, and reads. Timed from outside, in CPU time of
//! the one thread that the guest runs on.

use std::{hint::black_box, path::Path, sync::Arc, time::Duration};

use haptic_benches::{
    data::{Kind, Made},
    process::thread_cpu,
    report::{
        Must::{AtMost, Times},
        Report, Row,
    },
};
use haptic_core::{
    Time,
    decode::{Decoder, Projection},
    engine::{Call, Engine, Outcome, PluginId, StoreId},
    spec::plan_all,
    watch::WatchOutput,
};
use haptic_host::{
    cached::Bodies,
    driver::Clock,
    plugin::{Instance, Limits, Plugin, Runtime, RuntimeOptions},
};

use crate::{Effort, bare, count, micros};

/// Where scripts/guests.sh puts components.
const GUESTS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../target/guests/wasm32-wasip2/release"
);

/// A plugin with everything that the host has around one, but for the loop and the network.
struct Stage {
    engine: Engine,
    plugin: PluginId,
    store: StoreId,
    decoder: Decoder,
    instance: Instance,
    bodies: Bodies,
    runtime: tokio::runtime::Runtime,
    now: Time,
    count: usize,
    version: u64,
    revision: u32,
}

fn limits() -> Limits {
    Limits {
        memory: 3 << 30,
        callback_time: Duration::from_secs(300),
        output_bytes: 1 << 30,
        answer_bytes: 1 << 30,
        ..Limits::default()
    }
}

fn threads() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// Bodies of a cluster that nobody asks.
fn bodies() -> Bodies {
    let access = haptic_host::access::connect_url("http://127.0.0.1:1", "default").unwrap();
    Bodies::of(&access, Clock::start(), 0)
}

impl Stage {
    /// A plugin that holds `count` Ingresses and was told so.
    fn new(plugin: &Plugin, settings: &str, count: usize) -> Self {
        let runtime = threads();
        let limits = limits();
        let (instance, plans) = runtime.block_on(async {
            let logs = Arc::new(|line| eprintln!("{line:?}"));
            let made = plugin.instantiate(&limits, settings, logs);
            let mut instance = made.await.unwrap();
            let plans = plan_all(&instance.describe().await.unwrap()).unwrap();
            (instance, plans)
        });
        let decoder = Decoder::new(Arc::new(Projection::new(plans[0].projection())));
        let plans: Vec<_> = plans.into_iter().map(Arc::new).collect();
        let mut engine = Engine::new();
        let plugin = engine.add_plugin("bench", &plans, "default");
        let store = engine.store_of(plugin, 0).unwrap();
        let bodies = runtime.block_on(async { bodies() });
        let mut stage = Self {
            engine,
            plugin,
            store,
            decoder,
            instance,
            bodies,
            runtime,
            now: Time::ZERO,
            count,
            version: 0,
            revision: 0,
        };
        stage.hear(WatchOutput::ListBegin);
        for number in 0..count {
            let object = stage.object(number, 0);
            stage.hear(WatchOutput::Listed(object));
        }
        stage.hear(WatchOutput::ListEnd {
            resource_version: "1".to_owned(),
        });
        let call = stage.due();
        stage.run(&call);
        stage.engine.finished(stage.now, stage.plugin, Outcome::Ok);
        stage
    }

    fn object(&mut self, number: usize, revision: u32) -> haptic_core::Object {
        self.version += 1;
        let made = Made {
            kind: Kind::Ingress,
            number,
            version: self.version,
            revision,
        };
        self.decoder.decode(made.item().as_bytes()).unwrap().object
    }

    fn hear(&mut self, output: WatchOutput) {
        self.engine.watch(self.now, self.store, 0, output);
    }

    /// The callback that is due, after a time in which any is.
    fn due(&mut self) -> Call {
        self.now = self.now + Duration::from_secs(60);
        self.engine.poll(self.now).pop().expect("a callback is due")
    }

    /// Changes one object; the callback that tells of it.
    fn change(&mut self) -> Call {
        self.revision += 1;
        let object = self.object(self.count / 2, self.revision);
        self.hear(WatchOutput::Applied(object));
        self.due()
    }

    /// Runs a callback; the thread's CPU time that it took.
    fn run(&mut self, call: &Call) -> Duration {
        let Self {
            instance,
            runtime,
            bodies,
            ..
        } = self;
        let view = Arc::clone(&call.view);
        let before = thread_cpu();
        let done = runtime.block_on(instance.call(&call.callback, "ingresses", view, bodies));
        let taken = thread_cpu() - before;
        black_box(done.unwrap());
        taken
    }

    /// Runs the same callback so many times.
    fn repeat(&mut self, times: usize) -> Duration {
        let call = self.change();
        let Self {
            instance,
            runtime,
            bodies,
            ..
        } = self;
        let taken = runtime.block_on(async {
            let before = thread_cpu();
            for _ in 0..times {
                let view = Arc::clone(&call.view);
                let done = instance
                    .call(&call.callback, "ingresses", view, bodies)
                    .await;
                black_box(done.unwrap());
            }
            thread_cpu() - before
        });
        self.engine.finished(self.now, self.plugin, Outcome::Ok);
        taken
    }

    /// The fastest of several runs of a callback that changes nothing in the guest.
    fn best(&mut self, rounds: usize) -> Duration {
        let call = self.change();
        let best = (0..rounds).map(|_| self.run(&call)).min().unwrap();
        self.engine.finished(self.now, self.plugin, Outcome::Ok);
        best
    }

    /// The fastest of several changes of one object, each told in a callback of its own.
    fn best_change(&mut self, rounds: u32) -> Duration {
        let changes = (0..rounds).map(|_| {
            let call = self.change();
            let taken = self.run(&call);
            self.engine.finished(self.now, self.plugin, Outcome::Ok);
            taken
        });
        changes.min().unwrap()
    }
}

pub(crate) fn runtime() -> Runtime {
    Runtime::new(&RuntimeOptions::default()).unwrap()
}

pub(crate) fn component(name: &str) -> std::path::PathBuf {
    let path = Path::new(GUESTS).join(name);
    assert!(
        path.is_file(),
        "{} is missing: build it with scripts/guests.sh bench-guest hello-plugin haproxy-plugin",
        path.display()
    );
    path
}

fn load() -> Plugin {
    runtime().load(&component("bench_guest.wasm")).unwrap()
}

fn settings(work: &str) -> String {
    format!(r#"{{"work": "{work}"}}"#)
}

/// An empty callback, beside the same export called by wasmtime and nothing else.
pub(crate) fn callback(report: &mut Report) {
    let bytes = bare::component();
    let plugin = runtime().compile("bare", &bytes).unwrap();
    let threads = threads();
    let bodies = threads.block_on(async { bodies() });
    let mut instance = threads.block_on(async {
        let made = plugin.instantiate(&limits(), "{}", Arc::new(|_| {})).await;
        let mut instance = made.unwrap();
        instance.describe().await.unwrap();
        instance
    });
    let calls = 20_000;
    let (callback, view) = bare::change();
    let host = best(10, || {
        threads.block_on(async {
            let before = thread_cpu();
            for _ in 0..calls {
                let done = instance
                    .call(&callback, "ingresses", Arc::clone(&view), &bodies)
                    .await;
                black_box(done.unwrap());
            }
            thread_cpu() - before
        })
    });
    let [waiting, direct] = bare::wasmtime(&bytes, calls, 10);
    let each = |time: Duration| time.as_secs_f64() * 1e9 / count(calls);
    let (host, waiting, direct) = (each(host), each(waiting), each(direct));
    let row =
        |variant: &str, value| Row::new("callback, empty on-change", variant, calls, value, "ns");
    report.add(row(
        "wasmtime's call, synchronous and without epochs",
        direct,
    ));
    report.add(row("wasmtime's call, as the host has to make it", waiting));
    report.add(row("the host's", host).beside("wasmtime's call", waiting));
    let beyond = Row::new(
        "callback, beyond wasmtime's own",
        "",
        calls,
        host - waiting,
        "ns",
    );
    report.add(beyond.must(AtMost(1_000.0)));
    // The SDK asks the host for the store's name and revision.
    let mut stage = Stage::new(&load(), &settings("nothing"), 1_000);
    let sdk = each(best(10, || stage.repeat(calls)));
    report.add(row("the host's, of a plugin made with the Rust SDK", sdk));
}

fn best(rounds: usize, mut run: impl FnMut() -> Duration) -> Duration {
    (0..rounds).map(|_| run()).min().unwrap()
}

/// Reads of one object of 1.7 KB, always the same, out of 100,000.
pub(crate) fn get(report: &mut Report) {
    let plugin = load();
    let (objects, times) = (100_000, 10_000);
    for (work, what) in [
        ("get", "by full key"),
        ("get-object", "by namespace and name"),
    ] {
        eprintln!("get: {what}");
        let settings = format!(r#"{{"work": "{work}", "times": {times}}}"#);
        let mut stage = Stage::new(&plugin, &settings, objects);
        let taken = micros(stage.best(20)) / count(times);
        let bytes = body_bytes(&stage);
        let variant = format!("{what}, {bytes} B");
        report.add(Row::new("guest get", &variant, objects, taken, "µs").must(AtMost(1.0)));
    }
}

fn body_bytes(stage: &Stage) -> usize {
    let snapshot = stage.engine.snapshot(stage.store).unwrap();
    snapshot
        .list()
        .filter_map(|object| object.body())
        .map(|body| body.as_str().len())
        .sum::<usize>()
        / stage.count
}

/// Three fields of 10,000 objects.
pub(crate) fn view(report: &mut Report) {
    let plugin = load();
    let objects = 10_000;
    let measured = |work: &str, slim: bool| {
        eprintln!(
            "view: {work}{}",
            if slim { ", of what it names only" } else { "" }
        );
        let settings = format!(r#"{{"work": "{work}", "slim": {slim}}}"#);
        let mut stage = Stage::new(&plugin, &settings, objects);
        micros(stage.best(10)) / 1e3
    };
    let (parsed, tree) = (measured("parsed", false), measured("tree", false));
    let row =
        |variant: &str, value| Row::new("guest reads 3 fields", variant, objects, value, "ms");
    report.add(row("list(), serde into a struct of the three", parsed));
    report.add(row("list(), serde into a tree", tree));
    let whole = "typed view, whole objects stored";
    report.add(row(whole, measured("typed", false)).beside("list(), serde into a struct", parsed));
    let slim = row(
        "typed view, as the SDK declares it",
        measured("typed", true),
    );
    report.add(
        slim.beside("list(), serde into a struct", parsed)
            .must(Times(8.0)),
    );
    let slim = row("the same, texts borrowed", measured("borrowed", true));
    report.add(
        slim.beside("list(), serde into a struct", parsed)
            .must(Times(8.0)),
    );
}

/// One object of many changed.
pub(crate) fn change(report: &mut Report, effort: Effort) {
    let plugin = load();
    let mut first = None;
    for objects in [1_000, 10_000, 100_000] {
        if objects > effort.most() {
            continue;
        }
        eprintln!("change: one of {objects}");
        let mut stage = Stage::new(&plugin, r#"{"work": "cached", "slim": true}"#, objects);
        let cached = micros(stage.best_change(300));
        drop(stage);
        let mut stage = Stage::new(&plugin, &settings("full"), objects);
        let full = micros(stage.best_change(5));
        let peer = "full list and parse";
        let row = Row::new(
            "one changed, rendered incrementally",
            "SDK's Cache",
            objects,
            cached,
            "µs",
        );
        let row = row.beside(peer, full);
        report.add(if objects == effort.most() {
            row.must(Times(1_000.0))
        } else {
            row
        });
        let first = *first.get_or_insert(cached);
        if objects > 1_000 {
            let growth = cached / first;
            let row = Row::new(
                "one changed, times what it is of 1,000",
                "",
                objects,
                growth,
                "",
            );
            // Not 1: what is found by its key lies deeper, and in memory that no cache holds.
            report.add(row.must(AtMost(1.5)));
        }
    }
}
