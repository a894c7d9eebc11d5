//! Owns the text of label and field selectors (W3): what is accepted, and the
//! canonical form that goes to the API server. Does not evaluate field selectors
//! ([`crate::decode`] evaluates the host's part of one).

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::Deserialize;

/// A label selector: all its requirements hold for what it selects; none selects
/// everything.
///
/// Displayed as the API server expects it. Deserialized from the text form or from
/// a mapping of `matchLabels` and `matchExpressions`.
///
/// ```
/// let selector: haptic_core::selector::LabelSelector = "app = web,tier in (b,a),!canary".parse()?;
/// assert_eq!(selector.to_string(), "app=web,tier in (a,b),!canary");
/// # Ok::<(), haptic_core::selector::LabelSelectorError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "LabelSelectorForm")]
pub struct LabelSelector {
    requirements: Vec<LabelRequirement>,
}

/// One requirement of a label selector.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct LabelRequirement {
    key: String,
    operator: LabelOperator,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum LabelOperator {
    Equals(String),
    NotEquals(String),
    /// Sorted, without duplicates, at least one.
    In(Vec<String>),
    /// Sorted, without duplicates, at least one.
    NotIn(Vec<String>),
    Exists,
    DoesNotExist,
}

/// Why a label selector was refused. Each names what was typed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelSelectorError {
    /// A key is no qualified name: `[prefix/]name`.
    #[error(
        "{0:?} is not a label key: it takes an optional DNS prefix and a slash, then 1 to 63 of A-Z a-z 0-9 - _ . with a letter or digit at both ends"
    )]
    Key(String),
    /// A value is no label value.
    #[error(
        "{0:?} is not a label value: it takes up to 63 of A-Z a-z 0-9 - _ . with a letter or digit at both ends"
    )]
    Value(String),
    /// The text does not follow the grammar.
    #[error("label selector {input:?}, byte {at}: expected {expected}")]
    Syntax {
        /// What was typed.
        input: String,
        /// Where, in bytes from the start.
        at: usize,
        /// What would have been right there.
        expected: &'static str,
    },
    /// `in` or `notin` without values.
    #[error("label {key:?}: {operator} needs at least one value")]
    NoValues {
        /// The label key.
        key: String,
        /// `in` or `notin`.
        operator: &'static str,
    },
    /// `Exists` or `DoesNotExist` with values.
    #[error("label {key:?}: {operator} takes no values")]
    UnwantedValues {
        /// The label key.
        key: String,
        /// The operator as it was typed.
        operator: &'static str,
    },
}

impl LabelSelector {
    /// Takes the text form: `k=v`, `k==v`, `k!=v`, `k in (a,b)`, `k notin (a,b)`, `k`
    /// and `!k`, joined by commas; blanks around them do not matter.
    ///
    /// # Errors
    /// [`LabelSelectorError`] with what was typed.
    pub fn parse(text: &str) -> Result<Self, LabelSelectorError> {
        LabelParser { text, at: 0 }.selector()
    }

    /// Whether it selects everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether it selects an object with these labels: what the API server decides
    /// for a host, and a test for itself.
    #[must_use]
    pub fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.requirements
            .iter()
            .all(|LabelRequirement { key, operator }| {
                let value = label(key);
                let among = |values: &[String]| {
                    value.is_some_and(|value| values.iter().any(|other| other == value))
                };
                match operator {
                    LabelOperator::Equals(wanted) => value == Some(wanted),
                    LabelOperator::NotEquals(unwanted) => value != Some(unwanted),
                    LabelOperator::In(values) => among(values),
                    LabelOperator::NotIn(values) => !among(values),
                    LabelOperator::Exists => value.is_some(),
                    LabelOperator::DoesNotExist => value.is_none(),
                }
            })
    }
}

