//! Section W of the contract on the wire: what the watch makes of what servers do.

use std::time::Duration;

use haptic_cluster::{Fault, How, Moment, Page, Place, Refusal, Rule, Verb, When};
use haptic_host::{WatchState, Watcher, WatcherGroup};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::bench::{Bench, Story, changed, config_maps, ok, story, synced, text_of};

/// A watcher of the ConfigMaps that writes down what it is told.
fn telling(bench: &Bench, watch: haptic_host::Watch) -> (Watcher, Story) {
    let (pen, story) = story();
    let other = pen.clone();
    let watcher = Watcher::builder(&bench.access, watch)
        .on_sync_complete(move |store, count| {
            pen.write(synced(&store, count));
            async { ok() }
        })
        .on_change(move |store, stats| {
            other.write(changed(&store, stats));
            async { ok() }
        })
        .start()
        .unwrap();
    (watcher, story)
}

async fn until(watcher: &Watcher, word: &str) -> WatchState {
    let mut states = watcher.states();
    let found = tokio::time::timeout(
        Duration::from_secs(3_600),
        states.wait_for(|state| state.as_str() == word),
    );
    found.await.expect(word).unwrap().clone()
}

fn crd() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {
                "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}],
        },
    })
}

fn widget(name: &str) -> Value {
    json!({
        "apiVersion": "example.com/v1", "kind": "Widget",
        "metadata": {"namespace": "shop", "name": name},
        "data": {"text": "first"},
    })
}

#[tokio::test(start_paused = true)]
async fn w1_a_custom_kind_is_watched_when_it_is_served_and_comes_and_goes() {
    let bench = Bench::new(&[]);
    let (watcher, mut story) =
        telling(&bench, haptic_host::Watch::new("example.com/v1", "widgets"));
    until(&watcher, "waiting-for-crd").await;
    bench.apply(&crd());
    bench.apply(&widget("a"));
    assert_eq!(story.next().await, "sync 1: a");
    let (kind, name) = ("CustomResourceDefinition", "widgets.example.com");
    bench
        .cluster
        .delete("apiextensions.k8s.io/v1", kind, None, name)
        .unwrap();
    until(&watcher, "waiting-for-crd").await;
    assert_eq!(story.next().await, "+0 ~0 -1: -a=first");
    assert!(watcher.store().is_empty());
    bench.apply(&crd());
    bench.apply(&widget("b"));
    assert_eq!(story.next().await, "+1 ~0 -0: +b=first");
    assert_eq!(watcher.state(), WatchState::Synced);
}

