//! Owns the grammar of JSON text (RFC 8259): skipping a value while checking it,
//! finding the end of a string, unescaping, dropping insignificant white space.
//! Builds no tree, and does not know what any member means ([`crate::decode`]).

use std::{borrow::Cow, fmt, ops::Range};
use wide::{CmpEq, CmpLt, i8x16};

/// Containers may nest this deep: what serde_json accepts as well, so that a body
/// that is stored can be parsed by a guest.
pub(crate) const MAX_DEPTH: usize = 127;

/// Where a text stops being JSON, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {offset}")]
pub struct SyntaxError {
    /// Bytes before the offending one.
    pub offset: usize,
    /// What is wrong there.
    pub kind: SyntaxErrorKind,
}

/// What is wrong with a JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyntaxErrorKind {
    /// The text ends inside a value.
    UnexpectedEnd,
    /// Another token was expected.
    Expected(&'static str),
    /// An unescaped control character in a string.
    ControlCharacter,
    /// A backslash that starts no escape, or half of a surrogate pair.
    InvalidEscape,
    /// Digits that make no number.
    InvalidNumber,
    /// More than 127 containers around each other.
    TooDeep,
    /// Something follows the value.
    TrailingData,
    /// The bytes are not UTF-8.
    InvalidUtf8,
    /// Many members have the name of an earlier one in the same object.
    RepeatedNames,
    /// The paths match more values than are ever needed of one text.
    TooManyMatches,
}

impl fmt::Display for SyntaxErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnexpectedEnd => f.write_str("the JSON text ends inside a value"),
            Self::Expected(what) => write!(f, "expected {what}"),
            Self::ControlCharacter => f.write_str("unescaped control character in a string"),
            Self::InvalidEscape => f.write_str("invalid escape in a string"),
            Self::InvalidNumber => f.write_str("invalid number"),
            Self::TooDeep => f.write_str("nested deeper than 127 levels"),
            Self::TrailingData => f.write_str("unexpected data after the value"),
            Self::InvalidUtf8 => f.write_str("invalid UTF-8"),
            Self::RepeatedNames => f.write_str("many members of the same name"),
            Self::TooManyMatches => f.write_str("the paths match more than 262,144 values"),
        }
    }
}

/// A string in a JSON text: where its contents stand (without the quotes).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StringSpan {
    pub(crate) range: Range<usize>,
    /// Whether it holds a backslash, so that its value differs from its text.
    pub(crate) escaped: bool,
}

/// The name of a member in a JSON text.
pub(crate) struct MemberName {
    pub(crate) span: StringSpan,
    /// Its [`head`], if it is not escaped.
    pub(crate) head: u64,
    /// Where its colon stands.
    pub(crate) colon: usize,
}

