//! `haptic-host new` (K4): what it makes, and what it refuses. That the project builds, runs and is
//! tested with what this workspace has compiled is in `project`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod project;
#[path = "../support/mod.rs"]
mod support;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use support::{host, root, run, told};

/// The files below a folder with their contents.
fn files(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap();
                found.insert(name.to_owned(), fs::read_to_string(&path).unwrap());
            }
        }
    }
    found
}

fn new(inside: &Path, args: &[&str]) -> Command {
    let mut command = host();
    command.current_dir(inside).arg("new").args(args);
    command
}

/// The real path of the checkout.
fn checkout() -> PathBuf {
    root().canonicalize().unwrap()
}

const FILES: [&str; 10] = [
    ".gitignore",
    "Cargo.toml",
    "Makefile",
    "README.md",
    "haptic.yaml",
    "manifests/services.yaml",
    "src/lib.rs",
    "tests/golden/.golden",
    "tests/golden/hosts",
    "tests/plugin.rs",
];

#[test]
fn k4_a_project_is_made_for_the_checkout_that_the_command_was_built_in() {
    let inside = tempfile::tempdir().unwrap();
    let (code, stdout, stderr) = run(&mut new(inside.path(), &["my-plugin"]));
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    let root = checkout().display().to_string();
    assert_eq!(
        stdout,
        format!(
            "made my-plugin, a plugin that renders a hosts file from Services, with the SDK of {root}\n\n  \
             cd my-plugin\n  \
             make run     # build it, run it on an embedded cluster, show what it renders\n  \
             make test    # test it, natively and as the component\n\n\
             README.md says what is where.\n"
        )
    );
    let made = files(&inside.path().join("my-plugin"));
    let mut expected: Vec<_> = FILES.to_vec();
    expected.push("Cargo.lock");
    expected.sort_unstable();
    assert_eq!(made.keys().collect::<Vec<_>>(), expected);
    let manifest = &made["Cargo.toml"];
    for (package, path) in [
        ("guest", "guest-sdk"),
        ("harness", "tests/harness"),
        ("alike", "tests/alike"),
    ] {
        let line = format!("haptic-{package} = {{ path = \"{root}/{path}\" }}\n");
        assert!(manifest.contains(&line), "{manifest}");
    }
    let command = format!("HAPTIC_HOST ?= {}\n", env!("CARGO_BIN_EXE_haptic-host"));
    assert!(made["Makefile"].contains(&command), "{}", made["Makefile"]);
    // Nothing is left of how it was made.
    let beside: Vec<_> = fs::read_dir(inside.path()).unwrap().collect();
    assert_eq!(beside.len(), 1, "{beside:?}");
}

#[test]
fn k4_a_project_is_made_for_published_crates_under_another_name_in_an_empty_folder() {
    let inside = tempfile::tempdir().unwrap();
    fs::create_dir_all(inside.path().join("plugins/routes")).unwrap();
    let args = ["plugins/routes", "--name", "acme-routes", "--haptic", "0.1"];
    let (code, stdout, stderr) = run(&mut new(inside.path(), &args));
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    assert!(stdout.contains("cd plugins/routes\n"), "{stdout}");
    let made = files(&inside.path().join("plugins/routes"));
    assert_eq!(made.keys().collect::<Vec<_>>(), FILES);
    let manifest = &made["Cargo.toml"];
    for line in [
        "name = \"acme-routes\"\n",
        "haptic-guest = \"0.1\"\n",
        "haptic-harness = \"0.1\"\n",
    ] {
        assert!(manifest.contains(line), "{manifest}");
    }
    assert!(made["tests/plugin.rs"].contains("use acme_routes::Hosts;\n"));
    // It knows of no checkout, but for the command, which no shell would find by its name here.
    for (name, text) in &made {
        let text = text.replace(env!("CARGO_BIN_EXE_haptic-host"), "haptic-host");
        assert!(
            !text.contains(checkout().to_str().unwrap()),
            "{name}: {text}"
        );
    }
    // That is a folder as any other.
    let mode = |path: &str| {
        use std::os::unix::fs::PermissionsExt;
        let metadata = fs::metadata(inside.path().join(path)).unwrap();
        metadata.permissions().mode()
    };
    assert_eq!(mode("plugins/routes"), mode("plugins"));
}

#[test]
fn k4_what_cannot_be_made_is_one_sentence_and_nothing_is_touched() {
    let inside = tempfile::tempdir().unwrap();
    let folder = inside.path().canonicalize().unwrap();
    fs::create_dir(folder.join("full")).unwrap();
    fs::write(folder.join("full/notes"), "mine").unwrap();
    fs::write(folder.join("file"), "mine too").unwrap();
    fs::create_dir(folder.join("2nd")).unwrap();
    let before = files(&folder);
    let there = folder.display();
    for (args, expected) in [
        (
            &["full"][..],
            "full exists and is not empty: name a folder that does not exist".to_owned(),
        ),
        (
            &["file"],
            "file exists and is no folder: name one that does not exist".to_owned(),
        ),
        (
            &["."],
            ". is the folder that you are in: name the one to make, such as my-plugin".to_owned(),
        ),
        (
            &[".."],
            ".. does not end in a name: write that of the folder to make, such as my-plugin"
                .to_owned(),
        ),
        (
            &["none/my-plugin"],
            format!("there is no folder {there}/none: make it first"),
        ),
        (
            &["2nd"],
            "the plugin cannot be called after its folder: \"2nd\" does not begin with a letter; \
             give it a name of its own with --name"
                .to_owned(),
        ),
        (
            &["hello-plugin"],
            format!(
                "hello-plugin is a package of {}, and cargo would mix the two up: give another \
                 name with --name",
                checkout().display()
            ),
        ),
        (
            &["my-plugin", "--haptic", "full"],
            "full is no checkout of haptic-host: it has no Cargo.lock".to_owned(),
        ),
        (
            &["my-plugin", "--haptic", "v0.1"],
            "there is no folder v0.1: --haptic takes a checkout of haptic-host, or a version \
             such as 0.1"
                .to_owned(),
        ),
    ] {
        let (code, stdout, stderr) = run(&mut new(&folder, args));
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{args:?}: {stderr}");
        assert_eq!(told(&stderr), expected, "{args:?}");
        assert_eq!(files(&folder), before, "{args:?}");
    }
    for (args, expected) in [
        (
            ["my-plugin", "--name", "async"],
            "error: invalid value 'async' for '--name <NAME>': \"async\" is a word of Rust",
        ),
        (
            ["my-plugin", "--haptic", "1.x"],
            "error: invalid value '1.x' for '--haptic <VERSION|PATH>': \"1.x\" is no version: \
             write one such as 0.1 or 0.1.0, or ./1.x for a folder",
        ),
    ] {
        let (code, _, stderr) = run(&mut new(&folder, &args));
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.starts_with(expected), "{stderr}");
        assert_eq!(files(&folder), before, "{args:?}");
    }
}

#[test]
fn k4_help_teaches() {
    let (code, stdout, _) = run(host().args(["new", "--help"]));
    assert_eq!(code, Some(0));
    for part in [
        "haptic-host new my-plugin",
        "make run",
        "make test",
        "--haptic",
        "Exit codes:",
    ] {
        assert!(stdout.contains(part), "{part} is not in:\n{stdout}");
    }
}
