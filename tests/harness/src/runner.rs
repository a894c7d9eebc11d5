//! What calls the plugin: a component in the host's own runtime, or the plugin type
//! itself. Both make a new instance after one has died.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use haptic_core::{engine::Callback, spec::WatchSpec, view::View};
use haptic_host::{
    cached::Bodies,
    plugin::{
        CallError, Clock, Instance, Limits, LogSink, Outputs, Plugin, Runtime, RuntimeOptions,
    },
};

use crate::{
    Cost,
    builder::{LoadError, Setup, chain},
};

/// One way of running a plugin.
pub(crate) trait Runner {
    /// Makes the first instance and asks for its watches.
    fn describe(&mut self) -> Result<Vec<WatchSpec>, CallError>;

    /// Runs a callback, on a new instance if the last one died; `fuel` is where it ends.
    fn call(
        &mut self,
        callback: &Callback,
        watch: &str,
        view: Arc<View>,
        bodies: &Bodies,
        fuel: u64,
    ) -> Called;

    /// Ends the instance, as a trap does.
    fn kill(&mut self);
}

/// A callback that ran.
pub(crate) struct Called {
    pub(crate) result: Result<Outputs, CallError>,
    /// `None`: nothing was counted.
    pub(crate) cost: Option<Cost>,
}

impl From<Result<Outputs, CallError>> for Called {
    fn from(result: Result<Outputs, CallError>) -> Self {
        Self { result, cost: None }
    }
}

/// A component under the host's limits.
pub(crate) struct Component {
    plugin: Plugin,
    limits: Limits,
    settings: String,
    logs: LogSink,
    instance: Option<Instance>,
    threads: Threads,
}

impl Component {
    pub(crate) fn load(path: &Path, setup: Setup) -> Result<Self, LoadError> {
        let plugin = compiled(&find(path)?, setup.count_fuel)?;
        Ok(Self {
            plugin: plugin
                .with_sandbox(setup.sandbox)
                .with_clock(Clock::Virtual(setup.clock)),
            limits: setup.limits,
            settings: setup.settings,
            logs: setup.logs,
            instance: None,
            threads: Threads::start()?,
        })
    }
}

impl Runner for Component {
    fn describe(&mut self) -> Result<Vec<WatchSpec>, CallError> {
        let Self {
            plugin,
            limits,
            settings,
            logs,
            instance,
            threads,
        } = self;
        let described = threads.block_on(async {
            let mut fresh = plugin
                .instantiate(limits, settings, Arc::clone(logs))
                .await?;
            let watches = fresh.describe().await?;
            Ok((fresh, watches))
        });
        let (fresh, watches) = described?;
        *instance = Some(fresh);
        Ok(watches)
    }

    fn call(
        &mut self,
        callback: &Callback,
        watch: &str,
        view: Arc<View>,
        bodies: &Bodies,
        fuel: u64,
    ) -> Called {
        if self.instance.is_none() {
            // Its watches are known; a new instance is told its settings all the same.
            if let Err(error) = self.describe() {
                return Err(error).into();
            }
        }
        let Some(instance) = &mut self.instance else {
            return Ok(Outputs::new()).into();
        };
        instance.limit_fuel(fuel);
        let call = instance.call(callback, watch, view, bodies);
        let result = self.threads.block_on(call);
        let cost = Some(instance.usage());
        if result.as_ref().is_err_and(|error| !error.instance_lives()) {
            self.instance = None;
        }
        Called {
            result: result.map(|completed| completed.outputs),
            cost,
        }
    }

    fn kill(&mut self) {
        self.instance = None;
    }
}

/// The executor that a component's calls run on, and reads of cached stores. Works in a plain test and inside the
/// test's own runtime alike.
pub(crate) struct Threads(Option<tokio::runtime::Runtime>);

impl Threads {
    pub(crate) fn start() -> Result<Self, LoadError> {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map(|runtime| Self(Some(runtime)))
            .map_err(|error| LoadError::Runtime(error.to_string()))
    }

    pub(crate) fn block_on<F: Future<Output: Send> + Send>(&self, future: F) -> F::Output {
        let Some(runtime) = &self.0 else {
            unreachable!("the executor is taken only when it is dropped")
        };
        if tokio::runtime::Handle::try_current().is_err() {
            return runtime.block_on(future);
        }
        // A thread that drives one executor cannot drive another.
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| runtime.block_on(future));
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Drop for Threads {
    /// Waiting for an executor's threads is not allowed inside another executor.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// A relative path is looked for in the working directory, which in a test is the
/// package's, and then in those above it, where a workspace has its `target`.
fn find(path: &Path) -> Result<PathBuf, LoadError> {
    let here = std::env::current_dir().unwrap_or_default();
    let found = here
        .ancestors()
        .flat_map(|folder| [folder.join(path), folder.join(in_repository(path))])
        .find(|file| file.is_file());
    found.ok_or_else(|| LoadError::Missing {
        path: path.to_owned(),
        below: here,
    })
}

/// Where haptic-host's own repository builds what others build below `target`: beside what is
/// compiled natively, with a standard library of its own.
fn in_repository(path: &Path) -> PathBuf {
    match path.strip_prefix("target") {
        Ok(rest) => Path::new("target/guests").join(rest),
        Err(_) => path.to_owned(),
    }
}

/// A runtime of this process and what it compiled: tests of one binary that load the same
/// component compile it once. One counts fuel, and one runs what the host runs.
struct Shared {
    runtime: Runtime,
    compiled: Mutex<HashMap<Vec<u8>, Plugin>>,
}

/// The variable that names a folder for compiled components.
const CACHE: &str = "HAPTIC_HARNESS_CACHE";

fn compiled(path: &Path, count_fuel: bool) -> Result<Plugin, LoadError> {
    static SHARED: [OnceLock<Result<Shared, String>>; 2] = [OnceLock::new(), OnceLock::new()];
    let shared = SHARED[usize::from(count_fuel)].get_or_init(|| {
        let options = RuntimeOptions {
            cache_dir: std::env::var_os(CACHE).map(PathBuf::from),
            count_fuel,
            ..RuntimeOptions::default()
        };
        let runtime = Runtime::new(&options).map_err(|error| chain(&error))?;
        Ok(Shared {
            runtime,
            compiled: Mutex::default(),
        })
    });
    let Shared { runtime, compiled } = shared
        .as_ref()
        .map_err(|error| LoadError::Runtime(error.clone()))?;
    let Ok(bytes) = std::fs::read(path) else {
        // The host has the sentence for this.
        return runtime.load(path).map_err(LoadError::Plugin);
    };
    let mut compiled = compiled.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(plugin) = compiled.get(&bytes) {
        return Ok(plugin.clone());
    }
    let plugin = runtime.load(path).map_err(LoadError::Plugin)?;
    compiled.insert(bytes, plugin.clone());
    Ok(plugin)
}
