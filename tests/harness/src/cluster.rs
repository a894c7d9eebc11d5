//! The objects that exist, and the GETs by which a cached store fetches them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use haptic_core::Time;
use haptic_host::cached::{Answer, Bodies, DEFAULT_BYTES, Get};
use serde_json::{Value, json};

use crate::objects::Key;

/// What exists, shared with whoever fetches it.
#[derive(Clone, Default)]
pub(crate) struct Cluster(Arc<Mutex<State>>);

#[derive(Default)]
pub(crate) struct State {
    pub(crate) objects: BTreeMap<Key, Value>,
    /// The moment by which fetched bodies age.
    pub(crate) now: Time,
    /// Why objects of a resource cannot be fetched, by (API version, plural).
    pub(crate) refused: BTreeMap<(String, String), String>,
    /// GETs so far, by the same.
    pub(crate) fetches: BTreeMap<(String, String), u64>,
}

impl Cluster {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The host's own cache of fetched bodies, in front of these objects.
    pub(crate) fn bodies(&self) -> Bodies {
        let (source, clock) = (self.clone(), self.clone());
        Bodies::new(
            Arc::new(move |get| {
                let answer = source.lock().answer(&get);
                Box::pin(async move { Ok(answer) })
            }),
            move || clock.lock().now,
            DEFAULT_BYTES,
        )
    }
}

impl State {
    fn answer(&mut self, get: &Get) -> Answer {
        let resource = (get.resource.api_version(), get.resource.resource.clone());
        *self.fetches.entry(resource.clone()).or_default() += 1;
        let identity = &get.identity;
        let key = Key {
            api_version: resource.0.clone(),
            plural: resource.1.clone(),
            namespace: identity.namespace().to_owned(),
            name: identity.name().to_owned(),
        };
        let (status, body) = match (self.refused.get(&resource), self.objects.get(&key)) {
            (Some(why), _) => (403, status("Forbidden", why, identity.name())),
            (None, Some(object)) => (200, object.clone()),
            (None, None) => (404, status("NotFound", "not found", identity.name())),
        };
        Answer {
            status,
            retry_after: None,
            body: body.to_string().into(),
        }
    }
}

fn status(reason: &str, message: &str, name: &str) -> Value {
    json!({"kind": "Status", "reason": reason, "message": message, "details": {"name": name}})
}
