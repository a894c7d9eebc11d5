//! P7: what is no plugin of this host is refused before it runs, with a sentence that says what
//! it is instead; and what breaks the component's own binary interface fails alone.

use std::{path::Path, time::Duration};

use haptic_harness::{Harness, Limits, LoadError};
use haptic_tests::component;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The contract, as of this host.
pub(crate) const WIT: &str = include_str!("../../../wit/plugin.wit");

fn load(name: &str, bytes: &[u8]) -> Result<Harness, LoadError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    Harness::wasm(&path).load()
}

#[track_caller]
pub(crate) fn refusal(name: &str, bytes: &[u8]) -> String {
    match load(name, bytes) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("{name} was loaded"),
    }
}

/// Exports of a plugin that does nothing, by name: `describe` answers an empty list.
pub(crate) const EXPORTS: [(&str, &str); 4] = [
    ("describe", "(param i32 i32) (result i32) (i32.const 1024)"),
    (
        "on-sync-complete",
        "(param i32 i32) (result i32) (i32.const 1024)",
    ),
    (
        "on-change",
        "(param i32 i32 i32 i32 i32) (result i32) (i32.const 1024)",
    ),
    (
        "on-resource-change",
        "(param i32 i32 i32 i32 i32) (result i32) (i32.const 1024)",
    ),
];

/// A component of a WIT whose callbacks are these; `more` is anything else that a core
/// module can hold.
pub(crate) fn assemble(wit: &str, exports: &[(&str, &str)], more: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("plugin.wit", wit).unwrap();
    let world = resolve.select_world(&[package], Some("plugin")).unwrap();
    let interface = resolve.id_of_name(package, "callbacks");
    let functions: String = exports
        .iter()
        .map(|(name, body)| format!("(func (export \"{interface}#{name}\") {body})\n"))
        .collect();
    let memory = if more.contains("(memory ") {
        ""
    } else {
        "(memory (export \"memory\") 2)"
    };
    let allocator = if more.contains("cabi_realloc") {
        ""
    } else {
        "(func (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32) (i32.const 65536))"
    };
    let text = format!("(module {memory} {more} {allocator} {functions})");
    let mut module = wat::parse_str(text).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default()
        .module(&module)
        .unwrap()
        .validate(true)
        .encode()
        .unwrap()
}

fn with_export(name: &str, body: &str) -> Vec<(&'static str, String)> {
    EXPORTS
        .iter()
        .map(|(export, default)| {
            (
                *export,
                if *export == name {
                    body.to_owned()
                } else {
                    (*default).to_owned()
                },
            )
        })
        .collect()
}

/// A plugin that does nothing, but for one export.
fn plugin_but(name: &str, body: &str, more: &str) -> Vec<u8> {
    let exports = with_export(name, body);
    let exports: Vec<_> = exports
        .iter()
        .map(|(name, body)| (*name, body.as_str()))
        .collect();
    assemble(WIT, &exports, more)
}

#[test]
fn p7_files_that_are_no_components_are_refused_by_what_they_are() {
    let module = wat::parse_str("(module)").unwrap();
    assert_eq!(
        refusal("core.wasm", &module),
        "plugin core is a core WebAssembly module, not a component: build it for wasm32-wasip2, \
         or wrap it with `wasm-tools component new`"
    );
    assert_eq!(
        refusal("text.wasm", b"#!/bin/sh\necho hello\n"),
        "plugin text is no WebAssembly component: it begins with \"#!/bin/sh\\nec\""
    );
    assert_eq!(
        refusal("empty.wasm", b""),
        "plugin empty is no WebAssembly component: it begins with nothing (the file is empty)"
    );
    let whole = std::fs::read(Path::new("..").join(component("test_guests"))).unwrap();
    let half = refusal("half.wasm", &whole[..whole.len() / 2]);
    assert!(half.starts_with("plugin half does not compile: "), "{half}");
}

#[test]
fn a_file_that_is_missing_is_named_with_what_to_run() {
    let error = Harness::wasm(component("nobody_built_this"))
        .load()
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.starts_with("there is no plugin target/guests/"),
        "{error}"
    );
    assert!(
        error.contains("make guests") && error.contains("wasm32-wasip2"),
        "{error}"
    );
}

#[test]
fn the_hand_made_plugin_is_one() {
    // Otherwise the refusals below would prove nothing.
    let error = refusal("idle.wasm", &assemble(WIT, &EXPORTS, ""));
    assert!(error.contains("it declares no watches"), "{error}");
}

#[test]
fn p7_another_version_is_refused_with_both_versions() {
    let wit = WIT.replace("haptic:plugin@0.1.0", "haptic:plugin@0.2.0");
    assert_eq!(
        refusal("newer.wasm", &assemble(&wit, &EXPORTS, "")),
        "plugin newer cannot run here: it was built for haptic:plugin@0.2.0, this host speaks \
         haptic:plugin@0.1.0: rebuild it against the host's wit/, or use a host of that version"
    );
}

#[test]
fn p7_functions_that_a_later_host_has_are_named() {
    let wit = WIT
        .replace("haptic:plugin@0.1.0", "haptic:plugin@0.1.1")
        .replace(
            "interface output {",
            "interface output {\n  erase: func(name: string);",
        );
    let import = "(import \"haptic:plugin/output@0.1.1\" \"erase\" (func (param i32 i32)))";
    // Imports stand before everything else in a module's text.
    let exports = EXPORTS;
    let error = refusal("later.wasm", &assemble_importing(&wit, &exports, import));
    assert_eq!(
        error,
        "plugin later cannot run here: it was built for haptic:plugin@0.1.1 and imports \
         `output.erase` that this host (haptic:plugin@0.1.0) does not have"
    );
}

