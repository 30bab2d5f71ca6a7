//! The system call that the current task is in.

use aya_ebpf::bindings::task_struct;
use aya_ebpf::helpers::generated::{
    bpf_get_current_task, bpf_get_current_task_btf, bpf_task_pt_regs,
};
use sockway_common::config::typed;
use sockway_common::offsets::UNKNOWN;

use super::config;
use super::field::{Own, load, read, read_into, read_or};

/// Extra words at the top of the kernel stack: none, or two on x86-64 kernels
/// with FRED (`arch/x86/include/asm/thread_info.h` `TOP_OF_KERNEL_STACK_PADDING`).
const STACK_PADDINGS: [u32; 2] = [0, 16];

/// Words of `pt_regs` that hold both the mode and the call's number: `orig_ax` to `cs` on
/// x86-64, `pstate` to `syscallno` on arm64.
type Words = [u64; 3];

/// The system call that the current task is in.
///
/// No `Option`: the verifier of 5.10 refuses the undefined half that a `None` has.
pub(crate) struct Call {
    regs: u64,
    number: u32,
}

/// The system call of the current task, as far as that can be told; not, for
/// example, in a kernel thread.
#[inline(always)]
pub(crate) fn call() -> Call {
    let mut call = Call {
        regs: 0,
        number: UNKNOWN,
    };
    let (size, mode, number) = (
        config!(offsets.regs_size),
        config!(offsets.regs_mode),
        config!(offsets.regs_call),
    );
    if size == UNKNOWN || mode == UNKNOWN || number == UNKNOWN {
        return call;
    }
    if config!(typed) >= typed::ANY {
        let regs = registers();
        if u32::from(load::<u16>(regs, mode)) & config!(arch.mode_mask) == config!(arch.mode_user) {
            call.regs = regs;
            call.number = load(regs, number);
        }
        return call;
    }
    let Some(stack) = stack() else {
        return call;
    };
    let first = mode.min(number);
    let top = stack.wrapping_add(u64::from(config!(arch.stack_size)));
    for padding in STACK_PADDINGS {
        let regs = top
            .wrapping_sub(u64::from(padding))
            .wrapping_sub(u64::from(size));
        // Not alike: the compiler would call a function to fill them.
        let mut words: Words = [1, 2, 3];
        if read_into(regs, first, &mut words)
            && word(words, mode - first) & config!(arch.mode_mask) == config!(arch.mode_user)
        {
            call.regs = regs;
            call.number = word(words, number - first);
            return call;
        }
    }
    call
}

/// The registers that the current task entered the kernel with.
#[inline(always)]
fn registers() -> u64 {
    // SAFETY: the helper takes a task that the verifier knows, which the running one is, and
    // only computes an address. Kernel 5.15 (dd6e10fbd9fb).
    let regs = unsafe { bpf_task_pt_regs(task()) };
    regs.cast_unsigned()
}

/// `(inode number, device)` of the running task's executable; 0 for kernel threads, and where
/// the kernel cannot be asked.
#[inline(always)]
pub(crate) fn executable() -> (u64, u32) {
    let address = if config!(typed) < typed::OWN {
        // SAFETY: the helper takes nothing and gives the running task's address.
        unsafe { bpf_get_current_task() }
    } else {
        task() as u64
    };
    inode_of(Own::task(address)).unwrap_or((0, 0))
}

#[inline(always)]
fn inode_of(task: Own) -> Option<(u64, u32)> {
    let mm = task.follow(config!(offsets.task_mm))?;
    let file = mm.follow(config!(offsets.mm_exe))?;
    let inode = file.follow(config!(offsets.file_inode))?;
    let block = inode.follow(config!(offsets.inode_super))?;
    let number = inode.get_or(config!(offsets.inode_number), 0_u64);
    Some((number, block.get_or(config!(offsets.super_device), 0)))
}

/// The running task, as a pointer whose type the verifier knows.
#[inline(always)]
fn task() -> *mut task_struct {
    // SAFETY: the helper takes nothing and gives the running task. Kernel 5.11 (3ca1032ab7ab).
    unsafe { bpf_get_current_task_btf() }
}

/// The lower half of the word at an offset.
#[inline(always)]
fn word(words: Words, at: u32) -> u32 {
    low_half(match at {
        0 => words[0],
        8 => words[1],
        16 => words[2],
        _ => u64::MAX,
    })
}

/// The base of the current task's kernel stack.
#[inline(always)]
fn stack() -> Option<u64> {
    if config!(typed) < typed::OWN {
        // SAFETY: the helper takes nothing and gives the running task's address.
        return read(
            unsafe { bpf_get_current_task() },
            config!(offsets.task_stack),
        );
    }
    let task = task();
    if config!(offsets.task_stack) == UNKNOWN {
        return None;
    }
    Some(load(task as u64, config!(offsets.task_stack)))
}

#[inline(always)]
const fn low_half(word: u64) -> u32 {
    let [a, b, c, d, ..] = word.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

impl Call {
    /// `read`, `readv`, `recvfrom`, `recvmsg` or `recvmmsg`; `None` where that cannot be told.
    #[inline(always)]
    pub(crate) fn is_recv_like(&self) -> Option<bool> {
        if self.number == UNKNOWN {
            return None;
        }
        Some(
            self.number == config!(arch.recv_calls[0])
                || self.number == config!(arch.recv_calls[1])
                || self.number == config!(arch.recv_calls[2])
                || self.number == config!(arch.recv_calls[3])
                || self.number == config!(arch.recv_calls[4]),
        )
    }

    /// The flags of a `recv`-like call; 0 for calls that have none.
    #[inline(always)]
    pub(crate) fn recv_flags(&self) -> u32 {
        if self.number == config!(arch.recv_calls[2]) || self.number == config!(arch.recv_calls[4])
        {
            self.argument(config!(offsets.regs_fourth))
        } else if self.number == config!(arch.recv_calls[3]) {
            self.argument(config!(offsets.regs_third))
        } else {
            0
        }
    }

    /// The flags of `sendto`, `sendmsg` or `sendmmsg`; 0 for other calls.
    #[inline(always)]
    pub(crate) fn send_flags(&self) -> u32 {
        if self.number == config!(arch.send_calls[0]) || self.number == config!(arch.send_calls[2])
        {
            self.argument(config!(offsets.regs_fourth))
        } else if self.number == config!(arch.send_calls[1]) {
            self.argument(config!(offsets.regs_third))
        } else {
            0
        }
    }

    /// The lower half of an argument: flags are an int.
    #[inline(always)]
    fn argument(&self, offset: u32) -> u32 {
        if offset == UNKNOWN || self.regs == 0 {
            return 0;
        }
        if config!(typed) >= typed::ANY {
            return low_half(load(self.regs, offset));
        }
        low_half(read_or(self.regs, offset, 0))
    }
}
