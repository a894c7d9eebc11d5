//! One commit on its way into a directory: staged beside its places, then renamed
//! into them, and taken back when a rename fails.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs::{self, File, FileType, Metadata, Permissions},
    io::{self, Write},
    mem,
    os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown, symlink},
    path::{Path, PathBuf},
};

use tempfile::TempPath;

use super::{Changed, NotRestored, SinkError};
use crate::plugin::{OutputName, Outputs};

/// What temporary files begin with; output names may not.
const PREFIX: &str = ".haptic-tmp-";
/// Random ASCII letters and digits after [`PREFIX`], and nothing else.
const RANDOM: usize = 16;

/// Whether a file of this name can only be a temporary file of a host.
pub(super) fn is_temporary(name: &OsStr) -> bool {
    name.as_encoded_bytes()
        .strip_prefix(PREFIX.as_bytes())
        .is_some_and(|rest| rest.len() == RANDOM && rest.iter().all(u8::is_ascii_alphanumeric))
}

/// Tries whether files can be made in a directory.
pub(super) fn probe(directory: &Path) -> io::Result<()> {
    temporary(directory, b"", None).map(drop)
}

/// Puts a small file of the host's own in its place, whole or not at all, and syncs
/// both it and the directory.
pub(super) fn replace(directory: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    temporary(directory, content, None)?
        .persist(directory.join(name))
        .map_err(|failed| failed.error)?;
    File::open(directory)?.sync_all()
}

/// What something in a directory is, for a message.
pub(super) fn kind(found: FileType) -> &'static str {
    if found.is_dir() {
        "a directory"
    } else if found.is_symlink() {
        "a symbolic link"
    } else if found.is_fifo() {
        "a FIFO"
    } else if found.is_socket() {
        "a socket"
    } else if found.is_file() {
        "a regular file"
    } else {
        "a device"
    }
}

/// Outputs on disk in their directories, under temporary names. Dropped without
/// [`Staging::place`], it removes them and the directories that it made.
#[derive(Debug, Default)]
pub(super) struct Staging {
    files: Vec<(TempPath, Output)>,
    made: MadeDirectories,
}

/// An output and its place.
#[derive(Debug)]
struct Output {
    name: OutputName,
    directory: PathBuf,
    path: PathBuf,
    before: Before,
    after: Vec<u8>,
}

/// What stood in an output's place.
#[derive(Debug)]
enum Before {
    Nothing,
    File {
        content: Vec<u8>,
        metadata: Metadata,
    },
    /// A symbolic link, which is replaced and never read through.
    Link(PathBuf),
}

impl Staging {
    /// Writes and syncs the outputs whose content differs from what is there.
    ///
    /// # Errors
    /// [`SinkError`]: nothing has changed.
    pub(super) fn write(root: &Path, outputs: Outputs) -> Result<Self, SinkError> {
        let mut staging = Self::default();
        for (name, after) in outputs {
            let (parents, file) = name
                .as_str()
                .rsplit_once('/')
                .unwrap_or(("", name.as_str()));
            let directory = staging.made.make(root, parents, &name)?;
            let path = directory.join(file);
            let before = Before::look(&name, &path)?;
            let metadata = match &before {
                Before::File { content, .. } if *content == after => continue,
                Before::File { metadata, .. } => Some(metadata),
                Before::Nothing | Before::Link(_) => None,
            };
            let file = temporary(&directory, &after, metadata)
                .map_err(|source| file_error(&path, source))?;
            staging.files.push((
                file,
                Output {
                    name,
                    directory,
                    path,
                    before,
                    after,
                },
            ));
        }
        Ok(staging)
    }

    /// Whether nothing differs from what is there.
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Renames everything to its place.
    ///
    /// # Errors
    /// [`SinkError::File`]: everything is as it was. [`SinkError::Partial`]: it is
    /// not, and could not be taken back.
    pub(super) fn place(mut self) -> Result<Vec<Changed>, SinkError> {
        let mut placed = Vec::with_capacity(self.files.len());
        let mut directories: BTreeSet<PathBuf> = self.made.parents();
        for (file, output) in mem::take(&mut self.files) {
            if let Err(error) = file.persist(&output.path) {
                return Err(undo(&placed, &output.path, error.error));
            }
            directories.insert(output.directory.clone());
            placed.push(output);
        }
        for directory in directories {
            if let Err(error) = File::open(&directory).and_then(|opened| opened.sync_all()) {
                return Err(undo(&placed, &directory, error));
            }
        }
        self.made.keep();
        Ok(placed
            .into_iter()
            .map(|output| Changed {
                name: output.name,
                before: match output.before {
                    Before::File { content, .. } => Some(content),
                    Before::Nothing | Before::Link(_) => None,
                },
                after: output.after,
            })
            .collect())
    }
}

