//! Which state of the store a read is served from: the newest, or that of a replica
//! which lies behind. Writes always go to the newest.

use tokio::sync::watch;

use crate::state::{Collection, Store};

/// How far a replica is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Position {
    /// Always so many versions behind.
    Behind(u64),
    /// At this version, whatever happens.
    At(u64),
    /// Level with the server.
    Level,
}

/// The state that one request reads. Following it shows when a replica catches up.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reading(Option<watch::Receiver<Position>>);

impl Reading {
    /// Reads what this replica has.
    pub(crate) fn replica(position: watch::Receiver<Position>) -> Self {
        Self(Some(position))
    }

    /// The version that is reached when the server's is `newest`.
    pub(crate) fn reached(&self, newest: u64) -> u64 {
        match self.position() {
            Position::Behind(versions) => newest.saturating_sub(versions),
            Position::At(version) => version.min(newest),
            Position::Level => newest,
        }
    }

    /// The version that a collection is read at: the one reached, or the oldest that the
    /// history still tells.
    pub(crate) fn version(&self, store: &Store, collection: &Collection) -> u64 {
        let reached = self.reached(store.version());
        if store.is_expired(collection, reached) {
            store.oldest(collection)
        } else {
            reached
        }
    }

    /// Returns when the replica has changed its position since the last call; never for
    /// the newest state.
    pub(crate) async fn moved(&mut self) {
        let moved = match &mut self.0 {
            Some(position) => position.changed().await.is_ok(),
            None => false,
        };
        if !moved {
            std::future::pending::<()>().await;
        }
    }

    fn position(&self) -> Position {
        self.0
            .as_ref()
            .map_or(Position::Level, |position| *position.borrow())
    }
}
