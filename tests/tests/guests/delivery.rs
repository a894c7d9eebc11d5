//! C1–C4, P2: what is delivered again after a failure, and that nothing is lost in between.

use std::time::Duration;

use haptic_harness::{Callback, Harness};
use haptic_tests::guest;

use crate::{change, configmap, failure, synced};

fn lines(callbacks: &[Callback]) -> Vec<String> {
    callbacks.iter().map(ToString::to_string).collect()
}

fn delete(test: &mut Harness, name: &str) {
    test.try_delete("v1", "ConfigMap", "shop", name).unwrap();
}

#[test]
fn c4_changes_of_a_failed_callback_come_again_merged_with_newer_ones() {
    let mut test = synced(guest("err-twice"));
    let error = failure(change(&mut test, "blue"));
    assert_eq!(
        error.to_string(),
        "on-change returned an error: refused on purpose, time 1"
    );
    // While it waits for its second try: one changes again, one comes and goes, one comes.
    test.try_apply(configmap("web", "green")).unwrap();
    test.try_apply(configmap("brief", "red")).unwrap();
    delete(&mut test, "brief");
    test.try_apply(configmap("new", "red")).unwrap();
    failure(test.try_advance(Duration::from_secs(1)));
    assert!(!test.outputs().contains_key("half-written"), "invariant 8");
    delete(&mut test, "web");
    test.advance(Duration::from_secs(2));
    // C3: the numbers and the names agree, and are net since the last success.
    assert_eq!(
        test.output("report"),
        "configmaps +1 ~0 -1 initial=false\n+shop/new\n-shop/web\n"
    );
    assert_eq!(
        lines(test.callbacks()),
        [
            "+500ms configmaps on-change +0 ~1 -0: on-change returned an error: refused on purpose, time 1",
            "+1.5s configmaps on-change +1 ~1 -0: on-change returned an error: refused on purpose, time 2",
            "+3.5s configmaps on-change +1 ~0 -1",
        ]
    );
}

#[test]
fn c3_changes_that_cancel_each_other_out_are_never_delivered() {
    let mut test = synced(guest("report"));
    test.apply(configmap("brief", "red"));
    test.delete("v1", "ConfigMap", "shop", "brief");
    test.settle();
    assert_eq!(lines(test.callbacks()), Vec::<String>::new());
}

#[test]
fn i8_a_new_resource_version_alone_is_no_change() {
    let mut test = synced(guest("report"));
    let mut same = configmap("web", "red");
    same["metadata"]["resourceVersion"] = "77".into();
    test.apply(same).settle();
    assert_eq!(lines(test.callbacks()), Vec::<String>::new());
}

#[test]
fn s2_a_recreated_object_is_deleted_and_created() {
    let mut test = synced(guest("report"));
    test.delete("v1", "ConfigMap", "shop", "web");
    test.apply(configmap("web", "red"));
    test.settle();
    assert_eq!(
        test.output("report"),
        "configmaps +1 ~0 -1 initial=false\n-shop/web\n+shop/web\n"
    );
}

#[test]
fn p2_after_a_trap_a_new_instance_is_told_of_every_synced_store() {
    let mut test = synced(guest("panic"));
    failure(change(&mut test, "blue"));
    assert_eq!(test.callbacks().len(), 1);
    test.try_advance(Duration::from_millis(999)).unwrap();
    assert_eq!(
        test.callbacks().len(),
        1,
        "the new instance comes with backoff"
    );
    test.advance(Duration::from_millis(1));
    assert_eq!(
        lines(test.callbacks()).split_off(1),
        [
            "+1.5s configmaps on-sync-complete 1",
            "+1.5s services on-sync-complete 0",
            "+1.5s settings on-resource-change absent",
        ]
    );
    // It has been told everything: the change that trapped is part of that.
    test.settle();
    assert_eq!(test.callbacks().len(), 4);
}

#[test]
fn p2_each_failure_in_a_row_doubles_the_backoff_and_a_success_ends_it() {
    let mut test = synced(guest("err"));
    failure(change(&mut test, "blue"));
    let mut waits = Vec::new();
    for _ in 0..8 {
        let before = test.callbacks().last().unwrap().at;
        failure(test.try_settle());
        waits.push((test.callbacks().last().unwrap().at - before).as_secs());
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
}

#[test]
fn c1_sync_complete_comes_before_changes_and_counts_what_is_there() {
    let mut test = guest("report").load().unwrap();
    test.given(configmap("a", "red"))
        .given(configmap("b", "red"));
    test.sync_watch("services");
    test.apply(configmap("c", "red"));
    assert_eq!(test.unsynced(), ["configmaps", "settings"]);
    test.sync();
    assert_eq!(
        lines(test.callbacks()),
        [
            "+0ns services on-sync-complete 0",
            "+0ns configmaps on-sync-complete 3",
            "+0ns settings on-resource-change absent",
        ]
    );
    let logs = test.logs();
    assert_eq!(logs[0].message, "0 objects, all synced: false");
    assert_eq!(logs[1].message, "3 objects, all synced: true");
}

#[test]
fn r1_r2_a_watch_of_one_object_has_neither_debounce_nor_store() {
    let mut settings = configmap("settings", "red");
    settings["metadata"]["namespace"] = "host".into();
    let mut test = guest("report").own_namespace("host").load().unwrap();
    test.given(settings.clone()).sync();
    test.take_callbacks();
    settings["data"]["colour"] = "blue".into();
    test.apply(&settings);
    test.delete("v1", "ConfigMap", "host", "settings");
    let told: Vec<_> = test
        .take_callbacks()
        .into_iter()
        .filter(|c| c.watch == "settings")
        .collect();
    assert_eq!(
        lines(&told),
        [
            "+0ns settings on-resource-change applied host/settings",
            "+0ns settings on-resource-change deleted host/settings",
        ]
    );
    assert!(
        test.output("object").contains("blue"),
        "a delete carries the last object"
    );
}

#[test]
fn w2_w3_objects_come_and_go_with_namespace_labels_and_fields() {
    let service = |namespace: &str, labels: serde_json::Value, kind: &str, affinity: &str| {
        serde_json::json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"namespace": namespace, "name": "web", "labels": labels},
            "spec": {"type": kind, "sessionAffinity": affinity, "ports": [{"port": 80}]},
        })
    };
    let app = || serde_json::json!({"app": "web"});
    let selected = service("shop", app(), "ClusterIP", "None");
    let mut test = guest("report").load().unwrap();
    test.given(&selected);
    test.given(service("elsewhere", app(), "ClusterIP", "None"));
    test.given(service("blog", serde_json::json!({}), "ClusterIP", "None"));
    test.sync();
    assert_eq!(test.output("synced/services"), "1\n");
    for (leaving, why) in [
        (
            service(
                "shop",
                serde_json::json!({"tier": "x"}),
                "ClusterIP",
                "None",
            ),
            "no label app",
        ),
        (
            service(
                "shop",
                serde_json::json!({"app": "a", "tier": "canary"}),
                "ClusterIP",
                "None",
            ),
            "tier",
        ),
        (
            service("shop", app(), "NodePort", "None"),
            "a field that the server selects by",
        ),
        (
            service("shop", app(), "ClusterIP", "ClientIP"),
            "a field that the host selects by",
        ),
    ] {
        test.apply(leaving).settle();
        assert_eq!(
            test.output("report"),
            "services +0 ~0 -1 initial=false\n-shop/web\n",
            "{why}"
        );
        test.apply(&selected).settle();
        assert_eq!(
            test.output("report"),
            "services +1 ~0 -0 initial=false\n+shop/web\n",
            "{why}"
        );
    }
}
