//! Owns writing: the one mutable handle of a store, relists included. Does not
//! read ([`crate::snapshot`]) and does not know who wants to hear of changes: it
//! appends what became visible to a list that the caller hands to every
//! [`ChangeSet`](crate::changes::ChangeSet).

use std::{collections::BTreeSet, fmt, sync::Arc};

use crate::{
    Identity, Object,
    index::{Index, IndexSpec},
    object::ByIdentity,
    ordered::Ordered,
    snapshot::{ByName, Snapshot, State, whole},
};

/// The single writer of one store.
///
/// While a list of a scope is in progress (from [`begin_list`](Self::begin_list)
/// to [`finish_list`](Self::finish_list)), whatever is applied to or deleted from
/// that scope is staged: snapshots show the state before the list, then all of it
/// at once. Other scopes go on unhindered. A store has either one scope `None`
/// (everything) or any number of namespaces.
pub struct Store {
    state: Arc<State>,
    /// The lists in progress, by scope.
    relists: Vec<(Option<Box<str>>, Relist)>,
}

/// What one call did to one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The store did not hold it.
    Created,
    /// Its content or its keys changed.
    Modified,
    /// Another object took its name: another uid.
    Recreated,
    /// It is gone.
    Deleted,
    /// Only its resourceVersion moved (I8): stored, but no change to anybody.
    Refreshed,
    /// It was stored like this before, or was not there to delete.
    None,
    /// A list of its scope is in progress: it shows when that publishes.
    Staged,
}

/// One change that became visible to new snapshots.
#[derive(Clone, Debug)]
pub enum Delta {
    /// There was no such object.
    Created {
        /// As it is now.
        current: Arc<Object>,
    },
    /// It changed. Two different uids tell a recreated object.
    Modified {
        /// As it was.
        previous: Arc<Object>,
        /// As it is now.
        current: Arc<Object>,
    },
    /// It is gone.
    Deleted {
        /// As it was.
        previous: Arc<Object>,
    },
}

impl Delta {
    /// Whom it happened to.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        match self {
            Self::Created { current } | Self::Modified { current, .. } => current.identity(),
            Self::Deleted { previous } => previous.identity(),
        }
    }

    /// The object before; none when it is new.
    #[must_use]
    pub fn previous(&self) -> Option<&Arc<Object>> {
        match self {
            Self::Created { .. } => None,
            Self::Modified { previous, .. } | Self::Deleted { previous } => Some(previous),
        }
    }

    /// The object now; none when it is gone.
    #[must_use]
    pub fn current(&self) -> Option<&Arc<Object>> {
        match self {
            Self::Created { current } | Self::Modified { current, .. } => Some(current),
            Self::Deleted { .. } => None,
        }
    }
}

impl Store {
    /// An empty store. The i-th index is that of [`Object::keys`] of i.
    #[must_use]
    pub fn new(name: &str, indexes: Vec<IndexSpec>) -> Self {
        let indexes = indexes.into_iter().zip(0..);
        Self {
            state: Arc::new(State {
                name: name.into(),
                revision: 0,
                objects: Ordered::new(ByName),
                body_bytes: 0,
                indexes: indexes.map(|(spec, slot)| Index::new(spec, slot)).collect(),
            }),
            relists: Vec::new(),
        }
    }

