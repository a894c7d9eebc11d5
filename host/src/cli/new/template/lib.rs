//! Renders a hosts file from a cluster's Services, for a machine that does not use its DNS.

use std::net::IpAddr;

use haptic_guest::settings::Problems;
use haptic_guest::{Cache, Config, Error, Plugin, Resource, Watch, log, output};
use serde::Deserialize;

/// What the host keeps of a Service, and what this plugin reads of it. A change of anything else
/// calls nobody.
#[derive(Clone, Debug, Resource)]
#[resource(api_version = "v1", plural = "services")]
pub struct Service {
    pub namespace: String,
    pub name: String,
    #[field("spec.clusterIP")]
    pub address: Option<String>,
}

/// What an operator may set: `settings` in `haptic.yaml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Settings {
    /// What comes after `web.shop.svc`.
    pub cluster_domain: String,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            cluster_domain: "cluster.local".to_owned(),
        }
    }
}

impl haptic_guest::Settings for Settings {
    /// What the type alone does not say.
    fn check(&self, problems: &mut Problems) {
        let is_domain = self.cluster_domain.split('.').all(|label| {
            !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        });
        problems.check(
            is_domain,
            "clusterDomain",
            "is no domain: write one such as cluster.local",
        );
    }
}

/// The plugin.
pub struct Hosts {
    settings: Settings,
    services: Cache<Service>,
}

impl Plugin for Hosts {
    /// Called first: what to watch. What it refuses never starts, and the operator reads why.
    fn describe(config: &Config) -> Result<Vec<Watch>, Error> {
        config.settings::<Settings>()?;
        Ok(vec![Service::watch()])
    }

    fn new(config: &Config) -> Result<Self, Error> {
        Ok(Hosts {
            settings: config.settings()?,
            services: Cache::new(),
        })
    }

    /// Called when all Services are known, and again when some have changed. What it writes is
    /// committed when it returns `Ok`; after an error or a panic nothing is, and it is called again.
    fn render(&mut self) -> Result<(), Error> {
        let update = self.services.update()?;
        log::info!(
            changed = update.changed.len(),
            removed = update.removed.len(),
            "rendering"
        );
        output::write("hosts", &hosts(self.services.values(), &self.settings))?;
        Ok(())
    }
}

haptic_guest::export!(Hosts);

/// A line for each Service that has an address: headless ones say `None`, and some say nothing.
///
/// Objects are written by whoever may, so what could be any text is parsed before it goes into a
/// file. Names are checked by the API server.
fn hosts<'a>(services: impl Iterator<Item = &'a Service>, settings: &Settings) -> String {
    let line = |service: &Service| {
        let address: IpAddr = service.address.as_deref()?.parse().ok()?;
        let name = format!("{}.{}", service.name, service.namespace);
        let domain = &settings.cluster_domain;
        Some(format!("{address} {name}.svc.{domain} {name}\n"))
    };
    services.filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_without_an_address_have_no_line() {
        let service = |name: &str, address: Option<&str>| Service {
            namespace: "shop".to_owned(),
            name: name.to_owned(),
            address: address.map(ToOwned::to_owned),
        };
        let services = [
            service("web", Some("10.96.0.10")),
            service("db", Some("None")),
            service("mail", None),
        ];
        assert_eq!(
            hosts(services.iter(), &Settings::default()),
            "10.96.0.10 web.shop.svc.cluster.local web.shop\n"
        );
    }
}
