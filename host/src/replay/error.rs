//! Why a replay ended other than well, and the exit code that says so.

use crate::record::ReadError;

/// Why a replay ended other than well.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplayError {
    /// The recording cannot be read (2).
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Plugins watch what was not recorded (2).
    #[error(
        "the recording does not hold what plugins watch:{}\nit holds:{}",
        lines(missing),
        lines(held)
    )]
    Missing {
        /// Each with its plugin.
        missing: Vec<String>,
        /// What there is instead.
        held: Vec<String>,
    },
    /// Callbacks failed (1).
    #[error("{failures} of {callbacks} callbacks failed")]
    Failed {
        /// How many.
        failures: u64,
        /// Of all.
        callbacks: u64,
    },
    /// It ends too early for a plugin to have been told anything (3).
    #[error("the recording ends before it holds everything of:{}", lines(.0))]
    NotSynced(Vec<String>),
}

fn lines(texts: &[String]) -> String {
    texts.iter().map(|text| format!("\n  {text}")).collect()
}

impl ReplayError {
    /// The process's exit code (contract O3).
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Failed { .. } => 1,
            Self::Read(_) | Self::Missing { .. } => 2,
            Self::NotSynced(_) => 3,
        }
    }
}
