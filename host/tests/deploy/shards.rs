//! `manifests --shards` and `rbac --shards`: a StatefulSet whose pods share the work, each with what
//! it needs.

use std::{
    collections::BTreeSet,
    fs,
    process::Stdio,
    time::{Duration, Instant},
};

use haptic_cluster::{Cluster, Options};
use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::Service, policy::v1::PodDisruptionBudget};
use serde_json::json;

use super::{
    documents,
    manifests::{find, kinds, manifests, typed},
    ok,
    rights::{PATIENCE, Running, granted, wanted},
    support::{guest, host, run, told},
    text,
};

fn args(documents: &[serde_json::Value]) -> Vec<String> {
    let set: StatefulSet = typed(find(documents, "StatefulSet"));
    let pod = set.spec.template.spec.unwrap();
    pod.containers[0].args.clone().unwrap()
}

#[test]
fn shards_are_the_pods_of_a_stateful_set() {
    let path = guest("hello_plugin");
    let plugin = path.to_str().unwrap();
    let found = manifests(&["--plugin", plugin, "--namespace=edge", "--shards=4"]);
    assert_eq!(
        kinds(&found),
        [
            "Namespace",
            "ServiceAccount",
            "ClusterRole",
            "ClusterRoleBinding",
            "Service",
            "StatefulSet",
            "PodDisruptionBudget",
        ],
        "each is the only one of its shard: no Lease"
    );
    let set: StatefulSet = typed(find(&found, "StatefulSet"));
    let spec = set.spec;
    assert_eq!(spec.replicas, Some(4));
    assert_eq!(spec.pod_management_policy.as_deref(), Some("Parallel"));
    assert_eq!(
        args(&found),
        [
            "--plugin=/plugins/hello_plugin.wasm",
            "--shard=auto/4",
            "--listen=0.0.0.0:9090",
            "--cache-dir=/cache",
        ]
    );
    let service: Service = typed(find(&found, "Service"));
    assert_eq!(service.metadata.name, spec.service_name);
    let service = service.spec.unwrap();
    assert_eq!(service.cluster_ip.as_deref(), Some("None"));
    assert_eq!(service.selector, spec.selector.match_labels);
    let budget: PodDisruptionBudget = typed(find(&found, "PodDisruptionBudget"));
    assert_eq!(
        budget.spec.unwrap().selector.unwrap().match_labels,
        spec.selector.match_labels
    );
    // The pod is that of a Deployment.
    let pod = spec.template.spec.unwrap();
    let deployment = manifests(&["--plugin", plugin, "--namespace=edge"]);
    let mut other = super::manifests::pod(&deployment);
    other.containers[0].args = pod.containers[0].args.clone();
    assert_eq!(pod, other);
}

#[test]
fn with_replicas_each_shard_has_a_lease_and_a_folder_of_its_own() {
    let path = guest("hello_plugin");
    let words = [
        "--plugin",
        path.to_str().unwrap(),
        "--shards=3",
        "--replicas=2",
        "--output=/etc/render",
    ];
    let found = manifests(&words);
    let set: StatefulSet = typed(find(&found, "StatefulSet"));
    assert_eq!(set.spec.replicas, Some(6));
    let words = args(&found);
    for word in [
        "--shard=auto/3",
        "--leader-elect",
        "--lease=haptic-host",
        "--output=/outputs/{shard}",
    ] {
        assert!(words.contains(&word.to_owned()), "{word}: {words:?}");
    }
    let role = find(&found, "Role");
    let rules = role["rules"].as_array().unwrap();
    let names = rules
        .iter()
        .find_map(|rule| rule["resourceNames"].as_array());
    assert_eq!(
        json!(names.unwrap()),
        json!(["haptic-host-0", "haptic-host-1", "haptic-host-2"])
    );
}

#[test]
fn a_configuration_that_has_shards_makes_as_many_pods() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("host.yaml");
    let plugin = guest("hello_plugin");
    fs::write(&config, format!(
        "shard: auto/5\nshardBy: object\nplugins:\n  hello:\n    file: {}\n    output: secret:rendered-{{shard}}\n",
        plugin.display()
    ))
    .unwrap();
    let found = manifests(&["--config", config.to_str().unwrap()]);
    let set: StatefulSet = typed(find(&found, "StatefulSet"));
    assert_eq!(set.spec.replicas, Some(5));
    assert!(args(&found).contains(&"--shard=auto/5".to_owned()));
    // rbac knows as much.
    let printed = ok(&["rbac", "--config", config.to_str().unwrap()]);
    for shard in 0..5 {
        assert!(printed.contains(&format!("rendered-{shard}")), "{printed}");
    }
}

