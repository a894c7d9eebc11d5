//! Owns the stored form of one Kubernetes object: who it is, under which keys it
//! is found, and its filtered JSON, or what stands for it in a cached store. Does not
//! know how it was decoded ([`crate::decode`]) nor where it is kept ([`crate::store`]).

use std::{
    cmp::Ordering,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    ops::Range,
    sync::Arc,
};

/// Namespace and name of an object, as one string `namespace NUL name`.
///
/// NUL sorts before every other byte and cannot occur in either part, so the
/// byte order of this string is the order of (namespace, name).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity(Box<str>);

impl Identity {
    /// Joins the two parts; `namespace` is empty for cluster-scoped objects.
    ///
    /// # Errors
    /// [`IdentityError`] when the name is empty or a part holds a NUL.
    pub fn new(namespace: &str, name: &str) -> Result<Self, IdentityError> {
        if name.is_empty() {
            return Err(IdentityError::NoName);
        }
        if namespace.contains('\0') || name.contains('\0') {
            return Err(IdentityError::Nul);
        }
        let mut joined = String::with_capacity(namespace.len() + 1 + name.len());
        joined.push_str(namespace);
        joined.push('\0');
        joined.push_str(name);
        Ok(Self(joined.into_boxed_str()))
    }

    /// The namespace; empty for cluster-scoped objects.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.0
            .split_once('\0')
            .map_or("", |(namespace, _)| namespace)
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.split_once('\0').map_or(&*self.0, |(_, name)| name)
    }

    /// `namespace NUL name`: what identities are ordered by.
    #[must_use]
    pub fn as_joined(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Identity {
    /// `namespace/name`, or the name alone for cluster-scoped objects.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace() {
            "" => f.write_str(self.name()),
            namespace => write!(f, "{namespace}/{}", self.name()),
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({self})")
    }
}

/// Why two strings are no identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// `metadata.name` is missing or empty.
    #[error("the object has no metadata.name")]
    NoName,
    /// A part holds a NUL byte, which no API server accepts.
    #[error("metadata.namespace or metadata.name holds a NUL byte")]
    Nul,
}

/// The filtered JSON text of an object. The one type that knows how bodies are
/// encoded in memory: a denser codec would change nothing outside it.
#[derive(Clone, PartialEq, Eq)]
pub struct Body(Arc<str>);

impl Body {
    /// Takes compact JSON text.
    #[must_use]
    pub fn new(json: &str) -> Self {
        Self(Arc::from(json))
    }

    /// The JSON text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The JSON text, shared: nothing is copied.
    #[must_use]
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One encoded composite index key: see [`crate::key`].
pub type EncodedKey = Box<[u8]>;

/// What [`crate::decode`] found out about an object, to make an [`Object`] from.
#[derive(Clone, Debug)]
pub struct ObjectParts<'a> {
    /// `metadata.namespace`, `metadata.name`.
    pub identity: Identity,
    /// `metadata.uid`; empty when the object carries none.
    pub uid: &'a str,
    /// `metadata.resourceVersion`; empty when the object carries none.
    pub resource_version: &'a str,
    /// The filtered JSON.
    pub body: &'a str,
    /// Where in `body` the text of the resourceVersion string stands (without
    /// its quotes); `None` when the filter removed it.
    pub resource_version_span: Option<Range<usize>>,
    /// For each index of the watch, in order, the keys of this object.
    pub keys: Vec<Vec<EncodedKey>>,
}

/// What an [`Object`] keeps of its filtered JSON. A cached store keeps none of it
/// (contract S6), and still has to tell a change from none (I8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// The JSON itself.
    #[default]
    Body,
    /// A hash of it, without the resourceVersion.
    Digest,
    /// Nothing: every new resourceVersion counts as a change. Of a watch that is sent
    /// metadata only, which does not show whether the rest changed.
    Version,
}

/// One object as the store keeps it: immutable, shared by `Arc` between the
/// store, snapshots and guests.
pub struct Object {
    identity: Identity,
    /// uid, then resourceVersion.
    versions: Box<str>,
    uid_len: u32,
    keys: Box<[Box<[EncodedKey]>]>,
    content: Content,
}

/// See [`Keep`].
enum Content {
    Body {
        body: Body,
        /// Where in it the resourceVersion stands.
        span: (u32, u32),
    },
    Digest(Digest),
    Version,
}

/// 128 bits of a text. The keys of the hash are fixed, so a collision can be made, with
/// about 2⁶⁴ attempts; whoever does hides a change of its own object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Digest([u64; 2]);

impl Digest {
    pub(crate) fn of(value: impl Hash) -> Self {
        Self([0_u8, 1].map(|half| {
            let mut hasher = DefaultHasher::new();
            half.hash(&mut hasher);
            value.hash(&mut hasher);
            hasher.finish()
        }))
    }
}

