//! Owns the persistent ordered sequence that object sets and indexes are made
//! of. Does not know what its elements are: their order comes in as closures.
//!
//! Why not imbl's `OrdSet`: its inner nodes keep clones of the elements that
//! they separate and never refresh them, so about one object in ten would stay
//! in memory after it was replaced or deleted. Here an element is held in
//! exactly one place a version.

use std::{cmp::Ordering, sync::Arc};

/// The most elements in a chunk. The first write after a snapshot copies one
/// chunk and the list of chunks; 128 keeps both near a thousand pointers at
/// 100,000 elements.
const CHUNK: usize = 128;

/// How many slots a full chunk buffer grows by: a bound on what lies unused.
const GROWTH: usize = 16;

/// Elements in an order that the caller keeps, as chunks behind reference
/// counts: cloning copies one pointer, and a clone never sees later writes.
#[derive(Debug)]
pub(crate) struct Ordered<T> {
    /// No chunk is empty.
    chunks: Arc<Vec<Arc<Vec<T>>>>,
    len: usize,
}

impl<T> Clone for Ordered<T> {
    fn clone(&self) -> Self {
        Self {
            chunks: Arc::clone(&self.chunks),
            len: self.len,
        }
    }
}

impl<T> Default for Ordered<T> {
    fn default() -> Self {
        Self {
            chunks: Arc::default(),
            len: 0,
        }
    }
}

/// Where an element stands or would stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    chunk: usize,
    offset: usize,
}

impl<T> Ordered<T> {
    /// How many elements there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// All elements, in order.
    pub(crate) fn iter(&self) -> Iter<'_, T> {
        Iter {
            chunks: &self.chunks,
            offset: 0,
            remaining: self.len,
        }
    }

    /// The element that compares equal; `order` tells how an element stands to
    /// the one that is looked for.
    pub(crate) fn get(&self, order: impl Fn(&T) -> Ordering) -> Option<&T> {
        let position = self.lower_bound(|element| order(element).is_lt());
        self.at(position).filter(|element| order(element).is_eq())
    }

    /// The elements that are not `before` the range and stand before all that
    /// are `beyond` it. Costs two binary searches.
    pub(crate) fn range(
        &self,
        before: impl Fn(&T) -> bool,
        beyond: impl Fn(&T) -> bool,
    ) -> Iter<'_, T> {
        let start = self.lower_bound(before);
        let end = self.lower_bound(|element| !beyond(element));
        let Some(between) = end.chunk.checked_sub(start.chunk) else {
            return Iter::default();
        };
        let chunks = self.chunks.get(start.chunk..).unwrap_or_default();
        let whole: usize = chunks.iter().take(between).map(|chunk| chunk.len()).sum();
        Iter {
            chunks,
            offset: start.offset,
            remaining: (whole + end.offset).saturating_sub(start.offset),
        }
    }

    fn at(&self, position: Position) -> Option<&T> {
        self.chunks.get(position.chunk)?.get(position.offset)
    }

    /// The first element that is not `before`.
    fn lower_bound(&self, before: impl Fn(&T) -> bool) -> Position {
        let chunk = self
            .chunks
            .partition_point(|chunk| chunk.last().is_some_and(&before));
        let offset = self
            .chunks
            .get(chunk)
            .map_or(0, |chunk| chunk.partition_point(before));
        Position { chunk, offset }
    }
}

impl<T: Clone> Ordered<T> {
    /// Takes elements that are in order and without duplicates.
    pub(crate) fn from_sorted(elements: impl IntoIterator<Item = T>) -> Self {
        let mut chunks = Vec::new();
        let mut len = 0;
        let mut chunk = Vec::new();
        for element in elements {
            if chunk.len() == CHUNK {
                chunks.push(Arc::new(std::mem::take(&mut chunk)));
            }
            push(&mut chunk, element);
            len += 1;
        }
        if !chunk.is_empty() {
            chunks.push(Arc::new(chunk));
        }
        Self {
            chunks: Arc::new(chunks),
            len,
        }
    }

