//! Replays a recording ([`crate::record`]): the host's own engine and plugin runtime, told what
//! watches told another host, with a clock that goes from one line to the next without waiting.
//! Asks no cluster. Callbacks take no time of that clock, and run one after the other.

mod clock;
mod error;
mod feed;

use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc};

use haptic_core::{
    Time,
    engine::{Call, Engine, Outcome, PluginId},
    spec::WatchPlan,
};
use tracing::{info, warn};

use self::feed::Feed;
use crate::{
    output::Sink,
    plugin::{Instance, Limits, LogSink, Plugin, VirtualClock},
    record::{Entry, Recording},
    run::{report_failure, report_success, show_diff},
    worker::{Desk, Job, WorkError, WorkerOptions},
};

pub(crate) use self::{
    clock::LogTime,
    error::ReplayError,
    feed::{covers, missing},
};

/// A plugin that is to be told.
pub(crate) struct Player {
    pub(crate) name: String,
    pub(crate) plans: Vec<Arc<WatchPlan>>,
    /// The first instance, which has answered `describe`.
    pub(crate) first: Instance,
    /// What the others are made of. Its clock is the replay's.
    pub(crate) plugin: Plugin,
    pub(crate) limits: Limits,
    pub(crate) settings: String,
    pub(crate) logs: LogSink,
    pub(crate) sink: Sink,
    /// After so many failures in a row it is given up, and called rarely.
    pub(crate) max_failures: NonZeroU32,
}

/// How it is replayed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReplayOptions {
    /// Print what changed in each output as a unified diff.
    pub(crate) diff: bool,
    /// Bytes of bodies that are kept for all cached stores together.
    pub(crate) cache_bytes: usize,
}

/// Tells plugins everything, and lets time pass after it until nothing is pending. Blocks: not
/// for a thread of the runtime's own.
///
/// # Errors
/// [`ReplayError`]: that a callback failed, too.
pub(crate) fn replay(
    mut recording: Recording,
    players: Vec<Player>,
    clock: VirtualClock,
    options: ReplayOptions,
    runtime: tokio::runtime::Handle,
) -> Result<(), ReplayError> {
    let own = recording.header.own_namespace.clone().unwrap_or_default();
    let mut engine = Engine::new();
    let opened: Vec<(PluginId, Player)> = players
        .into_iter()
        .map(|player| {
            let plugin = engine.add_plugin(&player.name, &player.plans, &own);
            engine.set_max_failures(plugin, player.max_failures);
            (plugin, player)
        })
        .collect();
    let feed = Feed::new(&engine, &recording.header, &clock, options.cache_bytes);
    for watch in feed.unused() {
        info!(
            "nobody watches what the recording holds of {}",
            watch.describe()
        );
    }
    let desks = opened.into_iter().map(|(plugin, player)| {
        let options = WorkerOptions {
            plugin: player.plugin,
            limits: player.limits,
            settings: player.settings,
            logs: player.logs,
            sink: Arc::new(tokio::sync::Mutex::new(player.sink)),
            bodies: feed.bodies(),
        };
        (plugin, Desk::new(options, player.first))
    });
    let mut replay = Replay {
        desks: desks.collect(),
        engine,
        now: Time::ZERO,
        clock,
        diff: options.diff,
        runtime,
        callbacks: 0,
        failures: 0,
        reader_is_gone: false,
    };
    let ended = replay.play(&mut recording, feed)?;
    if !ended {
        warn!(
            "the recording was not ended: whoever made it was killed, and this is up to its last whole line"
        );
    }
    replay.result()
}

struct Replay {
    engine: Engine,
    desks: BTreeMap<PluginId, Desk>,
    now: Time,
    clock: VirtualClock,
    diff: bool,
    runtime: tokio::runtime::Handle,
    callbacks: u64,
    failures: u64,
    reader_is_gone: bool,
}