impl Object {
    /// Builds the stored form, with its body.
    ///
    /// # Errors
    /// [`TooLarge`] when a length does not fit 32 bits.
    pub fn new(parts: ObjectParts<'_>) -> Result<Self, TooLarge> {
        Self::keeping(Keep::Body, parts)
    }

    /// Builds the stored form with as much of the body as `keep` says.
    ///
    /// # Errors
    /// [`TooLarge`] when a length does not fit 32 bits.
    pub fn keeping(keep: Keep, parts: ObjectParts<'_>) -> Result<Self, TooLarge> {
        let fit = |n: usize| u32::try_from(n).map_err(|_| TooLarge);
        let uid_len = fit(parts.uid.len())?;
        let span = match &parts.resource_version_span {
            Some(range) => (fit(range.start)?, fit(range.end)?),
            None => (0, 0),
        };
        let mut versions = String::with_capacity(parts.uid.len() + parts.resource_version.len());
        versions.push_str(parts.uid);
        versions.push_str(parts.resource_version);
        let keys = if parts.keys.iter().all(Vec::is_empty) {
            Box::default()
        } else {
            parts.keys.into_iter().map(Vec::into_boxed_slice).collect()
        };
        let content = match keep {
            Keep::Body => Content::Body {
                body: Body::new(parts.body),
                span,
            },
            Keep::Digest => Content::Digest(Digest::of(around(parts.body, span))),
            Keep::Version => Content::Version,
        };
        Ok(Self {
            identity: parts.identity,
            versions: versions.into_boxed_str(),
            uid_len,
            keys,
            content,
        })
    }

    /// Namespace and name.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// `metadata.namespace`; empty for cluster-scoped objects.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.identity.namespace()
    }

    /// `metadata.name`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.identity.name()
    }

    /// `metadata.uid`; empty when the server sent none.
    #[must_use]
    pub fn uid(&self) -> &str {
        self.versions.split_at(self.uid_len()).0
    }

    /// `metadata.resourceVersion`; empty when the server sent none.
    #[must_use]
    pub fn resource_version(&self) -> &str {
        self.versions.split_at(self.uid_len()).1
    }

    /// The filtered JSON; none of an object of a cached store.
    #[must_use]
    pub fn body(&self) -> Option<&Body> {
        match &self.content {
            Content::Body { body, .. } => Some(body),
            Content::Digest(_) | Content::Version => None,
        }
    }

    /// The object's keys in the `index`-th index, encoded; empty when it has none.
    #[must_use]
    pub fn keys(&self, index: usize) -> &[EncodedKey] {
        self.keys.get(index).map_or(&[], |keys| keys)
    }

    /// Whether two versions of an object differ in nothing but
    /// `metadata.resourceVersion` (contract I8): same uid, same index keys, same
    /// filtered body, as far as it was [kept](Keep).
    #[must_use]
    pub fn same_content(&self, other: &Self) -> bool {
        self.uid() == other.uid()
            && self.keys == other.keys
            && match (&self.content, &other.content) {
                (Content::Body { body: a, span: at }, Content::Body { body: b, span: bt }) => {
                    around(a.as_str(), *at) == around(b.as_str(), *bt)
                }
                (Content::Digest(a), Content::Digest(b)) => a == b,
                (Content::Version, Content::Version) => {
                    self.resource_version() == other.resource_version()
                        && !self.resource_version().is_empty()
                }
                (Content::Body { .. } | Content::Digest(_) | Content::Version, _) => false,
            }
    }

    fn uid_len(&self) -> usize {
        usize::try_from(self.uid_len).unwrap_or(0)
    }
}

/// What is before and after the resourceVersion in a body.
fn around(body: &str, span: (u32, u32)) -> (&str, &str) {
    // Both ends stand on an ASCII quote, hence on character boundaries.
    let start = usize::try_from(span.0).unwrap_or(usize::MAX);
    let end = usize::try_from(span.1).unwrap_or(usize::MAX);
    match (body.get(..start), body.get(end..)) {
        (Some(before), Some(after)) => (before, after),
        _ => (body, ""),
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object")
            .field("identity", &self.identity)
            .field("uid", &self.uid())
            .field("resource_version", &self.resource_version())
            .field("body", &self.body())
            .finish_non_exhaustive()
    }
}

/// An object whose identity, uid or body is longer than 4 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the object is larger than 4 GiB")]
pub struct TooLarge;

/// An object ordered by its identity, so that a set of these is a map from
/// identity to object without a second copy of the key.
#[derive(Clone, Debug)]
pub struct ByIdentity(pub Arc<Object>);

impl PartialEq for ByIdentity {
    fn eq(&self, other: &Self) -> bool {
        self.0.identity == other.0.identity
    }
}

impl Eq for ByIdentity {}

impl PartialOrd for ByIdentity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByIdentity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.identity.cmp(&other.0.identity)
    }
}

impl std::borrow::Borrow<Identity> for ByIdentity {
    fn borrow(&self) -> &Identity {
        &self.0.identity
    }
}
