//! Applications that only TCP can serve, and those that change their ways, in the running kernel.

use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use socket2::Socket;
use sockway_common::counters::Reason;
use sockway_common::pair::hop;
use sockway_common::pod::OwnerKey;
use sockway_common::program::{SERVER, sign};
use sockway_common::scope;
use sockway_datapath::{Registry, switch};
use sockway_testkit::needs;
use sockway_testkit::ring::privileged;

use crate::support::keeper::Keeper;
use crate::support::measure::{set_option, until};
use crate::support::node::{Node, connect, listen, message, receive, receive_all, send};

const ADDRESSES: [&str; 3] = ["10.9.0.1/32", "10.9.0.2/32", "127.0.0.6/32"];
/// Envoy's end of the hop to its application.
const ENVOY: &str = "127.0.0.6";
const APPLICATION: &str = "10.9.0.1:8080";
/// Reads after which an address is known as fit, and some.
const ROUNDS: usize = 20;

fn node(test: &str) -> Option<Node> {
    privileged(test)?;
    let node = Node::new(&ADDRESSES);
    node.install();
    node.pod("10.9.0.1", scope::AUTO);
    Some(node)
}

fn ping_pong(envoy: &Socket, app: &Socket) {
    for round in 0..ROUNDS {
        let sent = message(round, 64);
        send(envoy, &sent);
        assert_eq!(receive_all(app, 64), sent);
        send(app, &sent);
        assert_eq!(receive_all(envoy, 64), sent);
    }
}

/// Messages that were redirected to the application so far.
fn to_application(node: &Node) -> u64 {
    let way = hop::direction(hop::APP, true);
    node.stats().redirected_messages[way as usize]
}

/// Joined ends of a connection to an application that was found fit: Envoy's, then its own.
fn joined(node: &Node, listener: &Socket) -> (Socket, Socket) {
    let (envoy, app) = connect(listener, ENVOY, APPLICATION);
    ping_pong(&envoy, &app);
    drop((envoy, app));
    let before = node.stats().joined[hop::APP as usize];
    let (envoy, app) = connect(listener, ENVOY, APPLICATION);
    ping_pong(&envoy, &app);
    assert_eq!(node.stats().joined[hop::APP as usize], before + 2, "joined");
    (envoy, app)
}

/// The next connection's end at the application stays out, for this reason.
fn left(node: &Node, listener: &Socket, reason: Reason) {
    let before = node.stats();
    let redirected = to_application(node);
    let (envoy, app) = connect(listener, ENVOY, APPLICATION);
    ping_pong(&envoy, &app);
    let after = node.stats();
    assert_eq!(to_application(node), redirected);
    let reason = reason as usize;
    assert_eq!(after.left[reason], before.left[reason] + 1);
}

/// Whether the program at a port has a sign.
fn has(node: &Node, port: u32, sign: usize) -> bool {
    let rows = node.programs(SERVER, port);
    rows.iter().any(|row| row.signs[sign] != 0)
}

#[test]
fn options_that_only_tcp_serves_show_while_watched() {
    let Some(node) = node("options") else { return };
    let options = [
        (8081, libc::SOL_SOCKET, libc::SO_TIMESTAMP),
        (8082, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS),
        (8083, libc::SOL_SOCKET, libc::SO_ZEROCOPY),
        (8084, libc::IPPROTO_TCP, libc::TCP_INQ),
    ];
    for (port, level, option) in options {
        let at = format!("10.9.0.1:{port}");
        let listener = listen(&at);
        for _ in 0..2 {
            let (envoy, app) = connect(&listener, ENVOY, &at);
            set_option(&app, level, option, 1);
            ping_pong(&envoy, &app);
        }
        assert_eq!(to_application(&node), 0, "{at}");
        assert!(has(&node, port, sign::TCP_ONLY), "{at}");
    }
}

#[test]
fn urgent_data_goes_by_tcp() {
    let Some(node) = node("urgent") else { return };
    let listener = listen(APPLICATION);
    let (envoy, app) = joined(&node, &listener);
    app.send_out_of_band(b"!").expect("send MSG_OOB");
    let mut byte = [std::mem::MaybeUninit::new(0)];
    until("the urgent byte", || {
        envoy.recv_out_of_band(&mut byte).is_ok()
    });
    send(&app, b"after");
    assert_eq!(receive(&envoy, 5), b"after");
    drop((envoy, app));
    assert_eq!(node.stats().tcp_messages[Reason::Guarded as usize], 2);
    assert!(has(&node, 8080, sign::URGENT));
    left(&node, &listener, Reason::Guarded);
}

