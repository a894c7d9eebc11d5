//! Stories that take several steps: what the contract promises, one claim a test.

use std::time::Duration;

use super::{
    Bench, DISCOVERY, TOO_LARGE, bookmark, broken, config, event, headers, list, object, ok, reset,
    status,
};
use crate::{
    decode::{FieldRequirement, IndexPaths, MAX_KEY_BYTES},
    path::Path,
    watch::{Action, Input, StreamingPreference, WatchOutput, WatchState},
};

fn paged() -> Bench {
    let mut config = config();
    config.streaming = StreamingPreference::Never;
    Bench::resolved(config)
}

/// The first line that is a request.
fn sent(lines: &[String]) -> &str {
    lines
        .iter()
        .find(|line| line.starts_with("send"))
        .expect("no request")
}

#[test]
fn a_streaming_list_becomes_the_watch_w4() {
    let mut bench = Bench::started(config());
    assert_eq!(
        bench.answer(200, DISCOVERY),
        [
            "resolved example.com/v1 Widget namespaced=true",
            "state listing (0 objects so far)",
            "send streaming-list …/widgets?watch=true&allowWatchBookmarks=true&timeoutSeconds=T\
             &sendInitialEvents=true&resourceVersionMatch=NotOlderThan",
        ]
    );
    assert!(bench.machine.needs_list_permit());
    assert_eq!(bench.open(), ["list begins"]);
    assert_eq!(
        bench.chunk(&event("ADDED", &object("a", 3))),
        ["listed a@3"]
    );
    assert_eq!(bench.machine.resource_version(), None);
    assert_eq!(bench.machine.state(), &WatchState::Listing { received: 1 });
    assert_eq!(
        bench.chunk(&bookmark(10, true)),
        ["list ends @10", "state synced"]
    );
    assert!(!bench.machine.needs_list_permit());
    assert_eq!(
        bench.chunk(&event("MODIFIED", &object("a", 11))),
        ["applied a@11"]
    );
    assert_eq!(
        bench.chunk(&event("DELETED", &object("a", 12))),
        ["deleted shop/a at @12"]
    );
    assert_eq!(bench.machine.resource_version(), Some("12"));
}

#[test]
fn a_list_in_pages_is_one_list_with_one_version_w4() {
    let mut config = config();
    config.streaming = StreamingPreference::Never;
    config.page_size = 1;
    let mut bench = Bench::resolved(config);
    assert_eq!(
        bench.answer(200, &list(&[object("a", 3)], 10, "t/1")),
        [
            "list begins",
            "listed a@3",
            "page ends",
            "send list …/widgets?limit=1&continue=t%2F1"
        ]
    );
    assert!(bench.machine.needs_list_permit());
    assert_eq!(
        bench.answer(200, &list(&[object("b", 4)], 10, "")),
        [
            "listed b@4",
            "page ends",
            "list ends @10",
            "state synced",
            "send watch …/widgets?watch=true&allowWatchBookmarks=true&timeoutSeconds=T&resourceVersion=10",
        ]
    );
    assert!(!bench.machine.needs_list_permit());
}

#[test]
fn scope_and_selectors_are_sent_encoded_w2_w3() {
    let mut config = config();
    config.namespace = Some("shop".to_owned());
    config.name = Some("a".to_owned());
    config.label_selector = Some("tier in (a,b),!old".to_owned());
    config.field_selector = Some("spec.x!=1".to_owned());
    config.metadata_only = true;
    let mut bench = Bench::started(config);
    let lines = bench.answer(200, DISCOVERY);
    assert!(
        sent(&lines).ends_with(
            "&labelSelector=tier%20in%20%28a%2Cb%29%2C%21old\
             &fieldSelector=metadata.name%3Da%2Cspec.x%21%3D1"
        ),
        "{lines:?}"
    );
    assert!(
        sent(&lines).contains("…/namespaces/shop/widgets?"),
        "{lines:?}"
    );
}

#[test]
fn r1_a_name_without_a_namespace_is_no_object_of_a_kind_that_has_namespaces() {
    let mut config = config();
    config.name = Some("a".to_owned());
    let mut bench = Bench::started(config.clone());
    let lines = bench.answer(200, DISCOVERY);
    let text = "widgets.v1.example.com live in namespaces: a watch of one needs a namespace";
    assert!(
        lines.contains(&format!("state failing: {text}")),
        "{lines:?}"
    );
    let mut bench = Bench::started(config);
    let lines = bench.answer(200, &DISCOVERY.replace("true", "false"));
    assert!(sent(&lines).contains("…/widgets?"), "{lines:?}");
}

