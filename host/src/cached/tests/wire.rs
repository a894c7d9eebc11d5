//! A cached store on the whole way: watch, engine and GETs over kube's client, against the
//! embedded cluster, without a socket and on a clock that stands still.

use bytes::Bytes;
use haptic_cluster::{
    Cluster, Fault, How, Logged, Moment, Options, Place, Refusal, Rule, RuleId, Verb, When,
};
use haptic_core::{
    engine::{Engine, PluginId},
    view::{StoreView, Which},
};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::*;
use crate::watches::{News, Watches};

/// The watches of one plugin against a cluster.
struct World {
    cluster: Arc<Cluster>,
    bodies: Bodies,
    engine: Engine,
    plugin: PluginId,
    watches: Watches,
    news: mpsc::Receiver<News>,
    clock: Clock,
}

fn access(cluster: &Arc<Cluster>) -> Access {
    let cluster = Arc::clone(cluster);
    let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
        let cluster = Arc::clone(&cluster);
        async move {
            let (parts, body) = request.into_parts();
            let body: Bytes = body.collect().await?.to_bytes();
            let answer = cluster.call(http::Request::from_parts(parts, body)).await?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(answer)
        }
    });
    Access::new(kube::Client::new(service, "default"), "http://cluster")
}

fn cluster(objects: &[Value]) -> Arc<Cluster> {
    let cluster = Cluster::detached(Options::default()).unwrap();
    for object in objects {
        cluster.apply(object).unwrap();
    }
    Arc::new(cluster)
}

fn secret(name: &str, key: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {"namespace": "shop", "name": name, "labels": {"app": "web"}},
        "data": {"key": key},
    })
}

impl World {
    /// All stores are synced.
    async fn synced(cluster: Arc<Cluster>, specs: &[WatchSpec]) -> Self {
        let access = access(&cluster);
        let clock = Clock::start();
        let bodies = Bodies::of(&access, clock, DEFAULT_BYTES);
        let mut engine = Engine::new();
        let plans: Vec<_> = specs.iter().map(plan).collect();
        let plugin = engine.add_plugin("test", &plans, "default");
        let (events, news) = mpsc::channel(64);
        let mut watches = Watches::new(&access, clock, &bodies);
        watches.follow(&engine, &events);
        let mut world = Self {
            cluster,
            bodies,
            engine,
            plugin,
            watches,
            news,
            clock,
        };
        world.hear(|engine, plugin| engine.is_synced(plugin)).await;
        world
    }

    /// Takes in what the watches report until this holds.
    async fn hear(&mut self, holds: impl Fn(&Engine, PluginId) -> bool) {
        while !holds(&self.engine, self.plugin) {
            let news = self.news.recv().await.unwrap();
            let now = self.clock.now();
            self.watches.take_in(&mut self.engine, now, news);
        }
    }

    /// Applies an object, and waits until the store of the first watch shows it.
    async fn apply(&mut self, object: &Value) {
        self.cluster.apply(object).unwrap();
        self.hear_of(object["metadata"]["name"].as_str().unwrap())
            .await;
    }

    async fn hear_of(&mut self, name: &str) {
        let current = self
            .cluster
            .get("v1", "Secret", Some("shop"), name)
            .unwrap();
        let version = current["metadata"]["resourceVersion"].clone();
        self.hear(|engine, plugin| {
            let store = engine.store_view(plugin, 0).unwrap();
            let object = store.object("shop", name);
            object.is_some_and(|object| version == object.resource_version())
        })
        .await;
    }

    fn view(&self, watch: usize) -> StoreView {
        self.engine.store_view(self.plugin, watch).unwrap()
    }

    fn reader(&self, watch: usize) -> Reader {
        self.bodies.reader(self.view(watch), LIMIT, until())
    }

    fn requests(&self, verbs: &[Verb]) -> Vec<Logged> {
        let mut requests = self.cluster.requests();
        requests.retain(|request| verbs.contains(&request.verb));
        requests
    }

