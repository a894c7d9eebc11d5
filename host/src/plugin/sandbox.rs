//! What an operator grants a plugin beyond its contract (contract P5): directories and
//! environment variables. Owns how a grant is written and what WASI makes of it; there is
//! no grant for the network.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

/// Bytes of random data that a guest may ask for in one call: it gets them in host memory
/// first.
const MAX_RANDOM: u64 = 1 << 20;

/// Everything that one plugin is granted. The default is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sandbox {
    /// Directories, in the order in which they were given.
    pub dirs: Vec<DirGrant>,
    /// Variables with their values.
    pub env: Vec<(String, String)>,
}

/// A directory of the host that a plugin may read, and write if that is said: written
/// `HOST`, `HOST::GUEST` or `HOST::GUEST::rw`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirGrant {
    /// The directory on the host.
    pub host: PathBuf,
    /// What the plugin calls it.
    pub guest: String,
    /// Whether the plugin may make, change and remove files in it.
    pub write: bool,
}

/// An environment variable that a plugin may see: written `NAME=VALUE`, or `NAME` for the
/// value that the host has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvGrant {
    /// Its name.
    pub name: String,
    /// Its value; `None`: the host's.
    pub value: Option<String>,
}

/// Why a grant cannot be given.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// It is no directory grant.
    #[error(
        "{0:?} grants no directory: write HOST, HOST::GUEST, or HOST::GUEST::rw to let the plugin write there"
    )]
    Dir(String),
    /// It is no variable.
    #[error("{0:?} names no variable: write NAME, or NAME=VALUE")]
    Env(String),
    /// The host does not have the variable.
    #[error("the host has no variable {0}, or one that is no text: write {0}=VALUE")]
    Unset(String),
    /// The directory cannot be opened.
    #[error("cannot open directory {} to grant it", path.display())]
    Open {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Two directories would have one name.
    #[error("two directories are granted as {0}: give each a name of its own, HOST::GUEST")]
    Twice(String),
}

impl FromStr for DirGrant {
    type Err = SandboxError;

    fn from_str(text: &str) -> Result<Self, SandboxError> {
        let parts: Vec<&str> = text.split("::").collect();
        let (host, guest, write) = match parts.as_slice() {
            [host] => (*host, *host, false),
            [host, guest] | [host, guest, "ro"] => (*host, *guest, false),
            [host, guest, "rw"] => (*host, *guest, true),
            _ => return Err(SandboxError::Dir(text.to_owned())),
        };
        if host.is_empty() || guest.is_empty() {
            return Err(SandboxError::Dir(text.to_owned()));
        }
        Ok(Self {
            host: PathBuf::from(host),
            guest: guest.to_owned(),
            write,
        })
    }
}

impl fmt::Display for DirGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = if self.write { "::rw" } else { "" };
        write!(f, "{}::{}{mode}", self.host.display(), self.guest)
    }
}

impl FromStr for EnvGrant {
    type Err = SandboxError;

    fn from_str(text: &str) -> Result<Self, SandboxError> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        if name.is_empty() || text.contains('\0') {
            return Err(SandboxError::Env(text.to_owned()));
        }
        Ok(Self {
            name: name.to_owned(),
            value,
        })
    }
}

impl Sandbox {
    /// What the grants mean on this host now. Of two grants of one variable the later holds.
    ///
    /// # Errors
    /// [`SandboxError`]: a directory that is not there, a variable that is not set, or two
    /// directories of one name.
    pub fn of(dirs: &[DirGrant], env: &[EnvGrant]) -> Result<Self, SandboxError> {
        let mut sandbox = Self::default();
        for dir in dirs {
            if sandbox.dirs.iter().any(|other| other.guest == dir.guest) {
                return Err(SandboxError::Twice(dir.guest.clone()));
            }
            open(&dir.host)?;
            sandbox.dirs.push(dir.clone());
        }
        for EnvGrant { name, value } in env {
            let value = match value {
                Some(value) => value.clone(),
                None => std::env::var(name).map_err(|_| SandboxError::Unset(name.clone()))?,
            };
            sandbox.env.retain(|(other, _)| other != name);
            sandbox.env.push((name.clone(), value));
        }
        Ok(sandbox)
    }

