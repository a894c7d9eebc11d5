//! The command line: what was typed (`args`), and what is done about it.

mod args;
mod completions;
mod election;
mod inspect;
mod limits;
mod logs;
mod manifests;
mod new;
mod offline;
mod plugins;
mod rbac;
mod record;
mod replay;
mod serve;
mod shard;
mod signals;

use std::{
    collections::BTreeMap,
    io::IsTerminal,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::Parser;
use haptic_cluster::{Cluster, Feed, Options};
use haptic_core::shard::Shard;
use kube::client::Body;
use tracing::info;

use self::{
    args::{Args, Command, RunArgs},
    signals::Signals,
};
use crate::{
    access::{self, Access, AccessError, AccessOptions},
    chain::chain,
    config::{self, Config, ConfigError, PluginConfig},
    observe::{ServeError, Server},
    output::{Occupancy, OutputTarget, hook::HookConfig},
    plugin::{Runtime, RuntimeError, RuntimeOptions},
    record::RecordError,
    replay::ReplayError,
    run::{self, Breaker, PluginRun, RunError, RunOptions},
    source::{PluginSource, SourceError},
};

/// Exit codes (contract O3).
mod exit {
    pub(super) const PLUGIN: u8 = 1;
    pub(super) const CONFIGURATION: u8 = 2;
    pub(super) const CLUSTER: u8 = 3;
    pub(super) const INTERRUPTED: u8 = 130;
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let args = Args::parse();
    logs::init(&args.log, args.log_format);
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&anyhow::Error::new(error).context("cannot start"), 1),
    };
    let result = runtime.block_on(async {
        match args.command {
            Some(Command::Cluster(cluster)) => serve::serve(cluster).await,
            Some(Command::Inspect(args)) => inspect::print(&args).await,
            Some(Command::Rbac(args)) => rbac::print(&args).await,
            Some(Command::Manifests(args)) => manifests::print(&args).await,
            Some(Command::Record(args)) => record::record(args).await,
            Some(Command::New(args)) => new::make(&args),
            Some(Command::Completions(args)) => completions::print(&args),
            None => match args.run.replay.clone() {
                Some(recording) => replay::replay(args.run, &recording).await,
                None => host(args.run).await,
            },
        }
    });
    // A plugin that still runs must not hold up the exit.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code = exit_code(&error);
            fail(&error, code)
        }
    }
}

fn fail(error: &anyhow::Error, code: u8) -> ExitCode {
    let (red, plain) = if std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
    {
        ("\x1b[31m", "\x1b[0m")
    } else {
        ("", "")
    };
    eprintln!("{red}error:{plain} {}", chain(error.as_ref()));
    ExitCode::from(code)
}

/// Tells a plugin's fault from a configuration's and a cluster's.
fn exit_code(error: &anyhow::Error) -> u8 {
    for cause in error.chain() {
        if let Some(error) = cause.downcast_ref::<RunError>() {
            return error.exit_code();
        }
        if let Some(error) = cause.downcast_ref::<ReplayError>() {
            return error.exit_code();
        }
        if let Some(error) = cause.downcast_ref::<RecordError>() {
            return match error {
                RecordError::Exists(_) | RecordError::Write { .. } => exit::CONFIGURATION,
                RecordError::BreaksOff(_) => exit::PLUGIN,
            };
        }
        if let Some(error) = cause.downcast_ref::<AccessError>() {
            return match error {
                AccessError::NotConfigured => exit::CLUSTER,
                AccessError::Kubeconfig { .. }
                | AccessError::Context { .. }
                | AccessError::Client { .. }
                | AccessError::Url { .. } => exit::CONFIGURATION,
            };
        }
        if let Some(haptic_cluster::StartError::NotLoopback { .. }) = cause.downcast_ref() {
            return exit::CONFIGURATION;
        }
        if cause.is::<Unreachable>() || cause.is::<haptic_cluster::StartError>() {
            return exit::CLUSTER;
        }
        if let Some(error) = cause.downcast_ref::<SourceError>() {
            return match error {
                SourceError::Pull(error) if error.is_registrys() => exit::CLUSTER,
                SourceError::Pull(_) | SourceError::Load(_) => exit::CONFIGURATION,
            };
        }
        if cause.is::<ConfigError>() || cause.is::<Wrong>() {
            return exit::CONFIGURATION;
        }
        if cause.is::<RuntimeError>() || cause.is::<ServeError>() {
            return exit::CONFIGURATION;
        }
    }
    exit::PLUGIN
}

/// A mistake of the command line that clap cannot see, or of a manifest.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Wrong(String);

/// The API server does not answer, or not to us.
#[derive(Debug, thiserror::Error)]
#[error("the cluster at {url} {what}")]
struct Unreachable {
    url: String,
    what: String,
}

