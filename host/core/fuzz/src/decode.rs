//! Owns what must hold of `haptic_core::decode` for any bytes and any paths.
//!
//! An input begins with lines that say what is to be taken from the object, which is the
//! rest of it. `-PATH` ignores, `+PATH` keeps, `#PATH` begins an index, `!PATH` one in which
//! a missing key is empty, `&PATH` adds to the last index (to none: makes one by identity),
//! `=VALUE PATH` and `~VALUE PATH` require a field to be equal or not. Lines whose path is
//! refused are passed over.

#[path = "filtered.rs"]
mod filtered;

use super::repeats::repeats_a_name;
use super::values::{matches, number_out_of_range, places};
use filtered::filtered;
use haptic_core::{
    Identity, Object,
    decode::{
        DecodeErrorKind, Decoded, Decoder, FieldRequirement, IndexPaths, MAX_KEY_BYTES, MAX_KEYS,
        MissingKey, Projection, ProjectionSpec, identity_of,
    },
    key,
    path::{Path, Segment},
};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// More paths would only make a run slower.
const MAX_LINES: usize = 12;

/// Panics when an input breaks what is promised.
pub fn check(input: &[u8]) {
    let (spec, text) = read(input);
    let decoded = decode(&spec, text);
    let identity = identity_of(text);
    if let Err(kind) = &decoded {
        assert!(!kind.to_string().is_empty());
    }
    let tree = match serde_json::from_slice::<Value>(text) {
        Ok(tree @ Value::Object(_)) => tree,
        _ => {
            assert!(
                decoded.is_err() || number_out_of_range(text),
                "no JSON object"
            );
            return;
        }
    };
    if repeats_a_name(text) {
        if let Ok(decoded) = decoded {
            serde_json::from_str::<Value>(text_of(&decoded.object)).expect("a JSON body");
        }
        return;
    }
    let expected = Expected::of(&spec, &tree);
    let Some(decoded) = accepted(decoded, &expected) else {
        return;
    };
    let object = &decoded.object;
    assert_eq!(Some(object.identity()), expected.identity.as_ref());
    assert_eq!(object.uid(), string(&tree["metadata"]["uid"]));
    let version = string(&tree["metadata"]["resourceVersion"]);
    assert_eq!(object.resource_version(), version);
    assert_eq!(
        identity,
        Some((object.identity().clone(), version.to_owned())),
        "what the bytes tell of an object that decodes"
    );

    let body = text_of(object);
    assert_eq!(compact(body), body, "white space in a body");
    let read: Value = serde_json::from_str(body).expect("a JSON body");
    if let Some(expected) = &expected.body {
        assert_eq!(&read, expected, "the body");
        again(&spec, body, expected);
        other_version(&spec, &tree);
    }
    for (index, keys) in expected.keys.iter().enumerate() {
        if let Some(keys) = keys {
            let found: Vec<Box<[u8]>> = object.keys(index).iter().map(Box::from).collect();
            assert_eq!(&found, keys, "the keys in index {index}");
        }
    }
    if let Some(matches) = expected.matches {
        assert_eq!(decoded.matches, matches, "the field selector");
    }
}

fn read(input: &[u8]) -> (ProjectionSpec, &[u8]) {
    let mut spec = ProjectionSpec {
        api_version: "v1".into(),
        kind: "Pod".into(),
        ..ProjectionSpec::default()
    };
    let mut rest = input;
    for _ in 0..MAX_LINES {
        let Some(at) = rest.iter().position(|&byte| byte == b'\n') else {
            break;
        };
        let Some((&what, line)) = rest[..at]
            .split_first()
            .filter(|(what, _)| b"-+#!&=~".contains(what))
        else {
            break;
        };
        rest = &rest[at + 1..];
        let Ok(line) = std::str::from_utf8(line) else {
            continue;
        };
        let (value, path) = match what {
            b'=' | b'~' => line.split_once(' ').unwrap_or((line, "$")),
            _ => ("", line),
        };
        let Ok(path) = Path::parse(path) else {
            continue;
        };
        match what {
            b'-' => spec.ignore.push(path),
            b'+' => spec.keep.push(path),
            b'#' | b'!' => spec.indexes.push(IndexPaths {
                paths: vec![path],
                missing_key: if what == b'#' {
                    MissingKey::Skip
                } else {
                    MissingKey::Empty
                },
            }),
            b'&' => match spec.indexes.last_mut() {
                Some(index) => index.paths.push(path),
                None => spec.indexes.push(IndexPaths::default()),
            },
            _ => spec.select.push(FieldRequirement {
                path,
                negated: what == b'~',
                value: value.to_owned(),
            }),
        }
    }
    (spec, rest)
}

