//! Owns the nodes: leaves of elements, and branches of leaves or of branches. Does not
//! decide when they are split or joined ([`super`]).

use std::{ops::Range, slice, sync::Arc};

use super::{
    KeyOf,
    key::{Bound, Key, Separators, Sought},
};

/// The most elements in a leaf. The first write after a snapshot copies one leaf, which
/// counts a reference to each element wherever that lies in memory; and a search looks
/// at this many tags, which are 64 bytes.
pub(super) const LEAF: usize = 32;

/// As many bits as a tag has.
const HALF: usize = LEAF / 2;

/// How many slots a full leaf buffer grows by: a bound on what lies unused.
pub(super) const GROWTH: usize = 8;

/// Elements in order, and of each a hash of its key's head.
#[derive(Clone, Debug)]
pub(super) struct Leaf<T> {
    elements: Vec<T>,
    tags: [u16; LEAF],
}

impl<T> Default for Leaf<T> {
    fn default() -> Self {
        Self {
            elements: Vec::new(),
            tags: [0; LEAF],
        }
    }
}

impl<T> Leaf<T> {
    pub(super) fn len(&self) -> usize {
        self.elements.len()
    }

    pub(super) fn elements(&self) -> &[T] {
        &self.elements
    }

    /// Of at most [`LEAF`] elements in order.
    pub(super) fn new<K: KeyOf<T>>(keys: K, elements: impl Iterator<Item = T>) -> Self {
        let mut leaf = Self::default();
        for element in elements {
            let tag = keys.key(&element).tag();
            leaf.insert(leaf.len(), element, tag);
        }
        leaf
    }

    #[cfg(test)]
    pub(super) fn buffer_len(&self) -> usize {
        self.elements.capacity()
    }

    /// What separates it from the next leaf; neither is empty.
    pub(super) fn separator<K: KeyOf<T>>(&self, keys: K, next: &Self) -> Vec<u8> {
        match (self.elements.last(), next.elements.first()) {
            (Some(last), Some(first)) => keys.key(first).shortest_above(keys.key(last)),
            (Some(_) | None, _) => Vec::new(),
        }
    }

    /// One bit for each element with this tag.
    #[inline]
    fn alike(&self, tag: u16) -> u32 {
        // In numbers as wide as tags, so that several are compared at once.
        let (halves, _) = self.tags.as_chunks::<HALF>();
        let alike = halves.iter().rev().fold(0, |alike, tags| {
            let half = tags.iter().enumerate().fold(0_u16, |alike, (at, other)| {
                alike | (u16::from(*other == tag) << at)
            });
            alike << HALF | u32::from(half)
        });
        // Tags behind the last element are left over.
        let bits = u32::try_from(self.elements.len()).unwrap_or(0);
        alike & !u32::MAX.checked_shl(bits).unwrap_or(0)
    }

    /// Where the element with this key stands.
    #[inline]
    pub(super) fn find<K: KeyOf<T>, S: Sought>(&self, keys: K, key: S) -> Option<usize> {
        let is = |at: &usize| {
            let element = self.elements.get(*at);
            element.is_some_and(|element| key.is(keys.key(element)))
        };
        let alike = self.alike(key.tag());
        match alike {
            0 => None,
            one if one.is_power_of_two() => Some(first(one)).filter(is),
            _ => {
                let before = |element: &T| key.cmp(keys.key(element)).is_gt();
                Some(self.elements.partition_point(before)).filter(is)
            }
        }
    }

    /// Where the elements stand that have this head, which no other may begin with; none
    /// unless all of them are here for sure.
    #[inline]
    pub(super) fn run<K: KeyOf<T>>(&self, keys: K, head: Key<'_>) -> Option<Range<usize>> {
        let alike = self.alike(head.tag());
        if alike == 0 {
            return None;
        }
        let start = first(alike);
        let end = start + first(!(alike >> start));
        let belongs = |element: Option<&T>| {
            element.is_some_and(|element| keys.key(element).head() == head.head())
        };
        let run = self.elements.get(start..end)?;
        // Others may follow in the next leaf.
        let whole = end < self.elements.len();
        (whole && belongs(run.first()) && belongs(run.last())).then_some(start..end)
    }

    /// Where the first element behind a place stands.
    pub(super) fn place<K: KeyOf<T>>(&self, keys: K, bound: Bound<'_>) -> usize {
        self.elements
            .partition_point(|element| bound.is_behind(keys.key(element)))
    }

    /// As [`place`](Self::place), known to be at `from` or behind, and likely near.
    pub(super) fn place_from<K: KeyOf<T>>(&self, keys: K, bound: Bound<'_>, from: usize) -> usize {
        let before = |element: &T| bound.is_behind(keys.key(element));
        let rest = self.elements.get(from..).unwrap_or_default();
        let near = rest.iter().take(2).take_while(|e| before(e)).count();
        from + if near < 2 {
            near
        } else {
            rest.partition_point(before)
        }
    }

    pub(super) fn replace(&mut self, at: usize, element: T) -> Option<T> {
        let place = self.elements.get_mut(at)?;
        Some(std::mem::replace(place, element))
    }

    /// Puts an element in; the leaf must not be full.
    pub(super) fn insert(&mut self, at: usize, element: T, tag: u16) {
        if self.elements.len() == self.elements.capacity() {
            self.elements.reserve_exact(GROWTH);
        }
        self.tags.copy_within(at..self.elements.len(), at + 1);
        self.tags[at] = tag;
        self.elements.insert(at, element);
    }

    pub(super) fn remove(&mut self, at: usize) -> T {
        self.tags.copy_within(at + 1..self.elements.len(), at);
        self.elements.remove(at)
    }