/// A cursor over JSON text.
#[derive(Clone)]
pub(crate) struct Scanner<'a> {
    text: &'a str,
    pos: usize,
    spaced: bool,
    specials: Specials,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self {
            text,
            pos: 0,
            spaced: false,
            specials: Specials::new(text.as_bytes(), 0),
        }
    }

    pub(crate) fn pos(&self) -> usize {
        self.pos
    }

    /// Whether insignificant white space was passed since the last call.
    pub(crate) fn take_spaced(&mut self) -> bool {
        std::mem::take(&mut self.spaced)
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.pos).copied()
    }

    pub(crate) fn advance(&mut self) {
        self.pos += 1;
    }

    /// Skips white space.
    #[inline(always)]
    pub(crate) fn space(&mut self) {
        if self.peek().is_some_and(|byte| byte <= b' ') {
            let end = skip_spaces(self.text.as_bytes(), self.pos);
            self.spaced |= end != self.pos;
            self.pos = end;
        }
    }

    /// Passes one byte.
    #[inline(always)]
    pub(crate) fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), SyntaxError> {
        match self.peek() {
            Some(found) if found == byte => {
                self.pos += 1;
                Ok(())
            }
            _ => Err(self.expected(what)),
        }
    }

    /// The error for finding something else than `what` here.
    #[cold]
    pub(crate) fn expected(&self, what: &'static str) -> SyntaxError {
        unexpected(self.text.as_bytes(), self.pos, what)
    }

    /// Passes a string.
    #[inline(always)]
    pub(crate) fn string(&mut self, what: &'static str) -> Result<StringSpan, SyntaxError> {
        self.expect(b'"', what)?;
        let start = self.pos;
        let (end, escaped) = self.specials.string_end(self.text.as_bytes(), start)?;
        self.pos = end + 1;
        Ok(StringSpan {
            range: start..end,
            escaped,
        })
    }

    /// Passes the name of a member and its colon.
    #[inline(always)]
    pub(crate) fn member_name(&mut self) -> Result<MemberName, SyntaxError> {
        let span = self.string("a member name")?;
        let bytes = self.text.as_bytes();
        if !starts_with(word(bytes, span.range.end), b"\":") {
            self.space();
            if self.peek() != Some(b':') {
                return Err(self.expected("`:`"));
            }
        }
        let colon = self.pos;
        self.pos += 1;
        self.space();
        let head = head_of(word(bytes, span.range.start), span.range.len());
        Ok(MemberName { span, head, colon })
    }

    /// Passes one value, which stands inside `depth` containers, checking all of it.
    #[inline(always)]
    pub(crate) fn skip(&mut self, depth: usize) -> Result<(), SyntaxError> {
        if self.peek() == Some(b'"') {
            self.pos = self
                .specials
                .string_end(self.text.as_bytes(), self.pos + 1)?
                .0
                + 1;
            return Ok(());
        }
        self.pos = skip_value(
            self.text.as_bytes(),
            self.pos,
            depth,
            &mut self.spaced,
            &mut self.specials,
        )?;
        Ok(())
    }

    /// The bytes in `range`.
    #[inline]
    pub(crate) fn bytes(&self, range: Range<usize>) -> &'a [u8] {
        self.text.as_bytes().get(range).unwrap_or_default()
    }

    /// The text in `range`, which must come from this scanner's positions.
    #[inline]
    pub(crate) fn slice(&self, range: Range<usize>) -> &'a str {
        // Every position stands beside an ASCII byte, hence on a boundary.
        self.text.get(range).unwrap_or("")
    }
}

#[cold]
fn skip_spaces(bytes: &[u8], mut pos: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(pos) {
        pos += 1;
    }
    pos
}

#[cold]
fn unexpected(bytes: &[u8], pos: usize, what: &'static str) -> SyntaxError {
    let kind = if pos < bytes.len() {
        SyntaxErrorKind::Expected(what)
    } else {
        SyntaxErrorKind::UnexpectedEnd
    };
    SyntaxError { offset: pos, kind }
}

/// So many bytes are looked at together.
const BLOCK: usize = 64;

/// A mask of the quotes, backslashes and control characters in a block; its lowest bit
/// stands for the first byte.
#[inline(always)]
fn special_mask(block: &[u8; BLOCK]) -> u64 {
    let mask = |bytes: &[u8; 16]| {
        let bytes = i8x16::new(bytes.map(u8::cast_signed));
        // Compared as signed numbers, which moved by 128 have the order of unsigned ones.
        let control = (bytes ^ i8x16::splat(i8::MIN)).cmp_lt(i8x16::splat(0x20 + i8::MIN));
        let quote = bytes.cmp_eq(i8x16::splat(b'"'.cast_signed()));
        let backslash = bytes.cmp_eq(i8x16::splat(b'\\'.cast_signed()));
        u64::from((control | quote | backslash).move_mask().cast_unsigned())
    };
    match block.as_chunks() {
        ([a, b, c, d], _) => mask(a) | mask(b) << 16 | mask(c) << 32 | mask(d) << 48,
        _ => 0,
    }
}

/// The quotes, backslashes and control characters in one block of a text.
#[derive(Clone, Copy)]
pub(crate) struct Specials {
    /// Where the block starts.
    base: usize,
    mask: u64,
}

impl Specials {
    /// Those from `base` on.
    #[inline]
    pub(crate) fn new(bytes: &[u8], base: usize) -> Self {
        let mut this = Self { base, mask: 0 };
        this.load(bytes);
        this
    }

    #[inline(always)]
    fn load(&mut self, bytes: &[u8]) {
        let rest = bytes.get(self.base..).unwrap_or_default();
        self.mask = match rest.first_chunk() {
            Some(block) => special_mask(block),
            None => last_special_mask(rest),
        };
    }

    /// The first position from `pos` on that holds a quote, a backslash or a control
    /// character; the length of `bytes` when there is none. Positions must not decrease.
    #[inline(always)]
    pub(crate) fn find(&mut self, bytes: &[u8], mut pos: usize) -> usize {
        loop {
            let offset = pos - self.base;
            if offset < BLOCK {
                let mask = self.mask >> offset;
                if mask != 0 {
                    return pos + mask.trailing_zeros() as usize;
                }
                pos = self.base + BLOCK;
            }
            self.base += BLOCK;
            self.load(bytes);
        }
    }

