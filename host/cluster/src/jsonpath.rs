//! The paths of `additionalPrinterColumns`: fields, indices, `[*]` and one
//! kind of filter, `[?(@.type=="Ready")]`.

use serde_json::Value;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Field(String),
    Index(usize),
    Each,
    Where(String, String),
}

/// Every value at `path`; none when the path cannot be read.
pub(crate) fn find<'v>(value: &'v Value, path: &str) -> Vec<&'v Value> {
    let Some(steps) = parse(path) else {
        return Vec::new();
    };
    let mut found = vec![value];
    for step in &steps {
        found = found
            .into_iter()
            .flat_map(|value| follow(value, step))
            .collect();
    }
    found
}

fn follow<'v>(value: &'v Value, step: &Step) -> Vec<&'v Value> {
    match step {
        Step::Field(name) => value.get(name).into_iter().collect(),
        Step::Index(index) => value.get(*index).into_iter().collect(),
        Step::Each => value.as_array().into_iter().flatten().collect(),
        Step::Where(name, wanted) => value
            .as_array()
            .into_iter()
            .flatten()
            .filter(|one| one.get(name).and_then(crate::json::scalar).as_ref() == Some(wanted))
            .collect(),
    }
}

fn parse(path: &str) -> Option<Vec<Step>> {
    let mut rest = path.strip_prefix('$').unwrap_or(path);
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(inside) = rest.strip_prefix('[') {
            let end = inside.find(']')?;
            steps.push(bracket(&inside[..end])?);
            rest = &inside[end + 1..];
            continue;
        }
        rest = rest.strip_prefix('.').unwrap_or(rest);
        let mut name = String::new();
        let mut characters = rest.char_indices();
        let mut end = rest.len();
        while let Some((index, character)) = characters.next() {
            match character {
                '\\' => name.push(characters.next()?.1),
                '.' | '[' => {
                    end = index;
                    break;
                }
                other => name.push(other),
            }
        }
        if name.is_empty() {
            return None;
        }
        steps.push(Step::Field(name));
        rest = &rest[end..];
    }
    Some(steps)
}

fn bracket(inside: &str) -> Option<Step> {
    if inside == "*" {
        return Some(Step::Each);
    }
    if let Some(filter) = inside
        .strip_prefix("?(@.")
        .and_then(|rest| rest.strip_suffix(')'))
    {
        let (name, wanted) = filter.split_once("==")?;
        return Some(Step::Where(
            name.trim().to_owned(),
            unquote(wanted.trim()).to_owned(),
        ));
    }
    match inside.parse() {
        Ok(index) => Some(Step::Index(index)),
        Err(_) if unquote(inside) != inside => Some(Step::Field(unquote(inside).to_owned())),
        Err(_) => None,
    }
}

fn unquote(text: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inside) = text
            .strip_prefix(quote)
            .and_then(|rest| rest.strip_suffix(quote))
        {
            return inside;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn printer_column_paths_find_what_kubectl_would() {
        let value = json!({
            "spec": {"a": [1, 2], "b.c": "dotted"},
            "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}]},
        });
        for (path, expected) in [
            (".spec.a[1]", json!([2])),
            (".spec.a[*]", json!([1, 2])),
            (".spec.b\\.c", json!(["dotted"])),
            (".spec['b.c']", json!(["dotted"])),
            (
                ".status.conditions[?(@.type==\"Ready\")].status",
                json!(["True"]),
            ),
            (".spec.missing", json!([])),
            (".spec[", json!([])),
            ("..", json!([])),
        ] {
            let found: Vec<Value> = find(&value, path).into_iter().cloned().collect();
            assert_eq!(Value::from(found), expected, "{path}");
        }
    }
}
