//! A socket is closed.

use aya_ebpf::bindings::bpf_sock_ops;
use aya_ebpf::programs::SockOpsContext;

use crate::kernel::{At, Backlog};
use crate::maps::take_out;
use crate::{account, ends, kernel, sock};
use sockway_common::end::event;

/// Takes its row out, and adds its figures.
///
/// The kernel itself takes it out of the sockhash (`net/core/sock_map.c` `sock_map_close`). One
/// whose connection failed leaves at once: `tcp_bpf_sendmsg` reports an error without clearing
/// it, so that it would come again with each call (`net/ipv4/tcp_bpf.c`, 5.10 to 7.2); TCP
/// itself says it once. Where something still waits for the program, user space takes it out
/// as soon as that was read.
#[inline(never)]
pub(super) fn closed(ops: *mut bpf_sock_ops) {
    let ctx = &SockOpsContext::new(ops);
    let sk = crate::context::sk(ctx);
    if sk.is_null() {
        return;
    }
    let Some(state) = sock::get(sk) else { return };
    let Some(row) = ends::get_mut(state.cookie) else {
        return account::flush(state);
    };
    let sock = At::sock(state.sock);
    // SAFETY: as in `ends::get`.
    let joined = unsafe { (*row).joined } != 0;
    let failed = kernel::failed(sock);
    // The other end's FIN counts as a byte that came; a reset does not.
    let end = u64::from(!failed);
    account::closed(
        state,
        row,
        kernel::bytes_received(sock).saturating_sub(end),
        kernel::bytes_acked(sock),
    );
    ends::remove(state.cookie);
    if joined && failed && !kernel::has_ulp(sock) {
        if matches!(kernel::backlog(sock), Backlog::Bytes(0)) {
            take_out(state.cookie);
        } else {
            crate::events::tell(event::LEAVE, state.cookie);
        }
    }
}
