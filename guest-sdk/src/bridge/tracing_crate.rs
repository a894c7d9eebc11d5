//! The `tracing` crate: events become lines, and the spans around them a field of theirs.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::{Debug, Write};
use std::sync::{Mutex, PoisonError};

use tracing_core::field::{Field, Visit};
use tracing_core::span::{Attributes, Id, Record};
use tracing_core::{Dispatch, Event, LevelFilter, Metadata, Subscriber};

use crate::log::{Level, write};

pub(super) fn install() {
    // Somebody else's subscriber stays.
    let _ = tracing_core::dispatcher::set_global_default(Dispatch::new(Bridge::default()));
}

pub(super) fn level_changed() {
    tracing_core::callsite::rebuild_interest_cache();
}

fn level(level: tracing_core::Level) -> Level {
    match level {
        tracing_core::Level::ERROR => Level::Error,
        tracing_core::Level::WARN => Level::Warn,
        tracing_core::Level::INFO => Level::Info,
        tracing_core::Level::DEBUG => Level::Debug,
        tracing_core::Level::TRACE => Level::Trace,
    }
}

/// Spans that are open, each with its name and fields as they are to be shown.
#[derive(Default)]
struct Bridge {
    spans: Mutex<Spans>,
}

#[derive(Default)]
struct Spans {
    last: u64,
    open: HashMap<u64, Span>,
}

struct Span {
    name: &'static str,
    fields: Fields,
    references: usize,
}

thread_local! {
    /// The spans that this thread is in, outermost first.
    static ENTERED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

impl Bridge {
    fn with<R>(&self, use_spans: impl FnOnce(&mut Spans) -> R) -> R {
        use_spans(&mut self.spans.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// `outer{a=1}:inner`.
    fn context(&self) -> String {
        ENTERED.with_borrow(|entered| {
            self.with(|spans| {
                let shown =
                    entered
                        .iter()
                        .filter_map(|id| spans.open.get(id))
                        .map(|span| match span.fields.0.as_slice() {
                            [] => span.name.to_owned(),
                            fields => {
                                let fields: Vec<_> = fields
                                    .iter()
                                    .map(|(name, value)| format!("{name}={value}"))
                                    .collect();
                                format!("{}{{{}}}", span.name, fields.join(" "))
                            }
                        });
                shown.collect::<Vec<_>>().join(":")
            })
        })
    }
}

impl Subscriber for Bridge {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        super::passes(level(*metadata.level()))
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        None
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = Fields::default();
        span.record(&mut fields);
        self.with(|spans| {
            spans.last += 1;
            let span = Span {
                name: span.metadata().name(),
                fields,
                references: 1,
            };
            spans.open.insert(spans.last, span);
            Id::from_u64(spans.last)
        })
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        // First, since a value may log while it is written out.
        let mut fields = Fields::default();
        values.record(&mut fields);
        self.with(|spans| {
            if let Some(span) = spans.open.get_mut(&span.into_u64()) {
                for (name, value) in fields.0 {
                    span.fields.put(name, value);
                }
            }
        });
    }

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let Fields(mut fields) = fields;
        let message = fields.iter().position(|(name, _)| *name == "message");
        let message = message.map_or_else(String::new, |at| fields.remove(at).1);
        let context = self.context();
        if !context.is_empty() {
            fields.push(("span", context));
        }
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let metadata = event.metadata();
        write(
            level(*metadata.level()),
            metadata.target(),
            &message,
            &fields,
        );
    }

    fn enter(&self, span: &Id) {
        ENTERED.with_borrow_mut(|entered| entered.push(span.into_u64()));
    }

    fn exit(&self, span: &Id) {
        ENTERED.with_borrow_mut(|entered| {
            if let Some(at) = entered.iter().rposition(|id| *id == span.into_u64()) {
                entered.remove(at);
            }
        });
    }

    fn clone_span(&self, id: &Id) -> Id {
        self.with(|spans| {
            if let Some(span) = spans.open.get_mut(&id.into_u64()) {
                span.references += 1;
            }
        });
        id.clone()
    }

    fn try_close(&self, id: Id) -> bool {
        self.with(|spans| {
            let id = id.into_u64();
            let Some(span) = spans.open.get_mut(&id) else {
                return false;
            };
            span.references -= 1;
            if span.references == 0 {
                spans.open.remove(&id);
                return true;
            }
            false
        })
    }
}

/// Names and values, in order; the last value of a name counts.
#[derive(Default)]
struct Fields(Vec<(&'static str, String)>);

impl Fields {
    fn put(&mut self, field: &'static str, value: String) {
        match self.0.iter_mut().find(|(name, _)| *name == field) {
            Some((_, old)) => *old = value,
            None => self.0.push((field, value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = String::new();
        // A `String` takes everything; what fails is the value's own `Debug`.
        if write!(text, "{value:?}").is_err() {
            text = "(cannot be shown)".to_owned();
        }
        self.put(field.name(), text);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), value.to_owned());
    }
}
