//! Outputs as keys of one ConfigMap or Secret, by server-side apply.
//!
//! What a commit does not write keeps its key, as a file that is not written stays:
//! of the keys that are this host's, those are applied again as they are. What
//! others have put into the object is theirs, and is not touched. The apply carries
//! the resourceVersion that was read, so nobody's change is lost in between; and the
//! request of a leader that was held up on its way does not undo what the next one
//! has written.

mod key;
mod wire;

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use kube::Client;
use serde_json::{Map, Value, json};

pub use key::KeyError;
pub use wire::{ObjectError, Owned};

use self::wire::{Applied, Live};
use super::{
    Changed, Committed, ObjectKind, ObjectTarget, SinkError, begin,
    mark::{self, Debt},
};
use crate::{leader::Tenure, plugin::Outputs};

/// Bytes of all values of an object that the API server accepts.
const LIMIT: usize = 1 << 20;

/// How often an object is read and applied in one commit while others keep changing
/// it: each time somebody else's change went through.
const ATTEMPTS: u32 = 5;

/// Stands on the object from a commit until its hook has succeeded.
const ANNOTATION: &str = "haptic-host/on-output";

/// Keys of one object.
#[derive(Clone)]
pub struct ObjectSink {
    client: Client,
    object: ObjectTarget,
    force: bool,
    hooked: bool,
}

impl std::fmt::Debug for ObjectSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ObjectSink({})", self.object)
    }
}

/// The keys of an object, by section.
#[derive(Debug, Default)]
struct Sections {
    data: BTreeMap<String, String>,
    binary: BTreeMap<String, String>,
}

impl ObjectSink {
    /// Nothing is sent yet: whether the object can be written may change while the
    /// host runs, as rights do. With `force`, keys are taken over from other field
    /// managers. With `hooked`, the object remembers that a hook is due.
    #[must_use]
    pub fn new(client: Client, object: ObjectTarget, force: bool, hooked: bool) -> Self {
        Self {
            client,
            object,
            force,
            hooked,
        }
    }

    /// Applies the outputs that differ from what the object has; all of them appear
    /// in one version of it.
    ///
    /// With a `tenure`, it must last right before the request that writes.
    ///
    /// # Errors
    /// [`SinkError::Object`], [`SinkError::NotLeading`]. The object is as it was, or
    /// after [`ObjectError::Timeout`] and [`ObjectError::Transport`] perhaps as it
    /// was to be: the next commit sees.
    pub async fn commit(
        &mut self,
        outputs: Outputs,
        tenure: Option<&Tenure>,
    ) -> Result<Committed, SinkError> {
        if outputs.is_empty() && !self.hooked {
            // Nothing to compare; callbacks that write nothing ask nothing.
            return Ok(Committed::default());
        }
        for _ in 0..ATTEMPTS {
            let live = self.get().await?.unwrap_or_default();
            let (sections, changed) = self
                .merge(&live, &outputs)
                .map_err(|error| self.error(error))?;
            let found = live.metadata.annotations.get(ANNOTATION);
            let debt = match (self.hooked, changed.is_empty(), found) {
                (false, _, _) | (true, true, None) => None,
                (true, true, Some(token)) => {
                    Some(Debt::new(token, outputs.keys().cloned().collect()))
                }
                (true, false, _) => Some(Debt::new(
                    &mark::token(),
                    changed.iter().map(|changed| changed.name.clone()).collect(),
                )),
            };
            let _commit = begin(tenure)?;
            if changed.is_empty() {
                return Ok(Committed { changed, debt });
            }
            let token = debt.as_ref().map(Debt::token);
            let config = self.config(&live, &sections, token);
            let applied = wire::apply(&self.client, &self.object, &config, self.force);
            match applied.await.map_err(|error| self.error(error))? {
                Applied::Done => return Ok(Committed { changed, debt }),
                Applied::Raced => {}
            }
        }
        Err(self.error(ObjectError::Raced(ATTEMPTS)))
    }

    /// Takes the mark of a hook that has run from the object, unless a later commit
    /// has put its own there.
    pub(super) async fn clear(&self, token: &str) -> Result<(), SinkError> {
        for _ in 0..ATTEMPTS {
            let Some(live) = self.get().await? else {
                return Ok(());
            };
            let metadata = &live.metadata;
            if metadata.annotations.get(ANNOTATION).map(String::as_str) != Some(token) {
                return Ok(());
            }
            let removed = wire::remove_annotation(
                &self.client,
                &self.object,
                ANNOTATION,
                &metadata.resource_version,
            );
            match removed.await.map_err(|error| self.error(error))? {
                Applied::Done => return Ok(()),
                Applied::Raced => {}
            }
        }
        Err(self.error(ObjectError::Raced(ATTEMPTS)))
    }

