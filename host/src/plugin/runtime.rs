//! The wasmtime engine with its settings, compilation and its cache, and the
//! thread that moves the epoch.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use wasmtime::{
    Cache, Config, Engine,
    component::{Component, Linker},
};

use super::{
    bindings::{Plugin as World, PluginPre as WorldPre},
    cache,
    clock::{self, Clock},
    contract::{self, ContractError},
    digest::Digest,
    guest::{GuestState, LogSink},
    imports,
    instance::{CallError, Instance},
    limits::Limits,
    sandbox::Sandbox,
};

/// How often running guests look at their deadline. 10 ms: a callback is over
/// its time by one tick at most, and a hundred wake-ups a second cost nothing.
const TICK: Duration = Duration::from_millis(10);

/// Largest component file that is read, in bytes: Python's are 19 MB.
const MAX_COMPONENT: u64 = 256 << 20;

/// Settings of a [`Runtime`].
#[derive(Clone, Debug, Default)]
pub struct RuntimeOptions {
    /// Folder for compiled components; `None`: compile every time. One that cannot be used
    /// is reported in the log, and nothing else.
    pub cache_dir: Option<PathBuf>,
    /// The time that plugins see, unless they are given another with [`Plugin::with_clock`].
    /// Default: the machine's.
    pub clock: Clock,
    /// Count what guests execute, for [`Usage::fuel`](super::Usage::fuel): the same steps cost the
    /// same fuel on every machine. Code is larger and slower for it. Default: false.
    pub count_fuel: bool,
}

/// Why the runtime could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// wasmtime refuses this machine.
    #[error("cannot set up WebAssembly on this machine")]
    Engine(#[source] wasmtime::Error),
}

/// Why a file is no plugin of this host.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read plugin {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is larger than 256 MiB.
    #[error("plugin {} is larger than 256 MiB: that is no plugin", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// A core module, as compilers make before it is wrapped.
    #[error(
        "plugin {name} is a core WebAssembly module, not a component: build it for wasm32-wasip2, or wrap it with `wasm-tools component new`"
    )]
    CoreModule {
        /// The plugin's name.
        name: String,
    },
    /// Native code, which only the host's own cache may hold.
    #[error(
        "plugin {name} is precompiled code (.cwasm): native code is loaded from nowhere but the host's own cache; give the component that it was made from"
    )]
    Precompiled {
        /// The plugin's name.
        name: String,
    },
    /// Not WebAssembly at all.
    #[error("plugin {name} is no WebAssembly component: it begins with {begins}")]
    NotWasm {
        /// The plugin's name.
        name: String,
        /// Its first bytes, readable.
        begins: String,
    },
    /// wasmtime could not compile it.
    #[error("plugin {name} does not compile")]
    Compile {
        /// The plugin's name.
        name: String,
        /// Why.
        source: wasmtime::Error,
    },
    /// Another contract.
    #[error("plugin {name} cannot run here: {mismatch}")]
    Contract {
        /// The plugin's name.
        name: String,
        /// What differs. Shown above, hence no `source()`.
        mismatch: Box<ContractError>,
    },
}

/// One wasmtime engine for all plugins of a process. Cheap to clone.
#[derive(Clone)]
pub struct Runtime {
    engine: Engine,
    linker: Arc<Linker<GuestState>>,
    cache: Option<Cache>,
    clock: Clock,
    count_fuel: bool,
    _ticker: Arc<Ticker>,
}

/// Ends the epoch thread when the last [`Runtime`] goes.
struct Ticker(Arc<AtomicBool>);

impl Drop for Ticker {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Runtime {
    /// Sets up the engine, the imports and the epoch thread.
    ///
    /// # Errors
    /// [`RuntimeError`] when wasmtime cannot run on this machine.
    pub fn new(options: &RuntimeOptions) -> Result<Self, RuntimeError> {
        let mut config = Config::new();
        config
            .epoch_interruption(true)
            .wasm_component_model(true)
            .consume_fuel(options.count_fuel);
        let cache = options.cache_dir.as_deref().and_then(cache::open);
        config.cache(cache.clone());
        let engine = Engine::new(&config).map_err(RuntimeError::Engine)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).map_err(RuntimeError::Engine)?;
        clock::add_to_linker(&mut linker).map_err(RuntimeError::Engine)?;
        imports::add_to_linker(&mut linker).map_err(RuntimeError::Engine)?;
        let stop = Arc::new(AtomicBool::new(false));
        let ticker = Ticker(Arc::clone(&stop));
        let weak = engine.weak();
        std::thread::Builder::new()
            .name("haptic-epoch".to_owned())
            .spawn(move || {
                while !stop.load(Ordering::Relaxed)
                    && let Some(engine) = weak.upgrade()
                {
                    engine.increment_epoch();
                    drop(engine);
                    std::thread::sleep(TICK);
                }
            })
            .map_err(|e| RuntimeError::Engine(e.into()))?;
        Ok(Self {
            engine,
            linker: Arc::new(linker),
            cache,
            clock: options.clock.clone(),
            count_fuel: options.count_fuel,
            _ticker: Arc::new(ticker),
        })
    }

