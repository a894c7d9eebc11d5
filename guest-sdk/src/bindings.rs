//! Generated from the WIT package. `wit/plugin.wit` of this crate is the repository's
//! `wit/plugin.wit`.

#![allow(
    missing_docs,
    unsafe_code,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    reason = "generated code"
)]

wit_bindgen::generate!({
    path: "wit",
    world: "plugin",
    pub_export_macro: true,
    ownership: Borrowing { duplicate_if_necessary: true },
});