    /// The position of the closing quote of the string whose contents start at `pos`,
    /// and whether it holds escapes.
    #[inline(always)]
    fn string_end(&mut self, bytes: &[u8], pos: usize) -> Result<(usize, bool), SyntaxError> {
        let end = self.find(bytes, pos);
        match bytes.get(end) {
            Some(b'"') => Ok((end, false)),
            _ => self.escaped_string_end(bytes, end).map(|end| (end, true)),
        }
    }

    /// Continues [`string_end`](Self::string_end) at a byte that is no closing quote.
    #[inline(never)]
    fn escaped_string_end(&mut self, bytes: &[u8], mut pos: usize) -> Result<usize, SyntaxError> {
        loop {
            let kind = match bytes.get(pos) {
                Some(b'"') => return Ok(pos),
                Some(b'\\') => {
                    pos = escape_end(bytes, pos)?;
                    pos = self.find(bytes, pos);
                    continue;
                }
                Some(_) => SyntaxErrorKind::ControlCharacter,
                None => SyntaxErrorKind::UnexpectedEnd,
            };
            return Err(SyntaxError { offset: pos, kind });
        }
    }
}

/// As [`special_mask`], for the end of a text. There the zeroes behind it are control
/// characters.
#[cold]
fn last_special_mask(rest: &[u8]) -> u64 {
    let mut block = [0; BLOCK];
    for (to, from) in block.iter_mut().zip(rest) {
        *to = *from;
    }
    special_mask(&block)
}

/// The position after the escape whose backslash stands at `pos`.
fn escape_end(bytes: &[u8], pos: usize) -> Result<usize, SyntaxError> {
    let invalid = SyntaxError {
        offset: pos,
        kind: SyntaxErrorKind::InvalidEscape,
    };
    match bytes.get(pos + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(pos + 2),
        Some(b'u') => match hex4(bytes, pos + 2).ok_or(invalid)? {
            0xD800..=0xDBFF => match (bytes.get(pos + 6), bytes.get(pos + 7)) {
                (Some(b'\\'), Some(b'u')) => match hex4(bytes, pos + 8) {
                    Some(0xDC00..=0xDFFF) => Ok(pos + 12),
                    _ => Err(invalid),
                },
                _ => Err(invalid),
            },
            0xDC00..=0xDFFF => Err(invalid),
            _ => Ok(pos + 6),
        },
        Some(_) => Err(invalid),
        None => Err(SyntaxError {
            offset: pos + 1,
            kind: SyntaxErrorKind::UnexpectedEnd,
        }),
    }
}

fn hex4(bytes: &[u8], pos: usize) -> Option<u32> {
    let digits = bytes.get(pos..pos.checked_add(4)?)?;
    digits.iter().try_fold(0, |value, &digit| {
        Some(value * 16 + char::from(digit).to_digit(16)?)
    })
}

/// The position after the number that starts at `pos`.
#[inline]
fn number_end(bytes: &[u8], mut pos: usize) -> Result<usize, SyntaxError> {
    let invalid = |offset| SyntaxError {
        offset,
        kind: SyntaxErrorKind::InvalidNumber,
    };
    let digits = |mut pos| {
        while let Some(b'0'..=b'9') = bytes.get(pos) {
            pos += 1;
        }
        pos
    };
    if bytes.get(pos) == Some(&b'-') {
        pos += 1;
    }
    pos = match bytes.get(pos) {
        Some(b'0') => pos + 1,
        Some(b'1'..=b'9') => digits(pos + 1),
        _ => return Err(invalid(pos)),
    };
    if bytes.get(pos) == Some(&b'.') {
        let end = digits(pos + 1);
        if end == pos + 1 {
            return Err(invalid(end));
        }
        pos = end;
    }
    if let Some(b'e' | b'E') = bytes.get(pos) {
        pos += 1;
        if let Some(b'+' | b'-') = bytes.get(pos) {
            pos += 1;
        }
        let end = digits(pos);
        if end == pos {
            return Err(invalid(end));
        }
        pos = end;
    }
    Ok(pos)
}

