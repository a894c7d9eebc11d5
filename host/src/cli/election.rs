//! Leader election, as typed on the command line and in the configuration, and what it means.

use haptic_core::shard::Shard;

use super::{Wrong, args::ElectionArgs};
use crate::{
    config,
    leader::{LeaseConfig, LeaseTimings, default_identity},
};

/// The Lease's name unless it is given.
const LEASE: &str = "haptic-host";

/// Whether a leader is to be elected.
pub(super) fn is_wanted(args: &ElectionArgs, config: Option<&config::Election>) -> bool {
    args.leader_elect || config.is_some()
}

/// What to contend for; the command line over the configuration. `None`: there is no election.
///
/// # Errors
/// A sentence about what is wrong, or does not go together.
pub(super) fn contend(
    args: &ElectionArgs,
    config: Option<config::Election>,
    once: bool,
    own_namespace: Option<&str>,
    shard: Option<Shard>,
) -> Result<Option<LeaseConfig>, Wrong> {
    if !is_wanted(args, config.as_ref()) {
        let given = [
            ("--lease", args.lease.is_some()),
            ("--lease-namespace", args.lease_namespace.is_some()),
            ("--lease-duration", args.lease_duration.is_some()),
            (
                "--lease-renew-deadline",
                args.lease_renew_deadline.is_some(),
            ),
            ("--lease-retry-period", args.lease_retry_period.is_some()),
        ];
        return match given.iter().find(|(_, given)| *given) {
            Some((flag, _)) => Err(Wrong(format!(
                "{flag} is for leader election: give --leader-elect with it"
            ))),
            None => Ok(None),
        };
    }
    if once {
        return Err(Wrong(
            "--once renders and exits, whoever leads: it cannot be used with leader election"
                .to_owned(),
        ));
    }
    let config = config.unwrap_or_default();
    let own = || own_namespace.map(str::to_owned);
    let Some(namespace) = args
        .lease_namespace
        .clone()
        .or(config.namespace)
        .or_else(own)
    else {
        return Err(Wrong(
            "leader election needs a namespace for its Lease, and neither a service account nor the kubeconfig's context names one: give --lease-namespace"
                .to_owned(),
        ));
    };
    let name = args.lease.clone().or(config.lease);
    let mut name = name.unwrap_or_else(|| LEASE.to_owned());
    if let Some(shard) = shard.filter(|shard| shard.count() > 1) {
        // Each shard has a leader of its own.
        name = format!("{name}-{}", shard.index());
    }
    let mut contended = LeaseConfig::new(namespace, name, default_identity());
    let usual = LeaseTimings::default();
    contended.timings = LeaseTimings {
        lease_duration: args
            .lease_duration
            .map(|given| given.0)
            .or(config.lease_duration)
            .unwrap_or(usual.lease_duration),
        renew_deadline: args
            .lease_renew_deadline
            .map(|given| given.0)
            .or(config.renew_deadline)
            .unwrap_or(usual.renew_deadline),
        retry_period: args
            .lease_retry_period
            .map(|given| given.0)
            .or(config.retry_period)
            .unwrap_or(usual.retry_period),
    };
    match contended.validate() {
        Ok(()) => Ok(Some(contended)),
        Err(errors) => Err(Wrong(format!("leaders cannot be elected: {errors}"))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::time::Duration;

    use clap::Parser;

    use super::*;
    use crate::cli::args::Args;

    fn typed(flags: &[&str]) -> ElectionArgs {
        let line = ["haptic-host"].iter().chain(flags);
        Args::try_parse_from(line).unwrap().run.election
    }

    fn refused(flags: &[&str], once: bool, own: Option<&str>) -> String {
        contend(&typed(flags), None, once, own, None)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn l1_the_defaults_are_one_lease_in_the_own_namespace_with_the_usual_durations() {
        assert!(
            contend(&typed(&[]), None, true, None, None)
                .unwrap()
                .is_none()
        );
        let found = contend(&typed(&["--leader-elect"]), None, false, Some("shop"), None);
        let found = found.unwrap().unwrap();
        assert_eq!(
            (found.namespace.as_str(), found.name.as_str()),
            ("shop", "haptic-host")
        );
        assert_eq!(found.timings, LeaseTimings::default());
    }

    #[test]
    fn l1_each_shard_has_a_lease_of_its_own() {
        use haptic_core::shard::ShardBy;

        for (index, count, lease) in [(3, 4, "render-3"), (0, 2, "render-0"), (0, 1, "render")] {
            let shard = Shard::new(index, count, ShardBy::Namespace).unwrap();
            let args = typed(&["--leader-elect", "--lease", "render"]);
            let found = contend(&args, None, false, Some("shop"), Some(shard));
            assert_eq!(found.unwrap().unwrap().name, lease);
        }
    }

    #[test]
    fn l1_the_command_line_goes_over_the_configuration() {
        let config = config::Election {
            lease: Some("a".to_owned()),
            namespace: Some("x".to_owned()),
            lease_duration: Some(Duration::from_secs(60)),
            renew_deadline: Some(Duration::from_secs(40)),
            retry_period: None,
        };
        let args = typed(&["--lease", "b", "--lease-renew-deadline", "30s"]);
        let found = contend(&args, Some(config), false, Some("own"), None)
            .unwrap()
            .unwrap();
        assert_eq!((found.namespace.as_str(), found.name.as_str()), ("x", "b"));
        let timings = LeaseTimings {
            lease_duration: Duration::from_secs(60),
            renew_deadline: Duration::from_secs(30),
            retry_period: Duration::from_secs(2),
        };
        assert_eq!(found.timings, timings);
    }

    #[test]
    fn l1_what_does_not_go_together_is_refused_with_a_sentence() {
        let elect = "--leader-elect";
        assert_eq!(
            refused(&["--lease-duration", "9s"], false, Some("own")),
            "--lease-duration is for leader election: give --leader-elect with it"
        );
        assert!(refused(&[elect], true, Some("own")).starts_with("--once renders and exits"));
        assert!(refused(&[elect], false, None).ends_with("give --lease-namespace"));
        let refusal = refused(&[elect, "--lease-duration", "9s"], false, Some("own"));
        assert!(
            refusal.contains("the renew deadline (10s) must be at least 1s shorter"),
            "{refusal}"
        );
        let refusal = refused(&[elect, "--lease", "A/b"], false, Some("own"));
        assert!(
            refusal.contains("\"A/b\" is no name of a Lease"),
            "{refusal}"
        );
    }
}