    fn gets(&self) -> usize {
        self.requests(&[Verb::Get]).len()
    }

    fn fault(&self, fault: Fault) -> RuleId {
        let when = When::verbs([Verb::Get]).resource("secrets");
        self.cluster.faults().add(Rule::new(when, fault))
    }
}

const WATCHING: [Verb; 3] = [Verb::List, Verb::StreamingList, Verb::Watch];

#[tokio::test(start_paused = true)]
async fn s6_the_watch_asks_for_metadata_only_and_holds_no_body() {
    let objects = [secret("a", "one"), secret("b", "two")];
    let world = World::synced(cluster(&objects), &[secrets(Storage::Cached)]).await;
    let asked = world.requests(&WATCHING);
    assert!(!asked.is_empty());
    assert!(
        asked.iter().all(|request| request.metadata_only),
        "{asked:?}"
    );
    let view = world.view(0);
    assert_eq!(view.len(), 2);
    assert!(view.find(Which::All).unwrap().all(|o| o.body().is_none()));
    assert_eq!((world.gets(), world.bodies.metrics().held), (0, 0));
    let read = world.reader(0).list().await.unwrap();
    assert_eq!(data(&read), ["one", "two"]);
    assert_eq!(world.gets(), 2);
}

#[tokio::test(start_paused = true)]
async fn s6_a_key_outside_of_metadata_makes_the_watch_whole_and_holds_no_body_either() {
    let by_type = WatchSpec {
        index_by: vec!["type".to_owned()],
        ..secrets(Storage::Cached)
    };
    let mut world = World::synced(cluster(&[secret("a", "one")]), &[by_type]).await;
    let asked = world.requests(&WATCHING);
    assert!(
        asked.iter().all(|request| !request.metadata_only),
        "{asked:?}"
    );
    assert!(
        world
            .view(0)
            .find(Which::All)
            .unwrap()
            .all(|o| o.body().is_none())
    );
    assert_eq!(
        data(&world.reader(0).get(&["Opaque"]).await.unwrap()),
        ["one"]
    );
    // The digest tells a change from a mere version (I8).
    let revision = world.view(0).revision();
    let mut object = world
        .cluster
        .get("v1", "Secret", Some("shop"), "a")
        .unwrap();
    object["metadata"]["managedFields"] = json!([]);
    object["data"]["key"] = "other".into();
    world.apply(&object).await;
    assert_eq!(world.view(0).revision(), revision + 1);
}

#[tokio::test(start_paused = true)]
async fn s6_every_read_of_a_cached_store_answers_as_that_of_a_store_in_memory() {
    let objects: Vec<_> = (0..30)
        .map(|i| secret(&format!("s{i:02}"), &format!("k{}", i % 3)))
        .collect();
    let filtered = |name: &str, storage| WatchSpec {
        name: name.to_owned(),
        keep_fields: vec!["data".to_owned(), "metadata.labels".to_owned()],
        indexes: vec![("by-app".to_owned(), vec!["metadata.labels.app".to_owned()])],
        ..secrets(storage)
    };
    let specs = [
        filtered("cached", Storage::Cached),
        filtered("memory", Storage::Memory),
    ];
    let world = World::synced(cluster(&objects), &specs).await;
    let (cached, memory) = (world.reader(0), world.reader(1));
    assert_eq!(cached.list().await, memory.list().await);
    assert_eq!(cached.get(&["shop"]).await, memory.get(&["shop"]).await);
    assert_eq!(
        cached.get(&["shop", "s07"]).await,
        memory.get(&["shop", "s07"]).await
    );
    assert_eq!(
        cached.get_by("by-app", &["web"]).await,
        memory.get_by("by-app", &["web"]).await
    );
    assert_eq!(
        cached.get_object("shop", "s03").await,
        memory.get_object("shop", "s03").await
    );
    let fields = ["metadata.name", "data.key", "type"];
    assert_eq!(
        cached.select(&fields, &[]).await,
        memory.select(&fields, &[]).await
    );
    assert_eq!(cached.list().await.unwrap().len(), 30);
    let mut cursor: Option<String> = None;
    for _ in 0..4 {
        let page = cached.page(cursor.as_deref(), 8).await;
        assert_eq!(page, memory.page(cursor.as_deref(), 8).await);
        cursor = page.unwrap().1;
    }
    assert_eq!(cursor, None);
    // And fails as it does.
    assert_eq!(cached.get(&[]).await, memory.get(&[]).await);
    assert_eq!(
        cached.get_by("by-shoe", &["x"]).await,
        memory.get_by("by-shoe", &["x"]).await
    );
    assert_eq!(
        cached.select(&["a["], &[]).await,
        memory.select(&["a["], &[]).await
    );
    assert_eq!(
        cached.page(Some("nonsense"), 8).await,
        memory.page(Some("nonsense"), 8).await
    );
    assert_eq!(world.gets(), 30);
}

