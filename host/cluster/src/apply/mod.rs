//! Server-side apply: the applied configuration is laid over the object, its
//! fields become the manager's, and what the manager no longer applies goes.

pub(crate) mod merge;

use serde_json::{Value, json};

use crate::api::Call;
use crate::fields::FieldSet;
use crate::json::{self, object_mut};
use crate::managed::{Entry, Operation, entries, owned, set_entries, subresource, without_entries};
use crate::state::Store;
use crate::status::ApiError;
use crate::topology::Place;
use crate::write::{How, Part, Tracking, Written, check_type};

/// Applies `config` in the name of `how.manager`.
pub(crate) fn apply(
    store: &mut Store,
    call: &Call,
    mut config: Value,
    how: &How,
    force: bool,
) -> Result<Written, ApiError> {
    let resource = &call.resource;
    check_config(call, &mut config, how)?;
    let place = Place::root(resource);
    let mut entry = Entry {
        manager: how.manager.clone(),
        operation: Operation::Apply,
        subresource: subresource(how).to_owned(),
        api_version: resource.api_version(),
        time: store.clock.timestamp(),
        fields: owned(merge::fields_of(&without_entries(&config), place)),
    };
    let Some(old) = store.get(resource, &call.namespace, &call.name) else {
        if how.part == Part::Status {
            return Err(ApiError::not_found(resource, &call.name));
        }
        set_entries(&mut config, vec![entry]);
        return store.create(resource, &call.namespace, config, how, Tracking::Done);
    };
    let live = old.value(resource)?;
    let mut others = entries(&live);
    let mine = others
        .iter()
        .position(|known| known.is(&entry.manager, Operation::Apply, &entry.subresource))
        .map(|index| others.remove(index));

    let before = without_entries(&live);
    let mut after = before.clone();
    merge::merge(&mut after, &config, place);
    if let Some(mine) = &mine {
        let mut kept = entry.fields.clone();
        for other in &others {
            kept.union_with(other.fields.clone());
        }
        merge::take_out(&mut after, &mine.fields.difference(&kept), &kept, place);
    }
    let difference = merge::compare(&before, &after, place);
    let mut changed = difference.added;
    changed.union_with(difference.modified);
    let conflicts: Vec<(&Entry, FieldSet)> = others
        .iter()
        .map(|other| (other, other.fields.intersection(&changed)))
        .filter(|(_, fields)| !fields.is_empty())
        .collect();
    if !force && !conflicts.is_empty() {
        return Err(conflict(&conflicts));
    }
    for other in &mut others {
        other.fields = other
            .fields
            .difference(&changed)
            .without_trees(&difference.removed);
    }
    if let Some(mine) = mine.filter(|mine| mine.fields == entry.fields) {
        entry.time = mine.time;
    }
    others.push(entry);
    set_entries(&mut after, others);
    if let Some(version) = json::at(&config, &["metadata", "resourceVersion"]) {
        object_mut(after.as_object_mut().ok_or_else(not_an_object)?, "metadata")
            .insert("resourceVersion".into(), version.clone());
    }
    store.replace(resource, &old, after, how, Tracking::Done)
}

fn not_an_object() -> ApiError {
    ApiError::bad_request("an applied configuration is an object")
}

/// Checks the configuration, and leaves in it what this endpoint may write.
fn check_config(call: &Call, config: &mut Value, how: &How) -> Result<(), ApiError> {
    check_type(&call.resource, config)?;
    remove_nulls(config);
    if !json::list(config, &["metadata", "managedFields"]).is_empty() {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    let map = config.as_object_mut().ok_or_else(not_an_object)?;
    if json::text(map.get("metadata").unwrap_or(&Value::Null), &["name"]) != call.name {
        return Err(ApiError::bad_request(format!(
            "the name of the applied object does not match the name on the URL ({})",
            call.name
        )));
    }
    let metadata = object_mut(map, "metadata");
    for field in [
        "uid",
        "creationTimestamp",
        "generation",
        "selfLink",
        "deletionTimestamp",
        "managedFields",
    ] {
        metadata.remove(field);
    }
    match how.part {
        Part::Status => map.retain(|field, _| {
            matches!(
                field.as_str(),
                "apiVersion" | "kind" | "metadata" | "status"
            )
        }),
        Part::Main if call.resource.status => {
            map.remove("status");
        }
        Part::Main | Part::Whole => {}
    }
    Ok(())
}

/// A null says nothing in an applied configuration.
fn remove_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(remove_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn conflict(conflicts: &[(&Entry, FieldSet)]) -> ApiError {
    let named: Vec<(String, Vec<String>)> = conflicts
        .iter()
        .map(|(entry, fields)| {
            let mut name = format!("{:?}", entry.manager);
            if !entry.subresource.is_empty() {
                name.push_str(&format!(" with subresource {:?}", entry.subresource));
            }
            if entry.operation == Operation::Update {
                name.push_str(&format!(" using {}", entry.api_version));
            }
            (name, fields.paths())
        })
        .collect();
    let count: usize = named.iter().map(|(_, paths)| paths.len()).sum();
    let sentence = match named.as_slice() {
        [(name, paths)] if count == 1 => format!("conflict with {name}: {}", paths.join("")),
        several => {
            let blocks: Vec<String> = several
                .iter()
                .map(|(name, paths)| format!("conflicts with {name}:\n- {}", paths.join("\n- ")))
                .collect();
            blocks.join("\n")
        }
    };
    let causes: Vec<Value> = named
        .iter()
        .flat_map(|(name, paths)| {
            paths.iter().map(move |path| {
                json!({"reason": "FieldManagerConflict", "message": format!("conflict with {name}"), "field": path})
            })
        })
        .collect();
    let plural = if count == 1 { "" } else { "s" };
    ApiError {
        details: json!({"causes": causes}),
        ..ApiError::new(
            409,
            "Conflict",
            format!("Apply failed with {count} conflict{plural}: {sentence}"),
        )
    }
}
