//! One entry of `watchedResources`: how it is read, and what it makes of the watch that
//! the plugin declares.

use std::collections::BTreeMap;

use haptic_core::{
    selector::{FieldSelector, LabelSelector},
    spec::{ScopeSpec, Storage, WatchSpec},
};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    duration::DurationForm,
    parse::{Mistakes, join},
};

/// One entry of `watchedResources`, as typed. What is not given is the plugin's.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WatchOverride {
    api_version: Option<String>,
    resources: Option<String>,
    index_by: Option<Vec<String>>,
    indexes: Option<BTreeMap<String, Vec<String>>>,
    label_selector: Option<LabelSelectorForm>,
    field_selector: Option<String>,
    ignore_fields: Option<Vec<String>>,
    keep_fields: Option<Vec<String>>,
    store: Option<StoreForm>,
    #[serde(rename = "cacheTTL")]
    cache_ttl: Option<DurationForm>,
    debounce_interval: Option<DurationForm>,
    namespaces: Option<Vec<String>>,
    namespaced_watch: Option<bool>,
    name: Option<String>,
    call_on_change_during_sync: Option<bool>,
    required: Option<bool>,
    missing_key: Option<String>,
    shard: Option<bool>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum LabelSelectorForm {
    Text(String),
    Structured(LabelSelector),
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum StoreForm {
    #[serde(alias = "full")]
    Memory,
    #[serde(alias = "on-demand")]
    Cached,
}

/// The fields of a watch, so that every unknown one is named and not just the first.
const WATCH_FIELDS: &[&str] = &[
    "apiVersion",
    "resources",
    "indexBy",
    "indexes",
    "labelSelector",
    "fieldSelector",
    "ignoreFields",
    "keepFields",
    "store",
    "cacheTTL",
    "debounceInterval",
    "namespaces",
    "namespacedWatch",
    "name",
    "callOnChangeDuringSync",
    "required",
    "missingKey",
    "shard",
];

pub(super) fn watch(place: &str, value: &Value, mistakes: &mut Mistakes) -> Option<WatchOverride> {
    let map = mistakes.object(place, value)?;
    mistakes.unknown(place, map, WATCH_FIELDS);
    // Each field is read by itself, so that each wrong one is reported.
    let mut good = Map::new();
    for (key, value) in map
        .iter()
        .filter(|(key, _)| WATCH_FIELDS.contains(&key.as_str()))
    {
        let one = Value::Object(Map::from_iter([(key.clone(), value.clone())]));
        match serde_json::from_value::<WatchOverride>(one) {
            Ok(_) => {
                good.insert(key.clone(), value.clone());
            }
            Err(error) => mistakes.add(join(place, key), error.to_string()),
        }
    }
    let watch: WatchOverride = serde_json::from_value(Value::Object(good)).ok()?;
    check_expressions(place, &watch, mistakes);
    if watch.namespaces.is_some() && watch.namespaced_watch == Some(true) {
        mistakes.add(place, "namespaces and namespacedWatch exclude each other");
    }
    Some(watch)
}

/// Compiles every path and selector of a watch, so that wrong ones are reported
/// with the file's other mistakes and at their places.
fn check_expressions(place: &str, watch: &WatchOverride, mistakes: &mut Mistakes) {
    let lists = [
        ("indexBy".to_owned(), &watch.index_by),
        ("ignoreFields".to_owned(), &watch.ignore_fields),
        ("keepFields".to_owned(), &watch.keep_fields),
    ];
    let lists = lists
        .iter()
        .filter_map(|(field, list)| Some((field.clone(), list.as_ref()?)));
    let indexes = watch.indexes.iter().flatten();
    let indexes = indexes.map(|(name, list)| (format!("indexes.{name}"), list));
    for (field, paths) in lists.chain(indexes) {
        for (i, path) in paths.iter().enumerate() {
            if let Err(error) = haptic_core::path::Path::parse(path) {
                mistakes.add(format!("{place}.{field}[{i}]"), error.to_string());
            }
        }
    }
    if let Some(LabelSelectorForm::Text(text)) = &watch.label_selector
        && let Err(error) = LabelSelector::parse(text)
    {
        mistakes.add(format!("{place}.labelSelector"), error.to_string());
    }
    if let Some(text) = watch
        .field_selector
        .as_deref()
        .filter(|text| !text.trim().is_empty())
        && let Err(error) = FieldSelector::parse(text)
    {
        mistakes.add(format!("{place}.fieldSelector"), error.to_string());
    }
}

/// A configured watch that does not fit what the plugin declares.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("watchedResources.{watch}: {message}")]
pub struct OverrideError {
    /// Its name.
    pub watch: String,
    /// What is wrong.
    pub message: String,
}

/// Puts configured watches over those that the plugin declared: an entry of the
/// same name narrows the plugin's, another one is added.
///
/// # Errors
/// All entries that do not fit.
pub fn override_watches(
    declared: Vec<WatchSpec>,
    overrides: &BTreeMap<String, WatchOverride>,
) -> Result<Vec<WatchSpec>, Vec<OverrideError>> {
    let mut watches = declared;
    let mut errors = Vec::new();
    for (name, change) in overrides {
        let mut wrong = |message: String| {
            errors.push(OverrideError {
                watch: name.clone(),
                message,
            });
        };
        match watches.iter_mut().find(|watch| watch.name == *name) {
            Some(watch) => {
                let differs = |given: &Option<String>, declared: &str| {
                    given.as_ref().is_some_and(|given| given != declared)
                };
                if differs(&change.api_version, &watch.api_version)
                    || differs(&change.resources, &watch.resources)
                {
                    wrong(format!(
                        "the plugin declares {} of {}: a watch of something else needs another name",
                        watch.resources, watch.api_version
                    ));
                    continue;
                }
                change.apply(watch);
            }
            None => {
                let (Some(api_version), Some(resources)) = (&change.api_version, &change.resources)
                else {
                    wrong(format!(
                        "the plugin declares no watch of this name ({}); to add one, give apiVersion and resources",
                        watches
                            .iter()
                            .map(|w| w.name.as_str())
                            .collect::<Vec<_>>()
                            .join(", ")
                    ));
                    continue;
                };
                let mut watch = WatchSpec {
                    name: name.clone(),
                    api_version: api_version.clone(),
                    resources: resources.clone(),
                    required: true,
                    ..WatchSpec::default()
                };
                change.apply(&mut watch);
                watches.push(watch);
            }
        }
    }
    if errors.is_empty() {
        Ok(watches)
    } else {
        Err(errors)
    }
}

impl WatchOverride {
    fn apply(&self, watch: &mut WatchSpec) {
        fn set<T: Clone>(place: &mut T, given: &Option<T>) {
            if let Some(given) = given {
                place.clone_from(given);
            }
        }
        set(&mut watch.index_by, &self.index_by);
        if let Some(indexes) = &self.indexes {
            watch.indexes = indexes.clone().into_iter().collect();
        }
        match &self.label_selector {
            Some(LabelSelectorForm::Text(text)) => watch.label_selector = Some(text.clone()),
            Some(LabelSelectorForm::Structured(selector)) => {
                watch.label_selector = Some(selector.to_string());
            }
            None => {}
        }
        if self.field_selector.is_some() {
            watch.field_selector.clone_from(&self.field_selector);
        }
        set(&mut watch.ignore_fields, &self.ignore_fields);
        set(&mut watch.keep_fields, &self.keep_fields);
        match self.store {
            Some(StoreForm::Memory) => watch.storage = Storage::Memory,
            Some(StoreForm::Cached) => watch.storage = Storage::Cached,
            None => {}
        }
        if let Some(ttl) = self.cache_ttl {
            watch.cache_ttl = Some(ttl.0);
        }
        if let Some(interval) = self.debounce_interval {
            watch.debounce = Some(interval.0);
        }
        if let Some(namespaces) = &self.namespaces {
            watch.scope = ScopeSpec::Namespaces(namespaces.clone());
        }
        match self.namespaced_watch {
            Some(true) => watch.scope = ScopeSpec::OwnNamespace,
            Some(false) => watch.scope = ScopeSpec::AllNamespaces,
            None => {}
        }
        if self.name.is_some() {
            watch.object_name.clone_from(&self.name);
        }
        set(
            &mut watch.on_change_during_sync,
            &self.call_on_change_during_sync,
        );
        set(&mut watch.required, &self.required);
        let options = [
            ("missing-key", self.missing_key.clone()),
            ("shard", self.shard.map(|shard| shard.to_string())),
        ];
        for (option, value) in options {
            if let Some(value) = value {
                watch.extra.retain(|(name, _)| name != option);
                watch.extra.push((option.to_owned(), value));
            }
        }
    }
}
