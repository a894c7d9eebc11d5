#![allow(
    clippy::unwrap_used,
    reason = "a failure here is the failure of the test"
)]

use super::{Segment::*, *};
use jsonpath_rust::{JsonPath, parser::parse_json_path};
use proptest::prelude::*;
use serde_json::{Value, json};

fn name(text: &str) -> Segment {
    Name(text.into())
}

#[test]
fn i1_every_spelling_means_the_same_steps() {
    let check = |text: &str, expected: &[Segment]| {
        let path = Path::parse(text).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(path.segments(), Some(expected), "{text}");
        assert_eq!(path.to_string(), text);
    };
    let ab = [name("a"), name("b")];
    for text in [
        "a.b",
        ".a.b",
        "$.a.b",
        "{.a.b}",
        "{$.a.b}",
        "{a.b}",
        "$['a']['b']",
        "['a'][\"b\"]",
        ".['a'].b",
        "a['b']",
        " a.b ",
        "{ .a.b }",
        "$ .a [ 'b' ]",
        r#"$["\u0061"].b"#,
    ] {
        check(text, &ab);
    }
    check("$", &[]);
    check("{$}", &[]);
    let label = [
        name("metadata"),
        name("labels"),
        name("kubernetes.io/service-name"),
    ];
    for text in [
        r"metadata.labels.kubernetes\.io/service-name",
        "metadata.labels['kubernetes.io/service-name']",
        r"metadata.labels['kubernetes\.io/service-name']",
        r"{.metadata.labels.kubernetes\.io/service-name}",
        r#"$.metadata.labels["kubernetes.io/service-name"]"#,
    ] {
        check(text, &label);
    }
    check(
        "spec.rules[*].host",
        &[name("spec"), name("rules"), Wildcard, name("host")],
    );
    check("$.*[*].*", &[Wildcard, Wildcard, Wildcard]);
    check("*", &[Wildcard]);
    check("a[0][-1]", &[name("a"), Index(0), Index(-1)]);
    check(
        "a[9007199254740991]",
        &[name("a"), Index(9_007_199_254_740_991)],
    );
    check("data.tls-1/x_y", &[name("data"), name("tls-1/x_y")]);
    check("data.1password", &[name("data"), name("1password")]);
    check("data['{{x}}']", &[name("data"), name("{{x}}")]);
    check(
        r#"größe['"\'\\\/\n\ud83d\ude00']"#,
        &[name("größe"), name("\"'\\/\n😀")],
    );
    check("['']", &[name("")]);
}

#[test]
fn i2_faults_are_named_with_their_place() {
    use PathErrorKind as K;
    let check = |text: &str, position: usize, kind: PathErrorKind| {
        let input = text.to_owned();
        assert_eq!(
            Path::parse(text),
            Err(PathError {
                input,
                position,
                kind
            }),
            "{text}"
        );
    };
    check("", 0, K::Empty);
    check("  ", 2, K::Empty);
    check("{}", 1, K::Empty);
    check(".", 1, K::ExpectedName);
    check("a.", 2, K::ExpectedName);
    check("a.b..", 5, K::ExpectedName);
    check("a. b", 2, K::ExpectedName);
    check("a b", 2, K::ExpectedSegment('b'));
    check("$a", 1, K::ExpectedSegment('a'));
    check("['a']b", 5, K::ExpectedSegment('b'));
    check("{range .items[*]}{.metadata.name}{end}", 1, K::Template);
    check("{range .items[*]}", 1, K::Template);
    check("{end}", 1, K::Template);
    check("{.a}{.b}", 3, K::Template);
    check("name: {.a}", 6, K::Template);
    check("{{ .a }}", 0, K::GoTemplate);
    check("a:b", 1, K::BareNameCharacter(':'));
    check("a,b", 1, K::BareNameCharacter(','));
    check("@.a", 0, K::BareNameCharacter('@'));
    check("a.0", 2, K::BareDigits("0".into()));
    check("a['b", 2, K::UnterminatedString);
    check("a[?@.b=='c]", 8, K::UnterminatedString);
    check(r"a\b", 1, K::InvalidEscape);
    check(r"a['\x']", 3, K::InvalidEscape);
    check(r"a['\ud800']", 3, K::InvalidEscape);
    check(r"a['\u+123']", 3, K::InvalidEscape);
    check("a['\t']", 3, K::ControlCharacter);
    check("a[", 1, K::UnclosedBracket);
    check("a[0", 1, K::UnclosedBracket);
    check("a['b'", 1, K::UnclosedBracket);
    check("a['b' 'c']", 6, K::UnclosedBracket);
    check("a[?@.b", 1, K::UnclosedBracket);
    check("a[]", 2, K::EmptyBrackets);
    check("a[b.c/d]", 2, K::UnquotedName("b.c/d".into()));
    check("a[01]", 2, K::InvalidIndex("01".into()));
    check("a[-0]", 2, K::InvalidIndex("-0".into()));
    check("a[+1]", 2, K::InvalidIndex("+1".into()));
    check(
        "a[9007199254740992]",
        2,
        K::InvalidIndex("9007199254740992".into()),
    );
    check(
        "a[-9223372036854775808]",
        2,
        K::InvalidIndex("-9223372036854775808".into()),
    );
    check("a['b',]", 6, K::InvalidIndex(String::new()));
    check(&".a".repeat(65), 128, K::TooManySegments);
}

