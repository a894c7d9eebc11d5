//! `haptic-host rbac`: the least roles that plugins can run with (contract K4).

use std::io::Write as _;

use haptic_core::shard::Shard;

use super::{
    Wrong,
    args::ElectionArgs,
    election,
    offline::{Described, PluginArgs, scope_text},
    shard,
};
use crate::{
    config,
    deploy::{self, roles},
    leader::LeaseConfig,
    output::{ObjectTarget, OutputTarget},
    plugin::Limits,
    rights::Rights,
};

const EXAMPLES: &str = "\
Examples:
  haptic-host rbac render.wasm --allow declared,secrets
      The least ClusterRole, or Roles, that let a host run this plugin.
  haptic-host rbac --config host.yaml --leader-elect --bind --namespace edge
      The same for all plugins of a configuration, with a ServiceAccount and bindings.
  haptic-host rbac render.wasm --bind | kubectl apply -f -
      haptic-host manifests prints the Deployment as well.

What is not in them: /version and discovery, which clusters grant to everybody who is
authenticated.

Exit codes: 0 done, 1 a plugin failed, 2 wrong input, 3 a registry failed.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct RbacArgs {
    #[command(flatten)]
    plugins: PluginArgs,

    /// What the roles are called. Those that are not in --namespace have it before their name.
    #[arg(long, value_name = "NAME", default_value = "haptic-host", value_parser = super::offline::namespace)]
    name: String,

    /// Add a ServiceAccount, and bind the roles to it.
    #[arg(long)]
    bind: bool,

    /// Where outputs go, as the host takes it: `configmap:NAME` and `secret:NAME` need rights.
    #[arg(long, value_name = "TARGET", default_value = "-")]
    output: OutputTarget,

    #[command(flatten)]
    election: ElectionArgs,

    /// For so many shards (--shard of the host): each has a Lease and outputs of its own. Default:
    /// as many as the configuration says.
    #[arg(long, value_name = "COUNT", value_parser = shard::count)]
    shards: Option<u32>,
}

pub(super) async fn print(args: &RbacArgs) -> anyhow::Result<()> {
    let config = args.plugins.load_config()?;
    let described = args
        .plugins
        .describe_allowed(&config, &Limits::default())
        .await?;
    let own = args.plugins.namespace.as_str();
    let shards = shard::all(args.shards.or(config.shard.map(|shard| shard.count)));
    let leases = leases(
        &args.election,
        config.leader_election.as_ref(),
        own,
        &shards,
    )?;
    let objects = objects(&described, &args.output, own, &shards)?;
    let (rights, comment) = needs(&described, &leases, &objects, own);
    let documents = roles(
        &rights,
        &args.plugins.owner(&args.name),
        args.bind,
        &comment,
    )?;
    std::io::stdout().write_all(deploy::write(&documents).as_bytes())?;
    Ok(())
}

/// The Leases that hosts contend for: one, or one of each shard.
pub(super) fn leases(
    args: &ElectionArgs,
    config: Option<&config::Election>,
    own_namespace: &str,
    shards: &[Option<Shard>],
) -> Result<Vec<LeaseConfig>, Wrong> {
    let leases = shards.iter().map(|shard| {
        election::contend(args, config.cloned(), false, Some(own_namespace), *shard).transpose()
    });
    leases.flatten().collect()
}

/// The objects that take outputs: one for each plugin, or one for each of its shards.
pub(super) fn objects(
    described: &[Described],
    shared: &OutputTarget,
    own_namespace: &str,
    shards: &[Option<Shard>],
) -> Result<Vec<ObjectTarget>, Wrong> {
    let mut objects = Vec::new();
    for plugin in described {
        let target = plugin.config.output.as_ref().unwrap_or(shared);
        for shard in shards {
            // Directories are judged where it is known whose they are.
            let target = match target {
                OutputTarget::Directory(_) | OutputTarget::Stdout => continue,
                OutputTarget::Object(_) => target.clone().in_shard(*shard, false),
            };
            let target = target
                .map_err(|error| Wrong(format!("plugin {}: {error}", plugin.name())))?
                .in_namespace(Some(own_namespace));
            match target {
                Ok(OutputTarget::Object(object)) | Err(object) => objects.push(object),
                Ok(OutputTarget::Directory(_) | OutputTarget::Stdout) => {}
            }
        }
    }
    Ok(objects)
}

/// All rights, and sentences that say what each is for.
pub(super) fn needs(
    described: &[Described],
    leases: &[LeaseConfig],
    objects: &[ObjectTarget],
    own_namespace: &str,
) -> (Rights, Vec<String>) {
    let mut rights = Rights::default();
    let mut comment = vec![
        "What the host asks for, and no more. /version and discovery are not in here: clusters"
            .to_owned(),
        "grant them to everybody who is authenticated.".to_owned(),
    ];
    for plugin in described {
        for (spec, plan) in &plugin.watches {
            rights.add_watch(plan, own_namespace);
            let name = plan.object_name.as_ref();
            let name = name.map_or_else(String::new, |name| format!(" called {name}"));
            comment.push(format!(
                "- {} watches {}{name} {}",
                plugin.name(),
                match plan.resource.group.as_str() {
                    "" => spec.resources.clone(),
                    group => format!("{}.{group}", spec.resources),
                },
                scope_text(&plan.scope, own_namespace),
            ));
        }
    }
    for object in objects {
        let namespace = object.namespace.as_deref().unwrap_or(own_namespace);
        rights.add_output(namespace, object);
        comment.push(format!("- outputs go to {object}"));
    }
    for lease in leases {
        rights.add_lease(&lease.namespace, &lease.name);
        comment.push(format!(
            "- leaders are elected with Lease {}/{}; `create` cannot be tied to a name",
            lease.namespace, lease.name
        ));
    }
    (rights, comment)
}
