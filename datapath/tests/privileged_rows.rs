//! What maps hold when things go wrong: full, detached, handshakes that never end.
//!
//! Needs root and the real eBPF object: `make test-privileged`.

mod support {
    #[allow(dead_code, reason = "not every test measures everything")]
    #[path = "measure.rs"]
    pub(crate) mod measure;
    #[path = "node.rs"]
    pub(crate) mod node;
    #[allow(dead_code, reason = "not every test pins")]
    #[path = "threads.rs"]
    pub(crate) mod threads;
}

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use aya::maps::{HashMap, Map, MapData};
use socket2::{Domain, Protocol, Socket, Type};
use sockway_common::counters::Reason;
use sockway_common::end::EndRow;
use sockway_common::layout::{ENDS, MAX_PROGRAMS, PENDING, PROGRAMS};
use sockway_common::pair::{PendingRow, SeqKey, hop};
use sockway_common::program::{ProgramKey, ProgramRow};
use sockway_common::scope;
use sockway_datapath::sweep::Handshakes;
use sockway_datapath::{Datapath, stats};
use sockway_testkit::needs;
use sockway_testkit::ring::privileged;
use support::measure::defer_accept;
use support::node::{Node, causes, connect, dial, listen, message, receive, send};
use support::threads::AtEnd;

/// Two pods, Envoy's source address, and a host that never answers.
const ADDRESSES: [&str; 3] = ["10.9.0.1/32", "10.9.0.2/32", "127.0.0.6/32"];
const SILENT: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 99);
const ENVOY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 9, 0, 1), 15006);
/// The fewest that `sockway install` takes.
const FEW: u32 = 16;

fn node(test: &str) -> Option<Node> {
    privileged(test).map(|()| Node::new(&ADDRESSES))
}

fn exchange(ends: &(Socket, Socket), number: usize) {
    let (client, server) = ends;
    for (from, to) in [(client, server), (server, client)] {
        let sent = message(number, 1024);
        send(from, &sent);
        assert_eq!(receive(to, 1024), sent, "connection {number}");
    }
}

#[test]
fn a_full_sockhash_means_tcp_and_a_counter() {
    let node = needs!(node("a_full_sockhash"));
    let mut options = node.options();
    options.max_connections = FEW;
    Datapath::install(&options).unwrap_or_else(|e| panic!("install: {}", causes(&e)));
    node.pod("10.9.0.1", scope::ALL);
    let listener = listen("10.9.0.1:15006");
    let capacity = stats::capacity(&node.pins, "sockets").unwrap() as usize;
    assert_eq!(capacity, 2 * FEW as usize);
    let mut open = Vec::new();
    for number in 0..3 * FEW as usize {
        open.push(connect(&listener, "10.9.0.2", "10.9.0.1:15006"));
        exchange(&open[number], number);
    }
    // Those that were there before the map was full are not disturbed either.
    for (number, ends) in open.iter().enumerate() {
        exchange(ends, number);
    }
    let full = node.stats();
    assert_eq!(node.connection_rows()[0], capacity, "rows of the sockhash");
    assert_eq!(full.paired[hop::INBOUND as usize], u64::from(FEW));
    assert_eq!(
        full.left[Reason::NotInserted as usize],
        2 * u64::from(FEW),
        "connections left to TCP"
    );
    open.clear();
    assert_eq!(node.connection_rows(), [0; 3], "rows left");
    exchange(&connect(&listener, "10.9.0.2", "10.9.0.1:15006"), 0);
    let again = node.stats().paired[hop::INBOUND as usize];
    assert_eq!(again, u64::from(FEW) + 1, "joined once there is room");
}

/// A pod that shows ever new programs: `programs` makes room by use, and those of others are in use.
#[test]
fn a_flood_of_programs_leaves_those_that_read() {
    let node = needs!(node("flood_of_programs"));
    node.install();
    node.pod("10.9.0.1", scope::AUTO);
    let listener = listen("10.9.0.1:15006");
    let ends = connect(&listener, "10.9.0.2", "10.9.0.1:15006");
    for number in 0..32 {
        exchange(&ends, number);
    }
    let known: Vec<ProgramKey> = stats::programs(&node.pins)
        .unwrap()
        .into_iter()
        .map(|(key, _)| key)
        .collect();
    assert!(!known.is_empty(), "nothing is known of who read");
    // Each of them shows two programs: a listener, and a port that was dialled.
    for number in 0..MAX_PROGRAMS * 3 / 4 {
        let listener = listen("10.9.0.1:0");
        let at = listener
            .local_addr()
            .unwrap()
            .as_socket()
            .unwrap()
            .to_string();
        exchange(&connect(&listener, "127.0.0.6", &at), number);
        if number % 256 == 0 {
            exchange(&ends, number);
        }
    }
    let map = Map::LruHashMap(MapData::from_pin(node.pins.map(PROGRAMS)).unwrap());
    let map: HashMap<_, ProgramKey, ProgramRow> = HashMap::try_from(map).unwrap();
    let rows = map.keys().count();
    assert!(rows > MAX_PROGRAMS / 2, "{rows} rows: no flood");
    let still: Vec<bool> = known.iter().map(|key| map.get(key, 0).is_ok()).collect();
    assert!(still.iter().all(|there| *there), "{still:?} of {known:?}");
}

