//! A plugin that renders HAProxy's configuration from Ingresses, Services, EndpointSlices and TLS
//! Secrets. `README.md` says what it does; the way of the data is `model` (what is known), `plan`
//! (what the proxy shall do, checked), `render` (files).

pub mod certificate;
pub mod model;
pub mod names;
pub mod plan;
pub mod render;
pub mod settings;

use std::collections::{BTreeMap, BTreeSet};

use haptic_guest::{ChangeStats, Config, Error, Plugin, ResourceEvent, Store, Watch, log, output};
use serde::Deserialize;

use model::Model;
use plan::Warning;
use settings::{Settings, Tuning};

/// The plugin.
pub struct Haproxy {
    settings: Settings,
    model: Model,
    /// Logged already; a warning is news once.
    warned: BTreeSet<Warning>,
}

/// The watch of the ConfigMap.
const TUNING: &str = "settings";

impl Plugin for Haproxy {
    fn describe(config: &Config) -> Result<Vec<Watch>, Error> {
        let settings = Settings::from_config(config)?;
        Ok(vec![
            Watch::new("ingresses", "networking.k8s.io/v1", "ingresses")
                .field_selector(format!("spec.ingressClassName={}", settings.ingress_class))
                .keep_fields([
                    "metadata.creationTimestamp",
                    "spec.defaultBackend",
                    "spec.rules",
                    "spec.tls",
                ]),
            Watch::new("services", "v1", "services").keep_fields(["spec.ports"]),
            Watch::new("endpointslices", "discovery.k8s.io/v1", "endpointslices")
                .keep_fields([
                    r"metadata.labels.kubernetes\.io/service-name",
                    "endpoints",
                    "ports",
                ])
                // What moves without the proxy having to know.
                .ignore_fields([
                    "endpoints[*].targetRef",
                    "endpoints[*].nodeName",
                    "endpoints[*].zone",
                    "endpoints[*].hints",
                ]),
            Watch::new("secrets", "v1", "secrets")
                .field_selector("type=kubernetes.io/tls")
                .keep_fields([r"data.tls\.crt", r"data.tls\.key"]),
            Watch::object(TUNING, "v1", "configmaps", settings.config_map.name)
                .namespace(settings.config_map.namespace)
                .keep_fields(["data"]),
        ])
    }

    fn new(config: &Config) -> Result<Self, Error> {
        Ok(Haproxy {
            settings: Settings::from_config(config)?,
            model: Model::default(),
            warned: BTreeSet::new(),
        })
    }

    fn on_sync_complete(&mut self, store: &Store<'_>, _initial_count: u32) -> Result<(), Error> {
        self.model.forget(store.name())?;
        self.model.load(store)?;
        self.render()
    }

    fn on_change(&mut self, store: &Store<'_>, _stats: ChangeStats) -> Result<(), Error> {
        self.model.load(store)?;
        self.render()
    }

    fn on_resource_change(&mut self, _watch: &str, event: ResourceEvent) -> Result<(), Error> {
        #[derive(Deserialize)]
        struct ConfigMap {
            data: Option<BTreeMap<String, String>>,
        }
        let config_map: Option<ConfigMap> = event.current()?;
        self.model.tuning = Some(config_map.and_then(|map| map.data).unwrap_or_default());
        self.render()
    }

    /// Renders once everything has been read, which also after a restart of this instance means
    /// that nothing is rendered from half of the cluster.
    fn render(&mut self) -> Result<(), Error> {
        self.model.catch_up()?;
        let (true, Some(data)) = (self.model.is_complete(), &self.model.tuning) else {
            return Ok(());
        };
        let (tuning, complaints) = Tuning::new(&self.settings, data);
        let mut plan = plan::plan(&self.model);
        let config_map = &self.settings.config_map;
        plan.warnings
            .extend(complaints.into_iter().map(|text| Warning {
                subject: format!("ConfigMap {}/{}", config_map.namespace, config_map.name),
                text,
            }));
        let files = render::render(&plan, &self.settings, &tuning);
        for (name, content) in &files {
            output::write(name, content)?;
        }
        for Warning { subject, text } in plan.warnings.difference(&self.warned) {
            log::warn!(object = subject, "{text}");
        }
        log::debug!(
            routes = plan.exact.len() + plan.prefix.len(),
            backends = plan.backends.len(),
            certificates = plan.certificates.len(),
            "rendered"
        );
        self.warned = plan.warnings;
        Ok(())
    }
}

haptic_guest::export!(Haproxy);
