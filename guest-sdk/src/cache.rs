//! The objects of a watch, kept in the plugin and brought up to date by what changed: the easy way
//! to render incrementally.
//!
//! ```
//! use haptic_guest::{Cache, ChangeStats, Config, Error, Plugin, Resource, Store, Watch, output};
//!
//! #[derive(Resource)]
//! #[resource(api_version = "v1", plural = "services")]
//! struct Service {
//!     #[field("spec.clusterIP")]
//!     address: Option<String>,
//! }
//!
//! /// Writes a file for each Service, and only those that changed.
//! struct Addresses {
//!     services: Cache<Service>,
//! }
//!
//! impl Plugin for Addresses {
//!     fn describe(_: &Config) -> Result<Vec<Watch>, Error> {
//!         Ok(vec![Service::watch()])
//!     }
//!     fn new(_: &Config) -> Result<Self, Error> {
//!         Ok(Addresses { services: Cache::new() })
//!     }
//!     fn render(&mut self) -> Result<(), Error> {
//!         let update = self.services.update()?;
//!         for key in &update.changed {
//!             let address = self.services.get(key).and_then(|service| service.address.as_deref());
//!             output::write(&format!("{key}.txt"), address.unwrap_or("none"))?;
//!         }
//!         for key in &update.removed {
//!             output::write(&format!("{key}.txt"), "")?;
//!         }
//!         Ok(())
//!     }
//! }
//! ```
//!
//! After [`Cache::update`] the cache holds what the store holds, whatever happened: a first sync, a
//! callback that failed, changes that came while no callback looked, a new instance.

use std::collections::BTreeSet;
use std::collections::btree_map::{self, BTreeMap};
use std::fmt;

use crate::resource::{KeyedRow, ObjectView, view_of};
use crate::session::{self, Call};
use crate::{Change, Store, StoreError, log};

/// Which object: its namespace, empty for kinds without, and its name. In the order of the stores.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Key {
    /// A key.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Key {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for Key {
    /// `namespace/name`, or the name alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.as_str() {
            "" => f.write_str(&self.name),
            namespace => write!(f, "{namespace}/{}", self.name),
        }
    }
}

/// What an update brought.
///
/// It covers everything since the last callback that succeeded: what a failed callback was told is
/// told again, so an entry may be named here though it is as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// Entries that are new or different, in order.
    pub changed: Vec<Key>,
    /// Entries that are gone, in order; also objects that cannot be read any more.
    pub removed: Vec<Key>,
    /// All entries were read anew and are in `changed`: the first time, and after the host has
    /// synced again. What else there was, in outputs of an earlier instance, say, is unknown.
    pub is_complete: bool,
}

impl Update {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.removed.is_empty() && !self.is_complete
    }

    /// All keys, changed and removed.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.changed.iter().chain(&self.removed)
    }
}

/// The objects of one watch, as `T`, by namespace and name.
///
/// Call [`update`](Cache::update) in every callback that reads the cache. It fetches only what
/// changed, so its cost follows the changes and not the store.
///
/// An object that does not fit `T` is left out, with a warning in the log, and is in again when it
/// fits.
#[derive(Debug)]
pub struct Cache<T> {
    name: String,
    store: Option<Store<'static>>,
    entries: BTreeMap<Key, T>,
    unreadable: BTreeSet<Key>,
    /// What `entries` is good for; `None`: nothing was read yet.
    known: Option<Known>,
    /// What differed from the host's last successful delivery at the last update, with fingerprints;
    /// `None` for one that is not known. Changes are net: what came and went since that delivery is
    /// in none of them, and yet the cache may have seen it come. It is among these then.
    ahead: BTreeMap<Key, Option<u64>>,
    /// The last report, until its callback is known to have succeeded.
    reported: Option<(Call, Update)>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    generation: u64,
    revision: u64,
}

/// With more changes than one object in so many, one selection of all objects is cheaper than a
/// read for each change: a read costs about as much as thirty rows of a selection.
const READ_ALL: usize = 32;

/// As many are read one by one in any case: it takes less than a millisecond.
const READ_EACH: usize = 64;

impl<T: ObjectView> Default for Cache<T> {
    fn default() -> Self {
        Cache::new()
    }
}

impl<T: ObjectView> Cache<T> {
    /// An empty cache of the view's own watch. It is filled by its first update.
    pub fn new() -> Self {
        Cache::of(T::STORE)
    }

    /// An empty cache of a watch that has another name than the view's.
    pub fn of(store: impl Into<String>) -> Self {
        Cache {
            name: store.into(),
            store: None,
            entries: BTreeMap::new(),
            unreadable: BTreeSet::new(),
            known: None,
            ahead: BTreeMap::new(),
            reported: None,
        }
    }

