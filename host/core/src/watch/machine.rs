//! Owns the states of one watch, and the requests that it sends. What answers lead to is in
//! `answer`, what failures lead to in `recover`.

use std::time::Duration;

use super::{
    Action, Input, NoteLevel, Request, StreamingPreference, WatchConfig, WatchOutput, WatchState,
    backoff::{Backoff, Random},
    discovery::Resolved,
    follow::Progress,
    problem::Problem,
    request::{self, Page},
};
use crate::{
    Time,
    decode::Decoder,
    frame::{ListFrames, WatchFrames},
};

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
    /// Streams in a row on which nothing came, since the last list.
    pub(super) silent: u8,
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
    pub(super) frames: WatchFrames,
    /// Whether the end bookmark of a streaming list is still to come, and until when.
    pub(super) initial_until: Option<Time>,
    pub(super) opened: Time,
    pub(super) silence: Time,
    /// When the server should have ended it, and some more.
    pub(super) close_at: Time,
    /// When to call the watch healthy again if nothing comes.
    pub(super) settle: Option<Time>,
    /// Whether any event came.
    pub(super) eventful: bool,
}

/// The resource as it is served, and what decodes its objects.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) resolved: Resolved,
    /// One for each reader.
    pub(super) decoders: Vec<Decoder>,
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
            silent: 0,
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
                Stage::Stream(stream) if stream.initial_until.is_some() => {
                    self.recover(now, Problem::broken_list(error), out);
                }
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

    /// How many objects and events came for nothing so far, in lists and streams: other shards
    /// hold them, and no reader does.
    #[must_use]
    pub fn foreign(&self) -> u64 {
        self.progress.foreign
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
    /// cannot, which [`Self::deny_streaming_lists`] tells other watches of the resource.
    #[must_use]
    pub fn may_stream_lists(&self) -> bool {
        self.streaming.supported
    }

    /// Ends streaming lists from the next list on: another watch of the resource has
    /// learnt that the server cannot (contract W4).
    pub fn deny_streaming_lists(&mut self) {
        self.streaming.supported = false;
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
        // Denied while it was waited.
        let goal = match goal {
            Goal::StreamingList if !self.streaming.supported => Goal::Page,
            goal => goal,
        };
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
}

impl Machine {
    /// Tells every reader what is about no single object.
    pub(super) fn emit(&self, output: impl Fn() -> WatchOutput, out: &mut Vec<Action>) {
        out.extend((0..self.config.readers.len()).map(|reader| Action::Emit {
            reader,
            output: output(),
        }));
    }
}

pub(super) fn note(out: &mut Vec<Action>, level: NoteLevel, message: String) {
    out.push(Action::Note { level, message });
}
