//! How the host reaches an API server (contract K2): kubeconfig, in-cluster
//! configuration, or a URL of an embedded cluster. Auth, TLS and proxies are kube's.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
    time::Duration,
};

use haptic_core::watch::ResourceRef;
use hyper_timeout::TimeoutConnector;
use hyper_util::{
    client::legacy::connect::HttpConnector,
    rt::{TokioExecutor, TokioIo},
};
use kube::{
    Client, Config,
    client::{Body, ConfigExt},
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::sync::Semaphore;
use tower::{BoxError, Layer, ServiceExt};

use crate::{
    driver::CONCURRENT_LISTS,
    paced::{PacedStream, Reader},
};

/// Where the service account's namespace stands in a pod.
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// Bound on connecting, the TLS handshake included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Which cluster to talk to, as typed.
#[derive(Clone, Debug, Default)]
pub struct AccessOptions {
    /// A kubeconfig file; `None`: `KUBECONFIG`, then `~/.kube/config`, then in-cluster.
    pub kubeconfig: Option<PathBuf>,
    /// A context of the kubeconfig; `None`: its current one.
    pub context: Option<String>,
}

/// A client, and what the host calls its own namespace.
#[derive(Clone)]
pub struct Access {
    /// The client. Cheap to clone.
    pub client: Client,
    /// The API server's URL, for messages.
    pub url: String,
    /// The host's own namespace (contract W2); `None` when neither a service
    /// account nor the kubeconfig's context names one.
    pub own_namespace: Option<String>,
    /// Whether the server is on this machine: compressing would cost more than it
    /// saves.
    pub loopback: bool,
    /// What all clones share.
    pub(crate) manners: Arc<Manners>,
}

/// How all that talk to one server go about it.
pub(crate) struct Manners {
    /// Permits to list (contract W7).
    pub(crate) lists: Arc<Semaphore>,
    streamable: Mutex<HashMap<ResourceRef, Arc<AtomicBool>>>,
}

impl Manners {
    /// Whether lists of the resource may be streamed: true until a watch learns that the
    /// server cannot (contract W4).
    pub(crate) fn streamable(&self, resource: &ResourceRef) -> Arc<AtomicBool> {
        let mut known = self
            .streamable
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(AtomicBool::new(true));
        Arc::clone(known.entry(resource.clone()).or_insert_with(new))
    }
}

impl Access {
    /// Access by a client of one's own, to a server that is not on this machine. All that
    /// is done with its clones together stays within the same bounds.
    #[must_use]
    pub fn new(client: Client, url: impl Into<String>) -> Self {
        Self {
            client,
            url: url.into(),
            own_namespace: None,
            loopback: false,
            manners: Arc::new(Manners {
                lists: Arc::new(Semaphore::new(CONCURRENT_LISTS)),
                streamable: Mutex::default(),
            }),
        }
    }
}

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The kubeconfig that was named cannot be used.
    #[error("cannot use kubeconfig {}", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<kube::config::KubeconfigError>,
    },
    /// No configuration was found anywhere.
    #[error(
        "no cluster is configured: give --kubeconfig FILE, set KUBECONFIG, run inside a cluster, or use --manifests DIR for an embedded one"
    )]
    NotConfigured,
    /// The context named does not exist, or is broken.
    #[error("cannot use context {context:?} of the kubeconfig")]
    Context {
        /// The context.
        context: String,
        /// Why.
        source: Box<kube::config::KubeconfigError>,
    },
    /// kube cannot make a client of the configuration.
    #[error("cannot make a client for {url}")]
    Client {
        /// The server.
        url: String,
        /// Why.
        source: Box<kube::Error>,
    },
    /// The URL of an embedded cluster is none.
    #[error("{url:?} is no URL")]
    Url {
        /// What was given.
        url: String,
    },
}

/// Makes a client as `options` say.
///
/// # Errors
/// [`AccessError`]; nothing was sent yet.
pub async fn connect(options: &AccessOptions) -> Result<Access, AccessError> {
    let (path, kubeconfig) = match named(options)? {
        Some(found) => found,
        None => return in_cluster(),
    };
    let context = options.context.as_deref();
    let namespace = context_namespace(&kubeconfig, context);
    let wanted = KubeConfigOptions {
        context: options.context.clone(),
        ..Default::default()
    };
    let config = Config::from_custom_kubeconfig(kubeconfig, &wanted)
        .await
        .map_err(|source| match context {
            Some(context) => AccessError::Context {
                context: context.to_owned(),
                source: Box::new(source),
            },
            None => AccessError::Kubeconfig {
                path,
                source: Box::new(source),
            },
        })?;
    finish(config, namespace)
}

/// The kubeconfig that is named, or that stands at the usual place; a broken one
/// is an error, and never a reason to look elsewhere.
fn named(options: &AccessOptions) -> Result<Option<(PathBuf, Kubeconfig)>, AccessError> {
    let unusable = |path: &PathBuf| {
        let path = path.clone();
        move |source| AccessError::Kubeconfig {
            path,
            source: Box::new(source),
        }
    };
    if let Some(path) = &options.kubeconfig {
        let kubeconfig = Kubeconfig::read_from(path).map_err(unusable(path))?;
        return Ok(Some((path.clone(), kubeconfig)));
    }
    if let Some(list) = std::env::var_os("KUBECONFIG").filter(|list| !list.is_empty()) {
        let path = PathBuf::from(list);
        let kubeconfig = Kubeconfig::from_env().map_err(unusable(&path))?;
        return Ok(kubeconfig.map(|kubeconfig| (path, kubeconfig)));
    }
    let usual = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".kube/config"));
    match usual.filter(|path| path.is_file()) {
        Some(path) => {
            let kubeconfig = Kubeconfig::read_from(&path).map_err(unusable(&path))?;
            Ok(Some((path, kubeconfig)))
        }
        None => Ok(None),
    }
}

