//! Owns the finding of repeated member names, of which a tree keeps only the last.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::{collections::HashSet, fmt};

/// Whether some object in this valid JSON text names a member twice.
pub(crate) fn repeats_a_name(json: &[u8]) -> bool {
    serde_json::from_slice::<Unique>(json).is_ok_and(|Unique(unique)| !unique)
}

/// Whether all names are unique in a value.
struct Unique(bool);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Look;
        impl<'de> Visitor<'de> for Look {
            type Value = Unique;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Unique, A::Error> {
                let mut names = HashSet::new();
                let mut unique = true;
                while let Some((name, Unique(below))) = map.next_entry::<String, _>()? {
                    unique &= below && names.insert(name);
                }
                Ok(Unique(unique))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Unique, A::Error> {
                let mut unique = true;
                while let Some(Unique(below)) = seq.next_element()? {
                    unique &= below;
                }
                Ok(Unique(unique))
            }

            fn visit_unit<E>(self) -> Result<Unique, E> {
                Ok(Unique(true))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Unique, E> {
                Ok(Unique(true))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Unique, E> {
                Ok(Unique(true))
            }

            fn visit_u64<E>(self, _: u64) -> Result<Unique, E> {
                Ok(Unique(true))
            }

            fn visit_f64<E>(self, _: f64) -> Result<Unique, E> {
                Ok(Unique(true))
            }

            fn visit_str<E>(self, _: &str) -> Result<Unique, E> {
                Ok(Unique(true))
            }
        }
        deserializer.deserialize_any(Look)
    }
}
