//! Whether two sockets are a connection of a registered pod, and their rows.

use std::collections::HashMap;

use sockway_common::addr::IpKey;
use sockway_common::counters::Reason;
use sockway_common::end::{ACTIVE, ADOPTED, EndRow};
use sockway_common::order::Order;
use sockway_common::pair::{active_pod, classify, hop, passive_pod};
use sockway_common::pod::PodRow;
use sockway_common::policy;
use sockway_common::program::{CLIENT, ProgramKey, SERVER};
use sockway_common::scope;

/// A socket and where it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    /// Inode number of the network namespace.
    pub(super) place: u64,
    /// Inode number of the socket that listens at its local port there; 0 where none does.
    pub(super) listener: u64,
    /// What was seen of it.
    pub(super) seen: Order,
}

/// Two ends of one connection, with what their rows say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    active: (u64, EndRow),
    passive: (u64, EndRow),
}

impl Pair {
    /// The rows of both ends, by cookie.
    pub(super) const fn rows(&self) -> [(u64, EndRow); 2] {
        [self.active, self.passive]
    }
}

/// What decides: registered pods.
pub(super) struct Policy {
    /// Rows of `pods`.
    pub(super) pods: HashMap<IpKey, PodRow>,
}

impl Policy {
    /// The hop that a socket ends as the accepted end, and whose registration says so.
    pub(super) fn hop(&self, passive: &Order) -> Option<(u32, IpKey, &PodRow)> {
        let pod = passive_pod(passive.local, passive.remote)?;
        let row = self.pods.get(&pod)?;
        match classify(passive.local, passive.local_port, passive.remote, row) {
            hop::NONE => None,
            hop => Some((hop, pod, row)),
        }
    }

    /// The pair that two sockets are, if a registration speaks of them and their addresses agree.
    ///
    /// REDIRECT takes no part in Envoy to application; only connections to an inbound port
    /// cross namespaces.
    pub(super) fn judge(&self, active: &End, passive: &End) -> Option<Pair> {
        let (hop, pod, row) = self.hop(&passive.seen)?;
        let (from, to) = (&active.seen, &passive.seen);
        let as_sent = (from.remote, from.remote_port, from.local_port)
            == (to.local, to.local_port, to.remote_port);
        if from.local != to.remote
            || (hop == hop::APP && !as_sent)
            || (hop != hop::INBOUND && active.place != passive.place)
        {
            return None;
        }
        let address = active_pod(from.local, from.remote);
        let own = self.pods.get(&address);
        let scope = match own {
            Some(own) if hop == hop::INBOUND => scope::stricter(row.scope, own.scope),
            _ => row.scope,
        };
        if policy::leaves_out(scope, hop) {
            return None;
        }
        let common = EndRow {
            hop,
            scope,
            why: Reason::Observed as u32,
            ..EndRow::default()
        };
        let client = ProgramKey {
            owner: own.map(|own| own.owner).unwrap_or_default(),
            uid: from.uid,
            port: u32::from(from.remote_port),
            kind: CLIENT,
            ..ProgramKey::default()
        };
        let server = ProgramKey {
            owner: row.owner,
            id: passive.listener,
            uid: to.uid,
            port: u32::from(to.local_port),
            kind: SERVER,
            ..ProgramKey::default()
        };
        Some(Pair {
            active: (
                from.cookie,
                EndRow {
                    program: client,
                    pod: address,
                    role: ACTIVE | ADOPTED,
                    ..row_of(active, passive, common)
                },
            ),
            passive: (
                to.cookie,
                EndRow {
                    program: server,
                    pod,
                    role: ADOPTED,
                    ..row_of(passive, active, common)
                },
            ),
        })
    }
}

/// What a row says of where its end is, and which is the other one.
fn row_of(own: &End, other: &End, row: EndRow) -> EndRow {
    EndRow {
        local: own.seen.local,
        remote: own.seen.remote,
        local_port: own.seen.local_port,
        remote_port: own.seen.remote_port,
        netns: u32::try_from(own.place).unwrap_or(0),
        peer: other.seen.cookie,
        peer_sock: other.seen.sock,
        ..row
    }
}
