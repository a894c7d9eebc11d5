//! `manifests`: what it prints is accepted by a cluster, safe to run, and says why.

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use haptic_cluster::{Cluster, Options};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, PodSpec},
    policy::v1::PodDisruptionBudget,
    rbac::v1::{ClusterRole, Role},
};
use serde_json::{Value, json};

use super::{
    documents, ok,
    rights::{PATIENCE, Running, granted, wanted},
    support::{guest, host, run, told},
    text,
};

pub(crate) fn manifests(words: &[&str]) -> Vec<Value> {
    documents(&ok(&[&["manifests"], words].concat()))
}

pub(crate) fn kinds(documents: &[Value]) -> Vec<&str> {
    documents
        .iter()
        .map(|object| text(object, "/kind"))
        .collect()
}

pub(crate) fn find<'a>(documents: &'a [Value], kind: &str) -> &'a Value {
    let found = documents.iter().find(|object| object["kind"] == kind);
    found.unwrap_or_else(|| panic!("no {kind}"))
}

/// Reads an object as its type has it; a field that the type does not know would be lost.
pub(crate) fn typed<T: serde::de::DeserializeOwned + serde::Serialize>(object: &Value) -> T {
    let typed: T = serde_json::from_value(object.clone()).unwrap();
    assert_eq!(serde_json::to_value(&typed).unwrap(), *object);
    typed
}

pub(crate) fn pod(documents: &[Value]) -> PodSpec {
    let deployment: Deployment = typed(find(documents, "Deployment"));
    deployment.spec.template.spec.unwrap()
}

fn args(documents: &[Value]) -> Vec<String> {
    pod(documents).containers[0].args.clone().unwrap()
}

#[test]
fn manifests_have_all_that_it_takes_in_the_order_in_which_it_is_applied() {
    let path = guest("hello_plugin");
    let found = manifests(&["--plugin", path.to_str().unwrap(), "--namespace", "edge"]);
    assert_eq!(
        kinds(&found),
        [
            "Namespace",
            "ServiceAccount",
            "ClusterRole",
            "ClusterRoleBinding",
            "Role",
            "RoleBinding",
            "Deployment",
            "PodDisruptionBudget",
        ]
    );
    let role: ClusterRole = typed(find(&found, "ClusterRole"));
    let rules = role.rules.unwrap();
    assert_eq!(rules.len(), 1);
    assert_eq!(rules[0].verbs, ["list", "watch"]);
    let lease: Role = typed(find(&found, "Role"));
    assert_eq!(lease.metadata.namespace.as_deref(), Some("edge"));
    assert_eq!(
        args(&found),
        [
            "--plugin=/plugins/hello_plugin.wasm",
            "--leader-elect",
            "--lease=haptic-host",
            "--listen=0.0.0.0:9090",
            "--cache-dir=/cache",
        ]
    );
    let budget: PodDisruptionBudget = typed(find(&found, "PodDisruptionBudget"));
    assert_eq!(
        budget.spec.unwrap().selector.unwrap().match_labels,
        typed::<Deployment>(find(&found, "Deployment"))
            .spec
            .selector
            .match_labels
    );
}

#[test]
fn manifests_run_the_host_with_the_least_that_a_pod_can_have() {
    let path = guest("hello_plugin");
    let found = manifests(&["--plugin", path.to_str().unwrap()]);
    let pod = pod(&found);
    let context = pod.security_context.clone().unwrap();
    assert_eq!(context.run_as_non_root, Some(true));
    assert_eq!(context.seccomp_profile.unwrap().type_, "RuntimeDefault");
    assert_eq!(pod.service_account_name.as_deref(), Some("haptic-host"));
    assert_eq!(pod.topology_spread_constraints.as_ref().unwrap().len(), 1);
    // K5: it ends within 5 s, and nobody kills it before.
    assert!(pod.termination_grace_period_seconds.unwrap() > 5);
    let [container] = pod.containers.as_slice() else {
        panic!("one container");
    };
    let context = container.security_context.clone().unwrap();
    assert_eq!(context.allow_privilege_escalation, Some(false));
    assert_eq!(context.read_only_root_filesystem, Some(true));
    assert_eq!(context.capabilities.unwrap().drop.unwrap(), ["ALL"]);
    for (probe, path) in [
        (&container.startup_probe, "/healthz"),
        (&container.liveness_probe, "/healthz"),
        (&container.readiness_probe, "/readyz"),
    ] {
        let http = probe.clone().unwrap().http_get.unwrap();
        assert_eq!(http.path.as_deref(), Some(path));
    }
    let name = &container.env.as_ref().unwrap()[0];
    assert_eq!(name.name, "POD_NAME");
    // What is mounted is there, and what is there is mounted.
    let mounts: Vec<&str> = container
        .volume_mounts
        .iter()
        .flatten()
        .map(|m| m.name.as_str())
        .collect();
    let volumes: Vec<&str> = pod
        .volumes
        .iter()
        .flatten()
        .map(|v| v.name.as_str())
        .collect();
    assert_eq!(mounts, volumes);
    let resources = container.resources.clone().unwrap();
    assert!(resources.requests.unwrap().contains_key("cpu"));
    assert!(
        !resources.limits.unwrap().contains_key("cpu"),
        "throttling counts as time"
    );
}

