//! Where outputs go, as typed: a directory, standard output, or an object of the
//! cluster. Owns the words; opens nothing.

use std::{
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use haptic_core::shard::Shard;

/// Where the outputs of a plugin go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutputTarget {
    /// `DIR`: files below a directory.
    Directory(PathBuf),
    /// `-`: standard output.
    Stdout,
    /// `configmap:[NAMESPACE/]NAME` or `secret:[NAMESPACE/]NAME`: keys of an object.
    Object(ObjectTarget),
}

/// A ConfigMap or a Secret whose keys are outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectTarget {
    /// Which of the two.
    pub kind: ObjectKind,
    /// Its namespace; `None`: the host's own.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

/// The kinds of objects that can hold outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectKind {
    /// Texts in `data`, anything else in `binaryData`.
    ConfigMap,
    /// Everything in `data`, as base64.
    Secret,
}

/// Why a text is no target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Nothing was given.
    #[error("an output is a directory, `-`, `configmap:NAME` or `secret:NAME`; this is empty")]
    Empty,
    /// A word and a colon, but no kind of object.
    #[error(
        "{word:?} is no kind of object that takes outputs: write `configmap:[NAMESPACE/]NAME` or `secret:[NAMESPACE/]NAME`, or `./{text}` for a directory of this name"
    )]
    Kind {
        /// What stands before the colon.
        word: String,
        /// All of it.
        text: String,
    },
    /// A name that no object can have.
    #[error(
        "{name:?} is no name of a {kind}: lower-case letters, digits, `-` and `.`, 253 at most"
    )]
    Name {
        /// The kind.
        kind: ObjectKind,
        /// The name.
        name: String,
    },
    /// Names of shards where there are none.
    #[error("{0} stands for a shard's number, and this host is no shard: give --shard")]
    NoShard(OutputTarget),
    /// Several hosts would write one and the same.
    #[error(
        "{target} would be written by all {count} shards: give each its own, such as {target}{}{{shard}}",
        separator(.target)
    )]
    Shared {
        /// The target.
        target: OutputTarget,
        /// How many shards there are.
        count: u32,
    },
    /// A name that no namespace can have.
    #[error("{0:?} is no name of a namespace: lower-case letters, digits and `-`, 63 at most")]
    Namespace(String),
}

impl OutputTarget {
    /// What a hook is told: a directory absolute, the others as they are typed.
    pub(crate) fn place(&self) -> OsString {
        match self {
            Self::Directory(path) => std::path::absolute(path)
                .unwrap_or_else(|_| path.clone())
                .into_os_string(),
            Self::Stdout | Self::Object(_) => self.to_string().into(),
        }
    }

    /// The same, with a relative directory taken from `base`.
    #[must_use]
    pub fn relative_to(self, base: &Path) -> Self {
        match self {
            Self::Directory(path) => Self::Directory(base.join(path)),
            Self::Stdout | Self::Object(_) => self,
        }
    }

    /// The same, with `{shard}` and `{shards}` in its name or path replaced by the shard's number
    /// and how many there are. `taking_turns`: other hosts may write to the directory too, and
    /// nothing but its name keeps those of other shards out.
    ///
    /// # Errors
    /// [`TargetError::NoShard`], and [`TargetError::Shared`] for an object, or such a directory,
    /// that is every shard's.
    pub fn in_shard(self, shard: Option<Shard>, taking_turns: bool) -> Result<Self, TargetError> {
        let text = match &self {
            // A path that is no text holds whatever it holds.
            Self::Directory(path) => path.to_str().unwrap_or_default(),
            Self::Object(object) => &object.name,
            Self::Stdout => return Ok(self),
        };
        let (own, named) = (text.contains(SHARD), text.contains(SHARDS));
        let Some(shard) = shard else {
            return match own || named {
                true => Err(TargetError::NoShard(self)),
                false => Ok(self),
            };
        };
        let shareable = match &self {
            Self::Directory(_) => !taking_turns,
            Self::Object(_) => false,
            Self::Stdout => true,
        };
        if !own && !shareable && shard.count() > 1 {
            let count = shard.count();
            return Err(TargetError::Shared {
                target: self,
                count,
            });
        }
        if !own && !named {
            return Ok(self);
        }
        let filled = filled(text, &shard.index().to_string(), &shard.count().to_string());
        Ok(match self {
            Self::Directory(_) => Self::Directory(PathBuf::from(filled)),
            Self::Object(object) => Self::Object(ObjectTarget {
                name: filled,
                ..object
            }),
            Self::Stdout => self,
        })
    }

