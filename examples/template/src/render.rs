//! From templates and reads to files: what must be rendered again, and what each file is now.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, Write};
use std::rc::Rc;

use haptic_guest::cache::Key;
use haptic_guest::output::{self, OutputError};
use haptic_guest::{Error, log};
use minijinja::Environment;
use minijinja::value::Value;

use crate::environment::{self, path_name, template_name};
use crate::mistake::Mistake;
use crate::resources::{Item, Reads};
use crate::settings::{FileSettings, OBJECT, OnError, TemplateSettings};
use crate::variable;

/// A file may not be larger: it is what the host takes of a whole callback unless it is told
/// otherwise, and a quarter of the memory that it gives a plugin.
const MAX_FILE: usize = 64 << 20;

/// All files, as they were rendered last.
pub struct Files {
    env: Environment<'static>,
    files: Vec<File>,
    /// Logged already; a warning is news once.
    warned: BTreeSet<String>,
}

/// An entry of `files` in the settings.
struct File {
    /// As typed: the path, or its template.
    path: String,
    for_each: Option<String>,
    object: String,
    on_error: OnError,
    /// Without `forEach` there is one, of no object.
    rendered: BTreeMap<Option<Key>, Rendered>,
}

/// What a template made of an object, and of what.
#[derive(Clone)]
struct Rendered {
    /// The object's version; 0 for none.
    version: u64,
    /// What else was read, with its versions. As long as they are the same, so is the outcome.
    read: Vec<(String, u64)>,
    /// `None`: there is nothing to write.
    output: Option<Output>,
    /// What went wrong, of a file that may fail; its output is the one before.
    failure: Option<String>,
}

#[derive(Clone)]
struct Output {
    path: Rc<str>,
    content: Rc<[u8]>,
}

/// What is rendered: a file, for an object if it has one.
struct Subject<'f>(&'f File, Option<&'f Key>);

impl fmt::Display for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Subject(file, key) = self;
        match (key, &file.for_each) {
            (Some(key), Some(watch)) => write!(f, "file {:?} of {watch} {key}", file.path),
            _ => write!(f, "file {:?}", file.path),
        }
    }
}

impl Files {
    /// Nothing is rendered yet. The templates compile: [`check`](crate::check) has seen to it.
    pub fn new(settings: &TemplateSettings) -> Self {
        let (env, _) = environment::build(settings);
        let files = settings
            .files
            .iter()
            .map(|(path, FileSettings(file))| File {
                path: path.clone(),
                for_each: file.for_each.clone(),
                object: file.name.clone().unwrap_or_else(|| OBJECT.to_owned()),
                on_error: file.on_error,
                rendered: BTreeMap::new(),
            });
        Files {
            files: files.collect(),
            env,
            warned: BTreeSet::new(),
        }
    }

    /// Renders what depends on something that changed, and writes all files.
    ///
    /// All of them, because a plugin is not told whether what it wrote in earlier callbacks was
    /// committed; the host does not write anew what is there already.
    ///
    /// # Errors
    /// What failed, with its file and its place. What was rendered before stays as it is known.
    pub fn render(&mut self, reads: &Rc<RefCell<Reads>>) -> Result<(), Error> {
        let mut anew = 0;
        let mut all = Vec::new();
        for file in &self.files {
            all.push(self.render_file(file, reads, &mut anew)?);
        }
        let warnings = write(&self.files, &all)?;
        for warning in warnings.difference(&self.warned) {
            log::warn!("{warning}");
        }
        self.warned = warnings;
        for (file, rendered) in self.files.iter_mut().zip(all) {
            file.rendered = rendered;
        }
        log::debug!(rendered = anew, "rendered");
        Ok(())
    }