#[test]
fn i1_a_path_that_is_too_long_is_quoted_as_far_as_it_may_be_long() {
    let check = |text: &str, quoted: usize| {
        let error = Path::parse(text).unwrap_err();
        assert_eq!(error.kind, PathErrorKind::TooLong);
        assert_eq!(
            (error.input.as_str(), error.position),
            (&text[..quoted], quoted)
        );
        assert!(error.to_string().len() < 2 * MAX_PATH_BYTES);
    };
    check(&"a".repeat(1025), 1024);
    check(&"a".repeat(1 << 20), 1024);
    check(&format!("a{}", "ö".repeat(512)), 1023);
}

#[test]
fn costly_queries_are_refused() {
    let check = |text: &str, part: &str| {
        let error = Path::parse(text).unwrap_err();
        assert!(
            matches!(error.kind, PathErrorKind::TooCostly(_)),
            "{text}: {error}"
        );
        assert!(error.to_string().contains(part), "{error}");
    };
    check("$..a..b..c", "at most twice");
    check("$..a[?@..b && @..c]", "at most twice");
    check(&format!("${}", "['a','b']".repeat(7)), "64 at most");
    check("a[?$.b[*]]", "behind $");
    check("a[?count($..b) > 1]", "behind $");
    check("a[?match(@.b, @.c)]", "regular expression");
    check("a[?search(@.b, 'x{1000}')]", "regular expression");
}

#[test]
fn i1_functions_in_functions_are_refused_before_the_parser_doubles_its_work_for_each() {
    let nested = |depth: usize, open: &str, inner: &str, close: &str| {
        format!("$[?{}{inner}{}]", open.repeat(depth), close.repeat(depth))
    };
    // Each of these would take longer than anybody waits.
    for (open, inner, close) in [
        ("length((", "@.a", "))"),
        ("length (\n(", "@.a", "))"),
        ("length(", "#", ")"),
        ("@[?value(", "#", ")]"),
        ("match(@[?count(", "#", ")],'x')"),
    ] {
        let text = nested(1000 / (open.len() + close.len()), open, inner, close);
        let error = Path::parse(&text).unwrap_err();
        assert!(matches!(error.kind, PathErrorKind::TooCostly(_)), "{error}");
        assert!(error.to_string().contains("four deep"), "{error}");
    }
    assert!(Path::parse(&nested(4, "length((", "@.a", "))")).is_ok());
    assert!(Path::parse(&nested(15, "(", "length(@.a) > 1", ")")).is_ok());
    let many = vec!["length(@.b)==1"; 30].join(" || ");
    assert!(
        Path::parse(&format!("a[?{many}]")).is_ok(),
        "beside each other"
    );
}

#[test]
fn i1_errors_read_as_sentences_with_a_column() {
    let text = |path| Path::parse(path).unwrap_err().to_string();
    assert_eq!(
        text("größe[x]"),
        r#"in path "größe[x]", column 7: quote the name: ['x']"#
    );
    assert!(text("a[?b]").contains("not valid JSONPath (RFC 9535)"));
    assert!(text("{range .items[*]}{end}").contains("write items[*].name"));
    assert!(text("a[?in(@.b, @.c)]").contains("there is no function in"));
}