    /// What is published now. Costs one reference count.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(Arc::clone(&self.state))
    }

    /// Stores an object as the newest version of its identity: an event of the
    /// watch, or an item of a list in progress.
    pub fn apply(&mut self, object: Object, deltas: &mut Vec<Delta>) -> Change {
        if let Some((relist, state)) = self.relist_covering(object.identity()) {
            relist.apply(state, object);
            return Change::Staged;
        }
        Writing::new(&mut self.state, deltas).put(Arc::new(object))
    }

    /// Forgets an object. Its siblings under the same keys stay.
    pub fn delete(&mut self, identity: &Identity, deltas: &mut Vec<Delta>) -> Change {
        if let Some((relist, state)) = self.relist_covering(identity) {
            relist.delete(state, identity);
            return Change::Staged;
        }
        Writing::new(&mut self.state, deltas).delete(identity)
    }

    /// Forgets every object of a scope at once, and a list of it that is in
    /// progress: the resource is not served any more.
    pub fn clear(&mut self, scope: Option<&str>, deltas: &mut Vec<Delta>) {
        self.end_relist(scope);
        let gone: Vec<_> = self.state.scope(scope).cloned().collect();
        let mut writing = Writing::new(&mut self.state, deltas);
        for object in gone {
            writing.delete(object.identity());
        }
    }

    /// A list of a scope starts, or starts again: what was staged is forgotten,
    /// what is published stays. Whatever is not applied or kept from here on is
    /// gone when the list finishes.
    pub fn begin_list(&mut self, scope: Option<&str>) {
        self.end_relist(scope);
        let known = self.state.scope(scope).len();
        self.relists
            .push((scope.map(Box::from), Relist::new(known)));
    }

    /// An item of the list in progress that cannot be decoded: the version that
    /// the store knows stays. Without a list nothing is to be done.
    pub fn keep(&mut self, identity: &Identity) {
        if let Some((relist, state)) = self.relist_covering(identity) {
            relist.keep(state, identity);
        }
    }

    /// Whether a list of that scope is in progress.
    #[must_use]
    pub fn is_listing(&self, scope: Option<&str>) -> bool {
        self.relists.iter().any(|(of, _)| of.as_deref() == scope)
    }

    /// Makes visible what a list in progress has applied so far; what it has not
    /// named yet stays. No effect without a list in progress.
    pub fn publish_partial(&mut self, scope: Option<&str>, deltas: &mut Vec<Delta>) {
        let relist = self
            .relists
            .iter_mut()
            .find(|(of, _)| of.as_deref() == scope);
        let Some((_, relist)) = relist else { return };
        let staged = std::mem::take(&mut relist.staged);
        for ByIdentity(object) in &staged {
            relist.see(Arc::clone(object));
        }
        Writing::new(&mut self.state, deltas).put_all(staged);
    }

    /// Makes the result of a list visible: what it applied, without what it did
    /// not name. No effect without a list in progress.
    pub fn finish_list(&mut self, scope: Option<&str>, deltas: &mut Vec<Delta>) {
        let Some(mut relist) = self.end_relist(scope) else {
            return;
        };
        let gone = relist.unnamed(self.state.scope(scope));
        let mut writing = Writing::new(&mut self.state, deltas);
        for object in gone {
            writing.delete(object.identity());
        }
        writing.put_all(relist.staged);
    }

    fn end_relist(&mut self, scope: Option<&str>) -> Option<Relist> {
        let at = self
            .relists
            .iter()
            .position(|(of, _)| of.as_deref() == scope)?;
        Some(self.relists.swap_remove(at).1)
    }

    fn relist_covering(&mut self, identity: &Identity) -> Option<(&mut Relist, &State)> {
        let covers = |scope: &Option<Box<str>>| {
            scope
                .as_deref()
                .is_none_or(|namespace| namespace == identity.namespace())
        };
        let (_, relist) = self.relists.iter_mut().find(|(scope, _)| covers(scope))?;
        Some((relist, &self.state))
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("published", &self.snapshot())
            .field("relists", &self.relists)
            .finish()
    }
}

/// What a list in progress has said so far.
///
/// A list of unchanged objects costs one pointer an object here.
#[derive(Debug)]
struct Relist {
    /// Published objects that the list named, in the order in which it did,
    /// perhaps several times.
    seen: Vec<Arc<Object>>,
    /// Objects that the store does not hold like this.
    staged: BTreeSet<ByIdentity>,
    /// Published objects that were deleted while the list went on.
    gone: BTreeSet<Identity>,
}

impl Relist {
    fn new(known: usize) -> Self {
        Self {
            seen: Vec::with_capacity(known),
            staged: BTreeSet::new(),
            gone: BTreeSet::new(),
        }
    }

    fn apply(&mut self, published: &State, object: Object) {
        self.gone.remove(object.identity());
        match published.get(object.identity()) {
            Some(known) if is_same(known, &object) => {
                self.staged.remove(object.identity());
                self.see(Arc::clone(known));
            }
            Some(_) | None => {
                self.staged.replace(ByIdentity(Arc::new(object)));
            }
        }
    }

    fn delete(&mut self, published: &State, identity: &Identity) {
        self.staged.remove(identity);
        if published.get(identity).is_some() {
            self.gone.insert(identity.clone());
        }
    }

    fn keep(&mut self, published: &State, identity: &Identity) {
        if let Some(known) = published.get(identity) {
            self.gone.remove(identity);
            self.see(Arc::clone(known));
        }
    }

    fn see(&mut self, object: Arc<Object>) {
        if self.seen.len() == self.seen.capacity() {
            // A server that repeats itself must not make this grow for ever.
            self.sort_seen();
        }
        self.seen.push(object);
    }

    fn sort_seen(&mut self) {
        self.seen
            .sort_unstable_by(|a, b| a.identity().cmp(b.identity()));
        self.seen.dedup_by(|a, b| a.identity() == b.identity());
    }

