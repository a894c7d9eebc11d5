//! Owns the cutting of byte streams into JSON texts (contract W8): watch events
//! ([`WatchFrames`]) and elements of a list ([`ListFrames`]), however the bytes are
//! split into chunks. Does not check what is inside a frame ([`crate::decode`] does):
//! only strings and brackets are followed.

mod event;
mod list;
#[cfg(test)]
mod tests;

use crate::json::Specials;
use std::ops::Range;

pub use event::{Status, StatusCause, WatchEvent, parse_status, parse_watch_event};
pub use list::{ListFrames, ListMeta};

/// 16 MiB. etcd refuses objects of more than 1.5 MB and JSON is at most a few times
/// larger than what is stored there, so a longer text is no Kubernetes object.
pub const DEFAULT_FRAME_LIMIT: usize = 16 << 20;

/// A buffer that grew beyond this for one large frame is given back after it: 1 MiB
/// holds nearly every object, and a host has hundreds of watches.
const KEPT_CAPACITY: usize = 1 << 20;

/// Why a stream of bytes is not what was asked for. The scanner that returned it must
/// not be fed any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// One frame is longer than the limit; nothing beyond it was buffered.
    #[error("a JSON value is longer than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The stream ended inside a frame or a list.
    #[error("the response ended in the middle of a JSON value")]
    Truncated,
    /// The bytes are no JSON object: a proxy's HTML page, for instance.
    #[error("the response is not JSON; it starts with {excerpt:?}")]
    NotJson {
        /// The first bytes of it, at most 100.
        excerpt: String,
    },
    /// The bytes are JSON of another shape.
    #[error("expected {expected}, found {excerpt:?}")]
    Malformed {
        /// What should have stood there.
        expected: &'static str,
        /// What did: at most 100 bytes.
        excerpt: String,
    },
    /// An object came instead of a list.
    #[error("expected a list, but the server sent an object of kind {kind:?}")]
    NotAList {
        /// Its kind; empty when it has none.
        kind: String,
    },
    /// The server's own refusal came instead of a list.
    #[error(transparent)]
    Status(#[from] Status),
}

/// The beginning of `bytes`, for an error message.
fn excerpt(bytes: &[u8]) -> String {
    let start = bytes.get(..100).unwrap_or(bytes);
    String::from_utf8_lossy(start).into_owned()
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

/// Whether `raw`, a string with its quotes, is `name`, also when it is written with
/// escapes.
fn is_name(raw: &[u8], name: &str) -> bool {
    if memchr::memchr(b'\\', raw).is_some() {
        return serde_json::from_slice::<String>(raw).is_ok_and(|unescaped| unescaped == name);
    }
    raw.strip_prefix(b"\"")
        .and_then(|raw| raw.strip_suffix(b"\""))
        == Some(name.as_bytes())
}

/// Where the scan inside one string or container stands, between two chunks.
#[derive(Clone, Debug, Default)]
struct ValueScan {
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// Bytes of the value in the chunks before.
    before: usize,
    inner: Inner,
}

/// The containers that stand in the outermost one.
#[derive(Clone, Debug, Default)]
struct Inner {
    count: usize,
    /// Where in the value the last one stands.
    last: Range<usize>,
}

impl ValueScan {
    /// Scans on from `pos`; the position after the value when it ends in `bytes`.
    /// The first byte of a value must be a quote, `{` or `[`.
    fn end(&mut self, bytes: &[u8], pos: usize) -> Option<usize> {
        let end = self.scan(bytes, pos, self.before.wrapping_sub(pos));
        if end.is_none() {
            self.before += bytes.len().saturating_sub(pos);
        }
        end
    }

    /// Of a value that has ended: where the one container in it stands, if there is just one.
    fn sole_container(&self) -> Option<Range<usize>> {
        (self.inner.count == 1).then(|| self.inner.last.clone())
    }

    /// `origin` is added to a position in `bytes` to make it one in the value.
    #[inline]
    fn scan(&mut self, bytes: &[u8], mut pos: usize, origin: usize) -> Option<usize> {
        let mut specials = Specials::new(bytes, pos);
        loop {
            if self.in_string {
                if self.escaped && pos < bytes.len() {
                    self.escaped = false;
                    pos += 1;
                }
                pos = specials.find(bytes, pos);
                match bytes.get(pos)? {
                    b'"' => {
                        self.in_string = false;
                        pos += 1;
                        if self.depth == 0 {
                            return Some(pos);
                        }
                    }
                    b'\\' => {
                        self.escaped = true;
                        pos += 1;
                        continue;
                    }
                    // A control character: the decoder will refuse the frame.
                    _ => {
                        pos += 1;
                        continue;
                    }
                }
            }
            match bytes.get(pos)? {
                b'"' => self.in_string = true,
                b'{' | b'[' => {
                    self.depth += 1;
                    if self.depth == 2 {
                        self.inner.count += 1;
                        self.inner.last.start = origin.wrapping_add(pos);
                    }
                }
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    match self.depth {
                        0 => return Some(pos + 1),
                        1 => self.inner.last.end = origin.wrapping_add(pos + 1),
                        _ => {}
                    }
                }
                _ => {}
            }
            pos += 1;
        }
    }
}

