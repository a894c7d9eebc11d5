//! Which part of the objects this host holds, as typed on the command line and in the
//! configuration, and what it means.

use haptic_core::shard::{Shard, ShardBy, ShardSpec};
use tracing::info;

use super::Wrong;
use crate::{config::Config, leader::pod_name};

/// Several hosts that share what there is.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Sharding")]
pub(super) struct ShardArgs {
    /// Hold and render one part of the objects, of COUNT that as many hosts share: INDEX is
    /// counted from 0, and `auto` is the number at the end of the pod's name ($POD_NAME), as a
    /// StatefulSet gives it. With --leader-elect each shard has a Lease of its own,
    /// NAME-INDEX. `{shard}` in --output and in values of --env is the INDEX, `{shards}` the COUNT.
    #[arg(long, value_name = "INDEX/COUNT|auto/COUNT", env = "HAPTIC_SHARD")]
    pub(super) shard: Option<ShardSpec>,

    /// What is told apart: `namespace` keeps the objects of one namespace together, and gives
    /// each shard all those that are in none; `object` spreads single objects. All shards need the
    /// same. Default: namespace.
    #[arg(long, value_name = "namespace|object")]
    pub(super) shard_by: Option<ShardBy>,
}

impl ShardArgs {
    /// The shard that this process is; the command line over the configuration. `elected`: others
    /// may be the same one.
    ///
    /// # Errors
    /// A sentence about what is wrong, or does not go together.
    pub(super) fn resolve(&self, config: &Config, elected: bool) -> Result<Option<Shard>, Wrong> {
        let Some(spec) = self.shard.or(config.shard) else {
            return match (self.shard_by, config.shard_by) {
                (Some(_), _) => Err(Wrong(
                    "--shard-by says how hosts share: give --shard with it".to_owned(),
                )),
                (None, Some(_)) => Err(Wrong(
                    "shardBy says how hosts share: give `shard` with it, or --shard".to_owned(),
                )),
                (None, None) => Ok(None),
            };
        };
        let by = self.shard_by.or(config.shard_by).unwrap_or_default();
        let shard = spec
            .resolve(by, pod_name().as_deref(), elected)
            .map_err(|error| Wrong(format!("no shard: {error}")))?;
        info!(shard = %shard, %by, "holds one part of the objects");
        Ok(Some(shard))
    }
}

/// All shards of so many: for who writes down what each of them needs. `None`: one host that is
/// none.
pub(super) fn all(count: Option<u32>) -> Vec<Option<Shard>> {
    match count {
        None => vec![None],
        Some(count) => (0..count)
            .map(|index| Shard::new(index, count, ShardBy::default()).ok())
            .collect(),
    }
}

/// How many shards there are to be, as typed.
pub(super) fn count(text: &str) -> Result<u32, String> {
    match format!("auto/{text}").parse::<ShardSpec>() {
        Ok(spec) => Ok(spec.count),
        Err(_) => Err(format!(
            "write how many shards there are: 1 to {}",
            haptic_core::shard::MAX_SHARDS
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use clap::Parser;

    use super::*;
    use crate::cli::args::Args;

    fn resolve(flags: &[&str], config: &Config) -> Result<Option<Shard>, String> {
        let line = ["haptic-host"].iter().chain(flags);
        let args = Args::try_parse_from(line).unwrap().run.shard;
        args.resolve(config, false).map_err(|error| error.0)
    }

    fn shard(index: u32, count: u32, by: ShardBy) -> Option<Shard> {
        Some(Shard::new(index, count, by).unwrap())
    }

    #[test]
    fn the_command_line_goes_over_the_configuration() {
        let config = Config {
            shard: Some("1/4".parse().unwrap()),
            shard_by: Some(ShardBy::Object),
            ..Config::default()
        };
        let none = Config::default();
        assert_eq!(resolve(&[], &none), Ok(None));
        assert_eq!(resolve(&[], &config), Ok(shard(1, 4, ShardBy::Object)));
        assert_eq!(
            resolve(&["--shard", "2/3"], &config),
            Ok(shard(2, 3, ShardBy::Object))
        );
        assert_eq!(
            resolve(&["--shard=2/3", "--shard-by=namespace"], &config),
            Ok(shard(2, 3, ShardBy::Namespace))
        );
        assert_eq!(
            resolve(&["--shard", "2/3"], &none),
            Ok(shard(2, 3, ShardBy::Namespace))
        );
    }

    #[test]
    fn how_to_share_needs_something_that_is_shared() {
        let refusal = resolve(&["--shard-by", "object"], &Config::default()).unwrap_err();
        assert_eq!(
            refusal,
            "--shard-by says how hosts share: give --shard with it"
        );
        let config = Config {
            shard_by: Some(ShardBy::Object),
            ..Config::default()
        };
        assert!(
            resolve(&[], &config)
                .unwrap_err()
                .starts_with("shardBy says")
        );
    }

    #[test]
    fn a_count_is_asked_for_in_words() {
        assert_eq!(count("4"), Ok(4));
        for wrong in ["0", "257", "", "x", "-1", "1/2"] {
            assert_eq!(
                count(wrong).unwrap_err(),
                "write how many shards there are: 1 to 256"
            );
        }
        assert_eq!(all(None), [None]);
        assert_eq!(
            all(Some(2)),
            [
                shard(0, 2, ShardBy::Namespace),
                shard(1, 2, ShardBy::Namespace)
            ]
        );
    }
}
