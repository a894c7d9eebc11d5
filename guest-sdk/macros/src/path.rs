//! Paths as far as a compiler must understand them: which steps a plain path has, and what of it
//! can be told to be wrong at once. This is the grammar of the host's `haptic_core::path`, and a test
//! holds them together (`tests/tests/documents/grammars.rs`); but what stands inside of filters and
//! slices only the host understands, when it compiles the same text at start.

/// One step of a plain path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Name(String),
    Index(i64),
    Wildcard,
}

/// A path, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    /// The steps before anything that is not plain.
    pub(crate) steps: Vec<Step>,
    /// Whether those are all: no filters, slices, unions, descendants.
    pub(crate) is_plain: bool,
}

impl Path {
    /// What of an object must be stored so that this path finds in the stored object what it finds
    /// in the whole one; `None`: all of it. Lists are stored without the elements that nobody
    /// named, so positions in them would move: what has one is stored from the list on.
    pub(crate) fn to_keep(&self) -> Option<String> {
        let kept = self.steps.iter().map_while(|step| match step {
            Step::Name(name) => Some(Some(name)),
            Step::Wildcard => Some(None),
            Step::Index(_) => None,
        });
        let mut text = String::new();
        for step in kept {
            match step {
                None => text += "[*]",
                Some(name)
                    if name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
                        && !is_number(name) =>
                {
                    if !text.is_empty() {
                        text.push('.');
                    }
                    text += name;
                }
                Some(name) => text += &format!("['{}']", quoted(name)),
            }
        }
        // A path of wildcards only has nothing to begin with.
        (!text.is_empty()).then(|| {
            if text.starts_with('[') {
                format!("${text}")
            } else {
                text
            }
        })
    }
}

/// A name as it stands between single quotes.
fn quoted(name: &str) -> String {
    let mut text = String::new();
    for c in name.chars() {
        match c {
            '\'' | '\\' => text.extend(['\\', c]),
            '\0'..='\u{1f}' => text += &format!("\\u{:04x}", u32::from(c)),
            _ => text.push(c),
        }
    }
    text
}

fn is_number(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_digit())
}

/// The host refuses longer paths.
const MAX_BYTES: usize = 1024;

/// The host refuses paths of more steps.
const MAX_STEPS: usize = 64;

/// The host refuses more functions inside each other in a filter.
const MAX_NESTED_FUNCTIONS: usize = 4;

/// The host refuses more brackets inside each other in a filter.
const MAX_NESTED_BRACKETS: usize = 16;

/// The largest position of RFC 9535.
const MAX_INDEX: u64 = (1 << 53) - 1;

const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];

const UNCLOSED_BRACKET: &str = "a bracket is not closed";
const UNCLOSED_QUOTE: &str = "a quote is not closed";
const TEMPLATE: &str = "templates and `{range}` are no paths; `[*]` matches all elements of a list";

/// Parses a path, or says what is wrong with it.
pub(crate) fn parse(text: &str) -> Result<Path, String> {
    if text.len() > MAX_BYTES {
        return Err(format!("the path is longer than {MAX_BYTES} bytes"));
    }
    let mut parser = Parser {
        text: without_braces(text)?,
        pos: 0,
        path: Path {
            steps: Vec::new(),
            is_plain: true,
        },
    };
    parser.path()?;
    Ok(parser.path)
}

/// The path inside kubectl's braces and the white space around.
fn without_braces(text: &str) -> Result<&str, String> {
    if text
        .match_indices("{{")
        .any(|(at, _)| !inside_quotes(text, at))
    {
        return Err("this is a Go template; write the path alone, such as `spec.host`".to_owned());
    }
    let trimmed = text.trim();
    let inner = trimmed
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'));
    let path = inner.unwrap_or(trimmed);
    let word = path.trim();
    if word.is_empty() {
        return Err("the path is empty; `$` is the whole object".to_owned());
    }
    let is_template = inner.is_some() && (word == "end" || word.starts_with("range "));
    let mut braces = path.match_indices(['{', '}']);
    if is_template || braces.any(|(at, _)| !inside_quotes(path, at)) {
        return Err(TEMPLATE.to_owned());
    }
    Ok(path)
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
    path: Path,
}

