//! The rows of both ends of every connection that may take part (map `ends`).
//!
//! Each field of a row has one writer, or is only ever set: see [`EndRow`].

use sockway_common::counters::Reason;
use sockway_common::end::{EndRow, event};

use crate::maps::ENDS;
use crate::{events, signals};

/// The row of an end.
#[inline(always)]
pub(crate) fn get<'a>(cookie: u64) -> Option<&'a EndRow> {
    // SAFETY: a row stays readable until the program ends (RCU); fields that others write
    // meanwhile are words or bytes, of which an old value does no harm.
    ENDS.get_ptr(cookie).map(|row| unsafe { &*row })
}

/// The same for who writes fields of it.
#[inline(always)]
pub(crate) fn get_mut(cookie: u64) -> Option<*mut EndRow> {
    ENDS.get_ptr_mut(cookie)
}

/// Writes one field of a row, at once and whole.
macro_rules! set {
    ($row:expr, $field:ident, $value:expr) => {{
        let field = {
            let row: *mut sockway_common::end::EndRow = $row;
            // SAFETY: `row` is a checked pointer to a map value; only an address is taken.
            unsafe { &raw mut (*row).$field }
        };
        // SAFETY: an aligned word or byte of the map value, which lives until the program ends (RCU).
        unsafe { field.write_volatile($value) };
    }};
}
pub(crate) use set;

/// Notes why an end is not in the sockhash, or is not to be there.
#[inline(always)]
pub(crate) fn leave_out(row: *mut EndRow, reason: Reason) {
    set!(row, why, reason as u32);
    set!(row, alone, 0);
}

/// From now on its reads are not looked at, while [`EndRow::is_quiet`] says so. Called by the reads' hook only.
#[inline(always)]
pub(crate) fn be_quiet(row: *mut EndRow, bit: u32) {
    // SAFETY: as in `get`.
    let role = unsafe { (*row).role };
    set!(row, role, role | bit);
    set!(row, gave, 0);
}

/// Makes the row of an end; false where the map is full, which leaves the end on TCP.
#[inline(always)]
pub(crate) fn create(cookie: u64, row: &EndRow) -> bool {
    ENDS.insert(cookie, row, 0).is_ok()
}

/// Takes the row out.
#[inline(always)]
pub(crate) fn remove(cookie: u64) {
    let _gone = ENDS.remove(cookie);
}

/// Has an end leave the sockhash: nobody redirects to it any more, and user space takes it out.
#[inline(always)]
pub(crate) fn let_leave(cookie: u64) {
    let Some(row) = get_mut(cookie) else {
        return;
    };
    // SAFETY: as in `get`.
    let now = unsafe { &*row };
    if now.joined == 0 || now.leaves != 0 {
        return;
    }
    set!(row, leaves, 1);
    signals::next_epoch();
    events::tell(event::LEAVE, cookie);
}
