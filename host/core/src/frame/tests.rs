#![allow(
    clippy::unwrap_used,
    reason = "a failure here is the failure of the test"
)]

use super::*;
use proptest::prelude::*;

const LIMIT: usize = 1000;

/// Feeds `text` cut at `cuts`; the frames and how it ended.
fn watch(text: &[u8], cuts: &[usize], limit: usize) -> (Vec<String>, Result<(), FrameError>) {
    let mut frames = Vec::new();
    let mut scanner = WatchFrames::new(limit);
    let mut each = |frame: WatchFrame<'_>| {
        // What the scanner knows of it changes nothing.
        assert_eq!(event(frame.text), parse_watch_event(&frame));
        frames.push(String::from_utf8_lossy(frame.text).into_owned());
    };
    let pushed = chunks(text, cuts).try_for_each(|chunk| scanner.push(chunk, &mut each));
    let end = pushed.and_then(|()| scanner.finish());
    (frames, end)
}

fn event(frame: &[u8]) -> Result<WatchEvent<'_>, FrameError> {
    parse_watch_event(&frame.into())
}

fn list(text: &[u8], cuts: &[usize], limit: usize) -> (Vec<String>, Result<ListMeta, FrameError>) {
    let mut frames = Vec::new();
    let mut scanner = ListFrames::new(limit);
    let mut each = |frame: &[u8]| frames.push(String::from_utf8_lossy(frame).into_owned());
    let pushed = chunks(text, cuts).try_for_each(|chunk| scanner.push(chunk, &mut each));
    let end = pushed.and_then(|()| scanner.finish());
    (frames, end)
}

fn chunks<'a>(text: &'a [u8], cuts: &[usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (text.len() + 1)).collect();
    cuts.extend([0, text.len()]);
    cuts.sort_unstable();
    let ranges: Vec<_> = cuts.windows(2).map(|pair| pair[0]..pair[1]).collect();
    ranges.into_iter().map(|range| &text[range])
}

#[test]
fn watch_frames_are_found_by_brackets_not_by_lines() {
    let stream = "\n{\"a\": \"}\\\"{\\\\\"}{}\r\n {\n  \"b\": [\n{}]\n}\n";
    let (frames, end) = watch(stream.as_bytes(), &[], LIMIT);
    assert_eq!(
        frames,
        ["{\"a\": \"}\\\"{\\\\\"}", "{}", "{\n  \"b\": [\n{}]\n}"]
    );
    assert_eq!(end, Ok(()));
}

#[test]
fn a_frame_in_one_chunk_is_not_copied() {
    let chunk = br#"{"a":1}{"b""#;
    let mut scanner = WatchFrames::new(LIMIT);
    let mut seen = None;
    scanner
        .push(chunk, &mut |frame| seen = Some(frame.text.as_ptr()))
        .unwrap();
    assert_eq!(seen, Some(chunk.as_ptr()));
    assert_eq!(scanner.buffered(), 4);
}

#[test]
fn a_frame_over_the_limit_is_refused_without_buffering_it() {
    let frame = format!("{{\"a\":\"{}\"}}", "x".repeat(LIMIT));
    let refused = Err(FrameError::TooLarge { limit: LIMIT });
    assert_eq!(
        watch(frame.as_bytes(), &[], LIMIT),
        (vec![], refused.clone())
    );
    assert_eq!(
        watch(frame.as_bytes(), &[7, 500, 990], LIMIT),
        (vec![], refused)
    );
    let fits = watch(frame.as_bytes(), &[7, 500, 990], frame.len());
    assert_eq!(fits, (vec![frame], Ok(())));
}