    /// Brings the cache up to date with the snapshot of this callback, and says what changed since
    /// the last callback that succeeded. A second update in the same callback says the same.
    ///
    /// # Errors
    /// What [`Store::changes`], [`Store::get_object`] and [`Store::select`] fail with. The cache is
    /// as it was then.
    pub fn update(&mut self) -> Result<Update, StoreError> {
        let store = match self.store.take() {
            Some(store) => store,
            None => Store::open(&self.name)?,
        };
        let update = self.update_from(&store);
        self.store = Some(store);
        update
    }

    fn update_from(&mut self, store: &Store<'_>) -> Result<Update, StoreError> {
        let Some(standing) = session::standing(&self.name) else {
            // No callback is running, and the store says so.
            store.changes()?;
            return self.read_all(store, None);
        };
        if let Some((call, update)) = &self.reported
            && call.is(&standing.call)
            && self.known.is_some()
        {
            return Ok(update.clone());
        }
        let revision = store.revision();
        // What the plugin was told in a callback that failed, or earlier in this one, stands.
        let again = self
            .reported
            .take_if(|(call, _)| call.failed() || call.is(&standing.call))
            .map(|(_, update)| update);
        let now = Known {
            generation: standing.generation,
            revision,
        };
        let reaches = |known: &Known| {
            known.generation == now.generation
                && standing
                    .base
                    .is_some_and(|base| base.revision <= known.revision)
        };
        let result = match self.known {
            Some(known) if reaches(&known) => match store.changes() {
                // Nothing, though something changed: it came and went, or this store is to be told
                // of its sync again, because the outputs of that could not be committed.
                Ok(changes)
                    if changes.is_empty()
                        && known.revision != revision
                        && !standing.base.is_some_and(|base| base.is_proven) =>
                {
                    self.read_all(store, Some(now))
                }
                Ok(changes) => self.follow(store, changes, known.revision == revision),
                // More changes than fit one answer: everything is cheaper to ask for.
                Err(StoreError::TooLarge(_)) => self.read_all(store, Some(now)),
                Err(error) => Err(error),
            },
            Some(known) if known.generation == now.generation && known.revision == revision => {
                Ok(Update::default())
            }
            _ => self.read_all(store, Some(now)),
        };
        match result {
            Ok(mut update) => {
                if !update.is_complete {
                    self.known = Some(now);
                }
                if let Some(again) = again {
                    update = self.joined(update, again);
                }
                self.reported = Some((standing.call, update.clone()));
                Ok(update)
            }
            Err(error) => {
                self.reported = again.map(|update| (standing.call, update));
                Err(error)
            }
        }
    }

    /// What the store's changes name, and what they named at the last update.
    fn follow(
        &mut self,
        store: &Store<'_>,
        changes: Vec<Change>,
        is_current: bool,
    ) -> Result<Update, StoreError> {
        let named = named(changes);
        if is_current {
            let mut before = std::mem::take(&mut self.ahead);
            self.ahead = named
                .iter()
                .map(|key| (key.clone(), before.remove(key).flatten()))
                .collect();
            return Ok(self.report(named));
        }
        let also: Vec<Key> = self
            .ahead
            .keys()
            .filter(|key| !named.contains(key))
            .cloned()
            .collect();
        let read = self.read(store, named.iter().chain(&also))?;
        let mut ahead = BTreeMap::new();
        let mut changed = named;
        for (key, print, view) in read {
            match self.ahead.get(&key) {
                // Not named, and as it was: no news.
                Some(known) if *known == Some(print) && !changed.contains(&key) => {}
                Some(_) if !changed.contains(&key) => _ = changed.insert(key.clone()),
                Some(_) | None => _ = ahead.insert(key.clone(), Some(print)),
            }
            self.put(key, view);
        }
        self.ahead = ahead;
        Ok(self.report(changed))
    }

