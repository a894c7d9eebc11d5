//! `limits`, `dirs` and `env` of one plugin, as typed (contract P1, P5).

use std::{path::Path, str::FromStr, time::Duration};

use serde_json::Value;

use super::{
    parse::{Mistakes, join},
    parse_duration,
};
use crate::plugin::{DirGrant, EnvGrant, Limits};

/// `limits`: what is not given is the command line's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "named as in `Limits`")]
pub struct LimitOverrides {
    pub memory: Option<u64>,
    pub callback_time: Option<Duration>,
    pub table_elements: Option<u64>,
    pub output_bytes: Option<u64>,
    pub output_count: Option<usize>,
    pub log_lines_per_second: Option<u32>,
    pub log_line_bytes: Option<usize>,
    pub store_handles: Option<u32>,
    pub answer_bytes: Option<u64>,
}

const FIELDS: [&str; 9] = [
    "memory",
    "callbackTimeout",
    "tableElements",
    "output",
    "outputCount",
    "logLines",
    "logLine",
    "handles",
    "answer",
];

impl LimitOverrides {
    /// These limits, and of `others` what they do not say.
    #[must_use]
    pub fn over(&self, others: &Limits) -> Limits {
        let Self {
            memory,
            callback_time,
            table_elements,
            output_bytes,
            output_count,
            log_lines_per_second,
            log_line_bytes,
            store_handles,
            answer_bytes,
        } = *self;
        Limits {
            memory: memory.unwrap_or(others.memory),
            callback_time: callback_time.unwrap_or(others.callback_time),
            table_elements: table_elements.unwrap_or(others.table_elements),
            output_bytes: output_bytes.unwrap_or(others.output_bytes),
            output_count: output_count.unwrap_or(others.output_count),
            log_lines_per_second: log_lines_per_second.unwrap_or(others.log_lines_per_second),
            log_line_bytes: log_line_bytes.unwrap_or(others.log_line_bytes),
            store_handles: store_handles.unwrap_or(others.store_handles),
            // An answer has to fit in the memory, whichever of the two was changed.
            answer_bytes: answer_bytes
                .or(memory.map(|memory| others.answer_bytes.min(memory / 2)))
                .unwrap_or(others.answer_bytes),
        }
    }
}

pub(super) fn limits(place: &str, value: &Value, mistakes: &mut Mistakes) -> LimitOverrides {
    let mut limits = LimitOverrides::default();
    let Some(map) = mistakes.object(place, value) else {
        return limits;
    };
    mistakes.unknown(place, map, &FIELDS);
    for (field, value) in map {
        let place = join(place, field);
        match field.as_str() {
            "memory" => limits.memory = size(&place, value, mistakes),
            "callbackTimeout" => limits.callback_time = time(&place, value, mistakes),
            "tableElements" => limits.table_elements = count(&place, value, mistakes),
            "output" => limits.output_bytes = size(&place, value, mistakes),
            "outputCount" => limits.output_count = count(&place, value, mistakes),
            "logLines" => limits.log_lines_per_second = count(&place, value, mistakes),
            "logLine" => {
                limits.log_line_bytes = size(&place, value, mistakes)
                    .map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
            }
            "handles" => limits.store_handles = count(&place, value, mistakes),
            "answer" => limits.answer_bytes = size(&place, value, mistakes),
            _ => {}
        }
    }
    limits
}

/// Reads `64MiB`, `1GiB`, or bytes.
///
/// # Errors
/// A sentence that says what to write.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no size: write `64MiB`, `1GiB`, or bytes");
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
    let unit = match &text[digits..] {
        "" | "B" => 1,
        "K" | "Ki" | "KiB" => 1 << 10,
        "M" | "Mi" | "MiB" => 1 << 20,
        "G" | "Gi" | "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    number
        .checked_mul(unit)
        .filter(|bytes| *bytes > 0)
        .ok_or_else(wrong)
}

fn size(place: &str, value: &Value, mistakes: &mut Mistakes) -> Option<u64> {
    // YAML reads `65536` as a number.
    let text = match value {
        Value::Number(number) => number.to_string(),
        value => mistakes.text(place, value)?,
    };
    keep(place, parse_size(&text), mistakes)
}

fn time(place: &str, value: &Value, mistakes: &mut Mistakes) -> Option<Duration> {
    // `0` is a number to YAML.
    let text = match value {
        Value::Number(number) => number.to_string(),
        value => mistakes.text(place, value)?,
    };
    let time = parse_duration(&text).and_then(|time| match time {
        Duration::ZERO => Err("must be longer than nothing".to_owned()),
        time => Ok(time),
    });
    keep(place, time, mistakes)
}

fn count<T: TryFrom<u64>>(place: &str, value: &Value, mistakes: &mut Mistakes) -> Option<T> {
    let count = value.as_u64().and_then(|count| T::try_from(count).ok());
    if count.is_none() && !value.is_null() {
        mistakes.add(place, "must be a whole number, such as 1000");
    }
    count
}