#[test]
fn the_memory_limit_follows_from_the_limits_of_the_host() {
    let path = guest("hello_plugin");
    let limit = |rest: &[&str]| -> u64 {
        let words = [&["--plugin", path.to_str().unwrap(), "--"], rest].concat();
        let limits = pod(&manifests(&words)).containers[0]
            .resources
            .clone()
            .unwrap()
            .limits;
        let memory = limits.unwrap()["memory"].0.clone();
        memory.strip_suffix("Mi").unwrap().parse().unwrap()
    };
    let usual = limit(&[]);
    assert_eq!(limit(&["--memory-limit", "512MiB"]), usual + 256);
    assert_eq!(limit(&["--output-limit=128MiB"]), usual + 64);
    assert_eq!(limit(&["--cache-limit", "65MiB"]), usual + 1);
    let small = [
        "--memory-limit=4MiB",
        "--output-limit=1MiB",
        "--cache-limit=1MiB",
    ];
    assert_eq!(limit(&small), 96 + 128 + 6);
    let found = manifests(&[
        "--plugin",
        path.to_str().unwrap(),
        "--",
        "--memory-limit",
        "512MiB",
    ]);
    assert!(args(&found).ends_with(&[
        "--memory-limit".to_owned(),
        "512MiB".to_owned(),
        "--listen=0.0.0.0:9090".to_owned(),
        "--cache-dir=/cache".to_owned()
    ]));
}

#[test]
fn arguments_that_do_not_go_together_are_refused() {
    let path = guest("hello_plugin");
    let plugin = path.to_str().unwrap();
    for (words, sentence) in [
        (vec!["--", "--listen", "1"], "--listen after `--` follows"),
        (
            vec!["--", "--cache-dir=/x"],
            "--cache-dir after `--` follows",
        ),
        (vec!["--", "--memory-limit", "much"], "is no size"),
        (
            vec!["--", "cluster", "--manifests", "x"],
            "--manifests after",
        ),
        (vec!["--", "--none"], "--none"),
        (vec!["--replicas", "0"], "0"),
        (vec!["--image", "a b"], "write an image"),
        (
            vec!["--replicas", "1", "--", "--lease", "x"],
            "--lease is for leader election",
        ),
    ] {
        let mut command = host();
        let (code, stdout, stderr) =
            run(command.args(["manifests", "--plugin", plugin]).args(&words));
        assert_eq!(
            (code, stdout.as_str()),
            (Some(2), ""),
            "{words:?}: {stderr}"
        );
        assert!(stderr.contains(sentence), "{words:?}: {stderr}");
    }
}

#[test]
fn one_host_has_no_leader_and_is_replaced_before_the_next_one_starts() {
    let path = guest("hello_plugin");
    let found = manifests(&["--plugin", path.to_str().unwrap(), "--replicas", "1"]);
    assert!(
        !args(&found)
            .iter()
            .any(|word| word.contains("lease") || word.contains("leader"))
    );
    assert!(!kinds(&found).contains(&"PodDisruptionBudget"));
    assert!(!kinds(&found).contains(&"Role"), "no Lease");
    let strategy = find(&found, "Deployment")
        .pointer("/spec/strategy/type")
        .unwrap();
    assert_eq!(strategy, "Recreate");
}

