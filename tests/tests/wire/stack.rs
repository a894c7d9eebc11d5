//! The real stack on a virtual clock: kube's client over a detached cluster, the driver,
//! the machine, the engine, and the bodies of cached stores. Runs a schedule and asserts what
//! must always hold.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use haptic_cluster::{Clock as ServerClock, Cluster, Options, RuleId, When};
use haptic_core::Time;
use haptic_core::bodies::Version;
use haptic_core::engine::{Call, Engine, Outcome, PluginId, StoreId};
use haptic_core::snapshot::Snapshot;
use haptic_core::spec::WatchPlan;
use haptic_core::view::{ReadError, Which};
use haptic_core::watch::{Machine, WatchConfig, WatchState};
use haptic_host::access::Access;
use haptic_host::cached::Bodies;
use haptic_host::driver::{CONCURRENT_LISTS, Clock, Driver, Patience, Report};
use http_body_util::BodyExt;
use kube::client::Body;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::random::Random;
use crate::rates::{Rates, rates};
use crate::reads::{Read, Reads};
use crate::schedule::{Op, Schedule, Watch, Write, anchors};
use crate::truth::{Key, Kind, Selection, Truth, definition, version_of, versions};

/// How long a store may differ from the server without a word: a silent stream is found
/// dead after 70 s, two in a row where bookmarks are not known, a request without an answer
/// after 30 s, and when streams end between these they add up.
const UNREPORTED: Duration = Duration::from_secs(70 + 70 + 30 + 5);

/// How long after the last fault, and the last write, everything must be in order: a dead
/// stream (70 s), then `Retry-After` (120 s), a backoff (30 s), discovery's and a list's
/// deadlines (30 s each), a streaming list that fails (30 s), and a backoff between all.
const RECOVERY: Duration = Duration::from_secs(7 * 60);

/// How often stores are compared with the server.
const GLANCE: Duration = Duration::from_secs(1);

/// What a run showed.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    pub rates: Rates,
    pub callbacks: u64,
    /// Reads of cached stores: how many were answered, and how many could not be.
    pub reads: (u64, u64),
    /// GETs that were sent for them.
    pub gets: u64,
    /// From the end of the faults until everything was in order.
    pub recovery: Duration,
    /// When which stream came into which state, as metrics call it.
    pub states: Vec<(Duration, usize, &'static str)>,
    /// Everything that was asked, in order, for comparison.
    pub trace: Vec<String>,
}

impl Summary {
    /// The worst of both, and what can be counted together.
    pub fn add(&mut self, other: &Self) {
        if other.rates.worst_minute > self.rates.worst_minute {
            self.rates = other.rates;
        }
        self.recovery = self.recovery.max(other.recovery);
        self.callbacks = self.callbacks.min(other.callbacks);
        self.reads.0 += other.reads.0;
        self.reads.1 += other.reads.1;
        self.gets += other.gets;
    }
}

/// A server without sockets, the same on every run.
fn server() -> Arc<Cluster> {
    let options = Options {
        clock: ServerClock::Fixed(UNIX_EPOCH + Duration::from_secs(1_700_000_000)),
        seed: Some(1),
        ..Options::default()
    };
    Arc::new(Cluster::detached(options).unwrap())
}

/// Requests at one virtual moment that are no accident any more.
const HOT: u64 = 1_000;

/// kube's client over it. A hot loop would stop virtual time: it is cut off, and `hot` told.
fn access(cluster: &Arc<Cluster>, gzip: bool, hot: &Arc<AtomicBool>) -> Access {
    let (cluster, hot) = (Arc::clone(cluster), Arc::clone(hot));
    let (mut moment, mut requests) = (Instant::now(), 0);
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let cluster = Arc::clone(&cluster);
        let now = Instant::now();
        requests = if now == moment { requests + 1 } else { 0 };
        moment = now;
        if requests > HOT {
            hot.store(true, Ordering::Relaxed);
        }
        let hot = requests > HOT;
        async move {
            if hot {
                std::future::pending::<()>().await;
            }
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map_err(std::io::Error::other)?;
            let request = http::Request::from_parts(parts, body.to_bytes());
            cluster.call(request).await
        }
    });
    let mut access = Access::new(kube::Client::new(service, "a"), "http://detached");
    access.own_namespace = Some("a".to_owned());
    access.loopback = !gzip;
    access
}

