//! Finding the socket of an order by its tuple.

use core::ffi::c_void;

use aya_ebpf::bindings::{bpf_sock, bpf_sock_tuple};
use aya_ebpf::helpers::generated::{bpf_sk_lookup_tcp, bpf_sk_release};
use sockway_common::counters::Reason;
use sockway_common::order::{DONE, Order, seen, what};

use super::join;
use crate::context::field;
use crate::kernel::Own;
use crate::{kernel, sock};

/// `BPF_F_CURRENT_NETNS` of include/uapi/linux/bpf.h: that of the process which runs the program.
const CURRENT_NETNS: u64 = u64::MAX;
/// `TCP_ESTABLISHED` of `include/net/tcp_states.h`.
const TCP_ESTABLISHED: u32 = 1;

/// Lengths of the two forms of `struct bpf_sock_tuple`.
const V4: u32 = 12;
const V6: u32 = 36;

/// Carries out an order that needs the socket itself.
#[inline(always)]
pub(super) fn with_socket(ctx: *mut c_void, order: &mut Order) -> u32 {
    let sk = look_up(ctx, order);
    if sk.is_null() {
        return Reason::PeerGone as u32;
    }
    let result = with(sk.cast(), order);
    // SAFETY: the socket that the look-up gave, once on every path.
    let _always = unsafe { bpf_sk_release(sk.cast()) };
    result
}

/// The socket with the order's tuple, local end first there and last in the kernel's.
#[inline(always)]
fn look_up(ctx: *mut c_void, order: &Order) -> *mut bpf_sock {
    // The source is the other end: the socket is looked up as for a packet that arrives.
    let mut words = [0u32; 9];
    let (remote, local) = (order.remote.words(), order.local.words());
    let ports = u32::from(order.remote_port.to_be()) | u32::from(order.local_port.to_be()) << 16;
    let length = if order.family == 4 {
        words[0] = remote[3];
        words[1] = local[3];
        words[2] = ports;
        V4
    } else {
        words[0] = remote[0];
        words[1] = remote[1];
        words[2] = remote[2];
        words[3] = remote[3];
        words[4] = local[0];
        words[5] = local[1];
        words[6] = local[2];
        words[7] = local[3];
        words[8] = ports;
        V6
    };
    const { assert!(size_of::<bpf_sock_tuple>() == V6 as usize) };
    let tuple = (&raw mut words).cast::<bpf_sock_tuple>();
    // Two calls: the verifier wants to know the length.
    if length == V4 {
        // SAFETY: the running program's own context, and a live local of at least the length given.
        unsafe { bpf_sk_lookup_tcp(ctx, tuple, V4, CURRENT_NETNS, 0) }
    } else {
        // SAFETY: as above.
        unsafe { bpf_sk_lookup_tcp(ctx, tuple, V6, CURRENT_NETNS, 0) }
    }
}

#[inline(always)]
fn with(sk: *mut c_void, order: &mut Order) -> u32 {
    let established = field!(sk.cast::<bpf_sock>(), state) == TCP_ESTABLISHED;
    if !established && order.what != what::LOOK {
        return Reason::PeerGone as u32;
    }
    let Some(own) = Own::of(sk, || kernel::address_of(sk)) else {
        return Reason::PeerGone as u32;
    };
    let cookie = kernel::cookie(own).unwrap_or(0);
    if order.what != what::LOOK && (cookie == 0 || cookie != order.cookie) {
        return Reason::PeerGone as u32;
    }
    match order.what {
        what::LOOK => {
            order.cookie = cookie;
            order.sock = own.address();
            order.inode = kernel::inode(own);
            order.uid = kernel::uid(own).unwrap_or(0);
            let (una, written, next) = kernel::numbers(own);
            order.snd_una = una;
            order.write_seq = written;
            order.rcv_nxt = next;
            order.seen = bit(seen::ESTABLISHED, established)
                | bit(seen::NONBLOCKING, kernel::nonblocking(own) == Some(true))
                | bit(seen::ULP, kernel::has_ulp(own))
                | bit(
                    seen::TCP_ONLY,
                    kernel::has_tcp_only_option(own)
                        || kernel::rcvlowat(own) > 1
                        || kernel::had_urgent(own),
                )
                | bit(seen::KNOWN, sock::get(sk).is_some());
            DONE
        }
        what::TRACK => join::track(sk, own, order),
        what::JOIN => join::join(sk, own, order),
        _ => Reason::NotInserted as u32,
    }
}

#[inline(always)]
const fn bit(bit: u32, set: bool) -> u32 {
    if set { bit } else { 0 }
}