    /// Takes all elements from `at` on away, into a leaf of their own.
    pub(super) fn split_off(&mut self, at: usize) -> Self {
        let mut right = Self {
            elements: self.elements.split_off(at),
            ..Self::default()
        };
        for (to, from) in right.tags.iter_mut().zip(self.tags.iter().skip(at)) {
            *to = *from;
        }
        self.elements.shrink_to(at + GROWTH);
        right
    }
}

impl<T: Clone> Leaf<T> {
    /// Takes the elements of the next leaf in; there must be room for them.
    pub(super) fn append(&mut self, right: &Self) {
        let len = self.len();
        for (to, from) in self.tags.iter_mut().skip(len).zip(&right.tags) {
            *to = *from;
        }
        self.elements.reserve_exact(right.len());
        self.elements.extend_from_slice(&right.elements);
    }
}

/// The lowest bit that is set; 32 when none is.
fn first(bits: u32) -> usize {
    // At most 32.
    bits.trailing_zeros() as usize
}

/// One node below a branch.
#[derive(Debug)]
pub(super) struct Child<N> {
    pub(super) node: Arc<N>,
    /// How many elements are in it.
    pub(super) len: usize,
}

impl<N> Child<N> {
    pub(super) fn new(len: usize, node: N) -> Self {
        Self {
            node: Arc::new(node),
            len,
        }
    }
}

impl<N> Clone for Child<N> {
    fn clone(&self) -> Self {
        Self {
            node: Arc::clone(&self.node),
            len: self.len,
        }
    }
}

/// Nodes in order, and what separates them.
#[derive(Debug)]
pub(super) struct Branch<N> {
    children: Vec<Child<N>>,
    /// One less than there are children.
    separators: Separators,
}

impl<N> Clone for Branch<N> {
    fn clone(&self) -> Self {
        Self {
            children: self.children.clone(),
            separators: self.separators.clone(),
        }
    }
}

impl<N> Default for Branch<N> {
    fn default() -> Self {
        Self {
            children: Vec::new(),
            separators: Separators::default(),
        }
    }
}

impl<N> Branch<N> {
    /// Of children in order, and what separates them.
    pub(super) fn new(children: Vec<Child<N>>, separators: &[&[u8]]) -> Self {
        Self {
            children,
            separators: Separators::new(separators),
        }
    }

    pub(super) fn children(&self) -> &[Child<N>] {
        &self.children
    }

    pub(super) fn iter(&self) -> slice::Iter<'_, Child<N>> {
        self.children.iter()
    }

    /// How many elements are in all children together.
    pub(super) fn len(&self) -> usize {
        self.rank(self.children.len())
    }

    /// How many elements are in the children before the one at `at`.
    pub(super) fn rank(&self, at: usize) -> usize {
        self.children.iter().take(at).map(|child| child.len).sum()
    }

    /// Which child a place lies in.
    #[inline]
    pub(super) fn find(&self, bound: Bound<'_>) -> usize {
        self.separators.find(bound)
    }

    /// Which child an element is in, if there is one of this key.
    #[inline]
    pub(super) fn seek<S: Sought>(&self, key: S) -> usize {
        self.separators.seek(key)
    }

    #[inline]
    pub(super) fn get(&self, at: usize) -> Option<&N> {
        self.children.get(at).map(|child| &*child.node)
    }

    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut Child<N>> {
        self.children.get_mut(at)
    }

    /// Puts a child behind the one at `at`, and `separator` between the two.
    pub(super) fn insert_after(&mut self, at: usize, child: Child<N>, separator: &[u8]) {
        self.children.insert(at + 1, child);
        let mut texts = self.separators.texts();
        texts.insert(at, separator);
        self.separators = Separators::new(&texts);
    }

    /// Takes a child out. What separated it from the one before goes with it.
    pub(super) fn remove(&mut self, at: usize) -> Child<N> {
        let removed = self.children.remove(at);
        let mut texts = self.separators.texts();
        if !texts.is_empty() {
            texts.remove(at.saturating_sub(1));
        }
        self.separators = Separators::new(&texts);
        removed
    }

    /// Takes all children from `at` on away, at least one of many, and what separated
    /// them from those that stay.
    pub(super) fn split_off(&mut self, at: usize) -> (Vec<u8>, Self) {
        let texts = self.separators.texts();
        let separator = self.separators.get(at.saturating_sub(1)).to_vec();
        let right = Self::new(
            self.children.split_off(at),
            texts.get(at..).unwrap_or_default(),
        );
        let left = Separators::new(texts.get(..at.saturating_sub(1)).unwrap_or_default());
        self.separators = left;
        (separator, right)
    }

    /// Takes the children of the next branch in.
    pub(super) fn append(&mut self, separator: &[u8], right: &Self) {
        let mut texts = self.separators.texts();
        texts.push(separator);
        texts.extend(right.separators.texts());
        let joined = Separators::new(&texts);
        self.separators = joined;
        self.children.extend_from_slice(&right.children);
    }

    /// The left one of two neighbours that are to become one: the child at `at` and the
    /// next or the previous one, when both fit in `room`, which leaves some, so that the
    /// next insertion does not split them again.
    pub(super) fn joinable(
        &self,
        at: usize,
        size: impl Fn(&Child<N>) -> usize,
        room: usize,
    ) -> Option<usize> {
        let fits = |left: &usize| {
            let pair = self.children.get(*left).zip(self.children.get(left + 1));
            pair.is_some_and(|(a, b)| size(a) + size(b) <= room)
        };
        [Some(at), at.checked_sub(1)]
            .into_iter()
            .flatten()
            .find(fits)
    }

    /// What separates the child at `at` from the next.
    pub(super) fn separator(&self, at: usize) -> &[u8] {
        self.separators.get(at)
    }
}
