//! Each fault, as a client sees it.

use std::io::Read;
use std::time::Duration;

use flate2::read::{GzDecoder, MultiGzDecoder};
use haptic_cluster::{
    Cluster, Fault, How, Moment, Page, Place, Refusal, Rule, RuleId, Script, Verb, When,
};
use hyper::Method;
use serde_json::{Value, json};

use crate::client::{Answer, CONFIG_MAPS, config_map, fill, get, names, post, send, start, watch};
use crate::wire::{Ended, open};

const STREAMING: &str =
    "watch=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";

fn always(cluster: &Cluster, fault: Fault) -> RuleId {
    cluster.faults().add(Rule::new(When::any(), fault))
}

fn watch_path(version: u64) -> String {
    format!("{CONFIG_MAPS}?watch=1&resourceVersion={version}")
}

/// A cluster whose watches from this version begin with the events of `a`, `b` and `c`.
async fn with_three_events() -> (Cluster, String) {
    let cluster = start().await;
    let before = cluster.resource_version();
    fill(&cluster, &["a", "b", "c"]);
    (cluster, watch_path(before))
}

fn event(name: &str) -> String {
    format!("\"name\":\"{name}\"")
}

#[tokio::test]
async fn a_status_comes_as_it_was_written() {
    let cluster = start().await;
    let refusal = Refusal {
        retry_after: Some(u64::MAX),
        details: json!({"causes": []}),
        ..Refusal::new(429, "TooManyRequests", "please try again later")
    };
    always(&cluster, Fault::Status(refusal));
    let answer = get(&cluster, CONFIG_MAPS).await;
    assert_eq!(answer.code, 429);
    assert_eq!(answer.headers["retry-after"], "18446744073709551615");
    assert_eq!(
        answer.json(),
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "please try again later", "reason": "TooManyRequests", "code": 429,
            "details": {"causes": [], "retryAfterSeconds": u64::MAX},
        })
    );
    cluster.faults().clear();
    always(&cluster, Fault::Status(Refusal::new(500, "", "no")));
    let answer = get(&cluster, CONFIG_MAPS).await;
    assert_eq!(
        (answer.code, answer.headers.get("retry-after")),
        (500, None)
    );
}

#[tokio::test]
async fn a_status_can_be_pretty_printed() {
    let cluster = start().await;
    let refusal = Refusal {
        pretty: true,
        ..Refusal::new(500, "InternalError", "etcd is away")
    };
    always(&cluster, Fault::Status(refusal));
    let answer = get(&cluster, CONFIG_MAPS).await;
    assert_eq!(answer.json()["reason"], "InternalError");
    assert!(answer.bytes.starts_with(b"{\n  \""), "{:?}", answer.bytes);
}

#[tokio::test]
async fn a_proxy_answers_in_html() {
    let cluster = start().await;
    always(&cluster, Fault::Html { code: 502 });
    let answer = get(&cluster, CONFIG_MAPS).await;
    assert_eq!(answer.code, 502);
    assert_eq!(answer.headers["content-type"], "text/html");
    assert!(answer.bytes.starts_with(b"<html>"));
}

#[tokio::test]
async fn requests_without_a_good_token_are_401() {
    let cluster = start().await;
    let tokens = ["new".to_owned()].into();
    let rule = always(&cluster, Fault::Unauthorized { tokens });
    let with = async |value: &str| {
        let header = [("authorization", value)];
        send(&cluster, Method::GET, CONFIG_MAPS, &header, "").await
    };
    let refused: Answer = with("Bearer old").await;
    assert_eq!(
        (refused.code, refused.json()["reason"].clone()),
        (401, json!("Unauthorized"))
    );
    assert_eq!(get(&cluster, CONFIG_MAPS).await.code, 401);
    assert_eq!(with("Bearer new").await.code, 200);
    assert_eq!(cluster.faults().hits(rule), 2);
}

#[tokio::test]
async fn a_right_is_missing_for_one_verb_in_one_namespace() {
    let cluster = start().await;
    let when = When {
        namespace: Some("default".to_owned()),
        ..When::verbs([Verb::List]).resource("configmaps")
    };
    cluster
        .faults()
        .add(Rule::new(when, Fault::Forbidden { end_streams: false }));
    let refused = get(&cluster, CONFIG_MAPS).await;
    assert_eq!(refused.code, 403);
    assert_eq!(
        refused.json(),
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "configmaps is forbidden: User \"system:serviceaccount:default:haptic-host\" cannot list \
                        resource \"configmaps\" in API group \"\" in the namespace \"default\"",
            "reason": "Forbidden", "details": {"kind": "configmaps"}, "code": 403,
        })
    );
    for allowed in ["/api/v1/configmaps", "/api/v1/namespaces/default/secrets"] {
        assert_eq!(get(&cluster, allowed).await.code, 200);
    }
}

