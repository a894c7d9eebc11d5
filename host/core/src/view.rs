//! What one callback sees: a snapshot of every store of its plugin and the
//! changes since the last successful callback. The reads of the WIT's `store`
//! resource, answered here once for wasm guests and for plugins that run natively
//! in the test harness.

use std::sync::Arc;

use crate::{
    Identity, Object, Time,
    changes::{ChangeSet, NetChange},
    index::KeyError,
    path::Path,
    select::{SelectError, Selection},
    snapshot::{Objects, Page, Snapshot},
    spec::WatchPlan,
    watch::WatchState,
};

/// Fields that one `select` may ask for.
const MAX_FIELDS: usize = 256;

/// Objects that one page may hold, whatever was asked for.
const MAX_PAGE: u32 = 10_000;

/// Why a read failed: the cases of the WIT's `store-error`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The plugin has no such watch, or it watches a single object.
    #[error("no store named `{0}`")]
    NoSuchStore(String),
    /// The watch has no such index.
    #[error("no index named `{0}`")]
    NoSuchIndex(String),
    /// Too many keys, or none.
    #[error("{0}")]
    InvalidKeys(String),
    /// A path that does not compile.
    #[error("{0}")]
    InvalidPath(String),
    /// No page gave that cursor.
    #[error("invalid cursor `{0}`")]
    InvalidCursor(String),
    /// The answer is larger than this many bytes.
    #[error("the answer is larger than {0} bytes: read it in pages, or select fewer fields")]
    TooLarge(u64),
    /// A body of a cached store could not be had. Says of which object, and why.
    #[error("{0}")]
    Unavailable(String),
    /// The answer takes longer than its reader has time for.
    #[error(
        "the read takes longer than there is time left: select simpler paths, or of fewer objects"
    )]
    OutOfTime,
    /// A path that cannot be evaluated on an object.
    #[error("{0}")]
    Other(String),
}

/// Bytes of a name or cursor that errors repeat: a guest chooses them, and what is longer
/// than any name would only fill memory and logs.
const MAX_REPEATED: usize = 256;

fn repeated(text: &str) -> String {
    match text.floor_char_boundary(MAX_REPEATED) {
        end if end == text.len() => text.to_owned(),
        end => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}

impl From<KeyError> for ReadError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::NoSuchIndex(name) => Self::NoSuchIndex(repeated(&name)),
            KeyError::NoKeys { .. } | KeyError::TooManyKeys { .. } => {
                Self::InvalidKeys(error.to_string())
            }
        }
    }
}

/// All stores of one plugin at one moment. Taken once per callback; shared.
#[derive(Clone, Debug, Default)]
pub struct View {
    stores: Vec<Option<StoreView>>,
    all_synced: bool,
}

impl View {
    /// One entry per watch of the plugin, in the order of `describe`; `None` for
    /// watches of a single object, which have no store.
    #[must_use]
    pub fn new(stores: Vec<Option<StoreView>>, all_synced: bool) -> Self {
        Self { stores, all_synced }
    }

    /// The store of the `watch`-th watch.
    #[must_use]
    pub fn store(&self, watch: usize) -> Option<&StoreView> {
        self.stores.get(watch)?.as_ref()
    }

    /// The index of the store of that name.
    ///
    /// # Errors
    /// [`ReadError::NoSuchStore`].
    pub fn open(&self, name: &str) -> Result<usize, ReadError> {
        self.stores
            .iter()
            .position(|store| store.as_ref().is_some_and(|store| store.name() == name))
            .ok_or_else(|| ReadError::NoSuchStore(repeated(name)))
    }

    /// Whether every required watch of the plugin is synced (contract C6).
    #[must_use]
    pub fn all_synced(&self) -> bool {
        self.all_synced
    }
}

/// How up to date a store is (contract S4): the state of its watch, and since when
/// it has been in it. What a store holds is complete when the state is
/// [`WatchState::Synced`], complete but old when it is [`WatchState::Stale`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// How the watch is; of several, how the worst is.
    pub state: WatchState,
    /// Since when.
    pub since: Time,
}

