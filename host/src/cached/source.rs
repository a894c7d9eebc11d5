//! Where bodies come from: one GET, and what its answer means. Does not know who asked,
//! nor what is kept.

use std::{pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use haptic_core::{
    Identity, Object,
    decode::{Decoder, Projection},
    frame::parse_status,
    watch::{ResourceRef, object_path},
};
use http::header;
use http_body_util::BodyExt;

use crate::{
    access::Access,
    chain::{chain, printable},
    driver::{Inflate, SLICE, retry_after},
};

/// The largest object that is accepted, in bytes: as much as a watch takes.
const OBJECT_BYTES: usize = 16 << 20;

/// Characters of a refusal that is no `Status` that are passed on: enough to recognise
/// what answered.
const EXCERPT: usize = 200;

/// Which object is to be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Get {
    /// Of this resource.
    pub resource: ResourceRef,
    /// Its namespace and name.
    pub identity: Identity,
    /// A state at least as new as this resourceVersion; empty: the newest.
    pub not_older_than: String,
}

/// What a server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status code.
    pub status: u16,
    /// The `Retry-After` header, when it held seconds.
    pub retry_after: Option<Duration>,
    /// The body, decompressed.
    pub body: Bytes,
}

/// Performs one GET: kube's client in the host, a test's own objects in a test. An error
/// is for when there was no answer.
pub type Source = Arc<dyn Fn(Get) -> Getting + Send + Sync>;

/// A GET under way. Dropping it ends it.
pub type Getting = Pin<Box<dyn Future<Output = Result<Answer, FetchError>> + Send>>;

/// Why a body was not fetched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The server refused.
    #[error("{status} {message}")]
    Refused {
        /// HTTP status code.
        status: u16,
        /// Its own words.
        message: String,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// There was no answer, or half of one.
    #[error("{0}")]
    Transport(String),
    /// There was no answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The answer is a state from before the one that the watch has shown.
    #[error(
        "the server answered with version {have}, older than {wanted}, which the watch has seen"
    )]
    Older {
        /// What came.
        have: String,
        /// What is known to exist.
        wanted: String,
    },
    /// The answer is no object.
    #[error("the answer cannot be read: {0}")]
    Unreadable(String),
    /// The answer is another object.
    #[error("the server answered with {0} instead")]
    Other(Identity),
    /// The answer is larger than 16 MiB.
    #[error("the object is larger than 16 MiB")]
    TooLarge,
    /// No path can name the object.
    #[error("it has a name that cannot stand in a path")]
    Unnameable,
    /// The host is shutting down.
    #[error("the host is stopping")]
    Stopping,
}

impl FetchError {
    /// Whether asking again may help.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Refused { status, .. } => matches!(status, 408 | 429 | 500..),
            Self::Transport(_) | Self::Timeout(_) | Self::Older { .. } => true,
            Self::Unreadable(_)
            | Self::Other(_)
            | Self::TooLarge
            | Self::Unnameable
            | Self::Stopping => false,
        }
    }

    /// How long the server wants to be left alone.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            Self::Transport(_)
            | Self::Timeout(_)
            | Self::Older { .. }
            | Self::Unreadable(_)
            | Self::Other(_)
            | Self::TooLarge
            | Self::Unnameable
            | Self::Stopping => None,
        }
    }
}

/// What an answer says: the object, or that there is none.
pub(super) fn read(
    projection: &Arc<Projection>,
    identity: &Identity,
    answer: &Answer,
) -> Result<Option<Arc<Object>>, FetchError> {
    if answer.status != 200 {
        return refused(identity, answer);
    }
    let decoded = Decoder::new(Arc::clone(projection))
        .decode(&answer.body)
        .map_err(|error| FetchError::Unreadable(printable(&error.kind.to_string())))?;
    let object = decoded.object;
    if object.identity() != identity {
        return Err(FetchError::Other(object.identity().clone()));
    }
    Ok(Some(Arc::new(object)))
}

/// A 404 says that there is no such object only when it is about this object: a proxy, a
/// wrong path and a resource that is not served (any more) are answered with it too.
fn refused(identity: &Identity, answer: &Answer) -> Result<Option<Arc<Object>>, FetchError> {
    let status = parse_status(&answer.body);
    if answer.status == 404
        && status
            .as_ref()
            .is_some_and(|status| status.reason == "NotFound" && status.name == identity.name())
    {
        return Ok(None);
    }
    let asked = status.as_ref().and_then(|status| status.retry_after);
    let message = match status {
        Some(status) => format!("{}: {}", status.reason, status.message),
        None => {
            let text = String::from_utf8_lossy(&answer.body);
            text.trim().chars().take(EXCERPT).collect()
        }
    };
    Err(FetchError::Refused {
        status: answer.status,
        message: printable(&message),
        retry_after: answer.retry_after.or(asked.map(Duration::from_secs)),
    })
}

/// GETs of kube's client.
pub(super) fn of(access: &Access) -> Source {
    let access = access.clone();
    Arc::new(move |get| Box::pin(send(access.clone(), get)))
}

async fn send(access: Access, get: Get) -> Result<Answer, FetchError> {
    let path = object_path(&get.resource, &get.identity, &get.not_older_than)
        .ok_or(FetchError::Unnameable)?;
    let mut request = http::Request::get(path).header(header::ACCEPT, "application/json");
    if !access.loopback {
        request = request.header(header::ACCEPT_ENCODING, "gzip");
    }
    let broken = |error: &kube::Error| FetchError::Transport(chain(error));
    let request = request
        .body(kube::client::Body::empty())
        .map_err(|error| broken(&kube::Error::HttpError(error)))?;
    let response = access
        .client
        .send(request)
        .await
        .map_err(|error| broken(&error))?;
    let (parts, mut body) = response.into_parts();
    let gzip = parts
        .headers
        .get(header::CONTENT_ENCODING)
        .is_some_and(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"gzip"));
    let mut inflate = gzip.then(|| Inflate(MultiGzDecoder::new(Vec::new())));
    let mut text = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| broken(&error))?;
        // Trailers carry nothing for us.
        let Ok(chunk) = frame.into_data() else {
            continue;
        };
        // However much it expands to: see `SLICE`.
        for slice in chunk.chunks(SLICE) {
            match &mut inflate {
                Some(inflate) => text.extend(
                    inflate
                        .push(slice)
                        .map_err(|error| FetchError::Transport(format!("bad gzip: {error}")))?,
                ),
                None => text.extend_from_slice(slice),
            }
            if text.len() > OBJECT_BYTES {
                return Err(FetchError::TooLarge);
            }
        }
    }
    Ok(Answer {
        status: parts.status.as_u16(),
        retry_after: retry_after(&parts.headers),
        body: text.into(),
    })
}
