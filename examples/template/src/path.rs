//! Paths into values, as far as filters need them: names, positions, `[*]`. The host's own paths
//! (`indexBy`, `keepFields`) are full JSONPath and none of this module's business.

use minijinja::value::{Value, ValueKind};

/// A path, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Name(String),
    Index(i64),
    Wildcard,
}

impl Path {
    /// Reads `spec.rules[*].host`, `$.metadata.annotations['haproxy.org/timeout']`, `ports[0].name`.
    ///
    /// # Errors
    /// A sentence that names the path.
    pub fn parse(text: &str) -> Result<Self, String> {
        steps(text)
            .map(Path)
            .ok_or_else(|| {
                format!("{text:?} is no path; write names, `[0]`, `['a/b']` and `[*]`, as in `spec.rules[*].host`")
            })
    }

    /// Everything that the path matches, in order. A member that is missing matches nothing.
    pub fn find(&self, value: &Value) -> Vec<Value> {
        let mut found = Vec::new();
        find(&self.0, value, &mut found);
        found
    }

    /// The first match.
    pub fn first(&self, value: &Value) -> Option<Value> {
        self.find(value).into_iter().next()
    }
}

fn steps(text: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    let text = text.trim();
    let mut rest = text.strip_prefix('$').unwrap_or(text);
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix("['") {
            let (name, after) = quoted.split_once("']")?;
            steps.push(Step::Name(name.to_owned()));
            rest = after;
        } else if let Some(inner) = rest.strip_prefix('[') {
            let (inner, after) = inner.split_once(']')?;
            steps.push(match inner {
                "*" => Step::Wildcard,
                index => Step::Index(index.parse().ok()?),
            });
            rest = after;
        } else {
            let name = match rest.strip_prefix('.') {
                Some(name) => name,
                None if steps.is_empty() && !text.starts_with('$') => rest,
                None => return None,
            };
            let end = name.find(['.', '[']).unwrap_or(name.len());
            let (name, after) = name.split_at(end);
            match name {
                "" => return None,
                "*" => steps.push(Step::Wildcard),
                name => steps.push(Step::Name(name.to_owned())),
            }
            rest = after;
        }
    }
    Some(steps)
}

fn find(steps: &[Step], value: &Value, found: &mut Vec<Value>) {
    let Some((step, rest)) = steps.split_first() else {
        found.push(value.clone());
        return;
    };
    match (step, value.kind()) {
        (Step::Name(name), ValueKind::Map) => {
            if let Ok(member) = value.get_attr(name)
                && !member.is_undefined()
            {
                find(rest, &member, found);
            }
        }
        (Step::Index(index), ValueKind::Seq) => {
            if let Ok(element) = value.get_item(&Value::from(*index))
                && !element.is_undefined()
            {
                find(rest, &element, found);
            }
        }
        (Step::Wildcard, ValueKind::Seq) => {
            for element in value.try_iter().into_iter().flatten() {
                find(rest, &element, found);
            }
        }
        (Step::Wildcard, ValueKind::Map) => {
            for key in value.try_iter().into_iter().flatten() {
                if let Ok(member) = value.get_item(&key) {
                    find(rest, &member, found);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn check(path: &str, expected: &[&str]) {
        let value: Value = serde_json::from_str(
            r#"{"spec": {"rules": [{"host": "a"}, {}, {"host": "b"}]}, "x/y.z": {"0": "c"}}"#,
        )
        .unwrap();
        let found = Path::parse(path).unwrap().find(&value);
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "{path}");
    }

    #[test]
    fn paths_match_what_is_there_and_nothing_else() {
        check("spec.rules[*].host", &["a", "b"]);
        check("$.spec.rules[*].host", &["a", "b"]);
        check("spec.rules[-1].host", &["b"]);
        check("spec.rules[1].host", &[]);
        check("spec.rules.host", &[]);
        check("spec.*[0].host", &["a"]);
        check("['x/y.z']['0']", &["c"]);
        check("$['x/y.z'].0", &["c"]);
        check("spec.none.of.these", &[]);
        check("spec.rules[0].host.length", &[]);
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in ["a..b", "a[", "a[x]", "a['b]", "$a", "a[0]b", ".", "a."] {
            assert!(Path::parse(text).is_err(), "{text}");
        }
    }
}
