//! What is written twice: the derive macro of the SDK, which depends on nothing of the host, reads
//! paths and durations as the host does. These are the macro's own files.

use std::time::Duration;

use haptic_core::path::{Path, PathErrorKind, Segment};
use haptic_host::config::parse_duration;
use proptest::prelude::*;

#[path = "../../../guest-sdk/macros/src/duration.rs"]
mod duration;
#[path = "../../../guest-sdk/macros/src/path.rs"]
mod path;

/// A path to its end, one with steps that are no names, positions or wildcards, or none.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Read {
    Plain,
    Query,
    Refused,
}

fn steps(segments: &[Segment]) -> Vec<path::Step> {
    let step = |segment: &Segment| match segment {
        Segment::Name(name) => path::Step::Name(name.to_string()),
        Segment::Index(index) => path::Step::Index(*index),
        Segment::Wildcard => path::Step::Wildcard,
    };
    segments.iter().map(step).collect()
}

/// What the macro makes of a path, after checking that the host makes the same of it. Of what stands
/// inside of filters and slices, and of what a query may cost, only the host knows.
fn read(text: &str) -> Result<Read, String> {
    let (host, plugin) = (Path::parse(text), path::parse(text));
    let host_alone = matches!(
        &host,
        Err(error) if matches!(error.kind, PathErrorKind::Query(_))
            || matches!(error.kind, PathErrorKind::TooCostly(_)) && plugin.is_ok()
    );
    let read = match (&host, &plugin) {
        (Ok(host), Ok(plugin)) => match host.segments() {
            Some(segments) if plugin.is_plain && plugin.steps == steps(segments) => Read::Plain,
            None if !plugin.is_plain => Read::Query,
            _ => return Err(format!("{text:?}: {host:?} is not {plugin:?}")),
        },
        (Err(_), Ok(plugin)) if host_alone && !plugin.is_plain => Read::Query,
        (Err(_), Err(_)) => Read::Refused,
        _ => return Err(format!("{text:?}: {host:?} is not {plugin:?}")),
    };
    // What is kept for a path must be a path to the host, and lead to where that one leads.
    if let Ok(plugin) = plugin
        && let Some(kept) = plugin.to_keep()
    {
        let kept = Path::parse(&kept).map_err(|error| format!("{text:?}: {error}"))?;
        let kept = steps(kept.segments().unwrap_or_default());
        if kept.is_empty() || !plugin.steps.starts_with(&kept) {
            return Err(format!("{text:?} keeps {kept:?}"));
        }
    }
    Ok(read)
}

#[test]
fn i1_the_macro_and_the_host_accept_and_refuse_the_same_paths() {
    use Read::{Plain, Query, Refused};
    let long = "a".repeat(1025);
    let deep = ".a".repeat(65);
    let nested = format!("a[?{}@.b{}]", "length(".repeat(5), ")".repeat(5));
    for (text, expected) in [
        ("a.b", Plain),
        (".a.b", Plain),
        ("$.a.b", Plain),
        ("{.a.b}", Plain),
        (" { $ .a [ 'b' ] } ", Plain),
        ("$", Plain),
        ("*", Plain),
        ("$.*[*].*", Plain),
        ("a[0][-1]", Plain),
        ("a[9007199254740991]", Plain),
        (r"metadata.labels.kubernetes\.io/service-name", Plain),
        (r"metadata.labels['kubernetes\.io/service-name']", Plain),
        (r#"$["metadata"]["labels"]["a/b"]"#, Plain),
        (r#"größe['"\'\\\/\n\ud83d\ude00']"#, Plain),
        ("data.1password", Plain),
        ("data['{{x}}']", Plain),
        ("['']", Plain),
        ("$..a", Query),
        ("a..[0]", Query),
        ("a['b','c'].d", Query),
        ("a[0:2]", Query),
        ("a[?@.b == ']'].c", Query),
        ("a[?@.b=='x','y']", Query),
        // The host alone knows that these are wrong.
        ("a[?@.b ==]", Query),
        ("a[1:b]", Query),
        ("$..a..b..c", Query),
        ("", Refused),
        (" ", Refused),
        ("{}", Refused),
        (".", Refused),
        ("a.", Refused),
        ("a.b..", Refused),
        ("a. b", Refused),
        ("a b", Refused),
        ("$a", Refused),
        ("['a']b", Refused),
        ("{.a", Refused),
        ("{.a}{.b}", Refused),
        ("{range .items[*]}{.metadata.name}{end}", Refused),
        ("{range .items[*]}", Refused),
        ("{end}", Refused),
        ("name: {.a}", Refused),
        ("{{ .a }}", Refused),
        ("a:b", Refused),
        ("@.a", Refused),
        ("a.0", Refused),
        ("a['b", Refused),
        ("a[?@.b=='c]", Refused),
        (r"a\b", Refused),
        (r"a['\x']", Refused),
        (r"a['\ud800']", Refused),
        (r"a['\u+123']", Refused),
        ("a['\t']", Refused),
        ("a[", Refused),
        ("a[0", Refused),
        ("a['b'", Refused),
        ("a['b' 'c']", Refused),
        ("a[?@.b", Refused),
        ("a[]", Refused),
        ("a[b.c/d]", Refused),
        ("a[01]", Refused),
        ("a[-0]", Refused),
        ("a[+1]", Refused),
        ("a[9007199254740992]", Refused),
        ("a[-9223372036854775808]", Refused),
        ("a['b',]", Refused),
        (&long, Refused),
        (&deep, Refused),
        (&nested, Refused),
    ] {
        assert_eq!(read(text), Ok(expected), "{text}");
    }
}

/// Pieces of paths, in an order that is mostly wrong.
fn path_like() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        8 => proptest::sample::select(vec![
            ".", "..", "a", "b/c", "é", "*", "[", "]", "['", "']", "[\"", "\"]", "\\.", "\\", "\\u00e9", "\\n",
            "0", "-1", "01", ":", ",", "?", "@", "(", ")", "length(", "==", "'", "\"", " ", "\t", "{", "}", "{{",
            "$", "range ", "end",
        ]).prop_map(ToOwned::to_owned),
        1 => any::<char>().prop_map(String::from),
    ];
    proptest::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn i1_no_text_is_a_path_to_one_of_them_and_not_to_the_other(text in path_like()) {
        let read = read(&text);
        prop_assert!(read.is_ok(), "{}", read.unwrap_err());
    }

    #[test]
    fn k1_no_text_is_a_duration_to_one_of_them_and_not_to_the_other(text in "([0-9]{0,20}(ms|s|m|h|d|)){0,4}") {
        prop_assert_eq!(duration::parse(&text), parse_duration(&text));
    }
}

#[test]
fn k1_the_macro_and_the_host_read_the_same_durations() {
    let ms = Duration::from_millis;
    for (text, expected) in [
        ("500ms", Some(ms(500))),
        ("1m30s", Some(ms(90_000))),
        ("2h", Some(ms(7_200_000))),
        ("0", Some(ms(0))),
        ("0s", Some(ms(0))),
        ("", None),
        ("5", None),
        ("s", None),
        ("1d", None),
        ("1 s", None),
        ("-1s", None),
        ("1.5s", None),
        ("99999999999999999999s", None),
        ("9999999999999999h", None),
        ("٣s", None),
    ] {
        assert_eq!(duration::parse(text).ok(), expected, "{text:?}");
        assert_eq!(duration::parse(text), parse_duration(text), "{text:?}");
    }
}
