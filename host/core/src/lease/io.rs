//! Owns the words between the machine and the shell that performs its actions.

use std::{fmt, time::Duration};

use super::{object::Draft, wall::WallTime};
use crate::{Time, watch::NoteLevel};

/// Something that happened, told to [`Machine::step`](super::Machine::step).
///
/// `Answer` and `Failed` are about the request of the last [`Action::Send`]: what an earlier
/// request still brings must not be fed.
#[derive(Debug)]
pub enum Input<'a> {
    /// Begin. Later ones do nothing.
    Start,
    /// The whole response, up to [`Request::MAX_ANSWER`] bytes of its body.
    Answer {
        /// HTTP status code.
        status: u16,
        /// The `Retry-After` header, when it held seconds.
        retry_after: Option<Duration>,
        /// The body.
        body: &'a [u8],
    },
    /// There was no response, or half of one; what happened, for people.
    Failed(&'a str),
    /// [`Machine::deadline`](super::Machine::deadline) has come, or something woke the shell
    /// earlier, which does no harm.
    Tick,
    /// Stop leading, give the Lease back if it is held, and end. What needs the leadership must
    /// have ended: others may lead as soon as the Lease is given back.
    Release,
}

/// Something to do, in the order given.
#[derive(Debug)]
pub enum Action {
    /// Send this request; what is in flight is dropped.
    Send(Request),
    /// Drop what is in flight.
    Close,
    /// Leadership has started, and is good while the time is before `until`.
    Started {
        /// The first moment at which it is over, unless [`Action::Extended`] says otherwise.
        until: Time,
    },
    /// Leadership goes on.
    Extended {
        /// As in [`Action::Started`]; never earlier than before.
        until: Time,
    },
    /// Leadership is over.
    Stopped,
    /// Somebody else than before holds the Lease, as far as one knows; it may be oneself.
    NewLeader(String),
    /// The state has changed.
    State(LeaseState),
    /// One line for the log.
    Note {
        /// How much it matters.
        level: NoteLevel,
        /// The line.
        message: String,
    },
    /// After [`Input::Release`]: everything is done.
    Ended,
}

/// What a request does with the Lease, as RBAC calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// GET
    Get,
    /// POST
    Create,
    /// PUT
    Update,
}

impl Verb {
    /// As a Role has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Create => "create",
            Self::Update => "update",
        }
    }

    /// The HTTP method.
    #[must_use]
    pub fn method(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Create => "POST",
            Self::Update => "PUT",
        }
    }
}

/// A request to the API server.
#[derive(Clone, Debug)]
pub struct Request {
    /// What it does.
    pub verb: Verb,
    /// Path and query, percent-encoded.
    pub path_and_query: String,
    pub(super) draft: Option<Draft>,
}

impl Request {
    /// The longest body of a response that is read, in bytes. 1 MiB: a Lease has some hundred
    /// bytes, and etcd takes no object of more than 1.5 MiB.
    pub const MAX_ANSWER: usize = 1 << 20;

    /// The JSON body; empty for GET. `wall` is what it says about when it was written.
    #[must_use]
    pub fn body(&self, wall: WallTime) -> Vec<u8> {
        self.draft
            .as_ref()
            .map_or_else(Vec::new, |draft| draft.to_json(wall))
    }
}

/// How a contender is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseState {
    /// Asking for the Lease, or trying to take it.
    Contending,
    /// Somebody else holds the Lease.
    Following {
        /// Who.
        holder: String,
    },
    /// This one leads.
    Leading,
    /// A right is missing. Tried again with backoff.
    Forbidden {
        /// Which: what to add to the Role.
        verb: Verb,
        /// The namespace of the Role.
        namespace: String,
    },
    /// The last request failed, and this one does not lead.
    Failing {
        /// Why.
        error: String,
    },
    /// It was released.
    Ended,
}

impl fmt::Display for LeaseState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Contending => f.write_str("contending"),
            Self::Following { holder } => write!(f, "following {holder}"),
            Self::Leading => f.write_str("leading"),
            Self::Forbidden { verb, namespace } => write!(
                f,
                "not allowed to {} leases.coordination.k8s.io in namespace {namespace}",
                verb.as_str()
            ),
            Self::Failing { error } => f.write_str(error),
            Self::Ended => f.write_str("ended"),
        }
    }
}
