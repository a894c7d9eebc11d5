use std::io::Read;

use hyper::Method;
use serde_json::{Value, json};

use crate::client::{
    CONFIG_MAPS, config_map, delete, fill, get, get_as, names, send, start, start_with,
};

async fn page(cluster: &haptic_cluster::Cluster, query: &str) -> Value {
    get(cluster, &format!("{CONFIG_MAPS}?{query}")).await.json()
}

#[tokio::test]
async fn a_list_carries_the_version_and_builtin_items_no_type() {
    let cluster = start().await;
    let version = fill(&cluster, &["b", "a"]);
    let list = get(&cluster, CONFIG_MAPS).await.json();
    assert_eq!(list["kind"], "ConfigMapList");
    assert_eq!(list["apiVersion"], "v1");
    assert_eq!(
        list["metadata"],
        json!({"resourceVersion": version.to_string()})
    );
    assert_eq!(names(&list), ["a", "b"]);
    assert_eq!(list["items"][0].get("kind"), None);
    let one = get(&cluster, &format!("{CONFIG_MAPS}/a")).await.json();
    assert_eq!(
        (&one["kind"], &one["apiVersion"]),
        (&json!("ConfigMap"), &json!("v1"))
    );
}

#[tokio::test]
async fn pages_are_cut_from_one_version() {
    let cluster = start().await;
    let version = fill(&cluster, &["a", "b", "c", "d", "e"]);
    let first = page(&cluster, "limit=2").await;
    assert_eq!(names(&first), ["a", "b"]);
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    let token = first["metadata"]["continue"].as_str().unwrap();

    cluster
        .delete("v1", "ConfigMap", Some("default"), "c")
        .unwrap();
    fill(&cluster, &["bb", "f"]);
    cluster
        .apply(&config_map("d", &json!({"new": "x"})))
        .unwrap();

    let second = page(&cluster, &format!("limit=2&continue={token}")).await;
    assert_eq!(names(&second), ["c", "d"]);
    assert_eq!(second["items"][1]["data"], json!({}));
    assert_eq!(second["metadata"]["resourceVersion"], version.to_string());
    assert_eq!(second["metadata"]["remainingItemCount"], 1);
    let token = second["metadata"]["continue"].as_str().unwrap();
    let last = page(&cluster, &format!("limit=2&continue={token}")).await;
    assert_eq!(names(&last), ["e"]);
    assert_eq!(last["metadata"].get("continue"), None);
    assert_eq!(last["metadata"].get("remainingItemCount"), None);
}

#[tokio::test]
async fn a_token_from_before_a_compaction_is_410_and_offers_another() {
    let cluster = start().await;
    fill(&cluster, &["a", "b", "c"]);
    let first = page(&cluster, "limit=1").await;
    let token = first["metadata"]["continue"].as_str().unwrap();
    fill(&cluster, &["bb"]);
    cluster.compact();
    let answer = get(&cluster, &format!("{CONFIG_MAPS}?limit=1&continue={token}")).await;
    let status = answer.json();
    assert_eq!((answer.code, &status["reason"]), (410, &json!("Expired")));
    let fresh = status["metadata"]["continue"].as_str().unwrap();
    assert_eq!(
        names(&page(&cluster, &format!("continue={fresh}")).await),
        ["b", "bb", "c"]
    );
}

#[tokio::test]
async fn versions_mean_what_the_api_says() {
    let cluster = start().await;
    let before = fill(&cluster, &["a"]);
    let after = fill(&cluster, &["b"]);
    for (query, expected) in [
        (String::new(), vec!["a", "b"]),
        ("resourceVersion=0".into(), vec!["a", "b"]),
        ("resourceVersion=0&limit=1".into(), vec!["a", "b"]),
        (format!("resourceVersion={before}"), vec!["a", "b"]),
        (
            format!("resourceVersion={before}&resourceVersionMatch=NotOlderThan"),
            vec!["a", "b"],
        ),
        (
            format!("resourceVersion={before}&resourceVersionMatch=Exact"),
            vec!["a"],
        ),
        (format!("resourceVersion={before}&limit=5"), vec!["a"]),
        (
            format!("resourceVersion={after}&resourceVersionMatch=Exact"),
            vec!["a", "b"],
        ),
    ] {
        assert_eq!(names(&page(&cluster, &query).await), expected, "{query}");
    }
    cluster.compact();
    let lost = get(
        &cluster,
        &format!("{CONFIG_MAPS}?resourceVersion={before}&resourceVersionMatch=Exact"),
    )
    .await;
    assert_eq!(
        (lost.code, &lost.json()["reason"]),
        (410, &json!("Expired"))
    );
}

#[tokio::test]
async fn a_version_from_the_future_is_a_timeout_with_its_cause() {
    let cluster = start().await;
    let current = cluster.resource_version();
    let future = current + 999;
    let path = format!("{CONFIG_MAPS}?resourceVersion={future}");
    let answer = get(&cluster, &path).await;
    assert_eq!(answer.code, 504);
    assert_eq!(
        answer.json(),
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": format!("Timeout: Too large resource version: {future}, current: {current}"),
            "reason": "Timeout",
            "details": {
                "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
                "retryAfterSeconds": 1,
            },
            "code": 504,
        })
    );
    assert_eq!(answer.headers["retry-after"], "1");
}

