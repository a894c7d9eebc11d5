//! Watches of a process that holds one shard of the objects.

use super::*;
use crate::shard::{Shard, ShardBy};

/// Of these the first two are shard 0's of two, and the others shard 1's.
const NAMES: [&str; 4] = ["a", "c", "g", "i"];

fn shard(index: u32) -> Option<Shard> {
    let shard = Shard::new(index, 2, ShardBy::Object).unwrap();
    let owned = NAMES.map(|name| shard.owns("shop", name));
    let first = index == 0;
    assert_eq!(owned, [first, first, !first, !first], "choose other names");
    Some(shard)
}

/// A watch with a reader for each of these.
fn sharded(shards: &[Option<Shard>]) -> WatchConfig {
    let reader = |shard: &Option<Shard>| ProjectionSpec {
        shard: *shard,
        ..ProjectionSpec::default()
    };
    WatchConfig {
        readers: shards.iter().map(reader).collect(),
        page_size: 2,
        ..config()
    }
}

/// What one chunk of a streaming list of all four leads to, its end included.
fn listed(bench: &mut Bench) -> Vec<String> {
    bench.open();
    let versions = 2_u64..;
    let events = NAMES
        .iter()
        .zip(versions)
        .map(|(name, version)| event("ADDED", &object(name, version)));
    bench.chunk(&(events.collect::<String>() + &bookmark(10, true)))
}

#[test]
fn a_list_holds_the_shards_own_objects_and_counts_pages_by_them() {
    for (index, expected) in [
        (0, ["listed a@2", "listed c@3"]),
        (1, ["listed g@4", "listed i@5"]),
    ] {
        let mut bench = Bench::resolved(sharded(&[shard(index)]));
        let lines = listed(&mut bench);
        let [first, second] = expected;
        assert_eq!(
            lines,
            [first, second, "page ends", "list ends @10", "state synced"]
        );
        assert_eq!(bench.machine.foreign(), 2);
    }
}

#[test]
fn a_paged_list_drops_them_as_well_and_its_count_is_of_what_is_kept() {
    let config = WatchConfig {
        streaming: crate::watch::StreamingPreference::Never,
        ..sharded(&[shard(0)])
    };
    let mut bench = Bench::resolved(config);
    let names = ["a", "g"].map(|name| object(name, 3));
    bench.answer(200, &list(&names, 9, "more"));
    assert_eq!(
        *bench.machine.state(),
        crate::watch::WatchState::Listing { received: 1 }
    );
    let names = ["c", "i"].map(|name| object(name, 3));
    let lines = bench.answer(200, &list(&names, 9, ""));
    assert_eq!(
        lines,
        [
            "listed c@3",
            "page ends",
            "list ends @9",
            "state synced",
            "send watch …/widgets?watch=true&allowWatchBookmarks=true&timeoutSeconds=T&resourceVersion=9",
        ]
    );
    assert_eq!(bench.machine.foreign(), 2);
}

#[test]
fn events_of_other_shards_say_nothing_but_how_far_the_stream_is() {
    let mut bench = Bench::resolved(sharded(&[shard(0)]));
    listed(&mut bench);
    for (kind, version) in [("ADDED", 11), ("MODIFIED", 12), ("DELETED", 13)] {
        let none: [&str; 0] = [];
        assert_eq!(bench.chunk(&event(kind, &object("g", version))), none);
        let version = version.to_string();
        assert_eq!(bench.machine.resource_version(), Some(version.as_str()));
    }
    assert_eq!(bench.machine.foreign(), 5);
    assert_eq!(
        bench.chunk(&event("MODIFIED", &object("a", 14))),
        ["applied a@14"]
    );
    assert_eq!(
        bench.chunk(&event("DELETED", &object("a", 15))),
        ["deleted shop/a at @15"]
    );
    // It is resumed behind the last event, whosever it was.
    bench.chunk(&event("MODIFIED", &object("i", 20)));
    bench.pass(std::time::Duration::from_mins(5));
    let lines = bench.feed(Input::End);
    assert!(lines[0].contains("resourceVersion=20"), "{lines:?}");
}

#[test]
fn a_broken_object_is_the_business_of_its_own_shard() {
    let mut bench = Bench::resolved(sharded(&[shard(0)]));
    listed(&mut bench);
    let none: [&str; 0] = [];
    assert_eq!(bench.chunk(&event("MODIFIED", &broken("g", 11))), none);
    assert_eq!(
        bench.chunk(&event("MODIFIED", &broken("a", 12))),
        ["quarantined shop/a"]
    );
    // Whose it is cannot be told: each shard says so.
    let nameless = r#"{"metadata":{"namespace":"shop","resourceVersion":"13"}}"#;
    assert_eq!(
        bench.chunk(&event("MODIFIED", nameless)),
        ["quarantined somebody"]
    );
}

#[test]
fn w10_a_stream_serves_a_store_of_one_shard_beside_a_whole_one() {
    let mut bench = Bench::resolved(sharded(&[shard(1), None]));
    let lines = listed(&mut bench);
    let shown: Vec<&str> = lines.iter().map(String::as_str).collect();
    assert_eq!(
        shown,
        [
            "1: listed a@2",
            "1: listed c@3",
            "page ends",
            "1: page ends",
            "listed g@4",
            "1: listed g@4",
            "listed i@5",
            "1: listed i@5",
            "page ends",
            "1: page ends",
            "list ends @10",
            "1: list ends @10",
            "state synced",
        ]
    );
    assert_eq!(
        bench.chunk(&event("DELETED", &object("a", 11))),
        ["1: deleted shop/a at @11"]
    );
    assert_eq!(bench.machine.foreign(), 0, "all were of use");
}

#[test]
fn w5_a_relist_keeps_to_the_shard() {
    let mut bench = Bench::resolved(sharded(&[shard(0)]));
    listed(&mut bench);
    bench.chunk(&event("ERROR", &status(410, "Expired", "too old")));
    bench.wait();
    let lines = listed(&mut bench);
    let kept: Vec<&String> = lines
        .iter()
        .filter(|line| line.starts_with("listed"))
        .collect();
    assert_eq!(kept, ["listed a@2", "listed c@3"], "{lines:?}");
}