#[tokio::test(start_paused = true)]
async fn w2_a_kind_without_namespaces_is_watched_as_a_whole_and_forgets_what_is_gone() {
    let namespace = |name: &str| {
        json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": name, "labels": {"team": "web"}},
        })
    };
    for namespaces in [&["shop"][..], &["shop", "left"]] {
        let bench = Bench::new(&[]);
        for name in ["x", "y", "z"] {
            bench.apply(&namespace(name));
        }
        let watch = haptic_host::Watch::new("v1", "namespaces")
            .label_selector("team")
            .namespaces(namespaces.iter().copied());
        let watcher = Watcher::builder(&bench.access, watch).start().unwrap();
        assert_eq!(watcher.wait_for_sync().await, Ok(3), "{namespaces:?}");
        // Only a list shows that one is gone.
        let lost = Rule::new(When::verbs([Verb::Watch]), Fault::Expired { after: None });
        let lost = bench.cluster.faults().add(lost);
        bench.cluster.faults().end_streams(&When::any());
        bench.cluster.delete("v1", "Namespace", None, "y").unwrap();
        bench.cluster.compact();
        sleep(Duration::from_secs(60)).await;
        assert!(bench.cluster.faults().hits(lost) > 0, "{namespaces:?}");
        bench.cluster.faults().remove(lost);
        until(&watcher, "synced").await;
        let names: Vec<_> = watcher
            .store()
            .list()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(names, ["x", "z"], "{namespaces:?}");
        bench.cluster.delete("v1", "Namespace", None, "z").unwrap();
        sleep(Duration::from_secs(1)).await;
        assert_eq!(watcher.store().len(), 1, "{namespaces:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn w3_an_invalid_selector_is_refused_at_the_start_and_nothing_is_sent() {
    let bench = Bench::new(&["a"]);
    let labels = ["a in", "a in ()", "=x", "a=b c", "-a", "a==b==c", "a,"];
    let fields = ["data.text", "=x", "data.text=a=b", "data.te[xt=a", "a=b,"];
    let with = |text: &&str, set: fn(haptic_host::Watch, String) -> haptic_host::Watch| {
        set(config_maps(), (*text).to_owned())
    };
    let watches = labels
        .iter()
        .map(|text| {
            (
                text,
                "label-selector",
                with(text, haptic_host::Watch::label_selector),
            )
        })
        .chain(fields.iter().map(|text| {
            (
                text,
                "field-selector",
                with(text, haptic_host::Watch::field_selector),
            )
        }));
    for (text, place, watch) in watches {
        let refused = Watcher::builder(&bench.access, watch).start();
        let refused = refused.map(drop).expect_err(text).to_string();
        let expected = format!("watch \"configmaps\", {place}: ");
        assert!(refused.starts_with(&expected), "{text}: {refused}");
    }
    sleep(Duration::from_secs(60)).await;
    assert_eq!(bench.cluster.requests().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn w3_selectors_are_sent_and_what_stops_matching_is_deleted() {
    let bench = Bench::new(&[]);
    let labelled = |name: &str, team: &str| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"namespace": "shop", "name": name, "labels": {"team": team}},
            "data": {"text": team},
        })
    };
    for (name, team) in [("a", "web"), ("b", "web"), ("c", "data")] {
        bench.apply(&labelled(name, team));
    }
    let watch = config_maps()
        .label_selector("team in (web, shop),!canary")
        .field_selector("metadata.name!=b,data.text!=shop");
    let (_watcher, mut story) = telling(&bench, watch);
    assert_eq!(story.next().await, "sync 1: a");
    // The server's part: a label that does not match any more, and one that does.
    bench.apply(&labelled("a", "data"));
    assert_eq!(story.next().await, "+0 ~0 -1: -a=web");
    bench.apply(&labelled("c", "web"));
    assert_eq!(story.next().await, "+1 ~0 -0: +c=web");
    // The host's part: a field that the server does not select by.
    bench.apply(&labelled("c", "shop"));
    assert_eq!(story.next().await, "+0 ~0 -1: -c=web");
    bench.apply(&labelled("b", "shop"));
    story.is_over().await;
    let requests = bench.cluster.requests();
    let list = requests
        .iter()
        .find(|request| request.verb == Verb::StreamingList)
        .unwrap();
    assert_eq!(
        list.label_selector.as_deref(),
        Some("team in (shop,web),!canary")
    );
    assert_eq!(list.field_selector.as_deref(), Some("metadata.name!=b"));
}

