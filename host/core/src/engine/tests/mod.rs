#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod breaker;
mod reload;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::{
    Identity, Object,
    changes::ChangeKind,
    decode::{Decoder, Projection, ProjectionSpec},
    spec::{DEFAULT_DEBOUNCE, ScopeSpec, WatchSpec},
    view::{Freshness, ReadError, Which},
    watch::WatchOutput,
};

fn at(ms: u64) -> Time {
    Time::from_origin(Duration::from_millis(ms))
}

fn object(name: &str, uid: u32, version: u32, text: u32) -> Object {
    let json = format!(
        r#"{{"metadata":{{"name":"{name}","namespace":"ns","uid":"u{uid}","resourceVersion":"{version}"}},"data":{text}}}"#
    );
    let projection = Projection::new(ProjectionSpec {
        api_version: "v1".to_owned(),
        kind: "ConfigMap".to_owned(),
        ..ProjectionSpec::default()
    });
    Decoder::new(Arc::new(projection))
        .decode(json.as_bytes())
        .unwrap()
        .object
}

fn identity(name: &str) -> Identity {
    Identity::new("ns", name).unwrap()
}

fn spec(name: &str) -> WatchSpec {
    WatchSpec {
        name: name.to_owned(),
        api_version: "v1".to_owned(),
        resources: "configmaps".to_owned(),
        required: true,
        ..WatchSpec::default()
    }
}

fn plans(specs: &[WatchSpec]) -> Vec<Arc<WatchPlan>> {
    specs.iter().map(|s| Arc::new(s.plan().unwrap())).collect()
}

/// An engine with one plugin; the first source of its first store is fed.
struct Bench {
    engine: Engine,
    plugin: PluginId,
    store: StoreId,
}

impl Bench {
    fn new(specs: &[WatchSpec]) -> Self {
        let mut engine = Engine::new();
        let plugin = engine.add_plugin("p", &plans(specs), "own");
        Self {
            engine,
            plugin,
            store: StoreId(0),
        }
    }

    fn feed(&mut self, ms: u64, output: WatchOutput) {
        self.engine.watch(at(ms), self.store, 0, output);
    }

    fn list(&mut self, ms: u64, objects: Vec<Object>) {
        self.feed(ms, WatchOutput::ListBegin);
        for object in objects {
            self.feed(ms, WatchOutput::Listed(object));
        }
        self.feed(
            ms,
            WatchOutput::ListEnd {
                resource_version: String::new(),
            },
        );
    }

    fn delete(&mut self, ms: u64, name: &str) {
        self.feed(
            ms,
            WatchOutput::Deleted {
                identity: identity(name),
                object: None,
            },
        );
    }

    /// The one callback that is due, in words.
    fn due(&mut self, ms: u64) -> Option<String> {
        let mut calls = self.engine.poll(at(ms));
        assert!(calls.len() <= 1, "{calls:?}");
        calls.pop().map(|call| words(&call))
    }

    /// Runs what is due; it succeeds.
    fn told(&mut self, ms: u64) -> Option<String> {
        let due = self.due(ms);
        if due.is_some() {
            self.finish(ms, Outcome::Ok);
        }
        due
    }

    fn finish(&mut self, ms: u64, outcome: Outcome) {
        self.engine.finished(at(ms), self.plugin, outcome);
    }
}

