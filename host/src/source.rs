//! Where a plugin comes from: a file, or a registry. Owns how it gets from there into the runtime.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use crate::{
    oci::{self, OciError, PullOptions, Reference, ReferenceError},
    plugin::{LoadError, Plugin, Runtime, read_component},
};

/// Where a plugin comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PluginSource {
    /// A component in a file.
    File(PathBuf),
    /// A component in a registry, `oci://…`.
    Oci(Reference),
}

/// Why a plugin could not be had.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Not pulled.
    #[error(transparent)]
    Pull(#[from] OciError),
    /// Pulled or read, and no plugin.
    #[error(transparent)]
    Load(#[from] LoadError),
}

impl PluginSource {
    /// What the plugin is called: logs, outputs and the configuration use it.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::File(path) => path.file_stem().map_or_else(
                || path.display().to_string(),
                |stem| stem.to_string_lossy().into_owned(),
            ),
            Self::Oci(reference) => reference.name().to_owned(),
        }
    }

    /// The same, with a relative file taken from `base`.
    #[must_use]
    pub fn relative_to(self, base: &Path) -> Self {
        match self {
            Self::File(path) => Self::File(base.join(path)),
            Self::Oci(_) => self,
        }
    }

    /// Gets the plugin, compiles and checks it. Answers where it came from as well: by digest,
    /// where it was a tag.
    ///
    /// # Errors
    /// [`SourceError`].
    pub async fn load(
        &self,
        runtime: &Runtime,
        options: &PullOptions,
    ) -> Result<(Self, Plugin), SourceError> {
        match self {
            Self::File(path) => Ok((self.clone(), runtime.load(path)?)),
            Self::Oci(reference) => {
                let pulled = oci::pull(reference, options).await?;
                if reference.digest().is_none() {
                    tracing::warn!(
                        plugin = reference.name(),
                        "a tag may move to other code at any time; this is {}",
                        pulled.reference
                    );
                }
                let plugin = runtime.compile(reference.name(), &pulled.bytes)?;
                Ok((Self::Oci(pulled.reference), plugin))
            }
        }
    }
}

impl PluginSource {
    /// What tells the plugin from others, in hexadecimal: of a file that of its bytes, of one that
    /// was pulled by digest that of its manifest.
    ///
    /// # Errors
    /// [`LoadError`] when the file is gone meanwhile.
    pub(crate) fn sha256(&self) -> Result<String, LoadError> {
        match self {
            Self::File(path) => Ok(oci::Digest::of(&read_component(path)?).hex()),
            Self::Oci(reference) => Ok(reference
                .digest()
                .map_or_else(String::new, |digest| digest.hex())),
        }
    }
}

impl FromStr for PluginSource {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        match text.starts_with(oci::SCHEME) {
            true => text.parse().map(Self::Oci),
            false => Ok(Self::File(PathBuf::from(text))),
        }
    }
}

impl fmt::Display for PluginSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Oci(reference) => write!(f, "{reference}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn k1_a_plugin_is_called_by_its_file_or_its_repository() {
        for (text, name, beside) in [
            ("render.wasm", "render", "/etc/haptic/render.wasm"),
            ("/opt/a.b.wasm", "a.b", "/opt/a.b.wasm"),
            (
                "oci://registry.example/acme/haproxy:1.2",
                "haproxy",
                "oci://registry.example/acme/haproxy:1.2",
            ),
        ] {
            let source: PluginSource = text.parse().unwrap();
            assert_eq!(source.name(), name);
            assert_eq!(source.to_string(), text);
            let base = Path::new("/etc/haptic");
            assert_eq!(source.relative_to(base).to_string(), beside);
        }
        assert!(
            "oci://registry.example/acme"
                .parse::<PluginSource>()
                .is_err()
        );
    }
}