fn decode(spec: &ProjectionSpec, text: &[u8]) -> Result<Decoded, DecodeErrorKind> {
    let mut decoder = Decoder::new(Arc::new(Projection::new(spec.clone())));
    let decoded = decoder.decode(text);
    // Nothing is left from one object to the next.
    let once_more = decoder.decode(text);
    match (&decoded, &once_more) {
        (Ok(first), Ok(second)) => {
            assert!(first.object.same_content(&second.object));
            assert_eq!(first.object.body(), second.object.body());
        }
        (Err(first), Err(second)) => {
            assert_eq!(first, second);
            assert!(first.offset <= text.len());
            let identity = identity_of(text).map(|(identity, _)| identity);
            assert_eq!(first.identity, identity);
        }
        (first, second) => panic!("{first:?}, and then {second:?}"),
    }
    decoded.map_err(|error| error.kind)
}

/// What decoding an object must yield, by its tree; `None` where the tree does not tell.
struct Expected {
    identity: Option<Identity>,
    body: Option<Value>,
    /// For each index.
    keys: Vec<Option<Vec<Box<[u8]>>>>,
    matches: Option<bool>,
    /// Whether an index may have more keys than is allowed.
    many_keys: bool,
}

impl Expected {
    fn of(spec: &ProjectionSpec, tree: &Value) -> Self {
        let metadata = &tree["metadata"];
        let (namespace, name) = (string(&metadata["namespace"]), string(&metadata["name"]));
        let indexes: Vec<_> = spec
            .indexes
            .iter()
            .map(|index| Columns::of(index, tree))
            .collect();
        let terms = spec.select.iter().map(|term| {
            let values = key_values(&term.path, tree)?;
            let equal = if values.is_empty() {
                term.value.is_empty()
            } else {
                values.contains(&term.value)
            };
            Some(equal != term.negated)
        });
        let terms: Option<Vec<bool>> = terms.collect();
        Self {
            identity: Identity::new(namespace, name).ok(),
            body: body(spec, tree),
            many_keys: indexes
                .iter()
                .any(|index| index.as_ref().is_none_or(Columns::many)),
            keys: indexes
                .into_iter()
                .map(|index| {
                    index
                        .filter(|index| !index.many())
                        .map(|index| index.keys())
                })
                .collect(),
            matches: terms.map(|terms| terms.iter().all(|&holds| holds)),
        }
    }
}

/// The values of each path of an index, sorted, each once.
struct Columns(Vec<Vec<String>>);

impl Columns {
    fn of(index: &IndexPaths, tree: &Value) -> Option<Self> {
        let columns = index.paths.iter().map(|path| {
            let mut values = key_values(path, tree)?;
            if values.is_empty() && index.missing_key == MissingKey::Empty {
                values.push(String::new());
            }
            values.sort();
            values.dedup();
            Some(values)
        });
        columns.collect::<Option<_>>().map(Self)
    }

    /// Whether their combinations may be more, or longer, than is allowed.
    fn many(&self) -> bool {
        let count = self
            .0
            .iter()
            .fold(1_usize, |n, column| n.saturating_mul(column.len()));
        let bytes: usize = self.0.iter().flatten().map(|value| value.len() + 2).sum();
        count > MAX_KEYS || count.saturating_mul(bytes) > MAX_KEY_BYTES / 2
    }

    fn keys(&self) -> Vec<Box<[u8]>> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let mut keys: Vec<Vec<&str>> = vec![Vec::new()];
        for column in &self.0 {
            keys = keys
                .iter()
                .flat_map(|key| {
                    column
                        .iter()
                        .map(|value| [key.as_slice(), &[value]].concat())
                })
                .collect();
        }
        keys.into_iter().map(key::encode).collect()
    }
}

