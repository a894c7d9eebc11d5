//! A server of `widgets` with versions, history and compaction, as far as one watch can
//! tell it from a real one.

use std::collections::BTreeMap;

use super::{DISCOVERY, TOO_LARGE, bookmark, broken, event, list, object, status};
use crate::watch::{Request, RequestKind};

/// One object as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) version: u64,
    /// It reaches no client in readable form.
    pub(super) broken: bool,
}

impl Stored {
    fn json(&self, name: &str) -> String {
        if self.broken {
            broken(name, self.version)
        } else {
            object(name, self.version)
        }
    }
}

/// How the server answers `sendInitialEvents`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Streaming {
    Full,
    /// With 422, as API servers without the feature do.
    Rejected,
    /// As a watch without end bookmark, as older API servers do.
    Ignored,
    /// Closes after some of the events.
    ClosedEarly,
}

#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) objects: BTreeMap<String, Stored>,
    pub(super) version: u64,
    pub(super) served: bool,
    pub(super) streaming: Streaming,
    pub(super) bookmarks: bool,
    /// An expired version is refused in the stream, or else with HTTP 410.
    pub(super) expiry_in_stream: bool,
    compacted: u64,
    history: Vec<(u64, String)>,
    states: BTreeMap<u64, BTreeMap<String, Stored>>,
}

/// What comes back.
#[derive(Clone, Debug)]
pub(super) enum Response {
    /// A status and the whole body.
    Whole(u16, String),
    /// A stream: what it begins with, and the version from which to follow.
    Stream { first: String, from: u64 },
    /// A stream that ends after this.
    Ended(String),
}

impl Server {
    pub(super) fn new(streaming: Streaming) -> Self {
        Self {
            objects: BTreeMap::new(),
            version: 1,
            served: true,
            streaming,
            bookmarks: true,
            expiry_in_stream: true,
            compacted: 0,
            history: Vec::new(),
            states: BTreeMap::from([(1, BTreeMap::new())]),
        }
    }

    pub(super) fn put(&mut self, name: &str, broken: bool) {
        self.version += 1;
        let stored = Stored {
            version: self.version,
            broken,
        };
        let json = stored.json(name);
        let kind = match self.objects.insert(name.to_owned(), stored) {
            Some(_) => "MODIFIED",
            None => "ADDED",
        };
        self.record(event(kind, &json));
    }

    pub(super) fn remove(&mut self, name: &str) {
        if let Some(mut stored) = self.objects.remove(name) {
            self.version += 1;
            stored.version = self.version;
            self.record(event("DELETED", &stored.json(name)));
        }
    }

    fn record(&mut self, event: String) {
        self.history.push((self.version, event));
        self.states.insert(self.version, self.objects.clone());
    }

    /// Forgets history: older versions are expired.
    pub(super) fn compact(&mut self) {
        self.compacted = self.version;
        self.history.clear();
        self.states.retain(|version, _| *version == self.version);
    }

    /// The CRD goes, and the objects with it.
    pub(super) fn stop_serving(&mut self) {
        for name in self.objects.keys().cloned().collect::<Vec<_>>() {
            self.remove(&name);
        }
        self.served = false;
    }

    /// The events after `version`; `None` when they are forgotten.
    pub(super) fn since(&self, version: u64) -> Option<String> {
        if version < self.compacted {
            return None;
        }
        let after = self.history.iter().filter(|(at, _)| *at > version);
        Some(after.map(|(_, event)| event.as_str()).collect())
    }

    pub(super) fn respond(&self, request: &Request) -> Response {
        if request.kind == RequestKind::Discover {
            let body = if self.served {
                DISCOVERY
            } else {
                r#"{"resources":[]}"#
            };
            return Response::Whole(200, body.to_owned());
        }
        if !self.served {
            return Response::Whole(404, "404 page not found\n".to_owned());
        }
        let url = &request.path_and_query;
        let version = parameter(url, "resourceVersion").map(|text| text.parse().unwrap());
        if version.is_some_and(|version: u64| version > self.version) {
            return Response::Whole(504, TOO_LARGE.to_owned());
        }
        match request.kind {
            RequestKind::Discover => unreachable!("answered above"),
            RequestKind::List => self.page(url),
            RequestKind::Watch => self.watch(version),
            RequestKind::StreamingList => self.streaming_list(version),
        }
    }

    fn page(&self, url: &str) -> Response {
        assert!(
            !(url.contains("continue=") && url.contains("resourceVersion")),
            "the API refuses a version beside a token: {url}"
        );
        let (at, after) = match parameter(url, "continue") {
            Some(token) => {
                let (version, name) = token.split_once('.').unwrap();
                (version.parse().unwrap(), name)
            }
            None => (self.version, ""),
        };
        let Some(state) = self.states.get(&at) else {
            return Response::Whole(410, status(410, "Expired", "the token is too old"));
        };
        let limit = parameter(url, "limit").map_or(usize::MAX, |text| text.parse().unwrap());
        let rest: Vec<_> = state
            .iter()
            .filter(|(name, _)| name.as_str() > after)
            .collect();
        let page = rest.get(..limit).unwrap_or(&rest);
        let token = match page.last() {
            Some((name, _)) if page.len() < rest.len() => format!("{at}.{name}"),
            _ => String::new(),
        };
        let objects: Vec<String> = page
            .iter()
            .map(|(name, stored)| stored.json(name))
            .collect();
        Response::Whole(200, list(&objects, at, &token))
    }

    fn watch(&self, version: Option<u64>) -> Response {
        let from = version.expect("a watch without a version loses deletes");
        match self.since(from) {
            Some(_) => Response::Stream {
                first: String::new(),
                from,
            },
            None if self.expiry_in_stream => {
                Response::Ended(event("ERROR", &status(410, "Expired", "too old")))
            }
            None => Response::Whole(410, status(410, "Expired", "too old")),
        }
    }

    fn streaming_list(&self, version: Option<u64>) -> Response {
        let mut first = String::new();
        for (name, stored) in &self.objects {
            first.push_str(&event("ADDED", &stored.json(name)));
        }
        match self.streaming {
            Streaming::Full => {
                first.push_str(&bookmark(self.version, true));
                Response::Stream {
                    first,
                    from: self.version,
                }
            }
            Streaming::Rejected => Response::Whole(
                422,
                status(422, "Invalid", "sendInitialEvents is forbidden for watch"),
            ),
            Streaming::Ignored => match version {
                Some(_) => self.watch(version),
                None => Response::Stream {
                    first,
                    from: self.version,
                },
            },
            Streaming::ClosedEarly => Response::Ended(first),
        }
    }
}

fn parameter<'a>(url: &'a str, name: &str) -> Option<&'a str> {
    let (_, query) = url.split_once('?')?;
    query
        .split('&')
        .find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
}