#[tokio::test(start_paused = true)]
async fn s6_readers_of_a_cold_object_share_a_get_on_the_wire() {
    let world = World::synced(cluster(&[secret("a", "one")]), &[secrets(Storage::Cached)]).await;
    let hold = world.fault(Fault::Hold {
        at: Moment::Arrival,
    });
    let faults = world.cluster.faults();
    let readers = (0..50).map(|_| {
        let reader = world.reader(0);
        async move { reader.get_object("shop", "a").await.unwrap().unwrap() }
    });
    let release = async {
        faults.held(hold, 1).await;
        faults.release(hold);
    };
    let (read, ()) = tokio::join!(futures_util::future::join_all(readers), release);
    assert_eq!(data(&read), vec!["one"; 50]);
    assert_eq!(world.gets(), 1);
}

#[tokio::test(start_paused = true)]
async fn s6_a_slow_get_never_overwrites_a_newer_watch_event() {
    let objects = [secret("a", "old")];
    let mut world = World::synced(cluster(&objects), &[secrets(Storage::Cached)]).await;
    // The server has read the object; its answer is on the way, for long.
    let faults = world.cluster.faults();
    let when = When::verbs([Verb::Get]);
    let answered = Fault::Hold {
        at: Moment::Answered,
    };
    let hold = faults.add(Rule::new(when, answered).times(1));
    let before = world.reader(0);
    let slow = tokio::spawn(async move { before.get_object("shop", "a").await });
    faults.held(hold, 1).await;
    world.apply(&secret("a", "new")).await;
    faults.release(hold);
    let read = slow.await.unwrap().unwrap().unwrap();
    assert_eq!(data(&[read]), ["new"]);
    assert_eq!(world.gets(), 2);
    // And what is kept is the newer one.
    let after = world.reader(0).list().await.unwrap();
    assert_eq!(data(&after), ["new"]);
    assert_eq!((world.gets(), world.bodies.metrics().hits), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn s6_a_change_that_the_watch_shows_is_fetched_again() {
    let objects = [secret("a", "one"), secret("b", "two")];
    let mut world = World::synced(cluster(&objects), &[secrets(Storage::Cached)]).await;
    world.reader(0).list().await.unwrap();
    let snapshot = world.reader(0);
    world.apply(&secret("a", "changed")).await;
    let read = world.reader(0).list().await.unwrap();
    assert_eq!(data(&read), ["changed", "two"]);
    assert_eq!(world.gets(), 3);
    // An older snapshot is served what is newer, and no older body comes back for it.
    assert_eq!(data(&snapshot.list().await.unwrap()), ["changed", "two"]);
    assert_eq!(world.gets(), 3);
}

#[tokio::test(start_paused = true)]
async fn s6_a_replica_that_lags_is_waited_for_and_then_unavailable() {
    let objects = [secret("a", "old")];
    let mut world = World::synced(cluster(&objects), &[secrets(Storage::Cached)]).await;
    let lag = world.fault(Fault::Lag {
        versions: None,
        everything: false,
    });
    world.apply(&secret("a", "new")).await;
    let text = unavailable(world.reader(0).list().await);
    let expected = "secrets shop/a: 504 Timeout: Timeout: Too large resource version";
    assert!(text.starts_with(expected), "{text}");
    world.cluster.faults().remove(lag);
    assert_eq!(data(&world.reader(0).list().await.unwrap()), ["new"]);
}

#[tokio::test(start_paused = true)]
async fn s6_an_object_that_was_deleted_meanwhile_is_left_out() {
    let objects = [secret("a", "one"), secret("b", "two")];
    let world = World::synced(cluster(&objects), &[secrets(Storage::Cached)]).await;
    // The store has not heard of it yet.
    world
        .cluster
        .delete("v1", "Secret", Some("shop"), "a")
        .unwrap();
    assert_eq!(world.view(0).len(), 2);
    let reader = world.reader(0);
    assert_eq!(data(&reader.list().await.unwrap()), ["two"]);
    assert_eq!(reader.get_object("shop", "a").await, Ok(None));
    assert_eq!(world.bodies.metrics().absent, 2);
}

#[tokio::test(start_paused = true)]
async fn s6_a_recreated_object_is_not_served_from_what_is_kept_of_its_predecessor() {
    let objects = [secret("a", "first")];
    let mut world = World::synced(cluster(&objects), &[secrets(Storage::Cached)]).await;
    world.reader(0).list().await.unwrap();
    world
        .cluster
        .delete("v1", "Secret", Some("shop"), "a")
        .unwrap();
    world.apply(&secret("a", "second")).await;
    let read = world.reader(0).list().await.unwrap();
    assert_eq!(data(&read), ["second"]);
}

#[tokio::test(start_paused = true)]
async fn s6_refusals_and_stalls_of_the_server_are_typed_errors() {
    let world = World::synced(cluster(&[secret("a", "one")]), &[secrets(Storage::Cached)]).await;
    let refused = |code, reason: &str| Fault::Status(Refusal::new(code, reason, "not today"));
    let end_streams = false;
    for (fault, gets, text) in [
        (
            Fault::Forbidden { end_streams },
            1,
            "secrets shop/a: 403 Forbidden: secrets \"a\" is forbidden: ",
        ),
        (
            refused(500, "InternalError"),
            4,
            "secrets shop/a: 500 InternalError: not today",
        ),
        (Fault::Html { code: 502 }, 4, "secrets shop/a: 502 <"),
        (Fault::Html { code: 404 }, 1, "secrets shop/a: 404 <"),
        (
            Fault::Break {
                at: Place::Bytes(40),
                how: How::Fin,
            },
            4,
            "secrets shop/a: ",
        ),
        (
            Fault::Break {
                at: Place::Start,
                how: How::Stall,
            },
            2,
            "secrets shop/a: no answer within 5s",
        ),
        (
            Fault::Break {
                at: Place::Bytes(40),
                how: How::Trickle {
                    every: Duration::from_secs(1),
                },
            },
            2,
            "secrets shop/a: no answer within 5s",
        ),
    ] {
        world.cluster.clear_requests();
        let rule = world.fault(fault);
        let found = unavailable(world.reader(0).list().await);
        assert!(found.starts_with(text), "{found}");
        assert_eq!(world.gets(), gets, "{found}");
        world.cluster.faults().remove(rule);
    }
    assert_eq!(world.bodies.metrics().errors, 7);
    assert_eq!(data(&world.reader(0).list().await.unwrap()), ["one"]);
}

#[tokio::test(start_paused = true)]
async fn w11_bodies_may_come_compressed() {
    let world = World::synced(cluster(&[secret("a", "one")]), &[secrets(Storage::Cached)]).await;
    for members in [false, true] {
        world.fault(Fault::Gzip {
            members,
            unasked: false,
        });
        world.fault(Fault::Split {
            bytes: 7,
            seed: None,
        });
    }
    assert_eq!(data(&world.reader(0).list().await.unwrap()), ["one"]);
}
