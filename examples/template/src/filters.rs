//! Filters and tests beside those of Jinja. Pure functions of their input.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minijinja::value::{Rest, StringInput, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State};
use sha2::{Digest, Sha256};

use crate::path::Path;
use crate::yaml;

/// The names, for hints.
pub const NAMES: &[&str] = &[
    "b64decode",
    "b64encode",
    "dig",
    "extract",
    "glob_match",
    "group_by",
    "regex_escape",
    "sha256",
    "sort_by",
    "to_yaml",
];

/// Adds them.
pub fn add_to(env: &mut Environment<'static>) {
    env.add_filter("b64decode", b64decode);
    env.add_filter("b64encode", b64encode);
    env.add_filter("dig", dig);
    env.add_filter("extract", extract);
    env.add_filter("glob_match", glob_match);
    env.add_filter("group_by", group_by);
    env.add_filter("regex_escape", regex_escape);
    env.add_filter("sha256", sha256);
    env.add_filter("sort_by", sort_by);
    env.add_filter("to_yaml", to_yaml);
    env.add_test("word", is_word);
}

/// Whether a text is one that no configuration language reads as more than one word, as names, hosts,
/// paths, addresses and durations are: letters, digits and `-._~/:*@+,=`.
fn is_word(value: &Value) -> bool {
    value.as_str().is_some_and(|text| {
        !text.is_empty()
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-._~/:*@+,=".contains(c))
    })
}

fn wrong(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, text.into())
}

fn path(text: &str) -> Result<Path, Error> {
    Path::parse(text).map_err(wrong)
}

/// Fails for what is undefined, and names it.
pub fn defined(state: &State, value: &Value) -> Result<(), Error> {
    match value.is_undefined() {
        true => StringInput::new(state, value).map(|_| ()),
        false => Ok(()),
    }
}

fn text<'v>(state: &State, filter: &str, value: &'v Value) -> Result<&'v str, Error> {
    defined(state, value)?;
    value
        .as_str()
        .ok_or_else(|| wrong(format!("{filter}: this is a {} and no text", value.kind())))
}

/// Text from base64, which may be broken into lines.
fn b64decode(state: &State, value: &Value) -> Result<String, Error> {
    let text = text(state, "b64decode", value)?;
    let compact: String = text.split_ascii_whitespace().collect();
    let bytes = STANDARD
        .decode(compact)
        .map_err(|error| wrong(format!("b64decode: this is no base64: {error}")))?;
    String::from_utf8(bytes)
        .map_err(|_| wrong("b64decode: these are bytes and no text; a template writes text only"))
}

fn b64encode(state: &State, value: &Value) -> Result<String, Error> {
    Ok(STANDARD.encode(text(state, "b64encode", value)?))
}

fn sha256(state: &State, value: &Value) -> Result<String, Error> {
    let digest = Sha256::digest(text(state, "sha256", value)?.as_bytes());
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The first value that the path matches; else the default, `none` if there is none.
fn dig(value: &Value, at: &str, default: Option<Value>) -> Result<Value, Error> {
    let found = path(at)?.first(value).filter(|value| !value.is_none());
    Ok(found.or(default).unwrap_or(Value::from(())))
}

/// All that the path matches, in the value or in each of a list of values; lists that it ends at are
/// flattened.
fn extract(state: &State, value: &Value, at: &str) -> Result<Vec<Value>, Error> {
    let path = path(at)?;
    let mut found = Vec::new();
    for item in items(state, value)? {
        for hit in path.find(&item) {
            match hit.kind() {
                ValueKind::Seq => found.extend(hit.try_iter()?),
                _ => found.push(hit),
            }
        }
    }
    Ok(found)
}

/// The elements of a list, or the one value.
fn items(state: &State, value: &Value) -> Result<Vec<Value>, Error> {
    defined(state, value)?;
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable => Ok(value.try_iter()?.collect()),
        _ => Ok(vec![value.clone()]),
    }
}

/// Whether a text matches a glob, or those of a list that do.
fn glob_match(state: &State, value: &Value, pattern: &str) -> Result<Value, Error> {
    if let Some(text) = value.as_str() {
        return Ok(Value::from(is_match(pattern, text)));
    }
    let matching: Vec<Value> = items(state, value)?
        .into_iter()
        .filter(|item| item.as_str().is_some_and(|text| is_match(pattern, text)))
        .collect();
    Ok(Value::from(matching))
}

