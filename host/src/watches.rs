//! The tasks of all watches, one for each stream that the API server sends
//! (contract W10), and what they report: into the engine, and into the log, a line
//! for each change of a state. Decides nothing.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use haptic_core::{
    Identity, Time,
    engine::{Engine, Source, StoreId},
    spec::{Storage, WatchPlan},
    view::Freshness,
    watch::{Machine, WatchConfig, WatchOutput, WatchState},
};
use tokio::{
    sync::mpsc,
    task::{AbortHandle, JoinSet},
};
use tracing::{debug, info, warn};

use crate::{
    access::Access,
    cached::Bodies,
    chain::printable,
    driver::{Clock, Driver, Patience, Report, Traffic},
    observe::{ScopeStatus, Unreadable, WatchStatus, sentence},
    record::{RecordedWatch, Recorder, Written},
};

/// Something that a stream reported.
#[derive(Debug)]
pub(crate) struct News {
    stream: usize,
    report: Report,
}

/// The running streams. Dropping it ends them.
pub(crate) struct Watches {
    access: Access,
    clock: Clock,
    bodies: Bodies,
    tasks: JoinSet<()>,
    /// By their numbers, which are not used again.
    streams: BTreeMap<usize, Stream>,
    started: usize,
    /// What each store is called.
    names: HashMap<StoreId, String>,
    /// What writes down what comes.
    recorder: Option<Recorder>,
}

/// One stream, and whom it serves.
struct Stream {
    /// What the log calls it: the name of its first watch.
    name: String,
    /// Those of its machine, in their order; at least one. Of some the store may be gone.
    readers: Vec<Reader>,
    traffic: Arc<Traffic>,
    patience: Arc<Patience>,
    task: AbortHandle,
}

/// A store that a stream feeds, and which source of it the stream is.
struct Reader {
    store: StoreId,
    source: usize,
    plan: Arc<WatchPlan>,
}

impl Watches {
    /// No streams so far. `bodies` are those of the cached stores.
    pub(crate) fn new(access: &Access, clock: Clock, bodies: &Bodies) -> Self {
        Self {
            access: access.clone(),
            clock,
            bodies: bodies.clone(),
            tasks: JoinSet::new(),
            streams: BTreeMap::new(),
            started: 0,
            names: HashMap::new(),
            recorder: None,
        }
    }

    /// Records what the streams report that [`Watches::follow`] starts the first time; no
    /// others are to come later.
    pub(crate) fn record(&mut self, recorder: Recorder) {
        self.recorder = Some(recorder);
    }

    /// Takes note of a callback that ended, with what went wrong.
    pub(crate) fn record_callback(
        &mut self,
        now: Time,
        plugin: &str,
        watch: &str,
        callback: &str,
        error: Option<&str>,
    ) {
        if let Some(recorder) = &mut self.recorder {
            recorder.callback(now, plugin, watch, callback, error);
        }
    }

    /// Whether there is no recording, or no more.
    pub(crate) fn has_stopped_recording(&self) -> bool {
        self.recorder.as_ref().is_none_or(Recorder::has_ended)
    }

    /// Ends the recording, if there is one.
    pub(crate) fn end_recording(&mut self, now: Time) -> Option<Written> {
        Some(self.recorder.take()?.end(now))
    }

