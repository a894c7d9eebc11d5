//! Owns a Lease as JSON: what is read of it, and what is changed in it. All else in it (labels,
//! owners, fields of newer servers) is kept as it was.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{LeaseConfig, config::LONGEST, io::Request, wall::WallTime};

/// A Lease as the server has it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lease {
    object: Map<String, Value>,
    /// `None`: nobody holds it.
    pub(super) holder: Option<String>,
    /// As it is written there: seconds, and anything at all from a stranger.
    duration: Option<i64>,
    transitions: i64,
}

/// What tells a holding of the Lease from every other, also from one in the same name: each
/// acquisition counts `leaseTransitions` up.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Term {
    uid: Value,
    transitions: i64,
    acquired: Value,
}

impl Lease {
    /// Reads the body of a response.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence.
    pub(super) fn read(body: &[u8]) -> Result<Self, String> {
        if body.len() > Request::MAX_ANSWER {
            return Err(format!("it is longer than {} bytes", Request::MAX_ANSWER));
        }
        let object: Map<String, Value> =
            serde_json::from_slice(body).map_err(|error| format!("it is no object: {error}"))?;
        if object.get("kind").and_then(Value::as_str) != Some("Lease") {
            return Err("it is no Lease".to_owned());
        }
        let version = object
            .get("metadata")
            .and_then(|m| m.get("resourceVersion"));
        if !matches!(version, Some(Value::String(version)) if !version.is_empty()) {
            return Err("it has no resourceVersion".to_owned());
        }
        let no_spec = Map::new();
        let spec = match object.get("spec") {
            None | Some(Value::Null) => &no_spec,
            Some(Value::Object(spec)) => spec,
            Some(_) => return Err("its spec is no object".to_owned()),
        };
        let holder = match spec.get("holderIdentity") {
            None | Some(Value::Null) => None,
            Some(Value::String(holder)) => Some(holder.clone()).filter(|h| !h.is_empty()),
            Some(_) => return Err("its holderIdentity is no text".to_owned()),
        };
        let number = |field: &str| spec.get(field).and_then(Value::as_i64);
        Ok(Self {
            holder,
            duration: number("leaseDurationSeconds"),
            transitions: number("leaseTransitions").unwrap_or(0),
            object,
        })
    }

    /// How long it must be seen unchanged before it is anybody's. What is missing or makes
    /// no sense is `default`; an hour is the most.
    pub(super) fn duration(&self, default: Duration) -> Duration {
        self.duration
            .and_then(|seconds| u64::try_from(seconds).ok())
            .filter(|&seconds| seconds > 0)
            .map_or(default, |seconds| Duration::from_secs(seconds).min(LONGEST))
    }

    /// Whether its holder asks for more time than is granted.
    pub(super) fn asks_too_much(&self) -> bool {
        self.duration
            .and_then(|seconds| u64::try_from(seconds).ok())
            .is_some_and(|seconds| Duration::from_secs(seconds) > LONGEST)
    }

    /// Whose holding this is.
    pub(super) fn term(&self) -> Term {
        let part = |of: &str, field: &str| {
            let part = self.object.get(of).and_then(|value| value.get(field));
            part.cloned().unwrap_or_default()
        };
        Term {
            uid: part("metadata", "uid"),
            transitions: self.transitions,
            acquired: part("spec", "acquireTime"),
        }
    }
}

/// A Lease to be written. Its times are filled in when it is sent.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    object: Map<String, Value>,
    acquires: bool,
}

impl Draft {
    /// The first Lease of its name.
    pub(super) fn create(config: &LeaseConfig) -> Self {
        let object = Map::from_iter([
            ("apiVersion".to_owned(), json!("coordination.k8s.io/v1")),
            ("kind".to_owned(), json!("Lease")),
            (
                "metadata".to_owned(),
                json!({"name": config.name, "namespace": config.namespace}),
            ),
        ]);
        let mut draft = Self {
            object,
            acquires: true,
        };
        draft.hold(&config.identity, config.timings.lease_duration);
        draft.set("leaseTransitions", json!(0));
        draft
    }

    /// Takes a Lease that is free or has expired.
    pub(super) fn acquire(lease: &Lease, config: &LeaseConfig) -> Self {
        let mut draft = Self {
            object: lease.object.clone(),
            acquires: true,
        };
        draft.hold(&config.identity, config.timings.lease_duration);
        // The field is an int32 that must not be negative; acquireTime tells terms apart too.
        let next = lease.transitions.max(0).saturating_add(1);
        let next = i32::try_from(next).unwrap_or(0);
        draft.set("leaseTransitions", json!(next));
        draft
    }

    /// Goes on holding.
    pub(super) fn renew(lease: &Lease, config: &LeaseConfig) -> Self {
        let mut draft = Self {
            object: lease.object.clone(),
            acquires: false,
        };
        draft.hold(&config.identity, config.timings.lease_duration);
        draft
    }

    /// Gives it back: nobody holds it, as client-go writes that.
    pub(super) fn release(lease: &Lease) -> Self {
        let mut draft = Self {
            object: lease.object.clone(),
            acquires: true,
        };
        draft.hold("", Duration::from_secs(1));
        draft
    }

    fn hold(&mut self, identity: &str, duration: Duration) {
        self.set("holderIdentity", json!(identity));
        self.set("leaseDurationSeconds", json!(duration.as_secs()));
    }

    fn set(&mut self, field: &str, value: Value) {
        set(&mut self.object, field, value);
    }

    pub(super) fn to_json(&self, wall: WallTime) -> Vec<u8> {
        let mut object = self.object.clone();
        let now = json!(wall.to_string());
        if self.acquires {
            set(&mut object, "acquireTime", now.clone());
        }
        set(&mut object, "renewTime", now);
        Value::Object(object).to_string().into_bytes()
    }
}

fn set(object: &mut Map<String, Value>, field: &str, value: Value) {
    let spec = object.entry("spec").or_insert_with(|| json!({}));
    if !spec.is_object() {
        *spec = json!({});
    }
    if let Some(spec) = spec.as_object_mut() {
        spec.insert(field.to_owned(), value);
    }
}