impl LabelRequirement {
    fn new(key: &str, operator: LabelOperator) -> Result<Self, LabelSelectorError> {
        if !is_label_key(key) {
            return Err(LabelSelectorError::Key(key.to_owned()));
        }
        let values = match &operator {
            LabelOperator::Equals(value) | LabelOperator::NotEquals(value) => {
                std::slice::from_ref(value)
            }
            LabelOperator::In(values) | LabelOperator::NotIn(values) => values,
            LabelOperator::Exists | LabelOperator::DoesNotExist => &[],
        };
        if let Some(bad) = values.iter().find(|value| !is_label_value(value)) {
            return Err(LabelSelectorError::Value(bad.clone()));
        }
        Ok(Self {
            key: key.to_owned(),
            operator,
        })
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, LabelRequirement { key, operator }) in self.requirements.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            match operator {
                LabelOperator::Equals(value) => write!(f, "{key}={value}")?,
                LabelOperator::NotEquals(value) => write!(f, "{key}!={value}")?,
                LabelOperator::In(values) => write!(f, "{key} in ({})", values.join(","))?,
                LabelOperator::NotIn(values) => write!(f, "{key} notin ({})", values.join(","))?,
                LabelOperator::Exists => f.write_str(key)?,
                LabelOperator::DoesNotExist => write!(f, "!{key}")?,
            }
        }
        Ok(())
    }
}

impl FromStr for LabelSelector {
    type Err = LabelSelectorError;

    fn from_str(text: &str) -> Result<Self, LabelSelectorError> {
        Self::parse(text)
    }
}

/// A recursive descent over the text; `at` is always on a character boundary.
struct LabelParser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> LabelParser<'a> {
    fn selector(&mut self) -> Result<LabelSelector, LabelSelectorError> {
        let mut requirements = Vec::new();
        if self.peek().is_some() {
            requirements.push(self.requirement()?);
            while self.peek().is_some() {
                if !self.eat(',') {
                    return Err(self.expected("a comma or the end"));
                }
                requirements.push(self.requirement()?);
            }
        }
        Ok(LabelSelector { requirements })
    }

    fn requirement(&mut self) -> Result<LabelRequirement, LabelSelectorError> {
        if self.eat('!') {
            let key = self.word("a label key")?;
            return LabelRequirement::new(key, LabelOperator::DoesNotExist);
        }
        let key = self.word("a label key")?;
        let operator = match self.peek() {
            None | Some(',') => LabelOperator::Exists,
            Some('=') => {
                self.eat('=');
                // `==` is the same; a blank between the two is not.
                if self.rest().starts_with('=') {
                    self.at += 1;
                }
                LabelOperator::Equals(self.value().to_owned())
            }
            Some('!') => {
                self.eat('!');
                if !self.rest().starts_with('=') {
                    return Err(self.expected("= after !"));
                }
                self.at += 1;
                LabelOperator::NotEquals(self.value().to_owned())
            }
            Some(_) => {
                let start = self.at;
                match self.word("an operator")? {
                    "in" => LabelOperator::In(self.values(key, "in")?),
                    "notin" => LabelOperator::NotIn(self.values(key, "notin")?),
                    _ => {
                        self.at = start;
                        return Err(self.expected("=, ==, !=, in, notin, a comma or the end"));
                    }
                }
            }
        };
        LabelRequirement::new(key, operator)
    }

    fn values(
        &mut self,
        key: &str,
        operator: &'static str,
    ) -> Result<Vec<String>, LabelSelectorError> {
        if !self.eat('(') {
            return Err(self.expected("( and a list of values"));
        }
        if self.eat(')') {
            return Err(LabelSelectorError::NoValues {
                key: key.to_owned(),
                operator,
            });
        }
        let mut values = vec![self.value().to_owned()];
        while self.eat(',') {
            values.push(self.value().to_owned());
        }
        if !self.eat(')') {
            return Err(self.expected("a comma or )"));
        }
        Ok(sorted(values))
    }

    /// A word, or the empty value.
    fn value(&mut self) -> &'a str {
        self.skip_blanks();
        let rest = self.rest();
        let end = rest
            .find(|c: char| c.is_whitespace() || matches!(c, ',' | '(' | ')' | '=' | '!'))
            .unwrap_or(rest.len());
        self.at += end;
        rest.split_at(end).0
    }

    fn word(&mut self, expected: &'static str) -> Result<&'a str, LabelSelectorError> {
        match self.value() {
            "" => Err(self.expected(expected)),
            word => Ok(word),
        }
    }

    fn peek(&mut self) -> Option<char> {
        self.skip_blanks();
        self.rest().chars().next()
    }

    fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn skip_blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn expected(&self, expected: &'static str) -> LabelSelectorError {
        LabelSelectorError::Syntax {
            input: self.text.to_owned(),
            at: self.at,
            expected,
        }
    }
}

