//! From a plugin to a test of it.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use haptic_core::{engine::Engine, spec::plan_all};
use haptic_guest::Plugin;
use haptic_host::plugin::{CallError, Limits, LogLine, LogSink, Sandbox, VirtualClock};
use serde_json::{Map, Value};

use crate::{
    budget::Budget,
    harness::{Harness, Parts},
    native::Native,
    objects::Kinds,
    runner::{Component, Runner},
    server::Server,
};

type Make = Box<dyn FnOnce(Setup) -> Result<Box<dyn Runner>, LoadError>>;

/// The date at which tests begin: 1 January 2025, midnight in Greenwich.
const BEGINNING: Duration = Duration::from_secs(1_735_689_600);

/// What a runner is made from.
pub(crate) struct Setup {
    pub(crate) limits: Limits,
    pub(crate) sandbox: Sandbox,
    /// JSON text.
    pub(crate) settings: String,
    pub(crate) logs: LogSink,
    pub(crate) clock: VirtualClock,
    pub(crate) count_fuel: bool,
}

/// A plugin that is about to be loaded: see [`Harness::wasm`] and [`Harness::native`].
#[must_use = "`load()` makes the test"]
pub struct Builder {
    make: Make,
    settings: Value,
    limits: Limits,
    sandbox: Sandbox,
    kinds: Kinds,
    own_namespace: String,
    ignore_unwatched: bool,
    began: SystemTime,
    random_seed: u64,
    count_fuel: bool,
    budget: Budget,
}

/// Why a plugin cannot be tested. The same refusals as the host's.
#[derive(thiserror::Error)]
pub enum LoadError {
    /// There is no such file.
    #[error(
        "there is no plugin {}, neither in {} nor in a folder above it: build it first (`make guests` in haptic-host's own repository, `cargo build --release --target wasm32-wasip2` elsewhere)",
        path.display(), below.display()
    )]
    Missing {
        /// What was asked for.
        path: PathBuf,
        /// The working directory.
        below: PathBuf,
    },
    /// The file is no plugin of this host.
    #[error("{}", chain(.0))]
    Plugin(haptic_host::plugin::LoadError),
    /// It fails before it has described itself.
    #[error("the plugin cannot be started: {0}")]
    Start(CallError),
    /// Its `describe` refuses the settings.
    #[error("the plugin does not accept its settings: {0}")]
    Settings(String),
    /// What it declares is wrong: everything at once, each with its place.
    #[error("the plugin's watches are wrong:{}", .0.iter().map(|line| format!("\n  {line}")).collect::<String>())]
    Watches(Vec<String>),
    /// This machine cannot run components.
    #[error("components cannot be run here: {0}")]
    Runtime(String),
}

/// An error and its sources, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let rest = std::iter::successors(error.source(), |error| error.source());
    rest.fold(error.to_string(), |text, error| format!("{text}: {error}"))
}

impl fmt::Debug for LoadError {
    /// The sentence: `unwrap()` prints this.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Harness {
    /// The component in this file, run by the host's own runtime under its limits.
    ///
    /// A relative path is looked for in the working directory, which for `cargo test` is
    /// the package's, and then in the folders above it: `target/wasm32-wasip2/release/…`
    /// is found in a workspace too. The file is not built by this: build it before.
    ///
    /// It is compiled once in a test's process, which takes seconds if it holds an interpreter, as
    /// those in Python and JavaScript do. With the environment variable `HAPTIC_HARNESS_CACHE`,
    /// which names a folder, it is compiled once for all that follow.
    pub fn wasm(path: impl AsRef<Path>) -> Builder {
        let path = path.as_ref().to_owned();
        Builder::new(Box::new(move |setup| {
            Ok(Box::new(Component::load(&path, setup)?))
        }))
    }

    /// The plugin type itself, natively: breakpoints work, and nothing need be built.
    ///
    /// Reads, outputs, changes and callbacks are those of a component. What only a
    /// component has: limits of memory, time and handles, [budgets](Budget), a sandbox, stdout and
    /// stderr as log lines, and virtual time for whoever asks: natively the standard library has
    /// the machine's clocks and sleeps for real, and only `haptic_guest::time` knows the test's
    /// date. A panic counts as a trap.
    pub fn native<P: Plugin>() -> Builder {
        Builder::new(Box::new(|setup| Ok(Box::new(Native::<P>::new(setup)?))))
    }

    /// Both ways to run a plugin, for a test that is to hold in both:
    ///
    /// ```no_run
    /// # use haptic_guest::{Config, Error, Plugin, Watch};
    /// # struct MyPlugin;
    /// # impl Plugin for MyPlugin {
    /// #     fn describe(_: &Config) -> Result<Vec<Watch>, Error> { Ok(vec![]) }
    /// #     fn new(_: &Config) -> Result<Self, Error> { Ok(MyPlugin) }
    /// # }
    /// # use haptic_harness::Harness;
    /// for plugin in Harness::both::<MyPlugin>("target/wasm32-wasip2/release/my_plugin.wasm") {
    ///     let mut test = plugin.load().unwrap();
    ///     test.sync();
    /// }
    /// ```
    ///
    /// [`test_both!`](crate::test_both) makes a test of each.
    pub fn both<P: Plugin>(component: impl AsRef<Path>) -> [Builder; 2] {
        [Self::native::<P>(), Self::wasm(component)]
    }
}

