//! What TCP itself has carried on a socket: a byte that was redirected is not in it.

use std::os::fd::AsRawFd;

/// Where `struct tcp_info` has the bytes that TCP received in order and those that it sent,
/// again where they were sent again (include/uapi/linux/tcp.h, Linux 4.19 and later).
const RECEIVED: usize = 128;
const SENT: usize = 200;
/// As far as is read of it.
const LENGTH: usize = SENT + 8;
/// Bytes that TCP has received and sent on a socket; `None` where the kernel does not say.
pub fn carried(socket: &impl AsRawFd) -> Option<(u64, u64)> {
    let mut info = [0_u8; LENGTH];
    let mut length = libc::socklen_t::try_from(LENGTH).ok()?;
    // SAFETY: the kernel writes at most `length` bytes, which the buffer has; any
    // bytes are a valid array.
    let got = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if got != 0 || (length as usize) < LENGTH {
        return None;
    }
    let word = |at: usize| Some(u64::from_ne_bytes(info.get(at..at + 8)?.try_into().ok()?));
    Some((word(RECEIVED)?, word(SENT)?))
}
