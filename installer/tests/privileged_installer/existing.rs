//! Connections that are older than the install.

use std::fs;
use std::time::Duration;

use super::keeper::{Keeper, until};
use super::node::Node;
use super::traffic::Connection;

/// A busy machine may need more than one look.
const LIMIT: Duration = Duration::from_mins(2);

#[test]
fn connections_that_were_there_before() {
    let Some(node) = Node::new("connections_that_were_there_before") else {
        return;
    };
    node.cache_pod();
    let mut connection = Connection::open();
    connection.echo();
    let report = node.json(&["install"], 0);
    assert_eq!(
        report["pods"].get("existing"),
        None,
        "only where it is asked for"
    );
    let bring_in = ["reconcile", "--existing-connections"];
    let report = node.json(&bring_in, 0);
    assert_eq!(report["existing"]["left"]["blocking"], 1, "{report}");
    connection.set_nonblocking(true);
    let said = node.run(&bring_in, 0);
    assert!(said.contains("1 connections found, 1 brought in"), "{said}");
    connection.set_nonblocking(false);
    for _ in 0..100 {
        connection.echo();
    }
    let status = node.json(&["status"], 0);
    assert_eq!(status["connections"], 1);
    assert_eq!(status["figures"]["total"]["joined"], 1);
    drop(connection);
    let pods = node.json(&["pods"], 0);
    let redirected = pods[0]["redirected_bytes"].as_u64().unwrap();
    assert!(redirected > 190 * 1024, "{redirected} bytes redirected");
    node.run(&["uninstall", "--purge"], 0);
    node.assert_gone(&[]);
}

#[test]
fn the_keeper_brings_them_in_by_another_process() {
    let Some(node) = Node::new("the_keeper_brings_them_in") else {
        return;
    };
    node.cache_pod();
    let mut connection = Connection::open();
    connection.echo();
    connection.set_nonblocking(true);
    let keeper = Keeper::spawn_with(
        &node,
        &[
            "--existing-connections",
            "--listen",
            "none",
            "--reconcile-every",
            "2s",
        ],
    );
    until("a connection is brought in", LIMIT, || {
        let said = fs::read_to_string(node.path("run.log")).unwrap();
        said.contains("1 connections found, 1 brought in")
    });
    connection.set_nonblocking(false);
    for _ in 0..100 {
        connection.echo();
    }
    assert_eq!(node.json(&["status"], 0)["connections"], 1);
    keeper.stop();
    drop(connection);
    node.run(&["uninstall", "--purge"], 0);
    node.assert_gone(&[]);
}
