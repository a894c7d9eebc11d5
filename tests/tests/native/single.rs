//! The watch of one object (contract R).

use std::time::Duration;

use haptic_cluster::{Fault, Rule, Verb, When};
use haptic_host::{ObjectEvent, SingleWatcher, Watch};
use serde_json::json;

use crate::bench::{Bench, Flaky, Story, config_map, story, text_of};

fn settings() -> Watch {
    Watch::object("v1", "configmaps", "settings").namespace("shop")
}

fn words(event: &ObjectEvent) -> String {
    match event {
        ObjectEvent::Applied(object) => format!("applied {}", text_of(object.json())),
        ObjectEvent::Deleted(object) => format!("deleted {}", text_of(object.json())),
        ObjectEvent::Absent => "absent".to_owned(),
    }
}

fn telling(bench: &Bench) -> (SingleWatcher, Story, Flaky) {
    let (pen, story) = story();
    let flaky = Flaky::new(0);
    let answers = flaky.clone();
    let watcher = SingleWatcher::builder(&bench.access, settings())
        .on_event(move |event| {
            pen.write(words(&event));
            let answer = answers.answer();
            async { answer }
        })
        .start()
        .unwrap();
    (watcher, story, flaky)
}

#[tokio::test(start_paused = true)]
async fn r1_the_object_is_told_at_sync_and_then_without_debouncing() {
    let bench = Bench::new(&["settings", "other"]);
    let (watcher, mut story, _) = telling(&bench);
    let object = watcher.wait_for_sync().await.unwrap().unwrap();
    assert_eq!(object.to_string(), "shop/settings");
    assert_eq!(story.next().await, "applied first");
    story.restart();
    for n in 0..5 {
        bench.put("settings", &n.to_string());
        assert_eq!(story.next_at().await, (format!("applied {n}"), 0));
    }
    bench.put("other", "second");
    story.is_over().await;
    assert_eq!(text_of(watcher.object().unwrap().json()), "4");
}

#[tokio::test(start_paused = true)]
async fn r1_absence_is_told_at_sync() {
    let bench = Bench::new(&["other"]);
    let (watcher, mut story, _) = telling(&bench);
    assert!(watcher.wait_for_sync().await.unwrap().is_none());
    assert!(watcher.is_synced());
    assert_eq!(story.next().await, "absent");
    bench.put("settings", "born");
    assert_eq!(story.next().await, "applied born");
}

#[tokio::test(start_paused = true)]
async fn r1_a_watch_of_one_object_has_no_index_and_no_debounce() {
    let bench = Bench::new(&[]);
    let watch = settings()
        .index_by(["metadata.name"])
        .debounce(Duration::ZERO);
    let refused = SingleWatcher::builder(&bench.access, watch).start();
    assert_eq!(
        refused.unwrap_err().to_string(),
        "watch \"configmaps\", index-by: one object needs no index\n\
         watch \"configmaps\", debounce-ms: a watch of one object is not debounced"
    );
    let refused = SingleWatcher::builder(&bench.access, Watch::new("v1", "configmaps")).start();
    assert!(refused.is_err());
}

#[tokio::test(start_paused = true)]
async fn r2_deleted_carries_the_last_object() {
    let bench = Bench::new(&["settings"]);
    let (watcher, mut story, _) = telling(&bench);
    assert_eq!(story.next().await, "applied first");
    bench.put("settings", "last");
    assert_eq!(story.next().await, "applied last");
    bench.delete("settings");
    assert_eq!(story.next().await, "deleted last");
    assert!(watcher.object().is_none());
    bench.put("settings", "again");
    assert_eq!(story.next().await, "applied again");
    story.is_over().await;
}

#[tokio::test(start_paused = true)]
async fn r2_changes_without_a_generation_are_told_and_equal_versions_are_not() {
    let bench = Bench::new(&["settings"]);
    let (_watcher, mut story, _) = telling(&bench);
    assert_eq!(story.next().await, "applied first");
    let object = bench
        .cluster
        .get("v1", "ConfigMap", Some("shop"), "settings");
    assert!(object.unwrap()["metadata"]["generation"].is_null());
    bench.put("settings", "second");
    assert_eq!(story.next().await, "applied second");
    // A relist brings the same version again.
    bench.cluster.clear_requests();
    let gone = Rule::new(When::verbs([Verb::Watch]), Fault::Expired { after: None });
    bench.cluster.faults().add(gone.times(1));
    bench.cluster.faults().end_streams(&When::any());
    bench.cluster.compact();
    story.is_over().await;
    let asked = bench.cluster.requests();
    let relists = asked.iter().filter(|r| r.verb == Verb::StreamingList);
    assert_eq!(relists.count(), 1);
    bench.put("settings", "third");
    assert_eq!(story.next().await, "applied third");
}

#[tokio::test(start_paused = true)]
async fn r3_a_failed_event_comes_again_and_newer_ones_replace_it() {
    let bench = Bench::new(&["settings"]);
    let (_watcher, mut story, flaky) = telling(&bench);
    assert_eq!(story.next().await, "applied first");
    flaky.fail(2);
    story.restart();
    bench.put("settings", "1");
    assert_eq!(story.next_at().await, ("applied 1".to_owned(), 0));
    bench.put("settings", "2");
    bench.put("settings", "3");
    assert_eq!(story.next_at().await, ("applied 3".to_owned(), 1_000));
    bench.delete("settings");
    assert_eq!(story.next_at().await, ("deleted 3".to_owned(), 3_000));
    story.is_over().await;
}

#[tokio::test(start_paused = true)]
async fn r1_a_cluster_scoped_object_needs_no_namespace() {
    let bench = Bench::new(&[]);
    bench.apply(&json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "special"},
    }));
    let watch = Watch::object("v1", "namespaces", "special");
    let watcher = SingleWatcher::builder(&bench.access, watch)
        .start()
        .unwrap();
    let object = watcher.wait_for_sync().await.unwrap().unwrap();
    assert_eq!(object.to_string(), "special");
}

#[tokio::test(start_paused = true)]
async fn r1_a_namespaced_object_without_its_namespace_is_a_failure_and_not_any_object() {
    let bench = Bench::new(&["settings"]);
    let mut other = config_map("settings", "other");
    other["metadata"]["namespace"] = json!("left");
    bench.apply(&other);
    let watch = Watch::object("v1", "configmaps", "settings");
    let watcher = SingleWatcher::builder(&bench.access, watch)
        .start()
        .unwrap();
    let mut states = watcher.states();
    let failing = |state: &haptic_host::WatchState| {
        state
            .to_string()
            .contains("a watch of one needs a namespace")
    };
    drop(states.wait_for(failing).await.unwrap());
    assert!(!watcher.is_synced() && watcher.object().is_none());
}
