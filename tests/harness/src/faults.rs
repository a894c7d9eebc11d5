//! What goes wrong because the test asks for it.

use crate::Harness;

/// What is to happen to a callback.
pub(crate) enum Fault {
    /// It traps at its end.
    Trap,
    /// Its outputs are not committed, for this reason.
    Commit(String),
}

impl Harness {
    /// From now on, objects of the resource that this watch is about cannot be fetched: reads
    /// of a cached store that need one fail with `unavailable` and a text that ends with
    /// `why`. What was fetched before is served until the watch's TTL is over.
    ///
    /// # Panics
    /// When the plugin has no such watch.
    #[track_caller]
    pub fn unavailable(&mut self, watch: &str, why: &str) -> &mut Self {
        let resource = self.resource(watch);
        let why = why.to_owned();
        self.server.cluster.lock().refused.insert(resource, why);
        self
    }

    /// Takes back what [`unavailable`](Harness::unavailable) did.
    ///
    /// # Panics
    /// When the plugin has no such watch.
    #[track_caller]
    pub fn available(&mut self, watch: &str) -> &mut Self {
        let resource = self.resource(watch);
        self.server.cluster.lock().refused.remove(&resource);
        self
    }

    /// How often an object was fetched for a cached store of this watch's resource.
    ///
    /// # Panics
    /// When the plugin has no such watch.
    #[track_caller]
    #[must_use]
    pub fn fetches(&self, watch: &str) -> u64 {
        let resource = self.resource(watch);
        let state = self.server.cluster.lock();
        state.fetches.get(&resource).copied().unwrap_or(0)
    }

    /// The next callback, or the one after those that were asked for before, traps: it runs, and
    /// at its end the instance dies, as by a panic. Its outputs are dropped, and a new instance
    /// is told everything.
    pub fn trap_next(&mut self) -> &mut Self {
        self.faults.push_back(Fault::Trap);
        self
    }

    /// The next callback, or the one after those that were asked for before, returns ok, and
    /// then its outputs cannot be committed: a disk is full, say. For the host that is a failed
    /// callback, of which the plugin knows nothing but that its changes come again.
    pub fn fail_commit(&mut self, why: &str) -> &mut Self {
        self.faults.push_back(Fault::Commit(why.to_owned()));
        self
    }

    /// Nothing that was asked for and has not happened will.
    pub(crate) fn forget_faults(&mut self) {
        self.faults.clear();
    }

    /// API version and plural.
    #[track_caller]
    fn resource(&self, watch: &str) -> (String, String) {
        let Some(plan) = self.watches.iter().find(|plan| plan.name == watch) else {
            let names: Vec<_> = self.watches.iter().map(|plan| &plan.name).collect();
            panic!("there is no watch `{watch}`, there are {names:?}");
        };
        (plan.resource.api_version(), plan.resource.resource.clone())
    }
}
