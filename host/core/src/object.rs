//! Owns the stored form of one Kubernetes object: who it is, under which keys it
//! is found, and its filtered JSON, or what stands for it in a cached store. Does not
//! know how it was decoded ([`crate::decode`]) nor where it is kept ([`crate::store`]).

mod keys;

use std::{
    cmp::Ordering,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    ops::Range,
    sync::Arc,
};

pub use keys::Keys;
use keys::PackedKeys;

/// Namespace and name of an object, as one string `namespace NUL name`.
///
/// NUL sorts before every other byte and cannot occur in either part, so the
/// byte order of this string is the order of (namespace, name).
#[derive(Clone)]
pub struct Identity(Joined);

/// So long a string stands in its identity, and hence in its object: it is what a search
/// compares, and each pointer on the way costs it as much as all the rest.
const INLINE: usize = 38;

#[derive(Clone)]
enum Joined {
    Inline { len: u8, bytes: [u8; INLINE] },
    Boxed(Box<str>),
}

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
        let mut bytes = [0; INLINE];
        let parts = [namespace.as_bytes(), b"\0", name.as_bytes()];
        if let Some(len) = join(parts, &mut bytes) {
            return Ok(Self(Joined::Inline { len, bytes }));
        }
        Ok(Self(Joined::Boxed([namespace, "\0", name].concat().into())))
    }

    /// The namespace; empty for cluster-scoped objects.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.as_joined()
            .split_once('\0')
            .map_or("", |(namespace, _)| namespace)
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        let joined = self.as_joined();
        joined.split_once('\0').map_or(joined, |(_, name)| name)
    }

    /// `namespace NUL name`: what identities are ordered by.
    #[must_use]
    pub fn as_joined(&self) -> &str {
        match &self.0 {
            // It was joined from strings.
            Joined::Inline { .. } => str::from_utf8(self.as_bytes()).unwrap_or(""),
            Joined::Boxed(joined) => joined,
        }
    }

    /// The bytes of [`as_joined`](Self::as_joined).
    #[inline]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Joined::Inline { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Joined::Boxed(joined) => joined.as_bytes(),
        }
    }
}

/// Puts parts behind each other at the beginning of `to`; how long they are, if they fit.
fn join(parts: [&[u8]; 3], to: &mut [u8; INLINE]) -> Option<u8> {
    let mut len = 0;
    for part in parts {
        to.get_mut(len..len + part.len())?.copy_from_slice(part);
        len += part.len();
    }
    u8::try_from(len).ok()
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Identity {}

impl PartialOrd for Identity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Identity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl Hash for Identity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
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
    /// Where in `body` the text of the uid string stands (without its quotes); `None`
    /// when the filter removed it. The uid is stored once then, in the body.
    pub uid_span: Option<Range<usize>>,
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
    keys: PackedKeys,
    content: Content,
}

/// See [`Keep`].
enum Content {
    Body {
        body: Body,
        /// Where in it the uid stands.
        uid: Span,
        /// Where in it the resourceVersion stands.
        resource_version: Span,
        /// What of both does not stand there, or not as it is.
        apart: Option<Box<Versions>>,
    },
    Digest {
        digest: Digest,
        versions: Versions,
    },
    Version {
        versions: Versions,
    },
}

/// A part of a body; empty when there is none.
type Span = (u32, u32);

/// uid and resourceVersion.
struct Versions {
    /// The uid, then the resourceVersion.
    text: Box<str>,
    uid_len: u32,
}

impl Versions {
    fn new(uid: &str, resource_version: &str) -> Result<Self, TooLarge> {
        Ok(Self {
            uid_len: fit(uid.len())?,
            text: [uid, resource_version].concat().into_boxed_str(),
        })
    }

    fn uid(&self) -> &str {
        self.split().0
    }

    fn resource_version(&self) -> &str {
        self.split().1
    }

