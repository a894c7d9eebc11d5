//! The configuration file (contract K1), in two stages: what was typed, with every
//! mistake reported at once and with its place, and then [`PluginConfig`].

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use haptic_core::{
    selector::{FieldSelector, LabelSelector},
    spec::{ScopeSpec, Storage, WatchSpec},
};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    grants::Grant,
    output::OutputTarget,
    plugin::{DirGrant, EnvGrant},
    source::PluginSource,
};

mod limits;

pub use limits::{LimitOverrides, parse_size};

/// One plugin, as configured.
#[derive(Clone, Debug, Default)]
pub struct PluginConfig {
    /// Its component: a file, relative to the configuration file, or `oci://…`. `None`: the
    /// entry configures a `--plugin` of that name.
    pub file: Option<PluginSource>,
    /// Its settings, handed to it as JSON; `{}` unless given.
    pub settings: Map<String, Value>,
    /// Where its outputs go; a directory is relative to the configuration file.
    pub output: Option<OutputTarget>,
    /// `forceConflicts`: take keys of an object over from other field managers.
    pub force_conflicts: Option<bool>,
    /// `onOutput`: what runs after a commit that changed something.
    pub on_output: Option<String>,
    /// `onOutputTimeout`: how long that may take.
    pub on_output_timeout: Option<Duration>,
    /// What it may watch (contract P8).
    pub allow: Vec<Grant>,
    /// Its limits, where they are not the command line's (contract P1).
    pub limits: LimitOverrides,
    /// Directories that it may see, relative to the configuration file (contract P5).
    pub dirs: Vec<DirGrant>,
    /// Environment variables that it may see.
    pub env: Vec<EnvGrant>,
    /// Watches that narrow its own, or are added to them, by name.
    pub watches: BTreeMap<String, WatchOverride>,
}

/// A configuration file.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Plugins by name.
    pub plugins: BTreeMap<String, PluginConfig>,
    /// `leaderElection`: given, a leader is elected (contract L3).
    pub leader_election: Option<Election>,
}

/// `leaderElection`, as typed. What is not given is the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Election {
    /// The name of the Lease.
    pub lease: Option<String>,
    /// Its namespace.
    pub namespace: Option<String>,
    /// How long others wait.
    pub lease_duration: Option<Duration>,
    /// When a leader that cannot renew stops.
    pub renew_deadline: Option<Duration>,
    /// How often it renews.
    pub retry_period: Option<Duration>,
}

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

/// A duration written as `500ms`, `2s`, `1m30s` or `1h`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
struct DurationForm(Duration);

impl TryFrom<String> for DurationForm {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        parse_duration(&text).map(Self)
    }
}

/// Reads `500ms`, `2s`, `1m30s`, `1h`, or a sum of such parts; `0` is zero.
///
/// # Errors
/// A sentence that says what to write.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration: write `500ms`, `10s`, `1m30s` or `2h`");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let unit_len = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        let unit_ms: u64 = match &rest[..unit_len] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(wrong()),
        };
        rest = &rest[unit_len..];
        let part = number.checked_mul(unit_ms).ok_or_else(wrong)?;
        total = total
            .checked_add(Duration::from_millis(part))
            .ok_or_else(wrong)?;
    }
    if text.is_empty() {
        Err(wrong())
    } else {
        Ok(total)
    }
}

/// One mistake in a configuration file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct Mistake {
    /// Such as `plugins.haproxy.watchedResources.ingresses`.
    pub place: String,
    /// What is wrong, and what to write.
    pub message: String,
}

/// Why a configuration file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read configuration {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no YAML.
    #[error("{} is no YAML: {message}", path.display())]
    Yaml {
        /// The file.
        path: PathBuf,
        /// Why and where.
        message: String,
    },
    /// It holds mistakes; all of them.
    #[error("{} holds {}:{}", path.display(), Count(.mistakes.len()), Lines(.mistakes))]
    Mistakes {
        /// The file.
        path: PathBuf,
        /// All of them.
        mistakes: Vec<Mistake>,
    },
}

struct Count(usize);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("a mistake"),
            n => write!(f, "{n} mistakes"),
        }
    }
}

struct Lines<'a>(&'a [Mistake]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|mistake| write!(f, "\n  {mistake}"))
    }
}

