//! Owns an answer on its way out: where it breaks off, in which chunks and how
//! compressed it arrives.
//!
//! server's bytes ▶ events edited ▶ broken off ▶ put together ▶ compressed ▶ cut up

use std::collections::VecDeque;
use std::io::{self, Write};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Response, header};
use http_body_util::BodyExt;
use tokio::time::{Instant, sleep, sleep_until};

use super::events::{Edit, Events, Piece, edit_list};
use super::front::Wire;
use super::log::{Logged, Verb};
use super::rule::{Fault, How, Place};
use super::{Acting, Ending};
use crate::body::{self, Body};
use crate::clock::Chance;
use crate::request::accepts_gzip;

/// How an answer is to be changed.
#[derive(Debug, Default)]
pub(crate) struct Shape {
    edits: Vec<Edit>,
    breaks: Vec<(Place, How)>,
    coalesce: Option<(usize, Duration)>,
    gzip: Option<Gzip>,
    split: Option<Split>,
}

impl Shape {
    pub(crate) fn of(acting: &[Acting], asked: &Logged, headers: &HeaderMap, newest: u64) -> Self {
        let mut shape = Self::default();
        for one in acting {
            shape.edits.extend(Edit::of(one, asked, newest));
            match &one.fault {
                Fault::Break { at, how } => shape.breaks.push((*at, *how)),
                Fault::Coalesce { events, wait } => shape.coalesce = Some((*events, *wait)),
                Fault::Gzip { members, unasked } if *unasked || accepts_gzip(headers) => {
                    shape.gzip = Some(Gzip::new(*members));
                }
                Fault::Split { bytes, seed } => {
                    let chance = seed.map(|seed| Chance::new(Some(seed.wrapping_add(one.hit))));
                    shape.split = Some(Split {
                        most: (*bytes).max(1),
                        chance,
                    });
                }
                Fault::Status(_)
                | Fault::Html { .. }
                | Fault::Unauthorized { .. }
                | Fault::Forbidden { .. }
                | Fault::Expired { .. }
                | Fault::ErrorEvent { .. }
                | Fault::TooLargeVersion
                | Fault::RefuseStreaming { .. }
                | Fault::ExpireContinue { .. }
                | Fault::Delay { .. }
                | Fault::Hold { .. }
                | Fault::Lag { .. }
                | Fault::WithholdBookmark
                | Fault::Inject { .. }
                | Fault::Pad { .. }
                | Fault::Gzip { .. } => {}
            }
        }
        shape
    }

    pub(crate) fn is_none(&self) -> bool {
        self.edits.is_empty()
            && self.breaks.is_empty()
            && self.coalesce.is_none()
            && self.gzip.is_none()
            && self.split.is_none()
    }

    /// Changes an answer, whose body must not be compressed. `ending` is a stream's.
    pub(crate) fn apply(
        self,
        asked: &Logged,
        mut response: Response<Body>,
        ending: Option<Ending>,
        wire: &Wire,
    ) -> Response<Body> {
        if self.gzip.is_some() {
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        }
        let good = response.status() == 200;
        response.map(|inner| {
            let shaped = Shaped::new(self, asked, good, inner, ending, wire.clone());
            body::fallible(stream::unfold(shaped, |mut shaped| async move {
                let chunk = shaped.next().await?;
                Some((chunk, shaped))
            }))
        })
    }
}

/// An answer between two chunks.
struct Shaped {
    inner: Option<Body>,
    content: Content,
    /// Events, or parts of another answer, that have not been sent.
    pieces: VecDeque<Piece>,
    /// Bytes that have been sent, before compression.
    passed: u64,
    /// Bytes after which it breaks.
    byte_break: Option<(u64, How)>,
    timed_break: Option<(Instant, How)>,
    coalesce: Option<(usize, Duration)>,
    gathered: Vec<u8>,
    gathered_events: usize,
    gathered_until: Option<Instant>,
    gzip: Option<Gzip>,
    split: Option<Split>,
    ready: VecDeque<Bytes>,
    broken: Option<How>,
    finished: bool,
    ending: Option<Ending>,
    wire: Wire,
}

