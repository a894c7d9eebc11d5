use hyper::Method;
use serde_json::{Value, json};

use crate::client::{CONFIG_MAPS, config_map, delete, get, patch, post, put, send, start};

#[tokio::test]
async fn a_created_object_gets_what_the_server_owns() {
    let cluster = start().await;
    let mut object = config_map("a", &json!({"k": "v"}));
    object["metadata"]["uid"] = "mine".into();
    let answer = post(&cluster, CONFIG_MAPS, &object).await;
    let created = answer.json();
    assert_eq!(answer.code, 201);
    assert_eq!(
        created["metadata"]["creationTimestamp"],
        "2023-11-14T22:13:20Z"
    );
    assert_eq!(created["metadata"]["uid"].as_str().unwrap().len(), 36);
    assert_eq!(
        created["metadata"]["resourceVersion"],
        cluster.resource_version().to_string()
    );
    assert_eq!(created["metadata"].get("generation"), None);
    assert_eq!(
        get(&cluster, &format!("{CONFIG_MAPS}/a")).await.json(),
        created
    );
}

#[tokio::test]
async fn refusals_are_statuses_of_the_real_shape() {
    let cluster = start().await;
    let missing = get(&cluster, &format!("{CONFIG_MAPS}/a")).await;
    assert_eq!(missing.code, 404);
    assert_eq!(
        missing.json(),
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "configmaps \"a\" not found", "reason": "NotFound",
            "details": {"name": "a", "kind": "configmaps"}, "code": 404,
        })
    );
    let missing = get(&cluster, "/apis/apps/v1/namespaces/default/deployments/a")
        .await
        .json();
    assert_eq!(missing["message"], "deployments.apps \"a\" not found");
    assert_eq!(
        missing["details"],
        json!({"name": "a", "group": "apps", "kind": "deployments"})
    );

    post(&cluster, CONFIG_MAPS, &config_map("a", &json!({}))).await;
    let taken = post(&cluster, CONFIG_MAPS, &config_map("a", &json!({}))).await;
    assert_eq!(
        (
            taken.code,
            taken.json()["reason"].clone(),
            taken.json()["message"].clone()
        ),
        (
            409,
            json!("AlreadyExists"),
            json!("configmaps \"a\" already exists")
        )
    );
    let nowhere = post(&cluster, "/api/v1/namespaces/nowhere/configmaps", &{
        let mut object = config_map("a", &json!({}));
        object["metadata"]["namespace"] = "nowhere".into();
        object
    })
    .await;
    assert_eq!(
        (nowhere.code, nowhere.json()["message"].clone()),
        (404, json!("namespaces \"nowhere\" not found"))
    );
    for (object, code) in [
        (config_map("", &json!({})), 422),
        (config_map("Bad_Name", &json!({})), 422),
        (
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}}),
            400,
        ),
        (
            json!({"apiVersion": "v2", "kind": "ConfigMap", "metadata": {"name": "x"}}),
            400,
        ),
        (
            json!({"metadata": {"name": "x", "namespace": "other"}}),
            400,
        ),
        (
            json!({"metadata": {"name": "x", "resourceVersion": "1"}}),
            400,
        ),
        (json!({"metadata": {"name": "x", "labels": {"a": 1}}}), 400),
        (
            json!({"metadata": {"name": "x", "labels": {"a": "not valid!"}}}),
            422,
        ),
        (json!({"metadata": []}), 400),
        (json!([]), 400),
    ] {
        assert_eq!(
            post(&cluster, CONFIG_MAPS, &object).await.code,
            code,
            "{object}"
        );
    }
}

#[tokio::test]
async fn names_are_generated_from_their_prefix() {
    let cluster = start().await;
    let object = json!({"metadata": {"generateName": "web-"}});
    let name = post(&cluster, CONFIG_MAPS, &object).await.json()["metadata"]["name"].clone();
    let name = name.as_str().unwrap();
    assert!(name.starts_with("web-") && name.len() == 9, "{name}");
}

#[tokio::test]
async fn an_update_with_an_old_version_is_a_conflict() {
    let cluster = start().await;
    let first = post(&cluster, CONFIG_MAPS, &config_map("a", &json!({})))
        .await
        .json();
    let path = format!("{CONFIG_MAPS}/a");
    let mut second = first.clone();
    second["data"] = json!({"k": "v"});
    assert_eq!(put(&cluster, &path, &second).await.code, 200);
    let refused = put(&cluster, &path, &first).await;
    assert_eq!(
        (refused.code, refused.json()["reason"].clone()),
        (409, json!("Conflict"))
    );
    assert!(
        refused.json()["message"]
            .as_str()
            .unwrap()
            .contains("the object has been modified")
    );
    // Without a version the last one wins.
    assert_eq!(
        put(&cluster, &path, &config_map("a", &json!({"z": "y"})))
            .await
            .code,
        200
    );
    let renamed = put(&cluster, &path, &config_map("b", &json!({}))).await;
    assert_eq!(renamed.code, 400);
    assert_eq!(
        put(
            &cluster,
            &format!("{CONFIG_MAPS}/c"),
            &config_map("c", &json!({}))
        )
        .await
        .code,
        404
    );
}

