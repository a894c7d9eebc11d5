//! Assertions on what the plugin logged.

use haptic_host::plugin::{LogLevel, LogLine};

use crate::Harness;

/// Lines of log in a report: the last ones tell most.
const LINES: usize = 40;

impl Harness {
    /// Asserts that a line of this level was logged whose message or fields have this text.
    ///
    /// # Panics
    /// When there is none, with the last lines that there are.
    #[track_caller]
    pub fn assert_logged(&self, level: LogLevel, text: &str) {
        let lines = self.logs();
        let found = lines
            .iter()
            .any(|line| line.level == level && show(line).contains(text));
        assert!(found, "no {level:?} line has {text:?}; {}", all(&lines));
    }

    /// Asserts that nothing was logged at this level or a more serious one: with
    /// `LogLevel::Warn`, neither warnings nor errors.
    ///
    /// # Panics
    /// When there is such a line, with the last lines that there are.
    #[track_caller]
    pub fn assert_quiet(&self, level: LogLevel) {
        let lines = self.logs();
        let found = lines.iter().find(|line| rank(line.level) <= rank(level));
        if let Some(line) = found {
            panic!(
                "there is a line of level {level:?} or above: {}; {}",
                show(line),
                all(&lines)
            );
        }
    }
}

fn rank(level: LogLevel) -> u8 {
    match level {
        LogLevel::Error => 0,
        LogLevel::Warn => 1,
        LogLevel::Info => 2,
        LogLevel::Debug => 3,
        LogLevel::Trace => 4,
    }
}

/// A line as people read it.
pub(crate) fn show(line: &LogLine) -> String {
    let fields = line
        .fields
        .iter()
        .map(|(key, value)| format!(" {key}={value:?}"));
    format!(
        "{:?} {}: {}{}",
        line.level,
        line.target,
        line.message,
        fields.collect::<String>()
    )
}

fn all(lines: &[LogLine]) -> String {
    if lines.is_empty() {
        return "nothing was logged".to_owned();
    }
    let skipped = lines.len().saturating_sub(LINES);
    let shown: Vec<_> = lines
        .iter()
        .skip(skipped)
        .map(|line| format!("\n  {}", show(line)))
        .collect();
    format!("the last of {} lines:{}", lines.len(), shown.concat())
}
