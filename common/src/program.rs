//! What is known of the programs at the ends of connections, by what was seen of their reads.
//!
//! Redirected bytes lie in a queue of their own. A reader that does not block, uses `recv`-like
//! calls and reads on until there is nothing more cannot tell; one that blocks, splices or asks
//! for the queue's length can. So bytes are redirected to an end only once its program is
//! [`is_proven`].
//!
//! Rows only grow: several CPUs write one at a time, and no sign that one of them sees is lost.

use crate::pod::OwnerKey;

/// An accepted end: the listening socket that it came from is the key.
pub const SERVER: u32 = 1;
/// A connecting end: the executable, its user, its pod and the port that it dialled are the key.
pub const CLIENT: u32 = 2;
/// All sockets of an executable: the executable, its user and its pod are the key.
pub const EXECUTABLE: u32 = 3;

/// Key of `programs`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ProgramKey {
    /// The attachment that the program's pod is; zero for pods that are not registered.
    pub owner: OwnerKey,
    /// [`SERVER`]: inode number of the listening socket, which a restart changes. [`CLIENT`]: inode
    /// number of the executable. 0: not known yet.
    pub id: u64,
    /// [`CLIENT`]: the device of that inode (`super_block.s_dev`).
    pub device: u32,
    /// The socket's owner.
    pub uid: u32,
    /// The listening port, or the one that was dialled; host byte order.
    pub port: u32,
    /// [`SERVER`], [`CLIENT`] or [`EXECUTABLE`].
    pub kind: u32,
}

impl ProgramKey {
    /// The executable of this program as a whole; `executable`: inode number and device.
    #[inline(always)]
    #[must_use]
    pub const fn whole(&self, executable: (u64, u32)) -> Self {
        Self {
            owner: self.owner,
            id: executable.0,
            device: executable.1,
            uid: self.uid,
            port: 0,
            kind: EXECUTABLE,
        }
    }

    /// Whether it is a connecting end's of which the executable is known, as it is from the connect on.
    #[inline(always)]
    #[must_use]
    pub const fn is_of_client(&self) -> bool {
        self.kind == CLIENT && self.id != 0
    }
}

/// Indices of [`ProgramRow::signs`]: a byte each, 1 once it was seen.
pub mod sign {
    /// A socket was read that has `O_NONBLOCK`.
    pub const NONBLOCKING: usize = 0;
    /// A socket was read that has not.
    pub const BLOCKING: usize = 1;
    /// A socket was read by something else than a `recv`-like call: splice, sendfile, `io_uring`.
    pub const OTHER_READ: usize = 2;
    /// `ioctl(FIONREAD)`.
    pub const FIONREAD: usize = 3;
    /// `SO_RCVLOWAT` above 1.
    pub const RCVLOWAT: usize = 4;
    /// Calls or options that only TCP's own queues serve: `MSG_TRUNC`, `SO_PEEK_OFF`,
    /// `TCP_INQ`, the time stamp options, `SO_ZEROCOPY`.
    pub const TCP_ONLY: usize = 5;
    /// It sent urgent data.
    pub const URGENT: usize = 6;
    /// Another executable reads what the listening socket accepts than the one that was seen first.
    pub const OTHER_PROGRAM: usize = 7;
    /// A socket is in an epoll set with `EPOLLET`, or nobody can tell.
    pub const EDGE: usize = 8;
    /// It reads until there is nothing more: see [`super::to_end`].
    pub const TO_END: usize = 9;
    /// It asked for completions of `MSG_ZEROCOPY`, which only TCP's own sends count right.
    pub const ZEROCOPY: usize = 10;
    /// It stopped short often, and was not seen to read to the end.
    pub const SHORT: usize = 11;
    /// How many there are, rounded up.
    pub const COUNT: usize = 16;
}

/// Signs of a program that bytes must not be redirected to.
const UNFIT: [usize; 7] = [
    sign::BLOCKING,
    sign::OTHER_READ,
    sign::FIONREAD,
    sign::RCVLOWAT,
    sign::TCP_ONLY,
    sign::URGENT,
    sign::OTHER_PROGRAM,
];

/// Value of `programs`. A row that is absent means: nothing known yet.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ProgramRow {
    /// [`SERVER`]: inode number of the executable that was seen first; 0: none yet.
    pub executable: u64,
    /// By [`sign`]; set, never taken back.
    pub signs: [u8; sign::COUNT],
    /// `recv`-like reads, up to about [`FIT_READS`].
    pub reads: u64,
    /// Reads by other means, likewise.
    pub others: u64,
    /// How often it read on until there was nothing more.
    pub ends: u64,
    /// How often it did not.
    pub shorts: u64,
}

impl ProgramRow {
    /// Nothing is known yet.
    pub const NOTHING: Self = Self {
        executable: 0,
        signs: [0; sign::COUNT],
        reads: 0,
        others: 0,
        ends: 0,
        shorts: 0,
    };
}

/// Reads after which a program is known.
pub const FIT_READS: u64 = 8;
/// How much more often than not a program must have read to the end, times two.
pub const FIT_ENDS: u64 = 8;
/// How often it may stop short, beside twice the ends, until nobody looks for more.
pub const SHORTS: u64 = 64;

