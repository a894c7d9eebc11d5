//! The command as a user meets it: exit codes, sentences, outputs, kubectl beside it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use support::{guest, host, root, run, told};

/// How long anything may take before a test gives up: far more than it needs on a
/// loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn write(dir: &TempDir, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
    let path = dir.path().join(name);
    fs::write(&path, text).unwrap();
    path
}

const MAPS: &str = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: one, namespace: shop}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: two, namespace: shop}
";

#[test]
fn o3_once_renders_to_standard_output_and_exits_0() {
    let dir = tempfile::tempdir().unwrap();
    let maps = write(&dir, "maps.yaml", MAPS);
    let (code, stdout, stderr) = run(host()
        .args(["--once", "--plugin"])
        .arg(guest("hello_plugin"))
        .arg("--manifests")
        .arg(maps));
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(stdout, "2 ConfigMaps\nshop/one\nshop/two\n");
    assert!(stderr.contains("synced"), "{stderr}");
    assert!(
        !stderr.contains('\x1b'),
        "no colours off a terminal: {stderr:?}"
    );
}

#[test]
fn k1_a_configuration_names_the_plugin_narrows_its_watch_and_places_its_output() {
    let dir = tempfile::tempdir().unwrap();
    write(
        &dir,
        "maps.yaml",
        format!(
            "{MAPS}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: x, namespace: other}}\n"
        ),
    );
    let config = write(
        &dir,
        "config.yaml",
        format!(
            "plugins:\n  hello:\n    file: {}\n    output: out\n    watchedResources:\n      configmaps:\n        namespaces: [other]\n",
            guest("hello_plugin").display()
        ),
    );
    let (code, stdout, stderr) = run(host()
        .args(["--once", "--config"])
        .arg(config)
        .arg("--manifests")
        .arg(dir.path().join("maps.yaml")));
    assert_eq!((code, stdout.as_str()), (Some(0), ""), "{stderr}");
    let written = fs::read_to_string(dir.path().join("out/configmaps.txt")).unwrap();
    assert_eq!(written, "1 ConfigMaps\nother/x\n");
}

#[test]
fn k1_one_component_is_several_plugins_under_the_names_that_the_configuration_gives() {
    let dir = tempfile::tempdir().unwrap();
    let maps = write(&dir, "maps.yaml", MAPS);
    let hello = guest("hello_plugin");
    let plugin = |name: &str, object: &str| {
        let file = hello.display();
        format!(
            "  {name}: {{file: {file}, watchedResources: {{configmaps: {{fieldSelector: metadata.name={object}}}}}}}\n"
        )
    };
    let text = format!(
        "plugins:\n{}{}",
        plugin("first", "one"),
        plugin("second", "two")
    );
    let config = write(&dir, "config.yaml", text);
    let out = dir.path().join("out");
    let (code, _, stderr) = run(host()
        .args(["--once", "--config"])
        .arg(config)
        .arg("--manifests")
        .arg(maps)
        .arg("--output")
        .arg(&out));
    assert_eq!(code, Some(0), "{stderr}");
    for (name, text) in [
        ("first", "1 ConfigMaps\nshop/one\n"),
        ("second", "1 ConfigMaps\nshop/two\n"),
    ] {
        let written = fs::read_to_string(out.join(name).join("configmaps.txt")).unwrap();
        assert_eq!(written, text);
    }
}

/// A configuration of the guest that misbehaves so.
fn misbehaving(dir: &TempDir, mode: &str, more: &str) -> PathBuf {
    let file = guest("test_guests");
    let text = format!(
        "plugins:\n  p: {{file: {}, settings: {{mode: {mode}}}{more}}}\n",
        file.display()
    );
    write(dir, "config.yaml", text)
}

#[test]
fn o3_a_plugin_that_fails_ends_once_with_exit_code_1() {
    let dir = tempfile::tempdir().unwrap();
    let maps = write(&dir, "maps.yaml", MAPS);
    for (mode, code, told_of) in [
        ("new-err", 1, "there is nothing to make it from"),
        ("describe-panic", 1, "describe panics on purpose"),
        ("describe-err", 2, "the colour is missing"),
        ("describe-nothing", 2, "it declares no watches"),
        ("report", 0, ""),
    ] {
        let config = misbehaving(&dir, mode, "");
        let (exit, _, stderr) = run(host()
            .args(["--once", "--config"])
            .arg(config)
            .arg("--manifests")
            .arg(&maps));
        assert_eq!(exit, Some(code), "{mode}: {stderr}");
        assert!(stderr.contains(told_of), "{mode}: {stderr}");
    }
}

