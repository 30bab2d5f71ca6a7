//! Output for a person: aligned columns, readable numbers, colours on a terminal only.
//!
//! Own code, because it is little: tables have neither borders nor wrapped cells, which is what a crate for them would
//! add, and ages have two units at most, as kubectl prints them.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use serde::Serialize;

/// Colours, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paint {
    on: bool,
}

impl Paint {
    /// Colours where standard output is a terminal and `NO_COLOR` is not set.
    pub fn auto() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        Self {
            on: wanted && std::io::stdout().is_terminal(),
        }
    }

    /// No colours.
    pub const fn plain() -> Self {
        Self { on: false }
    }

    /// For what is as it should be.
    pub fn good(self, text: &str) -> String {
        self.wrap(text, "32")
    }

    /// For what needs attention.
    pub fn bad(self, text: &str) -> String {
        self.wrap(text, "31")
    }

    /// For what is worth a look.
    pub fn warn(self, text: &str) -> String {
        self.wrap(text, "33")
    }

    /// For headings.
    pub fn head(self, text: &str) -> String {
        self.wrap(text, "1")
    }

    fn wrap(self, text: &str, code: &str) -> String {
        if self.on {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// How a column stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// Rows under headings, each column as wide as its widest cell.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Without rows.
    pub fn new(columns: &[(&'static str, Align)]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row; cells beyond the columns are not shown.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The text, each line after `indent` spaces and without white space at its end.
    pub fn render(&self, paint: Paint, indent: usize) -> String {
        let width = |at: usize| {
            let cells = self
                .rows
                .iter()
                .filter_map(|r| r.get(at))
                .map(|c| c.chars().count());
            cells.chain([self.columns[at].0.len()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let line = |cells: &[String]| {
            let mut line = " ".repeat(indent);
            for ((cell, (_, align)), width) in cells.iter().zip(&self.columns).zip(&widths) {
                let gap = width - cell.chars().count();
                let (before, after) = match align {
                    Align::Left => (0, gap),
                    Align::Right => (gap, 0),
                };
                let _ = write!(line, "{:before$}{cell}{:after$}  ", "", "");
            }
            line.trim_end().to_owned()
        };
        let heads: Vec<String> = self
            .columns
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .collect();
        let mut text = paint.head(&line(&heads)) + "\n";
        for row in &self.rows {
            text.push_str(&line(row));
            text.push('\n');
        }
        text
    }
}

/// Lines of `name  value`, names in one column.
pub fn facts(lines: &[(&str, String)]) -> String {
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, value) in lines {
        let _ = writeln!(text, "{name:<width$}  {value}");
    }
    text
}

/// Writes to standard output. A reader that went away (`| head`) is no error.
///
/// # Errors
///
/// Any other failure to write.
pub fn print(text: &str) -> Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(e).context("cannot write to standard output")
        }
        _ => Ok(()),
    }
}

/// Writes one JSON document to standard output.
///
/// # Errors
///
/// As for [`print`](print()).
pub fn print_json(document: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(document).context("cannot write the report as JSON")?;
    print(&(text + "\n"))
}

/// `1234567` as `1,234,567`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in the unit that fits: `1.5 MiB`.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if n < 1024 {
        return format!("{n} B");
    }
    let mut tenths = u128::from(n) * 10 / 1024;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// `part` of `whole` in per cent; `-` where there is no whole.
pub fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    let tenths = u128::from(part) * 1000 / u128::from(whole);
    format!("{}.{} %", tenths / 10, tenths % 10)
}

/// How long ago, in the one or two largest units: `3d4h`.
pub fn age(since: SystemTime, now: SystemTime) -> String {
    let seconds = now
        .duration_since(since)
        .unwrap_or(Duration::ZERO)
        .as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, m) => format!("{m}m{}s", seconds % 60),
        (0, h, m) => format!("{h}h{m}m"),
        (d, h, _) => format!("{d}d{h}h"),
    }
}

/// Paths in one line.
pub fn paths(all: &[std::path::PathBuf]) -> String {
    let shown: Vec<String> = all.iter().map(|path| path.display().to_string()).collect();
    shown.join(", ")
}

#[cfg(test)]
mod tests;
