//! Waits for several watchers, for a while.
//!
//!     cargo run -p haptic-host --example wait_for_sync [--kube | --manifests PATH]

mod cluster;

use std::time::Duration;

use haptic_host::{Watch, Watcher};
use tokio::time::timeout;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let target = cluster::from_args().await?;
    let access = &target.access;

    let ingresses = Watcher::builder(access, Watch::new("networking.k8s.io/v1", "ingresses"));
    let services = Watcher::builder(access, Watch::new("v1", "services"));
    let (ingresses, services) = (ingresses.start()?, services.start()?);

    let both = async { tokio::try_join!(ingresses.wait_for_sync(), services.wait_for_sync()) };
    match timeout(Duration::from_secs(30), both).await {
        Ok(counts) => {
            let (ingresses, services) = counts?;
            println!("{ingresses} ingresses, {services} services");
        }
        Err(_) => println!("{}, {}", ingresses.state(), services.state()),
    }
    Ok(())
}
