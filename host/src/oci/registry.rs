//! One registry during one pull: requests, redirects, the login, and bodies that end. TLS and
//! proxies are those of kube's client. Does not know what the bytes mean.

use std::{collections::HashMap, fmt, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header,
    uri::{Authority, PathAndQuery, Scheme},
};
use http_body_util::BodyExt;
use hyper_util::client::proxy::matcher::Matcher;
use kube::{Client, Config, client::Body};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use tokio::time::timeout;

use super::{
    OciError, PullOptions, Reference,
    credentials::{self, Credential},
    reference::{host_of, is_loopback},
};
use crate::chain::{chain, printable};

/// Bound on connecting, the TLS handshake included.
const CONNECT: Duration = Duration::from_secs(10);

/// Redirects of one request: registries send to a store, which may send to a nearer one.
const REDIRECTS: usize = 5;

/// How often a request is sent before its failure counts.
const ATTEMPTS: u32 = 3;

/// Bytes of the answer to a login: tokens have some kilobytes.
const MAX_TOKEN: u64 = 64 << 10;

/// Bytes of a refusal that are read, and characters that are shown: its first sentences.
const MAX_REFUSAL: u64 = 4 << 10;
const EXCERPT: usize = 300;

/// A registry, and what this pull knows about it.
pub(super) struct Registry<'a> {
    reference: &'a Reference,
    options: &'a PullOptions,
    origin: Origin,
    clients: HashMap<Origin, Client>,
    authorization: Option<HeaderValue>,
    /// There is something in docker's configuration.
    has_credentials: bool,
}

/// Whom a request is sent to.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Origin {
    scheme: Scheme,
    authority: Authority,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

/// Something to fetch.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// For errors: "the manifest", "the component".
    pub(super) what: &'static str,
    /// Below the repository: `manifests/1.2`.
    pub(super) path: &'a str,
    /// Media types.
    pub(super) accept: &'a str,
    /// Bytes that it may have.
    pub(super) limit: u64,
}

impl<'a> Registry<'a> {
    pub(super) fn new(
        reference: &'a Reference,
        options: &'a PullOptions,
    ) -> Result<Self, OciError> {
        let name = match reference.registry() {
            // The one registry whose name is not its address.
            "docker.io" => "registry-1.docker.io",
            other => other,
        };
        let unreachable = |reason: String| OciError::Unreachable {
            registry: name.to_owned(),
            reason,
        };
        let authority: Authority = name.parse().map_err(|e| unreachable(format!("{e}")))?;
        let scheme = match is_plain(options, &authority) {
            true => Scheme::HTTP,
            false => Scheme::HTTPS,
        };
        Ok(Self {
            reference,
            options,
            origin: Origin { scheme, authority },
            clients: HashMap::new(),
            authorization: None,
            has_credentials: false,
        })
    }

    /// Fetches something of the repository, logging in where that is asked for, and again where
    /// the network or the registry fails for a moment.
    pub(super) async fn fetch(
        &mut self,
        wanted: Wanted<'_>,
    ) -> Result<(HeaderMap, Vec<u8>), OciError> {
        let mut attempt = 1;
        loop {
            match self.fetch_once(wanted).await {
                Err(error) if error.is_transient() && attempt < ATTEMPTS => {
                    tracing::debug!("{}: it is tried again", chain(&error));
                    tokio::time::sleep(self.options.patience.pause * attempt).await;
                    attempt += 1;
                }
                done => return done,
            }
        }
    }

