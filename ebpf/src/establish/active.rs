//! The connecting socket is established.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::{
    BPF_SOCK_OPS_STATE_CB_FLAG, BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG, bpf_sock_ops,
};
use aya_ebpf::programs::SockOpsContext;
use sockway_common::counters::Reason;
use sockway_common::pair::{ENVOY_UID, PendingRow, ReaderKey, SeqKey, hop};
use sockway_common::reader::{self, CLIENT};
use sockway_common::scope;
use sockway_common::state::flag;

use super::{Socket, insert, lookup_pod, observe, set_callbacks};
use crate::ends::Tuple;
use crate::maps::PENDING;
use crate::{account, ageing, kernel, learning, readers};

#[inline(never)]
pub(super) fn established(ops: *mut bpf_sock_ops) {
    let ctx = &SockOpsContext::new(ops);
    let (snd_nxt, rcv_nxt) = crate::ends::sequence(ctx);
    let key = SeqKey {
        active_next: snd_nxt,
        passive_next: rcv_nxt,
    };
    let Some(row) = PENDING.get_ptr_mut(key) else {
        return;
    };
    // SAFETY: a row stays readable and writable until the program ends (RCU). One that is
    // evicted meanwhile may be another connection's: see `redirect::learn`.
    let row = unsafe { &mut *row };
    account::local(row.hop);
    let Some(socket) = Socket::of(ctx) else {
        return;
    };
    if row.observe != 0 {
        account::left(Reason::Observed);
        return observe(ctx, socket, row);
    }
    if let Err(reason) = join(ctx, socket, key, row) {
        account::left(reason);
        if matches!(reason, Reason::Observed) {
            // The accepted end is watched too.
            row.observe = 1;
        } else {
            let _gone = PENDING.remove(key);
        }
    }
}

/// Brings the socket in, if it qualifies too.
#[inline(always)]
fn join(
    ctx: &SockOpsContext,
    socket: Socket,
    key: SeqKey,
    row: &mut PendingRow,
) -> Result<(), Reason> {
    let tuple = Tuple::of(ctx);
    // The client's pod may be another one, with a scope of its own, or none.
    let own = lookup_pod(tuple.local);
    if let Some(own) = own
        && row.hop == hop::INBOUND
    {
        row.scope = scope::stricter(row.scope, own.scope);
    }
    let envoy = match row.hop {
        hop::OUTBOUND => false,
        hop::INBOUND => kernel::uid(socket.own) == Some(ENVOY_UID),
        _ => true,
    };
    if row.scope == scope::OFF || (row.scope == scope::PROXY && !envoy) {
        return Err(Reason::Scope);
    }
    if kernel::has_ulp(socket.own) {
        return Err(Reason::Ulp);
    }
    // Envoy never blocks, so for it this only tells others who use its uid or
    // its source address.
    if row.scope != scope::ALL && kernel::nonblocking(socket.own) != Some(true) {
        return Err(Reason::Blocking);
    }
    let mut observed = false;
    if !envoy && row.scope == scope::AUTO {
        row.reader = ReaderKey {
            ip: tuple.remote,
            pod: tuple.local,
            owner: own.map(|own| own.owner).unwrap_or_default(),
            port: u32::from(tuple.remote_port),
            kind: CLIENT,
        };
        let known = learning::known(&row.reader);
        if known.seen & reader::seen::UNFIT != 0 {
            return Err(learning::unfit_reason(known));
        }
        observed = !reader::fit(&known);
    }
    let state = socket.new_state(ctx, row)?;
    state.flags = flag::ACTIVE;
    state.pending = key;
    if !envoy || row.hop == hop::APP {
        row.faces_app = 1;
        state.flags |= flag::FACES_APP;
    }
    let mut callbacks = BPF_SOCK_OPS_STATE_CB_FLAG;
    if !envoy {
        state.flags |= flag::APP_END;
        if row.scope == scope::AUTO {
            readers::watch(state.cookie, &row.reader);
            if !observed {
                callbacks |= BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG;
            }
        }
    }
    set_callbacks(ctx, callbacks);
    if observed {
        state.flags |= flag::OBSERVED;
        return Err(Reason::Observed);
    }
    let cookie = insert(ctx, state.cookie)?;
    if row.hop == hop::APP {
        ageing::keep(ctx.as_ptr(), socket.own);
    }
    row.active_sock = socket.own.address();
    row.active_cookie = cookie;
    Ok(())
}
