//! What real servers, proxies and networks do wrong, on demand: rules between the front
//! and the API. Owns the rules that are in force, the streams that run and the log of
//! requests; a request passes through [`Front::answer`].

mod events;
mod front;
mod log;
mod refusals;
mod rule;
mod script;
mod shape;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderMap;
use http::header::AUTHORIZATION;
use tokio::sync::watch;

pub(crate) use front::{Front, Wire};
pub use log::{Logged, Verb};
pub use rule::{Fault, How, Moment, Page, Place, Refusal, Rule, When};
pub use script::{Script, ScriptError};

use crate::api::Api;
use crate::replica::{Position, Reading};

/// Names a rule that was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(u64);

impl fmt::Display for RuleId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "rule {}", self.0)
    }
}

/// The faults of a [`Cluster`](crate::Cluster). Clones are the same faults.
///
/// Given the same rules, requests and seeds, the same happens.
///
/// # Examples
///
/// ```
/// use haptic_cluster::{Cluster, Fault, Options, Refusal, Rule, Verb, When};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cluster = Cluster::start(Options::default()).await?;
/// let overload = Fault::Status(Refusal {
///     retry_after: Some(7),
///     ..Refusal::new(429, "TooManyRequests", "please try again later")
/// });
/// // The first two lists of ConfigMaps are refused.
/// let when = When::verbs([Verb::List]).resource("configmaps");
/// let rule = cluster.faults().add(Rule::new(when, overload).times(2));
/// assert_eq!(cluster.faults().hits(rule), 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Faults {
    api: Arc<Api>,
    inner: Arc<Mutex<Inner>>,
}

impl fmt::Debug for Faults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.inner();
        formatter
            .debug_struct("Faults")
            .field("rules", &inner.rules.len())
            .field("streams", &inner.streams.len())
            .finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Inner {
    /// In the order in which they were added.
    rules: BTreeMap<RuleId, InForce>,
    added: u64,
    streams: BTreeMap<u64, Running>,
    opened: u64,
}

/// A rule, and how far it is.
struct InForce {
    rule: Rule,
    /// Requests that matched.
    seen: u64,
    hits: u64,
    gate: watch::Sender<Gate>,
    replica: watch::Sender<Position>,
}

/// What requests wait at that a rule holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Gate {
    open: bool,
    waiting: usize,
}

/// A stream that can be ended from outside.
struct Running {
    asked: Logged,
    end: watch::Sender<bool>,
}

/// A fault that happens to a request now.
#[derive(Debug)]
pub(crate) struct Acting {
    pub fault: Fault,
    /// Which of the rule's requests this is, counted from 1.
    pub hit: u64,
    gate: watch::Sender<Gate>,
    replica: watch::Receiver<Position>,
}

