//! Owns the pass over one JSON text in which paths are matched and members are kept or
//! dropped. Does not know what the matches are for ([`crate::path`], [`crate::decode`]).

mod trie;

use crate::json::{MAX_DEPTH, Scanner, SyntaxError, SyntaxErrorKind, compact_into, unescape};
use std::{borrow::Cow, ops::Range};
use trie::{NodeId, Traits};

pub(crate) use trie::{Mark, Trie};

/// No API server repeats a member name, and each repetition costs a look at all matches.
const MAX_REPEATS: usize = 64;

/// Values that the paths may match in one text. Several hundred paths that each match every
/// element of a long list would otherwise take thousands of times the memory of the text;
/// an object has 1.5 MB, so 262,144 matches are one for every 6 bytes.
pub(crate) const MAX_MATCHES: usize = 1 << 18;

/// A value that a path matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) target: usize,
    /// Where it starts in the input.
    pub(crate) start: usize,
    /// Where it ends in the input; equal to `start` when the walk failed inside it.
    pub(crate) end: usize,
    /// Where it starts in the output, when it was written.
    pub(crate) written_at: Option<usize>,
}

/// The working memory of a walk, to be used again.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// What was matched, in document order.
    pub(crate) found: Vec<Found>,
    /// What was written.
    pub(crate) out: String,
    /// Where the values of `apiVersion` and `kind` of the root stand in the input, which
    /// a projection does not write.
    pub(crate) hoisted: [Range<usize>; 2],
    /// A stack of the nodes that match the values around the cursor.
    active: Vec<NodeId>,
    /// For each node the object in which it was matched last.
    seen_in: Vec<u64>,
    objects: u64,
}

impl Scratch {
    /// Gives back what is beyond `bytes` bytes, or as many entries.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        if self.out.capacity() > bytes || self.found.capacity() > bytes {
            self.out = String::new();
            self.found = Vec::new();
        }
    }
}

/// What of a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Nothing.
    Discard,
    /// What is marked [`Mark::Keep`], and the containers around it.
    Partial,
    /// Everything.
    Write,
}

/// The nodes that match one value.
#[derive(Clone, Default)]
struct Matching {
    /// Where they stand on the stack of active nodes.
    at: Range<usize>,
    /// What holds for any of them.
    traits: Traits,
}

/// Which member of the root this is of those that are not written.
fn hoisted(name: &str) -> Option<usize> {
    match name {
        "apiVersion" => Some(0),
        "kind" => Some(1),
        _ => None,
    }
}

/// One pass over one text.
pub(crate) struct Walker<'a, 'w> {
    scanner: Scanner<'a>,
    trie: &'w Trie,
    scratch: &'w mut Scratch,
    hoist: bool,
    repeats: usize,
    /// What of the input is to be written next. Members that follow each other are
    /// copied at once.
    pending: Range<usize>,
}

impl<'a, 'w> Walker<'a, 'w> {
    pub(crate) fn new(json: &'a str, trie: &'w Trie, scratch: &'w mut Scratch) -> Self {
        scratch.found.clear();
        scratch.out.clear();
        scratch.hoisted = [0..0, 0..0];
        scratch.active.clear();
        scratch.active.push(trie.root());
        if scratch.seen_in.len() < trie.len() {
            scratch.seen_in.resize(trie.len(), 0);
        }
        Self {
            scanner: Scanner::new(json),
            trie,
            scratch,
            hoist: false,
            repeats: 0,
            pending: 0..0,
        }
    }

    /// Matches the paths and writes nothing.
    pub(crate) fn extract(mut self) -> Result<(), SyntaxError> {
        self.scanner.space();
        self.value(self.root(), Mode::Discard, 0)?;
        self.end()
    }

