//! What the plugin knows of the cluster: one row per object, read with `select`, so that only the
//! fields that count cross from the host.

use std::collections::BTreeMap;

use haptic_guest::{ChangeKind, Error, Store, StoreError};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Namespace and name.
pub type Id = (String, String);

/// Above this many changes one select of everything is cheaper than one for each.
const MANY_CHANGES: usize = 500;

/// All rows of the cluster that matter.
#[derive(Debug, Default)]
pub struct Model {
    /// Ingresses of the proxy's class.
    pub ingresses: Table<Ingress>,
    /// Services.
    pub services: Table<Service>,
    /// EndpointSlices.
    pub slices: Table<Slice>,
    /// Secrets with certificates.
    pub secrets: Table<TlsSecret>,
    /// Data of the ConfigMap; `None` until it is known to be there or not.
    pub tuning: Option<BTreeMap<String, String>>,
}

impl Model {
    /// Everything has been read once.
    pub fn is_complete(&self) -> bool {
        self.ingresses.loaded
            && self.services.loaded
            && self.slices.loaded
            && self.secrets.loaded
            && self.tuning.is_some()
    }

    /// Forgets a store, so that it is read from scratch.
    ///
    /// # Errors
    /// When the store is none of ours.
    pub fn forget(&mut self, store: &str) -> Result<(), Error> {
        match store {
            Ingress::STORE => self.ingresses = Table::default(),
            Service::STORE => self.services = Table::default(),
            Slice::STORE => self.slices = Table::default(),
            TlsSecret::STORE => self.secrets = Table::default(),
            unknown => return Err(Error::new(format!("unexpected store `{unknown}`"))),
        }
        Ok(())
    }

    /// Reads a synced store: from scratch if it has not been read, or could not be read to the end.
    ///
    /// # Errors
    /// When the store cannot be read, or is none of ours.
    pub fn load(&mut self, store: &Store<'_>) -> Result<(), Error> {
        match store.name() {
            Ingress::STORE => self.ingresses.load(store)?,
            Service::STORE => self.services.load(store)?,
            Slice::STORE => self.slices.load(store)?,
            TlsSecret::STORE => self.secrets.load(store)?,
            unknown => return Err(Error::new(format!("unexpected store `{unknown}`"))),
        }
        Ok(())
    }

    /// Takes in what changed, in all stores: they are of one snapshot, and a rendering of all of
    /// them together is consistent. What was taken in before its own callback comes again there and
    /// changes nothing.
    ///
    /// # Errors
    /// When a store cannot be read.
    pub fn catch_up(&mut self) -> Result<(), StoreError> {
        self.ingresses.catch_up()?;
        self.services.catch_up()?;
        self.slices.catch_up()?;
        self.secrets.catch_up()
    }
}

/// A kind of object, as the columns of a selection.
pub trait Row: DeserializeOwned {
    /// The watch.
    const STORE: &'static str;
    /// The paths; the row's fields in their order. The first two are namespace and name.
    const FIELDS: &'static [&'static str];

    /// Namespace and name.
    fn id(&self) -> Id;
}

/// The rows of one store.
#[derive(Debug)]
pub struct Table<R> {
    /// By namespace and name.
    pub rows: BTreeMap<Id, R>,
    /// Objects that do not have the shape of their kind, and why. They are left out.
    pub misshapen: BTreeMap<Id, String>,
    loaded: bool,
}

impl<R> Default for Table<R> {
    fn default() -> Self {
        Table {
            rows: BTreeMap::new(),
            misshapen: BTreeMap::new(),
            loaded: false,
        }
    }
}

impl<R: Row> Table<R> {
    fn load(&mut self, store: &Store<'_>) -> Result<(), StoreError> {
        if self.loaded {
            return Ok(());
        }
        self.rows.clear();
        self.misshapen.clear();
        match store.select::<R>(R::FIELDS, &[]) {
            Ok(rows) => self
                .rows
                .extend(rows.into_iter().map(|row| (row.id(), row))),
            // One of them has not the shape of its kind: find out which, and take the others.
            Err(StoreError::Decode { .. }) => {
                let identity = ["metadata.namespace", "metadata.name"];
                for (namespace, name) in store.select::<Id>(&identity, &[])? {
                    self.update(store, namespace, name)?;
                }
            }
            Err(error) => return Err(error),
        }
        self.loaded = true;
        Ok(())
    }

