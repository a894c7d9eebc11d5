#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on says where by panicking"
)]

use std::{collections::BTreeMap, sync::Weak};

use proptest::prelude::*;

use super::*;
use crate::{
    changes::{ChangeKind, ChangeSet, Stats},
    key,
    object::ObjectParts,
};

/// What an object of these tests is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Spec {
    namespace: &'static str,
    name: &'static str,
    uid: &'static str,
    version: u32,
    content: u8,
    /// (host, path) keys of the index `by-route`; their hosts are those of `by-host`.
    routes: Vec<(&'static str, &'static str)>,
}

impl Spec {
    fn new(namespace: &'static str, name: &'static str) -> Self {
        Self {
            namespace,
            name,
            uid: "u1",
            version: 1,
            content: 0,
            routes: vec![("a.example", "/")],
        }
    }

    fn content(mut self, content: u8) -> Self {
        self.content = content;
        self
    }

    fn version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    fn uid(mut self, uid: &'static str) -> Self {
        self.uid = uid;
        self
    }

    fn routes(mut self, routes: &[(&'static str, &'static str)]) -> Self {
        self.routes = routes.to_vec();
        self
    }

    fn id(&self) -> Identity {
        Identity::new(self.namespace, self.name).unwrap()
    }

    fn body(&self) -> String {
        format!(
            r#"{{"resourceVersion":"{}","content":{}}}"#,
            self.version, self.content
        )
    }

    fn object(&self) -> Object {
        let version = self.version.to_string();
        let start = r#"{"resourceVersion":""#.len();
        let routes = self
            .routes
            .iter()
            .map(|(host, path)| key::encode([*host, *path]));
        let hosts = self.routes.iter().map(|(host, _)| key::encode([*host]));
        Object::new(ObjectParts {
            identity: self.id(),
            uid: self.uid,
            resource_version: &version,
            body: &self.body(),
            uid_span: None,
            resource_version_span: Some(start..start + version.len()),
            keys: vec![Vec::new(), routes.collect(), hosts.collect()],
        })
        .unwrap()
    }

    fn same_content(&self, other: &Self) -> bool {
        (self.uid, self.content, &self.routes) == (other.uid, other.content, &other.routes)
    }
}

fn store() -> Store {
    let index = |name: &str, arity, identity| IndexSpec {
        name: name.to_owned(),
        arity,
        identity,
    };
    Store::new(
        "ingresses",
        vec![
            index("", 2, true),
            index("by-route", 2, false),
            index("by-host", 1, false),
        ],
    )
}

fn filled(specs: &[&Spec]) -> Store {
    let mut store = store();
    for spec in specs {
        store.apply(spec.object(), &mut Vec::new());
    }
    store
}

fn names<'a>(objects: impl Iterator<Item = &'a Arc<Object>>) -> Vec<String> {
    objects
        .map(|object| object.identity().to_string())
        .collect()
}

fn bodies<'a>(objects: impl Iterator<Item = &'a Arc<Object>>) -> Vec<String> {
    objects
        .map(|object| object.body().unwrap().as_str().to_owned())
        .collect()
}

/// `+` created, `~` modified, `-` deleted.
fn told(deltas: &[Delta]) -> Vec<String> {
    let sign = |delta: &Delta| match delta {
        Delta::Created { .. } => '+',
        Delta::Modified { .. } => '~',
        Delta::Deleted { .. } => '-',
    };
    deltas
        .iter()
        .map(|delta| format!("{}{}", sign(delta), delta.identity()))
        .collect()
}