/// `*` is any text, `?` one character. Goes back to the last `*` only, so it takes no more than
/// pattern times text.
fn is_match(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == '?' || c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

/// A mapping from each value that the path has to the items that have it, in the order in which they
/// come. Items without it are in none.
fn group_by(state: &State, value: &Value, at: &str) -> Result<Value, Error> {
    let path = path(at)?;
    let mut groups: Vec<(Value, Vec<Value>)> = Vec::new();
    let mut places = std::collections::BTreeMap::new();
    for item in items(state, value)? {
        let Some(key) = path.first(&item) else {
            continue;
        };
        let place = *places.entry(key.clone()).or_insert_with(|| {
            groups.push((key, Vec::new()));
            groups.len() - 1
        });
        groups[place].1.push(item);
    }
    Ok(Value::from_pairs(groups))
}

/// Backslashes before what a regular expression would interpret.
fn regex_escape(state: &State, value: &Value) -> Result<String, Error> {
    let text = text(state, "regex_escape", value)?;
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if r"\.+*?()|[]{}^$#&-~".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    Ok(escaped)
}

/// One criterion of `sort_by`: `$.priority:desc`, `$.match.method:exists`, `$.path | length:desc`.
struct Criterion {
    path: Path,
    measure: Measure,
    is_descending: bool,
}

enum Measure {
    Value,
    Exists,
    Length,
}

impl Criterion {
    fn parse(text: &str) -> Result<Self, Error> {
        let (mut rest, mut measure, mut is_descending) = (text.trim(), Measure::Value, false);
        if let Some(before) = rest.strip_suffix(":desc") {
            (rest, is_descending) = (before.trim_end(), true);
        } else if let Some(before) = rest.strip_suffix(":asc") {
            rest = before.trim_end();
        }
        if let Some(before) = rest.strip_suffix(":exists") {
            (rest, measure) = (before, Measure::Exists);
        } else if let Some((before, "length")) = rest
            .split_once('|')
            .map(|(before, after)| (before, after.trim()))
        {
            (rest, measure) = (before, Measure::Length);
        }
        Ok(Criterion {
            path: path(rest)?,
            measure,
            is_descending,
        })
    }

    /// What is missing comes last, or first where the order is descending.
    fn key(&self, item: &Value) -> (bool, Value) {
        let found = self.path.first(item);
        match self.measure {
            Measure::Exists => (false, Value::from(found.is_none())),
            Measure::Length => {
                let length = found.and_then(|value| value.len()).unwrap_or(0);
                (false, Value::from(length))
            }
            Measure::Value => match found {
                Some(value) => (false, value),
                None => (true, Value::from(())),
            },
        }
    }
}

/// A list sorted by one or several criteria. Equal ones keep their order.
fn sort_by(state: &State, value: &Value, criteria: Rest<Value>) -> Result<Vec<Value>, Error> {
    let mut parsed = Vec::new();
    for argument in criteria.iter() {
        for text in items(state, argument)? {
            let text = text.as_str().ok_or_else(|| {
                wrong("sort_by: a criterion is a text, such as `$.metadata.name:desc`")
            })?;
            parsed.push(Criterion::parse(text)?);
        }
    }
    let mut keyed: Vec<(Vec<(bool, Value)>, Value)> = items(state, value)?
        .into_iter()
        .map(|item| (parsed.iter().map(|one| one.key(&item)).collect(), item))
        .collect();
    // A comparison for each halving.
    let comparisons = keyed.len() * keyed.len().max(2).ilog2() as usize * parsed.len();
    state.consume_fuel(comparisons as u64)?;
    keyed.sort_by(|(left, _), (right, _)| {
        let pairs = parsed.iter().zip(left.iter().zip(right));
        pairs.fold(std::cmp::Ordering::Equal, |order, (one, (left, right))| {
            order.then_with(|| match one.is_descending {
                true => right.cmp(left),
                false => left.cmp(right),
            })
        })
    });
    Ok(keyed.into_iter().map(|(_, item)| item).collect())
}

fn to_yaml(value: &Value) -> Result<String, Error> {
    let json = serde_json::to_value(value)
        .map_err(|error| wrong(format!("to_yaml: this cannot be written: {error}")))?;
    Ok(yaml::to_yaml(&json))
}
