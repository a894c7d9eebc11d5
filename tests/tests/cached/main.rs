//! Cached stores as plugins see them (contract S6), as a component and natively. Needs
//! `make guests`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use haptic_harness::{Builder, Harness};
use haptic_tests::guest;
use serde_json::{Value, json};
use test_guests::Guest;

fn secret(name: &str, key: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {
            "namespace": "shop", "name": name, "uid": name, "labels": {"app": "web"},
        },
        "data": {"key": key},
    })
}

/// The component and the plugin type.
fn both() -> [Builder; 2] {
    let native = Harness::native::<Guest>().settings(json!({"mode": "read-cached"}));
    [guest("read-cached"), native]
}

/// The plugin, told of two Secrets.
fn synced(builder: Builder) -> Harness {
    let mut test = builder.load().unwrap();
    test.given(json!([secret("a", "one"), secret("b", "two")]))
        .sync();
    test
}

fn body(name: &str, version: u32, key: &str) -> String {
    format!(
        r#"{{"apiVersion":"v1","kind":"Secret","data":{{"key":"{key}"}},"metadata":{{"name":"{name}","namespace":"shop","resourceVersion":"{version}","uid":"{name}"}}}}"#
    )
}

#[test]
fn s6_a_plugin_reads_a_cached_store_like_any_other() {
    for builder in both() {
        let mut test = synced(builder);
        let (a, b) = (body("a", 1, "one"), body("b", 2, "two"));
        let expected = format!(
            "list: Ok([{a:?}, {b:?}])\n\
             get: Ok([{a:?}])\n\
             by-app: Ok([{a:?}, {b:?}])\n\
             get_object: Ok(Some({a:?}))\n\
             page: Ok(Page {{ items: [{a:?}], next: Some(\"4:shopa\") }})\n\
             columns: Ok(Columns {{ json: \"[[\\\"a\\\",\\\"b\\\"],[\\\"one\\\",\\\"two\\\"]]\", fields: [\"metadata.name\", \"data.key\"] }})\n"
        );
        assert_eq!(test.output("cached-reads"), expected);
        // Each object once, however often it is read.
        assert_eq!(test.fetches("secrets"), 2);

        // What changed is fetched again, and nothing else.
        test.apply(secret("b", "three")).settle();
        assert!(
            test.output("cached-reads")
                .contains(r#"[\"one\",\"three\"]"#)
        );
        assert_eq!(test.fetches("secrets"), 3);
        test.advance(Duration::from_secs(60));
        test.apply(secret("b", "four")).settle();
        assert_eq!(test.fetches("secrets"), 5, "the TTL of `a` is over");
    }
}

#[test]
fn s6_what_cannot_be_fetched_is_an_error_that_the_plugin_can_read() {
    for builder in both() {
        let mut test = synced(builder);
        test.unavailable("secrets", "the role was revoked");
        test.apply(secret("b", "three")).settle();
        let error = r#"Err(Unavailable("secrets shop/b: 403 Forbidden: the role was revoked"))"#;
        let found: Vec<_> = test.output("cached-reads").lines().collect();
        let (a, failed) = (body("a", 1, "one"), |what: &str| format!("{what}: {error}"));
        // Whatever needs `b` fails as a whole: no answer is silently shorter.
        assert_eq!(
            found,
            [
                failed("list"),
                format!("get: Ok([{a:?}])"),
                failed("by-app"),
                format!("get_object: Ok(Some({a:?}))"),
                format!("page: Ok(Page {{ items: [{a:?}], next: Some(\"4:shopa\") }})"),
                failed("columns"),
            ]
        );
        test.available("secrets");
        test.apply(secret("c", "new")).settle();
        assert!(
            test.output("cached-reads")
                .contains(r#"[\"one\",\"three\",\"new\"]"#)
        );
    }
}

#[test]
fn s6_an_object_that_is_gone_is_left_out() {
    for builder in both() {
        let mut test = synced(builder);
        test.delete("v1", "Secret", "shop", "a").settle();
        let found = test.output("cached-reads");
        assert!(found.contains("get: Ok([])\n"), "{found}");
        assert!(found.contains("get_object: Ok(None)\n"), "{found}");
        assert!(found.contains(r#"[[\"b\"],[\"two\"]]"#), "{found}");
        assert_eq!(test.fetches("secrets"), 2);
    }
}
