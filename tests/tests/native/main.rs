//! The native API against the embedded cluster, without sockets and on a clock that
//! moves only while nothing else is to be done.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on says where by panicking"
)]

mod bench;
mod cached;
mod collection;
mod group;
mod lifecycle;
mod logs;
mod single;
mod store;
mod watching;
