//! Sets of fields, as `FieldsV1` writes them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// A set of places in an object. A step is written as in `FieldsV1`:
/// `f:name`, `k:{"name":"x"}`, `v:"x"` or `i:0`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FieldSet {
    children: BTreeMap<String, Node>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Node {
    /// The place itself is in the set, not only what is below it.
    member: bool,
    below: FieldSet,
}

impl FieldSet {
    pub(crate) fn is_empty(&self) -> bool {
        self.children.is_empty()
    }

    /// Adds a step to the set itself.
    pub(crate) fn add(&mut self, step: &str) {
        self.children.entry(step.to_owned()).or_default().member = true;
    }

    /// Adds what is below a step; nothing when that is nothing.
    pub(crate) fn add_below(&mut self, step: &str, below: FieldSet) {
        if !below.is_empty() {
            let node = self.children.entry(step.to_owned()).or_default();
            node.below.union_with(below);
        }
    }

    pub(crate) fn union_with(&mut self, other: FieldSet) {
        for (step, theirs) in other.children {
            let node = self.children.entry(step).or_default();
            node.member |= theirs.member;
            node.below.union_with(theirs.below);
        }
    }

    /// The places that are in both.
    pub(crate) fn intersection(&self, other: &FieldSet) -> FieldSet {
        self.combine(other, |mine, theirs| mine && theirs)
    }

    /// The places that are not in the other.
    pub(crate) fn difference(&self, other: &FieldSet) -> FieldSet {
        self.combine(other, |mine, theirs| mine && !theirs)
    }

    fn combine(&self, other: &FieldSet, keep: fn(bool, bool) -> bool) -> FieldSet {
        let nothing = Node::default();
        let mut result = FieldSet::default();
        for (step, mine) in &self.children {
            let theirs = other.children.get(step).unwrap_or(&nothing);
            let node = Node {
                member: keep(mine.member, theirs.member),
                below: mine.below.combine(&theirs.below, keep),
            };
            if node.member || !node.below.is_empty() {
                result.children.insert(step.clone(), node);
            }
        }
        result
    }

    /// Without the places of `roots` and everything below them.
    pub(crate) fn without_trees(&self, roots: &FieldSet) -> FieldSet {
        let mut result = FieldSet::default();
        for (step, mine) in &self.children {
            let node = match roots.children.get(step) {
                Some(root) if root.member => continue,
                Some(root) => Node {
                    member: mine.member,
                    below: mine.below.without_trees(&root.below),
                },
                None => mine.clone(),
            };
            if node.member || !node.below.is_empty() {
                result.children.insert(step.clone(), node);
            }
        }
        result
    }

    /// True when the place itself is in the set.
    pub(crate) fn has(&self, step: &str) -> bool {
        self.children.get(step).is_some_and(|node| node.member)
    }

    /// What is below a step.
    pub(crate) fn below(&self, step: &str) -> Option<&FieldSet> {
        self.children.get(step).map(|node| &node.below)
    }

    /// The steps that lead somewhere.
    pub(crate) fn steps(&self) -> impl Iterator<Item = &str> {
        self.children.keys().map(String::as_str)
    }

    /// Removes one place and everything below it.
    pub(crate) fn remove_tree(&mut self, path: &[&str]) {
        match path {
            [] => {}
            [step] => {
                self.children.remove(*step);
            }
            [step, rest @ ..] => {
                if let Some(node) = self.children.get_mut(*step) {
                    node.below.remove_tree(rest);
                    if !node.member && node.below.is_empty() {
                        self.children.remove(*step);
                    }
                }
            }
        }
    }

    /// Every place, as the messages of conflicts write it: `.spec.ports[port=80].name`.
    pub(crate) fn paths(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.collect_paths("", &mut found);
        found
    }

    fn collect_paths(&self, prefix: &str, found: &mut Vec<String>) {
        for (step, node) in &self.children {
            let path = format!("{prefix}{}", shown(step));
            node.below.collect_paths(&path, found);
            if node.member {
                found.push(path);
            }
        }
    }

    /// The `fieldsV1` value.
    pub(crate) fn to_value(&self) -> Value {
        let mut map = Map::new();
        for (step, node) in &self.children {
            let mut below = node.below.to_value();
            if let Value::Object(below) = &mut below
                && node.member
                && !below.is_empty()
            {
                below.insert(".".into(), Value::Object(Map::new()));
            }
            map.insert(step.clone(), below);
        }
        Value::Object(map)
    }

    /// Reads a `fieldsV1` value; `None` when it is not one.
    pub(crate) fn parse(value: &Value) -> Option<Self> {
        let mut set = Self::default();
        for (step, below) in value.as_object()? {
            let (kind, text) = step.split_once(':')?;
            if !matches!(kind, "f" | "k" | "v" | "i") {
                return None;
            }
            let step = match kind {
                // Written again, so that equal keys are equal texts.
                "k" | "v" => format!("{kind}:{}", serde_json::from_str::<Value>(text).ok()?),
                _ => step.clone(),
            };
            let mut below = below.as_object()?.clone();
            let member = below.remove(".").is_some() || below.is_empty();
            let node = Node {
                member,
                below: Self::parse(&Value::Object(below))?,
            };
            set.children.insert(step, node);
        }
        Some(set)
    }
}

fn shown(step: &str) -> String {
    let (kind, text) = step.split_once(':').unwrap_or(("f", step));
    match kind {
        "k" => {
            let keys: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
            let keys: Vec<String> = keys
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            format!("[{}]", keys.join(","))
        }
        "v" => format!("[={text}]"),
        "i" => format!("[{text}]"),
        _ => format!(".{text}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use serde_json::json;

    fn set(value: Value) -> FieldSet {
        FieldSet::parse(&value).unwrap()
    }

    #[test]
    fn fields_survive_the_round_trip() {
        let value = json!({
            "f:metadata": {"f:labels": {".": {}, "f:a": {}}, "f:finalizers": {"v:\"x\"": {}}},
            "f:spec": {"f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}}}},
        });
        assert_eq!(set(value.clone()).to_value(), value);
        assert_eq!(
            set(value).paths(),
            [
                ".metadata.finalizers[=\"x\"]",
                ".metadata.labels.a",
                ".metadata.labels",
                ".spec.ports[port=80,protocol=\"TCP\"].port",
                ".spec.ports[port=80,protocol=\"TCP\"]",
            ]
        );
        for broken in [
            json!([]),
            json!({"x": {}}),
            json!({"f:a": 1}),
            json!({"k:{": {}}),
        ] {
            assert_eq!(FieldSet::parse(&broken), None, "{broken}");
        }
    }

    #[test]
    fn sets_combine_place_by_place() {
        let left = set(json!({"f:a": {".": {}, "f:b": {}, "f:c": {}}}));
        let right = set(json!({"f:a": {"f:b": {}}, "f:d": {}}));
        assert_eq!(left.intersection(&right), set(json!({"f:a": {"f:b": {}}})));
        assert_eq!(
            left.difference(&right),
            set(json!({"f:a": {".": {}, "f:c": {}}}))
        );
        assert_eq!(
            left.without_trees(&set(json!({"f:a": {}}))),
            FieldSet::default()
        );
        assert_eq!(
            left.without_trees(&right),
            set(json!({"f:a": {".": {}, "f:c": {}}}))
        );
    }
}
