//! Reads one value of a column. What views are mostly made of, texts without escapes, whole numbers,
//! nulls and lists of these, is read here; the rest is `serde_json`'s, which takes longer to set up
//! than such a value to read.

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::Error;
use serde_json::de::StrRead;

use super::{malformed, skip_space, special};

/// The value at `at`, which is moved behind it.
pub(super) struct Value<'c, 'de> {
    json: &'de str,
    at: &'c mut usize,
    /// Whether it stands in a list that is read here. `serde_json` counts how deep others nest.
    is_element: bool,
}

impl<'c, 'de> Value<'c, 'de> {
    pub(super) fn new(json: &'de str, at: &'c mut usize) -> Self {
        Value {
            json,
            at,
            is_element: false,
        }
    }

    fn peek(&self) -> Option<u8> {
        self.json.as_bytes().get(*self.at).copied()
    }

    /// Takes a string without escapes.
    fn text(&mut self) -> Option<&'de str> {
        if self.peek() != Some(b'"') {
            return None;
        }
        let start = *self.at + 1;
        let end = special(self.json.as_bytes(), start);
        if self.json.as_bytes().get(end) != Some(&b'"') {
            return None;
        }
        *self.at = end + 1;
        self.json.get(start..end)
    }

    /// Takes a null.
    fn null(&mut self) -> bool {
        let rest = self.json.as_bytes().get(*self.at..).unwrap_or_default();
        let found = rest.starts_with(b"null");
        *self.at += if found { 4 } else { 0 };
        found
    }

    /// Takes a whole number that is neither negative nor very large.
    fn whole(&mut self) -> Option<u64> {
        /// All numbers of so many digits fit.
        const DIGITS: usize = 18;
        let rest = self.json.as_bytes().get(*self.at..)?;
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let is_plain = match rest.first() {
            Some(b'0') => digits == 1,
            _ => (1..=DIGITS).contains(&digits),
        };
        if !is_plain || matches!(rest.get(digits), Some(b'.' | b'e' | b'E')) {
            return None;
        }
        *self.at += digits;
        let value = |sum, digit: &u8| sum * 10 + u64::from(digit - b'0');
        Some(rest.iter().take(digits).fold(0, value))
    }

    fn list<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        *self.at += 1;
        let value = visitor.visit_seq(Elements {
            json: self.json,
            at: self.at,
            is_first: true,
        })?;
        let json = self.json.as_bytes();
        *self.at = skip_space(json, *self.at);
        match json.get(*self.at) {
            Some(b']') => {
                *self.at += 1;
                Ok(value)
            }
            Some(b',') if json.get(skip_space(json, *self.at + 1)) == Some(&b']') => {
                Err(malformed("trailing comma"))
            }
            Some(_) => Err(malformed("trailing characters")),
            None => Err(malformed("EOF while parsing a list")),
        }
    }

    fn other<T>(
        self,
        read: impl FnOnce(&mut serde_json::Deserializer<StrRead<'de>>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let rest = self.json.get(*self.at..).unwrap_or_default();
        let mut deserializer = serde_json::Deserializer::from_str(rest);
        let value = read(&mut deserializer)?;
        *self.at += deserializer.into_iter::<IgnoredAny>().byte_offset();
        Ok(value)
    }
}

macro_rules! texts {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
            match self.text() {
                Some(text) => visitor.visit_borrowed_str(text),
                None => self.other(|other| other.$method(visitor)),
            }
        }
    )*};
}

macro_rules! numbers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
            match self.whole() {
                Some(number) => visitor.visit_u64(number),
                None => self.other(|other| other.$method(visitor)),
            }
        }
    )*};
}

macro_rules! others {
    ($($method:ident($($argument:ident: $type:ty),*))*) => {$(
        fn $method<V: Visitor<'de>>(self, $($argument: $type,)* visitor: V) -> Result<V::Value, Error> {
            self.other(|other| other.$method($($argument,)* visitor))
        }
    )*};
}

impl<'de> Deserializer<'de> for Value<'_, 'de> {
    type Error = Error;

    texts! { deserialize_str deserialize_string deserialize_char deserialize_identifier }

    numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    }

    others! {
        deserialize_bool() deserialize_i128() deserialize_u128() deserialize_f32() deserialize_f64()
        deserialize_bytes() deserialize_byte_buf() deserialize_unit() deserialize_map()
        deserialize_ignored_any()
        deserialize_unit_struct(name: &'static str)
        deserialize_struct(name: &'static str, fields: &'static [&'static str])
    }

    fn deserialize_any<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        match self.peek() {
            Some(b'"') => self.deserialize_str(visitor),
            Some(b'[') if !self.is_element => self.list(visitor),
            Some(b'n') if self.null() => visitor.visit_unit(),
            _ => self.other(|other| other.deserialize_any(visitor)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        match self.peek() {
            Some(b'n') if self.null() => visitor.visit_none(),
            Some(b'n') => self.other(|other| other.deserialize_option(visitor)),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        // Of such names are the types that `serde_json` alone can make, as `RawValue`.
        if name.starts_with("$serde_json::") {
            return self.other(|other| other.deserialize_newtype_struct(name, visitor));
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.peek() {
            Some(b'[') if !self.is_element => self.list(visitor),
            _ => self.other(|other| other.deserialize_seq(visitor)),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.text() {
            Some(text) => visitor.visit_enum(BorrowedStrDeserializer::new(text)),
            None => self.other(|other| other.deserialize_enum(name, variants, visitor)),
        }
    }
}

/// The elements of a list, behind its bracket.
struct Elements<'c, 'de> {
    json: &'de str,
    at: &'c mut usize,
    is_first: bool,
}

impl<'de> SeqAccess<'de> for Elements<'_, 'de> {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Error> {
        let bytes = self.json.as_bytes();
        *self.at = skip_space(bytes, *self.at);
        let is_first = std::mem::take(&mut self.is_first);
        match bytes.get(*self.at) {
            Some(b']') => return Ok(None),
            Some(b',') if !is_first => {
                *self.at = skip_space(bytes, *self.at + 1);
                if bytes.get(*self.at) == Some(&b']') {
                    return Err(malformed("trailing comma"));
                }
            }
            Some(_) if is_first => {}
            Some(_) => return Err(malformed("expected `,` or `]`")),
            None => return Err(malformed("EOF while parsing a list")),
        }
        let element = Value {
            json: self.json,
            at: self.at,
            is_element: true,
        };
        seed.deserialize(element).map(Some)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::collections::BTreeMap;
    use std::fmt::Debug;

    use serde::Deserialize;

    use super::*;
    use crate::json::without_position;

    #[derive(Debug, Deserialize, PartialEq)]
    enum Policy {
        Cluster,
        #[serde(untagged)]
        Other(Vec<i8>),
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Port(u16);

    #[derive(Debug, Deserialize, PartialEq)]
    struct Backend {
        name: String,
        port: Option<Port>,
    }

    /// Reads a text here and with `serde_json`: the answers, ends and errors must be the same.
    fn check<'de, T: Deserialize<'de> + Debug + PartialEq>(json: &'de str) {
        let mut end = 0;
        let here = T::deserialize(Value::new(json, &mut end));
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let there = T::deserialize(&mut deserializer);
        match (here, there) {
            (Ok(here), Ok(there)) => {
                assert_eq!(here, there, "{json}");
                let there = deserializer.into_iter::<IgnoredAny>().byte_offset();
                assert_eq!(end, there, "{json}");
            }
            (Err(here), Err(there)) => {
                assert_eq!(without_position(&here), without_position(&there), "{json}");
            }
            (here, there) => panic!("{json}: {here:?}, but {there:?}"),
        }
    }

    const VALUES: [&str; 47] = [
        "[1,2,]",
        r#""""#,
        r#""text""#,
        r#""text of more than eight bytes, ü""#,
        r#""a\"b\\""#,
        r#""\u00fc","x""#,
        r#""\ud800""#,
        "\"\u{1}\"",
        r#""open"#,
        r#""a"x"#,
        r#""Cluster""#,
        "0",
        "7,8",
        "255]",
        "256",
        "65536",
        "-1",
        "-0",
        "01",
        "1.5",
        "1e2",
        "1E2",
        "4294967296",
        "999999999999999999",
        "1000000000000000000",
        "18446744073709551615",
        "18446744073709551616",
        "-",
        "null",
        "null,1",
        "nul",
        "nope",
        "true",
        "false",
        "[]",
        "[ ]",
        r#"["a","b\n"]"#,
        r#"[ "a" , null , "c" ] "#,
        "[1,2]",
        "[1,2,3]",
        "[[1],[2,3]]",
        r#"["a",]"#,
        r#"["a" "b"]"#,
        r#"["a""#,
        r#"{"name":"n","port":80}"#,
        r#"[{"name":"n"},{"name":"m","port":null}]"#,
        "",
    ];

    #[test]
    fn every_value_reads_as_serde_json_reads_it() {
        for json in VALUES {
            check::<&str>(json);
            check::<String>(json);
            check::<char>(json);
            check::<bool>(json);
            check::<u8>(json);
            check::<u16>(json);
            check::<u64>(json);
            check::<i64>(json);
            check::<u128>(json);
            check::<f64>(json);
            check::<()>(json);
            check::<Port>(json);
            check::<Policy>(json);
            check::<Backend>(json);
            check::<Option<u32>>(json);
            check::<Option<String>>(json);
            check::<Option<Vec<String>>>(json);
            check::<Vec<Option<&str>>>(json);
            check::<Vec<Vec<u8>>>(json);
            check::<Vec<Backend>>(json);
            check::<(u8, u8)>(json);
            check::<(Port, Port, Port)>(json);
            check::<BTreeMap<String, serde_json::Value>>(json);
            check::<serde_json::Value>(json);
        }
    }

    #[test]
    fn lists_in_each_other_end_the_reading_before_the_stack_p2() {
        for json in ["[".repeat(100_000), r#"[{"a":"#.repeat(100_000)] {
            let mut end = 0;
            let read = serde_json::Value::deserialize(Value::new(&json, &mut end));
            let error = without_position(&read.unwrap_err());
            assert_eq!(error, "recursion limit exceeded");
        }
    }
}
