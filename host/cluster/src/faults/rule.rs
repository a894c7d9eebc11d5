//! The words of a script: which requests, and what happens to them. Owns the types that
//! tests write and files are read into, and no behaviour but matching.

use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::log::{Logged, Verb};

/// One fault, and the requests that it happens to.
///
/// All rules that match a request act on it, in the order in which they were added. Once
/// one has answered in the server's place, those after it are not asked.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// Which requests. Default: all.
    #[serde(default)]
    pub when: When,
    /// How many of them pass untouched first. Default: 0.
    #[serde(default)]
    pub skip: u64,
    /// How many it happens to after that. Default: `None`, without end.
    #[serde(default)]
    pub times: Option<u64>,
    /// What happens.
    pub fault: Fault,
}

impl Rule {
    /// The fault on every request that matches.
    #[must_use]
    pub fn new(when: When, fault: Fault) -> Self {
        Self {
            when,
            skip: 0,
            times: None,
            fault,
        }
    }

    /// The same, on the first `times` requests only.
    #[must_use]
    pub fn times(self, times: u64) -> Self {
        Self {
            times: Some(times),
            ..self
        }
    }
}

/// Which requests a rule is about. What is left out matches everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct When {
    /// One of these; empty for all.
    pub verbs: BTreeSet<Verb>,
    /// The API group; `""` is the core group.
    pub group: Option<String>,
    /// The plural name, such as `ingresses`.
    pub resource: Option<String>,
    /// The namespace of the request; `""` for requests over all namespaces.
    pub namespace: Option<String>,
    /// The object's name, also that of a field selector `metadata.name=…`.
    pub name: Option<String>,
    /// Which pages of a list.
    pub page: Option<Page>,
    /// Only the first, the (n+1)th, the (2n+1)th and so on of those that match otherwise:
    /// what one of n replicas behind a load balancer gets.
    pub one_in: Option<NonZeroU64>,
}

/// A part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Page {
    /// Without a continue token.
    First,
    /// With one.
    Continue,
}

impl When {
    /// Every request.
    #[must_use]
    pub fn any() -> Self {
        Self::default()
    }

    /// Every request of these verbs.
    #[must_use]
    pub fn verbs(verbs: impl IntoIterator<Item = Verb>) -> Self {
        Self {
            verbs: verbs.into_iter().collect(),
            ..Self::default()
        }
    }

    /// The same, of this resource only.
    #[must_use]
    pub fn resource(self, plural: &str) -> Self {
        Self {
            resource: Some(plural.to_owned()),
            ..self
        }
    }

    /// Whether a request is one of those; [`When::one_in`] left aside.
    pub(crate) fn matches(&self, asked: &Logged) -> bool {
        let is = |wanted: &Option<String>, given: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == given)
        };
        (self.verbs.is_empty() || self.verbs.contains(&asked.verb))
            && is(&self.group, &asked.group)
            && is(&self.resource, &asked.resource)
            && is(&self.namespace, &asked.namespace)
            && is(&self.name, &asked.name)
            && self.page.is_none_or(|page| {
                asked.verb == Verb::List
                    && (page == Page::Continue) == asked.continue_token.is_some()
            })
    }
}

/// What happens to a request. The first group answers in the server's place; the others
/// change when, from which state, or in which form the server's own answer arrives.
///
/// A count of events is of what the server sent on this stream, bookmarks included.
/// A number that is no HTTP status code is sent as 500.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub enum Fault {
    /// A `Status` of one's own.
    Status(Refusal),
    /// A page of HTML, as a proxy or a load balancer makes it.
    Html {
        /// The status code.
        code: u16,
    },
    /// 401, unless the request's bearer token is one of these.
    Unauthorized {
        /// The tokens that are good.
        #[serde(default)]
        tokens: BTreeSet<String>,
    },
    /// 403, in the words of RBAC.
    Forbidden {
        /// End the running streams of these requests when the rule is added, cleanly, as
        /// a server does that re-checks them.
        #[serde(default)]
        end_streams: bool,
    },
    /// 410, `too old resource version`.
    Expired {
        /// As an ERROR event after so many events of a stream; `None` as an HTTP status.
        #[serde(default)]
        after: Option<u64>,
    },
    /// An ERROR event with any `Status` after so many events; the stream ends then.
    ErrorEvent {
        /// Events before it.
        #[serde(default)]
        after: u64,
        /// What it says.
        status: Refusal,
    },
    /// 504, `Too large resource version`, with its cause, as from a server that lags behind.
    TooLargeVersion,
    /// Refuses streaming lists, as a server without the feature gate does (422), or one
    /// that knows nothing of them (400).
    RefuseStreaming {
        /// 422 or 400.
        #[serde(default = "unprocessable")]
        code: u16,
    },
    /// 410 for a page that is asked for with a continue token.
    ExpireContinue {
        /// Offer another token, with which the list goes on inconsistently.
        #[serde(default)]
        fresh: bool,
    },

    /// Lets time pass.
    Delay {
        /// How long.
        #[serde(rename = "millis", with = "millis")]
        by: Duration,
        /// Before the server acts, or after.
        #[serde(default)]
        at: Moment,
    },
    /// Waits for [`Faults::release`](super::Faults::release), or for the rule's removal.
    Hold {
        /// Before the server acts, or after: an answer that is old when it arrives.
        #[serde(default)]
        at: Moment,
    },
    /// Reads from a replica that lies behind.
    Lag {
        /// By so many versions. `None`: it stands where the server is when the rule is
        /// added, until the rule is removed or [released](super::Faults::release).
        /// Never further back than the server's history goes.
        #[serde(default)]
        versions: Option<u64>,
        /// Also where the client asks for the newest state (no `resourceVersion`), which
        /// a real replica takes from etcd: time goes back then.
        #[serde(default)]
        everything: bool,
    },

    /// Breaks the answer off.
    Break {
        /// Where.
        #[serde(default)]
        at: Place,
        /// How.
        how: How,
    },
    /// The bookmark that ends a streaming list never comes.
    WithholdBookmark,
    /// Puts something into a stream after so many events, or into a list at this index.
    Inject {
        /// Events, or items, before it.
        #[serde(default)]
        after: u64,
        /// The type of the event. Default: `ADDED`. Nothing in a list.
        #[serde(default = "added")]
        event: String,
        /// The object, which need not be one.
        #[serde(default)]
        object: Value,
    },
    /// Makes the objects of one name large, by an annotation, in streams and lists.
    Pad {
        /// `metadata.name` of the objects.
        name: String,
        /// How much is added, in bytes.
        bytes: usize,
    },
    /// Puts events together into one chunk.
    Coalesce {
        /// So many at most.
        events: usize,
        /// How long the first one waits for the others.
        #[serde(rename = "millis", with = "millis", default = "patience")]
        wait: Duration,
    },
    /// Compresses the answer, however small, with a flush after each chunk.
    Gzip {
        /// A gzip member for each chunk instead of one for all.
        #[serde(default)]
        members: bool,
        /// Also when the client did not say that it accepts it.
        #[serde(default)]
        unasked: bool,
    },
    /// Cuts the answer into chunks, without regard to what it says.
    Split {
        /// The size of a chunk in bytes; at least 1.
        bytes: usize,
        /// Sizes from 1 to `bytes` instead, drawn from this seed and the rule's count of hits.
        #[serde(default)]
        seed: Option<u64>,
    },
}

