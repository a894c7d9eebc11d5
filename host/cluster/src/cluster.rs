//! The server as its owner sees it: start, use in-process, stop.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::api::Api;
use crate::body::Body;
use crate::clock::Clock;
use crate::delete::Preconditions;
use crate::faults::{Faults, Front, Logged, Wire};
use crate::feed::Feed;
use crate::http::serve;
use crate::json;
use crate::kinds::NAMESPACES;
use crate::manifests::{ManifestError, namespace_of};
use crate::resources::Resource;
use crate::state::{Caps, Store};
use crate::status::ApiError;
use crate::write::{How, Part, Tracking, Written};

/// In whose name manifests are written.
const MANAGER: &str = "haptic-manifests";

/// How a [`Cluster`] is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Where to listen. Default: `127.0.0.1`, on a free port.
    pub addr: SocketAddr,
    /// Allows an `addr` that other machines can reach. Default: false. There
    /// is no authentication: whoever reaches the port is allowed everything.
    pub allow_non_loopback: bool,
    /// Time between the bookmarks of a quiet watch. Default: one minute, as on a real server.
    pub bookmark_interval: Duration,
    /// Events kept for each type, at least one. Older versions answer 410. Default: 10,000.
    pub history_events: usize,
    /// Bytes of JSON kept for each type's events. Default: 64 MiB.
    pub history_bytes: usize,
    /// How long a request for a version from the future waits for it before
    /// it is answered with 504. Default: 3 s, as on a real server.
    pub fresh_wait: Duration,
    /// Where timestamps come from, and the first resourceVersion: the
    /// microseconds since the Unix epoch. Older versions answer 410, so that
    /// clients notice a restart. Default: the machine's clock.
    pub clock: Clock,
    /// Makes uids and generated names the same on every run. Default: `None`, always different.
    pub seed: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            allow_non_loopback: false,
            bookmark_interval: Duration::from_secs(60),
            history_events: 10_000,
            history_bytes: 64 * 1024 * 1024,
            fresh_wait: Duration::from_secs(3),
            clock: Clock::System,
            seed: None,
        }
    }
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is not one of this machine's own loopback addresses.
    #[error(
        "{addr} can be reached from other machines, and the embedded cluster lets everybody do everything: \
         choose a loopback address, or allow it (--allow-non-loopback)"
    )]
    NotLoopback {
        /// The address that was asked for.
        addr: SocketAddr,
    },
    /// The address could not be bound.
    #[error("the embedded cluster cannot listen on {addr}")]
    Bind {
        /// The address that was asked for.
        addr: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The namespaces that always exist could not be made.
    #[error("the embedded cluster cannot make its first objects")]
    Seed(#[source] ApiError),
}

/// What [`Cluster::apply`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// The object is new.
    Created,
    /// The object was there and is different now.
    Updated,
    /// The object was there and is the same; its resourceVersion stays.
    Unchanged,
}

/// A running server. It stops when it is dropped.
#[derive(Debug)]
pub struct Cluster {
    front: Arc<Front>,
    addr: SocketAddr,
    /// `None` where nothing listens.
    server: Option<JoinHandle<()>>,
}

