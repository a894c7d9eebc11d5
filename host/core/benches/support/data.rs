//! Objects as API servers send them, from a seed: managedFields of two managers,
//! annotations, several containers.

/// What a plugin might need of one, in eight fields.
pub(crate) const HEAVY_INGRESS: [&str; 8] = [
    "metadata.labels",
    "spec.ingressClassName",
    "spec.rules[*].host",
    "spec.rules[*].http.paths[*].path",
    "spec.rules[*].http.paths[*].pathType",
    "spec.rules[*].http.paths[*].backend",
    "spec.tls",
    "metadata.annotations['haproxy.org/timeout-server']",
];

/// What a plugin might need of one, in eight fields.
pub(crate) const HEAVY_POD: [&str; 8] = [
    "metadata.labels",
    "spec.nodeName",
    "spec.containers[*].name",
    "spec.containers[*].image",
    "spec.containers[*].ports",
    "status.phase",
    "status.podIP",
    "status.conditions",
];

/// A small generator, so that every run decodes the same objects.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
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

/// Fills `{{name}}` and so on into a template.
fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let compact: String = template.lines().map(str::trim_start).collect();
    values.iter().fold(compact, |text, (name, value)| {
        text.replace(&format!("{{{{{name}}}}}"), value)
    })
}

/// An Ingress as an API server sends it.
pub(crate) fn ingress(random: &mut Random) -> String {
    let number = random.below(1 << 30);
    let rules: Vec<String> = (0..2)
        .map(|n| {
            fill(
                INGRESS_RULE,
                &[
                    (
                        "host",
                        &format!("{}-{n}.shop-{number}.example.com", ["www", "api", "cdn"][n]),
                    ),
                    ("service", &format!("backend-{}", random.below(500))),
                ],
            )
        })
        .collect();
    fill(
        INGRESS,
        &[
            ("name", &format!("shop-{number}")),
            ("namespace", &format!("team-{}", random.below(40))),
            ("uid", &random.uid()),
            ("version", &random.below(9_000_000).to_string()),
            ("timeout", &format!("{}s", 10 + random.below(50))),
            ("host", &format!("www-0.shop-{number}.example.com")),
            (
                "address",
                &format!(
                    "10.{}.{}.{}",
                    random.below(255),
                    random.below(255),
                    random.below(255)
                ),
            ),
            ("rules", &rules.join(",")),
        ],
    )
}

/// A Pod as an API server sends it.
pub(crate) fn pod(random: &mut Random) -> String {
    let name = format!("checkout-{:x}", random.below(1 << 30));
    let container = |random: &mut Random, n: usize| {
        let image = format!(
            "registry.example.com/shop/{}:v1.{}.{}",
            CONTAINERS[n],
            random.below(40),
            random.below(20)
        );
        let values = [
            ("name", CONTAINERS[n].to_owned()),
            ("image", image),
            ("port", (8000 + random.below(1000)).to_string()),
            ("cpu", format!("{}m", 100 + random.below(900))),
            ("memory", format!("{}Mi", 64 + random.below(900))),
            (
                "id",
                format!(
                    "{}{}",
                    random.uid().replace('-', ""),
                    random.uid().replace('-', "")
                ),
            ),
            ("restarts", random.below(4).to_string()),
        ];
        let values: Vec<(&str, &str)> = values
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        [CONTAINER, CONTAINER_STATUS, CONTAINER_FIELDS].map(|template| fill(template, &values))
    };
    let parts: Vec<[String; 3]> = (0..CONTAINERS.len())
        .map(|n| container(random, n))
        .collect();
    let join = |part: usize| {
        parts
            .iter()
            .map(|texts| texts[part].as_str())
            .collect::<Vec<_>>()
            .join(",")
    };
    fill(
        POD,
        &[
            ("containers", &join(0)),
            ("statuses", &join(1)),
            ("fields", &join(2)),
            ("name", &name),
            ("namespace", &format!("team-{}", random.below(40))),
            ("uid", &random.uid()),
            ("owner", &random.uid()),
            ("version", &random.below(9_000_000).to_string()),
            ("node", &format!("worker-{}", random.below(200))),
            (
                "ip",
                &format!(
                    "10.{}.{}.{}",
                    random.below(255),
                    random.below(255),
                    random.below(255)
                ),
            ),
        ],
    )
}

