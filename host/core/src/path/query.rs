//! Owns the evaluation of paths with filters, slices, unions and descendants: finds
//! the places they match in one object, as plain segments. Needs a tree of the object,
//! which nothing else does.

use super::{PathErrorKind, Segment};
use jsonpath_rust::{
    parser::{
        model::{
            Comparable, Comparison, Filter, FilterAtom, FnArg, JpQuery, Literal, Segment as Step,
            Selector, SingularQuery, Test, TestFunction,
        },
        parse_json_path,
    },
    query::js_path_process,
};
use serde_json::Value;
use std::{
    collections::HashSet,
    hash::{Hash, Hasher},
    sync::Arc,
};

/// Each descendant step can multiply the visited values by the depth of the object.
const MAX_DESCENDANTS: usize = 2;

/// Unions multiply each other, and RFC 9535 keeps duplicates: 64 is `['a','b']` six
/// times in one path.
const MAX_UNION_PRODUCT: usize = 64;

/// A regular expression is compiled for each value that it is tried on.
const MAX_PATTERN_BYTES: usize = 64;

/// What evaluating one query on one object may cost: bytes of locations (see
/// [`MAX_LOCATION_BYTES`]) times the query's [`Cost::weight`]. Queries of one filter with
/// a few comparisons are never refused for it; the worst that are not take a second.
const MAX_WORK: usize = 8 * MAX_LOCATION_BYTES;

/// How much more than a comparison a regular expression costs, being compiled each time.
const PATTERN_WEIGHT: usize = 64;

/// A second descendant step visits each value once for each value around it: up to 127,
/// and some 10 in what Kubernetes has.
const NESTED_DESCENDANTS_WEIGHT: usize = 16;

/// The JSONPath library writes out the location of each value that it visits; 4 MiB of
/// such text is an object of some 40,000 values.
const MAX_LOCATION_BYTES: usize = 4 << 20;

/// Why a path with filters, slices, unions or descendants was not evaluated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The values of the object are too many or too deep for such a path.
    #[error("the object is too large for a path with filters, slices, unions or descendants")]
    TooLarge,
    /// Whoever asked had no time left.
    #[error("there was no time to evaluate the path")]
    OutOfTime,
    /// The JSONPath library failed.
    #[error("the path cannot be evaluated: {0}")]
    Evaluation(String),
    /// The object holds something that a tree cannot, such as the number 1e999.
    #[error("the object cannot be parsed into a tree: {0}")]
    Tree(String),
}

/// A compiled RFC 9535 query.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    /// The text it was compiled from: what it is compared by.
    normal: Box<str>,
    compiled: Arc<JpQuery>,
    /// See [`MAX_WORK`].
    weight: usize,
}

impl PartialEq for Query {
    fn eq(&self, other: &Self) -> bool {
        self.normal == other.normal
    }
}

impl Eq for Query {}

impl Hash for Query {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.normal.hash(state);
    }
}

impl Query {
    pub(super) fn new(normal: String) -> Result<Self, PathErrorKind> {
        let compiled =
            parse_json_path(&normal).map_err(|error| PathErrorKind::Query(error.to_string()))?;
        let mut cost = Cost::default();
        cost.steps(&compiled.segments)?;
        Ok(Self {
            normal: normal.into(),
            compiled: Arc::new(compiled),
            weight: cost.weight(),
        })
    }

    /// The places that the query matches, in the order of the tree, each once.
    pub(crate) fn locate(&self, tree: &Tree) -> Result<Vec<Vec<Segment>>, QueryError> {
        if tree.location_bytes.saturating_mul(self.weight) > MAX_WORK {
            return Err(QueryError::TooLarge);
        }
        let matched = js_path_process(&self.compiled, &tree.value)
            .map_err(|error| QueryError::Evaluation(error.to_string()))?;
        let wanted: HashSet<*const Value> = matched
            .iter()
            .map(|found| std::ptr::from_ref(found.val))
            .collect();
        let mut places = Vec::with_capacity(wanted.len());
        if !wanted.is_empty() {
            visit(&tree.value, &mut Vec::new(), &wanted, &mut places);
        }
        Ok(places)
    }
}

/// An object as a tree, small enough to be queried.
pub(crate) struct Tree {
    value: Value,
    /// The length of the locations of all its values.
    location_bytes: usize,
}

impl Tree {
    pub(crate) fn parse(json: &str) -> Result<Self, QueryError> {
        let value =
            serde_json::from_str(json).map_err(|error| QueryError::Tree(error.to_string()))?;
        let mut left = MAX_LOCATION_BYTES;
        if within(&value, 1, &mut left) {
            Ok(Self {
                value,
                location_bytes: MAX_LOCATION_BYTES - left,
            })
        } else {
            Err(QueryError::TooLarge)
        }
    }
}

