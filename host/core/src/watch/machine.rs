//! Owns the states of one watch and the way from input to actions while all goes
//! well. What happens when it does not is in `recover`.

use std::{mem, sync::Arc, time::Duration};

use super::{
    Action, Input, NoteLevel, Request, StreamingPreference, WatchConfig, WatchOutput, WatchState,
    backoff::{Backoff, Random},
    discovery::{self, Finding, Resolved},
    follow::{Follow, Progress},
    problem::Problem,
    request::{self, Page},
};
use crate::{
    Time,
    decode::{Decoder, Projection},
    frame::{ListFrames, ListMeta, WatchFrames, parse_status},
};

/// Bytes kept of a body that explains an error: a Status takes a few hundred.
const ERROR_BODY: usize = 64 << 10;

/// Streams that end at once, cleanly and without an event, before the watch is called
/// stale: one may be a server that shuts down, two in a row are a fault.
const HOLLOW_STREAMS: u8 = 2;

/// The life of one watch. See the [module](super) for how to perform its actions.
///
/// It never ends by itself: there is no failure from which it does not try to recover.
#[derive(Debug)]
pub struct Machine {
    pub(super) config: WatchConfig,
    pub(super) random: Random,
    pub(super) backoff: Backoff,
    /// Since when no request has failed.
    pub(super) healthy_since: Option<Time>,
    pub(super) state: WatchState,
    pub(super) goal: Goal,
    pub(super) stage: Stage,
    pub(super) served: Option<Served>,
    pub(super) progress: Progress,
    pub(super) plan: ListPlan,
    pub(super) streaming: Streaming,
    /// Whether a list was completed since the resource was last found.
    pub(super) complete: bool,
    /// The last sign of life of a stream, or the end of the last list.
    pub(super) alive: Time,
    /// Streams in a row that broke by what was in them, without an event before that.
    pub(super) poisoned: u8,
    /// Streams in a row that ended at once without an event.
    pub(super) hollow: u8,
    /// Times in a row that discovery did not find the resource.
    pub(super) absences: u8,
}

/// What the request in flight, or the next one, is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    Discover,
    StreamingList,
    Page,
    Watch,
}

/// How far the request is.
#[derive(Debug)]
pub(super) enum Stage {
    /// Not started.
    Idle,
    /// Backing off.
    Waiting { until: Time },
    /// Given to the shell, which may wait for a permit.
    Queued,
    /// Handed to the network.
    Sent { deadline: Time },
    /// Reading the answer of discovery.
    Discovery { body: Vec<u8>, deadline: Time },
    /// Reading a page of a list.
    Page { frames: ListFrames, silence: Time },
    /// Reading a stream.
    Stream(Stream),
    /// Reading why the server refused.
    Refused {
        status: u16,
        retry_after: Option<Duration>,
        body: Vec<u8>,
        deadline: Time,
    },
}

#[derive(Debug)]
pub(super) struct Stream {
    frames: WatchFrames,
    /// Whether the end bookmark of a streaming list is still to come, and until when.
    initial_until: Option<Time>,
    opened: Time,
    silence: Time,
    /// When the server should have ended it, and some more.
    close_at: Time,
    /// When to call the watch healthy again if nothing comes.
    settle: Option<Time>,
    /// Whether any event came.
    eventful: bool,
}

/// The resource as it is served, and what decodes its objects.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) resolved: Resolved,
    decoder: Decoder,
}

/// How the next list is to be made. The default is that of an ordinary list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ListPlan {
    /// Ask for the newest state instead of one not older than the last seen: that
    /// version was refused.
    pub(super) newest: bool,
    /// Fall back to pages, for this list.
    pub(super) paged: bool,
    /// Ask for all pages at once: a continue token expired.
    pub(super) whole: bool,
    /// The page to go on with.
    pub(super) token: Option<String>,
    /// Objects received before that page.
    pub(super) before_page: u64,
}

/// What is known of the server's streaming lists.
#[derive(Clone, Copy, Debug)]
pub(super) struct Streaming {
    pub(super) supported: bool,
    /// Times in a row that one ended without its end bookmark for unclear reasons.
    pub(super) strikes: u8,
}

