//! Keeps conntrack's row of a joined connection alive.
//!
//! Redirected bytes are no packets. Netfilter forgets a connection without
//! packets after `nf_conntrack_tcp_timeout_established`, and with it Istio's
//! REDIRECT: the other end's FIN would then arrive untranslated, or not at all.
//! So Envoy's end probes by TCP keepalive, which goes by packets in both directions.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_setsockopt;

use crate::kernel::{self, Typed};

/// `SOL_SOCKET` and `SO_KEEPALIVE` of include/uapi/asm-generic/socket.h.
const SOL_SOCKET: i32 = 1;
const SO_KEEPALIVE: i32 = 9;
/// `IPPROTO_TCP`, `TCP_KEEPIDLE` and `TCP_KEEPINTVL` of include/uapi/linux/tcp.h.
const IPPROTO_TCP: i32 = 6;
const TCP_KEEPIDLE: i32 = 4;
const TCP_KEEPINTVL: i32 = 5;
/// The kernel's own interval, seconds (include/net/tcp.h `TCP_KEEPALIVE_INTVL`).
const INTERVAL: u32 = 75;

/// Has an established socket, Envoy's end of a joined connection, probe its peer where
/// nothing came by TCP for the configured time.
///
/// A socket that has keepalive already keeps what its owner chose. `bpf_setsockopt`
/// knows the options from kernel 5.9 on (commit aad4a0a9513a). After a probe the
/// kernel waits for the interval whatever the answer (`net/ipv4/tcp_timer.c`
/// `tcp_keepalive_timer`), so that is never longer than the idle time.
#[inline(always)]
pub(crate) fn keep<const L: u32>(holder: *mut c_void, sock: Typed<L>) {
    let idle = kernel::keepalive_idle();
    if idle == 0 || kernel::keeps_alive(sock) != Some(false) {
        return;
    }
    // A failure leaves the connection to age, as it would without this.
    let _done = set(holder, IPPROTO_TCP, TCP_KEEPIDLE, idle)
        && (idle >= INTERVAL || set(holder, IPPROTO_TCP, TCP_KEEPINTVL, idle))
        && set(holder, SOL_SOCKET, SO_KEEPALIVE, 1);
}

#[inline(always)]
fn set(holder: *mut c_void, level: i32, option: i32, mut value: u32) -> bool {
    // SAFETY: the holder is the running program's own context or its socket, of
    // an established one that the kernel holds locked; `value` is a live local of 4 bytes.
    let failed = unsafe { bpf_setsockopt(holder, level, option, (&raw mut value).cast(), 4) };
    failed == 0
}