#[test]
fn p2_on_failure_exit_is_a_flag_and_configured_for_each_plugin() {
    let dir = tempfile::tempdir().unwrap();
    let maps = write(&dir, "maps.yaml", MAPS);
    let flags: &[&str] = &["--max-failures", "1", "--on-failure", "exit"];
    let configured = ", maxFailures: 1, onFailure: exit";
    for (flags, more) in [(flags, ""), (&[], configured)] {
        let config = misbehaving(&dir, "new-err", more);
        let (code, _, stderr) = run(host()
            .args(flags)
            .arg("--config")
            .arg(config)
            .arg("--manifests")
            .arg(&maps));
        assert_eq!(code, Some(1), "{stderr}");
        assert!(
            told(&stderr).starts_with("plugin p is given up (failures in a row: 1)"),
            "{stderr}"
        );
        assert!(
            told(&stderr).contains("there is nothing to make it from"),
            "{stderr}"
        );
    }
}

#[test]
fn p3_a_plugins_file_is_followed_unless_that_is_turned_off() {
    let dir = tempfile::tempdir().unwrap();
    let maps = write(&dir, "maps.yaml", MAPS);
    let file = dir.path().join("p.wasm");
    for (flags, out) in [(&[][..], "out"), (&["--no-reload"], "again")] {
        fs::copy(guest("hello_plugin"), &file).unwrap();
        let log = dir.path().join("log");
        let out = dir.path().join(out);
        let mut running = Running(
            host()
                .args(flags)
                .arg("--plugin")
                .arg(&file)
                .arg("--manifests")
                .arg(&maps)
                .arg("--output")
                .arg(&out)
                .stderr(fs::File::create(&log).unwrap())
                .spawn()
                .unwrap(),
        );
        renders(&out, "2 ConfigMaps\nshop/one\nshop/two\n");
        fs::write(&file, "no plugin").unwrap();
        let refused = || {
            let log = fs::read_to_string(&log).unwrap();
            log.contains("its new version is refused, and the old one goes on")
                .then_some(())
        };
        if flags.is_empty() {
            eventually("the refusal", refused);
        } else {
            // Whatever follows files would have seen it by the time that this was.
            let other = dir.path().join("maps.yaml");
            fs::write(other, MAPS.replace("two", "zwei")).unwrap();
            renders(&out, "2 ConfigMaps\nshop/one\nshop/zwei\n");
            assert_eq!(refused(), None);
            fs::write(&maps, MAPS).unwrap();
        }
        assert_eq!(running.terminate(), Some(0));
    }
}

/// What the HAProxy example writes for the example cluster, by file, with this added to
/// its watches.
fn haproxy_renders(store: &str) -> BTreeMap<PathBuf, String> {
    let dir = tempfile::tempdir().unwrap();
    let config = write(
        &dir,
        "config.yaml",
        format!(
            "plugins:\n  haproxy:\n    file: {}\n    output: out\n    allow: [declared, secrets]\n    watchedResources:\n      secrets: {store}\n      ingresses: {store}\n      services: {store}\n      endpointslices: {store}\n",
            guest("haproxy_plugin").display()
        ),
    );
    let (code, _, stderr) = run(host()
        .args(["--once", "--config"])
        .arg(config)
        .arg("--manifests")
        .arg(root().join("examples/cluster")));
    assert_eq!(code, Some(0), "{stderr}");
    let mut files = BTreeMap::new();
    let mut folders = vec![dir.path().join("out")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(dir.path()).unwrap().to_owned();
                files.insert(name, fs::read_to_string(path).unwrap());
            }
        }
    }
    files
}

#[test]
fn s6_k1_cached_stores_render_what_stores_in_memory_do() {
    let memory = haproxy_renders("{store: full}");
    assert!(memory.len() > 2, "{:?}", memory.keys());
    assert_eq!(haproxy_renders("{store: cached}"), memory);
    let on_demand = "{store: on-demand, cacheTTL: 1ms}";
    assert_eq!(haproxy_renders(on_demand), memory);
}