    /// The same, with an object's namespace given: `own`, unless it names one.
    ///
    /// # Errors
    /// The object that has none.
    pub fn in_namespace(mut self, own: Option<&str>) -> Result<Self, ObjectTarget> {
        if let Self::Object(object) = &mut self
            && object.namespace.is_none()
        {
            match own {
                Some(own) => object.namespace = Some(own.to_owned()),
                None => return Err(object.clone()),
            }
        }
        Ok(self)
    }
}

impl ObjectTarget {
    /// Its namespace. An object whose namespace nobody has named is in `default`, as
    /// for kubectl.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or("default")
    }
}

impl ObjectKind {
    /// The kind, as in `kind:`.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        }
    }

    /// The resource, as in a URL and in a Role; of the core group.
    #[must_use]
    pub fn resource(self) -> &'static str {
        match self {
            Self::ConfigMap => "configmaps",
            Self::Secret => "secrets",
        }
    }

    /// What stands before the colon.
    fn word(self) -> &'static str {
        match self {
            Self::ConfigMap => "configmap",
            Self::Secret => "secret",
        }
    }
}

impl FromStr for OutputTarget {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        match text {
            "" => return Err(TargetError::Empty),
            "-" => return Ok(Self::Stdout),
            _ => {}
        }
        // `./configmap:x` is a directory, and so is `/var/a:b`.
        let Some((word, object)) = text
            .split_once(':')
            .filter(|(word, _)| !word.contains(['/', '.']))
        else {
            return Ok(Self::Directory(PathBuf::from(text)));
        };
        let kind = [ObjectKind::ConfigMap, ObjectKind::Secret]
            .into_iter()
            .find(|kind| kind.word() == word)
            .ok_or_else(|| TargetError::Kind {
                word: word.to_owned(),
                text: text.to_owned(),
            })?;
        let (namespace, name) = match object.split_once('/') {
            Some((namespace, name)) => (Some(namespace), name),
            None => (None, object),
        };
        if let Some(namespace) = namespace
            && !(namespace.len() <= 63 && is_label(namespace))
        {
            return Err(TargetError::Namespace(namespace.to_owned()));
        }
        // As long as it may become.
        let filled = filled(name, "999", "999");
        if filled.len() > 253 || !filled.split('.').all(is_label) {
            return Err(TargetError::Name {
                kind,
                name: name.to_owned(),
            });
        }
        Ok(Self::Object(ObjectTarget {
            kind,
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        }))
    }
}

/// What stands for the number of the shard that writes, and for how many there are.
const SHARD: &str = "{shard}";
const SHARDS: &str = "{shards}";

/// The text with these numbers in it.
pub(crate) fn filled(text: &str, index: &str, count: &str) -> String {
    text.replace(SHARD, index).replace(SHARDS, count)
}

/// What is put between the name of a target and a number.
fn separator(target: &OutputTarget) -> &'static str {
    match target {
        OutputTarget::Directory(_) => "/",
        OutputTarget::Stdout | OutputTarget::Object(_) => "-",
    }
}

/// What may stand between two dots of an object's name (RFC 1123).
fn is_label(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.first().is_some_and(|&first| plain(first))
        && bytes.last().is_some_and(|&last| plain(last))
        && bytes.iter().all(|&byte| plain(byte) || byte == b'-')
}

impl fmt::Display for OutputTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => write!(f, "{}", path.display()),
            Self::Stdout => f.write_str("-"),
            Self::Object(object) => {
                write!(f, "{}:", object.kind.word())?;
                if let Some(namespace) = &object.namespace {
                    write!(f, "{namespace}/")?;
                }
                f.write_str(&object.name)
            }
        }
    }
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}

