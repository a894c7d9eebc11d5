//! What the host shows of itself: a plain copy of its state, made by the dispatch
//! loop when somebody asks. Owns the words; knows neither HTTP nor where the
//! numbers come from.

use std::fmt::Write;

use haptic_core::{Identity, Time, shard::Shard, watch::WatchState};
use serde::Serialize;

use super::{durations::Durations, process::ProcessStatus};
use crate::{
    cached,
    output::hook::{HookReport, Standing},
};

/// Outputs that are shown of one plugin, the last changed first: what a person can
/// read, and a bound on the answer.
pub const MAX_OUTPUTS: usize = 200;

/// Callbacks that are shown of one plugin, the last first: enough to see whether it
/// always fails or sometimes.
pub const MAX_CALLBACKS: usize = 10;

/// The host at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct HostState {
    /// Of this program.
    pub version: String,
    /// Seconds since the host started.
    pub uptime_seconds: f64,
    /// The API server's URL.
    pub cluster: String,
    /// Whether `/readyz` answers 200: see [`HostState::is_ready`].
    pub ready: bool,
    /// With leader election: how this process stands.
    pub leader: Option<LeaderStatus>,
    /// With shards: which part of the objects this process holds.
    pub shard: Option<ShardStatus>,
    /// The bodies of cached stores.
    pub cache: CacheStatus,
    /// The process; filled in by who answers.
    pub process: ProcessStatus,
    /// Every watch, in the order of the plugins that declared them.
    pub watches: Vec<WatchStatus>,
    /// Every plugin, by name.
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
    /// How many times it began to lead.
    pub terms: u64,
}

/// The part of the objects that a process holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ShardStatus {
    /// Which one, counted from 0.
    pub index: u32,
    /// Of how many.
    pub count: u32,
    /// What is told apart: `namespace` or `object`.
    pub by: &'static str,
}

impl From<Shard> for ShardStatus {
    fn from(shard: Shard) -> Self {
        Self {
            index: shard.index(),
            count: shard.count(),
            by: shard.by().as_str(),
        }
    }
}

/// One watch: what a plugin declared, and the store that holds it. Watches of several
/// plugins that are the same are one (contract W10).
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct WatchStatus {
    /// As its plugin calls it; `PLUGIN/NAME` when another watch has that name already.
    pub name: String,
    /// The plugins that read it.
    pub plugins: Vec<String>,
    /// Such as `ingresses.v1.networking.k8s.io`.
    pub resource: String,
    /// The one object that it is about; empty: all of them.
    pub object: String,
    /// Which of the objects; empty: all of them.
    pub label_selector: String,
    /// Which of the objects, by what the server can tell; empty: all of them.
    pub field_selector: String,
    /// The part of the objects that the store holds, such as `0/4`; empty: all of them.
    pub shard: String,
    /// `memory` or `cached`.
    pub storage: &'static str,
    /// The word of contract W9: `discovering`, `waiting-for-crd`, `forbidden`,
    /// `listing`, `synced`, `stale` or `failing`. Of several scopes, that of the worst.
    pub state: &'static str,
    /// The state as a sentence.
    pub detail: String,
    /// Seconds that it has been in this state.
    pub since_seconds: f64,
    /// Objects in the store.
    pub objects: usize,
    /// Bytes of filtered JSON in the store.
    pub stored_bytes: usize,
    /// How many times an object could not be decoded so far (contract W8).
    pub quarantined: u64,
    /// The objects that cannot be decoded now; at most
    /// [`MAX_LISTED`](haptic_core::quarantine::MAX_LISTED).
    pub unreadable: Vec<Unreadable>,
    /// Objects without a key for the primary index (contract I4).
    pub unkeyed: usize,
    /// Whether readiness waits for it.
    pub required: bool,
    /// Where it looks: one entry, or one for each of its namespaces.
    pub scopes: Vec<ScopeStatus>,
}

