//! A host on an embedded cluster, with plugins of which tests make versions.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use haptic_cluster::{Cluster, Options};
use haptic_host::{
    access,
    config::{OnFailure, PluginConfig},
    observe::Server,
    output::{Occupancy, OutputTarget},
    plugin::{Limits, Runtime, RuntimeOptions},
    run::{self, Breaker, PluginRun, RunError, RunOptions},
};
use haptic_tests::component;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
};

/// How long anything may take before a test gives up: far more than it needs on a loaded
/// machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// The bytes of a version, with this number and behaviour.
pub(crate) fn version(number: u32, behaviour: &str) -> Vec<u8> {
    let component = Path::new("..").join(component("versions_guest"));
    let mut bytes = fs::read(component).expect("run `make guests`");
    let mark = versions_guest::MARK.as_bytes();
    let new = format!("versions-guest:{number:06}:{behaviour:.<16}");
    assert_eq!(new.len(), mark.len(), "{new}");
    patch(&mut bytes, mark, new.as_bytes());
    bytes
}

/// Overwrites some bytes wherever they stand.
pub(crate) fn patch(bytes: &mut [u8], old: &[u8], new: &[u8]) {
    let found: Vec<usize> = bytes
        .windows(old.len())
        .enumerate()
        .filter_map(|(at, window)| (window == old).then_some(at))
        .collect();
    assert!(!found.is_empty(), "the guest does not hold {old:?}");
    for at in found {
        bytes[at..at + new.len()].copy_from_slice(new);
    }
}

/// One plugin: its file has this name and holds these bytes.
pub(crate) struct Plugin {
    pub(crate) name: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) max_failures: u32,
    pub(crate) on_failure: OnFailure,
}

impl Plugin {
    pub(crate) fn new(name: &'static str, behaviour: &str) -> Self {
        Self {
            name,
            bytes: version(0, behaviour),
            max_failures: 7,
            on_failure: OnFailure::KeepLast,
        }
    }
}

pub(crate) struct Host {
    pub(crate) dir: TempDir,
    pub(crate) cluster: std::sync::Arc<Cluster>,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    run: JoinHandle<Result<(), RunError>>,
}

impl Host {
    pub(crate) async fn start(plugins: Vec<Plugin>, limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(format!("{name}.wasm"));
        for plugin in &plugins {
            fs::write(path(plugin.name), &plugin.bytes).unwrap();
        }
        let files = plugins.iter().map(|plugin| path(plugin.name)).collect();
        Self::start_from(dir, plugins, files, limits).await
    }

    /// The same with the files where they are.
    pub(crate) async fn start_from(
        dir: TempDir,
        plugins: Vec<Plugin>,
        files: Vec<PathBuf>,
        limits: Limits,
    ) -> Self {
        let cluster = Cluster::start(Options::default()).await.unwrap();
        let access = access::connect_url(&cluster.url(), "default").unwrap();
        let runtime = Runtime::new(&RuntimeOptions::default()).unwrap();
        let mut prepared = Vec::new();
        for (plugin, file) in plugins.into_iter().zip(files) {
            let run = PluginRun {
                plugin: runtime.compile(plugin.name, &plugin.bytes).unwrap(),
                file: Some(file),
                config: PluginConfig::default(),
                limits: limits.clone(),
                breaker: Breaker {
                    max_failures: NonZeroU32::new(plugin.max_failures).unwrap(),
                    on_failure: plugin.on_failure,
                },
                output: OutputTarget::Directory(dir.path().join("out").join(plugin.name)),
                occupancy: Occupancy::Alone,
                force_conflicts: false,
                hook: None,
                sha256: None,
                shard: None,
            };
            prepared.push(run::prepare(run, &access).await.unwrap());
        }
        let options = RunOptions {
            once: false,
            once_timeout: PATIENCE,
            diff: false,
            cache_bytes: 1 << 20,
            election: None,
            shard: None,
            reload: Some(runtime),
            record: None,
        };
        let server = Server::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
            .await
            .unwrap();
        let address = server.address();
        let (stop, stopped) = oneshot::channel::<()>();
        let run = run::run(access, prepared, options, Some(server), async {
            drop(stopped.await);
        });
        Self {
            dir,
            cluster: std::sync::Arc::new(cluster),
            address,
            stop: Some(stop),
            run: tokio::spawn(run),
        }
    }

