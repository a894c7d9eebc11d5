//! Writes down what watches tell the host: a reader of each stream beside the stores' own.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use haptic_core::{
    Object, Time,
    decode::ProjectionSpec,
    lease::WallTime,
    spec::{WatchPlan, WatchSpec},
    watch::{WatchOutput, WatchState},
};
use tracing::{error, info, warn};

use super::{
    Secrets,
    format::{Declared, Header, Line, RecordedLimits, RecordedPlugin, RecordedWatch, VERSION},
    mask::mask,
    redact::Redactor,
};
use crate::plugin::Limits;

/// How a recording is made.
#[derive(Clone, Debug)]
pub struct RecordOptions {
    /// Where to; nothing may be there yet.
    pub path: PathBuf,
    /// Write the values of Secrets as they are.
    pub with_secrets: bool,
    /// Where it ends, in bytes.
    pub limit: u64,
}

/// Why nothing can be recorded.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// A file is not overwritten.
    #[error("{} is there already: a recording overwrites nothing, give another name", .0.display())]
    Exists(PathBuf),
    /// The file cannot be made.
    #[error("cannot write recording {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file could be written no more.
    #[error("the recording {} breaks off", .0.display())]
    BreaksOff(PathBuf),
}

/// Whether there is something where a recording is to be made: to be asked before anything is
/// begun.
///
/// # Errors
/// [`RecordError::Exists`].
pub(crate) fn check(options: &RecordOptions) -> Result<(), RecordError> {
    match options.path.symlink_metadata() {
        Ok(_) => Err(RecordError::Exists(options.path.clone())),
        // Whatever else is wrong with it is found when it is made.
        Err(_) => Ok(()),
    }
}

/// A recording that is being made.
pub(crate) struct Recorder {
    file: File,
    path: PathBuf,
    redactor: Option<Redactor>,
    limit: u64,
    written: u64,
    events: u64,
    plugins: Vec<RecordedPlugin>,
    own_namespace: Option<String>,
    /// By the numbers of their streams.
    taps: HashMap<usize, Tap>,
    /// Lines of one report, which are written in one go.
    pending: String,
    /// It goes on no more.
    ended: bool,
    /// Because it cannot be written.
    failed: bool,
}

/// A stream that is listened to.
struct Tap {
    name: String,
    /// Which of the stream's readers is the recording; the stores' come before it.
    reader: usize,
    is_secrets: bool,
    /// Whether a store took the object that is told about, and whether one was told that it
    /// is gone.
    taken: bool,
    dropped: bool,
}

/// What was recorded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    pub(crate) events: u64,
    pub(crate) bytes: u64,
    pub(crate) watches: usize,
    /// Whether it breaks off because it could not be written.
    pub(crate) failed: bool,
}

impl Written {
    /// One line of what there is.
    pub(crate) fn log(self) {
        let Self {
            events,
            bytes,
            watches,
            failed: _,
        } = self;
        info!(events, bytes, watches, "recorded");
    }
}

