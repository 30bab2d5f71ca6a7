//! Rule 2: what a reader and its memory can still take.

use core::ffi::c_void;

use sockway_common::counters::Reason;
use sockway_common::direction;
use sockway_common::program::sign;
use sockway_common::scope;
use sockway_common::state::SockState;

use super::{allowed, change, go_tcp, own, peer};
use crate::kernel::Backlog;
use crate::{account, kernel, signals};

/// Looks at the reader, and at its backlog where the credit is spent; false sends
/// the direction to TCP. `now`: in spans of [`direction::LOOK_TICKS`].
///
/// So does memory that runs short, the node's for TCP or that of the reader's pod: above the last
/// value of `tcp_mem`, or where a charge to the pod fails, a redirected send fails with `ENOMEM`
/// (`net/ipv4/tcp_bpf.c` `bpf_tcp_ingress`, 5.10 to 7.2), where TCP lets the sender wait.
#[inline(never)]
pub(super) fn renew(sk: *mut c_void, state: &mut SockState, size: u32, now: u32) -> bool {
    if state.epoch != signals::epoch() {
        let reason = allowed::look(state);
        if reason != 0 {
            account::set_reason_number(state, reason - 1);
            direction::leave(state, false);
            return false;
        }
    }
    match kernel::cookie(peer(state)) {
        Some(cookie) if cookie == state.peer_cookie => {}
        Some(_) => {
            go_tcp(state, Reason::PeerGone, true);
            return false;
        }
        None => return direction::has_credit(state, size) || renew_blind(state),
    }
    if state.scope != scope::ALL
        && let Some(sign) = unfit_option(state)
    {
        change::turned(state.peer_cookie, sign);
        go_tcp(state, Reason::Guarded, false);
        return false;
    }
    if change::has_zerocopy(sk, state) {
        return false;
    }
    if direction::is_due_by_tcp(state, kernel::seconds(), kernel::tcp_every()) {
        go_tcp(state, Reason::Checked, false);
        return false;
    }
    if own(sk, state).is_none_or(|own| kernel::memory_is_short(own, state.peer_sock)) {
        go_tcp(state, Reason::Memory, false);
        return false;
    }
    state.looked = now;
    if direction::has_credit(state, size) {
        return true;
    }
    let bytes = match kernel::backlog(peer(state)) {
        Backlog::Bytes(bytes) => bytes,
        Backlog::Long => state.unread_bytes,
        Backlog::Gone => {
            go_tcp(state, Reason::PeerGone, false);
            return false;
        }
        Backlog::Unknown => return renew_blind(state),
    };
    let Some(buffer) = kernel::receive_buffer(peer(state)) else {
        return renew_blind(state);
    };
    if direction::renew(state, bytes, buffer, kernel::backlog_limit(), size) {
        return true;
    }
    go_tcp(state, Reason::Backlog, false);
    false
}

/// An option of the reader that only TCP's own queues serve, as the sign that it stands for.
#[inline(always)]
fn unfit_option(state: &SockState) -> Option<usize> {
    if kernel::rcvlowat(peer(state)) > 1 {
        Some(sign::RCVLOWAT)
    } else if kernel::has_tcp_only_option(peer(state)) {
        Some(sign::TCP_ONLY)
    } else {
        None
    }
}

/// Where the backlog cannot be seen: one total for the connection, then TCP.
#[inline(always)]
fn renew_blind(state: &mut SockState) -> bool {
    if direction::renew_blind(state, kernel::total_cap()) {
        return true;
    }
    go_tcp(state, Reason::Backlog, true);
    false
}
