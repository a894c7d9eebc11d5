//! Reads of the watches, each made once a callback at most, and what a template has read. Objects of
//! stores in memory stay parsed from callback to callback. How templates ask is
//! [`variable`](crate::variable)'s business.

use std::collections::{BTreeMap, BTreeSet};

use haptic_guest::cache::Key;
use haptic_guest::{Cache, Resource, Store, StoreError};
use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind};

use crate::settings::{StoreKind, TemplateSettings};

/// What `resources.NAME` can be asked, as templates spell it; HAPTIC's own spelling is understood too.
pub const METHODS: &[&str] = &["list", "fetch", "get_single", "get", "by"];

/// The method that a template means.
pub fn method(name: &str) -> Option<&'static str> {
    let name = match name {
        "List" => "list",
        "Fetch" => "fetch",
        "GetSingle" => "get_single",
        name => name,
    };
    METHODS.iter().copied().find(|method| *method == name)
}

/// A whole object.
#[derive(Debug, Resource)]
#[resource(api_version = "v1", plural = "objects")]
struct Whole {
    #[field("$")]
    object: Value,
}

/// One object of a watch.
#[derive(Clone, Debug)]
pub struct Item {
    /// Which.
    pub key: Key,
    /// Itself.
    pub object: Value,
    /// Differs when the object does. Of a cached store it is the store's version.
    pub version: u64,
}

/// How a version is known, and where objects come from.
enum Source {
    /// A store in memory. Its objects are kept parsed once a template has listed them.
    Memory {
        cache: Option<Cache<Whole>>,
        /// When each object was last seen to change.
        changed: BTreeMap<Key, u64>,
        is_updated: bool,
    },
    /// A store whose bodies are elsewhere, and are not to pile up here.
    Cached,
    /// A single object, as the last event told it.
    Object { object: Option<Item>, version: u64 },
}

/// A watch.
struct Watched {
    source: Source,
    /// Opened by the first read.
    store: Option<Store<'static>>,
    /// Answers by what was asked, at this revision.
    answers: BTreeMap<Vec<String>, Value>,
    revision: Option<u64>,
}

/// All watches, and what the template that is being rendered has read.
pub struct Reads {
    watches: BTreeMap<String, Watched>,
    read: BTreeSet<String>,
    /// Grows with every change that is seen.
    clock: u64,
    /// A read that failed; there may be nothing wrong with the template.
    failed: Option<String>,
}

impl Reads {
    /// Nothing is read yet.
    pub fn new(settings: &TemplateSettings) -> Self {
        let watches = settings.watched_resources.iter().map(|(name, watch)| {
            let source = match (&watch.name, watch.store) {
                (Some(_), _) => Source::Object {
                    object: None,
                    version: 0,
                },
                (None, StoreKind::Cached) => Source::Cached,
                (None, StoreKind::Memory) => Source::Memory {
                    cache: None,
                    changed: BTreeMap::new(),
                    is_updated: false,
                },
            };
            let watched = Watched {
                source,
                store: None,
                answers: BTreeMap::new(),
                revision: None,
            };
            (name.clone(), watched)
        });
        Reads {
            watches: watches.collect(),
            read: BTreeSet::new(),
            clock: 0,
            failed: None,
        }
    }

    /// Takes in an event of a watch of one object.
    ///
    /// # Errors
    /// When the settings say that it is a collection, or have no such watch: the operator made it one
    /// object in the host's configuration.
    pub fn take(&mut self, watch: &str, object: Option<Value>) -> Result<(), String> {
        self.clock += 1;
        let now = self.clock;
        match self
            .watches
            .get_mut(watch)
            .map(|watched| &mut watched.source)
        {
            Some(Source::Object {
                object: known,
                version,
            }) => {
                *known = object.map(|object| Item {
                    key: identity(&object),
                    object,
                    version: now,
                });
                *version = now;
                Ok(())
            }
            _ => Err(format!(
                "watch `{watch}` is one object, but a collection in the plugin's settings; say `name` there"
            )),
        }
    }