fn keep<T>(place: &str, read: Result<T, String>, mistakes: &mut Mistakes) -> Option<T> {
    read.map_err(|why| mistakes.add(place, why)).ok()
}

/// `dirs`: texts as of `--dir`; a relative HOST is relative to the configuration file.
pub(super) fn dirs(
    place: &str,
    value: &Value,
    base: &Path,
    mistakes: &mut Mistakes,
) -> Vec<DirGrant> {
    let mut dirs: Vec<DirGrant> = list(place, value, "[/etc/templates::/templates]", mistakes);
    for dir in &mut dirs {
        dir.host = base.join(&dir.host);
    }
    dirs
}

/// `env`: texts as of `--env`.
pub(super) fn env(place: &str, value: &Value, mistakes: &mut Mistakes) -> Vec<EnvGrant> {
    list(place, value, "[TZ, MODE=test]", mistakes)
}

fn list<T: FromStr<Err: std::fmt::Display>>(
    place: &str,
    value: &Value,
    example: &str,
    mistakes: &mut Mistakes,
) -> Vec<T> {
    let Value::Array(texts) = value else {
        if !value.is_null() {
            mistakes.add(place, format!("must be a list, such as {example}"));
        }
        return Vec::new();
    };
    let mut found = Vec::new();
    for (i, text) in texts.iter().enumerate() {
        let place = format!("{place}[{i}]");
        if let Some(text) = mistakes.text(&place, text) {
            let read = text.parse().map_err(|error: T::Err| error.to_string());
            found.extend(keep(&place, read, mistakes));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn read<T>(yaml: &str, read: impl Fn(&Value, &mut Mistakes) -> T) -> (T, Vec<String>) {
        let mut mistakes = Mistakes::default();
        let found = read(&serde_saphyr::from_str(yaml).unwrap(), &mut mistakes);
        (found, mistakes.0.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn p1_every_limit_can_be_given_to_one_plugin() {
        let yaml = "{memory: 1GiB, callbackTimeout: 1m, tableElements: 1, output: 65536, \
                    outputCount: 2, logLines: 0, logLine: 1KiB, handles: 3, answer: 4}";
        let (given, mistakes) = read(yaml, |value, m| limits("limits", value, m));
        assert_eq!(mistakes, [""; 0]);
        assert_eq!(
            given.over(&Limits::default()),
            Limits {
                memory: 1 << 30,
                callback_time: Duration::from_secs(60),
                table_elements: 1,
                output_bytes: 65_536,
                output_count: 2,
                log_lines_per_second: 0,
                log_line_bytes: 1_024,
                store_handles: 3,
                answer_bytes: 4,
            }
        );
    }

    #[test]
    fn p1_what_is_not_given_is_the_command_lines() {
        let others = Limits {
            table_elements: 7,
            ..Limits::default()
        };
        assert_eq!(LimitOverrides::default().over(&others), others);
        let (given, _) = read("{memory: 16MiB}", |value, m| limits("limits", value, m));
        let expected = Limits {
            memory: 16 << 20,
            answer_bytes: 8 << 20,
            ..others.clone()
        };
        assert_eq!(given.over(&others), expected, "answers fit in the memory");
    }

    #[test]
    fn p1_p5_every_mistake_is_reported_with_its_place() {
        let yaml = "{memory: lots, callbackTimeout: 0, logLines: -1, outputCount: many, time: 3s}";
        let (_, mistakes) = read(yaml, |value, m| limits("limits", value, m));
        assert_eq!(
            mistakes,
            [
                "limits.time: unknown field; the fields here are memory, callbackTimeout, \
                 tableElements, output, outputCount, logLines, logLine, handles, answer",
                "limits.callbackTimeout: must be longer than nothing",
                "limits.logLines: must be a whole number, such as 1000",
                "limits.memory: \"lots\" is no size: write `64MiB`, `1GiB`, or bytes",
                "limits.outputCount: must be a whole number, such as 1000",
            ]
        );
        let (found, mistakes) = read("[a::/b::rw, /c, '::', 3]", |value, m| {
            dirs("dirs", value, Path::new("/etc/haptic"), m)
        });
        let shown: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["/etc/haptic/a::/b::rw", "/c::/c"]);
        assert_eq!(
            mistakes,
            [
                "dirs[2]: \"::\" grants no directory: write HOST, HOST::GUEST, or HOST::GUEST::rw \
                 to let the plugin write there",
                "dirs[3]: must be a text that is not empty",
            ]
        );
        let (_, mistakes) = read("{A: 1}", |value, m| env("env", value, m));
        assert_eq!(mistakes, ["env: must be a list, such as [TZ, MODE=test]"]);
    }

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [
            ("64MiB", 64 << 20),
            ("1Gi", 1 << 30),
            ("512", 512),
            ("2K", 2048),
        ] {
            assert_eq!(parse_size(text).unwrap(), bytes);
        }
        for text in ["", "MiB", "0", "1TB", "-1", "99999999999GiB"] {
            assert!(parse_size(text).is_err(), "{text:?}");
        }
    }
}
