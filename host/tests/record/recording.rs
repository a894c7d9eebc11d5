//! What a recording is, and when there is none.

use std::os::unix::fs::PermissionsExt;

use crate::{
    Stage, hello, holds, maps, named, ok,
    support::{Process, host, run, told},
};

#[test]
fn a_recording_is_a_header_and_a_line_for_each_thing_that_a_watch_tells() {
    let stage = Stage::new(&named(&["one", "two"]));
    let mut recording = Process::start(hello(&mut stage.record()));
    stage.recorded(&recording, |line| line["list"] == "end");
    stage.change(&named(&["two", "three"]));
    stage.recorded(&recording, |line| holds(line, "three"));
    stage.recorded(&recording, |line| line["deleted"]["name"] == "one");
    assert_eq!(recording.stop(), Some(0), "{}", recording.log());

    let lines = stage.lines();
    let header = &lines[0];
    assert_eq!(header["hapticRecording"], 1);
    assert_eq!(header["secrets"], "redacted");
    assert_eq!(header["ownNamespace"], "default");
    assert_eq!(header["plugins"][0]["name"], "hello_plugin");
    assert_eq!(
        header["plugins"][0]["sha256"].as_str().unwrap().len(),
        64,
        "{header}"
    );
    assert_eq!(
        header["plugins"][0]["watches"][0]["keepFields"][0],
        "metadata.name"
    );
    assert_eq!(
        header["watches"].to_string(),
        r#"[{"apiVersion":"v1","name":"configmaps","resources":"configmaps"}]"#
    );
    // In order, each with its moment.
    let moments: Vec<f64> = lines[1..]
        .iter()
        .map(|line| line["at"].as_f64().unwrap())
        .collect();
    assert!(moments.is_sorted(), "{moments:?}");
    let first = |is: &dyn Fn(&serde_json::Value) -> bool| lines.iter().position(is).unwrap();
    let order = [
        first(&|line| line["resolved"]["kind"] == "ConfigMap"),
        first(&|line| line["list"] == "begin"),
        first(&|line| line["listed"]["metadata"]["name"] == "one"),
        first(&|line| line["list"] == "end"),
        first(&|line| line["state"] == "synced"),
        first(&|line| line["applied"]["metadata"]["name"] == "three"),
        first(&|line| line["end"] == true),
    ];
    assert!(order.is_sorted(), "{order:?}");
    assert_eq!(order[6], lines.len() - 1);
    // The plugin keeps names only.
    let text = stage.read("bug.jsonl");
    assert!(!text.contains("of-one"), "{text}");
    let mode = stage.at("bug.jsonl").metadata().unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
}

#[test]
fn a_recording_ends_by_itself_when_it_is_to_and_when_it_is_full() {
    let stage = Stage::new(&maps(3));
    let (_, log) = ok(hello(&mut stage.record()).args(["--for", "1s"]));
    assert!(log.contains("recorded"), "{log}");
    assert_eq!(stage.lines().last().unwrap()["end"], true);

    let stage = Stage::new(&maps(100));
    let (_, log) = ok(hello(&mut stage.record()).args(["--record-limit", "4KiB"]));
    assert!(log.contains("raise it with --record-limit"), "{log}");
    let text = stage.read("bug.jsonl");
    assert!(text.len() <= 4096 && text.ends_with('\n'), "{text}");
}

#[test]
fn nothing_is_overwritten_and_nothing_is_left_by_what_does_not_begin() {
    let stage = Stage::new(&maps(1));
    let there = stage.write("bug.jsonl", "mine");
    let place = there.display();
    let exists =
        format!("{place} is there already: a recording overwrites nothing, give another name");
    let (code, _, log) = run(hello(&mut stage.record()));
    assert_eq!((code, told(&log)), (Some(2), exists.as_str()));
    let mut running = host();
    stage.with_cluster(&mut running);
    running.args(["--once", "--record"]).arg(&there);
    let (code, _, log) = run(hello(&mut running));
    assert_eq!((code, told(&log)), (Some(2), exists.as_str()));
    assert_eq!(stage.read("bug.jsonl"), "mine");

    let stage = Stage::new(&maps(1));
    let config = stage.configure("read-cached", "");
    let (code, _, log) = run(stage.record().arg("--config").arg(config));
    assert_eq!(code, Some(2), "{log}");
    assert!(told(&log).contains("--allow"), "{log}");
    assert!(!stage.at("bug.jsonl").exists());
    let (code, _, log) = run(&mut stage.record());
    assert_eq!(code, Some(2), "{log}");
    let nowhere = stage.at("no/such/folder");
    let mut command = host();
    command.arg("record").arg(&nowhere).args(["--for", "1s"]);
    stage.with_cluster(&mut command);
    let (code, _, log) = run(hello(&mut command));
    assert_eq!(code, Some(2), "{log}");
    assert_eq!(
        told(&log),
        format!(
            "cannot write recording {}: No such file or directory (os error 2)",
            nowhere.display()
        )
    );
}

#[test]
fn help_says_what_is_recorded_and_how_it_is_replayed() {
    let (help, _) = ok(host().args(["record", "--help"]));
    for part in [
        "haptic-host record bug.jsonl --plugin render.wasm --for 10m",
        "--with-secrets",
        "--record-limit <SIZE>",
        "haptic-host --replay bug.jsonl --plugin render.wasm",
    ] {
        assert!(help.contains(part), "{part}: {help}");
    }
    let (help, _) = ok(host().arg("--help"));
    for part in ["--record <FILE>", "--replay <FILE>", "haptic-host record"] {
        assert!(help.contains(part), "{part}: {help}");
    }
    let (code, _, log) = run(hello(&mut host()).arg("--with-secrets"));
    let alone = "--with-secrets is about a recording: give --record FILE with it";
    assert_eq!((code, told(&log)), (Some(2), alone));
    for other in [
        &["--manifests", "m"][..],
        &["--once"],
        &["--record", "x"],
        &["--listen", "1"],
        &["--leader-elect"],
        &["--on-output", "true"],
    ] {
        let mut command = host();
        let (code, _, log) = run(hello(&mut command).args(["--replay", "f"]).args(other));
        assert_eq!(code, Some(2), "{other:?}");
        assert!(log.contains("cannot be used with"), "{other:?}: {log}");
    }
}