    async fn fetch_once(&mut self, wanted: Wanted<'_>) -> Result<(HeaderMap, Vec<u8>), OciError> {
        let mut response = self.open(wanted).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            self.log_in(response.headers().clone()).await?;
            response = self.open(wanted).await?;
        }
        if response.status() != StatusCode::OK {
            return Err(self.refusal(response).await);
        }
        let (parts, body) = response.into_parts();
        let announced: Option<u64> = parts
            .headers
            .get(header::CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse().ok());
        let too_large = || OciError::TooLarge {
            what: wanted.what,
            reference: Box::new(self.reference.clone()),
            limit: wanted.limit,
        };
        if announced.is_some_and(|bytes| bytes > wanted.limit) {
            return Err(too_large());
        }
        let read = read(body, wanted.limit, self.options.patience.silence).await;
        match read {
            Ok(Whole(bytes)) => Ok((parts.headers, bytes)),
            Err(Cut::TooLarge) => Err(too_large()),
            Err(Cut::Silent(after)) => Err(OciError::Silent {
                registry: self.origin.authority.to_string(),
                what: "nothing more came",
                after,
            }),
            Err(Cut::Broken(reason)) => Err(OciError::Unreachable {
                registry: self.origin.authority.to_string(),
                reason: format!("{} broke off: {reason}", wanted.what),
            }),
        }
    }

    /// Sends a request and follows where it is sent; the answer of whoever is the last.
    async fn open(&mut self, wanted: Wanted<'_>) -> Result<Response<Body>, OciError> {
        let path = format!("/v2/{}/{}", self.reference.repository(), wanted.path);
        let mut origin = self.origin.clone();
        let mut path: PathAndQuery = path.parse().map_err(|error| OciError::Unreachable {
            registry: origin.authority.to_string(),
            reason: format!("{path} is no path: {error}"),
        })?;
        // Who is sent elsewhere takes no credentials along, and none back.
        let mut authorization = self.authorization.clone();
        for _ in 0..=REDIRECTS {
            let mut request = Request::get(path.clone()).header(header::ACCEPT, wanted.accept);
            if let Some(value) = &authorization {
                request = request.header(header::AUTHORIZATION, value);
            }
            let response = self.send(&origin, request, Vec::new()).await?;
            let status = response.status();
            if !status.is_redirection() {
                if status == StatusCode::UNAUTHORIZED && origin != self.origin {
                    // Its challenge is not the registry's: nobody logs in there.
                    return Err(self.refusal(response).await);
                }
                return Ok(response);
            }
            let to = response
                .headers()
                .get(header::LOCATION)
                .and_then(|to| to.to_str().ok())
                .unwrap_or_default();
            let (next, next_path) = self.redirect(&origin, to)?;
            if next != origin {
                authorization = None;
            }
            (origin, path) = (next, next_path);
        }
        Err(OciError::Redirect {
            registry: self.origin.authority.to_string(),
            to: origin.to_string(),
            reason: "it redirects again and again",
        })
    }

    fn redirect(&self, from: &Origin, to: &str) -> Result<(Origin, PathAndQuery), OciError> {
        let refused = |reason: &'static str| OciError::Redirect {
            registry: self.origin.authority.to_string(),
            // What follows a `?` may be a signature.
            to: printable(to.split('?').next().unwrap_or_default())
                .chars()
                .take(EXCERPT)
                .collect(),
            reason,
        };
        let uri: Uri = to.parse().map_err(|_| refused("that is no address"))?;
        let parts = uri.into_parts();
        let origin = match (parts.scheme, parts.authority) {
            (Some(scheme), Some(authority)) => Origin { scheme, authority },
            (None, None) if to.starts_with('/') => from.clone(),
            (None | Some(_), None | Some(_)) => return Err(refused("that is no address")),
        };
        if origin.authority.as_str().contains('@') {
            return Err(refused("there is a user in it"));
        }
        if origin.scheme == Scheme::HTTP
            && !may_lead_to_plain(self.options, &from.authority, &origin.authority)
        {
            return Err(refused(
                "plain HTTP is for this machine and for what --plain-http names",
            ));
        }
        if origin.scheme != Scheme::HTTP && origin.scheme != Scheme::HTTPS {
            return Err(refused("that is no address of the web"));
        }
        let path = parts.path_and_query;
        Ok((
            origin,
            path.unwrap_or_else(|| PathAndQuery::from_static("/")),
        ))
    }

    /// Does what a 401 asks for; the requests that follow say who they are.
    async fn log_in(&mut self, headers: HeaderMap) -> Result<(), OciError> {
        let registry = self.origin.authority.to_string();
        let failed = |reason: String| OciError::Login {
            registry: registry.clone(),
            reason,
        };
        let folder = self.options.docker_config.as_deref();
        let credential = credentials::find(folder, self.reference.registry()).await?;
        self.has_credentials = credential != Credential::Anonymous;
        let texts: Vec<&str> = headers
            .get_all(header::WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .collect();
        let challenges: Vec<_> = texts
            .iter()
            .filter_map(|text| http_auth::parse_challenges(text).ok())
            .flatten()
            .collect();
        let asks = |scheme: &str| {
            challenges
                .iter()
                .find(|challenge| challenge.scheme.eq_ignore_ascii_case(scheme))
        };
        let value = if let Some(challenge) = asks("Bearer") {
            let parameter = |name: &str| {
                let mut parameters = challenge.params.iter();
                let found = parameters.find(|(given, _)| given.eq_ignore_ascii_case(name));
                found.map(|(_, value)| value.to_unescaped())
            };
            let realm = parameter("realm")
                .ok_or_else(|| failed("it does not say where tokens are given out".to_owned()))?;
            let scope = parameter("scope")
                .unwrap_or_else(|| format!("repository:{}:pull", self.reference.repository()));
            let service = parameter("service");
            let token = self
                .token(&realm, service.as_deref(), &scope, &credential)
                .await?;
            format!("Bearer {token}")
        } else if asks("Basic").is_some() {
            match &credential {
                Credential::Password(user, password) => basic(user, password),
                // The second answer is the refusal that the user is shown.
                Credential::Anonymous | Credential::Identity(_) => return Ok(()),
            }
        } else {
            return Err(failed(
                "it asks for a login that is neither Bearer nor Basic".to_owned(),
            ));
        };
        let mut value = HeaderValue::try_from(value)
            .map_err(|_| failed("its token has characters that no header takes".to_owned()))?;
        value.set_sensitive(true);
        self.authorization = Some(value);
        Ok(())
    }

    async fn token(
        &mut self,
        realm: &str,
        service: Option<&str>,
        scope: &str,
        credential: &Credential,
    ) -> Result<String, OciError> {
        #[derive(Deserialize)]
        struct Answer {
            token: Option<String>,
            access_token: Option<String>,
        }
        let registry = self.origin.authority.to_string();
        let failed = |reason: &str| OciError::Login {
            registry: registry.clone(),
            reason: reason.to_owned(),
        };
        let shown: String = printable(realm).chars().take(EXCERPT).collect();
        let parts = realm
            .parse::<Uri>()
            .map_err(|_| failed(&format!("{shown:?} gives out no tokens: it is no address")))?
            .into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err(failed(&format!(
                "{shown:?} gives out no tokens: it is no address"
            )));
        };
        let plain = scheme == Scheme::HTTP
            && may_lead_to_plain(self.options, &self.origin.authority, &authority);
        if (scheme != Scheme::HTTPS && !plain) || authority.as_str().contains('@') {
            return Err(failed(&format!(
                "it wants the credentials sent to {shown} without TLS; --plain-http {authority} would allow it"
            )));
        }
        let origin = Origin { scheme, authority };
        let mut fields = vec![("scope", scope)];
        fields.extend(service.map(|service| ("service", service)));
        let path = parts.path_and_query;
        let path = path.as_ref().map_or("/", PathAndQuery::as_str);
        let (request, body) = match credential {
            Credential::Identity(token) => {
                fields.extend([
                    ("grant_type", "refresh_token"),
                    ("client_id", "haptic-host"),
                    ("refresh_token", token),
                ]);
                let request = Request::builder()
                    .method(Method::POST)
                    .uri(path)
                    .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
                (request, form(&fields).into_bytes())
            }
            Credential::Anonymous | Credential::Password(..) => {
                let separator = if path.contains('?') { '&' } else { '?' };
                let mut request = Request::get(format!("{path}{separator}{}", form(&fields)));
                if let Credential::Password(user, password) = credential {
                    request = request.header(header::AUTHORIZATION, basic(user, password));
                }
                (request, Vec::new())
            }
        };
        let response = self.send(&origin, request, body).await?;
        if response.status() != StatusCode::OK {
            return Err(self.refusal(response).await);
        }
        let body = read(
            response.into_body(),
            MAX_TOKEN,
            self.options.patience.silence,
        )
        .await;
        let Ok(Whole(body)) = body else {
            return Err(failed("the answer to the login is too long, or broke off"));
        };
        let answer: Answer = serde_json::from_slice(&body)
            .map_err(|_| failed("the answer to the login is no JSON with a token"))?;
        answer
            .token
            .or(answer.access_token)
            .filter(|token| !token.is_empty())
            .ok_or_else(|| failed("the answer to the login has no token"))
    }

    async fn send(
        &mut self,
        origin: &Origin,
        request: http::request::Builder,
        body: Vec<u8>,
    ) -> Result<Response<Body>, OciError> {
        let unreachable = |reason: String| OciError::Unreachable {
            registry: origin.authority.to_string(),
            reason,
        };
        let client = match self.clients.get(origin) {
            Some(client) => client.clone(),
            None => {
                let client = client(origin).map_err(|error| unreachable(chain(&error)))?;
                self.clients.insert(origin.clone(), client.clone());
                client
            }
        };
        let request = request
            .header(
                header::USER_AGENT,
                concat!("haptic-host/", env!("CARGO_PKG_VERSION")),
            )
            .body(Body::from(body))
            .map_err(|error| unreachable(error.to_string()))?;
        let patience = self.options.patience.answer;
        match timeout(patience, client.send(request)).await {
            Err(_elapsed) => Err(OciError::Silent {
                registry: origin.authority.to_string(),
                what: "nothing came",
                after: patience,
            }),
            Ok(Err(error)) => {
                let mut reason = chain(&error);
                // What TLS makes of an answer in plain HTTP.
                if reason.contains("InvalidContentType") {
                    reason += &format!(
                        "; if it speaks plain HTTP: --plain-http {}",
                        origin.authority
                    );
                }
                Err(unreachable(reason))
            }
            Ok(Ok(response)) => Ok(response),
        }
    }

    /// What an answer other than 200 means.
    async fn refusal(&self, response: Response<Body>) -> OciError {
        let status = response.status();
        let registry = self.origin.authority.to_string();
        let body = read(
            response.into_body(),
            MAX_REFUSAL,
            self.options.patience.silence,
        )
        .await;
        let message = match body {
            Ok(Whole(body)) => words(&body),
            Err(Cut::TooLarge | Cut::Silent(_) | Cut::Broken(_)) => String::new(),
        };
        let message = match message.as_str() {
            "" => status.canonical_reason().unwrap_or("no reason").to_owned(),
            _ => message,
        };
        let reference = Box::new(self.reference.clone());
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => OciError::Denied {
                registry,
                reference,
                status: status.as_u16(),
                message,
                advice: match self.has_credentials {
                    true => "the credentials in docker's configuration are not enough",
                    false => {
                        "docker's configuration has no credentials for it: `docker login`, or set DOCKER_CONFIG"
                    }
                },
            },
            StatusCode::NOT_FOUND => OciError::NotFound { reference, message },
            status => OciError::Refused {
                registry,
                status: status.as_u16(),
                message,
            },
        }
    }
}

