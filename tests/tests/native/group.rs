//! Several watches with one view (contract C6, S4).

use std::time::Duration;

use haptic_host::{ObjectEvent, ReadError, Watch, WatcherGroup};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::bench::{Bench, config_maps, story};

fn secret(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"namespace": "shop", "name": name},
    })
}

#[tokio::test(start_paused = true)]
async fn c6_the_barrier_waits_for_required_watches_only() {
    let bench = Bench::new(&["a"]);
    let (pen, mut story) = story();
    let group = WatcherGroup::builder(&bench.access)
        .watch(config_maps())
        .watch(Watch::new("v1", "secrets"))
        .watch(Watch::new("example.com/v1", "widgets").optional())
        .on_sync_complete(move |view, watch, count| {
            pen.write(format!("{watch} {count} {}", view.all_synced()));
            async {}
        })
        .start()
        .unwrap();
    assert!(!group.is_synced() && !group.view().all_synced());
    assert_eq!(group.wait_for_sync().await, Ok(1));
    assert!(group.is_synced() && group.view().all_synced());
    let mut told = [story.next().await, story.next().await];
    told.sort();
    assert!(told[0].starts_with("configmaps 1 "), "{told:?}");
    assert!(told[1].starts_with("secrets 0 "), "{told:?}");
    assert!(told.iter().any(|text| text.ends_with("true")), "{told:?}");
    let status = group.status();
    let synced: Vec<_> = status.iter().map(|(name, s)| (*name, s.synced)).collect();
    let expected = [("configmaps", true), ("secrets", true), ("widgets", false)];
    assert_eq!(synced, expected);
}

#[tokio::test(start_paused = true)]
async fn c6_a_required_kind_that_is_not_served_holds_the_barrier() {
    let bench = Bench::new(&["a"]);
    let group = WatcherGroup::builder(&bench.access)
        .watch(config_maps())
        .watch(Watch::new("example.com/v1", "widgets"))
        .start()
        .unwrap();
    let waited = tokio::time::timeout(Duration::from_secs(600), group.wait_for_sync()).await;
    assert!(waited.is_err() && !group.is_synced());
    assert_eq!(group.store("configmaps").unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn s4_a_callback_sees_all_stores_at_one_moment() {
    let bench = Bench::new(&["a"]);
    let (pen, mut story) = story();
    let group = WatcherGroup::builder(&bench.access)
        .watch(config_maps())
        .watch(Watch::new("v1", "secrets"))
        .on_change(move |view, watch, _| {
            let pen = pen.clone();
            async move {
                let before = view.open("secrets")?;
                sleep(Duration::from_secs(5)).await;
                let after = view.open("secrets")?;
                assert_eq!(before.revision(), after.revision());
                pen.write(format!("{watch} {}", after.len()));
                Ok::<_, ReadError>(())
            }
        })
        .start()
        .unwrap();
    group.wait_for_sync().await.unwrap();
    sleep(Duration::from_secs(5)).await;
    let older = group.view();
    bench.put("b", "first");
    sleep(Duration::from_secs(1)).await;
    bench.apply(&secret("s"));
    assert_eq!(story.next().await, "configmaps 0");
    assert_eq!(story.next().await, "secrets 1");
    assert!(older.open("secrets").unwrap().is_empty(), "immutable");
    assert_eq!(group.view().open("secrets").unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_group_has_single_objects_too() {
    let bench = Bench::new(&["settings"]);
    let (pen, mut story) = story();
    let settings = Watch::object("v1", "configmaps", "settings").namespace("shop");
    let group = WatcherGroup::builder(&bench.access)
        .watch(settings.named("settings"))
        .watch(Watch::new("v1", "secrets"))
        .on_event(move |view, watch, event| {
            let no_store = view.open(&watch).is_err();
            let ObjectEvent::Applied(object) = event else {
                panic!("{event:?}");
            };
            pen.write(format!("{watch} {object} {no_store}"));
            async {}
        })
        .start()
        .unwrap();
    assert_eq!(group.wait_for_sync().await, Ok(1));
    assert_eq!(story.next().await, "settings shop/settings true");
    assert_eq!(group.store("settings").unwrap().len(), 1);
    assert!(group.store("other").is_none());
}

#[tokio::test(start_paused = true)]
async fn two_watches_of_one_name_are_refused() {
    let bench = Bench::new(&[]);
    let twice = WatcherGroup::builder(&bench.access)
        .watch(config_maps())
        .watch(config_maps())
        .start();
    let text = twice.unwrap_err().to_string();
    assert_eq!(text, "watch \"configmaps\": a second watch of this name");
    let none = WatcherGroup::builder(&bench.access).start();
    let text = none.unwrap_err().to_string();
    assert_eq!(text, "group: has no watches: nothing would ever happen");
}
