//! `haptic-host cluster`: the embedded cluster alone.

use std::{io::Write, path::Path};

use haptic_cluster::{Options, Script};

use super::{Embedded, Wrong, args::ClusterArgs, embedded, signals::Signals};

pub(super) async fn serve(args: ClusterArgs) -> anyhow::Result<()> {
    let signals = Signals::listen(0)?;
    let options = Options {
        addr: args.listen,
        allow_non_loopback: args.allow_non_loopback,
        ..Options::default()
    };
    let script = args.faults.as_deref().map(script).transpose()?;
    let Embedded { cluster, _feed } = embedded(&args.manifests, options).await?;
    if let Some(script) = script {
        tracing::info!(rules = script.faults.len(), "faults are on");
        cluster.faults().add_script(script);
    }
    let reach = match &args.kubeconfig {
        Some(path) => {
            write_private(path, &cluster.kubeconfig()).map_err(|e| {
                Wrong(format!(
                    "cannot write kubeconfig {}: {}",
                    path.display(),
                    e.kind()
                ))
            })?;
            format!("--kubeconfig {}", path.display())
        }
        None => format!("--server {}", cluster.url()),
    };
    let mut stdout = std::io::stdout();
    // Nobody has to read this.
    if let Err(error) = writeln!(
        stdout,
        "serving {}\ntry: kubectl {reach} get all -A",
        cluster.url()
    ) {
        tracing::warn!("cannot write to standard output: {error}");
    }
    signals.stop().await;
    cluster.shutdown().await;
    Ok(())
}

fn script(path: &Path) -> Result<Script, Wrong> {
    let place = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Wrong(format!("cannot read faults {place}: {}", error.kind())))?;
    Script::parse(&text).map_err(|error| Wrong(format!("faults {place}: {error}")))
}

/// Written beside its place and renamed: whoever waits for the file finds it
/// whole. Only its owner may read it.
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}