/// Whether the authority is spoken to without TLS: one on this machine, or one that was named.
fn is_plain(options: &PullOptions, authority: &Authority) -> bool {
    is_loopback(host_of(authority.as_str())) || is_named(options, authority)
}

fn is_named(options: &PullOptions, authority: &Authority) -> bool {
    let named = |name: &String| name.eq_ignore_ascii_case(authority.as_str());
    options.plain_http.iter().any(named)
}

/// Whether what `from` says may lead to `to` without TLS. What listens on this machine is for
/// those who are on it: no registry elsewhere sends this host, or its credentials, there.
fn may_lead_to_plain(options: &PullOptions, from: &Authority, to: &Authority) -> bool {
    let here = |authority: &Authority| is_loopback(host_of(authority.as_str()));
    is_named(options, to) || (here(from) && here(to))
}

/// A client for one origin: kube's, without anything of Kubernetes.
fn client(origin: &Origin) -> Result<Client, kube::Error> {
    let uri = Uri::builder()
        .scheme(origin.scheme.clone())
        .authority(origin.authority.clone())
        .path_and_query("/")
        .build()
        .map_err(kube::Error::HttpError)?;
    let mut config = Config::new(uri.clone());
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = None;
    config.default_retry = false;
    if origin.scheme == Scheme::HTTPS {
        config.proxy_url = proxy(&Matcher::from_env(), &uri);
    }
    Client::try_from(config)
}

