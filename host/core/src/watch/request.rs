//! Owns the URLs: paths, queries and `Accept` headers of the four requests of a watch,
//! and the path of one object.

use std::time::Duration;

use super::{Request, RequestKind, ResourceRef, WatchConfig};
use crate::Identity;

const JSON: &str = "application/json";
// An API server that cannot convert ignores the parameters of the first and takes
// the second: the objects come whole then, which the decoder does not mind.
const METADATA_LIST: &str =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
const METADATA: &str =
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";

/// Which part of a list to ask for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Page<'a> {
    /// The first page, at least as new as this version when one is given.
    First { not_older_than: Option<&'a str> },
    /// Everything at once, at least as new as this version when one is given.
    Whole { not_older_than: Option<&'a str> },
    /// The page that this token stands for. The API refuses a version beside it.
    Continue { token: &'a str },
}

pub(super) fn discover(config: &WatchConfig) -> Request {
    Request {
        path_and_query: group_version_path(&config.resource),
        kind: RequestKind::Discover,
        accept: JSON,
    }
}

pub(super) fn list(config: &WatchConfig, namespaced: bool, page: Page<'_>) -> Request {
    let mut url = Url::collection(config, namespaced);
    let size = config.page_size.max(1).to_string();
    match page {
        Page::First { not_older_than } => {
            url.parameter("limit", &size);
            url.not_older_than(not_older_than);
        }
        Page::Whole { not_older_than } => url.not_older_than(not_older_than),
        Page::Continue { token } => {
            url.parameter("limit", &size);
            url.parameter("continue", token);
        }
    }
    url.selectors(config);
    Request {
        path_and_query: url.text,
        kind: RequestKind::List,
        accept: if config.metadata_only {
            METADATA_LIST
        } else {
            JSON
        },
    }
}

pub(super) fn streaming_list(
    config: &WatchConfig,
    namespaced: bool,
    not_older_than: Option<&str>,
    timeout: Duration,
) -> Request {
    let mut url = Url::collection(config, namespaced);
    url.watch(timeout);
    url.parameter("sendInitialEvents", "true");
    // The API wants the match also where no version is given.
    url.parameter("resourceVersionMatch", "NotOlderThan");
    if let Some(version) = not_older_than {
        url.parameter("resourceVersion", version);
    }
    url.selectors(config);
    url.stream(config, RequestKind::StreamingList)
}

pub(super) fn watch(
    config: &WatchConfig,
    namespaced: bool,
    resource_version: &str,
    timeout: Duration,
) -> Request {
    let mut url = Url::collection(config, namespaced);
    url.watch(timeout);
    if !resource_version.is_empty() {
        url.parameter("resourceVersion", resource_version);
    }
    url.selectors(config);
    url.stream(config, RequestKind::Watch)
}

/// Path and query of a GET of one object, percent-encoded. `not_older_than` is a
/// resourceVersion: a server that has not come so far waits a while, and then refuses with
/// 504. Empty: the newest state. `None` when the identity cannot stand in a path.
#[must_use]
pub fn object_path(
    resource: &ResourceRef,
    identity: &Identity,
    not_older_than: &str,
) -> Option<String> {
    let stands = |part: &str| !matches!(part, "." | "..");
    if !stands(identity.namespace()) || !stands(identity.name()) {
        return None;
    }
    let mut text = group_version_path(resource);
    if !identity.namespace().is_empty() {
        text.push_str("/namespaces/");
        encode(&mut text, identity.namespace());
    }
    text.push('/');
    encode(&mut text, &resource.resource);
    text.push('/');
    encode(&mut text, identity.name());
    let mut url = Url {
        text,
        separator: '?',
    };
    if !not_older_than.is_empty() {
        url.parameter("resourceVersion", not_older_than);
    }
    Some(url.text)
}

/// `/api/v1` or `/apis/networking.k8s.io/v1`.
pub(super) fn group_version_path(resource: &ResourceRef) -> String {
    let mut path = String::from("/api");
    if !resource.group.is_empty() {
        path.push_str("s/");
        encode(&mut path, &resource.group);
    }
    path.push('/');
    encode(&mut path, &resource.version);
    path
}

struct Url {
    text: String,
    separator: char,
}

impl Url {
    fn collection(config: &WatchConfig, namespaced: bool) -> Self {
        let mut text = group_version_path(&config.resource);
        if let (true, Some(namespace)) = (namespaced, &config.namespace) {
            text.push_str("/namespaces/");
            encode(&mut text, namespace);
        }
        text.push('/');
        encode(&mut text, &config.resource.resource);
        Self {
            text,
            separator: '?',
        }
    }

    fn parameter(&mut self, name: &str, value: &str) {
        self.text.push(self.separator);
        self.separator = '&';
        self.text.push_str(name);
        self.text.push('=');
        encode(&mut self.text, value);
    }

    fn watch(&mut self, timeout: Duration) {
        self.parameter("watch", "true");
        self.parameter("allowWatchBookmarks", "true");
        self.parameter("timeoutSeconds", &timeout.as_secs().to_string());
    }

    fn not_older_than(&mut self, version: Option<&str>) {
        if let Some(version) = version {
            self.parameter("resourceVersion", version);
            self.parameter("resourceVersionMatch", "NotOlderThan");
        }
    }

    fn selectors(&mut self, config: &WatchConfig) {
        if let Some(selector) = &config.label_selector {
            self.parameter("labelSelector", selector);
        }
        let by_name = config
            .name
            .as_ref()
            .map(|name| format!("metadata.name={name}"));
        let fields: Vec<&str> = by_name
            .iter()
            .chain(&config.field_selector)
            .map(String::as_str)
            .collect();
        if !fields.is_empty() {
            self.parameter("fieldSelector", &fields.join(","));
        }
    }

    fn stream(self, config: &WatchConfig, kind: RequestKind) -> Request {
        Request {
            path_and_query: self.text,
            kind,
            accept: if config.metadata_only { METADATA } else { JSON },
        }
    }
}

/// Percent-encodes all but RFC 3986's unreserved characters, which is right in a
/// path segment and in a query value.
fn encode(out: &mut String, text: &str) {
    const HEX: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F',
    ];
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            byte => {
                out.push('%');
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a test that cannot go on says where by panicking"
    )]

    use super::*;

    #[test]
    fn s6_one_object_has_a_path_of_its_own() {
        let check = |(group, resource): (&str, &str), (namespace, name), version, expected| {
            let resource = ResourceRef {
                group: group.to_owned(),
                version: "v1".to_owned(),
                resource: resource.to_owned(),
            };
            let identity = Identity::new(namespace, name).unwrap();
            let path = object_path(&resource, &identity, version);
            assert_eq!(path.as_deref(), expected);
        };
        check(
            ("", "secrets"),
            ("shop", "tls"),
            "17",
            Some("/api/v1/namespaces/shop/secrets/tls?resourceVersion=17"),
        );
        check(
            ("rbac.authorization.k8s.io", "clusterroles"),
            ("", "system:node/?"),
            "",
            Some("/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode%2F%3F"),
        );
        check(("", "secrets"), ("shop", ".."), "", None);
        check(("", "secrets"), (".", "tls"), "", None);
    }
}
