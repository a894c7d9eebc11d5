//! Owns the names of artifacts in registries: `oci://REGISTRY/REPOSITORY[:TAG][@DIGEST]`, by the
//! grammar of the OCI distribution specification.

use std::{fmt, net::IpAddr, str::FromStr};

use sha2::{Digest as _, Sha256};

/// What a reference begins with.
pub const SCHEME: &str = "oci://";

/// The sha256 of some bytes, written `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

/// One artifact in a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text names no artifact.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Another scheme, or none.
    #[error("{0:?} does not begin with oci://")]
    Scheme(String),
    /// No registry, or none that can be reached.
    #[error("{0:?} is no registry: write a host, perhaps with a port, such as `registry.example`")]
    Registry(String),
    /// No repository, or characters that none has.
    #[error(
        "{0:?} is no repository: lower-case letters and digits, joined by `.`, `_`, `-` and `/`"
    )]
    Repository(String),
    /// A tag with characters that none has.
    #[error(
        "{0:?} is no tag: letters, digits, `_`, `.` and `-`, 128 at most, beginning with none of the last two"
    )]
    Tag(String),
    /// Neither a tag nor a digest.
    #[error(
        "{0:?} says neither which version (`:TAG`) nor which bytes (`@sha256:…`); a digest is the better one, a tag may move"
    )]
    Unversioned(String),
    /// A digest that is none.
    #[error("{0:?} is no digest: write `sha256:` and 64 hexadecimal digits in lower case")]
    Digest(String),
}

impl Digest {
    /// Of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digits without `sha256:`.
    #[must_use]
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl FromStr for Digest {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let wrong = || ReferenceError::Digest(text.to_owned());
        let hex = text.strip_prefix("sha256:").ok_or_else(wrong)?;
        let plain = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
        if hex.len() != 64 || !hex.as_bytes().iter().all(plain) {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}

impl Reference {
    /// Host and port, as typed.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Such as `acme/plugins/haproxy`.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, which may move.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest of the manifest.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// What a plugin from there is called: the last part of the repository.
    #[must_use]
    pub fn name(&self) -> &str {
        let last = self.repository.rsplit('/').next();
        last.unwrap_or(&self.repository)
    }

    /// The same artifact, by these bytes and by nothing that moves.
    #[must_use]
    pub fn pinned(&self, digest: Digest) -> Self {
        Self {
            digest: Some(digest),
            ..self.clone()
        }
    }

    /// Whether the registry is on this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        is_loopback(host_of(&self.registry))
    }
}

/// The host of `host[:port]`.
pub(super) fn host_of(authority: &str) -> &str {
    match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => authority.split(':').next().unwrap_or(authority),
    }
}

pub(super) fn is_loopback(host: &str) -> bool {
    let address: Option<IpAddr> = host.parse().ok();
    host.eq_ignore_ascii_case("localhost") || address.is_some_and(|address| address.is_loopback())
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let rest = text
            .strip_prefix(SCHEME)
            .ok_or_else(|| ReferenceError::Scheme(text.to_owned()))?;
        let (registry, rest) = rest
            .split_once('/')
            .ok_or_else(|| ReferenceError::Repository(String::new()))?;
        if !is_registry(registry) {
            return Err(ReferenceError::Registry(registry.to_owned()));
        }
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse()?)),
            None => (rest, None),
        };
        let (repository, tag) = match rest.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (rest, None),
        };
        if !is_repository(repository) {
            return Err(ReferenceError::Repository(repository.to_owned()));
        }
        if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
            return Err(ReferenceError::Tag(tag.to_owned()));
        }
        if tag.is_none() && digest.is_none() {
            return Err(ReferenceError::Unversioned(text.to_owned()));
        }
        Ok(Self {
            registry: registry.to_owned(),
            repository: repository.to_owned(),
            tag: tag.map(str::to_owned),
            digest,
        })
    }
}

fn is_registry(text: &str) -> bool {
    // No user: credentials on a command line are seen by everybody.
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    let host = host_of(text);
    let port = match text.strip_prefix('[') {
        Some(_) => text.split_once(']').map(|(_, rest)| rest),
        None => Some(&text[host.len()..]),
    };
    !host.is_empty()
        && text.len() <= 255
        && text.chars().all(plain)
        && port.is_some_and(|port| {
            let number = port.strip_prefix(':').and_then(|port| port.parse().ok());
            port.is_empty() || number.is_some_and(|port: u16| port > 0)
        })
        && text.parse::<http::uri::Authority>().is_ok()
}

