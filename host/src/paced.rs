//! TCP connections that rest between reads. To be woken for each event of a busy watch costs a
//! process many times what the event costs, so a connection that may rest is left alone for a
//! while after it was read empty, and what came meanwhile is read at once. Does not know what
//! the bytes are, nor who may be kept waiting: that is [`crate::driver`]'s to say.

use std::{
    io::{self, Read},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::Notify,
    time::{Instant, Sleep},
};

#[cfg(test)]
mod tests;

/// What a connection and its reader tell each other. The reader finds it among the extensions of
/// an answer.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Who allowed it to rest last, in the upper half, and for how many milliseconds; 0: it
    /// may not.
    allowed: AtomicU64,
    /// A [`Phase`].
    phase: AtomicU8,
    paused: Notify,
}

/// What a connection is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// The system tells it when something arrives.
    Listening,
    /// It has rested, and reads what came meanwhile. When it has, it does one of the others.
    Reading,
    /// It leaves unread what arrives, for a while.
    Resting,
}

impl Pace {
    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Relaxed) {
            phase if phase == Phase::Reading as u8 => Phase::Reading,
            phase if phase == Phase::Resting as u8 => Phase::Resting,
            _ => Phase::Listening,
        }
    }

    /// Waits until the connection begins to rest, or listens again. May come back too early.
    pub(crate) async fn paused(&self) {
        self.paused.notified().await;
    }

    fn enter(&self, phase: Phase) {
        let before = self.phase.swap(phase as u8, Relaxed);
        if before != phase as u8 && phase != Phase::Reading {
            self.paused.notify_one();
        }
    }

    fn window(&self) -> Duration {
        Duration::from_millis(self.allowed.load(Relaxed) & MILLIS)
    }
}

/// The lower half of [`Pace::allowed`].
const MILLIS: u64 = 0xffff_ffff;

/// Lets a connection rest, until it is dropped, or another one lets the same connection.
#[derive(Debug)]
pub(crate) struct MayRest {
    pace: Arc<Pace>,
    who: u64,
}

impl MayRest {
    /// For `window` at most; below a millisecond it does not.
    pub(crate) fn new(pace: &Arc<Pace>, window: Duration) -> Self {
        // The next one; the window that was allowed before is replaced at once.
        let before = pace.allowed.fetch_add(MILLIS + 1, Relaxed);
        let this = Self {
            pace: Arc::clone(pace),
            who: (before & !MILLIS).wrapping_add(MILLIS + 1),
        };
        this.allow(window);
        this
    }

    /// For so long from now on.
    pub(crate) fn allow(&self, window: Duration) {
        let millis = u64::try_from(window.as_millis())
            .unwrap_or(MILLIS)
            .min(MILLIS);
        let own = |allowed: u64| (allowed & !MILLIS == self.who).then_some(self.who | millis);
        // Otherwise the connection serves another answer by now.
        _ = self.pace.allowed.fetch_update(Relaxed, Relaxed, own);
    }

    pub(crate) fn pace(&self) -> &Pace {
        &self.pace
    }
}

impl Drop for MayRest {
    fn drop(&mut self) {
        self.allow(Duration::ZERO);
    }
}

/// A rest is as long as it takes for so many bytes to come: a few dozen events, and less than
/// the receive window that connections usually begin with, so that the other side is not held up.
const VOLUME: f64 = 48.0 * 1024.0;

/// How long what was read counts for the rate.
const MEMORY: Duration = Duration::from_millis(100);

/// Read at once after a rest. Clearing a larger buffer would cost more than another read.
const AT_ONCE: usize = 32 << 10;

/// Timers are no finer.
const SHORTEST: Duration = Duration::from_millis(1);

/// The first rest is only this part of the longest: it shows how much comes.
const FIRST: u32 = 5;

/// When to rest, and how long.
#[derive(Debug)]
struct Rhythm {
    /// Bytes a second, the latest counting most.
    rate: f64,
    read_at: Instant,
    /// When bytes arrived after there had been none.
    arrived_at: Instant,
    /// Between the last two such moments.
    gap: Duration,
    /// When everything was read that had arrived, and the bytes since then.
    empty_at: Instant,
    since: f64,
    was_empty: bool,
}

impl Rhythm {
    fn new(now: Instant) -> Self {
        Self {
            rate: 0.0,
            read_at: now,
            arrived_at: now,
            gap: Duration::MAX,
            empty_at: now,
            since: 0.0,
            was_empty: true,
        }
    }

    fn read(&mut self, now: Instant, bytes: usize) {
        if std::mem::take(&mut self.was_empty) {
            self.gap = now - self.arrived_at;
            self.arrived_at = now;
        }
        let bytes = f64::from(u32::try_from(bytes).unwrap_or(u32::MAX));
        let age = (now - self.read_at).as_secs_f64() / MEMORY.as_secs_f64();
        self.rate = self.rate * (-age).exp() + bytes / MEMORY.as_secs_f64();
        self.since += bytes;
        self.read_at = now;
    }

    /// How long to rest after everything was read; `None`: not at all.
    fn rest(&mut self, now: Instant, longest: Duration) -> Option<Duration> {
        // What has just become busy is not to be held up while the mean follows.
        let latest = self.since / (now - self.empty_at).as_secs_f64().max(1e-6);
        self.rate = self.rate.max(latest);
        (self.since, self.empty_at, self.was_empty) = (0.0, now, true);
        let rest = Duration::try_from_secs_f64(VOLUME / self.rate).unwrap_or(longest);
        Some(rest.min(longest)).filter(|rest| *rest >= SHORTEST)
    }

