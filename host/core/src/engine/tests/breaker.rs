//! P2: what a plugin gets that fails again and again.

use super::*;

fn bench(specs: &[WatchSpec], max: u32) -> Bench {
    let mut bench = Bench::new(specs);
    let max = NonZeroU32::new(max).unwrap();
    bench.engine.set_max_failures(bench.plugin, max);
    bench
}

impl Bench {
    /// Runs what is due, which is this; it fails. Answers for how long the next one waits.
    #[track_caller]
    fn fails(&mut self, ms: u64, due: &str, outcome: Outcome) -> u64 {
        assert_eq!(self.due(ms), some(due), "at {ms}");
        self.finish(ms, outcome);
        let next = self.engine.next_due().unwrap() - at(ms);
        u64::try_from(next.as_millis()).unwrap()
    }

    fn broken(&self) -> bool {
        self.engine.is_broken(self.plugin)
    }
}

#[test]
fn p2_the_breaker_opens_after_so_many_failures_in_a_row_and_closes_with_a_success() {
    for outcome in [Outcome::Failed, Outcome::Died] {
        let mut bench = bench(&[spec("maps")], 3);
        bench.list(0, vec![]);
        assert_eq!(bench.fails(0, "sync 0 0", outcome), 1_000);
        assert_eq!(bench.fails(1_000, "sync 0 0", outcome), 2_000);
        assert!(!bench.broken());
        assert_eq!(
            bench.fails(3_000, "sync 0 0", outcome),
            60_000,
            "the longest pause"
        );
        assert!(bench.broken(), "{outcome:?}");
        // Half-open: it is tried once, and waits again.
        assert_eq!(bench.due(62_999), None);
        assert_eq!(bench.fails(63_000, "sync 0 0", outcome), 60_000);
        assert!(bench.broken());
        assert_eq!(bench.told(123_000), some("sync 0 0"));
        assert!(!bench.broken());
        assert_eq!(bench.engine.failures(bench.plugin), 0);
        bench.feed(124_000, WatchOutput::Applied(object("a", 1, 1, 1)));
        assert_eq!(bench.told(124_000), some("change 0 +1 ~0 -0 +a"));
    }
}

#[test]
fn p2_an_instance_that_dies_of_every_change_is_given_up_though_it_is_told_everything_in_between() {
    let mut bench = bench(&[spec("maps")], 3);
    bench.list(0, vec![]);
    assert_eq!(bench.told(0), some("sync 0 0"));
    let mut now = 0;
    for (failures, wait) in [(1, 1_000), (2, 2_000), (3, 60_000)] {
        now += 100_000;
        bench.feed(
            now,
            WatchOutput::Applied(object("a", failures, 1, failures)),
        );
        assert!(bench.due(now).is_some_and(|due| due.starts_with("change")));
        bench.finish(now, Outcome::Died);
        assert_eq!(bench.engine.failures(bench.plugin), failures);
        now += wait;
        assert_eq!(bench.told(now), some("sync 0 1"));
        assert_eq!(bench.broken(), failures == 3);
    }
    now += 100_000;
    bench.delete(now, "a");
    assert!(bench.told(now).is_some());
    assert!(!bench.broken(), "it survived a change");
}

#[test]
fn p2_successes_between_failures_keep_the_breaker_closed() {
    let mut bench = bench(&[spec("maps")], 2);
    bench.list(0, vec![]);
    let mut now = 0;
    for _ in 0..5 {
        let wait = bench.fails(now, "sync 0 0", Outcome::Died);
        assert_eq!(bench.told(now + wait), some("sync 0 0"));
        assert!(!bench.broken());
        now += 10_000;
        let name = now.to_string();
        bench.feed(now, WatchOutput::Applied(object(&name, 1, 1, 1)));
        assert!(bench.due(now).is_some());
        bench.finish(now, Outcome::Died);
        assert!(!bench.broken());
        now += 10_000;
        assert!(bench.told(now).is_some());
        bench.delete(now, &name);
        now += 1_000;
        assert!(bench.told(now).is_some());
        // An instance that is told everything anew.
        bench.engine.follow();
        bench.engine.lead();
    }
}

#[test]
fn p2_a_plugin_whose_breaker_is_open_is_not_called_about_its_other_watches_either() {
    let other = WatchSpec {
        resources: "secrets".to_owned(),
        ..spec("secrets")
    };
    let mut bench = bench(&[spec("maps"), other], 1);
    bench.list(0, vec![]);
    bench.fails(0, "sync 0 0 (not all synced)", Outcome::Failed);
    bench.store = StoreId(1);
    bench.list(1, vec![]);
    assert_eq!(bench.due(59_999), None);
    assert_eq!(bench.told(60_000), some("sync 1 0"));
    assert!(bench.broken(), "that was not what failed");
    assert_eq!(bench.told(60_000), some("sync 0 0"));
    assert!(!bench.broken());
}

#[test]
fn p2_changes_made_while_the_breaker_is_open_are_told_when_it_closes() {
    let mut bench = bench(&[spec("maps")], 1);
    bench.list(0, vec![object("a", 1, 1, 1)]);
    assert_eq!(bench.told(0), some("sync 0 1"));
    bench.feed(1_000, WatchOutput::Applied(object("b", 1, 2, 1)));
    bench.fails(1_000, "change 0 +1 ~0 -0 +b", Outcome::Failed);
    bench.delete(2_000, "a");
    bench.feed(3_000, WatchOutput::Applied(object("b", 1, 3, 2)));
    assert_eq!(bench.told(60_999), None);
    assert_eq!(bench.told(61_000), some("change 0 +1 ~0 -1 -a +b"));
}

#[test]
fn p2_who_stops_leading_starts_with_a_closed_breaker() {
    let mut bench = bench(&[spec("maps")], 1);
    bench.list(0, vec![]);
    bench.fails(0, "sync 0 0", Outcome::Died);
    assert!(bench.broken());
    bench.engine.follow();
    assert!(!bench.broken(), "nobody calls it: it is ready to be");
    bench.engine.lead();
    assert_eq!(bench.told(1), some("sync 0 0"));
}

#[test]
fn p6_a_broken_plugin_does_not_delay_another() {
    let mut engine = Engine::new();
    let bad = engine.add_plugin("bad", &plans(&[spec("maps")]), "own");
    let good = engine.add_plugin("good", &plans(&[spec("maps")]), "own");
    engine.set_max_failures(bad, NonZeroU32::MIN);
    engine.watch(at(0), StoreId(0), 0, WatchOutput::ListBegin);
    let resource_version = String::new();
    engine.watch(
        at(0),
        StoreId(0),
        0,
        WatchOutput::ListEnd { resource_version },
    );
    for call in engine.poll(at(0)) {
        let outcome = if call.plugin == bad {
            Outcome::Died
        } else {
            Outcome::Ok
        };
        engine.finished(at(0), call.plugin, outcome);
    }
    assert!(engine.is_broken(bad) && !engine.is_broken(good));
    for ms in [1_000, 2_000, 3_000] {
        let version = u32::try_from(ms).unwrap();
        let object = object("a", 1, version, version);
        engine.watch(at(ms), StoreId(0), 0, WatchOutput::Applied(object));
        let calls = engine.poll(at(ms));
        assert_eq!(calls.iter().map(|c| c.plugin).collect::<Vec<_>>(), [good]);
        engine.finished(at(ms), good, Outcome::Ok);
    }
}
