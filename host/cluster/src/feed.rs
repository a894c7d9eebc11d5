//! Objects that follow their files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use serde_json::Value;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::api::Api;
use crate::cluster::{apply, find};
use crate::delete::Preconditions;
use crate::json;
use crate::manifests::{Identity, Manifest, ManifestError, identity, load_manifests, rank};
use crate::status::ApiError;

/// An editor's save is several events; a build tool writes file after file.
const QUIET: Duration = Duration::from_millis(100);

/// Files that never rest are read at least this often.
const PATIENCE: Duration = Duration::from_secs(1);

/// Keeps the objects of a [`Cluster`](crate::Cluster) in step with files, as
/// long as it lives. Dropping it leaves the objects as they are.
#[derive(Debug)]
pub struct Feed {
    _watcher: RecommendedWatcher,
    follower: JoinHandle<()>,
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

impl Feed {
    pub(crate) fn start(api: &Arc<Api>, paths: &[PathBuf]) -> Result<Self, Vec<ManifestError>> {
        let wake = Arc::new(Notify::new());
        // The watch begins before the files are read, so that no edit is missed.
        let watcher = watch(paths, &wake)?;
        let mut followed = Followed::default();
        let errors = followed.follow(api, load_manifests(paths)?);
        if !errors.is_empty() {
            return Err(errors);
        }
        let follower = tokio::spawn(follow(Arc::clone(api), paths.to_vec(), wake, followed));
        Ok(Self {
            _watcher: watcher,
            follower,
        })
    }
}

fn watch(paths: &[PathBuf], wake: &Arc<Notify>) -> Result<RecommendedWatcher, Vec<ManifestError>> {
    let failed = |file: &Path, error: notify::Error| {
        vec![ManifestError {
            file: file.to_owned(),
            line: None,
            message: format!("changes cannot be followed: {error}"),
        }]
    };
    let wake = Arc::clone(wake);
    let handler = move |event: notify::Result<notify::Event>| match event {
        // Reading the files is an event too.
        Ok(event) if matches!(event.kind, EventKind::Access(_)) => {}
        Ok(_) => wake.notify_one(),
        Err(error) => {
            tracing::warn!(%error, "changes of the manifests may have been missed");
            wake.notify_one();
        }
    };
    let first = paths.first().map_or(Path::new(""), PathBuf::as_path);
    let mut watcher = notify::recommended_watcher(handler).map_err(|error| failed(first, error))?;
    for path in paths {
        // Editors replace files, so a file is watched through its folder.
        let (target, mode) = if path.is_dir() {
            (path.as_path(), RecursiveMode::Recursive)
        } else {
            let parent = path
                .parent()
                .filter(|parent| !parent.as_os_str().is_empty());
            (
                parent.unwrap_or(Path::new(".")),
                RecursiveMode::NonRecursive,
            )
        };
        if target.exists() {
            watcher
                .watch(target, mode)
                .map_err(|error| failed(path, error))?;
        }
    }
    Ok(watcher)
}

async fn follow(api: Arc<Api>, paths: Vec<PathBuf>, wake: Arc<Notify>, mut followed: Followed) {
    loop {
        wake.notified().await;
        let settled = async { while tokio::time::timeout(QUIET, wake.notified()).await.is_ok() {} };
        if tokio::time::timeout(PATIENCE, settled).await.is_err() {
            tracing::debug!("the manifests keep changing");
        }
        let files = paths.clone();
        let errors = match tokio::task::spawn_blocking(move || load_manifests(&files)).await {
            Ok(Ok(manifests)) => followed.follow(&api, manifests),
            Ok(Err(errors)) => errors,
            Err(error) => {
                tracing::error!(%error, "the manifests could not be read; the last good state stays");
                continue;
            }
        };
        for error in &errors {
            tracing::error!(
                file = %error.file.display(),
                line = error.line,
                "{}; the last good state stays",
                error.message
            );
        }
    }
}

/// What the files said when they were last read.
#[derive(Debug, Default)]
struct Followed {
    known: BTreeMap<Identity, Value>,
}

impl Followed {
    /// Brings the cluster from the last state of the files to this one.
    fn follow(&mut self, api: &Api, manifests: Vec<Manifest>) -> Vec<ManifestError> {
        let mut errors = Vec::new();
        let mut current = BTreeMap::new();
        let mut applied = 0usize;
        for manifest in manifests {
            let store = &mut *api.store();
            let (api_version, kind) = (
                json::text(&manifest.value, &["apiVersion"]),
                json::text(&manifest.value, &["kind"]),
            );
            // Definitions come first, so the kind is served by now.
            let identity =
                find(store, api_version, kind).map(|resource| identity(&resource, &manifest.value));
            let outcome = identity.and_then(|identity| {
                let known = self.known.get(&identity);
                let result = if known == Some(&manifest.value) {
                    Ok(())
                } else {
                    applied += 1;
                    apply(store, &manifest.value).map(|_| ())
                };
                let kept = match result {
                    Ok(()) => Some(manifest.value.clone()),
                    // The next change of the files tries again.
                    Err(_) => Some(known.cloned().unwrap_or_default()),
                };
                current.extend(kept.map(|value| (identity, value)));
                result
            });
            if let Err(error) = outcome {
                errors.push(ManifestError {
                    file: manifest.file,
                    line: Some(manifest.line),
                    message: format!("the server refuses the object: {error}"),
                });
            }
        }
        let gone: Vec<(Identity, Value)> = std::mem::take(&mut self.known)
            .into_iter()
            .filter(|(identity, _)| !current.contains_key(identity))
            .collect();
        let removed = gone.len();
        self.remove(api, gone, &current);
        self.known = current;
        if applied + removed > 0 {
            tracing::info!(applied, removed, "the cluster follows its manifests");
        }
        errors
    }

    /// Deletes what no file mentions any more: definitions and namespaces last.
    fn remove(
        &self,
        api: &Api,
        mut gone: Vec<(Identity, Value)>,
        current: &BTreeMap<Identity, Value>,
    ) {
        gone.sort_by_key(|(_, value)| std::cmp::Reverse(rank(value)));
        for ((_, _, namespace, name), value) in gone {
            let (api_version, kind) = (
                json::text(&value, &["apiVersion"]),
                json::text(&value, &["kind"]),
            );
            let still_used =
                kind == "Namespace" && current.keys().any(|(_, _, used, _)| *used == name);
            if still_used {
                continue;
            }
            let store = &mut *api.store();
            let deleted = find(store, api_version, kind).and_then(|resource| {
                store.delete(
                    &resource,
                    &namespace,
                    &name,
                    &Preconditions::default(),
                    false,
                )
            });
            match deleted {
                Ok(_) => {}
                // Somebody else was faster, or a namespace took it along.
                Err(ApiError { code: 404, .. }) => {}
                Err(error) => {
                    tracing::error!(kind, namespace, name, %error, "an object could not be deleted")
                }
            }
        }
    }
}
