//! Owns reading: an immutable state of one store. Does not change it
//! ([`crate::store`]) and does not know what its readers have seen before
//! ([`crate::changes`]).

use std::{fmt, sync::Arc};

use crate::{
    Identity, Object,
    index::{Index, IndexSpec, KeyError, Postings},
    ordered::{Iter, Key, KeyOf, Ordered, Short},
};

/// What a store held at one moment. Cloning copies one pointer; nothing that the
/// store does later can be seen in it. Objects always come in the order of
/// (namespace, name).
#[derive(Clone)]
pub struct Snapshot(pub(crate) Arc<State>);

/// Objects by their identity.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ByName;

impl KeyOf<Arc<Object>> for ByName {
    fn key<'a>(&self, object: &'a Arc<Object>) -> Key<'a> {
        whole(object.identity())
    }
}

pub(crate) fn whole(identity: &Identity) -> Key<'_> {
    Key::new(identity.as_bytes(), &[])
}

/// The state behind a snapshot.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) name: Arc<str>,
    pub(crate) revision: u64,
    pub(crate) objects: Ordered<Arc<Object>, ByName>,
    /// Bytes of their bodies: counted as they come and go, so that asking costs nothing.
    pub(crate) body_bytes: usize,
    pub(crate) indexes: Vec<Index>,
}

impl State {
    pub(crate) fn get(&self, identity: &Identity) -> Option<&Arc<Object>> {
        let mut key = Short::default();
        key.append(identity.as_bytes());
        if key.is_whole() {
            return self.objects.get(&key);
        }
        self.objects.get(whole(identity))
    }

    /// The objects of one namespace, or all.
    pub(crate) fn scope(&self, namespace: Option<&str>) -> Iter<'_, Arc<Object>> {
        match namespace {
            None => self.objects.iter(),
            Some(namespace) => {
                let mut prefix = Vec::with_capacity(namespace.len() + 1);
                prefix.extend_from_slice(namespace.as_bytes());
                prefix.push(0);
                self.objects.starting_with(&prefix)
            }
        }
    }
}

impl Snapshot {
    /// The store's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// How many objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.objects.len()
    }

    /// How many objects of one namespace there are, or of all. Costs two binary searches.
    #[must_use]
    pub fn len_in(&self, namespace: Option<&str>) -> usize {
        self.0.scope(namespace).len()
    }

    /// Bytes of the filtered JSON that is held; none in a cached store, whose bodies are
    /// elsewhere.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        self.0.body_bytes
    }

    /// Whether there is no object.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Grows by one with every publication that changed something; an update that
    /// moved nothing but a resourceVersion (I8) is none.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.0.revision
    }

    /// All objects.
    #[must_use]
    pub fn list(&self) -> Objects<'_> {
        Objects(Source::Set(self.0.objects.iter()))
    }

    /// The object of that name; none when it is not in the store.
    #[must_use]
    pub fn get_object(&self, identity: &Identity) -> Option<&Arc<Object>> {
        self.0.get(identity)
    }

    /// Whether there is an object of that name.
    #[must_use]
    pub fn contains(&self, identity: &Identity) -> bool {
        self.get_object(identity).is_some()
    }

    /// The objects whose primary index key begins with `keys`.
    ///
    /// # Errors
    /// [`KeyError`] when the store has no primary index, or for no keys or more
    /// than the index has.
    #[inline]
    pub fn get(&self, keys: &[&str]) -> Result<Objects<'_>, KeyError> {
        self.get_by("", keys)
    }

    /// The objects whose key in the named index begins with `keys`; an object
    /// with several such keys comes once.
    ///
    /// # Errors
    /// [`KeyError`] when there is no such index, or for no keys or more than the
    /// index has.
    pub fn get_by(&self, index: &str, keys: &[&str]) -> Result<Objects<'_>, KeyError> {
        let index = self
            .index(index)
            .ok_or_else(|| KeyError::NoSuchIndex(index.to_owned()))?;
        let arity = index.spec().arity;
        let source = match keys {
            [] => return Err(KeyError::NoKeys { arity }),
            _ if keys.len() > arity => {
                return Err(KeyError::TooManyKeys {
                    given: keys.len(),
                    arity,
                });
            }
            _ if !index.spec().identity => Source::Index(index.get(keys)),
            [namespace] if arity == 2 => Source::Set(self.0.scope(Some(namespace))),
            [name] => Source::One(self.named("", name)),
            [namespace, name, ..] => Source::One(self.named(namespace, name)),
        };
        Ok(Objects(source))
    }

    /// The indexes of the store, in the order of [`Object::keys`].
    pub fn indexes(&self) -> impl ExactSizeIterator<Item = &IndexSpec> {
        self.0.indexes.iter().map(Index::spec)
    }

    /// How many objects have no key in the named index, so that no `get` finds
    /// them there; none when there is no such index.
    #[must_use]
    pub fn unkeyed(&self, index: &str) -> Option<usize> {
        Some(self.index(index)?.unkeyed())
    }

    /// At most `limit` objects (at least one when any is left) after the place
    /// that `cursor` names, and the cursor of the next page. A cursor may come from
    /// an older snapshot: objects before it are not repeated, later ones not lost.
    ///
    /// # Errors
    /// [`CursorError`] for a text that no page returned.
    pub fn page(&self, cursor: Option<&str>, limit: usize) -> Result<Page<'_>, CursorError> {
        let mut objects = match cursor {
            None => self.0.objects.iter(),
            Some(text) => {
                let last = parse_cursor(text).ok_or_else(|| CursorError(text.to_owned()))?;
                // The least key above it.
                self.0.objects.starting_at(Key::new(last.as_bytes(), &[0]))
            }
        };
        let left = objects.len();
        let objects: Vec<_> = objects.by_ref().take(limit.max(1)).collect();
        let next = objects
            .last()
            .filter(|_| objects.len() < left)
            .map(|last| cursor_after(last.identity()));
        Ok(Page { objects, next })
    }

    fn index(&self, name: &str) -> Option<&Index> {
        // Comparing nothing with nothing is slow on processors whose `memcmp` asks for a masked
        // load from where an empty string points to.
        let is = |index: &&Index| match index.spec().name.as_str() {
            "" => name.is_empty(),
            other => other == name,
        };
        self.0.indexes.iter().find(is)
    }

    fn named(&self, namespace: &str, name: &str) -> Option<&Arc<Object>> {
        let mut key = Short::default();
        key.append(namespace.as_bytes());
        key.append_nul();
        key.append(name.as_bytes());
        if key.is_whole() {
            // Of parts that cannot be an identity it is the key of no object: those have one
            // NUL, and something behind it.
            return self.0.objects.get(&key);
        }
        self.0.get(&Identity::new(namespace, name).ok()?)
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("name", &self.name())
            .field("revision", &self.revision())
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// Objects in the order of (namespace, name).
#[derive(Clone, Debug)]
pub struct Objects<'a>(Source<'a>);