#[tokio::test]
async fn an_update_that_changes_nothing_keeps_the_version() {
    let cluster = start().await;
    let created = post(&cluster, CONFIG_MAPS, &config_map("a", &json!({"k": "v"})))
        .await
        .json();
    let version = cluster.resource_version();
    let again = put(
        &cluster,
        &format!("{CONFIG_MAPS}/a"),
        &config_map("a", &json!({"k": "v"})),
    )
    .await;
    assert_eq!(again.json(), created);
    assert_eq!(cluster.resource_version(), version);
}

fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"replicas": 2, "selector": {}, "template": {"spec": {"containers": []}}},
        "status": {"replicas": 9},
    })
}

#[tokio::test]
async fn the_status_is_written_by_its_own_endpoint_only() {
    let cluster = start().await;
    let all = "/apis/apps/v1/namespaces/default/deployments";
    let created = post(&cluster, all, &deployment()).await.json();
    assert_eq!(created.get("status"), None);
    assert_eq!(created["metadata"]["generation"], 1);

    let mut wanted = created.clone();
    wanted["status"] = json!({"replicas": 2});
    wanted["spec"]["replicas"] = 7.into();
    let updated = put(&cluster, &format!("{all}/d/status"), &wanted)
        .await
        .json();
    assert_eq!(updated["status"], json!({"replicas": 2}));
    assert_eq!(updated["spec"]["replicas"], 2);
    assert_eq!(updated["metadata"]["generation"], 1);

    let body = json!({"spec": {"replicas": 3}, "status": {"replicas": 3}});
    let patched = patch(&cluster, &format!("{all}/d"), "merge", &body)
        .await
        .json();
    assert_eq!(patched["status"], json!({"replicas": 2}));
    assert_eq!(patched["metadata"]["generation"], 2);
    let patched = patch(&cluster, &format!("{all}/d/status"), "merge", &body)
        .await
        .json();
    assert_eq!(patched["status"], json!({"replicas": 3}));
    assert_eq!(patched["metadata"]["generation"], 2);
    let labelled = json!({"metadata": {"labels": {"a": "b"}}});
    let patched = patch(&cluster, &format!("{all}/d"), "merge", &labelled)
        .await
        .json();
    assert_eq!(patched["metadata"]["generation"], 2);

    assert_eq!(
        get(&cluster, &format!("{CONFIG_MAPS}/a/status")).await.code,
        404
    );
}

#[tokio::test]
async fn replicas_are_scaled_through_their_subresource() {
    let cluster = start().await;
    let all = "/apis/apps/v1/namespaces/default/deployments";
    post(&cluster, all, &deployment()).await;
    let scale = get(&cluster, &format!("{all}/d/scale")).await.json();
    assert_eq!(
        (&scale["kind"], &scale["spec"]),
        (&json!("Scale"), &json!({"replicas": 2}))
    );
    let patched = patch(
        &cluster,
        &format!("{all}/d/scale"),
        "merge",
        &json!({"spec": {"replicas": 5}}),
    )
    .await;
    assert_eq!(patched.json()["spec"], json!({"replicas": 5}));
    assert_eq!(
        get(&cluster, &format!("{all}/d")).await.json()["spec"]["replicas"],
        5
    );
}

#[tokio::test]
async fn finalizers_hold_an_object_until_the_last_is_gone() {
    let cluster = start().await;
    let path = format!("{CONFIG_MAPS}/a");
    let mut object = config_map("a", &json!({}));
    object["metadata"]["finalizers"] = json!(["x.io/one"]);
    post(&cluster, CONFIG_MAPS, &object).await;
    let marked = delete(&cluster, &path).await.json();
    assert_eq!(marked["kind"], "ConfigMap");
    assert_eq!(
        marked["metadata"]["deletionTimestamp"],
        "2023-11-14T22:13:20Z"
    );
    let more = json!({"metadata": {"finalizers": ["x.io/one", "x.io/two"]}});
    assert_eq!(patch(&cluster, &path, "merge", &more).await.code, 422);
    let none = json!({"metadata": {"finalizers": null}});
    assert_eq!(patch(&cluster, &path, "merge", &none).await.code, 200);
    assert_eq!(get(&cluster, &path).await.code, 404);
}