    /// Puts an element in its place and returns the equal one that it replaced.
    /// `order` tells how another element stands to `element`.
    pub(crate) fn insert(&mut self, element: T, order: impl Fn(&T) -> Ordering) -> Option<T> {
        let position = self.lower_bound(|other| order(other).is_lt());
        let equal = self.at(position).is_some_and(|other| order(other).is_eq());
        let chunks = Arc::make_mut(&mut self.chunks);
        if equal {
            let chunk = Arc::make_mut(chunks.get_mut(position.chunk)?);
            return Some(std::mem::replace(chunk.get_mut(position.offset)?, element));
        }
        self.len += 1;
        let count = chunks.len();
        match chunks.get_mut(position.chunk) {
            Some(chunk) if chunk.len() < CHUNK => {
                let chunk = Arc::make_mut(chunk);
                make_room(chunk);
                chunk.insert(position.offset, element);
            }
            Some(chunk) => {
                let left = Arc::make_mut(chunk);
                let mut right = left.split_off(CHUNK / 2);
                left.shrink_to(CHUNK / 2 + GROWTH);
                match position.offset.checked_sub(CHUNK / 2) {
                    Some(offset) if offset > 0 => {
                        make_room(&mut right);
                        right.insert(offset, element);
                    }
                    _ => {
                        make_room(left);
                        left.insert(position.offset, element);
                    }
                }
                chunks.insert(position.chunk + 1, Arc::new(right));
            }
            // Beyond the last element: input that comes in order fills chunks.
            None => match chunks.last_mut().filter(|last| last.len() < CHUNK) {
                Some(last) => push(Arc::make_mut(last), element),
                None => {
                    let mut chunk = Vec::new();
                    push(&mut chunk, element);
                    chunks.insert(count, Arc::new(chunk));
                }
            },
        }
        None
    }

    /// Takes the element out that compares equal.
    pub(crate) fn remove(&mut self, order: impl Fn(&T) -> Ordering) -> Option<T> {
        let position = self.lower_bound(|element| order(element).is_lt());
        self.at(position).filter(|element| order(element).is_eq())?;
        let chunks = Arc::make_mut(&mut self.chunks);
        let chunk = Arc::make_mut(chunks.get_mut(position.chunk)?);
        let removed = chunk.remove(position.offset);
        let left = chunk.len();
        self.len -= 1;
        if left == 0 {
            chunks.remove(position.chunk);
        } else if left < CHUNK / 4 {
            merge_with_neighbour(chunks, position.chunk);
        }
        Some(removed)
    }
}

fn push<T>(chunk: &mut Vec<T>, element: T) {
    make_room(chunk);
    chunk.push(element);
}

fn make_room<T>(chunk: &mut Vec<T>) {
    if chunk.len() == chunk.capacity() {
        chunk.reserve_exact(GROWTH);
    }
}

/// Joins a chunk with the next or the previous one when both fit in three
/// quarters of a chunk, so that the next insertion does not split it again.
fn merge_with_neighbour<T: Clone>(chunks: &mut Vec<Arc<Vec<T>>>, index: usize) {
    let len = |i: usize| chunks.get(i).map(|chunk| chunk.len());
    let fits = |left: usize| matches!((len(left), len(left + 1)), (Some(a), Some(b)) if a + b <= CHUNK * 3 / 4);
    let left = match index.checked_sub(1) {
        _ if fits(index) => index,
        Some(previous) if fits(previous) => previous,
        _ => return,
    };
    let right = chunks.remove(left + 1);
    if let Some(left) = chunks.get_mut(left) {
        let left = Arc::make_mut(left);
        left.reserve_exact(right.len());
        left.extend(right.iter().cloned());
    }
}

/// Elements of an [`Ordered`], in order.
#[derive(Debug)]
pub(crate) struct Iter<'a, T> {
    chunks: &'a [Arc<Vec<T>>],
    offset: usize,
    remaining: usize,
}

impl<T> Clone for Iter<'_, T> {
    fn clone(&self) -> Self {
        Self {
            chunks: self.chunks,
            offset: self.offset,
            remaining: self.remaining,
        }
    }
}

impl<T> Default for Iter<'_, T> {
    /// No elements.
    fn default() -> Self {
        Self {
            chunks: &[],
            offset: 0,
            remaining: 0,
        }
    }
}

impl<'a, T> Iterator for Iter<'a, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        self.remaining = self.remaining.checked_sub(1)?;
        loop {
            let (first, rest) = self.chunks.split_first()?;
            if let Some(element) = first.get(self.offset) {
                self.offset += 1;
                return Some(element);
            }
            self.chunks = rest;
            self.offset = 0;
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.remaining, Some(self.remaining))
    }
}

