//! Owns what must hold of `haptic_core::frame` for any bytes, however they are cut.
//!
//! The first line of an input says how: its first byte, times 4, is the limit on frames
//! (no byte: the default), the low 6 bits of the others are the lengths of the chunks,
//! over and over. What follows is read as a watch stream and as a list.

use super::repeats::repeats_a_name;
use haptic_core::frame::{
    DEFAULT_FRAME_LIMIT, FrameError, ListFrames, ListMeta, WatchEvent, WatchFrames, parse_status,
    parse_watch_event,
};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// Frames, and how it ended; errors without their excerpts, which depend on the cuts.
type Outcome<T> = (Vec<Vec<u8>>, Result<T, FrameError>);

/// Panics when an input breaks what is promised.
pub fn check(input: &[u8]) {
    let newline = input.iter().position(|&byte| byte == b'\n');
    let (head, stream) = match newline {
        Some(at) => (&input[..at], &input[at + 1..]),
        None => (&b""[..], input),
    };
    let (limit, lengths) = match head.split_first() {
        Some((&limit, lengths)) => (usize::from(limit) * 4, lengths),
        None => (DEFAULT_FRAME_LIMIT, head),
    };

    let whole = watch(&[stream], limit);
    assert_eq!(whole, watch(&chunks(stream, lengths), limit), "cut anyhow");
    assert_eq!(whole, watch(&chunks(stream, &[1]), limit), "byte by byte");
    watch_against_serde_json(stream, limit, &whole);
    whole.0.iter().for_each(|frame| event(frame));

    let whole = list(&[stream], limit);
    assert_eq!(whole, list(&chunks(stream, lengths), limit), "cut anyhow");
    assert_eq!(whole, list(&chunks(stream, &[1]), limit), "byte by byte");
    list_against_serde_json(stream, limit, &whole);

    // What no scanner has let through.
    event(stream);
}

/// `stream` in pieces of `lengths`, over and over.
fn chunks<'a>(stream: &'a [u8], lengths: &[u8]) -> Vec<&'a [u8]> {
    let lengths: Vec<_> = lengths.iter().map(|n| usize::from(n & 0x3F)).collect();
    if lengths.iter().all(|&length| length == 0) {
        return vec![stream];
    }
    let mut lengths = lengths.into_iter().cycle();
    let mut rest = stream;
    let mut chunks = Vec::new();
    while !rest.is_empty() {
        let length = lengths.next().unwrap_or(1).min(rest.len());
        let (chunk, after) = rest.split_at(length);
        chunks.push(chunk);
        rest = after;
    }
    chunks
}

fn watch(chunks: &[&[u8]], limit: usize) -> Outcome<()> {
    let mut frames = Vec::new();
    let mut scanner = WatchFrames::new(limit);
    let pushed = chunks.iter().try_for_each(|chunk| {
        let pushed = scanner.push(chunk, &mut |frame| {
            let unknown = parse_watch_event(&frame.text.into());
            assert_eq!(
                parse_watch_event(&frame),
                unknown,
                "by what the scanner knows"
            );
            frames.push(frame.text.to_vec());
        });
        assert!(scanner.buffered() <= limit, "more buffered than the limit");
        pushed
    });
    let end = pushed.and_then(|()| scanner.finish());
    assert!(frames.iter().all(|frame| frame.len() <= limit));
    (frames, end.map_err(without_excerpt))
}

fn list(chunks: &[&[u8]], limit: usize) -> Outcome<ListMeta> {
    let mut frames = Vec::new();
    let mut scanner = ListFrames::new(limit);
    let pushed = chunks.iter().try_for_each(|chunk| {
        let pushed = scanner.push(chunk, &mut |frame| frames.push(frame.to_vec()));
        assert!(scanner.buffered() <= limit, "more buffered than the limit");
        pushed
    });
    let end = pushed.and_then(|()| scanner.finish());
    assert!(frames.iter().all(|frame| frame.len() <= limit));
    (frames, end.map_err(without_excerpt))
}