#[tokio::test]
async fn a_right_is_revoked_and_restored_while_a_watch_runs() {
    let cluster = start().await;
    let version = cluster.resource_version();
    let mut running = watch(&cluster, &watch_path(version)).await;
    let mut other = watch(&cluster, "/api/v1/secrets?watch=1").await;
    fill(&cluster, &["a"]);
    assert_eq!(running.next_name().await, "ADDED a");
    let when = When::verbs([Verb::Watch]).resource("configmaps");
    let rule = cluster
        .faults()
        .add(Rule::new(when, Fault::Forbidden { end_streams: true }));
    assert_eq!(running.next().await, None);
    assert_eq!(watch(&cluster, &watch_path(version)).await.code, 403);
    cluster.faults().remove(rule);
    let mut again = watch(&cluster, &watch_path(version)).await;
    assert_eq!(again.next_name().await, "ADDED a");
    cluster.faults().end_streams(&When::any());
    assert_eq!((again.next().await, other.next().await), (None, None));
}

#[tokio::test]
async fn a_version_expires_as_a_status() {
    let (cluster, path) = with_three_events().await;
    always(&cluster, Fault::Expired { after: None });
    let answer = get(&cluster, &path).await;
    let status = answer.json();
    assert_eq!((answer.code, &status["reason"]), (410, &json!("Expired")));
    let message = status["message"].as_str().unwrap();
    assert!(
        message.starts_with("too old resource version: "),
        "{message}"
    );
}

