//! Owns the way from the bytes of one object to what the store keeps (contract I3, I4,
//! I7, I8): one pass that takes index keys, evaluates field requirements and drops
//! filtered fields. Builds no tree. Does not know where objects come from
//! ([`crate::frame`]) nor where they go ([`crate::store`]).

mod keys;
mod peek;
#[cfg(test)]
mod tests;

use crate::{
    json::unescape,
    object::{IdentityError, Keep, ObjectParts, TooLarge},
    path::{Compiled, Path, QueryError, Segment},
    shard::Shard,
    walk::{Found, Mark, Scratch, Trie, Walker},
    {Identity, Object},
};
use std::{borrow::Cow, fmt, sync::Arc};

pub use crate::json::{SyntaxError, SyntaxErrorKind};
pub use keys::{MAX_KEY_BYTES, MAX_KEYS};
pub(crate) use peek::{Peeked, peek};

/// What is to be taken from the objects of one watch.
#[derive(Clone, Debug, Default)]
pub struct ProjectionSpec {
    /// Written into bodies whose object lacks it: elements of a LIST of a built-in kind
    /// do, watch events do not, and the two must compare equal.
    pub api_version: String,
    /// As `api_version`.
    pub kind: String,
    /// What is not stored.
    pub ignore: Vec<Path>,
    /// What alone is stored, next to the identity; empty: everything.
    pub keep: Vec<Path>,
    /// The indexes, in the order in which [`Object::keys`] counts them.
    pub indexes: Vec<IndexPaths>,
    /// The field selector as far as the server does not evaluate it; all must hold.
    pub select: Vec<FieldRequirement>,
    /// What objects keep of what the filters leave.
    pub content: Keep,
    /// Whose objects these are; `None`: everybody's. Those of other shards are dropped by
    /// [`crate::watch`], before they come here.
    pub shard: Option<Shard>,
}

/// Where the keys of one index come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexPaths {
    /// One for each component of the key, in order. Empty for an index by identity,
    /// which stores no keys.
    pub paths: Vec<Path>,
    /// What a path without a key value means.
    pub missing_key: MissingKey,
}

/// What an index does with an object for which one of its paths gives no key value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissingKey {
    /// The index does not hold the object.
    #[default]
    Skip,
    /// The component is the empty string.
    Empty,
}

/// One term of a field selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRequirement {
    /// What is compared; a missing value, null, an object or a list compares as the
    /// empty string. A path with several values equals a string when one of them does.
    pub path: Path,
    /// `!=` instead of `=`.
    pub negated: bool,
    /// What it is compared with.
    pub value: String,
}

/// A compiled [`ProjectionSpec`], to be shared by all decoders of a watch.
#[derive(Clone, Debug)]
pub struct Projection {
    paths: Compiled,
    /// Whether everything is stored that is not ignored.
    all: bool,
    /// `{"apiVersion":"…","kind":"…"`.
    prefix: String,
    api_version: String,
    kind: String,
    indexes: Vec<(Vec<usize>, MissingKey)>,
    select: Vec<(usize, bool, String)>,
    content: Keep,
}

/// The numbers under which the identity is reported.
const METADATA: usize = 0;
const NAMESPACE: usize = 1;
const NAME: usize = 2;
const UID: usize = 3;
const RESOURCE_VERSION: usize = 4;
const IDENTITY: [(usize, &str); 4] = [
    (NAMESPACE, "namespace"),
    (NAME, "name"),
    (UID, "uid"),
    (RESOURCE_VERSION, "resourceVersion"),
];
const FIRST_FREE: usize = 5;

fn identity_paths() -> impl Iterator<Item = (usize, Vec<Segment>)> {
    let metadata = || Segment::Name("metadata".into());
    let fields = IDENTITY
        .into_iter()
        .map(move |(target, name)| (target, vec![metadata(), Segment::Name(name.into())]));
    std::iter::once((METADATA, vec![metadata()])).chain(fields)
}

impl Projection {
    /// Compiles a specification.
    #[must_use]
    pub fn new(spec: ProjectionSpec) -> Self {
        let mut paths = Compiled::default();
        let all = spec.keep.is_empty();
        for (target, segments) in identity_paths() {
            paths.add_segments(&segments, Mark::Target(target));
            if !all && target != METADATA {
                paths.add_segments(&segments, Mark::Keep);
            }
        }
        spec.ignore
            .iter()
            .for_each(|path| paths.add(path, Mark::Ignore));
        spec.keep
            .iter()
            .for_each(|path| paths.add(path, Mark::Keep));
        let mut targets = FIRST_FREE..;
        let mut target = |path: &Path| {
            let target = targets.next().unwrap_or(usize::MAX);
            paths.add(path, Mark::Target(target));
            target
        };
        let indexes = spec
            .indexes
            .iter()
            .map(|index| {
                (
                    index.paths.iter().map(&mut target).collect(),
                    index.missing_key,
                )
            })
            .collect();
        let select = spec
            .select
            .into_iter()
            .map(|term| (target(&term.path), term.negated, term.value))
            .collect();
        let api_version = serde_json::Value::from(spec.api_version).to_string();
        let kind = serde_json::Value::from(spec.kind).to_string();
        let prefix = prefix(&api_version, &kind);
        Self {
            paths,
            all,
            prefix,
            api_version,
            kind,
            indexes,
            select,
            content: spec.content,
        }
    }
}