#[inline]
fn literal_end(bytes: &[u8], pos: usize, literal: &[u8]) -> Result<usize, SyntaxError> {
    let end = pos + literal.len();
    if bytes.get(pos..end) == Some(literal) {
        Ok(end)
    } else {
        Err(unexpected(bytes, pos, "a value"))
    }
}

/// The eight bytes from `pos` on, the first the lowest; what is behind the text is zero.
#[inline(always)]
fn word(bytes: &[u8], pos: usize) -> u64 {
    match bytes.get(pos..).and_then(|rest| rest.first_chunk()) {
        Some(word) => u64::from_le_bytes(*word),
        None => last_word(bytes, pos),
    }
}

#[cold]
fn last_word(bytes: &[u8], pos: usize) -> u64 {
    let rest = bytes.get(pos..).unwrap_or_default();
    rest.iter()
        .rev()
        .fold(0, |word, &byte| word << 8 | u64::from(byte))
}

/// What of a [`word`] belongs to a name of `len` bytes that it begins with.
#[inline(always)]
fn head_of(word: u64, len: usize) -> u64 {
    const MASKS: [u64; 8] = [
        0,
        u64::MAX >> 56,
        u64::MAX >> 48,
        u64::MAX >> 40,
        u64::MAX >> 32,
        u64::MAX >> 24,
        u64::MAX >> 16,
        u64::MAX >> 8,
    ];
    word & MASKS.get(len).unwrap_or(&u64::MAX)
}

/// The first eight bytes of `name`, the first the lowest, with zeroes behind a shorter one.
pub(crate) fn head(name: &str) -> u64 {
    word(name.as_bytes(), 0)
}

/// Whether a [`word`] begins with these bytes.
#[inline(always)]
fn starts_with<const N: usize>(word: u64, bytes: &[u8; N]) -> bool {
    const { assert!(N < 8) };
    let wanted = bytes
        .iter()
        .rev()
        .fold(0, |word, &byte| word << 8 | u64::from(byte));
    word & ((1 << (8 * N)) - 1) == wanted
}

/// The position after the value that starts at `pos` inside `depth` containers. Sets
/// `spaced` when the value holds insignificant white space.
fn skip_value(
    bytes: &[u8],
    mut pos: usize,
    depth: usize,
    spaced: &mut bool,
    specials_out: &mut Specials,
) -> Result<usize, SyntaxError> {
    // One bit a container that is open: 1 for an object.
    let mut objects: u128 = 0;
    let mut open = 0_usize;
    let mut white = false;
    let mut specials = *specials_out;
    let mut space = |pos: usize| match bytes.get(pos) {
        Some(&byte) if byte <= b' ' => {
            let end = skip_spaces(bytes, pos);
            white |= end != pos;
            end
        }
        _ => pos,
    };
    'value: loop {
        let mut at_member = false;
        match bytes.get(pos) {
            Some(b'"') => pos = specials.string_end(bytes, pos + 1)?.0 + 1,
            Some(&bracket @ (b'{' | b'[')) => {
                open += 1;
                if depth + open > MAX_DEPTH {
                    return Err(SyntaxError {
                        offset: pos,
                        kind: SyntaxErrorKind::TooDeep,
                    });
                }
                objects <<= 1;
                pos = space(pos + 1);
                if bracket == b'{' {
                    objects |= 1;
                    at_member = bytes.get(pos) != Some(&b'}');
                } else if bytes.get(pos) != Some(&b']') {
                    continue 'value;
                }
            }
            Some(b'-' | b'0'..=b'9') => pos = number_end(bytes, pos)?,
            Some(b't') => pos = literal_end(bytes, pos, b"true")?,
            Some(b'f') => pos = literal_end(bytes, pos, b"false")?,
            Some(b'n') => pos = literal_end(bytes, pos, b"null")?,
            _ => return Err(unexpected(bytes, pos, "a value")),
        }
        'after: loop {
            if !at_member {
                if open == 0 {
                    *spaced |= white;
                    *specials_out = specials;
                    return Ok(pos);
                }
                let is_object = objects & 1 == 1;
                match bytes.get(pos) {
                    Some(b'}') if is_object => {
                        open -= 1;
                        objects >>= 1;
                        pos += 1;
                        continue 'after;
                    }
                    Some(b',') if is_object => pos += 1,
                    Some(b',') => {
                        pos = space(pos + 1);
                        continue 'value;
                    }
                    Some(b']') if !is_object => {
                        open -= 1;
                        objects >>= 1;
                        pos += 1;
                        continue 'after;
                    }
                    _ => {
                        let end = space(pos);
                        if end > pos {
                            pos = end;
                            continue 'after;
                        }
                        let what = if is_object {
                            "`,` or `}`"
                        } else {
                            "`,` or `]`"
                        };
                        return Err(unexpected(bytes, pos, what));
                    }
                }
            }
            at_member = false;
            loop {
                if bytes.get(pos) != Some(&b'"') {
                    pos = space(pos);
                    if bytes.get(pos) != Some(&b'"') {
                        return Err(unexpected(bytes, pos, "a member name"));
                    }
                }
                let end = specials.find(bytes, pos + 1);
                let next = word(bytes, end);
                if !starts_with(next, b"\":") {
                    let end = match starts_with(next, b"\"") {
                        true => end,
                        false => specials.escaped_string_end(bytes, end)?,
                    };
                    pos = space(end + 1);
                    if bytes.get(pos) != Some(&b':') {
                        return Err(unexpected(bytes, pos, "`:`"));
                    }
                    pos = space(pos + 1);
                    continue 'value;
                }
                // What most values are: strings, objects, and in managedFields `{}`.
                if starts_with(next, b"\":\"") {
                    let start = end + 3;
                    let end = specials.find(bytes, start);
                    let next = word(bytes, end);
                    if starts_with(next, b"\",\"") {
                        pos = end + 2;
                        continue;
                    }
                    let end = match starts_with(next, b"\"") {
                        true => end,
                        false => specials.escaped_string_end(bytes, end)?,
                    };
                    pos = end + 1;
                    continue 'after;
                }
                if depth + open < MAX_DEPTH {
                    if starts_with(next, b"\":{}") {
                        pos = end + 4;
                        if starts_with(next, b"\":{},") {
                            pos = end + 5;
                            continue;
                        }
                        continue 'after;
                    }
                    if starts_with(next, b"\":{\"") {
                        pos = end + 3;
                        open += 1;
                        objects = objects << 1 | 1;
                        continue;
                    }
                }
                pos = space(end + 2);
                continue 'value;
            }
        }
    }
}

