//! From what an author writes (YAML, JSON values, files, folders) to objects, and from
//! kinds to resources.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use serde_json::Value;

/// Objects for [`given`](crate::Harness::given) and [`apply`](crate::Harness::apply).
///
/// Made from YAML or JSON text (several documents, `kind: List` too), from a
/// [`serde_json::Value`], or from a [`Path`]: a file, or a folder with its subfolders, of
/// whose files those that end in `.yaml`, `.yml` or `.json` are read, in order of their
/// names.
#[derive(Clone, Debug)]
pub struct Objects(Source);

#[derive(Clone, Debug)]
enum Source {
    Text(String),
    Value(Value),
    Path(PathBuf),
}

impl From<&str> for Objects {
    fn from(text: &str) -> Self {
        Self(Source::Text(text.to_owned()))
    }
}

impl From<String> for Objects {
    fn from(text: String) -> Self {
        Self(Source::Text(text))
    }
}

impl From<&String> for Objects {
    fn from(text: &String) -> Self {
        Self(Source::Text(text.clone()))
    }
}

impl From<Value> for Objects {
    fn from(value: Value) -> Self {
        Self(Source::Value(value))
    }
}

impl From<&Value> for Objects {
    fn from(value: &Value) -> Self {
        Self(Source::Value(value.clone()))
    }
}

impl From<&Path> for Objects {
    fn from(path: &Path) -> Self {
        Self(Source::Path(path.to_owned()))
    }
}

impl From<PathBuf> for Objects {
    fn from(path: PathBuf) -> Self {
        Self(Source::Path(path))
    }
}

impl From<&PathBuf> for Objects {
    fn from(path: &PathBuf) -> Self {
        Self(Source::Path(path.clone()))
    }
}

/// Why objects were not taken. Nothing of what came with them was taken either.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// A file or a folder that cannot be read.
    #[error("{}: {why}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// Text that is no YAML.
    #[error("{place}: the YAML is broken: {why}")]
    Yaml {
        /// `line 3`, or `shop.yaml:3`.
        place: String,
        /// Why.
        why: String,
    },
    /// A value without `apiVersion`, `kind` or `metadata.name`.
    #[error("{place}: the object has no {missing}")]
    Shape {
        /// Where it starts.
        place: String,
        /// What it lacks.
        missing: String,
    },
    /// No watch is of this resource.
    #[error(
        "{object}: the plugin watches no {resource}; it watches\n{watches}\n(`ignore_unwatched()` lets such objects pass, `kind(\"Kind\", \"plurals\")` tells a plural)"
    )]
    Unwatched {
        /// Kind, namespace and name.
        object: String,
        /// The resource that the kind was taken for.
        resource: String,
        /// The plugin's watches, a line each.
        watches: String,
    },
    /// The host would quarantine it (contract W8).
    #[error("{object}: the watch `{watch}` cannot store it: {why}")]
    Undecodable {
        /// Kind, namespace and name.
        object: String,
        /// The watch.
        watch: String,
        /// Why.
        why: String,
    },
    /// There is nothing to delete.
    #[error("there is no {object} to delete; there are\n{existing}")]
    Absent {
        /// Kind, namespace and name.
        object: String,
        /// Objects of that resource, a line each.
        existing: String,
    },
}

/// A value and where it was written.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) place: String,
    pub(crate) value: Value,
}

