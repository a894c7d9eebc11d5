//! The state as Prometheus metrics. Owns their names; counts nothing itself, so that
//! a watch or a plugin that is gone leaves no series behind.

use std::{
    fmt::{self, Write},
    sync::Arc,
};

use prometheus_client::{
    collector::Collector,
    encoding::{
        DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabelSet, NoLabelSet,
        text::encode,
    },
    metrics::MetricType,
    registry::Registry,
};

use super::{
    HostState,
    durations::{BOUNDS, Durations},
};

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

/// The text formats that are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// OpenMetrics 1.0, for those who ask for it, as Prometheus does.
    OpenMetrics,
    /// Prometheus's own, 0.0.4, which every scraper and every tool reads.
    Plain,
}

impl Format {
    /// What a client that sends this `Accept` header reads.
    pub(super) fn of(accept: Option<&str>) -> Self {
        match accept {
            Some(accept) if accept.contains("application/openmetrics-text") => Self::OpenMetrics,
            Some(_) | None => Self::Plain,
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Plain => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// The metrics of a state.
    pub(super) fn text(self, state: &Arc<HostState>) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Shown(Arc::clone(state))));
        let mut text = String::new();
        if encode(&mut text, &registry).is_err() {
            // Writing to a string fails only when an encoder of ours does.
            text.clear();
            text.push_str("# the metrics could not be written\n");
        }
        match self {
            Self::OpenMetrics => text,
            Self::Plain => plain(&text),
        }
    }
}

/// OpenMetrics as the older format has it: a counter's name includes `_total` in its
/// TYPE as well, an info is a gauge, and there is no end mark.
fn plain(open: &str) -> String {
    let mut text = String::with_capacity(open.len());
    // HELP comes before the TYPE that tells what the name is to be.
    let mut help = None;
    for line in open.lines() {
        if line == "# EOF" {
            continue;
        }
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
            continue;
        }
        let Some(rest) = line.strip_prefix("# TYPE ") else {
            text.push_str(line);
            text.push('\n');
            continue;
        };
        let (name, kind) = rest.split_once(' ').unwrap_or((rest, "untyped"));
        let (suffix, kind) = match kind {
            "counter" => ("_total", "counter"),
            "info" => ("_info", "gauge"),
            other => ("", other),
        };
        // Writing to a string cannot fail.
        if let Some((_, sentence)) = help.take() {
            let _ = writeln!(text, "# HELP {name}{suffix} {sentence}");
        }
        let _ = writeln!(text, "# TYPE {name}{suffix} {kind}");
    }
    text
}

#[derive(Debug)]
struct Shown(Arc<HostState>);

impl Collector for Shown {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        page.host(&self.0)?;
        page.watches(&self.0)?;
        page.traffic(&self.0)?;
        page.cache(&self.0)?;
        page.plugins(&self.0)?;
        page.outputs(&self.0)?;
        page.process(&self.0)
    }
}