#[derive(Clone, Debug)]
enum Source<'a> {
    Set(Iter<'a, Arc<Object>>),
    Index(Postings<'a>),
    One(Option<&'a Arc<Object>>),
}

impl<'a> Iterator for Objects<'a> {
    type Item = &'a Arc<Object>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Source::Set(objects) => objects.next(),
            Source::Index(postings) => postings.next(),
            Source::One(object) => object.take(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.0 {
            Source::Set(objects) => objects.size_hint(),
            Source::Index(postings) => postings.size_hint(),
            Source::One(object) => (
                usize::from(object.is_some()),
                Some(usize::from(object.is_some())),
            ),
        }
    }
}

impl ExactSizeIterator for Objects<'_> {}

/// One page of a store.
#[derive(Clone, Debug)]
pub struct Page<'a> {
    /// The objects, in order.
    pub objects: Vec<&'a Arc<Object>>,
    /// What to ask for the next page with; none when this was the last.
    pub next: Option<String>,
}

/// A cursor that no page returned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a cursor that a page returned")]
pub struct CursorError(pub String);

/// `LENGTH-OF-NAMESPACE:NAMESPACE NAME` without the blank: no character that a
/// name could hold makes two cursors equal.
fn cursor_after(identity: &Identity) -> String {
    let namespace = identity.namespace();
    format!("{}:{namespace}{}", namespace.len(), identity.name())
}

fn parse_cursor(text: &str) -> Option<Identity> {
    let (len, joined) = text.split_once(':')?;
    let (namespace, name) = joined.split_at_checked(len.parse().ok()?)?;
    Identity::new(namespace, name).ok()
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a test that cannot go on says where by panicking"
    )]

    use super::*;
    use crate::{key, object::ObjectParts, store::Store};

    const PRIMARY: [(&str, usize, bool); 1] = [("", 2, true)];

    /// Objects of those names; each has the key (namespace, name) in every index.
    fn snapshot(indexes: &[(&str, usize, bool)], objects: &[(&str, &str)]) -> Snapshot {
        let specs = indexes.iter().map(|(name, arity, identity)| IndexSpec {
            name: (*name).to_owned(),
            arity: *arity,
            identity: *identity,
        });
        let mut store = Store::new("s", specs.collect());
        for (namespace, name) in objects {
            let keys = indexes
                .iter()
                .map(|_| vec![key::encode([*namespace, *name])]);
            let parts = ObjectParts {
                identity: Identity::new(namespace, name).unwrap(),
                uid: "",
                resource_version: "",
                body: "{}",
                uid_span: None,
                resource_version_span: None,
                keys: keys.collect(),
            };
            store.apply(Object::new(parts).unwrap(), &mut Vec::new());
        }
        store.snapshot()
    }

    fn names<'a>(objects: impl IntoIterator<Item = &'a Arc<Object>>) -> Vec<String> {
        let objects = objects.into_iter();
        objects
            .map(|object| object.identity().to_string())
            .collect()
    }

    fn all_pages(snapshot: &Snapshot, limit: usize) -> Vec<Vec<String>> {
        let mut pages = Vec::new();
        let mut cursor = None;
        loop {
            let page = snapshot.page(cursor.as_deref(), limit).unwrap();
            pages.push(names(page.objects));
            cursor = page.next;
            if cursor.is_none() {
                return pages;
            }
        }
    }

    #[test]
    fn pages_hold_every_object_once_and_in_order() {
        let objects = [
            ("b", "x"),
            ("a", "y"),
            ("", "c:1"),
            ("a", "x"),
            ("a:b", "x"),
        ];
        let snapshot = snapshot(&PRIMARY, &objects);
        assert_eq!(
            all_pages(&snapshot, 2),
            [vec!["c:1", "a/x"], vec!["a/y", "a:b/x"], vec!["b/x"]]
        );
        for limit in [0, 1, 5, 6, usize::MAX] {
            assert_eq!(all_pages(&snapshot, limit).concat(), names(snapshot.list()));
        }
    }

    #[test]
    fn an_empty_store_is_one_empty_page() {
        assert_eq!(all_pages(&snapshot(&PRIMARY, &[]), 3), [[""; 0]]);
    }

    #[test]
    fn a_cursor_outlives_its_object() {
        let before = snapshot(&PRIMARY, &[("a", "x"), ("a", "y")]);
        let cursor = before.page(None, 1).unwrap().next;
        let after = snapshot(&PRIMARY, &[("a", "y"), ("a", "z")]);
        let page = after.page(cursor.as_deref(), 9).unwrap();
        assert_eq!(names(page.objects), ["a/y", "a/z"]);
    }

    #[test]
    fn a_text_that_is_no_cursor_is_refused() {
        let snapshot = snapshot(&PRIMARY, &[("a", "x")]);
        for text in [
            "",
            ":",
            "x",
            "1",
            "1:",
            "1:a",
            "-1:ax",
            "9:ax",
            "1:äx",
            "99999999999999999999:a",
            "0:\0",
            "a/x",
        ] {
            let refused = snapshot.page(Some(text), 1).map(|page| page.objects.len());
            assert_eq!(refused, Err(CursorError(text.to_owned())));
        }
    }

    #[test]
    fn reads_name_the_index_and_the_number_of_keys_that_were_wrong_i5() {
        let snapshot = snapshot(&[("routes", 2, false)], &[("a", "x")]);
        let check = |index: &str, keys: &[&str], expected: &str| {
            let error = snapshot.get_by(index, keys).unwrap_err();
            assert_eq!(error.to_string(), expected);
        };
        check("", &["a"], "the store has no primary index");
        check("hosts", &["a"], "the store has no index named \"hosts\"");
        check(
            "routes",
            &[],
            "no key was given: give 1 to 2, or list the store",
        );
        check(
            "routes",
            &["a", "x", "y"],
            "3 keys were given, but the index has 2",
        );
    }

    #[test]
    fn i5_an_identity_index_answers_like_a_stored_one() {
        let (long, longer) = ("n".repeat(57), "n".repeat(80));
        let objects = [
            ("a", "x"),
            ("a", "y"),
            ("a-b", "x"),
            ("b", "x"),
            ("team", &long),
            ("team-a", &longer),
        ];
        let snapshot = snapshot(&[("", 2, true), ("stored", 2, false)], &objects);
        for keys in [
            &["a"][..],
            &["b"],
            &["c"],
            &[""],
            &["a\0x"],
            &["a", "x"],
            &["a", "z"],
            &["a", ""],
            &["a\0", "x"],
            &["a", "x\0"],
            &["", "a\0x"],
            &["a\0x", ""],
            &["team", &long],
            &["team", &longer],
            &["team-a", &long],
            &["team-a", &longer],
        ] {
            let identity = names(snapshot.get(keys).unwrap());
            assert_eq!(
                identity,
                names(snapshot.get_by("stored", keys).unwrap()),
                "{keys:?}"
            );
        }
    }

    #[test]
    fn a_cluster_scoped_kind_is_found_by_its_name_alone() {
        let snapshot = snapshot(&[("", 1, true)], &[("", "x"), ("", "y")]);
        assert_eq!(names(snapshot.get(&["y"]).unwrap()), ["y"]);
        assert_eq!(names(snapshot.get(&["z"]).unwrap()), [""; 0]);
    }
}
