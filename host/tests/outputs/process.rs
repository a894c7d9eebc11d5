//! One run of a hook: what it is told, what is logged, and how it ends.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use haptic_host::{
    output::hook::{HookConfig, HookError, Occasion, run},
    plugin::{LogLevel, LogLine, LogSink, OutputName},
};

use crate::support::signal;

/// Runs a command; answers how it ended and what it logged.
async fn hook(command: &str, limit: Duration) -> (Result<(), HookError>, Vec<LogLine>) {
    let config = HookConfig {
        command: command.to_owned(),
        timeout: limit,
    };
    let names = ["certs/a b.pem", "haproxy.cfg"].map(|name| OutputName::parse(name).unwrap());
    let occasion = Occasion {
        plugin: "render".to_owned(),
        output: "/etc/render".into(),
        changed: names.into(),
    };
    let logged = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&logged);
    let logs: LogSink = Arc::new(move |line| into.lock().unwrap().push(line));
    let ended = run(&config, &occasion, logs).await;
    let logged = logged.lock().unwrap().clone();
    (ended, logged)
}

const LONG: Duration = Duration::from_secs(60);

fn texts(lines: &[LogLine]) -> Vec<&str> {
    lines.iter().map(|line| line.message.as_str()).collect()
}

/// Waits until a process is gone, or only waits to be buried.
fn is_gone(pid: &str) -> bool {
    let began = Instant::now();
    while began.elapsed() < LONG {
        let stat = fs::read_to_string(Path::new("/proc").join(pid).join("stat"));
        if stat.is_err() || stat.is_ok_and(|stat| stat.contains(") Z ")) {
            return true;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    false
}

#[tokio::test]
async fn o2_a_hook_is_told_what_changed_and_its_lines_are_logged() {
    let (ended, logged) = hook(
        "echo \"$HAPTIC_PLUGIN $HAPTIC_OUTPUT $HAPTIC_CHANGED_COUNT\"; printf '%s' \"$HAPTIC_CHANGED\"; echo oops >&2",
        LONG,
    )
    .await;
    ended.unwrap();
    let stdout: Vec<LogLine> = logged
        .iter()
        .filter(|line| line.level == LogLevel::Info)
        .cloned()
        .collect();
    assert_eq!(
        texts(&stdout),
        ["render /etc/render 2", "certs/a b.pem", "haproxy.cfg"]
    );
    assert!(texts(&logged).contains(&"oops"));
    assert!(logged.iter().all(|line| line.target == "on-output"));
}

#[tokio::test]
async fn o2_a_hook_that_fails_says_how_with_its_last_lines() {
    let (ended, _) = hook("seq 100; echo bad config >&2; exit 7", LONG).await;
    let error = ended.unwrap_err().to_string();
    assert!(
        error.starts_with("exit code 7; it ended with:\n"),
        "{error}"
    );
    assert!(error.contains("bad config"), "{error}");
    assert!(error.lines().count() <= 11, "{error}");
    let (ended, _) = hook("kill -9 $$", LONG).await;
    assert_eq!(ended.unwrap_err().to_string(), "ended by signal 9");
    let (ended, _) = hook("no-such-command", LONG).await;
    assert!(ended.unwrap_err().to_string().contains("exit code 127"));
}

#[tokio::test]
async fn o2_a_hook_that_hangs_is_killed_with_all_that_it_started() {
    let dir = tempfile::tempdir().unwrap();
    let pids = dir.path().join("pids");
    // Neither ends by SIGTERM.
    let command = format!(
        "trap '' TERM; sleep 1000 & echo $! $$ >{}; wait; wait",
        pids.display()
    );
    let (ended, _) = hook(&command, Duration::from_millis(300)).await;
    let error = ended.unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("killed after 300ms (raise it with --on-output-timeout)"),
        "{error}"
    );
    let pids = fs::read_to_string(pids).unwrap();
    assert_eq!(pids.split_whitespace().count(), 2);
    assert!(pids.split_whitespace().all(is_gone), "{pids}");
}

#[tokio::test]
async fn k5_a_hook_whose_future_is_dropped_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let pids = dir.path().join("pids");
    let command = format!("sleep 1000 & echo $! $$ >{}; wait", pids.display());
    let task = tokio::spawn(async move { hook(&command, LONG).await });
    let began = Instant::now();
    let found = loop {
        let found = fs::read_to_string(&pids).unwrap_or_default();
        if found.ends_with('\n') {
            break found;
        }
        assert!(began.elapsed() < LONG);
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    task.abort();
    assert!(task.await.is_err());
    assert!(found.split_whitespace().all(is_gone), "{found}");
}

#[tokio::test]
async fn o2_what_a_hook_leaves_running_neither_delays_it_nor_dies_with_it() {
    let (ended, logged) = hook("sleep 1000 & echo $!", LONG).await;
    ended.unwrap();
    let pid = texts(&logged)[0].to_owned();
    let alive = Path::new("/proc").join(&pid).join("stat").exists();
    signal("-KILL", pid.parse().unwrap());
    assert!(alive);
}

#[tokio::test]
async fn o2_a_hook_that_floods_is_logged_within_bounds() {
    let (ended, logged) = hook("yes | head -c 1000000; exit 1", LONG).await;
    assert!(ended.unwrap_err().to_string().len() < 4 << 10);
    assert!(logged.len() < 2_000, "{}", logged.len());
    assert!(texts(&logged).iter().any(|line| line.contains("dropped")));
    let (ended, logged) = hook("head -c 1000000 /dev/zero | tr '\\0' x; exit 1", LONG).await;
    assert!(ended.unwrap_err().to_string().len() < 4 << 10);
    assert!(logged.iter().all(|line| line.message.len() <= 8 << 10));
}