/// The proxy that the environment names for this address, with its user in it.
fn proxy(matcher: &Matcher, uri: &Uri) -> Option<Uri> {
    let found = matcher.intercept(uri)?;
    let Some(value) = found.basic_auth() else {
        return Some(found.uri().clone());
    };
    let value = value.to_str().ok()?.strip_prefix("Basic ")?.to_owned();
    let pair = String::from_utf8(BASE64.decode(value).ok()?).ok()?;
    let (user, password) = pair.split_once(':')?;
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let authority = found.uri().authority()?;
    let scheme = found.uri().scheme_str().unwrap_or("http");
    let text = format!(
        "{scheme}://{}:{}@{authority}/",
        encode(user),
        encode(password)
    );
    text.parse().ok()
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64.encode(format!("{user}:{password}")))
}

fn form(fields: &[(&str, &str)]) -> String {
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let pairs: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{name}={}", encode(value)))
        .collect();
    pairs.join("&")
}

/// A body that ended as it should.
struct Whole(Vec<u8>);

/// Why a body was not read to its end.
enum Cut {
    TooLarge,
    Silent(Duration),
    Broken(String),
}

async fn read(mut body: Body, limit: u64, silence: Duration) -> Result<Whole, Cut> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut bytes = Vec::new();
    loop {
        match timeout(silence, body.frame()).await {
            Err(_elapsed) => return Err(Cut::Silent(silence)),
            Ok(None) => return Ok(Whole(bytes)),
            Ok(Some(Err(error))) => return Err(Cut::Broken(chain(&error))),
            Ok(Some(Ok(frame))) => {
                // Trailers carry nothing for us.
                let Ok(chunk) = frame.into_data() else {
                    continue;
                };
                if chunk.len() > limit - bytes.len() {
                    return Err(Cut::TooLarge);
                }
                bytes.extend_from_slice(&chunk);
            }
        }
    }
}

