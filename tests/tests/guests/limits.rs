//! P1 and P2: what hits a limit fails with a sentence that names it, and nothing else fails.

use std::time::{Duration, Instant};

use haptic_harness::{CallError, Limits};
use haptic_tests::guest;

use crate::{change, failure, failure_of, synced};

pub(crate) fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits);
    limits
}

#[track_caller]
pub(crate) fn check_limit(error: &CallError, sentence: &str) {
    let CallError::Limit {
        callback: "on-change",
        limit,
    } = error
    else {
        panic!("not a limit of on-change: {error:?}");
    };
    assert_eq!(limit, sentence);
}

#[track_caller]
pub(crate) fn check_trap(error: &CallError, parts: &[&str]) {
    let CallError::Trap {
        callback: "on-change",
        reason,
    } = error
    else {
        panic!("not a trap of on-change: {error:?}");
    };
    for part in parts {
        assert!(reason.contains(part), "{reason}");
    }
}

#[test]
fn p1_an_endless_loop_ends_at_the_time_limit() {
    let limit = Duration::from_millis(150);
    let began = Instant::now();
    let error = failure_of(guest("loop").limits(limits(|l| l.callback_time = limit)));
    assert_eq!(
        error.to_string(),
        "on-change ran longer than its limit of 150ms (raise it with --callback-timeout)"
    );
    assert!(began.elapsed() > limit, "it did not run at all");
}

#[test]
fn p1_a_sleep_ends_at_the_time_limit() {
    let limit = Duration::from_millis(150);
    let error = failure_of(guest("sleep").limits(limits(|l| l.callback_time = limit)));
    assert_eq!(
        error,
        CallError::Timeout {
            callback: "on-change",
            limit
        }
    );
}

#[test]
fn p1_memory_is_denied_above_its_limit_and_the_error_says_so() {
    let error = failure_of(guest("memory").limits(limits(|l| l.memory = 16 << 20)));
    let CallError::Limit { limit, .. } = &error else {
        panic!("{error:?}")
    };
    assert!(
        limit.starts_with("it asked for ")
            && limit
                .ends_with(" MiB of memory and its limit is 16 MiB (raise it with --memory-limit)"),
        "{limit}"
    );
}

#[test]
fn p1_the_default_memory_limit_holds_too() {
    let error = failure_of(guest("memory"));
    assert!(
        error.to_string().contains("its limit is 256 MiB"),
        "{error}"
    );
}

#[test]
fn p2_a_deep_recursion_is_a_trap_of_its_callback() {
    let error = failure_of(guest("recursion"));
    check_trap(&error, &["wasm trap: call stack exhausted; ", "descend"]);
}

#[test]
fn p2_the_text_and_the_place_of_a_panic_reach_the_host() {
    let error = failure_of(guest("panic"));
    check_trap(&error, &["panics on purpose", "unreachable"]);
    let mut test = synced(guest("panic"));
    failure(change(&mut test, "blue"));
    let logs = test.logs();
    let line = logs.iter().find(|line| line.target == "panic").unwrap();
    assert_eq!(line.message, "panics on purpose");
    let (key, place) = &line.fields[0];
    assert!(key == "location" && place.contains("faults.rs:"), "{place}");
}

#[test]
fn p2_an_exit_ends_the_instance_and_not_the_host() {
    // WASI tells failures from successes, not one failure from another.
    check_trap(
        &failure_of(guest("exit")),
        &["Exited with i32 exit status 1; "],
    );
}

#[test]
fn p2_an_error_is_the_plugins_own_text() {
    assert_eq!(
        failure_of(guest("err")),
        CallError::Refused {
            callback: "on-change",
            message: "refused on purpose".to_owned()
        }
    );
    let mut test = guest("new-err").load().unwrap();
    let Err(error) = test.try_sync() else {
        panic!("it was made from nothing")
    };
    assert!(
        error
            .to_string()
            .contains("there is nothing to make it from"),
        "{error}"
    );
}

#[test]
fn p1_an_output_above_the_limit_fails_the_callback_though_the_guest_goes_on() {
    let error = failure_of(guest("huge-output").limits(limits(|l| l.output_bytes = 1 << 20)));
    check_limit(
        &error,
        "it wrote more than 1048576 bytes of output in one callback (raise it with --output-limit)",
    );
}

#[test]
fn p1_the_guest_is_told_that_its_output_is_too_large() {
    let mut test = synced(guest("huge-output").limits(limits(|l| l.output_bytes = 1 << 20)));
    failure(change(&mut test, "blue"));
    assert_eq!(
        test.logs().last().unwrap().message,
        "Err(TooLarge(1048576))"
    );
}

#[test]
fn p1_outputs_are_counted_whatever_the_guest_makes_of_the_refusal() {
    // 100,000, and this guest goes on after each refusal.
    check_limit(
        &failure_of(guest("many-outputs")),
        "it wrote more than 4096 outputs in one callback (raise it with --output-count-limit)",
    );
}

#[test]
fn p1_a_log_flood_is_cut_and_what_was_dropped_is_counted() {
    let mut test = synced(guest("log-flood").limits(Limits::default()));
    let before = test.logs().len();
    change(&mut test, "blue").unwrap();
    let logs = test.logs().split_off(before);
    let flood = logs
        .iter()
        .filter(|line| line.message.starts_with("line "))
        .count();
    let dropped: usize = logs
        .iter()
        .filter(|line| line.target == "haptic")
        .map(|line| {
            let (count, rest) = line.message.split_once(' ').unwrap();
            let sentence =
                "log lines were dropped: the limit is 200 a second (raise it with --log-limit)";
            assert_eq!(rest, sentence);
            count.parse::<usize>().unwrap()
        })
        .sum();
    assert_eq!(flood + dropped, 100_000);
    // Two hundred for each second that it took, which is a few on the slowest machine.
    assert!(dropped > 50_000, "{dropped} of 100,000 were dropped");
}

#[test]
fn p1_a_long_log_line_is_cut() {
    let mut test = synced(guest("long-line"));
    change(&mut test, "blue").unwrap();
    let logs = test.logs();
    let line = logs.last().unwrap();
    let fields: usize = line
        .fields
        .iter()
        .map(|(key, value)| key.len() + value.len())
        .sum();
    assert!(line.message.starts_with('é') && line.message.ends_with('…'));
    assert!(
        line.message.len() + fields <= (8 << 10) + 16,
        "{}",
        line.message.len() + fields
    );
}

#[test]
fn p1_store_handles_are_capped() {
    let error = failure_of(guest("leak-handles"));
    let CallError::Refused { message, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(
        message,
        "1024 store handles are open: drop some, or open each store once and keep its handle (the \
         limit is --handle-limit)"
    );
}

#[test]
fn p1_an_answer_above_the_limit_is_an_error_and_pages_are_not() {
    let mut test = guest("large-answer")
        .limits(limits(|l| l.answer_bytes = 4_096))
        .load()
        .unwrap();
    for i in 0..40 {
        test.given(crate::configmap(&format!("m{i:02}"), &"red".repeat(20)));
    }
    test.sync();
    change(&mut test, "blue").unwrap();
    assert_eq!(
        test.output("answers"),
        "Err(TooLarge(4096))\nOk(())\npaged: 41\n",
    );
}
