//! K5: what a signal finds, and what becomes of it.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    process::Stdio,
};

use crate::{
    Stage,
    support::{Process, eventually, guest, host, serve, serve_with},
};

/// The guest without an end to its callbacks but its own.
fn hostile(stage: &Stage, mode: &str) -> Process {
    Process::start(stage.command(mode, "").args(["--callback-timeout", "1h"]))
}

#[test]
fn k5_an_idle_host_ends_with_0() {
    for signal in ["-TERM", "-INT"] {
        let stage = Stage::new();
        let mut process = hostile(&stage, "report");
        eventually("output", || match stage.written("synced/configmaps") {
            Some(_) => Ok(()),
            None => Err(process.log()),
        });
        process.signal(signal);
        assert_eq!(process.ends(), Some(0), "{signal}: {}", process.log());
    }
}

#[test]
fn k5_a_host_that_has_not_started_yet_ends_with_0_and_writes_nothing() {
    for signal in ["-TERM", "-INT"] {
        let stage = Stage::new();
        let mut process = hostile(&stage, "describe-loop");
        process.logs("loaded", 1);
        process.signal(signal);
        assert_eq!(process.ends(), Some(0), "{signal}: {}", process.log());
        assert!(!stage.at("out").exists());
    }
}

#[test]
fn k5_a_callback_that_ends_in_time_is_committed() {
    let stage = Stage::new();
    let mut process = hostile(&stage, "slow");
    process.logs("it begins", 1);
    process.signal("-TERM");
    assert_eq!(process.ends(), Some(0), "{}", process.log());
    assert_eq!(
        stage.written("slow").unwrap(),
        "it ended\n",
        "{}",
        process.log()
    );
}

#[test]
fn k5_a_callback_that_does_not_end_is_dropped() {
    for mode in ["loop", "sleep", "loop-imports"] {
        let stage = Stage::new();
        let mut process = hostile(&stage, mode);
        process.logs("it begins", 1);
        process.signal("-TERM");
        assert_eq!(process.ends(), Some(0), "{mode}: {}", process.log());
        process.logs(
            "a callback did not end in time; what it would have written is dropped",
            1,
        );
        assert_eq!(stage.written("synced/configmaps"), None, "{mode}");
    }
}

#[test]
fn k5_the_second_signal_ends_it_at_once() {
    let stage = Stage::new();
    let mut process = hostile(&stage, "loop");
    process.logs("it begins", 1);
    process.signal("-TERM");
    process.logs("stopping", 1);
    process.signal("-INT");
    assert_eq!(process.ends(), Some(130), "{}", process.log());
    assert!(
        !process.log().contains("did not end in time"),
        "{}",
        process.log()
    );
}

#[test]
fn k5_a_host_that_syncs_ends_with_0() {
    let stage = Stage::new();
    let script = stage.at("faults.yaml");
    fs::write(
        &script,
        "faults:\n- when: {verbs: [list, streaming-list, watch], resource: configmaps}\n  fault: {break: {how: stall}}\n",
    )
    .unwrap();
    let kubeconfig = stage.at("kc.yaml");
    let faults = ["--faults", script.to_str().unwrap()];
    let _cluster = serve_with(&stage.at("maps.yaml"), &kubeconfig, &faults);
    let mut process = Process::start(
        host()
            .arg("--plugin")
            .arg(guest("hello_plugin"))
            .arg("--kubeconfig")
            .arg(&kubeconfig)
            .args(["--listen", "127.0.0.1:0"]),
    );
    process.logs("listening on http://", 1);
    let log = process.log();
    let address = log.split("listening on http://").nth(1).unwrap();
    let address = address.lines().next().unwrap();
    // What answers this is the loop that waits for the list.
    eventually("answer", || {
        let mut connection = TcpStream::connect(address).map_err(|e| e.to_string())?;
        let request =
            "GET /readyz?verbose HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        connection
            .write_all(request.as_bytes())
            .map_err(|e| e.to_string())?;
        let mut answer = String::new();
        connection
            .read_to_string(&mut answer)
            .map_err(|e| e.to_string())?;
        match answer.contains("configmaps") && answer.contains(" 503 ") {
            true => Ok(()),
            false => Err(answer),
        }
    });
    process.signal("-TERM");
    assert_eq!(process.ends(), Some(0), "{}", process.log());
}

#[test]
fn k5_a_commit_that_nobody_reads_is_given_up() {
    let stage = Stage::new();
    let mut process = Process::with_stdout(
        host()
            .arg("--config")
            .arg(stage.configure("huge-output", ""))
            .arg("--manifests")
            .arg(stage.at("maps.yaml")),
        // A pipe that stays open, and holds 64 KiB of 2 MiB.
        Stdio::piped(),
    );
    process.logs("Ok(())", 1);
    process.signal("-TERM");
    assert_eq!(process.ends(), Some(0), "{}", process.log());
}

#[test]
fn k5_the_lease_is_released_though_a_callback_does_not_end() {
    let stage = Stage::new();
    let kubeconfig = stage.at("kc.yaml");
    let _cluster = serve(&stage.at("maps.yaml"), &kubeconfig);
    // Who takes over a Lease of an hour did so because it was released.
    let elected = |pod: &str, mode: &str| {
        Process::start(
            host()
                .env("POD_NAME", pod)
                .arg("--config")
                .arg(stage.configure(mode, ""))
                .arg("--kubeconfig")
                .arg(&kubeconfig)
                .arg("--output")
                .arg(stage.at("out"))
                .args(["--callback-timeout", "1h", "--leader-elect"])
                .args(["--lease-duration", "1h", "--lease-renew-deadline", "50m"])
                .args(["--lease-retry-period", "500ms"]),
        )
    };
    let mut first = elected("first", "loop");
    first.logs("it begins", 1);
    let mut second = elected("second", "report");
    second.logs("leader=\"first\"", 1);
    first.signal("-TERM");
    assert_eq!(first.ends(), Some(0), "{}", first.log());
    second.logs("INFO leading", 1);
    eventually("output", || match stage.written("synced/configmaps") {
        Some(_) => Ok(()),
        None => Err(second.log()),
    });
    second.signal("-TERM");
    assert_eq!(second.ends(), Some(0), "{}", second.log());
}
