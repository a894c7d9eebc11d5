//! P1 and invariant 7: what only a guest written by hand can do, below any SDK.

use std::time::Duration;

use haptic_harness::{Builder, CallError, Harness, Limits};

use crate::{
    components::{EXPORTS, WIT, assemble, refusal},
    configmap, failure,
};

const IMPORT_LOG: &str =
    "(import \"haptic:plugin/log@0.1.0\" \"log\" (func $log (param i32 i32 i32 i32 i32 i32 i32)))";
const IMPORT_CONFIG: &str =
    "(import \"haptic:plugin/config@0.1.0\" \"get\" (func $config (param i32)))";
const IMPORT_LEN: &str = "(import \"haptic:plugin/stores@0.1.0\" \"[method]store.len\" (func $len (param i32) (result i32)))";
const DROP: &str =
    "(import \"haptic:plugin/stores@0.1.0\" \"[resource-drop]store\" (func $drop (param i32)))";

/// Drops the handle that the callback is given, and answers ok.
const POLITE: &str = "(param i32 i32) (result i32) (call $drop (local.get 0)) (i32.const 1024)";

/// A plugin that watches ConfigMaps, with this `on-sync-complete`; `imports` and `more` as in
/// a module's text.
fn watching(imports: &str, on_sync_complete: &str, more: &str) -> Vec<u8> {
    // ok([watch]) at 4096; the watch at 8192, its texts at 8000. All else of it is zero: all
    // namespaces, nothing optional, in memory, not required.
    let describe = "(param i32 i32) (result i32) (i32.const 4096)";
    let data = r#"
        (data (i32.const 4096) "\00\00\00\00\00\20\00\00\01\00\00\00")
        (data (i32.const 8000) "configmapsv1")
        (data (i32.const 8192) "\40\1f\00\00\0a\00\00\00\4a\1f\00\00\02\00\00\00\40\1f\00\00\0a\00\00\00")"#;
    let exports = [
        ("describe", describe),
        ("on-sync-complete", on_sync_complete),
        EXPORTS[2],
        EXPORTS[3],
    ];
    let memory = "(memory (export \"memory\") 2)";
    assemble(WIT, &exports, &format!("{imports} {memory} {data} {more}"))
}

fn builder(bytes: &[u8], change: impl FnOnce(&mut Limits)) -> (tempfile::TempDir, Builder) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("handmade.wasm");
    std::fs::write(&path, bytes).unwrap();
    let mut limits = Limits::default();
    change(&mut limits);
    (folder, Harness::wasm(&path).limits(limits))
}

/// How its `on-sync-complete` fails.
#[track_caller]
fn sync_failure(bytes: &[u8], change: impl FnOnce(&mut Limits)) -> CallError {
    let (_folder, builder) = builder(bytes, change);
    let mut test = builder.load().unwrap();
    test.given(configmap("web", "red"));
    failure(test.try_sync())
}

#[track_caller]
fn trap(error: &CallError, part: &str) {
    let CallError::Trap { reason, .. } = error else {
        panic!("not a trap: {error:?}");
    };
    assert!(reason.contains(part), "{reason}");
}

#[test]
fn the_hand_made_watcher_is_called() {
    // Otherwise the failures below would prove nothing.
    let (_folder, builder) = builder(&watching(DROP, POLITE, ""), |_| {});
    let mut test = builder.load().unwrap();
    test.given(configmap("web", "red")).sync();
    assert_eq!(test.callbacks().len(), 1);
}

#[test]
fn p1_a_borrowed_handle_that_is_kept_is_a_trap_that_says_what_to_do() {
    let keeps = "(param i32 i32) (result i32) (i32.const 1024)";
    let error = sync_failure(&watching(DROP, keeps, ""), |_| {});
    trap(&error, "borrow handles still remain at the end of the call");
    trap(
        &error,
        "(the guest must drop the store handle that a callback is given before it returns: in C \
         `haptic_plugin_stores_store_drop_borrow`, or keep one of its own from `stores.open`)",
    );
}

