//! The plugin runtime: compiles components, checks their contract, instantiates
//! them and calls their exports under limits. Owns everything of wasmtime; knows
//! nothing of kube, of output sinks or of when a callback is due.

mod bindings;
mod cache;
mod clock;
mod contract;
mod digest;
mod guest;
mod imports;
mod instance;
mod limits;
mod outputs;
mod runtime;
mod sandbox;
mod stdio;
mod surface;
mod usage;

pub use clock::{Clock, VirtualClock};
pub use contract::ContractError;
pub use digest::Digest;
pub(crate) use guest::Logger;
pub use guest::{LogLevel, LogLine, LogSink};
pub use instance::{CallError, Completed, Instance};
pub use limits::Limits;
pub use outputs::{OutputLimit, OutputName, OutputNameError, Outputs, Pending, WriteError};
pub use runtime::{
    Compilation, LoadError, Plugin, Runtime, RuntimeError, RuntimeOptions, read_component,
};
pub use sandbox::{DirGrant, EnvGrant, Sandbox, SandboxError};
pub use surface::{Interface, Surface};
pub use usage::Usage;
