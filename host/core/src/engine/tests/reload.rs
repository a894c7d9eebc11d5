//! P3: a new version of a plugin takes the old one's place. Whatever fails, changes or
//! follows meanwhile: nothing is lost, nothing told twice, and the two never commit in turns.

use super::*;

/// A plugin, and a candidate for its place.
struct Pair {
    engine: Engine,
    old: PluginId,
    new: PluginId,
}

impl Pair {
    /// The old one was told that there is nothing.
    fn new(old: &[WatchSpec], new: &[WatchSpec]) -> Self {
        let mut engine = Engine::new();
        let old = engine.add_plugin("p", &plans(old), "own");
        let stores: Vec<StoreId> = engine.stores().map(|(id, ..)| id).collect();
        for store in stores {
            list(&mut engine, 0, store, vec![object("a", 1, 1, 1)]);
        }
        while let Some(call) = engine.poll(at(0)).pop() {
            engine.finished(at(0), call.plugin, Outcome::Ok);
        }
        let new = engine.add_candidate(old, &plans(new), "own");
        Self { engine, old, new }
    }

    /// What is due, as `old: …` or `new: …`; nothing of it has ended.
    fn due(&mut self, ms: u64) -> Vec<String> {
        let calls = self.engine.poll(at(ms));
        let calls = calls.iter().map(|call| {
            let who = if call.plugin == self.new {
                "new"
            } else {
                "old"
            };
            let kept = match call.outputs {
                Disposal::Commit => "",
                Disposal::Keep { first: true } => " (first)",
                Disposal::Keep { first: false } => " (kept)",
            };
            format!("{who}: {}{kept}", words(call))
        });
        calls.collect()
    }

    fn apply(&mut self, ms: u64, name: &str) {
        let version = u32::try_from(ms).unwrap();
        let output = WatchOutput::Applied(object(name, 1, version, version));
        self.engine.watch(at(ms), StoreId(0), 0, output);
    }

    fn end(&mut self, ms: u64, plugin: PluginId, outcome: Outcome) {
        self.engine.finished(at(ms), plugin, outcome);
    }

    fn state(&self) -> Option<CandidateState> {
        self.engine.candidate_state(self.new)
    }

    /// Nothing more is to be told: it takes over.
    #[track_caller]
    fn takes_over(&mut self, ms: u64) {
        assert_eq!(self.due(ms), [""; 0]);
        assert_eq!(self.engine.takeovers(), [self.new]);
        assert_eq!(self.engine.takeovers(), [], "once");
        assert_eq!(self.state(), Some(CandidateState::TakingOver));
        let old = self.engine.took_over(at(ms), self.new, Outcome::Ok);
        assert_eq!(old, Some(self.old));
        assert_eq!(self.state(), None);
        assert_eq!(self.engine.plugin_name(self.new), "p");
    }
}

fn list(engine: &mut Engine, ms: u64, store: StoreId, objects: Vec<Object>) {
    engine.watch(at(ms), store, 0, WatchOutput::ListBegin);
    for object in objects {
        engine.watch(at(ms), store, 0, WatchOutput::Listed(object));
    }
    let resource_version = String::new();
    engine.watch(at(ms), store, 0, WatchOutput::ListEnd { resource_version });
}

fn secrets() -> WatchSpec {
    WatchSpec {
        resources: "secrets".to_owned(),
        ..spec("secrets")
    }
}

#[test]
fn p3_a_candidate_is_told_everything_and_takes_over() {
    let mut pair = Pair::new(&[spec("maps")], &[spec("maps")]);
    assert_eq!(pair.engine.stores().count(), 1, "they share the store");
    assert_eq!(pair.state(), Some(CandidateState::Waiting));
    assert_eq!(pair.due(1_000), ["new: sync 0 1 (first)"]);
    assert_eq!(pair.state(), Some(CandidateState::Rehearsing));
    pair.end(1_000, pair.new, Outcome::Ok);
    pair.takes_over(1_000);
    pair.apply(2_000, "b");
    assert_eq!(pair.due(2_000), ["new: change 0 +1 ~0 -0 +b"]);
}

