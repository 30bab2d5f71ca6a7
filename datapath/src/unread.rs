//! aya's loader without its reading of the kernel's BTF.
//!
//! `EbpfLoader::new` reads it, used or not, which takes 60 ms and has an install peak at 23 MB instead of
//! 9. From aya 0.15 on (rustc 1.98) it does so only for an object with relocations against it, and
//! this file can go.

use std::{io, ptr, thread};

use aya::EbpfLoader;
use libc::sock_filter;

use crate::arch::OPEN_CALLS;

/// A loader that knows no types of the kernel: rustc emits no relocations against them.
pub(crate) fn loader() -> EbpfLoader<'static> {
    let made = thread::spawn(|| {
        if let Err(e) = open_nothing() {
            log::debug!("the loader reads the kernel's BTF for nothing: {e}");
        }
        EbpfLoader::new()
    });
    // What panics there would have panicked here.
    let mut loader = made.join().unwrap_or_else(|_| EbpfLoader::new());
    loader.btf(None);
    loader
}

/// Has every later try of this thread to open a file end as if there were none, by a seccomp filter;
/// it goes with the thread.
///
/// # Errors
///
/// The kernel's, for example `EINVAL` without `CONFIG_SECCOMP_FILTER`.
fn open_nothing() -> io::Result<()> {
    // Opcodes of include/uapi/linux/bpf_common.h: `BPF_LD | BPF_W | BPF_ABS`, `BPF_JMP | BPF_JEQ |
    // BPF_K`, `BPF_RET | BPF_K`. A jump goes over `jt` or `jf` instructions.
    const LOAD: u16 = 0x20;
    const IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const NOT_THERE: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOENT.cast_unsigned();
    let instruction = |code, k, jt, jf| sock_filter { code, jt, jf, k };
    let number = |number: libc::c_long| u32::try_from(number).map_err(io::Error::other);
    let mut filter = vec![
        // `struct seccomp_data` begins with the system call's number.
        instruction(LOAD, 0, 0, 0),
        instruction(IF_EQUAL, number(libc::SYS_openat)?, 0, 1),
        instruction(RETURN, NOT_THERE, 0, 0),
    ];
    for &call in OPEN_CALLS {
        filter.extend([
            instruction(IF_EQUAL, number(call)?, 0, 1),
            instruction(RETURN, NOT_THERE, 0, 0),
        ]);
    }
    filter.push(instruction(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0));
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).map_err(io::Error::other)?,
        filter: filter.as_mut_ptr(),
    };
    let [yes, none]: [libc::c_ulong; 2] = [1, 0];
    // SAFETY: takes no pointers; of this thread alone.
    let done = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, yes, none, none, none) };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `program` and the filter it points to live until the call returns, which copies
    // them. Without flags it is of this thread alone.
    let done = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            ptr::from_ref(&program),
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::thread;

    use super::open_nothing;

    #[test]
    fn only_that_thread_opens_nothing() {
        thread::spawn(|| {
            File::open("/proc/self/stat").unwrap();
            match open_nothing() {
                Ok(()) => {
                    let error = File::open("/proc/self/stat").unwrap_err();
                    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
                }
                Err(e) => println!("this kernel or container has no filters: {e}"),
            }
        })
        .join()
        .unwrap();
        File::open("/proc/self/stat").unwrap();
    }
}
