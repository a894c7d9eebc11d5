//! Owns the meaning of the events of a stream: turns frames into outputs and keeps
//! track of how far the stream has come.

use super::{Action, NoteLevel, WatchOutput, problem::Problem};
use crate::{
    Identity,
    decode::{Decoder, Peeked, ProjectionSpec, identity_of, peek},
    frame::{WatchEvent, WatchFrame, parse_status, parse_watch_event},
};

/// How far a watch has come.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// What a watch may resume from and a list must not be older than. `None` before
    /// the first complete list; empty when the server gives no versions.
    pub(super) resource_version: Option<String>,
    /// Objects of the list under way.
    pub(super) received: u64,
    /// Whether this resource's streams are known to carry bookmarks.
    pub(super) carries_bookmarks: bool,
    /// Objects and events, of all lists and streams, that no reader took as all of them are
    /// other shards'.
    pub(super) foreign: u64,
}

impl Progress {
    fn advance(&mut self, version: &str) {
        if version.is_empty() {
            return;
        }
        let own = self.resource_version.get_or_insert_default();
        own.clear();
        own.push_str(version);
    }
}

/// One chunk's worth of following a stream.
pub(super) struct Follow<'a> {
    /// Whose objects they want.
    pub(super) readers: &'a [ProjectionSpec],
    /// One for each reader.
    pub(super) decoders: &'a mut [Decoder],
    pub(super) progress: &'a mut Progress,
    /// Whether the events are still those of the initial list.
    pub(super) initial: bool,
    pub(super) page_size: u32,
    pub(super) frames: u64,
    pub(super) out: &'a mut Vec<Action>,
}

