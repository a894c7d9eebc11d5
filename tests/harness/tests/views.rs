//! Typed views and caches of the SDK, on the host's own stores: what they read is what the host
//! selects, and a cache is what a list would be, whatever happened before.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use haptic_guest::{
    Cache, ChangeStats, Config, Error, Plugin, Resource, Store, Watch, cache::Key, output,
};
use haptic_harness::{Harness, LogLevel};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Paths of every kind that a plugin can evaluate, and one that only the host can.
#[derive(Clone, Debug, PartialEq, Resource)]
#[resource(
    api_version = "v1",
    plural = "configmaps",
    name = "things",
    debounce = "0ms"
)]
#[resource(index("by-colour", "data.colour"))]
struct Thing {
    namespace: String,
    name: String,
    labels: BTreeMap<String, String>,
    #[field("data.colour")]
    colour: Option<String>,
    #[field("data.list[*].host")]
    hosts: Vec<Value>,
    #[field("data.list[0].host")]
    first: Option<Value>,
    #[field("data.list[-1]")]
    last: Option<Value>,
    #[field("data['a.b/c']", default)]
    quoted: String,
    #[field("data.*")]
    all: Vec<Value>,
}

/// The same with a filter.
#[derive(Clone, Debug, PartialEq, Resource)]
#[resource(
    api_version = "v1",
    plural = "configmaps",
    name = "filtered",
    debounce = "0ms"
)]
struct Filtered {
    #[field("data.colour")]
    colour: Option<String>,
    #[field("data.list[?@.host == 'x'].host")]
    hosts: Vec<String>,
}

/// What the plugin saw in its last callback that succeeded.
#[derive(Clone, Debug, Default, PartialEq)]
struct Seen {
    things: BTreeMap<Key, Thing>,
    filtered: BTreeMap<Key, Filtered>,
}

thread_local! {
    /// What the plugin's next callbacks do, first first: nothing left is success.
    static SCRIPT: RefCell<Vec<Deed>> = const { RefCell::new(Vec::new()) };
    /// What it believes.
    static BELIEVED: RefCell<Seen> = RefCell::default();
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Deed {
    /// Updates its caches, and returns an error.
    Fail,
    /// Panics after its update.
    Die,
    /// Returns ok without having looked.
    Look,
}

/// Keeps two caches, and knows from their reports alone what there is.
struct Believer {
    things: Cache<Thing>,
    filtered: Cache<Filtered>,
    seen: Seen,
}

impl Plugin for Believer {
    fn describe(_: &Config) -> Result<Vec<Watch>, Error> {
        Ok(vec![Thing::watch(), Filtered::watch()])
    }

    fn new(_: &Config) -> Result<Self, Error> {
        Ok(Believer {
            things: Cache::new(),
            filtered: Cache::new(),
            seen: Seen::default(),
        })
    }

    fn on_sync_complete(&mut self, _: &Store<'_>, _: u32) -> Result<(), Error> {
        self.follow()
    }

    fn on_change(&mut self, _: &Store<'_>, _: ChangeStats) -> Result<(), Error> {
        self.follow()
    }
}

/// Takes into `seen` what an update names, and nothing else.
fn believe<T: Clone + haptic_guest::resource::ObjectView>(
    cache: &mut Cache<T>,
    seen: &mut BTreeMap<Key, T>,
) -> Result<(), Error> {
    let update = cache.update()?;
    assert_eq!(update, cache.update()?, "a second update says the same");
    if update.is_complete {
        seen.clear();
    }
    for key in &update.changed {
        seen.insert(key.clone(), cache.get(key).unwrap().clone());
    }
    for key in &update.removed {
        seen.remove(key);
    }
    Ok(())
}

impl Believer {
    fn follow(&mut self) -> Result<(), Error> {
        let deed = SCRIPT.with_borrow_mut(|script| (!script.is_empty()).then(|| script.remove(0)));
        if deed == Some(Deed::Look) {
            return Ok(());
        }
        let mut seen = self.seen.clone();
        believe(&mut self.things, &mut seen.things)?;
        believe(&mut self.filtered, &mut seen.filtered)?;
        // Whatever was told before: the entries are what the stores hold now.
        let listed = Thing::store()?.rows::<Thing>(&[])?.filter_map(Result::ok);
        let cached: Vec<_> = self.things.iter().map(|(_, thing)| thing.clone()).collect();
        assert_eq!(cached, listed.collect::<Vec<_>>());
        let listed = Filtered::store()?
            .rows::<Filtered>(&[])?
            .filter_map(Result::ok);
        let cached: Vec<_> = self
            .filtered
            .iter()
            .map(|(_, thing)| thing.clone())
            .collect();
        assert_eq!(cached, listed.collect::<Vec<_>>());
        match deed {
            Some(Deed::Fail) => Err(Error::new("on purpose")),
            Some(Deed::Die) => panic!("on purpose"),
            Some(Deed::Look) | None => {
                self.seen = seen;
                BELIEVED.set(self.seen.clone());
                Ok(())
            }
        }
    }
}

fn thing(namespace: &str, name: &str, data: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"namespace": namespace, "name": name, "labels": {"n": name}},
        "data": data,
    })
}