impl Before {
    fn look(name: &OutputName, path: &Path) -> Result<Self, SinkError> {
        let failed = |source| file_error(path, source);
        let metadata = match fs::symlink_metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::Nothing),
            Err(error) => return Err(failed(error)),
        };
        if metadata.is_symlink() {
            return fs::read_link(path).map(Self::Link).map_err(failed);
        }
        if !metadata.is_file() {
            // Reading a FIFO would wait for a writer, for ever.
            return Err(SinkError::InTheWay {
                name: name.clone(),
                path: path.to_owned(),
                found: kind(metadata.file_type()),
                needed: "regular file",
            });
        }
        let content = fs::read(path).map_err(failed)?;
        Ok(Self::File { content, metadata })
    }
}

/// Directories that a commit has made; dropped, it removes those that are empty.
#[derive(Debug, Default)]
struct MadeDirectories(Vec<PathBuf>);

impl MadeDirectories {
    /// Answers the directory `parents` below `root`, made where it is missing.
    fn make(
        &mut self,
        root: &Path,
        parents: &str,
        name: &OutputName,
    ) -> Result<PathBuf, SinkError> {
        let mut path = root.to_owned();
        for part in parents.split('/').filter(|part| !part.is_empty()) {
            path.push(part);
            match fs::symlink_metadata(&path) {
                Ok(found) if found.is_dir() => {}
                Ok(found) if found.is_symlink() => {
                    return Err(SinkError::Symlink {
                        name: name.clone(),
                        link: path,
                    });
                }
                Ok(found) => {
                    return Err(SinkError::InTheWay {
                        name: name.clone(),
                        path,
                        found: kind(found.file_type()),
                        needed: "directory",
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    fs::create_dir(&path).map_err(|source| file_error(&path, source))?;
                    self.0.push(path.clone());
                }
                Err(error) => return Err(file_error(&path, error)),
            }
        }
        Ok(path)
    }

    /// Directories that have a new entry.
    fn parents(&self) -> BTreeSet<PathBuf> {
        self.0
            .iter()
            .filter_map(|made| made.parent().map(Path::to_owned))
            .collect()
    }

    fn keep(&mut self) {
        self.0.clear();
    }
}

impl Drop for MadeDirectories {
    fn drop(&mut self) {
        for made in self.0.iter().rev() {
            if let Err(error) = fs::remove_dir(made) {
                tracing::debug!(directory = %made.display(), "an unused directory stays: {error}");
            }
        }
    }
}

/// Takes back what was placed, and says why.
fn undo(placed: &[Output], path: &Path, source: io::Error) -> SinkError {
    let replaced = roll_back(placed);
    if replaced.is_empty() {
        return file_error(path, source);
    }
    SinkError::Partial {
        path: path.to_owned(),
        replaced,
        source,
    }
}

/// Answers what could not be restored.
fn roll_back(placed: &[Output]) -> Vec<NotRestored> {
    placed
        .iter()
        .rev()
        .filter_map(|output| {
            let error = restore(output).err()?;
            Some(NotRestored {
                path: output.path.clone(),
                reason: error,
            })
        })
        .collect()
}

fn restore(output: &Output) -> io::Result<()> {
    let old = match &output.before {
        Before::Nothing => {
            return match fs::remove_file(&output.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        Before::File { content, metadata } => {
            temporary(&output.directory, content, Some(metadata))?
        }
        Before::Link(target) => builder()
            .make_in(&output.directory, |path| symlink(target, path))?
            .into_temp_path(),
    };
    old.persist(&output.path).map_err(|failed| failed.error)
}

/// A synced temporary file. With the metadata of the file that it is to replace it
/// gets that one's mode and, if the process may, its owner and group; else what a
/// plain `create` gives: 0666 less the umask.
fn temporary(
    directory: &Path,
    content: &[u8],
    replaced: Option<&Metadata>,
) -> io::Result<TempPath> {
    // What replaces a file is its user's alone until the mode is set.
    let mode = if replaced.is_some() { 0o600 } else { 0o666 };
    // Not `tempfile_in`: its errors show the temporary path.
    let mut file = builder().make_in(directory, |path| {
        File::options()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(path)
    })?;
    file.as_file_mut().write_all(content)?;
    if let Some(replaced) = replaced {
        keep_owner(file.as_file(), replaced)?;
        // Without set-user-ID and the like: the content is a plugin's.
        let mode = replaced.mode() & 0o777;
        file.as_file()
            .set_permissions(Permissions::from_mode(mode))?;
    }
    file.as_file().sync_all()?;
    Ok(file.into_temp_path())
}

fn keep_owner(file: &File, replaced: &Metadata) -> io::Result<()> {
    let own = file.metadata()?;
    // Each for itself: users may give a file to their groups, not to other users.
    for (differs, user, group) in [
        (own.gid() != replaced.gid(), None, Some(replaced.gid())),
        (own.uid() != replaced.uid(), Some(replaced.uid()), None),
    ] {
        if differs && let Err(error) = fchown(file, user, group) {
            tracing::debug!("an output's owner or group could not be kept: {error}");
        }
    }
    Ok(())
}

fn builder() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(PREFIX).rand_bytes(RANDOM);
    builder
}

fn file_error(path: &Path, source: io::Error) -> SinkError {
    SinkError::File {
        path: path.to_owned(),
        source,
    }
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

    /// Names and contents below a directory; links with their targets.
    fn tree(root: &Path) -> Vec<String> {
        let mut found = Vec::new();
        let mut directories = vec![root.to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                let kind = fs::symlink_metadata(&path).unwrap().file_type();
                let shown = path.strip_prefix(root).unwrap().display().to_string();
                if kind.is_dir() {
                    found.push(format!("{shown}/"));
                    directories.push(path);
                } else if kind.is_symlink() {
                    found.push(format!("{shown} -> {:?}", fs::read_link(&path).unwrap()));
                } else {
                    found.push(format!("{shown}: {}", fs::read_to_string(&path).unwrap()));
                }
            }
        }
        found.sort();
        found
    }

    #[test]
    fn o1_a_rename_that_fails_takes_back_those_before_it() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), "old").unwrap();
        fs::set_permissions(dir.path().join("a"), Permissions::from_mode(0o640)).unwrap();
        symlink("nowhere", dir.path().join("b")).unwrap();
        let new = [("a", "new"), ("b", "new"), ("c/c", "new"), ("d", "new")];
        let staging = Staging::write(dir.path(), outputs(&new)).unwrap();
        // After everything was staged, a directory appears where a file goes.
        fs::create_dir(dir.path().join("d")).unwrap();
        let error = staging.place().unwrap_err();
        assert!(matches!(&error, SinkError::File { path, .. } if path.ends_with("d")));
        assert_eq!(tree(dir.path()), ["a: old", "b -> \"nowhere\"", "d/"]);
        let mode = fs::metadata(dir.path().join("a")).unwrap().mode();
        assert_eq!(mode & 0o777, 0o640);
    }

    #[test]
    fn o1_files_that_cannot_be_taken_back_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let gone = dir.path().join("gone");
        fs::create_dir(&gone).unwrap();
        fs::write(gone.join("a"), "old").unwrap();
        let staging =
            Staging::write(dir.path(), outputs(&[("gone/a", "new"), ("b", "new")])).unwrap();
        let placed: Vec<Output> = staging
            .files
            .into_iter()
            .map(|(file, output)| {
                file.persist(&output.path).unwrap();
                output
            })
            .collect();
        fs::rename(&gone, dir.path().join("elsewhere")).unwrap();
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let error = undo(&placed, Path::new("c"), full);
        let text = error.to_string();
        assert!(matches!(error, SinkError::Partial { .. }), "{text}");
        assert!(text.contains("gone/a (No such file"), "{text}");
        assert!(!text.contains(PREFIX), "{text}");
        assert_eq!(tree(dir.path()), ["elsewhere/", "elsewhere/a: new"]);
    }
}
