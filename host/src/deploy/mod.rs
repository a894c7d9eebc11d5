//! How a host is deployed, as Kubernetes objects: the least roles (contract K4), and the rest of
//! what it takes to run in a cluster. Pure: says what the objects are, and applies none.

mod roles;
mod workload;
mod yaml;

pub use self::{
    roles::{Owner, roles},
    workload::{CONFIG_FILE, OUTPUTS, PLUGINS, PORT, Sizes, USER, Workload},
    yaml::{Document, WriteError, write},
};
