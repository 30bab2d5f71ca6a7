//! One end of an on-node connection of a registered pod: a row of `ends`, joined or not.
//!
//! Each field has one writer, or is set and never taken back while its writers race.

use crate::addr::IpKey;
use crate::program::ProgramKey;

/// The end that connected; a bit of [`EndRow::role`].
pub const ACTIVE: u32 = 1;
/// Open before the programs were attached: the kernel tells nobody of its end.
pub const ADOPTED: u32 = 2;
/// A connecting end that blocked when it was established: its reads say nothing of its program.
pub const BEGAN_BLOCKING: u32 = 4;
/// Whatever it reads, it stays out ([`crate::policy::settled`]); holds while it is out. Set by the reads' hook.
pub const SETTLED: u32 = 8;
/// Its program was proven when a read of it was last looked at; counts while it is alone. Set by the reads' hook.
pub const KNOWN: u32 = 16;

/// Value of `ends`, keyed by socket cookie.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndRow {
    /// The program that owns the socket; its id may be filled in by the first read that is seen.
    pub program: ProgramKey,
    /// Local address.
    pub local: IpKey,
    /// Remote address.
    pub remote: IpKey,
    /// The address whose registration speaks for this end.
    pub pod: IpKey,
    /// The other end's cookie, 0 while it is not known; written after `peer_sock`.
    pub peer: u64,
    /// Kernel address of the other end's `struct sock`; believed only while the cookie behind it is `peer`.
    pub peer_sock: u64,
    /// Payload bytes that came by TCP, as of the last read from the TCP queue. Written by the reads' hook.
    pub received: u64,
    /// Bytes that this end sent by redirection. Written by its sends.
    pub redirected: u64,
    /// Bytes that it sent by TCP while it was in the sockhash. Written by its sends.
    pub by_tcp: u64,
    /// Local port, host byte order.
    pub local_port: u16,
    /// Remote port, host byte order.
    pub remote_port: u16,
    /// Inode number of its network namespace; 0 where it cannot be known.
    pub netns: u32,
    /// One of [`crate::pair::hop`].
    pub hop: u32,
    /// One of [`crate::scope`].
    pub scope: u32,
    /// [`ACTIVE`], [`ADOPTED`], [`BEGAN_BLOCKING`], [`SETTLED`], [`KNOWN`].
    pub role: u32,
    /// Why it is not in the sockhash: a [`crate::counters::Reason`] as u32.
    pub why: u32,
    /// 1 while it is in the sockhash.
    pub joined: u8,
    /// 1 once bytes may be redirected to it: no read can be under way that began before it was joined.
    pub open: u8,
    /// 1 where it is to leave the sockhash.
    pub leaves: u8,
    /// 1 once user space was told that it may come in.
    pub told: u8,
    /// 1 where a read gave bytes since the last one that found nothing.
    pub gave: u8,
    /// 1 where the last read left nothing, or found nothing.
    pub empty: u8,
    /// How often it came in late, cut off. Written by the program that brings it in.
    pub joins: u8,
    /// 1 where it is out because the other end is left out, and `why` is that one's reason.
    pub alone: u8,
}

impl EndRow {
    /// Whether none of its reads can change anything as things are, so that they need not be looked at.
    #[inline(always)]
    #[must_use]
    pub const fn is_quiet(&self) -> bool {
        let quiet = if self.alone == 0 {
            SETTLED
        } else {
            SETTLED | KNOWN
        };
        self.joined == 0 && self.role & quiet != 0
    }
}

/// What the programs tell user space (ring buffer `events`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Socket cookie of the end; 0 with [`event::ASKS`] and [`event::PASS`].
    pub cookie: u64,
    /// One of [`event`].
    pub kind: u32,
    /// Written as 0.
    pub pad: u32,
}

/// Values of [`Event::kind`].
pub mod event {
    /// The end may come in.
    pub const JOIN: u32 = 1;
    /// The end is to leave.
    pub const LEAVE: u32 = 2;
    /// It matters where receiving calls end, and that is not seen now.
    pub const ASKS: u32 = 3;
    /// Every end is to be looked at: a program turned out proven, unfit or settled, and some of its ends only send and
    /// are never seen to read; or the node, or a pod, was switched on or off.
    pub const PASS: u32 = 4;
}

#[cfg(feature = "user")]
crate::impl_pod!(EndRow, Event);

const _: () = assert!(size_of::<EndRow>() == 40 + 3 * 16 + 5 * 8 + 4 + 4 + 4 * 4 + 8);
const _: () = assert!(size_of::<Event>() == 16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_of_who_is_in_or_may_come_in_are_looked_at() {
        for role in [0, ACTIVE, SETTLED, KNOWN, SETTLED | KNOWN] {
            for alone in [0, 1] {
                let out = EndRow {
                    role,
                    alone,
                    ..EndRow::default()
                };
                let joined = EndRow { joined: 1, ..out };
                assert!(!joined.is_quiet(), "{joined:?}");
                let quiet = role & SETTLED != 0 || role & KNOWN != 0 && alone != 0;
                assert_eq!(out.is_quiet(), quiet, "{out:?}");
            }
        }
    }
}