    /// The same for a first rest. It is none unless something is likely to come meanwhile.
    fn first_rest(&mut self, now: Instant, longest: Duration) -> Option<Duration> {
        let rest = self.rest(now, longest)?;
        (self.gap <= longest).then_some(rest.min((longest / FIRST).max(SHORTEST)))
    }
}

/// What reads from the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// It hands on what it has read before it reads again.
    HandsOver,
    /// It reads on until nothing is left, and then hands on what it has.
    ReadsOn,
}

/// A connection as hyper reads and writes it.
#[derive(Debug)]
pub(crate) struct PacedStream {
    kind: Reader,
    /// Whether something was read since it was last found empty.
    has_read: bool,
    socket: Socket,
    rhythm: Rhythm,
    pace: Arc<Pace>,
    /// Who waits for the rest to end.
    reader: Option<Waker>,
}

#[derive(Debug)]
enum Socket {
    /// The system wakes us when something arrives.
    Listening(TcpStream),
    /// It does not. The timer is that of the rest, if it rests.
    Apart(std::net::TcpStream, Option<Pin<Box<Sleep>>>),
    /// It could not be taken from one to the other.
    Lost,
}

fn lost() -> io::Error {
    io::Error::other("the socket was lost")
}

impl PacedStream {
    /// One that listens, and does not rest before it may.
    pub(crate) fn new(stream: TcpStream, kind: Reader) -> Self {
        Self {
            kind,
            has_read: false,
            socket: Socket::Listening(stream),
            rhythm: Rhythm::new(Instant::now()),
            pace: Arc::default(),
            reader: None,
        }
    }

    /// The socket as the system wakes us for it.
    fn listen(&mut self) -> io::Result<&mut TcpStream> {
        self.pace.enter(Phase::Listening);
        if let Socket::Apart(..) = self.socket
            && let Socket::Apart(socket, _) = std::mem::replace(&mut self.socket, Socket::Lost)
        {
            self.socket = Socket::Listening(TcpStream::from_std(socket)?);
            // Whoever writes ends a rest, and the reader does not know the socket as it is now.
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
        }
        match &mut self.socket {
            Socket::Listening(stream) => Ok(stream),
            Socket::Apart(..) | Socket::Lost => Err(lost()),
        }
    }

    /// Whether the reader has to hand on what it has before a rest, so that a rest means that
    /// everything was handed on: then it is to be asked again.
    fn hands_on_first(&mut self, cx: &Context<'_>) -> bool {
        let first = std::mem::take(&mut self.has_read) && self.kind == Reader::ReadsOn;
        if first {
            cx.waker().wake_by_ref();
        }
        first
    }

    /// Takes the socket away from the system's notice.
    fn rest(&mut self, rest: Duration) -> io::Result<()> {
        let timer = Some(Box::pin(tokio::time::sleep(rest)));
        self.socket = match std::mem::replace(&mut self.socket, Socket::Lost) {
            Socket::Listening(stream) => Socket::Apart(stream.into_std()?, timer),
            Socket::Apart(socket, _) => Socket::Apart(socket, timer),
            Socket::Lost => return Err(lost()),
        };
        self.pace.enter(Phase::Resting);
        Ok(())
    }
}

impl AsyncRead for PacedStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        loop {
            match &mut this.socket {
                Socket::Listening(stream) => {
                    let window = this.pace.window();
                    if let Poll::Ready(read) = Pin::new(stream).poll_read(cx, buffer) {
                        if !window.is_zero() {
                            let bytes = buffer.filled().len() - before;
                            this.rhythm.read(Instant::now(), bytes);
                            this.has_read = true;
                        }
                        return Poll::Ready(read);
                    }
                    match this.rhythm.first_rest(Instant::now(), window) {
                        Some(rest) if !this.hands_on_first(cx) => this.rest(rest)?,
                        Some(_) | None => return Poll::Pending,
                    }
                }
                Socket::Apart(socket, timer) => {
                    let rested = timer.is_some();
                    if let Some(sleep) = timer {
                        this.reader = Some(cx.waker().clone());
                        ready!(sleep.as_mut().poll(cx));
                        (*timer, this.reader) = (None, None);
                        this.pace.enter(Phase::Reading);
                    }
                    let some = buffer.initialize_unfilled_to(buffer.remaining().min(AT_ONCE));
                    match socket.read(some) {
                        Ok(bytes) => {
                            buffer.advance(bytes);
                            this.rhythm.read(Instant::now(), bytes);
                            this.has_read = true;
                            return Poll::Ready(Ok(()));
                        }
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                            let window = this.pace.window();
                            let rest = this.rhythm.rest(Instant::now(), window).filter(|_| !rested);
                            match rest {
                                Some(_) if this.hands_on_first(cx) => return Poll::Pending,
                                Some(rest) => this.rest(rest)?,
                                // It has become quiet, or may not rest any more, or is so busy
                                // that it need not.
                                None => {
                                    this.rhythm.gap = Duration::MAX;
                                    this.listen()?;
                                }
                            }
                        }
                        Err(error) => return Poll::Ready(Err(error)),
                    }
                }
                Socket::Lost => return Poll::Ready(Err(lost())),
            }
        }
    }
}

impl AsyncWrite for PacedStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.get_mut().listen()?).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.get_mut().listen()?).poll_write_vectored(cx, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Nothing is held back.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.get_mut().listen()?).poll_shutdown(cx)
    }
}

impl Connection for PacedStream {
    fn connected(&self) -> Connected {
        let connected = match &self.socket {
            Socket::Listening(stream) => stream.connected(),
            Socket::Apart(..) | Socket::Lost => Connected::new(),
        };
        connected.extra(Arc::clone(&self.pace))
    }
}
