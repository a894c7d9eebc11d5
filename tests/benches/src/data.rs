//! Objects as API servers send them: what `kubectl apply` and a controller leave behind, with
//! managedFields of two managers. The same number and version always make the same object.

use std::fmt::Write;

/// A kind of objects that are made here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Some 2.6 KB, of which 1.1 KB are managedFields.
    Ingress,
    /// Some 9.3 KB, of which 3.5 KB are managedFields.
    Pod,
    /// Some 4 KB, nearly all of it data.
    Secret,
}

/// One object in the JSON of its kind.
#[derive(Clone, Copy, Debug)]
pub struct Made {
    /// Which of its kind.
    pub kind: Kind,
    /// Which of all: also its place in the order of (namespace, name).
    pub number: usize,
    /// Its resourceVersion.
    pub version: u64,
    /// How often it was changed.
    pub revision: u32,
}

/// Objects in one namespace.
pub const IN_NAMESPACE: usize = 1_000;

impl Kind {
    /// The kind as objects call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ingress => "Ingress",
            Self::Pod => "Pod",
            Self::Secret => "Secret",
        }
    }

    /// The plural as URLs call it.
    #[must_use]
    pub fn plural(self) -> &'static str {
        match self {
            Self::Ingress => "ingresses",
            Self::Pod => "pods",
            Self::Secret => "secrets",
        }
    }

    /// Group and version.
    #[must_use]
    pub fn api_version(self) -> &'static str {
        match self {
            Self::Ingress => "networking.k8s.io/v1",
            Self::Pod | Self::Secret => "v1",
        }
    }

    /// The path of its group and version.
    #[must_use]
    pub fn root(self) -> &'static str {
        match self {
            Self::Ingress => "/apis/networking.k8s.io/v1",
            Self::Pod | Self::Secret => "/api/v1",
        }
    }

    /// Eight fields that a plugin would want of it.
    #[must_use]
    pub fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Ingress => &[
                "metadata.labels",
                "spec.ingressClassName",
                "spec.rules[*].host",
                "spec.rules[*].http.paths[*].path",
                "spec.rules[*].http.paths[*].pathType",
                "spec.rules[*].http.paths[*].backend",
                "spec.tls",
                "metadata.annotations['haproxy.org/timeout-server']",
            ],
            Self::Pod => &[
                "metadata.labels",
                "spec.nodeName",
                "spec.containers[*].name",
                "spec.containers[*].image",
                "spec.containers[*].ports",
                "status.phase",
                "status.podIP",
                "status.conditions",
            ],
            Self::Secret => &["metadata.name"],
        }
    }
}

/// The namespace of an object.
#[must_use]
pub fn namespace(number: usize) -> String {
    format!("team-{:03}", number / IN_NAMESPACE)
}

/// The name of an object.
#[must_use]
pub fn name(number: usize) -> String {
    format!("shop-{number:06}")
}

impl Made {
    /// The object as an item of a list: without kind and apiVersion, which servers leave out there.
    #[must_use]
    pub fn item(&self) -> String {
        let mut random = Random(u64::try_from(self.number).unwrap_or_default() ^ 0x5EED);
        match self.kind {
            Kind::Ingress => self.ingress(&mut random),
            Kind::Pod => self.pod(&mut random),
            Kind::Secret => self.secret(&mut random),
        }
    }

    /// What every template has.
    fn fill(&self, random: &mut Random, template: &str, values: &[(&str, &str)]) -> String {
        let common = [
            ("name", name(self.number)),
            ("namespace", namespace(self.number)),
            ("uid", random.uid()),
            ("version", self.version.to_string()),
            ("revision", self.revision.to_string()),
            ("generation", (self.revision + 1).to_string()),
        ];
        let common: Vec<(&str, &str)> = common
            .iter()
            .map(|(key, value)| (*key, value.as_str()))
            .collect();
        fill(template, &[values, &common].concat())
    }

