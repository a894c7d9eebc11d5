//! Owns which process holds an object when several share the work: each is one of COUNT shards
//! and holds the objects that are its own. Does not know where objects come from
//! ([`crate::watch`]), nor which watches are needed whole ([`crate::spec`]).
//!
//! The owner of a key is `jump(fnv1a64(key), COUNT)`: the 64-bit FNV-1a hash and the jump
//! consistent hash of Lamping and Veach. Neither ever changes: processes of two versions of this
//! program must agree while one replaces the other, or an object would have two owners, or none.
//! From COUNT to COUNT + 1 shards one key in COUNT + 1 moves, and each that moves goes to the
//! new shard.

use std::{fmt, str::FromStr};

/// Each shard is sent everything that is watched, so the API server works this many times as
/// much; whoever needs more than 256 processes lets each watch other namespaces.
pub const MAX_SHARDS: u32 = 256;

/// A StatefulSet of ten thousand pods is none of ours, while a Deployment's random suffix of five
/// digits is met.
const MAX_ORDINAL_DIGITS: usize = 4;

/// What is told apart by shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ShardBy {
    /// Namespaces: all objects of one are in the same shard. Objects without a namespace are in
    /// every shard.
    #[default]
    Namespace,
    /// Single objects, by namespace and name.
    Object,
}

impl ShardBy {
    /// As it is typed.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Namespace => "namespace",
            Self::Object => "object",
        }
    }
}

impl fmt::Display for ShardBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ShardBy {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Self, ShardError> {
        [Self::Namespace, Self::Object]
            .into_iter()
            .find(|by| by.as_str() == text)
            .ok_or_else(|| ShardError::By(text.to_owned()))
    }
}

/// One of COUNT parts of all objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shard {
    index: u32,
    count: u32,
    by: ShardBy,
}

impl Shard {
    /// The `index`-th of `count` shards, counted from 0.
    ///
    /// # Errors
    /// [`ShardError::Count`] and [`ShardError::Index`].
    pub fn new(index: u32, count: u32, by: ShardBy) -> Result<Self, ShardError> {
        if !(1..=MAX_SHARDS).contains(&count) {
            return Err(ShardError::Count(count.to_string()));
        }
        if index >= count {
            return Err(ShardError::Index { index, count });
        }
        Ok(Self { index, count, by })
    }

    /// Which one, counted from 0.
    #[must_use]
    pub fn index(self) -> u32 {
        self.index
    }

    /// How many there are.
    #[must_use]
    pub fn count(self) -> u32 {
        self.count
    }

    /// What is told apart.
    #[must_use]
    pub fn by(self) -> ShardBy {
        self.by
    }

    /// Whether the object is this shard's. `namespace` is empty for kinds without namespaces.
    #[must_use]
    pub fn owns(self, namespace: &str, name: &str) -> bool {
        match self.by {
            ShardBy::Namespace => self.owns_namespace(namespace),
            ShardBy::Object => {
                let hash = fnv1a(FNV_OFFSET, namespace.as_bytes());
                self.is_owner(fnv1a(fnv1a(hash, &[0]), name.as_bytes()))
            }
        }
    }

    /// Whether shards by namespace give this one to this shard; what is in no namespace is
    /// everybody's.
    #[must_use]
    pub fn owns_namespace(self, namespace: &str) -> bool {
        namespace.is_empty() || self.is_owner(fnv1a(FNV_OFFSET, namespace.as_bytes()))
    }

    fn is_owner(self, hash: u64) -> bool {
        jump(hash, self.count) == u64::from(self.index)
    }
}

impl fmt::Display for Shard {
    /// `INDEX/COUNT`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

/// A shard as typed: `INDEX/COUNT`, or `auto/COUNT` for the number at the end of the pod's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardSpec {
    /// `None`: that of the pod.
    pub index: Option<u32>,
    /// How many there are.
    pub count: u32,
}

