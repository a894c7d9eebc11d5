//! The plugin's settings as they are typed: watches, snippets, files. Says what is wrong with them;
//! what is wrong with the templates in them says [`check`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use haptic_guest::settings::Problems;
use haptic_guest::{Settings, Watch};
use minijinja::value::Value;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::check;

/// What one file may cost, unless `fuel` says otherwise. A step of a template costs 1, and so do 64
/// bytes of text; a component takes some ten million steps a second, so a runaway template ends long
/// before the host's ten seconds.
pub const FUEL: u64 = 20_000_000;

/// The settings.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TemplateSettings {
    /// What is watched, by the name that templates call it: `resources.NAME`.
    #[serde(default)]
    pub watched_resources: BTreeMap<String, WatchSettings>,
    /// Templates that others include, import or extend, by name.
    #[serde(default)]
    pub template_snippets: BTreeMap<String, Snippet>,
    /// What is rendered: the file's path, and how it comes about.
    #[serde(default)]
    pub files: BTreeMap<String, FileSettings>,
    /// Any values, which templates read as `vars.NAME`.
    #[serde(default)]
    pub vars: BTreeMap<String, Value>,
    /// The line break after a block tag is no output.
    #[serde(default)]
    pub trim_blocks: bool,
    /// Blanks between the beginning of a line and a block tag are no output.
    #[serde(default)]
    pub lstrip_blocks: bool,
    /// What one file may cost.
    #[serde(default = "default_fuel")]
    pub fuel: u64,
}

fn default_fuel() -> u64 {
    FUEL
}

/// One watch, with the keys of `watchedResources` in the host's configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct WatchSettings {
    /// `v1`, `networking.k8s.io/v1`, …
    pub api_version: String,
    /// The resource in the plural.
    pub resources: String,
    /// Only these namespaces.
    pub namespaces: Option<Vec<String>>,
    /// Only the host's own namespace.
    #[serde(default)]
    pub namespaced_watch: bool,
    /// One object of this name instead of a collection.
    pub name: Option<String>,
    /// A label selector.
    pub label_selector: Option<String>,
    /// A field selector.
    pub field_selector: Option<String>,
    /// Paths of the primary index's keys.
    pub index_by: Option<Vec<String>>,
    /// Further indexes.
    #[serde(default)]
    pub indexes: BTreeMap<String, Vec<String>>,
    /// Paths that are not stored: `metadata.managedFields`, if nothing is said.
    #[serde(default = "managed_fields")]
    pub ignore_fields: Vec<String>,
    /// The only paths that are stored.
    #[serde(default)]
    pub keep_fields: Vec<String>,
    /// Where the objects are.
    #[serde(default)]
    pub store: StoreKind,
    /// How long a cached store serves what it fetched.
    #[serde(rename = "cacheTTL")]
    pub cache_ttl: Option<Time>,
    /// The least time between two renderings because of this watch.
    pub debounce_interval: Option<Time>,
    /// Whether the first rendering waits for this watch.
    #[serde(default = "yes")]
    pub required: bool,
}

fn yes() -> bool {
    true
}

fn managed_fields() -> Vec<String> {
    vec!["metadata.managedFields".to_owned()]
}

/// Where a watch's objects are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    /// In the host's memory.
    #[default]
    #[serde(alias = "full")]
    Memory,
    /// In the API server, fetched when they are read.
    #[serde(alias = "on-demand")]
    Cached,
}

/// A duration as the host's configuration writes it: `500ms`, `10s`, `1m30s`, `2h`, `0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Time(pub Duration);

impl TryFrom<String> for Time {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        duration(&text)
            .map(Time)
            .ok_or_else(|| format!("{text:?} is no duration; write `500ms`, `10s` or `1m30s`"))
    }
}

fn duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u32 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        let one = match &rest[..unit] {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_mins(1),
            "h" => Duration::from_hours(1),
            _ => return None,
        };
        total = total.checked_add(one.checked_mul(number)?)?;
        rest = &rest[unit..];
    }
    (!text.is_empty()).then_some(total)
}

/// A shared template: its text, or a mapping with the text as `template`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snippet(pub String);

impl<'de> Deserialize<'de> for Snippet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Mapping {
            template: String,
        }
        text_or_mapping(deserializer).map(|either| match either {
            Either::Text(text) => Snippet(text),
            Either::Mapping(Mapping { template }) => Snippet(template),
        })
    }
}

/// A file, or one for each object of a watch.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FileMapping {
    /// The text.
    pub template: String,
    /// The watch of which each object has a file.
    pub for_each: Option<String>,
    /// What the object is called in the template and in the path; `object` if it is not said.
    #[serde(rename = "as")]
    pub name: Option<String>,
    /// What becomes of the other files when this one fails.
    #[serde(default)]
    pub on_error: OnError,
}

/// What an error in a file leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// Nothing is written: all files stay as they are.
    #[default]
    Fail,
    /// This file stays as it is, with a warning; the others are written.
    Skip,
}

