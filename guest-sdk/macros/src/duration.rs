//! Durations as an operator's configuration writes them, `haptic_host::config::parse_duration`. A
//! test holds the two together (`tests/tests/documents/grammars.rs`).

use std::time::Duration;

/// Reads `500ms`, `2s`, `1m30s`, `1h`, or a sum of such parts; `0` is zero. Says what to write.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    sum(text)
        .ok_or_else(|| format!("{text:?} is no duration: write `500ms`, `10s`, `1m30s` or `2h`"))
}

fn sum(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    if text.is_empty() {
        return None;
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let end = after.find(|c: char| c.is_ascii_digit());
        let (unit, after) = after.split_at(end.unwrap_or(after.len()));
        let unit_ms: u64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        let part = number.parse::<u64>().ok()?.checked_mul(unit_ms)?;
        total = total.checked_add(Duration::from_millis(part))?;
        rest = after;
    }
    Some(total)
}
