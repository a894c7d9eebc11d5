//! haptic-host as a library: the plugin runtime, the watch driver and the
//! dispatch loop that the binary is made of.
//!
//! The way of the data: [`driver`] feeds an API server's bytes to
//! [`haptic_core::watch`]; [`run`] applies what comes out to
//! [`haptic_core::engine`] and hands the callbacks that are due to
//! [`worker`]s, which call into [`plugin`]s and commit what they wrote to an
//! [`output::Sink`].

pub mod access;
mod chain;
pub mod cli;
pub mod config;
mod diff;
pub mod driver;
pub mod grants;
pub mod output;
pub mod plugin;
pub mod run;
mod watches;
pub mod worker;
