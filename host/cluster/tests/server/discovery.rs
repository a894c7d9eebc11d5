use serde_json::{Value, json};

use crate::client::{get, get_as, post, start};

fn named<'v>(list: &'v Value, field: &str, name: &str) -> &'v Value {
    let list = list.as_array().unwrap();
    list.iter()
        .find(|one| one[field] == name)
        .unwrap_or_else(|| panic!("no {name}"))
}

#[tokio::test]
async fn legacy_discovery_lists_groups_and_resources() {
    let cluster = start().await;
    assert_eq!(
        get(&cluster, "/api").await.json()["versions"],
        json!(["v1"])
    );
    let groups = get(&cluster, "/apis").await.json();
    let networking = named(&groups["groups"], "name", "networking.k8s.io");
    assert_eq!(
        networking["preferredVersion"]["groupVersion"],
        "networking.k8s.io/v1"
    );
    let core = get(&cluster, "/api/v1").await.json();
    assert_eq!(
        *named(&core["resources"], "name", "pods"),
        json!({
            "name": "pods", "singularName": "pod", "namespaced": true, "kind": "Pod",
            "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
            "shortNames": ["po"], "categories": ["all"],
        })
    );
    named(&core["resources"], "name", "pods/status");
    assert_eq!(get(&cluster, "/apis/nothing.io/v1").await.code, 404);
    assert_eq!(get(&cluster, "/api/v2").await.code, 404);
}

#[tokio::test]
async fn aggregated_discovery_tells_all_in_two_requests() {
    let cluster = start().await;
    for version in ["v2", "v2beta1"] {
        let accept = format!(
            "application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList,application/json"
        );
        let core = get_as(&cluster, "/api", &accept).await;
        assert_eq!(
            core.headers["content-type"],
            format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList")
        );
        assert_eq!(
            core.json()["apiVersion"],
            format!("apidiscovery.k8s.io/{version}")
        );
        let resources = core.json()["items"][0]["versions"][0]["resources"].clone();
        assert_eq!(named(&resources, "resource", "pods")["scope"], "Namespaced");
        let groups = get_as(&cluster, "/apis", &accept).await.json();
        let apps = groups["items"]
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["metadata"]["name"] == "apps");
        let resources = apps.unwrap()["versions"][0]["resources"].clone();
        let deployments = named(&resources, "resource", "deployments");
        assert_eq!(
            deployments["subresources"][0]["responseKind"],
            json!({"group": "autoscaling", "version": "v1", "kind": "Scale"})
        );
    }
}

#[tokio::test]
async fn health_version_and_openapi_answer() {
    let cluster = start().await;
    for path in ["/healthz", "/livez", "/readyz"] {
        assert_eq!(get(&cluster, path).await.bytes, "ok");
    }
    assert_eq!(get(&cluster, "/version").await.json()["major"], "1");
    let index = get(&cluster, "/openapi/v3").await.json();
    let path = index["paths"]["apis/apps/v1"]["serverRelativeURL"]
        .as_str()
        .unwrap();
    let document = get(&cluster, path).await.json();
    let operation =
        &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert_eq!(
        operation["x-kubernetes-group-version-kind"],
        json!({"group": "apps", "version": "v1", "kind": "Deployment"})
    );
    named(&operation["parameters"], "name", "fieldValidation");
    assert_eq!(get(&cluster, "/openapi/v2").await.json()["swagger"], "2.0");
    let protobuf = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    assert_eq!(
        get_as(&cluster, "/openapi/v2", protobuf).await.bytes,
        "\n\u{3}2.0"
    );
}

#[tokio::test]
async fn everything_is_allowed() {
    let cluster = start().await;
    let review = json!({"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}});
    let answer = post(
        &cluster,
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        &review,
    )
    .await;
    assert_eq!(
        (answer.code, answer.json()["status"]["allowed"].clone()),
        (201, json!(true))
    );
    let answer = post(
        &cluster,
        "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
        &json!({}),
    )
    .await;
    assert_eq!(
        answer.json()["status"]["resourceRules"][0]["verbs"],
        json!(["*"])
    );
}
