//! The table of programs.

use std::fmt::{self, Write as _};

use anyhow::{Result, bail};
use serde::Serialize;
use sockway_common::counters::Reason;
use sockway_common::pair::hop;

use crate::hops::Hops;

/// Bytes of a tenth of a MiB.
const TENTH: u64 = (1 << 20) / 10;
const FAILED: &str = "FAILED";

/// One program.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Row {
    /// Its name.
    pub(crate) program: &'static str,
    /// How many outputs, exit codes, statuses and checksums were compared.
    pub(crate) facts: usize,
    /// A number that stands for all of them, plain.
    pub(crate) plain: String,
    /// The same, accelerated.
    pub(crate) accelerated: String,
    /// What went over the hops.
    pub(crate) hops: Hops,
    /// Connections that were left to TCP, and why.
    pub(crate) left: String,
    /// How client and server read.
    pub(crate) readers: [String; 2],
    /// What is wrong.
    pub(crate) fault: Option<String>,
}

impl Row {
    /// Nothing known yet.
    pub(crate) fn new(program: &'static str) -> Self {
        Self {
            program,
            ..Self::default()
        }
    }

    /// In a word.
    pub(crate) const fn outcome(&self) -> &'static str {
        match &self.fault {
            None => "ok",
            Some(_) => FAILED,
        }
    }

    /// Joined of all connections, and MiB redirected.
    fn hop(&self, kind: u32) -> String {
        let Some(hop) = self.hops.get(kind) else {
            return "-".to_owned();
        };
        let tenths = hop.bytes.div_ceil(TENTH);
        let (joined, local) = (hop.joined, hop.local);
        format!("{joined}/{local} {}.{}", tenths / 10, tenths % 10)
    }
}

/// Reasons with their counts, in words.
pub(crate) fn reasons(left: &[(Reason, u64)]) -> String {
    let words = left
        .iter()
        .map(|(reason, count)| format!("{count} {}", reason.name()));
    words.collect::<Vec<_>>().join(", ")
}

/// All of them.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Table(pub(crate) Vec<Row>);

impl Table {
    /// Rows of that outcome.
    fn count(&self, outcome: &str) -> usize {
        let rows = self.0.iter().filter(|row| row.outcome() == outcome);
        rows.count()
    }

    /// An error where a program's row has a fault.
    pub(crate) fn verdict(&self) -> Result<()> {
        let failed = self.count(FAILED);
        if failed > 0 {
            bail!("{failed} programs failed");
        }
        Ok(())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const HEAD: [&str; 9] = [
            "program",
            "facts",
            "plain",
            "accelerated",
            "client hop",
            "Envoys",
            "server hop",
            "client / server read",
            "left to TCP",
        ];
        let line = |row: &Row| {
            [
                row.program.to_owned(),
                row.facts.to_string(),
                row.plain.clone(),
                if row.plain == row.accelerated {
                    "the same".to_owned()
                } else {
                    row.accelerated.clone()
                },
                row.hop(hop::OUTBOUND),
                row.hop(hop::INBOUND),
                row.hop(hop::APP),
                row.readers.join(" / "),
                row.left.clone(),
            ]
        };
        let mut lines = vec![HEAD.map(str::to_owned)];
        lines.extend(self.0.iter().map(line));
        let width = |column: usize| {
            let cells = lines.iter().map(|line| line[column].chars().count());
            cells.max().unwrap_or_default() + 2
        };
        let widths: [usize; HEAD.len()] = std::array::from_fn(width);
        writeln!(f, "hops: connections joined / all, MiB redirected\n")?;
        for line in &lines {
            let mut text = String::new();
            for (cell, width) in line.iter().zip(widths) {
                let _ = write!(text, "{cell:<width$}");
            }
            writeln!(f, "{}", text.trim_end())?;
        }
        writeln!(f)?;
        for row in &self.0 {
            if let Some(fault) = &row.fault {
                writeln!(f, "{:<8}{}: {fault}", row.outcome(), row.program)?;
            }
        }
        writeln!(
            f,
            "{} passed, {} failed",
            self.count("ok"),
            self.count(FAILED)
        )
    }
}
