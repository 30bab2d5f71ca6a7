//! Counters per outcome: the value of `stats` (one per-CPU entry).

use crate::pair::hop;

/// Why bytes of a paired connection, or a whole connection, went by TCP.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The other end was not known yet at the first send (or never was).
    NoPeer,
    /// Earlier bytes of the direction went by TCP and were not all read yet.
    Order,
    /// The reader is behind by more than the limit.
    Backlog,
    /// The reader's socket blocks.
    Blocking,
    /// The reader uses what only TCP's own queues serve ([`crate::program::sign`]).
    Guarded,
    /// The socket has an upper-layer protocol (kTLS, MPTCP).
    Ulp,
    /// The pods' scope leaves the hop out.
    Scope,
    /// The other end was no longer in the sockhash.
    PeerGone,
    /// The kernel refused the socket or a map was full.
    NotInserted,
    /// The reader's program is not known yet, or takes a short read for the end.
    Observed,
    /// All TCP of the node is short of memory, or the reader's pod is at its memory limit.
    Memory,
    /// The other end was not accepted yet.
    Unaccepted,
    /// A message that goes by TCP from time to time.
    Checked,
    /// The other end came in late, and a read may be under way that began before.
    Closed,
    /// The node or the pod was switched off.
    Off,
}

/// How many [`Reason`]s there are.
pub const REASONS: usize = 15;

impl Reason {
    /// Every reason, in the order of their numbers.
    pub const ALL: [Self; REASONS] = [
        Self::NoPeer,
        Self::Order,
        Self::Backlog,
        Self::Blocking,
        Self::Guarded,
        Self::Ulp,
        Self::Scope,
        Self::PeerGone,
        Self::NotInserted,
        Self::Observed,
        Self::Memory,
        Self::Unaccepted,
        Self::Checked,
        Self::Closed,
        Self::Off,
    ];

    /// The reason with this number.
    #[must_use]
    pub fn of(number: u32) -> Option<Self> {
        Self::ALL.get(number as usize).copied()
    }

    /// The word for a reason in output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoPeer => "no-peer",
            Self::Order => "order",
            Self::Backlog => "backlog",
            Self::Blocking => "blocking",
            Self::Guarded => "guarded",
            Self::Ulp => "ulp",
            Self::Scope => "scope",
            Self::PeerGone => "peer-gone",
            Self::NotInserted => "not-inserted",
            Self::Observed => "observed",
            Self::Memory => "memory",
            Self::Unaccepted => "unaccepted",
            Self::Checked => "checked",
            Self::Closed => "closed",
            Self::Off => "off",
        }
    }

    /// What it means, in a line for a person.
    #[must_use]
    pub const fn help(self) -> &'static str {
        match self {
            Self::NoPeer => "the other end was not joined yet when the bytes were sent",
            Self::Order => "earlier bytes of the direction were still on their way by TCP",
            Self::Backlog => "the reader is behind by more than the limit",
            Self::Blocking => "the program's socket blocks",
            Self::Guarded => {
                "the program uses what only TCP serves (splice, io_uring, urgent data, some options)"
            }
            Self::Ulp => "the socket has an upper-layer protocol (kTLS, MPTCP)",
            Self::Scope => "the scope of a pod leaves the hop out",
            Self::PeerGone => "the other end had left the sockhash",
            Self::NotInserted => "the kernel refused the socket, or a map was full",
            Self::Observed => "the program is not known yet, or takes a short read for the end",
            Self::Memory => {
                "the node's TCP memory was short (sysctl net.ipv4.tcp_mem), or the reader's pod at its limit"
            }
            Self::Unaccepted => "the other end had not been accepted yet when the bytes were sent",
            Self::Checked => "one message goes by TCP from time to time, for conntrack and policy",
            Self::Closed => "the other end came in late and was not seen at rest yet",
            Self::Off => "the node or the pod was switched off",
        }
    }
}

/// Sums since the programs were first loaded on this node, per CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// SYNs to a registered pod's hop, by [`hop`].
    pub syns: [u64; hop::COUNT],
    /// Active ends found to have their passive end on this node, by [`hop`].
    pub local: [u64; hop::COUNT],
    /// Connections of which both ends were found, by [`hop`].
    pub paired: [u64; hop::COUNT],
    /// Ends that came in when they were established, by [`hop`].
    pub joined: [u64; hop::COUNT],
    /// Ends that came in late, by [`hop`].
    pub joined_late: [u64; hop::COUNT],
    /// Ends that left the sockhash before they closed.
    pub left_early: u64,
    /// Ends that were left out when they were established, by [`Reason`].
    pub left: [u64; REASONS],
    /// Redirected messages, by [`hop::direction`].
    pub redirected_messages: [u64; hop::DIRECTIONS],
    /// Redirected bytes, by [`hop::direction`].
    pub redirected_bytes: [u64; hop::DIRECTIONS],
    /// Payload bytes that ends which have closed were sent by TCP, by [`hop::direction`].
    pub received_bytes: [u64; hop::DIRECTIONS],
    /// Messages of joined ends that went by TCP, by [`Reason`].
    pub tcp_messages: [u64; REASONS],
    /// Bytes that went by TCP, by [`Reason`]: of joined ends as they are sent, of others when they close.
    pub tcp_bytes: [u64; REASONS],
    /// Times a direction went from TCP back to redirection.
    pub resumed: u64,
    /// Joined ends that closed.
    pub closed: u64,
}

impl Stats {
    /// Adds another CPU's share.
    pub fn add(&mut self, other: &Self) {
        fn sum<const N: usize>(into: &mut [u64; N], from: &[u64; N]) {
            for (a, b) in into.iter_mut().zip(from) {
                *a += b;
            }
        }
        let Self {
            syns,
            local,
            paired,
            joined,
            joined_late,
            left_early,
            left,
            redirected_messages,
            redirected_bytes,
            received_bytes,
            tcp_messages,
            tcp_bytes,
            resumed,
            closed,
        } = other;
        sum(&mut self.syns, syns);
        sum(&mut self.local, local);
        sum(&mut self.paired, paired);
        sum(&mut self.joined, joined);
        sum(&mut self.joined_late, joined_late);
        self.left_early += left_early;
        sum(&mut self.left, left);
        sum(&mut self.redirected_messages, redirected_messages);
        sum(&mut self.redirected_bytes, redirected_bytes);
        sum(&mut self.received_bytes, received_bytes);
        sum(&mut self.tcp_messages, tcp_messages);
        sum(&mut self.tcp_bytes, tcp_bytes);
        self.resumed += resumed;
        self.closed += closed;
    }
}

#[cfg(feature = "user")]
crate::impl_pod!(Stats);

const _: () =
    assert!(size_of::<Stats>() == (5 * hop::COUNT + 3 * hop::DIRECTIONS + 3 * REASONS + 3) * 8);

#[cfg(test)]
mod tests {
    use super::{Reason, Stats};

    #[test]
    fn reasons_are_numbered_in_order() {
        for (i, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, i);
        }
    }

    #[test]
    fn adding_sums_every_field() {
        let one = Stats {
            resumed: 1,
            closed: 2,
            paired: [3; 5],
            ..Stats::default()
        };
        let mut sum = one;
        sum.add(&one);
        assert_eq!((sum.resumed, sum.closed, sum.paired), (2, 4, [6; 5]));
    }
}
