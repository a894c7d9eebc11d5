//! Owns the states of one contender.

use std::time::Duration;

use super::{
    Action, Input, LeaseConfig, LeaseConfigErrors, LeaseState, Request, Verb,
    object::{Draft, Lease, Term},
};
use crate::{
    Time,
    frame::parse_status,
    watch::{NoteLevel, Random, excerpt},
};

/// How long [`Input::Release`] may take, its retries included. 1 s: the host has 5 s to exit
/// (contract K5), of which callbacks may take most. A Lease that was not given back expires.
const RELEASE: Duration = Duration::from_secs(1);
/// The pause before the release is tried again.
const RELEASE_RETRY: Duration = Duration::from_millis(200);
/// Requests in a row without a pause: get, update, and both once more after a conflict.
const HASTE: u8 = 4;

/// One contender. See the [module](super) for how to perform its actions.
///
/// It never gives up by itself: a lost Lease is contended again, for ever.
#[derive(Debug)]
pub struct Machine {
    config: LeaseConfig,
    random: Random,
    state: LeaseState,
    stage: Stage,
    /// What is known of the Lease.
    seen: Seen,
    /// The Lease is held by a write of this machine, as far as is known.
    term: Option<Term>,
    /// Leading while the time is before this.
    until: Option<Time>,
    /// Whom [`Action::NewLeader`] named last.
    told: Option<String>,
    /// Requests that failed in a row.
    failures: u32,
    /// Requests since the last pause.
    haste: u8,
    /// [`Input::Release`] was given, and has until then.
    releasing: Option<Time>,
    /// What was warned of last.
    warned: String,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Not started.
    Idle,
    /// Between two requests.
    Waiting { until: Time },
    /// A request is under way.
    InFlight {
        purpose: Purpose,
        sent: Time,
        deadline: Time,
    },
    /// Released.
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Look,
    Create,
    Acquire,
    Renew,
    Release,
}

/// The last look at the Lease.
#[derive(Debug)]
enum Seen {
    /// There was none yet.
    Nothing,
    /// It did not exist.
    Absent,
    /// It does not exist any more; whoever held it may lead until then.
    Vanished { free_at: Time },
    /// It was like this, unchanged since then.
    Lease { lease: Lease, since: Time },
}

impl Machine {
    /// A contender that waits for [`Input::Start`].
    ///
    /// # Errors
    /// Everything that is wrong with the configuration.
    pub fn new(config: LeaseConfig) -> Result<Self, LeaseConfigErrors> {
        config.validate()?;
        Ok(Self {
            random: Random::new(config.seed),
            config,
            state: LeaseState::Contending,
            stage: Stage::Idle,
            seen: Seen::Nothing,
            term: None,
            until: None,
            told: None,
            failures: 0,
            haste: 0,
            releasing: None,
            warned: String::new(),
        })
    }

    /// Takes what happened at `now` and appends what to do to `out`.
    ///
    /// Every input is allowed at every time; one that makes no sense does nothing.
    pub fn step(&mut self, now: Time, input: Input<'_>, out: &mut Vec<Action>) {
        // Before anything else: what comes late must not find a leader whose time is over.
        if self.until.is_some_and(|until| now >= until) {
            let patience = self.config.timings.renew_deadline;
            self.warn(
                format!("the lease could not be renewed within {patience:?}"),
                out,
            );
            self.stop_leading(out);
        }
        match input {
            Input::Start => {
                if matches!(self.stage, Stage::Idle) {
                    out.push(Action::State(self.state.clone()));
                    self.look(now, out);
                }
            }
            Input::Answer {
                status,
                retry_after,
                body,
            } => {
                if let Stage::InFlight { purpose, sent, .. } = self.stage {
                    self.answered(now, purpose, sent, status, retry_after, body, out);
                }
            }
            Input::Failed(error) => {
                if let Stage::InFlight { sent, .. } = self.stage {
                    self.failed(now, sent, error.to_owned(), None, out);
                }
            }
            Input::Tick => match self.stage {
                Stage::InFlight { sent, deadline, .. } if now >= deadline => {
                    out.push(Action::Close);
                    let silent = deadline - sent;
                    self.failed(now, sent, format!("no answer within {silent:?}"), None, out);
                }
                Stage::Waiting { until } if now >= until => {
                    self.haste = 0;
                    self.next(now, out);
                }
                Stage::Idle | Stage::Waiting { .. } | Stage::InFlight { .. } | Stage::Ended => {}
            },
            Input::Release => self.release(now, out),
        }
    }

