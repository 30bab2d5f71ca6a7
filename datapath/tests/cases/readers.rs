//! Applications that only TCP can serve, and those that change their ways, in the running kernel.

use std::time::Duration;

use socket2::Socket;
use sockway_common::counters::Reason;
use sockway_common::pair::hop;
use sockway_common::scope;

use crate::support::bpffs::privileged;
use crate::support::measure::{set_option, until};
use crate::support::node::{Node, connect, listen, message, receive, send};

const ADDRESSES: [&str; 3] = ["10.9.0.1/32", "10.9.0.2/32", "127.0.0.6/32"];
/// Envoy's end of the hop to its application.
const ENVOY: &str = "127.0.0.6";
const APPLICATION: &str = "10.9.0.1:8080";
/// Reads after which an address is known as fit, and some.
const ROUNDS: usize = 20;

fn node(test: &str) -> Option<Node> {
    if !privileged(test) {
        return None;
    }
    let node = Node::new(&ADDRESSES);
    node.install();
    node.pod("10.9.0.1", scope::AUTO);
    Some(node)
}

fn ping_pong(envoy: &Socket, app: &Socket) {
    for round in 0..ROUNDS {
        let sent = message(round, 64);
        send(envoy, &sent);
        assert_eq!(receive(app, 64), sent);
        send(app, &sent);
        assert_eq!(receive(envoy, 64), sent);
    }
}

/// Joined ends of a connection to an application that was found fit: Envoy's, then its own.
fn joined(node: &Node, listener: &Socket) -> (Socket, Socket) {
    let (envoy, app) = connect(listener, ENVOY, APPLICATION);
    ping_pong(&envoy, &app);
    drop((envoy, app));
    let before = node.stats().paired[hop::APP as usize];
    let (envoy, app) = connect(listener, ENVOY, APPLICATION);
    ping_pong(&envoy, &app);
    assert_eq!(node.stats().paired[hop::APP as usize], before + 1, "joined");
    (envoy, app)
}

/// The next connection to the application is left to TCP as a whole, for this reason.
fn left(node: &Node, listener: &Socket, reason: Reason) {
    let before = node.stats();
    let (envoy, app) = connect(listener, ENVOY, APPLICATION);
    ping_pong(&envoy, &app);
    let after = node.stats();
    assert_eq!(after.paired, before.paired);
    let reason = reason as usize;
    assert_eq!(after.left[reason], before.left[reason] + 1);
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
        let before = node.stats();
        for _ in 0..2 {
            let (envoy, app) = connect(&listener, ENVOY, &at);
            set_option(&app, level, option, 1);
            ping_pong(&envoy, &app);
        }
        let after = node.stats();
        assert_eq!(after.paired, before.paired, "{at}");
        let guarded = Reason::Guarded as usize;
        assert_eq!(after.left[guarded], before.left[guarded] + 1, "{at}");
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
    left(&node, &listener, Reason::Guarded);
}

#[test]
fn an_application_that_begins_to_block_leaves_the_sockhash() {
    let Some(node) = node("blocks_late") else {
        return;
    };
    let listener = listen(APPLICATION);
    let (envoy, app) = joined(&node, &listener);
    send(&envoy, b"redirected, ");
    app.set_nonblocking(false).expect("clear O_NONBLOCK");
    send(&envoy, b"by TCP, ");
    // Bytes wait in the redirected queue: the socket must stay where it is.
    send(&app, b"an acknowledgement");
    assert_eq!(receive(&envoy, 18), b"an acknowledgement");
    assert_eq!(node.connection_rows()[0], 2);
    assert_eq!(receive(&app, 20), b"redirected, by TCP, ");
    // Whatever it sends from now on may carry it out.
    until("the socket leaves the sockhash", || {
        send(&envoy, b"more");
        assert_eq!(receive(&app, 4), b"more");
        node.connection_rows()[0] == 1
    });
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
}