    /// These objects as they are now, with their fingerprints; 0 for one that is not there.
    fn read<'k>(
        &self,
        store: &Store<'_>,
        keys: impl Iterator<Item = &'k Key> + Clone,
    ) -> Result<Vec<Read<T>>, StoreError> {
        if keys.clone().count() <= READ_EACH.max(self.entries.len() / READ_ALL)
            && let Some(read) = read_each(store, keys.clone())?
        {
            return Ok(read);
        }
        let mut rows: BTreeMap<Key, (u64, Result<T, StoreError>)> =
            keyed(store.keyed::<T>(&[])?).collect();
        Ok(keys
            .map(|key| match rows.remove(key) {
                Some((print, view)) => (key.clone(), print, Some(view)),
                None => (key.clone(), 0, None),
            })
            .collect())
    }

    /// Everything anew.
    fn read_all(&mut self, store: &Store<'_>, now: Option<Known>) -> Result<Update, StoreError> {
        let rows: BTreeMap<Key, (u64, Result<T, StoreError>)> =
            keyed(store.keyed::<T>(&[])?).collect();
        let ahead = match store.changes() {
            Ok(changes) => Some(named(changes)),
            // Then the next update reads everything as well.
            Err(StoreError::TooLarge(_)) => None,
            Err(error) => return Err(error),
        };
        self.known = now.filter(|_| ahead.is_some());
        self.ahead = ahead
            .unwrap_or_default()
            .into_iter()
            .map(|key| {
                let print = rows.get(&key).map_or(0, |(print, _)| *print);
                (key, Some(print))
            })
            .collect();
        let before: Vec<Key> = std::mem::take(&mut self.entries).into_keys().collect();
        self.unreadable.retain(|key| rows.contains_key(key));
        for (key, (_, view)) in rows {
            self.put(key, Some(view));
        }
        Ok(Update {
            changed: self.entries.keys().cloned().collect(),
            removed: before
                .into_iter()
                .filter(|key| !self.entries.contains_key(key))
                .collect(),
            is_complete: true,
        })
    }

    /// A report about these keys, by what is there now.
    fn report(&self, keys: BTreeSet<Key>) -> Update {
        let (changed, removed) = keys
            .into_iter()
            .partition(|key| self.entries.contains_key(key));
        Update {
            changed,
            removed,
            is_complete: false,
        }
    }

    fn put(&mut self, key: Key, value: Option<Result<T, StoreError>>) {
        match value {
            Some(Ok(value)) => {
                self.unreadable.remove(&key);
                self.entries.insert(key, value);
            }
            Some(Err(error)) => {
                self.entries.remove(&key);
                if self.unreadable.insert(key) {
                    log::warn!(
                        store = self.name,
                        "left out, for it does not fit: {}",
                        error
                    );
                }
            }
            None => {
                self.unreadable.remove(&key);
                self.entries.remove(&key);
            }
        }
    }

    /// Two reports as one, by what is there now.
    fn joined(&self, new: Update, old: Update) -> Update {
        let is_complete = new.is_complete || old.is_complete;
        let keys = [new.changed, new.removed, old.changed, old.removed];
        Update {
            is_complete,
            ..self.report(keys.into_iter().flatten().collect())
        }
    }

    /// An entry, as of the last update.
    pub fn get(&self, key: &Key) -> Option<&T> {
        self.entries.get(key)
    }

    /// All entries, in the order of (namespace, name).
    pub fn iter(&self) -> btree_map::Iter<'_, Key, T> {
        self.entries.iter()
    }

    /// All entries without their keys, in the same order.
    pub fn values(&self) -> btree_map::Values<'_, Key, T> {
        self.entries.values()
    }

    /// Puts an entry in, until an update says otherwise: for tests of what reads a cache.
    pub fn insert(&mut self, key: Key, value: T) {
        self.entries.insert(key, value);
    }

    /// The entries of one namespace, in order.
    pub fn namespace<'c>(&'c self, namespace: &'c str) -> impl Iterator<Item = (&'c Key, &'c T)> {
        self.entries
            .range(Key::new(namespace, "")..)
            .take_while(move |(key, _)| key.namespace == namespace)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Objects of the store that are no entries, because they do not fit `T`.
    pub fn unreadable(&self) -> impl Iterator<Item = &Key> {
        self.unreadable.iter()
    }
}

impl<'c, T: ObjectView> IntoIterator for &'c Cache<T> {
    type Item = (&'c Key, &'c T);
    type IntoIter = btree_map::Iter<'c, Key, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// An object, its fingerprint, and its view; `None`: it is not there.
type Read<T> = (Key, u64, Option<Result<T, StoreError>>);

/// Reads objects one by one; `None` when one of them has a path that only the host can evaluate.
fn read_each<'k, T: ObjectView>(
    store: &Store<'_>,
    keys: impl Iterator<Item = &'k Key>,
) -> Result<Option<Vec<Read<T>>>, StoreError> {
    let mut read = Vec::new();
    for key in keys {
        let Some(object) = store.get_object_json(&key.namespace, &key.name)? else {
            read.push((key.clone(), 0, None));
            continue;
        };
        let Some((view, print)) = view_of::<T>(&object) else {
            return Ok(None);
        };
        read.push((key.clone(), print, Some(view)));
    }
    Ok(Some(read))
}

fn named(changes: Vec<Change>) -> BTreeSet<Key> {
    changes
        .into_iter()
        .map(
            |Change {
                 namespace, name, ..
             }| Key { namespace, name },
        )
        .collect()
}

fn keyed<T>(rows: Vec<KeyedRow<T>>) -> impl Iterator<Item = (Key, (u64, Result<T, StoreError>))> {
    rows.into_iter().map(|row| {
        let key = Key {
            namespace: row.namespace,
            name: row.name,
        };
        (key, (row.print, row.view))
    })
}