fn assemble_importing(wit: &str, exports: &[(&str, &str)], import: &str) -> Vec<u8> {
    assemble(
        wit,
        exports,
        &format!("{import} (memory (export \"memory\") 2)"),
    )
}

#[test]
fn p7_missing_exports_are_named() {
    let no_callbacks = "package haptic:plugin@0.1.0;\n\
         interface callbacks { describe: func(); }\n\
         world plugin { export callbacks; }";
    let error = refusal(
        "lacks.wasm",
        &assemble(no_callbacks, &[("describe", "")], ""),
    );
    assert_eq!(
        error,
        "plugin lacks cannot run here: it does not export `callbacks.on-sync-complete`, \
         `callbacks.on-change`, `callbacks.on-resource-change` (haptic:plugin@0.1.0): every plugin \
         exports all of haptic:plugin/callbacks"
    );
    let empty = wat::parse_str("(component)").unwrap();
    assert_eq!(
        refusal("bare.wasm", &empty),
        "plugin bare cannot run here: it does not export `callbacks` (haptic:plugin@0.1.0): every \
         plugin exports all of haptic:plugin/callbacks"
    );
}

#[test]
fn p7_exports_of_another_type_are_refused() {
    let wit = WIT.replace(
        "describe: func(config: string) -> result<list<watch>, string>;",
        "describe: func() -> result<list<watch>, string>;",
    );
    assert_ne!(wit, WIT);
    let exports = [
        ("describe", "(result i32) (i32.const 1024)"),
        EXPORTS[1],
        EXPORTS[2],
        EXPORTS[3],
    ];
    let error = refusal("mistyped.wasm", &assemble(&wit, &exports, ""));
    let expected = "plugin mistyped cannot run here: its imports or exports have other types than \
                    haptic:plugin@0.1.0: ";
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn p7_imports_that_nobody_offers_are_named() {
    let component = wat::parse_str(
        "(component (import \"example:database/query@1.0.0\" (instance (export \"run\" (func)))))",
    )
    .unwrap();
    let error = refusal("foreign.wasm", &component);
    assert!(
        error.contains("it imports `example:database/query@1.0.0`"),
        "{error}"
    );
}

#[test]
fn p1_a_huge_memory_is_denied_when_the_instance_is_made() {
    let bytes = assemble(WIT, &EXPORTS, "(memory (export \"memory\") 8192)");
    let error = refusal("large.wasm", &bytes);
    assert_eq!(
        error,
        "the plugin cannot be started: instantiation failed: it asked for 512 MiB of memory and \
         its limit is 256 MiB (raise it with --memory-limit)"
    );
}

#[test]
fn p1_a_huge_table_is_denied() {
    let error = refusal(
        "table.wasm",
        &assemble(WIT, &EXPORTS, "(table 2000000 funcref)"),
    );
    assert_eq!(
        error,
        "the plugin cannot be started: instantiation failed: it asked for 2000000 table elements \
         and its limit is 1000000 (raise it with --table-limit)"
    );
}

#[test]
fn p1_a_start_function_that_loops_ends_at_the_time_limit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("start.wasm");
    let start = "(func $spin (loop $again (br $again))) (start $spin)";
    std::fs::write(&path, assemble(WIT, &EXPORTS, start)).unwrap();
    let limits = Limits {
        callback_time: Duration::from_millis(150),
        ..Limits::default()
    };
    let error = Harness::wasm(&path).limits(limits).load().err().unwrap();
    assert_eq!(
        error.to_string(),
        "the plugin cannot be started: instantiation ran longer than its limit of 150ms (raise it \
         with --callback-timeout)"
    );
}

#[test]
fn invariant_7_results_that_lie_about_memory_are_traps() {
    // ok(list) at `pointer` of `length` watches; err(string) likewise.
    let answer = |case: u32, pointer: u32, length: u32| {
        format!(
            "(param i32 i32) (result i32)
             (i32.store (i32.const 2048) (i32.const {case}))
             (i32.store (i32.const 2052) (i32.const {pointer}))
             (i32.store (i32.const 2056) (i32.const {length}))
             (i32.const 2048)"
        )
    };
    for (what, body) in [
        ("a list beyond the memory", answer(0, 0x7fff_0000, 1)),
        ("a list longer than the memory", answer(0, 0, 0x0fff_ffff)),
        ("a list at an odd address", answer(0, 1, 1)),
        ("a text beyond the memory", answer(1, 0xffff_fff0, 64)),
        ("a text that is no UTF-8", answer(1, 3000, 4)),
        ("a case that is none", answer(7, 0, 0)),
        (
            "a result beyond the memory",
            "(param i32 i32) (result i32) (i32.const -16)".to_owned(),
        ),
    ] {
        let bytes = plugin_but(
            "describe",
            &body,
            "(data (i32.const 3000) \"\\ff\\fe\\ff\\fe\")",
        );
        let error = refusal("liar.wasm", &bytes);
        assert!(
            error.starts_with("the plugin cannot be started: describe trapped: "),
            "{what}: {error}"
        );
    }
}

#[test]
fn invariant_7_a_long_list_of_watches_costs_little_to_refuse() {
    // A million watches, all the same: zeroes.
    let body = "(param i32 i32) (result i32)
         (i32.store (i32.const 2048) (i32.const 0))
         (i32.store (i32.const 2052) (i32.const 65536))
         (i32.store (i32.const 2056) (i32.const 1000000))
         (i32.const 2048)";
    let bytes = plugin_but("describe", body, "(memory (export \"memory\") 3000)");
    let error = refusal("many.wasm", &bytes);
    assert_eq!(
        error,
        "the plugin cannot be started: describe failed: it passed more than 80 MiB to the host in \
         one call (raise it with --output-limit)"
    );
}
