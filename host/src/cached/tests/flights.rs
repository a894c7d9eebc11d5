//! Bodies from a scripted source, on a clock that stands still but for the pauses.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicUsize, Ordering},
};

use haptic_core::{
    Object,
    decode::{Decoder, Projection},
    snapshot::Snapshot,
    store::Store,
    view::StoreView,
};
use proptest::prelude::*;

use super::*;

/// What the source does with a GET.
#[derive(Clone, Debug)]
enum Step {
    /// Answers with the object as the script's cluster has it, after a while.
    Serve(Duration),
    /// Answers with this version of it.
    Old(u64),
    /// Answers with this status, and these seconds to wait.
    Status(u16, Option<u64>),
    /// Answers with this text.
    Text(u16, &'static str),
    /// The connection breaks.
    Broken,
    /// Never answers.
    Silent,
}

/// Secrets `s0`, `s1`, … at version 10, each with `bytes` bytes of data, and a source that
/// serves them: by the steps of the script first, and then at once.
#[derive(Default)]
struct Script {
    steps: Mutex<VecDeque<Step>>,
    asked: Mutex<Vec<Get>>,
    flying: AtomicUsize,
    most: AtomicUsize,
    ended: AtomicUsize,
}

fn secret(name: &str, version: u64, bytes: usize) -> String {
    format!(
        r#"{{"kind":"Secret","apiVersion":"v1","metadata":{{"namespace":"shop","name":"{name}","uid":"u-{name}","resourceVersion":"{version}"}},"data":{{"key":"{}"}}}}"#,
        "x".repeat(bytes)
    )
}

fn object(plan: &WatchPlan, name: &str, version: u64) -> Object {
    let projection = Arc::new(Projection::new(plan.projection()));
    let json = secret(name, version, 3);
    Decoder::new(projection)
        .decode(json.as_bytes())
        .unwrap()
        .object
}

impl Script {
    fn of(steps: impl IntoIterator<Item = Step>) -> Arc<Self> {
        Arc::new(Self {
            steps: Mutex::new(steps.into_iter().collect()),
            ..Self::default()
        })
    }

