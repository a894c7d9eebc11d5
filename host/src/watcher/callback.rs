//! What callbacks are given and what they may answer.

use std::{
    error::Error,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use haptic_core::{
    changes::Stats,
    engine::{Call, Callback, ResourceEvent},
};

use crate::store::{Item, Origin, Snapshot, View};

/// Any error of a callback.
pub type CallbackError = Box<dyn Error + Send + Sync>;

/// What a callback may answer: nothing, or a `Result` with an error of its own.
///
/// An error is logged, and what the callback was told comes again with backoff,
/// merged with what is newer (contract C4). So does it when a callback panics.
pub trait Answer {
    /// The same as a `Result`.
    ///
    /// # Errors
    /// The callback's.
    fn into_result(self) -> Result<(), CallbackError>;
}

impl Answer for () {
    fn into_result(self) -> Result<(), CallbackError> {
        Ok(())
    }
}

impl<E: Into<CallbackError>> Answer for Result<(), E> {
    fn into_result(self) -> Result<(), CallbackError> {
        self.map_err(Into::into)
    }
}

/// How many objects changed since the last successful callback, net (contract C3): a
/// recreated object is one deleted and one created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangeStats {
    /// New objects.
    pub created: usize,
    /// Changed objects.
    pub modified: usize,
    /// Objects that are gone.
    pub deleted: usize,
    /// Whether the store does not hold everything yet: only with
    /// [`Watch::call_on_change_during_sync`](crate::Watch::call_on_change_during_sync).
    pub is_initial_sync: bool,
}

impl ChangeStats {
    fn new(stats: Stats, is_initial_sync: bool) -> Self {
        Self {
            created: stats.created,
            modified: stats.modified,
            deleted: stats.deleted,
            is_initial_sync,
        }
    }
}

/// What happened to the object of a watch of one object (contract R2).
#[derive(Clone, Debug)]
pub enum ObjectEvent {
    /// It exists, and this is it.
    Applied(Item),
    /// It was deleted; this was it.
    Deleted(Item),
    /// There was none when the watch synced.
    Absent,
}

impl From<ResourceEvent> for ObjectEvent {
    fn from(event: ResourceEvent) -> Self {
        match event {
            ResourceEvent::Applied(object) => Self::Applied(Item::new(&object)),
            ResourceEvent::Deleted(object) => Self::Deleted(Item::new(&object)),
            ResourceEvent::Absent => Self::Absent,
        }
    }
}

/// A callback under way.
pub(super) type Answering = Pin<Box<dyn Future<Output = Result<(), CallbackError>> + Send>>;

/// A closure that was given as callback: with what it sees, and what happened.
type Closure<A> = Box<dyn FnMut(Seen, A) -> Answering + Send>;

/// The callbacks of one watcher; what has no callback succeeds.
#[derive(Default)]
pub(super) struct Callbacks {
    sync: Option<Closure<(Snapshot, usize)>>,
    change: Option<Closure<(Snapshot, ChangeStats)>>,
    object: Option<Closure<ObjectEvent>>,
}

/// What every callback sees: all stores, and which watch it is about.
pub(super) struct Seen {
    pub(super) view: View,
    pub(super) watch: Arc<str>,
}

/// Callbacks that a session and the task of a running callback share.
pub(super) type Shared = Arc<Mutex<Callbacks>>;

impl Callbacks {
    pub(super) fn on_sync<F, R>(&mut self, callback: F)
    where
        F: FnMut(Seen, (Snapshot, usize)) -> R + Send + 'static,
        R: Future<Output: Answer> + Send + 'static,
    {
        self.sync = Some(closure(callback));
    }

    pub(super) fn on_change<F, R>(&mut self, callback: F)
    where
        F: FnMut(Seen, (Snapshot, ChangeStats)) -> R + Send + 'static,
        R: Future<Output: Answer> + Send + 'static,
    {
        self.change = Some(closure(callback));
    }

    pub(super) fn on_object<F, R>(&mut self, callback: F)
    where
        F: FnMut(Seen, ObjectEvent) -> R + Send + 'static,
        R: Future<Output: Answer> + Send + 'static,
    {
        self.object = Some(closure(callback));
    }

    fn begin(
        &mut self,
        seen: Seen,
        store: Option<Snapshot>,
        callback: Callback,
    ) -> Option<Answering> {
        Some(match callback {
            Callback::SyncComplete { initial_count, .. } => {
                self.sync.as_mut()?(seen, (store?, initial_count))
            }
            Callback::Change {
                stats,
                is_initial_sync,
                ..
            } => {
                let stats = ChangeStats::new(stats, is_initial_sync);
                self.change.as_mut()?(seen, (store?, stats))
            }
            Callback::Resource { event, .. } => self.object.as_mut()?(seen, event.into()),
        })
    }
}

fn closure<A, F, R>(mut callback: F) -> Closure<A>
where
    F: FnMut(Seen, A) -> R + Send + 'static,
    R: Future<Output: Answer> + Send + 'static,
{
    Box::new(move |seen, happened| {
        let answering = callback(seen, happened);
        Box::pin(async move { answering.await.into_result() })
    })
}

/// Runs the callback that a call asks for.
pub(super) async fn run(
    callbacks: Shared,
    call: Call,
    watch: Arc<str>,
    origin: Origin,
) -> Result<(), CallbackError> {
    let store = call.view.store(call.callback.watch());
    let store = store.map(|store| Snapshot::new(store.clone(), origin.clone()));
    let seen = Seen {
        view: View::new(call.view, origin),
        watch,
    };
    // Only the making of a future is under the lock; one that panicked has left
    // nothing of ours behind.
    let answering = callbacks
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .begin(seen, store, call.callback);
    match answering {
        Some(answering) => answering.await,
        None => Ok(()),
    }
}
