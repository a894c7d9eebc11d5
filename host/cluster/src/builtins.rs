//! The table of built-in resource types.

use crate::resources::{Resource, SelectableField};

/// One row of the table.
pub(crate) struct Builtin {
    group: &'static str,
    version: &'static str,
    plural: &'static str,
    kind: &'static str,
    /// Short names, separated by spaces.
    short: &'static str,
    /// `n` namespaced, `s` status subresource, `g` generation, `c` scale,
    /// `a` in category "all", `r` review, `p` PUT creates.
    flags: &'static str,
    /// `label` or `label=path`, separated by spaces.
    fields: &'static str,
}

const fn row(
    (group, version): (&'static str, &'static str),
    plural: &'static str,
    kind: &'static str,
    short: &'static str,
    flags: &'static str,
    fields: &'static str,
) -> Builtin {
    Builtin {
        group,
        version,
        plural,
        kind,
        short,
        flags,
        fields,
    }
}

const CORE: (&str, &str) = ("", "v1");
const APPS: (&str, &str) = ("apps", "v1");
const EVENTS: (&str, &str) = ("events.k8s.io", "v1");
const AUTHENTICATION: (&str, &str) = ("authentication.k8s.io", "v1");
const AUTHORIZATION: (&str, &str) = ("authorization.k8s.io", "v1");
const AUTOSCALING: (&str, &str) = ("autoscaling", "v2");
const BATCH: (&str, &str) = ("batch", "v1");
const CERTIFICATES: (&str, &str) = ("certificates.k8s.io", "v1");
const NETWORKING: (&str, &str) = ("networking.k8s.io", "v1");
const POLICY: (&str, &str) = ("policy", "v1");
const RBAC: (&str, &str) = ("rbac.authorization.k8s.io", "v1");
const STORAGE: (&str, &str) = ("storage.k8s.io", "v1");
const ADMISSION: (&str, &str) = ("admissionregistration.k8s.io", "v1");
const EXTENSIONS: (&str, &str) = ("apiextensions.k8s.io", "v1");
const SCHEDULING: (&str, &str) = ("scheduling.k8s.io", "v1");
const COORDINATION: (&str, &str) = ("coordination.k8s.io", "v1");
const NODE: (&str, &str) = ("node.k8s.io", "v1");
const DISCOVERY: (&str, &str) = ("discovery.k8s.io", "v1");

const POD_FIELDS: &str = "spec.nodeName spec.restartPolicy spec.schedulerName spec.serviceAccountName \
     spec.hostNetwork status.phase status.podIP status.nominatedNodeName";
const EVENT_FIELDS: &str = "involvedObject.kind involvedObject.namespace involvedObject.name \
     involvedObject.uid involvedObject.apiVersion involvedObject.resourceVersion \
     involvedObject.fieldPath reason reportingComponent source=source.component type";
const NEW_EVENT_FIELDS: &str = "regarding.kind regarding.namespace regarding.name regarding.uid \
     regarding.apiVersion regarding.resourceVersion regarding.fieldPath reason reportingController type";

