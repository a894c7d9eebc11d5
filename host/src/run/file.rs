//! Notices that a file has another content, however it got there: written in place,
//! replaced by a rename, or by way of a symbolic link, as Kubernetes updates mounted
//! ConfigMaps. Does not read it.

use std::{
    fs::Metadata,
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tracing::debug;

/// A file that has not changed for so long is whole: compilers and copies write on within
/// milliseconds. One that is slower is tried half-written, refused, and tried again.
const QUIET: Duration = Duration::from_millis(200);

/// How often a file is looked at when nothing was heard of it: links elsewhere on its way,
/// network file systems and a kernel that is out of watches give no notice. It is one
/// system call.
const LOOK: Duration = Duration::from_secs(2);

/// The changes of one file.
pub(super) struct Changes {
    path: PathBuf,
    heard: Arc<Notify>,
    /// As it was when [`Changes::next`] answered last.
    seen: Option<Stamp>,
    _watcher: Option<RecommendedWatcher>,
}

/// What tells two contents of a path apart without reading them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    async fn of(path: &Path) -> io::Result<Self> {
        tokio::fs::metadata(path)
            .await
            .map(|found| Self::new(&found))
    }

    fn new(found: &Metadata) -> Self {
        Self {
            file: (found.dev(), found.ino()),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }
}

impl Changes {
    /// The first is what is there now.
    pub(super) fn of(path: &Path) -> Self {
        let heard = Arc::new(Notify::new());
        heard.notify_one();
        let watcher = watch(path, &heard);
        if let Err(error) = &watcher {
            debug!(file = %path.display(), %error, "looked at every {LOOK:?} only");
        }
        Self {
            path: path.to_owned(),
            heard,
            seen: None,
            _watcher: watcher.ok(),
        }
    }

    /// Waits until the file is another one than at the last answer, and rests.
    pub(super) async fn next(&mut self) {
        loop {
            let heard = self.heard.notified();
            // Nothing heard is as good: it is looked at anyway.
            drop(tokio::time::timeout(LOOK, heard).await);
            if let Some(stamp) = self.at_rest().await
                && self.seen != Some(stamp)
            {
                self.seen = Some(stamp);
                return;
            }
        }
    }

    /// The file when it has not changed for a while; `None`: it is as it was, or gone.
    async fn at_rest(&self) -> Option<Stamp> {
        let mut stamp = Stamp::of(&self.path).await.ok()?;
        if self.seen == Some(stamp) {
            return None;
        }
        loop {
            tokio::time::sleep(QUIET).await;
            let now = Stamp::of(&self.path).await.ok()?;
            if now == stamp {
                return Some(stamp);
            }
            stamp = now;
        }
    }
}

/// Has the folder watched: the file in it is replaced, and so are links.
fn watch(path: &Path, heard: &Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let heard = Arc::clone(heard);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        match event {
            // Reading the file is an event too.
            Ok(event) if matches!(event.kind, EventKind::Access(_)) => {}
            Ok(_) | Err(_) => heard.notify_one(),
        }
    })?;
    let parent = path.parent().filter(|parent| *parent != Path::new(""));
    watcher.watch(
        parent.unwrap_or(Path::new(".")),
        RecursiveMode::NonRecursive,
    )?;
    Ok(watcher)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    /// Far more than it takes on a loaded machine.
    const PATIENCE: Duration = Duration::from_secs(60);

    async fn change(changes: &mut Changes) {
        tokio::time::timeout(PATIENCE, changes.next())
            .await
            .expect("no change was noticed");
    }

    #[tokio::test]
    async fn p3_a_file_that_is_written_in_place_renamed_over_or_linked_anew_has_changed() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("plugin.wasm"), "one").unwrap();
        let mut changes = Changes::of(&at("plugin.wasm"));
        change(&mut changes).await;
        fs::write(at("plugin.wasm"), "two").unwrap();
        change(&mut changes).await;
        fs::write(at("temporary"), "six").unwrap();
        fs::rename(at("temporary"), at("plugin.wasm")).unwrap();
        change(&mut changes).await;
        fs::remove_file(at("plugin.wasm")).unwrap();
        fs::write(at("plugin.wasm"), "ten").unwrap();
        change(&mut changes).await;
    }

    #[tokio::test]
    async fn p3_a_mounted_configmap_that_is_updated_has_changed() {
        // As the kubelet does: ..data is a link to a folder of its time, and replaced whole.
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for (time, text) in [("..1", "one"), ("..2", "two")] {
            fs::create_dir(at(time)).unwrap();
            fs::write(at(time).join("plugin.wasm"), text).unwrap();
        }
        symlink("..1", at("..data")).unwrap();
        symlink("..data/plugin.wasm", at("plugin.wasm")).unwrap();
        let mut changes = Changes::of(&at("plugin.wasm"));
        change(&mut changes).await;
        symlink("..2", at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        change(&mut changes).await;
    }

    #[tokio::test(start_paused = true)]
    async fn p3_a_link_elsewhere_on_the_way_is_found_by_looking() {
        let dir = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let there = |name: &str| elsewhere.path().join(name);
        fs::write(there("one"), "one").unwrap();
        fs::write(there("two"), "two").unwrap();
        symlink(there("one"), there("current")).unwrap();
        let path = dir.path().join("plugin.wasm");
        symlink(there("current"), &path).unwrap();
        let mut changes = Changes::of(&path);
        change(&mut changes).await;
        symlink(there("two"), there("next")).unwrap();
        fs::rename(there("next"), there("current")).unwrap();
        change(&mut changes).await;
    }

    #[tokio::test(start_paused = true)]
    async fn p3_a_file_that_rests_or_is_gone_has_not_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plugin.wasm");
        fs::write(&path, "one").unwrap();
        let mut changes = Changes::of(&path);
        change(&mut changes).await;
        let mut unchanged = async |why: &str| {
            let waited = tokio::time::timeout(10 * LOOK, changes.next()).await;
            assert!(waited.is_err(), "{why}");
        };
        unchanged("it rests").await;
        fs::remove_file(&path).unwrap();
        unchanged("it is gone").await;
        fs::create_dir(dir.path().join("other")).unwrap();
        unchanged("another one came").await;
    }
}
