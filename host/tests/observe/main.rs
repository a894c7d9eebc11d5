//! Seeing what a host does (contract V1, V2), from outside: a real host on an embedded
//! cluster, its endpoints, its log, and its page in a headless Chromium.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cdp;
mod endpoints;
mod log;
mod page;
#[path = "../support/mod.rs"]
mod support;

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use support::{guest, host};

/// How long anything may take before a test gives up: far more than it needs on a
/// loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A host with its folder; both end with the test.
struct Host {
    dir: TempDir,
    process: Child,
    url: String,
    log: Log,
}

/// What a host has logged so far.
type Log = Arc<Mutex<Vec<String>>>;

impl Host {
    /// Runs this configuration on a cluster of two ConfigMaps. A plugin is called what its
    /// file is: `files` are their names, each with the guest that it is.
    fn start(plugins: &str, files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, from) in files {
            fs::copy(guest(from), dir.path().join(format!("{name}.wasm"))).unwrap();
        }
        fs::create_dir(dir.path().join("cluster")).unwrap();
        fs::write(dir.path().join("config.yaml"), plugins).unwrap();
        put(dir.path(), "one");
        put(dir.path(), "two");
        let log = Log::default();
        let (process, url) = spawn(dir.path(), "127.0.0.1:0", &log);
        Self {
            dir,
            process,
            url,
            log,
        }
    }

    fn put(&self, name: &str) {
        put(self.dir.path(), name);
    }

    fn stop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again at the same address.
    fn again(&mut self) {
        let address = self.url.strip_prefix("http://").unwrap().to_owned();
        (self.process, _) = spawn(self.dir.path(), &address, &self.log);
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Puts a ConfigMap into the cluster.
fn put(dir: &Path, name: &str) {
    let map =
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: shop}}\n");
    fs::write(dir.join(format!("cluster/{name}.yaml")), map).unwrap();
}

fn spawn(dir: &Path, listen: &str, log: &Log) -> (Child, String) {
    let mut process = host()
        .current_dir(dir)
        .args(["--config", "config.yaml", "--manifests", "cluster"])
        .args(["--output", "out", "--listen", listen])
        .args(["--log-format", "json"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(process.stderr.take().unwrap()).lines();
    let (before, log) = (log.lock().unwrap().len(), Arc::clone(log));
    std::thread::spawn({
        let log = Arc::clone(&log);
        // Nobody may be waiting any more, but the pipe must not fill up.
        move || {
            for line in lines.map_while(Result::ok) {
                log.lock().unwrap().push(line);
            }
        }
    });
    let url = eventually("the host listening", || {
        let log = log.lock().unwrap();
        let line = log[before..]
            .iter()
            .find(|line| line.contains("listening on "))?;
        let (_, address) = line.split_once("listening on ")?;
        Some(address.split('"').next()?.to_owned())
    });
    (process, url)
}

/// Waits for a condition that another process brings about.
fn eventually<T>(what: &str, mut met: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = met() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "{what} did not happen");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// A host that runs hello alone.
fn hello() -> Host {
    let config = "plugins:\n  hello: {file: hello.wasm}\n";
    Host::start(config, &[("hello", "hello_plugin")])
}