#[tokio::test(start_paused = true)]
async fn w4_a_server_that_cannot_stream_lists_is_listed_in_pages_and_not_asked_again() {
    // A refusal is an answer; that a bookmark does not come must show twice.
    for (fault, seconds, tries) in [
        (Fault::RefuseStreaming { code: 422 }, 60, 1),
        (Fault::RefuseStreaming { code: 400 }, 60, 1),
        (Fault::WithholdBookmark, 400, 2),
    ] {
        let bench = Bench::new(&[]);
        for n in 0..700 {
            bench.put(&format!("c{n:04}"), "first");
        }
        let streaming = When::verbs([Verb::StreamingList]);
        let rule = bench
            .cluster
            .faults()
            .add(Rule::new(streaming, fault.clone()));
        let began = Instant::now();
        let (watcher, mut story) = telling(&bench, config_maps());
        assert!(story.next().await.starts_with("sync 700:"), "{fault:?}");
        assert!(began.elapsed() < Duration::from_secs(seconds), "{fault:?}");
        let pages: Vec<_> = bench
            .cluster
            .requests()
            .into_iter()
            .filter(|request| request.verb == Verb::List)
            .map(|request| (request.limit, request.continue_token.is_some()))
            .collect();
        assert_eq!(pages, [(Some(500), false), (Some(500), true)], "{fault:?}");
        // Further lists: the answer is remembered.
        for text in ["second", "third", "fourth"] {
            bench.cluster.compact();
            let gone = Rule::new(When::verbs([Verb::Watch]), Fault::Expired { after: None });
            bench.cluster.faults().add(gone.times(1));
            bench.cluster.faults().end_streams(&When::any());
            bench.put("c0000", text);
            let expected = format!("+0 ~1 -0: ~c0000={text}");
            assert_eq!(story.next().await, expected, "{fault:?}");
        }
        assert_eq!(bench.cluster.faults().hits(rule), tries, "{fault:?}");
        assert_eq!(watcher.store().len(), 700);
    }
}

#[tokio::test(start_paused = true)]
async fn w4_what_one_watch_learns_about_streaming_lists_holds_for_all_of_the_resource() {
    let bench = Bench::new(&["a"]);
    let faults = bench.cluster.faults();
    let streaming = When::verbs([Verb::StreamingList]).resource("configmaps");
    let refuse = faults.add(Rule::new(streaming, Fault::RefuseStreaming { code: 422 }));
    // The second watch comes to its list when the first one is through.
    let late = Rule {
        skip: 1,
        ..Rule::new(
            When::verbs([Verb::Discovery]),
            Fault::Delay {
                by: Duration::from_secs(20),
                at: Moment::Arrival,
            },
        )
    };
    faults.add(late);
    let group = WatcherGroup::builder(&bench.access)
        .watch(config_maps())
        .watch(config_maps().named("other").label_selector("!x"))
        .watch(haptic_host::Watch::new("v1", "secrets"))
        .start()
        .unwrap();
    assert_eq!(group.wait_for_sync().await, Ok(2));
    assert_eq!(faults.hits(refuse), 1);
    let asked = bench.cluster.requests();
    let streamed = asked.iter().filter(|r| r.verb == Verb::StreamingList);
    let resources: Vec<_> = streamed.map(|r| r.resource.as_str()).collect();
    assert_eq!(
        resources,
        ["configmaps", "secrets"],
        "of another resource nobody knows"
    );
}

#[tokio::test(start_paused = true)]
async fn w5_every_way_to_lose_the_version_leads_to_a_list_that_keeps_what_is_unchanged() {
    let refused = |code, reason: &str| Fault::Status(Refusal::new(code, reason, "no"));
    for (lost, paged) in [
        (Fault::Expired { after: Some(0) }, false),
        (Fault::Expired { after: None }, false),
        (Fault::TooLargeVersion, false),
        (refused(410, "Gone"), false),
        (Fault::Expired { after: Some(0) }, true),
    ] {
        let bench = Bench::new(&["a", "b", "c"]);
        let faults = bench.cluster.faults();
        if paged {
            let streaming = When::verbs([Verb::StreamingList]);
            faults.add(Rule::new(streaming, Fault::RefuseStreaming { code: 422 }));
            let token = Rule::new(
                When {
                    page: Some(Page::Continue),
                    ..When::verbs([Verb::List])
                },
                Fault::ExpireContinue { fresh: false },
            );
            faults.add(token);
        }
        let (watcher, mut story) = telling(&bench, config_maps());
        assert_eq!(story.next().await, "sync 3: a b c");
        let place = |name: &str| {
            let item = watcher.store().get_object("shop", name);
            item.map(|item| item.json().as_ptr().addr())
        };
        let before = place("a");
        faults.add(Rule::new(When::verbs([Verb::Watch]), lost.clone()).times(2));
        faults.end_streams(&When::any());
        bench.delete("b");
        bench.put("c", "second");
        bench.cluster.compact();
        assert_eq!(
            story.next().await,
            "+0 ~1 -1: -b=first ~c=second",
            "{lost:?}"
        );
        assert_eq!(place("a"), before, "{lost:?}: unchanged, and not moved");
        assert_eq!(place("b"), None);
        story.is_over().await;
        until(&watcher, "synced").await;
    }
}

