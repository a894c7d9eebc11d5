//! Owns what a request asks for, in words that rules match and tests count, and the
//! log of the latest requests.

use std::collections::VecDeque;

use bytes::Bytes;
use http::{Method, Request};
use serde::Deserialize;
use tokio::time::Instant;

use crate::render::Form;
use crate::request::{Address, Query, decode, form};

/// Requests that are kept: those of hours, or of a hot loop for long enough to show itself,
/// in a few megabytes.
const KEPT: usize = 10_000;

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// Asks what is served: everything outside of the resources' own paths, such as `/apis`,
    /// `/api/v1`, `/version` and `/openapi/v3`.
    Discovery,
    /// Reads a collection, or a page of it.
    List,
    /// A watch that begins with what exists (`sendInitialEvents=true`).
    StreamingList,
    /// Any other watch.
    Watch,
    /// Reads one object.
    Get,
    /// POST.
    Create,
    /// PUT.
    Update,
    /// PATCH, server-side apply included.
    Patch,
    /// DELETE, of one object or of a collection.
    Delete,
}

impl Verb {
    /// Whether the answer is a stream of events.
    #[must_use]
    pub fn is_stream(self) -> bool {
        matches!(self, Self::Watch | Self::StreamingList)
    }
}

/// A request that came in, and how it was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// What it does.
    pub verb: Verb,
    /// The path of its address, without the query.
    pub path: String,
    /// The API group; empty for the core group, and where none is named.
    pub group: String,
    /// The plural name, such as `ingresses`; empty for discovery.
    pub resource: String,
    /// The namespace; empty for all of them, and for what lives in none.
    pub namespace: String,
    /// The object's name, also that of a field selector `metadata.name=…`; empty without one.
    pub name: String,
    /// `status`, `scale` or empty.
    pub subresource: String,
    /// The status code. `None` while there is none, and when a fault closed the
    /// connection before it.
    pub code: Option<u16>,
    /// `resourceVersion` as it was sent.
    pub resource_version: Option<String>,
    /// `resourceVersionMatch` as it was sent.
    pub resource_version_match: Option<String>,
    /// `limit`, in objects.
    pub limit: Option<u64>,
    /// The continue token.
    pub continue_token: Option<String>,
    /// Whether the stream is to begin with what exists.
    pub send_initial_events: bool,
    /// `labelSelector` as it was sent.
    pub label_selector: Option<String>,
    /// `fieldSelector` as it was sent.
    pub field_selector: Option<String>,
    /// Whether the client asked for metadata only (`PartialObjectMetadata`).
    pub metadata_only: bool,
    /// When it came.
    pub moment: Instant,
}

impl Logged {
    pub(crate) fn of(request: &Request<Bytes>, moment: Instant) -> Self {
        let segments: Vec<String> = request
            .uri()
            .path()
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(|segment| decode(segment, false))
            .collect();
        let address = Address::parse(&segments).unwrap_or_default();
        let query = Query::parse(request.uri().query().unwrap_or_default());
        let given = |name: &str| query.all(name).next().map(str::to_owned);
        let send_initial_events = query.flag("sendInitialEvents") == Some(true);
        let field_selector = given("fieldSelector");
        let group = match segments.as_slice() {
            [apis, group] if apis == "apis" => group.clone(),
            _ => address.group,
        };
        let selected = field_selector.as_deref().and_then(selected_name);
        let one = !address.name.is_empty();
        let name = match address.name {
            name if one => name,
            _ => selected.unwrap_or_default().to_owned(),
        };
        let verb = match *request.method() {
            _ if address.plural.is_empty() => Verb::Discovery,
            Method::POST => Verb::Create,
            Method::PUT => Verb::Update,
            Method::PATCH => Verb::Patch,
            Method::DELETE => Verb::Delete,
            _ if query.flag("watch") == Some(true) && send_initial_events => Verb::StreamingList,
            _ if query.flag("watch") == Some(true) => Verb::Watch,
            _ if one => Verb::Get,
            _ => Verb::List,
        };
        Self {
            verb,
            path: request.uri().path().to_owned(),
            group,
            resource: address.plural,
            namespace: address.namespace,
            name,
            subresource: address.subresource,
            code: None,
            resource_version: given("resourceVersion"),
            resource_version_match: given("resourceVersionMatch"),
            limit: query.number("limit").ok().flatten(),
            continue_token: given("continue"),
            send_initial_events,
            label_selector: given("labelSelector"),
            field_selector,
            metadata_only: matches!(form(request.headers()), Ok(Form::Metadata(_))),
            moment,
        }
    }
}

