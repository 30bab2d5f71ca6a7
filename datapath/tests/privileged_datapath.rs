//! The programs in the running kernel: joining, redirecting, order, back-pressure, life cycle.
//!
//! Needs root and the real eBPF object: `make test-privileged`.

#[path = "cases/ageing.rs"]
mod ageing;
mod support {
    #[path = "keeper.rs"]
    pub(crate) mod keeper;
    #[path = "measure.rs"]
    pub(crate) mod measure;
    #[path = "node.rs"]
    pub(crate) mod node;
    #[path = "threads.rs"]
    pub(crate) mod threads;
}
#[path = "cases/hammer.rs"]
mod hammer;
#[path = "cases/interleavings.rs"]
mod interleavings;
#[path = "cases/late/mod.rs"]
mod late;
#[path = "cases/limit.rs"]
mod limit;
#[path = "cases/pointers.rs"]
mod pointers;
#[path = "cases/pressure.rs"]
mod pressure;
#[path = "cases/readers.rs"]
mod readers;
#[path = "cases/waiting.rs"]
mod waiting;

use std::io::Write as _;

use sockway_common::counters::Reason;
use sockway_common::offsets::UNKNOWN;
use sockway_common::pair::hop;
use sockway_common::scope;
use sockway_datapath::kernel::{self, Found};
use sockway_datapath::{Datapath, Error};
use sockway_testkit::needs;
use sockway_testkit::ring::privileged;
use support::measure::{defer_accept, fill, lo_bytes};
use support::node::{Node, connect, dial, listen, message, receive, receive_all, send};

/// Sends that may pass between two looks at a direction on TCP.
const LOOK_AGAIN: usize = sockway_common::flow::MAX_BACKOFF as usize;
/// Messages that spend any credit.
const MANY: usize = 300;

const ADDRESSES: [&str; 6] = [
    "10.9.0.1/32",
    "10.9.0.2/32",
    "10.9.0.3/32",
    "127.0.0.6/32",
    "fd00::1/128",
    "fd00::2/128",
];

fn node(test: &str) -> Option<Node> {
    privileged(test)?;
    Some(Node::new(&ADDRESSES))
}

/// Echoes `rounds` messages of 1 KiB and checks them.
fn ping_pong(client: &socket2::Socket, server: &socket2::Socket, rounds: usize) {
    for round in 0..rounds {
        let sent = message(round, 1024);
        send(client, &sent);
        assert_eq!(
            receive_all(server, 1024),
            sent,
            "round {round}, towards the server"
        );
        send(server, &sent);
        assert_eq!(
            receive_all(client, 1024),
            sent,
            "round {round}, towards the client"
        );
    }
}