    /// Matches the paths and writes an object: `prefix`, which opens it and holds at
    /// least one member, and then the members of the root but `apiVersion` and `kind`.
    /// With `all` everything is written that no path ignores, else what a path keeps.
    pub(crate) fn project(mut self, prefix: &str, all: bool) -> Result<(), SyntaxError> {
        self.scanner.space();
        if self.scanner.peek() != Some(b'{') {
            return Err(self.scanner.expected("an object"));
        }
        self.scratch.out.push_str(prefix);
        self.hoist = true;
        let root = self.root();
        let keep = all || root.traits.have(Traits::KEEP);
        let mode = match (root.traits.have(Traits::IGNORE), keep) {
            (true, _) => Mode::Discard,
            (false, true) => Mode::Write,
            (false, false) => Mode::Partial,
        };
        self.value(root, mode, 0)?;
        self.flush();
        if mode == Mode::Discard {
            self.scratch.out.push('}');
        }
        self.end()
    }

    /// What matches the whole text.
    fn root(&self) -> Matching {
        Matching {
            at: 0..1,
            traits: self.trie.node(self.trie.root()).traits,
        }
    }

    fn end(mut self) -> Result<(), SyntaxError> {
        self.scanner.space();
        match self.scanner.peek() {
            None => Ok(()),
            Some(_) => Err(SyntaxError {
                offset: self.scanner.pos(),
                kind: SyntaxErrorKind::TrailingData,
            }),
        }
    }

    /// Passes one value, which the `active` nodes match and which stands in `depth`
    /// containers.
    fn value(&mut self, active: Matching, mode: Mode, depth: usize) -> Result<(), SyntaxError> {
        let first = self.scratch.found.len();
        if active.traits.have(Traits::REPORTED) {
            self.report(active.at.clone(), mode)?;
        }
        let reported = self.scratch.found.len();
        let root = self.hoist && depth == 0;
        match self.scanner.peek() {
            Some(b'{') if root || active.traits.have(Traits::BY_NAME) => {
                self.object(active, mode, depth)?;
            }
            Some(b'[') if active.traits.have(Traits::BY_INDEX) => {
                self.array(active, mode, depth)?;
            }
            _ => self.leaf(mode, depth)?,
        }
        if first < reported {
            let end = self.scanner.pos();
            let reported = self.scratch.found.get_mut(first..reported);
            for found in reported.unwrap_or_default() {
                found.end = end;
            }
        }
        Ok(())
    }

    /// Takes note of the value at the cursor for the paths that end at the `active` nodes.
    fn report(&mut self, active: Range<usize>, mode: Mode) -> Result<(), SyntaxError> {
        let written_at =
            (mode != Mode::Discard).then_some(self.scratch.out.len() + self.pending.len());
        let start = self.scanner.pos();
        for &id in self.scratch.active.get(active).unwrap_or_default() {
            let node = self.trie.node(id);
            if self.scratch.found.len() + node.targets.len() > MAX_MATCHES {
                return Err(SyntaxError {
                    offset: start,
                    kind: SyntaxErrorKind::TooManyMatches,
                });
            }
            for &target in &node.targets {
                self.scratch.found.push(Found {
                    target,
                    start,
                    end: start,
                    written_at,
                });
            }
        }
        Ok(())
    }

    /// Passes a value inside of which no path ends.
    #[inline]
    fn leaf(&mut self, mode: Mode, depth: usize) -> Result<(), SyntaxError> {
        let start = self.scanner.pos();
        self.scanner.take_spaced();
        self.scanner.skip(depth)?;
        if mode == Mode::Write {
            let range = start..self.scanner.pos();
            if self.scanner.take_spaced() {
                self.flush();
                compact_into(&mut self.scratch.out, self.scanner.slice(range));
            } else {
                self.copy(range);
            }
        }
        Ok(())
    }