/// The sentences of a refusal, as the specification has them; else its beginning.
fn words(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Refusal {
        errors: Vec<Sentence>,
    }
    #[derive(Deserialize)]
    struct Sentence {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let text = match serde_json::from_slice::<Refusal>(body) {
        Ok(refusal) => refusal
            .errors
            .iter()
            .map(|sentence| match sentence.message.as_str() {
                "" => sentence.code.clone(),
                message => message.to_owned(),
            })
            .collect::<Vec<_>>()
            .join(", "),
        Err(_) => String::from_utf8_lossy(body).trim().to_owned(),
    };
    let text = text.replace(['\n', '\t'], " ");
    printable(&text).chars().take(EXCERPT).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn what_a_registry_elsewhere_says_leads_to_nobody_on_this_machine() {
        let options = PullOptions {
            plain_http: vec!["inside.example:5000".to_owned()],
            ..PullOptions::default()
        };
        let may = |from: &'static str, to: &'static str| {
            may_lead_to_plain(
                &options,
                &Authority::from_static(from),
                &Authority::from_static(to),
            )
        };
        for (from, to, expected) in [
            ("127.0.0.1:5000", "127.0.0.1:5001", true),
            ("localhost:5000", "[::1]:80", true),
            ("registry.example", "127.0.0.1:8001", false),
            ("registry.example", "localhost", false),
            ("registry.example", "inside.example:5000", true),
            ("127.0.0.1:5000", "registry.example", false),
        ] {
            assert_eq!(may(from, to), expected, "{from} to {to}");
        }
    }

    #[test]
    fn a_proxy_keeps_its_user() {
        let matcher = Matcher::builder()
            .https("http://me:p%40ss@proxy.example:3128")
            .no("internal.example")
            .build();
        let to = |uri: &'static str| proxy(&matcher, &Uri::from_static(uri));
        let found = to("https://registry.example/").unwrap();
        assert_eq!(
            found.authority().unwrap().as_str(),
            "me:p%40ss@proxy.example:3128"
        );
        assert_eq!(to("https://internal.example/"), None);
    }

    #[test]
    fn what_a_registry_says_is_shown_and_not_obeyed() {
        for (body, shown) in [
            (
                r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#,
                "manifest unknown",
            ),
            (
                r#"{"errors":[{"code":"DENIED"},{"message":"no"}]}"#,
                "DENIED, no",
            ),
            ("<html>\u{1b}[31m\nno</html>", "<html>\\u{1b}[31m no</html>"),
            ("", ""),
        ] {
            assert_eq!(words(body.as_bytes()), shown);
        }
        assert_eq!(words("x".repeat(10_000).as_bytes()).len(), EXCERPT);
    }
}