#[test]
fn invariant_7_a_handle_that_the_guest_made_up_is_a_trap() {
    let forges = "(param i32 i32) (result i32)
         (call $drop (local.get 0)) (drop (call $len (i32.const 12345))) (i32.const 1024)";
    let error = sync_failure(
        &watching(&format!("{DROP} {IMPORT_LEN}"), forges, ""),
        |_| {},
    );
    trap(&error, "unknown handle index");
}

#[test]
fn invariant_7_a_borrowed_handle_is_nothing_after_it_was_dropped() {
    let keeps = "(param i32 i32) (result i32)
         (call $drop (local.get 0)) (drop (call $len (local.get 0))) (i32.const 1024)";
    let error = sync_failure(
        &watching(&format!("{DROP} {IMPORT_LEN}"), keeps, ""),
        |_| {},
    );
    trap(&error, "unknown handle index");
}

#[test]
fn invariant_7_a_text_that_is_no_utf_8_is_a_trap() {
    let logs = "(param i32 i32) (result i32) (call $drop (local.get 0))
         (call $log (i32.const 0) (i32.const 8000) (i32.const 1) (i32.const 3000) (i32.const 4) (i32.const 0) (i32.const 0))
         (i32.const 1024)";
    let bytes = watching(
        &format!("{DROP} {IMPORT_LOG}"),
        logs,
        r#"(data (i32.const 3000) "\ff\fe\ff\fe")"#,
    );
    trap(&sync_failure(&bytes, |_| {}), "invalid utf-8");
}

#[test]
fn invariant_7_a_text_beyond_the_memory_is_a_trap() {
    let logs = "(param i32 i32) (result i32) (call $drop (local.get 0))
         (call $log (i32.const 0) (i32.const 8000) (i32.const 1) (i32.const 3000) (i32.const 0x7fffffff) (i32.const 0) (i32.const 0))
         (i32.const 1024)";
    let bytes = watching(&format!("{DROP} {IMPORT_LOG}"), logs, "");
    let error = sync_failure(&bytes, |_| {});
    assert!(matches!(error, CallError::Trap { .. }), "{error:?}");
}

/// The allocator of a guest that does this whenever the host wants to write to it.
fn realloc(body: &str) -> String {
    format!(
        "(func (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32) {body} (i32.const 65536))"
    )
}

fn short(limits: &mut Limits) {
    limits.callback_time = Duration::from_millis(150);
}

#[test]
fn p1_a_guest_that_loops_while_the_host_writes_to_it_ends_at_the_time_limit() {
    // The first time is for the argument of describe, the second for the answer of config.get.
    let second = "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))
         (if (i32.gt_u (global.get $calls) (i32.const 1)) (then (loop $again (br $again))))";
    let asks = "(param i32 i32) (result i32)
         (call $drop (local.get 0)) (call $config (i32.const 3000)) (i32.const 1024)";
    let bytes = watching(
        &format!("{DROP} {IMPORT_CONFIG}"),
        asks,
        &format!(
            "(global $calls (mut i32) (i32.const 0)) {}",
            realloc(second)
        ),
    );
    let error = sync_failure(&bytes, short);
    assert_eq!(
        error.to_string(),
        "on-sync-complete ran longer than its limit of 150ms (raise it with --callback-timeout)"
    );
}

#[test]
fn p1_a_guest_that_loops_when_it_is_given_its_settings_ends_at_the_time_limit() {
    let bytes = watching(DROP, POLITE, &realloc("(loop $again (br $again))"));
    let (_folder, builder) = builder(&bytes, short);
    let error = builder.load().err().unwrap().to_string();
    assert_eq!(
        error,
        "the plugin cannot be started: describe ran longer than its limit of 150ms (raise it with \
         --callback-timeout)"
    );
}

