//! Request bodies in Kubernetes' protobuf encoding, for the kinds that
//! `kubectl create …`, `kubectl run` and `kubectl auth` send in no other form.
//!
//! A field that the table does not have is an error, never dropped.

use serde_json::{Map, Value, json};

use crate::json;
use crate::resources::{Resource, split_api_version};
use crate::status::ApiError;

/// The media type.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// What every body starts with.
const MAGIC: &[u8] = b"k8s\0";

/// No message of the table nests deeper.
const DEPTH: usize = 32;

/// Messages and their fields: number, name and type.
///
/// Types: `s` text, `i` integer, `b` boolean, `y` bytes, `q` quantity, `t`
/// time, `x` integer or text, `-` to be ignored (a status that nobody may
/// create), or a message. `[]` before a type is a list, `{}` a map from text. Plain values that are empty are
/// absent, as encoders write them always; a `*` keeps them, and `^` puts the
/// fields of a message into the one around it.
#[rustfmt::skip]
const MESSAGES: &[(&str, &str)] = &[
    ("ObjectMeta", "1 name s, 2 generateName s, 3 namespace s, 4 selfLink s, 5 uid s, 6 resourceVersion s, \
        7 generation i, 8 creationTimestamp t, 11 labels {}s, 12 annotations {}s, 14 finalizers []s"),
    ("LabelSelector", "1 matchLabels {}s, 2 matchExpressions []LabelSelectorRequirement"),
    ("LabelSelectorRequirement", "1 key s, 2 operator s, 3 values []s"),
    ("Namespace", "1 metadata ObjectMeta, 2 spec NamespaceSpec, 3 status -"),
    ("NamespaceSpec", "1 finalizers []s"),
    ("ConfigMap", "1 metadata ObjectMeta, 2 data {}s, 3 binaryData {}y, 4 immutable *b"),
    ("Secret", "1 metadata ObjectMeta, 2 data {}y, 3 type s, 4 stringData {}s, 5 immutable *b"),
    ("ServiceAccount", "1 metadata ObjectMeta, 3 imagePullSecrets []LocalObjectReference, 4 automountServiceAccountToken *b"),
    ("LocalObjectReference", "1 name s"),
    ("Service", "1 metadata ObjectMeta, 2 spec ServiceSpec, 3 status -"),
    ("ServiceSpec", "1 ports []ServicePort, 2 selector {}s, 3 clusterIP s, 4 type s, 5 externalIPs []s, 7 sessionAffinity s, \
        8 loadBalancerIP s, 9 loadBalancerSourceRanges []s, 10 externalName s, 11 externalTrafficPolicy s, \
        12 healthCheckNodePort i, 13 publishNotReadyAddresses b, 17 ipFamilyPolicy *s, 18 clusterIPs []s, 19 ipFamilies []s"),
    ("ServicePort", "1 name s, 2 protocol s, 3 port i, 4 targetPort x, 5 nodePort i, 6 appProtocol *s"),
    ("Ingress", "1 metadata ObjectMeta, 2 spec IngressSpec, 3 status -"),
    ("IngressSpec", "1 defaultBackend *IngressBackend, 2 tls []IngressTLS, 3 rules []IngressRule, 4 ingressClassName *s"),
    ("IngressTLS", "1 hosts []s, 2 secretName s"),
    ("IngressRule", "1 host s, 2 http ^IngressRuleValue"),
    ("IngressRuleValue", "1 http *HTTPIngressRuleValue"),
    ("HTTPIngressRuleValue", "1 paths []HTTPIngressPath"),
    ("HTTPIngressPath", "1 path s, 2 backend IngressBackend, 3 pathType *s"),
    ("IngressBackend", "4 service *IngressServiceBackend"),
    ("IngressServiceBackend", "1 name s, 2 port ServiceBackendPort"),
    ("ServiceBackendPort", "1 name s, 2 number i"),
    ("Deployment", "1 metadata ObjectMeta, 2 spec DeploymentSpec, 3 status -"),
    ("DeploymentSpec", "1 replicas *i, 2 selector *LabelSelector, 3 template PodTemplateSpec, 4 strategy DeploymentStrategy, \
        5 minReadySeconds i, 6 revisionHistoryLimit *i, 7 paused b, 9 progressDeadlineSeconds *i"),
    ("DeploymentStrategy", "1 type s"),
    ("Pod", "1 metadata ObjectMeta, 2 spec PodSpec, 3 status -"),
    ("PodTemplateSpec", "1 metadata ObjectMeta, 2 spec PodSpec"),
    ("PodSpec", "2 containers []Container, 3 restartPolicy s, 4 terminationGracePeriodSeconds *i, 5 activeDeadlineSeconds *i, \
        6 dnsPolicy s, 7 nodeSelector {}s, 8 serviceAccountName s, 9 serviceAccount s, 10 nodeName s, 11 hostNetwork b, \
        12 hostPID b, 13 hostIPC b, 15 imagePullSecrets []LocalObjectReference, 16 hostname s, 17 subdomain s, \
        19 schedulerName s, 20 initContainers []Container, 24 priorityClassName s"),
    ("Container", "1 name s, 2 image s, 3 command []s, 4 args []s, 5 workingDir s, 6 ports []ContainerPort, 7 env []EnvVar, \
        8 resources ResourceRequirements, 13 terminationMessagePath s, 14 imagePullPolicy s, 16 stdin b, 17 stdinOnce b, \
        18 tty b, 20 terminationMessagePolicy s"),
    ("ContainerPort", "1 name s, 2 hostPort i, 3 containerPort i, 4 protocol s, 5 hostIP s"),
    ("EnvVar", "1 name s, 2 value s"),
    ("ResourceRequirements", "1 limits {}q, 2 requests {}q"),
    ("Job", "1 metadata ObjectMeta, 2 spec JobSpec, 3 status -"),
    ("JobSpec", "1 parallelism *i, 2 completions *i, 3 activeDeadlineSeconds *i, 4 selector *LabelSelector, 5 manualSelector *b, \
        6 template PodTemplateSpec, 7 backoffLimit *i, 8 ttlSecondsAfterFinished *i, 9 completionMode *s, 10 suspend *b"),
    ("CronJob", "1 metadata ObjectMeta, 2 spec CronJobSpec, 3 status -"),
    ("CronJobSpec", "1 schedule s, 2 startingDeadlineSeconds *i, 3 concurrencyPolicy s, 4 suspend *b, 5 jobTemplate JobTemplateSpec, \
        6 successfulJobsHistoryLimit *i, 7 failedJobsHistoryLimit *i, 8 timeZone *s"),
    ("JobTemplateSpec", "1 metadata ObjectMeta, 2 spec JobSpec"),
    ("Role", "1 metadata ObjectMeta, 2 rules []PolicyRule"),
    ("ClusterRole", "1 metadata ObjectMeta, 2 rules []PolicyRule, 3 aggregationRule *AggregationRule"),
    ("AggregationRule", "1 clusterRoleSelectors []LabelSelector"),
    ("PolicyRule", "1 verbs []s, 2 apiGroups []s, 3 resources []s, 4 resourceNames []s, 5 nonResourceURLs []s"),
    ("RoleBinding", "1 metadata ObjectMeta, 2 subjects []Subject, 3 roleRef RoleRef"),
    ("ClusterRoleBinding", "1 metadata ObjectMeta, 2 subjects []Subject, 3 roleRef RoleRef"),
    ("Subject", "1 kind s, 2 apiGroup s, 3 name s, 4 namespace s"),
    ("RoleRef", "1 apiGroup s, 2 kind s, 3 name s"),
    ("ResourceQuota", "1 metadata ObjectMeta, 2 spec ResourceQuotaSpec, 3 status -"),
    ("ResourceQuotaSpec", "1 hard {}q, 2 scopes []s"),
    ("PodDisruptionBudget", "1 metadata ObjectMeta, 2 spec PodDisruptionBudgetSpec, 3 status -"),
    ("PodDisruptionBudgetSpec", "1 minAvailable *x, 2 selector *LabelSelector, 3 maxUnavailable *x"),
    ("PriorityClass", "1 metadata ObjectMeta, 2 value *i, 3 globalDefault b, 4 description s, 5 preemptionPolicy *s"),
    ("SelfSubjectAccessReview", "1 metadata ObjectMeta, 2 spec SelfSubjectAccessReviewSpec, 3 status -"),
    ("SelfSubjectAccessReviewSpec", "1 resourceAttributes *ResourceAttributes, 2 nonResourceAttributes *NonResourceAttributes"),
    ("ResourceAttributes", "1 namespace s, 2 verb s, 3 group s, 4 version s, 5 resource s, 6 subresource s, 7 name s"),
    ("NonResourceAttributes", "1 path s, 2 verb s"),
    ("SelfSubjectRulesReview", "1 metadata ObjectMeta, 2 spec SelfSubjectRulesReviewSpec, 3 status -"),
    ("SelfSubjectRulesReviewSpec", "1 namespace s"),
    ("SelfSubjectReview", "1 metadata ObjectMeta, 2 status -"),
    // What the types above are made of.
    ("Unknown", "1 typeMeta TypeMeta, 2 raw y, 3 contentEncoding s, 4 contentType s"),
    ("TypeMeta", "1 apiVersion s, 2 kind s"),
    ("Quantity", "1 string s"),
    ("IntOrString", "1 type i, 2 intVal i, 3 strVal s"),
    ("Time", "1 seconds i, 2 nanos i"),
];

