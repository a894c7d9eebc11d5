//! Owns the path dialect (contract I1): from what was typed to a compiled [`Path`],
//! and the evaluation of paths on JSON text. Does not know what a path is used for
//! ([`crate::decode`], [`crate::select`]).

mod error;
mod extract;
mod parse;
mod query;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    hash::{Hash, Hasher},
    str::FromStr,
};

pub use error::{PathError, PathErrorKind};
pub(crate) use extract::Compiled;
pub use extract::{ExtractError, Extractor, Match};
pub use query::QueryError;

/// Longer paths are refused: 1,024 bytes are ten times the longest that anybody types.
pub const MAX_PATH_BYTES: usize = 1024;

/// Paths of more steps are refused: Kubernetes objects nest about 20 deep.
pub const MAX_PATH_SEGMENTS: usize = 64;

/// A compiled path into a JSON text.
///
/// Accepted are RFC 9535 JSONPath with or without its leading `$`, kubectl's `{.a.b}`
/// and `.a.b`, a literal dot as `\.`, and `-` and `/` in bare names. All of these mean
/// the same, and compare equal:
///
/// ```
/// use haptic_core::path::Path;
/// let path: Path = "metadata.labels['kubernetes.io/service-name']".parse()?;
/// assert_eq!(path, r"{.metadata.labels.kubernetes\.io/service-name}".parse()?);
/// assert_eq!(path, r#"$["metadata"]["labels"]["kubernetes.io/service-name"]"#.parse()?);
/// let json = r#"{"metadata":{"labels":{"kubernetes.io/service-name":"web"}}}"#;
/// assert_eq!(path.extract(json)?, [r#""web""#]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Path {
    text: Box<str>,
    steps: Steps,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Steps {
    /// Names, indices and wildcards: evaluated while scanning.
    Plain(Vec<Segment>),
    /// Filters, slices, unions, descendants: need a tree.
    Query(query::Query),
}

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Segment {
    /// The member of this name.
    Name(Box<str>),
    /// The element at this position; a negative one counts from the end.
    Index(i64),
    /// All members, or all elements.
    Wildcard,
}

impl Path {
    /// Compiles a path.
    ///
    /// # Errors
    /// [`PathError`] says where and why, and how to write it instead.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let steps = parse::parse(text).map_err(|(position, kind)| PathError {
            input: text
                .get(..text.floor_char_boundary(MAX_PATH_BYTES))
                .unwrap_or_default()
                .to_owned(),
            position,
            kind,
        })?;
        Ok(Self {
            text: text.into(),
            steps,
        })
    }

    /// Whether the path matches at most one value: names and indices only.
    #[must_use]
    pub fn is_singular(&self) -> bool {
        self.segments()
            .is_some_and(|segments| !segments.contains(&Segment::Wildcard))
    }

    /// The steps, when they are names, indices and wildcards only.
    #[must_use]
    pub fn segments(&self) -> Option<&[Segment]> {
        match &self.steps {
            Steps::Plain(segments) => Some(segments),
            Steps::Query(_) => None,
        }
    }

    /// Whether every value that the path can match lies in this member of the object. Not
    /// told of paths with filters, slices, unions or descendants: false.
    #[must_use]
    pub fn is_within(&self, member: &str) -> bool {
        self.segments()
            .and_then(<[Segment]>::first)
            .is_some_and(|first| matches!(first, Segment::Name(name) if **name == *member))
    }

    fn steps(&self) -> &Steps {
        &self.steps
    }

    /// What was typed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The JSON texts of all values that the path matches in `json`, in document order,
    /// each once. To evaluate many paths, or one on many texts, use [`Extractor`].
    ///
    /// # Errors
    /// [`ExtractError`] when `json` is not valid, or too large for a path with filters,
    /// slices, unions or descendants.
    pub fn extract<'a>(&self, json: &'a str) -> Result<Vec<&'a str>, ExtractError> {
        let mut found = Vec::new();
        Extractor::new(std::slice::from_ref(self)).extract(json, &mut found)?;
        Ok(found.into_iter().map(|found| found.json).collect())
    }
}

impl PartialEq for Path {
    fn eq(&self, other: &Self) -> bool {
        self.steps == other.steps
    }
}

impl Eq for Path {}

impl Hash for Path {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.steps.hash(state);
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Path({})", self.text)
    }
}

impl FromStr for Path {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Path {
    type Error = PathError;

    fn try_from(text: String) -> Result<Self, PathError> {
        Self::parse(&text)
    }
}

impl<'de> serde::Deserialize<'de> for Path {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl serde::Serialize for Path {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}