#[test]
fn k1_a_configuration_becomes_a_config_map_with_the_pods_paths() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("host.yaml");
    let (hello, haproxy) = (guest("hello_plugin"), guest("haproxy_plugin"));
    fs::write(
        &config,
        format!(
            "leaderElection: {{lease: edge-lease}}\nplugins:\n  edge:\n    file: {}\n    output: out\n    allow: [declared, secrets/shop]\n    settings: {{httpPort: 8080}}\n    watchedResources:\n      secrets: {{namespaces: [shop]}}\n  hello_plugin:\n    output: configmap:greeting\n",
            haproxy.display()
        ),
    )
    .unwrap();
    let words = [
        "--config",
        config.to_str().unwrap(),
        "--plugin",
        hello.to_str().unwrap(),
        "--pull-secret",
        "pull",
    ];
    let found = manifests(&words);
    let map: ConfigMap = typed(find(&found, "ConfigMap"));
    let data = map.data.unwrap();
    let written: Value = serde_saphyr::from_str(&data["config.yaml"]).unwrap();
    assert_eq!(
        written,
        json!({
            "leaderElection": {"lease": "edge-lease"},
            "plugins": {
                "edge": {
                    "file": "/plugins/haproxy_plugin.wasm",
                    "output": "/outputs/edge",
                    "allow": ["declared", "secrets/shop"],
                    "settings": {"httpPort": 8080},
                    "watchedResources": {"secrets": {"namespaces": ["shop"]}},
                },
                "hello_plugin": {"output": "configmap:greeting"},
            },
        })
    );
    assert_eq!(
        args(&found)[..2],
        [
            "--plugin=/plugins/hello_plugin.wasm",
            "--config=/etc/haptic-host/config.yaml"
        ]
    );
    assert!(
        !args(&found).iter().any(|word| word.contains("lease")),
        "the file says it"
    );
    let pod = pod(&found);
    assert_eq!(pod.image_pull_secrets.clone().unwrap()[0].name, "pull");
    let volumes: Vec<&str> = pod
        .volumes
        .iter()
        .flatten()
        .map(|v| v.name.as_str())
        .collect();
    assert_eq!(volumes, ["cache", "config", "docker", "outputs"]);
    let roles = found.iter().filter(|object| object["kind"] == "Role");
    let roles: Vec<String> = roles
        .map(|role| {
            format!(
                "{}/{}",
                text(role, "/metadata/namespace"),
                text(role, "/metadata/name")
            )
        })
        .collect();
    assert_eq!(
        roles,
        ["haptic-host/haptic-host", "shop/haptic-host:haptic-host"]
    );
    // A changed configuration is a changed pod.
    let annotation = "/spec/template/metadata/annotations/haptic-host~1config";
    let before = text(find(&found, "Deployment"), annotation).to_owned();
    let changed = fs::read_to_string(&config).unwrap().replace("8080", "8081");
    fs::write(&config, changed).unwrap();
    let after = manifests(&words);
    assert!(!before.is_empty() && before != text(find(&after, "Deployment"), annotation));
}

#[test]
fn settings_become_a_configuration() {
    let path = guest("haproxy_plugin");
    let found = manifests(&[
        "--plugin",
        path.to_str().unwrap(),
        "--settings",
        "{\"httpPort\": 81}",
        "--allow",
        "declared,secrets",
    ]);
    let map: ConfigMap = typed(find(&found, "ConfigMap"));
    let data = map.data.unwrap();
    let written: Value = serde_saphyr::from_str(&data["config.yaml"]).unwrap();
    assert_eq!(
        written,
        json!({"plugins": {"haproxy_plugin": {"settings": {"httpPort": 81}}}})
    );
    assert!(args(&found).contains(&"--allow=declared,secrets".to_owned()));
}

fn kubectl(home: &Path, words: &[&str], stdin: &str) -> (Option<i32>, String, String) {
    let mut child = Command::new("kubectl")
        .env("HOME", home)
        .arg("--kubeconfig")
        .arg(home.join("kc.yaml"))
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(stdin.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_applies_what_is_printed_again_and_again() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("host.yaml");
    fs::write(
        &config,
        format!(
            "plugins:\n  edge:\n    file: {}\n    allow: [declared, secrets]\n    output: configmap:rendered\n",
            guest("haproxy_plugin").display()
        ),
    )
    .unwrap();
    let cluster = Cluster::start(Options::default()).await.unwrap();
    fs::write(dir.path().join("kc.yaml"), cluster.kubeconfig()).unwrap();
    // A Role goes into a namespace that is there: the plugin reads its settings in this one.
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "haproxy"}});
    cluster.apply(&namespace).unwrap();
    tokio::task::spawn_blocking(move || {
        let words = [
            "manifests",
            "--config",
            config.to_str().unwrap(),
            "--namespace",
            "edge",
        ];
        let printed = ok(&words);
        let apply = |more: &[&str]| {
            let words = [&["apply", "-f", "-"], more].concat();
            let (code, stdout, stderr) = kubectl(dir.path(), &words, &printed);
            assert_eq!(code, Some(0), "{stdout}{stderr}");
            assert_eq!(stderr, "", "no warnings");
            stdout
        };
        let count = documents(&printed).len();
        let first = apply(&[]);
        assert_eq!(
            first
                .lines()
                .filter(|line| line.ends_with(" created"))
                .count(),
            count,
            "{first}"
        );
        // kubectl replaces the selector of a budget each time, and calls that a change.
        let unchanged = |said: &str, end: &str| {
            let others: Vec<&str> = said.lines().filter(|line| !line.ends_with(end)).collect();
            assert_eq!(said.lines().count(), count, "{said}");
            assert!(
                others
                    .iter()
                    .all(|line| line.starts_with("poddisruptionbudget.")),
                "{said}"
            );
        };
        unchanged(&apply(&[]), " unchanged");
        unchanged(&apply(&["--dry-run=server"]), " unchanged (server dry run)");
        let server = apply(&["--server-side", "--force-conflicts"]);
        assert_eq!(
            server
                .lines()
                .filter(|line| line.ends_with("serverside-applied"))
                .count(),
            count,
            "{server}"
        );
        let (_, rows, _) = kubectl(
            dir.path(),
            &["-n", "edge", "get", "deployments", "-o", "name"],
            "",
        );
        assert_eq!(rows, "deployment.apps/haptic-host\n");
    })
    .await
    .unwrap();
    cluster.shutdown().await;
}

