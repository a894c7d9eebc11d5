//! What can be typed.

use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf, str::FromStr, time::Duration};

use clap::{Parser, Subcommand, ValueEnum};

use super::{
    completions::CompletionsArgs,
    inspect::InspectArgs,
    limits::GrantArgs,
    limits::LimitArgs,
    logs::LogFilter,
    manifests::ManifestsArgs,
    new::NewArgs,
    plugins::FetchArgs,
    rbac::RbacArgs,
    record::{RecordArgs, RecordingArgs},
    shard::ShardArgs,
};
use crate::{
    config::{OnFailure, parse_duration, parse_size},
    grants::Grant,
    output::OutputTarget,
    source::PluginSource,
};

const AFTER_HELP: &str = "\
Examples:
  haptic-host --plugin render.wasm
      Run a plugin against the current kube context and print what it renders.
  haptic-host --plugin render.wasm --output /etc/render --allow declared,secrets
      Write what it renders to files; let it watch what it declares, Secrets included.
  haptic-host --plugin render.wasm --manifests cluster/ --once
      No cluster: render YAML files once, and exit.
  haptic-host --plugin render.wasm --output /etc/render --on-output 'systemctl reload render'
      Tell who reads the files that they have changed.
  haptic-host --plugin render.wasm --output configmap:shop/render
      Write what it renders to the keys of a ConfigMap.
  haptic-host --plugin render.wasm --output /etc/render --leader-elect
      Run several of these: one leads and writes, the others are ready to.
  haptic-host --plugin render.wasm --output /etc/render --shard 0/4
      Run four of these, 0/4 to 3/4: each holds and renders the objects of a quarter of the
      namespaces.
  haptic-host --plugin oci://registry.example/acme/render@sha256:0123…
      Pull the plugin from a registry; a tag (`:1.2`) does as well, and may move.
  haptic-host inspect render.wasm
      Show what a plugin is and what it wants to watch.
  haptic-host manifests --plugin render.wasm --output configmap:rendered | kubectl apply -f -
      Run it in a cluster, with the least rights; haptic-host rbac prints these alone.
  haptic-host record bug.jsonl --plugin render.wasm
      Write down what the plugin's watches deliver, Secrets' values redacted.
  haptic-host --replay bug.jsonl --plugin render.wasm
      Tell it to the plugin again, without a cluster and without waiting.
  haptic-host new my-plugin
      Make a plugin's project that builds, runs and is tested, to start from.
  haptic-host cluster --manifests cluster/ --kubeconfig kc.yaml
      Serve YAML files as a cluster that kubectl can use.

Exit codes: 0 done, 1 a plugin or its hook failed, 2 wrong configuration, 3 the cluster or a
registry failed, 130 --once was interrupted.";

