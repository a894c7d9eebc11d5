//! The rules of create and update. Reads and commits to the store;
//! patches arrive here as the whole object that they lead to.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::json::{self, object_mut};
use crate::resources::Resource;
use crate::state::{Object, Store};
use crate::status::{ApiError, Cause};
use crate::{crd, kinds, managed, names};

/// Which part of an object a write may touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// All but the status, for kinds that have a status subresource.
    Main,
    /// The status only.
    Status,
    /// Everything: what manifests are written with. One that has no status leaves the status alone.
    Whole,
}

/// How a write is done, and in whose name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct How {
    pub manager: String,
    pub dry_run: bool,
    pub part: Part,
}

/// What a write led to.
#[derive(Debug)]
pub(crate) enum Written {
    Created(Arc<Object>),
    Updated(Arc<Object>),
    Unchanged(Arc<Object>),
    /// The last finalizer went from an object that was waiting for it.
    Removed(Arc<Object>),
}

impl Written {
    pub(crate) fn object(&self) -> &Arc<Object> {
        match self {
            Self::Created(object)
            | Self::Updated(object)
            | Self::Unchanged(object)
            | Self::Removed(object) => object,
        }
    }
}

impl Store {
    /// Makes a new object, named by `metadata.name` or `metadata.generateName`.
    pub(crate) fn create(
        &mut self,
        resource: &Resource,
        namespace: &str,
        mut value: Value,
        how: &How,
        tracking: Tracking,
    ) -> Result<Written, ApiError> {
        check_type(resource, &value)?;
        self.check_namespace(resource, namespace)?;
        let map = value.as_object_mut().ok_or_else(not_an_object)?;
        let metadata = metadata_mut(map)?;
        check_body_namespace(resource, metadata, namespace)?;
        if metadata
            .get("resourceVersion")
            .and_then(Value::as_str)
            .is_some_and(|text| !text.is_empty())
        {
            return Err(ApiError::bad_request(
                "resourceVersion should not be set on objects to be created",
            ));
        }
        let mut name = metadata
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        if name.is_empty()
            && let Some(prefix) = metadata
                .get("generateName")
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
        {
            name = format!("{prefix}{}", self.chance.suffix());
        }
        names::check(resource, &name)?;
        if self.get(resource, namespace, &name).is_some() {
            return Err(ApiError::already_exists(resource, &name));
        }
        metadata.insert("name".into(), name.clone().into());
        metadata.insert("uid".into(), self.chance.uid().into());
        metadata.insert("creationTimestamp".into(), self.clock.timestamp().into());
        metadata.remove("deletionTimestamp");
        metadata.remove("deletionGracePeriodSeconds");
        metadata.remove("selfLink");
        if resource.generation {
            metadata.insert("generation".into(), 1.into());
        } else {
            metadata.remove("generation");
        }
        if how.part == Part::Main && resource.status && !resource.is("", "nodes") {
            map.remove("status");
        }
        names::check_labels(resource, &value, &name)?;
        self.complete(resource, None, &mut value)?;
        if tracking == Tracking::Write {
            managed::track_write(resource, None, &mut value, how, &self.clock.timestamp());
        }
        if how.dry_run {
            return Ok(Written::Created(Arc::new(Object::new(resource, value, 0)?)));
        }
        let object = self.commit(resource, value)?;
        self.after_write(resource, &object)?;
        Ok(Written::Created(object))
    }

    /// Replaces an object as PUT does.
    pub(crate) fn update(
        &mut self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        mut value: Value,
        how: &How,
    ) -> Result<Written, ApiError> {
        check_type(resource, &value)?;
        let map = value.as_object_mut().ok_or_else(not_an_object)?;
        let metadata = metadata_mut(map)?;
        check_body_namespace(resource, metadata, namespace)?;
        let body_name = metadata
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if body_name != name {
            return Err(ApiError::bad_request(format!(
                "the name of the object ({body_name}) does not match the name on the URL ({name})"
            )));
        }
        let versioned = metadata
            .get("resourceVersion")
            .and_then(Value::as_str)
            .is_some_and(|text| !text.is_empty());
        let Some(old) = self.get(resource, namespace, name) else {
            if resource.create_on_update && !versioned && how.part != Part::Status {
                return self.create(resource, namespace, value, how, Tracking::Write);
            }
            return Err(ApiError::not_found(resource, name));
        };
        if !versioned && resource.custom.is_some() && how.part != Part::Whole {
            let cause = Cause::invalid(
                "metadata.resourceVersion",
                "0x0",
                "must be specified for an update",
            );
            return Err(ApiError::invalid_object(resource, name, cause));
        }
        self.replace(resource, &old, value, how, Tracking::Write)
    }

