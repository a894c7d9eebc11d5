//! What stands in a recording for what Secrets hold: keys, lengths and whether two values are the
//! same can be seen, values cannot.

use std::{
    borrow::Cow,
    fmt::Write as _,
    hash::{BuildHasher, RandomState},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use haptic_core::members::{elements, members};
use sha2::{Digest, Sha256};

/// The annotation in which `kubectl apply` keeps the whole object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Objects are looked for this deep: as deep as JSON of a cluster may nest.
const MAX_DEPTH: usize = 128;

/// Replaces values by what a key that nobody keeps makes of them: the same value by the same
/// text, within one recording.
pub(super) struct Redactor {
    key: [u8; 32],
}

impl Redactor {
    /// With a new key.
    pub(super) fn new() -> Self {
        let mut key = [0; 32];
        // The system's randomness, as hash tables are seeded with.
        let random = RandomState::new();
        for (word, part) in (0_u8..).zip(key.chunks_exact_mut(8)) {
            part.copy_from_slice(&random.hash_one(word).to_ne_bytes());
        }
        Self { key }
    }

    /// The object without the values of Secrets, be it one or have some in it. `is_secret` says
    /// that it is one, whatever it says of itself.
    pub(super) fn object<'a>(&self, json: &'a str, is_secret: bool) -> Cow<'a, str> {
        // A name can be written with escapes.
        if !is_secret && !json.contains("Secret") && !json.contains("\\u") {
            return Cow::Borrowed(json);
        }
        Cow::Owned(self.value(json, is_secret, 0))
    }

    fn value(&self, json: &str, is_secret: bool, depth: usize) -> String {
        if depth > MAX_DEPTH {
            return "null".to_owned();
        }
        if let Ok(members) = members(json) {
            let is_secret = is_secret
                || members
                    .iter()
                    .any(|member| member.name == "kind" && text(member.value) == "Secret");
            let parts = members.iter().map(|member| {
                let value = match &*member.name {
                    "data" | "stringData" if is_secret => {
                        self.values(member.value, &*member.name == "data")
                    }
                    "metadata" => self.metadata(member.value, is_secret, depth),
                    _ => self.value(member.value, false, depth + 1),
                };
                format!("{}:{value}", member.raw_name)
            });
            return format!("{{{}}}", parts.collect::<Vec<_>>().join(","));
        }
        if let Ok(elements) = elements(json) {
            let parts = elements
                .iter()
                .map(|element| self.value(element, false, depth + 1));
            return format!("[{}]", parts.collect::<Vec<_>>().join(","));
        }
        json.to_owned()
    }

    /// The annotation of `kubectl apply` is replaced where it has a Secret in it.
    fn metadata(&self, json: &str, is_secret: bool, depth: usize) -> String {
        let rewrite = |json: &str, name: &str, change: &dyn Fn(&str) -> String| match members(json)
        {
            Ok(members) => {
                let parts = members.iter().map(|member| match &*member.name == name {
                    true => format!("{}:{}", member.raw_name, change(member.value)),
                    false => format!(
                        "{}:{}",
                        member.raw_name,
                        self.value(member.value, false, depth + 1)
                    ),
                });
                format!("{{{}}}", parts.collect::<Vec<_>>().join(","))
            }
            Err(_no_object) => self.value(json, false, depth + 1),
        };
        rewrite(json, "annotations", &|annotations| {
            rewrite(annotations, LAST_APPLIED, &|value| match is_secret
                || text(value).contains("Secret")
                || text(value).contains("\\u")
            {
                true => {
                    let mark = hex(&self.stream(text(value).as_bytes(), 8));
                    quoted(&format!("{{\"redacted\":\"{mark}\"}}"))
                }
                false => value.to_owned(),
            })
        })
    }

    /// The values of `data`, or of `stringData`.
    fn values(&self, json: &str, is_base64: bool) -> String {
        let Ok(members) = members(json) else {
            // No API server takes such a Secret.
            return "null".to_owned();
        };
        let parts = members.iter().map(|member| {
            let value = match member.value.starts_with('"') {
                true => quoted(&self.replacement(&text(member.value), is_base64)),
                false => "null".to_owned(),
            };
            format!("{}:{value}", member.raw_name)
        });
        format!("{{{}}}", parts.collect::<Vec<_>>().join(","))
    }

    fn replacement(&self, value: &str, is_base64: bool) -> String {
        if is_base64 && let Ok(bytes) = STANDARD.decode(value) {
            return STANDARD.encode(self.stream(&bytes, bytes.len()));
        }
        let mut letters = hex(&self.stream(value.as_bytes(), value.len().div_ceil(2)));
        letters.truncate(value.len());
        letters
    }

    /// As many bytes, of which nobody without the key can tell what they stand for.
    fn stream(&self, value: &[u8], length: usize) -> Vec<u8> {
        let seed = Sha256::new()
            .chain_update(self.key)
            .chain_update(value)
            .finalize();
        let mut bytes = Vec::with_capacity(length);
        for block in 0_u64.. {
            if bytes.len() >= length {
                break;
            }
            let block = Sha256::new()
                .chain_update(self.key)
                .chain_update(seed)
                .chain_update(block.to_be_bytes())
                .finalize();
            bytes.extend_from_slice(&block);
        }
        bytes.truncate(length);
        bytes
    }
}

