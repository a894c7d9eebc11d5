//! Owns the encoding of composite index keys (contract I5). Does not know where
//! their components come from ([`crate::decode`]).
//!
//! A component is its bytes, with each NUL followed by `0xFF`, and then `0x00 0x01`.
//! So keys never collide whatever their components hold, byte order is the order of
//! the component lists, and the key of leading components is a prefix of every key
//! that starts with them.

use crate::object::EncodedKey;

const NUL_FOLLOWER: u8 = 0xFF;
const TERMINATOR: [u8; 2] = [0x00, 0x01];

/// The key of `components`, in this order.
///
/// ```
/// let (a, b) = (haptic_core::key::encode(["a", "b/c"]), haptic_core::key::encode(["a/b", "c"]));
/// assert_ne!(a, b);
/// assert!(a.starts_with(&haptic_core::key::encode(["a"])));
/// ```
pub fn encode<'a>(components: impl IntoIterator<Item = &'a str>) -> EncodedKey {
    let mut key = Vec::new();
    for component in components {
        push_component(&mut key, component);
    }
    key.into_boxed_slice()
}

/// Appends one component to a key.
pub fn push_component(out: &mut Vec<u8>, component: &str) {
    let mut rest = component.as_bytes();
    while let Some((before, after)) =
        memchr::memchr(0, rest).and_then(|at| rest.split_at_checked(at + 1))
    {
        out.extend_from_slice(before);
        out.push(NUL_FOLLOWER);
        rest = after;
    }
    out.extend_from_slice(rest);
    out.extend_from_slice(&TERMINATOR);
}

/// How many bytes of `key` its first `components` components take; `None` when it has
/// fewer, or when the bytes are no encoded key.
#[must_use]
pub fn prefix_len(key: &[u8], components: usize) -> Option<usize> {
    let mut end = 0;
    for _ in 0..components {
        loop {
            end += memchr::memchr(0, key.get(end..)?)? + 2;
            match key.get(end - 1) {
                Some(&NUL_FOLLOWER) => {}
                Some(1) => break,
                _ => return None,
            }
        }
    }
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn component() -> impl Strategy<Value = String> {
        proptest::collection::vec(
            prop_oneof![Just('\0'), Just('\u{1}'), Just('\u{ff}'), any::<char>()],
            0..4,
        )
        .prop_map(String::from_iter)
    }

    fn components() -> impl Strategy<Value = Vec<String>> {
        proptest::collection::vec(component(), 0..4)
    }

    fn key(components: &[String]) -> EncodedKey {
        encode(components.iter().map(String::as_str))
    }

    proptest! {
        #[test]
        fn i5_byte_order_of_keys_is_the_order_of_their_components(a in components(), b in components()) {
            prop_assert_eq!(key(&a).cmp(&key(&b)), a.cmp(&b));
        }

        #[test]
        fn i5_one_key_is_a_prefix_of_another_only_when_its_components_are(a in components(), b in components()) {
            prop_assert_eq!(key(&b).starts_with(&key(&a)), b.starts_with(&a));
        }

        #[test]
        fn prefix_len_is_the_length_of_the_key_of_the_leading_components(a in components(), n in 0_usize..6) {
            let expected = a.get(..n).map(|leading| key(leading).len());
            prop_assert_eq!(prefix_len(&key(&a), n), expected);
        }

        #[test]
        fn prefix_len_survives_bytes_that_are_no_key(bytes: Vec<u8>, n in 0_usize..4) {
            if let Some(length) = prefix_len(&bytes, n) {
                prop_assert!(length <= bytes.len());
            }
        }
    }
}
