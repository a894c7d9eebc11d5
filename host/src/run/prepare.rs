//! What happens to a plugin before it is run: it describes itself, its watches are
//! understood and allowed, its sink is opened. Watches nothing and writes nothing.

use std::{borrow::Cow, path::PathBuf, sync::Arc};

use haptic_core::{
    shard::Shard,
    spec::{ScopeSpec, SpecErrors, WatchPlan, WatchSpec, plan_all},
};

use super::{Breaker, RunError};
use crate::{
    access::Access,
    config::{self, OverrideError, PluginConfig},
    grants::{self, Refusal},
    output::{Occupancy, OutputTarget, Sink, SinkOptions, hook::HookConfig},
    plugin::{CallError, Instance, Limits, LogLevel, LogLine, LogSink, Plugin},
};

/// One plugin to run.
pub struct PluginRun {
    /// The compiled plugin.
    pub plugin: Plugin,
    /// The file that it came from; a new version of it is taken from there (contract P3).
    /// `None`: it does not change.
    pub file: Option<PathBuf>,
    /// What is configured for it.
    pub config: PluginConfig,
    /// What it may use.
    pub limits: Limits,
    /// When it is given up, and what becomes of the host then.
    pub breaker: Breaker,
    /// Where its outputs go.
    pub output: OutputTarget,
    /// Whether other hosts may write there too. [`Occupancy::InTurns`] is for leader
    /// election.
    pub occupancy: Occupancy,
    /// Take keys of an object over from other field managers.
    pub force_conflicts: bool,
    /// What runs after a commit that changed something.
    pub hook: Option<HookConfig>,
    /// Of the component, in hexadecimal: for a recording, which says what it was made for.
    pub sha256: Option<String>,
    /// The part of the objects that its stores hold; `None`: all.
    pub shard: Option<Shard>,
}

/// A plugin that has described itself, with its watches understood and allowed, and with
/// its sink.
pub struct Prepared {
    pub(super) run: PluginRun,
    pub(super) described: Described,
    pub(super) sink: Sink,
}

/// A plugin that has described itself, with its watches understood and allowed.
pub(crate) struct Described {
    pub(super) plugin: Plugin,
    /// What it asks for, as its configuration has narrowed it.
    pub(crate) specs: Vec<WatchSpec>,
    /// What that means.
    pub(crate) plans: Vec<Arc<WatchPlan>>,
    /// The first instance, which has answered `describe`.
    pub(super) instance: Instance,
    pub(super) settings: String,
    pub(super) logs: LogSink,
}

/// Makes a first instance of a plugin, asks for its watches, puts the
/// configuration over them, checks grants and opens the sink. Nothing is watched
/// and nothing is written yet.
///
/// # Errors
/// [`RunError`].
pub async fn prepare(run: PluginRun, access: &Access) -> Result<Prepared, RunError> {
    let own_namespace = access.own_namespace.as_deref();
    let described = describe(
        &run.plugin,
        &run.config,
        &run.limits,
        own_namespace,
        run.shard,
    )
    .await?;
    let options = SinkOptions {
        occupancy: run.occupancy,
        client: &access.client,
        force_conflicts: run.force_conflicts,
        hooked: run.hook.is_some(),
    };
    let sink = Sink::open(&run.output, options).map_err(|source| RunError::Output {
        plugin: run.plugin.name().to_owned(),
        source,
    })?;
    Ok(Prepared {
        run,
        described,
        sink,
    })
}

/// Of a plugin that would never be called.
pub(crate) const NO_WATCHES: &str =
    "it declares no watches, and none are configured: nothing would ever happen";

/// What a plugin asks for, and what its configuration makes of that.
pub(crate) struct Asked {
    /// The first instance, which has answered `describe`.
    pub(crate) instance: Instance,
    /// Its own watches.
    pub(crate) declared: Vec<WatchSpec>,
    /// Those that the configuration makes of them, and their meaning.
    pub(crate) watches: Vec<(WatchSpec, WatchPlan)>,
    pub(crate) settings: String,
    pub(crate) logs: LogSink,
}

