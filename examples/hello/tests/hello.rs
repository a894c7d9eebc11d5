//! The plugin as a component (`make guests` builds it) and natively.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use haptic_harness::{Builder, Harness};
use hello_plugin::Hello;

fn check(plugin: Builder) {
    let mut test = plugin.load().unwrap();
    test.given(
        "
apiVersion: v1
kind: ConfigMap
metadata: {name: theme, namespace: shop}
data: {colour: red}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: theme, namespace: blog}
",
    );
    test.sync();
    assert_eq!(
        test.output("configmaps.txt"),
        "2 ConfigMaps\nblog/theme\nshop/theme\n"
    );

    test.delete("v1", "ConfigMap", "blog", "theme");
    test.advance(Duration::from_millis(500));
    assert_eq!(test.output("configmaps.txt"), "1 ConfigMaps\nshop/theme\n");

    // Only names are kept, so new data is no news.
    test.take_callbacks();
    test.apply(
        "
apiVersion: v1
kind: ConfigMap
metadata: {name: theme, namespace: shop}
data: {colour: blue}
",
    );
    test.settle();
    assert_eq!(test.callbacks(), []);
}

#[test]
fn the_component_lists_the_configmaps_that_there_are() {
    check(Harness::wasm(
        "target/guests/wasm32-wasip2/release/hello_plugin.wasm",
    ));
}

#[test]
fn the_same_plugin_run_natively_does_the_same() {
    check(Harness::native::<Hello>());
}
