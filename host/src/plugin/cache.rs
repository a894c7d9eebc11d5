//! The folder of compiled components (contract P4): native code, which is loaded from there
//! without further question. Owns who may write in it; what is in `compiled` is wasmtime's.

use std::{
    fs::{self, DirBuilder, Metadata},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use tracing::warn;
use wasmtime::{Cache, CacheConfig};

/// Why a folder is no cache.
#[derive(Debug, thiserror::Error)]
pub(super) enum CacheError {
    /// It cannot be made or looked at.
    #[error("it cannot be used ({0})")]
    Io(#[from] io::Error),
    /// Somebody else could put code there.
    #[error("others than this user may write in it, and what is in it is run")]
    NotPrivate,
}

/// The cache in `path`; none, and a warning, if there can be none there. A cache that can be
/// read and not written is used: an image may bring it along.
pub(super) fn open(path: &Path) -> Option<Cache> {
    let folder = private(path).and_then(|folder| {
        // Of its own: wasmtime removes what it does not know, and pulled plugins are kept here too.
        let folder = folder.join("compiled");
        make(&folder)?;
        Ok(folder)
    });
    let opened = folder.map_err(|error| error.to_string());
    let opened = opened.and_then(|folder| {
        let mut config = CacheConfig::new();
        config.with_directory(folder);
        Cache::new(config).map_err(|error| format!("it cannot be used ({error:#})"))
    });
    match opened {
        Ok(cache) => Some(cache),
        Err(why) => {
            warn!(
                cache = %path.display(),
                "plugins are compiled at every start, because of their cache: {why}; \
                 choose another with --cache-dir, or none with --no-cache"
            );
            None
        }
    }
}

/// A folder that only this user (and root) can write: `path`, or one in it that is named for
/// the user, where others can write in `path`, as in a volume of a pod.
fn private(path: &Path) -> Result<PathBuf, CacheError> {
    make(path)?;
    // A file tells which user this is; whether it can be made tells whether any can be.
    let user = match tempfile::tempfile_in(path) {
        Ok(file) => Some(file.metadata()?.uid()),
        Err(error) => {
            warn!(cache = %path.display(), "plugins that are not in their cache yet are compiled at every start: it cannot be written ({error})");
            None
        }
    };
    let is_private = |found: &Metadata| {
        let owner = found.uid();
        found.is_dir() && (owner == 0 || Some(owner) == user) && found.mode() & 0o022 == 0
    };
    if is_private(&fs::metadata(path)?) {
        return Ok(path.to_owned());
    }
    let user = user.ok_or(CacheError::NotPrivate)?;
    let own = path.join(format!("user-{user}"));
    make(&own)?;
    // Not through a link, which others could have made.
    match is_private(&fs::symlink_metadata(&own)?) {
        true => Ok(own),
        false => Err(CacheError::NotPrivate),
    }
}

fn make(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::{fs::Permissions, os::unix::fs::PermissionsExt};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn p4_a_cache_is_made_for_its_user_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        assert_eq!(private(&path).unwrap(), path);
        assert_eq!(mode(&path), 0o700);
        assert_eq!(private(&path).unwrap(), path, "and used again");
    }

    #[test]
    fn p4_where_others_may_write_the_cache_is_in_a_folder_of_the_users_own() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
        let own = private(dir.path()).unwrap();
        assert_eq!(own.parent().unwrap(), dir.path());
        assert_eq!(mode(&own), 0o700);
        // Code that others could have put there is not run.
        fs::set_permissions(&own, Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(private(dir.path()), Err(CacheError::NotPrivate)));
        fs::remove_dir(&own).unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), &own).unwrap();
        assert!(matches!(private(dir.path()), Err(CacheError::NotPrivate)));
        fs::remove_file(&own).unwrap();
    }

    #[test]
    fn p4_what_wasmtime_clears_up_is_a_folder_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let cache = open(dir.path()).unwrap();
        assert_eq!(*cache.directory(), dir.path().join("compiled"));
    }

    #[test]
    fn p4_what_is_no_folder_is_no_cache_and_no_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(open(file.path()).is_none());
        assert!(open(&file.path().join("below")).is_none());
    }
}
