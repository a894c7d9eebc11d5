//! Random schedules: what is watched, what is written, what goes wrong, and when.

use std::fmt;
use std::num::NonZeroU64;
use std::time::Duration;

use haptic_cluster::{Fault, How, Moment, Page, Place, Refusal, Rule, Verb, When};
use haptic_core::spec::{ScopeSpec, Storage, WatchSpec};
use serde_json::{Value, json};

use crate::random::Random;
use crate::truth::{Key, Kind, Selection};

/// Everything that happens in a run, decided beforehand.
pub struct Schedule {
    pub seed: u64,
    pub watches: Vec<Watch>,
    /// Objects a page of the lists.
    pub page_size: u32,
    /// Whether the host takes compressed answers.
    pub gzip: bool,
    /// Whether the definition of widgets is there from the beginning.
    pub defined: bool,
    /// Written before the host starts: so many versions that no replica lags back to before
    /// [`anchors`] were made.
    pub before: Vec<Write>,
    /// In the order of time.
    pub storm: Vec<(Duration, Op)>,
    /// When all faults are gone.
    pub calm: Duration,
    /// Written when all faults are gone.
    pub after: Vec<(Duration, Op)>,
}

#[derive(Clone, Debug)]
pub struct Watch {
    pub kind: Kind,
    pub selection: Selection,
    pub debounce: Duration,
    pub keeps: Keeps,
}

/// Where a watch has its bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// In memory.
    Bodies,
    /// On the server; the objects come whole, because an index is of what is in them.
    Digests,
    /// On the server; only metadata comes, unless the host selects by something else.
    Metadata,
}

impl Keeps {
    pub fn is_cached(self) -> bool {
        self != Self::Bodies
    }

    /// Whether objects are found by their colour.
    pub fn knows_colors(self) -> bool {
        self != Self::Metadata
    }
}

#[derive(Clone, Debug)]
pub enum Write {
    Apply {
        key: Key,
        color: &'static str,
        app: &'static str,
    },
    Delete(Key),
    /// The same name again, with a new uid.
    Recreate(Key),
}

#[derive(Clone, Debug)]
pub enum Op {
    Write(Kind, Write),
    /// The rule with this number begins to act.
    Begin(usize, Rule),
    /// It is taken back.
    End(usize),
    Compact,
    /// The definition of widgets goes, or comes.
    Define(bool),
    /// Streams end, as when a server restarts.
    EndStreams,
    ForceSync,
}

const COLORS: [&str; 3] = ["red", "green", "blue"];
const APPS: [&str; 2] = ["web", "db"];
const NAMESPACES: [&str; 3] = ["a", "b", "c"];

/// No replica lags further behind than this, in versions: fewer than are written before
/// the host starts.
const LAG: u64 = 20;

/// The numbers of the rules that are about GETs alone begin here.
const GET_RULES: usize = 100;

/// Objects that exist all the time and that every watch selects.
pub fn anchors() -> Vec<Key> {
    ["a", "b"].map(|namespace| key(namespace, "anchor")).into()
}

pub fn key(namespace: &str, name: &str) -> Key {
    (namespace.to_owned(), name.to_owned())
}

impl Watch {
    pub fn spec(&self, number: usize) -> WatchSpec {
        let namespaces = self.selection.namespaces.iter();
        WatchSpec {
            name: format!("watch-{number}"),
            api_version: self.kind.api_version().to_owned(),
            resources: self.kind.plural().to_owned(),
            scope: if self.selection.namespaces.is_empty() {
                ScopeSpec::AllNamespaces
            } else {
                ScopeSpec::Namespaces(namespaces.map(|name| (*name).to_owned()).collect())
            },
            label_selector: self.selection.app.map(|app| format!("app={app}")),
            field_selector: self
                .selection
                .color
                .map(|color| format!("data.color={color}")),
            indexes: self.indexes(),
            storage: if self.keeps.is_cached() {
                Storage::Cached
            } else {
                Storage::Memory
            },
            // Short enough to be over within a run.
            cache_ttl: Some(Duration::from_secs(20)),
            ignore_fields: vec!["metadata.managedFields".to_owned()],
            debounce: Some(self.debounce),
            required: true,
            ..WatchSpec::default()
        }
    }

