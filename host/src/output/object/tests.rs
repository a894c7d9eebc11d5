//! Outputs in objects of the embedded cluster, over kube's client, without a socket and
//! on a clock that stands still.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use bytes::Bytes;
use haptic_cluster::{Cluster, Fault, Moment, Options, Refusal, Rule, RuleId, Verb as Asked, When};
use http_body_util::BodyExt;

use super::*;
use crate::{
    leader::tests::{leading, lose},
    output::OutputTarget,
    plugin::OutputName,
};

/// A cluster with the namespace `shop`.
fn cluster() -> Arc<Cluster> {
    let cluster = Cluster::detached(Options::default()).unwrap();
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    cluster.apply(&namespace).unwrap();
    Arc::new(cluster)
}

fn client(cluster: &Arc<Cluster>) -> Client {
    let cluster = Arc::clone(cluster);
    let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
        let cluster = Arc::clone(&cluster);
        async move {
            let (parts, body) = request.into_parts();
            let body: Bytes = body.collect().await?.to_bytes();
            let answer = cluster.call(http::Request::from_parts(parts, body)).await?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(answer)
        }
    });
    Client::new(service, "default")
}

fn sink(cluster: &Arc<Cluster>, target: &str, force: bool, hooked: bool) -> ObjectSink {
    let OutputTarget::Object(object) = target.parse().unwrap() else {
        panic!("{target} is no object");
    };
    ObjectSink::new(client(cluster), object, force, hooked)
}

fn render(cluster: &Arc<Cluster>) -> ObjectSink {
    sink(cluster, "configmap:shop/render", false, false)
}

fn outputs(files: &[(&str, &[u8])]) -> Outputs {
    files
        .iter()
        .map(|(name, content)| (OutputName::parse(name).unwrap(), content.to_vec()))
        .collect()
}

fn names(committed: &Committed) -> Vec<&str> {
    let changed = committed.changed.iter();
    changed.map(|changed| changed.name.as_str()).collect()
}

fn object(cluster: &Cluster, kind: &str) -> Value {
    cluster.get("v1", kind, Some("shop"), "render").unwrap()
}

fn map(cluster: &Cluster) -> Value {
    object(cluster, "ConfigMap")
}

/// Somebody else applies something to the ConfigMap.
async fn other(cluster: &Cluster, manager: &str, force: bool, fields: Value) {
    let mut config = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "render", "namespace": "shop"},
    });
    let more = fields.as_object().unwrap().clone();
    config.as_object_mut().unwrap().extend(more);
    let request = http::Request::patch(format!(
        "/api/v1/namespaces/shop/configmaps/render?fieldManager={manager}&force={force}"
    ))
    .header("content-type", "application/apply-patch+yaml")
    .body(Bytes::from(config.to_string()))
    .unwrap();
    let answer = cluster.call(request).await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.status());
}

fn asked(cluster: &Cluster, verb: Asked) -> usize {
    let requests = cluster.requests();
    requests.iter().filter(|asked| asked.verb == verb).count()
}

fn on(verb: Asked) -> When {
    When::verbs([verb]).resource("configmaps")
}

fn hold(cluster: &Cluster, verb: Asked, at: Moment) -> RuleId {
    let rule = Rule::new(on(verb), Fault::Hold { at }).times(1);
    cluster.faults().add(rule)
}

/// Lets others run until this is so; the clock stands still.
async fn until(mut met: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if met() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it did not happen");
}

