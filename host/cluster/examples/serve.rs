//! Serves the given manifests until it is interrupted: `serve PORT [PATH…]`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use haptic_cluster::{Cluster, Options, load_manifests};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let port: u16 = arguments
        .next()
        .ok_or("usage: serve PORT [PATH…]")?
        .parse()?;
    let paths: Vec<PathBuf> = arguments.map(PathBuf::from).collect();
    let manifests = load_manifests(&paths).map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        lines.join("\n")
    })?;
    let cluster = Cluster::start(Options {
        addr: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        ..Options::default()
    })
    .await?;
    for manifest in &manifests {
        cluster.apply(&manifest.value)?;
    }
    println!("{}", cluster.kubeconfig());
    tokio::signal::ctrl_c().await?;
    cluster.shutdown().await;
    Ok(())
}
