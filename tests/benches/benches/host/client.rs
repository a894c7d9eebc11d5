//! The clients, each a process of its own that follows a collection: ours, and kube's reflector.
//! One takes orders from its standard input, a line each, and answers each with a line of JSON.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use haptic_benches::{
    data::{Kind, name, namespace},
    process::{self, Memory},
};
use haptic_host::{Watch, Watcher};
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind};
use kube_runtime::{WatchStreamExt, reflector, watcher};
use serde::{Deserialize, Serialize};

/// Which client, and how it is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Client {
    /// Ours, without managedFields.
    Haptic,
    /// Ours, with eight fields and nothing else.
    HapticFields,
    /// kube's watcher and reflector of `DynamicObject`s, as its examples have them.
    Kube,
    /// The same, with managedFields removed before the store gets them.
    KubeStripped,
}

impl Client {
    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Self::Haptic | Self::HapticFields)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Haptic => "haptic",
            Self::HapticFields => "haptic, 8 fields",
            Self::Kube => "kube-rs reflector",
            Self::KubeStripped => "kube-rs reflector, no managedFields",
        }
    }
}

/// What a client is to do, as its one argument says in JSON.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Task {
    client: Client,
    url: String,
    kind: String,
    /// Whether kube is to ask for a streaming list. We ask for one in any case.
    streaming: bool,
}

/// How a client is.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Status {
    /// CPU time when everything had arrived.
    pub(crate) synced: Option<Duration>,
    /// Time since the process began, then.
    pub(crate) synced_after: Option<Duration>,
    pub(crate) objects: usize,
    /// Changes that were reported after the first sync.
    pub(crate) changes: usize,
    pub(crate) cpu: Duration,
    /// The version of the object that was asked for.
    pub(crate) version: u64,
}

