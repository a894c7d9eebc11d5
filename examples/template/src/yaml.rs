//! Values as YAML text: block style, strings in double quotes unless they are plain words.

use serde_json::Value;

/// The text, with a line break at its end.
pub fn to_yaml(value: &Value) -> String {
    let mut text = String::new();
    write(value, 0, &mut text);
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// Writes a value where a line has been begun: a scalar goes on in it, a block fills lines of
/// `indent`.
fn write(value: &Value, indent: usize, text: &mut String) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (i, (key, value)) in members.iter().enumerate() {
                if i > 0 {
                    blanks(indent, text);
                }
                scalar(key, text);
                text.push(':');
                nested(value, indent, text);
            }
        }
        Value::Array(elements) if !elements.is_empty() => {
            for (i, element) in elements.iter().enumerate() {
                if i > 0 {
                    blanks(indent, text);
                }
                text.push_str("- ");
                write(element, indent + 2, text);
                end_line(text);
            }
        }
        Value::String(string) => scalar(string, text),
        other => text.push_str(&other.to_string()),
    }
}

/// A member's value: blocks begin on a line of their own.
fn nested(value: &Value, indent: usize, text: &mut String) {
    let inner = match value {
        Value::Object(members) if !members.is_empty() => indent + 2,
        Value::Array(elements) if !elements.is_empty() => indent,
        _ => {
            text.push(' ');
            write(value, indent, text);
            end_line(text);
            return;
        }
    };
    text.push('\n');
    blanks(inner, text);
    write(value, inner, text);
}

fn end_line(text: &mut String) {
    if !text.ends_with('\n') {
        text.push('\n');
    }
}

fn blanks(count: usize, text: &mut String) {
    text.extend(std::iter::repeat_n(' ', count));
}

/// A string, such that every reader of YAML 1.1 and 1.2 takes it for that string.
fn scalar(string: &str, text: &mut String) {
    let is_word = string.starts_with(|c: char| c.is_ascii_alphabetic())
        && string
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
    const RESERVED: &[&str] = &["true", "false", "yes", "no", "on", "off", "null", "y", "n"];
    if is_word && !RESERVED.contains(&string.to_ascii_lowercase().as_str()) {
        text.push_str(string);
    } else {
        // JSON's strings are YAML's double-quoted ones.
        text.push_str(&Value::from(string).to_string());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use serde_json::json;

    #[test]
    fn blocks_words_and_everything_else_are_what_a_yaml_reader_reads_back() {
        let value = json!({
            "name": "web", "on": "yes", "n": [1, -2.5, null, true],
            "empty": [{}, [], ""], "text": "a: b\n# c", "number": "08", "é": "\u{2028}",
            "deep": {"list": [{"a": 1, "b": [[1, 2], [3]]}, {"c": {"d": {}}}]},
        });
        let text = to_yaml(&value);
        let back: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(back, value, "{text}");
    }

    #[test]
    fn the_text_is_in_block_style() {
        let value = json!({"a": {"b": [{"c": 1, "d": ["x", "y z"]}]}});
        assert_eq!(
            to_yaml(&value),
            "a:\n  b:\n  - c: 1\n    d:\n    - x\n    - \"y z\"\n"
        );
        assert_eq!(to_yaml(&json!("x")), "x\n");
    }
}
