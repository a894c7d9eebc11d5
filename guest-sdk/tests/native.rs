//! What a plugin author's code sees, natively, with a small backend in place of the host.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::rc::Rc;

use haptic_guest::native::Instance;
use haptic_guest::settings::Problems;
use haptic_guest::store::Page;
use haptic_guest::{
    ChangeStats, Config, Error, Plugin, ResourceEvent, Store, StoreError, Watch, all_synced, log,
    output,
};
use serde::Deserialize;

use support::Fake;

#[derive(Debug, Deserialize, PartialEq)]
struct Pod {
    metadata: Metadata,
    #[serde(default)]
    phase: Phase,
}

#[derive(Debug, Deserialize, PartialEq)]
struct Metadata {
    name: String,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
struct Phase {
    restarts: u8,
}

fn names(pods: Vec<Pod>) -> Vec<String> {
    pods.into_iter().map(|pod| pod.metadata.name).collect()
}

/// Writes how often it has rendered; refuses to be made with the setting `"broken"`.
struct Counter {
    rendered: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    #[serde(default)]
    broken: bool,
    #[serde(default)]
    limits: [u8; 2],
}

impl haptic_guest::Settings for Settings {
    fn check(&self, problems: &mut Problems) {
        let [low, high] = self.limits;
        problems.check(low <= high, "limits[0]", "is above limits[1]");
        problems.check(high < 100, "limits[1]", "is not below 100");
    }
}

impl Plugin for Counter {
    fn describe(config: &Config) -> Result<Vec<Watch>, Error> {
        config.settings::<Settings>()?;
        Ok(vec![Watch::new("pods", "v1", "pods")])
    }

    fn new(config: &Config) -> Result<Self, Error> {
        if config.settings::<Settings>()?.broken {
            Err("cannot be made")?;
        }
        Ok(Counter { rendered: 0 })
    }

