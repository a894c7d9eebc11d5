use std::time::{Duration, UNIX_EPOCH};

use haptic_cluster::Clock;
use serde_json::json;

use crate::client::{
    CONFIG_MAPS, config_map, fill, get, names, start, start_with, watch, watch_as,
};

fn labelled(name: &str, app: &str) -> serde_json::Value {
    let mut object = config_map(name, &json!({}));
    object["metadata"]["labels"] = json!({"app": app});
    object
}

#[tokio::test]
async fn a_watch_tells_what_happens_after_its_version() {
    let cluster = start().await;
    let version = fill(&cluster, &["a"]);
    let mut events = watch(
        &cluster,
        &format!("{CONFIG_MAPS}?watch=1&resourceVersion={version}"),
    )
    .await;
    assert_eq!(events.code, 200);
    fill(&cluster, &["b"]);
    cluster.apply(&config_map("a", &json!({"k": "v"}))).unwrap();
    cluster.delete("v1", "ConfigMap", None, "a").unwrap();
    let added = events.next().await.unwrap();
    assert_eq!(added["type"], "ADDED");
    assert_eq!(added["object"]["kind"], "ConfigMap");
    assert_eq!(events.next_name().await, "MODIFIED a");
    let deleted = events.next().await.unwrap();
    assert_eq!(deleted["type"], "DELETED");
    assert_eq!(deleted["object"]["data"], json!({"k": "v"}));
    assert_eq!(
        deleted["object"]["metadata"]["resourceVersion"],
        cluster.resource_version().to_string()
    );
}

#[tokio::test]
async fn a_watch_without_a_version_begins_with_what_exists() {
    let cluster = start().await;
    fill(&cluster, &["b", "a"]);
    for version in ["", "&resourceVersion=0"] {
        let mut events = watch(&cluster, &format!("{CONFIG_MAPS}?watch=true{version}")).await;
        assert_eq!(events.next_names(2).await, ["ADDED a", "ADDED b"]);
    }
}

#[tokio::test]
async fn initial_events_end_with_a_marked_bookmark() {
    let cluster = start().await;
    let version = fill(&cluster, &["a", "b"]);
    let query =
        "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut events = watch(&cluster, &format!("{CONFIG_MAPS}?{query}")).await;
    assert_eq!(events.next_names(2).await, ["ADDED a", "ADDED b"]);
    let bookmark = events.next().await.unwrap();
    assert_eq!(
        bookmark,
        json!({"type": "BOOKMARK", "object": {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {
            "resourceVersion": version.to_string(),
            "creationTimestamp": null,
            "annotations": {"k8s.io/initial-events-end": "true"},
        }}})
    );
    fill(&cluster, &["c"]);
    assert_eq!(events.next_name().await, "ADDED c");
}

#[tokio::test]
async fn impossible_watch_options_are_422() {
    let cluster = start().await;
    for query in [
        "sendInitialEvents=true",
        "sendInitialEvents=true&resourceVersionMatch=Exact",
        "resourceVersionMatch=NotOlderThan&resourceVersion=1",
    ] {
        let refused = watch(&cluster, &format!("{CONFIG_MAPS}?watch=1&{query}")).await;
        assert_eq!(refused.code, 422, "{query}");
    }
    let refused = watch(
        &cluster,
        &format!("{CONFIG_MAPS}?watch=1&resourceVersion=x"),
    )
    .await;
    assert_eq!(refused.code, 400);
}

#[tokio::test]
async fn a_quiet_watch_gets_bookmarks_with_the_versions_of_others() {
    let cluster = start_with(|options| options.bookmark_interval = Duration::from_millis(20)).await;
    let version = fill(&cluster, &["a"]);
    let path =
        format!("/api/v1/secrets?watch=1&allowWatchBookmarks=true&resourceVersion={version}");
    let mut events = watch(&cluster, &path).await;
    let later = json!(fill(&cluster, &["b"]).to_string());
    loop {
        let bookmark = events.next().await.unwrap();
        assert_eq!(bookmark["type"], "BOOKMARK");
        assert_eq!(bookmark["object"]["metadata"].get("annotations"), None);
        if bookmark["object"]["metadata"]["resourceVersion"] == later {
            break;
        }
    }
}

#[tokio::test]
async fn a_watch_ends_at_its_timeout_after_a_last_bookmark() {
    let cluster = start().await;
    let version = fill(&cluster, &["a"]);
    let path = format!(
        "{CONFIG_MAPS}?watch=1&allowWatchBookmarks=true&timeoutSeconds=1&resourceVersion={version}"
    );
    let mut events = watch(&cluster, &path).await;
    let bookmark = events.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(
        bookmark["object"]["metadata"]["resourceVersion"],
        version.to_string()
    );
    assert_eq!(events.next().await, None);
    let path = format!("{CONFIG_MAPS}?watch=1&timeoutSeconds=1&resourceVersion={version}");
    assert_eq!(watch(&cluster, &path).await.next().await, None);
}

