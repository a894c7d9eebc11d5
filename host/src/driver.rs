//! Performs the actions of one list/watch machine over kube's client, on raw
//! bytes. Owns a request in flight, and when what came is handed over together; every
//! other decision is [`haptic_core::watch`]'s.

mod gathering;
mod traffic;

use std::{
    io::Write,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use haptic_core::{
    Time,
    watch::{
        Action, Input, Machine, NoteLevel, Request, RequestKind, TransportError,
        TransportErrorKind, WatchOutput, WatchState,
    },
};
use http::{HeaderMap, Response, header};
use http_body_util::BodyExt;
use kube::client::Body;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use crate::{
    access::Access,
    chain::{chain, printable},
    paced::{MayRest, Pace, Phase},
};

use gathering::Gathering;
pub use gathering::Patience;
pub use traffic::Traffic;

/// What a watch tells the dispatch loop.
#[derive(Debug)]
pub enum Report {
    /// News of the objects, in order, each with the reader whom it is for.
    Outputs(Vec<(usize, WatchOutput)>),
    /// The state has changed, or the count of a list has moved.
    State(WatchState),
}

/// Lists under way at the same time with all clones of one [`Access`] (contract W7): enough to keep
/// two cores decoding, few enough not to be throttled by the server's priority
/// and fairness.
pub const CONCURRENT_LISTS: usize = 4;

/// Instead of a moment that the clock cannot express: a year, longer than anybody
/// waits and short enough for every timer.
pub(crate) const FAR: Duration = Duration::from_secs(365 * 24 * 3_600);

/// The clock that all machines and the dispatch loop share: tokio's, so that a
/// paused runtime stops it too.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// A clock that starts now.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Time {
        Time::from_origin(self.0.elapsed())
    }

    /// The moment as tokio's timers take it; one beyond what they can express is
    /// a year away.
    #[must_use]
    pub fn deadline(&self, time: Time) -> Instant {
        let moment = self.0.checked_add(time.since_origin());
        moment.unwrap_or(self.0 + FAR)
    }

    /// Waits for the moment; for ever when there is none.
    pub async fn sleep_until(&self, time: Option<Time>) {
        match time {
            Some(time) => tokio::time::sleep_until(self.deadline(time)).await,
            None => std::future::pending().await,
        }
    }
}

type Opening = Pin<Box<dyn Future<Output = Result<Response<Body>, kube::Error>> + Send>>;
type Permit = Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>> + Send>>;

/// The request in flight.
enum Flight {
    /// None: the machine waits for time to pass.
    Idle,
    /// Waiting for a permit to list.
    Queued(Permit, Option<Request>),
    /// Sent, no headers yet.
    Opening(Opening),
    /// The body is coming; these bytes of it are here.
    Reading(Body, Option<Box<Inflate>>, Bytes),
}

/// Compressed bytes that are decoded at once: they become at most a thousand times as many,
/// and what is read next waits until those were taken in. So no answer takes more than some
/// 4 MiB, whatever it expands to.
pub(crate) const SLICE: usize = 4 << 10;

/// A gzip decoder that hands out what it has decoded so far; several members in
/// one stream are one text (contract W11).
pub(crate) struct Inflate(pub(crate) MultiGzDecoder<Vec<u8>>);

impl Inflate {
    pub(crate) fn push(&mut self, chunk: &[u8]) -> std::io::Result<Vec<u8>> {
        self.0.write_all(chunk)?;
        self.0.flush()?;
        Ok(std::mem::take(self.0.get_mut()))
    }
}

/// Something that came from the network.
enum Arrival {
    Permit(Option<OwnedSemaphorePermit>),
    Headers(Result<Response<Body>, kube::Error>),
    Chunk(Option<Result<Bytes, kube::Error>>),
}

/// While a list is under way, its count is reported this often.
const PROGRESS: Duration = Duration::from_secs(1);

/// One machine with what it needs to act.
pub struct Driver {
    access: Access,
    machine: Machine,
    lists: Arc<Semaphore>,
    streamable: Arc<AtomicBool>,
    clock: Clock,
    flight: Flight,
    /// The request that has no answer yet.
    asked: Option<RequestKind>,
    traffic: Arc<Traffic>,
    permit: Option<OwnedSemaphorePermit>,
    actions: Vec<Action>,
    gathering: Gathering,
    /// Of the connection that a stream comes on, if it is one that can.
    rest: Option<MayRest>,
    name: String,
    last_warning: String,
}

