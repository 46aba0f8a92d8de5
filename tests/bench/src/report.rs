//! What a bench prints: a table for people, and one JSON object as its last line for programs.

use anyhow::Result;
use serde_json::{Map, Value};

/// One bench's figures in the order in which they were added.
#[derive(Debug)]
pub(crate) struct Report {
    name: &'static str,
    rows: Vec<(String, String)>,
    figures: Map<String, Value>,
}

impl Report {
    /// An empty report.
    pub(crate) fn new(name: &'static str) -> Self {
        let figures = Map::from_iter([("bench".to_owned(), Value::from(name))]);
        Self { name, rows: Vec::new(), figures }
    }

    /// A figure that goes into the JSON too.
    pub(crate) fn figure(&mut self, key: &str, value: f64, digits: usize) {
        self.row(key, format!("{value:.digits$}"));
        let scale = 10f64.powi(i32::try_from(digits).unwrap_or(6));
        self.figures.insert(key.to_owned(), Value::from((value * scale).round() / scale));
    }

    /// A figure that could not be had here: null in the JSON, and the table says why.
    pub(crate) fn absent(&mut self, key: &str, why: &str) {
        self.row(key, format!("none: {why}"));
        self.figures.insert(key.to_owned(), Value::Null);
    }

    /// A line for people only.
    pub(crate) fn row(&mut self, label: impl Into<String>, text: impl Into<String>) {
        self.rows.push((label.into(), text.into()));
    }

    /// Prints everything.
    #[expect(clippy::print_stdout, reason = "the report is what the program is for")]
    pub(crate) fn print(&self) -> Result<()> {
        println!("{}", self.name);
        let width = self.rows.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
        for (label, text) in &self.rows {
            println!("  {label:width$}  {text}");
        }
        println!("{}", serde_json::to_string(&self.figures)?);
        Ok(())
    }
}

/// The middle of some measurements; 0 of none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// The value below which `share` (0 to 1) of the measurements lie; 0 of none.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index into the measurements")]
pub(crate) fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    let at = (last as f64 * share).round() as usize;
    values.get(at).copied().unwrap_or(0.0)
}
