//! What a socket carries about its own sending direction (`state`, socket storage).

use crate::addr::IpKey;

/// How the bytes that a socket sends travel.
pub mod mode {
    /// Nothing was sent yet.
    pub const UNDECIDED: u32 = 0;
    /// Into the other end's queue.
    pub const REDIRECT: u32 = 1;
    /// By TCP; may change once every earlier byte has been read.
    pub const TCP: u32 = 2;
    /// By TCP until the connection ends.
    pub const TCP_ALWAYS: u32 = 3;
}

/// Bits of [`SockState::flags`].
pub mod flag {
    /// The end that connected.
    pub const ACTIVE: u32 = 1;
    /// The socket's own file has been looked at and is non-blocking.
    pub const FILE_CHECKED: u32 = 2;
}

/// One socket's state. Written by the socket's own callbacks and sends, which
/// the kernel runs one at a time under the socket lock.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SockState {
    /// This socket's cookie.
    pub cookie: u64,
    /// Kernel address of this socket's `struct sock`, 0 where it cannot be known.
    pub sock: u64,
    /// The other end's cookie, 0 while it is not known.
    pub peer_cookie: u64,
    /// Kernel address of the other end's `struct sock`; believed only
    /// while the cookie found behind it is `peer_cookie`.
    pub peer_sock: u64,
    /// Kernel address of the other end's `struct file`, 0 while it has none; only its flags are
    /// looked at.
    pub peer_file: u64,
    /// Inode number of the executable that connects, until the socket is established; 0 where nobody knows.
    pub executable: u64,
    /// The device of that inode.
    pub device: u32,
    /// The value of [`crate::signal::EPOCH`] when this direction was last looked at in full, cut off.
    pub epoch: u32,
    /// When the other end and the memory it takes were last looked at, in spans of
    /// [`crate::direction::LOOK_TICKS`], cut off.
    pub looked: u32,
    /// Redirected bytes not yet added to the sums.
    pub redirected_bytes: u32,
    /// Bytes sent by TCP not yet added to the sums.
    pub tcp_bytes: u32,
    /// Redirected messages not yet added to the sums.
    pub redirected_messages: u32,
    /// Messages sent by TCP not yet added to the sums.
    pub tcp_messages: u32,
    /// One of [`mode`].
    pub mode: u32,
    /// Why [`mode::TCP`] or [`mode::TCP_ALWAYS`]: a [`crate::counters::Reason`] as u32.
    pub reason: u32,
    /// Bits of [`flag`].
    pub flags: u32,
    /// One of [`crate::pair::hop`].
    pub hop: u32,
    /// One of [`crate::scope`].
    pub scope: u32,
    /// Bytes (with [`crate::flow::MESSAGE_COST`] for each message) that may still
    /// be redirected before the other end's backlog is looked at again.
    pub credit: u32,
    /// Messages redirected since the other end's queue was last seen empty.
    pub unread_messages: u32,
    /// Their bytes.
    pub unread_bytes: u32,
    /// Sends to let pass before a direction on TCP is looked at again.
    pub skip: u16,
    /// The last value `skip` started from; doubles with each look in vain.
    pub backoff: u16,
    /// Smallest redirected message since the queue was last seen empty, bytes.
    pub smallest: u32,
    /// When the direction last went from TCP to redirection, seconds since the machine started, cut off.
    pub begun: u32,
    /// The value of [`crate::end::EndRow::joins`] when this direction was last looked at in full.
    pub joins: u8,
    /// Written as 0.
    pub pad: [u8; 7],
    /// The pod that this end's figures are added to.
    pub pod: IpKey,
}

#[cfg(feature = "user")]
crate::impl_pod!(SockState);

// With what the kernel puts before it (64 bytes and a pointer) no more than a slab object of 256.
const _: () = assert!(size_of::<SockState>() == 6 * 8 + 20 * 4 + 16);
