//! Where committed outputs go: a directory, stdout, or an object of the cluster.
//! Owns how they get there whole or not at all, and the command that is told of it
//! ([`hook`]); does not know what made them.
//!
//! A file that is replaced keeps its mode; a new one gets what a plain `create`
//! gives (0666 less the umask, so 0644 as a rule). Outputs with secrets, such as
//! private keys, should therefore go to a directory that only their reader may
//! enter (`chmod 700`), or be written under a umask that leaves others nothing.

mod claim;
mod directory;
pub mod hook;
mod mark;
mod object;
mod staging;
mod stdout;
mod target;

use std::path::PathBuf;

use kube::Client;

pub use directory::DirectorySink;
pub use mark::{Debt, Mark};
pub use object::{KeyError, ObjectError, ObjectSink, Owned};
pub use stdout::StdoutSink;
pub(crate) use target::filled;
pub use target::{ObjectKind, ObjectTarget, OutputTarget, TargetError};

use crate::{
    leader::{Commit, Tenure},
    plugin::{OutputName, Outputs},
};

/// How a host shares its output directories with other processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occupancy {
    /// The directory is its own until the sink is dropped: a second host is refused at start.
    Alone,
    /// The directory is its own while it commits. For hosts of which one leads: those that follow
    /// must start too, and one that is paused must not keep the next leader out.
    InTurns,
}

/// A place for outputs.
#[derive(Debug)]
pub enum Sink {
    /// Files below a directory.
    Directory(DirectorySink),
    /// Standard output.
    Stdout(StdoutSink),
    /// Keys of a ConfigMap or a Secret.
    Object(ObjectSink),
}

/// How a place for outputs is opened.
#[derive(Clone, Copy)]
pub struct SinkOptions<'a> {
    /// How a directory is shared.
    pub occupancy: Occupancy,
    /// The cluster, for objects.
    pub client: &'a Client,
    /// Take keys of an object over from other field managers.
    pub force_conflicts: bool,
    /// A command runs after commits, and what a commit owes it has to be remembered.
    pub hooked: bool,
}

/// A commit that is in its place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// What changed, by name.
    pub changed: Vec<Changed>,
    /// That the hook has to run: after a change, or because it has not succeeded since
    /// an earlier one, perhaps of another process.
    pub debt: Option<Debt>,
}

/// Why a sink could not take outputs. Nothing of the commit is visible then,
/// unless the error says otherwise; the same commit may be tried again.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The directory cannot be made or written.
    #[error("cannot write output directory {}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another process holds the directory's lock.
    #[error(
        "output directory {} is in use: another host writes there; stop it, or choose another directory", path.display()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// One file could not be written.
    #[error("cannot write output {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A part of the output's path is a symbolic link.
    #[error(
        "cannot write output {name}: {} is a symbolic link, which could lead out of the output directory", link.display()
    )]
    Symlink {
        /// The output.
        name: OutputName,
        /// The link.
        link: PathBuf,
    },
    /// Something stands where a file or a directory has to go.
    #[error("cannot write output {name}: {} is {found}, no {needed}", path.display())]
    InTheWay {
        /// The output.
        name: OutputName,
        /// What is in the way.
        path: PathBuf,
        /// What it is, with its article.
        found: &'static str,
        /// What it would have to be.
        needed: &'static str,
    },
    /// A rename failed, and those before it could not all be taken back: the one
    /// case in which a part of a commit is visible.
    #[error(
        "cannot write output {}, and these files could not be set back to what they were: {}",
        path.display(),
        list(replaced)
    )]
    Partial {
        /// The file.
        path: PathBuf,
        /// What already has its new content.
        replaced: Vec<NotRestored>,
        /// Why.
        source: std::io::Error,
    },
    /// The callback began while this process led, and that is over. What it wrote is dropped.
    #[error("this process does not lead any more")]
    NotLeading,
    /// Standard output is closed or full.
    #[error("cannot write to standard output")]
    Stdout(#[source] std::io::Error),
    /// A ConfigMap or a Secret could not be written.
    #[error("cannot write {object}")]
    Object {
        /// Which.
        object: ObjectTarget,
        /// Why.
        source: Box<ObjectError>,
    },
}

