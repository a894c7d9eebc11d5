//! WATCH: the events of one type as a stream of lines.
//!
//! A watch owns no queue. It keeps a version and reads the store's history
//! when its client takes bytes, so a slow client costs nothing but falls out
//! of the history: then it gets an ERROR event with 410 and its stream ends.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use serde_json::{Value, json};
use tokio::sync::watch::Receiver;
use tokio::time::Instant;

use crate::api::Api;
use crate::list::{in_namespace, invalid_options, parse_version};
use crate::render::Renderer;
use crate::replica::Reading;
use crate::request::Query;
use crate::selector::Selector;
use crate::state::{Event, Object, Signal, Store};
use crate::status::{ApiError, Cause};

/// Bytes after which a chunk is handed to the client.
const CHUNK: usize = 64 * 1024;
/// Events that are looked at in one go.
const BATCH: usize = 256;
/// A watch without timeoutSeconds ends after a while, as on a real server (30 to 60 minutes).
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(45 * 60);

/// What a client asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WatchParams {
    pub version: Option<u64>,
    /// Send what exists as ADDED events first.
    send_initial: bool,
    /// Mark the end of the initial events with a bookmark.
    mark_initial: bool,
    bookmarks: bool,
    timeout: Duration,
}

impl WatchParams {
    pub(crate) fn parse(query: &Query) -> Result<Self, ApiError> {
        let (version, version_match) = (
            query.get("resourceVersion"),
            query.get("resourceVersionMatch"),
        );
        let asked_initial = query.flag("sendInitialEvents");
        let mut causes = Vec::new();
        let field = "resourceVersionMatch";
        if asked_initial.is_some() && version_match != "NotOlderThan" {
            let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            causes.push(Cause::forbidden(field, why));
        }
        if !version_match.is_empty() {
            if asked_initial.is_none() {
                let why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
                causes.push(Cause::forbidden(field, why));
            }
            if version_match != "NotOlderThan" {
                causes.push(Cause::not_supported(
                    field,
                    version_match,
                    &["NotOlderThan"],
                ));
            }
        }
        if !causes.is_empty() {
            return Err(invalid_options(causes));
        }
        let parsed = parse_version(version)?;
        let bookmarks = query.flag("allowWatchBookmarks").unwrap_or(false);
        let timeout = match query.number("timeoutSeconds")? {
            None | Some(0) => DEFAULT_TIMEOUT,
            Some(seconds) => Duration::from_secs(seconds.min(24 * 3_600)),
        };
        Ok(Self {
            version: parsed,
            // Without a version a watch has always begun with what exists.
            send_initial: asked_initial.unwrap_or(parsed.is_none()),
            mark_initial: asked_initial == Some(true) && bookmarks,
            bookmarks,
            timeout,
        })
    }
}

/// A watch between two chunks.
struct Watching {
    api: Arc<Api>,
    renderer: Renderer,
    selector: Selector,
    params: WatchParams,
    reading: Reading,
    signal: Receiver<Signal>,
    /// Everything up to here was sent or does not concern this watch.
    cursor: u64,
    initial: std::vec::IntoIter<Arc<Object>>,
    initial_version: Option<u64>,
    next_bookmark: Instant,
    deadline: Instant,
    with_columns: bool,
    /// The store held no further event when it was last looked at.
    drained: bool,
    finished: bool,
}

/// Starts a watch on the store as it is now, which must have reached the version that is asked for.
pub(crate) fn start(
    api: &Arc<Api>,
    store: &Store,
    renderer: Renderer,
    selector: Selector,
    params: WatchParams,
    reading: Reading,
) -> Result<impl Stream<Item = Bytes> + Send + use<>, ApiError> {
    let collection = store
        .collection(&renderer.resource)
        .ok_or_else(ApiError::no_such_resource)?;
    let now = Instant::now();
    let newest = reading.version(store, collection);
    let mut watching = Watching {
        api: Arc::clone(api),
        signal: collection.subscribe(),
        cursor: newest,
        initial: Vec::new().into_iter(),
        initial_version: None,
        next_bookmark: now + api.bookmark_interval,
        deadline: now + params.timeout,
        with_columns: true,
        drained: false,
        finished: false,
        renderer,
        selector,
        params,
        reading,
    };
    let mut first = None;
    if watching.params.send_initial {
        let objects = store.objects_at(collection, newest);
        let objects: Vec<Arc<Object>> = in_namespace(&objects, watching.selector.namespace(), None)
            .filter(|object| watching.selector.matches(object))
            .cloned()
            .collect();
        watching.initial = objects.into_iter();
        watching.initial_version = Some(newest);
    } else if let Some(version) = watching.params.version {
        watching.cursor = version;
        if store.is_expired(collection, version) {
            let why = format!("too old resource version: {version} ({})", store.version());
            first = Some(error_line(&ApiError::expired(why)));
            watching.finished = true;
        }
    }
    let first = first.map(Bytes::from);
    Ok(stream::unfold(
        (first, watching),
        |(first, mut watching)| async move {
            let chunk = match first {
                Some(chunk) => chunk,
                None => watching.next().await?,
            };
            Some((chunk, (None, watching)))
        },
    ))
}

