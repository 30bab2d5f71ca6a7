//! Rule 2: what a reader and its memory can still take.

use core::ffi::c_void;

use sockway_common::counters::Reason;
use sockway_common::direction;
use sockway_common::scope;
use sockway_common::state::{SockState, flag};

use super::{app, go_tcp, own, peer};
use crate::kernel;
use crate::kernel::Backlog;

/// Looks at the reader, and at its backlog where the credit is spent; false sends
/// the direction to TCP. `now`: in spans of [`direction::LOOK_TICKS`].
///
/// So does memory that runs short, the node's for TCP or that of the reader's pod: above the last
/// value of `tcp_mem`, or where a charge to the pod fails, a redirected send fails with `ENOMEM`
/// (`net/ipv4/tcp_bpf.c` `bpf_tcp_ingress`, 5.10 to 7.2), where TCP lets the sender wait.
#[inline(never)]
pub(super) fn renew(sk: *mut c_void, state: &mut SockState, size: u32, now: u32) -> bool {
    match kernel::cookie(peer(state)) {
        Some(cookie) if cookie == state.peer_cookie => {}
        Some(_) => {
            go_tcp(state, Reason::PeerGone, true);
            return false;
        }
        None => return direction::has_credit(state, size) || renew_blind(state),
    }
    if state.flags & (flag::FACES_APP | flag::APP_END) == flag::FACES_APP
        && state.scope == scope::AUTO
        && let Some(reason) = app::turned(state)
    {
        app::leave(state, reason);
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
            go_tcp(state, Reason::PeerGone, true);
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

/// Where the backlog cannot be seen: one total for the connection, then TCP.
#[inline(always)]
fn renew_blind(state: &mut SockState) -> bool {
    if direction::renew_blind(state, kernel::total_cap()) {
        return true;
    }
    go_tcp(state, Reason::Backlog, true);
    false
}
