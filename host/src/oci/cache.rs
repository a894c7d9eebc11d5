//! Owns the folder of what was pulled: files called by the digest of their content, which is
//! compared again each time that one is read. Whoever can write there can fill the disk, and
//! cannot make this host run other bytes than those that were asked for.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{Digest, OciError};

/// What the folder may hold, in bytes: four of the largest components, or fifty of Python's.
const MAX_BYTES: u64 = 1 << 30;

/// A folder of pulled manifests and components.
#[derive(Clone, Debug)]
pub(super) struct Cache {
    folder: PathBuf,
}

impl Cache {
    pub(super) fn open(folder: &Path) -> Result<Self, OciError> {
        match fs::create_dir_all(folder) {
            Ok(()) => Ok(Self {
                folder: folder.to_owned(),
            }),
            Err(source) => Err(OciError::Cache {
                path: folder.to_owned(),
                source,
            }),
        }
    }

    /// What has this digest, if it is here, no longer than `limit` and still itself. A file
    /// whose content has changed is removed.
    pub(super) fn get(&self, digest: Digest, limit: u64) -> Option<Vec<u8>> {
        let path = self.path(digest);
        match read(&path, limit) {
            // Whether it is itself cannot be told from its beginning.
            Ok(bytes) if u64::try_from(bytes.len()).is_ok_and(|found| found > limit) => None,
            Ok(bytes) if Digest::of(&bytes) == digest => {
                // What was used last is dropped last.
                if let Ok(file) = fs::File::open(&path) {
                    drop(file.set_modified(SystemTime::now()));
                }
                Some(bytes)
            }
            Ok(_) => {
                tracing::warn!(
                    file = %path.display(),
                    "is not what its name says any more: it is removed and fetched again"
                );
                drop(fs::remove_file(&path));
                None
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "cannot be read: it is fetched again");
                None
            }
        }
    }

    /// Keeps these bytes, and drops what was used longest ago if there are too many. A cache that
    /// cannot be written is no reason not to run.
    pub(super) fn put(&self, digest: Digest, bytes: &[u8]) {
        let kept = self.write(digest, bytes).and_then(|()| self.prune(digest));
        if let Err(error) = kept {
            tracing::warn!(
                folder = %self.folder.display(),
                %error,
                "what was pulled cannot be kept: it is fetched again at the next start"
            );
        }
    }

    fn path(&self, digest: Digest) -> PathBuf {
        self.folder.join(format!("sha256-{}", digest.hex()))
    }

    fn write(&self, digest: Digest, bytes: &[u8]) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        file.write_all(bytes)?;
        file.persist(self.path(digest))
            .map_err(|error| error.error)?;
        Ok(())
    }

    fn prune(&self, newest: Digest) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            // One that another process has just removed is of no interest.
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            if metadata.is_file() {
                files.push((metadata.modified()?, metadata.len(), entry.path()));
            }
        }
        files.sort();
        let mut held: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        let newest = self.path(newest);
        for (_, bytes, path) in files.iter().filter(|(_, _, path)| *path != newest) {
            if held <= MAX_BYTES {
                break;
            }
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => held -= bytes,
            }
        }
        Ok(())
    }
}

fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    // A pipe would be waited for, for ever.
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is no file"));
    }
    let mut bytes = Vec::new();
    // One more than allowed, so that a longer file does not pass for its beginning.
    fs::File::open(path)?
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn what_was_changed_in_the_cache_is_not_used_and_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        let digest = Digest::of(b"component");
        assert_eq!(cache.get(digest, 100), None);
        cache.put(digest, b"component");
        assert_eq!(cache.get(digest, 100).as_deref(), Some(&b"component"[..]));
        for forged in [&b"other"[..], b"", b"component and more"] {
            fs::write(cache.path(digest), forged).unwrap();
            assert_eq!(cache.get(digest, 100), None, "{forged:?}");
            assert!(!cache.path(digest).exists());
        }
        cache.put(digest, b"component");
        assert_eq!(cache.get(digest, 8), None, "longer than it may be");
    }

    #[test]
    fn what_is_no_file_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(&dir.path().join("cache")).unwrap();
        let digest = Digest::of(b"component");
        let elsewhere = dir.path().join("elsewhere");
        fs::write(&elsewhere, "component").unwrap();
        std::os::unix::fs::symlink(elsewhere, cache.path(digest)).unwrap();
        assert_eq!(cache.get(digest, 100), None);
        cache.put(digest, b"component");
        assert_eq!(cache.get(digest, 100).as_deref(), Some(&b"component"[..]));
    }

    #[test]
    fn a_cache_that_is_full_drops_what_was_used_longest_ago() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        let sparse = |name: &str, bytes: u64, age: u64| {
            let file = fs::File::create(cache.folder.join(name)).unwrap();
            file.set_len(bytes).unwrap();
            let age = std::time::Duration::from_secs(age);
            file.set_modified(SystemTime::now() - age).unwrap();
        };
        sparse("sha256-old", MAX_BYTES / 2, 300);
        sparse("sha256-newer", MAX_BYTES / 2, 100);
        cache.put(Digest::of(b"new"), b"new");
        let mut left: Vec<String> = fs::read_dir(&cache.folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        let mut expected = vec![
            format!("sha256-{}", Digest::of(b"new").hex()),
            "sha256-newer".to_owned(),
        ];
        expected.sort();
        assert_eq!(left, expected);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let error = Cache::open(&dir.path().join("file/below")).unwrap_err();
        assert!(error.to_string().contains("file/below"), "{error}");
    }
}