    /// Starts the streams that the engine's stores lack, and ends those that no store
    /// needs any more. Others go on as they are: one that runs takes no new readers, so a
    /// store that comes later has a stream of its own. Their reports come as `events`;
    /// while nobody takes them, nothing more is read from the network.
    pub(crate) fn follow<E: From<News> + Send + 'static>(
        &mut self,
        engine: &Engine,
        events: &mpsc::Sender<E>,
    ) {
        self.streams.retain(|_, stream| {
            let needed = stream.first(engine).is_some();
            if !needed {
                debug!(watch = stream.name, "ended: no plugin needs it any more");
                stream.task.abort();
            }
            needed
        });
        // What has ended is to be forgotten.
        while self.tasks.try_join_next().is_some() {}
        let fed: HashSet<(StoreId, usize)> = self
            .streams
            .values()
            .flat_map(|stream| &stream.readers)
            .map(|reader| (reader.store, reader.source))
            .collect();
        self.names = names(engine);
        let planned = streams_of(engine, &self.names, &fed);
        if let Some(recorder) = &mut self.recorder {
            recorder.begin(
                self.clock.now(),
                planned.iter().map(Planned::recorded).collect(),
            );
        }
        for planned in planned {
            self.start(planned, events);
        }
        for stream in self.streams.values_mut() {
            let stores = stream.readers.iter().map(|reader| reader.store);
            let patience = stores.map(|store| engine.patience(store)).min();
            stream.patience.set(patience.unwrap_or_default());
            if let Some(name) = stream
                .first(engine)
                .and_then(|r| r.name(engine, &self.names))
            {
                stream.name = name;
            }
        }
    }

    fn start<E: From<News> + Send + 'static>(
        &mut self,
        planned: Planned,
        events: &mpsc::Sender<E>,
    ) {
        let Planned {
            mut config,
            name,
            readers,
        } = planned;
        let stream = self.started;
        self.started += 1;
        if let Some(recorder) = &mut self.recorder {
            let plans: Vec<_> = readers.iter().map(|reader| &reader.plan).collect();
            config.readers.push(recorder.listen(stream, &name, &plans));
            // A replay has nobody to fetch the rest from.
            config.metadata_only = false;
        }
        let streamable = self.access.manners.streamable(&config.resource);
        let patience = Arc::new(Patience::default());
        let driver = Driver::new(
            &name,
            self.access.clone(),
            Machine::new(config),
            Arc::clone(&patience),
            Arc::clone(&self.access.manners.lists),
            streamable,
            self.clock,
        );
        let traffic = driver.traffic();
        let events = events.clone();
        let task = self.tasks.spawn(driver.run(move |report| {
            let events = events.clone();
            async move { events.send(News { stream, report }.into()).await.is_ok() }
        }));
        let described = Stream {
            name,
            readers,
            traffic,
            patience,
            task,
        };
        self.streams.insert(stream, described);
    }

    /// Ends them, and waits until they have.
    pub(crate) async fn shutdown(mut self) {
        self.tasks.shutdown().await;
    }

    /// Takes in what a stream reported.
    pub(crate) fn take_in(&mut self, engine: &mut Engine, now: Time, news: News) {
        let Some(stream) = self.streams.get(&news.stream) else {
            return;
        };
        match news.report {
            Report::Outputs(outputs) => {
                for (reader, output) in outputs {
                    if let Some(recorder) = &mut self.recorder {
                        recorder.output(now, news.stream, reader, &output);
                    }
                    if let Some(reader) = stream.readers.get(reader) {
                        if let WatchOutput::Quarantined { identity, error } = &output {
                            stream.log_quarantine(engine, reader, identity.as_ref(), error);
                        }
                        self.bodies.seen(&reader.plan, &output);
                        engine.watch(now, reader.store, reader.source, output);
                    }
                }
                if let Some(recorder) = &mut self.recorder {
                    recorder.flush();
                }
            }
            Report::State(state) => {
                if let Some(recorder) = &mut self.recorder {
                    recorder.state(now, news.stream, &state);
                }
                stream.log(engine, now, &state);
                for reader in &stream.readers {
                    engine.state(now, reader.store, reader.source, state.clone());
                }
            }
        }
    }

    /// How each watch is. Costs what there are watches, not what there are objects.
    pub(crate) fn status(&self, engine: &Engine, now: Time) -> Vec<WatchStatus> {
        let mut streams = HashMap::new();
        // Traffic is told once, with the first store that it is for.
        for stream in self.streams.values() {
            if let Some(reader) = stream.first(engine) {
                streams.insert((reader.store, reader.source), stream.traffic.status());
            }
        }
        engine
            .stores()
            .filter_map(|(store, plan, sources)| {
                let status = engine.status(store)?;
                let snapshot = engine.snapshot(store)?;
                let scope = |(i, source): (usize, &Source)| {
                    let Freshness { state, since } = &source.freshness;
                    ScopeStatus {
                        namespace: source.namespace.clone().unwrap_or_default(),
                        state: state.as_str(),
                        detail: sentence(state, now),
                        since_seconds: (now - *since).as_secs_f64(),
                        objects: snapshot.len_in(source.namespace.as_deref()),
                        traffic: streams.remove(&(store, i)),
                    }
                };
                let Freshness { state, since } = &status.freshness;
                let mut plugins: Vec<String> = Vec::new();
                for plugin in engine.readers(store) {
                    if !plugins.iter().any(|known| known == plugin) {
                        plugins.push(plugin.to_owned());
                    }
                }
                Some(WatchStatus {
                    name: self.names.get(&store).unwrap_or(&plan.name).clone(),
                    plugins,
                    resource: plan.resource.to_string(),
                    object: plan.object_name.clone().unwrap_or_default(),
                    label_selector: plan.label_selector.clone().unwrap_or_default(),
                    field_selector: plan.server_fields.clone().unwrap_or_default(),
                    shard: plan.shard.map_or_else(String::new, |s| s.to_string()),
                    storage: match plan.storage {
                        Storage::Memory => "memory",
                        Storage::Cached => "cached",
                    },
                    state: state.as_str(),
                    detail: sentence(state, now),
                    since_seconds: (now - *since).as_secs_f64(),
                    objects: status.objects,
                    stored_bytes: status.body_bytes,
                    quarantined: status.quarantined,
                    unreadable: engine
                        .quarantine(store)
                        .map_or_else(Vec::new, |quarantine| {
                            let listed = quarantine.iter();
                            listed
                                .map(|(object, error)| Unreadable::new(object, error))
                                .collect()
                        }),
                    unkeyed: status.unkeyed,
                    required: engine.is_required(store),
                    scopes: sources.iter().enumerate().map(scope).collect(),
                })
            })
            .collect()
    }

    /// The streams that have not delivered everything, each with its state.
    pub(crate) fn not_synced(&self, engine: &Engine) -> Vec<String> {
        let mut watches: Vec<String> = self
            .streams
            .values()
            .filter_map(|stream| {
                let state = &stream.source(engine)?.freshness.state;
                (*state != WatchState::Synced).then(|| format!("{}: {state}", stream.name))
            })
            .collect();
        watches.sort();
        watches
    }
}