/// Takes the length of the location of each value from `left`; false when that is used
/// up.
fn within(value: &Value, location: usize, left: &mut usize) -> bool {
    /// Brackets and quotes around a name, or brackets and digits around an index.
    const STEP: usize = 8;
    let Some(rest) = left.checked_sub(location) else {
        return false;
    };
    *left = rest;
    match value {
        Value::Array(elements) => elements
            .iter()
            .all(|element| within(element, location + STEP, left)),
        Value::Object(members) => members
            .iter()
            .all(|(name, value)| within(value, location + STEP + name.len(), left)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

fn visit(
    value: &Value,
    here: &mut Vec<Segment>,
    wanted: &HashSet<*const Value>,
    places: &mut Vec<Vec<Segment>>,
) {
    if wanted.contains(&std::ptr::from_ref(value)) {
        places.push(here.clone());
    }
    match value {
        Value::Array(elements) => {
            for (index, element) in (0..).zip(elements) {
                here.push(Segment::Index(index));
                visit(element, here, wanted, places);
                here.pop();
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                here.push(Segment::Name(name.as_str().into()));
                visit(member, here, wanted, places);
                here.pop();
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Adds up what could make the evaluation of a query expensive.
struct Cost {
    descendants: usize,
    unions: usize,
    /// Comparisons and tests in filters, and the steps in them.
    tests: usize,
    patterns: usize,
}

impl Default for Cost {
    fn default() -> Self {
        Self {
            descendants: 0,
            unions: 1,
            tests: 0,
            patterns: 0,
        }
    }
}

impl Cost {
    /// How often a value may be looked at, at most.
    fn weight(&self) -> usize {
        let descendants = match self.descendants {
            0 | 1 => 1,
            _ => NESTED_DESCENDANTS_WEIGHT,
        };
        let tests = self.tests + self.patterns.saturating_mul(PATTERN_WEIGHT);
        self.unions
            .saturating_mul(tests.max(1))
            .saturating_mul(descendants)
    }

    fn steps(&mut self, steps: &[Step]) -> Result<(), PathErrorKind> {
        steps.iter().try_for_each(|step| self.step(step))
    }

    fn step(&mut self, step: &Step) -> Result<(), PathErrorKind> {
        match step {
            Step::Descendant(step) => {
                self.descendants += 1;
                if self.descendants > MAX_DESCENDANTS {
                    return Err(PathErrorKind::TooCostly(
                        "a path may have `..` at most twice",
                    ));
                }
                self.step(step)
            }
            Step::Selector(selector) => self.selector(selector),
            Step::Selectors(selectors) => {
                self.unions = self.unions.saturating_mul(selectors.len());
                if self.unions > MAX_UNION_PRODUCT {
                    return Err(PathErrorKind::TooCostly(
                        "the lengths of all [a,b,…] in a path, multiplied, may be 64 at most",
                    ));
                }
                selectors
                    .iter()
                    .try_for_each(|selector| self.selector(selector))
            }
        }
    }

    fn selector(&mut self, selector: &Selector) -> Result<(), PathErrorKind> {
        match selector {
            Selector::Filter(filter) => self.filter(filter),
            Selector::Name(_) | Selector::Wildcard | Selector::Index(_) | Selector::Slice(..) => {
                Ok(())
            }
        }
    }

    fn filter(&mut self, filter: &Filter) -> Result<(), PathErrorKind> {
        match filter {
            Filter::Or(parts) | Filter::And(parts) => {
                parts.iter().try_for_each(|part| self.filter(part))
            }
            Filter::Atom(FilterAtom::Filter { expr, .. }) => self.filter(expr),
            Filter::Atom(FilterAtom::Test { expr, .. }) => {
                self.tests += 1;
                self.test(expr)
            }
            Filter::Atom(FilterAtom::Comparison(comparison)) => {
                self.tests += 1;
                let (Comparison::Eq(left, right)
                | Comparison::Ne(left, right)
                | Comparison::Gt(left, right)
                | Comparison::Gte(left, right)
                | Comparison::Lt(left, right)
                | Comparison::Lte(left, right)) = comparison.as_ref();
                self.comparable(left)?;
                self.comparable(right)
            }
        }
    }

    fn comparable(&mut self, comparable: &Comparable) -> Result<(), PathErrorKind> {
        match comparable {
            Comparable::Function(function) => self.function(function),
            Comparable::Literal(_)
            | Comparable::SingularQuery(SingularQuery::Current(_) | SingularQuery::Root(_)) => {
                Ok(())
            }
        }
    }

    fn test(&mut self, test: &Test) -> Result<(), PathErrorKind> {
        match test {
            Test::RelQuery(steps) => {
                self.tests += steps.len();
                self.steps(steps)
            }
            Test::AbsQuery(query) => {
                let singular = |step: &Step| {
                    matches!(step, Step::Selector(Selector::Name(_) | Selector::Index(_)))
                };
                if query.segments.iter().all(singular) {
                    Ok(())
                } else {
                    Err(PathErrorKind::TooCostly(
                        "behind $ in a filter only names and indices may stand",
                    ))
                }
            }
            Test::Function(function) => self.function(function),
        }
    }

    fn function(&mut self, function: &TestFunction) -> Result<(), PathErrorKind> {
        match function {
            TestFunction::Length(argument) => self.argument(argument),
            TestFunction::Value(argument) | TestFunction::Count(argument) => {
                self.argument(argument)
            }
            TestFunction::Search(text, pattern) | TestFunction::Match(text, pattern) => {
                self.argument(text)?;
                self.patterns += 1;
                match pattern {
                    FnArg::Literal(Literal::String(pattern))
                        if pattern.len() <= MAX_PATTERN_BYTES && !pattern.contains('{') =>
                    {
                        Ok(())
                    }
                    _ => Err(PathErrorKind::TooCostly(
                        "a regular expression must be a string of at most 64 bytes without {",
                    )),
                }
            }
            TestFunction::Custom(name, _) => {
                Err(PathErrorKind::Query(format!("there is no function {name}")))
            }
        }
    }

    fn argument(&mut self, argument: &FnArg) -> Result<(), PathErrorKind> {
        match argument {
            FnArg::Literal(_) => Ok(()),
            FnArg::Test(test) => self.test(test),
            FnArg::Filter(filter) => self.filter(filter),
        }
    }
}
