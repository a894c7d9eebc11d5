//! Two hosts of which one leads, as a user meets them: two processes, one cluster.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{fs, path::PathBuf};

use tempfile::TempDir;

use support::{Process, eventually, guest, host, maps, serve};

/// Short enough for a test. Nothing is asserted about how long anything takes.
const SHORT: [&str; 6] = [
    "--lease-duration",
    "3s",
    "--lease-renew-deadline",
    "2s",
    "--lease-retry-period",
    "500ms",
];

/// Longer than any test waits: who takes over did so because the Lease was released.
const NEVER_EXPIRES: [&str; 6] = [
    "--lease-duration",
    "1h",
    "--lease-renew-deadline",
    "50m",
    "--lease-retry-period",
    "500ms",
];

/// A cluster of ConfigMaps, and hosts that list them.
struct Stage {
    dir: TempDir,
    _cluster: Process,
}

impl Stage {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("maps.yaml"), maps(2)).unwrap();
        let cluster = serve(&at("maps.yaml"), &at("kubeconfig"));
        Self {
            dir,
            _cluster: cluster,
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn host(&self, pod: &str, output: &str, timings: &[&str]) -> Process {
        Process::start(
            host()
                .env("POD_NAME", pod)
                .arg("--plugin")
                .arg(guest("hello_plugin"))
                .arg("--kubeconfig")
                .arg(self.at("kubeconfig"))
                .arg("--output")
                .arg(self.at(output))
                .arg("--leader-elect")
                .args(timings),
        )
    }

    /// That many ConfigMaps from here on.
    fn change(&self, count: usize) {
        fs::write(self.at("maps.yaml"), maps(count)).unwrap();
    }

    /// How many ConfigMaps the output speaks of; `None`: there is no output.
    fn written(&self, output: &str) -> Option<usize> {
        let text = fs::read_to_string(self.at(output).join("configmaps.txt")).ok()?;
        Some(text.split(' ').next().unwrap().parse().unwrap())
    }

    #[track_caller]
    fn writes(&self, output: &str, count: usize, by: &Process) {
        eventually(&format!("{count} in {output}"), || {
            match self.written(output) == Some(count) {
                true => Ok(()),
                false => Err(by.log()),
            }
        });
    }
}

#[test]
fn l3_only_the_leader_commits_and_a_paused_one_that_wakes_does_not() {
    let stage = Stage::new();
    let mut a = stage.host("a", "out-a", &SHORT);
    stage.writes("out-a", 2, &a);
    let mut b = stage.host("b", "out-b", &SHORT);
    b.logs("new leader", 1);
    b.logs("synced", 1);
    stage.change(3);
    stage.writes("out-a", 3, &a);
    assert_eq!(stage.written("out-b"), None, "{}", b.log());
    assert!(!b.log().contains("on-sync-complete"), "{}", b.log());

    a.signal("-STOP");
    stage.writes("out-b", 3, &b);
    // The changes that await the paused one make callbacks due when it wakes.
    stage.change(4);
    stage.writes("out-b", 4, &b);
    a.signal("-CONT");
    a.logs("not leading any more", 1);
    a.logs("leader=\"b\"", 1);
    stage.change(5);
    stage.writes("out-b", 5, &b);
    assert_eq!(stage.written("out-a"), Some(3), "{}", a.log());

    // A new leader is told everything: its stores were kept up to date.
    assert_eq!(b.stop(), Some(0), "{}", b.log());
    stage.writes("out-a", 5, &a);
    assert_eq!(a.stop(), Some(0), "{}", a.log());
}

#[test]
fn l1_sigterm_releases_the_lease_and_the_next_takes_it_in_the_same_directory() {
    let stage = Stage::new();
    let mut a = stage.host("a", "out", &NEVER_EXPIRES);
    stage.writes("out", 2, &a);
    let mut b = stage.host("b", "out", &NEVER_EXPIRES);
    b.logs("leader=\"a\"", 1);
    assert_eq!(a.stop(), Some(0), "{}", a.log());
    b.logs("INFO leading", 1);
    stage.change(3);
    stage.writes("out", 3, &b);
    assert_eq!(b.stop(), Some(0), "{}", b.log());
}

#[test]
fn l3_a_paused_leader_does_not_keep_the_next_one_out_of_its_directory() {
    let stage = Stage::new();
    let mut a = stage.host("a", "out", &SHORT);
    stage.writes("out", 2, &a);
    let mut b = stage.host("b", "out", &SHORT);
    b.logs("leader=\"a\"", 1);
    a.signal("-STOP");
    stage.change(3);
    stage.writes("out", 3, &b);
    stage.change(4);
    stage.writes("out", 4, &b);
    a.signal("-CONT");
    a.logs("leader=\"b\"", 1);
    assert_eq!(stage.written("out"), Some(4));
    assert_eq!(a.stop(), Some(0), "{}", a.log());
    assert_eq!(b.stop(), Some(0), "{}", b.log());
}