/// A client that runs.
pub(crate) struct Running {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Running {
    pub(crate) fn start(client: Client, kind: Kind, url: &str, streaming: bool) -> Self {
        let task = Task {
            client,
            url: url.to_owned(),
            kind: kind.name().to_owned(),
            streaming,
        };
        let mut child = Command::new(std::env::current_exe().unwrap())
            .env(crate::ROLE, "client")
            .arg(serde_json::to_string(&task).unwrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self {
            child,
            orders,
            answers,
        }
    }

    fn ask<T: for<'de> Deserialize<'de>>(&mut self, order: &str) -> T {
        writeln!(self.orders, "{order}").expect("the client is gone");
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        serde_json::from_str(&line).expect("the client died")
    }

    /// How it is, and the version that it has of an object.
    pub(crate) fn status(&mut self, number: usize) -> Status {
        self.ask(&format!("status {number}"))
    }

    pub(crate) fn memory(&mut self) -> Memory {
        self.ask("memory")
    }

    /// What is resident now becomes the peak.
    pub(crate) fn reset_peak(&mut self) {
        self.ask::<bool>("reset-peak");
    }

    pub(crate) fn wait_for_sync(&mut self) -> Status {
        self.wait(|status| status.synced.is_some())
    }

    /// Waits until it has this version of an object.
    pub(crate) fn wait_for(&mut self, number: usize, version: u64) -> Status {
        let limit = Instant::now() + PATIENCE;
        loop {
            let status = self.status(number);
            if status.version >= version {
                return status;
            }
            assert!(
                Instant::now() < limit,
                "no sign of version {version}: {status:?}"
            );
            std::thread::sleep(POLL);
        }
    }

    fn wait(&mut self, is_enough: impl Fn(&Status) -> bool) -> Status {
        let limit = Instant::now() + PATIENCE;
        loop {
            let status = self.status(0);
            if is_enough(&status) {
                return status;
            }
            assert!(Instant::now() < limit, "it takes too long: {status:?}");
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may be dead already, which is what we want.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

const PATIENCE: Duration = Duration::from_secs(600);
/// Seldom enough that answering costs a client nothing that could be seen.
const POLL: Duration = Duration::from_millis(20);

/// What a client's store answers orders with.
trait Follows: Send + Sync {
    fn objects(&self) -> usize;
    fn version(&self, namespace: &str, name: &str) -> Option<String>;
}

struct Haptic(haptic_host::Store);

impl Follows for Haptic {
    fn objects(&self) -> usize {
        self.0.len()
    }
    fn version(&self, namespace: &str, name: &str) -> Option<String> {
        let object = self.0.get_object(namespace, name)?;
        Some(object.resource_version().to_owned())
    }
}

struct Kube(reflector::Store<DynamicObject>, ApiResource);

impl Follows for Kube {
    fn objects(&self) -> usize {
        self.0.len()
    }
    fn version(&self, namespace: &str, name: &str) -> Option<String> {
        let key = reflector::ObjectRef::new_with(name, self.1.clone()).within(namespace);
        self.0.get(&key)?.metadata.resource_version.clone()
    }
}

/// What the tasks of a client tell the thread that answers.
#[derive(Default)]
struct Board {
    store: OnceLock<Box<dyn Follows>>,
    synced: OnceLock<(Duration, Duration)>,
    changes: AtomicUsize,
}

impl Board {
    fn sync(&self, began: Instant) {
        // Of several syncs the first counts.
        _ = self.synced.set((process::cpu(), began.elapsed()));
    }
}

/// The process of a client.
pub(crate) fn run(task: &str) {
    let began = Instant::now();
    let task: Task = serde_json::from_str(task).unwrap();
    let board = Arc::new(Board::default());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let told = Arc::clone(&board);
    runtime.spawn(async move {
        if task.client.is_ours() {
            haptic(task, told, began).await;
        } else {
            kube(task, told, began).await;
        }
    });
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let answer = match line.split_once(' ').unwrap_or((&line, "")) {
            ("status", number) => {
                let number = number.parse().unwrap();
                serde_json::to_string(&status(&board, number))
            }
            ("memory", _) => serde_json::to_string(&process::memory().unwrap()),
            ("reset-peak", _) => {
                process::reset_peak().unwrap();
                serde_json::to_string(&true)
            }
            _ => panic!("an order that nobody gives: {line}"),
        };
        println!("{}", answer.unwrap());
    }
    // Whoever gave the orders is gone; what follows the collection is not waited for.
    std::process::exit(0);
}

fn status(board: &Board, number: usize) -> Status {
    let store = board.store.get();
    let version = store.and_then(|store| store.version(&namespace(number), &name(number)));
    Status {
        synced: board.synced.get().map(|(cpu, _)| *cpu),
        synced_after: board.synced.get().map(|(_, after)| *after),
        objects: store.map_or(0, |store| store.objects()),
        changes: board.changes.load(Relaxed),
        cpu: process::cpu(),
        version: version.map_or(0, |version| version.parse().unwrap()),
    }
}

async fn haptic(task: Task, board: Arc<Board>, began: Instant) {
    let access = haptic_host::access::connect_url(&task.url, "default").unwrap();
    let kind = crate::kind(&task.kind);
    let mut watch = Watch::new(kind.api_version(), kind.plural());
    watch = match task.client {
        Client::HapticFields => watch.keep_fields(kind.fields().iter().copied()),
        Client::Haptic | Client::Kube | Client::KubeStripped => {
            watch.ignore_fields(["metadata.managedFields"])
        }
    };
    let told = Arc::clone(&board);
    let watcher = Watcher::builder(&access, watch)
        .on_change(move |_store, stats| {
            let changed = stats.created + stats.modified + stats.deleted;
            told.changes.fetch_add(changed, Relaxed);
            async {}
        })
        .start()
        .unwrap();
    _ = board.store.set(Box::new(Haptic(watcher.store())));
    watcher.wait_for_sync().await.unwrap();
    board.sync(began);
    std::future::pending::<()>().await;
}

async fn kube(task: Task, board: Arc<Board>, began: Instant) {
    let client = kube::Client::try_from(kube::Config::new(task.url.parse().unwrap())).unwrap();
    let kind = crate::kind(&task.kind);
    let (group, version) = kind
        .api_version()
        .rsplit_once('/')
        .unwrap_or(("", kind.api_version()));
    let gvk = GroupVersionKind::gvk(group, version, kind.name());
    let resource = ApiResource::from_gvk_with_plural(&gvk, kind.plural());
    let api: Api<DynamicObject> = Api::all_with(client, &resource);
    let writer = reflector::store::Writer::new(resource.clone());
    _ = board
        .store
        .set(Box::new(Kube(writer.as_reader(), resource)));
    let config = match task.streaming {
        true => watcher::Config::default().streaming_lists(),
        false => watcher::Config::default(),
    };
    let events = watcher(api, config).default_backoff();
    if task.client == Client::KubeStripped {
        let events = events.modify(|object| object.metadata.managed_fields = None);
        follow(reflector(writer, events), &board, began).await;
    } else {
        follow(reflector(writer, events), &board, began).await;
    }
}

async fn follow(
    events: impl futures_util::Stream<Item = watcher::Result<watcher::Event<DynamicObject>>>,
    board: &Board,
    began: Instant,
) {
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::InitDone) => board.sync(began),
            Ok(watcher::Event::InitApply(_)) if board.synced.get().is_none() => {}
            Ok(watcher::Event::Init) => {}
            Ok(
                watcher::Event::InitApply(_) | watcher::Event::Apply(_) | watcher::Event::Delete(_),
            ) => {
                board.changes.fetch_add(1, Relaxed);
            }
            // An expired version is one; the watcher lists again.
            Err(_) => {}
        }
    }
}
