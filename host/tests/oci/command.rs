//! The command with plugins from a registry.

use std::path::Path;

use crate::{
    registry::{Registry, Trouble},
    support::{self, guest, run},
};

fn hello() -> Vec<u8> {
    std::fs::read(guest("hello_plugin")).unwrap()
}

async fn host(home: &Path, args: Vec<String>) -> (Option<i32>, String, String) {
    let mut command = support::host();
    command
        .env("DOCKER_CONFIG", home)
        .env("HAPTIC_CACHE_DIR", home.join("cache"))
        .args(args);
    tokio::task::spawn_blocking(move || run(&mut command))
        .await
        .unwrap()
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k1_k4_a_plugin_from_a_registry_runs_and_is_inspected_like_one_from_a_file() {
    let registry = Registry::start().await;
    let digest = registry.push_component("acme/hello", "1", &hello());
    let at = registry.address;
    let dir = tempfile::tempdir().unwrap();
    let maps = dir.path().join("maps.yaml");
    std::fs::write(
        &maps,
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one, namespace: shop}\n",
    )
    .unwrap();
    let rendered = "1 ConfigMaps\nshop/one\n";
    let once = |plugin: &str| words(&format!("--once --manifests {} {plugin}", maps.display()));
    let tag = once(&format!("--plugin oci://{at}/acme/hello:1"));
    let (code, stdout, stderr) = host(dir.path(), tag).await;
    assert_eq!((code, stdout.as_str()), (Some(0), rendered), "{stderr}");
    assert!(stderr.contains("a tag may move"), "{stderr}");
    assert!(
        stderr.contains(&digest.to_string()),
        "what to pin: {stderr}"
    );

    let config = dir.path().join("config.yaml");
    let text = format!("plugins:\n  any:\n    file: oci://{at}/acme/hello@{digest}\n");
    std::fs::write(&config, text).unwrap();
    let configured = once(&format!("--config {}", config.display()));
    let (code, stdout, stderr) = host(dir.path(), configured).await;
    assert_eq!((code, stdout.as_str()), (Some(0), rendered), "{stderr}");
    assert!(!stderr.contains("a tag may move"), "{stderr}");

    let inspect = words(&format!("inspect oci://{at}/acme/hello:1"));
    let (code, stdout, stderr) = host(dir.path(), inspect).await;
    assert_eq!(code, Some(0), "{stderr}");
    let source = format!("oci://{at}/acme/hello:1@{digest}");
    assert!(stdout.contains(&source), "{stdout}");
    // P4: what was pulled once is still there.
    let fetched = registry.asked();
    let blobs = fetched.iter().filter(|asked| asked.contains("/blobs/"));
    assert_eq!(blobs.count(), 1, "{fetched:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o3_a_registry_that_fails_is_exit_code_3_and_a_wrong_reference_is_2() {
    let registry = Registry::start().await;
    registry.push_component("r", "1", b"\0asm\x01\0\0\0 a core module");
    registry.push_component("down", "1", b"x");
    registry.trouble("/down/", Trouble::Status(500, "it burns"));
    let at = registry.address;
    let dir = tempfile::tempdir().unwrap();
    for (plugin, expected, sentence) in [
        ("oci://127.0.0.1:1/r:1".to_owned(), 3, "cannot be reached"),
        (format!("oci://{at}/down:1"), 3, "answers 500: it burns"),
        (format!("oci://{at}/r:2"), 2, "manifest unknown"),
        (format!("oci://{at}/r:1"), 2, "is a core WebAssembly module"),
        (format!("oci://{at}/r"), 2, "neither which version"),
    ] {
        for command in ["inspect ", "--once --manifests . --plugin "] {
            let args = words(&format!("{command}{plugin}"));
            let (code, stdout, stderr) = host(dir.path(), args).await;
            assert_eq!(code, Some(expected), "{command}{plugin}: {stderr}");
            assert!(stderr.contains(sentence), "{command}{plugin}: {stderr}");
            assert_eq!(stdout, "");
        }
    }
}
