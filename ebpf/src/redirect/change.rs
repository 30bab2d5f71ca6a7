//! A program may change its ways at any time: looked at on each send, as far as that is cheap.

use core::ffi::c_void;

use sockway_common::cast;
use sockway_common::counters::Reason;
use sockway_common::program::sign;
use sockway_common::scope;
use sockway_common::state::SockState;

use super::{go_tcp, own, peer};
use crate::kernel::At;
use crate::{ends, kernel, known};

/// `MSG_OOB` of include/linux/socket.h.
const MSG_OOB: u32 = 1;
/// `MSG_ZEROCOPY` of the same.
const MSG_ZEROCOPY: u32 = 0x400_0000;

/// True sends the direction to TCP, this send included.
#[inline(always)]
pub(super) fn is_seen(sk: *mut c_void, state: &mut SockState) -> bool {
    has_ulp(sk, state) || (state.scope != scope::ALL && reader_blocks(state))
}

/// Rule 6: a program may set up kTLS at any time; its records are encrypted below this
/// program and must not be taken from above it.
#[inline(always)]
fn has_ulp(sk: *mut c_void, state: &mut SockState) -> bool {
    let appeared = kernel::has_ulp(peer(state)) || own(sk, state).is_none_or(kernel::has_ulp);
    if appeared {
        go_tcp(state, Reason::Ulp, true);
    }
    appeared
}

/// Whether the reader blocks by now, as far as one word tells.
#[inline(always)]
fn reader_blocks(state: &mut SockState) -> bool {
    if state.peer_file == 0 {
        // Not accepted yet when this was looked at last.
        state.peer_file = kernel::file(peer(state)).map_or(0, At::address);
    }
    // The file may be gone and its memory another's: only the socket itself can tell.
    if state.peer_file == 0
        || kernel::file_nonblocking(At::new::<{ cast::FILE }>(state.peer_file)) != Some(false)
        || kernel::nonblocking(peer(state)) != Some(false)
        || kernel::cookie(peer(state)) != Some(state.peer_cookie)
    {
        return false;
    }
    turned(state.peer_cookie, sign::BLOCKING);
    go_tcp(state, Reason::Blocking, false);
    true
}

/// Notes a sign of an end's program, and has the end leave the sockhash: there it would read, or send,
/// otherwise than by TCP.
#[inline(always)]
pub(super) fn turned(cookie: u64, sign: usize) {
    if let Some(row) = ends::get(cookie) {
        known::note(&row.program, sign);
    }
    ends::let_leave(cookie);
}

/// Whether a send has a flag that only TCP's own sends serve, whichever way its direction goes:
/// urgent data has a pointer that only TCP carries, and completions of `MSG_ZEROCOPY` are counted
/// otherwise from within the sockhash (`net/ipv4/tcp_bpf.c` `tcp_bpf_push`, seen on 6.18). The flags
/// are in the registers of the task that sends.
#[inline(always)]
pub(super) fn is_for_tcp(sk: *mut c_void, state: &mut SockState) -> bool {
    let flags = kernel::call().send_flags();
    if flags & (MSG_OOB | MSG_ZEROCOPY) == 0 {
        return false;
    }
    if flags & MSG_OOB != 0 {
        if let Some(row) = ends::get(state.cookie) {
            known::note(&row.program, sign::URGENT);
        }
        go_tcp(state, Reason::Guarded, true);
        return true;
    }
    has_zerocopy(sk, state)
}

/// Whether the sender has `SO_ZEROCOPY`: it leaves.
#[inline(always)]
pub(super) fn has_zerocopy(sk: *mut c_void, state: &mut SockState) -> bool {
    if state.scope == scope::ALL || !own(sk, state).is_some_and(kernel::has_zerocopy) {
        return false;
    }
    turned(state.cookie, sign::ZEROCOPY);
    go_tcp(state, Reason::Guarded, false);
    true
}
