//! Values seen field by field: which fields they have, how two of them
//! differ, how one is merged into another, and how fields are taken out.

use serde_json::{Map, Value};

use crate::fields::FieldSet;
use crate::topology::{ListKind, Place};

/// How a new value differs from an old one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    pub added: FieldSet,
    pub modified: FieldSet,
    /// The roots of what is gone.
    pub removed: FieldSet,
}

impl Difference {
    pub(crate) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }

    fn add_below(&mut self, step: &str, below: Difference) {
        self.added.add_below(step, below.added);
        self.modified.add_below(step, below.modified);
        self.removed.add_below(step, below.removed);
    }
}

/// The parts of a value that are owned one by one: steps, their places and their values.
type Parts<'v> = Vec<(String, Place<'v>, &'v Value)>;

/// `None` for what is owned as a whole: scalars, atomic lists and maps, empty ones.
fn parts<'v>(value: &'v Value, place: Place<'v>) -> Option<Parts<'v>> {
    match value {
        Value::Object(map) if !map.is_empty() && !place.is_atomic_map() => Some(
            map.iter()
                .map(|(name, value)| (format!("f:{name}"), place.field(name), value))
                .collect(),
        ),
        Value::Array(items) if !items.is_empty() => {
            let kind = place.list();
            items
                .iter()
                .map(|item| Some((item_step(&kind, item)?, place.item(), item)))
                .collect()
        }
        _ => None,
    }
}

/// How an item of a list is named; `None` when the list has no names or the item lacks its keys.
fn item_step(kind: &ListKind, item: &Value) -> Option<String> {
    match kind {
        ListKind::Atomic => None,
        ListKind::Set if item.is_object() || item.is_array() => None,
        ListKind::Set => Some(format!("v:{item}")),
        ListKind::Keyed(keys) => {
            let named: Option<Map<String, Value>> = keys
                .iter()
                .map(|key| {
                    Some((
                        key.clone(),
                        item.get(key).cloned().or_else(|| implied(key))?,
                    ))
                })
                .collect();
            Some(format!("k:{}", Value::Object(named?)))
        }
    }
}

/// Keys with a default may be left out.
fn implied(key: &str) -> Option<Value> {
    (key == "protocol").then(|| "TCP".into())
}

/// The fields that a value sets.
pub(crate) fn fields_of(value: &Value, place: Place<'_>) -> FieldSet {
    let mut set = FieldSet::default();
    for (step, place, value) in parts(value, place).unwrap_or_default() {
        let below = fields_of(value, place);
        if below.is_empty() || step.starts_with("k:") {
            set.add(&step);
        }
        set.add_below(&step, below);
    }
    set
}

/// How `new` differs from `old`.
pub(crate) fn compare(old: &Value, new: &Value, place: Place<'_>) -> Difference {
    let mut difference = Difference::default();
    let (old_parts, new_parts) = (
        parts(old, place).unwrap_or_default(),
        parts(new, place).unwrap_or_default(),
    );
    let find = |parts: &Parts<'_>, step: &str| parts.iter().position(|(known, _, _)| known == step);
    for (step, place, new_value) in &new_parts {
        match find(&old_parts, step).and_then(|index| old_parts.get(index)) {
            None => {
                difference.added.add(step);
                difference
                    .added
                    .add_below(step, everything_in(new_value, *place));
            }
            Some((_, _, old_value)) if old_value == new_value => {}
            Some((_, _, old_value)) => {
                let granular =
                    parts(old_value, *place).is_some() || parts(new_value, *place).is_some();
                let same_shape = old_value.is_object() == new_value.is_object()
                    && old_value.is_array() == new_value.is_array();
                if granular && same_shape {
                    difference.add_below(step, compare(old_value, new_value, *place));
                } else {
                    difference.modified.add(step);
                    difference
                        .added
                        .add_below(step, everything_in(new_value, *place));
                }
            }
        }
    }
    for (step, _, _) in &old_parts {
        if find(&new_parts, step).is_none() {
            difference.removed.add(step);
        }
    }
    difference
}

/// The fields of a new value, the maps and lists around them included.
fn everything_in(value: &Value, place: Place<'_>) -> FieldSet {
    let mut set = FieldSet::default();
    for (step, place, value) in parts(value, place).unwrap_or_default() {
        set.add(&step);
        set.add_below(&step, everything_in(value, place));
    }
    set
}