#[test]
fn an_interrupted_relist_loses_no_knowledge() {
    let (a, b, c) = (
        Spec::new("n", "a"),
        Spec::new("n", "b"),
        Spec::new("n", "c"),
    );
    let mut store = filled(&[&a, &b, &c]);
    let mut deltas = Vec::new();

    store.begin_list(None);
    store.apply(a.object(), &mut deltas);
    store.begin_list(None);
    assert_eq!(names(store.snapshot().list()), ["n/a", "n/b", "n/c"]);
    assert_eq!(told(&deltas), [""; 0]);

    store.apply(b.object(), &mut deltas);
    store.apply(c.object(), &mut deltas);
    store.finish_list(None, &mut deltas);
    assert_eq!(names(store.snapshot().list()), ["n/b", "n/c"]);
    assert_eq!(told(&deltas), ["-n/a"]);
}

#[test]
fn a_relist_shows_all_at_once_when_it_finishes() {
    let mut store = filled(&[&Spec::new("n", "a"), &Spec::new("n", "b")]);
    let mut deltas = Vec::new();

    store.begin_list(None);
    let staged = store.apply(
        Spec::new("n", "a").version(2).content(1).object(),
        &mut deltas,
    );
    store.apply(Spec::new("n", "c").object(), &mut deltas);
    assert_eq!(staged, Change::Staged);
    assert_eq!(names(store.snapshot().list()), ["n/a", "n/b"]);
    assert_eq!(store.snapshot().revision(), 2);

    store.finish_list(None, &mut deltas);
    assert_eq!(names(store.snapshot().list()), ["n/a", "n/c"]);
    assert_eq!(told(&deltas), ["-n/b", "~n/a", "+n/c"]);
    assert_eq!(
        store.snapshot().revision(),
        3,
        "one publication is one revision"
    );
}

#[test]
fn a_relist_keeps_the_memory_of_unchanged_objects() {
    let spec = Spec::new("n", "a");
    let mut store = filled(&[&spec]);
    let before = store.snapshot();
    let mut deltas = Vec::new();

    store.begin_list(None);
    store.apply(spec.object(), &mut deltas);
    store.finish_list(None, &mut deltas);

    let after = store.snapshot();
    assert!(Arc::ptr_eq(
        before.get_object(&spec.id()).unwrap(),
        after.get_object(&spec.id()).unwrap()
    ));
    assert_eq!(told(&deltas), [""; 0]);
    assert_eq!(after.revision(), before.revision());
}

#[test]
fn a_quarantined_item_of_a_relist_keeps_the_known_object() {
    let mut store = filled(&[&Spec::new("n", "a"), &Spec::new("n", "b")]);
    let mut deltas = Vec::new();
    store.begin_list(None);
    store.keep(&Spec::new("n", "b").id());
    store.keep(&Spec::new("n", "unknown").id());
    store.finish_list(None, &mut deltas);
    assert_eq!(names(store.snapshot().list()), ["n/b"]);
    assert_eq!(told(&deltas), ["-n/a"]);
}

#[test]
fn a_delete_during_a_relist_shows_when_it_finishes() {
    let (a, b) = (Spec::new("n", "a"), Spec::new("n", "b"));
    let mut store = filled(&[&a]);
    let mut deltas = Vec::new();
    store.begin_list(None);
    for spec in [&a, &b] {
        store.apply(spec.object(), &mut deltas);
        assert_eq!(store.delete(&spec.id(), &mut deltas), Change::Staged);
    }
    assert_eq!(names(store.snapshot().list()), ["n/a"]);
    store.finish_list(None, &mut deltas);
    assert_eq!(told(&deltas), ["-n/a"]);
}