/// How a file comes about.
#[derive(Clone, Debug)]
pub struct FileSettings(pub FileMapping);

impl<'de> Deserialize<'de> for FileSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text_or_mapping(deserializer).map(|either| match either {
            Either::Mapping(mapping) => FileSettings(mapping),
            Either::Text(template) => FileSettings(FileMapping {
                template,
                for_each: None,
                name: None,
                on_error: OnError::default(),
            }),
        })
    }
}

enum Either<T> {
    Text(String),
    Mapping(T),
}

/// An untagged enum would answer every mistake with "did not match any variant".
fn text_or_mapping<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Either<T>, D::Error> {
    struct Visit<T>(std::marker::PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Visit<T> {
        type Value = Either<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a template, or a mapping with `template`")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
            Ok(Either::Text(text.to_owned()))
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map)).map(Either::Mapping)
        }
    }
    deserializer.deserialize_any(Visit(std::marker::PhantomData))
}

/// What an object is called if the file does not say.
pub const OBJECT: &str = "object";

impl TemplateSettings {
    /// The watches, in the order of their names.
    pub fn watches(&self) -> Vec<Watch> {
        self.watched_resources
            .iter()
            .map(|(name, watch)| watch.declare(name))
            .collect()
    }
}

impl WatchSettings {
    fn declare(&self, name: &str) -> Watch {
        let mut watch = match &self.name {
            Some(object) => Watch::object(name, &self.api_version, &self.resources, object),
            None => Watch::new(name, &self.api_version, &self.resources),
        };
        if let Some(namespaces) = &self.namespaces {
            watch = watch.namespaces(namespaces);
        } else if self.namespaced_watch {
            watch = watch.own_namespace();
        }
        watch.label_selector.clone_from(&self.label_selector);
        watch.field_selector.clone_from(&self.field_selector);
        if let Some(paths) = &self.index_by {
            watch = watch.index_by(paths);
        }
        for (index, paths) in &self.indexes {
            watch = watch.index(index, paths);
        }
        watch = watch
            .ignore_fields(&self.ignore_fields)
            .keep_fields(&self.keep_fields);
        if self.store == StoreKind::Cached {
            watch = watch.cached();
        }
        watch.cache_ttl = self.cache_ttl.map(|Time(time)| time);
        watch.debounce = self.debounce_interval.map(|Time(time)| time);
        watch.required = self.required;
        watch
    }
}

impl Settings for TemplateSettings {
    fn check(&self, problems: &mut Problems) {
        problems.check(
            !self.watched_resources.is_empty(),
            "watchedResources",
            "there must be one, else nothing is ever rendered",
        );
        for (name, watch) in &self.watched_resources {
            let field = Field("watchedResources", name);
            problems.check(
                watch.namespaces.is_none() || !watch.namespaced_watch,
                field,
                "`namespaces` and `namespacedWatch` exclude each other",
            );
        }
        problems.check(
            !self.files.is_empty(),
            "files",
            "there must be one, else nothing is ever rendered",
        );
        for (path, FileSettings(file)) in &self.files {
            self.check_file(path, file, problems);
        }
        problems.check(self.fuel > 0, "fuel", "0 renders nothing");
        check::templates(self, problems);
    }
}

impl TemplateSettings {
    fn check_file(&self, path: &str, file: &FileMapping, problems: &mut Problems) {
        let field = Field("files", path);
        match &file.for_each {
            None => {
                problems.check(
                    file.name.is_none(),
                    format!("{field}.as"),
                    "names the objects of `forEach`, which is missing",
                );
                problems.check(
                    !path.contains("{{") && !path.contains("{%"),
                    field,
                    "a path is a template only together with `forEach`",
                );
            }
            Some(watch) => {
                let known: BTreeSet<&str> =
                    self.watched_resources.keys().map(String::as_str).collect();
                if !known.contains(watch.as_str()) {
                    let hint = check::closest(watch, known);
                    problems.add(
                        format!("{field}.forEach"),
                        format!("there is no watch `{watch}`{hint}"),
                    );
                }
                problems.check(
                    path.contains("{{"),
                    field,
                    format!(
                        "the path is the same for all objects (tell them apart, as in \
                         `{{{{ {OBJECT}.metadata.name }}}}.conf`)"
                    ),
                );
                let name = file.name.as_deref().unwrap_or(OBJECT);
                problems.check(
                    is_identifier(name) && !check::GLOBALS.contains(&name),
                    format!("{field}.as"),
                    format!("{name:?} cannot be a variable's name, or is taken"),
                );
            }
        }
    }
}

fn is_identifier(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// A member of a mapping in the settings, as an operator finds it: `files['hosts.map']`.
#[derive(Clone, Copy, Debug)]
pub struct Field<'f>(pub &'static str, pub &'f str);

impl fmt::Display for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Field(mapping, member) = self;
        if is_identifier(member) {
            write!(f, "{mapping}.{member}")
        } else {
            write!(f, "{mapping}['{member}']")
        }
    }
}