    fn ingress(&self, random: &mut Random) -> String {
        let host = |n: usize| {
            format!(
                "{}-{n}.{}.example.com",
                ["www", "api"][n],
                name(self.number)
            )
        };
        let rules: Vec<String> = (0..2)
            .map(|n| {
                let service = format!("backend-{}", random.below(500));
                fill(INGRESS_RULE, &[("host", &host(n)), ("service", &service)])
            })
            .collect();
        let values = [
            ("host", host(0)),
            ("address", random.address()),
            ("rules", rules.join(",")),
        ];
        self.fill(random, INGRESS, &borrowed(&values))
    }

    fn pod(&self, random: &mut Random) -> String {
        let parts: Vec<[String; 3]> = CONTAINERS
            .iter()
            .map(|name| container(random, name))
            .collect();
        let join = |part: usize| {
            let texts: Vec<&str> = parts.iter().map(|texts| texts[part].as_str()).collect();
            texts.join(",")
        };
        let values = [
            ("containers", join(0)),
            ("statuses", join(1)),
            ("fields", join(2)),
            ("owner", random.uid()),
            ("node", format!("worker-{}", random.below(200))),
            ("ip", random.address()),
        ];
        self.fill(random, POD, &borrowed(&values))
    }

    fn secret(&self, random: &mut Random) -> String {
        let mut data = String::new();
        while data.len() < 3_600 {
            // A String takes whatever is written to it.
            _ = write!(data, "{:016x}", random.next());
        }
        self.fill(random, SECRET, &[("data", &data)])
    }
}

/// A container of a Pod: in its spec, in its status, and in managedFields.
fn container(random: &mut Random, name: &str) -> [String; 3] {
    let (major, minor) = (random.below(40), random.below(20));
    let values = [
        ("name", name.to_owned()),
        (
            "image",
            format!("registry.example.com/shop/{name}:v1.{major}.{minor}"),
        ),
        ("port", (8_000 + random.below(1_000)).to_string()),
        ("cpu", format!("{}m", 100 + random.below(900))),
        ("memory", format!("{}Mi", 64 + random.below(900))),
        ("id", (random.uid() + &random.uid()).replace('-', "")),
        ("restarts", random.below(4).to_string()),
    ];
    [CONTAINER, CONTAINER_STATUS, CONTAINER_FIELDS]
        .map(|template| fill(template, &borrowed(&values)))
}

fn borrowed<'a>(values: &'a [(&'a str, String)]) -> Vec<(&'a str, &'a str)> {
    values
        .iter()
        .map(|(key, value)| (*key, value.as_str()))
        .collect()
}

/// Fills `<name>` and so on into a template, and joins its lines.
fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut text = String::with_capacity(template.len() * 2);
    for (i, part) in template.split(['<', '>']).enumerate() {
        if i % 2 == 0 {
            text.extend(part.split('\n'));
        } else {
            let found = values.iter().find(|(key, _)| *key == part);
            text.push_str(found.map_or("", |(_, value)| value));
        }
    }
    text
}

/// A small generator, so that every run has the same objects.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn address(&mut self) -> String {
        format!(
            "10.{}.{}.{}",
            self.below(255),
            self.below(255),
            self.below(255)
        )
    }

    fn uid(&mut self) -> String {
        let (a, b, c) = (self.next(), self.next(), self.next());
        format!(
            "{a:08x}-{:04x}-4{:03x}-a{:03x}-{c:08x}{:04x}",
            b & 0xffff,
            b >> 16 & 0xfff,
            a & 0xfff,
            b & 0xffff
        )
    }
}

const CONTAINERS: [&str; 2] = ["checkout", "envoy-sidecar"];