    /// Reads, compiles (or takes from the cache) and checks a plugin. Its name is
    /// the file's stem.
    ///
    /// # Errors
    /// [`LoadError`] with one sentence that says what the file is instead.
    pub fn load(&self, path: &Path) -> Result<Plugin, LoadError> {
        let name = path.file_stem().map_or_else(
            || path.display().to_string(),
            |stem| stem.to_string_lossy().into_owned(),
        );
        self.compile(&name, &read_component(path)?)
    }

    /// Like [`Runtime::load`], from memory.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn compile(&self, name: &str, bytes: &[u8]) -> Result<Plugin, LoadError> {
        let named = || name.to_owned();
        match bytes.get(..8) {
            Some([0, b'a', b's', b'm', 0x0d, 0, 1, 0]) => {}
            Some([0, b'a', b's', b'm', 1, 0, 0, 0]) => {
                return Err(LoadError::CoreModule { name: named() });
            }
            Some([0x7f, b'E', b'L', b'F', ..]) => {
                return Err(LoadError::Precompiled { name: named() });
            }
            _ => {
                let begins = match bytes {
                    [] => "nothing (the file is empty)".to_owned(),
                    _ => {
                        let start = &bytes[..bytes.len().min(12)];
                        format!("{:?}", String::from_utf8_lossy(start))
                    }
                };
                return Err(LoadError::NotWasm {
                    name: named(),
                    begins,
                });
            }
        }
        let hits = || self.cache.as_ref().map_or(0, Cache::cache_hits);
        let (began, hits_before) = (Instant::now(), hits());
        let component =
            Component::from_binary(&self.engine, bytes).map_err(|source| LoadError::Compile {
                name: named(),
                source,
            })?;
        let compilation = Compilation {
            duration: began.elapsed(),
            cached: hits() > hits_before,
        };
        let contract = |error| LoadError::Contract {
            name: named(),
            mismatch: Box::new(error),
        };
        contract::check(&self.engine, &component).map_err(contract)?;
        let mistyped = |error: wasmtime::Error| ContractError::Mistyped {
            detail: format!("{error:#}"),
        };
        let pre = self
            .linker
            .instantiate_pre(&component)
            .and_then(WorldPre::new)
            .map_err(|error| contract(mistyped(error)))?;
        self.linker
            .substituted_component_type(&component)
            .map_err(mistyped)
            .and_then(|ty| contract::check_types(&self.engine, &ty))
            .map_err(contract)?;
        Ok(Plugin {
            name: named(),
            size: bytes.len(),
            compilation,
            sandbox: Sandbox::default(),
            clock: self.clock.clone(),
            counts_fuel: self.count_fuel,
            digest: Digest::of(bytes),
            engine: self.engine.clone(),
            pre,
        })
    }
}

/// How a plugin was turned into native code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compilation {
    /// How long it took.
    pub duration: Duration,
    /// Whether the code was in the cache. Of plugins that are compiled at the same time any
    /// may seem to be.
    pub cached: bool,
}

/// The bytes of a plugin's file, which may be anything.
///
/// # Errors
/// [`LoadError::Read`] and [`LoadError::TooLarge`].
pub fn read_component(path: &Path) -> Result<Vec<u8>, LoadError> {
    let read = |source| LoadError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(read)?;
    let mut bytes = Vec::new();
    // It may grow while it is read.
    file.take(MAX_COMPONENT + 1)
        .read_to_end(&mut bytes)
        .map_err(read)?;
    match u64::try_from(bytes.len()) {
        Ok(size) if size <= MAX_COMPONENT => Ok(bytes),
        Ok(_) | Err(_) => Err(LoadError::TooLarge {
            path: path.to_owned(),
        }),
    }
}

/// A compiled and checked plugin, ready to be instantiated any number of times.
#[derive(Clone)]
pub struct Plugin {
    name: String,
    size: usize,
    compilation: Compilation,
    pub(super) sandbox: Sandbox,
    pub(super) clock: Clock,
    pub(super) counts_fuel: bool,
    digest: Digest,
    pub(super) engine: Engine,
    pub(super) pre: WorldPre<GuestState>,
}

impl Plugin {
    /// The same under another name.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..self
        }
    }

    /// The plugin's name: logs and errors use it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Size of the component in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// How it was compiled.
    #[must_use]
    pub fn compilation(&self) -> Compilation {
        self.compilation
    }

    /// The same plugin with these grants: its instances see what is in them, and nothing
    /// else of the host. Without, they see nothing.
    #[must_use]
    pub fn with_sandbox(mut self, sandbox: Sandbox) -> Self {
        self.sandbox = sandbox;
        self
    }

    /// The same plugin with this clock: its instances see no other.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// What it is granted: what replaces it should have the same.
    #[must_use]
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// What tells this component from others.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Makes an instance: runs the component's start code under `limits`, then
    /// nothing else. `config` is the JSON text of the plugin's settings.
    ///
    /// # Errors
    /// [`CallError`] when the start code traps or asks for too much.
    pub async fn instantiate(
        &self,
        limits: &Limits,
        config: &str,
        logs: LogSink,
    ) -> Result<Instance, CallError> {
        Instance::new(self, limits, config, logs).await
    }
}

/// The generated world, named for what it is here.
pub(super) type Exports = World;
