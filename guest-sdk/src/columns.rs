//! The answer to a selection: JSON columns, read as typed rows without building a tree.
//!
//! The text is `[[a, b, …], [x, y, …]]`: one array per field, all of the same length. To read rows,
//! one cursor runs along each column; a value is parsed where its cursor stands, straight into the
//! caller's type.

mod value;

use std::fmt::Display;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::marker::PhantomData;

use serde::de::{self, DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};

use crate::StoreError;
use crate::json::without_position;

/// What [`Store::columns`](crate::Store::columns) answers.
///
/// Read it as rows, which may borrow their strings from it:
///
/// ```no_run
/// use std::borrow::Cow;
/// use haptic_guest::{Error, Store};
/// use serde::Deserialize;
///
/// #[derive(Deserialize)]
/// struct Row<'a> {
///     #[serde(borrow)]
///     name: Cow<'a, str>,
///     replicas: Option<u32>,
/// }
///
/// fn total(store: &Store) -> Result<u32, Error> {
///     let columns = store.columns(&["metadata.name", "spec.replicas"], &[])?;
///     let mut total = 0;
///     for row in columns.rows::<Row<'_>>()? {
///         total += row?.replicas.unwrap_or(1);
///     }
///     Ok(total)
/// }
/// ```
///
/// or as columns, which is the fastest of all:
///
/// ```no_run
/// # use haptic_guest::{Error, Store};
/// # fn f(store: &Store) -> Result<(), Error> {
/// let columns = store.columns(&["metadata.name", "spec.replicas"], &[])?;
/// let (names, replicas): (Vec<String>, Vec<Option<u32>>) = columns.parse()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    json: String,
    fields: Vec<String>,
}

impl Columns {
    pub(crate) fn new(json: String, fields: &[&str]) -> Self {
        Columns {
            json,
            fields: fields.iter().map(|&field| field.to_owned()).collect(),
        }
    }

    /// The JSON text: an array with one array per field, in the order of the fields.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// All columns at once, into a tuple of vectors, one per field.
    ///
    /// # Errors
    /// [`StoreError::Decode`].
    pub fn parse<'de, C: Deserialize<'de>>(&'de self) -> Result<C, StoreError> {
        serde_json::from_str(&self.json).map_err(|error| StoreError::Decode {
            place: format!("columns {}", self.fields.join(", ")),
            message: without_position(&error),
        })
    }

    /// The rows, one after the other. `T` is a tuple or a struct with one value per field, in the
    /// order of the fields. After an error the iterator ends.
    ///
    /// # Errors
    /// [`StoreError::Other`] when the text is not one array per field, which is the host's fault.
    pub fn rows<'de, T: Deserialize<'de>>(&'de self) -> Result<Rows<'de, T>, StoreError> {
        Ok(Rows {
            cursor: self.cursor()?,
            fields: &self.fields,
            row: 0,
            item: PhantomData,
        })
    }

    pub(crate) fn fields(&self) -> &[String] {
        &self.fields
    }

    pub(crate) fn cursor(&self) -> Result<Cursor<'_>, StoreError> {
        let (starts, rows) = column_starts(&self.json)
            .filter(|(starts, _)| starts.len() == self.fields.len())
            .ok_or_else(|| {
                StoreError::Other(format!(
                    "the host's answer to select is not one array for each of the {} fields",
                    self.fields.len()
                ))
            })?;
        Ok(Cursor {
            json: &self.json,
            starts,
            rows,
            column: 0,
            print: None,
        })
    }
}

/// The typed rows of a selection. See [`Columns::rows`].
#[derive(Debug)]
pub struct Rows<'de, T> {
    cursor: Cursor<'de>,
    fields: &'de [String],
    row: usize,
    item: PhantomData<fn() -> T>,
}

