//! The TCP side: connections, limits, and the headers that decide whether a
//! request may come in at all. Knows nothing of what is asked.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{HOST, ORIGIN};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::api::refusal;
use crate::body::Body;
use crate::faults::{Front, Wire};
use crate::status::ApiError;

/// What etcd takes with the default request limit of an API server.
pub(crate) const BODY_LIMIT: usize = 3 * 1024 * 1024;

/// A host with its watches needs tens; a thousand is a leak somewhere.
const CONNECTIONS: usize = 1024;

/// A client on loopback that is silent this long in the middle of a request is gone.
const SILENCE: Duration = Duration::from_secs(30);

/// Serves connections until it is dropped, and ends them with itself.
pub(crate) async fn serve(listener: TcpListener, front: Arc<Front>, address: SocketAddr) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let front = Arc::clone(&front);
                connections.spawn(async move {
                    connection(stream, front, address).await;
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

async fn connection(stream: TcpStream, front: Arc<Front>, address: SocketAddr) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    let wire = Wire::default();
    let stream = Connection {
        stream,
        wire: wire.clone(),
    };
    let service = service_fn(move |request| {
        let (front, wire) = (Arc::clone(&front), wire.clone());
        async move { enter(&front, &wire, address, request).await }
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

/// A connection that a fault may reset.
struct Connection {
    stream: TcpStream,
    wire: Wire,
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.wire.is_reset()
            && let Err(error) = self.stream.set_zero_linger()
        {
            tracing::warn!(%error, "a connection could not be reset, and is closed instead");
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// Reads a request in full and has it answered. An error closes the connection.
async fn enter(
    front: &Front,
    wire: &Wire,
    address: SocketAddr,
    request: Request<Incoming>,
) -> io::Result<Response<Body>> {
    if let Err(error) = check_origin(request.headers(), address) {
        return Ok(refusal(&error));
    }
    let (parts, body) = request.into_parts();
    let collected = tokio::time::timeout(SILENCE, Limited::new(body, BODY_LIMIT).collect()).await;
    let body = match collected {
        Ok(Ok(collected)) => collected.to_bytes(),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            return Ok(refusal(&ApiError::too_large(BODY_LIMIT)));
        }
        Ok(Err(error)) => {
            let why = format!("the body could not be read: {error}");
            return Ok(refusal(&ApiError::bad_request(why)));
        }
        Err(_) => {
            let why = "the body did not arrive in time";
            return Ok(refusal(&ApiError::new(408, "Timeout", why)));
        }
    };
    front.answer(Request::from_parts(parts, body), wire).await
}

/// There is no authentication, so a page in a browser must not get in: neither
/// under a name that resolves to this address, nor from another site.
fn check_origin(headers: &HeaderMap, address: SocketAddr) -> Result<(), ApiError> {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &http::HeaderValue| value.to_str().ok())
    };
    let refuse = |what: &str, value: Option<&str>| {
        let value = value.unwrap_or_default();
        let why = format!("forbidden: the {what} {value:?} does not name this server");
        Err(ApiError::new(403, "Forbidden", why))
    };
    let host = text(HOST);
    if !host.is_some_and(|host| is_own_name(host, address)) {
        return refuse("Host", host);
    }
    if headers.contains_key(ORIGIN) {
        let origin = text(ORIGIN);
        let site = origin
            .and_then(|origin| origin.split_once("://"))
            .map(|(_, site)| site);
        if site.is_none() || site != host {
            return refuse("Origin", origin);
        }
    }
    Ok(())
}

/// True for `localhost` and for addresses that can only be meant literally.
fn is_own_name(host: &str, address: SocketAddr) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    if name.eq_ignore_ascii_case("localhost") {
        return true;
    }
    match name.parse::<IpAddr>() {
        Ok(ip) => ip.is_loopback() || !address.ip().is_loopback(),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn only_requests_to_this_very_server_come_in() {
        let address: SocketAddr = "127.0.0.1:8001".parse().unwrap();
        for (host, origin, fits) in [
            (Some("127.0.0.1:8001"), None, true),
            (Some("localhost:8001"), None, true),
            (Some("[::1]:8001"), None, true),
            (Some("evil.example:8001"), None, false),
            (Some("localhost.evil.example"), None, false),
            (Some("192.0.2.1:8001"), None, false),
            (None, None, false),
            (Some("127.0.0.1:8001"), Some("http://127.0.0.1:8001"), true),
            (Some("127.0.0.1:8001"), Some("http://evil.example"), false),
            (Some("127.0.0.1:8001"), Some("null"), false),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(host) = host {
                headers.insert(HOST, host.parse().unwrap());
            }
            if let Some(origin) = origin {
                headers.insert(ORIGIN, origin.parse().unwrap());
            }
            assert_eq!(
                check_origin(&headers, address).is_ok(),
                fits,
                "{host:?} {origin:?}"
            );
        }
    }
}
