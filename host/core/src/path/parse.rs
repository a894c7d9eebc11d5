//! Owns the grammar of the path dialect. Steps beyond names, indices and wildcards are
//! rewritten to RFC 9535 text and left to [`super::query`].

use super::{MAX_PATH_BYTES, MAX_PATH_SEGMENTS, PathErrorKind, Segment, Steps, query::Query};

/// Where in the input, and what.
type Fault = (usize, PathErrorKind);

/// RFC 9535 limits indices to what JavaScript can count.
const MAX_INDEX: u64 = (1 << 53) - 1;

/// Functions inside each other in a filter. The JSONPath library tries the argument of a
/// function two or three times, so its time is 3 to the power of this; more than
/// `length(value(@..a))` is not known to be of use.
const MAX_NESTED_FUNCTIONS: usize = 4;

/// Brackets inside each other in a filter. The JSONPath library parses and evaluates them
/// by recursion, on the stack of a guest's fiber when a guest asks.
const MAX_NESTED_BRACKETS: usize = 16;

const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];

pub(super) fn parse(input: &str) -> Result<Steps, Fault> {
    if input.len() > MAX_PATH_BYTES {
        let at = input.floor_char_boundary(MAX_PATH_BYTES);
        return Err((at, PathErrorKind::TooLong));
    }
    let (start, end) = without_braces(input)?;
    let mut parser = Parser {
        text: input.get(..end).unwrap_or(input),
        pos: start,
        segments: Vec::new(),
        normal: String::from("$"),
        query_at: None,
    };
    parser.path()?;
    match parser.query_at {
        None => Ok(Steps::Plain(parser.segments)),
        Some(position) => Query::new(parser.normal)
            .map(Steps::Query)
            .map_err(|kind| (position, kind)),
    }
}

/// The range of the path inside kubectl's braces and surrounding white space.
fn without_braces(input: &str) -> Result<(usize, usize), Fault> {
    let trimmed = input.trim();
    let start = input.len() - input.trim_start().len();
    let end = start + trimmed.len();
    if let Some(at) = input.find("{{").filter(|&at| !inside_quotes(input, at)) {
        return Err((at, PathErrorKind::GoTemplate));
    }
    let inner = trimmed
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'));
    let (start, end) = if inner.is_some() {
        (start + 1, end - 1)
    } else {
        (start, end)
    };
    let path = inner.unwrap_or(trimmed);
    let word = path.trim();
    if word.is_empty() {
        return Err((start, PathErrorKind::Empty));
    }
    if inner.is_some() && (word == "end" || word.starts_with("range ")) {
        return Err((start, PathErrorKind::Template));
    }
    match path
        .char_indices()
        .find(|&(at, c)| matches!(c, '{' | '}') && !inside_quotes(path, at))
    {
        Some((at, _)) => Err((start + at, PathErrorKind::Template)),
        None => Ok((start, end)),
    }
}

/// Whether the byte at `at` stands between quotes.
fn inside_quotes(text: &str, at: usize) -> bool {
    let mut quote = None;
    let mut escaped = false;
    for c in text.get(..at).unwrap_or("").chars() {
        match quote {
            _ if escaped => escaped = false,
            _ if c == '\\' => escaped = true,
            Some(open) if open == c => quote = None,
            None if matches!(c, '\'' | '"') => quote = Some(c),
            _ => {}
        }
    }
    quote.is_some()
}

struct Parser<'a> {
    text: &'a str,
    pos: usize,
    segments: Vec<Segment>,
    /// The same path as RFC 9535 text.
    normal: String,
    /// Where the first step stands that is no [`Segment`].
    query_at: Option<usize>,
}

impl<'a> Parser<'a> {
    fn path(&mut self) -> Result<(), Fault> {
        self.space();
        let rooted = self.eat('$');
        let start = self.pos;
        let mut steps = 0;
        loop {
            self.space();
            let Some(c) = self.peek() else { return Ok(()) };
            steps += 1;
            if steps > MAX_PATH_SEGMENTS {
                return Err((self.pos, PathErrorKind::TooManySegments));
            }
            match c {
                '.' => {
                    let at = self.pos;
                    self.pos += 1;
                    if self.eat('.') {
                        self.query_at.get_or_insert(at);
                        self.normal.push_str("..");
                    }
                    match self.peek() {
                        Some('[') => self.brackets()?,
                        _ => self.bare()?,
                    }
                }
                '[' => self.brackets()?,
                // The first dot may be left out.
                _ if self.pos == start && !rooted => self.bare()?,
                _ => return Err((self.pos, PathErrorKind::ExpectedSegment(c))),
            }
        }
    }

