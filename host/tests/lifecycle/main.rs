//! How the command begins and how it ends, with plugins that misbehave: limits and grants as
//! an operator gives them, exit codes, signals.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cache;
mod grants;
mod limits;
mod once;
mod signals;

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// How long anything may take before a test gives up: far more than it needs on a
/// loaded machine.
const PATIENCE: Duration = Duration::from_secs(90);

const MAPS: &str = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: one, namespace: shop}
";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn guest(name: &str) -> PathBuf {
    let path = root()
        .join("target/guests/wasm32-wasip2/release")
        .join(format!("{name}.wasm"));
    assert!(
        path.is_file(),
        "{} is missing: run `make guests`",
        path.display()
    );
    path
}

fn host() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_haptic-host"));
    command
        .env_remove("KUBECONFIG")
        .env_remove("HAPTIC_LOG")
        .env("HAPTIC_CACHE_DIR", root().join("target/plugin-cache"))
        .stdin(Stdio::null());
    command
}

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

fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    (
        status.code(),
        String::from_utf8(stdout).unwrap(),
        String::from_utf8(stderr).unwrap(),
    )
}

/// The last error: what the user is told.
fn told(stderr: &str) -> &str {
    let found = stderr.strip_prefix("error: ");
    let found = found.or_else(|| Some(stderr.rsplit_once("\nerror: ")?.1));
    found.unwrap_or(stderr).trim_end()
}

/// A running process, and what it logs.
struct Process {
    child: Child,
    log: Arc<Mutex<String>>,
}

impl Process {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        std::thread::spawn({
            let log = Arc::clone(&log);
            move || {
                for line in lines.map_while(Result::ok) {
                    *log.lock().unwrap() += &(line + "\n");
                }
            }
        });
        Self { child, log }
    }

    fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    #[track_caller]
    fn logs(&self, text: &str) {
        eventually(text, || match self.log() {
            log if log.contains(text) => Ok(()),
            log => Err(log),
        });
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for its end; its exit code.
    #[track_caller]
    fn end(&mut self) -> Option<i32> {
        let mut code = None;
        eventually("the end", || match self.child.try_wait().unwrap() {
            Some(status) => {
                code = status.code();
                Ok(())
            }
            None => Err(self.log.lock().unwrap().clone()),
        });
        code
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Waits for something that another process brings about.
#[track_caller]
fn eventually(what: &str, mut met: impl FnMut() -> Result<(), String>) {
    let began = Instant::now();
    while let Err(found) = met() {
        assert!(began.elapsed() < PATIENCE, "no {what}:\n{found}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}