impl Recorder {
    /// Makes the file. Only its owner may read it.
    ///
    /// # Errors
    /// [`RecordError`].
    pub(crate) fn create(
        options: &RecordOptions,
        own_namespace: Option<&str>,
    ) -> Result<Self, RecordError> {
        let made = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&options.path);
        let file = made.map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => RecordError::Exists(options.path.clone()),
            _ => RecordError::Write {
                path: options.path.clone(),
                source,
            },
        })?;
        Ok(Self {
            file,
            path: options.path.clone(),
            redactor: (!options.with_secrets).then(Redactor::new),
            limit: options.limit,
            written: 0,
            events: 0,
            plugins: Vec::new(),
            own_namespace: own_namespace.map(str::to_owned),
            taps: HashMap::new(),
            pending: String::new(),
            ended: false,
            failed: false,
        })
    }

    /// Takes note of whom it is made for. Before [`Recorder::begin`].
    pub(crate) fn add_plugin(
        &mut self,
        name: &str,
        sha256: &str,
        limits: &Limits,
        watches: &[WatchSpec],
    ) {
        self.plugins.push(RecordedPlugin {
            name: name.to_owned(),
            sha256: sha256.to_owned(),
            limits: RecordedLimits::of(limits),
            watches: watches.iter().map(Declared::of).collect(),
        });
    }

    /// Writes the header, at this moment of the host's clock.
    pub(crate) fn begin(&mut self, now: Time, watches: Vec<RecordedWatch>) {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        let started = since_epoch
            .unwrap_or(Duration::ZERO)
            .saturating_sub(now.since_origin());
        let header = Header {
            haptic_recording: VERSION,
            host: env!("CARGO_PKG_VERSION").to_owned(),
            started: WallTime::from_unix(started).to_string(),
            own_namespace: self.own_namespace.take(),
            secrets: match self.redactor {
                Some(_) => Secrets::Redacted,
                None => Secrets::Kept,
            },
            plugins: std::mem::take(&mut self.plugins),
            watches,
        };
        match serde_json::to_string(&header) {
            Ok(text) => {
                self.pending.push_str(&text);
                self.pending.push('\n');
                self.flush();
            }
            Err(error) => self.fail(&io::Error::other(error)),
        }
    }

    /// Listens to a stream of these watches; answers what it wants decoded, as the reader of
    /// that number.
    pub(crate) fn listen(
        &mut self,
        stream: usize,
        name: &str,
        plans: &[&Arc<WatchPlan>],
    ) -> ProjectionSpec {
        let plans: Vec<&WatchPlan> = plans.iter().map(|plan| &***plan).collect();
        let is_secrets = plans
            .first()
            .is_some_and(|plan| plan.resource.resource == "secrets");
        self.taps.insert(
            stream,
            Tap {
                name: name.to_owned(),
                reader: plans.len(),
                is_secrets,
                taken: false,
                dropped: false,
            },
        );
        mask(&plans)
    }

    /// How a watch is.
    pub(crate) fn state(&mut self, now: Time, stream: usize, state: &WatchState) {
        let Some(tap) = self.taps.get(&stream) else {
            return;
        };
        let line = Line::at(now).text("watch", &tap.name).state(state);
        self.push(line);
        self.flush();
    }

    /// What one of a stream's readers was told. [`Recorder::flush`] writes it.
    pub(crate) fn output(&mut self, now: Time, stream: usize, reader: usize, output: &WatchOutput) {
        let Some(tap) = self.taps.get_mut(&stream) else {
            return;
        };
        if reader < tap.reader {
            match output {
                // What a store cannot read may be readable to others, and is to be seen.
                WatchOutput::Listed(_)
                | WatchOutput::Applied(_)
                | WatchOutput::Quarantined { .. } => tap.taken = true,
                WatchOutput::Deleted { .. } => tap.dropped = true,
                WatchOutput::Resolved { .. }
                | WatchOutput::ListBegin
                | WatchOutput::PageEnd
                | WatchOutput::ListEnd { .. }
                | WatchOutput::Gone => {}
            }
            return;
        }
        let (taken, dropped) = (
            std::mem::take(&mut tap.taken),
            std::mem::take(&mut tap.dropped),
        );
        let line = Line::at(now).text("watch", &tap.name);
        let is_secret = tap.is_secrets;
        let body = |object: &Object| {
            let text = object.body().map_or("null", |body| body.as_str());
            match &self.redactor {
                Some(redactor) => redactor.object(text, is_secret).into_owned(),
                None => text.to_owned(),
            }
        };
        let line = match output {
            WatchOutput::Resolved {
                kind,
                api_version,
                namespaced,
            } => {
                let resolved = serde_json::json!({
                    "kind": kind, "apiVersion": api_version, "namespaced": namespaced,
                });
                line.json("resolved", &resolved.to_string())
            }
            WatchOutput::ListBegin => line.text("list", "begin"),
            WatchOutput::Listed(object) if taken => line.json("listed", &body(object)),
            WatchOutput::Applied(object) if taken => line.json("applied", &body(object)),
            // No plugin sees it, for a selector of the host's.
            WatchOutput::Listed(object) | WatchOutput::Applied(object) if dropped => {
                line.identity("deleted", object.identity())
            }
            WatchOutput::Listed(_) | WatchOutput::Applied(_) => return,
            WatchOutput::PageEnd => line.text("list", "page"),
            WatchOutput::ListEnd { resource_version } => line
                .text("list", "end")
                .text("resourceVersion", resource_version),
            // The last state that stores knew is the one that counts.
            WatchOutput::Deleted { identity, .. } => line.identity("deleted", identity),
            WatchOutput::Quarantined { identity, error } => match identity {
                Some(identity) => line.identity("unreadable", identity),
                None => line.json("unreadable", "null"),
            }
            .text("error", error),
            WatchOutput::Gone => line.json("gone", "true"),
        };
        self.push(line);
    }

    /// A callback ended: for people, a replay runs its own.
    pub(crate) fn callback(
        &mut self,
        now: Time,
        plugin: &str,
        watch: &str,
        callback: &str,
        error: Option<&str>,
    ) {
        let line = Line::at(now)
            .text("callback", callback)
            .text("plugin", plugin)
            .text("watch", watch);
        let line = match error {
            Some(error) => line.text("error", error),
            None => line,
        };
        self.push(line);
        self.flush();
    }

    /// Nothing more is recorded.
    pub(crate) fn end(mut self, now: Time) -> Written {
        if !self.ended {
            self.push(Line::at(now).json("end", "true"));
            self.events = self.events.saturating_sub(1);
            self.flush();
            if let Err(error) = self.file.sync_all() {
                self.fail(&error);
            }
        }
        Written {
            events: self.events,
            bytes: self.written,
            watches: self.taps.len(),
            failed: self.failed,
        }
    }

    /// Whether it has ended by itself: at its limit, or because it cannot be written.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    fn push(&mut self, line: Line) {
        if self.ended {
            return;
        }
        self.events += 1;
        self.pending.push_str(&line.end());
    }

    /// Hands the lines to the system: those are whole however the process ends.
    pub(crate) fn flush(&mut self) {
        if self.ended || self.pending.is_empty() {
            return;
        }
        let bytes = u64::try_from(self.pending.len()).unwrap_or(u64::MAX);
        if self.written.saturating_add(bytes) > self.limit {
            self.ended = true;
            warn!(
                bytes = self.written,
                "the recording {} ends here, at its limit; raise it with --record-limit",
                self.path.display()
            );
            return;
        }
        match self.file.write_all(self.pending.as_bytes()) {
            Ok(()) => self.written += bytes,
            Err(error) => self.fail(&error),
        }
        self.pending.clear();
        // A list may have been long.
        self.pending.shrink_to(KEPT_CAPACITY);
    }

    fn fail(&mut self, error: &io::Error) {
        (self.ended, self.failed) = (true, true);
        self.pending = String::new();
        error!(
            "the recording {} ends here: it cannot be written: {error}",
            self.path.display()
        );
    }
}

/// Room for the lines of a report that is kept from one to the next.
const KEPT_CAPACITY: usize = 1 << 20;
