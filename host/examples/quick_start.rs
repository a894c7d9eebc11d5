//! Watches Ingresses, tells of changes, and looks one up.
//!
//!     cargo run -p haptic-host --example quick_start [--kube | --manifests PATH]

mod cluster;

use haptic_host::{Watch, Watcher};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let target = cluster::from_args().await?;
    let access = &target.access;

    let ingresses = Watch::new("networking.k8s.io/v1", "ingresses")
        .index_by(["metadata.namespace", "metadata.name"])
        .ignore_fields(["metadata.managedFields"]);
    let watcher = Watcher::builder(access, ingresses)
        .on_change(|store, stats| async move {
            println!(
                "{} created, {} modified, {} deleted: {} now",
                stats.created,
                stats.modified,
                stats.deleted,
                store.len()
            );
        })
        .start()?;

    let count = watcher.wait_for_sync().await?;
    println!("{count} ingresses");
    for ingress in watcher.store().get(&["shop", "storefront"])? {
        println!("{ingress}: {} bytes of JSON", ingress.json().len());
    }
    Ok(())
}
