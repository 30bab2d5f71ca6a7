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

use aya_ebpf::helpers::generated::bpf_jiffies64;
use sockway_common::config::Config;
use sockway_common::direction::LOOK_TICKS;

pub(crate) use backlog::{Backlog, backlog};
pub(crate) use call::call;
pub(crate) use field::{At, Own, Typed, read};
pub(crate) use memory::is_short as memory_is_short;
pub(crate) use socket::{
    cookie, ends, failed, file, file_nonblocking, had_urgent, has_storage, has_tcp_only_option,
    has_ulp, is_accepted, keeps_alive, may_be_a_pair, nonblocking, rcv_nxt, rcvlowat,
    receive_buffer, request_isns, sock_of, sops_sock, uid, unread,
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

/// Seconds; 0: never.
pub(crate) fn keepalive_idle() -> u32 {
    config!(keepalive_idle)
}

/// Spans of [`LOOK_TICKS`] since the machine started, cut off (kernel 5.6; the helper becomes a plain load).
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "only compared")]
pub(crate) fn spans() -> u32 {
    // SAFETY: the helper takes nothing and gives a number.
    let ticks = unsafe { bpf_jiffies64() };
    (ticks / LOOK_TICKS) as u32
}
