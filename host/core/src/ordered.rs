//! Owns the persistent ordered sequence that object sets and indexes are made
//! of. Does not know what its elements are: a [`KeyOf`] tells their keys.
//!
//! Why not imbl's `OrdSet`: its inner nodes keep clones of the elements that
//! they separate and never refresh them, so about one object in ten would stay
//! in memory after it was replaced or deleted. Here an element is held in
//! exactly one place a version, and what separates nodes is bytes.
//!
//! There are three levels: pages, leaves, elements. A search goes by separators that lie
//! together, and in the leaf by hashes, so that to find one element reads the memory of
//! no other.

mod key;
mod nodes;

use std::{slice, sync::Arc};

use key::Bound;
use nodes::{Branch, Child, LEAF, Leaf};

pub(crate) use key::{Key, Short, Sought};

/// The most leaves in a page. The first write after a snapshot copies one leaf, one page
/// and the list of pages, each a reference count a pointer: at 100,000 elements no list
/// is longer than about a hundred.
const PAGE: usize = 64;

/// What the elements of an [`Ordered`] are ordered by.
pub(crate) trait KeyOf<T>: Copy {
    /// The key of an element, which it keeps as long as it is held.
    fn key<'a>(&self, element: &'a T) -> Key<'a>;
}

type Page<T> = Branch<Leaf<T>>;

/// Elements in the order of their keys, each key once, in nodes behind reference counts:
/// cloning copies one pointer, and a clone never sees later writes.
#[derive(Debug)]
pub(crate) struct Ordered<T, K> {
    /// No page and no leaf is empty.
    pages: Arc<Branch<Page<T>>>,
    len: usize,
    keys: K,
}

impl<T, K: Copy> Clone for Ordered<T, K> {
    fn clone(&self) -> Self {
        Self {
            pages: Arc::clone(&self.pages),
            len: self.len,
            keys: self.keys,
        }
    }
}

/// Where an element stands or would stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    page: usize,
    leaf: usize,
    offset: usize,
}

impl<T, K: KeyOf<T>> Ordered<T, K> {
    /// No elements.
    pub(crate) fn new(keys: K) -> Self {
        Self {
            pages: Arc::default(),
            len: 0,
            keys,
        }
    }

    /// How many elements there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// All elements, in order.
    pub(crate) fn iter(&self) -> Iter<'_, T> {
        Iter {
            pages: self.pages.iter(),
            leaves: slice::Iter::default(),
            elements: slice::Iter::default(),
            remaining: self.len,
        }
    }

    /// The element with that key.
    pub(crate) fn get<S: Sought>(&self, key: S) -> Option<&T> {
        let page = self.pages.get(self.pages.seek(key))?;
        let leaf = page.get(page.seek(key))?;
        let at = leaf.find(self.keys, key)?;
        leaf.elements().get(at)
    }

    /// The elements whose keys have this head. No head may begin with another one.
    pub(crate) fn under(&self, head: &[u8]) -> Iter<'_, T> {
        let key = Key::new(head, &[]);
        let page = self.pages.find(Bound::at(key));
        let run = self.pages.get(page).and_then(|node| {
            let leaf = node.find(Bound::at(key));
            Some((leaf, node.get(leaf)?.run(self.keys, key)?))
        });
        // None, or those at the edge of a leaf.
        let Some((leaf, run)) = run else {
            return self.starting_with(head);
        };
        let place = |offset| Place { page, leaf, offset };
        self.between(place(run.start), place(run.end))
    }

    /// The elements whose keys begin with `prefix`.
    pub(crate) fn starting_with(&self, prefix: &[u8]) -> Iter<'_, T> {
        let prefix = Key::new(prefix, &[]);
        let start = self.place(Bound::at(prefix), None);
        let end = self.place(Bound::beyond(prefix), Some(start));
        self.between(start, end)
    }

    /// The elements whose keys are not below `key`.
    pub(crate) fn starting_at(&self, key: Key<'_>) -> Iter<'_, T> {
        let start = self.place(Bound::at(key), None);
        let mut all = self.between(start, start);
        all.remaining = self.len - self.rank(start);
        all
    }

    fn between(&self, start: Place, end: Place) -> Iter<'_, T> {
        let remaining = if (start.page, start.leaf) == (end.page, end.leaf) {
            end.offset.saturating_sub(start.offset)
        } else {
            self.rank(end).saturating_sub(self.rank(start))
        };
        let mut pages = self
            .pages
            .children()
            .get(start.page..)
            .unwrap_or_default()
            .iter();
        let leaves = pages.next().map(|page| page.node.children());
        let leaves = leaves.and_then(|leaves| leaves.get(start.leaf..));
        let mut leaves = leaves.unwrap_or_default().iter();
        let elements = leaves.next().map(|leaf| leaf.node.elements());
        let elements = elements.and_then(|elements| elements.get(start.offset..));
        Iter {
            pages,
            leaves,
            elements: elements.unwrap_or_default().iter(),
            remaining,
        }
    }

    /// How many elements stand before a place.
    fn rank(&self, place: Place) -> usize {
        let page = self.pages.get(place.page);
        let in_page = page.map_or(0, |page| page.rank(place.leaf));
        self.pages.rank(place.page) + in_page + place.offset
    }

    /// The place of a bound, which `after` is not behind.
    fn place(&self, bound: Bound<'_>, after: Option<Place>) -> Place {
        let mut place = Place {
            page: self.pages.find(bound),
            leaf: 0,
            offset: 0,
        };
        let Some(page) = self.pages.get(place.page) else {
            return place;
        };
        place.leaf = page.find(bound);
        let Some(leaf) = page.get(place.leaf) else {
            return place;
        };
        place.offset = match after {
            Some(after) if (after.page, after.leaf) == (place.page, place.leaf) => {
                leaf.place_from(self.keys, bound, after.offset)
            }
            Some(_) | None => leaf.place(self.keys, bound),
        };
        place
    }
}

