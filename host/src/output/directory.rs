//! Outputs as files: written beside their place, synced, then renamed.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

use super::{Changed, SinkError};
use crate::plugin::{OutputName, Outputs};

/// What temporary files begin with: output names may not, and leftovers of a
/// killed host are removed at the next start.
const PREFIX: &str = ".haptic-";

/// Files below one directory.
#[derive(Debug)]
pub struct DirectorySink {
    root: PathBuf,
}

impl DirectorySink {
    /// Makes the directory if it is missing and tries to write into it, so that a
    /// wrong path is found at start and not at the first callback.
    ///
    /// # Errors
    /// [`SinkError::Directory`].
    pub fn open(root: &Path) -> Result<Self, SinkError> {
        let failed = |source| SinkError::Directory {
            path: root.to_owned(),
            source,
        };
        fs::create_dir_all(root).map_err(failed)?;
        for entry in fs::read_dir(root).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let stale = entry.file_name().to_string_lossy().starts_with(PREFIX);
            if stale && entry.file_type().map_err(failed)?.is_file() {
                fs::remove_file(entry.path()).map_err(failed)?;
            }
        }
        temporary(root).map_err(failed)?;
        Ok(Self {
            root: root.to_owned(),
        })
    }

    /// The directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Writes every changed output to a temporary file and syncs it; only when
    /// all are safely on disk, renames them to their places.
    ///
    /// # Errors
    /// [`SinkError`]. Before the first rename nothing has changed; each rename is
    /// atomic, so a file is the old one or the new one, never a part.
    pub fn commit(&mut self, outputs: Outputs) -> Result<Vec<Changed>, SinkError> {
        let mut staged = Vec::new();
        for (name, after) in outputs {
            let path = self.root.join(name.as_str());
            let failed = |source| SinkError::File {
                path: path.clone(),
                source,
            };
            self.refuse_symlinks(&name)?;
            let before = match fs::read(&path) {
                Ok(content) => Some(content),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(failed(error)),
            };
            if before.as_ref() == Some(&after) {
                continue;
            }
            let mut file = temporary(&self.root).map_err(failed)?;
            file.write_all(&after).map_err(failed)?;
            file.as_file().sync_all().map_err(failed)?;
            staged.push((
                file,
                path,
                Changed {
                    name,
                    before,
                    after,
                },
            ));
        }
        for (_, path, _) in &staged {
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).map_err(|source| SinkError::File {
                    path: path.clone(),
                    source,
                })?;
            }
        }
        let mut changed = Vec::with_capacity(staged.len());
        let mut parents: Vec<PathBuf> = Vec::new();
        for (file, path, change) in staged {
            file.persist(&path).map_err(|e| SinkError::File {
                path: path.clone(),
                source: e.error,
            })?;
            if let Some(parent) = path.parent()
                && !parents.iter().any(|p| p == parent)
            {
                parents.push(parent.to_owned());
            }
            changed.push(change);
        }
        for parent in parents {
            File::open(&parent)
                .and_then(|directory| directory.sync_all())
                .map_err(|source| SinkError::Directory {
                    path: parent,
                    source,
                })?;
        }
        Ok(changed)
    }

    fn refuse_symlinks(&self, name: &OutputName) -> Result<(), SinkError> {
        let mut path = self.root.clone();
        let mut parts = name.as_str().split('/').peekable();
        while let Some(part) = parts.next() {
            path.push(part);
            if parts.peek().is_some()
                && fs::symlink_metadata(&path).is_ok_and(|found| found.is_symlink())
            {
                return Err(SinkError::Symlink {
                    name: name.clone(),
                    link: path,
                });
            }
        }
        Ok(())
    }
}

/// A temporary file with the mode that a plain `create` would give: tempfile's
/// own 0600 would keep HAProxy's user from reading its configuration.
fn temporary(root: &Path) -> io::Result<NamedTempFile> {
    use std::os::unix::fs::PermissionsExt;
    tempfile::Builder::new()
        .prefix(PREFIX)
        .permissions(fs::Permissions::from_mode(0o644))
        .tempfile_in(root)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn outputs(files: &[(&str, &str)]) -> Outputs {
        files
            .iter()
            .map(|(name, text)| (OutputName::parse(name).unwrap(), text.as_bytes().to_vec()))
            .collect()
    }

    fn names(changed: &[Changed]) -> Vec<&str> {
        changed.iter().map(|c| c.name.as_str()).collect()
    }

    #[test]
    fn o2_only_changed_files_are_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let mut sink = DirectorySink::open(&dir.path().join("out")).unwrap();
        let both = outputs(&[("a.cfg", "one"), ("certs/x.pem", "pem")]);
        assert_eq!(
            names(&sink.commit(both.clone()).unwrap()),
            ["a.cfg", "certs/x.pem"]
        );
        assert_eq!(sink.commit(both).unwrap(), []);
        let changed = sink
            .commit(outputs(&[("a.cfg", "two"), ("certs/x.pem", "pem")]))
            .unwrap();
        assert_eq!(names(&changed), ["a.cfg"]);
        assert_eq!(changed[0].before.as_deref(), Some(&b"one"[..]));
        assert_eq!(
            fs::read_to_string(dir.path().join("out/a.cfg")).unwrap(),
            "two"
        );
    }

    #[test]
    fn o1_a_commit_that_fails_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut sink = DirectorySink::open(dir.path()).unwrap();
        sink.commit(outputs(&[("a", "old")])).unwrap();
        fs::create_dir(dir.path().join("b")).unwrap();
        // `b` is a directory: it cannot be read as the old content.
        assert!(sink.commit(outputs(&[("a", "new"), ("b", "x")])).is_err());
        assert_eq!(fs::read_to_string(dir.path().join("a")).unwrap(), "old");
        let left: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(left.len(), 2, "no temporary file stays: {left:?}");
    }

    #[test]
    fn o1_a_symlink_below_the_directory_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let mut sink = DirectorySink::open(dir.path()).unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join("link")).unwrap();
        let refused = sink.commit(outputs(&[("link/x", "1")]));
        assert!(
            matches!(refused, Err(SinkError::Symlink { .. })),
            "{refused:?}"
        );
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn o2_leftovers_of_a_killed_host_are_removed_at_start() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(".haptic-dead"), "half").unwrap();
        DirectorySink::open(dir.path()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_output_directory_that_is_a_file_is_refused_at_start() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(
            DirectorySink::open(&file),
            Err(SinkError::Directory { .. })
        ));
    }
}
