//! Scope `auto`: applications of which something has to be learnt first.

use sockway_common::counters::Reason;
use sockway_common::end::ACTIVE;
use sockway_common::scope;
use sockway_datapath::stats;

use super::{crosses_lo, crosses_lo_in};
use crate::support::keeper::Keeper;
use crate::support::node::{connect, dial_blocking, listen, message, receive, receive_all, send};
use crate::{node, ping_pong};

const APPLICATION: &str = "10.9.0.1:8080";
const ENVOY: &str = "127.0.0.6";

#[test]
fn applications_are_brought_in_once_they_are_known() {
    let Some(node) = node("late_apps") else {
        return;
    };
    let listener = listen(APPLICATION);
    let [old, idle] = [(); 2].map(|()| connect(&listener, ENVOY, APPLICATION));
    node.install();
    node.pod("10.9.0.1", scope::AUTO);
    let at_once = node.comes_in_at_once();
    let mut keeper = Keeper::new(&node);
    for _ in 0..2 {
        keeper.bring_in();
        let [sockets, _, ends] = node.connection_rows();
        assert_eq!(ends, 4, "watched, both ends");
        // Of an open end is known that it does not block.
        assert_eq!(sockets, if at_once { 4 } else { 0 });
    }
    // Fewer than make a program known; where ends come in at once the rest of these is redirected.
    assert!(crosses_lo_in(&old.0, &old.1, 5), "while it is watched");
    ping_pong(&old.0, &old.1, 45);
    keeper.settle(std::time::Duration::from_secs(10));
    ping_pong(&old.0, &old.1, 10);
    assert!(!crosses_lo(&old.0, &old.1));
    // Whose executable connected the other one is seen by its first read only.
    keeper.pass();
    ping_pong(&idle.0, &idle.1, 10);
    keeper.pass();
    keeper.settle(std::time::Duration::from_secs(10));
    assert_eq!((keeper.done.joined, keeper.done.opened), (4, 4));
    ping_pong(&idle.0, &idle.1, 10);
    assert!(!crosses_lo(&idle.0, &idle.1));
    drop((old, idle));
    keeper.forget();
    assert_eq!(node.connection_rows(), [0; 3]);
}

#[test]
fn applications_that_turn_out_unfit_are_sent_to_by_tcp() {
    let Some(node) = node("late_unfit") else {
        return;
    };
    let listener = listen(APPLICATION);
    let (client, server) = connect(&listener, ENVOY, APPLICATION);
    node.install();
    node.pod("10.9.0.1", scope::AUTO);
    let mut keeper = Keeper::new(&node);
    keeper.adopt();
    server.set_nonblocking(false).expect("blocking");
    for round in 0..20 {
        let sent = message(round, 1024);
        send(&client, &sent);
        assert_eq!(receive(&server, 1024), sent);
        send(&server, &sent);
        assert_eq!(receive_all(&client, 1024), sent);
    }
    server.set_nonblocking(true).expect("O_NONBLOCK");
    keeper.pass();
    keeper.settle(std::time::Duration::from_secs(10));
    assert!(keeper.done.joined <= 1, "{:?}", keeper.done);
    assert!(crosses_lo(&client, &server));
    assert_eq!(node.stats().redirected_messages, [0; _]);
}

/// Brought in as its program was fit, then it blocks.
#[test]
fn applications_that_begin_to_block_leave_again() {
    let Some(node) = node("late_turned") else {
        return;
    };
    let listener = listen(APPLICATION);
    let (client, server) = connect(&listener, ENVOY, APPLICATION);
    node.install();
    node.pod("10.9.0.1", scope::AUTO);
    let mut keeper = Keeper::new(&node);
    keeper.adopt();
    ping_pong(&client, &server, 20);
    keeper.pass();
    keeper.settle(std::time::Duration::from_secs(10));
    assert_eq!(keeper.done.opened, 2);
    ping_pong(&client, &server, 10);
    assert!(!crosses_lo(&client, &server));
    server.set_nonblocking(false).expect("blocking");
    for round in 0..20 {
        let sent = message(round, 1024);
        send(&client, &sent);
        assert_eq!(receive(&server, 1024), sent);
        send(&server, &sent);
        assert_eq!(receive_all(&client, 1024), sent);
    }
    keeper.settle(std::time::Duration::from_secs(10));
    assert_eq!(keeper.done.left, 1);
    keeper.pass();
    keeper.settle(std::time::Duration::from_secs(10));
    assert_eq!(keeper.done.left, 2, "Envoy's end would be alone");
    assert_eq!(node.connection_rows()[0], 0);
    let ends = stats::ends(&node.pins).expect("list ends");
    let of = |role| ends.iter().find(|(_, row)| row.role & ACTIVE == role);
    for (role, alone) in [(0, 0), (ACTIVE, 1)] {
        let (_, row) = of(role).expect("its row");
        assert_eq!((row.why, row.alone), (Reason::Blocking as u32, alone));
    }
    assert_eq!(keeper.pass().joined, 0, "it stays out");
    let messages = node.stats().redirected_messages;
    server.set_nonblocking(true).expect("O_NONBLOCK");
    assert!(crosses_lo(&client, &server));
    assert_eq!(node.stats().redirected_messages, messages);
}

/// An end is not in the sockhash for nothing: it leaves where the other one blocks, and comes back together with it.
#[test]
fn an_end_comes_in_together_with_the_one_that_blocked() {
    let Some(node) = node("late_alone") else {
        return;
    };
    let listener = listen(APPLICATION);
    node.install();
    node.pod("10.9.0.1", scope::AUTO);
    let mut keeper = Keeper::new(&node);
    let known = connect(&listener, ENVOY, APPLICATION);
    ping_pong(&known.0, &known.1, 40);
    keeper.pass();
    keeper.settle(std::time::Duration::from_secs(10));
    drop(known);
    assert_eq!(node.connection_rows()[0], 0);
    // It reads nothing, so its program is not seen to block.
    let client = dial_blocking(ENVOY, APPLICATION);
    let (server, _) = listener.accept().expect("accept");
    server.set_nonblocking(true).expect("O_NONBLOCK");
    let bytes = message(1, 1024);
    for _ in 0..10 {
        send(&client, &bytes);
        assert_eq!(receive_all(&server, 1024), bytes);
    }
    for _ in 0..2 {
        keeper.pass();
        keeper.settle(std::time::Duration::from_secs(10));
        assert_eq!(node.connection_rows()[0], 0, "both ends are out");
    }
    client.set_nonblocking(true).expect("O_NONBLOCK");
    // The read that shows it has both come in.
    ping_pong(&client, &server, 5);
    keeper.settle(std::time::Duration::from_secs(10));
    assert_eq!(node.connection_rows()[0], 2, "{:?}", keeper.done);
    ping_pong(&client, &server, 10);
    assert!(!crosses_lo(&client, &server));
}
