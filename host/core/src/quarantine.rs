//! The objects of one store that could not be decoded (contract W8): how many times that
//! happened, and which they are now. Keeps no bytes of them.

use std::collections::BTreeMap;

use crate::Identity;

/// Objects that are remembered: what a person can read. Those beyond are counted.
pub const MAX_LISTED: usize = 100;

/// Characters of an error that are remembered.
const MAX_ERROR: usize = 300;

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub struct Quarantine {
    total: u64,
    listed: BTreeMap<Identity, Entry>,
    /// Why the last one could not be decoded that had no name to read.
    nameless: Option<String>,
    /// For each source of the store, which of its lists is under way or was the last.
    lists: BTreeMap<usize, u64>,
}

#[derive(Clone, Debug)]
struct Entry {
    error: String,
    source: usize,
    list: u64,
}

impl Quarantine {
    /// Whether this is worth a line in the log: the same object may come again with each
    /// list, and there may be more of them than anybody reads about.
    #[must_use]
    pub fn is_news(&self, identity: Option<&Identity>, error: &str) -> bool {
        match identity {
            None => self.nameless.as_deref() != Some(cut(error)),
            Some(identity) => match self.listed.get(identity) {
                Some(known) => known.error != cut(error),
                None => self.listed.len() < MAX_LISTED,
            },
        }
    }

    /// Takes in an object that could not be decoded, with its identity if that much could
    /// be read.
    pub fn add(&mut self, source: usize, identity: Option<&Identity>, error: &str) {
        self.total = self.total.saturating_add(1);
        let error = cut(error).to_owned();
        let Some(identity) = identity else {
            self.nameless = Some(error);
            return;
        };
        if self.listed.len() < MAX_LISTED || self.listed.contains_key(identity) {
            let list = self.lists.get(&source).copied().unwrap_or(0);
            let entry = Entry {
                error,
                source,
                list,
            };
            self.listed.insert(identity.clone(), entry);
        }
    }

    /// The object can be read again, or is gone.
    pub fn release(&mut self, identity: &Identity) {
        self.listed.remove(identity);
    }

    /// A source begins to list its objects.
    pub fn list_begins(&mut self, source: usize) {
        *self.lists.entry(source).or_default() += 1;
    }

    /// It has listed them all: what was not among them is gone.
    pub fn list_ends(&mut self, source: usize) {
        let list = self.lists.get(&source).copied().unwrap_or(0);
        self.listed
            .retain(|_, entry| entry.source != source || entry.list == list);
    }

    /// A source has no objects any more.
    pub fn clear(&mut self, source: usize) {
        self.listed.retain(|_, entry| entry.source != source);
    }

    /// How many times an object could not be decoded.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The objects that cannot be read now and why, in order of (namespace, name); at most
    /// [`MAX_LISTED`].
    pub fn iter(&self) -> impl Iterator<Item = (&Identity, &str)> {
        self.listed
            .iter()
            .map(|(identity, entry)| (identity, entry.error.as_str()))
    }
}

fn cut(error: &str) -> &str {
    error
        .char_indices()
        .nth(MAX_ERROR)
        .map_or(error, |(end, _)| &error[..end])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn identity(name: &str) -> Identity {
        Identity::new("shop", name).unwrap()
    }

    fn names(quarantine: &Quarantine) -> Vec<&str> {
        quarantine
            .iter()
            .map(|(identity, _)| identity.name())
            .collect()
    }

    #[test]
    fn w8_an_object_is_listed_until_it_can_be_read_or_is_gone() {
        let mut quarantine = Quarantine::default();
        quarantine.list_begins(0);
        quarantine.add(0, Some(&identity("b")), "bad");
        quarantine.add(0, Some(&identity("a")), "bad");
        quarantine.add(1, Some(&identity("c")), "bad");
        quarantine.list_ends(0);
        assert_eq!(names(&quarantine), ["a", "b", "c"]);
        quarantine.release(&identity("b"));
        assert_eq!(names(&quarantine), ["a", "c"]);
        // Another list of the first source, in which `a` is not.
        quarantine.list_begins(0);
        quarantine.list_ends(0);
        assert_eq!(names(&quarantine), ["c"]);
        quarantine.clear(1);
        assert!(names(&quarantine).is_empty());
        assert_eq!(quarantine.total(), 3);
    }

    #[test]
    fn w8_the_same_error_again_is_counted_and_no_news() {
        let mut quarantine = Quarantine::default();
        let a = identity("a");
        for (who, error, news) in [
            (Some(&a), "bad", true),
            (Some(&a), "bad", false),
            (Some(&a), "worse", true),
            (None, "bad", true),
            (None, "bad", false),
            (None, "worse", true),
        ] {
            assert_eq!(quarantine.is_news(who, error), news, "{who:?} {error}");
            quarantine.add(0, who, error);
        }
        assert_eq!(quarantine.total(), 6);
        assert_eq!(quarantine.iter().collect::<Vec<_>>(), [(&a, "worse")]);
    }

    #[test]
    fn w8_no_more_are_remembered_than_can_be_read() {
        let mut quarantine = Quarantine::default();
        let long = "ü".repeat(100_000);
        for n in 0..MAX_LISTED + 7 {
            let object = identity(&format!("o{n}"));
            assert_eq!(quarantine.is_news(Some(&object), &long), n < MAX_LISTED);
            quarantine.add(0, Some(&object), &long);
        }
        assert_eq!(quarantine.iter().count(), MAX_LISTED);
        assert!(
            quarantine
                .iter()
                .all(|(_, error)| error.chars().count() == MAX_ERROR)
        );
        assert_eq!(quarantine.total(), 107);
    }
}
