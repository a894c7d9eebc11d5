//! Golden folders.

use std::{fs, process::Command};

use crate::{panic_of, pod, pods};

#[test]
fn golden_folders_are_compared_and_their_differences_shown() {
    let folder = std::env::temp_dir().join(format!("haptic-golden-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut test = pods();
    test.sync();
    let missing = panic_of(|| test.assert_golden(&folder));
    assert!(
        missing.starts_with("there is no golden folder "),
        "{missing}"
    );
    std::fs::write(folder.join("pods"), "other\n").unwrap();
    std::fs::write(folder.join("gone"), "").unwrap();
    let different = panic_of(|| test.assert_golden(&folder));
    for part in [
        "the output gone is missing\n",
        "-other\n",
        "HAPTIC_UPDATE_GOLDEN=1 cargo test",
    ] {
        assert!(different.contains(part), "{part:?} in {different}");
    }
    std::fs::remove_file(folder.join("gone")).unwrap();
    std::fs::write(folder.join("pods"), "\n").unwrap();
    test.assert_golden(&folder);
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Where the test below has its folder.
const FOLDER: &str = "HAPTIC_TEST_GOLDEN";

#[test]
#[ignore = "the next test runs it, in a process of its own for the switch"]
fn its_outputs_are_those_of_the_folder() {
    let folder = std::env::var_os(FOLDER).unwrap();
    let mut test = pods();
    test.given(pod("a")).sync();
    test.assert_golden(folder);
}

#[test]
fn golden_folders_are_written_anew_when_that_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("golden");
    let run = |update: &str| {
        let output = Command::new(std::env::current_exe().unwrap())
            .args([
                "--ignored",
                "--exact",
                "golden::its_outputs_are_those_of_the_folder",
            ])
            .env(FOLDER, &folder)
            .env("HAPTIC_UPDATE_GOLDEN", update)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains("running 1 test"), "{said}");
        (output.status.success(), said)
    };
    assert!(!run("").0, "there is no folder yet");
    assert!(run("1").0);
    assert!(run("0").0, "now there is");
    let written = fs::read_to_string(folder.join("pods")).unwrap();
    assert!(written.contains("\"name\":\"a\""), "{written}");

    // What no plugin writes any more goes, and what is different is replaced.
    fs::create_dir(folder.join("old")).unwrap();
    fs::write(folder.join("old/gone"), "").unwrap();
    fs::write(folder.join("pods"), "other").unwrap();
    assert!(!run("").0);
    assert!(run("1").0);
    assert_eq!(fs::read_to_string(folder.join("pods")).unwrap(), written);
    assert!(!folder.join("old/gone").exists());

    // A folder that no update has made may hold something else.
    fs::remove_file(folder.join(".golden")).unwrap();
    fs::write(folder.join("pods"), "precious").unwrap();
    let (passed, said) = run("1");
    let refusal = "has files and no .golden, so it may not be a golden folder";
    assert!(!passed && said.contains(refusal), "{said}");
    assert_eq!(fs::read_to_string(folder.join("pods")).unwrap(), "precious");
}