impl SinkError {
    /// Whether the cluster failed, and not the outputs or the configuration (contract O3).
    #[must_use]
    pub fn is_of_the_cluster(&self) -> bool {
        match self {
            Self::Object { source, .. } => source.is_of_the_cluster(),
            Self::Directory { .. }
            | Self::InUse { .. }
            | Self::File { .. }
            | Self::Symlink { .. }
            | Self::InTheWay { .. }
            | Self::Partial { .. }
            | Self::NotLeading
            | Self::Stdout(_) => false,
        }
    }
}

/// A file that has its new content although its commit failed.
#[derive(Debug)]
pub struct NotRestored {
    /// The file.
    pub path: PathBuf,
    /// Why it could not be set back.
    pub reason: std::io::Error,
}

/// The last question before the first change that others can see. The answer is held until
/// all of them are made.
fn begin(tenure: Option<&Tenure>) -> Result<Option<Commit<'_>>, SinkError> {
    tenure
        .map(|tenure| tenure.begin_commit().ok_or(SinkError::NotLeading))
        .transpose()
}

fn list(replaced: &[NotRestored]) -> String {
    let texts: Vec<String> = replaced
        .iter()
        .map(|file| format!("{} ({})", file.path.display(), file.reason))
        .collect();
    texts.join(", ")
}

/// One output whose content changed with a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Its name.
    pub name: OutputName,
    /// What stood there before; `None`: nothing, or a symbolic link.
    pub before: Option<Vec<u8>>,
    /// What stands there now.
    pub after: Vec<u8>,
}

impl Sink {
    /// A directory is made and tried at once; of an object nothing is asked before the
    /// first commit. One without a namespace is in `default`: see
    /// [`OutputTarget::in_namespace`].
    ///
    /// # Errors
    /// [`SinkError::Directory`] when it cannot be written, [`SinkError::InUse`] when
    /// another host writes there.
    pub fn open(target: &OutputTarget, options: SinkOptions<'_>) -> Result<Self, SinkError> {
        let hooked = options.hooked;
        match target {
            OutputTarget::Directory(root) => {
                DirectorySink::open(root, options.occupancy, hooked).map(Self::Directory)
            }
            OutputTarget::Stdout => Ok(Self::Stdout(StdoutSink::new(hooked))),
            OutputTarget::Object(object) => Ok(Self::Object(ObjectSink::new(
                options.client.clone(),
                object.clone(),
                options.force_conflicts,
                hooked,
            ))),
        }
    }

    /// Where it is written down that the hook has to run.
    #[must_use]
    pub fn mark(&self) -> Mark {
        match self {
            Self::Directory(sink) => sink.mark(),
            Self::Stdout(_) => Mark::Nowhere,
            Self::Object(sink) => Mark::Annotation(Box::new(sink.clone())),
        }
    }

    /// Commits the outputs of one callback: those whose content differs from
    /// what is there are replaced, the others are left alone (contract O2).
    /// With a `tenure`, only if it lasts at the moment at which the first of them
    /// becomes visible (contract L3). Files are written on the calling thread.
    ///
    /// # Errors
    /// [`SinkError`].
    pub async fn commit(
        &mut self,
        outputs: Outputs,
        tenure: Option<&Tenure>,
    ) -> Result<Committed, SinkError> {
        if tenure.is_some_and(|tenure| !tenure.lasts()) {
            return Err(SinkError::NotLeading);
        }
        match self {
            Self::Directory(sink) => sink.commit(outputs, tenure),
            Self::Stdout(sink) => sink.commit(outputs, tenure),
            Self::Object(sink) => sink.commit(outputs, tenure).await,
        }
    }
}