#[test]
fn relists_of_several_namespaces_do_not_touch_each_other() {
    let mut store = filled(&[
        &Spec::new("a", "x"),
        &Spec::new("b", "x"),
        &Spec::new("c", "x"),
    ]);
    let mut deltas = Vec::new();
    store.begin_list(Some("a"));
    store.begin_list(Some("b"));
    store.apply(Spec::new("a", "y").object(), &mut deltas);
    store.apply(Spec::new("b", "y").object(), &mut deltas);
    assert_eq!(
        store.apply(Spec::new("c", "y").object(), &mut deltas),
        Change::Created,
        "a scope without a list goes on"
    );
    store.finish_list(Some("b"), &mut deltas);
    assert_eq!(told(&deltas), ["+c/y", "-b/x", "+b/y"]);
    assert_eq!(names(store.snapshot().list()), ["a/x", "b/y", "c/x", "c/y"]);
    assert!(store.is_listing(Some("a")) && !store.is_listing(Some("b")));
    store.finish_list(Some("a"), &mut deltas);
    assert_eq!(names(store.snapshot().list()), ["a/y", "b/y", "c/x", "c/y"]);
}

#[test]
fn a_partial_publication_adds_but_never_removes() {
    let mut store = filled(&[&Spec::new("n", "a"), &Spec::new("n", "b")]);
    let mut deltas = Vec::new();
    store.begin_list(None);
    store.apply(Spec::new("n", "c").object(), &mut deltas);
    store.publish_partial(None, &mut deltas);
    assert_eq!(names(store.snapshot().list()), ["n/a", "n/b", "n/c"]);
    store.apply(Spec::new("n", "b").object(), &mut deltas);
    store.finish_list(None, &mut deltas);
    assert_eq!(names(store.snapshot().list()), ["n/b", "n/c"]);
    assert_eq!(told(&deltas), ["+n/c", "-n/a"]);
}

#[test]
fn clear_deletes_what_is_known_and_forgets_the_list_in_progress() {
    let mut store = filled(&[&Spec::new("a", "x"), &Spec::new("b", "x")]);
    let mut deltas = Vec::new();
    store.begin_list(Some("a"));
    store.apply(Spec::new("a", "y").object(), &mut deltas);
    store.clear(Some("a"), &mut deltas);
    store.finish_list(Some("a"), &mut deltas);
    assert_eq!(told(&deltas), ["-a/x"]);
    assert_eq!(names(store.snapshot().list()), ["b/x"]);
}

#[test]
fn a_moved_resource_version_is_stored_but_no_change_i8() {
    let spec = Spec::new("n", "a");
    let mut store = filled(&[&spec]);
    let revision = store.snapshot().revision();
    let mut deltas = Vec::new();

    let newer = spec.clone().version(20);
    assert_eq!(store.apply(newer.object(), &mut deltas), Change::Refreshed);
    assert_eq!(store.apply(newer.object(), &mut deltas), Change::None);

    let snapshot = store.snapshot();
    assert_eq!(told(&deltas), [""; 0]);
    assert_eq!(snapshot.revision(), revision);
    for found in [
        snapshot.get(&["n", "a"]),
        snapshot.get_by("by-host", &["a.example"]),
        snapshot.get_by("by-route", &["a.example"]),
    ] {
        assert_eq!(bodies(found.unwrap()), [newer.body()]);
    }
}

#[test]
fn a_relist_refreshes_resource_versions_silently_i8() {
    let spec = Spec::new("n", "a");
    let mut store = filled(&[&spec]);
    let mut deltas = Vec::new();
    store.begin_list(None);
    store.apply(spec.clone().version(7).object(), &mut deltas);
    store.finish_list(None, &mut deltas);
    assert_eq!(told(&deltas), [""; 0]);
    assert_eq!(store.snapshot().revision(), 1);
    let snapshot = store.snapshot();
    assert_eq!(
        snapshot.get_object(&spec.id()).unwrap().resource_version(),
        "7"
    );
}

