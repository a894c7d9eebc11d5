//! Manifests: YAML and JSON files as objects that know where they came from.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::Spanned;

use crate::escape::Escaped;
use crate::progress::Progress;
use crate::resources::{Registry, Resource};
use crate::yaml::{self, Broken};
use crate::{crd, json};

/// One object of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// The object, with apiVersion, kind and metadata.name.
    pub value: Value,
    /// The file that it is from.
    pub file: PathBuf,
    /// The line in that file on which the object starts, counted from 1.
    pub line: u64,
}

/// Why a file or an object in it cannot be used.
///
/// Displayed it is one line, `file:line: sentence`, with the control
/// characters that the file may hold escaped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", Escaped(format_args!("{}: {message}", Place { file, line: *line })))]
pub struct ManifestError {
    /// The file, or the path that was given.
    pub file: PathBuf,
    /// The line in the file, counted from 1; `None` when the whole file is meant.
    pub line: Option<u64>,
    /// A sentence.
    pub message: String,
}

struct Place<'a> {
    file: &'a Path,
    line: Option<u64>,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(formatter, "{}:{line}", self.file.display()),
            None => write!(formatter, "{}", self.file.display()),
        }
    }
}

/// What names an object among all manifests: type, namespace and name.
pub(crate) type Identity = (String, String, String, String);

/// Reads files and folders.
///
/// Folders are read with their subfolders, in order of their names; of their
/// files those that end in `.yaml`, `.yml` or `.json`. A file may hold several
/// YAML documents and `kind: List` objects. Empty documents are skipped.
///
/// The objects come in the order of files and lines, Namespaces and
/// CustomResourceDefinitions first.
///
/// # Errors
///
/// All that is wrong, in order, each with its place: files that cannot be
/// read, broken YAML, objects without apiVersion, kind or name, kinds that are
/// neither built in nor defined by a CustomResourceDefinition among the
/// manifests, namespaced objects without a valid namespace, and objects that
/// appear twice.
///
/// # Examples
///
/// ```
/// # let folder = std::env::temp_dir().join(format!("manifests-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// std::fs::write(
///     folder.join("a.yaml"),
///     "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n---\nkind: ConfigMap\n",
/// )?;
/// let errors = haptic_cluster::load_manifests(&[folder.clone()]).unwrap_err();
/// assert_eq!(errors.len(), 1);
/// assert_eq!(errors[0].line, Some(6));
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn load_manifests(paths: &[PathBuf]) -> Result<Vec<Manifest>, Vec<ManifestError>> {
    load(paths, &mut Progress::start(Instant::now()))
}

/// As [`load_manifests`], by somebody who has more to do afterwards.
pub(crate) fn load(
    paths: &[PathBuf],
    progress: &mut Progress,
) -> Result<Vec<Manifest>, Vec<ManifestError>> {
    let mut errors = Vec::new();
    let mut manifests = Vec::new();
    for file in files(paths, &mut errors) {
        match std::fs::read_to_string(&file) {
            Ok(text) => parse_file(&file, &text, &mut manifests, &mut errors, progress),
            Err(error) => errors.push(ManifestError {
                message: format!("the file cannot be read: {error}"),
                file,
                line: None,
            }),
        }
    }
    check_all(&manifests, &mut errors);
    if !errors.is_empty() {
        return Err(errors);
    }
    manifests.sort_by_key(|manifest| rank(&manifest.value));
    Ok(manifests)
}

/// What must exist before other objects can.
pub(crate) fn rank(value: &Value) -> u8 {
    match json::text(value, &["kind"]) {
        "Namespace" => 0,
        "CustomResourceDefinition" => 1,
        _ => 2,
    }
}

/// The files below `paths`, each once, in a stable order.
fn files(paths: &[PathBuf], errors: &mut Vec<ManifestError>) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in paths {
        walk(path, true, 0, &mut found, errors);
    }
    let mut seen = std::collections::HashSet::new();
    found.retain(|file| seen.insert(file.clone()));
    found
}

/// Deeper than any sensible folder; a loop of links ends here.
const DEPTH: usize = 32;