async fn host(args: RunArgs) -> anyhow::Result<()> {
    let interrupted = if args.once { exit::INTERRUPTED } else { 0 };
    let signals = Signals::listen(interrupted)?;
    let record = args.recording.of_run(args.record.as_deref())?;
    let config = load_config(args.config.as_deref())?;
    let runtime = Runtime::new(&RuntimeOptions {
        cache_dir: args.fetch.cache_dir(),
        ..RuntimeOptions::default()
    })?;
    let elected = election::is_wanted(&args.election, config.leader_election.as_ref());
    let occupancy = match elected {
        true => Occupancy::InTurns,
        false => Occupancy::Alone,
    };
    let shard = args.shard.resolve(&config, elected)?;
    let mut runs = load(&args, config.plugins, occupancy, shard, &runtime).await?;
    // Everything that can be wrong without a cluster is found before one is asked.
    let (access, _embedded) = cluster(
        args.kubeconfig.as_deref(),
        args.context.as_deref(),
        &args.manifests,
    )
    .await?;
    let own_namespace = access.own_namespace.as_deref();
    let election = election::contend(
        &args.election,
        config.leader_election,
        args.once,
        own_namespace,
        shard,
    )?;
    place(&mut runs, own_namespace)?;
    let (mut prepared, mut refused) = (Vec::new(), Vec::new());
    for plugin in runs {
        match run::prepare(plugin, &access).await {
            Ok(plugin) => prepared.push(plugin),
            Err(error) => refused.push(error),
        }
    }
    match refused.len() {
        0 => {}
        1 => refused.pop().map_or(Ok(()), Err)?,
        _ => return Err(RunError::Several(refused).into()),
    }
    let patience = match args.once {
        true => REACH.min(args.timeout.0),
        false => REACH,
    };
    reach(&access, patience).await?;
    let options = RunOptions {
        once: args.once,
        once_timeout: args.timeout.0,
        diff: args.diff,
        cache_bytes: usize::try_from(args.cache_limit.0).unwrap_or(usize::MAX),
        election,
        shard,
        reload: (!args.no_reload).then_some(runtime),
        record,
    };
    let server = match args.listen {
        Some(address) => Some(listen(address.0).await?),
        None => None,
    };
    run::run(access, prepared, options, server, signals.stop()).await?;
    Ok(())
}

fn load_config(path: Option<&Path>) -> Result<Config, ConfigError> {
    path.map_or_else(|| Ok(Config::default()), config::load)
}

/// A client of the cluster that is named, or of one that serves these manifests for as long as
/// what comes with it lives.
async fn cluster(
    kubeconfig: Option<&Path>,
    context: Option<&str>,
    manifests: &[PathBuf],
) -> anyhow::Result<(Access, Option<Embedded>)> {
    if manifests.is_empty() {
        let options = AccessOptions {
            kubeconfig: kubeconfig.map(Path::to_owned),
            context: context.map(str::to_owned),
        };
        return Ok((access::connect(&options).await?, None));
    }
    let embedded = embedded(manifests, Options::default()).await?;
    let access = access::connect_url(&embedded.cluster.url(), "default")?;
    Ok((access, Some(embedded)))
}

async fn listen(address: std::net::SocketAddr) -> Result<Server, ServeError> {
    let server = Server::bind(address).await?;
    info!("listening on http://{}", server.address());
    Ok(server)
}

/// An embedded cluster and what feeds it: edits to the manifests are followed for
/// as long as this lives.
struct Embedded {
    cluster: Cluster,
    _feed: Feed,
}

/// Starts an embedded cluster and feeds it.
async fn embedded(manifests: &[PathBuf], options: Options) -> anyhow::Result<Embedded> {
    let cluster = Cluster::start(options).await?;
    let feed = cluster
        .feed(manifests)
        .map_err(|errors| wrong_manifests(&errors))?;
    Ok(Embedded {
        cluster,
        _feed: feed,
    })
}

fn wrong_manifests(errors: &[haptic_cluster::ManifestError]) -> anyhow::Error {
    let lines: Vec<String> = errors
        .iter()
        .map(|error| format!("\n  {}", chain(error)))
        .collect();
    Wrong(format!("the manifests cannot be used:{}", lines.concat())).into()
}

/// How long the API server may take to answer at start.
const REACH: Duration = Duration::from_secs(15);

