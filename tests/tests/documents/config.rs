//! `docs/config.md` has a row for each key that a configuration file may have, and no others. The
//! keys are asked of the host: given one that it does not know, it lists those that it does.

use std::collections::BTreeMap;

use haptic_host::config::{self, ConfigError};
use serde_json::{Value, json};

/// Stands for a name that the operator chooses.
const NAME: &str = "NAME";

/// What no key is called.
const UNKNOWN: &str = "zzz";

/// A configuration with this value at a place.
fn nested(place: &[String], value: Value) -> Value {
    place
        .iter()
        .rev()
        .fold(value, |value, key| json!({key: value}))
}

/// What the host says about a configuration, by place.
fn mistakes(configuration: &Value) -> BTreeMap<String, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yaml");
    // JSON is YAML.
    std::fs::write(&path, configuration.to_string()).unwrap();
    match config::load(&path) {
        Ok(_) => BTreeMap::new(),
        Err(ConfigError::Mistakes { mistakes, .. }) => mistakes
            .into_iter()
            .map(|mistake| (mistake.place, mistake.message))
            .collect(),
        Err(error) => panic!("{configuration}: {error}"),
    }
}

/// The keys at a place, if it is a mapping with keys of the host's own.
fn keys(place: &[String]) -> Option<Vec<String>> {
    let mut unknown = place.to_vec();
    unknown.push(UNKNOWN.to_owned());
    let found = mistakes(&nested(&unknown, json!(1)));
    let message = found.get(&unknown.join("."))?;
    let known = message.split_once("the fields here are ")?.1;
    Some(known.split(", ").map(ToOwned::to_owned).collect())
}

/// The keys of each mapping, by its place as the document writes it.
fn all() -> BTreeMap<String, Vec<String>> {
    let mut all = BTreeMap::new();
    let mut places = vec![Vec::new()];
    while let Some(place) = places.pop() {
        let below = |key: &str| {
            let mut below = place.clone();
            below.push(key.to_owned());
            below
        };
        if let Some(keys) = keys(&place) {
            places.extend(keys.iter().map(|key| below(key)));
            all.insert(place.join("."), keys);
        } else if place.last().is_some_and(|key| key != NAME) && keys(&below(NAME)).is_some() {
            places.push(below(NAME));
        }
    }
    all
}

/// The keys that the document has, by the place in its headings.
fn documented(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut place = None;
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            let quoted = heading
                .strip_prefix('`')
                .and_then(|rest| rest.split_once('`'));
            place = match (heading, quoted) {
                ("The file", _) => Some(String::new()),
                (_, Some((name, _))) => Some(name.to_owned()),
                (_, None) => None,
            };
            found.extend(place.clone().map(|place| (place, Vec::new())));
        } else if let Some(row) = line.strip_prefix("| `")
            && let Some((key, _)) = row.split_once('`')
            && let Some(place) = &place
        {
            found.get_mut(place).unwrap().push(key.to_owned());
        }
    }
    found
}

#[test]
fn k1_every_key_of_a_configuration_is_documented_and_no_other() {
    let expected = all();
    // Otherwise the host's sentence has changed, and nothing would be compared.
    assert!(
        expected.len() >= 4 && expected[""].contains(&"plugins".to_owned()),
        "{expected:?}"
    );
    let found = documented(&super::read("docs/config.md"));
    for (place, mut keys) in expected.clone() {
        keys.sort();
        let mut rows = found.get(&place).cloned().unwrap_or_else(|| {
            panic!("docs/config.md has no section `{place}`, whose keys are {keys:?}")
        });
        rows.sort();
        assert_eq!(
            rows, keys,
            "docs/config.md, section `{place}`, against the host"
        );
    }
    let sections: Vec<_> = found
        .into_keys()
        .filter(|place| !expected.contains_key(place))
        .collect();
    assert!(
        sections.is_empty(),
        "docs/config.md describes mappings that there are not: {sections:?}"
    );
}

#[test]
fn k1_the_examples_of_the_document_are_accepted() {
    let text = super::read("docs/config.md");
    let examples: Vec<_> = text
        .split("```yaml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert!(!examples.is_empty());
    for example in examples {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.yaml");
        std::fs::write(&path, example).unwrap();
        config::load(&path).unwrap_or_else(|error| panic!("{error}\n{example}"));
    }
}