#[test]
fn p3_the_old_one_goes_on_while_the_candidate_waits_and_rehearses() {
    let mut pair = Pair::new(&[spec("maps")], &[spec("maps"), secrets()]);
    pair.apply(1_000, "b");
    assert_eq!(pair.due(1_000), ["old: change 0 +1 ~0 -0 +b"]);
    pair.end(1_000, pair.old, Outcome::Ok);
    assert_eq!(pair.state(), Some(CandidateState::Waiting), "for secrets");
    list(&mut pair.engine, 2_000, StoreId(1), vec![]);
    assert_eq!(pair.due(2_000), ["new: sync 0 2 (first)"]);
    // It loops, and the old one is called all the same.
    for ms in [3_000, 4_000, 5_000] {
        pair.apply(ms, "b");
        assert_eq!(pair.due(ms), ["old: change 0 +0 ~1 -0 ~b"]);
        pair.end(ms, pair.old, Outcome::Ok);
    }
    pair.end(6_000, pair.new, Outcome::Ok);
    assert_eq!(pair.due(6_000), ["new: sync 1 0 (kept)"]);
    pair.end(6_000, pair.new, Outcome::Ok);
    // What changed meanwhile it is told before it takes over, and the old one waits.
    pair.apply(6_001, "c");
    assert_eq!(pair.due(6_001), ["new: change 0 +1 ~1 -0 ~b +c (kept)"]);
    pair.apply(6_002, "d");
    assert_eq!(pair.due(6_002), [""; 0]);
    pair.end(6_003, pair.new, Outcome::Ok);
    pair.takes_over(6_003);
    // The interval counts on from its last callback, as ever.
    assert_eq!(pair.engine.next_due(), Some(at(6_501)));
    assert_eq!(pair.due(6_501), ["new: change 0 +1 ~0 -0 +d"]);
}

#[test]
fn p3_a_callback_of_the_old_one_that_runs_is_waited_for() {
    let mut pair = Pair::new(&[spec("maps")], &[spec("maps")]);
    pair.apply(1_000, "b");
    assert_eq!(
        pair.due(1_000),
        ["old: change 0 +1 ~0 -0 +b", "new: sync 0 2 (first)"]
    );
    pair.end(1_001, pair.new, Outcome::Ok);
    assert_eq!(pair.due(1_001), [""; 0]);
    assert_eq!(pair.engine.takeovers(), []);
    pair.apply(1_002, "c");
    pair.end(1_003, pair.old, Outcome::Ok);
    assert_eq!(pair.due(1_003), ["new: change 0 +1 ~0 -0 +c (kept)"]);
    pair.end(1_003, pair.new, Outcome::Ok);
    pair.takes_over(1_003);
}

#[test]
fn p3_a_candidate_that_traps_is_refused_and_the_old_one_knows_nothing_of_it() {
    let mut pair = Pair::new(&[spec("maps")], &[spec("maps"), secrets()]);
    list(&mut pair.engine, 1_000, StoreId(1), vec![]);
    assert_eq!(pair.due(1_000), ["new: sync 0 1 (first)"]);
    pair.apply(1_001, "b");
    pair.end(1_002, pair.new, Outcome::Died);
    assert_eq!(pair.state(), Some(CandidateState::Refused));
    assert_eq!(pair.due(1_003), ["old: change 0 +1 ~0 -0 +b"]);
    pair.end(1_003, pair.old, Outcome::Ok);
    assert_eq!(pair.due(900_000), [""; 0], "it is never called again");
    pair.engine.remove(pair.new);
    assert_eq!(pair.state(), None);
    assert_eq!(pair.engine.stores().count(), 1, "its store is gone");
    assert_eq!(pair.engine.failures(pair.old), 0);
}

#[test]
fn p3_a_trap_while_it_catches_up_lets_the_old_one_go_on() {
    let mut pair = Pair::new(&[spec("maps")], &[spec("maps")]);
    assert_eq!(pair.due(1_000), ["new: sync 0 1 (first)"]);
    pair.apply(1_001, "b");
    pair.end(1_002, pair.new, Outcome::Ok);
    assert_eq!(pair.due(1_002), ["new: change 0 +1 ~0 -0 +b (kept)"]);
    pair.end(1_003, pair.new, Outcome::Died);
    assert_eq!(pair.due(1_003), ["old: change 0 +1 ~0 -0 +b"]);
}

