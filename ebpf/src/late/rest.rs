//! Whether a socket may be taken out of the sockhash.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::{bpf_map_lookup_elem, bpf_sk_release};
use sockway_common::counters::Reason;
use sockway_common::order::{DONE, Order, seen};

use crate::kernel::{self, Own};
use crate::maps::SOCKETS;
use crate::sock;

/// What is looked at of one socket, where it is in the sockhash.
struct Rest {
    /// The other end's cookie.
    peer: u64,
    /// Nothing waits in its redirected queue.
    empty: bool,
    /// No call on it is under way by the psock's ways.
    idle: bool,
}

/// Tells whether a socket rests that nobody may redirect to any more: then it may be taken out,
/// and that cannot change again.
///
/// `tcp_bpf_send_verdict` lets the sender's lock go before it puts bytes into the other queue
/// (`net/ipv4/tcp_bpf.c`), so a sender that decided before the end was closed may still be about
/// to. Each call holds a reference to its socket's psock from its beginning to its end
/// (`sk_psock_get`): one reference, the psock's own, means that none is under way. So first the
/// sender, whose later calls find the end closed, then the queue.
///
/// The reader's own calls need not rest: one that waits holds the psock until it returns
/// (`tcp_bpf_recvmsg`, 5.10 to 7.2), finds what comes by TCP, and no later one takes that way.
#[inline(always)]
pub(super) fn check(order: &mut Order) -> u32 {
    order.seen = 0;
    let Some(own) = look(order.cookie) else {
        return Reason::PeerGone as u32;
    };
    // A sender that is not in the sockhash redirects nothing.
    let sender_rests = look(own.peer).is_none_or(|peer| peer.idle);
    if !sender_rests {
        return DONE;
    }
    if let Some(own) = look(order.cookie)
        && own.empty
    {
        order.seen = seen::RESTS;
    }
    DONE
}

#[inline(always)]
fn look(mut cookie: u64) -> Option<Rest> {
    let map = (&raw const SOCKETS).cast_mut().cast();
    // SAFETY: `map` is the sockhash, the key a live local (look-ups: kernel 5.8).
    let sk = unsafe { bpf_map_lookup_elem(map, (&raw mut cookie).cast()) };
    if sk.is_null() {
        return None;
    }
    let rest = rest(sk);
    // SAFETY: the socket that the look-up gave, once on every path.
    let _always = unsafe { bpf_sk_release(sk) };
    Some(rest)
}

#[inline(always)]
fn rest(sk: *mut c_void) -> Rest {
    let mut rest = Rest {
        peer: 0,
        empty: false,
        idle: false,
    };
    if let Some(own) = Own::of(sk, || kernel::address_of(sk)) {
        rest.empty = kernel::queue_is_empty(own);
        rest.idle = kernel::is_idle(own);
    }
    if let Some(state) = sock::get(sk) {
        rest.peer = state.peer_cookie;
    }
    rest
}
