//! Owns the cures: what to do next after each kind of failure, at each goal.

use std::time::Duration;

use super::{
    Action, NoteLevel, WatchOutput, WatchState,
    machine::{Goal, ListPlan, Machine, Stage, note},
    problem::Problem,
};
use crate::Time;

/// Streams in a row that break by what is in them before the list is read again instead:
/// an event that can never be read must not stop the watch for ever.
const POISONED_STREAMS: u8 = 3;

/// Streaming lists in a row that end without their bookmark, for reasons that could also be a
/// server's restart, before the server is believed not to know them.
const STREAMING_STRIKES: u8 = 2;

/// Times in a row that discovery must miss a resource that was served before its objects are
/// given up: a starting API server serves less than it will for a moment.
const ABSENCES: u8 = 2;

impl Machine {
    /// Chooses the next step after a failure. Always ends in a request or in waiting for one.
    pub(super) fn recover(&mut self, now: Time, problem: Problem, out: &mut Vec<Action>) {
        match self.goal {
            Goal::Discover => self.recover_discovery(now, &problem, out),
            Goal::StreamingList => self.recover_streaming_list(now, &problem, out),
            Goal::Page => self.recover_page(now, &problem, out),
            Goal::Watch => self.recover_watch(now, &problem, out),
        }
    }

    fn recover_discovery(&mut self, now: Time, problem: &Problem, out: &mut Vec<Action>) {
        if let Problem::Missing { .. } = problem {
            self.absent(now, out);
            return;
        }
        self.trouble(problem, "get", out);
        self.wait(now, Goal::Discover, problem.retry_after(), out);
    }

    /// The server does not serve the resource.
    pub(super) fn absent(&mut self, now: Time, out: &mut Vec<Action>) {
        self.absences = self.absences.saturating_add(1);
        if self.served.is_some() && self.absences >= ABSENCES {
            self.served = None;
            self.complete = false;
            self.progress.resource_version = None;
            self.progress.received = 0;
            self.plan = ListPlan::default();
            self.emit(|| WatchOutput::Gone, out);
        }
        self.enter(WatchState::WaitingForCrd, out);
        self.wait(now, Goal::Discover, None, out);
    }

    fn recover_streaming_list(&mut self, now: Time, problem: &Problem, out: &mut Vec<Action>) {
        match problem {
            Problem::Rejected { text } => {
                self.streaming.supported = false;
                self.fall_back(text, out);
            }
            // Says nothing about streaming: who may list may not be allowed to watch.
            Problem::Forbidden { text, .. } => self.fall_back(text, out),
            Problem::NoEndBookmark { text, certain } => {
                self.streaming.strikes = self.streaming.strikes.saturating_add(1);
                if *certain || self.streaming.strikes >= STREAMING_STRIKES {
                    self.streaming.supported = false;
                }
                self.fall_back(text, out);
            }
            Problem::Missing { .. } => {
                self.trouble(problem, "watch", out);
                self.wait(now, Goal::Discover, None, out);
            }
            Problem::Expired { .. } | Problem::FutureVersion { .. } => {
                self.trouble(problem, "watch", out);
                // Of the newest state too, which cannot be too old.
                self.plan.paged |= self.plan.newest;
                self.plan.newest = true;
                let goal = self.list_goal();
                self.wait(now, goal, None, out);
            }
            // Pages isolate what cannot be read, or does not get through, better than a stream does.
            Problem::Nonsense { .. } | Problem::Missed { .. } => {
                self.trouble(problem, "watch", out);
                self.plan.paged = true;
                self.wait(now, Goal::Page, None, out);
            }
            Problem::Transient { retry_after, .. } => {
                self.trouble(problem, "watch", out);
                let goal = self.list_goal();
                self.wait(now, goal, *retry_after, out);
            }
        }
    }

    /// Goes on with pages at once: that is no failure of the server.
    fn fall_back(&mut self, text: &str, out: &mut Vec<Action>) {
        let lasting = if self.streaming.supported {
            "for now"
        } else {
            "from now on"
        };
        note(
            out,
            NoteLevel::Info,
            format!(
                "{}: listing in pages {lasting}: {text}",
                self.config.resource
            ),
        );
        self.plan.paged = true;
        self.plan.token = None;
        self.send(Goal::Page, out);
    }