/// Reacts to a Kubernetes cluster with plugins: WebAssembly components that are
/// told what changed and render outputs.
///
/// The plugin says what it watches; this host watches, filters, indexes and
/// stores it, calls the plugin when something changed, and writes what it renders.
#[derive(Debug, Parser)]
#[command(
    name = "haptic-host",
    version,
    after_help = AFTER_HELP,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) command: Option<Command>,

    #[command(flatten)]
    pub(super) run: RunArgs,

    /// What is logged: error, warn, info, debug, trace or off, and levels of single
    /// modules, such as `info,haptic_core=debug`. What is not named is logged as info.
    #[arg(
        long,
        value_name = "LEVEL|MODULE=LEVEL",
        global = true,
        default_value = "info",
        env = "HAPTIC_LOG",
        help_heading = "Logging"
    )]
    pub(super) log: LogFilter,

    /// How it is logged, on standard error.
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t = LogFormat::Pretty,
        help_heading = "Logging"
    )]
    pub(super) log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Serve manifests as a Kubernetes cluster, for kubectl and for tests.
    ///
    /// There are no controllers and there is no authentication: whoever reaches
    /// the port may do everything, so it listens on loopback.
    Cluster(ClusterArgs),

    /// Show what a plugin is: its contract, its imports, what it watches and what it must be
    /// allowed.
    Inspect(InspectArgs),

    /// Print the least roles with which a host can run plugins, as YAML.
    Rbac(RbacArgs),

    /// Print everything that it takes to run plugins in a cluster, as YAML for kubectl apply.
    Manifests(ManifestsArgs),

    /// Write down in a file what plugins' watches deliver, for haptic-host --replay. Runs no
    /// callbacks and writes no outputs.
    Record(RecordArgs),

    /// Make a plugin's project, in Rust: it builds, runs and is tested.
    ///
    /// The plugin in it renders a hosts file from Services. `make run` builds it and runs it on
    /// an embedded cluster of a YAML file, `make test` tests it natively and as a component.
    New(NewArgs),

    /// Print a script that makes a shell complete this command.
    Completions(CompletionsArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct RunArgs {
    /// A plugin: a component that implements haptic:plugin, in a file or in a registry
    /// (`oci://REGISTRY/REPOSITORY[:TAG][@sha256:…]`, with the credentials of `docker login`).
    /// Repeatable.
    #[arg(long, value_name = "FILE|oci://…")]
    pub(super) plugin: Vec<PluginSource>,

    /// A configuration file (YAML) with plugins, their settings and their watches.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,

    /// Where outputs go: a directory, `-` for standard output, or the keys of an object
    /// of the cluster: `configmap:[NAMESPACE/]NAME`, `secret:[NAMESPACE/]NAME`, in the
    /// host's own namespace unless told. With several plugins each gets a directory of
    /// its name below DIR.
    #[arg(long, value_name = "DIR|-|KIND:NAME", default_value = "-")]
    pub(super) output: OutputTarget,

    /// Take keys of a ConfigMap or Secret over that another field manager has. Without
    /// it that is an error which names the manager.
    #[arg(long)]
    pub(super) force_conflicts: bool,

    /// Run this command with `sh -c` after outputs have changed, until it succeeds:
    /// to reload what reads them. Never two at a time; changes during a run lead to
    /// one more. Its environment has HAPTIC_PLUGIN, HAPTIC_OUTPUT (the directory or
    /// object), HAPTIC_CHANGED (names, one a line) and HAPTIC_CHANGED_COUNT. What a
    /// host that was killed has missed, the next one runs after its first commit.
    #[arg(long, value_name = "CMD")]
    pub(super) on_output: Option<String>,

    /// How long that command may take, before it and what it started are killed.
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    pub(super) on_output_timeout: DurationArg,

    /// Print what changed in each output file as a unified diff, on standard output.
    #[arg(long)]
    pub(super) diff: bool,

    /// Sync, deliver, commit, and exit.
    #[arg(long)]
    pub(super) once: bool,

    /// With --once: give up when the cluster has not synced by then.
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    pub(super) timeout: DurationArg,

    /// What plugins may watch: a resource (`secrets`), one in a namespace
    /// (`secrets/shop`), or `declared` for all that the plugin declares but
    /// Secrets, which is what holds when no --allow is given. Commas or repeats.
    #[arg(long, value_name = "RESOURCE[/NAMESPACE]", value_delimiter = ',')]
    pub(super) allow: Vec<Grant>,

    /// Give a plugin up after so many failures in a row: it is not ready then. The seventh
    /// comes a minute after the first, and from there on the pause between two tries would
    /// not grow any more.
    #[arg(long, value_name = "N", default_value = "7", help_heading = "Plugins")]
    pub(super) max_failures: NonZeroU32,

    /// What becomes of the host when a plugin is given up.
    #[arg(
        long,
        value_enum,
        default_value_t = OnFailure::KeepLast,
        help_heading = "Plugins"
    )]
    pub(super) on_failure: OnFailure,

    /// Do not follow the plugins' files. Otherwise a new version takes over when it has been
    /// told everything, and one that fails is refused; not with --once.
    #[arg(long, help_heading = "Plugins")]
    pub(super) no_reload: bool,

    /// Use this kubeconfig. Default: $KUBECONFIG, then ~/.kube/config, then the
    /// service account of the pod.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "manifests",
        help_heading = "Cluster"
    )]
    pub(super) kubeconfig: Option<PathBuf>,

    /// Use this context of the kubeconfig. Default: its current one.
    #[arg(
        long,
        value_name = "NAME",
        conflicts_with = "manifests",
        help_heading = "Cluster"
    )]
    pub(super) context: Option<String>,

    /// No cluster: run an embedded one, fed from these YAML or JSON files or
    /// folders; edits to them are changes. Repeatable.
    #[arg(long, value_name = "PATH", help_heading = "Cluster")]
    pub(super) manifests: Vec<PathBuf>,

    #[command(flatten)]
    pub(super) election: ElectionArgs,

    #[command(flatten)]
    pub(super) shard: ShardArgs,

    /// Serve metrics, health, readiness, the state as JSON, and a page for a
    /// person: /metrics, /healthz, /readyz, /debug/state, /. A port alone is one of
    /// loopback; there is no authentication.
    #[arg(long, value_name = "[ADDRESS:]PORT")]
    pub(super) listen: Option<ListenArg>,

    #[command(flatten)]
    pub(super) limits: LimitArgs,

    #[command(flatten)]
    pub(super) grants: GrantArgs,

    /// Memory for objects of cached stores that were fetched, of all plugins together.
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "64MiB",
        help_heading = "Limits of the host"
    )]
    pub(super) cache_limit: SizeArg,

    #[command(flatten)]
    pub(super) fetch: FetchArgs,

    /// Write down in this new file what the watches deliver, for --replay: the plugins run as
    /// ever, but new versions of them are not taken. haptic-host record does so without running
    /// them.
    #[arg(long, value_name = "FILE", help_heading = RECORDINGS)]
    pub(super) record: Option<PathBuf>,

    #[command(flatten)]
    pub(super) recording: RecordingArgs,

    /// No cluster: deliver what this recording holds, without waiting, with the recorded time in
    /// logs and in plugins. Only --output says where outputs go; hooks do not run.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = [
            "manifests", "kubeconfig", "context", "once", "record", "listen", "leader_elect", "on_output",
            "shard", "shard_by"
        ],
        help_heading = RECORDINGS
    )]
    pub(super) replay: Option<PathBuf>,
}

