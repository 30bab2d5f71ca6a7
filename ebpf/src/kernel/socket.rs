//! Fields of a socket, of its file, and of a request socket.

use core::ffi::c_void;

use sockway_common::cast;
use sockway_common::flow::{self, Ends};
use sockway_common::offsets::UNKNOWN;

use super::config;
use super::field::{At, Own, Typed, read_or};

/// `O_NONBLOCK` of `struct file.f_flags`, include/uapi/asm-generic/fcntl.h
/// (the same on x86-64 and arm64).
const O_NONBLOCK: u32 = 0o4000;

/// Bits of `sk_flags` (`enum sock_flags` of include/net/sock.h, the same from 5.10 to 7.2):
/// `SOCK_RCVTSTAMP`, `SOCK_RCVTSTAMPNS`, `SOCK_ZEROCOPY`.
const TCP_ONLY_FLAGS: u64 = 1 << 11 | 1 << 12 | ZEROCOPY;
const ZEROCOPY: u64 = 1 << 18;

/// The `struct sock` behind a `sock_ops` context; also for request sockets,
/// whose `sk` the context itself hides.
#[inline(always)]
pub(crate) fn sops_sock(ctx: *mut c_void) -> Option<u64> {
    At::new::<{ cast::SOCK_OPS }>(ctx as u64).get(config!(offsets.sops_sk))
}

/// `(client's, server's)` initial sequence numbers of a request socket.
#[inline(always)]
pub(crate) fn request_isns(sock: u64) -> Option<(u32, u32)> {
    let request = At::new::<{ cast::TCP_REQUEST_SOCK }>(sock);
    let client = request.get(config!(offsets.req_rcv_isn))?;
    let server = request.get(config!(offsets.req_snt_isn))?;
    Some((client, server))
}

/// The `struct sock` of a `struct socket`.
#[inline(always)]
pub(crate) fn sock_of(socket: u64) -> Option<At> {
    let sock = At::new::<{ cast::SOCKET }>(socket).get(config!(offsets.socket_sk))?;
    Some(At::sock(sock))
}

#[inline(always)]
pub(crate) fn cookie<const L: u32>(sock: Typed<L>) -> Option<u64> {
    sock.get(config!(offsets.sk_cookie))
}

/// The socket's `struct file`; `None` while it has none (not accepted yet) or where the
/// kernel cannot be asked.
///
/// A socket keeps its file for as long as it has one.
#[inline(always)]
pub(crate) fn file<const L: u32>(sock: Typed<L>) -> Option<Typed<L>> {
    let socket = sock.follow(config!(offsets.sk_socket))?;
    socket.follow(config!(offsets.socket_file))
}

/// Whether the socket's file has `O_NONBLOCK`; `None` as for [`file`].
#[inline(always)]
pub(crate) fn nonblocking<const L: u32>(sock: Typed<L>) -> Option<bool> {
    file_nonblocking(file(sock)?)
}

/// Whether a file has `O_NONBLOCK`.
#[inline(always)]
pub(crate) fn file_nonblocking<const L: u32>(file: Typed<L>) -> Option<bool> {
    let flags: u32 = file.get(config!(offsets.file_flags))?;
    Some(flags & O_NONBLOCK != 0)
}

/// Whether a connection's accepting end has been accepted; true where the kernel cannot be asked.
///
/// `accept` charges a socket to the memory cgroup of the process that calls it, with the bytes in
/// `sk_rmem_alloc` (`net/ipv4/inet_connection_sock.c` `inet_csk_accept`). Redirected ones
/// are not among those before 6.13 (and late 6.1.y and 6.12.y): once read they were given back without having been
/// charged, and a pod whose count falls below zero has its processes killed (seen on 5.10).
#[inline(always)]
pub(crate) fn is_accepted<const L: u32>(sock: Typed<L>) -> bool {
    sock.get_or(config!(offsets.sk_socket), u64::MAX) != 0
}