    /// Puts `value` in the place of `old`, with everything that the server keeps to itself.
    pub(crate) fn replace(
        &mut self,
        resource: &Resource,
        old: &Arc<Object>,
        mut value: Value,
        how: &How,
        tracking: Tracking,
    ) -> Result<Written, ApiError> {
        let old_value = old.value(resource)?;
        let (_, name) = old.place();
        check_versions(resource, old, &value)?;
        if how.part == Part::Status {
            value = with_status_of(&old_value, value);
        } else if resource.status && (how.part == Part::Main || value.get("status").is_none()) {
            restore(&mut value, &old_value, "status");
        }
        keep_metadata(&mut value, &old_value)?;
        check_finalizers(resource, &old_value, &value)?;
        names::check_labels(resource, &value, name)?;
        if how.part != Part::Status {
            self.complete(resource, Some(&old_value), &mut value)?;
        }
        if tracking == Tracking::Write {
            managed::track_write(
                resource,
                Some(&old_value),
                &mut value,
                how,
                &self.clock.timestamp(),
            );
        }
        if managed::same_but_for_times(&old_value, &value) {
            return Ok(Written::Unchanged(Arc::clone(old)));
        }
        if resource.generation
            && how.part != Part::Status
            && spec_differs(resource, &old_value, &value)
        {
            let generation = json::at(&old_value, &["metadata", "generation"])
                .and_then(Value::as_i64)
                .unwrap_or(0);
            value["metadata"]["generation"] = generation.saturating_add(1).into();
        }
        if how.dry_run {
            return Ok(Written::Updated(Arc::new(Object::new(
                resource,
                value,
                old.version,
            )?)));
        }
        if json::at(&value, &["metadata", "deletionTimestamp"]).is_some()
            && finalizers(&value).is_empty()
            && !self.holds_namespace(resource, name)
        {
            let object = self.take_away(resource, value)?;
            return Ok(Written::Removed(object));
        }
        let object = self.commit(resource, value)?;
        self.after_write(resource, &object)?;
        Ok(Written::Updated(object))
    }

    fn check_namespace(&self, resource: &Resource, namespace: &str) -> Result<(), ApiError> {
        if !resource.namespaced {
            return Ok(());
        }
        let namespaces = self
            .registry
            .find("", "v1", "namespaces")
            .ok_or_else(ApiError::no_such_resource)?;
        if namespace.is_empty() {
            return Err(ApiError::bad_request(
                "an empty namespace may not be set during creation",
            ));
        }
        let found = self
            .get(&namespaces, "", namespace)
            .ok_or_else(|| ApiError::not_found(&namespaces, namespace))?;
        if json::at(
            &found.value(&namespaces)?,
            &["metadata", "deletionTimestamp"],
        )
        .is_some()
        {
            let why = format!(
                "unable to create new content in namespace {namespace} because it is being terminated"
            );
            return Err(ApiError::forbidden(resource, "", &why));
        }
        Ok(())
    }

    pub(crate) fn complete(
        &mut self,
        resource: &Resource,
        old: Option<&Value>,
        value: &mut Value,
    ) -> Result<(), ApiError> {
        if crd::is_definition(resource) {
            let now = self.clock.timestamp();
            return crd::complete(resource, &self.registry, value, &now);
        }
        let next_ip = &mut || self.chance.service_address();
        kinds::complete(resource, old, value, next_ip);
        Ok(())
    }

    fn after_write(&mut self, resource: &Resource, object: &Object) -> Result<(), ApiError> {
        if !crd::is_definition(resource) {
            return Ok(());
        }
        let definition = object.value(resource)?;
        let group = json::text(&definition, &["spec", "group"]);
        let plural = json::text(&definition, &["spec", "names", "plural"]);
        self.registry.remove(group, plural);
        for resource in crd::resources(&definition) {
            self.serve(resource);
        }
        Ok(())
    }
}

/// Whether a write records its manager by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tracking {
    /// Compare old and new, as for every write that is no apply.
    Write,
    /// The caller has put the entries into the object.
    Done,
}

pub(crate) fn not_an_object() -> ApiError {
    ApiError::bad_request("the body of the request is not a JSON object")
}

fn metadata_mut(map: &mut Map<String, Value>) -> Result<&mut Map<String, Value>, ApiError> {
    match map.get("metadata") {
        None | Some(Value::Null | Value::Object(_)) => Ok(object_mut(map, "metadata")),
        Some(_) => Err(ApiError::bad_request("metadata is not a JSON object")),
    }
}

