//! An application may change its ways at any time: looked at on each send to or from one, as
//! far as that is cheap.

use core::ffi::c_void;

use sockway_common::cast;
use sockway_common::counters::Reason;
use sockway_common::reader::{ReaderRow, seen};
use sockway_common::scope;
use sockway_common::state::{SockState, flag};

use super::{go_tcp, own, peer};
use crate::kernel::At;
use crate::{kernel, learning, readers};

/// `MSG_OOB` of include/linux/socket.h.
const MSG_OOB: u32 = 1;

/// Sends of Envoy over this many bytes are not asked for `MSG_OOB`, which it never uses.
const SMALL: u32 = 16;

/// True sends the direction to TCP for good, this send of `size` bytes included.
#[inline(always)]
pub(super) fn has_changed(sk: *mut c_void, state: &mut SockState, size: u32) -> bool {
    let is_app = state.flags & flag::APP_END != 0;
    if state.flags & flag::FACES_APP != 0 {
        if ulp_appeared(sk, state, is_app) {
            return true;
        }
        if !is_app && state.scope == scope::AUTO && reader_changed(state) {
            return true;
        }
    }
    (is_app || size <= SMALL) && is_urgent(state)
}

/// Rule 6: an application may set up kTLS at any time; its records are
/// encrypted below this program and must not be taken from above it.
#[inline(always)]
fn ulp_appeared(sk: *mut c_void, state: &mut SockState, is_app: bool) -> bool {
    let appeared = if is_app {
        own(sk, state).is_none_or(kernel::has_ulp)
    } else {
        kernel::has_ulp(peer(state))
    };
    if appeared {
        go_tcp(state, Reason::Ulp, true);
    }
    appeared
}

/// Whether the application that reads does so otherwise by now, as far as one word and one counter tell.
#[inline(always)]
fn reader_changed(state: &mut SockState) -> bool {
    if state.peer_file == 0 {
        // Not accepted yet when this was looked at last.
        state.peer_file = kernel::file(peer(state)).map_or(0, At::address);
    }
    // The file may be gone and its memory another's: only the socket itself can tell.
    if state.peer_file != 0
        && kernel::file_nonblocking(At::new::<{ cast::FILE }>(state.peer_file)) == Some(false)
        && kernel::nonblocking(peer(state)) == Some(false)
        && kernel::cookie(peer(state)) == Some(state.peer_cookie)
    {
        learning::turned(&state.reader, seen::BLOCKING);
        leave(state, Reason::Blocking);
        return true;
    }
    if state.turns != learning::turns() {
        // Makes `renew` look at the reader.
        state.credit = 0;
    }
    false
}

/// Leaves an application that is not fit any more to TCP, and its socket too as
/// soon as it has read what was redirected.
#[inline(always)]
pub(super) fn leave(state: &mut SockState, reason: Reason) {
    go_tcp(state, reason, true);
    readers::let_leave(state.peer_cookie);
}

/// Urgent data has a pointer that only TCP carries; the flags of a send are in
/// the registers of the task that makes it.
#[inline(always)]
fn is_urgent(state: &mut SockState) -> bool {
    if kernel::call().send_flags() & MSG_OOB == 0 {
        return false;
    }
    if state.reader.kind != 0 {
        learning::turned(&state.reader, seen::URGENT);
    }
    go_tcp(state, Reason::Guarded, true);
    true
}

/// Why an application that was fit is not redirected into any more, if so. `has_changed` has
/// looked at its file.
#[inline(always)]
pub(super) fn turned(state: &mut SockState) -> Option<Reason> {
    let turns = learning::turns();
    if state.turns != turns {
        state.turns = turns;
        let row = learning::known(&state.reader);
        if row.seen & seen::UNFIT != 0 {
            return Some(learning::unfit_reason(row));
        }
    }
    let what = if kernel::rcvlowat(peer(state)) > 1 {
        seen::RCVLOWAT
    } else if kernel::has_tcp_only_option(peer(state)) {
        seen::TCP_ONLY
    } else {
        return None;
    };
    learning::turned(&state.reader, what);
    Some(learning::unfit_reason(ReaderRow {
        seen: what,
        ..ReaderRow::default()
    }))
}