#[test]
fn a_namespace_is_dropped_with_a_note_when_the_kind_is_cluster_scoped_w2() {
    let mut config = config();
    config.namespace = Some("shop".to_owned());
    let mut bench = Bench::started(config);
    let lines = bench.answer(200, &DISCOVERY.replace("true", "false"));
    assert!(lines[0].starts_with("note Warn: widgets.v1.example.com is cluster-scoped"));
    assert!(sent(&lines).contains("…/widgets?"), "{lines:?}");
}

#[test]
fn what_the_server_says_about_streaming_is_remembered_w4() {
    for code in [400, 405, 406, 415, 422] {
        let mut bench = Bench::resolved(config());
        let lines = bench.answer(code, &status(code, "", "no"));
        assert!(sent(&lines).starts_with("send list"), "{lines:?}");
        assert!(!bench.machine.may_stream_lists());
        bench.answer(200, &list(&[], 10, ""));
        bench.answer(410, &status(410, "Expired", "too old"));
        let lines = bench.wait();
        assert!(sent(&lines).starts_with("send list"), "{lines:?}");
    }
}

#[test]
fn a_missing_right_to_watch_still_lists_and_says_nothing_about_streaming_w9() {
    let mut bench = Bench::resolved(config());
    let lines = bench.answer(403, &status(403, "Forbidden", "no"));
    assert!(sent(&lines).starts_with("send list"), "{lines:?}");
    bench.answer(200, &list(&[object("a", 3)], 10, ""));
    bench.answer(403, &status(403, "Forbidden", "no"));
    let scope = "widgets.example.com in all namespaces".to_owned();
    assert_eq!(
        bench.machine.state(),
        &WatchState::Forbidden {
            verb: "watch",
            scope
        }
    );
    assert!(bench.machine.may_stream_lists());
    bench.wait();
    bench.open();
    assert_eq!(bench.chunk(&bookmark(11, false)), ["state synced"]);
}

#[test]
fn an_early_close_falls_back_once_and_is_remembered_the_second_time_w4() {
    let mut bench = Bench::resolved(config());
    for remembered in [false, true] {
        bench.open();
        bench.chunk(&event("ADDED", &object("a", 3)));
        let lines = bench.feed(Input::End);
        assert!(sent(&lines).starts_with("send list"), "{lines:?}");
        assert_eq!(bench.machine.may_stream_lists(), !remembered);
        bench.answer(200, &list(&[], 10, ""));
        bench.answer(410, &status(410, "Expired", "too old"));
        bench.wait();
    }
}

#[test]
fn a_missing_end_bookmark_falls_back_when_the_deadline_comes_w4() {
    let mut bench = Bench::resolved(config());
    bench.open();
    let mut version = 100;
    loop {
        version += 1;
        bench.pass(Duration::from_secs(20));
        let lines = bench.feed(Input::Tick);
        if lines.iter().any(|line| line.starts_with("send list")) {
            break;
        }
        assert!(
            bench.now.since_origin() < Duration::from_mins(3),
            "too late"
        );
        bench.chunk(&event("ADDED", &object("a", version)));
    }
    assert_eq!(bench.now.since_origin(), Duration::from_mins(3));
    assert!(!bench.machine.may_stream_lists());
}

#[test]
fn a_broken_stream_is_resumed_from_the_last_event_w5() {
    let mut bench = Bench::streaming(config());
    bench.chunk(&event("MODIFIED", &object("a", 15)));
    bench.chunk(&bookmark(20, false));
    let lines = bench.feed(reset());
    assert_eq!(lines[1..], ["state stale since +0ns", "close"]);
    assert!(sent(&bench.wait()).ends_with("resourceVersion=20"));
}

