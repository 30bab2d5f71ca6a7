//! Learning how applications read (rule 3).
//!
//! Four hooks: the raw tracepoint `tcp_rcv_space_adjust`, which the kernel
//! passes on every read from a TCP queue by whatever call (`net/ipv4/tcp_input.c`;
//! 4.16 to 7.2), the raw tracepoint `sock_recv_length` at the end of every receiving
//! call (`net/socket.c`; 6.3 to 7.2) or fexit of what it calls, and fentry of `tcp_ioctl` and `tcp_splice_read` where the kernel
//! allows it. They do nothing for sockets that Sockway does not watch.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::programs::{FEntryContext, FExitContext, RawTracePointContext};
use sockway_common::pair::ReaderKey;
use sockway_common::reader::{self, CLIENT, EMPTY, GAVE, LEAVES, OTHER_END, Read, SERVER, seen};

use crate::kernel::{At, Waits};
use crate::maps::WATCHED;
use crate::{kernel, learning};

/// `MSG_TRUNC` of include/linux/socket.h.
const MSG_TRUNC: u32 = 0x20;

/// `-EAGAIN` as an int.
const AGAIN: u64 = (-11i32).cast_unsigned() as u64;

/// `SIOCINQ` (`FIONREAD`) of include/uapi/linux/sockios.h.
const SIOCINQ: u32 = 0x541b;

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

/// Lets an application's socket leave the sockhash ([`LEAVES`]).
#[inline(always)]
pub(crate) fn let_leave(cookie: u64) {
    if let Some(key) = WATCHED.get_ptr_mut(cookie) {
        // SAFETY: a row stays writable until the program ends (RCU).
        unsafe { (*key).kind |= LEAVES };
    }
}

/// True where an application's socket is to leave the sockhash.
#[inline(always)]
pub(crate) fn leaves(cookie: u64) -> bool {
    match WATCHED.get_ptr(cookie) {
        // SAFETY: as in `known`.
        Some(key) => unsafe { (*key).kind & LEAVES != 0 },
        None => false,
    }
}

/// The row of a watched socket.
#[inline(always)]
fn row_of(sock: At) -> Option<*mut ReaderKey> {
    if !kernel::has_storage(sock) {
        return None;
    }
    WATCHED.get_ptr_mut(kernel::cookie(sock)?)
}

/// The address in a row, and whether the socket is [`OTHER_END`].
#[inline(always)]
fn address(row: *mut ReaderKey) -> (ReaderKey, bool) {
    // SAFETY: as in `known`.
    let mut key = unsafe { *row };
    let other_end = key.kind & OTHER_END != 0;
    key.kind &= SERVER | CLIENT;
    (key, other_end)
}

/// Both of a watched socket.
#[inline(always)]
fn watched(sock: At) -> Option<(ReaderKey, bool)> {
    Some(address(row_of(sock)?))
}

/// Replaces [`GAVE`] and [`EMPTY`]; what they were.
#[inline(always)]
fn swap(row: *mut ReaderKey, now: u32) -> u32 {
    // SAFETY: a row stays writable until the program ends (RCU).
    let row = unsafe { &mut *row };
    let kind = &mut row.kind;
    let before = *kind & (GAVE | EMPTY);
    if before != now {
        *kind ^= before ^ now;
    }
    before
}

/// `tcp_rcv_space_adjust(struct sock *sk)`: the current task reads from a TCP queue.
#[inline(always)]
pub(crate) fn read(ctx: &RawTracePointContext) {
    let args = ctx.as_ptr().cast::<u64>();
    // SAFETY: the context is the array of the tracepoint's arguments; it has one.
    let sock = At::sock(unsafe { *args });
    let Some(watched) = row_of(sock) else {
        return;
    };
    let (key, other_end) = address(watched);
    if other_end {
        if kernel::had_urgent(sock) {
            learning::turned(&key, seen::URGENT);
        }
        return;
    }
    let left_nothing = kernel::unread(sock) == Some(0);
    let before = swap(watched, if left_nothing { GAVE | EMPTY } else { GAVE });
    let waits = kernel::waits(sock);
    let row = learning::known(&key);
    let call = kernel::call();
    let read = Read {
        nonblocking: kernel::nonblocking(sock) != Some(false),
        // kTLS reads its own way once it is set up, be it in whoever's context.
        recv_like: if kernel::has_ulp(sock) {
            Some(false)
        } else if matches!(waits, Waits::NotByEpoll) && before & EMPTY == 0 {
            // nginx reads before it asks epoll: only who comes back without epoll shows
            // that it waits by other means, which are all level-triggered.
            None
        } else {
            call.is_recv_like()
        },
        rcvlowat: kernel::rcvlowat(sock),
        tcp_only: call.recv_flags() & MSG_TRUNC != 0 || kernel::has_tcp_only_option(sock),
        urgent: kernel::had_urgent(sock),
        edge: matches!(waits, Waits::Edge | Waits::Unknown),
        stopped_short: before == GAVE | EMPTY && learning::sees_ends(),
    };
    let next = reader::after_read(row, read);
    if reader::asks(&next) {
        learning::ask();
    }
    if next != row {
        learning::note(&key, next);
    }
}

/// `sock_recv_length(struct sock *sk, int ret, int flags)`: a receiving call is over.
#[inline(always)]
pub(crate) fn traced_end(ctx: &RawTracePointContext) {
    // SAFETY: the context is the array of the tracepoint's arguments; it has three.
    let [sock, result, _flags] = unsafe { *ctx.as_ptr().cast::<[u64; 3]>() };
    if found_nothing(result) {
        ended(At::sock(sock));
    }
}

/// The end of `inet_recvmsg` or `inet6_recvmsg(struct socket *sock, struct msghdr *msg,
/// size_t size, int flags)` (5.10 to 7.2).
#[inline(always)]
pub(crate) fn function_end(ctx: &FExitContext) {
    if found_nothing(ctx.arg(4))
        && let Some(sock) = kernel::sock_of(ctx.arg(0))
    {
        ended(sock);
    }
}

/// Every socket's calls come by here: those that gave something end at once.
#[inline(always)]
fn found_nothing(result: u64) -> bool {
    result & 0xffff_ffff == AGAIN
}

#[inline(always)]
fn ended(sock: At) {
    let Some(watched) = row_of(sock) else {
        return;
    };
    let (key, other_end) = address(watched);
    if other_end || swap(watched, EMPTY) & GAVE == 0 {
        return;
    }
    let row = learning::known(&key);
    let next = reader::after_end(row);
    if next != row {
        learning::note(&key, next);
    }
}

/// `tcp_ioctl(struct sock *sk, int cmd, ...)`, or `tcp_bpf_ioctl` with the same arguments.
#[inline(always)]
pub(crate) fn ioctl(ctx: &FEntryContext) {
    let cmd: u32 = ctx.arg(1);
    if cmd != SIOCINQ {
        return;
    }
    let Some((key, false)) = watched(At::sock(ctx.arg(0))) else {
        return;
    };
    learning::turned(&key, seen::FIONREAD);
}

/// `tcp_splice_read(struct socket *sock, ...)`.
#[inline(always)]
pub(crate) fn splice(ctx: &FEntryContext) {
    if let Some(sock) = kernel::sock_of(ctx.arg(0))
        && let Some((key, false)) = watched(sock)
    {
        learning::turned(&key, seen::OTHER_READ);
    }
}
