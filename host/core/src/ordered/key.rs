//! Owns how elements are compared: keys in two parts, places between keys, and the
//! separators that a search goes by. Does not know where elements are kept
//! ([`super`]).

use std::{cmp::Ordering, sync::Arc};

/// What an element is ordered by: the bytes of `head`, then those of `tail`, as if they
/// were one string.
///
/// A search for one element splits its key where the elements do, so that both have the
/// same [tag](Self::tag).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Key<'a> {
    head: &'a [u8],
    tail: &'a [u8],
}

impl<'a> Key<'a> {
    pub(crate) fn new(head: &'a [u8], tail: &'a [u8]) -> Self {
        Self { head, tail }
    }

    pub(super) fn head(self) -> &'a [u8] {
        self.head
    }

    fn len(self) -> usize {
        self.head.len() + self.tail.len()
    }

    /// A hash of the head. Heads can be chosen so that theirs are equal: then one leaf is
    /// searched by comparing, and no more.
    #[inline]
    pub(super) fn tag(self) -> u16 {
        /// An odd number without a pattern: 2⁶⁴ divided by the golden ratio.
        const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
        let (words, rest) = self.head.as_chunks::<8>();
        let mut hash = u64::try_from(rest.len()).unwrap_or(0);
        for word in words {
            hash = (hash ^ u64::from_le_bytes(*word)).wrapping_mul(FACTOR);
            hash ^= hash >> 29;
        }
        let mut last = [0; 8];
        for (to, from) in last.iter_mut().zip(rest) {
            *to = *from;
        }
        hash = (hash ^ u64::from_le_bytes(last)).wrapping_mul(FACTOR);
        // The upper bits depend on all bytes.
        u16::try_from(hash >> 48).unwrap_or(0)
    }

    #[inline]
    pub(super) fn is(self, other: Key<'_>) -> bool {
        if self.head.len() == other.head.len() {
            self.head == other.head && self.tail == other.tail
        } else {
            self.cmp(other).is_eq()
        }
    }

    pub(super) fn cmp(self, other: Key<'_>) -> Ordering {
        let common = self.head.len().min(other.head.len());
        let (mine, my_rest) = self.head.split_at(common);
        let (theirs, their_rest) = other.head.split_at(common);
        mine.cmp(theirs).then_with(|| {
            if my_rest.is_empty() && their_rest.is_empty() {
                return self.tail.cmp(other.tail);
            }
            let mine = my_rest.iter().chain(self.tail);
            mine.cmp(their_rest.iter().chain(other.tail))
        })
    }

    /// The first `len` bytes, or all.
    fn truncate(self, len: usize) -> Self {
        match self.head.get(..len) {
            Some(head) => Self { head, tail: &[] },
            None => Self {
                head: self.head,
                tail: self.tail.get(..len - self.head.len()).unwrap_or(self.tail),
            },
        }
    }

    /// The bytes from `at` on as a number, with `pad` for those behind the end.
    #[inline]
    fn window(self, at: usize, pad: u8) -> Window {
        if let Some(bytes) = self.head.get(at..).and_then(|rest| rest.first_chunk()) {
            return Window::from_be_bytes(*bytes);
        }
        let mut window = Window::MIN.to_be_bytes().map(|_| pad);
        let bytes = self.head.iter().chain(self.tail).skip(at);
        for (to, from) in window.iter_mut().zip(bytes) {
            *to = *from;
        }
        Window::from_be_bytes(window)
    }

    /// All bytes up to the first in which it differs from the smaller key `before`.
    pub(super) fn shortest_above(self, before: Key<'_>) -> Vec<u8> {
        let bytes = || self.head.iter().chain(self.tail);
        let same = bytes()
            .zip(before.head.iter().chain(before.tail))
            .take_while(|(a, b)| a == b)
            .count();
        bytes().take(same + 1).copied().collect()
    }
}

/// Bytes as a number that orders like them: as many as it takes to tell names apart that
/// differ in the last characters of a namespace, or behind `shop-frontend-`.
type Window = u128;

/// A place in the order, between two elements.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound<'a> {
    key: Key<'a>,
    /// Behind all that begins with the key, instead of before all of it.
    beyond: bool,
}

impl<'a> Bound<'a> {
    /// Before the key, and everything that begins with it.
    pub(super) fn at(key: Key<'a>) -> Self {
        Self { key, beyond: false }
    }

    /// Behind the key, and everything that begins with it.
    pub(super) fn beyond(key: Key<'a>) -> Self {
        Self { key, beyond: true }
    }

    /// Whether an element stands before this place.
    #[inline]
    pub(super) fn is_behind(self, element: Key<'_>) -> bool {
        if self.beyond {
            element.truncate(self.key.len()).cmp(self.key).is_le()
        } else {
            element.cmp(self.key).is_lt()
        }
    }

    /// Whether what begins at a separator reaches up to here.
    fn is_from(self, separator: &[u8]) -> bool {
        let separator = Key::new(separator, &[]);
        if self.beyond {
            separator.truncate(self.key.len()).cmp(self.key).is_le()
        } else {
            separator.cmp(self.key).is_le()
        }
    }
}

/// The most bytes that separators are looked up to have in common.
const COMMON: usize = 47;

/// Where each node but the first of several in a row begins: a text that is above all
/// keys of the one before, and not above those of its own. They are copies of as many
/// bytes as it takes, so they keep no element alive, and a search reads nothing else.
/// Cloning copies two pointers.
#[derive(Clone, Debug)]
pub(super) struct Separators {
    /// What all of them begin with, here and not elsewhere in memory.
    common: [u8; COMMON],
    common_len: u8,
    /// Of each the bytes behind that, with zeros behind its end.
    windows: Arc<[Window]>,
    /// All of them, whole: for when windows do not tell them apart.
    texts: Arc<Texts>,
}

