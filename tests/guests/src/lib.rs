//! A plugin that misbehaves as its settings say: `{"mode": "loop"}`. It keeps quiet until an
//! object changes, so that what goes wrong goes wrong in one `on-change`, or, with `"atSync":
//! true`, until it is told of its first objects; modes that begin with `describe-` go wrong at
//! once.

mod clocks;
mod faults;

use std::time::Duration;

use haptic_guest::{
    Cache, ChangeKind, ChangeStats, Config, Error, Plugin, Resource, ResourceEvent, Store, Watch,
    all_synced, log, output,
};
use serde::Deserialize;

/// Every way to misbehave, and the few modes that do not: a test holds this list against the
/// tests, so that each guest has one.
pub const MODES: &[&str] = &[
    "report",
    "read-all",
    "read-cached",
    "clocks",
    "incremental",
    "panic",
    "err",
    "err-twice",
    "exit",
    "loop",
    "loop-imports",
    "costly-select",
    "costly-paths",
    "exotic-paths",
    "deep-select",
    "sleep",
    "slow",
    "busy-wait",
    "memory",
    "recursion",
    "huge-output",
    "many-outputs",
    "binary-output",
    "bad-names",
    "log-flood",
    "long-line",
    "forged-line",
    "print",
    "print-flood",
    "last-words",
    "markup",
    "leak-handles",
    "leak-streams",
    "poll-flood",
    "random-flood",
    "many-keys",
    "huge-arguments",
    "large-answer",
    "large-changes",
    "wrong-reads",
    "wasi",
    "wasi-granted",
    "describe-panic",
    "describe-loop",
    "describe-err",
    "describe-wrong",
    "describe-nothing",
    "describe-too-much",
    "describe-verbose",
    "describe-reads",
    "new-err",
];

/// The plugin's settings.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Settings {
    mode: String,
    #[serde(default)]
    at_sync: bool,
}

/// The plugin.
pub struct Guest {
    mode: String,
    at_sync: bool,
    changes_seen: u32,
    colours: Cache<Coloured>,
}

impl Plugin for Guest {
    fn describe(config: &Config) -> Result<Vec<Watch>, Error> {
        let Settings { mode, .. } = config.parse()?;
        match mode.as_str() {
            "describe-panic" => panic!("describe panics on purpose"),
            "describe-loop" => loop {
                std::hint::black_box(&mode);
            },
            "describe-verbose" => Ok(faults::verbose_watches()),
            "describe-err" => Err(Error::new("the colour is missing")),
            "describe-wrong" => Ok(faults::wrong_watches()),
            "describe-nothing" => Ok(Vec::new()),
            "describe-too-much" => Ok((0..10_000)
                .map(|i| Watch::new(format!("w{i}"), "v1", "pods"))
                .collect()),
            "describe-reads" => {
                let store = Store::open("configmaps").map(|_store| ());
                let write = output::write("a", "b");
                Err(Error::new(format!(
                    "{store:?} {write:?} synced={}",
                    all_synced()
                )))
            }
            "read-cached" => Ok(vec![
                Watch::new("secrets", "v1", "secrets")
                    .index("by-app", ["metadata.labels.app"])
                    .keep_fields(["data"])
                    .cached_for(Duration::from_secs(60)),
            ]),
            known if MODES.contains(&known) => Ok(watches()),
            unknown => Err(Error::new(format!("there is no mode {unknown:?}"))),
        }
    }

    fn new(config: &Config) -> Result<Self, Error> {
        let Settings { mode, at_sync } = config.parse()?;
        if mode == "new-err" {
            return Err(Error::new("there is nothing to make it from"));
        }
        Ok(Guest {
            mode,
            at_sync,
            changes_seen: 0,
            colours: Cache::of("configmaps"),
        })
    }

    fn on_sync_complete(&mut self, store: &Store<'_>, initial_count: u32) -> Result<(), Error> {
        let name = store.name();
        log::info!(
            store = name,
            "{} objects, all synced: {}",
            initial_count,
            all_synced()
        );
        output::write(&format!("synced/{name}"), &format!("{initial_count}\n"))?;
        match self.mode.as_str() {
            "read-all" => self.read_all("sync", name),
            "read-cached" => read_cached(store),
            "incremental" => self.render_changed(),
            "markup" => Ok(output::write(faults::MARKUP, "")?),
            mode if self.at_sync && name == "configmaps" => faults::misbehave(mode, store),
            _ => Ok(()),
        }
    }

    fn on_change(&mut self, store: &Store<'_>, stats: ChangeStats) -> Result<(), Error> {
        self.changes_seen += 1;
        match self.mode.as_str() {
            "read-all" => self.read_all("change", store.name())?,
            "read-cached" => read_cached(store)?,
            "incremental" => return self.render_changed(),
            "err-twice" if self.changes_seen <= 2 => {
                output::write("half-written", "")?;
                return Err(Error::new(format!(
                    "refused on purpose, time {}",
                    self.changes_seen
                )));
            }
            mode => faults::misbehave(mode, store)?,
        }
        output::write("report", &report(store, stats)?)?;
        Ok(())
    }