async fn refused(sink: &mut ObjectSink, files: &[(&str, &[u8])]) -> ObjectError {
    match sink.commit(outputs(files), None).await.unwrap_err() {
        SinkError::Object { object, source } => {
            assert_eq!(object.to_string(), "ConfigMap shop/render");
            *source
        }
        other => panic!("{other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn o2_outputs_become_keys_and_only_a_change_is_sent() {
    let cluster = cluster();
    let mut sink = render(&cluster);
    let both: [(&str, &[u8]); 2] = [("a.cfg", b"one"), ("certs/x.pem", b"pem")];
    let first = sink.commit(outputs(&both), None).await.unwrap();
    assert_eq!(names(&first), ["a.cfg", "certs/x.pem"]);
    assert_eq!(first.changed[0].before, None);
    let before = map(&cluster);
    assert_eq!(
        before["data"],
        json!({"a.cfg": "one", "certs..x.pem": "pem"})
    );
    assert_eq!(before["binaryData"], Value::Null);
    let again = sink.commit(outputs(&both), None).await.unwrap();
    assert_eq!(again, Committed::default());
    assert_eq!(map(&cluster), before);
    assert_eq!(asked(&cluster, Asked::Patch), 1);
    cluster.clear_requests();
    let nothing = sink.commit(outputs(&[]), None).await.unwrap();
    assert_eq!(nothing, Committed::default());
    assert_eq!(asked(&cluster, Asked::Get), 0);
    let two = outputs(&[("a.cfg", b"two"), ("certs/x.pem", b"pem")]);
    let changed = sink.commit(two, None).await.unwrap();
    assert_eq!(names(&changed), ["a.cfg"]);
    assert_eq!(changed.changed[0].before.as_deref(), Some(&b"one"[..]));
    assert_eq!(map(&cluster)["data"]["a.cfg"], "two");
}

#[tokio::test(start_paused = true)]
async fn o2_an_output_that_is_not_written_any_more_keeps_its_key_as_a_file_stays() {
    let cluster = cluster();
    let first = outputs(&[("a", b"1"), ("b", b"\xff")]);
    render(&cluster).commit(first, None).await.unwrap();
    // Also for the next process.
    let mut sink = render(&cluster);
    sink.commit(outputs(&[("c", b"3")]), None).await.unwrap();
    let found = map(&cluster);
    assert_eq!(found["data"], json!({"a": "1", "c": "3"}));
    assert_eq!(found["binaryData"], json!({"b": "/w=="}));
}

#[tokio::test(start_paused = true)]
async fn o2_what_is_no_text_is_binary_data_and_may_become_text_again() {
    let cluster = cluster();
    let mut sink = render(&cluster);
    for (content, data, binary) in [
        (&b"\xff\x00"[..], Value::Null, json!({"a": "/wA="})),
        (b"text\0", json!({"a": "text\0"}), Value::Null),
        (b"\xff", Value::Null, json!({"a": "/w=="})),
        (b"", json!({"a": ""}), Value::Null),
    ] {
        let committed = sink.commit(outputs(&[("a", content)]), None).await.unwrap();
        assert_eq!(names(&committed), ["a"]);
        let found = map(&cluster);
        let section = |name: &str| match &found[name] {
            Value::Object(map) if map.is_empty() => Value::Null,
            other => other.clone(),
        };
        assert_eq!(section("data"), data);
        assert_eq!(section("binaryData"), binary);
    }
}

#[tokio::test(start_paused = true)]
async fn o2_a_secret_has_everything_in_its_data() {
    let cluster = cluster();
    let mut sink = sink(&cluster, "secret:shop/render", false, false);
    let files = outputs(&[("key", b"\xff"), ("text", b"hi")]);
    sink.commit(files.clone(), None).await.unwrap();
    let found = object(&cluster, "Secret");
    assert_eq!(found["data"], json!({"key": "/w==", "text": "aGk="}));
    assert_eq!(found["type"], "Opaque");
    let again = sink.commit(files, None).await.unwrap();
    assert_eq!(again, Committed::default());
    let changed = sink
        .commit(outputs(&[("text", b"ho")]), None)
        .await
        .unwrap();
    assert_eq!(changed.changed[0].before.as_deref(), Some(&b"hi"[..]));
}

#[tokio::test(start_paused = true)]
async fn o2_a_key_of_another_manager_is_a_conflict_that_names_it_until_it_is_forced() {
    let cluster = cluster();
    other(
        &cluster,
        "ops",
        false,
        json!({"data": {"a": "theirs", "b": "theirs"}}),
    )
    .await;
    let before = map(&cluster);
    let mut sink_ = render(&cluster);
    let error = refused(&mut sink_, &[("a", b"ours"), ("c", b"ours")]).await;
    assert!(
        matches!(&error, ObjectError::Conflict(owned) if owned.len() == 1),
        "{error:?}"
    );
    assert_eq!(
        error.to_string(),
        "key \"a\" belongs to field manager \"ops\": remove it there, or take it over with \
         --force-conflicts (`forceConflicts: true` in the configuration)"
    );
    assert!(!error.is_of_the_cluster());
    assert_eq!(map(&cluster), before, "nothing of the commit is there");
    let mut forcing = sink(&cluster, "configmap:shop/render", true, false);
    let files = outputs(&[("a", b"ours"), ("c", b"ours")]);
    forcing.commit(files, None).await.unwrap();
    let found = map(&cluster);
    assert_eq!(
        found["data"],
        json!({"a": "ours", "b": "theirs", "c": "ours"})
    );
    // It is ours from here on.
    sink_.commit(outputs(&[("a", b"new")]), None).await.unwrap();
    assert_eq!(map(&cluster)["data"]["a"], "new");
}

#[tokio::test(start_paused = true)]
async fn o2_what_others_put_into_the_object_is_left_alone() {
    let cluster = cluster();
    let mut sink = render(&cluster);
    sink.commit(outputs(&[("a", b"1")]), None).await.unwrap();
    let labels = json!({"name": "render", "namespace": "shop", "labels": {"team": "web"}});
    let fields = json!({"metadata": labels, "data": {"b": "theirs"}});
    other(&cluster, "ops", false, fields).await;
    sink.commit(outputs(&[("a", b"2")]), None).await.unwrap();
    let found = map(&cluster);
    assert_eq!(found["data"], json!({"a": "2", "b": "theirs"}));
    assert_eq!(found["metadata"]["labels"], json!({"team": "web"}));
    // A key that somebody else has taken over is not fetched back with the others.
    other(
        &cluster,
        "ops",
        true,
        json!({"data": {"a": "taken", "b": "theirs"}}),
    )
    .await;
    sink.commit(outputs(&[("c", b"3")]), None).await.unwrap();
    let data = json!({"a": "taken", "b": "theirs", "c": "3"});
    assert_eq!(map(&cluster)["data"], data);
    other(&cluster, "ops", true, json!({"data": {}})).await;
    assert_eq!(map(&cluster)["data"], json!({"c": "3"}), "it was not ours");
}

#[tokio::test(start_paused = true)]
async fn o2_a_change_between_reading_and_writing_is_not_lost() {
    let cluster = cluster();
    let mut sink = sink(&cluster, "configmap:shop/render", true, false);
    let first = outputs(&[("a", b"1"), ("b", b"1")]);
    sink.commit(first, None).await.unwrap();
    let held = hold(&cluster, Asked::Patch, Moment::Arrival);
    let commit = tokio::spawn(async move {
        let committed = sink.commit(outputs(&[("a", b"2")]), None).await;
        committed.map(|committed| names(&committed).join(" "))
    });
    until(|| cluster.faults().hits(held) == 1).await;
    // Even forced, what was read is not written over what is newer.
    let change = json!({"data": {"b": "newer"}});
    let request =
        http::Request::patch("/api/v1/namespaces/shop/configmaps/render?fieldManager=ops")
            .header("content-type", "application/merge-patch+json")
            .body(Bytes::from(change.to_string()))
            .unwrap();
    assert!(cluster.call(request).await.unwrap().status().is_success());
    cluster.faults().release(held);
    assert_eq!(commit.await.unwrap().unwrap(), "a");
    assert_eq!(map(&cluster)["data"], json!({"a": "2", "b": "newer"}));
}

#[tokio::test(start_paused = true)]
async fn o2_an_object_that_changes_all_the_time_is_given_up_and_said() {
    let cluster = cluster();
    let conflict = Refusal::new(409, "Conflict", "the object has been modified");
    cluster
        .faults()
        .add(Rule::new(on(Asked::Patch), Fault::Status(conflict)));
    let error = refused(&mut render(&cluster), &[("a", b"1")]).await;
    assert!(matches!(error, ObjectError::Raced(ATTEMPTS)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn o2_more_than_an_object_holds_is_refused_before_it_is_sent() {
    let cluster = cluster();
    let mut sink = render(&cluster);
    let half = vec![b'x'; LIMIT / 2];
    let both = [("a", half.as_slice()), ("b", half.as_slice())];
    sink.commit(outputs(&both), None).await.unwrap();
    cluster.clear_requests();
    // What stays counts, and what is replaced does not.
    let error = refused(&mut sink, &[("c", b"y")]).await;
    assert_eq!(
        error.to_string(),
        "it would hold 1048577 bytes, 1048576 of them in keys that this commit does not write, \
         and an object holds 1048576 at most: render less, or write to a directory"
    );
    assert_eq!(asked(&cluster, Asked::Patch), 0);
    let shorter = [("b", &half[1..]), ("c", &b"y"[..])];
    sink.commit(outputs(&shorter), None).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn o2_a_name_that_cannot_be_a_key_is_refused_before_it_is_sent() {
    let cluster = cluster();
    let error = refused(&mut render(&cluster), &[("a", b"1"), ("b/.c", b"2")]).await;
    let text = error.to_string();
    assert!(
        text.starts_with("output b/.c cannot be a key of it: `/` becomes `..`"),
        "{text}"
    );
    assert_eq!(asked(&cluster, Asked::Patch), 0);
}

#[tokio::test(start_paused = true)]
async fn o2_what_the_api_server_refuses_is_said_and_the_next_commit_tries_again() {
    let cluster = cluster();
    let mut sink = render(&cluster);
    let files: [(&str, &[u8]); 1] = [("a", b"1")];
    let unavailable = Refusal::new(503, "ServiceUnavailable", "etcd is away");
    let cases = [
        (
            Asked::Get,
            Fault::Forbidden { end_streams: false },
            "the API server does not allow to get configmaps in namespace shop; the host needs get, create and patch on it: ",
        ),
        (
            Asked::Patch,
            Fault::Forbidden { end_streams: false },
            "the API server does not allow to patch configmaps in namespace shop; ",
        ),
        (
            Asked::Patch,
            Fault::Status(unavailable),
            "the API server answered 503: etcd is away",
        ),
        (
            Asked::Get,
            Fault::Html { code: 502 },
            "the API server answered 502: <",
        ),
    ];
    for (verb, fault, sentence) in cases {
        let rule = cluster.faults().add(Rule::new(on(verb), fault));
        let error = refused(&mut sink, &files).await;
        assert!(error.to_string().starts_with(sentence), "{error}");
        assert!(error.is_of_the_cluster());
        cluster.faults().remove(rule);
    }
    let committed = sink.commit(outputs(&files), None).await.unwrap();
    assert_eq!(names(&committed), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn o2_a_namespace_that_is_missing_is_named() {
    let cluster = Arc::new(Cluster::detached(Options::default()).unwrap());
    let error = refused(&mut render(&cluster), &[("a", b"1")]).await;
    assert_eq!(
        error.to_string(),
        "there is no namespace shop: create it, or name another one in the output"
    );
}

#[tokio::test(start_paused = true)]
async fn o2_a_server_that_says_nothing_is_not_waited_for_for_ever() {
    let cluster = cluster();
    let mut sink = render(&cluster);
    for verb in [Asked::Get, Asked::Patch] {
        // It does what it is asked for, and the answer does not come.
        let held = hold(&cluster, verb, Moment::Answered);
        let error = refused(&mut sink, &[("a", b"1")]).await;
        assert!(
            matches!(error, ObjectError::Timeout { limit, .. } if limit == wire::DEADLINE),
            "{error}"
        );
        cluster.faults().remove(held);
    }
    // What came of it is seen by the next commit.
    let committed = sink.commit(outputs(&[("a", b"1")]), None).await.unwrap();
    assert_eq!(committed, Committed::default());
}

#[tokio::test(start_paused = true)]
async fn l3_what_was_read_as_the_leader_is_not_written_after_leadership_is_lost() {
    let cluster = cluster();
    let leadership = leading();
    let tenure = leadership.tenure().unwrap();
    let mut sink = render(&cluster);
    let first = outputs(&[("a", b"1")]);
    sink.commit(first, Some(&tenure)).await.unwrap();
    let held = hold(&cluster, Asked::Get, Moment::Answered);
    let commit = tokio::spawn(async move {
        let new = outputs(&[("a", b"2")]);
        sink.commit(new, Some(&tenure)).await.map(|_| ())
    });
    until(|| cluster.faults().hits(held) == 1).await;
    lose(&leadership);
    cluster.faults().release(held);
    let lost = commit.await.unwrap();
    assert!(matches!(lost, Err(SinkError::NotLeading)), "{lost:?}");
    assert_eq!(map(&cluster)["data"]["a"], "1");
}

#[tokio::test(start_paused = true)]
async fn l3_a_request_of_a_former_leader_that_arrives_late_undoes_nothing() {
    let cluster = cluster();
    let (mut former, mut next) = (render(&cluster), render(&cluster));
    former.commit(outputs(&[("a", b"1")]), None).await.unwrap();
    let held = hold(&cluster, Asked::Patch, Moment::Arrival);
    let leadership = leading();
    let tenure = leadership.tenure().unwrap();
    let late = tokio::spawn(async move {
        let late = outputs(&[("a", b"late")]);
        former.commit(late, Some(&tenure)).await.map(|_| ())
    });
    until(|| cluster.faults().hits(held) == 1).await;
    // The word is taken back while the request is on its way.
    lose(&leadership);
    next.commit(outputs(&[("a", b"next")]), None).await.unwrap();
    cluster.faults().release(held);
    let lost = late.await.unwrap();
    assert!(matches!(lost, Err(SinkError::NotLeading)), "{lost:?}");
    assert_eq!(map(&cluster)["data"]["a"], "next");
}

/// What the object says of a hook.
fn noted(cluster: &Cluster) -> Option<String> {
    let note = &map(cluster)["metadata"]["annotations"][ANNOTATION];
    note.as_str().map(str::to_owned)
}

#[tokio::test(start_paused = true)]
async fn o2_the_object_remembers_that_a_hook_is_due_until_it_has_run() {
    let cluster = cluster();
    let mut first = sink(&cluster, "configmap:shop/render", false, true);
    let files = outputs(&[("a", b"1")]);
    let debt = first.commit(files.clone(), None).await.unwrap().debt;
    let debt = debt.unwrap();
    assert_eq!(noted(&cluster).as_deref(), Some(debt.token()));
    // The host is killed; the next one renders the same.
    let mut second = sink(&cluster, "configmap:shop/render", false, true);
    let found = second.commit(files.clone(), None).await.unwrap();
    assert_eq!(found.changed, []);
    let found = found.debt.unwrap();
    assert_eq!(found.token(), debt.token());
    // A newer commit owes its own run, which the older one's end does not settle.
    let newer = second.commit(outputs(&[("a", b"2")]), None).await.unwrap();
    let newer = newer.debt.unwrap();
    second.clear(debt.token()).await.unwrap();
    assert_eq!(noted(&cluster).as_deref(), Some(newer.token()));
    second.clear(newer.token()).await.unwrap();
    assert_eq!(noted(&cluster), None);
    assert_eq!(map(&cluster)["data"]["a"], "2");
    let unchanged = second.commit(outputs(&[("a", b"2")]), None).await.unwrap();
    assert_eq!(unchanged, Committed::default());
    // The key is still ours, and can be changed.
    second.commit(outputs(&[("a", b"3")]), None).await.unwrap();
}