    fn object(&mut self, active: Matching, mode: Mode, depth: usize) -> Result<(), SyntaxError> {
        let root = self.hoist && depth == 0;
        self.enter(depth, if root { Mode::Discard } else { mode })?;
        let mut first_written = !root;
        let mut comma = None;
        self.scratch.objects += 1;
        let this = self.scratch.objects;
        let found_before = self.scratch.found.len();
        self.scanner.space();
        if self.scanner.peek() == Some(b'}') {
            self.bracket(mode);
            return Ok(());
        }
        loop {
            let name_start = self.scanner.pos();
            let name = self.scanner.string("a member name")?;
            let name_end = self.scanner.pos();
            self.scanner.space();
            let colon = self.scanner.pos();
            self.scanner.expect(b':', "`:`")?;
            self.scanner.space();
            let raw = self.scanner.slice(name.range);
            let name = if name.escaped {
                unescape(raw)
            } else {
                Cow::Borrowed(raw)
            };
            let hoisted = if root { hoisted(&name) } else { None };
            let children = self.members(active.at.clone(), &name, this, found_before)?;
            let below = match hoisted {
                Some(_) => Mode::Discard,
                None => self.mode_below(&children, mode),
            };
            let start = self.scanner.pos();
            if below != Mode::Discard {
                if !std::mem::take(&mut first_written) {
                    self.comma(comma);
                }
                if name_end < colon {
                    self.copy(name_start..name_end);
                    self.copy(colon..colon + 1);
                } else {
                    self.copy(name_start..colon + 1);
                }
            }
            if children.at.is_empty() {
                self.leaf(below, depth + 1)?;
            } else {
                let start = children.at.start;
                self.value(children, below, depth + 1)?;
                self.scratch.active.truncate(start);
            }
            if let Some(range) = hoisted.and_then(|which| self.scratch.hoisted.get_mut(which)) {
                *range = start..self.scanner.pos();
            }
            self.scanner.space();
            match self.scanner.peek() {
                Some(b',') => {
                    comma = Some(self.scanner.pos());
                    self.scanner.advance();
                    self.scanner.space();
                }
                Some(b'}') => break,
                _ => return Err(self.scanner.expected("`,` or `}`")),
            }
        }
        self.bracket(mode);
        Ok(())
    }

    fn array(&mut self, active: Matching, mode: Mode, depth: usize) -> Result<(), SyntaxError> {
        let length = if self.counts_from_the_end(active.at.clone()) {
            self.array_length(depth)?
        } else {
            0
        };
        self.enter(depth, mode)?;
        let mut first_written = true;
        let mut comma = None;
        self.scanner.space();
        if self.scanner.peek() == Some(b']') {
            self.bracket(mode);
            return Ok(());
        }
        for index in 0_i64.. {
            let children = self.elements(active.at.clone(), index, length);
            let below = self.mode_below(&children, mode);
            if below != Mode::Discard && !std::mem::take(&mut first_written) {
                self.comma(comma);
            }
            if children.at.is_empty() {
                self.leaf(below, depth + 1)?;
            } else {
                let start = children.at.start;
                self.value(children, below, depth + 1)?;
                self.scratch.active.truncate(start);
            }
            self.scanner.space();
            match self.scanner.peek() {
                Some(b',') => {
                    comma = Some(self.scanner.pos());
                    self.scanner.advance();
                    self.scanner.space();
                }
                Some(b']') => break,
                _ => return Err(self.scanner.expected("`,` or `]`")),
            }
        }
        self.bracket(mode);
        Ok(())
    }

    /// The length of the array at the cursor, which stays where it is.
    fn array_length(&self, depth: usize) -> Result<i64, SyntaxError> {
        let mut scanner = self.scanner.clone();
        scanner.advance();
        for length in 1_i64.. {
            scanner.space();
            if length == 1 && scanner.peek() == Some(b']') {
                break;
            }
            scanner.skip(depth + 1)?;
            scanner.space();
            if scanner.peek() != Some(b',') {
                return Ok(length);
            }
            scanner.advance();
        }
        Ok(0)
    }

    /// Passes the opening bracket of a container that stands in `depth` others.
    fn enter(&mut self, depth: usize, mode: Mode) -> Result<(), SyntaxError> {
        if depth >= MAX_DEPTH {
            let offset = self.scanner.pos();
            return Err(SyntaxError {
                offset,
                kind: SyntaxErrorKind::TooDeep,
            });
        }
        self.bracket(mode);
        Ok(())
    }

    /// Passes a bracket.
    fn bracket(&mut self, mode: Mode) {
        if mode != Mode::Discard {
            let at = self.scanner.pos();
            self.copy(at..at + 1);
        }
        self.scanner.advance();
    }

