//! Owns the reading of one watch event and of a Status.

use super::{FrameError, ValueScan, WatchFrame, excerpt, is_name, is_space};
use serde::Deserialize;
use std::ops::Range;

/// One frame of a watch stream, by its `type`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEvent<'a> {
    /// JSON text of an object that is new to the watch.
    Added(&'a [u8]),
    /// JSON text of an object that changed.
    Modified(&'a [u8]),
    /// JSON text of the last state of an object that is gone.
    Deleted(&'a [u8]),
    /// The watch has seen everything up to a version.
    Bookmark {
        /// That version.
        resource_version: String,
        /// Whether it ends the initial events of a streaming list.
        initial_events_end: bool,
    },
    /// The watch has failed; the server closes it.
    Error(Status),
    /// A `type` that this version does not know.
    Unknown(String),
}

/// A `kind: Status`: how an API server refuses.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("{code} {reason}: {message}")]
pub struct Status {
    /// The HTTP status that it stands for; 0 when absent.
    pub code: u16,
    /// One word for programs, such as `Expired`; may be empty.
    pub reason: String,
    /// A sentence for people; may be empty.
    pub message: String,
    /// The object that it is about; empty when it is about none, or about several.
    pub name: String,
    /// After how many seconds to try again.
    pub retry_after: Option<u64>,
    /// Single faults, such as `ResourceVersionTooLarge`.
    pub causes: Vec<StatusCause>,
}

/// One fault in a [`Status`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct StatusCause {
    /// One word for programs.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
    /// The field that it is about; may be empty.
    pub field: String,
}

/// Reads one frame of a watch stream; the order of its members does not matter. The
/// object is found by its brackets alone, so that one that is no valid JSON comes out
/// too and can be quarantined by its name.
///
/// # Errors
/// [`FrameError::Malformed`] when the frame has no `type`, or not the `object` that the
/// type calls for.
pub fn parse_watch_event<'a>(frame: &WatchFrame<'a>) -> Result<WatchEvent<'a>, FrameError> {
    let malformed = |expected| FrameError::Malformed {
        expected,
        excerpt: excerpt(frame.text),
    };
    let Envelope { kind, object } = Envelope::usual(frame)
        .or_else(|| Envelope::read(frame.text))
        .ok_or_else(|| malformed("a watch event"))?;
    let object = object.ok_or_else(|| malformed("a watch event with an `object`"));
    let kind = kind.ok_or_else(|| malformed("a watch event with a `type`"))?;
    let kind: String =
        serde_json::from_slice(kind).map_err(|_| malformed("a string as the `type`"))?;
    Ok(match kind.as_str() {
        "ADDED" => WatchEvent::Added(object?),
        "MODIFIED" => WatchEvent::Modified(object?),
        "DELETED" => WatchEvent::Deleted(object?),
        "BOOKMARK" => bookmark(object?).ok_or_else(|| malformed("a bookmark"))?,
        "ERROR" => WatchEvent::Error(
            parse_status(object?).ok_or_else(|| malformed("a Status in an ERROR event"))?,
        ),
        _ => WatchEvent::Unknown(kind),
    })
}

/// Reads a `kind: Status`, compact or pretty-printed; `None` when the text is anything
/// else.
#[must_use]
pub fn parse_status(json: &[u8]) -> Option<Status> {
    let raw: RawStatus = serde_json::from_slice(json).ok()?;
    let details = raw.details.unwrap_or_default();
    (raw.kind == "Status").then(|| Status {
        code: raw.code,
        reason: raw.reason.unwrap_or_default(),
        message: raw.message.unwrap_or_default(),
        name: details.name.unwrap_or_default(),
        retry_after: details.retry_after_seconds,
        causes: details.causes.unwrap_or_default(),
    })
}

fn bookmark(json: &[u8]) -> Option<WatchEvent<'static>> {
    let RawBookmark { metadata } = serde_json::from_slice(json).ok()?;
    let end = metadata.annotations.unwrap_or_default().initial_events_end;
    Some(WatchEvent::Bookmark {
        resource_version: metadata.resource_version,
        initial_events_end: end == "true",
    })
}

/// The members of a watch event, as they stand in the text.
#[derive(Default)]
struct Envelope<'a> {
    kind: Option<&'a [u8]>,
    object: Option<&'a [u8]>,
}

impl<'a> Envelope<'a> {
    /// Of an event as API servers write it, which needs not be scanned again.
    fn usual(frame: &WatchFrame<'a>) -> Option<Self> {
        let Range { start, end } = frame.sole_container.clone()?;
        if frame.text.get(end..)? != b"}" {
            return None;
        }
        let kind = frame.text.get(..start)?.strip_prefix(b"{\"type\":")?;
        let kind = kind.strip_suffix(b",\"object\":")?;
        let name = kind.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        name.iter().all(u8::is_ascii_alphabetic).then_some(Self {
            kind: Some(kind),
            object: frame.text.get(start..end),
        })
    }

    fn read(frame: &'a [u8]) -> Option<Self> {
        let mut envelope = Self::default();
        let mut rest = frame
            .trim_ascii_start()
            .strip_prefix(b"{")?
            .trim_ascii_start();
        if rest.first() == Some(&b'}') {
            return Some(envelope);
        }
        loop {
            let (name, after) = rest.split_at_checked(value_end(rest)?)?;
            let value = after
                .trim_ascii_start()
                .strip_prefix(b":")?
                .trim_ascii_start();
            let (value, after) = value.split_at_checked(value_end(value)?)?;
            if is_name(name, "type") {
                envelope.kind = Some(value);
            } else if is_name(name, "object") {
                envelope.object = Some(value);
            }
            match after.trim_ascii_start().split_first()? {
                (b',', after) => rest = after.trim_ascii_start(),
                (b'}', _) => return Some(envelope),
                _ => return None,
            }
        }
    }
}

/// The length of the value that `bytes` start with.
fn value_end(bytes: &[u8]) -> Option<usize> {
    match bytes.first()? {
        b'"' | b'{' | b'[' => ValueScan::default().end(bytes, 0),
        _ => bytes
            .iter()
            .position(|&byte| is_space(byte) || matches!(byte, b',' | b'}')),
    }
}

#[derive(Deserialize)]
struct RawStatus {
    kind: String,
    #[serde(default)]
    code: u16,
    reason: Option<String>,
    message: Option<String>,
    details: Option<RawDetails>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDetails {
    name: Option<String>,
    retry_after_seconds: Option<u64>,
    causes: Option<Vec<StatusCause>>,
}

#[derive(Deserialize)]
struct RawBookmark {
    metadata: RawMetadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawMetadata {
    resource_version: String,
    annotations: Option<RawAnnotations>,
}

#[derive(Default, Deserialize)]
struct RawAnnotations {
    #[serde(default, rename = "k8s.io/initial-events-end")]
    initial_events_end: String,
}
