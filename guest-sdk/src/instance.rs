//! One plugin instance: what the exported functions and the native runner both do.

use crate::{ChangeStats, Config, Error, Plugin, ResourceEvent, Store, Watch};

/// An instance of `P`, made at its first callback.
#[derive(Debug)]
pub struct Instance<P> {
    plugin: Option<P>,
}

impl<P: Plugin> Instance<P> {
    /// No plugin yet; it is made by the first callback.
    pub const fn new() -> Self {
        Instance { plugin: None }
    }

    /// What the plugin wants to watch with these settings.
    ///
    /// # Errors
    /// The text with which the plugin refuses them.
    pub fn describe(config: &Config) -> Result<Vec<Watch>, String> {
        P::describe(config).map_err(Error::into_message)
    }

    /// Delivers the sync of a store.
    ///
    /// # Errors
    /// The text of the callback's error, or of [`Plugin::new`]'s.
    pub fn on_sync_complete(&mut self, store: &Store<'_>, count: u32) -> Result<(), String> {
        self.call(|plugin| plugin.on_sync_complete(store, count))
    }

    /// Delivers the changes of a store.
    ///
    /// # Errors
    /// As for [`Instance::on_sync_complete`].
    pub fn on_change(&mut self, store: &Store<'_>, stats: ChangeStats) -> Result<(), String> {
        self.call(|plugin| plugin.on_change(store, stats))
    }

    /// Delivers an event of a watch of one object.
    ///
    /// # Errors
    /// As for [`Instance::on_sync_complete`].
    pub fn on_resource_change(&mut self, watch: &str, event: ResourceEvent) -> Result<(), String> {
        self.call(|plugin| plugin.on_resource_change(watch, event))
    }

    fn call(&mut self, callback: impl FnOnce(&mut P) -> Result<(), Error>) -> Result<(), String> {
        let plugin = match &mut self.plugin {
            Some(plugin) => plugin,
            none => none.insert(P::new(&Config::get()).map_err(Error::into_message)?),
        };
        callback(plugin).map_err(Error::into_message)
    }
}

impl<P: Plugin> Default for Instance<P> {
    fn default() -> Self {
        Instance::new()
    }
}
