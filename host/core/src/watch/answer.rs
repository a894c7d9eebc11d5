//! Owns what answers and the passing of time lead to while all goes well: reading the
//! bodies, from page to page, from list to watch, from stream to stream.

use std::{mem, sync::Arc, time::Duration};

use super::{
    Action, NoteLevel, WatchOutput, WatchState,
    discovery::{self, Finding, Resolved},
    follow::Follow,
    machine::{Goal, ListPlan, Machine, Served, Stage, Stream, note},
    problem::Problem,
};
use crate::{
    Time,
    decode::{Decoder, Projection, ProjectionSpec},
    frame::{ListFrames, ListMeta, WatchFrames, parse_status},
};

/// Bytes kept of a body that explains an error: a Status takes a few hundred.
const ERROR_BODY: usize = 64 << 10;

/// Streams that end at once, cleanly and without an event, before the watch is called
/// stale: one may be a server that shuts down, two in a row are a fault.
const HOLLOW_STREAMS: u8 = 2;

/// Streams in a row on which nothing came before the objects are listed again. It may be peace
/// where bookmarks do not come; but where something keeps all events back, nothing else
/// would show them, and API servers that send no bookmarks are rare.
const SILENT_STREAMS: u8 = 2;

impl Machine {
    pub(super) fn headers(
        &mut self,
        now: Time,
        status: u16,
        retry_after: Option<Duration>,
        content_type: Option<&str>,
        out: &mut Vec<Action>,
    ) {
        let limits = &self.config.limits;
        if status != 200 {
            let deadline = now + limits.error_body;
            self.stage = Stage::Refused {
                status,
                retry_after,
                body: Vec::new(),
                deadline,
            };
            return;
        }
        if let Some(other) = content_type.filter(|kind| !kind.to_ascii_lowercase().contains("json"))
        {
            let text = format!("the server answered with {other:?} instead of JSON");
            self.recover(now, Problem::Nonsense { text }, out);
            return;
        }
        self.healthy_since.get_or_insert(now);
        let silence = now + limits.list_silence;
        match self.goal {
            Goal::Discover => {
                self.stage = Stage::Discovery {
                    body: Vec::new(),
                    deadline: silence,
                };
            }
            Goal::Page => {
                let frames = ListFrames::new(limits.object_bytes);
                if self.plan.token.is_none() {
                    self.begin_list(out);
                } else {
                    // A page that broke off comes again as a whole.
                    self.progress.received = self.plan.before_page;
                }
                self.stage = Stage::Page { frames, silence };
            }
            Goal::StreamingList => {
                let initial_until = Some(now + limits.initial_events);
                self.stage = Stage::Stream(self.stream(now, silence, initial_until, None));
                self.begin_list(out);
            }
            Goal::Watch => {
                // After a stream that died in silence, only an event shows that the next one lives.
                let unsettled = self.state != WatchState::Synced && self.silent == 0;
                let settle = unsettled.then(|| now + limits.settle);
                let silence = now + limits.stream_silence;
                self.stage = Stage::Stream(self.stream(now, silence, None, settle));
            }
        }
    }

    fn stream(
        &self,
        now: Time,
        silence: Time,
        initial_until: Option<Time>,
        settle: Option<Time>,
    ) -> Stream {
        let limits = &self.config.limits;
        Stream {
            frames: WatchFrames::new(limits.object_bytes),
            initial_until,
            opened: now,
            silence,
            close_at: now + limits.watch_timeout_max + limits.watch_timeout_grace,
            settle,
            eventful: false,
        }
    }

    fn begin_list(&mut self, out: &mut Vec<Action>) {
        self.progress.received = 0;
        self.plan.before_page = 0;
        self.emit(|| WatchOutput::ListBegin, out);
        self.expect_list(out);
    }

    /// A first list is on its way. After a failure that is no news before it brings objects:
    /// else a list that stalls each time would look like progress each time.
    fn expect_list(&mut self, out: &mut Vec<Action>) {
        if !matches!(self.state, WatchState::Failing { .. }) {
            self.show_listing(out);
        }
    }

    /// Keeps the count of the first list; later lists leave the state alone.
    fn show_listing(&mut self, out: &mut Vec<Action>) {
        if self.complete {
            return;
        }
        let received = self.progress.received;
        match &mut self.state {
            WatchState::Listing { received: shown } => *shown = received,
            WatchState::Discovering
            | WatchState::WaitingForCrd
            | WatchState::Forbidden { .. }
            | WatchState::Synced
            | WatchState::Stale { .. }
            | WatchState::Failing { .. } => self.enter(WatchState::Listing { received }, out),
        }
    }

