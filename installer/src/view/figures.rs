//! What the programs counted, shaped for output.

use std::collections::HashMap;

use serde::Serialize;
use sockway_common::counters::{Reason, Stats};
use sockway_common::end::{ACTIVE, EndRow};
use sockway_common::pair::hop;
use sockway_datapath::{Error, Pins, stats};

use crate::ui;

/// Sums of one hop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HopFigures {
    /// Its name.
    pub hop: &'static str,
    /// Connections that a registered pod's rows say are of this hop.
    pub seen: u64,
    /// Of those, connections with both ends on this node.
    pub on_node: u64,
    /// Of those, connections whose two ends were found.
    pub joined: u64,
    /// Ends that came in when they were established.
    pub ends_joined: u64,
    /// Ends that came in later.
    pub ends_joined_late: u64,
    /// Redirected messages.
    pub redirected_messages: u64,
    /// Redirected bytes.
    pub redirected_bytes: u64,
    /// What the connecting end sent, in bytes.
    pub requests: Way,
    /// What it was sent.
    pub responses: Way,
}

/// The bytes of one direction, of connections that ended and of those that are open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Way {
    /// Redirected.
    pub redirected: u64,
    /// By TCP.
    pub by_tcp: u64,
}

impl Way {
    /// Both kinds together.
    pub const fn bytes(self) -> u64 {
        self.redirected + self.by_tcp
    }

    const fn and(self, other: Self) -> Self {
        Self {
            redirected: self.redirected + other.redirected,
            by_tcp: self.by_tcp + other.by_tcp,
        }
    }
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
                ends_joined: a.ends_joined + b.ends_joined,
                ends_joined_late: a.ends_joined_late + b.ends_joined_late,
                requests: a.requests.and(b.requests),
                responses: a.responses.and(b.responses),
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
    let way = |from_active| {
        let at = hop::direction(hop, from_active) as usize;
        Way {
            redirected: stats.redirected_bytes[at],
            by_tcp: stats.received_bytes[at],
        }
    };
    let both = |sums: &[u64; hop::DIRECTIONS]| sums[2 * at] + sums[2 * at + 1];
    HopFigures {
        hop: hop::name(hop),
        seen: stats.syns[at],
        on_node: stats.local[at],
        joined: stats.paired[at],
        ends_joined: stats.joined[at],
        ends_joined_late: stats.joined_late[at],
        redirected_messages: both(&stats.redirected_messages),
        redirected_bytes: both(&stats.redirected_bytes),
        requests: way(true),
        responses: way(false),
    }
}

/// What the programs counted so far: of connections that ended, and of those that are open.
pub fn read(pins: &Pins) -> Result<Stats, Error> {
    read_with_ends(pins).map(|(stats, _)| stats)
}

/// Ends of open connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// All of them: rows of `ends`.
    pub all: usize,
    /// Those in the sockhash.
    pub joined: usize,
}

/// As [`read`], with how many ends there are: a walk over the sockhash takes a system call for each.
pub fn read_with_ends(pins: &Pins) -> Result<(Stats, Ends), Error> {
    let ended = stats::read(pins)?;
    let (mut open, mut ends) = (Open::default(), Ends::default());
    stats::each_end(pins, |cookie, row| {
        ends.all += 1;
        ends.joined += usize::from(row.joined);
        open.add(cookie, &row);
    })?;
    Ok((open.and(ended), ends))
}

/// What open connections have had so far.
#[derive(Debug, Default)]
struct Open {
    received_bytes: [u64; hop::DIRECTIONS],
    /// By cookie.
    received: HashMap<u64, u64>,
    /// The other end's cookie, the reason for TCP, and what went by TCP from within the sockhash.
    sent: Vec<(u64, u32, u64)>,
}

