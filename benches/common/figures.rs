//! Figures, and how they are written.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The middle and the end of many measurements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The median.
    pub p50: f64,
    /// The 99th percentile; of fewer than 100 measurements the largest.
    pub p99: f64,
    /// How many there were.
    pub of: usize,
}

impl Spread {
    /// Of these measurements; all zero of none.
    pub fn of(mut all: Vec<f64>) -> Self {
        all.sort_by(f64::total_cmp);
        let at =
            |share: usize| all.get((all.len() * share / 100).min(all.len().saturating_sub(1))).copied().unwrap_or(0.0);
        Self { p50: at(50), p99: at(99), of: all.len() }
    }

    /// Of these times, in milliseconds.
    pub fn of_times(all: impl IntoIterator<Item = Duration>) -> Self {
        Self::of(all.into_iter().map(milliseconds).collect())
    }
}

/// A time in milliseconds.
pub fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// A whole number with commas.
pub fn thousands(number: impl Into<u64>) -> String {
    let digits = number.into().to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Milliseconds, with a unit that suits them and two or three digits that count.
pub fn time(milliseconds: f64) -> String {
    match milliseconds {
        ms if ms < 0.0995 => format!("{:.0} µs", ms * 1e3),
        ms if ms < 9.95 => format!("{ms:.2} ms"),
        ms if ms < 99.5 => format!("{ms:.1} ms"),
        ms if ms < 995.0 => format!("{ms:.0} ms"),
        ms if ms < 99_500.0 => format!("{:.2} s", ms / 1e3),
        ms => format!("{:.0} s", ms / 1e3),
    }
}

/// A number of bytes, with a unit that suits it.
pub fn bytes(number: f64) -> String {
    match number {
        b if b < 10_000.0 => format!("{b:.0} B"),
        b if b < 1e6 => format!("{:.0} kB", b / 1e3),
        b if b < 1e10 => format!("{:.1} MB", b / 1e6),
        b => format!("{:.0} GB", b / 1e9),
    }
}

/// A table in Markdown.
pub fn table(head: &[String], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let rule = format!("|{}\n", "---|".repeat(head.len()));
    line(head) + &rule + &rows.iter().map(|row| line(row)).collect::<String>()
}

/// The head of a table.
pub fn head(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).to_owned()).collect()
}