    pub(super) fn chunk(&mut self, now: Time, bytes: &[u8], out: &mut Vec<Action>) {
        match &mut self.stage {
            Stage::Idle | Stage::Waiting { .. } | Stage::Queued | Stage::Sent { .. } => {}
            Stage::Discovery { body, .. } => {
                let limit = self.config.limits.discovery_bytes;
                if body.len().saturating_add(bytes.len()) > limit {
                    let text = format!("the answer of discovery is longer than {limit} bytes");
                    self.recover(now, Problem::Nonsense { text }, out);
                } else {
                    body.extend_from_slice(bytes);
                }
            }
            Stage::Refused { body, .. } => {
                let room = ERROR_BODY.saturating_sub(body.len());
                body.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
                if body.len() >= ERROR_BODY {
                    self.refused(now, out);
                }
            }
            Stage::Page { .. } => self.page_chunk(now, bytes, out),
            Stage::Stream(_) => self.stream_chunk(now, bytes, out),
        }
    }

    fn page_chunk(&mut self, now: Time, bytes: &[u8], out: &mut Vec<Action>) {
        let (Stage::Page { frames, silence }, Some(served)) = (&mut self.stage, &mut self.served)
        else {
            return;
        };
        let mut follow = Follow {
            readers: &self.config.readers,
            decoders: &mut served.decoders,
            progress: &mut self.progress,
            initial: true,
            page_size: self.config.page_size,
            frames: 0,
            out,
        };
        let pushed = frames.push(bytes, &mut |element| follow.element(element));
        if follow.frames > 0 {
            *silence = now + self.config.limits.list_silence;
            self.show_listing(out);
        }
        if let Err(error) = pushed {
            self.recover(now, Problem::of_frame(error), out);
        }
    }

    fn stream_chunk(&mut self, now: Time, bytes: &[u8], out: &mut Vec<Action>) {
        let (Stage::Stream(stream), Some(served)) = (&mut self.stage, &mut self.served) else {
            return;
        };
        let began_initial = stream.initial_until.is_some();
        let mut follow = Follow {
            readers: &self.config.readers,
            decoders: &mut served.decoders,
            progress: &mut self.progress,
            initial: began_initial,
            page_size: self.config.page_size,
            frames: 0,
            out,
        };
        let mut problem = None;
        let pushed = stream.frames.push(bytes, &mut |frame| {
            if problem.is_none() {
                problem = follow.frame(&frame).err();
            }
        });
        let (frames, initial) = (follow.frames, follow.initial);
        // The frame that brought the problem is no sign of life.
        let good = frames > u64::from(problem.is_some());
        if good {
            let limits = &self.config.limits;
            let patience = if initial {
                limits.list_silence
            } else {
                limits.stream_silence
            };
            stream.silence = now + patience;
            stream.eventful = true;
            stream.settle = None;
            self.alive = now;
            self.poisoned = 0;
            self.hollow = 0;
            // One event shows that the stream lives, but not that it goes on to.
            if now - stream.opened >= limits.stream_silence {
                self.silent = 0;
            }
        }
        if began_initial && !initial {
            stream.initial_until = None;
            self.streaming.strikes = 0;
            // From here on it is a watch like any other.
            self.goal = Goal::Watch;
            self.finish_list(now);
            self.enter(WatchState::Synced, out);
        } else if good && initial {
            self.show_listing(out);
        } else if good {
            self.enter(WatchState::Synced, out);
        }
        if let Some(problem) = problem.or_else(|| pushed.err().map(Problem::of_frame)) {
            self.recover(now, problem, out);
        }
    }

    pub(super) fn end(&mut self, now: Time, out: &mut Vec<Action>) {
        match mem::replace(&mut self.stage, Stage::Queued) {
            stage @ (Stage::Idle | Stage::Waiting { .. }) => self.stage = stage,
            Stage::Queued | Stage::Sent { .. } => {
                self.recover(
                    now,
                    Problem::transient("the server closed without an answer"),
                    out,
                );
            }
            Stage::Discovery { body, .. } => self.discovered(now, &body, out),
            stage @ Stage::Refused { .. } => {
                self.stage = stage;
                self.refused(now, out);
            }
            Stage::Page { frames, .. } => match frames.finish() {
                Ok(meta) => self.page_end(now, meta, out),
                Err(error) => self.recover(now, Problem::of_frame(error), out),
            },
            Stage::Stream(mut stream) => match stream.frames.finish() {
                Ok(()) => self.stream_end(now, &stream, out),
                Err(error) => {
                    let problem = match stream.initial_until {
                        Some(_) => Problem::broken_list(error),
                        None => Problem::of_frame(error),
                    };
                    self.recover(now, problem, out);
                }
            },
        }
    }

