//! From lines of a recording to what the engine is told: which watch of it fills which stores,
//! and how objects are decoded for each.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use haptic_core::{
    Identity, Time,
    decode::{Decoder, Projection},
    engine::{Engine, StoreId},
    spec::{ScopeSpec, Storage, WatchPlan},
    watch::{ResourceRef, WatchOutput, WatchState},
};

use crate::{
    cached::{Answer, Bodies, Get},
    plugin::VirtualClock,
    record::{Header, News, RecordedWatch},
    watches::{log_state, log_unreadable},
};

/// What the watches of a recording tell, and to whom.
pub(super) struct Feed {
    watches: Vec<Fed>,
    cluster: Cluster,
    bodies: Bodies,
}

/// A watch of the recording.
struct Fed {
    recorded: RecordedWatch,
    readers: Vec<Reader>,
}

/// A store that it fills.
struct Reader {
    store: StoreId,
    source: usize,
    plan: Arc<WatchPlan>,
    decoder: Decoder,
}

/// Whether the recording holds everything that a watch is about.
pub(crate) fn covers(header: &Header, plan: &WatchPlan) -> bool {
    missing(header, plan).is_empty()
}

/// What it does not hold of that.
pub(crate) fn missing(header: &Header, plan: &WatchPlan) -> Vec<RecordedWatch> {
    let own = header.own_namespace.as_deref();
    let wanted: Vec<Option<&str>> = match &plan.scope {
        ScopeSpec::AllNamespaces => vec![None],
        ScopeSpec::OwnNamespace => vec![Some(own.unwrap_or_default())],
        ScopeSpec::Namespaces(list) => list.iter().map(|name| Some(&**name)).collect(),
    };
    wanted
        .into_iter()
        .map(|namespace| RecordedWatch::of(&plan.name, plan, namespace))
        .filter(|wanted| {
            let mut held = header.watches.iter();
            !held.any(|held| held.is_of_the_same(wanted))
        })
        .collect()
}

impl Feed {
    /// For the stores of `engine`, all of which the recording [covers].
    pub(super) fn new(
        engine: &Engine,
        header: &Header,
        clock: &VirtualClock,
        cache_bytes: usize,
    ) -> Self {
        let mut watches: Vec<Fed> = header
            .watches
            .iter()
            .map(|recorded| Fed {
                recorded: recorded.clone(),
                readers: Vec::new(),
            })
            .collect();
        for (store, plan, sources) in engine.stores() {
            for (number, source) in sources.iter().enumerate() {
                let wanted = RecordedWatch::of("", plan, source.namespace.as_deref());
                let held = watches
                    .iter_mut()
                    .find(|fed| fed.recorded.is_of_the_same(&wanted));
                if let Some(fed) = held {
                    fed.readers.push(Reader {
                        store,
                        source: number,
                        plan: Arc::clone(plan),
                        decoder: Decoder::new(Arc::new(Projection::new(plan.projection()))),
                    });
                }
            }
        }
        let cluster = Cluster::default();
        let bodies = cluster.bodies(clock, cache_bytes);
        Self {
            watches,
            cluster,
            bodies,
        }
    }

    /// Bodies of cached stores, out of the recording.
    pub(super) fn bodies(&self) -> Bodies {
        self.bodies.clone()
    }

    /// What is recorded and tells nobody anything.
    pub(super) fn unused(&self) -> impl Iterator<Item = &RecordedWatch> {
        let unused = self.watches.iter().filter(|fed| fed.readers.is_empty());
        unused.map(|fed| &fed.recorded)
    }

    /// Tells the stores how a watch is.
    pub(super) fn state(&self, engine: &mut Engine, now: Time, watch: usize, state: &WatchState) {
        let Some(fed) = self.watches.get(watch) else {
            return;
        };
        let first = fed.readers.first();
        let status = first.and_then(|reader| engine.status(reader.store));
        if let Some(status) = status {
            log_state(&fed.recorded.name, status.objects, now, state);
        }
        for reader in &fed.readers {
            engine.state(now, reader.store, reader.source, state.clone());
        }
    }

