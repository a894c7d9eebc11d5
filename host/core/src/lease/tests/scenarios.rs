//! Stories of one contender, as a reader of the contract would tell them.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Bench, Server, WALL, refusal};
use crate::{
    Time,
    lease::{Input, LeaseState, Verb},
};

fn at(seconds: u64) -> Time {
    Time::from_origin(Duration::from_secs(seconds))
}

/// Without the sends, which others look at.
fn told(lines: &[String]) -> Vec<&str> {
    let sends = |line: &&str| !line.starts_with("send");
    lines.iter().map(String::as_str).filter(sends).collect()
}

#[test]
fn l1_the_first_contender_creates_the_lease_and_leads_from_when_it_asked() {
    let mut server = Server::default();
    let mut bench = Bench::started("me");
    bench.answer(server.answer(Verb::Get, b""));
    let request = bench.request.take().unwrap();
    assert_eq!(request.verb, Verb::Create);
    assert_eq!(
        request.path_and_query,
        "/apis/coordination.k8s.io/v1/namespaces/shop/leases?fieldManager=haptic-host"
    );
    assert_eq!(
        serde_json::from_slice::<Value>(&request.body(WALL)).unwrap(),
        json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": "x", "namespace": "shop"},
            "spec": {
                "holderIdentity": "me",
                "leaseDurationSeconds": 15,
                "leaseTransitions": 0,
                "acquireTime": "2027-01-15T08:00:00.000000Z",
                "renewTime": "2027-01-15T08:00:00.000000Z",
            },
        })
    );
    // The answer takes three of the ten seconds.
    let answer = server.answer(Verb::Create, &request.body(WALL));
    bench.now = at(103);
    let lines = bench.answer(answer);
    assert_eq!(lines, ["leader me", "started until 110s", "state leading"]);
}

#[test]
fn l1_it_is_renewed_every_retry_period_with_one_request() {
    let mut server = Server::default();
    let mut bench = Bench::leading(&mut server);
    let before = server.lease.clone().unwrap();
    let lines = bench.run(&mut server, 60);
    let sends = lines.iter().filter(|line| *line == "send update").count();
    assert!((25..=30).contains(&sends), "{sends}");
    assert!(
        lines
            .iter()
            .all(|line| line == "send update" || line.starts_with("extended"))
    );
    let after = server.lease.unwrap();
    assert_eq!(before["spec"]["acquireTime"], after["spec"]["acquireTime"]);
    assert_eq!(after["spec"]["leaseTransitions"], 0);
}

#[test]
fn l2_another_holder_is_waited_for_by_its_own_duration_since_its_last_change() {
    for (seconds, waits) in [
        (15, 15),
        (4, 4),
        (60, 60),
        (0, 15),
        (-5, 15),
        (i64::MAX, 3600),
    ] {
        let mut server = Server::held_by("other", seconds);
        let mut bench = Bench::started("me");
        let lines = bench.settle(&mut server);
        assert!(
            lines.contains(&"state following other".to_owned()),
            "{lines:?}"
        );
        // It shows life once more.
        bench.run(&mut server, 3);
        server.edit(|lease| lease["spec"]["renewTime"] = json!("1999-01-01T00:00:00.000000Z"));
        let lines = bench.run(&mut server, waits - 1);
        assert_eq!(told(&lines), Vec::<&str>::new(), "{seconds}");
        let lines = bench.run(&mut server, 5);
        assert!(
            lines.iter().any(|line| line.starts_with("started")),
            "{seconds}: {lines:?}"
        );
        let lease = server.lease.unwrap();
        assert_eq!(lease["spec"]["leaseTransitions"], 8);
        assert_eq!(lease["metadata"]["labels"]["a"], "b", "the rest stays");
    }
}

#[test]
fn l2_times_in_the_lease_decide_nothing() {
    // A holder whose clock is years behind, or ahead, or who writes no times at all.
    for time in [
        json!("1999-01-01T00:00:00.000000Z"),
        json!("2999-01-01T00:00:00Z"),
        Value::Null,
        json!(5),
    ] {
        let mut server = Server::held_by("other", 15);
        server.edit(|lease| lease["spec"]["renewTime"] = time.clone());
        let mut bench = Bench::started("me");
        let lines = bench.run(&mut server, 14);
        assert!(bench.machine.leading_until().is_none(), "{time}: {lines:?}");
        bench.run(&mut server, 4);
        assert!(bench.machine.leading_until().is_some(), "{time}");
    }
}

