//! The pods of a host and what they need beside their rights: namespace, configuration,
//! Deployment or StatefulSet, disruption budget.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{
            Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment, StatefulSet,
            StatefulSetSpec,
        },
        core::v1::{
            Capabilities, ConfigMap, ConfigMapVolumeSource, Container, ContainerPort,
            EmptyDirVolumeSource, EnvVar, EnvVarSource, HTTPGetAction, KeyToPath,
            LocalObjectReference, Namespace, ObjectFieldSelector, PodSecurityContext, PodSpec,
            PodTemplateSpec, Probe, ResourceRequirements, SeccompProfile, SecretVolumeSource,
            SecurityContext, Service, ServicePort, ServiceSpec, TopologySpreadConstraint, Volume,
            VolumeMount,
        },
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};

use super::{
    roles::Owner,
    yaml::{Document, WriteError},
};
use crate::oci::Digest;

/// Where an image has its plugins.
pub const PLUGINS: &str = "/plugins";
/// Where output directories are, all in one volume of the pod.
pub const OUTPUTS: &str = "/outputs";
/// Where the configuration is mounted.
pub const CONFIG_FILE: &str = "/etc/haptic-host/config.yaml";
/// The port of probes and metrics.
pub const PORT: i32 = 9090;
/// The user that distroless images call `nonroot`.
pub const USER: i64 = 65532;

const CACHE: &str = "/cache";
// Not below the configuration: nothing is mounted into a read-only volume.
const DOCKER: &str = "/etc/haptic-docker";

/// What the host itself takes, in MiB: measured are 45 to 65 with small plugins.
const HOST: u64 = 96;
/// What compiling takes, in MiB for each MiB of a component, and without any: 380 were measured
/// for Python's 18 MB, 390 for JavaScript's 12. It is over when plugins start to run.
const COMPILE: u64 = 32;
const COMPILE_LEAST: u64 = 64;
/// What is left for the objects of stores in memory, in MiB: 50,000 of 2 KB, filtered.
const STORES: u64 = 128;
/// What a small host holds when nothing happens, in MiB, and what each plugin adds to it.
const IDLE: u64 = 64;
const IDLE_PLUGIN: u64 = 32;
/// Compiled plugins (wasmtime keeps 512 MiB of them) and pulled ones (1 GiB).
const CACHE_SIZE: &str = "2Gi";

/// How much the plugins may use, as the host's limits say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Plugins.
    pub plugins: u64,
    /// Bytes of the largest component.
    pub component: u64,
    /// Bytes of memory of all together.
    pub memory: u64,
    /// Bytes of output of a callback of each, together.
    pub output: u64,
    /// Bytes of fetched objects, of all together.
    pub cache: u64,
}

impl Sizes {
    /// MiB that a pod asks for.
    fn request(&self) -> u64 {
        IDLE + self.plugins * IDLE_PLUGIN
    }

    /// MiB after which it is killed: not before every limit inside of it would have been hit.
    fn limit(&self) -> u64 {
        let plugins = mib(self.memory) + mib(self.output);
        let runs = HOST + STORES + mib(self.cache) + plugins;
        runs.max(self.compile())
    }

    fn compile(&self) -> u64 {
        COMPILE_LEAST + COMPILE * mib(self.component)
    }

    fn reasons(&self) -> Vec<String> {
        vec![
            format!(
                "memory limit {} MiB: {HOST} for the host, {STORES} for what stores hold, {} for fetched objects (--cache-limit),",
                self.limit(),
                mib(self.cache)
            ),
            format!(
                "and for the plugins {} of their own (--memory-limit, or limits) and {} of output (--output-limit); raise it with the number of objects.",
                mib(self.memory),
                mib(self.output)
            ),
            format!(
                "Compiling the largest plugin takes some {} MiB, before any of them runs.",
                self.compile()
            ),
            "There is no CPU limit: throttling would count against --callback-timeout.".to_owned(),
        ]
    }
}