#[test]
fn p3_a_candidate_that_errs_is_tried_again_and_refused_when_it_goes_on() {
    let mut pair = Pair::new(&[spec("maps")], &[spec("maps")]);
    let max = NonZeroU32::new(3).unwrap();
    pair.engine.set_max_failures(pair.new, max);
    for (ms, state) in [
        (1_000, CandidateState::Rehearsing),
        (2_000, CandidateState::Rehearsing),
        (4_000, CandidateState::Refused),
    ] {
        let due = pair.due(ms);
        assert!(due[0].starts_with("new: sync 0 "), "{due:?}");
        pair.end(ms, pair.new, Outcome::Failed);
        assert_eq!(pair.state(), Some(state));
        // Nobody waits for it.
        pair.apply(ms + 500, "b");
        let due = pair.due(ms + 500);
        assert!(due[0].starts_with("old: "), "{due:?}");
        pair.end(ms + 500, pair.old, Outcome::Ok);
    }
}

#[test]
fn p3_an_error_while_it_catches_up_does_not_hold_the_old_one() {
    let mut pair = Pair::new(&[spec("maps")], &[spec("maps")]);
    assert_eq!(pair.due(1_000), ["new: sync 0 1 (first)"]);
    pair.apply(1_001, "b");
    pair.end(1_002, pair.new, Outcome::Ok);
    assert_eq!(pair.due(1_002), ["new: change 0 +1 ~0 -0 +b (kept)"]);
    pair.end(1_003, pair.new, Outcome::Failed);
    assert_eq!(pair.due(1_003), ["old: change 0 +1 ~0 -0 +b"]);
    pair.end(1_003, pair.old, Outcome::Ok);
    assert_eq!(pair.engine.next_due(), Some(at(2_003)), "with backoff");
    assert_eq!(pair.due(2_003), ["new: change 0 +1 ~0 -0 +b (kept)"]);
    pair.end(2_003, pair.new, Outcome::Ok);
    pair.takes_over(2_003);
}

#[test]
fn p3_outputs_that_cannot_be_committed_leave_the_old_one_in_place() {
    let mut pair = Pair::new(&[spec("maps")], &[spec("maps")]);
    pair.engine.set_max_failures(pair.new, NonZeroU32::MIN);
    let mut now = 1_000;
    for wait in [1_000, 2_000, 4_000] {
        assert_eq!(pair.due(now), ["new: sync 0 1 (first)"]);
        pair.end(now, pair.new, Outcome::Ok);
        assert_eq!(pair.due(now), [""; 0]);
        assert_eq!(pair.engine.takeovers(), [pair.new]);
        let old = pair.engine.took_over(at(now), pair.new, Outcome::Failed);
        assert_eq!(old, None);
        assert_eq!(pair.due(now), [""; 0]);
        assert_eq!(pair.engine.next_due(), Some(at(now + wait)));
        assert_ne!(pair.state(), Some(CandidateState::Refused), "not its fault");
        now += wait;
    }
    assert_eq!(pair.due(now), ["new: sync 0 1 (first)"]);
    pair.end(now, pair.new, Outcome::Ok);
    pair.takes_over(now);
}

