//! What a replay does with a recording.

use crate::{
    Stage, files, hello, holds, named, ok,
    support::{Process, eventually, host, run, told},
};

/// Runs the hello example while ConfigMaps come and go, recorded with `--record`.
fn live() -> Stage {
    let stage = Stage::new(&named(&["one", "two"]));
    let mut command = host();
    stage.with_cluster(&mut command);
    command.arg("--record").arg(stage.at("bug.jsonl"));
    command.arg("--output").arg(stage.at("live"));
    let mut running = Process::start(hello(&mut command));
    let rendered = |text: &str| {
        eventually(text, || {
            let found = stage.read("live/configmaps.txt");
            match found == text {
                true => Ok(()),
                false => Err(found + &running.log()),
            }
        });
    };
    rendered("2 ConfigMaps\nshop/one\nshop/two\n");
    stage.change(&named(&["two", "three", "four"]));
    rendered("3 ConfigMaps\nshop/four\nshop/three\nshop/two\n");
    stage.change(&named(&["five"]));
    rendered("1 ConfigMaps\nshop/five\n");
    assert_eq!(running.stop(), Some(0), "{}", running.log());
    stage
}

#[test]
fn a_replay_renders_what_the_recorded_run_rendered_and_twice_the_same() {
    let stage = live();
    let mut printed = Vec::new();
    for out in ["first", "second"] {
        let mut command = stage.replay();
        hello(&mut command).arg("--output").arg(stage.at(out));
        printed.push(ok(&mut command));
        assert_eq!(files(&stage.at(out)), files(&stage.at("live")));
    }
    let (_, log) = &printed[0];
    assert_eq!(printed[0], printed[1]);
    // Log lines have the recorded time.
    let header = &stage.lines()[0];
    let minute = &header["started"].as_str().unwrap()[..13];
    let own = log
        .lines()
        .filter(|line| line.contains("on-change") || line.contains("on-sync-complete"));
    let own: Vec<_> = own.collect();
    assert!(own.len() >= 3, "{log}");
    assert!(log.contains("callbacks="), "{log}");
    assert!(own[0].starts_with(minute), "{minute}: {log}");
    // On standard output as well: what came in between, too.
    let (stdout, _) = ok(hello(&mut stage.replay()));
    assert!(stdout.starts_with("2 ConfigMaps\n"), "{stdout}");
    assert!(stdout.ends_with("1 ConfigMaps\nshop/five\n"), "{stdout}");
    // Callbacks of the run are in the recording, for people.
    let lines = stage.lines();
    let sync = lines
        .iter()
        .find(|line| line["callback"] == "on-sync-complete")
        .unwrap();
    assert_eq!(
        (&sync["plugin"], &sync["watch"]),
        (&"hello_plugin".into(), &"configmaps".into())
    );
}

#[test]
fn a_recording_whose_maker_was_killed_is_replayed_to_its_last_whole_line() {
    let stage = Stage::new(&named(&["one"]));
    let mut recording = Process::start(hello(&mut stage.record()));
    stage.recorded(&recording, |line| line["state"] == "synced");
    stage.change(&named(&["one", "two"]));
    stage.recorded(&recording, |line| holds(line, "two"));
    recording.kill();
    // A line that was half written.
    let text = stage.read("bug.jsonl") + "{\"at\":99.0,\"watch\":\"configm";
    stage.write("bug.jsonl", &text);
    let (stdout, log) = ok(hello(&mut stage.replay()));
    assert!(
        stdout.ends_with("2 ConfigMaps\nshop/one\nshop/two\n"),
        "{stdout}"
    );
    assert!(log.contains("this is up to its last whole line"), "{log}");
}

#[test]
fn debounce_intervals_and_backoffs_pass_without_waiting() {
    let stage = Stage::new("");
    // Changes of an hour, of which those within an interval of 30 minutes come together.
    let mut text = String::from(
        "{\"hapticRecording\":1,\"started\":\"2026-01-31T12:00:00Z\",\"watches\":[{\"name\":\"configmaps\",\"apiVersion\":\"v1\",\"resources\":\"configmaps\"}]}\n\
         {\"at\":0.1,\"watch\":\"configmaps\",\"list\":\"begin\"}\n\
         {\"at\":0.1,\"watch\":\"configmaps\",\"list\":\"end\",\"resourceVersion\":\"1\"}\n",
    );
    for (minute, name) in [(1, "a"), (2, "b"), (3, "c"), (50, "d")] {
        let at = minute * 60;
        text += &format!(
            "{{\"at\":{at},\"watch\":\"configmaps\",\"applied\":{{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{{\"namespace\":\"shop\",\"name\":\"{name}\",\"resourceVersion\":\"{at}\"}}}}}}\n"
        );
    }
    stage.write("bug.jsonl", &(text + "{\"at\":3600,\"end\":true}\n"));
    let config =
        stage.configure_hello("    watchedResources: {configmaps: {debounceInterval: 30m}}\n");
    let (_, log) = ok(stage.replay().arg("--config").arg(&config));
    let told: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("on-sync-complete") || line.contains("on-change"))
        .map(|line| &line[..19])
        .collect();
    assert_eq!(
        told,
        [
            "2026-01-31T12:00:00",
            "2026-01-31T12:30:00",
            // The last one comes after the recording's end, when its interval is over.
            "2026-01-31T13:00:00"
        ],
        "{log}"
    );
}

