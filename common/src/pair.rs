//! Pairing the two ends of a connection, and who owns which end.

use crate::addr::IpKey;
use crate::pod::PodRow;
use crate::program::ProgramKey;

/// Key of `pending`: the two initial sequence numbers plus one, as the active end sees them.
///
/// At establishment the active end's `(snd_nxt, rcv_nxt)` equal the passive
/// end's `(rcv_nxt, snd_nxt)`: 64 random bits that no NAT rewrites. Host byte order.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SeqKey {
    /// Next sequence number the active end will send.
    pub active_next: u32,
    /// Next sequence number the passive end will send.
    pub passive_next: u32,
}

/// Value of `pending`: a connection whose passive end listens on this node, until that is
/// established.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PendingRow {
    /// Socket cookie of the active end once it is established, else 0.
    pub active_cookie: u64,
    /// Kernel address of the active end's `struct sock`, 0 with `active_cookie`.
    pub active_sock: u64,
    /// The program that listens.
    pub program: ProgramKey,
    /// The pod whose registration made the connection qualify.
    pub pod: IpKey,
    /// One of [`hop`].
    pub hop: u32,
    /// One of [`crate::scope`]: that of the passive end's pod, then the stricter of both.
    pub scope: u32,
}

/// The hops of a request on one node.
pub mod hop {
    /// Not ours.
    pub const NONE: u32 = 0;
    /// Application to its own Envoy's outbound port.
    pub const OUTBOUND: u32 = 1;
    /// Another Envoy, a gateway or a plain client to an Envoy's inbound port.
    pub const INBOUND: u32 = 2;
    /// Envoy to its own application, from 127.0.0.6 or `::6`.
    pub const APP: u32 = 3;
    /// Envoy to its own inbound port by way of a VIP that it backs itself.
    pub const SELF_INBOUND: u32 = 4;
    /// How many hops there are, [`NONE`] included.
    pub const COUNT: usize = 5;
    /// How many directions there are: two for each hop ([`direction`]).
    pub const DIRECTIONS: usize = 2 * COUNT;

    /// The index of a direction: of what the connecting end sends, or of what it is sent.
    #[inline(always)]
    #[must_use]
    pub const fn direction(hop: u32, from_active: bool) -> u32 {
        hop * 2 + if from_active { 0 } else { 1 }
    }

    /// The word for a hop in output.
    #[must_use]
    pub const fn name(hop: u32) -> &'static str {
        match hop {
            OUTBOUND => "outbound",
            INBOUND => "inbound",
            APP => "app",
            SELF_INBOUND => "self-inbound",
            _ => "none",
        }
    }
}

/// The address whose registration decides about a passive socket.
///
/// Behind REDIRECT the passive socket of a pod's own connection is local to
/// 127.0.0.1 or `::1`, which every pod has, so the remote address names the
/// pod. `None` where neither end does (loopback to loopback): never touched.
#[inline(always)]
#[must_use]
pub const fn passive_pod(local: IpKey, remote: IpKey) -> Option<IpKey> {
    if !local.is_loopback() {
        return Some(local);
    }
    if remote.is_loopback() || remote.is_envoy_source() {
        return None;
    }
    Some(remote)
}

/// The address whose registration speaks for an active socket: Envoy's connections to its own
/// application come from an address that every pod has, and go to the pod's own.
#[inline(always)]
#[must_use]
pub const fn active_pod(local: IpKey, remote: IpKey) -> IpKey {
    if local.is_envoy_source() {
        remote
    } else {
        local
    }
}

/// Which hop a passive socket of a registered pod ends.
///
/// `local` and `remote` are the passive socket's addresses, `port` its local
/// port (host byte order), `row` the registration of [`passive_pod`].
#[inline(always)]
#[must_use]
pub const fn classify(local: IpKey, port: u16, remote: IpKey, row: &PodRow) -> u32 {
    if remote.is_envoy_source() {
        return hop::APP;
    }
    if port == row.outbound_port {
        return hop::OUTBOUND;
    }
    if port == row.inbound_port {
        return if local.is_loopback() {
            hop::SELF_INBOUND
        } else {
            hop::INBOUND
        };
    }
    hop::NONE
}

#[cfg(feature = "user")]
crate::impl_pod!(SeqKey, PendingRow);

const _: () = assert!(size_of::<SeqKey>() == 8);
const _: () = assert!(size_of::<PendingRow>() == 2 * 8 + 40 + 16 + 2 * 4);

#[cfg(test)]
mod tests {
    use super::{IpKey, PodRow, active_pod, classify, hop, passive_pod};

    const POD: IpKey = IpKey::from_v4([10, 0, 0, 1]);
    const PEER: IpKey = IpKey::from_v4([10, 0, 0, 2]);
    const LOCALHOST: IpKey = IpKey::from_v4([127, 0, 0, 1]);
    const ENVOY: IpKey = IpKey::from_v4([127, 0, 0, 6]);

    fn row() -> PodRow {
        PodRow {
            outbound_port: 15001,
            inbound_port: 15006,
            ..PodRow::default()
        }
    }

    #[test]
    fn hops_of_one_request() {
        assert_eq!(passive_pod(LOCALHOST, POD), Some(POD));
        assert_eq!(classify(LOCALHOST, 15001, POD, &row()), hop::OUTBOUND);
        assert_eq!(passive_pod(POD, PEER), Some(POD));
        assert_eq!(classify(POD, 15006, PEER, &row()), hop::INBOUND);
        assert_eq!(passive_pod(POD, ENVOY), Some(POD));
        assert_eq!(classify(POD, 8080, ENVOY, &row()), hop::APP);
        assert_eq!(active_pod(ENVOY, POD), POD);
        assert_eq!(active_pod(PEER, POD), PEER);
        assert_eq!(classify(LOCALHOST, 15006, POD, &row()), hop::SELF_INBOUND);
    }

    #[test]
    fn everything_else_is_left_alone() {
        assert_eq!(passive_pod(LOCALHOST, LOCALHOST), None);
        assert_eq!(passive_pod(LOCALHOST, ENVOY), None);
        assert_eq!(classify(POD, 8080, PEER, &row()), hop::NONE);
        assert_eq!(classify(LOCALHOST, 8080, POD, &row()), hop::NONE);
    }
}