    /// Tells the stores what a watch told.
    pub(super) fn tell(&mut self, engine: &mut Engine, now: Time, watch: usize, news: &News<'_>) {
        let Some(fed) = self.watches.get_mut(watch) else {
            return;
        };
        let resource = fed.recorded.resource();
        for reader in &mut fed.readers {
            let output = reader.output(news);
            if let WatchOutput::Quarantined { identity, error } = &output {
                let known = engine.quarantine(reader.store);
                let is_news = known.is_some_and(|known| known.is_news(identity.as_ref(), error));
                log_unreadable(&fed.recorded.name, identity.as_ref(), error, is_news);
            }
            if reader.plan.storage == Storage::Cached {
                self.cluster.take_in(&resource, news, &output);
            }
            self.bodies.seen(&reader.plan, &output);
            engine.watch(now, reader.store, reader.source, output);
        }
    }
}

impl Reader {
    fn output(&mut self, news: &News<'_>) -> WatchOutput {
        match news {
            News::Resolved {
                kind,
                api_version,
                namespaced,
            } => WatchOutput::Resolved {
                kind: kind.clone(),
                api_version: api_version.clone(),
                namespaced: *namespaced,
            },
            News::PageEnd => WatchOutput::PageEnd,
            News::ListBegin => WatchOutput::ListBegin,
            News::Listed(json) => self.object(json, WatchOutput::Listed),
            News::Applied(json) => self.object(json, WatchOutput::Applied),
            News::ListEnd { resource_version } => WatchOutput::ListEnd {
                resource_version: resource_version.clone(),
            },
            News::Deleted(identity) => WatchOutput::Deleted {
                identity: identity.clone(),
                object: None,
            },
            News::Unreadable { identity, error } => WatchOutput::Quarantined {
                identity: identity.clone(),
                error: error.clone(),
            },
            News::Gone => WatchOutput::Gone,
        }
    }

    /// As the watch machine decodes what an API server sends.
    fn object(
        &mut self,
        json: &str,
        output: impl FnOnce(haptic_core::Object) -> WatchOutput,
    ) -> WatchOutput {
        match self.decoder.decode(json.as_bytes()) {
            Ok(decoded) if decoded.matches => output(decoded.object),
            Ok(decoded) => WatchOutput::Deleted {
                identity: decoded.object.identity().clone(),
                object: None,
            },
            Err(error) => WatchOutput::Quarantined {
                error: error.kind.to_string(),
                identity: error.identity,
            },
        }
    }
}

/// The objects of cached stores as they are at this moment of the recording.
#[derive(Clone, Default)]
struct Cluster(Arc<Mutex<HashMap<(ResourceRef, Identity), Bytes>>>);

impl Cluster {
    fn take_in(&self, resource: &ResourceRef, news: &News<'_>, output: &WatchOutput) {
        let mut objects = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = |identity: &Identity| (resource.clone(), identity.clone());
        if let WatchOutput::Deleted { identity, .. } = output {
            objects.remove(&key(identity));
        } else if let News::Listed(json) | News::Applied(json) = news
            && let WatchOutput::Listed(object) | WatchOutput::Applied(object) = output
        {
            objects.insert(key(object.identity()), Bytes::from((*json).to_owned()));
        }
    }

    /// What the host's own cache of bodies asks.
    fn bodies(&self, clock: &VirtualClock, bytes: usize) -> Bodies {
        let (cluster, clock) = (self.clone(), clock.clone());
        Bodies::new(
            Arc::new(move |get| {
                let answer = cluster.answer(&get);
                Box::pin(async move { Ok(answer) })
            }),
            move || Time::from_origin(clock.elapsed()),
            bytes,
        )
    }

    fn answer(&self, get: &Get) -> Answer {
        let objects = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (get.resource.clone(), get.identity.clone());
        let (status, body) = match objects.get(&key) {
            Some(body) => (200, body.clone()),
            None => {
                let name = get.identity.name();
                let status = serde_json::json!({
                    "kind": "Status", "reason": "NotFound", "code": 404,
                    "message": "not found", "details": {"name": name},
                });
                (404, Bytes::from(status.to_string()))
            }
        };
        Answer {
            status,
            retry_after: None,
            body,
        }
    }
}