    fn render_file(
        &self,
        file: &File,
        reads: &Rc<RefCell<Reads>>,
        anew: &mut usize,
    ) -> Result<BTreeMap<Option<Key>, Rendered>, Error> {
        let items: Vec<Option<Item>> = match &file.for_each {
            None => vec![None],
            Some(watch) => {
                let items = reads.borrow_mut().items(watch);
                let items = items
                    .map_err(|error| Error::new(format!("{}: {error}", Subject(file, None))))?;
                items.into_iter().map(Some).collect()
            }
        };
        let mut all = BTreeMap::new();
        for item in items {
            let version = item.as_ref().map_or(0, |item| item.version);
            let key = item.as_ref().map(|item| item.key.clone());
            let before = file.rendered.get(&key);
            let is_current = |one: &&Rendered| {
                let reads = reads.borrow();
                one.version == version
                    && one
                        .read
                        .iter()
                        .all(|(watch, version)| reads.version(watch) == *version)
            };
            if let Some(one) = before.filter(is_current) {
                all.insert(key, one.clone());
                continue;
            }
            *anew += 1;
            let object = item.map(|item| item.object);
            let result = variable::with(reads, || self.render_one(file, object));
            let read = reads.borrow_mut().take_read();
            let subject = Subject(file, key.as_ref());
            if let Some(failed) = reads.borrow().failed() {
                return Err(Error::new(format!("{subject}: {failed}")));
            }
            let (output, failure) = match result {
                Ok(output) => (output, None),
                Err(mistake) if file.on_error == OnError::Fail => {
                    return Err(Error::new(format!("{subject}: {mistake}")));
                }
                Err(mistake) => {
                    let output = before.and_then(|one| one.output.clone());
                    (output, Some(mistake.to_string()))
                }
            };
            let one = Rendered {
                version,
                read,
                output,
                failure,
            };
            all.insert(key, one);
        }
        Ok(all)
    }

    /// `None`: the path is empty, so this object has no file.
    fn render_one(&self, file: &File, object: Option<Value>) -> Result<Option<Output>, Mistake> {
        let path = match &object {
            None => file.path.clone(),
            Some(object) => {
                let path = self
                    .text(&path_name(&file.path), file, Some(object))
                    .map_err(|mistake| mistake.within("its path"))?;
                String::from_utf8_lossy(&path).trim().to_owned()
            }
        };
        if path.is_empty() {
            return Ok(None);
        }
        // `a//b` would be another name of `a/b`.
        if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(Mistake::plain(format!(
                "the path is {path:?}; it must be relative, without `.`, `..` and empty parts"
            )));
        }
        let content = self.text(&template_name(&file.path), file, object.as_ref())?;
        Ok(Some(Output {
            path: path.into(),
            content: content.into(),
        }))
    }

    fn text(
        &self,
        template: &str,
        file: &File,
        object: Option<&Value>,
    ) -> Result<Vec<u8>, Mistake> {
        let variables = object.map(|object| (file.object.clone(), object.clone()));
        let context = Value::from_pairs(variables);
        let mut text = Bounded(Vec::new());
        let result = self
            .env
            .get_template(template)
            .and_then(|template| template.render_captured_to(context, &mut text).map(|_| ()));
        match result {
            Ok(()) => Ok(text.0),
            Err(error) => Err(Mistake::of(&error, &self.env, template)),
        }
    }
}

/// Writes all outputs, and answers what is to be said of those that may fail.
fn write(
    files: &[File],
    all: &[BTreeMap<Option<Key>, Rendered>],
) -> Result<BTreeSet<String>, Error> {
    let mut warnings = BTreeSet::new();
    let mut written: BTreeMap<&str, Subject<'_>> = BTreeMap::new();
    let entries = files.iter().zip(all).flat_map(|(file, rendered)| {
        rendered
            .iter()
            .map(move |(key, one)| (file, Subject(file, key.as_ref()), one))
    });
    for (file, subject, one) in entries {
        if let Some(failure) = &one.failure {
            warnings.insert(format!("{subject} stays as it is: {failure}"));
        }
        let Some(Output { path, content }) = &one.output else {
            continue;
        };
        let refused = match written.get(path.as_ref()) {
            Some(other) => Some(format!(
                "{path:?} is written already, as {other}; give them different paths"
            )),
            None => match output::write_bytes(path, content) {
                Ok(()) => None,
                Err(error @ OutputError::InvalidName(_)) => Some(error.to_string()),
                Err(error) => return Err(Error::new(format!("{subject}: {error}"))),
            },
        };
        match refused {
            None => _ = written.insert(path, subject),
            Some(why) if file.on_error == OnError::Skip => {
                warnings.insert(format!("{subject} is left out: {why}"));
            }
            Some(why) => return Err(Error::new(format!("{subject}: {why}"))),
        }
    }
    Ok(warnings)
}

/// Text up to [`MAX_FILE`].
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_FILE {
            return Err(io::Error::other(format!(
                "the file is larger than {} MiB",
                MAX_FILE >> 20
            )));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