/// Reads a body that says of itself what it is.
pub(crate) fn parse(resource: &Resource, bytes: &[u8]) -> Result<Value, ApiError> {
    let body = bytes.strip_prefix(MAGIC).ok_or_else(broken)?;
    let envelope = message("Unknown", body, 0)?;
    let (api_version, kind) = (
        json::text(&envelope, &["typeMeta", "apiVersion"]),
        json::text(&envelope, &["typeMeta", "kind"]),
    );
    let (group, _) = split_api_version(api_version);
    if kind != resource.kind || group != resource.group || resource.custom.is_some() {
        return Err(unsupported(&format!("{api_version} {kind}")));
    }
    let raw = json::unbase64(json::text(&envelope, &["raw"])).ok_or_else(broken)?;
    let mut value = message(kind, &raw, 0)?;
    value["apiVersion"] = api_version.into();
    value["kind"] = kind.into();
    Ok(value)
}

fn broken() -> ApiError {
    ApiError::bad_request("the protobuf body is broken")
}

fn unsupported(what: &str) -> ApiError {
    let mut error = ApiError::unsupported_media_type("application/json, application/yaml");
    error.message = format!("{what} is not known in protobuf here: {}", error.message);
    error
}

/// A value as it is on the wire.
enum Wire<'b> {
    Number(u64),
    Bytes(&'b [u8]),
}

