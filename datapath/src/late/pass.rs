//! A look at every end: what nobody told of, or what another run began.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use sockway_common::config::Config;
use sockway_common::counters::Reason;
use sockway_common::end::EndRow;
use sockway_common::order::what;
use sockway_common::policy::{self, End};
use sockway_common::program::{ProgramKey, ProgramRow};

use super::alone::Alone;
use super::calm::Mark;
use super::fair::Fair;
use super::off::Off;
use super::{Done, Late, Namespaces, order};
use crate::stats;
use crate::{Error, sys};

impl Late {
    /// Looks at every end: what nobody told of, or what another run began.
    ///
    /// # Errors
    ///
    /// As [`Self::turn`].
    pub fn pass(&mut self, namespaces: Namespaces<'_>) -> Result<Done, Error> {
        let mut done = Done::default();
        let known = stats::programs(&self.pins)?;
        // Before the ends are looked at: what changes meanwhile is news to the next pass.
        let mark = Mark::of(&self.pins, &known)?;
        self.off = Off::read(&self.pins)?;
        let known: HashMap<ProgramKey, ProgramRow> = known.into_iter().collect();
        let [mut joins, mut unopened] = [Fair::new(self.pods), Fair::new(self.pods)];
        let mut leaves = Vec::new();
        let mut alone = Alone::default();
        let (config, off, ends, were_alone) = (&self.config, &self.off, &self.ends, &self.alone);
        stats::each_end(&self.pins, |cookie, row| {
            let program = known.get(&row.program).copied().unwrap_or_default();
            let fit = may_be_in(config, &row, &program, &known);
            let may = fit && !off.holds(&row, ends);
            alone.note(&row, &program, fit);
            if let Some(still) = &mut self.still {
                still.note(cookie, &row);
            }
            if row.joined == 0 {
                // One that blocks is told of by the first read that does not.
                let blocks = row.why == Reason::Blocking as u32 && row.alone == 0;
                // Who was alone at the last pass comes in with the next one, or with the other end.
                let stays = blocks || row.peer == 0 || row.leaves != 0 || were_alone.has(cookie);
                if may && self.joins && !stays {
                    joins.add(cookie, row);
                }
            } else if row.leaves != 0 || !may {
                leaves.push(cookie);
            } else if row.open == 0 && !self.resting.has(cookie) {
                unopened.add(cookie, row);
            }
        })?;
        self.pods = joins.pods().max(unopened.pods());
        let more = joins.is_cut();
        let (mut joins, unopened) = (joins.take(), unopened.take());
        joins.retain(|(cookie, _)| !alone.has(*cookie));
        for (cookie, why) in alone.since(were_alone) {
            self.runner.run(&mut order::alone(cookie, why))?;
            if ends.get(&cookie, 0).is_ok_and(|row| row.joined != 0) {
                leaves.push(cookie);
            }
        }
        self.alone = alone;
        if !unopened.is_empty() {
            let looks = unopened
                .iter()
                .map(|(cookie, row)| (row.netns, order::of(what::LOOK, *cookie, row)));
            let seen = self.runner.run_in(namespaces, looks.collect())?;
            self.resting.note(&seen);
            for (cookie, _) in unopened {
                self.resting.add(cookie);
            }
        }
        self.join(&joins, namespaces, &mut done)?;
        // Who is refused now would be refused again.
        self.more = more && done.joined > 0;
        // A keeper lives for months and should not keep what one look at everything took.
        sys::give_memory_back();
        self.close(&leaves)?;
        self.go_on(&mut done)?;
        if let Some(still) = &mut self.still {
            let stood = still.look(&self.runner, &self.ends, namespaces)?;
            self.stood.extend(stood);
        }
        let nothing = done == Done::default() && leaves.is_empty();
        self.calm.note(nothing.then_some(mark));
        Ok(done)
    }
}

/// Whether an end may be in the sockhash, as far as its program says: the rest is seen by
/// `sockway_late` and by the sends.
fn may_be_in(
    config: &Config,
    row: &EndRow,
    program: &ProgramRow,
    known: &HashMap<ProgramKey, ProgramRow>,
) -> bool {
    let whole = if row.program.is_of_client() {
        let whole = row.program.whole((row.program.id, row.program.device));
        known.get(&whole).copied().unwrap_or_default()
    } else {
        ProgramRow::default()
    };
    policy::come_in(
        row.scope,
        row.hop,
        End::FREE,
        program,
        &whole,
        config.fionread,
    )
    .is_ok()
}

/// When to look at every end next: as often as a third of a per cent of one CPU allows, within bounds.
#[must_use]
pub fn next_pass(began: Instant, took: Duration) -> Instant {
    const LEAST: Duration = Duration::from_millis(500);
    const MOST: Duration = Duration::from_secs(2);
    const SHARE: u32 = 300;
    began + (took * SHARE).clamp(LEAST, MOST)
}
