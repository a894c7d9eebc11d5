//! `haptic-host cluster`: the embedded cluster alone.

use std::{io::Write, os::unix::fs::OpenOptionsExt, path::Path};

use haptic_cluster::Options;

use super::{Embedded, Wrong, args::ClusterArgs, embedded, stop_signal};

pub(super) async fn serve(args: ClusterArgs) -> anyhow::Result<()> {
    let options = Options {
        addr: args.listen,
        allow_non_loopback: args.allow_non_loopback,
        ..Options::default()
    };
    let Embedded { cluster, _feed } = embedded(&args.manifests, options).await?;
    match &args.kubeconfig {
        Some(path) => {
            write_private(path, &cluster.kubeconfig())
                .map_err(|e| Wrong(format!("cannot write kubeconfig {}: {e}", path.display())))?;
            println!("serving {}", cluster.url());
            println!("try: kubectl --kubeconfig {} get all -A", path.display());
        }
        None => {
            println!("serving {}", cluster.url());
            println!("try: kubectl --server {} get all -A", cluster.url());
        }
    }
    stop_signal().await;
    cluster.shutdown().await;
    Ok(())
}

/// Written beside its place and renamed: whoever waits for the file finds it whole.
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".tmp");
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(text.as_bytes())?;
    std::fs::rename(&beside, path)
}
