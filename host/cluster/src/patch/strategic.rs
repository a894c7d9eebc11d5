//! Strategic merge patch, for the built-in kinds.

use serde_json::{Map, Value};

use crate::json;
use crate::status::ApiError;
use crate::topology::Place;

const DIRECTIVE: &str = "$patch";
const RETAIN: &str = "$retainKeys";
const ORDER: &str = "$setElementOrder/";
const DELETE: &str = "$deleteFromPrimitiveList/";

/// `current` with `patch` merged in.
pub(super) fn patched(current: &Value, patch: &Value) -> Result<Value, ApiError> {
    let mut merged = current.clone();
    merge(&mut merged, patch, Place::builtin())?;
    Ok(merged)
}

fn merge(current: &mut Value, patch: &Value, place: Place<'_>) -> Result<(), ApiError> {
    match patch {
        Value::Object(patch) => {
            if !current.is_object() {
                *current = Value::Object(Map::new());
            }
            match current {
                Value::Object(map) => merge_map(map, patch, place),
                _ => Ok(()),
            }
        }
        other => {
            *current = other.clone();
            Ok(())
        }
    }
}

fn merge_map(
    map: &mut Map<String, Value>,
    patch: &Map<String, Value>,
    place: Place<'_>,
) -> Result<(), ApiError> {
    match patch
        .get(DIRECTIVE)
        .map(|directive| directive.as_str().unwrap_or_default())
    {
        None | Some("merge") => {}
        Some("replace") => {
            *map = without_directives(patch);
            return Ok(());
        }
        Some("delete") => {
            map.clear();
            return Ok(());
        }
        Some(other) => return Err(unknown_directive(other)),
    }
    if let Some(retained) = patch.get(RETAIN) {
        let retained = retained
            .as_array()
            .ok_or_else(|| wrong_type(RETAIN, "a list of field names"))?;
        map.retain(|name, _| retained.iter().any(|kept| kept == name));
    }
    for (name, value) in patch {
        if let Some(list) = name.strip_prefix(DELETE) {
            let unwanted = value.as_array().ok_or_else(|| wrong_type(name, "a list"))?;
            if let Some(Value::Array(items)) = map.get_mut(list) {
                items.retain(|item| !unwanted.contains(item));
            }
        }
    }
    for (name, value) in patch {
        if name.starts_with('$') {
            continue;
        }
        let place = place.field(name);
        match value {
            Value::Null => {
                map.remove(name);
            }
            Value::Object(inner)
                if inner
                    .get(DIRECTIVE)
                    .is_some_and(|directive| directive == "delete") =>
            {
                map.remove(name);
            }
            Value::Object(_) => merge(map.entry(name).or_insert(Value::Null), value, place)?,
            Value::Array(items) => {
                let known = map.entry(name).or_insert_with(|| Value::Array(Vec::new()));
                merge_list(known, items, place)?;
            }
            scalar => {
                map.insert(name.clone(), scalar.clone());
            }
        }
    }
    for (name, value) in patch {
        if let Some(list) = name.strip_prefix(ORDER) {
            let order = value.as_array().ok_or_else(|| wrong_type(name, "a list"))?;
            if let Some(Value::Array(items)) = map.get_mut(list) {
                sort(items, order, place.field(list).merge_key());
            }
        }
    }
    Ok(())
}

fn merge_list(known: &mut Value, patch: &[Value], place: Place<'_>) -> Result<(), ApiError> {
    let Value::Array(items) = known else {
        *known = Value::Array(patch.to_vec());
        return Ok(());
    };
    if place.is_finalizers() {
        for item in patch {
            if !items.contains(item) {
                items.push(item.clone());
            }
        }
        return Ok(());
    }
    let directive = |item: &Value| json::text(item, &[DIRECTIVE]).to_owned();
    let replaces = patch.iter().any(|item| directive(item) == "replace");
    let Some(key) = place.merge_key().filter(|_| !replaces) else {
        // A list without keys is replaced; items that only carry the directive are not part of it.
        *items = patch
            .iter()
            .filter(|item| {
                !(directive(item) == "replace"
                    && item.as_object().is_some_and(|map| map.len() == 1))
            })
            .cloned()
            .collect();
        return Ok(());
    };
    for item in patch {
        let Some(wanted) = item.get(key) else {
            return Err(ApiError::bad_request(format!(
                "map: {item} does not contain declared merge key: {key}"
            )));
        };
        let found = items
            .iter()
            .position(|known| known.get(key) == Some(wanted));
        match (directive(item).as_str(), found) {
            ("delete", _) => items.retain(|known| known.get(key) != Some(wanted)),
            (_, Some(index)) => {
                if let Some(known) = items.get_mut(index) {
                    merge(known, item, place.item())?;
                }
            }
            (_, None) => {
                let mut fresh = Value::Object(Map::new());
                merge(&mut fresh, item, place.item())?;
                items.push(fresh);
            }
        }
    }
    Ok(())
}

