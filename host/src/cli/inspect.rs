//! `haptic-host inspect`: what a plugin is, what it asks for and what it would be allowed.

use std::{fmt::Write as _, io::Write as _, time::Duration};

use clap::ValueEnum;
use haptic_core::spec::{DEFAULT_CACHE_TTL, DEFAULT_DEBOUNCE, ScopeSpec, Storage, WatchSpec};
use serde_json::{Map, Value, json};

use super::offline::{Described, PluginArgs, scope_text};
use crate::{
    chain::printable,
    grants::{self, Grant},
    plugin::{Interface, Limits},
};

const EXAMPLES: &str = "\
Examples:
  haptic-host inspect render.wasm
      Its size, contract, imports, and watches.
  haptic-host inspect render.wasm --settings '{\"ingressClass\": \"edge\"}'
      The same with settings: a plugin may watch other things then.
  haptic-host inspect --config host.yaml
      What the configuration makes of each plugin's watches.
  haptic-host inspect oci://registry.example/acme/render:1.2 --output-format json

No cluster is asked, and nothing is watched or written.

Exit codes: 0 done, 1 a plugin failed, 2 wrong input, 3 a registry failed.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct InspectArgs {
    #[command(flatten)]
    plugins: PluginArgs,

    /// How it is printed.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output_format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One JSON object: `{"plugins": [...]}`.
    Json,
}

pub(super) async fn print(args: &InspectArgs) -> anyhow::Result<()> {
    let config = args.plugins.load_config()?;
    let described = args.plugins.describe(&config, &Limits::default()).await?;
    let own = args.plugins.namespace.as_str();
    let text = match args.output_format {
        Format::Text => {
            let texts: Vec<String> = described.iter().map(|plugin| text(plugin, own)).collect();
            texts.join("\n")
        }
        Format::Json => {
            let plugins: Vec<Value> = described
                .iter()
                .map(|plugin| to_json(plugin, own))
                .collect();
            format!("{:#}\n", json!({ "plugins": plugins }))
        }
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

/// The fields of a watch that are not their defaults, as a configuration has them.
fn fields(spec: &WatchSpec) -> Vec<(&'static str, Value)> {
    let list = |list: &[String]| (!list.is_empty()).then(|| json!(list));
    let all = [
        ("apiVersion", Some(json!(spec.api_version))),
        ("resources", Some(json!(spec.resources))),
        (
            "namespaces",
            match &spec.scope {
                ScopeSpec::Namespaces(list) => Some(json!(list)),
                ScopeSpec::AllNamespaces | ScopeSpec::OwnNamespace => None,
            },
        ),
        (
            "namespacedWatch",
            (spec.scope == ScopeSpec::OwnNamespace).then_some(Value::Bool(true)),
        ),
        ("name", spec.object_name.as_ref().map(|name| json!(name))),
        (
            "labelSelector",
            spec.label_selector.as_ref().map(|text| json!(text)),
        ),
        (
            "fieldSelector",
            spec.field_selector.as_ref().map(|text| json!(text)),
        ),
        ("indexBy", list(&spec.index_by)),
        (
            "indexes",
            (!spec.indexes.is_empty()).then(|| {
                let indexes = spec.indexes.iter();
                Value::Object(
                    indexes
                        .map(|(name, paths)| (name.clone(), json!(paths)))
                        .collect(),
                )
            }),
        ),
        ("ignoreFields", list(&spec.ignore_fields)),
        ("keepFields", list(&spec.keep_fields)),
        (
            "store",
            (spec.object_name.is_none()).then(|| match spec.storage {
                Storage::Memory => json!("memory"),
                Storage::Cached => json!("cached"),
            }),
        ),
        (
            "cacheTTL",
            (spec.storage == Storage::Cached)
                .then(|| json!(duration(spec.cache_ttl.unwrap_or(DEFAULT_CACHE_TTL)))),
        ),
        (
            "debounceInterval",
            (spec.object_name.is_none())
                .then(|| json!(duration(spec.debounce.unwrap_or(DEFAULT_DEBOUNCE)))),
        ),
        (
            "callOnChangeDuringSync",
            spec.on_change_during_sync.then_some(Value::Bool(true)),
        ),
        ("required", (!spec.required).then_some(Value::Bool(false))),
    ];
    let extra = spec.extra.iter().map(|(name, value)| match name.as_str() {
        "missing-key" => ("missingKey", json!(value)),
        _ => ("extra", json!({ name: value })),
    });
    all.into_iter()
        .filter_map(|(field, value)| Some((field, value?)))
        .chain(extra)
        .collect()
}

/// As a configuration has it: `500ms`, `2m10s`.
fn duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    let parts = [
        (ms / 60_000, "m"),
        (ms / 1_000 % 60, "s"),
        (ms % 1_000, "ms"),
    ];
    let text: String = parts
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, unit)| format!("{number}{unit}"))
        .collect();
    match text.is_empty() {
        true => "0".to_owned(),
        false => text,
    }
}