    fn indexes(&self) -> Vec<(String, Vec<String>)> {
        let app = "metadata.labels.app".to_owned();
        let color = "data.color".to_owned();
        let mut indexes = vec![("app".to_owned(), vec![app.clone()])];
        if self.keeps.knows_colors() {
            indexes.push(("color".to_owned(), vec![color.clone()]));
            indexes.push(("app-color".to_owned(), vec![app, color]));
        }
        indexes
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seed,
            page_size,
            gzip,
            defined,
            calm,
            ..
        } = self;
        writeln!(
            out,
            "seed {seed}: pages of {page_size}, gzip {gzip}, widgets defined {defined}, calm after {calm:?}"
        )?;
        for watch in &self.watches {
            writeln!(out, "  {watch:?}")?;
        }
        for write in &self.before {
            writeln!(out, "  before: {write:?}")?;
        }
        for (at, op) in self.storm.iter().chain(&self.after) {
            writeln!(out, "  {at:?}: {op:?}")?;
        }
        Ok(())
    }
}

impl Schedule {
    pub fn new(seed: u64) -> Self {
        let random = &mut Random::new(seed);
        // Drawn apart, so that what an older seed has found stays what it was.
        let gets = &mut Random::new(seed ^ 0x6765_7473);
        let mut watches: Vec<Watch> = (0..1 + random.below(3)).map(|_| watch(random)).collect();
        for watch in &mut watches {
            use Keeps::{Bodies, Digests, Metadata};
            watch.keeps = gets.of(&[Bodies, Bodies, Digests, Metadata]);
        }
        let widgets = watches.iter().any(|watch| watch.kind == Kind::Widget);
        let calm = random.seconds(60, 420);
        let mut storm = Vec::new();
        let mut at = Duration::ZERO;
        while at < calm {
            if random.one_in(8) {
                storm.extend(circumstances(random, widgets).map(|op| (at, op)));
            }
            storm.push((at, Op::Write(kind(random, widgets), write(random))));
            // Bursts and pauses.
            at += match random.below(4) {
                0 => random.millis(0, 20),
                1 | 2 => random.millis(20, 4_000),
                _ => random.seconds(1, 40),
            };
        }
        for number in 0..3 + random.below(10) {
            // Some are there when the host starts: first lists are as fragile as watches.
            let begin = if random.one_in(3) {
                Duration::ZERO
            } else {
                random.millis(0, u64::try_from(calm.as_millis()).unwrap() - 1)
            };
            let fault = fault(random);
            let rule = Rule {
                when: when(random, &fault),
                skip: random.next() % 3 * (random.next() % 2),
                times: random.one_in(3).then(|| 1 + random.next() % 4),
                fault,
            };
            let end = begin + random.seconds(1, 120);
            storm.push((begin, Op::Begin(number, rule)));
            storm.push((end.min(calm), Op::End(number)));
        }
        if watches.iter().any(|watch| watch.keeps.is_cached()) {
            for number in 0..gets.below(6) {
                let begin = gets.millis(0, u64::try_from(calm.as_millis()).unwrap() - 1);
                let rule = Rule {
                    skip: gets.next() % 3,
                    times: gets.one_in(2).then(|| 1 + gets.next() % 8),
                    ..Rule::new(When::verbs([Verb::Get]), fault(gets))
                };
                let (number, end) = (GET_RULES + number, begin + gets.seconds(1, 60));
                storm.push((begin, Op::Begin(number, rule)));
                storm.push((end.min(calm), Op::End(number)));
            }
        }
        storm.sort_by_key(|(at, _)| *at);
        let mut after = vec![(calm, Op::Define(true))];
        for _ in 0..4 {
            let op = Op::Write(kind(random, widgets), write(random));
            after.push((calm + random.seconds(0, 90), op));
        }
        after.sort_by_key(|(at, _)| *at);
        Self {
            seed,
            watches,
            page_size: random.of(&[1, 2, 3, 500]),
            gzip: !random.one_in(3),
            defined: !random.one_in(4),
            before: before(random),
            storm,
            calm,
            after,
        }
    }

