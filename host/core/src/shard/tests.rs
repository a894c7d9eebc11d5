#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const COUNTS: [u32; 7] = [1, 2, 3, 4, 5, 16, 256];

fn shards(count: u32, by: ShardBy) -> impl Iterator<Item = Shard> {
    (0..count).map(move |index| Shard::new(index, count, by).unwrap())
}

/// The only owner of an object.
fn owner(namespace: &str, name: &str, count: u32, by: ShardBy) -> u32 {
    let mut owners = shards(count, by).filter(|shard| shard.owns(namespace, name));
    let owner = owners.next().unwrap().index();
    assert_eq!(owners.next(), None, "{namespace}/{name}, {count} by {by}");
    owner
}

/// Whoever changes one of these makes processes of two versions disagree. They come from the
/// published algorithms: Go's hash/fnv and the floating-point jump hash of the paper.
#[test]
fn owners_are_the_same_in_every_version() {
    for (namespace, hash, owners) in [
        ("default", 0xebad_a516_8620_c5fe, [0, 0, 2, 3, 4, 4, 48]),
        (
            "kube-system",
            0xdf65_c7bc_1d82_b35e,
            [0, 1, 1, 1, 1, 15, 179],
        ),
        ("shop", 0x46dc_5e18_e28e_2409, [0, 0, 0, 0, 0, 11, 132]),
        ("team-00", 0x410c_25d7_853e_c32b, [0, 0, 2, 2, 4, 4, 142]),
        ("team-01", 0x410c_24d7_853e_c178, [0, 0, 0, 0, 4, 8, 207]),
        ("a", 0xaf63_dc4c_8601_ec8c, [0, 1, 2, 2, 2, 12, 163]),
        (
            "prod-payments-eu-west-1",
            0x45d2_d206_c4ef_dc1d,
            [0, 0, 0, 0, 0, 14, 146],
        ),
    ] {
        assert_eq!(fnv1a(FNV_OFFSET, namespace.as_bytes()), hash, "{namespace}");
        let found = COUNTS.map(|count| owner(namespace, "web", count, ShardBy::Namespace));
        assert_eq!(found, owners, "{namespace}");
    }
    for (namespace, name, owners) in [
        ("shop", "web", [0, 0, 0, 0, 4, 14, 235]),
        ("shop", "api", [0, 1, 1, 3, 4, 9, 176]),
        ("", "node-1", [0, 1, 1, 1, 1, 8, 161]),
        ("a", "b", [0, 0, 0, 0, 0, 8, 169]),
    ] {
        let found = COUNTS.map(|count| owner(namespace, name, count, ShardBy::Object));
        assert_eq!(found, owners, "{namespace}/{name}");
    }
}

#[test]
fn what_is_in_no_namespace_is_in_every_shard_by_namespace() {
    for shard in shards(4, ShardBy::Namespace) {
        assert!(shard.owns("", "node-1"));
    }
}

#[test]
fn namespaces_that_are_called_alike_are_spread() {
    for pattern in ["team-", "ns-", "tenant-0000", "customer-prod-"] {
        let mut held = BTreeMap::<u32, u32>::new();
        for i in 0..1000 {
            let owner = owner(&format!("{pattern}{i}"), "web", 4, ShardBy::Namespace);
            *held.entry(owner).or_default() += 1;
        }
        // 250 each, give or take five standard deviations.
        assert!(
            held.len() == 4 && held.values().all(|count| (180..=320).contains(count)),
            "{pattern}: {held:?}"
        );
    }
}