#[test]
fn bad_input_is_one_sentence_with_its_exit_code_and_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let maps = write(&dir, "maps.yaml", MAPS);
    let out = dir.path().join("out");
    let text = write(&dir, "text.wasm", "not wasm");
    let core = write(&dir, "core.wasm", b"\0asm\x01\0\0\0");
    let broken = write(
        &dir,
        "broken.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: [\n",
    );
    let config = write(
        &dir,
        "config.yaml",
        "plugins:\n  a:\n    fil: x\n    allow: 3\nplugin: x\n",
    );
    let paths = write(
        &dir,
        "paths.yaml",
        format!(
            "plugins:\n  a:\n    file: {}\n    watchedResources:\n      configmaps:\n        indexBy: ['metadata[', '{{range .x}}']\n        labelSelector: 'a in'\n",
            guest("hello_plugin").display()
        ),
    );
    let file = write(&dir, "file", "");
    let hello = guest("hello_plugin");
    let haproxy = guest("haproxy_plugin");
    let empty_home = dir.path().join("home");
    type Args<'a> = Vec<&'a Path>;
    let p = Path::new;
    let cases: Vec<(Args<'_>, i32, &[&str])> = vec![
        (vec![], 2, &["no plugin is named", "--plugin FILE"]),
        (
            vec![p("--plugin"), p("none.wasm"), p("--manifests"), &maps],
            2,
            &["none.wasm", "No such file"],
        ),
        (
            vec![p("--plugin"), &text, p("--manifests"), &maps],
            2,
            &["no WebAssembly component", "not wasm"],
        ),
        (
            vec![p("--plugin"), &core, p("--manifests"), &maps],
            2,
            &["core WebAssembly module", "wasm32-wasip2"],
        ),
        (
            vec![p("--config"), &config, p("--manifests"), &maps],
            2,
            &[
                "3 mistakes",
                "plugins.a.fil",
                "plugins.a.allow",
                "plugin: unknown field",
            ],
        ),
        (
            vec![p("--config"), &paths, p("--manifests"), &maps],
            2,
            &[
                "3 mistakes",
                "plugins.a.watchedResources.configmaps.indexBy[0]",
                "configmaps.indexBy[1]",
                "configmaps.labelSelector",
            ],
        ),
        (
            vec![p("--plugin"), &hello, p("--manifests"), &broken],
            2,
            &["broken.yaml", ":4"],
        ),
        (
            vec![p("--plugin"), &hello, p("--manifests"), p("nowhere")],
            2,
            &["nowhere"],
        ),
        (
            vec![
                p("--plugin"),
                &hello,
                p("--manifests"),
                &maps,
                p("--output"),
                &file,
            ],
            2,
            &["cannot write output directory"],
        ),
        (
            vec![p("--plugin"), &haproxy, p("--manifests"), &maps],
            2,
            &[
                "watch \"secrets\" reads secrets in all namespaces",
                "--allow declared,secrets",
            ],
        ),
        (
            vec![p("--plugin"), &hello, p("--kubeconfig"), p("none.yaml")],
            2,
            &["none.yaml"],
        ),
        (
            vec![p("--plugin"), &hello],
            3,
            &["no cluster is configured", "--manifests"],
        ),
    ];
    for (args, expected, parts) in cases {
        let mut command = host();
        command.env("HOME", &empty_home).current_dir(dir.path());
        if !args.contains(&p("--output")) {
            command.arg("--output").arg(&out);
        }
        let (code, stdout, stderr) = run(command.arg("--once").args(&args));
        assert_eq!(code, Some(expected), "{args:?}: {stderr}");
        assert_eq!(stdout, "", "{args:?}");
        for part in parts {
            assert!(
                told(&stderr).contains(part),
                "{args:?}: {part:?} is not in: {stderr}"
            );
        }
        let written = fs::read_dir(&out)
            .map(|entries| entries.count())
            .unwrap_or(0);
        assert_eq!(written, 0, "{args:?}");
    }
}