/// The beginning of a body, from two JSON strings.
fn prefix(api_version: &str, kind: &str) -> String {
    format!("{{\"apiVersion\":{api_version},\"kind\":{kind}")
}

/// An object, and what its watch wants to know about it.
#[derive(Debug)]
pub struct Decoded {
    /// The object.
    pub object: Object,
    /// Whether all field requirements hold.
    pub matches: bool,
    /// Whether some index does not hold the object, for lack of a key.
    pub missing_keys: bool,
}

/// An object that is to be quarantined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// Which object, as far as the bytes tell: see [`identity_of`].
    pub identity: Option<Identity>,
    /// Bytes before the fault; 0 when the fault is not at one place.
    pub offset: usize,
    /// The fault.
    pub kind: DecodeErrorKind,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.identity {
            Some(identity) => write!(f, "object {identity}: {}", self.kind),
            None => write!(f, "object of unknown name: {}", self.kind),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Why an object was not decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeErrorKind {
    /// It is not JSON.
    #[error(transparent)]
    Syntax(SyntaxError),
    /// It has no usable name.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// It has more keys in one index than [`MAX_KEYS`], or longer ones than
    /// [`MAX_KEY_BYTES`] together.
    #[error("more than {MAX_KEYS} keys or {MAX_KEY_BYTES} bytes of them in index {index}")]
    TooManyKeys {
        /// Which index, counted from 0.
        index: usize,
    },
    /// A path with filters, slices, unions or descendants could not be evaluated.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// It is too large to be stored.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
}

/// Decodes the objects of one watch, one after the other; keeps its working memory.
#[derive(Debug)]
pub struct Decoder {
    projection: Arc<Projection>,
    scratch: Scratch,
}

/// Working memory that one huge object made grow is given back after it.
const KEPT_CAPACITY: usize = 1 << 20;

impl Decoder {
    /// A decoder for the objects that `projection` was made for.
    #[must_use]
    pub fn new(projection: Arc<Projection>) -> Self {
        Self {
            projection,
            scratch: Scratch::default(),
        }
    }

    /// Decodes one object. All of `json` is checked, also what is not stored.
    ///
    /// The body is compact JSON that begins with `apiVersion` and `kind`; everything
    /// else keeps its order and spelling. With `keep`, containers that a kept path goes
    /// through are stored even when nothing in them is named, and lists hold only the
    /// elements that are; positions in `ignore` and `keep` are those of the input. Index
    /// keys are taken before anything is dropped.
    ///
    /// # Errors
    /// [`DecodeError`]: the object is to be quarantined, the next one can be decoded.
    pub fn decode(&mut self, json: &[u8]) -> Result<Decoded, DecodeError> {
        let decoded = self.try_decode(json).map_err(|kind| {
            let offset = match &kind {
                DecodeErrorKind::Syntax(error) => error.offset,
                _ => 0,
            };
            let identity = identity_of(json).map(|(identity, _)| identity);
            DecodeError {
                identity,
                offset,
                kind,
            }
        });
        self.scratch.shrink_to(KEPT_CAPACITY);
        decoded
    }

    fn try_decode(&mut self, json: &[u8]) -> Result<Decoded, DecodeErrorKind> {
        let Self {
            projection,
            scratch,
        } = self;
        let text = std::str::from_utf8(json).map_err(|error| {
            DecodeErrorKind::Syntax(SyntaxError {
                offset: error.valid_up_to(),
                kind: SyntaxErrorKind::InvalidUtf8,
            })
        })?;
        let trie = projection.paths.trie_for(text)?;
        Walker::new(text, &trie, scratch)
            .project(&projection.prefix, projection.all)
            .map_err(DecodeErrorKind::Syntax)?;
        let moved = set_prefix(scratch, text, projection);
        let matched = Matched {
            text,
            found: &scratch.found,
        };
        let identity = matched.identity()?;
        let (resource_version, span) = match matched.string(RESOURCE_VERSION) {
            Some((value, found)) => (value, found.body_span(moved)),
            None => (Cow::Borrowed(""), None),
        };
        let mut missing_keys = false;
        let mut keys = Vec::with_capacity(projection.indexes.len());
        for (index, (targets, missing)) in projection.indexes.iter().enumerate() {
            let index_keys = keys::composite(&matched, targets, *missing)
                .ok_or(DecodeErrorKind::TooManyKeys { index })?;
            missing_keys |= index_keys.is_empty() && !targets.is_empty();
            keys.push(index_keys);
        }
        let matches = projection
            .select
            .iter()
            .all(|(target, negated, value)| keys::equals(&matched, *target, value) != *negated);
        let (uid, uid_span) = match matched.string(UID) {
            Some((value, found)) => (value, found.body_span(moved)),
            None => (Cow::Borrowed(""), None),
        };
        let parts = ObjectParts {
            identity,
            uid: &uid,
            resource_version: &resource_version,
            body: &scratch.out,
            uid_span,
            resource_version_span: span,
            keys,
        };
        let object = Object::keeping(projection.content, parts)?;
        Ok(Decoded {
            object,
            matches,
            missing_keys,
        })
    }
}

/// Puts the object's own `apiVersion` and `kind` into the body, where they differ
/// from the projection's; by how many bytes the rest moved.
fn set_prefix(scratch: &mut Scratch, text: &str, projection: &Projection) -> Moved {
    let [api_version, kind] = scratch.hoisted.each_ref().map(|range| {
        let value = text.get(range.clone()).unwrap_or("");
        (value.starts_with('"') && value != "\"\"").then_some(value)
    });
    let api_version = api_version.unwrap_or(&projection.api_version);
    let kind = kind.unwrap_or(&projection.kind);
    let old = projection.prefix.len();
    if api_version == projection.api_version && kind == projection.kind {
        return Moved { old, new: old };
    }
    let own = prefix(api_version, kind);
    let rest = scratch.out.split_off(old);
    scratch.out.clear();
    scratch.out.push_str(&own);
    scratch.out.push_str(&rest);
    Moved {
        old,
        new: own.len(),
    }
}

/// How long the beginning of a body was and is.
#[derive(Clone, Copy)]
struct Moved {
    old: usize,
    new: usize,
}

impl Found {
    /// Where the contents of this string stand in the body.
    fn body_span(&self, moved: Moved) -> Option<std::ops::Range<usize>> {
        let start = self.written_at? - moved.old + moved.new;
        Some(start + 1..start + (self.end - self.start) - 1)
    }
}

/// What the paths of a projection matched in one text.
struct Matched<'a> {
    text: &'a str,
    found: &'a [Found],
}