    /// A WASI context with these grants and nothing else. Reading and writing files happens
    /// on threads for blocking work, so that a callback that waits for a file is cut off at
    /// its time limit like any other.
    pub(super) fn wasi(&self) -> Result<WasiCtxBuilder, SandboxError> {
        let mut wasi = WasiCtxBuilder::new();
        wasi.allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .max_random_size(MAX_RANDOM)
            .envs(&self.env);
        for dir in &self.dirs {
            let perms = match dir.write {
                true => FsPerms::ReadWrite,
                false => FsPerms::ReadOnly,
            };
            open(&dir.host)?;
            wasi.preopened_dir(&dir.host, &dir.guest, perms)
                .map_err(|error| SandboxError::Open {
                    path: dir.host.clone(),
                    source: std::io::Error::other(format!("{error:#}")),
                })?;
        }
        Ok(wasi)
    }
}

/// Tries whether it is a directory that can be listed.
fn open(path: &Path) -> Result<(), SandboxError> {
    let opened = std::fs::read_dir(path).map(drop);
    opened.map_err(|source| SandboxError::Open {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn p5_a_directory_is_granted_read_only_unless_it_says_rw() {
        for (text, host, guest, write) in [
            ("/data", "/data", "/data", false),
            ("/data::/in", "/data", "/in", false),
            ("/data::/in::ro", "/data", "/in", false),
            ("/data::/in::rw", "/data", "/in", true),
            ("data::rw", "data", "rw", false),
            ("c:/data::/in", "c:/data", "/in", false),
        ] {
            let grant: DirGrant = text.parse().unwrap();
            assert_eq!(
                (grant.host.to_str().unwrap(), &*grant.guest, grant.write),
                (host, guest, write),
                "{text}"
            );
            assert_eq!(grant.to_string().parse::<DirGrant>().unwrap(), grant);
        }
        for text in [
            "",
            "::",
            "/data::",
            "::/in",
            "/data::/in::w",
            "/a::/b::rw::x",
        ] {
            let error = text.parse::<DirGrant>().unwrap_err();
            assert!(matches!(error, SandboxError::Dir(_)), "{text}");
        }
    }

    #[test]
    fn p5_a_variable_is_granted_with_a_value_or_with_the_hosts() {
        let set: EnvGrant = "MODE=a=b".parse().unwrap();
        assert_eq!((&*set.name, set.value.as_deref()), ("MODE", Some("a=b")));
        let inherited: EnvGrant = "MODE".parse().unwrap();
        assert_eq!((&*inherited.name, inherited.value), ("MODE", None));
        for text in ["", "=x", "A=\0"] {
            assert!(text.parse::<EnvGrant>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn p5_grants_that_mean_nothing_on_this_host_are_refused() {
        let refused = |dirs: &[&str], env: &[&str]| {
            let dirs: Vec<DirGrant> = dirs.iter().map(|text| text.parse().unwrap()).collect();
            let env: Vec<EnvGrant> = env.iter().map(|text| text.parse().unwrap()).collect();
            Sandbox::of(&dirs, &env).map_err(|error| error.to_string())
        };
        assert_eq!(
            refused(&["/no/such/directory"], &[]).unwrap_err(),
            "cannot open directory /no/such/directory to grant it"
        );
        assert_eq!(
            refused(&["/::/in", "/tmp::/in"], &[]).unwrap_err(),
            "two directories are granted as /in: give each a name of its own, HOST::GUEST"
        );
        assert_eq!(
            refused(&[], &["HAPTIC_NOBODY_SETS_THIS"]).unwrap_err(),
            "the host has no variable HAPTIC_NOBODY_SETS_THIS, or one that is no text: write \
             HAPTIC_NOBODY_SETS_THIS=VALUE"
        );
        let sandbox = refused(&["/::/root"], &["A=1", "B=2", "A=3"]).unwrap();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(sandbox.env, [pair("B", "2"), pair("A", "3")]);
    }
}