impl Objects {
    pub(crate) fn read(self) -> Result<Vec<Placed>, ObjectError> {
        let mut found = Vec::new();
        match self.0 {
            Source::Text(text) => parse(&text, &|line| format!("line {line}"), &mut found)?,
            Source::Value(value) => {
                flatten(
                    Placed {
                        place: "the value".to_owned(),
                        value,
                    },
                    &mut found,
                );
            }
            Source::Path(path) => {
                let mut files = Vec::new();
                walk(&path, true, &mut files)?;
                for file in files {
                    let text = std::fs::read_to_string(&file).map_err(|e| unreadable(&file, &e))?;
                    let place = |line| format!("{}:{line}", file.display());
                    parse(&text, &place, &mut found)?;
                }
            }
        }
        for Placed { place, value } in &found {
            let has = |path: &[&str]| !text(value, path).is_empty();
            let missing = [&["apiVersion"][..], &["kind"], &["metadata", "name"]];
            let missing: Vec<_> = missing
                .into_iter()
                .filter(|path| !has(path))
                .map(|path| path.join("."))
                .collect();
            if !missing.is_empty() {
                let missing = missing.join(" and no ");
                return Err(ObjectError::Shape {
                    place: place.clone(),
                    missing,
                });
            }
        }
        Ok(found)
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> ObjectError {
    ObjectError::Unreadable {
        path: path.to_owned(),
        why: error.to_string(),
    }
}

/// Hidden entries are what editors leave behind.
fn walk(path: &Path, named: bool, files: &mut Vec<PathBuf>) -> Result<(), ObjectError> {
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy())
        .unwrap_or_default();
    if !named && name.starts_with('.') {
        return Ok(());
    }
    if path.is_dir() {
        let entries: Result<Vec<_>, _> = std::fs::read_dir(path)
            .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
        let mut entries = entries.map_err(|error| unreadable(path, &error))?;
        entries.sort();
        for entry in entries {
            walk(&entry, false, files)?;
        }
        return Ok(());
    }
    let extension = path.extension().and_then(|extension| extension.to_str());
    if named || matches!(extension, Some("yaml" | "yml" | "json")) {
        files.push(path.to_owned());
    }
    Ok(())
}

fn parse(
    text: &str,
    place: &dyn Fn(u64) -> String,
    found: &mut Vec<Placed>,
) -> Result<(), ObjectError> {
    // Documents are parted here, not by the parser, so that each has its own line.
    let mut documents = vec![(1, String::new())];
    for (number, line) in (1_u64..).zip(text.lines()) {
        let rest = line.strip_prefix("---").map(str::trim);
        if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('#')) {
            documents.push((number + 1, String::new()));
        } else if let Some((_, document)) = documents.last_mut() {
            document.push_str(line);
            document.push('\n');
        }
    }
    for (start, document) in documents {
        let blank = |line: &str| line.trim().is_empty() || line.trim().starts_with('#');
        let Some((first, _)) = (start..)
            .zip(document.lines())
            .find(|(_, line)| !blank(line))
        else {
            continue;
        };
        let options = serde_saphyr::options! { legacy_octal_numbers: true, with_snippet: false };
        let value = serde_saphyr::from_str_with_options::<Value>(&document, options);
        let value = value.map_err(|error| {
            let line = error
                .location()
                .map_or(first, |at| start + at.line().max(1) - 1);
            let why = error.without_snippet().to_string();
            let why = why.lines().next().unwrap_or_default().trim().to_owned();
            ObjectError::Yaml {
                place: place(line),
                why,
            }
        })?;
        if !value.is_null() {
            flatten(
                Placed {
                    place: place(first),
                    value,
                },
                found,
            );
        }
    }
    Ok(())
}

/// A list stands for its items, which need not repeat the type that it names.
fn flatten(placed: Placed, found: &mut Vec<Placed>) {
    let Placed { place, value } = placed;
    let list_kind = text(&value, &["kind"]).to_owned();
    let api_version = value.get("apiVersion").cloned();
    match value {
        Value::Object(mut map)
            if list_kind.ends_with("List") && map.get("items").is_some_and(Value::is_array) =>
        {
            let Some(Value::Array(items)) = map.remove("items") else {
                return;
            };
            let kind = list_kind.trim_end_matches("List");
            for mut item in items {
                if let (Some(item), false) = (item.as_object_mut(), kind.is_empty()) {
                    item.entry("kind").or_insert_with(|| kind.into());
                    if let Some(version) = &api_version {
                        item.entry("apiVersion").or_insert_with(|| version.clone());
                    }
                }
                flatten(
                    Placed {
                        place: place.clone(),
                        value: item,
                    },
                    found,
                );
            }
        }
        Value::Array(items) => {
            for value in items {
                flatten(
                    Placed {
                        place: place.clone(),
                        value,
                    },
                    found,
                );
            }
        }
        value => found.push(Placed { place, value }),
    }
}

/// The text at a path; empty when there is none.
pub(crate) fn text<'a>(value: &'a Value, path: &[&str]) -> &'a str {
    path.iter()
        .try_fold(value, |value, name| value.get(name))
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Which object: type, then namespace and name, so that objects of one type are in the
/// order of a list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) api_version: String,
    pub(crate) plural: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            plural,
            namespace,
            name,
            ..
        } = self;
        match namespace.as_str() {
            "" => write!(f, "{plural} {name}"),
            namespace => write!(f, "{plural} {namespace}/{name}"),
        }
    }
}

/// Which resource a kind is, and whether it has namespaces.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kinds {
    registered: BTreeMap<String, (String, bool)>,
}

impl Kinds {
    pub(crate) fn register(&mut self, kind: &str, plural: &str, namespaced: bool) {
        self.registered
            .insert(kind.to_owned(), (plural.to_owned(), namespaced));
    }

    /// The key of an object; a kind with namespaces has `default` for none, as with kubectl.
    pub(crate) fn key(&self, value: &Value) -> Key {
        let api_version = text(value, &["apiVersion"]);
        let at = |field| text(value, &["metadata", field]);
        self.key_of(
            api_version,
            text(value, &["kind"]),
            at("namespace"),
            at("name"),
        )
    }