/// What the stores are called in the log, in metrics and on the page: as their first
/// plugin calls its watch; with the plugin before it where an earlier one has the name, and
/// numbered where that is taken too, as while a new version of the plugin is tried.
fn names(engine: &Engine) -> HashMap<StoreId, String> {
    let mut names = HashMap::new();
    let mut taken = HashSet::new();
    for (store, plan, _) in engine.stores() {
        let plugin = engine.readers(store).next().unwrap_or_default();
        let long = format!("{plugin}/{}", plan.name);
        let numbered = (2..).map(|n| format!("{long} ({n})"));
        let name = [plan.name.clone(), long.clone()]
            .into_iter()
            .chain(numbered)
            .find(|name| !taken.contains(name))
            .unwrap_or_default();
        taken.insert(name.clone());
        names.insert(store, name);
    }
    names
}

/// A stream that is to be started.
struct Planned {
    config: WatchConfig,
    name: String,
    readers: Vec<Reader>,
}

impl Planned {
    fn recorded(&self) -> RecordedWatch {
        let config = &self.config;
        RecordedWatch {
            name: self.name.clone(),
            api_version: config.resource.api_version(),
            resources: config.resource.resource.clone(),
            namespace: config.namespace.clone(),
            object_name: config.name.clone(),
            label_selector: config.label_selector.clone(),
            field_selector: config.field_selector.clone(),
        }
    }
}