#[test]
fn an_expired_version_leads_to_a_list_not_older_than_it_then_to_the_newest_w5() {
    let expired = status(410, "Expired", "too old resource version");
    let in_stream = event("ERROR", &expired);
    for http in [false, true] {
        let mut bench = Bench::streaming(config());
        if http {
            bench.feed(reset());
            bench.wait();
            bench.answer(410, &expired);
        } else {
            bench.chunk(&in_stream);
        }
        let lines = bench.wait();
        assert!(sent(&lines).contains("sendInitialEvents=true"), "{lines:?}");
        assert!(
            sent(&lines).ends_with("resourceVersionMatch=NotOlderThan&resourceVersion=10"),
            "{lines:?}"
        );
        bench.open();
        bench.chunk(&in_stream);
        let lines = bench.wait();
        assert!(
            sent(&lines).ends_with("resourceVersionMatch=NotOlderThan"),
            "{lines:?}"
        );
        assert_eq!(bench.open(), ["list begins"]);
        bench.chunk(&bookmark(30, true));
        assert_eq!(bench.machine.resource_version(), Some("30"));
    }
}

#[test]
fn w4_any_4xx_to_a_streaming_list_leads_to_pages() {
    for code in 400..500 {
        // The first list, and a list again.
        for again in [false, true] {
            let mut bench = if again {
                Bench::streaming(config())
            } else {
                Bench::resolved(config())
            };
            if again {
                bench.chunk(&event("ERROR", &status(410, "Expired", "too old")));
                bench.wait();
            }
            let mut requests = 0;
            let mut lines = bench.answer(code, &status(code, "", "no"));
            loop {
                if bench.machine.deadline().is_some() {
                    lines.extend(bench.wait());
                }
                requests += 1;
                assert!(requests < 3, "{code}: {lines:?}");
                lines = match sent(&lines).split(' ').nth(1) {
                    Some("discover") => bench.answer(200, DISCOVERY),
                    Some("list") => break,
                    other => panic!("{code}: {other:?}"),
                };
            }
            bench.answer(200, &list(&[object("a", 3)], 20, ""));
            assert_eq!(bench.machine.resource_version(), Some("20"), "{code}");
        }
    }
}

#[test]
fn w4_a_streaming_list_that_breaks_off_leads_to_pages_and_says_nothing_about_the_server() {
    for cut in ["", "{\"type\":\"ADDED\",\"object\":"] {
        let mut bench = Bench::resolved(config());
        for _ in 0..3 {
            bench.open();
            bench.chunk(&event("ADDED", &object("a", 3)));
            bench.chunk(cut);
            let end = if cut.is_empty() { reset() } else { Input::End };
            bench.feed(end);
            assert_eq!(bench.wait(), [bench_page(&bench)]);
            bench.answer(200, &list(&[object("a", 3)], 10, ""));
            assert!(bench.machine.may_stream_lists());
            bench.answer(410, &status(410, "Expired", "too old"));
            assert!(sent(&bench.wait()).contains("sendInitialEvents=true"));
        }
    }
}

/// The request for the first page, at least as new as what is known.
fn bench_page(bench: &Bench) -> String {
    match bench.machine.resource_version() {
        None => "send list …/widgets?limit=500".to_owned(),
        Some(version) => format!(
            "send list …/widgets?limit=500&resourceVersion={version}&resourceVersionMatch=NotOlderThan"
        ),
    }
}

#[test]
fn a_version_from_the_future_leads_to_the_newest_state_w5() {
    let mut bench = paged();
    bench.answer(200, &list(&[], 900, ""));
    bench.answer(504, TOO_LARGE);
    let lines = bench.wait();
    assert_eq!(sent(&lines), "send list …/widgets?limit=500");
    bench.answer(200, &list(&[], 7, ""));
    assert_eq!(bench.machine.resource_version(), Some("7"));
}

#[test]
fn a_gateway_timeout_is_no_version_from_the_future() {
    let mut bench = paged();
    bench.answer(200, &list(&[], 900, ""));
    bench.answer(504, "<html>gateway timeout</html>");
    assert!(sent(&bench.wait()).ends_with("resourceVersion=900"));
}

#[test]
fn a_page_that_fails_is_fetched_again_with_its_token_w5() {
    let mut bench = paged();
    bench.answer(200, &list(&[object("a", 3)], 10, "more"));
    for code in [500, 429, 401, 504] {
        bench.answer(code, "");
        let lines = bench.wait();
        assert_eq!(lines, ["send list …/widgets?limit=500&continue=more"]);
    }
    bench.open();
    bench.chunk("{\"items\":[");
    bench.chunk(&object("b", 4));
    assert_eq!(bench.machine.state(), &WatchState::Listing { received: 2 });
    bench.feed(reset());
    bench.wait();
    let lines = bench.answer(200, &list(&[object("b", 4)], 10, ""));
    assert_eq!(
        lines[..2],
        ["listed b@4", "state listing (2 objects so far)"]
    );
    assert_eq!(lines[2..4], ["list ends @10", "state synced"]);
}

