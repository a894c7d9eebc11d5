//! One body that is being fetched, for everybody who waits for it. Owns the attempts and
//! the pauses between them.

use std::{pin::pin, sync::Arc, time::Duration};

use haptic_core::{
    Object,
    bodies::{BodyKey, Version},
    spec::WatchPlan,
};
use tokio::{
    sync::watch,
    time::{Instant, timeout, timeout_at},
};

use super::{
    Bodies, Shared, count,
    source::{self, FetchError, Get},
};

/// GETs for one body before it is given up. With the pauses between them a server that
/// restarts, or a replica that lags, has 0.7 s to recover; a callback waits for it.
const ATTEMPTS: u32 = 4;

/// The pause after the first failed GET; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// A server that wants to be left alone for longer is not asked again: the callback that
/// waits is told so instead, and comes again by itself.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// From sending a GET to the end of its answer. API servers take milliseconds; 5 s leave
/// room for a second attempt within a callback's 10 s.
const GET_DEADLINE: Duration = Duration::from_secs(5);

/// What everybody waits for: the object, or that there is none any more.
type Landing = Option<Result<Option<Arc<Object>>, FetchError>>;

/// A flight, as those see it who come later.
pub(super) struct Flight {
    /// Tells it from an earlier one of the same key.
    number: u64,
    /// What it must bring at least.
    wanted: Version,
    landing: Arc<watch::Sender<Landing>>,
    /// Why the last attempt failed.
    problem: Option<FetchError>,
}

impl Flight {
    /// Somebody has seen this state: an older one will not do.
    pub(super) fn raise(&mut self, wanted: Version) {
        if !self.wanted.is_as_new_as(&wanted) {
            self.wanted = wanted;
        }
    }
}

enum Boarding {
    Kept(Arc<Object>),
    Flying(watch::Receiver<Landing>),
}

impl Bodies {
    /// An object with its body, from what is kept or from the server; none when it is not
    /// there any more.
    pub(super) async fn fetch(
        self,
        plan: Arc<WatchPlan>,
        object: Arc<Object>,
        until: Instant,
    ) -> Result<Option<Arc<Object>>, FetchError> {
        let key = BodyKey {
            filter: plan.filter,
            identity: object.identity().clone(),
        };
        let wanted = Version::of(&object);
        let mut landing = match self.shared.board(&plan, &key, &wanted) {
            Boarding::Kept(object) => return Ok(Some(object)),
            Boarding::Flying(landing) => landing,
        };
        let began = Instant::now();
        let landed = timeout_at(until, landing.wait_for(Option::is_some)).await;
        let landed = landed.map(|landed| landed.map(|landed| landed.clone()));
        let result = match landed {
            Ok(Ok(Some(Ok(Some(fetched))))) => {
                new_enough(&fetched, &wanted).map(|()| Some(fetched))
            }
            Ok(Ok(Some(landed))) => landed,
            Ok(Ok(None)) => Err(FetchError::Stopping),
            // Its task has ended: the runtime is on its way down.
            Ok(Err(_closed)) => Err(FetchError::Stopping),
            Err(_elapsed) => {
                drop(landing);
                let mut state = self.shared.lock();
                let flight = state.flights.get(&key);
                let problem = flight.and_then(|flight| flight.problem.clone());
                // Who comes next begins anew, and not with what is left of its attempts.
                if flight.is_some_and(|flight| flight.landing.is_closed()) {
                    state.flights.remove(&key);
                }
                Err(problem.unwrap_or(FetchError::Timeout(began.elapsed())))
            }
        };
        let counters = &self.shared.counters;
        match &result {
            Ok(Some(_)) => {}
            Ok(None) => count(&counters.absent, 1),
            Err(_) => count(&counters.errors, 1),
        }
        result
    }
}

impl Shared {
    /// A kept object, a seat on a flight that is under way, or one on a new one.
    fn board(self: &Arc<Self>, plan: &Arc<WatchPlan>, key: &BodyKey, wanted: &Version) -> Boarding {
        let now = self.now();
        let mut guard = self.lock();
        let state = &mut *guard;
        if let Some(object) = state.kept.get(now, key, wanted, plan.cache_ttl) {
            count(&self.counters.hits, 1);
            return Boarding::Kept(object);
        }
        if let Some(flight) = state.flights.get_mut(key) {
            count(&self.counters.coalesced, 1);
            flight.raise(wanted.clone());
            return Boarding::Flying(flight.landing.subscribe());
        }
        count(&self.counters.misses, 1);
        let (landing, seat) = watch::channel(None);
        let landing = Arc::new(landing);
        state.flown += 1;
        let number = state.flown;
        state.flights.insert(
            key.clone(),
            Flight {
                number,
                wanted: wanted.clone(),
                landing: Arc::clone(&landing),
                problem: None,
            },
        );
        let journey = Journey {
            shared: Arc::clone(self),
            plan: Arc::clone(plan),
            key: key.clone(),
            wanted: wanted.clone(),
            number,
            landing,
        };
        tokio::spawn(journey.run());
        Boarding::Flying(seat)
    }
}