#[test]
fn changed_keys_move_an_object_and_a_delete_leaves_its_siblings_s2() {
    let route = ("a.example", "/");
    let (x, y) = (
        Spec::new("n", "x").routes(&[route]),
        Spec::new("n", "y").routes(&[route]),
    );
    let mut store = filled(&[&x, &y]);
    let mut deltas = Vec::new();
    let moved = x.version(2).routes(&[("b.example", "/")]);
    assert_eq!(store.apply(moved.object(), &mut deltas), Change::Modified);

    let snapshot = store.snapshot();
    let by_host = |host| names(snapshot.get_by("by-host", &[host]).unwrap());
    assert_eq!(
        (by_host("a.example"), by_host("b.example")),
        (vec!["n/y".to_owned()], vec!["n/x".to_owned()])
    );

    let third = Spec::new("m", "z").routes(&[route]);
    store.apply(third.object(), &mut deltas);
    store.delete(&y.id(), &mut deltas);
    let snapshot = store.snapshot();
    let left = names(snapshot.get_by("by-route", &["a.example", "/"]).unwrap());
    assert_eq!(left, ["m/z"]);
}

#[test]
fn s2_another_uid_is_another_object_unless_one_is_unknown() {
    let spec = Spec::new("n", "a");
    let mut store = filled(&[&spec]);
    let mut apply = |uid| store.apply(spec.clone().uid(uid).object(), &mut Vec::new());
    assert_eq!(apply("u2"), Change::Recreated);
    assert_eq!(apply(""), Change::Modified);
    assert_eq!(apply("u1"), Change::Modified);
}

#[test]
fn what_is_replaced_or_deleted_is_freed() {
    let mut store = store();
    let objects = |version| {
        (0..2_000_u32).map(move |i| {
            let name: &'static str = Box::leak(format!("o{i}").into_boxed_str());
            Spec::new("n", name)
                .version(version)
                .content(u8::try_from(version).unwrap())
        })
    };
    let all = |store: &Store| -> Vec<Weak<Object>> {
        store.snapshot().list().map(Arc::downgrade).collect()
    };
    for spec in objects(1) {
        store.apply(spec.object(), &mut Vec::new());
    }
    let first = all(&store);
    for spec in objects(2) {
        store.apply(spec.object(), &mut Vec::new());
    }
    let second = all(&store);
    assert!(first.iter().all(|object| object.strong_count() == 0));
    assert!(second.iter().all(|object| object.strong_count() > 0));
    for spec in objects(2).skip(1) {
        store.delete(&spec.id(), &mut Vec::new());
    }
    assert_eq!(
        second
            .iter()
            .filter(|object| object.strong_count() > 0)
            .count(),
        1
    );
}

#[test]
fn a_list_that_repeats_itself_does_not_grow() {
    let specs = [Spec::new("n", "a"), Spec::new("n", "b")];
    let mut store = filled(&specs.each_ref());
    store.begin_list(None);
    for _ in 0..10_000 {
        for spec in &specs {
            store.apply(spec.object(), &mut Vec::new());
        }
    }
    assert!(
        store
            .relists
            .iter()
            .all(|(_, relist)| relist.seen.capacity() <= 8)
    );
}

#[test]
fn s1_s4_snapshots_are_read_by_other_threads_while_the_store_is_written() {
    let a = Spec::new("n", "a");
    let b = Spec::new("n", "b");
    let mut store = filled(&[&a, &b]);
    let (send, receive) = std::sync::mpsc::sync_channel::<crate::snapshot::Snapshot>(4);
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let mut last = 0;
            for snapshot in receive {
                assert!(snapshot.revision() > last, "newer ones are newer");
                last = snapshot.revision();
                // One object is written at a time, so they are one write apart.
                let versions: Vec<u32> = snapshot
                    .list()
                    .map(|object| object.resource_version().parse().unwrap())
                    .collect();
                assert!(versions[0].abs_diff(versions[1]) <= 1, "{versions:?}");
                let by_host = bodies(snapshot.get_by("by-host", &["a.example"]).unwrap());
                assert_eq!(
                    by_host,
                    bodies(snapshot.list()),
                    "indexes are of one moment"
                );
            }
            last
        });
        for version in 2..200 {
            for spec in [&a, &b] {
                let content = u8::try_from(version).unwrap();
                let newer = spec.clone().version(version).content(content);
                store.apply(newer.object(), &mut Vec::new());
                send.send(store.snapshot()).unwrap();
            }
        }
        drop(send);
        assert_eq!(reader.join().unwrap(), store.snapshot().revision());
    });
}

