//! One plugin instance: what the exported functions and the native runner both do.

use std::rc::Rc;

use crate::session::{About, Session};
use crate::{ChangeStats, Config, Error, Plugin, ResourceEvent, Store, Watch, bridge};

/// An instance of `P`, made at its first callback.
#[derive(Debug)]
pub struct Instance<P> {
    plugin: Option<P>,
    /// Made with the plugin: it is about what the plugin was told.
    session: Option<Rc<Session>>,
}

impl<P: Plugin> Instance<P> {
    /// No plugin yet; it is made by the first callback.
    pub const fn new() -> Self {
        Instance {
            plugin: None,
            session: None,
        }
    }

    /// What the plugin wants to watch with these settings.
    ///
    /// # Errors
    /// The text with which the plugin refuses them.
    pub fn describe(config: &Config) -> Result<Vec<Watch>, String> {
        bridge::install();
        P::describe(config).map_err(Error::into_message)
    }

    /// Delivers the sync of a store.
    ///
    /// # Errors
    /// The text of the callback's error, or of [`Plugin::new`]'s.
    pub fn on_sync_complete(&mut self, store: &Store<'_>, count: u32) -> Result<(), String> {
        self.call(&About::Sync(store.name()), store.revision(), |plugin| {
            plugin.on_sync_complete(store, count)
        })
    }

    /// Delivers the changes of a store.
    ///
    /// # Errors
    /// As for [`Instance::on_sync_complete`].
    pub fn on_change(&mut self, store: &Store<'_>, stats: ChangeStats) -> Result<(), String> {
        let about = match stats.is_initial_sync {
            true => About::Partial,
            false => About::Change(store.name()),
        };
        self.call(&about, store.revision(), |plugin| {
            plugin.on_change(store, stats)
        })
    }

    /// Delivers an event of a watch of one object.
    ///
    /// # Errors
    /// As for [`Instance::on_sync_complete`].
    pub fn on_resource_change(&mut self, watch: &str, event: ResourceEvent) -> Result<(), String> {
        self.call(&About::Resource, 0, |plugin| {
            plugin.on_resource_change(watch, event)
        })
    }

    fn call(
        &mut self,
        about: &About<'_>,
        revision: u64,
        callback: impl FnOnce(&mut P) -> Result<(), Error>,
    ) -> Result<(), String> {
        let plugin = match &mut self.plugin {
            Some(plugin) => plugin,
            none => none.insert(P::new(&Config::get()).map_err(Error::into_message)?),
        };
        let session = self.session.get_or_insert_default();
        session
            .run(about, revision, || callback(plugin))
            .map_err(Error::into_message)
    }
}

impl<P: Plugin> Default for Instance<P> {
    fn default() -> Self {
        Instance::new()
    }
}
