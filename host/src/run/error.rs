//! Why a run ended other than as asked, and the exit code that says so.

use std::time::Duration;

use crate::{
    chain::chain,
    leader::LeaseConfigErrors,
    output::{SinkError, hook::HookError},
    plugin::CallError,
    record::RecordError,
    worker::WorkError,
};

/// Why a run ended other than as asked. The exit code follows from the variant
/// (contract O3).
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A plugin failed (1).
    #[error("plugin {plugin} failed")]
    Plugin {
        /// Its name.
        plugin: String,
        /// How.
        source: CallError,
    },
    /// A plugin failed again and again, and the host is to end then (1).
    #[error(
        "plugin {plugin} is given up (failures in a row: {failures}), and --on-failure is `exit`"
    )]
    GivenUp {
        /// Its name.
        plugin: String,
        /// How many.
        failures: u32,
        /// The last of them.
        source: WorkError,
    },
    /// A plugin refused its settings (2).
    #[error("plugin {plugin} does not accept its settings: {message}")]
    Settings {
        /// Its name.
        plugin: String,
        /// Its own words.
        message: String,
    },
    /// What a plugin declares, or is configured to watch, is wrong (2).
    #[error("plugin {plugin} cannot be run:{}", lines(.mistakes))]
    Watches {
        /// Its name.
        plugin: String,
        /// All that is wrong.
        mistakes: Vec<String>,
    },
    /// Outputs cannot be written (2, or 3 when it is the cluster that fails).
    #[error("plugin {plugin}")]
    Output {
        /// Its name.
        plugin: String,
        /// Why.
        source: SinkError,
    },
    /// The outputs are in their place, and the hook failed (1).
    #[error("the hook of plugin {plugin} failed")]
    Hook {
        /// Its name.
        plugin: String,
        /// How.
        source: HookError,
    },
    /// The cluster did not get as far as `--once` needs (3).
    #[error("the cluster did not sync within {after:?}:{}", lines(.watches))]
    NotSynced {
        /// How long it was waited.
        after: Duration,
        /// Each watch that is not synced, with its state.
        watches: Vec<String>,
    },
    /// `--once` was stopped by a signal before it was done (130).
    #[error("stopped before everything was rendered")]
    Interrupted,
    /// The host itself failed (1).
    #[error(
        "the host failed while it ran plugin {plugin}: please report this with the panic message above"
    )]
    Host {
        /// Its name.
        plugin: String,
    },
    /// The Lease, or the durations of the election, are wrong (2).
    #[error("leaders cannot be elected: {0}")]
    Election(LeaseConfigErrors),
    /// The recording cannot be made (2).
    #[error(transparent)]
    Record(RecordError),
    /// Several plugins cannot be run (the code of the first).
    #[error("{} plugins cannot be run:{}", .0.len(), lines(&.0.iter().map(|e| chain(e)).collect::<Vec<_>>()))]
    Several(Vec<RunError>),
    /// The system gave no thread (1).
    #[error("cannot start a thread for plugin {plugin}")]
    Thread {
        /// Its name.
        plugin: String,
        /// Why.
        source: std::io::Error,
    },
}

fn lines(texts: &[String]) -> String {
    texts.iter().map(|text| format!("\n  {text}")).collect()
}

impl RunError {
    /// The process's exit code.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Plugin { .. }
            | Self::GivenUp { .. }
            | Self::Thread { .. }
            | Self::Host { .. }
            | Self::Hook { .. } => 1,
            Self::Output { source, .. } if source.is_of_the_cluster() => 3,
            Self::Interrupted => 130,
            Self::Several(errors) => errors.first().map_or(1, Self::exit_code),
            Self::Settings { .. }
            | Self::Watches { .. }
            | Self::Output { .. }
            | Self::Record(_)
            | Self::Election(_) => 2,
            Self::NotSynced { .. } => 3,
        }
    }
}
