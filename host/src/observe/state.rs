//! What the host shows of itself: a plain copy of its state, made by the dispatch
//! loop when somebody asks. Owns the words; knows neither HTTP nor where the
//! numbers come from.

use std::fmt::Write;

use haptic_core::{Identity, Time};
use serde::Serialize;

use crate::{
    cached,
    output::hook::{HookReport, Standing},
};

/// Outputs that are shown of one plugin, the last changed first: what a person can
/// read, and a bound on the answer.
pub const MAX_OUTPUTS: usize = 200;

/// The host at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct HostState {
    /// Of this program.
    pub version: String,
    /// Seconds since the host started.
    pub uptime_seconds: f64,
    /// The API server's URL.
    pub cluster: String,
    /// With leader election: how this process stands.
    pub leader: Option<LeaderStatus>,
    /// The bodies of cached stores.
    pub cache: CacheStatus,
    /// Every watch, in the order of the plugins that declared them.
    pub watches: Vec<WatchStatus>,
    /// Every plugin.
    pub plugins: Vec<PluginStatus>,
}

/// How this process stands in its leader election.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LeaderStatus {
    /// What this process calls itself.
    pub identity: String,
    /// Whether it leads.
    pub leads: bool,
    /// Who holds the lease, as last seen; empty when nobody does.
    pub holder: String,
}

/// One watch: one stream of one resource in one scope.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct WatchStatus {
    /// The watch's name, with its namespace when it covers several.
    pub name: String,
    /// Such as `ingresses.v1.networking.k8s.io`.
    pub resource: String,
    /// The namespace; empty: all of them.
    pub namespace: String,
    /// The word of contract W9: `discovering`, `waiting-for-crd`, `forbidden`,
    /// `listing`, `synced`, `stale` or `failing`.
    pub state: String,
    /// The state as a sentence.
    pub detail: String,
    /// Seconds that it has been in this state.
    pub since_seconds: f64,
    /// Objects in the store that it feeds.
    pub objects: usize,
    /// How many times an object could not be decoded so far (contract W8).
    pub quarantined: u64,
    /// The objects of the store that cannot be decoded now; at most
    /// [`MAX_LISTED`](haptic_core::quarantine::MAX_LISTED).
    pub unreadable: Vec<Unreadable>,
    /// Objects without a key for the primary index (contract I4).
    pub unkeyed: usize,
    /// Whether readiness waits for it.
    pub required: bool,
}

/// An object that could not be decoded. An older version of it may be in the store.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Unreadable {
    /// Its namespace; empty for kinds without namespaces.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Why.
    pub error: String,
}

impl Unreadable {
    pub(crate) fn new(object: &Identity, error: &str) -> Self {
        Self {
            namespace: object.namespace().to_owned(),
            name: object.name().to_owned(),
            error: error.to_owned(),
        }
    }
}

/// What the bodies of cached stores cost, since the host started (contract S6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CacheStatus {
    /// Reads of objects that were there.
    pub hits: u64,
    /// Reads of objects that had to be fetched.
    pub misses: u64,
    /// Reads of objects that somebody else was fetching already.
    pub coalesced: u64,
    /// GETs that were sent.
    pub requests: u64,
    /// Reads that failed.
    pub errors: u64,
    /// Bytes that came, before filtering.
    pub fetched_bytes: u64,
    /// Objects held now.
    pub held: usize,
    /// Bytes held now.
    pub held_bytes: usize,
}

impl From<cached::Metrics> for CacheStatus {
    fn from(metrics: cached::Metrics) -> Self {
        Self {
            hits: metrics.hits,
            misses: metrics.misses,
            coalesced: metrics.coalesced,
            requests: metrics.requests,
            errors: metrics.errors,
            fetched_bytes: metrics.fetched_bytes,
            held: metrics.held,
            held_bytes: metrics.held_bytes,
        }
    }
}

