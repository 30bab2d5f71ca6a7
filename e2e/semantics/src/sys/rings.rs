//! `io_uring`, one request at a time.

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};

use io_uring::squeue::Entry;
use io_uring::{IoUring, opcode, types};
use nix::errno::Errno;

use super::{Got, errno};

/// A ring for one request at a time.
pub(crate) struct Ring(IoUring);

fn descriptor(fd: BorrowedFd<'_>) -> types::Fd {
    types::Fd(fd.as_raw_fd())
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

impl Ring {
    /// `io_uring_setup(2)`.
    pub(crate) fn new() -> Got<Self> {
        IoUring::new(4).map(Self).map_err(|e| errno(&e))
    }

    /// Submits one request and waits until it is complete.
    fn complete(&mut self, entry: &Entry) -> Got<usize> {
        // SAFETY: the caller's buffers outlive this call, which returns after completion only.
        unsafe { self.0.submission().push(entry) }.map_err(|_| Errno::EBUSY)?;
        loop {
            match self.0.submit_and_wait(1).map_err(|e| errno(&e)) {
                Ok(_) => {}
                Err(Errno::EINTR) => continue,
                // The kernel may still write to the buffers: there is nothing safe to go on with.
                Err(_) => std::process::abort(),
            }
            if let Some(completion) = self.0.completion().next() {
                let result = completion.result();
                return usize::try_from(result).map_err(|_| Errno::from_raw(-result));
            }
        }
    }

    /// `IORING_OP_RECV`.
    pub(crate) fn recv(&mut self, fd: &impl AsFd, buffer: &mut [u8], flags: i32) -> Got<usize> {
        let entry = opcode::Recv::new(
            descriptor(fd.as_fd()),
            buffer.as_mut_ptr(),
            length(buffer.len()),
        );
        self.complete(&entry.flags(flags).build())
    }

    /// `IORING_OP_READ`.
    pub(crate) fn read(&mut self, fd: &impl AsFd, buffer: &mut [u8]) -> Got<usize> {
        let entry = opcode::Read::new(
            descriptor(fd.as_fd()),
            buffer.as_mut_ptr(),
            length(buffer.len()),
        );
        self.complete(&entry.build())
    }

    /// `IORING_OP_SEND`, without SIGPIPE.
    pub(crate) fn send(&mut self, fd: &impl AsFd, bytes: &[u8]) -> Got<usize> {
        let entry = opcode::Send::new(descriptor(fd.as_fd()), bytes.as_ptr(), length(bytes.len()));
        self.complete(&entry.flags(libc::MSG_NOSIGNAL).build())
    }

    /// `IORING_OP_POLL_ADD`; what is ready.
    pub(crate) fn poll(&mut self, fd: &impl AsFd, events: i16) -> Got<usize> {
        let events = u32::from(events.unsigned_abs());
        self.complete(&opcode::PollAdd::new(descriptor(fd.as_fd()), events).build())
    }
}