impl Cluster {
    /// Binds the address and serves from then on.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let addr = options.addr;
        if !addr.ip().is_loopback() && !options.allow_non_loopback {
            return Err(StartError::NotLoopback { addr });
        }
        let bind = |source| StartError::Bind { addr, source };
        let listener = TcpListener::bind(addr).await.map_err(bind)?;
        let addr = listener.local_addr().map_err(bind)?;
        let mut cluster = Self::detached(Options { addr, ..options })?;
        let server = serve(listener, Arc::clone(&cluster.front), addr);
        cluster.server = Some(tokio::spawn(server));
        tracing::info!(%addr, "the embedded cluster is listening");
        Ok(cluster)
    }

    /// A server that nobody can connect to, for tests without sockets: it answers
    /// [`Cluster::call`], paces itself by tokio's clock alone, and so runs on a paused
    /// one. `options.addr` is not bound; [`Cluster::addr`] repeats it.
    ///
    /// # Errors
    ///
    /// [`StartError::Seed`].
    ///
    /// # Examples
    ///
    /// ```
    /// use bytes::Bytes;
    /// use haptic_cluster::{Cluster, Options};
    /// use http_body_util::BodyExt;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let cluster = Cluster::detached(Options::default())?;
    /// let answer = cluster.call(http::Request::get("/version").body(Bytes::new())?).await?;
    /// assert_eq!(answer.status(), 200);
    /// let body: Bytes = answer.into_body().collect().await?.to_bytes();
    /// # assert!(body.starts_with(b"{"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn detached(options: Options) -> Result<Self, StartError> {
        let addr = options.addr;
        let caps = Caps {
            events: options.history_events,
            bytes: options.history_bytes,
        };
        let store = Store::new(options.clock, options.seed, caps);
        let api = Arc::new(Api::new(
            store,
            options.bookmark_interval,
            options.fresh_wait,
            addr.to_string(),
        ));
        for name in NAMESPACES {
            let namespace =
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            apply(&mut api.store(), &namespace).map_err(StartError::Seed)?;
        }
        Ok(Self {
            front: Arc::new(Front::new(api)),
            addr,
            server: None,
        })
    }

    /// Answers a request without a connection, whether the server listens or not. Its
    /// address needs no host.
    ///
    /// # Errors
    ///
    /// What a client sees when the connection goes before the headers, which only a
    /// [`Fault`](crate::Fault) makes happen: [`ConnectionReset`](std::io::ErrorKind::ConnectionReset) or
    /// [`UnexpectedEof`](std::io::ErrorKind::UnexpectedEof). Later, the body says it.
    pub async fn call(&self, request: Request<Bytes>) -> std::io::Result<Response<Body>> {
        self.front.answer(request, &Wire::default()).await
    }

    /// What goes wrong on purpose: nothing, until rules are added.
    pub fn faults(&self) -> Faults {
        self.front.faults.clone()
    }

    /// The latest requests, oldest first: 10,000 at most, see [`Cluster::forgotten_requests`].
    /// What is done in-process, such as [`Cluster::apply`], is none.
    pub fn requests(&self) -> Vec<Logged> {
        self.front.log().all()
    }

    /// How many requests were dropped from [`Cluster::requests`] since it was last cleared.
    pub fn forgotten_requests(&self) -> u64 {
        self.front.log().dropped()
    }

    /// Empties [`Cluster::requests`].
    pub fn clear_requests(&self) {
        self.front.log().clear();
    }

    /// The address that clients connect to.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://` and the address.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// A kubeconfig in YAML whose only context, cluster and user are called `haptic`.
    pub fn kubeconfig(&self) -> String {
        format!(
            "apiVersion: v1\n\
             kind: Config\n\
             clusters:\n\
             - name: haptic\n\
             \x20 cluster:\n\
             \x20   server: {}\n\
             users:\n\
             - name: haptic\n\
             \x20 user: {{}}\n\
             contexts:\n\
             - name: haptic\n\
             \x20 context:\n\
             \x20   cluster: haptic\n\
             \x20   user: haptic\n\
             \x20   namespace: default\n\
             current-context: haptic\n",
            self.url()
        )
    }

    /// Creates an object, or replaces the one of its name, its status too if
    /// `object` has one.
    ///
    /// A namespaced object without a namespace goes to `default`; a namespace
    /// that does not exist is created. A CustomResourceDefinition is served
    /// when this returns.
    ///
    /// # Errors
    ///
    /// What the server would answer over HTTP: 404 for a kind that is not
    /// served, 422 for a bad name, and so on.
    pub fn apply(&self, object: &Value) -> Result<Applied, ApiError> {
        apply(&mut self.front.api.store(), object)
    }

    /// Deletes an object. One with finalizers is only marked, as over HTTP.
    ///
    /// # Errors
    ///
    /// 404 when there is no such object, or no such kind.
    pub fn delete(
        &self,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<(), ApiError> {
        let mut store = self.front.api.store();
        let resource = find(&store, api_version, kind)?;
        let namespace = place(&resource, namespace);
        store.delete(&resource, namespace, name, &Preconditions::default(), false)?;
        Ok(())
    }

    /// Reads an object, with apiVersion and kind.
    ///
    /// # Errors
    ///
    /// 404 when there is no such object, or no such kind.
    pub fn get(
        &self,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Value, ApiError> {
        let store = self.front.api.store();
        let resource = find(&store, api_version, kind)?;
        let found = store.get(&resource, place(&resource, namespace), name);
        found
            .ok_or_else(|| ApiError::not_found(&resource, name))?
            .value(&resource)
    }

    /// Loads manifests, and follows what is done to their files from then on:
    /// a changed object is an update, a new one a create, one that is gone a
    /// delete. Changes that others make to the objects are left alone.
    ///
    /// While a file is broken, or an object in it is, the errors are logged
    /// with file and line and everything stays as it was.
    ///
    /// Must be called on a tokio runtime.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the manifests, see [`load_manifests`](crate::load_manifests),
    /// every object that the server refuses, and paths that cannot be watched.
    /// Nothing is loaded then, unless it was the server that refused an object.
    ///
    /// # Examples
    ///
    /// ```
    /// use haptic_cluster::{Cluster, Options};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let folder = folder.path().to_owned();
    /// # std::fs::write(
    /// #     folder.join("a.yaml"),
    /// #     "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n",
    /// # )?;
    /// let cluster = Cluster::start(Options::default()).await?;
    /// match cluster.feed(&[folder]) {
    ///     Ok(_feed) => println!("objects follow the files while the feed lives"),
    ///     Err(errors) => errors.iter().for_each(|error| eprintln!("{error}")),
    /// }
    /// assert!(cluster.get("v1", "ConfigMap", None, "a").is_ok());
    /// # Ok(())
    /// # }
    /// ```
    pub fn feed(&self, paths: &[PathBuf]) -> Result<Feed, Vec<ManifestError>> {
        Feed::start(&self.front.api, paths)
    }

    /// Forgets the history: watches and continue tokens from before now get
    /// 410, as after a compaction of etcd. A watch that has seen everything
    /// so far goes on.
    pub fn compact(&self) {
        self.front.api.store().compact();
    }

    /// The version of the last write.
    pub fn resource_version(&self) -> u64 {
        self.front.api.store().version()
    }

    /// Closes the port and every connection, and waits until they are closed.
    pub async fn shutdown(mut self) {
        let Some(mut server) = self.server.take() else {
            return;
        };
        server.abort();
        if let Err(error) = (&mut server).await
            && error.is_panic()
        {
            tracing::error!(%error, "the embedded cluster's server had failed");
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            server.abort();
        }
    }
}

pub(crate) fn find(
    store: &Store,
    api_version: &str,
    kind: &str,
) -> Result<Arc<Resource>, ApiError> {
    store.registry.find_kind(api_version, kind).ok_or_else(|| {
        ApiError::new(
            404,
            "NotFound",
            format!("no matches for kind {kind:?} in version {api_version:?}"),
        )
    })
}

fn place<'n>(resource: &Resource, namespace: Option<&'n str>) -> &'n str {
    match namespace {
        Some(namespace) if resource.namespaced && !namespace.is_empty() => namespace,
        _ if resource.namespaced => "default",
        _ => "",
    }
}

