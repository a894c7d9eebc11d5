//! Hears of objects while the first of them arrive, page by page, and of changes later.
//!
//!     cargo run -p haptic-host --example incremental_sync [--kube | --manifests PATH]

mod cluster;

use std::sync::Arc;

use haptic_host::{Watch, Watcher};
use tokio::sync::Notify;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let target = cluster::from_args().await?;
    let access = &target.access;

    let complete = Arc::new(Notify::new());
    let told = Arc::clone(&complete);
    let services = Watch::new("v1", "services").call_on_change_during_sync(true);
    let _watcher = Watcher::builder(access, services)
        .on_change(|store, stats| async move {
            if stats.is_initial_sync {
                println!("{} so far", store.len());
            } else {
                println!("{stats:?}");
            }
        })
        .on_sync_complete(move |_, count| {
            println!("all {count} are here");
            told.notify_one();
            async {}
        })
        .start()?;
    complete.notified().await;
    Ok(())
}
