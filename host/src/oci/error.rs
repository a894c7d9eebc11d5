//! Why a plugin could not be had from a registry.

use std::{path::PathBuf, time::Duration};

use super::{Digest, reference::Reference};

/// Why a plugin could not be pulled. Each sentence names the registry, and says what to do where
/// there is something to do.
#[derive(Debug, thiserror::Error)]
pub enum OciError {
    /// No connection, or half an answer.
    #[error("registry {registry} cannot be reached: {reason}")]
    Unreachable {
        /// Host and port.
        registry: String,
        /// What the network said.
        reason: String,
    },
    /// It answers too late, or stops in the middle.
    #[error("registry {registry} does not answer: {what} within {after:?}")]
    Silent {
        /// Host and port.
        registry: String,
        /// What did not come.
        what: &'static str,
        /// How long it was waited.
        after: Duration,
    },
    /// 401 or 403.
    #[error("registry {registry} denies {reference} ({status}): {message}; {advice}")]
    Denied {
        /// Host and port.
        registry: String,
        /// What was asked for.
        reference: Box<Reference>,
        /// HTTP status code.
        status: u16,
        /// Its own words.
        message: String,
        /// What to do.
        advice: &'static str,
    },
    /// 404.
    #[error("there is no {reference}: {message}")]
    NotFound {
        /// What was asked for.
        reference: Box<Reference>,
        /// The registry's own words.
        message: String,
    },
    /// Any other answer.
    #[error("registry {registry} answers {status}: {message}")]
    Refused {
        /// Host and port.
        registry: String,
        /// HTTP status code.
        status: u16,
        /// Its own words.
        message: String,
    },
    /// It sends the client somewhere that it does not go.
    #[error("registry {registry} redirects to {to}: {reason}")]
    Redirect {
        /// Host and port.
        registry: String,
        /// Where to.
        to: String,
        /// Why not.
        reason: &'static str,
    },
    /// It asks for a login that this client cannot make.
    #[error("cannot log in to registry {registry}: {reason}")]
    Login {
        /// Host and port.
        registry: String,
        /// Why.
        reason: String,
    },
    /// The configuration of credentials is broken.
    #[error("cannot use the credentials in {} for registry {registry}: {reason}", path.display())]
    Credentials {
        /// Docker's configuration file.
        path: PathBuf,
        /// Host and port.
        registry: String,
        /// Why.
        reason: String,
    },
    /// Other bytes than the digest says.
    #[error(
        "{what} of {reference} is not what its digest says: expected {expected}, got {found}; the registry, or somebody on the way, has changed it"
    )]
    Digest {
        /// The manifest or the layer.
        what: &'static str,
        /// What was asked for.
        reference: Box<Reference>,
        /// As it should be.
        expected: Digest,
        /// As it is.
        found: Digest,
    },
    /// More bytes than fit, or than were announced.
    #[error("{what} of {reference} is larger than {limit} bytes")]
    TooLarge {
        /// The manifest or the layer.
        what: &'static str,
        /// What was asked for.
        reference: Box<Reference>,
        /// How many it may have.
        limit: u64,
    },
    /// Fewer bytes than were announced.
    #[error("{what} of {reference} ends after {found} of {expected} bytes")]
    Truncated {
        /// The manifest or the layer.
        what: &'static str,
        /// What was asked for.
        reference: Box<Reference>,
        /// How many were announced.
        expected: u64,
        /// How many came.
        found: u64,
    },
    /// A manifest that cannot be read.
    #[error("{reference} has no manifest that can be read: {reason}")]
    Manifest {
        /// What was asked for.
        reference: Box<Reference>,
        /// Why.
        reason: String,
    },
    /// An artifact of another kind.
    #[error(
        "{reference} is no WebAssembly artifact: {reason}; push a component with `wkg oci push`, or with `oras push REF FILE:application/wasm`"
    )]
    NotWasm {
        /// What was asked for.
        reference: Box<Reference>,
        /// What it is instead.
        reason: String,
    },
    /// The cache folder cannot be written.
    #[error("cannot use {} as the cache of pulled plugins", path.display())]
    Cache {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl OciError {
    /// Whether the registry, the network or the login failed, and not what was typed.
    #[must_use]
    pub fn is_registrys(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Silent { .. }
            | Self::Denied { .. }
            | Self::Refused { .. }
            | Self::Redirect { .. }
            | Self::Login { .. }
            | Self::Digest { .. }
            | Self::Truncated { .. } => true,
            Self::NotFound { .. }
            | Self::Credentials { .. }
            | Self::TooLarge { .. }
            | Self::Manifest { .. }
            | Self::NotWasm { .. }
            | Self::Cache { .. } => false,
        }
    }

    /// Whether asking again in a moment may help.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, .. } => matches!(status, 408 | 429 | 500..),
            Self::Silent { .. }
            | Self::Denied { .. }
            | Self::NotFound { .. }
            | Self::Redirect { .. }
            | Self::Login { .. }
            | Self::Credentials { .. }
            | Self::Digest { .. }
            | Self::TooLarge { .. }
            | Self::Truncated { .. }
            | Self::Manifest { .. }
            | Self::NotWasm { .. }
            | Self::Cache { .. } => false,
        }
    }
}
