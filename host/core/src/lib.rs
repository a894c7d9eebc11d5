//! The pure half of haptic-host: no clock, no socket, no file, no environment
//! variable, no thread. Time is an argument ([`Time`]); bytes come in and
//! actions go out.
#![forbid(unsafe_code)]

pub mod object;
mod time;

pub use object::{Body, Identity, Object};
pub use time::Time;
