//! Servers that have exactly one fault, always: how often they are asked (W7), and what the
//! state says meanwhile (W9).

use std::{collections::BTreeMap, time::Duration};

use super::{Bench, DISCOVERY, TOO_LARGE, bookmark, config, event, list, object, reset, status};
use crate::{
    Time,
    watch::{Action, Input, Machine, Request, RequestKind, TransportError, TransportErrorKind},
};

/// What a server does with a request.
enum Fate {
    CannotConnect,
    NoHeaders,
    Answer(u16, Option<u64>, String),
    /// 200, this, and then nothing more.
    Hang(String),
    /// 200, this, and then a blank every five seconds.
    Trickle(String),
    /// 200, this, and the connection breaks this much later.
    Break(String, Duration),
    /// 200, this, and a clean end this much later.
    Close(String, Duration),
}

/// Runs a machine for a while. Its requests in each minute, and the state in which it was longest.
fn requests(
    minutes: u64,
    seed: u64,
    server: impl Fn(&Request) -> Fate,
) -> (Vec<u32>, &'static str) {
    let mut config = config();
    config.seed = seed;
    let mut machine = Machine::new(config);
    let mut counts = vec![0; usize::try_from(minutes).unwrap()];
    let end = Time::ZERO + Duration::from_mins(minutes);
    let mut now = Time::ZERO;
    let mut out = Vec::new();
    let mut pending: Option<(Time, Option<Input<'static>>)> = None;
    machine.step(now, Input::Start, &mut out);
    let mut steps = 0;
    let mut states: BTreeMap<&'static str, Duration> = BTreeMap::new();
    loop {
        steps += 1;
        assert!(steps < 100_000, "a hot loop");
        if let Some(position) = out
            .iter()
            .rposition(|action| matches!(action, Action::Send(_) | Action::Close))
        {
            pending = None;
            if let Action::Send(request) = out.swap_remove(position) {
                counts[usize::try_from(now.since_origin().as_secs() / 60).unwrap()] += 1;
                out.clear();
                pending = serve(&mut machine, now, &server(&request), &mut out);
                continue;
            }
        }
        out.clear();
        let deadline = machine.deadline();
        let network = pending.as_ref().map(|(at, _)| *at);
        let Some(next) = [deadline, network].into_iter().flatten().min() else {
            panic!("stuck in {:?}", machine.state());
        };
        if next >= end {
            let longest = states.into_iter().max_by_key(|(_, time)| *time);
            return (counts, longest.unwrap().0);
        }
        *states.entry(machine.state().as_str()).or_default() += next - now;
        now = next;
        if network == Some(next) {
            match pending.take() {
                Some((_, Some(input))) => machine.step(now, input, &mut out),
                Some((_, None)) => {
                    machine.step(now, Input::Chunk(b" "), &mut out);
                    pending = Some((now + Duration::from_secs(5), None));
                }
                None => {}
            }
        } else {
            machine.step(now, Input::Tick, &mut out);
        }
    }
}

/// Feeds what comes at once; returns what comes later.
fn serve(
    machine: &mut Machine,
    now: Time,
    fate: &Fate,
    out: &mut Vec<Action>,
) -> Option<(Time, Option<Input<'static>>)> {
    let broken = |text: &str| TransportError {
        kind: TransportErrorKind::Connect,
        text: text.to_owned(),
    };
    let (status, retry_after, body) = match fate {
        Fate::CannotConnect => {
            machine.step(now, Input::Failed(broken("refused")), out);
            return None;
        }
        Fate::NoHeaders => {
            machine.step(now, Input::Sent, out);
            return None;
        }
        Fate::Answer(status, retry_after, body) => (*status, *retry_after, body),
        Fate::Hang(body) | Fate::Trickle(body) | Fate::Break(body, _) | Fate::Close(body, _) => {
            (200, None, body)
        }
    };
    machine.step(now, Input::Sent, out);
    let retry_after = retry_after.map(Duration::from_secs);
    machine.step(
        now,
        Input::Headers {
            status,
            retry_after,
            content_type: None,
        },
        out,
    );
    machine.step(now, Input::Chunk(body.as_bytes()), out);
    match fate {
        Fate::Answer(..) => {
            machine.step(now, Input::End, out);
            None
        }
        Fate::Trickle(_) => Some((now + Duration::from_secs(5), None)),
        Fate::Break(_, later) => Some((now + *later, Some(Input::Failed(broken("broken"))))),
        Fate::Close(_, later) => Some((now + *later, Some(Input::End))),
        Fate::CannotConnect | Fate::NoHeaders | Fate::Hang(_) => None,
    }
}

/// A server that is well but for how it treats one kind of request; its streaming lists
/// are complete and stay open unless that kind is theirs.
fn faulty(kind: RequestKind, fate: impl Fn() -> Fate) -> impl Fn(&Request) -> Fate {
    move |request| {
        if request.kind == kind {
            return fate();
        }
        match request.kind {
            RequestKind::Discover => Fate::Answer(200, None, DISCOVERY.to_owned()),
            RequestKind::List => Fate::Answer(200, None, list(&[object("a", 3)], 10, "")),
            // So that watches come about.
            RequestKind::StreamingList if kind == RequestKind::Watch => {
                Fate::Close(bookmark(10, true), Duration::from_secs(1))
            }
            RequestKind::StreamingList if kind == RequestKind::List => {
                Fate::Answer(422, None, status(422, "Invalid", "forbidden for watch"))
            }
            RequestKind::StreamingList | RequestKind::Watch => {
                Fate::Close(bookmark(10, true), Duration::from_secs(60))
            }
        }
    }
}

/// The delays double to 30 s within the first minute, and are 15 s on average from then on; full
/// jitter makes some minutes busier. A 404 costs two requests: the second asks discovery.
const FIRST_MINUTE: u32 = 24;
const LATER_MINUTE: u32 = 20;
/// A minute, over all minutes but the first.
const AVERAGE: u32 = 12;

#[track_caller]
fn check(name: &str, expected: &str, kind: RequestKind, fate: impl Fn() -> Fate + Copy) {
    for seed in 0..20 {
        let (counts, state) = requests(12, seed, faulty(kind, fate));
        let (first, later) = counts.split_first().unwrap();
        assert!(*first <= FIRST_MINUTE, "{name}: {counts:?}");
        assert!(
            later.iter().all(|count| *count <= LATER_MINUTE),
            "{name}: {counts:?}"
        );
        assert!(
            later.iter().sum::<u32>() <= AVERAGE * 11,
            "{name}: {counts:?}"
        );
        assert_eq!(state, expected, "{name}");
    }
}

fn refusal(code: u16) -> Fate {
    Fate::Answer(code, None, status(code, "", "a fault"))
}

#[test]
fn a_server_with_one_fault_is_asked_a_bounded_number_of_times_a_minute_w7() {
    use RequestKind::{Discover, List, Watch};
    let none = String::new;
    for kind in [Discover, List] {
        check("refused connection", "failing", kind, || {
            Fate::CannotConnect
        });
        check("no headers", "failing", kind, || Fate::NoHeaders);
        check("stalled body", "failing", kind, || {
            Fate::Hang("{\"items\":[".to_owned())
        });
        check("trickle", "failing", kind, || {
            Fate::Trickle("{\"items\":[".to_owned())
        });
        check("401", "failing", kind, || refusal(401));
        check("403", "forbidden", kind, || refusal(403));
        check("429", "failing", kind, || refusal(429));
        check("500", "failing", kind, || refusal(500));
        check("302", "failing", kind, || refusal(302));
        check("400", "failing", kind, || refusal(400));
        check("no body", "failing", kind, move || {
            Fate::Answer(200, None, none())
        });
        check("HTML", "failing", kind, || {
            Fate::Answer(200, None, "<html>".to_owned())
        });
        check("reset", "failing", kind, || {
            Fate::Break("{".to_owned(), Duration::ZERO)
        });
    }
    check("404", "waiting-for-crd", Discover, || refusal(404));
    check("404", "failing", List, || refusal(404));
    check("410", "failing", List, || refusal(410));
    check("endless pages", "failing", List, || {
        Fate::Answer(200, None, list(&[], 10, "same"))
    });
    check("too large", "failing", List, || {
        Fate::Answer(504, None, TOO_LARGE.to_owned())
    });

    check("refused connection", "stale", Watch, || Fate::CannotConnect);
    check("no headers", "stale", Watch, || Fate::NoHeaders);
    check("401", "stale", Watch, || refusal(401));
    check("403", "forbidden", Watch, || refusal(403));
    check("500", "stale", Watch, || refusal(500));
    check("closed at once", "stale", Watch, move || {
        Fate::Answer(200, None, none())
    });
    check("HTML", "stale", Watch, || {
        Fate::Answer(200, None, "<html>".to_owned())
    });
    check("reset", "stale", Watch, move || {
        Fate::Break(none(), Duration::ZERO)
    });
    for error in [410, 429, 500] {
        check("ERROR", "stale", Watch, move || {
            Fate::Answer(200, None, event("ERROR", &status(error, "", "a fault")))
        });
        check("refusal", "stale", Watch, move || refusal(error));
    }
    check("too large", "stale", Watch, || {
        Fate::Answer(504, None, TOO_LARGE.to_owned())
    });
    check("too large event", "stale", Watch, || {
        Fate::Answer(200, None, event("ERROR", TOO_LARGE))
    });
    check("half an event", "stale", Watch, || {
        Fate::Answer(200, None, "{\"type\":".to_owned())
    });
}

#[test]
fn a_stream_that_never_ends_its_list_gives_way_to_pages_w4() {
    use RequestKind::StreamingList;
    let added = || event("ADDED", &object("a", 3));
    check("silent", "synced", StreamingList, move || {
        Fate::Hang(added())
    });
    check("trickle", "synced", StreamingList, move || {
        Fate::Trickle(added())
    });
    check("closed", "synced", StreamingList, move || {
        Fate::Answer(200, None, added())
    });
    check("reset", "synced", StreamingList, move || {
        Fate::Break(added(), Duration::ZERO)
    });
    check("half an event", "synced", StreamingList, || {
        Fate::Answer(200, None, "{\"type\":".to_owned())
    });
    for code in [400, 401, 403, 404, 408, 410, 422, 429] {
        check("4xx", "synced", StreamingList, move || refusal(code));
    }
}

#[test]
fn quiet_streams_and_streams_that_end_cleanly_stay_synced() {
    let (counts, state) = requests(12, 1, |request: &Request| match request.kind {
        RequestKind::Discover => Fate::Answer(200, None, DISCOVERY.to_owned()),
        RequestKind::List => Fate::Answer(200, None, list(&[], 10, "")),
        RequestKind::StreamingList => refusal(422),
        RequestKind::Watch => Fate::Hang(String::new()),
    });
    assert_eq!(state, "synced");
    // A stream each 70 s, and a list each second time.
    assert!(counts.iter().skip(1).all(|count| *count <= 2), "{counts:?}");
    check("six seconds", "synced", RequestKind::Watch, || {
        Fate::Close(bookmark(10, false), Duration::from_secs(6))
    });
}

#[test]
fn retry_after_spaces_requests_w7() {
    for kind in [RequestKind::Discover, RequestKind::List, RequestKind::Watch] {
        for code in [429, 503] {
            let server = faulty(kind, || Fate::Answer(code, Some(20), String::new()));
            let (counts, _) = requests(10, 1, server);
            let later = counts.get(1..).unwrap();
            assert!(
                later.iter().all(|count| *count <= 3),
                "{kind:?} {code}: {counts:?}"
            );
        }
    }
}

#[test]
fn two_minutes_of_health_forget_earlier_failures_w7() {
    for (life, forgets) in [(150, true), (90, false)] {
        let mut delays = Vec::new();
        for seed in 0..30 {
            let mut config = config();
            config.seed = seed;
            let mut bench = Bench::streaming(config);
            for round in 0..10 {
                bench.feed(reset());
                let broken = bench.now;
                bench.wait();
                if round > 6 {
                    delays.push(bench.now - broken);
                }
                bench.open();
                for _ in 0..3 {
                    bench.pass(Duration::from_secs(life / 3));
                    bench.chunk(&bookmark(20, false));
                }
            }
        }
        let longest = delays.into_iter().max().unwrap();
        assert_eq!(
            longest <= Duration::from_millis(800),
            forgets,
            "{life} s: {longest:?}"
        );
    }
}
