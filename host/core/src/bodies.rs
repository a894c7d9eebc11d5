//! Owns which fetched bodies of cached stores are kept (contract S6): for how long, how
//! many bytes of them, and which are new enough for whom. Does not fetch them, and does
//! not know what the stores hold ([`crate::store`]).

use std::{
    cmp::Ordering,
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use crate::{Identity, Object, Time, object::Digest, path::Path, watch::ResourceRef};

/// What a body is beside its object: of which resource, and how it was filtered. Stores
/// that agree in these share bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Filter(Digest);

impl Filter {
    pub(crate) fn of(resource: &ResourceRef, ignore: &[Path], keep: &[Path]) -> Self {
        Self(Digest::of((resource, ignore, keep)))
    }
}

/// Which body.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BodyKey {
    /// Of which resource, and how filtered.
    pub filter: Filter,
    /// Of which object.
    pub identity: Identity,
}

/// A state of an object: what tells an older one from a newer one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// `metadata.uid`; empty when the server sent none.
    pub uid: Box<str>,
    /// `metadata.resourceVersion`; empty when the server sent none.
    pub resource_version: Box<str>,
}

impl Version {
    /// The state that `object` is.
    #[must_use]
    pub fn of(object: &Object) -> Self {
        Self {
            uid: object.uid().into(),
            resource_version: object.resource_version().into(),
        }
    }

    /// Whether this is `other`, or came after it. What cannot be compared did not:
    /// resourceVersions are decimal integers of any length, as Kubernetes has documented
    /// since 1.35, and others say nothing but whether they are equal.
    #[must_use]
    pub fn is_as_new_as(&self, other: &Self) -> bool {
        let order = compare(&self.resource_version, &other.resource_version);
        if self.is_same_object(other) {
            other.resource_version.is_empty() || order.is_some_and(Ordering::is_ge)
        } else {
            order == Some(Ordering::Greater)
        }
    }

    /// Whether both are states of one object, as far as the servers told.
    #[must_use]
    pub fn is_same_object(&self, other: &Self) -> bool {
        self.uid == other.uid || self.uid.is_empty() || other.uid.is_empty()
    }
}

/// Which of two resourceVersions is newer, if that can be told.
fn compare(one: &str, other: &str) -> Option<Ordering> {
    let number = |text: &str| {
        !text.is_empty() && !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit())
    };
    if one == other {
        Some(Ordering::Equal)
    } else if number(one) && number(other) {
        Some(one.len().cmp(&other.len()).then_with(|| one.cmp(other)))
    } else {
        None
    }
}

/// Bytes that a body costs beside its text and its names: its object, its entry, and its
/// places in three sets.
const OVERHEAD: usize = 512;

/// Objects with their bodies, as they were fetched; at most so many bytes of them; the one that was not read for longest
/// goes first.
#[derive(Debug)]
pub struct Bodies {
    capacity: usize,
    bytes: usize,
    places: HashMap<BodyKey, usize>,
    entries: Vec<Option<Entry>>,
    /// Places that are free.
    free: Vec<usize>,
    /// By the last read, and by the moment at which nobody may be served any more.
    by_use: BTreeSet<(u64, usize)>,
    by_expiry: BTreeSet<(Time, usize)>,
    reads: u64,
}

#[derive(Debug)]
struct Entry {
    key: BodyKey,
    version: Version,
    object: Arc<Object>,
    fetched: Time,
    expires: Time,
    used: u64,
}

impl Entry {
    fn cost(&self) -> usize {
        cost(&self.key, &self.object)
    }
}

fn cost(key: &BodyKey, object: &Object) -> usize {
    let body = object.body().map_or(0, |body| body.as_str().len());
    let names = key.identity.as_joined().len().saturating_mul(2);
    body.saturating_add(names).saturating_add(OVERHEAD)
}

