//! A component that does nothing, and wasmtime's own call of it.

use std::{sync::Arc, time::Duration};

use haptic_benches::process::thread_cpu;
use haptic_core::{changes::Stats, engine::Callback, view::View};
use wasmtime::{
    Config, Engine, Store, UpdateDeadline,
    component::{Component, ComponentType, Linker, Lower, Resource, ResourceType},
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

const WIT: &str = include_str!("../../../../wit/plugin.wit");

/// Drops the handle that it is given, answers ok, and nothing else.
pub(crate) fn component() -> Vec<u8> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("plugin.wit", WIT).unwrap();
    let world = resolve.select_world(&[package], Some("plugin")).unwrap();
    let callbacks = resolve.id_of_name(package, "callbacks");
    let stores = resolve.id_of_name(package, "stores");
    // Nothing is ever written at 1024: ok, and an empty list.
    let text = format!(
        r#"(module
            (import "{stores}" "[resource-drop]store" (func $drop (param i32)))
            (memory (export "memory") 2)
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 65536)
            (func (export "{callbacks}#describe") (param i32 i32) (result i32) i32.const 1024)
            (func (export "{callbacks}#on-sync-complete") (param i32 i32) (result i32)
                (call $drop (local.get 0)) i32.const 1024)
            (func (export "{callbacks}#on-change") (param i32 i32 i32 i32 i32) (result i32)
                (call $drop (local.get 0)) i32.const 1024)
            (func (export "{callbacks}#on-resource-change") (param i32 i32 i32 i32 i32) (result i32)
                i32.const 1024))"#
    );
    let mut module = wat::parse_str(text).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    let encoder = ComponentEncoder::default().module(&module).unwrap();
    encoder.validate(true).encode().unwrap()
}

/// A callback, and an empty view for it.
pub(crate) fn change() -> (Callback, Arc<View>) {
    let callback = Callback::Change {
        watch: 0,
        stats: Stats {
            created: 0,
            modified: 1,
            deleted: 0,
        },
        is_initial_sync: false,
    };
    (callback, Arc::new(View::default()))
}

/// `change-stats` of the contract.
#[derive(Clone, Copy, ComponentType, Lower)]
#[component(record)]
struct ChangeStats {
    created: u32,
    modified: u32,
    deleted: u32,
    #[component(name = "is-initial-sync")]
    is_initial_sync: bool,
}

/// The host's type behind the handle.
struct Handle;

type Answer = (Result<(), String>,);

/// CPU time of so many calls, the best of so many rounds: as the host has to make them, asynchronous
/// and with epochs, and the plainest that there are.
pub(crate) fn wasmtime(bytes: &[u8], calls: usize, rounds: usize) -> [Duration; 2] {
    let threads = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    [true, false].map(|like_the_host| {
        let mut config = Config::new();
        config
            .epoch_interruption(like_the_host)
            .wasm_component_model(true);
        let engine = Engine::new(&config).unwrap();
        let component = Component::from_binary(&engine, bytes).unwrap();
        let mut linker = Linker::<()>::new(&engine);
        linker.instance("haptic:plugin/types@0.1.0").unwrap();
        let mut stores = linker.instance("haptic:plugin/stores@0.1.0").unwrap();
        stores
            .resource("store", ResourceType::host::<Handle>(), |_, _| Ok(()))
            .unwrap();
        let mut store = Store::new(&engine, ());
        if like_the_host {
            store.set_epoch_deadline(1);
            store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Continue(1)));
        }
        threads.block_on(async {
            let instance = match like_the_host {
                true => linker.instantiate_async(&mut store, &component).await,
                false => linker.instantiate(&mut store, &component),
            };
            let instance = instance.unwrap();
            let callbacks = instance
                .get_export_index(&mut store, None, "haptic:plugin/callbacks@0.1.0")
                .unwrap();
            let export = instance
                .get_export_index(&mut store, Some(&callbacks), "on-change")
                .unwrap();
            let call = instance
                .get_typed_func::<(Resource<Handle>, ChangeStats), Answer>(&mut store, export)
                .unwrap();
            let stats = ChangeStats {
                created: 0,
                modified: 1,
                deleted: 0,
                is_initial_sync: false,
            };
            let mut best = Duration::MAX;
            for _ in 0..rounds {
                let before = thread_cpu();
                for _ in 0..calls {
                    let handle = Resource::new_borrow(0);
                    let answer = match like_the_host {
                        true => call.call_async(&mut store, (handle, stats)).await,
                        false => call.call(&mut store, (handle, stats)),
                    };
                    answer.unwrap().0.unwrap();
                }
                best = best.min(thread_cpu() - before);
            }
            best
        })
    })
}
