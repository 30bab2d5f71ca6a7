//! Whether the other end is left out, so that there is nothing in the sockhash for this one.

use sockway_common::end::EndRow;
use sockway_common::policy::{self, End};
use sockway_common::program::ProgramKey;

use crate::{ends, kernel, known};

/// What is known of the other end: for the connecting one the program that listens, for the accepted one the cookie.
#[derive(Clone, Copy)]
pub(super) enum Other<'a> {
    Listens(&'a ProgramKey, u32, u32),
    Connected(u64),
}

impl Other<'_> {
    /// 0, or why it is left out: a [`sockway_common::counters::Reason`] and one.
    #[inline(always)]
    pub(super) fn why(self) -> u32 {
        match self {
            Self::Listens(program, scope, hop) => of_listener(program, scope, hop),
            Self::Connected(cookie) => ends::get(cookie).map_or(0, of_row),
        }
    }
}

/// Of an end that is not accepted yet, so that it is known of its program only if it blocks.
#[inline(never)]
fn of_listener(program: &ProgramKey, scope: u32, hop: u32) -> u32 {
    let known = known::of(program);
    let whole = known::of_whole(program);
    match policy::come_in(scope, hop, End::default(), known, whole, kernel::fionread()) {
        Err(why) if policy::stays_out(why as u32, known, false) => why as u32 + 1,
        _ => 0,
    }
}

#[inline(never)]
fn of_row(row: &EndRow) -> u32 {
    if row.joined != 0 || row.alone != 0 {
        return 0;
    }
    let known = known::of(&row.program);
    let whole = known::of_whole(&row.program);
    let end = End {
        nonblocking: Some(true),
        ..End::default()
    };
    let may = policy::come_in(row.scope, row.hop, end, known, whole, kernel::fionread());
    if policy::stays_out(row.why, known, may.is_ok()) {
        row.why + 1
    } else {
        0
    }
}
