//! `haptic-host manifests`: everything that it takes to run plugins in a cluster.

use std::{io::Write as _, path::Path};

use clap::Parser;
use serde_json::{Map, Value, json};

use super::{
    Wrong,
    args::{Args, RunArgs},
    offline::{Described, PluginArgs, namespace},
    rbac, shard,
};
use crate::{
    config::Config,
    deploy::{self, CONFIG_FILE, Document, OUTPUTS, PLUGINS, Sizes, Workload, roles},
    output::OutputTarget,
    plugin::Limits,
    source::PluginSource,
};

const EXAMPLES: &str = "\
Examples:
  haptic-host manifests --plugin oci://registry.example/acme/render:1.2 \\
      --output configmap:rendered | kubectl apply -f -
      Two hosts, of which one leads. The tag is replaced by the digest that was looked at.
  haptic-host manifests --plugin render.wasm --image registry.example/render-host:1
      The plugin is in the image, as /plugins/render.wasm (docs/deploy.md says how).
  haptic-host manifests --config host.yaml --namespace edge --replicas 1
      A configuration becomes a ConfigMap; its files and folders become those of the pod.
  haptic-host manifests --plugin render.wasm --shards 4 --output 'configmap:rendered-{shard}'
      Four hosts in a StatefulSet, each of which holds and renders a quarter (docs/scale.md).
  haptic-host manifests --plugin render.wasm -- --memory-limit 512MiB --callback-timeout 20s
      What follows `--` are arguments of the host.

Exit codes: 0 done, 1 a plugin failed, 2 wrong input, 3 a registry failed.";

/// Arguments of the host that follow from where it runs.
const RESERVED: [&str; 14] = [
    "--plugin",
    "--config",
    "--output",
    "--allow",
    "--manifests",
    "--kubeconfig",
    "--context",
    "--once",
    "--timeout",
    "--listen",
    "--cache-dir",
    "--no-cache",
    "--leader-elect",
    "--shard",
];

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ManifestsArgs {
    #[command(flatten)]
    plugins: PluginArgs,

    /// What everything is called.
    #[arg(long, value_name = "NAME", default_value = "haptic-host", value_parser = namespace)]
    name: String,

    /// The image: of this repository's Dockerfile, with the plugins that are files in /plugins.
    #[arg(long, value_name = "IMAGE", default_value = concat!("haptic-host:", env!("CARGO_PKG_VERSION")), value_parser = image)]
    image: String,

    /// How many hosts: 2, or 1 for each of --shards. With more than one a leader is elected; the
    /// others are ready to lead.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i32).range(1..=20))]
    replicas: Option<i32>,

    /// Have so many hosts share the objects, in a StatefulSet: each holds and renders one part.
    /// --replicas is then how many there are of each. Default: as many as the configuration says.
    #[arg(long, value_name = "COUNT", value_parser = shard::count)]
    shards: Option<u32>,

    /// Where outputs go: `configmap:NAME`, `secret:NAME`, `-`, or a directory, which becomes one
    /// of the pod.
    #[arg(long, value_name = "TARGET", default_value = "-")]
    output: OutputTarget,

    /// A Secret of type kubernetes.io/dockerconfigjson in the namespace, with the credentials of
    /// the registries of the image and of the plugins.
    #[arg(long, value_name = "SECRET", value_parser = namespace)]
    pull_secret: Option<String>,

    /// Further arguments of the host.
    #[arg(last = true, value_name = "ARGUMENT")]
    rest: Vec<String>,
}

fn image(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\'' | '\\');
    match !text.is_empty() && text.chars().all(plain) {
        true => Ok(text.to_owned()),
        false => {
            Err("write an image as docker takes it: registry.example/render-host:1".to_owned())
        }
    }
}

pub(super) async fn print(args: &ManifestsArgs) -> anyhow::Result<()> {
    let config = args.plugins.load_config()?;
    let shards = args.shards.or(config.shard.map(|shard| shard.count));
    let election = election(args, shards, &config);
    let run = run_args(&election, &args.rest)?;
    let described = args
        .plugins
        .describe_allowed(&config, &run.limits.limits())
        .await?;
    told_apart(&described)?;
    let own = args.plugins.namespace.as_str();
    let all = shard::all(shards);
    let leases = rbac::leases(&run.election, config.leader_election.as_ref(), own, &all)?;
    let objects = rbac::objects(&described, &args.output, own, &all)?;
    let (rights, comment) = rbac::needs(&described, &leases, &objects, own);
    let elected = !leases.is_empty();
    // What takes turns at a directory is of one shard.
    let outputs = match shards.is_some() && elected {
        true => format!("{OUTPUTS}/{{shard}}"),
        false => OUTPUTS.to_owned(),
    };
    let mut words = typed(args, &described, &outputs);
    words.extend(shards.map(|count| format!("--shard=auto/{count}")));
    let workload = Workload {
        elected,
        args: [words, election, args.rest.clone()].concat(),
        config: pod_config(args, &described, &outputs)?,
        ..workload(args, shards, &run, &described)
    };
    let mut documents: Vec<Document> = vec![workload.namespace()?];
    documents.extend(roles(&rights, &workload.owner, true, &comment)?);
    documents.extend(workload.documents()?);
    std::io::stdout().write_all(deploy::write(&documents).as_bytes())?;
    Ok(())
}