/// Bytes in a socket's TCP queue that were not read.
#[inline(always)]
pub(crate) fn unread<const L: u32>(sock: Typed<L>) -> Option<u32> {
    let copied: u32 = sock.get(config!(offsets.tcp_copied_seq))?;
    let next: u32 = sock.get(config!(offsets.tcp_rcv_nxt))?;
    Some(next.wrapping_sub(copied))
}

/// True where the socket has an option that only TCP's own queues serve: a time
/// stamp with the data, completions of `MSG_ZEROCOPY`, `SO_PEEK_OFF`, `TCP_INQ`.
#[inline(always)]
pub(crate) fn has_tcp_only_option<const L: u32>(sock: Typed<L>) -> bool {
    let flags = sock.get_or(config!(offsets.sk_flags), 0_u64);
    // The lower half holds all of `SO_TIMESTAMPING`'s flags that 5.10 knows.
    let stamps = sock.get_or(config!(offsets.sk_tsflags), 0_u16);
    let peek = sock.get_or(config!(offsets.sk_peek_off), u32::MAX);
    flags & TCP_ONLY_FLAGS != 0 || stamps != 0 || peek.cast_signed() >= 0 || has_inq(sock)
}

/// True where the socket has `SO_ZEROCOPY`.
#[inline(always)]
pub(crate) fn has_zerocopy<const L: u32>(sock: Typed<L>) -> bool {
    sock.get_or(config!(offsets.sk_flags), 0_u64) & ZEROCOPY != 0
}

/// `TCP_INQ`, one bit of a byte.
#[inline(always)]
fn has_inq<const L: u32>(sock: Typed<L>) -> bool {
    let bit = config!(offsets.tcp_recvmsg_inq_bit);
    if bit == UNKNOWN {
        return false;
    }
    let byte = sock.get_or(bit / 8, 0_u8);
    byte >> (bit % 8) & 1 != 0
}

/// True where urgent data ever came to the socket.
#[inline(always)]
pub(crate) fn had_urgent<const L: u32>(sock: Typed<L>) -> bool {
    sock.get_or(config!(offsets.tcp_urg_seq), 0_u32) != 0
}

/// True where the connection ended with an error (reset, timed out).
#[inline(always)]
pub(crate) fn failed<const L: u32>(sock: Typed<L>) -> bool {
    sock.get_or(config!(offsets.sk_err), 0_u32) != 0
}

/// `SO_RCVLOWAT`; 1 where the kernel cannot be asked.
#[inline(always)]
pub(crate) fn rcvlowat<const L: u32>(sock: Typed<L>) -> u32 {
    sock.get_or(config!(offsets.sk_rcvlowat), 1)
}

/// The socket owner's uid, which Istio's rules tell Envoy by.
#[inline(always)]
pub(crate) fn uid<const L: u32>(sock: Typed<L>) -> Option<u32> {
    sock.get(config!(offsets.sk_uid))
}

/// True where the socket has an upper-layer protocol (kTLS, MPTCP).
#[inline(always)]
pub(crate) fn has_ulp<const L: u32>(sock: Typed<L>) -> bool {
    sock.get_or(config!(offsets.icsk_ulp_ops), 0_u64) != 0
}

/// `(snd_una, write_seq, rcv_nxt)`, host byte order; 0 where the kernel cannot be asked.
#[inline(always)]
pub(crate) fn numbers<const L: u32>(sock: Typed<L>) -> (u32, u32, u32) {
    (
        sock.get_or(config!(offsets.tcp_snd_una), 0),
        sock.get_or(config!(offsets.tcp_write_seq), 0),
        sock.get_or(config!(offsets.tcp_rcv_nxt), 0),
    )
}

/// Payload bytes that came by TCP.
#[inline(always)]
pub(crate) fn bytes_received<const L: u32>(sock: Typed<L>) -> u64 {
    sock.get_or(config!(offsets.tcp_bytes_received), 0)
}

