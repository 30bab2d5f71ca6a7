//! All that differs between the architectures in this crate; in the programs, which are one
//! object for both, it is what [`sockway_common::config::Arch`] tells them.

use sockway_common::config::Arch;

pub(crate) use own::{
    ASK_CALLS, OPEN_CALLS, REGS_CALL, REGS_FOURTH, REGS_MODE, REGS_THIRD, WAIT_CALLS,
};

/// How system calls look on the architecture this is built for.
pub const ARCH: Arch = own::ARCH;

/// Whether a processor may see what another one stores in another order, or load it in one. Programs
/// cannot forbid it: none of the instructions that 5.10 takes is a barrier. See `switch`.
pub(crate) const REORDERS: bool = own::REORDERS;

#[cfg(target_arch = "x86_64")]
mod own {
    use sockway_common::config::Arch;

    pub(super) const ARCH: Arch = Arch::X86_64;
    /// Total store order: only a load may pass an earlier store.
    pub(super) const REORDERS: bool = false;

    /// The fields of `pt_regs` that tell a system call.
    pub(crate) const REGS_CALL: &str = "orig_ax";
    pub(crate) const REGS_MODE: &str = "cs";
    pub(crate) const REGS_THIRD: &str = "dx";
    pub(crate) const REGS_FOURTH: &str = "r10";

    /// Calls that arm64 has not, with which a thread waits for a socket's bytes and says so in a set.
    pub(crate) const ASK_CALLS: &[libc::c_long] = &[libc::SYS_epoll_wait];
    /// The same, with which it waits for whatever it is.
    pub(crate) const WAIT_CALLS: &[libc::c_long] = &[
        libc::SYS_epoll_wait,
        libc::SYS_poll,
        libc::SYS_select,
        libc::SYS_pause,
    ];
    /// The same, which opens a file: musl does by this one.
    pub(crate) const OPEN_CALLS: &[libc::c_long] = &[libc::SYS_open];
}

#[cfg(target_arch = "aarch64")]
mod own {
    use sockway_common::config::Arch;

    pub(super) const ARCH: Arch = Arch::AARCH64;
    pub(super) const REORDERS: bool = true;

    /// The fields of `pt_regs` that tell a system call.
    pub(crate) const REGS_CALL: &str = "syscallno";
    pub(crate) const REGS_MODE: &str = "pstate";
    pub(crate) const REGS_THIRD: &str = "regs[2]";
    pub(crate) const REGS_FOURTH: &str = "regs[3]";

    // It was made without the calls that newer ones can do.
    pub(crate) const ASK_CALLS: &[libc::c_long] = &[];
    pub(crate) const WAIT_CALLS: &[libc::c_long] = &[];
    pub(crate) const OPEN_CALLS: &[libc::c_long] = &[];
}