#[test]
fn p1_a_guest_that_loops_when_its_answer_was_read_ends_at_the_time_limit() {
    let post =
        "(func (export \"cabi_post_haptic:plugin/callbacks@0.1.0#on-sync-complete\") (param i32)
         (loop $again (br $again)))";
    let error = sync_failure(&watching(DROP, POLITE, post), short);
    let timeout = matches!(
        error,
        CallError::Timeout {
            callback: "on-sync-complete",
            ..
        }
    );
    assert!(timeout, "{error:?}");
}

#[test]
fn invariant_7_a_guest_that_calls_the_host_while_the_host_writes_to_it_is_a_trap() {
    let calls = "(if (global.get $armed) (then
         (call $log (i32.const 0) (i32.const 8000) (i32.const 1) (i32.const 8000) (i32.const 1) (i32.const 0) (i32.const 0))))";
    let asks = "(param i32 i32) (result i32) (call $drop (local.get 0))
         (global.set $armed (i32.const 1)) (call $config (i32.const 3000)) (i32.const 1024)";
    let bytes = watching(
        &format!("{DROP} {IMPORT_CONFIG} {IMPORT_LOG}"),
        asks,
        &format!("(global $armed (mut i32) (i32.const 0)) {}", realloc(calls)),
    );
    trap(
        &sync_failure(&bytes, |_| {}),
        "cannot leave component instance",
    );
}

#[test]
fn invariant_7_an_allocator_that_lies_is_a_trap() {
    for answer in ["(return (i32.const -4))", "(return (i32.const 131071))"] {
        let bytes = watching(DROP, POLITE, &realloc(answer));
        let (_folder, builder) = builder(&bytes, |_| {});
        let error = builder.load().err().unwrap().to_string();
        let expected = "the plugin cannot be started: describe trapped: ";
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn p1_memory_is_the_sum_of_all_memories() {
    // Two memories that grow in turn until one is denied.
    let grows = "(param i32 i32) (result i32) (call $drop (local.get 0))
         (loop $again
           (br_if $again (i32.and
             (i32.ne (memory.grow 0 (i32.const 16)) (i32.const -1))
             (i32.ne (memory.grow $second (i32.const 16)) (i32.const -1)))))
         unreachable";
    let bytes = watching(DROP, grows, "(memory $second 2)");
    let CallError::Limit { limit, .. } = sync_failure(&bytes, |l| l.memory = 32 << 20) else {
        panic!("no limit was hit")
    };
    assert_eq!(
        limit,
        "it asked for 33 MiB of memory and its limit is 32 MiB (raise it with --memory-limit)"
    );
}

#[test]
fn p1_memories_are_counted() {
    let memories = "(memory 0)".repeat(64);
    assert_eq!(
        refusal("memories.wasm", &watching(DROP, POLITE, &memories)),
        "the plugin cannot be started: instantiation failed: it has more than 256 core instances, \
         256 tables or 64 memories, and these limits are fixed (resource limit exceeded: memory \
         count too high at 65)"
    );
}

#[test]
fn p1_a_table_that_grows_without_end_is_denied() {
    let grows = "(param i32 i32) (result i32) (call $drop (local.get 0))
         (loop $again (br_if $again
           (i32.ne (table.grow $table (ref.null func) (i32.const 1000)) (i32.const -1))))
         unreachable";
    let bytes = watching(DROP, grows, "(table $table 0 funcref)");
    let CallError::Limit { limit, .. } = sync_failure(&bytes, |l| l.table_elements = 10_000) else {
        panic!("no limit was hit")
    };
    assert_eq!(
        limit,
        "it asked for 11000 table elements and its limit is 10000 (raise it with --table-limit)"
    );
}

#[test]
fn p1_a_start_function_that_traps_is_a_failure_of_the_instance() {
    let start = "(func $boom unreachable) (start $boom)";
    let error = refusal("start.wasm", &watching(DROP, POLITE, start));
    let expected = "the plugin cannot be started: instantiation trapped: wasm trap: wasm \
                    `unreachable` instruction executed; ";
    assert!(error.starts_with(expected), "{error}");
}