#[test]
fn every_family_is_joined_and_leaves_nothing() {
    let node = needs!(node("every_family"));
    node.install();
    node.pod("10.9.0.1", scope::ALL);
    node.pod("fd00::1", scope::ALL);
    let cases = [
        ("10.9.0.1:15006", "10.9.0.2", "10.9.0.1:15006", hop::INBOUND),
        (
            "[fd00::1]:15006",
            "fd00::2",
            "[fd00::1]:15006",
            hop::INBOUND,
        ),
        ("[::]:15006", "10.9.0.2", "10.9.0.1:15006", hop::INBOUND),
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
    for (at, from, to, hop) in cases {
        let before = node.stats();
        let listener = listen(at);
        let (client, server) = connect(&listener, from, to);
        let lo = lo_bytes();
        ping_pong(&client, &server, 100);
        assert_eq!(lo_bytes(), lo, "{at}: bytes crossed lo");
        drop((client, server, listener));
        let after = node.stats();
        let at_hop = hop as usize;
        assert_eq!(after.paired[at_hop], before.paired[at_hop] + 1, "{at}");
        assert_eq!(after.joined[at_hop], before.joined[at_hop] + 2, "{at}");
        for from_active in [true, false] {
            let way = hop::direction(hop, from_active) as usize;
            let messages = after.redirected_messages[way] - before.redirected_messages[way];
            assert_eq!(messages, 100, "{at}: redirected messages");
        }
        assert_eq!(node.connection_rows(), [0; 3], "{at}: rows left");
    }
}

#[test]
fn everything_else_is_left_alone() {
    let node = needs!(node("everything_else"));
    node.install();
    node.pod("10.9.0.1", scope::OFF);
    node.pod("10.9.0.2", scope::PROXY);
    let cases = [
        ("10.9.0.1:15006", "10.9.0.2", "10.9.0.1:15006"), // scope off
        ("[fd00::2]:15006", "fd00::1", "[fd00::2]:15006"), // not registered
        ("127.0.0.1:15001", "127.0.0.1", "127.0.0.1:15001"), // loopback to loopback
        ("127.0.0.1:8080", "10.9.0.1", "127.0.0.1:8080"), // no Envoy port
        ("127.0.0.1:15002", "10.9.0.2", "127.0.0.1:15002"), // no Envoy port of that pod either
        ("10.9.0.2:8080", "127.0.0.6", "10.9.0.2:8080"),  // proxy, and no hop between proxies
    ];
    for (at, from, to) in cases {
        let listener = listen(at);
        let (client, server) = connect(&listener, from, to);
        ping_pong(&client, &server, 3);
        assert_eq!(node.connection_rows()[0], 0, "{at}: in the sockhash");
    }
    assert_eq!(node.stats().paired, [0; hop::COUNT]);
}

#[test]
fn deferred_accept_keeps_its_order() {
    let node = needs!(node("deferred_accept"));
    node.install();
    node.pod("10.9.0.1", scope::ALL);
    let listener = listen("10.9.0.1:15006");
    defer_accept(&listener);
    for round in 0..50 {
        let client = dial("10.9.0.2", "10.9.0.1:15006");
        // The first message opens the server's end; the second must not pass it.
        let parts: Vec<_> = (0..8).map(|i| message(round * 8 + i, 100)).collect();
        for part in &parts {
            send(&client, part);
        }
        let (server, _) = listener.accept().expect("accept");
        server.set_nonblocking(true).expect("O_NONBLOCK");
        assert_eq!(receive(&server, 800), parts.concat(), "round {round}");
        // Everything sent so far is read: the direction may come back.
        ping_pong(&client, &server, 20);
    }
    let stats = node.stats();
    assert_ne!(
        stats.tcp_messages[Reason::NoPeer as usize],
        0,
        "the first message went by TCP"
    );
    assert_ne!(stats.resumed, 0, "a direction came back from TCP");
}

#[test]
fn a_reader_that_stops_stops_its_sender() {
    let node = needs!(node("back_pressure"));
    node.install();
    node.pod("10.9.0.1", scope::ALL);
    let listener = listen("10.9.0.1:15006");
    for size in [1, 1024, 64 * 1024] {
        let (client, server) = connect(&listener, "10.9.0.2", "10.9.0.1:15006");
        let part = message(size, size);
        let taken = fill(&client, &part, 64 << 20);
        assert!(
            taken < 16 << 20,
            "{size}-byte messages: {taken} bytes were taken"
        );
        let got = receive(&server, taken);
        assert_eq!(got.len(), taken);
        for (i, &byte) in got.iter().enumerate() {
            assert_eq!(
                byte,
                part[i % size],
                "{size}-byte messages: byte {i} of {taken}"
            );
        }
        // As many sends may pass before the direction is looked at again, and some more.
        ping_pong(&client, &server, LOOK_AGAIN + 10);
    }
    let stats = node.stats();
    assert_ne!(stats.tcp_messages[Reason::Backlog as usize], 0);
    assert_ne!(
        stats.resumed, 0,
        "the direction came back once the reader had read"
    );
}

#[test]
fn programs_are_watched_before_bytes_are_redirected_to_them() {
    let Some(node) = node("auto") else { return };
    node.install();
    node.pod("10.9.0.1", scope::AUTO);
    // Whether the connecting end, of which is known that it does not block, comes in unknown.
    let at_once = u64::from(node.comes_in_at_once());
    for (at, from, hop, known) in [
        ("10.9.0.1:8080", "127.0.0.6", hop::APP, 0),
        // By now its executable is known.
        ("127.0.0.1:15001", "10.9.0.1", hop::OUTBOUND, 1),
    ] {
        let at_hop = hop as usize;
        let listener = listen(at);
        let before = node.stats();
        let (client, server) = connect(&listener, from, at);
        let lo = lo_bytes();
        ping_pong(&client, &server, 20);
        assert!(lo_bytes() - lo > 20 * 2 * 1024, "{at}: nothing crossed lo");
        drop((client, server));
        let first = node.stats();
        assert_eq!(first.paired[at_hop], before.paired[at_hop] + 1, "{at}");
        assert_eq!(
            first.joined[at_hop],
            before.joined[at_hop] + at_once.max(known),
            "{at}"
        );
        assert_eq!(
            first.redirected_messages, before.redirected_messages,
            "{at}"
        );
        assert_eq!(
            first.left[Reason::Observed as usize],
            before.left[Reason::Observed as usize] + 2 - at_once.max(known),
            "{at}: the first connection is watched"
        );
        let (client, server) = connect(&listener, from, at);
        let lo = lo_bytes();
        ping_pong(&client, &server, 20);
        assert_eq!(lo_bytes(), lo, "{at}: the second one takes part");
        drop((client, server));
        let second = node.stats();
        assert_eq!(second.joined[at_hop], first.joined[at_hop] + 2, "{at}");
    }
}

#[test]
fn nothing_is_sent_after_a_shutdown() {
    let Some(node) = node("shutdown") else { return };
    node.install();
    node.pod("10.9.0.1", scope::ALL);
    let listener = listen("10.9.0.1:15006");
    let (client, server) = connect(&listener, "10.9.0.2", "10.9.0.1:15006");
    ping_pong(&client, &server, 5);
    send(&client, b"last");
    client
        .shutdown(std::net::Shutdown::Write)
        .expect("shutdown");
    let error = (&client)
        .write(b"late")
        .expect_err("a send after the own FIN");
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
    assert_eq!(receive(&server, 100), b"last");
    send(&server, b"answer");
    assert_eq!(
        receive(&client, 6),
        b"answer",
        "the other direction is still open"
    );
}

#[test]
fn blocking_applications_stay_on_tcp() {
    let Some(node) = node("blocking") else { return };
    node.install();
    node.pod("10.9.0.1", scope::AUTO);
    let listener = listen("10.9.0.1:8080");
    for _ in 0..5 {
        let client = dial("127.0.0.6", "10.9.0.1:8080");
        let (server, _) = listener.accept().expect("accept");
        let lo = lo_bytes();
        for round in 0..20 {
            send(&client, &message(round, 1024));
            assert_eq!(receive(&server, 1024), message(round, 1024));
            send(&server, &message(round, 1024));
            assert_eq!(receive_all(&client, 1024), message(round, 1024));
        }
        assert!(lo_bytes() - lo > 20 * 2 * 1024, "bytes do not cross lo");
        // The connecting end may: nothing is redirected to it, for the other one cannot send so.
        assert!(node.connection_rows()[0] <= 1);
    }
    let stats = node.stats();
    assert_eq!(stats.redirected_messages, [0; _]);
    assert_eq!(
        stats.left[Reason::Blocking as usize],
        4,
        "known after the first connection"
    );
}

#[test]
fn programs_are_replaced_and_taken_off_under_traffic() {
    let node = needs!(node("life_cycle"));
    node.install();
    node.pod("10.9.0.1", scope::ALL);
    let listener = listen("10.9.0.1:15006");
    let (client, server) = connect(&listener, "10.9.0.2", "10.9.0.1:15006");
    ping_pong(&client, &server, 10);
    send(&client, b"parked over the upgrade");
    for _ in 0..3 {
        let report = Datapath::install(&node.options()).expect("install again");
        assert!(report.replaced, "not replaced in place");
    }
    assert_eq!(receive(&server, 23), b"parked over the upgrade");
    let lo = lo_bytes();
    ping_pong(&client, &server, 10);
    assert_eq!(lo_bytes(), lo, "the old connection is no longer redirected");

    Datapath::detach(&node.pins).expect("detach");
    assert!(!Datapath::status(&node.pins).expect("status").attached);
    let (plain, plain_server) = connect(&listener, "10.9.0.2", "10.9.0.1:15006");
    let lo = lo_bytes();
    ping_pong(&plain, &plain_server, 10);
    assert_ne!(lo_bytes(), lo, "a new connection is still joined");
    ping_pong(&client, &server, 10);
    drop((client, server));
    assert_eq!(node.connection_rows()[0], 0, "drained");
    Datapath::remove(&node.pins).expect("remove");
    Datapath::remove(&node.pins).expect("remove what is gone");
    assert!(!node.pins.root().exists());
    assert!(matches!(
        Datapath::status(&node.pins),
        Err(Error::NotInstalled { .. })
    ));
}

#[test]
fn a_kernel_without_btf_loses_speed_only() {
    let node = needs!(node("without_btf"));
    let mut options = node.options();
    options.found = Some(Found::NONE);
    let report = Datapath::install(&options).expect("install");
    assert!(!report.limits.is_empty());
    node.pod("10.9.0.1", scope::ALL);
    let listener = listen("10.9.0.1:15006");
    let (client, server) = connect(&listener, "10.9.0.2", "10.9.0.1:15006");
    ping_pong(&client, &server, 10);
}

#[test]
fn kernels_without_msg_tot_len_count_the_queue() {
    let node = needs!(node("without_msg_tot_len"));
    let mut options = node.options();
    let mut found = kernel::read(None).expect("BTF");
    found.offsets.psock_msg_tot_len = UNKNOWN;
    options.found = Some(found);
    Datapath::install(&options).expect("install");
    node.pod("10.9.0.1", scope::ALL);
    let listener = listen("10.9.0.1:15006");
    let (client, server) = connect(&listener, "10.9.0.2", "10.9.0.1:15006");
    // More messages than are counted, but few bytes.
    let (lo, sent) = (lo_bytes(), message(2, 4000));
    for part in sent.chunks(20) {
        send(&client, part);
    }
    assert_eq!(lo_bytes(), lo, "bytes crossed lo");
    assert_eq!(receive(&server, sent.len()), sent);
    let taken = fill(&client, &message(1, 4096), 64 << 20);
    assert!(taken < 16 << 20, "{taken} bytes were taken");
    assert_eq!(receive(&server, taken).len(), taken);
    ping_pong(&client, &server, 100);
}

#[test]
fn a_directory_that_is_no_bpffs_is_refused() {
    let Some(node) = node("no_bpffs") else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let mut options = node.options();
    options.pins = sockway_datapath::Pins::new(dir.path().join("sockway"));
    let text = Datapath::install(&options)
        .expect_err("refused")
        .to_string();
    assert!(text.contains("mount -t bpf"), "{text}");
}
