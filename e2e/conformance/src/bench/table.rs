//! The figures, for a person and for a program.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// Of one call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    /// From before the process's start to after its end.
    pub(super) took: Duration,
    /// CPU time, which does not depend on what else the machine does.
    pub(super) cpu: Duration,
}

/// Of one verb.
#[derive(Clone, Copy, Debug)]
pub(super) struct Figures {
    pub(super) p50: Duration,
    pub(super) p99: Duration,
    /// CPU time, p50.
    pub(super) cpu: Duration,
}

impl Figures {
    pub(super) fn of(calls: &[Cost]) -> Self {
        let sorted = |of: fn(&Cost) -> Duration| {
            let mut all: Vec<_> = calls.iter().map(of).collect();
            all.sort_unstable();
            all
        };
        let at = |all: &[Duration], percent: usize| all[(all.len() - 1) * percent / 100];
        let (took, cpu) = (sorted(|cost| cost.took), sorted(|cost| cost.cpu));
        Self {
            p50: at(&took, 50),
            p99: at(&took, 99),
            cpu: at(&cpu, 50),
        }
    }

    fn json(self) -> Value {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        json!({ "p50_us": micros(self.p50), "p99_us": micros(self.p99), "cpu_us": micros(self.cpu) })
    }
}

/// One plugin's.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) ours: bool,
    pub(super) add: Figures,
    pub(super) del: Figures,
    pub(super) rss_kib: u64,
}

/// Everybody's.
#[derive(Debug)]
pub(super) struct Table {
    rounds: u32,
    rows: Vec<Row>,
}

impl Table {
    pub(super) const fn new(rounds: u32) -> Self {
        Self {
            rounds,
            rows: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, name: &str, ours: bool, add: Figures, del: Figures, rss_kib: u64) {
        self.rows.push(Row {
            name: name.to_owned(),
            ours,
            add,
            del,
            rss_kib,
        });
    }

    pub(super) fn ours(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.ours)
    }

    pub(super) fn row(&self, name: &str) -> Result<&Row> {
        self.rows
            .iter()
            .find(|row| row.name == name)
            .with_context(|| format!("no row {name}"))
    }

    pub(super) fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            json!({
                "plugin": row.name, "add": row.add.json(), "del": row.del.json(),
                "peak_rss_kib": row.rss_kib, "add_p50_to_ours": self.ratio(row),
            })
        });
        json!({ "rounds": self.rounds, "rows": rows.collect::<Vec<_>>() })
    }

    /// How many times as long as our first row an ADD takes.
    fn ratio(&self, row: &Row) -> f64 {
        let first = self
            .rows
            .first()
            .map_or(f64::NAN, |row| row.add.p50.as_secs_f64());
        (row.add.p50.as_secs_f64() / first * 100.0).round() / 100.0
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| plugin | ADD p50 | ADD p99 | DEL p50 | DEL p99 | CPU of an ADD | ADD p50, ratio | peak RSS |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|---|---|")?;
        for row in &self.rows {
            let ms = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1e3);
            writeln!(
                f,
                "| {} | {} | {} | {} | {} | {} | {:.2} | {:.1} MiB |",
                row.name,
                ms(row.add.p50),
                ms(row.add.p99),
                ms(row.del.p50),
                ms(row.del.p99),
                ms(row.add.cpu),
                self.ratio(row),
                // A few thousand KiB are exact in an f64.
                f64::from(u32::try_from(row.rss_kib).unwrap_or(u32::MAX)) / 1024.0,
            )?;
        }
        write!(f, "{} calls of each verb and plugin, in turn", self.rounds)
    }
}