impl Open {
    fn add(&mut self, cookie: u64, row: &EndRow) {
        let from_active = row.role & ACTIVE == 0;
        let at = hop::direction(row.hop, from_active) as usize;
        if let Some(sum) = self.received_bytes.get_mut(at) {
            *sum += row.received;
        }
        self.received.insert(cookie, row.received);
        self.sent.push((row.peer, row.why, row.by_tcp));
    }

    /// Together with the sums of connections that ended.
    fn and(self, mut ended: Stats) -> Stats {
        for (sum, open) in ended.received_bytes.iter_mut().zip(self.received_bytes) {
            *sum += open;
        }
        for (peer, why, by_tcp) in self.sent {
            // What this end sent while it was not in the sockhash, as its other end got it.
            let sent = self.received.get(&peer).copied().unwrap_or(0);
            if let Some(sum) = ended.tcp_bytes.get_mut(why as usize) {
                *sum += sent.saturating_sub(by_tcp);
            }
        }
        ended
    }
}

impl Figures {
    /// Raises every sum that takes in open connections to what it was at an earlier look: one that
    /// closes between two looks at two maps is missing for a moment, and a counter never falls.
    pub fn not_below(&mut self, before: &Self) {
        let way = |now: &mut Way, then: &Way| {
            now.redirected = now.redirected.max(then.redirected);
            now.by_tcp = now.by_tcp.max(then.by_tcp);
        };
        for (now, then) in self.hops.iter_mut().zip(&before.hops) {
            way(&mut now.requests, &then.requests);
            way(&mut now.responses, &then.responses);
        }
        for (now, then) in self.tcp.iter_mut().zip(&before.tcp) {
            now.bytes = now.bytes.max(then.bytes);
        }
    }

    /// The sentence that an operator needs: which part of the bytes between pods of this node and
    /// within them is redirected, and for which reasons the rest goes by TCP.
    pub fn sentence(&self) -> String {
        let all = self.total.requests.and(self.total.responses);
        if all.bytes() == 0 {
            return "no byte of a same-node mesh connection was sent yet".to_owned();
        }
        let mut rest: Vec<&ReasonFigures> = self.tcp.iter().filter(|r| r.bytes > 0).collect();
        rest.sort_by_key(|r| std::cmp::Reverse(r.bytes));
        let sum: u64 = rest.iter().map(|r| r.bytes).sum();
        let mut text = format!(
            "{} of this node's same-node mesh bytes are redirected",
            ui::share(all.redirected, all.bytes())
        );
        if sum > 0 && all.by_tcp > 0 {
            let reasons: Vec<String> = rest
                .iter()
                .take(3)
                .map(|r| {
                    #[expect(clippy::cast_precision_loss, reason = "a share to look at")]
                    let part = r.bytes as f64 / sum as f64 * all.by_tcp as f64 / all.bytes() as f64;
                    format!("{} {:.1} %", r.reason, part * 100.0)
                })
                .collect();
            text.push_str("; the rest by TCP: ");
            text.push_str(&reasons.join(", "));
        }
        text
    }

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
        stats.redirected_bytes[hop::direction(hop::APP, true) as usize] = 5;
        stats.redirected_bytes[hop::direction(hop::OUTBOUND, false) as usize] = 6;
        stats.received_bytes[hop::direction(hop::OUTBOUND, false) as usize] = 9;
        stats.tcp_bytes[Reason::Backlog as usize] = 9;
        stats.left[Reason::Scope as usize] = 3;
        let figures = Figures::from(&stats);
        assert_eq!(figures.hops[1].joined, 7);
        assert_eq!(figures.total.redirected_bytes, 11);
        assert_eq!(figures.by_tcp(), (0, 9));
        assert_eq!(figures.hops[0].responses.bytes(), 15);
        assert_eq!(
            figures.sentence(),
            "55.0 % of this node's same-node mesh bytes are redirected; the rest by TCP: backlog 45.0 %"
        );
        let scope = figures.tcp.iter().find(|r| r.reason == "scope").unwrap();
        assert_eq!(scope.connections, 3);
    }
}
