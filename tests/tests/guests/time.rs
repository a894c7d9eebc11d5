//! Time and chance as guests see them in the harness: the same each time.

use std::time::{Duration, SystemTime};

use haptic_harness::{Builder, CallError, Harness};
use haptic_tests::guest;

use crate::{change, failure, limits::limits, synced};

/// What the guest saw of time and chance, in a callback a minute after the beginning.
fn clocks(builder: Builder) -> (Harness, String) {
    let mut test = synced(builder);
    test.advance(Duration::from_secs(60));
    change(&mut test, "blue").unwrap();
    let seen = test.output("clocks").to_owned();
    (test, seen)
}

#[test]
fn a_guest_sees_the_tests_time_and_a_sleep_moves_it() {
    let (test, seen) = clocks(guest("clocks"));
    let expected = "it is 1735689660s\nafter a sleep it is 1735689661.5s\nfor the SDK it is \
                    1735689661.5s\nthe sleep took 1.5s\n\
                    ready before: false false\n\
                    of four timers [1, 3] after 1000000000 ns\n\
                    of three [2] after 1000000000 ns\n\
                    ready after 5000000000 ns: true\n";
    assert!(seen.starts_with(expected), "{seen}");
    // A minute, what the callback slept, and the half second of the step.
    let cost = test.cost().unwrap();
    assert_eq!(cost.slept, Duration::from_millis(6_500));
    assert_eq!(test.now(), Duration::from_secs(67));
    assert_eq!(test.callbacks()[0].at, Duration::from_secs(60));
}

#[test]
fn a_test_begins_when_it_says() {
    let date = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let (test, seen) = clocks(guest("clocks").starts_at(date));
    assert!(seen.starts_with("it is 1000000060s\n"), "{seen}");
    assert_eq!(test.date(), date + test.now());
}

#[test]
fn random_numbers_are_the_same_for_each_instance_and_those_of_the_seed() {
    let chance = |seen: &str| {
        let (_, chance) = seen.split_once("random: ").unwrap();
        chance.to_owned()
    };
    let (mut test, seen) = clocks(guest("clocks"));
    let (_, again) = clocks(guest("clocks"));
    assert_eq!(seen, again);
    let (_, other) = clocks(guest("clocks").random_seed(2));
    assert_ne!(chance(&seen), chance(&other));
    change(&mut test, "red").unwrap();
    let later = chance(test.output("clocks"));
    assert_ne!(chance(&seen), later, "an instance goes on drawing");
    test.trap_next();
    change(&mut test, "blue").unwrap_err();
    test.settle();
    change(&mut test, "red").unwrap();
    assert_eq!(chance(&seen), chance(test.output("clocks")));
}

#[test]
fn p1_a_sleep_beyond_the_limit_is_cut_off_there_without_waiting() {
    let limit = Duration::from_secs(3_000);
    let mut test = synced(guest("sleep").limits(limits(|l| l.callback_time = limit)));
    let error = failure(change(&mut test, "blue"));
    let callback = "on-change";
    assert_eq!(error, CallError::Timeout { callback, limit });
    assert_eq!(test.now(), Duration::from_millis(500) + limit);
    assert_eq!(test.cost().unwrap().slept, limit);
}

#[test]
fn p1_a_guest_that_waits_for_a_still_clock_ends_at_the_limit_of_real_time() {
    let limit = Duration::from_millis(150);
    let mut test = synced(guest("busy-wait").limits(limits(|l| l.callback_time = limit)));
    let error = failure(change(&mut test, "blue"));
    let callback = "on-change";
    assert_eq!(error, CallError::Timeout { callback, limit });
    assert_eq!(test.now(), Duration::from_millis(500));
}