#[tokio::test]
async fn a_version_that_is_too_old_is_an_error_event() {
    let cluster = start().await;
    let version = fill(&cluster, &["a"]);
    fill(&cluster, &["b"]);
    cluster.compact();
    let mut events = watch(
        &cluster,
        &format!("{CONFIG_MAPS}?watch=1&resourceVersion={version}"),
    )
    .await;
    assert_eq!(events.code, 200);
    assert_eq!(
        events.next().await.unwrap(),
        json!({"type": "ERROR", "object": {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": format!("too old resource version: {version} ({})", cluster.resource_version()),
            "reason": "Expired", "code": 410,
        }})
    );
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn a_version_from_before_the_start_is_an_error_event() {
    let cluster = start().await;
    let first = cluster.resource_version();
    for version in [1, first - 1_000] {
        let path = format!("{CONFIG_MAPS}?watch=1&resourceVersion={version}");
        let mut events = watch(&cluster, &path).await;
        assert_eq!(events.code, 200);
        let error = events.next().await.unwrap();
        assert_eq!(error["type"], "ERROR");
        assert_eq!(error["object"]["code"], 410);
        assert_eq!(error["object"]["reason"], "Expired");
        assert_eq!(events.next().await, None);
        let path = format!("{CONFIG_MAPS}?resourceVersion={version}&resourceVersionMatch=Exact");
        assert_eq!(get(&cluster, &path).await.code, 410);
    }
}

#[tokio::test]
async fn a_watch_from_the_future_is_a_timeout_with_its_cause() {
    let cluster = start().await;
    let current = cluster.resource_version();
    let future = current + 999;
    for more in [
        "",
        "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan",
    ] {
        let path = format!("{CONFIG_MAPS}?watch=1&resourceVersion={future}{more}");
        let answer = get(&cluster, &path).await;
        assert_eq!(answer.code, 504);
        let status = answer.json();
        assert_eq!(
            status["message"],
            format!("Timeout: Too large resource version: {future}, current: {current}")
        );
        assert_eq!(
            status["details"]["causes"][0]["reason"],
            "ResourceVersionTooLarge"
        );
        assert_eq!(answer.headers["retry-after"], "1");
    }
}

#[tokio::test]
async fn a_watch_from_the_near_future_waits_for_it() {
    let cluster = start_with(|options| options.fresh_wait = Duration::from_secs(10)).await;
    let next = cluster.resource_version() + 1;
    let path = format!("{CONFIG_MAPS}?watch=1&resourceVersion={next}");
    let (mut events, _) = tokio::join!(watch(&cluster, &path), async { fill(&cluster, &["a"]) });
    assert_eq!(events.code, 200);
    fill(&cluster, &["b"]);
    assert_eq!(events.next_name().await, "ADDED b");
}

#[tokio::test]
async fn a_client_of_an_earlier_server_on_the_same_port_is_told_to_list_anew() {
    let before = start_with(|options| options.clock = Clock::System).await;
    let addr = before.addr();
    fill(&before, &["a", "b"]);
    let page = get(&before, &format!("{CONFIG_MAPS}?limit=1")).await.json();
    let token = page["metadata"]["continue"].as_str().unwrap().to_owned();
    let listed = before.resource_version();
    let path = format!("{CONFIG_MAPS}?watch=1&resourceVersion={listed}");
    let mut events = watch(&before, &path).await;
    fill(&before, &["c"]);
    let seen = events.next().await.unwrap()["object"]["metadata"]["resourceVersion"].clone();
    before.shutdown().await;
    events.closed().await;

    let after = start_with(|options| {
        options.clock = Clock::System;
        options.addr = addr;
    })
    .await;
    fill(&after, &["d"]);
    let path = format!(
        "{CONFIG_MAPS}?watch=1&resourceVersion={}",
        seen.as_str().unwrap()
    );
    let mut events = watch(&after, &path).await;
    let error = events.next().await.unwrap();
    assert_eq!(error["type"], "ERROR");
    assert_eq!(error["object"]["code"], 410);
    assert_eq!(events.next().await, None);
    let rest = get(&after, &format!("{CONFIG_MAPS}?limit=1&continue={token}")).await;
    assert_eq!(rest.code, 410);

    let list = get(&after, CONFIG_MAPS).await.json();
    assert_eq!(names(&list), ["d"]);
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    let path = format!("{CONFIG_MAPS}?watch=1&resourceVersion={version}");
    let mut events = watch(&after, &path).await;
    fill(&after, &["e"]);
    assert_eq!(events.next_name().await, "ADDED e");
}

#[tokio::test]
async fn a_server_whose_clock_was_set_back_refuses_what_clients_knew() {
    let at = |seconds| Clock::Fixed(UNIX_EPOCH + Duration::from_secs(seconds));
    let before = start_with(|options| options.clock = at(1_700_000_060)).await;
    let version = fill(&before, &["a"]);
    before.shutdown().await;
    let after = start_with(|options| options.clock = at(1_700_000_000)).await;
    let path = format!("{CONFIG_MAPS}?watch=1&resourceVersion={version}");
    assert_eq!(watch(&after, &path).await.code, 504);
}

#[tokio::test]
async fn a_watch_that_has_seen_everything_survives_a_compaction() {
    let cluster = start().await;
    let version = fill(&cluster, &["a"]);
    let mut events = watch(
        &cluster,
        &format!("{CONFIG_MAPS}?watch=1&resourceVersion={version}"),
    )
    .await;
    fill(&cluster, &["b"]);
    assert_eq!(events.next_name().await, "ADDED b");
    cluster.compact();
    fill(&cluster, &["c"]);
    assert_eq!(events.next_name().await, "ADDED c");
}

#[tokio::test]
async fn a_slow_watch_falls_out_of_the_history_and_is_told_so() {
    let cluster = start_with(|options| options.history_events = 4).await;
    let version = cluster.resource_version();
    let mut events = watch(
        &cluster,
        &format!("{CONFIG_MAPS}?watch=1&resourceVersion={version}"),
    )
    .await;
    // More than the sockets' buffers hold, so that the server has to wait for the client.
    let text = "x".repeat(1_000_000);
    for number in 0..60 {
        let data = json!({"text": text, "number": number.to_string()});
        cluster.apply(&config_map("big", &data)).unwrap();
        tokio::task::yield_now().await;
    }
    let last = loop {
        let event = events.next().await.unwrap();
        if event["type"] == "ERROR" {
            break event;
        }
    };
    assert_eq!(last["object"]["code"], 410);
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn selectors_turn_changes_into_arrivals_and_departures() {
    let cluster = start().await;
    cluster.apply(&labelled("a", "web")).unwrap();
    cluster.apply(&labelled("b", "db")).unwrap();
    let version = cluster.resource_version();
    let path = format!("{CONFIG_MAPS}?watch=1&labelSelector=app%3Dweb&resourceVersion={version}");
    let mut events = watch(&cluster, &path).await;
    cluster.apply(&labelled("b", "web")).unwrap();
    cluster.apply(&labelled("a", "db")).unwrap();
    let left = cluster.resource_version();
    cluster.delete("v1", "ConfigMap", None, "a").unwrap();
    cluster.delete("v1", "ConfigMap", None, "b").unwrap();
    assert_eq!(events.next_name().await, "ADDED b");
    let gone = events.next().await.unwrap();
    assert_eq!(gone["type"], "DELETED");
    // The object as it matched, under the version at which it no longer did.
    assert_eq!(gone["object"]["metadata"]["labels"], json!({"app": "web"}));
    assert_eq!(
        gone["object"]["metadata"]["resourceVersion"],
        left.to_string()
    );
    assert_eq!(events.next_name().await, "DELETED b");
}

#[tokio::test]
async fn one_object_is_watched_by_its_name() {
    let cluster = start().await;
    let version = fill(&cluster, &["a", "b"]);
    for path in [
        format!("{CONFIG_MAPS}/b?watch=1&resourceVersion={version}"),
        format!("{CONFIG_MAPS}?watch=1&fieldSelector=metadata.name%3Db&resourceVersion={version}"),
    ] {
        let mut events = watch(&cluster, &path).await;
        cluster
            .apply(&config_map("a", &json!({"path": path})))
            .unwrap();
        cluster
            .apply(&config_map("b", &json!({"path": path})))
            .unwrap();
        assert_eq!(events.next_name().await, "MODIFIED b");
    }
}

#[tokio::test]
async fn watches_come_as_tables_and_as_metadata_too() {
    let cluster = start().await;
    fill(&cluster, &["a", "b"]);
    let path = format!("{CONFIG_MAPS}?watch=1");
    let mut tables = watch_as(
        &cluster,
        &path,
        "application/json;as=Table;v=v1;g=meta.k8s.io",
    )
    .await;
    let first = tables.next().await.unwrap();
    assert_eq!(first["object"]["kind"], "Table");
    assert_eq!(
        first["object"]["columnDefinitions"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
    let second = tables.next().await.unwrap();
    assert_eq!(second["object"]["columnDefinitions"], json!(null));
    assert_eq!(second["object"]["rows"][0]["cells"][0], "b");
    let accept = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
    let mut metadata = watch_as(&cluster, &path, accept).await;
    let first = metadata.next().await.unwrap();
    assert_eq!(first["object"]["kind"], "PartialObjectMetadata");
    assert_eq!(first["object"].get("data"), None);
}

#[tokio::test]
async fn many_initial_objects_arrive_in_order_and_whole() {
    let cluster = start().await;
    let text = "x".repeat(10_000);
    for number in 0..50 {
        cluster
            .apply(&config_map(
                &format!("c{number:02}"),
                &json!({"text": text}),
            ))
            .unwrap();
    }
    let mut events = watch(&cluster, &format!("{CONFIG_MAPS}?watch=1")).await;
    for number in 0..50 {
        assert_eq!(events.next_name().await, format!("ADDED c{number:02}"));
    }
}
