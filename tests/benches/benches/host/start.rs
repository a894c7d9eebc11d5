//! How long it takes from the start of a process until a plugin has said what it watches.

use std::{
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use haptic_benches::{
    process::{cpu, monotonic},
    report::{Must::AtMost, Report, Row},
};
use haptic_host::plugin::{Limits, Runtime, RuntimeOptions};
use serde::{Deserialize, Serialize};

use crate::guest::component;

/// What a process tells of its start.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Started {
    /// Since the process was asked for.
    after: Duration,
    cpu: Duration,
    cached: bool,
}

/// The process: does what the command does up to there, and says how long that took.
pub(crate) fn run(arguments: &[String]) {
    let [plugin, cache, asked] = arguments else {
        panic!("a plugin, a folder and a moment are wanted")
    };
    let threads = tokio::runtime::Runtime::new().unwrap();
    let options = RuntimeOptions {
        cache_dir: Some(cache.into()),
        ..RuntimeOptions::default()
    };
    let plugin = Runtime::new(&options)
        .unwrap()
        .load(Path::new(plugin))
        .unwrap();
    let described = threads.block_on(async {
        let made = plugin
            .instantiate(&Limits::default(), "{}", Arc::new(|_| {}))
            .await;
        made.unwrap().describe().await
    });
    assert!(!described.unwrap().is_empty(), "the plugin watches nothing");
    let asked = Duration::from_nanos(asked.parse().unwrap());
    let started = Started {
        after: monotonic() - asked,
        cpu: cpu(),
        cached: plugin.compilation().cached,
    };
    println!("{}", serde_json::to_string(&started).unwrap());
}

fn start(plugin: &Path, cache: &Path) -> Started {
    let output = Command::new(std::env::current_exe().unwrap())
        .env(crate::ROLE, "start")
        .arg(plugin)
        .arg(cache)
        .arg(monotonic().as_nanos().to_string())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The whole command, which prints what the plugin is.
fn inspect(plugin: &Path, cache: &Path) -> Duration {
    let began = Instant::now();
    let output = Command::new(std::env::current_exe().unwrap())
        .env(crate::ROLE, "command")
        .args(["inspect", "--cache-dir"])
        .arg(cache)
        .arg(plugin)
        .output()
        .unwrap();
    let taken = began.elapsed();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    taken
}

pub(crate) fn measure(report: &mut Report) {
    for name in ["hello_plugin.wasm", "haproxy_plugin.wasm"] {
        let plugin = component(name);
        eprintln!("start: {name}");
        let firsts = (0..3).map(|_| {
            let cache = tempfile::tempdir().unwrap();
            let first = start(&plugin, cache.path());
            assert!(!first.cached, "an empty cache has nothing");
            first
        });
        let first = firsts.min_by_key(|started| started.after).unwrap();
        let cache = tempfile::tempdir().unwrap();
        start(&plugin, cache.path());
        let seconds = (0..20).map(|_| {
            let second = start(&plugin, cache.path());
            assert!(second.cached, "the cache does not serve");
            second
        });
        let second = seconds.min_by_key(|started| started.after).unwrap();
        let command = (0..20)
            .map(|_| inspect(&plugin, cache.path()))
            .min()
            .unwrap();
        let bytes = usize::try_from(std::fs::metadata(&plugin).unwrap().len()).unwrap();
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        let row = |what: &str, value| {
            Row::new(what, &format!("{name}, {bytes} B"), 1, millis(value), "ms")
        };
        let peer = "first start";
        report.add(
            row("start to describe, second start", second.after)
                .beside(peer, millis(first.after))
                .must(AtMost(30.0)),
        );
        report.add(row("the same, CPU", second.cpu).beside(peer, millis(first.cpu)));
        report.add(row("haptic-host inspect, second start", command));
    }
}
