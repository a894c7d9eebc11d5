//! A file's fields, each read by itself, so that every mistake is found. Does not know
//! the fields of a watch ([`super::watch`]).

use std::{fmt, num::NonZeroU32, path::Path, str::FromStr, time::Duration};

use clap::ValueEnum;
use serde_json::{Map, Value};

use super::{Config, Election, OnFailure, PluginConfig, limits, parse_duration, watch::watch};
use crate::{output::OutputTarget, source::PluginSource};

/// One mistake in a configuration file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct Mistake {
    /// Such as `plugins.haproxy.watchedResources.ingresses`.
    pub place: String,
    /// What is wrong, and what to write.
    pub message: String,
}

#[derive(Default)]
pub(super) struct Mistakes(pub(super) Vec<Mistake>);

impl Mistakes {
    pub(super) fn add(&mut self, place: impl Into<String>, message: impl Into<String>) {
        self.0.push(Mistake {
            place: place.into(),
            message: message.into(),
        });
    }

    pub(super) fn object<'a>(
        &mut self,
        place: &str,
        value: &'a Value,
    ) -> Option<&'a Map<String, Value>> {
        match value {
            Value::Object(map) => Some(map),
            Value::Null => None,
            _ => {
                self.add(place, "must be a mapping");
                None
            }
        }
    }

    pub(super) fn unknown(&mut self, place: &str, map: &Map<String, Value>, known: &[&str]) {
        for key in map.keys().filter(|key| !known.contains(&key.as_str())) {
            self.add(
                join(place, key),
                format!("unknown field; the fields here are {}", known.join(", ")),
            );
        }
    }

    pub(super) fn text(&mut self, place: &str, value: &Value) -> Option<String> {
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

pub(super) fn join(place: &str, key: &str) -> String {
    if place.is_empty() {
        key.to_owned()
    } else {
        format!("{place}.{key}")
    }
}

pub(super) fn parse(value: &Value, base: &Path, mistakes: &mut Mistakes) -> Config {
    let mut config = Config::default();
    let Some(root) = mistakes.object("the file", value) else {
        return config;
    };
    mistakes.unknown("", root, &["plugins", "leaderElection", "shard", "shardBy"]);
    config.shard = parsed("shard", root, mistakes);
    config.shard_by = parsed("shardBy", root, mistakes);
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

/// A text that means something.
fn parsed<T>(key: &str, root: &Map<String, Value>, mistakes: &mut Mistakes) -> Option<T>
where
    T: FromStr,
    T::Err: fmt::Display,
{
    match mistakes.text(key, root.get(key)?)?.parse() {
        Ok(value) => Some(value),
        Err(error) => {
            mistakes.add(key, error.to_string());
            None
        }
    }
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
            "maxFailures",
            "onFailure",
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
            "maxFailures" => {
                let number = value.as_u64().and_then(|n| u32::try_from(n).ok());
                match number.and_then(NonZeroU32::new) {
                    Some(number) => plugin.max_failures = Some(number),
                    None => mistakes.add(place, "must be a whole number, 1 or more"),
                }
            }
            "onFailure" => match value.as_str().map(|text| OnFailure::from_str(text, false)) {
                Some(Ok(what)) => plugin.on_failure = Some(what),
                Some(Err(_)) | None => mistakes.add(place, "must be `keep-last` or `exit`"),
            },
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
