//! Owns the faults that look into what is sent: the events of a stream, one by one, and
//! the items of a list.

use bytes::Bytes;
use serde_json::{Value, json};

use super::Acting;
use super::log::Logged;
use super::refusals::{status_object, too_old};
use super::rule::{Fault, How, Place};
use crate::json;

/// A part of an answer on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    Data(Bytes),
    /// Nothing comes after this but what [`How`] says.
    Break(How),
}

/// One fault, ready to be used.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Edit {
    /// Drops the bookmark that ends the initial events.
    Withhold,
    /// Puts this in after so many events or items.
    Inject {
        after: u64,
        event: String,
        object: Value,
    },
    /// Makes objects of this name large.
    Pad { name: String, bytes: usize },
    /// Ends the stream with this event after so many others.
    Error { after: u64, status: String },
    /// Breaks off so many bytes into the event after so many others.
    Break { after: u64, bytes: usize, how: How },
}

impl Edit {
    /// What a fault does to events and items, if it does anything.
    pub(crate) fn of(acting: &Acting, asked: &Logged, newest: u64) -> Option<Self> {
        match acting.fault.clone() {
            Fault::WithholdBookmark => Some(Self::Withhold),
            Fault::Inject {
                after,
                event,
                object,
            } => Some(Self::Inject {
                after,
                event,
                object,
            }),
            Fault::Pad { name, bytes } => Some(Self::Pad { name, bytes }),
            Fault::Expired { after: Some(after) } => Some(Self::Error {
                after,
                status: too_old(asked, newest).to_value().to_string(),
            }),
            Fault::ErrorEvent { after, status } => {
                let value = status_object(&status);
                let status = if status.pretty {
                    format!("{value:#}")
                } else {
                    value.to_string()
                };
                Some(Self::Error { after, status })
            }
            Fault::Break {
                at: Place::Event { after, bytes },
                how,
            } => Some(Self::Break { after, bytes, how }),
            Fault::Status(_)
            | Fault::Html { .. }
            | Fault::Unauthorized { .. }
            | Fault::Forbidden { .. }
            | Fault::Expired { after: None }
            | Fault::TooLargeVersion
            | Fault::RefuseStreaming { .. }
            | Fault::ExpireContinue { .. }
            | Fault::Delay { .. }
            | Fault::Hold { .. }
            | Fault::Lag { .. }
            | Fault::Break { .. }
            | Fault::Coalesce { .. }
            | Fault::Gzip { .. }
            | Fault::Split { .. } => None,
        }
    }
}

/// A stream whose events are edited.
#[derive(Debug)]
pub(crate) struct Events {
    edits: Vec<Edit>,
    /// Events of the server that were let through.
    sent: u64,
    /// The beginning of an event.
    rest: Vec<u8>,
    broken: bool,
}

impl Events {
    /// What comes before the first event is put into `out`.
    pub(crate) fn new(edits: Vec<Edit>, out: &mut Vec<Piece>) -> Self {
        let mut events = Self {
            edits,
            sent: 0,
            rest: Vec::new(),
            broken: false,
        };
        events.between(out);
        events
    }

    /// Takes bytes of the server's; appends what is sent instead to `out`.
    pub(crate) fn push(&mut self, chunk: &[u8], out: &mut Vec<Piece>) {
        for part in chunk.split_inclusive(|byte| *byte == b'\n') {
            if self.broken {
                return;
            }
            self.rest.extend_from_slice(part);
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.rest);
                self.event(line, out);
            }
        }
    }

    fn event(&mut self, mut line: Vec<u8>, out: &mut Vec<Piece>) {
        let mut cut = None;
        for edit in &self.edits {
            match edit {
                Edit::Withhold if ends_initial_events(&line) => return,
                Edit::Pad { name, bytes } => pad_event(&mut line, name, *bytes),
                Edit::Break { after, bytes, how } if *after == self.sent => {
                    cut = cut.or(Some((*bytes, *how)));
                }
                Edit::Withhold | Edit::Break { .. } | Edit::Inject { .. } | Edit::Error { .. } => {}
            }
        }
        match cut {
            Some((bytes, how)) => {
                // Not the whole event: at least the end of its line is missing.
                line.truncate(bytes.min(line.len() - 1));
                out.push(Piece::Data(line.into()));
                self.stop(how, out);
            }
            None => {
                out.push(Piece::Data(line.into()));
                self.sent += 1;
                self.between(out);
            }
        }
    }

    /// What happens after the events that were sent so far, before the next one comes.
    fn between(&mut self, out: &mut Vec<Piece>) {
        for edit in &self.edits {
            match edit {
                Edit::Inject {
                    after,
                    event,
                    object,
                } if *after == self.sent => {
                    let line = format!("{}\n", json!({"type": event, "object": object}));
                    out.push(Piece::Data(line.into()));
                }
                Edit::Error { after, status } if *after == self.sent => {
                    let line = format!("{{\"type\":\"ERROR\",\"object\":{status}}}\n");
                    out.push(Piece::Data(line.into()));
                    return self.stop(How::End, out);
                }
                Edit::Break {
                    after,
                    bytes: 0,
                    how,
                } if *after == self.sent => {
                    let how = *how;
                    return self.stop(how, out);
                }
                Edit::Inject { .. }
                | Edit::Error { .. }
                | Edit::Break { .. }
                | Edit::Withhold
                | Edit::Pad { .. } => {}
            }
        }
    }

    fn stop(&mut self, how: How, out: &mut Vec<Piece>) {
        self.broken = true;
        out.push(Piece::Break(how));
    }
}

/// Whether an event is the bookmark that ends a streaming list.
fn ends_initial_events(line: &[u8]) -> bool {
    serde_json::from_slice::<Value>(line).is_ok_and(|event| {
        json::text(&event, &["type"]) == "BOOKMARK"
            && json::at(&event, &["object", "metadata", "annotations"])
                .and_then(|annotations| annotations.get("k8s.io/initial-events-end"))
                .is_some()
    })
}

fn pad_event(line: &mut Vec<u8>, name: &str, bytes: usize) {
    let Ok(mut event) = serde_json::from_slice::<Value>(line) else {
        return;
    };
    if event
        .get_mut("object")
        .is_some_and(|object| pad(object, name, bytes))
    {
        *line = format!("{event}\n").into_bytes();
    }
}

/// Adds an annotation to an object of this name; false for others.
fn pad(object: &mut Value, name: &str, bytes: usize) -> bool {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return false;
    };
    if metadata.get("name").and_then(Value::as_str) != Some(name) {
        return false;
    }
    json::object_mut(metadata, "annotations").insert("padding".into(), "x".repeat(bytes).into());
    true
}

/// A list with its items edited; the same bytes where there are none to edit.
pub(crate) fn edit_list(edits: &[Edit], body: Bytes) -> Bytes {
    let Ok(mut list) = serde_json::from_slice::<Value>(&body) else {
        return body;
    };
    let Some(items) = list.get_mut("items").and_then(Value::as_array_mut) else {
        return body;
    };
    for edit in edits {
        match edit {
            Edit::Pad { name, bytes } => {
                for item in items.iter_mut() {
                    pad(item, name, *bytes);
                }
            }
            Edit::Inject { after, object, .. } => {
                let index = usize::try_from(*after).unwrap_or(usize::MAX);
                items.insert(index.min(items.len()), object.clone());
            }
            // These are about streams.
            Edit::Withhold | Edit::Error { .. } | Edit::Break { .. } => {}
        }
    }
    list.to_string().into()
}