fn in_cluster() -> Result<Access, AccessError> {
    let config = Config::incluster().map_err(|source| {
        tracing::debug!("no in-cluster configuration: {source}");
        AccessError::NotConfigured
    })?;
    finish(config, namespace_in(Path::new(NAMESPACE_FILE)))
}

/// The namespace that a service account's file names. Without one there is none: whoever
/// needs it says so, and nobody takes that for all of them.
fn namespace_in(file: &Path) -> Option<String> {
    match std::fs::read_to_string(file) {
        Ok(text) => Some(text.trim().to_owned()),
        Err(error) => {
            tracing::warn!("cannot read {}: {error}", file.display());
            None
        }
    }
}

/// Makes a client for an embedded cluster.
///
/// # Errors
/// [`AccessError`].
pub fn connect_url(url: &str, own_namespace: &str) -> Result<Access, AccessError> {
    let uri = url.parse().map_err(|_| AccessError::Url {
        url: url.to_owned(),
    })?;
    finish(Config::new(uri), Some(own_namespace.to_owned()))
}

/// A client as kube makes it, but that its connections can rest ([`crate::paced`]) and that
/// requests are not logged twice. Proxies are kube's to reach, and it alone knows when the
/// certificate of a credential plugin ends.
fn client(config: Config) -> kube::Result<Client> {
    if config.proxy_url.is_some() || config.auth_info.exec.is_some() {
        return Client::try_from(config);
    }
    // rustls reads on until nothing is left.
    let reader = match config.cluster_url.scheme() {
        Some(scheme) if *scheme == http::uri::Scheme::HTTPS => Reader::ReadsOn,
        Some(_) | None => Reader::HandsOver,
    };
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    let paced = connector
        .map_response(move |stream| TokioIo::new(PacedStream::new(stream.into_inner(), reader)));
    let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(paced)?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_write_timeout(config.write_timeout);
    let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
        .build::<_, Body>(connector);
    let client = config
        .extra_headers_layer()?
        .layer(client)
        .map_err(BoxError::from);
    let client = match config.auth_layer()? {
        Some(auth) => auth.layer(client).boxed(),
        None => client.boxed(),
    };
    let client = config.base_uri_layer().layer(client);
    Ok(Client::new(client, config.default_namespace))
}

fn finish(mut config: Config, own_namespace: Option<String>) -> Result<Access, AccessError> {
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    // The watch machine owns deadlines and retries: a second layer would hide
    // failures from it and multiply its requests.
    config.read_timeout = None;
    config.default_retry = false;
    let url = config.cluster_url.to_string();
    let loopback = config.cluster_url.host().is_some_and(|host| {
        let address: Option<std::net::IpAddr> = host.trim_matches(['[', ']']).parse().ok();
        host == "localhost" || address.is_some_and(|address| address.is_loopback())
    });
    let client = client(config).map_err(|source| AccessError::Client {
        url: url.clone(),
        source: Box::new(source),
    })?;
    Ok(Access {
        own_namespace: own_namespace.filter(|namespace| !namespace.is_empty()),
        loopback,
        ..Access::new(client, url)
    })
}

fn context_namespace(kubeconfig: &Kubeconfig, context: Option<&str>) -> Option<String> {
    let name = context.or(kubeconfig.current_context.as_deref())?;
    let named = kubeconfig.contexts.iter().find(|c| c.name == name)?;
    named.context.as_ref()?.namespace.clone()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn own_namespace(namespace: Option<String>) -> Option<String> {
        let config = Config::new("http://127.0.0.1:1".parse().unwrap());
        finish(config, namespace).unwrap().own_namespace
    }

    #[tokio::test]
    async fn w2_the_service_accounts_namespace_is_trimmed_and_an_empty_one_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("namespace");
        for (text, expected) in [
            ("shop", Some("shop")),
            ("shop\n", Some("shop")),
            (" \tshop \r\n\n", Some("shop")),
            ("", None),
            (" \n", None),
        ] {
            std::fs::write(&file, text).unwrap();
            let found = own_namespace(namespace_in(&file));
            assert_eq!(found.as_deref(), expected, "{text:?}");
        }
        let missing = namespace_in(&dir.path().join("missing"));
        assert_eq!(own_namespace(missing), None);
    }

    #[tokio::test]
    async fn w2_else_it_is_that_of_the_kubeconfigs_context() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("kubeconfig");
        let text = "\
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]
users: [{name: u, user: {}}]
contexts:
- {name: here, context: {cluster: c, user: u, namespace: shop}}
- {name: there, context: {cluster: c, user: u, namespace: blog}}
- {name: nowhere, context: {cluster: c, user: u}}
current-context: here
";
        std::fs::write(&file, text).unwrap();
        for (context, expected) in [
            (None, Some("shop")),
            (Some("there"), Some("blog")),
            (Some("nowhere"), None),
        ] {
            let options = AccessOptions {
                kubeconfig: Some(file.clone()),
                context: context.map(str::to_owned),
            };
            let access = connect(&options).await.unwrap();
            assert_eq!(access.own_namespace.as_deref(), expected, "{context:?}");
        }
    }
}