/// Runs on a clock that jumps to whatever comes next.
fn on_virtual_time<T>(work: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(work)
}

/// Runs a schedule; panics when something does not hold.
pub fn run(schedule: &Schedule) -> Summary {
    on_virtual_time(async { Stack::new(schedule).run(schedule).await })
}

/// One source of one store, and how it compares with the server.
struct Stream {
    store: StoreId,
    source: usize,
    kind: Kind,
    plan: Arc<WatchPlan>,
    selection: Selection,
    /// The oldest of the server's states that the store can still be at.
    reached: usize,
    state: WatchState,
    /// Since when it differs from the server, and whether that was reported.
    behind: Option<(Instant, bool)>,
}

struct Stack {
    cluster: Arc<Cluster>,
    hot: Arc<AtomicBool>,
    engine: Engine,
    plugin: PluginId,
    clock: Clock,
    streams: Vec<Stream>,
    news: mpsc::Receiver<(usize, Report)>,
    _tasks: JoinSet<()>,
    bodies: Bodies,
    reads: Reads,
    truths: [Truth; 2],
    defined: bool,
    rules: HashMap<usize, RuleId>,
    random: Random,
    /// When the running callback returns, and how.
    returns: Option<(Instant, Outcome)>,
    calm: bool,
    callbacks: u64,
    states: Vec<(Duration, usize, &'static str)>,
}

impl Stack {
    fn new(schedule: &Schedule) -> Self {
        let cluster = server();
        let mut engine = Engine::new();
        let plans: Vec<_> = schedule
            .watches
            .iter()
            .enumerate()
            .map(|(number, watch)| Arc::new(watch.spec(number).plan().unwrap()))
            .collect();
        let plugin = engine.add_plugin("p", &plans, "a");
        let (sender, news) = mpsc::channel(64);
        let (hot, clock) = (Arc::default(), Clock::start());
        let access = access(&cluster, schedule.gzip, &hot);
        let mut stack = Self {
            // Room for some of the bodies.
            bodies: Bodies::of(&access, clock, 5_000),
            reads: Reads::new(schedule.seed),
            hot,
            clock,
            streams: Vec::new(),
            news,
            _tasks: JoinSet::new(),
            truths: [Truth::new(Kind::ConfigMap), Truth::new(Kind::Widget)],
            defined: false,
            rules: HashMap::new(),
            random: Random::new(!schedule.seed),
            returns: None,
            calm: false,
            callbacks: 0,
            states: Vec::new(),
            cluster,
            engine,
            plugin,
        };
        if schedule.defined {
            stack.perform(Op::Define(true));
        }
        for write in &schedule.before {
            for kind in [Kind::ConfigMap, Kind::Widget] {
                stack.perform(Op::Write(kind, write.clone()));
            }
        }
        stack.watch(schedule, &access, &sender);
        stack
    }

    /// Starts a driver for each source of each store.
    fn watch(
        &mut self,
        schedule: &Schedule,
        access: &Access,
        sender: &mpsc::Sender<(usize, Report)>,
    ) {
        let lists = Arc::new(Semaphore::new(CONCURRENT_LISTS));
        let streamable = [(); 2].map(|()| Arc::new(AtomicBool::new(true)));
        let mut streams = Vec::new();
        for (store, plan, sources) in self.engine.stores() {
            let number: usize = plan.name.strip_prefix("watch-").unwrap().parse().unwrap();
            let watch = &schedule.watches[number];
            for (source, at) in sources.iter().enumerate() {
                let mut config = WatchConfig::new(plan.resource.clone(), plan.projection());
                config.namespace.clone_from(&at.namespace);
                config.label_selector.clone_from(&plan.label_selector);
                config.field_selector.clone_from(&plan.server_fields);
                config.metadata_only = plan.metadata_only();
                config.page_size = schedule.page_size;
                config.seed = schedule.seed ^ streams.len() as u64;
                let driver = Driver::new(
                    &plan.name,
                    access.clone(),
                    Machine::new(config),
                    Arc::new(Patience::new(plan.debounce)),
                    Arc::clone(&lists),
                    Arc::clone(&streamable[watch.kind as usize]),
                    self.clock,
                );
                let (sender, stream) = (sender.clone(), streams.len());
                self._tasks.spawn(driver.run(move |report| {
                    let sender = sender.clone();
                    async move { sender.send((stream, report)).await.is_ok() }
                }));
                let mut selection = watch.selection.clone();
                selection
                    .namespaces
                    .retain(|name| at.namespace.as_deref() == Some(*name));
                streams.push(Stream {
                    store,
                    source,
                    kind: watch.kind,
                    plan: Arc::clone(plan),
                    selection,
                    reached: 0,
                    state: WatchState::Discovering,
                    behind: None,
                });
            }
        }
        self.streams = streams;
    }