/// Reads a configuration file.
///
/// # Errors
/// [`ConfigError`], with every mistake in the file.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })?;
    let value: Value = serde_saphyr::from_str(&text).map_err(|error| ConfigError::Yaml {
        path: path.to_owned(),
        message: error.to_string(),
    })?;
    let mut mistakes = Mistakes::default();
    let base = path.parent().unwrap_or(Path::new(""));
    let config = parse(&value, base, &mut mistakes);
    if mistakes.0.is_empty() {
        Ok(config)
    } else {
        Err(ConfigError::Mistakes {
            path: path.to_owned(),
            mistakes: mistakes.0,
        })
    }
}

#[derive(Default)]
struct Mistakes(Vec<Mistake>);

impl Mistakes {
    fn add(&mut self, place: impl Into<String>, message: impl Into<String>) {
        self.0.push(Mistake {
            place: place.into(),
            message: message.into(),
        });
    }

    fn object<'a>(&mut self, place: &str, value: &'a Value) -> Option<&'a Map<String, Value>> {
        match value {
            Value::Object(map) => Some(map),
            Value::Null => None,
            _ => {
                self.add(place, "must be a mapping");
                None
            }
        }
    }

    fn unknown(&mut self, place: &str, map: &Map<String, Value>, known: &[&str]) {
        for key in map.keys().filter(|key| !known.contains(&key.as_str())) {
            self.add(
                join(place, key),
                format!("unknown field; the fields here are {}", known.join(", ")),
            );
        }
    }

    fn text(&mut self, place: &str, value: &Value) -> Option<String> {
        match value {
            Value::String(text) if !text.is_empty() => Some(text.clone()),
            Value::Null => None,
            _ => {
                self.add(place, "must be a text that is not empty");
                None
            }
        }
    }
}

fn join(place: &str, key: &str) -> String {
    if place.is_empty() {
        key.to_owned()
    } else {
        format!("{place}.{key}")
    }
}

fn parse(value: &Value, base: &Path, mistakes: &mut Mistakes) -> Config {
    let mut config = Config::default();
    let Some(root) = mistakes.object("the file", value) else {
        return config;
    };
    mistakes.unknown("", root, &["plugins", "leaderElection"]);
    config.leader_election = match root.get("leaderElection") {
        None => None,
        // Nothing to say about it, but there it is.
        Some(Value::Null) => Some(Election::default()),
        Some(value) => mistakes
            .object("leaderElection", value)
            .map(|map| election(map, mistakes)),
    };
    let Some(plugins) = root
        .get("plugins")
        .and_then(|v| mistakes.object("plugins", v))
    else {
        return config;
    };
    for (name, value) in plugins {
        let place = join("plugins", name);
        let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.starts_with('.') || !name.chars().all(named) {
            mistakes.add(
                &place,
                "a plugin's name has letters, digits, `-`, `_` and `.`",
            );
        }
        config
            .plugins
            .insert(name.clone(), plugin(&place, value, base, mistakes));
    }
    config
}

fn election(map: &Map<String, Value>, mistakes: &mut Mistakes) -> Election {
    const PLACE: &str = "leaderElection";
    const FIELDS: [&str; 5] = [
        "lease",
        "namespace",
        "leaseDuration",
        "renewDeadline",
        "retryPeriod",
    ];
    mistakes.unknown(PLACE, map, &FIELDS);
    let [
        lease,
        namespace,
        lease_duration,
        renew_deadline,
        retry_period,
    ] = FIELDS.map(|field| {
        map.get(field)
            .and_then(|value| mistakes.text(&join(PLACE, field), value))
    });
    let mut duration = |field: &str, text: Option<String>| match parse_duration(&text?) {
        Ok(duration) => Some(duration),
        Err(error) => {
            mistakes.add(join(PLACE, field), error);
            None
        }
    };
    Election {
        lease,
        namespace,
        lease_duration: duration(FIELDS[2], lease_duration),
        renew_deadline: duration(FIELDS[3], renew_deadline),
        retry_period: duration(FIELDS[4], retry_period),
    }
}