/// The value of a string from its text without quotes, which [`Scanner::string`] has
/// accepted.
pub(crate) fn unescape(raw: &str) -> Cow<'_, str> {
    if memchr::memchr(b'\\', raw.as_bytes()).is_none() {
        return Cow::Borrowed(raw);
    }
    let mut value = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((before, escape)) = rest.split_once('\\') {
        value.push_str(before);
        let (character, length) = unescape_one(escape);
        value.push(character);
        rest = escape.get(length..).unwrap_or("");
    }
    value.push_str(rest);
    Cow::Owned(value)
}

/// What the escape behind a backslash means, and how long it is.
fn unescape_one(escape: &str) -> (char, usize) {
    let bytes = escape.as_bytes();
    match bytes.first() {
        Some(b'b') => ('\u{8}', 1),
        Some(b'f') => ('\u{c}', 1),
        Some(b'n') => ('\n', 1),
        Some(b'r') => ('\r', 1),
        Some(b't') => ('\t', 1),
        Some(b'u') => {
            let high = hex4(bytes, 1).unwrap_or(0xFFFD);
            if let (0xD800..=0xDBFF, Some(low @ 0xDC00..=0xDFFF)) = (high, hex4(bytes, 7)) {
                let code = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
                (
                    char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER),
                    11,
                )
            } else {
                (
                    char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER),
                    5,
                )
            }
        }
        Some(&other) => (char::from(other), 1),
        None => (char::REPLACEMENT_CHARACTER, 0),
    }
}

/// Appends `json`, which must be one valid value, without insignificant white space.
pub(crate) fn compact_into(out: &mut String, json: &str) {
    let bytes = json.as_bytes();
    let mut specials = Specials::new(bytes, 0);
    let mut start = 0;
    let mut pos = 0;
    while let Some(&byte) = bytes.get(pos) {
        match byte {
            b'"' => {
                let end = specials.string_end(bytes, pos + 1);
                pos = end.map_or(bytes.len(), |(end, _)| end + 1);
            }
            b' ' | b'\n' | b'\r' | b'\t' => {
                out.push_str(json.get(start..pos).unwrap_or(""));
                pos = skip_spaces(bytes, pos);
                start = pos;
            }
            _ => pos += 1,
        }
    }
    out.push_str(json.get(start..).unwrap_or(""));
}

#[cfg(test)]
mod tests;