/// Whether an answer breaks off before the end of the initial list.
fn fault_is_in_list(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::Break {
            at: Place::Bytes(_),
            ..
        }
    )
}

#[tokio::test(start_paused = true)]
async fn w6_every_stall_is_reported_within_its_deadline_and_survived() {
    let stall = |at| Fault::Break {
        at,
        how: How::Stall,
    };
    let trickle = |at| Fault::Break {
        at,
        how: How::Trickle {
            every: Duration::from_secs(1),
        },
    };
    // What stalls, and by when the state must say so: 30 s for headers and bodies, 70 s of
    // silence on a stream that carries bookmarks.
    for (verb, fault, limit) in [
        (Verb::Discovery, stall(Place::Start), 31),
        (Verb::StreamingList, stall(Place::Start), 31),
        (Verb::StreamingList, stall(Place::Bytes(0)), 31),
        (Verb::StreamingList, stall(Place::Bytes(100)), 31),
        (Verb::StreamingList, trickle(Place::Bytes(100)), 31),
        (
            Verb::StreamingList,
            stall(Place::Event { after: 4, bytes: 0 }),
            71,
        ),
        (
            Verb::StreamingList,
            stall(Place::Event { after: 4, bytes: 9 }),
            71,
        ),
        (
            Verb::StreamingList,
            trickle(Place::Event { after: 4, bytes: 0 }),
            71,
        ),
    ] {
        let bench = Bench::new(&["a", "b", "c"]);
        let rule = Rule::new(When::verbs([verb]), fault.clone()).times(1);
        bench.cluster.faults().add(rule);
        let began = Instant::now();
        let watcher = Watcher::builder(&bench.access, config_maps())
            .start()
            .unwrap();
        let mut states = watcher.states();
        // A streaming list that stalls is given up for pages at once: then the watch is well
        // by the time at which it would have to say that it is not.
        let gives_way = fault_is_in_list(&fault) && verb == Verb::StreamingList;
        let trouble = states.wait_for(|state| match state {
            WatchState::Failing { .. } | WatchState::Stale { .. } => true,
            state => gives_way && *state == WatchState::Synced,
        });
        let reported = tokio::time::timeout(Duration::from_secs(600), trouble).await;
        assert!(reported.is_ok(), "{verb:?} {fault:?}: not reported");
        drop(reported);
        let elapsed = began.elapsed();
        assert!(
            elapsed <= Duration::from_secs(limit),
            "{verb:?} {fault:?}: reported after {elapsed:?}"
        );
        bench.put("a", "second");
        until(&watcher, "synced").await;
        sleep(Duration::from_secs(120)).await;
        let a = watcher.store().get_object("shop", "a").unwrap();
        assert_eq!(text_of(a.json()), "second", "{verb:?} {fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn w7_streams_that_close_at_once_and_refusals_are_not_asked_in_a_hot_loop() {
    let refused = |code, retry_after| {
        Fault::Status(Refusal {
            retry_after,
            ..Refusal::new(code, "Busy", "later")
        })
    };
    let closed = |how| Fault::Break {
        at: Place::Bytes(0),
        how,
    };
    for (fault, per_minute) in [
        (closed(How::End), 6),
        (closed(How::Fin), 6),
        (refused(500, None), 6),
        (refused(429, None), 6),
        (refused(429, Some(20)), 4),
        (refused(503, Some(20)), 4),
        (refused(429, Some(1_000_000)), 2),
    ] {
        let bench = Bench::new(&["a"]);
        let rule = bench
            .cluster
            .faults()
            .add(Rule::new(When::any(), fault.clone()));
        let watcher = Watcher::builder(&bench.access, config_maps())
            .start()
            .unwrap();
        // The first backoffs are short on purpose.
        sleep(Duration::from_secs(120)).await;
        bench.cluster.clear_requests();
        sleep(Duration::from_secs(600)).await;
        let asked = bench.cluster.requests().len();
        assert!(asked <= per_minute * 10, "{fault:?}: {asked} in 10 minutes");
        assert!(asked > 0, "{fault:?}: given up");
        bench.cluster.faults().remove(rule);
        assert_eq!(watcher.wait_for_sync().await, Ok(1), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn w7_at_most_four_lists_are_under_way_at_a_time() {
    for paged in [false, true] {
        let bench = Bench::new(&[]);
        let faults = bench.cluster.faults();
        let lists = [Verb::List, Verb::StreamingList];
        if paged {
            let streaming = When::verbs([Verb::StreamingList]);
            faults.add(Rule::new(streaming, Fault::RefuseStreaming { code: 422 }));
        }
        let held = if paged {
            Verb::List
        } else {
            Verb::StreamingList
        };
        let at = Moment::Arrival;
        let hold = faults.add(Rule::new(When::verbs([held]), Fault::Hold { at }));
        let names: Vec<String> = (0..10).map(|n| format!("n{n}")).collect();
        let watch = haptic_host::Watch::new("v1", "configmaps").namespaces(names);
        let watcher = Watcher::builder(&bench.access, watch).start().unwrap();
        faults.held(hold, 4).await;
        sleep(Duration::from_secs(20)).await;
        let under_way = |verb| {
            let asked = bench.cluster.requests();
            asked.iter().filter(|r| r.verb == verb).count()
        };
        assert_eq!(under_way(held), 4, "paged: {paged}");
        faults.remove(hold);
        assert_eq!(watcher.wait_for_sync().await, Ok(0));
        let all: usize = lists.into_iter().map(under_way).sum();
        assert!(all >= 10, "{all}");
    }
}

#[tokio::test(start_paused = true)]
async fn w4_w7_watchers_of_one_access_share_its_bounds_and_what_was_learnt() {
    let bench = Bench::new(&["a"]);
    let faults = bench.cluster.faults();
    let at = Moment::Arrival;
    let pages = faults.add(Rule::new(When::verbs([Verb::List]), Fault::Hold { at }));
    let streaming = When::verbs([Verb::StreamingList]);
    let refuse = faults.add(Rule::new(streaming, Fault::RefuseStreaming { code: 422 }));
    let start = |_| {
        let access = bench.access.clone();
        Watcher::builder(&access, config_maps()).start().unwrap()
    };
    let watchers: Vec<_> = (0..10).map(start).collect();
    faults.held(pages, 4).await;
    sleep(Duration::from_secs(20)).await;
    let asked = bench.cluster.requests();
    assert_eq!(asked.iter().filter(|r| r.verb == Verb::List).count(), 4);
    faults.remove(pages);
    for watcher in &watchers {
        assert_eq!(watcher.wait_for_sync().await, Ok(1));
    }
    let tries = faults.hits(refuse);
    let late = start(10);
    assert_eq!(late.wait_for_sync().await, Ok(1));
    assert_eq!(faults.hits(refuse), tries, "known from the others");
}

#[tokio::test(start_paused = true)]
async fn w8_what_is_no_object_is_quarantined_and_the_stream_goes_on() {
    let bench = Bench::new(&["a"]);
    let faults = bench.cluster.faults();
    let streams = || When::verbs([Verb::StreamingList, Verb::Watch]);
    for object in [
        json!("text"),
        json!(7),
        Value::Null,
        json!({}),
        json!({"metadata": {"name": 1}}),
    ] {
        faults.add(Rule::new(
            streams(),
            Fault::Inject {
                after: 3,
                event: "MODIFIED".to_owned(),
                object,
            },
        ));
    }
    faults.add(Rule::new(
        streams(),
        Fault::Inject {
            after: 3,
            event: "SURPRISE".to_owned(),
            object: json!({}),
        },
    ));
    faults.add(Rule::new(
        streams(),
        Fault::Pad {
            name: "big".to_owned(),
            bytes: 1_500_000,
        },
    ));
    faults.add(Rule::new(
        streams(),
        Fault::Split {
            bytes: 1_000,
            seed: Some(7),
        },
    ));
    let (watcher, mut story) = telling(&bench, config_maps());
    assert_eq!(story.next().await, "sync 1: a");
    bench.put("b", "first");
    assert_eq!(story.next().await, "+1 ~0 -0: +b=first");
    bench.put("big", "first");
    assert_eq!(story.next().await, "+1 ~0 -0: +big=first");
    bench.put("a", "second");
    assert_eq!(story.next().await, "+0 ~1 -0: ~a=second");
    assert_eq!(watcher.status().quarantined, 5);
    let lists = bench.cluster.requests();
    let lists = lists.iter().filter(|r| r.verb == Verb::StreamingList);
    assert_eq!(lists.count(), 1, "the stream went on");
}

#[tokio::test(start_paused = true)]
async fn w9_a_right_that_is_revoked_and_granted_again_is_a_state_and_no_end() {
    let bench = Bench::new(&["a"]);
    let faults = bench.cluster.faults();
    let rights = || When::verbs([Verb::List, Verb::StreamingList, Verb::Watch]);
    let at_start = faults.add(Rule::new(rights(), Fault::Forbidden { end_streams: true }));
    let (watcher, mut story) = telling(&bench, config_maps());
    let state = until(&watcher, "forbidden").await;
    assert_eq!(
        state.to_string(),
        "not allowed to list configmaps in namespace shop"
    );
    faults.remove(at_start);
    assert_eq!(story.next().await, "sync 1: a");
    until(&watcher, "synced").await;
    // While the watch runs: what is known stays.
    let later = faults.add(Rule::new(rights(), Fault::Forbidden { end_streams: true }));
    until(&watcher, "forbidden").await;
    bench.put("b", "first");
    sleep(Duration::from_secs(600)).await;
    assert_eq!(watcher.store().len(), 1);
    faults.remove(later);
    assert_eq!(story.next().await, "+1 ~0 -0: +b=first");
    until(&watcher, "synced").await;
}

#[tokio::test(start_paused = true)]
async fn w11_lists_and_streams_are_read_compressed() {
    for members in [false, true] {
        for paged in [false, true] {
            let mut bench = Bench::new(&["a"]);
            bench.access.loopback = false;
            let faults = bench.cluster.faults();
            let gzip = Fault::Gzip {
                members,
                unasked: false,
            };
            let rule = faults.add(Rule::new(When::any(), gzip));
            if paged {
                let streaming = When::verbs([Verb::StreamingList]);
                faults.add(Rule::new(streaming, Fault::RefuseStreaming { code: 422 }));
            }
            let (_watcher, mut story) = telling(&bench, config_maps());
            assert_eq!(story.next().await, "sync 1: a");
            bench.put("b", "first");
            assert_eq!(story.next().await, "+1 ~0 -0: +b=first");
            bench.put("a", "second");
            assert_eq!(story.next().await, "+0 ~1 -0: ~a=second");
            assert!(faults.hits(rule) >= 2, "discovery, and the list");
        }
    }
}