#[test]
fn p3_stores_that_both_share_go_on_and_those_of_the_old_one_alone_are_freed() {
    let pods = WatchSpec {
        resources: "pods".to_owned(),
        ..spec("pods")
    };
    let renamed = WatchSpec {
        required: false,
        ..spec("renamed")
    };
    let mut pair = Pair::new(&[spec("maps"), secrets()], &[renamed, pods]);
    let ids = |engine: &Engine| engine.stores().map(|(id, ..)| id.0).collect::<Vec<_>>();
    assert_eq!(ids(&pair.engine), [0, 1, 2]);
    let body = {
        let snapshot = pair.engine.snapshot(StoreId(1)).unwrap();
        Arc::downgrade(snapshot.list().next().unwrap())
    };
    list(&mut pair.engine, 1_000, StoreId(2), vec![]);
    for due in ["new: sync 0 1 (first)", "new: sync 1 0 (kept)"] {
        assert_eq!(pair.due(1_000), [due]);
        pair.end(1_000, pair.new, Outcome::Ok);
    }
    pair.takes_over(1_000);
    assert_eq!(ids(&pair.engine), [0, 2]);
    assert!(body.upgrade().is_none(), "what nobody reads is freed");
    assert_eq!(pair.engine.status(StoreId(0)).unwrap().name, "renamed");
    // What is still under way for the store that is gone finds nobody.
    list(
        &mut pair.engine,
        1_001,
        StoreId(1),
        vec![object("x", 1, 1, 1)],
    );
    assert_eq!(pair.due(1_001), [""; 0]);
    let next = pair.engine.add_plugin("q", &plans(&[secrets()]), "own");
    assert_eq!(
        pair.engine.store_of(next, 0),
        Some(StoreId(3)),
        "ids are not used again"
    );
}

#[test]
fn p3_the_last_of_two_plugins_that_shared_a_store_frees_it() {
    let mut pair = Pair::new(&[spec("maps")], &[secrets()]);
    let other = pair
        .engine
        .add_plugin("q", &plans(&[spec("theirs")]), "own");
    pair.engine.remove(pair.old);
    assert_eq!(pair.engine.status(StoreId(0)).unwrap().name, "theirs");
    pair.engine.remove(other);
    assert_eq!(pair.engine.status(StoreId(0)), None);
    assert_eq!(pair.engine.stores().count(), 1);
}

#[test]
fn p3_a_candidate_with_optional_watches_alone_waits_until_it_was_told_something() {
    let optional = WatchSpec {
        required: false,
        ..secrets()
    };
    let mut pair = Pair::new(&[spec("maps")], &[optional]);
    assert_eq!(pair.due(1_000), [""; 0]);
    assert_eq!(pair.engine.takeovers(), []);
    assert_eq!(pair.engine.next_due(), None);
    list(&mut pair.engine, 2_000, StoreId(1), vec![]);
    assert_eq!(pair.due(2_000), ["new: sync 0 0 (first)"]);
    pair.end(2_000, pair.new, Outcome::Ok);
    pair.takes_over(2_000);
}

#[test]
fn p3_a_single_object_that_changes_all_the_time_does_not_keep_a_candidate_waiting() {
    let single = WatchSpec {
        object_name: Some("a".to_owned()),
        ..spec("one")
    };
    let mut pair = Pair::new(std::slice::from_ref(&single), std::slice::from_ref(&single));
    assert_eq!(pair.due(1_000), ["new: applied 0 1 (first)"]);
    pair.apply(1_001, "a");
    assert_eq!(pair.due(1_001), ["old: applied 0 1001"]);
    pair.end(1_002, pair.new, Outcome::Ok);
    pair.apply(1_002, "a");
    pair.end(1_002, pair.old, Outcome::Ok);
    assert_eq!(pair.due(1_003), ["new: applied 0 1002 (kept)"]);
    pair.apply(1_004, "a");
    pair.end(1_004, pair.new, Outcome::Ok);
    pair.takes_over(1_005);
    assert_eq!(pair.due(1_005), ["new: applied 0 1004"]);
}

#[test]
fn p3_a_broken_plugin_is_replaced_at_once() {
    let mut pair = Pair::new(&[spec("maps")], &[spec("maps")]);
    pair.engine.set_max_failures(pair.old, NonZeroU32::MIN);
    pair.apply(500, "b");
    assert_eq!(pair.due(500).len(), 2);
    pair.end(500, pair.old, Outcome::Died);
    assert!(pair.engine.is_broken(pair.old));
    pair.end(501, pair.new, Outcome::Ok);
    pair.takes_over(501);
    assert!(!pair.engine.is_broken(pair.new));
}