    async fn run(mut self, schedule: &Schedule) -> Summary {
        let start = Instant::now();
        let ops = schedule.storm.iter().chain(&schedule.after);
        let mut ops = ops.map(|(at, op)| (start + *at, op.clone())).peekable();
        let calm = start + schedule.calm;
        let mut glance = start;
        loop {
            let now = Instant::now();
            if !self.calm && now >= calm {
                self.calm = true;
                self.cluster.faults().clear();
            }
            while let Some((_, op)) = ops.next_if(|(at, _)| *at <= now) {
                self.perform(op);
            }
            if now >= glance {
                glance = now + GLANCE;
                self.compare(schedule);
                if self.hot.load(Ordering::Relaxed) {
                    self.fail("asks without end");
                }
                if ops.peek().is_none() && self.is_in_order(schedule) {
                    break;
                }
                if self.calm && now > calm + Duration::from_secs(90) + RECOVERY {
                    self.fail("is not in order long after the last fault");
                }
            }
            self.call(schedule);
            let due = self.engine.next_due().map(|due| self.clock.deadline(due));
            let returns = self.returns.map(|(at, _)| at);
            let op = ops.peek().map(|(at, _)| *at);
            let wake = [due, returns, op, Some(glance), (!self.calm).then_some(calm)];
            let wake = wake.into_iter().flatten().min().unwrap();
            tokio::select! {
                biased;
                news = self.news.recv() => {
                    let (stream, report) = news.unwrap();
                    self.take_in(stream, report);
                }
                read = self.reads.next() => self.check_read(&read),
                () = sleep_until(wake) => {}
            }
        }
        let recovery = Instant::now() - calm;
        self.read_all(schedule).await;
        let requests = self.cluster.requests();
        assert_eq!(self.cluster.forgotten_requests(), 0, "a hot loop");
        let trace = requests.iter().map(|request| {
            let after = request.moment - start;
            format!(
                "{after:?} {:?} {} {:?}",
                request.verb, request.path, request.code
            )
        });
        Summary {
            rates: rates(&requests, self.streams.len()),
            callbacks: self.callbacks,
            reads: self.reads.counts(),
            gets: self.bodies.metrics().requests,
            recovery,
            states: self.states,
            trace: trace.collect(),
        }
    }

    fn perform(&mut self, op: Op) {
        let faults = self.cluster.faults();
        match op {
            Op::Write(Kind::Widget, _) if !self.defined => {}
            Op::Write(kind, write) => {
                let truth = &mut self.truths[kind as usize];
                match write {
                    Write::Apply { key, color, app } => {
                        truth.apply(&self.cluster, &key, color, app)
                    }
                    Write::Delete(key) => truth.delete(&self.cluster, &key),
                    Write::Recreate(key) => {
                        truth.delete(&self.cluster, &key);
                        truth.apply(&self.cluster, &key, "red", "web");
                    }
                }
            }
            Op::Begin(number, rule) => {
                self.rules.insert(number, faults.add(rule));
            }
            Op::End(number) => {
                if let Some(rule) = self.rules.remove(&number) {
                    faults.remove(rule);
                }
            }
            Op::Compact => self.cluster.compact(),
            Op::EndStreams => faults.end_streams(&When::any()),
            Op::ForceSync => self.engine.force_sync(self.clock.now(), self.plugin),
            Op::Define(true) => {
                self.cluster.apply(&definition()).unwrap();
                self.defined = true;
            }
            Op::Define(false) if self.defined => {
                let (api_version, kind) = ("apiextensions.k8s.io/v1", "CustomResourceDefinition");
                let name = "widgets.shop.example";
                self.cluster.delete(api_version, kind, None, name).unwrap();
                self.truths[Kind::Widget as usize].clear();
                self.defined = false;
            }
            Op::Define(false) => {}
        }
    }

