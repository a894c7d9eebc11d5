//! A registry on loopback that keeps artifacts in memory, asks for a login where it is told to,
//! and misbehaves where it is told to.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use haptic_host::oci::Digest;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

pub(crate) type Body = BoxBody<Bytes, std::io::Error>;

/// What goes wrong, for paths that contain a word.
#[derive(Clone, Debug)]
pub(crate) enum Trouble {
    /// Answered with this, and with this body.
    Status(u16, &'static str),
    /// Answered with this as often, then well.
    Times(u32, u16),
    /// Other bytes.
    Bytes(Vec<u8>),
    /// No answer, ever.
    Stall,
    /// The headers and half of the body, then nothing.
    StallHalfway,
    /// Half of the body, and the connection is gone.
    CutOff,
    /// Half of the body, and a clean end.
    Short,
    /// The body, and more without end.
    Endless,
    /// Sent here.
    Redirect(String),
}

/// How a registry wants to be asked.
#[derive(Clone, Debug)]
pub(crate) enum Login {
    Nobody,
    /// User and password with every request.
    Basic(&'static str),
    /// A token, which `Basic user:password` or `refresh_token` buys.
    Bearer {
        buys: &'static str,
        realm: Option<String>,
        token: &'static str,
    },
}

#[derive(Default)]
struct State {
    /// By path.
    kept: HashMap<String, (String, Vec<u8>)>,
    troubles: Vec<(String, Trouble)>,
    asked: Vec<String>,
    /// Requests that brought credentials.
    trusted: Vec<String>,
}

pub(crate) struct Registry {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
    _serving: JoinHandle<()>,
}

impl Drop for Registry {
    fn drop(&mut self) {
        self._serving.abort();
    }
}

pub(crate) fn manifest(layers: &[(&str, &[u8])]) -> Vec<u8> {
    let layers: Vec<Value> = layers
        .iter()
        .map(|(kind, bytes)| {
            json!({"mediaType": kind, "digest": Digest::of(bytes).to_string(), "size": bytes.len()})
        })
        .collect();
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/vnd.wasm.config.v0+json",
        "config": {"mediaType": "application/vnd.wasm.config.v0+json", "digest": Digest::of(b"{}").to_string(), "size": 2},
        "layers": layers,
    })
    .to_string()
    .into_bytes()
}

impl Registry {
    pub(crate) async fn start() -> Self {
        Self::start_with(Login::Nobody).await
    }

    pub(crate) async fn start_with(login: Login) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (shared, login) = (Arc::clone(&shared), login.clone());
                let service = service_fn(move |request| {
                    let (shared, login) = (Arc::clone(&shared), login.clone());
                    async move { answer(&shared, &login, address, request).await }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self {
            address,
            state,
            _serving: serving,
        }
    }

    /// Keeps an artifact under a tag; answers the digest of its manifest.
    pub(crate) fn push(
        &self,
        repository: &str,
        tag: &str,
        manifest: &[u8],
        blobs: &[&[u8]],
    ) -> Digest {
        let mut state = self.state.lock().unwrap();
        let digest = Digest::of(manifest);
        let kind = "application/vnd.oci.image.manifest.v1+json";
        for version in [tag.to_owned(), digest.to_string()] {
            state.kept.insert(
                format!("/v2/{repository}/manifests/{version}"),
                (kind.to_owned(), manifest.to_vec()),
            );
        }
        for blob in blobs {
            state.kept.insert(
                format!("/v2/{repository}/blobs/{}", Digest::of(blob)),
                ("application/octet-stream".to_owned(), blob.to_vec()),
            );
        }
        digest
    }

    /// Keeps a component, as `wkg` pushes it.
    pub(crate) fn push_component(&self, repository: &str, tag: &str, component: &[u8]) -> Digest {
        let manifest = manifest(&[("application/wasm", component)]);
        self.push(repository, tag, &manifest, &[component])
    }

    /// From now on this goes wrong with paths that contain `word`.
    pub(crate) fn trouble(&self, word: &str, trouble: Trouble) {
        let mut state = self.state.lock().unwrap();
        state.troubles.push((word.to_owned(), trouble));
    }

    /// `METHOD path` of each request since the last call.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().asked)
    }

    /// Those that came with an Authorization, since the last call.
    pub(crate) fn trusted(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().trusted)
    }
}

fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed()
}

