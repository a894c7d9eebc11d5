//! Prints rows as a table, and keeps them as JSON when the arguments say `--json FILE`.

use serde_json::{Value, json};
use std::{fs, path::PathBuf};

/// What a row has to show.
#[derive(Clone, Copy)]
pub(crate) enum Must {
    /// It is there to be seen.
    Show,
    /// So many times less than the peer; below 1, no more than the inverse of what the peer has.
    Times(f64),
    /// No more than this.
    AtMost(f64),
}

/// One figure.
pub(crate) struct Row {
    pub(crate) row: &'static str,
    pub(crate) variant: String,
    pub(crate) n: usize,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    /// What the same costs a peer in this run.
    pub(crate) peer: Option<(&'static str, f64)>,
    pub(crate) must: Must,
}

/// All figures of a benchmark, printed as they come.
pub(crate) struct Report {
    rows: Vec<Value>,
    file: Option<PathBuf>,
}

impl Report {
    /// Writes the head of the table.
    pub(crate) fn new() -> Self {
        println!(
            "| {:<30} | {:<24} | {:>7} | {:>10} {:<5} | {:<26} | {:>10} | {:>8} | {:<14} |",
            "what", "of", "n", "value", "", "peer", "peer's", "ratio", "must"
        );
        let line = |width: usize| "-".repeat(width);
        let widths = [32, 26, 9, 18, 28, 12, 10, 16];
        println!("|{}|", widths.map(line).join("|"));
        let mut arguments = std::env::args().skip_while(|arg| arg != "--json").skip(1);
        Self {
            rows: Vec::new(),
            file: arguments.next().map(PathBuf::from),
        }
    }

    pub(crate) fn add(&mut self, row: Row) {
        // How many times less it is than the peer.
        let ratio = row.peer.map(|(_, value)| value / row.value);
        let (must, reached) = match row.must {
            Must::Show => (String::new(), None),
            Must::Times(least) => (
                format!("≥ {least}×"),
                Some(ratio.is_some_and(|r| r >= least)),
            ),
            Must::AtMost(most) => (format!("≤ {most}"), Some(row.value <= most)),
        };
        let shown = |value: Option<f64>| value.map(figure).unwrap_or_default();
        println!(
            "| {:<30} | {:<24} | {:>7} | {:>10} {:<5} | {:<26} | {:>10} | {:>8} | {:<14} |",
            row.row,
            row.variant,
            row.n,
            figure(row.value),
            row.unit,
            row.peer.map_or("", |(name, _)| name),
            shown(row.peer.map(|(_, value)| value)),
            ratio
                .map(|ratio| format!("{}×", figure(ratio)))
                .unwrap_or_default(),
            match reached {
                Some(false) => format!("{must} **no**"),
                Some(true) | None => must.clone(),
            },
        );
        self.rows.push(json!({
            "row": row.row, "variant": row.variant, "n": row.n, "value": row.value, "unit": row.unit,
            "peer": row.peer.map(|(name, _)| name), "peer_value": row.peer.map(|(_, value)| value),
            "ratio": ratio, "must": must, "reached": reached,
        }));
    }

    /// Writes the file: a list, to which other benchmarks add. Rows of an earlier run go.
    pub(crate) fn write(self) {
        let Some(file) = self.file else { return };
        let known = fs::read(&file).ok();
        let known = known.and_then(|bytes| serde_json::from_slice::<Vec<Value>>(&bytes).ok());
        let same =
            |a: &Value, b: &Value| ["row", "variant", "n", "peer"].iter().all(|k| a[k] == b[k]);
        let mut rows = known.unwrap_or_default();
        rows.retain(|old| !self.rows.iter().any(|new| same(old, new)));
        rows.extend(self.rows);
        let text = serde_json::to_string_pretty(&rows).expect("rows are JSON");
        fs::write(&file, text + "\n").expect("the file of --json can be written");
    }
}

fn figure(value: f64) -> String {
    match value {
        large if large >= 1_000.0 => format!("{large:.0}"),
        middle if middle >= 100.0 => format!("{middle:.1}"),
        small => format!("{small:.2}"),
    }
}

/// Counts and sizes are far below what a float holds exactly.
pub(crate) fn float(number: usize) -> f64 {
    number as f64
}