#[test]
fn s4_a_snapshot_is_one_pointer_to_what_is_published() {
    let mut store = filled(&[&Spec::new("n", "a")]);
    let (first, second) = (store.snapshot(), store.snapshot());
    assert!(Arc::ptr_eq(&first.0, &second.0), "nothing was copied");
    assert_eq!(size_of_val(&first), size_of::<usize>());
    store.delete(&Spec::new("n", "a").id(), &mut Vec::new());
    assert_eq!((first.len(), store.snapshot().len()), (1, 0));
}

const NAMESPACES: [&str; 3] = ["a", "a-b", "b"];
const NAMES: [&str; 3] = ["x", "x.y", "z"];
const HOSTS: [&str; 3] = ["", "h", "h\0"];
const PATHS: [&str; 2] = ["/", "/p"];

#[derive(Clone, Debug)]
enum Op {
    Apply(Spec),
    Delete(&'static str, &'static str),
    Keep(&'static str, &'static str),
    Begin(usize),
    Publish(usize),
    Finish(usize),
    Clear(usize),
    Delivered,
    Failed,
    Retried,
}

fn spec() -> impl Strategy<Value = Spec> {
    (
        prop::sample::select(&NAMESPACES[..]),
        prop::sample::select(&NAMES[..]),
        prop::sample::select(&["u1", "u2"][..]),
        1..4_u32,
        0..2_u8,
        prop::collection::vec(
            (
                prop::sample::select(&HOSTS[..]),
                prop::sample::select(&PATHS[..]),
            ),
            0..4,
        ),
    )
        .prop_map(|(namespace, name, uid, version, content, routes)| Spec {
            namespace,
            name,
            uid,
            version,
            content,
            routes,
        })
}

fn op() -> impl Strategy<Value = Op> {
    let place = || {
        (
            prop::sample::select(&NAMESPACES[..]),
            prop::sample::select(&NAMES[..]),
        )
    };
    prop_oneof![
        12 => spec().prop_map(Op::Apply),
        4 => place().prop_map(|(namespace, name)| Op::Delete(namespace, name)),
        2 => place().prop_map(|(namespace, name)| Op::Keep(namespace, name)),
        2 => (0..3_usize).prop_map(Op::Begin),
        1 => (0..3_usize).prop_map(Op::Publish),
        2 => (0..3_usize).prop_map(Op::Finish),
        1 => (0..3_usize).prop_map(Op::Clear),
        1 => Just(Op::Delivered),
        1 => Just(Op::Failed),
        1 => Just(Op::Retried),
    ]
}

type Objects = BTreeMap<(&'static str, &'static str), Spec>;

/// What the list in progress said of an object; none: the known one stays.
type Named = BTreeMap<(&'static str, &'static str), Option<Spec>>;

/// The store as one would describe it: maps, copied whole.
#[derive(Default)]
struct Model {
    published: Objects,
    relists: BTreeMap<Option<&'static str>, Named>,
}

impl Model {
    fn relist(&mut self, namespace: &str) -> Option<&mut Named> {
        let mut relists = self.relists.iter_mut();
        Some(
            relists
                .find(|(scope, _)| scope.is_none_or(|scope| scope == namespace))?
                .1,
        )
    }

    fn finish(&mut self, scope: Option<&'static str>) {
        let Some(named) = self.relists.remove(&scope) else {
            return;
        };
        self.published
            .retain(|id, _| scope.is_some_and(|scope| scope != id.0) || named.contains_key(id));
        let applied = named.into_iter().filter_map(|(id, spec)| Some((id, spec?)));
        self.published.extend(applied);
    }
}

