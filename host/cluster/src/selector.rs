//! Label and field selectors: their grammar and what they match.

use crate::resources::Resource;
use crate::state::Object;
use crate::status::ApiError;

/// Which objects a list or a watch is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Selector {
    labels: Vec<LabelTerm>,
    fields: Vec<FieldTerm>,
    namespace: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct LabelTerm {
    key: String,
    test: LabelTest,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum LabelTest {
    Exists,
    Missing,
    In(Vec<String>),
    NotIn(Vec<String>),
    Greater(i64),
    Less(i64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct FieldTerm {
    place: FieldPlace,
    value: String,
    equal: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FieldPlace {
    Name,
    Namespace,
    /// An index into the type's selectable fields.
    Selectable(usize),
}

impl Selector {
    /// Reads both selectors; an empty namespace means all of them.
    pub(crate) fn parse(
        resource: &Resource,
        namespace: &str,
        labels: &str,
        fields: &str,
    ) -> Result<Self, ApiError> {
        Ok(Self {
            labels: parse_labels(labels).map_err(|why| {
                ApiError::bad_request(format!("unable to parse requirement: {why}"))
            })?,
            fields: parse_fields(resource, fields)?,
            namespace: (!namespace.is_empty()).then(|| namespace.to_owned()),
        })
    }

    /// True when a label or a field narrows the result: then the number of
    /// remaining items is not told, as on a real server.
    pub(crate) fn is_filtering(&self) -> bool {
        !self.labels.is_empty() || !self.fields.is_empty()
    }

    pub(crate) fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    pub(crate) fn matches(&self, object: &Object) -> bool {
        let (namespace, name) = object.place();
        self.namespace
            .as_deref()
            .is_none_or(|wanted| wanted == namespace)
            && self.labels.iter().all(|term| {
                let found = object.labels.iter().find(|(key, _)| **key == *term.key);
                term.test.accepts(found.map(|(_, value)| value.as_ref()))
            })
            && self.fields.iter().all(|term| {
                let value = match term.place {
                    FieldPlace::Name => name,
                    FieldPlace::Namespace => namespace,
                    FieldPlace::Selectable(index) => {
                        object.fields.get(index).map_or("", AsRef::as_ref)
                    }
                };
                (value == term.value) == term.equal
            })
    }
}

impl LabelTest {
    fn accepts(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match self {
            Self::Exists => value.is_some(),
            Self::Missing => value.is_none(),
            Self::In(values) => value.is_some_and(|value| values.iter().any(|one| one == value)),
            Self::NotIn(values) => value.is_none_or(|value| values.iter().all(|one| one != value)),
            Self::Greater(bound) => number().is_some_and(|number| number > *bound),
            Self::Less(bound) => number().is_some_and(|number| number < *bound),
        }
    }
}

fn parse_fields(resource: &Resource, text: &str) -> Result<Vec<FieldTerm>, ApiError> {
    let mut terms = Vec::new();
    for term in split_unescaped(text, ',') {
        if term.is_empty() {
            continue;
        }
        let (label, value, equal) = split_field_term(&term).ok_or_else(|| {
            ApiError::bad_request(format!(
                "invalid selector: '{text}'; can't understand '{term}'"
            ))
        })?;
        let place = match label {
            "metadata.name" => FieldPlace::Name,
            "metadata.namespace" => FieldPlace::Namespace,
            _ => FieldPlace::Selectable(
                resource
                    .selectable
                    .iter()
                    .position(|field| field.label == label)
                    .ok_or_else(|| unsupported_field(resource, label))?,
            ),
        };
        terms.push(FieldTerm {
            place,
            value: unescape(value).ok_or_else(|| {
                ApiError::bad_request(format!(
                    "invalid field selector: invalid escape in {value:?}"
                ))
            })?,
            equal,
        });
    }
    Ok(terms)
}

fn unsupported_field(resource: &Resource, label: &str) -> ApiError {
    if resource.own_field_labels {
        ApiError::bad_request(format!("field label not supported: {label}"))
    } else {
        ApiError::bad_request(format!(
            "{label:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
        ))
    }
}

/// Splits at `separator` where no backslash precedes it; backslashes stay.
fn split_unescaped(text: &str, separator: char) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut escaped = false;
    for character in text.chars() {
        if character == separator && !escaped {
            parts.push(String::new());
            continue;
        }
        escaped = character == '\\' && !escaped;
        if let Some(part) = parts.last_mut() {
            part.push(character);
        }
    }
    parts
}

fn split_field_term(term: &str) -> Option<(&str, &str, bool)> {
    let mut escaped = false;
    for (index, character) in term.char_indices() {
        let rest = &term[index..];
        if !escaped {
            for (operator, equal) in [("!=", false), ("==", true), ("=", true)] {
                if let Some(value) = rest.strip_prefix(operator) {
                    return Some((&term[..index], value, equal));
                }
            }
        }
        escaped = character == '\\' && !escaped;
    }
    None
}

fn unescape(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next()? {
                escaped @ ('\\' | ',' | '=') => plain.push(escaped),
                _ => return None,
            },
            ',' | '=' => return None,
            other => plain.push(other),
        }
    }
    Some(plain)
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Open,
    Close,
    Comma,
    Not,
    Equal,
    NotEqual,
    Greater,
    Less,
}

fn tokens(text: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let token = match character {
            space if space.is_whitespace() => continue,
            '(' => Token::Open,
            ')' => Token::Close,
            ',' => Token::Comma,
            '>' => Token::Greater,
            '<' => Token::Less,
            '=' => {
                characters.next_if_eq(&'=');
                Token::Equal
            }
            '!' if characters.next_if_eq(&'=').is_some() => Token::NotEqual,
            '!' => Token::Not,
            first => {
                let mut word = String::from(first);
                while let Some(next) =
                    characters.next_if(|next| !next.is_whitespace() && !"(),=!<>".contains(*next))
                {
                    word.push(next);
                }
                Token::Word(word)
            }
        };
        found.push(token);
    }
    found
}