#[rustfmt::skip]
pub(crate) const BUILTINS: &[Builtin] = &[
    row(CORE, "configmaps", "ConfigMap", "cm", "n", ""),
    row(CORE, "endpoints", "Endpoints", "ep", "np", ""),
    row(CORE, "events", "Event", "ev", "np", EVENT_FIELDS),
    row(CORE, "limitranges", "LimitRange", "limits", "np", ""),
    row(CORE, "namespaces", "Namespace", "ns", "s", "status.phase"),
    row(CORE, "nodes", "Node", "no", "s", "spec.unschedulable"),
    row(CORE, "persistentvolumeclaims", "PersistentVolumeClaim", "pvc", "ns", ""),
    row(CORE, "persistentvolumes", "PersistentVolume", "pv", "s", ""),
    row(CORE, "pods", "Pod", "po", "nsa", POD_FIELDS),
    row(CORE, "podtemplates", "PodTemplate", "", "n", ""),
    row(CORE, "replicationcontrollers", "ReplicationController", "rc", "nsgca", "status.replicas"),
    row(CORE, "resourcequotas", "ResourceQuota", "quota", "nsp", ""),
    row(CORE, "secrets", "Secret", "", "n", "type"),
    row(CORE, "serviceaccounts", "ServiceAccount", "sa", "n", ""),
    row(CORE, "services", "Service", "svc", "nsa", "spec.clusterIP spec.type"),
    row(APPS, "controllerrevisions", "ControllerRevision", "", "n", ""),
    row(APPS, "daemonsets", "DaemonSet", "ds", "nsga", ""),
    row(APPS, "deployments", "Deployment", "deploy", "nsgca", ""),
    row(APPS, "replicasets", "ReplicaSet", "rs", "nsgca", "status.replicas"),
    row(APPS, "statefulsets", "StatefulSet", "sts", "nsgca", ""),
    row(EVENTS, "events", "Event", "ev", "np", NEW_EVENT_FIELDS),
    row(AUTHENTICATION, "selfsubjectreviews", "SelfSubjectReview", "", "r", ""),
    row(AUTHORIZATION, "localsubjectaccessreviews", "LocalSubjectAccessReview", "", "nr", ""),
    row(AUTHORIZATION, "selfsubjectaccessreviews", "SelfSubjectAccessReview", "", "r", ""),
    row(AUTHORIZATION, "selfsubjectrulesreviews", "SelfSubjectRulesReview", "", "r", ""),
    row(AUTHORIZATION, "subjectaccessreviews", "SubjectAccessReview", "", "r", ""),
    row(AUTOSCALING, "horizontalpodautoscalers", "HorizontalPodAutoscaler", "hpa", "nsa", ""),
    row(BATCH, "cronjobs", "CronJob", "cj", "nsga", ""),
    row(BATCH, "jobs", "Job", "", "nsga", "status.successful=status.succeeded"),
    row(CERTIFICATES, "certificatesigningrequests", "CertificateSigningRequest", "csr", "s", "spec.signerName"),
    row(NETWORKING, "ingressclasses", "IngressClass", "", "g", ""),
    row(NETWORKING, "ingresses", "Ingress", "ing", "nsg", ""),
    row(NETWORKING, "networkpolicies", "NetworkPolicy", "netpol", "ng", ""),
    row(POLICY, "poddisruptionbudgets", "PodDisruptionBudget", "pdb", "nsg", ""),
    row(RBAC, "clusterrolebindings", "ClusterRoleBinding", "", "p", ""),
    row(RBAC, "clusterroles", "ClusterRole", "", "p", ""),
    row(RBAC, "rolebindings", "RoleBinding", "", "np", ""),
    row(RBAC, "roles", "Role", "", "np", ""),
    row(STORAGE, "csidrivers", "CSIDriver", "", "g", ""),
    row(STORAGE, "csinodes", "CSINode", "", "", ""),
    row(STORAGE, "csistoragecapacities", "CSIStorageCapacity", "", "n", ""),
    row(STORAGE, "storageclasses", "StorageClass", "sc", "", ""),
    row(STORAGE, "volumeattachments", "VolumeAttachment", "", "s", ""),
    row(ADMISSION, "mutatingwebhookconfigurations", "MutatingWebhookConfiguration", "", "g", ""),
    row(ADMISSION, "validatingadmissionpolicies", "ValidatingAdmissionPolicy", "", "sg", ""),
    row(ADMISSION, "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", "", "g", ""),
    row(ADMISSION, "validatingwebhookconfigurations", "ValidatingWebhookConfiguration", "", "g", ""),
    row(EXTENSIONS, "customresourcedefinitions", "CustomResourceDefinition", "crd crds", "sg", ""),
    row(SCHEDULING, "priorityclasses", "PriorityClass", "pc", "g", ""),
    row(COORDINATION, "leases", "Lease", "", "np", ""),
    row(NODE, "runtimeclasses", "RuntimeClass", "", "", ""),
    row(DISCOVERY, "endpointslices", "EndpointSlice", "", "ng", ""),
];

impl Builtin {
    pub(crate) fn to_resource(&self) -> Resource {
        let has = |flag: char| self.flags.contains(flag);
        let mut categories = Vec::new();
        if has('a') {
            categories.push("all".to_owned());
        }
        if self.group == EXTENSIONS.0 || self.group == ADMISSION.0 {
            categories.push("api-extensions".to_owned());
        }
        Resource {
            group: self.group.to_owned(),
            version: self.version.to_owned(),
            plural: self.plural.to_owned(),
            singular: self.kind.to_lowercase(),
            kind: self.kind.to_owned(),
            list_kind: format!("{}List", self.kind),
            namespaced: has('n'),
            short_names: self.short.split_whitespace().map(str::to_owned).collect(),
            categories,
            status: has('s'),
            scale: has('c'),
            generation: has('g'),
            review: has('r'),
            create_on_update: has('p'),
            selectable: self.fields.split_whitespace().map(selectable).collect(),
            own_field_labels: !self.fields.is_empty(),
            custom: None,
        }
    }
}

fn selectable(field: &str) -> SelectableField {
    let (label, path) = field.split_once('=').unwrap_or((field, field));
    SelectableField {
        label: label.to_owned(),
        path: path.split('.').map(str::to_owned).collect(),
    }
}
