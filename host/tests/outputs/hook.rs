//! `--on-output`: when the command runs, how often, and what becomes of it.

use std::{fs, process::Command};

use crate::{
    stage::Stage,
    support::{Process, eventually, guest, host, serve, signal},
};

/// Writes a line with what it is told.
const NOTE: &str = "printf '%s\\n' \"$HAPTIC_PLUGIN ${HAPTIC_OUTPUT##*/} $HAPTIC_CHANGED_COUNT $(echo $HAPTIC_CHANGED)\" >>runs";
const RUN: &str = "hello_plugin out 1 configmaps.txt\n";

/// Whether the output directory says that the command is due.
fn is_due(stage: &Stage) -> bool {
    stage.at("out/.haptic-on-output").is_file()
}

#[track_caller]
fn settles(stage: &Stage, by: &Process) {
    eventually("a run that succeeds", || match is_due(stage) {
        true => Err(by.log()),
        false => Ok(()),
    });
}

#[test]
fn o2_the_command_runs_after_a_change_and_not_after_a_start_that_changes_nothing() {
    let stage = Stage::new(2);
    let mut first = Process::start(stage.hello().args(["--on-output", NOTE]));
    stage.reads("runs", RUN, &first);
    settles(&stage, &first);
    stage.change(3);
    stage.reads("runs", &RUN.repeat(2), &first);
    settles(&stage, &first);
    assert_eq!(first.stop(), Some(0), "{}", first.log());
    let mut second = Process::start(stage.hello().args(["--on-output", NOTE]));
    second.logs("on-sync-complete", 1);
    stage.change(4);
    stage.reads("runs", &RUN.repeat(3), &second);
    assert_eq!(second.stop(), Some(0), "{}", second.log());
}

#[test]
fn o2_a_command_that_fails_is_reported_and_repeated_until_it_succeeds() {
    let stage = Stage::new(2);
    let command = "echo tried >>tries; [ -e ready ] || { echo not ready >&2; exit 3; }";
    let mut running =
        Process::start(
            stage
                .hello()
                .args(["--on-output", command, "--listen", "127.0.0.1:0"]),
        );
    running.logs(
        "the hook failed, it is tried again: exit code 3; it ended with:",
        2,
    );
    running.logs("not ready", 2);
    let log = running.log();
    let address = log.split("listening on http://").nth(1).unwrap();
    let address = address.lines().next().unwrap().to_owned();
    let metrics = |line: &str| {
        let found = Command::new("curl")
            .args(["-sS", &format!("{address}/metrics")])
            .output();
        let text = String::from_utf8(found.unwrap().stdout).unwrap();
        match text.lines().any(|found| found == line) {
            true => Ok(()),
            false => Err(text),
        }
    };
    eventually("metric", || {
        metrics("haptic_hook_due{plugin=\"hello_plugin\"} 1")
    });
    fs::write(stage.at("ready"), "").unwrap();
    settles(&stage, &running);
    eventually("metric", || {
        metrics("haptic_hook_due{plugin=\"hello_plugin\"} 0")
    });
    eventually("metric", || {
        metrics("haptic_hook_consecutive_failures{plugin=\"hello_plugin\"} 0")
    });
    let tries = stage.read("tries").lines().count();
    assert!(tries >= 3, "{tries}");
    assert_eq!(running.stop(), Some(0), "{}", running.log());
}

#[test]
fn o2_changes_during_a_run_lead_to_one_more_and_do_not_wait_for_it() {
    let stage = Stage::new(1);
    // The first run waits; nothing runs beside it.
    let command = "[ ! -e busy ] || echo twice >>failures; touch busy; echo run >>runs; while [ ! -e go ]; do sleep 0.02; done; rm busy";
    let mut running = Process::start(stage.hello().args(["--on-output", command]));
    stage.reads("runs", "run\n", &running);
    for count in 2..5 {
        stage.change(count);
        let names: String = (0..count).map(|i| format!("shop/m{i}\n")).collect();
        let text = format!("{count} ConfigMaps\n{names}");
        stage.reads("out/configmaps.txt", &text, &running);
    }
    // An output can be read a little before its commit is known to owe a run.
    running.logs("changed=1", 4);
    fs::write(stage.at("go"), "").unwrap();
    settles(&stage, &running);
    assert_eq!(stage.read("runs"), "run\nrun\n");
    assert_eq!(stage.read("failures"), "");
    assert_eq!(running.stop(), Some(0), "{}", running.log());
}

#[test]
fn o2_a_host_that_is_killed_before_its_command_has_run_leaves_it_to_the_next() {
    let stage = Stage::new(2);
    let command = "echo $$ >pid; exec sleep 1000";
    let mut killed = Process::start(stage.hello().args(["--on-output", command]));
    eventually("the command", || {
        match stage.read("pid").trim().parse::<u32>() {
            Ok(_) => Ok(()),
            Err(_) => Err(killed.log()),
        }
    });
    killed.kill();
    // Nobody else would.
    signal("-KILL", stage.read("pid").trim().parse().unwrap());
    assert!(is_due(&stage));
    let mut next = Process::start(stage.hello().args(["--on-output", NOTE]));
    stage.reads("runs", RUN, &next);
    settles(&stage, &next);
    assert!(next.log().contains("changed=0"), "{}", next.log());
    assert_eq!(next.stop(), Some(0), "{}", next.log());
}

