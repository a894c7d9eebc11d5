//! What each process holds and renders.

use std::{collections::BTreeSet, fs};

use serde_json::Value;

use super::{Stage, traffic, watch};

/// With four shards each has some of these, and with two as well.
const NAMESPACES: [&str; 12] = [
    "default",
    "shop",
    "team-00",
    "team-01",
    "edge",
    "web",
    "a",
    "b",
    "kube-system",
    "blog",
    "api",
    "mail",
];
const MAPS: usize = 5;

fn filled() -> Stage {
    let stage = Stage::new();
    for namespace in NAMESPACES {
        for i in 0..MAPS {
            stage.put(namespace, &format!("m{i}"), "old");
        }
    }
    stage
}

fn all() -> BTreeSet<String> {
    let maps = |namespace: &&str| {
        let namespace = (*namespace).to_owned();
        (0..MAPS).map(move |i| format!("{namespace}/m{i}"))
    };
    NAMESPACES.iter().flat_map(maps).collect()
}

fn namespaces(rendered: &BTreeSet<String>) -> BTreeSet<&str> {
    let namespaces = rendered.iter().map(|row| row.split_once('/').unwrap().0);
    namespaces.collect()
}

/// What came and was another shard's.
fn passed(state: &Value) -> u64 {
    traffic(watch(state, "configmaps"), "foreign")
}

/// Whether these are all of the whole, and each once.
#[track_caller]
fn assert_partition<'a>(
    parts: impl Iterator<Item = &'a BTreeSet<String>>,
    whole: &BTreeSet<String>,
) {
    let mut union = BTreeSet::new();
    for part in parts {
        for row in part {
            assert!(union.insert(row.clone()), "{row} is in two parts");
        }
    }
    assert_eq!(union, *whole);
}

#[test]
fn four_processes_hold_and_render_the_whole_each_of_them_its_namespaces() {
    let stage = filled();
    let hosts: Vec<_> = (0..4)
        .map(|index| stage.host(&["--shard", &format!("{index}/4"), "--output", "out-{shard}"]))
        .collect();
    let mut parts = Vec::new();
    for (index, host) in hosts.iter().enumerate() {
        let output = format!("out-{index}");
        stage.renders(&output, host, |found| !found.is_empty());
        parts.push(stage.rendered(&output).unwrap());
        let state = host.synced();
        assert_eq!(
            state["shard"],
            serde_json::json!({"index": index, "count": 4, "by": "namespace"})
        );
        let watch = watch(&state, "configmaps");
        assert_eq!(watch["shard"], format!("{index}/4"));
        let (held, passed) = (traffic(watch, "listed"), traffic(watch, "foreign"));
        assert_eq!(watch["objects"], held);
        // Each was sent everything, and says what came for nothing.
        assert_eq!(held + passed, (NAMESPACES.len() * MAPS) as u64);
        let metrics = host.get("/metrics");
        let line = format!("haptic_shard_info{{index=\"{index}\",count=\"4\",by=\"namespace\"}} 1");
        assert!(metrics.contains(&line), "{metrics}");
    }
    assert_partition(parts.iter(), &all());
    for namespace in NAMESPACES {
        let holders = parts
            .iter()
            .filter(|part| namespaces(part).contains(namespace));
        assert_eq!(holders.count(), 1, "{namespace}");
    }

    // A change is told to its owner; to the others it is something that passes.
    let owner = parts
        .iter()
        .position(|part| part.contains("shop/m0"))
        .unwrap();
    let before: Vec<_> = hosts.iter().map(|host| host.state()).collect();
    stage.put("shop", "new", "new");
    stage.renders(&format!("out-{owner}"), &hosts[owner], |found| {
        found.contains("shop/new")
    });
    for (index, (host, before)) in hosts.iter().zip(&before).enumerate() {
        if index == owner {
            continue;
        }
        let now = super::eventually("the event", || {
            let now = host.state();
            match passed(&now) > passed(before) {
                true => Ok(now),
                false => Err(host.process.log()),
            }
        });
        assert_eq!(
            now["plugins"][0]["callbacks"],
            before["plugins"][0]["callbacks"]
        );
        assert_eq!(
            stage.rendered(&format!("out-{index}")).unwrap(),
            parts[index]
        );
    }
    // So is the end of an object.
    stage
        .cluster
        .delete("v1", "ConfigMap", Some("shop"), "new")
        .unwrap();
    stage.renders(&format!("out-{owner}"), &hosts[owner], |found| {
        *found == parts[owner]
    });
}

#[test]
fn objects_are_spread_one_by_one_if_asked_for() {
    let stage = filled();
    let hosts = ["0/2", "1/2"].map(|shard| {
        stage.host(&[
            "--shard",
            shard,
            "--shard-by=object",
            "--output=out-{shard}-of-{shards}",
        ])
    });
    let parts = [0, 1].map(|index| {
        let output = format!("out-{index}-of-2");
        stage.renders(&output, &hosts[index], |found| !found.is_empty());
        stage.rendered(&output).unwrap()
    });
    assert_partition(parts.iter(), &all());
    let [first, second] = parts.each_ref().map(namespaces);
    assert!(
        first.intersection(&second).count() > 0,
        "{first:?} {second:?}"
    );
}

