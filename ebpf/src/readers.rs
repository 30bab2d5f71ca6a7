//! Learning how applications read (rule 3).
//!
//! Two hooks: the raw tracepoint `tcp_rcv_space_adjust`, which the kernel
//! passes on every read from a TCP queue by whatever call (`net/ipv4/tcp_input.c`;
//! 4.16 to 7.2), and fentry of `tcp_ioctl` where the kernel allows it. Both do
//! nothing for sockets that Sockway does not watch.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::programs::{FEntryContext, RawTracePointContext};
use sockway_common::counters::Reason;
use sockway_common::pair::ReaderKey;
use sockway_common::reader::{self, Read, ReaderRow, seen};

use crate::kernel;
use crate::maps::{READERS, WATCHED};

/// `SIOCINQ` (`FIONREAD`) of include/uapi/linux/sockios.h.
const SIOCINQ: u32 = 0x541b;

/// What is known of an address.
#[inline(always)]
pub(crate) fn known(key: &ReaderKey) -> ReaderRow {
    match READERS.get_ptr(key) {
        // SAFETY: a row stays readable until the program ends (RCU); copied at once.
        Some(row) => unsafe { *row },
        None => ReaderRow::default(),
    }
}

/// Writes down what is known of an address now.
#[inline(always)]
pub(crate) fn note(key: &ReaderKey, row: ReaderRow) {
    // A full map forgets the oldest address, which is then watched anew.
    let _full = READERS.insert(key, row, 0);
}

/// Why an unfit address is left to TCP.
#[inline(always)]
pub(crate) fn unfit_reason(row: ReaderRow) -> Reason {
    if row.seen & seen::BLOCKING != 0 {
        Reason::Blocking
    } else {
        Reason::Guarded
    }
}

/// Lets the hooks know a socket.
#[inline(always)]
pub(crate) fn watch(cookie: u64, key: &ReaderKey) {
    // A full map evicts the oldest row: that socket is watched no more, but its
    // address keeps what was learnt.
    let _full = WATCHED.insert(cookie, key, 0);
}

/// Forgets a socket.
#[inline(always)]
pub(crate) fn unwatch(cookie: u64) {
    let _taken = WATCHED.remove(cookie);
}

#[inline(always)]
fn watched(sock: u64) -> Option<ReaderKey> {
    if !kernel::has_storage(sock) {
        return None;
    }
    let cookie = kernel::cookie(sock)?;
    let key = WATCHED.get_ptr(cookie)?;
    // SAFETY: as in `known`.
    Some(unsafe { *key })
}

/// `tcp_rcv_space_adjust(struct sock *sk)`: the current task reads from a TCP queue.
#[inline(always)]
pub(crate) fn read(ctx: &RawTracePointContext) {
    let args = ctx.as_ptr().cast::<u64>();
    // SAFETY: the context is the array of the tracepoint's arguments; it has one.
    let sock = unsafe { *args };
    let Some(key) = watched(sock) else { return };
    let row = known(&key);
    let read = Read {
        nonblocking: kernel::nonblocking(sock) != Some(false),
        // kTLS reads its own way once it is set up.
        recv_like: kernel::in_recv_like_call().map(|is| is && !kernel::has_ulp(sock)),
        rcvlowat: kernel::rcvlowat(sock),
    };
    let next = reader::after_read(row, read);
    if next != row {
        note(&key, next);
    }
}

/// `tcp_ioctl(struct sock *sk, int cmd, ...)`.
#[inline(always)]
pub(crate) fn ioctl(ctx: &FEntryContext) {
    let cmd: u32 = ctx.arg(1);
    if cmd != SIOCINQ {
        return;
    }
    let Some(key) = watched(ctx.arg(0)) else {
        return;
    };
    let mut row = known(&key);
    row.seen |= seen::FIONREAD;
    note(&key, row);
}