fn words(call: &Call) -> String {
    let mut text = match &call.callback {
        Callback::SyncComplete {
            watch,
            initial_count,
        } => format!("sync {watch} {initial_count}"),
        Callback::Change {
            watch,
            stats,
            is_initial_sync,
        } => format!(
            "change {watch} +{} ~{} -{}{}",
            stats.created,
            stats.modified,
            stats.deleted,
            if *is_initial_sync { " initial" } else { "" }
        ),
        Callback::Resource { watch, event } => match event {
            ResourceEvent::Applied(object) => {
                format!("applied {watch} {}", object.resource_version())
            }
            ResourceEvent::Deleted(object) => {
                format!("deleted {watch} {}", object.resource_version())
            }
            ResourceEvent::Absent => format!("absent {watch}"),
        },
    };
    if let Some(store) = call.view.store(call.callback.watch()) {
        for change in store.changes() {
            let sign = match change.kind {
                ChangeKind::Created => '+',
                ChangeKind::Modified => '~',
                ChangeKind::Deleted => '-',
            };
            text.push_str(&format!(" {sign}{}", change.object.name()));
        }
    }
    if !call.view.all_synced() {
        text.push_str(" (not all synced)");
    }
    text
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn c1_sync_complete_comes_once_and_before_the_first_change() {
    let mut bench = Bench::new(&[spec("maps")]);
    bench.feed(0, WatchOutput::ListBegin);
    bench.feed(0, WatchOutput::Listed(object("a", 1, 1, 1)));
    bench.feed(0, WatchOutput::PageEnd);
    assert_eq!(bench.told(0), None, "half a list is nothing");
    bench.feed(1, WatchOutput::Listed(object("b", 1, 1, 1)));
    bench.feed(
        1,
        WatchOutput::ListEnd {
            resource_version: String::new(),
        },
    );
    bench.feed(1, WatchOutput::Applied(object("c", 1, 2, 1)));
    assert_eq!(bench.told(1), some("sync 0 3"), "C3: it saw c already");
    assert_eq!(bench.told(10_000), None, "and once only");
}

#[test]
fn c1_changes_during_sync_are_told_when_asked_for() {
    let mut bench = Bench::new(&[WatchSpec {
        on_change_during_sync: true,
        ..spec("maps")
    }]);
    bench.feed(0, WatchOutput::ListBegin);
    bench.feed(0, WatchOutput::Listed(object("a", 1, 1, 1)));
    assert_eq!(bench.told(0), None);
    bench.feed(0, WatchOutput::PageEnd);
    assert_eq!(
        bench.told(0),
        some("change 0 +1 ~0 -0 initial +a (not all synced)")
    );
    bench.feed(1, WatchOutput::Listed(object("b", 1, 1, 1)));
    bench.feed(
        1,
        WatchOutput::ListEnd {
            resource_version: String::new(),
        },
    );
    assert_eq!(bench.told(1), some("sync 0 2"));
    assert_eq!(bench.told(10_000), None);
}

#[test]
fn c1_a_relist_is_no_second_sync_complete() {
    let mut bench = Bench::new(&[spec("maps")]);
    bench.list(0, vec![object("a", 1, 1, 1)]);
    assert_eq!(bench.told(0), some("sync 0 1"));
    bench.list(1_000, vec![object("a", 1, 1, 1)]);
    assert_eq!(bench.told(1_000), None, "the same list is nothing new");
    bench.list(2_000, vec![object("b", 1, 2, 1)]);
    assert_eq!(bench.told(2_000), some("change 0 +1 ~0 -1 -a +b"));
}

#[test]
fn c1_a_sync_complete_that_failed_comes_before_every_change() {
    let mut bench = Bench::new(&[spec("maps")]);
    bench.list(0, vec![object("a", 1, 1, 1)]);
    assert_eq!(bench.due(0), some("sync 0 1"));
    bench.feed(1, WatchOutput::Applied(object("b", 1, 2, 1)));
    bench.finish(1, Outcome::Failed);
    bench.delete(2, "a");
    assert_eq!(bench.due(1_000), None, "a second of backoff");
    assert_eq!(bench.told(1_001), some("sync 0 1"), "with b alone");
    assert_eq!(bench.told(10_000), None);
    bench.feed(10_000, WatchOutput::Applied(object("c", 1, 3, 1)));
    assert_eq!(bench.told(10_000), some("change 0 +1 ~0 -0 +c"));
}

#[test]
fn c2_each_watch_has_its_own_interval_and_zero_is_none() {
    let undebounced = WatchSpec {
        resources: "secrets".to_owned(),
        debounce: Some(Duration::ZERO),
        ..spec("secrets")
    };
    let mut bench = Bench::new(&[spec("maps"), undebounced]);
    for store in [StoreId(0), StoreId(1)] {
        bench.store = store;
        bench.list(0, vec![]);
        assert!(bench.told(0).is_some());
    }
    for ms in 1..4 {
        let version = u32::try_from(ms).unwrap();
        for store in [StoreId(0), StoreId(1)] {
            bench.store = store;
            bench.feed(ms, WatchOutput::Applied(object("a", 1, version, version)));
        }
        let kind = if ms == 1 {
            "+1 ~0 -0 +a"
        } else {
            "+0 ~1 -0 ~a"
        };
        assert_eq!(bench.told(ms), some(&format!("change 1 {kind}")));
        assert_eq!(bench.told(ms), None, "the other one waits");
    }
    assert_eq!(bench.told(499), None);
    assert_eq!(bench.told(500), some("change 0 +1 ~0 -0 +a"));
}

/// Decodes an object of a watch, with the indexes that it asks for.
fn indexed(spec: &WatchSpec, json: &str) -> Object {
    let projection = Projection::new(spec.plan().unwrap().projection());
    let mut decoder = Decoder::new(Arc::new(projection));
    decoder.decode(json.as_bytes()).unwrap().object
}

fn found<'a>(objects: impl Iterator<Item = &'a Arc<Object>>) -> Vec<&'a str> {
    objects.map(|object| object.name()).collect()
}

#[test]
fn i4_an_object_without_a_key_is_counted_and_in_the_store_but_not_under_get() {
    let mut by_app = WatchSpec {
        index_by: vec!["metadata.labels.app".to_owned()],
        ..spec("maps")
    };
    let keyed = r#"{"metadata":{"name":"a","namespace":"ns","labels":{"app":"web"}}}"#;
    let bare = r#"{"metadata":{"name":"b","namespace":"ns"}}"#;
    let fill = |by_app: &WatchSpec| {
        let mut bench = Bench::new(std::slice::from_ref(by_app));
        bench.list(0, vec![]);
        bench.told(0);
        for json in [keyed, bare] {
            bench.feed(1_000, WatchOutput::Applied(indexed(by_app, json)));
        }
        bench
    };

    let mut bench = fill(&by_app);
    assert_eq!(bench.told(1_000), some("change 0 +2 ~0 -0 +a +b"));
    let snapshot = bench.engine.snapshot(bench.store).unwrap();
    assert_eq!(found(snapshot.list()), ["a", "b"]);
    assert!(snapshot.contains(&identity("b")));
    assert_eq!(found(snapshot.get(&["web"]).unwrap()), ["a"]);
    assert_eq!(found(snapshot.get(&[""]).unwrap()), [""; 0]);
    assert_eq!(bench.engine.status(bench.store).unwrap().unkeyed, 1);

    by_app.extra = vec![("missing-key".to_owned(), "empty".to_owned())];
    let bench = fill(&by_app);
    let snapshot = bench.engine.snapshot(bench.store).unwrap();
    assert_eq!(found(snapshot.get(&[""]).unwrap()), ["b"]);
    assert_eq!(bench.engine.status(bench.store).unwrap().unkeyed, 0);
}

#[test]
fn i4_i6_an_object_is_found_under_each_of_its_keys_in_each_named_index() {
    let index = |name: &str, paths: &[&str]| {
        let paths = paths.iter().map(|path| (*path).to_owned());
        (name.to_owned(), paths.collect::<Vec<_>>())
    };
    let routes = WatchSpec {
        indexes: vec![
            index("by-host", &["spec.rules[*].host"]),
            index("by-class", &["spec.class", "spec.rules[*].host"]),
        ],
        ..spec("routes")
    };
    let mut bench = Bench::new(std::slice::from_ref(&routes));
    for json in [
        r#"{"metadata":{"name":"a","namespace":"ns"},"spec":{"class":"x","rules":[{"host":"h1"},{"host":"h2"}]}}"#,
        r#"{"metadata":{"name":"b","namespace":"ns"},"spec":{"class":"y","rules":[{"host":"h2"},{"host":"h2"}]}}"#,
    ] {
        bench.feed(0, WatchOutput::Applied(indexed(&routes, json)));
    }
    let snapshot = bench.engine.snapshot(bench.store).unwrap();
    let get_by = |index: &str, keys: &[&str]| found(snapshot.get_by(index, keys).unwrap());
    assert_eq!(get_by("by-host", &["h1"]), ["a"]);
    assert_eq!(get_by("by-host", &["h2"]), ["a", "b"]);
    assert_eq!(get_by("by-class", &["x"]), ["a"], "once, not for each key");
    assert_eq!(get_by("by-class", &["y", "h2"]), ["b"]);
    assert_eq!(get_by("by-class", &["y", "h1"]), [""; 0]);
    assert_eq!(found(snapshot.get(&["ns", "a"]).unwrap()), ["a"]);
}