#[derive(Clone, Debug)]
enum Step {
    Apply(&'static str, &'static str, Value),
    Delete(usize),
    Deed(Deed),
    FailCommit,
    Wait,
}

fn data() -> impl Strategy<Value = Value> {
    let host = prop_oneof![
        Just(json!({"host": "x"})),
        Just(json!({"host": "y", "z": [1, {"host": "x"}]})),
        Just(json!({"host": {"deep": ["]", "\""]}})),
        Just(json!({})),
        Just(json!(null)),
        Just(json!("host")),
    ];
    let colour = prop_oneof![
        Just(json!("red")),
        Just(json!("bl\"ue\\")),
        Just(json!(null)),
        // Does not fit: it is left out of the caches.
        Just(json!(7)),
    ];
    (colour, proptest::collection::vec(host, 0..3), any::<bool>()).prop_map(
        |(colour, list, quoted)| {
            let mut data = json!({"colour": colour, "list": list});
            if quoted {
                data["a.b/c"] = json!("quoted é");
            }
            data
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let namespace = prop_oneof![Just("a"), Just("b")];
    let name = prop_oneof![Just("x"), Just("y"), Just("z")];
    prop_oneof![
        5 => (namespace, name, data()).prop_map(|(namespace, name, data)| Step::Apply(namespace, name, data)),
        2 => (0..6_usize).prop_map(Step::Delete),
        1 => Just(Step::Deed(Deed::Fail)),
        1 => Just(Step::Deed(Deed::Die)),
        1 => Just(Step::Deed(Deed::Look)),
        1 => Just(Step::FailCommit),
        2 => Just(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn c3_c4_p2_a_cache_is_what_a_list_would_be_and_its_reports_miss_nothing(
        before in 0..4_usize,
        first in proptest::option::of(any::<bool>()),
        steps in proptest::collection::vec(step(), 0..25),
    ) {
        SCRIPT.set(Vec::new());
        BELIEVED.take();
        let mut test = Harness::native::<Believer>().load().unwrap();
        let mut exist = BTreeSet::new();
        for (i, name) in ["x", "y", "z"].iter().take(before).enumerate() {
            test.given(thing("a", name, json!({"colour": i.to_string()})));
            exist.insert(("a", *name));
        }
        match first {
            Some(true) => _ = test.fail_commit("on purpose"),
            Some(false) => SCRIPT.with_borrow_mut(|script| script.push(Deed::Fail)),
            None => {}
        }
        // A callback that fails on purpose is no failure of the test; an assertion in it is.
        let mut failed = Vec::new();
        failed.extend(test.try_sync().err());
        for step in steps {
            match step {
                Step::Apply(namespace, name, data) => {
                    exist.insert((namespace, name));
                    failed.extend(test.try_apply(thing(namespace, name, data)).err());
                }
                Step::Delete(which) => {
                    if let Some((namespace, name)) = exist.iter().nth(which).copied() {
                        exist.remove(&(namespace, name));
                        failed.extend(test.try_delete("v1", "ConfigMap", namespace, name).err());
                    }
                }
                Step::Deed(deed) => SCRIPT.with_borrow_mut(|script| script.push(deed)),
                Step::FailCommit => _ = test.fail_commit("on purpose"),
                Step::Wait => failed.extend(test.try_advance(Duration::from_secs(3)).err()),
            }
        }
        SCRIPT.set(Vec::new());
        // One more change in each store: both are told, and look.
        failed.extend(test.try_apply(thing("c", "end", json!({"colour": "end"}))).err());
        for _ in 0..3 {
            failed.extend(test.try_settle().err());
        }
        for failure in failed {
            let text = failure.to_string();
            prop_assert!(text.contains("on purpose") && !text.contains("assertion"), "{}", text);
        }
        // A plugin that starts now believes what a plugin that saw it all believes.
        let believed = BELIEVED.take();
        let mut fresh = Harness::native::<Believer>().load().unwrap();
        for object in test.objects() {
            fresh.given(object);
        }
        fresh.sync();
        prop_assert_eq!(believed, BELIEVED.take());
    }

    #[test]
    fn i1_a_view_of_one_object_is_its_row_of_the_hosts_selection(data in data()) {
        thread_local!(static ROWS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) });
        struct Reader;
        impl Plugin for Reader {
            fn describe(_: &Config) -> Result<Vec<Watch>, Error> {
                Ok(vec![Thing::watch(), Filtered::watch()])
            }
            fn new(_: &Config) -> Result<Self, Error> {
                Ok(Reader)
            }
            fn render(&mut self) -> Result<(), Error> {
                let text = |result: Result<String, haptic_guest::StoreError>| match result {
                    Ok(text) => text,
                    Err(error) => error.to_string(),
                };
                let (things, filtered) = (Thing::store()?, Filtered::store()?);
                ROWS.set(vec![
                    text(Thing::list().map(|rows| format!("{:?}", rows.first()))),
                    text(things.view::<Thing>("a", "x").map(|view| format!("{view:?}"))),
                    text(Filtered::list().map(|rows| format!("{:?}", rows.first()))),
                    text(filtered.view::<Filtered>("a", "x").map(|view| format!("{view:?}"))),
                ]);
                Ok(())
            }
        }
        let mut test = Harness::native::<Reader>().load().unwrap();
        test.given(thing("a", "x", data)).sync();
        let rows = ROWS.take();
        prop_assert_eq!(&rows[0], &rows[1]);
        prop_assert_eq!(&rows[2], &rows[3]);
    }
}

#[test]
fn i7_the_watch_of_a_view_keeps_what_its_fields_name_and_no_more() {
    let watch = Thing::watch();
    assert_eq!(
        watch.keep_fields,
        [
            "metadata.namespace",
            "metadata.name",
            "metadata.labels",
            "data.colour",
            "data.list[*].host",
            "data.list",
            "data['a.b/c']",
            "data[*]",
        ]
    );
    assert_eq!(
        (watch.name.as_str(), watch.resources.as_str()),
        ("things", "configmaps")
    );
    assert_eq!(watch.debounce, Some(Duration::ZERO));
    assert_eq!(watch.indexes[0].paths, ["data.colour"]);

    #[derive(Resource)]
    #[resource(api_version = "networking.k8s.io/v1", plural = "ingresses")]
    #[resource(index_by("spec.host", "metadata.name"), namespaces("shop", "blog"))]
    #[resource(
        label_selector = "a=b",
        field_selector = "spec.x=y",
        cache_ttl = "2m",
        debounce = "250ms"
    )]
    #[resource(
        keep("status"),
        ignore("metadata.managedFields"),
        optional,
        on_change_during_sync
    )]
    #[allow(dead_code, reason = "only its watch is looked at")]
    struct Everything {
        #[field("spec.host")]
        host: String,
    }
    let expected = Watch::new("ingresses", "networking.k8s.io/v1", "ingresses")
        .index_by(["spec.host", "metadata.name"])
        .namespaces(["shop", "blog"])
        .label_selector("a=b")
        .field_selector("spec.x=y")
        .keep_fields(["spec.host", "status"])
        .ignore_fields(["metadata.managedFields"])
        .cached_for(Duration::from_secs(120))
        .debounce(Duration::from_millis(250))
        .optional()
        .on_change_during_sync();
    assert_eq!(Everything::watch(), expected);

    #[derive(Resource)]
    #[resource(api_version = "v1", plural = "pods", own_namespace)]
    #[allow(dead_code, reason = "only its watch is looked at")]
    struct Whole {
        #[field("$")]
        object: Value,
    }
    assert_eq!(
        Whole::watch(),
        Watch::new("pods", "v1", "pods").own_namespace()
    );
}

