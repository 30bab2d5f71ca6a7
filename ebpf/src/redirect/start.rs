//! Deciding whether a direction that is on TCP, or has sent nothing yet, may be redirected.

use core::ffi::c_void;

use sockway_common::counters::Reason;
use sockway_common::direction;
use sockway_common::reader::seen;
use sockway_common::scope;
use sockway_common::state::{SockState, flag};

use super::{learn, own, peer};
use crate::kernel::Own;
use crate::{account, kernel, learning};

/// True where it is redirected from this send on.
#[inline(always)]
pub(super) fn start(sk: *mut c_void, state: &mut SockState) -> bool {
    let Some(own) = own(sk, state) else {
        return false;
    };
    let first = direction::is_first(state);
    match check(own, state, first) {
        Ok(()) => {
            direction::begin(state);
            if !first {
                account::resumed();
            }
            true
        }
        Err((reason, always)) => {
            account::set_reason(state, reason);
            if matches!(reason, Reason::Unaccepted) {
                // Over with the next answer: no need to look less often.
                direction::leave(state, always);
            } else {
                direction::stay(state, always);
            }
            false
        }
    }
}

/// The rules, cheapest first. An error says why not, and whether for ever.
#[inline(always)]
fn check(own: Own, state: &mut SockState, first: bool) -> Result<(), (Reason, bool)> {
    if !learn::learn(own, state) {
        return Err((Reason::NoPeer, false));
    }
    if state.flags & flag::ACTIVE != 0 && !kernel::is_accepted(peer(state)) {
        return Err((Reason::Unaccepted, false));
    }
    if state.scope == scope::AUTO {
        check_file(own, state)?;
    }
    if kernel::has_ulp(own) {
        return Err((Reason::Ulp, true));
    }
    if first {
        return Ok(());
    }
    if kernel::cookie(peer(state)) != Some(state.peer_cookie) {
        return Err((Reason::PeerGone, true));
    }
    // `renew` would refuse too, but then the next send would look again.
    if kernel::memory_is_short(own, state.peer_sock) {
        return Err((Reason::Memory, false));
    }
    direction::order(kernel::ends(own, state.peer_sock))
}

/// Rule 3: only sockets that can take it.
#[inline(always)]
fn check_file(own: Own, state: &mut SockState) -> Result<(), (Reason, bool)> {
    if state.flags & flag::APP_END != 0 && state.flags & flag::FILE_CHECKED == 0 {
        if kernel::nonblocking(own) != Some(true) {
            learning::turned(&state.reader, seen::BLOCKING);
            return Err((Reason::Blocking, true));
        }
        if kernel::has_tcp_only_option(own) {
            learning::turned(&state.reader, seen::TCP_ONLY);
            return Err((Reason::Guarded, true));
        }
        state.flags |= flag::FILE_CHECKED;
    }
    Ok(())
}