/// Writes an object as a manifest says it, whatever was there before.
pub(crate) fn apply(store: &mut Store, object: &Value) -> Result<Applied, ApiError> {
    let resource = find(
        store,
        json::text(object, &["apiVersion"]),
        json::text(object, &["kind"]),
    )?;
    if resource.review {
        return Err(ApiError::method_not_allowed());
    }
    let name = json::text(object, &["metadata", "name"]);
    let namespace = if resource.namespaced {
        namespace_of(object)
    } else {
        ""
    };
    let mut value = object.clone();
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        // What a dump of another cluster carries along.
        for field in [
            "resourceVersion",
            "uid",
            "managedFields",
            "generation",
            "selfLink",
        ] {
            metadata.remove(field);
        }
    }
    let how = How {
        manager: MANAGER.to_owned(),
        dry_run: false,
        part: Part::Whole,
    };
    if resource.namespaced {
        ensure_namespace(store, namespace, &how)?;
    }
    let written = if store.get(&resource, namespace, name).is_some() {
        store.update(&resource, namespace, name, value, &how)?
    } else {
        store.create(&resource, namespace, value, &how, Tracking::Write)?
    };
    Ok(match written {
        Written::Created(_) => Applied::Created,
        Written::Updated(_) | Written::Removed(_) => Applied::Updated,
        Written::Unchanged(_) => Applied::Unchanged,
    })
}

fn ensure_namespace(store: &mut Store, name: &str, how: &How) -> Result<(), ApiError> {
    let namespaces = find(store, "v1", "Namespace")?;
    if store.get(&namespaces, "", name).is_some() {
        return Ok(());
    }
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    store.create(&namespaces, "", namespace, how, Tracking::Write)?;
    Ok(())
}