impl<'de, T: Deserialize<'de>> Iterator for Rows<'de, T> {
    type Item = Result<T, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.cursor.is_at_end() {
            return None;
        }
        self.cursor.begin_row();
        let width = self.fields.len();
        let result = T::deserialize(Row(&mut self.cursor)).and_then(|value| {
            let taken = self.cursor.column;
            if taken == width {
                Ok(value)
            } else {
                Err(malformed(format_args!(
                    "the row's type takes {taken} values, {width} are selected"
                )))
            }
        });
        self.row += 1;
        Some(result.map_err(|error| {
            let field = self.fields.get(self.cursor.column);
            self.cursor.end();
            StoreError::Decode {
                place: match field {
                    Some(field) => format!("row {}, field `{field}`", self.row),
                    None => format!("row {}", self.row),
                },
                message: without_position(&error),
            }
        }))
    }
}

/// Where a reader of rows stands: at one value in each column.
#[derive(Debug)]
pub(crate) struct Cursor<'de> {
    json: &'de str,
    /// Where each column's next value starts; `None`: the column is at its end.
    starts: Vec<Option<usize>>,
    /// How many values the longest column had at first.
    rows: usize,
    /// The column whose value is next.
    column: usize,
    /// Takes in the texts of values, when somebody wants to compare rows.
    print: Option<DefaultHasher>,
}

impl<'de> Cursor<'de> {
    /// From here on, values that are taken make up a fingerprint.
    pub(crate) fn begin_print(&mut self) {
        self.print = Some(DefaultHasher::new());
    }

    /// The fingerprint of the values since [`Cursor::begin_print`]: equal for equal texts.
    pub(crate) fn print(&mut self) -> u64 {
        self.print.take().map_or(0, |print| print.finish())
    }

    /// As many rows as there were at first, if the columns are of one length.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.starts.iter().all(Option::is_none)
    }

    pub(crate) fn begin_row(&mut self) {
        self.column = 0;
    }

    /// The column whose value is next, counted from 0.
    pub(crate) fn column(&self) -> usize {
        self.column
    }

    /// Takes the next value of the row.
    pub(crate) fn next_value<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<S::Value, serde_json::Error> {
        let Some(start) = self.starts.get_mut(self.column) else {
            return Err(malformed("the row has no more values"));
        };
        let at = start.ok_or_else(|| malformed("this column is shorter than the others"))?;
        let mut end = at;
        let value = seed.deserialize(value::Value::new(self.json, &mut end))?;
        *start = next_start(self.json.as_bytes(), end)
            .ok_or_else(|| malformed("a column is not a JSON array"))?;
        if let Some(print) = &mut self.print {
            self.json.get(at..end).hash(print);
        }
        self.column += 1;
        Ok(value)
    }

    /// Leaves out the values of this row that were not taken. Where that cannot be done, this was
    /// the last row.
    pub(crate) fn skip_row(&mut self) {
        let bytes = self.json.as_bytes();
        for start in self.starts.iter_mut().skip(self.column) {
            let next = start
                .and_then(|at| after_value(bytes, at))
                .and_then(|end| next_start(bytes, end));
            match next {
                Some(next) => *start = next,
                None => return self.end(),
            }
        }
    }

    fn end(&mut self) {
        self.starts.fill(None);
    }
}

struct Row<'c, 'de>(&'c mut Cursor<'de>);

impl<'de> Deserializer<'de> for Row<'_, 'de> {
    type Error = serde_json::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_seq(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> SeqAccess<'de> for Row<'_, 'de> {
    type Error = serde_json::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Self::Error> {
        if self.0.column == self.0.starts.len() {
            return Ok(None);
        }
        self.0.next_value(seed).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.0.starts.len() - self.0.column)
    }
}

/// Where the next value of a column starts, when the last one ended at `end`; `Some(None)` when it
/// was the last; `None` when this is no array.
fn next_start(json: &[u8], end: usize) -> Option<Option<usize>> {
    let end = skip_space(json, end);
    match json.get(end) {
        Some(b',') => Some(Some(skip_space(json, end + 1))),
        Some(b']') => Some(None),
        _ => None,
    }
}

