//! The hooks of all plugins, for the loop that owns them: starts runs, takes in how
//! they ended, and answers for how they stand.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use haptic_core::{Time, engine::PluginId};
use tokio::task::{Id, JoinSet};

use super::{HookConfig, HookError, Occasion, Schedule, Standing, run};
use crate::{
    chain::chain,
    output::{Debt, Mark},
    plugin::LogSink,
};

/// The hooks that are configured. Dropped, it kills those that run, soon.
#[derive(Default)]
pub(crate) struct Hooks {
    plugins: HashMap<PluginId, Hook>,
    runs: JoinSet<Result<(), HookError>>,
}

/// What a plugin's hook is made of.
pub(crate) struct HookOptions {
    /// The command.
    pub(crate) config: HookConfig,
    /// The plugin's name.
    pub(crate) plugin: String,
    /// Where its outputs go, as the command is told.
    pub(crate) output: std::ffi::OsString,
    /// Where it is written down that it is due.
    pub(crate) mark: Mark,
    /// Where its lines go.
    pub(crate) logs: LogSink,
}

struct Hook {
    options: HookOptions,
    schedule: Schedule,
    run: Option<(Id, Instant)>,
    succeeded: u64,
    failed: u64,
    last: Option<(Time, Duration)>,
    last_error: Option<(Time, String)>,
}

/// A run that ended.
pub(crate) struct Ended {
    /// The plugin's name.
    pub(crate) plugin: String,
    pub(crate) duration: Duration,
    /// Failures in a row, this one included.
    pub(crate) failures: u32,
    pub(crate) result: Result<(), HookError>,
}

/// How a hook stands, and how it went.
pub(crate) struct HookReport<'a> {
    pub(crate) standing: Standing,
    pub(crate) failures: u32,
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    /// When the last success was, and how long it took.
    pub(crate) last: Option<(Time, Duration)>,
    pub(crate) last_error: Option<(Time, &'a str)>,
}

impl Hooks {
    pub(crate) fn add(&mut self, plugin: PluginId, options: HookOptions) {
        let hook = Hook {
            options,
            schedule: Schedule::default(),
            run: None,
            succeeded: 0,
            failed: 0,
            last: None,
            last_error: None,
        };
        self.plugins.insert(plugin, hook);
    }

    /// A plugin goes on as another one, whose hook is the same (contract P3).
    pub(crate) fn replaced(&mut self, old: PluginId, new: PluginId) {
        if let Some(hook) = self.plugins.remove(&old) {
            self.plugins.insert(new, hook);
        }
    }

    /// A commit owes a run.
    pub(crate) fn owe(&mut self, plugin: PluginId, debt: Debt) {
        if let Some(hook) = self.plugins.get_mut(&plugin) {
            hook.schedule.owe(debt);
        }
    }

    /// Starts what is due.
    pub(crate) fn start(&mut self, now: Time) {
        for hook in self.plugins.values_mut() {
            let Some(debt) = hook.schedule.start(now) else {
                continue;
            };
            let HookOptions {
                config,
                plugin,
                output,
                mark,
                logs,
            } = &hook.options;
            let occasion = Occasion {
                plugin: plugin.clone(),
                output: output.clone(),
                changed: debt.names().clone(),
            };
            let (config, mark, logs) = (config.clone(), mark.clone(), logs.clone());
            let plugin = plugin.clone();
            let task = self.runs.spawn(async move {
                run(&config, &occasion, logs).await?;
                if let Err(error) = mark.clear(debt.token()).await {
                    tracing::warn!(
                        plugin,
                        "cannot note that the hook has run, so it will run once more than it must: {}",
                        chain(&error)
                    );
                }
                Ok(())
            });
            hook.run = Some((task.id(), Instant::now()));
        }
    }

    /// Waits for a run to end; for ever while none is under way.
    pub(crate) async fn ended(&mut self) -> (Id, Result<(), HookError>) {
        match self.runs.join_next_with_id().await {
            None => std::future::pending().await,
            Some(Ok(ended)) => ended,
            Some(Err(panic)) => {
                let id = panic.id();
                (id, Err(HookError::Wait(std::io::Error::other(panic))))
            }
        }
    }

    /// Takes in what [`Hooks::ended`] answered.
    pub(crate) fn take_in(
        &mut self,
        now: Time,
        id: Id,
        result: Result<(), HookError>,
    ) -> Option<Ended> {
        let hook = self
            .plugins
            .values_mut()
            .find(|hook| hook.run.is_some_and(|(run, _)| run == id))?;
        let duration = hook.run.take().map(|(_, began)| began.elapsed());
        let duration = duration.unwrap_or_default();
        hook.schedule.finished(now, result.is_ok());
        match &result {
            Ok(()) => {
                hook.succeeded += 1;
                hook.last = Some((now, duration));
            }
            Err(error) => {
                hook.failed += 1;
                hook.last_error = Some((now, chain(error)));
            }
        }
        Some(Ended {
            plugin: hook.options.plugin.clone(),
            duration,
            failures: hook.schedule.failures(),
            result,
        })
    }

    /// Another process leads: what has not begun is its business.
    pub(crate) fn forget(&mut self) {
        for hook in self.plugins.values_mut() {
            hook.schedule.forget();
        }
    }

    /// Kills those that run, and waits until that is done.
    pub(crate) async fn end(&mut self) {
        self.runs.shutdown().await;
    }

    /// When a run is to be tried again.
    pub(crate) fn next(&self) -> Option<Time> {
        let hooks = self.plugins.values();
        hooks.filter_map(|hook| hook.schedule.next()).min()
    }

    /// Whether one runs.
    pub(crate) fn are_running(&self) -> bool {
        !self.runs.is_empty()
    }

    /// Whether none runs or has to.
    pub(crate) fn are_idle(&self) -> bool {
        let mut hooks = self.plugins.values();
        hooks.all(|hook| hook.schedule.standing() == Standing::Idle)
    }

    /// How a plugin's hook stands; `None`: it has none.
    pub(crate) fn report(&self, plugin: &str) -> Option<HookReport<'_>> {
        let mut hooks = self.plugins.values();
        let hook = hooks.find(|hook| hook.options.plugin == plugin)?;
        let last_error = hook.last_error.as_ref();
        Some(HookReport {
            standing: hook.schedule.standing(),
            failures: hook.schedule.failures(),
            succeeded: hook.succeeded,
            failed: hook.failed,
            last: hook.last,
            last_error: last_error.map(|(at, text)| (*at, text.as_str())),
        })
    }
}
