//! Author haptic-host plugins in Rust.
//!
//! A plugin is a WebAssembly component. The host watches Kubernetes for it, keeps the objects in
//! indexed stores, and calls it when they change; the plugin reads what it needs and writes
//! outputs. This is a whole plugin:
//!
//! ```
//! use haptic_guest::{Config, Error, Plugin, Store, Watch, log, output};
//! use serde::Deserialize;
//!
//! /// Writes the addresses of all Services into one file.
//! struct Addresses {
//!     settings: Settings,
//! }
//!
//! #[derive(Deserialize)]
//! #[serde(deny_unknown_fields, rename_all = "camelCase")]
//! struct Settings {
//!     #[serde(default = "default_file")]
//!     file: String,
//! }
//!
//! fn default_file() -> String {
//!     "addresses.txt".to_owned()
//! }
//!
//! impl Plugin for Addresses {
//!     fn describe(config: &Config) -> Result<Vec<Watch>, Error> {
//!         config.parse::<Settings>()?; // a wrong setting is an error before anything starts
//!         Ok(vec![
//!             Watch::new("services", "v1", "services").keep_fields(["spec.clusterIP"]),
//!         ])
//!     }
//!
//!     fn new(config: &Config) -> Result<Self, Error> {
//!         Ok(Addresses { settings: config.parse()? })
//!     }
//!
//!     fn render(&mut self) -> Result<(), Error> {
//!         let services = Store::open("services")?;
//!         let fields = ["metadata.namespace", "metadata.name", "spec.clusterIP"];
//!         let mut text = String::new();
//!         for (namespace, name, address) in
//!             services.select::<(String, String, Option<String>)>(&fields, &[])?
//!         {
//!             match address {
//!                 Some(address) => text += &format!("{address} {name}.{namespace}\n"),
//!                 None => log::warn!(namespace = namespace, name = name, "no address"),
//!             }
//!         }
//!         output::write(&self.settings.file, &text)?;
//!         Ok(())
//!     }
//! }
//!
//! haptic_guest::export!(Addresses);
//! ```
//!
//! Its `Cargo.toml` says `crate-type = ["cdylib", "rlib"]`, and
//! `cargo build --release --target wasm32-wasip2` makes the component. The `rlib` is for native
//! tests: everywhere but on wasm, the same type runs without a component, on whatever
//! [`native::Backend`] the test installs.
//!
//! - [`Plugin`]: the callbacks. [`Watch`]: what the host is asked to watch.
//! - [`Resource`](resource): a struct as a typed view of a watch. [`Cache`]: its objects, kept and
//!   brought up to date by what changed.
//! - [`Store`], [`Columns`], [`all_synced`]: reads.
//! - [`output`], [`log`], [`Config`], [`Settings`]: writes, log lines, settings. [`time`]: the date.
//!
//! Features: `log` and `tracing` make what libraries log with those crates the plugin's lines;
//! `k8s-openapi` adds [`Watch::of`](Watch) for its types, which every typed read can answer with.
//!
//! What panics, loops for ever or takes too much memory is ended by the host, which then starts a
//! new instance; the text of a panic reaches the host's log at error level.

#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod bindings;
mod bridge;
pub mod cache;
mod columns;
mod config;
mod error;
#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod exports;
mod instance;
mod json;
pub mod log;
#[cfg(not(target_family = "wasm"))]
pub mod native;
pub mod output;
mod plugin;
pub mod resource;
mod session;
pub mod settings;
pub mod store;
mod sys;
pub mod time;
mod watch;

pub use cache::Cache;
pub use columns::{Columns, Rows};
pub use config::{Config, ConfigError};
pub use error::Error;
pub use plugin::{Change, ChangeKind, ChangeStats, Plugin, ResourceEvent};
pub use resource::Resource;
pub use settings::Settings;
pub use store::{Store, StoreError, all_synced};
pub use watch::{NamedIndex, Scope, Storage, Watch};

/// Makes the crate's component from a type that implements [`Plugin`]. Once per crate, at its top
/// level. Natively it only checks that the type does.
///
/// ```
/// # use haptic_guest::{Config, Error, Plugin, Watch};
/// # struct MyPlugin;
/// # impl Plugin for MyPlugin {
/// #     fn describe(_: &Config) -> Result<Vec<Watch>, Error> { Ok(vec![]) }
/// #     fn new(_: &Config) -> Result<Self, Error> { Ok(MyPlugin) }
/// # }
/// haptic_guest::export!(MyPlugin);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! export {
    ($plugin:ty) => {
        #[cfg(not(target_family = "wasm"))]
        const _: fn(&$crate::Config) -> ::core::result::Result<$plugin, $crate::Error> =
            <$plugin as $crate::Plugin>::new;

        #[cfg(target_family = "wasm")]
        const _: () = {
            use $crate::exports;

            ::std::thread_local! {
                static INSTANCE: exports::Cell<$plugin> = const { exports::cell() };
            }

            struct Exported;

            impl exports::Guest for Exported {
                fn describe(
                    config: ::std::string::String,
                ) -> ::core::result::Result<::std::vec::Vec<exports::WitWatch>, ::std::string::String>
                {
                    exports::describe::<$plugin>(config)
                }

                fn on_sync_complete(
                    store: &exports::WitStore,
                    initial_count: u32,
                ) -> ::core::result::Result<(), ::std::string::String> {
                    INSTANCE.with(|instance| {
                        exports::on_sync_complete(instance, store, initial_count)
                    })
                }

                fn on_change(
                    store: &exports::WitStore,
                    stats: exports::WitChangeStats,
                ) -> ::core::result::Result<(), ::std::string::String> {
                    INSTANCE.with(|instance| exports::on_change(instance, store, stats))
                }

                fn on_resource_change(
                    watch: ::std::string::String,
                    event: exports::WitResourceEvent,
                ) -> ::core::result::Result<(), ::std::string::String> {
                    INSTANCE.with(|instance| exports::on_resource_change(instance, watch, event))
                }
            }

            $crate::bindings::export!(Exported with_types_in $crate::bindings);
        };
    };
}
