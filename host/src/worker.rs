//! The thread of one plugin: runs its callbacks one after another and commits
//! what they wrote. A thread of its own, so that a plugin that loops takes its
//! share of the scheduler and nobody else's (contract P6).

use std::{panic::AssertUnwindSafe, sync::Arc, thread::JoinHandle, time::Duration};

use haptic_core::{
    engine::{Callback, Disposal, Outcome},
    view::View,
};

use crate::{
    cached::Bodies,
    leader::Tenure,
    output::{self, Changed, Debt, Sink, SinkError},
    plugin::{CallError, Instance, Limits, LogSink, Outputs, Plugin},
};

/// The sink of a plugin, which its old version hands to the new one (contract P3). The
/// engine sees to it that only one of them commits; it is never locked while a guest runs.
pub type SharedSink = Arc<tokio::sync::Mutex<Sink>>;

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
    pub sink: SharedSink,
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
    /// What becomes of what it writes.
    pub outputs: Disposal,
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

/// What a worker did.
#[derive(Debug)]
pub enum Ended {
    /// A callback.
    Call(Done),
    /// The commit of everything that was kept.
    TakeOver(Result<Committed, WorkError>),
}

/// A callback that succeeded, and whose outputs are in their place, or kept.
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

/// What a worker is to do.
enum Order {
    Call(Job),
    TakeOver(Option<Tenure>),
}

/// A running worker. Dropping it ends the thread after the callback that is
/// running, without waiting for it.
pub struct Worker {
    jobs: std::sync::mpsc::Sender<Order>,
    _thread: JoinHandle<()>,
}

impl Worker {
    /// Starts the thread with a first instance that has answered `describe`.
    /// `done` is called on that thread after each order; answering false ends it.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        options: WorkerOptions,
        first: Instance,
        done: impl FnMut(Ended) -> bool + Send + 'static,
    ) -> std::io::Result<Self> {
        let (jobs, queue) = std::sync::mpsc::channel();
        let runtime = tokio::runtime::Handle::current();
        let thread = std::thread::Builder::new()
            .name(format!("plugin-{}", options.plugin.name()))
            .spawn(move || {
                work(Desk::new(options, first), &queue, &runtime, done);
            })?;
        Ok(Self {
            jobs,
            _thread: thread,
        })
    }

    /// Hands over a callback. At most one is under way: the engine sees to that.
    /// Answers false when the thread has ended.
    #[must_use]
    pub fn run(&self, job: Job) -> bool {
        self.jobs.send(Order::Call(job)).is_ok()
    }

    /// Has everything committed that callbacks wrote and that was kept, in one go. With
    /// leader election: if `tenure` lasts. Answers false when the thread has ended.
    #[must_use]
    pub fn take_over(&self, tenure: Option<Tenure>) -> bool {
        self.jobs.send(Order::TakeOver(tenure)).is_ok()
    }
}

/// What lies before a worker, or before whoever runs callbacks one after the other.
pub(crate) struct Desk {
    options: WorkerOptions,
    /// `None`: the last one failed.
    instance: Option<Instance>,
    /// Outputs that wait for the takeover, at most as many bytes as one callback may write.
    kept: Outputs,
    /// Linear memory of the instance after its last callback.
    memory: u64,
}

fn work(
    mut desk: Desk,
    queue: &std::sync::mpsc::Receiver<Order>,
    runtime: &tokio::runtime::Handle,
    mut done: impl FnMut(Ended) -> bool,
) {
    while let Ok(order) = queue.recv() {
        let ended = match order {
            Order::Call(job) => Ended::Call(desk.call(job, runtime)),
            Order::TakeOver(tenure) => {
                let committed = std::panic::catch_unwind(AssertUnwindSafe(|| {
                    let kept = std::mem::take(&mut desk.kept);
                    runtime.block_on(desk.commit(kept, tenure.as_ref(), Duration::ZERO))
                }));
                Ended::TakeOver(committed.unwrap_or(Err(WorkError::Host)))
            }
        };
        if !done(ended) {
            return;
        }
    }
}

impl Desk {
    /// With a first instance that has answered `describe`.
    pub(crate) fn new(options: WorkerOptions, first: Instance) -> Self {
        Self {
            options,
            instance: Some(first),
            kept: Outputs::new(),
            memory: 0,
        }
    }

    /// Runs a callback on this thread. A panic of the host is an error like others.
    pub(crate) fn call(&mut self, job: Job, runtime: &tokio::runtime::Handle) -> Done {
        let ran =
            std::panic::catch_unwind(AssertUnwindSafe(|| runtime.block_on(self.perform(&job))));
        // The instance that was running is not used again.
        let result = ran.unwrap_or(Err(WorkError::Host));
        if result
            .as_ref()
            .is_err_and(|error| error.outcome() == Outcome::Died)
        {
            self.instance = None;
        }
        Done {
            watch_name: job.watch_name,
            callback: job.callback,
            result,
        }
    }

    async fn perform(&mut self, job: &Job) -> Result<Committed, WorkError> {
        let options = &self.options;
        let instance = match &mut self.instance {
            Some(instance) => instance,
            slot @ None => {
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
        self.memory = completed.memory;
        match job.outputs {
            Disposal::Commit => {
                self.commit(completed.outputs, job.tenure.as_ref(), completed.duration)
                    .await
            }
            Disposal::Keep { first } => {
                if first {
                    self.kept.clear();
                }
                let bytes = size(&completed.outputs);
                self.kept.extend(completed.outputs);
                self.check_kept(job.callback.export())?;
                Ok(Committed {
                    duration: completed.duration,
                    bytes,
                    memory: self.memory,
                    changed: Vec::new(),
                    debt: None,
                })
            }
        }
    }

    /// A plugin that is told everything bit by bit may not have more kept than it may have
    /// committed at a time.
    fn check_kept(&self, callback: &'static str) -> Result<(), CallError> {
        let limits = &self.options.limits;
        let limit = if u64::try_from(size(&self.kept)).is_ok_and(|size| size <= limits.output_bytes)
        {
            if self.kept.len() <= limits.output_count {
                return Ok(());
            }
            format!("{} outputs", limits.output_count)
        } else {
            format!(
                "{} bytes of output (raise it with --output-limit)",
                limits.output_bytes
            )
        };
        Err(CallError::Limit {
            callback,
            limit: format!("what it wrote before it takes over is more than {limit}"),
        })
    }

    async fn commit(
        &self,
        outputs: Outputs,
        tenure: Option<&Tenure>,
        duration: Duration,
    ) -> Result<Committed, WorkError> {
        let bytes = size(&outputs);
        let mut sink = self.options.sink.lock().await;
        let output::Committed { changed, debt } = sink.commit(outputs, tenure).await?;
        Ok(Committed {
            duration,
            bytes,
            memory: self.memory,
            changed,
            debt,
        })
    }
}

fn size(outputs: &Outputs) -> usize {
    outputs.values().map(Vec::len).sum()
}

/// The bound of the dispatch loop's queue, in messages: a message is a chunk of a
/// stream (64 KiB of objects at most), so some megabytes.
pub const QUEUE: usize = 64;
