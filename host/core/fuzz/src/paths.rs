//! Owns what must hold of `haptic_core::path` for any text.
//!
//! The first line of an input is the path, the rest the JSON that it is evaluated on.

use super::repeats::repeats_a_name;
use super::values::{matches, number_out_of_range, places};
use haptic_core::path::{ExtractError, MAX_PATH_BYTES, Path, PathError, PathErrorKind, Segment};
use jsonpath_rust::parser::parse_json_path;
use serde_json::Value;

/// Panics when an input breaks what is promised.
pub fn check(input: &[u8]) {
    let newline = input.iter().position(|&byte| byte == b'\n');
    let (text, json) = input.split_at(newline.unwrap_or(input.len()));
    let (text, json) = (String::from_utf8_lossy(text), String::from_utf8_lossy(json));
    let path = match Path::parse(&text) {
        Ok(path) => path,
        Err(error) => {
            refused(&text, &error);
            return;
        }
    };
    printed(&text, &path);
    if let Some(segments) = path.segments() {
        spelled_out(&path, segments);
    }
    in_braces(&text, &path);
    evaluated(&path, &json);
}

fn refused(text: &str, error: &PathError) {
    assert_eq!(
        error.input,
        text[..text.floor_char_boundary(MAX_PATH_BYTES)]
    );
    assert!(text.is_char_boundary(error.position), "{error:?}");
    // Quoted at most twice, and a byte needs at most the six of `\u{16}`.
    assert!(
        error.to_string().len() < 12 * MAX_PATH_BYTES + 1000,
        "{error}"
    );
    // The library reads names with blanks, and whatever else Unicode calls a letter;
    // RFC 9535 has no such names.
    let only_library = matches!(
        error.kind,
        PathErrorKind::TooCostly(_)
            | PathErrorKind::TooLong
            | PathErrorKind::TooManySegments
            | PathErrorKind::ExpectedSegment(_)
            | PathErrorKind::BareNameCharacter(_)
    );
    // The library's time is exponential in functions inside each other, which only
    // `haptic_core` refuses before.
    let few_calls = text.matches('(').count() <= 6;
    if text.starts_with('$') && text.len() <= MAX_PATH_BYTES && few_calls && !only_library {
        assert!(
            parse_json_path(text).is_err(),
            "{error}, but jsonpath-rust accepts it"
        );
    }
}

fn printed(text: &str, path: &Path) {
    assert_eq!(path.to_string(), text);
    assert_eq!(&reparsed(&path.to_string()), path);
    let written = serde_json::to_string(path).expect("a string");
    let read: Path = serde_json::from_str(&written).expect("what was written");
    assert_eq!(&read, path);
}

/// A path of plain steps, written out as RFC 9535 text, is the same path.
fn spelled_out(path: &Path, segments: &[Segment]) {
    let mut text = String::from("$");
    for segment in segments {
        match segment {
            Segment::Name(name) => text.push_str(&format!("[{}]", Value::from(&**name))),
            Segment::Index(index) => text.push_str(&format!("[{index}]")),
            Segment::Wildcard => text.push_str("[*]"),
        }
    }
    if text.len() <= MAX_PATH_BYTES {
        assert_eq!(&reparsed(&text), path, "spelled out as {text}");
        parse_json_path(&text).expect("RFC 9535 text");
    }
}

/// kubectl's braces change nothing, but that `{end}` and `{range …}` are templates.
fn in_braces(text: &str, path: &Path) {
    let word = text.trim();
    let template = word == "end" || word.starts_with("range ");
    if word.len() + 2 <= MAX_PATH_BYTES && !word.starts_with('{') && !template {
        assert_eq!(&reparsed(&format!("{{{word}}}")), path);
    }
}

fn reparsed(text: &str) -> Path {
    Path::parse(text).unwrap_or_else(|error| panic!("{error}"))
}

fn evaluated(path: &Path, json: &str) {
    let found = path.extract(json);
    let Ok(tree) = serde_json::from_str::<Value>(json) else {
        assert!(
            found.is_err() || number_out_of_range(json.as_bytes()),
            "invalid JSON"
        );
        return;
    };
    if repeats_a_name(json.as_bytes()) {
        return;
    }
    let found = match found {
        Ok(found) => found,
        Err(ExtractError::Query(_)) if path.segments().is_none() => return,
        Err(error) => panic!("{error} for valid JSON"),
    };
    let Some(places) = places(path, &tree) else {
        return;
    };
    let places = places.iter().flat_map(|place| matches(&tree, place));
    let mut expected: Vec<String> = places.map(Value::to_string).collect();
    let found = found.iter().map(|json| serde_json::from_str::<Value>(json));
    let mut found: Vec<String> = found
        .map(|value| value.expect("JSON").to_string())
        .collect();
    // The order of the document is not that of the tree.
    expected.sort();
    found.sort();
    assert_eq!(found, expected, "{path} in {json}");
}