impl Machine {
    /// A watch that waits for [`Input::Start`].
    #[must_use]
    pub fn new(config: WatchConfig) -> Self {
        Self {
            random: Random::new(config.seed),
            backoff: Backoff::default(),
            healthy_since: None,
            state: WatchState::Discovering,
            goal: Goal::Discover,
            stage: Stage::Idle,
            served: None,
            progress: Progress::default(),
            plan: ListPlan::default(),
            streaming: Streaming {
                supported: config.streaming == StreamingPreference::Auto,
                strikes: 0,
            },
            complete: false,
            alive: Time::ZERO,
            poisoned: 0,
            hollow: 0,
            absences: 0,
            config,
        }
    }

    /// Takes what happened at `now` and appends what to do to `out`.
    ///
    /// Every input is allowed at every time; one that makes no sense does nothing.
    pub fn step(&mut self, now: Time, input: Input<'_>, out: &mut Vec<Action>) {
        match input {
            Input::Start => {
                if matches!(self.stage, Stage::Idle) {
                    out.push(Action::State(self.state.clone()));
                    self.send(Goal::Discover, out);
                }
            }
            Input::Sent => {
                if matches!(self.stage, Stage::Queued) {
                    self.stage = Stage::Sent {
                        deadline: now + self.config.limits.headers,
                    };
                }
            }
            Input::Headers {
                status,
                retry_after,
                content_type,
            } => {
                if matches!(self.stage, Stage::Queued | Stage::Sent { .. }) {
                    self.headers(now, status, retry_after, content_type, out);
                }
            }
            Input::Chunk(bytes) => self.chunk(now, bytes, out),
            Input::End => self.end(now, out),
            Input::Failed(error) => match &self.stage {
                Stage::Idle | Stage::Waiting { .. } => {}
                Stage::Refused { .. } => self.refused(now, out),
                Stage::Queued
                | Stage::Sent { .. }
                | Stage::Discovery { .. }
                | Stage::Page { .. }
                | Stage::Stream(_) => {
                    self.recover(now, Problem::transient(error.to_string()), out);
                }
            },
            Input::Tick => self.tick(now, out),
        }
    }