    fn catch_up(&mut self) -> Result<(), StoreError> {
        if !self.loaded {
            return Ok(());
        }
        let store = Store::open(R::STORE)?;
        let changes = match store.changes() {
            Ok(changes) if changes.len() <= MANY_CHANGES => changes,
            Ok(_) | Err(StoreError::TooLarge(_)) => {
                self.loaded = false;
                return self.load(&store);
            }
            Err(error) => return Err(error),
        };
        for change in changes {
            match change.kind {
                ChangeKind::Created | ChangeKind::Modified => {
                    self.update(&store, change.namespace, change.name)?;
                }
                ChangeKind::Deleted => self.remove(&(change.namespace, change.name)),
            }
        }
        Ok(())
    }

    fn update(
        &mut self,
        store: &Store<'_>,
        namespace: String,
        name: String,
    ) -> Result<(), StoreError> {
        let selected = store.select::<R>(R::FIELDS, &[&namespace, &name]);
        let id = (namespace, name);
        self.remove(&id);
        match selected {
            Ok(rows) => self
                .rows
                .extend(rows.into_iter().map(|row| (row.id(), row))),
            Err(StoreError::Decode { message, .. }) => {
                self.misshapen.insert(id, message);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn remove(&mut self, id: &Id) {
        self.rows.remove(id);
        self.misshapen.remove(id);
    }
}

/// An Ingress.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of the API")]
pub struct Ingress {
    pub namespace: String,
    pub name: String,
    pub created: Option<String>,
    pub default_backend: Option<Backend>,
    pub rules: Option<Vec<Rule>>,
    pub tls: Option<Vec<Tls>>,
}

impl Row for Ingress {
    const STORE: &'static str = "ingresses";
    const FIELDS: &'static [&'static str] = &[
        "metadata.namespace",
        "metadata.name",
        "metadata.creationTimestamp",
        "spec.defaultBackend",
        "spec.rules",
        "spec.tls",
    ];

    fn id(&self) -> Id {
        (self.namespace.clone(), self.name.clone())
    }
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
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of the API")]
pub struct Service {
    pub namespace: String,
    pub name: String,
    pub ports: Option<Vec<ServicePort>>,
}

impl Row for Service {
    const STORE: &'static str = "services";
    const FIELDS: &'static [&'static str] = &["metadata.namespace", "metadata.name", "spec.ports"];

    fn id(&self) -> Id {
        (self.namespace.clone(), self.name.clone())
    }
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
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of the API")]
pub struct Slice {
    pub namespace: String,
    pub name: String,
    pub service: Option<String>,
    pub ports: Option<Vec<SlicePort>>,
    pub endpoints: Option<Vec<Endpoint>>,
}

impl Row for Slice {
    const STORE: &'static str = "endpointslices";
    const FIELDS: &'static [&'static str] = &[
        "metadata.namespace",
        "metadata.name",
        r"metadata.labels.kubernetes\.io/service-name",
        "ports",
        "endpoints",
    ];

    fn id(&self) -> Id {
        (self.namespace.clone(), self.name.clone())
    }
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
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of the API")]
pub struct TlsSecret {
    pub namespace: String,
    pub name: String,
    pub certificate: Option<String>,
    pub key: Option<String>,
}

impl Row for TlsSecret {
    const STORE: &'static str = "secrets";
    const FIELDS: &'static [&'static str] = &[
        "metadata.namespace",
        "metadata.name",
        r"data.tls\.crt",
        r"data.tls\.key",
    ];

    fn id(&self) -> Id {
        (self.namespace.clone(), self.name.clone())
    }
}