fn is_repository(text: &str) -> bool {
    let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    // Between letters and digits stand one `.`, one or two `_`, or any number of `-`.
    let part = |part: &str| {
        let ends =
            part.as_bytes().first().is_some_and(plain) && part.as_bytes().last().is_some_and(plain);
        let joints = part
            .as_bytes()
            .split(plain)
            .filter(|joint| !joint.is_empty());
        ends && joints
            .into_iter()
            .all(|joint| matches!(joint, b"." | b"_" | b"__") || joint.iter().all(|b| *b == b'-'))
    };
    text.len() <= 255 && text.split('/').all(part)
}

fn is_tag(text: &str) -> bool {
    let word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let bytes = text.as_bytes();
    bytes.len() <= 128
        && bytes.first().is_some_and(word)
        && bytes
            .iter()
            .all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_reference_is_a_registry_a_repository_and_what_exactly() {
        let digest = format!("@sha256:{HEX}");
        for (text, registry, repository, tag, name) in [
            (
                "registry.example/acme/haproxy:1.2",
                "registry.example",
                "acme/haproxy",
                Some("1.2"),
                "haproxy",
            ),
            (
                &format!("registry.example/a/b__c/d-e{digest}"),
                "registry.example",
                "a/b__c/d-e",
                None,
                "d-e",
            ),
            (
                &format!("localhost:5000/x:v1{digest}"),
                "localhost:5000",
                "x",
                Some("v1"),
                "x",
            ),
            ("[::1]:5000/x:v1", "[::1]:5000", "x", Some("v1"), "x"),
            (
                "127.0.0.1/x--y.z:_",
                "127.0.0.1",
                "x--y.z",
                Some("_"),
                "x--y.z",
            ),
        ] {
            let text = format!("{SCHEME}{text}");
            let reference: Reference = text.parse().unwrap();
            assert_eq!(reference.registry(), registry);
            assert_eq!(reference.repository(), repository);
            assert_eq!(reference.tag(), tag);
            assert_eq!(reference.name(), name);
            assert_eq!(reference.to_string(), text, "it is shown as it is typed");
            assert_eq!(reference.digest().is_some(), text.contains('@'));
        }
    }

    #[test]
    fn what_names_no_artifact_is_refused_with_what_to_write() {
        for (text, sentence) in [
            ("registry.example/a:1", "does not begin with oci://"),
            ("oci://registry.example", "is no repository"),
            ("oci:///a:1", "is no registry"),
            ("oci://user:pw@registry.example/a:1", "is no registry"),
            ("oci://registry.example:0/a:1", "is no registry"),
            ("oci://registry.example:http/a:1", "is no registry"),
            ("oci://[::1/a:1", "is no registry"),
            ("oci://gh cr/a:1", "is no registry"),
            ("oci://registry.example/Acme/a:1", "is no repository"),
            ("oci://registry.example/a..b:1", "is no repository"),
            ("oci://registry.example/../a:1", "is no repository"),
            ("oci://registry.example/a___b:1", "is no repository"),
            ("oci://registry.example/a//b:1", "is no repository"),
            ("oci://registry.example/a/:1", "is no repository"),
            ("oci://registry.example/a?x=y:1", "is no repository"),
            ("oci://registry.example/a:", "is no tag"),
            ("oci://registry.example/a:-1", "is no tag"),
            ("oci://registry.example/a:1/2", "is no tag"),
            ("oci://registry.example/a", "neither which version"),
            ("oci://registry.example/a@sha256:12", "is no digest"),
            ("oci://registry.example/a@sha512:12", "is no digest"),
            ("oci://registry.example/a@", "is no digest"),
        ] {
            let error = text.parse::<Reference>().unwrap_err().to_string();
            assert!(error.contains(sentence), "{text}: {error}");
        }
        let upper = format!("oci://registry.example/a@sha256:{}", HEX.to_uppercase());
        assert!(upper.parse::<Reference>().is_err(), "one digest, one text");
    }

    #[test]
    fn a_digest_is_the_sha256_of_the_bytes() {
        assert_eq!(Digest::of(b"").hex(), HEX);
        let digest: Digest = format!("sha256:{HEX}").parse().unwrap();
        assert_eq!(digest, Digest::of(b""));
        let tagged: Reference = "oci://registry.example/a:1".parse().unwrap();
        let pinned = tagged.pinned(digest).to_string();
        assert_eq!(pinned, format!("oci://registry.example/a:1@sha256:{HEX}"));
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for (registry, loopback) in [
            ("localhost:5000", true),
            ("127.0.0.1", true),
            ("127.8.9.1:80", true),
            ("[::1]:5000", true),
            ("localhost.example.com", false),
            ("10.0.0.1:5000", false),
            ("registry.example", false),
        ] {
            let reference: Reference = format!("oci://{registry}/a:1").parse().unwrap();
            assert_eq!(reference.is_loopback(), loopback, "{registry}");
        }
    }
}
