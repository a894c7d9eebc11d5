//! What the plugin knows of the cluster: the fields of each object that count, kept up to date by
//! what changed.

use std::collections::BTreeMap;

use haptic_guest::{Cache, Resource, StoreError};
use serde::Deserialize;

/// Everything of the cluster that matters.
#[derive(Debug, Default)]
pub struct Model {
    /// Ingresses of the proxy's class.
    pub ingresses: Cache<Ingress>,
    /// Services.
    pub services: Cache<Service>,
    /// EndpointSlices.
    pub slices: Cache<Slice>,
    /// Secrets with certificates.
    pub secrets: Cache<TlsSecret>,
    /// Data of the ConfigMap; `None` until it is known to be there or not.
    pub tuning: Option<BTreeMap<String, String>>,
}

impl Model {
    /// Takes in what changed, in all stores: they are of one snapshot, and a rendering of all of
    /// them together is consistent.
    ///
    /// # Errors
    /// When a store cannot be read.
    pub fn update(&mut self) -> Result<(), StoreError> {
        self.ingresses.update()?;
        self.services.update()?;
        self.slices.update()?;
        self.secrets.update()?;
        Ok(())
    }
}

/// An Ingress.
#[derive(Clone, Debug, Resource)]
#[resource(api_version = "networking.k8s.io/v1", plural = "ingresses")]
#[allow(missing_docs, reason = "the fields are those of the API")]
pub struct Ingress {
    pub namespace: String,
    pub name: String,
    #[field("metadata.creationTimestamp")]
    pub created: Option<String>,
    #[field("spec.defaultBackend")]
    pub default_backend: Option<Backend>,
    #[field("spec.rules")]
    pub rules: Option<Vec<Rule>>,
    #[field("spec.tls")]
    pub tls: Option<Vec<Tls>>,
}

/// A rule of an Ingress.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of the API")]
pub struct Rule {
    #[serde(default)]
    pub host: String,
    pub http: Option<Http>,
}

/// The paths of a rule.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of the API")]
pub struct Http {
    #[serde(default)]
    pub paths: Vec<Path>,
}

/// A path of a rule.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the fields are those of the API")]
pub struct Path {
    pub path: Option<String>,
    pub path_type: String,
    pub backend: Backend,
}

/// Where a path leads; a `resource` backend has no `service`.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of the API")]
pub struct Backend {
    pub service: Option<ServiceRef>,
}

/// A Service and one of its ports.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of the API")]
pub struct ServiceRef {
    pub name: String,
    pub port: Option<PortRef>,
}

/// A port by name or number.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of the API")]
pub struct PortRef {
    pub name: Option<String>,
    pub number: Option<u16>,
}

/// A certificate for some hosts.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the fields are those of the API")]
pub struct Tls {
    #[serde(default)]
    pub hosts: Vec<String>,
    pub secret_name: Option<String>,
}

/// A Service.
#[derive(Clone, Debug, Resource)]
#[resource(api_version = "v1", plural = "services")]
#[allow(missing_docs, reason = "the fields are those of the API")]
pub struct Service {
    pub namespace: String,
    pub name: String,
    #[field("spec.ports")]
    pub ports: Option<Vec<ServicePort>>,
}

/// A port of a Service.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of the API")]
pub struct ServicePort {
    #[serde(default)]
    pub name: String,
    pub port: u16,
}

/// An EndpointSlice.
#[derive(Clone, Debug, Resource)]
#[resource(api_version = "discovery.k8s.io/v1", plural = "endpointslices")]
// What moves without the proxy having to know.
#[resource(ignore(
    "endpoints[*].targetRef",
    "endpoints[*].nodeName",
    "endpoints[*].zone",
    "endpoints[*].hints"
))]
#[allow(missing_docs, reason = "the fields are those of the API")]
pub struct Slice {
    pub namespace: String,
    pub name: String,
    #[field(r"metadata.labels.kubernetes\.io/service-name")]
    pub service: Option<String>,
    #[field("ports")]
    pub ports: Option<Vec<SlicePort>>,
    #[field("endpoints")]
    pub endpoints: Option<Vec<Endpoint>>,
}

/// A port of all endpoints of a slice, under the name that the Service's port has.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of the API")]
pub struct SlicePort {
    pub name: Option<String>,
    pub port: Option<u16>,
    pub protocol: Option<String>,
}

/// An endpoint.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of the API")]
pub struct Endpoint {
    pub addresses: Vec<String>,
    #[serde(default)]
    pub conditions: Conditions,
}

/// The condition of an endpoint.
#[derive(Clone, Debug, Default, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of the API")]
pub struct Conditions {
    pub ready: Option<bool>,
}

/// A Secret of type `kubernetes.io/tls`, base64 as the API has it.
#[derive(Clone, Debug, Resource)]
#[resource(api_version = "v1", plural = "secrets")]
#[resource(field_selector = "type=kubernetes.io/tls")]
#[allow(missing_docs, reason = "the fields are those of the API")]
pub struct TlsSecret {
    pub namespace: String,
    pub name: String,
    #[field(r"data.tls\.crt")]
    pub certificate: Option<String>,
    #[field(r"data.tls\.key")]
    pub key: Option<String>,
}
