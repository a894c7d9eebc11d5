//! Which cluster an example runs against.

use std::path::PathBuf;

use anyhow::{Context, bail};
use haptic_cluster::{Cluster, Feed, Options};
use haptic_host::{Access, AccessOptions, access, connect};

/// A cluster, and what keeps it alive.
pub(crate) struct Target {
    /// How to reach it.
    pub(crate) access: Access,
    _embedded: Option<(Cluster, Feed)>,
}

/// `--kube`: the current kube context. `--manifests PATH`: an embedded cluster that has
/// what the YAML files say; without, it has what stands in `examples/cluster`.
pub(crate) async fn from_args() -> anyhow::Result<Target> {
    let mut args = std::env::args().skip(1);
    let manifests = match args.next().as_deref() {
        None => PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/cluster")),
        Some("--manifests") => args.next().context("--manifests needs a path")?.into(),
        Some("--kube") => {
            return Ok(Target {
                access: connect(&AccessOptions::default()).await?,
                _embedded: None,
            });
        }
        Some(other) => bail!("{other}: give --kube, --manifests PATH, or nothing"),
    };
    let cluster = Cluster::start(Options::default()).await?;
    let feed = cluster.feed(&[manifests]).map_err(|errors| {
        let lines = errors.iter().map(|error| format!("\n  {error}"));
        anyhow::anyhow!("the manifests cannot be used:{}", lines.collect::<String>())
    })?;
    Ok(Target {
        access: access::connect_url(&cluster.url(), "shop")?,
        _embedded: Some((cluster, feed)),
    })
}