/// What one read by an end was like.
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts that do not depend on each other"
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// The socket's file has `O_NONBLOCK`.
    pub nonblocking: bool,
    /// The call was `read`, `readv`, `recvfrom`, `recvmsg` or `recvmmsg`; `None`: cannot tell.
    pub recv_like: Option<bool>,
    /// The socket's `SO_RCVLOWAT`, bytes.
    pub rcvlowat: u32,
    /// The call has a flag or the socket an option of [`sign::TCP_ONLY`].
    pub tcp_only: bool,
    /// The socket is in an epoll set with `EPOLLET`, or nobody can tell.
    pub edge: bool,
    /// The read before left nothing, and the program was not seen to ask for more before it
    /// waited, which would have been seen.
    pub stopped_short: bool,
    /// The socket has `SO_ZEROCOPY`.
    pub zerocopy: bool,
    /// Another executable reads than the one that was seen first.
    pub other_program: bool,
}

impl Read {
    /// The signs of this read, one bit for each [`sign`].
    #[inline(always)]
    #[must_use]
    pub const fn signs(&self) -> u32 {
        let nonblocking = if self.nonblocking {
            sign::NONBLOCKING
        } else {
            sign::BLOCKING
        };
        1 << nonblocking
            | (matches!(self.recv_like, Some(false)) as u32) << sign::OTHER_READ
            | ((self.rcvlowat > 1) as u32) << sign::RCVLOWAT
            | (self.tcp_only as u32) << sign::TCP_ONLY
            | (self.edge as u32) << sign::EDGE
            | (self.other_program as u32) << sign::OTHER_PROGRAM
            | (self.zerocopy as u32) << sign::ZEROCOPY
    }
}

/// Whether a sign was seen.
#[inline(always)]
#[must_use]
pub const fn has(row: &ProgramRow, sign: usize) -> bool {
    row.signs[sign] != 0
}

/// Whether bytes must not be redirected to the program.
#[inline(always)]
#[must_use]
pub const fn is_unfit(row: &ProgramRow) -> bool {
    let mut i = 0;
    while i < UNFIT.len() {
        if has(row, UNFIT[i]) {
            return true;
        }
        i += 1;
    }
    false
}

/// Whether bytes may be redirected to the program.
///
/// epoll(7) lets an edge-triggered reader take a read that gave less than was asked for as the
/// end. On a joined socket it is not: a read hands out one of two queues, and where a direction
/// went from redirection to TCP meanwhile the other may hold bytes for which no event comes any
/// more. So of these readers only those are proven that go on until `EAGAIN`, as Go and Envoy do.
/// nginx, Netty and tokio do not.
#[inline(always)]
#[must_use]
pub const fn is_proven(row: &ProgramRow) -> bool {
    !is_unfit(row) && row.reads >= FIT_READS && (!has(row, sign::EDGE) || has(row, sign::TO_END))
}

/// Whether the program is known to have no use for the length of its queue (`FIONREAD`).
///
/// A reader that stops short may ask whenever a read fills its buffer, as nginx does, however
/// it waits. One that goes on until `EAGAIN` has its answer, and one that splices has no buffer
/// to fill.
#[inline(always)]
#[must_use]
pub const fn asks_no_length(row: &ProgramRow) -> bool {
    !has(row, sign::FIONREAD)
        && !has(row, sign::OTHER_PROGRAM)
        && row.reads.saturating_add(row.others) >= FIT_READS
        && (has(row, sign::TO_END) || row.reads == 0)
}

/// The same of a program that was hardly seen to read, as one that only sends; `whole`: what is known of
/// all sockets of its executable.
#[inline(always)]
#[must_use]
pub const fn is_of_such(row: &ProgramRow, whole: &ProgramRow) -> bool {
    !is_unfit(row)
        && row.shorts == 0
        && !has(whole, sign::SHORT)
        && is_proven(whole)
        && asks_no_length(whole)
}

/// Whether a program stopped short so often that nobody waits for more.
#[inline(always)]
#[must_use]
pub const fn stops_short(row: &ProgramRow) -> bool {
    !has(row, sign::TO_END) && row.shorts >= row.ends.saturating_mul(2).saturating_add(SHORTS)
}

/// Whether the ends and shorts that were counted say that the program reads to the end.
#[inline(always)]
#[must_use]
pub const fn to_end(row: &ProgramRow) -> bool {
    row.ends.saturating_mul(2) >= row.shorts.saturating_add(FIT_ENDS)
}

/// Whether it matters for a program if its receiving calls find nothing more; `always`: for those
/// that wait level-triggered too, because [`asks_no_length`] decides.
#[inline(always)]
#[must_use]
pub const fn wants_ends(row: &ProgramRow, always: bool) -> bool {
    (always || has(row, sign::EDGE))
        && !has(row, sign::TO_END)
        && !has(row, sign::FIONREAD)
        && !stops_short(row)
}

#[cfg(feature = "user")]
crate::impl_pod!(ProgramKey, ProgramRow);

const _: () = assert!(size_of::<ProgramKey>() == 16 + 8 + 4 * 4);
const _: () = assert!(size_of::<ProgramRow>() == 8 + sign::COUNT + 4 * 8);

#[cfg(test)]
mod tests;
