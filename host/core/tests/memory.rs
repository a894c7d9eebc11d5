//! What a store costs, and a list of what it holds already. The allocator counts for the
//! whole process: one test at a time, and nothing else beside them.

use haptic_core::{
    Time,
    decode::{Decoder, Projection},
    engine::{Engine, Outcome, StoreId},
    spec::{WatchPlan, WatchSpec},
    store::Store,
    watch::{Action, Input, Machine, StreamingPreference, WatchConfig},
};
use peak_alloc::PeakAlloc;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

static ALONE: Mutex<()> = Mutex::new(());

const COUNT: usize = 10_000;

fn plan() -> WatchPlan {
    let spec = WatchSpec {
        name: "ingresses".to_owned(),
        api_version: "networking.k8s.io/v1".to_owned(),
        resources: "ingresses".to_owned(),
        indexes: vec![("by-host".to_owned(), vec!["spec.rules[*].host".to_owned()])],
        ignore_fields: vec!["metadata.managedFields".to_owned()],
        ..WatchSpec::default()
    };
    spec.plan().expect("a valid watch")
}

/// 2.2 KB with managedFields, 1.3 KB without: three paths on each of two hosts.
fn ingress(i: usize) -> String {
    let (namespace, service) = (i % 50, i % 200);
    let paths = ["/", "/api", "/static"].map(|path| {
        format!(
            r#"{{"path":"{path}","pathType":"Prefix","backend":{{"service":{{"name":"service-{service}","port":{{"number":8080}}}}}}}}"#
        )
    });
    let rules = ["www", "shop"].map(|host| {
        format!(
            r#"{{"host":"{host}-{i}.example.org","http":{{"paths":[{}]}}}}"#,
            paths.join(",")
        )
    });
    let managed = r#""f:rules":{},"f:tls":{},"f:ingressClassName":{},"#.repeat(15);
    format!(
        r#"{{"apiVersion":"networking.k8s.io/v1","kind":"Ingress","metadata":{{"name":"shop-frontend-{i}","namespace":"team-{namespace}","uid":"9e6f2a5c-0b1d-4c3e-8f7a-{i:012}","resourceVersion":"{i}","creationTimestamp":"2026-01-01T00:00:00Z","labels":{{"app.kubernetes.io/name":"shop","app.kubernetes.io/part-of":"team-{namespace}"}},"annotations":{{"haproxy.org/check":"true","haproxy.org/timeout-server":"30s"}},"managedFields":[{{"manager":"kubectl","fieldsV1":{{{managed}"f:x":{{}}}}}}]}},"spec":{{"ingressClassName":"haproxy","tls":[{{"hosts":["www-{i}.example.org"],"secretName":"shop-{i}-tls"}}],"rules":[{}]}},"status":{{"loadBalancer":{{"ingress":[{{"ip":"10.0.0.1"}}]}}}}}}"#,
        rules.join(",")
    )
}

#[test]
fn s5_an_object_costs_at_most_a_fifth_more_than_its_filtered_json() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let plan = plan();
    let mut decoder = Decoder::new(Arc::new(Projection::new(plan.projection())));
    let mut store = Store::new("ingresses", plan.index_specs.clone());
    let before = MEMORY.current_usage();
    store.begin_list(None);
    for i in 0..COUNT {
        let decoded = decoder.decode(ingress(i).as_bytes()).expect("an object");
        store.apply(decoded.object, &mut Vec::new());
    }
    store.finish_list(None, &mut Vec::new());
    let held = MEMORY.current_usage() - before;
    let snapshot = store.snapshot();
    assert_eq!(snapshot.len(), COUNT);
    let bodies = snapshot
        .list()
        .map(|object| object.body().map_or(0, |body| body.as_str().len()));
    let json: usize = bodies.sum();
    let percent = held * 100 / json;
    println!(
        "{} bytes of JSON and {} in all an object",
        json / COUNT,
        held / COUNT
    );
    assert!(percent <= 120, "{percent} % of the filtered JSON");
}

/// A watch in pages, and the engine that it feeds.
struct Watch {
    machine: Machine,
    engine: Engine,
    store: StoreId,
    now: Time,
    sent: String,
}