/// Collects the bytes of one frame across chunks.
#[derive(Debug)]
struct Collected {
    bytes: Vec<u8>,
    limit: usize,
}

impl Collected {
    fn new(limit: usize) -> Self {
        Self {
            bytes: Vec::new(),
            limit,
        }
    }

    fn check(&self, more: usize) -> Result<(), FrameError> {
        if self.bytes.len().saturating_add(more) > self.limit {
            return Err(FrameError::TooLarge { limit: self.limit });
        }
        Ok(())
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), FrameError> {
        self.check(bytes.len())?;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// Hands over the frame whose last part is `bytes`; without copying when that is
    /// all of it.
    fn complete(&mut self, bytes: &[u8], each: &mut dyn FnMut(&[u8])) -> Result<(), FrameError> {
        if self.bytes.is_empty() {
            self.check(bytes.len())?;
            each(bytes);
            return Ok(());
        }
        self.push(bytes)?;
        each(&self.bytes);
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_CAPACITY);
        Ok(())
    }
}

/// One JSON object of a watch stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchFrame<'a> {
    /// Its text.
    pub text: &'a [u8],
    /// Where in the text the one object or list stands that is a member of it; `None` when
    /// there is none, or several.
    pub sole_container: Option<Range<usize>>,
}

impl<'a> From<&'a [u8]> for WatchFrame<'a> {
    /// A text of which nothing is known.
    fn from(text: &'a [u8]) -> Self {
        Self {
            text,
            sole_container: None,
        }
    }
}

/// Cuts a watch stream into its JSON objects, whatever stands between and inside
/// them: line breaks are not looked at.
#[derive(Debug)]
pub struct WatchFrames {
    collected: Collected,
    /// Set inside a frame.
    scan: Option<ValueScan>,
}

impl WatchFrames {
    /// A scanner that refuses frames of more than `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            collected: Collected::new(limit),
            scan: None,
        }
    }

    /// Takes the next bytes of the stream and calls `each` with every object that they
    /// complete, in order. An object that lies in `chunk` as a whole is not copied.
    ///
    /// # Errors
    /// [`FrameError::TooLarge`], and [`FrameError::NotJson`] when something else than an
    /// object starts.
    pub fn push(
        &mut self,
        chunk: &[u8],
        each: &mut dyn FnMut(WatchFrame<'_>),
    ) -> Result<(), FrameError> {
        let mut pos = 0;
        loop {
            let start = pos;
            let scan = match &mut self.scan {
                Some(scan) => scan,
                None => match chunk.get(pos) {
                    None => return Ok(()),
                    Some(b'{') => self.scan.insert(ValueScan::default()),
                    Some(&byte) if is_space(byte) => {
                        pos += 1;
                        continue;
                    }
                    Some(_) => {
                        let excerpt = excerpt(chunk.get(pos..).unwrap_or_default());
                        return Err(FrameError::NotJson { excerpt });
                    }
                },
            };
            let Some(end) = scan.end(chunk, pos) else {
                return self.collected.push(chunk.get(start..).unwrap_or_default());
            };
            let sole_container = scan.sole_container();
            self.scan = None;
            let last = chunk.get(start..end).unwrap_or_default();
            self.collected.complete(last, &mut |text| {
                each(WatchFrame {
                    text,
                    sole_container: sole_container.clone(),
                });
            })?;
            pos = end;
        }
    }

    /// Takes the end of the stream.
    ///
    /// # Errors
    /// [`FrameError::Truncated`] when it comes inside an object.
    pub fn finish(&mut self) -> Result<(), FrameError> {
        if self.scan.take().is_some() {
            self.collected.bytes.clear();
            return Err(FrameError::Truncated);
        }
        Ok(())
    }

    /// How many bytes of an unfinished object are held.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.collected.bytes.len()
    }
}
