//! A socket ends, or leaves the sockhash before that.

use aya_ebpf::bindings::bpf_sock_ops;
use aya_ebpf::programs::SockOpsContext;
use sockway_common::state::{SockState, flag};

use crate::kernel::{At, Backlog};
use crate::maps::{PENDING, take_out};
use crate::{account, kernel, readers, sock};

/// A joined or watched socket is closed: takes its rows out, adds its figures.
///
/// The kernel itself takes it out of the sockhash (`net/core/sock_map.c` `sock_map_close`).
#[inline(never)]
pub(super) fn closed(ops: *mut bpf_sock_ops) {
    let ctx = &SockOpsContext::new(ops);
    let sk = crate::ends::sk(ctx);
    if sk.is_null() {
        return;
    }
    let Some(state) = sock::get(sk) else { return };
    if state.flags & flag::ACTIVE != 0 && state.peer_cookie == 0 {
        let _taken = PENDING.remove(state.pending);
    }
    if state.reader.kind != 0 && state.flags & (flag::APP_END | flag::OBSERVED) != 0 {
        readers::unwatch(state.cookie);
    }
    if state.flags & flag::OBSERVED == 0 {
        if state.flags & flag::HELD == 0 {
            account::closed(state);
        }
        if kernel::failed(At::sock(state.sock)) {
            leave(state);
        }
    }
}

/// A joined application's socket is about to send a segment, be it an acknowledgement of
/// bytes that came by TCP: takes it out of the sockhash where the other end said so.
///
/// From then on the application reads through TCP itself, as one that blocks must.
/// Nothing can be lost: the other end redirected its last message before it said so.
#[inline(never)]
pub(super) fn segment(ops: *mut bpf_sock_ops) {
    let ctx = &SockOpsContext::new(ops);
    let sk = crate::ends::sk(ctx);
    if sk.is_null() {
        return;
    }
    if let Some(state) = sock::get(sk)
        && readers::leaves(state.cookie)
    {
        leave(state);
    }
}

/// Takes a socket out of the sockhash, if nothing waits in its redirected queue.
///
/// Where the connection failed: `tcp_bpf_sendmsg` reports an error without clearing it, so
/// that it would come again with each call (`net/ipv4/tcp_bpf.c`, 5.10 to 7.2); TCP
/// itself says it once.
#[inline(always)]
fn leave(state: &mut SockState) {
    let sock = At::sock(state.sock);
    if !matches!(kernel::backlog(sock), Backlog::Bytes(0)) || kernel::has_ulp(sock) {
        return;
    }
    take_out(state.cookie);
}
