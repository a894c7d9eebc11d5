//! Owns the cutting of a list response into the elements of its `items`.

use super::{Collected, FrameError, ValueScan, excerpt, is_name, is_space};
use serde::Deserialize;

/// What surrounds `items` (kind, metadata, or a whole Status) is a few hundred bytes;
/// 64 KiB leaves room for Statuses with many causes.
const HEAD_LIMIT: usize = 64 << 10;

/// What a list says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListMeta {
    /// `apiVersion` of the list.
    pub api_version: String,
    /// `kind` of the list, such as `PodList`.
    pub kind: String,
    /// The version that a watch may start from.
    pub resource_version: String,
    /// Set when there are more pages.
    pub continue_token: Option<String>,
    /// How many objects the other pages hold, when the server knows.
    pub remaining: Option<u64>,
}

/// Cuts a list response into the elements of its `items`; `metadata` may stand before
/// or after them, and `items: null` is an empty list.
#[derive(Debug)]
pub struct ListFrames {
    state: State,
    element: Collected,
    /// The members of the list but `items`, as the text of a JSON object without its
    /// closing brace.
    head: Collected,
    key: Vec<u8>,
    scan: ValueScan,
    items_seen: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the opening brace.
    Start,
    /// Before a member name, or the closing brace of an empty object.
    FirstKey,
    /// After a comma, before a member name.
    Key,
    /// Inside a member name.
    InKey,
    /// Before a colon.
    Colon,
    /// Before the value of `items`.
    Items,
    /// Inside `null` as the value of `items`; so many letters are passed.
    ItemsNull(usize),
    /// Before another value.
    Value,
    /// Inside a string or container.
    InValue,
    /// Inside a number, `true`, `false` or `null`.
    InScalar,
    /// After a value, before a comma or the closing brace.
    AfterValue,
    /// Before an element, or the closing bracket of an empty list.
    FirstElement,
    /// After a comma, before an element.
    Element,
    /// Inside an element.
    InElement,
    /// After an element, before a comma or the closing bracket.
    AfterElement,
    /// After the closing brace.
    Done,
}

