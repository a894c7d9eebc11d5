//! A plugin of which tests make versions: they overwrite [`MARK`] in its bytes. It believes
//! what it is told, holds that against what it knows, and writes down both.

use std::collections::BTreeMap;

use haptic_guest::{ChangeKind, ChangeStats, Config, Error, Plugin, Store, Watch, log, output};

/// `versions-guest:`, a number of 6 digits, `:`, and a behaviour that is padded with dots.
pub const MARK: &str = "versions-guest:000000:well............";

/// The plugin.
pub struct Version {
    known: BTreeMap<String, String>,
    syncs: u32,
}

fn mark() -> &'static str {
    // What the compiler may not assume to know.
    std::hint::black_box(MARK)
}

fn number() -> &'static str {
    mark().split(':').nth(1).unwrap_or_default()
}

/// What this version does, beside its work.
fn behaves(behaviour: &str) -> bool {
    let found = mark().rsplit(':').next().unwrap_or_default();
    found.trim_end_matches('.') == behaviour
}

fn configmaps() -> Watch {
    let watch = Watch::new("configmaps", "v1", "configmaps").debounce(std::time::Duration::ZERO);
    match behaves("filters") {
        true => watch.keep_fields(["data.n"]),
        false => watch,
    }
}

fn loop_for_ever() {
    while std::hint::black_box(true) {}
}

impl Plugin for Version {
    fn describe(_config: &Config) -> Result<Vec<Watch>, Error> {
        if behaves("describe-traps") {
            panic!("describe traps on purpose");
        }
        if behaves("describe-loops") {
            loop_for_ever();
        }
        if behaves("bad-watch") {
            return Ok(vec![Watch::new("bad", "v1", "pods").index_by(["spec["])]);
        }
        let mut watches = vec![configmaps()];
        if behaves("secrets") {
            watches.push(Watch::new("secrets", "v1", "secrets"));
        }
        if behaves("waits") {
            watches.push(Watch::new("widgets", "example.com/v1", "widgets"));
        }
        if behaves("services") {
            watches.push(Watch::new("services", "v1", "services"));
        }
        Ok(watches)
    }

    fn new(_config: &Config) -> Result<Self, Error> {
        Ok(Version {
            known: BTreeMap::new(),
            syncs: 0,
        })
    }

    fn on_sync_complete(&mut self, store: &Store<'_>, _count: u32) -> Result<(), Error> {
        if behaves("sync-traps") {
            output::write("broken", number())?;
            panic!("its first callback traps on purpose");
        }
        if behaves("sync-loops") {
            loop_for_ever();
        }
        if behaves("sync-errs") {
            output::write("broken", number())?;
            return Err(Error::new("its first callback errs on purpose"));
        }
        if store.name() != "configmaps" {
            return Ok(());
        }
        self.syncs += 1;
        self.known = read(store)?;
        self.write()
    }

    fn on_change(&mut self, store: &Store<'_>, _stats: ChangeStats) -> Result<(), Error> {
        if store.name() != "configmaps" {
            return Ok(());
        }
        if behaves("change-traps") {
            panic!("a change traps on purpose");
        }
        if behaves("change-errs") {
            return Err(Error::new("a change errs on purpose"));
        }
        if behaves("change-loops") {
            loop_for_ever();
        }
        if behaves("change-leaks") {
            let mut hoard = Vec::new();
            loop {
                hoard.push(std::hint::black_box(vec![1_u8; 1 << 20]));
            }
        }
        let now = read(store)?;
        for change in store.changes()? {
            let current = now.get(&change.name).cloned();
            let before = match (&current, change.kind) {
                (Some(current), ChangeKind::Created | ChangeKind::Modified) => {
                    self.known.insert(change.name.clone(), current.clone())
                }
                (_, ChangeKind::Deleted) => self.known.remove(&change.name),
                (None, ChangeKind::Created | ChangeKind::Modified) => None,
            };
            let contradicts = match change.kind {
                ChangeKind::Created => before.is_some(),
                ChangeKind::Modified => before.is_none() || before == current,
                ChangeKind::Deleted => before.is_none(),
            };
            if contradicts {
                let text = format!("{} {:?} {before:?}", change.name, change.kind);
                log::error!("told what contradicts what it was told before: {}", text);
                output::write("contradiction", &format!("version {}: {text}\n", number()))?;
            }
        }
        if self.known != now {
            output::write("lost", &format!("{:?}\n{now:?}\n", self.known))?;
        }
        self.write()
    }
}

/// Names with their `data.n`.
fn read(store: &Store<'_>) -> Result<BTreeMap<String, String>, Error> {
    let rows = store.select::<(String, Option<String>)>(&["metadata.name", "data.n"], &[])?;
    let rows = rows.into_iter();
    Ok(rows
        .map(|(name, n)| (name, n.unwrap_or_default()))
        .collect())
}

impl Version {
    /// The version in the first line, then what it knows.
    fn write(&self) -> Result<(), Error> {
        let mut text = format!("{} {}\n", number(), self.syncs);
        for (name, n) in &self.known {
            text += &format!("{name} {n}\n");
        }
        output::write("known", &text)?;
        Ok(())
    }
}

haptic_guest::export!(Version);
