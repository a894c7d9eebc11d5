//! One live instance of a plugin: calls its exports, and turns what comes back,
//! traps and timeouts included, into a value.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{cached::Bodies, chain::chain};
use haptic_core::{
    Body, Object,
    engine::{Callback, ResourceEvent},
    spec::{ScopeSpec, Storage, WatchSpec},
    view::View,
};
use wasmtime::{
    Store, Trap, UpdateDeadline,
    component::{Resource, ResourceTable},
};

use super::{
    bindings::{exports::haptic::plugin::callbacks as wit, types},
    clock::GuestTime,
    guest::{Call, GuestState, LogLevel, LogSink, Logger},
    limits::{Limiter, Limits, MAX_INSTANCES, MAX_MEMORIES, MAX_TABLES, WASI_HANDLES, size},
    outputs::{Outputs, Pending},
    runtime::{Exports, Plugin},
    stdio::LineSink,
    usage::{Copies, Usage},
};

/// Time a callback may take beyond its limit while a host function runs: those
/// end by themselves, and only a WASI sleep is cut off by this.
const GRACE: Duration = Duration::from_millis(100);

/// What a callback that returned ok leaves behind.
#[derive(Debug)]
pub struct Completed {
    /// What it wrote.
    pub outputs: Outputs,
    /// How long it ran.
    pub duration: Duration,
    /// Linear memory of the instance afterwards, in bytes.
    pub memory: u64,
}

/// How a call into a plugin failed. After anything but [`CallError::Refused`]
/// the instance is dead: drop it and make a new one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The plugin returned an error; its instance lives on.
    #[error("{callback} returned an error: {message}")]
    Refused {
        /// Which export.
        callback: &'static str,
        /// The plugin's own text.
        message: String,
    },
    /// It was over its time.
    #[error("{callback} ran longer than its limit of {limit:?} (raise it with --callback-timeout)")]
    Timeout {
        /// Which export.
        callback: &'static str,
        /// The limit.
        limit: Duration,
    },
    /// It hit another limit.
    #[error("{callback} failed: {limit}")]
    Limit {
        /// Which export.
        callback: &'static str,
        /// A sentence that names the limit.
        limit: String,
    },
    /// It trapped.
    #[error("{callback} trapped: {reason}")]
    Trap {
        /// Which export.
        callback: &'static str,
        /// The panic's text when the plugin sent one, and the trap with its
        /// backtrace where the component has names.
        reason: String,
    },
    /// Something that it is granted is not there any more, so that no instance was made.
    #[error("{callback} failed: {message}")]
    Grant {
        /// Which export.
        callback: &'static str,
        /// Which grant, and why.
        message: String,
    },
}

impl CallError {
    /// Whether the instance survived the failure.
    #[must_use]
    pub fn instance_lives(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }
}

/// A live instance. One call at a time: its methods take `&mut self`.
pub struct Instance {
    store: Store<GuestState>,
    exports: Exports,
}