fn plugin(place: &str, value: &Value, base: &Path, mistakes: &mut Mistakes) -> PluginConfig {
    let mut plugin = PluginConfig::default();
    let Some(map) = mistakes.object(place, value) else {
        return plugin;
    };
    mistakes.unknown(
        place,
        map,
        &[
            "file",
            "settings",
            "output",
            "forceConflicts",
            "onOutput",
            "onOutputTimeout",
            "allow",
            "limits",
            "dirs",
            "env",
            "watchedResources",
        ],
    );
    for (key, value) in map {
        let place = join(place, key);
        match key.as_str() {
            "file" => match mistakes.text(&place, value).map(|text| text.parse()) {
                Some(Ok(source)) => plugin.file = Some(PluginSource::relative_to(source, base)),
                Some(Err(error)) => mistakes.add(place, format!("{error}")),
                None => {}
            },
            "output" => {
                let target = mistakes.text(&place, value).map(|text| text.parse());
                match target {
                    Some(Ok(target)) => {
                        plugin.output = Some(OutputTarget::relative_to(target, base));
                    }
                    Some(Err(error)) => mistakes.add(place, format!("{error}")),
                    None => {}
                }
            }
            "forceConflicts" => match value {
                Value::Bool(force) => plugin.force_conflicts = Some(*force),
                _ => mistakes.add(place, "must be true or false"),
            },
            "onOutput" => plugin.on_output = mistakes.text(&place, value),
            "onOutputTimeout" => {
                let text = mistakes.text(&place, value);
                match text.map(|text| parse_duration(&text)) {
                    Some(Ok(Duration::ZERO)) => mistakes.add(place, "must be longer than nothing"),
                    Some(Ok(timeout)) => plugin.on_output_timeout = Some(timeout),
                    Some(Err(error)) => mistakes.add(place, error),
                    None => {}
                }
            }
            "settings" => {
                plugin.settings = mistakes.object(&place, value).cloned().unwrap_or_default();
            }
            "allow" => match value {
                Value::Array(grants) => {
                    for (i, grant) in grants.iter().enumerate() {
                        let place = format!("{place}[{i}]");
                        match mistakes.text(&place, grant).map(|text| text.parse()) {
                            Some(Ok(grant)) => plugin.allow.push(grant),
                            Some(Err(error)) => mistakes.add(place, format!("{error}")),
                            None => {}
                        }
                    }
                }
                _ => mistakes.add(place, "must be a list of resources, such as [secrets]"),
            },
            "limits" => plugin.limits = limits::limits(&place, value, mistakes),
            "dirs" => plugin.dirs = limits::dirs(&place, value, base, mistakes),
            "env" => plugin.env = limits::env(&place, value, mistakes),
            "watchedResources" => {
                for (name, value) in mistakes.object(&place, value).into_iter().flatten() {
                    let place = join(&place, name);
                    if let Some(watch) = watch(&place, value, mistakes) {
                        plugin.watches.insert(name.clone(), watch);
                    }
                }
            }
            _ => {}
        }
    }
    plugin
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
];