/// The heading of what is about recordings.
pub(super) const RECORDINGS: &str = "Recordings";

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Leader election")]
pub(super) struct ElectionArgs {
    /// Of several hosts with the same Lease only one runs callbacks and writes
    /// outputs; the others keep their stores warm. Needs the verbs get, create and
    /// update on leases.coordination.k8s.io. Its name in the Lease is $POD_NAME, else the
    /// host's name and a random number.
    #[arg(long)]
    pub(super) leader_elect: bool,

    /// The name of the Lease. Default: haptic-host.
    #[arg(long, value_name = "NAME")]
    pub(super) lease: Option<String>,

    /// The namespace of the Lease. Default: the host's own.
    #[arg(long, value_name = "NAMESPACE")]
    pub(super) lease_namespace: Option<String>,

    /// How long the others wait for a leader that shows no life. Default: 15s.
    #[arg(long, value_name = "DURATION")]
    pub(super) lease_duration: Option<DurationArg>,

    /// After how long without a renewal a leader stops to be one. Shorter than the
    /// lease duration. Default: 10s.
    #[arg(long, value_name = "DURATION")]
    pub(super) lease_renew_deadline: Option<DurationArg>,

    /// How often the leader renews and the others look. Default: 2s.
    #[arg(long, value_name = "DURATION")]
    pub(super) lease_retry_period: Option<DurationArg>,
}

#[derive(Debug, clap::Args)]
pub(super) struct ClusterArgs {
    /// YAML or JSON files or folders to serve; edits to them are changes. Repeatable.
    #[arg(long, value_name = "PATH", required = true)]
    pub(super) manifests: Vec<PathBuf>,

    /// Do to clients what the rules of this file (YAML) say, as servers, proxies and
    /// networks do: refuse, stall, cut off, expire, lag.
    #[arg(long, value_name = "FILE")]
    pub(super) faults: Option<PathBuf>,

    /// Write a kubeconfig for the cluster to this file.
    #[arg(long, value_name = "FILE")]
    pub(super) kubeconfig: Option<PathBuf>,

    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub(super) listen: SocketAddr,

    /// Allow an address that other machines can reach. They may do everything.
    #[arg(long)]
    pub(super) allow_non_loopback: bool,
}

/// A duration with a unit.
#[derive(Clone, Copy, Debug)]
pub(super) struct DurationArg(pub(super) Duration);

impl FromStr for DurationArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match parse_duration(text)? {
            Duration::ZERO => Err("must be longer than nothing".to_owned()),
            duration => Ok(Self(duration)),
        }
    }
}

/// A port of loopback, or an address with its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ListenArg(pub(super) SocketAddr);

impl FromStr for ListenArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(port) = text.trim_start_matches(':').parse::<u16>() {
            return Ok(Self(SocketAddr::from(([127, 0, 0, 1], port))));
        }
        text.parse().map(Self).map_err(|_| {
            format!("{text:?} is no address: write `9090`, `127.0.0.1:9090` or `0.0.0.0:9090`")
        })
    }
}

/// A number of bytes with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SizeArg(pub(super) u64);

impl FromStr for SizeArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse_size(text).map(Self)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn v1_a_port_alone_is_one_of_loopback() {
        for (text, address) in [
            ("9090", "127.0.0.1:9090"),
            (":9090", "127.0.0.1:9090"),
            ("0.0.0.0:80", "0.0.0.0:80"),
            ("[::1]:80", "[::1]:80"),
        ] {
            let parsed: ListenArg = text.parse().unwrap();
            assert_eq!(parsed.0.to_string(), address);
        }
        for text in ["", "70000", "localhost", "host:80"] {
            assert!(text.parse::<ListenArg>().is_err(), "{text:?}");
        }
    }
}