fn parse_labels(text: &str) -> Result<Vec<LabelTerm>, String> {
    let tokens = tokens(text);
    let mut rest = tokens.as_slice();
    let mut terms = Vec::new();
    while !rest.is_empty() {
        let (term, after) = parse_label_term(rest)?;
        terms.push(term);
        rest = match after {
            [] => after,
            [Token::Comma, more @ ..] if !more.is_empty() => more,
            [Token::Comma] => return Err("found '', expected: identifier after ','".into()),
            [other, ..] => {
                return Err(format!(
                    "found {}, expected: ',' or 'end of string'",
                    show(other)
                ));
            }
        };
    }
    Ok(terms)
}

fn show(token: &Token) -> String {
    let text = match token {
        Token::Word(word) => word,
        Token::Open => "(",
        Token::Close => ")",
        Token::Comma => ",",
        Token::Not => "!",
        Token::Equal => "=",
        Token::NotEqual => "!=",
        Token::Greater => ">",
        Token::Less => "<",
    };
    format!("'{text}'")
}

fn parse_label_term(tokens: &[Token]) -> Result<(LabelTerm, &[Token]), String> {
    let (key, test, rest) = match tokens {
        [Token::Not, Token::Word(key), rest @ ..] => (key, LabelTest::Missing, rest),
        [
            Token::Word(key),
            Token::Word(operator),
            Token::Open,
            rest @ ..,
        ] => {
            let (values, rest) = parse_set(rest)?;
            let test = match operator.as_str() {
                "in" => LabelTest::In(values),
                "notin" => LabelTest::NotIn(values),
                other => {
                    return Err(format!(
                        "found '{other}', expected: in, notin, =, ==, !=, gt, lt"
                    ));
                }
            };
            (key, test, rest)
        }
        [
            Token::Word(key),
            operator @ (Token::Equal | Token::NotEqual | Token::Greater | Token::Less),
            rest @ ..,
        ] => {
            let (value, rest) = match rest {
                [Token::Word(value), rest @ ..] => (value.clone(), rest),
                _ => (String::new(), rest),
            };
            check_value(&value)?;
            let number = || {
                value.parse::<i64>().map_err(|_| {
                    format!(
                        "for 'Gt', 'Lt' operators, the value must be an integer, found {value:?}"
                    )
                })
            };
            let test = match operator {
                Token::Greater => LabelTest::Greater(number()?),
                Token::Less => LabelTest::Less(number()?),
                Token::NotEqual => LabelTest::NotIn(vec![value]),
                _ => LabelTest::In(vec![value]),
            };
            (key, test, rest)
        }
        [Token::Word(key), rest @ ..] if matches!(rest.first(), None | Some(Token::Comma)) => {
            (key, LabelTest::Exists, rest)
        }
        [Token::Word(_), other, ..] => {
            return Err(format!(
                "found {}, expected: in, notin, =, ==, !=, gt, lt",
                show(other)
            ));
        }
        [Token::Not, other, ..] | [other, ..] => {
            return Err(format!(
                "found {}, expected: !, identifier, or 'end of string'",
                show(other)
            ));
        }
        [] => return Err("found '', expected: identifier".into()),
    };
    check_key(key)?;
    let key = key.clone();
    Ok((LabelTerm { key, test }, rest))
}

