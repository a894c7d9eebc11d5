//! Plugins from registries: `oci://REGISTRY/REPOSITORY[:TAG][@DIGEST]`. Owns which bytes come out
//! of it: those that the digest names, whatever the registry, the network or the cache have.
//! Does not know what a plugin is.
//!
//! Three kinds of request over kube's client make this up, and not a library for registries: see
//! ARCHITECTURE.md, "Our own pull".

mod cache;
mod credentials;
mod error;
mod manifest;
mod reference;
mod registry;

use std::{path::PathBuf, time::Duration};

use self::{
    cache::Cache,
    manifest::{Blob, Leads},
    registry::{Registry, Wanted},
};
pub use self::{
    error::OciError,
    reference::{Digest, Reference, ReferenceError, SCHEME},
};

/// Largest manifest, in bytes: what the specification has registries accept.
const MAX_MANIFEST: u64 = 4 << 20;

/// How to pull.
#[derive(Clone, Debug, Default)]
pub struct PullOptions {
    /// Folder for what was pulled, verified again whenever it is read; `None`: pull every time.
    pub cache_dir: Option<PathBuf>,
    /// Registries (`HOST[:PORT]`) that are spoken to without TLS. Those on this machine are anyhow.
    pub plain_http: Vec<String>,
    /// Folder of docker's `config.json`; `None`: ask as nobody.
    pub docker_config: Option<PathBuf>,
    /// How long to wait.
    pub patience: Patience,
}

/// How long a registry may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// From a request to its answer's headers. Default 30 s: some make a manifest on demand.
    pub answer: Duration,
    /// Between two pieces of a body. Default 30 s.
    pub silence: Duration,
    /// For all of it. Default 5 minutes: 256 MiB at 1 MB/s.
    pub total: Duration,
    /// Before the second attempt, and twice that before the third. Default 500 ms.
    pub pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            answer: Duration::from_secs(30),
            silence: Duration::from_secs(30),
            total: Duration::from_mins(5),
            pause: Duration::from_millis(500),
        }
    }
}

/// What was pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// Where from, with the digest of its manifest.
    pub reference: Reference,
    /// The component.
    pub bytes: Vec<u8>,
}

/// The folder where docker keeps its configuration: `$DOCKER_CONFIG`, else `~/.docker`.
#[must_use]
pub fn docker_config() -> Option<PathBuf> {
    let given = std::env::var_os("DOCKER_CONFIG").filter(|folder| !folder.is_empty());
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker"));
    given.map(PathBuf::from).or_else(home)
}

/// Gets a component from a registry, or from the cache. The manifest is compared with the
/// reference's digest, the component with the manifest's. With a digest whose bytes are in the
/// cache, nobody is asked; a tag is looked up each time.
///
/// # Errors
/// [`OciError`].
pub async fn pull(reference: &Reference, options: &PullOptions) -> Result<Pulled, OciError> {
    let total = options.patience.total;
    match tokio::time::timeout(total, pull_all(reference, options)).await {
        Ok(done) => done,
        Err(_elapsed) => Err(OciError::Silent {
            registry: reference.registry().to_owned(),
            what: "it was not all here",
            after: total,
        }),
    }
}

async fn pull_all(reference: &Reference, options: &PullOptions) -> Result<Pulled, OciError> {
    let cache = options.cache_dir.as_deref().map(Cache::open).transpose()?;
    let mut pull = Pull {
        reference,
        registry: Registry::new(reference, options)?,
        cache,
    };
    let (digest, text) = match (reference.digest(), reference.tag()) {
        (Some(digest), _) => (digest, pull.manifest(digest).await?),
        (None, tag) => pull.tagged(tag.unwrap_or("latest")).await?,
    };
    let blob = match manifest::read(reference, &text, false)? {
        Leads::Layer(blob) => blob,
        Leads::Manifest(digest) => {
            let text = pull.manifest(digest).await?;
            match manifest::read(reference, &text, true)? {
                Leads::Layer(blob) => blob,
                Leads::Manifest(_) => {
                    return Err(OciError::Manifest {
                        reference: Box::new(reference.clone()),
                        reason: "it is an index that leads to an index".to_owned(),
                    });
                }
            }
        }
    };
    Ok(Pulled {
        reference: reference.pinned(digest),
        bytes: pull.blob(blob).await?,
    })
}

/// One pull under way.
struct Pull<'a> {
    reference: &'a Reference,
    registry: Registry<'a>,
    cache: Option<Cache>,
}

impl Pull<'_> {
    /// The manifest that a tag stands for at this moment.
    async fn tagged(&mut self, tag: &str) -> Result<(Digest, Vec<u8>), OciError> {
        let (headers, text) = self.fetch_manifest(tag).await?;
        let digest = Digest::of(&text);
        let said = headers.get("docker-content-digest");
        let said = said.and_then(|value| value.to_str().ok()?.parse::<Digest>().ok());
        if let Some(expected) = said.filter(|said| *said != digest) {
            return Err(self.forged("the manifest", expected, digest));
        }
        if let Some(cache) = &self.cache {
            cache.put(digest, &text);
        }
        Ok((digest, text))
    }

    async fn manifest(&mut self, digest: Digest) -> Result<Vec<u8>, OciError> {
        if let Some(text) = self.cached(digest, MAX_MANIFEST) {
            return Ok(text);
        }
        let (_, text) = self.fetch_manifest(&digest.to_string()).await?;
        self.verified("the manifest", digest, text)
    }

    async fn fetch_manifest(
        &mut self,
        version: &str,
    ) -> Result<(http::HeaderMap, Vec<u8>), OciError> {
        self.registry
            .fetch(Wanted {
                what: "the manifest",
                path: &format!("manifests/{version}"),
                accept: manifest::ACCEPT,
                limit: MAX_MANIFEST,
            })
            .await
    }

    async fn blob(&mut self, blob: Blob) -> Result<Vec<u8>, OciError> {
        if let Some(bytes) = self.cached(blob.digest, blob.size) {
            return Ok(bytes);
        }
        let (_, bytes) = self
            .registry
            .fetch(Wanted {
                what: "the component",
                path: &format!("blobs/{}", blob.digest),
                accept: "application/octet-stream, */*",
                limit: blob.size,
            })
            .await?;
        let found = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if found < blob.size {
            return Err(OciError::Truncated {
                what: "the component",
                reference: Box::new(self.reference.clone()),
                expected: blob.size,
                found,
            });
        }
        self.verified("the component", blob.digest, bytes)
    }

    fn cached(&self, digest: Digest, limit: u64) -> Option<Vec<u8>> {
        self.cache.as_ref()?.get(digest, limit)
    }

    /// Only bytes with this digest come out, and into the cache.
    fn verified(
        &self,
        what: &'static str,
        digest: Digest,
        bytes: Vec<u8>,
    ) -> Result<Vec<u8>, OciError> {
        let found = Digest::of(&bytes);
        if found != digest {
            return Err(self.forged(what, digest, found));
        }
        if let Some(cache) = &self.cache {
            cache.put(digest, &bytes);
        }
        Ok(bytes)
    }

    fn forged(&self, what: &'static str, expected: Digest, found: Digest) -> OciError {
        OciError::Digest {
            what,
            reference: Box::new(self.reference.clone()),
            expected,
            found,
        }
    }
}