impl Driver {
    /// `name` is the watch's, for the log; `lists` bounds the lists under way over
    /// all drivers of the process; `streamable` is shared by all watches of a
    /// resource, true until one learns that the server cannot stream its lists
    /// (contract W4); `patience` is that of those who hear of its news.
    #[must_use]
    pub fn new(
        name: &str,
        access: Access,
        machine: Machine,
        patience: Arc<Patience>,
        lists: Arc<Semaphore>,
        streamable: Arc<AtomicBool>,
        clock: Clock,
    ) -> Self {
        Self {
            name: name.to_owned(),
            last_warning: String::new(),
            access,
            machine,
            lists,
            streamable,
            clock,
            flight: Flight::Idle,
            asked: None,
            traffic: Arc::default(),
            permit: None,
            actions: Vec::new(),
            gathering: Gathering::new(patience),
            rest: None,
        }
    }

    /// What the stream costs, from now on.
    #[must_use]
    pub fn traffic(&self) -> Arc<Traffic> {
        Arc::clone(&self.traffic)
    }

    /// Runs the watch until `report` answers that nobody listens any more.
    /// Dropping the future ends it at any point. While `report` waits, nothing is
    /// read from the network: a slow consumer slows the server down, and no
    /// buffer grows.
    pub async fn run<F, R>(mut self, mut report: F)
    where
        F: FnMut(Report) -> R,
        R: Future<Output = bool>,
    {
        let mut told_at = self.clock.now();
        self.step(Input::Start);
        loop {
            let phase = self.phase();
            let held = self.gathering.holds(self.clock.now(), phase, &self.actions);
            if !held {
                let reports = self.act();
                let reported = !reports.is_empty();
                for told in reports {
                    if !report(told).await {
                        return;
                    }
                }
                if reported {
                    let is_listing = matches!(self.machine.state(), WatchState::Listing { .. });
                    self.gathering.reported(self.clock.now(), is_listing);
                    if let Some(rest) = &self.rest {
                        rest.allow(self.gathering.window());
                    }
                }
            }
            let now = self.clock.now();
            if !matches!(self.machine.state(), WatchState::Listing { .. }) {
                told_at = now;
            } else if !held && now - told_at >= PROGRESS {
                told_at = now;
                if !report(Report::State(self.machine.state().clone())).await {
                    return;
                }
            }
            if !self.machine.needs_list_permit() {
                self.permit = None;
            }
            let until = self.gathering.until(phase).filter(|_| held);
            let deadline = self.machine.deadline().into_iter().chain(until).min();
            let clock = self.clock;
            // What has arrived comes before a deadline: after a slow report a live
            // stream would be called dead.
            tokio::select! {
                biased;
                arrival = arrive(&mut self.flight) => self.arrived(arrival),
                () = paused(self.rest.as_ref()), if held => {}
                () = clock.sleep_until(deadline) => self.step(Input::Tick),
            }
        }
    }

    fn phase(&self) -> Phase {
        let pace = self.rest.as_ref().map(MayRest::pace);
        pace.map_or(Phase::Listening, Pace::phase)
    }

    fn step(&mut self, input: Input<'_>) {
        if !self.streamable.load(Ordering::Relaxed) {
            self.machine.deny_streaming_lists();
        }
        self.machine
            .step(self.clock.now(), input, &mut self.actions);
        if !self.machine.may_stream_lists() {
            self.streamable.store(false, Ordering::Relaxed);
        }
        self.traffic.passed(self.machine.foreign());
    }

