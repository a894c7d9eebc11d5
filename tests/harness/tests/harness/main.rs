//! What the harness itself promises to a test's author.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod golden;
mod time;

use std::{cell::RefCell, panic::AssertUnwindSafe, time::Duration};

use haptic_guest::{ChangeStats, Config, Error, Plugin, ResourceEvent, Store, Watch, log, output};
use haptic_harness::{Harness, Incremental, LogLevel, test_both};
use serde_json::{Value, json};

thread_local! {
    /// The watches that `Recorder` declares.
    static WATCHES: RefCell<Vec<Watch>> = const { RefCell::new(Vec::new()) };
}

/// Writes down what it reads.
struct Recorder;

impl Plugin for Recorder {
    fn describe(_: &Config) -> Result<Vec<Watch>, Error> {
        Ok(WATCHES.with_borrow(Clone::clone))
    }

    fn new(_: &Config) -> Result<Self, Error> {
        Ok(Recorder)
    }

    fn on_sync_complete(&mut self, store: &Store<'_>, _count: u32) -> Result<(), Error> {
        log::info!(store = store.name(), "synced");
        self.write(store)
    }

    fn on_change(&mut self, store: &Store<'_>, _stats: ChangeStats) -> Result<(), Error> {
        if store
            .list_json()?
            .iter()
            .any(|object| object.contains("\"bad\""))
        {
            log::warn!("there is a bad one");
            Err("it is bad")?;
        }
        self.write(store)
    }

    fn on_resource_change(&mut self, _: &str, _: ResourceEvent) -> Result<(), Error> {
        Ok(())
    }
}

impl Recorder {
    fn write(&mut self, store: &Store<'_>) -> Result<(), Error> {
        output::write(store.name(), &(store.list_json()?.join("\n") + "\n"))?;
        Ok(())
    }
}

fn recorder(watches: Vec<Watch>) -> haptic_harness::Builder {
    WATCHES.set(watches);
    Harness::native::<Recorder>()
}

fn pods() -> Harness {
    let watch = Watch::new("pods", "v1", "pods").debounce(Duration::ZERO);
    recorder(vec![watch]).load().unwrap()
}

fn pod(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}})
}

fn names(test: &Harness) -> Vec<String> {
    let name = |line: &str| {
        let object: Value = serde_json::from_str(line).unwrap();
        object["metadata"]["name"].as_str().unwrap().to_owned()
    };
    test.output("pods").lines().map(name).collect()
}

/// The text of the panic that a step ends in.
fn panic_of<R>(step: impl FnOnce() -> R) -> String {
    let step = || {
        step();
    };
    let payload = std::panic::catch_unwind(AssertUnwindSafe(step)).unwrap_err();
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => (*payload.downcast_ref::<&str>().unwrap()).to_owned(),
    }
}

fn ran(test: &mut Harness) -> Vec<String> {
    test.take_callbacks()
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn objects_have_the_metadata_that_a_server_gives_them() {
    let mut test = pods();
    test.given(pod("a")).sync();
    let object: Value = serde_json::from_str(test.output("pods")).unwrap();
    assert_eq!(
        object["metadata"],
        json!({
            "name": "a", "namespace": "default", "resourceVersion": "1",
            "uid": "00000000-0000-4000-8000-000000000001",
        })
    );
    let mut changed = pod("a");
    changed["metadata"]["labels"] = json!({"x": "y"});
    test.apply(changed);
    let object: Value = serde_json::from_str(test.output("pods")).unwrap();
    assert_eq!(
        object["metadata"]["uid"],
        "00000000-0000-4000-8000-000000000001"
    );
    assert_eq!(object["metadata"]["resourceVersion"], "2");
    test.delete("v1", "Pod", "", "a").apply(pod("a"));
    let object: Value = serde_json::from_str(test.output("pods")).unwrap();
    assert_eq!(
        object["metadata"]["uid"],
        "00000000-0000-4000-8000-000000000002"
    );
}

#[test]
fn metadata_that_the_yaml_has_stays() {
    let mut test = pods();
    test.given("apiVersion: v1\nkind: Pod\nmetadata: {name: a, uid: mine, resourceVersion: '41'}");
    test.given(pod("b")).sync();
    let objects: Vec<Value> = test
        .output("pods")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(objects[0]["metadata"]["uid"], "mine");
    assert_eq!(objects[0]["metadata"]["resourceVersion"], "41");
    assert_eq!(objects[1]["metadata"]["resourceVersion"], "42");
}

#[test]
fn an_object_that_no_watch_is_about_is_an_error_that_lists_the_watches() {
    let watches = || {
        vec![
            Watch::new("pods", "v1", "pods").namespaces(["shop", "blog"]),
            Watch::object("tuning", "v1", "configmaps", "tuning").own_namespace(),
        ]
    };
    let mut test = recorder(watches()).load().unwrap();
    let ingress = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: a}";
    let error = test.try_apply(ingress).unwrap_err().to_string();
    assert_eq!(
        error,
        "ingresses default/a: the plugin watches no ingresses of networking.k8s.io/v1; it watches\n  \
         pods: pods of v1, in namespace shop\n  \
         pods: pods of v1, in namespace blog\n  \
         tuning: configmaps of v1, the one named tuning, in the host's own namespace (default)\n\
         (`ignore_unwatched()` lets such objects pass, `kind(\"Kind\", \"plurals\")` tells a plural)"
    );
    assert_eq!(
        panic_of(|| {
            test.given(ingress);
        }),
        format!("apply: {error}")
    );
    let mut test = recorder(watches()).ignore_unwatched().load().unwrap();
    test.given(ingress).sync();
    assert_eq!(test.output("pods"), "\n");
}

