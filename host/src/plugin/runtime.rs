//! The wasmtime engine with its settings, compilation and its cache, and the
//! thread that moves the epoch.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use wasmtime::{
    Cache, CacheConfig, Config, Engine,
    component::{Component, Linker},
};

use super::{
    bindings::{Plugin as World, PluginPre as WorldPre},
    contract::{self, ContractError},
    guest::{GuestState, LogSink},
    imports,
    instance::{CallError, Instance},
    limits::Limits,
};

/// How often running guests look at their deadline. 10 ms: a callback is over
/// its time by one tick at most, and a hundred wake-ups a second cost nothing.
const TICK: Duration = Duration::from_millis(10);

/// Largest component file that is read, in bytes: Python's are 19 MB.
const MAX_COMPONENT: u64 = 256 << 20;

/// Settings of a [`Runtime`].
#[derive(Clone, Debug, Default)]
pub struct RuntimeOptions {
    /// Folder for compiled components; `None`: compile every time.
    pub cache_dir: Option<PathBuf>,
}

/// Why the runtime could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The compilation cache cannot be used.
    #[error("cannot use {} as the compilation cache", path.display())]
    Cache {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: wasmtime::Error,
    },
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
    /// [`RuntimeError`] when the cache folder cannot be used or wasmtime cannot
    /// run on this machine.
    pub fn new(options: &RuntimeOptions) -> Result<Self, RuntimeError> {
        let mut config = Config::new();
        config.epoch_interruption(true).wasm_component_model(true);
        if let Some(path) = &options.cache_dir {
            let mut cache = CacheConfig::new();
            cache.with_directory(path);
            let cache = Cache::new(cache).map_err(|source| RuntimeError::Cache {
                path: path.clone(),
                source,
            })?;
            config.cache(Some(cache));
        }
        let engine = Engine::new(&config).map_err(RuntimeError::Engine)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).map_err(RuntimeError::Engine)?;
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
            _ticker: Arc::new(ticker),
        })
    }

    /// Reads, compiles (or takes from the cache) and checks a plugin. Its name is
    /// the file's stem.
    ///
    /// # Errors
    /// [`LoadError`] with one sentence that says what the file is instead.
    pub fn load(&self, path: &Path) -> Result<Plugin, LoadError> {
        let read = |source| LoadError::Read {
            path: path.to_owned(),
            source,
        };
        let size = std::fs::metadata(path).map_err(read)?.len();
        if size > MAX_COMPONENT {
            return Err(LoadError::TooLarge {
                path: path.to_owned(),
            });
        }
        let bytes = std::fs::read(path).map_err(read)?;
        let name = path.file_stem().map_or_else(
            || path.display().to_string(),
            |stem| stem.to_string_lossy().into_owned(),
        );
        self.compile(&name, &bytes)
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
        let component =
            Component::from_binary(&self.engine, bytes).map_err(|source| LoadError::Compile {
                name: named(),
                source,
            })?;
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
            engine: self.engine.clone(),
            pre,
        })
    }
}

/// A compiled and checked plugin, ready to be instantiated any number of times.
#[derive(Clone)]
pub struct Plugin {
    name: String,
    size: usize,
    pub(super) engine: Engine,
    pub(super) pre: WorldPre<GuestState>,
}

impl Plugin {
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