#[test]
fn rows_of_what_ended_while_detached_go_with_the_next_install() {
    let node = needs!(node("ended_while_detached"));
    node.install();
    node.pod("10.9.0.1", scope::AUTO);
    let (envoy, app) = (listen("10.9.0.1:15006"), listen("10.9.0.1:8080"));
    // Scope `auto` only watches the first connections, of both applications.
    let quiet = connect(&app, "127.0.0.6", "10.9.0.1:8080");
    let watched = connect(&envoy, "10.9.0.2", "10.9.0.1:15006");
    half_open();
    // Connecting ends may come in unknown on some kernels.
    let joined = if node.comes_in_at_once() { 2 } else { 0 };
    assert_eq!(
        node.connection_rows(),
        [joined, 1, 4],
        "a handshake, two watched connections"
    );
    Datapath::detach(&node.pins).unwrap();
    drop((quiet, watched));
    assert_eq!(node.connection_rows(), [0, 1, 4], "nobody saw them end");
    let kept = connect(&envoy, "10.9.0.2", "10.9.0.1:15006");
    node.install();
    assert_eq!(node.connection_rows(), [0; 3], "rows left");
    exchange(&kept, 1);
}

#[test]
fn a_joined_connection_outlives_a_detachment() {
    let node = needs!(node("outlives_a_detachment"));
    node.install();
    node.pod("10.9.0.1", scope::ALL);
    let listener = listen("10.9.0.1:15006");
    let kept = connect(&listener, "10.9.0.2", "10.9.0.1:15006");
    let ends = connect(&listener, "10.9.0.2", "10.9.0.1:15006");
    assert_eq!(node.connection_rows(), [4, 0, 4]);
    Datapath::detach(&node.pins).unwrap();
    drop(ends);
    assert_eq!(node.connection_rows(), [2, 0, 4], "two rows are nobody's");
    node.install();
    assert_eq!(node.connection_rows(), [2, 0, 2], "the live ones stay");
    exchange(&kept, 1);
    drop(kept);
    assert_eq!(redirected(&node), [1, 1]);
    assert_eq!(node.connection_rows(), [0; 3], "rows left");
}

/// Messages redirected to the Envoy, and from it.
fn redirected(node: &Node) -> [u64; 2] {
    let messages = node.stats().redirected_messages;
    [true, false].map(|from_active| messages[hop::direction(hop::INBOUND, from_active) as usize])
}

#[test]
fn handshakes_that_never_end_are_swept() {
    let node = needs!(node("handshakes"));
    node.install();
    node.pod("10.9.0.1", scope::ALL);
    let listener = listen("10.9.0.1:15006");
    let mut handshakes = Handshakes::default();
    half_open();
    assert_eq!(handshakes.turn(&node.pins).unwrap(), 0, "it may still end");
    let ends = connect(&listener, "10.9.0.2", "10.9.0.1:15006");
    assert_eq!(node.connection_rows(), [2, 1, 2]);
    assert_eq!(handshakes.turn(&node.pins).unwrap(), 1, "it did not");
    assert_eq!(node.connection_rows(), [2, 0, 2]);
    assert_eq!(handshakes.turn(&node.pins).unwrap(), 0);
    exchange(&ends, 1);
    drop(ends);
    assert_eq!(redirected(&node), [1, 1]);
}