#[test]
fn nothing_of_a_batch_with_a_mistake_is_taken() {
    let mut test = pods();
    let batch = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\nkind: Pod\n";
    let error = test.try_apply(batch).unwrap_err().to_string();
    assert_eq!(
        error,
        "line 5: the object has no apiVersion and no metadata.name"
    );
    test.sync();
    assert_eq!(test.output("pods"), "\n");
}

#[test]
fn custom_kinds_can_have_plurals_of_their_own() {
    let watch = Watch::new("pods", "example.com/v1", "oxen").debounce(Duration::ZERO);
    let mut test = recorder(vec![watch]).kind("Ox", "oxen").load().unwrap();
    test.given("apiVersion: example.com/v1\nkind: Ox\nmetadata: {name: a}")
        .sync();
    assert_eq!(names(&test), ["a"]);
}

#[test]
fn folders_are_read_in_the_order_of_their_names() {
    let mut test = pods();
    let folder = std::env::temp_dir().join(format!("haptic-harness-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("b")).unwrap();
    std::fs::write(folder.join("b/two.yml"), pod("two").to_string()).unwrap();
    std::fs::write(folder.join("a.json"), pod("one").to_string()).unwrap();
    std::fs::write(folder.join("README.md"), "not this").unwrap();
    std::fs::write(folder.join(".hidden.yaml"), "nor: this").unwrap();
    test.given(&folder).sync();
    assert_eq!(names(&test), ["one", "two"]);
    std::fs::write(folder.join("b/wrong.yaml"), "# a comment\na: [").unwrap();
    let error = test.try_apply(&folder).unwrap_err().to_string();
    assert!(
        error.contains("wrong.yaml:2: the YAML is broken: "),
        "{error}"
    );
    std::fs::remove_dir_all(&folder).unwrap();
    let error = test.try_apply(&folder).unwrap_err().to_string();
    assert!(error.starts_with(&folder.display().to_string()), "{error}");
}

#[test]
fn c2_changes_are_told_at_the_leading_edge_and_then_once_an_interval() {
    let mut test = recorder(vec![Watch::new("pods", "v1", "pods")])
        .load()
        .unwrap();
    test.sync().advance(Duration::from_secs(10));
    ran(&mut test);
    for name in ["a", "b", "c"] {
        test.apply(pod(name)).advance(Duration::from_millis(200));
    }
    test.settle();
    assert_eq!(
        ran(&mut test),
        [
            "+10s pods on-change +1 ~0 -0",
            "+10.5s pods on-change +2 ~0 -0"
        ]
    );
    assert_eq!(test.now(), Duration::from_millis(10_600));
}

#[test]
fn c1_pages_are_told_during_the_sync_to_watches_that_ask_for_it() {
    let watch = Watch::new("pods", "v1", "pods")
        .on_change_during_sync()
        .debounce(Duration::ZERO);
    let mut test = recorder(vec![watch]).load().unwrap();
    for i in 0..1_200 {
        test.given(pod(&format!("p{i:04}")));
    }
    test.sync();
    assert_eq!(
        ran(&mut test),
        [
            "+0ns pods on-change +500 ~0 -0 (initial sync)",
            "+0ns pods on-change +500 ~0 -0 (initial sync)",
            "+0ns pods on-sync-complete 1200",
        ]
    );
}

#[test]
fn a_failed_callback_panics_with_a_report_and_is_tried_again() {
    let mut test = pods();
    test.sync();
    let report = panic_of(|| {
        test.apply(pod("bad"));
    });
    assert_eq!(
        report,
        "apply: +0ns pods on-change +1 ~0 -0: on-change returned an error: it is bad\n\
         the plugin logged:\n  Warn harness: there is a bad one"
    );
    assert_eq!(test.output("pods"), "\n", "invariant 8");
    test.try_delete("v1", "Pod", "default", "bad").unwrap();
    test.apply(pod("good")).settle();
    assert_eq!(names(&test), ["good"]);
}

#[test]
fn mistakes_of_a_test_are_told_in_a_sentence() {
    let mut test = pods();
    test.given(pod("a"));
    let missing = panic_of(|| drop(test.output("pods").to_owned()));
    assert_eq!(
        missing,
        "there is no output `pods`, there are [] (not synced: [\"pods\"])"
    );
    let unknown = panic_of(|| {
        test.sync_watch("poods");
    });
    assert_eq!(unknown, "there is no watch `poods`, there are [\"pods\"]");
    test.sync();
    let late = panic_of(|| {
        test.given(pod("b"));
    });
    assert_eq!(
        late,
        "the watches are synced already: `apply` objects that come later"
    );
    let absent = panic_of(|| {
        test.delete("v1", "Pod", "", "b");
    });
    assert_eq!(
        absent,
        "delete: there is no pods default/b to delete; there are\n  pods default/a"
    );
}

#[test]
fn p2_a_callback_that_is_made_to_trap_changes_nothing_and_a_new_instance_is_told_everything() {
    let mut test = pods();
    test.given(pod("a")).sync();
    ran(&mut test);
    test.trap_next();
    let error = test.try_apply(pod("b")).unwrap_err().to_string();
    assert!(
        error.contains("on-change trapped: the test asked for it"),
        "{error}"
    );
    assert_eq!(names(&test), ["a"], "invariant 8");
    test.settle();
    assert_eq!(names(&test), ["a", "b"]);
    assert_eq!(
        ran(&mut test).last().unwrap(),
        "+1s pods on-sync-complete 2"
    );
}

#[test]
fn invariant_9_a_commit_that_is_made_to_fail_brings_the_changes_again() {
    let mut test = pods();
    test.sync();
    ran(&mut test);
    test.fail_commit("the disk is full");
    let error = test.try_apply(pod("a")).unwrap_err().to_string();
    assert!(
        error.contains("its outputs were not committed: the disk is full"),
        "{error}"
    );
    assert_eq!(test.output("pods"), "\n");
    test.settle();
    assert_eq!(names(&test), ["a"]);
    assert_eq!(ran(&mut test).len(), 2);
}

#[test]
fn log_lines_are_asserted_by_level_and_text() {
    let mut test = pods();
    test.sync();
    test.assert_logged(LogLevel::Info, "store=\"pods\"");
    test.assert_quiet(LogLevel::Warn);
    let missing = panic_of(|| test.assert_logged(LogLevel::Warn, "synced"));
    assert_eq!(
        missing,
        "no Warn line has \"synced\"; the last of 1 lines:\n  Info harness: synced store=\"pods\""
    );
    drop(test.try_apply(pod("bad")));
    let loud = panic_of(|| test.assert_quiet(LogLevel::Warn));
    assert!(
        loud.starts_with(
            "there is a line of level Warn or above: Warn harness: there is a bad one"
        ),
        "{loud}"
    );
    assert_eq!(test.take_logs().len(), 2);
    test.assert_quiet(LogLevel::Trace);
}

/// Appends the names that are new, and so forgets nothing and corrects nothing: wrong in every way
/// that an incremental plugin can be wrong in.
#[derive(Default)]
struct Careless {
    names: Vec<String>,
}

impl Plugin for Careless {
    fn describe(_: &Config) -> Result<Vec<Watch>, Error> {
        Ok(vec![Watch::new("pods", "v1", "pods")])
    }

    fn new(_: &Config) -> Result<Self, Error> {
        Ok(Careless::default())
    }

    fn on_sync_complete(&mut self, store: &Store<'_>, _: u32) -> Result<(), Error> {
        let names = store.select::<(String,)>(&["metadata.name"], &[])?;
        self.names = names.into_iter().map(|(name,)| name).collect();
        output::write("names", &self.names.join("\n"))?;
        Ok(())
    }

    fn on_change(&mut self, store: &Store<'_>, _: ChangeStats) -> Result<(), Error> {
        let created = store.changes()?.into_iter().map(|change| change.name);
        self.names.extend(created);
        self.names.sort();
        self.names.dedup();
        output::write("names", &self.names.join("\n"))?;
        Ok(())
    }
}

#[test]
fn a_careless_incremental_plugin_is_found_out_in_few_steps() {
    let pool = json!([pod("a"), pod("b")]);
    let report = panic_of(|| Incremental::of(Harness::native::<Careless>, pool.clone()).check());
    assert!(
        report.contains("from those at once (-) to those step by step (+)"),
        "{report}"
    );
    let steps = report.lines().filter(|line| line.starts_with("  ")).count();
    // It comes, it is told, it goes.
    assert!((2..=4).contains(&steps), "{report}");
    assert!(report.contains("delete Pod"), "{report}");
    // What renders everything each time passes.
    WATCHES.set(vec![Watch::new("pods", "v1", "pods")]);
    Incremental::of(Harness::native::<Recorder>, pool)
        .runs(3)
        .check();
}

test_both! {
    Careless, "target/guests/wasm32-wasip2/release/hello_plugin.wasm";

    fn a_plugin_is_tested_both_ways(plugin: Builder) {
        let mut test = plugin.ignore_unwatched().load().unwrap();
        test.given(pod("a")).sync();
        assert_eq!(test.outputs().len(), 1);
    }
}
