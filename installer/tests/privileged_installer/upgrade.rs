//! Programs replaced in place under running traffic.

use std::process::Stdio;

use super::node::Node;
use super::traffic::Connection;

#[test]
fn twenty_upgrades_under_traffic() {
    let Some(node) = Node::new("twenty_upgrades") else {
        return;
    };
    node.run(&["install"], 0);
    node.cni("ADD");
    let mut connections = vec![Connection::open()];
    for upgrade in 0..20 {
        let mut install = node.sockway(&["install", "--quiet"]);
        let mut install = install.stdout(Stdio::null()).spawn().unwrap();
        let mut rounds = 0;
        while install.try_wait().unwrap().is_none() || rounds < 10 {
            connections.iter_mut().for_each(Connection::echo);
            rounds += 1;
        }
        assert!(install.wait().unwrap().success(), "upgrade {upgrade}");
        // Connections of every version of the programs live side by side.
        connections.push(Connection::open());
        connections.iter_mut().for_each(Connection::echo);
    }
    let status = node.json(&["status"], 0);
    assert_eq!(status["connections"], 21);
    assert_eq!(status["figures"]["total"]["joined"], 21);
    drop(connections);
    node.run(&["uninstall", "--purge"], 0);
    node.assert_gone(&[]);
}
