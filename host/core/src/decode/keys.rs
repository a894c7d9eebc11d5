//! Owns what counts as a key value (contract I4), and the composite keys of an object.

use super::{Matched, MissingKey};
use crate::{json::unescape, key::push_component, object::EncodedKey};
use std::borrow::Cow;

/// An object has at most this many keys in one index: far more than hosts in an Ingress
/// or addresses in an EndpointSlice, which are limited to 1,000; a path with more values
/// is a mistake.
pub const MAX_KEYS: usize = 4096;

/// The keys of an object in one index have at most this many bytes together, so that a
/// product of long components cannot be many times the object.
pub const MAX_KEY_BYTES: usize = 1 << 20;

/// The key value of a JSON text: strings as they are, numbers as they are written,
/// `true` and `false`; `None` for null, objects and lists.
fn key_value(json: &str) -> Option<Cow<'_, str>> {
    match json.as_bytes().first()? {
        b'"' => Some(unescape(json.strip_prefix('"')?.strip_suffix('"')?)),
        b'n' | b'{' | b'[' => None,
        _ => Some(Cow::Borrowed(json)),
    }
}

/// All combinations of the values of `targets`, encoded, sorted, each once; `None` when
/// they are too many.
pub(super) fn composite(
    matched: &Matched<'_>,
    targets: &[usize],
    missing: MissingKey,
) -> Option<Vec<EncodedKey>> {
    let mut columns: Vec<Vec<Cow<'_, str>>> = Vec::with_capacity(targets.len());
    let mut count = 1_usize;
    for &target in targets {
        let mut values: Vec<_> = matched.all(target).filter_map(key_value).collect();
        if values.is_empty() && missing == MissingKey::Empty {
            values.push(Cow::Borrowed(""));
        }
        values.sort_unstable();
        values.dedup();
        count = count.saturating_mul(values.len());
        columns.push(values);
    }
    if targets.is_empty() || count == 0 {
        return Some(Vec::new());
    }
    if count > MAX_KEYS {
        return None;
    }
    let mut left = MAX_KEY_BYTES;
    let mut keys = Vec::with_capacity(count);
    for number in 0..count {
        // The number's digits say which value of each column, the first column's first.
        let mut rest = count;
        let combination = columns.iter().filter_map(|values| {
            rest /= values.len();
            values.get(number / rest % values.len())
        });
        let mut key = Vec::new();
        let mut before_last = 0;
        for value in combination {
            before_last = key.len() + value.len();
            // With room for what ends a component, so that most never grow.
            key.reserve_exact(value.len() + 2);
            push_component(&mut key, value);
        }
        left = left.checked_sub(before_last)?;
        keys.push(key.into_boxed_slice());
    }
    Some(keys)
}

/// Whether a value of `target` equals `wanted`; a target without a key value has the
/// empty one.
pub(super) fn equals(matched: &Matched<'_>, target: usize, wanted: &str) -> bool {
    let mut values = matched.all(target).filter_map(key_value).peekable();
    match values.peek() {
        None => wanted.is_empty(),
        Some(_) => values.any(|value| value == wanted),
    }
}
