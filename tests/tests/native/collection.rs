//! What a watcher of a collection is told, and when.

use std::time::Duration;

use haptic_host::{MissingKey, StartError, Watch, Watcher, WatcherGroup};
use serde_json::json;
use tokio::time::sleep;

use crate::bench::{Bench, Flaky, Story, changed, config_maps, ok, story, synced};

/// A watcher that writes down all that it is told.
fn telling(bench: &Bench, watch: Watch) -> (Watcher, Story) {
    let (pen, story) = story();
    let sync = pen.clone();
    let watcher = Watcher::builder(&bench.access, watch)
        .on_sync_complete(move |store, count| {
            sync.write(synced(&store, count));
            async { ok() }
        })
        .on_change(move |store, stats| {
            pen.write(changed(&store, stats));
            async { ok() }
        })
        .start()
        .unwrap();
    (watcher, story)
}

#[tokio::test(start_paused = true)]
async fn c1_sync_complete_comes_once_with_everything_and_before_any_change() {
    let bench = Bench::new(&["a", "b", "c"]);
    let (watcher, mut story) = telling(&bench, config_maps());
    assert_eq!(watcher.wait_for_sync().await, Ok(3));
    bench.put("d", "first");
    assert_eq!(story.next().await, "sync 3: a b c");
    assert_eq!(story.next().await, "+1 ~0 -0: +d=first");
    story.is_over().await;
}

