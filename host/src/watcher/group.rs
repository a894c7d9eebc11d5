//! Several watches that are read together.

use std::sync::Arc;

use haptic_core::{
    spec::{SpecError, SpecErrors},
    watch::WatchState,
};

use super::{
    callback::{Answer, Callbacks, ChangeStats, ObjectEvent},
    session::{self, Session, StartError, Status, Stopped, Stopper},
    watch::Watch,
};
use crate::{
    access::Access,
    cached::DEFAULT_BYTES,
    store::{Store, View},
};

/// Running watches that share their callbacks: each callback sees one [`View`] of all
/// stores, taken at one moment, and none runs beside another. Watches of the same
/// objects share a stream (contract W10). Dropping it stops them all.
///
/// ```
/// use haptic_host::{Watch, WatcherGroup};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let cluster = haptic_cluster::Cluster::start(Default::default()).await?;
/// # let access = haptic_host::access::connect_url(&cluster.url(), "default")?;
/// let group = WatcherGroup::builder(&access)
///     .watch(Watch::new("networking.k8s.io/v1", "ingresses"))
///     .watch(Watch::new("v1", "services"))
///     .on_change(|view, watch, stats| async move {
///         // Before everything is known, half a picture would be rendered.
///         if view.all_synced() {
///             let services = view.open("services")?;
///             println!("{watch}: {stats:?}, {} services", services.len());
///         }
///         Ok::<_, haptic_host::ReadError>(())
///     })
///     .start()?;
/// group.wait_for_sync().await?;
/// assert!(group.view().open("ingresses")?.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct WatcherGroup {
    session: Session,
    names: Vec<String>,
}

/// A [`WatcherGroup`] that has not been started.
#[must_use = "nothing is watched before it is started"]
pub struct WatcherGroupBuilder {
    access: Access,
    watches: Vec<Watch>,
    callbacks: Callbacks,
    stopper: Stopper,
    cache_bytes: usize,
}

impl WatcherGroup {
    /// Prepares a group without watches.
    pub fn builder(access: &Access) -> WatcherGroupBuilder {
        WatcherGroupBuilder {
            access: access.clone(),
            watches: Vec::new(),
            callbacks: Callbacks::default(),
            stopper: Stopper::new(),
            cache_bytes: DEFAULT_BYTES,
        }
    }

    /// All stores as they are now (contract S4).
    #[must_use]
    pub fn view(&self) -> View {
        self.session.published().view()
    }

    /// The store of the watch of that name, which follows the cluster; that of a watch
    /// of one object holds at most that one. None when there is no such watch.
    #[must_use]
    pub fn store(&self, watch: &str) -> Option<Store> {
        let watch = self.place(watch)?;
        Some(Store::new(Arc::clone(self.session.published()), watch))
    }

    /// Waits until every required watch has its objects (contract C6); answers how
    /// many objects that are.
    ///
    /// # Errors
    /// [`Stopped`] when the group is stopped before.
    pub async fn wait_for_sync(&self) -> Result<usize, Stopped> {
        self.session.wait_for_barrier().await
    }

    /// Whether every required watch has had its objects once.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.session.all_synced()
    }

    /// Calls back at once with what waits: see [`Watcher::force_sync`](super::Watcher::force_sync).
    pub fn force_sync(&self) {
        self.session.force_sync();
    }

    /// How each watch is, by its name, in the order in which they were given.
    #[must_use]
    pub fn status(&self) -> Vec<(&str, Status)> {
        let names = self.names.iter().enumerate();
        names
            .map(|(watch, name)| (name.as_str(), self.session.status(watch)))
            .collect()
    }

    /// The states that the watch of that name goes through; none when there is no
    /// such watch. See [`Watcher::states`](super::Watcher::states).
    #[must_use]
    pub fn states(&self, watch: &str) -> Option<tokio::sync::watch::Receiver<WatchState>> {
        Some(self.session.states(self.place(watch)?))
    }

    /// Stops all watches: see [`Stopper::stop`].
    pub fn stop(&self) {
        self.session.stopper().stop();
    }

    /// Waits until nothing of a stopped group runs any more: no stream, no callback.
    pub async fn stopped(&self) {
        self.session.stopped().await;
    }

    fn place(&self, watch: &str) -> Option<usize> {
        self.names.iter().position(|name| name == watch)
    }
}

impl WatcherGroupBuilder {
    /// Adds a watch, of a collection or of one object.
    pub fn watch(mut self, watch: Watch) -> Self {
        self.watches.push(watch);
        self
    }

    /// Called once for each collection when its store holds everything, with the
    /// watch's name and the number of objects. Others may not be complete then:
    /// [`View::all_synced`] tells.
    pub fn on_sync_complete<F, R>(mut self, mut callback: F) -> Self
    where
        F: FnMut(View, Arc<str>, usize) -> R + Send + 'static,
        R: Future<Output: Answer> + Send + 'static,
    {
        self.callbacks
            .on_sync(move |seen, (_, count)| callback(seen.view, seen.watch, count));
        self
    }

    /// Called when objects of a collection changed, with the watch's name; each watch
    /// is [debounced](Watch::debounce) for itself.
    pub fn on_change<F, R>(mut self, mut callback: F) -> Self
    where
        F: FnMut(View, Arc<str>, ChangeStats) -> R + Send + 'static,
        R: Future<Output: Answer> + Send + 'static,
    {
        self.callbacks
            .on_change(move |seen, (_, stats)| callback(seen.view, seen.watch, stats));
        self
    }

    /// Called with what happens to the object of a watch of one object, with the
    /// watch's name.
    pub fn on_event<F, R>(mut self, mut callback: F) -> Self
    where
        F: FnMut(View, Arc<str>, ObjectEvent) -> R + Send + 'static,
        R: Future<Output: Answer> + Send + 'static,
    {
        self.callbacks
            .on_object(move |seen, event| callback(seen.view, seen.watch, event));
        self
    }

    /// The bodies of all [cached](Watch::cached) watches together that are kept take at most so many bytes,
    /// those longest unread going first. 64 MiB unless told; with 0 each read fetches.
    pub fn cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// What stops the group from inside its callbacks.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Starts the watches.
    ///
    /// # Errors
    /// Everything that is wrong with any [`Watch`], at once; nothing was sent then.
    pub fn start(self) -> Result<WatcherGroup, StartError> {
        if self.watches.is_empty() {
            return Err(SpecErrors(vec![SpecError {
                place: "group".to_owned(),
                message: "has no watches: nothing would ever happen".to_owned(),
            }])
            .into());
        }
        let specs: Vec<_> = self.watches.into_iter().map(Watch::into_spec).collect();
        let plans = session::plan(&self.access, &specs, Vec::new())?;
        let session = Session::start(
            &self.access,
            &plans,
            self.callbacks,
            self.stopper,
            self.cache_bytes,
        )?;
        let names = specs.into_iter().map(|spec| spec.name).collect();
        Ok(WatcherGroup { session, names })
    }
}
