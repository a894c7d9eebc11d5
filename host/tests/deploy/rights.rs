//! `rbac` against what the host really asks a cluster for: all of it is allowed, and nothing else.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use haptic_cluster::{Cluster, Fault, Logged, Options, Rule, Verb as Asked, When};
use haptic_host::rights::{Place, Right, Verb};
use serde_json::{Value, json};

use super::{
    documents, ok,
    support::{guest, host, root, run, told},
    text,
};

/// How long anything may take before a test gives up: far more than it needs on a
/// loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// The rights that a text of roles gives, one by one.
pub(crate) fn granted(text_of_roles: &str) -> Vec<Right> {
    let words = |rule: &Value, field: &str| -> Vec<String> {
        let list = rule[field].as_array();
        let list = list.into_iter().flatten();
        list.map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    let mut rights = Vec::new();
    for role in documents(text_of_roles) {
        let place = match text(&role, "/kind") {
            "ClusterRole" => Place::Cluster,
            "Role" => Place::Namespace(text(&role, "/metadata/namespace").to_owned()),
            _ => continue,
        };
        for rule in role["rules"].as_array().unwrap() {
            let names = words(rule, "resourceNames");
            let names: Vec<Option<String>> = match names.is_empty() {
                true => vec![None],
                false => names.into_iter().map(Some).collect(),
            };
            for group in words(rule, "apiGroups") {
                for resource in words(rule, "resources") {
                    for verb in words(rule, "verbs") {
                        for name in &names {
                            rights.push(Right {
                                place: place.clone(),
                                group: group.clone(),
                                resource: resource.clone(),
                                name: name.clone(),
                                verb: Verb::parse(&verb).unwrap(),
                            });
                        }
                    }
                }
            }
        }
    }
    rights
}

/// What an API server's authorizer makes of a request.
pub(crate) fn wanted(asked: &Logged) -> Vec<Right> {
    let verbs = match asked.verb {
        Asked::Discovery => {
            // What `system:discovery` and `system:public-info-viewer` give to everybody.
            let free = ["/api", "/apis", "/openapi", "/version"];
            let within = |prefix: &&str| {
                let rest = asked.path.strip_prefix(prefix);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            assert!(free.iter().any(within), "{}", asked.path);
            return Vec::new();
        }
        Asked::List => vec![Verb::List],
        Asked::Watch | Asked::StreamingList => vec![Verb::Watch],
        Asked::Get => vec![Verb::Get],
        Asked::Create => vec![Verb::Create],
        Asked::Update => vec![Verb::Update],
        // An apply that creates is asked about twice.
        Asked::Patch if asked.code == Some(201) => vec![Verb::Patch, Verb::Create],
        Asked::Patch => vec![Verb::Patch],
        Asked::Delete => panic!("the host deletes nothing: {}", asked.path),
    };
    let right = |verb| Right {
        place: match asked.namespace.as_str() {
            "" => Place::Cluster,
            namespace => Place::Namespace(namespace.to_owned()),
        },
        group: asked.group.clone(),
        resource: asked.resource.clone(),
        name: (!asked.name.is_empty()).then(|| asked.name.clone()),
        verb,
    };
    verbs.into_iter().map(right).collect()
}

/// A process that ends with the test.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A host's arguments, what they are rendered to, and what `rbac` is asked.
struct Case<'a> {
    /// Of both.
    plugin: Vec<String>,
    /// Of both.
    more: Vec<&'a str>,
    /// Of the host alone.
    host: Vec<&'a str>,
}

/// Runs the host on a fresh cluster until it has done all that it does at the beginning;
/// answers what it asked for.
async fn requests(case: &Case<'_>, manifests: &Path, streaming: bool) -> BTreeSet<Right> {
    let cluster = Cluster::start(Options::default()).await.unwrap();
    let _feed = cluster.feed(&[manifests.to_owned()]).unwrap();
    if !streaming {
        let refuse = Fault::RefuseStreaming { code: 400 };
        cluster.faults().add(Rule::new(When::any(), refuse));
    }
    let dir = tempfile::tempdir().unwrap();
    let kubeconfig = dir.path().join("kc.yaml");
    fs::write(&kubeconfig, cluster.kubeconfig()).unwrap();
    cluster.clear_requests();
    let elected = case.more.contains(&"--leader-elect");
    let log = dir.path().join("log");
    let mut command = host();
    command
        .args(case.plugin.iter().map(|word| match word.as_str() {
            "" => "--plugin",
            word => word,
        }))
        .args(&case.more)
        .args(&case.host)
        .arg("--kubeconfig")
        .arg(&kubeconfig)
        .stdout(Stdio::null())
        .stderr(fs::File::create(&log).unwrap());
    let said = || fs::read_to_string(&log).unwrap();
    if elected {
        let mut running = Running(command.spawn().unwrap());
        let began = Instant::now();
        // It makes the Lease and then renews it; meanwhile it has rendered.
        loop {
            let requests = cluster.requests();
            let renewed = requests.iter().any(|asked| asked.verb == Asked::Update);
            if renewed && said().contains("on-sync-complete") {
                break;
            }
            assert!(began.elapsed() < PATIENCE, "{}", said());
            assert!(running.0.try_wait().unwrap().is_none(), "{}", said());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    } else {
        command.arg("--once");
        let status = tokio::task::spawn_blocking(move || command.status().unwrap());
        let status = status.await.unwrap();
        assert!(status.success(), "{}", said());
    }
    assert_eq!(cluster.forgotten_requests(), 0);
    cluster.requests().iter().flat_map(wanted).collect()
}

/// Every request is allowed, every right is used, and none is wider than its requests.
async fn check(case: Case<'_>, manifests: &Path) -> Vec<String> {
    let mut words: Vec<&str> = vec!["rbac", "--namespace", "default"];
    words.extend(
        case.plugin
            .iter()
            .map(String::as_str)
            .filter(|word| !word.is_empty()),
    );
    words.extend(&case.more);
    let granted = granted(&ok(&words));
    let mut asked = requests(&case, manifests, true).await;
    asked.extend(requests(&case, manifests, false).await);
    for wanted in &asked {
        assert!(
            granted.iter().any(|right| right.includes(wanted)),
            "not allowed: {wanted}; allowed: {granted:#?}"
        );
    }
    for right in &granted {
        let used: Vec<&Right> = asked
            .iter()
            .filter(|wanted| right.includes(wanted))
            .collect();
        assert!(!used.is_empty(), "never used: {right}; used: {asked:#?}");
        assert!(
            right.place != Place::Cluster || used.iter().any(|used| used.place == Place::Cluster),
            "a Role would do: {right}"
        );
        // A POST has no name, and which objects are read nobody knows before they are listed.
        let any = matches!(right.verb, Verb::Create | Verb::Get);
        assert!(
            any || right.name.is_some() || used.iter().any(|used| used.name.is_none()),
            "a name would do: {right}"
        );
    }
    granted.iter().map(ToString::to_string).collect()
}

fn plugin(path: PathBuf) -> Vec<String> {
    // The empty word is `--plugin` for the host, and nothing for rbac.
    vec![String::new(), path.display().to_string()]
}

fn shop(dir: &Path) -> PathBuf {
    let path = dir.join("shop.yaml");
    fs::write(
        &path,
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one, namespace: shop}\n---\n\
         apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one, namespace: default}\n---\n\
         apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\n",
    )
    .unwrap();
    path
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k4_a_plugin_alone_lists_and_watches() {
    let dir = tempfile::tempdir().unwrap();
    let case = Case {
        plugin: plugin(guest("hello_plugin")),
        more: vec![],
        host: vec![],
    };
    let rights = check(case, &shop(dir.path())).await;
    assert_eq!(
        rights,
        ["list configmaps everywhere", "watch configmaps everywhere"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k4_p8_r1_the_haproxy_example_needs_what_it_declares_and_its_grant() {
    let case = Case {
        plugin: plugin(guest("haproxy_plugin")),
        more: vec!["--allow", "declared,secrets"],
        host: vec![],
    };
    let rights = check(case, &root().join("examples/cluster")).await;
    assert!(
        rights.contains(&"watch secrets everywhere".to_owned()),
        "{rights:?}"
    );
    assert!(
        !rights.iter().any(|right| right.starts_with("get")),
        "{rights:?}"
    );
    // Without the grant there are no rights either.
    let path = guest("haproxy_plugin");
    let (code, stdout, stderr) = run(host().arg("rbac").arg(&path));
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    assert!(
        told(&stderr).contains("--allow declared,secrets"),
        "{stderr}"
    );
}

/// A configuration for a plugin, with watches of one's own.
fn config(dir: &Path, guest: &Path, allow: &[&str], watches: &Value) -> String {
    let path = dir.join("config.yaml");
    let config =
        json!({"plugins": {"p": {"file": guest, "allow": allow, "watchedResources": watches}}});
    fs::write(&path, config.to_string()).unwrap();
    path.display().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k4_s6_a_cached_store_gets_what_is_read_and_where_it_looks() {
    let dir = tempfile::tempdir().unwrap();
    let secrets = json!({"secrets": {"namespaces": ["shop"], "store": "cached"}});
    let allow = ["declared", "secrets/shop"];
    let config = config(dir.path(), &guest("haproxy_plugin"), &allow, &secrets);
    let case = Case {
        plugin: vec!["--config".to_owned(), config],
        more: vec![],
        host: vec![],
    };
    let rights = check(case, &root().join("examples/cluster")).await;
    for verb in ["get", "list", "watch"] {
        assert!(
            rights.contains(&format!("{verb} secrets in shop")),
            "{rights:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k4_w2_w3_names_and_namespaces_narrow_the_rights() {
    let dir = tempfile::tempdir().unwrap();
    let watches = json!({
        "configmaps": {"namespacedWatch": true},
        "web": {"apiVersion": "v1", "resources": "services", "fieldSelector": "metadata.name=web"},
        "kinds": {"apiVersion": "v1", "resources": "namespaces"},
    });
    let config = config(dir.path(), &guest("hello_plugin"), &[], &watches);
    let case = Case {
        plugin: vec!["--config".to_owned(), config],
        more: vec![],
        host: vec![],
    };
    let rights = check(case, &shop(dir.path())).await;
    assert_eq!(
        rights,
        [
            "list namespaces everywhere",
            "watch namespaces everywhere",
            "list services/web everywhere",
            "watch services/web everywhere",
            "list configmaps in default",
            "watch configmaps in default",
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k4_l1_leader_election_needs_its_lease_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let case = Case {
        plugin: plugin(guest("hello_plugin")),
        more: vec!["--leader-elect", "--lease", "render"],
        host: vec!["--lease-retry-period", "100ms"],
    };
    let rights = check(case, &shop(dir.path())).await;
    assert_eq!(
        rights[2..],
        [
            "create leases.coordination.k8s.io in default",
            "get leases.coordination.k8s.io/render in default",
            "update leases.coordination.k8s.io/render in default",
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k4_o2_outputs_into_the_cluster_need_their_object_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    for target in ["configmap:rendered", "secret:shop/rendered"] {
        let case = Case {
            plugin: plugin(guest("hello_plugin")),
            more: vec!["--output", target],
            host: vec![],
        };
        let rights = check(case, &shop(dir.path())).await;
        assert!(
            rights[2..]
                .iter()
                .all(|right| right.contains("s/rendered in ")),
            "{target}: {rights:?}"
        );
        assert!(
            rights.iter().any(|right| right.starts_with("patch ")),
            "{rights:?}"
        );
    }
}

#[test]
fn k4_roles_are_bound_to_an_account_where_that_is_asked_for() {
    let path = guest("hello_plugin");
    let plugin = path.to_str().unwrap();
    let kinds = |words: &[&str]| -> Vec<String> {
        let words = [&["rbac", plugin], words].concat();
        let list = documents(&ok(&words));
        let names = list.iter().map(|object| {
            format!(
                "{} {}/{}",
                text(object, "/kind"),
                text(object, "/metadata/namespace"),
                text(object, "/metadata/name")
            )
        });
        names.collect()
    };
    assert_eq!(kinds(&[]), ["ClusterRole /haptic-host:haptic-host"]);
    let bound = [
        "--bind",
        "--namespace",
        "edge",
        "--name",
        "render",
        "--leader-elect",
    ];
    assert_eq!(
        kinds(&bound),
        [
            "ServiceAccount edge/render",
            "ClusterRole /edge:render",
            "ClusterRoleBinding /edge:render",
            "Role edge/render",
            "RoleBinding edge/render",
        ]
    );
    let text_of_roles = ok(&["rbac", plugin]);
    for said in [
        "discovery",
        "hello_plugin watches configmaps in all namespaces",
    ] {
        assert!(text_of_roles.contains(said), "{text_of_roles}");
    }
}
