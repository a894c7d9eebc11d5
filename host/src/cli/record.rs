//! `haptic-host record`: what plugins' watches deliver, in a file.

use std::path::{Path, PathBuf};

use super::{
    REACH, Wrong,
    args::{DurationArg, RECORDINGS, SizeArg},
    cluster,
    limits::{GrantArgs, LimitArgs},
    load_config,
    plugins::{Entry, FetchArgs, entries},
    reach,
    shard::ShardArgs,
    signals::Signals,
};
use crate::{
    grants::Grant,
    plugin::{Runtime, RuntimeOptions},
    record::{self, RecordError, RecordOptions, Session},
    run,
    source::PluginSource,
};

const EXAMPLES: &str = "\
Examples:
  haptic-host record bug.jsonl --plugin render.wasm --for 10m
      Ten minutes of what the plugin is told in the current kube context.
  haptic-host record bug.jsonl --config host.yaml --allow declared,secrets
      The same for all plugins of a configuration, until Ctrl-C.
  haptic-host --record bug.jsonl --plugin render.wasm --output /etc/render
      Record while the plugin runs.
  haptic-host --replay bug.jsonl --plugin render.wasm
      Tell it to a plugin again.

In it are the fields of objects that the plugins' watches store or select by. What Secrets hold is
replaced, unless --with-secrets is given: keys, lengths and which values are the same stay. Plugins'
settings are not in it.

Exit codes: 0 done, 1 the file could not be written to its end, 2 wrong configuration, 3 the
cluster or a registry failed.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct RecordArgs {
    /// The file, which must not be there yet. Only its owner may read it.
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// A plugin whose watches are recorded. Repeatable.
    #[arg(long, value_name = "FILE|oci://…")]
    plugin: Vec<PluginSource>,

    /// A configuration file (YAML), as the host takes it: its plugins are recorded too, with their
    /// settings and their watches.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// What plugins may watch, as the host takes it: `declared,secrets`.
    #[arg(long, value_name = "RESOURCE[/NAMESPACE]", value_delimiter = ',')]
    allow: Vec<Grant>,

    /// End after this time. Otherwise it ends with Ctrl-C.
    #[arg(long = "for", value_name = "DURATION")]
    length: Option<DurationArg>,

    #[command(flatten)]
    recording: RecordingArgs,

    /// Use this kubeconfig. Default: $KUBECONFIG, then ~/.kube/config, then the
    /// service account of the pod.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "manifests",
        help_heading = "Cluster"
    )]
    kubeconfig: Option<PathBuf>,

    /// Use this context of the kubeconfig. Default: its current one.
    #[arg(
        long,
        value_name = "NAME",
        conflicts_with = "manifests",
        help_heading = "Cluster"
    )]
    context: Option<String>,

    /// No cluster: run an embedded one, fed from these YAML or JSON files or
    /// folders; edits to them are changes. Repeatable.
    #[arg(long, value_name = "PATH", help_heading = "Cluster")]
    manifests: Vec<PathBuf>,

    #[command(flatten)]
    limits: LimitArgs,

    #[command(flatten)]
    grants: GrantArgs,

    #[command(flatten)]
    shard: ShardArgs,

    #[command(flatten)]
    fetch: FetchArgs,
}

/// What is recorded, and how much.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = RECORDINGS)]
pub(super) struct RecordingArgs {
    /// Record what Secrets hold as it is.
    #[arg(long)]
    with_secrets: bool,

    /// How large a recording may become: it ends there.
    #[arg(long, value_name = "SIZE", default_value = "1GiB")]
    record_limit: SizeArg,
}

impl RecordingArgs {
    /// Of a run that may be recorded, or not.
    pub(super) fn of_run(&self, path: Option<&Path>) -> anyhow::Result<Option<RecordOptions>> {
        match path {
            Some(path) => Ok(Some(self.options(path)?)),
            None if self.with_secrets => Err(Wrong(
                "--with-secrets is about a recording: give --record FILE with it".to_owned(),
            )
            .into()),
            None => Ok(None),
        }
    }

    /// For this file, which is not there yet.
    fn options(&self, path: &Path) -> Result<RecordOptions, RecordError> {
        let options = RecordOptions {
            path: path.to_owned(),
            with_secrets: self.with_secrets,
            limit: self.record_limit.0,
        };
        record::check(&options)?;
        Ok(options)
    }
}

pub(super) async fn record(args: RecordArgs) -> anyhow::Result<()> {
    let signals = Signals::listen(0)?;
    let options = args.recording.options(&args.file)?;
    let config = load_config(args.config.as_deref())?;
    let shard = args.shard.resolve(&config, false)?;
    let entries = entries(&args.plugin, config.plugins, &args.allow)?;
    let runtime = Runtime::new(&RuntimeOptions {
        cache_dir: args.fetch.cache_dir(),
        ..RuntimeOptions::default()
    })?;
    let pull = args.fetch.pull_options();
    let mut loaded = Vec::with_capacity(entries.len());
    for Entry {
        key,
        source,
        config,
        ..
    } in entries
    {
        let (source, plugin) = source.load(&runtime, &pull).await?;
        let sandbox = args.grants.sandbox(&key, &config, shard)?;
        loaded.push((
            plugin.named(&key).with_sandbox(sandbox),
            source.sha256()?,
            config,
        ));
    }
    let (access, _embedded) = cluster(
        args.kubeconfig.as_deref(),
        args.context.as_deref(),
        &args.manifests,
    )
    .await?;
    let mut sessions = Vec::with_capacity(loaded.len());
    for (plugin, sha256, config) in loaded {
        let limits = config.limits.over(&args.limits.limits());
        let own_namespace = access.own_namespace.as_deref();
        sessions.push(Session {
            name: plugin.name().to_owned(),
            described: run::describe(&plugin, &config, &limits, own_namespace, shard).await?,
            sha256,
            limits,
        });
    }
    reach(&access, REACH).await?;
    let length = args.length.map(|length| length.0);
    let written = record::record(&access, sessions, &options, length, signals.stop()).await?;
    written.log();
    Ok(())
}
