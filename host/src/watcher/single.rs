//! A watch of one object.

use haptic_core::{
    spec::{SpecError, WatchSpec},
    watch::WatchState,
};

use super::{
    callback::{Answer, Callbacks, ObjectEvent},
    session::{self, Session, StartError, Status, Stopped, Stopper, mistake},
    watch::Watch,
};
use crate::{access::Access, store::Item};

/// A running watch of one object (contract R). Dropping it stops it.
///
/// ```
/// use haptic_host::{ObjectEvent, SingleWatcher, Watch};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let cluster = haptic_cluster::Cluster::start(Default::default()).await?;
/// # let access = haptic_host::access::connect_url(&cluster.url(), "default")?;
/// let settings = Watch::object("v1", "configmaps", "settings").own_namespace();
/// let watcher = SingleWatcher::builder(&access, settings)
///     .on_event(|event| async move {
///         match event {
///             ObjectEvent::Applied(object) => println!("{}", object.json()),
///             ObjectEvent::Deleted(object) => println!("{object} is gone"),
///             ObjectEvent::Absent => println!("there is none yet"),
///         }
///     })
///     .start()?;
/// assert!(watcher.wait_for_sync().await?.is_none());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct SingleWatcher {
    session: Session,
}

/// A [`SingleWatcher`] that has not been started.
#[must_use = "nothing is watched before it is started"]
pub struct SingleWatcherBuilder {
    access: Access,
    watch: Watch,
    callbacks: Callbacks,
    stopper: Stopper,
}

impl SingleWatcher {
    /// Prepares a watch: [`Watch::object`].
    pub fn builder(access: &Access, watch: Watch) -> SingleWatcherBuilder {
        SingleWatcherBuilder {
            access: access.clone(),
            watch,
            callbacks: Callbacks::default(),
            stopper: Stopper::new(),
        }
    }

    /// The object as it is now; none while it does not exist, or is not known yet.
    #[must_use]
    pub fn object(&self) -> Option<Item> {
        let world = self.session.published().world();
        let mut objects = world.stores.first()?.snapshot().list();
        objects.next().map(Item::new)
    }

    /// Waits until it is known whether the object exists; answers with it. Does not
    /// wait for the callback.
    ///
    /// # Errors
    /// [`Stopped`] when it is stopped before.
    pub async fn wait_for_sync(&self) -> Result<Option<Item>, Stopped> {
        self.session.wait_for_sync(0).await?;
        Ok(self.object())
    }

    /// Whether it has been known once whether the object exists.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.session.is_synced(0)
    }

    /// Calls back at once with an event that waits for another attempt; does nothing
    /// when there is none.
    pub fn force_sync(&self) {
        self.session.force_sync();
    }

    /// How the watch is (contract W9).
    #[must_use]
    pub fn state(&self) -> WatchState {
        self.session.status(0).freshness.state
    }

    /// The states that the watch goes through: see [`Watcher::states`](super::Watcher::states).
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

impl SingleWatcherBuilder {
    /// Called with the object, or its absence, when that is known, and then with each
    /// newest state of it, without debouncing (contract R1). Of several states that
    /// come while the callback runs, or waits for another attempt after an error, it
    /// is told the newest (contract R3).
    pub fn on_event<F, R>(mut self, mut callback: F) -> Self
    where
        F: FnMut(ObjectEvent) -> R + Send + 'static,
        R: Future<Output: Answer> + Send + 'static,
    {
        self.callbacks.on_object(move |_, event| callback(event));
        self
    }

    /// What stops the watcher from inside its callback.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Starts the watch.
    ///
    /// # Errors
    /// Everything that is wrong with the [`Watch`], at once; nothing was sent then.
    pub fn start(self) -> Result<SingleWatcher, StartError> {
        let spec = self.watch.into_spec();
        let plans = session::plan(&self.access, std::slice::from_ref(&spec), misplaced(&spec))?;
        // Its object is in memory: there is nothing to be cached.
        let session = Session::start(&self.access, &plans, self.callbacks, self.stopper, 0)?;
        Ok(SingleWatcher { session })
    }
}

/// What a watch of one object cannot have.
fn misplaced(spec: &WatchSpec) -> Vec<SpecError> {
    let mut errors = Vec::new();
    let mut refuse = |wrong: bool, field: &str, message: &str| {
        if wrong {
            errors.push(mistake(spec, field, message));
        }
    };
    refuse(
        spec.object_name.is_none(),
        "object-name",
        "is missing: name the object with Watch::object, or start a Watcher",
    );
    let indexed = !spec.index_by.is_empty() || !spec.indexes.is_empty();
    refuse(indexed, "index-by", "one object needs no index");
    refuse(
        spec.debounce.is_some(),
        "debounce-ms",
        "a watch of one object is not debounced",
    );
    errors
}