/// Where the first value of each column starts, `None` for an empty column, and how many values the
/// longest has; or `None` if the text is no array of arrays. Only the nesting is looked at, the
/// values are checked when they are read.
fn column_starts(json: &str) -> Option<(Vec<Option<usize>>, usize)> {
    let json = json.as_bytes();
    let mut at = skip_space(json, 0);
    if *json.get(at)? != b'[' {
        return None;
    }
    at = skip_space(json, at + 1);
    let (mut starts, mut rows) = (Vec::new(), 0);
    if *json.get(at)? == b']' {
        return Some((starts, rows));
    }
    loop {
        if *json.get(at)? != b'[' {
            return None;
        }
        let first = skip_space(json, at + 1);
        let (end, commas) = after_container(json, at)?;
        if *json.get(first)? == b']' {
            starts.push(None);
        } else {
            starts.push(Some(first));
            rows = rows.max(commas + 1);
        }
        at = skip_space(json, end);
        match *json.get(at)? {
            b',' => at = skip_space(json, at + 1),
            b']' => return Some((starts, rows)),
            _ => return None,
        }
    }
}

/// The index after the value that begins at `start`, by its nesting alone.
pub(crate) fn after_value(json: &[u8], start: usize) -> Option<usize> {
    match *json.get(start)? {
        b'"' => after_string(json, start),
        b'[' | b'{' => Some(after_container(json, start)?.0),
        _ => {
            let rest = json.get(start..)?;
            let end = rest
                .iter()
                .position(|byte| matches!(byte, b',' | b']' | b'}' | b' ' | b'\n' | b'\t' | b'\r'));
            Some(start + end.unwrap_or(rest.len()))
        }
    }
}

/// The index after the array or object that begins at `start`, and how many commas stand between
/// its own elements.
fn after_container(json: &[u8], start: usize) -> Option<(usize, usize)> {
    let mut at = start;
    let (mut depth, mut commas) = (0_usize, 0);
    loop {
        match *json.get(at)? {
            b'"' => {
                at = after_string(json, at)?;
                continue;
            }
            b',' => commas += usize::from(depth == 1),
            b'[' | b'{' => depth += 1,
            b']' | b'}' => {
                depth -= 1;
                if depth == 0 {
                    return Some((at + 1, commas));
                }
            }
            _ => {}
        }
        at += 1;
    }
}

