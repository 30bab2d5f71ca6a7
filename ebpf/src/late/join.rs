//! Bringing a socket in.

use core::ffi::c_void;

use aya_ebpf::bindings::BPF_ANY;
use aya_ebpf::helpers::generated::bpf_map_update_elem;
use sockway_common::counters::Reason;
use sockway_common::end::{ACTIVE, EndRow};
use sockway_common::order::{DONE, Order};
use sockway_common::policy::End;
use sockway_common::state::{flag, mode};

use crate::kernel::{At, Own};
use crate::maps::SOCKETS;
use crate::{account, ends, kernel, known, signals, sock};

/// Gives a socket its state that was open before the programs were attached. No other program
/// looks at it before the state is there, for none runs for the socket until it is joined.
#[inline(always)]
pub(super) fn track(sk: *mut c_void, own: Own, order: &Order) -> u32 {
    let Some(row) = ends::get(order.cookie) else {
        return Reason::NoPeer as u32;
    };
    if sock::get(sk).is_some() {
        return DONE;
    }
    match state(sk, own, order.cookie, row) {
        Ok(()) => DONE,
        Err(reason) => reason as u32,
    }
}

#[inline(always)]
fn state(sk: *mut c_void, own: Own, cookie: u64, row: &EndRow) -> Result<(), Reason> {
    let state = sock::create(sk).ok_or(Reason::NotInserted)?;
    state.cookie = cookie;
    state.sock = own.address();
    state.hop = row.hop;
    state.scope = row.scope;
    state.pod = row.pod;
    state.peer_sock = row.peer_sock;
    state.peer_cookie = row.peer;
    state.mode = mode::TCP;
    if row.role & ACTIVE != 0 {
        state.flags = flag::ACTIVE;
    }
    Ok(())
}

/// Puts a socket into the sockhash, if it may be there.
///
/// Its own sends are redirected from now on where rule 1 allows; what others would send to it
/// goes by TCP until it is opened: a thread that entered `recv` before goes on with TCP's own
/// `tcp_recvmsg`, which never looks at the redirected queue.
#[inline(always)]
pub(super) fn join(sk: *mut c_void, own: Own, order: &Order) -> u32 {
    let cookie = order.cookie;
    if signals::is_off() {
        return Reason::Off as u32;
    }
    let Some(row) = ends::get_mut(cookie) else {
        return Reason::NoPeer as u32;
    };
    // SAFETY: as in `ends::get`.
    let now = unsafe { &*row };
    if now.joined != 0 {
        return DONE;
    }
    if sock::get(sk).is_none() || now.leaves != 0 {
        return Reason::Observed as u32;
    }
    // In the sockhash `tcp_bpf_recvmsg` does not tell it (`readers::error`).
    if kernel::failed(own) {
        return Reason::Observed as u32;
    }
    if now.peer == 0 || !kernel::may_be_a_pair(At::sock(now.peer_sock), own) {
        return Reason::NoPeer as u32;
    }
    let facts = End {
        nonblocking: kernel::nonblocking(own),
        ulp: kernel::has_ulp(own),
        tcp_only: kernel::has_tcp_only_option(own),
    };
    let known = known::of(&now.program);
    if let Err(reason) = known::come_in(&now.program, known, (now.scope, now.hop), facts) {
        ends::leave_out(row, reason);
        return reason as u32;
    }
    // First, for others may redirect as soon as both are set. On arm64 too: between the two stores
    // `insert` lets go of one lock and takes another, and a release stays before a later acquire.
    ends::set!(row, open, 0);
    // What it sent until now went by TCP, whatever its direction was before.
    ends::set!(row, joins, now.joins.wrapping_add(1));
    if !insert(sk, cookie) {
        ends::leave_out(row, Reason::NotInserted);
        return Reason::NotInserted as u32;
    }
    ends::set!(row, alone, 0);
    ends::set!(row, joined, 1);
    // Come up meanwhile: what is sent asks again each time, and it is to leave.
    if kernel::has_ulp(own) {
        ends::let_leave(cookie);
        return Reason::Ulp as u32;
    }
    if kernel::failed(own) {
        ends::let_leave(cookie);
        return Reason::Observed as u32;
    }
    account::joined_late(now.hop);
    signals::next_epoch();
    DONE
}

/// Puts a socket into the sockhash.
#[inline(always)]
fn insert(sk: *mut c_void, cookie: u64) -> bool {
    let map = (&raw const SOCKETS).cast_mut().cast();
    let key = (&raw const cookie).cast();
    // SAFETY: `map` is the sockhash, the key a live local, and `sk` the socket that was looked
    // up, which the kernel takes as the value of a sockhash.
    unsafe { bpf_map_update_elem(map, key, sk, u64::from(BPF_ANY)) == 0 }
}
