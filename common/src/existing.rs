//! Connections that were open before the programs were attached: what the
//! iterator programs and user space tell each other.
//!
//! Neither side pins any of this, so it is no part of the layout.

use crate::addr::IpKey;
use crate::offsets::UNKNOWN;
use crate::pair::ReaderKey;

/// Bits of [`Seen::facts`].
pub mod fact {
    /// The socket's file has `O_NONBLOCK`.
    pub const NONBLOCKING: u32 = 1;
    /// The socket has an upper-layer protocol (kTLS, MPTCP).
    pub const ULP: u32 = 2;
    /// An option, or urgent data, that only TCP's own queues serve.
    pub const TCP_ONLY: u32 = 4;
    /// The programs know the socket: it has a state.
    pub const KNOWN: u32 = 8;
}

/// What the iterator sees of one established socket, under its lock.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Socket cookie.
    pub cookie: u64,
    /// Kernel address of the `struct sock`.
    pub sock: u64,
    /// Inode number of the socket's file, as `/proc/PID/fd` shows it; 0 for sockets without one.
    pub inode: u64,
    /// The other end's cookie where the socket has a state that knows it, else 0.
    pub peer_cookie: u64,
    /// Local address.
    pub local: IpKey,
    /// Remote address.
    pub remote: IpKey,
    /// Local port, host byte order.
    pub local_port: u32,
    /// Remote port, host byte order.
    pub remote_port: u32,
    /// Next sequence number to send, host byte order.
    pub snd_nxt: u32,
    /// Next sequence number expected, host byte order.
    pub rcv_nxt: u32,
    /// The socket's owner.
    pub uid: u32,
    /// Bits of [`fact`].
    pub facts: u32,
    /// [`SockState::flags`](crate::state::SockState::flags), 0 where there is no state.
    pub flags: u32,
    /// Written as 0.
    pub pad: u32,
}

/// What the joining program is to do with a socket.
pub mod step {
    /// Put it into the sockhash, if its numbers are those of the other end at this moment
    /// ([`crate::counters::Reason::NoPeer`] else); it stays on TCP.
    pub const HOLD: u32 = 0;
    /// Let rule 1 decide from now on.
    pub const OPEN: u32 = 1;
    /// Watch it on TCP, outside the sockhash: nothing was redirected to it so far.
    pub const WATCH: u32 = 2;
}

/// Value of `joins`, keyed by socket cookie: one end of a pair and what is to be done with it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JoinRow {
    /// The other end's cookie.
    pub peer_cookie: u64,
    /// Kernel address of the other end's `struct sock`.
    pub peer_sock: u64,
    /// The pod whose registration made the connection qualify.
    pub pod: IpKey,
    /// The application's end, where there is one.
    pub reader: ReaderKey,
    /// One of [`crate::pair::hop`].
    pub hop: u32,
    /// One of [`crate::scope`].
    pub scope: u32,
    /// Bits of [`crate::state::flag`].
    pub flags: u32,
    /// One of [`step`].
    pub step: u32,
}

/// [`Done::result`] where the step was taken; else a [`crate::counters::Reason`] as u32.
pub const DONE: u32 = u32::MAX;

/// What the joining program did with a socket.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Socket cookie.
    pub cookie: u64,
    /// [`DONE`], or why not.
    pub result: u32,
    /// The step of the row.
    pub step: u32,
}

/// Byte offsets of the kernel fields that only these programs read; [`UNKNOWN`] where absent.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields {
    /// `sock_common.skc_family`: u16.
    pub family: u32,
    /// `sock_common.skc_state`: u8.
    pub state: u32,
    /// `sock_common.skc_rcv_saddr`: `__be32`.
    pub local4: u32,
    /// `sock_common.skc_daddr`: `__be32`.
    pub remote4: u32,
    /// `sock_common.skc_v6_rcv_saddr`: four `__be32`.
    pub local6: u32,
    /// `sock_common.skc_v6_daddr`: four `__be32`.
    pub remote6: u32,
    /// `sock_common.skc_num`: u16, host byte order.
    pub local_port: u32,
    /// `sock_common.skc_dport`: `__be16`.
    pub remote_port: u32,
    /// `tcp_sock.snd_nxt`: u32.
    pub snd_nxt: u32,
    /// `file.f_inode`: pointer.
    pub file_inode: u32,
    /// `inode.i_ino`: unsigned long.
    pub inode_number: u32,
}

/// How many [`Fields`] there are.
pub const FIELDS: usize = 11;

impl Fields {
    /// No field known.
    pub const NONE: Self = Self {
        family: UNKNOWN,
        state: UNKNOWN,
        local4: UNKNOWN,
        remote4: UNKNOWN,
        local6: UNKNOWN,
        remote6: UNKNOWN,
        local_port: UNKNOWN,
        remote_port: UNKNOWN,
        snd_nxt: UNKNOWN,
        file_inode: UNKNOWN,
        inode_number: UNKNOWN,
    };
}

/// Name of the read-only global that holds [`Fields`].
pub const FIELDS_GLOBAL: &str = "EXISTING";

/// Name of the map of [`JoinRow`]s, a hash of the process that joins; not pinned.
pub const JOINS: &str = "joins";

/// Rows of [`JOINS`]: sockets that are brought in at a time.
pub const MAX_JOINS: usize = 65_536;

/// Iterator over TCP sockets that tells what it sees.
pub const LOOK: &str = "sockway_look";
/// Iterator over TCP sockets that takes the steps of [`JOINS`].
pub const JOIN: &str = "sockway_join";

#[cfg(feature = "user")]
crate::impl_pod!(Seen, JoinRow, Done, Fields);

const _: () = assert!(size_of::<Seen>() == 4 * 8 + 2 * 16 + 8 * 4);
const _: () = assert!(size_of::<JoinRow>() == 2 * 8 + 16 + 56 + 4 * 4);
const _: () = assert!(size_of::<Done>() == 16);
const _: () = assert!(size_of::<Fields>() == FIELDS * 4);
