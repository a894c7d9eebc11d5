//! LIST: which objects, at which version, and how the next page is asked for.

use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;
use serde_json::{Value, json};

use crate::json;
use crate::replica::Reading;
use crate::resources::Resource;
use crate::selector::Selector;
use crate::state::{Key, Object, Store};
use crate::status::{ApiError, Cause};

/// What a client asked for, as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ListParams {
    pub limit: u64,
    pub token: String,
    pub version: String,
    pub version_match: String,
}

/// The state that a page is cut from.
#[derive(Debug)]
pub(crate) struct Snapshot {
    objects: OrdMap<Key, Arc<Object>>,
    version: u64,
    start: Option<Key>,
    limit: usize,
    /// Items from `start` on, when the token knew it.
    left: Option<usize>,
}

/// One page.
#[derive(Debug)]
pub(crate) struct Page {
    pub version: u64,
    pub items: Vec<Arc<Object>>,
    pub token: Option<String>,
    pub remaining: Option<usize>,
}

/// A resourceVersion parameter; empty and zero are `None`.
pub(crate) fn parse_version(text: &str) -> Result<Option<u64>, ApiError> {
    match text {
        "" | "0" => Ok(None),
        _ => text.parse().map(Some).map_err(|_| {
            ApiError::bad_request(format!(
                "resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
            ))
        }),
    }
}

/// A 422 about the options of a list or a watch.
pub(crate) fn invalid_options(causes: Vec<Cause>) -> ApiError {
    ApiError::invalid("meta.k8s.io", "ListOptions", "", causes)
}

impl ListParams {
    /// Refuses combinations that no server accepts.
    pub(crate) fn check(&self) -> Result<(), ApiError> {
        let mut causes = Vec::new();
        let field = "resourceVersionMatch";
        if !self.version_match.is_empty() {
            if self.version.is_empty() {
                let why = "resourceVersionMatch is forbidden unless resourceVersion is provided";
                causes.push(Cause::forbidden(field, why));
            }
            if !self.token.is_empty() {
                let why = "resourceVersionMatch is forbidden when continue is provided";
                causes.push(Cause::forbidden(field, why));
            }
            if !matches!(self.version_match.as_str(), "Exact" | "NotOlderThan") {
                let supported = ["Exact", "NotOlderThan", ""];
                causes.push(Cause::not_supported(field, &self.version_match, &supported));
            }
            if self.version_match == "Exact" && self.version == "0" {
                let why = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
                causes.push(Cause::forbidden(field, why));
            }
        }
        if !causes.is_empty() {
            return Err(invalid_options(causes));
        }
        if !self.token.is_empty() && !self.version.is_empty() && self.version != "0" {
            return Err(ApiError::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        Ok(())
    }

    /// The version that the store must have reached before it can answer.
    pub(crate) fn needed_version(&self) -> Result<Option<u64>, ApiError> {
        parse_version(&self.version)
    }

    /// Takes the state that this list is about.
    pub(crate) fn snapshot(
        &self,
        store: &Store,
        resource: &Resource,
        reading: &Reading,
    ) -> Result<Snapshot, ApiError> {
        let collection = store
            .collection(resource)
            .ok_or_else(ApiError::no_such_resource)?;
        let newest = reading.version(store, collection);
        let mut snapshot = Snapshot {
            objects: store.objects_at(collection, newest),
            version: newest,
            start: None,
            limit: usize::try_from(self.limit).unwrap_or(usize::MAX),
            left: None,
        };
        if !self.token.is_empty() {
            let token = Token::parse(&self.token)?;
            snapshot.start = Some(Key::from(token.start.as_str()));
            if let Some(version) = token.version {
                if store.is_expired(collection, version) {
                    return Err(expired_token(&self.token, true));
                }
                if version > store.version() {
                    return Err(bad_token());
                }
                snapshot.objects = store.objects_at(collection, version);
                snapshot.version = version;
                snapshot.left = token.left;
            }
            return Ok(snapshot);
        }
        let version = parse_version(&self.version)?;
        // A limit with a version and no match has always meant that very version.
        let exact =
            self.version_match == "Exact" || (self.version_match.is_empty() && self.limit > 0);
        if let Some(version) = version.filter(|_| exact) {
            if store.is_expired(collection, version) {
                return Err(ApiError::expired(format!(
                    "The provided resource version is too old: too old resource version: {version} ({})",
                    store.version()
                )));
            }
            snapshot.objects = store.objects_at(collection, version);
            snapshot.version = version;
        }
        // "Any version" is answered from the server's cache, which knows no pages.
        if self.version == "0" {
            snapshot.limit = usize::MAX;
        }
        if snapshot.limit == 0 {
            snapshot.limit = usize::MAX;
        }
        Ok(snapshot)
    }
}

impl Snapshot {
    /// Cuts the page; needs no lock.
    pub(crate) fn page(self, selector: &Selector) -> Page {
        let limit = if self.limit == 0 {
            usize::MAX
        } else {
            self.limit
        };
        let mut matching = in_namespace(&self.objects, selector.namespace(), self.start.as_ref())
            .filter(|object| selector.matches(object));
        let items: Vec<Arc<Object>> = matching.by_ref().take(limit).cloned().collect();
        let mut token = None;
        let mut remaining = None;
        if let Some(last) = items.last().filter(|_| items.len() == limit) {
            let more = matching.next().is_some();
            if !selector.is_filtering() {
                // Counted once: the pages after the first carry it along.
                let all = match (self.left, &self.start, selector.namespace()) {
                    (Some(left), _, _) => left,
                    (None, None, None) => self.objects.len(),
                    (None, _, _) => items.len() + usize::from(more) + matching.count(),
                };
                remaining = all.checked_sub(items.len()).filter(|_| more);
            }
            if more {
                token = Some(Token::after(&last.key, self.version, remaining).to_text());
            }
        }
        Page {
            version: self.version,
            items,
            token,
            remaining,
        }
    }
}

/// The objects of a namespace, or all, in key order.
pub(crate) fn in_namespace<'m>(
    objects: &'m OrdMap<Key, Arc<Object>>,
    namespace: Option<&str>,
    start: Option<&Key>,
) -> impl Iterator<Item = &'m Arc<Object>> + use<'m> {
    let prefix = namespace
        .map(|namespace| format!("{namespace}/"))
        .unwrap_or_default();
    let first = match start {
        Some(start) if start.as_ref() >= prefix.as_str() => Arc::clone(start),
        _ => Key::from(prefix.as_str()),
    };
    objects
        .range((Bound::Included(first), Bound::Unbounded))
        .take_while(move |(key, _)| key.starts_with(&prefix))
        .map(|(_, object)| object)
}

/// Where the next page starts, as the server's own tokens say it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    /// `None` continues in the present, after the list's own version was lost.
    version: Option<u64>,
    start: String,
    /// How many items are left, so that they need not be counted again.
    left: Option<usize>,
}

