//! The connecting socket is established.

use aya_ebpf::bindings::bpf_sock_ops;
use aya_ebpf::programs::SockOpsContext;
use sockway_common::end::{ACTIVE, BEGAN_BLOCKING, EndRow};
use sockway_common::pair::{PendingRow, SeqKey, active_pod, hop};
use sockway_common::program::{CLIENT, ProgramKey};
use sockway_common::scope;
use sockway_common::state::flag;

use super::alone::Other;
use super::{Socket, lookup_pod, place};
use crate::context::{self, Tuple};
use crate::maps::PENDING;
use crate::{account, kernel, sock};

#[inline(never)]
pub(super) fn established(ops: *mut bpf_sock_ops) {
    let ctx = &SockOpsContext::new(ops);
    let (snd_nxt, rcv_nxt) = context::sequence(ctx);
    let key = SeqKey {
        active_next: snd_nxt,
        passive_next: rcv_nxt,
    };
    let Some(pending) = PENDING.get_ptr_mut(key) else {
        return leaves(ctx);
    };
    // SAFETY: a row stays readable and writable until the program ends (RCU). One that is
    // evicted meanwhile may be another connection's: see `passive`.
    let pending = unsafe { &mut *pending };
    account::local(pending.hop);
    if let Some(socket) = Socket::of(ctx)
        && come(ctx, socket, pending)
    {
        pending.active_sock = socket.own.address();
        pending.active_cookie = socket.cookie;
        return;
    }
    let _gone = PENDING.remove(key);
    leaves(ctx);
}

/// What was noted when it connected goes: of its reads nobody wants to know.
#[inline(always)]
fn leaves(ctx: &SockOpsContext) {
    let sk = context::sk(ctx);
    if !sk.is_null() {
        sock::end(sk);
    }
}

/// Tracks the socket, and brings it in if it may; false where there is no room for it.
#[inline(always)]
fn come(ctx: &SockOpsContext, socket: Socket, pending: &mut PendingRow) -> bool {
    let tuple = Tuple::of(ctx);
    // The client's pod may be another one, with a scope of its own, or none.
    let address = active_pod(tuple.local, tuple.remote);
    let pod = lookup_pod(address);
    if let Some(pod) = pod
        && pending.hop == hop::INBOUND
    {
        pending.scope = scope::stricter(pending.scope, pod.scope);
    }
    let (id, device) = sock::get(socket.sk).map_or((0, 0), |s| (s.executable, s.device));
    let program = ProgramKey {
        owner: pod.map(|pod| pod.owner).unwrap_or_default(),
        id,
        device,
        uid: kernel::uid(socket.own).unwrap_or(0),
        port: u32::from(tuple.remote_port),
        kind: CLIENT,
    };
    let mut row = EndRow {
        program,
        pod: address,
        hop: pending.hop,
        scope: pending.scope,
        role: ACTIVE,
        ..EndRow::default()
    };
    place(&mut row, &tuple);
    if kernel::nonblocking(socket.own) != Some(true) {
        row.role |= BEGAN_BLOCKING;
    }
    let other = Other::Listens(&pending.program, pending.scope, pending.hop);
    match socket.track(ctx, &mut row, pending.pod, flag::ACTIVE, other) {
        Ok(()) => true,
        Err(reason) => {
            account::left(reason);
            false
        }
    }
}