impl Default for Freshness {
    /// A watch that has not reported yet.
    fn default() -> Self {
        Self {
            state: WatchState::Discovering,
            since: Time::ZERO,
        }
    }
}

impl Freshness {
    /// Takes in a state. A list that goes on is the same state with more objects.
    pub fn change(&mut self, now: Time, state: WatchState) {
        if state.as_str() != self.state.as_str() {
            self.since = now;
        }
        self.state = state;
    }

    /// Greater for a watch that is worse off: by state, then by age.
    pub(crate) fn staleness(&self) -> (u8, std::cmp::Reverse<Time>) {
        let rank = match self.state {
            WatchState::Synced => 0,
            WatchState::Stale { .. } => 1,
            WatchState::Listing { .. } => 2,
            WatchState::Discovering => 3,
            WatchState::Failing { .. } => 4,
            WatchState::WaitingForCrd => 5,
            WatchState::Forbidden { .. } => 6,
        };
        (rank, std::cmp::Reverse(self.since))
    }
}

/// One store in a [`View`].
///
/// The reads that answer with bodies, [`get`](Self::get) to [`select`](Self::select), fail
/// with [`ReadError::Unavailable`] on a [cached](Self::cached_plan) store that is not empty:
/// its bodies have to be fetched, which whoever holds the view does, with
/// [`find`](Self::find) and [`objects_after`](Self::objects_after).
#[derive(Clone, Debug)]
pub struct StoreView {
    name: Arc<str>,
    snapshot: Snapshot,
    changes: Option<Arc<ChangeSet>>,
    freshness: Freshness,
    cached: Option<Arc<WatchPlan>>,
}