/// A host in a cluster.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Names and namespace.
    pub owner: Owner,
    /// The image; it has the plugins that are files.
    pub image: String,
    /// How many do the same work.
    pub replicas: i32,
    /// How many parts of the work there are: with several, pods need numbers, and the arguments
    /// say what these mean.
    pub shards: Option<u32>,
    /// Whether one of them leads; the arguments say so.
    pub elected: bool,
    /// The host's arguments.
    pub args: Vec<String>,
    /// The configuration file's text, for [`CONFIG_FILE`].
    pub config: Option<String>,
    /// Whether outputs are files, below [`OUTPUTS`].
    pub outputs: bool,
    /// A Secret of type `kubernetes.io/dockerconfigjson`, for the image and for plugins.
    pub pull_secret: Option<String>,
    /// What the limits follow from.
    pub sizes: Sizes,
    /// Further sentences for the comment of what runs the pods.
    pub notes: Vec<String>,
}

impl Workload {
    /// The namespace, which has to be there before anything in it.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn namespace(&self) -> Result<Document, WriteError> {
        let namespace = Namespace {
            metadata: ObjectMeta {
                name: Some(self.owner.namespace.clone()),
                ..ObjectMeta::default()
            },
            ..Namespace::default()
        };
        let comment =
            ["If it was there before, take this part out: deleting this file deletes all in it."];
        Document::new(comment, &namespace)
    }

    /// The configuration, what runs the pods, and its disruption budget.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn documents(&self) -> Result<Vec<Document>, WriteError> {
        let mut documents = Vec::new();
        if let Some(config) = &self.config {
            let map = ConfigMap {
                metadata: self.owner.metadata(Some(&self.owner.namespace)),
                data: Some([("config.yaml".to_owned(), config.clone())].into()),
                ..ConfigMap::default()
            };
            let comment = ["Readable by whoever may read ConfigMaps here: no place for secrets."];
            documents.push(Document::new(comment, &map)?);
        }
        let mut comment = self.notes.clone();
        comment.extend(self.sizes.reasons());
        match self.shards {
            None => documents.push(Document::new(comment, &self.deployment())?),
            Some(_) => {
                let reason = [format!(
                    "What {}-0 and the other pods have their names in DNS by.",
                    self.owner.name
                )];
                documents.push(Document::new(reason, &self.service())?);
                documents.push(Document::new(comment, &self.stateful_set())?);
            }
        }
        if self.pods() > 1 {
            let budget = PodDisruptionBudget {
                metadata: self.owner.metadata(Some(&self.owner.namespace)),
                spec: Some(PodDisruptionBudgetSpec {
                    max_unavailable: Some(IntOrString::Int(1)),
                    selector: Some(self.selector()),
                    // One that is not ready must not keep a node from being drained.
                    unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
                    ..PodDisruptionBudgetSpec::default()
                }),
                ..PodDisruptionBudget::default()
            };
            documents.push(Document::new(Vec::<String>::new(), &budget)?);
        }
        Ok(documents)
    }

    fn selector(&self) -> LabelSelector {
        LabelSelector {
            match_labels: Some(self.owner.labels()),
            ..LabelSelector::default()
        }
    }

    fn pods(&self) -> i32 {
        let shards = self
            .shards
            .map_or(1, |shards| i32::try_from(shards).unwrap_or(i32::MAX));
        self.replicas.saturating_mul(shards)
    }

    fn template(&self) -> PodTemplateSpec {
        // A changed configuration is a changed pod.
        let annotations = self.config.as_ref().map(|config| {
            let digest = Digest::of(config.as_bytes()).to_string();
            BTreeMap::from([("haptic-host/config".to_owned(), digest)])
        });
        PodTemplateSpec {
            metadata: Some(ObjectMeta {
                labels: Some(self.owner.labels()),
                annotations,
                ..ObjectMeta::default()
            }),
            spec: Some(self.pod()),
        }
    }

    /// A StatefulSet names one; nothing else needs it.
    fn service(&self) -> Service {
        Service {
            metadata: self.owner.metadata(Some(&self.owner.namespace)),
            spec: Some(ServiceSpec {
                cluster_ip: Some("None".to_owned()),
                publish_not_ready_addresses: Some(true),
                selector: Some(self.owner.labels()),
                ports: Some(vec![ServicePort {
                    name: Some("http".to_owned()),
                    port: PORT,
                    target_port: Some(IntOrString::String("http".to_owned())),
                    ..ServicePort::default()
                }]),
                ..ServiceSpec::default()
            }),
            ..Service::default()
        }
    }

    /// It ends a pod before it starts the next of that number, so no two write as one shard.
    fn stateful_set(&self) -> StatefulSet {
        StatefulSet {
            metadata: self.owner.metadata(Some(&self.owner.namespace)),
            spec: StatefulSetSpec {
                replicas: Some(self.pods()),
                service_name: Some(self.owner.name.clone()),
                selector: self.selector(),
                // No shard waits for another.
                pod_management_policy: Some("Parallel".to_owned()),
                template: self.template(),
                ..StatefulSetSpec::default()
            },
            ..StatefulSet::default()
        }
    }

    fn deployment(&self) -> Deployment {
        let strategy = match self.elected {
            // Two at a time would both write.
            false => DeploymentStrategy {
                type_: Some("Recreate".to_owned()),
                rolling_update: None,
            },
            // A follower that is ready stays, to take over from a leader that goes.
            true => DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(1)),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            },
        };
        Deployment {
            metadata: self.owner.metadata(Some(&self.owner.namespace)),
            spec: DeploymentSpec {
                replicas: Some(self.replicas),
                selector: self.selector(),
                strategy: Some(strategy),
                template: self.template(),
                ..DeploymentSpec::default()
            },
            ..Deployment::default()
        }
    }

    fn pod(&self) -> PodSpec {
        let spread = TopologySpreadConstraint {
            max_skew: 1,
            topology_key: "kubernetes.io/hostname".to_owned(),
            // On a cluster of one node they still run.
            when_unsatisfiable: "ScheduleAnyway".to_owned(),
            label_selector: Some(self.selector()),
            ..TopologySpreadConstraint::default()
        };
        PodSpec {
            service_account_name: Some(self.owner.name.clone()),
            automount_service_account_token: Some(true),
            // Variables for every Service of the namespace are of no use to it.
            enable_service_links: Some(false),
            // The host ends within 5 seconds (contract K5).
            termination_grace_period_seconds: Some(10),
            security_context: Some(PodSecurityContext {
                run_as_non_root: Some(true),
                run_as_user: Some(USER),
                run_as_group: Some(USER),
                fs_group: Some(USER),
                seccomp_profile: Some(SeccompProfile {
                    type_: "RuntimeDefault".to_owned(),
                    ..SeccompProfile::default()
                }),
                ..PodSecurityContext::default()
            }),
            image_pull_secrets: self.pull_secret.as_ref().map(|secret| {
                vec![LocalObjectReference {
                    name: secret.clone(),
                }]
            }),
            topology_spread_constraints: (self.pods() > 1).then(|| vec![spread]),
            containers: vec![self.container()],
            volumes: Some(self.volumes()),
            ..PodSpec::default()
        }
    }

    fn container(&self) -> Container {
        let probe = |path: &str, period: i32, failures: i32| Probe {
            http_get: Some(HTTPGetAction {
                path: Some(path.to_owned()),
                port: IntOrString::String("http".to_owned()),
                ..HTTPGetAction::default()
            }),
            period_seconds: Some(period),
            // The host's own answer takes up to 2 s when it is busy.
            timeout_seconds: Some(3),
            failure_threshold: Some(failures),
            ..Probe::default()
        };
        let mut env = vec![EnvVar {
            name: "POD_NAME".to_owned(),
            value_from: Some(EnvVarSource {
                field_ref: Some(ObjectFieldSelector {
                    field_path: "metadata.name".to_owned(),
                    ..ObjectFieldSelector::default()
                }),
                ..EnvVarSource::default()
            }),
            ..EnvVar::default()
        }];
        if self.pull_secret.is_some() {
            env.push(EnvVar {
                name: "DOCKER_CONFIG".to_owned(),
                value: Some(DOCKER.to_owned()),
                ..EnvVar::default()
            });
        }
        let mut args = self.args.clone();
        args.extend([
            format!("--listen=0.0.0.0:{PORT}"),
            format!("--cache-dir={CACHE}"),
        ]);
        Container {
            name: "haptic-host".to_owned(),
            image: Some(self.image.clone()),
            args: Some(args),
            env: Some(env),
            ports: Some(vec![ContainerPort {
                name: Some("http".to_owned()),
                container_port: PORT,
                ..ContainerPort::default()
            }]),
            // Until plugins are pulled, compiled and described. Python takes half a minute of a
            // whole CPU, and there may be less of it: five minutes.
            startup_probe: Some(probe("/healthz", 5, 60)),
            liveness_probe: Some(probe("/healthz", 10, 3)),
            readiness_probe: Some(probe("/readyz", 5, 2)),
            resources: Some(ResourceRequirements {
                requests: Some(quantities(&[
                    ("cpu", "250m".to_owned()),
                    ("memory", format!("{}Mi", self.sizes.request())),
                ])),
                limits: Some(quantities(&[(
                    "memory",
                    format!("{}Mi", self.sizes.limit()),
                )])),
                ..ResourceRequirements::default()
            }),
            security_context: Some(SecurityContext {
                allow_privilege_escalation: Some(false),
                read_only_root_filesystem: Some(true),
                capabilities: Some(Capabilities {
                    drop: Some(vec!["ALL".to_owned()]),
                    ..Capabilities::default()
                }),
                ..SecurityContext::default()
            }),
            volume_mounts: Some(self.mounts()),
            ..Container::default()
        }
    }

    fn mounts(&self) -> Vec<VolumeMount> {
        let mount = |name: &str, path: &str, read_only: bool| VolumeMount {
            name: name.to_owned(),
            mount_path: path.to_owned(),
            read_only: read_only.then_some(true),
            ..VolumeMount::default()
        };
        let mut mounts = vec![mount("cache", CACHE, false)];
        if self.config.is_some() {
            // The folder and not the file: a mounted file would never be renewed.
            let folder = CONFIG_FILE.trim_end_matches("/config.yaml");
            mounts.push(mount("config", folder, true));
        }
        if self.pull_secret.is_some() {
            mounts.push(mount("docker", DOCKER, true));
        }
        if self.outputs {
            mounts.push(mount("outputs", OUTPUTS, false));
        }
        mounts
    }

    fn volumes(&self) -> Vec<Volume> {
        let empty = |name: &str, size: String| Volume {
            name: name.to_owned(),
            empty_dir: Some(EmptyDirVolumeSource {
                size_limit: Some(Quantity(size)),
                ..EmptyDirVolumeSource::default()
            }),
            ..Volume::default()
        };
        let mut volumes = vec![empty("cache", CACHE_SIZE.to_owned())];
        if self.config.is_some() {
            volumes.push(Volume {
                name: "config".to_owned(),
                config_map: Some(ConfigMapVolumeSource {
                    name: self.owner.name.clone(),
                    ..ConfigMapVolumeSource::default()
                }),
                ..Volume::default()
            });
        }
        if let Some(secret) = &self.pull_secret {
            volumes.push(Volume {
                name: "docker".to_owned(),
                secret: Some(SecretVolumeSource {
                    secret_name: Some(secret.clone()),
                    items: Some(vec![KeyToPath {
                        key: ".dockerconfigjson".to_owned(),
                        path: "config.json".to_owned(),
                        ..KeyToPath::default()
                    }]),
                    ..SecretVolumeSource::default()
                }),
                ..Volume::default()
            });
        }
        if self.outputs {
            // What is there, and what is staged beside it.
            let size = 2 * mib(self.sizes.output);
            volumes.push(empty("outputs", format!("{size}Mi")));
        }
        volumes
    }
}

fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

fn quantities(list: &[(&str, String)]) -> BTreeMap<String, Quantity> {
    list.iter()
        .map(|(name, quantity)| ((*name).to_owned(), Quantity(quantity.clone())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_has_memory_for_every_limit_and_for_compiling() {
        let mib = |n: u64| n << 20;
        let usual = Sizes {
            plugins: 1,
            component: mib(1),
            memory: mib(256),
            output: mib(64),
            cache: mib(64),
        };
        assert_eq!(usual.limit(), 96 + 128 + 64 + 256 + 64);
        let two = Sizes {
            plugins: 2,
            memory: mib(512),
            output: mib(128),
            ..usual
        };
        assert_eq!(two.limit(), usual.limit() + 256 + 64);
        // JavaScript's 12 MB took 390 MiB.
        let large = Sizes {
            component: 12_266_707,
            memory: mib(16),
            output: mib(1),
            cache: mib(1),
            ..usual
        };
        assert_eq!(large.limit(), 64 + 32 * 12);
        assert!(usual.request() < usual.limit());
    }
}
