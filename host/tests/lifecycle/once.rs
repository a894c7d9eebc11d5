//! O3: what `--once` ends with.

use std::process::Command;

use crate::{
    Stage,
    support::{Process, host, run, told},
};

#[test]
fn o3_the_exit_code_tells_whose_fault_it_was() {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    type Args<'a> = &'a [&'a str];
    let widgets =
        "    watchedResources:\n      widgets: {apiVersion: example.com/v1, resources: widgets}\n";
    let none: Args<'_> = &[];
    let cases: [(i32, &str, &str, Args<'_>, &str); 12] = [
        (0, "report", "", none, ""),
        (0, "log-flood", "", none, ""),
        (
            1,
            "err",
            "",
            none,
            "plugin hostile failed: on-sync-complete returned an error: refused on purpose",
        ),
        (
            1,
            "panic",
            "",
            none,
            "plugin hostile failed: on-sync-complete trapped: panics on purpose",
        ),
        (
            1,
            "exit",
            "",
            none,
            "on-sync-complete trapped: Exited with i32 exit status 1",
        ),
        (1, "new-err", "", none, "there is nothing to make it from"),
        (
            1,
            "describe-panic",
            "",
            none,
            "describe trapped: describe panics on purpose",
        ),
        (
            2,
            "describe-err",
            "",
            none,
            "plugin hostile does not accept its settings: the colour is missing",
        ),
        (2, "describe-nothing", "", none, "it declares no watches"),
        (
            2,
            "report",
            "    limits: {memory: lots}\n",
            none,
            "plugins.hostile.limits.memory: \"lots\" is no size",
        ),
        (
            2,
            "report",
            "",
            &["--memory-limit", "lots"],
            "\"lots\" is no size: write `64MiB`, `1GiB`, or bytes",
        ),
        (
            3,
            "report",
            widgets,
            &["--timeout", "1s"],
            "widgets: waiting for the resource to be served",
        ),
    ];
    for (expected, mode, more, args, sentence) in cases {
        let stage = Stage::new();
        let (code, _, stderr) = run(stage.command(mode, more).arg("--once").args(args));
        assert_eq!(code, Some(expected), "{mode} {args:?}: {stderr}");
        assert!(
            sentence.is_empty() || told(&stderr).contains(sentence),
            "{mode} {args:?}: {stderr}"
        );
        assert!(!stage.at("out/half-written").exists(), "{mode}");
    }
    let stage = Stage::new();
    let kubeconfig = stage.at("kc.yaml");
    std::fs::write(
        &kubeconfig,
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{{name: c, cluster: {{server: 'http://127.0.0.1:{port}'}}}}]\ncontexts: [{{name: c, context: {{cluster: c, user: u, namespace: shop}}}}]\nusers: [{{name: u, user: {{}}}}]\n"
        ),
    )
    .unwrap();
    let (code, _, stderr) = run(unreachable(&stage).arg("--kubeconfig").arg(&kubeconfig));
    assert_eq!(code, Some(3), "{stderr}");
}

fn unreachable(stage: &Stage) -> Command {
    let mut command = host();
    command
        .args(["--once", "--config"])
        .arg(stage.configure("report", ""));
    command
}

#[test]
fn o3_a_signal_is_exit_code_130_wherever_it_comes() {
    for (mode, until) in [
        // While it starts, and while a callback runs that does not end.
        ("describe-loop", "loaded"),
        ("loop", "it begins"),
        ("sleep", "it begins"),
    ] {
        let stage = Stage::new();
        for signal in ["-TERM", "-INT"] {
            let mut command = stage.command(mode, "");
            command.args(["--once", "--callback-timeout", "1h", "--timeout", "1h"]);
            let mut process = Process::start(&mut command);
            process.logs(until, 1);
            process.signal(signal);
            assert_eq!(
                process.ends(),
                Some(130),
                "{mode} {signal}: {}",
                process.log()
            );
        }
        assert!(!stage.at("out/report").exists());
    }
}