#[test]
fn an_expired_token_starts_the_list_again_in_one_piece_w5() {
    let mut bench = paged();
    bench.answer(200, &list(&[object("a", 3)], 10, "more"));
    bench.answer(
        410,
        &status(410, "Expired", "The provided continue parameter is too old"),
    );
    let lines = bench.wait();
    assert_eq!(lines, ["send list …/widgets"]);
    let lines = bench.answer(200, &list(&[object("b", 11)], 12, ""));
    assert!(lines.contains(&"list begins".to_owned()), "{lines:?}");
    assert_eq!(bench.machine.state(), &WatchState::Synced);
    // The next list comes in pages again.
    bench.answer(410, "");
    let lines = bench.wait();
    assert!(
        sent(&lines).contains("limit=500&resourceVersion=12"),
        "{lines:?}"
    );
}

#[test]
fn every_list_attempt_says_so_before_its_first_object() {
    let mut bench = paged();
    for _ in 0..3 {
        assert!(bench.open().contains(&"list begins".to_owned()));
        bench.chunk("{\"items\":[");
        assert_eq!(bench.chunk(&object("a", 3))[0], "listed a@3");
        bench.feed(reset());
        bench.wait();
    }
}

#[test]
fn a_silent_stream_that_carried_bookmarks_is_dead_after_70_s_w6() {
    let mut bench = Bench::streaming(config());
    bench.pass(Duration::from_secs(69));
    assert!(bench.chunk(" \n").is_empty());
    assert!(bench.feed(Input::Tick).is_empty());
    bench.pass(Duration::from_secs(1));
    let lines = bench.feed(Input::Tick);
    assert_eq!(lines[1..], ["state stale since +0ns", "close"]);
}

#[test]
fn a_silent_stream_without_bookmarks_is_asked_again_quietly_w6() {
    let mut bench = paged();
    bench.answer(200, &list(&[], 10, ""));
    bench.open();
    bench.pass(Duration::from_secs(70));
    let lines = bench.feed(Input::Tick);
    assert!(
        lines.len() == 1 && lines[0].starts_with("send watch"),
        "{lines:?}"
    );
    assert_eq!(bench.machine.state(), &WatchState::Synced);
}

#[test]
fn two_silent_streams_without_bookmarks_are_reported_and_lead_to_a_list_w6() {
    let mut bench = paged();
    bench.answer(200, &list(&[], 10, ""));
    for _ in 0..2 {
        bench.open();
        bench.pass(Duration::from_secs(70));
        bench.feed(Input::Tick);
    }
    assert!(matches!(bench.machine.state(), WatchState::Stale { .. }));
    assert!(sent(&bench.wait()).starts_with("send list"));
    bench.answer(200, &list(&[object("a", 11)], 11, ""));
    bench.open();
    bench.pass(Duration::from_secs(1));
    bench.feed(Input::Tick);
    assert_eq!(bench.machine.state(), &WatchState::Synced);
}

#[test]
fn after_a_silent_stream_only_an_event_is_health_and_a_second_one_leads_to_a_list_w6() {
    let mut bench = Bench::streaming(config());
    bench.pass(Duration::from_secs(70));
    bench.feed(Input::Tick);
    bench.wait();
    bench.open();
    bench.pass(Duration::from_secs(60));
    assert!(bench.feed(Input::Tick).is_empty());
    assert!(matches!(bench.machine.state(), WatchState::Stale { .. }));
    bench.chunk(&bookmark(11, false));
    assert_eq!(bench.machine.state(), &WatchState::Synced);
    bench.pass(Duration::from_secs(60));
    bench.chunk(&bookmark(11, false));
    for expected in ["send watch", "send streaming-list"] {
        bench.pass(Duration::from_secs(70));
        bench.feed(Input::Tick);
        assert!(sent(&bench.wait()).starts_with(expected));
        bench.open();
    }
}

