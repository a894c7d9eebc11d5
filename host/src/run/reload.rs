//! New versions of a plugin out of its file (contract P3): compiled and described in the
//! background, neither in the dispatch loop nor on the thread of the version that runs.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use haptic_core::shard::Shard;
use tokio::sync::mpsc;
use tracing::{debug, error};

use super::{
    Event,
    file::Changes,
    prepare::{self, Described},
};
use crate::{
    chain::chain,
    config::PluginConfig,
    plugin::{Digest, Limits, LoadError, Runtime, Sandbox, read_component},
};

/// What new versions of a plugin are made from, beside its file: the same name, settings,
/// watches and grants.
pub(super) struct Source {
    pub(super) slot: usize,
    pub(super) name: String,
    /// Of the version that was loaded at the start.
    pub(super) digest: Digest,
    pub(super) config: PluginConfig,
    pub(super) limits: Limits,
    pub(super) sandbox: Sandbox,
    pub(super) own_namespace: Option<String>,
    pub(super) shard: Option<Shard>,
}

/// A file has another content.
pub(super) enum FileNews {
    /// It is a plugin, and its watches are allowed.
    Described(Box<Described>),
    /// It cannot be run.
    Refused(String),
}

enum Found {
    /// What was there before.
    Same,
    /// Nothing, for now: files are replaced in several ways.
    Gone,
    /// `None`: it could not be read, and whatever can be next time is new.
    New(Option<Digest>, FileNews),
}

/// Follows a plugin's file until nobody listens any more.
pub(super) async fn follow(
    source: Source,
    file: PathBuf,
    runtime: Runtime,
    events: mpsc::Sender<Event>,
) {
    let source = Arc::new(source);
    let mut changes = Changes::of(&file);
    // A content that was tried is not tried again, until there was another one.
    let mut last = Some(source.digest);
    loop {
        changes.next().await;
        let (known, runtime) = (Arc::clone(&source), runtime.clone());
        let (path, handle) = (file.clone(), tokio::runtime::Handle::current());
        let found = tokio::task::spawn_blocking(move || {
            handle.block_on(load(&known, &path, last, &runtime))
        });
        match found.await {
            Ok(Found::Same) => {}
            Ok(Found::Gone) => debug!(plugin = source.name, "its file is gone; it goes on"),
            Ok(Found::New(digest, news)) => {
                last = digest;
                let slot = source.slot;
                if events.send(Event::File { slot, news }).await.is_err() {
                    return;
                }
            }
            Err(error) => error!(
                plugin = source.name,
                "the host failed while it loaded a new version, and the old one goes on: {}; please report this with the panic message above",
                chain(&error)
            ),
        }
    }
}

async fn load(source: &Source, path: &Path, last: Option<Digest>, runtime: &Runtime) -> Found {
    let bytes = match read_component(path) {
        Ok(bytes) => bytes,
        Err(LoadError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            return Found::Gone;
        }
        Err(error) => return Found::New(None, FileNews::Refused(chain(&error))),
    };
    let digest = Digest::of(&bytes);
    if last == Some(digest) {
        return Found::Same;
    }
    let news = match runtime.compile(&source.name, &bytes) {
        Ok(plugin) => {
            let plugin = plugin.with_sandbox(source.sandbox.clone());
            let own = source.own_namespace.as_deref();
            let (config, limits) = (&source.config, &source.limits);
            match prepare::describe(&plugin, config, limits, own, source.shard).await {
                Ok(described) => FileNews::Described(Box::new(described)),
                Err(error) => FileNews::Refused(chain(&error)),
            }
        }
        Err(error) => FileNews::Refused(chain(&error)),
    };
    Found::New(Some(digest), news)
}
