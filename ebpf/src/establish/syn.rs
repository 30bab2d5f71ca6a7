//! A SYN arrives at a listener on this node.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::{BPF_ANY, bpf_sock_ops};
use aya_ebpf::programs::SockOpsContext;
use sockway_common::addr::IpKey;
use sockway_common::counters::Reason;
use sockway_common::pair::{PendingRow, ReaderKey, SeqKey, classify, hop, passive_pod};
use sockway_common::reader::{self, SERVER};
use sockway_common::scope;

use super::lookup_pod;
use crate::ends::Tuple;
use crate::maps::PENDING;
use crate::{account, kernel, learning};

/// The context is the listener's request socket.
///
/// `net/ipv4/tcp_minisocks.c` `tcp_openreq_init_rwin` (5.10 to 7.2) asks for the
/// initial window after both sequence numbers are set.
#[inline(never)]
pub(super) fn arrived(ops: *mut bpf_sock_ops) {
    let ctx = &SockOpsContext::new(ops);
    if crate::ends::is_fullsock(ctx) {
        return;
    }
    let Some(pending) = qualify(&Tuple::of(ctx)) else {
        return;
    };
    let Some(sock) = kernel::sops_sock(ctx.as_ptr()) else {
        return;
    };
    let Some((client, server)) = kernel::request_isns(sock) else {
        return;
    };
    let key = SeqKey {
        active_next: client.wrapping_add(1),
        passive_next: server.wrapping_add(1),
    };
    // A full map means TCP.
    let _full = PENDING.insert(key, pending, u64::from(BPF_ANY));
}

/// What the registration of a passive socket's pod says about a connection.
#[inline(always)]
fn qualify(tuple: &Tuple) -> Option<PendingRow> {
    let pod = passive_pod(tuple.local, tuple.remote)?;
    let row = lookup_pod(pod)?;
    let hop = classify(tuple.local, tuple.local_port, tuple.remote, row);
    if hop == hop::NONE {
        return None;
    }
    account::syn(hop);
    if row.scope == scope::OFF || (row.scope == scope::PROXY && hop != hop::INBOUND) {
        account::left(Reason::Scope);
        return None;
    }
    let mut pending = PendingRow {
        pod,
        hop,
        scope: row.scope,
        ..PendingRow::default()
    };
    if hop == hop::APP && row.scope == scope::AUTO {
        pending.reader = ReaderKey {
            ip: tuple.local,
            pod: IpKey::default(),
            owner: row.owner,
            port: u32::from(tuple.local_port),
            kind: SERVER,
        };
        let known = learning::known(&pending.reader);
        if known.seen & reader::seen::UNFIT != 0 {
            account::left(learning::unfit_reason(known));
            return None;
        }
        pending.observe = u32::from(!reader::fit(&known));
    }
    Some(pending)
}
