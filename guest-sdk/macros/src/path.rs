//! Paths as far as a compiler must understand them: which steps a plain path has, and what of it
//! can be told to be wrong at once. The host compiles the same text at start and has the last word.

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
                Some(name) => {
                    text += &format!("['{}']", name.replace('\\', "\\\\").replace('\'', "\\'"));
                }
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

fn is_number(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_digit())
}

/// Parses a path, or says what is wrong with it.
pub(crate) fn parse(text: &str) -> Result<Path, String> {
    let mut rest = text.trim();
    if rest.contains("{{") {
        return Err("this is a Go template; write the path alone, such as `spec.host`".to_owned());
    }
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner
            .strip_suffix('}')
            .ok_or("the brace is not closed")?
            .trim();
        if rest.contains('{') || rest.starts_with("range ") || rest == "end" {
            return Err(
                "templates and `{range}` are no paths; `[*]` matches all elements of a list"
                    .to_owned(),
            );
        }
    }
    if rest.is_empty() {
        return Err("the path is empty; `$` is the whole object".to_owned());
    }
    rest = match rest.strip_prefix('$') {
        Some(rest) => rest,
        None => rest,
    };
    let mut path = Path {
        steps: Vec::new(),
        is_plain: true,
    };
    let mut first = true;
    while !rest.is_empty() {
        if rest.starts_with("..") {
            path.is_plain = false;
            return Ok(path);
        }
        if let Some(inner) = rest.strip_prefix('[') {
            let end = closing(inner).ok_or("a bracket is not closed")?;
            match bracket(inner[..end].trim())? {
                Some(step) => path.steps.push(step),
                None => {
                    path.is_plain = false;
                    // What comes after is checked for its brackets only.
                    unplain(&inner[end + 1..])?;
                    return Ok(path);
                }
            }
            rest = &inner[end + 1..];
        } else {
            let name = match rest.strip_prefix('.') {
                Some(name) => name,
                None if first => rest,
                None => {
                    return Err(format!(
                        "`{rest}` begins neither with a dot nor with a bracket"
                    ));
                }
            };
            let (step, after) = bare(name)?;
            path.steps.push(step);
            rest = after;
        }
        first = false;
    }
    Ok(path)
}

/// Where the bracket ends that was opened just before.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None => match c {
                '\'' | '"' => quote = Some(c),
                '[' | '(' => depth += 1,
                ']' if depth == 0 => return Some(at),
                ']' | ')' => depth = depth.saturating_sub(1),
                _ => {}
            },
        }
    }
    None
}

fn unplain(rest: &str) -> Result<(), String> {
    let mut rest = rest;
    while let Some(at) = rest.find('[') {
        let inner = &rest[at + 1..];
        let end = closing(inner).ok_or("a bracket is not closed")?;
        rest = &inner[end + 1..];
    }
    Ok(())
}

/// The step in brackets; `None` for a filter, a slice or a union.
fn bracket(inside: &str) -> Result<Option<Step>, String> {
    if inside.is_empty() {
        return Err("`[]` names nothing; `[*]` matches all elements".to_owned());
    }
    if inside == "*" {
        return Ok(Some(Step::Wildcard));
    }
    if let Ok(index) = inside.parse::<i64>() {
        return Ok(Some(Step::Index(index)));
    }
    if let Some(quote) = inside.chars().next().filter(|c| matches!(c, '\'' | '"')) {
        let mut name = String::new();
        let mut chars = inside[1..].chars();
        loop {
            match chars.next() {
                None => return Err("a quote is not closed".to_owned()),
                Some(c) if c == quote => break,
                Some('\\') => match chars.next() {
                    None => return Err("a quote is not closed".to_owned()),
                    // An escape beyond these is the host's to understand.
                    Some(c @ ('.' | '\\' | '\'' | '"' | '/')) => name.push(c),
                    Some(_) => return Ok(None),
                },
                Some(c) => name.push(c),
            }
        }
        return match chars.as_str().trim() {
            "" => Ok(Some(Step::Name(name))),
            _ => Ok(None),
        };
    }
    if inside.starts_with(['?', '(']) || inside.contains([':', ',']) {
        return Ok(None);
    }
    Err(format!(
        "`[{inside}]` is neither a position nor a name; names in brackets have quotes: `['{inside}']`"
    ))
}

/// The bare name at the start, or a wildcard, and what follows it.
fn bare(text: &str) -> Result<(Step, &str), String> {
    if let Some(rest) = text.strip_prefix('*') {
        return Ok((Step::Wildcard, rest));
    }
    let mut name = String::new();
    let mut chars = text.char_indices();
    let mut end = text.len();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some((_, '.')) => name.push('.'),
                _ => {
                    return Err(
                        r"a backslash stands only before a dot that belongs to a name: `\.`"
                            .to_owned(),
                    );
                }
            },
            '.' | '[' => {
                end = at;
                break;
            }
            c if c.is_alphanumeric() || matches!(c, '_' | '-' | '/') => name.push(c),
            c => {
                return Err(format!(
                    "a bare name cannot hold {c:?}; put it in brackets and quotes: `['…']`"
                ));
            }
        }
    }
    if name.is_empty() {
        return Err("a dot without a name after it".to_owned());
    }
    if is_number(&name) {
        return Err(format!(
            "`{name}` is a position: write `[{name}]`, or `['{name}']` if it is a name"
        ));
    }
    Ok((Step::Name(name), &text[end..]))
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
            ("spec host", "bare name cannot hold ' '"),
            ("{.spec", "not closed"),
            ("{{.spec}}", "Go template"),
            ("{range .items}", "templates"),
            (r"a.b\c", "backslash"),
            ("a[0]b", "neither with a dot"),
            ("a[?@.b].c[0", "not closed"),
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
            ("$", None),
            ("$..host", None),
            ("$[0]", None),
        ] {
            assert_eq!(parse(text).unwrap().to_keep().as_deref(), keep, "{text}");
        }
    }
}
