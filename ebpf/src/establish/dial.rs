//! A socket connects.

use aya_ebpf::bindings::bpf_sock_ops;
use aya_ebpf::programs::SockOpsContext;
use sockway_common::pair::active_pod;
use sockway_common::program::{CLIENT, ProgramKey};

use super::{cookie, lookup_pod};
use crate::context::Tuple;
use crate::kernel;
use crate::maps::DIALLING;

/// Notes which executable connects: the only moment at which the kernel tells, for the socket
/// is established in whoever's context (`net/ipv4/tcp_output.c` `tcp_connect`, 5.10 to 7.2).
#[inline(never)]
pub(super) fn dials(ops: *mut bpf_sock_ops) {
    let ctx = &SockOpsContext::new(ops);
    let tuple = Tuple::of(ctx);
    let Some(pod) = lookup_pod(active_pod(tuple.local, tuple.remote)) else {
        return;
    };
    let (id, device) = kernel::executable();
    if id == 0 {
        return;
    }
    let key = ProgramKey {
        owner: pod.owner,
        id,
        device,
        uid: 0,
        port: u32::from(tuple.remote_port),
        kind: CLIENT,
    };
    // A full map evicts the oldest: that program is then found out by its first read.
    let _full = DIALLING.insert(cookie(ctx), key, 0);
}

/// What was noted of a socket, if anything.
#[inline(always)]
pub(super) fn of(cookie: u64) -> Option<ProgramKey> {
    let key = DIALLING.get_ptr(cookie)?;
    // SAFETY: a row stays readable until the program ends (RCU); copied at once.
    let key = unsafe { *key };
    let _taken = DIALLING.remove(cookie);
    Some(key)
}