    /// Whether a server in it shows an older state than it showed before.
    pub fn travels(&self) -> bool {
        self.lags(|everything| everything)
    }

    /// Whether some of its servers do not know the newest state, and do not say so.
    pub fn has_replicas(&self) -> bool {
        self.lags(|_| true)
    }

    fn lags(&self, which: impl Fn(bool) -> bool) -> bool {
        self.storm.iter().any(|(_, op)| match op {
            // What GETs show is never older than the store, whatever they are told.
            Op::Begin(number, _) if *number >= GET_RULES => false,
            Op::Begin(_, rule) => match &rule.fault {
                Fault::Lag { everything, .. } => which(*everything),
                _ => false,
            },
            _ => false,
        })
    }
}

fn watch(random: &mut Random) -> Watch {
    let some = |random: &mut Random, choice| random.one_in(3).then_some(choice);
    Watch {
        kind: if random.one_in(3) {
            Kind::Widget
        } else {
            Kind::ConfigMap
        },
        selection: Selection {
            namespaces: random.of(&[vec![], vec![], vec!["a"], vec!["a", "b"]]),
            app: some(random, "web"),
            color: some(random, "red"),
        },
        debounce: random.of(&[0, 500, 5_000].map(Duration::from_millis)),
        keeps: Keeps::Bodies,
    }
}

fn kind(random: &mut Random, widgets: bool) -> Kind {
    if widgets && random.one_in(2) {
        Kind::Widget
    } else {
        Kind::ConfigMap
    }
}

fn write(random: &mut Random) -> Write {
    if random.one_in(6) {
        // What is always there changes too, but never leaves a selection.
        return Write::Apply {
            key: random.of(&anchors()),
            color: "red",
            app: "web",
        };
    }
    let key = key(random.of(&NAMESPACES), &format!("o{}", random.below(5)));
    match random.below(10) {
        0..=2 => Write::Delete(key),
        3 => Write::Recreate(key),
        _ => Write::Apply {
            key,
            color: random.of(&COLORS),
            app: random.of(&APPS),
        },
    }
}

fn before(random: &mut Random) -> Vec<Write> {
    let anchor = |key| Write::Apply {
        key,
        color: "red",
        app: "web",
    };
    let mut writes: Vec<Write> = anchors().into_iter().map(anchor).collect();
    // Each of these is a version, whatever chance has drawn.
    for number in 0..=LAG {
        writes.push(Write::Apply {
            key: key("c", &format!("o{}", number % 5)),
            color: COLORS[usize::try_from(number).unwrap() / 5 % 3],
            app: "web",
        });
    }
    for _ in 0..random.below(20) {
        writes.push(write(random));
    }
    writes
}

fn circumstances(random: &mut Random, widgets: bool) -> impl Iterator<Item = Op> {
    let ops = match random.below(10) {
        0 => vec![Op::Compact],
        1 => vec![Op::EndStreams],
        // What a watch has not seen yet is forgotten: it must list again.
        2..=4 => {
            let missed = Op::Write(kind(random, widgets), write(random));
            vec![Op::EndStreams, missed, Op::Compact]
        }
        5 => vec![Op::ForceSync],
        6 | 7 if widgets => vec![Op::Define(false)],
        _ => vec![Op::Define(true)],
    };
    ops.into_iter()
}

/// Which requests, such that the fault can happen at all.
fn when(random: &mut Random, fault: &Fault) -> When {
    use Verb::{Discovery, List, StreamingList, Watch};
    let mut verbs = match random.below(6) {
        0 => vec![List],
        1 => vec![Watch],
        2 => vec![StreamingList],
        3 => vec![Watch, StreamingList],
        4 => vec![List, StreamingList],
        _ => vec![Discovery, List, StreamingList, Watch],
    };
    let absent = matches!(fault, Fault::Status(refusal) if refusal.code == 404);
    if absent || matches!(fault, Fault::Lag { .. }) {
        // Discovery tells the truth, or nothing: else the host would be right to believe it.
        verbs.retain(|verb| *verb != Discovery);
    }
    When {
        verbs: verbs.into_iter().collect(),
        resource: random.one_in(3).then(|| "configmaps".to_owned()),
        page: random
            .one_in(8)
            .then(|| random.of(&[Page::First, Page::Continue])),
        one_in: random.one_in(4).then(|| NonZeroU64::new(2)).flatten(),
        ..When::default()
    }
}

