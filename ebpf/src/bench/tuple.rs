//! A yardstick for `make bench`: the usual accelerator, which knows sockets by
//! addresses and ports and checks nothing. Never part of a release.
//!
//! Both ends of a connection are keyed by the client's address and port, which
//! Istio's REDIRECT leaves alone as long as no source port is taken twice, and
//! by which end they are. IPv4 and IPv4 on `AF_INET6` sockets only.
#![no_std]
#![no_main]

use aya_ebpf::bindings::sk_action::SK_PASS;
use aya_ebpf::bindings::{
    BPF_ANY, BPF_F_INGRESS, BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB,
    BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB, bpf_sock_ops, sk_msg_md,
};
use aya_ebpf::btf_maps::SockHash;
use aya_ebpf::macros::{btf_map, sk_msg, sock_ops};
use aya_ebpf::programs::{SkMsgContext, SockOpsContext};

/// Rows: two per connection.
const MAX_SOCKETS: usize = 262_144;
/// `AF_INET` of include/linux/socket.h.
const AF_INET: u32 = 2;
/// Istio's outbound and inbound ports.
const ENVOY_PORTS: [u32; 2] = [15001, 15006];
/// 127.0.0.6, network byte order: where Envoy connects to its application from.
const ENVOY_SOURCE: u32 = 0x7f00_0006_u32.to_be();

const ACTIVE: u32 = 1;
const PASSIVE: u32 = 2;

/// One end of a connection.
#[repr(C)]
#[derive(Clone, Copy)]
struct Key {
    /// The client's address, network byte order.
    ip: u32,
    /// The client's port, host byte order.
    port: u32,
    /// [`ACTIVE`] or [`PASSIVE`].
    end: u32,
}

#[btf_map(name = "tuples")]
static TUPLES: SockHash<Key, MAX_SOCKETS> = SockHash::new();

/// Reads one field of a context. Volatile and never inside a choice between two,
/// which the compiler would make one of addresses, and the verifier allows no such pointer.
macro_rules! field {
    ($ctx:expr, $($field:tt)+) => {{
        let ctx = $ctx;
        // SAFETY: the kernel's own context, valid for the whole run; only the address is taken.
        let field = unsafe { &raw const (*ctx).$($field)+ };
        // SAFETY: as above; the field is an aligned integer.
        unsafe { core::ptr::read_volatile(field) }
    }};
}

/// Puts every established IPv4 socket of the cgroup into the map.
#[sock_ops]
pub fn tuple_establish(ctx: SockOpsContext) -> u32 {
    let ops: *mut bpf_sock_ops = ctx.ops;
    let v4 = field!(ops, family) == AF_INET;
    let (local, local6) = (field!(ops, local_ip4), field!(ops, local_ip6[3]));
    let (remote, remote6) = (field!(ops, remote_ip4), field!(ops, remote_ip6[3]));
    let (local_port, remote_port) = (field!(ops, local_port), field!(ops, remote_port));
    let mut key = match ctx.op() {
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB => Key {
            ip: if v4 { local } else { local6 },
            port: local_port,
            end: ACTIVE,
        },
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => Key {
            ip: if v4 { remote } else { remote6 },
            port: u32::from_be(remote_port),
            end: PASSIVE,
        },
        _ => return 1,
    };
    // SAFETY: valid for the whole run, and no other reference is in use.
    let ops = unsafe { &mut *ops };
    let _full = TUPLES.update(&mut key, ops, u64::from(BPF_ANY));
    1
}

/// Redirects every message to the other end, if it is there.
#[sk_msg]
pub fn tuple_redirect(ctx: SkMsgContext) -> u32 {
    let msg: *mut sk_msg_md = ctx.msg;
    let v4 = field!(msg, family) == AF_INET;
    let (local4, local6) = (field!(msg, local_ip4), field!(msg, local_ip6[3]));
    let (remote4, remote6) = (field!(msg, remote_ip4), field!(msg, remote_ip6[3]));
    let (port, remote_port) = (field!(msg, local_port), field!(msg, remote_port));
    let (local, remote) = if v4 {
        (local4, remote4)
    } else {
        (local6, remote6)
    };
    let passive = ENVOY_PORTS.contains(&port) || remote == ENVOY_SOURCE;
    let key = if passive {
        Key {
            ip: remote,
            port: u32::from_be(remote_port),
            end: ACTIVE,
        }
    } else {
        Key {
            ip: local,
            port,
            end: PASSIVE,
        }
    };
    let _pass = TUPLES.redirect_msg(&ctx, key, u64::from(BPF_F_INGRESS));
    SK_PASS
}

/// The licence decides which helpers the kernel offers.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";

/// There is nothing to unwind to; the verifier admits no program that gets here.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