#[test]
fn of_listed_namespaces_each_process_asks_for_its_own() {
    let stage = filled();
    let list = NAMESPACES[..6].join(", ");
    let config = format!(
        "shard: auto/2\nplugins:\n  hello_plugin:\n    watchedResources:\n      configmaps: {{namespaces: [{list}]}}\n"
    );
    fs::write(stage.at("config.yaml"), config).unwrap();
    let mut asked = BTreeSet::new();
    for index in 0..2 {
        stage.cluster.clear_requests();
        // As a StatefulSet calls its pods.
        let host = super::Host::of(super::Process::start(
            super::host()
                .current_dir(stage.dir.path())
                .env("POD_NAME", format!("render-{index}"))
                .args(["--kubeconfig", "kubeconfig", "--listen", "0", "--plugin"])
                .arg(super::guest("hello_plugin"))
                .args(["--config", "config.yaml", "--output"])
                .arg(format!("out-{index}")),
        ));
        stage.renders(&format!("out-{index}"), &host, |found| !found.is_empty());
        let state = host.synced();
        let watch = watch(&state, "configmaps");
        assert_eq!(traffic(watch, "foreign"), 0, "nothing comes for nothing");
        let rendered = stage.rendered(&format!("out-{index}")).unwrap();
        for scope in watch["scopes"].as_array().unwrap() {
            let namespace = scope["namespace"].as_str().unwrap();
            assert!(namespaces(&rendered).contains(namespace), "{namespace}");
            assert!(asked.insert(namespace.to_owned()), "{namespace} twice");
        }
        let watched: BTreeSet<_> = stage
            .cluster
            .requests()
            .into_iter()
            .filter(|request| request.resource == "configmaps")
            .map(|request| request.namespace)
            .collect();
        let held: BTreeSet<String> = namespaces(&rendered)
            .into_iter()
            .map(str::to_owned)
            .collect();
        assert_eq!(watched, held, "the server is asked for these alone");
    }
    let listed: BTreeSet<String> = NAMESPACES[..6].iter().map(ToString::to_string).collect();
    assert_eq!(asked, listed);
}

#[test]
fn what_is_in_no_namespace_and_what_is_needed_whole_is_in_every_process() {
    let stage = filled();
    for namespace in NAMESPACES {
        let object = serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        stage.cluster.apply(&object).unwrap();
    }
    let config = "plugins:\n  hello_plugin:\n    watchedResources:\n      \
        configmaps: {shard: false}\n      \
        namespaces: {apiVersion: v1, resources: namespaces}\n      \
        parts: {apiVersion: v1, resources: configmaps, ignoreFields: [data]}\n";
    fs::write(stage.at("config.yaml"), config).unwrap();
    let hosts = [0, 1].map(|index| {
        let shard = format!("{index}/2");
        stage.host(&[
            "--shard",
            &shard,
            "--config=config.yaml",
            "--output=out-{shard}",
        ])
    });
    let mut parts = 0;
    for (index, host) in hosts.iter().enumerate() {
        let state = host.synced();
        let whole = watch(&state, "configmaps");
        assert_eq!(whole["shard"], "");
        assert_eq!(whole["objects"], all().len());
        let namespaces = watch(&state, "namespaces");
        assert!(namespaces["objects"].as_u64().unwrap() >= NAMESPACES.len() as u64);
        assert_eq!(traffic(namespaces, "foreign"), 0);
        // One stream fills the whole store and the part beside it.
        let part = watch(&state, "parts");
        assert_eq!(part["shard"], format!("{index}/2"));
        let objects = part["objects"].as_u64().unwrap();
        assert!(objects > 0);
        parts += objects;
        stage.renders(&format!("out-{index}"), host, |found| *found == all());
    }
    assert_eq!(parts, all().len() as u64);
}

#[test]
fn l3_each_shard_has_a_leader_of_its_own_and_an_object_of_its_own() {
    let stage = filled();
    let hosts = [0, 1].map(|index| {
        let shard = format!("{index}/2");
        stage.host(&[
            "--shard",
            &shard,
            "--leader-elect",
            "--lease=render",
            "--lease-retry-period=100ms",
            "--output=configmap:default/rendered-{shard}",
        ])
    });
    let mut parts = Vec::new();
    for (index, host) in hosts.iter().enumerate() {
        let map = super::eventually("a ConfigMap", || {
            let name = format!("rendered-{index}");
            let found = stage.cluster.get("v1", "ConfigMap", Some("default"), &name);
            let found = found.map_err(|error| format!("{error}\n{}", host.process.log()))?;
            // What it has rendered first may hold what the other one has written since.
            Ok(found["data"]["configmaps.txt"].as_str().unwrap().to_owned())
        });
        let rows = map.lines().skip(1).map(str::to_owned);
        parts.push(
            rows.filter(|row| !row.starts_with("default/rendered-"))
                .collect(),
        );
        let lease = format!("render-{index}");
        let found = stage
            .cluster
            .get("coordination.k8s.io/v1", "Lease", Some("default"), &lease)
            .unwrap();
        let state = host.state();
        assert_eq!(state["leader"]["leads"], true);
        assert_eq!(found["spec"]["holderIdentity"], state["leader"]["identity"]);
    }
    assert_partition(parts.iter(), &all());
}