    fn take_in(&mut self, number: usize, report: Report) {
        let now = self.clock.now();
        let stream = &mut self.streams[number];
        match report {
            Report::Outputs(outputs) => {
                for (reader, output) in outputs {
                    assert_eq!(reader, 0);
                    self.bodies.seen(&stream.plan, &output);
                    self.engine.watch(now, stream.store, stream.source, output);
                }
            }
            Report::State(state) => {
                if let Some((_, reported)) = &mut stream.behind {
                    *reported |= state != WatchState::Synced;
                }
                self.states
                    .push((now.since_origin(), number, state.as_str()));
                stream.state = state.clone();
                self.engine.state(now, stream.store, stream.source, state);
            }
        }
    }

    /// Has the plugin called where it is due, and looks at what it sees.
    fn call(&mut self, schedule: &Schedule) {
        if let Some((at, outcome)) = self.returns
            && at <= Instant::now()
        {
            self.returns = None;
            self.engine.finished(self.clock.now(), self.plugin, outcome);
        }
        for call in self.engine.poll(self.clock.now()) {
            self.callbacks += 1;
            self.look(schedule, &call);
            self.read(schedule, &call);
            let takes = match self.random.below(3) {
                0 => Duration::ZERO,
                1 => self.random.millis(1, 50),
                _ => self.random.millis(50, 5_000),
            };
            let outcome = match self.random.below(20) {
                0 | 1 if !self.calm => Outcome::Failed,
                2 if !self.calm => Outcome::Died,
                _ => Outcome::Ok,
            };
            assert!(self.returns.is_none(), "two callbacks at once");
            self.returns = Some((Instant::now() + takes, outcome));
        }
    }

    /// A callback sees states that the server had, in their order, and none in between.
    fn look(&mut self, schedule: &Schedule, call: &Call) {
        for watch in 0..schedule.watches.len() {
            let store = self.engine.store_of(self.plugin, watch).unwrap();
            if !self.engine.status(store).unwrap().synced {
                continue;
            }
            let snapshot = call.view.store(watch).unwrap().snapshot();
            self.check_indexes(&schedule.watches[watch], snapshot);
            let seen = versions(snapshot);
            let selection = &schedule.watches[watch].selection;
            if schedule.watches[watch].kind == Kind::ConfigMap {
                for anchor in anchors() {
                    let wanted = selection.namespaces.is_empty()
                        || selection.namespaces.contains(&anchor.0.as_str());
                    if wanted && !seen.contains_key(&anchor) {
                        self.fail(&format!("{anchor:?} is missing from a view: {seen:?}"));
                    }
                }
            }
            for number in 0..self.streams.len() {
                if self.streams[number].store == store {
                    self.place(schedule, number, &seen);
                }
            }
        }
    }

    /// Finds the server's state that a view shows, not before one that was shown earlier.
    fn place(&mut self, schedule: &Schedule, number: usize, seen: &BTreeMap<Key, u64>) {
        let stream = &self.streams[number];
        let own: BTreeMap<Key, u64> = seen
            .iter()
            .filter(|((namespace, _), _)| {
                let namespaces = &stream.selection.namespaces;
                namespaces.is_empty() || namespaces.contains(&namespace.as_str())
            })
            .map(|(key, version)| (key.clone(), *version))
            .collect();
        let states = self.truths[stream.kind as usize].states();
        let shows = |state| stream.selection.versions(state) == own;
        let reached = states
            .iter()
            .enumerate()
            .skip(stream.reached)
            .find(|(_, state)| shows(state))
            .map(|(index, _)| index);
        let reached = match reached {
            Some(reached) => reached,
            None => match states.iter().position(shows) {
                Some(earlier) if schedule.travels() => earlier,
                Some(earlier) => self.fail(&format!(
                    "stream {number} went back from state {} to {earlier}",
                    stream.reached
                )),
                None => self.fail(&format!(
                    "stream {number} shows what the server never held: {own:?}"
                )),
            },
        };
        self.streams[number].reached = reached;
    }

