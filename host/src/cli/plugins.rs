//! Which plugins the command line and the configuration name together, and how they are got.

use std::{collections::BTreeMap, path::PathBuf};

use super::Wrong;
use crate::{
    config::PluginConfig,
    grants::Grant,
    oci::{self, Patience, PullOptions},
    source::PluginSource,
};

/// Where compiled and pulled plugins are kept, and how registries are spoken to.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Where plugins come from")]
pub(super) struct FetchArgs {
    /// Where compiled plugins are kept, so that the next start takes milliseconds, and those that
    /// were pulled from registries. Default: haptic-host in $XDG_CACHE_HOME or ~/.cache.
    #[arg(long, value_name = "DIR", env = "HAPTIC_CACHE_DIR")]
    pub(super) cache_dir: Option<PathBuf>,

    /// Compile and pull plugins at every start.
    #[arg(long, conflicts_with = "cache_dir")]
    pub(super) no_cache: bool,

    /// Speak to this registry without TLS. One on this machine is spoken to so anyhow. Repeatable.
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(super) plain_http: Vec<String>,
}

impl FetchArgs {
    /// Where things are kept; `None`: nowhere.
    pub(super) fn cache_dir(&self) -> Option<PathBuf> {
        if self.no_cache {
            return None;
        }
        if let Some(dir) = &self.cache_dir {
            return std::path::absolute(dir).ok();
        }
        let base = std::env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
            .filter(|path| path.is_absolute())?;
        let dir = base.join("haptic-host");
        // A read-only home is no reason not to run.
        std::fs::create_dir_all(&dir).ok()?;
        Some(dir)
    }

    pub(super) fn pull_options(&self) -> PullOptions {
        PullOptions {
            cache_dir: self.cache_dir().map(|dir| dir.join("pulled")),
            plain_http: self.plain_http.clone(),
            docker_config: oci::docker_config(),
            patience: Patience::default(),
        }
    }
}

/// One plugin that is named.
pub(super) struct Entry {
    /// What the configuration calls it; on the command line alone, its own name.
    pub(super) key: String,
    /// The command line names it.
    pub(super) typed: bool,
    pub(super) source: PluginSource,
    pub(super) config: PluginConfig,
}

/// The plugins of the command line, each with its entry of the configuration, and those that the
/// configuration alone names. `allow` is added to what each is allowed.
///
/// # Errors
/// A sentence about entries that do not go together, or that there are none.
pub(super) fn entries(
    typed: &[PluginSource],
    mut configured: BTreeMap<String, PluginConfig>,
    allow: &[Grant],
) -> Result<Vec<Entry>, Wrong> {
    let mut entries = Vec::new();
    for source in typed {
        let key = source.name();
        let mut config = configured.remove(&key).unwrap_or_default();
        if config.file.take().is_some() {
            return Err(Wrong(format!(
                "plugin {key} is given twice: by --plugin and with a file in the configuration"
            )));
        }
        config.allow.extend(allow.iter().cloned());
        entries.push(Entry {
            key,
            typed: true,
            source: source.clone(),
            config,
        });
    }
    for (key, mut config) in configured {
        config.allow.extend(allow.iter().cloned());
        let Some(source) = config.file.take() else {
            return Err(Wrong(format!(
                "plugins.{key} has no file, and no --plugin is called {key}"
            )));
        };
        entries.push(Entry {
            key,
            typed: false,
            source,
            config,
        });
    }
    if entries.is_empty() {
        return Err(Wrong(
            "no plugin is named: give --plugin FILE, or --config FILE with plugins (see --help)"
                .to_owned(),
        ));
    }
    for (i, entry) in entries.iter().enumerate() {
        let name = &entry.key;
        if entries[..i].iter().any(|other| other.key == *name) {
            return Err(Wrong(format!(
                "two plugins are called {name}: outputs and logs could not be told apart"
            )));
        }
    }
    Ok(entries)
}