/// The name that a field selector asks for.
fn selected_name(selector: &str) -> Option<&str> {
    selector.split(',').find_map(|part| {
        let (field, name) = part.split_once('=')?;
        (field.trim() == "metadata.name").then(|| name.trim_start_matches('=').trim())
    })
}

/// The latest requests, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Log {
    kept: VecDeque<Logged>,
    /// Requests that came before the first of `kept` and were dropped or cleared.
    before: u64,
    dropped: u64,
}

impl Log {
    /// Adds a request; the number is for [`Log::answered`].
    pub(crate) fn push(&mut self, request: Logged) -> u64 {
        if self.kept.len() >= KEPT {
            self.kept.pop_front();
            self.before += 1;
            self.dropped += 1;
        }
        self.kept.push_back(request);
        self.before + self.kept.len() as u64 - 1
    }

    pub(crate) fn answered(&mut self, number: u64, code: u16) {
        let index = number
            .checked_sub(self.before)
            .and_then(|index| usize::try_from(index).ok());
        if let Some(entry) = index.and_then(|index| self.kept.get_mut(index)) {
            entry.code = Some(code);
        }
    }

    pub(crate) fn all(&self) -> Vec<Logged> {
        self.kept.iter().cloned().collect()
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    pub(crate) fn clear(&mut self) {
        self.before += self.kept.len() as u64;
        self.kept.clear();
        self.dropped = 0;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn logged(method: &str, uri: &str) -> Logged {
        let request = Request::builder().method(method).uri(uri);
        Logged::of(&request.body(Bytes::new()).unwrap(), Instant::now())
    }

    #[test]
    fn requests_are_told_apart_as_a_servers_authorization_does() {
        for (method, uri, verb, place) in [
            ("GET", "/api/v1", Verb::Discovery, ["", "", "", ""]),
            ("GET", "/apis/apps", Verb::Discovery, ["apps", "", "", ""]),
            (
                "GET",
                "/apis/apps/v1",
                Verb::Discovery,
                ["apps", "", "", ""],
            ),
            ("GET", "/api/v1/pods", Verb::List, ["", "pods", "", ""]),
            (
                "GET",
                "/api/v1/namespaces/a/pods/b",
                Verb::Get,
                ["", "pods", "a", "b"],
            ),
            (
                "GET",
                "/api/v1/pods?watch=1",
                Verb::Watch,
                ["", "pods", "", ""],
            ),
            (
                "GET",
                "/api/v1/pods?watch=1&sendInitialEvents=true",
                Verb::StreamingList,
                ["", "pods", "", ""],
            ),
            (
                "GET",
                "/api/v1/namespaces/a/pods?fieldSelector=spec.x%3Dy%2Cmetadata.name%3Db",
                Verb::List,
                ["", "pods", "a", "b"],
            ),
            (
                "POST",
                "/api/v1/namespaces",
                Verb::Create,
                ["", "namespaces", "", ""],
            ),
            (
                "PUT",
                "/api/v1/nodes/n/status",
                Verb::Update,
                ["", "nodes", "", "n"],
            ),
            (
                "PATCH",
                "/apis/apps/v1/namespaces/a/deployments/b",
                Verb::Patch,
                ["apps", "deployments", "a", "b"],
            ),
            (
                "DELETE",
                "/api/v1/namespaces/a/pods",
                Verb::Delete,
                ["", "pods", "a", ""],
            ),
        ] {
            let found = logged(method, uri);
            assert_eq!(
                (
                    found.verb,
                    [found.group, found.resource, found.namespace, found.name]
                ),
                (verb, place.map(str::to_owned)),
                "{method} {uri}"
            );
        }
    }

    #[test]
    fn the_oldest_requests_are_dropped_and_counted() {
        let mut log = Log::default();
        for _ in 0..KEPT + 3 {
            log.push(logged("GET", "/api/v1"));
        }
        assert_eq!((log.all().len(), log.dropped()), (KEPT, 3));
        let number = log.push(logged("GET", "/api"));
        log.answered(number, 200);
        log.answered(0, 500);
        assert_eq!(log.all().last().unwrap().code, Some(200));
        assert!(log.all().iter().all(|entry| entry.code != Some(500)));
        log.clear();
        log.answered(number, 404);
        assert_eq!((log.all(), log.dropped()), (vec![], 0));
    }
}
