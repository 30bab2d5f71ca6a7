//! Connections that were open before the programs were attached.

mod applications;
mod traffic;
mod waiting;

use std::fs::File;
use std::process::Command;
use std::time::Duration;

use socket2::Socket;
use sockway_common::pair::hop;
use sockway_common::scope;
use sockway_datapath::existing::{self, Joined};

use crate::support::measure::lo_bytes;
use crate::support::node::{Node, causes, connect, listen, receive, send};
use crate::{node, ping_pong};

const INBOUND: &str = "10.9.0.1:15006";
const CLIENT: &str = "10.9.0.2";

fn join(node: &Node) -> Joined {
    join_within(node, Duration::from_secs(10))
}

fn join_within(node: &Node, patience: Duration) -> Joined {
    let namespace = File::open("/proc/thread-self/ns/net").expect("open the own namespace");
    existing::join(&node.pins, &[namespace], patience)
        .unwrap_or_else(|e| panic!("join: {}", causes(&e)))
}

fn left(joined: &Joined, why: &str) -> usize {
    joined.left.get(why).copied().unwrap_or(0)
}

/// Ping-pong, and whether its bytes crossed the interface. Late acknowledgements of
/// other connections may, so only the most of them count.
fn crosses_lo(client: &Socket, server: &Socket) -> bool {
    let before = lo_bytes();
    ping_pong(client, server, 50);
    // Half of what there and back are on the wire at least.
    lo_bytes() - before > 50 * 1024
}

#[test]
fn every_hop_and_family_is_brought_in_and_leaves_nothing() {
    let Some(node) = node("existing_hops") else {
        return;
    };
    let cases = [
        (INBOUND, CLIENT, INBOUND, hop::INBOUND),
        (
            "[fd00::1]:15006",
            "fd00::2",
            "[fd00::1]:15006",
            hop::INBOUND,
        ),
        ("[::]:15007", CLIENT, "10.9.0.1:15007", hop::NONE),
        ("10.9.0.1:8080", "127.0.0.6", "10.9.0.1:8080", hop::APP),
        (
            "127.0.0.1:15001",
            "10.9.0.1",
            "127.0.0.1:15001",
            hop::OUTBOUND,
        ),
        (
            "127.0.0.1:15006",
            "10.9.0.1",
            "127.0.0.1:15006",
            hop::SELF_INBOUND,
        ),
    ];
    let open: Vec<_> = cases
        .iter()
        .map(|(at, from, to, _)| {
            let listener = listen(at);
            let (client, server) = connect(&listener, from, to);
            ping_pong(&client, &server, 3);
            (client, server, listener)
        })
        .collect();
    node.install();
    node.pod("10.9.0.1", scope::ALL);
    node.pod("fd00::1", scope::ALL);
    let joined = join(&node);
    assert_eq!((joined.found, joined.paired), (5, 5), "{joined:?}");
    assert_eq!(joined.sockets, 12, "{joined:?}");
    for ((client, server, _), (at, _, _, hop)) in open.iter().zip(cases) {
        assert_eq!(crosses_lo(client, server), hop == hop::NONE, "{at}");
    }
    let again = join(&node);
    assert_eq!((again.found, again.paired), (0, 0), "{again:?}");
    for (client, server, _) in &open {
        client.shutdown(std::net::Shutdown::Write).expect("FIN");
        assert_eq!(receive(server, 1), b"", "the end of the stream");
    }
    drop(open);
    assert_eq!(node.connection_rows(), [0; 3], "rows left");
    let stats = node.stats();
    for (_, _, _, hop) in cases.into_iter().filter(|c| c.3 != hop::NONE) {
        let at = hop as usize;
        assert_ne!(stats.paired[at], 0, "hop {hop}");
        assert_eq!(
            stats.redirected_messages[at],
            stats.paired[at] * 100,
            "hop {hop}"
        );
    }
    assert_eq!(stats.closed, 10);
}

#[test]
fn bytes_under_way_keep_their_order() {
    let Some(node) = node("existing_order") else {
        return;
    };
    let listener = listen(INBOUND);
    let (client, server) = connect(&listener, CLIENT, INBOUND);
    node.install();
    node.pod("10.9.0.1", scope::ALL);
    send(&client, b"unread");
    let joined = join(&node);
    assert_eq!(joined.paired, 1, "{joined:?}");
    // The reader is behind: by TCP, after what waits there.
    send(&client, b"first");
    assert_eq!(receive(&server, 11), b"unreadfirst");
    // From the other end on by the other queue.
    send(&server, b"back");
    assert_eq!(receive(&client, 4), b"back");
    assert!(!crosses_lo(&client, &server));
    drop((client, server));
    assert_eq!(node.connection_rows(), [0; 3]);
}

/// Begins (`-A`) or ends (`-D`) to lose what is sent to Envoy.
fn lose_packets(verb: &str) {
    let rule = ["INPUT", "-p", "tcp", "--dport", "15006", "-j", "DROP"];
    let status = Command::new("iptables")
        .args(["-w", verb])
        .args(rule)
        .status()
        .expect("run iptables");
    assert!(status.success(), "iptables {verb}: {status}");
}

/// An end that has sent what the other one has not got.
#[test]
fn bytes_on_the_way_are_no_pair() {
    let Some(node) = node("existing_on_the_way") else {
        return;
    };
    let listener = listen(INBOUND);
    let (client, server) = connect(&listener, CLIENT, INBOUND);
    node.install();
    node.pod("10.9.0.1", scope::ALL);
    lose_packets("-A");
    send(&client, b"on the way");
    let joined = join(&node);
    assert_eq!(joined.paired, 0, "{joined:?}");
    assert_eq!(left(&joined, "unpaired"), 1, "{joined:?}");
    assert_eq!(node.connection_rows(), [0; 3], "not touched");
    lose_packets("-D");
    assert_eq!(receive(&server, 10), b"on the way");
    assert_eq!(join(&node).paired, 1);
}

#[test]
fn nothing_is_brought_in_after_detaching() {
    let Some(node) = node("existing_detached") else {
        return;
    };
    let listener = listen(INBOUND);
    let _open = connect(&listener, CLIENT, INBOUND);
    node.install();
    node.pod("10.9.0.1", scope::ALL);
    sockway_datapath::Datapath::detach(&node.pins).expect("detach");
    let namespace = File::open("/proc/thread-self/ns/net").expect("open the own namespace");
    let refused = existing::join(&node.pins, &[namespace], existing::PATIENCE);
    let text = refused.expect_err("detached").to_string();
    assert!(text.contains("no connections are taken in"), "{text}");
    assert_eq!(node.connection_rows(), [0; 3]);
}
