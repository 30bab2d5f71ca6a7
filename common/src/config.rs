//! What user space tells the programs at load time: kernel offsets and knobs.

use crate::offsets::{OFFSETS, Offsets};
use crate::policy::fionread;

/// The programs' read-only global.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Kernel field offsets.
    pub offsets: Offsets,
    /// Redirected bytes (with the cost of each message) that may wait at a reader; bytes.
    pub backlog_limit: u32,
    /// Bench builds only: 1 redirects without any check.
    pub blind: u32,
    /// Total bytes a direction may redirect where the backlog cannot be looked at.
    pub total_cap: u32,
    /// How long a direction is redirected at most until one message goes by TCP, seconds; 0: for
    /// ever.
    pub tcp_every: u32,
    /// How this kernel answers `FIONREAD`: one of [`crate::policy::fionread`].
    pub fionread: u32,
    /// Which pointers programs may follow because the verifier knows their types: one of [`typed`].
    pub typed: u32,
    /// How system calls look on this architecture.
    pub arch: Arch,
}

/// Values of [`Config::typed`], each with what the lower ones allow.
pub mod typed {
    /// None: every field is read by `bpf_probe_read_kernel`.
    pub const NONE: u32 = 0;
    /// To a program's own socket (helper `skc_to_tcp_sock`) and to the current task
    /// (`get_current_task_btf`, kernel 5.11).
    pub const OWN: u32 = 1;
    /// To every object of a type in [`crate::cast`] (6.2), and to the registers of the
    /// current task's system call (`task_pt_regs`, 5.15).
    pub const ANY: u32 = 2;
}

/// What a stopped system call looks like in `pt_regs`, by architecture.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arch {
    /// `THREAD_SIZE`, bytes.
    pub stack_size: u32,
    /// Bits of [`Offsets::regs_mode`] to look at.
    pub mode_mask: u32,
    /// Their value where the registers are those of user mode.
    pub mode_user: u32,
    /// Numbers of `read`, `readv`, `recvfrom`, `recvmsg`, `recvmmsg`.
    pub recv_calls: [u32; 5],
    /// Numbers of `sendto`, `sendmsg`, `sendmmsg`.
    pub send_calls: [u32; 3],
}

impl Arch {
    /// x86-64: `arch/x86/include/asm/page_64_types.h`, `__USER_CS`, `syscall_64.tbl`.
    pub const X86_64: Self = Self {
        stack_size: 16 * 1024,
        mode_mask: 0xffff,
        mode_user: 0x33,
        recv_calls: [0, 19, 45, 47, 299],
        send_calls: [44, 46, 307],
    };
    /// arm64 with 4 KiB pages: `arch/arm64/include/asm/memory.h`, `asm-generic/unistd.h`, and of
    /// `asm/ptrace.h` `PSR_MODE_EL0t` with `PSR_MODE32_BIT`: 32-bit programs have other numbers.
    pub const AARCH64: Self = Self {
        stack_size: 16 * 1024,
        mode_mask: 0x1f,
        mode_user: 0,
        recv_calls: [63, 65, 207, 212, 243],
        send_calls: [206, 211, 269],
    };
}

/// Default of [`Config::backlog_limit`]: 16 MiB. A reader's own receive buffer is the narrower
/// bound until TCP has grown it ([`crate::flow::credit`]).
pub const DEFAULT_BACKLOG_LIMIT: u32 = 16 << 20;
/// Default of [`Config::total_cap`]: 1 MiB.
pub const DEFAULT_TOTAL_CAP: u32 = 1 << 20;
/// Longest time between two messages by TCP that is chosen unasked, seconds: an hour.
pub const DEFAULT_TCP_EVERY: u32 = 3600;

/// Seconds between two messages by TCP on a node whose conntrack forgets established connections
/// after `conntrack_timeout` seconds: early enough for three to be lost.
#[must_use]
pub const fn tcp_every(conntrack_timeout: u32) -> u32 {
    let every = conntrack_timeout / 4;
    if every > DEFAULT_TCP_EVERY {
        DEFAULT_TCP_EVERY
    } else if every == 0 {
        1
    } else {
        every
    }
}

impl Config {
    /// The values an object holds before user space sets them.
    pub const UNSET: Self = Self {
        offsets: Offsets::NONE,
        backlog_limit: DEFAULT_BACKLOG_LIMIT,
        blind: 0,
        total_cap: DEFAULT_TOTAL_CAP,
        tcp_every: 0,
        fionread: fionread::WRONG_UNSEEN,
        typed: typed::NONE,
        arch: Arch::X86_64,
    };
}

#[cfg(feature = "user")]
crate::impl_pod!(Arch, Config);

const _: () = assert!(size_of::<Config>() == (OFFSETS + 6 + 11) * 4);

#[cfg(test)]
mod tests {
    use super::tcp_every;

    #[test]
    fn a_message_goes_by_tcp_well_before_conntrack_forgets() {
        assert_eq!(tcp_every(432_000), 3600, "the kernel's default");
        assert_eq!(tcp_every(900), 225);
        assert_eq!(tcp_every(10), 2);
        assert_eq!(tcp_every(0), 1, "never for ever");
    }
}
