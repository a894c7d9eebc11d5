//! Every input that fuzzing found something with, and every one that it starts from,
//! through what the fuzz targets assert.

#[allow(
    unreachable_pub,
    reason = "public for the fuzz targets, which are other crates"
)]
#[path = "../fuzz/src/lib.rs"]
mod checks;

use std::{
    fs, panic,
    path::{Path, PathBuf},
};

/// Runs `check` on all inputs of a target, and names those that fail.
fn replay(target: &str, check: fn(&[u8])) {
    let mut inputs = folder("seeds", target).expect("every target has seeds");
    // A target that never failed has none.
    inputs.extend(folder("regressions", target).unwrap_or_default());
    let fails = |input: &PathBuf| {
        let bytes = fs::read(input).expect("an input");
        panic::catch_unwind(|| check(&bytes)).is_err()
    };
    let failed: Vec<_> = inputs.into_iter().filter(fails).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

fn folder(kind: &str, target: &str) -> Option<Vec<PathBuf>> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let entries = fs::read_dir(fuzz.join(kind).join(target)).ok()?;
    let paths = entries.map(|entry| entry.expect("a directory entry").path());
    Some(paths.collect()).filter(|paths: &Vec<_>| !paths.is_empty())
}

#[test]
fn w8_frames_hold_for_every_kept_fuzz_input() {
    replay("frames", checks::frames::check);
}

#[test]
fn i3_i7_decoding_holds_for_every_kept_fuzz_input() {
    replay("decode", checks::decode::check);
}

#[test]
fn i1_paths_hold_for_every_kept_fuzz_input() {
    replay("paths", checks::paths::check);
}