/// One of all faults that there are.
pub fn fault(random: &mut Random) -> Fault {
    let after = random.next() % 6;
    match random.below(24) {
        0 | 1 => Fault::Status(refusal(random)),
        2 => Fault::Html {
            code: random.of(&[200, 404, 502, 503]),
        },
        3 => Fault::Unauthorized {
            tokens: Default::default(),
        },
        4 => Fault::Forbidden {
            end_streams: random.one_in(2),
        },
        5 => Fault::Expired {
            after: random.one_in(2).then_some(after),
        },
        6 => Fault::ErrorEvent {
            after,
            status: refusal(random),
        },
        7 => Fault::TooLargeVersion,
        8 => Fault::RefuseStreaming {
            code: random.of(&[400, 422]),
        },
        9 => Fault::ExpireContinue {
            fresh: random.one_in(2),
        },
        10 => Fault::Delay {
            by: random.millis(0, 40_000),
            at: moment(random),
        },
        11 => Fault::Hold { at: moment(random) },
        12 | 13 => Fault::Lag {
            versions: random.one_in(2).then(|| random.next() % LAG),
            everything: random.one_in(2),
        },
        14..=17 => Fault::Break {
            at: place(random),
            how: how(random),
        },
        18 => Fault::WithholdBookmark,
        19 => {
            let (event, object) = random.of(&oddities());
            Fault::Inject {
                after,
                event,
                object,
            }
        }
        20 => Fault::Pad {
            name: random.of(&["anchor", "o1"]).to_owned(),
            bytes: random.of(&[100, 100_000, 1_500_000]),
        },
        21 => Fault::Coalesce {
            events: 1 + random.below(10),
            wait: random.millis(0, 5_000),
        },
        22 => Fault::Gzip {
            members: random.one_in(2),
            unasked: random.one_in(3),
        },
        _ => Fault::Split {
            // A large object in single bytes would be a million chunks.
            bytes: random.of(&[1, 7, 100, 5_000]),
            seed: random.one_in(2).then(|| random.next()),
        },
    }
}

fn moment(random: &mut Random) -> Moment {
    random.of(&[Moment::Arrival, Moment::Answered])
}

fn refusal(random: &mut Random) -> Refusal {
    let code = random.of(&[
        400, 401, 403, 404, 408, 409, 410, 422, 429, 429, 500, 503, 504,
    ]);
    Refusal {
        retry_after: random.of(&[None, None, Some(1), Some(30), Some(u64::MAX)]),
        pretty: random.one_in(2),
        details: random.of(&[Value::Null, json!({})]),
        ..Refusal::new(code, "Whatever", "a fault says no")
    }
}

fn place(random: &mut Random) -> Place {
    match random.below(4) {
        0 => Place::Start,
        1 => Place::Bytes(random.of(&[0, 1, 30, 500, 3_000])),
        2 => Place::Event {
            after: random.next() % 6,
            bytes: random.below(400) * random.below(2),
        },
        _ => Place::Millis(random.millis(0, 90_000)),
    }
}

fn how(random: &mut Random) -> How {
    match random.below(5) {
        0 => How::Stall,
        1 => How::Trickle {
            every: random.millis(100, 20_000),
        },
        2 => How::End,
        3 => How::Fin,
        _ => How::Reset,
    }
}

/// Events that no server should send.
pub fn oddities() -> Vec<(String, Value)> {
    [
        ("SURPRISE", json!({"kind": "ConfigMap"})),
        ("ADDED", json!("text")),
        ("MODIFIED", json!(7)),
        ("DELETED", Value::Null),
        ("ADDED", json!([])),
        ("BOOKMARK", json!({})),
        ("ADDED", json!({"kind": "ConfigMap", "apiVersion": "v1"})),
        ("DELETED", json!({"metadata": {"namespace": "a"}})),
    ]
    .map(|(event, object)| (event.to_owned(), object))
    .into()
}