impl<T: Clone, K: KeyOf<T>> Ordered<T, K> {
    /// Takes elements that are in order and without duplicates.
    pub(crate) fn from_sorted(keys: K, elements: impl IntoIterator<Item = T>) -> Self {
        let mut elements = elements.into_iter();
        let mut leaves: Vec<Child<Leaf<T>>> = Vec::new();
        loop {
            let leaf = Leaf::new(keys, elements.by_ref().take(LEAF));
            if leaf.len() == 0 {
                break;
            }
            leaves.push(Child::new(leaf.len(), leaf));
        }
        let pairs = leaves.iter().zip(leaves.iter().skip(1));
        let separators: Vec<Vec<u8>> = pairs
            .map(|(left, right)| left.node.separator(keys, &right.node))
            .collect();
        let separators: Vec<&[u8]> = separators.iter().map(Vec::as_slice).collect();
        let len = leaves.iter().map(|leaf| leaf.len).sum();
        let (mut pages, mut between) = (Vec::new(), Vec::new());
        let mut rest = separators.as_slice();
        let mut leaves = leaves.into_iter();
        while leaves.len() > 0 {
            let page: Vec<_> = leaves.by_ref().take(PAGE).collect();
            let (inside, behind) = rest.split_at(rest.len().min(page.len() - 1));
            let page = Branch::new(page, inside);
            pages.push(Child::new(page.len(), page));
            if let Some((separator, next)) = behind.split_first() {
                between.push(*separator);
                rest = next;
            }
        }
        Self {
            pages: Arc::new(Branch::new(pages, &between)),
            len,
            keys,
        }
    }

    /// Puts an element in its place and returns the one of the same key that it replaced.
    pub(crate) fn insert(&mut self, element: T) -> Option<T> {
        let keys = self.keys;
        let key = keys.key(&element);
        let (bound, tag) = (Bound::at(key), key.tag());
        let pages = Arc::make_mut(&mut self.pages);
        let last_page = pages.children().len().saturating_sub(1);
        let at_page = pages.find(bound);
        let Some(page) = pages.get_mut(at_page) else {
            *self = Self::from_sorted(keys, [element]);
            return None;
        };
        let page_node = Arc::make_mut(&mut page.node);
        let last_leaf = page_node.children().len().saturating_sub(1);
        let at_leaf = page_node.find(bound);
        let leaf = page_node.get_mut(at_leaf)?;
        let leaf_node = Arc::make_mut(&mut leaf.node);
        if let Some(at) = leaf_node.find(keys, key) {
            return leaf_node.replace(at, element);
        }
        let at = leaf_node.place(keys, bound);
        self.len += 1;
        page.len += 1;
        if leaf.len < LEAF {
            leaf.len += 1;
            leaf_node.insert(at, element, tag);
            return None;
        }
        // Behind the last element of all: input that comes in order fills its nodes.
        let in_order = (at_page, at_leaf, at) == (last_page, last_leaf, LEAF);
        let half = if in_order { LEAF } else { LEAF / 2 };
        let mut right = leaf_node.split_off(half);
        match at.checked_sub(half) {
            Some(at) if at > 0 || in_order => right.insert(at, element, tag),
            _ => leaf_node.insert(at, element, tag),
        }
        leaf.len = leaf_node.len();
        let separator = leaf_node.separator(keys, &right);
        page_node.insert_after(at_leaf, Child::new(right.len(), right), &separator);
        if page_node.children().len() > PAGE {
            let half = if in_order { PAGE } else { PAGE / 2 };
            let (separator, right) = page_node.split_off(half);
            page.len = page_node.len();
            pages.insert_after(at_page, Child::new(right.len(), right), &separator);
        }
        None
    }