#[test]
fn s4_a_view_shows_all_stores_of_the_plugin_at_one_moment() {
    let other = WatchSpec {
        resources: "secrets".to_owned(),
        ..spec("secrets")
    };
    let mut bench = Bench::new(&[spec("maps"), other]);
    bench.list(0, vec![object("a", 1, 1, 1)]);
    let call = bench.engine.poll(at(0)).pop().unwrap();
    bench.delete(1, "a");
    bench.store = StoreId(1);
    bench.list(1, vec![object("s", 1, 1, 1)]);
    let seen = |watch| found(call.view.store(watch).unwrap().snapshot().list());
    assert_eq!((seen(0), seen(1)), (vec!["a"], vec![]));
    assert!(!call.view.all_synced());
    bench.finish(2, Outcome::Ok);

    let call = bench.engine.poll(at(2)).pop().unwrap();
    let seen = |watch| found(call.view.store(watch).unwrap().snapshot().list());
    assert_eq!((seen(0), seen(1)), (vec![], vec!["s"]));
    assert_eq!(call.view.store(0).unwrap().revision(), 2);
    assert!(call.view.all_synced());
}

#[test]
fn c2_the_first_change_is_told_at_once_and_then_one_call_an_interval() {
    let mut bench = Bench::new(&[spec("maps")]);
    bench.list(0, vec![]);
    assert_eq!(bench.told(0), some("sync 0 0"));
    bench.feed(1_000, WatchOutput::Applied(object("a", 1, 1, 1)));
    assert_eq!(bench.told(1_000), some("change 0 +1 ~0 -0 +a"));
    for (ms, text) in [(1_100, 2), (1_300, 3), (1_499, 4)] {
        bench.feed(ms, WatchOutput::Applied(object("a", 1, text, text)));
        assert_eq!(bench.told(ms), None);
    }
    assert_eq!(
        bench.engine.next_due(),
        Some(at(1_500)),
        "the timer is never reset"
    );
    assert_eq!(bench.told(1_500), some("change 0 +0 ~1 -0 ~a"));
}

#[test]
fn c2_changes_during_a_call_are_in_the_next_one() {
    let mut bench = Bench::new(&[WatchSpec {
        debounce: Some(Duration::ZERO),
        ..spec("maps")
    }]);
    bench.list(0, vec![object("a", 1, 1, 1)]);
    assert_eq!(bench.told(0), some("sync 0 1"));
    bench.feed(1, WatchOutput::Applied(object("a", 1, 2, 2)));
    assert_eq!(bench.due(1), some("change 0 +0 ~1 -0 ~a"));
    bench.delete(2, "a");
    assert_eq!(
        bench.due(2),
        None,
        "C4: callbacks of one plugin never overlap"
    );
    assert_eq!(bench.engine.next_due(), None);
    bench.finish(3, Outcome::Ok);
    assert_eq!(bench.told(3), some("change 0 +0 ~0 -1 -a"));
}

#[test]
fn c3_changes_are_net() {
    let mut bench = Bench::new(&[spec("maps")]);
    bench.list(
        0,
        vec![
            object("a", 1, 1, 1),
            object("b", 1, 1, 1),
            object("c", 1, 1, 1),
        ],
    );
    bench.told(0);
    // Within the interval that the sync has begun.
    bench.feed(1, WatchOutput::Applied(object("a", 1, 2, 2)));
    bench.feed(1, WatchOutput::Applied(object("a", 1, 3, 1)));
    bench.feed(1, WatchOutput::Applied(object("new", 1, 4, 1)));
    bench.feed(1, WatchOutput::Applied(object("new", 1, 5, 2)));
    bench.feed(1, WatchOutput::Applied(object("brief", 1, 6, 1)));
    bench.delete(1, "brief");
    bench.delete(1, "b");
    bench.feed(1, WatchOutput::Applied(object("b", 2, 7, 1)));
    bench.delete(1, "c");
    assert_eq!(bench.told(500), some("change 0 +2 ~0 -2 -b +b -c +new"));
    // I8: a new version of the same content is no change.
    bench.feed(2_000, WatchOutput::Applied(object("new", 1, 8, 2)));
    assert_eq!(bench.told(9_000), None);
    // What cancels itself out gives no call, and does not use up the leading edge.
    bench.feed(10_000, WatchOutput::Applied(object("x", 1, 9, 1)));
    bench.delete(10_000, "x");
    assert_eq!(bench.told(10_000), None);
    bench.feed(10_001, WatchOutput::Applied(object("y", 1, 10, 1)));
    assert_eq!(bench.told(10_001), some("change 0 +1 ~0 -0 +y"));
}

#[test]
fn c3_what_another_watchs_callback_could_read_is_told_even_if_it_comes_to_nothing() {
    let other = WatchSpec {
        resources: "services".to_owned(),
        ..spec("services")
    };
    let mut bench = Bench::new(&[spec("maps"), other]);
    let (maps, services) = (StoreId(0), StoreId(1));
    for store in [maps, services] {
        bench.store = store;
        bench.list(0, vec![]);
        bench.told(0);
    }
    // Within the interval of both.
    bench.store = maps;
    bench.feed(1, WatchOutput::Applied(object("brief", 1, 1, 1)));
    bench.store = services;
    bench.feed(2, WatchOutput::Applied(object("web", 1, 1, 1)));
    bench.store = maps;
    bench.delete(499, "brief");
    assert_eq!(bench.told(500), some("change 1 +1 ~0 -0 +web"));
    assert_eq!(
        bench.told(9_000),
        None,
        "it was gone before anybody could read it"
    );

    bench.feed(10_000, WatchOutput::Applied(object("a", 1, 2, 1)));
    assert_eq!(bench.told(10_000), some("change 0 +1 ~0 -0 +a"));
    // Not due yet, but there for who is told of something else.
    bench.feed(10_001, WatchOutput::Applied(object("brief", 1, 3, 1)));
    bench.store = services;
    bench.feed(10_002, WatchOutput::Applied(object("web", 1, 4, 2)));
    assert_eq!(bench.told(10_002), some("change 1 +0 ~1 -0 ~web"));
    bench.store = maps;
    bench.delete(10_003, "brief");
    assert_eq!(bench.told(10_500), some("change 0 +0 ~0 -0"));
    assert_eq!(bench.told(20_000), None, "once");
}

