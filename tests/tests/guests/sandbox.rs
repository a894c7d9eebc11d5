//! P5 and O1: what a plugin can see and where it can write.

use haptic_harness::LogLevel;
use haptic_tests::guest;

use crate::{change, synced};

#[test]
fn p5_a_plugin_sees_no_files_no_network_and_no_environment() {
    let mut test = synced(guest("wasi"));
    change(&mut test, "blue").unwrap();
    assert_eq!(
        test.output("wasi"),
        "list /: refused\nlist .: refused\nread /etc/passwd: refused\nwrite /tmp/escape: refused\n\
         write escape: refused\nconnect: refused\nresolve: refused\nudp: refused\n\
         environment: []\narguments: []\n"
    );
}

#[test]
fn p5_stdout_and_stderr_become_log_lines() {
    let mut test = synced(guest("print"));
    let before = test.logs().len();
    change(&mut test, "blue").unwrap();
    let lines: Vec<_> = test
        .logs()
        .split_off(before)
        .into_iter()
        .map(|line| (line.level, line.target, line.message))
        .collect();
    assert_eq!(
        lines,
        [
            (LogLevel::Info, "stdout".to_owned(), "to stdout".to_owned()),
            (
                LogLevel::Warn,
                "stderr".to_owned(),
                "to stderr, without a newline".to_owned()
            ),
        ]
    );
}

#[test]
fn o1_names_that_leave_the_output_directory_are_refused_and_the_guest_is_told() {
    let mut test = synced(guest("bad-names"));
    change(&mut test, "blue").unwrap();
    let refusals = test.output("refusals");
    assert_eq!(refusals.lines().count(), 14, "{refusals}");
    for line in refusals.lines() {
        assert!(
            line.starts_with("invalid output name: output name ")
                && line.ends_with(": names are relative paths inside the output directory"),
            "{line}"
        );
    }
    let names: Vec<_> = test.outputs().keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "object",
            "refusals",
            "report",
            "synced/configmaps",
            "synced/services"
        ]
    );
}

#[test]
fn reads_that_cannot_be_answered_are_errors_that_say_why() {
    let mut test = synced(guest("wrong-reads"));
    change(&mut test, "blue").unwrap();
    let errors = test.output("errors");
    assert_eq!(errors.lines().count(), 12, "{errors}");
    assert!(!errors.contains("ANSWERED: "), "{errors}");
    for line in [
        "no such store: no store named `pods`",
        "a watch of one object: no store named `settings`",
        "no such index: no index named `by-size`",
        "the primary index by name: no index named ``",
        // The identity of nothing: no error, and nothing found.
        "no name: ANSWERED",
    ] {
        assert!(
            errors.lines().any(|found| found == line),
            "{line} in\n{errors}"
        );
    }
}
