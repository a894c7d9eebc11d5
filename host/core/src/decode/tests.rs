#![allow(
    clippy::unwrap_used,
    reason = "a failure here is the failure of the test"
)]

#[path = "../../fuzz/src/filtered.rs"]
mod reference;

use super::*;
use crate::key;
use proptest::prelude::*;
use serde_json::{Map, Value};

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

fn paths(texts: &[&str]) -> Vec<Path> {
    texts.iter().map(|text| path(text)).collect()
}

fn pod() -> ProjectionSpec {
    ProjectionSpec {
        api_version: "v1".into(),
        kind: "Pod".into(),
        ..ProjectionSpec::default()
    }
}

fn decoder(spec: ProjectionSpec) -> Decoder {
    Decoder::new(Arc::new(Projection::new(spec)))
}

fn decode(spec: ProjectionSpec, json: &str) -> Decoded {
    decoder(spec)
        .decode(json.as_bytes())
        .unwrap_or_else(|error| panic!("{error}: {json}"))
}

fn body(spec: ProjectionSpec, json: &str) -> String {
    decode(spec, json)
        .object
        .body()
        .unwrap()
        .as_str()
        .to_owned()
}

#[test]
fn an_object_carries_its_identity_versions_and_compact_body() {
    let json = r#"{ "kind": "Pod", "spec": {"a": [1, 2]},
        "metadata": {"name": "web", "namespace": "shop", "uid": "u-1", "resourceVersion": "42"},
        "apiVersion": "v1" }"#;
    let object = decode(pod(), json).object;
    assert_eq!(object.identity(), &Identity::new("shop", "web").unwrap());
    assert_eq!((object.uid(), object.resource_version()), ("u-1", "42"));
    assert_eq!(
        object.body().unwrap().as_str(),
        r#"{"apiVersion":"v1","kind":"Pod","spec":{"a":[1,2]},"metadata":{"name":"web","namespace":"shop","uid":"u-1","resourceVersion":"42"}}"#
    );
}

