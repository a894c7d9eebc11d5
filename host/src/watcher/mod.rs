//! Watches for controllers in Rust: the host's streams, stores and callbacks without a
//! plugin. A [`Watcher`] follows a collection, a [`SingleWatcher`] one object, a
//! [`WatcherGroup`] several of both that are read together.
//!
//! ```
//! use haptic_host::{Watch, Watcher};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let cluster = haptic_cluster::Cluster::start(Default::default()).await?;
//! # cluster.apply(&serde_json::json!({
//! #     "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
//! #     "metadata": {"namespace": "shop", "name": "web"},
//! # }))?;
//! # let access = haptic_host::access::connect_url(&cluster.url(), "default")?;
//! // Against the current kube context: haptic_host::connect(&Default::default()).await?
//! let watcher = Watcher::builder(&access, Watch::new("networking.k8s.io/v1", "ingresses"))
//!     .on_change(|store, stats| async move {
//!         println!("{} created, now {}", stats.created, store.len());
//!     })
//!     .start()?;
//! let count = watcher.wait_for_sync().await?;
//! assert_eq!(count, 1);
//! assert_eq!(watcher.store().get(&["shop", "web"])?[0].name(), "web");
//! # Ok(())
//! # }
//! ```
//!
//! What holds for all of them:
//!
//! - A callback sees one snapshot, however long it runs. Callbacks of one watcher, or
//!   of one group, never overlap; each runs as a task of its own, so that the store
//!   goes on following the cluster meanwhile.
//! - A callback that answers with an error, or panics, is called again after 1 s, 2 s,
//!   4 s and so on up to a minute, with what it was told merged with what is newer.
//! - A broken connection, an expired version or a kind that is not served yet is a
//!   [state](Watcher::state), not an error: what is known stays, and it is tried again.
//! - Dropping the handle stops the watch. Stores that were taken from it stay
//!   readable; they tell by their [freshness](crate::Freshness) that nobody follows the
//!   cluster any more.

mod callback;
mod group;
mod session;
mod single;
mod watch;

use std::sync::Arc;

use haptic_core::watch::WatchState;

use self::{
    callback::Callbacks,
    session::{Session, mistake},
};
pub use self::{
    callback::{Answer, CallbackError, ChangeStats, ObjectEvent},
    group::{WatcherGroup, WatcherGroupBuilder},
    session::{StartError, Status, Stopped, Stopper},
    single::{SingleWatcher, SingleWatcherBuilder},
    watch::Watch,
};
use crate::{
    access::Access,
    cached::DEFAULT_BYTES,
    store::{Snapshot, Store},
};

/// A running watch of a collection. Dropping it stops it.
#[derive(Debug)]
pub struct Watcher {
    session: Session,
}

/// A [`Watcher`] that has not been started.
#[must_use = "nothing is watched before it is started"]
pub struct WatcherBuilder {
    access: Access,
    watch: Watch,
    callbacks: Callbacks,
    stopper: Stopper,
    cache_bytes: usize,
}

impl Watcher {
    /// Prepares a watch. Nothing is sent before [`WatcherBuilder::start`].
    pub fn builder(access: &Access, watch: Watch) -> WatcherBuilder {
        WatcherBuilder {
            access: access.clone(),
            watch,
            callbacks: Callbacks::default(),
            stopper: Stopper::new(),
            cache_bytes: DEFAULT_BYTES,
        }
    }

    /// The store, which follows the cluster. Empty at first, and complete from the
    /// first sync on: see [`Watcher::wait_for_sync`].
    #[must_use]
    pub fn store(&self) -> Store {
        Store::new(Arc::clone(self.session.published()), 0)
    }

    /// Waits until the store holds everything; answers how many objects that were.
    /// Does not wait for callbacks. A resource that is not served yet is waited for;
    /// wrap this in [`tokio::time::timeout`] to wait for a while only.
    ///
    /// # Errors
    /// [`Stopped`] when it is stopped before.
    pub async fn wait_for_sync(&self) -> Result<usize, Stopped> {
        self.session.wait_for_sync(0).await
    }

    /// Whether the store has held everything once. Whether it is up to date now is
    /// [`Watcher::state`]'s to say.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.session.is_synced(0)
    }

    /// Calls back at once with the changes that wait for the debounce interval, or
    /// for another attempt; does nothing when there are none.
    pub fn force_sync(&self) {
        self.session.force_sync();
    }

    /// How the watch is (contract W9).
    #[must_use]
    pub fn state(&self) -> WatchState {
        self.session.status(0).freshness.state
    }

    /// The states that the watch goes through, the newest of which can be read and
    /// waited for:
    ///
    /// ```no_run
    /// # async fn log(watcher: &haptic_host::Watcher) {
    /// let mut states = watcher.states();
    /// while states.changed().await.is_ok() {
    ///     println!("{}", *states.borrow_and_update());
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn states(&self) -> tokio::sync::watch::Receiver<WatchState> {
        self.session.states(0)
    }

    /// How the watch is, in numbers.
    #[must_use]
    pub fn status(&self) -> Status {
        self.session.status(0)
    }

    /// Stops it: see [`Stopper::stop`].
    pub fn stop(&self) {
        self.session.stopper().stop();
    }

    /// Waits until nothing of a stopped watcher runs any more: no stream, no callback.
    pub async fn stopped(&self) {
        self.session.stopped().await;
    }
}

impl WatcherBuilder {
    /// Called once, when the store holds everything, with the number of objects; before
    /// the first `on_change`, unless that is wanted
    /// [during the sync](Watch::call_on_change_during_sync) (contract C1).
    pub fn on_sync_complete<F, R>(mut self, mut callback: F) -> Self
    where
        F: FnMut(Snapshot, usize) -> R + Send + 'static,
        R: Future<Output: Answer> + Send + 'static,
    {
        self.callbacks
            .on_sync(move |_, (store, count)| callback(store, count));
        self
    }

    /// Called when objects changed: with the first change, and after that at most once
    /// in each [debounce](Watch::debounce) interval (contract C2).
    pub fn on_change<F, R>(mut self, mut callback: F) -> Self
    where
        F: FnMut(Snapshot, ChangeStats) -> R + Send + 'static,
        R: Future<Output: Answer> + Send + 'static,
    {
        self.callbacks
            .on_change(move |_, (store, stats)| callback(store, stats));
        self
    }

    /// The bodies of a [cached](Watch::cached) watch that are kept take at most so many bytes,
    /// those longest unread going first. 64 MiB unless told; with 0 each read fetches.
    pub fn cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// What stops the watcher from inside its callbacks.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Starts the watch.
    ///
    /// # Errors
    /// Everything that is wrong with the [`Watch`], at once; nothing was sent then.
    pub fn start(self) -> Result<Watcher, StartError> {
        let spec = self.watch.into_spec();
        let mut errors = Vec::new();
        if spec.object_name.is_some() {
            let message = "a watch of one object has no store: start a SingleWatcher with it";
            errors.push(mistake(&spec, "object-name", message));
        }
        let plans = session::plan(&self.access, &[spec], errors)?;
        let session = Session::start(
            &self.access,
            &plans,
            self.callbacks,
            self.stopper,
            self.cache_bytes,
        )?;
        Ok(Watcher { session })
    }
}
