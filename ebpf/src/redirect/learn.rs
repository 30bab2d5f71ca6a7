//! Learning who the other end of a connection is.

use sockway_common::state::SockState;

use crate::kernel::{self, At, Own};
use crate::maps::PENDING;

/// True where the other end is known, or is named by now in the row of `pending`, which then
/// has done its work.
#[inline(always)]
pub(super) fn learn(own: Own, state: &mut SockState) -> bool {
    if state.peer_cookie != 0 {
        return true;
    }
    let Some(row) = PENDING.get_ptr(state.pending) else {
        return false;
    };
    // SAFETY: a row stays readable until the program ends (RCU).
    let row = unsafe { &*row };
    // The accepting end writes these two on its own CPU, the cookie last.
    let name = &raw const row.passive_cookie;
    // SAFETY: an aligned u64 of the row.
    let cookie = unsafe { name.read_volatile() };
    let address = &raw const row.passive_sock;
    // SAFETY: as above.
    let sock = unsafe { address.read_volatile() };
    if cookie == 0 || sock == 0 {
        return false;
    }
    // A row that was evicted while an end held it may have become another connection's.
    if !kernel::may_be_a_pair(own, At::sock(sock)) {
        return false;
    }
    let _done = PENDING.remove(state.pending);
    state.peer_cookie = cookie;
    state.peer_sock = sock;
    true
}
