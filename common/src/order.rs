//! What user space has the program `sockway_late` do with one socket, outside of its callbacks:
//! one [`Order`] for each run (`BPF_PROG_TEST_RUN`), in the packet's bytes from [`AT`] on.

use crate::addr::IpKey;

/// Where the order begins in the packet: behind its Ethernet header, aligned.
pub const AT: usize = 16;

/// Values of [`Order::what`].
pub mod what {
    /// Tell what is seen of the socket with this tuple.
    pub const LOOK: u32 = 1;
    /// Give it its state: it was open before the programs were attached, and has a row in `ends`.
    pub const TRACK: u32 = 2;
    /// Put it into the sockhash, closed to what others would redirect to it.
    pub const JOIN: u32 = 3;
    /// Let others redirect to it: no read is under way that began before.
    pub const OPEN: u32 = 4;
    /// Let nobody redirect to it any more.
    pub const CLOSE: u32 = 5;
    /// Tell whether it rests: see [`seen::RESTS`](super::seen::RESTS).
    pub const CHECK: u32 = 6;
    /// It was taken out of the sockhash.
    pub const GONE: u32 = 7;
    /// Have the keeper look at every end ([`crate::end::event::PASS`]); no socket.
    pub const PASS: u32 = 8;
    /// The other end is left out, for [`Order::why`](super::Order::why): there is nothing in the sockhash for this one.
    pub const ALONE: u32 = 9;
}

/// Bits of [`Order::seen`].
pub mod seen {
    /// The file has `O_NONBLOCK`.
    pub const NONBLOCKING: u32 = 1;
    /// An upper-layer protocol (kTLS, MPTCP).
    pub const ULP: u32 = 2;
    /// An option, or urgent data, that only TCP's own queues serve.
    pub const TCP_ONLY: u32 = 4;
    /// The programs know the socket: it has a state.
    pub const KNOWN: u32 = 8;
    /// Neither direction is closed.
    pub const ESTABLISHED: u32 = 16;
    /// Nothing waits in its redirected queue, no call on it is under way, and none on the other end
    /// that could still put something there.
    pub const RESTS: u32 = 32;
}

/// [`Order::result`] where the order was carried out; else a [`crate::counters::Reason`] as u32.
pub const DONE: u32 = u32::MAX;

/// An order, and what came of it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// One of [`what`].
    pub what: u32,
    /// Out: [`DONE`], or why not.
    pub result: u32,
    /// The socket's cookie; for [`what::LOOK`] out.
    pub cookie: u64,
    /// Out: kernel address of its `struct sock`.
    pub sock: u64,
    /// Out: inode number of its file, as `/proc/PID/fd` shows it; 0 for sockets without one.
    pub inode: u64,
    /// Local address.
    pub local: IpKey,
    /// Remote address.
    pub remote: IpKey,
    /// Local port, host byte order.
    pub local_port: u16,
    /// Remote port, host byte order.
    pub remote_port: u16,
    /// 4 or 6: the family of the tuple on the wire.
    pub family: u32,
    /// Out: oldest byte not acknowledged, host byte order.
    pub snd_una: u32,
    /// Out: one past the last byte that was sent.
    pub write_seq: u32,
    /// Out: next byte expected.
    pub rcv_nxt: u32,
    /// Out: the socket's owner.
    pub uid: u32,
    /// Out: bits of [`seen`].
    pub seen: u32,
    /// With [`what::ALONE`]: a [`crate::counters::Reason`] as u32; else 0.
    pub why: u32,
}

#[cfg(feature = "user")]
crate::impl_pod!(Order);

const _: () = assert!(size_of::<Order>() == 2 * 4 + 3 * 8 + 2 * 16 + 4 + 7 * 4);