    /// Compares the stores with the server. What differs for long must have been reported.
    fn compare(&mut self, schedule: &Schedule) {
        let now = Instant::now();
        for number in 0..self.streams.len() {
            let level = self.is_level(number);
            let stream = &mut self.streams[number];
            if level {
                stream.behind = None;
                continue;
            }
            let (since, reported) = stream.behind.get_or_insert((now, false));
            *reported |= stream.state != WatchState::Synced;
            let (since, reported) = (*since, *reported);
            if !reported && now - since > UNREPORTED && !schedule.has_replicas() {
                self.fail(&format!(
                    "stream {number} has been behind for {:?}, and says synced",
                    now - since
                ));
            }
        }
    }

    /// Whether the store holds what the server does, as far as this stream is about it.
    fn is_level(&self, number: usize) -> bool {
        let stream = &self.streams[number];
        let truth = self.truths[stream.kind as usize].now();
        let snapshot = self.engine.snapshot(stream.store).unwrap();
        let namespaces = &stream.selection.namespaces;
        let own = versions(&snapshot)
            .into_iter()
            .filter(|((namespace, _), _)| {
                namespaces.is_empty() || namespaces.contains(&namespace.as_str())
            });
        stream.selection.versions(truth) == own.collect()
    }

    /// Reads the cached stores that a callback sees, as it would.
    fn read(&mut self, schedule: &Schedule, call: &Call) {
        // What was under way when the faults went may still fail.
        let after = schedule.calm + Duration::from_secs(30);
        let calm = self.clock.now().since_origin() > after;
        for (number, watch) in schedule.watches.iter().enumerate() {
            let store = self.engine.store_of(self.plugin, number).unwrap();
            if watch.keeps.is_cached() && self.engine.status(store).unwrap().synced {
                let view = call.view.store(number).unwrap().clone();
                self.reads.start(&self.bodies, watch.kind, view, calm);
            }
        }
    }

