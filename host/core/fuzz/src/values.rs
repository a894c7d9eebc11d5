//! Owns what a path means, said with a tree.

use haptic_core::path::{Path, Segment};
use jsonpath_rust::JsonPath;
use serde::de::IgnoredAny;
use serde_json::Value;
use std::{collections::HashSet, ptr};

/// The values that a path of plain steps matches.
pub(crate) fn matches<'v>(value: &'v Value, path: &[Segment]) -> Vec<&'v Value> {
    let Some((first, rest)) = path.split_first() else {
        return vec![value];
    };
    let below: Vec<&Value> = match (first, value) {
        (Segment::Name(name), Value::Object(members)) => members.get(&**name).into_iter().collect(),
        (Segment::Wildcard, Value::Object(members)) => members.values().collect(),
        (Segment::Wildcard, Value::Array(elements)) => elements.iter().collect(),
        (Segment::Index(index), Value::Array(elements)) => {
            let at = match usize::try_from(*index) {
                Ok(from_start) => Some(from_start),
                Err(_) => usize::try_from(index.unsigned_abs())
                    .ok()
                    .and_then(|from_end| elements.len().checked_sub(from_end)),
            };
            at.and_then(|at| elements.get(at)).into_iter().collect()
        }
        _ => Vec::new(),
    };
    let below = below.into_iter();
    below.flat_map(|value| matches(value, rest)).collect()
}

/// Whether serde_json refuses a text for a number that is too large for it, which JSON
/// as such allows.
pub(crate) fn number_out_of_range(json: &[u8]) -> bool {
    let read = serde_json::from_slice::<Value>(json);
    let valid = serde_json::from_slice::<IgnoredAny>(json).is_ok();
    valid && read.is_err_and(|error| error.to_string().contains("out of range"))
}

/// The places in a tree that a path matches, each once; `None` when only
/// `haptic_core` could tell, because jsonpath-rust does not read the path as it stands.
pub(crate) fn places(path: &Path, tree: &Value) -> Option<Vec<Vec<Segment>>> {
    let mut wanted: HashSet<*const Value> = HashSet::new();
    match path.segments() {
        Some(segments) => wanted.extend(matches(tree, segments).into_iter().map(ptr::from_ref)),
        None => wanted.extend(
            tree.query(path.as_str())
                .ok()?
                .into_iter()
                .map(ptr::from_ref),
        ),
    }
    let mut places = Vec::new();
    visit(tree, &mut Vec::new(), &mut |value, place| {
        if wanted.contains(&ptr::from_ref(value)) {
            places.push(place.to_vec());
        }
    });
    Some(places)
}

/// Calls `each` with every value in a tree and its place, in the order of the tree.
fn visit(value: &Value, place: &mut Vec<Segment>, each: &mut dyn FnMut(&Value, &[Segment])) {
    each(value, place);
    let below: Vec<(Segment, &Value)> = match value {
        Value::Array(elements) => (0..).map(Segment::Index).zip(elements).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (Segment::Name(name.as_str().into()), value))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    };
    for (step, value) in below {
        place.push(step);
        visit(value, place, each);
        place.pop();
    }
}
