//! Owns the look at an object that tells only whose it is: reads `metadata` and nothing behind
//! it, so that objects of other shards cost little more than finding their ends.

use std::borrow::Cow;

use crate::json::{Scanner, unescape};

/// Who an object says it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Peeked<'a> {
    /// Empty when there is none.
    pub(crate) namespace: Cow<'a, str>,
    pub(crate) name: Cow<'a, str>,
    /// Empty when there is none.
    pub(crate) resource_version: Cow<'a, str>,
}

/// Who the object is; `None` when it has no name, or when its bytes are not what servers send:
/// the [decoder](super::Decoder) will tell. What comes after `metadata` is not checked.
pub(crate) fn peek(json: &[u8]) -> Option<Peeked<'_>> {
    let mut scanner = Scanner::new(std::str::from_utf8(json).ok()?);
    scanner.space();
    let mut more = enter(&mut scanner)?;
    while more {
        if member(&mut scanner)? == "metadata" {
            return metadata(&mut scanner).filter(|peeked| !peeked.name.is_empty());
        }
        scanner.skip(1).ok()?;
        more = next(&mut scanner)?;
    }
    None
}

fn metadata<'a>(scanner: &mut Scanner<'a>) -> Option<Peeked<'a>> {
    let mut peeked = Peeked::default();
    let mut more = enter(scanner)?;
    while more {
        let place = match member(scanner)? {
            "namespace" => Some(&mut peeked.namespace),
            "name" => Some(&mut peeked.name),
            "resourceVersion" => Some(&mut peeked.resource_version),
            _ => None,
        };
        match place {
            Some(place) if scanner.peek() == Some(b'"') => {
                let text = scanner.string("a string").ok()?;
                *place = unescape(scanner.slice(text.range));
            }
            Some(_) | None => scanner.skip(2).ok()?,
        }
        more = next(scanner)?;
    }
    Some(peeked)
}

/// Passes an opening brace; whether a member follows.
fn enter(scanner: &mut Scanner<'_>) -> Option<bool> {
    scanner.expect(b'{', "an object").ok()?;
    scanner.space();
    Some(scanner.peek() != Some(b'}'))
}

/// Passes the name of a member and its colon. A name with escapes is nothing that a server sends.
fn member<'a>(scanner: &mut Scanner<'a>) -> Option<&'a str> {
    let name = scanner.string("a member name").ok()?;
    scanner.space();
    scanner.expect(b':', "`:`").ok()?;
    scanner.space();
    (!name.escaped).then(|| scanner.slice(name.range))
}

/// Passes what follows a member's value; whether another member does.
fn next(scanner: &mut Scanner<'_>) -> Option<bool> {
    scanner.space();
    match scanner.peek() {
        Some(b',') => {
            scanner.advance();
            scanner.space();
            Some(true)
        }
        Some(b'}') => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::decode::{Decoder, Projection, ProjectionSpec};

    fn decoder() -> Decoder {
        Decoder::new(Arc::new(Projection::new(ProjectionSpec::default())))
    }

    #[test]
    fn what_servers_send_is_read_no_further_than_metadata() {
        for json in [
            r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"web","namespace":"shop","resourceVersion":"7"},"spec":{"#,
            r#"{"metadata":{"annotations":{"name":"x","a":["}"]},"name":"web","namespace":"shop","resourceVersion":"7"},"#,
            " {\n \"metadata\" : { \"name\" : \"web\" ,\n \"namespace\":\"shop\", \"resourceVersion\":\"7\" } ,",
            r#"{"metadata":{"name":"w\u0065b","namespace":"shop","resourceVersion":"7"}}"#,
        ] {
            let peeked = peek(json.as_bytes()).unwrap();
            assert_eq!(
                (&*peeked.namespace, &*peeked.name, &*peeked.resource_version),
                ("shop", "web", "7"),
                "{json}"
            );
        }
        for json in [
            "",
            "[]",
            "{}",
            "{",
            r#"{"metadata":{}}"#,
            r#"{"metadata":null}"#,
            r#"{"metadata":{"name":7}}"#,
            r#"{"metadata":{"name":""}}"#,
            r#"{"metadata":{"name":"web""#,
            r#"{"m\u0065tadata":{"name":"web"}}"#,
            r#"{"spec":{01},"metadata":{"name":"web"}}"#,
        ] {
            assert_eq!(peek(json.as_bytes()), None, "{json}");
        }
    }

    fn value() -> impl Strategy<Value = serde_json::Value> {
        use serde_json::{Value, json};
        prop_oneof![
            any::<String>().prop_map(Value::from),
            Just(Value::Null),
            Just(json!({"name": "inner", "metadata": {"name": "deeper"}})),
            Just(json!([{"name": "element"}])),
        ]
    }

    fn members(
        names: &'static [&'static str],
    ) -> impl Strategy<Value = Vec<(String, serde_json::Value)>> {
        proptest::collection::vec((proptest::sample::select(names), value()), 0..5).prop_map(
            |found| {
                let found: std::collections::BTreeMap<&str, serde_json::Value> =
                    found.into_iter().collect();
                found
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect()
            },
        )
    }

    proptest! {
        #[test]
        fn peek_says_what_the_decoder_says(
            metadata in members(&["namespace", "name", "resourceVersion", "uid", "labels"]),
            before in members(&["apiVersion", "kind", "spec"]),
            after in members(&["status", "data"]),
        ) {
            let metadata = serde_json::Value::Object(metadata.into_iter().collect());
            let own = [("metadata".to_owned(), metadata)];
            let members = before.iter().chain(&own).chain(&after);
            let text: Vec<String> = members
                .map(|(name, value)| format!("{}:{value}", serde_json::Value::from(name.as_str())))
                .collect();
            let json = format!("{{{}}}", text.join(","));
            match (decoder().decode(json.as_bytes()), peek(json.as_bytes())) {
                (Ok(decoded), Some(peeked)) => {
                    prop_assert_eq!(decoded.object.identity().namespace(), &*peeked.namespace);
                    prop_assert_eq!(decoded.object.identity().name(), &*peeked.name);
                    prop_assert_eq!(decoded.object.resource_version(), &*peeked.resource_version);
                }
                (Ok(decoded), None) => prop_assert!(false, "{json} is {}", decoded.object.identity()),
                // A name with a NUL in it, which peek does not judge.
                (Err(_), _) => {}
            }
        }

        #[test]
        fn peek_survives_any_bytes(bytes: Vec<u8>, cut in 0_usize..200) {
            peek(&bytes);
            let json = r#"{"kind":"Pod","metadata":{"name":"web","namespace":"shop"},"spec":{}}"#;
            peek(json.as_bytes().get(..cut).unwrap_or_default());
        }
    }
}
