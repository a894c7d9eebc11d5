//! Owns the evaluation of several paths in one pass over a JSON text.

mod shapes;

use super::{
    Path, Segment, Steps,
    query::{Query, QueryError, Tree},
};
use crate::{
    json::SyntaxError,
    walk::{Mark, Scratch, Trie, Walker},
};
use shapes::Shapes;
use std::borrow::Cow;

/// Evaluates several paths together, in one pass over each text; keeps its working
/// memory from text to text, and up to some hundred kilobytes of what texts looked like.
#[derive(Debug)]
pub struct Extractor {
    paths: Compiled,
    scratch: Scratch,
    shapes: Option<Shapes>,
}

/// A value that a path matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match<'a> {
    /// Which of the paths, counted from 0.
    pub path: usize,
    /// The JSON text of the value, as it stands in the input.
    pub json: &'a str,
}

/// Why a text could not be searched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExtractError {
    /// It is not JSON.
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    /// A path that needs a tree could not be evaluated.
    #[error(transparent)]
    Query(#[from] QueryError),
}

/// Matches of all queries in one text: what is larger is no answer that anybody reads.
const MAX_PLACES: usize = crate::walk::MAX_MATCHES;

impl Extractor {
    /// Compiles `paths` into one.
    #[must_use]
    pub fn new(paths: &[Path]) -> Self {
        let mut compiled = Compiled::default();
        for (number, path) in paths.iter().enumerate() {
            compiled.add(path, Mark::Target(number));
        }
        Self {
            paths: compiled,
            scratch: Scratch::default(),
            shapes: Shapes::new(paths),
        }
    }

    /// Appends to `out` the values in `json` that the paths match, in document order
    /// (a value stands before what is inside it), each once for each path. Of members
    /// with the same name the last counts; only a wildcard sees them all.
    ///
    /// # Errors
    /// [`ExtractError`]; then `out` is as it was.
    pub fn extract<'a>(
        &mut self,
        json: &'a str,
        out: &mut Vec<Match<'a>>,
    ) -> Result<(), ExtractError> {
        self.extract_each(json, |found| out.push(found), &|| true)
    }

    /// The same, one value after the other, but given up when `has_time` says no: it is asked
    /// before each path with filters, slices, unions or descendants.
    ///
    /// # Errors
    /// [`QueryError::OutOfTime`] as well; then `each` was not called.
    pub fn extract_each<'a>(
        &mut self,
        json: &'a str,
        mut each: impl FnMut(Match<'a>),
        has_time: &dyn Fn() -> bool,
    ) -> Result<(), ExtractError> {
        if let Some(shapes) = &mut self.shapes
            && shapes.read(json, &mut each)
        {
            return Ok(());
        }
        let trie = self.paths.trie_while(json, has_time)?;
        Walker::new(json, &trie, &mut self.scratch).extract()?;
        if let Some(shapes) = &mut self.shapes {
            shapes.learn(json, &self.scratch.found);
        }
        self.shapes.take_if(|shapes| shapes.are_no_use());
        for found in &self.scratch.found {
            each(Match {
                path: found.target,
                json: json.get(found.start..found.end).unwrap_or(""),
            });
        }
        Ok(())
    }
}

/// Paths and what they are for, ready to be walked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Compiled {
    trie: Trie,
    /// The paths that need a tree.
    queries: Vec<(Query, Mark)>,
}

impl Compiled {
    pub(crate) fn add(&mut self, path: &Path, mark: Mark) {
        match path.steps() {
            Steps::Plain(segments) => self.trie.add(segments, mark),
            Steps::Query(query) => self.queries.push((query.clone(), mark)),
        }
    }

    pub(crate) fn add_segments(&mut self, segments: &[Segment], mark: Mark) {
        self.trie.add(segments, mark);
    }

    /// The trie with the places that the queries match in this one text.
    pub(crate) fn trie_for(&self, json: &str) -> Result<Cow<'_, Trie>, QueryError> {
        self.trie_while(json, &|| true)
    }

    fn trie_while(
        &self,
        json: &str,
        has_time: &dyn Fn() -> bool,
    ) -> Result<Cow<'_, Trie>, QueryError> {
        if self.queries.is_empty() {
            return Ok(Cow::Borrowed(&self.trie));
        }
        let tree = Tree::parse(json)?;
        let mut trie = self.trie.clone();
        let mut left = MAX_PLACES;
        for (query, mark) in &self.queries {
            if !has_time() {
                return Err(QueryError::OutOfTime);
            }
            let places = query.locate(&tree)?;
            left = left.checked_sub(places.len()).ok_or(QueryError::TooLarge)?;
            for place in places {
                trie.add(&place, *mark);
            }
        }
        Ok(Cow::Owned(trie))
    }
}
