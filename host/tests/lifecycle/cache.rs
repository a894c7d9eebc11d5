//! P4: compiled components are kept, and code from anywhere else is not run.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use haptic_host::plugin::{LoadError, Runtime, RuntimeOptions};
use wasmtime::{Config, Engine};

use crate::{
    Stage,
    support::{guest, host, run, told},
};

/// Loads hello with a runtime of its own, as a process does; whether its code came from the
/// cache.
fn loads_from_cache(cache: &Path) -> bool {
    let options = RuntimeOptions {
        cache_dir: Some(cache.to_owned()),
        ..RuntimeOptions::default()
    };
    let runtime = Runtime::new(&options).unwrap();
    let plugin = runtime.load(&guest("hello_plugin")).unwrap();
    plugin.compilation().cached
}

/// The one file of compiled code in a cache.
fn entry(cache: &Path) -> PathBuf {
    let mut folders = vec![cache.to_owned()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_none() {
                found.push(path);
            }
        }
    }
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

/// As wasmtime keeps it: a zstd frame, of blocks that are not compressed.
fn frame(bytes: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0xa0];
    frame.extend(u32::try_from(bytes.len()).unwrap().to_le_bytes());
    let mut blocks = bytes.chunks(100 << 10).peekable();
    while let Some(block) = blocks.next() {
        let last = u32::from(blocks.peek().is_none());
        let header = last | u32::try_from(block.len()).unwrap() << 3;
        frame.extend(&header.to_le_bytes()[..3]);
        frame.extend(block);
    }
    frame
}

#[test]
fn p4_what_is_damaged_in_the_cache_or_of_another_version_is_compiled_again() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("cache");
    assert!(!loads_from_cache(&cache));
    assert!(loads_from_cache(&cache));
    let entry = entry(&cache);
    let whole = fs::read(&entry).unwrap();
    // Code of this wasmtime, but compiled for another way of running it.
    let mut config = Config::new();
    config.epoch_interruption(false).wasm_component_model(true);
    let component = fs::read(guest("hello_plugin")).unwrap();
    let other = Engine::new(&config)
        .unwrap()
        .precompile_component(&component)
        .unwrap();
    let mut newer = other.clone();
    let version = newer.windows(2).rposition(|two| two == b"48");
    if let Some(at) = version {
        newer[at..at + 2].copy_from_slice(b"99");
    }
    for (what, bytes) in [
        ("cut off", whole[..whole.len() / 2].to_vec()),
        ("empty", Vec::new()),
        ("text", b"no code at all".to_vec()),
        ("zeroes", vec![0; whole.len()]),
        ("a frame of nothing", frame(b"")),
        ("a frame of text", frame(b"no code at all")),
        ("of other settings", frame(&other)),
        ("of another version", frame(&newer)),
    ] {
        fs::write(&entry, bytes).unwrap();
        assert!(!loads_from_cache(&cache), "{what}");
        assert!(loads_from_cache(&cache), "{what}: mended");
    }
}

#[test]
fn p4_a_cache_that_cannot_be_used_is_a_warning() {
    let stage = Stage::new();
    fs::write(stage.at("file"), "").unwrap();
    let open = stage.at("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    for (cache, warning) in [
        (
            stage.at("file"),
            Some("plugins are compiled at every start"),
        ),
        (
            stage.at("file/below"),
            Some("plugins are compiled at every start"),
        ),
        (open.clone(), None),
    ] {
        let (code, stdout, stderr) = run(host()
            .args(["--once", "--plugin"])
            .arg(guest("hello_plugin"))
            .arg("--manifests")
            .arg(stage.at("maps.yaml"))
            .arg("--cache-dir")
            .arg(&cache));
        assert_eq!(
            (code, stdout.as_str()),
            (Some(0), "1 ConfigMaps\nshop/one\n"),
            "{stderr}"
        );
        assert_eq!(stderr.contains("WARN"), warning.is_some(), "{stderr}");
        assert!(
            stderr.contains(warning.unwrap_or("cached=false")),
            "{stderr}"
        );
    }
    // What others could write to is not used itself.
    let kept: Vec<_> = fs::read_dir(&open)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(kept.len(), 1);
    assert!(kept[0].to_str().unwrap().starts_with("user-"), "{kept:?}");
}

#[test]
fn p4_precompiled_code_is_loaded_from_nowhere_but_the_cache() {
    let stage = Stage::new();
    let component = fs::read(guest("hello_plugin")).unwrap();
    let code = Engine::default().precompile_component(&component).unwrap();
    for name in ["hello.cwasm", "hello.wasm"] {
        fs::write(stage.at(name), &code).unwrap();
        let (code, _, stderr) = run(host()
            .args(["--once", "--plugin"])
            .arg(stage.at(name))
            .arg("--manifests")
            .arg(stage.at("maps.yaml")));
        assert_eq!(code, Some(2), "{stderr}");
        assert_eq!(
            told(&stderr),
            "plugin hello is precompiled code (.cwasm): native code is loaded from nowhere but the \
             host's own cache; give the component that it was made from"
        );
    }
    let runtime = Runtime::new(&RuntimeOptions::default()).unwrap();
    let refused = runtime.compile("hello", &code).err().unwrap();
    assert!(matches!(refused, LoadError::Precompiled { .. }));
}
