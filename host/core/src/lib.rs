//! The pure half of haptic-host: no clock, no socket, no file, no environment
//! variable, no thread. Time is an argument ([`Time`]); bytes come in and
//! actions go out.
#![forbid(unsafe_code)]

pub mod bodies;
pub mod changes;
pub mod debounce;
pub mod decode;
pub mod engine;
pub mod frame;
pub mod index;
mod json;
pub mod key;
pub mod lease;
pub mod members;
pub mod object;
mod ordered;
pub mod path;
pub mod quarantine;
pub mod select;
pub mod selector;
pub mod shard;
pub mod snapshot;
pub mod spec;
pub mod store;
mod time;
pub mod view;
mod walk;
pub mod watch;

pub use object::{Body, Identity, Object};
pub use time::Time;
