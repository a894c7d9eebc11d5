//! Watches the Services of one namespace: the one that the program runs in.
//!
//!     cargo run -p haptic-host --example namespaced [--kube | --manifests PATH]

mod cluster;

use haptic_host::{Watch, Watcher};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let target = cluster::from_args().await?;
    let access = &target.access;

    // Or .namespace("shop"), or .namespaces(["shop", "blog"]).
    let services = Watch::new("v1", "services").own_namespace();
    let watcher = Watcher::builder(access, services).start()?;
    watcher.wait_for_sync().await?;
    for service in watcher.store().list() {
        println!("{service}");
    }
    Ok(())
}
