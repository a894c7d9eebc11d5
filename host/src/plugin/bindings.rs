//! The types and exports of `haptic:plugin`, generated from `wit/`. The imports
//! are linked by hand in [`super::imports`]: generated ones would copy every
//! object into an owned `String` before it is copied into the guest.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::cast_possible_truncation,
    reason = "generated code; the WIT documents it"
)]

wasmtime::component::bindgen!({
    path: "../wit",
    world: "plugin",
    exports: { default: async },
    with: { "haptic:plugin/stores.store": crate::plugin::guest::StoreHandle },
});

pub(super) use haptic::plugin::{output::OutputError, stores::StoreError, types};