/// One plugin.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PluginStatus {
    /// Its name.
    pub name: String,
    /// Whether every required watch of it is synced.
    pub synced: bool,
    /// Whether it failed so often in a row that it is given up, and called once a minute
    /// to see whether it works again (contract P2).
    pub broken: bool,
    /// Failures in a row.
    pub failures: u32,
    /// Callbacks that succeeded.
    pub succeeded: u64,
    /// Callbacks that failed.
    pub failed: u64,
    /// Instances that were made after the first: after a trap, or a new version.
    pub restarts: u64,
    /// Linear memory of its instance, in bytes, after the last callback.
    pub memory_bytes: u64,
    /// The last callback that succeeded.
    pub last: Option<CallbackStatus>,
    /// The last failure.
    pub last_error: Option<ErrorStatus>,
    /// Where its outputs go: a directory, `-`, or an object of the cluster.
    pub sink: String,
    /// The command that runs after its commits; `None`: there is none.
    pub hook: Option<HookStatus>,
    /// Its outputs, the last changed first; at most [`MAX_OUTPUTS`].
    pub outputs: Vec<OutputStatus>,
    /// New versions of it.
    pub reload: ReloadStatus,
}

/// What became of new versions of a plugin (contract P3).
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ReloadStatus {
    /// Versions that have taken over.
    pub taken: u64,
    /// Versions that were refused.
    pub refused: u64,
    /// What the version is waiting for that is to take over.
    pub candidate: Option<String>,
    /// Why the version that is in the file is refused.
    pub refusal: Option<ErrorStatus>,
}

impl ReloadStatus {
    /// What follows the state of the plugin in its line.
    fn words(&self) -> String {
        match (&self.candidate, &self.refusal) {
            (Some(waits), _) => format!("; its new version {waits}"),
            (None, Some(refusal)) => {
                let first = refusal.text.lines().next().unwrap_or_default();
                format!("; its new version is refused: {first}")
            }
            (None, None) => String::new(),
        }
    }
}

/// A callback that succeeded.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CallbackStatus {
    /// The export.
    pub callback: String,
    /// The watch that it was about.
    pub watch: String,
    /// Objects that were new.
    pub created: usize,
    /// Objects that were different.
    pub modified: usize,
    /// Objects that were gone.
    pub deleted: usize,
    /// How long it ran.
    pub duration_seconds: f64,
    /// How long ago it ended.
    pub ago_seconds: f64,
}

/// A command that runs after commits.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct HookStatus {
    /// `idle`, `due`, `running`, or `waiting` to be tried again.
    pub state: String,
    /// Failures in a row.
    pub failures: u32,
    /// Runs that succeeded.
    pub succeeded: u64,
    /// Runs that failed.
    pub failed: u64,
    /// How long the last success took.
    pub duration_seconds: Option<f64>,
    /// How long ago the last success ended.
    pub ago_seconds: Option<f64>,
    /// The last failure.
    pub last_error: Option<ErrorStatus>,
}

impl HookStatus {
    pub(crate) fn new(now: Time, report: &HookReport<'_>) -> Self {
        let ago = |at: Time| (now - at).as_secs_f64();
        Self {
            state: match report.standing {
                Standing::Idle => "idle",
                Standing::Due => "due",
                Standing::Running => "running",
                Standing::Waiting => "waiting",
            }
            .to_owned(),
            failures: report.failures,
            succeeded: report.succeeded,
            failed: report.failed,
            duration_seconds: report.last.map(|(_, took)| took.as_secs_f64()),
            ago_seconds: report.last.map(|(at, _)| ago(at)),
            last_error: report.last_error.map(|(at, text)| ErrorStatus {
                text: text.to_owned(),
                ago_seconds: ago(at),
            }),
        }
    }
}

/// A failure.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ErrorStatus {
    /// What failed.
    pub text: String,
    /// How long ago.
    pub ago_seconds: f64,
}

/// One output.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct OutputStatus {
    /// Its name.
    pub name: String,
    /// Its size.
    pub bytes: usize,
    /// How long ago it changed.
    pub ago_seconds: f64,
}

