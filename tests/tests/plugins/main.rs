//! Several plugins in one host, and new versions of them: P2, P3 and P6 with files, threads and
//! an embedded cluster as they are. What is decided and when is tested in `haptic-core`, on a
//! virtual clock. Needs `make guests`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod breaker;
mod host;
mod refusals;
mod reload;