const CONTAINERS: [&str; 2] = ["checkout", "envoy-sidecar"];

const INGRESS: &str = r#"{"kind":"Ingress","apiVersion":"networking.k8s.io/v1",
"metadata":{"name":"{{name}}","namespace":"{{namespace}}","uid":"{{uid}}","resourceVersion":"{{version}}","generation":3,
"creationTimestamp":"2025-03-14T09:26:53Z",
"labels":{"app":"{{name}}","app.kubernetes.io/managed-by":"Helm","app.kubernetes.io/part-of":"shop"},
"annotations":{"cert-manager.io/cluster-issuer":"letsencrypt","external-dns.alpha.kubernetes.io/hostname":"{{host}}",
"haproxy.org/load-balance":"leastconn","haproxy.org/ssl-redirect":"true","haproxy.org/timeout-server":"{{timeout}}",
"meta.helm.sh/release-name":"{{name}}","meta.helm.sh/release-namespace":"{{namespace}}"},
"managedFields":[{"manager":"helm","operation":"Update","apiVersion":"networking.k8s.io/v1","time":"2025-03-14T09:26:53Z",
"fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:annotations":{".":{},"f:cert-manager.io/cluster-issuer":{},
"f:external-dns.alpha.kubernetes.io/hostname":{},"f:haproxy.org/load-balance":{},"f:haproxy.org/ssl-redirect":{},
"f:haproxy.org/timeout-server":{},"f:meta.helm.sh/release-name":{},"f:meta.helm.sh/release-namespace":{}},
"f:labels":{".":{},"f:app":{},"f:app.kubernetes.io/managed-by":{},"f:app.kubernetes.io/part-of":{}}},
"f:spec":{"f:defaultBackend":{".":{},"f:service":{}},"f:ingressClassName":{},"f:rules":{},"f:tls":{}}}},
{"manager":"haproxy-ingress","operation":"Update","apiVersion":"networking.k8s.io/v1","time":"2025-03-14T09:27:10Z",
"fieldsType":"FieldsV1","fieldsV1":{"f:status":{"f:loadBalancer":{"f:ingress":{}}}},"subresource":"status"}]},
"spec":{"ingressClassName":"haproxy","defaultBackend":{"service":{"name":"{{name}}-default","port":{"number":80}}},"tls":[{"hosts":["{{host}}"],"secretName":"{{name}}-tls"}],"rules":[{{rules}}]},
"status":{"loadBalancer":{"ingress":[{"ip":"{{address}}"}]}}}"#;

const INGRESS_RULE: &str = r#"{"host":"{{host}}","http":{"paths":[
{"path":"/","pathType":"Prefix","backend":{"service":{"name":"{{service}}","port":{"number":80}}}},
{"path":"/static/assets","pathType":"Exact","backend":{"service":{"name":"{{service}}-static","port":{"name":"http"}}}},
{"path":"/api/v1/orders","pathType":"Prefix","backend":{"service":{"name":"{{service}}-orders","port":{"number":8080}}}}]}}"#;

