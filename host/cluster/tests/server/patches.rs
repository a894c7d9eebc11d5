use serde_json::{Value, json};

use crate::client::{CONFIG_MAPS, config_map, get, patch, post, send, start};

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

fn deployment(image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"template": {"spec": {"containers": [
            {"name": "a", "image": image, "env": [{"name": "X", "value": "1"}]},
        ]}}},
    })
}

async fn apply(
    cluster: &haptic_cluster::Cluster,
    path: &str,
    manager: &str,
    body: &Value,
) -> crate::client::Answer {
    patch(
        cluster,
        &format!("{path}?fieldManager={manager}"),
        "apply",
        body,
    )
    .await
}

fn managers(object: &Value) -> Vec<String> {
    let entries = object["metadata"]["managedFields"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    entries
        .iter()
        .map(|entry| {
            format!(
                "{} {}",
                entry["manager"].as_str().unwrap(),
                entry["operation"].as_str().unwrap()
            )
        })
        .collect()
}

#[tokio::test]
async fn each_media_type_patches_in_its_own_way() {
    let cluster = start().await;
    post(&cluster, DEPLOYMENTS, &deployment("one")).await;
    let path = format!("{DEPLOYMENTS}/d");
    let containers = |answer: &Value| answer["spec"]["template"]["spec"]["containers"].clone();

    let body = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "a", "env": [{"name": "Y", "value": "2"}]}, {"name": "b"},
    ]}}}});
    let strategic = patch(&cluster, &path, "strategic-merge", &body)
        .await
        .json();
    assert_eq!(
        containers(&strategic),
        json!([
            {"name": "a", "image": "one", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]},
            {"name": "b"},
        ])
    );
    let merged = patch(&cluster, &path, "merge", &body).await.json();
    assert_eq!(
        containers(&merged),
        body["spec"]["template"]["spec"]["containers"]
    );
    let operations = json!([{"op": "remove", "path": "/spec/template/spec/containers/0"}]);
    let patched = patch(&cluster, &path, "json", &operations).await.json();
    assert_eq!(containers(&patched), json!([{"name": "b"}]));

    assert_eq!(
        patch(
            &cluster,
            &path,
            "json",
            &json!([{"op": "test", "path": "/x", "value": 1}])
        )
        .await
        .code,
        422
    );
    assert_eq!(patch(&cluster, &path, "merge", &json!([])).await.code, 400);
    assert_eq!(
        patch(
            &cluster,
            &path,
            "merge",
            &json!({"metadata": {"name": "e"}})
        )
        .await
        .code,
        400
    );
    let unknown = send(
        &cluster,
        hyper::Method::PATCH,
        &path,
        &[("content-type", "text/plain")],
        "{}",
    )
    .await;
    assert_eq!(unknown.code, 415);
    let old = json!({"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 4}});
    assert_eq!(patch(&cluster, &path, "merge", &old).await.code, 409);
}

#[tokio::test]
async fn an_applied_object_is_made_and_then_kept() {
    let cluster = start().await;
    let path = format!("{DEPLOYMENTS}/d");
    let made = apply(&cluster, &path, "one", &deployment("x")).await;
    assert_eq!(made.code, 201);
    assert_eq!(managers(&made.json()), ["one Apply"]);
    assert_eq!(
        made.json()["metadata"]["managedFields"][0]["fieldsV1"],
        json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"a\"}": {
            ".": {},
            "f:name": {},
            "f:image": {},
            "f:env": {"k:{\"name\":\"X\"}": {".": {}, "f:name": {}, "f:value": {}}},
        }}}}}})
    );
    let again = apply(&cluster, &path, "one", &deployment("x")).await;
    assert_eq!((again.code, again.json()), (200, made.json()));
}

#[tokio::test]
async fn fields_that_are_no_longer_applied_go() {
    let cluster = start().await;
    let path = format!("{CONFIG_MAPS}/a");
    apply(
        &cluster,
        &path,
        "one",
        &config_map("a", &json!({"k": "1", "l": "2"})),
    )
    .await;
    apply(
        &cluster,
        &path,
        "two",
        &config_map("a", &json!({"l": "2", "m": "3"})),
    )
    .await;
    let left = apply(&cluster, &path, "one", &config_map("a", &json!({"n": "4"})))
        .await
        .json();
    // `k` was only theirs; `l` belongs to the other as well.
    assert_eq!(left["data"], json!({"l": "2", "m": "3", "n": "4"}));
}