#[test]
fn p3_l3_a_followers_candidate_waits_beside_the_old_one_and_goes_first_when_it_leads() {
    let mut pair = Pair::new(&[spec("maps")], &[spec("maps")]);
    pair.engine.follow();
    assert_eq!(pair.due(1_000), [""; 0]);
    assert_eq!(pair.engine.takeovers(), []);
    assert_eq!(pair.state(), Some(CandidateState::Waiting));
    pair.engine.lead();
    assert_eq!(
        pair.due(1_000),
        ["new: sync 0 1 (first)"],
        "the old one would take back what the last leader's new one wrote"
    );
    pair.end(1_000, pair.new, Outcome::Ok);
    pair.takes_over(1_000);
}

#[test]
fn p3_l3_a_followers_broken_candidate_costs_the_new_leader_one_callback() {
    let mut pair = Pair::new(&[spec("maps")], &[spec("maps")]);
    pair.engine.follow();
    pair.engine.lead();
    assert_eq!(pair.due(1_000), ["new: sync 0 1 (first)"]);
    pair.end(1_000, pair.new, Outcome::Died);
    assert_eq!(pair.due(1_000), ["old: sync 0 1"]);
}

#[test]
fn p3_l3_leadership_that_is_lost_under_a_rehearsal_begins_it_anew() {
    let mut pair = Pair::new(&[spec("maps")], &[spec("maps")]);
    assert_eq!(pair.due(1_000), ["new: sync 0 1 (first)"]);
    pair.engine.follow();
    pair.end(1_001, pair.new, Outcome::Ok);
    assert_eq!(pair.due(1_001), [""; 0]);
    pair.engine.lead();
    assert_eq!(pair.due(1_002), ["new: sync 0 1 (first)"]);
    pair.end(1_002, pair.new, Outcome::Ok);
    assert_eq!(pair.due(1_002), [""; 0]);
    assert_eq!(pair.engine.takeovers(), [pair.new]);
    let old = pair
        .engine
        .took_over(at(1_003), pair.new, Outcome::NotLeading);
    assert_eq!(old, None, "nothing was committed");
    pair.engine.follow();
    pair.engine.lead();
    assert_eq!(pair.due(1_004), ["new: sync 0 1 (first)"]);
    pair.end(1_004, pair.new, Outcome::Ok);
    assert_eq!(pair.due(1_004), [""; 0]);
    assert_eq!(pair.engine.takeovers(), [pair.new]);
    // The commit came before the end of the lease: it counts.
    pair.engine.follow();
    let old = pair.engine.took_over(at(1_005), pair.new, Outcome::Ok);
    assert_eq!(old, Some(pair.old));
    pair.engine.lead();
    assert_eq!(pair.due(1_006), ["new: sync 0 1"]);
}

/// What can happen to a plugin that is replaced again and again.
#[derive(Clone, Debug)]
enum Step {
    Apply {
        name: u8,
        text: u8,
    },
    Delete {
        name: u8,
    },
    /// A new version: with the same watch, or with another filter. In the place of the
    /// last candidate, if that waits.
    Replace {
        filtered: bool,
    },
    /// The store of the other filter is listed.
    Sync,
    /// Time passes, and what is due starts.
    Start {
        ms: u16,
    },
    /// The oldest callback that runs ends.
    End {
        outcome: u8,
    },
    /// A takeover that is under way ends.
    Commit {
        outcome: u8,
    },
    Elect {
        leads: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4_u8, 0..3_u8).prop_map(|(name, text)| Step::Apply { name, text }),
        2 => (0..4_u8).prop_map(|name| Step::Delete { name }),
        2 => any::<bool>().prop_map(|filtered| Step::Replace { filtered }),
        2 => Just(Step::Sync),
        6 => (0..3_000_u16).prop_map(|ms| Step::Start { ms }),
        6 => (0..12_u8).prop_map(|outcome| Step::End { outcome }),
        3 => (0..4_u8).prop_map(|outcome| Step::Commit { outcome }),
        1 => any::<bool>().prop_map(|leads| Step::Elect { leads }),
    ]
}

/// The host around the engine: what each generation believes, and what is committed.
struct World {
    engine: Engine,
    now: u64,
    version: u32,
    /// The truth, which both stores are fed from: versions and texts.
    objects: BTreeMap<String, (u32, u8)>,
    plugin: PluginId,
    candidate: Option<PluginId>,
    believers: BTreeMap<PluginId, Believer>,
    running: Vec<Call>,
    taking_over: Option<PluginId>,
    /// Whoever committed last, with the store's revision that it saw.
    committed: (PluginId, StoreId, u64),
    synced: Vec<StoreId>,
}