#[test]
fn l2_leadership_ends_with_its_deadline_and_is_contended_again() {
    let mut server = Server::default();
    let mut bench = Bench::leading(&mut server);
    // Nothing answers any more: no answer is late enough to prolong it.
    let mut lines = Vec::new();
    while bench.now < at(110) {
        lines.extend(bench.wait());
    }
    let stop = lines.iter().position(|line| line == "stopped").unwrap();
    assert_eq!(bench.now, at(110));
    assert!(bench.machine.leading_until().is_none(), "{lines:?}");
    let updates = lines.iter().filter(|line| *line == "send update").count();
    assert!((2..=4).contains(&updates), "{lines:?}");
    assert!(lines[stop + 1..].contains(&"close".to_owned()), "{lines:?}");
    // The server is back, and nobody was faster: the same holding goes on.
    bench.request = None;
    let lines = bench.run(&mut server, 40);
    assert!(
        lines.iter().any(|line| line.starts_with("started")),
        "{lines:?}"
    );
    assert_eq!(server.lease.unwrap()["spec"]["leaseTransitions"], 0);
}

#[test]
fn l2_an_answer_after_the_deadline_prolongs_nothing() {
    let mut server = Server::default();
    let mut bench = Bench::leading(&mut server);
    bench.wait();
    let request = bench.request.take().unwrap();
    let answer = server.answer(request.verb, &request.body(WALL));
    // The process is paused.
    bench.now = at(160);
    let lines = bench.answer(answer);
    assert_eq!(lines[1..3], ["stopped", "state contending"], "{lines:?}");
    assert!(bench.machine.leading_until().is_none());
    // Meanwhile somebody else took it.
    server.edit(|lease| lease["spec"]["holderIdentity"] = json!("other"));
    let lines = bench.run(&mut server, 5);
    assert!(
        lines.contains(&"state following other".to_owned()),
        "{lines:?}"
    );
}

#[test]
fn l2_a_takeover_that_is_seen_ends_leadership_at_once() {
    let mut server = Server::default();
    let mut bench = Bench::leading(&mut server);
    server.edit(|lease| lease["spec"]["holderIdentity"] = json!("other"));
    bench.wait();
    let lines = bench.settle(&mut server);
    assert_eq!(
        lines,
        [
            "send get",
            "note Warn: the lease is held by other",
            "stopped",
            "state contending",
            "leader other",
            "state following other"
        ]
    );
}

#[test]
fn l1_an_edit_by_somebody_else_costs_a_conflict_and_not_the_lease() {
    let mut server = Server::default();
    let mut bench = Bench::leading(&mut server);
    server.edit(|lease| lease["metadata"]["annotations"] = json!({"note": "x"}));
    bench.wait();
    let lines = bench.settle(&mut server);
    assert_eq!(lines[..2], ["send get", "send update"], "{lines:?}");
    assert!(lines[2].starts_with("extended"), "{lines:?}");
    let annotations = &server.lease.unwrap()["metadata"]["annotations"];
    assert_eq!(annotations["note"], "x", "an edit is kept");
}

#[test]
fn l2_a_lease_in_ones_own_name_that_one_did_not_write_is_somebody_elses() {
    // After a restart in the same pod, or by a second process of that name.
    let mut server = Server::held_by("me", 15);
    let mut bench = Bench::started("me");
    let lines = bench.run(&mut server, 14);
    assert!(
        lines[0].contains("held in this one's own name"),
        "{lines:?}"
    );
    assert!(bench.machine.leading_until().is_none());
    bench.run(&mut server, 4);
    assert!(bench.machine.leading_until().is_some());

    // And when the other one of that name takes it while this one leads.
    server.edit(|lease| lease["spec"]["leaseTransitions"] = json!(99));
    let lines = bench.run(&mut server, 3);
    assert!(lines.contains(&"stopped".to_owned()), "{lines:?}");
}

