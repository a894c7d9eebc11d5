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
        let (words, rest) = self.head.as_chunks::<8>();
        let words = words.iter().map(|word| u64::from_le_bytes(*word));
        hash(rest.len(), words, partial_word(rest))
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
        const BYTES: usize = size_of::<Window>();
        // Bytes that were written one by one could not be read as one word at once.
        let append = |window, byte: &u8| window << 8 | Window::from(*byte);
        let head = self.head.get(at..).unwrap_or_default();
        let tail = self.tail.get(at.saturating_sub(self.head.len())..);
        let tail = tail.unwrap_or_default();
        let tail = tail.get(..BYTES - head.len()).unwrap_or(tail);
        let window = head.iter().fold(0, append);
        let window = tail.iter().fold(window, append);
        (head.len() + tail.len()..BYTES).fold(window, |window, _| append(window, &pad))
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

/// What a [tag](Key::tag) is made of: words, and a last one of fewer bytes, with zeros.
#[inline]
fn hash(last_len: usize, words: impl Iterator<Item = u64>, last: u64) -> u16 {
    /// An odd number without a pattern: 2⁶⁴ divided by the golden ratio.
    const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut hash = u64::try_from(last_len).unwrap_or(0);
    for word in words {
        hash = (hash ^ word).wrapping_mul(FACTOR);
        hash ^= hash >> 29;
    }
    hash = (hash ^ last).wrapping_mul(FACTOR);
    // The upper bits depend on all bytes.
    u16::try_from(hash >> 48).unwrap_or(0)
}

/// Fewer than eight bytes as a word, with zeros behind them.
#[inline]
fn partial_word(bytes: &[u8]) -> u64 {
    if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
        return u64::from(first) | u64::from(last) << ((bytes.len() - 4) * 8);
    }
    let Some((first, last)) = bytes.first().zip(bytes.last()) else {
        return 0;
    };
    // Of one byte all three are that one, of two bytes two are the last.
    let middle = bytes.get(bytes.len() / 2).unwrap_or(last);
    let put = |byte: &u8, at: usize| u64::from(*byte) << (at * 8);
    put(first, 0) | put(middle, bytes.len() / 2) | put(last, bytes.len() - 1)
}

/// What a search for one element compares.
pub(crate) trait Sought: Copy {
    /// See [`Key::tag`].
    fn tag(self) -> u16;
    /// Whether it is the key of this element.
    fn is(self, element: Key<'_>) -> bool;
    /// How it stands to any key.
    fn cmp(self, other: Key<'_>) -> Ordering;
    /// How as much of its beginning stands to `common`, behind which there are zeros.
    fn cmp_beginning(self, common: &[u8; COMMON], len: usize) -> Ordering;
    /// The bytes from `at` on, with zeros behind the end.
    fn window(self, at: usize) -> Window;
}

impl Sought for Key<'_> {
    #[inline]
    fn tag(self) -> u16 {
        self.tag()
    }

    #[inline]
    fn is(self, element: Key<'_>) -> bool {
        self.is(element)
    }

    fn cmp(self, other: Key<'_>) -> Ordering {
        self.cmp(other)
    }

    #[inline]
    fn cmp_beginning(self, common: &[u8; COMMON], len: usize) -> Ordering {
        let common = Key::new(common.get(..len).unwrap_or_default(), &[]);
        self.truncate(len).cmp(common)
    }

    #[inline]
    fn window(self, at: usize) -> Window {
        self.window(at, 0)
    }
}

/// How many words a [`Short`] has: enough for what most objects are called.
const WORDS: usize = 8;

/// A key of few bytes that is put together to be sought, as words. The processor reads a word
/// at once that was just written as one. For bytes that were copied one by one, and are read as a
/// word, it waits, and for all that the search before this one reads. So none of this is moved.
#[derive(Debug, Default)]
pub(crate) struct Short {
    /// With zeros behind the end.
    words: [u64; WORDS],
    len: usize,
}

impl Short {
    /// Whether all that was appended has room.
    pub(crate) fn is_whole(&self) -> bool {
        self.len <= WORDS * 8
    }

    /// Puts a NUL behind the bytes that are there.
    #[inline]
    pub(crate) fn append_nul(&mut self) {
        self.len += 1;
    }

    /// Puts bytes behind those that are there.
    #[inline]
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        let (mut at, shift) = (self.len / 8, self.len % 8 * 8);
        let (words, rest) = bytes.as_chunks::<8>();
        let words = words.iter().map(|word| u64::from_le_bytes(*word));
        for word in words.chain([partial_word(rest)]) {
            if let Some(to) = self.words.get_mut(at) {
                *to |= word << shift;
            }
            if shift > 0
                && let Some(to) = self.words.get_mut(at + 1)
            {
                *to |= word >> (64 - shift);
            }
            at += 1;
        }
        self.len += bytes.len();
    }

    #[inline]
    fn word(&self, at: usize) -> u64 {
        self.words.get(at).copied().unwrap_or(0)
    }
}

impl Sought for &Short {
    #[inline]
    fn tag(self) -> u16 {
        let words = self.words.iter().take(self.len / 8).copied();
        hash(self.len % 8, words, self.word(self.len / 8))
    }

    #[inline]
    fn is(self, element: Key<'_>) -> bool {
        if element.head.len() != self.len || !element.tail.is_empty() {
            return self.cmp(element).is_eq();
        }
        let (words, rest) = element.head.as_chunks::<8>();
        let mut words = words.iter().zip(&self.words);
        words.all(|(a, b)| u64::from_le_bytes(*a) == *b)
            && partial_word(rest) == self.word(self.len / 8)
    }

