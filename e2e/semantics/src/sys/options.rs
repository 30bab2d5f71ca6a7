//! Socket options, by number.

use std::os::fd::{AsFd, AsRawFd as _};

use super::{Got, done};

/// `setsockopt(2)` with an int.
pub(crate) fn set(fd: &impl AsFd, level: i32, name: i32, value: i32) -> Got<()> {
    set_bytes(fd, level, name, &value.to_ne_bytes())
}

/// `setsockopt(2)` with any value.
pub(crate) fn set_bytes(fd: &impl AsFd, level: i32, name: i32, value: &[u8]) -> Got<()> {
    let length = libc::socklen_t::try_from(value.len()).unwrap_or(0);
    // SAFETY: `value` is readable for `length` bytes.
    done(unsafe {
        libc::setsockopt(
            fd.as_fd().as_raw_fd(),
            level,
            name,
            value.as_ptr().cast(),
            length,
        )
    })
}

/// `getsockopt(2)` of an int.
pub(crate) fn get(fd: &impl AsFd, level: i32, name: i32) -> Got<i32> {
    let mut value: libc::c_int = -1;
    let mut length = size(size_of::<libc::c_int>());
    // SAFETY: the kernel writes at most `length` bytes to `value`.
    done(unsafe {
        libc::getsockopt(
            fd.as_fd().as_raw_fd(),
            level,
            name,
            (&raw mut value).cast(),
            &raw mut length,
        )
    })?;
    Ok(value)
}

/// `getsockopt(2)` of at most `room` bytes; as many as the kernel gave.
pub(crate) fn get_bytes(fd: &impl AsFd, level: i32, name: i32, room: usize) -> Got<Vec<u8>> {
    let mut value = vec![0; room];
    let mut length = size(room);
    // SAFETY: the kernel writes at most `length` bytes to `value`.
    done(unsafe {
        libc::getsockopt(
            fd.as_fd().as_raw_fd(),
            level,
            name,
            value.as_mut_ptr().cast(),
            &raw mut length,
        )
    })?;
    value.truncate(usize::try_from(length).unwrap_or(0));
    Ok(value)
}

/// The socket's cookie (`SO_COOKIE`).
pub(crate) fn cookie(fd: &impl AsFd) -> Got<u64> {
    let bytes = get_bytes(fd, libc::SOL_SOCKET, libc::SO_COOKIE, 8)?;
    let bytes = bytes.try_into().map_err(|_| nix::errno::Errno::EINVAL)?;
    Ok(u64::from_ne_bytes(bytes))
}

/// The part of `struct tcp_info` (linux/tcp.h) that the cases look at. What an older kernel does
/// not know is 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TcpInfo {
    /// One of `TCP_ESTABLISHED` and so on.
    pub(crate) state: u8,
    /// Retransmissions of the oldest segment.
    pub(crate) retransmits: u8,
    /// Largest segments sent and received, bytes.
    pub(crate) segment_sizes: [u32; 2],
    /// Segments sent and not acknowledged.
    pub(crate) unacked: u32,
    /// Smoothed round-trip time, microseconds.
    pub(crate) rtt: u32,
    /// Congestion window, segments.
    pub(crate) cwnd: u32,
    /// Bytes sent and acknowledged; the SYN of the end that connected counts as one.
    pub(crate) bytes_acked: u64,
    /// Bytes received.
    pub(crate) bytes_received: u64,
}

/// `TCP_INFO`.
pub(crate) fn tcp_info(fd: &impl AsFd) -> Got<TcpInfo> {
    let mut bytes = get_bytes(fd, libc::IPPROTO_TCP, libc::TCP_INFO, 136)?;
    bytes.resize(136, 0);
    let word = |at: usize| {
        let bytes = bytes[at..at + 4].try_into().unwrap_or_default();
        u32::from_ne_bytes(bytes)
    };
    let long = |at: usize| {
        let bytes = bytes[at..at + 8].try_into().unwrap_or_default();
        u64::from_ne_bytes(bytes)
    };
    Ok(TcpInfo {
        state: bytes[0],
        retransmits: bytes[2],
        segment_sizes: [word(16), word(20)],
        unacked: word(24),
        rtt: word(68),
        cwnd: word(80),
        bytes_acked: long(120),
        bytes_received: long(128),
    })
}

fn size(bytes: usize) -> libc::socklen_t {
    libc::socklen_t::try_from(bytes).unwrap_or(0)
}
