//! P1: every limit is a flag and a field of `limits`, and what hits one says which.

use crate::{
    Stage,
    support::{run, told},
};

/// A mode that hits the limit when it is that small, and the sentence about it.
struct Case {
    mode: &'static str,
    flag: &'static str,
    field: &'static str,
    value: &'static str,
    sentence: &'static str,
}

const CASES: [Case; 7] = [
    Case {
        mode: "memory",
        flag: "--memory-limit",
        field: "memory",
        value: "32MiB",
        sentence: "of memory and its limit is 32 MiB (raise it with --memory-limit)",
    },
    Case {
        mode: "loop",
        flag: "--callback-timeout",
        field: "callbackTimeout",
        value: "300ms",
        sentence: "on-sync-complete ran longer than its limit of 300ms (raise it with --callback-timeout)",
    },
    Case {
        mode: "sleep",
        flag: "--callback-timeout",
        field: "callbackTimeout",
        value: "300ms",
        sentence: "on-sync-complete ran longer than its limit of 300ms (raise it with --callback-timeout)",
    },
    Case {
        mode: "huge-output",
        flag: "--output-limit",
        field: "output",
        value: "64KiB",
        sentence: "it wrote more than 65536 bytes of output in one callback (raise it with --output-limit)",
    },
    Case {
        mode: "many-outputs",
        flag: "--output-count-limit",
        field: "outputCount",
        value: "7",
        sentence: "it wrote more than 7 outputs in one callback (raise it with --output-count-limit)",
    },
    Case {
        mode: "report",
        flag: "--table-limit",
        field: "tableElements",
        value: "1",
        sentence: "table elements and its limit is 1 (raise it with --table-limit)",
    },
    Case {
        mode: "leak-handles",
        flag: "--handle-limit",
        field: "handles",
        value: "5",
        sentence: "5 store handles are open: drop some, or open each store once and keep its handle (the limit is --handle-limit)",
    },
];

#[test]
fn p1_what_hits_a_limit_is_told_which_and_is_exit_code_1() {
    for case in CASES {
        let stage = Stage::new();
        for in_file in [false, true] {
            let limits = format!("    limits: {{{}: {}}}\n", case.field, case.value);
            let mut command = stage.command(case.mode, if in_file { &limits } else { "" });
            if !in_file {
                command.args([case.flag, case.value]);
            }
            let (code, _, stderr) = run(command.arg("--once"));
            let place = if in_file { case.field } else { case.flag };
            assert_eq!(code, Some(1), "{place}: {stderr}");
            assert!(told(&stderr).contains(case.sentence), "{place}: {stderr}");
            assert_eq!(stage.written("synced/configmaps"), None, "{place}");
        }
    }
}

#[test]
fn p1_the_limit_of_one_plugin_comes_before_the_command_lines() {
    let stage = Stage::new();
    let limits = "    limits: {tableElements: 100000, outputCount: 10}\n";
    let (code, _, stderr) = run(stage.command("report", limits).args([
        "--once",
        "--table-limit",
        "1",
        "--output-count-limit",
        "1",
    ]));
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(stage.written("synced/configmaps").unwrap(), "1\n");
}

#[test]
fn p1_log_lines_are_limited_in_number_and_length() {
    let stage = Stage::new();
    let (code, _, stderr) =
        run(stage
            .command("log-flood", "")
            .args(["--once", "--log-limit", "3"]));
    assert_eq!(code, Some(0), "{stderr}");
    assert!(
        stderr.contains(
            "log lines were dropped: the limit is 3 a second (raise it with --log-limit)"
        )
    );
    let (code, _, stderr) = run(stage
        .command("long-line", "    limits: {logLine: 100}\n")
        .arg("--once"));
    assert_eq!(code, Some(0), "{stderr}");
    let longest = stderr.lines().map(str::len).max().unwrap();
    assert!(stderr.contains("éé") && longest < 500, "{longest}");
}

#[test]
fn p1_an_answer_above_its_limit_is_for_the_guest_to_deal_with() {
    let stage = Stage::new();
    let (code, _, stderr) =
        run(stage
            .command("large-answer", "")
            .args(["--once", "--answer-limit", "20"]));
    assert_eq!(code, Some(0), "{stderr}");
    let answers = stage.written("answers").unwrap();
    assert!(answers.starts_with("Err(TooLarge(20))\n"), "{answers}");
}

#[test]
fn v2_a_plugin_cannot_write_what_looks_like_a_line_of_the_hosts() {
    let stage = Stage::new();
    let (code, _, stderr) = run(stage.command("forged-line", "").arg("--once"));
    assert_eq!(code, Some(0), "{stderr}");
    assert!(!stderr.contains('\x1b'), "{stderr:?}");
    let forged: Vec<_> = stderr
        .lines()
        .filter(|line| line.contains("forged"))
        .collect();
    assert_eq!(forged.len(), 1, "{stderr}");
    assert!(
        forged[0].contains(r"innocent\n2026-01-01T00:00:00Z ERROR forged\u{1b}[2J"),
        "{forged:?}"
    );
}
