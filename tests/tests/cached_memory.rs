//! What a cached store saves (contract S6), counted by the allocator: 3,000 Secrets of
//! 32 KB. The one test of its process, so that nobody else allocates meanwhile.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use haptic_core::{
    Time,
    decode::{Decoder, Projection},
    engine::{Engine, PluginId},
    spec::{Storage, WatchSpec},
    watch::WatchOutput,
};
use haptic_host::cached::{Answer, Bodies};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const SECRETS: usize = 3_000;
const BYTES: usize = 32 << 10;
/// Of bodies that a cached store keeps.
const CACHE: usize = 8 << 20;

fn secret(i: usize) -> String {
    let data = "x".repeat(BYTES);
    format!(
        r#"{{"apiVersion":"v1","kind":"Secret","metadata":{{"name":"certificate-{i:04}","namespace":"shop","uid":"9d8c7b6a-0000-4000-8000-{i:012}","resourceVersion":"{i}"}},"data":{{"tls.crt":"{data}"}}}}"#
    )
}

/// A synced engine with one store, and the bytes that it costs.
fn synced(storage: Storage) -> (Engine, PluginId, usize) {
    let spec = WatchSpec {
        name: "secrets".to_owned(),
        api_version: "v1".to_owned(),
        resources: "secrets".to_owned(),
        storage,
        ..WatchSpec::default()
    };
    let plan = Arc::new(spec.plan().unwrap());
    let before = MEMORY.current_usage();
    let mut engine = Engine::new();
    let plugin = engine.add_plugin("plugin", &[Arc::clone(&plan)], "default");
    let store = engine.store_of(plugin, 0).unwrap();
    {
        let mut decoder = Decoder::new(Arc::new(Projection::new(plan.projection())));
        let mut tell = |output| engine.watch(Time::ZERO, store, 0, output);
        tell(WatchOutput::ListBegin);
        for i in 1..=SECRETS {
            let decoded = decoder.decode(secret(i).as_bytes()).unwrap();
            tell(WatchOutput::Listed(decoded.object));
        }
        tell(WatchOutput::ListEnd {
            resource_version: SECRETS.to_string(),
        });
    }
    let held = MEMORY.current_usage() - before;
    assert_eq!(engine.snapshot(store).unwrap().len(), SECRETS);
    (engine, plugin, held)
}

#[test]
fn s6_a_cached_store_holds_a_hundredth_of_what_a_store_in_memory_holds() {
    let (engine, _, memory) = synced(Storage::Memory);
    drop(engine);
    let (engine, plugin, cached) = synced(Storage::Cached);
    assert!(memory > SECRETS * BYTES, "{memory}");
    assert!(cached * 100 < memory, "{cached} of {memory}");

    // Read them all, by columns, so that the answer is small.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    let now = Arc::new(Mutex::new(Time::ZERO));
    let clock = Arc::clone(&now);
    let source: haptic_host::cached::Source = Arc::new(|get| {
        let number = get.identity.name().trim_start_matches("certificate-");
        let body = secret(number.parse().unwrap()).into();
        Box::pin(async move {
            Ok(Answer {
                status: 200,
                retry_after: None,
                body,
            })
        })
    });
    let bodies = Bodies::new(source, move || *clock.lock().unwrap(), CACHE);
    let view = engine.store_view(plugin, 0).unwrap();
    let before = MEMORY.current_usage();
    let (after, most) = runtime.block_on(async {
        MEMORY.reset_peak_usage();
        let until = tokio::time::Instant::now() + Duration::from_secs(60);
        let reader = bodies.reader(view, 1 << 20, until);
        let columns = reader.select(&["metadata.name"], &[]).await.unwrap();
        assert_eq!(columns.matches("certificate-").count(), SECRETS);
        drop((columns, reader));
        (MEMORY.current_usage(), MEMORY.peak_usage())
    });
    let metrics = bodies.metrics();
    assert_eq!(metrics.requests, SECRETS as u64);
    assert!(metrics.held_bytes <= CACHE);
    let (kept, most) = (after - before, most - before);
    // What is counted is what is held; while it is read, thirty-two more are under way.
    assert!(kept < CACHE + (1 << 20), "{kept}");
    assert!(most < CACHE + (4 << 20), "{most}");

    // When nobody reads for longer than the TTL, they are gone.
    *now.lock().unwrap() = Time::from_origin(Duration::from_secs(131));
    runtime.block_on(async { tokio::time::sleep(Duration::from_secs(132)).await });
    assert_eq!(bodies.metrics().held, 0);
    let idle = MEMORY.current_usage().saturating_sub(before);
    assert!(idle < 256 << 10, "{idle}");

    println!("{SECRETS} Secrets of {BYTES} bytes");
    println!("  store in memory         {memory:>12} bytes");
    println!("  cached store            {cached:>12} bytes");
    println!("  and its cache, all read {kept:>12} bytes, at most {most}");
    println!("  and its cache, idle     {idle:>12} bytes");
}