#[test]
fn o3_an_unreachable_cluster_is_exit_code_3() {
    let dir = tempfile::tempdir().unwrap();
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let kubeconfig = write(
        &dir,
        "kc.yaml",
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{{name: c, cluster: {{server: 'http://127.0.0.1:{port}'}}}}]\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\nusers: [{{name: u, user: {{}}}}]\n"
        ),
    );
    let (code, _, stderr) = run(host()
        .args(["--once", "--plugin"])
        .arg(guest("hello_plugin"))
        .arg("--kubeconfig")
        .arg(kubeconfig));
    assert_eq!(code, Some(3), "{stderr}");
    assert!(
        told(&stderr).contains(&format!("127.0.0.1:{port}/ cannot be reached")),
        "{stderr}"
    );
}

#[test]
fn help_teaches() {
    let (code, stdout, _) = run(host().arg("--help"));
    assert_eq!(code, Some(0));
    for part in [
        "--plugin",
        "--manifests",
        "--once",
        "--allow",
        "Examples:",
        "Exit codes:",
        "cluster",
    ] {
        assert!(stdout.contains(part), "{part} is not in:\n{stdout}");
    }
}

/// A process that ends with the test.
struct Running(Child);

impl Running {
    /// Asks it to stop and answers its exit code.
    fn terminate(&mut self) -> Option<i32> {
        let pid = self.0.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
        let began = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            assert!(began.elapsed() < PATIENCE, "it does not stop");
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Waits for a condition that another process brings about.
fn eventually<T>(what: &str, mut met: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = met() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "{what} did not happen");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// Serves manifests as a cluster; answers where it listens.
fn serve(manifests: &Path, kubeconfig: &Path, listen: &str) -> (Running, String) {
    serve_with(manifests, kubeconfig, listen, &[])
}

fn serve_with(
    manifests: &Path,
    kubeconfig: &Path,
    listen: &str,
    more: &[&Path],
) -> (Running, String) {
    let mut child = host()
        .args(["cluster", "--listen", listen, "--manifests"])
        .arg(manifests)
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(more)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    let running = Running(child);
    let serving = said.next().unwrap().unwrap();
    let address = serving.strip_prefix("serving http://").unwrap().to_owned();
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    (running, address)
}

/// Runs the hello example against a cluster.
fn hello_on(kubeconfig: &Path, out: &Path) -> Running {
    Running(
        host()
            .arg("--plugin")
            .arg(guest("hello_plugin"))
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .arg("--output")
            .arg(out)
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    )
}

/// Waits until the hello example has rendered this.
fn renders(out: &Path, text: &str) {
    eventually(text, || {
        fs::read_to_string(out.join("configmaps.txt"))
            .ok()
            .filter(|found| found == text)
    });
}

fn kubectl(kubeconfig: &Path, home: &Path) -> Command {
    let mut command = Command::new("kubectl");
    command
        .env("HOME", home)
        .arg("--kubeconfig")
        .arg(kubeconfig);
    command
}

#[test]
fn k2_k4_the_host_follows_what_kubectl_does_to_a_served_cluster() {
    let dir = tempfile::tempdir().unwrap();
    let maps = write(&dir, "maps.yaml", MAPS);
    let kubeconfig = dir.path().join("kc.yaml");
    let (mut cluster, _) = serve(&maps, &kubeconfig, "127.0.0.1:0");
    let out = dir.path().join("out");
    let mut running = hello_on(&kubeconfig, &out);
    let rendered = |text| renders(&out, text);
    rendered("2 ConfigMaps\nshop/one\nshop/two\n");
    let kubectl = |args: &[&str]| {
        let (code, stdout, stderr) = run(kubectl(&kubeconfig, dir.path()).args(args));
        assert_eq!(code, Some(0), "kubectl {args:?}: {stdout}{stderr}");
        stdout
    };
    kubectl(&["-n", "shop", "create", "configmap", "three"]);
    rendered("3 ConfigMaps\nshop/one\nshop/three\nshop/two\n");
    kubectl(&["-n", "shop", "delete", "configmap", "one"]);
    rendered("2 ConfigMaps\nshop/three\nshop/two\n");
    assert!(kubectl(&["get", "configmaps", "-A"]).contains("three"));
    assert_eq!(running.terminate(), Some(0), "K5");
    assert_eq!(cluster.terminate(), Some(0), "K5");
}

#[test]
fn w2_the_own_namespace_is_the_contexts_and_never_the_whole_cluster() {
    let dir = tempfile::tempdir().unwrap();
    let other = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, namespace: other}\n";
    let maps = write(&dir, "maps.yaml", format!("{MAPS}{other}"));
    let served = dir.path().join("kc.yaml");
    let (_cluster, address) = serve(&maps, &served, "127.0.0.1:0");
    let config = write(
        &dir,
        "config.yaml",
        format!(
            "plugins:\n  hello:\n    file: {}\n    output: out\n    watchedResources:\n      configmaps:\n        namespacedWatch: true\n",
            guest("hello_plugin").display()
        ),
    );
    let out = dir.path().join("out/configmaps.txt");
    let once = |context: &str| {
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{{name: c, cluster: {{server: 'http://{address}'}}}}]\nusers: [{{name: u, user: {{}}}}]\ncontexts: [{{name: c, context: {{cluster: c, user: u{context}}}}}]\n"
        );
        let kubeconfig = write(&dir, "own.yaml", text);
        let (code, _, stderr) = run(host()
            .args(["--once", "--config"])
            .arg(&config)
            .arg("--kubeconfig")
            .arg(kubeconfig));
        (code, stderr)
    };
    let (code, stderr) = once("");
    assert_eq!(code, Some(2), "{stderr}");
    assert!(
        told(&stderr).contains("set a namespace in the context"),
        "{stderr}"
    );
    assert!(!out.exists());
    let (code, stderr) = once(", namespace: other");
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(fs::read_to_string(out).unwrap(), "1 ConfigMaps\nother/x\n");
}

