//! The server over real HTTP.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "tests may panic, and nobody else reads them"
)]

mod client;
mod discovery;
mod feeds;
mod front;
mod lists;
mod patches;
mod types;
mod watches;
mod writes;
