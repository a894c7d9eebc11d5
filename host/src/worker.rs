//! The thread of one plugin: runs its callbacks one after another and commits
//! what they wrote. A thread of its own, so that a plugin that loops takes its
//! share of the scheduler and nobody else's (contract P6).

use std::{panic::AssertUnwindSafe, sync::Arc, thread::JoinHandle, time::Duration};

use haptic_core::{
    engine::{Callback, Outcome},
    view::View,
};

use crate::{
    cached::Bodies,
    leader::Tenure,
    output::{self, Changed, Debt, Sink, SinkError},
    plugin::{CallError, Instance, Limits, LogSink, Plugin},
};

/// What a worker needs to make instances and to run them.
pub struct WorkerOptions {
    /// The compiled plugin.
    pub plugin: Plugin,
    /// Its limits.
    pub limits: Limits,
    /// JSON text of its settings.
    pub settings: String,
    /// Where its log lines go.
    pub logs: LogSink,
    /// Where its outputs go.
    pub sink: Sink,
    /// The bodies of its cached stores.
    pub bodies: Bodies,
}

/// A callback to run.
pub struct Job {
    /// Which.
    pub callback: Callback,
    /// The name of its watch.
    pub watch_name: String,
    /// What it sees.
    pub view: Arc<View>,
    /// With leader election: while what it writes may be committed.
    pub tenure: Option<Tenure>,
}

/// A callback that ran.
#[derive(Debug)]
pub struct Done {
    /// The name of its watch.
    pub watch_name: String,
    /// Which.
    pub callback: Callback,
    /// What came of it.
    pub result: Result<Committed, WorkError>,
}

/// A callback that succeeded, and whose outputs are in their place.
#[derive(Debug)]
pub struct Committed {
    /// How long the callback ran, without the commit.
    pub duration: Duration,
    /// Bytes that it wrote, changed or not.
    pub bytes: usize,
    /// Linear memory of the instance, in bytes.
    pub memory: u64,
    /// Outputs whose content changed.
    pub changed: Vec<Changed>,
    /// That the hook has to run.
    pub debt: Option<Debt>,
}

/// Why a callback did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// The plugin failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The callback succeeded, and its outputs could not be put in their place.
    #[error(transparent)]
    Commit(#[from] SinkError),
    /// The host itself panicked: a bug of ours, which the panic's own message on
    /// standard error describes.
    #[error(
        "the host failed while it ran a callback: please report this with the panic message above"
    )]
    Host,
}

impl WorkError {
    /// What the engine is to make of it.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Call(error) if !error.instance_lives() => Outcome::Died,
            Self::Host => Outcome::Died,
            Self::Commit(SinkError::NotLeading) => Outcome::NotLeading,
            Self::Call(_) | Self::Commit(_) => Outcome::Failed,
        }
    }
}

impl WorkError {
    /// Whether nothing failed, but this process led when the callback began and did
    /// not when it was to be committed.
    #[must_use]
    pub fn leadership_was_lost(&self) -> bool {
        matches!(self, Self::Commit(SinkError::NotLeading))
    }

    /// Whether standard output was closed at the other end, as `| head` does:
    /// no failure, but nothing is left to do.
    #[must_use]
    pub fn reader_is_gone(&self) -> bool {
        matches!(self, Self::Commit(SinkError::Stdout(error))
            if error.kind() == std::io::ErrorKind::BrokenPipe)
    }
}

/// A running worker. Dropping it ends the thread after the callback that is
/// running, without waiting for it.
pub struct Worker {
    jobs: std::sync::mpsc::Sender<Job>,
    _thread: JoinHandle<()>,
}

impl Worker {
    /// Starts the thread with a first instance that has answered `describe`.
    /// `done` is called on that thread after each callback; answering false ends it.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        options: WorkerOptions,
        first: Instance,
        done: impl FnMut(Done) -> bool + Send + 'static,
    ) -> std::io::Result<Self> {
        let (jobs, queue) = std::sync::mpsc::channel();
        let runtime = tokio::runtime::Handle::current();
        let thread = std::thread::Builder::new()
            .name(format!("plugin-{}", options.plugin.name()))
            .spawn(move || work(options, first, &queue, &runtime, done))?;
        Ok(Self {
            jobs,
            _thread: thread,
        })
    }

    /// Hands over a callback. At most one is under way: the engine sees to that.
    /// Answers false when the thread has ended.
    #[must_use]
    pub fn run(&self, job: Job) -> bool {
        self.jobs.send(job).is_ok()
    }
}

fn work(
    mut options: WorkerOptions,
    first: Instance,
    queue: &std::sync::mpsc::Receiver<Job>,
    runtime: &tokio::runtime::Handle,
    mut done: impl FnMut(Done) -> bool,
) {
    let mut instance = Some(first);
    while let Ok(job) = queue.recv() {
        let ran = std::panic::catch_unwind(AssertUnwindSafe(|| {
            runtime.block_on(perform(&mut options, &mut instance, &job))
        }));
        // The instance that was running is not used again.
        let result = ran.unwrap_or(Err(WorkError::Host));
        if result
            .as_ref()
            .is_err_and(|error| error.outcome() == Outcome::Died)
        {
            instance = None;
        }
        if !done(Done {
            watch_name: job.watch_name,
            callback: job.callback,
            result,
        }) {
            return;
        }
    }
}

async fn perform(
    options: &mut WorkerOptions,
    slot: &mut Option<Instance>,
    job: &Job,
) -> Result<Committed, WorkError> {
    let instance = match slot {
        Some(instance) => instance,
        None => {
            let logs = Arc::clone(&options.logs);
            let mut fresh = options
                .plugin
                .instantiate(&options.limits, &options.settings, logs)
                .await?;
            // Its watches are known; a new instance is told its settings all the same.
            fresh.describe().await?;
            slot.insert(fresh)
        }
    };
    let completed = instance
        .call(
            &job.callback,
            &job.watch_name,
            Arc::clone(&job.view),
            &options.bodies,
        )
        .await?;
    let bytes = completed.outputs.values().map(Vec::len).sum();
    let output::Committed { changed, debt } = options
        .sink
        .commit(completed.outputs, job.tenure.as_ref())
        .await?;
    Ok(Committed {
        duration: completed.duration,
        bytes,
        memory: completed.memory,
        changed,
        debt,
    })
}

/// The bound of the dispatch loop's queue, in messages: a message is a chunk of a
/// stream (64 KiB of objects at most), so some megabytes.
pub const QUEUE: usize = 64;
