//! Which key of an object holds an output. A key has letters, digits, `-`, `_` and
//! `.` only, so a `/` is written `..`: `certs/shop.pem` is `certs..shop.pem`. Names
//! for which that could mean two outputs are refused, so no two names share a key.

use crate::plugin::OutputName;

/// Longest key in bytes, as the API server has it.
const LONGEST: usize = 253;

/// Why an output cannot be a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A character that no key may have.
    #[error("keys have letters, digits, `-`, `_` and `.` only, and `/` in a name becomes `..`")]
    Character,
    /// Dots that would read as a `/`.
    #[error(
        "`/` becomes `..` in a key, so a name may not have `..` itself, nor a `.` beside a `/`"
    )]
    Dots,
    /// Too long.
    #[error("as a key it is longer than 253 bytes")]
    Long,
}

/// The key of an output.
pub(super) fn key(name: &OutputName) -> Result<String, KeyError> {
    let name = name.as_str();
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    if !name.chars().all(legal) {
        return Err(KeyError::Character);
    }
    if ["..", "./", "/."].iter().any(|dots| name.contains(dots)) || name == "." {
        return Err(KeyError::Dots);
    }
    let key = name.replace('/', "..");
    match key.len() <= LONGEST {
        true => Ok(key),
        false => Err(KeyError::Long),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::collections::HashMap;

    use super::*;

    fn check(name: &str, expected: Result<&str, KeyError>) {
        let name = OutputName::parse(name).unwrap();
        assert_eq!(key(&name), expected.map(str::to_owned), "{name}");
    }

    #[test]
    fn o2_a_slash_becomes_two_dots_and_what_could_be_mistaken_for_it_is_refused() {
        check("haproxy.cfg", Ok("haproxy.cfg"));
        check("certs/shop_tls.pem", Ok("certs..shop_tls.pem"));
        check("a/b/c", Ok("a..b..c"));
        check(".hidden", Ok(".hidden"));
        check("end.", Ok("end."));
        check("a..b", Err(KeyError::Dots));
        check("a/.b", Err(KeyError::Dots));
        check("a./b", Err(KeyError::Dots));
        check("..a", Err(KeyError::Dots));
        check("a b", Err(KeyError::Character));
        check("größe", Err(KeyError::Character));
        check(&"x/".repeat(84), Ok(&"x..".repeat(84)[..250]));
        check(&"x/".repeat(86), Err(KeyError::Long));
    }

    #[test]
    fn o2_no_two_names_share_a_key() {
        // All names of up to six of these.
        let mut texts = vec![String::new()];
        for _ in 0..6 {
            let longer: Vec<String> = texts
                .iter()
                .flat_map(|text| ["a", ".", "/"].map(|next| format!("{text}{next}")))
                .collect();
            texts.extend(longer);
        }
        let mut names: HashMap<String, OutputName> = HashMap::new();
        for text in texts {
            let Ok(name) = OutputName::parse(&text) else {
                continue;
            };
            if let Ok(key) = key(&name) {
                assert!(!key.starts_with(".."), "the API server refuses {key}");
                let other = names.insert(key, name.clone());
                assert!(other.is_none_or(|other| other == name), "{name}");
            }
        }
        assert!(names.len() > 20, "{names:?}");
    }
}
