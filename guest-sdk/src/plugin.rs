//! The trait that a plugin implements, and what its callbacks are given.

use serde::de::DeserializeOwned;

use crate::{Config, Error, Store, StoreError, Watch, all_synced, json};

/// A plugin. Implement [`describe`](Plugin::describe), [`new`](Plugin::new) and, for a plugin that
/// renders everything anew each time, [`render`](Plugin::render): it is called when all stores are
/// synced and after every change. Plugins that follow what changed implement
/// [`on_sync_complete`](Plugin::on_sync_complete) and [`on_change`](Plugin::on_change) themselves.
///
/// **State** lives in `self`. Callbacks of one plugin never overlap. After a panic, a timeout or a
/// broken limit the host makes a new instance and delivers `on_sync_complete` again for each
/// synced store, so everything in `self` must be rebuilt from there. A callback that returns an
/// error keeps its instance, its changes come again, merged with newer ones; so a change that was
/// already taken into `self` may be seen twice.
///
/// **Reads** see one snapshot of all stores, taken when the callback began, however long it runs.
///
/// **Outputs** ([`output`](crate::output)) are committed when the callback returns `Ok`, and
/// dropped otherwise.
pub trait Plugin: Sized + 'static {
    /// What the plugin wants to watch. Called before anything else, also by tools that only want
    /// to know (`haptic-host inspect`), so it does nothing but look at the settings. There are no
    /// stores to read yet.
    ///
    /// # Errors
    /// Refuses the settings: the plugin is not started and the operator sees the text.
    fn describe(config: &Config) -> Result<Vec<Watch>, Error>;

    /// Makes the instance, just before its first callback.
    ///
    /// # Errors
    /// Fails that callback. It is delivered again with backoff, and `new` is tried again.
    fn new(config: &Config) -> Result<Self, Error>;

    /// Writes all outputs from what the stores hold now. The default callbacks call it once all
    /// required stores are synced, and then after every change. The default does nothing.
    ///
    /// # Errors
    /// Drops the outputs; the callback comes again, with backoff.
    fn render(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// Called once for each watched collection, when its store holds every object that existed
    /// (`initial_count` of them), before the first [`on_change`](Plugin::on_change) of that store.
    /// Other stores may not be synced yet. The default renders when all are.
    ///
    /// # Errors
    /// Drops the outputs; the callback comes again, with backoff.
    fn on_sync_complete(&mut self, store: &Store<'_>, initial_count: u32) -> Result<(), Error> {
        let _ = (store, initial_count);
        render_if_synced(self)
    }

    /// Called when objects of a store changed, at most once per debounce interval.
    /// [`Store::changes`] tells which. The default renders when all stores are synced.
    ///
    /// # Errors
    /// Drops the outputs and keeps the changes; the callback comes again, with backoff.
    fn on_change(&mut self, store: &Store<'_>, stats: ChangeStats) -> Result<(), Error> {
        let _ = (store, stats);
        render_if_synced(self)
    }

    /// Called for a watch of one object: at sync with the object or its absence, and then at every
    /// change. The default refuses, because a plugin that asks for such a watch has a use for it.
    ///
    /// # Errors
    /// Drops the outputs; the event, or a newer one, comes again, with backoff.
    fn on_resource_change(&mut self, watch: &str, event: ResourceEvent) -> Result<(), Error> {
        let _ = event;
        Err(Error::new(format!(
            "the plugin watches one object as `{watch}` but does not implement on_resource_change"
        )))
    }
}

fn render_if_synced<P: Plugin>(plugin: &mut P) -> Result<(), Error> {
    if all_synced() {
        plugin.render()
    } else {
        Ok(())
    }
}

/// How many objects changed since the last successful callback of the store. The numbers are net:
/// an object that was created and then modified counts as created, one that was created and then
/// deleted counts nowhere. All are zero where a callback of another store could read a change that
/// was undone before it was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChangeStats {
    /// Objects that are new.
    pub created: u32,
    /// Objects that are different.
    pub modified: u32,
    /// Objects that are gone.
    pub deleted: u32,
    /// The store is not synced yet; only with
    /// [`Watch::on_change_during_sync`](crate::Watch::on_change_during_sync).
    pub is_initial_sync: bool,
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// It is new.
    Created,
    /// It is different.
    Modified,
    /// It is gone.
    Deleted,
}

/// One object that changed. Read its new state with [`Store::get_object`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Change {
    /// What happened to it.
    pub kind: ChangeKind,
    /// Its namespace; empty for a kind without namespaces.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What happened to the one object of an object watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResourceEvent {
    /// It exists and is this (JSON text).
    Applied(String),
    /// It was deleted; this was its last state (JSON text).
    Deleted(String),
    /// There was no such object when the watch synced.
    Absent,
}

impl ResourceEvent {
    /// The object as it is now; `None` when there is none.
    ///
    /// # Errors
    /// [`StoreError::Decode`] when it does not fit `T`.
    pub fn current<T: DeserializeOwned>(&self) -> Result<Option<T>, StoreError> {
        match self {
            ResourceEvent::Applied(object) => {
                json::parse(object)
                    .map(Some)
                    .map_err(|message| StoreError::Decode {
                        place: json::identity(object),
                        message,
                    })
            }
            ResourceEvent::Deleted(_) | ResourceEvent::Absent => Ok(None),
        }
    }
}
