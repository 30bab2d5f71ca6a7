//! The accepted socket is established.

use aya_ebpf::bindings::bpf_sock_ops;
use aya_ebpf::programs::SockOpsContext;
use sockway_common::counters::Reason;
use sockway_common::end::EndRow;
use sockway_common::pair::{PendingRow, SeqKey, passive_pod};

use super::alone::Other;
use super::{Socket, place};
use crate::context::Tuple;
use crate::kernel::At;
use crate::maps::PENDING;
use crate::{account, ends, kernel};

#[inline(never)]
pub(super) fn established(ops: *mut bpf_sock_ops) {
    let ctx = &SockOpsContext::new(ops);
    let (snd_nxt, rcv_nxt) = crate::context::sequence(ctx);
    let key = SeqKey {
        active_next: rcv_nxt,
        passive_next: snd_nxt,
    };
    let Some(pending) = PENDING.get_ptr(key) else {
        return;
    };
    // SAFETY: a row stays readable until the program ends (RCU). One that is evicted meanwhile
    // may be another connection's: `come` compares the sockets' numbers.
    let pending = unsafe { &*pending };
    if let Some(socket) = Socket::of(ctx)
        && pending.active_cookie != 0
        && let Err(reason) = come(ctx, socket, pending)
    {
        account::left(reason);
    }
    let _gone = PENDING.remove(key);
}

/// Tracks the socket, brings it in if it may, and leaves its name for the connecting one.
#[inline(always)]
fn come(ctx: &SockOpsContext, socket: Socket, pending: &PendingRow) -> Result<(), Reason> {
    if !kernel::may_be_a_pair(At::sock(pending.active_sock), socket.own) {
        return Err(Reason::NoPeer);
    }
    let tuple = Tuple::of(ctx);
    let mut row = EndRow {
        program: pending.program,
        pod: passive_pod(tuple.local, tuple.remote).unwrap_or(pending.pod),
        peer: pending.active_cookie,
        peer_sock: pending.active_sock,
        hop: pending.hop,
        scope: pending.scope,
        ..EndRow::default()
    };
    place(&mut row, &tuple);
    let other = pending.active_cookie;
    socket.track(ctx, &mut row, pending.pod, 0, Other::Connected(other))?;
    // The active end may send on another CPU meanwhile: it believes a row with both only.
    if let Some(active) = ends::get_mut(other) {
        ends::set!(active, peer_sock, socket.own.address());
        ends::set!(active, peer, socket.cookie);
    }
    account::paired(row.hop, pending.pod);
    Ok(())
}