/// Which objects of a store a read is about.
#[derive(Clone, Copy, Debug)]
pub enum Which<'a> {
    /// All.
    All,
    /// Those with these leading keys of the primary index.
    Keys(&'a [&'a str]),
    /// Those with these leading keys of the named index.
    IndexKeys(&'a str, &'a [&'a str]),
}

impl StoreView {
    /// `name` is the plugin's name of the watch. Without `changes` the store
    /// reports none: everything in it is new to the plugin.
    #[must_use]
    pub fn new(name: Arc<str>, snapshot: Snapshot, changes: Option<Arc<ChangeSet>>) -> Self {
        Self {
            name,
            snapshot,
            changes,
            freshness: Freshness::default(),
            cached: None,
        }
    }

    /// The same with how up to date it is; without, it is that of a watch that has
    /// not reported yet.
    #[must_use]
    pub fn with_freshness(mut self, freshness: Freshness) -> Self {
        self.freshness = freshness;
        self
    }

    /// How up to date the store was when the view was taken.
    #[must_use]
    pub fn freshness(&self) -> &Freshness {
        &self.freshness
    }

    /// The same of a cached store: `plan` says where its bodies are, how they are
    /// filtered, and for how long they are served.
    #[must_use]
    pub fn with_cached_plan(mut self, plan: Arc<WatchPlan>) -> Self {
        self.cached = Some(plan);
        self
    }

    /// The watch of a cached store; none of a store in memory.
    #[must_use]
    pub fn cached_plan(&self) -> Option<&Arc<WatchPlan>> {
        self.cached.as_ref()
    }

    /// The watch's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.snapshot.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.snapshot.is_empty()
    }

    /// Grows with every change.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.snapshot.revision()
    }

    /// The snapshot itself.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The objects that a read is about, in order of (namespace, name), with or without
    /// bodies.
    ///
    /// # Errors
    /// [`ReadError::InvalidKeys`], [`ReadError::NoSuchIndex`].
    pub fn find(&self, which: Which<'_>) -> Result<Objects<'_>, ReadError> {
        match which {
            Which::All => Ok(self.snapshot.list()),
            Which::Keys(keys) => Ok(self.snapshot.get(keys)?),
            Which::IndexKeys("", _) => Err(ReadError::NoSuchIndex(String::new())),
            Which::IndexKeys(index, keys) => Ok(self.snapshot.get_by(index, keys)?),
        }
    }

    /// One object, with or without its body; none if there is none.
    #[must_use]
    pub fn object(&self, namespace: &str, name: &str) -> Option<&Arc<Object>> {
        // What is no identity is the identity of nothing.
        let identity = Identity::new(namespace, name).ok()?;
        self.snapshot.get_object(&identity)
    }

    /// At most `count` objects after `cursor`, with or without bodies, and the cursor of
    /// the next page.
    ///
    /// # Errors
    /// [`ReadError::InvalidCursor`].
    pub fn objects_after(&self, cursor: Option<&str>, count: u32) -> Result<Page<'_>, ReadError> {
        let count = usize::try_from(count.clamp(1, MAX_PAGE)).unwrap_or(1);
        self.snapshot
            .page(cursor, count)
            .map_err(|error| ReadError::InvalidCursor(repeated(&error.0)))
    }

    /// Bodies of the objects with these leading keys of the primary index.
    ///
    /// # Errors
    /// [`ReadError::InvalidKeys`], or [`ReadError::TooLarge`] above `limit` bytes.
    pub fn get(&self, keys: &[&str], limit: u64) -> Result<Vec<Arc<str>>, ReadError> {
        self.bodies(self.find(Which::Keys(keys))?, limit)
    }

    /// The same in a named index.
    ///
    /// # Errors
    /// [`ReadError::NoSuchIndex`] as well.
    pub fn get_by(
        &self,
        index: &str,
        keys: &[&str],
        limit: u64,
    ) -> Result<Vec<Arc<str>>, ReadError> {
        self.bodies(self.find(Which::IndexKeys(index, keys))?, limit)
    }

    /// The body of one object; none if there is none.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`].
    pub fn get_object(&self, namespace: &str, name: &str) -> Result<Option<Arc<str>>, ReadError> {
        self.object(namespace, name)
            .map(|object| self.body(object))
            .transpose()
    }

    /// All bodies.
    ///
    /// # Errors
    /// [`ReadError::TooLarge`] above `limit` bytes.
    pub fn list(&self, limit: u64) -> Result<Vec<Arc<str>>, ReadError> {
        self.bodies(self.snapshot.list(), limit)
    }

    /// At most `count` bodies after `cursor`, fewer when they would exceed
    /// `limit` bytes (but at least one), and the cursor of the next page.
    ///
    /// # Errors
    /// [`ReadError::InvalidCursor`], or [`ReadError::TooLarge`] when one object
    /// alone exceeds the limit.
    pub fn page(
        &self,
        cursor: Option<&str>,
        count: u32,
        limit: u64,
    ) -> Result<(Vec<Arc<str>>, Option<String>), ReadError> {
        let mut gathered = Gathered::new(limit);
        let page = self.objects_after(cursor, count)?;
        for object in page.objects {
            match gathered.take(self.body(object)?) {
                Ok(()) => {}
                Err(error) if gathered.bodies.is_empty() => return Err(error),
                Err(_) => {
                    let fitting = u32::try_from(gathered.bodies.len()).unwrap_or(MAX_PAGE);
                    let next = self.objects_after(cursor, fitting)?.next;
                    return Ok((gathered.bodies, next));
                }
            }
        }
        Ok((gathered.bodies, page.next))
    }

    /// JSON columns of `fields`: see `select` in the WIT.
    ///
    /// # Errors
    /// [`ReadError`] of any kind but a cursor's.
    pub fn select(&self, fields: &[&str], keys: &[&str], limit: u64) -> Result<String, ReadError> {
        self.select_while(fields, keys, limit, &|| true)
    }

    /// The same, but given up when `has_time` says no: it is asked often enough to stop
    /// within a fraction of a second, whatever the paths and the objects are.
    ///
    /// # Errors
    /// [`ReadError::OutOfTime`] as well.
    pub fn select_while(
        &self,
        fields: &[&str],
        keys: &[&str],
        limit: u64,
        has_time: &dyn Fn() -> bool,
    ) -> Result<String, ReadError> {
        let paths = select_paths(fields, has_time)?;
        let which = if keys.is_empty() {
            Which::All
        } else {
            Which::Keys(keys)
        };
        let refused = |error| select_error(&error, limit);
        let mut selection = Selection::new(&paths, usize::try_from(limit).unwrap_or(usize::MAX))
            .map_err(refused)?;
        for object in self.find(which)? {
            let body = object.body().ok_or_else(|| self.bodiless(object))?;
            selection
                .push_while(object.identity(), body.as_str(), has_time)
                .map_err(refused)?;
        }
        Ok(selection.finish())
    }

    /// Net changes since the last successful callback of this store, in order of
    /// (namespace, name).
    #[must_use]
    pub fn changes(&self) -> Vec<NetChange> {
        match &self.changes {
            Some(changes) => changes.net(&self.snapshot),
            None => Vec::new(),
        }
    }

    fn bodies<'a>(
        &self,
        objects: impl Iterator<Item = &'a Arc<Object>>,
        limit: u64,
    ) -> Result<Vec<Arc<str>>, ReadError> {
        let mut gathered = Gathered::new(limit);
        gathered.bodies.reserve(objects.size_hint().0);
        for object in objects {
            gathered.take(self.body(object)?)?;
        }
        Ok(gathered.bodies)
    }

    fn body(&self, object: &Object) -> Result<Arc<str>, ReadError> {
        let body = object.body().ok_or_else(|| self.bodiless(object))?;
        Ok(body.shared())
    }

    fn bodiless(&self, object: &Object) -> ReadError {
        ReadError::Unavailable(format!(
            "{} {}: the store is cached, and its bodies have to be fetched",
            self.name,
            object.identity()
        ))
    }
}