const INGRESS: &str = r#"{"metadata":{"name":"<name>","namespace":"<namespace>","uid":"<uid>","resourceVersion":"<version>","generation":<generation>,
"creationTimestamp":"2025-03-14T09:26:53Z",
"labels":{"app":"<name>","app.kubernetes.io/managed-by":"Helm","app.kubernetes.io/part-of":"shop"},
"annotations":{"cert-manager.io/cluster-issuer":"letsencrypt","external-dns.alpha.kubernetes.io/hostname":"<host>",
"haproxy.org/load-balance":"leastconn","haproxy.org/ssl-redirect":"true","haproxy.org/timeout-server":"<revision>s",
"meta.helm.sh/release-name":"<name>","meta.helm.sh/release-namespace":"<namespace>"},
"managedFields":[{"manager":"helm","operation":"Update","apiVersion":"networking.k8s.io/v1","time":"2025-03-14T09:26:53Z",
"fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:annotations":{".":{},"f:cert-manager.io/cluster-issuer":{},
"f:external-dns.alpha.kubernetes.io/hostname":{},"f:haproxy.org/load-balance":{},"f:haproxy.org/ssl-redirect":{},
"f:haproxy.org/timeout-server":{},"f:meta.helm.sh/release-name":{},"f:meta.helm.sh/release-namespace":{}},
"f:labels":{".":{},"f:app":{},"f:app.kubernetes.io/managed-by":{},"f:app.kubernetes.io/part-of":{}}},
"f:spec":{"f:defaultBackend":{".":{},"f:service":{}},"f:ingressClassName":{},"f:rules":{},"f:tls":{}}}},
{"manager":"haproxy-ingress","operation":"Update","apiVersion":"networking.k8s.io/v1","time":"2025-03-14T09:27:10Z",
"fieldsType":"FieldsV1","fieldsV1":{"f:status":{"f:loadBalancer":{"f:ingress":{}}}},"subresource":"status"}]},
"spec":{"ingressClassName":"haproxy","defaultBackend":{"service":{"name":"<name>-default","port":{"number":80}}},"tls":[{"hosts":["<host>"],"secretName":"<name>-tls"}],"rules":[<rules>]},
"status":{"loadBalancer":{"ingress":[{"ip":"<address>"}]}}}"#;

const INGRESS_RULE: &str = r#"{"host":"<host>","http":{"paths":[
{"path":"/","pathType":"Prefix","backend":{"service":{"name":"<service>","port":{"number":80}}}},
{"path":"/static/assets","pathType":"Exact","backend":{"service":{"name":"<service>-static","port":{"name":"http"}}}},
{"path":"/api/v1/orders","pathType":"Prefix","backend":{"service":{"name":"<service>-orders","port":{"number":8080}}}}]}}"#;