/// The index after the string whose quote is at `open`.
pub(crate) fn after_string(json: &[u8], open: usize) -> Option<usize> {
    let mut at = open + 1;
    loop {
        at = special(json, at);
        match *json.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// The index of the first quote, backslash or control character from `at` on, or of the end.
fn special(json: &[u8], mut at: usize) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
    // Eight bytes at once: what is smaller than the number that is taken from it borrows its own
    // high bit. Above the first that is found such a borrow may have gone astray.
    while let Some(chunk) = json.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*chunk);
        let control = word.wrapping_sub(ONES * 0x20);
        let quote = (word ^ (ONES * u64::from(b'"'))).wrapping_sub(ONES);
        let backslash = (word ^ (ONES * u64::from(b'\\'))).wrapping_sub(ONES);
        let found = (control | quote | backslash) & !word & HIGHS;
        if found != 0 {
            // At most 7: the quotient of a bit number below 64.
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let rest = json.get(at..).unwrap_or_default();
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    at + rest.iter().position(is_special).unwrap_or(rest.len())
}

pub(crate) fn skip_space(json: &[u8], mut at: usize) -> usize {
    while matches!(json.get(at), Some(b' ' | b'\n' | b'\t' | b'\r')) {
        at += 1;
    }
    at
}

fn malformed(message: impl Display) -> serde_json::Error {
    de::Error::custom(message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::borrow::Cow;

    use super::*;

    fn rows<T: de::DeserializeOwned>(json: &str, fields: &[&str]) -> Result<Vec<T>, StoreError> {
        Columns::new(json.to_owned(), fields).rows()?.collect()
    }

    fn message<T: de::DeserializeOwned + std::fmt::Debug>(json: &str, fields: &[&str]) -> String {
        rows::<T>(json, fields).unwrap_err().to_string()
    }

    #[test]
    fn rows_are_tuples_of_one_value_from_each_column() {
        let json = r#"[["a","b"], [1,null] ,[[{"x":"]"}],[]]]"#;
        let expected = [
            ("a".to_owned(), Some(1), vec![serde_json::json!({"x": "]"})]),
            ("b".to_owned(), None, vec![]),
        ];
        assert_eq!(
            rows::<(String, Option<u8>, Vec<serde_json::Value>)>(json, &["n", "p", "l"]).unwrap(),
            expected
        );
    }

    #[test]
    fn rows_are_structs_in_the_order_of_their_fields() {
        #[derive(Deserialize, Debug, PartialEq)]
        #[serde(rename_all = "camelCase")]
        struct Row {
            second_name: String,
            first: f64,
        }
        assert_eq!(
            rows::<Row>(r#"[ [ "x\"]," ] , [ -1.5e1 ] ]"#, &["a", "b"]).unwrap(),
            [Row {
                second_name: "x\"],".to_owned(),
                first: -15.0
            }]
        );
    }

    #[test]
    fn rows_borrow_what_has_no_escapes() {
        #[derive(Deserialize)]
        struct Row<'a> {
            #[serde(borrow)]
            host: Cow<'a, str>,
        }
        let columns = Columns::new(r#"[["plain","a\u0026b"]]"#.to_owned(), &["host"]);
        let hosts: Vec<_> = columns
            .rows::<Row<'_>>()
            .unwrap()
            .map(|row| row.unwrap().host)
            .collect();
        assert!(matches!(hosts.as_slice(), [Cow::Borrowed("plain"), Cow::Owned(o)] if o == "a&b"));
    }

    #[test]
    fn whole_columns_parse_into_a_tuple_of_vectors() {
        let columns = Columns::new(r#"[["a","b"],[1,null]]"#.to_owned(), &["n", "p"]);
        let parsed: (Vec<&str>, Vec<Option<u8>>) = columns.parse().unwrap();
        assert_eq!(parsed, (vec!["a", "b"], vec![Some(1), None]));
    }

    #[test]
    fn a_selection_of_nothing_has_no_rows() {
        assert_eq!(
            rows::<(String, String)>("[[],[ ]]", &["a", "b"]).unwrap(),
            []
        );
        assert_eq!(rows::<()>("[]", &[]).unwrap(), []);
    }

    #[test]
    fn an_error_names_row_and_field() {
        assert_eq!(
            message::<(String, u16)>(r#"[["a","b"],[1,"two"]]"#, &["n", "spec.port"]),
            "row 2, field `spec.port`: invalid type: string \"two\", expected u16"
        );
        assert_eq!(
            message::<(String,)>(r#"[[null]]"#, &["metadata.name"]),
            "row 1, field `metadata.name`: invalid type: null, expected a string"
        );
    }

    #[test]
    fn a_row_type_of_another_length_is_an_error() {
        assert_eq!(
            message::<(String,)>(r#"[["a"],["b"]]"#, &["n", "m"]),
            "row 1, field `m`: the row's type takes 1 values, 2 are selected"
        );
        assert_eq!(
            message::<(String, String)>(r#"[["a"]]"#, &["n"]),
            "row 1: invalid length 1, expected a tuple of size 2"
        );
        assert_eq!(
            message::<String>(r#"[["a"]]"#, &["n"]),
            "row 1, field `n`: invalid type: sequence, expected a string"
        );
    }

    #[test]
    fn columns_of_different_lengths_are_an_error() {
        assert_eq!(
            message::<(String, u8)>(r#"[["a","b"],[1]]"#, &["n", "p"]),
            "row 2, field `p`: this column is shorter than the others"
        );
    }

    #[test]
    fn no_text_panics() {
        for json in [
            "",
            " ",
            "[",
            "[[",
            "[[\"",
            "[[\"\\",
            "[[1",
            "[[1,",
            "[[1]",
            "[[1],",
            "[1]",
            "{}",
            "[[]}",
            "[[1 2]]",
            "[[1],[2]]x",
            "[[1}]",
            "]",
            "[[é]]",
            "[[\"é",
            "[[1]]]",
        ] {
            for fields in [&[][..], &["a"], &["a", "b"]] {
                // An answer or an error; what matters is that it comes back.
                let read = rows::<(serde_json::Value,)>(json, fields);
                assert!(read.is_err() || json.starts_with("[["), "{json}");
            }
        }
    }
}
