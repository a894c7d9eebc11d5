//! The scripts of `completions`, in the shell that they are for.

use std::process::Command;

use super::{ok, support::run};

#[test]
fn k4_bash_completes_flags_subcommands_and_their_values() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("haptic-host.bash");
    std::fs::write(&script, ok(&["completions", "bash"])).unwrap();
    let complete = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let program = format!(
            "set -eu\nsource {}\nCOMP_WORDS=({})\nCOMP_CWORD={}\nCOMPREPLY=()\n\
             \"$(complete -p haptic-host | sed 's/.*-F \\([^ ]*\\).*/\\1/')\" haptic-host \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"\n\
             printf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
            script.display(),
            words
                .iter()
                .map(|word| format!("'{word}'"))
                .collect::<Vec<_>>()
                .join(" "),
            words.len() - 1,
        );
        let mut bash = Command::new("bash");
        let (code, stdout, stderr) = run(bash.args(["--norc", "-c", &program]));
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{line}: {stdout}");
        stdout.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(complete("haptic-host ins"), ["inspect"]);
    assert_eq!(complete("haptic-host --plug"), ["--plugin"]);
    assert_eq!(complete("haptic-host rbac --bi"), ["--bind"]);
    let formats = complete("haptic-host inspect --output-format ");
    assert_eq!(formats, ["text", "json"]);
    assert!(complete("haptic-host ").contains(&"completions".to_owned()));
}

#[test]
fn k4_every_shell_has_a_script() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = ok(&["completions", shell]);
        assert!(script.contains("leader-elect"), "{shell}");
        assert!(script.contains("inspect"), "{shell}");
    }
}
