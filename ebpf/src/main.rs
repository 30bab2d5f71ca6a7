//! Sockway's eBPF programs: entry points only.
//!
//! Every exit of every program returns what lets the kernel go on as if the
//! program were not there.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod account;
mod callers;
mod context;
mod counter;
mod ends;
mod establish;
mod events;
mod kernel;
mod known;
mod late;
mod maps;
mod readers;
mod redirect;
mod signals;
mod sock;

use aya_ebpf::bindings::sk_action::SK_PASS;
use aya_ebpf::macros::{classifier, fentry, fexit, raw_tracepoint, sk_msg, sock_ops};
use aya_ebpf::programs::{
    FEntryContext, FExitContext, RawTracePointContext, SkMsgContext, SockOpsContext, TcContext,
};

/// Finds pairs. Attached to a cgroup2; minimum kernel 5.10.
#[sock_ops]
pub fn sockway_establish(ctx: SockOpsContext) -> u32 {
    establish::run(&ctx);
    1
}

/// Redirects. Attached to the sockhash; minimum kernel 5.10.
#[sk_msg]
pub fn sockway_redirect(ctx: SkMsgContext) -> u32 {
    redirect::run(&ctx);
    SK_PASS
}

/// Sees how applications read. Minimum kernel 5.10.
#[raw_tracepoint(tracepoint = "tcp_rcv_space_adjust")]
pub fn sockway_reads(ctx: RawTracePointContext) -> i32 {
    readers::read(&ctx);
    0
}

/// Sees who reads until there is nothing more. Minimum kernel 6.3.
#[raw_tracepoint(tracepoint = "sock_recv_length")]
pub fn sockway_ends(ctx: RawTracePointContext) -> i32 {
    readers::traced_end(&ctx);
    0
}

/// Sees the same on kernels without that tracepoint, where they allow fexit.
#[fexit(function = "inet_recvmsg")]
pub fn sockway_ends_v4(ctx: FExitContext) -> u32 {
    readers::function_end(&ctx);
    0
}

/// The same for IPv6.
#[fexit(function = "inet6_recvmsg")]
pub fn sockway_ends_v6(ctx: FExitContext) -> u32 {
    readers::function_end(&ctx);
    0
}

/// Sees sockets that have an error to tell. Minimum kernel 5.14.
#[raw_tracepoint(tracepoint = "inet_sk_error_report")]
pub fn sockway_errors(ctx: RawTracePointContext) -> i32 {
    readers::error(&ctx);
    0
}

/// Sees who asks FIONREAD. Only where the kernel allows fentry.
#[fentry(function = "tcp_ioctl")]
pub fn sockway_ioctl(ctx: FEntryContext) -> u32 {
    readers::ioctl(&ctx);
    0
}

/// Sees the same on joined sockets, where the kernel answers for those elsewhere.
#[fentry(function = "tcp_bpf_ioctl")]
pub fn sockway_joined_ioctl(ctx: FEntryContext) -> u32 {
    readers::ioctl(&ctx);
    0
}

/// Sees who splices, before anything is read. Only where the kernel allows fentry.
#[fentry(function = "tcp_splice_read")]
pub fn sockway_splice(ctx: FEntryContext) -> u32 {
    readers::splice(&ctx);
    0
}

/// Brings ends in late, and lets them out. Run by user space; minimum kernel 5.10.
#[classifier]
pub fn sockway_late(ctx: TcContext) -> i32 {
    late::run(&ctx);
    0
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
