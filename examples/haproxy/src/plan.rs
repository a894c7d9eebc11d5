//! From the model to what the proxy shall do: routes, backends, certificates. Everything in a plan
//! has been checked; what does not pass is left out with a warning, and nothing else with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::certificate;
use haptic_guest::Cache;
use haptic_guest::cache::Key;

use crate::model::{Backend, Ingress, Model, PortRef, ServicePort, Slice};
use crate::names::{Host, Name, RulePath};

/// What the proxy shall do.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Routes whose path must be equal.
    pub exact: BTreeMap<Route, BackendId>,
    /// Routes whose path must begin with these elements, each followed by a `/`.
    pub prefix: BTreeMap<Route, BackendId>,
    /// Where everything else goes.
    pub default: Option<BackendId>,
    /// The ready endpoints of each backend.
    pub backends: BTreeMap<BackendId, BTreeSet<SocketAddr>>,
    /// By namespace and name of the Secret.
    pub certificates: BTreeMap<(Name, Name), Certificate>,
    /// What was left out.
    pub warnings: BTreeSet<Warning>,
}

/// A host, `None` for any, and a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// The host.
    pub host: Option<Host>,
    /// The path.
    pub path: String,
}

/// One port of one Service, shown as `namespace_service_port`, which is unique: names have no `_`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BackendId {
    namespace: Name,
    service: Name,
    port: u16,
}

/// A certificate and the hosts it serves; no hosts: those that it names itself.
#[derive(Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Certificate, chain and key.
    pub pem: String,
    /// The hosts that Ingresses ask it for.
    pub hosts: BTreeSet<Host>,
}

/// Something that was left out, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Warning {
    /// `Ingress shop/web`
    pub subject: String,
    /// A sentence.
    pub text: String,
}

impl fmt::Display for BackendId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}_{}", self.namespace, self.service, self.port)
    }
}

/// Plans for a model. The older of two Ingresses that claim the same route has it; without an age,
/// the first by namespace and name.
pub fn plan(model: &Model) -> Plan {
    let mut planner = Planner {
        model,
        slices: slices_by_service(&model.slices),
        plan: Plan::default(),
    };
    let mut ingresses: Vec<&Ingress> = model.ingresses.values().collect();
    // Timestamps are RFC 3339 in UTC, which sorts as text. The sort is stable.
    ingresses.sort_by_key(|ingress| (ingress.created.is_none(), &ingress.created));
    for ingress in ingresses {
        planner.add(ingress);
    }
    planner.plan
}

fn slices_by_service(slices: &Cache<Slice>) -> BTreeMap<(&str, &str), Vec<&Slice>> {
    let mut by_service: BTreeMap<(&str, &str), Vec<&Slice>> = BTreeMap::new();
    for slice in slices.values() {
        if let Some(service) = &slice.service {
            by_service
                .entry((&slice.namespace, service))
                .or_default()
                .push(slice);
        }
    }
    by_service
}

struct Planner<'a> {
    model: &'a Model,
    slices: BTreeMap<(&'a str, &'a str), Vec<&'a Slice>>,
    plan: Plan,
}