#[test]
fn k4_a_served_cluster_does_what_a_script_of_faults_says() {
    let dir = tempfile::tempdir().unwrap();
    let maps = write(&dir, "maps.yaml", MAPS);
    let script = "faults:\n- when: {verbs: [list], resource: configmaps}\n  times: 1\n  \
                  fault: {status: {code: 403, reason: Forbidden, message: the script says no}}\n";
    let faults = write(&dir, "faults.yaml", script);
    let kubeconfig = dir.path().join("kc.yaml");
    let more = [Path::new("--faults"), &faults];
    let (_cluster, _) = serve_with(&maps, &kubeconfig, "127.0.0.1:0", &more);
    let get = || run(kubectl(&kubeconfig, dir.path()).args(["get", "configmaps", "-A"]));
    let (code, _, stderr) = get();
    assert_eq!(code, Some(1));
    assert!(stderr.contains("the script says no"), "{stderr}");
    let (code, stdout, stderr) = get();
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("two"), "{stdout}");
    // A script that cannot be read is no cluster without faults.
    for (text, place) in [
        ("faults:\n- fault: {stall: 3}\n", "faults.yaml: line 2"),
        ("fault: []\n", "faults.yaml: line 1"),
    ] {
        fs::write(&faults, text).unwrap();
        let mut command = host();
        let (code, stdout, stderr) = run(command
            .args([Path::new("cluster"), Path::new("--manifests"), &maps])
            .args(more));
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{stderr}");
        assert!(told(&stderr).contains(place), "{stderr}");
    }
}