/// 410 about a continue token, as when its version was compacted; with `fresh`, it offers
/// another token that goes on in the present.
pub(crate) fn expired_token(text: &str, fresh: bool) -> ApiError {
    match Token::parse(text) {
        Ok(token) => ApiError {
            continuation: fresh.then(|| token.in_the_present()),
            ..ApiError::expired(TOKEN_EXPIRED)
        },
        Err(error) => error,
    }
}

const TOKEN_EXPIRED: &str = "The provided continue parameter is too old to display a consistent list result. You \
    can start a new list without the continue parameter, or use the continue token in this response to retrieve \
    the remainder of the results. Continuing with the provided token results in an inconsistent list - objects \
    that were created, modified, or deleted between the time the first chunk was returned and now may show up in \
    the list.";

fn bad_token() -> ApiError {
    ApiError::bad_request("continue key is not valid")
}

impl Token {
    fn after(key: &str, version: u64, left: Option<usize>) -> Self {
        Self {
            version: Some(version),
            start: format!("{key}\0"),
            left,
        }
    }

    fn to_text(&self) -> String {
        let version = self.version.map_or(json!(-1), Value::from);
        let token =
            json!({"v": "meta.k8s.io/v1", "rv": version, "start": self.start, "left": self.left});
        let text = json::base64(token.to_string().as_bytes());
        text.trim_end_matches('=')
            .replace('+', "-")
            .replace('/', "_")
    }

    fn parse(text: &str) -> Result<Self, ApiError> {
        let bytes = json::unbase64(text).ok_or_else(bad_token)?;
        let value: Value = serde_json::from_slice(&bytes).map_err(|_| bad_token())?;
        if json::text(&value, &["v"]) != "meta.k8s.io/v1" {
            return Err(bad_token());
        }
        let version = match value.get("rv") {
            Some(number) if number.as_i64() == Some(-1) => None,
            Some(number) => Some(number.as_u64().ok_or_else(bad_token)?),
            None => return Err(bad_token()),
        };
        let start = json::text(&value, &["start"]).to_owned();
        if start.is_empty() {
            return Err(bad_token());
        }
        let left = value.get("left").and_then(Value::as_u64);
        Ok(Self {
            version,
            start,
            left: left.and_then(|left| usize::try_from(left).ok()),
        })
    }

    /// A token that continues behind the same object, whatever has happened since.
    fn in_the_present(self) -> String {
        let inconsistent = Self {
            version: None,
            left: None,
            ..self
        };
        inconsistent.to_text()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn tokens_survive_the_round_trip() {
        let token = Token::after("shop/a", 7, Some(3));
        assert_eq!(Token::parse(&token.to_text()).unwrap(), token);
        for broken in ["", "!", "e30", "eyJ2IjoibWV0YS5rOHMuaW8vdjEifQ"] {
            assert_eq!(Token::parse(broken).unwrap_err().code, 400, "{broken}");
        }
    }

    #[test]
    fn impossible_combinations_are_422() {
        let params = |version: &str, version_match: &str, token: &str| ListParams {
            limit: 0,
            token: token.to_owned(),
            version: version.to_owned(),
            version_match: version_match.to_owned(),
        };
        for (given, code) in [
            (params("", "", ""), 0),
            (params("5", "Exact", ""), 0),
            (params("0", "NotOlderThan", ""), 0),
            (params("", "Exact", ""), 422),
            (params("0", "Exact", ""), 422),
            (params("5", "Newest", ""), 422),
            (params("5", "", "abc"), 400),
        ] {
            assert_eq!(
                given.check().err().map_or(0, |error| error.code),
                code,
                "{given:?}"
            );
        }
    }
}