fn watch(place: &str, value: &Value, mistakes: &mut Mistakes) -> Option<WatchOverride> {
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
        if let Some(missing_key) = &self.missing_key {
            watch.extra.retain(|(name, _)| name != "missing-key");
            watch
                .extra
                .push(("missing-key".to_owned(), missing_key.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn mistakes(yaml: &str) -> Vec<String> {
        let mut found = Mistakes::default();
        parse(
            &serde_saphyr::from_str(yaml).unwrap(),
            Path::new("/etc/haptic"),
            &mut found,
        );
        found.0.iter().map(ToString::to_string).collect()
    }

    fn read(yaml: &str) -> Config {
        let mut found = Mistakes::default();
        let config = parse(
            &serde_saphyr::from_str(yaml).unwrap(),
            Path::new("/etc/haptic"),
            &mut found,
        );
        assert_eq!(found.0, []);
        config
    }

    #[test]
    fn k1_every_mistake_is_reported_at_once_with_its_place() {
        let found = mistakes(
            "plugins:\n  a:\n    fil: x.wasm\n    output: 7\n    allow: [Secrets]\n    watchedResources:\n      ingresses:\n        indexby: [x]\n        debounceInterval: soon\n        store: disk\nplugin: {}\n",
        );
        let places: Vec<_> = found.iter().map(|m| m.split(':').next().unwrap()).collect();
        assert_eq!(
            places,
            [
                "plugin",
                "plugins.a.fil",
                "plugins.a.allow[0]",
                "plugins.a.output",
                "plugins.a.watchedResources.ingresses.indexby",
                "plugins.a.watchedResources.ingresses.debounceInterval",
                "plugins.a.watchedResources.ingresses.store",
            ],
            "{found:#?}"
        );
    }

    #[test]
    fn k1_watches_are_written_as_haptic_users_write_them() {
        let config = read(
            "plugins:\n  haproxy:\n    file: haproxy.wasm\n    watchedResources:\n      ingresses:\n        apiVersion: networking.k8s.io/v1\n        resources: ingresses\n        indexBy: [\"metadata.namespace\", \"metadata.name\"]\n        fieldSelector: \"spec.ingressClassName=haproxy\"\n        ignoreFields: [\"metadata.managedFields\"]\n        store: full\n        debounceInterval: 250ms\n",
        );
        let plugin = &config.plugins["haproxy"];
        let file = Path::new("/etc/haptic/haproxy.wasm").to_owned();
        assert_eq!(plugin.file, Some(PluginSource::File(file)));
        let watches = override_watches(Vec::new(), &plugin.watches).unwrap();
        assert_eq!(
            watches,
            [WatchSpec {
                name: "ingresses".to_owned(),
                api_version: "networking.k8s.io/v1".to_owned(),
                resources: "ingresses".to_owned(),
                field_selector: Some("spec.ingressClassName=haproxy".to_owned()),
                index_by: vec!["metadata.namespace".to_owned(), "metadata.name".to_owned()],
                ignore_fields: vec!["metadata.managedFields".to_owned()],
                debounce: Some(Duration::from_millis(250)),
                required: true,
                ..WatchSpec::default()
            }]
        );
        assert!(watches[0].plan().is_ok());
    }

    #[test]
    fn k1_a_configured_watch_narrows_the_plugins_own() {
        let config = read(
            "plugins:\n  p:\n    watchedResources:\n      pods:\n        namespaces: [shop]\n        labelSelector: {matchLabels: {app: web}}\n      nodes: {}\n      other:\n        apiVersion: apps/v1\n",
        );
        let declared = WatchSpec {
            name: "pods".to_owned(),
            api_version: "v1".to_owned(),
            resources: "pods".to_owned(),
            keep_fields: vec!["spec.nodeName".to_owned()],
            ..WatchSpec::default()
        };
        let overrides = &config.plugins["p"].watches;
        let errors = override_watches(vec![declared.clone()], overrides).unwrap_err();
        assert_eq!(errors.len(), 2, "{errors:?}");
        let only_pods: BTreeMap<_, _> = overrides
            .iter()
            .filter(|(name, _)| *name == "pods")
            .map(|(n, w)| (n.clone(), w.clone()))
            .collect();
        let watches = override_watches(vec![declared.clone()], &only_pods).unwrap();
        assert_eq!(
            watches,
            [WatchSpec {
                scope: ScopeSpec::Namespaces(vec!["shop".to_owned()]),
                label_selector: Some("app=web".to_owned()),
                ..declared
            }]
        );
    }

    #[test]
    fn o2_an_output_is_a_directory_beside_the_file_or_an_object() {
        let config = read("plugins:\n  a: {output: out}\n  b: {output: 'configmap:shop/x'}\n");
        let output = |name: &str| config.plugins[name].output.as_ref().unwrap().to_string();
        assert_eq!(output("a"), "/etc/haptic/out");
        assert_eq!(output("b"), "configmap:shop/x");
        let found = mistakes(
            "plugins:\n  a: {output: 'configmap:Shop', forceConflicts: 1, onOutputTimeout: '0'}\n",
        );
        for sentence in [
            "plugins.a.output: \"Shop\" is no name of a ConfigMap",
            "plugins.a.forceConflicts: must be true or false",
            "plugins.a.onOutputTimeout: must be longer than nothing",
        ] {
            assert!(
                found.iter().any(|mistake| mistake.starts_with(sentence)),
                "{found:?}"
            );
        }
        let hooked = "plugins:\n  a: {onOutput: make reload, onOutputTimeout: 1m}\n";
        let plugin = &read(hooked).plugins["a"];
        assert_eq!(plugin.on_output.as_deref(), Some("make reload"));
        assert_eq!(plugin.on_output_timeout, Some(Duration::from_secs(60)));
    }

    #[test]
    fn durations_are_written_with_units() {
        for (text, ms) in [
            ("500ms", 500),
            ("2s", 2_000),
            ("1m30s", 90_000),
            ("2h", 7_200_000),
            ("0", 0),
        ] {
            assert_eq!(parse_duration(text).unwrap(), Duration::from_millis(ms));
        }
        for text in [
            "",
            "5",
            "s",
            "1d",
            "-1s",
            "1.5s",
            "99999999999999999999s",
            "9999999999999999h",
        ] {
            assert!(parse_duration(text).is_err(), "{text:?}");
        }
    }
}
