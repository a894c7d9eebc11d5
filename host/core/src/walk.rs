//! Owns the pass over one JSON text in which paths are matched and members are kept or
//! dropped. Does not know what the matches are for ([`crate::path`], [`crate::decode`]).

mod trie;

use crate::json::{
    MAX_DEPTH, MemberName, Scanner, SyntaxError, SyntaxErrorKind, compact_into, head, unescape,
};
use std::ops::Range;
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
#[derive(Clone, Copy, Default)]
struct Matching {
    nodes: Nodes,
    /// What holds for any of them.
    traits: Traits,
}

#[derive(Clone, Copy, Default)]
enum Nodes {
    #[default]
    None,
    /// What matches most values that are matched.
    One(NodeId),
    /// They stand there on the stack of active nodes.
    Many { start: usize, end: usize },
}

/// Which member of the root this is of those that are not written.
fn hoisted(name: &[u8]) -> Option<usize> {
    match name {
        b"apiVersion" => Some(0),
        b"kind" => Some(1),
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
            nodes: Nodes::One(self.trie.root()),
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
    #[inline(always)]
    fn value(&mut self, active: Matching, mode: Mode, depth: usize) -> Result<(), SyntaxError> {
        let first = self.scratch.found.len();
        if active.traits.have(Traits::REPORTED) {
            self.report(active.nodes, mode)?;
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
    fn report(&mut self, active: Nodes, mode: Mode) -> Result<(), SyntaxError> {
        let written_at =
            (mode != Mode::Discard).then_some(self.scratch.out.len() + self.pending.len());
        let start = self.scanner.pos();
        let mut at = 0;
        while let Some(id) = self.nth(active, at) {
            at += 1;
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

    /// One of the nodes.
    #[inline]
    fn nth(&self, nodes: Nodes, at: usize) -> Option<NodeId> {
        match nodes {
            Nodes::None => None,
            Nodes::One(id) => (at == 0).then_some(id),
            Nodes::Many { start, end } => {
                let nodes = self.scratch.active.get(start..end)?;
                nodes.get(at).copied()
            }
        }
    }

    /// Passes a value inside of which no path ends.
    #[inline(always)]
    fn leaf(&mut self, mode: Mode, depth: usize) -> Result<(), SyntaxError> {
        if mode != Mode::Write {
            return self.scanner.skip(depth);
        }
        let start = self.scanner.pos();
        self.scanner.take_spaced();
        self.scanner.skip(depth)?;
        let range = start..self.scanner.pos();
        if self.scanner.take_spaced() {
            self.flush();
            compact_into(&mut self.scratch.out, self.scanner.slice(range));
        } else {
            self.copy(range);
        }
        Ok(())
    }

    /// What a name with escapes means, and its [`head`].
    #[cold]
    fn unescaped(&self, name: Range<usize>) -> (u64, String) {
        let name = unescape(self.scanner.slice(name)).into_owned();
        (head(&name), name)
    }

    /// Passes the value of a member or an element.
    #[inline(always)]
    fn child(&mut self, active: Matching, mode: Mode, depth: usize) -> Result<(), SyntaxError> {
        match active.nodes {
            Nodes::None => self.leaf(mode, depth),
            Nodes::One(_) => self.value(active, mode, depth),
            Nodes::Many { start, .. } => {
                self.value(active, mode, depth)?;
                self.scratch.active.truncate(start);
                Ok(())
            }
        }
    }

    #[inline(never)]
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
            let MemberName { span, head, colon } = self.scanner.member_name()?;
            let name_end = span.range.end + 1;
            let name = self.scanner.bytes(span.range.clone());
            let unescaped = span.escaped.then(|| self.unescaped(span.range));
            let (head, name) = match &unescaped {
                None => (head, name),
                Some((head, name)) => (*head, name.as_bytes()),
            };
            let hoisted = if root { hoisted(name) } else { None };
            let children = self.members(active.nodes, (head, name), this, found_before)?;
            let below = match hoisted {
                Some(_) => Mode::Discard,
                None => self.mode_below(&children, mode),
            };
            let start = self.scanner.pos();
            if below != Mode::Discard {
                let first = std::mem::take(&mut first_written);
                let end = self.pending.end;
                if !first && comma == Some(end) && name_start == end + 1 && name_end == colon {
                    self.pending.end = colon + 1;
                } else {
                    self.write_name((!first).then_some(comma), name_start..name_end, colon);
                }
            }
            self.child(children, below, depth + 1)?;
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

    #[inline(never)]
    fn array(&mut self, active: Matching, mode: Mode, depth: usize) -> Result<(), SyntaxError> {
        let length = if self.counts_from_the_end(active.nodes) {
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
            let children = self.elements(active.nodes, index, length);
            let below = self.mode_below(&children, mode);
            if below != Mode::Discard && !std::mem::take(&mut first_written) {
                self.comma(comma);
            }
            self.child(children, below, depth + 1)?;
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
    #[inline]
    fn bracket(&mut self, mode: Mode) {
        if mode != Mode::Discard {
            let at = self.scanner.pos();
            self.copy(at..at + 1);
        }
        self.scanner.advance();
    }

    /// Writes the name of a member and its colon, and the comma before it, if one is to be
    /// there.
    #[inline(never)]
    fn write_name(&mut self, comma: Option<Option<usize>>, name: Range<usize>, colon: usize) {
        if let Some(comma) = comma {
            self.comma(comma);
        }
        if name.end < colon {
            self.copy(name);
            self.copy(colon..colon + 1);
        } else {
            self.copy(name.start..colon + 1);
        }
    }

    /// Writes a comma: the one at `at`, if the input has one here. The first member of the
    /// root has none before it, and follows the prefix.
    #[inline]
    fn comma(&mut self, at: Option<usize>) {
        match at {
            Some(at) => self.copy(at..at + 1),
            None => self.write_comma(),
        }
    }

    #[cold]
    fn write_comma(&mut self) {
        self.flush();
        self.scratch.out.push(',');
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

    #[inline(never)]
    fn flush(&mut self) {
        let end = self.pending.end;
        let pending = std::mem::replace(&mut self.pending, end..end);
        self.scratch.out.push_str(self.scanner.slice(pending));
    }

    /// The nodes that match the member `name`, given with its [`head`], of an object that the
    /// `active` nodes match. `this` tells the object from all others, `found_before` is the
    /// number of matches before it.
    #[inline(always)]
    fn members(
        &mut self,
        active: Nodes,
        (head, name): (u64, &[u8]),
        this: u64,
        found_before: usize,
    ) -> Result<Matching, SyntaxError> {
        let mut children = Matching::default();
        match active {
            Nodes::None => {}
            Nodes::One(id) => {
                self.member(&mut children, id, (head, name), this, found_before)?;
            }
            Nodes::Many { start, end } => {
                for at in start..end {
                    if let Some(&id) = self.scratch.active.get(at) {
                        self.member(&mut children, id, (head, name), this, found_before)?;
                    }
                }
            }
        }
        Ok(children)
    }

    /// Adds those of the `children` that come from the node `id`.
    #[inline(always)]
    fn member(
        &mut self,
        children: &mut Matching,
        id: NodeId,
        (head, name): (u64, &[u8]),
        this: u64,
        found_before: usize,
    ) -> Result<(), SyntaxError> {
        let node = self.trie.node(id);
        if let Some(child) = node.name(head, name) {
            self.add(children, child);
            if let Some(seen) = self.scratch.seen_in.get_mut(child)
                && std::mem::replace(seen, this) == this
            {
                self.forget(child, found_before)?;
            }
        }
        if let Some(child) = node.wildcard {
            self.add(children, child);
        }
        Ok(())
    }

    /// Adds a node to those that match a value. Two and more stand at the end of the stack.
    #[inline(always)]
    fn add(&mut self, matching: &mut Matching, id: NodeId) {
        matching.traits.add(self.trie.node(id).traits);
        let active = &mut self.scratch.active;
        matching.nodes = match matching.nodes {
            Nodes::None => Nodes::One(id),
            Nodes::One(first) => {
                let start = active.len();
                active.extend([first, id]);
                Nodes::Many {
                    start,
                    end: active.len(),
                }
            }
            Nodes::Many { start, .. } => {
                active.push(id);
                Nodes::Many {
                    start,
                    end: active.len(),
                }
            }
        };
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

    /// The nodes that match the element at `index`.
    fn elements(&mut self, active: Nodes, index: i64, length: i64) -> Matching {
        let mut children = Matching::default();
        let mut at = 0;
        while let Some(id) = self.nth(active, at) {
            at += 1;
            let node = self.trie.node(id);
            let from_the_end = (length > 0).then(|| node.index(index - length));
            let matching = [node.index(index), from_the_end.flatten(), node.wildcard];
            for child in matching.into_iter().flatten() {
                self.add(&mut children, child);
            }
        }
        children
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

    fn counts_from_the_end(&self, active: Nodes) -> bool {
        let mut nodes = (0..).map_while(|at| self.nth(active, at));
        nodes.any(|id| self.trie.node(id).counts_from_the_end())
    }
}
