#![allow(
    clippy::unwrap_used,
    reason = "a failure here is the failure of the test"
)]

use super::*;
use proptest::prelude::*;

fn check(text: &str) -> Result<(), SyntaxError> {
    let mut scanner = Scanner::new(text);
    scanner.space();
    scanner.skip(0)?;
    scanner.space();
    match scanner.peek() {
        None => Ok(()),
        Some(_) => Err(SyntaxError {
            offset: scanner.pos(),
            kind: SyntaxErrorKind::TrailingData,
        }),
    }
}

fn refused(text: &str, offset: usize, kind: SyntaxErrorKind) {
    assert_eq!(check(text), Err(SyntaxError { offset, kind }), "{text}");
}

#[test]
fn errors_name_the_offending_byte_and_what_is_wrong_with_it() {
    use SyntaxErrorKind::*;
    refused("", 0, UnexpectedEnd);
    refused("{\"a\":", 5, UnexpectedEnd);
    refused("\"abc", 4, UnexpectedEnd);
    refused("\"abc\\", 5, UnexpectedEnd);
    refused("[1,]", 3, Expected("a value"));
    refused("[1 2]", 3, Expected("`,` or `]`"));
    refused("{\"a\":1]", 6, Expected("`,` or `}`"));
    refused("{\"a\":1,}", 7, Expected("a member name"));
    refused("{\"a\" 1}", 5, Expected("`:`"));
    refused("nul", 0, Expected("a value"));
    refused("\"a\tb\"", 2, ControlCharacter);
    refused("\"0123456789abcdef\u{1f}\"", 17, ControlCharacter);
    refused("\"\\x\"", 1, InvalidEscape);
    refused("\"\\ud800\"", 1, InvalidEscape);
    refused("\"\\udc00\"", 1, InvalidEscape);
    refused("\"\\ud83d\\u0041\"", 1, InvalidEscape);
    refused("-", 1, InvalidNumber);
    refused("01", 1, TrailingData);
    refused("1.", 2, InvalidNumber);
    refused("1e+", 3, InvalidNumber);
    refused("1 2", 2, TrailingData);
    refused(&format!("{}{{}}", "[".repeat(127)), 127, TooDeep);
    refused(&"[".repeat(128), 127, TooDeep);
    for inner in ["{}", r#"{"b":1}"#, r#"{"b":{"#] {
        let nested = |depth| format!("{}{inner}", r#"{"a":"#.repeat(depth));
        refused(&nested(127), 127 * 5, TooDeep);
        refused(&nested(128), 127 * 5, TooDeep);
    }
    for inner in ["1", "{}", r#"{"b":1}"#] {
        let nested = |depth| format!("{}{inner}{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
        assert_eq!(check(&nested(126)), Ok(()), "{inner}");
    }
    assert_eq!(
        check(&format!("{}{}", "[".repeat(127), "]".repeat(127))),
        Ok(())
    );
}

/// Text that is JSON or nearly so.
fn nearly_json() -> impl Strategy<Value = String> {
    let token = proptest::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"a\"",
        "\"\\n\"",
        "\"\\ud83d\\ude00\"",
        "\"\\ud83d\"",
        "\"häß\"",
        "0",
        "-1.5e3",
        "01",
        "true",
        "null",
        "nul",
        " ",
        "\n",
        "\"",
        "\\",
        "\u{1}",
        "\"long string without escapes\"",
        "\"long string \\\" with escapes\\\\\"",
    ]);
    let value = Just(()).prop_map(|()| "{\"a\":[1,{\"b\":null}]}".to_owned());
    prop_oneof![
        proptest::collection::vec(token, 0..12).prop_map(|tokens| tokens.concat()),
        value,
    ]
}

proptest! {
    #[test]
    fn exactly_what_serde_json_accepts_is_accepted(text in nearly_json()) {
        let accepted = serde_json::from_str::<serde_json::Value>(&text).is_ok();
        prop_assert_eq!(check(&text).is_ok(), accepted);
    }

    #[test]
    fn every_cut_or_changed_byte_is_judged_as_serde_json_judges_it(at in 0_usize..60, byte in 0_u8..128) {
        let text = "{\"ab\": [1, -2.5e-7, \"x\\u00e9\\\\y\"], \"c\": {\"d\": null, \"e\": true}}";
        let cut = text.get(..at).unwrap();
        prop_assert_eq!(check(cut).is_ok(), serde_json::from_str::<serde_json::Value>(cut).is_ok());
        let mut bytes = text.as_bytes().to_vec();
        bytes[at] = byte;
        let changed = String::from_utf8(bytes).unwrap();
        let accepted = serde_json::from_str::<serde_json::Value>(&changed);
        let in_range = !accepted.as_ref().is_err_and(|e| e.to_string().contains("out of range"));
        prop_assume!(in_range);
        prop_assert_eq!(check(&changed).is_ok(), accepted.is_ok());
    }

    #[test]
    fn the_next_special_byte_is_found_wherever_it_stands(text in "[ -~é\u{80}\n\u{1f}]{0,200}", from in 0_usize..200) {
        let bytes = text.as_bytes();
        let special = |&byte: &u8| byte == b'"' || byte == b'\\' || byte < 0x20;
        let after = bytes.iter().skip(from).position(special);
        let from = from.min(bytes.len());
        let expected = after.map_or(bytes.len(), |at| from + at);
        // Whether or not it has looked at what comes before.
        for base in [0, from] {
            prop_assert_eq!(Specials::new(bytes, base).find(bytes, from), expected);
        }
    }

    #[test]
    fn a_text_is_judged_as_serde_json_judges_it_wherever_its_blocks_end(before in 0_usize..150, cut in 0_usize..60) {
        let name = "n".repeat(before);
        let text = format!(r#"{{"{name}":"","a":{{}},"b":{{"c":"\"x\u00e9"}},"d":[{{}},1]}}"#);
        let cut = text.get(..before + cut).unwrap_or(&text);
        prop_assert_eq!(check(cut).is_ok(), serde_json::from_str::<serde_json::Value>(cut).is_ok());
        prop_assert_eq!(check(&text), Ok(()));
    }

    #[test]
    fn unescaping_agrees_with_serde_json(text: String, escapes in "(\\\\[\"\\\\/bfnrt]|\\\\u00[0-9a-fA-F]{2}|\\\\ud83d\\\\ude0[0-9]|ä|x){0,6}") {
        for json in [serde_json::to_string(&text).unwrap(), format!("\"{escapes}\"")] {
            let expected: String = serde_json::from_str(&json).unwrap();
            let raw = json.strip_prefix('"').unwrap().strip_suffix('"').unwrap();
            prop_assert_eq!(unescape(raw), expected);
        }
    }

    #[test]
    fn unescaping_anything_does_not_panic(text: String) {
        unescape(&text);
        unescape(&format!("\\u{text}"));
    }

    #[test]
    fn compacting_a_pretty_print_gives_the_compact_print(text: String, key in "[ \"\\\\a]{0,4}") {
        let value = serde_json::json!({ key: [text, 1, { "x": " \" : , " }, [], {}] });
        let mut out = String::new();
        compact_into(&mut out, &format!("{value:#}"));
        prop_assert_eq!(out, value.to_string());
    }
}