/// Refuses a body that is of another type than the address says.
pub(crate) fn check_type(resource: &Resource, value: &Value) -> Result<(), ApiError> {
    let (api_version, kind) = (
        json::text(value, &["apiVersion"]),
        json::text(value, &["kind"]),
    );
    if kind.is_empty() && resource.custom.is_some() {
        return Err(ApiError::bad_request(
            "Object 'Kind' is missing in the body of the request",
        ));
    }
    if !api_version.is_empty() && api_version != resource.api_version() {
        return Err(ApiError::bad_request(format!(
            "the API version in the data ({api_version}) does not match the expected API version ({})",
            resource.api_version()
        )));
    }
    if !kind.is_empty() && kind != resource.kind {
        return Err(ApiError::bad_request(format!(
            "{kind} in version {:?} cannot be handled as a {}",
            resource.version, resource.kind
        )));
    }
    Ok(())
}

fn check_body_namespace(
    resource: &Resource,
    metadata: &mut Map<String, Value>,
    namespace: &str,
) -> Result<(), ApiError> {
    if !resource.namespaced {
        metadata.remove("namespace");
        return Ok(());
    }
    match metadata
        .get("namespace")
        .and_then(Value::as_str)
        .unwrap_or_default()
    {
        "" => {
            metadata.insert("namespace".into(), namespace.into());
            Ok(())
        }
        same if same == namespace => Ok(()),
        other => Err(ApiError::bad_request(format!(
            "the namespace of the provided object does not match the namespace sent on the request ({other}, {namespace})"
        ))),
    }
}

fn check_versions(resource: &Resource, old: &Object, value: &Value) -> Result<(), ApiError> {
    let (_, name) = old.place();
    let asked = json::text(value, &["metadata", "resourceVersion"]);
    let uid = json::text(value, &["metadata", "uid"]);
    if !uid.is_empty() && *uid != *old.uid {
        let why = format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            old.uid
        );
        return Err(ApiError::conflict(resource, name, &why));
    }
    if !asked.is_empty() && asked != "0" && asked != old.version.to_string() {
        return Err(ApiError::conflict(
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        ));
    }
    Ok(())
}

/// The old object with the new status; its metadata may say who wrote it.
fn with_status_of(old: &Value, mut new: Value) -> Value {
    let mut merged = old.clone();
    if let (Some(merged), Some(new)) = (merged.as_object_mut(), new.as_object_mut()) {
        match new.remove("status") {
            Some(status) => merged.insert("status".into(), status),
            None => merged.remove("status"),
        };
        if let Some(entries) = new
            .get_mut("metadata")
            .and_then(|metadata| metadata.get_mut("managedFields"))
        {
            object_mut(merged, "metadata").insert("managedFields".into(), entries.take());
        }
    }
    merged
}

fn restore(value: &mut Value, old: &Value, field: &str) {
    if let Some(map) = value.as_object_mut() {
        match old.get(field) {
            Some(kept) => map.insert(field.to_owned(), kept.clone()),
            None => map.remove(field),
        };
    }
}

fn keep_metadata(value: &mut Value, old: &Value) -> Result<(), ApiError> {
    let map = value.as_object_mut().ok_or_else(not_an_object)?;
    for field in ["apiVersion", "kind"] {
        if let Some(kept) = old.get(field) {
            map.insert(field.into(), kept.clone());
        }
    }
    let metadata = metadata_mut(map)?;
    for field in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "generateName",
        "resourceVersion",
    ] {
        match json::at(old, &["metadata", field]) {
            Some(kept) => metadata.insert(field.into(), kept.clone()),
            None => metadata.remove(field),
        };
    }
    metadata.remove("selfLink");
    for field in ["labels", "annotations", "finalizers", "ownerReferences"] {
        if metadata.get(field).is_some_and(is_empty) {
            metadata.remove(field);
        }
    }
    Ok(())
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

pub(crate) fn finalizers(value: &Value) -> &[Value] {
    json::list(value, &["metadata", "finalizers"])
}

fn check_finalizers(resource: &Resource, old: &Value, new: &Value) -> Result<(), ApiError> {
    if json::at(old, &["metadata", "deletionTimestamp"]).is_none() {
        return Ok(());
    }
    let known = finalizers(old);
    if finalizers(new).iter().all(|one| known.contains(one)) {
        return Ok(());
    }
    let cause = Cause::forbidden(
        "metadata.finalizers",
        "no new finalizers can be added if the object is being deleted",
    );
    Err(ApiError::invalid_object(
        resource,
        json::text(old, &["metadata", "name"]),
        cause,
    ))
}

/// Whether the part that `metadata.generation` counts has changed.
fn spec_differs(resource: &Resource, old: &Value, new: &Value) -> bool {
    let counted = |value: &Value| -> Map<String, Value> {
        let mut map = value.as_object().cloned().unwrap_or_default();
        map.remove("metadata");
        if resource.status {
            map.remove("status");
        }
        map
    };
    counted(old) != counted(new)
}
