//! Plugins that are looked at and not run: loaded, described, and put together with their
//! configuration as the host would. Asks no cluster.

use std::{path::PathBuf, str::FromStr};

use haptic_core::spec::{ScopeSpec, WatchPlan, WatchSpec};
use serde_json::{Map, Value};

use super::{
    Wrong,
    plugins::{Entry, FetchArgs, entries},
};
use crate::{
    config::{self, Config, PluginConfig},
    deploy::Owner,
    grants::{self, Grant, Refusal},
    plugin::{Limits, Plugin, Runtime, RuntimeOptions},
    run::{self, Asked, RunError},
    source::PluginSource,
};

/// Which plugins, and how they are configured.
#[derive(Debug, clap::Args)]
pub(super) struct PluginArgs {
    /// Plugins: files, or `oci://REGISTRY/REPOSITORY[:TAG][@sha256:…]`.
    #[arg(value_name = "PLUGIN")]
    plugins: Vec<PluginSource>,

    /// The same, as the host itself takes it.
    #[arg(long = "plugin", value_name = "PLUGIN", hide_short_help = true)]
    more: Vec<PluginSource>,

    /// A configuration file (YAML), as the host takes it: its plugins are looked at too, with
    /// their settings and their watches.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,

    /// Settings for the plugin, if it is only one: a JSON object.
    #[arg(long, value_name = "JSON")]
    pub(super) settings: Option<Settings>,

    /// What plugins may watch, as the host takes it: `declared,secrets`.
    #[arg(long, value_name = "RESOURCE[/NAMESPACE]", value_delimiter = ',')]
    pub(super) allow: Vec<Grant>,

    /// The namespace that the host runs in.
    #[arg(long, value_name = "NAMESPACE", default_value = "haptic-host", value_parser = namespace)]
    pub(super) namespace: String,

    #[command(flatten)]
    fetch: FetchArgs,
}

/// Settings as typed.
#[derive(Clone, Debug)]
pub(super) struct Settings(pub(super) Map<String, Value>);

impl FromStr for Settings {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match serde_json::from_str(text) {
            Ok(Value::Object(map)) => Ok(Self(map)),
            Ok(_) => Err("must be a JSON object, such as '{\"port\": 80}'".to_owned()),
            Err(error) => Err(format!("no JSON: {error}")),
        }
    }
}

/// A name that a namespace can have.
pub(super) fn namespace(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let inner = text.chars().all(|c| plain(c) || c == '-');
    if inner && text.starts_with(plain) && text.ends_with(plain) && text.len() <= 63 {
        Ok(text.to_owned())
    } else {
        Err(
            "write lower-case letters, digits and `-`, 63 at most, none of them `-` at an end"
                .to_owned(),
        )
    }
}

/// A plugin that has said what it wants.
pub(super) struct Described {
    /// What the configuration calls it.
    pub(super) key: String,
    /// The command line names it.
    pub(super) typed: bool,
    /// Where it came from: by digest, where it was a tag.
    pub(super) source: PluginSource,
    pub(super) plugin: Plugin,
    pub(super) config: PluginConfig,
    /// Its own watches.
    pub(super) declared: Vec<WatchSpec>,
    /// Those that the configuration makes of them, and their meaning.
    pub(super) watches: Vec<(WatchSpec, WatchPlan)>,
}

impl Described {
    pub(super) fn name(&self) -> &str {
        self.plugin.name()
    }

    /// Watches that its grants do not cover.
    pub(super) fn refusals(&self, own_namespace: &str) -> Vec<Refusal> {
        grants::refusals(&self.config.allow, &self.plans(), own_namespace)
    }

    pub(super) fn plans(&self) -> Vec<WatchPlan> {
        self.watches.iter().map(|(_, plan)| plan.clone()).collect()
    }
}

impl PluginArgs {
    pub(super) fn owner(&self, name: &str) -> Owner {
        Owner {
            namespace: self.namespace.clone(),
            name: name.to_owned(),
        }
    }

    pub(super) fn load_config(&self) -> anyhow::Result<Config> {
        Ok(match &self.config {
            Some(path) => config::load(path)?,
            None => Config::default(),
        })
    }

    /// Loads and asks each plugin, under its limits: those of the configuration, and `shared`.
    pub(super) async fn describe(
        &self,
        config: &Config,
        shared: &Limits,
    ) -> anyhow::Result<Vec<Described>> {
        let sources: Vec<PluginSource> = self.plugins.iter().chain(&self.more).cloned().collect();
        if sources.is_empty() && config.plugins.is_empty() {
            let mistake =
                "no plugin is named: give its FILE, or --config FILE with plugins (see --help)";
            return Err(Wrong(mistake.to_owned()).into());
        }
        let mut entries = entries(&sources, config.plugins.clone(), &self.allow)?;
        if let Some(settings) = &self.settings {
            let [Entry { config, .. }] = entries.as_mut_slice() else {
                return Err(Wrong(
                    "--settings are for one plugin: with several, give --config FILE".to_owned(),
                )
                .into());
            };
            config.settings.clone_from(&settings.0);
        }
        let runtime = Runtime::new(&RuntimeOptions {
            cache_dir: self.fetch.cache_dir(),
            ..RuntimeOptions::default()
        })?;
        let options = self.fetch.pull_options();
        let mut described = Vec::with_capacity(entries.len());
        for entry in entries {
            let Entry {
                key,
                typed,
                source,
                config,
            } = entry;
            let (source, plugin) = source.load(&runtime, &options).await?;
            let plugin = plugin.named(&key);
            let limits = config.limits.over(shared);
            let Asked {
                declared, watches, ..
            } = run::ask(&plugin, &config, &limits).await?;
            described.push(Described {
                key,
                typed,
                source,
                plugin,
                config,
                declared,
                watches,
            });
        }
        Ok(described)
    }

    /// The same; an error as at the host's start where a watch is not allowed.
    pub(super) async fn describe_allowed(
        &self,
        config: &Config,
        shared: &Limits,
    ) -> anyhow::Result<Vec<Described>> {
        let described = self.describe(config, shared).await?;
        for plugin in &described {
            let refused = plugin.refusals(&self.namespace);
            let mut mistakes: Vec<String> = refused.iter().map(ToString::to_string).collect();
            if plugin.watches.is_empty() {
                mistakes.push(run::NO_WATCHES.to_owned());
            } else if !refused.is_empty() {
                mistakes.push(grants::advice(&plugin.config.allow, &refused));
            }
            if !mistakes.is_empty() {
                return Err(RunError::Watches {
                    plugin: plugin.name().to_owned(),
                    mistakes,
                }
                .into());
            }
        }
        Ok(described)
    }
}

/// As in `in all namespaces`.
pub(super) fn scope_text(scope: &ScopeSpec, own_namespace: &str) -> String {
    match scope {
        ScopeSpec::AllNamespaces => "in all namespaces".to_owned(),
        ScopeSpec::OwnNamespace => format!("in {own_namespace}, its own namespace"),
        ScopeSpec::Namespaces(list) => format!("in {}", list.join(", ")),
    }
}