/// What the pod would run, run here: on the embedded cluster, with this machine's paths.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_printed_runs_with_the_rights_that_are_printed() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(Options::default()).await.unwrap();
    let kubeconfig = dir.path().join("kc.yaml");
    fs::write(&kubeconfig, cluster.kubeconfig()).unwrap();
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one", "namespace": "shop"}});
    cluster.apply(&map).unwrap();
    let plugin = guest("hello_plugin");
    let printed = ok(&[
        "manifests",
        "--plugin",
        plugin.to_str().unwrap(),
        "--namespace=default",
        "--output=configmap:rendered",
        "--",
        "--lease-retry-period=100ms",
    ]);
    let here = |word: String| match word.as_str() {
        "--plugin=/plugins/hello_plugin.wasm" => format!("--plugin={}", plugin.display()),
        "--cache-dir=/cache" => format!("--cache-dir={}/cache", dir.path().display()),
        "--listen=0.0.0.0:9090" => "--listen=127.0.0.1:0".to_owned(),
        _ => word,
    };
    cluster.clear_requests();
    let child = host()
        .env("POD_NAME", "render-0")
        .env_remove("HAPTIC_CACHE_DIR")
        .args(args(&documents(&printed)).into_iter().map(here))
        .arg("--kubeconfig")
        .arg(&kubeconfig)
        .stdout(Stdio::null())
        .stderr(fs::File::create(dir.path().join("log")).unwrap())
        .spawn()
        .unwrap();
    let said = || fs::read_to_string(dir.path().join("log")).unwrap();
    let mut running = Running(child);
    let began = Instant::now();
    let rendered = loop {
        let found = cluster.get("v1", "ConfigMap", Some("default"), "rendered");
        if let Ok(found) = found {
            break found;
        }
        assert!(began.elapsed() < PATIENCE, "{}", said());
        assert!(running.0.try_wait().unwrap().is_none(), "{}", said());
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let text_of = |pointer: &str| text(&rendered, pointer).to_owned();
    assert!(
        text_of("/data/configmaps.txt").contains("shop/one\n"),
        "{rendered}"
    );
    let lease = cluster.get(
        "coordination.k8s.io/v1",
        "Lease",
        Some("default"),
        "haptic-host",
    );
    assert_eq!(text(&lease.unwrap(), "/spec/holderIdentity"), "render-0");
    let granted = granted(&printed);
    for wanted in cluster.requests().iter().flat_map(wanted) {
        assert!(
            granted.iter().any(|right| right.includes(&wanted)),
            "not allowed: {wanted}"
        );
    }
}

#[test]
fn what_is_printed_explains_itself() {
    let path = guest("hello_plugin");
    let printed = ok(&[
        "manifests",
        "--plugin",
        path.to_str().unwrap(),
        "--output",
        "/etc/render",
    ]);
    for said in [
        "# - hello_plugin watches configmaps in all namespaces",
        "# The image has to have /plugins/hello_plugin.wasm",
        "only that of the one that leads is written",
        "(--memory-limit, or limits)",
        "no CPU limit",
    ] {
        assert!(printed.contains(said), "{said:?} is not in:\n{printed}");
    }
    let (code, _, stderr) =
        run(host().args(["manifests", guest("haproxy_plugin").to_str().unwrap()]));
    assert_eq!(code, Some(2));
    assert!(
        told(&stderr).contains("--allow declared,secrets"),
        "{stderr}"
    );
}
