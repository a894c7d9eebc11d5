//! Objects that follow their files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use serde_json::Value;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::api::Api;
use crate::cluster::{apply, find};
use crate::delete::Preconditions;
use crate::escape::Escaped;
use crate::json;
use crate::manifests::{Identity, Manifest, ManifestError, identity, load, rank};
use crate::progress::Progress;
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
        let mut progress = Progress::start(Instant::now());
        let manifests = load(paths, &mut progress)?;
        let errors = followed.follow(api, manifests, &mut progress);
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
            tracing::warn!(error = %Escaped(error), "changes of the manifests may have been missed");
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
        let reading = tokio::task::spawn_blocking(move || {
            let mut progress = Progress::start(Instant::now());
            load(&files, &mut progress).map(|manifests| (manifests, progress))
        });
        let errors = match reading.await {
            Ok(Ok((manifests, mut progress))) => followed.follow(&api, manifests, &mut progress),
            Ok(Err(errors)) => errors,
            Err(error) => {
                tracing::error!(%error, "the manifests could not be read; the last good state stays");
                continue;
            }
        };
        for error in &errors {
            tracing::error!(
                file = %Escaped(error.file.display()),
                line = error.line,
                "{}; the last good state stays",
                Escaped(&error.message)
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
    fn follow(
        &mut self,
        api: &Api,
        manifests: Vec<Manifest>,
        progress: &mut Progress,
    ) -> Vec<ManifestError> {
        let mut errors = Vec::new();
        let mut current = BTreeMap::new();
        let mut applied = 0usize;
        let of = manifests.len();
        for (done, manifest) in manifests.into_iter().enumerate() {
            if progress.is_due(Instant::now()) {
                tracing::info!(objects = done, of, "applying the manifests");
            }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use std::io::Write;
    use std::sync::Mutex;

    use super::*;
    use crate::clock::Clock;
    use crate::state::{Caps, Store};

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What is logged while two objects are read and applied by somebody who
    /// began so long ago.
    fn logged_after(elapsed: Duration) -> String {
        let folder = tempfile::tempdir().unwrap();
        let object =
            |name| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n");
        let text = format!("{}---\n{}", object("a"), object("b"));
        std::fs::write(folder.path().join("a.yaml"), text).unwrap();
        let caps = Caps {
            events: 10,
            bytes: 1_000_000,
        };
        let store = Store::new(Clock::System, None, caps);
        let api = Api::new(store, Duration::ZERO, Duration::ZERO, String::new());
        let began = || Progress::start(Instant::now().checked_sub(elapsed).unwrap());
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .without_time()
            .with_target(false)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let manifests = load(&[folder.path().to_owned()], &mut began()).unwrap();
            let errors = Followed::default().follow(&api, manifests, &mut began());
            assert_eq!(errors, []);
        });
        let bytes = log.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn long_work_on_manifests_tells_how_far_it_is() {
        assert_eq!(
            logged_after(Duration::from_secs(1)),
            " INFO reading the manifests objects=1\n \
             INFO applying the manifests objects=0 of=2\n \
             INFO the cluster follows its manifests applied=2 removed=0\n"
        );
        assert_eq!(
            logged_after(Duration::ZERO),
            " INFO the cluster follows its manifests applied=2 removed=0\n"
        );
    }
}