    pub(crate) fn file(&self, plugin: &str) -> PathBuf {
        self.dir.path().join(format!("{plugin}.wasm"))
    }

    /// Replaces a plugin's file, whole, as a careful copy does.
    pub(crate) fn replace(&self, plugin: &str, bytes: &[u8]) {
        let temporary = self.dir.path().join("temporary");
        fs::write(&temporary, bytes).unwrap();
        fs::rename(temporary, self.file(plugin)).unwrap();
    }

    /// A ConfigMap with this number.
    pub(crate) fn apply(&self, name: &str, n: u32) {
        apply(&self.cluster, name, n);
    }

    /// The text of an output; `None`: it was not written.
    pub(crate) fn output(&self, plugin: &str, name: &str) -> Option<String> {
        read(self.dir.path(), plugin, name)
    }

    /// What a plugin knows: the number of its version, and objects with theirs.
    pub(crate) fn known(&self, plugin: &str) -> Option<Known> {
        Known::parse(&self.output(plugin, "known")?)
    }

    /// `GET path`, with the status and the body.
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }

    pub(crate) async fn state(&self) -> Value {
        serde_json::from_str(&self.get("/debug/state").await.1).unwrap()
    }

    /// The state of one plugin.
    pub(crate) async fn plugin(&self, name: &str) -> Value {
        let state = self.state().await;
        let plugins = state["plugins"].as_array().unwrap();
        let named = plugins.iter().find(|plugin| plugin["name"] == name);
        named.unwrap().clone()
    }

    /// Waits for what the host brings about.
    pub(crate) async fn until<T>(&self, what: &str, met: impl AsyncFnMut(&Self) -> Option<T>) -> T {
        let mut met = met;
        let began = Instant::now();
        loop {
            if let Some(found) = met(self).await {
                return found;
            }
            if began.elapsed() > PATIENCE {
                panic!("no {what}: {:#}", self.state().await);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until the plugin knows this object so.
    pub(crate) async fn knows(&self, plugin: &str, name: &str, n: u32) {
        let what = format!("{name}={n} in {plugin}");
        self.until(&what, async |host| {
            (host.known(plugin)?.objects.get(name) == Some(&n)).then_some(())
        })
        .await;
    }

    /// Waits until so many versions have taken over.
    pub(crate) async fn takes(&self, plugin: &str, versions: u32) -> Value {
        self.until("takeover", async |host| {
            let plugin = host.plugin(plugin).await;
            (plugin["reload"]["taken"] == versions).then_some(plugin)
        })
        .await
    }

    /// Asks it to stop, and waits for how it ends.
    pub(crate) async fn stop(mut self) -> Result<(), RunError> {
        drop(self.stop.take());
        self.run.await.unwrap()
    }

    /// Waits until it ends by itself.
    pub(crate) async fn end(self) -> Result<(), RunError> {
        let _stop = self.stop;
        tokio::time::timeout(PATIENCE, self.run)
            .await
            .expect("it goes on")
            .unwrap()
    }
}

fn read(dir: &Path, plugin: &str, name: &str) -> Option<String> {
    fs::read_to_string(dir.join("out").join(plugin).join(name)).ok()
}

pub(crate) fn apply(cluster: &Cluster, name: &str, n: u32) {
    let object = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"namespace": "default", "name": name},
        "data": {"n": n.to_string()},
    });
    cluster.apply(&object).unwrap();
}

/// An output `known`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) version: u32,
    pub(crate) objects: BTreeMap<String, u32>,
}

impl Known {
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let version = lines.next()?.split(' ').next()?.parse().ok()?;
        let objects = lines.filter_map(|line| {
            let (name, n) = line.split_once(' ')?;
            Some((name.to_owned(), n.parse().ok()?))
        });
        Some(Self {
            version,
            objects: objects.collect(),
        })
    }
}