/// `config` laid over `live`.
pub(crate) fn merge(live: &mut Value, config: &Value, place: Place<'_>) {
    match (&mut *live, config) {
        (Value::Object(map), Value::Object(config)) if !place.is_atomic_map() => {
            for (name, value) in config {
                match map.get_mut(name) {
                    Some(known) => merge(known, value, place.field(name)),
                    None => {
                        map.insert(name.clone(), value.clone());
                    }
                }
            }
        }
        (Value::Array(items), Value::Array(config))
            if parts(&Value::Array(config.clone()), place).is_some() =>
        {
            let kind = place.list();
            for value in config {
                let step = item_step(&kind, value);
                match items.iter_mut().find(|item| item_step(&kind, item) == step) {
                    Some(known) => merge(known, value, place.item()),
                    None => items.push(value.clone()),
                }
            }
        }
        (live, config) => *live = config.clone(),
    }
}

/// Takes the places of `unwanted` out of `value`, unless something of `kept` is in or below them.
pub(crate) fn take_out(value: &mut Value, unwanted: &FieldSet, kept: &FieldSet, place: Place<'_>) {
    let nothing = FieldSet::default();
    match value {
        Value::Object(map) => {
            for step in unwanted.steps() {
                let Some(name) = step.strip_prefix("f:") else {
                    continue;
                };
                let is_kept =
                    kept.has(step) || kept.below(step).is_some_and(|below| !below.is_empty());
                if unwanted.has(step) && !is_kept {
                    map.remove(name);
                } else if let (Some(below), Some(inner)) = (unwanted.below(step), map.get_mut(name))
                {
                    take_out(
                        inner,
                        below,
                        kept.below(step).unwrap_or(&nothing),
                        place.field(name),
                    );
                }
            }
        }
        Value::Array(items) => {
            let kind = place.list();
            items.retain_mut(|item| {
                let Some(step) = item_step(&kind, item) else {
                    return true;
                };
                let is_kept =
                    kept.has(&step) || kept.below(&step).is_some_and(|below| !below.is_empty());
                if unwanted.has(&step) && !is_kept {
                    return false;
                }
                if let Some(below) = unwanted.below(&step) {
                    take_out(
                        item,
                        below,
                        kept.below(&step).unwrap_or(&nothing),
                        place.item(),
                    );
                }
                true
            });
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use serde_json::json;

    fn place() -> Place<'static> {
        Place::builtin()
    }

    #[test]
    fn keyed_lists_merge_by_their_keys() {
        let mut live = json!({"spec": {"ports": [
            {"port": 80, "protocol": "TCP", "nodePort": 30080},
            {"port": 80, "protocol": "UDP"},
        ]}});
        let config = json!({"spec": {"ports": [{"port": 80, "name": "web"}, {"port": 443, "protocol": "TCP"}]}});
        merge(&mut live, &config, place());
        assert_eq!(
            live,
            json!({"spec": {"ports": [
                {"port": 80, "protocol": "TCP", "nodePort": 30080, "name": "web"},
                {"port": 80, "protocol": "UDP"},
                {"port": 443, "protocol": "TCP"},
            ]}})
        );
    }

    #[test]
    fn atomic_lists_and_maps_are_replaced() {
        let mut live = json!({"spec": {"rules": [{"host": "a"}], "selector": {"a": "b"}}});
        let config = json!({"spec": {"rules": [{"host": "c"}], "selector": {"d": "e"}}});
        merge(&mut live, &config, place());
        assert_eq!(live, config);
        assert_eq!(
            fields_of(&config, place()).to_value(),
            json!({"f:spec": {"f:rules": {}, "f:selector": {}}})
        );
    }

    #[test]
    fn differences_are_told_by_field() {
        let old = json!({"data": {"a": "1", "b": "2"}, "metadata": {"finalizers": ["x"]}});
        let new = json!({"data": {"a": "1", "b": "3", "c": "4"}, "metadata": {}});
        let difference = compare(&old, &new, place());
        assert_eq!(difference.added.to_value(), json!({"f:data": {"f:c": {}}}));
        assert_eq!(
            difference.modified.to_value(),
            json!({"f:data": {"f:b": {}}})
        );
        assert_eq!(
            difference.removed.to_value(),
            json!({"f:metadata": {"f:finalizers": {}}})
        );
        assert!(compare(&old, &old, place()).is_empty());
    }

    #[test]
    fn fields_that_others_own_are_not_taken_out() {
        let mut value = json!({"data": {"a": "1", "b": "2"}, "metadata": {"labels": {"x": "y"}}});
        let unwanted = FieldSet::parse(
            &json!({"f:data": {".": {}, "f:a": {}}, "f:metadata": {"f:labels": {}}}),
        )
        .unwrap();
        let kept = FieldSet::parse(&json!({"f:data": {"f:b": {}}})).unwrap();
        take_out(&mut value, &unwanted, &kept, place());
        assert_eq!(value, json!({"data": {"b": "2"}, "metadata": {}}));
    }
}
