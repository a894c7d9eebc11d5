//! Outputs as a user meets them: files that survive `kill -9` and a full disk, objects
//! that kubectl shows, the command that runs after a commit, and HAProxy running on what
//! the example renders.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod directory;
mod haproxy;
mod hook;
mod object;
mod process;
mod stage;
#[path = "../support/mod.rs"]
mod support;
