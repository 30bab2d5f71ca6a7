//! The accepted socket is established.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::{
    BPF_SOCK_OPS_STATE_CB_FLAG, BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG, bpf_sock_ops,
};
use aya_ebpf::programs::SockOpsContext;
use sockway_common::counters::Reason;
use sockway_common::pair::{PendingRow, SeqKey, hop};
use sockway_common::scope;
use sockway_common::state::flag;

use super::{Socket, insert, observe, set_callbacks};
use crate::kernel::At;
use crate::maps::PENDING;
use crate::{account, ageing, kernel, readers};

#[inline(never)]
pub(super) fn established(ops: *mut bpf_sock_ops) {
    let ctx = &SockOpsContext::new(ops);
    let (snd_nxt, rcv_nxt) = crate::ends::sequence(ctx);
    let key = SeqKey {
        active_next: rcv_nxt,
        passive_next: snd_nxt,
    };
    let Some(row) = PENDING.get_ptr_mut(key) else {
        return;
    };
    // SAFETY: a row stays readable and writable until the program ends (RCU). One that is
    // evicted meanwhile may be another connection's: see `redirect::learn`.
    let row = unsafe { &mut *row };
    if let Some(socket) = Socket::of(ctx) {
        if row.observe != 0 {
            observe(ctx, socket, row);
        } else if row.active_cookie != 0 {
            match join(ctx, socket, row) {
                // The active end takes the row out, when it sends or ends.
                Ok(()) => return,
                Err(reason) => account::left(reason),
            }
        }
    }
    let _gone = PENDING.remove(key);
}

/// Brings the socket in and leaves its name for the connecting one.
#[inline(always)]
fn join(ctx: &SockOpsContext, socket: Socket, row: &mut PendingRow) -> Result<(), Reason> {
    // As in `redirect::learn`.
    if !kernel::may_be_a_pair(At::sock(row.active_sock), socket.own) {
        return Err(Reason::NoPeer);
    }
    if kernel::has_ulp(socket.own) {
        return Err(Reason::Ulp);
    }
    let state = socket.new_state(ctx, row)?;
    state.peer_cookie = row.active_cookie;
    state.peer_sock = row.active_sock;
    if row.faces_app != 0 {
        state.flags |= flag::FACES_APP;
    }
    let mut callbacks = BPF_SOCK_OPS_STATE_CB_FLAG;
    if row.hop == hop::APP {
        state.flags |= flag::APP_END;
        if row.scope == scope::AUTO {
            readers::watch(state.cookie, &row.reader);
            callbacks |= BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG;
        }
    }
    set_callbacks(ctx, callbacks);
    let cookie = insert(ctx, state.cookie)?;
    if row.hop != hop::APP {
        ageing::keep(ctx.as_ptr(), socket.own);
    }
    // The active end may send on another CPU meanwhile: it believes a row with both only.
    let sock = &raw mut row.passive_sock;
    // SAFETY: an aligned u64 of the row.
    unsafe { sock.write_volatile(socket.own.address()) };
    let name = &raw mut row.passive_cookie;
    // SAFETY: an aligned u64 of the same row.
    unsafe { name.write_volatile(cookie) };
    account::paired(state);
    Ok(())
}
