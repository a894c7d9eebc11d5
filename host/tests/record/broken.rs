//! Recordings that cannot be read: one sentence each, with the line.

use crate::{
    Stage, hello,
    support::{run, told},
};

const HEADER: &str = "{\"hapticRecording\":1,\"started\":\"2026-01-31T12:00:00Z\",\"watches\":[{\"name\":\"configmaps\",\"apiVersion\":\"v1\",\"resources\":\"configmaps\"}]}\n";

/// What is told of a file with this text.
fn refusal(text: &str) -> String {
    let stage = Stage::new("");
    let place = stage.write("bug.jsonl", text).display().to_string();
    let (code, stdout, log) = run(hello(&mut stage.replay()));
    assert_eq!((code, stdout.as_str()), (Some(2), ""), "{text}: {log}");
    told(&log).replace(&place, "FILE")
}

#[test]
fn a_file_that_is_no_recording_is_refused_with_its_first_line() {
    for (text, sentence) in [
        ("", "recording FILE, line 1: the file is empty"),
        (
            "{\"hapticRecording\":1",
            "recording FILE, line 1: is cut off: nothing was recorded",
        ),
        (
            "apiVersion: v1\n",
            "recording FILE, line 1: is not the header of a recording, which begins with {\"hapticRecording\":1",
        ),
        (
            "{\"at\":1.0}\n",
            "recording FILE, line 1: is not the header of a recording, which begins with {\"hapticRecording\":1",
        ),
        (
            "{\"hapticRecording\":2}\n",
            "recording FILE, line 1: the recording has version 2 of the format, and this host reads 1: use a newer haptic-host",
        ),
        (
            "{\"hapticRecording\":1}\n",
            "recording FILE, line 1: the header cannot be read: missing field `started` at line 1 column 21",
        ),
        (
            "{\"hapticRecording\":1,\"started\":\"yesterday\",\"watches\":[]}\n",
            "recording FILE, line 1: `started` is no time such as 2026-01-31T12:00:00Z",
        ),
    ] {
        assert_eq!(refusal(text), sentence);
    }
    let stage = Stage::new("");
    let (code, _, log) = run(hello(&mut stage.replay()));
    assert_eq!(code, Some(2), "{log}");
    assert_eq!(
        told(&log),
        format!(
            "cannot read recording {}: No such file or directory (os error 2)",
            stage.at("bug.jsonl").display()
        )
    );
}

#[test]
fn a_line_that_is_wrong_is_named() {
    let good = "{\"at\":1.0,\"watch\":\"configmaps\",\"list\":\"begin\"}\n";
    for (line, what) in [
        (
            "nonsense",
            "is no JSON object: expected an object at byte 0",
        ),
        (
            "{\"at\":1.0,\"watch\":\"configmaps\",\"applied\":{\"a\":}}",
            "is no JSON object: expected a value at byte 46",
        ),
        (
            "",
            "is no JSON object: the JSON text ends inside a value at byte 0",
        ),
        (
            "{\"watch\":\"configmaps\"}",
            "`at` is missing, or no number of seconds",
        ),
        ("{\"at\":-1}", "`at` is missing, or no number of seconds"),
        ("{\"at\":0.5,\"end\":true}", "`at` goes back, from 1 to 0.5"),
        (
            "{\"at\":1.0,\"watch\":\"pods\",\"list\":\"begin\"}",
            "`watch` is \"pods\", which the header does not name",
        ),
        (
            "{\"at\":1.0,\"watch\":\"configmaps\",\"list\":\"middle\"}",
            "`list` is \"middle\": begin, page or end",
        ),
        (
            "{\"at\":1.0,\"watch\":\"configmaps\",\"list\":\"end\"}",
            "`resourceVersion` is missing, or no text",
        ),
        (
            "{\"at\":1.0,\"watch\":\"configmaps\",\"listed\":[]}",
            "`listed` is no object",
        ),
        (
            "{\"at\":1.0,\"watch\":\"configmaps\",\"deleted\":{\"namespace\":\"a\"}}",
            "`deleted` does not say which object: {\"namespace\":…,\"name\":…}",
        ),
        (
            "{\"at\":1.0,\"watch\":\"configmaps\",\"state\":\"asleep\"}",
            "`state` is \"asleep\", which this host does not know",
        ),
        (
            "{\"at\":1.0,\"watch\":\"configmaps\",\"state\":\"failing\"}",
            "`error` is missing, or no text",
        ),
    ] {
        let text = format!("{HEADER}{good}{line}\n");
        assert_eq!(refusal(&text), format!("recording FILE, line 3: {what}"));
    }
}

#[test]
fn lines_of_kinds_that_this_host_does_not_know_are_passed_over() {
    let stage = Stage::new("");
    let text = format!(
        "{HEADER}{{\"at\":0,\"note\":\"hello\"}}\n{{\"at\":0.0,\"watch\":\"configmaps\",\"weather\":\"fine\"}}\n{{\"at\":0.5,\"watch\":\"configmaps\",\"list\":\"begin\",\"why\":\"new\"}}\n{{\"at\":1,\"watch\":\"configmaps\",\"list\":\"end\",\"resourceVersion\":\"\"}}\n"
    );
    stage.write("bug.jsonl", &text);
    let (code, stdout, log) = run(hello(&mut stage.replay()));
    assert_eq!(
        (code, stdout.as_str()),
        (Some(0), "0 ConfigMaps\n"),
        "{log}"
    );
}

#[test]
fn an_object_that_cannot_be_read_is_left_out_as_it_was() {
    let stage = Stage::new("");
    let text = format!(
        "{HEADER}{{\"at\":0,\"watch\":\"configmaps\",\"list\":\"begin\"}}\n{{\"at\":0,\"watch\":\"configmaps\",\"unreadable\":{{\"namespace\":\"shop\",\"name\":\"odd\"}},\"error\":\"invalid number at byte 7\"}}\n{{\"at\":0,\"watch\":\"configmaps\",\"listed\":{{\"metadata\":{{}}}}}}\n{{\"at\":0,\"watch\":\"configmaps\",\"list\":\"end\",\"resourceVersion\":\"1\"}}\n"
    );
    stage.write("bug.jsonl", &text);
    let (code, stdout, log) = run(hello(&mut stage.replay()));
    assert_eq!(
        (code, stdout.as_str()),
        (Some(0), "0 ConfigMaps\n"),
        "{log}"
    );
    assert!(log.contains("invalid number at byte 7"), "{log}");
    assert!(log.contains("the object has no metadata.name"), "{log}");
}
