//! A socket connects.

use aya_ebpf::bindings::bpf_sock_ops;
use aya_ebpf::programs::SockOpsContext;
use sockway_common::pair::active_pod;

use super::lookup_pod;
use crate::context::{self, Tuple};
use crate::{kernel, sock};

/// Notes which executable connects, in the socket's storage: the only moment at which the kernel
/// tells, for the socket is established in whoever's context (`net/ipv4/tcp_output.c` `tcp_connect`,
/// 5.10 to 7.2).
#[inline(never)]
pub(super) fn dials(ops: *mut bpf_sock_ops) {
    let ctx = &SockOpsContext::new(ops);
    let tuple = Tuple::of(ctx);
    if lookup_pod(active_pod(tuple.local, tuple.remote)).is_none() {
        return;
    }
    let (id, device) = kernel::executable();
    let sk = context::sk(ctx);
    if id == 0 || sk.is_null() {
        return;
    }
    // Without memory for it the program is found out by its first read.
    if let Some(state) = sock::begin(sk) {
        state.executable = id;
        state.device = device;
    }
}
