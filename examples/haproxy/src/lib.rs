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

use haptic_guest::{
    Config, Error, Plugin, Resource, ResourceEvent, Watch, all_synced, log, output,
};
use serde::Deserialize;

use model::{Ingress, Model, Service, Slice, TlsSecret};
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
            Ingress::watch()
                .field_selector(format!("spec.ingressClassName={}", settings.ingress_class)),
            Service::watch(),
            Slice::watch(),
            TlsSecret::watch(),
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

    fn on_resource_change(&mut self, _watch: &str, event: ResourceEvent) -> Result<(), Error> {
        #[derive(Deserialize)]
        struct ConfigMap {
            data: Option<BTreeMap<String, String>>,
        }
        let config_map: Option<ConfigMap> = event.current()?;
        self.model.tuning = Some(config_map.and_then(|map| map.data).unwrap_or_default());
        if all_synced() { self.render() } else { Ok(()) }
    }

    /// Called when all stores are synced, and after every change: nothing is rendered from half of
    /// the cluster. The ConfigMap, or its absence, is told after the stores.
    fn render(&mut self) -> Result<(), Error> {
        self.model.update()?;
        let Some(data) = &self.model.tuning else {
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