fn varint(bytes: &mut &[u8]) -> Result<u64, ApiError> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or_else(broken)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(broken())
}

fn field<'b>(bytes: &mut &'b [u8]) -> Result<(u64, Wire<'b>), ApiError> {
    let key = varint(bytes)?;
    let wire = match key & 7 {
        0 => Wire::Number(varint(bytes)?),
        2 => {
            let length = usize::try_from(varint(bytes)?).map_err(|_| broken())?;
            let (value, rest) = bytes.split_at_checked(length).ok_or_else(broken)?;
            *bytes = rest;
            Wire::Bytes(value)
        }
        _ => return Err(broken()),
    };
    Ok((key >> 3, wire))
}

fn message(name: &str, mut bytes: &[u8], depth: usize) -> Result<Value, ApiError> {
    let known = MESSAGES.iter().find(|(known, _)| *known == name);
    let (_, fields) = known.ok_or_else(|| unsupported(name))?;
    if depth > DEPTH {
        return Err(broken());
    }
    let mut map = Map::new();
    while !bytes.is_empty() {
        let (number, wire) = field(&mut bytes)?;
        let found = fields.split(',').find_map(|field| {
            let mut words = field.split_whitespace();
            let matches = words.next()?.parse() == Ok(number);
            matches.then_some((words.next()?, words.next()?))
        });
        let (field, kind) =
            found.ok_or_else(|| unsupported(&format!("field {number} of {name}")))?;
        insert(&mut map, field, kind, &wire, depth)?;
    }
    Ok(Value::Object(map))
}

