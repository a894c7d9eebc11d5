//! Tells one component from another by its bytes.

use std::{
    hash::{BuildHasher, RandomState},
    sync::OnceLock,
};

/// 128 bits of a component. The keys of the hash are drawn anew in each process: nobody
/// can make two components that have the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digest([u64; 2]);

impl Digest {
    /// That of these bytes, in this process.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        static KEYS: OnceLock<[RandomState; 2]> = OnceLock::new();
        let keys = KEYS.get_or_init(|| [RandomState::new(), RandomState::new()]);
        Self([keys[0].hash_one(bytes), keys[1].hash_one(bytes)])
    }
}
