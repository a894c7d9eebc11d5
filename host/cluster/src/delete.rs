//! The rules of delete: preconditions, finalizers, and what goes along with a
//! namespace or a definition.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::json::{self, object_mut};
use crate::resources::Resource;
use crate::state::{Object, Store};
use crate::status::ApiError;
use crate::write::{finalizers, not_an_object};
use crate::{crd, kinds};

/// What must hold for a delete to happen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Preconditions {
    pub uid: Option<String>,
    pub version: Option<String>,
}

/// What a delete led to.
#[derive(Debug)]
pub(crate) enum Deleted {
    Gone(Arc<Object>),
    /// Finalizers, or a namespace's content, keep it for now.
    Waiting(Arc<Object>),
}

impl Store {
    /// Deletes an object, or marks it when finalizers hold it.
    pub(crate) fn delete(
        &mut self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        preconditions: &Preconditions,
        dry_run: bool,
    ) -> Result<Deleted, ApiError> {
        let old = self
            .get(resource, namespace, name)
            .ok_or_else(|| ApiError::not_found(resource, name))?;
        if let Some(uid) = &preconditions.uid
            && **uid != *old.uid
        {
            let why = format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                old.uid
            );
            return Err(ApiError::conflict(resource, name, &why));
        }
        if let Some(version) = &preconditions.version
            && *version != old.version.to_string()
        {
            let why = format!(
                "Precondition failed: ResourceVersion in precondition: {version}, ResourceVersion in object meta: {}",
                old.version
            );
            return Err(ApiError::conflict(resource, name, &why));
        }
        if resource.is("", "namespaces") && kinds::PROTECTED.contains(&name) {
            return Err(ApiError::forbidden(
                resource,
                name,
                "this namespace may not be deleted",
            ));
        }
        let mut value = old.value(resource)?;
        let held = !finalizers(&value).is_empty();
        if dry_run {
            return Ok(if held {
                Deleted::Waiting(old)
            } else {
                Deleted::Gone(old)
            });
        }
        let is_namespace = resource.is("", "namespaces");
        if (held || is_namespace) && json::at(&value, &["metadata", "deletionTimestamp"]).is_none()
        {
            let now = self.clock.timestamp();
            let metadata = object_mut(value.as_object_mut().ok_or_else(not_an_object)?, "metadata");
            metadata.insert("deletionTimestamp".into(), now.into());
            metadata.insert("deletionGracePeriodSeconds".into(), 0.into());
            if resource.generation {
                let generation = metadata
                    .get("generation")
                    .and_then(Value::as_i64)
                    .unwrap_or(0);
                metadata.insert("generation".into(), generation.saturating_add(1).into());
            }
            self.complete(resource, Some(&value.clone()), &mut value)?;
            let marked = self.commit(resource, value.clone())?;
            if is_namespace {
                self.empty_namespace(name)?;
                return Ok(match self.finish_namespace(name)? {
                    true => Deleted::Gone(marked),
                    false => Deleted::Waiting(marked),
                });
            }
            return Ok(Deleted::Waiting(marked));
        }
        if held || (is_namespace && !self.finish_namespace(name)?) {
            return Ok(Deleted::Waiting(old));
        }
        if is_namespace {
            return Ok(Deleted::Gone(old));
        }
        Ok(Deleted::Gone(self.take_away(resource, value)?))
    }

    /// Removes an object and what hangs on it: a definition's objects, an emptied namespace.
    pub(crate) fn take_away(
        &mut self,
        resource: &Resource,
        value: Value,
    ) -> Result<Arc<Object>, ApiError> {
        if crd::is_definition(resource) {
            self.drop_custom_objects(&value)?;
        }
        let last = self.remove(resource, value.clone())?;
        if crd::is_definition(resource) {
            self.withdraw(
                json::text(&value, &["spec", "group"]),
                json::text(&value, &["spec", "names", "plural"]),
            );
        }
        if resource.namespaced {
            self.finish_namespace(json::text(&value, &["metadata", "namespace"]))?;
        }
        Ok(last)
    }

    fn drop_custom_objects(&mut self, definition: &Value) -> Result<(), ApiError> {
        let Some(resource) = crd::resources(definition).into_iter().next() else {
            return Ok(());
        };
        let objects: Vec<Arc<Object>> = self
            .collection(&resource)
            .map(|collection| collection.objects.values().cloned().collect())
            .unwrap_or_default();
        for object in objects {
            self.remove(&resource, object.value(&resource)?)?;
        }
        Ok(())
    }

    /// True when `name` is a namespace that still has content.
    pub(crate) fn holds_namespace(&self, resource: &Resource, name: &str) -> bool {
        resource.is("", "namespaces") && self.namespaced(name).next().is_some()
    }

    fn namespaced<'s>(
        &'s self,
        namespace: &str,
    ) -> impl Iterator<Item = (Arc<Resource>, Arc<Object>)> + use<'s> {
        let prefix = format!("{namespace}/");
        self.registry
            .all()
            .filter(|resource| resource.namespaced && !resource.review)
            .filter_map(|resource| Some((resource, self.collection(resource)?)))
            .flat_map(move |(resource, collection)| {
                let prefix = prefix.clone();
                collection
                    .objects
                    .range(Arc::<str>::from(prefix.as_str())..)
                    .take_while(move |(key, _)| key.starts_with(&prefix))
                    .map(|(_, object)| (Arc::clone(resource), Arc::clone(object)))
            })
    }

    fn empty_namespace(&mut self, namespace: &str) -> Result<(), ApiError> {
        let content: Vec<(Arc<Resource>, Arc<Object>)> = self.namespaced(namespace).collect();
        for (resource, object) in content {
            let (_, name) = object.place();
            match self.delete(&resource, namespace, name, &Preconditions::default(), false) {
                Ok(_) => {}
                // A type that is served in two versions shows its objects twice.
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Removes a namespace that is being deleted and is empty; true when it is gone.
    fn finish_namespace(&mut self, name: &str) -> Result<bool, ApiError> {
        let Some(resource) = self.registry.find("", "v1", "namespaces") else {
            return Ok(false);
        };
        let Some(object) = self.get(&resource, "", name) else {
            return Ok(true);
        };
        let mut value = object.value(&resource)?;
        let waiting = json::at(&value, &["metadata", "deletionTimestamp"]).is_some();
        if !waiting || !finalizers(&value).is_empty() || self.holds_namespace(&resource, name) {
            return Ok(false);
        }
        if let Some(spec) = value.get_mut("spec").and_then(Value::as_object_mut) {
            spec.remove("finalizers");
        }
        self.remove(&resource, value)?;
        Ok(true)
    }
}

/// The answer to a delete after which the object is gone.
pub(crate) fn deletion_status(resource: &Resource, object: &Object) -> Value {
    let (_, name) = object.place();
    let mut details = json!({"name": name, "kind": resource.plural, "uid": &*object.uid});
    if !resource.group.is_empty() {
        details["group"] = resource.group.clone().into();
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}
