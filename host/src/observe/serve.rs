//! The HTTP side: five answers to GET. Asks the loop for the state of each.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc, oneshot},
    task::JoinSet,
};

use super::{HostState, Metrics};

const PAGE: &str = include_str!("page.html");

/// Connections at a time: probes, a scraper and a few people are ten.
const CONNECTIONS: usize = 64;

/// A client that is silent this long before or within its request is gone.
const SILENCE: Duration = Duration::from_secs(10);

/// How long the loop may take to answer before it counts as stuck: it never does
/// more at a time than take in a chunk of a stream.
const ANSWER: Duration = Duration::from_secs(2);

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
        Ok(Self { listener, address })
    }

    /// Where it listens; the port is a real one, also where 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until it is dropped. Its questions come as `questions`.
    pub async fn run<E>(self, questions: mpsc::Sender<E>, metrics: Arc<Metrics>)
    where
        E: From<Ask> + Send + 'static,
    {
        let endpoints = Arc::new(Endpoints {
            questions,
            metrics,
            address: self.address,
        });
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let endpoints = Arc::clone(&endpoints);
                    connections.spawn(async move {
                        connection(stream, endpoints).await;
                        drop(place);
                    });
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
    let service = service_fn(move |request| {
        let endpoints = Arc::clone(&endpoints);
        async move { Ok::<_, Infallible>(endpoints.answer(&request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(SILENCE)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended early");
    }
}

struct Endpoints<E> {
    questions: mpsc::Sender<E>,
    metrics: Arc<Metrics>,
    address: SocketAddr,
}

impl<E: From<Ask>> Endpoints<E> {
    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        }
        if !self.is_own_name(request.headers().get(header::HOST)) {
            return text(
                StatusCode::FORBIDDEN,
                "the Host header names another server\n",
            );
        }
        let path = request.uri().path();
        if path == "/" {
            return page();
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
            "/metrics" => content(
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
                self.metrics.text(&state),
            ),
            "/debug/state" => content(
                "application/json",
                serde_json::to_string_pretty(&state).unwrap_or_default(),
            ),
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
                    _ => text(code, &state.ready_lines()),
                }
            }
            _ => text(StatusCode::OK, "ok\n"),
        }
    }

    async fn state(&self) -> Option<HostState> {
        let (ask, answer) = oneshot::channel();
        let asked = async {
            self.questions.send(Ask(ask).into()).await.ok()?;
            answer.await.ok()
        };
        tokio::time::timeout(ANSWER, asked).await.ok().flatten()
    }

    /// On loopback, a page in a browser must not get in under a name of its own that
    /// resolves to this address. Elsewhere, names are the operator's.
    fn is_own_name(&self, host: Option<&http::HeaderValue>) -> bool {
        if !self.address.ip().is_loopback() {
            return true;
        }
        let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
        let name = match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => host.split(':').next().unwrap_or_default(),
        };
        name.is_empty()
            || name.eq_ignore_ascii_case("localhost")
            || name.parse::<std::net::IpAddr>().is_ok()
    }
}

fn text(code: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = content("text/plain; charset=utf-8", text.to_owned());
    *response.status_mut() = code;
    response
}

fn page() -> Response<Full<Bytes>> {
    let mut response = content("text/html; charset=utf-8", PAGE.to_owned());
    response.headers_mut().insert(
        header::CONTENT_SECURITY_POLICY,
        // Nothing from anywhere else, whatever a name of an object says.
        header::HeaderValue::from_static(
            "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; frame-ancestors 'none'; base-uri 'none'",
        ),
    );
    response
}

fn content(kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    headers.insert(
        header::CACHE_CONTROL,
        header::HeaderValue::from_static("no-store"),
    );
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        header::HeaderValue::from_static("nosniff"),
    );
    response
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    fn get(path: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    }

    async fn served() -> (SocketAddr, mpsc::Receiver<Ask>, tokio::task::JoinHandle<()>) {
        let server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = server.address();
        let (questions, loop_side) = mpsc::channel(4);
        let task = tokio::spawn(server.run(questions, Arc::new(Metrics::new())));
        (address, loop_side, task)
    }

    #[tokio::test]
    async fn v1_each_endpoint_answers_from_the_state_of_the_moment() {
        let (address, mut questions, task) = served().await;
        let host = tokio::spawn(async move {
            while let Some(ask) = questions.recv().await {
                let state = HostState {
                    version: "1.2.3".to_owned(),
                    plugins: vec![super::super::PluginStatus {
                        name: "render".to_owned(),
                        ..Default::default()
                    }],
                    ..HostState::default()
                };
                ask.answer(state);
            }
        });
        for (path, code, part) in [
            ("/healthz", "200 OK", "ok\n"),
            (
                "/readyz",
                "503 Service Unavailable",
                "[-]plugin render: waits",
            ),
            (
                "/readyz?verbose",
                "503 Service Unavailable",
                "[-]plugin render",
            ),
            ("/metrics", "200 OK", "haptic_ready 0\n"),
            ("/debug/state", "200 OK", "\"version\": \"1.2.3\""),
            ("/", "200 OK", "<!doctype html>"),
            ("/nothing", "404 Not Found", "/debug/state"),
        ] {
            let answer = ask(address, &get(path)).await;
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {code}\r\n")),
                "{path}: {answer}"
            );
            assert!(answer.contains(part), "{path}: {answer}");
        }
        let answer = ask(
            address,
            "POST /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        )
        .await;
        assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
        let answer = ask(
            address,
            "GET /debug/state HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
        )
        .await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
        host.abort();
        task.abort();
    }

    #[tokio::test]
    async fn v1_a_loop_that_is_gone_fails_the_health_check() {
        let (address, questions, task) = served().await;
        drop(questions);
        let answer = ask(address, &get("/healthz")).await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        task.abort();
    }
}
