//! Whether the other end is left out, so that there is nothing in the sockhash for this one.

use sockway_common::policy;
use sockway_common::program::ProgramKey;

use crate::{ends, known};

/// What is known of the other end: for the connecting one the program that listens, for the accepted one the cookie.
#[derive(Clone, Copy)]
pub(super) enum Other<'a> {
    Listens(&'a ProgramKey, u32, u32),
    Connected(u64),
}

impl Other<'_> {
    /// Why it is left out, a [`sockway_common::counters::Reason`] as u32, or [`u32::MAX`].
    #[inline(always)]
    pub(super) fn why(self) -> u32 {
        match self {
            Self::Listens(program, scope, hop) => known::settled(program, scope, hop),
            Self::Connected(cookie) => ends::get(cookie).map_or(u32::MAX, |row| {
                if row.joined != 0 || row.alone != 0 {
                    u32::MAX
                } else if policy::stays_out(row.why, known::of(&row.program), true) {
                    row.why
                } else {
                    known::settled(&row.program, row.scope, row.hop)
                }
            }),
        }
    }
}
