//! P5: directories and variables, as an operator grants them.

use std::fs;

use crate::{
    Stage,
    support::{run, told},
};

/// What the guest saw: its lines with these beginnings.
fn seen(stage: &Stage, beginnings: &[&str]) -> Vec<String> {
    let wasi = stage.written("wasi").unwrap();
    let wanted = |line: &&str| beginnings.iter().any(|begin| line.starts_with(begin));
    wasi.lines().filter(wanted).map(str::to_owned).collect()
}

const PARTS: [&str; 4] = [
    "read /in/file",
    "write /in/file",
    "write /out/new",
    "environment",
];

fn stage() -> Stage {
    let stage = Stage::new();
    for folder in ["in", "outside"] {
        fs::create_dir(stage.at(folder)).unwrap();
    }
    fs::write(stage.at("in/file"), "granted").unwrap();
    stage
}

#[test]
fn p5_without_a_grant_there_is_nothing_to_see() {
    let stage = stage();
    let (code, _, stderr) = run(stage.command("wasi-granted", "").arg("--once"));
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(
        seen(&stage, &PARTS),
        [
            "read /in/file: refused",
            "write /in/file: refused",
            "write /out/new: refused",
            "environment: []",
        ]
    );
}

#[test]
fn p5_dir_and_env_grant_what_they_say_on_the_command_line_and_in_the_file() {
    let granted = [
        "read /in/file: granted",
        "write /in/file: refused",
        "write /out/new: done",
        "environment: [(\"HAPTIC_TEST\", \"the host's\"), (\"MODE\", \"a=b\")]",
    ];
    let flags = stage();
    let (code, _, stderr) = run(flags
        .command("wasi-granted", "")
        .current_dir(flags.at("in"))
        .env("HAPTIC_TEST", "the host's")
        .args([
            "--once",
            "--dir",
            ".::/in",
            "--env",
            "HAPTIC_TEST",
            "--env",
            "MODE=a=b",
        ])
        .arg("--dir")
        .arg(format!("{}::/out::rw", flags.at("outside").display())));
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(seen(&flags, &PARTS), granted);
    assert_eq!(
        fs::read_to_string(flags.at("outside/new")).unwrap(),
        "written"
    );

    let file = stage();
    // Relative to the file.
    let more = "    dirs: ['in::/in', 'outside::/out::rw']\n    env: [HAPTIC_TEST, MODE=a=b]\n";
    let (code, _, stderr) = run(file
        .command("wasi-granted", more)
        .env("HAPTIC_TEST", "the host's")
        .arg("--once"));
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(seen(&file, &PARTS), granted);
    assert_eq!(
        fs::read_to_string(file.at("outside/new")).unwrap(),
        "written"
    );
}

#[test]
fn p5_a_grant_that_cannot_be_given_is_exit_code_2() {
    let stage = stage();
    for (args, sentence) in [
        (
            ["--dir", "/no/such/folder"],
            "plugin hostile: cannot open directory /no/such/folder to grant it: No such file",
        ),
        (
            ["--dir", "::"],
            "\"::\" grants no directory: write HOST, HOST::GUEST, or HOST::GUEST::rw",
        ),
        (
            ["--env", "HAPTIC_NOBODY_SETS_THIS"],
            "the host has no variable HAPTIC_NOBODY_SETS_THIS",
        ),
        (
            ["--env", "=x"],
            "\"=x\" names no variable: write NAME, or NAME=VALUE",
        ),
    ] {
        let (code, _, stderr) = run(stage.command("report", "").arg("--once").args(args));
        assert_eq!(code, Some(2), "{args:?}: {stderr}");
        assert!(told(&stderr).contains(sentence), "{args:?}: {stderr}");
        assert!(!stage.at("out").exists(), "{args:?}");
    }
}