impl<'a> Parser<'a> {
    fn path(&mut self) -> Result<(), String> {
        self.space();
        let is_rooted = self.eat('$');
        let start = self.pos;
        for count in 0.. {
            self.space();
            let Some(c) = self.peek() else { break };
            if count == MAX_STEPS {
                return Err(format!("the path has more than {MAX_STEPS} steps"));
            }
            match c {
                '.' => {
                    self.pos += 1;
                    if self.eat('.') {
                        self.path.is_plain = false;
                    }
                    match self.peek() {
                        Some('[') => self.brackets()?,
                        _ => self.bare()?,
                    }
                }
                '[' => self.brackets()?,
                // The first dot may be left out.
                _ if self.pos == start && !is_rooted => self.bare()?,
                _ => {
                    return Err(format!(
                        "`{}` begins neither with a dot nor with a bracket",
                        self.rest()
                    ));
                }
            }
        }
        Ok(())
    }

    /// A name without quotes, or a wildcard.
    fn bare(&mut self) -> Result<(), String> {
        if self.eat('*') {
            self.push(Step::Wildcard);
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
                '\\' => {
                    return Err(
                        r"a backslash stands only before a dot that belongs to a name: `\.`"
                            .to_owned(),
                    );
                }
                '.' | '[' => break,
                _ if SPACES.contains(&c) => break,
                '-' | '/' | '_' => {}
                _ if c.is_ascii_alphanumeric() || (!c.is_ascii() && !c.is_control()) => {}
                _ => {
                    return Err(format!(
                        "a bare name cannot hold {c:?}; put it in brackets and quotes: `['…']`"
                    ));
                }
            }
            name.push(c);
            self.pos += c.len_utf8();
        }
        if name.is_empty() {
            return Err("a dot without a name after it".to_owned());
        }
        if is_number(&name) {
            return Err(format!(
                "`{name}` is a position: write `[{name}]`, or `['{name}']` if it is a name"
            ));
        }
        self.push(Step::Name(name));
        Ok(())
    }

    /// `[…]`.
    fn brackets(&mut self) -> Result<(), String> {
        self.pos += 1;
        self.space();
        let mut only = None;
        for count in 1.. {
            let step = match self.peek() {
                None => return Err(UNCLOSED_BRACKET.to_owned()),
                Some(']') if count == 1 => {
                    return Err("`[]` names nothing; `[*]` matches all elements".to_owned());
                }
                Some(quote @ ('\'' | '"')) => Some(Step::Name(self.quoted(quote)?)),
                Some('*') => {
                    self.pos += 1;
                    Some(Step::Wildcard)
                }
                Some('?') => {
                    self.filter()?;
                    None
                }
                Some(_) => self.index()?.map(Step::Index),
            };
            only = step.filter(|_| count == 1);
            self.space();
            if self.eat(']') {
                break;
            }
            if !self.eat(',') {
                return Err(UNCLOSED_BRACKET.to_owned());
            }
            self.space();
        }
        match only {
            Some(step) => self.push(step),
            None => self.path.is_plain = false,
        }
        Ok(())
    }

    /// A position; `None` for a slice.
    fn index(&mut self) -> Result<Option<i64>, String> {
        let rest = self.rest();
        let length = rest
            .find([',', ']'])
            .ok_or_else(|| UNCLOSED_BRACKET.to_owned())?;
        self.pos += length;
        let text = rest[..length].trim_end_matches(SPACES);
        if text.contains(':') {
            return Ok(None);
        }
        let digits = text.strip_prefix('-').unwrap_or(text);
        let is_canonical =
            digits.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !digits.starts_with('0'));
        match text.parse::<i64>() {
            Ok(index) if is_canonical && index.unsigned_abs() <= MAX_INDEX => Ok(Some(index)),
            _ if text.is_empty() => Err("nothing stands between two separators".to_owned()),
            _ => Err(format!(
                "`[{text}]` is neither a position nor a name; names in brackets have quotes: `['{text}']`"
            )),
        }
    }

    /// A quoted name, from its opening quote on.
    fn quoted(&mut self, quote: char) -> Result<String, String> {
        self.pos += 1;
        let mut name = String::new();
        loop {
            let c = self.next().ok_or_else(|| UNCLOSED_QUOTE.to_owned())?;
            match c {
                _ if c == quote => return Ok(name),
                '\\' => name.push(self.escape(quote).ok_or(
                    r#"after a backslash in quotes stands one of . ' " \ / b f n r t and uXXXX"#,
                )?),
                '\0'..='\u{1f}' => {
                    return Err("a control character in quotes is written as an escape".to_owned());
                }
                _ => name.push(c),
            }
        }
    }

    /// What follows a backslash in a quoted name.
    fn escape(&mut self, quote: char) -> Option<char> {
        Some(match self.next()? {
            c @ ('.' | '\\' | '/') => c,
            c if c == quote => c,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => match self.hex4()? {
                high @ 0xD800..0xDC00 => {
                    self.pos += self.rest().starts_with("\\u").then_some(2)?;
                    let low = self.hex4()?.checked_sub(0xDC00)?;
                    (low < 0x400).then_some(())?;
                    char::from_u32(0x10000 + ((high - 0xD800) << 10) + low)?
                }
                code => char::from_u32(code)?,
            },
            _ => return None,
        })
    }

    fn hex4(&mut self) -> Option<u32> {
        let digits = self.rest().get(..4)?;
        let is_hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
        self.pos += 4;
        u32::from_str_radix(digits, 16).ok().filter(|_| is_hex)
    }

    /// A filter up to, not including, the bracket or comma that ends it.
    fn filter(&mut self) -> Result<(), String> {
        let start = self.pos;
        // Whether each bracket that is open begins the argument of a function.
        let mut calls = Vec::new();
        while let Some(c) = self.peek() {
            match c {
                '\'' | '"' => {
                    self.pos += 1;
                    while let Some(inner) = self.peek().filter(|inner| *inner != c) {
                        self.pos += inner.len_utf8();
                        if inner == '\\' {
                            self.next();
                        }
                    }
                    if self.peek().is_none() {
                        return Err(UNCLOSED_QUOTE.to_owned());
                    }
                }
                '[' => calls.push(false),
                '(' => {
                    let before = self.text[start..self.pos].trim_end_matches(SPACES);
                    calls.push(before.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_'));
                    if calls.iter().filter(|call| **call).count() > MAX_NESTED_FUNCTIONS {
                        return Err("functions may stand inside each other four deep".to_owned());
                    }
                }
                ']' | ',' if calls.is_empty() => return Ok(()),
                ']' | ')' => _ = calls.pop(),
                _ => {}
            }
            if calls.len() > MAX_NESTED_BRACKETS {
                return Err("brackets may stand inside each other 16 deep".to_owned());
            }
            self.pos += c.len_utf8();
        }
        Err(UNCLOSED_BRACKET.to_owned())
    }

    fn push(&mut self, step: Step) {
        if self.path.is_plain {
            self.path.steps.push(step);
        }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.pos..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.pos += c.len_utf8();
        Some(c)
    }

    fn eat(&mut self, c: char) -> bool {
        let is_next = self.peek() == Some(c);
        if is_next {
            self.pos += c.len_utf8();
        }
        is_next
    }

    fn space(&mut self) {
        self.pos = self.text.len() - self.rest().trim_start_matches(SPACES).len();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn i1_plain_paths_have_their_steps_in_every_spelling() {
        let name = |name: &str| Step::Name(name.to_owned());
        let label = vec![
            name("metadata"),
            name("labels"),
            name("kubernetes.io/service-name"),
        ];
        for (text, steps) in [
            ("spec", vec![name("spec")]),
            ("$.spec", vec![name("spec")]),
            (".spec", vec![name("spec")]),
            ("{.spec}", vec![name("spec")]),
            ("$", vec![]),
            (
                "spec.rules[*].host",
                vec![name("spec"), name("rules"), Step::Wildcard, name("host")],
            ),
            (
                "spec.rules.*",
                vec![name("spec"), name("rules"), Step::Wildcard],
            ),
            ("a[-1][0]", vec![name("a"), Step::Index(-1), Step::Index(0)]),
            (
                r"metadata.labels.kubernetes\.io/service-name",
                label.clone(),
            ),
            (
                "metadata.labels['kubernetes.io/service-name']",
                label.clone(),
            ),
            (
                r#"$["metadata"]["labels"]["kubernetes.io/service-name"]"#,
                label,
            ),
            (r"a['it\'s']", vec![name("a"), name("it's")]),
            (
                r#" { $ .a [ "\u00e9\ud83d\ude00" ] } "#,
                vec![name("a"), name("é😀")],
            ),
        ] {
            let path = parse(text).unwrap();
            assert_eq!((path.steps, path.is_plain), (steps, true), "{text}");
        }
    }

    #[test]
    fn what_is_not_plain_is_left_to_the_host() {
        for (text, steps) in [
            ("$..host", 0),
            ("spec.ports[?@.name == 'http'].port", 2),
            ("spec.ports[0:2]", 2),
            ("a['b','c']", 1),
            ("a.b[?(@.x=='[')]['y'].z", 2),
        ] {
            let path = parse(text).unwrap();
            assert_eq!((path.steps.len(), path.is_plain), (steps, false), "{text}");
        }
    }

    #[test]
    fn a_broken_path_is_explained() {
        for (text, part) in [
            ("", "empty"),
            (" ", "empty"),
            ("spec.", "without a name"),
            ("spec.rules[*", "not closed"),
            ("spec['a", "not closed"),
            ("spec[]", "names nothing"),
            ("spec[name]", "['name']"),
            ("spec.0", "[0]"),
            ("spec host", "`host` begins neither"),
            ("spec:host", "bare name cannot hold ':'"),
            ("{.spec", "templates"),
            ("{{.spec}}", "Go template"),
            ("{range .items}", "templates"),
            (r"a.b\c", "backslash"),
            ("a[0]b", "neither with a dot"),
            ("a[?@.b].c[0", "not closed"),
            ("a[01]", "neither a position nor a name"),
            ("a['b',]", "nothing stands between"),
            (r"a['\x']", "after a backslash"),
            ("a['\t']", "control character"),
            (&"a".repeat(1025), "longer than 1024"),
            (&".a".repeat(65), "more than 64 steps"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn i7_what_is_kept_has_no_positions() {
        for (text, keep) in [
            ("spec.host", Some("spec.host")),
            ("spec.rules[*].host", Some("spec.rules[*].host")),
            ("spec.rules[0].host", Some("spec.rules")),
            ("spec.ports[?@.name=='x'].port", Some("spec.ports")),
            (
                r"metadata.labels.kubernetes\.io/name",
                Some("metadata.labels['kubernetes.io/name']"),
            ),
            ("a['0']", Some("a['0']")),
            ("['a b'].c", Some("$['a b'].c")),
            (r"a['\n\'']", Some(r"a['\u000a\'']")),
            ("$", None),
            ("$..host", None),
            ("$[0]", None),
        ] {
            assert_eq!(parse(text).unwrap().to_keep().as_deref(), keep, "{text}");
        }
    }
}