#[test]
fn c4_a_failed_callback_comes_again_with_backoff_and_merged_with_newer_changes() {
    let mut bench = Bench::new(&[spec("maps")]);
    bench.list(0, vec![object("a", 1, 1, 1), object("b", 1, 1, 1)]);
    bench.told(0);
    bench.feed(1_000, WatchOutput::Applied(object("a", 1, 2, 2)));
    assert_eq!(bench.due(1_000), some("change 0 +0 ~1 -0 ~a"));
    bench.delete(1_001, "b");
    bench.finish(1_002, Outcome::Failed);
    assert_eq!(bench.due(2_001), None, "a second of backoff");
    assert_eq!(bench.engine.next_due(), Some(at(2_002)));
    assert_eq!(bench.due(2_002), some("change 0 +0 ~1 -1 ~a -b"));
    bench.finish(2_002, Outcome::Failed);
    assert_eq!(bench.engine.next_due(), Some(at(4_002)), "it doubles");
    // Back to what the plugin knows: nothing is left to tell of it.
    bench.feed(3_000, WatchOutput::Applied(object("a", 1, 3, 1)));
    assert_eq!(bench.told(4_002), some("change 0 +0 ~0 -1 -b"));
    assert_eq!(bench.engine.failures(bench.plugin), 0);
}

#[test]
fn c4_a_failing_watch_does_not_hold_up_the_plugins_others() {
    let other = WatchSpec {
        resources: "secrets".to_owned(),
        ..spec("secrets")
    };
    let mut bench = Bench::new(&[spec("maps"), other]);
    bench.list(0, vec![]);
    assert_eq!(bench.due(0), some("sync 0 0 (not all synced)"));
    bench.finish(0, Outcome::Failed);
    bench.store = StoreId(1);
    bench.list(10, vec![]);
    assert_eq!(bench.told(10), some("sync 1 0"));
    assert_eq!(bench.told(1_000), some("sync 0 0"));
}

#[test]
fn p2_after_a_trap_the_new_instance_is_told_everything_anew() {
    let other = WatchSpec {
        resources: "secrets".to_owned(),
        ..spec("secrets")
    };
    let late = WatchSpec {
        resources: "pods".to_owned(),
        required: false,
        ..spec("pods")
    };
    let mut bench = Bench::new(&[spec("maps"), other, late]);
    bench.list(0, vec![object("a", 1, 1, 1)]);
    bench.store = StoreId(1);
    bench.list(0, vec![object("s", 1, 1, 1)]);
    assert_eq!(bench.told(0), some("sync 0 1"));
    assert_eq!(bench.told(0), some("sync 1 1"));
    bench.store = StoreId(0);
    bench.feed(1_000, WatchOutput::Applied(object("b", 1, 2, 1)));
    assert_eq!(bench.due(1_000), some("change 0 +1 ~0 -0 +b"));
    bench.delete(1_001, "a");
    bench.finish(1_002, Outcome::Died);
    assert_eq!(bench.due(2_001), None, "a second of backoff");
    assert_eq!(bench.told(2_002), some("sync 0 1"));
    assert_eq!(bench.told(2_002), some("sync 1 1"));
    assert_eq!(
        bench.told(9_000),
        None,
        "the unsynced store is not among them"
    );
}

#[test]
fn p2_backoff_grows_while_any_watch_kills_the_instance() {
    let other = WatchSpec {
        resources: "secrets".to_owned(),
        ..spec("secrets")
    };
    let mut bench = Bench::new(&[spec("maps"), other]);
    bench.list(0, vec![]);
    bench.store = StoreId(1);
    bench.list(0, vec![]);
    let mut now = 0;
    for pause in [1_000, 2_000, 4_000] {
        assert_eq!(bench.told(now), some("sync 0 0"));
        assert_eq!(bench.due(now), some("sync 1 0"));
        bench.finish(now, Outcome::Died);
        assert_eq!(bench.engine.next_due(), Some(at(now + pause)));
        now += pause;
    }
    assert_eq!(bench.told(now), some("sync 0 0"));
    assert_eq!(bench.told(now), some("sync 1 0"));
    assert_eq!(bench.engine.failures(bench.plugin), 0);
}

#[test]
fn c5_force_sync_tells_at_once_what_is_pending() {
    let mut bench = Bench::new(&[spec("maps")]);
    bench.list(0, vec![]);
    bench.told(0);
    bench.feed(1, WatchOutput::Applied(object("a", 1, 1, 1)));
    assert_eq!(bench.told(1), None);
    bench.engine.force_sync(at(2), bench.plugin);
    assert_eq!(bench.told(2), some("change 0 +1 ~0 -0 +a"));
    bench.engine.force_sync(at(3), bench.plugin);
    assert_eq!(bench.told(3), None, "nothing pending stays nothing");
}

#[test]
fn c5_force_sync_does_not_wait_for_the_backoff_of_a_failure() {
    let mut bench = Bench::new(&[spec("maps")]);
    bench.list(0, vec![]);
    bench.told(0);
    bench.feed(1_000, WatchOutput::Applied(object("a", 1, 1, 1)));
    assert_eq!(bench.due(1_000), some("change 0 +1 ~0 -0 +a"));
    bench.finish(1_001, Outcome::Failed);
    assert_eq!(bench.due(1_002), None);
    bench.engine.force_sync(at(1_003), bench.plugin);
    assert_eq!(bench.told(1_003), some("change 0 +1 ~0 -0 +a"));
}

