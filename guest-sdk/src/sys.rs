//! The host: its imports on wasm, the installed [`Backend`](crate::native::Backend) natively. Both
//! offer the same items, so that everything typed above them is shared.

#[cfg(target_family = "wasm")]
mod wasm;
#[cfg(target_family = "wasm")]
pub(crate) use wasm::*;

#[cfg(not(target_family = "wasm"))]
pub(crate) use crate::native::sys::*;
