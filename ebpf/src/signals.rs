//! The words that say how things are on this node (map `signals`).

use sockway_common::signal::{ASKS, EPOCH, OFF, QUESTION, SEES_ENDS};

use crate::counter::bump;
use crate::maps::SIGNALS;

#[inline(always)]
fn count(slot: u32) {
    if let Some(counter) = SIGNALS.get_ptr_mut(slot) {
        bump(counter, 1);
    }
}

#[inline(always)]
fn value(slot: u32) -> u64 {
    match SIGNALS.get_ptr(slot) {
        // SAFETY: an array's value lives as long as the program.
        Some(value) => unsafe { core::ptr::read_volatile(value) },
        None => 0,
    }
}

/// Has every direction of the node looked at anew.
#[inline(always)]
pub(crate) fn next_epoch() {
    count(EPOCH);
}

/// How often that happened so far, cut off.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "only compared")]
pub(crate) fn epoch() -> u32 {
    value(EPOCH) as u32
}

/// Whether the node is switched off.
#[inline(always)]
pub(crate) fn is_off() -> bool {
    value(OFF) != 0
}

/// Whether it is seen where receiving calls end.
#[inline(always)]
pub(crate) fn sees_ends() -> bool {
    value(SEES_ENDS) != 0
}

/// The number of the question which threads are in a call; `None` while nobody asks.
#[inline(always)]
pub(crate) fn question() -> Option<u64> {
    let number = value(QUESTION);
    (number & 1 != 0).then_some(number)
}

/// Somebody wants that.
#[inline(always)]
pub(crate) fn ask() {
    count(ASKS);
}
