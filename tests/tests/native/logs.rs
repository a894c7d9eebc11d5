//! What the log says: once, and enough to act on (contract W8, W9).

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use haptic_cluster::{Fault, Rule, Verb, When};
use haptic_host::{Watch, Watcher};
use serde_json::json;
use tokio::time::sleep;
use tracing::subscriber::DefaultGuard;

use crate::bench::{Bench, config_maps};

/// What is logged on this thread, from INFO on.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn start() -> (Self, DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .without_time()
            .with_max_level(tracing::Level::INFO)
            .with_writer(move || writer.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    /// The lines with this text.
    fn lines(&self, text: &str) -> Vec<String> {
        let log = self.0.lock().unwrap().clone();
        let log = String::from_utf8(log).unwrap();
        let lines = log.lines().filter(|line| line.contains(text));
        lines.map(str::to_owned).collect()
    }
}

async fn until(watcher: &Watcher, word: &str) {
    let mut states = watcher.states();
    let found = states.wait_for(|state| state.as_str() == word);
    drop(found.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn w9_a_state_is_logged_once_however_often_it_is_tried_again() {
    let (log, _guard) = Log::start();
    let bench = Bench::new(&["a"]);
    let faults = bench.cluster.faults();
    let rights = When::verbs([Verb::List, Verb::StreamingList, Verb::Watch]);
    let rule = faults.add(Rule::new(rights, Fault::Forbidden { end_streams: true }));
    let watcher = Watcher::builder(&bench.access, config_maps())
        .start()
        .unwrap();
    until(&watcher, "forbidden").await;
    sleep(Duration::from_secs(1_800)).await;
    let tried = bench.cluster.requests().len();
    assert!(tried > 50, "{tried}");
    faults.remove(rule);
    until(&watcher, "synced").await;
    sleep(Duration::from_secs(1_800)).await;
    for (text, level) in [
        ("not allowed to list configmaps in namespace shop", "WARN"),
        ("synced", "INFO"),
    ] {
        let lines = log.lines(text);
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert!(lines[0].contains(level), "{lines:?}");
        assert!(lines[0].contains("watch=\"configmaps\""), "{lines:?}");
    }
    // And why, in the server's words, as often.
    let why = log.lines("cannot list configmaps in namespace shop: HTTP 403: ");
    assert_eq!(why.len(), 1, "{why:#?}");
    assert!(log.lines("").len() <= 5, "{:#?}", log.lines(""));
}

#[tokio::test(start_paused = true)]
async fn w8_an_undecodable_object_is_logged_once_with_its_name_and_why() {
    let (log, _guard) = Log::start();
    let bench = Bench::new(&["a"]);
    let watch = config_maps().index_by(["data.*"]);
    let watcher = Watcher::builder(&bench.access, watch).start().unwrap();
    watcher.wait_for_sync().await.unwrap();
    // More keys than an index takes of one object.
    let large = |value: &str| {
        let mut data = serde_json::Map::new();
        data.extend((0..5_000).map(|n| (format!("k{n}"), json!(format!("{value}{n}")))));
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"namespace": "shop", "name": "large"},
            "data": data,
        })
    };
    for value in ["v", "w", "x"] {
        bench.apply(&large(value));
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(watcher.status().quarantined, 3);
    assert_eq!(watcher.store().len(), 1);
    let lines = log.lines("cannot be read");
    assert_eq!(lines.len(), 1, "{lines:#?}");
    for text in [
        "WARN",
        "watch=\"configmaps\"",
        "shop/large",
        "more than 4096 keys or 1048576 bytes of them in index 0",
    ] {
        assert!(lines[0].contains(text), "{text}: {lines:?}");
    }
    // The stream went on, and so does the object when it can be read.
    bench.put("large", "small");
    bench.put("b", "first");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(watcher.store().len(), 3);
    assert_eq!(watcher.store().get(&["small"]).unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn r3_a_callback_that_fails_is_logged_with_its_error() {
    let (log, _guard) = Log::start();
    let bench = Bench::new(&["settings"]);
    let settings = Watch::object("v1", "configmaps", "settings").namespace("shop");
    let flaky = crate::bench::Flaky::new(2);
    let watcher = haptic_host::SingleWatcher::builder(&bench.access, settings)
        .on_event(move |_| {
            let answer = flaky.answer();
            async { answer }
        })
        .start()
        .unwrap();
    watcher.wait_for_sync().await.unwrap();
    sleep(Duration::from_secs(60)).await;
    let lines = log.lines("not today");
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines[0].contains("ERROR"), "{lines:?}");
    assert!(lines[0].contains("watch=configmaps"), "{lines:?}");
}
