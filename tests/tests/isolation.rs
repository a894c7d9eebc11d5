//! P6: what other plugins of the same host do costs a plugin the scheduler's share and nothing
//! else. A process of its own, since some of them never end. Needs `make guests`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "the other tests use the rest of the host")]

#[path = "plugins/host.rs"]
mod host;

use std::time::Duration;

use haptic_host::plugin::Limits;

use serde_json::json;

use host::{Host, Plugin, version};

#[tokio::test(flavor = "multi_thread")]
async fn p6_plugins_that_trap_loop_leak_are_given_up_or_are_replaced_do_not_delay_another() {
    let limits = Limits {
        // Nothing that loops ends before the test does.
        callback_time: Duration::from_secs(3_600),
        memory: 32 << 20,
        ..Limits::default()
    };
    let given_up = Plugin {
        max_failures: 1,
        ..Plugin::new("given-up", "change-errs")
    };
    let others = ["change-traps", "change-loops", "change-leaks"];
    let mut plugins: Vec<Plugin> = others
        .map(|behaviour| Plugin::new(behaviour, behaviour))
        .into();
    plugins.extend([
        given_up,
        Plugin::new("replaced", "well"),
        Plugin::new("good", "well"),
    ]);
    let host = Host::start(plugins, limits).await;
    for plugin in ["good", "replaced", "given-up"].iter().chain(&others) {
        host.until("sync", async |host| host.known(plugin)).await;
    }
    // Its candidate never returns from its first callback.
    host.replace("replaced", &version(1, "sync-loops"));
    host.until("candidate", async |host| {
        let plugin = host.plugin("replaced").await;
        (plugin["reload"]["candidate"] == "is told everything").then_some(())
    })
    .await;
    for n in 1..=50 {
        host.apply("a", n);
        host.knows("good", "a", n).await;
        host.knows("replaced", "a", n).await;
    }
    for (plugin, key, value) in [
        ("change-loops", "failed", json!(0)),
        ("given-up", "broken", json!(true)),
        ("replaced", "failed", json!(0)),
        ("good", "failed", json!(0)),
    ] {
        assert_eq!(host.plugin(plugin).await[key], value, "{plugin} {key}");
    }
    // It loops to this moment, and so does the candidate.
    assert!(host.known("change-loops").unwrap().objects.is_empty());
    assert_eq!(host.plugin("replaced").await["reload"]["taken"], 0);
    for plugin in ["change-traps", "change-leaks"] {
        let failed = host.plugin(plugin).await["failed"].as_u64();
        assert!(failed > Some(0), "{plugin}");
    }
}
