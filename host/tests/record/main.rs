//! Recordings: what is in them, and what a replay makes of them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod broken;
mod recording;
mod replaying;
mod secrets;

#[path = "../support/mod.rs"]
mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use tempfile::TempDir;

use support::{Process, eventually, guest, host, maps, run};

/// A folder with manifests, a recording and what was rendered.
struct Stage(TempDir);

impl Stage {
    fn new(manifests: &str) -> Self {
        let stage = Self(tempfile::tempdir().unwrap());
        stage.change(manifests);
        stage
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// What the cluster holds from here on.
    fn change(&self, manifests: &str) {
        // In one go: half of it must not be seen.
        let new = self.at("new");
        fs::write(&new, manifests).unwrap();
        fs::rename(new, self.at("manifests.yaml")).unwrap();
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.at(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.at(name)).unwrap_or_default()
    }

    /// A configuration of one plugin, `it`: the guest that behaves as a mode says.
    fn configure(&self, mode: &str, more: &str) -> PathBuf {
        let file = guest("test_guests");
        let text = format!(
            "plugins:\n  it:\n    file: {}\n    settings: {{mode: {mode}}}\n{more}",
            file.display()
        );
        self.write("config.yaml", &text)
    }

    /// A configuration of the hello example, with these other fields.
    fn configure_hello(&self, more: &str) -> PathBuf {
        let file = guest("hello_plugin");
        let text = format!(
            "plugins:\n  hello_plugin:\n    file: {}\n{more}",
            file.display()
        );
        self.write("config.yaml", &text)
    }

    /// `haptic-host record bug.jsonl` on an embedded cluster of the manifests.
    fn record(&self) -> Command {
        let mut command = host();
        command.arg("record").arg(self.at("bug.jsonl"));
        self.with_cluster(&mut command);
        command
    }

    fn with_cluster(&self, command: &mut Command) {
        command.arg("--manifests").arg(self.at("manifests.yaml"));
    }

    /// `haptic-host --replay bug.jsonl`.
    fn replay(&self) -> Command {
        let mut command = host();
        command.arg("--replay").arg(self.at("bug.jsonl"));
        command
    }

    /// The lines of the recording that are whole, the header first.
    fn lines(&self) -> Vec<Value> {
        let text = self.read("bug.jsonl");
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let lines = whole.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Waits until a line of the recording is so; answers it.
    #[track_caller]
    fn recorded(&self, by: &Process, is: impl Fn(&Value) -> bool) -> Value {
        eventually("such line", || {
            let lines = self.lines();
            let found = lines.into_iter().find(&is);
            found.ok_or_else(|| format!("{}\n{}", self.read("bug.jsonl"), by.log()))
        })
    }
}

/// The line applies, or lists, the object of this name.
fn holds(line: &Value, name: &str) -> bool {
    ["listed", "applied"]
        .iter()
        .any(|kind| line[*kind]["metadata"]["name"] == name)
}

fn hello(command: &mut Command) -> &mut Command {
    command.arg("--plugin").arg(guest("hello_plugin"))
}

/// Files below a folder, by name.
fn files(folder: &Path) -> Vec<(String, String)> {
    let mut found: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read_to_string(entry.path()).unwrap())
        })
        .filter(|(name, _)| !name.starts_with('.'))
        .collect();
    found.sort();
    found
}

/// Runs it, and says that it ended well; its outputs.
#[track_caller]
fn ok(command: &mut Command) -> (String, String) {
    let (code, stdout, stderr) = run(command);
    assert_eq!(code, Some(0), "{stderr}");
    (stdout, stderr)
}

/// ConfigMaps of these names.
fn named(names: &[&str]) -> String {
    names
        .iter()
        .map(|name| {
            format!(
                "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: shop, labels: {{of: {name}}}}}\ndata: {{content: of-{name}}}\n"
            )
        })
        .collect()
}