    async fn get(&self) -> Result<Option<Live>, SinkError> {
        wire::get(&self.client, &self.object)
            .await
            .map_err(|error| self.error(error))
    }

    fn error(&self, source: ObjectError) -> SinkError {
        SinkError::Object {
            object: self.object.clone(),
            source: Box::new(source),
        }
    }

    /// What is to be applied, and what of it is new.
    fn merge(
        &self,
        live: &Live,
        outputs: &Outputs,
    ) -> Result<(Sections, Vec<Changed>), ObjectError> {
        let mut found = self.values(live)?;
        let mut sections = Sections::default();
        let mut changed = Vec::new();
        let mut total = 0;
        for (name, after) in outputs {
            let key = key::key(name).map_err(|reason| ObjectError::Key {
                name: name.clone(),
                reason,
            })?;
            total += after.len();
            let before = found.remove(&key);
            if before.as_ref() == Some(after) {
                sections.keep(live, &key);
                continue;
            }
            match (self.object.kind, std::str::from_utf8(after)) {
                (ObjectKind::ConfigMap, Ok(text)) => {
                    sections.data.insert(key, text.to_owned());
                }
                (ObjectKind::ConfigMap, Err(_binary)) => {
                    sections.binary.insert(key, BASE64_STANDARD.encode(after));
                }
                (ObjectKind::Secret, _) => {
                    sections.data.insert(key, BASE64_STANDARD.encode(after));
                }
            }
            changed.push(Changed {
                name: name.clone(),
                before,
                after: after.clone(),
            });
        }
        for key in found.keys() {
            if live.is_ours("data", key) || live.is_ours("binaryData", key) {
                sections.keep(live, key);
            }
        }
        let others = found.values().map(Vec::len).sum();
        total += others;
        if !changed.is_empty() && total > LIMIT {
            return Err(ObjectError::TooLarge {
                total,
                others,
                limit: LIMIT,
            });
        }
        Ok((sections, changed))
    }

    /// The values of all keys.
    fn values(&self, live: &Live) -> Result<BTreeMap<String, Vec<u8>>, ObjectError> {
        let decode = |(key, text): (&String, &String)| match BASE64_STANDARD.decode(text) {
            Ok(value) => Ok((key.clone(), value)),
            Err(error) => Err(ObjectError::Unreadable(format!("{key:?}: {error}"))),
        };
        let mut values: BTreeMap<String, Vec<u8>> = match self.object.kind {
            ObjectKind::ConfigMap => live
                .data
                .iter()
                .map(|(key, text)| (key.clone(), text.clone().into_bytes()))
                .collect(),
            ObjectKind::Secret => live.data.iter().map(decode).collect::<Result<_, _>>()?,
        };
        for value in live.binary_data.iter().map(decode) {
            values.extend([value?]);
        }
        Ok(values)
    }

    fn config(&self, live: &Live, sections: &Sections, token: Option<&str>) -> Value {
        let mut metadata = Map::from_iter([
            ("name".to_owned(), json!(self.object.name)),
            ("namespace".to_owned(), json!(self.object.namespace())),
        ]);
        let version = &live.metadata.resource_version;
        if !version.is_empty() {
            metadata.insert("resourceVersion".to_owned(), json!(version));
        }
        if let Some(token) = token {
            metadata.insert("annotations".to_owned(), json!({ANNOTATION: token}));
        }
        let mut config = json!({
            "apiVersion": "v1",
            "kind": self.object.kind.kind(),
            "metadata": metadata,
        });
        for (section, values) in [("data", &sections.data), ("binaryData", &sections.binary)] {
            if !values.is_empty() {
                config[section] = json!(values);
            }
        }
        config
    }
}

impl Sections {
    /// A key as the object has it.
    fn keep(&mut self, live: &Live, key: &str) {
        if let Some(text) = live.data.get(key) {
            self.data.insert(key.to_owned(), text.clone());
        }
        if let Some(text) = live.binary_data.get(key) {
            self.binary.insert(key.to_owned(), text.clone());
        }
    }
}

#[cfg(test)]
mod tests;