/// The streams that fill the engine's stores, but for those sources that are `fed` already.
/// Stores that differ only in what they keep of the same objects share one (contract W10).
fn streams_of(
    engine: &Engine,
    names: &HashMap<StoreId, String>,
    fed: &HashSet<(StoreId, usize)>,
) -> Vec<Planned> {
    let mut streams: Vec<Planned> = Vec::new();
    for (store, plan, sources) in engine.stores() {
        for (i, source) in sources.iter().enumerate() {
            if fed.contains(&(store, i)) {
                continue;
            }
            let mut config = WatchConfig::new(plan.resource.clone(), plan.projection());
            config.namespace.clone_from(&source.namespace);
            config.name.clone_from(&plan.object_name);
            config.label_selector.clone_from(&plan.label_selector);
            config.field_selector.clone_from(&plan.server_fields);
            config.metadata_only = plan.metadata_only();
            config.seed = seed();
            let reader = Reader {
                store,
                source: i,
                plan: Arc::clone(plan),
            };
            let shared = streams
                .iter_mut()
                .find(|other| asks_the_same(&other.config, &config));
            if let Some(shared) = shared {
                shared.config.readers.append(&mut config.readers);
                // Whole objects tell those who need metadata only all that they need.
                shared.config.metadata_only &= config.metadata_only;
                shared.readers.push(reader);
                continue;
            }
            streams.push(Planned {
                config,
                name: reader.name(engine, names).unwrap_or_default(),
                readers: vec![reader],
            });
        }
    }
    streams
}

/// Whether the server answers both with the same objects, be they whole or not.
fn asks_the_same(a: &WatchConfig, b: &WatchConfig) -> bool {
    a.resource == b.resource
        && a.namespace == b.namespace
        && a.name == b.name
        && a.label_selector == b.label_selector
        && a.field_selector == b.field_selector
}

impl Reader {
    /// The name of its watch, with the namespace where there are several; `None` when its
    /// store is gone.
    fn name(&self, engine: &Engine, names: &HashMap<StoreId, String>) -> Option<String> {
        let (plan, sources) = engine.store(self.store)?;
        let name = names.get(&self.store).unwrap_or(&plan.name);
        let namespace = sources.get(self.source)?.namespace.as_ref();
        Some(match (namespace, sources.len()) {
            (Some(namespace), 2..) => format!("{name} in {namespace}"),
            _ => name.clone(),
        })
    }
}

impl Stream {
    /// The first reader whose store is still there.
    fn first(&self, engine: &Engine) -> Option<&Reader> {
        self.readers
            .iter()
            .find(|reader| engine.store(reader.store).is_some())
    }

    /// What it is to its first store: its state is the same to all of them.
    fn source<'e>(&self, engine: &'e Engine) -> Option<&'e Source> {
        let reader = self.first(engine)?;
        let (_, sources) = engine.store(reader.store)?;
        sources.get(reader.source)
    }

    /// One line for an object that cannot be read and why, once (contract W8).
    fn log_quarantine(
        &self,
        engine: &Engine,
        reader: &Reader,
        identity: Option<&Identity>,
        error: &str,
    ) {
        let quarantine = engine.quarantine(reader.store);
        let is_news = quarantine.is_some_and(|known| known.is_news(identity, error));
        log_unreadable(&self.name, identity, error, is_news);
    }

    /// One line a change; a list in progress is one state, told about as it grows.
    fn log(&self, engine: &Engine, now: Time, state: &WatchState) {
        let status = self
            .first(engine)
            .and_then(|reader| engine.status(reader.store));
        log_state(
            &self.name,
            status.map_or(0, |status| status.objects),
            now,
            state,
        );
    }
}

/// One line for an object that cannot be read and why; `is_news`: it was not told before.
pub(crate) fn log_unreadable(watch: &str, identity: Option<&Identity>, error: &str, is_news: bool) {
    let error = printable(error);
    let object = identity.map_or_else(|| "without a name".to_owned(), ToString::to_string);
    if is_news {
        warn!(watch, object, "cannot be read, and is left out: {error}");
    } else {
        debug!(watch, object, "cannot be read, and is left out: {error}");
    }
}

/// One line for how a watch is, whose store has so many objects.
pub(crate) fn log_state(watch: &str, objects: usize, now: Time, state: &WatchState) {
    match state {
        WatchState::Listing { received: 0 } | WatchState::Discovering => {
            debug!(watch, "{state}");
        }
        WatchState::Listing { received } => info!(watch, objects = received, "loading"),
        WatchState::Synced => info!(watch, objects, "synced"),
        WatchState::Stale { since } => {
            let silent = Duration::from_secs((now - *since).as_secs());
            warn!(
                watch,
                objects,
                ?silent,
                "lost; what is known stays, and it is tried again"
            );
        }
        WatchState::WaitingForCrd | WatchState::Forbidden { .. } | WatchState::Failing { .. } => {
            warn!(watch, "{}", printable(&state.to_string()));
        }
    }
}

