//! The time that guests see, and the random numbers they draw: the machine's, or virtual ones,
//! which are the same every time. Owns what a sleep does in virtual time; the limit on a
//! callback's computing stays one of real time.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use rand_core::{Infallible, TryRng};
use tokio::sync::Notify;
use wasmtime::component::{HasData, Linker, Resource};
use wasmtime_wasi::{
    HostMonotonicClock, HostWallClock, WasiCtxBuilder, WasiCtxView, WasiView, async_trait,
    clocks::WasiClocksCtxView,
    p2::{DynPollable, Pollable, bindings::clocks::monotonic_clock, subscribe},
};

use super::guest::GuestState;

/// Where a plugin's time and random numbers come from.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The machine's clocks and its random numbers.
    #[default]
    System,
    /// A clock that stands still until it is set, and random numbers from a seed.
    Virtual(VirtualClock),
}

/// A clock that its owner moves. Clones are the same clock.
///
/// Guests read it as WASI's wall clock and monotonic clock; it stands still while a callback
/// runs, so a callback that runs twice reads the same. Only a sleep moves time, and only for the
/// instance that sleeps: it returns at once, that much later. [`Usage::slept`] says how much, so
/// that the owner can [advance](Self::advance_to) the clock by it. A sleep beyond the callback's
/// time limit, which counts from the callback's beginning, ends the callback as a real one does,
/// and without waiting. A guest that computes, or reads the clock in a loop until it has moved,
/// is still cut off after that much real time.
///
/// Of several timers that a guest waits for at once the earliest is due. Files of a granted
/// directory are read in real time: which is first, one of them or a timer, is not defined.
///
/// Random numbers are drawn from the seed, for each instance anew: what makes an instance draw
/// the same numbers as another is that it is called in the same way.
///
/// [`Usage::slept`]: super::Usage::slept
#[derive(Clone, Debug)]
pub struct VirtualClock(Arc<Source>);

#[derive(Debug)]
struct Source {
    /// Since 1970.
    began: Duration,
    seed: u64,
    /// Nanoseconds, of which there are 584 years.
    elapsed: AtomicU64,
}

impl VirtualClock {
    /// A clock at this date, which may not be before 1970 (it is 1970 then).
    #[must_use]
    pub fn new(began: SystemTime, seed: u64) -> Self {
        let began = began.duration_since(SystemTime::UNIX_EPOCH);
        Self(Arc::new(Source {
            began: began.unwrap_or_default(),
            seed,
            elapsed: AtomicU64::new(0),
        }))
    }

    /// Moves the clock to this long after its beginning; it never goes back.
    pub fn advance_to(&self, elapsed: Duration) {
        self.0.elapsed.fetch_max(nanos(elapsed), Ordering::Relaxed);
    }

    /// The date that it shows.
    #[must_use]
    pub fn date(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.0.began.saturating_add(self.elapsed())
    }

    /// How long after its beginning it is.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.0.elapsed.load(Ordering::Relaxed))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Virtual time as one instance sees it.
#[derive(Clone)]
pub(super) struct GuestTime(Arc<Shared>);

struct Shared {
    clock: VirtualClock,
    state: Mutex<State>,
    /// A sleep would have gone on beyond the time limit.
    over: Notify,
}

#[derive(Default)]
struct State {
    /// All in nanoseconds since the clock's beginning.
    now: u64,
    began: u64,
    until: u64,
    /// When the timers are due that the guest waits for, and how many are.
    waiting: BTreeMap<u64, usize>,
}

impl Clock {
    /// The time of a new instance; `None`: the machine's.
    pub(super) fn guest_time(&self) -> Option<GuestTime> {
        match self {
            Self::System => None,
            Self::Virtual(clock) => Some(GuestTime(Arc::new(Shared {
                clock: clock.clone(),
                state: Mutex::default(),
                over: Notify::new(),
            }))),
        }
    }
}

impl GuestTime {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the guest see this time, and draw numbers that belong to it.
    pub(super) fn install(&self, wasi: &mut WasiCtxBuilder) {
        let mut seeds = SplitMix(self.0.clock.0.seed);
        let mut seed = || seeds.next();
        wasi.wall_clock(self.clone())
            .monotonic_clock(self.clone())
            .secure_random(SplitMix(seed()))
            .insecure_random(SplitMix(seed()))
            .insecure_random_seed(u128::from(seed()) << 64 | u128::from(seed()));
    }

    /// A callback begins, and may sleep for as long as `limit`.
    pub(super) fn begin(&self, limit: Duration) {
        let source = nanos(self.0.clock.elapsed());
        let mut state = self.lock();
        state.now = state.now.max(source);
        state.began = state.now;
        state.until = state.now.saturating_add(nanos(limit));
        state.waiting.clear();
    }