#[tokio::test]
async fn a_version_expires_in_the_stream() {
    let (cluster, path) = with_three_events().await;
    always(&cluster, Fault::Expired { after: Some(2) });
    let mut events = watch(&cluster, &path).await;
    assert_eq!(events.next_names(2).await, ["ADDED a", "ADDED b"]);
    let error = events.next().await.unwrap();
    assert_eq!(
        (
            &error["type"],
            &error["object"]["code"],
            &error["object"]["reason"]
        ),
        (&json!("ERROR"), &json!(410), &json!("Expired"))
    );
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn any_status_can_end_a_stream_over_several_lines_too() {
    let (cluster, path) = with_three_events().await;
    let status = Refusal {
        pretty: true,
        ..Refusal::new(500, "InternalError", "no")
    };
    always(&cluster, Fault::ErrorEvent { after: 3, status });
    let mut wire = open(&cluster, &path, "").await;
    assert_eq!(wire.end().await, Ended::Fin);
    let (body, complete) = wire.body();
    let last = body.split_inclusive('\n').skip(3).collect::<String>();
    assert!(
        last.starts_with("{\"type\":\"ERROR\",\"object\":{\n"),
        "{last}"
    );
    let event: Value = serde_json::from_str(&last).unwrap();
    assert_eq!((&event["object"]["code"], complete), (&json!(500), true));
}

#[tokio::test]
async fn a_server_that_lags_says_which_version_is_too_large() {
    let cluster = start().await;
    let version = fill(&cluster, &["a"]);
    always(&cluster, Fault::TooLargeVersion);
    let answer = get(&cluster, &watch_path(version)).await;
    let status = answer.json();
    assert_eq!(answer.code, 504);
    assert_eq!(
        status["message"],
        format!(
            "Timeout: Too large resource version: {version}, current: {}",
            version - 1
        )
    );
    assert_eq!(
        status["details"]["causes"][0]["reason"],
        "ResourceVersionTooLarge"
    );
    assert_eq!(status["details"]["retryAfterSeconds"], 1);
}

#[tokio::test]
async fn only_streaming_lists_are_refused_by_a_server_that_knows_none() {
    let cluster = start().await;
    let version = cluster.resource_version();
    for (code, reason) in [(422, "Invalid"), (400, "BadRequest")] {
        let rule = always(&cluster, Fault::RefuseStreaming { code });
        let refused = get(&cluster, &format!("{CONFIG_MAPS}?{STREAMING}")).await;
        assert_eq!(
            (refused.code, refused.json()["reason"].clone()),
            (code, json!(reason))
        );
        assert!(
            refused.json()["message"]
                .as_str()
                .unwrap()
                .contains("WatchList")
        );
        assert_eq!(watch(&cluster, &watch_path(version)).await.code, 200);
        assert_eq!(get(&cluster, CONFIG_MAPS).await.code, 200);
        assert_eq!(cluster.faults().hits(rule), 1);
        cluster.faults().remove(rule);
    }
}

#[tokio::test]
async fn the_bookmark_that_ends_a_streaming_list_is_withheld() {
    let cluster = start().await;
    fill(&cluster, &["a"]);
    always(&cluster, Fault::WithholdBookmark);
    let mut events = watch(&cluster, &format!("{CONFIG_MAPS}?{STREAMING}")).await;
    assert_eq!(events.next_name().await, "ADDED a");
    fill(&cluster, &["b"]);
    assert_eq!(events.next_name().await, "ADDED b");
}

#[tokio::test]
async fn a_continue_token_expires_between_pages() {
    let cluster = start().await;
    fill(&cluster, &["a", "b", "c"]);
    let pages = When {
        page: Some(Page::Continue),
        ..When::default()
    };
    let first = get(&cluster, &format!("{CONFIG_MAPS}?limit=1"))
        .await
        .json();
    let token = first["metadata"]["continue"].as_str().unwrap();
    let path = format!("{CONFIG_MAPS}?limit=1&continue={token}");
    for fresh in [false, true] {
        let fault = Fault::ExpireContinue { fresh };
        let rule = cluster.faults().add(Rule::new(pages.clone(), fault));
        let first = get(&cluster, &format!("{CONFIG_MAPS}?limit=1")).await;
        let refused = get(&cluster, &path).await;
        let status = refused.json();
        assert_eq!(
            (first.code, refused.code, &status["reason"]),
            (200, 410, &json!("Expired"))
        );
        cluster.faults().remove(rule);
        match status["metadata"]["continue"].as_str() {
            Some(token) if fresh => {
                let path = format!("{CONFIG_MAPS}?continue={token}");
                assert_eq!(names(&get(&cluster, &path).await.json()), ["b", "c"]);
            }
            other => assert_eq!((other, fresh), (None, false)),
        }
    }
}

#[tokio::test]
async fn rules_count_skip_and_end() {
    let cluster = start().await;
    let rule = Rule {
        skip: 1,
        times: Some(2),
        ..Rule::new(When::verbs([Verb::List]), Fault::Html { code: 503 })
    };
    let rule = cluster.faults().add(rule);
    let mut codes = Vec::new();
    for _ in 0..5 {
        codes.push(get(&cluster, CONFIG_MAPS).await.code);
    }
    assert_eq!(codes, [200, 503, 503, 200, 200]);
    assert_eq!(cluster.faults().hits(rule), 2);
    cluster.faults().clear();
    let replica = When {
        one_in: std::num::NonZeroU64::new(2),
        ..When::default()
    };
    cluster
        .faults()
        .add(Rule::new(replica, Fault::Html { code: 503 }));
    let mut codes = Vec::new();
    for _ in 0..4 {
        codes.push(get(&cluster, CONFIG_MAPS).await.code);
    }
    assert_eq!(codes, [503, 200, 503, 200]);
}

#[tokio::test]
async fn the_first_rule_that_answers_is_the_last_that_is_asked() {
    let cluster = start().await;
    let first = always(
        &cluster,
        Fault::Split {
            bytes: 3,
            seed: None,
        },
    );
    let second = always(&cluster, Fault::Html { code: 503 });
    let third = always(&cluster, Fault::Html { code: 504 });
    assert_eq!(get(&cluster, CONFIG_MAPS).await.code, 503);
    let hits = [first, second, third].map(|rule| cluster.faults().hits(rule));
    assert_eq!(hits, [1, 1, 0]);
}

#[tokio::test]
async fn the_server_stalls_before_the_headers() {
    let cluster = start().await;
    let when = When::verbs([Verb::List]);
    let (at, how) = (Place::Start, How::Stall);
    cluster
        .faults()
        .add(Rule::new(when, Fault::Break { at, how }));
    let mut wire = open(&cluster, CONFIG_MAPS, "").await;
    wire.is_stalled(&cluster).await;
    assert_eq!(wire.text(), "");
}

#[tokio::test]
async fn the_server_stalls_after_the_headers() {
    let cluster = start().await;
    let when = When::verbs([Verb::List]);
    let (at, how) = (Place::Bytes(0), How::Stall);
    cluster
        .faults()
        .add(Rule::new(when, Fault::Break { at, how }));
    let mut wire = open(&cluster, CONFIG_MAPS, "").await;
    assert!(
        wire.until("\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 200 OK\r\n")
    );
    wire.is_stalled(&cluster).await;
}

#[tokio::test]
async fn the_server_stalls_in_a_list() {
    let cluster = start().await;
    fill(&cluster, &["a"]);
    let when = When::verbs([Verb::List]);
    let (at, how) = (Place::Bytes(20), How::Stall);
    cluster
        .faults()
        .add(Rule::new(when, Fault::Break { at, how }));
    let mut wire = open(&cluster, CONFIG_MAPS, "").await;
    wire.until("14\r\n{\"kind\":\"ConfigMapLi\r\n").await;
    wire.is_stalled(&cluster).await;
}

#[tokio::test]
async fn the_server_stalls_in_the_middle_of_an_event() {
    let (cluster, path) = with_three_events().await;
    let at = Place::Event { after: 2, bytes: 9 };
    let how = How::Stall;
    always(&cluster, Fault::Break { at, how });
    let mut wire = open(&cluster, &path, "").await;
    wire.until("9\r\n{\"type\":\"\r\n").await;
    assert!(wire.text().contains(&event("b")));
    wire.is_stalled(&cluster).await;
}

#[tokio::test]
async fn white_space_trickles() {
    let (cluster, path) = with_three_events().await;
    let how = How::Trickle {
        every: Duration::from_millis(1),
    };
    let at = Place::Event { after: 1, bytes: 0 };
    always(&cluster, Fault::Break { at, how });
    let mut wire = open(&cluster, &path, "").await;
    wire.until("1\r\n \r\n1\r\n \r\n1\r\n \r\n").await;
    assert!(wire.text().contains(&event("a")) && !wire.text().contains(&event("b")));
}

#[tokio::test]
async fn a_stream_is_closed_cleanly_at_once_or_after_some_events() {
    let (cluster, path) = with_three_events().await;
    for (after, count) in [(0, 0), (2, 2)] {
        let at = Place::Event { after, bytes: 0 };
        let rule = always(&cluster, Fault::Break { at, how: How::End });
        let mut wire = open(&cluster, &path, "").await;
        assert_eq!(wire.end().await, Ended::Fin);
        let (body, complete) = wire.body();
        assert_eq!((body.lines().count(), complete), (count, true));
        cluster.faults().remove(rule);
    }
}

#[tokio::test]
async fn a_stream_is_closed_after_a_while() {
    let (cluster, path) = with_three_events().await;
    let at = Place::Millis(Duration::from_millis(5));
    always(&cluster, Fault::Break { at, how: How::End });
    let mut wire = open(&cluster, &path, "").await;
    assert_eq!(wire.end().await, Ended::Fin);
    assert!(wire.body().1);
}

#[tokio::test]
async fn the_last_line_is_truncated() {
    let (cluster, path) = with_three_events().await;
    let at = Place::Event {
        after: 2,
        bytes: 1_000_000,
    };
    always(&cluster, Fault::Break { at, how: How::End });
    let mut wire = open(&cluster, &path, "").await;
    assert_eq!(wire.end().await, Ended::Fin);
    let (body, complete) = wire.body();
    assert!(complete);
    assert!(body.contains(&event("c")) && body.ends_with('}'), "{body}");
}

#[tokio::test]
async fn the_connection_closes_in_the_middle_of_an_object() {
    let (cluster, path) = with_three_events().await;
    let at = Place::Event {
        after: 1,
        bytes: 40,
    };
    let rule = always(&cluster, Fault::Break { at, how: How::Fin });
    let mut wire = open(&cluster, &path, "").await;
    assert_eq!(wire.end().await, Ended::Fin);
    let (body, complete) = wire.body();
    assert_eq!(body.split_inclusive('\n').nth(1).unwrap().len(), 40);
    assert!(!complete);
    cluster.faults().remove(rule);
    for (at, text) in [(Place::Bytes(10), "{\"kind\":\"C"), (Place::Bytes(0), "")] {
        let rule = always(&cluster, Fault::Break { at, how: How::Fin });
        let mut wire = open(&cluster, CONFIG_MAPS, "").await;
        assert_eq!(wire.end().await, Ended::Fin);
        assert_eq!(wire.body(), (text.to_owned(), false));
        cluster.faults().remove(rule);
    }
}

#[tokio::test]
async fn the_connection_is_reset_in_the_middle_of_an_object() {
    let (cluster, path) = with_three_events().await;
    let at = Place::Event {
        after: 1,
        bytes: 40,
    };
    always(
        &cluster,
        Fault::Break {
            at,
            how: How::Reset,
        },
    );
    let mut wire = open(&cluster, &path, "").await;
    assert_eq!(wire.end().await, Ended::Reset);
    let (body, complete) = wire.body();
    assert_eq!(body.split_inclusive('\n').nth(1).unwrap().len(), 40);
    assert!(!complete);
}

#[tokio::test]
async fn the_connection_goes_before_the_headers() {
    let cluster = start().await;
    for (how, ended) in [
        (How::Fin, Ended::Fin),
        (How::End, Ended::Fin),
        (How::Reset, Ended::Reset),
    ] {
        let rule = always(
            &cluster,
            Fault::Break {
                at: Place::Start,
                how,
            },
        );
        let mut wire = open(&cluster, CONFIG_MAPS, "").await;
        assert_eq!((wire.end().await, wire.text()), (ended, String::new()));
        cluster.faults().remove(rule);
        assert_eq!(cluster.requests().last().unwrap().code, None);
    }
}

#[tokio::test]
async fn a_body_is_cut_at_every_byte() {
    let (cluster, path) = with_three_events().await;
    always(
        &cluster,
        Fault::Split {
            bytes: 1,
            seed: None,
        },
    );
    let at = Place::Event { after: 3, bytes: 0 };
    always(&cluster, Fault::Break { at, how: How::End });
    let mut wire = open(&cluster, &path, "").await;
    wire.end().await;
    let (chunks, complete) = wire.chunks();
    assert!(complete && chunks.iter().all(|chunk| chunk.len() == 1));
    assert_eq!(
        chunks
            .concat()
            .iter()
            .filter(|byte| **byte == b'\n')
            .count(),
        3
    );
}

#[tokio::test]
async fn a_body_is_cut_at_random_by_its_seed() {
    let sizes = async |seed| {
        let (cluster, path) = with_three_events().await;
        always(
            &cluster,
            Fault::Split {
                bytes: 50,
                seed: Some(seed),
            },
        );
        let at = Place::Event { after: 3, bytes: 0 };
        always(&cluster, Fault::Break { at, how: How::End });
        let mut wire = open(&cluster, &path, "").await;
        wire.end().await;
        wire.chunks().0.iter().map(Vec::len).collect::<Vec<usize>>()
    };
    let drawn: Vec<usize> = sizes(7).await;
    assert!(drawn.iter().any(|size| *size > 25) && drawn.iter().any(|size| *size < 25));
    assert_eq!(sizes(7).await, drawn);
    assert_ne!(sizes(8).await, drawn);
}

#[tokio::test]
async fn events_come_together_in_one_chunk() {
    let cluster = start().await;
    let wait = Duration::from_secs(3600);
    always(&cluster, Fault::Coalesce { events: 3, wait });
    let mut wire = open(&cluster, &watch_path(cluster.resource_version()), "").await;
    wire.until("\r\n\r\n").await;
    for name in ["a", "b", "c"] {
        fill(&cluster, &[name]);
    }
    wire.until(&event("c")).await;
    wire.until("}\n\r\n").await;
    let (chunks, _) = wire.chunks();
    let lines = chunks[0].iter().filter(|byte| **byte == b'\n').count();
    assert_eq!((chunks.len(), lines), (1, 3));
}

#[tokio::test]
async fn events_of_unknown_types_and_objects_that_are_none_are_injected() {
    let (cluster, path) = with_three_events().await;
    let odd = [
        ("SURPRISE", json!({"kind": "ConfigMap"})),
        ("ADDED", json!("text")),
        ("MODIFIED", json!(7)),
        ("DELETED", Value::Null),
        ("ADDED", json!({"kind": "ConfigMap", "apiVersion": "v1"})),
    ];
    for (event, object) in odd.clone() {
        let event = event.to_owned();
        always(
            &cluster,
            Fault::Inject {
                after: 2,
                event,
                object,
            },
        );
    }
    let mut events = watch(&cluster, &path).await;
    assert_eq!(events.next_names(2).await, ["ADDED a", "ADDED b"]);
    for (kind, object) in odd {
        assert_eq!(
            events.next().await.unwrap(),
            json!({"type": kind, "object": object})
        );
    }
    assert_eq!(events.next_name().await, "ADDED c");
}

#[tokio::test]
async fn an_item_that_is_no_object_is_injected_into_a_list() {
    let (cluster, _) = with_three_events().await;
    let fault = Fault::Inject {
        after: 1,
        event: String::new(),
        object: json!("text"),
    };
    always(&cluster, fault);
    let list = get(&cluster, CONFIG_MAPS).await.json();
    assert_eq!(list["items"][1], "text");
    assert_eq!(list["items"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn objects_of_one_name_are_large_in_streams_and_lists() {
    const LARGE: usize = 1_500_000;
    let (cluster, path) = with_three_events().await;
    let name = "b".to_owned();
    always(&cluster, Fault::Pad { name, bytes: LARGE });
    let list = get(&cluster, CONFIG_MAPS).await.json();
    let padding = |object: &Value| {
        object["metadata"]["annotations"]["padding"]
            .as_str()
            .map(str::len)
    };
    let sizes: Vec<_> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(padding)
        .collect();
    assert_eq!(sizes, [None, Some(LARGE), None]);
    let mut events = watch(&cluster, &path).await;
    for expected in sizes {
        assert_eq!(padding(&events.next().await.unwrap()["object"]), expected);
    }
}

#[tokio::test]
async fn w11_lists_and_streams_are_compressed_for_those_who_accept_it() {
    let (cluster, path) = with_three_events().await;
    let at = Place::Event { after: 3, bytes: 0 };
    always(&cluster, Fault::Break { at, how: How::End });
    let gzip = Fault::Gzip {
        members: false,
        unasked: false,
    };
    always(&cluster, gzip);
    for path in [CONFIG_MAPS, &path] {
        let mut wire = open(&cluster, path, "Accept-Encoding: gzip\r\n").await;
        wire.end().await;
        assert!(wire.head().contains("content-encoding: gzip"));
        let bytes = wire.chunks().0.concat();
        let mut text = String::new();
        GzDecoder::new(bytes.as_slice())
            .read_to_string(&mut text)
            .unwrap();
        assert!(text.contains(&event("c")), "{text}");
        let mut plain = open(&cluster, path, "").await;
        plain.end().await;
        assert!(!plain.head().contains("content-encoding"));
    }
}

#[tokio::test]
async fn w11_each_chunk_can_be_a_gzip_member_of_its_own_and_unasked_for() {
    let (cluster, path) = with_three_events().await;
    let at = Place::Event { after: 3, bytes: 0 };
    always(&cluster, Fault::Break { at, how: How::End });
    let gzip = Fault::Gzip {
        members: true,
        unasked: true,
    };
    always(&cluster, gzip);
    let mut wire = open(&cluster, &path, "").await;
    wire.end().await;
    assert!(wire.head().contains("content-encoding: gzip"));
    let (chunks, _) = wire.chunks();
    assert_eq!(chunks.len(), 3);
    for chunk in &chunks {
        let mut line = String::new();
        GzDecoder::new(chunk.as_slice())
            .read_to_string(&mut line)
            .unwrap();
        assert!(line.ends_with('\n'), "{line}");
    }
    let bytes = chunks.concat();
    let mut text = String::new();
    MultiGzDecoder::new(bytes.as_slice())
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(text.lines().count(), 3);
}

#[tokio::test]
async fn a_held_request_waits_for_its_release() {
    let cluster = start().await;
    let path = format!("{CONFIG_MAPS}/a");
    fill(&cluster, &["a"]);
    let when = || When::verbs([Verb::Get]);
    for (at, seen) in [(Moment::Arrival, "new"), (Moment::Answered, "old")] {
        cluster
            .apply(&config_map("a", &json!({"k": "old"})))
            .unwrap();
        let rule = cluster.faults().add(Rule::new(when(), Fault::Hold { at }));
        let faults = cluster.faults();
        let (answer, ()) = tokio::join!(get(&cluster, &path), async {
            faults.held(rule, 1).await;
            cluster
                .apply(&config_map("a", &json!({"k": "new"})))
                .unwrap();
            faults.release(rule);
        });
        assert_eq!(answer.json()["data"]["k"], seen, "{at:?}");
        assert_eq!(get(&cluster, &path).await.json()["data"]["k"], "new");
        faults.remove(rule);
    }
}

#[tokio::test]
async fn a_rule_that_is_removed_lets_go_what_it_holds() {
    let cluster = start().await;
    let rule = always(
        &cluster,
        Fault::Hold {
            at: Moment::Arrival,
        },
    );
    let faults = cluster.faults();
    let (answer, ()) = tokio::join!(get(&cluster, CONFIG_MAPS), async {
        faults.held(rule, 1).await;
        faults.clear();
    });
    assert_eq!(answer.code, 200);
}

#[tokio::test]
async fn an_object_is_deleted_between_list_and_watch_and_recreated_with_another_uid() {
    let cluster = start().await;
    fill(&cluster, &["a"]);
    let rule = cluster.faults().add(Rule::new(
        When::verbs([Verb::Watch]),
        Fault::Hold {
            at: Moment::Arrival,
        },
    ));
    let list = get(&cluster, CONFIG_MAPS).await.json();
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    let path = watch_path(version.parse().unwrap());
    let faults = cluster.faults();
    let (mut events, ()) = tokio::join!(watch(&cluster, &path), async {
        faults.held(rule, 1).await;
        cluster.delete("v1", "ConfigMap", None, "a").unwrap();
        fill(&cluster, &["a"]);
        faults.release(rule);
    });
    assert_eq!(events.next_name().await, "DELETED a");
    let added = events.next().await.unwrap();
    assert_eq!(added["type"], "ADDED");
    assert_ne!(
        added["object"]["metadata"]["uid"],
        list["items"][0]["metadata"]["uid"]
    );
}

#[tokio::test]
async fn requests_are_logged_with_what_they_asked_for() {
    let cluster = start().await;
    post(&cluster, CONFIG_MAPS, &config_map("a", &json!({}))).await;
    get(&cluster, "/api/v1").await;
    let path = format!("{CONFIG_MAPS}?limit=5&labelSelector=a%3Db");
    let accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    crate::client::get_as(&cluster, &path, accept).await;
    get(&cluster, &format!("{CONFIG_MAPS}/missing")).await;
    let stream = watch(
        &cluster,
        &format!("{CONFIG_MAPS}?{STREAMING}&resourceVersion=1"),
    )
    .await;
    assert_eq!(stream.code, 200);
    let seen: Vec<(Verb, String, Option<u16>)> = cluster
        .requests()
        .into_iter()
        .map(|request| (request.verb, request.name, request.code))
        .collect();
    let none = String::new;
    assert_eq!(
        seen,
        [
            (Verb::Create, none(), Some(201)),
            (Verb::Discovery, none(), Some(200)),
            (Verb::List, none(), Some(200)),
            (Verb::Get, "missing".to_owned(), Some(404)),
            (Verb::StreamingList, none(), Some(200)),
        ]
    );
    let requests = cluster.requests();
    let (list, stream) = (&requests[2], &requests[4]);
    assert_eq!(
        (list.limit, list.metadata_only, list.namespace.as_str()),
        (Some(5), true, "default")
    );
    assert_eq!(list.label_selector.as_deref(), Some("a=b"));
    assert_eq!(
        (
            stream.send_initial_events,
            stream.metadata_only,
            stream.resource_version.as_deref()
        ),
        (true, false, Some("1"))
    );
    cluster.clear_requests();
    assert_eq!(
        (cluster.requests(), cluster.forgotten_requests()),
        (vec![], 0)
    );
}

#[tokio::test]
async fn a_script_does_what_its_rules_do() {
    let cluster = start().await;
    let script = Script::parse(
        "faults:
- when: {verbs: [list], resource: configmaps}
  times: 1
  fault: {status: {code: 503, reason: ServiceUnavailable, retryAfter: 2}}
- fault: {delay: {millis: 0}}
",
    );
    let rules = cluster.faults().add_script(script.unwrap());
    let codes = [
        get(&cluster, CONFIG_MAPS).await.code,
        get(&cluster, CONFIG_MAPS).await.code,
    ];
    assert_eq!(codes, [503, 200]);
    let hits: Vec<u64> = rules
        .iter()
        .map(|rule| cluster.faults().hits(*rule))
        .collect();
    assert_eq!(hits, [1, 1]);
}