/// An LRU map gives the memory of a row that it evicts to the next one at once: a program that
/// still holds the old row could write its socket into the new one.
#[test]
fn a_row_that_names_another_connections_end_is_not_believed() {
    let node = needs!(node("another_connections_end"));
    node.install();
    node.pod("10.9.0.1", scope::ALL);
    let listener = listen("10.9.0.1:15006");
    // The accepting end is established by the first bytes only.
    defer_accept(&listener);
    let clients = [0; 2].map(|_| dial("10.9.0.2", "10.9.0.1:15006"));
    let pinned = MapData::from_pin(node.pins.map(PENDING)).unwrap();
    let mut pending: HashMap<_, SeqKey, PendingRow> =
        HashMap::try_from(Map::LruHashMap(pinned)).unwrap();
    let rows: Vec<_> = pending.iter().map(Result::unwrap).collect();
    let [(key, mut row), (other_key, mut other)] = rows[..] else {
        panic!("{} rows", rows.len());
    };
    assert_ne!(row.active_cookie, 0);
    std::mem::swap(&mut row.active_cookie, &mut other.active_cookie);
    std::mem::swap(&mut row.active_sock, &mut other.active_sock);
    pending.insert(key, row, 0).unwrap();
    pending.insert(other_key, other, 0).unwrap();
    for (number, client) in clients.iter().enumerate() {
        let sent = message(number, 1024);
        send(client, &sent);
        let (server, _) = listener.accept().expect("accept");
        server.set_nonblocking(true).expect("O_NONBLOCK");
        assert_eq!(receive(&server, 1024), sent, "its own bytes");
        send(&server, &sent);
        assert_eq!(receive(client, 1024), sent, "its own answer");
    }
    drop(clients);
    let stats = node.stats();
    assert_eq!(stats.left[Reason::NoPeer as usize], 2);
    assert_eq!(stats.redirected_messages, [0; _]);
    assert_eq!(node.connection_rows(), [0; 3], "rows left");
}

/// Listing ends, and has every row that stays once, whatever others write meanwhile.
#[test]
fn rows_are_listed_once_under_churn() {
    const STAY: u64 = 200;
    const WRITERS: u64 = 3;
    const LISTS: usize = 200;
    let node = needs!(node("churn"));
    node.install();
    let open = || -> HashMap<MapData, u64, EndRow> {
        let pinned = MapData::from_pin(node.pins.map(ENDS)).unwrap();
        HashMap::try_from(Map::HashMap(pinned)).unwrap()
    };
    let mut ends = open();
    for cookie in 0..STAY {
        ends.insert(cookie, EndRow::default(), 0).unwrap();
    }
    let end = AtomicBool::new(false);
    thread::scope(|threads| {
        for writer in 1..=WRITERS {
            let (mut ends, end) = (open(), &end);
            threads.spawn(move || {
                // In every bucket, and never for long.
                for number in (writer * 1_000_000..).step_by(1) {
                    ends.insert(number, EndRow::default(), 0).unwrap();
                    ends.remove(&(number - 50)).ok();
                    if end.load(Ordering::Acquire) {
                        return;
                    }
                }
            });
        }
        let _at_end = AtEnd(&end);
        let start = Instant::now();
        for list in 0..LISTS {
            let rows = stats::ends(&node.pins).unwrap();
            let stays = rows.iter().filter(|(cookie, _)| *cookie < STAY);
            let mut stays: Vec<u64> = stays.map(|(cookie, _)| *cookie).collect();
            stays.sort_unstable();
            assert!(stays.into_iter().eq(0..STAY), "list {list}");
            assert!(rows.len() < 1000, "list {list}: {} rows", rows.len());
            assert!(start.elapsed() < Duration::from_mins(1), "list {list}");
        }
    });
}

/// A SYN to the Envoy from a host that answers nothing.
fn half_open() {
    // A route, or the kernel drops the SYN; the host's answers end at `lo`.
    let route = ["route", "replace", &SILENT.to_string(), "dev", "lo"];
    let status = Command::new("ip").args(route).status().expect("run ip");
    assert!(status.success(), "ip route: {status}");
    let raw = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::TCP)).expect("raw socket");
    raw.set_header_included_v4(true).expect("IP_HDRINCL");
    let to = SocketAddr::V4(SocketAddrV4::new(*ENVOY.ip(), 0));
    raw.send_to(&syn(), &to.into()).expect("send a SYN");
}

/// IPv4 (RFC 791) and TCP (RFC 9293) header of a SYN, in network byte order.
fn syn() -> [u8; 40] {
    let (source, target) = (SILENT.octets(), ENVOY.ip().octets());
    let mut packet = [0; 40];
    packet[..4].copy_from_slice(&[0x45, 0, 0, 40]);
    packet[8..10].copy_from_slice(&[64, 6]); // TTL, TCP
    packet[12..16].copy_from_slice(&source);
    packet[16..20].copy_from_slice(&target);
    packet[20..22].copy_from_slice(&40_000_u16.to_be_bytes());
    packet[22..24].copy_from_slice(&ENVOY.port().to_be_bytes());
    packet[24..28].copy_from_slice(&0x5357_5931_u32.to_be_bytes());
    packet[32..36].copy_from_slice(&[0x50, 0x02, 0xff, 0xff]); // 20 bytes, SYN, window
    let words = packet[12..].chunks_exact(2);
    let sum: u32 = words
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum::<u32>()
        + 6
        + 20;
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    let check = !u16::try_from(folded).expect("folded twice");
    packet[36..38].copy_from_slice(&check.to_be_bytes());
    packet
}
