//! Owns what one subscriber has not been told yet. Does not know when to tell it
//! ([`crate::debounce`]) nor how changes came about ([`crate::store`]).

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use crate::{
    Identity, Object,
    snapshot::Snapshot,
    store::{Delta, is_recreated},
};

/// For each object that changed since the last successful callback, what the
/// subscriber knows of it (C3). What the change amounts to is found by comparing
/// with a snapshot, so that created then modified is one created, and created then
/// deleted is nothing.
///
/// The default is: nothing changed.
#[derive(Clone, Debug, Default)]
pub struct ChangeSet {
    /// Nothing has been delivered yet: whatever a snapshot holds is new, and
    /// `bases` is empty.
    all_new: bool,
    bases: BTreeMap<Identity, Option<Arc<Object>>>,
    /// A snapshot with these changes has been read, before they were told.
    read: bool,
}

/// What happened to an object between two callbacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// It is gone.
    Deleted,
    /// It is new.
    Created,
    /// Its content changed.
    Modified,
}

/// One net change.
#[derive(Clone, Debug)]
pub struct NetChange {
    /// What happened.
    pub kind: ChangeKind,
    /// The object as it is in the snapshot; a deleted one as the subscriber knew it.
    pub object: Arc<Object>,
}

impl NetChange {
    /// Whom it happened to.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        self.object.identity()
    }
}

/// How many net changes there are of each kind. A recreated object counts as one
/// deleted and one created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// New objects.
    pub created: usize,
    /// Changed objects.
    pub modified: usize,
    /// Objects that are gone.
    pub deleted: usize,
}

impl Stats {
    /// Whether there is nothing to tell.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }
}

impl ChangeSet {
    /// For a subscriber that has been told nothing: everything is new to it.
    #[must_use]
    pub fn nothing_delivered() -> Self {
        Self {
            all_new: true,
            ..Self::default()
        }
    }

    /// Takes note of what a call of the store made visible.
    pub fn record(&mut self, deltas: &[Delta]) {
        if self.all_new {
            return;
        }
        for delta in deltas {
            // Of several changes the oldest has what the subscriber knows.
            if let Entry::Vacant(entry) = self.bases.entry(delta.identity().clone()) {
                entry.insert(delta.previous().cloned());
            }
        }
    }

