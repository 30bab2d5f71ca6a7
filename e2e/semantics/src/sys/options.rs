//! Socket options, by number.

use std::mem::MaybeUninit;
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
        libc::setsockopt(fd.as_fd().as_raw_fd(), level, name, value.as_ptr().cast(), length)
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

/// `TCP_INFO`. Fields that the kernel does not know are 0.
pub(crate) fn tcp_info(fd: &impl AsFd) -> Got<libc::tcp_info> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = size(size_of::<libc::tcp_info>());
    // SAFETY: the kernel writes at most `length` bytes to `info`.
    done(unsafe {
        libc::getsockopt(
            fd.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    })?;
    // SAFETY: all bytes are set, to zero at first, and every field is a number.
    Ok(unsafe { info.assume_init() })
}

fn size(bytes: usize) -> libc::socklen_t {
    libc::socklen_t::try_from(bytes).unwrap_or(0)
}