/// One stream of a watch.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ScopeStatus {
    /// The namespace; empty: all of them.
    pub namespace: String,
    /// As that of the watch.
    pub state: &'static str,
    /// The state as a sentence.
    pub detail: String,
    /// Seconds that it has been in this state.
    pub since_seconds: f64,
    /// Objects of this namespace in the store.
    pub objects: usize,
    /// What the stream has cost. `None`: another watch has the same stream, and counts it.
    pub traffic: Option<TrafficStatus>,
}

/// What a stream has cost since the host started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TrafficStatus {
    /// Requests, by what they were for and how they were answered.
    pub requests: Vec<RequestStatus>,
    /// Bytes of bodies, as they were sent: compressed or not.
    pub received_bytes: u64,
    /// Objects that lists held.
    pub listed: u64,
    /// Events that an object was created or changed.
    pub applied: u64,
    /// Events that an object was deleted.
    pub deleted: u64,
    /// Objects and events that could not be decoded.
    pub unreadable: u64,
    /// Objects and events of other shards, which were dropped.
    pub foreign: u64,
    /// Lists that were begun; all but the first are relists.
    pub lists_begun: u64,
    /// Lists that came to their end.
    pub lists_completed: u64,
}

/// Requests of one kind that were answered alike.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RequestStatus {
    /// `discover`, `list`, `streaming-list` or `watch`.
    pub kind: &'static str,
    /// The HTTP code; `other` for unusual ones, `none` when no answer came.
    pub code: &'static str,
    /// How many.
    pub count: u64,
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
    /// Reads of objects that were not there any more.
    pub absent: u64,
    /// Objects that made room for others before their time was over.
    pub evicted: u64,
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
            absent: metrics.absent,
            evicted: metrics.evicted,
            fetched_bytes: metrics.fetched_bytes,
            held: metrics.held,
            held_bytes: metrics.held_bytes,
        }
    }
}

/// How a plugin is, the worst first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PluginState {
    /// It failed so often in a row that it is called once a minute only, to see whether it
    /// works again (contract P2).
    GivenUp,
    /// Its last callback failed, and is tried again.
    Failing,
    /// A watch that it requires has not synced.
    #[default]
    Waiting,
    /// Another process leads and calls its own instance.
    Standby,
    /// It is called when something changes.
    Running,
}

/// One plugin.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PluginStatus {
    /// Its name.
    pub name: String,
    /// How it is.
    pub state: PluginState,
    /// The state as a sentence.
    pub detail: String,
    /// Whether every required watch of it is synced.
    pub synced: bool,
    /// Whether it is given up: see [`PluginState::GivenUp`].
    pub broken: bool,
    /// Failures in a row.
    pub failures: u32,
    /// Callbacks that succeeded.
    pub succeeded: u64,
    /// Callbacks that failed.
    pub failed: u64,
    /// Callbacks that ended, by how.
    pub callbacks: Vec<CallbackCount>,
    /// What `on-change` was told of each watch, in all.
    pub changes: Vec<ChangeCount>,
    /// Instances that were made after the first: after a trap, or a new version.
    pub restarts: u64,
    /// Linear memory of its instance, in bytes, after the last callback.
    pub memory_bytes: u64,
    /// The callback that runs now.
    pub running: Option<RunningStatus>,
    /// The last callbacks, the last first; at most [`MAX_CALLBACKS`].
    pub recent: Vec<CallbackStatus>,
    /// The last failure, whole.
    pub last_error: Option<ErrorStatus>,
    /// Its outputs.
    pub outputs: OutputsStatus,
    /// The command that runs after its commits; `None`: there is none.
    pub hook: Option<HookStatus>,
    /// New versions of it.
    pub reload: ReloadStatus,
    /// How long callbacks ran.
    #[serde(skip)]
    pub durations: Vec<(&'static str, Durations)>,
}

/// Callbacks that ended alike.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CallbackCount {
    /// The export.
    pub callback: &'static str,
    /// `ok`; `error` when it returned one; `timeout`, `limit`, `trap`; `grant` when something that it is granted is gone; `commit-failed` when
    /// its outputs could not be put in their place; `not-leading` when this process had
    /// stopped to lead by then; `host` for a fault of this program.
    pub result: &'static str,
    /// How many.
    pub count: u64,
}

