//! Owns the judgement of failures: which of the few kinds, each with a cure of
//! its own, a status code, a Status or a broken stream is.

use std::{fmt, time::Duration};

use crate::frame::{FrameError, Status};

/// A failure, by its cure. The text is for humans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// Do the same again later.
    Transient {
        text: String,
        retry_after: Option<Duration>,
    },
    /// The right is missing. Do the same again later.
    Forbidden {
        text: String,
        retry_after: Option<Duration>,
    },
    /// HTTP 404: ask discovery whether the resource is still served.
    Missing { text: String },
    /// The resourceVersion or the continue token is too old: list again.
    Expired { text: String },
    /// The resourceVersion is from the future (etcd was restored from a backup,
    /// or this server lags behind): list again without one.
    FutureVersion { text: String },
    /// The server does not take the request: ask in another way.
    Rejected { text: String },
    /// The body is not what it should be. The same request may bring the same again.
    Nonsense { text: String },
    /// Something was missed, or may have been: list again.
    Missed { text: String },
    /// A streaming list without its end bookmark. `certain` when the server
    /// was given all the time it could need.
    NoEndBookmark { text: String, certain: bool },
}

impl Problem {
    pub(super) fn transient(text: impl Into<String>) -> Self {
        Self::Transient {
            text: text.into(),
            retry_after: None,
        }
    }

    /// A streaming list that broke off before its end bookmark. Something on the way may not
    /// let a long answer through; pages are short.
    pub(super) fn broken_list(why: impl fmt::Display) -> Self {
        Self::Missed {
            text: format!("a streaming list broke off before its end: {why}"),
        }
    }

    /// What an HTTP response other than 200 means.
    pub(super) fn of_response(
        code: u16,
        header_retry_after: Option<Duration>,
        body: &[u8],
        status: Option<Status>,
    ) -> Self {
        match status {
            Some(status) => Self::of_status(code, header_retry_after, &status),
            None => {
                let said = excerpt(body);
                let text = if said.is_empty() {
                    format!("HTTP {code}")
                } else {
                    format!("HTTP {code}: {said}")
                };
                // A proxy's page says nothing about what the API server serves. The server's
                // own 404 for an unknown group is plain text.
                if code == 404 && is_markup(body) {
                    return Self::transient(text);
                }
                Self::of_code(code, text, header_retry_after)
            }
        }
    }

    /// What a Status in the body of an HTTP response means.
    fn of_status(code: u16, header_retry_after: Option<Duration>, status: &Status) -> Self {
        let text = describe(code, status);
        let retry_after = header_retry_after.or(status.retry_after.map(Duration::from_secs));
        if is_expired(code, status) {
            Self::Expired { text }
        } else if is_future_version(status) {
            Self::FutureVersion { text }
        } else {
            Self::of_code(code, text, retry_after)
        }
    }

    fn of_code(code: u16, text: String, retry_after: Option<Duration>) -> Self {
        match code {
            403 => Self::Forbidden { text, retry_after },
            404 => Self::Missing { text },
            410 => Self::Expired { text },
            401 | 408 | 425 | 429 => Self::Transient { text, retry_after },
            400..=499 => Self::Rejected { text },
            _ => Self::Transient { text, retry_after },
        }
    }

    /// What a Status within a 200 response means.
    pub(super) fn of_event(status: &Status) -> Self {
        match Self::of_status(status.code, None, status) {
            // The server is well enough to answer, and something in this stream makes it
            // fail; an event that its storage cannot decode will be there next time.
            Self::Transient {
                text,
                retry_after: None,
            }
            | Self::Rejected { text } => Self::Nonsense { text },
            problem => problem,
        }
    }

    /// What an unreadable body means.
    pub(super) fn of_frame(error: FrameError) -> Self {
        match error {
            FrameError::Truncated => Self::transient(error.to_string()),
            FrameError::Status(status) => Self::of_event(&status),
            FrameError::TooLarge { .. }
            | FrameError::NotJson { .. }
            | FrameError::Malformed { .. }
            | FrameError::NotAList { .. } => Self::Nonsense {
                text: error.to_string(),
            },
        }
    }

    pub(super) fn text(&self) -> &str {
        match self {
            Self::Transient { text, .. }
            | Self::Forbidden { text, .. }
            | Self::Missing { text }
            | Self::Expired { text }
            | Self::FutureVersion { text }
            | Self::Rejected { text }
            | Self::Nonsense { text }
            | Self::Missed { text }
            | Self::NoEndBookmark { text, .. } => text,
        }
    }

    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Transient { retry_after, .. } | Self::Forbidden { retry_after, .. } => {
                *retry_after
            }
            Self::Missing { .. }
            | Self::Expired { .. }
            | Self::FutureVersion { .. }
            | Self::Rejected { .. }
            | Self::Nonsense { .. }
            | Self::Missed { .. }
            | Self::NoEndBookmark { .. } => None,
        }
    }
}

/// Whether a body is HTML or XML.
fn is_markup(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"<")
}

fn is_expired(code: u16, status: &Status) -> bool {
    code == 410 || status.code == 410 || status.reason == "Expired" || status.reason == "Gone"
}

fn is_future_version(status: &Status) -> bool {
    status
        .causes
        .iter()
        .any(|cause| cause.reason == "ResourceVersionTooLarge")
        || status
            .message
            .to_ascii_lowercase()
            .contains("too large resource version")
}

fn describe(code: u16, status: &Status) -> String {
    let message = excerpt(status.message.as_bytes());
    match (message.is_empty(), status.reason.is_empty()) {
        (false, _) => format!("HTTP {code}: {message}"),
        (true, false) => format!("HTTP {code}: {}", excerpt(status.reason.as_bytes())),
        (true, true) => format!("HTTP {code}"),
    }
}

/// At most 300 bytes of what a server said, on one line.
pub(crate) fn excerpt(body: &[u8]) -> String {
    const LONGEST: usize = 300;
    let start = body.get(..LONGEST).unwrap_or(body);
    let mut line = String::new();
    for word in String::from_utf8_lossy(start).split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if start.len() < body.len() {
        line.push('…');
    }
    line
}
