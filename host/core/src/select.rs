//! Owns `select`: some fields of many objects as JSON columns, so that only these
//! cross into a guest. Does not choose the objects ([`crate::snapshot`]).

use crate::{
    Identity,
    path::{ExtractError, Extractor, Match, Path, QueryError},
};

/// Why objects could not be selected from.
#[derive(Debug, thiserror::Error)]
pub enum SelectError {
    /// The answer would be longer than this many bytes.
    #[error("the answer would be larger than {limit} bytes")]
    TooLarge {
        /// What was allowed.
        limit: usize,
    },
    /// Whoever asked had no time left.
    #[error("there was no time to put the answer together")]
    OutOfTime,
    /// A path could not be evaluated on an object.
    #[error("cannot evaluate the paths on {identity}")]
    Extract {
        /// The object.
        identity: Identity,
        /// Why.
        source: ExtractError,
    },
}

/// Columns in the making.
///
/// Finished they are a JSON array with one array (column) for each field, in the order of
/// the fields, all with one entry for each object, in the order of the objects. The entry
/// of a singular path is the value, or null when the object has none; that of a path which
/// can match several values is the array of its matches, in document order.
///
/// At most `limit` bytes are put together, and at most as many again while they are, beside
/// what the [`Extractor`] keeps.
pub struct Selection {
    columns: Vec<Column>,
    budget: Budget,
    extractor: Extractor,
    /// How many bytes may be read and written before `has_time` is asked again.
    unasked: usize,
}

/// So many bytes are read and written in some milliseconds at most, whatever plain paths are
/// looked for. A clock takes as long as a tenth of a small body.
const ASK_EVERY: usize = 1 << 16;

impl Selection {
    /// No object yet.
    ///
    /// # Errors
    /// [`SelectError::TooLarge`] when the brackets alone are.
    pub fn new(fields: &[Path], limit: usize) -> Result<Self, SelectError> {
        let mut budget = Budget { limit, left: limit };
        // The brackets around everything, then those of each column, with commas between.
        budget.spend(2)?;
        budget.spend(fields.len().saturating_mul(3).saturating_sub(1))?;
        Ok(Self {
            columns: fields.iter().map(Column::new).collect(),
            budget,
            extractor: Extractor::new(fields),
            unasked: 0,
        })
    }

    /// Takes the fields of one more object.
    ///
    /// # Errors
    /// [`SelectError`] when the answer would be larger, or a path needs more effort on an
    /// object than is allowed.
    pub fn push(&mut self, identity: &Identity, body: &str) -> Result<(), SelectError> {
        self.push_while(identity, body, &|| true)
    }

    /// The same, but given up when `has_time` says no: it is asked before the first object and
    /// then once for some 64 KiB of bodies and columns, and before each path with filters, slices, unions
    /// or descendants.
    ///
    /// # Errors
    /// [`SelectError::OutOfTime`] as well.
    pub fn push_while(
        &mut self,
        identity: &Identity,
        body: &str,
        has_time: &dyn Fn() -> bool,
    ) -> Result<(), SelectError> {
        match self.unasked.checked_sub(body.len()) {
            Some(left) => self.unasked = left,
            None if has_time() => self.unasked = ASK_EVERY,
            None => return Err(SelectError::OutOfTime),
        }
        let Self {
            columns,
            budget,
            unasked,
            ..
        } = self;
        let before = budget.left;
        let mut pushed = Ok(());
        let push = |found: Match<'_>| {
            if let Some(column) = columns.get_mut(found.path)
                && pushed.is_ok()
            {
                pushed = column.push(found.json, budget);
            }
        };
        self.extractor
            .extract_each(body, push, has_time)
            .map_err(|source| match source {
                ExtractError::Query(QueryError::OutOfTime) => SelectError::OutOfTime,
                source => SelectError::Extract {
                    identity: identity.clone(),
                    source,
                },
            })?;
        pushed?;
        *unasked = unasked.saturating_sub(before - budget.left);
        columns.iter_mut().try_for_each(|column| column.end(budget))
    }

    /// The JSON text.
    #[must_use]
    pub fn finish(self) -> String {
        let mut json = String::with_capacity(self.budget.limit - self.budget.left);
        json.push('[');
        for (i, column) in self.columns.into_iter().enumerate() {
            json.push_str(if i > 0 { ",[" } else { "[" });
            json.push_str(&column.json);
            json.push(']');
        }
        json.push(']');
        json
    }
}

/// The entries of one field so far, with commas between them.
struct Column {
    json: String,
    singular: bool,
    /// How many values the entry has that is not at its end.
    values: usize,
}

impl Column {
    fn new(field: &Path) -> Self {
        Self {
            json: String::new(),
            singular: field.is_singular(),
            values: 0,
        }
    }

    /// Takes one more value of the object.
    fn push(&mut self, value: &str, budget: &mut Budget) -> Result<(), SelectError> {
        let before = match (self.singular, self.values, self.json.is_empty()) {
            (true, _, true) => "",
            (false, 0, true) => "[",
            (false, 0, false) => ",[",
            (_, _, _) => ",",
        };
        self.values += 1;
        self.write(before, value, budget)
    }

