//! Reads of cached stores, as callbacks make them: which, for how long, and what came of them.

use std::sync::Arc;
use std::time::Duration;

use haptic_core::Object;
use haptic_core::view::{ReadError, StoreView, Which};
use haptic_host::cached::Bodies;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::random::Random;
use crate::truth::Kind;

/// A read that has ended.
pub struct Read {
    pub kind: Kind,
    /// What the store showed, of what was asked for.
    pub objects: Vec<Arc<Object>>,
    /// How long it might take.
    pub until: Instant,
    /// Whether it began when all faults were long gone.
    pub calm: bool,
    pub result: Result<Vec<Arc<Object>>, ReadError>,
}

/// Those under way.
pub struct Reads {
    random: Random,
    running: JoinSet<Read>,
    answered: u64,
    unavailable: u64,
}

impl Reads {
    pub fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed ^ 0x7265_6164),
            running: JoinSet::new(),
            answered: 0,
            unavailable: 0,
        }
    }

    /// Begins one.
    pub fn start(&mut self, bodies: &Bodies, kind: Kind, view: StoreView, calm: bool) {
        let which: &'static [&'static str] = self.random.of(&[&[], &[], &["a"], &["a", "anchor"]]);
        let patience = match calm {
            // As long as a callback may take.
            true => Duration::from_secs(10),
            false => self.random.millis(1, 10_000),
        };
        let until = Instant::now() + patience;
        let which = move || match which {
            [] => Which::All,
            keys => Which::Keys(keys),
        };
        let objects = view.find(which()).unwrap().cloned().collect();
        let reader = bodies.reader(view, 1 << 30, until);
        self.running.spawn(async move {
            let result = reader.find(which()).await;
            Read {
                kind,
                objects,
                until,
                calm,
                result,
            }
        });
    }

    /// The next one to end; pending while there is none.
    pub async fn next(&mut self) -> Read {
        let Some(read) = self.running.join_next().await else {
            return std::future::pending().await;
        };
        let read = read.unwrap();
        match read.result {
            Ok(_) => self.answered += 1,
            Err(_) => self.unavailable += 1,
        }
        read
    }

    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// How many were answered, and how many could not be.
    pub fn counts(&self) -> (u64, u64) {
        (self.answered, self.unavailable)
    }
}
