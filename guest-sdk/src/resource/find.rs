//! Finds the values of a view's columns in the JSON text of one object: what the host's `select`
//! answers for that object, for paths of names, positions and wildcards.

use super::{Column, Step};
use crate::Columns;
use crate::columns::{after_string, after_value, skip_space};

/// The columns of one object; `None` when one of them has a path that only the host can evaluate.
pub(super) fn columns(object: &str, columns: &'static [Column]) -> Option<Columns> {
    let mut json = String::with_capacity(object.len() / 2);
    json.push('[');
    for (i, column) in columns.iter().enumerate() {
        let steps = column.steps?;
        if i > 0 {
            json.push(',');
        }
        json.push('[');
        let mut found = Vec::new();
        find(object, 0, steps, &mut found);
        if steps.contains(&Step::Wildcard) {
            json.push('[');
            for (i, value) in found.iter().enumerate() {
                if i > 0 {
                    json.push(',');
                }
                json.push_str(value);
            }
            json.push(']');
        } else {
            json.push_str(found.last().copied().unwrap_or("null"));
        }
        json.push(']');
    }
    json.push(']');
    let paths: Vec<_> = columns.iter().map(|column| column.path).collect();
    Some(Columns::new(json, &paths))
}

/// The texts of the values that `steps` lead to from the value at `at`, in document order. Of text
/// that is no JSON, those before the fault.
fn find<'a>(json: &'a str, at: usize, steps: &[Step], found: &mut Vec<&'a str>) {
    let bytes = json.as_bytes();
    let at = skip_space(bytes, at);
    let Some((step, rest)) = steps.split_first() else {
        let end = after_value(bytes, at);
        found.extend(end.and_then(|end| json.get(at..end)));
        return;
    };
    match (bytes.get(at), step) {
        (Some(b'{'), Step::Name(wanted)) => {
            members(json, at, |key, value| {
                if is_named(key, wanted) {
                    find(json, value, rest, found);
                }
            });
        }
        (Some(b'{'), Step::Wildcard) => {
            members(json, at, |_, value| find(json, value, rest, found));
        }
        (Some(b'['), Step::Wildcard) => elements(bytes, at, |value| find(json, value, rest, found)),
        (Some(b'['), Step::Index(index)) => {
            let mut starts = Vec::new();
            elements(bytes, at, |value| starts.push(value));
            let index = match usize::try_from(*index) {
                Ok(index) => Some(index),
                Err(_) => usize::try_from(index.unsigned_abs())
                    .ok()
                    .and_then(|from_end| starts.len().checked_sub(from_end)),
            };
            if let Some(start) = index.and_then(|index| starts.get(index)) {
                find(json, *start, rest, found);
            }
        }
        _ => {}
    }
}

/// Calls `visit` with the text of each member's name, in its quotes, and where its value starts.
fn members<'a>(json: &'a str, open: usize, mut visit: impl FnMut(&'a str, usize)) {
    let bytes = json.as_bytes();
    let mut at = skip_space(bytes, open + 1);
    while bytes.get(at) == Some(&b'"') {
        let Some(end) = after_string(bytes, at) else {
            return;
        };
        let Some(key) = json.get(at..end) else { return };
        let colon = skip_space(bytes, end);
        if bytes.get(colon) != Some(&b':') {
            return;
        }
        let value = skip_space(bytes, colon + 1);
        visit(key, value);
        let Some(end) = after_value(bytes, value) else {
            return;
        };
        let comma = skip_space(bytes, end);
        if bytes.get(comma) != Some(&b',') {
            return;
        }
        at = skip_space(bytes, comma + 1);
    }
}

fn elements(bytes: &[u8], open: usize, mut visit: impl FnMut(usize)) {
    let mut at = skip_space(bytes, open + 1);
    while at < bytes.len() && bytes.get(at) != Some(&b']') {
        visit(at);
        let Some(end) = after_value(bytes, at) else {
            return;
        };
        let comma = skip_space(bytes, end);
        if bytes.get(comma) != Some(&b',') {
            return;
        }
        at = skip_space(bytes, comma + 1);
    }
}

fn is_named(quoted: &str, wanted: &str) -> bool {
    let raw = quoted
        .get(1..quoted.len().saturating_sub(1))
        .unwrap_or_default();
    if raw.contains('\\') {
        serde_json::from_str::<String>(quoted).is_ok_and(|name| name == wanted)
    } else {
        raw == wanted
    }
}
