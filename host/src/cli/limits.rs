//! What a plugin may use and see, as typed: limits (contract P1) and grants (P5).

use std::path::PathBuf;

use haptic_core::shard::Shard;

use super::{
    Wrong,
    args::{DurationArg, SizeArg},
};
use crate::{
    chain::chain,
    config::PluginConfig,
    output::filled,
    plugin::{DirGrant, EnvGrant, Limits, Sandbox},
};

/// Each limit is one plugin's own, and `limits` in the configuration file comes before it.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Limits of each plugin")]
pub(super) struct LimitArgs {
    /// Memory that a plugin may use, of all its linear memories together.
    #[arg(long, value_name = "SIZE", default_value = "256MiB")]
    memory_limit: SizeArg,

    /// Time that one callback may take, and the start of an instance.
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    callback_timeout: DurationArg,

    /// Output that one callback may write.
    #[arg(long, value_name = "SIZE", default_value = "64MiB")]
    output_limit: SizeArg,

    /// Outputs that one callback may write.
    #[arg(long, value_name = "NUMBER", default_value_t = 4_096)]
    output_count_limit: usize,

    /// Log lines of a plugin that pass in one second, its standard output and error
    /// included; the others are counted.
    #[arg(long, value_name = "NUMBER", default_value_t = 200)]
    log_limit: u32,

    /// Length of a log line, fields included; longer ones are cut.
    #[arg(long, value_name = "SIZE", default_value = "8KiB")]
    log_line_limit: SizeArg,

    /// Elements of a plugin's tables.
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000_000)]
    table_limit: u64,

    /// Store handles that a plugin may hold.
    #[arg(long, value_name = "NUMBER", default_value_t = 1_024)]
    handle_limit: u32,

    /// What one read of a store may answer with; above, the plugin has to read in pages.
    /// Default: half of the memory limit.
    #[arg(long, value_name = "SIZE")]
    answer_limit: Option<SizeArg>,
}

impl LimitArgs {
    pub(super) fn limits(&self) -> Limits {
        Limits {
            memory: self.memory_limit.0,
            callback_time: self.callback_timeout.0,
            table_elements: self.table_limit,
            output_bytes: self.output_limit.0,
            output_count: self.output_count_limit,
            log_lines_per_second: self.log_limit,
            log_line_bytes: usize::try_from(self.log_line_limit.0).unwrap_or(usize::MAX),
            store_handles: self.handle_limit,
            answer_bytes: self
                .answer_limit
                .map_or(self.memory_limit.0 / 2, |size| size.0),
        }
    }
}

const SEEN: &str = "What plugins may see of the host (nothing, unless given)";

/// Without any of these a plugin sees no file and no variable; nothing lets it use the network.
#[derive(Debug, clap::Args)]
pub(super) struct GrantArgs {
    /// Let plugins read the files of a directory of the host, which they know by the name
    /// GUEST (default: HOST); with `::rw` they may write there too. Of one plugin: `dirs` in the
    /// configuration file. Repeatable.
    #[arg(long, value_name = "HOST[::GUEST[::rw]]", value_parser = clap::value_parser!(DirGrant), help_heading = SEEN)]
    dir: Vec<DirGrant>,

    /// Set an environment variable for plugins; without a value, to the host's own. Of one
    /// plugin: `env` in the configuration file. Repeatable.
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = clap::value_parser!(EnvGrant), help_heading = SEEN)]
    env: Vec<EnvGrant>,
}

impl GrantArgs {
    /// What one plugin is granted: by the command line, which holds for all of them, and by
    /// its own configuration.
    pub(super) fn sandbox(
        &self,
        name: &str,
        config: &PluginConfig,
        shard: Option<Shard>,
    ) -> Result<Sandbox, Wrong> {
        let dirs: Vec<DirGrant> = self.dir.iter().chain(&config.dirs).cloned().collect();
        let mut env: Vec<EnvGrant> = self.env.iter().chain(&config.env).cloned().collect();
        if let Some(shard) = shard {
            let (index, count) = (shard.index().to_string(), shard.count().to_string());
            for value in env.iter_mut().filter_map(|grant| grant.value.as_mut()) {
                *value = filled(value, &index, &count);
            }
        }
        // What the directories are does not depend on where the process goes.
        let dirs: Vec<DirGrant> = dirs
            .into_iter()
            .map(|dir| DirGrant {
                host: std::path::absolute(&dir.host).unwrap_or_else(|_| PathBuf::from(&dir.host)),
                ..dir
            })
            .collect();
        Sandbox::of(&dirs, &env).map_err(|error| Wrong(format!("plugin {name}: {}", chain(&error))))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use clap::Parser;
    use haptic_core::shard::ShardBy;

    use super::*;
    use crate::cli::args::Args;

    #[test]
    fn p5_a_plugin_may_be_told_which_shard_it_renders() {
        let line = ["haptic-host", "--env=SHARD={shard}/{shards}"];
        let grants = Args::try_parse_from(line).unwrap().run.grants;
        let config = PluginConfig {
            env: vec!["OTHER={other}".parse().unwrap()],
            ..PluginConfig::default()
        };
        let env = |shard: Option<Shard>| grants.sandbox("render", &config, shard).unwrap().env;
        let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let other = variable("OTHER", "{other}");
        let shard = Shard::new(2, 4, ShardBy::Namespace).unwrap();
        assert_eq!(env(Some(shard)), [variable("SHARD", "2/4"), other.clone()]);
        assert_eq!(env(None), [variable("SHARD", "{shard}/{shards}"), other]);
    }
}