proptest! {
    #[test]
    fn every_object_has_one_owner(
        namespace in "[a-z]([a-z0-9-]{0,20}[a-z0-9])?",
        name in "[a-z]([a-z0-9.-]{0,20}[a-z0-9])?",
        count in 1..=MAX_SHARDS,
    ) {
        owner(&namespace, &name, count, ShardBy::Namespace);
        owner(&namespace, &name, count, ShardBy::Object);
        owner("", &name, count, ShardBy::Object);
    }

    #[test]
    fn objects_of_a_namespace_stay_together(
        namespace in "[a-z]{1,10}",
        names in proptest::collection::vec("[a-z]{1,10}", 2..5),
        count in 1..=MAX_SHARDS,
    ) {
        let owners: Vec<u32> = names
            .iter()
            .map(|name| owner(&namespace, name, count, ShardBy::Namespace))
            .collect();
        prop_assert!(owners.windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn one_shard_more_moves_its_share_and_only_to_itself(seed: u16, count in 1_u32..40) {
        let keys = 4_000_u32;
        let mut moved = 0;
        for i in 0..keys {
            let hash = fnv1a(FNV_OFFSET, format!("{seed}-{i}").as_bytes());
            let (before, after) = (jump(hash, count), jump(hash, count + 1));
            if before != after {
                prop_assert_eq!(after, u64::from(count));
                moved += 1;
            }
        }
        // Five standard deviations at most: the square root of n p (1 - p) is below that of n p.
        let share = f64::from(keys) / f64::from(count + 1);
        prop_assert!((f64::from(moved) - share).abs() < 5.0 * share.sqrt(), "{moved} of {share}");
    }
}

#[test]
fn a_shard_as_typed_is_one_of_so_many_or_that_of_the_pod() {
    for (text, index, count) in [
        ("0/1", Some(0), 1),
        ("3/4", Some(3), 4),
        ("255/256", Some(255), 256),
        ("auto/4", None, 4),
    ] {
        let spec: ShardSpec = text.parse().unwrap();
        assert_eq!(spec, ShardSpec { index, count }, "{text}");
        assert_eq!(spec.to_string(), text);
    }
    for (text, sentence) in [
        ("", "is no shard: write INDEX/COUNT"),
        ("4", "is no shard: write INDEX/COUNT"),
        ("a/4", "\"a/4\" is no shard"),
        ("-1/4", "\"-1/4\" is no shard"),
        ("+1/4", "\"+1/4\" is no shard"),
        ("1/4/4", "\"1/4/4\" is no shard"),
        ("1/", "\"1/\" is no shard"),
        ("99999999999/4", "is no shard"),
        (
            "4/4",
            "there is no shard 4 of 4: they are numbered from 0 to 3",
        ),
        ("0/0", "0 shards: write 1 to 256"),
        ("0/257", "257 shards: write 1 to 256"),
        (
            "auto/99999999999",
            "99999999999 shards: write 1 to 256; each of them is sent everything",
        ),
    ] {
        let error = text.parse::<ShardSpec>().unwrap_err().to_string();
        assert!(error.contains(sentence), "{text}: {error}");
    }
    assert_eq!("object".parse(), Ok(ShardBy::Object));
    let error = "name".parse::<ShardBy>().unwrap_err().to_string();
    assert_eq!(
        error,
        "\"name\" is no way to share: write `namespace` or `object`"
    );
}

#[test]
fn auto_is_the_number_that_a_stateful_set_gives_a_pod() {
    let resolved = |pod: Option<&str>, standbys| {
        let spec: ShardSpec = "auto/4".parse().unwrap();
        match spec.resolve(ShardBy::Namespace, pod, standbys) {
            Ok(shard) => shard.to_string(),
            Err(error) => error.to_string(),
        }
    };
    for (pod, standbys, expected) in [
        (Some("render-0"), false, "0/4"),
        (Some("my-render-3"), false, "3/4"),
        (Some("my-render-3"), true, "3/4"),
        (Some("render-4"), true, "0/4"),
        (Some("render-11"), true, "3/4"),
        (
            Some("render-5"),
            false,
            "pod render-5 would be a second host of shard 1/4: run 4 replicas, or elect a leader of each shard (--leader-elect)",
        ),
    ] {
        assert_eq!(resolved(pod, standbys), expected);
    }
    for pod in [
        "render",
        "render-",
        "3",
        "render-x2k4p",
        "render-7d9f8b-24567",
    ] {
        let error = resolved(Some(pod), true);
        assert!(
            error.contains(&format!("{pod:?} has none: write INDEX/4")),
            "{error}"
        );
    }
    assert!(resolved(None, true).contains("neither $POD_NAME nor the machine's name is known"));
    let spec: ShardSpec = "2/4".parse().unwrap();
    let typed = spec
        .resolve(ShardBy::Object, Some("render-0"), false)
        .unwrap();
    assert_eq!(
        (typed.to_string(), typed.by()),
        ("2/4".to_owned(), ShardBy::Object)
    );
}
