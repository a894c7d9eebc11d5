//! Owns the form in which an object keeps its index keys: one allocation, because of
//! all that is stored next to a body they are the most (contract S5).

use super::{EncodedKey, TooLarge};

/// The keys of one object in all indexes of its store.
///
/// One byte says how many bytes (2 or 4) the numbers have that follow: how many indexes
/// there are; for each of them how many keys it and those before it have; for each key
/// where it ends. Then come the keys. No bytes at all are no keys in any index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PackedKeys(Box<[u8]>);

impl PackedKeys {
    pub(super) fn new(keys: &[Vec<EncodedKey>]) -> Result<Self, TooLarge> {
        if keys.iter().all(Vec::is_empty) {
            return Ok(Self::default());
        }
        let mut numbers = vec![keys.len()];
        numbers.extend(keys.iter().scan(0, |count, keys| {
            *count += keys.len();
            Some(*count)
        }));
        numbers.extend(keys.iter().flatten().scan(0, |end, key| {
            *end += key.len();
            Some(*end)
        }));
        let largest = numbers.iter().copied().max().unwrap_or(0);
        let width = if u16::try_from(largest).is_ok() { 2 } else { 4 };
        let length: usize = keys.iter().flatten().map(|key| key.len()).sum();
        let mut packed = Vec::with_capacity(1 + numbers.len() * usize::from(width) + length);
        packed.push(width);
        for number in numbers {
            let bytes = u32::try_from(number).map_err(|_| TooLarge)?.to_le_bytes();
            packed.extend_from_slice(bytes.get(..usize::from(width)).unwrap_or_default());
        }
        for key in keys.iter().flatten() {
            packed.extend_from_slice(key);
        }
        Ok(Self(packed.into_boxed_slice()))
    }

    /// The keys in the `index`-th index.
    pub(super) fn of(&self, index: usize) -> Keys<'_> {
        let Some((&width, rest)) = self.0.split_first() else {
            return Keys::default();
        };
        let numbers = Numbers {
            bytes: rest,
            width: usize::from(width),
        };
        let indexes = numbers.get(0);
        if index >= indexes {
            return Keys::default();
        }
        let first = if index == 0 { 0 } else { numbers.get(index) };
        let (counts, ends) = (indexes + 1, numbers.get(indexes));
        Keys {
            ends: numbers.after(counts),
            keys: numbers.after(counts + ends).bytes,
            first,
            len: numbers.get(index + 1) - first,
        }
    }
}

/// Numbers of 2 or 4 bytes each, and what comes behind them.
#[derive(Clone, Copy, Debug, Default)]
struct Numbers<'a> {
    bytes: &'a [u8],
    width: usize,
}

impl Numbers<'_> {
    fn get(self, at: usize) -> usize {
        let start = at * self.width;
        let bytes = self.bytes.get(start..start + self.width);
        bytes
            .unwrap_or_default()
            .iter()
            .rev()
            .fold(0, |number, &byte| (number << 8) | usize::from(byte))
    }

    fn after(self, count: usize) -> Self {
        Self {
            bytes: self.bytes.get(count * self.width..).unwrap_or_default(),
            width: self.width,
        }
    }
}

/// The keys of an object in one index, encoded (see [`crate::key`]), in their order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Keys<'a> {
    /// Where each key of the object ends, those in other indexes too.
    ends: Numbers<'a>,
    keys: &'a [u8],
    /// How many keys the indexes before this one have.
    first: usize,
    len: usize,
}

impl<'a> Keys<'a> {
    /// How many there are.
    #[must_use]
    pub fn len(self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len == 0
    }

    /// The key at that position.
    #[must_use]
    pub fn get(self, at: usize) -> Option<&'a [u8]> {
        if at >= self.len {
            return None;
        }
        let at = self.first + at;
        let start = at.checked_sub(1).map_or(0, |before| self.ends.get(before));
        self.keys.get(start..self.ends.get(at))
    }

    /// All of them.
    pub fn iter(self) -> impl Iterator<Item = &'a [u8]> {
        (0..self.len).map_while(move |at| self.get(at))
    }
}

impl PartialEq for Keys<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Keys<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(keys: &[Vec<EncodedKey>]) {
        let packed = PackedKeys::new(keys).expect("small enough");
        for (index, keys) in keys.iter().enumerate() {
            let found = packed.of(index);
            let boxed: Vec<EncodedKey> = found.iter().map(Box::from).collect();
            assert_eq!(&boxed, keys);
            assert_eq!(
                (found.len(), found.is_empty()),
                (keys.len(), keys.is_empty())
            );
            assert_eq!(found.get(keys.len()), None);
        }
        assert!(packed.of(keys.len()).is_empty() && packed.of(usize::MAX).is_empty());
    }

    #[test]
    fn keys_beyond_64_kib_are_kept_too() {
        let key = |byte, len| -> EncodedKey { vec![byte; len].into_boxed_slice() };
        check(&[
            vec![key(1, 40_000), key(2, 0), key(3, 40_000)],
            vec![],
            vec![key(4, 1)],
        ]);
        check(&[vec![key(1, 65_535)], vec![key(2, 1)]]);
    }

    #[test]
    fn no_keys_take_no_memory() {
        let packed = PackedKeys::new(&[vec![], vec![]]).expect("small enough");
        assert!(packed.0.is_empty());
        check(&[]);
        check(&[vec![], vec![]]);
    }

    proptest! {
        #[test]
        fn packed_keys_are_the_keys(keys: Vec<Vec<Vec<u8>>>) {
            let boxed = |keys: Vec<Vec<u8>>| keys.into_iter().map(Vec::into_boxed_slice).collect();
            let keys: Vec<Vec<EncodedKey>> = keys.into_iter().map(boxed).collect();
            check(&keys);
        }
    }
}
