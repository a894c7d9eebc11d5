//! An in-memory Kubernetes API server over real HTTP, fed from manifests.
//!
//! Owns the objects, their resourceVersions and the HTTP front that
//! Kubernetes clients speak to: discovery, list, watch, get, writes and
//! patches. There are no controllers, no scheduler and no authentication: a
//! Deployment makes no Pods, and whoever reaches the port is allowed
//! everything, which is why it listens on loopback unless told otherwise.
//! Dependents of a deleted owner stay, versions of a custom type are not
//! converted into each other beyond their apiVersion, and `v1` Events and
//! `events.k8s.io/v1` Events are two separate sets of objects.
//!
//! What real servers, proxies and networks do wrong happens on demand: see
//! [`Faults`]. A [detached](Cluster::detached) server has no socket and runs on
//! tokio's clock alone, so that a test can pause it.
//!
//! # Examples
//!
//! ```
//! use haptic_cluster::{Cluster, Options};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let cluster = Cluster::start(Options::default()).await?;
//! cluster.apply(&serde_json::json!({
//!     "apiVersion": "v1",
//!     "kind": "ConfigMap",
//!     "metadata": {"name": "greeting", "namespace": "shop"},
//!     "data": {"text": "hello"},
//! }))?;
//! println!("kubectl --server {} -n shop get configmaps", cluster.url());
//! cluster.shutdown().await;
//! # Ok(())
//! # }
//! ```

mod api;
mod apply;
mod body;
mod builtins;
mod cells;
mod clock;
mod cluster;
mod crd;
mod delete;
mod discovery;
mod escape;
mod faults;
mod feed;
mod fields;
mod http;
mod input;
mod json;
mod jsonpath;
mod kinds;
mod list;
mod managed;
mod manifests;
mod names;
mod openapi;
mod patch;
mod progress;
mod protobuf;
mod render;
mod replica;
mod request;
mod resources;
mod review;
mod scale;
mod schema;
mod selector;
mod state;
mod status;
mod table;
mod topology;
mod watch;
mod write;
mod yaml;

pub use body::Body;
pub use clock::Clock;
pub use cluster::{Applied, Cluster, Options, StartError};
pub use faults::{
    Fault, Faults, How, Logged, Moment, Page, Place, Refusal, Rule, RuleId, Script, ScriptError,
    Verb, When,
};
pub use feed::Feed;
pub use manifests::{Manifest, ManifestError, load_manifests};
pub use status::{ApiError, Cause};