const POD: &str = r#"{"metadata":{"name":"<name>","generateName":"checkout-","namespace":"<namespace>","uid":"<uid>","resourceVersion":"<version>",
"generation":1,"creationTimestamp":"2025-03-14T09:26:53Z",
"labels":{"app":"checkout","app.kubernetes.io/instance":"shop","app.kubernetes.io/version":"1.24.3","pod-template-hash":"6c9f7d5b8"},
"annotations":{"checksum/config":"6f1ed002ab5595859014ebf0951522d9a1f5c3e2b7d4","prometheus.io/port":"<revision>","prometheus.io/scrape":"true",
"sidecar.istio.io/status":"{\"initContainers\":[\"istio-init\"],\"containers\":[\"istio-proxy\"],\"volumes\":[\"istio-envoy\",\"istio-data\"],\"imagePullSecrets\":null}"},
"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"checkout-6c9f7d5b8","uid":"<owner>","controller":true,"blockOwnerDeletion":true}],
"managedFields":[{"manager":"kube-controller-manager","operation":"Update","apiVersion":"v1","time":"2025-03-14T09:26:53Z","fieldsType":"FieldsV1",
"fieldsV1":{"f:metadata":{"f:annotations":{".":{},"f:checksum/config":{},"f:prometheus.io/port":{},"f:prometheus.io/scrape":{},"f:sidecar.istio.io/status":{}},
"f:generateName":{},"f:labels":{".":{},"f:app":{},"f:app.kubernetes.io/instance":{},"f:app.kubernetes.io/version":{},"f:pod-template-hash":{}},
"f:ownerReferences":{".":{},"k:{\"uid\":\"<owner>\"}":{}}},"f:spec":{"f:containers":{<fields>},"f:dnsPolicy":{},"f:enableServiceLinks":{},
"f:restartPolicy":{},"f:schedulerName":{},"f:securityContext":{},"f:serviceAccount":{},"f:serviceAccountName":{},"f:terminationGracePeriodSeconds":{},
"f:volumes":{".":{},"k:{\"name\":\"config\"}":{".":{},"f:configMap":{".":{},"f:defaultMode":{},"f:name":{}},"f:name":{}}}}}},
{"manager":"kubelet","operation":"Update","apiVersion":"v1","time":"2025-03-14T09:27:10Z","fieldsType":"FieldsV1",
"fieldsV1":{"f:status":{"f:conditions":{"k:{\"type\":\"ContainersReady\"}":{".":{},"f:lastProbeTime":{},"f:lastTransitionTime":{},"f:status":{},"f:type":{}},
"k:{\"type\":\"Initialized\"}":{".":{},"f:lastProbeTime":{},"f:lastTransitionTime":{},"f:status":{},"f:type":{}},
"k:{\"type\":\"PodReadyToStartContainers\"}":{".":{},"f:lastProbeTime":{},"f:lastTransitionTime":{},"f:status":{},"f:type":{}},
"k:{\"type\":\"Ready\"}":{".":{},"f:lastProbeTime":{},"f:lastTransitionTime":{},"f:status":{},"f:type":{}}},
"f:containerStatuses":{},"f:hostIP":{},"f:hostIPs":{},"f:phase":{},"f:podIP":{},"f:podIPs":{".":{},"k:{\"ip\":\"<ip>\"}":{".":{},"f:ip":{}}},"f:startTime":{}}},"subresource":"status"}]},
"spec":{"volumes":[{"name":"config","configMap":{"name":"checkout-config","defaultMode":420}},
{"name":"kube-api-access-x7k2p","projected":{"sources":[{"serviceAccountToken":{"expirationSeconds":3607,"path":"token"}},
{"configMap":{"name":"kube-root-ca.crt","items":[{"key":"ca.crt","path":"ca.crt"}]}},
{"downwardAPI":{"items":[{"path":"namespace","fieldRef":{"apiVersion":"v1","fieldPath":"metadata.namespace"}}]}}],"defaultMode":420}}],
"containers":[<containers>],"restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","serviceAccountName":"checkout",
"serviceAccount":"checkout","nodeName":"<node>","securityContext":{"fsGroup":2000},"schedulerName":"default-scheduler",
"tolerations":[{"key":"node.kubernetes.io/not-ready","operator":"Exists","effect":"NoExecute","tolerationSeconds":300},
{"key":"node.kubernetes.io/unreachable","operator":"Exists","effect":"NoExecute","tolerationSeconds":300}],
"priority":0,"enableServiceLinks":true,"preemptionPolicy":"PreemptLowerPriority"},
"status":{"phase":"Running","conditions":[
{"type":"PodReadyToStartContainers","status":"True","lastProbeTime":null,"lastTransitionTime":"2025-03-14T09:26:58Z"},
{"type":"Initialized","status":"True","lastProbeTime":null,"lastTransitionTime":"2025-03-14T09:26:53Z"},
{"type":"Ready","status":"True","lastProbeTime":null,"lastTransitionTime":"2025-03-14T09:27:10Z"},
{"type":"ContainersReady","status":"True","lastProbeTime":null,"lastTransitionTime":"2025-03-14T09:27:10Z"},
{"type":"PodScheduled","status":"True","lastProbeTime":null,"lastTransitionTime":"2025-03-14T09:26:53Z"}],
"hostIP":"192.168.4.17","hostIPs":[{"ip":"192.168.4.17"}],"podIP":"<ip>","podIPs":[{"ip":"<ip>"}],"startTime":"2025-03-14T09:26:53Z",
"containerStatuses":[<statuses>],"qosClass":"Burstable"}}"#;