impl Follow<'_> {
    /// Takes one frame of a watch stream.
    ///
    /// # Errors
    /// What makes it pointless to read on.
    pub(super) fn frame(&mut self, frame: &WatchFrame<'_>) -> Result<(), Problem> {
        self.frames += 1;
        let event = match parse_watch_event(frame) {
            Ok(event) => event,
            // Some servers send the Status bare.
            Err(error) => {
                return Err(match parse_status(frame.text) {
                    Some(status) => Problem::of_event(&status),
                    None => Problem::of_frame(error),
                });
            }
        };
        match event {
            WatchEvent::Added(object) => self.upsert(object, false),
            WatchEvent::Modified(object) => self.upsert(object, true),
            WatchEvent::Deleted(object) => self.delete(object)?,
            WatchEvent::Bookmark {
                resource_version,
                initial_events_end,
            } => {
                self.bookmark(resource_version, initial_events_end);
            }
            WatchEvent::Error(status) => return Err(Problem::of_event(&status)),
            WatchEvent::Unknown(kind) => self.out.push(Action::Note {
                level: NoteLevel::Warn,
                message: format!("ignored a watch event of unknown type {kind:?}"),
            }),
        }
        Ok(())
    }

    /// Takes one element of a list.
    pub(super) fn element(&mut self, object: &[u8]) {
        self.frames += 1;
        self.upsert(object, false);
    }

    /// `known`: whether the server says that the object was there before.
    fn upsert(&mut self, json: &[u8], known: bool) {
        let peeked = self.peek(json);
        let (mut counts, mut foreign) = (false, true);
        for reader in 0..self.decoders.len() {
            if self.is_foreign(reader, peeked.as_ref()) {
                continue;
            }
            foreign = false;
            counts |= self.upsert_for(reader, json, known);
        }
        if foreign {
            self.pass(peeked);
        }
        if counts {
            self.count();
        }
    }

    /// Who the object is, if some reader does not want everybody's.
    fn peek<'j>(&self, json: &'j [u8]) -> Option<Peeked<'j>> {
        let sharded = self.readers.iter().any(|reader| reader.shard.is_some());
        sharded.then(|| peek(json)).flatten()
    }

    /// Whether the object is another shard's than the reader's. One that does not say who it is
    /// is everybody's: then its decoder says what is wrong with it.
    fn is_foreign(&self, reader: usize, peeked: Option<&Peeked<'_>>) -> bool {
        let shard = self.readers.get(reader).and_then(|reader| reader.shard);
        shard
            .zip(peeked)
            .is_some_and(|(shard, peeked)| !shard.owns(&peeked.namespace, &peeked.name))
    }

    /// An object that no reader wants still says how far the stream has come.
    fn pass(&mut self, peeked: Option<Peeked<'_>>) {
        self.progress.foreign += 1;
        if let Some(peeked) = peeked {
            self.advance(&peeked.resource_version);
        }
    }

    /// Answers whether it counts as an object of a list.
    fn upsert_for(&mut self, reader: usize, json: &[u8], known: bool) -> bool {
        let decoded = match self.decoders[reader].decode(json) {
            Ok(decoded) => decoded,
            Err(error) => {
                let (identity, version) = split(identity_of(json));
                self.advance(&version);
                let output = WatchOutput::Quarantined {
                    identity: error.identity.clone().or(identity),
                    error: error.kind.to_string(),
                };
                self.emit(reader, output);
                return true;
            }
        };
        self.advance(decoded.object.resource_version());
        let output = match (decoded.matches, self.initial) {
            (true, true) => WatchOutput::Listed(decoded.object),
            (true, false) => WatchOutput::Applied(decoded.object),
            (false, true) if !known => return false,
            (false, _) => WatchOutput::Deleted {
                identity: decoded.object.identity().clone(),
                object: None,
            },
        };
        self.emit(reader, output);
        decoded.matches
    }

    fn delete(&mut self, json: &[u8]) -> Result<(), Problem> {
        let peeked = self.peek(json);
        let mut foreign = true;
        for reader in 0..self.decoders.len() {
            if self.is_foreign(reader, peeked.as_ref()) {
                continue;
            }
            foreign = false;
            let (identity, object) = match self.decoders[reader].decode(json) {
                Ok(decoded) => {
                    self.advance(decoded.object.resource_version());
                    (decoded.object.identity().clone(), Some(decoded.object))
                }
                Err(error) => {
                    let (identity, version) = split(identity_of(json));
                    let Some(identity) = error.identity.clone().or(identity) else {
                        return Err(Problem::Missed {
                            text: format!("a deleted object cannot be identified: {error}"),
                        });
                    };
                    self.advance(&version);
                    (identity, None)
                }
            };
            self.emit(reader, WatchOutput::Deleted { identity, object });
        }
        if foreign {
            self.pass(peeked);
        }
        Ok(())
    }

    fn bookmark(&mut self, resource_version: String, initial_events_end: bool) {
        self.progress.carries_bookmarks = true;
        if !self.initial {
            self.progress.advance(&resource_version);
        } else if initial_events_end {
            self.initial = false;
            self.progress.resource_version = Some(resource_version.clone());
            self.emit_to_all(|| WatchOutput::ListEnd {
                resource_version: resource_version.clone(),
            });
        }
    }

    /// The versions within a streaming list are no point to resume from: its objects come in
    /// the order of their names.
    fn advance(&mut self, version: &str) {
        if !self.initial {
            self.progress.advance(version);
        }
    }

    /// Counts an object of a list, and ends a page's worth of them.
    fn count(&mut self) {
        if !self.initial {
            return;
        }
        self.progress.received += 1;
        if self
            .progress
            .received
            .is_multiple_of(u64::from(self.page_size.max(1)))
        {
            self.emit_to_all(|| WatchOutput::PageEnd);
        }
    }

    fn emit(&mut self, reader: usize, output: WatchOutput) {
        self.out.push(Action::Emit { reader, output });
    }

    fn emit_to_all(&mut self, output: impl Fn() -> WatchOutput) {
        for reader in 0..self.decoders.len() {
            self.emit(reader, output());
        }
    }
}

fn split(found: Option<(Identity, String)>) -> (Option<Identity>, String) {
    match found {
        Some((identity, version)) => (Some(identity), version),
        None => (None, String::new()),
    }
}
