//! What a `describe` that fails, or asks for what cannot be, gets (I2).

use haptic_harness::LoadError;
use haptic_tests::guest;

fn refusal(mode: &str) -> LoadError {
    match guest(mode).load() {
        Err(error) => error,
        Ok(_) => panic!("{mode} was loaded"),
    }
}

#[test]
fn a_panic_in_describe_refuses_the_plugin_with_its_text() {
    let error = refusal("describe-panic").to_string();
    assert!(
        error.starts_with(
            "the plugin cannot be started: describe trapped: describe panics on purpose; "
        ),
        "{error}"
    );
}

#[test]
fn a_refusal_of_the_settings_is_the_plugins_own_text() {
    for (mode, text) in [
        ("describe-err", "the colour is missing"),
        ("unheard-of", "there is no mode \"unheard-of\""),
    ] {
        let expected = format!("the plugin does not accept its settings: {text}");
        assert_eq!(refusal(mode).to_string(), expected);
    }
}

#[test]
fn i2_everything_that_is_wrong_with_the_watches_is_said_at_once_with_its_place() {
    let LoadError::Watches(mistakes) = refusal("describe-wrong") else {
        panic!()
    };
    for place in [
        "watch \"paths\", index-by[1]: ",
        "watch \"paths\", indexes[0] `by-host`[0]: ",
        "watch \"paths\", keep-fields[1]: ",
        "watch \"paths\", ignore-fields[0]: ",
        "watch \"selectors\", label-selector: ",
        "watch \"selectors\", field-selector: ",
        "watch \"resource\", api-version: ",
        "watch \"resource\", resources: ",
        "watch \"option\", extra: this host knows no option `missing-keys`",
        "watch \"scope\", scope.namespaces[0]: ",
        "watch \"scope\", scope.namespaces[1]: ",
        "watch \"twice\": a second watch of this name",
        "watch \"slow\", debounce-ms: a debounce interval is at most one hour",
    ] {
        let found = mistakes
            .iter()
            .filter(|mistake| mistake.starts_with(place))
            .count();
        assert_eq!(found, 1, "{place} in {mistakes:#?}");
    }
    assert_eq!(mistakes.len(), 13, "{mistakes:#?}");
}

#[test]
fn no_watches_and_too_many_are_refused() {
    assert_eq!(
        refusal("describe-nothing").to_string(),
        "the plugin's watches are wrong:\n  it declares no watches: nothing would ever happen"
    );
    assert_eq!(
        refusal("describe-too-much").to_string(),
        "the plugin's watches are wrong:\n  describe: 10000 watches: a plugin may declare 256"
    );
}

#[test]
fn describe_can_read_and_write_nothing() {
    assert_eq!(
        refusal("describe-reads").to_string(),
        "the plugin does not accept its settings: \
         Err(NoSuchStore(\"configmaps: no callback is running\")) \
         Err(Other(\"outputs can be written only while a callback runs\")) synced=false"
    );
}

#[test]
fn p1_a_describe_that_loops_ends_at_the_time_limit() {
    let limits = haptic_harness::Limits {
        callback_time: std::time::Duration::from_millis(150),
        ..haptic_harness::Limits::default()
    };
    let error = guest("describe-loop").limits(limits).load().err().unwrap();
    assert_eq!(
        error.to_string(),
        "the plugin cannot be started: describe ran longer than its limit of 150ms (raise it with \
         --callback-timeout)"
    );
}

#[test]
fn invariant_7_hundreds_of_thousands_of_mistakes_are_a_page_of_them() {
    let LoadError::Watches(mistakes) = refusal("describe-verbose") else {
        panic!()
    };
    assert_eq!(mistakes.len(), 101);
    let last = "describe: there is more: only the first mistakes are shown";
    assert_eq!(mistakes.last().unwrap(), last);
    let longest = mistakes.iter().map(String::len).max().unwrap();
    assert!(longest < 4_096, "{longest} bytes of one mistake");
}