    /// What a read showed was what its snapshot had, or newer; what it left out was deleted.
    fn check_read(&mut self, read: &Read) {
        let truth = &self.truths[read.kind as usize];
        if Instant::now() > read.until {
            self.fail("a read takes longer than it may");
        }
        let fetched = match &read.result {
            Ok(fetched) => fetched,
            Err(error) if read.calm => self.fail(&format!("cannot read without faults: {error}")),
            Err(ReadError::Unavailable(_)) => return,
            Err(error) => self.fail(&format!(
                "a read fails for no reason of the server: {error}"
            )),
        };
        let mut fetched = fetched.iter().peekable();
        for object in &read.objects {
            let (key, seen) = version_of(object);
            let Some(found) = fetched.next_if(|found| found.identity() == object.identity()) else {
                // Since the moment that the store showed there was one without it.
                let states = truth.states();
                let shown = states
                    .iter()
                    .position(|state| state.get(&key).is_some_and(|known| known.version == seen));
                let gone = shown.is_some_and(|shown| {
                    states[shown..]
                        .iter()
                        .any(|state| !state.contains_key(&key))
                });
                if !gone {
                    self.fail(&format!("{key:?} is missing from a read"));
                }
                continue;
            };
            let (_, version) = version_of(found);
            if !Version::of(found).is_as_new_as(&Version::of(object)) || version < seen {
                self.fail(&format!(
                    "{key:?} was read at {version}, after {seen} was seen"
                ));
            }
            let known = truth.version(&key, version);
            let body = found.body().unwrap().as_str();
            if known.is_none_or(|known| {
                !body.contains(&format!(r#""color":"{}""#, known.color))
                    || !body.contains(&format!(r#""app":"{}""#, known.app))
                    || found.uid() != known.uid
            }) {
                self.fail(&format!("{key:?} at {version} was never {body}"));
            }
        }
        if let Some(more) = fetched.next() {
            self.fail(&format!("{} is in no snapshot", more.identity()));
        }
    }

    /// When all is well, every cached store can be read, and is what the server has.
    async fn read_all(&mut self, schedule: &Schedule) {
        for (number, watch) in schedule.watches.iter().enumerate() {
            if !watch.keeps.is_cached() {
                continue;
            }
            let view = self.engine.store_view(self.plugin, number).unwrap();
            let until = Instant::now() + Duration::from_secs(10);
            let reader = self.bodies.reader(view, 1 << 30, until);
            let found = reader.find(Which::All).await.unwrap();
            let found: BTreeMap<Key, u64> = found.iter().map(|o| version_of(o)).collect();
            let truth = self.truths[watch.kind as usize].now();
            assert_eq!(found, watch.selection.versions(truth), "{schedule}");
        }
        let metrics = self.bodies.metrics();
        assert!(metrics.held_bytes <= 5_000, "{metrics:?}");
    }

    fn is_in_order(&self, schedule: &Schedule) -> bool {
        let settled = self.engine.is_settled(self.plugin, |_| false)
            && self.returns.is_none()
            && self.reads.is_empty()
            && self.engine.next_due().is_none();
        let streams = 0..self.streams.len();
        settled
            && self
                .streams
                .iter()
                .all(|stream| stream.state == WatchState::Synced)
            && streams.into_iter().all(|number| self.is_level(number))
            && schedule.watches.iter().enumerate().all(|(number, watch)| {
                let store = self.engine.store_of(self.plugin, number).unwrap();
                self.check_indexes(watch, &self.engine.snapshot(store).unwrap());
                true
            })
    }

    /// Each index says what a rebuild from the objects would.
    fn check_indexes(&self, watch: &Watch, snapshot: &Snapshot) {
        let truth = &self.truths[watch.kind as usize];
        let mut found: BTreeMap<(&str, Vec<&str>), Vec<String>> = BTreeMap::new();
        for object in snapshot.list() {
            let (key, version) = version_of(object);
            let Some(known) = truth.version(&key, version) else {
                self.fail(&format!("{key:?} never was at version {version}"));
            };
            match object.body() {
                Some(body) => {
                    let color = format!(r#""color":"{}""#, known.color);
                    assert!(body.as_str().contains(&color), "{}", body.as_str());
                }
                None => assert!(watch.keeps.is_cached()),
            }
            let (app, color) = (known.app.as_str(), known.color.as_str());
            for place in [
                ("", vec![object.namespace()]),
                ("app", vec![app]),
                ("color", vec![color]),
                ("app-color", vec![app, color]),
            ] {
                let identity = object.identity().to_string();
                found.entry(place).or_default().push(identity);
            }
        }
        let expect = |index: &'static str, keys: Vec<&'static str>| {
            let objects = match index {
                "" => snapshot.get(&keys),
                index => snapshot.get_by(index, &keys),
            };
            let names: Vec<String> = objects
                .unwrap()
                .map(|object| object.identity().to_string())
                .collect();
            let expected = found.get(&(index, keys)).cloned().unwrap_or_default();
            assert_eq!(names, expected, "{index}");
        };
        for namespace in ["a", "b", "c"] {
            expect("", vec![namespace]);
        }
        for app in ["web", "db"] {
            expect("app", vec![app]);
            for color in ["red", "green", "blue"] {
                if watch.keeps.knows_colors() {
                    expect("color", vec![color]);
                    expect("app-color", vec![app, color]);
                }
            }
        }
    }

    fn fail(&self, what: &str) -> ! {
        let at: Time = self.clock.now();
        let mut said = format!("{what}, at {at}\n");
        for (number, stream) in self.streams.iter().enumerate() {
            let truth = self.truths[stream.kind as usize].now();
            let snapshot = self.engine.snapshot(stream.store).unwrap();
            said += &format!(
                "stream {number}: {} ({:?}, {:?})\n  holds  {:?}\n  server {:?}\n",
                stream.state,
                stream.kind,
                stream.selection,
                versions(&snapshot),
                stream.selection.versions(truth),
            );
        }
        let requests = self.cluster.requests();
        said += "the last requests:\n";
        for request in requests.iter().skip(requests.len().saturating_sub(12)) {
            let ago = Instant::now() - request.moment;
            said += &format!(
                "  {ago:?} ago: {:?} {} rv {:?} → {:?}\n",
                request.verb, request.path, request.resource_version, request.code
            );
        }
        panic!("{said}");
    }
}