    fn page_end(&mut self, now: Time, meta: ListMeta, out: &mut Vec<Action>) {
        if !self.is_own_list(&meta) {
            let text = format!(
                "the server sent an object of kind {:?} instead of a list",
                meta.kind
            );
            self.recover(now, Problem::Nonsense { text }, out);
            return;
        }
        let Some(token) = meta.continue_token else {
            let resource_version = meta.resource_version;
            self.progress.resource_version = Some(resource_version.clone());
            let output = || WatchOutput::ListEnd {
                resource_version: resource_version.clone(),
            };
            self.emit(output, out);
            // After trouble, a list is only half of the cure: the watch must hold.
            if !self.complete {
                self.enter(WatchState::Synced, out);
            }
            self.finish_list(now);
            self.send(Goal::Watch, out);
            return;
        };
        if self.plan.token.as_ref() == Some(&token) {
            self.plan.token = None;
            let text = "the server gave the same continue token again".to_owned();
            self.recover(now, Problem::Nonsense { text }, out);
            return;
        }
        self.plan.token = Some(token);
        self.plan.before_page = self.progress.received;
        self.send(Goal::Page, out);
    }

    /// Whether a body is a list of the resource. CRDs choose the kind of their lists, so
    /// that a version speaks for itself; a list without one must have the usual kind.
    /// Anything else (an `APIResourceList` has no items either) would empty the store.
    fn is_own_list(&self, meta: &ListMeta) -> bool {
        let usual = self
            .served
            .as_ref()
            .and_then(|served| {
                meta.kind
                    .strip_suffix("List")
                    .map(|kind| (kind, &served.resolved.kind))
            })
            .is_some_and(|(kind, own)| {
                kind == own || kind.is_empty() || kind == "PartialObjectMetadata"
            });
        !meta.resource_version.is_empty() || usual
    }

    fn finish_list(&mut self, now: Time) {
        self.plan = ListPlan::default();
        self.complete = true;
        self.alive = now;
        self.silent = 0;
    }

    fn stream_end(&mut self, now: Time, stream: &Stream, out: &mut Vec<Action>) {
        if stream.initial_until.is_some() {
            let text = "the server closed a streaming list before its end".to_owned();
            self.recover(
                now,
                Problem::NoEndBookmark {
                    text,
                    certain: false,
                },
                out,
            );
            return;
        }
        if now - stream.opened >= self.config.limits.short_stream {
            self.hollow = 0;
            self.alive = now;
            self.resume(out);
            return;
        }
        self.hollow = if stream.eventful {
            0
        } else {
            self.hollow.saturating_add(1)
        };
        let text = "the server closes the watch at once";
        if self.hollow >= HOLLOW_STREAMS {
            self.recover(now, Problem::transient(text), out);
        } else {
            note(out, NoteLevel::Debug, text.to_owned());
            let goal = self.resume_goal();
            self.wait(now, goal, None, out);
            // Nothing failed, but nobody follows the changes for a while either.
            if self.deadline() > Some(now + self.config.limits.short_stream) {
                self.enter(WatchState::Stale { since: self.alive }, out);
            }
        }
    }

    /// Opens the stream again from where it is.
    fn resume(&mut self, out: &mut Vec<Action>) {
        let goal = self.resume_goal();
        self.send(goal, out);
    }

    fn discovered(&mut self, now: Time, body: &[u8], out: &mut Vec<Action>) {
        let api_version = self.config.resource.api_version();
        match discovery::find(body, api_version, &self.config.resource.resource) {
            Err(error) => {
                let text = match parse_status(body) {
                    Some(status) => status.to_string(),
                    None => format!("the answer of discovery cannot be read: {error}"),
                };
                self.recover(now, Problem::Nonsense { text }, out);
            }
            Ok(Finding::Absent) => self.absent(now, out),
            Ok(Finding::Without(verb)) => {
                let text = format!(
                    "the server does not let {} be {verb}ed",
                    self.config.resource
                );
                self.recover(now, Problem::Nonsense { text }, out);
            }
            Ok(Finding::Served(resolved)) if self.is_ambiguous(&resolved) => {
                let text = format!(
                    "{} live in namespaces: a watch of one needs a namespace",
                    self.config.resource
                );
                self.recover(now, Problem::Nonsense { text }, out);
            }
            Ok(Finding::Served(resolved)) => {
                self.absences = 0;
                self.resolve(resolved, out);
                self.expect_list(out);
                let goal = self.list_goal();
                self.send(goal, out);
            }
        }
    }

