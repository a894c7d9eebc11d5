//! Owns what a watch is told at its start: what to watch, and the numbers that
//! bound its patience. Nothing here changes while the watch runs.

use std::{fmt, time::Duration};

use crate::decode::ProjectionSpec;

/// What one [`Machine`](super::Machine) watches, and how.
///
/// Selectors are sent as they are given: they were parsed and printed
/// canonically before (contract W3).
#[derive(Clone, Debug)]
pub struct WatchConfig {
    /// Group, version and plural name.
    pub resource: ResourceRef,
    /// Only this namespace; `None` means all of them. Ignored, with a note, when
    /// discovery shows that the kind is cluster-scoped.
    pub namespace: Option<String>,
    /// Only the object of this name: sent as the field selector
    /// `metadata.name=…`, which every resource supports. With a kind that has
    /// namespaces, `namespace` must be given too: without it the watch fails.
    pub name: Option<String>,
    /// Sent as `labelSelector`.
    pub label_selector: Option<String>,
    /// The part of the field selector that the server evaluates. The other part
    /// is [`ProjectionSpec::select`].
    pub field_selector: Option<String>,
    /// Ask for metadata only (`PartialObjectMetadata`).
    pub metadata_only: bool,
    /// Objects a page of a paged LIST; 500 unless told. At least 1.
    pub page_size: u32,
    /// Deadlines, backoff and size limits.
    pub limits: WatchLimits,
    /// Where the jitter starts: give every watch another one.
    pub seed: u64,
    /// Whether a streaming list may be tried.
    pub streaming: StreamingPreference,
    /// How each reader wants the objects decoded, so that one stream serves several
    /// stores (contract W10). `api_version` and `kind` are filled in from discovery,
    /// whatever stands there.
    pub readers: Vec<ProjectionSpec>,
}

impl WatchConfig {
    /// Watches a resource for one reader in all namespaces, unfiltered, with the
    /// defaults.
    #[must_use]
    pub fn new(resource: ResourceRef, projection: ProjectionSpec) -> Self {
        Self {
            resource,
            namespace: None,
            name: None,
            label_selector: None,
            field_selector: None,
            metadata_only: false,
            page_size: 500,
            limits: WatchLimits::default(),
            seed: 0,
            streaming: StreamingPreference::Auto,
            readers: vec![projection],
        }
    }
}

/// A resource as its URL names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceRef {
    /// API group; empty for the core group.
    pub group: String,
    /// Version within the group, such as `v1`.
    pub version: String,
    /// Plural name, such as `ingresses`.
    pub resource: String,
}

impl ResourceRef {
    /// `v1` or `networking.k8s.io/v1`.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }
}

impl fmt::Display for ResourceRef {
    /// `services.v1` or `ingresses.v1.networking.k8s.io`, as kubectl takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.resource, self.version)?;
        if self.group.is_empty() {
            Ok(())
        } else {
            write!(f, ".{}", self.group)
        }
    }
}

/// Whether the machine starts with a streaming list (`sendInitialEvents`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StreamingPreference {
    /// Try it, fall back to a paged LIST when the server cannot, and remember
    /// that for as long as the machine lives.
    #[default]
    Auto,
    /// Paged LIST only: for a resource of which another watch learnt that the
    /// server cannot stream it.
    Never,
}

/// The numbers that bound a watch. The defaults are the documented behaviour;
/// other values are for tests and for unusual servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchLimits {
    /// From [`Input::Sent`](super::Input::Sent) to the headers. 30 s: a page of
    /// 500 objects and the start of a watch take an API server far less, and
    /// connecting (at most 10 s, bounded by the client) is part of it.
    pub headers: Duration,
    /// Silence in the body of a LIST, of a streaming list before its end
    /// bookmark, and of discovery. 30 s: the server has the answer ready when it
    /// sends the headers. Only complete objects count as signs of life.
    pub list_silence: Duration,
    /// Silence on a watch. 70 s: API servers send a bookmark every minute. Only
    /// complete events count.
    pub stream_silence: Duration,
    /// From the headers of a streaming list to its end bookmark. 3 minutes: a
    /// list that takes longer is better fetched in pages, where each page that
    /// arrived is kept when the connection breaks.
    pub initial_events: Duration,
    /// For the body that explains an HTTP error. 10 s.
    pub error_body: Duration,
    /// The least `timeoutSeconds` of a watch. 5 minutes.
    pub watch_timeout_min: Duration,
    /// The greatest `timeoutSeconds` of a watch. 10 minutes: streams spread over
    /// the servers of a cluster again within that time after one restarts.
    pub watch_timeout_max: Duration,
    /// How much longer than `timeoutSeconds` a stream may live before this side
    /// ends it. 30 s.
    pub watch_timeout_grace: Duration,
    /// The first bound of the backoff. 0.8 s.
    pub backoff_first: Duration,
    /// The last bound of the backoff. 30 s.
    pub backoff_max: Duration,
    /// Health for this long forgets earlier failures. 2 minutes.
    pub healthy_after: Duration,
    /// The longest `Retry-After` that is honoured. 2 minutes: longer would look
    /// like a stall.
    pub retry_after_max: Duration,
    /// A stream that ends cleanly before this age backs off as after a failure.
    /// 5 s: twelve streams a minute at most without backoff.
    pub short_stream: Duration,
    /// How long a stream must live after its headers before a watch that was in
    /// trouble is called [`WatchState::Synced`](super::WatchState::Synced)
    /// again, unless an event comes earlier. 1 s: API servers report an expired
    /// resourceVersion as the first event of a stream that began with 200. After a
    /// stream that died in silence, only an event or a list counts.
    pub settle: Duration,
    /// The largest object that is accepted, in bytes. 16 MiB: etcd takes
    /// requests of 1.5 MiB by default, and no API server is run with ten times that.
    pub object_bytes: usize,
    /// The largest answer of discovery, in bytes. 4 MiB: some 400 bytes a
    /// resource, so ten thousand resources in one group and version.
    pub discovery_bytes: usize,
}

impl Default for WatchLimits {
    fn default() -> Self {
        Self {
            headers: Duration::from_secs(30),
            list_silence: Duration::from_secs(30),
            stream_silence: Duration::from_secs(70),
            initial_events: Duration::from_mins(3),
            error_body: Duration::from_secs(10),
            watch_timeout_min: Duration::from_mins(5),
            watch_timeout_max: Duration::from_mins(10),
            watch_timeout_grace: Duration::from_secs(30),
            backoff_first: Duration::from_millis(800),
            backoff_max: Duration::from_secs(30),
            healthy_after: Duration::from_mins(2),
            retry_after_max: Duration::from_mins(2),
            short_stream: Duration::from_secs(5),
            settle: Duration::from_secs(1),
            object_bytes: 16 << 20,
            discovery_bytes: 4 << 20,
        }
    }
}
