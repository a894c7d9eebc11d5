//! P3: versions that are not taken.

use std::time::Duration;

use haptic_host::plugin::Limits;

use crate::host::{Host, Plugin, patch, version};

/// A version for another host.
fn of_another_api() -> Vec<u8> {
    let mut bytes = version(9, "well");
    patch(
        &mut bytes,
        b"haptic:plugin/callbacks@0.1.0",
        b"haptic:plugin/callbacks@7.1.0",
    );
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn p3_a_broken_version_is_refused_with_its_error_once_and_the_old_one_goes_on() {
    let limits = Limits {
        callback_time: Duration::from_secs(1),
        ..Limits::default()
    };
    let plugin = Plugin {
        max_failures: 2,
        ..Plugin::new("p", "well")
    };
    let host = Host::start(vec![plugin], limits).await;
    host.until("sync", async |host| host.known("p")).await;
    let truncated = version(9, "well")[..50_000].to_vec();
    let cases: [(&str, Vec<u8>, &[&str]); 11] = [
        ("empty", Vec::new(), &["the file is empty"]),
        ("text", b"not wasm".to_vec(), &["no WebAssembly component"]),
        ("half of it", truncated, &["does not compile"]),
        (
            "api",
            of_another_api(),
            &["cannot run here", "7.1.0", "0.1.0"],
        ),
        (
            "trap",
            version(1, "describe-traps"),
            &["describe traps on purpose"],
        ),
        (
            "loop",
            version(2, "describe-loops"),
            &["describe ran longer than its limit of 1s"],
        ),
        (
            "watch",
            version(3, "bad-watch"),
            &["watch \"bad\", index-by[0]"],
        ),
        (
            "grant",
            version(4, "secrets"),
            &["which is not allowed", "--allow declared,secrets"],
        ),
        (
            "first trap",
            version(5, "sync-traps"),
            &["its first callback traps on purpose"],
        ),
        (
            "first loop",
            version(6, "sync-loops"),
            &["on-sync-complete ran longer than its limit"],
        ),
        (
            "errors",
            version(7, "sync-errs"),
            &["its first callback errs on purpose"],
        ),
    ];
    let mut n = 0;
    for (what, bytes, words) in &cases {
        let refused = host.plugin("p").await["reload"]["refused"]
            .as_u64()
            .unwrap();
        host.replace("p", bytes);
        let plugin = host
            .until(what, async |host| {
                // The old one is told of every change meanwhile.
                n += 1;
                host.apply("a", n);
                host.knows("p", "a", n).await;
                let plugin = host.plugin("p").await;
                (plugin["reload"]["refused"].as_u64() > Some(refused)).then_some(plugin)
            })
            .await;
        let text = plugin["reload"]["refusal"]["text"].as_str().unwrap();
        for word in *words {
            assert!(text.contains(word), "{what}: {text}");
        }
        assert_eq!(
            (&plugin["broken"], &plugin["failed"]),
            (&false.into(), &0.into())
        );
        assert_eq!(host.known("p").unwrap().version, 0);
        // The same content again is not tried again.
        host.replace("p", bytes);
    }
    let (status, lines) = host.get("/readyz?verbose").await;
    assert_eq!(status, 200);
    assert!(
        lines.contains("[+]plugin p: ok; its new version is refused: "),
        "{lines}"
    );
    let (_, metrics) = host.get("/metrics").await;
    assert!(metrics.contains("haptic_plugin_version_refused{plugin=\"p\"} 1"));

    host.replace("p", &version(10, "well"));
    let plugin = host.takes("p", 1).await;
    assert_eq!(host.known("p").unwrap().version, 10);
    assert_eq!(plugin["reload"]["refused"], cases.len());
    assert_eq!(plugin["reload"]["refusal"], serde_json::Value::Null);
    assert_eq!(host.output("p", "broken"), None, "invariant 8");
    assert_eq!(host.output("p", "contradiction"), None);
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn p3_a_version_that_waits_for_its_watches_leaves_the_old_one_and_can_be_taken_back() {
    let host = Host::start(vec![Plugin::new("p", "well")], Limits::default()).await;
    host.until("sync", async |host| host.known("p")).await;
    host.replace("p", &version(1, "waits"));
    host.until("candidate", async |host| {
        let plugin = host.plugin("p").await;
        (plugin["reload"]["candidate"] == "waits for its watches").then_some(())
    })
    .await;
    host.apply("a", 1);
    host.knows("p", "a", 1).await;
    let watches = async |host: &Host| host.state().await["watches"].as_array().unwrap().len();
    assert_eq!(watches(&host).await, 2);
    assert_eq!(
        host.get("/readyz").await.0,
        200,
        "readiness does not wait for it"
    );
    // The file holds again what runs.
    host.replace("p", &version(0, "well"));
    host.until("end of the candidate", async |host| {
        let gone = host.plugin("p").await["reload"]["candidate"].is_null();
        (gone && watches(host).await == 1).then_some(())
    })
    .await;
    host.apply("a", 2);
    host.knows("p", "a", 2).await;
    assert_eq!(host.plugin("p").await["reload"]["taken"], 0);
    host.stop().await.unwrap();
}