/// Puts the items that `order` names in its order; the others stay behind
/// the item that they followed.
fn sort(items: &mut Vec<Value>, order: &[Value], key: Option<&str>) {
    let rank = |item: &Value| {
        order.iter().position(|wanted| match key {
            Some(key) => wanted.get(key).is_some() && wanted.get(key) == item.get(key),
            None => wanted == item,
        })
    };
    let mut named: Vec<(usize, Value)> = Vec::new();
    let mut others: Vec<(usize, Value)> = Vec::new();
    for (index, item) in items.drain(..).enumerate() {
        match rank(&item) {
            Some(rank) => named.push((rank, item)),
            None => others.push((index, item)),
        }
    }
    named.sort_by_key(|(rank, _)| *rank);
    items.extend(named.into_iter().map(|(_, item)| item));
    for (index, item) in others {
        items.insert(index.min(items.len()), item);
    }
}

fn without_directives(map: &Map<String, Value>) -> Map<String, Value> {
    map.iter()
        .filter(|(name, value)| !name.starts_with('$') && !value.is_null())
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn unknown_directive(directive: &str) -> ApiError {
    ApiError::bad_request(format!("unknown patch type found: {directive}"))
}

fn wrong_type(field: &str, expected: &str) -> ApiError {
    ApiError::bad_request(format!("invalid patch: {field} is not {expected}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use serde_json::json;

    fn check(current: Value, patch: Value, expected: Value) {
        assert_eq!(patched(&current, &patch).unwrap(), expected, "{patch}");
    }

    #[test]
    fn items_are_merged_by_the_key_of_their_list() {
        check(
            json!({"spec": {"containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "y"}]}}),
            json!({"spec": {"containers": [{"name": "b", "image": "z"}, {"name": "c"}]}}),
            json!({"spec": {"containers": [
                {"name": "a", "image": "x"}, {"name": "b", "image": "z"}, {"name": "c"},
            ]}}),
        );
        check(
            json!({"spec": {"ports": [{"port": 80}, {"port": 81}]}}),
            json!({"spec": {"ports": [{"port": 80, "$patch": "delete"}]}}),
            json!({"spec": {"ports": [{"port": 81}]}}),
        );
        check(
            json!({"status": {"conditions": [{"type": "A", "status": "False"}]}}),
            json!({"status": {"conditions": [{"type": "A", "status": "True"}]}}),
            json!({"status": {"conditions": [{"type": "A", "status": "True"}]}}),
        );
    }

    #[test]
    fn lists_without_keys_are_replaced() {
        check(
            json!({"spec": {"rules": [{"host": "a"}, {"host": "b"}]}}),
            json!({"spec": {"rules": [{"host": "c"}]}}),
            json!({"spec": {"rules": [{"host": "c"}]}}),
        );
    }

    #[test]
    fn directives_replace_delete_and_retain() {
        check(
            json!({"data": {"a": "1", "b": "2"}}),
            json!({"data": {"$patch": "replace", "c": "3"}}),
            json!({"data": {"c": "3"}}),
        );
        check(
            json!({"data": {"a": "1"}, "x": 1}),
            json!({"data": {"$patch": "delete"}}),
            json!({"x": 1}),
        );
        check(
            json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}),
            json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}),
            json!({"spec": {"strategy": {"type": "Recreate"}}}),
        );
        check(
            json!({"spec": {"containers": [{"name": "a"}]}}),
            json!({"spec": {"containers": [{"name": "b"}, {"$patch": "replace"}]}}),
            json!({"spec": {"containers": [{"name": "b"}]}}),
        );
        assert_eq!(
            patched(&json!({}), &json!({"$patch": "what"}))
                .unwrap_err()
                .code,
            400
        );
    }

    #[test]
    fn orders_and_primitive_lists_are_kept() {
        check(
            json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}}),
            json!({"spec": {
                "$setElementOrder/containers": [{"name": "c"}, {"name": "b"}, {"name": "a"}],
                "containers": [{"name": "c"}],
            }}),
            json!({"spec": {"containers": [{"name": "c"}, {"name": "b"}, {"name": "a"}]}}),
        );
        check(
            json!({"metadata": {"finalizers": ["a", "b"]}}),
            json!({"metadata": {
                "$deleteFromPrimitiveList/finalizers": ["a"],
                "$setElementOrder/finalizers": ["c", "b"],
                "finalizers": ["c"],
            }}),
            json!({"metadata": {"finalizers": ["c", "b"]}}),
        );
    }

    #[test]
    fn an_item_without_its_key_is_refused() {
        let refused = patched(
            &json!({"spec": {"containers": [{"name": "a"}]}}),
            &json!({"spec": {"containers": [{"image": "x"}]}}),
        );
        assert_eq!(refused.unwrap_err().code, 400);
    }
}