/// Lists what fits, names what does not.
struct Lister;

impl Plugin for Lister {
    fn describe(_: &Config) -> Result<Vec<Watch>, Error> {
        Ok(vec![Thing::watch()])
    }

    fn new(_: &Config) -> Result<Self, Error> {
        Ok(Lister)
    }

    fn render(&mut self) -> Result<(), Error> {
        let things = Thing::store()?;
        let mut text = String::new();
        for row in things.rows::<Thing>(&[])? {
            text += &match row {
                Ok(thing) => format!("{}/{}\n", thing.namespace, thing.name),
                Err(error) => format!("! {error}\n"),
            };
        }
        output::write("rows", &text)?;
        let strict = Thing::list().map(|things| things.len());
        output::write(
            "strict",
            &strict.map_or_else(|error| error.to_string(), |n| n.to_string()),
        )?;
        let red: Vec<String> = things
            .views_by::<Thing>("by-colour", &["red"])?
            .into_iter()
            .map(|thing| thing.name)
            .collect();
        output::write("red", &red.join(" "))?;
        let some = Thing::get(&["a"])?.len();
        output::write("some", &some.to_string())?;
        let mut cache = Cache::<Thing>::new();
        cache.update()?;
        output::write(
            "unreadable",
            &format!("{:?}", cache.unreadable().collect::<Vec<_>>()),
        )?;
        Ok(())
    }
}

#[test]
fn an_object_that_does_not_fit_is_named_and_the_others_are_read() {
    let mut test = Harness::native::<Lister>().load().unwrap();
    test.given(thing("a", "x", json!({"colour": "red"})))
        .given(thing("b", "y", json!({"colour": ["green"]})))
        .given(thing("b", "z", json!({"colour": "red"})))
        .sync();
    let wrong = "b/y, field `data.colour`: invalid type: sequence, expected a string";
    assert_eq!(test.output("rows"), format!("a/x\n! {wrong}\nb/z\n"));
    assert_eq!(test.output("strict"), wrong);
    assert_eq!(test.output("red"), "x z");
    assert_eq!(test.output("some"), "1");
    assert!(test.output("unreadable").contains("name: \"y\""));
    let warned: Vec<_> = test
        .logs()
        .into_iter()
        .filter(|line| line.level == LogLevel::Warn)
        .map(|line| line.message)
        .collect();
    assert_eq!(warned, [format!("left out, for it does not fit: {wrong}")]);
}