#[test]
fn a_stream_that_ends_inside_an_object_is_truncated() {
    let (frames, end) = watch(br#"{"a":1}{"b":"#, &[], LIMIT);
    assert_eq!((frames.len(), end), (1, Err(FrameError::Truncated)));
}

#[test]
fn a_web_page_instead_of_events_is_named_in_the_error() {
    let (_, end) = watch(b"  <html>Bad gateway</html>", &[], LIMIT);
    let text = end.unwrap_err().to_string();
    assert_eq!(
        text,
        "the response is not JSON; it starts with \"<html>Bad gateway</html>\""
    );
}

fn check_list(text: &str, items: &[&str], expected: Result<ListMeta, FrameError>) {
    let (frames, end) = list(text.as_bytes(), &[], LIMIT);
    assert_eq!(
        (frames.as_slice(), end),
        (items.map_to_strings().as_slice(), expected),
        "{text}"
    );
}

trait MapToStrings {
    fn map_to_strings(&self) -> Vec<String>;
}

impl MapToStrings for [&str] {
    fn map_to_strings(&self) -> Vec<String> {
        self.iter().map(|item| (*item).to_owned()).collect()
    }
}

fn meta() -> ListMeta {
    ListMeta {
        api_version: "v1".into(),
        kind: "PodList".into(),
        resource_version: "7".into(),
        continue_token: None,
        remaining: None,
    }
}

#[test]
fn list_metadata_may_stand_before_or_after_the_items() {
    let before = r#"{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"7"},"items":[{"a":"]}"},{}]}"#;
    check_list(before, &[r#"{"a":"]}"}"#, "{}"], Ok(meta()));
    let after = "\n{ \"items\" : [ {\"a\":[]} ] , \"metadata\": {\"resourceVersion\":\"7\",\"continue\":\"\"},\n\"kind\":\"PodList\",\"apiVersion\":\"v1\" }\n";
    check_list(after, &[r#"{"a":[]}"#], Ok(meta()));
}

#[test]
fn a_page_carries_its_continue_token_and_what_remains() {
    let page = r#"{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"7","continue":"abc","remainingItemCount":41},"items":[]}"#;
    let expected = ListMeta {
        continue_token: Some("abc".into()),
        remaining: Some(41),
        ..meta()
    };
    check_list(page, &[], Ok(expected));
}

#[test]
fn null_items_are_an_empty_list() {
    let text =
        r#"{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"7"},"items":null}"#;
    check_list(text, &[], Ok(meta()));
}

#[test]
fn a_status_instead_of_a_list_is_returned_as_one() {
    let text = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"too old","reason":"Expired","code":410}"#;
    let status = Status {
        code: 410,
        reason: "Expired".into(),
        message: "too old".into(),
        ..Status::default()
    };
    check_list(text, &[], Err(FrameError::Status(status)));
}

#[test]
fn what_is_no_list_is_refused() {
    let excerpt = || "<html>".to_owned();
    check_list(
        "<html>",
        &[],
        Err(FrameError::NotJson { excerpt: excerpt() }),
    );
    check_list(
        r#"{"kind":"Pod"}"#,
        &[],
        Err(FrameError::NotAList { kind: "Pod".into() }),
    );
    check_list(
        "{}",
        &[],
        Err(FrameError::NotAList {
            kind: String::new(),
        }),
    );
    check_list("", &[], Err(FrameError::Truncated));
    check_list(r#"{"items":[{}]"#, &["{}"], Err(FrameError::Truncated));
    for (text, expected, at) in [
        (r#"{"items":{}}"#, "an array as the value of `items`", "{}}"),
        (
            r#"{"items":nulL}"#,
            "an array as the value of `items`",
            "L}",
        ),
        (
            r#"{"items":[5]}"#,
            "an object as an element of `items`",
            "5]}",
        ),
        (r#"{"items":[],}"#, "a member name", "}"),
        (r#"{"items" []}"#, "`:`", "[]}"),
        (r#"{"items":[]]}"#, "`,` or `}`", "]}"),
        (r#"{"items":[]}x"#, "the end of the list", "x"),
        (r#"{"kind":,}"#, "a value", ",}"),
    ] {
        check_list(
            text,
            &[],
            Err(FrameError::Malformed {
                expected,
                excerpt: at.into(),
            }),
        );
    }
}

#[test]
fn an_element_over_the_limit_is_refused() {
    let text = format!("{{\"items\":[{{\"a\":\"{}\"}}]}}", "x".repeat(LIMIT));
    check_list(&text, &[], Err(FrameError::TooLarge { limit: LIMIT }));
    let text = format!("{{\"kind\":\"{}\"", "x".repeat(70_000));
    check_list(&text, &[], Err(FrameError::TooLarge { limit: 65536 }));
}

#[test]
fn watch_events_are_read_whatever_the_order_of_their_members() {
    let check = |text: &'static str, expected: WatchEvent<'static>| {
        assert_eq!(event(text.as_bytes()), Ok(expected), "{text}");
        assert_eq!(watch(text.as_bytes(), &[9, 30], LIMIT).0, [text]);
    };
    check(
        r#"{"type":"ADDED","object":{"a":1}}"#,
        WatchEvent::Added(br#"{"a":1}"#),
    );
    check(
        r#"{"object":{"a":"}"} , "x":[1], "type":"MODIFIED" }"#,
        WatchEvent::Modified(br#"{"a":"}"}"#),
    );
    check(
        "{\n  \"type\": \"DELETED\",\n  \"n\": 5, \"object\": {}\n}",
        WatchEvent::Deleted(b"{}"),
    );
    check(
        r#"{"type":"NEW\u0041","object":{}}"#,
        WatchEvent::Unknown("NEWA".into()),
    );
    check(
        r#"{"type":"BOOKMARK","object":{"kind":"Pod","metadata":{"resourceVersion":"12","annotations":{"k8s.io/initial-events-end":"true"}}}}"#,
        WatchEvent::Bookmark {
            resource_version: "12".into(),
            initial_events_end: true,
        },
    );
    check(
        r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"12","creationTimestamp":null}}}"#,
        WatchEvent::Bookmark {
            resource_version: "12".into(),
            initial_events_end: false,
        },
    );
}

#[test]
fn what_stands_beside_the_object_of_an_event_is_not_taken_for_a_part_of_it() {
    for (text, object) in [
        (
            r#"{"type":"ADDED","object":{"a":{}},"b":{}}"#,
            r#"{"a":{}}"#,
        ),
        (r#"{"type":"ADDED","object":{"a":{}},"b":1}"#, r#"{"a":{}}"#),
        (r#"{"type":"ADDED","object":[[]]}"#, "[[]]"),
        (r#"{"type":"ADDED","x":{},"object":"}"}"#, r#""}""#),
        (r#"{"type":"ADDED","object":1,"object":{}}"#, "{}"),
        (r#"{"object":{},"type":"ADDED"}"#, "{}"),
    ] {
        // Here it is compared with what the scanner makes of it.
        assert_eq!(watch(text.as_bytes(), &[], LIMIT).0, [text]);
        let expected = Ok(WatchEvent::Added(object.as_bytes()));
        assert_eq!(event(text.as_bytes()), expected, "{text}");
    }
}

#[test]
fn w8_member_names_and_types_may_be_written_with_escapes() {
    assert_eq!(
        event(br#"{"typ\u0065":"\u0041DDED","\u006fbject":{}}"#),
        Ok(WatchEvent::Added(b"{}"))
    );
    let text = r#"{"\u0069tems":[{}],"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"7"}}"#;
    check_list(text, &["{}"], Ok(meta()));
}

#[test]
fn an_object_that_is_no_json_comes_out_to_be_quarantined() {
    let frame = b"{\"type\":\"ADDED\",\"object\":{\"a\":\xff, 01, \"\x01\"}}";
    assert_eq!(
        event(frame),
        Ok(WatchEvent::Added(b"{\"a\":\xff, 01, \"\x01\"}"))
    );
}

#[test]
fn an_error_event_carries_its_status_also_when_pretty_printed() {
    let text = r#"{"type":"ERROR","object":{
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "Too large resource version: 9, current: 8", "reason": "Timeout",
        "details": {"causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}], "retryAfterSeconds": 1},
        "code": 504}}"#;
    let cause = StatusCause {
        reason: "ResourceVersionTooLarge".into(),
        message: "Too large resource version".into(),
        field: String::new(),
    };
    let expected = Status {
        code: 504,
        reason: "Timeout".into(),
        message: "Too large resource version: 9, current: 8".into(),
        retry_after: Some(1),
        causes: vec![cause],
        ..Status::default()
    };
    assert_eq!(event(text.as_bytes()), Ok(WatchEvent::Error(expected)));
}

#[test]
fn events_without_type_or_object_are_malformed() {
    let check = |text: &str, wanted| {
        let excerpt = text.to_owned();
        let expected = Err(FrameError::Malformed {
            expected: wanted,
            excerpt,
        });
        assert_eq!(event(text.as_bytes()), expected);
    };
    check(r#"{"object":{}}"#, "a watch event with a `type`");
    check(r#"{"type":"ADDED"}"#, "a watch event with an `object`");
    check(
        r#"{"type":"ERROR","object":{"kind":"Pod"}}"#,
        "a Status in an ERROR event",
    );
    check(r#"{"type":"BOOKMARK","object":{}}"#, "a bookmark");
    check(r#"{"type":5,"object":{}}"#, "a string as the `type`");
    check(r#"{"type" "ADDED"}"#, "a watch event");
    check("[]", "a watch event");
}

#[test]
fn only_a_status_parses_as_one() {
    assert_eq!(parse_status(br#"{"kind":"Pod","code":4}"#), None);
    assert_eq!(parse_status(b"404 page not found"), None);
    let null = br#"{"kind":"Status","reason":null,"details":null}"#;
    assert_eq!(parse_status(null), Some(Status::default()));
}

fn json_object() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<i32>().prop_map(serde_json::Value::from),
        "[\"\\\\{}\\[\\]a\n]{0,6}".prop_map(serde_json::Value::from),
    ];
    let value = leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(serde_json::Value::from),
            proptest::collection::vec(("[\"{\\\\]{0,2}", inner), 0..3)
                .prop_map(|members| members.into_iter().collect()),
        ]
    });
    (
        proptest::collection::vec(("[\"{\\\\a]{0,3}", value), 0..4),
        any::<bool>(),
    )
        .prop_map(|(members, pretty)| {
            let object: serde_json::Value = members.into_iter().collect();
            if pretty {
                format!("{object:#}")
            } else {
                object.to_string()
            }
        })
}

proptest! {
    #[test]
    fn every_split_of_a_watch_stream_yields_the_same_frames(
        objects in proptest::collection::vec(json_object(), 0..5),
        separator in "[ \n]{0,2}",
        cuts: Vec<usize>,
    ) {
        let stream = objects.join(&separator);
        prop_assert_eq!(watch(stream.as_bytes(), &cuts, LIMIT), (objects, Ok(())));
    }

    #[test]
    fn every_split_of_a_list_yields_the_same_items(
        objects in proptest::collection::vec(json_object(), 0..5),
        separator in "[ \n]{0,2},[ \n]{0,2}",
        before: bool,
        cuts: Vec<usize>,
    ) {
        let items = format!("\"items\":[{}]", objects.join(&separator));
        let head = "\"kind\": \"PodList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"7\"}";
        let text = if before { format!("{{{head},{items}}}\n") } else { format!("{{{items},{head}}}") };
        prop_assert_eq!(list(text.as_bytes(), &cuts, LIMIT), (objects, Ok(meta())));
    }

    #[test]
    fn no_bytes_make_the_scanners_panic_or_buffer_beyond_their_limit(
        text in proptest::collection::vec(prop_oneof![
            proptest::sample::select(b"{}[]\":,\\ \ntfn0-".to_vec()),
            any::<u8>(),
        ], 0..200),
        cuts: Vec<usize>,
    ) {
        let mut frames = WatchFrames::new(16);
        let _ = chunks(&text, &cuts).try_for_each(|chunk| {
            let pushed = frames.push(chunk, &mut |_| {});
            assert!(frames.buffered() <= 16);
            pushed
        });
        let items = [br#"{"items":["#.as_slice(), &text].concat();
        let _ = list(&text, &cuts, 16);
        let _ = list(&items, &cuts, 16);
        let _ = event(&text);
    }
}
