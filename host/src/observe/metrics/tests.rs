#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeSet, time::Duration};

use super::*;
use crate::observe::{
    CacheStatus, CallbackCount, ChangeCount, HookStatus, PluginState, PluginStatus, RequestStatus,
    ScopeStatus, ShardStatus, TrafficStatus, WatchStatus, process::ProcessStatus,
};

/// Two watches of one stream, and one plugin.
fn state() -> Arc<HostState> {
    let mut durations = Durations::default();
    durations.observe(Duration::from_micros(300));
    let watch = |name: &str, traffic| WatchStatus {
        name: name.to_owned(),
        plugins: vec!["render".to_owned()],
        resource: "ingresses.v1.networking.k8s.io".to_owned(),
        storage: "memory",
        objects: 7,
        stored_bytes: 700,
        quarantined: 2,
        scopes: vec![ScopeStatus {
            namespace: "shop".to_owned(),
            state: "synced",
            objects: 7,
            traffic,
            ..ScopeStatus::default()
        }],
        ..WatchStatus::default()
    };
    let traffic = TrafficStatus {
        requests: vec![RequestStatus {
            kind: "watch",
            code: "200",
            count: 3,
        }],
        listed: 9,
        foreign: 27,
        lists_begun: 2,
        ..TrafficStatus::default()
    };
    Arc::new(HostState {
        version: "1.2.3".to_owned(),
        shard: Some(ShardStatus {
            index: 1,
            count: 4,
            by: "namespace",
        }),
        cache: CacheStatus {
            hits: 3,
            held_bytes: 9,
            ..CacheStatus::default()
        },
        process: ProcessStatus {
            cpu_seconds: 1.5,
            resident_bytes: Some(4096),
            ..ProcessStatus::default()
        },
        watches: vec![
            watch("ingresses", Some(traffic)),
            watch("hello/ingresses", None),
        ],
        plugins: vec![PluginStatus {
            name: "re\"nder\\\n".to_owned(),
            synced: true,
            state: PluginState::Running,
            callbacks: vec![CallbackCount {
                callback: "on-change",
                result: "ok",
                count: 4,
            }],
            changes: vec![ChangeCount {
                watch: "ingresses".to_owned(),
                created: 5,
                ..ChangeCount::default()
            }],
            durations: vec![("on-change", durations)],
            hook: Some(HookStatus {
                state: "waiting".to_owned(),
                failures: 2,
                failed: 3,
                ..HookStatus::default()
            }),
            ..PluginStatus::default()
        }],
        ..HostState::default()
    })
}

#[test]
fn v1_the_documented_names_are_those_that_are_served() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
    let documented: BTreeSet<(String, String)> = std::fs::read_to_string(path)
        .unwrap()
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.split('|');
            let name = cells.next()?.trim().trim_end_matches('`').to_owned();
            Some((name, cells.next()?.trim().to_owned()))
        })
        .collect();
    let text = Format::Plain.text(&state());
    let served: BTreeSet<(String, String)> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
        .collect();
    assert_eq!(documented, served);
}

#[test]
fn v1_metrics_carry_what_the_state_has() {
    let text = Format::OpenMetrics.text(&state());
    for line in [
        "haptic_build_info{version=\"1.2.3\"} 1",
        "haptic_ready 1",
        "haptic_leads 1",
        "haptic_watch_info{watch=\"ingresses\",plugin=\"render\",resource=\"ingresses.v1.networking.k8s.io\",storage=\"memory\"} 1",
        "haptic_watch_state{watch=\"ingresses\",namespace=\"shop\",state=\"synced\"} 1",
        "haptic_watch_state{watch=\"ingresses\",namespace=\"shop\",state=\"failing\"} 0",
        "haptic_watch_objects{watch=\"ingresses\",namespace=\"shop\"} 7",
        "haptic_watch_stored_bytes{watch=\"ingresses\"} 700",
        "haptic_watch_quarantined_objects_total{watch=\"ingresses\"} 2",
        "haptic_watch_requests_total{watch=\"ingresses\",namespace=\"shop\",kind=\"watch\",code=\"200\"} 3",
        "haptic_watch_events_total{watch=\"ingresses\",namespace=\"shop\",type=\"listed\"} 9",
        "haptic_watch_events_total{watch=\"ingresses\",namespace=\"shop\",type=\"foreign\"} 27",
        "haptic_shard_info{index=\"1\",count=\"4\",by=\"namespace\"} 1",
        "haptic_watch_lists_begun_total{watch=\"ingresses\",namespace=\"shop\"} 2",
        "haptic_plugin_callbacks_total{plugin=\"re\\\"nder\\\\\\n\",callback=\"on-change\",result=\"ok\"} 4",
        "haptic_plugin_callback_duration_seconds_bucket{le=\"0.0001\",plugin=\"re\\\"nder\\\\\\n\",callback=\"on-change\"} 0",
        "haptic_plugin_callback_duration_seconds_bucket{le=\"0.0005\",plugin=\"re\\\"nder\\\\\\n\",callback=\"on-change\"} 1",
        "haptic_plugin_callback_duration_seconds_bucket{le=\"+Inf\",plugin=\"re\\\"nder\\\\\\n\",callback=\"on-change\"} 1",
        "haptic_plugin_changes_total{plugin=\"re\\\"nder\\\\\\n\",watch=\"ingresses\",change=\"created\"} 5",
        "haptic_cache_reads_total{result=\"hit\"} 3",
        "haptic_hook_runs_total{plugin=\"re\\\"nder\\\\\\n\",result=\"failed\"} 3",
        "haptic_hook_consecutive_failures{plugin=\"re\\\"nder\\\\\\n\"} 2",
        "haptic_hook_due{plugin=\"re\\\"nder\\\\\\n\"} 1",
        "haptic_cache_bytes 9",
        "process_cpu_seconds_total 1.5",
        "process_resident_memory_bytes 4096",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\nis not in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
    // A stream that two watches share is counted once.
    assert!(!text.contains("haptic_watch_requests_total{watch=\"hello/ingresses\""));
    // What the kernel does not tell is not made up.
    assert!(
        !text
            .lines()
            .any(|line| line.starts_with("process_open_fds "))
    );
}

#[test]
fn v1_the_plain_format_is_what_old_parsers_read() {
    let text = Format::Plain.text(&state());
    for part in [
        "# TYPE haptic_build_info gauge\nhaptic_build_info{version=\"1.2.3\"} 1\n",
        "# HELP haptic_leader_terms_total Times that this process began to lead\n# TYPE haptic_leader_terms_total counter\nhaptic_leader_terms_total 0\n",
        "# TYPE haptic_plugin_callback_duration_seconds histogram\n",
    ] {
        assert!(text.contains(part), "{part}\nis not in\n{text}");
    }
    assert!(!text.contains("EOF") && !text.contains("# UNIT"), "{text}");
}

#[test]
fn v1_the_format_is_what_the_client_reads() {
    for (accept, format) in [
        (None, Format::Plain),
        (Some("*/*"), Format::Plain),
        (Some("text/plain;version=0.0.4;q=0.5"), Format::Plain),
        (
            Some(
                "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1",
            ),
            Format::OpenMetrics,
        ),
    ] {
        assert_eq!(Format::of(accept), format, "{accept:?}");
    }
}
