//! The Dockerfile, held against what it builds and against what runs it. No image is built here:
//! that takes a Docker engine.

use std::{collections::BTreeMap, fs, process::Command};

use super::{
    documents, ok,
    support::{guest, root, run},
};

/// One stage: what it is made from, and its instructions.
#[derive(Default)]
struct Stage {
    from: String,
    instructions: Vec<(String, String)>,
}

impl Stage {
    fn all<'a>(&'a self, instruction: &'a str) -> impl Iterator<Item = &'a str> {
        let found = self.instructions.iter();
        found
            .filter(move |(name, _)| name == instruction)
            .map(|(_, rest)| rest.as_str())
    }
}

fn stages() -> Vec<(String, Stage)> {
    let text = fs::read_to_string(root().join("Dockerfile")).unwrap();
    let mut stages: Vec<(String, Stage)> = Vec::new();
    let lines = text.replace("\\\n", " ");
    for line in lines.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (instruction, rest) = line.split_once(' ').unwrap();
        let known = [
            "FROM",
            "WORKDIR",
            "COPY",
            "RUN",
            "USER",
            "ENTRYPOINT",
            "ARG",
        ];
        assert!(known.contains(&instruction), "{line}");
        if instruction == "FROM" {
            let (from, name) = rest.split_once(" AS ").unwrap_or((rest, ""));
            let stage = Stage {
                from: from.to_owned(),
                ..Stage::default()
            };
            stages.push((name.to_owned(), stage));
        } else {
            let (_, stage) = stages.last_mut().unwrap();
            stage
                .instructions
                .push((instruction.to_owned(), rest.trim().to_owned()));
        }
    }
    stages
}

#[test]
fn the_image_has_the_host_and_runs_it_as_nobody() {
    let stages = stages();
    let named: BTreeMap<&str, &Stage> = stages
        .iter()
        .map(|(name, stage)| (name.as_str(), stage))
        .collect();
    // Each stage is made from an image, or from a stage before it.
    for (i, (_, stage)) in stages.iter().enumerate() {
        let before = stages[..i].iter().any(|(name, _)| *name == stage.from);
        let image = stage.from.contains(':');
        assert!(before != image, "FROM {}", stage.from);
    }
    let (build, host) = (named["build"], named["host"]);
    let version = env!("CARGO_PKG_RUST_VERSION");
    assert_eq!(build.from, format!("rust:{version}-bookworm"));
    // One Debian for both, or the C library would not fit.
    assert_eq!(host.from, "gcr.io/distroless/cc-debian12:nonroot");
    let binary = "/usr/local/bin/haptic-host";
    let copied: Vec<&str> = host.all("COPY").collect();
    let built = format!("--from=build /src/target/release/haptic-host {binary}");
    assert_eq!(copied, [built]);
    assert_eq!(
        host.all("ENTRYPOINT").collect::<Vec<_>>(),
        [format!("[\"{binary}\"]")]
    );
    assert_eq!(build.all("WORKDIR").collect::<Vec<_>>(), ["/src"]);
    assert_eq!(host.all("RUN").count(), 0, "there is no shell");
    // The user that the manifests run it as.
    let manifests = ok(&[
        "manifests",
        "--plugin",
        guest("hello_plugin").to_str().unwrap(),
    ]);
    let pod = documents(&manifests)
        .into_iter()
        .find(|object| object["kind"] == "Deployment")
        .unwrap();
    let user = &pod["spec"]["template"]["spec"]["securityContext"]["runAsUser"];
    assert_eq!(
        host.all("USER").collect::<Vec<_>>(),
        [format!("{user}:{user}")]
    );
    let plugins = named["with-plugin"].all("COPY").next().unwrap();
    assert!(plugins.ends_with(" ${PLUGIN} /plugins/"), "{plugins}");
    assert_eq!(named["with-plugin"].from, "host");
    let (last, stage) = stages.last().unwrap();
    assert_eq!((last.as_str(), stage.from.as_str()), ("", "host"));
    assert!(stage.instructions.is_empty());
}

#[test]
fn the_build_command_names_what_the_workspace_has() {
    let stages = stages();
    let runs: Vec<&str> = stages[0].1.all("RUN").collect();
    let [command] = runs.as_slice() else {
        panic!("{runs:?}");
    };
    let words: Vec<&str> = command.split(' ').collect();
    assert_eq!(&words[..2], ["cargo", "build"]);
    assert!(words.contains(&"--release") && words.contains(&"--locked"));
    let package = words[words.iter().position(|word| *word == "-p").unwrap() + 1];
    // The same selection, and no other, and Cargo.lock is the one that it wants.
    let mut cargo = Command::new(env!("CARGO"));
    let (code, stdout, stderr) = run(cargo.current_dir(root()).args([
        "metadata",
        "--locked",
        "--offline",
        "--no-deps",
        "--format-version=1",
    ]));
    assert_eq!(code, Some(0), "{stderr}");
    let metadata: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let found = packages
        .iter()
        .find(|found| found["name"] == package)
        .unwrap();
    let targets = found["targets"].as_array().unwrap();
    assert!(
        targets
            .iter()
            .any(|target| target["name"] == "haptic-host" && target["kind"][0] == "bin")
    );
}

#[test]
fn what_is_built_here_does_not_get_into_the_image() {
    let ignored = fs::read_to_string(root().join(".dockerignore")).unwrap();
    let lines: Vec<&str> = ignored.lines().collect();
    for folder in [".git", "target"] {
        assert!(lines.contains(&folder), "{folder}");
    }
    // What the build reads is not among them.
    for needed in [
        "host",
        "wit",
        "guest-sdk",
        "examples",
        "tests",
        "Cargo.lock",
    ] {
        assert!(!lines.contains(&needed), "{needed}");
    }
}