#[test]
fn l1_a_free_lease_is_taken_at_once() {
    for free in [json!(""), Value::Null] {
        let mut server = Server::held_by("other", 15);
        server.edit(|lease| lease["spec"]["holderIdentity"] = free);
        let bench = Bench::leading(&mut server);
        assert_eq!(bench.now, at(100));
        assert_eq!(server.holder(), "me");
    }
    // One without a spec is free too.
    let mut server = Server::held_by("other", 15);
    server.edit(|lease| lease["spec"] = Value::Null);
    Bench::leading(&mut server);
    assert_eq!(server.holder(), "me");
}

#[test]
fn l2_a_lease_that_was_deleted_is_made_again_when_its_holder_must_have_stopped() {
    let mut server = Server::held_by("other", 15);
    let mut bench = Bench::started("me");
    bench.run(&mut server, 5);
    server.lease = None;
    let lines = bench.run(&mut server, 15);
    assert!(bench.machine.leading_until().is_none(), "{lines:?}");
    bench.run(&mut server, 5);
    assert!(bench.machine.leading_until().is_some());
    // Who leads while it is deleted stops, and may make it again: nobody else leads.
    server.lease = None;
    let lines = bench.run(&mut server, 3);
    let stopped = lines.iter().position(|line| line == "stopped").unwrap();
    assert!(
        lines[stopped..]
            .iter()
            .any(|line| line.starts_with("started")),
        "{lines:?}"
    );
}

#[test]
fn l1_a_release_stops_leading_empties_the_holder_and_ends() {
    let mut server = Server::default();
    let mut bench = Bench::leading(&mut server);
    let mut lines = bench.feed(Input::Release);
    lines.extend(bench.settle(&mut server));
    assert_eq!(
        lines,
        [
            "stopped",
            "state contending",
            "send update",
            "state ended",
            "ended"
        ]
    );
    let spec = server.lease.clone().unwrap()["spec"].clone();
    assert_eq!(spec["holderIdentity"], "");
    assert_eq!(spec["leaseDurationSeconds"], 1);
    assert_eq!(bench.machine.deadline(), None);
    // The next one need not wait.
    let next = Bench::leading(&mut server);
    assert_eq!(next.now, at(100));
}

#[test]
fn l1_a_release_survives_conflicts_and_an_answer_that_never_comes() {
    let mut server = Server::default();
    let mut bench = Bench::leading(&mut server);
    server.edit(|lease| lease["metadata"]["annotations"] = json!({"note": "x"}));
    bench.feed(Input::Release);
    let lines = bench.settle(&mut server);
    assert_eq!(lines[..2], ["send get", "send update"]);
    assert_eq!(server.holder(), "");

    let mut bench = Bench::leading(&mut server);
    bench.feed(Input::Release);
    let started = bench.now;
    let mut lines = Vec::new();
    while bench.machine.deadline().is_some() {
        lines.extend(bench.wait());
    }
    assert_eq!(lines.last().unwrap(), "ended", "{lines:?}");
    assert_eq!(bench.now - started, Duration::from_secs(1));
}

#[test]
fn l1_a_release_waits_for_a_write_that_may_make_one_the_holder() {
    let mut server = Server::default();
    let mut bench = Bench::started("me");
    bench.answer(server.answer(Verb::Get, b""));
    assert_eq!(bench.feed(Input::Release), Vec::<String>::new());
    let lines = bench.settle(&mut server);
    assert_eq!(lines, ["leader me", "send update", "state ended", "ended"]);
    assert_eq!(server.holder(), "");
}

#[test]
fn l1_who_holds_nothing_releases_nothing() {
    let mut server = Server::held_by("other", 15);
    let mut bench = Bench::started("me");
    bench.settle(&mut server);
    assert_eq!(bench.feed(Input::Release), ["state ended", "ended"]);
    assert_eq!(server.holder(), "other");
}

