//! What a hostile plugin costs the host and the plugin beside it. `make hostile` prints it; a
//! test only of that nothing breaks, since what is printed depends on the machine.

use std::{
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use haptic_harness::{Harness, Limits, StepError};
use haptic_tests::guest;
use serde_json::json;

use crate::{change, configmap, limits::limits};

/// How long each pair of plugins runs.
const ROUND: Duration = Duration::from_secs(2);
/// Between two callbacks of the plugin that behaves.
const PACE: Duration = Duration::from_millis(4);
/// The time limit of the hostile one, so that each gets as far as its limit several times.
const PATIENCE: Duration = Duration::from_millis(400);

/// The hostile guests, and first those that are not: nobody, and one that works all the time.
const NEIGHBOURS: [&str; 29] = [
    "nobody",
    "report",
    "loop",
    "loop-imports",
    "costly-select",
    "costly-paths",
    "deep-select",
    "sleep",
    "memory",
    "recursion",
    "panic",
    "exit",
    "huge-output",
    "many-outputs",
    "bad-names",
    "log-flood",
    "long-line",
    "print-flood",
    "last-words",
    "leak-handles",
    "leak-streams",
    "poll-flood",
    "random-flood",
    "many-keys",
    "huge-arguments",
    "large-answer",
    "describe-loop",
    "describe-too-much",
    "describe-verbose",
];

/// Kilobytes of this process, by their name in the system's report.
fn resident(name: &str) -> i64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Lets the greatest size begin anew.
fn forget_peak() {
    fs::write("/proc/self/clear_refs", "5").unwrap();
}

/// Loads a plugin and shows it its first objects.
fn load(mode: &str, limits: Limits) -> Result<Harness, String> {
    let mut test = guest(mode)
        .limits(limits)
        .load()
        .map_err(|e| e.to_string())?;
    let leaf = json!({"a": [1, 2, 3], "b": {"c": [[1], [2]]}});
    let tree = json!((0..40).map(|_| &leaf).collect::<Vec<_>>());
    for i in 0..200 {
        let mut object = configmap(&format!("m{i:03}"), "red");
        object["tree"] = tree.clone();
        test.given(object);
    }
    test.try_sync().map_err(|e| e.to_string())?;
    Ok(test)
}

/// Runs a mode again and again without a pause, until it is told to stop; its first error.
fn run(mode: &str, stop: &AtomicBool, got: &Mutex<Option<String>>) {
    let tell = |text: String| {
        got.lock().unwrap().get_or_insert(text);
    };
    while !stop.load(Ordering::Relaxed) {
        let limits = limits(|l| {
            l.callback_time = PATIENCE;
            l.log_lines_per_second = 200;
        });
        let mut test = match load(mode, limits) {
            Ok(test) => test,
            Err(error) => {
                tell(error);
                continue;
            }
        };
        // A harness keeps what it saw: a new one now and then.
        for _ in 0..50 {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            for colour in ["blue", "red"] {
                if let Err(StepError::Callbacks(failures)) = change(&mut test, colour) {
                    let error = failures.callbacks.iter().find_map(|c| c.error.as_ref());
                    tell(error.map(ToString::to_string).unwrap_or_default());
                }
            }
            test.take_callbacks();
        }
    }
}

/// How long callbacks of a plugin that behaves take, sorted.
fn measure() -> Vec<Duration> {
    let mut test = load("report", Limits::default()).unwrap();
    let began = Instant::now();
    let mut times = Vec::new();
    while began.elapsed() < ROUND {
        for colour in ["blue", "red"] {
            let before = Instant::now();
            change(&mut test, colour).unwrap();
            times.push(before.elapsed());
            std::thread::park_timeout(PACE);
        }
        test.take_callbacks();
    }
    times.sort();
    times
}

#[test]
#[ignore = "prints figures: make hostile"]
fn p6_what_a_hostile_plugin_costs_the_one_beside_it() {
    println!("| neighbour | median µs | p99 µs | host, peak MiB | after MiB | what it got |");
    println!("|---|---|---|---|---|---|");
    for mode in NEIGHBOURS {
        forget_peak();
        let before = resident("VmRSS");
        let stop = Arc::new(AtomicBool::new(false));
        let got = Arc::new(Mutex::new(None));
        let hostile = (mode != "nobody").then(|| {
            let (stop, got) = (Arc::clone(&stop), Arc::clone(&got));
            std::thread::spawn(move || run(mode, &stop, &got))
        });
        let times = measure();
        stop.store(true, Ordering::Relaxed);
        if let Some(hostile) = hostile {
            hostile.join().unwrap();
        }
        let at = |part: usize| times[(times.len() - 1) * part / 100].as_micros();
        let mib = |kilobytes: i64| (kilobytes - before).max(0) / 1024;
        let got = got
            .lock()
            .unwrap()
            .take()
            .unwrap_or_else(|| "ok".to_owned());
        println!(
            "| {mode} | {} | {} | {} | {} | {} |",
            at(50),
            at(99),
            mib(resident("VmHWM")),
            mib(resident("VmRSS")),
            got.lines()
                .next()
                .unwrap_or_default()
                .chars()
                .take(150)
                .collect::<String>()
        );
    }
}