#[test]
fn k5_a_command_that_hangs_does_not_hold_up_the_exit_and_ends_with_it() {
    let stage = Stage::new(2);
    let command = "trap '' TERM; echo $$ >pid; sleep 1000";
    let mut running = Process::start(stage.hello().args(["--on-output", command]));
    eventually("the command", || {
        match stage.read("pid").trim().parse::<u32>() {
            Ok(_) => Ok(()),
            Err(_) => Err(running.log()),
        }
    });
    assert_eq!(running.stop(), Some(0), "{}", running.log());
    running.logs("a hook did not end in time, and is killed", 1);
    let stat = stage.read("pid");
    eventually("end of the command", || {
        match fs::read_to_string(format!("/proc/{}/stat", stat.trim())) {
            Ok(stat) if !stat.contains(") Z ") => Err(stat),
            _ => Ok(()),
        }
    });
    assert!(is_due(&stage), "the next start runs it");
}

#[test]
fn o2_a_command_that_takes_too_long_is_killed_and_reported() {
    let stage = Stage::new(2);
    let mut running = Process::start(stage.hello().args([
        "--on-output",
        "echo begun; sleep 1000",
        "--on-output-timeout",
        "200ms",
    ]));
    running.logs("killed after 200ms (raise it with --on-output-timeout)", 1);
    assert_eq!(running.stop(), Some(0), "{}", running.log());
}

#[test]
fn o3_once_runs_the_command_once_and_its_failure_is_exit_code_1() {
    let stage = Stage::new(2);
    let once = |command: &str| {
        let mut child = Process::start(stage.hello().args(["--once", "--on-output", command]));
        (child.ends(), child.log())
    };
    let (code, log) = once("echo broken >&2; exit 4");
    assert_eq!(code, Some(1), "{log}");
    assert!(
        log.contains(
            "error: the hook of plugin hello_plugin failed: exit code 4; it ended with:\nbroken"
        ),
        "{log}"
    );
    // It is still due, though nothing changes any more.
    let (code, log) = once(NOTE);
    assert_eq!((code, stage.read("runs").as_str()), (Some(0), RUN), "{log}");
    let (code, log) = once(NOTE);
    assert_eq!((code, stage.read("runs").as_str()), (Some(0), RUN), "{log}");
}

#[test]
fn o2_a_configuration_gives_each_plugin_its_own_command() {
    let stage = Stage::new(2);
    let file = guest("hello_plugin");
    let plugin = |name: &str, command: &str| {
        format!(
            "  {name}: {{file: {}, output: out-{name}, onOutput: '{command}'}}\n",
            file.display()
        )
    };
    let write = "echo $HAPTIC_PLUGIN $HAPTIC_OUTPUT >run-$HAPTIC_PLUGIN";
    let config = format!("plugins:\n{}", plugin("hello", write));
    fs::write(stage.at("config.yaml"), config).unwrap();
    let mut child = Process::start(
        host()
            .arg("--config")
            .arg(stage.at("config.yaml"))
            .arg("--manifests")
            .arg(stage.at("maps.yaml"))
            .args(["--once", "--on-output", "exit 1"])
            .current_dir(stage.dir.path()),
    );
    assert_eq!(child.ends(), Some(0), "{}", child.log());
    let runs = fs::read_dir(stage.dir.path()).unwrap();
    let run = runs
        .map(|entry| entry.unwrap().path())
        .find(|path| {
            path.file_name()
                .unwrap()
                .to_string_lossy()
                .starts_with("run-")
        })
        .unwrap();
    let told = fs::read_to_string(run).unwrap();
    let output = stage.at("out-hello");
    assert!(
        told.trim_end().ends_with(output.to_str().unwrap()),
        "{told}"
    );
}

#[test]
fn l3_only_the_leader_runs_the_command_and_a_new_leader_what_is_due() {
    let stage = Stage::new(2);
    let kubeconfig = stage.at("kubeconfig");
    let _cluster = serve(&stage.at("maps.yaml"), &kubeconfig);
    let start = |pod: &str, command: &str| {
        Process::start(
            host()
                .env("POD_NAME", pod)
                .arg("--plugin")
                .arg(guest("hello_plugin"))
                .arg("--kubeconfig")
                .arg(&kubeconfig)
                .arg("--output")
                .arg(stage.at("out"))
                .args(["--leader-elect", "--lease-duration", "3s"])
                .args([
                    "--lease-renew-deadline",
                    "2s",
                    "--lease-retry-period",
                    "500ms",
                ])
                .args(["--on-output", command])
                .current_dir(stage.dir.path()),
        )
    };
    let mut a = start("a", "echo a >>runs; exit 1");
    stage_contains(&stage, "a\n", &a);
    let mut b = start("b", "echo b >>runs");
    b.logs("leader=\"a\"", 1);
    b.logs("synced", 1);
    // A new leader renders the same, and finds that the command has never succeeded.
    a.kill();
    eventually("run of the new leader", || {
        match stage.read("runs").contains('b') {
            true => Ok(()),
            false => Err(b.log()),
        }
    });
    let runs = stage.read("runs");
    assert!(runs.trim_start_matches("a\n").starts_with('b'), "{runs}");
    settles(&stage, &b);
    assert_eq!(b.stop(), Some(0), "{}", b.log());
    assert_eq!(stage.read("runs").matches('b').count(), 1);
}

#[track_caller]
fn stage_contains(stage: &Stage, text: &str, by: &Process) {
    eventually(text, || match stage.read("runs").contains(text) {
        true => Ok(()),
        false => Err(by.log()),
    });
}