    /// A name without quotes, or `*`.
    fn bare(&mut self) -> Result<(), Fault> {
        let start = self.pos;
        if self.eat('*') {
            self.push(Segment::Wildcard);
            return Ok(());
        }
        let mut name = String::new();
        while let Some(c) = self.peek() {
            match c {
                '\\' if self.rest().starts_with(r"\.") => {
                    name.push('.');
                    self.pos += 2;
                    continue;
                }
                '\\' => return Err((self.pos, PathErrorKind::InvalidEscape)),
                '.' | '[' => break,
                _ if SPACES.contains(&c) => break,
                '-' | '/' | '_' => {}
                _ if c.is_ascii_alphanumeric() || (!c.is_ascii() && !c.is_control()) => {}
                _ => return Err((self.pos, PathErrorKind::BareNameCharacter(c))),
            }
            name.push(c);
            self.pos += c.len_utf8();
        }
        if name.is_empty() {
            return Err((start, PathErrorKind::ExpectedName));
        }
        if name.bytes().all(|b| b.is_ascii_digit()) {
            return Err((start, PathErrorKind::BareDigits(name)));
        }
        self.push(Segment::Name(name.into()));
        Ok(())
    }

    /// `[…]`.
    fn brackets(&mut self) -> Result<(), Fault> {
        let open = self.pos;
        self.pos += 1;
        self.space();
        let mut normal = String::new();
        let mut count = 0_usize;
        let last = loop {
            let at = self.pos;
            count += 1;
            let selector = match self.peek() {
                None => return Err((open, PathErrorKind::UnclosedBracket)),
                Some(']') if count == 1 => return Err((at, PathErrorKind::EmptyBrackets)),
                Some(quote @ ('\'' | '"')) => {
                    let name = self.quoted(quote)?;
                    write_name(&mut normal, &name);
                    Some(Segment::Name(name.into()))
                }
                Some('*') => {
                    self.pos += 1;
                    normal.push('*');
                    Some(Segment::Wildcard)
                }
                Some('?') => {
                    self.query_at.get_or_insert(at);
                    normal.push_str(self.filter(open)?);
                    None
                }
                Some(_) => {
                    let text = self.until(&[',', ']'], open)?;
                    normal.push_str(text);
                    if text.contains(':') {
                        self.query_at.get_or_insert(at);
                        None
                    } else {
                        let index = index(text).ok_or_else(|| (at, no_index(text)))?;
                        Some(Segment::Index(index))
                    }
                }
            };
            self.space();
            if self.eat(',') {
                self.query_at.get_or_insert(open);
                normal.push(',');
                self.space();
            } else if self.eat(']') {
                break selector;
            } else {
                let at = if self.peek().is_some() {
                    self.pos
                } else {
                    open
                };
                return Err((at, PathErrorKind::UnclosedBracket));
            }
        };
        match last {
            Some(segment) if count == 1 => self.push(segment),
            _ => {
                self.normal.push('[');
                self.normal.push_str(&normal);
                self.normal.push(']');
            }
        }
        Ok(())
    }

    /// A quoted name, from its opening quote on.
    fn quoted(&mut self, quote: char) -> Result<String, Fault> {
        let open = self.pos;
        self.pos += 1;
        let mut name = String::new();
        loop {
            let at = self.pos;
            let Some(c) = self.peek() else {
                return Err((open, PathErrorKind::UnterminatedString));
            };
            self.pos += c.len_utf8();
            match c {
                _ if c == quote => return Ok(name),
                '\\' => name.push(
                    self.escape(quote)
                        .ok_or((at, PathErrorKind::InvalidEscape))?,
                ),
                '\0'..='\u{1f}' => return Err((at, PathErrorKind::ControlCharacter)),
                _ => name.push(c),
            }
        }
    }

