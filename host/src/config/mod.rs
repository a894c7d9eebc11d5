//! The configuration file (contract K1), in two stages: what was typed, with every
//! mistake reported at once and with its place, and then [`PluginConfig`].

mod duration;
mod limits;
mod parse;
mod watch;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fmt,
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::Duration,
};

use haptic_core::shard::{ShardBy, ShardSpec};
use serde_json::{Map, Value};

use self::parse::{Mistakes, parse};
use crate::{
    grants::Grant,
    output::OutputTarget,
    plugin::{DirGrant, EnvGrant},
    source::PluginSource,
};

pub use self::{
    duration::parse_duration,
    limits::{LimitOverrides, parse_size},
    parse::Mistake,
    watch::{OverrideError, WatchOverride, override_watches},
};

/// One plugin, as configured.
#[derive(Clone, Debug, Default)]
pub struct PluginConfig {
    /// Its component: a file, relative to the configuration file, or `oci://…`. `None`: the
    /// entry configures a `--plugin` of that name.
    pub file: Option<PluginSource>,
    /// Its settings, handed to it as JSON; `{}` unless given.
    pub settings: Map<String, Value>,
    /// Where its outputs go; a directory is relative to the configuration file.
    pub output: Option<OutputTarget>,
    /// `forceConflicts`: take keys of an object over from other field managers.
    pub force_conflicts: Option<bool>,
    /// `onOutput`: what runs after a commit that changed something.
    pub on_output: Option<String>,
    /// `onOutputTimeout`: how long that may take.
    pub on_output_timeout: Option<Duration>,
    /// What it may watch (contract P8).
    pub allow: Vec<Grant>,
    /// Its limits, where they are not the command line's (contract P1).
    pub limits: LimitOverrides,
    /// Directories that it may see, relative to the configuration file (contract P5).
    pub dirs: Vec<DirGrant>,
    /// Environment variables that it may see.
    pub env: Vec<EnvGrant>,
    /// Watches that narrow its own, or are added to them, by name.
    pub watches: BTreeMap<String, WatchOverride>,
    /// After how many failures in a row it is given up (contract P2).
    pub max_failures: Option<NonZeroU32>,
    /// What becomes of the host then.
    pub on_failure: Option<OnFailure>,
}

/// What becomes of the host when a plugin was given up (contract P2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum OnFailure {
    /// Its outputs stay as they are, and it is tried again every minute.
    #[default]
    KeepLast,
    /// The host ends with exit code 1.
    Exit,
}

/// A configuration file.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Plugins by name.
    pub plugins: BTreeMap<String, PluginConfig>,
    /// `leaderElection`: given, a leader is elected (contract L3).
    pub leader_election: Option<Election>,
    /// `shard`: given, the host holds one part of the objects.
    pub shard: Option<ShardSpec>,
    /// `shardBy`: what is told apart by shards.
    pub shard_by: Option<ShardBy>,
}

/// `leaderElection`, as typed. What is not given is the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Election {
    /// The name of the Lease.
    pub lease: Option<String>,
    /// Its namespace.
    pub namespace: Option<String>,
    /// How long others wait.
    pub lease_duration: Option<Duration>,
    /// When a leader that cannot renew stops.
    pub renew_deadline: Option<Duration>,
    /// How often it renews.
    pub retry_period: Option<Duration>,
}

/// Why a configuration file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read configuration {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no YAML.
    #[error("{} is no YAML: {message}", path.display())]
    Yaml {
        /// The file.
        path: PathBuf,
        /// Why and where.
        message: String,
    },
    /// It holds mistakes; all of them.
    #[error("{} holds {}:{}", path.display(), Count(.mistakes.len()), Lines(.mistakes))]
    Mistakes {
        /// The file.
        path: PathBuf,
        /// All of them.
        mistakes: Vec<Mistake>,
    },
}

struct Count(usize);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("a mistake"),
            n => write!(f, "{n} mistakes"),
        }
    }
}

struct Lines<'a>(&'a [Mistake]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|mistake| write!(f, "\n  {mistake}"))
    }
}

/// Reads a configuration file.
///
/// # Errors
/// [`ConfigError`], with every mistake in the file.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })?;
    let value: Value = serde_saphyr::from_str(&text).map_err(|error| ConfigError::Yaml {
        path: path.to_owned(),
        message: error.to_string(),
    })?;
    let mut mistakes = Mistakes::default();
    let base = path.parent().unwrap_or(Path::new(""));
    let config = parse(&value, base, &mut mistakes);
    if mistakes.0.is_empty() {
        Ok(config)
    } else {
        Err(ConfigError::Mistakes {
            path: path.to_owned(),
            mistakes: mistakes.0,
        })
    }
}
