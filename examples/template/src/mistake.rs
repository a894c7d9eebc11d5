//! What is wrong in a template, said to the one who wrote it: where, what, and what to do.

use std::error::Error as _;
use std::fmt;

use minijinja::{Environment, Error, ErrorKind};

/// A mistake in a template, or what it led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The template, if it is not the one that is talked of anyway.
    template: Option<String>,
    line: Option<usize>,
    column: Option<usize>,
    what: String,
}

impl Mistake {
    /// Of no place in particular.
    pub fn plain(what: impl Into<String>) -> Self {
        Mistake {
            template: None,
            line: None,
            column: None,
            what: what.into(),
        }
    }

    /// At a place in a template that is named by whoever shows this.
    pub fn at(line: usize, column: usize, what: impl Into<String>) -> Self {
        Mistake {
            template: None,
            line: Some(line),
            column: Some(column),
            what: what.into(),
        }
    }

    /// Of a template that does not compile.
    pub fn compile(error: &Error, source: &str) -> Self {
        Mistake {
            template: None,
            line: error.line(),
            column: column(error, source),
            what: what(error),
        }
    }

    /// The same, in this template, unless it is in another one.
    #[must_use]
    pub fn within(self, template: &str) -> Self {
        Mistake {
            template: self.template.or_else(|| Some(template.to_owned())),
            ..self
        }
    }

    /// Of a rendering of a template that failed: the innermost error says most.
    pub fn of(error: &Error, env: &Environment<'_>, template: &str) -> Self {
        let mut innermost = error;
        while let Some(source) = innermost.source().and_then(|source| source.downcast_ref()) {
            innermost = source;
        }
        // An error that came about in a function has its place from the one around it.
        let placed = match innermost.line() {
            Some(_) => innermost,
            None => error,
        };
        let source = placed
            .name()
            .and_then(|name| env.get_template(name).ok())
            .map(|template| template.source().to_owned());
        let mut what = what(innermost);
        if innermost.kind() == ErrorKind::WriteFailure
            && let Some(cause) = innermost.source()
        {
            what = cause.to_string();
        }
        Mistake {
            template: placed
                .name()
                .filter(|name| *name != template)
                .map(|name| format!("snippet {name:?}")),
            line: placed.line(),
            column: source.and_then(|source| column(placed, &source)),
            what,
        }
    }
}

/// The column, from 1, of an error whose range begins in its line.
fn column(error: &Error, source: &str) -> Option<usize> {
    let before = source.get(..error.range()?.start)?;
    let line = before.matches('\n').count() + 1;
    (Some(line) == error.line())
        .then(|| before.chars().rev().take_while(|&c| c != '\n').count() + 1)
}

fn what(error: &Error) -> String {
    let detail = error.detail();
    match (error.kind(), detail) {
        (ErrorKind::UndefinedError, Some(detail)) => {
            format!("{detail}; where it may be missing, write `| default(…)` or `dig`")
        }
        (ErrorKind::UndefinedError, None) => {
            "a value is undefined; where it may be missing, write `| default(…)` or `dig`"
                .to_owned()
        }
        (ErrorKind::OutOfFuel, _) => {
            "it takes too many steps; read with `fetch` instead of going through `list` again and \
             again, or raise `fuel`"
                .to_owned()
        }
        // The text of `fail`, of filters and of reads speaks for itself.
        (ErrorKind::InvalidOperation | ErrorKind::SyntaxError, Some(detail)) => detail.to_owned(),
        (kind, Some(detail)) => format!("{kind}: {detail}"),
        (kind, None) => kind.to_string(),
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(template) = &self.template {
            write!(f, "{template}, ")?;
        }
        if let Some(line) = self.line {
            write!(f, "line {line}")?;
            if let Some(column) = self.column {
                write!(f, ", column {column}")?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.what)
    }
}