    /// Performs the machine's actions; answers what is to be reported.
    fn act(&mut self) -> Vec<Report> {
        let mut reports = Vec::new();
        while !self.actions.is_empty() {
            for action in std::mem::take(&mut self.actions) {
                match action {
                    Action::Send(request) => self.send(request),
                    Action::Close => self.close(),
                    Action::Emit { reader, output } => {
                        // What came is told to every reader, and counted once.
                        if reader == 0 {
                            self.traffic.saw(&output);
                        }
                        match reports.last_mut() {
                            Some(Report::Outputs(outputs)) => outputs.push((reader, output)),
                            _ => reports.push(Report::Outputs(vec![(reader, output)])),
                        }
                    }
                    Action::State(state) => reports.push(Report::State(state)),
                    Action::Note { level, message } => match level {
                        NoteLevel::Debug => tracing::debug!(watch = self.name, "{message}"),
                        NoteLevel::Info => tracing::info!(watch = self.name, "{message}"),
                        // A failure that repeats itself is news once.
                        NoteLevel::Warn if self.last_warning == message => {
                            tracing::debug!(watch = self.name, "{message}");
                        }
                        NoteLevel::Warn => {
                            tracing::warn!(watch = self.name, "{}", printable(&message));
                            self.last_warning = message;
                        }
                    },
                }
            }
        }
        reports
    }

    fn close(&mut self) {
        if let Some(kind) = self.asked.take() {
            self.traffic.answered(kind, None);
        }
        self.rest = None;
        self.flight = Flight::Idle;
    }

    fn send(&mut self, request: Request) {
        self.close();
        if request.kind.is_list() && self.permit.is_none() {
            let lists = Arc::clone(&self.lists);
            let permit = Box::pin(async move { lists.acquire_owned().await.ok() });
            self.flight = Flight::Queued(permit, Some(request));
        } else {
            self.open(&request);
        }
    }

    fn open(&mut self, request: &Request) {
        tracing::debug!(
            kind = request.kind.as_str(),
            path = request.path_and_query,
            "request"
        );
        let mut built = http::Request::get(request.path_and_query.as_str())
            .header(header::ACCEPT, request.accept);
        if !self.access.loopback {
            built = built.header(header::ACCEPT_ENCODING, "gzip");
        }
        let built = built.body(Body::empty());
        let client = self.access.client.clone();
        self.asked = Some(request.kind);
        self.flight = Flight::Opening(Box::pin(async move {
            client.send(built.map_err(kube::Error::HttpError)?).await
        }));
        self.step(Input::Sent);
    }

    fn arrived(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Permit(permit) => {
                self.permit = permit;
                if let Flight::Queued(_, request) = &mut self.flight
                    && let Some(request) = request.take()
                {
                    self.open(&request);
                }
            }
            Arrival::Headers(Ok(response)) => {
                let (parts, body) = response.into_parts();
                if let Some(kind) = self.asked.take() {
                    self.traffic.answered(kind, Some(parts.status.as_u16()));
                    let pace = parts.extensions.get::<Arc<Pace>>();
                    self.rest = pace
                        .filter(|_| kind.is_stream())
                        .map(|pace| MayRest::new(pace, self.gathering.window()));
                }
                let gzip = parts
                    .headers
                    .get(header::CONTENT_ENCODING)
                    .is_some_and(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"gzip"));
                self.flight = Flight::Reading(
                    body,
                    gzip.then(|| Box::new(Inflate(MultiGzDecoder::new(Vec::new())))),
                    Bytes::new(),
                );
                self.step(Input::Headers {
                    status: parts.status.as_u16(),
                    retry_after: retry_after(&parts.headers),
                    content_type: parts
                        .headers
                        .get(header::CONTENT_TYPE)
                        .and_then(|value| value.to_str().ok()),
                });
            }
            Arrival::Headers(Err(error)) => self.failed(transport_error(&error)),
            Arrival::Chunk(Some(Ok(chunk))) => {
                self.traffic.received(chunk.len());
                self.gathering.read(chunk.len());
                let inflated = match &mut self.flight {
                    Flight::Reading(_, Some(inflate), _) => Some(inflate.push(&chunk)),
                    _ => None,
                };
                match inflated {
                    None => self.step(Input::Chunk(&chunk)),
                    Some(Ok(bytes)) if bytes.is_empty() => {}
                    Some(Ok(bytes)) => self.step(Input::Chunk(&bytes)),
                    Some(Err(error)) => self.failed(TransportError {
                        kind: TransportErrorKind::Body,
                        text: format!("bad gzip: {error}"),
                    }),
                }
            }
            Arrival::Chunk(Some(Err(error))) => self.failed(TransportError {
                kind: TransportErrorKind::Reset,
                text: chain(&error),
            }),
            Arrival::Chunk(None) => {
                self.rest = None;
                self.flight = Flight::Idle;
                self.step(Input::End);
            }
        }
    }

    fn failed(&mut self, error: TransportError) {
        self.close();
        self.step(Input::Failed(error));
    }
}