impl World {
    fn new() -> Self {
        let mut engine = Engine::new();
        let plugin = engine.add_plugin("p", &plans(&[spec("maps")]), "own");
        list(&mut engine, 0, StoreId(0), vec![]);
        Self {
            engine,
            now: 0,
            version: 0,
            objects: BTreeMap::new(),
            plugin,
            candidate: None,
            believers: BTreeMap::from([(plugin, Believer::default())]),
            running: Vec::new(),
            taking_over: None,
            committed: (plugin, StoreId(0), 0),
            synced: vec![StoreId(0)],
        }
    }

    fn feed(&mut self, output: impl Fn() -> WatchOutput) {
        for store in &self.synced {
            self.engine.watch(at(self.now), *store, 0, output());
        }
    }

    fn sync(&mut self) {
        let stores: Vec<StoreId> = self.engine.stores().map(|(id, ..)| id).collect();
        self.synced.retain(|id| stores.contains(id));
        for store in stores {
            if !self.synced.contains(&store) {
                let objects = self.objects.iter();
                let objects = objects
                    .map(|(name, (version, text))| object(name, 1, *version, (*text).into()))
                    .collect();
                list(&mut self.engine, self.now, store, objects);
                self.synced.push(store);
            }
        }
    }

    fn replace(&mut self, filtered: bool) {
        if self.taking_over.is_some() {
            return;
        }
        if let Some(candidate) = self.candidate.take() {
            self.drop_candidate(candidate);
        }
        let spec = match filtered {
            true => WatchSpec {
                keep_fields: vec!["data".to_owned()],
                ..spec("maps")
            },
            false => spec("maps"),
        };
        let new = self
            .engine
            .add_candidate(self.plugin, &plans(&[spec]), "own");
        self.engine
            .set_max_failures(new, NonZeroU32::new(3).unwrap());
        self.believers.insert(new, Believer::default());
        self.candidate = Some(new);
    }

    fn drop_candidate(&mut self, candidate: PluginId) {
        self.engine.remove(candidate);
        self.believers.remove(&candidate);
    }

    fn start(&mut self) {
        let calls = self.engine.poll(at(self.now));
        for call in &calls {
            assert!(
                self.running.iter().all(|c| c.plugin != call.plugin),
                "C4: they never overlap"
            );
            assert!(self.taking_over.is_none() || call.plugin != self.plugin);
            let candidate = self.candidate == Some(call.plugin);
            assert_eq!(call.outputs == Disposal::Commit, !candidate);
        }
        self.running.extend(calls);
        for candidate in self.engine.takeovers() {
            assert_eq!(Some(candidate), self.candidate);
            let involved = |call: &Call| call.plugin == candidate || call.plugin == self.plugin;
            assert!(
                !self.running.iter().any(involved),
                "one is called meanwhile"
            );
            assert_eq!(self.taking_over.replace(candidate), None);
            // What came and went since it was told is no change: it is up to date all the same.
            let store = self.engine.store_of(candidate, 0).unwrap();
            let snapshot = self.engine.snapshot(store).unwrap();
            let believer = self.believers.get_mut(&candidate).unwrap();
            if believer.known == contents(&snapshot) {
                believer.seen = snapshot.revision();
            }
        }
    }

    fn end(&mut self, outcome: Outcome) {
        if self.running.is_empty() {
            return;
        }
        let call = self.running.remove(0);
        let candidate = self.candidate == Some(call.plugin);
        if !candidate && call.plugin != self.plugin {
            // It was dropped while it ran.
            self.engine.finished(at(self.now), call.plugin, outcome);
            return;
        }
        // A candidate commits nothing, so it cannot be too late for it.
        let outcome = match outcome {
            Outcome::NotLeading if candidate => Outcome::Ok,
            other => other,
        };
        let believer = self.believers.get_mut(&call.plugin).unwrap();
        match outcome {
            Outcome::Ok => {
                believer.hear(&call);
                believer.seen = call.view.store(0).unwrap().revision();
                if !candidate {
                    self.commit(call.plugin);
                }
            }
            Outcome::Failed | Outcome::NotLeading => {}
            Outcome::Died => believer.known.clear(),
        }
        self.engine.finished(at(self.now), call.plugin, outcome);
        if self.engine.candidate_state(call.plugin) == Some(CandidateState::Refused) {
            self.candidate = None;
            self.drop_candidate(call.plugin);
        }
    }

