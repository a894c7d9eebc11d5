//! Cached stores through the native API (contract S6).

use std::time::Duration;

use haptic_cluster::{Fault, Rule, Verb, When};
use haptic_core::view::ReadError;
use haptic_host::{MemoryStore, Watcher, WatcherGroup};

use crate::bench::{Bench, config_maps};

fn gets(bench: &Bench) -> usize {
    let requests = bench.cluster.requests();
    requests.iter().filter(|r| r.verb == Verb::Get).count()
}

fn data(items: &[haptic_host::Item]) -> Vec<String> {
    let data = |item: &haptic_host::Item| {
        let object: serde_json::Value = item.parse().unwrap();
        format!("{} {}", item.name(), object["data"])
    };
    items.iter().map(data).collect()
}

#[tokio::test(start_paused = true)]
async fn s6_a_cached_store_names_its_objects_at_once_and_fetches_them_when_asked() {
    let bench = Bench::new(&["a", "b"]);
    let watch = config_maps().cached_for(Duration::from_secs(60));
    let watcher = Watcher::builder(&bench.access, watch).start().unwrap();
    watcher.wait_for_sync().await.unwrap();
    let store = watcher.store();
    let names: Vec<_> = store.list().iter().map(ToString::to_string).collect();
    assert_eq!(names, ["shop/a", "shop/b"]);
    let item = store.get_object("shop", "a").unwrap();
    assert_eq!((item.has_body(), item.json()), (false, ""));
    let error = item.parse::<serde_json::Value>().unwrap_err();
    let why = std::error::Error::source(&error).unwrap().to_string();
    assert!(why.contains("fetch it"), "{why}");
    assert!(matches!(
        store.snapshot().select(&["data"], &[]),
        Err(ReadError::Unavailable(_))
    ));
    assert_eq!(gets(&bench), 0);

    let all = store.fetch_all().await.unwrap();
    assert_eq!(all.len(), 2);
    let memory = Watcher::builder(&bench.access, config_maps())
        .start()
        .unwrap();
    memory.wait_for_sync().await.unwrap();
    let memory = memory.store();
    assert_eq!(data(&all), data(&memory.list()));
    let one = store.fetch(&["shop", "b"]).await.unwrap();
    assert_eq!(
        data(&one),
        data(&memory.fetch(&["shop", "b"]).await.unwrap())
    );
    let found = store.fetch_object("shop", "a").await.unwrap().unwrap();
    assert_eq!(found.json(), memory.get_object("shop", "a").unwrap().json());
    assert!(store.fetch_object("shop", "z").await.unwrap().is_none());
    let fields = ["metadata.name", "data"];
    assert_eq!(
        store.snapshot().fetch_columns(&fields, &[]).await,
        memory.snapshot().select(&fields, &[])
    );
    assert_eq!(gets(&bench), 2);
    let figures = store.cache().unwrap();
    assert_eq!((figures.misses, figures.hits, figures.held), (2, 4, 2));

    tokio::time::advance(Duration::from_secs(60)).await;
    store.fetch_all().await.unwrap();
    assert_eq!(gets(&bench), 4, "the TTL is over");
}

#[tokio::test(start_paused = true)]
async fn s6_a_callback_fetches_what_changed() {
    let bench = Bench::new(&["a"]);
    let (told, mut tales) = tokio::sync::mpsc::unbounded_channel();
    let group = WatcherGroup::builder(&bench.access)
        .watch(config_maps().named("cached").cached())
        .on_change(move |view, watch, _| {
            let told = told.clone();
            async move {
                let store = view.open(&watch)?;
                for change in store.changes() {
                    let (namespace, name) = (change.item.namespace(), change.item.name());
                    let item = store.fetch_object(namespace, name).await?;
                    told.send(data(&Vec::from_iter(item)))?;
                }
                Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
            }
        })
        .start()
        .unwrap();
    group.wait_for_sync().await.unwrap();
    bench.put("a", "second");
    let tale = tales.recv().await.unwrap().join(",");
    assert!(tale.contains("second"), "{tale}");
}

#[tokio::test(start_paused = true)]
async fn s6_what_cannot_be_fetched_is_an_error_and_the_next_read_tries_again() {
    let bench = Bench::new(&["a", "b"]);
    let watch = config_maps().cached();
    let watcher = Watcher::builder(&bench.access, watch).start().unwrap();
    watcher.wait_for_sync().await.unwrap();
    let when = When {
        name: Some("b".to_owned()),
        ..When::verbs([Verb::Get])
    };
    let end_streams = false;
    let faults = bench.cluster.faults();
    faults.add(Rule::new(when, Fault::Forbidden { end_streams }));
    let store = watcher.store();
    let error = store.fetch_all().await.unwrap_err().to_string();
    assert!(error.starts_with("configmaps shop/b: 403 "), "{error}");
    assert_eq!(store.fetch(&["shop", "a"]).await.unwrap().len(), 1);
    faults.clear();
    assert_eq!(store.fetch_all().await.unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn s6_a_watcher_keeps_so_many_bytes_of_bodies_as_it_is_told_to() {
    let names: Vec<String> = (0..20).map(|n| format!("m{n:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for (bytes, held) in [(0, 0..1), (5_000, 1..10), (1 << 20, 20..21)] {
        let bench = Bench::new(&names);
        let watcher = Watcher::builder(&bench.access, config_maps().cached())
            .cache_bytes(bytes)
            .start()
            .unwrap();
        let group = WatcherGroup::builder(&bench.access)
            .watch(config_maps().cached())
            .cache_bytes(bytes)
            .start()
            .unwrap();
        watcher.wait_for_sync().await.unwrap();
        group.wait_for_sync().await.unwrap();
        for store in [watcher.store(), group.store("configmaps").unwrap()] {
            assert_eq!(store.fetch_all().await.unwrap().len(), 20);
            let figures = store.cache().unwrap();
            assert!(held.contains(&figures.held), "{bytes}: {figures:?}");
            assert!(figures.held_bytes <= bytes, "{figures:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn s6_a_store_without_a_watch_fetches_from_itself() {
    let store = MemoryStore::builder("maps").build().unwrap();
    store
        .add_json(r#"{"metadata":{"namespace":"shop","name":"a"},"data":1}"#)
        .unwrap();
    assert_eq!(data(&store.fetch_all().await.unwrap()), ["a 1"]);
    assert_eq!(store.cache(), None);
}
