//! How the command begins and how it ends, with plugins that misbehave: limits and grants as
//! an operator gives them, exit codes, signals.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cache;
mod grants;
mod limits;
mod once;
mod signals;

#[path = "../support/mod.rs"]
mod support;

use std::{fs, path::PathBuf, process::Command};

use tempfile::TempDir;

use support::{guest, host};

const MAPS: &str = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: one, namespace: shop}
";

/// A folder with a ConfigMap to watch and a configuration of one plugin.
struct Stage(TempDir);

impl Stage {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("maps.yaml"), MAPS).unwrap();
        Self(dir)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The guest that misbehaves at its first sync, as a mode says, with these other fields of
    /// its configuration.
    fn configure(&self, mode: &str, more: &str) -> PathBuf {
        let path = self.at("config.yaml");
        let file = guest("test_guests");
        let text = format!(
            "plugins:\n  hostile:\n    file: {}\n    settings: {{mode: {mode}, atSync: true}}\n{more}",
            file.display()
        );
        fs::write(&path, text).unwrap();
        path
    }

    /// The command for it on an embedded cluster.
    fn command(&self, mode: &str, more: &str) -> Command {
        let mut command = host();
        command
            .arg("--config")
            .arg(self.configure(mode, more))
            .arg("--manifests")
            .arg(self.at("maps.yaml"))
            .arg("--output")
            .arg(self.at("out"));
        command
    }

    fn written(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.at("out").join(name)).ok()
    }
}