    /// What follows a backslash in a quoted name.
    fn escape(&mut self, quote: char) -> Option<char> {
        let c = self.peek()?;
        self.pos += c.len_utf8();
        Some(match c {
            '.' | '\\' | '/' => c,
            _ if c == quote => c,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let high = self.hex4()?;
                if (0xD800..0xDC00).contains(&high) {
                    self.pos += self.rest().starts_with("\\u").then_some(2)?;
                    let low = self
                        .hex4()?
                        .checked_sub(0xDC00)
                        .filter(|low| *low < 0x400)?;
                    char::from_u32(0x10000 + ((high - 0xD800) << 10) + low)?
                } else {
                    char::from_u32(high)?
                }
            }
            _ => return None,
        })
    }

    fn hex4(&mut self) -> Option<u32> {
        let digits = self.rest().get(..4)?;
        let valid = digits.bytes().all(|b| b.is_ascii_hexdigit());
        self.pos += 4;
        u32::from_str_radix(digits, 16).ok().filter(|_| valid)
    }

    /// A filter up to, not including, the bracket or comma that ends it.
    fn filter(&mut self, open: usize) -> Result<&'a str, Fault> {
        let start = self.pos;
        // Whether each bracket that is open begins the argument of a function.
        let mut calls = Vec::new();
        while let Some(c) = self.peek() {
            match c {
                '\'' | '"' => {
                    let quote = self.pos;
                    self.pos += 1;
                    while let Some(inner) = self.peek().filter(|&inner| inner != c) {
                        self.pos += inner.len_utf8();
                        if let ('\\', Some(escaped)) = (inner, self.peek()) {
                            self.pos += escaped.len_utf8();
                        }
                    }
                    if self.peek().is_none() {
                        return Err((quote, PathErrorKind::UnterminatedString));
                    }
                }
                '[' => calls.push(false),
                '(' => {
                    let before = self.text.get(start..self.pos).unwrap_or("");
                    let before = before.trim_end_matches(SPACES);
                    calls.push(before.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_'));
                    if calls.iter().filter(|&&call| call).count() > MAX_NESTED_FUNCTIONS {
                        return Err((
                            self.pos,
                            PathErrorKind::TooCostly(
                                "functions may stand inside each other at most four deep",
                            ),
                        ));
                    }
                }
                ']' | ',' if calls.is_empty() => {
                    return Ok(self.text.get(start..self.pos).unwrap_or(""));
                }
                ']' | ')' => {
                    calls.pop();
                }
                _ => {}
            }
            if calls.len() > MAX_NESTED_BRACKETS {
                let what = "brackets may stand inside each other in a filter at most 16 deep";
                return Err((self.pos, PathErrorKind::TooCostly(what)));
            }
            self.pos += c.len_utf8();
        }
        Err((open, PathErrorKind::UnclosedBracket))
    }

    /// The text up to one of `ends`, without white space at its end.
    fn until(&mut self, ends: &[char], open: usize) -> Result<&'a str, Fault> {
        let rest = self.rest();
        let length = rest
            .find(ends)
            .ok_or((open, PathErrorKind::UnclosedBracket))?;
        self.pos += length;
        Ok(rest.get(..length).unwrap_or("").trim_end_matches(SPACES))
    }

    fn push(&mut self, segment: Segment) {
        match &segment {
            Segment::Name(name) => {
                self.normal.push('[');
                write_name(&mut self.normal, name);
                self.normal.push(']');
            }
            Segment::Index(index) => self.normal.push_str(&format!("[{index}]")),
            Segment::Wildcard => self.normal.push_str("[*]"),
        }
        self.segments.push(segment);
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.pos..).unwrap_or("")
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn eat(&mut self, c: char) -> bool {
        let found = self.peek() == Some(c);
        if found {
            self.pos += c.len_utf8();
        }
        found
    }

    fn space(&mut self) {
        let rest = self.rest();
        self.pos += rest.len() - rest.trim_start_matches(SPACES).len();
    }
}

/// An index as RFC 9535 writes it: no plus, no leading zeros, no `-0`.
fn index(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let canonical =
        digits.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !digits.starts_with('0'));
    let index: i64 = text.parse().ok()?;
    (canonical && index.unsigned_abs() <= MAX_INDEX).then_some(index)
}

fn no_index(text: &str) -> PathErrorKind {
    let number = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+'));
    if number || text.is_empty() {
        PathErrorKind::InvalidIndex(text.to_owned())
    } else {
        PathErrorKind::UnquotedName(text.to_owned())
    }
}

/// Appends `name` as an RFC 9535 string in single quotes.
fn write_name(out: &mut String, name: &str) {
    out.push('\'');
    for c in name.chars() {
        match c {
            '\'' | '\\' => out.extend(['\\', c]),
            '\0'..='\u{1f}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            _ => out.push(c),
        }
    }
    out.push('\'');
}
