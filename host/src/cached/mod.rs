//! The bodies of cached stores (contract S6): fetched when they are read, one GET for
//! everybody who waits for the same object, and kept for a while. Owns GETs under way and
//! when they are tried again; which bodies are kept, and which are new enough, is
//! [`haptic_core::bodies`]'.
//!
//! What a cached read shows may be newer than the snapshot that its callback sees, never
//! older: neither than that snapshot, nor than what the watch saw while a GET was under
//! way.

mod flight;
mod reader;
mod source;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use haptic_core::{
    Time,
    bodies::{self, BodyKey, Version},
    spec::{Storage, WatchPlan},
    watch::WatchOutput,
};
use tokio::sync::Semaphore;

use crate::{access::Access, driver::Clock};

pub use reader::Reader;
pub use source::{Answer, FetchError, Get, Getting, Source};

use flight::Flight;

/// Bytes of bodies that are kept for all cached stores together unless told: 64 MiB hold
/// 2,000 Secrets of 32 KB, and leave room beside a plugin in a pod of 512 MiB.
pub const DEFAULT_BYTES: usize = 64 << 20;

/// GETs under way at the same time in one process: enough for some 6,000 objects a second
/// from a server 5 ms away, and for 100 objects within 50 ms where each takes 10 ms; and each is
/// a connection, few beside the hundreds that an API server serves at once.
pub const CONCURRENT_GETS: usize = 32;

/// All bodies of a process. Cheap to clone; every clone is the same.
#[derive(Clone)]
pub struct Bodies {
    shared: Arc<Shared>,
}

struct Shared {
    source: Source,
    now: Box<dyn Fn() -> Time + Send + Sync>,
    gets: Semaphore,
    state: Mutex<State>,
    counters: Counters,
}

struct State {
    kept: bodies::Bodies,
    flights: HashMap<BodyKey, Flight>,
    /// How many flights there were.
    flown: u64,
    /// Whether somebody waits for bodies to expire.
    sweeping: bool,
}

#[derive(Default)]
struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
    coalesced: AtomicU64,
    requests: AtomicU64,
    fetched_bytes: AtomicU64,
    absent: AtomicU64,
    errors: AtomicU64,
    evicted: AtomicU64,
}

fn count(counter: &AtomicU64, more: usize) {
    counter.fetch_add(u64::try_from(more).unwrap_or(u64::MAX), Ordering::Relaxed);
}

/// What has happened since the process began, and what is held now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Bodies that were read and were there.
    pub hits: u64,
    /// Bodies that were read and had to be fetched.
    pub misses: u64,
    /// Bodies that were read while somebody else was fetching them already.
    pub coalesced: u64,
    /// GETs that were sent, repeated ones included.
    pub requests: u64,
    /// Bytes of objects that came, before filtering.
    pub fetched_bytes: u64,
    /// Objects that were not there any more.
    pub absent: u64,
    /// Bodies that were given up.
    pub errors: u64,
    /// Bodies that made room for others before their time was over.
    pub evicted: u64,
    /// Bodies held now.
    pub held: usize,
    /// Bytes held now, what it takes to find them included.
    pub held_bytes: usize,
}

impl Bodies {
    /// Bodies from an API server. At most `bytes` of them are kept.
    #[must_use]
    pub fn of(access: &Access, clock: Clock, bytes: usize) -> Self {
        Self::new(source::of(access), move || clock.now(), bytes)
    }

    /// Bodies from elsewhere, with a clock by which they age.
    #[must_use]
    pub fn new(
        source: Source,
        now: impl Fn() -> Time + Send + Sync + 'static,
        bytes: usize,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                source,
                now: Box::new(now),
                gets: Semaphore::new(CONCURRENT_GETS),
                state: Mutex::new(State {
                    kept: bodies::Bodies::new(bytes),
                    flights: HashMap::new(),
                    flown: 0,
                    sweeping: false,
                }),
                counters: Counters::default(),
            }),
        }
    }

    /// Takes note of what a watch reports. If its store is cached, bodies that it has
    /// overtaken are dropped, and a GET that is under way must bring a newer one.
    pub fn seen(&self, plan: &WatchPlan, output: &WatchOutput) {
        match plan.storage {
            Storage::Memory => return,
            Storage::Cached => {}
        }
        let key = |identity: &haptic_core::Identity| BodyKey {
            filter: plan.filter,
            identity: identity.clone(),
        };
        match output {
            WatchOutput::Listed(object) | WatchOutput::Applied(object) => {
                let mut state = self.shared.lock();
                // As in a first list, which may be of many objects.
                if state.kept.is_empty() && state.flights.is_empty() {
                    return;
                }
                let key = key(object.identity());
                let version = Version::of(object);
                state.kept.seen(&key, &version);
                if let Some(flight) = state.flights.get_mut(&key) {
                    flight.raise(version);
                }
            }
            WatchOutput::Deleted { identity, .. } => {
                let key = key(identity);
                let mut state = self.shared.lock();
                state.kept.forget(&key);
                // Whoever waits for it knew it, and is answered; nobody is after that.
                state.flights.remove(&key);
            }
            WatchOutput::Resolved { .. }
            | WatchOutput::ListBegin
            | WatchOutput::PageEnd
            | WatchOutput::ListEnd { .. }
            | WatchOutput::Quarantined { .. }
            | WatchOutput::Gone => {}
        }
    }

    /// The figures.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let counters = &self.shared.counters;
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let state = self.shared.lock();
        Metrics {
            hits: get(&counters.hits),
            misses: get(&counters.misses),
            coalesced: get(&counters.coalesced),
            requests: get(&counters.requests),
            fetched_bytes: get(&counters.fetched_bytes),
            absent: get(&counters.absent),
            errors: get(&counters.errors),
            evicted: get(&counters.evicted),
            held: state.kept.len(),
            held_bytes: state.kept.bytes(),
        }
    }
}

impl fmt::Debug for Bodies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bodies")
            .field("metrics", &self.metrics())
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Nothing can panic while it is held, so what is behind it is whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Time {
        (self.now)()
    }

    /// Sees to it that bodies nobody asks for any more are dropped when their time is
    /// over. One task while there are any; none else.
    fn sweep(self: &Arc<Self>, state: &mut State) {
        if state.sweeping || state.kept.is_empty() {
            return;
        }
        state.sweeping = true;
        let shared = Arc::downgrade(self);
        let mut pause = Duration::ZERO;
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(pause).await;
                let Some(shared) = shared.upgrade() else {
                    return;
                };
                let now = shared.now();
                let mut state = shared.lock();
                let dropped = state.kept.expire(now);
                if dropped > 0 {
                    let (held, bytes) = (state.kept.len(), state.kept.bytes());
                    let Counters {
                        hits,
                        misses,
                        requests,
                        errors,
                        ..
                    } = &shared.counters;
                    tracing::debug!(
                        dropped,
                        held,
                        bytes,
                        ?hits,
                        ?misses,
                        ?requests,
                        ?errors,
                        "cached bodies expired"
                    );
                }
                match state.kept.next_expiry() {
                    Some(next) => pause = (next - now).max(SWEEP),
                    None => {
                        state.sweeping = false;
                        return;
                    }
                }
            }
        });
    }
}

/// Expired bodies are dropped at most so often: a second more of their memory costs less
/// than a wake-up for each.
const SWEEP: Duration = Duration::from_secs(1);
