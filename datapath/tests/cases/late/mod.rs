//! Ends that come in late: connections older than the programs, and ends whose programs were not
//! known when they were established; and ends that leave.

mod applications;
mod leaving;
mod traffic;
mod waiting;

use std::process::Command;

use socket2::Socket;
use sockway_common::counters::Reason;
use sockway_common::pair::hop;
use sockway_common::scope;

use crate::support::keeper::Keeper;
use crate::support::measure::lo_bytes;
use crate::support::node::{connect, listen, receive, send};
use crate::{node, ping_pong};

const INBOUND: &str = "10.9.0.1:15006";
const CLIENT: &str = "10.9.0.2";

/// Ping-pong, and whether its bytes crossed the interface. Late acknowledgements of
/// other connections may, so only the most of them count.
fn crosses_lo(client: &Socket, server: &Socket) -> bool {
    crosses_lo_in(client, server, 50)
}

/// The same of so many round trips.
fn crosses_lo_in(client: &Socket, server: &Socket, rounds: usize) -> bool {
    let before = lo_bytes();
    ping_pong(client, server, rounds);
    // Half of what there and back are on the wire at least.
    lo_bytes() - before > rounds as u64 * 1024
}

#[test]
fn every_hop_and_family_is_brought_in_and_leaves_nothing() {
    let Some(node) = node("late_hops") else {
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
    let mut keeper = Keeper::new(&node);
    let adopted = keeper.bring_in();
    assert_eq!((adopted.found, adopted.unpaired), (5, 0), "{adopted:?}");
    assert_eq!(adopted.sockets, 12, "{adopted:?}");
    assert_eq!((keeper.done.joined, keeper.done.opened), (10, 10));
    for ((client, server, _), (at, _, _, hop)) in open.iter().zip(cases) {
        assert_eq!(crosses_lo(client, server), hop == hop::NONE, "{at}");
    }
    let again = keeper.bring_in();
    assert_eq!((again.found, again.sockets), (0, 2), "no row: {again:?}");
    assert_eq!((keeper.done.joined, keeper.done.opened), (10, 10), "again");
    for (client, server, _) in &open {
        client.shutdown(std::net::Shutdown::Write).expect("FIN");
        assert_eq!(receive(server, 1), b"", "the end of the stream");
    }
    assert_eq!(keeper.forget(), 0, "the other direction is open");
    drop(open);
    assert_eq!(keeper.forget(), 10, "nobody told of their end");
    assert_eq!(node.connection_rows(), [0; 3], "rows left");
    let stats = node.stats();
    for (_, _, _, hop) in cases.into_iter().filter(|c| c.3 != hop::NONE) {
        assert_ne!(stats.joined_late[hop as usize], 0, "hop {hop}");
    }
}

/// IPv4 at an IPv6 socket is looked up as IPv4.
#[test]
fn mapped_addresses_are_brought_in() {
    let Some(node) = node("late_mapped") else {
        return;
    };
    let listener = listen("[::]:15006");
    let (client, server) = connect(&listener, CLIENT, INBOUND);
    ping_pong(&client, &server, 3);
    node.install();
    node.pod("10.9.0.1", scope::ALL);
    let mut keeper = Keeper::new(&node);
    assert_eq!(keeper.bring_in().found, 1);
    assert_eq!((keeper.done.joined, keeper.done.opened), (2, 2));
    assert!(!crosses_lo(&client, &server));
}

fn run(program: &str, args: &str) {
    let status = Command::new(program).args(args.split(' ')).status();
    let status = status.unwrap_or_else(|e| panic!("run {program}: {e}"));
    assert!(status.success(), "{program} {args}: {status}");
}

/// The two ends do not agree where the connection goes.
#[test]
fn redirected_connections_are_brought_in() {
    let Some(node) = node("late_redirect") else {
        return;
    };
    run("ip", "route add 10.9.0.99/32 dev lo");
    let rule = "-w -t nat -A OUTPUT -p tcp -d 10.9.0.99 --dport 80 -j REDIRECT --to-ports 15001";
    run("iptables", rule);
    let listener = listen("127.0.0.1:15001");
    let open: Vec<_> = (0..3)
        .map(|_| connect(&listener, "10.9.0.1", "10.9.0.99:80"))
        .collect();
    node.install();
    node.pod("10.9.0.1", scope::ALL);
    let mut keeper = Keeper::new(&node);
    assert_eq!(keeper.bring_in().found, 3);
    assert_eq!((keeper.done.joined, keeper.done.opened), (6, 6));
    for (client, server) in &open {
        assert!(!crosses_lo(client, server));
    }
}

#[test]
fn bytes_under_way_keep_their_order() {
    let Some(node) = node("late_order") else {
        return;
    };
    let listener = listen(INBOUND);
    let (client, server) = connect(&listener, CLIENT, INBOUND);
    node.install();
    node.pod("10.9.0.1", scope::ALL);
    send(&client, b"unread");
    let mut keeper = Keeper::new(&node);
    keeper.bring_in();
    assert_eq!((keeper.done.joined, keeper.done.opened), (2, 2));
    // The reader is behind: by TCP, after what waits there.
    send(&client, b"first");
    assert_eq!(receive(&server, 11), b"unreadfirst");
    // From the other end on by the other queue.
    send(&server, b"back");
    assert_eq!(receive(&client, 4), b"back");
    // Sends that pass before a direction on TCP is looked at again.
    ping_pong(&client, &server, 10);
    assert!(!crosses_lo(&client, &server));
}

/// Begins (`-A`) or ends (`-D`) to lose what is sent to Envoy.
fn lose_packets(verb: &str) {
    let rule = format!("-w {verb} INPUT -p tcp --dport 15006 -j DROP");
    run("iptables", &rule);
}

/// An end that has sent what the other one has not got.
#[test]
fn bytes_on_the_way_are_not_passed() {
    let Some(node) = node("late_on_the_way") else {
        return;
    };
    let listener = listen(INBOUND);
    let (client, server) = connect(&listener, CLIENT, INBOUND);
    node.install();
    node.pod("10.9.0.1", scope::ALL);
    lose_packets("-A");
    send(&client, b"on the way, ");
    let mut keeper = Keeper::new(&node);
    keeper.bring_in();
    assert_eq!((keeper.done.joined, keeper.done.opened), (2, 2));
    send(&client, b"behind it");
    lose_packets("-D");
    assert_eq!(receive(&server, 21), b"on the way, behind it");
}

#[test]
fn nothing_comes_in_while_the_node_is_off() {
    let Some(node) = node("late_off") else {
        return;
    };
    let listener = listen(INBOUND);
    let (client, server) = connect(&listener, CLIENT, INBOUND);
    node.install();
    node.pod("10.9.0.1", scope::ALL);
    sockway_datapath::switch::node(&node.pins, true).expect("off");
    let mut keeper = Keeper::new(&node);
    keeper.bring_in();
    assert_eq!(keeper.done.joined, 0, "{:?}", keeper.done);
    assert_eq!(node.connection_rows()[0], 0);
    assert!(crosses_lo(&client, &server));
    sockway_datapath::switch::node(&node.pins, false).expect("on");
    keeper.bring_in();
    assert_eq!((keeper.done.joined, keeper.done.opened), (2, 2));
    assert!(!crosses_lo(&client, &server));
}

/// The keeper is told at once, not by its next look at every end.
#[test]
fn an_end_is_told_of_as_soon_as_its_program_is_known() {
    let Some(node) = node("late_event") else {
        return;
    };
    node.install();
    node.pod("10.9.0.1", scope::AUTO);
    let mut keeper = Keeper::new(&node);
    let listener = listen(INBOUND);
    let (client, server) = connect(&listener, CLIENT, INBOUND);
    // The read that decides is among these.
    let mut rounds = 0;
    let (took, told) = loop {
        ping_pong(&client, &server, 1);
        rounds += 1;
        let (took, told) = keeper.told(std::time::Duration::ZERO);
        if !told.joins.is_empty() {
            break (took, told);
        }
        assert!(rounds < 40, "never told");
    };
    assert!(took.as_millis() < 100, "{took:?}");
    // Client and server are known by the same round, or one of them was in from the start.
    ping_pong(&client, &server, 10);
    let mut more = keeper.told(std::time::Duration::ZERO).1;
    more.joins.extend(&told.joins);
    // Ends of the program that are never seen to read are looked at then, too.
    assert!(
        told.pass || more.pass,
        "nobody told that the program was proven"
    );
    let late = if node.comes_in_at_once() { 1 } else { 2 };
    assert_eq!(more.joins.len(), late, "{more:?}");
    let start = std::time::Instant::now();
    keeper.act(&more);
    keeper.settle(std::time::Duration::from_secs(10));
    assert_eq!((keeper.done.joined, keeper.done.opened), (late, late));
    println!("brought in {:?} after it was told", start.elapsed());
    ping_pong(&client, &server, 10);
    assert!(!crosses_lo(&client, &server));
    let stats = node.stats();
    assert_eq!(stats.left[Reason::Observed as usize], late as u64);
    assert_eq!(stats.joined_late[hop::INBOUND as usize], late as u64);
}
