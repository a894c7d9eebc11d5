//! Owns the indexes of a store: which objects stand under which composite key
//! or leading part of one. Does not extract keys ([`crate::decode`]) and does not
//! know which objects the store holds ([`crate::store`]).

use std::sync::Arc;

use crate::{
    Object, key,
    ordered::{Iter, Key, KeyOf, Ordered},
};

/// One index of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexSpec {
    /// What `get-by` names it; empty for the primary index.
    pub name: String,
    /// How many components a whole key has.
    pub arity: usize,
    /// The paths are exactly `metadata.namespace`, `metadata.name`, or
    /// `metadata.name` alone for a cluster-scoped kind. Such an index is answered
    /// from the object set and stores nothing; the objects carry no keys for it.
    pub identity: bool,
}

/// Why an index cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The store has no index of that name; the empty name is the primary index.
    #[error("{}", no_such_index(.0))]
    NoSuchIndex(String),
    /// A read by no key at all, which would be a list.
    #[error("no key was given: give 1 to {arity}, or list the store")]
    NoKeys {
        /// How many components a whole key has.
        arity: usize,
    },
    /// More keys than the index has components.
    #[error("{given} keys were given, but the index has {arity}")]
    TooManyKeys {
        /// How many were given.
        given: usize,
        /// How many components a whole key has.
        arity: usize,
    },
}

fn no_such_index(name: &str) -> String {
    if name.is_empty() {
        "the store has no primary index".to_owned()
    } else {
        format!("the store has no index named {name:?}")
    }
}

/// One object under the leading part of one of its keys.
#[derive(Clone, Debug)]
struct Posting {
    object: Arc<Object>,
    /// Which of the object's keys in this index.
    key: u32,
    /// How many bytes of that key count.
    len: u32,
}

/// Postings by their part of the key, then by identity. Which of [`Object::keys`] it is
/// the key of.
#[derive(Clone, Copy, Debug)]
struct Slot(usize);

impl KeyOf<Posting> for Slot {
    fn key<'a>(&self, posting: &'a Posting) -> Key<'a> {
        let part = || {
            let key = usize::try_from(posting.key).ok()?;
            let len = usize::try_from(posting.len).ok()?;
            posting.object.keys(self.0).get(key)?.get(..len)
        };
        order(part().unwrap_or_default(), &posting.object)
    }
}

fn order<'a>(prefix: &'a [u8], object: &'a Object) -> Key<'a> {
    Key::new(prefix, object.identity().as_bytes())
}

/// The postings of one index: for each number of leading components a set ordered
/// by (those components, namespace, name), so that every read is one range that is
/// already in the order of the store.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    spec: IndexSpec,
    /// Which of [`Object::keys`] are this index's.
    slot: usize,
    /// None for an identity index.
    levels: Vec<Ordered<Posting, Slot>>,
    unkeyed: usize,
}

impl Index {
    pub(crate) fn new(spec: IndexSpec, slot: usize) -> Self {
        let levels = if spec.identity { 0 } else { spec.arity };
        Self {
            spec,
            slot,
            levels: (0..levels).map(|_| Ordered::new(Slot(slot))).collect(),
            unkeyed: 0,
        }
    }

    pub(crate) fn spec(&self) -> &IndexSpec {
        &self.spec
    }

    /// How many objects have no key here.
    pub(crate) fn unkeyed(&self) -> usize {
        self.unkeyed
    }

    /// Puts an object under its keys in the place of its older version.
    pub(crate) fn put(&mut self, old: Option<&Object>, new: &Arc<Object>) {
        if self.spec.identity {
            return;
        }
        let slot = self.slot;
        match old {
            // Every posting is replaced below.
            Some(old) if old.keys(slot) == new.keys(slot) => {}
            Some(old) => {
                self.remove(old);
                self.unkeyed += usize::from(new.keys(slot).is_empty());
            }
            None => self.unkeyed += usize::from(new.keys(slot).is_empty()),
        }
        for (level, components) in self.levels.iter_mut().zip(1..) {
            for (key, len, _) in prefixes(new, slot, components) {
                level.insert(Posting {
                    object: Arc::clone(new),
                    key,
                    len,
                });
            }
        }
    }

    /// Takes an object away from all its keys; others under the same keys stay.
    pub(crate) fn remove(&mut self, old: &Object) {
        if self.spec.identity {
            return;
        }
        let slot = self.slot;
        self.unkeyed -= usize::from(old.keys(slot).is_empty());
        for (level, components) in self.levels.iter_mut().zip(1..) {
            for (_, _, prefix) in prefixes(old, slot, components) {
                level.remove(order(prefix, old));
            }
        }
    }

    /// Forgets everything and takes in `objects`, which are in order of identity.
    pub(crate) fn rebuild(&mut self, objects: &[Arc<Object>]) {
        if self.spec.identity {
            return;
        }
        let slot = self.slot;
        self.unkeyed = objects.iter().filter(|o| o.keys(slot).is_empty()).count();
        for (level, components) in self.levels.iter_mut().zip(1..) {
            let mut postings: Vec<_> = objects
                .iter()
                .flat_map(|object| {
                    let prefixes = prefixes(object, slot, components);
                    prefixes.map(|(key, len, prefix)| {
                        let object = Arc::clone(object);
                        ((beginning(prefix), prefix), Posting { object, key, len })
                    })
                })
                .collect();
            // Stable, so that objects under the same key stay in order of identity.
            postings.sort_by_key(|(prefix, _)| *prefix);
            postings.dedup_by(|(a, x), (b, y)| a == b && Arc::ptr_eq(&x.object, &y.object));
            let postings = postings.into_iter().map(|(_, posting)| posting);
            *level = Ordered::from_sorted(Slot(slot), postings);
        }
    }

    /// The objects whose first components are `keys`, in order of identity; none
    /// unless there are 1 to arity of them, nor in an identity index.
    pub(crate) fn get(&self, keys: &[&str]) -> Postings<'_> {
        let level = keys.len().checked_sub(1);
        let level = level.and_then(|level| self.levels.get(level));
        let postings = level.map(|level| level.under(&key::encode(keys.iter().copied())));
        Postings(postings.unwrap_or_default())
    }
}

/// The first `components` components of every key of an object in an index: the
/// key's ordinal, their length and their bytes. A key that has fewer was not made for
/// the index and is left out.
fn prefixes(
    object: &Object,
    slot: usize,
    components: usize,
) -> impl Iterator<Item = (u32, u32, &[u8])> {
    (0..)
        .zip(object.keys(slot).iter())
        .filter_map(move |(ordinal, key)| {
            let len = key::prefix_len(key, components)?;
            Some((ordinal, u32::try_from(len).ok()?, key.get(..len)?))
        })
}

/// The first bytes as a number that orders like them, so that sorting hardly ever reads
/// what a key points to.
fn beginning(key: &[u8]) -> u128 {
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(key) {
        *to = *from;
    }
    u128::from_be_bytes(bytes)
}

/// The objects under one key.
#[derive(Clone, Debug)]
pub(crate) struct Postings<'a>(Iter<'a, Posting>);

impl<'a> Iterator for Postings<'a> {
    type Item = &'a Arc<Object>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|posting| &posting.object)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for Postings<'_> {}
