//! The examples of the native API: they run, they print what they should, and the README
//! shows what they do.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

fn host() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// What an example prints on the embedded cluster.
fn run(name: &str, args: &[&str]) -> String {
    let folder = Path::new(env!("CARGO_BIN_EXE_haptic-host"))
        .parent()
        .unwrap();
    let example = folder.join("examples").join(name);
    assert!(
        example.is_file(),
        "{} is missing: run `cargo test --workspace`, or `cargo build --workspace --examples`",
        example.display()
    );
    let mut command = Command::new(example);
    let output = command.args(args).stdin(Stdio::null()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{name}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

fn check(name: &str, expected: &str) {
    assert_eq!(run(name, &[]), expected, "{name}");
}

#[test]
fn quick_start_counts_and_looks_up() {
    check(
        "quick_start",
        "7 ingresses\nshop/storefront: 959 bytes of JSON\n",
    );
}

#[test]
fn namespaced_sees_its_own_namespace() {
    let services = ["api", "api-v2", "cart", "errors", "images", "web"];
    let lines = services.map(|name| format!("shop/{name}\n"));
    check("namespaced", &lines.concat());
}

#[test]
fn cached_secrets_holds_only_the_body_that_was_read() {
    check(
        "cached_secrets",
        "1 certificates, 0 bodies\n[\"tls.crt\", \"tls.key\"], 1 body\n",
    );
}

#[test]
fn custom_index_finds_by_a_label() {
    let text = run("custom_index", &[]);
    assert!(text.contains("shop/api: 1 slices\n"), "{text}");
    assert!(text.contains("shop/web: 2 slices\n"), "{text}");
}

#[test]
fn wait_for_sync_waits_for_both() {
    check("wait_for_sync", "7 ingresses, 9 services\n");
}

#[test]
fn incremental_sync_tells_of_pages_before_the_end() {
    let mut manifests = String::new();
    for n in 0..1_200 {
        write!(
            manifests,
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: s{n}, namespace: shop}}\nspec: {{ports: [{{port: 80}}]}}\n"
        )
        .unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("services.yaml"), manifests).unwrap();
    let text = run(
        "incremental_sync",
        &["--manifests", folder.path().to_str().unwrap()],
    );
    let (last, before) = {
        let mut lines: Vec<_> = text.lines().collect();
        (lines.pop().unwrap(), lines)
    };
    assert_eq!(last, "all 1200 are here");
    assert!(!before.is_empty(), "{text}");
    assert!(
        before.iter().all(|line| line.ends_with(" so far")),
        "{text}"
    );
}

#[test]
fn the_readme_shows_what_the_examples_do() {
    let readme = fs::read_to_string(host().join("../README.md")).unwrap();
    let (_, section) = readme.split_once("## Use it as a library\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let examples: Vec<(String, String)> = fs::read_dir(host().join("examples"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, words(&fs::read_to_string(path).unwrap()))
        })
        .collect();
    let mut shown = Vec::new();
    for part in section.split("```rust,ignore\n").skip(1) {
        let (block, _) = part.split_once("```").unwrap();
        // What an ellipsis leaves out may be anything.
        let pieces: Vec<_> = block.split("// …\n").map(words).collect();
        let (name, _) = examples
            .iter()
            .find(|(_, text)| pieces.iter().all(|piece| text.contains(piece)))
            .unwrap_or_else(|| panic!("no example has this:\n{block}"));
        shown.push(name.as_str());
    }
    shown.sort_unstable();
    let mut names: Vec<_> = examples.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(shown, names, "each example is shown once");
}

/// The text without its white space: the README's lines are not indented as deep.
fn words(text: &str) -> String {
    text.split_whitespace().collect()
}