    /// Those of the published objects that the list did not name.
    fn unnamed<'a>(
        &mut self,
        published: impl Iterator<Item = &'a Arc<Object>>,
    ) -> Vec<Arc<Object>> {
        self.sort_seen();
        let mut seen = self.seen.iter().map(|object| object.identity()).peekable();
        published
            .filter(|object| {
                let identity = object.identity();
                while seen.next_if(|seen| *seen < identity).is_some() {}
                let named = seen.peek() == Some(&identity) && !self.gone.contains(identity);
                !named && !self.staged.contains(identity)
            })
            .cloned()
            .collect()
    }
}

/// One publication in the making.
struct Writing<'a> {
    state: &'a mut Arc<State>,
    deltas: &'a mut Vec<Delta>,
    changed: bool,
}

impl<'a> Writing<'a> {
    fn new(state: &'a mut Arc<State>, deltas: &'a mut Vec<Delta>) -> Self {
        Self {
            state,
            deltas,
            changed: false,
        }
    }

    fn put(&mut self, object: Arc<Object>) -> Change {
        let previous = match self.state.get(object.identity()) {
            Some(known) if is_same(known, &object) => return Change::None,
            Some(known) => Some(Arc::clone(known)),
            None => None,
        };
        let state = Arc::make_mut(self.state);
        for index in &mut state.indexes {
            index.put(previous.as_deref(), &object);
        }
        state.objects.insert(Arc::clone(&object));
        state.body_bytes -= previous.as_deref().map_or(0, body_bytes);
        state.body_bytes += body_bytes(&object);
        self.note(previous, object)
    }

    /// Stores many objects; when they are most of the store, everything is built
    /// anew in one pass instead of searching a place for each.
    fn put_all(&mut self, objects: BTreeSet<ByIdentity>) {
        if objects.len() < self.state.objects.len() {
            for ByIdentity(object) in objects {
                self.put(object);
            }
            return;
        }
        let before = Arc::clone(self.state);
        let mut after = Vec::with_capacity(before.objects.len() + objects.len());
        let mut objects = objects.into_iter().map(|by| by.0).peekable();
        for known in before.objects.iter() {
            while let Some(new) = objects.next_if(|new| new.identity() < known.identity()) {
                self.note(None, Arc::clone(&new));
                after.push(new);
            }
            match objects.next_if(|new| new.identity() == known.identity()) {
                Some(new) if !is_same(known, &new) => {
                    self.note(Some(Arc::clone(known)), Arc::clone(&new));
                    after.push(new);
                }
                Some(_) | None => after.push(Arc::clone(known)),
            }
        }
        for new in objects {
            self.note(None, Arc::clone(&new));
            after.push(new);
        }
        let state = Arc::make_mut(self.state);
        for index in &mut state.indexes {
            index.rebuild(&after);
        }
        state.body_bytes = after.iter().map(|object| body_bytes(object)).sum();
        state.objects = Ordered::from_sorted(ByName, after);
    }

    /// Tells what storing an object amounted to.
    fn note(&mut self, previous: Option<Arc<Object>>, current: Arc<Object>) -> Change {
        let Some(previous) = previous else {
            self.publish(Delta::Created { current });
            return Change::Created;
        };
        if previous.same_content(&current) {
            return Change::Refreshed;
        }
        let change = if is_recreated(&previous, &current) {
            Change::Recreated
        } else {
            Change::Modified
        };
        self.publish(Delta::Modified { previous, current });
        change
    }

    fn delete(&mut self, identity: &Identity) -> Change {
        if self.state.get(identity).is_none() {
            return Change::None;
        }
        let state = Arc::make_mut(self.state);
        let Some(previous) = state.objects.remove(whole(identity)) else {
            return Change::None;
        };
        for index in &mut state.indexes {
            index.remove(&previous);
        }
        state.body_bytes -= body_bytes(&previous);
        self.publish(Delta::Deleted { previous });
        Change::Deleted
    }

    fn publish(&mut self, delta: Delta) {
        if !self.changed {
            self.changed = true;
            Arc::make_mut(self.state).revision += 1;
        }
        self.deltas.push(delta);
    }
}

fn body_bytes(object: &Object) -> usize {
    object.body().map_or(0, |body| body.as_str().len())
}

/// Whether storing `new` would change nothing at all.
fn is_same(known: &Object, new: &Object) -> bool {
    known.resource_version() == new.resource_version() && known.same_content(new)
}

/// Whether a name was taken by another object (S2). Objects without a uid are
/// never told apart.
pub(crate) fn is_recreated(previous: &Object, current: &Object) -> bool {
    let (previous, current) = (previous.uid(), current.uid());
    previous != current && !previous.is_empty() && !current.is_empty()
}

#[cfg(test)]
mod tests;
