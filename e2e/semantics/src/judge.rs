//! Whether a case holds: what the accelerated runs saw against what the plain ones did.

use serde::Serialize;

use crate::case::Case;
use crate::exceptions;
use crate::facts::{Deviation, broken, differences};
use crate::runner::{Ending, Outcome, Task};
use crate::variant::{Family, Hop, Kind, Mode};

/// What one run came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "is", content = "detail")]
pub(crate) enum Verdict {
    /// As promised and as plain; redirected messages were counted.
    Accelerated,
    /// As promised and as plain; the connection was left to TCP.
    Tcp,
    /// Seen otherwise, in so many ways.
    Differs(Vec<Deviation>),
    /// Did not end in time, as the plain run did.
    Hangs(String),
    /// As plain, but left to TCP where it must be accelerated: nothing was shown.
    NotAccelerated,
    /// The plain run itself did not see what TCP promises: the case is wrong.
    PlainBroken(Vec<Deviation>),
    /// Not on this kernel.
    Unavailable(String),
}

impl Verdict {
    /// The promise was kept.
    pub(crate) const fn holds(&self) -> bool {
        matches!(self, Self::Accelerated | Self::Tcp)
    }
}

/// One run and its verdict.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Cell {
    /// The end under test.
    pub(crate) kind: Kind,
    /// Where it is.
    pub(crate) hop: Hop,
    /// Plain or accelerated.
    pub(crate) mode: Mode,
    /// What it came to.
    pub(crate) verdict: Verdict,
    /// What the run gave.
    pub(crate) outcome: Outcome,
}

impl Cell {
    /// Whether it stands in the table's first columns.
    pub(crate) fn is_usual(&self) -> bool {
        self.mode == Mode::Auto && self.hop == Hop::usual(self.kind.role)
    }
}

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    /// The case's name.
    pub(crate) case: &'static str,
    /// What is promised.
    pub(crate) promise: &'static str,
    /// The addresses.
    pub(crate) family: Family,
    /// Its runs.
    pub(crate) cells: Vec<Cell>,
    /// What it came to as a whole.
    pub(crate) result: Result,
}

/// What a case came to in scope `auto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Result {
    /// It holds for every kind of application.
    Holds,
    /// It does not, and that is not known.
    Fails,
    /// It does not for exactly the kinds that are known.
    Known,
    /// It holds though it is known not to.
    KnownButHolds,
    /// Not on this kernel.
    Unavailable,
}

/// Puts the runs of every case and family into rows.
pub(crate) fn rows(tasks: &[Task], outcomes: &[Outcome]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let all: Vec<_> = tasks.iter().zip(outcomes).collect();
    for (task, outcome) in &all {
        let plain = all.iter().find(|(other, _)| {
            other.mode == Mode::Plain
                && other.case.name == task.case.name
                && (other.kind, other.family) == (task.kind, task.family)
        });
        let Some((_, plain)) = plain else { continue };
        let cell = Cell {
            kind: task.kind,
            hop: task.hop,
            mode: task.mode,
            verdict: verdict(task, plain, outcome),
            outcome: (*outcome).clone(),
        };
        let row = rows
            .iter_mut()
            .find(|r| (r.case, r.family) == (task.case.name, task.family));
        if let Some(row) = row {
            row.cells.push(cell);
        } else {
            let Case { name, promise, .. } = *task.case;
            let result = Result::Holds;
            rows.push(Row {
                case: name,
                promise,
                family: task.family,
                cells: vec![cell],
                result,
            });
        }
    }
    for row in &mut rows {
        row.result = result(row);
    }
    rows
}

fn verdict(task: &Task, plain: &Outcome, here: &Outcome) -> Verdict {
    if let Ending::Unavailable(why) = &plain.ending {
        return Verdict::Unavailable(why.clone());
    }
    let mut wrong = broken(&plain.facts);
    if plain.ending != Ending::Finished {
        wrong.push(ended(&plain.ending));
    }
    if !wrong.is_empty() {
        return Verdict::PlainBroken(wrong);
    }
    if let Ending::Hung(after) = &here.ending {
        return Verdict::Hangs(after.clone());
    }
    let mut different = differences(&plain.facts, &here.facts);
    if here.ending != Ending::Finished {
        different.push(ended(&here.ending));
    }
    if !different.is_empty() {
        return Verdict::Differs(different);
    }
    if here.counted.redirected + here.came_in > 0 {
        Verdict::Accelerated
    } else if task.mode == Mode::Auto && task.kind.is_in(task.case.accelerated) {
        Verdict::NotAccelerated
    } else {
        Verdict::Tcp
    }
}

fn ended(ending: &Ending) -> Deviation {
    Deviation {
        what: "how the run ended".into(),
        expected: format!("{:?}", Ending::Finished),
        seen: format!("{ending:?}"),
    }
}

fn result(row: &Row) -> Result {
    let judged = || row.cells.iter().filter(|cell| cell.mode != Mode::All);
    if judged().all(|cell| matches!(cell.verdict, Verdict::Unavailable(_))) {
        return Result::Unavailable;
    }
    let Some(known) = exceptions::of(row.case) else {
        return if judged().all(|cell| cell.verdict.holds()) {
            Result::Holds
        } else {
            Result::Fails
        };
    };
    let accelerated = |cell: &Cell| cell.mode != Mode::Plain;
    let expected = |cell: &Cell| accelerated(cell) && cell.kind.is_in(known.kinds);
    let seen = |cell: &Cell| matches!(cell.verdict, Verdict::Differs(_) | Verdict::Hangs(_));
    if !judged().all(|cell| cell.verdict.holds() || (expected(cell) && seen(cell))) {
        Result::Fails
    } else if judged()
        // In other modes it may stay on TCP in such a case.
        .filter(|cell| cell.is_usual() && expected(cell))
        .any(|cell| cell.verdict.holds())
    {
        Result::KnownButHolds
    } else {
        Result::Known
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
