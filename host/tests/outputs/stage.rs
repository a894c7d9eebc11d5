//! A folder to render from and to, and kubectl beside it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::support::{Process, eventually, guest, host, maps};

/// A folder with the manifests of some ConfigMaps, which the hello example lists.
pub(crate) struct Stage {
    pub(crate) dir: TempDir,
}

impl Stage {
    pub(crate) fn new(count: usize) -> Self {
        let stage = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        stage.change(count);
        stage
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// That many ConfigMaps from here on.
    pub(crate) fn change(&self, count: usize) {
        fs::write(self.at("maps.yaml"), maps(count)).unwrap();
    }

    /// A host with the hello example on an embedded cluster of them, and its output in
    /// `out`.
    pub(crate) fn hello(&self) -> Command {
        let mut command = host();
        command
            .arg("--plugin")
            .arg(guest("hello_plugin"))
            .arg("--manifests")
            .arg(self.at("maps.yaml"))
            .arg("--output")
            .arg(self.at("out"))
            .current_dir(self.dir.path());
        command
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.at(name)).unwrap_or_default()
    }

    /// Waits until a file has this text.
    #[track_caller]
    pub(crate) fn reads(&self, name: &str, text: &str, by: &Process) {
        eventually(&format!("{text:?} in {name}"), || {
            match self.read(name) == text {
                true => Ok(()),
                false => Err(format!("{}\n{}", self.read(name), by.log())),
            }
        });
    }
}

/// Runs kubectl; what it printed, and whether it succeeded.
pub(crate) fn kubectl(kubeconfig: &Path, args: &[&str]) -> (bool, String) {
    let output = Command::new("kubectl")
        .env("HOME", kubeconfig.parent().unwrap())
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(args)
        .output()
        .unwrap();
    let printed = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(printed).unwrap())
}
