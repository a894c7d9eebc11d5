//! Processes that end with the test, and waiting for what they bring about.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tempfile::TempDir;

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
        .env("HAPTIC_CACHE_DIR", root().join("target/plugin-cache"))
        .stdin(Stdio::null());
}

/// A running process, and what it writes to standard error.
pub(crate) struct Process {
    pub(crate) child: Child,
    log: Arc<Mutex<String>>,
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::null())
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
        signal("-TERM", self.child.id());
        self.ends()
    }

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