#[test]
fn what_shards_cannot_have_is_refused() {
    let path = guest("hello_plugin");
    let plugin = path.to_str().unwrap();
    for (words, sentence) in [
        (
            vec!["manifests", "--shards", "0"],
            "write how many shards there are: 1 to 256",
        ),
        (
            vec!["manifests", "--shards=4", "--", "--shard=0/4"],
            "--shard after `--` follows",
        ),
        (
            vec!["manifests", "--shards=4", "--output=configmap:rendered"],
            "give each its own, such as configmap:rendered-{shard}",
        ),
        (
            vec!["manifests", "--output=configmap:rendered-{shard}"],
            "this host is no shard",
        ),
        (
            vec!["rbac", "--shards=2", "--output=configmap:rendered"],
            "would be written by all 2 shards",
        ),
    ] {
        let (code, stdout, stderr) = run(host()
            .args(&words[..1])
            .args(["--plugin", plugin])
            .args(&words[1..]));
        assert_eq!(
            (code, stdout.as_str()),
            (Some(2), ""),
            "{words:?}: {stderr}"
        );
        assert!(
            told(&stderr).contains(sentence) || stderr.contains(sentence),
            "{words:?}: {stderr}"
        );
    }
}

/// The pods of two shards with a standby each, run here: on the embedded cluster, with this
/// machine's paths.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_printed_for_shards_runs_with_the_rights_that_are_printed() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(Options::default()).await.unwrap();
    let kubeconfig = dir.path().join("kc.yaml");
    fs::write(&kubeconfig, cluster.kubeconfig()).unwrap();
    let maps =
        ["shop", "kube-system", "blog", "a", "edge"].map(|namespace| format!("{namespace}/one"));
    for map in &maps {
        let (namespace, name) = map.split_once('/').unwrap();
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}});
        cluster.apply(&map).unwrap();
    }
    let plugin = guest("hello_plugin");
    let printed = ok(&[
        "manifests",
        "--plugin",
        plugin.to_str().unwrap(),
        "--namespace=default",
        "--shards=2",
        "--replicas=2",
        "--output=configmap:rendered-{shard}",
        "--",
        "--lease-retry-period=100ms",
    ]);
    // The documents are objects of the cluster, too.
    for document in documents(&printed) {
        cluster.apply(&document).unwrap();
    }
    let here = |word: String| match word.as_str() {
        "--plugin=/plugins/hello_plugin.wasm" => format!("--plugin={}", plugin.display()),
        "--cache-dir=/cache" => format!("--cache-dir={}/cache", dir.path().display()),
        "--listen=0.0.0.0:9090" => "--listen=127.0.0.1:0".to_owned(),
        _ => word,
    };
    cluster.clear_requests();
    let pods: Vec<Running> = (0..4)
        .map(|ordinal| {
            let log = fs::File::create(dir.path().join(format!("log-{ordinal}"))).unwrap();
            let child = host()
                .env("POD_NAME", format!("haptic-host-{ordinal}"))
                .env_remove("HAPTIC_CACHE_DIR")
                .args(args(&documents(&printed)).into_iter().map(here))
                .arg("--kubeconfig")
                .arg(&kubeconfig)
                .stdout(Stdio::null())
                .stderr(log)
                .spawn();
            Running(child.unwrap())
        })
        .collect();
    let said = || -> String {
        let logs = (0..4).map(|i| fs::read_to_string(dir.path().join(format!("log-{i}"))).unwrap());
        logs.collect()
    };
    let began = Instant::now();
    let mut rendered = BTreeSet::new();
    for shard in 0..2 {
        let name = format!("rendered-{shard}");
        let found = loop {
            if let Ok(found) = cluster.get("v1", "ConfigMap", Some("default"), &name) {
                break found;
            }
            assert!(began.elapsed() < PATIENCE, "{}", said());
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        for row in text(&found, "/data/configmaps.txt").lines().skip(1) {
            assert!(rendered.insert(row.to_owned()), "{row} is of both");
        }
        // Pods 0 and 2 are of shard 0, pods 1 and 3 of shard 1.
        let lease = cluster
            .get(
                "coordination.k8s.io/v1",
                "Lease",
                Some("default"),
                &format!("haptic-host-{shard}"),
            )
            .unwrap();
        let holder = text(&lease, "/spec/holderIdentity");
        let number: u32 = holder
            .strip_prefix("haptic-host-")
            .unwrap()
            .parse()
            .unwrap();
        assert_eq!(number % 2, shard, "{holder}");
    }
    for map in &maps {
        assert!(rendered.contains(map), "{map} is not in {rendered:?}");
    }
    drop(pods);
    let granted = granted(&printed);
    for wanted in cluster.requests().iter().flat_map(wanted) {
        assert!(
            granted.iter().any(|right| right.includes(&wanted)),
            "not allowed: {wanted}"
        );
    }
}