    /// Ends the entry of an object.
    fn end(&mut self, budget: &mut Budget) -> Result<(), SelectError> {
        let comma = if self.json.is_empty() { "" } else { "," };
        match (std::mem::take(&mut self.values), self.singular) {
            (0, true) => self.write(comma, "null", budget),
            (0, false) => self.write(comma, "[]", budget),
            (_, true) => Ok(()),
            (_, false) => self.write("", "]", budget),
        }
    }

    fn write(&mut self, before: &str, json: &str, budget: &mut Budget) -> Result<(), SelectError> {
        budget.spend(before.len() + json.len())?;
        self.json.push_str(before);
        self.json.push_str(json);
        Ok(())
    }
}

/// How much of the answer is still allowed.
struct Budget {
    limit: usize,
    left: usize,
}

impl Budget {
    fn spend(&mut self, bytes: usize) -> Result<(), SelectError> {
        let left = self.left.checked_sub(bytes);
        self.left = left.ok_or(SelectError::TooLarge { limit: self.limit })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a test that cannot go on says where by panicking"
    )]

    use super::*;
    use std::cell::Cell;

    const OBJECTS: [(&str, &str); 3] = [
        (
            "a",
            r#"{"n":"a \"b\"","replicas":2,"rules":[{"host":"x"},{"host":"y","to":null}]}"#,
        ),
        (
            "b",
            r#"{"n":"ü","replicas":null,"labels":{"k/v":{"deep":[1,2]}}}"#,
        ),
        ("c", r#"{"n":"c","rules":[]}"#),
    ];

    fn select(fields: &[Path], limit: usize) -> Result<String, SelectError> {
        let mut selection = Selection::new(fields, limit)?;
        for (name, body) in OBJECTS {
            selection.push(&Identity::new("shop", name).unwrap(), body)?;
        }
        Ok(selection.finish())
    }

    fn run(fields: &[&str], limit: usize) -> Result<String, SelectError> {
        let fields: Vec<Path> = fields.iter().map(|field| field.parse().unwrap()).collect();
        select(&fields, limit)
    }

    #[track_caller]
    fn check(fields: &[&str], expected: &str) {
        assert_eq!(run(fields, 4_096).unwrap(), expected);
        let columns: Vec<Vec<serde_json::Value>> = serde_json::from_str(expected).unwrap();
        assert_eq!(columns.len(), fields.len());
        assert!(columns.iter().all(|column| column.len() == OBJECTS.len()));
    }

    #[test]
    fn each_field_is_a_column_in_the_order_of_the_objects() {
        check(&["n"], r#"[["a \"b\"","ü","c"]]"#);
        check(
            &["replicas", "n", "labels['k/v']"],
            r#"[[2,null,null],["a \"b\"","ü","c"],[null,{"deep":[1,2]},null]]"#,
        );
    }

    #[test]
    fn a_path_that_can_match_several_gives_an_array_of_what_it_matches() {
        check(
            &["rules[*].host", "n", "rules[*].to", "rules[1:].host"],
            r#"[[["x","y"],[],[]],["a \"b\"","ü","c"],[[null],[],[]],[["y"],[],[]]]"#,
        );
    }

    #[test]
    fn a_field_may_be_asked_for_twice_and_inside_another() {
        check(
            &["labels", "labels['k/v'].deep", "labels"],
            r#"[[null,{"k/v":{"deep":[1,2]}},null],[null,[1,2],null],[null,{"k/v":{"deep":[1,2]}},null]]"#,
        );
    }

    #[test]
    fn no_field_is_no_column_and_no_object_is_empty_columns() {
        check(&[], "[]");
        let field: Path = "n".parse().unwrap();
        let fields = [field.clone(), field];
        let columns = Selection::new(&fields, 100).unwrap().finish();
        assert_eq!(columns, "[[],[]]");
    }

    #[test]
    fn whether_there_is_time_is_asked_at_first_and_then_once_for_many_bytes_p1() {
        let (name, fields) = (Identity::new("shop", "a").unwrap(), ["n".parse().unwrap()]);
        let mut selection = Selection::new(&fields, 1 << 20).unwrap();
        let asked = Cell::new(0);
        let body = format!(r#"{{"n":1,"x":"{}"}}"#, "x".repeat(986));
        let mut push = |body: &str, time: bool| {
            let has_time = || {
                asked.set(asked.get() + 1);
                time
            };
            selection.push_while(&name, body, &has_time)
        };
        let refused = push(&body, false).unwrap_err();
        assert!(matches!(refused, SelectError::OutOfTime));
        for _ in 0..656 {
            push(&body, true).unwrap();
        }
        assert_eq!(body.len(), 1_000);
        assert_eq!(asked.get(), 11);
        let large = format!("{{}}{}", " ".repeat(ASK_EVERY));
        for _ in 0..3 {
            push(&large, true).unwrap();
        }
        assert_eq!(asked.get(), 14);
    }

    #[test]
    fn an_answer_over_the_limit_is_refused_p1() {
        let fields = ["n", "rules[*].host"];
        let whole = run(&fields, 4_096).unwrap();
        assert_eq!(run(&fields, whole.len()).unwrap(), whole);
        for limit in 0..whole.len() {
            let refused = run(&fields, limit).unwrap_err();
            assert!(matches!(refused, SelectError::TooLarge { limit: named } if named == limit));
        }
    }
}