    fn split(&self) -> (&str, &str) {
        self.text
            .split_at(usize::try_from(self.uid_len).unwrap_or(0))
    }
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
        let uid_span = span(parts.uid_span)?;
        let version_span = span(parts.resource_version_span)?;
        let content = match keep {
            Keep::Body => {
                // With escapes it is not what the body says.
                let missing = |text, span| {
                    if part(parts.body, span) == text {
                        ""
                    } else {
                        text
                    }
                };
                let uid = missing(parts.uid, uid_span);
                let resource_version = missing(parts.resource_version, version_span);
                let apart = if uid.is_empty() && resource_version.is_empty() {
                    None
                } else {
                    Some(Box::new(Versions::new(uid, resource_version)?))
                };
                Content::Body {
                    body: Body::new(parts.body),
                    uid: uid_span,
                    resource_version: version_span,
                    apart,
                }
            }
            Keep::Digest => Content::Digest {
                digest: Digest::of(around(parts.body, version_span)),
                versions: Versions::new(parts.uid, parts.resource_version)?,
            },
            Keep::Version => Content::Version {
                versions: Versions::new(parts.uid, parts.resource_version)?,
            },
        };
        Ok(Self {
            identity: parts.identity,
            keys: PackedKeys::new(&parts.keys)?,
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
        match &self.content {
            Content::Body {
                body, uid, apart, ..
            } => match apart.as_deref().map(Versions::uid) {
                None | Some("") => part(body.as_str(), *uid),
                Some(apart) => apart,
            },
            Content::Digest { versions, .. } | Content::Version { versions } => versions.uid(),
        }
    }

    /// `metadata.resourceVersion`; empty when the server sent none.
    #[must_use]
    pub fn resource_version(&self) -> &str {
        match &self.content {
            Content::Body {
                body,
                resource_version,
                apart,
                ..
            } => match apart.as_deref().map(Versions::resource_version) {
                None | Some("") => part(body.as_str(), *resource_version),
                Some(apart) => apart,
            },
            Content::Digest { versions, .. } | Content::Version { versions } => {
                versions.resource_version()
            }
        }
    }

    /// The filtered JSON; none of an object of a cached store.
    #[must_use]
    pub fn body(&self) -> Option<&Body> {
        match &self.content {
            Content::Body { body, .. } => Some(body),
            Content::Digest { .. } | Content::Version { .. } => None,
        }
    }

    /// The object's keys in the `index`-th index, encoded; empty when it has none.
    #[must_use]
    pub fn keys(&self, index: usize) -> Keys<'_> {
        self.keys.of(index)
    }

    /// Whether two versions of an object differ in nothing but
    /// `metadata.resourceVersion` (contract I8): same uid, same index keys, same
    /// filtered body, as far as it was [kept](Keep).
    #[must_use]
    pub fn same_content(&self, other: &Self) -> bool {
        self.uid() == other.uid()
            && self.keys == other.keys
            && match (&self.content, &other.content) {
                (
                    Content::Body {
                        body: a,
                        resource_version: at,
                        ..
                    },
                    Content::Body {
                        body: b,
                        resource_version: bt,
                        ..
                    },
                ) => around(a.as_str(), *at) == around(b.as_str(), *bt),
                (Content::Digest { digest: a, .. }, Content::Digest { digest: b, .. }) => a == b,
                (Content::Version { .. }, Content::Version { .. }) => {
                    self.resource_version() == other.resource_version()
                        && !self.resource_version().is_empty()
                }
                (Content::Body { .. } | Content::Digest { .. } | Content::Version { .. }, _) => {
                    false
                }
            }
    }
}

fn fit(length: usize) -> Result<u32, TooLarge> {
    u32::try_from(length).map_err(|_| TooLarge)
}

fn span(range: Option<Range<usize>>) -> Result<Span, TooLarge> {
    match range {
        Some(range) => Ok((fit(range.start)?, fit(range.end)?)),
        None => Ok((0, 0)),
    }
}

fn part(body: &str, span: Span) -> &str {
    let start = usize::try_from(span.0).unwrap_or(usize::MAX);
    let end = usize::try_from(span.1).unwrap_or(usize::MAX);
    body.get(start..end).unwrap_or("")
}

/// What is before and after the resourceVersion in a body.
fn around(body: &str, span: Span) -> (&str, &str) {
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