/// Bytes that were sent by TCP and acknowledged; SYN and FIN count one each.
#[inline(always)]
pub(crate) fn bytes_acked<const L: u32>(sock: Typed<L>) -> u64 {
    sock.get_or(config!(offsets.tcp_bytes_acked), 0)
}

/// The listening socket that a request socket belongs to.
#[inline(always)]
pub(crate) fn listener_of(request: u64) -> At {
    let listener =
        At::new::<{ cast::TCP_REQUEST_SOCK }>(request).get_or(config!(offsets.req_listener), 0_u64);
    At::sock(listener)
}

/// Inode number of the socket's file; 0 where it has none, or the kernel cannot be asked.
#[inline(always)]
pub(crate) fn inode<const L: u32>(sock: Typed<L>) -> u64 {
    let Some(file) = file(sock) else { return 0 };
    let Some(inode) = file.follow(config!(offsets.file_inode)) else {
        return 0;
    };
    inode.get_or(config!(offsets.inode_number), 0)
}

/// Inode number of the socket's network namespace; 0 where the kernel cannot be asked.
#[inline(always)]
pub(crate) fn netns<const L: u32>(sock: Typed<L>) -> u32 {
    let Some(net) = sock.follow(config!(offsets.sk_net)) else {
        return 0;
    };
    net.get_or(config!(offsets.net_inode), 0)
}

/// False where two sockets are seen not to be the ends of one connection.
#[inline(always)]
pub(crate) fn may_be_a_pair<const S: u32, const R: u32>(
    sender: Typed<S>,
    receiver: Typed<R>,
) -> bool {
    let (una, written, next) = (
        config!(offsets.tcp_snd_una),
        config!(offsets.tcp_write_seq),
        config!(offsets.tcp_rcv_nxt),
    );
    if una == UNKNOWN || written == UNKNOWN || next == UNKNOWN {
        return true;
    }
    flow::is_one_connection(
        sender.get_or(una, 0),
        sender.get_or(written, 0),
        receiver.get_or(next, 0),
    )
}

/// How far the bytes of one direction are; `receiver`: where that socket lies.
#[inline(always)]
pub(crate) fn ends(sender: Own, receiver: u64) -> Option<Ends> {
    if config!(offsets.sk_lock_owned) == UNKNOWN {
        return None;
    }
    let at = At::sock(receiver);
    let copied_seq: u32 = at.get(config!(offsets.tcp_copied_seq))?;
    let rcv_nxt: u32 = at.get(config!(offsets.tcp_rcv_nxt))?;
    // These two in any order: the sender's lock is held, and where all it sent is acknowledged `rcv_nxt`
    // stands still and was stored before the acknowledgement came, by way of the sender's lock.
    // Read last: a reader seen outside its call now begins its next call anew. arm64 may let
    // one load pass another, but none whose address needs the other's value. Where the two
    // differ, which may change the address by some bytes, it does not matter any more what is read.
    let last = receiver.wrapping_add(u64::from((copied_seq ^ rcv_nxt) & 7));
    Some(Ends {
        snd_una: sender.get(config!(offsets.tcp_snd_una))?,
        write_seq: sender.get(config!(offsets.tcp_write_seq))?,
        copied_seq,
        rcv_nxt,
        owned: read_or(last, config!(offsets.sk_lock_owned), 1),
    })
}

/// `(sk_rcvbuf, sk_rmem_alloc)` of a reader, bytes.
#[inline(always)]
pub(crate) fn receive_buffer<const L: u32>(sock: Typed<L>) -> Option<(u32, u32)> {
    let rcvbuf = sock.get(config!(offsets.sk_rcvbuf))?;
    let rmem = sock.get(config!(offsets.sk_rmem_alloc))?;
    Some((rcvbuf, rmem))
}

/// True where the socket has socket storage of any program: cheap to ask, so
/// that sockets nobody watches cost one read.
#[inline(always)]
pub(crate) fn has_storage<const L: u32>(sock: Typed<L>) -> bool {
    sock.get_or(config!(offsets.sk_bpf_storage), 0_u64) != 0
}