#[tokio::test]
async fn a_request_for_the_near_future_waits_for_it() {
    let cluster =
        start_with(|options| options.fresh_wait = std::time::Duration::from_secs(10)).await;
    let next = cluster.resource_version() + 1;
    let path = format!("{CONFIG_MAPS}?resourceVersion={next}");
    let (answer, _) = tokio::join!(get(&cluster, &path), async { fill(&cluster, &["a"]) });
    assert_eq!(names(&answer.json()), ["a"]);
}

#[tokio::test]
async fn selectors_narrow_lists_and_hide_the_remaining_count() {
    let cluster = start().await;
    for (name, app) in [("a", "web"), ("b", "db"), ("c", "web")] {
        let mut object = config_map(name, &json!({}));
        object["metadata"]["labels"] = json!({"app": app});
        cluster.apply(&object).unwrap();
    }
    assert_eq!(
        names(&page(&cluster, "labelSelector=app%3Dweb").await),
        ["a", "c"]
    );
    assert_eq!(
        names(&page(&cluster, "labelSelector=app+notin+(web)").await),
        ["b"]
    );
    assert_eq!(
        names(&page(&cluster, "fieldSelector=metadata.name!=a").await),
        ["b", "c"]
    );
    let first = page(&cluster, "limit=1&labelSelector=app%3Dweb").await;
    assert_eq!(first["metadata"].get("remainingItemCount"), None);
    let token = first["metadata"]["continue"].as_str().unwrap();
    let rest = page(
        &cluster,
        &format!("limit=1&labelSelector=app%3Dweb&continue={token}"),
    )
    .await;
    assert_eq!(names(&rest), ["c"]);
    assert_eq!(rest["metadata"].get("continue"), None);
}

#[tokio::test]
async fn lists_of_all_namespaces_and_of_one() {
    let cluster = start().await;
    for namespace in ["a", "a-b", "b"] {
        let mut object = config_map("x", &json!({}));
        object["metadata"]["namespace"] = namespace.into();
        cluster.apply(&object).unwrap();
    }
    let list = get(&cluster, "/api/v1/configmaps").await.json();
    assert_eq!(names(&list).len(), 3);
    let list = get(&cluster, "/api/v1/namespaces/a/configmaps")
        .await
        .json();
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    assert_eq!(list["items"][0]["metadata"]["namespace"], "a");
}

#[tokio::test]
async fn metadata_alone_and_tables_are_served_when_asked_for() {
    let cluster = start().await;
    cluster.apply(&config_map("a", &json!({"k": "v"}))).unwrap();
    let accept =
        "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
    let list = get_as(&cluster, CONFIG_MAPS, accept).await.json();
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert_eq!(list["items"][0]["kind"], "PartialObjectMetadata");
    assert_eq!(list["items"][0].get("data"), None);
    assert_eq!(names(&list), ["a"]);

    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let table = get_as(&cluster, CONFIG_MAPS, accept).await.json();
    assert_eq!(table["kind"], "Table");
    let columns: Vec<&str> = table["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| column["name"].as_str().unwrap())
        .collect();
    assert_eq!(columns, ["Name", "Data", "Age"]);
    assert_eq!(table["rows"][0]["cells"], json!(["a", "1", "0s"]));
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
}

#[tokio::test]
async fn big_lists_are_compressed_for_those_who_ask() {
    let cluster = start().await;
    let text = "x".repeat(1_000);
    for number in 0..300 {
        cluster
            .apply(&config_map(
                &format!("c{number:03}"),
                &json!({"text": text}),
            ))
            .unwrap();
    }
    let plain = get(&cluster, CONFIG_MAPS).await;
    assert_eq!(plain.headers.get("content-encoding"), None);
    let zipped = send(
        &cluster,
        Method::GET,
        CONFIG_MAPS,
        &[("accept-encoding", "gzip")],
        "",
    )
    .await;
    assert_eq!(zipped.headers["content-encoding"], "gzip");
    assert!(zipped.bytes.len() < plain.bytes.len() / 10);
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(&zipped.bytes[..])
        .read_to_end(&mut text)
        .unwrap();
    assert_eq!(text, plain.bytes);
    let small = send(
        &cluster,
        Method::GET,
        &format!("{CONFIG_MAPS}?limit=2"),
        &[("accept-encoding", "gzip")],
        "",
    )
    .await;
    assert_eq!(small.headers.get("content-encoding"), None);
}

#[tokio::test]
async fn a_collection_is_deleted_by_selector() {
    let cluster = start().await;
    fill(&cluster, &["a", "b", "c"]);
    let answer = delete(
        &cluster,
        &format!("{CONFIG_MAPS}?fieldSelector=metadata.name!=b"),
    )
    .await;
    assert_eq!(
        (answer.code, names(&answer.json())),
        (200, vec!["a".to_owned(), "c".to_owned()])
    );
    assert_eq!(names(&page(&cluster, "").await), ["b"]);
}
