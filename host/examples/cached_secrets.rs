//! Knows all Secrets, and holds none of them: a body is fetched when it is read.
//!
//!     cargo run -p haptic-host --example cached_secrets [--kube | --manifests PATH]

mod cluster;

use std::time::Duration;

use haptic_host::{Watch, Watcher};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let target = cluster::from_args().await?;
    let access = &target.access;

    let secrets = Watch::new("v1", "secrets")
        .field_selector("type=kubernetes.io/tls")
        .cached_for(Duration::from_secs(130));
    let watcher = Watcher::builder(access, secrets).start()?;
    let count = watcher.wait_for_sync().await?;
    println!("{count} certificates, {} bodies", fetched(&watcher));
    for secret in watcher.store().fetch(&["shop", "shop-tls"]).await? {
        let secret: k8s_openapi::api::core::v1::Secret = secret.parse()?;
        let fields = secret.data.unwrap_or_default();
        println!("{:?}, {} body", fields.keys(), fetched(&watcher));
    }
    Ok(())
}

fn fetched(watcher: &Watcher) -> usize {
    watcher.store().cache().map_or(0, |cache| cache.held)
}