/// What a configuration may hold.
#[derive(Deserialize)]
#[serde(untagged)]
enum LabelSelectorForm {
    Text(String),
    Parts(LabelSelectorParts),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LabelSelectorParts {
    #[serde(default)]
    match_labels: BTreeMap<String, String>,
    #[serde(default)]
    match_expressions: Vec<MatchExpression>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MatchExpression {
    key: String,
    operator: MatchOperator,
    #[serde(default)]
    values: Vec<String>,
}

#[derive(Clone, Copy, Deserialize)]
enum MatchOperator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

impl TryFrom<LabelSelectorForm> for LabelSelector {
    type Error = LabelSelectorError;

    fn try_from(form: LabelSelectorForm) -> Result<Self, LabelSelectorError> {
        let parts = match form {
            LabelSelectorForm::Text(text) => return text.parse(),
            LabelSelectorForm::Parts(parts) => parts,
        };
        let labels = parts
            .match_labels
            .into_iter()
            .map(|(key, value)| LabelRequirement::new(&key, LabelOperator::Equals(value)));
        let expressions = parts.match_expressions.into_iter().map(requirement);
        let requirements = labels.chain(expressions).collect::<Result<_, _>>()?;
        Ok(Self { requirements })
    }
}

fn requirement(expression: MatchExpression) -> Result<LabelRequirement, LabelSelectorError> {
    let MatchExpression {
        key,
        operator,
        values,
    } = expression;
    let operator = match (operator, values.is_empty()) {
        (MatchOperator::In, false) => LabelOperator::In(sorted(values)),
        (MatchOperator::NotIn, false) => LabelOperator::NotIn(sorted(values)),
        (MatchOperator::Exists, true) => LabelOperator::Exists,
        (MatchOperator::DoesNotExist, true) => LabelOperator::DoesNotExist,
        (MatchOperator::In, true) => {
            let operator = "In";
            return Err(LabelSelectorError::NoValues { key, operator });
        }
        (MatchOperator::NotIn, true) => {
            let operator = "NotIn";
            return Err(LabelSelectorError::NoValues { key, operator });
        }
        (MatchOperator::Exists, false) => {
            let operator = "Exists";
            return Err(LabelSelectorError::UnwantedValues { key, operator });
        }
        (MatchOperator::DoesNotExist, false) => {
            let operator = "DoesNotExist";
            return Err(LabelSelectorError::UnwantedValues { key, operator });
        }
    };
    LabelRequirement::new(&key, operator)
}

fn sorted(mut values: Vec<String>) -> Vec<String> {
    values.sort_unstable();
    values.dedup();
    values
}

fn is_label_key(key: &str) -> bool {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    !name.is_empty() && is_label_value(name) && prefix.is_none_or(is_dns_subdomain)
}

fn is_label_value(value: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let ends = [value.bytes().next(), value.bytes().next_back()];
    value.len() <= 63
        && value.bytes().all(allowed)
        && ends.iter().flatten().all(u8::is_ascii_alphanumeric)
}

fn is_dns_subdomain(text: &str) -> bool {
    let label = |label: &str| {
        let ends = [label.bytes().next(), label.bytes().next_back()];
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        !label.is_empty() && label.bytes().all(allowed) && ends.iter().flatten().all(|b| *b != b'-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

/// A field selector: all its requirements hold for what it selects; none selects
/// everything. `path=value`, `path==value` and `path!=value`, joined by commas; in
/// a value `\,`, `\=` and `\\` stand for the character itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct FieldSelector {
    requirements: Vec<FieldTerm>,
}

/// One requirement of a field selector, its path as it was typed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FieldTerm {
    /// The field's path.
    pub path: String,
    /// `!=` instead of `=`.
    pub negated: bool,
    /// What the field is compared with; a missing field compares as the empty text.
    pub value: String,
}

/// Why a field selector was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldSelectorError {
    /// A term is not `path=value`, `path==value` or `path!=value`.
    #[error("{0:?} is not a field requirement: write path=value or path!=value")]
    Term(String),
    /// A backslash in a value before something else than a comma, `=` or backslash.
    #[error("{0:?}: in a value a backslash comes before a comma, = or another backslash only")]
    Escape(String),
}

impl FieldSelector {
    /// Takes the text form.
    ///
    /// # Errors
    /// [`FieldSelectorError`] with the term that is none.
    pub fn parse(text: &str) -> Result<Self, FieldSelectorError> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let requirements = field_terms(text)
            .map(field_term)
            .collect::<Result<_, _>>()?;
        Ok(Self { requirements })
    }

    /// Whether it selects everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Its requirements, in the order in which they were typed.
    #[must_use]
    pub fn terms(&self) -> &[FieldTerm] {
        &self.requirements
    }

    /// Parts it into what an API server can evaluate, which knows the `supported`
    /// paths of this kind, and what is left for the host.
    #[must_use]
    pub fn split(self, supported: &[&str]) -> (Self, Vec<FieldTerm>) {
        let (requirements, host) = self
            .requirements
            .into_iter()
            .partition(|term| supported.contains(&term.path.as_str()));
        (Self { requirements }, host)
    }
}

impl fmt::Display for FieldSelector {
    /// As the API server expects it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, term) in self.requirements.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            write!(f, "{comma}{term}")?;
        }
        Ok(())
    }
}