#[test]
fn list_items_and_watch_events_of_one_object_have_equal_bodies() {
    let rest = r#""metadata":{"name":"a"},"data":{}}"#;
    let expected = format!(r#"{{"apiVersion":"v1","kind":"Pod",{rest}"#);
    assert_eq!(body(pod(), &format!("{{{rest}")), expected);
    assert_eq!(
        body(
            pod(),
            &format!(r#"{{"kind":"Pod","apiVersion":"v1",{rest}"#)
        ),
        expected
    );
    assert_eq!(
        body(pod(), &format!(r#"{{"kind":"","apiVersion":null,{rest}"#)),
        expected
    );
}

#[test]
fn an_object_keeps_the_version_and_kind_that_it_names() {
    let json = r#"{"metadata":{"name":"a","resourceVersion":"1"},"kind":"PodThing"}"#;
    let first = decode(pod(), json).object;
    assert_eq!(
        first.body().unwrap().as_str(),
        r#"{"apiVersion":"v1","kind":"PodThing","metadata":{"name":"a","resourceVersion":"1"}}"#
    );
    let second = decode(pod(), &json.replace("\"1\"", "\"2\"")).object;
    assert!(
        first.same_content(&second),
        "the span of the resourceVersion moved along"
    );
}

#[test]
fn i8_only_the_resource_version_may_differ_in_the_same_content() {
    let json =
        r#"{"kind":"Pod","metadata":{"name":"a","resourceVersion":"9","uid":"u"},"spec":{"x":1}}"#;
    let first = decode(pod(), json).object;
    let same = |json: &str| first.same_content(&decode(pod(), json).object);
    assert!(same(&json.replace("\"9\"", "\"10\"")));
    assert!(!same(&json.replace("\"x\":1", "\"x\":2")));
    assert!(!same(&json.replace("\"u\"", "\"v\"")));
    let ignoring = || ProjectionSpec {
        ignore: paths(&["metadata.resourceVersion"]),
        ..pod()
    };
    let (a, b) = (
        decode(ignoring(), json),
        decode(ignoring(), &json.replace("\"9\"", "\"10\"")),
    );
    assert_eq!(a.object.resource_version(), "9");
    assert!(a.object.same_content(&b.object));
}

#[test]
fn i7_ignored_fields_are_not_stored() {
    let json = r#"{"metadata":{"name":"a","managedFields":[{"x":1}],"labels":{"a.b/c":"1","d":"2"}},"spec":{"c":[{"n":1,"e":2},{"n":3}],"z":0}}"#;
    let check = |ignore: &[&str], expected: &str| {
        let spec = ProjectionSpec {
            ignore: paths(ignore),
            ..pod()
        };
        let expected = format!(r#"{{"apiVersion":"v1","kind":"Pod"{expected}}}"#);
        assert_eq!(body(spec, json), expected, "{ignore:?}");
    };
    check(
        &["metadata.managedFields", "spec", "absent.path"],
        r#","metadata":{"name":"a","labels":{"a.b/c":"1","d":"2"}}"#,
    );
    check(
        &[
            "metadata.managedFields",
            "metadata.labels['a.b/c']",
            "spec.c[*].n",
            "spec.z",
        ],
        r#","metadata":{"name":"a","labels":{"d":"2"}},"spec":{"c":[{"e":2},{}]}"#,
    );
    check(
        &["metadata", "spec.c[0]"],
        r#","spec":{"c":[{"n":3}],"z":0}"#,
    );
    check(
        &["metadata", "spec.c[-1]", "spec.c[0].e"],
        r#","spec":{"c":[{"n":1}],"z":0}"#,
    );
    check(
        &["metadata", "spec.c[?@.n==3]"],
        r#","spec":{"c":[{"n":1,"e":2}],"z":0}"#,
    );
    check(&["metadata", "$..n"], r#","spec":{"c":[{"e":2},{}],"z":0}"#);
    check(&["*"], "");
    check(&["$"], "");
}

#[test]
fn i7_with_keep_only_what_is_named_and_the_identity_is_stored() {
    let json = r#"{"metadata":{"labels":{"l":"1"},"name":"a","namespace":"n","resourceVersion":"1","uid":"u"},"spec":{"c":[{"n":1,"e":2},{"e":3},4],"z":0},"status":{}}"#;
    let identity = r#","metadata":{"name":"a","namespace":"n","resourceVersion":"1","uid":"u"}"#;
    let check = |keep: &[&str], ignore: &[&str], expected: &str| {
        let spec = ProjectionSpec {
            keep: paths(keep),
            ignore: paths(ignore),
            ..pod()
        };
        let expected = format!(r#"{{"apiVersion":"v1","kind":"Pod"{identity}{expected}}}"#);
        assert_eq!(body(spec, json), expected, "{keep:?} {ignore:?}");
    };
    check(&["absent"], &[], "");
    check(&["spec.c[*].n"], &[], r#","spec":{"c":[{"n":1},{}]}"#);
    check(&["spec.c[1]"], &[], r#","spec":{"c":[{"e":3}]}"#);
    check(&["spec.c[-1]"], &[], r#","spec":{"c":[4]}"#);
    check(
        &["spec", "status"],
        &["spec.c"],
        r#","spec":{"z":0},"status":{}"#,
    );
    check(&["spec.z.deeper"], &[], r#","spec":{}"#);
    check(&["spec[0]", "status[*]"], &[], r#","status":{}"#);
    check(&["spec.c[?@.e==3]"], &[], r#","spec":{"c":[{"e":3}]}"#);
    let all = ProjectionSpec {
        keep: paths(&["$"]),
        ..pod()
    };
    assert_eq!(body(all, json), body(pod(), json));
    let no_name = ProjectionSpec {
        keep: paths(&["status"]),
        ignore: paths(&["metadata"]),
        ..pod()
    };
    assert_eq!(
        body(no_name, json),
        r#"{"apiVersion":"v1","kind":"Pod","status":{}}"#
    );
}

/// The keys in the first index.
fn keys_in(object: &Object) -> Vec<EncodedKeyText> {
    object.keys(0).iter().map(Box::from).collect()
}

fn keys_of(index: IndexPaths, json: &str) -> (Vec<EncodedKeyText>, bool) {
    let decoded = decode(
        ProjectionSpec {
            indexes: vec![index],
            ..pod()
        },
        json,
    );
    (keys_in(&decoded.object), decoded.missing_keys)
}

type EncodedKeyText = crate::object::EncodedKey;

fn check_keys(texts: &[&str], missing_key: MissingKey, expected: &[&[&str]]) {
    let json = r#"{"metadata":{"name":"a","namespace":"n","labels":{"k":"x\u0041"}},
        "i":-5,"f":1.50,"big":123456789012345678901234567890,"t":true,"n":null,"o":{},"l":[],
        "many":["b","a","b",null,{}],"rules":[{"host":"h2"},{"host":"h1"},{}]}"#;
    let index = IndexPaths {
        paths: paths(texts),
        missing_key,
    };
    let expected_keys: Vec<_> = expected
        .iter()
        .map(|key| key::encode(key.iter().copied()))
        .collect();
    let missing = expected.is_empty() && !texts.is_empty();
    assert_eq!(keys_of(index, json), (expected_keys, missing), "{texts:?}");
}

#[test]
fn i4_key_values_are_strings_numbers_and_booleans_as_they_are() {
    let check = |text: &str, expected: &[&[&str]]| check_keys(&[text], MissingKey::Skip, expected);
    check("metadata.labels.k", &[&["xA"]]);
    check("i", &[&["-5"]]);
    check("f", &[&["1.50"]]);
    check("big", &[&["123456789012345678901234567890"]]);
    check("t", &[&["true"]]);
    check("n", &[]);
    check("o", &[]);
    check("l", &[]);
    check("absent", &[]);
    check("many[*]", &[&["a"], &["b"]]);
    check("rules[?@.host].host", &[&["h1"], &["h2"]]);
    check("kind", &[]);
}

#[test]
fn i4_i5_composite_keys_are_all_combinations_in_the_order_of_the_paths() {
    let skip = MissingKey::Skip;
    check_keys(
        &["metadata.namespace", "metadata.name"],
        skip,
        &[&["n", "a"]],
    );
    check_keys(
        &["metadata.name", "metadata.namespace"],
        skip,
        &[&["a", "n"]],
    );
    check_keys(
        &["rules[*].host", "many[*]"],
        skip,
        &[&["h1", "a"], &["h1", "b"], &["h2", "a"], &["h2", "b"]],
    );
    check_keys(&["metadata.name", "absent"], skip, &[]);
    check_keys(
        &["metadata.name", "absent"],
        MissingKey::Empty,
        &[&["a", ""]],
    );
    check_keys(&["n", "absent"], MissingKey::Empty, &[&["", ""]]);
    check_keys(&[], skip, &[]);
}

#[test]
fn i3_keys_are_taken_before_fields_are_dropped() {
    let spec = ProjectionSpec {
        ignore: paths(&["spec"]),
        indexes: vec![IndexPaths {
            paths: paths(&["spec.x"]),
            ..IndexPaths::default()
        }],
        select: vec![FieldRequirement {
            path: path("spec.y"),
            negated: false,
            value: "2".into(),
        }],
        ..pod()
    };
    let decoded = decode(spec, r#"{"metadata":{"name":"a"},"spec":{"x":"1","y":2}}"#);
    assert_eq!(keys_in(&decoded.object), [key::encode(["1"])]);
    assert!(decoded.matches && !decoded.missing_keys);
    assert!(!decoded.object.body().unwrap().as_str().contains("spec"));
}

#[test]
fn i3_only_paths_beyond_names_and_indices_need_a_tree() {
    // No tree holds such a number.
    let json = r#"{"metadata":{"name":"a"},"huge":1e999,"l":[{"k":"v"}]}"#;
    let decode = |path: &str| {
        let indexes = vec![IndexPaths {
            paths: paths(&[path]),
            ..IndexPaths::default()
        }];
        decoder(ProjectionSpec { indexes, ..pod() }).decode(json.as_bytes())
    };
    for path in ["l[0].k", "l[-1].k", "l[*].k", "*[0].k"] {
        assert_eq!(keys_in(&decode(path).unwrap().object), [key::encode(["v"])]);
    }
    for path in ["l[0:].k", "$..k", "l[?@.k].k", "l[0,1].k"] {
        let error = decode(path).unwrap_err();
        assert!(matches!(error.kind, DecodeErrorKind::Query(_)), "{path}");
    }
}

#[test]
fn i7_what_is_filtered_is_never_materialised() {
    // Below what a decoder keeps of its working memory, so that it can be looked at.
    let filler = "x".repeat(KEPT_CAPACITY / 2);
    let json = format!(
        r#"{{"metadata":{{"name":"a","managedFields":["{filler}"]}},"data":{{"y":"{filler}"}}}}"#
    );
    let check = |spec: ProjectionSpec| {
        let mut decoder = decoder(spec);
        let object = decoder.decode(json.as_bytes()).unwrap().object;
        assert!(
            object.body().unwrap().as_str().len() < 200,
            "{:?}",
            object.body()
        );
        assert!(decoder.scratch.out.capacity() < 1000);
    };
    check(ProjectionSpec {
        ignore: paths(&["metadata.managedFields", "data.*"]),
        ..pod()
    });
    check(ProjectionSpec {
        keep: paths(&["metadata.labels"]),
        ..pod()
    });
}

#[test]
fn too_many_keys_are_an_error_that_names_the_index() {
    let check = |json: &str, texts: &[&str]| {
        let indexes = vec![
            IndexPaths::default(),
            IndexPaths {
                paths: paths(texts),
                ..IndexPaths::default()
            },
        ];
        let error = decoder(ProjectionSpec { indexes, ..pod() })
            .decode(json.as_bytes())
            .unwrap_err();
        assert_eq!(error.kind, DecodeErrorKind::TooManyKeys { index: 1 });
        assert_eq!(error.identity, Identity::new("", "a").ok());
    };
    let numbers = (0..100)
        .map(|n| n.to_string())
        .collect::<Vec<_>>()
        .join(",");
    let json = format!(r#"{{"metadata":{{"name":"a"}},"l":[{numbers}]}}"#);
    check(&json, &["l[*]", "l[*]"]);
    let long = format!(
        r#"{{"metadata":{{"name":"a"}},"x":"{}","l":[{numbers}]}}"#,
        "x".repeat(MAX_KEY_BYTES / 64)
    );
    check(&long, &["x", "l[*]"]);
    check(&long, &["l[*]", "x"]);
}

#[test]
fn field_requirements_decide_whether_an_object_matches() {
    let json =
        r#"{"metadata":{"name":"a"},"s":"x","e":"","i":5,"t":true,"n":null,"o":{},"l":["p","q"]}"#;
    let check = |text: &str, value: &str, expected: bool| {
        for negated in [false, true] {
            let term = FieldRequirement {
                path: path(text),
                negated,
                value: value.into(),
            };
            let matches = decode(
                ProjectionSpec {
                    select: vec![term],
                    ..pod()
                },
                json,
            )
            .matches;
            assert_eq!(matches, expected != negated, "{text} {value} {negated}");
        }
    };
    check("s", "x", true);
    check("s", "y", false);
    check("i", "5", true);
    check("t", "true", true);
    check("e", "", true);
    check("l[*]", "q", true);
    check("l[*]", "", false);
    for missing in ["absent", "n", "o", "l"] {
        check(missing, "", true);
        check(missing, "x", false);
    }
}

#[test]
fn what_is_wrong_with_an_object_is_said_with_its_name_and_place() {
    let check = |json: &[u8], identity: Option<&str>, offset: usize, text: &str| {
        let error = decoder(pod()).decode(json).unwrap_err();
        let name = identity.map(|name| Identity::new("n", name).unwrap());
        assert_eq!((&error.identity, error.offset), (&name, offset));
        assert_eq!(error.to_string(), text);
    };
    check(
        br#"{"metadata":{"namespace":"n","name":"a"},"spec":{"a":01}}"#,
        Some("a"),
        54,
        "object n/a: expected `,` or `}` at byte 54",
    );
    check(
        b"{\"spec\":\"\xff\",\"metadata\":{\"namespace\":\"n\",\"name\":\"a\"}}",
        Some("a"),
        9,
        "object n/a: invalid UTF-8 at byte 9",
    );
    check(
        b"{\"spec\":",
        None,
        8,
        "object of unknown name: the JSON text ends inside a value at byte 8",
    );
    check(
        b"[]",
        None,
        0,
        "object of unknown name: expected an object at byte 0",
    );
    check(
        b"{}",
        None,
        0,
        "object of unknown name: the object has no metadata.name",
    );
    check(
        br#"{"metadata":{"name":5}}"#,
        None,
        0,
        "object of unknown name: the object has no metadata.name",
    );
    check(
        br#"{"metadata":{"namespace":"n","name":"a"}} x"#,
        Some("a"),
        42,
        "object n/a: unexpected data after the value at byte 42",
    );
    let deep = format!(
        r#"{{"metadata":{{"namespace":"n","name":"a"}},"x":{}"#,
        "[".repeat(200)
    );
    check(
        deep.as_bytes(),
        Some("a"),
        171,
        "object n/a: nested deeper than 127 levels at byte 171",
    );
}

#[test]
fn a_decoder_goes_on_after_an_error() {
    let mut decoder = decoder(pod());
    assert!(
        decoder
            .decode(br#"{"metadata":{"name":"a"},"spec":["#)
            .is_err()
    );
    let next = decoder.decode(br#"{"metadata":{"name":"b"}}"#).unwrap();
    assert_eq!(
        next.object.body().unwrap().as_str(),
        r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"b"}}"#
    );
}

#[test]
fn an_identity_is_told_only_when_the_bytes_are_sure_of_it() {
    let check = |json: &str, expected: Option<(&str, &str, &str)>| {
        let expected = expected.map(|(namespace, name, version)| {
            (Identity::new(namespace, name).unwrap(), version.to_owned())
        });
        assert_eq!(identity_of(json.as_bytes()), expected, "{json}");
    };
    check(
        r#"{"metadata":{"name":"a","namespace":"n","resourceVersion":"3"}}"#,
        Some(("n", "a", "3")),
    );
    check(r#"{"metadata":{"name":"a"}}"#, Some(("", "a", "")));
    check(r#"{"metadata":{"name":"a"},"spec":"#, Some(("", "a", "")));
    check(
        r#"{"metadata":{"name":"a","namespace":"n","x":"#,
        Some(("n", "a", "")),
    );
    check(r#"{"metadata":{"name":"a","x":"#, None);
    check(r#"{"metadata":{"namespace":"n","name":"a"#, None);
    check(r#"{"spec":{}}"#, None);
    check(r#"{"metadata":{"name":""}}"#, None);
    check("", None);
}

#[test]
fn the_last_of_members_with_the_same_name_counts() {
    let json = r#"{"metadata":{"name":"a","namespace":"n"},"metadata":{"name":"b","name":"c"}}"#;
    assert_eq!(
        decode(pod(), json).object.identity(),
        &Identity::new("", "c").unwrap()
    );
}

fn tree() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        (-9..9_i64).prop_map(Value::from),
        any::<i16>().prop_map(|n| Value::from(f64::from(n) / 4.0)),
        "[a\"\\\\\n/é]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec(
                (proptest::sample::select(vec!["a", "b", "c\"d"]), inner),
                0..4
            )
            .prop_map(|members| members.into_iter().collect()),
        ]
    })
}

fn object() -> impl Strategy<Value = Value> {
    let members = proptest::collection::vec(
        (proptest::sample::select(vec!["a", "b", "spec"]), tree()),
        0..4,
    );
    (members, tree()).prop_map(|(members, extra)| {
        let mut object: Map<String, Value> = members.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
        let metadata = serde_json::json!({"name": "x", "namespace": "n", "uid": "u", "resourceVersion": "1", "a": extra});
        object.insert("metadata".into(), metadata);
        Value::Object(object)
    })
}

fn filter_path() -> impl Strategy<Value = String> {
    let step = proptest::sample::select(vec![
        ".a",
        ".b",
        "['c\"d']",
        ".spec",
        ".metadata",
        "[*]",
        ".*",
        "[0]",
        "[1]",
        "[-1]",
        "[-2]",
    ]);
    proptest::collection::vec(step, 0..5).prop_map(|steps| format!("${}", steps.concat()))
}

fn filter_paths() -> impl Strategy<Value = Vec<Path>> {
    proptest::collection::vec(filter_path().prop_map(|text| path(&text)), 0..4)
}

fn check_against_reference(object: &Value, text: &str, keep: &[Path], ignore: &[Path]) {
    let spec = ProjectionSpec {
        keep: keep.to_vec(),
        ignore: ignore.to_vec(),
        ..pod()
    };
    let found: Value = serde_json::from_str(&body(spec, text)).unwrap();
    let identity: Vec<_> = identity_paths()
        .skip(1)
        .map(|(_, segments)| segments)
        .collect();
    let mut keep_segments: Vec<&[Segment]> = keep.iter().map(|p| p.segments().unwrap()).collect();
    if !keep.is_empty() {
        keep_segments.extend(identity.iter().map(Vec::as_slice));
    }
    let ignore: Vec<&[Segment]> = ignore.iter().map(|p| p.segments().unwrap()).collect();
    let keep = (!keep.is_empty()).then_some(&keep_segments[..]);
    let mut expected =
        reference::filtered(object, keep, &ignore).unwrap_or(Value::Object(Map::new()));
    expected["apiVersion"] = "v1".into();
    expected["kind"] = "Pod".into();
    assert_eq!(found, expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn without_filters_the_body_is_the_compact_print_behind_version_and_kind(object in object(), pretty: bool) {
        let text = if pretty { format!("{object:#}") } else { object.to_string() };
        let compact = object.to_string();
        let expected = format!(r#"{{"apiVersion":"v1","kind":"Pod",{}"#, compact.strip_prefix('{').unwrap());
        prop_assert_eq!(body(pod(), &text), expected);
    }

    #[test]
    fn i7_filters_mean_what_the_reference_says(
        object in object(), keep in filter_paths(), ignore in filter_paths(), pretty: bool,
    ) {
        let text = if pretty { format!("{object:#}") } else { object.to_string() };
        check_against_reference(&object, &text, &keep, &ignore);
    }

    #[test]
    fn i8_the_resource_version_span_of_a_filtered_body_is_its_resource_version(
        object in object(), keep in filter_paths(), ignore in filter_paths(),
    ) {
        let decode = |object: &Value| {
            let spec = ProjectionSpec { keep: keep.clone(), ignore: ignore.clone(), ..pod() };
            decode(spec, &object.to_string()).object
        };
        let mut newer = object.clone();
        newer["metadata"]["resourceVersion"] = "1000".into();
        prop_assert!(decode(&object).same_content(&decode(&newer)));
    }

    #[test]
    fn what_is_accepted_is_what_serde_json_accepts(
        object in object(), at: prop::sample::Index, byte in proptest::sample::select(b"{}[]\",:0 \\n".to_vec()),
        ignore in filter_paths(),
    ) {
        let mut text = object.to_string().into_bytes();
        let at = at.index(text.len());
        text[at] = byte;
        let tree = serde_json::from_slice::<Value>(&text);
        let named = tree.as_ref().is_ok_and(|tree| tree["metadata"]["name"].as_str().is_some_and(|name| !name.is_empty()));
        let spec = ProjectionSpec { ignore, ..pod() };
        let decoded = decoder(spec).decode(&text);
        prop_assert_eq!(decoded.is_ok(), named, "{:?}", decoded);
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(
        bytes in proptest::collection::vec(prop_oneof![
            proptest::sample::select(b"{}[]\":,\\ \nu0-tfn".to_vec()), any::<u8>(),
        ], 0..80),
        paths in filter_paths(),
    ) {
        let spec = ProjectionSpec {
            keep: paths.clone(),
            ignore: paths.clone(),
            indexes: vec![IndexPaths { paths, missing_key: MissingKey::Empty }],
            ..pod()
        };
        let _ = decoder(spec).decode(&bytes);
        let prefixed = [br#"{"metadata":{"name":"a"},"a":"#.as_slice(), &bytes].concat();
        let _ = decoder(pod()).decode(&prefixed);
        let _ = identity_of(&bytes);
        let _ = identity_of(&prefixed);
    }
}

/// Two states of a Secret, decoded as `content` says; whether they are the same.
fn same(content: Keep, one: (&str, &str), other: (&str, &str)) -> bool {
    let decode = |(version, data): (&str, &str)| {
        let spec = ProjectionSpec {
            ignore: paths(&["metadata.managedFields"]),
            content,
            ..pod()
        };
        let json = format!(
            r#"{{"metadata":{{"name":"a","uid":"u","resourceVersion":"{version}","managedFields":[{version}]}},"data":"{data}"}}"#
        );
        decode(spec, &json).object
    };
    let (one, other) = (decode(one), decode(other));
    assert_eq!(one.body().is_some(), content == Keep::Body);
    one.same_content(&other)
}

#[test]
fn s6_a_digest_tells_a_change_from_a_new_version_as_a_body_does_i8() {
    for content in [Keep::Body, Keep::Digest] {
        assert!(same(content, ("1", "x"), ("1", "x")));
        assert!(same(content, ("1", "x"), ("20", "x")));
        assert!(!same(content, ("1", "x"), ("1", "y")));
        assert!(!same(content, ("1", "x"), ("2", "y")));
    }
}

#[test]
fn s6_without_a_digest_every_new_version_is_a_change() {
    assert!(same(Keep::Version, ("1", "x"), ("1", "x")));
    assert!(!same(Keep::Version, ("1", "x"), ("2", "x")));
    // A server without versions: nothing says that it is the same.
    assert!(!same(Keep::Version, ("", "x"), ("", "x")));
}

#[test]
fn s6_an_object_without_a_body_is_no_larger_for_it() {
    let keys = Vec::new();
    let parts = |body| ObjectParts {
        identity: Identity::new("shop", "a").unwrap(),
        uid: "u",
        resource_version: "1",
        body,
        uid_span: None,
        resource_version_span: None,
        keys: keys.clone(),
    };
    let object = Object::keeping(Keep::Digest, parts("{}")).unwrap();
    assert_eq!(
        format!("{object:?}"),
        "Object { identity: Identity(shop/a), uid: \"u\", resource_version: \"1\", body: None, .. }"
    );
    let besides_names = size_of::<Object>() - size_of::<Identity>();
    assert!(besides_names <= 64, "{besides_names}");
}