fn insert(
    map: &mut Map<String, Value>,
    field: &str,
    kind: &str,
    wire: &Wire<'_>,
    depth: usize,
) -> Result<(), ApiError> {
    if kind == "-" {
        return Ok(());
    }
    if let Some(kind) = kind.strip_prefix("[]") {
        let item = value(kind, wire, depth)?;
        if let Value::Array(items) = map.entry(field).or_insert_with(|| json!([])) {
            items.push(item);
        }
        return Ok(());
    }
    if let Some(kind) = kind.strip_prefix("{}") {
        let (key, item) = entry(kind, wire, depth)?;
        json::object_mut(map, field).insert(key, item);
        return Ok(());
    }
    if let Some(kind) = kind.strip_prefix('^') {
        if let Value::Object(inner) = value(kind, wire, depth)? {
            map.extend(inner);
        }
        return Ok(());
    }
    let keeps_empty = kind.starts_with('*');
    let found = value(kind.trim_start_matches('*'), wire, depth)?;
    if keeps_empty || !is_empty(&found) {
        map.insert(field.to_owned(), found);
    }
    Ok(())
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

fn entry(kind: &str, wire: &Wire<'_>, depth: usize) -> Result<(String, Value), ApiError> {
    let mut bytes = match wire {
        Wire::Bytes(bytes) => *bytes,
        Wire::Number(_) => return Err(broken()),
    };
    let (mut key, mut item) = (String::new(), value_of_nothing(kind));
    while !bytes.is_empty() {
        match field(&mut bytes)? {
            (1, wire) => key = text(&wire)?,
            (2, wire) => item = value(kind, &wire, depth)?,
            _ => return Err(broken()),
        }
    }
    Ok((key, item))
}

fn value_of_nothing(kind: &str) -> Value {
    if matches!(kind, "s" | "y" | "q") {
        "".into()
    } else {
        Value::Null
    }
}

fn text(wire: &Wire<'_>) -> Result<String, ApiError> {
    match wire {
        Wire::Bytes(bytes) => String::from_utf8(bytes.to_vec()).map_err(|_| broken()),
        Wire::Number(_) => Err(broken()),
    }
}

fn value(kind: &str, wire: &Wire<'_>, depth: usize) -> Result<Value, ApiError> {
    match (kind, wire) {
        ("s", wire) => Ok(text(wire)?.into()),
        ("i", Wire::Number(number)) => Ok(number.cast_signed().into()),
        ("b", Wire::Number(number)) => Ok((*number != 0).into()),
        ("y", Wire::Bytes(bytes)) => Ok(json::base64(bytes).into()),
        ("q", Wire::Bytes(bytes)) => {
            Ok(json::text(&message("Quantity", bytes, depth + 1)?, &["string"]).into())
        }
        ("x", Wire::Bytes(bytes)) => {
            let choice = message("IntOrString", bytes, depth + 1)?;
            let is_text = choice.get("type").is_some();
            Ok(if is_text {
                json::text(&choice, &["strVal"]).into()
            } else {
                choice.get("intVal").cloned().unwrap_or_else(|| 0.into())
            })
        }
        // Moments are the server's to set in everything that is created.
        ("t", Wire::Bytes(bytes)) => message("Time", bytes, depth + 1).map(|_| Value::Null),
        ("i" | "b" | "y" | "q" | "x" | "t", _) | (_, Wire::Number(_)) => Err(broken()),
        (name, Wire::Bytes(bytes)) => message(name, bytes, depth + 1),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use crate::resources::Registry;

    fn text_field(number: u8, text: &[u8]) -> Vec<u8> {
        let mut bytes = vec![number << 3 | 2, u8::try_from(text.len()).unwrap()];
        bytes.extend_from_slice(text);
        bytes
    }

    fn body(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
        let mut type_meta = text_field(1, api_version.as_bytes());
        type_meta.extend(text_field(2, kind.as_bytes()));
        let mut bytes = MAGIC.to_vec();
        bytes.extend(text_field(1, &type_meta));
        bytes.extend(text_field(2, raw));
        bytes
    }

    fn check(bytes: &[u8]) -> Result<Value, u16> {
        let config_maps = Registry::builtin().find("", "v1", "configmaps").unwrap();
        parse(&config_maps, bytes).map_err(|error| error.code)
    }

    #[test]
    fn a_config_map_is_read() {
        let mut raw = text_field(1, &text_field(1, b"a"));
        let mut entry = text_field(1, b"k");
        entry.extend(text_field(2, b"v"));
        raw.extend(text_field(2, &entry));
        assert_eq!(
            check(&body("v1", "ConfigMap", &raw)),
            Ok(
                json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}})
            )
        );
    }

    #[test]
    fn what_is_not_known_is_refused() {
        assert_eq!(
            check(&body("v1", "ConfigMap", &text_field(9, b"x"))),
            Err(415)
        );
        assert_eq!(check(&body("v1", "Secret", b"")), Err(415));
        assert_eq!(check(b"k8s\0\xff"), Err(400));
        assert_eq!(check(b"{}"), Err(400));
        let whole = body("v1", "ConfigMap", &text_field(1, &text_field(1, b"a")));
        for end in 0..whole.len() {
            let named = check(&whole[..end]).is_ok_and(|value| value.get("metadata").is_some());
            assert!(!named, "cut at {end}");
        }
    }

    #[test]
    fn every_type_of_the_table_is_in_the_table() {
        for (name, fields) in MESSAGES {
            for field in fields.split(',') {
                let words: Vec<&str> = field.split_whitespace().collect();
                assert_eq!(words.len(), 3, "{name}: {field}");
                let kind = words[2].trim_start_matches(['[', ']', '{', '}', '*', '^']);
                let known = kind.len() == 1 || MESSAGES.iter().any(|(known, _)| *known == kind);
                assert!(known, "{name}: {field}");
            }
        }
    }
}