fn changes_between(old: &Objects, new: &Objects) -> Vec<(String, ChangeKind)> {
    let ids: std::collections::BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let mut changes = Vec::new();
    for id in ids {
        let name = format!("{}/{}", id.0, id.1);
        let kinds: &[ChangeKind] = match (old.get(id), new.get(id)) {
            (Some(_), None) => &[ChangeKind::Deleted],
            (None, Some(_)) => &[ChangeKind::Created],
            (Some(old), Some(new)) if old.uid != new.uid => {
                &[ChangeKind::Deleted, ChangeKind::Created]
            }
            (Some(old), Some(new)) if !old.same_content(new) => &[ChangeKind::Modified],
            (Some(_), Some(_)) | (None, None) => &[],
        };
        changes.extend(kinds.iter().map(|kind| (name.clone(), *kind)));
    }
    changes
}

fn check_reads(snapshot: &crate::snapshot::Snapshot, model: &Objects) {
    let found = |keep: &dyn Fn(&Spec) -> bool| -> Vec<String> {
        let kept = model.values().filter(|spec| keep(spec));
        kept.map(|spec| format!("{} {}", spec.id(), spec.body()))
            .collect()
    };
    let read = |objects: crate::snapshot::Objects<'_>| -> Vec<String> {
        assert_eq!(objects.len(), objects.clone().count());
        objects
            .map(|o| format!("{} {}", o.identity(), o.body().unwrap().as_str()))
            .collect()
    };
    assert_eq!(snapshot.len(), model.len());
    assert_eq!(
        snapshot.body_bytes(),
        model.values().map(|spec| spec.body().len()).sum::<usize>()
    );
    assert_eq!(read(snapshot.list()), found(&|_| true));
    for namespace in NAMESPACES {
        assert_eq!(
            snapshot.len_in(Some(namespace)),
            found(&|s| s.namespace == namespace).len()
        );
        assert_eq!(
            read(snapshot.get(&[namespace]).unwrap()),
            found(&|s| s.namespace == namespace)
        );
        for name in NAMES {
            let expected = found(&|s| (s.namespace, s.name) == (namespace, name));
            assert_eq!(read(snapshot.get(&[namespace, name]).unwrap()), expected);
        }
    }
    for host in HOSTS {
        let expected = found(&|s| s.routes.iter().any(|route| route.0 == host));
        assert_eq!(read(snapshot.get_by("by-host", &[host]).unwrap()), expected);
        assert_eq!(
            read(snapshot.get_by("by-route", &[host]).unwrap()),
            expected
        );
        for path in PATHS {
            let expected = found(&|s| s.routes.contains(&(host, path)));
            assert_eq!(
                read(snapshot.get_by("by-route", &[host, path]).unwrap()),
                expected
            );
        }
    }
    assert_eq!(
        snapshot.unkeyed("by-route"),
        Some(model.values().filter(|s| s.routes.is_empty()).count())
    );
}