    fn cmp(self, other: Key<'_>) -> Ordering {
        let bytes = self.words.map(u64::to_le_bytes);
        let bytes = bytes.as_flattened().get(..self.len).unwrap_or_default();
        Key::new(bytes, &[]).cmp(other)
    }

    #[inline]
    fn cmp_beginning(self, common: &[u8; COMMON], len: usize) -> Ordering {
        let (whole, rest) = common.as_chunks::<8>();
        let whole = whole.iter().map(|word| u64::from_le_bytes(*word));
        let words = whole.chain([partial_word(rest)]).zip(self.words);
        for (at, (theirs, mine)) in words.enumerate() {
            let left = len.saturating_sub(at * 8);
            if left == 0 {
                break;
            }
            let beyond = u64::MAX.checked_shl(u32::try_from(left * 8).unwrap_or(u32::MAX));
            let mine = mine & !beyond.unwrap_or(0);
            match mine.swap_bytes().cmp(&theirs.swap_bytes()) {
                Ordering::Equal => {}
                unequal => return unequal,
            }
        }
        // It may have ended before.
        self.len.cmp(&len).min(Ordering::Equal)
    }

    #[inline]
    fn window(self, at: usize) -> Window {
        let (word, shift) = (at / 8, at % 8 * 8);
        let [first, second, third] = [0, 1, 2].map(|next| Window::from(self.word(word + next)));
        let bytes = (first | second << 64) >> shift;
        let bytes = match shift {
            0 => bytes,
            shift => bytes | third << (128 - shift),
        };
        bytes.swap_bytes()
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

    /// Which node an element is in, if there is one of this key.
    #[inline]
    pub(super) fn seek<S: Sought>(&self, key: S) -> usize {
        let common_len = usize::from(self.common_len);
        match key.cmp_beginning(&self.common, common_len) {
            Ordering::Less => return 0,
            Ordering::Greater => return self.windows.len(),
            Ordering::Equal => {}
        }
        let window = key.window(common_len);
        let low = self.below(window);
        if self.windows.get(low) != Some(&window) {
            return low;
        }
        let rest = self.windows.get(low..).unwrap_or_default();
        let like = rest.partition_point(|other| *other == window);
        let is_from = |separator: &[u8]| key.cmp(Key::new(separator, &[])).is_ge();
        self.find_alike(is_from, low, low + like)
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
        let low = self.below(window);
        let rest = self.windows.get(low..).unwrap_or_default();
        let like = rest.partition_point(|other| *other == window);
        self.find_alike(|separator| bound.is_from(separator), low, low + like)
    }

    /// How many windows are smaller. Counted without a branch on what is compared: a wrong guess
    /// of the processor would cost as much as several comparisons, and with it go the reads of
    /// the next search that it began.
    #[inline]
    fn below(&self, window: Window) -> usize {
        const STRIDE: usize = 8;
        let is_smaller = |other: &&Window| **other < window;
        let (strides, _) = self.windows.as_chunks::<STRIDE>();
        let last = strides.iter().filter_map(|stride| stride.last());
        let whole = last.filter(is_smaller).count() * STRIDE;
        let rest = self.windows.get(whole..).unwrap_or_default();
        whole + rest.iter().take(STRIDE).filter(is_smaller).count()
    }

    /// The same among those that windows do not tell apart.
    fn find_alike(
        &self,
        is_from: impl Fn(&[u8]) -> bool,
        mut low: usize,
        mut high: usize,
    ) -> usize {
        while low < high {
            let middle = low.midpoint(high);
            if is_from(self.get(middle)) {
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

    fn short(bytes: &[u8], at: usize) -> Option<Short> {
        let (head, tail) = bytes.split_at(at % (bytes.len() + 1));
        let (middle, tail) = tail.split_at(tail.len().min(1));
        let mut short = Short::default();
        short.append(head);
        match middle {
            [0] => short.append_nul(),
            middle => short.append(middle),
        }
        short.append(tail);
        short.is_whole().then_some(short)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn a_short_key_is_the_key_of_its_bytes(
            a in bytes(), b in bytes(), at: usize, bt: usize, from in 0..50_usize, len in 0..=COMMON,
        ) {
            let short = short(&a, at);
            prop_assert_eq!(short.is_some(), a.len() <= WORDS * 8);
            if let Some(short) = short {
                let whole = Key::new(&a, &[]);
                prop_assert_eq!(Sought::tag(&short), whole.tag());
                prop_assert_eq!(Sought::window(&short, from), whole.window(from, 0));
                for other in [split(&b, bt), Key::new(&b, &[]), split(&a, bt), whole] {
                    prop_assert_eq!(Sought::cmp(&short, other), whole.cmp(other));
                    prop_assert_eq!(Sought::is(&short, other), whole.is(other));
                }
                for beginning in [&a, &b] {
                    let mut common = [0; COMMON];
                    let len = len.min(beginning.len());
                    common[..len].copy_from_slice(&beginning[..len]);
                    prop_assert_eq!(
                        Sought::cmp_beginning(&short, &common, len),
                        Sought::cmp_beginning(whole, &common, len)
                    );
                }
            }
        }

        #[test]
        fn a_window_is_the_bytes_from_there_on(a in bytes(), at: usize, from in 0..50_usize, pad: u8) {
            let mut expected = [pad; 16];
            for (to, byte) in expected.iter_mut().zip(a.iter().skip(from)) {
                *to = *byte;
            }
            prop_assert_eq!(split(&a, at).window(from, pad), Window::from_be_bytes(expected));
        }

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
            prop_assert_eq!(separators.seek(split(&key, at)), upto);
            if let Some(short) = short(&key, at) {
                prop_assert_eq!(separators.seek(&short), upto);
            }
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
