//! A `sock_ops` program of somebody else that admits no other beside it, as old tools attach theirs.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

/// Commands, types and the attach point of include/uapi/linux/bpf.h.
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_DETACH: libc::c_int = 9;
const BPF_PROG_TYPE_SOCK_OPS: u32 = 13;
const BPF_CGROUP_SOCK_OPS: u32 = 3;

#[repr(C)]
#[derive(Default)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log: [u32; 2],
    log_buf: u64,
    kern_version: u32,
    flags: u32,
}

#[repr(C)]
struct Attach {
    target_fd: u32,
    program: u32,
    point: u32,
    flags: u32,
}

fn bpf<T>(command: libc::c_int, attr: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: `attr` is a live value laid out as the kernel's attribute for the
    // command and passed with its size; what it points to lives in the caller.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attr, size_of::<T>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

/// Attached until dropped.
pub(crate) struct Exclusive {
    program: OwnedFd,
    cgroup: File,
}

impl Exclusive {
    pub(crate) fn attach(cgroup: &Path) -> Self {
        // r0 = 1; exit
        let instructions: [u64; 2] = [0x0000_0001_0000_00b7, 0x95];
        let mut load = Load {
            kind: BPF_PROG_TYPE_SOCK_OPS,
            count: 2,
            instructions: instructions.as_ptr() as u64,
            license: c"GPL".as_ptr() as u64,
            ..Load::default()
        };
        let fd = bpf(BPF_PROG_LOAD, &mut load).expect("load a program that does nothing");
        // SAFETY: the kernel has just made this descriptor for us; nobody else knows it.
        let program = unsafe { OwnedFd::from_raw_fd(fd.try_into().expect("a descriptor")) };
        let mut exclusive = Self {
            program,
            cgroup: File::open(cgroup).expect("open the cgroup"),
        };
        exclusive.call(BPF_PROG_ATTACH).expect("attach it");
        exclusive
    }

    fn call(&mut self, command: libc::c_int) -> io::Result<libc::c_long> {
        let number = |fd: libc::c_int| u32::try_from(fd).expect("a descriptor");
        bpf(
            command,
            &mut Attach {
                target_fd: number(self.cgroup.as_raw_fd()),
                program: number(self.program.as_raw_fd()),
                point: BPF_CGROUP_SOCK_OPS,
                flags: 0,
            },
        )
    }
}

impl Drop for Exclusive {
    fn drop(&mut self) {
        if let Err(e) = self.call(BPF_PROG_DETACH) {
            eprintln!("cannot detach the program: {e}");
        }
    }
}
