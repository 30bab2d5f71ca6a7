//! A SYN arrives at a listener on this node.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::{BPF_ANY, bpf_sock_ops};
use aya_ebpf::programs::SockOpsContext;
use sockway_common::counters::Reason;
use sockway_common::pair::{PendingRow, SeqKey, classify, hop, passive_pod};
use sockway_common::policy;
use sockway_common::program::{ProgramKey, SERVER};

use super::lookup_pod;
use crate::context::Tuple;
use crate::maps::PENDING;
use crate::{account, kernel, signals};

/// The context is the listener's request socket.
///
/// `net/ipv4/tcp_minisocks.c` `tcp_openreq_init_rwin` (5.10 to 7.2) asks for the
/// initial window after both sequence numbers are set.
#[inline(never)]
pub(super) fn arrived(ops: *mut bpf_sock_ops) {
    let ctx = &SockOpsContext::new(ops);
    if crate::context::is_fullsock(ctx) || signals::is_off() {
        return;
    }
    let Some(mut pending) = candidate(&Tuple::of(ctx)) else {
        return;
    };
    let Some(sock) = kernel::sops_sock(ctx.as_ptr()) else {
        return;
    };
    let Some((client, server)) = kernel::request_isns(sock) else {
        return;
    };
    let listener = kernel::listener_of(sock);
    pending.program.id = kernel::inode(listener);
    pending.program.uid = kernel::uid(listener).unwrap_or(0);
    let key = SeqKey {
        active_next: client.wrapping_add(1),
        passive_next: server.wrapping_add(1),
    };
    // A full map means TCP.
    let _full = PENDING.insert(key, pending, u64::from(BPF_ANY));
}

/// What the registration of a passive socket's pod says about a connection.
#[inline(always)]
fn candidate(tuple: &Tuple) -> Option<PendingRow> {
    let pod = passive_pod(tuple.local, tuple.remote)?;
    let row = lookup_pod(pod)?;
    let hop = classify(tuple.local, tuple.local_port, tuple.remote, row);
    if hop == hop::NONE {
        return None;
    }
    account::syn(hop);
    if policy::leaves_out(row.scope, hop) {
        account::left(Reason::Scope);
        return None;
    }
    Some(PendingRow {
        program: ProgramKey {
            owner: row.owner,
            port: u32::from(tuple.local_port),
            kind: SERVER,
            ..ProgramKey::default()
        },
        pod,
        hop,
        scope: row.scope,
        ..PendingRow::default()
    })
}