impl<T> ExactSizeIterator for Iter<'_, T> {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    type Element = (u16, u8);

    fn check(ordered: &Ordered<Element>, model: &BTreeMap<u16, u8>) {
        let elements: Vec<_> = ordered.iter().copied().collect();
        let expected: Vec<_> = model.iter().map(|(k, v)| (*k, *v)).collect();
        assert_eq!(elements, expected);
        assert_eq!(ordered.len(), model.len());
        let sizes: Vec<_> = ordered.chunks.iter().map(|chunk| chunk.len()).collect();
        assert!(sizes.iter().all(|size| (1..=CHUNK).contains(size)));
        assert!(
            ordered
                .chunks
                .iter()
                .all(|chunk| chunk.capacity() <= CHUNK + GROWTH)
        );
        assert!(
            sizes
                .windows(2)
                .all(|pair| pair.iter().sum::<usize>() > CHUNK / 4),
            "{sizes:?}"
        );
    }

    fn check_range(ordered: &Ordered<Element>, model: &BTreeMap<u16, u8>, low: u16, high: u16) {
        let found = ordered.range(|e| e.0 < low, |e| e.0 > high);
        assert_eq!(found.len(), found.clone().count());
        let expected = model.iter().filter(|(k, _)| (low..=high).contains(*k));
        assert!(found.copied().eq(expected.map(|(k, v)| (*k, *v))));
    }

    fn insert(ordered: &mut Ordered<Element>, element: Element) -> Option<u8> {
        Some(ordered.insert(element, |e| e.0.cmp(&element.0))?.1)
    }

    /// Runs of neighbouring keys, put in or taken out one by one, so that chunks
    /// fill, split, empty and join.
    fn runs() -> impl Strategy<Value = Vec<(bool, u16, u16, u8)>> {
        prop::collection::vec(
            (
                prop::bool::weighted(0.6),
                0..2_000_u16,
                1..400_u16,
                any::<u8>(),
            ),
            1..20,
        )
    }

    #[test]
    fn i5_a_range_is_found_by_search_and_not_by_a_scan() {
        let ordered = Ordered::from_sorted((0..100_000_u32).map(|n| (n / 10, n)));
        let looks = std::cell::Cell::new(0);
        let look = |yes: bool| {
            looks.set(looks.get() + 1);
            yes
        };
        let found: Vec<_> = ordered
            .range(|(key, _)| look(*key < 4_321), |(key, _)| look(*key > 4_321))
            .map(|(_, n)| *n)
            .collect();
        assert_eq!(found, Vec::from_iter(43_210..43_220));
        // Two binary searches: among 782 chunks, and in one of 128.
        assert!(looks.get() <= 2 * (11 + 9), "{}", looks.get());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn it_follows_a_map_and_clones_never_see_later_writes(runs in runs(), reads: Vec<(u16, u16)>) {
            let (mut ordered, mut model) = (Ordered::default(), BTreeMap::new());
            let mut history = Vec::new();
            for (put, start, len, value) in runs {
                for key in start..start + len {
                    if put {
                        prop_assert_eq!(insert(&mut ordered, (key, value)), model.insert(key, value));
                    } else {
                        let removed = ordered.remove(|e| e.0.cmp(&key));
                        prop_assert_eq!(removed.map(|e| e.1), model.remove(&key));
                    }
                }
                check(&ordered, &model);
                history.push((ordered.clone(), model.clone()));
            }
            for (ordered, model) in &history {
                check(ordered, model);
                for (low, high) in &reads {
                    check_range(ordered, model, low % 2_500, high % 2_500);
                }
            }
            for key in 0..2_500 {
                let found = ordered.get(|e| e.0.cmp(&key)).map(|e| e.1);
                prop_assert_eq!(found, model.get(&key).copied());
            }
        }
    }

    #[test]
    fn input_in_order_fills_its_chunks() {
        let mut ordered = Ordered::default();
        for key in 0..10_000 {
            insert(&mut ordered, (key, 0));
        }
        assert_eq!(ordered.chunks.len(), 10_000_usize.div_ceil(CHUNK));
    }

    #[test]
    fn a_write_copies_one_chunk_of_a_clone() {
        let mut ordered = Ordered::default();
        for key in 0..10_000 {
            insert(&mut ordered, (key, 0));
        }
        let clone = ordered.clone();
        insert(&mut ordered, (5_000, 1));
        let pairs = ordered.chunks.iter().zip(clone.chunks.iter());
        assert_eq!(pairs.filter(|(a, b)| !Arc::ptr_eq(a, b)).count(), 1);
    }
}