impl HostState {
    /// Whether the host does its work: every plugin has all it requires, and is
    /// still called. A watch that has gone stale does not count against it: what is
    /// known is served on, and taking the process out would help nobody.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.plugins.iter().all(PluginStatus::is_ready)
    }

    /// One line a watch and a plugin, in the form of the API server's own
    /// `/readyz?verbose`.
    #[must_use]
    pub fn ready_lines(&self) -> String {
        let mut text = String::new();
        for watch in &self.watches {
            let sign = match (watch.state.as_str(), watch.required) {
                ("synced" | "stale", _) => "[+]",
                (_, false) => "[~]",
                (_, true) => "[-]",
            };
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{sign}watch {}: {}, {} objects",
                watch.name, watch.detail, watch.objects
            );
        }
        for plugin in &self.plugins {
            let (sign, what) = match (plugin.broken, plugin.synced) {
                (true, _) => (
                    "[-]",
                    "given up after too many failures, and tried once a minute",
                ),
                (false, false) => ("[-]", "waits for its watches"),
                (false, true) if plugin.failures > 0 => ("[+]", "fails, and is tried again"),
                (false, true) => ("[+]", "ok"),
            };
            let reload = plugin.reload.words();
            let _ = writeln!(text, "{sign}plugin {}: {what}{reload}", plugin.name);
            if let Some(hook) = plugin.hook.as_ref().filter(|hook| hook.failures > 0) {
                let (name, failures) = (&plugin.name, hook.failures);
                let _ = writeln!(text, "[~]hook of {name}: failed {failures} times in a row");
            }
        }
        if let Some(leader) = &self.leader {
            let what = match (leader.leads, leader.holder.as_str()) {
                (true, _) => "leads".to_owned(),
                (false, "") => "nobody leads".to_owned(),
                (false, holder) => format!("follows {holder}"),
            };
            let _ = writeln!(text, "[+]leader election: {what}");
        }
        text.push_str(if self.is_ready() {
            "readyz check passed\n"
        } else {
            "readyz check failed\n"
        });
        text
    }
}

impl PluginStatus {
    fn is_ready(&self) -> bool {
        self.synced && !self.broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(watch: &str, required: bool, synced: bool, broken: bool) -> HostState {
        HostState {
            watches: vec![WatchStatus {
                name: "ingresses".to_owned(),
                state: watch.to_owned(),
                detail: watch.to_owned(),
                required,
                ..WatchStatus::default()
            }],
            plugins: vec![PluginStatus {
                name: "render".to_owned(),
                synced,
                broken,
                ..PluginStatus::default()
            }],
            ..HostState::default()
        }
    }

    #[test]
    fn p3_readiness_says_how_far_a_new_version_is_and_does_not_depend_on_it() {
        let mut state = state("synced", true, true, false);
        let refusal = ErrorStatus {
            text: "plugin render does not compile\nbecause".to_owned(),
            ago_seconds: 1.0,
        };
        for (candidate, refusal, words) in [
            (None, None, ""),
            (
                Some("waits for its watches".to_owned()),
                None,
                "; its new version waits for its watches",
            ),
            (
                None,
                Some(refusal),
                "; its new version is refused: plugin render does not compile",
            ),
        ] {
            state.plugins[0].reload = ReloadStatus {
                candidate,
                refusal,
                ..ReloadStatus::default()
            };
            assert!(state.is_ready());
            let line = format!("[+]plugin render: ok{words}\n");
            assert!(
                state.ready_lines().contains(&line),
                "{}",
                state.ready_lines()
            );
        }
    }

    #[test]
    fn v1_readiness_says_which_watch_and_which_plugin_is_missing() {
        for (state, ready, lines) in [
            (
                state("synced", true, true, false),
                true,
                "[+]watch ingresses: synced, 0 objects\n[+]plugin render: ok\nreadyz check passed\n",
            ),
            (
                state("failing", true, false, false),
                false,
                "[-]watch ingresses: failing, 0 objects\n[-]plugin render: waits for its watches\nreadyz check failed\n",
            ),
            (
                state("waiting-for-crd", false, true, false),
                true,
                "[~]watch ingresses: waiting-for-crd, 0 objects\n[+]plugin render: ok\nreadyz check passed\n",
            ),
            (
                state("stale", true, true, true),
                false,
                "[+]watch ingresses: stale, 0 objects\n[-]plugin render: given up after too many failures, and tried once a minute\nreadyz check failed\n",
            ),
        ] {
            assert_eq!(state.is_ready(), ready, "{lines}");
            assert_eq!(state.ready_lines(), lines);
        }
    }
}
