//! What an instance remembers from callback to callback, so that a [`Cache`](crate::Cache) knows
//! what it may have missed. Owns the bookkeeping; the caches own the entries.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// How a callback ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It has not.
    Running,
    /// It returned ok. Whether its outputs were committed the plugin is never told.
    Ok,
    /// It returned an error.
    Failed,
}

/// One callback, as long as somebody wants to know how it ended.
#[derive(Clone, Debug)]
pub(crate) struct Call(Rc<Cell<Outcome>>);

impl Call {
    pub(crate) fn failed(&self) -> bool {
        self.0.get() == Outcome::Failed
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

/// The memory of one instance.
#[derive(Debug, Default)]
pub(crate) struct Session {
    /// Grows with each `on-sync-complete`: from then on everything is new.
    generation: Cell<u64>,
    /// For each store, where it stood in the last callback about it that returned ok: what
    /// `changes` answers begins there, or earlier.
    bases: RefCell<Vec<(String, Base)>>,
}

/// Where the changes of a store begin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Base {
    pub(crate) revision: u64,
    /// Whether the host has gone on since: an `on-change` says that an earlier `on-sync-complete`
    /// was committed. Until then it may come again, and `changes` be empty meanwhile.
    pub(crate) is_proven: bool,
}

/// What a callback is about.
pub(crate) enum About<'s> {
    /// `on-sync-complete` of this store.
    Sync(&'s str),
    /// `on-change` of this store, which is synced.
    Change(&'s str),
    /// `on-change` of a store that is not synced yet. Seen from other callbacks its changes are
    /// empty.
    Partial,
    /// A single object.
    Resource,
}

struct Current {
    session: Rc<Session>,
    call: Call,
}

thread_local! {
    /// A stack, because natively one instance's test may run another's.
    static CURRENT: RefCell<Vec<Current>> = const { RefCell::new(Vec::new()) };
}

/// What a cache must know about the callback that is running.
pub(crate) struct Standing {
    pub(crate) call: Call,
    pub(crate) generation: u64,
    /// See [`Session::bases`].
    pub(crate) base: Option<Base>,
}

/// How the callback that is running stands to a store; `None` outside of callbacks.
pub(crate) fn standing(store: &str) -> Option<Standing> {
    CURRENT.with_borrow(|stack| {
        let Current { session, call } = stack.last()?;
        let bases = session.bases.borrow();
        Some(Standing {
            call: call.clone(),
            generation: session.generation.get(),
            base: bases
                .iter()
                .find(|(name, _)| name == store)
                .map(|(_, base)| *base),
        })
    })
}

impl Session {
    /// Runs a callback, `revision` being that of its store.
    pub(crate) fn run<R, E>(
        self: &Rc<Self>,
        about: &About<'_>,
        revision: u64,
        callback: impl FnOnce() -> Result<R, E>,
    ) -> Result<R, E> {
        struct Pop;
        impl Drop for Pop {
            fn drop(&mut self) {
                CURRENT.with_borrow_mut(|stack| stack.pop());
            }
        }
        if let About::Sync(store) = about {
            self.generation.set(self.generation.get() + 1);
            self.bases.borrow_mut().retain(|(name, _)| name != store);
        }
        let call = Call(Rc::new(Cell::new(Outcome::Running)));
        CURRENT.with_borrow_mut(|stack| {
            stack.push(Current {
                session: Rc::clone(self),
                call: call.clone(),
            });
        });
        let pop = Pop;
        let result = callback();
        drop(pop);
        match (&result, about) {
            (Ok(_), About::Sync(store) | About::Change(store)) => {
                let mut bases = self.bases.borrow_mut();
                bases.retain(|(name, _)| name != store);
                let base = Base {
                    revision,
                    is_proven: matches!(about, About::Change(_)),
                };
                bases.push(((*store).to_owned(), base));
                call.0.set(Outcome::Ok);
            }
            (Ok(_), About::Partial | About::Resource) => call.0.set(Outcome::Ok),
            (Err(_), _) => call.0.set(Outcome::Failed),
        }
        result
    }
}