const POD: &str = r#"{"kind":"Pod","apiVersion":"v1",
"metadata":{"name":"{{name}}","generateName":"checkout-","namespace":"{{namespace}}","uid":"{{uid}}","resourceVersion":"{{version}}",
"generation":1,"creationTimestamp":"2025-03-14T09:26:53Z",
"labels":{"app":"checkout","app.kubernetes.io/instance":"shop","app.kubernetes.io/version":"1.24.3","pod-template-hash":"6c9f7d5b8"},
"annotations":{"checksum/config":"6f1ed002ab5595859014ebf0951522d9a1f5c3e2b7d4","prometheus.io/port":"9102","prometheus.io/scrape":"true",
"sidecar.istio.io/status":"{\"initContainers\":[\"istio-init\"],\"containers\":[\"istio-proxy\"],\"volumes\":[\"istio-envoy\",\"istio-data\"],\"imagePullSecrets\":null}"},
"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"checkout-6c9f7d5b8","uid":"{{owner}}","controller":true,"blockOwnerDeletion":true}],
"managedFields":[{"manager":"kube-controller-manager","operation":"Update","apiVersion":"v1","time":"2025-03-14T09:26:53Z","fieldsType":"FieldsV1",
"fieldsV1":{"f:metadata":{"f:annotations":{".":{},"f:checksum/config":{},"f:prometheus.io/port":{},"f:prometheus.io/scrape":{},"f:sidecar.istio.io/status":{}},
"f:generateName":{},"f:labels":{".":{},"f:app":{},"f:app.kubernetes.io/instance":{},"f:app.kubernetes.io/version":{},"f:pod-template-hash":{}},
"f:ownerReferences":{".":{},"k:{\"uid\":\"{{owner}}\"}":{}}},"f:spec":{"f:containers":{{{fields}}},"f:dnsPolicy":{},"f:enableServiceLinks":{},
"f:restartPolicy":{},"f:schedulerName":{},"f:securityContext":{},"f:serviceAccount":{},"f:serviceAccountName":{},"f:terminationGracePeriodSeconds":{},
"f:volumes":{".":{},"k:{\"name\":\"config\"}":{".":{},"f:configMap":{".":{},"f:defaultMode":{},"f:name":{}},"f:name":{}}}}}},
{"manager":"kubelet","operation":"Update","apiVersion":"v1","time":"2025-03-14T09:27:10Z","fieldsType":"FieldsV1",
"fieldsV1":{"f:status":{"f:conditions":{"k:{\"type\":\"ContainersReady\"}":{".":{},"f:lastProbeTime":{},"f:lastTransitionTime":{},"f:status":{},"f:type":{}},
"k:{\"type\":\"Initialized\"}":{".":{},"f:lastProbeTime":{},"f:lastTransitionTime":{},"f:status":{},"f:type":{}},
"k:{\"type\":\"PodReadyToStartContainers\"}":{".":{},"f:lastProbeTime":{},"f:lastTransitionTime":{},"f:status":{},"f:type":{}},
"k:{\"type\":\"Ready\"}":{".":{},"f:lastProbeTime":{},"f:lastTransitionTime":{},"f:status":{},"f:type":{}}},
"f:containerStatuses":{},"f:hostIP":{},"f:hostIPs":{},"f:phase":{},"f:podIP":{},"f:podIPs":{".":{},"k:{\"ip\":\"{{ip}}\"}":{".":{},"f:ip":{}}},"f:startTime":{}}},"subresource":"status"}]},
"spec":{"volumes":[{"name":"config","configMap":{"name":"checkout-config","defaultMode":420}},
{"name":"kube-api-access-x7k2p","projected":{"sources":[{"serviceAccountToken":{"expirationSeconds":3607,"path":"token"}},
{"configMap":{"name":"kube-root-ca.crt","items":[{"key":"ca.crt","path":"ca.crt"}]}},
{"downwardAPI":{"items":[{"path":"namespace","fieldRef":{"apiVersion":"v1","fieldPath":"metadata.namespace"}}]}}],"defaultMode":420}}],
"containers":[{{containers}}],"restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","serviceAccountName":"checkout",
"serviceAccount":"checkout","nodeName":"{{node}}","securityContext":{"fsGroup":2000},"schedulerName":"default-scheduler",
"tolerations":[{"key":"node.kubernetes.io/not-ready","operator":"Exists","effect":"NoExecute","tolerationSeconds":300},
{"key":"node.kubernetes.io/unreachable","operator":"Exists","effect":"NoExecute","tolerationSeconds":300}],
"priority":0,"enableServiceLinks":true,"preemptionPolicy":"PreemptLowerPriority"},
"status":{"phase":"Running","conditions":[
{"type":"PodReadyToStartContainers","status":"True","lastProbeTime":null,"lastTransitionTime":"2025-03-14T09:26:58Z"},
{"type":"Initialized","status":"True","lastProbeTime":null,"lastTransitionTime":"2025-03-14T09:26:53Z"},
{"type":"Ready","status":"True","lastProbeTime":null,"lastTransitionTime":"2025-03-14T09:27:10Z"},
{"type":"ContainersReady","status":"True","lastProbeTime":null,"lastTransitionTime":"2025-03-14T09:27:10Z"},
{"type":"PodScheduled","status":"True","lastProbeTime":null,"lastTransitionTime":"2025-03-14T09:26:53Z"}],
"hostIP":"192.168.4.17","hostIPs":[{"ip":"192.168.4.17"}],"podIP":"{{ip}}","podIPs":[{"ip":"{{ip}}"}],"startTime":"2025-03-14T09:26:53Z",
"containerStatuses":[{{statuses}}],"qosClass":"Burstable"}}"#;