/// As in `ConfigMap shop/render`.
impl fmt::Display for ObjectTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.kind)?;
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn object(kind: ObjectKind, namespace: Option<&str>, name: &str) -> OutputTarget {
        OutputTarget::Object(ObjectTarget {
            kind,
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        })
    }

    #[test]
    fn o2_a_target_is_a_directory_standard_output_or_an_object() {
        let directory = |path: &str| OutputTarget::Directory(PathBuf::from(path));
        let (map, secret) = (ObjectKind::ConfigMap, ObjectKind::Secret);
        for (text, target) in [
            ("-", OutputTarget::Stdout),
            ("/etc/render", directory("/etc/render")),
            ("out", directory("out")),
            ("./configmap:x", directory("./configmap:x")),
            ("/var/a:b", directory("/var/a:b")),
            ("../a:b", directory("../a:b")),
            ("configmap:x", object(map, None, "x")),
            ("configmap:shop/x.y", object(map, Some("shop"), "x.y")),
            ("secret:shop/x-1", object(secret, Some("shop"), "x-1")),
        ] {
            assert_eq!(text.parse::<OutputTarget>().unwrap(), target, "{text}");
            assert_eq!(target.to_string(), text, "it is shown as it is typed");
        }
    }

    #[test]
    fn o2_a_target_that_is_none_is_refused_with_what_to_write() {
        for (text, sentence) in [
            ("", "an output is a directory, `-`"),
            ("configmaps:x", "or `./configmaps:x` for a directory"),
            ("ConfigMap:x", "\"ConfigMap\" is no kind of object"),
            ("configmap:", "\"\" is no name of a ConfigMap"),
            ("secret:a/b/c", "\"b/c\" is no name of a Secret"),
            ("secret:a/", "\"\" is no name of a Secret"),
            ("configmap:/b", "\"\" is no name of a namespace"),
            ("configmap:a.b/c", "\"a.b\" is no name of a namespace"),
            ("configmap:Shop", "\"Shop\" is no name of a ConfigMap"),
            ("configmap:a..b", "\"a..b\" is no name of a ConfigMap"),
        ] {
            let error = text.parse::<OutputTarget>().unwrap_err().to_string();
            assert!(error.contains(sentence), "{text}: {error}");
        }
        let long = format!("configmap:{}/x", "a".repeat(64));
        assert!(long.parse::<OutputTarget>().is_err());
    }

    #[test]
    fn o2_an_object_is_in_the_hosts_own_namespace_unless_it_names_one() {
        let target = |text: &str| text.parse::<OutputTarget>().unwrap();
        for (text, own, meant) in [
            ("configmap:x", Some("shop"), Some("configmap:shop/x")),
            ("configmap:a/x", Some("shop"), Some("configmap:a/x")),
            ("configmap:a/x", None, Some("configmap:a/x")),
            ("configmap:x", None, None),
            ("out", None, Some("out")),
        ] {
            let found = target(text).in_namespace(own).ok();
            assert_eq!(found, meant.map(target), "{text}");
        }
        let base = Path::new("/etc/haptic");
        assert_eq!(target("out").relative_to(base), target("/etc/haptic/out"));
        assert_eq!(target("secret:x").relative_to(base), target("secret:x"));
    }

    #[test]
    fn each_shard_writes_to_a_target_of_its_own() {
        use haptic_core::shard::{Shard, ShardBy};

        let shard = |text: Option<&str>| {
            let (index, count) = text?.split_once('/').unwrap();
            let numbers = (index.parse().unwrap(), count.parse().unwrap());
            Some(Shard::new(numbers.0, numbers.1, ShardBy::Namespace).unwrap())
        };
        for (text, own, taking_turns, meant) in [
            ("configmap:x-{shard}", Some("2/4"), false, "configmap:x-2"),
            (
                "secret:shop/x-{shard}-of-{shards}.y",
                Some("11/16"),
                true,
                "secret:shop/x-11-of-16.y",
            ),
            ("configmap:x", Some("0/1"), true, "configmap:x"),
            ("configmap:x", None, true, "configmap:x"),
            ("/out/{shard}", Some("2/4"), true, "/out/2"),
            ("/out", Some("2/4"), false, "/out"),
            ("/out/{shards}", Some("2/4"), false, "/out/4"),
            ("/out", None, true, "/out"),
            ("-", Some("2/4"), true, "-"),
        ] {
            let target: OutputTarget = text.parse().unwrap();
            assert_eq!(target.to_string(), text);
            let found = target.in_shard(shard(own), taking_turns).unwrap();
            assert_eq!(found.to_string(), meant, "{text}");
        }
        for (text, own, taking_turns, sentence) in [
            (
                "configmap:shop/x",
                Some("2/4"),
                false,
                "configmap:shop/x would be written by all 4 shards: give each its own, such as configmap:shop/x-{shard}",
            ),
            (
                "secret:x-{shards}",
                Some("2/4"),
                false,
                "secret:x-{shards} would be written by all 4 shards: give each its own, such as secret:x-{shards}-{shard}",
            ),
            (
                "/out",
                Some("2/4"),
                true,
                "/out would be written by all 4 shards: give each its own, such as /out/{shard}",
            ),
            (
                "configmap:x-{shard}",
                None,
                false,
                "configmap:x-{shard} stands for a shard's number, and this host is no shard: give --shard",
            ),
        ] {
            let target: OutputTarget = text.parse().unwrap();
            let error = target.in_shard(shard(own), taking_turns).unwrap_err();
            assert_eq!(error.to_string(), sentence);
        }
        assert!("configmap:x-{pod}".parse::<OutputTarget>().is_err());
    }
}
