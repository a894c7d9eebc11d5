//! Finds EndpointSlices by the Service that they belong to, which is a label.
//!
//!     cargo run -p haptic-host --example custom_index [--kube | --manifests PATH]

mod cluster;

use haptic_host::{Watch, WatcherGroup};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let target = cluster::from_args().await?;
    let access = &target.access;

    let slices = Watch::new("discovery.k8s.io/v1", "endpointslices").index_by([
        "metadata.namespace",
        r"metadata.labels.kubernetes\.io/service-name",
    ]);
    let group = WatcherGroup::builder(access)
        .watch(Watch::new("v1", "services"))
        .watch(slices)
        .start()?;
    group.wait_for_sync().await?;

    // One moment of both stores.
    let view = group.view();
    let slices = view.open("endpointslices")?;
    for service in view.open("services")?.get(&["shop"])? {
        let found = slices.get(&["shop", service.name()])?;
        println!("{service}: {} slices", found.len());
    }
    Ok(())
}