/// What the body is, as far as it matters.
enum Content {
    Stream(Events),
    /// A list that is to be edited, as far as it has come.
    List(Vec<Edit>, Vec<u8>),
    Other,
}

impl Shaped {
    fn new(
        shape: Shape,
        asked: &Logged,
        good: bool,
        inner: Body,
        ending: Option<Ending>,
        wire: Wire,
    ) -> Self {
        let mut pieces = Vec::new();
        let content = if good && asked.verb.is_stream() && !shape.edits.is_empty() {
            Content::Stream(Events::new(shape.edits, &mut pieces))
        } else if good && asked.verb == Verb::List && !shape.edits.is_empty() {
            Content::List(shape.edits, Vec::new())
        } else {
            Content::Other
        };
        let now = Instant::now();
        let byte_break = shape.breaks.iter().filter_map(|(at, how)| match at {
            Place::Bytes(bytes) => Some((*bytes, *how)),
            Place::Start | Place::Event { .. } | Place::Millis(_) => None,
        });
        let timed_break = shape.breaks.iter().filter_map(|(at, how)| match at {
            Place::Millis(after) => Some((now + *after, *how)),
            Place::Start | Place::Event { .. } | Place::Bytes(_) => None,
        });
        let byte_break = byte_break.min_by_key(|(bytes, _)| *bytes);
        if let Some((0, how)) = byte_break {
            pieces.insert(0, Piece::Break(how));
        }
        Self {
            inner: Some(inner),
            content,
            pieces: pieces.into(),
            passed: 0,
            byte_break,
            timed_break: timed_break.min_by_key(|(at, _)| *at),
            coalesce: shape.coalesce,
            gathered: Vec::new(),
            gathered_events: 0,
            gathered_until: None,
            gzip: shape.gzip,
            split: shape.split,
            ready: VecDeque::new(),
            broken: None,
            finished: false,
            ending,
            wire,
        }
    }

