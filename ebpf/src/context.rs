//! What a `sock_ops` context says about its socket.

use aya_ebpf::programs::SockOpsContext;
use sockway_common::addr::IpKey;

/// `AF_INET` of include/linux/socket.h.
const AF_INET: u32 = 2;

/// Reads one field of a context.
///
/// Volatile, field by field: the kernel rewrites context loads one at a time,
/// and refuses loads that the compiler has joined.
macro_rules! field {
    ($ptr:expr, $($field:tt)+) => {{
        let ptr = $ptr;
        // SAFETY: `ptr` is the running program's own context; the verifier
        // checks every access to it.
        unsafe { core::ptr::read_volatile(&raw const (*ptr).$($field)+) }
    }};
}
pub(crate) use field;

/// A socket's two addresses, as it sees them itself.
pub(crate) struct Tuple {
    /// Local address.
    pub(crate) local: IpKey,
    /// Remote address.
    pub(crate) remote: IpKey,
    /// Local port, host byte order.
    pub(crate) local_port: u16,
    /// Remote port, host byte order.
    pub(crate) remote_port: u16,
}

impl Tuple {
    #[inline(always)]
    pub(crate) fn of(ctx: &SockOpsContext) -> Self {
        let ops = ctx.ops;
        // Both forms are read whatever the family: the compiler would join the
        // loads of two branches into one at a computed offset, which the
        // verifier refuses.
        let local4 = IpKey::from_be32(field!(ops, local_ip4));
        let remote4 = IpKey::from_be32(field!(ops, remote_ip4));
        let local6 = IpKey::from_be32x4([
            field!(ops, local_ip6[0]),
            field!(ops, local_ip6[1]),
            field!(ops, local_ip6[2]),
            field!(ops, local_ip6[3]),
        ]);
        let remote6 = IpKey::from_be32x4([
            field!(ops, remote_ip6[0]),
            field!(ops, remote_ip6[1]),
            field!(ops, remote_ip6[2]),
            field!(ops, remote_ip6[3]),
        ]);
        let (local, remote) = if field!(ops, family) == AF_INET {
            (local4, remote4)
        } else {
            (local6, remote6)
        };
        // local_port is in host byte order; remote_port holds the port's two
        // network-order bytes in its upper half as a number, that is big-endian.
        let local_port = low_half(field!(ops, local_port));
        let remote_port = low_half(u32::from_be(field!(ops, remote_port)));
        Self {
            local,
            remote,
            local_port,
            remote_port,
        }
    }
}

/// A port from the field that holds it.
#[inline(always)]
const fn low_half(word: u32) -> u16 {
    let [a, b, _, _] = word.to_le_bytes();
    u16::from_le_bytes([a, b])
}

/// False for request and time-wait sockets.
#[inline(always)]
pub(crate) fn is_fullsock(ctx: &SockOpsContext) -> bool {
    field!(ctx.ops, is_fullsock) != 0
}

/// `(snd_nxt, rcv_nxt)`, host byte order.
#[inline(always)]
pub(crate) fn sequence(ctx: &SockOpsContext) -> (u32, u32) {
    (field!(ctx.ops, snd_nxt), field!(ctx.ops, rcv_nxt))
}

/// The context's socket, null for one that is not full.
#[inline(always)]
pub(crate) fn sk(ctx: &SockOpsContext) -> *mut core::ffi::c_void {
    field!(ctx.ops, __bindgen_anon_2.sk).cast()
}