#[test]
fn an_application_that_begins_to_block_leaves_the_sockhash() {
    let node = needs!(node("blocks_late"));
    let mut keeper = Keeper::new(&node);
    let listener = listen(APPLICATION);
    let (envoy, app) = joined(&node, &listener);
    send(&envoy, b"redirected, ");
    app.set_nonblocking(false).expect("clear O_NONBLOCK");
    send(&envoy, b"by TCP, ");
    // Bytes wait in the redirected queue: the socket must stay where it is.
    send(&app, b"an acknowledgement");
    assert_eq!(receive(&envoy, 18), b"an acknowledgement");
    keeper.settle(Duration::from_millis(100));
    assert_eq!(keeper.done.left, 0);
    assert_eq!(node.connection_rows()[0], 2);
    assert_eq!(receive(&app, 20), b"redirected, by TCP, ");
    keeper.settle(Duration::from_secs(10));
    assert_eq!(keeper.done.left, 1);
    assert_eq!(node.connection_rows()[0], 1);
    app.set_nonblocking(true).expect("O_NONBLOCK");
    ping_pong(&envoy, &app);
    drop((envoy, app));
    assert_ne!(node.stats().tcp_messages[Reason::Blocking as usize], 0);
    left(&node, &listener, Reason::Blocking);
    until("no rows left", || node.connection_rows() == [0; 3]);
}

#[test]
fn a_reset_connection_leaves_the_sockhash() {
    let Some(node) = node("reset") else { return };
    let listener = listen(APPLICATION);
    let (envoy, app) = joined(&node, &listener);
    envoy.set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
    drop(envoy);
    until("the other end leaves", || node.connection_rows()[0] == 0);
    let error = app.send(b"x").expect_err("reset");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    let error = app.send(b"x").expect_err("reset before");
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);

    // What waits in the redirected queue is not given up for it.
    let (envoy, app) = joined(&node, &listener);
    send(&envoy, b"still to be read");
    envoy.set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
    drop(envoy);
    assert_eq!(receive(&app, 16), b"still to be read");
    let mut keeper = Keeper::new(&node);
    until("it leaves once that was read", || {
        keeper.turn();
        node.connection_rows()[0] == 0
    });
}

/// A listening socket that another executable serves from now on.
#[test]
fn another_executable_is_not_the_program_that_was_known() {
    let node = needs!(node("inherited"));
    let listener = listen(APPLICATION);
    drop(joined(&node, &listener));
    assert!(!has(&node, 8080, sign::OTHER_PROGRAM));
    let (envoy, app) = connect(&listener, ENVOY, APPLICATION);
    // Read by TCP, where reads are seen: the first message of a connection is, for it is older
    // than the end that accepts.
    switch::node(&node.pins, true).expect("off");
    send(&envoy, b"to somebody else");
    let input = Stdio::from(app.as_fd().try_clone_to_owned().expect("dup"));
    let cat = if Path::new("/bin/cat").exists() {
        Command::new("/bin/cat").stdin(input).output()
    } else {
        let mut busybox = Command::new("/bin/busybox");
        busybox.arg("cat").stdin(input).output()
    };
    // It ends at the first EAGAIN.
    assert_eq!(cat.expect("run cat").stdout, b"to somebody else");
    switch::node(&node.pins, false).expect("on");
    assert!(has(&node, 8080, sign::OTHER_PROGRAM));
    let before = to_application(&node);
    ping_pong(&envoy, &app);
    drop((envoy, app));
    let (envoy, app) = connect(&listener, ENVOY, APPLICATION);
    ping_pong(&envoy, &app);
    drop((envoy, app));
    assert_eq!(to_application(&node), before);
}

/// What is known is known of one pod's programs.
#[test]
fn an_address_that_another_pod_gets_is_unknown() {
    let node = needs!(node("another_pod"));
    let listener = listen(APPLICATION);
    drop(joined(&node, &listener));
    let before = to_application(&node);
    let mut registry = Registry::open(&node.pins).expect("open");
    let old = OwnerKey::new("10.9.0.1", "eth0");
    registry.unregister(&old, &[]).expect("unregister");
    node.pod_of("another", "10.9.0.1", scope::AUTO);
    let (envoy, app) = connect(&listener, ENVOY, APPLICATION);
    for round in 0..4 {
        let sent = message(round, 64);
        send(&envoy, &sent);
        assert_eq!(receive_all(&app, 64), sent);
        send(&app, &sent);
        assert_eq!(receive_all(&envoy, 64), sent);
    }
    drop((envoy, app));
    assert_eq!(to_application(&node), before, "nothing is known of it");
    drop(joined(&node, &listener));
    assert_ne!(to_application(&node), before, "until it is");
}