/// What the configuration changes, and from what.
fn changes(declared: Option<&WatchSpec>, spec: &WatchSpec) -> Vec<(&'static str, Value, Value)> {
    let Some(declared) = declared else {
        return Vec::new();
    };
    let (before, after) = (fields(declared), fields(spec));
    let find = |list: &[(&'static str, Value)], field: &str| {
        let found = list.iter().find(|(known, _)| *known == field);
        found.map_or(Value::Null, |(_, value)| value.clone())
    };
    let mut names: Vec<&'static str> = Vec::new();
    for (field, _) in before.iter().chain(&after) {
        if !names.contains(field) {
            names.push(field);
        }
    }
    names
        .into_iter()
        .map(|field| (field, find(&before, field), find(&after, field)))
        .filter(|(_, before, after)| before != after)
        .collect()
}

/// Grants beyond `declared` that the watches need.
fn needed(plugin: &Described, own_namespace: &str) -> Vec<String> {
    let refused = grants::refusals(&[Grant::Declared], &plugin.plans(), own_namespace);
    let mut flags: Vec<String> = Vec::new();
    for refusal in refused {
        if !flags.contains(&refusal.flag) {
            flags.push(refusal.flag);
        }
    }
    flags
}

fn to_json(plugin: &Described, own_namespace: &str) -> Value {
    let surface = plugin.plugin.surface();
    let interfaces = |list: &[Interface]| {
        let list = list
            .iter()
            .map(|interface| json!({"name": interface.name, "functions": interface.functions}));
        Value::Array(list.collect())
    };
    let refused = plugin.refusals(own_namespace);
    let map = |fields: Vec<(&'static str, Value)>| {
        let fields = fields.into_iter();
        Value::Object(
            fields
                .map(|(field, value)| (field.to_owned(), value))
                .collect(),
        )
    };
    let watches: Vec<Value> = plugin
        .watches
        .iter()
        .map(|(spec, plan)| {
            let declared = plugin.declared.iter().find(|own| own.name == spec.name);
            let mut watch = Map::new();
            watch.insert("name".to_owned(), json!(spec.name));
            watch.insert(
                "declared".to_owned(),
                declared.map_or(Value::Null, |own| map(fields(own))),
            );
            watch.insert("effective".to_owned(), map(fields(spec)));
            watch.insert("metadataOnly".to_owned(), json!(plan.metadata_only()));
            watch.insert("serverFieldSelector".to_owned(), json!(plan.server_fields));
            watch.insert(
                "allowed".to_owned(),
                json!(!refused.iter().any(|refusal| refusal.watch == spec.name)),
            );
            Value::Object(watch)
        })
        .collect();
    json!({
        "name": plugin.name(),
        "source": plugin.source.to_string(),
        "bytes": plugin.plugin.size(),
        "contract": surface.contract,
        "host": surface.host,
        "imports": interfaces(&surface.imports),
        "exports": interfaces(&surface.exports),
        "watches": watches,
        "needs": needed(plugin, own_namespace),
    })
}

fn text(plugin: &Described, own_namespace: &str) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = render(&mut text, plugin, own_namespace);
    // What a plugin calls its watches is its own.
    printable(&text)
}

