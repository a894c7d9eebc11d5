//! One watch of one plugin: what the plugin has not been told of it, and when it may be.

use std::{sync::Arc, time::Duration};

use super::{ResourceEvent, StoreId, backoff, store::StoreEntry};
use crate::{Time, changes::ChangeSet, debounce::Debounce, spec::WatchPlan, store::Delta};

/// Where a subscriber stands with `on-sync-complete`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sync {
    /// The store does not hold everything yet.
    Waiting,
    /// To be told.
    Due,
    /// Told.
    Done,
}

pub(super) enum Delivery {
    Collection {
        changes: Arc<ChangeSet>,
        debounce: Debounce,
        sync: Sync,
    },
    Single {
        event: Option<ResourceEvent>,
        synced: bool,
    },
}

pub(super) struct Subscription {
    pub(super) store: StoreId,
    pub(super) plan: Arc<WatchPlan>,
    pub(super) name: Arc<str>,
    pub(super) required: bool,
    pub(super) during_sync: bool,
    pub(super) delivery: Delivery,
    pub(super) failures: u32,
    pub(super) not_before: Time,
}

/// A callback under way.
pub(super) struct Running {
    pub(super) watch: usize,
    pub(super) taken: Arc<ChangeSet>,
    pub(super) event: Option<ResourceEvent>,
    pub(super) was_sync: bool,
}

/// What comes first when several callbacks are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    Sync,
    Single,
    Change,
}

impl Subscription {
    /// A new plugin's, that knows nothing.
    pub(super) fn new(id: StoreId, store: &StoreEntry, plan: &Arc<WatchPlan>) -> Self {
        let delivery = if plan.object_name.is_some() {
            Delivery::Single {
                event: None,
                synced: false,
            }
        } else {
            Delivery::Collection {
                changes: Arc::new(ChangeSet::nothing_delivered()),
                debounce: Debounce::new(plan.debounce),
                sync: Sync::Waiting,
            }
        };
        let mut subscription = Self {
            store: id,
            plan: Arc::clone(plan),
            name: Arc::from(plan.name.as_str()),
            required: plan.required,
            during_sync: plan.during_sync,
            delivery,
            failures: 0,
            not_before: Time::ZERO,
        };
        subscription.tell_everything(store);
        subscription
    }

    /// How long changes may wait for each other.
    pub(super) fn patience(&self) -> Duration {
        match self.delivery {
            Delivery::Collection { .. } => self.plan.debounce,
            Delivery::Single { .. } => Duration::ZERO,
        }
    }

    pub(super) fn due(&self) -> Option<(Rank, Time)> {
        let (rank, due) = match &self.delivery {
            Delivery::Collection {
                sync: Sync::Due, ..
            } => (Rank::Sync, Time::ZERO),
            Delivery::Collection {
                sync: Sync::Waiting,
                ..
            } if !self.during_sync => return None,
            Delivery::Collection { debounce, .. } => (Rank::Change, debounce.due()?),
            Delivery::Single { event, .. } => {
                event.as_ref()?;
                (Rank::Single, Time::ZERO)
            }
        };
        Some((rank, due.max(self.not_before)))
    }

    /// What there is to tell, however recently the plugin was told something.
    pub(super) fn pending(&self) -> Option<Rank> {
        match &self.delivery {
            Delivery::Collection {
                sync: Sync::Waiting,
                ..
            } => None,
            Delivery::Collection {
                sync: Sync::Due, ..
            } => Some(Rank::Sync),
            Delivery::Collection {
                sync: Sync::Done,
                changes,
                ..
            } => (!changes.is_empty()).then_some(Rank::Change),
            Delivery::Single { event, .. } => event.as_ref().map(|_| Rank::Single),
        }
    }

    /// As if nothing had failed so far.
    pub(super) fn forget_failures(&mut self) {
        self.failures = 0;
        self.not_before = Time::ZERO;
    }

    /// A callback failed: the next one comes later.
    pub(super) fn fail(&mut self, now: Time) {
        self.failures += 1;
        self.not_before = now + backoff(self.failures);
    }

    /// Whether `on-sync-complete`, or an event of a single object, is to be told.
    pub(super) fn has_news(&self) -> bool {
        match &self.delivery {
            Delivery::Collection { sync, .. } => *sync == Sync::Due,
            Delivery::Single { event, .. } => event.is_some(),
        }
    }

    /// The store has just come to hold everything.
    pub(super) fn synced(&mut self, entry: &StoreEntry) {
        match &mut self.delivery {
            Delivery::Collection { sync, .. } => *sync = Sync::Due,
            Delivery::Single { event, synced } => {
                *synced = true;
                *event = Some(match entry.store.snapshot().list().next() {
                    Some(object) => ResourceEvent::Applied(Arc::clone(object)),
                    None => ResourceEvent::Absent,
                });
            }
        }
    }

    /// The plugin knows nothing: it is new, or its instance is.
    pub(super) fn tell_everything(&mut self, entry: &StoreEntry) {
        match &mut self.delivery {
            Delivery::Collection { changes, sync, .. } => {
                *changes = Arc::new(ChangeSet::nothing_delivered());
                *sync = Sync::Waiting;
            }
            Delivery::Single { event, synced } => {
                *event = None;
                *synced = false;
            }
        }
        if entry.synced() {
            self.synced(entry);
        }
    }

    /// A callback of another watch begins, which can read what this store holds now.
    pub(super) fn can_be_read(&mut self) {
        if let Delivery::Collection {
            changes,
            sync: Sync::Done,
            ..
        } = &mut self.delivery
            && !changes.is_empty()
            && !changes.was_read()
        {
            Arc::make_mut(changes).mark_read();
        }
    }

    pub(super) fn changed(&mut self, now: Time, deltas: &[Delta]) {
        match &mut self.delivery {
            Delivery::Collection {
                changes, debounce, ..
            } => {
                Arc::make_mut(changes).record(deltas);
                debounce.changed(now);
            }
            Delivery::Single {
                event,
                synced: true,
            } => {
                if let Some(delta) = deltas.last() {
                    *event = match (delta.current(), delta.previous()) {
                        (Some(object), _) => Some(ResourceEvent::Applied(Arc::clone(object))),
                        (None, Some(object)) => Some(ResourceEvent::Deleted(Arc::clone(object))),
                        (None, None) => return,
                    };
                }
            }
            // Before sync nothing is delivered (contract R1).
            Delivery::Single { synced: false, .. } => {}
        }
    }

    /// A delivery failed: what it was about is pending again, under what is newer.
    pub(super) fn give_back(&mut self, now: Time, running: Running) {
        match &mut self.delivery {
            Delivery::Collection { changes, sync, .. } if running.was_sync => {
                *changes = Arc::new(ChangeSet::nothing_delivered());
                *sync = Sync::Due;
            }
            Delivery::Collection {
                changes, debounce, ..
            } => {
                let older =
                    Arc::try_unwrap(running.taken).unwrap_or_else(|shared| (*shared).clone());
                Arc::make_mut(changes).merge_older(older);
                debounce.changed(now);
            }
            Delivery::Single { event, .. } => {
                if event.is_none() {
                    *event = running.event;
                }
            }
        }
    }
}
