//! Where committed outputs go: a directory or stdout. Owns how they get there
//! whole or not at all; does not know what made them.

mod directory;
mod stdout;

use std::path::{Path, PathBuf};

pub use directory::DirectorySink;
pub use stdout::StdoutSink;

use crate::plugin::{OutputName, Outputs};

/// A place for outputs.
#[derive(Debug)]
pub enum Sink {
    /// Files below a directory.
    Directory(DirectorySink),
    /// Standard output.
    Stdout(StdoutSink),
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
    /// Standard output is closed or full.
    #[error("cannot write to standard output")]
    Stdout(#[source] std::io::Error),
}

/// One output whose content changed with a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Its name.
    pub name: OutputName,
    /// What stood there before; `None`: nothing.
    pub before: Option<Vec<u8>>,
    /// What stands there now.
    pub after: Vec<u8>,
}

impl Sink {
    /// `-` is stdout, anything else a directory, which is made and tried at once.
    ///
    /// # Errors
    /// [`SinkError::Directory`] when it cannot be written.
    pub fn open(target: &Path) -> Result<Self, SinkError> {
        if target == Path::new("-") {
            Ok(Self::Stdout(StdoutSink::default()))
        } else {
            DirectorySink::open(target).map(Self::Directory)
        }
    }

    /// Commits the outputs of one callback: those whose content differs from
    /// what is there are replaced, the others are left alone (contract O2).
    /// Answers what changed, by name.
    ///
    /// # Errors
    /// [`SinkError`].
    pub fn commit(&mut self, outputs: Outputs) -> Result<Vec<Changed>, SinkError> {
        match self {
            Self::Directory(sink) => sink.commit(outputs),
            Self::Stdout(sink) => sink.commit(outputs),
        }
    }
}
