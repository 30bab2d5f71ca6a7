//! What the kernel knows and no program context offers: every read of a kernel field.
//!
//! Offsets come from the kernel's BTF; a missing one reads as `None`. [`field`] says how a
//! field is read.

mod backlog;
mod call;
mod field;
mod memory;
mod socket;
mod waits;

use aya_ebpf::helpers::generated::{bpf_jiffies64, bpf_ktime_get_ns};
use sockway_common::config::Config;
use sockway_common::direction::LOOK_TICKS;

pub(crate) use backlog::{Backlog, backlog, is_idle, queue_is_empty};
pub(crate) use call::{call, executable};
pub(crate) use field::{At, Own, address_of};
pub(crate) use memory::is_short as memory_is_short;
pub(crate) use socket::{
    bytes_acked, bytes_received, cookie, ends, failed, file, file_nonblocking, had_urgent,
    has_storage, has_tcp_only_option, has_ulp, has_zerocopy, inode, is_accepted, listener_of,
    may_be_a_pair, netns, nonblocking, numbers, rcvlowat, receive_buffer, request_isns, sock_of,
    sops_sock, uid, unread,
};
pub(crate) use waits::{Waits, waits};

/// Set by user space before the programs are loaded.
#[unsafe(no_mangle)]
static CONFIG: Config = Config::UNSET;

/// Reads one field of [`CONFIG`].
///
/// Volatile: the compiler knows the value in the source, user space sets another.
macro_rules! config {
    ($($field:tt)+) => {{
        let field = &raw const $crate::kernel::CONFIG.$($field)+;
        // SAFETY: `field` points to an aligned, initialised u32 of a static.
        unsafe { core::ptr::read_volatile(field) }
    }};
}
use config;

pub(crate) fn backlog_limit() -> u32 {
    config!(backlog_limit)
}

/// See [`Config::blind`].
#[cfg(feature = "bench")]
pub(crate) fn blind() -> bool {
    config!(blind) != 0
}

pub(crate) fn total_cap() -> u32 {
    config!(total_cap)
}

/// See [`Config::tcp_every`].
pub(crate) fn tcp_every() -> u32 {
    config!(tcp_every)
}

/// See [`Config::fionread`].
pub(crate) fn fionread() -> u32 {
    config!(fionread)
}

/// The same number, of which the verifier knows nothing any more.
#[inline(always)]
pub(crate) fn opaque(number: u32) -> u32 {
    // SAFETY: the helper takes nothing and gives a number.
    let unknown = unsafe { bpf_jiffies64() };
    let mut hidden = u64::from(number);
    // SAFETY: adds and takes away the same number; touches no memory.
    unsafe {
        core::arch::asm!(
            "{0} += {1}",
            "{0} -= {1}",
            inlateout(reg) hidden,
            in(reg) unknown,
            options(pure, nomem, nostack),
        );
    }
    low_half(hidden)
}

/// The lower half of a word.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "that is what it does")]
const fn low_half(word: u64) -> u32 {
    word as u32
}

/// Seconds since the machine started, cut off.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "only compared")]
pub(crate) fn seconds() -> u32 {
    // SAFETY: the helper takes nothing and gives a number.
    let nanoseconds = unsafe { bpf_ktime_get_ns() };
    (nanoseconds / 1_000_000_000) as u32
}

/// Spans of [`LOOK_TICKS`] since the machine started, cut off (kernel 5.6; the helper becomes a plain load).
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "only compared")]
pub(crate) fn spans() -> u32 {
    // SAFETY: the helper takes nothing and gives a number.
    let ticks = unsafe { bpf_jiffies64() };
    (ticks / LOOK_TICKS) as u32
}
