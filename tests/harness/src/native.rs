//! A plugin type run as it is, without wasm: the SDK's backend over the host's own views.

use std::{
    cell::{Cell, RefCell},
    panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind},
    rc::Rc,
    sync::{Arc, Once},
    task::{Context, Poll, Waker},
    time::{Duration, SystemTime},
};

use haptic_core::{
    Body, Object,
    changes::ChangeKind,
    engine::{Callback, ResourceEvent},
    spec::{ScopeSpec, Storage, WatchSpec},
    view::{ReadError, StoreView, View},
};
use haptic_guest::{
    Change, ChangeStats, Config, Plugin, Store, StoreError, Watch,
    log::Level,
    native::{self, Backend, Instance},
    output::OutputError,
    store::Page,
};
use haptic_host::{
    cached::{Bodies, Reader},
    plugin::{
        CallError, Limits, LogLevel, LogLine, LogSink, OutputLimit, OutputName, Outputs, Pending,
        VirtualClock, WriteError,
    },
};

use crate::{
    builder::{LoadError, Setup},
    runner::{Called, Runner, Threads},
};

/// A plugin type and its instance.
pub(crate) struct Native<P> {
    instance: Option<Instance<P>>,
    host: Rc<Host>,
}

impl<P: Plugin> Native<P> {
    pub(crate) fn new(setup: Setup) -> Result<Self, LoadError> {
        let host = Host {
            limits: setup.limits,
            settings: setup.settings,
            logs: setup.logs,
            clock: setup.clock,
            threads: Threads::start()?,
            call: RefCell::new(None),
        };
        Ok(Self {
            instance: None,
            host: Rc::new(host),
        })
    }

    /// Runs `body` as the host runs an export: with imports that answer, and with a panic
    /// as a trap.
    fn run<R>(
        &self,
        callback: &'static str,
        body: impl FnOnce() -> Result<R, String>,
    ) -> Result<R, CallError> {
        let host: Rc<dyn Backend> = Rc::<Host>::clone(&self.host);
        match caught(|| native::run(host, body)) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(message)) => Err(CallError::Refused { callback, message }),
            Err(Panic { message, location }) => {
                // What the SDK's panic hook sends before the trap.
                let location = vec![("location".to_owned(), location)];
                let target = "panic".to_owned();
                let level = LogLevel::Error;
                let line = LogLine {
                    level,
                    target,
                    message: message.clone(),
                    fields: location,
                };
                (self.host.logs)(line);
                Err(CallError::Trap {
                    callback,
                    reason: message,
                })
            }
        }
    }
}

impl<P: Plugin> Runner for Native<P> {
    fn describe(&mut self) -> Result<Vec<WatchSpec>, CallError> {
        let config = Config::from_json(self.host.settings.as_str());
        let watches = self.run("describe", || Instance::<P>::describe(&config))?;
        self.instance = Some(Instance::new());
        Ok(watches.into_iter().map(watch_spec).collect())
    }

    fn call(
        &mut self,
        callback: &Callback,
        watch: &str,
        view: Arc<View>,
        bodies: &Bodies,
        _fuel: u64,
    ) -> Called {
        self.deliver(callback, watch, view, bodies).into()
    }

    fn kill(&mut self) {
        self.instance = None;
    }
}

impl<P: Plugin> Native<P> {
    fn deliver(
        &mut self,
        callback: &Callback,
        watch: &str,
        view: Arc<View>,
        bodies: &Bodies,
    ) -> Result<Outputs, CallError> {
        if self.instance.is_none() {
            self.describe()?;
        }
        let mut instance = self.instance.take().unwrap_or_default();
        *self.host.call.borrow_mut() = Some(Call {
            view,
            bodies: bodies.clone(),
            outputs: Pending::default(),
        });
        let result = self.run(callback.export(), || {
            deliver(&mut instance, callback, watch)
        });
        let call = self.host.call.borrow_mut().take();
        if result.as_ref().err().is_none_or(CallError::instance_lives) {
            self.instance = Some(instance);
        }
        result?;
        let mut outputs = call.map(|call| call.outputs).unwrap_or_default();
        match outputs.take_exceeded() {
            Some(limit) => {
                self.instance = None;
                Err(CallError::Limit {
                    callback: callback.export(),
                    limit: limit.to_string(),
                })
            }
            None => Ok(outputs.into_outputs()),
        }
    }
}

fn deliver<P: Plugin>(
    instance: &mut Instance<P>,
    callback: &Callback,
    watch: &str,
) -> Result<(), String> {
    let store = || Store::open(watch).map_err(|error| error.to_string());
    match callback {
        Callback::SyncComplete { initial_count, .. } => {
            instance.on_sync_complete(&store()?, count(*initial_count))
        }
        Callback::Change {
            stats,
            is_initial_sync,
            ..
        } => {
            let stats = ChangeStats {
                created: count(stats.created),
                modified: count(stats.modified),
                deleted: count(stats.deleted),
                is_initial_sync: *is_initial_sync,
            };
            instance.on_change(&store()?, stats)
        }
        Callback::Resource { event, .. } => {
            let event = match event {
                ResourceEvent::Applied(object) => {
                    haptic_guest::ResourceEvent::Applied(json(object))
                }
                ResourceEvent::Deleted(object) => {
                    haptic_guest::ResourceEvent::Deleted(json(object))
                }
                ResourceEvent::Absent => haptic_guest::ResourceEvent::Absent,
            };
            instance.on_resource_change(watch, event)
        }
    }
}

