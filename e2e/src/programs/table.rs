//! The table of programs.

use std::fmt::{self, Write as _};

use anyhow::{Result, bail, ensure};
use serde::Serialize;
use sockway_common::pair::hop;

use super::manner::{BAR, Ends};
use super::meter::{Bytes, HOPS, share};
use super::program::Program;
use super::transfer::{BOTH, FETCH, SEND};

const FAILED: &str = "FAILED";

/// What the interfaces saw of one phase, by hop.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Share {
    /// The phase's name.
    pub(crate) phase: &'static str,
    /// Plain.
    pub(crate) plain: Bytes,
    /// Accelerated.
    pub(crate) accelerated: Bytes,
}

/// One program.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    /// Its name.
    pub(crate) program: &'static str,
    /// How many outputs, exit codes, statuses and checksums were compared.
    pub(crate) facts: usize,
    /// A number that stands for all of them, plain.
    pub(crate) plain: String,
    /// The same, accelerated.
    pub(crate) accelerated: String,
    /// What the interfaces saw.
    pub(crate) shares: Vec<Share>,
    /// Bytes redirected, as Sockway counts them, by hop.
    pub(crate) redirected: Bytes,
    /// What is wrong.
    pub(crate) fault: Option<String>,
    #[serde(skip)]
    ends: Ends,
}

impl Row {
    /// Nothing known yet.
    pub(crate) fn new(program: &Program) -> Self {
        Self {
            program: program.name,
            facts: 0,
            plain: String::new(),
            accelerated: String::new(),
            shares: Vec::new(),
            redirected: Bytes::default(),
            fault: None,
            ends: program.ends,
        }
    }

    /// In a word.
    pub(crate) const fn outcome(&self) -> &'static str {
        match &self.fault {
            None => "ok",
            Some(_) => FAILED,
        }
    }

    fn phase(&self, name: &str) -> Option<&Share> {
        self.shares.iter().find(|share| share.phase == name)
    }

    /// Whether a hop is held to the bar in a phase.
    fn held(&self, phase: &str, kind: u32, fionread_is_right: bool) -> bool {
        let held = |fetch| self.ends.held(kind, fetch, fionread_is_right);
        match phase {
            FETCH => held(true),
            SEND => held(false),
            BOTH => held(true) && held(false),
            _ => false,
        }
    }

    /// Every phase and hop of the row that is held to the bar, with its share.
    fn all_held(&self, fionread_is_right: bool) -> impl Iterator<Item = (&Share, usize)> {
        self.shares.iter().flat_map(move |share| {
            (0..HOPS.len()).filter_map(move |at| {
                let held = self.held(share.phase, HOPS[at], fionread_is_right);
                held.then_some((share, at))
            })
        })
    }

    /// An error where less is redirected than has to be.
    pub(crate) fn reach_the_bar(&self, fionread_is_right: bool) -> Result<()> {
        let missed: Vec<String> = self
            .all_held(fionread_is_right)
            .filter_map(|(phase, at)| {
                let share = share(phase.plain[at], phase.accelerated[at])?;
                (share < BAR).then(|| {
                    let hop = hop::name(HOPS[at]);
                    format!("{} {hop} {:.0} %", phase.phase, 100.0 * share)
                })
            })
            .collect();
        ensure!(
            missed.is_empty(),
            "below {:.0} % redirected: {}",
            100.0 * BAR,
            missed.join(", ")
        );
        Ok(())
    }

    /// An error where Sockway counts other bytes than the interfaces miss.
    pub(crate) fn counted_right(&self) -> Result<()> {
        /// Retransmits, and how segments and acknowledgements were put together.
        const TOLERANCE: u64 = 1 << 20;
        let Some(all) = self.phase("all") else {
            return Ok(());
        };
        for (at, counted) in self.redirected.into_iter().enumerate() {
            let missing = all.plain[at].saturating_sub(all.accelerated[at]);
            ensure!(
                missing.abs_diff(counted) <= all.plain[at] / 12 + TOLERANCE,
                "hop {}: the interfaces saw {missing} bytes less than plain, of {}, but {counted} are said to be redirected",
                hop::name(HOPS[at]),
                all.plain[at]
            );
        }
        Ok(())
    }

    /// The three hops' shares in a phase, in per cent.
    fn cell(&self, phase: &str) -> String {
        let Some(Share {
            plain, accelerated, ..
        }) = self.phase(phase)
        else {
            return String::new();
        };
        let cells = (0..HOPS.len()).map(|at| {
            share(plain[at], accelerated[at])
                .map_or_else(|| "-".to_owned(), |share| format!("{:.0}", 100.0 * share))
        });
        cells.collect::<Vec<_>>().join(" ")
    }
}

