//! A cluster of ConfigMaps in a box, and callbacks that write down what they were told.

use std::{
    convert::Infallible,
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use haptic_cluster::{Clock, Cluster, Options};
use haptic_host::{Access, Change, ChangeKind, ChangeStats, Snapshot, Watch};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::{
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
    time::{Instant, timeout},
};

/// Virtual time in which everything that can happen by itself has happened.
const LONG: Duration = Duration::from_secs(3_600);

/// A cluster and how to reach it.
pub(crate) struct Bench {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) access: Access,
}

impl Bench {
    /// A cluster that has these ConfigMaps in the namespace `shop`.
    pub(crate) fn new(config_maps: &[&str]) -> Self {
        let options = Options {
            clock: Clock::Fixed(std::time::UNIX_EPOCH + Duration::from_secs(1_700_000_000)),
            seed: Some(1),
            ..Options::default()
        };
        let cluster = Arc::new(Cluster::detached(options).unwrap());
        let server = Arc::clone(&cluster);
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let server = Arc::clone(&server);
            async move {
                let (parts, body) = request.into_parts();
                let body: Bytes = body.collect().await?.to_bytes();
                let request = http::Request::from_parts(parts, body);
                Ok::<_, tower::BoxError>(server.call(request).await?)
            }
        });
        let mut access = Access::new(kube::Client::new(service, "shop"), "in-process");
        access.own_namespace = Some("shop".to_owned());
        access.loopback = true;
        let bench = Self { cluster, access };
        for name in config_maps {
            bench.put(name, "first");
        }
        bench
    }

    /// Writes a ConfigMap with that text in the namespace `shop`.
    pub(crate) fn put(&self, name: &str, text: &str) {
        self.apply(&config_map(name, text));
    }

    pub(crate) fn apply(&self, object: &Value) {
        self.cluster.apply(object).unwrap();
    }

    pub(crate) fn delete(&self, name: &str) {
        let (kind, namespace) = ("ConfigMap", Some("shop"));
        self.cluster.delete("v1", kind, namespace, name).unwrap();
    }
}

pub(crate) fn config_map(name: &str, text: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"namespace": "shop", "name": name},
        "data": {"text": text},
    })
}

/// All ConfigMaps of the namespace `shop`.
pub(crate) fn config_maps() -> Watch {
    Watch::new("v1", "configmaps").namespace("shop")
}

/// What happened, in the order in which it did.
pub(crate) struct Story {
    pages: UnboundedReceiver<String>,
    began: Instant,
}

/// Writes a [`Story`].
#[derive(Clone)]
pub(crate) struct Pen(UnboundedSender<String>);

pub(crate) fn story() -> (Pen, Story) {
    let (pen, pages) = mpsc::unbounded_channel();
    let began = Instant::now();
    (Pen(pen), Story { pages, began })
}

impl Pen {
    pub(crate) fn write(&self, text: impl Into<String>) {
        // A test that has read enough closes the book.
        let _closed = self.0.send(text.into());
    }
}

impl Story {
    /// What happens next.
    pub(crate) async fn next(&mut self) -> String {
        let page = timeout(LONG, self.pages.recv()).await;
        page.expect("nothing happens").expect("nobody writes")
    }

    /// What happens next, and how many milliseconds have passed since the beginning
    /// or the last [`Story::restart`].
    pub(crate) async fn next_at(&mut self) -> (String, u128) {
        let page = self.next().await;
        (page, self.began.elapsed().as_millis())
    }

    pub(crate) fn restart(&mut self) {
        self.began = Instant::now();
    }

    /// Nothing happens in the next hour.
    pub(crate) async fn is_over(&mut self) {
        if let Ok(Some(page)) = timeout(LONG, self.pages.recv()).await {
            panic!("something happens: {page}");
        }
    }
}

/// `sync 2: shop/a shop/b`.
pub(crate) fn synced(store: &Snapshot, count: usize) -> String {
    let mut text = format!("sync {count}:");
    for item in store.list() {
        write!(text, " {}", item.name()).unwrap();
    }
    text
}

/// `+1 ~0 -0: +a=first`, with `(initial)` while the store is not complete.
pub(crate) fn changed(store: &Snapshot, stats: ChangeStats) -> String {
    let changes = store.changes();
    let count = |kind| changes.iter().filter(|change| change.kind == kind).count();
    let counts = (
        count(ChangeKind::Created),
        count(ChangeKind::Modified),
        count(ChangeKind::Deleted),
    );
    let told = (stats.created, stats.modified, stats.deleted);
    assert_eq!(told, counts, "stats agree with changes()");
    let mut text = format!("+{} ~{} -{}", stats.created, stats.modified, stats.deleted);
    if stats.is_initial_sync {
        text += " (initial)";
    }
    text += ":";
    for Change { kind, item } in changes {
        let sign = match kind {
            ChangeKind::Created => '+',
            ChangeKind::Modified => '~',
            ChangeKind::Deleted => '-',
        };
        write!(text, " {sign}{}={}", item.name(), text_of(item.json())).unwrap();
    }
    text
}

/// `data.text` of a ConfigMap.
pub(crate) fn text_of(json: &str) -> String {
    let value: Value = serde_json::from_str(json).unwrap();
    value["data"]["text"].as_str().unwrap().to_owned()
}

/// A callback that fails as often as it is told to, and then succeeds.
#[derive(Clone)]
pub(crate) struct Flaky(Arc<AtomicUsize>);

impl Flaky {
    pub(crate) fn new(failures: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(failures)))
    }

    pub(crate) fn fail(&self, failures: usize) {
        self.0.store(failures, Ordering::SeqCst);
    }

    pub(crate) fn answer(&self) -> Result<(), String> {
        let step = |left: usize| left.checked_sub(1);
        match self
            .0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, step)
        {
            Ok(_) => Err("not today".to_owned()),
            Err(_) => Ok(()),
        }
    }
}

/// The answer of a callback that cannot fail.
pub(crate) fn ok() -> Result<(), Infallible> {
    Ok(())
}
