//! Rows: printed as a Markdown table while they are measured, and kept for a file of JSON.

use std::{fmt::Write as _, io::Write as _, path::Path};

use serde::Serialize;
use serde_json::Value;

/// One figure, and what it is held against.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Row {
    /// What is measured.
    pub row: String,
    /// Under which circumstances.
    pub variant: String,
    /// Objects, or whatever is many.
    pub n: usize,
    /// The figure.
    pub value: f64,
    /// What it is a number of.
    pub unit: &'static str,
    /// Who did the same work in the same run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// The peer's figure, in the same unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_value: Option<f64>,
    /// How many times the peer's figure is ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    /// The goal, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub must: Option<String>,
    /// Whether it is reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reached: Option<bool>,
}

/// What a figure has to be.
#[derive(Clone, Copy, Debug)]
pub enum Must {
    /// At most so much.
    AtMost(f64),
    /// The peer's figure is at least so many times ours.
    Times(f64),
}

impl Row {
    /// A figure.
    #[must_use]
    pub fn new(row: &str, variant: &str, n: usize, value: f64, unit: &'static str) -> Self {
        Self {
            row: row.to_owned(),
            variant: variant.to_owned(),
            n,
            value,
            unit,
            ..Self::default()
        }
    }

    /// Beside that of a peer.
    #[must_use]
    pub fn beside(mut self, peer: &str, value: f64) -> Self {
        self.peer = Some(peer.to_owned());
        self.peer_value = Some(value);
        self.ratio = (self.value > 0.0).then(|| value / self.value);
        self
    }

    /// What it has to be.
    #[must_use]
    pub fn must(mut self, must: Must) -> Self {
        let (text, reached) = match must {
            Must::AtMost(limit) => (
                format!("≤ {} {}", number(limit), self.unit)
                    .trim_end()
                    .to_owned(),
                self.value <= limit,
            ),
            Must::Times(times) => {
                let ratio = self.ratio.unwrap_or_default();
                (format!("≥ {} × less", number(times)), ratio >= times)
            }
        };
        self.must = Some(text);
        self.reached = Some(reached);
        self
    }
}

/// All rows of a run.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// Prints a row and keeps it.
    pub fn add(&mut self, row: Row) {
        let mut out = std::io::stdout().lock();
        let mut text = String::new();
        if self.rows.is_empty() {
            text +=
                "| what | variant | n | figure | peer | its figure | times | must | reached |\n";
            text += "|---|---|--:|--:|---|--:|--:|---|---|\n";
        }
        // A String takes whatever is written to it, and whoever closed our output wants no more.
        _ = writeln!(
            text,
            "| {} | {} | {} | {} {} | {} | {} | {} | {} | {} |",
            row.row,
            row.variant,
            row.n,
            number(row.value),
            row.unit,
            row.peer.as_deref().unwrap_or_default(),
            row.peer_value.map(number).unwrap_or_default(),
            row.ratio.map(number).unwrap_or_default(),
            row.must.as_deref().unwrap_or_default(),
            match row.reached {
                Some(true) => "yes",
                Some(false) => "**no**",
                None => "",
            }
        );
        _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        self.rows.push(row);
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether nothing was measured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Adds all rows to the JSON array that a file holds, in the place of those of an earlier run.
    ///
    /// # Errors
    /// When the file cannot be written, or holds something else.
    pub fn write(&self, path: &Path) -> std::io::Result<()> {
        let known: Vec<Value> = match std::fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let rows = self.rows.iter().map(serde_json::to_value);
        let rows: Vec<Value> = rows.collect::<Result<_, _>>()?;
        let same =
            |a: &Value, b: &Value| ["row", "variant", "n"].iter().all(|key| a[key] == b[key]);
        let earlier = known
            .into_iter()
            .filter(|old| !rows.iter().any(|new| same(old, new)));
        let all: Vec<String> = earlier
            .chain(rows.clone())
            .map(|row| row.to_string())
            .collect();
        std::fs::write(path, format!("[\n{}\n]\n", all.join(",\n")))
    }
}

/// Three significant digits, or all those before the point.
fn number(value: f64) -> String {
    let magnitude = value.abs();
    let places = match magnitude {
        _ if magnitude >= 100.0 || magnitude == 0.0 => 0,
        _ if magnitude >= 10.0 => 1,
        _ if magnitude >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.places$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}