    /// Takes the element with that key out.
    pub(crate) fn remove(&mut self, key: Key<'_>) -> Option<T> {
        let bound = Bound::at(key);
        let at_page = self.pages.find(bound);
        let page = self.pages.get(at_page)?;
        let at_leaf = page.find(bound);
        let at = page.get(at_leaf)?.find(self.keys, key)?;
        // It is there: from here on the nodes are copied if a clone shares them.
        let pages = Arc::make_mut(&mut self.pages);
        let page = pages.get_mut(at_page)?;
        let page_node = Arc::make_mut(&mut page.node);
        let leaf = page_node.get_mut(at_leaf)?;
        let removed = Arc::make_mut(&mut leaf.node).remove(at);
        leaf.len -= 1;
        page.len -= 1;
        self.len -= 1;
        if leaf.len == 0 {
            page_node.remove(at_leaf);
        } else if leaf.len < LEAF / 4 {
            let size = |leaf: &Child<Leaf<T>>| leaf.len;
            if let Some(left) = page_node.joinable(at_leaf, size, LEAF * 3 / 4) {
                let right = page_node.remove(left + 1).node;
                if let Some(left) = page_node.get_mut(left) {
                    Arc::make_mut(&mut left.node).append(&right);
                    left.len += right.len();
                }
            }
        }
        let leaves = page_node.children().len();
        if leaves == 0 {
            pages.remove(at_page);
        } else if leaves < PAGE / 4 {
            let size = |page: &Child<Page<T>>| page.node.children().len();
            if let Some(left) = pages.joinable(at_page, size, PAGE * 3 / 4) {
                let separator = pages.separator(left).to_vec();
                let right = pages.remove(left + 1);
                if let Some(left) = pages.get_mut(left) {
                    Arc::make_mut(&mut left.node).append(&separator, &right.node);
                    left.len += right.len;
                }
            }
        }
        Some(removed)
    }
}

/// Elements of an [`Ordered`], in order.
#[derive(Debug)]
pub(crate) struct Iter<'a, T> {
    pages: slice::Iter<'a, Child<Page<T>>>,
    leaves: slice::Iter<'a, Child<Leaf<T>>>,
    elements: slice::Iter<'a, T>,
    remaining: usize,
}

impl<T> Clone for Iter<'_, T> {
    fn clone(&self) -> Self {
        Self {
            pages: self.pages.clone(),
            leaves: self.leaves.clone(),
            elements: self.elements.clone(),
            remaining: self.remaining,
        }
    }
}

impl<T> Default for Iter<'_, T> {
    /// No elements.
    fn default() -> Self {
        Self {
            pages: slice::Iter::default(),
            leaves: slice::Iter::default(),
            elements: slice::Iter::default(),
            remaining: 0,
        }
    }
}

impl<'a, T> Iterator for Iter<'a, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        self.remaining = self.remaining.checked_sub(1)?;
        loop {
            if let Some(element) = self.elements.next() {
                return Some(element);
            }
            match self.leaves.next() {
                Some(leaf) => self.elements = leaf.node.elements().iter(),
                None => self.leaves = self.pages.next()?.node.iter(),
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.remaining, Some(self.remaining))
    }
}

impl<T> ExactSizeIterator for Iter<'_, T> {}

#[cfg(test)]
mod tests;
