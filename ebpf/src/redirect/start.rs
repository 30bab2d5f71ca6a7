//! Deciding whether a direction that is on TCP, or has sent nothing yet, may be redirected.

use core::ffi::c_void;

use sockway_common::counters::Reason;
use sockway_common::direction;
use sockway_common::program::sign;
use sockway_common::scope;
use sockway_common::state::{SockState, flag};

use super::{allowed, change, own, peer};
use crate::kernel::Own;
use crate::{account, kernel};

/// True where it is redirected from this send on.
#[inline(always)]
pub(super) fn start(sk: *mut c_void, state: &mut SockState) -> bool {
    let Some(own) = own(sk, state) else {
        return false;
    };
    let first = direction::is_first(state);
    match check(own, state, first) {
        Ok(()) => {
            direction::begin(state, kernel::seconds());
            if !first {
                account::resumed();
            }
            true
        }
        Err((reason, always)) => {
            account::set_reason_number(state, reason);
            if reason == Reason::Unaccepted as u32 {
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
fn check(own: Own, state: &mut SockState, first: bool) -> Result<(), (u32, bool)> {
    let reason = allowed::look(state);
    if reason != 0 {
        return Err((reason - 1, false));
    }
    if state.flags & flag::ACTIVE != 0 && !kernel::is_accepted(peer(state)) {
        return Err((Reason::Unaccepted as u32, false));
    }
    if state.scope != scope::ALL {
        check_file(own, state)?;
    }
    if kernel::has_ulp(own) {
        return Err((Reason::Ulp as u32, true));
    }
    if first {
        return Ok(());
    }
    if kernel::cookie(peer(state)) != Some(state.peer_cookie) {
        return Err((Reason::PeerGone as u32, true));
    }
    // `renew` would refuse too, but then the next send would look again.
    if kernel::memory_is_short(own, state.peer_sock) {
        return Err((Reason::Memory as u32, false));
    }
    direction::order(kernel::ends(own, state.peer_sock))
        .map_err(|(reason, always)| (reason as u32, always))
}

/// The sender's own file, once: an accepted end came in on what is known of its program, and
/// may be another kind. It leaves then, for in the sockhash it would read otherwise than by TCP.
#[inline(always)]
fn check_file(own: Own, state: &mut SockState) -> Result<(), (u32, bool)> {
    if state.flags & flag::FILE_CHECKED != 0 {
        return Ok(());
    }
    let (sign, reason) = if kernel::nonblocking(own) != Some(true) {
        (sign::BLOCKING, Reason::Blocking)
    } else if kernel::has_zerocopy(own) {
        (sign::ZEROCOPY, Reason::Guarded)
    } else if kernel::has_tcp_only_option(own) {
        (sign::TCP_ONLY, Reason::Guarded)
    } else {
        state.flags |= flag::FILE_CHECKED;
        return Ok(());
    };
    change::turned(state.cookie, sign);
    Err((reason as u32, false))
}