#[tokio::test(start_paused = true)]
async fn c1_changes_during_the_sync_are_told_when_that_is_wanted() {
    let names: Vec<String> = (0..1_200).map(|n| format!("m{n:04}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let bench = Bench::new(&names);
    let (pen, mut story) = story();
    let sync = pen.clone();
    let _watcher = Watcher::builder(
        &bench.access,
        config_maps()
            .debounce(Duration::ZERO)
            .call_on_change_during_sync(true),
    )
    .on_sync_complete(move |_, count| {
        sync.write(format!("sync {count}"));
        async {}
    })
    .on_change(move |store, stats| {
        let initial = stats.is_initial_sync;
        pen.write(format!("{initial} +{} of {}", stats.created, store.len()));
        async {}
    })
    .start()
    .unwrap();
    let mut told = Vec::new();
    while !told.iter().any(|text| text == "sync 1200") {
        told.push(story.next().await);
    }
    assert!(told.len() > 1, "{told:?}");
    for text in &told[..told.len() - 1] {
        assert!(text.starts_with("true +"), "{told:?}");
    }
    bench.put("late", "first");
    assert_eq!(story.next().await, "false +1 of 1201");
}

#[tokio::test(start_paused = true)]
async fn c2_a_change_after_a_quiet_interval_is_told_at_once() {
    let bench = Bench::new(&["a"]);
    let (_watcher, mut story) = telling(&bench, config_maps());
    assert_eq!(story.next().await, "sync 1: a");
    for _ in 0..2 {
        sleep(Duration::from_secs(10)).await;
        story.restart();
        bench.put("a", "0");
        assert_eq!(story.next_at().await, ("+0 ~1 -0: ~a=0".to_owned(), 0));
        bench.put("a", "1");
        assert_eq!(story.next_at().await, ("+0 ~1 -0: ~a=1".to_owned(), 500));
    }
    story.is_over().await;
}

#[tokio::test(start_paused = true)]
async fn c2_calls_are_an_interval_apart_and_no_change_waits_longer() {
    let bench = Bench::new(&["a"]);
    let watch = config_maps().debounce(Duration::from_millis(300));
    let (_watcher, mut story) = telling(&bench, watch);
    assert_eq!(story.next().await, "sync 1: a");
    sleep(Duration::from_secs(10)).await;
    story.restart();
    let changes = async {
        for n in 0..20 {
            bench.put("a", &n.to_string());
            sleep(Duration::from_millis(70)).await;
        }
    };
    let calls = async {
        let mut times = Vec::new();
        loop {
            let (text, at) = story.next_at().await;
            times.push(at);
            if text.ends_with("~a=19") {
                return times;
            }
        }
    };
    let ((), times) = tokio::join!(changes, calls);
    // The last change comes at 19 * 70 = 1330.
    assert_eq!(times, [0, 300, 600, 900, 1_200, 1_500]);
}

#[tokio::test(start_paused = true)]
async fn c2_without_an_interval_every_change_is_told() {
    let bench = Bench::new(&["a"]);
    let (_watcher, mut story) = telling(&bench, config_maps().debounce(Duration::ZERO));
    assert_eq!(story.next().await, "sync 1: a");
    story.restart();
    for n in 0..3 {
        bench.put("a", &n.to_string());
        assert_eq!(story.next_at().await, (format!("+0 ~1 -0: ~a={n}"), 0));
    }
}

#[tokio::test(start_paused = true)]
async fn c2_changes_during_a_call_are_in_the_next() {
    let bench = Bench::new(&["a"]);
    let (pen, mut story) = story();
    let _watcher = Watcher::builder(&bench.access, config_maps())
        .on_change(move |store, stats| {
            let pen = pen.clone();
            async move {
                pen.write(changed(&store, stats));
                sleep(Duration::from_secs(5)).await;
                pen.write(format!("end with {}", store.len()));
            }
        })
        .start()
        .unwrap();
    _watcher.wait_for_sync().await.unwrap();
    bench.put("b", "first");
    assert_eq!(story.next().await, "+1 ~0 -0: +b=first");
    bench.put("c", "first");
    bench.put("d", "first");
    assert_eq!(
        story.next().await,
        "end with 2",
        "C3, S4: one snapshot a call"
    );
    assert_eq!(story.next().await, "+2 ~0 -0: +c=first +d=first");
}

#[tokio::test(start_paused = true)]
async fn c3_stats_are_net_per_object() {
    let bench = Bench::new(&["a", "b", "c"]);
    let (_watcher, mut story) = telling(&bench, config_maps());
    assert_eq!(story.next().await, "sync 3: a b c");
    // Within the interval that the sync has opened.
    bench.put("new", "1");
    bench.put("new", "2");
    bench.put("brief", "1");
    bench.delete("brief");
    bench.put("a", "2");
    bench.put("a", "3");
    bench.put("b", "2");
    bench.put("b", "first");
    bench.delete("c");
    assert_eq!(
        story.next().await,
        "+1 ~1 -1: ~a=3 -c=first +new=2",
        "created then modified is created; created then deleted, and changed back, is nothing"
    );
    bench.put("brief", "1");
    bench.delete("brief");
    story.is_over().await;
}

#[tokio::test(start_paused = true)]
async fn c4_what_a_failed_call_was_told_comes_again_merged_with_what_is_newer() {
    let bench = Bench::new(&["a"]);
    let (pen, mut story) = story();
    let flaky = Flaky::new(0);
    let answers = flaky.clone();
    let watcher = Watcher::builder(&bench.access, config_maps())
        .on_change(move |store, stats| {
            pen.write(changed(&store, stats));
            let answer = answers.answer();
            async { answer }
        })
        .start()
        .unwrap();
    watcher.wait_for_sync().await.unwrap();
    sleep(Duration::from_secs(10)).await;
    flaky.fail(3);
    story.restart();
    bench.put("b", "1");
    assert_eq!(story.next_at().await, ("+1 ~0 -0: +b=1".to_owned(), 0));
    bench.put("b", "2");
    bench.delete("a");
    let merged = "+1 ~0 -1: -a=first +b=2".to_owned();
    assert_eq!(story.next_at().await, (merged.clone(), 1_000));
    assert_eq!(story.next_at().await, (merged.clone(), 3_000));
    assert_eq!(story.next_at().await, (merged, 7_000));
    story.is_over().await;
}

#[tokio::test(start_paused = true)]
async fn c4_a_callback_that_panics_has_failed_and_the_watcher_lives() {
    let bench = Bench::new(&["a"]);
    let (pen, mut story) = story();
    let flaky = Flaky::new(2);
    let watcher = Watcher::builder(&bench.access, config_maps())
        .on_sync_complete(move |store, count| {
            pen.write(synced(&store, count));
            // Once while the future is made, once while it runs.
            let failed = flaky.answer().is_err();
            assert!(!failed || store.len() == 2, "in the closure");
            async move { assert!(!failed, "in the future") }
        })
        .start()
        .unwrap();
    assert_eq!(story.next().await, "sync 1: a");
    bench.put("b", "first");
    assert_eq!(story.next().await, "sync 2: a b");
    assert_eq!(story.next().await, "sync 2: a b");
    story.is_over().await;
    assert_eq!(watcher.store().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn c4_callbacks_never_overlap() {
    let bench = Bench::new(&["a"]);
    bench.apply(&json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"namespace": "shop", "name": "s"},
    }));
    let (pen, mut story) = story();
    let sync = pen.clone();
    let _group = WatcherGroup::builder(&bench.access)
        .watch(config_maps().debounce(Duration::ZERO))
        .watch(Watch::new("v1", "secrets").debounce(Duration::ZERO))
        .on_sync_complete(move |_, _, _| {
            let pen = sync.clone();
            async move {
                pen.write("begin");
                sleep(Duration::from_secs(3)).await;
                pen.write("end");
            }
        })
        .on_change(move |_, _, _| {
            let pen = pen.clone();
            async move {
                pen.write("begin");
                sleep(Duration::from_secs(3)).await;
                pen.write("end");
            }
        })
        .start()
        .unwrap();
    for n in 0..4 {
        assert_eq!(story.next().await, "begin");
        bench.put("a", &n.to_string());
        assert_eq!(story.next().await, "end");
    }
}

#[tokio::test(start_paused = true)]
async fn w2_one_namespace_a_list_and_the_own_one() {
    let bench = Bench::new(&["a"]);
    for namespace in ["left", "right"] {
        bench.apply(&json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"namespace": namespace, "name": "a"},
        }));
    }
    let all = Watch::new("v1", "configmaps");
    for (watch, expected) in [
        (all.clone(), vec!["left/a", "right/a", "shop/a"]),
        (all.clone().namespace("left"), vec!["left/a"]),
        (
            all.clone().namespaces(["shop", "left"]),
            vec!["left/a", "shop/a"],
        ),
        (all.own_namespace(), vec!["shop/a"]),
    ] {
        let watcher = Watcher::builder(&bench.access, watch).start().unwrap();
        assert_eq!(watcher.wait_for_sync().await, Ok(expected.len()));
        let found: Vec<_> = watcher
            .store()
            .list()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(found, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn i2_everything_that_is_wrong_is_told_at_once_and_nothing_is_sent() {
    let mut bench = Bench::new(&[]);
    bench.access.own_namespace = None;
    let watch = Watch::object("v1", "configmaps", "a")
        .own_namespace()
        .index_by(["metadata..["])
        .label_selector("a in");
    let refused = Watcher::builder(&bench.access, watch).start().unwrap_err();
    let StartError::Watches(errors) = &refused else {
        panic!("{refused}");
    };
    let places: Vec<_> = errors.0.iter().map(|error| error.place.as_str()).collect();
    assert_eq!(
        places,
        [
            "watch \"configmaps\", label-selector",
            "watch \"configmaps\", index-by[0]",
            "watch \"configmaps\", object-name",
            "watch \"configmaps\", scope",
        ],
        "{refused}"
    );
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(bench.cluster.requests().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn i4_an_object_without_a_key_is_counted_and_found_where_that_is_wanted() {
    let bench = Bench::new(&["a"]);
    bench.apply(&json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"namespace": "shop", "name": "bare"},
    }));
    let names = |found: Vec<haptic_host::Item>| -> Vec<String> {
        found.iter().map(ToString::to_string).collect()
    };
    for (missing, without, unkeyed) in [
        (MissingKey::Skip, &[][..], 1),
        (MissingKey::Empty, &["shop/bare"], 0),
    ] {
        let watch = config_maps().index_by(["data.text"]).missing_key(missing);
        let watcher = Watcher::builder(&bench.access, watch).start().unwrap();
        assert_eq!(watcher.wait_for_sync().await, Ok(2), "{missing:?}");
        let store = watcher.store();
        assert_eq!(names(store.get(&["first"]).unwrap()), ["shop/a"]);
        assert_eq!(names(store.get(&[""]).unwrap()), without, "{missing:?}");
        assert!(store.get_object("shop", "bare").is_some());
        assert_eq!(watcher.status().unkeyed, unkeyed, "{missing:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn w10_watches_of_the_same_objects_share_a_stream() {
    let bench = Bench::new(&["a", "b"]);
    let group = WatcherGroup::builder(&bench.access)
        .watch(config_maps())
        .watch(config_maps().named("slim").keep_fields(["data.text"]))
        .start()
        .unwrap();
    assert_eq!(group.wait_for_sync().await, Ok(4));
    let body = |watch: &str| {
        let store = group.store(watch).unwrap();
        store.get_object("shop", "a").unwrap().json().len()
    };
    assert!(body("slim") < body("configmaps"));
    let lists = bench.cluster.requests();
    let lists = lists
        .iter()
        .filter(|request| request.path.contains("configmaps"));
    assert_eq!(lists.count(), 1, "one streaming list for both");
}

#[tokio::test(start_paused = true)]
async fn w10_a_cached_store_takes_its_metadata_from_a_stream_of_whole_objects_that_is_there() {
    let cached = || config_maps().named("cached").cached();
    for watches in [[cached(), config_maps()], [config_maps(), cached()]] {
        let bench = Bench::new(&["a"]);
        let mut group = WatcherGroup::builder(&bench.access);
        for watch in watches {
            group = group.watch(watch);
        }
        let group = group.start().unwrap();
        assert_eq!(group.wait_for_sync().await, Ok(2));
        let requests = bench.cluster.requests();
        let streams: Vec<_> = requests
            .iter()
            .filter(|request| request.verb.is_stream())
            .map(|request| request.metadata_only)
            .collect();
        assert_eq!(streams, [false], "one, of whole objects");
        let cached = group.store("cached").unwrap();
        assert!(!cached.get_object("shop", "a").unwrap().has_body());
        bench.put("a", "second");
        tokio::time::sleep(Duration::from_secs(1)).await;
        let fetched = cached.fetch(&["shop", "a"]).await.unwrap();
        assert_eq!(super::bench::text_of(fetched[0].json()), "second");
    }
}