fn parse_set(mut tokens: &[Token]) -> Result<(Vec<String>, &[Token]), String> {
    let mut values = Vec::new();
    let mut pending = String::new();
    loop {
        match tokens {
            [Token::Word(word), rest @ ..] if pending.is_empty() => {
                check_value(word)?;
                pending.clone_from(word);
                tokens = rest;
            }
            [Token::Comma, rest @ ..] => {
                values.push(std::mem::take(&mut pending));
                tokens = rest;
            }
            [Token::Close, rest @ ..] => {
                values.push(pending);
                return Ok((values, rest));
            }
            [other, ..] => return Err(format!("found {}, expected: ',' or ')'", show(other))),
            [] => return Err("found '', expected: ',' or ')'".into()),
        }
    }
}

/// A label key: an optional DNS prefix and a name of up to 63 characters.
pub(crate) fn check_key(key: &str) -> Result<(), String> {
    let (prefix, name) = key.rsplit_once('/').unwrap_or(("", key));
    let prefix_fits = (prefix.is_empty() && !key.starts_with('/'))
        || (prefix.len() <= 253 && crate::names::is_subdomain(prefix));
    if prefix_fits && !name.is_empty() && is_label_text(name) {
        Ok(())
    } else {
        Err(format!(
            "key: Invalid value: {key:?}: name part must consist of alphanumeric characters, '-', '_' or '.', \
             and must start and end with an alphanumeric character"
        ))
    }
}

/// A label value: empty, or up to 63 characters.
pub(crate) fn check_value(value: &str) -> Result<(), String> {
    if value.is_empty() || is_label_text(value) {
        Ok(())
    } else {
        Err(format!(
            "values[0]: Invalid value: {value:?}: a valid label must be an empty string or consist of alphanumeric \
             characters, '-', '_' or '.', and must start and end with an alphanumeric character"
        ))
    }
}

fn is_label_text(text: &str) -> bool {
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    text.len() <= 63
        && edge(text.bytes().next())
        && edge(text.bytes().last())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use crate::resources::Registry;
    use serde_json::json;

    fn pods() -> Resource {
        Registry::builtin()
            .find("", "v1", "pods")
            .unwrap()
            .as_ref()
            .clone()
    }

    fn pod() -> Object {
        let value = json!({
            "metadata": {"name": "a", "namespace": "shop", "labels": {"app": "web", "tier": "3", "x.io/y": ""}},
            "spec": {"nodeName": "n1"},
            "status": {"phase": "Running"},
        });
        Object::new(&pods(), value, 1).unwrap()
    }

    fn check(labels: &str, fields: &str, expected: bool) {
        let selector = Selector::parse(&pods(), "", labels, fields).unwrap();
        assert_eq!(selector.matches(&pod()), expected, "{labels:?} {fields:?}");
    }

    #[test]
    fn label_selectors_follow_the_whole_grammar() {
        for (text, expected) in [
            ("", true),
            ("app=web", true),
            ("app==web,tier", true),
            ("app = web , !gone", true),
            ("app!=web", false),
            ("gone!=web", true),
            ("app in (db, web)", true),
            ("app notin (db,web)", false),
            ("gone notin (a)", true),
            ("gone in (a)", false),
            ("!app", false),
            ("tier>2", true),
            ("tier<3", false),
            ("x.io/y=", true),
            ("x.io/y in (,a)", true),
        ] {
            check(text, "", expected);
        }
    }

    #[test]
    fn broken_label_selectors_are_refused() {
        for text in [
            "app=", "a in", "a in (b", "a b", "=b", "a,,b", "a,", "tier>x", "-a=b", "a=b c",
        ] {
            let parsed = Selector::parse(&pods(), "", text, "");
            if text == "app=" {
                assert!(parsed.is_ok());
            } else {
                assert_eq!(parsed.unwrap_err().code, 400, "{text}");
            }
        }
    }

    #[test]
    fn field_selectors_know_the_fields_of_the_kind() {
        for (text, expected) in [
            ("metadata.name=a", true),
            ("metadata.namespace!=shop", false),
            ("spec.nodeName==n1,status.phase=Running", true),
            ("spec.hostNetwork=false", true),
            ("status.podIP=", true),
        ] {
            check("", text, expected);
        }
        let refused = Selector::parse(&pods(), "", "", "spec.foo=1").unwrap_err();
        assert_eq!(refused.message, "field label not supported: spec.foo");
        assert_eq!(refused.code, 400);
    }

    #[test]
    fn field_values_may_hold_escaped_separators() {
        assert_eq!(unescape(r"a\,b\=c\\").as_deref(), Some(r"a,b=c\"));
        assert_eq!(unescape(r"a\x"), None);
        assert_eq!(split_unescaped(r"a\,b,c", ','), [r"a\,b", "c"]);
    }
}
