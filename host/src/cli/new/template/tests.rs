//! The plugin on the host's own stores and engine, each test twice: as the Rust type, and as the
//! component that `make build` builds. There is no cluster, no clock and no sleeping.

use std::path::Path;

use haptic_harness::{LogLevel, test_both};
use my_plugin::Hosts;
use serde_json::json;

test_both! {
    Hosts, "target/wasm32-wasip2/release/my_plugin.wasm";

    fn the_manifests_become_the_golden_files(plugin: Builder) {
        let mut test = plugin.load().unwrap();
        test.given(Path::new("manifests")).sync();
        // HAPTIC_UPDATE_GOLDEN=1 makes it write the folder instead.
        test.assert_golden("tests/golden");
        test.assert_quiet(LogLevel::Warn);
    }

    fn a_service_comes_moves_and_goes(plugin: Builder) {
        let service = |address: &str| {
            json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {"namespace": "blog", "name": "web"},
                "spec": {"clusterIP": address},
            })
        };
        let mut test = plugin.load().unwrap();
        test.sync();
        assert_eq!(test.output("hosts"), "");

        test.apply(service("10.96.0.30")).settle();
        let line = "10.96.0.30 web.blog.svc.cluster.local web.blog\n";
        assert_eq!(test.output("hosts"), line);

        test.apply(service("10.96.0.31")).settle();
        assert_eq!(test.output("hosts"), line.replace(".30", ".31"));

        test.delete("v1", "Service", "blog", "web").settle();
        assert_eq!(test.output("hosts"), "");
    }

    fn settings_that_are_wrong_never_start(plugin: Builder) {
        let wrong = json!({"clusterDomain": "not a domain"});
        let refused = plugin.settings(wrong).load().err().unwrap();
        assert_eq!(
            refused.to_string(),
            "the plugin does not accept its settings: settings: field `clusterDomain`: is no \
             domain: write one such as cluster.local"
        );
    }
}