/// Makes two tests of each function: `name::native`, where it is given the plugin type, and
/// `name::component`, where it is given the component in the file.
///
/// ```no_run
/// # use haptic_guest::{Config, Error, Plugin, Watch};
/// # struct MyPlugin;
/// # impl Plugin for MyPlugin {
/// #     fn describe(_: &Config) -> Result<Vec<Watch>, Error> { Ok(vec![]) }
/// #     fn new(_: &Config) -> Result<Self, Error> { Ok(MyPlugin) }
/// # }
/// use haptic_harness::test_both;
///
/// test_both! {
///     MyPlugin, "target/wasm32-wasip2/release/my_plugin.wasm";
///
///     fn it_renders_nothing_from_nothing(plugin: Builder) {
///         let mut test = plugin.load().unwrap();
///         test.sync();
///         assert!(test.outputs().is_empty());
///     }
/// }
/// ```
#[macro_export]
macro_rules! test_both {
    (
        $plugin:ty, $component:expr;
        $($(#[$meta:meta])* fn $name:ident($builder:ident: Builder) $body:block)*
    ) => {
        $(
            mod $name {
                #[allow(unused_imports, reason = "a body may need nothing of its file")]
                use super::*;

                $(#[$meta])*
                fn both($builder: $crate::Builder) $body

                #[test]
                fn native() {
                    both($crate::Harness::native::<$plugin>());
                }

                #[test]
                fn component() {
                    both($crate::Harness::wasm($component));
                }
            }
        )*
    };
}

impl Builder {
    fn new(make: Make) -> Self {
        Self {
            make,
            settings: Value::Object(Map::new()),
            // Lines a second are counted on the wall clock; a test has none.
            limits: Limits {
                log_lines_per_second: u32::MAX,
                ..Limits::default()
            },
            sandbox: Sandbox::default(),
            kinds: Kinds::default(),
            own_namespace: "default".to_owned(),
            ignore_unwatched: false,
            began: SystemTime::UNIX_EPOCH + BEGINNING,
            random_seed: 1,
            count_fuel: false,
            budget: Budget::new(),
        }
    }

    /// The plugin's settings, as the operator's configuration gives them. Default: `{}`.
    pub fn settings(mut self, settings: Value) -> Self {
        self.settings = settings;
        self
    }

    /// The limits of the plugin. Default: the host's, without one on log lines a second.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The directories and variables that the plugin may see, as the operator grants them with
    /// `--dir` and `--env`. Default: none.
    pub fn sandbox(mut self, sandbox: Sandbox) -> Self {
        self.sandbox = sandbox;
        self
    }

    /// The namespace that the host runs in. Default: `default`.
    pub fn own_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.own_namespace = namespace.into();
        self
    }

    /// The plural of a namespaced kind, where it is not what English would have: kinds are
    /// otherwise pluralised by rule, `Ingress` to `ingresses`.
    pub fn kind(mut self, kind: &str, resources: &str) -> Self {
        self.kinds.register(kind, resources, true);
        self
    }

    /// Like [`Builder::kind`], of a kind that has no namespaces. Those of Kubernetes are
    /// known.
    pub fn cluster_kind(mut self, kind: &str, resources: &str) -> Self {
        self.kinds.register(kind, resources, false);
        self
    }

    /// Takes objects of resources that no watch is about, as a cluster would: for folders
    /// of manifests. By default they are errors, because they are mostly mistakes.
    pub fn ignore_unwatched(mut self) -> Self {
        self.ignore_unwatched = true;
        self
    }

    /// The date at which the test begins, from which virtual time counts. Default: 1 January 2025,
    /// midnight in Greenwich.
    pub fn starts_at(mut self, date: SystemTime) -> Self {
        self.began = date;
        self
    }

    /// The seed of the random numbers that a component draws, also for the order of its hash
    /// maps: outputs should not depend on it. Each instance draws the same. Default: 1.
    pub fn random_seed(mut self, seed: u64) -> Self {
        self.random_seed = seed;
        self
    }

    /// The budget of each callback. One of fuel has it [counted](Builder::count_fuel).
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }

    /// Counts the fuel of a component, for [`Harness::cost`] and [`Budget::fuel`]. It is compiled
    /// in another way for that than for production, and is slower.
    pub fn count_fuel(mut self) -> Self {
        self.count_fuel = true;
        self
    }

    /// Loads the plugin and asks for its watches. Nothing is delivered yet.
    ///
    /// # Errors
    /// [`LoadError`], with the host's sentences.
    pub fn load(self) -> Result<Harness, LoadError> {
        let lines = Arc::new(Mutex::new(Vec::<LogLine>::new()));
        let logs: LogSink = {
            let lines = Arc::clone(&lines);
            Arc::new(move |line| {
                lines
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(line)
            })
        };
        let clock = VirtualClock::new(self.began, self.random_seed);
        let count_fuel = self.count_fuel || self.budget.has_fuel();
        let mut runner = (self.make)(Setup {
            limits: self.limits,
            sandbox: self.sandbox,
            settings: self.settings.to_string(),
            logs,
            clock: clock.clone(),
            count_fuel,
        })?;
        let specs = runner.describe().map_err(|error| match error {
            CallError::Refused { message, .. } => LoadError::Settings(message),
            error => LoadError::Start(error),
        })?;
        let plans = plan_all(&specs).map_err(|errors| {
            LoadError::Watches(errors.0.iter().map(ToString::to_string).collect())
        })?;
        if plans.is_empty() {
            return Err(LoadError::Watches(vec![
                "it declares no watches: nothing would ever happen".to_owned(),
            ]));
        }
        let plans: Vec<_> = plans.into_iter().map(Arc::new).collect();
        let parts = Parts {
            runner,
            logs: lines,
            clock,
            count_fuel,
            budget: self.budget,
        };
        let mut engine = Engine::new();
        let plugin = engine.add_plugin("plugin", &plans, &self.own_namespace);
        let server = Server::new(&engine, self.kinds, self.ignore_unwatched);
        Ok(Harness::start(parts, engine, plugin, server, plans))
    }
}