/// A flight, as its task sees it.
struct Journey {
    shared: Arc<Shared>,
    plan: Arc<WatchPlan>,
    key: BodyKey,
    /// What it was started for.
    wanted: Version,
    number: u64,
    landing: Arc<watch::Sender<Landing>>,
}

impl Journey {
    /// Until it has landed, or nobody waits for it any more.
    async fn run(self) {
        let mut attempts = pin!(self.attempts());
        loop {
            tokio::select! {
                biased;
                () = &mut attempts => return,
                () = self.landing.closed() => {
                    let mut state = self.shared.lock();
                    // Somebody may have come in between.
                    if self.landing.is_closed() {
                        self.leave(&mut state);
                        return;
                    }
                }
            }
        }
    }

    async fn attempts(&self) {
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            let problem = match self.get().await {
                Ok(landed) => match self.land(landed) {
                    Ok(()) => return,
                    Err(problem) => problem,
                },
                Err(problem) => problem,
            };
            let wait = problem.retry_after().unwrap_or(pause).max(pause);
            if attempt >= ATTEMPTS || !problem.is_transient() || wait > LONGEST_PAUSE {
                tracing::debug!(object = %self.key.identity, attempt, "given up: {problem}");
                self.leave(&mut self.shared.lock());
                self.landing.send_replace(Some(Err(problem)));
                return;
            }
            tracing::debug!(object = %self.key.identity, attempt, "tried again: {problem}");
            if let Some(flight) = self.flight(&mut self.shared.lock()) {
                flight.problem = Some(problem);
            }
            tokio::time::sleep(wait).await;
            pause *= 2;
        }
    }

    async fn get(&self) -> Result<Option<Arc<Object>>, FetchError> {
        let wanted = match self.flight(&mut self.shared.lock()) {
            Some(flight) => flight.wanted.clone(),
            None => self.wanted.clone(),
        };
        let permit = self.shared.gets.acquire().await;
        // Nobody closes it.
        let _permit = permit.map_err(|_closed| FetchError::Stopping)?;
        count(&self.shared.counters.requests, 1);
        let getting = (self.shared.source)(Get {
            resource: self.plan.resource.clone(),
            identity: self.key.identity.clone(),
            not_older_than: wanted.resource_version.into_string(),
        });
        let answer = timeout(GET_DEADLINE, getting)
            .await
            .map_err(|_elapsed| FetchError::Timeout(GET_DEADLINE))??;
        if answer.status == 200 {
            count(&self.shared.counters.fetched_bytes, answer.body.len());
        }
        source::read(self.plan.body_projection(), &self.key.identity, &answer)
    }

    /// Hands out what came, and keeps it, unless it is older than what is known to exist.
    fn land(&self, landed: Option<Arc<Object>>) -> Result<(), FetchError> {
        let mut state = self.shared.lock();
        let current = self.flight(&mut state);
        let is_current = current.is_some();
        if let Some(fetched) = &landed {
            new_enough(
                fetched,
                current.map_or(&self.wanted, |flight| &flight.wanted),
            )?;
            // A flight that the watch has overtaken by a delete leaves nothing behind.
            if is_current {
                let evicted = state.kept.put(
                    self.shared.now(),
                    &self.key,
                    Arc::clone(fetched),
                    self.plan.cache_ttl,
                );
                count(&self.shared.counters.evicted, evicted);
                self.shared.sweep(&mut state);
            }
        }
        self.leave(&mut state);
        self.landing.send_replace(Some(Ok(landed)));
        Ok(())
    }

    fn flight<'a>(&self, state: &'a mut super::State) -> Option<&'a mut Flight> {
        let flight = state.flights.get_mut(&self.key);
        flight.filter(|flight| flight.number == self.number)
    }

    fn leave(&self, state: &mut super::State) {
        if self.flight(state).is_some() {
            state.flights.remove(&self.key);
        }
    }
}

/// What is older than what is known to exist is as good as no answer.
fn new_enough(fetched: &Object, wanted: &Version) -> Result<(), FetchError> {
    let have = Version::of(fetched);
    if have.is_as_new_as(wanted) {
        return Ok(());
    }
    Err(FetchError::Older {
        have: have.resource_version.into_string(),
        wanted: wanted.resource_version.to_string(),
    })
}
