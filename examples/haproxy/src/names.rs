//! The only texts from the cluster that reach the configuration. Each type holds what has been
//! checked to be one harmless word there: no white space, no quotes, no control characters. So an
//! Ingress author cannot write lines into the proxy's configuration, whatever the API server let
//! through.

use std::fmt;

/// Longer than anything Kubernetes accepts as a name; keeps lines of the configuration short.
const LONGEST_NAME: usize = 253;
/// What common proxies accept as a request line.
const LONGEST_PATH: usize = 4096;

/// A namespace, Service or Secret: lower-case letters, digits, `-` and `.`. It cannot contain `_`,
/// which therefore separates names unambiguously.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(String);

/// The host of a rule: a DNS name, or one with `*` as its first label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Host(String);

/// The path of a rule: begins with `/`, printable ASCII without spaces.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RulePath(String);

impl Name {
    /// `None` if it is no such name.
    pub fn parse(text: &str) -> Option<Self> {
        is_dns_name(text).then(|| Name(text.to_owned()))
    }
}

impl Host {
    /// `None` if it is no such host.
    pub fn parse(text: &str) -> Option<Self> {
        let name = text.strip_prefix("*.").unwrap_or(text);
        is_dns_name(name).then(|| Host(text.to_owned()))
    }
}

impl RulePath {
    /// `None` if it is no such path.
    pub fn parse(text: &str) -> Option<Self> {
        let harmless = text.starts_with('/')
            && text.len() <= LONGEST_PATH
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        harmless.then(|| RulePath(text.to_owned()))
    }

    /// Its elements with a `/` before and after each: `/foo` and `/foo/` are `/foo/`.
    pub fn as_elements(&self) -> String {
        format!("{}/", self.0.trim_end_matches('/'))
    }
}

fn is_dns_name(text: &str) -> bool {
    text.len() <= LONGEST_NAME
        && text.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        })
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for RulePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_break_out_of_their_word() {
        for good in ["web", "api-v2", "a.b", "0"] {
            assert!(Name::parse(good).is_some(), "{good:?}");
        }
        for bad in [
            "", "a b", "a_b", "Web", "a\nb", "-a", "a-", "a..b", "a\"", "é", "#", "a/b",
        ] {
            assert!(Name::parse(bad).is_none(), "{bad:?}");
        }
        assert!(Name::parse(&"a".repeat(254)).is_none());
    }

    #[test]
    fn hosts_are_dns_names_or_one_wildcard_label() {
        for good in ["shop.example", "*.shop.example"] {
            assert!(Host::parse(good).is_some(), "{good:?}");
        }
        for bad in [
            "",
            "*",
            "*.",
            "a.*.b",
            "*.*.b",
            "Shop.example",
            "a b",
            "a\nbackend x",
            "a:80",
        ] {
            assert!(Host::parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn paths_are_printable_and_absolute() {
        for good in ["/", "/a/b.html", "/~a#b?c", "/%20"] {
            assert!(RulePath::parse(good).is_some(), "{good:?}");
        }
        for bad in [
            "", "a", "/a b", "/a\tb", "/a\nb", "/a\rb", "/a\0", "/é", "/\u{7f}",
        ] {
            assert!(RulePath::parse(bad).is_none(), "{bad:?}");
        }
        assert!(RulePath::parse(&"/".repeat(4097)).is_none());
    }

    #[test]
    fn a_trailing_slash_makes_no_difference_to_the_elements() {
        let elements = |path: &str| RulePath::parse(path).map(|path| path.as_elements());
        assert_eq!(elements("/foo").as_deref(), Some("/foo/"));
        assert_eq!(elements("/foo/").as_deref(), Some("/foo/"));
        assert_eq!(elements("/").as_deref(), Some("/"));
    }
}