    /// When to feed [`Input::Tick`] at the latest; `None` before the start and after the end.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        let stage = match self.stage {
            Stage::Idle | Stage::Ended => None,
            Stage::Waiting { until } => Some(until),
            Stage::InFlight { deadline, .. } => Some(deadline),
        };
        stage.into_iter().chain(self.until).min()
    }

    /// Until when this one leads, unless it renews; `None` when it does not. Whoever acts on it
    /// compares with the time of the act: a process may have been paused since.
    #[must_use]
    pub fn leading_until(&self) -> Option<Time> {
        self.until
    }

    /// How it is.
    #[must_use]
    pub fn state(&self) -> &LeaseState {
        &self.state
    }

    /// Who holds the Lease, as far as is known.
    #[must_use]
    pub fn holder(&self) -> Option<&str> {
        match &self.seen {
            Seen::Lease { lease, .. } => lease.holder.as_deref(),
            Seen::Nothing | Seen::Absent | Seen::Vanished { .. } => None,
        }
    }

    /// The next request, by what is known.
    fn next(&mut self, now: Time, out: &mut Vec<Action>) {
        if let Some(limit) = self.releasing {
            return self.give_back(now, limit, out);
        }
        if self.haste >= HASTE {
            // Somebody writes to the Lease as fast as we do.
            let pause = self.pause();
            self.wait(now + pause);
            return;
        }
        let (purpose, verb, draft) = match &self.seen {
            Seen::Nothing => return self.look(now, out),
            Seen::Vanished { free_at } if now < *free_at => return self.look(now, out),
            Seen::Absent | Seen::Vanished { .. } => {
                (Purpose::Create, Verb::Create, Draft::create(&self.config))
            }
            Seen::Lease { lease, since } => {
                let free_at = *since + lease.duration(self.config.timings.lease_duration);
                if self.term.is_some() {
                    (
                        Purpose::Renew,
                        Verb::Update,
                        Draft::renew(lease, &self.config),
                    )
                } else if lease.holder.is_none() || now >= free_at {
                    (
                        Purpose::Acquire,
                        Verb::Update,
                        Draft::acquire(lease, &self.config),
                    )
                } else {
                    return self.look(now, out);
                }
            }
        };
        self.send(now, purpose, verb, Some(draft), out);
    }

    fn look(&mut self, now: Time, out: &mut Vec<Action>) {
        self.send(now, Purpose::Look, Verb::Get, None, out);
    }

    fn send(
        &mut self,
        now: Time,
        purpose: Purpose,
        verb: Verb,
        draft: Option<Draft>,
        out: &mut Vec<Action>,
    ) {
        let LeaseConfig {
            name, namespace, ..
        } = &self.config;
        let leases = format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases");
        let path_and_query = match verb {
            Verb::Get => format!("{leases}/{name}"),
            Verb::Create => format!("{leases}?fieldManager=haptic-host"),
            Verb::Update => format!("{leases}/{name}?fieldManager=haptic-host"),
        };
        // Half of the time that a leader has: one request that hangs must not cost the Lease.
        let patience = now + self.config.timings.renew_deadline / 2;
        let limits = [self.until, self.releasing];
        let deadline = limits.into_iter().flatten().fold(patience, Time::min);
        self.haste = self.haste.saturating_add(1);
        self.stage = Stage::InFlight {
            purpose,
            sent: now,
            deadline,
        };
        out.push(Action::Send(Request {
            verb,
            path_and_query,
            draft,
        }));
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "a response has that many parts, and only this function sees them"
    )]
    fn answered(
        &mut self,
        now: Time,
        purpose: Purpose,
        sent: Time,
        status: u16,
        retry_after: Option<Duration>,
        body: &[u8],
        out: &mut Vec<Action>,
    ) {
        match (status, purpose) {
            (200 | 201, _) => match Lease::read(body) {
                Ok(lease) => {
                    self.failures = 0;
                    match purpose {
                        Purpose::Look => self.found(now, sent, lease, out),
                        Purpose::Create | Purpose::Acquire | Purpose::Renew => {
                            self.held(now, sent, purpose, lease, out);
                        }
                        Purpose::Release => self.end(out),
                    }
                }
                Err(wrong) => {
                    let error = format!("the answer cannot be used: {wrong}");
                    self.failed(now, sent, error, retry_after, out);
                }
            },
            (404, Purpose::Look) => self.absent(now, out),
            // Somebody else was faster, or it was deleted: look.
            (409, _) | (404, Purpose::Acquire | Purpose::Renew | Purpose::Release) => {
                self.failures = 0;
                self.look_again(now, out);
            }
            (403, _) => {
                let verb = match purpose {
                    Purpose::Look => Verb::Get,
                    Purpose::Create => Verb::Create,
                    Purpose::Acquire | Purpose::Renew | Purpose::Release => Verb::Update,
                };
                let state = LeaseState::Forbidden {
                    verb,
                    namespace: self.config.namespace.clone(),
                };
                self.troubled(now, sent, state, retry_after, out);
            }
            _ => {
                let said = match parse_status(body) {
                    Some(status) => excerpt(status.message.as_bytes()),
                    None => excerpt(body),
                };
                let colon = if said.is_empty() { "" } else { ": " };
                let error = format!("HTTP {status}{colon}{said}");
                self.failed(now, sent, error, retry_after, out);
            }
        }
    }

    /// A conflict says that the Lease is not as it was seen.
    fn look_again(&mut self, now: Time, out: &mut Vec<Action>) {
        if self.haste >= HASTE {
            let pause = self.pause();
            self.wait(now + pause);
        } else {
            self.look(now, out);
        }
    }

    /// The Lease was not there.
    fn absent(&mut self, now: Time, out: &mut Vec<Action>) {
        self.failures = 0;
        self.term = None;
        let led = self.until.is_some();
        if led {
            self.warn("the lease was deleted".to_owned(), out);
            self.stop_leading(out);
        }
        self.seen = match &self.seen {
            // Its holder, whoever that was last, learns of it only when it renews.
            Seen::Lease { lease, .. } if !led => Seen::Vanished {
                free_at: now + lease.duration(self.config.timings.lease_duration),
            },
            Seen::Vanished { free_at } => Seen::Vanished { free_at: *free_at },
            Seen::Nothing | Seen::Absent | Seen::Lease { .. } => Seen::Absent,
        };
        match self.seen {
            Seen::Vanished { free_at } if now < free_at && self.releasing.is_none() => {
                self.change(LeaseState::Contending, out);
                let pause = self.pause();
                self.wait((now + pause).min(free_at));
            }
            Seen::Nothing | Seen::Absent | Seen::Vanished { .. } | Seen::Lease { .. } => {
                self.next(now, out);
            }
        }
    }

    /// A look has brought the Lease.
    fn found(&mut self, now: Time, sent: Time, lease: Lease, out: &mut Vec<Action>) {
        let ours = self.term.as_ref().is_some_and(|term| {
            lease.holder.as_deref() == Some(&self.config.identity) && *term == lease.term()
        });
        if !ours {
            self.term = None;
            if self.until.is_some() {
                let holder = lease.holder.as_deref().unwrap_or("nobody");
                let message = format!("the lease is held by {}", excerpt(holder.as_bytes()));
                self.warn(message, out);
                self.stop_leading(out);
            }
        }
        self.observe(now, lease, out);
        if ours || self.releasing.is_some() {
            return self.next(now, out);
        }
        let Seen::Lease { lease, since } = &self.seen else {
            return;
        };
        let free_at = *since + lease.duration(self.config.timings.lease_duration);
        match &lease.holder {
            Some(holder) if now < free_at => {
                let holder = excerpt(holder.as_bytes());
                self.change(LeaseState::Following { holder }, out);
                let spread = self.spread();
                let pause = self.config.timings.retry_period + spread;
                self.wait((sent + pause).max(now).min(free_at + spread));
            }
            Some(_) | None => {
                self.change(LeaseState::Contending, out);
                self.next(now, out);
            }
        }
    }

    /// A write has succeeded; the Lease is as the answer says.
    fn held(
        &mut self,
        now: Time,
        sent: Time,
        purpose: Purpose,
        lease: Lease,
        out: &mut Vec<Action>,
    ) {
        let ours = lease.holder.as_deref() == Some(&self.config.identity);
        let term = lease.term();
        let same = purpose != Purpose::Renew || self.term.as_ref() == Some(&term);
        if !ours || !same {
            // Something between this one and the storage changes what is written.
            self.term = None;
            self.stop_leading(out);
            let error = "the server has stored another holder than was sent".to_owned();
            return self.failed(now, sent, error, None, out);
        }
        self.term = Some(term);
        self.observe(now, lease, out);
        if self.releasing.is_some() {
            return self.next(now, out);
        }
        self.lead(now, sent + self.config.timings.renew_deadline, out);
        let pause = self.pause();
        self.wait((sent + pause).max(now));
    }

    fn lead(&mut self, now: Time, until: Time, out: &mut Vec<Action>) {
        if until <= now {
            // The answer took so long that it is of no use: the next one may be faster.
            return;
        }
        let before = self.until.replace(until);
        self.warned.clear();
        match before {
            Some(_) => out.push(Action::Extended { until }),
            None => {
                out.push(Action::Started { until });
                self.change(LeaseState::Leading, out);
            }
        }
    }

    fn stop_leading(&mut self, out: &mut Vec<Action>) {
        if self.until.take().is_some() {
            out.push(Action::Stopped);
            self.change(LeaseState::Contending, out);
        }
    }

    /// Keeps a Lease, and since when it is like this; says when its holder is another one.
    fn observe(&mut self, now: Time, lease: Lease, out: &mut Vec<Action>) {
        if let Some(holder) = &lease.holder
            && self.told.as_ref() != Some(holder)
        {
            if *holder == self.config.identity && self.term.is_none() {
                let message = "the lease is held in this one's own name, by an earlier life of it or by another process: waiting until it expires";
                note(out, NoteLevel::Warn, message.to_owned());
            }
            if lease.asks_too_much() {
                let message = "the holder of the lease asks for more than 1h without a renewal: 1h is granted";
                note(out, NoteLevel::Warn, message.to_owned());
            }
            out.push(Action::NewLeader(excerpt(holder.as_bytes())));
            self.told = Some(holder.clone());
        }
        let since = match &self.seen {
            Seen::Lease {
                lease: before,
                since,
            } if *before == lease => *since,
            Seen::Nothing | Seen::Absent | Seen::Vanished { .. } | Seen::Lease { .. } => now,
        };
        self.seen = Seen::Lease { lease, since };
    }

    fn failed(
        &mut self,
        now: Time,
        sent: Time,
        error: String,
        retry_after: Option<Duration>,
        out: &mut Vec<Action>,
    ) {
        self.troubled(now, sent, LeaseState::Failing { error }, retry_after, out);
    }

    fn troubled(
        &mut self,
        now: Time,
        sent: Time,
        state: LeaseState,
        retry_after: Option<Duration>,
        out: &mut Vec<Action>,
    ) {
        self.failures = self.failures.saturating_add(1);
        if self.releasing.is_some() {
            if self.term.is_none() {
                return self.end(out);
            }
            self.warn(format!("the lease is not released yet: {state}"), out);
            self.wait(now + RELEASE_RETRY);
            return;
        }
        let retry = self.config.timings.retry_period;
        let Some(until) = self.until else {
            self.change(state, out);
            let longest = self.config.timings.lease_duration.max(retry);
            let doubled = 2_u32.saturating_pow((self.failures - 1).min(16));
            let bound = retry.saturating_mul(doubled).min(longest);
            let asked = retry_after.unwrap_or_default().min(longest);
            let spread = self.spread();
            let pause = self.random.between(retry, bound).max(asked) + spread;
            self.wait((sent + pause).max(now + spread));
            return;
        };
        self.warn(format!("the lease is not renewed yet: {state}"), out);
        // A server that asks for more patience than there is gets half of what is left.
        let asked = retry_after.unwrap_or_default().min((until - now) / 2);
        let pause = self.pause();
        self.wait((sent + pause).max(now + asked.max(retry / 10)));
    }

    fn release(&mut self, now: Time, out: &mut Vec<Action>) {
        if self.releasing.is_some() || matches!(self.stage, Stage::Ended) {
            return;
        }
        self.stop_leading(out);
        let limit = now + RELEASE;
        self.releasing = Some(limit);
        self.haste = 0;
        match &mut self.stage {
            // It may yet make this one the holder.
            Stage::InFlight {
                purpose: Purpose::Create | Purpose::Acquire | Purpose::Renew,
                deadline,
                ..
            } => *deadline = limit.min(*deadline),
            Stage::InFlight {
                purpose: Purpose::Look | Purpose::Release,
                ..
            } => {
                out.push(Action::Close);
                self.give_back(now, limit, out);
            }
            Stage::Idle | Stage::Waiting { .. } => self.give_back(now, limit, out),
            Stage::Ended => {}
        }
    }

    fn give_back(&mut self, now: Time, limit: Time, out: &mut Vec<Action>) {
        if self.term.is_none() {
            return self.end(out);
        }
        if now >= limit {
            self.warn(
                "the lease could not be released; others wait until it expires".to_owned(),
                out,
            );
            return self.end(out);
        }
        if self.haste >= HASTE {
            self.wait((now + RELEASE_RETRY).min(limit));
            return;
        }
        match &self.seen {
            Seen::Lease { lease, .. } => {
                let draft = Draft::release(lease);
                self.send(now, Purpose::Release, Verb::Update, Some(draft), out);
            }
            Seen::Nothing | Seen::Absent | Seen::Vanished { .. } => self.look(now, out),
        }
    }

    fn end(&mut self, out: &mut Vec<Action>) {
        self.term = None;
        self.stage = Stage::Ended;
        self.change(LeaseState::Ended, out);
        out.push(Action::Ended);
    }

    fn wait(&mut self, until: Time) {
        let limit = self.releasing.unwrap_or(until);
        self.stage = Stage::Waiting {
            until: until.min(limit),
        };
    }

    /// From one renewal, or look, to the next.
    fn pause(&mut self) -> Duration {
        self.config.timings.retry_period + self.spread()
    }

    /// Keeps contenders apart.
    fn spread(&mut self) -> Duration {
        let retry = self.config.timings.retry_period;
        self.random.between(Duration::ZERO, retry / 5)
    }

    fn change(&mut self, state: LeaseState, out: &mut Vec<Action>) {
        if self.state != state {
            self.state = state;
            out.push(Action::State(self.state.clone()));
        }
    }

    /// A warning that repeats itself is news once.
    fn warn(&mut self, message: String, out: &mut Vec<Action>) {
        if self.warned != message {
            note(out, NoteLevel::Warn, message.clone());
            self.warned = message;
        }
    }
}

fn note(out: &mut Vec<Action>, level: NoteLevel, message: String) {
    out.push(Action::Note { level, message });
}