#[test]
fn s4_a_view_tells_how_up_to_date_each_store_is() {
    let scope = ScopeSpec::Namespaces(vec!["ns".to_owned(), "other".to_owned()]);
    let mut bench = Bench::new(&[WatchSpec {
        scope,
        ..spec("maps")
    }]);
    let mut check = |ms, source, state: WatchState, expected: (WatchState, u64)| {
        bench.engine.state(at(ms), bench.store, source, state);
        let view = bench.engine.store_view(bench.plugin, 0).unwrap();
        let (state, since) = expected;
        let since = at(since);
        assert_eq!(view.freshness(), &Freshness { state, since });
        let status = bench.engine.status(bench.store).unwrap();
        assert_eq!(&status.freshness, view.freshness());
    };
    let listing = |received| WatchState::Listing { received };
    check(5, 0, listing(0), (WatchState::Discovering, 0));
    check(6, 1, listing(0), (listing(0), 5));
    check(7, 0, listing(9), (listing(9), 5));
    check(8, 0, WatchState::Synced, (listing(0), 6));
    check(9, 1, WatchState::Synced, (WatchState::Synced, 8));
    let stale = || WatchState::Stale { since: at(10) };
    check(20, 1, stale(), (stale(), 20));
    check(21, 1, WatchState::Synced, (WatchState::Synced, 8));
}

#[test]
fn c6_all_synced_waits_for_required_watches_only() {
    let other = WatchSpec {
        resources: "secrets".to_owned(),
        ..spec("secrets")
    };
    let optional = WatchSpec {
        resources: "pods".to_owned(),
        required: false,
        ..spec("pods")
    };
    let mut bench = Bench::new(&[spec("maps"), other, optional]);
    bench.list(0, vec![]);
    assert_eq!(bench.told(0), some("sync 0 0 (not all synced)"));
    assert!(
        !bench.engine.is_synced(bench.plugin) && !bench.engine.is_settled(bench.plugin, |_| true)
    );
    bench.store = StoreId(1);
    bench.list(0, vec![]);
    assert!(
        bench.engine.is_synced(bench.plugin) && !bench.engine.is_settled(bench.plugin, |_| true)
    );
    assert_eq!(bench.told(0), some("sync 1 0"));
    assert!(
        bench.engine.is_settled(bench.plugin, |_| true),
        "pods are given up"
    );
    assert!(
        !bench.engine.is_settled(bench.plugin, |_| false),
        "pods may still come"
    );
}

#[test]
fn r1_r2_a_single_object_is_told_at_sync_and_then_each_newest_state() {
    let single = WatchSpec {
        object_name: Some("a".to_owned()),
        ..spec("one")
    };
    let mut bench = Bench::new(&[single]);
    let patience = bench.engine.patience(StoreId(0));
    assert_eq!(patience, Duration::ZERO, "R1: no debounce");
    bench.feed(0, WatchOutput::ListBegin);
    bench.feed(0, WatchOutput::Listed(object("a", 1, 1, 1)));
    assert_eq!(bench.due(0), None, "R1: nothing before sync");
    bench.feed(
        0,
        WatchOutput::ListEnd {
            resource_version: String::new(),
        },
    );
    assert_eq!(bench.told(0), some("applied 0 1"));
    bench.feed(1, WatchOutput::Applied(object("a", 1, 1, 1)));
    assert_eq!(bench.told(1), None, "R2: an equal version is skipped");
    bench.feed(2, WatchOutput::Applied(object("a", 1, 2, 2)));
    assert_eq!(bench.due(2), some("applied 0 2"), "R1: no debounce");
    bench.feed(3, WatchOutput::Applied(object("a", 1, 3, 3)));
    bench.feed(3, WatchOutput::Applied(object("a", 1, 4, 4)));
    bench.finish(3, Outcome::Failed);
    assert_eq!(bench.due(1_002), None);
    assert_eq!(
        bench.told(1_003),
        some("applied 0 4"),
        "R3: the newest replaces what waited"
    );
    bench.delete(2_000, "a");
    assert_eq!(
        bench.told(2_000),
        some("deleted 0 4"),
        "R2: with the last object"
    );
}

#[test]
fn r1_absence_at_sync_is_told() {
    let single = WatchSpec {
        object_name: Some("a".to_owned()),
        ..spec("one")
    };
    let mut bench = Bench::new(&[single]);
    bench.list(0, vec![]);
    assert_eq!(bench.told(0), some("absent 0"));
}

#[test]
fn w1_objects_of_a_kind_that_is_gone_are_deleted_and_come_back_with_it() {
    let mut bench = Bench::new(&[spec("maps")]);
    bench.list(0, vec![object("a", 1, 1, 1)]);
    bench.told(0);
    bench.feed(1_000, WatchOutput::Gone);
    assert_eq!(bench.told(1_000), some("change 0 +0 ~0 -1 -a"));
    bench.list(2_000, vec![object("a", 2, 9, 1)]);
    assert_eq!(bench.told(2_000), some("change 0 +1 ~0 -0 +a"));
}

#[test]
fn w5_a_relist_reports_what_vanished_and_nothing_of_a_list_that_failed() {
    let mut bench = Bench::new(&[spec("maps")]);
    bench.list(0, vec![object("a", 1, 1, 1), object("b", 1, 1, 1)]);
    bench.told(0);
    bench.feed(1_000, WatchOutput::ListBegin);
    bench.feed(1_000, WatchOutput::Listed(object("a", 1, 2, 2)));
    assert_eq!(bench.told(1_000), None);
    // It fails, and starts again.
    bench.list(2_000, vec![object("a", 1, 2, 2)]);
    assert_eq!(bench.told(2_000), some("change 0 +0 ~1 -1 ~a -b"));
}