    fn on_resource_change(&mut self, watch: &str, event: ResourceEvent) -> Result<(), Error> {
        if self.mode == "incremental" {
            return self.render_changed();
        }
        log::info!("{}: {:?}", watch, event);
        let current = event.current::<serde::de::IgnoredAny>()?.is_some();
        output::write("object", &format!("{watch} exists: {current}\n{event:?}\n"))?;
        Ok(())
    }
}

fn watches() -> Vec<Watch> {
    vec![
        Watch::new("configmaps", "v1", "configmaps")
            .index("by-colour", ["data.colour"])
            .ignore_fields(["metadata.managedFields"]),
        Watch::new("services", "v1", "services")
            .field_selector("spec.type=ClusterIP,spec.sessionAffinity!=ClientIP")
            .label_selector("app,tier notin (canary)")
            .namespaces(["shop", "blog"])
            .keep_fields(["spec.ports"]),
        Watch::object("settings", "v1", "configmaps", "settings").own_namespace(),
    ]
}

/// A ConfigMap of the collection.
#[derive(Resource)]
#[resource(api_version = "v1", plural = "configmaps")]
struct Coloured {
    #[field("data.colour")]
    colour: Option<String>,
}

/// What the plugin was told, from both sides that must agree (C3).
fn report(store: &Store<'_>, stats: ChangeStats) -> Result<String, Error> {
    let ChangeStats {
        created,
        modified,
        deleted,
        is_initial_sync,
    } = stats;
    let name = store.name();
    let mut text = format!("{name} +{created} ~{modified} -{deleted} initial={is_initial_sync}\n");
    for change in store.changes()? {
        let kind = match change.kind {
            ChangeKind::Created => '+',
            ChangeKind::Modified => '~',
            ChangeKind::Deleted => '-',
        };
        text += &format!("{kind}{}/{}\n", change.namespace, change.name);
    }
    Ok(text)
}

/// Every read of a store that may have to fetch, errors included, written down.
fn read_cached(store: &Store<'_>) -> Result<(), Error> {
    let text = format!(
        "list: {:?}\nget: {:?}\nby-app: {:?}\nget_object: {:?}\npage: {:?}\ncolumns: {:?}\n",
        store.list_json(),
        store.get_json(&["shop", "a"]),
        store.get_by_json("by-app", &["web"]),
        store.get_object_json("shop", "a"),
        store.page_json(None, 1),
        store.columns(&["metadata.name", "data.key"], &[]),
    );
    output::write("cached-reads", &text)?;
    Ok(())
}

impl Guest {
    /// A file for each object that changed since everything was read. To be called in every
    /// callback: a cache that misses one reads everything.
    fn render_changed(&mut self) -> Result<(), Error> {
        let update = self.colours.update()?;
        if update.is_complete {
            output::write("count", &format!("{}\n", self.colours.len()))?;
            return Ok(());
        }
        for key in &update.changed {
            let colour = self.colours.get(key).and_then(|map| map.colour.as_deref());
            output::write(&format!("colours/{key}"), colour.unwrap_or("none"))?;
        }
        Ok(())
    }

    /// Every read that there is, written down.
    fn read_all(&self, when: &str, told: &str) -> Result<(), Error> {
        let mut text = format!("{when} {told} {}\n", Config::get().json());
        for name in ["configmaps", "services"] {
            let store = Store::open(name)?;
            let mut line = |what: &str, value: &dyn std::fmt::Debug| {
                text += &format!("{name} {what}: {value:?}\n");
            };
            line(
                "len, revision",
                &(store.len(), store.revision(), store.is_empty()),
            );
            line("list", &store.list_json());
            line("get shop", &store.get_json(&["shop"]));
            line("get shop/web", &store.get_json(&["shop", "web"]));
            line("get_object", &store.get_object_json("shop", "web"));
            line("red", &store.get_by_json("by-colour", &["red"]));
            line(
                "columns",
                &store.columns(&["metadata.name", "spec.ports[*].port"], &[]),
            );
            line(
                "columns of blog",
                &store.columns(&["metadata.name"], &["blog"]),
            );
            let first = store.page_json(None, 2);
            let next = first.as_ref().ok().and_then(|page| page.next.clone());
            line("page", &first);
            line(
                "next page",
                &next.map(|cursor| store.page_json(Some(&cursor), 2)),
            );
            line("changes", &store.changes());
        }
        faults::wrong_reads(&mut text);
        log::debug!(store = told, "read {} bytes", text.len());
        output::write_bytes(&format!("reads/{when}/{told}"), text.as_bytes())?;
        Ok(())
    }
}

haptic_guest::export!(Guest);