impl fmt::Display for FieldTerm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        f.write_str(if self.negated { "!=" } else { "=" })?;
        for c in self.value.chars() {
            if matches!(c, '\\' | ',' | '=') {
                f.write_str("\\")?;
            }
            write!(f, "{c}")?;
        }
        Ok(())
    }
}

impl TryFrom<String> for FieldSelector {
    type Error = FieldSelectorError;

    fn try_from(text: String) -> Result<Self, FieldSelectorError> {
        text.parse()
    }
}

impl FromStr for FieldSelector {
    type Err = FieldSelectorError;

    fn from_str(text: &str) -> Result<Self, FieldSelectorError> {
        Self::parse(text)
    }
}

/// The texts between commas that neither stand in quotes nor after a backslash.
fn field_terms(text: &str) -> impl Iterator<Item = &str> {
    let mut scan = QuoteScan::default();
    text.split(move |c| scan.outside(c) && c == ',')
}

fn field_term(term: &str) -> Result<FieldTerm, FieldSelectorError> {
    let refused = || FieldSelectorError::Term(term.trim().to_owned());
    let mut scan = QuoteScan::default();
    let at = term
        .find(|c| scan.outside(c) && c == '=')
        .ok_or_else(refused)?;
    let (left, right) = term.split_at(at);
    let (path, negated) = match left.strip_suffix('!') {
        Some(path) => (path.trim(), true),
        None => (left.trim(), false),
    };
    let right = right.strip_prefix('=').unwrap_or(right);
    let value = match right.strip_prefix('=') {
        Some(value) if !negated => value,
        _ => right,
    };
    // Otherwise the canonical form would mean something else.
    if path.is_empty() || path.ends_with(['\\', '!']) {
        return Err(refused());
    }
    Ok(FieldTerm {
        path: path.to_owned(),
        negated,
        value: unescape(value.trim())
            .ok_or_else(|| FieldSelectorError::Escape(term.trim().to_owned()))?,
    })
}

/// None for a lone backslash or `=`, which the API server refuses too.
fn unescape(value: &str) -> Option<String> {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.push(chars.next().filter(|c| matches!(c, '\\' | ',' | '='))?),
            '=' => return None,
            c => out.push(c),
        }
    }
    Some(out)
}

/// Tells which characters stand outside of a path's quoted keys (`['a,b']`) and are
/// not escaped.
#[derive(Default)]
struct QuoteScan {
    in_value: bool,
    quote: Option<char>,
    previous: Option<char>,
    escaped: bool,
}