#[test]
fn waiting_for_a_permit_is_not_held_against_the_server() {
    let mut bench = Bench::resolved(config());
    assert_eq!(bench.machine.deadline(), None);
    bench.pass(Duration::from_mins(10));
    bench.feed(Input::Sent);
    let due = bench.now + Duration::from_secs(30);
    assert_eq!(bench.machine.deadline(), Some(due));
}

#[test]
fn a_clean_end_goes_on_at_once_and_stays_synced() {
    let mut bench = Bench::streaming(config());
    bench.pass(Duration::from_secs(400));
    let lines = bench.feed(Input::End);
    assert_eq!(
        lines,
        [
            "send watch …/widgets?watch=true&allowWatchBookmarks=true&timeoutSeconds=T&resourceVersion=10"
        ]
    );
}

#[test]
fn trouble_is_over_only_when_the_new_stream_holds_w9() {
    let mut bench = Bench::streaming(config());
    bench.feed(reset());
    bench.wait();
    assert_eq!(bench.open(), Vec::<String>::new());
    assert_eq!(bench.wait(), ["state synced"]);
    assert!(bench.wait().iter().all(|line| line != "state synced"));
}

#[test]
fn an_unreadable_object_is_quarantined_and_the_stream_goes_on_w8() {
    let mut bench = Bench::streaming(config());
    let text = event("MODIFIED", &broken("a", 14)) + &event("ADDED", &object("c", 15));
    assert_eq!(bench.chunk(&text), ["quarantined shop/a", "applied c@15"]);
    assert_eq!(
        bench.chunk(&event("MODIFIED", &broken("a", 16))),
        ["quarantined shop/a"]
    );
    assert_eq!(bench.machine.resource_version(), Some("16"));
}

#[test]
fn a_delete_is_applied_even_when_its_object_is_unreadable() {
    let mut bench = Bench::streaming(config());
    assert_eq!(
        bench.chunk(&event("DELETED", &broken("a", 14))),
        ["deleted shop/a"]
    );
    let lines = bench.chunk(&event("DELETED", "{}"));
    assert!(
        lines.last().is_some_and(|line| line == "close"),
        "{lines:?}"
    );
    assert!(
        sent(&bench.wait()).contains("sendInitialEvents"),
        "a list finds out who it was"
    );
}

#[test]
fn an_event_that_always_breaks_the_stream_leads_to_a_list_w8() {
    let mut bench = Bench::streaming(config());
    let mut requests = Vec::new();
    for _ in 0..3 {
        bench.chunk(&event(
            "ERROR",
            &status(500, "InternalError", "unable to decode an event"),
        ));
        requests.push(sent(&bench.wait()).contains("sendInitialEvents"));
        bench.open();
    }
    assert_eq!(requests, [false, false, true]);
}

#[test]
fn a_server_that_is_down_is_not_listed_again_when_it_returns() {
    let mut bench = Bench::streaming(config());
    bench.feed(reset());
    for _ in 0..30 {
        bench.wait();
        bench.answer(503, "");
    }
    assert!(sent(&bench.wait()).starts_with("send watch"));
}