    /// When to feed [`Input::Tick`] at the latest. `None` before the start and while a
    /// request waits to be [`Sent`](Input::Sent).
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        match &self.stage {
            Stage::Idle | Stage::Queued => None,
            Stage::Waiting { until } => Some(*until),
            Stage::Sent { deadline }
            | Stage::Discovery { deadline, .. }
            | Stage::Page {
                silence: deadline, ..
            }
            | Stage::Refused { deadline, .. } => Some(*deadline),
            Stage::Stream(stream) => {
                let first = stream.silence.min(stream.close_at);
                let optional = [stream.initial_until, stream.settle];
                Some(optional.into_iter().flatten().fold(first, Time::min))
            }
        }
    }

    /// How the watch is; with the current count while listing.
    #[must_use]
    pub fn state(&self) -> &WatchState {
        &self.state
    }

    /// The version that the watch has reached. `None` before the first complete list.
    #[must_use]
    pub fn resource_version(&self) -> Option<&str> {
        self.progress.resource_version.as_deref()
    }

    /// Whether a permit for a list must be held, or waited for: from the
    /// [`Action::Send`] of a list until the list is complete, or has failed and waits
    /// before it is tried again. It is held from page to page.
    #[must_use]
    pub fn needs_list_permit(&self) -> bool {
        match (&self.stage, self.goal) {
            (Stage::Idle | Stage::Waiting { .. }, _) | (_, Goal::Discover | Goal::Watch) => false,
            (
                Stage::Queued
                | Stage::Sent { .. }
                | Stage::Discovery { .. }
                | Stage::Page { .. }
                | Stage::Stream(_)
                | Stage::Refused { .. },
                Goal::StreamingList | Goal::Page,
            ) => true,
        }
    }

    /// Whether streaming lists may still be tried: false once the server has shown that it
    /// cannot, so that another watch of the resource can be given
    /// [`StreamingPreference::Never`].
    #[must_use]
    pub fn may_stream_lists(&self) -> bool {
        self.streaming.supported
    }

    /// Puts together the request for `goal` and hands it to the shell.
    pub(super) fn send(&mut self, goal: Goal, out: &mut Vec<Action>) {
        let Some((goal, request)) = self.request(goal) else {
            // Lists and watches are only aimed at when the resource is known.
            self.goal = Goal::Discover;
            self.stage = Stage::Queued;
            out.push(Action::Send(request::discover(&self.config)));
            return;
        };
        self.goal = goal;
        self.stage = Stage::Queued;
        out.push(Action::Send(request));
    }

    fn request(&mut self, goal: Goal) -> Option<(Goal, Request)> {
        if goal == Goal::Discover {
            return Some((goal, request::discover(&self.config)));
        }
        let namespaced = self.served.as_ref()?.resolved.namespaced;
        let limits = &self.config.limits;
        let timeout = self
            .random
            .between(limits.watch_timeout_min, limits.watch_timeout_max);
        let version = self.progress.resource_version.as_deref();
        let not_older_than = version.filter(|version| !self.plan.newest && !version.is_empty());
        let request = match goal {
            Goal::Discover => request::discover(&self.config),
            Goal::StreamingList => {
                request::streaming_list(&self.config, namespaced, not_older_than, timeout)
            }
            Goal::Page => {
                let page = match &self.plan.token {
                    Some(token) => Page::Continue { token },
                    None if self.plan.whole => Page::Whole { not_older_than },
                    None => Page::First { not_older_than },
                };
                request::list(&self.config, namespaced, page)
            }
            Goal::Watch => request::watch(
                &self.config,
                namespaced,
                version.unwrap_or_default(),
                timeout,
            ),
        };
        Some((goal, request))
    }

    fn headers(
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
                let settle = (self.state != WatchState::Synced).then(|| now + limits.settle);
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
        out.push(Action::Emit(WatchOutput::ListBegin));
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

    fn chunk(&mut self, now: Time, bytes: &[u8], out: &mut Vec<Action>) {
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
            decoder: &mut served.decoder,
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
            decoder: &mut served.decoder,
            progress: &mut self.progress,
            initial: began_initial,
            page_size: self.config.page_size,
            frames: 0,
            out,
        };
        let mut problem = None;
        let pushed = stream.frames.push(bytes, &mut |frame| {
            if problem.is_none() {
                problem = follow.frame(frame).err();
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

    fn end(&mut self, now: Time, out: &mut Vec<Action>) {
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
                Err(error) => self.recover(now, Problem::of_frame(error), out),
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
            out.push(Action::Emit(WatchOutput::ListEnd { resource_version }));
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
            Ok(Finding::Served(resolved)) => {
                self.absences = 0;
                self.resolve(resolved, out);
                self.expect_list(out);
                let goal = self.list_goal();
                self.send(goal, out);
            }
        }
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
        out.push(Action::Emit(WatchOutput::Resolved {
            kind: resolved.kind.clone(),
            api_version: resolved.api_version.clone(),
            namespaced: resolved.namespaced,
        }));
        let mut spec = self.config.projection.clone();
        spec.kind.clone_from(&resolved.kind);
        spec.api_version.clone_from(&resolved.api_version);
        let decoder = Decoder::new(Arc::new(Projection::new(spec)));
        self.served = Some(Served { resolved, decoder });
    }

    /// Draws the conclusion from a refusal, of whose body enough has come.
    fn refused(&mut self, now: Time, out: &mut Vec<Action>) {
        if let Stage::Refused {
            status,
            retry_after,
            body,
            ..
        } = &self.stage
        {
            let problem = Problem::of_response(*status, *retry_after, body, parse_status(body));
            self.recover(now, problem, out);
        }
    }

    fn tick(&mut self, now: Time, out: &mut Vec<Action>) {
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
            None if silent && self.progress.carries_bookmarks => {
                let text = format!("nothing came for {:?}", self.config.limits.stream_silence);
                self.recover(now, Problem::transient(text), out);
            }
            // Without bookmarks, silence may be peace. Asking again costs one request.
            None if silent || overdue => self.resume(out),
            None => {}
        }
    }
}

pub(super) fn note(out: &mut Vec<Action>, level: NoteLevel, message: String) {
    out.push(Action::Note { level, message });
}