/// The JSON of the object of a watch of one; such a watch keeps its body.
fn json(object: &Object) -> String {
    object.body().map_or("", Body::as_str).to_owned()
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn watch_spec(watch: Watch) -> WatchSpec {
    // As on the way through the WIT: whole milliseconds, rounded up, for 0 has a meaning.
    let whole = |duration: Duration| {
        let ms = duration.as_nanos().div_ceil(1_000_000);
        Duration::from_millis(u32::try_from(ms).unwrap_or(u32::MAX).into())
    };
    WatchSpec {
        name: watch.name,
        api_version: watch.api_version,
        resources: watch.resources,
        scope: match watch.scope {
            haptic_guest::Scope::AllNamespaces => ScopeSpec::AllNamespaces,
            haptic_guest::Scope::OwnNamespace => ScopeSpec::OwnNamespace,
            haptic_guest::Scope::Namespaces(namespaces) => ScopeSpec::Namespaces(namespaces),
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
            haptic_guest::Storage::Memory => Storage::Memory,
            haptic_guest::Storage::Cached => Storage::Cached,
        },
        cache_ttl: watch.cache_ttl.map(whole),
        debounce: watch.debounce.map(whole),
        on_change_during_sync: watch.on_change_during_sync,
        required: watch.required,
        extra: watch.extra,
    }
}

struct Call {
    view: Arc<View>,
    bodies: Bodies,
    outputs: Pending,
}

/// The host, as the SDK sees it.
struct Host {
    limits: Limits,
    settings: String,
    logs: LogSink,
    clock: VirtualClock,
    /// What waits for bodies of cached stores.
    threads: Threads,
    /// Present while a callback runs.
    call: RefCell<Option<Call>>,
}

impl Host {
    fn store<T>(&self, name: &str, read: impl FnOnce(&StoreView) -> T) -> Result<T, StoreError> {
        Ok(read(self.reader(name)?.store()))
    }

    fn reader(&self, name: &str) -> Result<Reader, StoreError> {
        let call = self.call.borrow();
        let Some(Call { view, bodies, .. }) = call.as_ref() else {
            return Err(StoreError::Other(
                "stores can be read only while on-sync-complete, on-change or on-resource-change runs"
                    .to_owned(),
            ));
        };
        let store = view.open(name).map_err(store_error)?;
        let Some(store) = view.store(store) else {
            return Err(StoreError::NoSuchStore(name.to_owned()));
        };
        let until = tokio::time::Instant::now() + self.limits.callback_time;
        Ok(bodies.reader(store.clone(), self.limits.answer_bytes, until))
    }

    /// The answer of a reader, which for a store in memory is there at once.
    fn answer<T: Send>(
        &self,
        reader: &Reader,
        read: impl Future<Output = Result<T, ReadError>> + Send,
    ) -> Result<T, StoreError> {
        let mut read = std::pin::pin!(read);
        if reader.store().cached_plan().is_none()
            && let Poll::Ready(answer) = read.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        {
            return answer.map_err(store_error);
        }
        self.threads.block_on(read).map_err(store_error)
    }

    fn put(&self, name: &str, content: Vec<u8>) -> Result<(), OutputError> {
        let name = OutputName::parse(name).map_err(|e| OutputError::InvalidName(e.to_string()))?;
        match self.call.borrow_mut().as_mut() {
            Some(Call { outputs, .. }) => {
                outputs
                    .write(name, content, &self.limits)
                    .map_err(|error| match error {
                        WriteError::Clash { .. } => OutputError::InvalidName(error.to_string()),
                        WriteError::Limit(OutputLimit::Bytes(bytes)) => {
                            OutputError::TooLarge(bytes)
                        }
                        WriteError::Limit(OutputLimit::Count(_)) => {
                            OutputError::Other(error.to_string())
                        }
                    })
            }
            None => Err(OutputError::Other(
                "outputs can be written only while a callback runs".to_owned(),
            )),
        }
    }
}

fn store_error(error: ReadError) -> StoreError {
    match error {
        ReadError::NoSuchStore(text) => StoreError::NoSuchStore(text),
        ReadError::NoSuchIndex(text) => StoreError::NoSuchIndex(text),
        ReadError::InvalidKeys(text) => StoreError::InvalidKeys(text),
        ReadError::InvalidPath(text) => StoreError::InvalidPath(text),
        ReadError::InvalidCursor(text) => StoreError::InvalidCursor(text),
        ReadError::TooLarge(bytes) => StoreError::TooLarge(bytes),
        ReadError::Unavailable(text) => StoreError::Unavailable(text),
        error @ ReadError::OutOfTime => StoreError::Other(error.to_string()),
        ReadError::Other(text) => StoreError::Other(text),
    }
}

fn texts(bodies: Vec<Arc<str>>) -> Vec<String> {
    bodies.iter().map(ToString::to_string).collect()
}

impl Backend for Host {
    fn open(&self, store: &str) -> Result<(), StoreError> {
        if self.call.borrow().is_none() {
            return Err(StoreError::NoSuchStore(format!(
                "{store}: no callback is running"
            )));
        }
        self.store(store, |_| ())
    }

    fn all_synced(&self) -> bool {
        self.call
            .borrow()
            .as_ref()
            .is_some_and(|call| call.view.all_synced())
    }

    fn len(&self, store: &str) -> u32 {
        self.store(store, |store| count(store.len())).unwrap_or(0)
    }

    fn revision(&self, store: &str) -> u64 {
        self.store(store, StoreView::revision).unwrap_or(0)
    }

    fn get(&self, store: &str, keys: &[&str]) -> Result<Vec<String>, StoreError> {
        let reader = self.reader(store)?;
        self.answer(&reader, reader.get(keys)).map(texts)
    }

    fn get_by(&self, store: &str, index: &str, keys: &[&str]) -> Result<Vec<String>, StoreError> {
        let reader = self.reader(store)?;
        self.answer(&reader, reader.get_by(index, keys)).map(texts)
    }

    fn get_object(
        &self,
        store: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Option<String>, StoreError> {
        let reader = self.reader(store)?;
        let found = self.answer(&reader, reader.get_object(namespace, name))?;
        Ok(found.map(|body| body.to_string()))
    }

    fn list(&self, store: &str) -> Result<Vec<String>, StoreError> {
        let reader = self.reader(store)?;
        self.answer(&reader, reader.list()).map(texts)
    }

    fn page(
        &self,
        store: &str,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<Page<String>, StoreError> {
        let reader = self.reader(store)?;
        let (items, next) = self.answer(&reader, reader.page(cursor, limit))?;
        Ok(Page {
            items: texts(items),
            next,
        })
    }

    fn select(&self, store: &str, fields: &[&str], keys: &[&str]) -> Result<String, StoreError> {
        let reader = self.reader(store)?;
        self.answer(&reader, reader.select(fields, keys))
    }

    fn changes(&self, store: &str) -> Result<Vec<Change>, StoreError> {
        let changes = self.store(store, StoreView::changes)?;
        Ok(changes
            .iter()
            .map(|change| Change {
                kind: match change.kind {
                    ChangeKind::Created => haptic_guest::ChangeKind::Created,
                    ChangeKind::Modified => haptic_guest::ChangeKind::Modified,
                    ChangeKind::Deleted => haptic_guest::ChangeKind::Deleted,
                },
                namespace: change.object.namespace().to_owned(),
                name: change.object.name().to_owned(),
            })
            .collect())
    }

    fn write(&self, name: &str, content: &str) -> Result<(), OutputError> {
        self.put(name, content.as_bytes().to_vec())
    }

    fn write_bytes(&self, name: &str, content: &[u8]) -> Result<(), OutputError> {
        self.put(name, content.to_vec())
    }

    fn log(&self, level: Level, target: &str, message: &str, fields: &[(&str, &str)]) {
        (self.logs)(LogLine {
            level: match level {
                Level::Error => LogLevel::Error,
                Level::Warn => LogLevel::Warn,
                Level::Info => LogLevel::Info,
                Level::Debug => LogLevel::Debug,
                Level::Trace => LogLevel::Trace,
            },
            target: target.to_owned(),
            message: message.to_owned(),
            fields: fields
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
        });
    }

    fn config(&self) -> String {
        self.settings.clone()
    }

    fn now(&self) -> SystemTime {
        self.clock.date()
    }
}

struct Panic {
    message: String,
    location: String,
}

thread_local! {
    static CATCHING: Cell<bool> = const { Cell::new(false) };
    static CAUGHT: RefCell<Option<Panic>> = const { RefCell::new(None) };
}

/// Runs `body`; a panic in it is returned, with its place, and is not printed: it is a
/// failure of the callback, and whoever asserts on the callback reports it.
fn caught<R>(body: impl FnOnce() -> R) -> Result<R, Panic> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if CATCHING.get() {
                remember(info);
            } else {
                previous(info);
            }
        }));
    });
    let outer = CATCHING.replace(true);
    let result = catch_unwind(AssertUnwindSafe(body));
    CATCHING.set(outer);
    result.map_err(|_payload| {
        CAUGHT.take().unwrap_or_else(|| Panic {
            message: "a panic without a text".to_owned(),
            location: "unknown".to_owned(),
        })
    })
}

fn remember(info: &PanicHookInfo<'_>) {
    CAUGHT.set(Some(Panic {
        message: info
            .payload_as_str()
            .unwrap_or("a panic without a text")
            .to_owned(),
        location: info
            .location()
            .map_or_else(|| "unknown".to_owned(), ToString::to_string),
    }));
}
