//! Every input in every situation, beside what it leads to: `transitions.txt`.

use std::{fmt::Write as _, time::Duration};

use super::{Bench, Server, WALL, refusal};
use crate::lease::{Input, LeaseState};

type Situation = (&'static str, fn() -> Bench);

fn following() -> Bench {
    let mut bench = Bench::started("me");
    bench.settle(&mut Server::held_by("other", 15));
    bench
}

fn leading() -> Bench {
    Bench::leading(&mut Server::default())
}

fn then(mut bench: Bench, input: Input<'_>) -> Bench {
    bench.feed(input);
    bench
}

fn waited(mut bench: Bench) -> Bench {
    bench.wait();
    bench
}

fn situations() -> Vec<Situation> {
    vec![
        ("not started", || Bench::new("me")),
        ("first look", || Bench::started("me")),
        ("creating", || {
            let mut bench = Bench::started("me");
            bench.answer(refusal(404, "not found"));
            bench
        }),
        ("following", following),
        ("looking while following", || waited(following())),
        ("taking an expired lease", || {
            let mut bench = following();
            let mut server = Server::held_by("other", 15);
            bench.run(&mut server, 14);
            while bench.machine.state() != &LeaseState::Contending {
                bench.wait();
                if bench
                    .request
                    .as_ref()
                    .is_some_and(|r| r.verb.as_str() == "update")
                {
                    break;
                }
                bench.settle(&mut server);
            }
            bench
        }),
        ("deleted while following", || {
            let mut bench = waited(following());
            bench.answer(refusal(404, "not found"));
            bench
        }),
        ("failing", || {
            then(Bench::started("me"), Input::Failed("reset"))
        }),
        ("leading", leading),
        ("renewing", || waited(leading())),
        ("renewal in conflict", || {
            let mut bench = waited(leading());
            bench.answer(refusal(409, "conflict"));
            bench
        }),
        ("renewal failed", || {
            then(waited(leading()), Input::Failed("reset"))
        }),
        ("releasing", || then(leading(), Input::Release)),
        ("releasing while renewing", || {
            then(waited(leading()), Input::Release)
        }),
        ("release failed", || {
            then(then(leading(), Input::Release), Input::Failed("reset"))
        }),
        ("ended", || then(following(), Input::Release)),
    ]
}

type Stimulus = (&'static str, fn(&mut Bench) -> Vec<String>);

fn stored(bench: &mut Bench) -> Vec<String> {
    // What the request asks for is done, whatever was there.
    let Some(request) = bench.request.take() else {
        return bench.answer((200, Server::held_by("other", 15).lease.unwrap().to_string()));
    };
    let mut lease: serde_json::Value = match request.verb.as_str() {
        "get" => Server::held_by("other", 15).lease.unwrap(),
        _ => serde_json::from_slice(&request.body(WALL)).unwrap(),
    };
    lease["metadata"]["resourceVersion"] = "900".into();
    bench.answer((200, lease.to_string()))
}

fn stimuli() -> Vec<Stimulus> {
    vec![
        ("Start", |bench| bench.feed(Input::Start)),
        ("200", stored),
        ("200, of another", |bench| {
            bench.answer((200, Server::held_by("other", 15).lease.unwrap().to_string()))
        }),
        ("200, free", |bench| {
            bench.answer((200, Server::held_by("", 1).lease.unwrap().to_string()))
        }),
        ("200, no Lease", |bench| {
            bench.answer((200, "<html>".to_owned()))
        }),
        ("403", |bench| bench.answer(refusal(403, "no"))),
        ("404", |bench| bench.answer(refusal(404, "not found"))),
        ("409", |bench| bench.answer(refusal(409, "conflict"))),
        ("503", |bench| bench.answer(refusal(503, "busy"))),
        ("Failed", |bench| bench.feed(Input::Failed("reset"))),
        ("Tick too early", |bench| bench.feed(Input::Tick)),
        ("Tick in time", Bench::wait),
        ("Tick after a pause", |bench| {
            bench.now = bench.now + Duration::from_mins(5);
            bench.feed(Input::Tick)
        }),
        ("Release", |bench| bench.feed(Input::Release)),
    ]
}

fn table() -> String {
    let mut text = String::new();
    for (situation, make) in situations() {
        writeln!(text, "# {situation}").unwrap();
        for (input, stimulate) in stimuli() {
            let mut bench = make();
            let lines = stimulate(&mut bench);
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

/// Nothing can stall for ever: wherever the machine is, time alone leads to a new request, or to
/// the end.
#[test]
fn l2_time_alone_leads_from_everywhere_to_a_request() {
    for (situation, make) in situations() {
        for (input, stimulate) in stimuli() {
            let mut bench = make();
            stimulate(&mut bench);
            bench.feed(Input::Start);
            if bench.machine.state() == &LeaseState::Ended {
                continue;
            }
            let mut lines = Vec::new();
            for _ in 0..10 {
                assert!(
                    bench.machine.deadline().is_some(),
                    "{situation} + {input}: stuck"
                );
                lines.extend(bench.wait());
                if bench.machine.state() == &LeaseState::Ended {
                    break;
                }
            }
            assert!(
                lines
                    .iter()
                    .any(|line| line.starts_with("send") || line == "ended"),
                "{situation} + {input}: {lines:?}"
            );
        }
    }
}
