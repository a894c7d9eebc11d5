//! What the tests of the command share: the command and the guests, processes that end with
//! the test, and waiting for what they bring about.

#![allow(dead_code, reason = "each of the tests' programs takes what it needs")]

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// How long anything may take before a test gives up: far more than it needs on a loaded
/// machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

pub(crate) fn guest(name: &str) -> PathBuf {
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

/// `haptic-host`, away from what its user has configured.
pub(crate) fn host() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_haptic-host"));
    isolate(&mut command);
    command
}

pub(crate) fn isolate(command: &mut Command) {
    command
        .env_remove("KUBECONFIG")
        .env_remove("HAPTIC_LOG")
        .env_remove("POD_NAME")
        .env_remove("HAPTIC_SHARD")
        .env("HAPTIC_CACHE_DIR", root().join("target/plugin-cache"))
        .stdin(Stdio::null());
}

/// Runs a command to its end: exit code, standard output, standard error.
pub(crate) fn run(command: &mut Command) -> (Option<i32>, String, String) {
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

/// The last error on standard error: what the user is told.
pub(crate) fn told(stderr: &str) -> &str {
    let found = stderr.strip_prefix("error: ");
    let found = found.or_else(|| Some(stderr.rsplit_once("\nerror: ")?.1));
    found.unwrap_or(stderr).trim_end()
}

/// A running process, and what it writes to standard error.
pub(crate) struct Process {
    pub(crate) child: Child,
    log: Arc<Mutex<String>>,
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self::with_stdout(command, Stdio::null())
    }

    pub(crate) fn with_stdout(command: &mut Command, stdout: Stdio) -> Self {
        let mut child = command
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
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

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until it has written that many times what contains this.
    #[track_caller]
    pub(crate) fn logs(&self, text: &str, times: usize) {
        eventually(text, || match self.log().matches(text).count() >= times {
            true => Ok(()),
            false => Err(self.log()),
        });
    }

    /// Asks it to end; its exit code.
    #[track_caller]
    pub(crate) fn stop(&mut self) -> Option<i32> {
        self.signal("-TERM");
        self.ends()
    }

    #[track_caller]
    pub(crate) fn signal(&self, name: &str) {
        signal(name, self.child.id());
    }

    /// Waits for its end; its exit code.
    #[track_caller]
    pub(crate) fn ends(&mut self) -> Option<i32> {
        eventually("the end", || match self.child.try_wait().unwrap() {
            Some(status) => Ok(status.code()),
            None => Err(self.log.lock().unwrap().clone()),
        })
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[track_caller]
pub(crate) fn signal(signal: &str, pid: u32) {
    let sent = Command::new("kill")
        .args([signal, &pid.to_string()])
        .status();
    assert!(sent.unwrap().success(), "{signal} {pid}");
}

/// Waits for something that another process brings about.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut met: impl FnMut() -> Result<T, String>) -> T {
    let began = Instant::now();
    loop {
        match met() {
            Ok(found) => return found,
            Err(found) => assert!(began.elapsed() < PATIENCE, "no {what}:\n{found}"),
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// That many ConfigMaps.
pub(crate) fn maps(count: usize) -> String {
    (0..count)
        .map(|i| {
            format!(
                "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: m{i}, namespace: shop}}\n"
            )
        })
        .collect()
}

/// Serves manifests as a cluster, with its kubeconfig.
pub(crate) fn serve(manifests: &Path, kubeconfig: &Path) -> Process {
    serve_with(manifests, kubeconfig, &[])
}

pub(crate) fn serve_with(manifests: &Path, kubeconfig: &Path, more: &[&str]) -> Process {
    let cluster = Process::start(
        host()
            .arg("cluster")
            .arg("--manifests")
            .arg(manifests)
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .args(more),
    );
    eventually("kubeconfig", || match kubeconfig.is_file() {
        true => Ok(()),
        false => Err(cluster.log()),
    });
    cluster
}
