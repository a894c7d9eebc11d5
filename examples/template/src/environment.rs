//! The environment that templates run in: which there are, what they can call, and their bounds.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, escape_formatter};
use minijinja_contrib::pycompat::unknown_method_callback;

use crate::filters;
use crate::settings::{Field, FileSettings, TemplateSettings};
use crate::variable::Resources;

/// How deep includes, macros and blocks may nest, together; a macro costs some five of it. A component's stack is
/// 1 MiB, of which this takes a part even where an evaluation of many values is at the bottom.
const RECURSION: usize = 200;

/// The environment, and what does not compile: the name of each such template, and the error.
///
/// A snippet is found by its own name, a file's template by [`template_name`], the template of its
/// path by [`path_name`].
pub fn build(settings: &TemplateSettings) -> (Environment<'static>, Vec<(String, Error)>) {
    let mut env = Environment::new();
    let mut errors = Vec::new();
    env.set_auto_escape_callback(|_| AutoEscape::None);
    env.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    // Errors say which expression was undefined; nothing is slower for it while nothing fails.
    env.set_debug(true);
    env.set_fuel(Some(settings.fuel));
    env.set_recursion_limit(RECURSION);
    env.set_unknown_method_callback(unknown_method_callback);
    env.set_formatter(|out, state, value| match value.is_none() {
        true => Err(Error::new(
            ErrorKind::InvalidOperation,
            "this is `none`, which is no text; give `dig` a default, or ask `if` first",
        )),
        false => escape_formatter(out, state, value),
    });
    filters::add_to(&mut env);
    env.add_function("fail", fail);
    env.add_global(
        "resources",
        Value::from_object(Resources::new(settings.watched_resources.keys())),
    );
    env.add_global("vars", Value::from_pairs(settings.vars.clone()));
    let snippets: Vec<String> = settings.template_snippets.keys().cloned().collect();
    env.add_global("template_snippets", Value::from(snippets));

    let mut add = |env: &mut Environment<'static>, name: String, text: &str| {
        if let Err(error) = env.add_template_owned(name.clone(), text.to_owned()) {
            errors.push((name, error));
        }
    };
    env.set_syntax(syntax(settings, false));
    for (name, snippet) in &settings.template_snippets {
        add(&mut env, name.clone(), &snippet.0);
    }
    env.set_syntax(syntax(settings, true));
    for (path, FileSettings(file)) in &settings.files {
        add(&mut env, template_name(path), &file.template);
        if file.for_each.is_some() {
            add(&mut env, path_name(path), path);
        }
    }
    (env, errors)
}

/// A file ends with its last line break, as text files do; a snippet does not, as in Jinja, so that
/// it can be included in the middle of a line.
pub fn syntax(settings: &TemplateSettings, is_file: bool) -> SyntaxConfig {
    SyntaxConfig::builder()
        .trim_blocks(settings.trim_blocks)
        .lstrip_blocks(settings.lstrip_blocks)
        .keep_trailing_newline(is_file)
        .build()
        .unwrap_or_default()
}

/// The name of a file's template.
pub fn template_name(path: &str) -> String {
    Field("files", path).to_string()
}

/// The name of the template of a file's path.
pub fn path_name(path: &str) -> String {
    format!("the path of {}", Field("files", path))
}

/// `fail("text")` ends the rendering of this file with the text.
fn fail(text: &str) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, text.to_owned()))
}
