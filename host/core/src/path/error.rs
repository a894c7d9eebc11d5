//! Owns the sentences that explain why a path was refused.

use super::{MAX_PATH_BYTES, MAX_PATH_SEGMENTS};
use std::fmt;

/// Why a path was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("in path {input:?}, column {}: {kind}", column(input, *position))]
pub struct PathError {
    /// What was typed, at most the first [`MAX_PATH_BYTES`] of it.
    pub input: String,
    /// The byte of `input` where the fault stands.
    pub position: usize,
    /// The fault.
    pub kind: PathErrorKind,
}

fn column(input: &str, position: usize) -> usize {
    input.get(..position).unwrap_or(input).chars().count() + 1
}

/// The fault in a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathErrorKind {
    /// Nothing was typed.
    Empty,
    /// More than [`MAX_PATH_BYTES`].
    TooLong,
    /// More than [`MAX_PATH_SEGMENTS`].
    TooManySegments,
    /// A kubectl template: several expressions, text around one, `{range}`, `{end}`.
    Template,
    /// A Go template: `{{ }}`.
    GoTemplate,
    /// A dot that no name follows.
    ExpectedName,
    /// Something that starts no step.
    ExpectedSegment(char),
    /// A character that bare names cannot hold.
    BareNameCharacter(char),
    /// A bare name of digits only.
    BareDigits(String),
    /// A quote without its partner.
    UnterminatedString,
    /// A backslash that starts no escape.
    InvalidEscape,
    /// A control character in a quoted name.
    ControlCharacter,
    /// A bracket without its partner.
    UnclosedBracket,
    /// `[]`.
    EmptyBrackets,
    /// `[name]`.
    UnquotedName(String),
    /// A number that is no index.
    InvalidIndex(String),
    /// Not what RFC 9535 allows here; the JSONPath parser's words.
    Query(String),
    /// Valid, but its evaluation could take time out of proportion to the object.
    TooCostly(&'static str),
}

impl fmt::Display for PathErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the path is empty"),
            Self::TooLong => write!(f, "the path is longer than {MAX_PATH_BYTES} bytes"),
            Self::TooManySegments => {
                write!(f, "the path has more than {MAX_PATH_SEGMENTS} steps")
            }
            Self::Template => f.write_str(
                "this is a template, and only a single path is accepted: \
                 instead of {range .items[*]}{.name}{end} write items[*].name",
            ),
            Self::GoTemplate => f.write_str(
                "Go templates are not accepted: \
                 instead of {{ .metadata.name }} write metadata.name",
            ),
            Self::ExpectedName => f.write_str("a name, * or [ must follow the dot"),
            Self::ExpectedSegment(found) => {
                write!(f, "expected a dot or [ and found {found:?}")
            }
            Self::BareNameCharacter(found) => write!(
                f,
                "{found:?} cannot stand in a bare name: quote the name, as in ['a{found}b']"
            ),
            Self::BareDigits(digits) => write!(
                f,
                "write [{digits}] for an element of a list, ['{digits}'] for a member"
            ),
            Self::UnterminatedString => f.write_str("the closing quote is missing"),
            Self::InvalidEscape => f.write_str(
                r#"after a backslash only . ' " \ / b f n r t and uXXXX may stand in a quoted name, only a dot elsewhere"#,
            ),
            Self::ControlCharacter => {
                f.write_str("control characters in a quoted name must be escaped")
            }
            Self::UnclosedBracket => f.write_str("] is missing"),
            Self::EmptyBrackets => f.write_str("write [*] for all elements"),
            Self::UnquotedName(name) => write!(f, "quote the name: ['{name}']"),
            Self::InvalidIndex(text) => write!(f, "{text:?} is no index"),
            Self::Query(words) => write!(f, "not valid JSONPath (RFC 9535): {words}"),
            Self::TooCostly(what) => f.write_str(what),
        }
    }
}