fn check_run(whole: bool, ops: Vec<Op>) {
    let scope = |i: usize| (!whole).then_some(NAMESPACES[i % NAMESPACES.len()]);
    let (mut store, mut model) = (store(), Model::default());
    let mut history = Vec::new();
    let mut subscribers = [ChangeSet::nothing_delivered(), ChangeSet::default()];
    let mut failed: Option<ChangeSet> = None;
    // What the subscribers know, and what they will when the call in flight succeeds.
    let mut delivered = Objects::default();
    let mut in_flight = None;
    for op in ops {
        let before = model.published.clone();
        let revision = store.snapshot().revision();
        let mut deltas = Vec::new();
        match op {
            Op::Apply(spec) => {
                let id = (spec.namespace, spec.name);
                let change = store.apply(spec.object(), &mut deltas);
                let expected = match (model.relist(spec.namespace), before.get(&id)) {
                    (Some(named), _) => {
                        named.insert(id, Some(spec));
                        Change::Staged
                    }
                    (None, old) => {
                        model.published.insert(id, spec.clone());
                        match old {
                            None => Change::Created,
                            Some(old) if old.uid != spec.uid => Change::Recreated,
                            Some(old) if !old.same_content(&spec) => Change::Modified,
                            Some(old) if old.version != spec.version => Change::Refreshed,
                            Some(_) => Change::None,
                        }
                    }
                };
                assert_eq!(change, expected);
            }
            Op::Delete(namespace, name) => {
                let id = Identity::new(namespace, name).unwrap();
                let change = store.delete(&id, &mut deltas);
                let expected = if let Some(named) = model.relist(namespace) {
                    named.remove(&(namespace, name));
                    Change::Staged
                } else if model.published.remove(&(namespace, name)).is_some() {
                    Change::Deleted
                } else {
                    Change::None
                };
                assert_eq!(change, expected);
            }
            Op::Keep(namespace, name) => {
                store.keep(&Identity::new(namespace, name).unwrap());
                if before.contains_key(&(namespace, name))
                    && let Some(named) = model.relist(namespace)
                {
                    named.entry((namespace, name)).or_insert(None);
                }
            }
            Op::Begin(i) => {
                store.begin_list(scope(i));
                model.relists.insert(scope(i), Named::new());
            }
            Op::Publish(i) => {
                store.publish_partial(scope(i), &mut deltas);
                for (id, spec) in model.relists.get_mut(&scope(i)).into_iter().flatten() {
                    if let Some(spec) = spec.take() {
                        model.published.insert(*id, spec);
                    }
                }
            }
            Op::Finish(i) => {
                store.finish_list(scope(i), &mut deltas);
                model.finish(scope(i));
            }
            Op::Clear(i) => {
                store.clear(scope(i), &mut deltas);
                model.relists.remove(&scope(i));
                model
                    .published
                    .retain(|id, _| scope(i).is_some_and(|scope| scope != id.0));
            }
            Op::Delivered => {
                subscribers = [ChangeSet::default(), ChangeSet::default()];
                failed = None;
                in_flight = None;
                delivered = model.published.clone();
            }
            Op::Failed => {
                if failed.is_none() {
                    failed = Some(subscribers[1].take());
                    in_flight = Some(model.published.clone());
                }
            }
            Op::Retried => {
                if let Some(older) = failed.take() {
                    subscribers[1].merge_older(older);
                    in_flight = None;
                }
            }
        }
        for subscriber in &mut subscribers {
            subscriber.record(&deltas);
        }
        let snapshot = store.snapshot();
        check_reads(&snapshot, &model.published);
        let changed = !changes_between(&before, &model.published).is_empty();
        assert_eq!(snapshot.revision() - revision, u64::from(changed));
        assert_eq!(deltas.is_empty(), !changed);
        let bases = [&delivered, in_flight.as_ref().unwrap_or(&delivered)];
        for (subscriber, base) in subscribers.iter().zip(bases) {
            let expected = changes_between(base, &model.published);
            let net = subscriber.net(&snapshot);
            let net: Vec<_> = net
                .iter()
                .map(|c| (c.identity().to_string(), c.kind))
                .collect();
            assert_eq!(net, expected);
            let count = |kind| expected.iter().filter(|change| change.1 == kind).count();
            let stats = Stats {
                created: count(ChangeKind::Created),
                modified: count(ChangeKind::Modified),
                deleted: count(ChangeKind::Deleted),
            };
            assert_eq!(subscriber.stats(&snapshot), stats);
        }
        history.push((snapshot, model.published.clone()));
    }
    for (snapshot, objects) in &history {
        check_reads(snapshot, objects);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn s1_s2_s3_s4_store_indexes_snapshots_and_changes_follow_a_model(
        whole: bool,
        ops in prop::collection::vec(op(), 1..60),
    ) {
        check_run(whole, ops);
    }
}