/// Whether a watch in this state will not sync unless somebody outside does
/// something.
pub(crate) fn is_hopeless(state: &WatchState) -> bool {
    match state {
        WatchState::WaitingForCrd | WatchState::Forbidden { .. } => true,
        WatchState::Discovering
        | WatchState::Listing { .. }
        | WatchState::Synced
        | WatchState::Stale { .. }
        | WatchState::Failing { .. } => false,
    }
}

/// A seed that differs from watch to watch and from process to process: jitter is
/// to spread them.
fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use haptic_core::spec::{ScopeSpec, Storage, WatchSpec};

    use super::*;

    fn spec(name: &str, change: fn(&mut WatchSpec)) -> Arc<WatchPlan> {
        let mut spec = WatchSpec {
            name: name.to_owned(),
            api_version: "v1".to_owned(),
            resources: "secrets".to_owned(),
            ..WatchSpec::default()
        };
        change(&mut spec);
        Arc::new(spec.plan().unwrap())
    }

    /// What is asked of the server for these watches, each of a plugin of its own, and how
    /// many readers each answer has.
    fn asked(plans: &[Arc<WatchPlan>]) -> Vec<(Option<String>, bool, usize)> {
        let mut engine = Engine::new();
        for (number, plan) in plans.iter().enumerate() {
            engine.add_plugin(&number.to_string(), std::slice::from_ref(plan), "own");
        }
        let streams = streams_of(&engine, &names(&engine), &HashSet::new());
        let shown = streams.iter().map(|stream| {
            let (config, readers) = (&stream.config, stream.readers.len());
            assert_eq!(config.readers.len(), readers);
            (config.namespace.clone(), config.metadata_only, readers)
        });
        shown.collect()
    }

    #[test]
    fn w10_plugins_that_watch_the_same_objects_share_a_stream() {
        let plain = || spec("a", |_| {});
        let all = |readers| vec![(None, false, readers)];
        assert_eq!(asked(&[plain(), plain()]), all(1), "and a store");
        let slim = spec("b", |spec| spec.keep_fields = vec!["data".to_owned()]);
        let keyed = spec("c", |spec| spec.index_by = vec!["type".to_owned()]);
        let cached = spec("d", |spec| spec.storage = Storage::Cached);
        let plans = [plain(), slim, keyed, cached.clone()];
        assert_eq!(asked(&plans), all(4), "but not what they keep of them");
        assert_eq!(asked(&[cached.clone(), cached.clone()]), [(None, true, 1)]);
        assert_eq!(asked(&[cached, plain()]), all(2));
        // The selectors are compared as the server understands them.
        let spelt = spec("e", |spec| spec.label_selector = Some("a == b".to_owned()));
        let same = spec("f", |spec| spec.label_selector = Some(" a=b".to_owned()));
        assert_eq!(asked(&[spelt, same]), all(1));
    }

    #[test]
    fn w10_each_resource_scope_and_selector_has_a_stream_of_its_own() {
        let plans = [
            spec("a", |_| {}),
            spec("b", |spec| spec.resources = "configmaps".to_owned()),
            spec("c", |spec| spec.label_selector = Some("a".to_owned())),
            spec("d", |spec| spec.field_selector = Some("type=x".to_owned())),
            spec("e", |spec| {
                spec.scope = ScopeSpec::Namespaces(vec!["own".to_owned()]);
                spec.object_name = Some("x".to_owned());
            }),
            spec("f", |spec| {
                spec.scope = ScopeSpec::Namespaces(vec!["own".to_owned(), "other".to_owned()]);
            }),
            // Of these two namespaces somebody watches one already.
            spec("g", |spec| spec.scope = ScopeSpec::OwnNamespace),
        ];
        let own = || Some("own".to_owned());
        let expected = [
            (None, false, 1),
            (None, false, 1),
            (None, false, 1),
            (None, false, 1),
            (own(), false, 1),
            (own(), false, 2),
            (Some("other".to_owned()), false, 1),
        ];
        assert_eq!(asked(&plans), expected);
    }
}
