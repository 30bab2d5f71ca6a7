//! Scope `auto`: applications of which something has to be learnt first.

use sockway_common::counters::Reason;
use sockway_common::scope;

use super::{crosses_lo, join, left};
use crate::support::node::{connect, listen};
use crate::{node, ping_pong};

#[test]
fn applications_are_brought_in_once_their_address_is_fit() {
    let Some(node) = node("existing_apps") else {
        return;
    };
    let listener = listen("10.9.0.1:8080");
    let [old, idle] = [(); 2].map(|()| connect(&listener, "127.0.0.6", "10.9.0.1:8080"));
    node.install();
    node.pod("10.9.0.1", scope::AUTO);
    for _ in 0..2 {
        let joined = join(&node);
        assert_eq!(joined.paired, 0, "{joined:?}");
        assert_eq!(left(&joined, Reason::Observed.name()), 2, "{joined:?}");
        let [sockets, _, watched] = node.connection_rows();
        assert_eq!((sockets, watched), (0, 4), "watched on TCP, both ends");
    }
    assert!(crosses_lo(&old.0, &old.1), "while it is watched");
    let joined = join(&node);
    assert_eq!(joined.paired, 2, "{joined:?}");
    for (client, server) in [&old, &idle] {
        assert!(!crosses_lo(client, server));
    }
    drop((old, idle));
    assert_eq!(node.connection_rows(), [0; 3]);
    assert_eq!(node.stats().closed, 4);
}

#[test]
fn applications_that_turn_out_unfit_stay_on_tcp() {
    let Some(node) = node("existing_unfit") else {
        return;
    };
    let listener = listen("10.9.0.1:8080");
    let (client, server) = connect(&listener, "127.0.0.6", "10.9.0.1:8080");
    node.install();
    node.pod("10.9.0.1", scope::AUTO);
    assert_eq!(left(&join(&node), Reason::Observed.name()), 1);
    server.set_nonblocking(false).expect("blocking");
    ping_pong(&client, &server, 20);
    server.set_nonblocking(true).expect("O_NONBLOCK");
    let joined = join(&node);
    assert_eq!(joined.paired, 0, "{joined:?}");
    assert_eq!(left(&joined, Reason::Blocking.name()), 1, "{joined:?}");
    assert!(crosses_lo(&client, &server));
    drop((client, server));
    assert_eq!(node.connection_rows(), [0; 3]);
}

/// Brought in by way of an address that was fit, then it blocks.
#[test]
fn applications_that_begin_to_block_leave_again() {
    let Some(node) = node("existing_turned") else {
        return;
    };
    let listener = listen("10.9.0.1:8080");
    let (client, server) = connect(&listener, "127.0.0.6", "10.9.0.1:8080");
    node.install();
    node.pod("10.9.0.1", scope::AUTO);
    join(&node);
    ping_pong(&client, &server, 20);
    assert_eq!(join(&node).paired, 1);
    assert!(!crosses_lo(&client, &server));
    server.set_nonblocking(false).expect("blocking");
    ping_pong(&client, &server, 20);
    assert_eq!(node.connection_rows()[0], 1, "only Envoy's end is left");
    assert!(crosses_lo(&client, &server));
}
