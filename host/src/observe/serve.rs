//! The HTTP side: what is asked where, by whom, and how many at a time. Asks the loop
//! for the state of each answer, but for the files of the page. Whoever reaches the
//! port is a stranger: nothing that one client does keeps another from its answer.

use std::{
    collections::VecDeque,
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{HeaderValue, Method, Request, StatusCode, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Mutex, mpsc, oneshot},
    task::{AbortHandle, JoinSet},
    time::{Instant, timeout},
};

use super::{
    HostState, ProcessStatus,
    metrics::Format,
    page::{self, Answer, answer, text},
};

/// Connections at a time: probes, a scraper and a few people are ten. One more takes the
/// place of the oldest, so that a hundred silent clients do not keep a probe out.
const CONNECTIONS: usize = 64;

/// A client that is silent this long before or within its request is gone.
const SILENCE: Duration = Duration::from_secs(10);

/// A connection that is older is closed after the answer that is under way, and cut off
/// [`SILENCE`] later: a client that does not read its answer holds it no longer.
const LIFETIME: Duration = Duration::from_secs(60);

/// Bytes of a request's head: browsers and scrapers send some hundred.
const HEAD: usize = 16 << 10;

/// How long the loop may take to answer before it counts as stuck: it never does
/// more at a time than take in a chunk of a stream.
const ANSWER: Duration = Duration::from_secs(2);

/// How old a state may be that is shown: the loop is asked ten times a second at most,
/// however many want to know.
const FRESH: Duration = Duration::from_millis(100);

/// A question to the dispatch loop: how is everything?
#[derive(Debug)]
pub struct Ask(oneshot::Sender<HostState>);

impl Ask {
    /// Answers it. Whoever asked may have gone.
    pub fn answer(self, state: HostState) {
        drop(self.0.send(state));
    }
}

/// Why the endpoints cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct ServeError {
    /// Where.
    pub address: SocketAddr,
    /// Why.
    pub source: std::io::Error,
}

/// The endpoints, bound to their address. Dropping what [`Server::run`] returns
/// ends them with all connections.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    started: SystemTime,
}

impl Server {
    /// Takes the address.
    ///
    /// # Errors
    /// [`ServeError`] when it is in use or not ours.
    pub async fn bind(address: SocketAddr) -> Result<Self, ServeError> {
        let failed = |source| ServeError { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self {
            listener,
            address,
            started: SystemTime::now(),
        })
    }

    /// Where it listens; the port is a real one, also where 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until it is dropped. Its questions come as `questions`.
    pub async fn run<E>(self, questions: mpsc::Sender<E>)
    where
        E: From<Ask> + Send + 'static,
    {
        let endpoints = Arc::new(Endpoints {
            questions,
            started: self.started,
            latest: Mutex::new(None),
        });
        let mut connections = JoinSet::new();
        let mut open: VecDeque<AbortHandle> = VecDeque::new();
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    while connections.try_join_next().is_some() {}
                    open.retain(|connection| !connection.is_finished());
                    while open.len() >= CONNECTIONS {
                        if let Some(oldest) = open.pop_front() {
                            oldest.abort();
                        }
                    }
                    open.push_back(connections.spawn(connection(stream, Arc::clone(&endpoints))));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    // Out of file descriptors, most likely: give the open ones time to end.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}

async fn connection<E>(stream: TcpStream, endpoints: Arc<Endpoints<E>>)
where
    E: From<Ask> + Send + 'static,
{
    // Loopback, also when the socket listens on all addresses.
    let own = stream.local_addr().ok();
    let own = own.is_some_and(|own| own.ip().to_canonical().is_loopback());
    let service = service_fn(move |request| {
        let endpoints = Arc::clone(&endpoints);
        async move { Ok::<_, Infallible>(endpoints.answer(&request, own).await) }
    });
    let mut served = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(SILENCE)
            .max_buf_size(HEAD)
            .serve_connection(TokioIo::new(stream), service)
    );
    let ended = match timeout(LIFETIME, served.as_mut()).await {
        Ok(ended) => ended,
        Err(_elapsed) => {
            served.as_mut().graceful_shutdown();
            timeout(SILENCE, served).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

struct Endpoints<E> {
    questions: mpsc::Sender<E>,
    started: SystemTime,
    /// The last state that the loop told, and when.
    latest: Mutex<Option<(Instant, Arc<HostState>)>>,
}

impl<E: From<Ask>> Endpoints<E> {
    async fn answer(&self, request: &Request<Incoming>, loopback: bool) -> Answer {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            let allowed = HeaderValue::from_static("GET, HEAD");
            refusal.headers_mut().insert(header::ALLOW, allowed);
            return refusal;
        }
        if loopback && !is_own_name(request.headers().get(header::HOST)) {
            return text(
                StatusCode::FORBIDDEN,
                "the Host header names another server: use localhost or an address\n",
            );
        }
        let path = request.uri().path();
        if let Some(file) = page::file(path) {
            return file;
        }
        if !matches!(
            path,
            "/metrics" | "/healthz" | "/livez" | "/readyz" | "/debug/state"
        ) {
            return text(
                StatusCode::NOT_FOUND,
                "not here: /, /metrics, /healthz, /readyz, /debug/state are\n",
            );
        }
        let Some(state) = self.state().await else {
            return text(
                StatusCode::SERVICE_UNAVAILABLE,
                "the host does not answer\n",
            );
        };
        match path {
            "/metrics" => {
                let accept = request.headers().get(header::ACCEPT);
                let format = Format::of(accept.and_then(|accept| accept.to_str().ok()));
                answer(format.content_type(), format.text(&state))
            }
            "/debug/state" => match serde_json::to_vec_pretty(&*state) {
                Ok(json) => answer("application/json", json),
                Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
            },
            "/readyz" => {
                let code = match state.is_ready() {
                    true => StatusCode::OK,
                    false => StatusCode::SERVICE_UNAVAILABLE,
                };
                let verbose = request.uri().query().is_some_and(|query| {
                    query
                        .split('&')
                        .any(|part| part == "verbose" || part.starts_with("verbose="))
                });
                match (verbose, code == StatusCode::OK) {
                    (false, true) => text(code, "ok\n"),
                    _ => text(code, state.ready_lines()),
                }
            }
            _ => text(StatusCode::OK, "ok\n"),
        }
    }

    /// The state of this moment; none when the loop does not answer.
    async fn state(&self) -> Option<Arc<HostState>> {
        timeout(ANSWER, async {
            let mut latest = self.latest.lock().await;
            if let Some((at, state)) = &*latest
                && at.elapsed() < FRESH
            {
                return Some(Arc::clone(state));
            }
            let (ask, told) = oneshot::channel();
            self.questions.send(Ask(ask).into()).await.ok()?;
            let state = Arc::new(HostState {
                process: ProcessStatus::read(self.started),
                ..told.await.ok()?
            });
            *latest = Some((Instant::now(), Arc::clone(&state)));
            Some(state)
        })
        .await
        .ok()
        .flatten()
    }
}

/// Whether a Host header names this machine. A page in a browser must not get in under a
/// name of its own that resolves to loopback (DNS rebinding); names in a network are the
/// operator's.
fn is_own_name(host: Option<&HeaderValue>) -> bool {
    let host = host.map_or(Ok(""), HeaderValue::to_str).unwrap_or("?");
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    // Without a name it is no browser.
    name.is_empty()
        || name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests;
