//! Who wrote which field: the entries of `metadata.managedFields`.

use serde_json::{Map, Value, json};

use crate::apply::merge::compare;
use crate::fields::FieldSet;
use crate::json::{self, object_mut};
use crate::resources::Resource;
use crate::topology::Place;
use crate::write::{How, Part};

/// As on a real server, older updaters are merged into one entry beyond this number.
const UPDATERS: usize = 10;
const ANCIENT: &str = "ancient-changes";

/// Fields that nobody owns, because the server sets them or they name the object.
const UNOWNED: &[&[&str]] = &[
    &["f:apiVersion"],
    &["f:kind"],
    &["f:metadata", "f:name"],
    &["f:metadata", "f:namespace"],
    &["f:metadata", "f:uid"],
    &["f:metadata", "f:creationTimestamp"],
    &["f:metadata", "f:deletionTimestamp"],
    &["f:metadata", "f:deletionGracePeriodSeconds"],
    &["f:metadata", "f:generation"],
    &["f:metadata", "f:managedFields"],
    &["f:metadata", "f:resourceVersion"],
    &["f:metadata", "f:selfLink"],
];

/// How an entry came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Operation {
    Apply,
    Update,
}

/// What one manager owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub manager: String,
    pub operation: Operation,
    pub subresource: String,
    pub api_version: String,
    pub time: String,
    pub fields: FieldSet,
}

impl Entry {
    pub(crate) fn is(&self, manager: &str, operation: Operation, subresource: &str) -> bool {
        self.manager == manager && self.operation == operation && self.subresource == subresource
    }

    fn parse(value: &Value) -> Option<Self> {
        let text = |field: &str| json::text(value, &[field]).to_owned();
        let operation = match json::text(value, &["operation"]) {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return None,
        };
        Some(Self {
            manager: text("manager"),
            operation,
            subresource: text("subresource"),
            api_version: text("apiVersion"),
            time: text("time"),
            fields: FieldSet::parse(value.get("fieldsV1")?)?,
        })
    }

    fn to_value(&self) -> Value {
        let mut value = json!({
            "manager": self.manager,
            "operation": match self.operation {
                Operation::Apply => "Apply",
                Operation::Update => "Update",
            },
            "apiVersion": self.api_version,
            "fieldsType": "FieldsV1",
            "fieldsV1": self.fields.to_value(),
        });
        if !self.time.is_empty() {
            value["time"] = self.time.clone().into();
        }
        if !self.subresource.is_empty() {
            value["subresource"] = self.subresource.clone().into();
        }
        value
    }
}

/// The entries of an object; those that cannot be read are left out.
pub(crate) fn entries(value: &Value) -> Vec<Entry> {
    json::list(value, &["metadata", "managedFields"])
        .iter()
        .filter_map(Entry::parse)
        .collect()
}

/// Puts entries into an object, in the server's order, without those that own nothing.
pub(crate) fn set_entries(value: &mut Value, mut entries: Vec<Entry>) {
    entries.retain(|entry| !entry.fields.is_empty());
    entries.sort_by(|left, right| {
        let key = |entry: &Entry| (entry.operation, entry.time.clone(), entry.manager.clone());
        key(left).cmp(&key(right))
    });
    merge_ancient(&mut entries);
    let Some(map) = value.as_object_mut() else {
        return;
    };
    let metadata = object_mut(map, "metadata");
    if entries.is_empty() {
        metadata.remove("managedFields");
    } else {
        let values: Vec<Value> = entries.iter().map(Entry::to_value).collect();
        metadata.insert("managedFields".into(), values.into());
    }
}