/// A metric is written whole, all its series together, as the formats want it.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn gauge<L: EncodeLabelSet, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (L, V)>,
    ) -> fmt::Result {
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in series {
            metric.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    /// `name` without `_total`, which the encoder adds.
    fn counter<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in series {
            metric
                .encode_family(&labels)?
                .encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        Ok(())
    }

    fn one_gauge(&mut self, name: &str, help: &str, value: &impl EncodeGaugeValue) -> fmt::Result {
        self.0
            .encode_descriptor(name, help, None, MetricType::Gauge)?
            .encode_gauge(value)
    }

    fn one_counter(
        &mut self,
        name: &str,
        help: &str,
        value: &impl EncodeCounterValue,
    ) -> fmt::Result {
        self.0
            .encode_descriptor(name, help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, u64>(value, None)
    }

    fn histogram<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (L, Durations)>,
    ) -> fmt::Result {
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (labels, durations) in series {
            // The encoder adds them up.
            let bounds = BOUNDS.into_iter().chain([f64::INFINITY]);
            let buckets: Vec<(f64, u64)> = bounds.zip(durations.counts).collect();
            metric
                .encode_family(&labels)?
                .encode_histogram::<NoLabelSet>(durations.sum, durations.count(), &buckets, None)?;
        }
        Ok(())
    }

    fn host(&mut self, state: &HostState) -> fmt::Result {
        self.0
            .encode_descriptor(
                "haptic_build",
                "The version of this program",
                None,
                MetricType::Info,
            )?
            .encode_info(&[("version", state.version.as_str())])?;
        let mut info = self.0.encode_descriptor(
            "haptic_shard",
            "The part of the objects that this process holds, if it is one",
            None,
            MetricType::Info,
        )?;
        if let Some(shard) = &state.shard {
            let (index, count) = (shard.index.to_string(), shard.count.to_string());
            info.encode_info(&[
                ("index", index.as_str()),
                ("count", count.as_str()),
                ("by", shard.by),
            ])?;
        }
        self.one_gauge(
            "haptic_ready",
            "1 when /readyz answers 200",
            &u32::from(state.is_ready()),
        )?;
        let leader = state.leader.as_ref();
        let leads = leader.is_none_or(|leader| leader.leads);
        self.one_gauge(
            "haptic_leads",
            "1 when this process runs callbacks: always, without leader election",
            &u32::from(leads),
        )?;
        self.one_counter(
            "haptic_leader_terms",
            "Times that this process began to lead",
            &leader.map_or(0, |leader| leader.terms),
        )
    }

    fn watches(&mut self, state: &HostState) -> fmt::Result {
        let watches = &state.watches;
        let scopes = || {
            watches
                .iter()
                .flat_map(|watch| watch.scopes.iter().map(move |scope| (watch, scope)))
        };
        let mut info = self.0.encode_descriptor(
            "haptic_watch",
            "What a watch is, and which plugins read it",
            None,
            MetricType::Info,
        )?;
        for watch in watches {
            for plugin in &watch.plugins {
                info.encode_info(&[
                    ("watch", watch.name.as_str()),
                    ("plugin", plugin.as_str()),
                    ("resource", watch.resource.as_str()),
                    ("storage", watch.storage),
                ])?;
            }
        }
        self.gauge(
            "haptic_watch_state",
            "1 for the state that a watch is in, 0 for the others",
            scopes().flat_map(|(watch, scope)| {
                STATES.map(|name| {
                    let labels = [
                        ("watch", watch.name.as_str()),
                        ("namespace", scope.namespace.as_str()),
                        ("state", name),
                    ];
                    (labels, u32::from(scope.state == name))
                })
            }),
        )?;
        self.gauge(
            "haptic_watch_objects",
            "Objects in the store of a watch",
            scopes().map(|(watch, scope)| (at(&watch.name, &scope.namespace), scope.objects)),
        )?;
        let of_watch = |watch| [("watch", watch)];
        self.gauge(
            "haptic_watch_stored_bytes",
            "Filtered JSON in the store of a watch",
            watches
                .iter()
                .map(|watch| (of_watch(watch.name.as_str()), watch.stored_bytes)),
        )?;
        self.gauge(
            "haptic_watch_unkeyed_objects",
            "Objects of a watch without a key for its primary index",
            watches
                .iter()
                .map(|watch| (of_watch(watch.name.as_str()), watch.unkeyed)),
        )?;
        self.gauge(
            "haptic_watch_unreadable_objects",
            "Objects of a watch that cannot be decoded now, as far as they are remembered",
            watches
                .iter()
                .map(|watch| (of_watch(watch.name.as_str()), watch.unreadable.len())),
        )?;
        self.counter(
            "haptic_watch_quarantined_objects",
            "Times that an object of a watch could not be decoded",
            watches
                .iter()
                .map(|watch| (of_watch(watch.name.as_str()), watch.quarantined)),
        )
    }

    fn traffic(&mut self, state: &HostState) -> fmt::Result {
        let streams = || {
            state.watches.iter().flat_map(|watch| {
                watch.scopes.iter().filter_map(move |scope| {
                    let traffic = scope.traffic.as_ref()?;
                    Some((watch.name.as_str(), scope.namespace.as_str(), traffic))
                })
            })
        };
        self.counter(
            "haptic_watch_requests",
            "Requests of a watch to the API server, by kind and answer",
            streams().flat_map(|(watch, namespace, traffic)| {
                traffic.requests.iter().map(move |requests| {
                    let labels = [
                        ("watch", watch),
                        ("namespace", namespace),
                        ("kind", requests.kind),
                        ("code", requests.code),
                    ];
                    (labels, requests.count)
                })
            }),
        )?;
        self.counter(
            "haptic_watch_received_bytes",
            "Bodies that the API server sent to a watch, before they are decompressed",
            streams().map(|(watch, namespace, t)| (at(watch, namespace), t.received_bytes)),
        )?;
        self.counter(
            "haptic_watch_events",
            "Objects that the API server sent to a watch, by what it said of them",
            streams().flat_map(|(watch, namespace, traffic)| {
                [
                    ("listed", traffic.listed),
                    ("applied", traffic.applied),
                    ("deleted", traffic.deleted),
                    ("unreadable", traffic.unreadable),
                    ("foreign", traffic.foreign),
                ]
                .map(|(kind, count)| {
                    let labels = [("watch", watch), ("namespace", namespace), ("type", kind)];
                    (labels, count)
                })
            }),
        )?;
        self.counter(
            "haptic_watch_lists_begun",
            "Lists that a watch began; all but the first of each stream are relists",
            streams().map(|(watch, namespace, t)| (at(watch, namespace), t.lists_begun)),
        )?;
        self.counter(
            "haptic_watch_lists_completed",
            "Lists of a watch that came to their end",
            streams().map(|(watch, namespace, t)| (at(watch, namespace), t.lists_completed)),
        )
    }

    fn cache(&mut self, state: &HostState) -> fmt::Result {
        let cache = &state.cache;
        self.counter(
            "haptic_cache_reads",
            "Objects of cached stores that were read, by result",
            [
                ("hit", cache.hits),
                ("miss", cache.misses),
                ("coalesced", cache.coalesced),
                ("absent", cache.absent),
                ("error", cache.errors),
            ]
            .map(|(result, count)| ([("result", result)], count)),
        )?;
        self.one_counter(
            "haptic_cache_requests",
            "GETs of objects of cached stores",
            &cache.requests,
        )?;
        self.one_counter(
            "haptic_cache_fetched_bytes",
            "Objects of cached stores that came, before filtering",
            &cache.fetched_bytes,
        )?;
        self.one_counter(
            "haptic_cache_evicted",
            "Objects that made room for others before their time was over",
            &cache.evicted,
        )?;
        self.one_gauge(
            "haptic_cache_objects",
            "Objects of cached stores whose bodies are held",
            &cache.held,
        )?;
        self.one_gauge(
            "haptic_cache_bytes",
            "Bodies of cached stores that are held",
            &cache.held_bytes,
        )
    }

    fn plugins(&mut self, state: &HostState) -> fmt::Result {
        let plugins = &state.plugins;
        self.gauge(
            "haptic_plugin_ready",
            "1 when a plugin has all that it requires and was not given up",
            plugins
                .iter()
                .map(|p| (of(&p.name), u32::from(p.is_ready()))),
        )?;
        self.counter(
            "haptic_plugin_callbacks",
            "Callbacks that ended, by result",
            plugins.iter().flat_map(|plugin| {
                plugin.callbacks.iter().map(|ended| {
                    let labels = [
                        ("plugin", plugin.name.as_str()),
                        ("callback", ended.callback),
                        ("result", ended.result),
                    ];
                    (labels, ended.count)
                })
            }),
        )?;
        self.histogram(
            "haptic_plugin_callback_duration_seconds",
            "How long callbacks ran, without the commit of their outputs",
            plugins.iter().flat_map(|plugin| {
                plugin.durations.iter().map(|(callback, durations)| {
                    let labels = [("plugin", plugin.name.as_str()), ("callback", *callback)];
                    (labels, *durations)
                })
            }),
        )?;
        self.gauge(
            "haptic_plugin_callback_running_seconds",
            "How long the callback that runs now has run; 0 when none does",
            plugins.iter().map(|p| {
                let running = p.running.as_ref().map_or(0.0, |running| running.seconds);
                (of(&p.name), running)
            }),
        )?;
        self.counter(
            "haptic_plugin_changes",
            "Objects that on-change was told of",
            plugins.iter().flat_map(|plugin| {
                plugin.changes.iter().flat_map(|told| {
                    [
                        ("created", told.created),
                        ("modified", told.modified),
                        ("deleted", told.deleted),
                    ]
                    .map(|(change, count)| {
                        let labels = [
                            ("plugin", plugin.name.as_str()),
                            ("watch", told.watch.as_str()),
                            ("change", change),
                        ];
                        (labels, count)
                    })
                })
            }),
        )?;
        self.gauge(
            "haptic_plugin_consecutive_failures",
            "Failures of a plugin since its last success",
            plugins.iter().map(|p| (of(&p.name), p.failures)),
        )?;
        self.counter(
            "haptic_plugin_restarts",
            "Instances of a plugin that were made after its first",
            plugins.iter().map(|p| (of(&p.name), p.restarts)),
        )?;
        self.counter(
            "haptic_plugin_reloads",
            "New versions in a plugin's file, by result",
            plugins.iter().flat_map(|plugin| {
                let reload = &plugin.reload;
                [("taken", reload.taken), ("refused", reload.refused)].map(|(result, count)| {
                    let labels = [("plugin", plugin.name.as_str()), ("result", result)];
                    (labels, count)
                })
            }),
        )?;
        self.gauge(
            "haptic_plugin_version_refused",
            "1 while the version in a plugin's file is refused and an older one runs",
            plugins
                .iter()
                .map(|p| (of(&p.name), u32::from(p.reload.refusal.is_some()))),
        )?;
        self.gauge(
            "haptic_plugin_memory_bytes",
            "Linear memory of a plugin after its last callback",
            plugins.iter().map(|p| (of(&p.name), p.memory_bytes)),
        )
    }

    fn outputs(&mut self, state: &HostState) -> fmt::Result {
        let plugins = &state.plugins;
        self.counter(
            "haptic_output_commits",
            "Commits of what a callback wrote, by result",
            plugins.iter().flat_map(|plugin| {
                let outputs = &plugin.outputs;
                [("ok", outputs.commits), ("failed", outputs.failed)].map(|(result, count)| {
                    let labels = [("plugin", plugin.name.as_str()), ("result", result)];
                    (labels, count)
                })
            }),
        )?;
        self.counter(
            "haptic_output_changed",
            "Outputs that were put in their place with new content",
            plugins.iter().map(|p| (of(&p.name), p.outputs.changed)),
        )?;
        self.counter(
            "haptic_output_written_bytes",
            "What callbacks wrote, changed or not",
            plugins
                .iter()
                .map(|p| (of(&p.name), p.outputs.written_bytes)),
        )?;
        let hooks = || {
            plugins
                .iter()
                .filter_map(|plugin| Some((plugin.name.as_str(), plugin.hook.as_ref()?)))
        };
        self.counter(
            "haptic_hook_runs",
            "Runs of a plugin's hook that ended, by result",
            hooks().flat_map(|(plugin, hook)| {
                [("ok", hook.succeeded), ("failed", hook.failed)]
                    .map(|(result, count)| ([("plugin", plugin), ("result", result)], count))
            }),
        )?;
        self.gauge(
            "haptic_hook_consecutive_failures",
            "Failures of a plugin's hook since its last success",
            hooks().map(|(plugin, hook)| (of(plugin), hook.failures)),
        )?;
        self.gauge(
            "haptic_hook_due",
            "1 when outputs have changed since a plugin's hook has last succeeded",
            hooks().map(|(plugin, hook)| (of(plugin), u32::from(hook.state != "idle"))),
        )
    }

    fn process(&mut self, state: &HostState) -> fmt::Result {
        let process = &state.process;
        self.one_counter(
            "process_cpu_seconds",
            "Processor time, user and system",
            &process.cpu_seconds,
        )?;
        self.one_gauge(
            "process_start_time_seconds",
            "When the process started, since 1970",
            &process.start_time_seconds,
        )?;
        for (name, help, value) in [
            (
                "process_resident_memory_bytes",
                "Memory of the process in RAM",
                process.resident_bytes,
            ),
            (
                "process_virtual_memory_bytes",
                "Address space of the process",
                process.virtual_bytes,
            ),
            (
                "process_open_fds",
                "File descriptors that are open",
                process.open_fds,
            ),
            (
                "process_max_fds",
                "File descriptors that the process may have",
                process.max_fds,
            ),
            ("process_threads", "Threads of the process", process.threads),
        ] {
            match value {
                Some(value) => self.one_gauge(name, help, &value)?,
                None => self.gauge::<[(&str, &str); 0], u64>(name, help, [])?,
            }
        }
        Ok(())
    }
}

fn at<'a>(watch: &'a str, namespace: &'a str) -> [(&'static str, &'a str); 2] {
    [("watch", watch), ("namespace", namespace)]
}

fn of(plugin: &str) -> [(&'static str, &str); 1] {
    [("plugin", plugin)]
}

#[cfg(test)]
mod tests;