impl Bodies {
    /// None, and never more than `capacity` bytes, what it takes to find them included.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            bytes: 0,
            places: HashMap::new(),
            entries: Vec::new(),
            free: Vec::new(),
            by_use: BTreeSet::new(),
            by_expiry: BTreeSet::new(),
            reads: 0,
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Bytes of them, what it takes to find them included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The object, if it was fetched less than `ttl` ago and is as new as `wanted`. That of
    /// another object of the same name is not served, however new.
    pub fn get(
        &mut self,
        now: Time,
        key: &BodyKey,
        wanted: &Version,
        ttl: Duration,
    ) -> Option<Arc<Object>> {
        let place = *self.places.get(key)?;
        let entry = self.entries.get_mut(place)?.as_mut()?;
        let serves = now < entry.fetched + ttl
            && entry.version.is_same_object(wanted)
            && entry.version.is_as_new_as(wanted);
        if !serves {
            return None;
        }
        self.reads += 1;
        self.by_use.remove(&(entry.used, place));
        entry.used = self.reads;
        self.by_use.insert((entry.used, place));
        Some(Arc::clone(&entry.object))
    }

    /// Takes an object that was fetched now, and drops others to make room; answers how many.
    /// Not taken: what is larger than everything that is allowed, and a state older than
    /// the one that is known.
    pub fn put(&mut self, now: Time, key: &BodyKey, object: Arc<Object>, ttl: Duration) -> usize {
        let version = Version::of(&object);
        let cost = cost(key, &object);
        if let Some(known) = self.entry(key)
            && known.version.is_same_object(&version)
            && !version.is_as_new_as(&known.version)
            && known.version.is_as_new_as(&version)
        {
            return 0;
        }
        self.forget(key);
        if cost > self.capacity || ttl.is_zero() {
            return 0;
        }
        let mut dropped = 0;
        while self.bytes.saturating_add(cost) > self.capacity {
            let Some(&(_, place)) = self.by_use.first() else {
                break;
            };
            self.remove(place);
            dropped += 1;
        }
        self.reads += 1;
        let entry = Entry {
            key: key.clone(),
            version,
            object,
            fetched: now,
            expires: now + ttl,
            used: self.reads,
        };
        let place = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            self.entries.len() - 1
        });
        self.bytes += cost;
        self.places.insert(key.clone(), place);
        self.by_use.insert((entry.used, place));
        self.by_expiry.insert((entry.expires, place));
        self.entries[place] = Some(entry);
        dropped
    }

    /// The watch has seen this state: an older body will never be served again, and goes.
    pub fn seen(&mut self, key: &BodyKey, version: &Version) {
        if let Some(known) = self.entry(key)
            && !(known.version.is_same_object(version) && known.version.is_as_new_as(version))
        {
            self.forget(key);
        }
    }

    /// Drops a body.
    pub fn forget(&mut self, key: &BodyKey) {
        if let Some(&place) = self.places.get(key) {
            self.remove(place);
        }
    }

    /// Drops what may not be served any more; answers how many that were.
    pub fn expire(&mut self, now: Time) -> usize {
        let mut dropped = 0;
        while let Some(&(expires, place)) = self.by_expiry.first()
            && expires <= now
        {
            self.remove(place);
            dropped += 1;
        }
        if self.is_empty() {
            // A burst is over: what it took to find its bodies goes too.
            *self = Self {
                reads: self.reads,
                ..Self::new(self.capacity)
            };
        }
        dropped
    }

    /// When [`expire`](Self::expire) will have something to drop.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Time> {
        self.by_expiry.first().map(|(expires, _)| *expires)
    }

    fn entry(&self, key: &BodyKey) -> Option<&Entry> {
        self.entries.get(*self.places.get(key)?)?.as_ref()
    }

    fn remove(&mut self, place: usize) {
        let Some(entry) = self.entries.get_mut(place).and_then(Option::take) else {
            return;
        };
        self.bytes = self.bytes.saturating_sub(entry.cost());
        self.places.remove(&entry.key);
        self.by_use.remove(&(entry.used, place));
        self.by_expiry.remove(&(entry.expires, place));
        self.free.push(place);
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a test that cannot go on says where by panicking"
    )]

    use super::*;
    use crate::object::ObjectParts;
    use proptest::prelude::*;

    const TTL: Duration = Duration::from_secs(130);

    fn at(seconds: u64) -> Time {
        Time::from_origin(Duration::from_secs(seconds))
    }

    fn key(name: &str) -> BodyKey {
        let resource = ResourceRef {
            group: String::new(),
            version: "v1".to_owned(),
            resource: "secrets".to_owned(),
        };
        BodyKey {
            filter: Filter::of(&resource, &[], &[]),
            identity: Identity::new("shop", name).unwrap(),
        }
    }

    fn version(uid: &str, resource_version: &str) -> Version {
        Version {
            uid: uid.into(),
            resource_version: resource_version.into(),
        }
    }

    /// A state of the object `name`, with a body of so many bytes.
    fn object(name: &str, (uid, resource_version): (&str, &str), bytes: usize) -> Arc<Object> {
        let parts = ObjectParts {
            identity: key(name).identity,
            uid,
            resource_version,
            body: &"x".repeat(bytes),
            uid_span: None,
            resource_version_span: None,
            keys: Vec::new(),
        };
        Arc::new(Object::new(parts).unwrap())
    }

    /// The size of the body that is served.
    fn served(bodies: &mut Bodies, now: Time, wanted: &Version) -> Option<usize> {
        let object = bodies.get(now, &key("a"), wanted, TTL)?;
        Some(object.body()?.as_str().len())
    }

    /// A cache that holds the body of `a` at this version, fetched at 0 s.
    fn holding(uid: &str, resource_version: &str) -> Bodies {
        let mut bodies = Bodies::new(1 << 20);
        bodies.put(
            at(0),
            &key("a"),
            object("a", (uid, resource_version), 10),
            TTL,
        );
        bodies
    }

    #[test]
    fn s6_versions_compare_as_integers_of_any_length_and_others_by_equality() {
        for (have, want, serves) in [
            (("u", "9"), ("u", "10"), false),
            (("u", "10"), ("u", "9"), true),
            (("u", "10"), ("u", "10"), true),
            (
                ("u", "340282366920938463463374607431768211457"),
                ("u", "340282366920938463463374607431768211456"),
                true,
            ),
            (("u", "abc"), ("u", "abc"), true),
            (("u", "abd"), ("u", "abc"), false),
            (("u", "010"), ("u", "9"), false),
            (("u", "-5"), ("u", "4"), false),
            (("u", ""), ("u", "1"), false),
            (("u", "1"), ("u", ""), true),
            (("", "11"), ("u", "10"), true),
            (("v", "10"), ("u", "10"), false),
            (("v", "11"), ("u", "10"), true),
            (("v", "x"), ("u", ""), false),
        ] {
            let (have, want) = (version(have.0, have.1), version(want.0, want.1));
            assert_eq!(have.is_as_new_as(&want), serves, "{have:?} for {want:?}");
        }
    }

    #[test]
    fn s6_a_body_is_served_until_its_ttl_is_over() {
        let mut bodies = holding("u", "5");
        let wanted = version("u", "5");
        assert!(bodies.get(at(129), &key("a"), &wanted, TTL).is_some());
        assert!(bodies.get(at(130), &key("a"), &wanted, TTL).is_none());
        // Another store of the same bodies may be stricter.
        let short = Duration::from_secs(10);
        assert!(bodies.get(at(9), &key("a"), &wanted, short).is_some());
        assert!(bodies.get(at(10), &key("a"), &wanted, short).is_none());
    }

    #[test]
    fn s6_a_body_older_than_the_watched_version_or_of_another_object_is_not_served() {
        for (wanted, serves) in [
            (version("u", "5"), true),
            (version("u", "4"), true),
            (version("u", "6"), false),
            (version("v", "4"), false),
        ] {
            let found = holding("u", "5").get(at(1), &key("a"), &wanted, TTL);
            assert_eq!(found.is_some(), serves, "{wanted:?}");
        }
    }

    #[test]
    fn s6_an_older_body_never_takes_the_place_of_a_newer_one() {
        let mut bodies = holding("u", "5");
        bodies.put(at(1), &key("a"), object("a", ("u", "4"), 20), TTL);
        assert_eq!(served(&mut bodies, at(1), &version("u", "5")), Some(10));
        bodies.put(at(1), &key("a"), object("a", ("u", "6"), 20), TTL);
        assert_eq!(served(&mut bodies, at(1), &version("u", "6")), Some(20));
        // Nothing says which is newer: the one that was fetched last.
        bodies.put(at(1), &key("a"), object("a", ("u", "x"), 30), TTL);
        assert_eq!(served(&mut bodies, at(1), &version("u", "x")), Some(30));
        assert_eq!(bodies.len(), 1);
    }

    #[test]
    fn s6_what_the_watch_has_overtaken_is_dropped_at_once() {
        for (seen, stays) in [
            (version("u", "5"), true),
            (version("u", "4"), true),
            (version("u", "6"), false),
            (version("v", "6"), false),
        ] {
            let mut bodies = holding("u", "5");
            bodies.seen(&key("a"), &seen);
            assert_eq!(bodies.len(), usize::from(stays), "{seen:?}");
            assert_eq!(bodies.bytes() > 0, stays);
        }
    }

    #[test]
    fn s6_the_body_that_was_not_read_for_longest_makes_room() {
        let of = |name: &str, bytes| object(name, ("", ""), bytes);
        let cost = cost(&key("a"), &of("a", 1_000));
        let mut bodies = Bodies::new(3 * cost);
        let any = Version::default();
        for name in ["a", "b", "c"] {
            let dropped = bodies.put(at(0), &key(name), of(name, 1_000), TTL);
            assert_eq!(dropped, 0);
        }
        assert!(bodies.get(at(1), &key("a"), &any, TTL).is_some());
        assert_eq!(bodies.put(at(1), &key("d"), of("d", 1_000), TTL), 1);
        let held: Vec<_> = ["a", "b", "c", "d"]
            .into_iter()
            .filter(|name| bodies.get(at(2), &key(name), &any, TTL).is_some())
            .collect();
        assert_eq!(held, ["a", "c", "d"]);
        // What is larger than everything that is allowed is not kept, and drops nothing.
        bodies.put(at(2), &key("e"), of("e", 3 * cost), TTL);
        assert_eq!((bodies.len(), bodies.bytes()), (3, 3 * cost));
    }

    #[test]
    fn s6_expired_bodies_give_their_memory_back() {
        let mut bodies = holding("u", "5");
        bodies.put(
            at(0),
            &key("b"),
            object("b", ("", ""), 10),
            Duration::from_secs(10),
        );
        assert_eq!(bodies.next_expiry(), Some(at(10)));
        assert_eq!(bodies.expire(at(10)), 1);
        assert_eq!(bodies.next_expiry(), Some(at(130)));
        assert_eq!(bodies.expire(at(130)), 1);
        assert_eq!(
            (bodies.len(), bodies.bytes(), bodies.next_expiry()),
            (0, 0, None)
        );
    }

    proptest! {
        #[test]
        fn s6_the_bytes_never_exceed_the_cap_and_agree_with_what_is_held(
            steps in prop::collection::vec((0..6_u8, 0..8_usize, 0..2_000_usize, 0..200_u64), 1..200),
        ) {
            let mut bodies = Bodies::new(4_000);
            for (step, which, size, moment) in steps {
                let name = format!("o{which}");
                let key = key(&name);
                let number = (moment + 1).to_string();
                let version = version("u", &number);
                match step {
                    0..=2 => {
                        bodies.put(at(moment), &key, object(&name, ("u", &number), size), TTL);
                    }
                    3 => drop(bodies.get(at(moment), &key, &version, TTL)),
                    4 => bodies.seen(&key, &version),
                    _ => {
                        bodies.expire(at(moment));
                    }
                }
                let held: usize = bodies.entries.iter().flatten().map(Entry::cost).sum();
                prop_assert!(bodies.bytes() <= 4_000);
                prop_assert_eq!(bodies.bytes(), held);
                prop_assert_eq!(bodies.by_use.len(), bodies.len());
                prop_assert_eq!(bodies.by_expiry.len(), bodies.len());
                prop_assert_eq!(bodies.free.len() + bodies.len(), bodies.entries.len());
            }
        }
    }
}
