//! Running plugins without wasm, in a native test.
//!
//! The same plugin type that [`export!`](crate::export) makes a component of runs natively: its
//! reads, outputs, logs and settings go to the [`Backend`] that is installed on this thread, in
//! place of the host's imports. A test harness implements `Backend`, wraps each delivery in
//! [`run`], and makes the deliveries through an [`Instance`].
//!
//! ```
//! use std::rc::Rc;
//! use haptic_guest::native::{self, Backend, Instance};
//! use haptic_guest::{Config, Error, Plugin, Store, Watch};
//! # use haptic_guest::{Change, StoreError, log, output::OutputError, store::Page};
//!
//! struct Hello;
//! impl Plugin for Hello {
//!     fn describe(_: &Config) -> Result<Vec<Watch>, Error> {
//!         Ok(vec![Watch::new("pods", "v1", "pods")])
//!     }
//!     fn new(_: &Config) -> Result<Self, Error> {
//!         Ok(Hello)
//!     }
//!     fn render(&mut self) -> Result<(), Error> {
//!         let pods = Store::open("pods")?.len();
//!         Ok(haptic_guest::output::write("pods.txt", &format!("{pods}\n"))?)
//!     }
//! }
//!
//! # struct Fake(std::cell::RefCell<Vec<(String, String)>>);
//! # impl Backend for Fake {
//! #     fn open(&self, _: &str) -> Result<(), StoreError> { Ok(()) }
//! #     fn all_synced(&self) -> bool { true }
//! #     fn len(&self, _: &str) -> u32 { 3 }
//! #     fn revision(&self, _: &str) -> u64 { 1 }
//! #     fn get(&self, _: &str, _: &[&str]) -> Result<Vec<String>, StoreError> { Ok(vec![]) }
//! #     fn get_by(&self, _: &str, _: &str, _: &[&str]) -> Result<Vec<String>, StoreError> { Ok(vec![]) }
//! #     fn get_object(&self, _: &str, _: &str, _: &str) -> Result<Option<String>, StoreError> { Ok(None) }
//! #     fn list(&self, _: &str) -> Result<Vec<String>, StoreError> { Ok(vec![]) }
//! #     fn page(&self, _: &str, _: Option<&str>, _: u32) -> Result<Page<String>, StoreError> { Ok(Page { items: vec![], next: None }) }
//! #     fn select(&self, _: &str, _: &[&str], _: &[&str]) -> Result<String, StoreError> { Ok("[]".into()) }
//! #     fn changes(&self, _: &str) -> Result<Vec<Change>, StoreError> { Ok(vec![]) }
//! #     fn write(&self, name: &str, content: &str) -> Result<(), OutputError> { self.0.borrow_mut().push((name.into(), content.into())); Ok(()) }
//! #     fn write_bytes(&self, _: &str, _: &[u8]) -> Result<(), OutputError> { Ok(()) }
//! #     fn log(&self, _: log::Level, _: &str, _: &str, _: &[(&str, &str)]) {}
//! #     fn config(&self) -> String { "{}".into() }
//! # }
//! # let fake = Rc::new(Fake(Default::default()));
//! // `fake` is a backend whose store `pods` holds three objects.
//! let mut instance = Instance::<Hello>::new();
//! let backend: Rc<dyn Backend> = fake.clone();
//! let delivered = native::run(backend, || {
//!     instance.on_sync_complete(&Store::open("pods").map_err(|e| e.to_string())?, 3)
//! });
//! assert_eq!(delivered, Ok(()));
//! assert_eq!(fake.0.borrow().as_slice(), [("pods.txt".to_owned(), "3\n".to_owned())]);
//! ```

use std::cell::RefCell;
use std::rc::Rc;
use std::time::SystemTime;

use crate::log::Level;
use crate::output::OutputError;
use crate::store::Page;
use crate::{Change, StoreError};

pub use crate::instance::Instance;

