//! Reading and writing stores (contract S1 to S3).

use std::{sync::Arc, thread};

use haptic_host::{ChangeKind, MemoryStore, ReadError, Store, Watch, WatchState, Watcher};
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

use crate::bench::{Bench, config_map, config_maps, text_of};

fn service(name: &str, uid: &str, app: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"namespace": "shop", "name": name, "uid": uid, "labels": {"app": app}},
        "spec": {"ports": [{"port": 80}, {"port": 443}]},
    })
}

fn services() -> MemoryStore {
    MemoryStore::builder("services")
        .index_by(["metadata.labels.app", "metadata.name"])
        .index("by-port", ["spec.ports[*].port"])
        .build()
        .unwrap()
}

fn names(items: &[haptic_host::Item]) -> Vec<&str> {
    items.iter().map(haptic_host::Item::name).collect()
}

#[test]
fn s1_a_store_is_written_and_read() {
    let store = services();
    assert!(store.is_empty());
    assert!(store.add(&service("web", "u1", "web")).unwrap());
    assert!(
        !store.add(&service("web", "u1", "web")).unwrap(),
        "nothing new"
    );
    assert!(store.update(&service("api", "u2", "web")).unwrap());
    let found = store.get(&["web", "api"]).unwrap();
    assert_eq!(names(&found), ["api"]);
    assert_eq!(names(&store.get(&["web"]).unwrap()), ["api", "web"], "I5");
    assert_eq!(
        names(&store.get_by("by-port", &["443"]).unwrap()),
        ["api", "web"]
    );
    assert_eq!(store.get_object("shop", "web").unwrap().uid(), "u1");
    assert_eq!((store.len(), store.revision()), (2, 2));
    assert_eq!(names(&store.list()), ["api", "web"]);
    assert_eq!(
        store.snapshot().select(&["metadata.name"], &[]).unwrap(),
        r#"[["api","web"]]"#
    );
    assert_eq!(store.delete("shop", "api").unwrap().unwrap().name(), "api");
    assert!(store.delete("shop", "api").unwrap().is_none());
    store.clear();
    assert_eq!((store.len(), store.revision()), (0, 4));
    assert_eq!(store.freshness().state, WatchState::Synced);
}

#[test]
fn s1_wrong_reads_and_writes_are_typed_errors_and_change_nothing() {
    let store = services();
    store.add(&service("web", "u1", "web")).unwrap();
    assert!(matches!(store.get(&[]), Err(ReadError::InvalidKeys(_))));
    assert!(matches!(
        store.get(&["a", "b", "c"]),
        Err(ReadError::InvalidKeys(_))
    ));
    let no_index = store.get_by("by-host", &["a"]).unwrap_err();
    assert_eq!(no_index, ReadError::NoSuchIndex("by-host".to_owned()));
    for bad in [
        "{",
        "[]",
        "7",
        r#"{"metadata":{}}"#,
        "{\"metadata\":{\"name\":\"\\u0000\"}}",
    ] {
        assert!(store.add_json(bad).is_err(), "{bad}");
    }
    assert!(store.delete("shop", "").is_err());
    assert_eq!(names(&store.list()), ["web"]);
    assert!(store.get_object("shop", "").is_none());
}

#[test]
fn i2_all_wrong_paths_of_a_store_are_told_at_once() {
    let refused = MemoryStore::builder("s")
        .index_by(["a..["])
        .ignore_fields(["{range .items}"])
        .build()
        .unwrap_err();
    assert_eq!(refused.0.len(), 2, "{refused}");
}

#[test]
fn s1_readers_and_writers_in_many_threads() {
    let store = Arc::new(services());
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let store = Arc::clone(&store);
            thread::spawn(move || {
                for n in 0..250 {
                    let name = format!("s{}", n % 10);
                    let app = format!("app{writer}");
                    if n % 5 == 4 {
                        store.delete("shop", &name).unwrap();
                    } else {
                        store.add(&service(&name, "u", &app)).unwrap();
                    }
                }
            })
        })
        .collect();
    let reader: Store = store.store().clone();
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let reader = reader.clone();
            thread::spawn(move || {
                let mut last = 0;
                for _ in 0..2_000 {
                    let snapshot = reader.snapshot();
                    assert!(snapshot.revision() >= last);
                    last = snapshot.revision();
                    let indexed: usize = (0..4)
                        .map(|app| snapshot.get(&[&format!("app{app}")]).unwrap().len())
                        .sum();
                    assert_eq!(indexed, snapshot.len(), "an index of another moment");
                }
            })
        })
        .collect();
    for thread in writers.into_iter().chain(readers) {
        thread.join().unwrap();
    }
    store.clear();
    assert!(reader.is_empty());
}

