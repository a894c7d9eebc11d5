//! Owns the words between the machine and the shell that performs its actions:
//! what happened ([`Input`]), what to do ([`Action`]), what became of the objects
//! ([`WatchOutput`]) and how the watch is ([`WatchState`]).

use std::{fmt, time::Duration};

use crate::{Identity, Object, Time};

/// Something that happened, told to [`Machine::step`](super::Machine::step).
///
/// All but `Start` and `Tick` are about the request of the last
/// [`Action::Send`]: what an earlier request still brings must not be fed.
#[derive(Debug)]
pub enum Input<'a> {
    /// Begin. Later ones do nothing.
    Start,
    /// The request was handed to the network; its deadline starts now. Waiting
    /// for a permit to list comes before.
    Sent,
    /// The response has begun.
    Headers {
        /// HTTP status code.
        status: u16,
        /// The `Retry-After` header, when it held seconds.
        retry_after: Option<Duration>,
        /// The `Content-Type` header.
        content_type: Option<&'a str>,
    },
    /// Bytes of the response's body, decompressed.
    Chunk(&'a [u8]),
    /// The body ended cleanly.
    End,
    /// The request, or the connection in mid-body, failed.
    Failed(TransportError),
    /// [`Machine::deadline`](super::Machine::deadline) has come, or something
    /// woke the shell earlier, which does no harm.
    Tick,
}

/// A request that got no answer, or half of one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {text}")]
pub struct TransportError {
    /// Where it failed.
    pub kind: TransportErrorKind,
    /// What the library below said, for a human.
    pub text: String,
}

/// Where a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportErrorKind {
    /// Name resolution, connecting, or a proxy that refused.
    Connect,
    /// The TLS handshake.
    Tls,
    /// No credentials could be had: an exec plugin or a token file failed.
    Auth,
    /// The connection broke after the request was sent.
    Reset,
    /// The body could not be read or decompressed.
    Body,
    /// Anything else.
    Other,
}

impl fmt::Display for TransportErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "cannot connect",
            Self::Tls => "the TLS handshake failed",
            Self::Auth => "no credentials",
            Self::Reset => "the connection broke",
            Self::Body => "the response cannot be read",
            Self::Other => "the request failed",
        })
    }
}

/// Something to do, in the order given.
#[derive(Debug)]
pub enum Action {
    /// Send this request; what is in flight is dropped.
    Send(Request),
    /// Drop what is in flight.
    Close,
    /// News of the objects.
    Emit {
        /// For which of [`WatchConfig::readers`](super::WatchConfig::readers). What
        /// is about no single object comes for each of them.
        reader: usize,
        /// What.
        output: WatchOutput,
    },
    /// The state has changed. Given once a change; the counter of
    /// [`WatchState::Listing`] moves without it
    /// (ask [`Machine::state`](super::Machine::state)).
    State(WatchState),
    /// One line for the log.
    Note {
        /// How much it matters.
        level: NoteLevel,
        /// The line.
        message: String,
    },
}

/// How much a note matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoteLevel {
    /// Ordinary life: for whoever debugs a watch.
    Debug,
    /// Worth knowing: a decision that lasts.
    Info,
    /// Something failed; the machine goes on by itself.
    Warn,
}

/// A GET request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Path and query, percent-encoded.
    pub path_and_query: String,
    /// What it is for.
    pub kind: RequestKind,
    /// The `Accept` header.
    pub accept: &'static str,
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RequestKind {
    /// The resources of one group and version.
    Discover,
    /// One page of a LIST.
    List,
    /// A watch that begins with all objects, and goes on as a watch.
    StreamingList,
    /// A watch from a resourceVersion.
    Watch,
}

impl RequestKind {
    /// Whether the answer holds all objects, so that the number of such requests
    /// under way must be bounded (contract W7). A permit is taken before the
    /// request is sent and held while
    /// [`Machine::needs_list_permit`](super::Machine::needs_list_permit) says so.
    #[must_use]
    pub fn is_list(self) -> bool {
        match self {
            Self::List | Self::StreamingList => true,
            Self::Discover | Self::Watch => false,
        }
    }

