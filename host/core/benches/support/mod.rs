//! What the benchmarks share: data, an allocator that counts, and the report.
#![allow(
    dead_code,
    reason = "compiled into each benchmark, and none needs all of it"
)]

#[path = "../../../../tests/benches/src/data.rs"]
#[allow(
    unreachable_pub,
    reason = "the source is that of a library, which depends on this crate"
)]
mod data;
pub(crate) mod memory;
pub(crate) mod peer;
pub(crate) mod report;

use data::Made;
use haptic_core::{
    decode::{Decoder, IndexPaths, Projection, ProjectionSpec},
    index::IndexSpec,
    path::Path,
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// How many objects there are, unless the arguments say so.
pub(crate) fn counts() -> Vec<usize> {
    let given: Vec<usize> = std::env::args()
        .filter_map(|arg| arg.parse().ok())
        .collect();
    if given.is_empty() {
        vec![10_000, 100_000]
    } else {
        given
    }
}

/// A kind of objects, and how a watch of them is set up.
pub(crate) struct Kind {
    of: data::Kind,
    index: &'static str,
}

pub(crate) const INGRESS: Kind = Kind {
    of: data::Kind::Ingress,
    index: "spec.rules[*].host",
};

pub(crate) const POD: Kind = Kind {
    of: data::Kind::Pod,
    index: "metadata.labels.app",
};

/// What a watch drops.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Filter {
    /// managedFields.
    Light,
    /// All but eight fields.
    Heavy,
}

impl Filter {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Heavy => "heavy",
        }
    }
}

impl Kind {
    pub(crate) fn name(&self) -> &'static str {
        self.of.name()
    }

    pub(crate) fn plural(&self) -> &'static str {
        self.of.plural()
    }

    /// The same objects each time, each as a watch sends it.
    pub(crate) fn objects(&self, count: usize) -> impl Iterator<Item = String> {
        let kind = self.of;
        (0..count).map(move |number| {
            let made = Made {
                kind,
                number,
                version: 1,
                revision: 1,
            };
            let (name, version) = (kind.name(), kind.api_version());
            let members = &made.item()[1..];
            format!(r#"{{"kind":"{name}","apiVersion":"{version}",{members}"#)
        })
    }

    pub(crate) fn decoder(&self, filter: Filter) -> Decoder {
        let (ignore, keep) = match filter {
            Filter::Light => (paths(&["metadata.managedFields"]), Vec::new()),
            Filter::Heavy => (Vec::new(), paths(self.of.fields())),
        };
        let index = IndexPaths {
            paths: paths(&[self.index]),
            ..IndexPaths::default()
        };
        Decoder::new(Arc::new(Projection::new(ProjectionSpec {
            api_version: self.of.api_version().into(),
            kind: self.name().into(),
            ignore,
            keep,
            indexes: vec![IndexPaths::default(), index],
            ..ProjectionSpec::default()
        })))
    }

    /// (namespace, name), and what objects are looked for by.
    pub(crate) fn indexes(&self) -> Vec<IndexSpec> {
        let index = |name: &str, arity, identity| IndexSpec {
            name: name.to_owned(),
            arity,
            identity,
        };
        vec![index("", 2, true), index("by", 1, false)]
    }
}

pub(crate) fn paths(texts: &[&str]) -> Vec<Path> {
    let paths = texts.iter().map(|text| text.parse().expect("a valid path"));
    paths.collect()
}

/// The time of one piece of work, of several of which each is done in turn with others.
/// The median, as other processes share the machine.
#[derive(Default)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn time<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let done = work();
        self.0.push(start.elapsed());
        done
    }

    /// Of one of `parts` equal parts of a piece, in seconds.
    pub(crate) fn per(&mut self, parts: usize) -> f64 {
        self.0.sort_unstable();
        let median = self.0.get(self.0.len() / 2).expect("something was timed");
        median.as_secs_f64() / report::float(parts)
    }
}
