//! The whole host: the command as it is, with a plugin, on a cluster of 100,000 objects.

use std::{
    fs,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use haptic_benches::{
    api::{Api, Options},
    data::Kind,
    process::{Memory, cpu_of, memory_of},
    report::{Must::AtMost, Report, Row},
};

use crate::{Effort, bytes, count, guest::component, micros};

/// A running host. Dropping it ends it.
pub(crate) struct Host {
    child: Child,
    _folder: tempfile::TempDir,
}

impl Host {
    pub(crate) fn start(api: &Api, settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        let config = format!(
            r#"{{"plugins": {{"bench": {{"file": {:?}, "settings": {settings}}}}}}}"#,
            component("bench_guest.wasm")
        );
        fs::write(file("config.yaml"), config).unwrap();
        let kubeconfig = format!(
            r#"{{"apiVersion": "v1", "kind": "Config", "current-context": "c",
                "clusters": [{{"name": "c", "cluster": {{"server": "{}"}}}}],
                "users": [{{"name": "c", "user": {{}}}}],
                "contexts": [{{"name": "c", "context": {{"cluster": "c", "user": "c"}}}}]}}"#,
            api.url()
        );
        fs::write(file("kubeconfig"), kubeconfig).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .env(crate::ROLE, "command")
            .args(["--log", "warn", "--config"])
            .arg(file("config.yaml"))
            .arg("--kubeconfig")
            .arg(file("kubeconfig"))
            .arg("--output")
            .arg(file("output"))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            child,
            _folder: folder,
        }
    }

    pub(crate) fn cpu(&self) -> Duration {
        cpu_of(self.child.id()).expect("the host is gone")
    }

    pub(crate) fn memory(&self) -> Memory {
        memory_of(self.child.id()).expect("the host is gone")
    }

    /// Waits until it has nothing to do any more: half a tick in two seconds.
    pub(crate) fn rest(&self) -> Duration {
        loop {
            let before = self.cpu();
            sleep(Duration::from_secs(2));
            let now = self.cpu();
            if now - before <= Duration::from_millis(10) {
                return now;
            }
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It may have ended by itself, which the next question to it tells.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub(crate) fn measure(report: &mut Report, effort: Effort) {
    let objects = effort.most();
    let api = Api::start(Kind::Ingress, objects, Options::default()).unwrap();
    for (settings, variant) in [
        (
            r#"{"work": "nothing"}"#,
            "whole objects, a plugin that does nothing",
        ),
        (
            r#"{"work": "cached", "slim": true}"#,
            "3 fields, a plugin that renders what changed",
        ),
    ] {
        eprintln!("host: {variant}");
        let row = |what: &str, value, unit| Row::new(what, variant, objects, value, unit);
        let lists = api.lists();
        let host = Host::start(&api, settings);
        while api.lists() == lists {
            sleep(Duration::from_millis(50));
        }
        let synced = host.rest();
        report.add(row("whole host, sync, CPU", synced.as_secs_f64(), "s"));
        let memory = host.memory();
        let mib = |number| bytes(number) / 1_048_576.0;
        report.add(row("whole host, resident", mib(memory.resident), "MiB"));
        let ratio = bytes(memory.peak) / bytes(memory.resident);
        report.add(row("whole host, peak / afterwards", ratio, "").must(AtMost(1.15)));
        for (events, pace, how) in [
            (4_000, Some(200), "200 updates a second"),
            (100_000, None, "updates flat out"),
            (100_000, None, "updates flat out, once more"),
        ] {
            let mut updates = api.prepare((0..events).map(|i| i * 7_919 % objects));
            let before = host.rest();
            let began = Instant::now();
            if let Some(pace) = pace {
                let interval = Duration::from_secs(1) / pace;
                let mut due = began;
                while !updates.is_empty() {
                    api.publish(updates.drain(..1).collect());
                    due += interval;
                    sleep(due.saturating_duration_since(Instant::now()));
                }
            } else {
                api.publish(updates);
            }
            let taken = host.rest() - before;
            report.add(row(
                &format!("whole host, {how}, CPU each"),
                micros(taken) / count(events),
                "µs",
            ));
            let memory = host.memory();
            let what = format!("whole host, resident after {how}");
            report.add(row(&what, mib(memory.resident), "MiB"));
        }
        drop(host);
    }
}