impl Watch {
    fn feed(&mut self, input: Input<'_>) {
        let mut actions = Vec::new();
        self.machine.step(self.now, input, &mut actions);
        for action in actions {
            match action {
                Action::Send(request) => self.sent = request.path_and_query,
                Action::Emit { output, .. } => self.engine.watch(self.now, self.store, 0, output),
                Action::Close | Action::State(_) | Action::Note { .. } => {}
            }
        }
    }

    fn headers(&mut self, status: u16) {
        self.feed(Input::Sent);
        self.feed(Input::Headers {
            status,
            retry_after: None,
            content_type: None,
        });
    }

    /// Answers with a list of these, page after page, each object in a chunk of its own.
    fn list(&mut self, names: &[usize]) {
        for (number, page) in names.chunks(500).enumerate() {
            let last = (number + 1) * 500 >= names.len();
            let token = if last {
                String::new()
            } else {
                number.to_string()
            };
            self.headers(200);
            let head = format!(
                r#"{{"kind":"IngressList","metadata":{{"resourceVersion":"{COUNT}","continue":"{token}"}},"items":["#
            );
            self.feed(Input::Chunk(head.as_bytes()));
            for (place, i) in page.iter().enumerate() {
                let comma = if place == 0 { "" } else { "," };
                self.feed(Input::Chunk((comma.to_owned() + &ingress(*i)).as_bytes()));
            }
            self.feed(Input::Chunk(b"]}"));
            self.feed(Input::End);
        }
    }

    /// What is due is told, so that nothing is held for it.
    fn tell(&mut self) {
        self.now = self.now + Duration::from_secs(10);
        for call in self.engine.poll(self.now) {
            let plugin = call.plugin;
            drop(call);
            self.engine.finished(self.now, plugin, Outcome::Ok);
        }
    }
}

#[test]
fn w5_a_list_again_takes_no_more_than_a_page_on_top_and_leaves_nothing_behind() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let plan = plan();
    let config = WatchConfig {
        streaming: StreamingPreference::Never,
        ..WatchConfig::new(plan.resource.clone(), plan.projection())
    };
    let mut engine = Engine::new();
    let plugin = engine.add_plugin("p", &[Arc::new(plan)], "default");
    let store = engine.store_of(plugin, 0).expect("its only watch");
    let mut watch = Watch {
        machine: Machine::new(config),
        engine,
        store,
        now: Time::ZERO,
        sent: String::new(),
    };
    watch.feed(Input::Start);
    watch.headers(200);
    watch.feed(Input::Chunk(
        br#"{"resources":[{"name":"ingresses","namespaced":true,"kind":"Ingress"}]}"#,
    ));
    watch.feed(Input::End);
    let mut names: Vec<usize> = (0..COUNT).collect();
    // As the server has them: by namespace and name.
    names.sort_by_key(|i| (format!("team-{}", i % 50), format!("shop-frontend-{i}")));
    let place = |watch: &Watch, number: usize| {
        let snapshot = watch.engine.snapshot(watch.store).expect("a store");
        let body = snapshot.list().nth(number).and_then(|object| object.body());
        body.map(|body| body.as_str().as_ptr().addr())
    };
    watch.list(&names);
    watch.tell();
    let (first, steady) = (place(&watch, 4_000), MEMORY.current_usage());
    let page = 500 * ingress(0).len();
    for vanished in [0, 100] {
        names.truncate(COUNT - vanished);
        watch.headers(410);
        watch.feed(Input::End);
        watch.now = watch.machine.deadline().expect("a pause");
        watch.feed(Input::Tick);
        assert!(watch.sent.contains("limit=500"), "{}", watch.sent);
        MEMORY.reset_peak_usage();
        watch.list(&names);
        let peak = MEMORY.peak_usage().saturating_sub(steady);
        watch.tell();
        let left = MEMORY.current_usage().saturating_sub(steady);
        println!("{vanished} vanished: {peak} bytes on top, {left} left; a page has {page}");
        assert!(watch.sent.contains("watch=true"), "{}", watch.sent);
        let snapshot = watch.engine.snapshot(watch.store).expect("a store");
        assert_eq!(snapshot.len(), names.len());
        assert_eq!(
            place(&watch, 4_000),
            first,
            "unchanged objects stay where they are"
        );
        assert!(peak <= page, "{peak} bytes on top of {steady}");
        assert!(left < 16 << 10, "{left} bytes are left");
    }
}