    /// Writes a comma: the one at `at`, if the input has one here. The first member of the
    /// root has none before it, and follows the prefix.
    fn comma(&mut self, at: Option<usize>) {
        match at {
            Some(at) => self.copy(at..at + 1),
            None => {
                self.flush();
                self.scratch.out.push(',');
            }
        }
    }

    /// Writes a part of the input.
    #[inline]
    fn copy(&mut self, range: Range<usize>) {
        if self.pending.end != range.start {
            self.flush();
            self.pending.start = range.start;
        }
        self.pending.end = range.end;
    }

    fn flush(&mut self) {
        let end = self.pending.end;
        let pending = std::mem::replace(&mut self.pending, end..end);
        self.scratch.out.push_str(self.scanner.slice(pending));
    }

    /// Pushes the nodes that match the member `name` of an object that the `active`
    /// nodes match; their range on the stack. `this` tells the object from all others,
    /// `found_before` is the number of matches before it.
    #[inline]
    fn members(
        &mut self,
        active: Range<usize>,
        name: &str,
        this: u64,
        found_before: usize,
    ) -> Result<Matching, SyntaxError> {
        let start = self.scratch.active.len();
        let mut traits = Traits::default();
        for at in active {
            let Some(&id) = self.scratch.active.get(at) else {
                break;
            };
            let node = self.trie.node(id);
            if let Some(child) = node.name(name) {
                self.scratch.active.push(child);
                traits.add(self.trie.node(child).traits);
                if let Some(seen) = self.scratch.seen_in.get_mut(child)
                    && std::mem::replace(seen, this) == this
                {
                    self.forget(child, found_before)?;
                }
            }
            if let Some(child) = node.wildcard {
                self.scratch.active.push(child);
                traits.add(self.trie.node(child).traits);
            }
        }
        Ok(Matching {
            at: start..self.scratch.active.len(),
            traits,
        })
    }

    /// Takes back what was found at and below a node since `found_before`, because the
    /// member is there a second time.
    #[cold]
    fn forget(&mut self, node: NodeId, found_before: usize) -> Result<(), SyntaxError> {
        self.repeats += 1;
        if self.repeats > MAX_REPEATS {
            let offset = self.scanner.pos();
            return Err(SyntaxError {
                offset,
                kind: SyntaxErrorKind::RepeatedNames,
            });
        }
        let mut position = 0;
        self.scratch.found.retain(|found| {
            position += 1;
            position <= found_before || !self.trie.reports(node, found.target)
        });
        Ok(())
    }

    /// Pushes the nodes that match the element at `index`; their range on the stack.
    fn elements(&mut self, active: Range<usize>, index: i64, length: i64) -> Matching {
        let start = self.scratch.active.len();
        let mut traits = Traits::default();
        for at in active {
            let Some(&id) = self.scratch.active.get(at) else {
                break;
            };
            let node = self.trie.node(id);
            let from_the_end = (length > 0).then(|| node.index(index - length));
            let matching = [node.index(index), from_the_end.flatten(), node.wildcard];
            for child in matching.into_iter().flatten() {
                self.scratch.active.push(child);
                traits.add(self.trie.node(child).traits);
            }
        }
        Matching {
            at: start..self.scratch.active.len(),
            traits,
        }
    }

    /// How much is written of the value at the cursor, which the `children` nodes match,
    /// in a container of which as much as `mode` says is written.
    #[inline]
    fn mode_below(&self, children: &Matching, mode: Mode) -> Mode {
        let traits = children.traits;
        if mode == Mode::Discard || traits.have(Traits::IGNORE) {
            return Mode::Discard;
        }
        if mode == Mode::Write || traits.have(Traits::KEEP) {
            return Mode::Write;
        }
        let leads_on = match self.scanner.peek() {
            Some(b'{') => traits.have(Traits::KEEPS_MEMBER),
            Some(b'[') => traits.have(Traits::KEEPS_ELEMENT),
            _ => false,
        };
        if leads_on {
            Mode::Partial
        } else {
            Mode::Discard
        }
    }

    fn counts_from_the_end(&self, active: Range<usize>) -> bool {
        let active = self.scratch.active.get(active).unwrap_or_default();
        active
            .iter()
            .any(|&id| self.trie.node(id).counts_from_the_end())
    }
}
