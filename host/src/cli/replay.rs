//! `haptic-host --replay FILE`: plugins on a recording instead of a cluster.

use std::{path::Path, sync::Arc};

use haptic_core::spec::{WatchPlan, WatchSpec};
use tracing::{info, warn};

use super::{
    Wrong,
    args::RunArgs,
    exit, load_config,
    plugins::{Entry, entries},
    signals::Signals,
};
use crate::{
    config::PluginConfig,
    output::{DirectorySink, Occupancy, OutputTarget, Sink, StdoutSink},
    plugin::{Clock, Limits, Runtime, RuntimeOptions, VirtualClock},
    record::{Header, Recording, Secrets},
    replay::{LogTime, Player, ReplayError, ReplayOptions, covers, missing, replay as play},
    run::{self, Asked, RunError},
};

/// What plugins' random numbers are drawn from: the same in every replay.
const SEED: u64 = 0;

pub(super) async fn replay(args: RunArgs, path: &Path) -> anyhow::Result<()> {
    let signals = Signals::listen(exit::INTERRUPTED)?;
    args.recording.of_run(None)?;
    let recording = Recording::open(path).map_err(ReplayError::from)?;
    let clock = VirtualClock::new(recording.started, SEED);
    LogTime::show(&clock);
    let header = recording.header.clone();
    let config = load_config(args.config.as_deref())?;
    let entries = entries(&args.plugin, config.plugins, &args.allow)?;
    let several = entries.len() > 1;
    let runtime = Runtime::new(&RuntimeOptions {
        cache_dir: args.fetch.cache_dir(),
        clock: Clock::Virtual(clock.clone()),
        ..RuntimeOptions::default()
    })?;
    let pull = args.fetch.pull_options();
    let (mut players, mut absent) = (Vec::with_capacity(entries.len()), Vec::new());
    for Entry {
        key,
        source,
        config,
        ..
    } in entries
    {
        let sink = sink(&args, &key, several)?;
        let (source, plugin) = source.load(&runtime, &pull).await?;
        let known = header.plugins.iter().find(|known| known.name == key);
        if known.is_some_and(|known| known.sha256 != source.sha256().unwrap_or_default()) {
            info!(
                plugin = key,
                "the recording was made with another build of it"
            );
        }
        // What was recorded is told whole: of the shard that it was recorded for.
        let sandbox = args.grants.sandbox(&key, &config, None)?;
        let plugin = plugin.named(&key).with_sandbox(sandbox);
        let limits = Limits {
            // Hours are over in a moment.
            log_lines_per_second: u32::MAX,
            ..config.limits.over(&args.limits.limits())
        };
        let asked = run::ask(&plugin, &config, &limits).await?;
        if asked.watches.is_empty() {
            return Err(RunError::Watches {
                plugin: key,
                mistakes: vec![run::NO_WATCHES.to_owned()],
            }
            .into());
        }
        let Asked {
            instance,
            watches,
            settings,
            logs,
            ..
        } = asked;
        let plans = narrow(&key, watches, &config, &header);
        for plan in &plans {
            for watch in missing(&header, plan) {
                absent.push(format!("{key}/{}: {}", plan.name, watch.describe()));
            }
        }
        players.push(Player {
            name: key,
            plans,
            first: instance,
            plugin,
            limits,
            settings,
            logs,
            sink,
            max_failures: config.max_failures.unwrap_or(args.max_failures),
        });
    }
    if !absent.is_empty() {
        let held = header.watches.iter().map(|watch| watch.describe());
        return Err(ReplayError::Missing {
            missing: absent,
            held: held.collect(),
        }
        .into());
    }
    let has_secrets = header
        .watches
        .iter()
        .any(|watch| watch.resources == "secrets");
    if has_secrets && header.secrets == Secrets::Redacted {
        warn!("what Secrets hold is redacted in the recording");
    }
    let options = ReplayOptions {
        diff: args.diff,
        cache_bytes: usize::try_from(args.cache_limit.0).unwrap_or(usize::MAX),
    };
    let handle = tokio::runtime::Handle::current();
    let played =
        tokio::task::spawn_blocking(move || play(recording, players, clock, options, handle));
    tokio::select! {
        biased;
        () = signals.stop() => Err(RunError::Interrupted.into()),
        played = played => Ok(played??),
    }
}

/// The plans of these watches; each as narrow as it was recorded, where the configuration does
/// not say otherwise and the recording does not hold it as the plugin declares it.
fn narrow(
    plugin: &str,
    watches: Vec<(WatchSpec, WatchPlan)>,
    config: &PluginConfig,
    header: &Header,
) -> Vec<Arc<WatchPlan>> {
    let known = header.plugins.iter().find(|known| known.name == plugin);
    let narrowed = |(spec, plan): (WatchSpec, WatchPlan)| {
        if config.watches.contains_key(&spec.name) || covers(header, &plan) {
            return plan;
        }
        let recorded = known
            .into_iter()
            .flat_map(|known| &known.watches)
            .find(|recorded| recorded.is_the_same(&spec));
        match recorded.map(|recorded| recorded.narrow(&spec).plan()) {
            Some(Ok(narrow)) if covers(header, &narrow) => {
                info!(
                    plugin,
                    watch = spec.name,
                    "as narrow as the configuration made it when it was recorded"
                );
                narrow
            }
            Some(_) | None => plan,
        }
    };
    let plans = watches.into_iter().map(narrowed);
    plans.map(Arc::new).collect()
}

/// Where outputs go: nowhere that a configuration names, which is where a host writes.
fn sink(args: &RunArgs, plugin: &str, several: bool) -> anyhow::Result<Sink> {
    Ok(match &args.output {
        OutputTarget::Stdout if args.diff => {
            return Err(Wrong(
                "--diff shows what changes in files: give --output DIR with it".to_owned(),
            )
            .into());
        }
        OutputTarget::Stdout => Sink::Stdout(StdoutSink::new(false)),
        OutputTarget::Directory(dir) => {
            let own = dir.join(plugin);
            let dir = if several { &own } else { dir };
            let sink = DirectorySink::open(dir, Occupancy::Alone, false);
            Sink::Directory(sink.map_err(|source| RunError::Output {
                plugin: plugin.to_owned(),
                source,
            })?)
        }
        OutputTarget::Object(object) => {
            return Err(Wrong(format!(
                "a replay has no cluster, and cannot write to the {object}: give --output DIR, or none for standard output"
            ))
            .into());
        }
    })
}
