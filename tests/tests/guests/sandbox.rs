//! P5 and O1: what a plugin can see and where it can write.

use std::{fs, os::unix::fs::symlink};

use haptic_harness::{LogLevel, Sandbox};
use haptic_tests::guest;

use crate::{change, failure, synced};

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
fn p5_a_plugin_sees_what_it_is_granted_and_nothing_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for folder in ["in", "out"] {
        fs::create_dir(at(folder)).unwrap();
    }
    fs::write(at("in/file"), "granted").unwrap();
    fs::write(at("secret"), "secret").unwrap();
    symlink("../secret", at("in/link")).unwrap();
    symlink("/etc/passwd", at("in/absolute")).unwrap();
    symlink("../secret", at("out/link")).unwrap();
    let dirs = [
        format!("{}::/in", at("in").display()).parse().unwrap(),
        format!("{}::/out::rw", at("out").display())
            .parse()
            .unwrap(),
    ];
    let sandbox = Sandbox::of(&dirs, &["MODE=test".parse().unwrap()]).unwrap();
    let mut test = synced(guest("wasi-granted").sandbox(sandbox));
    change(&mut test, "blue").unwrap();
    assert_eq!(
        test.output("wasi"),
        "read /in/file: granted\nwrite /in/file: refused\nmake /in/new: refused\n\
         remove /in/file: refused\nread /in/../secret: refused\nread /in/link: refused\n\
         read /in/absolute: refused\nread /etc/passwd: refused\nwrite /out/new: done\n\
         write /out/../escape: refused\nwrite /out/link: refused\nmove out of /in: refused\n\
         connect: refused\nenvironment: [(\"MODE\", \"test\")]\n"
    );
    assert_eq!(fs::read_to_string(at("out/new")).unwrap(), "written");
    assert_eq!(fs::read_to_string(at("secret")).unwrap(), "secret");
    assert_eq!(fs::read_to_string(at("in/file")).unwrap(), "granted");
    assert!(!at("escape").exists() && !at("in/new").exists());
}

#[test]
fn p5_a_directory_that_has_gone_fails_the_start_and_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let gone = dir.path().join("gone");
    fs::create_dir(&gone).unwrap();
    let grant = gone.display().to_string().parse().unwrap();
    let sandbox = Sandbox::of(&[grant], &[]).unwrap();
    fs::remove_dir(&gone).unwrap();
    let error = guest("wasi-granted").sandbox(sandbox).load().err().unwrap();
    assert_eq!(
        error.to_string(),
        format!(
            "the plugin cannot be started: instantiation failed: cannot open directory {} to \
             grant it: No such file or directory (os error 2)",
            gone.display()
        )
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

#[test]
fn o1_markup_is_text_like_any_other() {
    let mut test = synced(guest("markup"));
    let markup = "<img src=x onerror=\"window.executed=1\">";
    assert_eq!(test.output(markup), "");
    assert_eq!(
        failure(change(&mut test, "blue")).to_string(),
        format!("on-change returned an error: {markup}<script>executed=1</script>")
    );
}