fn walk(
    path: &Path,
    named: bool,
    depth: usize,
    found: &mut Vec<PathBuf>,
    errors: &mut Vec<ManifestError>,
) {
    let mut fail = |message: String| {
        errors.push(ManifestError {
            file: path.to_owned(),
            line: None,
            message,
        });
    };
    if depth > DEPTH {
        return fail(format!("the folders are nested more than {DEPTH} deep"));
    }
    if !named && is_hidden(path) {
        return;
    }
    if path.is_dir() {
        let entries: Result<Vec<PathBuf>, std::io::Error> = std::fs::read_dir(path)
            .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
        match entries {
            Ok(mut entries) => {
                entries.sort();
                for entry in entries {
                    walk(&entry, false, depth + 1, found, errors);
                }
            }
            Err(error) => fail(format!("the folder cannot be read: {error}")),
        }
    } else if named && !path.exists() {
        fail("there is no such file or folder".to_owned());
    } else if named || is_manifest_name(path) {
        found.push(path.to_owned());
    }
}

/// Hidden files are what editors leave behind; hidden folders are how
/// Kubernetes swaps the content of a mounted volume.
fn is_hidden(path: &Path) -> bool {
    path.file_name()
        .and_then(|name| name.to_str())
        .is_none_or(|name| name.starts_with('.'))
}

fn is_manifest_name(path: &Path) -> bool {
    let extension = path
        .extension()
        .and_then(|extension| extension.to_str())
        .unwrap_or_default();
    matches!(extension, "yaml" | "yml" | "json")
}

/// The documents of a file with the line before each, split at `---` as kubectl does.
fn documents(text: &str) -> Vec<(u64, String)> {
    let mut documents = vec![(0, String::new())];
    for (number, line) in (1u64..).zip(text.lines()) {
        let separator = line.strip_prefix("---").is_some_and(|rest| {
            let rest = rest.trim();
            rest.is_empty() || rest.starts_with('#')
        });
        if separator {
            documents.push((number, String::new()));
        } else if let Some((_, document)) = documents.last_mut() {
            document.push_str(line);
            document.push('\n');
        }
    }
    documents
}

#[derive(Deserialize)]
struct ListDocument {
    items: Vec<Spanned<Value>>,
}

fn parse_file(
    file: &Path,
    text: &str,
    manifests: &mut Vec<Manifest>,
    errors: &mut Vec<ManifestError>,
    progress: &mut Progress,
) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (offset, document) in documents(text) {
        let first_line = (1u64..).zip(document.lines()).find(|(_, line)| {
            let line = line.trim();
            !line.is_empty() && !line.starts_with('#') && !line.starts_with('%')
        });
        let Some((first_line, _)) = first_line else {
            continue;
        };
        match parse_document(&document, first_line) {
            Ok(objects) => {
                for (line, value) in objects {
                    let manifest = Manifest {
                        value,
                        file: file.to_owned(),
                        line: offset + line,
                    };
                    match check_shape(&manifest.value) {
                        Ok(()) => manifests.push(manifest),
                        Err(message) => errors.push(ManifestError {
                            file: manifest.file,
                            line: Some(manifest.line),
                            message,
                        }),
                    }
                }
            }
            Err(broken) => errors.push(ManifestError {
                file: file.to_owned(),
                line: Some(offset + broken.line.unwrap_or(first_line)),
                message: format!("the YAML is broken: {broken}"),
            }),
        }
        if progress.is_due(Instant::now()) {
            tracing::info!(objects = manifests.len(), "reading the manifests");
        }
    }
}

/// The objects of one document, each with its line in the document.
fn parse_document(document: &str, first_line: u64) -> Result<Vec<(u64, Value)>, Broken> {
    let value = yaml::parse(document)?;
    if value.is_null() {
        return Ok(Vec::new());
    }
    let is_list = json::text(&value, &["kind"]).ends_with("List")
        && value.get("items").is_some_and(Value::is_array);
    if !is_list {
        return Ok(vec![(first_line, value)]);
    }
    let list: ListDocument = yaml::parse_as(document)?;
    let item_type = item_type(&value);
    Ok(list
        .items
        .into_iter()
        .map(|item| {
            let mut object = item.value;
            if let (Some(map), Some((api_version, kind))) = (object.as_object_mut(), &item_type) {
                map.entry("apiVersion")
                    .or_insert_with(|| api_version.clone().into());
                map.entry("kind").or_insert_with(|| kind.clone().into());
            }
            (item.referenced.line().max(first_line), object)
        })
        .collect())
}