fn without_excerpt(error: FrameError) -> FrameError {
    // 100 bytes, each of which can become a replacement character of three.
    let bounded = |excerpt: String| assert!(excerpt.len() <= 300, "{excerpt:?} is long");
    match error {
        FrameError::NotJson { excerpt } => {
            bounded(excerpt);
            FrameError::NotJson {
                excerpt: String::new(),
            }
        }
        FrameError::Malformed { expected, excerpt } => {
            bounded(excerpt);
            FrameError::Malformed {
                expected,
                excerpt: String::new(),
            }
        }
        other @ (FrameError::TooLarge { .. }
        | FrameError::Truncated
        | FrameError::NotAList { .. }
        | FrameError::Status(_)) => other,
    }
}

fn after_space(bytes: &[u8]) -> &[u8] {
    let space = |byte: &u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
    let start = bytes.iter().position(|byte| !space(byte));
    &bytes[start.unwrap_or(bytes.len())..]
}

/// As far as the stream is JSON, its frames are its values; they end where it ends or at
/// the first value that is no object.
fn watch_against_serde_json(stream: &[u8], limit: usize, (frames, end): &Outcome<()>) {
    let mut values = serde_json::Deserializer::from_slice(stream).into_iter::<IgnoredAny>();
    let not_json = Err(FrameError::NotJson {
        excerpt: String::new(),
    });
    let too_large = Err(FrameError::TooLarge { limit });
    let mut start = 0;
    for count in 0.. {
        let next = values.next();
        let rest = after_space(&stream[start..]);
        let text = match &next {
            Some(Ok(IgnoredAny)) => after_space(&stream[start..values.byte_offset()]),
            _ => rest,
        };
        let expected = match next {
            None => Ok(()),
            _ if !rest.starts_with(b"{") => not_json.clone(),
            Some(Ok(_)) if text.len() <= limit => {
                assert_eq!(frames.get(count).map(Vec::as_slice), Some(text));
                start = values.byte_offset();
                continue;
            }
            Some(Ok(_)) => too_large,
            Some(Err(error)) if !error.is_eof() => return,
            // `"\u"` with less than four characters behind it: serde_json misses these,
            // also when they are no digits.
            Some(Err(_)) if rest[rest.len().saturating_sub(6)..].contains(&b'\\') => return,
            Some(Err(_)) if text.len() > limit => too_large,
            Some(Err(_)) => Err(FrameError::Truncated),
        };
        assert_eq!((frames.len(), end), (count, &expected));
        return;
    }
}

/// An event is what a tree of its frame says.
fn event(frame: &[u8]) {
    let ours = parse_watch_event(&frame.into());
    if let Ok(
        WatchEvent::Added(object) | WatchEvent::Modified(object) | WatchEvent::Deleted(object),
    ) = &ours
    {
        assert!(frame.as_ptr_range().contains(&object.as_ptr()), "a copy");
    }
    if let Err(error) = ours.clone() {
        without_excerpt(error);
    }
    let Ok(members) = serde_json::from_slice::<Members>(frame) else {
        return;
    };
    if repeats_a_name(frame) {
        return;
    }
    let Some(Value::String(kind)) = members.get("type") else {
        assert!(ours.is_err(), "{ours:?} without a type");
        return;
    };
    let Some(object) = members.get("object") else {
        let unknown =
            matches!(&ours, Ok(WatchEvent::Unknown(name)) if name == kind && !known(kind));
        assert!(ours.is_err() || unknown, "{ours:?} without an object");
        return;
    };
    let is = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).ok().as_ref() == Some(object);
    let agrees = match &ours {
        Ok(WatchEvent::Added(bytes)) => kind == "ADDED" && is(bytes),
        Ok(WatchEvent::Modified(bytes)) => kind == "MODIFIED" && is(bytes),
        Ok(WatchEvent::Deleted(bytes)) => kind == "DELETED" && is(bytes),
        Ok(WatchEvent::Bookmark {
            resource_version,
            initial_events_end,
        }) => {
            let metadata = &object["metadata"];
            let end = &metadata["annotations"]["k8s.io/initial-events-end"];
            kind == "BOOKMARK"
                && metadata["resourceVersion"] == **resource_version
                && *initial_events_end == (end == "true")
        }
        Ok(WatchEvent::Error(status)) => kind == "ERROR" && is_status(object, status),
        Ok(WatchEvent::Unknown(name)) => name == kind && !known(kind),
        Err(_) => match kind.as_str() {
            "BOOKMARK" => !plain_bookmark(object),
            "ERROR" => !plain_status(object),
            _ => false,
        },
    };
    assert!(agrees, "{ours:?} from {kind:?} with {object}");
}

