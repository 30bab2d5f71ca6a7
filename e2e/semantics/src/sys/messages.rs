//! `recvmsg`, `sendmsg` and their plural forms.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd};

use nix::errno::Errno;

use super::{Got, count};

/// Room for control messages, aligned as they must be.
#[repr(C, align(8))]
struct Room([u8; 512]);

/// One control message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Control {
    /// `cmsg_level`.
    pub(crate) level: i32,
    /// `cmsg_type`.
    pub(crate) kind: i32,
    /// Its data.
    pub(crate) data: Vec<u8>,
}

/// What `recvmsg` gave.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// Bytes.
    pub(crate) count: usize,
    /// `msg_flags`.
    pub(crate) flags: i32,
    /// Control messages.
    pub(crate) controls: Vec<Control>,
}

/// A number as the C library has it: the types differ between glibc and musl.
fn fit<From, To: TryFrom<From> + Default>(number: From) -> To {
    To::try_from(number).unwrap_or_default()
}

/// A header over buffers; they and the room must outlive its use.
fn header(parts: *mut libc::iovec, how_many: usize, room: Option<&mut Room>) -> libc::msghdr {
    // SAFETY: an all-zero msghdr is valid: no name, no buffers, no control.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = parts;
    header.msg_iovlen = fit(how_many);
    if let Some(room) = room {
        header.msg_control = room.0.as_mut_ptr().cast();
        header.msg_controllen = fit(room.0.len());
    }
    header
}

/// `recvmsg(2)`, once.
pub(crate) fn recv_parts(
    fd: &impl AsFd,
    parts: &mut [IoSliceMut<'_>],
    flags: i32,
) -> Got<Received> {
    let mut room = Room([0; 512]);
    // IoSliceMut has the layout of iovec, as std documents.
    let mut header = header(parts.as_mut_ptr().cast(), parts.len(), Some(&mut room));
    // SAFETY: the header names live buffers only.
    let result = unsafe { libc::recvmsg(fd.as_fd().as_raw_fd(), &raw mut header, flags) };
    Ok(Received {
        count: count(result)?,
        flags: header.msg_flags,
        controls: controls(&header),
    })
}

fn controls(header: &libc::msghdr) -> Vec<Control> {
    let mut found = Vec::new();
    // SAFETY: the kernel has filled in the header's control buffer and length.
    let mut at = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !at.is_null() {
        // SAFETY: the macros give null or a header inside the control buffer.
        let head = unsafe { *at };
        // SAFETY: as above.
        let data = unsafe { libc::CMSG_DATA(at) };
        let length = fit::<_, usize>(head.cmsg_len).saturating_sub(data as usize - at as usize);
        // SAFETY: the message's data is `length` bytes in the control buffer.
        let data = unsafe { std::slice::from_raw_parts(data, length) }.to_vec();
        found.push(Control {
            level: head.cmsg_level,
            kind: head.cmsg_type,
            data,
        });
        // SAFETY: as above.
        at = unsafe { libc::CMSG_NXTHDR(header, at) };
    }
    found
}

/// `sendmsg(2)`, once, without SIGPIPE.
pub(crate) fn send_parts(fd: &impl AsFd, parts: &[IoSlice<'_>], flags: i32) -> Got<usize> {
    // IoSlice has the layout of iovec; sendmsg only reads what it names.
    let header = header(parts.as_ptr().cast_mut().cast(), parts.len(), None);
    let flags = flags | libc::MSG_NOSIGNAL;
    // SAFETY: the header names live buffers only.
    count(unsafe { libc::sendmsg(fd.as_fd().as_raw_fd(), &raw const header, flags) })
}

/// `recvmmsg(2)` with one buffer for each message; the bytes of each message received.
pub(crate) fn recv_many(fd: &impl AsFd, buffers: &mut [Vec<u8>], flags: i32) -> Got<Vec<usize>> {
    let mut parts: Vec<_> = buffers.iter_mut().map(|b| IoSliceMut::new(b)).collect();
    let mut headers: Vec<_> = parts
        .iter_mut()
        .map(|part| libc::mmsghdr {
            msg_hdr: header(std::ptr::from_mut(part).cast(), 1, None),
            msg_len: 0,
        })
        .collect();
    let how_many = u32::try_from(headers.len()).unwrap_or(0);
    // SAFETY: every header names one live buffer.
    let result = unsafe {
        let fd = fd.as_fd().as_raw_fd();
        libc::recvmmsg(
            fd,
            headers.as_mut_ptr(),
            how_many,
            fit(flags),
            std::ptr::null_mut(),
        )
    };
    let received = count(result.try_into().unwrap_or(-1))?;
    Ok(headers[..received]
        .iter()
        .map(|h| h.msg_len as usize)
        .collect())
}

/// `sendmmsg(2)`; the bytes of each message sent.
pub(crate) fn send_many(fd: &impl AsFd, messages: &[&[u8]], flags: i32) -> Got<Vec<usize>> {
    let mut parts: Vec<_> = messages.iter().map(|m| IoSlice::new(m)).collect();
    let mut headers: Vec<_> = parts
        .iter_mut()
        .map(|part| libc::mmsghdr {
            msg_hdr: header(std::ptr::from_mut(part).cast(), 1, None),
            msg_len: 0,
        })
        .collect();
    let how_many = u32::try_from(headers.len()).unwrap_or(0);
    let flags = flags | libc::MSG_NOSIGNAL;
    // SAFETY: every header names one live buffer, which is only read.
    let result = unsafe {
        libc::sendmmsg(
            fd.as_fd().as_raw_fd(),
            headers.as_mut_ptr(),
            how_many,
            fit(flags),
        )
    };
    let sent = count(result.try_into().unwrap_or(-1))?;
    Ok(headers[..sent].iter().map(|h| h.msg_len as usize).collect())
}

/// `recv(fd, NULL, at_most, MSG_TRUNC | flags)`: throws bytes away.
pub(crate) fn recv_discarding(fd: &impl AsFd, at_most: usize, flags: i32) -> Got<usize> {
    let flags = flags | libc::MSG_TRUNC;
    // SAFETY: tcp(7): with MSG_TRUNC nothing is written; a kernel that tried would fault, EFAULT.
    count(unsafe { libc::recv(fd.as_fd().as_raw_fd(), std::ptr::null_mut(), at_most, flags) })
}

/// Passes a descriptor over a Unix socket (`SCM_RIGHTS`).
pub(crate) fn send_descriptor(over: &impl AsFd, passed: &impl AsFd) -> Got<()> {
    use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
    let fds = [passed.as_fd().as_raw_fd()];
    let control = [ControlMessage::ScmRights(&fds)];
    let parts = [IoSlice::new(b"!")];
    sendmsg::<()>(
        over.as_fd().as_raw_fd(),
        &parts,
        &control,
        MsgFlags::empty(),
        None,
    )?;
    Ok(())
}

/// Takes a descriptor that [`send_descriptor`] passed.
pub(crate) fn receive_descriptor(over: &impl AsFd) -> Got<OwnedFd> {
    let mut byte = [0];
    let received = recv_parts(over, &mut [IoSliceMut::new(&mut byte)], 0)?;
    let data = received
        .controls
        .first()
        .map(|control| control.data.as_slice());
    let raw: [u8; 4] = data.and_then(|d| d.try_into().ok()).ok_or(Errno::EBADMSG)?;
    // SAFETY: the kernel has just made this descriptor for us; nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(i32::from_ne_bytes(raw)) })
}
