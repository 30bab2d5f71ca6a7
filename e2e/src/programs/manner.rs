//! How a program reads, named in advance, and what share of its bytes has to be redirected.

use sockway_common::pair::hop;

/// The least share of a direction's bytes that is redirected, as the interfaces saw it.
pub(crate) const BAR: f64 = 0.90;

/// How a program uses its sockets. Known of the program, not learnt from the datapath.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Level-triggered, or on until nothing is left (EAGAIN).
    UntilEmpty,
    /// Edge-triggered; a read that gives less than asked is taken for the end.
    ShortReads,
    /// The same, and asks FIONREAD whether there is more.
    Asks,
    /// Reads by splice(2).
    Splices,
    /// Without `O_NONBLOCK`.
    Blocks,
}

impl Manner {
    /// In a word.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::UntilEmpty => "until empty",
            Self::ShortReads => "short reads",
            Self::Asks => "FIONREAD",
            Self::Splices => "splices",
            Self::Blocks => "blocks",
        }
    }

    /// Whether what is sent to it has to be redirected.
    const fn receives(self) -> bool {
        matches!(self, Self::UntilEmpty)
    }

    /// Whether what it sends has to be redirected. Where FIONREAD is wrong only those come in who
    /// are known to have no use for it: docs/architecture.md, "FIONREAD".
    const fn sends(self, fionread_is_right: bool) -> bool {
        match self {
            Self::Blocks => false,
            Self::Asks | Self::ShortReads | Self::Splices => fionread_is_right,
            Self::UntilEmpty => true,
        }
    }
}

/// A program's two ends; the Envoys between them read until nothing is left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    /// The client's program.
    pub(crate) client: Manner,
    /// The server's.
    pub(crate) server: Manner,
}

impl Ends {
    /// Whether [`BAR`] is asked of one direction of a hop: towards the client (`fetch`) or away from it.
    pub(crate) const fn held(self, hop: u32, fetch: bool, fionread_is_right: bool) -> bool {
        let envoy = Manner::UntilEmpty;
        let (left, right) = match hop {
            hop::OUTBOUND => (self.client, envoy),
            hop::APP => (envoy, self.server),
            _ => (envoy, envoy),
        };
        let (from, to) = if fetch { (right, left) } else { (left, right) };
        from.sends(fionread_is_right) && to.receives()
    }
}

#[cfg(test)]
mod tests {
    use super::{Ends, Manner, hop};

    #[test]
    fn a_direction_is_held_to_the_bar_by_its_two_ends() {
        let ends = Ends {
            client: Manner::Blocks,
            server: Manner::ShortReads,
        };
        assert!(!ends.held(hop::OUTBOUND, true, true) && !ends.held(hop::OUTBOUND, false, true));
        assert!(ends.held(hop::INBOUND, true, false) && ends.held(hop::INBOUND, false, false));
        assert!(ends.held(hop::APP, true, true) && !ends.held(hop::APP, false, true));
        let asks = Ends {
            server: Manner::Asks,
            ..ends
        };
        assert!(asks.held(hop::APP, true, true) && !asks.held(hop::APP, true, false));
    }
}