#[tokio::test]
async fn a_conflict_names_the_other_manager_and_force_takes_the_field() {
    let cluster = start().await;
    let path = format!("{DEPLOYMENTS}/d");
    apply(&cluster, &path, "one", &deployment("x")).await;
    let refused = apply(&cluster, &path, "two", &deployment("y")).await;
    assert_eq!(refused.code, 409);
    let field = ".spec.template.spec.containers[name=\"a\"].image";
    assert_eq!(
        refused.json()["message"],
        format!("Apply failed with 1 conflict: conflict with \"one\": {field}")
    );
    assert_eq!(
        refused.json()["details"]["causes"],
        json!([{"reason": "FieldManagerConflict", "message": "conflict with \"one\"", "field": field}])
    );
    let forced = apply(&cluster, &path, "two&force=true", &deployment("y"))
        .await
        .json();
    assert_eq!(managers(&forced), ["one Apply", "two Apply"]);
    let kept = deployment("y")["spec"]["template"]["spec"]["containers"].clone();
    assert_eq!(forced["spec"]["template"]["spec"]["containers"], kept);
    assert_eq!(
        apply(&cluster, &path, "one", &deployment("x")).await.code,
        409
    );
}

#[tokio::test]
async fn other_writes_are_recorded_as_updates() {
    let cluster = start().await;
    let path = format!("{CONFIG_MAPS}/a");
    apply(
        &cluster,
        &path,
        "one",
        &config_map("a", &json!({"k": "1", "l": "2"})),
    )
    .await;
    let body = json!({"data": {"k": "9", "l": null}});
    let patched = patch(
        &cluster,
        &format!("{path}?fieldManager=editor"),
        "merge",
        &body,
    )
    .await
    .json();
    assert_eq!(managers(&patched), ["editor Update"]);
    let refused = apply(&cluster, &path, "one", &config_map("a", &json!({"k": "1"}))).await;
    assert_eq!(
        refused.json()["message"],
        "Apply failed with 1 conflict: conflict with \"editor\" using v1: .data.k"
    );
    // An update by the program of the User-Agent.
    let answer = send(
        &cluster,
        hyper::Method::PUT,
        &path,
        &[("user-agent", "tool/1.0 (linux)")],
        &config_map("a", &json!({"z": "0"})).to_string(),
    )
    .await;
    assert_eq!(managers(&answer.json()), ["tool Update"]);
}

#[tokio::test]
async fn writes_to_the_status_are_recorded_apart() {
    let cluster = start().await;
    post(&cluster, DEPLOYMENTS, &deployment("x")).await;
    let body = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"replicas": 9},
        "status": {"conditions": [{"type": "Available", "status": "True"}]},
    });
    let path = format!("{DEPLOYMENTS}/d/status");
    let applied = apply(&cluster, &path, "controller", &body).await.json();
    assert_eq!(applied["spec"]["replicas"], 1);
    let entries = applied["metadata"]["managedFields"].as_array().unwrap();
    let entry = entries
        .iter()
        .find(|entry| entry["manager"] == "controller")
        .unwrap();
    assert_eq!(entry["subresource"], "status");
    assert_eq!(
        entry["fieldsV1"],
        json!({"f:status": {"f:conditions": {"k:{\"type\":\"Available\"}": {".": {}, "f:type": {}, "f:status": {}}}}})
    );
}

#[tokio::test]
async fn an_apply_is_yaml_and_needs_a_manager() {
    let cluster = start().await;
    let path = format!("{CONFIG_MAPS}/a?fieldManager=one");
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  k: v\n";
    let header = [("content-type", "application/apply-patch+yaml")];
    let made = send(&cluster, hyper::Method::PATCH, &path, &header, yaml).await;
    assert_eq!(
        (made.code, made.json()["data"].clone()),
        (201, json!({"k": "v"}))
    );
    let nameless = send(
        &cluster,
        hyper::Method::PATCH,
        &format!("{CONFIG_MAPS}/a"),
        &header,
        yaml,
    )
    .await;
    assert_eq!(nameless.code, 400);
    let broken = send(&cluster, hyper::Method::PATCH, &path, &header, "a: [").await;
    assert_eq!(broken.code, 400);
}

#[tokio::test]
async fn managed_fields_can_be_reset() {
    let cluster = start().await;
    let path = format!("{CONFIG_MAPS}/a");
    apply(&cluster, &path, "one", &config_map("a", &json!({"k": "1"}))).await;
    let body = json!([{"op": "replace", "path": "/metadata/managedFields", "value": [{}]}]);
    assert_eq!(
        managers(&patch(&cluster, &path, "json", &body).await.json()),
        [""; 0]
    );
    assert_eq!(get(&cluster, &path).await.json()["data"], json!({"k": "1"}));
}
