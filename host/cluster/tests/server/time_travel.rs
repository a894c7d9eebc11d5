//! Two replicas, of which one lags.

use std::num::NonZeroU64;

use haptic_cluster::{Fault, Rule, When};
use serde_json::{Value, json};

use crate::client::{CONFIG_MAPS, config_map, fill, get, names, start, watch};

fn lag(versions: Option<u64>, everything: bool) -> Fault {
    Fault::Lag {
        versions,
        everything,
    }
}

fn version_of(list: &Value) -> u64 {
    list["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap()
}

#[tokio::test]
async fn every_second_request_goes_to_a_replica_that_lags() {
    let cluster = start().await;
    let version = fill(&cluster, &["a", "b", "c"]);
    let every_second = When {
        one_in: NonZeroU64::new(2),
        ..When::default()
    };
    cluster
        .faults()
        .add(Rule::new(every_second, lag(Some(2), true)));
    for (expected, at) in [(vec!["a"], version - 2), (vec!["a", "b", "c"], version)] {
        let list = get(&cluster, CONFIG_MAPS).await.json();
        assert_eq!(
            (names(&list), version_of(&list)),
            (expected.iter().map(|name| (*name).to_owned()).collect(), at)
        );
    }
    assert_eq!(get(&cluster, &format!("{CONFIG_MAPS}/c")).await.code, 404);
    assert_eq!(get(&cluster, &format!("{CONFIG_MAPS}/c")).await.code, 200);
}

#[tokio::test]
async fn a_real_replica_takes_the_newest_state_from_etcd() {
    let cluster = start().await;
    let version = fill(&cluster, &["a", "b"]);
    cluster
        .faults()
        .add(Rule::new(When::any(), lag(Some(1), false)));
    let newest = get(&cluster, CONFIG_MAPS).await.json();
    let cached = get(&cluster, &format!("{CONFIG_MAPS}?resourceVersion=0"))
        .await
        .json();
    assert_eq!(
        [version_of(&newest), version_of(&cached)],
        [version, version - 1]
    );
    let too_new = get(
        &cluster,
        &format!("{CONFIG_MAPS}?resourceVersion={version}"),
    )
    .await;
    let status = too_new.json();
    assert_eq!(too_new.code, 504);
    assert_eq!(
        status["message"],
        format!(
            "Timeout: Too large resource version: {version}, current: {}",
            version - 1
        )
    );
}

#[tokio::test]
async fn a_replica_stands_still_until_it_is_released() {
    let cluster = start().await;
    fill(&cluster, &["a"]);
    let rule = cluster
        .faults()
        .add(Rule::new(When::any(), lag(None, true)));
    fill(&cluster, &["b"]);
    cluster.apply(&config_map("a", &json!({"k": "v"}))).unwrap();
    let mut events = watch(&cluster, &format!("{CONFIG_MAPS}?watch=1")).await;
    assert_eq!(events.next_name().await, "ADDED a");
    assert_eq!(names(&get(&cluster, CONFIG_MAPS).await.json()), ["a"]);
    cluster.faults().release(rule);
    assert_eq!(events.next_names(2).await, ["ADDED b", "MODIFIED a"]);
    assert_eq!(names(&get(&cluster, CONFIG_MAPS).await.json()), ["a", "b"]);
}

#[tokio::test]
async fn a_watch_from_a_replica_stays_behind_as_the_server_moves_on() {
    let cluster = start().await;
    let version = fill(&cluster, &["a", "b"]);
    let rule = cluster
        .faults()
        .add(Rule::new(When::any(), lag(Some(1), false)));
    let path = format!("{CONFIG_MAPS}?watch=1&resourceVersion={}", version - 1);
    let mut events = watch(&cluster, &path).await;
    fill(&cluster, &["c"]);
    assert_eq!(events.next_name().await, "ADDED b");
    cluster.faults().remove(rule);
    assert_eq!(events.next_name().await, "ADDED c");
}

#[tokio::test]
async fn a_replica_is_never_older_than_the_history() {
    let cluster = start().await;
    fill(&cluster, &["a", "b"]);
    cluster.compact();
    cluster
        .faults()
        .add(Rule::new(When::any(), lag(Some(1_000), true)));
    assert_eq!(names(&get(&cluster, CONFIG_MAPS).await.json()), ["a", "b"]);
}
