//! Waiting, forcing, stopping (contract C5).

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use haptic_host::{Stopped, Watch, WatchState, Watcher};
use serde_json::json;
use tokio::{
    runtime::Handle,
    time::{sleep, timeout},
};

use crate::bench::{Bench, changed, config_maps, ok, story};

#[tokio::test(start_paused = true)]
async fn c5_wait_for_sync_counts_and_can_be_asked_again() {
    let bench = Bench::new(&["a", "b"]);
    let watcher = Watcher::builder(&bench.access, config_maps())
        .start()
        .unwrap();
    assert!(!watcher.is_synced());
    assert_eq!(watcher.wait_for_sync().await, Ok(2));
    assert!(watcher.is_synced());
    assert_eq!(
        watcher.store().len(),
        2,
        "the store holds everything by then"
    );
    bench.put("c", "first");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(watcher.wait_for_sync().await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn c5_wait_for_sync_waits_for_a_kind_that_is_not_served_w1() {
    let bench = Bench::new(&[]);
    let watch = Watch::new("example.com/v1", "widgets");
    let watcher = Watcher::builder(&bench.access, watch).start().unwrap();
    let waited = timeout(Duration::from_secs(120), watcher.wait_for_sync()).await;
    assert!(waited.is_err());
    assert_eq!(watcher.state(), WatchState::WaitingForCrd);
    bench.apply(&json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            }],
        },
    }));
    assert_eq!(watcher.wait_for_sync().await, Ok(0));
    assert_eq!(watcher.state(), WatchState::Synced);
}

#[tokio::test(start_paused = true)]
async fn c5_wait_for_sync_ends_when_the_watcher_is_stopped_before() {
    let bench = Bench::new(&[]);
    let watch = Watch::new("example.com/v1", "widgets");
    let watcher = Arc::new(Watcher::builder(&bench.access, watch).start().unwrap());
    let waiting = tokio::spawn({
        let watcher = Arc::clone(&watcher);
        async move { watcher.wait_for_sync().await }
    });
    sleep(Duration::from_secs(60)).await;
    watcher.stop();
    assert_eq!(waiting.await.unwrap(), Err(Stopped));
    assert_eq!(watcher.wait_for_sync().await, Err(Stopped));
}

#[tokio::test(start_paused = true)]
async fn c5_force_sync_tells_at_once_what_is_pending() {
    let bench = Bench::new(&["a"]);
    let (pen, mut story) = story();
    let watch = config_maps().debounce(Duration::from_secs(600));
    let watcher = Watcher::builder(&bench.access, watch)
        .on_change(move |store, stats| {
            pen.write(changed(&store, stats));
            async { ok() }
        })
        .start()
        .unwrap();
    watcher.wait_for_sync().await.unwrap();
    bench.put("b", "first");
    story.restart();
    sleep(Duration::from_secs(100)).await;
    watcher.force_sync();
    let told = story.next_at().await;
    assert_eq!(told, ("+1 ~0 -0: +b=first".to_owned(), 100_000));
    watcher.force_sync();
    story.is_over().await;
}

#[tokio::test(start_paused = true)]
async fn c5_stop_ends_callbacks_streams_and_tasks() {
    let bench = Bench::new(&["a"]);
    let tasks = Handle::current().metrics().num_alive_tasks();
    let (pen, mut story) = story();
    let watcher = Watcher::builder(&bench.access, config_maps())
        .on_change(move |store, stats| {
            pen.write(changed(&store, stats));
            async { ok() }
        })
        .start()
        .unwrap();
    watcher.wait_for_sync().await.unwrap();
    watcher.stop();
    watcher.stop();
    watcher.stopped().await;
    watcher.stopped().await;
    bench.cluster.clear_requests();
    bench.put("b", "first");
    story.is_over().await;
    assert_eq!(
        bench.cluster.requests().len(),
        0,
        "nothing is sent any more"
    );
    assert_eq!(Handle::current().metrics().num_alive_tasks(), tasks);
    assert_eq!(watcher.store().len(), 1, "what was known can still be read");
    let state = watcher.store().freshness().state;
    assert!(matches!(state, WatchState::Stale { .. }), "S4: {state}");
    assert_eq!(watcher.state(), state);
}

#[tokio::test(start_paused = true)]
async fn c5_dropping_a_watcher_frees_what_it_holds() {
    let bench = Bench::new(&["a"]);
    let tasks = Handle::current().metrics().num_alive_tasks();
    let held = Arc::new(());
    let weak: Weak<()> = Arc::downgrade(&held);
    let watcher = Watcher::builder(&bench.access, config_maps())
        .on_change(move |_, _| {
            let held = Arc::clone(&held);
            async move { drop(held) }
        })
        .start()
        .unwrap();
    watcher.wait_for_sync().await.unwrap();
    bench.put("a", "second");
    sleep(Duration::from_secs(1)).await;
    assert!(weak.upgrade().is_some());
    drop(watcher);
    sleep(Duration::from_secs(1)).await;
    assert!(weak.upgrade().is_none(), "its callbacks are gone");
    assert_eq!(Handle::current().metrics().num_alive_tasks(), tasks);
}

#[tokio::test(start_paused = true)]
async fn c5_stop_from_inside_a_callback_lets_it_end_and_no_other_begin() {
    let bench = Bench::new(&["a"]);
    let (pen, mut story) = story();
    let builder = Watcher::builder(&bench.access, config_maps().debounce(Duration::ZERO));
    let stopper = builder.stopper();
    let watcher = builder
        .on_change(move |store, stats| {
            let (pen, stopper) = (pen.clone(), stopper.clone());
            async move {
                pen.write(changed(&store, stats));
                stopper.stop();
                sleep(Duration::from_secs(5)).await;
                pen.write("end");
            }
        })
        .start()
        .unwrap();
    watcher.wait_for_sync().await.unwrap();
    bench.put("b", "first");
    assert_eq!(story.next().await, "+1 ~0 -0: +b=first");
    bench.put("c", "first");
    assert_eq!(story.next().await, "end");
    watcher.stopped().await;
    story.is_over().await;
}

#[tokio::test(start_paused = true)]
async fn c5_stop_from_another_thread() {
    let bench = Bench::new(&["a"]);
    let watcher = Arc::new(
        Watcher::builder(&bench.access, config_maps())
            .start()
            .unwrap(),
    );
    watcher.wait_for_sync().await.unwrap();
    let other = Arc::clone(&watcher);
    std::thread::spawn(move || other.stop()).join().unwrap();
    watcher.stopped().await;
}

#[test]
fn c5_a_watcher_cannot_be_started_outside_of_a_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let bench = runtime.block_on(async { Bench::new(&[]) });
    let refused = Watcher::builder(&bench.access, config_maps()).start();
    let text = refused.unwrap_err().to_string();
    assert_eq!(text, "a watcher must be started on a tokio runtime");
}

#[tokio::test(start_paused = true)]
async fn w9_states_can_be_followed() {
    let bench = Bench::new(&["a"]);
    let watcher = Watcher::builder(&bench.access, config_maps())
        .start()
        .unwrap();
    let mut states = watcher.states();
    let synced = states.wait_for(|state| *state == WatchState::Synced).await;
    drop(synced.unwrap());
    watcher.stop();
    let stale = |state: &WatchState| matches!(state, WatchState::Stale { .. });
    drop(states.wait_for(stale).await.unwrap());
}
