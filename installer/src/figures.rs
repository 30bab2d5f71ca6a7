//! What the programs counted, shaped for output.

use serde::Serialize;
use sockway_common::counters::{Reason, Stats};
use sockway_common::pair::hop;

/// Sums of one hop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HopFigures {
    /// Its name.
    pub hop: &'static str,
    /// Connections that a registered pod's rows say are of this hop.
    pub seen: u64,
    /// Of those, connections with both ends on this node.
    pub on_node: u64,
    /// Of those, connections whose ends were joined.
    pub joined: u64,
    /// Redirected messages.
    pub redirected_messages: u64,
    /// Redirected bytes.
    pub redirected_bytes: u64,
}

/// What went by TCP for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ReasonFigures {
    /// Its name.
    pub reason: &'static str,
    /// What it means.
    pub help: &'static str,
    /// Connections left to TCP as a whole.
    pub connections: u64,
    /// Messages of joined connections.
    pub messages: u64,
    /// Bytes of joined connections.
    pub bytes: u64,
}

/// All sums since the maps were made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// By hop.
    pub hops: Vec<HopFigures>,
    /// All hops together.
    pub total: HopFigures,
    /// What went by TCP, by reason.
    pub tcp: Vec<ReasonFigures>,
    /// Times a direction went from TCP back to redirection.
    pub resumed: u64,
    /// Joined ends that closed.
    pub closed: u64,
}

const HOPS: [u32; 4] = [hop::OUTBOUND, hop::INBOUND, hop::APP, hop::SELF_INBOUND];

impl From<&Stats> for Figures {
    fn from(stats: &Stats) -> Self {
        let hops: Vec<HopFigures> = HOPS.into_iter().map(|hop| of_hop(stats, hop)).collect();
        let total = hops.iter().fold(
            HopFigures {
                hop: "total",
                ..Default::default()
            },
            |a, b| HopFigures {
                hop: a.hop,
                seen: a.seen + b.seen,
                on_node: a.on_node + b.on_node,
                joined: a.joined + b.joined,
                redirected_messages: a.redirected_messages + b.redirected_messages,
                redirected_bytes: a.redirected_bytes + b.redirected_bytes,
            },
        );
        let tcp = Reason::ALL.into_iter().map(|reason| {
            let at = reason as usize;
            ReasonFigures {
                reason: reason.name(),
                help: reason.help(),
                connections: stats.left[at],
                messages: stats.tcp_messages[at],
                bytes: stats.tcp_bytes[at],
            }
        });
        Self {
            hops,
            total,
            tcp: tcp.collect(),
            resumed: stats.resumed,
            closed: stats.closed,
        }
    }
}

fn of_hop(stats: &Stats, hop: u32) -> HopFigures {
    let at = hop as usize;
    HopFigures {
        hop: hop::name(hop),
        seen: stats.syns[at],
        on_node: stats.local[at],
        joined: stats.paired[at],
        redirected_messages: stats.redirected_messages[at],
        redirected_bytes: stats.redirected_bytes[at],
    }
}

impl Figures {
    /// Messages and bytes of joined connections that went by TCP.
    pub fn by_tcp(&self) -> (u64, u64) {
        self.tcp
            .iter()
            .fold((0, 0), |(m, b), r| (m + r.messages, b + r.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::Figures;
    use sockway_common::counters::{Reason, Stats};
    use sockway_common::pair::hop;

    #[test]
    fn sums_land_where_they_belong() {
        let mut stats = Stats::default();
        stats.paired[hop::INBOUND as usize] = 7;
        stats.redirected_bytes[hop::APP as usize] = 5;
        stats.redirected_bytes[hop::OUTBOUND as usize] = 6;
        stats.tcp_bytes[Reason::Backlog as usize] = 9;
        stats.left[Reason::Scope as usize] = 3;
        let figures = Figures::from(&stats);
        assert_eq!(figures.hops[1].joined, 7);
        assert_eq!(figures.total.redirected_bytes, 11);
        assert_eq!(figures.by_tcp(), (0, 9));
        let scope = figures.tcp.iter().find(|r| r.reason == "scope").unwrap();
        assert_eq!(scope.connections, 3);
    }
}
