//! What can be said of templates before there is anything to render: that they do not compile, that
//! they call what does not exist, that they name a watch or a template that is not there. All of it
//! at once, each with its place.

use std::collections::BTreeSet;

use haptic_guest::settings::Problems;
use minijinja::value::Value;
use minijinja::{Environment, machinery};
use serde_json::Value as Json;

use crate::environment::{self, path_name, template_name};
use crate::filters;
use crate::mistake::Mistake;
use crate::resources::{METHODS, method};
use crate::settings::{Field, FileSettings, OBJECT, TemplateSettings};

/// Variables that every template has.
pub const GLOBALS: &[&str] = &["resources", "template_snippets", "vars"];

/// Names that the language itself gives, in some places.
const SPECIAL: &[&str] = &["caller", "loop", "self", "super"];

/// A template, as the operator wrote it.
struct Template<'s> {
    field: String,
    /// Its name in the environment.
    name: String,
    text: &'s str,
    is_file: bool,
    /// The variables that it is given; `None`: those of whoever includes it.
    given: Option<Vec<&'s str>>,
}

fn all(settings: &TemplateSettings) -> Vec<Template<'_>> {
    let snippets = settings
        .template_snippets
        .iter()
        .map(|(name, snippet)| Template {
            field: Field("templateSnippets", name).to_string(),
            name: name.clone(),
            text: &snippet.0,
            is_file: false,
            given: None,
        });
    let files = settings
        .files
        .iter()
        .flat_map(|(path, FileSettings(file))| {
            let field = Field("files", path).to_string();
            let object = file.name.as_deref().unwrap_or(OBJECT);
            let given: Vec<&str> = file.for_each.iter().map(|_| object).collect();
            let path = file.for_each.is_some().then(|| Template {
                field: field.clone(),
                name: path_name(path),
                text: path,
                is_file: true,
                given: Some(given.clone()),
            });
            let template = Template {
                name: field.clone(),
                field: format!("{field}.template"),
                text: &file.template,
                is_file: true,
                given: Some(given),
            };
            path.into_iter().chain([template])
        });
    snippets.chain(files).collect()
}

/// Checks all templates.
pub fn templates(settings: &TemplateSettings, problems: &mut Problems) {
    for path in settings.files.keys() {
        let name = template_name(path);
        problems.check(
            !settings.template_snippets.contains_key(&name),
            Field("templateSnippets", &name),
            "this is the name of a file's template; call the snippet otherwise",
        );
    }
    let (env, errors) = environment::build(settings);
    for template in all(settings) {
        let failed = errors.iter().find(|(name, _)| *name == template.name);
        let mistakes = match failed {
            Some((_, error)) => vec![Mistake::compile(error, template.text)],
            None => Check::new(settings, &env, &template).run(),
        };
        for mistake in mistakes {
            problems.add(&template.field, mistake);
        }
    }
}

/// The check of one template that compiles.
struct Check<'c> {
    settings: &'c TemplateSettings,
    env: &'c Environment<'static>,
    template: &'c Template<'c>,
    /// Names that are bound somewhere in it. Where exactly they hold is not looked into.
    bound: BTreeSet<String>,
    /// It may be given variables by a template that it extends.
    extends: bool,
    /// In the order of the text.
    found: BTreeSet<((usize, usize), String)>,
}

impl<'c> Check<'c> {
    fn new(
        settings: &'c TemplateSettings,
        env: &'c Environment<'static>,
        template: &'c Template<'c>,
    ) -> Self {
        Check {
            settings,
            env,
            template,
            bound: BTreeSet::new(),
            extends: false,
            found: BTreeSet::new(),
        }
    }

    fn run(mut self) -> Vec<Mistake> {
        let Template {
            name,
            text,
            is_file,
            ..
        } = self.template;
        let syntax = environment::syntax(self.settings, *is_file);
        // It is walked as data, because of some forty kinds of nodes four matter.
        let tree = machinery::parse(text, name, syntax)
            .ok()
            .and_then(|tree| serde_json::to_value(&tree).ok())
            .unwrap_or_default();
        self.bind(&tree);
        self.walk(&tree);
        self.found
            .into_iter()
            .map(|((line, column), what)| Mistake::at(line, column, what))
            .collect()
    }

