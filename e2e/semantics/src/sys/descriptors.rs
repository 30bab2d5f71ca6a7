//! Calls on one descriptor.

use std::os::fd::{AsFd, AsRawFd as _};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::SockAddr;

use super::{Got, count};

/// `recv(2)`, once.
pub(crate) fn recv(fd: &impl AsFd, buffer: &mut [u8], flags: i32) -> Got<usize> {
    // SAFETY: `buffer` is writable for its length; the descriptor is open.
    count(unsafe {
        libc::recv(
            fd.as_fd().as_raw_fd(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            flags,
        )
    })
}

/// `send(2)`, once, without SIGPIPE.
pub(crate) fn send(fd: &impl AsFd, bytes: &[u8], flags: i32) -> Got<usize> {
    let flags = flags | libc::MSG_NOSIGNAL;
    // SAFETY: `bytes` is readable for its length; the descriptor is open.
    count(unsafe {
        libc::send(
            fd.as_fd().as_raw_fd(),
            bytes.as_ptr().cast(),
            bytes.len(),
            flags,
        )
    })
}

/// `sendto(2)` with `MSG_FASTOPEN`: connects and sends.
pub(crate) fn send_connecting(fd: &impl AsFd, to: &SockAddr, bytes: &[u8]) -> Got<usize> {
    let flags = libc::MSG_FASTOPEN | libc::MSG_NOSIGNAL;
    // SAFETY: `bytes` and `to` are readable for their lengths; the descriptor is open.
    count(unsafe {
        libc::sendto(
            fd.as_fd().as_raw_fd(),
            bytes.as_ptr().cast(),
            bytes.len(),
            flags,
            to.as_ptr().cast(),
            to.len(),
        )
    })
}

/// `read(2)`, once.
pub(crate) fn read(fd: &impl AsFd, buffer: &mut [u8]) -> Got<usize> {
    nix::unistd::read(fd.as_fd(), buffer)
}

/// `write(2)`, once: raises SIGPIPE where the process lets it.
pub(crate) fn write(fd: &impl AsFd, bytes: &[u8]) -> Got<usize> {
    nix::unistd::write(fd.as_fd(), bytes)
}

/// An `ioctl` that gives one number: `SIOCINQ`, `SIOCOUTQ`, `SIOCATMARK`.
pub(crate) fn pending(fd: &impl AsFd, request: libc::Ioctl) -> Got<i32> {
    let mut value: libc::c_int = -1;
    // SAFETY: these requests write one int to the address given.
    super::done(unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), request, &raw mut value) })?;
    Ok(value)
}

/// `poll(2)` for one descriptor; what is ready, empty when the time is up.
pub(crate) fn wait_for(fd: &impl AsFd, events: PollFlags, time: Duration) -> Got<PollFlags> {
    let mut fds = [PollFd::new(fd.as_fd(), events)];
    let timeout = PollTimeout::try_from(time).map_err(|_| Errno::EINVAL)?;
    poll(&mut fds, timeout)?;
    Ok(fds[0].revents().unwrap_or(PollFlags::empty()))
}
