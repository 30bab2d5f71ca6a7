//! Ends that would be alone in the sockhash.
//!
//! Where one end is left out (it blocks, splices, has kTLS) nothing is redirected either way, and the
//! other end would only pay for its place: in the sockhash a send is copied into pages first. So that
//! one leaves, or does not come in, until the reason is gone. Where that is known when a connection
//! is established, the programs leave it out at once (`ebpf/src/establish`).

use std::collections::HashMap;

use sockway_common::end::EndRow;
use sockway_common::policy;
use sockway_common::program::ProgramRow;

/// By cookie, the other end's [`Reason`](sockway_common::counters::Reason) as u32, as of one look at every end.
#[derive(Debug, Default)]
pub(super) struct Alone(HashMap<u64, u32>);

impl Alone {
    /// Looks at an end; `may`: whether it may come in, as far as its program says.
    pub(super) fn note(&mut self, row: &EndRow, program: &ProgramRow, may: bool) {
        if row.joined == 0
            && row.alone == 0
            && row.peer != 0
            && policy::stays_out(row.why, program, may)
        {
            self.0.insert(row.peer, row.why);
        }
    }

    /// Whether an end would be alone.
    pub(super) fn has(&self, cookie: u64) -> bool {
        self.0.contains_key(&cookie)
    }

    /// Those that were not so at an earlier look.
    pub(super) fn since<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = (u64, u32)> + 'a {
        let new = self.0.iter().filter(|(cookie, _)| !before.has(**cookie));
        new.map(|(cookie, why)| (*cookie, *why))
    }
}

#[cfg(test)]
mod tests {
    use sockway_common::counters::Reason;

    use super::*;

    fn row(peer: u64, why: Reason) -> EndRow {
        EndRow {
            peer,
            why: why as u32,
            ..EndRow::default()
        }
    }

    #[test]
    fn who_is_left_out_leaves_the_other_end_alone_and_is_not_alone_itself() {
        let (mut before, mut now) = (Alone::default(), Alone::default());
        let known = ProgramRow::default();
        before.note(&row(1, Reason::Blocking), &known, false);
        let blocks = row(2, Reason::Blocking);
        let alone = EndRow { alone: 1, ..blocks };
        let joined = EndRow {
            joined: 1,
            ..blocks
        };
        for row in [
            alone,
            joined,
            row(0, Reason::Blocking),
            row(2, Reason::NoPeer),
        ] {
            now.note(&row, &known, false);
        }
        assert!(!now.has(2));
        now.note(&row(1, Reason::Blocking), &known, false);
        now.note(&blocks, &known, false);
        assert_eq!(
            now.since(&before).collect::<Vec<_>>(),
            [(2, Reason::Blocking as u32)]
        );
        assert!(now.has(2));
    }
}