fn merge_ancient(entries: &mut Vec<Entry>) {
    let updaters = entries
        .iter()
        .filter(|entry| entry.operation == Operation::Update)
        .count();
    let Some(surplus) = updaters
        .checked_sub(UPDATERS)
        .filter(|surplus| *surplus > 0)
    else {
        return;
    };
    let Some(first) = entries
        .iter()
        .position(|entry| entry.operation == Operation::Update)
    else {
        return;
    };
    let mut merged = entries.drain(first..=first + surplus);
    let Some(mut ancient) = merged.next() else {
        return;
    };
    for entry in merged {
        ancient.time = entry.time;
        ancient.fields.union_with(entry.fields);
    }
    ANCIENT.clone_into(&mut ancient.manager);
    ancient.subresource.clear();
    entries.insert(first, ancient);
}

/// A set without the fields that nobody owns.
pub(crate) fn owned(mut fields: FieldSet) -> FieldSet {
    for path in UNOWNED {
        fields.remove_tree(path);
    }
    fields
}

/// The object without its entries, to be compared field by field.
pub(crate) fn without_entries(value: &Value) -> Value {
    let mut value = value.clone();
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    value
}

/// The subresource that a write is recorded under.
pub(crate) fn subresource(how: &How) -> &'static str {
    if how.part == Part::Status {
        "status"
    } else {
        ""
    }
}

/// Records a write that is no apply: whatever it changed is its manager's now.
pub(crate) fn track_write(
    resource: &Resource,
    old: Option<&Value>,
    new: &mut Value,
    how: &How,
    now: &str,
) {
    // The parts that every object has: that they exist is nobody's doing.
    let nothing = json!({"metadata": {"name": ""}, "spec": {"": ""}, "status": {"": ""}});
    let before = old.map_or(nothing, without_entries);
    let after = without_entries(new);
    let mut difference = compare(&before, &after, Place::root(resource));
    for set in [
        &mut difference.added,
        &mut difference.modified,
        &mut difference.removed,
    ] {
        *set = owned(std::mem::take(set));
    }
    let mut entries = current_entries(old, new);
    if difference.is_empty() {
        return set_entries(new, entries);
    }
    let mut mine = difference.added.clone();
    mine.union_with(difference.modified.clone());
    for entry in &mut entries {
        entry.fields = entry.fields.without_trees(&difference.removed);
        if !entry.is(&how.manager, Operation::Update, subresource(how)) {
            entry.fields = entry.fields.difference(&difference.modified);
        }
    }
    if !mine.is_empty() {
        let position = entries
            .iter()
            .position(|entry| entry.is(&how.manager, Operation::Update, subresource(how)));
        let mut entry = match position {
            Some(index) => entries.remove(index),
            None => Entry {
                manager: how.manager.clone(),
                operation: Operation::Update,
                subresource: subresource(how).to_owned(),
                api_version: String::new(),
                time: String::new(),
                fields: FieldSet::default(),
            },
        };
        entry.api_version = resource.api_version();
        now.clone_into(&mut entry.time);
        entry.fields.union_with(mine);
        entries.push(entry);
    }
    set_entries(new, entries);
}

/// The entries to go on from: those of the new object when the writer
/// changed them (an empty one resets them all), else those of the old.
fn current_entries(old: Option<&Value>, new: &Value) -> Vec<Entry> {
    let list = |value: &Value| json::list(value, &["metadata", "managedFields"]).to_vec();
    let (theirs, known) = (list(new), old.map(list).unwrap_or_default());
    if theirs.is_empty() {
        return old.map(entries).unwrap_or_default();
    }
    if theirs != known
        && theirs
            .iter()
            .all(|entry| entry.as_object().is_some_and(Map::is_empty))
    {
        return Vec::new();
    }
    entries(new)
}

/// True when two objects differ in nothing but the times of their entries.
pub(crate) fn same_but_for_times(old: &Value, new: &Value) -> bool {
    let timeless = |value: &Value| {
        let mut entries = entries(value);
        for entry in &mut entries {
            entry.time.clear();
        }
        entries.sort_by(|left, right| {
            let key = |entry: &Entry| {
                (
                    entry.operation,
                    entry.manager.clone(),
                    entry.subresource.clone(),
                )
            };
            key(left).cmp(&key(right))
        });
        entries
    };
    without_entries(old) == without_entries(new) && timeless(old) == timeless(new)
}
