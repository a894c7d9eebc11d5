//! P1 and invariant 7: host calls that are meant to take the host's time or memory.

use std::time::Duration;

use haptic_harness::{CallError, Limits};
use haptic_tests::guest;
use serde_json::json;

use crate::{
    change, configmap, failure, failure_of,
    limits::{check_limit, check_trap, limits},
    synced,
};

fn short(limits: &mut Limits) {
    limits.callback_time = Duration::from_millis(400);
}

fn check_timeout(error: &CallError, limit: Duration) {
    let expected = CallError::Timeout {
        callback: "on-change",
        limit,
    };
    assert_eq!(*error, expected);
}

#[test]
fn p1_a_loop_of_calls_to_the_host_ends_at_the_time_limit() {
    let error = failure_of(guest("loop-imports").limits(limits(short)));
    check_timeout(&error, Duration::from_millis(400));
}

#[test]
fn p1_one_call_that_would_take_minutes_is_given_up_in_time() {
    let limits = limits(|l| l.callback_time = Duration::from_secs(1));
    let mut test = guest("costly-select").limits(limits).load().unwrap();
    // Wide and deep enough for the paths, small enough for each to be tried.
    let leaf = json!({"a": [1, 2, 3], "b": {"c": [[1], [2]]}});
    let tree = json!((0..40).map(|_| &leaf).collect::<Vec<_>>());
    for i in 0..200 {
        let mut object = configmap(&format!("m{i:03}"), "red");
        object["tree"] = tree.clone();
        test.given(object);
    }
    test.given(configmap("web", "red")).sync();
    let error = failure(change(&mut test, "blue"));
    check_timeout(&error, Duration::from_secs(1));
    let logs = test.logs();
    let told = &logs
        .iter()
        .find(|l| l.message.starts_with("call "))
        .unwrap();
    assert_eq!(
        told.message,
        "call 1: Err(Other(\"the read takes longer than there is time left: select simpler paths, \
         or of fewer objects\"))"
    );
}

#[test]
fn invariant_7_paths_that_would_take_a_parser_long_or_deep_are_refused() {
    let mut test = synced(guest("costly-paths"));
    change(&mut test, "blue").unwrap();
    let paths = test.output("paths");
    let lines: Vec<_> = paths.lines().collect();
    assert_eq!(lines.len(), 10, "{paths}");
    let deep = "brackets may stand inside each other in a filter at most 16 deep";
    for (line, reason) in lines.iter().zip([
        deep,
        deep,
        deep,
        "functions may stand inside each other at most four deep",
        // Long for those that go back; this host's do not.
        "ANSWERED",
        "a regular expression must be a string of at most 64 bytes without {",
        "a path may have `..` at most twice",
        "the lengths of all [a,b,…] in a path, multiplied, may be 64 at most",
        "the path is longer than 1024 bytes",
        "] is missing",
    ]) {
        assert!(line.ends_with(reason), "{reason}: {line}");
        assert!(line.len() < 2_048, "{} bytes of error", line.len());
    }
}

#[test]
fn invariant_7_the_host_works_at_the_end_of_the_guests_stack() {
    check_trap(
        &failure_of(guest("deep-select")),
        &["wasm trap: call stack exhausted; ", "dive"],
    );
}

#[test]
fn p1_more_than_a_call_may_carry_is_a_sentence() {
    let mut test = synced(guest("many-keys"));
    let error = failure(change(&mut test, "blue"));
    check_limit(
        &error,
        "it passed more than 80 MiB to the host in one call (raise it with --output-limit)",
    );
}

#[test]
fn invariant_7_errors_do_not_repeat_what_is_longer_than_a_name() {
    let mut test = synced(guest("huge-arguments"));
    change(&mut test, "blue").unwrap();
    let lengths = test.output("arguments");
    for line in lengths.lines() {
        let (what, length) = line.split_once(": ").unwrap();
        let length: usize = length.parse().unwrap();
        // A key and a name that nothing has are no errors.
        assert_eq!(length == 0, matches!(what, "key" | "name"), "{line}");
        assert!(length < 2_048, "{line}");
    }
    let logs = test.logs();
    let line = logs.last().unwrap();
    let field = line.fields[0].1.len();
    assert!(line.message.len() + field < (8 << 10) + 16);
}

#[test]
fn p1_changes_above_the_limit_of_an_answer_are_an_error() {
    for (limit, answer) in [
        (1_024, Err("would be larger than 1024 bytes")),
        (8 << 10, Ok("Ok(100)")),
    ] {
        let limits = limits(|l| l.answer_bytes = limit);
        let mut test = synced(guest("large-changes").limits(limits));
        // The first is told at once; those that follow it wait for each other.
        change(&mut test, "blue").unwrap();
        for i in 0..100 {
            test.try_apply(configmap(&format!("m{i:02}"), "red"))
                .unwrap();
        }
        let told = test.try_advance(Duration::from_secs(1));
        match answer {
            Ok(answer) => {
                told.unwrap();
                assert_eq!(test.output("changes"), answer);
            }
            Err(part) => {
                let error = failure(told).to_string();
                assert!(error.contains(part), "{error}");
            }
        }
    }
}

#[test]
fn i1_every_kind_of_path_works_in_a_component() {
    let mut test = synced(guest("exotic-paths"));
    change(&mut test, "blue").unwrap();
    assert_eq!(
        test.output("columns"),
        r#"[[["blue"]],[["blue"]],[["blue","web"]],[["shop"]]]"#
    );
}

#[test]
fn p1_handles_of_wasi_are_capped_like_those_of_stores() {
    for mode in ["leak-streams", "poll-flood"] {
        check_limit(
            &failure_of(guest(mode)),
            "it holds more than 10000 handles of the host's, and this limit is fixed: it should \
             drop those that it does not need any more",
        );
    }
}

#[test]
fn p1_random_bytes_without_end_are_a_trap() {
    check_trap(
        &failure_of(guest("random-flood")),
        &["requested len 1099511627776 exceeds limit 1048576"],
    );
}

#[test]
fn p1_a_flood_on_stdout_is_cut_like_any_other() {
    let mut test = synced(guest("print-flood").limits(Limits::default()));
    let before = test.logs().len();
    change(&mut test, "blue").unwrap();
    let logs = test.logs().split_off(before);
    let passed = logs.iter().filter(|line| line.target == "stdout").count();
    let dropped: usize = logs
        .iter()
        .filter(|line| line.target == "haptic")
        .map(|line| {
            line.message
                .split_once(' ')
                .unwrap()
                .0
                .parse::<usize>()
                .unwrap()
        })
        .sum();
    assert_eq!(passed + dropped, 100_000);
    assert!(dropped > 50_000, "{dropped} of 100,000 were dropped");
}

#[test]
fn p2_the_last_words_on_stderr_are_in_the_report() {
    let error = failure_of(guest("last-words"));
    check_trap(
        &error,
        &[
            "its stderr ended with:\n",
            "the words before the last, 999\nthe last words",
        ],
    );
    let CallError::Trap { reason, .. } = &error else {
        panic!()
    };
    assert!(
        !reason.contains("the words before the last, 1\n"),
        "{reason}"
    );
}

#[test]
fn o1_bytes_that_are_no_text_are_an_output_as_they_are() {
    let mut test = synced(guest("binary-output"));
    change(&mut test, "blue").unwrap();
    assert_eq!(test.outputs()["binary"], [0xff, 0x00, 0xfe, b'\n']);
}