const CONTAINER: &str = r#"{"name":"{{name}}","image":"{{image}}","args":["--config=/etc/{{name}}/config.yaml","--log-level=info"],
"ports":[{"name":"http","containerPort":{{port}},"protocol":"TCP"},{"name":"metrics","containerPort":9102,"protocol":"TCP"}],
"env":[{"name":"POD_NAME","valueFrom":{"fieldRef":{"apiVersion":"v1","fieldPath":"metadata.name"}}},
{"name":"DATABASE_URL","valueFrom":{"secretKeyRef":{"name":"{{name}}-db","key":"url"}}},{"name":"LISTEN_PORT","value":"{{port}}"}],
"resources":{"limits":{"memory":"{{memory}}"},"requests":{"cpu":"{{cpu}}","memory":"{{memory}}"}},
"volumeMounts":[{"name":"config","mountPath":"/etc/{{name}}"},{"name":"kube-api-access-x7k2p","readOnly":true,"mountPath":"/var/run/secrets/kubernetes.io/serviceaccount"}],
"livenessProbe":{"httpGet":{"path":"/healthz","port":"http","scheme":"HTTP"},"initialDelaySeconds":5,"timeoutSeconds":1,"periodSeconds":10,"successThreshold":1,"failureThreshold":3},
"readinessProbe":{"httpGet":{"path":"/readyz","port":"http","scheme":"HTTP"},"timeoutSeconds":1,"periodSeconds":5,"successThreshold":1,"failureThreshold":3},
"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","imagePullPolicy":"IfNotPresent",
"securityContext":{"capabilities":{"drop":["ALL"]},"runAsNonRoot":true,"allowPrivilegeEscalation":false}}"#;

const CONTAINER_STATUS: &str = r#"{"name":"{{name}}","state":{"running":{"startedAt":"2025-03-14T09:26:57Z"}},"lastState":{},"ready":true,"restartCount":{{restarts}},
"image":"{{image}}","imageID":"registry.example.com/shop/{{name}}@sha256:{{id}}","containerID":"containerd://{{id}}","started":true}"#;

const CONTAINER_FIELDS: &str = r#""k:{\"name\":\"{{name}}\"}":{".":{},"f:args":{},"f:env":{".":{},"k:{\"name\":\"DATABASE_URL\"}":{".":{},"f:name":{},"f:valueFrom":{}},
"k:{\"name\":\"LISTEN_PORT\"}":{".":{},"f:name":{},"f:value":{}},"k:{\"name\":\"POD_NAME\"}":{".":{},"f:name":{},"f:valueFrom":{}}},
"f:image":{},"f:imagePullPolicy":{},"f:livenessProbe":{".":{},"f:failureThreshold":{},"f:httpGet":{".":{},"f:path":{},"f:port":{},"f:scheme":{}},"f:periodSeconds":{}},
"f:name":{},"f:ports":{".":{},"k:{\"containerPort\":{{port}},\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{},"f:name":{},"f:protocol":{}}},
"f:resources":{},"f:securityContext":{},"f:volumeMounts":{".":{},"k:{\"mountPath\":\"/etc/{{name}}\"}":{".":{},"f:mountPath":{},"f:name":{}}}}"#;