/// Something that the server says no with.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Refusal {
    /// The status code.
    pub code: u16,
    /// The `reason`, such as `InternalError`; empty for none.
    #[serde(default)]
    pub reason: String,
    /// The sentence.
    #[serde(default)]
    pub message: String,
    /// The `details`, or null.
    #[serde(default)]
    pub details: Value,
    /// `Retry-After` in seconds; in the header, and in the details where there are some.
    #[serde(default)]
    pub retry_after: Option<u64>,
    /// Over several lines.
    #[serde(default)]
    pub pretty: bool,
}

impl Refusal {
    /// A code, a reason and a sentence.
    #[must_use]
    pub fn new(code: u16, reason: &str, message: &str) -> Self {
        Self {
            code,
            reason: reason.to_owned(),
            message: message.to_owned(),
            ..Self::default()
        }
    }
}

/// Around the server's own work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Moment {
    /// Before the server has seen the request.
    #[default]
    Arrival,
    /// When it has: the answer is there, but not sent.
    Answered,
}

/// A place in an answer. All counts are of the uncompressed body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub enum Place {
    /// Before the headers.
    #[default]
    Start,
    /// After so many bytes of the body; 0 is right after the headers.
    Bytes(u64),
    /// In a stream: so many bytes into the event after the first `after`; 0 is between them.
    /// There is no such place in other answers.
    Event {
        /// Whole events before it.
        after: u64,
        /// Bytes of the next one.
        #[serde(default)]
        bytes: usize,
    },
    /// So long after the headers.
    Millis(#[serde(with = "millis")] Duration),
}

/// How an answer breaks off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub enum How {
    /// Nothing more comes, and the connection stays open.
    Stall,
    /// Nothing but white space comes, a byte at a time.
    Trickle {
        /// Between two of them.
        #[serde(rename = "millis", with = "millis")]
        every: Duration,
    },
    /// The body ends as if it were complete. Before the headers: like [`How::Fin`].
    End,
    /// The connection is closed, the body being incomplete.
    Fin,
    /// The connection is reset (RST).
    Reset,
}

fn unprocessable() -> u16 {
    422
}

fn added() -> String {
    "ADDED".to_owned()
}

/// Long enough to be seen as one chunk, short enough not to look like a stall.
fn patience() -> Duration {
    Duration::from_millis(100)
}

/// Durations as whole milliseconds.
mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_millis)
    }
}

impl Fault {
    /// Whether the fault can happen to such a request at all; a rule counts no others.
    pub(crate) fn concerns(&self, asked: &Logged) -> bool {
        match self {
            Self::Expired { after: Some(_) }
            | Self::ErrorEvent { .. }
            | Self::Coalesce { .. }
            | Self::Break {
                at: Place::Event { .. },
                ..
            } => asked.verb.is_stream(),
            Self::RefuseStreaming { .. } | Self::WithholdBookmark => {
                asked.verb == Verb::StreamingList
            }
            Self::ExpireContinue { .. } => asked.continue_token.is_some(),
            Self::Inject { .. } | Self::Pad { .. } => {
                asked.verb.is_stream() || asked.verb == Verb::List
            }
            Self::Lag { everything, .. } => {
                let reads = asked.verb.is_stream() || matches!(asked.verb, Verb::List | Verb::Get);
                let newest = asked
                    .resource_version
                    .as_deref()
                    .unwrap_or_default()
                    .is_empty();
                reads && asked.continue_token.is_none() && (*everything || !newest)
            }
            Self::Status(_)
            | Self::Html { .. }
            | Self::Unauthorized { .. }
            | Self::Forbidden { .. }
            | Self::Expired { after: None }
            | Self::TooLargeVersion
            | Self::Delay { .. }
            | Self::Hold { .. }
            | Self::Break { .. }
            | Self::Gzip { .. }
            | Self::Split { .. } => true,
        }
    }
}
