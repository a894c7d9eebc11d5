//! The project that `haptic-host new` makes, as its author meets it.

use std::{collections::HashMap, env, fs, path::PathBuf, process::Command};

use serde_json::Value;
use tempfile::TempDir;

use super::{checkout, new, support::run};

/// A project, in a folder that is removed with the test.
struct Project {
    folder: TempDir,
}

impl Project {
    fn new(more: &[&str]) -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let args: Vec<_> = ["my-plugin"].iter().chain(more).copied().collect();
        let (code, _, stderr) = run(&mut new(folder.path(), &args));
        assert_eq!(code, Some(0), "{stderr}");
        Self { folder }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join("my-plugin").join(file)
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap()
    }

    /// A command in the project, from a shell that has nothing to do with these tests.
    fn command(&self, name: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(name);
        super::support::isolate(&mut command);
        command
            .current_dir(self.path(""))
            .env_remove("LD_LIBRARY_PATH");
        for (name, _) in env::vars_os() {
            let of_cargo = name.to_str().is_some_and(|name| {
                name == "CARGO"
                    || name.starts_with("CARGO_PKG_")
                    || name.starts_with("CARGO_MANIFEST_")
            });
            if of_cargo {
                command.env_remove(name);
            }
        }
        command
    }

    #[track_caller]
    fn make(&self, args: &[&str]) -> String {
        let (code, stdout, stderr) = run(self.command("make").args(args));
        assert_eq!(code, Some(0), "make {args:?}:\n{stdout}\n{stderr}");
        stdout
    }
}

#[test]
fn k4_the_project_runs_with_one_command_and_its_tests_pass() {
    let project = Project::new(&[]);
    let golden = project.read("tests/golden/hosts");
    assert!(golden.contains("10.96.0.10 web.shop.svc.cluster.local web.shop\n"));

    let stdout = project.make(&["run", "ARGS=--once"]);
    assert_eq!(project.read("out/hosts"), golden);
    assert!(stdout.contains("+++ hosts (new"), "a diff: {stdout}");

    let stdout = project.make(&["test"]);
    for test in [
        "tests::services_without_an_address_have_no_line",
        "a_service_comes_moves_and_goes::native",
        "a_service_comes_moves_and_goes::component",
        "the_manifests_become_the_golden_files::native",
        "the_manifests_become_the_golden_files::component",
        "settings_that_are_wrong_never_start::native",
        "settings_that_are_wrong_never_start::component",
    ] {
        assert!(
            stdout.contains(&format!("test {test} ... ok\n")),
            "{test}: {stdout}"
        );
    }

    // Its tests can fail, and its component is the one of its own sources.
    let source = project.read("src/lib.rs");
    fs::write(
        project.path("src/lib.rs"),
        source.replace("write(\"hosts\"", "write(\"elsewhere\""),
    )
    .unwrap();
    let (code, stdout, stderr) = run(project.command("make").arg("test"));
    assert_eq!(code, Some(2), "{stdout}\n{stderr}");
    for kind in ["native", "component"] {
        let failed = format!("test the_manifests_become_the_golden_files::{kind} ... FAILED\n");
        assert!(stdout.contains(&failed), "{stdout}");
    }
}

#[test]
fn the_project_is_formatted() {
    let project = Project::new(&[]);
    let mut rustfmt = project.command("rustfmt");
    let rustfmt = rustfmt.args([
        "--check",
        "--edition",
        "2024",
        "src/lib.rs",
        "tests/plugin.rs",
    ]);
    assert_eq!(run(rustfmt), (Some(0), String::new(), String::new()));
}

