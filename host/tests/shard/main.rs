//! Processes that share the objects of one cluster (docs/scale.md), as a user meets them: each holds
//! and renders its own part, and all of them together the whole.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod measure;
mod parts;
mod refusals;
#[path = "../support/mod.rs"]
mod support;

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::PathBuf,
};

use haptic_cluster::{Cluster, Options};
use serde_json::{Value, json};
use tempfile::TempDir;

use support::{Process, eventually, guest, host};

/// A cluster, and a folder for what hosts read and write.
struct Stage {
    cluster: Cluster,
    dir: TempDir,
    _runtime: tokio::runtime::Runtime,
}

impl Stage {
    fn new() -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let cluster = runtime
            .block_on(Cluster::start(Options::default()))
            .unwrap();
        fs::write(dir.path().join("kubeconfig"), cluster.kubeconfig()).unwrap();
        Self {
            cluster,
            dir,
            _runtime: runtime,
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A ConfigMap with this value in it.
    fn put(&self, namespace: &str, name: &str, value: &str) {
        let map = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"namespace": namespace, "name": name},
            "data": {"value": value},
        });
        self.cluster.apply(&map).unwrap();
    }

    /// hello, and the words that a test is about.
    fn host(&self, words: &[&str]) -> Host {
        let process = Process::start(
            host()
                .current_dir(self.dir.path())
                .args(["--kubeconfig", "kubeconfig", "--listen", "0", "--plugin"])
                .arg(guest("hello_plugin"))
                .args(words),
        );
        Host::of(process)
    }

    /// What was rendered to this folder: `namespace/name` of each ConfigMap.
    fn rendered(&self, output: &str) -> Option<BTreeSet<String>> {
        let text = fs::read_to_string(self.at(output).join("configmaps.txt")).ok()?;
        Some(text.lines().skip(1).map(str::to_owned).collect())
    }

    /// Waits until this was rendered.
    #[track_caller]
    fn renders(&self, output: &str, by: &Host, met: impl Fn(&BTreeSet<String>) -> bool) {
        eventually(&format!("{output} as expected"), || {
            match self.rendered(output) {
                Some(found) if met(&found) => Ok(()),
                found => Err(format!("{found:?}\n{}", by.process.log())),
            }
        });
    }
}

/// A running host, and where it shows itself.
struct Host {
    process: Process,
    address: String,
}

impl Host {
    fn of(process: Process) -> Self {
        let address = eventually("address", || {
            let log = process.log();
            let after = log.split_once("listening on http://");
            let address = after.and_then(|(_, rest)| rest.lines().next());
            address.map(|line| line.trim().to_owned()).ok_or(log)
        });
        Self { process, address }
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let address = &self.address;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    fn state(&self) -> Value {
        serde_json::from_str(&self.get("/debug/state")).unwrap()
    }

    /// The state, once it is ready.
    #[track_caller]
    fn synced(&self) -> Value {
        eventually("readiness", || {
            let state = self.state();
            match state["ready"] == true {
                true => Ok(state),
                false => Err(format!("{state:#}\n{}", self.process.log())),
            }
        })
    }
}

/// The watch of that name.
#[track_caller]
fn watch<'a>(state: &'a Value, name: &str) -> &'a Value {
    let mut watches = state["watches"].as_array().unwrap().iter();
    watches
        .find(|watch| watch["name"] == name)
        .unwrap_or_else(|| panic!("no watch {name}: {state:#}"))
}

/// A number of all streams of a watch.
fn traffic(watch: &Value, what: &str) -> u64 {
    let scopes = watch["scopes"].as_array().unwrap().iter();
    scopes
        .map(|scope| scope["traffic"][what].as_u64().unwrap())
        .sum()
}