impl<'a> Matched<'a> {
    /// The JSON texts that `target` matched.
    fn all(&self, target: usize) -> impl Iterator<Item = &'a str> {
        let text = self.text;
        let found = self
            .found
            .iter()
            .filter(move |found| found.target == target);
        found.map(|found| text.get(found.start..found.end).unwrap_or(""))
    }

    /// The value of the string that `target` matched, if it is one.
    fn string(&self, target: usize) -> Option<(Cow<'a, str>, &'a Found)> {
        let found = self.found.iter().find(|found| found.target == target)?;
        let raw = self.text.get(found.start..found.end)?;
        Some((unescape(raw.strip_prefix('"')?.strip_suffix('"')?), found))
    }

    fn identity(&self) -> Result<Identity, IdentityError> {
        let namespace = self
            .string(NAMESPACE)
            .map_or(Cow::Borrowed(""), |(value, _)| value);
        let name = self
            .string(NAME)
            .map_or(Cow::Borrowed(""), |(value, _)| value);
        Identity::new(&namespace, &name)
    }
}

/// Identity and resourceVersion (empty when there is none) of an object that need not
/// be valid: for the log line of a quarantined object, and to apply a delete whose
/// object does not decode. `None` when the bytes do not tell for sure: when the JSON
/// breaks off inside `metadata` and the name or the namespace had not come yet.
#[must_use]
pub fn identity_of(json: &[u8]) -> Option<(Identity, String)> {
    let text = String::from_utf8_lossy(json);
    let mut trie = Trie::default();
    for (target, segments) in identity_paths() {
        trie.add(&segments, Mark::Target(target));
    }
    let mut scratch = Scratch::default();
    // What came before the fault counts, and there may be none.
    let walked = Walker::new(&text, &trie, &mut scratch).extract();
    let complete = |found: &&Found| found.end > found.start;
    let metadata = scratch
        .found
        .iter()
        .find(|found| found.target == METADATA)?;
    let sure = walked.is_ok() || complete(&metadata);
    scratch.found.retain(|found| found.end > found.start);
    let matched = Matched {
        text: &text,
        found: &scratch.found,
    };
    if !sure && matched.string(NAMESPACE).is_none() {
        return None;
    }
    let version = matched
        .string(RESOURCE_VERSION)
        .map_or(Cow::Borrowed(""), |(value, _)| value);
    matched
        .identity()
        .ok()
        .map(|identity| (identity, version.into_owned()))
}