#[test]
fn l1_a_missing_right_is_named_and_tried_again_with_backoff() {
    let mut bench = Bench::started("me");
    let lines = bench.answer(refusal(403, "no"));
    assert_eq!(
        lines,
        ["state not allowed to get leases.coordination.k8s.io in namespace shop"]
    );
    let mut sends = 0;
    while bench.now < at(400) {
        sends += bench.wait().len();
        assert_eq!(
            bench.answer(refusal(403, "no")),
            Vec::<String>::new(),
            "said once"
        );
    }
    assert!((20..=80).contains(&sends), "{sends} in five minutes");
    // Granted.
    bench.wait();
    let mut server = Server::default();
    bench.settle(&mut server);
    assert!(bench.machine.leading_until().is_some());

    let mut bench = Bench::started("me");
    bench.answer(refusal(404, "leases \"x\" not found"));
    bench.answer(refusal(403, "no"));
    let create = LeaseState::Forbidden {
        verb: Verb::Create,
        namespace: "shop".to_owned(),
    };
    assert_eq!(bench.machine.state(), &create);
}

#[test]
fn l2_answers_that_are_no_lease_are_failures() {
    let bodies: [&[u8]; 9] = [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        br#"{"kind":"Status"}"#,
        br#"{"kind":"Lease"}"#,
        br#"{"kind":"Lease","metadata":{"resourceVersion":7}}"#,
        br#"{"kind":"Lease","metadata":{"resourceVersion":"7"},"spec":[]}"#,
        br#"{"kind":"Lease","metadata":{"resourceVersion":"7"},"spec":{"holderIdentity":{}}}"#,
    ];
    for body in bodies {
        let mut bench = Bench::started("me");
        let lines = bench.feed(Input::Answer {
            status: 200,
            retry_after: None,
            body,
        });
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(
            lines[0].starts_with("state the answer cannot be used"),
            "{lines:?}"
        );
    }
    let deep = format!(r#"{{"kind":"Lease","spec":{}"#, "[".repeat(500_000));
    let mut bench = Bench::started("me");
    bench.answer((200, deep));
    assert!(matches!(bench.machine.state(), LeaseState::Failing { .. }));
}

#[test]
fn l2_a_server_that_stores_another_holder_than_was_sent_gives_no_leader() {
    let mut server = Server::default();
    let mut bench = Bench::leading(&mut server);
    bench.wait();
    let request = bench.request.take().unwrap();
    let (code, body) = server.answer(request.verb, &request.body(WALL));
    let lines = bench.answer((code, body.replace("\"me\"", "\"other\"")));
    assert_eq!(lines[0], "stopped", "{lines:?}");
    assert!(bench.machine.leading_until().is_none());
}

#[test]
fn l2_retry_after_is_honoured_and_costs_no_leader_its_lease() {
    let mut bench = Bench::started("me");
    let answer = |bench: &mut Bench, seconds| {
        bench.request = None;
        bench.feed(Input::Answer {
            status: 429,
            retry_after: Some(Duration::from_secs(seconds)),
            body: b"slow down",
        })
    };
    let lines = answer(&mut bench, 9);
    assert_eq!(lines, ["state HTTP 429: slow down"]);
    bench.wait();
    assert!((at(109)..at(110)).contains(&bench.now), "{:?}", bench.now);
    answer(&mut bench, u64::MAX);
    bench.wait();
    assert!(bench.now < at(127), "{:?}", bench.now);

    let mut server = Server::default();
    let mut bench = Bench::leading(&mut server);
    bench.wait();
    answer(&mut bench, 3600);
    let lines = bench.wait();
    assert_eq!(lines, ["send update"]);
    assert!(bench.now < at(107), "{:?}", bench.now);
}

#[test]
fn l1_somebody_who_writes_all_the_time_makes_no_hot_loop() {
    let mut server = Server::default();
    let mut bench = Bench::leading(&mut server);
    bench.wait();
    let mut sends = 1;
    while let Some(request) = bench.request.take() {
        if request.verb == Verb::Update {
            server.edit(|lease| lease["metadata"]["annotations"] = json!({"note": "x"}));
        }
        let answer = server.answer(request.verb, &request.body(WALL));
        sends += bench.answer(answer).len();
    }
    assert_eq!(sends, 4);
}
