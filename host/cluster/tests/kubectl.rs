//! The real kubectl against the server.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "tests may panic, and nobody else reads them"
)]

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use haptic_cluster::{Cluster, Options};
use serde_json::json;
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(30);

struct Kubectl {
    home: TempDir,
    cluster: Cluster,
}

impl Kubectl {
    async fn start() -> Self {
        let cluster = Cluster::start(Options::default()).await.unwrap();
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("kubeconfig"), cluster.kubeconfig()).unwrap();
        Self { home, cluster }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("kubectl");
        command
            .env("HOME", self.home.path())
            .env("KUBECONFIG", self.home.path().join("kubeconfig"))
            .env("EDITOR", "false")
            .env_remove("KUBE_EDITOR")
            .arg("--cache-dir")
            .arg(self.home.path().join("cache"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn spawn(mut command: Command) -> Child {
        command.spawn().unwrap_or_else(|error| {
            panic!("kubectl cannot be started ({error}): these tests need kubectl 1.30 or newer on the PATH")
        })
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        Self::finish(self.command(arguments)).await
    }

    async fn finish(command: Command) -> Output {
        let child = Self::spawn(command);
        tokio::task::spawn_blocking(|| child.wait_with_output().unwrap())
            .await
            .unwrap()
    }

    /// Runs a command that must succeed; its standard output.
    async fn ok(&self, arguments: &[&str]) -> String {
        Self::checked(arguments, &self.run(arguments).await)
    }

    fn checked(arguments: &[&str], output: &Output) -> String {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(
            output.status.success(),
            "kubectl {arguments:?}\n{}{}",
            text(&output.stdout),
            text(&output.stderr)
        );
        text(&output.stdout)
    }

    /// Runs a command that must fail; its standard error.
    async fn fails(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        assert!(!output.status.success(), "kubectl {arguments:?} succeeded");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path: PathBuf = self.home.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn shop(&self) {
        for object in [
            json!({
                "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"},
                "spec": {"clusterIP": "10.96.0.5", "ports": [{"port": 80}], "selector": {"app": "web"}},
            }),
            json!({
                "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
                "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web"}},
                "spec": {"ingressClassName": "haproxy", "rules": [{"host": "a.example"}, {"host": "b.example"}]},
            }),
            json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "default"},
                "data": {"k": "v"},
            }),
        ] {
            self.cluster.apply(&object).unwrap();
        }
    }
}

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels: {app: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: nginx:1
        ports: [{containerPort: 80}]
      - name: side
        image: side:1
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn get_prints_tables_yaml_and_everything() {
    let kubectl = Kubectl::start().await;
    kubectl.shop();
    let table = kubectl.ok(&["get", "ingresses,services", "-A"]).await;
    let rows: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert!(
        rows.iter().any(|row| row.starts_with(&[
            "shop",
            "ingress.networking.k8s.io/web",
            "haproxy",
            "a.example,b.example",
            "80"
        ])),
        "{table}"
    );
    assert!(
        rows.iter().any(|row| row.starts_with(&[
            "shop",
            "service/web",
            "ClusterIP",
            "10.96.0.5",
            "<none>",
            "80/TCP"
        ])),
        "{table}"
    );
    assert!(
        kubectl
            .ok(&["get", "all", "-n", "shop"])
            .await
            .contains("service/web")
    );
    assert_eq!(
        kubectl.ok(&["get", "cm", "-o", "name"]).await,
        "configmap/settings\n"
    );
    let yaml = kubectl.ok(&["get", "cm", "settings", "-o", "yaml"]).await;
    assert!(
        yaml.starts_with("apiVersion: v1\ndata:\n  k: v\nkind: ConfigMap\n"),
        "{yaml}"
    );
    assert_eq!(
        kubectl
            .ok(&["get", "ing", "-A", "-l", "app in (web)", "-o", "name"])
            .await,
        "ingress.networking.k8s.io/web\n"
    );
    let none = kubectl
        .ok(&[
            "get",
            "svc",
            "-A",
            "--field-selector",
            "spec.type=LoadBalancer",
            "-o",
            "name",
        ])
        .await;
    assert_eq!(none, "");
    let missing = kubectl.fails(&["get", "cm", "nothing"]).await;
    assert_eq!(
        missing,
        "Error from server (NotFound): configmaps \"nothing\" not found\n"
    );
    assert!(
        kubectl
            .ok(&["describe", "-n", "shop", "ingress", "web"])
            .await
            .contains("haproxy")
    );
    let kinds = kubectl
        .ok(&["api-resources", "--namespaced=true", "-o", "name"])
        .await;
    assert!(
        kinds
            .lines()
            .any(|line| line == "ingresses.networking.k8s.io"),
        "{kinds}"
    );
    let version = kubectl.ok(&["version", "-o", "json"]).await;
    assert!(version.contains("serverVersion"), "{version}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apply_works_on_both_sides() {
    let kubectl = Kubectl::start().await;
    let file = kubectl.file("web.yaml", DEPLOYMENT);
    assert_eq!(
        kubectl.ok(&["apply", "-f", &file]).await,
        "deployment.apps/web created\n"
    );
    assert_eq!(
        kubectl.ok(&["apply", "-f", &file]).await,
        "deployment.apps/web unchanged\n"
    );
    let image = "{.spec.template.spec.containers[*].image}";
    let file = kubectl.file("web.yaml", &DEPLOYMENT.replace("nginx:1", "nginx:2"));
    assert_eq!(
        kubectl.ok(&["apply", "-f", &file]).await,
        "deployment.apps/web configured\n"
    );
    assert_eq!(
        kubectl
            .ok(&[
                "get",
                "deployment",
                "web",
                "-o",
                &format!("jsonpath={image}")
            ])
            .await,
        "nginx:2 side:1"
    );
    let without_side = DEPLOYMENT
        .replace("nginx:1", "nginx:3")
        .replace("      - name: side\n        image: side:1\n", "");
    let file = kubectl.file("web.yaml", &without_side);
    assert_eq!(
        kubectl.ok(&["apply", "-f", &file]).await,
        "deployment.apps/web configured\n"
    );
    assert_eq!(
        kubectl
            .ok(&[
                "get",
                "deployment",
                "web",
                "-o",
                &format!("jsonpath={image}")
            ])
            .await,
        "nginx:3"
    );

    for _ in 0..2 {
        let applied = kubectl.ok(&["apply", "--server-side", "-f", &file]).await;
        assert_eq!(applied, "deployment.apps/web serverside-applied\n");
    }
    let version = kubectl.cluster.resource_version();
    kubectl.ok(&["apply", "--server-side", "-f", &file]).await;
    assert_eq!(kubectl.cluster.resource_version(), version);
    let other = kubectl.file("other.yaml", &without_side.replace("nginx:3", "nginx:4"));
    let conflict = kubectl
        .fails(&[
            "apply",
            "--server-side",
            "--field-manager=other",
            "-f",
            &other,
        ])
        .await;
    assert!(conflict.contains("conflict with \"kubectl\""), "{conflict}");
    kubectl
        .ok(&[
            "apply",
            "--server-side",
            "--field-manager=other",
            "--force-conflicts",
            "-f",
            &other,
        ])
        .await;
    assert_eq!(
        kubectl
            .ok(&[
                "diff",
                "--server-side",
                "--field-manager=other",
                "-f",
                &other
            ])
            .await,
        ""
    );

    let namespaced = kubectl.file(
        "new.yaml",
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: fresh}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: \
         {name: a, namespace: fresh}\n",
    );
    kubectl.ok(&["apply", "-f", &namespaced]).await;
    // The namespace may take the other along before it is asked for.
    kubectl
        .ok(&["delete", "--ignore-not-found", "-f", &namespaced])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_are_created_changed_and_deleted() {
    let kubectl = Kubectl::start().await;
    let file = kubectl.file("web.yaml", DEPLOYMENT);
    assert_eq!(
        kubectl.ok(&["create", "-f", &file]).await,
        "deployment.apps/web created\n"
    );
    assert!(
        kubectl
            .fails(&["create", "-f", &file])
            .await
            .contains("AlreadyExists")
    );
    kubectl.ok(&["replace", "-f", &file]).await;
    kubectl
        .ok(&["label", "deployment", "web", "tier=front"])
        .await;
    kubectl
        .ok(&["annotate", "deployment", "web", "note=hello"])
        .await;
    let field = async |path: &str| {
        kubectl
            .ok(&[
                "get",
                "deployment",
                "web",
                "-o",
                &format!("jsonpath={path}"),
            ])
            .await
    };
    assert_eq!(
        field("{.metadata.labels.tier} {.metadata.annotations.note}").await,
        "front hello"
    );
    for (kind, patch, expected) in [
        ("merge", "{\"spec\":{\"replicas\":3}}", "3"),
        (
            "json",
            "[{\"op\":\"replace\",\"path\":\"/spec/replicas\",\"value\":4}]",
            "4",
        ),
        (
            "strategic",
            "{\"spec\":{\"replicas\":5,\"template\":{\"spec\":{\"containers\":[{\"name\":\"side\",\"image\":\"side:2\"}]}}}}",
            "5",
        ),
    ] {
        kubectl
            .ok(&["patch", "deployment", "web", "--type", kind, "-p", patch])
            .await;
        assert_eq!(field("{.spec.replicas}").await, expected);
    }
    assert_eq!(
        field("{.spec.template.spec.containers[*].image}").await,
        "nginx:1 side:2"
    );
    kubectl
        .ok(&["scale", "deployment", "web", "--replicas=6"])
        .await;
    kubectl
        .ok(&["set", "image", "deployment/web", "web=nginx:9"])
        .await;
    assert_eq!(
        field("{.spec.replicas} {.spec.template.spec.containers[0].image}").await,
        "6 nginx:9"
    );

    let mut edit = kubectl.command(&["edit", "deployment", "web"]);
    edit.env("EDITOR", "sed -i s/nginx:9/nginx:10/");
    Kubectl::checked(&["edit"], &Kubectl::finish(edit).await);
    assert_eq!(
        field("{.spec.template.spec.containers[0].image}").await,
        "nginx:10"
    );

    assert_eq!(
        kubectl.ok(&["delete", "deployment", "web"]).await,
        "deployment.apps \"web\" deleted\n"
    );
    assert!(
        kubectl
            .fails(&["delete", "deployment", "web"])
            .await
            .contains("NotFound")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn create_makes_objects_from_flags() {
    let kubectl = Kubectl::start().await;
    kubectl.ok(&["create", "namespace", "shop"]).await;
    kubectl
        .ok(&[
            "create",
            "configmap",
            "settings",
            "-n",
            "shop",
            "--from-literal=k=v",
        ])
        .await;
    kubectl
        .ok(&[
            "create",
            "secret",
            "generic",
            "keys",
            "-n",
            "shop",
            "--from-literal=k=v",
        ])
        .await;
    kubectl
        .ok(&[
            "create",
            "service",
            "clusterip",
            "web",
            "-n",
            "shop",
            "--tcp=80:8080",
        ])
        .await;
    kubectl
        .ok(&[
            "create",
            "ingress",
            "web",
            "-n",
            "shop",
            "--rule=a.example/*=web:80",
        ])
        .await;
    kubectl
        .ok(&[
            "create",
            "deployment",
            "web",
            "-n",
            "shop",
            "--image=nginx:1",
            "--replicas=3",
            "--port=80",
        ])
        .await;
    kubectl
        .ok(&["create", "serviceaccount", "robot", "-n", "shop"])
        .await;
    kubectl
        .ok(&[
            "create",
            "role",
            "reader",
            "-n",
            "shop",
            "--verb=get",
            "--resource=pods",
        ])
        .await;
    let read = async |what: &str, path: &str| {
        kubectl
            .ok(&["get", "-n", "shop", what, "-o", &format!("jsonpath={path}")])
            .await
    };
    assert_eq!(read("configmap/settings", "{.data.k}").await, "v");
    assert_eq!(
        read("secret/keys", "{.data.k} {.type}").await,
        "dg== Opaque"
    );
    assert_eq!(
        read(
            "service/web",
            "{.spec.ports[0].port}>{.spec.ports[0].targetPort}"
        )
        .await,
        "80>8080"
    );
    assert_eq!(
        read(
            "ingress/web",
            "{.spec.rules[0].host} {.spec.rules[0].http.paths[0].backend.service}"
        )
        .await,
        "a.example {\"name\":\"web\",\"port\":{\"number\":80}}"
    );
    assert_eq!(
        read(
            "deployment/web",
            "{.spec.replicas} {.spec.template.spec.containers[0].ports[0].containerPort}"
        )
        .await,
        "3 80"
    );
    assert_eq!(
        read(
            "role/reader",
            "{.rules[0].verbs[0]} {.rules[0].resources[0]}"
        )
        .await,
        "get pods"
    );
    assert_eq!(
        kubectl.ok(&["auth", "can-i", "create", "pods"]).await,
        "yes\n"
    );
    assert!(
        kubectl
            .ok(&["auth", "can-i", "--list"])
            .await
            .contains("*.*")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wait_sees_conditions_fields_and_deletions() {
    let kubectl = Kubectl::start().await;
    let definition = kubectl.file(
        "crd.yaml",
        "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.io}
spec:
  group: example.io
  scope: Namespaced
  names: {plural: widgets, kind: Widget}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
    additionalPrinterColumns: [{name: Size, type: integer, jsonPath: .spec.size}]
",
    );
    kubectl.ok(&["apply", "-f", &definition]).await;
    kubectl
        .ok(&[
            "wait",
            "--for=condition=Established",
            "crd/widgets.example.io",
            "--timeout=20s",
        ])
        .await;
    let widget = kubectl.file(
        "w.yaml",
        "apiVersion: example.io/v1\nkind: Widget\nmetadata: {name: w}\nspec: {size: 3}\n",
    );
    for _ in 0..2 {
        kubectl.ok(&["apply", "-f", &widget]).await;
    }
    let table = kubectl.ok(&["get", "widgets"]).await;
    assert_eq!(
        table.split_whitespace().collect::<Vec<_>>(),
        ["NAME", "SIZE", "w", "3"]
    );
    kubectl
        .ok(&[
            "wait",
            "--for=jsonpath={.spec.size}=3",
            "widget/w",
            "--timeout=20s",
        ])
        .await;

    let waiting =
        Kubectl::spawn(kubectl.command(&["wait", "--for=delete", "widget/w", "--timeout=20s"]));
    let changing = Kubectl::spawn(kubectl.command(&[
        "wait",
        "--for=jsonpath={.spec.size}=4",
        "widget/w",
        "--timeout=20s",
    ]));
    kubectl
        .ok(&[
            "patch",
            "widget",
            "w",
            "--type=merge",
            "-p",
            "{\"spec\":{\"size\":4}}",
        ])
        .await;
    let changed = tokio::task::spawn_blocking(|| changing.wait_with_output().unwrap())
        .await
        .unwrap();
    Kubectl::checked(&["wait"], &changed);
    kubectl.ok(&["delete", "widget", "w"]).await;
    let gone = tokio::task::spawn_blocking(|| waiting.wait_with_output().unwrap())
        .await
        .unwrap();
    Kubectl::checked(&["wait"], &gone);
    kubectl.ok(&["delete", "crd", "widgets.example.io"]).await;
    kubectl
        .ok(&[
            "create",
            "-f",
            &kubectl.file(
                "n.yaml",
                "apiVersion: v1\nkind: Namespace\nmetadata: {name: gone}\n",
            ),
        ])
        .await;
    kubectl
        .ok(&["delete", "namespace", "gone", "--timeout=20s"])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn get_watch_prints_changes_as_they_come() {
    let kubectl = Kubectl::start().await;
    kubectl.shop();
    let mut child =
        Kubectl::spawn(kubectl.command(&["get", "configmaps", "--watch", "--output-watch-events"]));
    let output = child.stdout.take().unwrap();
    let (sender, lines) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(output).lines() {
            let words: Vec<String> = line
                .unwrap()
                .split_whitespace()
                .take(3)
                .map(str::to_owned)
                .collect();
            if sender.send(words.join(" ")).is_err() {
                return;
            }
        }
    });
    let next = || lines.recv_timeout(DEADLINE).unwrap();
    assert_eq!(next(), "EVENT NAME DATA");
    assert_eq!(next(), "ADDED settings 1");
    kubectl
        .cluster
        .apply(&json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"k": "v", "l": "w"},
        }))
        .unwrap();
    assert_eq!(next(), "MODIFIED settings 2");
    kubectl
        .cluster
        .delete("v1", "ConfigMap", None, "settings")
        .unwrap();
    assert_eq!(next(), "DELETED settings 2");
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn manifests_come_from_standard_input_too() {
    let kubectl = Kubectl::start().await;
    let mut command = kubectl.command(&["apply", "-f", "-"]);
    command.stdin(Stdio::piped());
    let mut child = Kubectl::spawn(command);
    let mut input = child.stdin.take().unwrap();
    input
        .write_all(b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n")
        .unwrap();
    drop(input);
    let output = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap())
        .await
        .unwrap();
    assert_eq!(
        Kubectl::checked(&["apply"], &output),
        "configmap/a created\n"
    );
}