#[test]
fn k3_edits_to_manifests_are_changes() {
    let dir = tempfile::tempdir().unwrap();
    let manifests = dir.path().join("cluster");
    fs::create_dir(&manifests).unwrap();
    fs::write(manifests.join("maps.yaml"), MAPS).unwrap();
    let out = dir.path().join("out");
    let mut running = Running(
        host()
            .args(["--diff", "--plugin"])
            .arg(guest("hello_plugin"))
            .arg("--manifests")
            .arg(&manifests)
            .arg("--output")
            .arg(&out)
            .stdout(fs::File::create(dir.path().join("stdout")).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let rendered = |text| renders(&out, text);
    rendered("2 ConfigMaps\nshop/one\nshop/two\n");
    fs::write(manifests.join("maps.yaml"), MAPS.replace("two", "zwei")).unwrap();
    rendered("2 ConfigMaps\nshop/one\nshop/zwei\n");
    fs::remove_file(manifests.join("maps.yaml")).unwrap();
    rendered("0 ConfigMaps\n");
    assert_eq!(running.terminate(), Some(0));
    let diffs = fs::read_to_string(dir.path().join("stdout")).unwrap();
    assert!(diffs.starts_with("+++ configmaps.txt (new, "), "{diffs}");
    assert!(diffs.contains("-shop/two\n+shop/zwei\n"), "{diffs}");
}

/// A configuration that runs hello, with its watch changed.
fn hello_config(dir: &TempDir, watch: &str) -> PathBuf {
    write(
        dir,
        "config.yaml",
        format!(
            "plugins:\n  hello:\n    file: {}\n    watchedResources: {watch}\n",
            guest("hello_plugin").display()
        ),
    )
}

#[test]
fn o3_once_waits_for_an_optional_watch_that_can_sync() {
    let dir = tempfile::tempdir().unwrap();
    let maps = write(&dir, "maps.yaml", MAPS);
    let config = hello_config(&dir, "{configmaps: {required: false}}");
    let (code, stdout, stderr) = run(host()
        .args(["--once", "--config"])
        .arg(config)
        .arg("--manifests")
        .arg(maps));
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(stdout, "2 ConfigMaps\nshop/one\nshop/two\n");
}

#[test]
fn o3_once_does_not_wait_for_an_optional_kind_that_is_not_served() {
    let dir = tempfile::tempdir().unwrap();
    let maps = write(&dir, "maps.yaml", MAPS);
    let widgets = "{apiVersion: example.com/v1, resources: widgets, required: false}";
    let config = hello_config(&dir, &format!("{{widgets: {widgets}}}"));
    let (code, stdout, stderr) = run(host()
        .args(["--once", "--config"])
        .arg(config)
        .arg("--manifests")
        .arg(maps));
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(stdout, "2 ConfigMaps\nshop/one\nshop/two\n");
}

#[test]
fn o3_once_that_cannot_finish_names_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let maps = write(&dir, "maps.yaml", MAPS);
    let config = hello_config(
        &dir,
        "{widgets: {apiVersion: example.com/v1, resources: widgets}}",
    );
    let command = || {
        let mut command = host();
        command
            .args(["--once", "--config"])
            .arg(&config)
            .arg("--manifests")
            .arg(&maps);
        command
    };
    let (code, _, stderr) = run(command().args(["--timeout", "1s"]));
    assert_eq!(code, Some(3), "{stderr}");
    assert!(
        told(&stderr).contains("widgets: waiting for the resource to be served"),
        "{stderr}"
    );

    let log = dir.path().join("log");
    let mut running = Running(
        command()
            .stderr(fs::File::create(&log).unwrap())
            .stdout(Stdio::null())
            .spawn()
            .unwrap(),
    );
    eventually("the first callback", || {
        fs::read_to_string(&log)
            .ok()
            .filter(|log| log.contains("on-sync-complete"))
    });
    assert_eq!(running.terminate(), Some(130), "interrupted is not done");
}

#[test]
fn o2_a_reader_that_goes_away_ends_the_host() {
    let dir = tempfile::tempdir().unwrap();
    let maps = write(&dir, "maps.yaml", MAPS);
    let log = dir.path().join("log");
    let mut child = host()
        .arg("--plugin")
        .arg(guest("hello_plugin"))
        .arg("--manifests")
        .arg(&maps)
        .stdout(Stdio::piped())
        .stderr(fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut running = Running(child);
    let code = eventually("the end", || running.0.try_wait().unwrap()).code();
    assert_eq!(code, Some(0), "{}", fs::read_to_string(&log).unwrap());
}

#[test]
fn w5_the_host_follows_a_cluster_that_was_restarted_with_another_state() {
    let dir = tempfile::tempdir().unwrap();
    let maps = write(&dir, "maps.yaml", MAPS);
    let kubeconfig = dir.path().join("kc.yaml");
    let (mut first, address) = serve(&maps, &kubeconfig, "127.0.0.1:0");
    let out = dir.path().join("out");
    let _running = hello_on(&kubeconfig, &out);
    let rendered = |text| renders(&out, text);
    rendered("2 ConfigMaps\nshop/one\nshop/two\n");
    first.0.kill().unwrap();
    first.0.wait().unwrap();
    fs::write(&maps, MAPS.replace("two", "zwei")).unwrap();
    let (_second, again) = serve(&maps, &kubeconfig, &address);
    assert_eq!(again, address);
    rendered("2 ConfigMaps\nshop/one\nshop/zwei\n");
}