    /// Gathers what the statements bind.
    fn bind(&mut self, node: &Json) {
        if let Some((kind, inner)) = tagged(node, "stmt") {
            match kind {
                "ForLoop" | "Set" | "SetBlock" => self.bind_target(&inner["target"]),
                "WithBlock" => {
                    for assignment in list(&inner["assignments"]) {
                        self.bind_target(&assignment[0]);
                    }
                }
                "Macro" => self.bind_macro(inner),
                "CallBlock" => self.bind_macro(&inner["macro_decl"]["inner"][0]),
                "Import" => self.bind_target(&inner["name"]),
                "FromImport" => {
                    for name in list(&inner["names"]) {
                        let alias = if name[1].is_null() {
                            &name[0]
                        } else {
                            &name[1]
                        };
                        self.bind_target(alias);
                    }
                }
                "Extends" => self.extends = true,
                _ => {}
            }
        }
        children(node, &mut |child| self.bind(child));
    }

    fn bind_macro(&mut self, declaration: &Json) {
        self.bound
            .extend(declaration["name"].as_str().map(str::to_owned));
        for argument in list(&declaration["args"]) {
            self.bind_target(argument);
        }
    }

    fn bind_target(&mut self, target: &Json) {
        match tagged(target, "expr") {
            Some(("Var", var)) => self.bound.extend(var["id"].as_str().map(str::to_owned)),
            Some(("List" | "Tuple", items)) => {
                for item in list(&items["items"]) {
                    self.bind_target(item);
                }
            }
            _ => {}
        }
    }

    /// Looks for what does not exist.
    fn walk(&mut self, node: &Json) {
        if let Some((kind, inner)) = tagged(node, "expr") {
            match (kind, inner["name"].as_str()) {
                ("Filter", Some(name)) if !self.performs("filter", name) => {
                    let hint = closest(
                        name,
                        filters::NAMES
                            .iter()
                            .copied()
                            .chain(BUILTIN.iter().copied()),
                    );
                    self.add(node, format!("there is no filter `{name}`{hint}"));
                }
                ("Test", Some(name)) if !self.performs("test", name) => {
                    self.add(node, format!("there is no test `{name}`"));
                }
                ("Var", _) => self.variable(node, inner),
                ("GetAttr", Some(name)) => self.attribute(node, &inner["expr"], name),
                ("GetItem", _) => {
                    if let Some(name) = constant(&inner["subscript_expr"]) {
                        self.attribute(node, &inner["expr"], name);
                    }
                }
                ("Call", _) => self.call(node, &inner["expr"]),
                _ => {}
            }
        }
        if let Some((kind, inner)) = tagged(node, "stmt") {
            let name = match kind {
                "Include" if inner["ignore_missing"] != Json::Bool(true) => &inner["name"],
                "Extends" => &inner["name"],
                "Import" | "FromImport" => &inner["expr"],
                _ => &Json::Null,
            };
            if let Some(snippet) = constant(name)
                && !self.settings.template_snippets.contains_key(snippet)
            {
                let known = self.settings.template_snippets.keys();
                let hint = closest(snippet, known.map(String::as_str));
                self.add(node, format!("there is no snippet {snippet:?}{hint}"));
            }
        }
        children(node, &mut |child| self.walk(child));
    }

    /// Whether there is a filter, or a test, of this name.
    fn performs(&self, what: &str, name: &str) -> bool {
        let Ok(template) = self.env.get_template(&self.template.name) else {
            return true;
        };
        let mut state = template.new_state();
        state
            .perform_test(what, &[Value::from(name)])
            .unwrap_or(true)
    }

