//! What `export!` expands to on wasm: the generated types on one side, ours on the other.

use std::cell::RefCell;
use std::panic::PanicHookInfo;
use std::sync::Once;
use std::time::Duration;

use crate::bindings::haptic::plugin::{stores, types};
use crate::instance::Instance;
use crate::{ChangeStats, Config, Plugin, ResourceEvent, Scope, Storage, Store, Watch, log, sys};

pub use crate::bindings::exports::haptic::plugin::callbacks::Guest;
pub use crate::bindings::haptic::plugin::stores::Store as WitStore;
pub use crate::bindings::haptic::plugin::types::{
    ChangeStats as WitChangeStats, ResourceEvent as WitResourceEvent, Watch as WitWatch,
};

/// Where the exported functions keep their instance.
pub type Cell<P> = RefCell<Instance<P>>;

/// An empty one.
pub const fn cell<P: Plugin>() -> Cell<P> {
    RefCell::new(Instance::new())
}

pub fn describe<P: Plugin>(config: String) -> Result<Vec<WitWatch>, String> {
    install_panic_hook();
    let watches = Instance::<P>::describe(&Config::from_json(config))?;
    Ok(watches.into_iter().map(watch).collect())
}

pub fn on_sync_complete<P: Plugin>(
    instance: &Cell<P>,
    store: &WitStore,
    count: u32,
) -> Result<(), String> {
    install_panic_hook();
    instance
        .borrow_mut()
        .on_sync_complete(&borrowed(store), count)
}

pub fn on_change<P: Plugin>(
    instance: &Cell<P>,
    store: &WitStore,
    stats: WitChangeStats,
) -> Result<(), String> {
    install_panic_hook();
    let types::ChangeStats {
        created,
        modified,
        deleted,
        is_initial_sync,
    } = stats;
    let stats = ChangeStats {
        created,
        modified,
        deleted,
        is_initial_sync,
    };
    instance.borrow_mut().on_change(&borrowed(store), stats)
}

pub fn on_resource_change<P: Plugin>(
    instance: &Cell<P>,
    watch: String,
    event: WitResourceEvent,
) -> Result<(), String> {
    install_panic_hook();
    let event = match event {
        types::ResourceEvent::Applied(object) => ResourceEvent::Applied(object),
        types::ResourceEvent::Deleted(object) => ResourceEvent::Deleted(object),
        types::ResourceEvent::Absent => ResourceEvent::Absent,
    };
    instance.borrow_mut().on_resource_change(&watch, event)
}

fn borrowed(store: &stores::Store) -> Store<'_> {
    Store::from_handle(sys::Handle::Borrowed(store))
}

/// A panic ends in a trap that says nothing; its text goes out through the log before that.
fn install_panic_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| std::panic::set_hook(Box::new(log_panic)));
}

fn log_panic(info: &PanicHookInfo<'_>) {
    let message = info.payload_as_str().unwrap_or("a panic without a text");
    let location = info.location().map(ToString::to_string);
    log::write(
        log::Level::Error,
        "panic",
        message,
        &[("location", location.as_deref().unwrap_or("unknown"))],
    );
}

fn watch(watch: Watch) -> types::Watch {
    types::Watch {
        name: watch.name,
        api_version: watch.api_version,
        resources: watch.resources,
        scope: match watch.scope {
            Scope::AllNamespaces => types::Scope::AllNamespaces,
            Scope::OwnNamespace => types::Scope::OwnNamespace,
            Scope::Namespaces(namespaces) => types::Scope::Namespaces(namespaces),
        },
        object_name: watch.object_name,
        label_selector: watch.label_selector,
        field_selector: watch.field_selector,
        index_by: watch.index_by,
        indexes: watch
            .indexes
            .into_iter()
            .map(|index| types::NamedIndex {
                name: index.name,
                paths: index.paths,
            })
            .collect(),
        ignore_fields: watch.ignore_fields,
        keep_fields: watch.keep_fields,
        storage: match watch.storage {
            Storage::Memory => types::Storage::Memory,
            Storage::Cached => types::Storage::Cached,
        },
        cache_ttl_ms: watch.cache_ttl.map(whole_ms),
        debounce_ms: watch.debounce.map(whole_ms),
        on_change_during_sync: watch.on_change_during_sync,
        required: watch.required,
        extra: watch.extra,
    }
}

/// Rounded up, because 0 has a meaning of its own.
fn whole_ms(duration: Duration) -> u32 {
    u32::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX)
}