impl Instance {
    pub(super) async fn new(
        plugin: &Plugin,
        limits: &Limits,
        config: &str,
        logs: LogSink,
    ) -> Result<Self, CallError> {
        let time = plugin.clock.guest_time();
        let logger = Arc::new(Logger::new(logs, limits).timed(time.clone()));
        let sink = |level, target| {
            LineSink::new(
                Arc::clone(&logger),
                level,
                target,
                limits.log_line_bytes.max(1),
            )
        };
        let stdout = sink(LogLevel::Info, "stdout");
        let stderr = sink(LogLevel::Warn, "stderr");
        let wasi = plugin.sandbox.wasi().map_err(|error| CallError::Grant {
            callback: INSTANTIATION,
            message: chain(&error),
        });
        let mut wasi = wasi?;
        wasi.stdout(stdout.clone()).stderr(stderr.clone());
        if let Some(time) = &time {
            time.install(&mut wasi);
        }
        let wasi = wasi.build();
        let mut table = ResourceTable::new();
        table.set_max_capacity(WASI_HANDLES);
        let state = GuestState {
            wasi,
            table,
            limiter: Limiter::new(limits),
            limits: limits.clone(),
            logger,
            stdout,
            stderr,
            config: Arc::from(config),
            call: None,
            time,
            copies: Copies::default(),
            fuel: plugin.counts_fuel.then_some(u64::MAX),
            deadline: None,
            handles: 0,
            panic_text: None,
        };
        let mut store = Store::new(&plugin.engine, state);
        store.limiter(|state| &mut state.limiter);
        store.set_hostcall_fuel(usize::try_from(limits.call_bytes()).unwrap_or(usize::MAX));
        let store_handles = usize::try_from(limits.store_handles).unwrap_or(usize::MAX);
        store.set_max_component_handles(WASI_HANDLES.saturating_add(store_handles));
        store.epoch_deadline_callback(|cx| {
            let over = cx
                .data()
                .deadline
                .is_none_or(|deadline| Instant::now() >= deadline);
            Ok(if over {
                UpdateDeadline::Interrupt
            } else {
                UpdateDeadline::Continue(1)
            })
        });
        begin(&mut store);
        let limit = limits.callback_time;
        let time = store.data().time.clone();
        let made = within(limit, time, plugin.pre.instantiate_async(&mut store)).await;
        match made {
            Ok(Ok(exports)) => Ok(Self { store, exports }),
            Ok(Err(error)) => Err(explain(&mut store, INSTANTIATION, &error)),
            Err(TimeIsOver) => Err(CallError::Timeout {
                callback: INSTANTIATION,
                limit,
            }),
        }
    }

    /// Asks the plugin for its watches. Called once on every new instance, before
    /// any other callback.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn describe(&mut self) -> Result<Vec<WatchSpec>, CallError> {
        let config = Arc::clone(&self.store.data().config);
        begin(&mut self.store);
        let state = self.store.data();
        let (limit, time) = (state.limits.callback_time, state.time.clone());
        let call = self
            .exports
            .haptic_plugin_callbacks()
            .call_describe(&mut self.store, &config);
        let result = within(limit, time, call).await;
        let outcome = self.settle("describe", result);
        self.flush_logs();
        let watches = outcome?;
        Ok(watches.into_iter().map(watch_spec).collect())
    }

    /// Runs one callback on `view`; `watch_name` is the name of its watch, and `bodies`
    /// are those of its cached stores. What it wrote comes back only when it returned ok.
    ///
    /// # Errors
    /// [`CallError`]; the outputs of the call are gone.
    pub async fn call(
        &mut self,
        callback: &Callback,
        watch_name: &str,
        view: Arc<View>,
        bodies: &Bodies,
    ) -> Result<Completed, CallError> {
        self.store.data_mut().call = Some(Call {
            view,
            bodies: bodies.clone(),
            outputs: Pending::default(),
        });
        let began = Instant::now();
        begin(&mut self.store);
        let (name, result) = self.run(callback, watch_name).await;
        let outcome = self.settle(name, result);
        self.flush_logs();
        let state = self.store.data_mut();
        let outputs = state.call.take().map(|call| call.outputs);
        let mut outputs = outputs.unwrap_or_default();
        // A limit that was hit is the cause of whatever the guest made of it.
        if let Some(limit) = outputs.take_exceeded() {
            return Err(CallError::Limit {
                callback: name,
                limit: limit.to_string(),
            });
        }
        outcome?;
        Ok(Completed {
            outputs: outputs.into_outputs(),
            duration: began.elapsed(),
            memory: self.store.data().limiter.memory_used(),
        })
    }

    /// Gives each call this much fuel, where it is counted: a call that needs more fails.
    /// Default: as good as endless.
    pub fn limit_fuel(&mut self, fuel: u64) {
        let given = &mut self.store.data_mut().fuel;
        *given = given.map(|_| fuel);
    }

    /// What the last call used, also one that failed.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let state = self.store.data();
        let fuel = state.fuel.map(|given| {
            let left = self.store.get_fuel().unwrap_or(given);
            given.saturating_sub(left)
        });
        Usage {
            fuel,
            memory: state.limiter.memory_used(),
            slept: state.time.as_ref().map_or(Duration::ZERO, GuestTime::slept),
            ..state.copies.usage()
        }
    }

    /// Logs what the guest wrote without a newline, and how much it flooded.
    fn flush_logs(&self) {
        let state = self.store.data();
        state.stdout.flush_line();
        state.stderr.flush_line();
        state.logger.flush();
    }

    async fn run(
        &mut self,
        callback: &Callback,
        watch_name: &str,
    ) -> (&'static str, Returned<Result<(), String>>) {
        let state = self.store.data();
        let (limit, time) = (state.limits.callback_time, state.time.clone());
        let exports = self.exports.haptic_plugin_callbacks();
        let store = &mut self.store;
        let handle = |watch: usize| Resource::new_borrow(u32::try_from(watch).unwrap_or(u32::MAX));
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        match callback {
            Callback::SyncComplete {
                watch,
                initial_count,
            } => {
                let call =
                    exports.call_on_sync_complete(store, handle(*watch), count(*initial_count));
                ("on-sync-complete", within(limit, time, call).await)
            }
            Callback::Change {
                watch,
                stats,
                is_initial_sync,
            } => {
                let stats = types::ChangeStats {
                    created: count(stats.created),
                    modified: count(stats.modified),
                    deleted: count(stats.deleted),
                    is_initial_sync: *is_initial_sync,
                };
                let call = exports.call_on_change(store, handle(*watch), stats);
                ("on-change", within(limit, time, call).await)
            }
            Callback::Resource { watch: _, event } => {
                let event = match event {
                    ResourceEvent::Applied(object) => types::ResourceEvent::Applied(json(object)),
                    ResourceEvent::Deleted(object) => types::ResourceEvent::Deleted(json(object)),
                    ResourceEvent::Absent => types::ResourceEvent::Absent,
                };
                let copies = &mut store.data_mut().copies;
                copies.gave(watch_name);
                copies.gave(&event);
                let call = exports.call_on_resource_change(store, watch_name, &event);
                ("on-resource-change", within(limit, time, call).await)
            }
        }
    }

    fn settle<T>(
        &mut self,
        callback: &'static str,
        result: Returned<Result<T, String>>,
    ) -> Result<T, CallError> {
        match result {
            Ok(Ok(Ok(value))) => Ok(value),
            Ok(Ok(Err(message))) => {
                self.store.data_mut().copies.took(&message);
                Err(CallError::Refused {
                    callback,
                    message: message.chars().take(MAX_MESSAGE).collect(),
                })
            }
            Ok(Err(error)) => Err(explain(&mut self.store, callback, &error)),
            Err(TimeIsOver) => Err(CallError::Timeout {
                callback,
                limit: self.store.data().limits.callback_time,
            }),
        }
    }
}