fn known(kind: &str) -> bool {
    matches!(
        kind,
        "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK" | "ERROR"
    )
}

/// A bookmark as API servers write it, which must be understood.
fn plain_bookmark(object: &Value) -> bool {
    let metadata = &object["metadata"];
    metadata["resourceVersion"].is_string() && metadata.get("annotations").is_none()
}

/// A Status as API servers write it, which must be understood.
fn plain_status(object: &Value) -> bool {
    object["kind"] == "Status"
        && object["code"].as_u64().is_some_and(|code| code < 600)
        && object["message"].is_string()
        && object["reason"].is_string()
        && object.get("details").is_none()
}

fn is_status(object: &Value, status: &haptic_core::frame::Status) -> bool {
    object["kind"] == "Status"
        && object["code"].as_u64().unwrap_or(0) == u64::from(status.code)
        && object["reason"].as_str().unwrap_or("") == status.reason
        && object["message"].as_str().unwrap_or("") == status.message
        && object["details"]["retryAfterSeconds"].as_u64() == status.retry_after
        && object["details"]["causes"].as_array().map_or(0, Vec::len) == status.causes.len()
}

/// A list is what a tree of it says.
fn list_against_serde_json(text: &[u8], limit: usize, (frames, end): &Outcome<ListMeta>) {
    let Ok(Members(members)) = serde_json::from_slice(text) else {
        assert!(
            end.is_err() || after_space(text).starts_with(b"{"),
            "{end:?}"
        );
        return;
    };
    if repeats_a_name(text) || *end == Err(FrameError::TooLarge { limit }) {
        return;
    }
    let (items, head): (Vec<_>, Vec<_>) =
        members.into_iter().partition(|(name, _)| name == "items");
    let items = items.into_iter().next().map(|(_, items)| items);
    let head = Value::Object(Map::from_iter(head));
    let elements = match &items {
        None | Some(Value::Null) => &[][..],
        Some(Value::Array(elements)) if elements.iter().all(Value::is_object) => elements,
        Some(_) => {
            assert!(matches!(end, Err(FrameError::Malformed { .. })), "{end:?}");
            return;
        }
    };
    let found: Vec<Value> = frames
        .iter()
        .map(|frame| serde_json::from_slice(frame).expect("a part of valid JSON"))
        .collect();
    assert_eq!(found, elements, "the elements of the list");
    let string = |name: &str| head.get(name).is_none_or(Value::is_string);
    match end {
        Ok(meta) => {
            let metadata = &head["metadata"];
            let is = |value: &Value, text: &str| value.as_str().unwrap_or("") == text;
            assert!(is(&head["kind"], &meta.kind));
            assert!(is(&head["apiVersion"], &meta.api_version));
            assert!(is(&metadata["resourceVersion"], &meta.resource_version));
            let token = meta.continue_token.as_deref().unwrap_or("");
            assert!(is(&metadata["continue"], token));
            assert_eq!(metadata["remainingItemCount"].as_u64(), meta.remaining);
            assert!(items.is_some() || meta.kind.ends_with("List"));
        }
        Err(FrameError::Status(status)) => {
            assert!(is_status(&head, status));
            assert_eq!(
                parse_status(head.to_string().as_bytes()).as_ref(),
                Some(status)
            );
        }
        Err(FrameError::NotAList { kind }) => {
            assert!(items.is_none() && !kind.ends_with("List"));
            assert_eq!(head["kind"].as_str().unwrap_or(""), kind);
        }
        Err(FrameError::Malformed { .. }) => {
            let metadata = &head["metadata"];
            let empty = metadata.as_object().is_some_and(Map::is_empty);
            let plain = empty && string("apiVersion") && string("kind");
            assert!(!plain, "{end:?} for {head}");
        }
        Err(FrameError::TooLarge { .. }) => assert!(text.len() > 60_000, "{end:?}"),
        Err(FrameError::NotJson { .. } | FrameError::Truncated) => panic!("{end:?} for {head}"),
    }
}

/// The members of a JSON object, in order.
pub(crate) struct Members(pub(crate) Vec<(String, Value)>);

impl Members {
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        let mut members = self.0.iter();
        members.find(|(own, _)| own == name).map(|(_, value)| value)
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}
