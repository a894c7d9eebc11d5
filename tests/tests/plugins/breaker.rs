//! P2: a plugin that is given up.

use haptic_host::{config::OnFailure, plugin::Limits, run::RunError};

use crate::host::{Host, Plugin, version};

#[tokio::test(flavor = "multi_thread")]
async fn p2_a_plugin_that_is_given_up_keeps_its_outputs_is_not_ready_and_a_new_version_mends_it() {
    let plugin = Plugin {
        max_failures: 2,
        ..Plugin::new("p", "change-errs")
    };
    let host = Host::start(vec![plugin], Limits::default()).await;
    host.until("sync", async |host| host.known("p")).await;
    assert_eq!(host.get("/readyz").await.0, 200);
    host.apply("a", 1);
    host.until("open breaker", async |host| {
        (host.plugin("p").await["broken"] == true).then_some(())
    })
    .await;
    let (status, lines) = host.get("/readyz?verbose").await;
    assert_eq!(status, 503);
    let line = "[-]plugin p: failed twice in a row and was given up";
    assert!(lines.contains(line), "{lines}");
    let (_, metrics) = host.get("/metrics").await;
    assert!(metrics.contains("haptic_plugin_ready{plugin=\"p\"} 0"));
    assert!(host.known("p").unwrap().objects.is_empty(), "kept");

    host.replace("p", &version(1, "well"));
    host.knows("p", "a", 1).await;
    let plugin = host
        .until("closed breaker", async |host| {
            let plugin = host.plugin("p").await;
            (plugin["broken"] == false).then_some(plugin)
        })
        .await;
    assert_eq!(plugin["failures"], 0);
    assert_eq!(host.get("/readyz").await.0, 200);
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn p2_on_failure_exit_ends_the_host_with_the_plugins_own_words() {
    let plugin = Plugin {
        max_failures: 2,
        on_failure: OnFailure::Exit,
        ..Plugin::new("p", "change-traps")
    };
    let host = Host::start(vec![plugin], Limits::default()).await;
    host.until("sync", async |host| host.known("p")).await;
    // Its instance dies of a change, and the next one is told everything: what it writes is
    // right again, and it has not recovered.
    host.apply("a", 1);
    host.knows("p", "a", 1).await;
    assert_eq!(host.plugin("p").await["failures"], 1);
    host.apply("a", 2);
    assert_eq!(host.end().await.unwrap_err().exit_code(), 1);

    let plugin = Plugin {
        max_failures: 2,
        on_failure: OnFailure::Exit,
        ..Plugin::new("p", "sync-traps")
    };
    let host = Host::start(vec![Plugin::new("q", "well"), plugin], Limits::default()).await;
    let error = host.end().await.unwrap_err();
    assert_eq!(error.exit_code(), 1);
    let RunError::GivenUp {
        plugin,
        failures: 2,
        source,
    } = &error
    else {
        panic!("{error:?}");
    };
    assert_eq!(plugin, "p");
    let text = source.to_string();
    // The text of the panic, and where it was: the component has names.
    assert!(
        text.contains("its first callback traps on purpose"),
        "{text}"
    );
    assert!(text.contains("on_sync_complete"), "{text}");
}