    /// Outputs of this plugin become visible.
    fn commit(&mut self, plugin: PluginId) {
        let store = self.engine.store_of(plugin, 0).unwrap();
        let seen = self.believers[&plugin].seen;
        let (last, of, revision) = self.committed;
        assert!(plugin >= last, "an old one commits after a new one");
        // Revisions of different stores cannot be compared.
        assert!(
            of != store || seen >= revision,
            "outputs go back in time: {seen} after {revision}"
        );
        self.committed = (plugin, store, seen);
    }

    fn take_over(&mut self, outcome: Outcome) {
        let Some(new) = self.taking_over.take() else {
            return;
        };
        if outcome == Outcome::Ok {
            self.commit(new);
        }
        let old = self.engine.took_over(at(self.now), new, outcome);
        assert_eq!(old.is_some(), outcome == Outcome::Ok);
        if let Some(old) = old {
            assert_eq!(old, self.plugin);
            self.plugin = new;
            self.candidate = None;
            self.believers.remove(&old);
        }
    }

    fn step(&mut self, step: Step) {
        self.version += 1;
        match step {
            Step::Apply { name, text } => {
                let (name, version) = (name.to_string(), self.version);
                self.feed(|| WatchOutput::Applied(object(&name, 1, version, text.into())));
                self.objects.insert(name, (version, text));
            }
            Step::Delete { name } => {
                let name = name.to_string();
                self.objects.remove(&name);
                self.feed(|| WatchOutput::Deleted {
                    identity: identity(&name),
                    object: None,
                });
            }
            Step::Replace { filtered } => self.replace(filtered),
            Step::Sync => self.sync(),
            Step::Start { ms } => {
                self.now += u64::from(ms);
                self.start();
            }
            Step::End { outcome } => self.end(match outcome {
                0 => Outcome::Failed,
                1 => Outcome::Died,
                2 => Outcome::NotLeading,
                _ => Outcome::Ok,
            }),
            Step::Commit { outcome } => self.take_over(match outcome {
                0 => Outcome::Failed,
                1 => Outcome::NotLeading,
                _ => Outcome::Ok,
            }),
            Step::Elect { leads: true } => self.engine.lead(),
            Step::Elect { leads: false } => self.engine.follow(),
        }
    }

    /// From here on nothing fails.
    fn settle(&mut self) {
        self.engine.lead();
        self.sync();
        for _ in 0..100 {
            self.now += 61_000;
            self.start();
            while !self.running.is_empty() {
                self.end(Outcome::Ok);
            }
            self.take_over(Outcome::Ok);
        }
    }
}

fn contents(snapshot: &crate::snapshot::Snapshot) -> BTreeMap<String, String> {
    let objects = snapshot.list();
    objects
        .map(|object| (object.name().to_owned(), content(object)))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Whatever fails and however the steps are mixed: the generations never commit in
    /// turns, outputs never go back in time, and in the end the last one has taken over and
    /// knows exactly what is in its store, which is the only one left.
    #[test]
    fn p3_no_change_is_lost_or_told_twice_by_reloads(steps in prop::collection::vec(step(), 1..120)) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        world.settle();
        prop_assert_eq!(world.candidate, None);
        prop_assert_eq!(world.engine.next_due(), None);
        prop_assert_eq!(world.engine.stores().count(), 1);
        let store = world.engine.store_of(world.plugin, 0).unwrap();
        let snapshot = world.engine.snapshot(store).unwrap();
        let truth: Vec<&str> = world.objects.keys().map(String::as_str).collect();
        prop_assert_eq!(found(snapshot.list()), truth);
        prop_assert_eq!(&world.believers[&world.plugin].known, &contents(&snapshot));
        prop_assert_eq!(world.believers.len(), 1);
    }
}