/// All of them.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Table {
    /// One for each program.
    pub(crate) rows: Vec<Row>,
    /// See [`super::stage::Stage`].
    pub(crate) fionread_is_right: bool,
}

impl Table {
    /// Rows of that outcome.
    fn count(&self, outcome: &str) -> usize {
        let rows = self.rows.iter().filter(|row| row.outcome() == outcome);
        rows.count()
    }

    /// The share of all bytes that are held to the bar, over all programs.
    fn total(&self) -> Option<f64> {
        let held = self.rows.iter();
        let held = held.flat_map(|row| row.all_held(self.fionread_is_right));
        let (plain, accelerated) = held.fold((0, 0), |(plain, accelerated), (share, at)| {
            (plain + share.plain[at], accelerated + share.accelerated[at])
        });
        share(plain, accelerated)
    }

    /// An error where a program's row has a fault, or too little was redirected of all.
    pub(crate) fn verdict(&self, bars: bool) -> Result<()> {
        let failed = self.count(FAILED);
        if failed > 0 {
            bail!("{failed} programs failed");
        }
        if let Some(total) = self.total().filter(|total| bars && *total < BAR) {
            bail!("{:.0} % of all bytes were redirected", 100.0 * total);
        }
        Ok(())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const HEAD: [&str; 10] = [
            "program",
            "client / server",
            "facts",
            "plain",
            "accelerated",
            "fetch",
            "send",
            "slow fetch",
            "slow send",
            "all",
        ];
        let line = |row: &Row| {
            let Ends { client, server } = row.ends;
            let same = row.plain == row.accelerated;
            // What goes both ways at once has one cell.
            let fetch = if row.phase(BOTH).is_some() {
                BOTH
            } else {
                FETCH
            };
            [
                row.program.to_owned(),
                format!("{} / {}", client.word(), server.word()),
                row.facts.to_string(),
                row.plain.clone(),
                if same { "the same" } else { &row.accelerated }.to_owned(),
                row.cell(fetch),
                row.cell(SEND),
                row.cell("slow fetch"),
                row.cell("slow send"),
                row.cell("all"),
            ]
        };
        let mut lines = vec![HEAD.map(str::to_owned)];
        lines.extend(self.rows.iter().map(line));
        let width = |column: usize| {
            let cells = lines.iter().map(|line| line[column].chars().count());
            cells.max().unwrap_or_default() + 2
        };
        let widths: [usize; HEAD.len()] = std::array::from_fn(width);
        let fionread = if self.fionread_is_right {
            "right"
        } else {
            "wrong"
        };
        writeln!(
            f,
            "per cent of the bytes that the interfaces no longer saw: client hop, Envoys, server hop; \
             this kernel's FIONREAD is {fionread}\n"
        )?;
        for line in &lines {
            let mut text = String::new();
            for (cell, width) in line.iter().zip(widths) {
                let _ = write!(text, "{cell:<width$}");
            }
            writeln!(f, "{}", text.trim_end())?;
        }
        writeln!(f)?;
        for row in &self.rows {
            if let Some(fault) = &row.fault {
                writeln!(f, "{:<8}{}: {fault}", row.outcome(), row.program)?;
            }
        }
        if let Some(total) = self.total() {
            writeln!(
                f,
                "{:.1} % of the bytes that are held to the bar were redirected",
                100.0 * total
            )?;
        }
        writeln!(
            f,
            "{} passed, {} failed",
            self.count("ok"),
            self.count(FAILED)
        )
    }
}