/// The arguments that have a leader elected, unless the configuration does it all.
fn election(args: &ManifestsArgs, shards: Option<u32>, config: &Config) -> Vec<String> {
    let configured = config.leader_election.as_ref();
    let mut words = Vec::new();
    let several = replicas(args, shards) > 1;
    if several && configured.is_none() {
        words.push("--leader-elect".to_owned());
    }
    let named = configured.is_some_and(|election| election.lease.is_some())
        || is_given(&args.rest, "--lease");
    if (several || configured.is_some()) && !named {
        words.push(format!("--lease={}", args.name));
    }
    words
}

/// Hosts that do the same work.
fn replicas(args: &ManifestsArgs, shards: Option<u32>) -> i32 {
    let usual = if shards.is_some() { 1 } else { 2 };
    args.replicas.unwrap_or(usual)
}

fn is_given(words: &[String], flag: &str) -> bool {
    let given = |word: &String| word == flag || word.starts_with(&format!("{flag}="));
    words.iter().any(given)
}

/// The host's arguments, as the host will understand them.
fn run_args(election: &[String], rest: &[String]) -> Result<RunArgs, Wrong> {
    if let Some(flag) = RESERVED.iter().find(|flag| is_given(rest, flag)) {
        return Err(Wrong(format!(
            "{flag} after `--` follows from where the host runs, or stands before `--`: see haptic-host manifests --help"
        )));
    }
    let name = ["haptic-host".to_owned()];
    let words = name.iter().chain(election).chain(rest);
    let parsed = Args::try_parse_from(words)
        .map_err(|error| Wrong(format!("what follows `--` is wrong: {error}")))?;
    match parsed.command {
        None => Ok(parsed.run),
        Some(_) => Err(Wrong(
            "what follows `--` are arguments of the host, and no subcommand".to_owned(),
        )),
    }
}

/// A plugin as it is found in the pod.
fn in_pod(source: &PluginSource) -> String {
    match source {
        PluginSource::File(path) => {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            format!("{PLUGINS}/{name}")
        }
        PluginSource::Oci(reference) => reference.to_string(),
    }
}

/// Two files of one name would be one in the image.
fn told_apart(described: &[Described]) -> Result<(), Wrong> {
    for (i, plugin) in described.iter().enumerate() {
        let path = in_pod(&plugin.source);
        let same =
            |other: &&Described| other.source != plugin.source && in_pod(&other.source) == path;
        if let Some(other) = described[..i].iter().find(same) {
            return Err(Wrong(format!(
                "plugins {} and {} would both be {path} in the image: give one of the files another name",
                other.key, plugin.key
            )));
        }
    }
    Ok(())
}

/// What the command line says about plugins, for the pod.
fn typed(args: &ManifestsArgs, described: &[Described], outputs: &str) -> Vec<String> {
    let named = described.iter().filter(|plugin| plugin.typed);
    let mut words: Vec<String> = named
        .map(|plugin| format!("--plugin={}", in_pod(&plugin.source)))
        .collect();
    if has_config(args) {
        words.push(format!("--config={CONFIG_FILE}"));
    }
    match &args.output {
        OutputTarget::Stdout => {}
        OutputTarget::Directory(_) => words.push(format!("--output={outputs}")),
        object @ OutputTarget::Object(_) => words.push(format!("--output={object}")),
    }
    if !args.plugins.allow.is_empty() {
        let grants: Vec<String> = args.plugins.allow.iter().map(ToString::to_string).collect();
        words.push(format!("--allow={}", grants.join(",")));
    }
    words
}

fn has_config(args: &ManifestsArgs) -> bool {
    args.plugins.config.is_some() || args.plugins.settings.is_some()
}