impl Faults {
    pub(crate) fn new(api: Arc<Api>) -> Self {
        Self {
            api,
            inner: Arc::default(),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a rule behind the others. It acts on requests that come from now on.
    pub fn add(&self, rule: Rule) -> RuleId {
        let mut position = Position::Level;
        if let Fault::Lag { versions, .. } = rule.fault {
            position = match versions {
                Some(versions) => Position::Behind(versions),
                None => Position::At(self.api.store().version()),
            };
        }
        let revokes = matches!(rule.fault, Fault::Forbidden { end_streams: true });
        let revoked = revokes.then(|| rule.when.clone());
        let mut inner = self.inner();
        inner.added += 1;
        let id = RuleId(inner.added);
        let in_force = InForce {
            rule,
            seen: 0,
            hits: 0,
            gate: watch::Sender::default(),
            replica: watch::Sender::new(position),
        };
        inner.rules.insert(id, in_force);
        drop(inner);
        // Whose stream ends finds the rule when it comes again.
        if let Some(when) = revoked {
            self.end_streams(&when);
        }
        id
    }

    /// Adds the rules of a script, in their order.
    pub fn add_script(&self, script: Script) -> Vec<RuleId> {
        script
            .faults
            .into_iter()
            .map(|rule| self.add(rule))
            .collect()
    }

    /// Takes a rule back. What it holds goes on, and its replica catches up; what it has
    /// broken or shaped otherwise stays so. Unknown rules are gone already.
    pub fn remove(&self, id: RuleId) {
        let removed = self.inner().rules.remove(&id);
        if let Some(removed) = removed {
            removed.release();
        }
    }

    /// Takes all rules back, as [`Faults::remove`] does.
    pub fn clear(&self) {
        let removed = std::mem::take(&mut self.inner().rules);
        for in_force in removed.into_values() {
            in_force.release();
        }
    }

    /// How many requests the rule has acted on; 0 once it was removed.
    #[must_use]
    pub fn hits(&self, id: RuleId) -> u64 {
        self.inner().rules.get(&id).map_or(0, |rule| rule.hits)
    }

    /// Lets the requests go on that a [`Fault::Hold`] holds, and later ones pass; makes
    /// the replica of a [`Fault::Lag`] catch up.
    pub fn release(&self, id: RuleId) {
        if let Some(in_force) = self.inner().rules.get(&id) {
            in_force.release();
        }
    }

    /// Returns when a [`Fault::Hold`] holds at least `requests` requests, or is no more.
    pub async fn held(&self, id: RuleId, requests: usize) {
        let Some(mut gate) = self
            .inner()
            .rules
            .get(&id)
            .map(|rule| rule.gate.subscribe())
        else {
            return;
        };
        loop {
            let Gate { open, waiting } = *gate.borrow_and_update();
            if open || waiting >= requests || gate.changed().await.is_err() {
                return;
            }
        }
    }

    /// Ends the running streams of these requests, cleanly, as a server does that shuts
    /// down. [`When::one_in`] is ignored.
    pub fn end_streams(&self, when: &When) {
        for running in self.inner().streams.values() {
            if when.matches(&running.asked) {
                running.end.send_replace(true);
            }
        }
    }

    /// The faults that happen to this request.
    pub(crate) fn choose(&self, asked: &Logged, headers: &HeaderMap) -> Vec<Acting> {
        let mut chosen = Vec::new();
        for in_force in self.inner().rules.values_mut() {
            let Some(acting) = in_force.hit(asked, headers) else {
                continue;
            };
            let answered = refusals::answers(&acting.fault);
            chosen.push(acting);
            if answered {
                break;
            }
        }
        chosen
    }

    /// Lists a stream among those that can be ended, for as long as the answer lives.
    pub(crate) fn run(&self, asked: Logged) -> Ending {
        let (end, ended) = watch::channel(false);
        let mut inner = self.inner();
        inner.opened += 1;
        let number = inner.opened;
        inner.streams.insert(number, Running { asked, end });
        Ending {
            faults: self.clone(),
            number,
            ended,
        }
    }
}

impl InForce {
    fn release(&self) {
        self.gate.send_modify(|gate| gate.open = true);
        self.replica.send_replace(Position::Level);
    }

    /// Counts the request if the rule is about it; acts on it if it is its turn.
    fn hit(&mut self, asked: &Logged, headers: &HeaderMap) -> Option<Acting> {
        let Rule {
            when,
            skip,
            times,
            fault,
        } = &self.rule;
        if !when.matches(asked) || !fault.concerns(asked) || is_let_in(fault, headers) {
            return None;
        }
        let index = self.seen;
        self.seen += 1;
        let turn = index.checked_sub(*skip)?;
        let others = when.one_in.map_or(1, std::num::NonZeroU64::get);
        if turn % others != 0 || times.is_some_and(|times| self.hits >= times) {
            return None;
        }
        self.hits += 1;
        Some(Acting {
            fault: fault.clone(),
            hit: self.hits,
            gate: self.gate.clone(),
            replica: self.replica.subscribe(),
        })
    }
}

/// True when the request's bearer token is good.
fn is_let_in(fault: &Fault, headers: &HeaderMap) -> bool {
    let Fault::Unauthorized { tokens } = fault else {
        return false;
    };
    headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .is_some_and(|token| tokens.contains(token.trim()))
}

impl Acting {
    /// What the request reads, if the fault decides that.
    pub(crate) fn reading(&self) -> Option<Reading> {
        matches!(self.fault, Fault::Lag { .. }).then(|| Reading::replica(self.replica.clone()))
    }

    /// Waits at the gate.
    pub(crate) async fn wait(&self) {
        let _place = Waiting::at(&self.gate);
        let mut gate = self.gate.subscribe();
        while !gate.borrow_and_update().open {
            if gate.changed().await.is_err() {
                return;
            }
        }
    }
}

/// A request at a gate; counted until it goes on or is given up.
struct Waiting<'g>(&'g watch::Sender<Gate>);

impl<'g> Waiting<'g> {
    fn at(gate: &'g watch::Sender<Gate>) -> Self {
        gate.send_modify(|gate| gate.waiting += 1);
        Self(gate)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0
            .send_modify(|gate| gate.waiting = gate.waiting.saturating_sub(1));
    }
}

/// Tells a stream that it is to end; takes it off the list when it is dropped.
pub(crate) struct Ending {
    faults: Faults,
    number: u64,
    ended: watch::Receiver<bool>,
}

impl Ending {
    /// Returns when the stream is to end.
    pub(crate) async fn told(&mut self) {
        if self.ended.wait_for(|ended| *ended).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.faults.inner().streams.remove(&self.number);
    }
}