    fn recover_page(&mut self, now: Time, problem: &Problem, out: &mut Vec<Action>) {
        self.trouble(problem, "list", out);
        match problem {
            Problem::Missing { .. } => {
                self.plan.token = None;
                self.wait(now, Goal::Discover, None, out);
            }
            Problem::Expired { .. } => {
                if self.plan.token.take().is_some() {
                    self.plan.whole = true;
                } else {
                    self.plan.newest = true;
                }
                self.wait(now, Goal::Page, None, out);
            }
            Problem::FutureVersion { .. } => {
                self.plan.newest = true;
                self.plan.token = None;
                self.wait(now, Goal::Page, None, out);
            }
            // The token, or the version, is what a server may not like.
            Problem::Rejected { .. } => {
                self.plan.newest |= self.plan.token.take().is_none();
                self.wait(now, Goal::Page, None, out);
            }
            Problem::Transient { .. }
            | Problem::Forbidden { .. }
            | Problem::Nonsense { .. }
            | Problem::Missed { .. }
            | Problem::NoEndBookmark { .. } => {
                self.wait(now, Goal::Page, problem.retry_after(), out);
            }
        }
    }

    fn recover_watch(&mut self, now: Time, problem: &Problem, out: &mut Vec<Action>) {
        self.trouble(problem, "watch", out);
        match problem {
            Problem::Missing { .. } => self.wait(now, Goal::Discover, None, out),
            Problem::Expired { .. } | Problem::Missed { .. } => {
                let goal = self.list_goal();
                self.wait(now, goal, None, out);
            }
            Problem::FutureVersion { .. } | Problem::Rejected { .. } => {
                self.plan.newest = true;
                let goal = self.list_goal();
                self.wait(now, goal, None, out);
            }
            Problem::Nonsense { .. } => {
                self.poisoned = self.poisoned.saturating_add(1);
                let goal = if self.poisoned >= POISONED_STREAMS {
                    self.poisoned = 0;
                    self.list_goal()
                } else {
                    self.resume_goal()
                };
                self.wait(now, goal, None, out);
            }
            Problem::Transient { .. }
            | Problem::Forbidden { .. }
            | Problem::NoEndBookmark { .. } => {
                let goal = self.resume_goal();
                self.wait(now, goal, problem.retry_after(), out);
            }
        }
    }

    /// How a list starts.
    pub(super) fn list_goal(&self) -> Goal {
        if self.streaming.supported && !self.plan.paged {
            Goal::StreamingList
        } else {
            Goal::Page
        }
    }

    /// How a watch goes on: a server without versions must be listed again each time.
    pub(super) fn resume_goal(&self) -> Goal {
        match self.progress.resource_version.as_deref() {
            None | Some("") => self.list_goal(),
            Some(_) => Goal::Watch,
        }
    }

    /// Backs off before `goal`.
    pub(super) fn wait(
        &mut self,
        now: Time,
        goal: Goal,
        retry_after: Option<Duration>,
        out: &mut Vec<Action>,
    ) {
        let healthy = self.healthy_since.take();
        if healthy.is_some_and(|since| now - since >= self.config.limits.healthy_after) {
            self.backoff.reset();
        }
        let delay = self
            .backoff
            .fail(&self.config.limits, &mut self.random, retry_after);
        self.goal = goal;
        self.stage = Stage::Waiting { until: now + delay };
        out.push(Action::Close);
    }

    /// Shows a failure in the state and in the log.
    fn trouble(&mut self, problem: &Problem, verb: &'static str, out: &mut Vec<Action>) {
        let text = problem.text();
        note(
            out,
            NoteLevel::Warn,
            format!("cannot {verb} {}: {text}", self.scope(verb)),
        );
        let state = match problem {
            Problem::Forbidden { .. } => WatchState::Forbidden {
                verb,
                scope: self.scope(verb),
            },
            Problem::Transient { .. }
            | Problem::Missing { .. }
            | Problem::Expired { .. }
            | Problem::FutureVersion { .. }
            | Problem::Rejected { .. }
            | Problem::Nonsense { .. }
            | Problem::Missed { .. }
            | Problem::NoEndBookmark { .. } => {
                if self.complete {
                    WatchState::Stale { since: self.alive }
                } else {
                    WatchState::Failing {
                        error: text.to_owned(),
                    }
                }
            }
        };
        self.enter(state, out);
    }

    /// What is asked for, and where: `ingresses.networking.k8s.io in namespace shop`.
    fn scope(&self, verb: &str) -> String {
        if verb == "get" {
            return super::request::group_version_path(&self.config.resource);
        }
        let resource = &self.config.resource;
        let mut scope = resource.resource.clone();
        if !resource.group.is_empty() {
            scope.push('.');
            scope.push_str(&resource.group);
        }
        let namespaced = self
            .served
            .as_ref()
            .is_some_and(|served| served.resolved.namespaced);
        match (&self.config.namespace, namespaced) {
            (Some(namespace), true) => {
                scope.push_str(" in namespace ");
                scope.push_str(namespace);
            }
            (None, true) => scope.push_str(" in all namespaces"),
            (_, false) => scope.push_str(" (cluster-scoped)"),
        }
        scope
    }

    /// Changes the state; tells it when it differs.
    pub(super) fn enter(&mut self, state: WatchState, out: &mut Vec<Action>) {
        if self.state != state {
            self.state = state.clone();
            out.push(Action::State(state));
        }
    }
}
