//! How objects look to a client: whole, only their metadata, or as table rows.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::resources::Resource;
use crate::state::{Object, head};
use crate::status::ApiError;
use crate::table::{self, IncludeObject};

/// What the client's Accept header asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Whole,
    /// `PartialObjectMetadata`, in this version of meta.k8s.io.
    Metadata(&'static str),
    /// `Table`, in this version of meta.k8s.io.
    Table(&'static str),
}

/// Turns objects of one type into bytes.
#[derive(Debug, Clone)]
pub(crate) struct Renderer {
    pub resource: std::sync::Arc<Resource>,
    pub form: Form,
    pub include: IncludeObject,
    /// Seconds since the epoch, for ages in tables.
    pub now: u64,
    head: Vec<u8>,
}

#[derive(Deserialize)]
struct OnlyMetadata {
    metadata: Value,
}

impl Renderer {
    pub(crate) fn new(
        resource: std::sync::Arc<Resource>,
        form: Form,
        include: IncludeObject,
        now: u64,
    ) -> Self {
        let head = head(&resource);
        Self {
            resource,
            form,
            include,
            now,
            head,
        }
    }

    /// One object as it stands alone, or in a watch event.
    pub(crate) fn one(
        &self,
        object: &Object,
        with_columns: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), ApiError> {
        match self.form {
            Form::Whole => object.write_to(&self.head, out),
            Form::Metadata(version) => {
                let value = json!({
                    "kind": "PartialObjectMetadata",
                    "apiVersion": format!("meta.k8s.io/{version}"),
                    "metadata": metadata(object)?,
                });
                out.extend_from_slice(value.to_string().as_bytes());
            }
            Form::Table(_) => {
                let rows = vec![table::row(self, object)?];
                let table = self.table(
                    json!({"resourceVersion": object.version.to_string()}),
                    rows,
                    with_columns,
                );
                out.extend_from_slice(table.to_string().as_bytes());
            }
        }
        Ok(())
    }

    /// One object inside a list: built-in kinds do not repeat apiVersion and kind there.
    pub(crate) fn item(&self, object: &Object, out: &mut Vec<u8>) -> Result<(), ApiError> {
        match self.form {
            Form::Whole if self.resource.custom.is_none() => out.extend_from_slice(&object.body),
            Form::Whole => object.write_to(&self.head, out),
            Form::Metadata(version) => {
                let value = json!({
                    "kind": "PartialObjectMetadata",
                    "apiVersion": format!("meta.k8s.io/{version}"),
                    "metadata": metadata(object)?,
                });
                out.extend_from_slice(value.to_string().as_bytes());
            }
            Form::Table(_) => {
                out.extend_from_slice(table::row(self, object)?.to_string().as_bytes())
            }
        }
        Ok(())
    }

    /// What stands before the items of a list.
    pub(crate) fn list_head(&self, metadata: &Value) -> Vec<u8> {
        let (kind, api_version, items) = match self.form {
            Form::Whole => (
                self.resource.list_kind.clone(),
                self.resource.api_version(),
                "items",
            ),
            Form::Metadata(version) => (
                "PartialObjectMetadataList".to_owned(),
                format!("meta.k8s.io/{version}"),
                "items",
            ),
            Form::Table(version) => ("Table".to_owned(), format!("meta.k8s.io/{version}"), "rows"),
        };
        let columns = match self.form {
            Form::Table(_) => format!("\"columnDefinitions\":{},", table::columns(&self.resource)),
            Form::Whole | Form::Metadata(_) => String::new(),
        };
        format!(
            "{{\"kind\":{},\"apiVersion\":{},\"metadata\":{metadata},{columns}\"{items}\":[",
            Value::from(kind),
            Value::from(api_version)
        )
        .into_bytes()
    }

    /// A bookmark: an object that is nothing but a version.
    pub(crate) fn bookmark(&self, version: u64, ends_initial_events: bool) -> Value {
        let mut metadata =
            json!({"resourceVersion": version.to_string(), "creationTimestamp": null});
        if ends_initial_events {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        match self.form {
            Form::Whole => {
                json!({"kind": self.resource.kind, "apiVersion": self.resource.api_version(), "metadata": metadata})
            }
            Form::Metadata(version) => json!({
                "kind": "PartialObjectMetadata",
                "apiVersion": format!("meta.k8s.io/{version}"),
                "metadata": metadata,
            }),
            Form::Table(_) => self.table(metadata, Vec::new(), false),
        }
    }

    fn table(&self, metadata: Value, rows: Vec<Value>, with_columns: bool) -> Value {
        let version = match self.form {
            Form::Table(version) => version,
            Form::Whole | Form::Metadata(_) => "v1",
        };
        let columns = if with_columns {
            table::columns(&self.resource)
        } else {
            Value::Null
        };
        json!({
            "kind": "Table",
            "apiVersion": format!("meta.k8s.io/{version}"),
            "metadata": metadata,
            "columnDefinitions": columns,
            "rows": rows,
        })
    }
}

/// The metadata of an object, read past everything else.
pub(crate) fn metadata(object: &Object) -> Result<Value, ApiError> {
    let only: OnlyMetadata = serde_json::from_slice(&object.body)
        .map_err(|error| ApiError::internal(error.to_string()))?;
    Ok(only.metadata)
}
