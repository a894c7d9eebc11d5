use serde_json::{Value, json};

use crate::client::{delete, get, get_as, names, patch, post, put, start, watch};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const WIDGETS: &str = "/apis/example.io/v1/namespaces/default/widgets";

fn definition() -> Value {
    let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "size": {"type": "integer"},
            "parts": {
                "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"],
                "items": {"type": "object", "properties": {"id": {"type": "string"}, "n": {"type": "integer"}}},
            },
        }},
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    }}});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.io"},
        "spec": {
            "group": "example.io", "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"]},
            "versions": [
                {"name": "v1", "served": true, "storage": true, "schema": schema, "subresources": {"status": {}},
                 "selectableFields": [{"jsonPath": ".spec.size"}],
                 "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}]},
                {"name": "v1beta1", "served": true, "storage": false, "schema": schema},
                {"name": "v0", "served": false, "storage": false, "schema": schema},
            ],
        },
    })
}

fn widget(name: &str, size: u64) -> Value {
    json!({
        "apiVersion": "example.io/v1", "kind": "Widget",
        "metadata": {"name": name}, "spec": {"size": size},
    })
}

#[tokio::test]
async fn a_definition_is_served_at_once_in_every_served_version() {
    let cluster = start().await;
    assert_eq!(get(&cluster, WIDGETS).await.code, 404);
    let made = post(&cluster, DEFINITIONS, &definition()).await.json();
    let conditions: Vec<String> = made["status"]["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            format!(
                "{}={}",
                one["type"].as_str().unwrap(),
                one["status"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(conditions, ["NamesAccepted=True", "Established=True"]);
    assert_eq!(made["spec"]["names"]["listKind"], "WidgetList");

    assert_eq!(post(&cluster, WIDGETS, &widget("a", 3)).await.code, 201);
    let list = get(&cluster, WIDGETS).await.json();
    assert_eq!(list["kind"], "WidgetList");
    // Items of custom types carry their type.
    assert_eq!(list["items"][0]["apiVersion"], "example.io/v1");
    let beta = get(&cluster, "/apis/example.io/v1beta1/widgets")
        .await
        .json();
    assert_eq!(beta["items"][0]["apiVersion"], "example.io/v1beta1");
    assert_eq!(get(&cluster, "/apis/example.io/v0/widgets").await.code, 404);
    let group = get(&cluster, "/apis/example.io").await.json();
    assert_eq!(group["preferredVersion"]["version"], "v1");
}

#[tokio::test]
async fn a_definition_takes_its_objects_along_and_ends_their_watches() {
    let cluster = start().await;
    post(&cluster, DEFINITIONS, &definition()).await;
    post(&cluster, WIDGETS, &widget("a", 3)).await;
    let mut events = watch(&cluster, &format!("{WIDGETS}?watch=1")).await;
    assert_eq!(events.next_name().await, "ADDED a");
    delete(&cluster, &format!("{DEFINITIONS}/widgets.example.io")).await;
    assert_eq!(events.next_names(2).await, ["DELETED a", "END"]);
    assert_eq!(get(&cluster, WIDGETS).await.code, 404);
    assert_eq!(get(&cluster, "/apis/example.io").await.code, 404);
    post(&cluster, DEFINITIONS, &definition()).await;
    assert_eq!(names(&get(&cluster, WIDGETS).await.json()), [""; 0]);
}

#[tokio::test]
async fn custom_objects_follow_the_rules_of_custom_objects() {
    let cluster = start().await;
    post(&cluster, DEFINITIONS, &definition()).await;
    let mut object = widget("a", 3);
    object["spec"]["colour"] = "red".into();
    object["status"] = json!({"ready": true});
    let made = post(&cluster, WIDGETS, &object).await;
    assert_eq!(
        made.headers["warning"],
        "299 - \"unknown field \\\"spec.colour\\\"\""
    );
    assert_eq!(made.json()["spec"], json!({"size": 3}));
    assert_eq!(made.json().get("status"), None);
    let strict = post(&cluster, &format!("{WIDGETS}?fieldValidation=Strict"), &{
        let mut object = object.clone();
        object["metadata"]["name"] = "b".into();
        object
    })
    .await;
    assert_eq!(strict.code, 400);

    let path = format!("{WIDGETS}/a");
    assert_eq!(put(&cluster, &path, &widget("a", 4)).await.code, 422);
    assert_eq!(
        patch(&cluster, &path, "strategic-merge", &json!({}))
            .await
            .code,
        415
    );
    let status = patch(
        &cluster,
        &format!("{path}/status"),
        "merge",
        &json!({"status": {"ready": true}}),
    )
    .await;
    assert_eq!(status.json()["status"], json!({"ready": true}));
    assert_eq!(status.json()["metadata"]["generation"], 1);

    post(&cluster, WIDGETS, &widget("c", 5)).await;
    let found = get(&cluster, &format!("{WIDGETS}?fieldSelector=spec.size%3D5"))
        .await
        .json();
    assert_eq!(names(&found), ["c"]);
    let refused = get(
        &cluster,
        &format!("{WIDGETS}?fieldSelector=spec.colour%3Dred"),
    )
    .await;
    assert_eq!(
        refused.json()["message"],
        "field label not supported: spec.colour"
    );
    let table = get_as(
        &cluster,
        WIDGETS,
        "application/json;as=Table;v=v1;g=meta.k8s.io",
    )
    .await
    .json();
    assert_eq!(table["rows"][0]["cells"], json!(["a", 3]));
}

#[tokio::test]
async fn lists_of_custom_types_merge_as_their_schema_says() {
    let cluster = start().await;
    post(&cluster, DEFINITIONS, &definition()).await;
    let path = format!("{WIDGETS}/a");
    let with_part = |id: &str| {
        let mut object = widget("a", 1);
        object["spec"]["parts"] = json!([{"id": id, "n": 1}]);
        object
    };
    patch(
        &cluster,
        &format!("{path}?fieldManager=one"),
        "apply",
        &with_part("x"),
    )
    .await;
    let merged = patch(
        &cluster,
        &format!("{path}?fieldManager=two"),
        "apply",
        &with_part("y"),
    )
    .await
    .json();
    assert_eq!(
        merged["spec"]["parts"],
        json!([{"id": "x", "n": 1}, {"id": "y", "n": 1}])
    );
}

#[tokio::test]
async fn broken_definitions_are_refused() {
    let cluster = start().await;
    for change in [
        ("/metadata/name", json!("other.example.io")),
        ("/spec/scope", json!("Everywhere")),
        ("/spec/names/kind", json!("")),
        ("/spec/versions/0/storage", json!(false)),
    ] {
        let mut broken = definition();
        *broken.pointer_mut(change.0).unwrap() = change.1.clone();
        assert_eq!(
            post(&cluster, DEFINITIONS, &broken).await.code,
            422,
            "{change:?}"
        );
    }
}

#[tokio::test]
async fn a_kind_that_is_taken_is_not_accepted() {
    let cluster = start().await;
    post(&cluster, DEFINITIONS, &definition()).await;
    let mut second = definition();
    second["metadata"]["name"] = "gadgets.example.io".into();
    second["spec"]["names"]["plural"] = "gadgets".into();
    let made = post(&cluster, DEFINITIONS, &second).await.json();
    assert_eq!(made["status"]["conditions"][0]["status"], "False");
    assert_eq!(get(&cluster, "/apis/example.io/v1/gadgets").await.code, 404);
}

#[tokio::test]
async fn a_watch_from_before_a_type_was_made_again_is_told_so() {
    let cluster = start().await;
    post(&cluster, DEFINITIONS, &definition()).await;
    let made = post(&cluster, WIDGETS, &widget("a", 1)).await.json();
    let known = made["metadata"]["resourceVersion"].as_str().unwrap();
    delete(&cluster, &format!("{DEFINITIONS}/widgets.example.io")).await;
    let again = post(&cluster, DEFINITIONS, &definition()).await.json();
    let mut events = watch(
        &cluster,
        &format!("{WIDGETS}?watch=1&resourceVersion={known}"),
    )
    .await;
    assert_eq!(events.next().await.unwrap()["object"]["code"], 410);
    // The version of the definition itself is where a watch can begin.
    let served = again["metadata"]["resourceVersion"].as_str().unwrap();
    let path = format!("{WIDGETS}?watch=1&resourceVersion={served}");
    let mut events = watch(&cluster, &path).await;
    post(&cluster, WIDGETS, &widget("b", 1)).await;
    assert_eq!(events.next_name().await, "ADDED b");
}
