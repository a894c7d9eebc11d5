//! What is written down between a commit and the hook that it owes, so that a host
//! that is killed in between does not forget: a file in the output directory, or an
//! annotation on the object. It is put there with the commit, before the first output
//! is visible, and goes when the hook has succeeded. Whoever commits next finds it,
//! also another process.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    hash::{BuildHasher, RandomState},
    io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{ObjectSink, SinkError, claim::Leftovers, directory, staging};
use crate::plugin::OutputName;

/// The file in an output directory. Outputs cannot have this name.
const FILE: &str = ".haptic-on-output";

/// That the hook has to run, and what for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Debt {
    token: String,
    names: BTreeSet<OutputName>,
}

impl Debt {
    pub(super) fn new(token: &str, names: BTreeSet<OutputName>) -> Self {
        Self {
            token: token.to_owned(),
            names,
        }
    }

    /// What tells one commit's debt from another's.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The outputs that have changed; after a crash all that may have.
    #[must_use]
    pub fn names(&self) -> &BTreeSet<OutputName> {
        &self.names
    }

    /// Takes over what an earlier commit owed.
    pub(super) fn add(&mut self, earlier: Self) {
        self.names.extend(earlier.names);
    }
}

/// Where a debt is written down.
#[derive(Clone, Debug)]
pub enum Mark {
    /// Nowhere: standard output keeps nothing.
    Nowhere,
    /// In a file of this directory.
    File(PathBuf),
    /// On the object.
    Annotation(Box<ObjectSink>),
}

impl Mark {
    /// Takes it away after the hook has succeeded, unless a later commit has put its
    /// own there.
    ///
    /// # Errors
    /// [`SinkError`]: the hook will run once more than it had to.
    pub async fn clear(&self, token: &str) -> Result<(), SinkError> {
        match self {
            Self::Nowhere => Ok(()),
            Self::Annotation(sink) => sink.clear(token).await,
            Self::File(root) => {
                let (at, token) = (root.clone(), token.to_owned());
                let cleared = tokio::task::spawn_blocking(move || clear(&at, &token));
                cleared
                    .await
                    .unwrap_or_else(|panic| Err(error(root, io::Error::other(panic))))
            }
        }
    }
}

/// Another one each time, also in another process.
pub(super) fn token() -> String {
    format!("{:016x}", RandomState::new().hash_one(0))
}

/// What stands in the directory.
pub(super) fn read(root: &Path) -> Result<Option<String>, SinkError> {
    match fs::read_to_string(root.join(FILE)) {
        Ok(text) => Ok(Some(text.trim_end().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(error(root, source)),
    }
}

/// Between looking at a mark and removing it, nobody of this process may put another one
/// there; other processes are kept out by the lock on the directory.
static MARKS: Mutex<()> = Mutex::new(());

fn marks() -> MutexGuard<'static, ()> {
    MARKS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts it there, to stay when the machine loses its power.
pub(super) fn write(root: &Path, token: &str) -> Result<(), SinkError> {
    let _alone = marks();
    let line = format!("{token}\n");
    staging::replace(root, FILE, line.as_bytes()).map_err(|source| error(root, source))
}

fn clear(root: &Path, token: &str) -> Result<(), SinkError> {
    if !root.exists() {
        // With the directory, what it owed is gone.
        return Ok(());
    }
    // Not while another host commits.
    let _turn = directory::claim(root, Leftovers::Stay)?;
    let _alone = marks();
    if read(root)?.as_deref() != Some(token) {
        return Ok(());
    }
    fs::remove_file(root.join(FILE))
        .and_then(|()| File::open(root)?.sync_all())
        .map_err(|source| error(root, source))
}

fn error(root: &Path, source: io::Error) -> SinkError {
    SinkError::File {
        path: root.join(FILE),
        source,
    }
}