    fn gets(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    fn source(self: &Arc<Self>, bytes: usize) -> Source {
        let script = Arc::clone(self);
        Arc::new(move |get| {
            let script = Arc::clone(&script);
            Box::pin(async move { script.answer(get, bytes).await })
        })
    }

    async fn answer(self: Arc<Self>, get: Get, bytes: usize) -> Result<Answer, FetchError> {
        struct Flying(Arc<Script>);
        impl Drop for Flying {
            fn drop(&mut self) {
                self.0.flying.fetch_sub(1, Ordering::Relaxed);
                self.0.ended.fetch_add(1, Ordering::Relaxed);
            }
        }
        let flying = self.flying.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(flying, Ordering::Relaxed);
        let _flying = Flying(Arc::clone(&self));
        let name = get.identity.name().to_owned();
        self.asked.lock().unwrap().push(get);
        let step = self.steps.lock().unwrap().pop_front();
        let (status, retry_after, body) = match step.unwrap_or(Step::Serve(Duration::ZERO)) {
            Step::Serve(pause) => {
                tokio::time::sleep(pause).await;
                (200, None, secret(&name, 10, bytes))
            }
            Step::Old(version) => (200, None, secret(&name, version, bytes)),
            Step::Status(code, seconds) => {
                let body = format!(
                    r#"{{"kind":"Status","reason":"Reason{code}","message":"scripted","code":{code},"details":{{"name":"{name}"}}}}"#
                );
                (code, seconds.map(Duration::from_secs), body)
            }
            Step::Text(code, text) => (code, None, text.to_owned()),
            Step::Broken => return Err(FetchError::Transport("connection reset".to_owned())),
            Step::Silent => std::future::pending().await,
        };
        Ok(Answer {
            status,
            retry_after,
            body: body.into(),
        })
    }
}

fn bodies(source: Source, bytes: usize) -> Bodies {
    let clock = Clock::start();
    Bodies::new(source, move || clock.now(), bytes)
}

/// A store of this watch with `count` Secrets at version 10.
fn snapshot(plan: &WatchPlan, count: usize) -> Snapshot {
    let mut store = Store::new("secrets", plan.index_specs.clone());
    for i in 0..count {
        store.apply(object(plan, &format!("s{i}"), 10), &mut Vec::new());
    }
    store.snapshot()
}

fn view(plan: &Arc<WatchPlan>, count: usize) -> StoreView {
    let name = Arc::from("secrets");
    StoreView::new(name, snapshot(plan, count), None).with_cached_plan(Arc::clone(plan))
}

/// Reads the one Secret of a store by this script.
async fn read_one(steps: &[Step]) -> (Result<Option<Arc<str>>, ReadError>, usize, Duration) {
    let script = Script::of(steps.iter().cloned());
    let bodies = bodies(script.source(3), DEFAULT_BYTES);
    let view = view(&plan(&secrets(Storage::Cached)), 1);
    let began = Instant::now();
    let read = bodies.reader(view, LIMIT, until());
    let result = read.get_object("shop", "s0").await;
    (result, script.gets(), began.elapsed())
}

const MS: fn(u64) -> Duration = Duration::from_millis;

#[tokio::test(start_paused = true)]
async fn s6_many_readers_of_one_cold_object_cause_one_get() {
    let script = Script::of([Step::Serve(MS(50))]);
    let bodies = bodies(script.source(3), DEFAULT_BYTES);
    let view = view(&plan(&secrets(Storage::Cached)), 1);
    let readers = (0..100).map(|_| {
        let reader = bodies.reader(view.clone(), LIMIT, until());
        async move { reader.get_object("shop", "s0").await.unwrap().unwrap() }
    });
    let read = futures_util::future::join_all(readers).await;
    assert_eq!(data(&read), vec!["xxx"; 100]);
    assert_eq!(script.gets(), 1);
    let again = bodies.reader(view, LIMIT, until()).list().await.unwrap();
    assert_eq!(data(&again), ["xxx"]);
    let metrics = bodies.metrics();
    assert_eq!(
        (metrics.misses, metrics.coalesced, metrics.hits),
        (1, 99, 1)
    );
    assert_eq!((metrics.requests, metrics.errors, metrics.held), (1, 0, 1));
    assert_eq!(metrics.fetched_bytes, secret("s0", 10, 3).len() as u64);
}

#[tokio::test(start_paused = true)]
async fn s6_a_list_fetches_with_bounded_concurrency_and_keeps_its_order() {
    // The later a GET is sent, the sooner it is answered.
    let steps = (0..100_u64).map(|i| Step::Serve(MS(1_000 - i * 10)));
    let script = Script::of(steps);
    let bodies = bodies(script.source(3), DEFAULT_BYTES);
    let plan = plan(&secrets(Storage::Cached));
    let view = view(&plan, 100);
    let names: Vec<_> = view
        .snapshot()
        .list()
        .map(|o| o.name().to_owned())
        .collect();
    let reader = bodies.reader(view, LIMIT, Instant::now() + Duration::from_secs(100));
    let second = reader.clone();
    // Two plugins at once: the bound is the process's.
    let (listed, columns) = tokio::join!(reader.list(), second.select(&["metadata.name"], &[]));
    let of_bodies: Vec<String> = listed
        .unwrap()
        .iter()
        .map(|body| serde_json::from_str::<serde_json::Value>(body).unwrap())
        .map(|body| body["metadata"]["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(of_bodies, names);
    let columns: Vec<Vec<String>> = serde_json::from_str(&columns.unwrap()).unwrap();
    assert_eq!(columns, [names]);
    assert_eq!(script.gets(), 100);
    assert_eq!(script.most.load(Ordering::Relaxed), CONCURRENT_GETS);
}

#[tokio::test(start_paused = true)]
async fn s6_a_body_is_fetched_again_when_its_ttl_is_over() {
    let script = Script::of([]);
    let bodies = bodies(script.source(3), DEFAULT_BYTES);
    let plan = plan(&secrets(Storage::Cached));
    assert_eq!(plan.cache_ttl, Duration::from_secs(130));
    let view = view(&plan, 1);
    for (seconds, gets) in [(0, 1), (129, 1), (1, 2), (129, 2), (200, 3)] {
        tokio::time::advance(Duration::from_secs(seconds)).await;
        let reader = bodies.reader(view.clone(), LIMIT, until());
        assert_eq!(data(&reader.list().await.unwrap()), ["xxx"]);
        assert_eq!(script.gets(), gets, "after {seconds} s more");
    }
}

#[tokio::test(start_paused = true)]
async fn s6_what_nobody_reads_any_more_gives_its_memory_back() {
    let script = Script::of([]);
    let bodies = bodies(script.source(10_000), DEFAULT_BYTES);
    let view = view(&plan(&secrets(Storage::Cached)), 20);
    bodies.reader(view, LIMIT, until()).list().await.unwrap();
    assert_eq!(bodies.metrics().held, 20);
    assert!(bodies.metrics().held_bytes > 200_000);
    tokio::time::sleep(Duration::from_secs(132)).await;
    assert_eq!((bodies.metrics().held, bodies.metrics().held_bytes), (0, 0));
    // Nothing is left running for it.
    assert_eq!(Arc::strong_count(&bodies.shared), 1);
    assert!(!bodies.shared.lock().sweeping);
}

#[tokio::test(start_paused = true)]
async fn s6_the_byte_cap_holds_for_all_stores_together() {
    let script = Script::of([]);
    let cap = 50_000;
    let bodies = bodies(script.source(1_000), cap);
    let plain = plan(&secrets(Storage::Cached));
    let filtered = plan(&WatchSpec {
        keep_fields: vec!["data".to_owned()],
        ..secrets(Storage::Cached)
    });
    for plan in [&plain, &filtered, &plain] {
        let reader = bodies.reader(view(plan, 100), LIMIT, until());
        assert_eq!(reader.list().await.unwrap().len(), 100);
        let metrics = bodies.metrics();
        assert!(metrics.held_bytes <= cap, "{metrics:?}");
        assert!(metrics.held_bytes > cap - 2_000, "{metrics:?}");
    }
    assert_eq!(script.gets(), 300);
    let metrics = bodies.metrics();
    assert_eq!(metrics.evicted, 300 - metrics.held as u64);
}

#[tokio::test(start_paused = true)]
async fn s6_an_answer_that_is_too_large_is_noticed_before_everything_is_fetched_p1() {
    let script = Script::of([]);
    let bodies = bodies(script.source(1_000), DEFAULT_BYTES);
    let view = view(&plan(&secrets(Storage::Cached)), 1_000);
    let reader = bodies.reader(view, 10_000, until());
    assert_eq!(reader.list().await, Err(ReadError::TooLarge(10_000)));
    assert!(script.gets() <= 9 + CONCURRENT_GETS, "{}", script.gets());
    // In pages it can be read: as many as fit, and the rest after them.
    let (mut cursor, mut read) = (None, 0);
    loop {
        let (page, next) = reader.page(cursor.as_deref(), 100).await.unwrap();
        assert!((1..=9).contains(&page.len()), "{}", page.len());
        read += page.len();
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(read, 1_000);
    // But not when one object alone is larger.
    let narrow = bodies.reader(view_of(10), 900, until());
    assert_eq!(narrow.page(None, 3).await, Err(ReadError::TooLarge(900)));
}

fn view_of(count: usize) -> StoreView {
    view(&plan(&secrets(Storage::Cached)), count)
}

#[tokio::test(start_paused = true)]
async fn s6_what_may_pass_is_tried_again_four_times_with_pauses() {
    let good = || Step::Serve(Duration::ZERO);
    for (steps, gets, millis) in [
        (vec![Step::Status(500, None), good()], 2, 100),
        (vec![Step::Status(503, Some(1)), good()], 2, 1_000),
        (vec![Step::Status(429, None), Step::Broken, good()], 3, 300),
        (vec![Step::Silent, good()], 2, 5_100),
        (
            vec![Step::Old(9), Step::Old(9), Step::Old(9), good()],
            4,
            700,
        ),
        (vec![Step::Text(502, "<html>bad gateway"), good()], 2, 100),
    ] {
        let (result, sent, took) = read_one(&steps).await;
        assert_eq!(data(&[result.unwrap().unwrap()]), ["xxx"], "{steps:?}");
        assert_eq!(sent, gets, "{steps:?}");
        assert_eq!(took, MS(millis), "{steps:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn s6_what_cannot_be_fetched_is_a_typed_error_that_says_what_and_why() {
    let four = |step: Step| vec![step; 4];
    for (steps, gets, text) in [
        (
            vec![Step::Status(403, None)],
            1,
            "secrets shop/s0: 403 Reason403: scripted",
        ),
        (
            vec![Step::Status(401, None)],
            1,
            "secrets shop/s0: 401 Reason401: scripted",
        ),
        (
            four(Step::Status(500, None)),
            4,
            "secrets shop/s0: 500 Reason500: scripted",
        ),
        (
            vec![Step::Status(429, Some(3_600))],
            1,
            "secrets shop/s0: 429 Reason429: scripted",
        ),
        (four(Step::Broken), 4, "secrets shop/s0: connection reset"),
        (
            four(Step::Silent),
            2,
            "secrets shop/s0: no answer within 5s",
        ),
        (
            four(Step::Old(9)),
            4,
            "secrets shop/s0: the server answered with version 9, older than 10, which the watch has seen",
        ),
        // Not found, but not the object: a proxy, and a resource that is not served.
        (
            vec![Step::Text(404, "404 page not found\n")],
            1,
            "secrets shop/s0: 404 404 page not found",
        ),
        (
            vec![Step::Text(
                404,
                r#"{"kind":"Status","reason":"NotFound","message":"the server could not find the requested resource","details":{}}"#,
            )],
            1,
            "secrets shop/s0: 404 NotFound: the server could not find the requested resource",
        ),
        (
            vec![Step::Text(200, "<html>\u{1b}[31mlog in")],
            1,
            "secrets shop/s0: the answer cannot be read: expected an object at byte 0",
        ),
        (
            vec![Step::Text(
                200,
                r#"{"metadata":{"namespace":"shop","name":"other"}}"#,
            )],
            1,
            "secrets shop/s0: the server answered with shop/other instead",
        ),
    ] {
        let (result, sent, took) = read_one(&steps).await;
        assert_eq!(unavailable(result), text);
        assert_eq!(sent, gets, "{text}");
        assert!(took <= PATIENCE, "{text}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn s6_an_object_that_is_gone_is_left_out_and_no_error() {
    let gone = Step::Status(404, None);
    // Servers call it so.
    let body = r#"{"kind":"Status","reason":"NotFound","message":"gone","details":{"name":"s1"}}"#;
    let good = || Step::Serve(Duration::ZERO);
    let script = Script::of([good(), Step::Text(404, body), good()]);
    let bodies = bodies(script.source(3), DEFAULT_BYTES);
    let reader = bodies.reader(view_of(3), LIMIT, until());
    let columns = reader.select(&["metadata.name"], &[]).await.unwrap();
    assert_eq!(columns, r#"[["s0","s2"]]"#);
    assert_eq!(bodies.metrics().absent, 1);
    assert_eq!(bodies.metrics().errors, 0);
    // What is gone is not remembered: it may be back.
    assert_eq!(reader.list().await.unwrap().len(), 3);
    let (result, _, _) = read_one(&[gone]).await;
    assert!(unavailable(result).contains("404 Reason404"));
    // What the store does not hold is not asked for.
    assert_eq!(reader.get_object("shop", "other").await, Ok(None));
    assert_eq!(script.gets(), 4);
}

#[tokio::test(start_paused = true)]
async fn s6_a_read_has_the_patience_of_its_callback_and_names_the_last_problem() {
    let script = Script::of([Step::Status(503, Some(1)), Step::Silent]);
    let bodies = bodies(script.source(3), DEFAULT_BYTES);
    let soon = Instant::now() + MS(1_500);
    let reader = bodies.reader(view_of(1), LIMIT, soon);
    let text = unavailable(reader.list().await);
    assert_eq!(text, "secrets shop/s0: 503 Reason503: scripted");
    assert_eq!(Instant::now(), soon);
    // Nobody waits for the GET any more: it ends.
    tokio::task::yield_now().await;
    assert_eq!(script.flying.load(Ordering::Relaxed), 0);
    assert!(bodies.shared.lock().flights.is_empty());
}

#[tokio::test(start_paused = true)]
async fn s6_a_get_that_nobody_waits_for_is_dropped_and_one_who_stays_is_served() {
    let script = Script::of([Step::Serve(MS(500))]);
    let bodies = bodies(script.source(3), DEFAULT_BYTES);
    let stays = bodies.reader(view_of(1), LIMIT, until());
    let goes = bodies.reader(view_of(1), LIMIT, Instant::now() + MS(100));
    let (served, left) = tokio::join!(stays.list(), goes.list());
    assert_eq!(data(&served.unwrap()), ["xxx"]);
    assert_eq!(unavailable(left), "secrets shop/s0: no answer within 100ms");
    assert_eq!(script.gets(), 1);
}

#[tokio::test(start_paused = true)]
async fn s6_a_get_overtaken_by_the_watch_is_neither_served_nor_kept() {
    let script = Script::of([Step::Serve(MS(500)), Step::Old(12)]);
    let bodies = bodies(script.source(3), DEFAULT_BYTES);
    let plan = plan(&secrets(Storage::Cached));
    let reader = bodies.reader(view(&plan, 1), LIMIT, until());
    let watch = async {
        tokio::time::sleep(MS(100)).await;
        let newer = WatchOutput::Applied(object(&plan, "s0", 12));
        bodies.seen(&plan, &newer);
    };
    // The GET brings version 10, which was current when it was sent.
    let (read, ()) = tokio::join!(reader.get_object("shop", "s0"), watch);
    let body = read.unwrap().unwrap();
    assert!(body.contains(r#""resourceVersion":"12""#), "{body}");
    let asked = script.asked.lock().unwrap().clone();
    let versions: Vec<_> = asked
        .iter()
        .map(|get| get.not_older_than.as_str())
        .collect();
    assert_eq!(versions, ["10", "12"]);
    // What is kept is the newer one; an older event does not drop it, a newer one does.
    for (version, held) in [(11, 1), (12, 1), (13, 0)] {
        bodies.seen(&plan, &WatchOutput::Listed(object(&plan, "s0", version)));
        assert_eq!(bodies.metrics().held, held, "{version}");
    }
}

#[tokio::test(start_paused = true)]
async fn s6_a_body_fetched_while_its_object_was_deleted_leaves_nothing_behind() {
    let script = Script::of([Step::Serve(MS(500))]);
    let bodies = bodies(script.source(3), DEFAULT_BYTES);
    let plan = plan(&secrets(Storage::Cached));
    let reader = bodies.reader(view(&plan, 1), LIMIT, until());
    let watch = async {
        tokio::time::sleep(MS(100)).await;
        let identity = haptic_core::Identity::new("shop", "s0").unwrap();
        let object = None;
        bodies.seen(&plan, &WatchOutput::Deleted { identity, object });
    };
    let (read, ()) = tokio::join!(reader.list(), watch);
    // The callback's snapshot still has it.
    assert_eq!(data(&read.unwrap()), ["xxx"]);
    assert_eq!(bodies.metrics().held, 0);
    assert!(bodies.shared.lock().flights.is_empty());
}

#[tokio::test(start_paused = true)]
async fn s6_a_ttl_of_zero_fetches_at_every_read_and_keeps_nothing() {
    let script = Script::of([]);
    let bodies = bodies(script.source(3), DEFAULT_BYTES);
    let plan = plan(&WatchSpec {
        cache_ttl: Some(Duration::ZERO),
        ..secrets(Storage::Cached)
    });
    let reader = bodies.reader(view(&plan, 2), LIMIT, until());
    for gets in [2, 4] {
        assert_eq!(reader.list().await.unwrap().len(), 2);
        assert_eq!(script.gets(), gets);
    }
    assert_eq!(bodies.metrics().held, 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever a server answers, and whenever the watch overtakes it, no body older than
    /// what its reader's snapshot saw is served, every read ends in time, and nothing is
    /// left in flight.
    #[test]
    fn s6_no_body_older_than_its_snapshot_is_ever_served(
        steps in prop::collection::vec(
            prop_oneof![
                (0..700_u64).prop_map(|ms| Step::Serve(MS(ms))),
                (5..15_u64).prop_map(Step::Old),
                Just(Step::Status(500, None)),
                Just(Step::Status(404, None)),
                Just(Step::Status(429, Some(1))),
                Just(Step::Broken),
                Just(Step::Silent),
            ],
            0..30,
        ),
        reads in prop::collection::vec((0..3_000_u64, 8..13_u64, 100..9_000_u64), 1..12),
        events in prop::collection::vec((0..3_000_u64, 8..13_u64), 0..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let script = Script::of(steps);
            let bodies = bodies(script.source(3), 2_000);
            let plan = plan(&secrets(Storage::Cached));
            let watching = events.iter().map(|&(at, version)| {
                let (bodies, plan) = (bodies.clone(), Arc::clone(&plan));
                async move {
                    tokio::time::sleep(MS(at)).await;
                    bodies.seen(&plan, &WatchOutput::Applied(object(&plan, "s0", version)));
                }
            });
            let reading = reads.iter().map(|&(at, version, patience)| {
                let (bodies, plan) = (bodies.clone(), Arc::clone(&plan));
                async move {
                    tokio::time::sleep(MS(at)).await;
                    let mut store = Store::new("secrets", plan.index_specs.clone());
                    store.apply(object(&plan, "s0", version), &mut Vec::new());
                    let view = StoreView::new(Arc::from("secrets"), store.snapshot(), None)
                        .with_cached_plan(Arc::clone(&plan));
                    let until = Instant::now() + MS(patience);
                    let read = bodies.reader(view, LIMIT, until).get_object("shop", "s0").await;
                    assert!(Instant::now() <= until);
                    if let Ok(Some(body)) = read {
                        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
                        let found = body["metadata"]["resourceVersion"].as_str().unwrap();
                        assert!(found.parse::<u64>().unwrap() >= version, "{found} < {version}");
                    }
                }
            });
            tokio::join!(
                futures_util::future::join_all(watching),
                futures_util::future::join_all(reading),
            );
            tokio::time::sleep(Duration::from_secs(200)).await;
            assert!(bodies.shared.lock().flights.is_empty());
            assert_eq!(script.flying.load(Ordering::Relaxed), 0);
            assert_eq!(bodies.metrics().held, 0);
        });
    }
}