    /// Begins a callback: from here on everything is read from its snapshot.
    ///
    /// # Errors
    /// When a store cannot be read.
    pub fn begin(&mut self) -> Result<(), StoreError> {
        self.failed = None;
        for (name, watched) in &mut self.watches {
            if matches!(watched.source, Source::Object { .. }) {
                continue;
            }
            let revision = watched.store(name)?.revision();
            let is_cached = matches!(watched.source, Source::Cached);
            if is_cached || watched.revision != Some(revision) {
                watched.answers.clear();
            }
            watched.revision = Some(revision);
            if let Source::Memory {
                cache, is_updated, ..
            } = &mut watched.source
            {
                *is_updated = false;
                // A cache that misses a callback reads everything anew in the next.
                if cache.is_some() {
                    watched.update(name, &mut self.clock)?;
                }
            }
        }
        Ok(())
    }

    /// Ends a callback.
    pub fn end(&mut self) {
        for watched in self.watches.values_mut() {
            if matches!(watched.source, Source::Cached) {
                watched.answers.clear();
            }
        }
    }

    /// The version of what a watch holds: equal versions, equal objects.
    pub fn version(&self, watch: &str) -> u64 {
        match self.watches.get(watch) {
            Some(Watched {
                source: Source::Object { version, .. },
                ..
            }) => *version,
            Some(watched) => watched.revision.unwrap_or_default(),
            None => 0,
        }
    }

    /// What was read since the last time this was asked, with its versions.
    pub fn take_read(&mut self) -> Vec<(String, u64)> {
        let read = std::mem::take(&mut self.read);
        read.into_iter()
            .map(|watch| {
                let version = self.version(&watch);
                (watch, version)
            })
            .collect()
    }

