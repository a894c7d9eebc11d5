//! Log lines, which become the host's own, with the plugin's name.
//!
//! Fields come first, then the message, in the way of `tracing`:
//!
//! ```
//! use haptic_guest::log;
//!
//! let (namespace, name) = ("shop", "web");
//! log::info!("starting");
//! log::warn!(namespace = namespace, ingress = name, "skipped: {} has no rules", name);
//! ```
//!
//! The host limits the lines a second; what is over the limit is counted and dropped.

use crate::sys;

#[doc(inline)]
pub use crate::{
    __log_debug as debug, __log_error as error, __log_info as info, __log_trace as trace,
    __log_warn as warn,
};

/// How much a log line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Someone must act.
    Error,
    /// Something is wrong and was worked around: an object was skipped, say.
    Warn,
    /// What an operator wants to see in normal operation.
    Info,
    /// For the plugin's author.
    Debug,
    /// Every step.
    Trace,
}

/// Writes a log line. The macros of this module call it, with the module's path as `target`.
pub fn write(level: Level, target: &str, message: &str, fields: &[(&str, &str)]) {
    sys::log(level, target, message, fields);
}

/// The least important level at which lines of libraries pass: those of the `log` and `tracing`
/// crates, with the features of their names. Default: [`Level::Info`], because a library that talks
/// much would use up the lines a second that the host takes. Lines of this module always pass.
pub fn set_library_level(level: Level) {
    crate::bridge::set_level(level);
}

#[doc(hidden)]
#[macro_export]
macro_rules! __log {
    ($level:ident, $($key:ident = $value:expr,)* $format:literal $(, $argument:expr)* $(,)?) => {
        $crate::log::write(
            $crate::log::Level::$level,
            ::core::module_path!(),
            &::std::format!($format $(, $argument)*),
            &[$((::core::stringify!($key), ::std::string::ToString::to_string(&$value).as_str())),*],
        )
    };
}

/// Logs at [`Level::Error`](crate::log::Level::Error): `error!(key = value, …, "format", …)`.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_error {
    ($($arguments:tt)+) => { $crate::__log!(Error, $($arguments)+) };
}

/// Logs at [`Level::Warn`](crate::log::Level::Warn): `warn!(key = value, …, "format", …)`.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_warn {
    ($($arguments:tt)+) => { $crate::__log!(Warn, $($arguments)+) };
}

/// Logs at [`Level::Info`](crate::log::Level::Info): `info!(key = value, …, "format", …)`.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_info {
    ($($arguments:tt)+) => { $crate::__log!(Info, $($arguments)+) };
}

/// Logs at [`Level::Debug`](crate::log::Level::Debug): `debug!(key = value, …, "format", …)`.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_debug {
    ($($arguments:tt)+) => { $crate::__log!(Debug, $($arguments)+) };
}

/// Logs at [`Level::Trace`](crate::log::Level::Trace): `trace!(key = value, …, "format", …)`.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_trace {
    ($($arguments:tt)+) => { $crate::__log!(Trace, $($arguments)+) };
}