impl Planner<'_> {
    fn warn(&mut self, ingress: &Ingress, text: String) {
        self.plan.warnings.insert(Warning {
            subject: format!("Ingress {}/{}", ingress.namespace, ingress.name),
            text,
        });
    }

    fn add(&mut self, ingress: &Ingress) {
        let Some(namespace) = Name::parse(&ingress.namespace) else {
            self.warn(
                ingress,
                "left out, its namespace is no Kubernetes name".to_owned(),
            );
            return;
        };
        self.add_default(ingress, &namespace);
        self.add_rules(ingress, &namespace);
        self.add_tls(ingress, &namespace);
    }

    fn add_default(&mut self, ingress: &Ingress, namespace: &Name) {
        let Some(backend) = &ingress.default_backend else {
            return;
        };
        match self.backend(namespace, backend) {
            Ok(_) if self.plan.default.is_some() => {
                self.warn(
                    ingress,
                    "its default backend is ignored, an older Ingress has set one".to_owned(),
                );
            }
            Ok(id) => self.plan.default = Some(id),
            Err(why) => self.warn(ingress, format!("its default backend is left out: {why}")),
        }
    }

    fn add_rules(&mut self, ingress: &Ingress, namespace: &Name) {
        for rule in ingress.rules.iter().flatten() {
            let host = match rule.host.as_str() {
                "" => None,
                host => match Host::parse(host) {
                    Some(host) => Some(host),
                    None => {
                        self.warn(
                            ingress,
                            format!("a rule is left out: {host:?} is no host name"),
                        );
                        continue;
                    }
                },
            };
            for path in rule.http.iter().flat_map(|http| &http.paths) {
                let text = path.path.as_deref().unwrap_or("/");
                let Some(rule_path) = RulePath::parse(text) else {
                    self.warn(
                        ingress,
                        format!("a path is left out: {text:?} is no path of printable ASCII that begins with /"),
                    );
                    continue;
                };
                let id = match self.backend(namespace, &path.backend) {
                    Ok(id) => id,
                    Err(why) => {
                        self.warn(ingress, format!("the path {text} is left out: {why}"));
                        continue;
                    }
                };
                let (routes, path) = match path.path_type.as_str() {
                    "Exact" => (&mut self.plan.exact, rule_path.to_string()),
                    // What ImplementationSpecific means is ours to say.
                    "Prefix" | "ImplementationSpecific" => {
                        (&mut self.plan.prefix, rule_path.as_elements())
                    }
                    unknown => {
                        let text =
                            format!("the path {text} is left out: {unknown:?} is no pathType");
                        self.warn(ingress, text);
                        continue;
                    }
                };
                let route = Route {
                    host: host.clone(),
                    path,
                };
                let first = routes.entry(route).or_insert_with(|| id.clone());
                if *first != id {
                    let text = format!("the path {text} is ignored: {first} has it already");
                    self.warn(ingress, text);
                }
            }
        }
    }

    fn add_tls(&mut self, ingress: &Ingress, namespace: &Name) {
        for tls in ingress.tls.iter().flatten() {
            let Some(secret) = &tls.secret_name else {
                continue;
            };
            let mut hosts = BTreeSet::new();
            for host in &tls.hosts {
                match Host::parse(host) {
                    Some(host) => {
                        hosts.insert(host);
                    }
                    None => self.warn(
                        ingress,
                        format!("a TLS host is left out: {host:?} is no host name"),
                    ),
                }
            }
            if hosts.is_empty() && !tls.hosts.is_empty() {
                continue;
            }
            match self.certificate(namespace, secret) {
                Ok(certificate) if hosts.is_empty() => certificate.hosts.clear(),
                Ok(certificate) => certificate.hosts.append(&mut hosts),
                Err(why) => {
                    self.warn(ingress, format!("no TLS with the Secret {secret:?}: {why}"));
                }
            }
        }
    }

    /// The certificate of a Secret, planned now if it was not before.
    fn certificate(&mut self, namespace: &Name, secret: &str) -> Result<&mut Certificate, String> {
        use std::collections::btree_map::Entry;

        let name = Name::parse(secret).ok_or("that is no Kubernetes name")?;
        match self.plan.certificates.entry((namespace.clone(), name)) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => {
                let key = Key::new(namespace.to_string(), secret);
                let secret = self
                    .model
                    .secrets
                    .get(&key)
                    .ok_or("there is no such Secret of type kubernetes.io/tls")?;
                Ok(entry.insert(Certificate {
                    pem: certificate::pem(secret)?,
                    hosts: BTreeSet::new(),
                }))
            }
        }
    }

    /// The backend for a reference, planned now if it was not before.
    fn backend(&mut self, namespace: &Name, backend: &Backend) -> Result<BackendId, String> {
        let Some(reference) = &backend.service else {
            return Err("only Services can be backends".to_owned());
        };
        let service = Name::parse(&reference.name)
            .ok_or_else(|| format!("{:?} is no Kubernetes name", reference.name))?;
        let row = self
            .model
            .services
            .get(&Key::new(namespace.to_string(), service.to_string()))
            .ok_or_else(|| format!("there is no Service {service}"))?;
        let port = row
            .ports
            .iter()
            .flatten()
            .find(|port| is_meant(reference.port.as_ref(), port))
            .ok_or_else(|| format!("the Service {service} has no such port"))?;
        let id = BackendId {
            namespace: namespace.clone(),
            service,
            port: port.port,
        };
        if !self.plan.backends.contains_key(&id) {
            let ready = self.ready_endpoints(&row.namespace, &row.name, &port.name);
            self.plan.backends.insert(id.clone(), ready);
        }
        Ok(id)
    }

    fn ready_endpoints(&self, namespace: &str, service: &str, port: &str) -> BTreeSet<SocketAddr> {
        let mut ready = BTreeSet::new();
        for slice in self.slices.get(&(namespace, service)).into_iter().flatten() {
            let ports = slice.ports.iter().flatten().filter(|candidate| {
                candidate.name.as_deref().unwrap_or_default() == port
                    && matches!(candidate.protocol.as_deref(), None | Some("TCP"))
            });
            for number in ports.filter_map(|port| port.port) {
                for endpoint in slice.endpoints.iter().flatten() {
                    // An unknown condition counts as ready, says the API.
                    if endpoint.conditions.ready == Some(false) {
                        continue;
                    }
                    // The addresses of one endpoint are the same for consumers; slices of host
                    // names have none that parses, and are for nobody here.
                    let address = endpoint
                        .addresses
                        .first()
                        .and_then(|text| text.parse::<IpAddr>().ok());
                    ready.extend(address.map(|address| SocketAddr::new(address, number)));
                }
            }
        }
        ready
    }
}

fn is_meant(wanted: Option<&PortRef>, port: &ServicePort) -> bool {
    match wanted {
        Some(PortRef {
            number: Some(number),
            ..
        }) => port.port == *number,
        Some(PortRef {
            name: Some(name), ..
        }) => port.name == *name,
        Some(PortRef {
            name: None,
            number: None,
        })
        | None => false,
    }
}