impl FromStr for ShardSpec {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Self, ShardError> {
        let form = || ShardError::Form(text.to_owned());
        let (index, count) = text.split_once('/').ok_or_else(form)?;
        // Not the sign that a number may have elsewhere.
        let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !number(count) || !(index == "auto" || number(index)) {
            return Err(form());
        }
        let count = count
            .parse()
            .ok()
            .filter(|count| (1..=MAX_SHARDS).contains(count))
            .ok_or_else(|| ShardError::Count(count.to_owned()))?;
        let index = match index {
            "auto" => None,
            index => Some(index.parse().map_err(|_| form())?),
        };
        if let Some(index) = index {
            Shard::new(index, count, ShardBy::default())?;
        }
        Ok(Self { index, count })
    }
}

impl fmt::Display for ShardSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            Some(index) => write!(f, "{index}/{}", self.count),
            None => write!(f, "auto/{}", self.count),
        }
    }
}

impl ShardSpec {
    /// What it means for the pod of this name. `standbys`: several pods may be of one shard, as
    /// one of them is elected; then pods are dealt out to the shards in turns.
    ///
    /// # Errors
    /// What the pod's name lacks, or that another pod has the same shard.
    pub fn resolve(
        self,
        by: ShardBy,
        pod: Option<&str>,
        standbys: bool,
    ) -> Result<Shard, ShardError> {
        let count = self.count;
        let index = match self.index {
            Some(index) => index,
            None => {
                let pod = pod.ok_or(ShardError::NoName { count })?;
                let ordinal = ordinal(pod).ok_or_else(|| ShardError::NoOrdinal {
                    pod: pod.to_owned(),
                    count,
                })?;
                if ordinal >= count && !standbys {
                    return Err(ShardError::Second {
                        pod: pod.to_owned(),
                        index: ordinal % count,
                        count,
                    });
                }
                ordinal % count
            }
        };
        Shard::new(index, count, by)
    }
}

/// The number that a StatefulSet gives a pod.
fn ordinal(pod: &str) -> Option<u32> {
    let (_, digits) = pod.rsplit_once('-')?;
    let plain = digits.len() <= MAX_ORDINAL_DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

/// Why a shard is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShardError {
    /// It is written in another way.
    #[error(
        "{0:?} is no shard: write INDEX/COUNT, such as `0/4`, or `auto/4` for the number at the end of the pod's name"
    )]
    Form(String),
    /// So many are not possible.
    #[error("{0} shards: write 1 to {MAX_SHARDS}; each of them is sent everything that is watched")]
    Count(String),
    /// There is no such shard.
    #[error("there is no shard {index} of {count}: they are numbered from 0 to {}", .count - 1)]
    Index {
        /// Which.
        index: u32,
        /// Of how many.
        count: u32,
    },
    /// It is neither of the two ways to share.
    #[error("{0:?} is no way to share: write `namespace` or `object`")]
    By(String),
    /// Nobody knows what the pod is called.
    #[error(
        "`auto/{count}` takes the shard from the pod's name, and neither $POD_NAME nor the machine's name is known: write INDEX/{count}"
    )]
    NoName {
        /// Of how many shards.
        count: u32,
    },
    /// The pod's name does not end in a number.
    #[error(
        "`auto/{count}` takes the shard from the number at the end of the pod's name, as a StatefulSet gives it, and {pod:?} has none: write INDEX/{count}"
    )]
    NoOrdinal {
        /// The pod.
        pod: String,
        /// Of how many shards.
        count: u32,
    },
    /// Two pods would hold and write the same.
    #[error(
        "pod {pod} would be a second host of shard {index}/{count}: run {count} replicas, or elect a leader of each shard (--leader-elect)"
    )]
    Second {
        /// The pod.
        pod: String,
        /// Its shard.
        index: u32,
        /// Of how many.
        count: u32,
    },
}

const FNV_OFFSET: u64 = 0xCBF2_9CE4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01B3;

/// Goes on with a 64-bit FNV-1a hash.
fn fnv1a(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME)
    })
}

/// The jump consistent hash. The paper divides floating-point numbers; whole ones give the same
/// for as few buckets as there may be here, on every machine.
fn jump(mut key: u64, buckets: u32) -> u64 {
    let (mut bucket, mut next) = (0, 0);
    while next < u64::from(buckets) {
        bucket = next;
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        next = ((bucket + 1) << 31) / ((key >> 33) + 1);
    }
    bucket
}

#[cfg(test)]
mod tests;