/// With the crates of this repository in the place of the published ones, cargo finds all that the
/// project asks for.
#[test]
fn k4_a_project_for_published_crates_asks_for_what_is_published() {
    let project = Project::new(&["--haptic", env!("CARGO_PKG_VERSION")]);
    fs::copy(checkout().join("Cargo.lock"), project.path("Cargo.lock")).unwrap();
    let mut cargo = project.command("cargo");
    cargo.args(["tree", "--offline", "--depth", "1", "--prefix", "none"]);
    for (package, path) in [
        ("haptic-guest", "guest-sdk"),
        ("haptic-guest-macros", "guest-sdk/macros"),
        ("haptic-harness", "tests/harness"),
        ("haptic-host", "host"),
        ("haptic-core", "host/core"),
        ("haptic-cluster", "host/cluster"),
    ] {
        let path = checkout().join(path);
        cargo.arg("--config");
        cargo.arg(format!("patch.crates-io.{package}.path = {path:?}"));
    }
    let (code, stdout, stderr) = run(&mut cargo);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(!stderr.contains("was not used"), "{stderr}");
    // Some versions of cargo leave a line free before the development dependencies.
    let lines = stdout.lines().filter(|line| !line.is_empty());
    let mut found: Vec<_> = lines.map(|line| line.split(' ').next()).collect();
    found.sort_unstable();
    let expected = [
        "haptic-guest",
        "haptic-harness",
        "my-plugin",
        "serde",
        "serde_json",
    ];
    assert_eq!(found, expected.map(Some), "{stdout}");
}

/// What cargo would compile, and from where. The flag is for developers of cargo, and asks for nothing
/// to be compiled.
fn units(cargo: &mut Command) -> Vec<Unit> {
    let cargo = cargo
        .args([
            "--offline",
            "--no-run",
            "--unit-graph",
            "-Z",
            "unstable-options",
        ])
        .env("RUSTC_BOOTSTRAP", "1");
    let (code, stdout, stderr) = run(cargo);
    assert_eq!(code, Some(0), "{stderr}");
    let graph: Value = serde_json::from_str(&stdout).unwrap();
    let units = graph["units"].as_array().unwrap();
    let mut known = HashMap::new();
    (0..units.len())
        .map(|at| unit(units, at, &mut known))
        .collect()
}

/// Something to compile: equal to another if cargo has to compile one of them only.
#[derive(Clone)]
struct Unit {
    package: String,
    /// Everything that decides on what is compiled, that of its dependencies too.
    print: String,
}

fn unit(units: &[Value], at: usize, known: &mut HashMap<usize, Unit>) -> Unit {
    use std::hash::{DefaultHasher, Hash, Hasher};
    if let Some(unit) = known.get(&at) {
        return unit.clone();
    }
    let this = &units[at];
    let mut hasher = DefaultHasher::new();
    for part in [
        "pkg_id", "target", "profile", "platform", "mode", "features",
    ] {
        this[part].to_string().hash(&mut hasher);
    }
    for dependency in this["dependencies"].as_array().unwrap() {
        let index = usize::try_from(dependency["index"].as_u64().unwrap()).unwrap();
        dependency["extern_crate_name"]
            .to_string()
            .hash(&mut hasher);
        unit(units, index, known).print.hash(&mut hasher);
    }
    let unit = Unit {
        package: this["pkg_id"].as_str().unwrap().to_owned(),
        print: format!("{:x}", hasher.finish()),
    };
    known.insert(at, unit.clone());
    unit
}

#[test]
fn a_plugins_tests_take_every_dependency_that_this_workspace_has_compiled() {
    let project = Project::new(&[]);
    let script = checkout().join("scripts/test-plugin.sh");
    let wanted = units(&mut project.command(script));
    let mut workspace = project.command("cargo");
    workspace
        .current_dir(checkout())
        .args(["test", "--workspace"]);
    let compiled = units(&mut workspace);

    let is_registrys = |unit: &&Unit| unit.package.starts_with("registry+");
    assert!(wanted.iter().filter(is_registrys).count() > 100);
    let again: Vec<_> = wanted
        .iter()
        .filter(is_registrys)
        .filter(|unit| !compiled.iter().any(|other| other.print == unit.print))
        .map(|unit| unit.package.as_str())
        .collect();
    assert!(
        again.is_empty(),
        "tests/alike/Cargo.toml lacks what gives some of these features in the whole workspace: {again:#?}"
    );
}