    /// Whether a name without a namespace could mean several objects (contract R1).
    fn is_ambiguous(&self, resolved: &Resolved) -> bool {
        let config = &self.config;
        resolved.namespaced && config.name.is_some() && config.namespace.is_none()
    }

    fn resolve(&mut self, resolved: Resolved, out: &mut Vec<Action>) {
        if self
            .served
            .as_ref()
            .is_some_and(|served| served.resolved == resolved)
        {
            return;
        }
        if !resolved.namespaced && self.config.namespace.is_some() {
            let message = format!(
                "{} is cluster-scoped: watching all of it, not one namespace",
                self.config.resource
            );
            note(out, NoteLevel::Warn, message);
        }
        let output = || WatchOutput::Resolved {
            kind: resolved.kind.clone(),
            api_version: resolved.api_version.clone(),
            namespaced: resolved.namespaced,
        };
        self.emit(output, out);
        let decoder = |spec: &ProjectionSpec| {
            let mut spec = spec.clone();
            spec.kind.clone_from(&resolved.kind);
            spec.api_version.clone_from(&resolved.api_version);
            Decoder::new(Arc::new(Projection::new(spec)))
        };
        let decoders = self.config.readers.iter().map(decoder).collect();
        self.served = Some(Served { resolved, decoders });
    }

    /// Draws the conclusion from a refusal, of whose body enough has come.
    pub(super) fn refused(&mut self, now: Time, out: &mut Vec<Action>) {
        if let Stage::Refused {
            status,
            retry_after,
            body,
            ..
        } = &self.stage
        {
            let status = *status;
            let problem = Problem::of_response(status, *retry_after, body, parse_status(body));
            // Whatever it is that the server does not like: it may like pages (contract W4).
            self.plan.paged |= self.goal == Goal::StreamingList && (400..500).contains(&status);
            self.recover(now, problem, out);
        }
    }

    pub(super) fn tick(&mut self, now: Time, out: &mut Vec<Action>) {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        match &mut self.stage {
            Stage::Idle | Stage::Queued => {}
            Stage::Waiting { .. } => {
                let goal = self.goal;
                self.send(goal, out);
            }
            Stage::Sent { .. } => {
                let text = format!("no answer within {:?}", self.config.limits.headers);
                self.recover(now, Problem::transient(text), out);
            }
            Stage::Discovery { .. } | Stage::Page { .. } => {
                let text = format!(
                    "the answer stalled for {:?}",
                    self.config.limits.list_silence
                );
                self.recover(now, Problem::transient(text), out);
            }
            Stage::Refused { .. } => self.refused(now, out),
            Stage::Stream(stream) => {
                if stream.settle.is_some_and(|settle| settle <= now) {
                    stream.settle = None;
                    self.enter(WatchState::Synced, out);
                }
                self.stream_tick(now, out);
            }
        }
    }

    fn stream_tick(&mut self, now: Time, out: &mut Vec<Action>) {
        let Stage::Stream(stream) = &self.stage else {
            return;
        };
        let (silent, overdue) = (stream.silence <= now, stream.close_at <= now);
        match stream.initial_until {
            Some(until) => {
                let certain = until <= now;
                if silent || certain {
                    let text = "a streaming list did not come to its end in time".to_owned();
                    self.recover(now, Problem::NoEndBookmark { text, certain }, out);
                }
            }
            None if silent => self.fell_silent(now, out),
            None if overdue => self.resume(out),
            None => {}
        }
    }

    /// Nothing came for too long. Where bookmarks are known to come, that is a dead stream; where
    /// they are not, it may be peace, and asking again costs one request. When it happens
    /// again, something may hold all streams back: only a list shows what was missed.
    fn fell_silent(&mut self, now: Time, out: &mut Vec<Action>) {
        self.silent = self.silent.saturating_add(1);
        let patience = self.config.limits.stream_silence;
        if self.silent >= SILENT_STREAMS {
            let text = format!("nothing came for {patience:?}, time and again");
            self.recover(now, Problem::Missed { text }, out);
        } else if self.progress.carries_bookmarks {
            let text = format!("nothing came for {patience:?}");
            self.recover(now, Problem::transient(text), out);
        } else {
            self.resume(out);
        }
    }
}