    /// A read that failed since the callback began.
    pub fn failed(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    /// The objects of a watch, in the order of (namespace, name).
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn items(&mut self, watch: &str) -> Result<Vec<Item>, StoreError> {
        let Some(watched) = self.watches.get_mut(watch) else {
            return Err(StoreError::NoSuchStore(watch.to_owned()));
        };
        match &watched.source {
            Source::Object { object, .. } => Ok(object.iter().cloned().collect()),
            Source::Cached => {
                let version = watched.revision.unwrap_or_default();
                // Asked for with no method, which no template can.
                let objects = match watched.answers.get(&[] as &[String]) {
                    Some(objects) => objects.clone(),
                    None => Value::from(watched.store(watch)?.list::<Value>()?),
                };
                watched.answers.insert(Vec::new(), objects.clone());
                Ok(objects
                    .try_iter()
                    .into_iter()
                    .flatten()
                    .map(|object| Item {
                        key: identity(&object),
                        object,
                        version,
                    })
                    .collect())
            }
            Source::Memory { .. } => {
                watched.update(watch, &mut self.clock)?;
                Ok(watched.kept())
            }
        }
    }

    /// Answers what a template asks of a watch: a method in [`METHODS`], and its arguments.
    ///
    /// # Errors
    /// When it asks wrongly, or nobody can answer.
    pub fn call(&mut self, watch: &str, method: &str, args: &[Value]) -> Result<Value, Error> {
        self.read.insert(watch.to_owned());
        let keys = args
            .iter()
            .map(key)
            .collect::<Result<Vec<String>, Error>>()?;
        let asked: Vec<String> = std::iter::once(method.to_owned())
            .chain(keys.iter().cloned())
            .collect();
        if let Some(answer) = self
            .watches
            .get(watch)
            .and_then(|watched| watched.answers.get(&asked))
        {
            return Ok(answer.clone());
        }
        let answer = self.answer(watch, method, &keys)?;
        if let Some(watched) = self.watches.get_mut(watch)
            && !matches!(watched.source, Source::Object { .. })
        {
            watched.answers.insert(asked, answer.clone());
        }
        Ok(answer)
    }

    fn answer(&mut self, watch: &str, method: &str, keys: &[String]) -> Result<Value, Error> {
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        match (method, keys.as_slice()) {
            ("list", []) | ("fetch", []) => {
                let items = self.read(watch, "list", |reads| reads.items(watch))?;
                Ok(items.into_iter().map(|item| item.object).collect())
            }
            ("fetch", keys) => Ok(Value::from(self.fetch(watch, keys)?)),
            ("get_single", []) if !self.is_object(watch) => Err(wrong(format!(
                "resources.{watch}.get_single: say which, by its keys"
            ))),
            ("get_single", keys) => {
                let found = match keys {
                    [] => self.answer(watch, "list", &[])?.try_iter()?.collect(),
                    keys => self.fetch(watch, keys)?,
                };
                match found.len() {
                    0 | 1 => Ok(found.into_iter().next().unwrap_or(Value::from(()))),
                    several => Err(wrong(format!(
                        "resources.{watch}.get_single: {several} objects have the keys {}; \
                         `fetch` answers all of them",
                        keys.join(", ")
                    ))),
                }
            }
            ("get", &[namespace, name]) => {
                let found = self.read(watch, "get", |reads| reads.get(watch, namespace, name))?;
                Ok(found.unwrap_or(Value::from(())))
            }
            ("by", &[index, ref keys @ ..]) if !keys.is_empty() => {
                let found = self.read(watch, "by", |reads| {
                    let found = reads.store(watch)?.get_by::<Value>(index, keys)?;
                    let shared = found.into_iter().map(|object| reads.shared(watch, object));
                    Ok(shared.collect::<Vec<_>>())
                })?;
                Ok(Value::from(found))
            }
            ("list", _) => Err(wrong(format!(
                "resources.{watch}.list takes no keys; `fetch` does"
            ))),
            ("get", _) => Err(wrong(format!(
                "resources.{watch}.get takes a namespace, which is \"\" for a kind without, and a name"
            ))),
            _ => Err(wrong(format!(
                "resources.{watch}.by takes the name of an index and at least one key"
            ))),
        }
    }

    fn is_object(&self, watch: &str) -> bool {
        let source = self.watches.get(watch).map(|watched| &watched.source);
        matches!(source, Some(Source::Object { .. }))
    }

    /// The objects with these leading keys of the primary index.
    fn fetch(&mut self, watch: &str, keys: &[&str]) -> Result<Vec<Value>, Error> {
        if self.is_object(watch) {
            return Err(wrong(format!(
                "resources.{watch} is one object and has no index; `get_single()` answers it"
            )));
        }
        self.read(watch, "fetch", |reads| {
            if reads.cache(watch)?.is_none() {
                return reads.store(watch)?.get(keys);
            }
            // Of objects that are here already it is enough to know which.
            let fields = ["metadata.namespace", "metadata.name"];
            let found = reads
                .store(watch)?
                .select::<(Option<String>, String)>(&fields, keys)?;
            let Some(cache) = reads.cache(watch)? else {
                return Ok(Vec::new());
            };
            Ok(found
                .into_iter()
                .filter_map(|(namespace, name)| {
                    cache.get(&Key::new(namespace.unwrap_or_default(), name))
                })
                .map(|whole| whole.object.clone())
                .collect())
        })
    }

    fn get(
        &mut self,
        watch: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Value>, StoreError> {
        let key = Key::new(namespace, name);
        if let Some(Watched {
            source: Source::Object { object, .. },
            ..
        }) = self.watches.get(watch)
        {
            let object = object.as_ref().filter(|item| item.key == key);
            return Ok(object.map(|item| item.object.clone()));
        }
        match self.cache(watch)? {
            Some(cache) => Ok(cache.get(&key).map(|whole| whole.object.clone())),
            None => self.store(watch)?.get_object(namespace, name),
        }
    }

    fn store(&mut self, watch: &str) -> Result<&Store<'static>, StoreError> {
        match self.watches.get_mut(watch) {
            Some(watched) => watched.store(watch),
            None => Err(StoreError::NoSuchStore(watch.to_owned())),
        }
    }

    /// The objects of a watch that are kept, if they are.
    fn cache(&mut self, watch: &str) -> Result<Option<&Cache<Whole>>, StoreError> {
        let Some(watched) = self.watches.get_mut(watch) else {
            return Ok(None);
        };
        match &watched.source {
            Source::Memory { cache: Some(_), .. } => watched.update(watch, &mut self.clock)?,
            _ => return Ok(None),
        }
        match &watched.source {
            Source::Memory { cache, .. } => Ok(cache.as_ref()),
            _ => Ok(None),
        }
    }

    /// The object as it is kept, if it is, instead of another copy of it.
    fn shared(&mut self, watch: &str, object: Value) -> Value {
        match self.cache(watch) {
            Ok(Some(cache)) => match cache.get(&identity(&object)) {
                Some(whole) => whole.object.clone(),
                None => object,
            },
            _ => object,
        }
    }

    fn read<T>(
        &mut self,
        watch: &str,
        method: &str,
        read: impl FnOnce(&mut Self) -> Result<T, StoreError>,
    ) -> Result<T, Error> {
        read(self).map_err(|error| {
            let text = format!("resources.{watch}.{method}: {error}");
            // What a template asks wrongly is its own fault, and asked again it is wrong again.
            if !matches!(
                error,
                StoreError::InvalidKeys(_)
                    | StoreError::NoSuchIndex(_)
                    | StoreError::NoSuchStore(_)
            ) {
                self.failed.get_or_insert_with(|| text.clone());
            }
            wrong(text)
        })
    }
}

impl Watched {
    fn store(&mut self, name: &str) -> Result<&Store<'static>, StoreError> {
        if self.store.is_none() {
            self.store = Some(Store::open(name)?);
        }
        self.store
            .as_ref()
            .ok_or_else(|| StoreError::NoSuchStore(name.to_owned()))
    }