/// What was told of one watch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ChangeCount {
    /// The watch, as the plugin calls it.
    pub watch: String,
    /// Objects that were new.
    pub created: u64,
    /// Objects that were different.
    pub modified: u64,
    /// Objects that were gone.
    pub deleted: u64,
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

/// A callback that runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RunningStatus {
    /// The export.
    pub callback: &'static str,
    /// The watch that it is about.
    pub watch: String,
    /// For how long.
    pub seconds: f64,
}

/// A callback that ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CallbackStatus {
    /// The export.
    pub callback: &'static str,
    /// The watch that it was about.
    pub watch: String,
    /// As in [`CallbackCount`].
    pub result: &'static str,
    /// The first line of why it failed; empty when it did not.
    pub error: String,
    /// With `on-sync-complete`: objects in the store.
    pub objects: usize,
    /// Objects that were new.
    pub created: usize,
    /// Objects that were different.
    pub modified: usize,
    /// Objects that were gone.
    pub deleted: usize,
    /// How long it ran.
    pub duration_seconds: f64,
    /// Bytes that it wrote, changed or not.
    pub written_bytes: usize,
    /// Outputs whose content changed.
    pub outputs_changed: usize,
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

/// The outputs of a plugin.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct OutputsStatus {
    /// Where they go: a directory, `-`, or an object of the cluster.
    pub sink: String,
    /// Commits that went well.
    pub commits: u64,
    /// Commits that failed.
    pub failed: u64,
    /// Outputs that were put in their place with new content.
    pub changed: u64,
    /// Bytes that callbacks wrote, changed or not.
    pub written_bytes: u64,
    /// The last commit, whether it changed something or not.
    pub last_commit: Option<CommitStatus>,
    /// The last commit that changed something.
    pub last_change: Option<CommitStatus>,
    /// Outputs, the last changed first; at most [`MAX_OUTPUTS`].
    pub files: Vec<OutputStatus>,
}

/// A commit that went well.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CommitStatus {
    /// Outputs whose content changed.
    pub changed: usize,
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

/// The state of a watch as a sentence for a person who has never seen it.
pub(crate) fn sentence(state: &WatchState, now: Time) -> String {
    match state {
        WatchState::Discovering => "asks the cluster for the resource".to_owned(),
        WatchState::WaitingForCrd => "waits for the cluster to serve the resource".to_owned(),
        WatchState::Forbidden { verb, scope } => format!("not allowed to {verb} {scope}"),
        WatchState::Listing { received } => format!("loading, {received} objects so far"),
        WatchState::Synced => "synced".to_owned(),
        WatchState::Stale { since } => format!(
            "no contact for {} s, what is known stays",
            (now - *since).as_secs()
        ),
        WatchState::Failing { error } => format!("failing: {error}"),
    }
}

impl HostState {
    /// Whether the host does its work: every plugin has all it requires, and was
    /// not given up. A watch that has gone stale does not count against it: what is
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
            let sign = match (watch.state, watch.required) {
                ("synced" | "stale", _) => "[+]",
                (_, false) => "[~]",
                (_, true) => "[-]",
            };
            let optional = if watch.required { "" } else { ", optional" };
            line(
                &mut text,
                &format!(
                    "{sign}watch {}: {}, {} objects{optional}",
                    watch.name, watch.detail, watch.objects
                ),
            );
        }
        for plugin in &self.plugins {
            let sign = if plugin.is_ready() { "[+]" } else { "[-]" };
            line(
                &mut text,
                &format!(
                    "{sign}plugin {}: {}{}",
                    plugin.name,
                    plugin.detail,
                    plugin.reload.words()
                ),
            );
            if let Some(hook) = plugin.hook.as_ref().filter(|hook| hook.failures > 0) {
                let (name, failures) = (&plugin.name, hook.failures);
                line(
                    &mut text,
                    &format!("[~]hook of {name}: failed {failures} times in a row"),
                );
            }
        }
        if let Some(leader) = &self.leader {
            let what = match (leader.leads, leader.holder.as_str()) {
                (true, _) => "leads".to_owned(),
                (false, "") => "nobody leads".to_owned(),
                (false, holder) => format!("follows {holder}"),
            };
            line(&mut text, &format!("[+]leader election: {what}"));
        }
        text.push_str(if self.is_ready() {
            "readyz check passed\n"
        } else {
            "readyz check failed\n"
        });
        text
    }
}