    fn variable(&mut self, node: &Json, var: &Json) {
        let (Some(given), Some(name)) = (&self.template.given, var["id"].as_str()) else {
            return;
        };
        let is_known = self.extends
            || given.contains(&name)
            || SPECIAL.contains(&name)
            || self.bound.contains(name)
            || self.env.globals().any(|(global, _)| global == name);
        if !is_known {
            let bound = self.bound.iter().map(String::as_str);
            let globals = self.env.globals().map(|(global, _)| global);
            let hint = closest(name, given.iter().copied().chain(bound).chain(globals));
            self.add(
                node,
                format!("nothing sets a variable `{name}` here, nor is there a function of this name{hint}"),
            );
        }
    }

    /// `resources.NAME`, where nobody called something else so.
    fn attribute(&mut self, node: &Json, of: &Json, name: &str) {
        if !self.is_resources(of) || self.settings.watched_resources.contains_key(name) {
            return;
        }
        let known = self.settings.watched_resources.keys();
        let hint = closest(name, known.map(String::as_str));
        self.add(
            node,
            format!("there is no watch `{name}` in `watchedResources`{hint}"),
        );
    }

    /// `resources.NAME.METHOD()`.
    fn call(&mut self, node: &Json, called: &Json) {
        let Some(("GetAttr", attribute)) = tagged(called, "expr") else {
            return;
        };
        let Some(("GetAttr" | "GetItem", watch)) = tagged(&attribute["expr"], "expr") else {
            return;
        };
        if self.is_resources(&watch["expr"])
            && let Some(name) = attribute["name"].as_str()
            && method(name).is_none()
        {
            let hint = closest(name, METHODS.iter().copied());
            self.add(
                node,
                format!(
                    "a watch has no method `{name}`{hint}, but {}",
                    METHODS.join(", ")
                ),
            );
        }
    }

    fn is_resources(&self, node: &Json) -> bool {
        matches!(tagged(node, "expr"), Some(("Var", var)) if var["id"] == "resources")
            && !self.bound.contains("resources")
    }

    fn add(&mut self, node: &Json, what: String) {
        let span = &node["inner"][1];
        let number = |name: &str| {
            span[name]
                .as_u64()
                .and_then(|n| usize::try_from(n).ok())
                .unwrap_or(0)
        };
        self.found
            .insert(((number("start_line"), number("start_col") + 1), what));
    }
}

/// The kind and the content of a statement or an expression.
fn tagged<'n>(node: &'n Json, tag: &str) -> Option<(&'n str, &'n Json)> {
    Some((node.get(tag)?.as_str()?, node.get("inner")?.get(0)?))
}

fn list(node: &Json) -> &[Json] {
    node.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn children(node: &Json, visit: &mut dyn FnMut(&Json)) {
    match node {
        Json::Object(members) => members.values().for_each(visit),
        Json::Array(elements) => elements.iter().for_each(visit),
        _ => {}
    }
}

/// The text of a constant.
fn constant(node: &Json) -> Option<&str> {
    match tagged(node, "expr") {
        Some(("Const", constant)) => constant["value"].as_str(),
        _ => None,
    }
}

/// Filters of Jinja that are mistyped most, for hints.
const BUILTIN: &[&str] = &[
    "default",
    "dictsort",
    "first",
    "groupby",
    "indent",
    "items",
    "join",
    "length",
    "list",
    "lower",
    "map",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "selectattr",
    "sort",
    "split",
    "string",
    "title",
    "tojson",
    "trim",
    "unique",
    "upper",
    "urlencode",
];

/// A hint at the name that is meant, if one is near: ` (did you mean `x`?)`.
pub fn closest<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> String {
    let nearest = known
        .into_iter()
        .map(|candidate| (distance(name, candidate), candidate))
        .min();
    match nearest {
        Some((distance, candidate)) if distance <= (name.chars().count() / 2).min(3) => {
            format!(" (did you mean `{candidate}`?)")
        }
        _ => String::new(),
    }
}

/// How many characters must be put in, left out or replaced.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}