#[test]
fn w8_an_undecodable_object_keeps_its_older_version() {
    let mut bench = Bench::new(&[spec("maps")]);
    bench.list(0, vec![object("a", 1, 1, 1)]);
    bench.told(0);
    bench.feed(1, WatchOutput::ListBegin);
    let error = "bad".to_owned();
    bench.feed(
        1,
        WatchOutput::Quarantined {
            identity: Some(identity("a")),
            error,
        },
    );
    bench.feed(
        1,
        WatchOutput::ListEnd {
            resource_version: String::new(),
        },
    );
    assert_eq!(bench.told(9_000), None);
    let status = bench.engine.status(bench.store).unwrap();
    assert_eq!((status.objects, status.quarantined), (1, 1));
    let listed = |bench: &Bench| {
        let quarantine = bench.engine.quarantine(bench.store).unwrap();
        let names = quarantine
            .iter()
            .map(|(identity, _)| identity.name().to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(listed(&bench), ["a"]);
    bench.feed(2, WatchOutput::Applied(object("a", 2, 2, 1)));
    assert!(listed(&bench).is_empty(), "it can be read again");
}

#[test]
fn w10_plugins_with_the_same_watch_share_a_store_and_are_told_each_for_itself() {
    let mut engine = Engine::new();
    let first = engine.add_plugin("first", &plans(&[spec("maps")]), "own");
    assert_eq!(engine.patience(StoreId(0)), DEFAULT_DEBOUNCE);
    let renamed = WatchSpec {
        debounce: Some(Duration::ZERO),
        ..spec("other-name")
    };
    let filtered = WatchSpec {
        keep_fields: vec!["data".to_owned()],
        ..spec("maps")
    };
    let second = engine.add_plugin("second", &plans(&[renamed, filtered]), "own");
    assert_eq!(engine.stores().count(), 2);
    assert_eq!(engine.patience(StoreId(0)), Duration::ZERO);
    assert_eq!(engine.patience(StoreId(1)), DEFAULT_DEBOUNCE);
    let end = || WatchOutput::ListEnd {
        resource_version: String::new(),
    };
    engine.watch(at(0), StoreId(0), 0, WatchOutput::ListBegin);
    engine.watch(at(0), StoreId(0), 0, end());
    let calls: Vec<_> = engine
        .poll(at(0))
        .iter()
        .map(|c| (c.plugin, words(c)))
        .collect();
    assert_eq!(
        calls,
        [
            (first, "sync 0 0".to_owned()),
            (second, "sync 0 0 (not all synced)".to_owned())
        ]
    );
    assert_eq!(engine.watch_name(second, 0), "other-name");
}

/// Without a namespace.
fn cluster_object(name: &str) -> Object {
    let json = format!(r#"{{"metadata":{{"name":"{name}","resourceVersion":"1"}}}}"#);
    let projection = Projection::new(ProjectionSpec::default());
    let decoded = Decoder::new(Arc::new(projection)).decode(json.as_bytes());
    decoded.unwrap().object
}

#[test]
fn w2_a_kind_without_namespaces_is_whole_whatever_namespaces_were_asked_for() {
    for namespaces in [&["a"][..], &["a", "b"]] {
        let mut engine = Engine::new();
        let namespaces = namespaces.iter().map(|name| (*name).to_owned()).collect();
        let spec = WatchSpec {
            scope: ScopeSpec::Namespaces(namespaces),
            ..spec("nodes")
        };
        let plugin = engine.add_plugin("p", &plans(&[spec]), "own");
        let store = engine.store_of(plugin, 0).unwrap();
        let sources = engine.stores().next().unwrap().2.len();
        let resolved = |namespaced| WatchOutput::Resolved {
            kind: "Node".to_owned(),
            api_version: "v1".to_owned(),
            namespaced,
        };
        let names = |engine: &Engine| -> Vec<String> {
            let snapshot = engine.snapshot(store).unwrap();
            snapshot.list().map(|o| o.name().to_owned()).collect()
        };
        let end = || WatchOutput::ListEnd {
            resource_version: String::new(),
        };
        // Each source brings the same, one after the other and in between.
        for (round, listed) in [&["x", "y"][..], &["y"], &["y", "z"]]
            .into_iter()
            .enumerate()
        {
            let mut feed = |source, output| engine.watch(at(0), store, source, output);
            for source in 0..sources {
                if round == 0 {
                    feed(source, resolved(false));
                }
                feed(source, WatchOutput::ListBegin);
            }
            for name in listed {
                for source in 0..sources {
                    feed(source, WatchOutput::Listed(cluster_object(name)));
                }
            }
            for source in 0..sources {
                feed(source, end());
            }
            assert_eq!(names(&engine), listed, "what is not listed is gone");
            assert!(engine.is_synced(plugin));
        }
        // Its definition comes back with another scope.
        for source in 0..sources {
            engine.watch(at(0), store, source, resolved(true));
        }
        assert_eq!(names(&engine), [""; 0]);
        for source in 0..sources {
            engine.watch(at(0), store, source, resolved(false));
            engine.watch(at(0), store, source, WatchOutput::ListBegin);
            engine.watch(
                at(0),
                store,
                source,
                WatchOutput::Listed(cluster_object("x")),
            );
            engine.watch(at(0), store, source, end());
        }
        for source in (0..sources).rev() {
            engine.watch(at(0), store, source, WatchOutput::Gone);
        }
        assert_eq!(names(&engine), [""; 0]);
    }
}

#[test]
fn w2_a_store_of_several_namespaces_is_synced_when_each_is() {
    let scope = ScopeSpec::Namespaces(vec!["ns".to_owned(), "other".to_owned()]);
    let mut bench = Bench::new(&[WatchSpec {
        scope,
        ..spec("maps")
    }]);
    bench.list(0, vec![object("a", 1, 1, 1)]);
    assert_eq!(bench.told(0), None);
    bench
        .engine
        .watch(at(1), bench.store, 1, WatchOutput::ListBegin);
    let end = WatchOutput::ListEnd {
        resource_version: String::new(),
    };
    bench.engine.watch(at(1), bench.store, 1, end);
    assert_eq!(bench.told(1), some("sync 0 1"));
}

/// What can happen to an engine in the property below.
#[derive(Clone, Debug)]
enum Step {
    Apply {
        name: u8,
        uid: u8,
        text: u8,
    },
    Delete {
        name: u8,
    },
    /// A list of these; `complete`: it ends.
    List {
        names: Vec<u8>,
        complete: bool,
    },
    /// Time passes, and what is due runs and ends like this.
    Run {
        ms: u16,
        outcome: u8,
    },
    /// Leadership is lost, or won.
    Elect {
        leads: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..6_u8, 0..2_u8, 0..3_u8).prop_map(|(name, uid, text)| Step::Apply { name, uid, text }),
        2 => (0..6_u8).prop_map(|name| Step::Delete { name }),
        1 => (prop::collection::vec(0..6_u8, 0..6), any::<bool>())
            .prop_map(|(names, complete)| Step::List { names, complete }),
        4 => (0..3_000_u16, 0..5_u8).prop_map(|(ms, outcome)| Step::Run { ms, outcome }),
        1 => any::<bool>().prop_map(|leads| Step::Elect { leads }),
    ]
}

/// A plugin that believes what it is told, and forgets what a failed call told it.
#[derive(Default)]
struct Believer {
    known: BTreeMap<String, String>,
    /// The revision of the store that it saw last.
    seen: u64,
}

impl Believer {
    fn hear(&mut self, call: &Call) {
        let store = call.view.store(0).unwrap();
        match &call.callback {
            Callback::SyncComplete { initial_count, .. } => {
                self.known = store
                    .snapshot()
                    .list()
                    .map(|o| (o.name().to_owned(), content(o)))
                    .collect();
                assert_eq!(*initial_count, self.known.len());
            }
            Callback::Change { stats, .. } => {
                let changes = store.changes();
                let count = |kind| changes.iter().filter(|c| c.kind == kind).count();
                assert_eq!(stats.created, count(ChangeKind::Created));
                assert_eq!(stats.modified, count(ChangeKind::Modified));
                assert_eq!(stats.deleted, count(ChangeKind::Deleted));
                assert!(!changes.is_empty(), "C3: nothing means no call");
                for change in changes {
                    let name = change.object.name().to_owned();
                    let known = match change.kind {
                        ChangeKind::Created => {
                            self.known.insert(name, content(&change.object)).is_none()
                        }
                        ChangeKind::Modified => {
                            let now = content(&change.object);
                            self.known
                                .insert(name, now.clone())
                                .is_some_and(|old| old != now)
                        }
                        ChangeKind::Deleted => self.known.remove(&name).is_some(),
                    };
                    assert!(known, "a change that contradicts what was told before");
                }
            }
            Callback::Resource { .. } => unreachable!("there is no such watch"),
        }
    }
}

fn content(object: &Object) -> String {
    let text = object
        .body()
        .unwrap()
        .as_str()
        .rsplit_once("\"data\":")
        .map(|(_, text)| text);
    format!("{} {}", object.uid(), text.unwrap_or_default())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Invariants 4 and 9: whatever fails, in the end a plugin that believes the
    /// changes it was told knows exactly what is in the store.
    #[test]
    fn c3_c4_no_change_is_lost_or_told_twice(steps in prop::collection::vec(step(), 1..60)) {
        let mut bench = Bench::new(&[spec("maps")]);
        let mut believer = Believer::default();
        let mut now = 0_u64;
        let mut version = 0;
        bench.list(0, vec![]);
        let mut run = |bench: &mut Bench, now: u64, outcome: Outcome| {
            let Some(call) = bench.engine.poll(at(now)).pop() else { return false };
            match outcome {
                Outcome::Ok => believer.hear(&call),
                Outcome::Failed | Outcome::NotLeading => {}
                Outcome::Died => believer.known.clear(),
            }
            bench.finish(now, outcome);
            true
        };
        for step in steps {
            version += 1;
            match step {
                Step::Apply { name, uid, text } => {
                    let object = object(&name.to_string(), uid.into(), version, text.into());
                    bench.feed(now, WatchOutput::Applied(object));
                }
                Step::Delete { name } => bench.delete(now, &name.to_string()),
                Step::List { names, complete } => {
                    bench.feed(now, WatchOutput::ListBegin);
                    for name in names {
                        let object = object(&name.to_string(), 0, version, 1);
                        bench.feed(now, WatchOutput::Listed(object));
                    }
                    if !complete {
                        // It fails, and the next attempt finds what is known.
                        let known: Vec<_> = bench
                            .engine
                            .snapshot(bench.store)
                            .unwrap()
                            .list()
                            .map(|o| o.identity().clone())
                            .collect();
                        bench.feed(now, WatchOutput::ListBegin);
                        for identity in known {
                            let error = String::new();
                            bench.feed(now, WatchOutput::Quarantined { identity: Some(identity), error });
                        }
                    }
                    bench.feed(now, WatchOutput::ListEnd { resource_version: String::new() });
                }
                Step::Run { ms, outcome } => {
                    now += u64::from(ms);
                    let outcome = match outcome {
                        0 => Outcome::Failed,
                        1 => Outcome::Died,
                        2 => Outcome::NotLeading,
                        _ => Outcome::Ok,
                    };
                    run(&mut bench, now, outcome);
                }
                Step::Elect { leads: true } => bench.engine.lead(),
                Step::Elect { leads: false } => bench.engine.follow(),
            }
        }
        bench.engine.lead();
        // A minute and more is beyond every backoff.
        now += 120_000;
        while run(&mut bench, now, Outcome::Ok) {
            now += 1_000;
        }
        let store: BTreeMap<_, _> = bench
            .engine
            .snapshot(bench.store)
            .unwrap()
            .list()
            .map(|o| (o.name().to_owned(), content(o)))
            .collect();
        prop_assert_eq!(&believer.known, &store);
        prop_assert_eq!(bench.engine.next_due(), None);
    }
}

#[test]
fn s6_the_view_of_a_cached_store_says_so_and_gives_no_bodies() {
    let cached = |ttl| WatchSpec {
        storage: crate::spec::Storage::Cached,
        cache_ttl: Some(Duration::from_secs(ttl)),
        ..spec("a")
    };
    let mut engine = Engine::new();
    // One watch serves both plugins (W10), each with its own patience.
    engine.add_plugin("one", &plans(&[cached(1)]), "default");
    engine.add_plugin("two", &plans(&[cached(2)]), "default");
    assert_eq!(engine.stores().count(), 1);
    let store = StoreId(0);
    let (_, plan, _) = engine.stores().next().unwrap();
    let mut decoder = Decoder::new(Arc::new(Projection::new(plan.projection())));
    let mut listed = |version: u32| {
        let json = format!(
            r#"{{"metadata":{{"name":"a","namespace":"ns","uid":"u","resourceVersion":"{version}"}}}}"#
        );
        decoder.decode(json.as_bytes()).unwrap().object
    };
    engine.watch(at(0), store, 0, WatchOutput::ListBegin);
    engine.watch(at(0), store, 0, WatchOutput::Listed(listed(1)));
    let resource_version = "1".to_owned();
    engine.watch(at(0), store, 0, WatchOutput::ListEnd { resource_version });
    let calls = engine.poll(at(0));
    assert_eq!(calls.len(), 2);
    for (call, ttl) in calls.iter().zip([1, 2]) {
        let view = call.view.store(0).unwrap();
        let plan = view.cached_plan().unwrap();
        assert_eq!(plan.cache_ttl, Duration::from_secs(ttl));
        assert_eq!(view.find(Which::All).unwrap().len(), 1);
        assert_eq!(view.object("ns", "a").unwrap().resource_version(), "1");
        let unavailable = ReadError::Unavailable(
            "a ns/a: the store is cached, and its bodies have to be fetched".to_owned(),
        );
        assert_eq!(view.list(1 << 20), Err(unavailable.clone()));
        assert_eq!(view.get_object("ns", "a"), Err(unavailable.clone()));
        assert_eq!(view.get_object("ns", "b"), Ok(None));
        assert_eq!(view.select(&["data"], &[], 1 << 20), Err(unavailable));
    }
    for call in calls {
        engine.finished(at(0), call.plugin, Outcome::Ok);
    }
    // What is sent as metadata may have changed in the rest.
    engine.watch(at(1_000), store, 0, WatchOutput::Applied(listed(2)));
    let calls = engine.poll(at(1_000));
    assert_eq!(calls.len(), 2);
    let changes = calls[0].view.store(0).unwrap().changes();
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].kind, ChangeKind::Modified);
}