fn plain(status: u16, text: &str) -> Response<Body> {
    let mut response = Response::new(whole(text.to_owned()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

fn chunks<S>(chunks: S) -> Body
where
    S: stream::Stream<Item = Result<Bytes, std::io::Error>> + Send + Sync + 'static,
{
    BodyExt::boxed(StreamBody::new(chunks.map(|chunk| chunk.map(Frame::data))))
}

async fn answer(
    shared: &Mutex<State>,
    login: &Login,
    address: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let authorization = request
        .headers()
        .get(header::AUTHORIZATION)
        .map(|value| value.to_str().unwrap().to_owned());
    let method = request.method().clone();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let (found, trouble) = {
        let mut state = shared.lock().unwrap();
        state.asked.push(format!("{method} {path}"));
        if authorization.is_some() {
            state.trusted.push(format!("{method} {path}"));
        }
        let mut trouble = None;
        for (word, known) in &mut state.troubles {
            if path.contains(word.as_str()) {
                trouble = match known {
                    Trouble::Times(0, _) => None,
                    Trouble::Times(left, status) => {
                        *left -= 1;
                        Some(Trouble::Status(*status, "in a moment"))
                    }
                    other => Some(other.clone()),
                };
            }
        }
        (state.kept.get(&path).cloned(), trouble)
    };
    if path == "/token" {
        return Ok(token(login, &method, authorization, &query, &body));
    }
    let allowed = match login {
        Login::Nobody => true,
        Login::Basic(pair) => authorization.as_deref() == Some(basic(pair).as_str()),
        Login::Bearer { token, .. } => authorization == Some(format!("Bearer {token}")),
    };
    if !allowed {
        let challenge = match login {
            Login::Bearer { realm, .. } => {
                let own = format!("http://{address}/token");
                let realm = realm.as_deref().unwrap_or(&own);
                format!(
                    "Bearer realm=\"{realm}\",service=\"the, registry\",scope=\"repository:x:pull\""
                )
            }
            Login::Nobody | Login::Basic(_) => "Basic realm=\"registry\"".to_owned(),
        };
        let mut response = plain(
            401,
            r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#,
        );
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, challenge.parse().unwrap());
        return Ok(response);
    }
    let Some((kind, bytes)) = found else {
        return Ok(match trouble {
            Some(Trouble::Status(status, text)) => plain(status, text),
            _ => plain(
                404,
                r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#,
            ),
        });
    };
    let half = Bytes::from(bytes[..bytes.len() / 2].to_vec());
    let rest = std::io::Error::other("gone");
    let mut response = Response::new(match trouble {
        None => whole(bytes),
        Some(Trouble::Status(status, text)) => return Ok(plain(status, text)),
        Some(Trouble::Times(..)) => unreachable!(),
        Some(Trouble::Bytes(other)) => whole(other),
        Some(Trouble::Stall) => std::future::pending().await,
        Some(Trouble::StallHalfway) => chunks(stream::iter([Ok(half)]).chain(stream::pending())),
        Some(Trouble::CutOff) => {
            // Not before the half is sent.
            let gone = stream::once(async {
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
                Err(rest)
            });
            chunks(stream::iter([Ok(half)]).chain(gone))
        }
        Some(Trouble::Short) => chunks(stream::iter([Ok(half)])),
        Some(Trouble::Endless) => {
            let more = stream::repeat_with(|| Ok(Bytes::from_static(&[b' '; 1 << 16])));
            chunks(stream::iter([Ok(Bytes::from(bytes))]).chain(more))
        }
        Some(Trouble::Redirect(to)) => {
            let mut response = plain(307, "");
            response
                .headers_mut()
                .insert(header::LOCATION, to.parse().unwrap());
            return Ok(response);
        }
    });
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, kind.parse().unwrap());
    Ok(response)
}

pub(crate) fn basic(pair: &str) -> String {
    use base64::Engine as _;
    let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
    format!("Basic {encoded}")
}

fn token(
    login: &Login,
    method: &Method,
    authorization: Option<String>,
    query: &str,
    body: &[u8],
) -> Response<Body> {
    let Login::Bearer { buys, token, .. } = login else {
        return plain(404, "");
    };
    let body = String::from_utf8_lossy(body);
    let (pays, asked) = match (*method == Method::POST, buys.split_once(':')) {
        // A refresh token, in the form.
        (true, None) => (
            body.contains(&format!("refresh_token={buys}")),
            body.as_ref(),
        ),
        (false, Some(_)) => (authorization == Some(basic(buys)), query),
        (false, None) => (buys.is_empty(), query),
        (true, Some(_)) => (false, ""),
    };
    let asks = asked.contains("service=the%2C%20registry")
        && asked.contains("scope=repository%3Ax%3Apull");
    match pays && asks {
        true => plain(200, &json!({ "token": token }).to_string()),
        false => plain(
            401,
            r#"{"errors":[{"code":"UNAUTHORIZED","message":"wrong password"}]}"#,
        ),
    }
}