    pub(crate) fn key_of(&self, api_version: &str, kind: &str, namespace: &str, name: &str) -> Key {
        let (plural, namespaced) = match self.registered.get(kind) {
            Some(registered) => registered.clone(),
            None => {
                let plural = pluralise(kind);
                let namespaced = !is_cluster_scoped(api_version, &plural);
                (plural, namespaced)
            }
        };
        let namespace = match (namespaced, namespace) {
            (false, _) => "",
            (true, "") => "default",
            (true, namespace) => namespace,
        };
        Key {
            api_version: api_version.to_owned(),
            plural,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

/// The plural of a kind, as Kubernetes' own kinds and most others have it.
fn pluralise(kind: &str) -> String {
    let singular = kind.to_lowercase();
    // The kinds whose singular is a plural already.
    if matches!(
        singular.as_str(),
        "endpoints" | "securitycontextconstraints"
    ) {
        return singular;
    }
    let hissing = ["s", "x", "z", "ch", "sh"]
        .iter()
        .any(|end| singular.ends_with(end));
    if hissing {
        return singular + "es";
    }
    match singular.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'i', 'o', 'u']) => format!("{stem}ies"),
        _ => singular + "s",
    }
}

fn is_cluster_scoped(api_version: &str, plural: &str) -> bool {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    match group {
        "" => matches!(plural, "namespaces" | "nodes" | "persistentvolumes"),
        "storage.k8s.io" => plural != "csistoragecapacities",
        "rbac.authorization.k8s.io" => plural.starts_with("cluster"),
        "networking.k8s.io" => matches!(plural, "ingressclasses" | "ipaddresses" | "servicecidrs"),
        "gateway.networking.k8s.io" => plural == "gatewayclasses",
        "admissionregistration.k8s.io"
        | "apiextensions.k8s.io"
        | "apiregistration.k8s.io"
        | "certificates.k8s.io"
        | "flowcontrol.apiserver.k8s.io"
        | "node.k8s.io"
        | "scheduling.k8s.io" => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn kinds_become_the_plurals_that_kubernetes_serves() {
        for (kind, plural) in [
            ("ConfigMap", "configmaps"),
            ("Endpoints", "endpoints"),
            ("EndpointSlice", "endpointslices"),
            ("Ingress", "ingresses"),
            ("IngressClass", "ingressclasses"),
            ("NetworkPolicy", "networkpolicies"),
            ("CSIStorageCapacity", "csistoragecapacities"),
            ("Gateway", "gateways"),
            ("HTTPRoute", "httproutes"),
            ("Mesh", "meshes"),
        ] {
            assert_eq!(pluralise(kind), plural);
        }
    }

    #[test]
    fn cluster_scoped_kinds_have_no_namespace_and_others_the_default_one() {
        let kinds = Kinds::default();
        let namespace = |version, kind| kinds.key_of(version, kind, "", "x").namespace;
        assert_eq!(namespace("v1", "Node"), "");
        assert_eq!(namespace("storage.k8s.io/v1", "StorageClass"), "");
        assert_eq!(namespace("v1", "Pod"), "default");
        assert_eq!(namespace("example.com/v1", "Node"), "default");
    }

    #[test]
    fn registered_kinds_have_their_own_plural() {
        let mut kinds = Kinds::default();
        kinds.register("Ox", "oxen", true);
        kinds.register("Moon", "moons", false);
        assert_eq!(
            kinds.key_of("a/v1", "Ox", "", "x").to_string(),
            "oxen default/x"
        );
        assert_eq!(
            kinds.key_of("a/v1", "Moon", "n", "x").to_string(),
            "moons x"
        );
    }

    fn refusal(objects: impl Into<Objects>) -> String {
        objects.into().read().unwrap_err().to_string()
    }

    #[test]
    fn errors_name_the_line() {
        let yaml = "# one\nkind: A\n---\n\napiVersion: v1\nkind: B\nmetadata: {}\n";
        assert_eq!(
            refusal(yaml),
            "line 2: the object has no apiVersion and no metadata.name"
        );
        let broken = "apiVersion: v1\nkind: A\nmetadata: {name: a}\n---\na: 1\na: [\n";
        let refusal = refusal(broken);
        assert!(
            refusal.starts_with("line 6: the YAML is broken: "),
            "{refusal}"
        );
    }

    #[test]
    fn lists_stand_for_their_items() {
        let yaml =
            "apiVersion: v1\nkind: PodList\nitems:\n- metadata: {name: a}\n- metadata: {name: b}\n";
        let found = Objects::from(yaml).read().unwrap();
        let kinds: Vec<_> = found
            .iter()
            .map(|placed| text(&placed.value, &["kind"]))
            .collect();
        assert_eq!(kinds, ["Pod", "Pod"]);
    }
}