impl Replay {
    /// Answers whether the recording was ended in order.
    fn play(&mut self, recording: &mut Recording, mut feed: Feed) -> Result<bool, ReplayError> {
        let (mut events, mut ended) = (0_u64, false);
        // Lines of one watch and moment came together, and were taken in before callbacks began.
        let mut together = None;
        while let Some((at, entry)) = recording.next()? {
            let watch = match &entry {
                Entry::State(watch, _) | Entry::News(watch, _) => *watch,
                Entry::End => {
                    ended = true;
                    continue;
                }
                Entry::Other => continue,
            };
            if together.replace((at, watch)) != Some((at, watch)) {
                self.advance(at);
            }
            events += 1;
            match entry {
                Entry::State(watch, state) => {
                    feed.state(&mut self.engine, self.now, watch, &state);
                }
                Entry::News(watch, news) => feed.tell(&mut self.engine, self.now, watch, &news),
                Entry::End | Entry::Other => {}
            }
            if self.reader_is_gone {
                return Ok(true);
            }
        }
        // What was pending when it ended is not over yet.
        self.advance(recording.last());
        self.run_due();
        self.settle();
        let Self {
            callbacks,
            failures,
            ..
        } = self;
        info!(events, callbacks, failures, "replayed");
        Ok(ended)
    }

    /// Runs what is due before this moment, and goes there. What is due at that moment waits for
    /// what the watches have to tell.
    fn advance(&mut self, until: Time) {
        self.run_due();
        while let Some(due) = self.next_due().filter(|due| *due < until) {
            self.set(due);
            self.run_due();
        }
        self.set(until);
    }

    /// Lets time pass until nothing is pending, or a plugin is given up.
    fn settle(&mut self) {
        while let Some(due) = self.next_due() {
            let failures = self.failures;
            self.set(due);
            self.run_due();
            let is_broken = |plugin: &PluginId| self.engine.is_broken(*plugin);
            if self.failures > failures && self.desks.keys().any(is_broken) {
                return;
            }
        }
    }

    fn next_due(&self) -> Option<Time> {
        self.engine.next_due().filter(|_| !self.reader_is_gone)
    }

    fn set(&mut self, now: Time) {
        self.now = self.now.max(now);
        self.clock.advance_to(self.now.since_origin());
    }

    fn run_due(&mut self) {
        while !self.reader_is_gone {
            let calls = self.engine.poll(self.now);
            if calls.is_empty() {
                return;
            }
            for call in calls {
                self.run(call);
            }
        }
    }

    fn run(&mut self, call: Call) {
        let plugin = call.plugin;
        let watch_name = self
            .engine
            .watch_name(plugin, call.callback.watch())
            .to_owned();
        let Some(desk) = self.desks.get_mut(&plugin) else {
            return;
        };
        let job = Job {
            watch_name,
            callback: call.callback,
            view: call.view,
            outputs: call.outputs,
            tenure: None,
        };
        let done = desk.call(job, &self.runtime);
        self.callbacks += 1;
        let outcome = done
            .result
            .as_ref()
            .map_or_else(WorkError::outcome, |_| Outcome::Ok);
        self.engine.finished(self.now, plugin, outcome);
        match done.result {
            Ok(committed) => {
                let name = self.engine.plugin_name(plugin);
                report_success(name, &done.watch_name, &done.callback, &committed, None);
                if self.diff {
                    show_diff(&committed);
                }
            }
            Err(error) if error.reader_is_gone() => self.reader_is_gone = true,
            Err(error) => {
                self.failures += 1;
                report_failure(&self.engine, plugin, &done.watch_name, &error);
            }
        }
    }

    fn result(&self) -> Result<(), ReplayError> {
        if self.reader_is_gone {
            return Ok(());
        }
        if self.failures > 0 {
            return Err(ReplayError::Failed {
                failures: self.failures,
                callbacks: self.callbacks,
            });
        }
        let waiting: Vec<String> = self
            .desks
            .keys()
            .flat_map(|plugin| {
                let name = self.engine.plugin_name(*plugin);
                let watches = self.engine.waits_for(*plugin);
                watches.map(move |watch| format!("{name}: {watch}"))
            })
            .collect();
        match waiting.is_empty() {
            true => Ok(()),
            false => Err(ReplayError::NotSynced(waiting)),
        }
    }
}