#[test]
fn l3_a_follower_keeps_its_stores_and_a_new_leader_is_told_everything() {
    let mut bench = Bench::new(&[
        spec("maps"),
        WatchSpec {
            object_name: Some("a".to_owned()),
            ..spec("one")
        },
    ]);
    bench.engine.follow();
    bench.list(0, vec![object("a", 1, 1, 1)]);
    bench.feed(1, WatchOutput::Applied(object("b", 1, 2, 1)));
    bench.store = StoreId(1);
    bench.list(2, vec![object("a", 1, 1, 1)]);
    assert_eq!(bench.told(10_000), None);
    assert_eq!(bench.engine.next_due(), None);
    assert!(bench.engine.is_synced(bench.plugin), "it is ready to lead");
    bench.engine.lead();
    assert_eq!(bench.told(10_000), some("sync 0 2"));
    assert_eq!(bench.told(10_000), some("applied 1 1"));
    assert_eq!(bench.told(20_000), None);

    // It follows for a while: whatever others did meanwhile, it starts anew.
    bench.engine.follow();
    bench.store = StoreId(0);
    bench.delete(21_000, "b");
    assert_eq!(bench.told(30_000), None);
    bench.engine.lead();
    assert_eq!(bench.told(30_000), some("sync 0 1"));
    assert_eq!(bench.told(30_000), some("applied 1 1"));
    assert_eq!(bench.told(40_000), None);
}