    /// Brings the kept objects up to date, once a callback; the first time it reads all of them.
    fn update(&mut self, name: &str, clock: &mut u64) -> Result<(), StoreError> {
        let Source::Memory {
            cache,
            changed,
            is_updated,
        } = &mut self.source
        else {
            return Ok(());
        };
        if *is_updated {
            return Ok(());
        }
        let update = cache.get_or_insert_with(|| Cache::of(name)).update()?;
        *clock += 1;
        for key in update.removed {
            changed.remove(&key);
        }
        for key in update.changed {
            changed.insert(key, *clock);
        }
        *is_updated = true;
        Ok(())
    }

    fn kept(&self) -> Vec<Item> {
        let Source::Memory {
            cache: Some(cache),
            changed,
            ..
        } = &self.source
        else {
            return Vec::new();
        };
        cache
            .iter()
            .map(|(key, whole)| Item {
                key: key.clone(),
                object: whole.object.clone(),
                version: changed.get(key).copied().unwrap_or_default(),
            })
            .collect()
    }
}

pub(crate) fn wrong(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, text.into())
}

/// A key as the index has it.
fn key(value: &Value) -> Result<String, Error> {
    match (value.as_str(), value.kind()) {
        (Some(text), _) => Ok(text.to_owned()),
        (None, ValueKind::Bool) => Ok(value.is_true().to_string()),
        (None, ValueKind::Number) if value.is_integer() => Ok(value.to_string()),
        (None, kind) => Err(wrong(format!(
            "a key is a text, an integer or a boolean, not {kind}"
        ))),
    }
}

/// Namespace and name of an object.
fn identity(object: &Value) -> Key {
    let text = |name: &str| {
        let value = object
            .get_attr("metadata")
            .and_then(|metadata| metadata.get_attr(name));
        value
            .ok()
            .and_then(|value| value.as_str().map(str::to_owned))
            .unwrap_or_default()
    };
    Key::new(text("namespace"), text("name"))
}
