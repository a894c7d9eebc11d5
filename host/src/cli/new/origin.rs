//! Where a plugin's SDK and test harness come from: a checkout of haptic-host, or published crates.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    str::FromStr,
};

use super::{Wrong, name::PluginName};

/// What is needed of a checkout.
const NEEDED: &[&str] = &[
    "Cargo.lock",
    "guest-sdk/Cargo.toml",
    "tests/harness/Cargo.toml",
    "tests/alike/Cargo.toml",
    "scripts/guests.sh",
    "scripts/test-plugin.sh",
];

/// What was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum OriginArg {
    Version(String),
    Checkout(PathBuf),
}

impl FromStr for OriginArg {
    type Err = String;

    /// What begins with a digit is a version, anything else a path.
    fn from_str(text: &str) -> Result<Self, String> {
        if !text.starts_with(|c: char| c.is_ascii_digit()) {
            return Ok(Self::Checkout(PathBuf::from(text)));
        }
        match is_version(text) {
            true => Ok(Self::Version(text.to_owned())),
            false => Err(format!(
                "{text:?} is no version: write one such as 0.1 or 0.1.0, or ./{text} for a folder"
            )),
        }
    }
}

/// One, two or three numbers; after three of them also a pre-release.
fn is_version(text: &str) -> bool {
    let (numbers, pre) = match text.split_once('-') {
        Some((numbers, pre)) => (numbers, Some(pre)),
        None => (text, None),
    };
    let numbers: Vec<_> = numbers.split('.').collect();
    let is_number = |text: &&str| text.parse::<u64>().is_ok_and(|n| n.to_string() == *text);
    let is_identifier = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    numbers.len() <= 3
        && numbers.iter().all(is_number)
        && pre.is_none_or(|pre| numbers.len() == 3 && pre.split('.').all(is_identifier))
}

/// Where from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Published crates of this version.
    Published(String),
    /// A checkout: its path, and its `Cargo.lock`, so that dependencies are those that it has
    /// compiled.
    Checkout { path: String, lock: String },
}

impl Origin {
    pub(super) fn find(typed: Option<&OriginArg>) -> Result<Self, Wrong> {
        match typed {
            Some(OriginArg::Version(version)) => Ok(Self::Published(version.clone())),
            Some(OriginArg::Checkout(path)) => Self::checkout(path),
            None => {
                let built_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
                match NEEDED.iter().all(|file| built_in.join(file).is_file()) {
                    true => Self::checkout(&built_in),
                    false => Ok(Self::Published(env!("CARGO_PKG_VERSION").to_owned())),
                }
            }
        }
    }

    fn checkout(path: &Path) -> Result<Self, Wrong> {
        let shown = path.display();
        if !path.is_dir() {
            return Err(Wrong(format!(
                "there is no folder {shown}: --haptic takes a checkout of haptic-host, or a version such as 0.1"
            )));
        }
        if let Some(file) = NEEDED.iter().find(|file| !path.join(file).is_file()) {
            return Err(Wrong(format!(
                "{shown} is no checkout of haptic-host: it has no {file}"
            )));
        }
        let unreadable = |error| Wrong(format!("{shown} cannot be read: {error}"));
        let absolute = fs::canonicalize(path).map_err(unreadable)?;
        let lock = fs::read_to_string(path.join("Cargo.lock")).map_err(unreadable)?;
        match absolute.to_str().filter(|path| is_plain(path)) {
            Some(path) => Ok(Self::Checkout {
                path: path.to_owned(),
                lock,
            }),
            None => Err(Wrong(format!(
                "{} has a character in it that make, a shell or cargo would take for something else: move the checkout",
                absolute.display()
            ))),
        }
    }

    /// Refuses names of the checkout's own packages, with which a plugin shares a target directory.
    pub(super) fn check_name(&self, name: &PluginName) -> Result<(), Wrong> {
        match self {
            Self::Checkout { path, lock } if packages(lock).any(|own| own == name.to_string()) => {
                Err(Wrong(format!(
                    "{name} is a package of {path}, and cargo would mix the two up: give another name with --name"
                )))
            }
            Self::Checkout { .. } | Self::Published(_) => Ok(()),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Published(version) => write!(f, "haptic-guest {version}"),
            Self::Checkout { path, .. } => write!(f, "the SDK of {path}"),
        }
    }
}

/// The packages of a lock file that come from no registry.
fn packages(lock: &str) -> impl Iterator<Item = &str> {
    lock.split("[[package]]")
        .filter(|package| !package.contains("\nsource = "))
        .filter_map(|package| {
            let (_, rest) = package.split_once("\nname = \"")?;
            Some(rest.split_once('"')?.0)
        })
}

/// Whether a path is the same text in a makefile's recipe, in a shell's double quotes, and in TOML.
pub(super) fn is_plain(path: &str) -> bool {
    !path.contains(|c: char| matches!(c, '"' | '\\' | '$' | '`' | '#') || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k4_the_sdk_is_a_version_or_a_path() {
        for version in ["0", "0.1", "0.1.0", "12.0.34", "1.0.0-rc.1"] {
            let expected = Ok(OriginArg::Version(version.to_owned()));
            assert_eq!(version.parse(), expected);
        }
        for path in ["../haptic-host", "/src", ".", "haptic"] {
            assert_eq!(path.parse(), Ok(OriginArg::Checkout(PathBuf::from(path))));
        }
        for wrong in [
            "1.x",
            "0.1.0.0",
            "01.2",
            "1.",
            "1-rc",
            "1.0.0-",
            "1.0.0-a..b",
            "1\"",
            "1 ",
        ] {
            let error = format!(
                "{wrong:?} is no version: write one such as 0.1 or 0.1.0, or ./{wrong} for a folder"
            );
            assert_eq!(wrong.parse::<OriginArg>(), Err(error));
        }
    }

    #[test]
    fn packages_of_a_lock_file_without_a_source_are_its_own() {
        let lock = "version = 4\n\n[[package]]\nname = \"own\"\nversion = \"1.0.0\"\ndependencies = [\n \"serde\",\n]\n\n\
                    [[package]]\nname = \"serde\"\nversion = \"1.0.0\"\nsource = \"registry+x\"\n";
        assert_eq!(packages(lock).collect::<Vec<_>>(), ["own"]);
    }
}