/// Bodies for an answer of limited size.
#[derive(Debug)]
pub struct Gathered {
    /// Those that were taken, in order.
    pub bodies: Vec<Arc<str>>,
    limit: u64,
    left: u64,
}

impl Gathered {
    /// None yet, and never more than `limit` bytes.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self {
            bodies: Vec::new(),
            limit,
            left: limit,
        }
    }

    /// Takes one more.
    ///
    /// # Errors
    /// [`ReadError::TooLarge`]; those taken before stay.
    pub fn take(&mut self, body: Arc<str>) -> Result<(), ReadError> {
        let bytes = u64::try_from(body.len()).unwrap_or(u64::MAX);
        let left = self.left.checked_sub(bytes);
        self.left = left.ok_or(ReadError::TooLarge(self.limit))?;
        self.bodies.push(body);
        Ok(())
    }
}

/// Compiles the fields of a `select`, while `has_time` says that there is time.
///
/// # Errors
/// [`ReadError::InvalidPath`]: one does not compile, or they are too many;
/// [`ReadError::OutOfTime`].
pub fn select_paths(fields: &[&str], has_time: &dyn Fn() -> bool) -> Result<Vec<Path>, ReadError> {
    if fields.len() > MAX_FIELDS {
        return Err(ReadError::InvalidPath(format!(
            "{} fields: select takes at most {MAX_FIELDS}",
            fields.len()
        )));
    }
    fields
        .iter()
        .map(|field| match has_time() {
            true => Path::parse(field).map_err(|e| ReadError::InvalidPath(e.to_string())),
            false => Err(ReadError::OutOfTime),
        })
        .collect()
}

/// Why a `select` of at most `limit` bytes failed, as its reader is told.
#[must_use]
pub fn select_error(error: &SelectError, limit: u64) -> ReadError {
    match error {
        SelectError::TooLarge { .. } => ReadError::TooLarge(limit),
        SelectError::OutOfTime => ReadError::OutOfTime,
        SelectError::Extract { .. } => ReadError::Other(error.to_string()),
    }
}
