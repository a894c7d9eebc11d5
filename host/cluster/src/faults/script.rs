//! Rules as a file says them.

use serde::Deserialize;

use super::rule::Rule;
use crate::yaml::{self, Broken};

/// Rules in YAML.
///
/// # Examples
///
/// ```
/// use haptic_cluster::Script;
///
/// let script = Script::parse(
///     "faults:
/// - when: {verbs: [watch], resource: ingresses}
///   times: 2
///   fault:
///     break: {how: stall, at: {event: {after: 3, bytes: 10}}}
/// ",
/// )?;
/// assert_eq!(script.faults.len(), 1);
/// # Ok::<(), haptic_cluster::ScriptError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// The rules, in their order.
    pub faults: Vec<Rule>,
}

/// Why a script cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", line.map(|line| format!("line {line}: ")).unwrap_or_default())]
pub struct ScriptError {
    /// The line, counted from 1; `None` where none is known.
    pub line: Option<u64>,
    /// What is wrong.
    pub message: String,
}

impl Script {
    /// Reads a script.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong: broken YAML, an unknown field, an unknown fault.
    pub fn parse(text: &str) -> Result<Self, ScriptError> {
        yaml::parse_as(text).map_err(|Broken { line, message }| ScriptError { line, message })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use std::num::NonZeroU64;
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::faults::{Fault, How, Moment, Page, Place, Refusal, Verb, When};

    #[test]
    fn every_fault_can_be_written() {
        let refusal = Refusal {
            retry_after: Some(u64::MAX),
            pretty: true,
            ..Refusal::new(500, "InternalError", "no")
        };
        let name = "a".to_owned();
        for (yaml, expected) in [
            (
                "{status: {code: 500, reason: InternalError, message: \"no\", retryAfter: 18446744073709551615, pretty: true}}",
                Fault::Status(refusal.clone()),
            ),
            ("{html: {code: 502}}", Fault::Html { code: 502 }),
            (
                "{unauthorized: {tokens: [a]}}",
                Fault::Unauthorized {
                    tokens: [name.clone()].into(),
                },
            ),
            (
                "{forbidden: {endStreams: true}}",
                Fault::Forbidden { end_streams: true },
            ),
            ("{expired: {}}", Fault::Expired { after: None }),
            ("{expired: {after: 3}}", Fault::Expired { after: Some(3) }),
            (
                "{errorEvent: {after: 1, status: {code: 418}}}",
                Fault::ErrorEvent {
                    after: 1,
                    status: Refusal::new(418, "", ""),
                },
            ),
            ("tooLargeVersion", Fault::TooLargeVersion),
            (
                "{refuseStreaming: {}}",
                Fault::RefuseStreaming { code: 422 },
            ),
            (
                "{expireContinue: {fresh: true}}",
                Fault::ExpireContinue { fresh: true },
            ),
            (
                "{delay: {millis: 250, at: answered}}",
                Fault::Delay {
                    by: Duration::from_millis(250),
                    at: Moment::Answered,
                },
            ),
            (
                "{hold: {}}",
                Fault::Hold {
                    at: Moment::Arrival,
                },
            ),
            (
                "{lag: {versions: 3, everything: true}}",
                Fault::Lag {
                    versions: Some(3),
                    everything: true,
                },
            ),
            (
                "{break: {how: stall}}",
                Fault::Break {
                    at: Place::Start,
                    how: How::Stall,
                },
            ),
            (
                "{break: {at: {bytes: 9}, how: {trickle: {millis: 1000}}}}",
                Fault::Break {
                    at: Place::Bytes(9),
                    how: How::Trickle {
                        every: Duration::from_secs(1),
                    },
                },
            ),
            (
                "{break: {at: {event: {after: 2, bytes: 9}}, how: fin}}",
                Fault::Break {
                    at: Place::Event { after: 2, bytes: 9 },
                    how: How::Fin,
                },
            ),
            (
                "{break: {at: {millis: 90000}, how: reset}}",
                Fault::Break {
                    at: Place::Millis(Duration::from_secs(90)),
                    how: How::Reset,
                },
            ),
            ("withholdBookmark", Fault::WithholdBookmark),
            (
                "{inject: {event: SURPRISE, object: {a: [1, null]}}}",
                Fault::Inject {
                    after: 0,
                    event: "SURPRISE".to_owned(),
                    object: json!({"a": [1, null]}),
                },
            ),
            (
                "{pad: {name: a, bytes: 1500000}}",
                Fault::Pad {
                    name,
                    bytes: 1_500_000,
                },
            ),
            (
                "{coalesce: {events: 5}}",
                Fault::Coalesce {
                    events: 5,
                    wait: Duration::from_millis(100),
                },
            ),
            (
                "{gzip: {members: true}}",
                Fault::Gzip {
                    members: true,
                    unasked: false,
                },
            ),
            (
                "{split: {bytes: 7, seed: 1}}",
                Fault::Split {
                    bytes: 7,
                    seed: Some(1),
                },
            ),
        ] {
            let script = Script::parse(&format!("faults:\n- fault: {yaml}\n"));
            let expected = Rule::new(When::any(), expected);
            assert_eq!(script.unwrap().faults, [expected], "{yaml}");
        }
    }

    #[test]
    fn a_rule_says_when() {
        let script = Script::parse(
            "faults:
- when: {verbs: [streaming-list, get], group: \"\", resource: pods, namespace: a, name: b, page: continue, oneIn: 2}
  skip: 1
  times: 3
  fault: withholdBookmark
",
        );
        let expected = Rule {
            when: When {
                verbs: [Verb::StreamingList, Verb::Get].into(),
                group: Some(String::new()),
                resource: Some("pods".to_owned()),
                namespace: Some("a".to_owned()),
                name: Some("b".to_owned()),
                page: Some(Page::Continue),
                one_in: NonZeroU64::new(2),
            },
            skip: 1,
            times: Some(3),
            fault: Fault::WithholdBookmark,
        };
        assert_eq!(script.unwrap().faults, [expected]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, line, word) in [
            ("faults:\n- fault: {stall: {}}\n", 2, "stall"),
            (
                "faults:\n- fault: {html: {code: 502, colour: red}}\n",
                2,
                "colour",
            ),
            (
                "faults:\n- when: {verb: list}\n  fault: tooLargeVersion\n",
                2,
                "verb",
            ),
            (
                "faults:\n- when: {}\n\n  fault: {html: {code: 70000}}\n",
                4,
                "",
            ),
            ("rules: []\n", 1, "rules"),
        ] {
            let error = Script::parse(text).unwrap_err();
            assert_eq!(error.line, Some(line), "{error}");
            assert!(error.to_string().contains(word), "{error}");
        }
    }
}
