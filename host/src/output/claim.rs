//! The lock on an output directory: one host at a time, so that its staged files
//! are its own and leftovers of a killed one can be told from them. The lock is on
//! the directory itself (`flock`), leaves no file and ends with the process.

use std::{
    fs::{self, File, Metadata, TryLockError},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use super::staging::is_temporary;

/// What this process has claimed: its plugins may share a directory.
static CLAIMED: Mutex<Vec<Weak<Claim>>> = Mutex::new(Vec::new());

/// An output directory that no other process writes while this lives.
#[derive(Debug)]
pub(super) struct Claim {
    /// Holds the lock.
    _directory: File,
    /// Device and inode.
    identity: (u64, u64),
}

/// What becomes of the temporary files of killed hosts. Looking for them reads the whole
/// directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leftovers {
    Go,
    Stay,
}

/// Why a directory could not be claimed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClaimError {
    /// Another process holds it.
    #[error("another process holds it")]
    InUse,
    /// It could not be opened.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Claim {
    /// Locks the directory, and removes what a killed host has left below it if it is to go. On a
    /// file system without locks it goes on with a warning, and removes nothing.
    ///
    /// # Errors
    /// [`ClaimError`].
    pub(super) fn take(root: &Path, leftovers: Leftovers) -> Result<Arc<Self>, ClaimError> {
        let directory = File::open(root)?;
        let metadata = directory.metadata()?;
        // Held to the end: another plugin must not stage files while leftovers go.
        let mut claimed = CLAIMED.lock().unwrap_or_else(PoisonError::into_inner);
        claimed.retain(|claim| claim.strong_count() > 0);
        if let Some(claim) = claimed
            .iter()
            .filter_map(Weak::upgrade)
            .find(|claim| claim.identity == identity(&metadata))
        {
            return Ok(claim);
        }
        match directory.try_lock() {
            Ok(()) => match leftovers {
                Leftovers::Go => remove_leftovers(root, metadata.dev()),
                Leftovers::Stay => {}
            },
            Err(TryLockError::WouldBlock) => return Err(ClaimError::InUse),
            Err(TryLockError::Error(error)) => tracing::warn!(
                directory = %root.display(),
                "cannot lock the output directory, so a second host there would go unnoticed: {error}"
            ),
        }
        let claim = Arc::new(Self {
            _directory: directory,
            identity: identity(&metadata),
        });
        claimed.push(Arc::downgrade(&claim));
        Ok(claim)
    }

    /// Whether `root` still is the directory that was claimed: it may have been
    /// deleted, or another one put in its place.
    pub(super) fn is_at(&self, root: &Path) -> bool {
        fs::metadata(root).is_ok_and(|found| identity(&found) == self.identity)
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Removes temporary files at any depth of one file system; symbolic links are
/// not followed, directories of another host are left out. What cannot be read or
/// removed stays: it takes space and does no harm.
fn remove_leftovers(root: &Path, device: u64) {
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) => {
                tracing::debug!(directory = %directory.display(), "not searched for leftovers: {error}");
                continue;
            }
        };
        for entry in entries.filter_map(Result::ok) {
            let path = entry.path();
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            if metadata.is_dir() {
                let free = || File::open(&path).is_ok_and(|opened| opened.try_lock().is_ok());
                if metadata.dev() == device && free() {
                    directories.push(path);
                }
            } else if is_temporary(&entry.file_name())
                && (metadata.is_file() || metadata.is_symlink())
            {
                match fs::remove_file(&path) {
                    Ok(()) => {
                        tracing::info!(file = %path.display(), "removed a temporary file that a killed host has left");
                    }
                    Err(error) => {
                        tracing::warn!(file = %path.display(), "cannot remove a temporary file that a killed host has left: {error}");
                    }
                }
            }
        }
    }
}