/// The JSON of the object of a watch of one; such a watch keeps its body.
fn json(object: &Object) -> String {
    object.body().map_or("", Body::as_str).to_owned()
}

type Returned<T> = Result<wasmtime::Result<T>, TimeIsOver>;

/// A call has used up its time, of the machine's or of its own.
struct TimeIsOver;

/// Waits for a call, and gives it up when its time is over.
async fn within<T>(
    limit: Duration,
    time: Option<GuestTime>,
    call: impl Future<Output = T>,
) -> Result<T, TimeIsOver> {
    let over = async {
        match time {
            Some(time) => time.over().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        result = tokio::time::timeout(limit + GRACE, call) => result.map_err(|_elapsed| TimeIsOver),
        () = over => Err(TimeIsOver),
    }
}

/// Characters of a plugin's error text that are kept.
const MAX_MESSAGE: usize = 4_096;

/// What errors call the start code of a component.
const INSTANTIATION: &str = "instantiation";

/// A call begins: its time, its fuel, and what is counted of it.
fn begin(store: &mut Store<GuestState>) {
    if let Some(fuel) = store.data().fuel {
        let given = store.set_fuel(fuel);
        debug_assert!(given.is_ok(), "the engine of this plugin counts fuel");
    }
    let state = store.data_mut();
    state.copies = Copies::default();
    if let Some(time) = &state.time {
        time.begin(state.limits.callback_time);
    }
    state.deadline = Some(Instant::now() + state.limits.callback_time);
    // What the guest survived explains nothing that comes later.
    state.limiter.take_denial();
    state.panic_text = None;
    state.stderr.take_tail();
    store.set_epoch_deadline(1);
}

/// wasmtime's own limits, of which it says no more than a text: which of them it hit, as a
/// sentence.
fn limit_of(cause: &str, limits: &Limits) -> Option<String> {
    if cause.contains("fuel allocated for hostcalls") {
        return Some(format!(
            "it passed more than {} to the host in one call (raise it with --output-limit)",
            size(limits.call_bytes())
        ));
    }
    if cause.contains("store handle limit exceeded") || cause.contains("resource table has no free")
    {
        return Some(format!(
            "it holds more than {WASI_HANDLES} handles of the host's, and this limit is fixed: it should drop those that it does not need any more"
        ));
    }
    cause.contains("resource limit exceeded").then(|| {
        format!(
            "it has more than {MAX_INSTANCES} core instances, {MAX_TABLES} tables or {MAX_MEMORIES} memories, and these limits are fixed ({cause})"
        )
    })
}

/// Turns wasmtime's error into what happened, in the order in which causes hide
/// each other: a denied growth and a panic both surface as `unreachable`, and a guest that
/// was denied memory may run on.
fn explain(
    store: &mut Store<GuestState>,
    callback: &'static str,
    error: &wasmtime::Error,
) -> CallError {
    let state = store.data_mut();
    let trap = error.downcast_ref::<Trap>();
    if trap == Some(&Trap::Interrupt) {
        return CallError::Timeout {
            callback,
            limit: state.limits.callback_time,
        };
    }
    if let (Some(Trap::OutOfFuel), Some(fuel)) = (trap, state.fuel) {
        let limit = format!("it used more than {fuel} of fuel");
        return CallError::Limit { callback, limit };
    }
    let cause = error.root_cause().to_string();
    let denial = state.limiter.take_denial();
    if let Some(limit) = denial.or_else(|| limit_of(&cause, &state.limits)) {
        return CallError::Limit { callback, limit };
    }
    state.stderr.flush_line();
    let mut reason = String::new();
    if let Some(panic) = state.panic_text.take() {
        reason.push_str(&panic);
        reason.push_str("; ");
    }
    // The cause before the backtrace, which is long.
    let text = format!("{error:#}");
    match text.strip_suffix(&cause) {
        Some(around) if !around.is_empty() => {
            reason.push_str(&cause);
            reason.push_str("; ");
            reason.push_str(around.trim_end().trim_end_matches(':'));
        }
        _ => reason.push_str(text.trim_end()),
    }
    if text.contains("borrow handles still remain") {
        reason.push_str(
            " (the guest must drop the store handle that a callback is given before it returns: in C `haptic_plugin_stores_store_drop_borrow`, or keep one of its own from `stores.open`)",
        );
    }
    let mut reason: String = reason.chars().take(MAX_MESSAGE).collect();
    // Bounded itself, and cut at its beginning.
    let tail = state.stderr.take_tail();
    if !tail.is_empty() {
        reason.push_str("\nits stderr ended with:\n");
        reason.push_str(&tail);
    }
    CallError::Trap { callback, reason }
}

fn watch_spec(watch: wit::Watch) -> WatchSpec {
    WatchSpec {
        name: watch.name,
        api_version: watch.api_version,
        resources: watch.resources,
        scope: match watch.scope {
            types::Scope::AllNamespaces => ScopeSpec::AllNamespaces,
            types::Scope::OwnNamespace => ScopeSpec::OwnNamespace,
            types::Scope::Namespaces(namespaces) => ScopeSpec::Namespaces(namespaces),
        },
        object_name: watch.object_name,
        label_selector: watch.label_selector,
        field_selector: watch.field_selector,
        index_by: watch.index_by,
        indexes: watch
            .indexes
            .into_iter()
            .map(|index| (index.name, index.paths))
            .collect(),
        ignore_fields: watch.ignore_fields,
        keep_fields: watch.keep_fields,
        storage: match watch.storage {
            types::Storage::Memory => Storage::Memory,
            types::Storage::Cached => Storage::Cached,
        },
        cache_ttl: watch
            .cache_ttl_ms
            .map(|ms| Duration::from_millis(ms.into())),
        debounce: watch.debounce_ms.map(|ms| Duration::from_millis(ms.into())),
        on_change_during_sync: watch.on_change_during_sync,
        required: watch.required,
        extra: watch.extra,
    }
}
