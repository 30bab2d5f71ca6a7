//! What is known of how the applications of an address read (rule 3).

use sockway_common::counters::Reason;
use sockway_common::pair::ReaderKey;
use sockway_common::reader::{ReaderRow, seen, signal};

use crate::account;
use crate::maps::{LEARNING, READERS};

/// What is known of an address.
#[inline(always)]
pub(crate) fn known(key: &ReaderKey) -> ReaderRow {
    match READERS.get_ptr(key) {
        // SAFETY: a row stays readable until the program ends (RCU); copied at once.
        Some(row) => unsafe { *row },
        None => ReaderRow::default(),
    }
}

/// Writes down what is known of an address now.
#[inline(always)]
pub(crate) fn note(key: &ReaderKey, row: ReaderRow) {
    // A full map forgets the oldest address, which is then watched anew.
    let _full = READERS.insert(key, row, 0);
    if row.seen & seen::UNFIT != 0 {
        count(signal::TURNS);
    }
}

/// Adds one to a slot of `learning`.
#[inline(always)]
fn count(slot: u32) {
    if let Some(counter) = LEARNING.get_ptr_mut(slot) {
        account::bump(counter, 1);
    }
}

/// A slot of `learning`, cut off.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "only compared")]
fn value(slot: u32) -> u32 {
    match LEARNING.get_ptr(slot) {
        // SAFETY: an array's value lives as long as the program.
        Some(value) => unsafe { core::ptr::read_volatile(value) as u32 },
        None => 0,
    }
}

/// Writes down that an application does what [`seen`] says.
#[inline(always)]
pub(crate) fn turned(key: &ReaderKey, what: u32) {
    let mut row = known(key);
    if row.seen & what != what {
        row.seen |= what;
        note(key, row);
    }
}

/// How often an application turned out unfit so far, cut off.
#[inline(always)]
pub(crate) fn turns() -> u32 {
    value(signal::TURNS)
}

/// Why an unfit address is left to TCP.
#[inline(always)]
pub(crate) fn unfit_reason(row: ReaderRow) -> Reason {
    if row.seen & seen::BLOCKING != 0 {
        Reason::Blocking
    } else {
        Reason::Guarded
    }
}

/// Whether it is seen where receiving calls end.
#[inline(always)]
pub(crate) fn sees_ends() -> bool {
    value(signal::ENDS) != 0
}

/// Somebody asks for that.
#[inline(always)]
pub(crate) fn ask() {
    count(signal::ASKS);
}
