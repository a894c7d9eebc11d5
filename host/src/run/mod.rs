//! The host at work: plugins, their watches and the loop between them, from the first
//! `describe` to the last callback. Owns the order of things; decides nothing that
//! [`haptic_core::engine`] can decide.

mod dispatch;
mod election;
mod error;
mod file;
mod prepare;
mod reload;
mod report;
mod slot;

use std::{num::NonZeroU32, time::Duration};

use haptic_core::shard::Shard;
use tokio::{sync::mpsc, task::JoinSet};

use crate::{
    access::Access,
    cached::Bodies,
    config::OnFailure,
    driver::Clock,
    leader::LeaseConfig,
    observe::{Ask, Books, Server},
    plugin::Runtime,
    record::{RecordOptions, Recorder},
    watches::{News, Watches},
    worker::QUEUE,
};

use self::{dispatch::Dispatch, election::Election, reload::FileNews};

pub use self::{
    error::RunError,
    prepare::{PluginRun, Prepared, prepare},
};
pub(crate) use self::{
    prepare::{Asked, Described, NO_WATCHES, ask, describe},
    report::{report_failure, report_success, show_diff},
};

/// How the host runs, beyond its plugins.
#[derive(Clone)]
pub struct RunOptions {
    /// Sync, deliver, commit, return (contract O3).
    pub once: bool,
    /// With `once`: give up when the cluster has not synced by then.
    pub once_timeout: Duration,
    /// Print what changed in each output as a unified diff.
    pub diff: bool,
    /// Bytes of bodies that are kept for all cached stores together.
    pub cache_bytes: usize,
    /// Contend for this Lease, and run callbacks only while it is held (contract L3).
    /// Not with `once`.
    pub election: Option<LeaseConfig>,
    /// The part of the objects that this process holds: what it shows of itself.
    /// [`PluginRun::shard`] is what makes it so.
    pub shard: Option<Shard>,
    /// What compiles new versions of plugins when their files change (contract P3);
    /// `None`: nothing does. Not with `once`, and not while it is recorded.
    pub reload: Option<Runtime>,
    /// Write down what the watches tell, in a new file.
    pub record: Option<RecordOptions>,
}

/// When a plugin is given up, and what then (contract P2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// After so many failures in a row.
    pub max_failures: NonZeroU32,
    /// What becomes of the host.
    pub on_failure: OnFailure,
}

/// Everything that happens to the loop.
enum Event {
    Watch(News),
    /// Somebody wants to see the state.
    Asked(Ask),
    Worker(slot::Ended),
    /// The file of the so-manieth plugin has another content.
    File {
        slot: usize,
        news: FileNews,
    },
    Stop,
}

impl From<News> for Event {
    fn from(news: News) -> Self {
        Self::Watch(news)
    }
}

impl From<Ask> for Event {
    fn from(ask: Ask) -> Self {
        Self::Asked(ask)
    }
}

/// Runs the plugins until `stop` resolves, or with [`RunOptions::once`] until
/// each has been told everything. `server` shows meanwhile what it does.
///
/// # Errors
/// [`RunError`]. Without `once` a failing plugin is retried, and ends the run only when
/// its [`Breaker`] says so.
pub async fn run(
    access: Access,
    prepared: Vec<Prepared>,
    options: RunOptions,
    server: Option<Server>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), RunError> {
    let election = match options.election.clone() {
        Some(config) => Some(Election::start(&access, config)?),
        None => None,
    };
    let clock = Clock::start();
    let (events, mut queue) = mpsc::channel(QUEUE);
    let bodies = Bodies::of(&access, clock, options.cache_bytes);
    let books = Books::default();
    let mut watches = Watches::new(&access, clock, &bodies);
    if let Some(record) = &options.record {
        let mut recorder =
            Recorder::create(record, access.own_namespace.as_deref()).map_err(RunError::Record)?;
        for Prepared { run, described, .. } in &prepared {
            let sha256 = run.sha256.as_deref().unwrap_or_default();
            recorder.add_plugin(run.plugin.name(), sha256, &run.limits, &described.specs);
        }
        watches.record(recorder);
    }
    let endpoints = server.map(|server| tokio::spawn(server.run(events.clone())));
    let mut dispatch = Dispatch::new(
        &access,
        options.clone(),
        watches,
        books,
        bodies,
        clock,
        events.clone(),
        election.as_ref(),
    );
    let mut files = JoinSet::new();
    for prepared in prepared {
        let file = prepared.run.file.clone();
        let source = dispatch.open(prepared)?;
        let fixed = options.once || options.record.is_some();
        if let (Some(runtime), Some(file), false) = (&options.reload, file, fixed) {
            files.spawn(reload::follow(
                source,
                file,
                runtime.clone(),
                events.clone(),
            ));
        }
    }
    let stopper = tokio::spawn({
        let events = events.clone();
        async move {
            stop.await;
            // A closed queue means that the loop has ended already.
            drop(events.send(Event::Stop).await);
        }
    });
    drop(events);
    let result = dispatch.run(&mut queue).await;
    dispatch.hooks.end().await;
    if let Some(written) = dispatch.watches.end_recording(clock.now()) {
        written.log();
    }
    stopper.abort();
    files.abort_all();
    if let Some(election) = election {
        election.stop().await;
    }
    if let Some(endpoints) = endpoints {
        endpoints.abort();
    }
    result
}