#[derive(Debug)]
struct Texts {
    bytes: Box<[u8]>,
    ends: Box<[usize]>,
}

impl Default for Separators {
    /// None.
    fn default() -> Self {
        Self::new(&[])
    }
}

impl Separators {
    pub(super) fn new(texts: &[&[u8]]) -> Self {
        let first = texts.first().copied().unwrap_or_default();
        // They are in order, so what the outermost have in common all have.
        let last = texts.last().copied().unwrap_or_default();
        let mut common = [0; COMMON];
        let mut common_len = 0;
        for ((to, a), b) in common.iter_mut().zip(first).zip(last) {
            if a != b {
                break;
            }
            *to = *a;
            common_len += 1;
        }
        let ends = texts.iter().scan(0, |end, text| {
            *end += text.len();
            Some(*end)
        });
        Self {
            common,
            common_len,
            windows: texts
                .iter()
                .map(|text| Key::new(text, &[]).window(usize::from(common_len), 0))
                .collect(),
            texts: Arc::new(Texts {
                ends: ends.collect(),
                bytes: texts.concat().into_boxed_slice(),
            }),
        }
    }

    pub(super) fn get(&self, at: usize) -> &[u8] {
        let Texts { bytes, ends } = &*self.texts;
        let start = at.checked_sub(1).and_then(|before| ends.get(before));
        let start = start.copied().unwrap_or(0);
        let end = ends.get(at).copied().unwrap_or(start);
        bytes.get(start..end).unwrap_or_default()
    }

    /// All of them, in order.
    pub(super) fn texts(&self) -> Vec<&[u8]> {
        (0..self.windows.len()).map(|at| self.get(at)).collect()
    }

    /// Which node a place lies in, counted from 0: how many separators are up to there.
    #[inline]
    pub(super) fn find(&self, bound: Bound<'_>) -> usize {
        let key = bound.key;
        let common_len = usize::from(self.common_len);
        let common = Key::new(self.common.get(..common_len).unwrap_or_default(), &[]);
        match key.truncate(common_len).cmp(common) {
            // The place behind what begins like all of them.
            Ordering::Less if bound.beyond && common.truncate(key.len()).is(key) => {
                return self.windows.len();
            }
            Ordering::Less => return 0,
            Ordering::Greater => return self.windows.len(),
            Ordering::Equal => {}
        }
        let pad = if bound.beyond { 0xFF } else { 0 };
        let window = key.window(common_len, pad);
        let low = self.windows.partition_point(|other| *other < window);
        let rest = self.windows.get(low..).unwrap_or_default();
        let like = rest.partition_point(|other| *other == window);
        self.find_alike(bound, low, low + like)
    }

    /// The same among those that windows do not tell apart.
    fn find_alike(&self, bound: Bound<'_>, mut low: usize, mut high: usize) -> usize {
        while low < high {
            let middle = low.midpoint(high);
            if bound.is_from(self.get(middle)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Few bytes, among them the smallest and the largest, so that keys are often
    /// beginnings of each other, and differ where no window reaches.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop::sample::select(&[0, 1, b'a', b'b', 0xFF][..]);
        (0..5_usize, prop::collection::vec(byte, 0..6)).prop_map(|(long, rest)| {
            let mut bytes = b"common-beginning".repeat(long);
            bytes.extend(rest);
            bytes
        })
    }

    fn split(bytes: &[u8], at: usize) -> Key<'_> {
        let (head, tail) = bytes.split_at(at % (bytes.len() + 1));
        Key::new(head, tail)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn keys_are_ordered_like_their_bytes_wherever_they_are_split(
            a in bytes(), b in bytes(), at: usize, bt: usize, len in 0..80_usize,
        ) {
            let (x, y) = (split(&a, at), split(&b, bt));
            prop_assert_eq!(x.cmp(y), a.cmp(&b));
            prop_assert_eq!(x.is(y), a == b);
            let cut = a.get(..len).unwrap_or(&a);
            prop_assert!(x.truncate(len).is(Key::new(cut, &[])));
            if a < b {
                let between = y.shortest_above(x);
                prop_assert!(a < between && between <= b && b.starts_with(&between));
            }
        }

        #[test]
        fn a_place_lies_behind_the_separators_up_to_it(
            texts in prop::collection::btree_set(bytes(), 0..20), key in bytes(), at: usize,
        ) {
            let texts: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
            let separators = Separators::new(&texts);
            prop_assert_eq!(separators.texts(), texts.clone());
            let upto = texts.iter().filter(|text| **text <= &*key).count();
            prop_assert_eq!(separators.find(Bound::at(split(&key, at))), upto);
            let beyond = |text: &[u8]| text <= &*key || text.starts_with(&key);
            let upto = texts.iter().filter(|text| beyond(text)).count();
            prop_assert_eq!(separators.find(Bound::beyond(split(&key, at))), upto);
        }

        #[test]
        fn a_place_divides_the_elements(element in bytes(), key in bytes(), at: usize, bt: usize) {
            let (x, y) = (split(&element, at), split(&key, bt));
            prop_assert_eq!(Bound::at(y).is_behind(x), element < key);
            let beyond = element < key || element.starts_with(&key);
            prop_assert_eq!(Bound::beyond(y).is_behind(x), beyond);
        }
    }
}
