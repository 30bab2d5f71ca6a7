//! The table, the details below it and the line that says it all.

use std::collections::BTreeMap;
use std::io::{self, Write};

use anyhow::Result;
use serde::Serialize;

use crate::child::Counted;
use crate::exceptions;
use crate::facts::Deviation;
use crate::judge::{Cell, Result as Holds, Row, Verdict};
use crate::variant::{Hop, Kind, Mode, Role, Variant};

/// Sums over all rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Totals {
    /// Cases that hold.
    pub(crate) passed: usize,
    /// Cases that do not and are not known, or are known and do.
    pub(crate) failed: usize,
    /// Cases that are known not to hold.
    pub(crate) known: usize,
    /// Cases that this kernel cannot run.
    pub(crate) unavailable: usize,
    /// Runs that were accelerated and equal.
    pub(crate) accelerated_runs: usize,
    /// Runs that were left to TCP and equal.
    pub(crate) tcp_runs: usize,
    /// Runs that were not equal.
    pub(crate) unequal_runs: usize,
}

impl Totals {
    /// Adds up.
    pub(crate) fn of(rows: &[Row]) -> Self {
        let mut totals = Self::default();
        for row in rows {
            *match row.result {
                Holds::Holds => &mut totals.passed,
                Holds::Fails | Holds::KnownButHolds => &mut totals.failed,
                Holds::Known => &mut totals.known,
                Holds::Unavailable => &mut totals.unavailable,
            } += 1;
            for cell in row.cells.iter().filter(|cell| cell.mode != Mode::Plain) {
                match cell.verdict {
                    Verdict::Accelerated => totals.accelerated_runs += 1,
                    Verdict::Tcp | Verdict::NotAccelerated => totals.tcp_runs += 1,
                    Verdict::Unavailable(_) => {}
                    _ => totals.unequal_runs += 1,
                }
            }
        }
        totals
    }
}

/// For a program.
pub(crate) fn json(rows: &[Row], limits: &[&str], out: &mut impl Write) -> Result<()> {
    #[derive(Serialize)]
    struct Report<'a> {
        kernel: String,
        limits: &'a [&'a str],
        totals: Totals,
        rows: &'a [Row],
    }
    let kernel = sockway_datapath::host::kernel_release();
    serde_json::to_writer_pretty(
        &mut *out,
        &Report {
            kernel,
            limits,
            totals: Totals::of(rows),
            rows,
        },
    )?;
    writeln!(out)?;
    Ok(())
}

/// For a person.
pub(crate) fn human(rows: &[Row], limits: &[&str], out: &mut impl Write) -> Result<()> {
    table(rows, out)?;
    variants(rows, out)?;
    details(rows, out)?;
    for limit in limits {
        writeln!(out, "on this kernel: {limit}")?;
    }
    let totals = Totals::of(rows);
    let Totals {
        passed,
        failed,
        known,
        unavailable,
        ..
    } = totals;
    writeln!(
        out,
        "\nruns: {} accelerated and equal to plain, {} left to TCP and equal, {} not equal",
        totals.accelerated_runs, totals.tcp_runs, totals.unequal_runs
    )?;
    if known + unavailable > 0 {
        writeln!(
            out,
            "{known} known exceptions, {unavailable} not on this kernel"
        )?;
    }
    writeln!(out, "{passed} passed, {failed} failed")?;
    Ok(())
}

fn table(rows: &[Row], out: &mut impl Write) -> io::Result<()> {
    let title = |row: &Row| format!("{}{}", row.case, row.family.suffix());
    let width = rows
        .iter()
        .map(|row| title(row).chars().count())
        .max()
        .unwrap_or(0)
        .max(4);
    write!(out, "\n{:width$}  plain ", "case")?;
    for kind in Kind::ALL {
        write!(out, " {:10}", kind.name())?;
    }
    write!(out, " {:8} elsewhere", "holds?")?;
    writeln!(out, "\n{}", "-".repeat(width + 82))?;
    for row in rows {
        let broken = |cell: &Cell| matches!(cell.verdict, Verdict::PlainBroken(_));
        let plain = if row.cells.iter().any(broken) {
            "BROKEN"
        } else {
            "ok"
        };
        write!(out, "{:width$}  {plain:6}", title(row))?;
        for kind in Kind::ALL {
            let cell = row
                .cells
                .iter()
                .find(|cell| cell.is_usual() && cell.kind == kind);
            write!(out, " {:10}", cell.map_or("-", |cell| word(&cell.verdict)))?;
        }
        write!(out, " {:8}", result(row.result))?;
        writeln!(out, " {}", elsewhere(row))?;
    }
    writeln!(
        out,
        "\nfast: accelerated and equal to plain; tcp: left to TCP and equal; -: not for this kind"
    )
}

const fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Accelerated => "fast",
        Verdict::Tcp => "tcp",
        Verdict::Differs(_) => "DIFFERS",
        Verdict::Hangs(_) => "HANGS",
        Verdict::NotAccelerated => "NOT FAST",
        Verdict::PlainBroken(_) => "?",
        Verdict::Unavailable(_) => "n/a",
    }
}

const fn result(result: Holds) -> &'static str {
    match result {
        Holds::Holds => "yes",
        Holds::Fails => "NO",
        Holds::Known => "known",
        Holds::KnownButHolds => "NOW YES",
        Holds::Unavailable => "n/a",
    }
}

/// What the runs in other hops and modes came to.
fn elsewhere(row: &Row) -> String {
    let others = |cell: &&Cell| cell.mode != Mode::Plain && !cell.is_usual();
    let cells: Vec<_> = row.cells.iter().filter(others).collect();
    let unavailable = |cell: &&Cell| matches!(cell.verdict, Verdict::Unavailable(_));
    if cells.is_empty() {
        return "-".into();
    }
    if cells.iter().all(unavailable) {
        return "n/a".into();
    }
    let unequal = cells.iter().filter(|cell| !cell.verdict.holds()).count();
    if unequal == 0 {
        let fast = cells
            .iter()
            .filter(|cell| cell.verdict == Verdict::Accelerated);
        return format!("{} equal, {} fast", cells.len(), fast.count());
    }
    format!("{unequal} of {} differ", cells.len())
}

/// A line for each end of each hop in each mode.
fn variants(rows: &[Row], out: &mut impl Write) -> io::Result<()> {
    let mut sums: BTreeMap<(Role, Hop, Mode), [usize; 3]> = BTreeMap::new();
    let cells = rows.iter().flat_map(|row| &row.cells);
    for cell in cells.filter(|cell| cell.mode != Mode::Plain) {
        let column = match cell.verdict {
            Verdict::Accelerated => 0,
            Verdict::Tcp | Verdict::NotAccelerated => 1,
            Verdict::Unavailable(_) => continue,
            _ => 2,
        };
        sums.entry((cell.kind.role, cell.hop, cell.mode))
            .or_default()[column] += 1;
    }
    writeln!(out, "\n{:30} fast  tcp  unequal", "end under test")?;
    for ((role, hop, mode), [fast, tcp, unequal]) in sums {
        let name = Variant::name_of(role, hop, mode);
        writeln!(out, "{name:30} {fast:4} {tcp:4} {unequal:8}")?;
    }
    Ok(())
}

fn details(rows: &[Row], out: &mut impl Write) -> io::Result<()> {
    for row in rows {
        let wrong = |cell: &&Cell| !cell.verdict.holds() && cell.mode != Mode::Plain;
        let cells: Vec<_> = row.cells.iter().filter(wrong).collect();
        if cells.is_empty() {
            continue;
        }
        writeln!(
            out,
            "\n{}{}: {}",
            row.case,
            row.family.suffix(),
            row.promise
        )?;
        if let Some(known) = exceptions::of(row.case) {
            writeln!(out, "  known: {}", known.reason)?;
        }
        for Cell {
            kind,
            hop,
            mode,
            verdict,
            outcome,
        } in cells
        {
            let how = format!("{} {}, {}", hop.name(), kind.name(), mode.name());
            match verdict {
                Verdict::Differs(list) => {
                    let Counted {
                        redirected, tcp, ..
                    } = outcome.counted;
                    writeln!(
                        out,
                        "  {how}: differs ({redirected} messages redirected, {tcp} not)"
                    )?;
                    deviations(list, "plain", out)?;
                }
                Verdict::PlainBroken(list) => {
                    writeln!(out, "  {how}: not judged, plain TCP did not do as promised")?;
                    deviations(list, "promised", out)?;
                }
                Verdict::Hangs(after) => writeln!(out, "  {how}: hangs {after}")?,
                Verdict::NotAccelerated => {
                    let Counted { paired, tcp, .. } = outcome.counted;
                    let why = format!("{paired} connections joined, {tcp} messages by TCP");
                    writeln!(out, "  {how}: equal, but nothing was redirected ({why})")?;
                }
                Verdict::Unavailable(why) => writeln!(out, "  {how}: not on this kernel: {why}")?,
                Verdict::Accelerated | Verdict::Tcp => {}
            }
        }
    }
    Ok(())
}

fn deviations(list: &[Deviation], against: &str, out: &mut impl Write) -> io::Result<()> {
    const SHOWN: usize = 6;
    for Deviation {
        what,
        expected,
        seen,
    } in list.iter().take(SHOWN)
    {
        writeln!(out, "    {what}: {seen}, {against}: {expected}")?;
    }
    if list.len() > SHOWN {
        writeln!(out, "    and {} more", list.len() - SHOWN)?;
    }
    Ok(())
}