/// The value of a JSON string; empty for anything else.
fn text(json: &str) -> String {
    serde_json::from_str(json).unwrap_or_default()
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use serde_json::{Value, json};

    use super::*;

    fn redacted(redactor: &Redactor, object: &Value, is_secret: bool) -> Value {
        serde_json::from_str(&redactor.object(&object.to_string(), is_secret)).unwrap()
    }

    #[test]
    fn values_of_secrets_are_replaced_by_others_of_their_length() {
        let redactor = Redactor::new();
        let secret = |password: &str| {
            json!({
                "kind": "Secret", "type": "Opaque",
                "metadata": {"name": "a", "annotations": {LAST_APPLIED: "{\"data\":\"hunter2\"}", "b": "c"}},
                "data": {"password": STANDARD.encode(password), "same": STANDARD.encode("hunter2"), "empty": "", "broken": "h!"},
                "stringData": {"plain": "hunter2", "number": 7},
            })
        };
        let one = redacted(&redactor, &secret("hunter2"), false);
        assert_eq!(one, redacted(&redactor, &secret("hunter2"), false));
        let other = redacted(&redactor, &secret("hunter3"), false);
        assert_ne!(one["data"]["password"], other["data"]["password"]);
        assert_eq!(one["data"]["same"], other["data"]["same"]);
        assert_eq!(one["data"]["password"], one["data"]["same"]);
        let value = STANDARD
            .decode(one["data"]["password"].as_str().unwrap())
            .unwrap();
        assert_eq!(value.len(), "hunter2".len());
        assert_ne!(value, b"hunter2");
        assert_eq!(one["data"]["empty"], "");
        assert_eq!(one["data"]["broken"].as_str().unwrap().len(), 2);
        assert_eq!(one["stringData"]["plain"].as_str().unwrap().len(), 7);
        assert_eq!(one["stringData"]["number"], Value::Null);
        let annotations = &one["metadata"]["annotations"];
        assert!(
            annotations[LAST_APPLIED]
                .as_str()
                .unwrap()
                .starts_with("{\"redacted\":")
        );
        assert_eq!(annotations["b"], "c");
        assert_eq!(one["type"], "Opaque");
        for text in [one.to_string(), other.to_string()] {
            assert!(!text.contains("hunter") && !text.contains(&STANDARD.encode("hunter")[..8]));
        }
        let anew = redacted(&Redactor::new(), &secret("hunter2"), false);
        assert_ne!(
            anew["data"]["password"], one["data"]["password"],
            "another key"
        );
    }

    #[test]
    fn a_long_value_is_replaced_to_its_end() {
        let long = "x".repeat(1000);
        let object = json!({"data": {"a": STANDARD.encode(&long)}});
        let found = redacted(&Redactor::new(), &object, true);
        let value = STANDARD
            .decode(found["data"]["a"].as_str().unwrap())
            .unwrap();
        assert_eq!(value.len(), 1000);
        assert!(!value.windows(4).any(|part| part == b"xxxx"));
    }

    #[test]
    fn secrets_are_found_wherever_they_are() {
        let secret = json!({"kind": "Secret", "data": {"a": "aHVudGVy"}});
        let redactor = Redactor::new();
        let nested = json!({"kind": "Bundle", "spec": {"items": [{"template": secret}]}});
        let applied = json!({"kind": "Bundle", "metadata": {"annotations": {LAST_APPLIED: nested.to_string()}}});
        let escaped = nested.to_string().replace("Secret", "\\u0053ecret");
        for text in [nested.to_string(), applied.to_string(), escaped] {
            let found = redactor.object(&text, false);
            assert!(!found.contains("aHVudGVy"), "{found}");
        }
    }

    #[test]
    fn everything_else_stays_as_it_is() {
        let redactor = Redactor::new();
        for object in [
            r#"{"kind":"ConfigMap","data":{"a":"b"}}"#,
            r#"{"kind":"ConfigMap","data":{"a":"of a Secret","n":[1.0,{"b":2e400}]}}"#,
            r#"{"kind":"Bundle","metadata":{"annotations":{"a":"Secret"}},"spec":{"secretRef":{"kind":"SecretRef","data":{"x":"y"}}}}"#,
        ] {
            assert_eq!(redactor.object(object, false), object);
        }
        // The order of members stays.
        let secret = r#"{"kind":"Secret","z":1,"a":{"c":1,"b":2}}"#;
        assert_eq!(redactor.object(secret, false), secret);
    }
}