/// The configuration with the pod's files and folders in it.
fn pod_config(
    args: &ManifestsArgs,
    described: &[Described],
    outputs: &str,
) -> anyhow::Result<Option<String>> {
    if !has_config(args) {
        return Ok(None);
    }
    let mut root = match &args.plugins.config {
        Some(path) => raw(path)?,
        None => Map::new(),
    };
    let plugins = root.entry("plugins").or_insert_with(|| json!({}));
    if plugins.is_null() {
        *plugins = json!({});
    }
    for plugin in described {
        let Some(entries) = plugins.as_object_mut() else {
            continue;
        };
        if plugin.typed && args.plugins.settings.is_none() && !entries.contains_key(&plugin.key) {
            continue;
        }
        let entry = entries
            .entry(plugin.key.as_str())
            .or_insert_with(|| json!({}));
        if entry.is_null() {
            *entry = json!({});
        }
        let Some(entry) = entry.as_object_mut() else {
            continue;
        };
        if !plugin.typed {
            entry.insert("file".to_owned(), json!(in_pod(&plugin.source)));
        }
        if let Some(OutputTarget::Directory(_)) = plugin.config.output {
            entry.insert(
                "output".to_owned(),
                json!(format!("{outputs}/{}", plugin.key)),
            );
        }
        if let Some(settings) = &args.plugins.settings {
            entry.insert("settings".to_owned(), Value::Object(settings.0.clone()));
        }
    }
    let text = serde_saphyr::to_string(&root);
    Ok(Some(text.map_err(|error| {
        Wrong(format!("the configuration cannot be written: {error}"))
    })?))
}

/// The file as it is; that it is a good one is known already.
fn raw(path: &Path) -> anyhow::Result<Map<String, Value>> {
    let place = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Wrong(format!("cannot read configuration {place}: {error}")))?;
    match serde_saphyr::from_str(&text) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Ok(Map::new()),
        Err(error) => Err(Wrong(format!("{place} is no YAML: {error}")).into()),
    }
}

fn workload(
    args: &ManifestsArgs,
    shards: Option<u32>,
    run: &RunArgs,
    described: &[Described],
) -> Workload {
    let mut notes = Vec::new();
    let replicas = replicas(args, shards);
    if let Some(shards) = shards {
        notes.push(format!(
            "Each of {shards} shards has {replicas} of the pods; to have more or fewer shards, print this anew (docs/scale.md)."
        ));
    }
    let files: Vec<String> = described
        .iter()
        .filter_map(|plugin| match &plugin.source {
            PluginSource::File(_) => Some(in_pod(&plugin.source)),
            PluginSource::Oci(_) => None,
        })
        .collect();
    if !files.is_empty() {
        notes.push(format!(
            "The image has to have {}: see docs/deploy.md.",
            files.join(", ")
        ));
    }
    let targets = || {
        let targets = described.iter().map(|plugin| &plugin.config.output);
        targets.map(|own| own.as_ref().unwrap_or(&args.output))
    };
    let outputs = targets().any(|target| matches!(target, OutputTarget::Directory(_)));
    if outputs {
        notes.push(format!(
            "{OUTPUTS} is each pod's own; with several pods {}only that of the one that leads is written.",
            of_a_shard(shards)
        ));
    }
    if targets().any(|target| *target == OutputTarget::Stdout) {
        notes.push(format!(
            "What is rendered is in the log of the pod that leads: --output configmap:NAME{} puts it into the cluster.",
            if shards.is_some() { "-{shard}" } else { "" }
        ));
    }
    let shared = run.limits.limits();
    let limits = described.iter().map(|p| p.config.limits.over(&shared));
    let limits: Vec<Limits> = limits.collect();
    let all = |of: fn(&Limits) -> u64| limits.iter().map(of).fold(0, u64::saturating_add);
    Workload {
        owner: args.plugins.owner(&args.name),
        image: args.image.clone(),
        replicas,
        shards,
        elected: false,
        args: Vec::new(),
        config: None,
        outputs,
        pull_secret: args.pull_secret.clone(),
        sizes: Sizes {
            plugins: u64::try_from(described.len()).unwrap_or(u64::MAX),
            component: described
                .iter()
                .map(|plugin| u64::try_from(plugin.plugin.size()).unwrap_or(u64::MAX))
                .max()
                .unwrap_or_default(),
            memory: all(|limits| limits.memory),
            output: all(|limits| limits.output_bytes),
            cache: run.cache_limit.0,
        },
        notes,
    }
}

fn of_a_shard(shards: Option<u32>) -> &'static str {
    match shards {
        Some(_) => "of a shard ",
        None => "",
    }
}