    /// The next chunk; `None` ends the body.
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        loop {
            if let Some(chunk) = self.ready.pop_front() {
                return Some(Ok(chunk));
            }
            if self.finished {
                return None;
            }
            match self.broken {
                None => match self.pieces.pop_front() {
                    Some(piece) => self.take(piece),
                    None => self.wait().await,
                },
                Some(How::Stall) => std::future::pending().await,
                Some(How::Trickle { every }) => {
                    sleep(every).await;
                    self.emit(b" ");
                }
                Some(How::End) => self.finish(),
                Some(How::Fin) => return Some(Err(self.wire.fin().await)),
                Some(How::Reset) => return Some(Err(self.wire.reset().await)),
            }
        }
    }

    /// Waits for the server, or for what happens without it.
    async fn wait(&mut self) {
        let Some(inner) = &mut self.inner else {
            self.take(Piece::Break(How::End));
            return;
        };
        let told = async {
            match &mut self.ending {
                Some(ending) => ending.told().await,
                None => std::future::pending().await,
            }
        };
        let broken = async {
            match self.timed_break {
                Some((at, how)) => {
                    sleep_until(at).await;
                    how
                }
                None => std::future::pending().await,
            }
        };
        let gathered = async {
            match self.gathered_until {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = told => self.pieces.push_back(Piece::Break(How::End)),
            how = broken => self.pieces.push_back(Piece::Break(how)),
            frame = inner.frame() => match frame {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.arrived(data);
                    }
                }
                // The server's own bodies do not fail.
                Some(Err(_)) | None => self.ended(),
            },
            () = gathered => self.flush(),
        }
    }

    fn arrived(&mut self, data: Bytes) {
        match &mut self.content {
            Content::Stream(events) => {
                let mut pieces = Vec::new();
                events.push(&data, &mut pieces);
                self.pieces.extend(pieces);
            }
            Content::List(_, so_far) => so_far.extend_from_slice(&data),
            Content::Other => self.pieces.push_back(Piece::Data(data)),
        }
    }

    fn ended(&mut self) {
        self.inner = None;
        if let Content::List(edits, so_far) = &mut self.content {
            let edited = edit_list(edits, std::mem::take(so_far).into());
            self.pieces.push_back(Piece::Data(edited));
        }
    }

    fn take(&mut self, piece: Piece) {
        match piece {
            Piece::Data(mut data) => {
                let mut broken = None;
                let room = self.byte_break.map(|(bytes, _)| bytes - self.passed);
                let room = room.and_then(|room| usize::try_from(room).ok());
                if let (Some(room), Some((_, how))) = (room, self.byte_break)
                    && data.len() >= room
                {
                    data.truncate(room);
                    broken = Some(how);
                }
                self.passed += data.len() as u64;
                match self.coalesce {
                    Some((events, wait)) => self.gather(&data, events, wait),
                    None => self.emit(&data),
                }
                if let Some(how) = broken {
                    self.take(Piece::Break(how));
                }
            }
            Piece::Break(how) => {
                self.flush();
                self.broken = Some(how);
            }
        }
    }

    /// Keeps events back until enough have come together.
    fn gather(&mut self, data: &[u8], events: usize, wait: Duration) {
        let lines = data.iter().filter(|byte| **byte == b'\n').count();
        self.gathered.extend_from_slice(data);
        self.gathered_events += lines;
        self.gathered_until
            .get_or_insert_with(|| Instant::now() + wait);
        if self.gathered_events >= events {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.gathered_until = None;
        self.gathered_events = 0;
        let gathered = std::mem::take(&mut self.gathered);
        self.emit(&gathered);
    }

    fn emit(&mut self, plain: &[u8]) {
        if plain.is_empty() {
            return;
        }
        let coded = match &mut self.gzip {
            Some(gzip) => gzip.push(plain),
            None => Bytes::copy_from_slice(plain),
        };
        self.cut(coded);
    }

    fn cut(&mut self, mut coded: Bytes) {
        while let Some(split) = &mut self.split
            && !coded.is_empty()
        {
            let size = split.size().min(coded.len());
            self.ready.push_back(coded.split_to(size));
        }
        if !coded.is_empty() {
            self.ready.push_back(coded);
        }
    }

    fn finish(&mut self) {
        if let Some(gzip) = self.gzip.take() {
            self.cut(gzip.finish());
        }
        self.finished = true;
    }
}

/// A body that is compressed chunk by chunk.
#[derive(Debug)]
enum Gzip {
    One(GzEncoder<Vec<u8>>),
    Members,
}

impl Gzip {
    fn new(members: bool) -> Self {
        if members {
            Self::Members
        } else {
            Self::One(encoder())
        }
    }

    fn push(&mut self, plain: &[u8]) -> Bytes {
        match self {
            Self::One(encoder) => {
                write(encoder, plain);
                std::mem::take(encoder.get_mut()).into()
            }
            Self::Members => {
                let mut encoder = encoder();
                write(&mut encoder, plain);
                closed(encoder)
            }
        }
    }

    fn finish(self) -> Bytes {
        match self {
            Self::One(encoder) => closed(encoder),
            Self::Members => Bytes::new(),
        }
    }
}

fn encoder() -> GzEncoder<Vec<u8>> {
    GzEncoder::new(Vec::new(), Compression::fast())
}

fn write(encoder: &mut GzEncoder<Vec<u8>>, plain: &[u8]) {
    let written = encoder.write_all(plain).and_then(|()| encoder.flush());
    debug_assert!(written.is_ok(), "a vector takes every byte");
}

fn closed(encoder: GzEncoder<Vec<u8>>) -> Bytes {
    let closed = encoder.finish();
    debug_assert!(closed.is_ok(), "a vector takes every byte");
    closed.unwrap_or_default().into()
}

/// The sizes of chunks.
#[derive(Debug)]
struct Split {
    most: usize,
    chance: Option<Chance>,
}

impl Split {
    fn size(&mut self) -> usize {
        match &mut self.chance {
            Some(chance) => {
                let most = self.most as u64;
                usize::try_from(chance.next() % most).map_or(self.most, |size| size + 1)
            }
            None => self.most,
        }
    }
}
