//! Every input in every situation, beside what it leads to: `transitions.txt`.
//! There, the texts of errors are left out, and `later` names the request after the backoff.

use std::fmt::Write as _;

use super::{
    Bench, DISCOVERY, TOO_LARGE, bookmark, broken, config, event, headers, list, object, ok, reset,
    status,
};
use crate::watch::Input;

/// A situation, and a way to get there.
type Situation = (&'static str, fn() -> Bench);

fn situations() -> Vec<Situation> {
    vec![
        ("not started", || Bench::new(config())),
        ("discovery queued", || Bench::started(config())),
        ("discovery sent", || {
            let mut bench = Bench::started(config());
            bench.feed(Input::Sent);
            bench
        }),
        ("discovery answering", || {
            let mut bench = Bench::started(config());
            bench.open();
            bench
        }),
        ("discovery refused", || {
            let mut bench = Bench::started(config());
            bench.feed(Input::Sent);
            bench.feed(headers(404));
            bench
        }),
        ("waiting for the CRD", || {
            let mut bench = Bench::started(config());
            bench.answer(404, "404 page not found");
            bench
        }),
        ("streaming list sent", || {
            let mut bench = Bench::resolved(config());
            bench.feed(Input::Sent);
            bench
        }),
        ("streaming list under way", || {
            let mut bench = Bench::resolved(config());
            bench.open();
            bench.chunk(&event("ADDED", &object("a", 3)));
            bench
        }),
        ("streaming list refused with 403", || {
            let mut bench = Bench::resolved(config());
            bench.feed(Input::Sent);
            bench.feed(headers(403));
            bench
        }),
        ("first page under way", || {
            let mut bench = paged();
            bench.open();
            bench
        }),
        ("second page sent", || {
            let mut bench = paged();
            bench.answer(200, &list(&[object("a", 3)], 10, "more"));
            bench.feed(Input::Sent);
            bench
        }),
        ("second page refused with 410", || {
            let mut bench = paged();
            bench.answer(200, &list(&[object("a", 3)], 10, "more"));
            bench.feed(Input::Sent);
            bench.feed(headers(410));
            bench
        }),
        ("watch of a streaming list", || Bench::streaming(config())),
        ("watch sent", || {
            let mut bench = paged();
            bench.answer(200, &list(&[object("a", 3)], 10, ""));
            bench.feed(Input::Sent);
            bench
        }),
        ("watch under way", || {
            let mut bench = paged();
            bench.answer(200, &list(&[object("a", 3)], 10, ""));
            bench.open();
            bench
        }),
        ("watch refused with 500", || {
            let mut bench = paged();
            bench.answer(200, &list(&[object("a", 3)], 10, ""));
            bench.feed(Input::Sent);
            bench.feed(headers(500));
            bench
        }),
        ("watch backing off", || {
            let mut bench = paged();
            bench.answer(200, &list(&[object("a", 3)], 10, ""));
            bench.feed(reset());
            bench
        }),
        ("relist sent", || {
            let mut bench = Bench::streaming(config());
            bench.chunk(&event(
                "ERROR",
                &status(410, "Expired", "too old resource version"),
            ));
            bench.wait();
            bench.feed(Input::Sent);
            bench
        }),
    ]
}

fn paged() -> Bench {
    let mut bench = Bench::resolved(config());
    bench.answer(400, &status(400, "BadRequest", "no such parameter"));
    bench
}

fn chunk(bench: &mut Bench, text: &str) -> Vec<String> {
    bench.feed(Input::Chunk(text.as_bytes()))
}

type Stimulus = (&'static str, fn(&mut Bench) -> Vec<String>);

fn stimuli() -> Vec<Stimulus> {
    vec![
        ("Start", |bench| bench.feed(Input::Start)),
        ("Sent", |bench| bench.feed(Input::Sent)),
        ("200", |bench| bench.feed(ok())),
        ("200 text/html", |bench| {
            bench.feed(Input::Headers {
                status: 200,
                retry_after: None,
                content_type: Some("text/html"),
            })
        }),
        ("empty chunk", |bench| chunk(bench, "")),
        ("white space", |bench| chunk(bench, " \n ")),
        ("no JSON", |bench| chunk(bench, "<html>")),
        ("ADDED", |bench| {
            chunk(bench, &event("ADDED", &object("c", 12)))
        }),
        ("ADDED broken", |bench| {
            chunk(bench, &event("ADDED", &broken("c", 12)))
        }),
        ("DELETED", |bench| {
            chunk(bench, &event("DELETED", &object("a", 12)))
        }),
        ("DELETED broken", |bench| {
            chunk(bench, &event("DELETED", &broken("a", 12)))
        }),
        ("DELETED nobody", |bench| {
            chunk(bench, &event("DELETED", "{}"))
        }),
        ("BOOKMARK", |bench| chunk(bench, &bookmark(12, false))),
        ("BOOKMARK end", |bench| chunk(bench, &bookmark(12, true))),
        ("ERROR 410", |bench| {
            chunk(bench, &event("ERROR", &status(410, "Expired", "too old")))
        }),
        ("ERROR 500", |bench| {
            chunk(
                bench,
                &event("ERROR", &status(500, "InternalError", "cannot decode")),
            )
        }),
        ("ERROR 504 too large", |bench| {
            chunk(bench, &event("ERROR", TOO_LARGE))
        }),
        ("unknown event", |bench| {
            chunk(bench, &event("RENAMED", "{}"))
        }),
        ("half a frame, then End", |bench| {
            let mut lines = chunk(bench, "{\"type\":");
            lines.extend(bench.feed(Input::End));
            lines
        }),
        ("a list, then End", |bench| {
            let mut lines = chunk(bench, &list(&[object("c", 12)], 13, ""));
            lines.extend(bench.feed(Input::End));
            lines
        }),
        ("a list with more, then End", |bench| {
            let mut lines = chunk(bench, &list(&[object("c", 12)], 13, "next"));
            lines.extend(bench.feed(Input::End));
            lines
        }),
        ("resources, then End", |bench| {
            let mut lines = chunk(bench, DISCOVERY);
            lines.extend(bench.feed(Input::End));
            lines
        }),
        ("End", |bench| bench.feed(Input::End)),
        ("Failed", |bench| bench.feed(reset())),
        ("Tick too early", |bench| bench.feed(Input::Tick)),
        ("Tick in time", Bench::wait),
    ]
}

fn table() -> String {
    let mut text = String::new();
    for (situation, make) in situations() {
        writeln!(text, "# {situation}").unwrap();
        for (input, stimulate) in stimuli() {
            let mut bench = make();
            let mut lines = stimulate(&mut bench);
            for line in &mut lines {
                // What follows is for humans; other tests look at it.
                let start = line.split(": ").next().unwrap_or_default();
                if start.starts_with("note") || start == "state failing" {
                    line.truncate(start.len());
                }
            }
            if lines.last().is_some_and(|line| line == "close") {
                lines.push(format!("later {:?}", bench.machine.goal));
            }
            if !lines.is_empty() {
                writeln!(text, "{input}: {}", lines.join("; ")).unwrap();
            }
        }
        writeln!(text, "others: nothing").unwrap();
        writeln!(text).unwrap();
    }
    text
}

#[test]
fn every_input_in_every_situation_leads_to_its_row_of_the_table() {
    let expected = include_str!("transitions.txt");
    let found = table();
    for (number, (found, expected)) in found.lines().zip(expected.lines()).enumerate() {
        assert_eq!(found, expected, "line {}", number + 1);
    }
    assert_eq!(found.lines().count(), expected.lines().count(), "{found}");
}

/// Nothing can stall for ever (W6): wherever the machine is, either the shell owes it
/// something or a deadline is set, and time alone leads to a new request.
#[test]
fn time_alone_leads_from_everywhere_to_a_request_w6() {
    for (situation, make) in situations() {
        for (input, stimulate) in stimuli() {
            let mut bench = make();
            stimulate(&mut bench);
            if bench.machine.state() == &crate::watch::WatchState::Discovering
                && bench.machine.deadline().is_none()
            {
                bench.feed(Input::Start);
                bench.feed(Input::Sent);
            }
            bench.feed(Input::Sent);
            let mut sent = false;
            for _ in 0..20 {
                assert!(
                    bench.machine.deadline().is_some(),
                    "{situation} + {input}: stuck"
                );
                sent |= bench.wait().iter().any(|line| line.starts_with("send"));
                if sent {
                    break;
                }
            }
            assert!(sent, "{situation} + {input}: no request");
        }
    }
}