#[test]
fn paths_compare_by_meaning_and_read_from_configuration() {
    let parse = |text: &str| Path::parse(text).unwrap();
    assert_eq!(parse("a[?@.b==1]"), parse("$['a'][?@.b==1]"));
    assert_ne!(parse("a[?@.b==1]"), parse("a[?@.b==2]"));
    assert_ne!(parse("a"), parse("a[0]"));
    let read: Vec<Path> = serde_json::from_str(r#"["{.a}", "b"]"#).unwrap();
    assert_eq!(read, [parse("a"), parse("b")]);
    assert_eq!(serde_json::to_string(&read).unwrap(), r#"["{.a}","b"]"#);
    let refused = serde_json::from_str::<Path>(r#""a[b]""#).unwrap_err();
    assert!(refused.to_string().contains("['b']"));
}

#[test]
fn only_names_and_indices_are_singular() {
    let singular = |text| Path::parse(text).unwrap().is_singular();
    assert!(singular("$") && singular("a['b'][0][-1]"));
    assert!(!singular("a[*]") && !singular("$..a") && !singular("a[0:1]"));
}

fn check(path: &str, json: &str, expected: &[&str]) {
    assert_eq!(
        Path::parse(path).unwrap().extract(json).unwrap(),
        expected,
        "{path} in {json}"
    );
}

#[test]
fn values_are_extracted_as_they_are_written() {
    let json = r#"{"a": {"b": [1.0, "x\u0041", null], "c.d": true}, "e": {}}"#;
    check("a.b[0]", json, &["1.0"]);
    check("a.b[-1]", json, &["null"]);
    check("a.b[3]", json, &[]);
    check("a.b[-4]", json, &[]);
    check("a.b[*]", json, &["1.0", r#""x\u0041""#, "null"]);
    check(r"a.c\.d", json, &["true"]);
    check("a.*", json, &[r#"[1.0, "x\u0041", null]"#, "true"]);
    check("e", json, &["{}"]);
    check("e.f", json, &[]);
    check("a[0]", json, &[]);
    check("a.b.c", json, &[]);
    check("$", "5", &["5"]);
    check("$", " [ ] ", &["[ ]"]);
    check("a[-1]", r#"{"a":[]}"#, &[]);
    check("a", r#"{"\u0061":1}"#, &["1"]);
}

#[test]
fn queries_yield_the_text_of_each_match_once_in_document_order() {
    let json = r#"{"b": [{"t": "x", "v": 1.0}, {"t": "y"}, {"t": "x"}], "a": {"v": 2}}"#;
    check("$..v", json, &["1.0", "2"]);
    check("b[?@.t=='x'].v", json, &["1.0"]);
    check("{.b[?(@.t==\"y\")]}", json, &[r#"{"t": "y"}"#]);
    check("b[1:].t", json, &[r#""y""#, r#""x""#]);
    check("b[::-1].t", json, &[r#""x""#, r#""y""#, r#""x""#]);
    check("b[2,0,0].t", json, &[r#""x""#, r#""x""#]);
    check("$['a','b'][0].v", json, &["1.0"]);
    check(r"a\.b..c", r#"{"a.b":{"c":1}}"#, &["1"]);
    check("$..*", r#"{"a":[1]}"#, &["[1]", "1"]);
    check("b[?match(@.t, 'x|z')].v", json, &["1.0"]);
}

#[test]
fn the_last_of_members_with_the_same_name_counts() {
    check("a.b", r#"{"a":{"b":1,"b":2}}"#, &["2"]);
    check("a.b", r#"{"a":{"b":1},"a":{}}"#, &[]);
    check("a[*].b", r#"{"a":[{"b":1,"b":2},{"b":3}]}"#, &["2", "3"]);
    check("a[*]", r#"{"a":[1,2],"\u0061":[3]}"#, &["3"]);
    let many = format!("{{{}}}", vec!["\"a\":0"; 100].join(","));
    let error = Path::parse("a").unwrap().extract(&many).unwrap_err();
    assert!(error.to_string().contains("many members of the same name"));
}

#[test]
fn a_query_on_an_object_of_too_many_or_too_deep_values_is_an_error() {
    let path = Path::parse("$..x").unwrap();
    let wide = format!("{{\"{}\":[{}0]}}", "k".repeat(100_000), "0,".repeat(1000));
    assert_eq!(
        path.extract(&wide),
        Err(ExtractError::Query(QueryError::TooLarge))
    );
    let huge_number = path.extract(r#"{"x":1e999}"#).unwrap_err();
    assert!(matches!(
        huge_number,
        ExtractError::Query(QueryError::Tree(_))
    ));
    assert!(matches!(
        path.extract("{"),
        Err(ExtractError::Query(QueryError::Tree(_)))
    ));
    let plain = Path::parse("x").unwrap().extract("{").unwrap_err();
    assert!(matches!(plain, ExtractError::Syntax(_)));
}

#[test]
fn a_costly_query_is_refused_on_objects_that_a_simple_one_is_evaluated_on() {
    let element = r#"{"a":{"b":[1,2,3]},"name":"x"}"#;
    let json = format!("{{\"list\":[{}]}}", vec![element; 400].join(","));
    let outcome = |path: &str| {
        Path::parse(path)
            .unwrap()
            .extract(&json)
            .map(|found| found.len())
    };
    for (path, matches) in [("$..b", 400), ("list[?@.a.b].name", 400), ("$..a..b", 400)] {
        assert_eq!(outcome(path), Ok(matches), "{path}");
    }
    for path in [
        // Each looks at every value thousands of times.
        "$..[*,*,*,*,*,*,*,*]..[*,*,*,*,*,*,*,*]",
        "$..[?match(@.name,'x')||match(@.name,'x')||match(@.name,'x')||match(@.name,'x')]..a",
    ] {
        let refused = Err(ExtractError::Query(QueryError::TooLarge));
        assert_eq!(outcome(path), refused, "{path}");
    }
}

#[test]
fn brackets_in_a_filter_may_stand_inside_each_other_so_deep_and_no_deeper() {
    let nested = |depth: usize| format!("a[?{}@.b{}]", "(".repeat(depth), ")".repeat(depth));
    assert!(Path::parse(&nested(16)).is_ok());
    for depth in [17, 500] {
        let error = Path::parse(&nested(depth)).unwrap_err();
        assert!(matches!(error.kind, PathErrorKind::TooCostly(_)), "{error}");
    }
}

#[test]
fn invariant_7_many_paths_that_match_all_of_a_long_list_are_an_error() {
    let json = format!("{{\"a\":[{}0]}}", "0,".repeat(1_999));
    let matches = |paths: usize| {
        let path = Path::parse("a[*]").unwrap();
        let mut extractor = Extractor::new(&vec![path; paths]);
        let mut out = Vec::new();
        extractor.extract(&json, &mut out).map(|()| out.len())
    };
    assert_eq!(matches(131), Ok(262_000));
    let error = matches(132).unwrap_err().to_string();
    assert!(
        error.contains("the paths match more than 262,144 values"),
        "{error}"
    );
    let descendants = Path::parse("$..*").unwrap();
    let mut extractor = Extractor::new(&vec![descendants; 256]);
    let refused = extractor.extract(&json, &mut Vec::new());
    assert_eq!(refused, Err(ExtractError::Query(QueryError::TooLarge)));
}

#[test]
fn whoever_has_no_time_is_not_kept_waiting() {
    use std::cell::Cell;
    let queries = ["$..a", "$..b", "$..c"].map(|text| Path::parse(text).unwrap());
    for times in 0..3 {
        let left = Cell::new(times);
        let has_time = || left.replace(left.get() - 1) > 0;
        let outcome = Extractor::new(&queries).extract_each("{}", |_| {}, &has_time);
        assert_eq!(outcome, Err(ExtractError::Query(QueryError::OutOfTime)));
    }
}

#[test]
fn an_extractor_reports_which_path_matched_and_keeps_nothing_between_texts() {
    let paths = ["a", "b[*]", "a", "$..c"].map(|text| Path::parse(text).unwrap());
    let mut extractor = Extractor::new(&paths);
    let mut check = |json, expected: &[(usize, &str)]| {
        let mut out = Vec::new();
        extractor.extract(json, &mut out).unwrap();
        let pairs: Vec<_> = out.iter().map(|found| (found.path, found.json)).collect();
        assert_eq!(pairs, expected);
    };
    check(
        r#"{"b":[1,2],"a":{"c":3}}"#,
        &[
            (1, "1"),
            (1, "2"),
            (0, r#"{"c":3}"#),
            (2, r#"{"c":3}"#),
            (3, "3"),
        ],
    );
    check("{}", &[]);
    check(r#"{"a":1}"#, &[(0, "1"), (2, "1")]);
    assert!(extractor.extract("{", &mut Vec::new()).is_err());
    let mut out = Vec::new();
    extractor.extract(r#"{"b":[4]}"#, &mut out).unwrap();
    assert_eq!(out, [Match { path: 1, json: "4" }]);
}

fn tree() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..3_i64).prop_map(Value::from),
        "[ab.']{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec(
                (proptest::sample::select(vec!["a", "b", "c.d", "'"]), inner),
                0..4
            )
            .prop_map(|members| members.into_iter().collect()),
        ]
    })
}

fn rfc_path() -> impl Strategy<Value = String> {
    let step = proptest::sample::select(vec![
        ".a",
        ".b",
        "['a']",
        "[\"c.d\"]",
        "['\\'']",
        "[0]",
        "[1]",
        "[-1]",
        "[-2]",
        ".*",
        "[*]",
        "['a','b']",
        "[0,1]",
        "[0,-1]",
        "[1:]",
        "[:2]",
        "[::-1]",
        "[::2]",
        "[?@.a]",
        "[?@.a==1]",
        "[?@.b=='a' || @[0]<2]",
        "[?!@.a]",
        "[?length(@)>1]",
        "[?count(@.*)==1]",
        "..a",
        "..*",
        "..[0]",
        " .a",
        " [ 'b' ]",
        "[?@>$.a]",
    ]);
    proptest::collection::vec(step, 0..4).prop_map(|steps| format!("${}", steps.concat()))
}

/// The distinct values that the library finds, as JSON texts.
fn by_library(path: &str, tree: &Value) -> Vec<String> {
    let mut found: Vec<&Value> = tree.query(path).unwrap();
    let mut seen = std::collections::HashSet::new();
    found.retain(|value| seen.insert(std::ptr::from_ref::<Value>(value)));
    found.iter().map(|value| value.to_string()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn i1_rfc_paths_match_what_jsonpath_rust_matches(path in rfc_path(), tree in tree()) {
        let ours = match Path::parse(&path) {
            Err(PathError { kind: PathErrorKind::TooCostly(_), .. }) => return Ok(()),
            parsed => parsed.unwrap(),
        };
        let text = tree.to_string();
        let mut found: Vec<String> =
            ours.extract(&text).unwrap().into_iter().map(str::to_owned).collect();
        let mut expected = by_library(&path, &tree);
        if ours.segments().is_none() {
            // A slice with a negative step reverses, a union reorders.
            found.sort();
            expected.sort();
        }
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn i1_what_jsonpath_rust_accepts_is_accepted_and_means_the_same(
        path in "\\$([.\\[\\]'\"*ab0-2:,?@=\\\\ -]|\\.a|\\['b'\\]|\\[0\\]){0,8}",
        tree in tree(),
    ) {
        if parse_json_path(&path).is_err() {
            return Ok(());
        }
        let ours = match Path::parse(&path) {
            Err(PathError { kind: PathErrorKind::TooCostly(_), .. }) => return Ok(()),
            // The library takes `$.a 0` for a name with a blank; RFC 9535 has no such names.
            Err(PathError { kind: PathErrorKind::ExpectedSegment(_), position, .. })
                if path[..position].ends_with(' ') =>
            {
                return Ok(());
            }
            parsed => parsed.unwrap(),
        };
        let text = tree.to_string();
        let mut found: Vec<String> =
            ours.extract(&text).unwrap().into_iter().map(str::to_owned).collect();
        let mut expected = by_library(&path, &tree);
        found.sort();
        expected.sort();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "([{}.\\[\\]'\"*a0:?@()$,\\\\ -]|\\PC){0,20}", tree in tree()) {
        if let Ok(path) = Path::parse(&text) {
            path.extract(&tree.to_string()).unwrap();
        }
    }

    #[test]
    fn no_text_makes_the_extractor_panic(text in "[{}\\[\\]:,\"\\\\a0 tn-]{0,30}") {
        for path in ["a", "a[*].a", "$..a", "a[-1]"] {
            let accepted = Path::parse(path).unwrap().extract(&text).is_ok();
            if accepted {
                prop_assert!(serde_json::from_str::<Value>(&text).is_ok());
            }
        }
    }
}

#[test]
fn a_name_of_any_characters_is_found_in_a_query_too() {
    for key in ["'", "\\", "\"", "\u{1}", "a.b", "ä", "😀", " "] {
        let json = json!({ "x": { key: 7 } }).to_string();
        let quoted = serde_json::to_string(key).unwrap();
        check(&format!("x[{quoted}]"), &json, &["7"]);
        check(&format!("$..[{quoted}]"), &json, &["7"]);
    }
}
