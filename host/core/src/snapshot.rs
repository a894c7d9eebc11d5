//! Owns reading: an immutable state of one store. Does not change it
//! ([`crate::store`]) and does not know what its readers have seen before
//! ([`crate::changes`]).

use std::{fmt, sync::Arc};

use crate::{
    Identity, Object,
    index::{Index, IndexSpec, KeyError, Postings},
    ordered::{Iter, Ordered},
};

/// What a store held at one moment. Cloning copies one pointer; nothing that the
/// store does later can be seen in it. Objects always come in the order of
/// (namespace, name).
#[derive(Clone)]
pub struct Snapshot(pub(crate) Arc<State>);

/// The state behind a snapshot.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) name: Arc<str>,
    pub(crate) revision: u64,
    pub(crate) objects: Ordered<Arc<Object>>,
    pub(crate) indexes: Vec<Index>,
}

impl State {
    pub(crate) fn get(&self, identity: &Identity) -> Option<&Arc<Object>> {
        self.objects.get(|other| other.identity().cmp(identity))
    }

    /// The objects of one namespace, or all.
    pub(crate) fn scope(&self, namespace: Option<&str>) -> Iter<'_, Arc<Object>> {
        match namespace {
            None => self.objects.iter(),
            Some(namespace) => self.objects.range(
                |object| object.namespace() < namespace,
                |object| object.namespace() > namespace,
            ),
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
            .0
            .indexes
            .iter()
            .find(|candidate| candidate.spec().name == index)
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
        let mut indexes = self.0.indexes.iter();
        let index = indexes.find(|candidate| candidate.spec().name == index)?;
        Some(index.unkeyed())
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
                self.0
                    .objects
                    .range(|object| object.identity() <= &last, |_| false)
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

    fn named(&self, namespace: &str, name: &str) -> Option<&Arc<Object>> {
        // What cannot be an identity names no object.
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
