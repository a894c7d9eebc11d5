//! The counters and gauges of `/metrics`. Owns their names; is told what happened.

use std::{
    fmt::Write,
    sync::atomic::{AtomicI64, AtomicU64},
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};

use super::HostState;

/// Bounds of the callback durations, in seconds: from a render of what changed
/// (0.1 ms) to the default deadline (10 s).
const DURATIONS: [f64; 10] = [
    0.000_1, 0.000_5, 0.002, 0.01, 0.05, 0.25, 1.0, 2.5, 5.0, 10.0,
];

/// The states of a watch, of which each watch is in one (contract W9).
const STATES: [&str; 7] = [
    "discovering",
    "waiting-for-crd",
    "forbidden",
    "listing",
    "synced",
    "stale",
    "failing",
];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WatchLabels {
    watch: String,
    namespace: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    watch: String,
    namespace: String,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PluginLabels {
    plugin: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallbackLabels {
    plugin: String,
    callback: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    plugin: String,
    callback: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReloadLabels {
    plugin: String,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HookLabels {
    plugin: String,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CacheLabels {
    result: &'static str,
}

type FloatGauge = Gauge<f64, AtomicU64>;
type IntGauge = Gauge<i64, AtomicI64>;

/// Everything that `/metrics` shows.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    watch_state: Family<StateLabels, IntGauge>,
    watch_objects: Family<WatchLabels, IntGauge>,
    watch_unkeyed: Family<WatchLabels, IntGauge>,
    watch_quarantined: Family<WatchLabels, Counter>,
    callbacks: Family<ResultLabels, Counter>,
    durations: Family<CallbackLabels, Histogram>,
    plugin_failures: Family<PluginLabels, IntGauge>,
    plugin_restarts: Family<PluginLabels, Counter>,
    plugin_memory: Family<PluginLabels, IntGauge>,
    plugin_ready: Family<PluginLabels, IntGauge>,
    plugin_reloads: Family<ReloadLabels, Counter>,
    plugin_refused: Family<PluginLabels, IntGauge>,
    outputs_changed: Family<PluginLabels, Counter>,
    output_bytes: Family<PluginLabels, Counter>,
    hook_runs: Family<HookLabels, Counter>,
    hook_failures: Family<PluginLabels, IntGauge>,
    hook_due: Family<PluginLabels, IntGauge>,
    cache_reads: Family<CacheLabels, Counter>,
    cache_requests: Counter,
    cache_fetched: Counter,
    cache_objects: IntGauge,
    cache_bytes: IntGauge,
    ready: IntGauge,
    leads: IntGauge,
    uptime: FloatGauge,
    resident: IntGauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Registers every name.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("haptic");
        registry.register(
            "build",
            "The version of this program.",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        let mut family = Registration {
            registry: &mut registry,
        };
        let metrics = Self {
            watch_state: family.add(
                "watch_state",
                "1 for the state that a watch is in, 0 for the others.",
            ),
            watch_objects: family.add("watch_objects", "Objects in the store of a watch."),
            watch_unkeyed: family.add(
                "watch_unkeyed_objects",
                "Objects of a watch without a key for its primary index.",
            ),
            watch_quarantined: family.add(
                "watch_quarantined_objects",
                "Objects of a watch that could not be decoded.",
            ),
            callbacks: family.add(
                "plugin_callbacks",
                "Callbacks that ended, by result: ok or failed.",
            ),
            durations: Family::new_with_constructor(duration_histogram as fn() -> Histogram),
            plugin_failures: family.add(
                "plugin_consecutive_failures",
                "Failures of a plugin since its last success.",
            ),
            plugin_restarts: family.add(
                "plugin_restarts",
                "Instances of a plugin that were made after its first.",
            ),
            plugin_memory: family.add(
                "plugin_memory_bytes",
                "Linear memory of a plugin after its last callback.",
            ),
            plugin_ready: family.add(
                "plugin_ready",
                "Whether a plugin has all that it requires and is still called.",
            ),
            plugin_reloads: family.add(
                "plugin_reloads",
                "New versions of a plugin, by result: taken or refused.",
            ),
            plugin_refused: family.add(
                "plugin_version_refused",
                "Whether the version that is in a plugin's file is refused, and an older one runs.",
            ),
            outputs_changed: family.add(
                "plugin_outputs_changed",
                "Outputs of a plugin that were put in their place with new content.",
            ),
            output_bytes: family.add(
                "plugin_output_bytes",
                "Bytes that callbacks of a plugin wrote, changed or not.",
            ),
            hook_runs: family.add(
                "hook_runs",
                "Runs of a plugin's hook that ended, by result: ok or failed.",
            ),
            hook_failures: family.add(
                "hook_consecutive_failures",
                "Failures of a plugin's hook since its last success.",
            ),
            hook_due: family.add(
                "hook_due",
                "Whether outputs have changed since a plugin's hook has last succeeded.",
            ),
            cache_reads: family.add(
                "cache_reads",
                "Objects of cached stores that were read, by result: hit, miss, coalesced or error.",
            ),
            cache_requests: family.add("cache_requests", "GETs of objects of cached stores."),
            cache_fetched: family.add(
                "cache_fetched_bytes",
                "Bytes of objects of cached stores that came, before filtering.",
            ),
            cache_objects: family.add(
                "cache_objects",
                "Objects of cached stores whose bodies are held.",
            ),
            cache_bytes: family.add("cache_bytes", "Bytes of the bodies that are held."),
            ready: family.add("ready", "Whether /readyz answers 200."),
            leads: family.add(
                "leads",
                "Whether this process runs callbacks: always, without leader election.",
            ),
            uptime: FloatGauge::default(),
            resident: IntGauge::default(),
            registry: Registry::default(),
        };
        registry.register_with_unit(
            "plugin_callback_duration",
            "How long callbacks ran, without the commit of their outputs.",
            Unit::Seconds,
            metrics.durations.clone(),
        );
        registry.register_with_unit(
            "uptime",
            "Since the host started.",
            Unit::Seconds,
            metrics.uptime.clone(),
        );
        registry.register_with_unit(
            "resident_memory",
            "Memory of this process that is in RAM.",
            Unit::Bytes,
            metrics.resident.clone(),
        );
        Self {
            registry,
            ..metrics
        }
    }

    /// A callback returned ok, and what it wrote is in its place.
    pub fn succeeded(
        &self,
        plugin: &str,
        callback: &'static str,
        duration: Duration,
        bytes: usize,
        changed: usize,
    ) {
        self.ended(plugin, callback, "ok");
        let plugin = plugin.to_owned();
        self.durations
            .get_or_create(&CallbackLabels {
                plugin: plugin.clone(),
                callback,
            })
            .observe(duration.as_secs_f64());
        let labels = PluginLabels { plugin };
        self.output_bytes
            .get_or_create(&labels)
            .inc_by(count(bytes));
        self.outputs_changed
            .get_or_create(&labels)
            .inc_by(count(changed));
    }

    /// A callback failed, or its outputs could not be committed.
    pub fn failed(&self, plugin: &str, callback: &'static str) {
        self.ended(plugin, callback, "failed");
    }

    fn ended(&self, plugin: &str, callback: &'static str, result: &'static str) {
        let labels = ResultLabels {
            plugin: plugin.to_owned(),
            callback,
            result,
        };
        self.callbacks.get_or_create(&labels).inc();
    }

    /// The metrics in the text format that Prometheus scrapes (OpenMetrics 1.0),
    /// with the gauges as `state` has them.
    #[must_use]
    pub fn text(&self, state: &HostState) -> String {
        self.take(state);
        let mut text = String::new();
        if encode(&mut text, &self.registry).is_err() {
            // Writing to a string fails only when an encoder of ours does.
            text.clear();
            let _ = writeln!(text, "# the metrics could not be written");
        }
        text
    }

    fn take(&self, state: &HostState) {
        for watch in &state.watches {
            let labels = WatchLabels {
                watch: watch.name.clone(),
                namespace: watch.namespace.clone(),
            };
            for name in STATES {
                self.watch_state
                    .get_or_create(&StateLabels {
                        watch: watch.name.clone(),
                        namespace: watch.namespace.clone(),
                        state: name,
                    })
                    .set(i64::from(watch.state == name));
            }
            self.watch_objects
                .get_or_create(&labels)
                .set(gauge(watch.objects));
            self.watch_unkeyed
                .get_or_create(&labels)
                .set(gauge(watch.unkeyed));
            raise(
                &self.watch_quarantined.get_or_create(&labels),
                watch.quarantined,
            );
        }
        for plugin in &state.plugins {
            let labels = PluginLabels {
                plugin: plugin.name.clone(),
            };
            self.plugin_failures
                .get_or_create(&labels)
                .set(i64::from(plugin.failures));
            raise(
                &self.plugin_restarts.get_or_create(&labels),
                plugin.restarts,
            );
            self.plugin_memory
                .get_or_create(&labels)
                .set(i64::try_from(plugin.memory_bytes).unwrap_or(i64::MAX));
            self.plugin_ready
                .get_or_create(&labels)
                .set(i64::from(plugin.synced && !plugin.broken));
            let Some(hook) = &plugin.hook else {
                continue;
            };
            for (result, total) in [("ok", hook.succeeded), ("failed", hook.failed)] {
                let plugin = plugin.name.clone();
                let labels = HookLabels { plugin, result };
                raise(&self.hook_runs.get_or_create(&labels), total);
            }
            self.hook_failures
                .get_or_create(&labels)
                .set(i64::from(hook.failures));
            self.hook_due
                .get_or_create(&labels)
                .set(i64::from(hook.state != "idle"));
        }
        for plugin in &state.plugins {
            for (result, total) in [
                ("taken", plugin.reload.taken),
                ("refused", plugin.reload.refused),
            ] {
                let labels = ReloadLabels {
                    plugin: plugin.name.clone(),
                    result,
                };
                raise(&self.plugin_reloads.get_or_create(&labels), total);
            }
            let labels = PluginLabels {
                plugin: plugin.name.clone(),
            };
            self.plugin_refused
                .get_or_create(&labels)
                .set(i64::from(plugin.reload.refusal.is_some()));
        }
        let cache = &state.cache;
        for (result, total) in [
            ("hit", cache.hits),
            ("miss", cache.misses),
            ("coalesced", cache.coalesced),
            ("error", cache.errors),
        ] {
            raise(
                &self.cache_reads.get_or_create(&CacheLabels { result }),
                total,
            );
        }
        raise(&self.cache_requests, cache.requests);
        raise(&self.cache_fetched, cache.fetched_bytes);
        self.cache_objects.set(gauge(cache.held));
        self.cache_bytes.set(gauge(cache.held_bytes));
        self.ready.set(i64::from(state.is_ready()));
        let leads = state.leader.as_ref().is_none_or(|leader| leader.leads);
        self.leads.set(i64::from(leads));
        self.uptime.set(state.uptime_seconds);
        if let Some(bytes) = resident_bytes() {
            self.resident.set(bytes);
        }
    }
}

struct Registration<'a> {
    registry: &'a mut Registry,
}

impl Registration<'_> {
    fn add<M>(&mut self, name: &str, help: &str) -> M
    where
        M: prometheus_client::registry::Metric + Default + Clone,
    {
        let metric = M::default();
        // The registry ends the sentence itself.
        self.registry
            .register(name, help.trim_end_matches('.'), metric.clone());
        metric
    }
}

fn duration_histogram() -> Histogram {
    Histogram::new(DURATIONS)
}

/// Brings a counter up to a total that is counted elsewhere.
fn raise(counter: &Counter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

fn gauge(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// `VmRSS` of `/proc/self/status`; `None` where there is none.
fn resident_bytes() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::collections::BTreeSet;

    use super::*;
    use crate::observe::{CacheStatus, HookStatus, PluginStatus, WatchStatus};

    /// One watch and one plugin.
    fn state() -> HostState {
        HostState {
            cache: CacheStatus {
                hits: 3,
                held_bytes: 9,
                ..CacheStatus::default()
            },
            watches: vec![WatchStatus {
                name: "ingresses".to_owned(),
                state: "synced".to_owned(),
                objects: 7,
                quarantined: 2,
                ..WatchStatus::default()
            }],
            plugins: vec![PluginStatus {
                name: "render".to_owned(),
                synced: true,
                hook: Some(HookStatus {
                    state: "waiting".to_owned(),
                    failures: 2,
                    failed: 3,
                    ..HookStatus::default()
                }),
                ..PluginStatus::default()
            }],
            ..HostState::default()
        }
    }

    fn told() -> Metrics {
        let metrics = Metrics::new();
        metrics.succeeded("render", "on-change", Duration::from_micros(300), 10, 1);
        metrics.failed("render", "on-change");
        metrics
    }

    #[test]
    fn v1_the_documented_names_are_those_that_are_served() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
        let documented: BTreeSet<String> = std::fs::read_to_string(path)
            .unwrap()
            .lines()
            .filter_map(|line| line.strip_prefix("| `haptic_")?.split('`').next())
            .map(|name| {
                let name = name.trim_end_matches("_total");
                format!(
                    "haptic_{}",
                    name.strip_suffix("build_info").map_or(name, |_| "build")
                )
            })
            .collect();
        let text = told().text(&state());
        let served: BTreeSet<String> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
            .map(str::to_owned)
            .collect();
        assert_eq!(documented, served);
    }

    #[test]
    fn v1_metrics_carry_what_they_were_told() {
        let metrics = told();
        let state = state();
        let text = metrics.text(&state);
        for line in [
            "haptic_watch_state{watch=\"ingresses\",namespace=\"\",state=\"synced\"} 1",
            "haptic_watch_state{watch=\"ingresses\",namespace=\"\",state=\"failing\"} 0",
            "haptic_watch_objects{watch=\"ingresses\",namespace=\"\"} 7",
            "haptic_watch_quarantined_objects_total{watch=\"ingresses\",namespace=\"\"} 2",
            "haptic_plugin_callbacks_total{plugin=\"render\",callback=\"on-change\",result=\"ok\"} 1",
            "haptic_plugin_callbacks_total{plugin=\"render\",callback=\"on-change\",result=\"failed\"} 1",
            "haptic_plugin_callback_duration_seconds_count{plugin=\"render\",callback=\"on-change\"} 1",
            "haptic_plugin_outputs_changed_total{plugin=\"render\"} 1",
            "haptic_plugin_ready{plugin=\"render\"} 1",
            "haptic_hook_runs_total{plugin=\"render\",result=\"failed\"} 3",
            "haptic_hook_consecutive_failures{plugin=\"render\"} 2",
            "haptic_hook_due{plugin=\"render\"} 1",
            "haptic_cache_reads_total{result=\"hit\"} 3",
            "haptic_cache_bytes 9",
            "haptic_ready 1",
            "haptic_leads 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\nis not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
        // A total that is counted elsewhere is not added twice.
        assert!(metrics.text(&state).contains(
            "haptic_watch_quarantined_objects_total{watch=\"ingresses\",namespace=\"\"} 2\n"
        ));
    }
}
