//! One object as readers get it.

use std::{fmt, sync::Arc};

use haptic_core::{Body, Identity, Object};
use serde::de::DeserializeOwned;

/// One stored object: its filtered JSON, and who it is. Shared with the store, so
/// cloning copies a pointer.
#[derive(Clone)]
pub struct Item(Arc<Object>);

/// An object that is not what the caller takes it for.
#[derive(Debug, thiserror::Error)]
#[error("object {identity} is no {wanted}")]
pub struct ParseError {
    identity: Identity,
    wanted: &'static str,
    source: serde_json::Error,
}

impl Item {
    pub(crate) fn new(object: &Arc<Object>) -> Self {
        Self(Arc::clone(object))
    }

    /// `metadata.namespace`; empty for cluster-scoped objects.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.0.namespace()
    }

    /// `metadata.name`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// `metadata.uid`; empty when the object carries none.
    #[must_use]
    pub fn uid(&self) -> &str {
        self.0.uid()
    }

    /// `metadata.resourceVersion`; empty when the object carries none.
    #[must_use]
    pub fn resource_version(&self) -> &str {
        self.0.resource_version()
    }

    /// Whether it has a body: not when it was read from a cached store without
    /// [fetching](crate::Store::fetch) it.
    #[must_use]
    pub fn has_body(&self) -> bool {
        self.0.body().is_some()
    }

    /// The object as compact JSON, without the fields that the watch ignores; empty when
    /// it [has no body](Item::has_body).
    #[must_use]
    pub fn json(&self) -> &str {
        self.0.body().map_or("", Body::as_str)
    }

    /// The object as a type of the caller's: one of `k8s-openapi`'s, a struct with
    /// the few fields that are needed, or `serde_json::Value`.
    ///
    /// ```
    /// # use haptic_host::MemoryStore;
    /// # let store = MemoryStore::builder("ingresses").build()?;
    /// # store.add_json(r#"{"metadata":{"name":"web"},"spec":{"rules":[{"host":"a.example"}]}}"#)?;
    /// #[derive(serde::Deserialize)]
    /// struct Ingress {
    ///     spec: Spec,
    /// }
    /// #[derive(serde::Deserialize)]
    /// struct Spec {
    ///     rules: Vec<Rule>,
    /// }
    /// #[derive(serde::Deserialize)]
    /// struct Rule {
    ///     host: String,
    /// }
    ///
    /// for item in store.list() {
    ///     let ingress: Ingress = item.parse()?;
    ///     assert_eq!(ingress.spec.rules[0].host, "a.example");
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ParseError`], with serde's words as its source; always, when it
    /// [has no body](Item::has_body).
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, ParseError> {
        let parsed = match self.0.body() {
            Some(body) => serde_json::from_str(body.as_str()),
            None => Err(serde::de::Error::custom(
                "it was read from a cached store without its body: fetch it",
            )),
        };
        parsed.map_err(|source| ParseError {
            identity: self.0.identity().clone(),
            wanted: std::any::type_name::<T>(),
            source,
        })
    }
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Item({} {})", self.0.identity(), self.json())
    }
}

impl fmt::Display for Item {
    /// `namespace/name`, or the name alone for cluster-scoped objects.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.identity())
    }
}