    /// Whether the body comes over minutes, so that no deadline of the client's
    /// own may cut it: the machine keeps the deadlines.
    #[must_use]
    pub fn is_stream(self) -> bool {
        match self {
            Self::StreamingList | Self::Watch => true,
            Self::Discover | Self::List => false,
        }
    }

    /// The word for logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Discover => "discover",
            Self::List => "list",
            Self::StreamingList => "streaming-list",
            Self::Watch => "watch",
        }
    }
}

/// What became of the watched objects.
///
/// `ListBegin (Listed | Quarantined | Deleted | PageEnd)* ListEnd` says what
/// exists; everything that is known but neither `Listed` nor `Quarantined`
/// between the two does not exist any more. A `ListBegin` may come again before
/// a `ListEnd`: then what was listed so far is void, and known objects stay
/// until a `ListEnd` does come (invariant 5). The same object may be listed
/// several times, the last is the newest.
#[derive(Debug)]
pub enum WatchOutput {
    /// Discovery found the resource, or found it changed.
    Resolved {
        /// Kind of one object, such as `Ingress`.
        kind: String,
        /// Such as `networking.k8s.io/v1`.
        api_version: String,
        /// Whether objects live in namespaces.
        namespaced: bool,
    },
    /// A list starts, or starts again.
    ListBegin,
    /// The list holds this object.
    Listed(Object),
    /// A good moment to publish what was listed so far: as many objects as a page holds
    /// have come since the last. Not given right before `ListEnd` for the rest.
    PageEnd,
    /// The list is complete.
    ListEnd {
        /// The version of the whole list; empty when the server gave none.
        resource_version: String,
    },
    /// The object was created or changed. Only after `ListEnd`.
    Applied(Object),
    /// The object is gone, or is no longer selected. Also for objects that nobody knew.
    /// Between `ListBegin` and `ListEnd` it takes back an earlier `Listed`.
    Deleted {
        /// Whose.
        identity: Identity,
        /// Its last state as the server sent it. `None` when that does not decode, and
        /// when the object lives on but left the host's field selector: its
        /// last state is the one that was applied last.
        object: Option<Object>,
    },
    /// An object could not be decoded (contract W8). A known object of this identity stays
    /// as it is, also when this comes within a list.
    Quarantined {
        /// Whose, when that much could be read.
        identity: Option<Identity>,
        /// Why.
        error: String,
    },
    /// The resource is not served any more: no objects exist.
    Gone,
}

/// How a watch is (contract W9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchState {
    /// Asking the server for the resource.
    Discovering,
    /// The server has no such resource (yet). It is asked again, every 30 s at the latest.
    WaitingForCrd,
    /// The right is missing. Tried again with backoff.
    Forbidden {
        /// `get`, `list` or `watch`.
        verb: &'static str,
        /// What and where, such as `ingresses.networking.k8s.io in namespace shop`.
        scope: String,
    },
    /// The first list is under way. Later ones are not told apart from
    /// [`Self::Stale`]: there is a complete state to work with.
    Listing {
        /// Objects received so far.
        received: u64,
    },
    /// Everything is known, and changes are followed.
    Synced,
    /// Everything was known; what changed since is not.
    Stale {
        /// The last sign of life.
        since: Time,
    },
    /// No complete list was ever received, and the last request failed.
    Failing {
        /// Why.
        error: String,
    },
}

impl WatchState {
    /// The word for metrics, without the details.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Discovering => "discovering",
            Self::WaitingForCrd => "waiting-for-crd",
            Self::Forbidden { .. } => "forbidden",
            Self::Listing { .. } => "listing",
            Self::Synced => "synced",
            Self::Stale { .. } => "stale",
            Self::Failing { .. } => "failing",
        }
    }
}

impl fmt::Display for WatchState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Discovering => f.write_str("discovering"),
            Self::WaitingForCrd => f.write_str("waiting for the resource to be served"),
            Self::Forbidden { verb, scope } => write!(f, "not allowed to {verb} {scope}"),
            Self::Listing { received } => write!(f, "listing ({received} objects so far)"),
            Self::Synced => f.write_str("synced"),
            Self::Stale { since } => write!(f, "stale since {since}"),
            Self::Failing { error } => write!(f, "failing: {error}"),
        }
    }
}
