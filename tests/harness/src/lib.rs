//! Unit-test haptic-host plugins: real stores, the host's own engine, and for components
//! its own WebAssembly runtime; no cluster, no clock, no sleeping.
//!
//! A test gives the plugin objects and looks at what it makes of them:
//!
//! ```
//! use haptic_guest::{Config, Error, Plugin, Store, Watch, output};
//! use haptic_harness::Harness;
//! use serde_json::json;
//! use std::time::Duration;
//!
//! struct Addresses;
//!
//! impl Plugin for Addresses {
//!     fn describe(_: &Config) -> Result<Vec<Watch>, Error> {
//!         Ok(vec![Watch::new("services", "v1", "services").label_selector("app=web")])
//!     }
//!     fn new(_: &Config) -> Result<Self, Error> {
//!         Ok(Addresses)
//!     }
//!     fn render(&mut self) -> Result<(), Error> {
//!         let services = Store::open("services")?;
//!         let fields = ["metadata.name", "spec.clusterIP"];
//!         let rows = services.select::<(String, String)>(&fields, &[])?;
//!         let lines = rows.iter().map(|(name, address)| format!("{address} {name}\n"));
//!         Ok(output::write("addresses.txt", &lines.collect::<String>())?)
//!     }
//! }
//!
//! // Or `Harness::wasm("target/wasm32-wasip2/release/addresses.wasm")`: the same answers.
//! let mut test = Harness::native::<Addresses>().settings(json!({})).load().unwrap();
//! test.given("
//! apiVersion: v1
//! kind: Service
//! metadata: {name: web, namespace: shop, labels: {app: web}}
//! spec: {clusterIP: 10.0.0.1}
//! ---
//! apiVersion: v1
//! kind: Service
//! metadata: {name: db, namespace: shop, labels: {app: db}}
//! spec: {clusterIP: 10.0.0.2}
//! ");
//! test.sync();
//! assert_eq!(test.output("addresses.txt"), "10.0.0.1 web\n");
//!
//! test.delete("v1", "Service", "shop", "web");
//! test.advance(Duration::from_millis(500)); // the watch's debounce interval
//! assert_eq!(test.output("addresses.txt"), "");
//! let ran: Vec<_> = test.callbacks().iter().map(ToString::to_string).collect();
//! assert_eq!(ran, ["+0ns services on-sync-complete 1", "+500ms services on-change +0 ~0 -1"]);
//! ```
//!
//! What an API server does is done here: objects get a uid and a growing resourceVersion
//! (what the YAML has, stays), and watches hear of what their scope and selectors cover,
//! also of objects that leave a selector (deleted) or come under it (created).
//! What the host does is done by the host's code: index keys, `keep_fields`, debouncing,
//! change sets, snapshots, and after a failure its backoff, redelivery and new instances.
//!
//! A cached store fetches from the same objects, through the host's own cache:
//! [`Harness::fetches`] counts how often, and [`Harness::unavailable`] makes it fail.
//!
//! Nothing depends on the machine's clocks but how long a component may compute: the same steps
//! give the same callbacks, logs, outputs and costs.
//!
//! # Time
//!
//! The plugin sees the test's time: it is 1 January 2025, or what [`Builder::starts_at`] says, and
//! stands still between the steps.
//!
//! ```
//! # use haptic_guest::{Config, Error, Plugin, Watch, output};
//! use haptic_harness::Harness;
//! use std::time::{Duration, SystemTime};
//!
//! /// Writes when it was rendered.
//! struct Stamp;
//!
//! impl Plugin for Stamp {
//! #   fn describe(_: &Config) -> Result<Vec<Watch>, Error> { Ok(vec![Watch::new("pods", "v1", "pods")]) }
//! #   fn new(_: &Config) -> Result<Self, Error> { Ok(Stamp) }
//!     fn render(&mut self) -> Result<(), Error> {
//!         let now = haptic_guest::time::now().duration_since(SystemTime::UNIX_EPOCH);
//!         Ok(output::write("stamp", &format!("{:?}", now.unwrap_or_default()))?)
//!     }
//! }
//!
//! let mut test = Harness::native::<Stamp>().load().unwrap();
//! test.advance(Duration::from_secs(3)).sync();
//! assert_eq!(test.output("stamp"), "1735689603s");
//! ```
//!
//! A component sees it through any call: `SystemTime::now()`, `Instant::now()`, `time.time()` in
//! Python, `Date.now()` in JavaScript. If it sleeps, the sleep is over at once and time has moved
//! by it, for the test as well; a sleep beyond the time limit ends the callback. Its random
//! numbers are the same each time, those of [`Builder::random_seed`]. A native plugin has the
//! machine's clocks, sleeps and random numbers where it does not ask `haptic_guest::time`.
//!
//! # Budgets
//!
//! What a callback of a component costs is counted: fuel (instructions), memory, bytes copied
//! between host and guest, calls of the host. It is the same each time, so a test can hold it
//! against a [`Budget`]; one that grows with the store instead of the change, say.
//!
//! ```no_run
//! use haptic_harness::{Budget, Harness};
//! use std::path::Path;
//!
//! let component = "target/wasm32-wasip2/release/addresses.wasm";
//! let mut test = Harness::wasm(component).count_fuel().load().unwrap();
//! test.given(Path::new("tests/large")).sync();
//! // Reading everything was free. From here, each callback is to be cheap.
//! test.budget(Budget::new().fuel(500_000).memory(4 << 20).copied(16 << 10));
//! test.apply(Path::new("tests/one-change.yaml")).settle();
//! println!("{:?}", test.cost());
//! ```
//!
//! Tests need no async runtime; they may have one, such as `#[tokio::test]`.

mod budget;
mod builder;
mod cluster;
mod faults;
mod golden;
mod harness;
mod incremental;
mod logs;
mod native;
mod objects;
mod report;
mod runner;
mod server;

pub use budget::Budget;
pub use builder::{Builder, LoadError};
/// What a callback cost.
pub use haptic_host::plugin::Usage as Cost;
pub use haptic_host::plugin::{CallError, DirGrant, EnvGrant, Limits, LogLevel, LogLine, Sandbox};
pub use harness::Harness;
pub use incremental::Incremental;
pub use objects::{ObjectError, Objects};
pub use report::{Callback, CallbackKind, Failures, StepError};

/// Compiles the plugin of the project's README.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