/// The host, as a plugin sees it: the imports of the WIT world, with objects as JSON text. The
/// methods answer for the callback that is running; what they promise is written in the WIT and on
/// [`Store`](crate::Store).
///
/// Outputs and the fate of a failed callback's outputs are the backend's business, as they are the
/// host's: keep what [`write`](Backend::write) is given until the callback has returned `Ok`.
pub trait Backend {
    /// Whether there is a store of this name: `Ok`, or [`StoreError::NoSuchStore`].
    fn open(&self, store: &str) -> Result<(), StoreError>;
    /// Whether every required watch is synced.
    fn all_synced(&self) -> bool;
    /// How many objects the store holds; 0 for a store that does not exist.
    fn len(&self, store: &str) -> u32;
    /// The store's revision; 0 for a store that does not exist.
    fn revision(&self, store: &str) -> u64;
    /// The objects with these keys in the primary index: all keys, or leading ones.
    fn get(&self, store: &str, keys: &[&str]) -> Result<Vec<String>, StoreError>;
    /// The objects with these keys in a named index.
    fn get_by(&self, store: &str, index: &str, keys: &[&str]) -> Result<Vec<String>, StoreError>;
    /// One object by its identity.
    fn get_object(
        &self,
        store: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Option<String>, StoreError>;
    /// All objects, in the order of (namespace, name).
    fn list(&self, store: &str) -> Result<Vec<String>, StoreError>;
    /// The first `limit` objects after the cursor.
    fn page(
        &self,
        store: &str,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<Page<String>, StoreError>;
    /// JSON columns, as the WIT's `select` describes them.
    fn select(&self, store: &str, fields: &[&str], keys: &[&str]) -> Result<String, StoreError>;
    /// What changed since the last successful callback of this store.
    fn changes(&self, store: &str) -> Result<Vec<Change>, StoreError>;
    /// A text output.
    fn write(&self, name: &str, content: &str) -> Result<(), OutputError>;
    /// A binary output.
    fn write_bytes(&self, name: &str, content: &[u8]) -> Result<(), OutputError>;
    /// A log line.
    fn log(&self, level: Level, target: &str, message: &str, fields: &[(&str, &str)]);
    /// JSON text of the plugin's settings; `{}` for none.
    fn config(&self) -> String;
    /// The date, for [`time::now`](crate::time::now). By default the machine's.
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

thread_local! {
    static INSTALLED: RefCell<Vec<Rc<dyn Backend>>> = const { RefCell::new(Vec::new()) };
}

/// Runs `body` with `backend` installed on this thread. Runs may be nested; the innermost backend
/// answers. It is removed when `body` returns, also by a panic.
///
/// Without a backend, reads and writes answer an error that says so, counts are 0, settings are
/// `{}`, and log lines go to stderr.
pub fn run<R>(backend: Rc<dyn Backend>, body: impl FnOnce() -> R) -> R {
    struct Remove;
    impl Drop for Remove {
        fn drop(&mut self) {
            INSTALLED.with_borrow_mut(|stack| stack.pop());
        }
    }
    INSTALLED.with_borrow_mut(|stack| stack.push(backend));
    let _remove = Remove;
    body()
}

fn installed() -> Option<Rc<dyn Backend>> {
    INSTALLED.with_borrow(|stack| stack.last().cloned())
}

/// The native side of [`crate::sys`].
pub(crate) mod sys {
    use std::marker::PhantomData;
    use std::rc::Rc;
    use std::time::SystemTime;

    use super::{Backend, installed};
    use crate::log::Level;
    use crate::output::OutputError;
    use crate::store::Page;
    use crate::{Change, StoreError};

    const NO_BACKEND: &str = "no host here: outside of a component, plugin code must run inside haptic_guest::native::run, \
         which the test harness does for every callback";

    #[derive(Debug)]
    pub(crate) struct Handle<'a> {
        name: String,
        /// Only wasm handles borrow; the type is the same on both sides.
        lifetime: PhantomData<&'a ()>,
    }

    fn backend() -> Result<Rc<dyn Backend>, StoreError> {
        installed().ok_or_else(|| StoreError::Other(NO_BACKEND.to_owned()))
    }

    impl Handle<'static> {
        pub(crate) fn open(name: &str) -> Result<Self, StoreError> {
            backend()?.open(name)?;
            Ok(Handle {
                name: name.to_owned(),
                lifetime: PhantomData,
            })
        }
    }

    impl Handle<'_> {
        pub(crate) fn name(&self) -> String {
            self.name.clone()
        }

        pub(crate) fn len(&self) -> u32 {
            installed().map_or(0, |backend| backend.len(&self.name))
        }

        pub(crate) fn revision(&self) -> u64 {
            installed().map_or(0, |backend| backend.revision(&self.name))
        }

        pub(crate) fn get(&self, keys: &[&str]) -> Result<Vec<String>, StoreError> {
            backend()?.get(&self.name, keys)
        }

        pub(crate) fn get_by(&self, index: &str, keys: &[&str]) -> Result<Vec<String>, StoreError> {
            backend()?.get_by(&self.name, index, keys)
        }

        pub(crate) fn get_object(
            &self,
            namespace: &str,
            name: &str,
        ) -> Result<Option<String>, StoreError> {
            backend()?.get_object(&self.name, namespace, name)
        }

        pub(crate) fn list(&self) -> Result<Vec<String>, StoreError> {
            backend()?.list(&self.name)
        }

        pub(crate) fn page(
            &self,
            cursor: Option<&str>,
            limit: u32,
        ) -> Result<Page<String>, StoreError> {
            backend()?.page(&self.name, cursor, limit)
        }

        pub(crate) fn select(&self, fields: &[&str], keys: &[&str]) -> Result<String, StoreError> {
            backend()?.select(&self.name, fields, keys)
        }

        pub(crate) fn changes(&self) -> Result<Vec<Change>, StoreError> {
            backend()?.changes(&self.name)
        }
    }

    pub(crate) fn all_synced() -> bool {
        installed().is_some_and(|backend| backend.all_synced())
    }

    pub(crate) fn write(name: &str, content: &str) -> Result<(), OutputError> {
        match installed() {
            Some(backend) => backend.write(name, content),
            None => Err(OutputError::Other(NO_BACKEND.to_owned())),
        }
    }

    pub(crate) fn write_bytes(name: &str, content: &[u8]) -> Result<(), OutputError> {
        match installed() {
            Some(backend) => backend.write_bytes(name, content),
            None => Err(OutputError::Other(NO_BACKEND.to_owned())),
        }
    }

    pub(crate) fn log(level: Level, target: &str, message: &str, fields: &[(&str, &str)]) {
        match installed() {
            Some(backend) => backend.log(level, target, message, fields),
            None => eprintln!("{level:?} {target}: {message} {fields:?}"),
        }
    }

    pub(crate) fn config() -> String {
        installed().map_or_else(|| "{}".to_owned(), |backend| backend.config())
    }

    pub(crate) fn now() -> SystemTime {
        installed().map_or_else(SystemTime::now, |backend| backend.now())
    }
}