#[test]
fn a_resource_that_does_not_exist_is_waited_for_w1() {
    let mut bench = Bench::started(config());
    for body in ["404 page not found", ""] {
        bench.answer(404, body);
        assert_eq!(bench.machine.state(), &WatchState::WaitingForCrd);
        let lines = bench.wait();
        assert_eq!(lines, ["send discover …"]);
    }
    let lines = bench.answer(200, r#"{"kind":"APIResourceList","resources":[]}"#);
    assert_eq!(lines, ["close"]);
    bench.wait();
    assert!(sent(&bench.answer(200, DISCOVERY)).starts_with("send streaming-list"));
}

#[test]
fn a_resource_that_goes_is_gone_when_discovery_says_so_twice_and_may_return_w1() {
    let mut bench = Bench::streaming(config());
    bench.pass(Duration::from_secs(60));
    bench.feed(Input::End);
    bench.answer(404, "404 page not found");
    assert_eq!(bench.wait(), ["send discover …"]);
    assert_eq!(
        bench.answer(404, ""),
        ["state waiting for the resource to be served", "close"]
    );
    bench.wait();
    assert_eq!(bench.answer(404, ""), ["gone", "close"]);
    bench.wait();
    let lines = bench.answer(200, DISCOVERY);
    assert_eq!(lines[0], "resolved example.com/v1 Widget namespaced=true");
    assert_eq!(lines[1], "state listing (0 objects so far)");
    assert!(!sent(&lines).contains("resourceVersion="), "{lines:?}");
}

#[test]
fn a_proxys_404_page_gives_up_nothing_however_often_it_comes_w1() {
    let mut bench = Bench::streaming(config());
    bench.pass(Duration::from_secs(60));
    bench.feed(Input::End);
    bench.answer(404, "404 page not found");
    for _ in 0..4 {
        assert_eq!(bench.wait(), ["send discover …"]);
        let lines = bench.answer(
            404,
            "\r\n<html><head><title>404 Not Found</title></head></html>",
        );
        assert!(!lines.contains(&"gone".to_owned()), "{lines:?}");
        assert!(matches!(bench.machine.state(), WatchState::Stale { .. }));
    }
}

#[test]
fn a_404_of_a_resource_that_discovery_still_finds_gives_up_nothing() {
    let mut bench = Bench::streaming(config());
    bench.pass(Duration::from_secs(60));
    bench.feed(Input::End);
    bench.answer(404, "");
    bench.wait();
    let lines = bench.answer(200, DISCOVERY);
    assert!(
        lines.len() == 1 && sent(&lines).ends_with("resourceVersion=10"),
        "{lines:?}"
    );
}

#[test]
fn a_list_that_is_forbidden_is_tried_again_and_recovers_w9() {
    let mut config = config();
    config.namespace = Some("shop".to_owned());
    let mut bench = Bench::resolved(config);
    for _ in 0..20 {
        bench.answer(403, &status(403, "Forbidden", "no"));
        if bench.machine.deadline().is_some() {
            bench.wait();
        }
    }
    let scope = "widgets.example.com in namespace shop".to_owned();
    assert_eq!(
        bench.machine.state(),
        &WatchState::Forbidden {
            verb: "list",
            scope
        }
    );
    let lines = bench.answer(200, &list(&[], 10, ""));
    assert!(lines.contains(&"state synced".to_owned()), "{lines:?}");
}

#[test]
fn a_server_without_versions_is_listed_again_after_each_stream() {
    let mut bench = paged();
    bench.answer(200, "{\"kind\":\"WidgetList\",\"items\":[]}");
    bench.open();
    bench.pass(Duration::from_secs(60));
    assert_eq!(bench.feed(Input::End), ["send list …/widgets?limit=500"]);
}

#[test]
fn leaving_the_hosts_field_selector_is_a_delete_and_entering_it_an_add_w3() {
    let mut config = config();
    config.readers[0].select = vec![FieldRequirement {
        path: Path::parse("spec.class").unwrap(),
        negated: false,
        value: "x".to_owned(),
    }];
    let classed = |name: &str, version: u64, class: &str| {
        object(name, version).replace("{\"v\"", &format!("{{\"class\":\"{class}\",\"v\""))
    };
    let mut bench = Bench::resolved(config);
    bench.open();
    assert_eq!(
        bench.chunk(&event("ADDED", &classed("a", 3, "x")))[0],
        "listed a@3"
    );
    assert!(
        bench
            .chunk(&event("ADDED", &classed("b", 4, "y")))
            .is_empty()
    );
    // Changed between the list and its end: it may have been listed.
    assert_eq!(
        bench.chunk(&event("MODIFIED", &classed("a", 5, "y"))),
        ["deleted shop/a"]
    );
    bench.chunk(&bookmark(10, true));
    assert_eq!(
        bench.chunk(&event("MODIFIED", &classed("b", 11, "x"))),
        ["applied b@11"]
    );
    assert_eq!(
        bench.chunk(&event("MODIFIED", &classed("b", 12, "y"))),
        ["deleted shop/b"]
    );
    assert_eq!(bench.machine.resource_version(), Some("12"));
}

#[test]
fn what_another_watch_learnt_about_streaming_counts_from_the_next_list_on_w4_w10() {
    let mut bench = Bench::resolved(config());
    bench.feed(Input::Sent);
    bench.feed(reset());
    bench.machine.deny_streaming_lists();
    assert!(sent(&bench.wait()).starts_with("send list "));
    assert!(!bench.machine.may_stream_lists());
}

#[test]
fn one_stream_serves_several_readers_each_with_its_own_filter_w10() {
    let mut config = config();
    let mut other = config.readers[0].clone();
    other.select = vec![FieldRequirement {
        path: Path::parse("spec.v").unwrap(),
        negated: false,
        value: "3".to_owned(),
    }];
    other.indexes = vec![IndexPaths {
        paths: vec![Path::parse("metadata.name").unwrap()],
        ..IndexPaths::default()
    }];
    config.readers.push(other);
    config.page_size = 2;
    let mut bench = Bench::started(config);
    let lines = bench.answer(200, DISCOVERY);
    assert_eq!(
        lines[..2],
        [
            "resolved example.com/v1 Widget namespaced=true",
            "1: resolved example.com/v1 Widget namespaced=true",
        ]
    );
    assert_eq!(bench.open()[..2], ["list begins", "1: list begins"]);
    assert_eq!(
        bench.chunk(&event("ADDED", &object("a", 3))),
        ["listed a@3", "1: listed a@3"]
    );
    // Of no reader's page has it been counted twice.
    assert_eq!(
        bench.chunk(&event("ADDED", &object("b", 5))),
        ["listed b@5", "page ends", "1: page ends"]
    );
    assert_eq!(
        bench.chunk(&bookmark(10, true))[..2],
        ["list ends @10", "1: list ends @10"]
    );
    assert_eq!(
        bench.chunk(&event("MODIFIED", &object("a", 11))),
        ["applied a@11", "1: deleted shop/a"]
    );
    assert_eq!(
        bench.chunk(&event("DELETED", &object("b", 12))),
        ["deleted shop/b at @12", "1: deleted shop/b at @12"]
    );
    // What one reader's index cannot take is whole to the others.
    let long = "x".repeat(MAX_KEY_BYTES + 1);
    let lines = bench.chunk(&event("ADDED", &object(&long, 13)));
    assert_eq!(lines[0], format!("applied {long}@13"));
    assert_eq!(lines[1], format!("1: quarantined shop/{long}"));
    assert_eq!(bench.machine.resource_version(), Some("13"));
}

#[test]
fn bodies_are_the_same_from_a_list_and_from_a_watch() {
    let mut out = Vec::new();
    let mut bodies = Vec::new();
    for body in [
        list(&[object("a", 3)], 10, ""),
        list(
            &[object("a", 3).replacen(
                '{',
                "{\"kind\":\"Widget\",\"apiVersion\":\"example.com/v1\",",
                1,
            )],
            10,
            "",
        ),
    ] {
        let mut bench = paged();
        bench.open();
        bench
            .machine
            .step(bench.now, Input::Chunk(body.as_bytes()), &mut out);
        for action in out.drain(..) {
            if let Action::Emit {
                output: WatchOutput::Listed(object),
                ..
            } = action
            {
                bodies.push(object.body().unwrap().as_str().to_owned());
            }
        }
    }
    assert_eq!(bodies.len(), 2);
    assert_eq!(bodies[0], bodies[1]);
    assert!(bodies[0].starts_with(r#"{"apiVersion":"example.com/v1","kind":"Widget","#));
}

#[test]
fn an_object_of_another_kind_does_not_empty_the_store() {
    let mut bench = paged();
    for body in [
        DISCOVERY,
        "{}",
        r#"{"kind":"Status","code":500}"#,
        "null",
        "[]",
    ] {
        let lines = bench.answer(200, body);
        assert!(
            lines.iter().all(|line| !line.starts_with("list ends")),
            "{body}: {lines:?}"
        );
        assert_eq!(bench.machine.state().as_str(), "failing", "{body}");
        bench.wait();
    }
}

#[test]
fn a_status_in_place_of_an_event_counts_as_one() {
    let mut bench = Bench::streaming(config());
    bench.chunk(&status(410, "Expired", "too old"));
    assert!(sent(&bench.wait()).contains("sendInitialEvents"));
}

#[test]
fn the_events_after_an_error_are_not_applied() {
    let mut bench = Bench::streaming(config());
    let text =
        event("ERROR", &status(410, "Expired", "too old")) + &event("ADDED", &object("c", 15));
    let lines = bench.chunk(&text);
    assert!(
        lines.iter().all(|line| !line.starts_with("applied")),
        "{lines:?}"
    );
    assert_eq!(bench.machine.resource_version(), Some("10"));
}

#[test]
fn one_watch_in_metadata_only_asks_for_metadata_s6() {
    let mut config = config();
    config.metadata_only = true;
    for (streaming, accept) in [
        (
            StreamingPreference::Auto,
            "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json",
        ),
        (
            StreamingPreference::Never,
            "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
        ),
    ] {
        config.streaming = streaming;
        let mut bench = Bench::started(config.clone());
        bench.open();
        bench.chunk(DISCOVERY);
        let mut out = Vec::new();
        bench.machine.step(bench.now, Input::End, &mut out);
        let Some(Action::Send(request)) = out.last() else {
            panic!("no request")
        };
        assert_eq!(request.accept, accept);
    }
}

#[test]
fn timeouts_are_spread_over_five_to_ten_minutes_w7() {
    let mut seen = Vec::new();
    for seed in 0..200 {
        let mut config = config();
        config.seed = seed;
        let mut bench = Bench::started(config);
        bench.open();
        bench.chunk(DISCOVERY);
        let mut out = Vec::new();
        bench.machine.step(bench.now, Input::End, &mut out);
        let Some(Action::Send(request)) = out.last() else {
            panic!("no request")
        };
        let (_, rest) = request
            .path_and_query
            .split_once("timeoutSeconds=")
            .unwrap();
        seen.push(rest.split('&').next().unwrap().parse::<u64>().unwrap());
    }
    let (least, most) = (*seen.iter().min().unwrap(), *seen.iter().max().unwrap());
    assert!(
        (300..330).contains(&least) && (570..=600).contains(&most),
        "{least} to {most}"
    );
}

#[test]
fn answers_without_bound_are_cut_off() {
    let mut config = config();
    config.limits.discovery_bytes = 1000;
    config.limits.object_bytes = 1000;
    let long = "x".repeat(600);
    let mut bench = Bench::started(config.clone());
    bench.open();
    bench.chunk(&long);
    assert!(bench.chunk(&long).contains(&"close".to_owned()));

    let mut bench = Bench::streaming(config.clone());
    bench.chunk(&format!("{{\"type\":\"{long}"));
    assert!(bench.chunk(&long).contains(&"close".to_owned()));

    config.streaming = StreamingPreference::Never;
    let mut bench = Bench::resolved(config.clone());
    bench.open();
    bench.chunk(&format!("{{\"items\":[{{\"a\":\"{long}"));
    assert!(bench.chunk(&long).contains(&"close".to_owned()));

    let mut bench = Bench::started(config);
    bench.feed(Input::Sent);
    bench.feed(headers(500));
    let mut closed = false;
    for _ in 0..200 {
        closed |= bench.chunk(&long).contains(&"close".to_owned());
    }
    assert!(closed);
}

#[test]
fn an_unexplained_refusal_is_not_waited_for_longer_than_ten_seconds_w6() {
    let mut bench = Bench::started(config());
    bench.feed(Input::Sent);
    bench.feed(headers(500));
    assert_eq!(
        bench.machine.deadline(),
        Some(bench.now + Duration::from_secs(10))
    );
    let lines = bench.wait();
    assert_eq!(
        lines,
        [
            "note Warn: cannot get /apis/example.com/v1: HTTP 500",
            "state failing: HTTP 500",
            "close"
        ]
    );
}

#[test]
fn chunks_may_split_anything() {
    let text = event("MODIFIED", &object("a", 14))
        + "{\n  \"object\": {\"metadata\": {\"name\": \"b\"}},\n  \"type\": \"DELETED\"\n}\n"
        + &bookmark(20, false);
    for cut in 0..=text.len() {
        let (head, tail) = text.split_at(cut);
        let mut bench = Bench::streaming(config());
        let mut lines = bench.chunk(head);
        lines.extend(bench.chunk(tail));
        assert_eq!(lines, ["applied a@14", "deleted b at @"], "cut at {cut}");
        assert_eq!(bench.machine.resource_version(), Some("20"), "cut at {cut}");
    }
}

#[test]
fn inputs_of_no_request_change_nothing() {
    let mut bench = Bench::streaming(config());
    bench.feed(reset());
    let due = bench.machine.deadline();
    for lines in [
        bench.feed(ok()),
        bench.chunk("{}"),
        bench.feed(Input::End),
        bench.feed(reset()),
    ] {
        assert_eq!(lines, Vec::<String>::new());
    }
    assert_eq!(bench.machine.deadline(), due);
}