/// Asks the server for its version, so that a wrong address or missing
/// credentials are one sentence at start and not a retry for ever.
async fn reach(access: &Access, patience: Duration) -> Result<(), Unreachable> {
    let unreachable = |what: String| Unreachable {
        url: access.url.clone(),
        what,
    };
    let request = http::Request::get("/version")
        .body(Body::empty())
        .map_err(|error| unreachable(format!("has no usable URL: {error}")))?;
    match tokio::time::timeout(patience, access.client.send(request)).await {
        Err(_elapsed) => Err(unreachable(format!("does not answer within {patience:?}"))),
        Ok(Err(error)) => Err(unreachable(format!("cannot be reached: {}", chain(&error)))),
        Ok(Ok(response)) if response.status() == http::StatusCode::UNAUTHORIZED => Err(
            unreachable("does not accept the credentials (401 Unauthorized)".to_owned()),
        ),
        Ok(Ok(response)) => {
            let kind = response.headers().get(http::header::CONTENT_TYPE);
            let kind = kind
                .and_then(|kind| kind.to_str().ok())
                .unwrap_or("nothing");
            if kind.starts_with("application/json") {
                Ok(())
            } else {
                Err(unreachable(format!(
                    "is no Kubernetes API server: asked for its version it answers {} with {kind}",
                    response.status()
                )))
            }
        }
    }
}

/// Loads every plugin of the command line and of the configuration.
async fn load(
    args: &RunArgs,
    configured: BTreeMap<String, PluginConfig>,
    occupancy: Occupancy,
    shard: Option<Shard>,
    runtime: &Runtime,
) -> anyhow::Result<Vec<PluginRun>> {
    let entries = plugins::entries(&args.plugin, configured, &args.allow)?;
    let options = args.fetch.pull_options();
    let several = entries.len() > 1;
    let mut runs = Vec::with_capacity(entries.len());
    for plugins::Entry {
        key: name,
        source,
        config,
        ..
    } in entries
    {
        let output = match (&config.output, &args.output) {
            (Some(own), _) => own.clone(),
            (None, OutputTarget::Directory(shared)) if several => {
                OutputTarget::Directory(shared.join(&name))
            }
            (None, OutputTarget::Object(object)) if several => {
                return Err(Wrong(format!(
                    "several plugins cannot share the {object}: give each its own `output:` in the configuration"
                ))
                .into());
            }
            (None, shared) => shared.clone(),
        };
        let taking_turns = occupancy == Occupancy::InTurns;
        let output = output
            .in_shard(shard, taking_turns)
            .map_err(|error| Wrong(format!("plugin {name}: {error}")))?;
        if args.diff && output == OutputTarget::Stdout {
            return Err(Wrong(
                "--diff shows what changes in files: give --output DIR with it".to_owned(),
            )
            .into());
        }
        let command = config.on_output.clone().or_else(|| args.on_output.clone());
        let timeout = config.on_output_timeout.unwrap_or(args.on_output_timeout.0);
        let (loaded, plugin) = source.load(runtime, &options).await?;
        let sha256 = args.record.as_ref().map(|_| loaded.sha256()).transpose()?;
        let plugin = plugin
            .named(&name)
            .with_sandbox(args.grants.sandbox(&name, &config, shard)?);
        let compilation = plugin.compilation();
        info!(
            plugin = name,
            bytes = plugin.size(),
            cached = compilation.cached,
            took = ?compilation.duration,
            "loaded"
        );
        let limits = config.limits.over(&args.limits.limits());
        let breaker = Breaker {
            max_failures: config.max_failures.unwrap_or(args.max_failures),
            on_failure: config.on_failure.unwrap_or(args.on_failure),
        };
        runs.push(PluginRun {
            plugin,
            limits,
            file: match source {
                PluginSource::File(file) => Some(file),
                // What is pulled stays what it was until the next start.
                PluginSource::Oci(_) => None,
            },
            breaker,
            output,
            occupancy,
            force_conflicts: config.force_conflicts.unwrap_or(args.force_conflicts),
            hook: command.map(|command| HookConfig { command, timeout }),
            sha256,
            config,
            shard,
        });
    }
    Ok(runs)
}

/// Gives objects their namespaces, and sees to it that no two plugins write to one place.
fn place(runs: &mut [PluginRun], own_namespace: Option<&str>) -> Result<(), Wrong> {
    let mut taken: Vec<OutputTarget> = Vec::new();
    for run in runs {
        let name = run.plugin.name();
        let target = run.output.clone().in_namespace(own_namespace);
        run.output = target.map_err(|object| {
            Wrong(format!(
                "plugin {name} writes to the {object} of the host's own namespace, and neither a service account nor the kubeconfig's context names one: write NAMESPACE/{}",
                object.name
            ))
        })?;
        let absolute = match &run.output {
            OutputTarget::Directory(path) => {
                OutputTarget::Directory(std::path::absolute(path).unwrap_or_else(|_| path.clone()))
            }
            OutputTarget::Stdout => continue,
            OutputTarget::Object(_) => run.output.clone(),
        };
        if taken.contains(&absolute) {
            return Err(Wrong(format!(
                "plugin {name} shares the output {} with another plugin: each needs its own",
                run.output
            )));
        }
        taken.push(absolute);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::args::Args;

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }
}