fn render(text: &mut String, plugin: &Described, own_namespace: &str) -> std::fmt::Result {
    let surface = plugin.plugin.surface();
    let bytes = plugin.plugin.size();
    writeln!(text, "{}", plugin.name())?;
    writeln!(text, "  source    {}", plugin.source)?;
    writeln!(text, "  size      {bytes} bytes")?;
    writeln!(
        text,
        "  contract  {}; this host speaks {}",
        surface.contract, surface.host
    )?;
    let list = |text: &mut String, title: &str, list: &[&Interface]| -> std::fmt::Result {
        for (i, interface) in list.iter().enumerate() {
            let title = if i == 0 { title } else { "" };
            match interface.functions.as_slice() {
                [] => writeln!(text, "  {title:<9} {}", interface.name)?,
                functions => {
                    writeln!(
                        text,
                        "  {title:<9} {}: {}",
                        interface.name,
                        functions.join(", ")
                    )?;
                }
            }
        }
        Ok(())
    };
    let own: Vec<&Interface> = surface.imports.iter().filter(|i| !i.is_wasi()).collect();
    list(text, "exports", &surface.exports.iter().collect::<Vec<_>>())?;
    list(text, "imports", &own)?;
    let wasi: Vec<&Interface> = surface.imports.iter().filter(|i| i.is_wasi()).collect();
    for (i, interface) in wasi.iter().enumerate() {
        let title = if i == 0 { "wasi" } else { "" };
        writeln!(text, "  {title:<9} {}", interface.name)?;
    }
    if !wasi.is_empty() {
        writeln!(
            text,
            "            which gives it clocks and randomness; no files, environment or network unless they are granted"
        )?;
    }
    let refused = plugin.refusals(own_namespace);
    writeln!(text, "  watches")?;
    for (spec, plan) in &plugin.watches {
        let declared = plugin.declared.iter().find(|own| own.name == spec.name);
        writeln!(
            text,
            "    {}: {} of {} {}{}",
            spec.name,
            spec.resources,
            spec.api_version,
            scope_text(&spec.scope, own_namespace),
            match declared {
                Some(_) => "",
                None => " (added by the configuration)",
            }
        )?;
        for (field, value) in fields(spec) {
            if !matches!(
                field,
                "apiVersion" | "resources" | "namespaces" | "namespacedWatch"
            ) {
                writeln!(text, "      {field}: {}", plain(&value))?;
            }
        }
        if plan.metadata_only() {
            writeln!(
                text,
                "      only metadata is watched: bodies are fetched when they are read"
            )?;
        }
        if spec.field_selector.is_some() && !plan.host_fields.is_empty() {
            writeln!(
                text,
                "      the API server does not select by all of these fields: the host does"
            )?;
        }
        for (field, before, after) in changes(declared, spec) {
            writeln!(
                text,
                "      the configuration changes {field}: {} → {}",
                plain(&before),
                plain(&after)
            )?;
        }
        if let Some(refusal) = refused.iter().find(|refusal| refusal.watch == spec.name) {
            writeln!(text, "      not allowed: needs --allow {}", refusal.flag)?;
        }
    }
    match needed(plugin, own_namespace).as_slice() {
        [] => writeln!(text, "  grants    none needed: what it declares is allowed"),
        flags => writeln!(text, "  grants    --allow declared,{}", flags.join(",")),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "not set".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| format!("{key} ({})", plain(value)))
            .collect::<Vec<_>>()
            .join(", "),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::config::parse_duration;

    #[test]
    fn k4_durations_are_shown_as_a_configuration_takes_them() {
        for (ms, text) in [
            (0, "0"),
            (250, "250ms"),
            (500, "500ms"),
            (130_000, "2m10s"),
            (3_600_000, "60m"),
            (61_001, "1m1s1ms"),
        ] {
            let given = Duration::from_millis(ms);
            assert_eq!(duration(given), text);
            assert_eq!(parse_duration(text).unwrap(), given);
        }
    }
}
