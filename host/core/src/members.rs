//! Owns the taking apart of one object or list into the texts of its parts, for who rewrites
//! some of them and leaves the others as they stand. Builds no tree.

use std::borrow::Cow;

use crate::{
    decode::{SyntaxError, SyntaxErrorKind},
    json::{Scanner, unescape},
};

/// A member of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    /// Its name.
    pub name: Cow<'a, str>,
    /// The name as it is written, with its quotes.
    pub raw_name: &'a str,
    /// JSON text of its value.
    pub value: &'a str,
}

/// The members of the one object that `text` is, in order; all of it is checked.
///
/// # Errors
/// [`SyntaxError`] when it is no JSON, or no object.
pub fn members(text: &str) -> Result<Vec<Member<'_>>, SyntaxError> {
    let mut members = Vec::new();
    let mut scanner = Scanner::new(text);
    scanner.space();
    scanner.expect(b'{', "an object")?;
    scanner.space();
    let mut more = scanner.peek() != Some(b'}');
    while more {
        scanner.space();
        let start = scanner.pos();
        let name = scanner.string("the name of a member")?.range;
        let raw_name = scanner.slice(start..scanner.pos());
        scanner.space();
        scanner.expect(b':', "`:`")?;
        members.push(Member {
            name: unescape(scanner.slice(name)),
            raw_name,
            value: value(&mut scanner)?,
        });
        more = is_followed(&mut scanner);
    }
    scanner.expect(b'}', "`,` or `}`")?;
    end(scanner, text)?;
    Ok(members)
}

/// The elements of the one list that `text` is, in order; all of it is checked.
///
/// # Errors
/// [`SyntaxError`] when it is no JSON, or no list.
pub fn elements(text: &str) -> Result<Vec<&str>, SyntaxError> {
    let mut elements = Vec::new();
    let mut scanner = Scanner::new(text);
    scanner.space();
    scanner.expect(b'[', "a list")?;
    scanner.space();
    let mut more = scanner.peek() != Some(b']');
    while more {
        elements.push(value(&mut scanner)?);
        more = is_followed(&mut scanner);
    }
    scanner.expect(b']', "`,` or `]`")?;
    end(scanner, text)?;
    Ok(elements)
}

fn value<'a>(scanner: &mut Scanner<'a>) -> Result<&'a str, SyntaxError> {
    scanner.space();
    let start = scanner.pos();
    // As a text of its own: an object that nests as deep as objects may can be a part.
    scanner.skip(0)?;
    Ok(scanner.slice(start..scanner.pos()))
}

fn is_followed(scanner: &mut Scanner<'_>) -> bool {
    scanner.space();
    let followed = scanner.peek() == Some(b',');
    if followed {
        scanner.advance();
    }
    followed
}

fn end(mut scanner: Scanner<'_>, text: &str) -> Result<(), SyntaxError> {
    scanner.space();
    match scanner.pos() == text.len() {
        true => Ok(()),
        false => Err(SyntaxError {
            offset: scanner.pos(),
            kind: SyntaxErrorKind::TrailingData,
        }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parts_come_in_order_and_as_they_are_written() {
        let text = r#" {"a":1 , "b\u0062":{"x":[1, 2]},"a":"}" } "#;
        let found: Vec<_> = members(text).unwrap();
        let shown: Vec<_> = found
            .iter()
            .map(|member| (&*member.name, member.raw_name, member.value))
            .collect();
        assert_eq!(
            shown,
            [
                ("a", "\"a\"", "1"),
                ("bb", "\"b\\u0062\"", r#"{"x":[1, 2]}"#),
                ("a", "\"a\"", "\"}\""),
            ]
        );
        assert_eq!(elements("[1,[2], {} ]").unwrap(), ["1", "[2]", "{}"]);
        assert_eq!(members("{}").unwrap(), []);
        assert_eq!(elements(" [ ] ").unwrap(), [""; 0]);
    }

    #[test]
    fn what_is_no_object_and_no_list_is_refused_with_its_place() {
        for (text, error) in [
            ("", "the JSON text ends inside a value at byte 0"),
            ("[]", "expected an object at byte 0"),
            ("{", "the JSON text ends inside a value at byte 1"),
            ("{\"a\"}", "expected `:` at byte 4"),
            ("{\"a\":1,}", "expected the name of a member at byte 7"),
            ("{\"a\":1 \"b\":2}", "expected `,` or `}` at byte 7"),
            ("{\"a\":1", "the JSON text ends inside a value at byte 6"),
            ("{} x", "unexpected data after the value at byte 3"),
        ] {
            let found = members(text).unwrap_err().to_string();
            assert_eq!(found, error, "{text}");
        }
        assert!(elements("{}").is_err());
        assert!(elements("[1,]").is_err());
    }

    proptest! {
        #[test]
        fn every_object_is_put_together_again_from_its_parts(
            value in proptest::collection::btree_map(".*", proptest::collection::vec(any::<i64>(), 0..4), 0..6),
        ) {
            let text = serde_json::to_string(&value).unwrap();
            let parts: Vec<_> = members(&text)
                .unwrap()
                .iter()
                .map(|member| {
                    let list = elements(member.value).unwrap().join(",");
                    format!("{}:[{list}]", member.raw_name)
                })
                .collect();
            prop_assert_eq!(format!("{{{}}}", parts.join(",")), text);
        }
    }
}