/// Waits until the connection that may rest is read empty.
async fn paused(rest: Option<&MayRest>) {
    match rest {
        Some(rest) => rest.pace().paused().await,
        None => std::future::pending().await,
    }
}

async fn arrive(flight: &mut Flight) -> Arrival {
    match flight {
        Flight::Idle => std::future::pending().await,
        Flight::Queued(permit, _) => Arrival::Permit(permit.await),
        Flight::Opening(opening) => Arrival::Headers(opening.await),
        Flight::Reading(body, inflate, left) => loop {
            if !left.is_empty() {
                let slice = match inflate {
                    Some(_) => left.len().min(SLICE),
                    None => left.len(),
                };
                return Arrival::Chunk(Some(Ok(left.split_to(slice))));
            }
            match body.frame().await {
                None => return Arrival::Chunk(None),
                Some(Err(error)) => return Arrival::Chunk(Some(Err(error))),
                Some(Ok(frame)) => {
                    // Trailers carry nothing for us.
                    if let Ok(data) = frame.into_data() {
                        *left = data;
                    }
                }
            }
        },
    }
}

/// `Retry-After` in seconds; the HTTP date form, which API servers do not send,
/// counts as absent.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers
        .get(header::RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds))
}

fn transport_error(error: &kube::Error) -> TransportError {
    let text = chain(error);
    let kind = match error {
        kube::Error::Auth(_) => TransportErrorKind::Auth,
        kube::Error::RustlsTls(_) => TransportErrorKind::Tls,
        _ if text.contains("connect") => TransportErrorKind::Connect,
        kube::Error::HyperError(_) => TransportErrorKind::Reset,
        _ => TransportErrorKind::Other,
    };
    TransportError { kind, text }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::{convert::Infallible, sync::Mutex};

    use flate2::{Compression, write::GzEncoder};
    use haptic_core::{
        decode::ProjectionSpec,
        watch::{ResourceRef, StreamingPreference, WatchConfig},
    };
    use http_body_util::StreamBody;
    use tokio::sync::mpsc;

    use super::*;

    #[test]
    fn w11_several_gzip_members_are_one_text_however_they_are_cut() {
        let member = |text: &str| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(text.as_bytes()).unwrap();
            encoder.finish().unwrap()
        };
        let bytes = [member("{\"a\":1}\n"), member(&"x".repeat(10_000))].concat();
        for cut in [1, 7, 100, bytes.len()] {
            let mut inflate = Inflate(MultiGzDecoder::new(Vec::new()));
            let mut text = Vec::new();
            for chunk in bytes.chunks(cut) {
                text.extend(inflate.push(chunk).unwrap());
            }
            assert_eq!(
                text,
                format!("{{\"a\":1}}\n{}", "x".repeat(10_000)).into_bytes(),
                "{cut}"
            );
        }
    }

    /// A server with one Secret in the list, and then this stream.
    fn serving(watch: mpsc::UnboundedReceiver<String>) -> Access {
        const RESOURCES: &str = r#"{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"v1","resources":[{"name":"secrets","namespaced":true,"kind":"Secret","verbs":["list","watch"]}]}"#;
        const LIST: &str = r#"{"kind":"SecretList","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[{"metadata":{"namespace":"shop","name":"s","resourceVersion":"1"}}]}"#;
        let stream = Arc::new(Mutex::new(Some(watch)));
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let whole = |text: &str| {
                let (sender, body) = mpsc::unbounded_channel();
                sender.send(text.to_owned()).unwrap();
                body
            };
            let query = request.uri().query().unwrap_or_default().to_owned();
            let body = if !request.uri().path().ends_with("/secrets") {
                whole(RESOURCES)
            } else if query.contains("watch=") {
                stream.lock().unwrap().take().unwrap()
            } else {
                whole(LIST)
            };
            let body = futures_util::stream::unfold(body, async |mut body| {
                let text = body.recv().await?;
                let frame = hyper::body::Frame::data(Bytes::from(text));
                Some((Ok::<_, Infallible>(frame), body))
            });
            let answer = Response::builder().header(header::CONTENT_TYPE, "application/json");
            let answer = answer.body(StreamBody::new(body)).unwrap();
            async { Ok::<_, Infallible>(answer) }
        });
        let mut access = crate::access::connect_url("http://127.0.0.1:1", "shop").unwrap();
        access.client = kube::Client::new(service, "shop");
        access
    }

    fn modified(version: u32) -> String {
        format!(
            r#"{{"type":"MODIFIED","object":{{"kind":"Secret","apiVersion":"v1","metadata":{{"namespace":"shop","name":"s","resourceVersion":"{version}"}}}}}}"#
        ) + "\n"
    }

    #[tokio::test(start_paused = true)]
    async fn events_in_a_row_are_reported_together_and_the_first_at_once() {
        let (events, watch) = mpsc::unbounded_channel();
        let access = serving(watch);
        let mut config = WatchConfig::new(
            ResourceRef {
                group: String::new(),
                version: "v1".to_owned(),
                resource: "secrets".to_owned(),
            },
            ProjectionSpec::default(),
        );
        config.streaming = StreamingPreference::Never;
        let driver = Driver::new(
            "secrets",
            access.clone(),
            Machine::new(config),
            Arc::new(Patience::new(Duration::from_millis(500))),
            Arc::clone(&access.manners.lists),
            Arc::default(),
            Clock::start(),
        );
        let (reports, mut told) = mpsc::unbounded_channel();
        tokio::spawn(driver.run(move |report| {
            let open = reports.send(report).is_ok();
            async move { open }
        }));
        while !matches!(told.recv().await, Some(Report::State(WatchState::Synced))) {}
        let mut next = async || match told.recv().await {
            Some(Report::Outputs(outputs)) => outputs.len(),
            other => panic!("{other:?}"),
        };
        tokio::time::sleep(Duration::from_secs(1)).await;
        let began = Instant::now();
        // One every 5 ms.
        tokio::spawn(async move {
            for version in 2..12 {
                events.send(modified(version)).unwrap();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            std::future::pending::<()>().await;
        });
        let mut came = Vec::new();
        for _ in 0..2 {
            came.push((next().await, began.elapsed().as_millis()));
        }
        assert_eq!(came, [(1, 0), (9, 50)]);
    }

    #[tokio::test]
    async fn w11_a_compressed_answer_is_taken_in_so_little_at_a_time_that_no_bomb_fills_memory() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        let spaces = vec![b' '; 64 << 20];
        encoder.write_all(&spaces).unwrap();
        let bomb = encoder.finish().unwrap();
        assert!(bomb.len() > 10 * SLICE, "{}", bomb.len());
        let inflate = Inflate(MultiGzDecoder::new(Vec::new()));
        let mut flight = Flight::Reading(Body::from(bomb), Some(Box::new(inflate)), Bytes::new());
        let mut total = 0;
        while let Arrival::Chunk(Some(chunk)) = arrive(&mut flight).await {
            let Flight::Reading(_, Some(inflate), _) = &mut flight else {
                panic!("not reading")
            };
            let text = inflate.push(&chunk.unwrap()).unwrap();
            assert!(text.len() <= 5 << 20, "{} at once", text.len());
            total += text.len();
        }
        assert_eq!(total, spaces.len());
    }

    #[test]
    fn w11_what_is_no_gzip_is_an_error() {
        let mut inflate = Inflate(MultiGzDecoder::new(Vec::new()));
        assert!(
            inflate
                .push(b"{\"plain\": true}, more than a header")
                .is_err()
        );
    }

    #[test]
    fn w7_retry_after_is_read_in_seconds() {
        let mut headers = HeaderMap::new();
        assert_eq!(retry_after(&headers), None);
        headers.insert(header::RETRY_AFTER, "7".parse().unwrap());
        assert_eq!(retry_after(&headers), Some(Duration::from_secs(7)));
        headers.insert(
            header::RETRY_AFTER,
            "Wed, 21 Oct 2026 07:28:00 GMT".parse().unwrap(),
        );
        assert_eq!(retry_after(&headers), None);
    }
}
