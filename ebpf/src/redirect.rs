//! `sk_msg`: decides for every send of a joined socket how its bytes travel.
//!
//! Failing open is the rule: every path ends in "pass", and a redirect that
//! cannot be had means TCP.

mod allowed;
mod change;
mod renew;
mod start;

use aya_ebpf::bindings::sk_action::SK_PASS;
use aya_ebpf::bindings::{BPF_F_INGRESS, bpf_sock};
use aya_ebpf::programs::SkMsgContext;
use sockway_common::counters::Reason;
use sockway_common::direction::{self, Step};
use sockway_common::state::SockState;

use crate::context::field;
use crate::kernel::{At, Own};
use crate::maps::SOCKETS;
use crate::{account, callers, ends, kernel, signals, sock};

/// Runs for every send of a socket in the sockhash.
#[inline(always)]
pub(crate) fn run(ctx: &SkMsgContext) {
    let sk: *mut core::ffi::c_void = field!(ctx.msg, __bindgen_anon_3.sk).cast();
    if sk.is_null() {
        return;
    }
    let Some(state) = sock::get(sk) else { return };
    callers::note();
    let size = field!(ctx.msg, size);
    #[cfg(feature = "bench")]
    if kernel::blind() {
        return blind(ctx, state, size);
    }
    if !may_send(sk) {
        // TCP knows what to answer: EPIPE after a shutdown.
        return account::by_tcp(state, size);
    }
    if change::is_for_tcp(sk, state) {
        return account::by_tcp(state, size);
    }
    if state.epoch != signals::epoch() {
        let joins = ends::get(state.cookie).map_or(state.joins, |own| own.joins);
        direction::look_again(state, joins);
    }
    match direction::step(state, size) {
        Step::Redirect => {}
        Step::Look if start::start(sk, state) => {}
        Step::Look | Step::Tcp => return account::by_tcp(state, size),
    }
    if change::is_seen(sk, state) {
        return account::by_tcp(state, size);
    }
    let now = kernel::spans();
    let fresh = state.looked == now && direction::has_credit(state, size);
    if !fresh && !renew::renew(sk, state, size, now) {
        return account::by_tcp(state, size);
    }
    direction::spend(state, size);
    if SOCKETS.redirect_msg(ctx, state.peer_cookie, u64::from(BPF_F_INGRESS)) != i64::from(SK_PASS)
    {
        go_tcp(state, Reason::PeerGone, false);
        return account::by_tcp(state, size);
    }
    direction::redirected(state, size);
    account::redirected(state, size);
}

/// What the rules cost is measured against this: redirects whatever there is.
#[cfg(feature = "bench")]
#[inline(always)]
fn blind(ctx: &SkMsgContext, state: &mut SockState, size: u32) {
    if allowed::other_end(state).is_none() {
        return account::by_tcp(state, size);
    }
    let _pass = SOCKETS.redirect_msg(ctx, state.peer_cookie, u64::from(BPF_F_INGRESS));
    account::redirected(state, size);
}

/// The sending socket.
#[inline(always)]
fn own(sk: *mut core::ffi::c_void, state: &SockState) -> Option<Own> {
    Own::of(sk, || state.sock)
}

/// The receiving socket; `state.peer_sock` is known.
#[inline(always)]
fn peer(state: &SockState) -> At {
    At::sock(state.peer_sock)
}

/// False once the sending side is shut down or reset: the kernel asks this
/// program before it looks at that (`net/ipv4/tcp_bpf.c` `tcp_bpf_sendmsg`).
#[inline(always)]
fn may_send(sk: *mut core::ffi::c_void) -> bool {
    /// States of `include/net/tcp_states.h` in which data may be sent.
    const TCP_ESTABLISHED: u32 = 1;
    const TCP_CLOSE_WAIT: u32 = 8;
    let tcp_state = field!(sk.cast::<bpf_sock>(), state);
    tcp_state == TCP_ESTABLISHED || tcp_state == TCP_CLOSE_WAIT
}

/// Sends a direction to TCP; `always`: until the connection ends.
#[inline(always)]
fn go_tcp(state: &mut SockState, reason: Reason, always: bool) {
    account::set_reason(state, reason);
    direction::leave(state, always);
}