#[test]
fn s2_an_update_moves_the_object_and_a_delete_leaves_its_siblings() {
    let store = services();
    store.add(&service("a", "u1", "web")).unwrap();
    store.add(&service("b", "u2", "web")).unwrap();
    store.update(&service("a", "u1", "api")).unwrap();
    assert_eq!(names(&store.get(&["api"]).unwrap()), ["a"]);
    assert_eq!(names(&store.get(&["web"]).unwrap()), ["b"]);
    store.add(&service("c", "u3", "web")).unwrap();
    store.delete("shop", "c").unwrap();
    assert_eq!(names(&store.get(&["web"]).unwrap()), ["b"]);
}

#[tokio::test(start_paused = true)]
async fn s2_a_recreated_object_is_one_deleted_and_one_created() {
    let bench = Bench::new(&["a"]);
    let (told, mut changes) = tokio::sync::mpsc::unbounded_channel();
    let watcher = Watcher::builder(&bench.access, config_maps())
        .on_change(move |store, stats| {
            let kinds: Vec<_> = store.changes().iter().map(|change| change.kind).collect();
            told.send((kinds, stats.deleted, stats.created)).unwrap();
            async {}
        })
        .start()
        .unwrap();
    watcher.wait_for_sync().await.unwrap();
    let uid = watcher
        .store()
        .get_object("shop", "a")
        .unwrap()
        .uid()
        .to_owned();
    bench.delete("a");
    bench.put("a", "first");
    let expected = (vec![ChangeKind::Deleted, ChangeKind::Created], 1, 1);
    assert_eq!(changes.recv().await.unwrap(), expected);
    assert_ne!(watcher.store().get_object("shop", "a").unwrap().uid(), uid);
}

#[tokio::test(start_paused = true)]
async fn s3_reads_come_in_the_order_of_namespace_and_name() {
    let bench = Bench::new(&["c", "a", "b"]);
    for (namespace, name) in [("left", "z"), ("zoo", "a"), ("left", "a")] {
        let mut object = config_map(name, "first");
        object["metadata"]["namespace"] = json!(namespace);
        bench.apply(&object);
    }
    let watch = Watch::new("v1", "configmaps").index_by(["data.text"]);
    let watcher = Watcher::builder(&bench.access, watch).start().unwrap();
    watcher.wait_for_sync().await.unwrap();
    let store = watcher.store();
    let order = ["left/a", "left/z", "shop/a", "shop/b", "shop/c", "zoo/a"];
    let words = |items: Vec<haptic_host::Item>| -> Vec<String> {
        items.iter().map(ToString::to_string).collect()
    };
    assert_eq!(words(store.list()), order);
    assert_eq!(words(store.get(&["first"]).unwrap()), order);
}

#[tokio::test(start_paused = true)]
async fn s4_a_snapshot_is_immutable_and_tells_how_up_to_date_it_is() {
    let bench = Bench::new(&["a"]);
    let watcher = Watcher::builder(&bench.access, config_maps())
        .start()
        .unwrap();
    let empty = watcher.store().snapshot();
    assert_eq!((empty.len(), empty.revision()), (0, 0));
    assert_eq!(empty.freshness().state, WatchState::Discovering);
    watcher.wait_for_sync().await.unwrap();
    let full = watcher.store().snapshot();
    assert_eq!(full.freshness().state, WatchState::Synced);
    bench.put("a", "second");
    bench.put("b", "first");
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(empty.len(), 0);
    assert_eq!(text_of(full.list()[0].json()), "first");
    assert!(watcher.store().revision() > full.revision());
    assert_eq!(watcher.store().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn objects_are_read_as_types() {
    let bench = Bench::new(&["a"]);
    let watch = config_maps().ignore_fields(["metadata.managedFields"]);
    let watcher = Watcher::builder(&bench.access, watch).start().unwrap();
    watcher.wait_for_sync().await.unwrap();
    let item = watcher.store().get_object("shop", "a").unwrap();
    let typed: ConfigMap = item.parse().unwrap();
    assert_eq!(typed.metadata.name.as_deref(), Some("a"));
    assert_eq!(
        typed.metadata.resource_version.as_deref(),
        Some(item.resource_version())
    );
    assert!(typed.metadata.managed_fields.is_none());
    let error = item.parse::<Vec<u8>>().unwrap_err();
    assert_eq!(error.to_string(), "object shop/a is no alloc::vec::Vec<u8>");
    let again = services();
    assert!(again.add(&typed).unwrap(), "and written as types");
}