/// What the items of an `IngressList` are; a plain `List` does not say.
fn item_type(list: &Value) -> Option<(String, String)> {
    let kind = json::text(list, &["kind"]).strip_suffix("List")?;
    (!kind.is_empty()).then(|| {
        (
            json::text(list, &["apiVersion"]).to_owned(),
            kind.to_owned(),
        )
    })
}

fn check_shape(value: &Value) -> Result<(), String> {
    if !value.is_object() {
        return Err("this is not an object with apiVersion, kind and metadata".to_owned());
    }
    let mut missing = Vec::new();
    for path in [&["apiVersion"][..], &["kind"], &["metadata", "name"]] {
        match json::at(value, path) {
            Some(Value::String(text)) if !text.is_empty() => {}
            None | Some(Value::Null | Value::String(_)) => missing.push(path.join(".")),
            Some(_) => return Err(format!("{} is not text; put it in quotes", path.join("."))),
        }
    }
    match missing.as_slice() {
        [] => Ok(()),
        missing => {
            let kind = json::text(value, &["kind"]);
            let subject = if kind.is_empty() { "the object" } else { kind };
            Err(format!("{subject} has no {}", missing.join(" and no ")))
        }
    }
}

/// Unknown kinds, and objects that appear twice.
fn check_all(manifests: &[Manifest], errors: &mut Vec<ManifestError>) {
    let defined = defined_kinds(manifests);
    let registry = Registry::builtin();
    let mut places: HashMap<Identity, &Manifest> = HashMap::new();
    for manifest in manifests {
        let (api_version, kind) = (
            json::text(&manifest.value, &["apiVersion"]).to_owned(),
            json::text(&manifest.value, &["kind"]).to_owned(),
        );
        let mut fail = |message| {
            errors.push(ManifestError {
                file: manifest.file.clone(),
                line: Some(manifest.line),
                message,
            });
        };
        let builtin = registry.find_kind(&api_version, &kind);
        let Some(resource) = builtin
            .as_deref()
            .or_else(|| defined.get(&(api_version.clone(), kind.clone())))
        else {
            fail(format!(
                "{api_version} {kind} is not a built-in kind, and no CustomResourceDefinition among the manifests \
                 defines it"
            ));
            continue;
        };
        if resource.review {
            fail(format!(
                "a {kind} is a question to the server, not an object that it keeps"
            ));
            continue;
        }
        if let Some(first) = places.insert(identity(resource, &manifest.value), manifest) {
            fail(format!(
                "{kind} {} was already given at {}",
                display_name(resource, &manifest.value),
                Place {
                    file: &first.file,
                    line: Some(first.line)
                }
            ));
        }
    }
}

fn display_name(resource: &Resource, value: &Value) -> String {
    let name = json::text(value, &["metadata", "name"]);
    if resource.namespaced {
        format!("{}/{name}", namespace_of(value))
    } else {
        name.to_owned()
    }
}

/// The namespace of a namespaced manifest: `default` when it names none, as with kubectl.
pub(crate) fn namespace_of(value: &Value) -> &str {
    match json::text(value, &["metadata", "namespace"]) {
        "" => "default",
        namespace => namespace,
    }
}

pub(crate) fn identity(resource: &Resource, value: &Value) -> Identity {
    let namespace = if resource.namespaced {
        namespace_of(value)
    } else {
        ""
    };
    (
        resource.group.clone(),
        resource.plural.clone(),
        namespace.to_owned(),
        json::text(value, &["metadata", "name"]).to_owned(),
    )
}

/// The kinds that definitions among the manifests will serve.
fn defined_kinds(manifests: &[Manifest]) -> BTreeMap<(String, String), Resource> {
    let registry = Registry::builtin();
    let Some(definition) = registry.find(crd::GROUP, "v1", "customresourcedefinitions") else {
        return BTreeMap::new();
    };
    manifests
        .iter()
        .filter(|manifest| json::text(&manifest.value, &["kind"]) == "CustomResourceDefinition")
        .flat_map(|manifest| {
            let mut value = manifest.value.clone();
            match crd::complete(&definition, &registry, &mut value, "") {
                Ok(()) => crd::resources(&value),
                // The server says what is wrong with it when it is loaded.
                Err(_) => Vec::new(),
            }
        })
        .map(|resource| ((resource.api_version(), resource.kind.clone()), resource))
        .collect()
}
