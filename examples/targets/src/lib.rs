//! A plugin that renders a file of Prometheus targets (`file_sd`) from EndpointSlices, and of each
//! change only what changed. `README.md` says what it does; the same plugin stands beside it in
//! Python, JavaScript and C.

use std::collections::BTreeMap;

use haptic_guest::{
    Cache, Config, Error, Plugin, Resource, Watch, cache::Key, log, output, settings::Problems,
};
use serde::{Deserialize, Serialize};

/// The plugin.
pub struct Targets {
    settings: Settings,
    slices: Cache<Slice>,
    /// What each slice puts into the file; nothing of slices without targets.
    groups: BTreeMap<Key, String>,
}

/// The plugin's settings in the host's configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The name of the port that is scraped.
    pub port: String,
    /// Only slices with these labels; all if it is empty.
    pub selector: String,
    /// The output.
    pub file: String,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            port: "metrics".to_owned(),
            selector: String::new(),
            file: "targets.json".to_owned(),
        }
    }
}

impl haptic_guest::Settings for Settings {
    fn check(&self, problems: &mut Problems) {
        let letters = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        problems.check(
            (1..=63).contains(&self.port.len()) && self.port.bytes().all(letters),
            "port",
            "a port's name has 1 to 63 of the characters a-z, 0-9 and -",
        );
    }
}

/// An EndpointSlice.
#[derive(Debug, Resource)]
#[resource(api_version = "discovery.k8s.io/v1", plural = "endpointslices")]
// What moves without a scraper having to know.
#[resource(ignore(
    "endpoints[*].targetRef",
    "endpoints[*].nodeName",
    "endpoints[*].zone",
    "endpoints[*].hints"
))]
struct Slice {
    #[field("metadata.labels['kubernetes.io/service-name']")]
    service: Option<String>,
    #[field("endpoints")]
    endpoints: Option<Vec<Endpoint>>,
    #[field("ports")]
    ports: Option<Vec<Port>>,
}

#[derive(Debug, Deserialize)]
struct Endpoint {
    #[serde(default)]
    addresses: Vec<String>,
    #[serde(default)]
    conditions: Conditions,
}

#[derive(Debug, Default, Deserialize)]
struct Conditions {
    ready: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct Port {
    name: Option<String>,
    port: Option<i32>,
}

/// A group of targets, as Prometheus reads it.
#[derive(Serialize)]
struct Group<'a> {
    targets: Vec<String>,
    labels: Labels<'a>,
}

#[derive(Serialize)]
struct Labels<'a> {
    namespace: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<&'a str>,
}

impl Slice {
    /// The ready endpoints, at the port of this name.
    fn targets(&self, port: &str) -> Vec<String> {
        let ports = self.ports.iter().flatten();
        let ports: Vec<i32> = ports
            .filter(|candidate| candidate.name.as_deref() == Some(port))
            .filter_map(|candidate| candidate.port)
            .collect();
        let endpoints = self.endpoints.iter().flatten();
        endpoints
            // Whether an endpoint is ready may be unknown: it is then, says the API.
            .filter(|endpoint| endpoint.conditions.ready != Some(false))
            .flat_map(|endpoint| &endpoint.addresses)
            .flat_map(|address| ports.iter().map(move |port| (address, port)))
            .map(|(address, port)| match address.contains(':') {
                true => format!("[{address}]:{port}"),
                false => format!("{address}:{port}"),
            })
            .collect()
    }
}

impl Plugin for Targets {
    fn describe(config: &Config) -> Result<Vec<Watch>, Error> {
        let settings: Settings = config.settings()?;
        let watch = Slice::watch();
        Ok(vec![match settings.selector.as_str() {
            "" => watch,
            selector => watch.label_selector(selector),
        }])
    }

    fn new(config: &Config) -> Result<Self, Error> {
        Ok(Targets {
            settings: config.settings()?,
            slices: Cache::new(),
            groups: BTreeMap::new(),
        })
    }

    fn render(&mut self) -> Result<(), Error> {
        let update = self.slices.update()?;
        for key in update.keys() {
            let targets = self.slices.get(key).map(|slice| {
                let labels = Labels {
                    namespace: &key.namespace,
                    service: slice.service.as_deref(),
                };
                let targets = slice.targets(&self.settings.port);
                Group { targets, labels }
            });
            match targets.filter(|group| !group.targets.is_empty()) {
                Some(group) => {
                    let group = serde_json::to_string(&group)?;
                    self.groups.insert(key.clone(), group);
                }
                None => _ = self.groups.remove(key),
            }
        }
        let groups: Vec<&str> = self.groups.values().map(String::as_str).collect();
        let lines = match groups.as_slice() {
            [] => String::new(),
            groups => format!("\n  {}\n", groups.join(",\n  ")),
        };
        output::write(&self.settings.file, &format!("[{lines}]\n"))?;
        match update.is_complete {
            true => log::info!(groups = groups.len(), "rendered everything"),
            false => log::debug!(groups = groups.len(), "rendered what changed"),
        }
        Ok(())
    }
}

haptic_guest::export!(Targets);