/// One line, whatever an error says.
fn line(text: &mut String, line: &str) {
    let line = line.replace(['\n', '\r'], " ");
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{line}");
}

impl PluginStatus {
    /// Whether it has all that it requires, and was not given up.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.synced && self.state != PluginState::GivenUp
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(
        watch: &'static str,
        detail: &str,
        required: bool,
        synced: bool,
        plugin: PluginState,
    ) -> HostState {
        HostState {
            watches: vec![WatchStatus {
                name: "ingresses".to_owned(),
                state: watch,
                detail: detail.to_owned(),
                required,
                ..WatchStatus::default()
            }],
            plugins: vec![PluginStatus {
                name: "render".to_owned(),
                detail: format!("is {plugin:?}"),
                state: plugin,
                synced,
                ..PluginStatus::default()
            }],
            ..HostState::default()
        }
    }

    #[test]
    fn p3_readiness_says_how_far_a_new_version_is_and_does_not_depend_on_it() {
        let mut state = state("synced", "synced", true, true, PluginState::Running);
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
            let line = format!("[+]plugin render: is Running{words}\n");
            assert!(
                state.ready_lines().contains(&line),
                "{}",
                state.ready_lines()
            );
        }
    }

    #[test]
    fn v1_readiness_says_which_watch_and_which_plugin_is_missing() {
        use PluginState::{Failing, GivenUp, Running, Standby, Waiting};
        for (state, ready, lines) in [
            (
                state("synced", "synced", true, true, Running),
                true,
                "[+]watch ingresses: synced, 0 objects\n[+]plugin render: is Running\nreadyz check passed\n",
            ),
            (
                state("failing", "failing", true, false, Waiting),
                false,
                "[-]watch ingresses: failing, 0 objects\n[-]plugin render: is Waiting\nreadyz check failed\n",
            ),
            (
                state("waiting-for-crd", "waits", false, true, Failing),
                true,
                "[~]watch ingresses: waits, 0 objects, optional\n[+]plugin render: is Failing\nreadyz check passed\n",
            ),
            (
                state("synced", "synced", true, true, Standby),
                true,
                "[+]watch ingresses: synced, 0 objects\n[+]plugin render: is Standby\nreadyz check passed\n",
            ),
            (
                state("stale", "stale", true, true, GivenUp),
                false,
                "[+]watch ingresses: stale, 0 objects\n[-]plugin render: is GivenUp\nreadyz check failed\n",
            ),
        ] {
            assert_eq!(state.is_ready(), ready, "{lines}");
            assert_eq!(state.ready_lines(), lines);
        }
    }

    #[test]
    fn v1_an_error_of_many_lines_forges_none() {
        let error = "no\n[+]plugin render: ok\r\nreadyz check passed";
        let state = state("failing", error, true, false, PluginState::Waiting);
        assert_eq!(state.ready_lines().lines().count(), 3);
    }

    #[test]
    fn w9_a_state_is_a_sentence_that_needs_no_manual() {
        let at = |seconds| Time::from_origin(std::time::Duration::from_secs(seconds));
        for (state, text) in [
            (
                WatchState::WaitingForCrd,
                "waits for the cluster to serve the resource",
            ),
            (
                WatchState::Forbidden {
                    verb: "list",
                    scope: "secrets in namespace shop".to_owned(),
                },
                "not allowed to list secrets in namespace shop",
            ),
            (
                WatchState::Listing { received: 7 },
                "loading, 7 objects so far",
            ),
            (
                WatchState::Stale { since: at(3) },
                "no contact for 9 s, what is known stays",
            ),
        ] {
            assert_eq!(sentence(&state, at(12)), text);
        }
    }
}