fn error_line(error: &ApiError) -> Vec<u8> {
    let mut line = json!({"type": "ERROR", "object": error.to_value()})
        .to_string()
        .into_bytes();
    line.push(b'\n');
    line
}

impl Watching {
    /// The next chunk; `None` ends the stream.
    async fn next(&mut self) -> Option<Bytes> {
        if self.finished {
            return None;
        }
        loop {
            let now = Instant::now();
            if now >= self.deadline {
                self.finished = true;
                let last_word = self.params.bookmarks && self.initial_version.is_none();
                return last_word.then(|| self.bookmark(self.cursor, false).into());
            }
            let mut chunk = Vec::new();
            let outcome = match self.initial_version {
                Some(version) => self.send_initial(version, &mut chunk),
                None => self.send_events(&mut chunk),
            };
            if let Err(error) = outcome {
                chunk.extend(error_line(&error));
                self.finished = true;
            }
            if !chunk.is_empty() {
                return Some(chunk.into());
            }
            if self.finished {
                return None;
            }
            if !self.drained {
                continue;
            }
            if self.params.bookmarks && now >= self.next_bookmark {
                self.next_bookmark = now + self.api.bookmark_interval;
                return Some(self.bookmark(self.cursor, false).into());
            }
            self.wait().await;
        }
    }

    async fn wait(&mut self) {
        let mut until = self.deadline;
        if self.params.bookmarks {
            until = until.min(self.next_bookmark);
        }
        // An error means that the type went; the signal then holds its last word.
        let changed = pin!(self.signal.changed());
        let moved = pin!(self.reading.moved());
        let woken = futures_util::future::select(changed, moved);
        let _elapsed_or_woken = tokio::time::timeout_at(until, woken).await;
    }

    fn send_initial(&mut self, version: u64, chunk: &mut Vec<u8>) -> Result<(), ApiError> {
        while chunk.len() < CHUNK {
            let Some(object) = self.initial.next() else {
                self.initial_version = None;
                if self.params.mark_initial {
                    chunk.extend(self.bookmark(version, true));
                }
                return Ok(());
            };
            self.line("ADDED", &object, chunk)?;
        }
        Ok(())
    }

    fn send_events(&mut self, chunk: &mut Vec<u8>) -> Result<(), ApiError> {
        let ended = match &*self.signal.borrow_and_update() {
            Signal::Live => None,
            Signal::Ended(past) => Some(Arc::clone(past)),
        };
        let (events, reached) = match ended {
            Some(past) => {
                let events = past.after(self.cursor, BATCH);
                self.finished = events.as_ref().is_none_or(Vec::is_empty);
                (events, self.cursor)
            }
            None => {
                let api = Arc::clone(&self.api);
                let store = api.store();
                let Some(collection) = store.collection(&self.renderer.resource) else {
                    self.finished = true;
                    return Ok(());
                };
                let reached = self.reading.version(&store, collection);
                let mut events = collection.past.after(self.cursor, BATCH);
                if let Some(events) = &mut events {
                    events.retain(|event| event.version <= reached);
                }
                (events, reached)
            }
        };
        let Some(events) = events else {
            let why = format!("too old resource version: {} ({reached})", self.cursor);
            return Err(ApiError::expired(why));
        };
        if events.is_empty() {
            // Nothing happened to this type up to here.
            self.cursor = self.cursor.max(reached);
            self.drained = true;
        } else {
            self.drained = false;
        }
        for event in events {
            if chunk.len() >= CHUNK {
                break;
            }
            self.cursor = event.version;
            self.event(&event, chunk)?;
        }
        Ok(())
    }

    /// Tells an event as this watch's selectors see it.
    fn event(&mut self, event: &Event, chunk: &mut Vec<u8>) -> Result<(), ApiError> {
        let matched = event
            .old
            .as_ref()
            .is_some_and(|old| self.selector.matches(old));
        let matches = event
            .new
            .as_ref()
            .is_some_and(|new| self.selector.matches(new));
        match (matched, matches) {
            (true, true) => self.line("MODIFIED", &event.last, chunk),
            (false, true) => self.line("ADDED", &event.last, chunk),
            (true, false) => {
                // What the client knew, under the version at which it ceased to match.
                let known = match (&event.old, &event.new) {
                    (Some(old), Some(_)) => {
                        let value = old.value(&self.renderer.resource)?;
                        Arc::new(Object::new(&self.renderer.resource, value, event.version)?)
                    }
                    _ => Arc::clone(&event.last),
                };
                self.line("DELETED", &known, chunk)
            }
            (false, false) => Ok(()),
        }
    }

    fn line(&mut self, kind: &str, object: &Object, chunk: &mut Vec<u8>) -> Result<(), ApiError> {
        chunk.extend_from_slice(format!("{{\"type\":\"{kind}\",\"object\":").as_bytes());
        self.renderer.one(object, self.with_columns, chunk)?;
        self.with_columns = false;
        chunk.extend_from_slice(b"}\n");
        Ok(())
    }

    fn bookmark(&self, version: u64, ends_initial_events: bool) -> Vec<u8> {
        let object: Value = self.renderer.bookmark(version, ends_initial_events);
        let mut line = json!({"type": "BOOKMARK", "object": object})
            .to_string()
            .into_bytes();
        line.push(b'\n');
        line
    }
}