    /// Whether nothing was recorded. What was recorded may still amount to nothing:
    /// see [`stats`](Self::stats).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.all_new && self.bases.is_empty()
    }

    /// Takes note that the subscriber can read a snapshot that these changes have made: for
    /// [`was_read`](Self::was_read).
    pub fn mark_read(&mut self) {
        self.read |= !self.is_empty();
    }

    /// Whether the subscriber could read what changed before it is told. Then it is to be told
    /// even if that comes to nothing in the end: it may have acted on what is no more.
    #[must_use]
    pub fn was_read(&self) -> bool {
        self.read
    }

    /// Hands everything over for a delivery; from here on only newer changes are
    /// recorded.
    #[must_use]
    pub fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    /// Puts the changes of a delivery that failed under those recorded since.
    pub fn merge_older(&mut self, older: Self) {
        if self.all_new {
            return;
        }
        self.read |= older.read;
        self.all_new = older.all_new;
        if older.all_new {
            self.bases.clear();
        } else if self.bases.is_empty() {
            self.bases = older.bases;
        } else {
            self.bases.extend(older.bases);
        }
    }

    /// The net changes up to a snapshot, in order of identity; of a recreated
    /// object the deletion comes first. The snapshot must not be older than the
    /// last recorded change.
    #[must_use]
    pub fn net(&self, snapshot: &Snapshot) -> Vec<NetChange> {
        let mut changes = Vec::new();
        self.each(snapshot, |kind, object| {
            changes.push(NetChange {
                kind,
                object: Arc::clone(object),
            });
        });
        changes
    }

    /// How many net changes there are up to a snapshot: those that
    /// [`net`](Self::net) lists.
    #[must_use]
    pub fn stats(&self, snapshot: &Snapshot) -> Stats {
        let mut stats = Stats::default();
        self.each(snapshot, |kind, _| match kind {
            ChangeKind::Created => stats.created += 1,
            ChangeKind::Modified => stats.modified += 1,
            ChangeKind::Deleted => stats.deleted += 1,
        });
        stats
    }

    fn each(&self, snapshot: &Snapshot, mut each: impl FnMut(ChangeKind, &Arc<Object>)) {
        if self.all_new {
            snapshot
                .list()
                .for_each(|object| each(ChangeKind::Created, object));
            return;
        }
        for (identity, base) in &self.bases {
            match (base, snapshot.get_object(identity)) {
                (None, None) => {}
                (None, Some(current)) => each(ChangeKind::Created, current),
                (Some(base), None) => each(ChangeKind::Deleted, base),
                (Some(base), Some(current)) if is_recreated(base, current) => {
                    each(ChangeKind::Deleted, base);
                    each(ChangeKind::Created, current);
                }
                (Some(base), Some(current)) if base.same_content(current) => {}
                (Some(_), Some(current)) => each(ChangeKind::Modified, current),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a test that cannot go on says where by panicking"
    )]

    use super::*;
    use crate::{index::IndexSpec, object::ObjectParts, store::Store};

    fn object(name: &str, uid: &str, version: &str, body: &str) -> Object {
        Object::new(ObjectParts {
            identity: Identity::new("n", name).unwrap(),
            uid,
            resource_version: version,
            body,
            uid_span: None,
            resource_version_span: None,
            keys: Vec::new(),
        })
        .unwrap()
    }

    /// A store and a subscriber that has been told everything in it.
    struct Told {
        store: Store,
        changes: ChangeSet,
    }

    impl Told {
        fn new(known: &[&str]) -> Self {
            let mut store = Store::new("s", Vec::<IndexSpec>::new());
            for name in known {
                store.apply(object(name, "u1", "1", "{}"), &mut Vec::new());
            }
            let changes = ChangeSet::default();
            Self { store, changes }
        }

        fn apply(&mut self, name: &str, uid: &str, version: &str, body: &str) {
            let mut deltas = Vec::new();
            self.store
                .apply(object(name, uid, version, body), &mut deltas);
            self.changes.record(&deltas);
        }

        fn delete(&mut self, name: &str) {
            let mut deltas = Vec::new();
            self.store
                .delete(&Identity::new("n", name).unwrap(), &mut deltas);
            self.changes.record(&deltas);
        }

        #[track_caller]
        fn check(&self, expected: &[(ChangeKind, &str)]) {
            let snapshot = self.store.snapshot();
            let net = self.changes.net(&snapshot);
            let net: Vec<_> = net.iter().map(|c| (c.kind, c.identity().name())).collect();
            assert_eq!(net, expected);
            let count = |kind| expected.iter().filter(|change| change.0 == kind).count();
            let stats = self.changes.stats(&snapshot);
            assert_eq!(stats.created, count(ChangeKind::Created));
            assert_eq!(stats.modified, count(ChangeKind::Modified));
            assert_eq!(stats.deleted, count(ChangeKind::Deleted));
            assert_eq!(stats.is_empty(), expected.is_empty());
        }
    }

    #[test]
    fn created_then_modified_is_one_created_c3() {
        let mut told = Told::new(&[]);
        told.apply("a", "u1", "1", "{}");
        told.apply("a", "u1", "2", "[]");
        told.check(&[(ChangeKind::Created, "a")]);
    }

    #[test]
    fn created_then_deleted_is_nothing_c3() {
        let mut told = Told::new(&[]);
        told.apply("a", "u1", "1", "{}");
        told.delete("a");
        assert!(!told.changes.is_empty());
        told.check(&[]);
    }

    #[test]
    fn modified_and_back_is_nothing() {
        let mut told = Told::new(&["a"]);
        told.apply("a", "u1", "2", "[]");
        told.apply("a", "u1", "3", "{}");
        told.check(&[]);
    }

    #[test]
    fn a_recreated_object_is_deleted_and_created_s2() {
        let mut told = Told::new(&["a", "b"]);
        told.delete("b");
        told.apply("b", "u2", "2", "{}");
        told.apply("a", "u2", "3", "{}");
        told.check(&[
            (ChangeKind::Deleted, "a"),
            (ChangeKind::Created, "a"),
            (ChangeKind::Deleted, "b"),
            (ChangeKind::Created, "b"),
        ]);
    }

    #[test]
    fn a_deleted_object_is_reported_as_the_subscriber_knew_it() {
        let mut told = Told::new(&["a"]);
        told.apply("a", "u1", "2", "[]");
        told.delete("a");
        told.check(&[(ChangeKind::Deleted, "a")]);
        let net = told.changes.net(&told.store.snapshot());
        assert_eq!(net[0].object.body().unwrap().as_str(), "{}");
    }

    #[test]
    fn a_failed_delivery_merges_under_newer_changes() {
        let mut told = Told::new(&["a", "b"]);
        told.apply("a", "u1", "2", "[]");
        told.delete("b");
        let failed = told.changes.take();
        assert!(told.changes.is_empty());
        told.apply("a", "u1", "3", "{}");
        told.apply("b", "u1", "4", "[]");
        told.apply("c", "u1", "5", "{}");
        told.changes.merge_older(failed);
        told.check(&[(ChangeKind::Modified, "b"), (ChangeKind::Created, "c")]);
    }

    #[test]
    fn before_the_first_delivery_everything_is_new() {
        let mut told = Told::new(&["a", "b"]);
        told.changes = ChangeSet::nothing_delivered();
        told.delete("a");
        told.apply("c", "u1", "1", "{}");
        told.check(&[(ChangeKind::Created, "b"), (ChangeKind::Created, "c")]);

        let failed = told.changes.take();
        told.apply("b", "u1", "2", "[]");
        told.changes.merge_older(failed);
        told.check(&[(ChangeKind::Created, "b"), (ChangeKind::Created, "c")]);
    }
}