/// The values of a path that count as keys; `None` when the tree has lost how a number
/// was written.
fn key_values(path: &Path, tree: &Value) -> Option<Vec<String>> {
    let mut values = Vec::new();
    for place in places(path, tree)? {
        let [value] = matches(tree, &place)[..] else {
            panic!("{place:?} is one place");
        };
        match value {
            Value::String(text) => values.push(text.clone()),
            Value::Bool(flag) => values.push(flag.to_string()),
            Value::Number(number) if number.is_f64() => return None,
            Value::Number(number) => values.push(number.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => {}
        }
    }
    Some(values)
}

fn string(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

fn body(spec: &ProjectionSpec, tree: &Value) -> Option<Value> {
    let identity = ["namespace", "name", "uid", "resourceVersion"]
        .map(|name| vec![Segment::Name("metadata".into()), Segment::Name(name.into())]);
    let all_places = |paths: &[Path]| -> Option<Vec<Vec<Segment>>> {
        let mut all = Vec::new();
        for path in paths {
            match path.segments() {
                Some(segments) => all.push(segments.to_vec()),
                None => all.extend(places(path, tree)?),
            }
        }
        Some(all)
    };
    let ignore = all_places(&spec.ignore)?;
    let mut keep = all_places(&spec.keep)?;
    keep.extend(identity);
    let ignore: Vec<&[Segment]> = ignore.iter().map(Vec::as_slice).collect();
    let keep: Vec<&[Segment]> = keep.iter().map(Vec::as_slice).collect();
    let keep = (!spec.keep.is_empty()).then_some(&keep[..]);
    let mut body = filtered(tree, keep, &ignore).unwrap_or(Value::Object(Map::new()));
    for (name, default) in [("apiVersion", &spec.api_version), ("kind", &spec.kind)] {
        let own = string(&tree[name]);
        body[name] = if own.is_empty() {
            default.as_str()
        } else {
            own
        }
        .into();
    }
    Some(body)
}

/// What was decoded, which must be so unless the object has no name, too many keys or
/// too much for a query.
fn accepted(decoded: Result<Decoded, DecodeErrorKind>, expected: &Expected) -> Option<Decoded> {
    match decoded {
        Ok(decoded) => Some(decoded),
        Err(DecodeErrorKind::Identity(_)) if expected.identity.is_none() => None,
        Err(DecodeErrorKind::TooManyKeys { .. }) if expected.many_keys => None,
        Err(DecodeErrorKind::Query(_)) => None,
        Err(kind) => panic!("{kind:?} for a valid object"),
    }
}

/// Filters that name no positions change nothing in what they let through.
fn again(spec: &ProjectionSpec, body: &str, expected: &Value) {
    let by_name = |path: &Path| {
        let segments = path.segments();
        segments.is_some_and(|all| all.iter().all(|step| !matches!(step, Segment::Index(_))))
    };
    let filters = ProjectionSpec {
        indexes: Vec::new(),
        select: Vec::new(),
        ..spec.clone()
    };
    let named = Identity::new(
        string(&expected["metadata"]["namespace"]),
        string(&expected["metadata"]["name"]),
    );
    if named.is_ok() && filters.ignore.iter().chain(&filters.keep).all(by_name) {
        let again = decode(&filters, body.as_bytes()).expect("its own output");
        assert_eq!(text_of(&again.object), body, "decoded twice");
    }
}

/// These projections keep bodies.
fn text_of(object: &Object) -> &str {
    object.body().expect("a body").as_str()
}

/// Another resourceVersion is no other content (contract I8).
fn other_version(spec: &ProjectionSpec, tree: &Value) {
    let plain = |path: &Path| path.segments().is_some();
    if !tree["metadata"]["resourceVersion"].is_string()
        || !spec.ignore.iter().chain(&spec.keep).all(plain)
    {
        return;
    }
    let filters = ProjectionSpec {
        indexes: Vec::new(),
        select: Vec::new(),
        ..spec.clone()
    };
    let mut newer = tree.clone();
    newer["metadata"]["resourceVersion"] = json!("\"10\\");
    let [old, new] = [tree, &newer].map(|tree| decode(&filters, tree.to_string().as_bytes()));
    let (old, new) = (old.expect("decoded before"), new.expect("decoded before"));
    assert!(old.object.same_content(&new.object));
    assert_eq!(new.object.resource_version(), "\"10\\");
    let mut other = tree.clone();
    other["metadata"]["uid"] = json!("another");
    let other = decode(&filters, other.to_string().as_bytes()).expect("decoded before");
    assert_eq!(
        old.object.same_content(&other.object),
        old.object.uid() == "another"
    );
}

/// JSON text without white space outside strings.
fn compact(text: &str) -> String {
    let mut quoted = false;
    let mut escaped = false;
    let mut kept = |c: char| {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        quoted || !matches!(c, ' ' | '\n' | '\r' | '\t')
    };
    text.chars().filter(|&c| kept(c)).collect()
}