    /// How much the running callback, or the last one, has slept.
    pub(super) fn slept(&self) -> Duration {
        let state = self.lock();
        Duration::from_nanos(state.now - state.began)
    }

    /// How long after the clock's beginning it is for this instance.
    pub(super) fn now(&self) -> Duration {
        Duration::from_nanos(self.lock().now)
    }

    /// Returns when a sleep has used up the callback's time.
    pub(super) async fn over(&self) {
        self.0.over.notified().await;
    }

    /// Waits for a timer. At the first call it is written down, and the others that the guest
    /// waits for at the same time can be; then the earliest is due.
    fn wait(&self, due: u64, waiting: &mut bool, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if due <= state.now {
            return Poll::Ready(());
        }
        if !*waiting {
            *waiting = true;
            *state.waiting.entry(due).or_default() += 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if state.waiting.keys().next() != Some(&due) {
            // The earliest one is polled in the same round, and ends it.
            return Poll::Pending;
        }
        if due > state.until {
            state.now = state.until;
            self.0.over.notify_one();
            return Poll::Pending;
        }
        state.now = due;
        Poll::Ready(())
    }

    fn stop_waiting(&self, due: u64) {
        let mut state = self.lock();
        if let Some(count) = state.waiting.get_mut(&due) {
            *count -= 1;
            if *count == 0 {
                state.waiting.remove(&due);
            }
        }
    }
}

impl HostWallClock for GuestTime {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        self.0.clock.0.began.saturating_add(GuestTime::now(self))
    }
}

impl HostMonotonicClock for GuestTime {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        self.lock().now
    }
}

/// Something of virtual time that a guest can wait for.
struct Timer {
    time: GuestTime,
    due: u64,
}

#[async_trait]
impl Pollable for Timer {
    async fn ready(&mut self) {
        struct Wait<'a> {
            timer: &'a Timer,
            waiting: bool,
        }
        impl Drop for Wait<'_> {
            fn drop(&mut self) {
                if self.waiting {
                    self.timer.time.stop_waiting(self.timer.due);
                }
            }
        }
        let mut wait = Wait {
            timer: self,
            waiting: false,
        };
        poll_fn(|cx| wait.timer.time.wait(wait.timer.due, &mut wait.waiting, cx)).await;
    }
}

/// Puts these timers in the place of wasmtime's, which are of real time whatever the clock is.
pub(super) fn add_to_linker(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    monotonic_clock::add_to_linker::<GuestState, Timers>(linker, |state| {
        let time = state.time.clone();
        let WasiCtxView { ctx, table } = state.ctx();
        let ctx = ctx.clocks();
        let wasi = WasiClocksCtxView { ctx, table };
        TimersView { time, wasi }
    })?;
    linker.allow_shadowing(false);
    Ok(())
}

struct Timers;

impl HasData for Timers {
    type Data<'a> = TimersView<'a>;
}

struct TimersView<'a> {
    time: Option<GuestTime>,
    wasi: WasiClocksCtxView<'a>,
}

impl TimersView<'_> {
    fn timer(&mut self, time: GuestTime, due: u64) -> wasmtime::Result<Resource<DynPollable>> {
        let timer = self.wasi.table.push(Timer { time, due })?;
        subscribe(self.wasi.table, timer)
    }
}

impl monotonic_clock::Host for TimersView<'_> {
    fn now(&mut self) -> wasmtime::Result<u64> {
        self.wasi.now()
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        self.wasi.resolution()
    }

    fn subscribe_instant(&mut self, when: u64) -> wasmtime::Result<Resource<DynPollable>> {
        match self.time.take() {
            Some(time) => self.timer(time, when),
            None => self.wasi.subscribe_instant(when),
        }
    }

    fn subscribe_duration(&mut self, duration: u64) -> wasmtime::Result<Resource<DynPollable>> {
        match self.time.take() {
            Some(time) => {
                let now = time.lock().now;
                self.timer(time, now.saturating_add(duration))
            }
            None => self.wasi.subscribe_duration(duration),
        }
    }
}

/// SplitMix64: small, and the same everywhere.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl TryRng for SplitMix {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let [a, b, c, d, ..] = self.next().to_le_bytes();
        Ok(u32::from_le_bytes([a, b, c, d]))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.next())
    }

    fn try_fill_bytes(&mut self, into: &mut [u8]) -> Result<(), Infallible> {
        for part in into.chunks_mut(8) {
            part.copy_from_slice(&self.next().to_le_bytes()[..part.len()]);
        }
        Ok(())
    }
}