impl QuoteScan {
    fn outside(&mut self, c: char) -> bool {
        let previous = self.previous.replace(c);
        if std::mem::take(&mut self.escaped) {
            return false;
        }
        match (self.quote, c) {
            (_, '\\') => {
                self.escaped = true;
                false
            }
            (None, '\'' | '"') if previous == Some('[') && !self.in_value => {
                self.quote = Some(c);
                false
            }
            (Some(quote), _) => {
                if c == quote {
                    self.quote = None;
                }
                false
            }
            (None, _) => {
                match c {
                    '=' => self.in_value = true,
                    ',' => self.in_value = false,
                    _ => {}
                }
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a test that cannot go on says where by panicking"
    )]

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check_label(text: &str, canonical: &str) {
        let selector = LabelSelector::parse(text).unwrap();
        assert_eq!(selector.to_string(), canonical);
        assert_eq!(canonical.parse(), Ok(selector));
    }

    #[track_caller]
    fn check_label_refused(text: &str, error: &str) {
        assert_eq!(LabelSelector::parse(text).unwrap_err().to_string(), error);
    }

    #[test]
    fn label_selectors_match_as_the_api_server_matches_w3() {
        let labels = [("app", "web"), ("empty", "")];
        let label = |key: &str| {
            let found = labels.iter().find(|(name, _)| *name == key);
            found.map(|(_, value)| *value)
        };
        for (selector, expected) in [
            ("", true),
            ("app=web", true),
            ("app=db", false),
            ("tier=web", false),
            ("empty=", true),
            ("tier=", false),
            ("app!=db", true),
            ("app!=web", false),
            ("tier!=web", true),
            ("app in (db,web)", true),
            ("app in (db)", false),
            ("tier in (db)", false),
            ("app notin (db)", true),
            ("app notin (web)", false),
            ("tier notin (web)", true),
            ("app", true),
            ("tier", false),
            ("!tier", true),
            ("!app", false),
            ("app,!tier,app!=db", true),
            ("app,tier", false),
        ] {
            let matches = LabelSelector::parse(selector).unwrap().matches(label);
            assert_eq!(matches, expected, "{selector}");
        }
    }

    #[test]
    fn label_selectors_are_sent_in_their_canonical_form_w3() {
        check_label("", "");
        check_label("  ", "");
        check_label("a=b", "a=b");
        check_label("a == b", "a=b");
        check_label("a!=b", "a!=b");
        check_label("a != b , c", "a!=b,c");
        check_label("a=", "a=");
        check_label("a=,b", "a=,b");
        check_label("a!=", "a!=");
        check_label("a", "a");
        check_label("!a", "!a");
        check_label(" ! a ", "!a");
        check_label("a in (y, x,y)", "a in (x,y)");
        check_label("a in(x)", "a in (x)");
        check_label("a notin (x,)", "a notin (,x)");
        check_label("in in (in)", "in in (in)");
        check_label("notin", "notin");
        check_label(
            "app.kubernetes.io/name=web-1.2_b",
            "app.kubernetes.io/name=web-1.2_b",
        );
    }

    #[test]
    fn label_selectors_that_no_server_takes_are_refused_where_they_go_wrong() {
        check_label_refused(
            "a=b c",
            "label selector \"a=b c\", byte 4: expected a comma or the end",
        );
        check_label_refused("a,", "label selector \"a,\", byte 2: expected a label key");
        check_label_refused(",a", "label selector \",a\", byte 0: expected a label key");
        check_label_refused("=b", "label selector \"=b\", byte 0: expected a label key");
        check_label_refused("a!b", "label selector \"a!b\", byte 2: expected = after !");
        check_label_refused(
            "a like b",
            "label selector \"a like b\", byte 2: expected =, ==, !=, in, notin, a comma or the end",
        );
        check_label_refused(
            "a in x",
            "label selector \"a in x\", byte 5: expected ( and a list of values",
        );
        check_label_refused(
            "a in (x",
            "label selector \"a in (x\", byte 7: expected a comma or )",
        );
        check_label_refused("a in ()", "label \"a\": in needs at least one value");
        let key = |key: &str| LabelSelectorError::Key(key.to_owned()).to_string();
        for bad in [
            "-a",
            "a.",
            "/a",
            "a/",
            "a/b/c",
            "A_b/c",
            "é",
            &"k".repeat(64),
        ] {
            check_label_refused(bad, &key(bad));
        }
        let value = |value: &str| LabelSelectorError::Value(value.to_owned()).to_string();
        for bad in ["-a", "a/b", "é", "a$", &"v".repeat(64)] {
            check_label_refused(&format!("k={bad}"), &value(bad));
            check_label_refused(&format!("k notin (a,{bad})"), &value(bad));
        }
    }

    #[test]
    fn match_labels_and_expressions_are_a_selector_too_w3() {
        let selector: LabelSelector = serde_json::from_value(json!({
            "matchLabels": {"tier": "web", "app": "shop"},
            "matchExpressions": [
                {"key": "env", "operator": "In", "values": ["prod", "dev"]},
                {"key": "zone", "operator": "NotIn", "values": ["a"]},
                {"key": "x", "operator": "Exists"},
                {"key": "y", "operator": "DoesNotExist", "values": []},
            ],
        }))
        .unwrap();
        assert_eq!(
            selector.to_string(),
            "app=shop,tier=web,env in (dev,prod),zone notin (a),x,!y"
        );
        let text: LabelSelector = serde_json::from_value(json!("app=shop")).unwrap();
        assert_eq!(text.to_string(), "app=shop");
    }

    #[test]
    fn impossible_match_expressions_are_refused() {
        for (expression, error) in [
            (
                json!({"key": "a", "operator": "In"}),
                "label \"a\": In needs at least one value",
            ),
            (
                json!({"key": "a", "operator": "NotIn", "values": []}),
                "label \"a\": NotIn needs at least one value",
            ),
            (
                json!({"key": "a", "operator": "Exists", "values": ["b"]}),
                "label \"a\": Exists takes no values",
            ),
            (
                json!({"key": "a", "operator": "DoesNotExist", "values": ["b"]}),
                "label \"a\": DoesNotExist takes no values",
            ),
        ] {
            let form = json!({"matchExpressions": [expression]});
            let refused = serde_json::from_value::<LabelSelector>(form).unwrap_err();
            assert_eq!(refused.to_string(), error);
        }
    }

    fn term(path: &str, negated: bool, value: &str) -> FieldTerm {
        FieldTerm {
            path: path.to_owned(),
            negated,
            value: value.to_owned(),
        }
    }

    #[track_caller]
    fn check_field(text: &str, terms: &[FieldTerm], canonical: &str) {
        let selector = FieldSelector::parse(text).unwrap();
        assert_eq!(selector.terms(), terms);
        assert_eq!(selector.to_string(), canonical);
        assert_eq!(canonical.parse(), Ok(selector));
    }

    #[test]
    fn field_selectors_are_sent_in_their_canonical_form_w3() {
        check_field("", &[], "");
        check_field(
            "metadata.name=x",
            &[term("metadata.name", false, "x")],
            "metadata.name=x",
        );
        check_field(
            "a==x, b != y",
            &[term("a", false, "x"), term("b", true, "y")],
            "a=x,b!=y",
        );
        check_field(
            "spec.nodeName=",
            &[term("spec.nodeName", false, "")],
            "spec.nodeName=",
        );
        check_field(
            r"a=x\,y\=z\\",
            &[term("a", false, r"x,y=z\")],
            r"a=x\,y\=z\\",
        );
        check_field(
            "metadata.labels['a,b=c']=d",
            &[term("metadata.labels['a,b=c']", false, "d")],
            "metadata.labels['a,b=c']=d",
        );
        check_field(
            "a=['x,b=c",
            &[term("a", false, "['x"), term("b", false, "c")],
            "a=['x,b=c",
        );
        check_field(
            "a=o'clock,b=c",
            &[term("a", false, "o'clock"), term("b", false, "c")],
            "a=o'clock,b=c",
        );
        let escaped = r"metadata.labels.kubernetes\.io/service-name";
        check_field(
            &format!("{escaped}=x"),
            &[term(escaped, false, "x")],
            &format!("{escaped}=x"),
        );
    }

    #[test]
    fn what_is_no_field_requirement_is_refused() {
        let term = |text: &str| FieldSelectorError::Term(text.to_owned());
        let escape = |text: &str| FieldSelectorError::Escape(text.to_owned());
        for (text, error) in [
            ("a", term("a")),
            ("=x", term("=x")),
            ("!=x", term("!=x")),
            ("a=x,", term("")),
            ("a=x,b", term("b")),
            (r"a=x\y", escape(r"a=x\y")),
            (r"a=x\", escape(r"a=x\")),
            ("a=x=y", escape("a=x=y")),
            ("a!==y", escape("a!==y")),
            ("metadata.labels['a=b", term("metadata.labels['a=b")),
            (r"a\ =b", term(r"a\ =b")),
            ("a! =b", term("a! =b")),
        ] {
            assert_eq!(FieldSelector::parse(text), Err(error));
        }
    }

    #[test]
    fn what_the_server_cannot_evaluate_is_left_for_the_host_w3() {
        let selector: FieldSelector = "metadata.name=x,spec.class!=y,metadata.namespace=z"
            .parse()
            .unwrap();
        let (server, host) = selector.split(&["metadata.name", "metadata.namespace"]);
        assert_eq!(server.to_string(), "metadata.name=x,metadata.namespace=z");
        assert_eq!(host, [term("spec.class", true, "y")]);
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_accepted_has_one_canonical_form(text in r#"[ab,=!()\\'"\[\] iné]{0,12}"#) {
            if let Ok(selector) = LabelSelector::parse(&text) {
                prop_assert_eq!(LabelSelector::parse(&selector.to_string()), Ok(selector));
            }
            if let Ok(selector) = FieldSelector::parse(&text) {
                prop_assert_eq!(FieldSelector::parse(&selector.to_string()), Ok(selector));
            }
        }
    }
}