const CONTAINER: &str = r#"{"name":"<name>","image":"<image>","args":["--config=/etc/<name>/config.yaml","--log-level=info"],
"ports":[{"name":"http","containerPort":<port>,"protocol":"TCP"},{"name":"metrics","containerPort":9102,"protocol":"TCP"}],
"env":[{"name":"POD_NAME","valueFrom":{"fieldRef":{"apiVersion":"v1","fieldPath":"metadata.name"}}},
{"name":"DATABASE_URL","valueFrom":{"secretKeyRef":{"name":"<name>-db","key":"url"}}},{"name":"LISTEN_PORT","value":"<port>"}],
"resources":{"limits":{"memory":"<memory>"},"requests":{"cpu":"<cpu>","memory":"<memory>"}},
"volumeMounts":[{"name":"config","mountPath":"/etc/<name>"},{"name":"kube-api-access-x7k2p","readOnly":true,"mountPath":"/var/run/secrets/kubernetes.io/serviceaccount"}],
"livenessProbe":{"httpGet":{"path":"/healthz","port":"http","scheme":"HTTP"},"initialDelaySeconds":5,"timeoutSeconds":1,"periodSeconds":10,"successThreshold":1,"failureThreshold":3},
"readinessProbe":{"httpGet":{"path":"/readyz","port":"http","scheme":"HTTP"},"timeoutSeconds":1,"periodSeconds":5,"successThreshold":1,"failureThreshold":3},
"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","imagePullPolicy":"IfNotPresent",
"securityContext":{"capabilities":{"drop":["ALL"]},"runAsNonRoot":true,"allowPrivilegeEscalation":false}}"#;

const CONTAINER_STATUS: &str = r#"{"name":"<name>","state":{"running":{"startedAt":"2025-03-14T09:26:57Z"}},"lastState":{},"ready":true,"restartCount":<restarts>,
"image":"<image>","imageID":"registry.example.com/shop/<name>@sha256:<id>","containerID":"containerd://<id>","started":true}"#;

const CONTAINER_FIELDS: &str = r#""k:{\"name\":\"<name>\"}":{".":{},"f:args":{},"f:env":{".":{},"k:{\"name\":\"DATABASE_URL\"}":{".":{},"f:name":{},"f:valueFrom":{}},
"k:{\"name\":\"LISTEN_PORT\"}":{".":{},"f:name":{},"f:value":{}},"k:{\"name\":\"POD_NAME\"}":{".":{},"f:name":{},"f:valueFrom":{}}},
"f:image":{},"f:imagePullPolicy":{},"f:livenessProbe":{".":{},"f:failureThreshold":{},"f:httpGet":{".":{},"f:path":{},"f:port":{},"f:scheme":{}},"f:periodSeconds":{}},
"f:name":{},"f:ports":{".":{},"k:{\"containerPort\":<port>,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{},"f:name":{},"f:protocol":{}}},
"f:resources":{},"f:securityContext":{},"f:volumeMounts":{".":{},"k:{\"mountPath\":\"/etc/<name>\"}":{".":{},"f:mountPath":{},"f:name":{}}}}"#;

const SECRET: &str = r#"{"metadata":{"name":"<name>","namespace":"<namespace>","uid":"<uid>","resourceVersion":"<version>",
"creationTimestamp":"2025-03-14T09:26:53Z","labels":{"app":"shop"},"annotations":{"revision":"<revision>"}},
"data":{"tls.crt":"<data>"},"type":"Opaque"}"#;
