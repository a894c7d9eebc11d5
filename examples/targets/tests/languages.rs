//! The same plugin in four languages, held to `scenario.yaml`: each renders the same bytes, logs the
//! same lines, and fails with the same sentences.
//!
//! Rust runs with all other tests. The others are ignored there, for they take toolchains to build:
//! `make test-languages` builds and tests them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{ops::Range, time::Duration};

use haptic_harness::{Builder, CallbackKind, Harness, Incremental, Limits, LoadError, StepError};
use serde_json::{Value, json};
use support::{OUTPUT, error_of, inspected, name, plays, roles, scenario, slices, watches};
use targets_plugin::Targets;

/// The component of this language, with a function for each property.
macro_rules! languages {
    ($($(#[$meta:meta])* $language:ident => $plugin:expr;)*) => {
        $(
            mod $language {
                use super::*;

                #[test]
                $(#[$meta])*
                fn renders_the_scenario() {
                    plays(|| $plugin);
                }

                #[test]
                $(#[$meta])*
                fn refuses_wrong_settings_with_a_sentence() {
                    refuses_wrong_settings(|| $plugin);
                }

                #[test]
                $(#[$meta])*
                fn lives_on_after_a_callback_that_failed() {
                    lives_on(|| $plugin);
                }

                #[test]
                $(#[$meta])*
                fn renders_step_by_step_what_it_renders_at_once() {
                    adds_up(|| $plugin);
                }
            }
        )*
    };
}

/// The languages without the SDK, whose callbacks read by hand.
macro_rules! reads_by_hand {
    ($($language:ident => $plugin:expr;)*) => {
        mod reports_reads_that_fail {
            use super::*;

            $(
                #[test]
                #[ignore = "make test-languages"]
                fn $language() {
                    reports_reads_that_fail_as_errors(|| $plugin);
                }
            )*
        }
    };
}

languages! {
    rust => Harness::wasm("target/guests/wasm32-wasip2/release/targets_plugin.wasm");
    rust_natively => Harness::native::<Targets>();
    #[ignore = "make test-languages"]
    python => Harness::wasm("target/languages/python.wasm");
    #[ignore = "make test-languages"]
    javascript => Harness::wasm("target/languages/javascript.wasm");
    #[ignore = "make test-languages"]
    c => Harness::wasm("target/languages/c.wasm");
}

reads_by_hand! {
    python => Harness::wasm("target/languages/python.wasm");
    javascript => Harness::wasm("target/languages/javascript.wasm");
    c => Harness::wasm("target/languages/c.wasm");
}

fn refuses_wrong_settings(plugin: impl Fn() -> Builder) {
    let refused = scenario().refused;
    assert!(!refused.is_empty());
    for refusal in refused {
        match plugin().settings(refusal.settings.clone()).load() {
            Err(LoadError::Settings(error)) => {
                assert!(
                    error.starts_with(&refusal.error),
                    "{}: {error}",
                    refusal.settings
                );
                assert!(!error.contains('\n'), "{error}");
            }
            Err(error) => panic!("{}: {error}", refusal.settings),
            Ok(_) => panic!("{} are accepted", refusal.settings),
        }
    }
}

/// The error is one that the callback returned: one that kept the store's handle, in C, would trap.
fn lives_on(plugin: impl Fn() -> Builder) {
    let unwritable = scenario().unwritable;
    let mut test = plugin().settings(unwritable.settings).load().unwrap();
    let failed = test.try_sync().unwrap_err();
    assert_eq!(error_of(&failed, "on-sync-complete"), unwritable.error);
    // Told again, it fails again.
    let failed = test.try_settle().unwrap_err();
    assert_eq!(error_of(&failed, "on-sync-complete"), unwritable.error);
}

/// Reads that fail, in both callbacks. Rust's `Cache` reads pages instead.
fn reports_reads_that_fail_as_errors(plugin: impl Fn() -> Builder) {
    // The columns of a few slices fit, and some changes.
    let limits = Limits {
        answer_bytes: 600,
        log_lines_per_second: u32::MAX,
        ..Limits::default()
    };
    let error = "the answer would be larger than 600 bytes; read pages or select fewer fields";
    let mut test = plugin().limits(limits).load().unwrap();
    test.given(slices(0..20, "10.0.0.1"));
    let failed = test.try_sync().unwrap_err();
    assert_eq!(error_of(&failed, "on-sync-complete"), error);
    delete(&mut test, 1..20);
    test.settle();
    assert_eq!(test.output(OUTPUT), file(&[(0, "10.0.0.1")]));

    // The next change comes after a quiet time, so it is told at once.
    test.advance(Duration::from_secs(10));
    let failed = test.try_apply(slices(1..100, "10.0.0.2")).unwrap_err();
    assert_eq!(error_of(&failed, "on-change"), error);
    delete(&mut test, 2..100);
    test.settle();
    assert_eq!(
        test.output(OUTPUT),
        file(&[(0, "10.0.0.1"), (1, "10.0.0.2")])
    );
    // The instance went on: another one would have been told everything.
    let synced = test
        .callbacks()
        .iter()
        .filter(|ran| matches!(ran.kind, CallbackKind::SyncComplete { .. }) && ran.succeeded());
    assert_eq!(synced.count(), 1);
}

/// Callbacks may fail meanwhile.
fn delete(test: &mut Harness, numbers: Range<usize>) {
    for number in numbers {
        let name = name(number);
        match test.try_delete("discovery.k8s.io/v1", "EndpointSlice", "shop", &name) {
            Ok(()) | Err(StepError::Callbacks(_)) => {}
            Err(StepError::Objects(error)) => panic!("{error}"),
        }
    }
}

fn file(groups: &[(usize, &str)]) -> String {
    let groups: Vec<String> = groups
        .iter()
        .map(|(number, address)| {
            format!(
                r#"  {{"targets":["{address}:9090"],"labels":{{"namespace":"shop","service":"s{number}"}}}}"#
            )
        })
        .collect();
    format!("[\n{}\n]\n", groups.join(",\n"))
}

fn adds_up(plugin: impl Fn() -> Builder) {
    let pool: Vec<Value> = scenario()
        .plays
        .into_iter()
        .flat_map(|play| {
            let applied = play.steps.into_iter().flat_map(|step| step.apply);
            play.given.into_iter().chain(applied).collect::<Vec<_>>()
        })
        .collect();
    Incremental::of(plugin, json!(pool)).runs(4).check();
}

#[test]
#[ignore = "make test-languages"]
fn all_languages_ask_for_the_same_watches_and_rights() {
    let plugins = [
        "target/guests/wasm32-wasip2/release/targets_plugin.wasm",
        "target/languages/python.wasm",
        "target/languages/javascript.wasm",
        "target/languages/c.wasm",
    ];
    let expected = (inspected(plugins[0]), roles(plugins[0]));
    assert_eq!(watches(&expected.0).as_array().map(Vec::len), Some(1));
    assert!(expected.1.contains("- endpointslices\n"), "{}", expected.1);
    for plugin in &plugins[1..] {
        assert_eq!(
            watches(&inspected(plugin)),
            watches(&expected.0),
            "{plugin}"
        );
        assert_eq!(roles(plugin), expected.1, "{plugin}");
    }
}