/// Makes a first instance of a plugin and asks for its watches; whether they are allowed is
/// not asked.
///
/// # Errors
/// [`RunError`].
pub(crate) async fn ask(
    plugin: &Plugin,
    config: &PluginConfig,
    limits: &Limits,
) -> Result<Asked, RunError> {
    let name = plugin.name().to_owned();
    let failed = |source: CallError| match source {
        CallError::Refused { message, .. } => RunError::Settings {
            plugin: name.clone(),
            message,
        },
        source => RunError::Plugin {
            plugin: name.clone(),
            source,
        },
    };
    let settings = serde_json::Value::Object(config.settings.clone()).to_string();
    let logs = log_sink(&name);
    let mut instance = plugin
        .instantiate(limits, &settings, Arc::clone(&logs))
        .await
        .map_err(&failed)?;
    let declared = instance.describe().await.map_err(&failed)?;
    let wrong = |mistakes| RunError::Watches {
        plugin: name.clone(),
        mistakes,
    };
    let texts = |errors: Vec<OverrideError>| errors.iter().map(ToString::to_string).collect();
    let specs = config::override_watches(declared.clone(), &config.watches)
        .map_err(|errors| wrong(texts(errors)))?;
    let plans = plan_all(&specs)
        .map_err(|SpecErrors(errors)| wrong(errors.iter().map(ToString::to_string).collect()))?;
    Ok(Asked {
        instance,
        declared,
        watches: specs.into_iter().zip(plans).collect(),
        settings,
        logs,
    })
}

/// The same, and whether what it asks for is allowed: for a new version as well, which takes
/// over the sink of the old one.
///
/// # Errors
/// [`RunError`].
pub(crate) async fn describe(
    plugin: &Plugin,
    config: &PluginConfig,
    limits: &Limits,
    own_namespace: Option<&str>,
    shard: Option<Shard>,
) -> Result<Described, RunError> {
    let asked = ask(plugin, config, limits).await?;
    let wrong = |mistakes| RunError::Watches {
        plugin: plugin.name().to_owned(),
        mistakes,
    };
    let (specs, plans): (Vec<_>, Vec<_>) = asked.watches.into_iter().unzip();
    if plans.is_empty() {
        return Err(wrong(vec![NO_WATCHES.to_owned()]));
    }
    let own = plans.iter().any(|p| p.scope == ScopeSpec::OwnNamespace);
    if own && own_namespace.is_none() {
        return Err(wrong(vec![
            "it watches the host's own namespace, and neither a service account nor the kubeconfig's context names one: set a namespace in the context".to_owned(),
        ]));
    }
    let refused: Vec<Refusal> =
        grants::refusals(&config.allow, &plans, own_namespace.unwrap_or_default());
    if !refused.is_empty() {
        let mut mistakes: Vec<String> = refused.iter().map(ToString::to_string).collect();
        mistakes.push(grants::advice(&config.allow, &refused));
        return Err(wrong(mistakes));
    }
    Ok(Described {
        plugin: plugin.clone(),
        specs,
        plans: plans
            .into_iter()
            .map(|plan| match shard {
                Some(shard) => plan.in_shard(shard),
                None => plan,
            })
            .map(Arc::new)
            .collect(),
        instance: asked.instance,
        settings: asked.settings,
        logs: asked.logs,
    })
}

/// Where the log lines of a plugin of this name go.
pub(crate) fn log_sink(plugin: &str) -> LogSink {
    let plugin = plugin.to_owned();
    Arc::new(move |line: LogLine| {
        let LogLine {
            level,
            target,
            message,
            fields,
        } = line;
        // A line stays one, and nothing in it drives a terminal: a plugin must not be able to
        // write what looks like the host's own lines.
        let (message, target) = (one_line(&message), one_line(&target));
        let fields = fields
            .iter()
            .map(|(key, value)| format!("{}={value:?}", one_line(key)))
            .collect::<Vec<_>>()
            .join(" ");
        macro_rules! emit {
            ($level:ident) => {
                if fields.is_empty() {
                    tracing::$level!(target: "plugin", plugin, at = &*target, "{message}")
                } else {
                    tracing::$level!(target: "plugin", plugin, at = &*target, fields = %fields, "{message}")
                }
            };
        }
        match level {
            LogLevel::Error => emit!(error),
            LogLevel::Warn => emit!(warn),
            LogLevel::Info => emit!(info),
            LogLevel::Debug => emit!(debug),
            LogLevel::Trace => emit!(trace),
        }
    })
}

/// The text with its control characters written out.
fn one_line(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let shown = |c: char| match c {
        '\t' => String::from(c),
        c if c.is_control() => c.escape_default().to_string(),
        c => String::from(c),
    };
    Cow::Owned(text.chars().map(shown).collect())
}