#[test]
fn a_callback_that_fails_is_tried_again_and_the_exit_code_says_so() {
    let stage = Stage::new(&named(&["one"]));
    let config = stage.configure("err-twice", "");
    let mut recording = Process::start(stage.record().arg("--config").arg(config));
    stage.recorded(&recording, |line| {
        line["list"] == "end" && line["watch"] == "configmaps"
    });
    stage.change(&named(&["one", "two"]));
    stage.recorded(&recording, |line| holds(line, "two"));
    assert_eq!(recording.stop(), Some(0), "{}", recording.log());
    let replay = |mode: &str| {
        let config = stage.configure(mode, "");
        let (code, _, log) = run(stage.replay().arg("--config").arg(config));
        assert_eq!(code, Some(1), "{mode}: {log}");
        assert!(told(&log).ends_with("callbacks failed"), "{mode}: {log}");
        log
    };
    let log = replay("err-twice");
    assert!(told(&log).starts_with("2 of "), "{log}");
    let failed: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("it is tried again"))
        .map(|line| &line[..26])
        .collect();
    // Backoff: a second after the first failure, to the microsecond.
    let [first, second] = failed[..] else {
        panic!("{log}")
    };
    assert!(first < second && first[19..] == second[19..], "{log}");
    assert!(replay("panic").contains("panics on purpose"));
    // One that never succeeds is given up, and that is the end.
    let log = replay("err");
    assert!(told(&log).starts_with("7 of "), "{log}");
    assert!(
        log.contains("given up: its outputs stay as they are"),
        "{log}"
    );
}

const HEADER: &str = "{\"hapticRecording\":1,\"started\":\"2026-01-31T12:00:00Z\",\"watches\":[{\"name\":\"configmaps\",\"apiVersion\":\"v1\",\"resources\":\"configmaps\"},{\"name\":\"pods\",\"apiVersion\":\"v1\",\"resources\":\"pods\"}]}\n";
const LIST: &str = "{\"at\":0.1,\"watch\":\"configmaps\",\"list\":\"begin\"}\n{\"at\":0.1,\"watch\":\"configmaps\",\"list\":\"end\",\"resourceVersion\":\"1\"}\n";
const CHANGE: &str = "{\"at\":1.0,\"watch\":\"configmaps\",\"applied\":{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"namespace\":\"shop\",\"name\":\"a\",\"resourceVersion\":\"2\"}}}\n";

#[test]
fn what_is_recorded_and_not_watched_is_left_out_and_said() {
    let stage = Stage::new("");
    stage.write("bug.jsonl", &(HEADER.to_owned() + LIST + CHANGE));
    let (stdout, log) = ok(hello(&mut stage.replay()));
    assert!(stdout.ends_with("1 ConfigMaps\nshop/a\n"), "{stdout}");
    assert!(
        log.contains("nobody watches what the recording holds of pods.v1 in all namespaces"),
        "{log}"
    );
}

#[test]
fn a_recording_that_ends_before_a_list_is_complete_tells_nobody_anything() {
    let stage = Stage::new("");
    stage.write("bug.jsonl", HEADER);
    let (code, _, log) = run(hello(&mut stage.replay()));
    assert_eq!(code, Some(3), "{log}");
    assert_eq!(
        told(&log),
        "the recording ends before it holds everything of:\n  hello_plugin: configmaps"
    );
}

#[test]
fn a_watch_that_was_not_recorded_is_named() {
    let stage = Stage::new("");
    stage.write("bug.jsonl", &(HEADER.to_owned() + LIST));
    let config =
        stage.configure_hello("    watchedResources: {configmaps: {namespaces: [shop, other]}}\n");
    let (code, _, log) = run(stage.replay().arg("--config").arg(&config));
    assert_eq!(code, Some(2), "{log}");
    assert_eq!(
        told(&log),
        "the recording does not hold what plugins watch:\n  hello_plugin/configmaps: configmaps.v1 in shop\n  hello_plugin/configmaps: configmaps.v1 in other\nit holds:\n  configmaps.v1 in all namespaces\n  pods.v1 in all namespaces"
    );
}

#[test]
fn a_watch_that_a_configuration_had_narrowed_is_replayed_as_narrow_without_it() {
    let elsewhere = named(&["far"]).replace("namespace: shop", "namespace: other");
    let stage = Stage::new(&(named(&["one"]) + &elsewhere));
    let config =
        stage.configure_hello("    watchedResources: {configmaps: {namespaces: [other]}}\n");
    let mut recording = Process::start(stage.record().arg("--config").arg(config));
    stage.recorded(&recording, |line| line["state"] == "synced");
    assert_eq!(recording.stop(), Some(0));
    assert!(!stage.read("bug.jsonl").contains("shop"));
    let (stdout, log) = ok(hello(&mut stage.replay()));
    assert_eq!(stdout, "1 ConfigMaps\nother/far\n");
    assert!(
        log.contains("as narrow as the configuration made it"),
        "{log}"
    );
}

#[test]
fn a_replay_writes_nowhere_but_where_the_command_line_says() {
    let stage = Stage::new("");
    stage.write("bug.jsonl", &(HEADER.to_owned() + LIST + CHANGE));
    let config = stage.configure_hello("    output: production\n    onOutput: touch hooked\n");
    let (stdout, _) = ok(stage.replay().arg("--config").arg(&config));
    assert!(stdout.ends_with("1 ConfigMaps\nshop/a\n"), "{stdout}");
    assert!(!stage.at("production").exists() && !stage.at("hooked").exists());
    let (code, _, log) = run(stage
        .replay()
        .arg("--config")
        .arg(&config)
        .args(["--output", "configmap:a"]));
    assert_eq!(code, Some(2), "{log}");
    assert_eq!(
        told(&log),
        "a replay has no cluster, and cannot write to the ConfigMap a: give --output DIR, or none for standard output"
    );
}