#[tokio::test]
async fn a_delete_can_have_preconditions() {
    let cluster = start().await;
    let path = format!("{CONFIG_MAPS}/a");
    let created = post(&cluster, CONFIG_MAPS, &config_map("a", &json!({})))
        .await
        .json();
    for wrong in [json!({"uid": "other"}), json!({"resourceVersion": "1"})] {
        let body = json!({"preconditions": wrong}).to_string();
        assert_eq!(
            send(&cluster, Method::DELETE, &path, &[], &body).await.code,
            409
        );
    }
    let right = json!({
        "kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Foreground",
        "preconditions": {
            "uid": created["metadata"]["uid"],
            "resourceVersion": created["metadata"]["resourceVersion"],
        },
    });
    let answer = send(&cluster, Method::DELETE, &path, &[], &right.to_string()).await;
    assert_eq!(
        answer.json(),
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
            "details": {"name": "a", "kind": "configmaps", "uid": created["metadata"]["uid"]},
        })
    );
}

#[tokio::test]
async fn a_dry_run_leaves_no_trace() {
    let cluster = start().await;
    let version = cluster.resource_version();
    let dry = format!("{CONFIG_MAPS}?dryRun=All");
    let made = post(&cluster, &dry, &config_map("a", &json!({}))).await;
    assert_eq!(
        (made.code, made.json()["metadata"].get("resourceVersion")),
        (201, None)
    );
    assert_eq!(cluster.resource_version(), version);
    post(&cluster, CONFIG_MAPS, &config_map("a", &json!({}))).await;
    let path = format!("{CONFIG_MAPS}/a");
    let version = cluster.resource_version();
    let changed = patch(
        &cluster,
        &format!("{path}?dryRun=All"),
        "merge",
        &json!({"data": {"k": "v"}}),
    )
    .await;
    assert_eq!(changed.json()["data"], json!({"k": "v"}));
    assert_eq!(
        delete(&cluster, &format!("{path}?dryRun=All")).await.code,
        200
    );
    assert_eq!(cluster.resource_version(), version);
    assert_eq!(
        delete(&cluster, &format!("{path}?dryRun=Some")).await.code,
        400
    );
}

#[tokio::test]
async fn a_namespace_takes_its_content_along() {
    let cluster = start().await;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    let made = post(&cluster, "/api/v1/namespaces", &namespace)
        .await
        .json();
    assert_eq!(made["status"], json!({"phase": "Active"}));
    assert_eq!(
        made["metadata"]["labels"],
        json!({"kubernetes.io/metadata.name": "shop"})
    );
    let mut object = config_map("a", &json!({}));
    object["metadata"]["namespace"] = "shop".into();
    cluster.apply(&object).unwrap();
    object["metadata"]["name"] = "held".into();
    object["metadata"]["finalizers"] = json!(["x.io/one"]);
    cluster.apply(&object).unwrap();

    let going = delete(&cluster, "/api/v1/namespaces/shop").await.json();
    assert_eq!(going["status"], json!({"phase": "Terminating"}));
    assert_eq!(
        get(&cluster, "/api/v1/namespaces/shop/configmaps/a")
            .await
            .code,
        404
    );
    let late = json!({"metadata": {"name": "late"}});
    assert_eq!(
        post(&cluster, "/api/v1/namespaces/shop/configmaps", &late)
            .await
            .code,
        403
    );
    let release = json!({"metadata": {"finalizers": null}});
    patch(
        &cluster,
        "/api/v1/namespaces/shop/configmaps/held",
        "merge",
        &release,
    )
    .await;
    assert_eq!(get(&cluster, "/api/v1/namespaces/shop").await.code, 404);

    assert_eq!(
        delete(&cluster, "/api/v1/namespaces/default").await.code,
        403
    );
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        assert_eq!(
            get(&cluster, &format!("/api/v1/namespaces/{name}"))
                .await
                .code,
            200
        );
    }
}

#[tokio::test]
async fn plain_text_of_secrets_is_encoded() {
    let cluster = start().await;
    let secret = json!({"metadata": {"name": "s"}, "stringData": {"k": "hello"}});
    let made = post(&cluster, "/api/v1/namespaces/default/secrets", &secret)
        .await
        .json();
    assert_eq!(made["data"], json!({"k": "aGVsbG8="}));
    assert_eq!(made["type"], "Opaque");
    assert_eq!(made.get("stringData"), None);
}

#[tokio::test]
async fn leases_are_taken_by_optimistic_updates() {
    let cluster = start().await;
    let all = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    let lease = json!({"metadata": {"name": "l"}, "spec": {"holderIdentity": "a"}});
    let first = post(&cluster, all, &lease).await.json();
    let mut by_b = first.clone();
    by_b["spec"]["holderIdentity"] = "b".into();
    let mut by_c = first.clone();
    by_c["spec"]["holderIdentity"] = "c".into();
    let codes = [
        put(&cluster, &format!("{all}/l"), &by_b).await.code,
        put(&cluster, &format!("{all}/l"), &by_c).await.code,
    ];
    assert_eq!(codes, [200, 409]);
}