    fn render(&mut self) -> Result<(), Error> {
        self.rendered += 1;
        Ok(output::write("count", &self.rendered.to_string())?)
    }
}

#[test]
fn typed_reads_decode_what_the_backend_answers() {
    let fake = Fake::with_pods(&[("a", "one", ""), ("a", "two", ""), ("b", "one", "")]);
    fake.run(|| {
        let pods = Store::open("pods").unwrap();
        assert_eq!(
            (pods.name(), pods.len(), pods.is_empty(), pods.revision()),
            ("pods", 3, false, 7)
        );
        assert_eq!(names(pods.get(&["a"]).unwrap()), ["one", "two"]);
        assert_eq!(names(pods.list().unwrap()), ["one", "two", "one"]);
        let one: Option<Pod> = pods.get_object("b", "one").unwrap();
        assert_eq!(one.unwrap().metadata.name, "one");
        assert_eq!(pods.get_object::<Pod>("b", "two").unwrap(), None);
        assert_eq!(
            pods.get_by::<Pod>("by-host", &["x"]).unwrap_err(),
            StoreError::NoSuchIndex("by-host".to_owned())
        );
        assert_eq!(pods.changes().unwrap().len(), 1);
        assert_eq!(
            pods.get_object_json("a", "two").unwrap().as_deref(),
            Some(r#"{"metadata":{"namespace":"a","name":"two"}}"#)
        );
    });
    assert_eq!(
        *fake.asked.borrow(),
        [r#"get pods ["a"]"#, r#"get-by pods by-host ["x"]"#]
    );
}

#[test]
fn an_object_of_another_shape_is_named_with_its_field() {
    let fake = Fake::with_pods(&[
        ("a", "one", ""),
        ("a", "two", r#","phase":{"restarts":-1}"#),
    ]);
    let error = fake.run(|| Store::open("pods").unwrap().list::<Pod>().unwrap_err());
    assert_eq!(
        error.to_string(),
        "a/two: field `phase.restarts`: invalid value: integer `-1`, expected u8"
    );
}

#[test]
fn pages_are_fetched_one_after_the_other_as_they_are_needed() {
    let fake = Fake::with_pods(&[("a", "1", ""), ("a", "2", ""), ("a", "3", "")]);
    fake.run(|| {
        let pods = Store::open("pods").unwrap();
        let mut iter = pods.iter::<Pod>(2);
        assert_eq!(iter.next().unwrap().unwrap().metadata.name, "1");
        assert_eq!(fake.asked.borrow().len(), 1);
        assert_eq!(names(iter.map(Result::unwrap).collect()), ["2", "3"]);
        let page: Page<Pod> = pods.page(Some("2"), 5).unwrap();
        assert_eq!((names(page.items), page.next), (vec!["3".to_owned()], None));
    });
    assert_eq!(
        *fake.asked.borrow(),
        ["page None 2", r#"page Some("2") 2"#, r#"page Some("2") 5"#]
    );
}

#[test]
fn an_iterator_over_pages_ends_after_an_error() {
    let fake = Fake::with_pods(&[("a", "1", r#","phase":1"#), ("a", "2", "")]);
    fake.run(|| {
        let pods = Store::open("pods").unwrap();
        let results: Vec<_> = pods.iter::<Pod>(1).collect();
        assert!(matches!(
            results.as_slice(),
            [Err(StoreError::Decode { .. })]
        ));
    });
}

#[test]
fn a_selection_is_typed_rows() {
    let fake = Rc::new(Fake {
        columns: vec![r#"[["a","b"],[1,null]]"#.to_owned()],
        ..Fake::default()
    });
    let rows: Vec<(String, Option<u32>)> = fake.run(|| {
        let pods = Store::open("pods").unwrap();
        pods.select(&["metadata.name", "spec.port"], &["shop"])
            .unwrap()
    });
    assert_eq!(rows, [("a".to_owned(), Some(1)), ("b".to_owned(), None)]);
    assert_eq!(
        *fake.asked.borrow(),
        [r#"select pods ["metadata.name", "spec.port"] ["shop"]"#]
    );
}

#[test]
fn the_default_callbacks_render_once_everything_is_synced() {
    let fake = Fake::with_pods(&[]);
    let mut instance = Instance::<Counter>::new();
    let mut deliver = |synced: bool| {
        fake.synced.set(synced);
        fake.run(|| {
            let pods = Store::open("pods").unwrap();
            instance.on_sync_complete(&pods, 0).unwrap();
            instance.on_change(&pods, ChangeStats::default()).unwrap();
        });
        fake.outputs.borrow().len()
    };
    assert_eq!(deliver(false), 0);
    assert_eq!(deliver(true), 2);
    let last = fake.outputs.borrow().last().cloned();
    assert_eq!(last, Some(("count".to_owned(), b"2".to_vec())));
}

#[test]
fn an_object_watch_without_its_callback_is_an_error() {
    let fake = Fake::with_pods(&[]);
    let error = fake
        .run(|| Instance::<Counter>::new().on_resource_change("settings", ResourceEvent::Absent))
        .unwrap_err();
    assert_eq!(
        error,
        "the plugin watches one object as `settings` but does not implement on_resource_change"
    );
}

#[test]
fn a_plugin_that_cannot_be_made_is_made_by_a_later_callback() {
    let fake = Fake::with_pods(&[]);
    let mut instance = Instance::<Counter>::new();
    let mut deliver = || fake.run(|| instance.on_sync_complete(&Store::open("pods").unwrap(), 0));
    *fake.config.borrow_mut() = r#"{"broken": true}"#.to_owned();
    assert_eq!(deliver(), Err("cannot be made".to_owned()));
    *fake.config.borrow_mut() = "{}".to_owned();
    assert_eq!(deliver(), Ok(()));
}

#[test]
fn describe_refuses_settings_with_the_name_of_the_field() {
    let describe = |json| Instance::<Counter>::describe(&Config::from_json(json));
    assert_eq!(describe("{}").unwrap(), [Watch::new("pods", "v1", "pods")]);
    assert_eq!(
        describe(r#"{"broken": 1}"#).unwrap_err(),
        "settings: field `broken`: invalid type: integer `1`, expected a boolean"
    );
    assert!(
        describe(r#"{"brokn": true}"#)
            .unwrap_err()
            .contains("`brokn`")
    );
    assert!(describe("{").unwrap_err().contains("not the JSON text"));
    // What a type cannot say, all of it at once.
    assert_eq!(
        describe(r#"{"limits": [255, 200]}"#).unwrap_err(),
        "settings: field `limits[0]`: is above limits[1]; field `limits[1]`: is not below 100"
    );
}

#[test]
fn an_event_is_the_object_as_it_is_now() {
    let pod = r#"{"metadata":{"name":"one"}}"#.to_owned();
    let applied: Option<Pod> = ResourceEvent::Applied(pod.clone()).current().unwrap();
    assert_eq!(applied.unwrap().metadata.name, "one");
    assert_eq!(ResourceEvent::Deleted(pod).current::<Pod>().unwrap(), None);
    assert_eq!(ResourceEvent::Absent.current::<Pod>().unwrap(), None);
    assert_eq!(
        ResourceEvent::Applied(r#"{"metadata":{}}"#.to_owned())
            .current::<Pod>()
            .unwrap_err()
            .to_string(),
        "an object without metadata.name: field `metadata`: missing field `name`"
    );
}

#[test]
fn log_lines_carry_level_module_message_and_fields() {
    let fake = Fake::with_pods(&[]);
    fake.run(|| {
        let n = 2;
        log::info!("plain {n}");
        log::warn!(pods = n, name = "x", "with {} fields", "some",);
        log::error!(only = 1.5, "field");
    });
    assert_eq!(
        *fake.lines.borrow(),
        [
            "Info native plain 2 []",
            r#"Warn native with some fields [("pods", "2"), ("name", "x")]"#,
            r#"Error native field [("only", "1.5")]"#,
        ]
    );
}

#[test]
fn outputs_are_text_or_bytes_and_their_errors_are_typed() {
    let fake = Fake::with_pods(&[]);
    fake.run(|| {
        output::write("a", "text").unwrap();
        output::write_bytes("b", &[0, 255]).unwrap();
        assert_eq!(
            output::write("", "").unwrap_err().to_string(),
            "invalid output name: it is empty"
        );
    });
    assert_eq!(
        *fake.outputs.borrow(),
        [
            ("a".to_owned(), b"text".to_vec()),
            ("b".to_owned(), vec![0, 255])
        ]
    );
}

#[test]
fn without_a_backend_reads_and_writes_say_so() {
    let says_so = |error: String| assert!(error.contains("native::run"), "{error}");
    says_so(Store::open("pods").unwrap_err().to_string());
    says_so(output::write("a", "").unwrap_err().to_string());
    assert!(!all_synced());
    assert_eq!(Config::get().json(), "{}");

    let kept = Fake::with_pods(&[("a", "1", "")]).run(|| Store::open("pods").unwrap());
    says_so(kept.list_json().unwrap_err().to_string());
    assert_eq!((kept.len(), kept.revision()), (0, 0));
}

#[test]
fn runs_nest_and_end_also_with_a_panic() {
    let outer = Fake::with_pods(&[]);
    let inner = Fake::with_pods(&[("a", "1", "")]);
    let len = || Store::open("pods").unwrap().len();
    outer.run(|| {
        assert_eq!(len(), 0);
        assert_eq!(inner.run(len), 1);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            inner.run(|| std::panic::resume_unwind(Box::new(())))
        }));
        assert!(panicked.is_err());
        assert_eq!(len(), 0);
    });
    assert!(Store::open("pods").is_err());
}

/// The crate carries the WIT for those who build from the registry; here it is the repository's.
#[test]
fn the_crates_wit_is_the_repositorys() {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/wit/plugin.wit");
    let repository = concat!(env!("CARGO_MANIFEST_DIR"), "/../wit/plugin.wit");
    assert_eq!(
        std::fs::read_to_string(own).unwrap(),
        std::fs::read_to_string(repository).unwrap()
    );
}