#[test]
fn l3_a_callback_that_leadership_was_lost_under_is_no_failure_and_loses_no_change() {
    let mut bench = Bench::new(&[spec("maps")]);
    bench.list(0, vec![object("a", 1, 1, 1)]);
    assert_eq!(bench.told(0), some("sync 0 1"));
    bench.feed(1_000, WatchOutput::Applied(object("b", 1, 2, 1)));
    assert_eq!(bench.due(1_000), some("change 0 +1 ~0 -0 +b"));
    bench.engine.follow();
    bench.finish(1_001, Outcome::NotLeading);
    assert_eq!(bench.engine.failures(bench.plugin), 0);
    assert_eq!(bench.told(1_002), None);
    bench.engine.lead();
    assert_eq!(
        bench.told(1_002),
        some("sync 0 2"),
        "at once, and everything"
    );

    // The end comes before the engine hears of the loss.
    bench.feed(3_000, WatchOutput::Applied(object("c", 1, 3, 1)));
    assert_eq!(bench.due(3_000), some("change 0 +1 ~0 -0 +c"));
    bench.finish(3_001, Outcome::NotLeading);
    assert_eq!(bench.told(3_500), some("change 0 +1 ~0 -0 +c"));

    // A callback that was still committed tells the next time of leading nothing.
    bench.feed(5_000, WatchOutput::Applied(object("d", 1, 4, 1)));
    assert_eq!(bench.due(5_000), some("change 0 +1 ~0 -0 +d"));
    bench.engine.follow();
    bench.engine.lead();
    bench.finish(5_001, Outcome::Ok);
    assert_eq!(bench.told(5_001), some("sync 0 4"));
}

#[test]
fn l3_a_follower_holds_no_old_bodies_for_changes_that_it_will_not_tell() {
    let mut bench = Bench::new(&[spec("maps")]);
    bench.list(0, vec![object("a", 1, 1, 1)]);
    assert_eq!(bench.told(0), some("sync 0 1"));
    bench.engine.follow();
    let old = {
        let snapshot = bench.engine.snapshot(bench.store).unwrap();
        Arc::downgrade(snapshot.list().next().unwrap())
    };
    bench.feed(1, WatchOutput::Applied(object("a", 1, 2, 2)));
    assert!(old.upgrade().is_none());
}