impl ListFrames {
    /// A scanner that refuses elements of more than `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            state: State::Start,
            element: Collected::new(limit),
            head: Collected::new(HEAD_LIMIT),
            key: Vec::new(),
            scan: ValueScan::default(),
            items_seen: false,
        }
    }

    /// How many bytes of an unfinished element are held.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.element.bytes.len()
    }

    /// Takes the next bytes of the response and calls `each` with every element of
    /// `items` that they complete, in order. An element that lies in `chunk` as a whole
    /// is not copied.
    ///
    /// # Errors
    /// [`FrameError::TooLarge`], [`FrameError::NotJson`] and [`FrameError::Malformed`].
    pub fn push(&mut self, chunk: &[u8], each: &mut dyn FnMut(&[u8])) -> Result<(), FrameError> {
        let mut pos = 0;
        while let Some(&byte) = chunk.get(pos) {
            let here = chunk.get(pos..).unwrap_or_default();
            match self.state {
                State::InKey => {
                    let end = self.scan.end(here, 0);
                    let part = here.get(..end.unwrap_or(here.len())).unwrap_or_default();
                    self.key.extend_from_slice(part);
                    if self.key.len() > HEAD_LIMIT {
                        return Err(FrameError::TooLarge { limit: HEAD_LIMIT });
                    }
                    pos += part.len();
                    if end.is_some() {
                        self.state = State::Colon;
                    }
                }
                State::InValue => {
                    let end = self.scan.end(here, 0);
                    let part = here.get(..end.unwrap_or(here.len())).unwrap_or_default();
                    self.head.push(part)?;
                    pos += part.len();
                    if end.is_some() {
                        self.state = State::AfterValue;
                    }
                }
                State::InScalar if is_space(byte) || matches!(byte, b',' | b'}') => {
                    self.state = State::AfterValue;
                }
                State::InScalar => {
                    self.head.push(&[byte])?;
                    pos += 1;
                }
                State::InElement => match self.scan.end(here, 0) {
                    Some(end) => {
                        self.element
                            .complete(here.get(..end).unwrap_or_default(), each)?;
                        self.state = State::AfterElement;
                        pos += end;
                    }
                    None => return self.element.push(here),
                },
                _ if is_space(byte) => pos += 1,
                _ => pos += self.between(byte, here)?,
            }
        }
        Ok(())
    }

    /// Takes a byte outside all values; how many bytes were consumed: 0 or 1.
    fn between(&mut self, byte: u8, here: &[u8]) -> Result<usize, FrameError> {
        let malformed = |expected| FrameError::Malformed {
            expected,
            excerpt: excerpt(here),
        };
        self.state = match (self.state, byte) {
            (State::Start, b'{') => {
                self.head.push(b"{")?;
                State::FirstKey
            }
            (State::Start, _) => {
                return Err(FrameError::NotJson {
                    excerpt: excerpt(here),
                });
            }
            (State::FirstKey, b'}') | (State::AfterValue, b'}') => State::Done,
            (State::FirstKey | State::Key, b'"') => {
                self.key.clear();
                self.scan = ValueScan::default();
                self.state = State::InKey;
                return Ok(0);
            }
            (State::FirstKey | State::Key, _) => return Err(malformed("a member name")),
            (State::Colon, b':') if is_name(&self.key, "items") => {
                self.items_seen = true;
                State::Items
            }
            (State::Colon, b':') => {
                if self.head.bytes.len() > 1 {
                    self.head.push(b",")?;
                }
                self.head.push(&self.key)?;
                self.head.push(b":")?;
                State::Value
            }
            (State::Colon, _) => return Err(malformed("`:`")),
            (State::Items, b'[') => State::FirstElement,
            (State::Items, b'n') => State::ItemsNull(1),
            (State::ItemsNull(1), b'u') => State::ItemsNull(2),
            (State::ItemsNull(2), b'l') => State::ItemsNull(3),
            (State::ItemsNull(3), b'l') => State::AfterValue,
            (State::Items | State::ItemsNull(_), _) => {
                return Err(malformed("an array as the value of `items`"));
            }
            (State::Value, b'"' | b'{' | b'[') => {
                self.scan = ValueScan::default();
                self.state = State::InValue;
                return Ok(0);
            }
            (State::Value, b'-' | b'0'..=b'9' | b'a'..=b'z') => {
                self.state = State::InScalar;
                return Ok(0);
            }
            (State::Value, _) => return Err(malformed("a value")),
            (State::AfterValue, b',') => State::Key,
            (State::AfterValue, _) => return Err(malformed("`,` or `}`")),
            (State::FirstElement | State::AfterElement, b']') => State::AfterValue,
            (State::FirstElement | State::Element, b'{') => {
                self.scan = ValueScan::default();
                self.state = State::InElement;
                return Ok(0);
            }
            (State::FirstElement | State::Element, _) => {
                return Err(malformed("an object as an element of `items`"));
            }
            (State::AfterElement, b',') => State::Element,
            (State::AfterElement, _) => return Err(malformed("`,` or `]`")),
            (State::Done, _) => return Err(malformed("the end of the list")),
            (State::InKey | State::InValue | State::InScalar | State::InElement, _) => self.state,
        };
        Ok(1)
    }

    /// Takes the end of the response.
    ///
    /// # Errors
    /// [`FrameError::Truncated`] when it comes too early, [`FrameError::Status`] when a
    /// Status and [`FrameError::NotAList`] when another object came instead of a list.
    pub fn finish(mut self) -> Result<ListMeta, FrameError> {
        if self.state != State::Done {
            return Err(FrameError::Truncated);
        }
        self.head.bytes.push(b'}');
        if let Some(status) = super::parse_status(&self.head.bytes) {
            return Err(FrameError::Status(status));
        }
        let head: Head = serde_json::from_slice(&self.head.bytes).map_err(|_| {
            let excerpt = excerpt(&self.head.bytes);
            FrameError::Malformed {
                expected: "the metadata of a list",
                excerpt,
            }
        })?;
        if !self.items_seen && !head.kind.ends_with("List") {
            return Err(FrameError::NotAList { kind: head.kind });
        }
        Ok(ListMeta {
            api_version: head.api_version,
            kind: head.kind,
            resource_version: head.metadata.resource_version,
            continue_token: Some(head.metadata.token).filter(|token| !token.is_empty()),
            remaining: head.metadata.remaining_item_count,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    metadata: HeadMetadata,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct HeadMetadata {
    #[serde(default)]
    resource_version: String,
    #[serde(default, rename = "continue")]
    token: String,
    #[serde(default)]
    remaining_item_count: Option<u64>,
}
