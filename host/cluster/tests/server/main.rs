//! The server over real HTTP.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "tests may panic, and nobody else reads them"
)]

mod client;
mod detached;
mod discovery;
mod faults;
mod feeds;
mod front;
mod lists;
mod patches;
mod time_travel;
mod types;
mod watches;
mod wire;
mod writes;
